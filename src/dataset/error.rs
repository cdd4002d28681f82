//! What went wrong on the way from a source to its objects, for whoever has to do something about it.

use std::io;
use std::path::Path;

/// What kind of failure it was, as far as the caller acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The job itself cannot be carried out: a pattern that is none, a program that is missing.
    Job,
    /// A source cannot be had.
    Source,
    /// What came is not what was expected: its SHA-256 or its size is another one.
    Digest,
    /// An archive that is damaged, cut short, or hostile.
    Archive,
    /// More than the limits allow, or than the disk holds.
    Limit,
    /// A transform found nothing to do, or two files for one key.
    Transform,
    /// A command of the user's ended badly.
    Command,
    /// A file of this machine cannot be read or written.
    File,
    /// What is recorded (a manifest, a cache) is damaged, or of a later version.
    Record,
    /// Another run is at work in the staging folder.
    Busy,
    /// It was asked to stop.
    Stopped,
}

/// A failure: what happened, to which file or entry, and what to do next. It never holds a URL's password or query.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct DatasetError {
    /// What kind.
    pub kind: ErrorKind,
    /// What happened, and to what.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl DatasetError {
    /// A failure of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file of this machine that could not be read or written.
    pub fn file(path: &Path, error: io::Error) -> Self {
        Self::io(ErrorKind::File, &path.display(), error)
    }

    /// An error of reading or writing, with what was read. An error of ours that travelled through a reader comes out
    /// as it was.
    pub fn io(kind: ErrorKind, what: &dyn std::fmt::Display, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::new(kind, format!("{what} is cut short: it ends in the middle"))
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                Self::new(ErrorKind::Limit, format!("{what}: the disk is full"))
            }
            Err(error) => {
                // Readers of content name what they read.
                let (what, text) = (what.to_string(), error.to_string());
                Self::new(kind, if text.starts_with(&what) { text } else { format!("{what}: {text}") })
            }
        }
    }

    /// That it was asked to stop.
    #[must_use]
    pub fn stopped() -> Self {
        Self::new(ErrorKind::Stopped, "it was stopped; the next run carries on")
    }

    /// The same as an error of a reader, for code between readers.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}
