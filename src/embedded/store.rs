//! The cloud's folder: an append-only log that several processes share.
//!
//! In: the changes of each request. Out: the same [`State`] in every process that has the folder open.
//!
//! Files: `lock` (held around each request; its text is the log's generation) and `log.<generation>.jsonl`, one line a
//! request: `[[table, id, document or null], …]`.
//!
//! Invariants:
//! - A request's changes are in the log all or none: a last line without its newline is what a killed process left, and
//!   is cut off by whoever comes next.
//! - A log is compacted into a new generation, never in place: until the lock file names it, it does not count.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Error;
use super::catalogue::{self, Site};
use super::tables::{Change, State, Table};
use crate::model::Json;

/// A log is compacted at open when it has this many lines, and four times as many as there are documents.
const LONG: usize = 2_000;

/// The open folder.
pub struct Store {
    folder: PathBuf,
    site: Site,
    lock: File,
    log: File,
    generation: u64,
    offset: u64,
    lines: usize,
}

impl Store {
    /// Opens the folder, making it if it is not there, and reads its log.
    pub fn open(folder: &Path, site: Site) -> Result<(Self, State), Error> {
        std::fs::create_dir_all(folder).map_err(|source| Error::io("make", folder, source))?;
        let path = folder.join("lock");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| Error::io("open", &path, source))?;
        lock.lock().map_err(|source| Error::io("lock", &path, source))?;
        let opened = Self::open_locked(folder, site, lock);
        if let Ok((store, _)) = &opened {
            store.unlock()?;
        }
        opened
    }

    fn open_locked(folder: &Path, site: Site, mut lock: File) -> Result<(Self, State), Error> {
        let generation = read_generation(&mut lock, folder)?;
        let log = open_log(folder, generation)?;
        let mut store = Self { folder: folder.to_owned(), site, lock, log, generation, offset: 0, lines: 0 };
        let mut state = seeded(site);
        store.catch_up(&mut state)?;
        let documents = state.snapshot();
        if store.lines > LONG && store.lines > documents.len() * 4 {
            store.compact(&documents)?;
        }
        Ok((store, state))
    }

    /// Locks the folder and takes in what other processes did.
    pub fn begin(&mut self, state: &mut State) -> Result<(), Error> {
        self.lock.lock().map_err(|source| Error::io("lock", &self.folder, source))?;
        let taken = self.take_in(state);
        if taken.is_err() {
            self.unlock()?;
        }
        taken
    }

    fn take_in(&mut self, state: &mut State) -> Result<(), Error> {
        let generation = read_generation(&mut self.lock, &self.folder)?;
        if generation != self.generation {
            self.log = open_log(&self.folder, generation)?;
            self.generation = generation;
            self.read_anew(state);
        }
        self.catch_up(state)
    }

    /// Has the log read from its beginning by whatever takes it in next.
    fn read_anew(&mut self, state: &mut State) {
        (self.offset, self.lines) = (0, 0);
        *state = seeded(self.site);
    }

    /// Appends the request's changes and unlocks. Where they cannot be appended, the state is without them from the next
    /// [`Self::begin`] on.
    pub fn commit(&mut self, state: &mut State) -> Result<(), Error> {
        let changes = state.take_changes();
        let written = if changes.is_empty() { Ok(()) } else { self.append(&changes) };
        if written.is_err() {
            // Nobody else will see it, so this process is not to either; and half a line may stand there.
            self.read_anew(state);
        }
        self.unlock()?;
        written
    }

    /// The path of another file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn append(&mut self, changes: &[Change]) -> Result<(), Error> {
        let line = encode(changes);
        self.log.write_all(&line).map_err(|source| Error::io("append to", &self.folder, source))?;
        self.offset += line.len() as u64;
        self.lines += 1;
        Ok(())
    }

    fn unlock(&self) -> Result<(), Error> {
        self.lock.unlock().map_err(|source| Error::io("unlock", &self.folder, source))
    }

    fn catch_up(&mut self, state: &mut State) -> Result<(), Error> {
        let fail = |source| Error::io("read", &self.folder, source);
        if self.log.metadata().map_err(fail)?.len() == self.offset {
            return Ok(());
        }
        let mut bytes = Vec::new();
        self.log.seek(SeekFrom::Start(self.offset)).map_err(fail)?;
        self.log.read_to_end(&mut bytes).map_err(fail)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            for change in decode(line).ok_or_else(|| Error::Log { folder: self.folder.clone() })? {
                state.replay(change);
            }
            self.lines += 1;
        }
        state.settled();
        self.offset += whole as u64;
        if whole < bytes.len() {
            self.log.set_len(self.offset).map_err(fail)?;
        }
        Ok(())
    }

    fn compact(&mut self, documents: &[Change]) -> Result<(), Error> {
        let (old, next) = (self.generation, self.generation + 1);
        let path = log_path(&self.folder, next);
        let mut bytes = Vec::new();
        for change in documents {
            bytes.extend(encode(std::slice::from_ref(change)));
        }
        std::fs::write(&path, &bytes).map_err(|source| Error::io("write", &path, source))?;
        self.log = open_log(&self.folder, next)?;
        let text = next.to_string();
        self.lock
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.lock.write_all(text.as_bytes()))
            .map_err(|source| Error::io("write", &self.folder, source))?;
        (self.generation, self.offset, self.lines) = (next, bytes.len() as u64, documents.len());
        let stale = log_path(&self.folder, old);
        std::fs::remove_file(&stale).map_err(|source| Error::io("remove", &stale, source))
    }
}

