//! A snapshot as text: JSON, indented, in a stable order, with its version first.
//!
//! In: the text of a file, of any version up to [`VERSION`]. Out: a [`Loaded`]: a snapshot also keeps the intents that
//! were open when it was written, so that folding a journal into one never loses them.
//!
//! Invariants:
//! - The version is looked at before anything else; a later one is refused, an earlier one goes through every
//!   upgrade between.
//! - Reading what was written gives the same [`Loaded`]; the same [`Loaded`] gives the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Error, Intent, Loaded, State, VERSION};
use crate::model::{Address, Json};

/// Brings a snapshot of one version to the next.
type Upgrade = fn(Json) -> Json;

/// `UPGRADES[n]` takes version n + 1 to n + 2.
const UPGRADES: &[Upgrade] = &[];

const _: () = assert!(UPGRADES.len() + 1 == VERSION as usize, "every version but the latest needs an upgrade");

/// Why a text is not a snapshot. The store adds which file, and the backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A later version.
    Newer {
        /// Who wrote it.
        tool: String,
        /// Its version.
        version: u32,
        /// The latest that is known here.
        known: u32,
    },
    /// Not a snapshot, or a damaged one.
    Corrupt {
        /// The line, counted from 1, where it is known.
        line: Option<usize>,
        /// What is wrong.
        what: String,
    },
}

impl Problem {
    fn corrupt(error: &serde_json::Error) -> Self {
        let line = (error.line() > 0).then(|| error.line());
        // serde_json ends its text with the place, which is told on its own.
        let what = error.to_string();
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what).to_owned();
        Self::Corrupt { line, what }
    }
}

/// What every version has had, and every later one will have.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) version: u32,
    #[serde(default)]
    pub(super) tool: Option<String>,
}

impl Head {
    /// Refuses a later version.
    pub(super) fn check(self, known: u32) -> Result<u32, Problem> {
        if self.version > known {
            let tool = self.tool.unwrap_or_else(|| "of a later version".to_owned());
            return Err(Problem::Newer { tool, version: self.version, known });
        }
        Ok(self.version)
    }
}

#[derive(Serialize)]
struct Snapshot<'a> {
    #[serde(flatten)]
    state: &'a State,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    open: &'a BTreeMap<Address, Intent>,
}

/// What a snapshot holds besides its [`State`].
#[derive(Deserialize)]
struct Rest {
    #[serde(default)]
    open: BTreeMap<Address, Intent>,
}

/// The text of a snapshot, with a newline at its end.
///
/// # Errors
/// When the text would not read back as the same state; nothing that a service can answer leads to that.
pub fn write(loaded: &Loaded) -> Result<String, Error> {
    let unwritable = |what: String| Error::Unwritable { what };
    let snapshot = Snapshot { state: &loaded.state, open: &loaded.open };
    let mut text = serde_json::to_string_pretty(&snapshot).map_err(|error| unwritable(error.to_string()))?;
    text.push('\n');
    match read(&text) {
        Ok(back) if back == *loaded => Ok(text),
        Ok(_) => Err(unwritable("it would read back as another".to_owned())),
        Err(Problem::Corrupt { what, .. }) => Err(unwritable(what)),
        Err(Problem::Newer { version, .. }) => Err(unwritable(format!("its version {version} is not known"))),
    }
}

/// Reads a snapshot.
///
/// # Errors
/// For a later version, and for any text that is not a whole snapshot.
pub fn read(text: &str) -> Result<Loaded, Problem> {
    read_with(text, UPGRADES)
}

fn read_with(text: &str, upgrades: &[Upgrade]) -> Result<Loaded, Problem> {
    let corrupt = |error: serde_json::Error| Problem::corrupt(&error);
    let known = u32::try_from(upgrades.len()).unwrap_or(u32::MAX - 1) + 1;
    let version = serde_json::from_str::<Head>(text).map_err(corrupt)?.check(known)?;
    if version == known {
        // Straight from the text, because only so the errors have a line.
        let state = serde_json::from_str(text).map_err(corrupt)?;
        let rest: Rest = serde_json::from_str(text).map_err(corrupt)?;
        return Ok(Loaded { state, open: rest.open });
    }
    let Some(first) = version.checked_sub(1) else {
        return Err(Problem::Corrupt { line: None, what: "there is no state format 0".to_owned() });
    };
    let json: Json = serde_json::from_str(text).map_err(corrupt)?;
    let mut json = upgrades[first as usize..].iter().fold(json, |json, upgrade| upgrade(json));
    json["version"] = Json::from(known);
    let state = State::deserialize(&json).map_err(corrupt)?;
    let rest = Rest::deserialize(&json).map_err(corrupt)?;
    Ok(Loaded { state, open: rest.open })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        write(&Loaded::new(State::new("block", "0123456789abcdef".to_owned()))).unwrap()
    }

    #[test]
    fn a_snapshot_starts_with_its_version_and_ends_with_a_newline() {
        assert!(text().starts_with("{\n  \"version\": 1,\n  \"tool\": \""));
        assert!(text().ends_with("\n}\n"));
    }

    #[test]
    fn a_later_version_is_refused_whatever_else_it_holds() {
        let text = r#"{"version": 3, "tool": "0.9", "resources": 12}"#;
        assert_eq!(read(text), Err(Problem::Newer { tool: "0.9".to_owned(), version: 3, known: 1 }));
    }

    #[test]
    fn a_damaged_snapshot_names_its_line() {
        let torn = &text()[..60];
        assert!(matches!(read(torn), Err(Problem::Corrupt { line: Some(4), .. })), "{:?}", read(torn));
        let wrong = text().replace("\"serial\": 0", "\"serial\": \"x\"");
        let Err(Problem::Corrupt { line: Some(5), what }) = read(&wrong) else { panic!("{:?}", read(&wrong)) };
        assert!(what.contains("invalid type") && !what.contains("line"), "{what}");
        for text in ["", "[]", "{}", "{\"version\": 0}", "{\"version\": -1}", "\0\0\0\0"] {
            assert!(matches!(read(text), Err(Problem::Corrupt { .. })), "{text:?}");
        }
    }

    #[test]
    fn an_earlier_version_goes_through_every_upgrade() {
        let rename: Upgrade = |mut json| {
            json["stack"] = json["project"].take();
            json
        };
        let count: Upgrade = |mut json| {
            json["serial"] = Json::from(json["serial"].as_u64().unwrap() + 40);
            json
        };
        let first = text().replace("\"stack\"", "\"project\"").replace("\"serial\": 0", "\"serial\": 2");
        let loaded = read_with(&first, &[rename, count]).unwrap();
        assert_eq!((loaded.state.version, loaded.state.serial, loaded.state.stack.as_str()), (3, 42, "block"));
        let second = text().replace("\"version\": 1", "\"version\": 2");
        assert_eq!(read_with(&second, &[rename, count]).unwrap().state.serial, 40);
    }
}
