//! A state in a file: the snapshot `block.json`, and beside it `.journal`, `.lock` and the folder `.backups`.
//!
//! A commit is five steps, each of which leaves a state that reads as before or as after:
//!
//! ```text
//! write block.json.new, fsync ─▶ link block.json into the backups ─▶ rename over block.json ─▶ fsync the folder ─▶ drop the journal
//! ```
//!
//! Invariants:
//! - The journal's serial says which snapshot it follows, so one that outlived its commit is known and ignored.
//! - Readers take the journal first and the snapshot second: if a commit comes in between, the snapshot is newer and
//!   holds what the journal said.
//! - The files have mode 0600; folders made here have mode 0700.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::format::{self, Problem};
use super::journal::{self, Contents, Journal};
use super::lock::{self, Holder, Lock};
use super::store::{StateStore, Writer};
use super::{Entry, Error, Loaded, VERSION};

/// How many snapshots are kept besides the current one.
const BACKUPS: usize = 10;

/// A state in a file.
#[derive(Debug, Clone)]
pub struct FileStore {
    path: PathBuf,
    stack: String,
}

impl FileStore {
    /// The state of that stack at that path. Nothing is touched yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, stack: impl Into<String>) -> Self {
        let path = path.into();
        // A rename onto a symbolic link would replace the link, so it is followed here, once.
        let path = if path.is_symlink() { std::fs::canonicalize(&path).unwrap_or(path) } else { path };
        Self { path, stack: stack.into() }
    }

    /// A file beside the state.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    }

    fn journal_path(&self) -> PathBuf {
        self.beside(".journal")
    }

    fn lock_path(&self) -> PathBuf {
        self.beside(".lock")
    }

    fn new_path(&self) -> PathBuf {
        self.beside(".new")
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// The kept snapshots, oldest first, with their numbers.
    ///
    /// # Errors
    /// When their folder cannot be read.
    pub fn backups(&self) -> Result<Vec<(u64, PathBuf)>, Error> {
        let folder = self.beside(".backups");
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &folder)(error)),
        };
        let mut backups = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &folder))?;
            let name = entry.file_name();
            if let Some(number) = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok()) {
                backups.push((number, entry.path()));
            }
        }
        backups.sort();
        Ok(backups)
    }

    /// The newest backup that is a whole snapshot of this stack.
    fn readable_backup(&self) -> Option<PathBuf> {
        let newest_first = self.backups().ok()?.into_iter().rev();
        newest_first.map(|(_, path)| path).find(|path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            format::read(&text).is_ok_and(|loaded| loaded.state.stack == self.stack)
        })
    }

    /// The snapshot alone.
    fn snapshot(&self) -> Result<Option<Loaded>, Error> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &self.path)(error)),
        };
        let read = String::from_utf8(bytes)
            .map_err(|_| Problem::Corrupt { line: None, what: "it is not UTF-8 text".to_owned() })
            .and_then(|text| format::read(&text));
        let path = self.path.clone();
        let loaded = read.map_err(|problem| match problem {
            Problem::Newer { tool, version, known } => Error::Newer { path, tool, version, known },
            Problem::Corrupt { line, what } => Error::Corrupt { path, line, what, backup: self.readable_backup() },
        })?;
        self.check_stack(&self.path, &loaded.state.stack)?;
        Ok(Some(loaded))
    }

    fn check_stack(&self, path: &Path, found: &str) -> Result<(), Error> {
        if found == self.stack {
            return Ok(());
        }
        Err(Error::OtherStack { path: path.to_owned(), found: found.to_owned(), expected: self.stack.clone() })
    }

    /// Whether the journal follows the snapshot; `false` for one that is folded into it already.
    fn follows(&self, journal: &Contents, snapshot: Option<&Loaded>) -> Result<bool, Error> {
        let path = self.journal_path();
        self.check_stack(&path, &journal.stack)?;
        if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.state.lineage != journal.lineage) {
            let (found, expected) = (journal.lineage.clone(), snapshot.state.lineage.clone());
            return Err(Error::OtherLineage { path, found, expected });
        }
        let serial = snapshot.map(|snapshot| snapshot.state.serial);
        if journal.serial > serial.unwrap_or(0) {
            return Err(Error::JournalAhead {
                path,
                serial: journal.serial,
                found: serial,
                backup: self.readable_backup(),
            });
        }
        Ok(journal.serial == serial.unwrap_or(0))
    }
}

impl StateStore for FileStore {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn load(&self) -> Result<Option<Loaded>, Error> {
        let journal = journal::read(&self.journal_path())?;
        let snapshot = self.snapshot()?;
        let Some(journal) = journal else { return Ok(snapshot) };
        if !self.follows(&journal, snapshot.as_ref())? {
            return Ok(snapshot);
        }
        Ok(Some(match snapshot {
            Some(snapshot) => journal.fold_into(snapshot),
            None => journal.fold_alone(),
        }))
    }

    fn lock(&self, holder: &Holder, wait: Duration) -> Result<Box<dyn Writer>, Error> {
        make_folder(self.folder())?;
        let lock = Lock::acquire(&self.lock_path(), &self.stack, holder, wait)?;
        Ok(Box::new(FileWriter { store: self.clone(), journal: None, _lock: lock }))
    }

    fn holder(&self) -> Result<Option<Holder>, Error> {
        lock::holder(&self.lock_path())
    }

    fn unlock(&self) -> Result<Option<Holder>, Error> {
        lock::unlock(&self.lock_path(), &self.stack)
    }
}

/// A locked state.
#[derive(Debug)]
struct FileWriter {
    store: FileStore,
    journal: Option<Journal>,
    _lock: Lock,
}

