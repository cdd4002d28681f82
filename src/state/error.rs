//! What can go wrong with a state: each error names the file or resource, and [`Error::hint`] says what to do.
//!
//! Invariants: a secret is in none of them; `Display` never repeats a source, which `std::error::Error::source` gives.

use std::path::{Path, PathBuf};

use super::lock::Holder;
use crate::model::{Address, RemoteId, SiteAlias};

/// A failure of reading, writing, locking or editing a state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `write`, `lock`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A snapshot or journal of a later format.
    #[error("{} was written by anole {tool} with state format {version}; this anole knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Who wrote it.
        tool: String,
        /// Its format.
        version: u32,
        /// The latest format that is known here.
        known: u32,
    },
    /// A snapshot that cannot be read.
    #[error("the state {} is damaged{}: {what}", path.display(), at_line(*line))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Which line, counted from 1, where it is known.
        line: Option<usize>,
        /// What is wrong with it.
        what: String,
        /// The newest backup that can be read.
        backup: Option<PathBuf>,
    },
    /// A journal with a line that cannot be read, other than a torn last one.
    #[error("the journal {} is damaged, line {line}: {what}", path.display())]
    CorruptJournal {
        /// The file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// Two files that should belong together do not.
    #[error("{} belongs to another state: its lineage is {found}, expected was {expected}", path.display())]
    OtherLineage {
        /// The file.
        path: PathBuf,
        /// Its lineage.
        found: String,
        /// The lineage expected.
        expected: String,
    },
    /// The state of another stack.
    #[error("{} is the state of stack `{found}`, not of `{expected}`", path.display())]
    OtherStack {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose was expected.
        expected: String,
    },
    /// A journal that follows a snapshot which is not there.
    #[error(
        "the journal {} follows serial {serial}, but {}", path.display(),
        found.map_or_else(|| "there is no state beside it".to_owned(), |found| format!("the state beside it has serial {found}"))
    )]
    JournalAhead {
        /// The journal.
        path: PathBuf,
        /// The serial it follows.
        serial: u64,
        /// The state's serial, if there is a state.
        found: Option<u64>,
        /// The newest backup that can be read.
        backup: Option<PathBuf>,
    },
    /// Somebody else wrote the state since it was read.
    #[error("{location} has serial {found} by now; this command started from serial {expected}")]
    Moved {
        /// The store.
        location: String,
        /// The serial that was read.
        expected: u64,
        /// The serial there is.
        found: u64,
    },
    /// A journal entry before [`super::Writer::begin`], or after a failed write.
    #[error("the journal {} takes no entries: {why}", path.display())]
    JournalClosed {
        /// The journal.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A state that would not be the same when read again.
    #[error("the state cannot be written: {what}")]
    Unwritable {
        /// What is wrong with it.
        what: String,
    },
    /// Another process writes the state.
    #[error("the state of stack `{stack}` is locked by {}", holder.as_ref().map_or_else(|| "another process".to_owned(), |holder| holder.describe(*now)))]
    Locked {
        /// The stack.
        stack: String,
        /// Who, as far as the lock file says.
        holder: Option<Box<Holder>>,
        /// When this was found.
        now: jiff::Timestamp,
    },
    /// `--state` names a store that this version does not have.
    #[error("`{url}` is not a place for a state: {why}")]
    BadLocation {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A secret whose key is not at hand.
    #[error("the secret `{name}` cannot be opened: it was sealed with {key}")]
    KeyMissing {
        /// Which secret.
        name: String,
        /// The key in words.
        key: String,
    },
    /// A secret that does not open with its key, or is not of a sealed secret's form.
    #[error("the secret `{name}` cannot be opened: {what}")]
    BadSecret {
        /// Which secret.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A key file that cannot be used.
    #[error("the key file {} cannot be used: {what}", path.display())]
    BadKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system gave no random numbers, or its cryptography failed.
    #[error("{what}")]
    Crypto {
        /// What failed.
        what: &'static str,
    },
    /// No such resource in the state.
    #[error("{address} is not in the state")]
    NoSuchResource {
        /// What was asked for.
        address: Box<Address>,
        /// The one that may have been meant.
        near: Option<Box<Address>>,
    },
    /// A move to an address that is in use.
    #[error("{address} is in the state already")]
    Taken {
        /// The address.
        address: Box<Address>,
    },
    /// A move between addresses of different kinds.
    #[error("{from} cannot become {to}: they are not of one kind")]
    OtherKind {
        /// The old address.
        from: Box<Address>,
        /// The new one.
        to: Box<Address>,
    },
    /// A change of a record that an interrupted apply left open.
    #[error("an interrupted apply was about to change {address}")]
    Open {
        /// The resource.
        address: Box<Address>,
    },
    /// Nothing that a state could be made from.
    #[error("no object of stack `{stack}` that you own was found")]
    NothingToRecover {
        /// The stack.
        stack: String,
    },
    /// Objects of several states of the same stack and owner.
    #[error("objects of stack `{stack}` carry the stamps of {} states: {}", counts.len(), lineages(counts))]
    Lineages {
        /// The stack.
        stack: String,
        /// How many objects each lineage has.
        counts: Vec<(String, usize)>,
    },
    /// Several objects for one address.
    #[error("{} objects may be {address}: {}", objects.len(), candidates(objects))]
    Candidates {
        /// The address.
        address: Box<Address>,
        /// The objects.
        objects: Vec<Candidate>,
    },
    /// One object for several addresses.
    #[error("{object} may be {first} or {second}")]
    TwoAddresses {
        /// The object.
        object: Box<Candidate>,
        /// An address.
        first: Box<Address>,
        /// Another.
        second: Box<Address>,
    },
}

/// An object that could be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: RemoteId,
    /// Its site.
    pub site: SiteAlias,
    /// When it was made, RFC 3339, where the service says.
    pub created_at: Option<String>,
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}` {} on {}", self.kind, self.name, self.id, self.site)?;
        self.created_at.as_ref().map_or(Ok(()), |at| write!(f, ", made {at}"))
    }
}

fn at_line(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line}"))
}

fn lineages(counts: &[(String, usize)]) -> String {
    let objects = |count: &usize| if *count == 1 { "1 object".to_owned() } else { format!("{count} objects") };
    let words: Vec<_> = counts.iter().map(|(lineage, count)| format!("{lineage} ({})", objects(count))).collect();
    words.join(", ")
}

fn candidates(objects: &[Candidate]) -> String {
    let words: Vec<_> = objects.iter().map(Candidate::to_string).collect();
    words.join("; ")
}

fn restore(backup: Option<&Path>, to: &Path) -> String {
    match backup {
        Some(backup) => format!(
            "restore the newest readable backup with `cp '{}' '{}'`; what was made after it is found again by `anole state recover`",
            backup.display(),
            to.display()
        ),
        None => {
            "there is no readable backup; `anole state recover` rebuilds the state from the live objects".to_owned()
        }
    }
}

impl Error {
    /// Turns the file system's answer into an error that names the file.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Whether what is kept cannot be read any more, so that recovering it loses nothing.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::CorruptJournal { .. } | Self::JournalAhead { .. })
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Newer { .. } => "upgrade anole".to_owned(),
            Self::Corrupt { path, backup, .. } => restore(backup.as_deref(), path),
            Self::CorruptJournal { path, line, .. } => format!(
                "look at line {line}; what the lines before it say is sound. If it cannot be mended, move {} away and run `anole state recover`",
                path.display()
            ),
            Self::OtherLineage { path, .. } | Self::OtherStack { path, .. } => {
                format!("a file was copied or restored from elsewhere: move {} away, or name the right one with --state", path.display())
            }
            Self::JournalAhead { path, backup, .. } => {
                let state = path.with_extension("");
                format!(
                    "{}; if no backup has that serial, move the journal away first",
                    restore(backup.as_deref(), &state)
                )
            }
            Self::Moved { .. } => "run the command again".to_owned(),
            Self::JournalClosed { .. } => "what was recorded before is safe; make room or mend the disk, and run the command again".to_owned(),
            Self::Locked { .. } => {
                "wait for it with `--lock-timeout 10m`; if the process is gone for certain, `anole state unlock`".to_owned()
            }
            Self::BadLocation { .. } => "give a path, or file:///absolute/path/name.json".to_owned(),
            Self::KeyMissing { .. } | Self::BadSecret { .. } => {
                "only the secrets are lost: the rest of the state is sound. Bring the key or passphrase back, or have what they belong to made anew with `--replace`".to_owned()
            }
            Self::BadKeyFile { .. } => "restore it from a backup; moved away, a new one is made and only the sealed secrets are lost".to_owned(),
            Self::NoSuchResource { near: Some(near), .. } => format!("did you mean {near}?"),
            Self::NoSuchResource { near: None, .. } => "`anole state list` shows what is".to_owned(),
            Self::Taken { .. } => "move that one elsewhere first, or `anole state rm` it".to_owned(),
            Self::OtherKind { .. } => "a record keeps its section".to_owned(),
            Self::Open { .. } => "run `anole apply` first: it finds out what came of that".to_owned(),
            Self::NothingToRecover { .. } => "check the sites, the project and the user you are signed in as".to_owned(),
            Self::Lineages { .. } => "choose one with `anole state recover --lineage LINEAGE`".to_owned(),
            Self::Candidates { .. } => "delete or rename the wrong one, or name the right one with `anole import`".to_owned(),
            Self::TwoAddresses { .. } => "give the blocks different names, or name the object with `anole import`".to_owned(),
            Self::Io { .. } | Self::Unwritable { .. } | Self::Crypto { .. } => return None,
        })
    }
}
