//! Specs that lie in files, as odd editors write them.

use super::*;

/// The codes found in a file, and the spec.
fn load_file(path: &std::path::Path) -> (Vec<&'static str>, Spec) {
    let mut diagnostics = Diagnostics::default();
    let inputs = crate::spec::load::VariableInputs::default();
    let loaded =
        crate::spec::load::load(&[path.to_owned()], path.parent().expect("a folder"), &inputs, &mut diagnostics)
            .expect("a file");
    let spec = parse(&loaded, KINDS, &mut diagnostics);
    (diagnostics.sorted().into_iter().map(|found| found.code).collect(), spec)
}

fn specs(folder: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs").join(folder)
}

#[test]
fn odd_files_mean_what_they_say() {
    let (found, spec) = load_file(&specs("good/bom-crlf.yaml"));
    assert_eq!((found, spec.stack.value.as_str()), (Vec::new(), "windows"));
    assert_eq!(spec.blocks[0].fields[3].1.value, Yaml::String("one\ntwo\n".into()));
    let (found, spec) = load_file(&specs("good/yaml.yaml"));
    assert_eq!((found, spec.stack.value.as_str()), (Vec::new(), "0755"));
    let default = |name: &str| spec.variables[name].default.as_ref().map(|node| node.value.clone());
    assert_eq!(default("mode"), Some(Yaml::String("0755".into())));
    assert_eq!(default("country"), Some(Yaml::String("no".into())));
    let image = spec.blocks[1].fields.iter().find(|(key, _)| key.text == "image").map(|(_, node)| node.value.clone());
    assert_eq!((spec.blocks[1].fields.len(), image), (3, Some(Yaml::String("two".into()))));
}