impl FileWriter {
    /// Refuses what does not stem from the state that is kept, and says whether there is one.
    fn check_base(&self, lineage: &str, serial: u64) -> Result<(), Error> {
        let kept = self.store.load()?;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.state.lineage != lineage) {
            let (found, expected) = (kept.state.lineage.clone(), lineage.to_owned());
            return Err(Error::OtherLineage { path: self.store.path.clone(), found, expected });
        }
        let found = kept.map_or(0, |kept| kept.state.serial);
        if found != serial {
            return Err(Error::Moved { location: self.store.location(), expected: serial, found });
        }
        Ok(())
    }

    /// Writes `loaded` with that serial, step by step.
    fn write(&mut self, loaded: &mut Loaded, serial: u64, keep_journal: bool) -> Result<(), Error> {
        let mut next = loaded.clone();
        next.state.version = VERSION;
        env!("CARGO_PKG_VERSION").clone_into(&mut next.state.tool);
        next.state.serial = serial;
        self.store.write_new(&format::write(&next)?)?;
        self.store.keep_previous()?;
        self.store.swap()?;
        self.journal = None;
        *loaded = next;
        self.store.drop_journal(keep_journal)?;
        self.store.prune();
        Ok(())
    }
}

impl Writer for FileWriter {
    fn load(&self) -> Result<Option<Loaded>, Error> {
        self.store.load()
    }

    fn begin(&mut self, begin: &Entry) -> Result<(), Error> {
        let path = self.store.journal_path();
        let Entry::Begin { lineage, stack, serial, .. } = begin else {
            return Err(Error::JournalClosed { path, why: "its first entry must be `begin`" });
        };
        self.store.check_stack(&path, stack)?;
        self.check_base(lineage, *serial)?;
        self.journal = Some(match journal::read(&path)? {
            Some(contents) if contents.serial == *serial => Journal::resume(&path, &contents, begin)?,
            _ => {
                remove(&path)?;
                let journal = Journal::begin(&path, begin)?;
                sync_folder(self.store.folder())?;
                journal
            }
        });
        Ok(())
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), Error> {
        match &mut self.journal {
            Some(journal) => journal.append(entries),
            None => Err(Error::JournalClosed { path: self.store.journal_path(), why: "it was not begun" }),
        }
    }

    fn commit(&mut self, loaded: &mut Loaded) -> Result<(), Error> {
        self.store.check_stack(&self.store.path, &loaded.state.stack)?;
        self.check_base(&loaded.state.lineage, loaded.state.serial)?;
        self.write(loaded, loaded.state.serial + 1, false)
    }

    fn replace(&mut self, loaded: &mut Loaded) -> Result<(), Error> {
        self.store.check_stack(&self.store.path, &loaded.state.stack)?;
        let kept = self.store.snapshot().ok().flatten().map(|kept| kept.state.serial);
        let journal = journal::read(&self.store.journal_path()).ok().flatten().map(|journal| journal.serial);
        let serial = loaded.state.serial.max(kept.unwrap_or(0)).max(journal.unwrap_or(0));
        self.write(loaded, serial + 1, true)
    }
}

/// The steps of a commit, in their order.
impl FileStore {
    /// Writes the new snapshot beside the old one. What an interrupted commit left there is overwritten.
    fn write_new(&self, text: &str) -> Result<(), Error> {
        let path = self.new_path();
        remove(&path)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&path).map_err(Error::io("create", &path))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::io("write", &path))
    }

    /// Keeps the snapshot that is about to be replaced.
    fn keep_previous(&self) -> Result<(), Error> {
        if !self.path.exists() {
            return Ok(());
        }
        let backup = self.next_backup("json")?;
        // A link costs nothing and is whole at once; file systems without links get a copy.
        std::fs::hard_link(&self.path, &backup)
            .or_else(|_| std::fs::copy(&self.path, &backup).and_then(|_| File::open(&backup)?.sync_all()))
            .map_err(Error::io("write the backup", &backup))
    }

    /// A free name in the folder of backups. The numbers go on from the highest there is.
    fn next_backup(&self, ending: &str) -> Result<PathBuf, Error> {
        let folder = self.beside(".backups");
        make_folder(&folder)?;
        let mut number = self.backups()?.last().map_or(0, |(number, _)| *number) + 1;
        loop {
            let path = folder.join(format!("{number:06}.{ending}"));
            if !path.exists() {
                return Ok(path);
            }
            number += 1;
        }
    }

    /// Puts the new snapshot in the old one's place.
    fn swap(&self) -> Result<(), Error> {
        std::fs::rename(self.new_path(), &self.path).map_err(Error::io("write", &self.path))?;
        sync_folder(self.folder())
    }

    /// Removes the journal, which the snapshot holds now; or keeps it, where the snapshot came from elsewhere.
    fn drop_journal(&self, keep: bool) -> Result<(), Error> {
        let path = self.journal_path();
        if keep && path.exists() {
            let backup = self.next_backup("journal")?;
            return std::fs::rename(&path, &backup).map_err(Error::io("write the backup", &backup));
        }
        remove(&path)
    }

    /// Deletes all but the newest backups. One that cannot be deleted is no reason to fail: the state is written.
    fn prune(&self) {
        let backups = self.backups().unwrap_or_default();
        for (_, path) in backups.iter().take(backups.len().saturating_sub(BACKUPS)) {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "cannot delete an old backup of the state");
            }
        }
    }
}

/// Makes a folder and those above it, for this user alone; one that exists is left as it is.
fn make_folder(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create the folder", path))
}

/// Makes the names in a folder durable.
fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io("write the folder", path))
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
