//! The journal: what happened since the snapshot, one JSON object a line.
//!
//! ```text
//! {"version":1,"tool":"0.1.0","entry":"begin","lineage":"…","serial":4,…}
//! {"entry":"intent","address":"volumes.data",…}
//! {"entry":"accepted","address":"volumes.data","id":"…"}
//! ```
//!
//! Invariants:
//! - When [`Journal::append`] returns, its entries are on the disk. Each call is one write and one `fdatasync`.
//! - Only the last line can be torn, for nothing is written after a write that failed. A torn line was never
//!   acknowledged, so nothing was asked of a service because of it, and it is dropped.
//! - A journal is never shortened but by the torn line that a new [`Entry::Begin`] replaces.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::format::{Head, Problem};
use super::{Entry, Error, Loaded, State, VERSION};
use crate::model::Json;

/// What a journal holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// The lineage of the state it follows.
    pub lineage: String,
    /// The stack.
    pub stack: String,
    /// The serial of the snapshot it follows.
    pub serial: u64,
    /// The entries, from the first [`Entry::Begin`] on.
    pub entries: Vec<Entry>,
    /// How many bytes of the file these are.
    sound: u64,
    /// Whether the last of them lacks its newline.
    unterminated: bool,
}

impl Contents {
    /// A state with nothing but these entries: that of a first apply.
    #[must_use]
    pub fn fold_alone(self) -> Loaded {
        let state = State { serial: self.serial, ..State::new(&self.stack, self.lineage.clone()) };
        self.fold_into(Loaded::new(state))
    }

    /// The state after the entries.
    #[must_use]
    pub fn fold_into(self, mut loaded: Loaded) -> Loaded {
        self.entries.into_iter().for_each(|entry| loaded.fold(entry));
        loaded
    }
}

/// Reads a journal; `None` when there is no file, or not a whole line in it.
///
/// # Errors
/// When the file cannot be read, is of a later version, or a line other than a torn last one is damaged.
pub fn read(path: &Path) -> Result<Option<Contents>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => parse(&bytes, path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Reads a journal's bytes; `path` is for errors.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8], path: &Path) -> Result<Option<Contents>, Error> {
    let mut contents: Option<Contents> = None;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let damaged = |what: String| Error::CorruptJournal { path: path.to_owned(), line: index + 1, what };
        let json: Json = match serde_json::from_slice(line) {
            Ok(json) => json,
            Err(_) if lines.peek().is_none() => break,
            Err(error) => return Err(damaged(format!("it is not a JSON object ({})", category(&error)))),
        };
        let entry = entry(json).map_err(|problem| match problem {
            Problem::Newer { tool, version, known } => Error::Newer { path: path.to_owned(), tool, version, known },
            Problem::Corrupt { what, .. } => damaged(what),
        })?;
        let contents = match (&entry, &mut contents) {
            (Entry::Begin { lineage, serial, .. }, Some(first)) => {
                if (&first.lineage, first.serial) != (lineage, *serial) {
                    return Err(damaged("it begins on another state than the first line".to_owned()));
                }
                first
            }
            (Entry::Begin { lineage, stack, serial, .. }, none) => none.insert(Contents {
                lineage: lineage.clone(),
                stack: stack.clone(),
                serial: *serial,
                entries: Vec::new(),
                sound: 0,
                unterminated: false,
            }),
            (_, Some(first)) => first,
            (_, None) => return Err(damaged("the first entry must be `begin`".to_owned())),
        };
        contents.entries.push(entry);
        contents.sound += line.len() as u64;
        contents.unterminated = !line.ends_with(b"\n");
    }
    Ok(contents)
}

fn category(error: &serde_json::Error) -> &'static str {
    if error.is_eof() { "it is cut off" } else { "its syntax is broken" }
}

fn entry(json: Json) -> Result<Entry, Problem> {
    let corrupt = |error: serde_json::Error| Problem::Corrupt { line: None, what: error.to_string() };
    if json.get("entry").and_then(Json::as_str) == Some("begin") {
        Head::deserialize(&json).map_err(corrupt)?.check(VERSION)?;
    }
    serde_json::from_value(json).map_err(corrupt)
}

/// A `begin` line also says what wrote it, so that a later version's journal is refused and not misread.
#[derive(Serialize)]
struct BeginLine<'a> {
    version: u32,
    tool: &'static str,
    #[serde(flatten)]
    entry: &'a Entry,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// How many bytes are known to be on the disk.
    length: u64,
    /// Whether a write failed: what is in the file after `length` is then unknown.
    failed: bool,
}

