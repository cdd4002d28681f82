//! Files and variables' texts → sources and trees: the only part of `spec` that reads anything.
//!
//! In: the paths a user gave, and where variables' values come from. Out: [`Loaded`], with a tree for every file that
//! is YAML, and a diagnostic for every one that is not. What stops the reading altogether (a file that is not there)
//! is a [`LoadError`].
//!
//! Invariants: no file larger than [`MAX_BYTES`] is read; files of a folder come sorted by name, so that the same
//! folder is the same spec everywhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::yaml::encoding;
use super::{Node, yaml};
use crate::diagnostic::{Diagnostics, FileId, Sources, Span};

/// The largest file that is read: a hundred times the largest spec anyone has written by hand.
pub const MAX_BYTES: u64 = 16 << 20;

/// The file beside a spec that gives its variables values.
pub const VARIABLES_FILE: &str = "anole.vars.yaml";

/// The prefix of environment variables that give variables values.
pub const VARIABLE_PREFIX: &str = "ANOLE_VAR_";

/// Where variables' values come from, besides [`VARIABLES_FILE`].
#[derive(Clone, Default)]
pub struct VariableInputs {
    /// `--var name=value`, in their order.
    pub flags: Vec<(String, String)>,
    /// `--var-file`, in their order.
    pub files: Vec<PathBuf>,
    /// The environment; only `ANOLE_VAR_<name>` is looked at.
    pub env: BTreeMap<String, String>,
}

/// A spec's files, read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The texts, for diagnostics.
    pub sources: Sources,
    /// The spec's files in order; those that are no YAML are not among them.
    pub files: Vec<(FileId, Node)>,
    /// Whether all files are YAML: then what is missing in `files` is missing in the spec.
    pub complete: bool,
    /// The folder of the first file: relative paths in the spec start here.
    pub folder: PathBuf,
    /// Values given to variables, the strongest first.
    pub given: Vec<Given>,
}

/// A value that was given to a variable.
#[derive(Clone)]
pub struct Given {
    /// The variable.
    pub name: String,
    /// Where it was given.
    pub from: GivenBy,
    /// A text of the command line or environment, or a node of a file.
    pub value: GivenValue,
    /// The place, of the name where there is one.
    pub span: Span,
}

/// Where a value was given. The order is that of strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GivenBy {
    /// `--var`
    Flag,
    /// `--var-file`
    VarFile,
    /// `ANOLE_VAR_x`
    Environment,
    /// [`VARIABLES_FILE`]
    BesideSpec,
}

/// What was given.
#[derive(Clone)]
pub enum GivenValue {
    /// A text, to be read by the variable's type.
    Text(String),
    /// YAML.
    Node(Node),
}

/// Values may be secrets; only the name is shown.
impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given").field("name", &self.name).field("from", &self.from).finish_non_exhaustive()
    }
}

/// As [`Given`]: names only.
impl std::fmt::Debug for VariableInputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flags: Vec<_> = self.flags.iter().map(|(name, _)| name).collect();
        f.debug_struct("VariableInputs").field("flags", &flags).field("files", &self.files).finish_non_exhaustive()
    }
}

/// Why a spec cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No path was given and no default is there.
    #[error("there is no spec here: neither `anole.yaml` nor a folder `specs`; name one")]
    NoDefault,
    /// No path was given and the default folder holds several.
    #[error("`specs` holds several specs; name the one you mean: {}", list(.0))]
    Several(Vec<PathBuf>),
    /// A folder without a spec.
    #[error("the folder `{}` holds no .yaml file", .0.display())]
    EmptyFolder(PathBuf),
    /// A path that is not there.
    #[error("there is no file `{}`", .0.display())]
    NotFound(PathBuf),
    /// A file larger than [`MAX_BYTES`].
    #[error("`{}` is larger than {} MiB, which no spec is", .0.display(), MAX_BYTES >> 20)]
    TooLarge(PathBuf),
    /// What the operating system says.
    #[error("`{}` cannot be read", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

