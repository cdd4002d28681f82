//! The contract for kinds whose objects are on this machine, or nowhere but in the state: a random secret, a
//! section of a file.
//!
//! No service lists such an object: the state says which there are. So there is no create that could be lost: its record
//! is on disk before anything is done, and whatever was begun is done again.
//!
//! Invariants for every implementation:
//! - [`LocalKind::put`] may be called again after a crash at any moment; doing what is done already is success.
//! - [`LocalKind::remove`] of what is gone is success.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::sync::watch;

use super::guest::GuestWords;
use super::kind::Kind;
use crate::cloud::Session;
use crate::dataset::gauge::Standing;
use crate::model::{Address, Fields};

/// What an operation on this machine may use.
pub struct LocalCx<'a> {
    /// The resource, for messages.
    pub address: &'a Address,
    /// The signed-in site.
    pub session: &'a Session,
    /// The home folder, for `~`.
    pub home: Option<&'a Path>,
    /// The stack's lineage: what is left on this machine is told apart by it.
    pub lineage: &'a str,
    /// What was recorded of it by the last apply.
    pub recorded: &'a Fields,
    /// Whether the last apply saw it done.
    pub done: bool,
    /// Whether data is read back after it was written.
    pub verify: bool,
    /// Told how far a long operation is.
    pub progress: &'a (dyn Fn(Standing) + Send + Sync),
    /// Told what is worth a line of its own.
    pub say: &'a (dyn Fn(String) + Send + Sync),
    /// Turns true when it is to stop: what is done by then is kept, and done is what can be done again.
    pub stop: watch::Receiver<bool>,
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

/// The half of a kind whose objects are on this machine.
#[async_trait]
pub trait LocalKind: Kind {
    /// Makes it so, and says what it shows from now on.
    ///
    /// # Errors
    /// When it cannot be done.
    async fn put(&self, cx: &LocalCx<'_>, want: &Fields) -> Result<Fields, LocalError>;

    /// Undoes it. `applied` is what was put.
    ///
    /// # Errors
    /// When it cannot be undone.
    async fn remove(&self, cx: &LocalCx<'_>, applied: &Fields) -> Result<(), LocalError>;

    /// Whether it may go on for long and take much of this machine: few of those are put at a time.
    fn takes_long(&self) -> bool {
        false
    }

    /// What people call what is done with it, where that is neither creating nor deleting.
    fn words(&self) -> Option<&'static GuestWords> {
        None
    }
}

/// Where a path of the spec is: `~/…` is below the home folder.
///
/// # Errors
/// That there is none.
pub fn located(path: &str, home: Option<&Path>) -> Result<PathBuf, LocalError> {
    match path.strip_prefix("~/") {
        None => Ok(PathBuf::from(path)),
        Some(rest) => home.map(|home| home.join(rest)).ok_or_else(|| LocalError {
            message: format!("{path}: there is no home folder"),
            hint: Some("set HOME, or write the path from the root".to_owned()),
        }),
    }
}