impl Journal {
    /// Starts a new journal with its first entry. The caller makes the file's name durable by an fsync of its folder.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn begin(path: &Path, begin: &Entry) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(Error::io("create", path))?;
        let mut journal = Self { file, path: path.to_owned(), length: 0, failed: false };
        journal.append(std::slice::from_ref(begin))?;
        Ok(journal)
    }

    /// Goes on with the journal of an interrupted apply: cuts a torn last line off and adds another `begin`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn resume(path: &Path, contents: &Contents, begin: &Entry) -> Result<Self, Error> {
        let failed = |error| Error::io("write", path)(error);
        let mut file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        file.set_len(contents.sound).map_err(failed)?;
        let mut length = contents.sound;
        if contents.unterminated {
            file.write_all(b"\n").map_err(failed)?;
            length += 1;
        }
        let mut journal = Self { file, path: path.to_owned(), length, failed: false };
        journal.append(std::slice::from_ref(begin))?;
        Ok(journal)
    }

    /// Adds entries, all with one write and one `fdatasync`. When this returns they are on the disk.
    ///
    /// # Errors
    /// When they could not be written, or an earlier call failed: none of these entries counts then.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), Error> {
        if self.failed {
            return Err(Error::JournalClosed { path: self.path.clone(), why: "an earlier write to it failed" });
        }
        let mut text = Vec::new();
        for entry in entries {
            line(entry, &mut text).map_err(|error| Error::Unwritable { what: error.to_string() })?;
        }
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // After a failed fsync nothing is known of the file's end, so nothing more is appended to it.
            self.failed = true;
            let _ = self.file.set_len(self.length);
            return Err(Error::io("write", &self.path)(error));
        }
        self.length += text.len() as u64;
        Ok(())
    }
}

fn line(entry: &Entry, text: &mut Vec<u8>) -> serde_json::Result<()> {
    match entry {
        Entry::Begin { .. } => {
            let begin = BeginLine { version: VERSION, tool: env!("CARGO_PKG_VERSION"), entry };
            serde_json::to_writer(&mut *text, &begin)?;
        }
        _ => serde_json::to_writer(&mut *text, entry)?,
    }
    text.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Address;
    use std::collections::BTreeMap;

    fn begin(serial: u64) -> Entry {
        Entry::Begin {
            lineage: "0123456789abcdef".to_owned(),
            stack: "block".to_owned(),
            serial,
            at: jiff::Timestamp::UNIX_EPOCH,
            sites: BTreeMap::new(),
            variables: BTreeMap::new(),
        }
    }

    fn removed(name: &str) -> Entry {
        Entry::Remove { address: Address::new("volumes", name) }
    }

    fn text(entries: &[Entry]) -> Vec<u8> {
        let mut text = Vec::new();
        entries.iter().for_each(|entry| line(entry, &mut text).unwrap());
        text
    }

    fn parsed(bytes: &[u8]) -> Result<Option<Contents>, Error> {
        parse(bytes, Path::new("state/block.json.journal"))
    }

    #[test]
    fn only_the_last_line_may_be_torn() {
        let whole = text(&[begin(4), removed("a"), removed("b")]);
        let keep = text(&[begin(4), removed("a")]).len();
        for cut in keep..whole.len() - 1 {
            assert_eq!(parsed(&whole[..cut]).unwrap().unwrap().entries.len(), 2, "cut at {cut}");
        }
        let mut zeros = whole.clone();
        zeros[keep..].fill(0);
        assert_eq!(parsed(&zeros).unwrap().unwrap().entries.len(), 2);
        let mut middle = whole.clone();
        middle[keep - 3] = 0;
        let error = parsed(&middle).unwrap_err().to_string();
        assert!(error.contains("block.json.journal is damaged, line 2"), "{error}");
    }

    #[test]
    fn a_well_formed_line_that_is_no_entry_is_never_dropped() {
        let mut unknown = text(&[begin(4)]);
        unknown.extend(b"{\"entry\":\"levitate\"}\n");
        assert!(parsed(&unknown).unwrap_err().to_string().contains("line 2: unknown variant `levitate`"));
        assert!(parsed(&text(&[removed("a")])).unwrap_err().to_string().contains("line 1"));
        assert!(parsed(&text(&[begin(4), begin(5)])).unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn a_later_versions_journal_is_refused() {
        let later = String::from_utf8(text(&[begin(4)])).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(matches!(parsed(later.as_bytes()), Err(Error::Newer { version: 2, known: 1, .. })));
    }

    #[test]
    fn resuming_after_any_cut_gives_a_readable_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let whole = text(&[begin(4), removed("a"), removed("b")]);
        for cut in text(&[begin(4)]).len()..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let before = read(&path).unwrap().unwrap();
            Journal::resume(&path, &before, &begin(4)).unwrap().append(&[removed("c"), removed("d")]).unwrap();
            let mut expected = before.entries;
            expected.extend([begin(4), removed("c"), removed("d")]);
            assert_eq!(read(&path).unwrap().unwrap().entries, expected, "cut at {cut}");
        }
    }
}
