//! A world of its own for each test: a folder, a cleared environment, and the binary run in it.
//!
//! In: words of a command line. Out: what it said and its exit code. Invariants: nothing of the machine's own settings
//! reaches a command but `PATH`; every site is the embedded cloud, whose transitions take no time unless a test says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::leaks;
use crate::site::Site;

/// A folder with specs and their states, and what commands in it are told.
pub struct TestEnvironment {
    root: TempDir,
    variables: Vec<(String, String)>,
    held: Mutex<leaks::Held>,
}

impl TestEnvironment {
    /// An empty folder.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        for folder in ["home", "work"] {
            std::fs::create_dir(root.path().join(folder)).expect("a folder");
        }
        Self { root, variables: Vec::new(), held: Mutex::default() }
    }

    /// A folder with one spec, `spec.yaml`.
    pub fn with(spec: &str) -> Self {
        let env = Self::new();
        env.write("spec.yaml", spec);
        env
    }

    /// A folder with an example of `specs/`, under its own name, and the files that examples name.
    pub fn with_example(name: &str) -> Self {
        let env = Self::new();
        std::fs::create_dir(env.path("docker")).expect("a folder");
        for name in [name, "example.pub", "docker/mlflow.yaml"] {
            let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs").join(name);
            std::fs::copy(example, env.path(name)).expect("an example");
        }
        env
    }

    /// Sets a variable for every command from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// A path in the folder where commands are run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("work").join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file written");
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Edits a file: the text must be in it.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has `{from}`");
        self.write(name, &text.replace(from, to));
    }

    /// Every file below the folder, the home included.
    pub fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut folders) = (Vec::new(), vec![self.root.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }

    /// A command that has not been run yet; the words are split at spaces.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anole"));
        command.args(words.split_whitespace()).current_dir(self.path("")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.root.path().join("home"));
        command.envs([
            ("ANOLE_EMBEDDED", "1"),
            ("ANOLE_EMBEDDED_SCALE", "0"),
            ("NO_COLOR", "1"),
            ("COLUMNS", "120"),
            ("ANOLE_GUESTS", "none"),
        ]);
        command.envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command. No secret of a credential may be in what it says, but where it was asked for.
    pub fn anole(&self, words: &str) -> Ran {
        let ran = Ran::new(words, self.command(words).output().expect("the binary runs"));
        let held = self.look_for_secrets();
        if !words.contains("--show-secrets") {
            for said in [&ran.stdout, &ran.stderr] {
                assert!(held.found_in(said.as_bytes()).is_none(), "a secret in clear: {}", ran.shown());
            }
        }
        drop(held);
        ran
    }

    /// The secrets of all credentials so far.
    fn look_for_secrets(&self) -> MutexGuard<'_, leaks::Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let passphrase = self.variables.iter().rfind(|(name, _)| name == "ANOLE_STATE_PASSPHRASE");
        let passphrase = passphrase.map(|(_, value)| value.as_str());
        leaks::collect(&mut held, &self.path("state"), &self.root.path().join("home"), passphrase);
        held
    }

    /// The secrets of all credentials so far, in clear.
    pub fn secrets(&self) -> Vec<String> {
        self.look_for_secrets().secrets.iter().cloned().collect()
    }

    /// The files with such a secret in clear, but for those that are to have it: the clouds' own, and those that
    /// credentials are written to.
    pub fn leaked(&self) -> Vec<PathBuf> {
        let held = self.look_for_secrets();
        let clouds = ["state/embedded/clouds", "cloud", "objects", "clouds.yaml"].map(|name| self.path(name));
        // A test's own profile.
        let profile = self.root.path().join("home/.aws/credentials");
        let is_meant = |path: &Path| {
            clouds.iter().any(|cloud| path.starts_with(cloud)) || held.written.contains(path) || path == profile
        };
        let mut files = self.files();
        files.retain(|path| !is_meant(path) && std::fs::read(path).is_ok_and(|bytes| held.found_in(&bytes).is_some()));
        files
    }

    /// Applies a spec.
    #[track_caller]
    pub fn apply(&self, spec: &str) -> Ran {
        self.anole(&format!("apply {spec} --yes")).exits(0)
    }

    /// Plans a spec for which there must be nothing to do.
    #[track_caller]
    pub fn has_no_changes(&self, spec: &str) {
        self.anole(&format!("plan {spec} --detailed-exitcode")).exits(0);
    }

    /// The embedded cloud of site `kvm`.
    pub fn site(&self) -> Site {
        Site::new(self.path("state/embedded/clouds/kvm"))
    }

    /// The record of a resource, as `state show --json` has it.
    pub fn record(&self, spec: &str, address: &str) -> Json {
        self.anole(&format!("state show {address} -f {spec} --json")).exits(0).json()
    }

    /// The id of a resource.
    pub fn id(&self, spec: &str, address: &str) -> String {
        let record = self.record(spec, address);
        record["id"].as_str().unwrap_or_else(|| panic!("no id in {record}")).to_owned()
    }
}

/// At the end of a test its whole folder is searched.
impl Drop for TestEnvironment {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.secrets().is_empty() {
            let leaked = self.leaked();
            assert!(leaked.is_empty(), "secrets in clear: {leaked:?}");
        }
    }
}

/// What a command said.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    words: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(words: &str, output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let ran = Self {
            words: words.to_owned(),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!ran.stderr.contains("panicked"), "{}", ran.shown());
        ran
    }

    fn shown(&self) -> String {
        let Self { words, code, stdout, stderr } = self;
        format!("anole {words} ended with {code:?}\n--- stdout\n{stdout}--- stderr\n{stderr}---")
    }

    /// It must have ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.shown());
        self
    }

    /// It must have said this, on either stream.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "`{text}` is not in: {}", self.shown());
        self
    }

    /// It must not have said this.
    #[track_caller]
    pub fn omits(self, text: &str) -> Self {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "`{text}` is in: {}", self.shown());
        self
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.shown()))
    }

    /// The JSON lines on standard output.
    #[track_caller]
    pub fn lines(&self) -> Vec<Json> {
        let line =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}: {}", self.shown()));
        self.stdout.lines().map(line).collect()
    }

    /// The actions of a plan shown with `--json`: `verb address`, in the plan's order.
    #[track_caller]
    pub fn actions(&self) -> Vec<String> {
        let lines = self.lines();
        let actions = lines.iter().filter(|line| line["type"] == "action");
        let text =
            |line: &Json, key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned();
        actions.map(|line| format!("{} {}", text(line, "verb"), text(line, "address"))).collect()
    }
}
