//! The contract for kinds whose objects are on this machine, or nowhere but in the state: a random secret, a
//! section of a file.
//!
//! No service lists such an object: the state says which there are. So there is no create that could be lost: its record
//! is on disk before anything is done, and whatever was begun is done again.
//!
//! Invariants for every implementation:
//! - [`LocalKind::put`] may be called again after a crash at any moment; doing what is done already is success.
//! - [`LocalKind::remove`] of what is gone is success.

use std::path::Path;

use super::kind::Kind;
use crate::cloud::Session;
use crate::model::{Address, Fields};

/// What an operation on this machine may use.
pub struct LocalCx<'a> {
    /// The resource, for messages.
    pub address: &'a Address,
    /// The signed-in site.
    pub session: &'a Session,
    /// The home folder, for `~`.
    pub home: Option<&'a Path>,
}

/// Why something on this machine was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LocalError {
    /// What happened, to which file.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The half of a kind whose objects are on this machine. Its operations block no longer than a few disk writes.
pub trait LocalKind: Kind {
    /// Makes it so, and says what it shows from now on.
    ///
    /// # Errors
    /// When it cannot be done.
    fn put(&self, cx: &LocalCx<'_>, want: &Fields) -> Result<Fields, LocalError>;

    /// Undoes it. `applied` is what was put.
    ///
    /// # Errors
    /// When it cannot be undone.
    fn remove(&self, cx: &LocalCx<'_>, applied: &Fields) -> Result<(), LocalError>;

    /// What this machine shows of an object otherwise than it is recorded.
    fn look(&self, home: Option<&Path>, applied: &Fields) -> Fields {
        let _ = (home, applied);
        Fields::new()
    }
}