/// Reads the files that `arguments` name, or the default ones, and everything that gives variables values.
///
/// Relative arguments, and the defaults, start at `base` (the working folder, or `-C`); paths are shown as given.
///
/// # Errors
/// A file or folder that is not there, cannot be read, or is too large.
pub fn load(
    arguments: &[PathBuf],
    base: &Path,
    inputs: &VariableInputs,
    diagnostics: &mut Diagnostics,
) -> Result<Loaded, LoadError> {
    let paths = spec_files(arguments, base)?;
    let mut reader = Reader { base, sources: Sources::default(), diagnostics };
    let mut files = Vec::new();
    for path in &paths {
        let (file, node) = reader.yaml(path)?;
        files.extend(node.map(|node| (file, node)));
    }
    // A bare file name's folder is the empty path, which joins to nothing.
    let folder = base.join(paths[0].parent().unwrap_or(Path::new("")));
    // A spec means the same from wherever it is named. What is not there is told when its files are read.
    let folder = std::fs::canonicalize(&folder).unwrap_or(folder);
    let mut given = reader.flags(inputs);
    for path in inputs.files.iter().rev() {
        given.extend(reader.variables(path, GivenBy::VarFile)?);
    }
    given.extend(reader.environment(inputs));
    let beside = paths[0].with_file_name(VARIABLES_FILE);
    if base.join(&beside).is_file() {
        given.extend(reader.variables(&beside, GivenBy::BesideSpec)?);
    }
    let complete = files.len() == paths.len();
    Ok(Loaded { sources: reader.sources, files, complete, folder, given })
}

/// The files of a spec, at least one, each once.
fn spec_files(arguments: &[PathBuf], base: &Path) -> Result<Vec<PathBuf>, LoadError> {
    if arguments.is_empty() {
        return default_file(base).map(|path| vec![path]);
    }
    let mut paths = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for argument in arguments {
        let found = if base.join(argument).is_dir() {
            match folder_files(argument, base)? {
                found if found.is_empty() => return Err(LoadError::EmptyFolder(argument.clone())),
                found => found,
            }
        } else {
            vec![argument.clone()]
        };
        // A folder and a file in it, or two ways to one file, must not declare everything twice.
        paths.extend(found.into_iter().filter(|path| {
            let full = base.join(path);
            seen.insert(full.canonicalize().unwrap_or(full))
        }));
    }
    Ok(paths)
}

fn default_file(base: &Path) -> Result<PathBuf, LoadError> {
    let single = PathBuf::from("anole.yaml");
    if base.join(&single).exists() {
        return Ok(single);
    }
    if !base.join("specs").is_dir() {
        return Err(LoadError::NoDefault);
    }
    let mut found = folder_files(Path::new("specs"), base)?;
    match (found.len(), found.pop()) {
        (1, Some(path)) => Ok(path),
        (_, None) => Err(LoadError::NoDefault),
        (_, Some(last)) => {
            found.push(last);
            Err(LoadError::Several(found))
        }
    }
}

/// The YAML files right in a folder, by name.
fn folder_files(folder: &Path, base: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let failed = |source| LoadError::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in base.join(folder).read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = PathBuf::from(entry.file_name());
        let is_yaml = name.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        // Editors leave hidden copies (`.#a.yaml`).
        let hidden = name.to_string_lossy().starts_with('.');
        if is_yaml && !hidden && name != Path::new(VARIABLES_FILE) && entry.path().is_file() {
            found.push(folder.join(name));
        }
    }
    found.sort();
    Ok(found)
}

struct Reader<'a> {
    base: &'a Path,
    sources: Sources,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn yaml(&mut self, path: &Path) -> Result<(FileId, Option<Node>), LoadError> {
        let decoded = encoding::decode(read(&self.base.join(path), path)?);
        let file = self.sources.add(path.to_owned(), decoded.text);
        if let Some(mistake) = decoded.mistake {
            self.diagnostics.push(mistake.diagnostic(file));
            return Ok((file, None));
        }
        let text = self.sources.get(file).map_or("", |(_, text)| text);
        Ok((file, yaml::parse(file, text, self.diagnostics)))
    }

    /// A text of the command line or environment becomes a source of its own, so that mistakes in it have a place.
    fn text(&mut self, shown_as: String, name: &str, value: &str, from: GivenBy) -> Given {
        // The value may be a secret, and a source's lines are shown.
        let text = format!("{name}=…");
        let end = u32::try_from(name.len()).unwrap_or(0);
        let file = self.sources.add(shown_as.into(), text);
        let value = GivenValue::Text(value.to_owned());
        Given { name: name.to_owned(), from, value, span: Span { file, start: 0, end } }
    }

    fn flags(&mut self, inputs: &VariableInputs) -> Vec<Given> {
        let flags = inputs.flags.iter().rev();
        flags.map(|(name, value)| self.text("--var".to_owned(), name, value, GivenBy::Flag)).collect()
    }

    fn environment(&mut self, inputs: &VariableInputs) -> Vec<Given> {
        let ours = inputs.env.iter().filter_map(|(key, value)| Some((key.strip_prefix(VARIABLE_PREFIX)?, value)));
        ours.map(|(name, value)| self.text("the environment".to_owned(), name, value, GivenBy::Environment)).collect()
    }

    fn variables(&mut self, path: &Path, from: GivenBy) -> Result<Vec<Given>, LoadError> {
        let (_, node) = self.yaml(path)?;
        let Some(node) = node else { return Ok(Vec::new()) };
        let given = super::variables::given_in(node, from, self.diagnostics);
        Ok(given)
    }
}