fn seeded(site: Site) -> State {
    let mut state = State::default();
    state.seed(|state| catalogue::seed(site, state));
    state
}

fn log_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("log.{generation}.jsonl"))
}

fn open_log(folder: &Path, generation: u64) -> Result<File, Error> {
    let path = log_path(folder, generation);
    let opened = OpenOptions::new().read(true).append(true).create(true).open(&path);
    opened.map_err(|source| Error::io("open", &path, source))
}

/// The generation in the lock file; generations only grow, so a longer number always overwrites a shorter one whole.
fn read_generation(lock: &mut File, folder: &Path) -> Result<u64, Error> {
    let mut text = String::new();
    lock.seek(SeekFrom::Start(0))
        .and_then(|_| lock.read_to_string(&mut text))
        .map_err(|source| Error::io("read", folder, source))?;
    Ok(text.trim().parse().unwrap_or(0))
}

fn encode(changes: &[Change]) -> Vec<u8> {
    let entries: Vec<Json> = changes.iter().map(|(table, id, doc)| json!([table.name(), id, doc])).collect();
    let mut line = Json::Array(entries).to_string().into_bytes();
    line.push(b'\n');
    line
}

fn decode(line: &[u8]) -> Option<Vec<Change>> {
    let entries: Vec<(String, String, Option<Json>)> = serde_json::from_slice(line).ok()?;
    // A table that this version does not know is another version's; its documents are left out of the state, and of
    // the log once it is compacted.
    Some(entries.into_iter().filter_map(|(table, id, doc)| Some((Table::by_name(&table)?, id, doc))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::Profile;

    fn open(folder: &Path) -> (Store, State) {
        Store::open(folder, Site::plain(Profile::ChameleonKvm)).unwrap()
    }

    fn put(store: &mut Store, state: &mut State, id: &str) {
        store.begin(state).unwrap();
        state.put(Table::Volumes, id, json!({"id": id, "project_id": "p"}));
        store.commit(state).unwrap();
    }

    #[test]
    fn two_handles_see_each_other_and_a_torn_line_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut one_state) = open(folder.path());
        let (mut two, mut two_state) = open(folder.path());
        put(&mut one, &mut one_state, "a");
        put(&mut two, &mut two_state, "b");
        let mut log = OpenOptions::new().append(true).open(log_path(folder.path(), 0)).unwrap();
        log.write_all(br#"[["volumes","torn",{"id":"#).unwrap();
        put(&mut one, &mut one_state, "c");
        two.begin(&mut two_state).unwrap();
        two.commit(&mut two_state).unwrap();
        for state in [&one_state, &two_state, &open(folder.path()).1] {
            let ids: Vec<_> = state.all(Table::Volumes).map(|doc| doc["id"].as_str().unwrap()).collect();
            assert_eq!(ids, ["a", "b", "c"]);
        }
    }

    #[test]
    fn what_could_not_be_written_did_not_happen() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, mut state) = open(folder.path());
        put(&mut store, &mut state, "a");
        // A disk that is full after half of the line.
        store.begin(&mut state).unwrap();
        state.put(Table::Volumes, "b", json!({"id": "b", "project_id": "p"}));
        store.log.write_all(br#"[["volumes","b",{"id":"#).unwrap();
        let whole = std::mem::replace(&mut store.log, File::open(log_path(folder.path(), 0)).unwrap());
        let refused = store.commit(&mut state).unwrap_err();
        assert!(refused.to_string().starts_with("the embedded cloud cannot append to"), "{refused}");
        store.log = whole;
        put(&mut store, &mut state, "c");
        for state in [&state, &open(folder.path()).1] {
            let ids: Vec<_> = state.all(Table::Volumes).map(|doc| doc["id"].as_str().unwrap()).collect();
            assert_eq!((ids, state.count(Table::Volumes, "project_id", "p")), (vec!["a", "c"], 2));
        }
    }

    #[test]
    fn a_long_log_is_compacted_and_an_open_handle_follows() {
        let folder = tempfile::tempdir().unwrap();
        let (mut old, mut old_state) = open(folder.path());
        for _ in 0..=LONG {
            put(&mut old, &mut old_state, "a");
        }
        let (mut new, mut new_state) = open(folder.path());
        assert_eq!(new.generation, 1);
        put(&mut new, &mut new_state, "b");
        put(&mut old, &mut old_state, "c");
        assert_eq!(old.generation, 1);
        assert_eq!(open(folder.path()).1.all(Table::Volumes).count(), 3);
        assert!(!log_path(folder.path(), 0).exists());
    }
}
