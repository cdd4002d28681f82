//! The search for secrets: those of every credential that a test makes, in everything that commands said and left.
//!
//! In: a folder after each command. Out: nothing, or a failure of the test that made the secret. Invariants:
//! - What is searched for is opened from the states with their own keys, by the library: so no secret is missed because a
//!   test does not name it.
//! - A secret may be where it is meant to be: in the cloud, in a server, in the files that a credential is written to, in
//!   the answer to `--show-secrets`, and in the variables of the environment that gave it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anole::model::Value;
use anole::state::sealing;
use anole::state::secrets::{Source, Vault};
use anole::state::{Loaded, store};
use secrecy::SecretString;

use crate::environment::TestEnvironment;

/// Shorter ones are found anywhere.
const SHORTEST: usize = 10;

/// What the states of a folder hold.
#[derive(Debug, Default)]
pub struct Held {
    /// The secrets, in clear.
    pub secrets: BTreeSet<String>,
    /// The files that credentials are written to.
    pub written: BTreeSet<PathBuf>,
}

/// Adds what the states below a folder hold by now.
pub fn collect(held: &mut Held, states: &Path, home: &Path, passphrase: Option<&str>) {
    for path in state_files(states) {
        let (Some(folder), Some(stack)) = (path.parent(), path.file_stem().and_then(|stem| stem.to_str())) else {
            continue;
        };
        // One that is damaged on purpose, or another stack's, has nothing that could be read.
        let Ok(store) = store::open(&format!("{}/", folder.display()), stack) else { continue };
        let Ok(Some(mut loaded)) = store.load() else { continue };
        let source = match passphrase {
            Some(passphrase) => Source::Passphrase(SecretString::from(passphrase)),
            None => Source::File(home.join(".config/anole/key")),
        };
        let mut vault = Vault::new(loaded.state.lineage.clone(), source);
        sealing::unlock(&mut loaded, &mut vault);
        add(held, &loaded, home);
    }
}

fn add(held: &mut Held, loaded: &Loaded, home: &Path) {
    for record in loaded.state.resources.values() {
        for value in record.attributes.values() {
            value.visit_secrets(&mut |secret| {
                held.secrets.insert(secret.to_owned());
            });
        }
        let paths = ["path", "config"].into_iter().filter_map(|key| record.applied.get(key).and_then(Value::as_str));
        if record.kind == "credential_file" {
            held.written.extend(paths.map(|path| match path.strip_prefix("~/") {
                Some(rest) => home.join(rest),
                None => PathBuf::from(path),
            }));
        }
    }
    held.secrets.retain(|secret| secret.len() >= SHORTEST);
}

/// The states below a folder; the embedded clouds' own documents are none.
fn state_files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true if entry.file_name() != "clouds" => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "json") => found.push(path),
                _ => {}
            }
        }
    }
    found
}

impl Held {
    /// The secret that is in a text, if one is.
    pub fn found_in(&self, bytes: &[u8]) -> Option<&str> {
        let is_in = |secret: &&String| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        self.secrets.iter().find(is_in).map(String::as_str)
    }
}

const SPEC: &str = "stack: leak\nsites: { chi: { cloud: chi_tacc } }\ncredentials:\n  s3: { type: ec2 }\n  \
                    app: { type: application, roles: [member], expires: 2099-01-31 }\n  random: { type: random }\n";

#[test]
fn the_secret_of_every_sort_of_credential_is_searched_for_and_found_where_it_leaks() {
    let env = TestEnvironment::with(SPEC);
    env.apply("spec.yaml");
    let secrets = env.secrets();
    assert_eq!(secrets.len(), 3, "one of each sort");
    env.write("leaked.log", &format!("a line with {} in it", secrets[1]));
    let found = env.leaked();
    assert!(found.len() == 1 && found[0].ends_with("leaked.log"), "{found:?}");
    std::fs::remove_file(env.path("leaked.log")).expect("it was there");
    assert!(env.leaked().is_empty());
}
