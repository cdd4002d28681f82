//! The contract for kinds whose objects are inside servers: a mounted filesystem, a script that ran.
//!
//! Such an object has no service that lists it: the state says which there are, and the guest shows how they are. So
//! there is no create that could be lost: its record is on disk before anything is done in the guest, and whatever was
//! begun is done again.
//!
//! Invariants for every implementation:
//! - [`GuestKind::put`] may be called again after a crash at any moment; doing what is done already is success.
//! - [`GuestKind::remove`] of what is gone is success.
//! - Nothing is done in a guest but by way of [`GuestCx::guest`].

use async_trait::async_trait;
use tokio::sync::watch;

use super::kind::Kind;
use crate::cloud::Session;
use crate::dataset::gauge::Standing;
use crate::guest::{Facts, Guest, GuestError, Memory, Tell};
use crate::model::{Address, Fields, RemoteId, Value};
use crate::state::Status;

/// The field of every such kind that names its server.
pub const SERVER: &str = "server";

/// The attribute of a record whose work was not done, because nobody logs in to servers of its site.
pub const RECORDED_ONLY: &str = "recorded_only";

/// What an operation in a guest may use.
pub struct GuestCx<'a> {
    /// The server, logged in to.
    pub guest: &'a Guest,
    /// The resource, for messages.
    pub address: &'a Address,
    /// The stack's name: what is left in a guest is told apart by it.
    pub stack: &'a str,
    /// What is remembered of volumes.
    pub memory: &'a dyn Memory,
    /// The site.
    pub session: &'a Session,
    /// Told what is under way, in a word or two: `making ext4`.
    pub tell: &'a Tell,
    /// Told how far a long operation is.
    pub progress: &'a (dyn Fn(Standing) + Send + Sync),
    /// Told what is worth a line of its own.
    pub say: &'a (dyn Fn(String) + Send + Sync),
    /// What was recorded of it by the last apply.
    pub recorded: &'a Fields,
    /// Whether the last apply saw it done, in this server.
    pub done: bool,
    /// Whether data is read back after it was written.
    pub verify: bool,
    /// Turns true when it is to stop waiting.
    pub stop: watch::Receiver<bool>,
}

/// What is said of an object inside a server: of what will be done with it, of what is done, of what was.
#[derive(Debug)]
pub struct GuestWords {
    /// To make it.
    pub make: &'static str,
    /// To make it again.
    pub again: &'static str,
    /// To unmake it.
    pub unmake: &'static str,
    /// While it is made.
    pub making: &'static str,
    /// Once it is made.
    pub made: &'static str,
    /// While it is unmade.
    pub unmaking: &'static str,
    /// Once it is unmade.
    pub unmade: &'static str,
    /// Where nothing is to be undone.
    pub forget: &'static str,
    /// To change it, while it is changed, and once it is.
    pub change: (&'static str, &'static str, &'static str),
}

/// Where nothing is to be undone inside a server.
pub const UNDO_NOTHING: &str = "forget, undo nothing";

/// What is said of changes of most objects.
pub const CHANGE_IN_PLACE: (&str, &str, &str) = ("update in place", "updating", "updated");

/// What is said of mounts, whatever is mounted.
pub static MOUNT_WORDS: GuestWords = GuestWords {
    make: "mount",
    again: "mount again",
    unmake: "unmount",
    making: "mounting",
    made: "mounted",
    unmaking: "unmounting",
    unmade: "unmounted",
    forget: UNDO_NOTHING,
    change: CHANGE_IN_PLACE,
};

/// How a mount is undone, in words, if it is mounted anywhere.
#[must_use]
pub fn unmounting(applied: &Fields) -> Vec<String> {
    let path = applied.get("path").and_then(Value::as_str);
    path.map(|path| format!("unmount it from {path}")).into_iter().collect()
}

/// The half of a kind whose objects are inside servers.
#[async_trait]
pub trait GuestKind: Kind {
    /// The object's id, from its bound fields: it is the same as long as server and resource are.
    fn id(&self, address: &Address, fields: &Fields) -> Option<RemoteId>;

    /// What is done in the guest, in words, in order. Steps that need nothing done are not among them.
    fn steps(&self, fields: &Fields) -> Vec<String>;

    /// What is done in the guest before that is done anew, or to be rid of it, in words. `applied` is what was put.
    fn undoing(&self, applied: &Fields) -> Vec<String> {
        let _ = applied;
        Vec::new()
    }

    /// Whether anything is to be done in the guest to be rid of it, as the state has it. If not, the guest is not even
    /// reached.
    fn is_undone(&self, applied: &Fields, status: &Status) -> bool {
        let _ = (applied, status);
        true
    }

    /// What people call what is done with it.
    fn words(&self) -> &'static GuestWords;

    /// Whether the guest's facts show how the object is; others are as they are recorded.
    fn is_seen(&self) -> bool {
        false
    }

    /// How a recorded object is by the facts of its guest: the fields that the guest shows.
    fn seen(&self, applied: &Fields, attributes: &Fields, facts: &Facts) -> Fields {
        let _ = (applied, facts);
        attributes.clone()
    }

    /// Whether what was made there is there still when its server is gone: it is somewhere else.
    fn outlives_server(&self) -> bool {
        false
    }

    /// Undoes what is not in the guest. Called after [`GuestKind::remove`], whether the server runs or not.
    async fn remove_elsewhere(&self, session: &Session, applied: &Fields) -> Result<(), GuestError> {
        let _ = (session, applied);
        Ok(())
    }

    /// Whether what is recorded of it counts while it is put again: no look tells it.
    fn remembers(&self) -> bool {
        false
    }

    /// Whether nothing else may be done in the server meanwhile.
    fn takes_turns(&self) -> bool {
        true
    }

    /// Makes it so, and says what it shows from now on.
    async fn put(&self, cx: &GuestCx<'_>, want: &Fields) -> Result<Fields, GuestError>;

    /// Undoes it. `applied` is what was put.
    async fn remove(&self, cx: &GuestCx<'_>, applied: &Fields) -> Result<(), GuestError>;
}

/// Whether a record's work was not done.
#[must_use]
pub fn is_recorded_only(attributes: &Fields) -> bool {
    attributes.get(RECORDED_ONLY).and_then(Value::as_bool).unwrap_or(false)
}

/// The server that bound fields name.
#[must_use]
pub fn server_of(fields: &Fields) -> Option<&RemoteId> {
    fields.get(SERVER).and_then(Value::as_id)
}
