//! The contract for kinds whose objects no list of a service shows, but a look of their own does: a section of a file, a
//! dataset in a bucket.
//!
//! In: what was recorded. Out: the fields that are shown, in the spec's own words; a field that is shown otherwise than
//! it was applied is a difference like any other. Invariants: nothing is changed; what cannot be looked at is said, and
//! then what is recorded is believed, for a plan of all else must still be possible.

use std::path::Path;

use async_trait::async_trait;

use crate::cloud::Session;
use crate::model::{Address, Fields};

/// What a look may use.
pub struct LookCx<'a> {
    /// The resource, for messages.
    pub address: &'a Address,
    /// The signed-in site.
    pub session: &'a Session,
    /// The home folder, for `~`.
    pub home: Option<&'a Path>,
    /// The stack's lineage: what is left on this machine is told apart by it.
    pub lineage: &'a str,
    /// Whether data is read back, however long that takes.
    pub verify: bool,
}

/// Looks at objects of a kind.
#[async_trait]
pub trait Looker: Send + Sync {
    /// What an object shows; `applied` is what was put, `attributes` what was recorded of it.
    ///
    /// # Errors
    /// Why it cannot be looked at, for people.
    async fn look(&self, cx: &LookCx<'_>, applied: &Fields, attributes: &Fields) -> Result<Fields, String>;
}
