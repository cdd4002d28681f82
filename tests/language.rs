//! The language from files to what is wanted: what must be refused is, at its place, and the JSON Schema agrees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anole::diagnostic::{Diagnostics, Severity};
use anole::kinds;
use anole::resolve::{self, Files, Inputs, Tree};
use anole::spec::load::{self, Loaded, VariableInputs};
use anole::spec::{json_schema, parse, variables};

/// The machine's own files, without a home.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn tree(&self, path: &Path) -> Result<Tree, String> {
        let (path, digest) = anole::tree::digest_of(path)?;
        Ok(Tree { path, digest })
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

/// Files that are no text, or hold nothing, and what is said of them.
const SILENT: &[(&str, &str)] = &[
    ("empty.yaml", "empty-file 1:1"),
    ("latin1.yaml", "not-utf8 1:11"),
    ("utf16.yaml", "not-utf8 1:1"),
    ("nul.yaml", "control-character 1:9"),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn yaml_files(name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(name)).expect("a folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "{name} holds specs");
    files
}

/// A file read, and all errors of all stages in one run, `code line:column`.
fn check(path: &Path) -> (Loaded, Vec<String>) {
    let mut diagnostics = Diagnostics::default();
    let base = path.parent().expect("a folder");
    let mut inputs = VariableInputs::default();
    inputs.flags.push(("net_id".to_owned(), "ab123".to_owned()));
    let declares = std::fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains("net_id:"));
    inputs.flags.truncate(usize::from(declares));
    let loaded = load::load(&[path.to_owned()], base, &inputs, &mut diagnostics).expect("a file");
    let spec = parse::parse(&loaded, &kinds::sections(), &mut diagnostics);
    let values = variables::settle(&spec, &loaded.given, &BTreeMap::new(), &loaded.sources, &mut diagnostics);
    let (env, identities) = (BTreeMap::new(), BTreeMap::new());
    let inputs = Inputs { variables: &values, env: &env, files: &Disk, identities: &identities };
    // What could not be read at all wants nothing.
    if !loaded.files.is_empty() {
        let _ = resolve::resolve(&spec, &inputs, &mut diagnostics);
    }
    let errors = diagnostics.sorted().into_iter().filter(|found| found.severity == Severity::Error).map(|found| {
        let place = loaded.sources.place(found.labels[0].0).expect("a place");
        format!("{} {}:{}", found.code, place.line, place.column)
    });
    let errors = errors.collect();
    (loaded, errors)
}

/// What a broken file says must be found.
fn wanted(path: &Path) -> Vec<String> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    if let Some((_, wanted)) = SILENT.iter().find(|(file, _)| *file == name) {
        return vec![(*wanted).to_owned()];
    }
    let text = std::fs::read_to_string(path).expect("text");
    let lines = text.lines();
    lines
        .filter_map(|line| line.strip_prefix("# error: ").or_else(|| line.strip_prefix("# resolve: ")))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_mistake_is_told_in_one_run() {
    for path in yaml_files("tests/specs/broken") {
        let (_, mut found) = check(&path);
        let mut wanted = wanted(&path);
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{}", path.display());
    }
}

#[test]
fn the_json_schema_agrees_with_the_language() {
    let schemas: Vec<_> = kinds::KINDS.iter().map(|kind| kind.schema()).collect();
    let schema = json_schema::json_schema(&schemas);
    assert!(jsonschema::meta::is_valid(&schema), "the schema is one");
    let validator = jsonschema::validator_for(&schema).expect("a validator");
    for path in yaml_files("specs").into_iter().chain(yaml_files("tests/specs/good")) {
        let (loaded, errors) = check(&path);
        assert_eq!(errors, [""; 0], "{}", path.display());
        for (_, node) in &loaded.files {
            let instance = json_schema::instance(node);
            let errors: Vec<_> = validator.iter_errors(&instance).map(|error| error.to_string()).collect();
            assert_eq!(errors, [""; 0], "{}", path.display());
        }
    }
    for path in yaml_files("tests/specs/broken") {
        // What YAML itself forbids is gone before a schema sees it.
        let of_yaml = |wanted: &String| ["duplicate-key", "unknown-tag"].iter().any(|code| wanted.starts_with(code));
        let told_by_yaml = wanted(&path).iter().all(of_yaml);
        for (_, node) in check(&path).0.files.iter().filter(|_| !told_by_yaml) {
            assert!(!validator.is_valid(&json_schema::instance(node)), "{}", path.display());
        }
    }
}