/// A file's bytes. Its size is looked at first, and no more than that is read in case it grows or has none.
fn read(path: &Path, shown: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => LoadError::NotFound(shown.to_owned()),
        _ => LoadError::Io { path: shown.to_owned(), source },
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > MAX_BYTES {
        return Err(LoadError::TooLarge(shown.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(LoadError::TooLarge(shown.to_owned()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    fn loaded(arguments: &[&str], base: &Path) -> Result<Vec<String>, LoadError> {
        let arguments: Vec<_> = arguments.iter().map(PathBuf::from).collect();
        let mut diagnostics = Diagnostics::default();
        let loaded = load(&arguments, base, &VariableInputs::default(), &mut diagnostics)?;
        let path = |file| loaded.sources.get(file).expect("a source").0.to_string_lossy().into_owned();
        Ok(loaded.files.iter().map(|(file, _)| path(*file)).collect())
    }

    #[test]
    fn arguments_are_files_and_folders_each_file_once() {
        let folder = folder(&[
            ("s/b.yaml", "b: 1"),
            ("s/a.yml", "a: 1"),
            ("s/anole.vars.yaml", "c: 1"),
            ("s/.hidden.yaml", ""),
            ("s/deep/d.yaml", ""),
            ("s/notes.txt", ""),
            ("e/x.txt", ""),
        ]);
        let base = folder.path();
        assert_eq!(loaded(&["s"], base).expect("a folder"), ["s/a.yml", "s/b.yaml"]);
        assert_eq!(loaded(&["s/b.yaml", "s", "./s/b.yaml"], base).expect("files"), ["s/b.yaml", "s/a.yml"]);
        assert!(matches!(loaded(&["e"], base), Err(LoadError::EmptyFolder(_))));
        assert!(matches!(loaded(&["x.yaml"], base), Err(LoadError::NotFound(_))));
    }

    #[test]
    fn the_default_is_anole_yaml_or_the_only_spec() {
        let both = folder(&[("anole.yaml", ""), ("specs/a.yaml", "")]);
        assert_eq!(loaded(&[], both.path()).expect("a default"), ["anole.yaml"]);
        let one = folder(&[("specs/a.yaml", "")]);
        assert_eq!(loaded(&[], one.path()).expect("a default"), ["specs/a.yaml"]);
        let two = folder(&[("specs/a.yaml", ""), ("specs/b.yaml", "")]);
        let error = loaded(&[], two.path()).expect_err("two specs");
        insta::assert_snapshot!(error, @"`specs` holds several specs; name the one you mean: `specs/a.yaml`, `specs/b.yaml`");
        assert!(matches!(loaded(&[], folder(&[]).path()), Err(LoadError::NoDefault)));
    }

    #[test]
    fn too_large_a_file_is_refused_by_its_size() {
        let folder = folder(&[("a.yaml", "")]);
        let file = File::options().write(true).open(folder.path().join("a.yaml")).expect("a file");
        file.set_len(MAX_BYTES + 1).expect("a sparse file");
        assert!(matches!(loaded(&["a.yaml"], folder.path()), Err(LoadError::TooLarge(_))));
    }

    #[test]
    fn the_strongest_value_comes_first_and_nothing_of_it_is_shown() {
        let folder = folder(&[
            ("s/a.yaml", ""),
            ("s/anole.vars.yaml", "x: beside"),
            ("one.yaml", "x: one"),
            ("two.yaml", "x: two"),
        ]);
        let inputs = VariableInputs {
            flags: vec![("x".into(), "first".into()), ("x".into(), "s3cret".into())],
            files: vec!["one.yaml".into(), "two.yaml".into()],
            env: [("ANOLE_VAR_x".into(), "env".into()), ("HOME".into(), "/".into())].into(),
        };
        let mut diagnostics = Diagnostics::default();
        let loaded = load(&["s/a.yaml".into()], folder.path(), &inputs, &mut diagnostics).expect("a spec");
        let values: Vec<_> = loaded
            .given
            .iter()
            .map(|given| match &given.value {
                GivenValue::Text(text) => text.clone(),
                GivenValue::Node(node) => loaded.sources.slice(node.span).to_owned(),
            })
            .collect();
        assert_eq!(values, ["s3cret", "first", "two", "one", "env", "beside"]);
        assert!(loaded.given.is_sorted_by_key(|given| given.from));
        assert!(!format!("{inputs:?} {loaded:?}").contains("s3cret"));
        assert_eq!(loaded.folder, folder.path().join("s"));
    }
}
