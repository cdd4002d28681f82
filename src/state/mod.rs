//! What anole remembers of a stack: which objects are its own, and what it last set on them.
//!
//! A [`State`] is a snapshot; the journal beside it is a list of [`Entry`]s that came after. Reading is
//! snapshot + entries folded in ([`Loaded`]); an apply appends entries, one fsync each, and folds them into a new
//! snapshot when it ends. So each step costs one line, and a crash at any moment loses at most what was never asked
//! of a service.
//!
//! Invariants:
//! - An object is asked for only after its [`Entry::Intent`] is on disk; its id is written by [`Entry::Accepted`]
//!   straight after the answer, before any waiting.
//! - Folding is pure and total: any prefix of a journal folds to a valid state and a list of open intents.
//! - A snapshot of a newer version is refused; an older one is upgraded step by step.
//! - A state is bound to its sites' identities and is never applied to others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::guest::{Filesystem, GuestMemory, PinnedKey};
use crate::model::{Address, Fields, Json, RemoteId, SiteAlias, SiteIdentity};

pub mod edit;
pub mod error;
pub mod file;
pub mod format;
pub mod journal;
pub mod lock;
pub mod recover;
pub mod sealing;
pub mod secrets;
pub mod store;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use file::FileStore;
pub use lock::Holder;
pub use store::{StateStore, Writer};

/// The version of the format that this program writes.
pub const VERSION: u32 = 1;

/// A stack's snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The format's version.
    pub version: u32,
    /// Which anole wrote it.
    pub tool: String,
    /// Made once with the state: 16 hexadecimal digits. Two states with one lineage are the same stack.
    pub lineage: String,
    /// Counts the snapshots.
    pub serial: u64,
    /// The stack's name.
    pub stack: String,
    /// What each alias stood for.
    #[serde(default)]
    pub sites: BTreeMap<SiteAlias, SiteIdentity>,
    /// The variables' last values; sensitive ones are not among them.
    #[serde(default)]
    pub variables: BTreeMap<String, Json>,
    /// The resources.
    #[serde(default)]
    pub resources: BTreeMap<Address, ResourceState>,
    /// The outputs' last values.
    #[serde(default)]
    pub outputs: BTreeMap<String, Json>,
    /// What is remembered of servers' insides and of volumes' contents.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guest: GuestMemory,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A resource's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResourceState {
    /// Its kind.
    pub kind: String,
    /// Its site.
    pub site: SiteAlias,
    /// The object.
    pub id: RemoteId,
    /// How it came to be ours.
    pub origin: Origin,
    /// Whether destroy and removal keep it. Outlives the block.
    pub protect: bool,
    /// The unique id of its stamp.
    pub uid: String,
    /// How far it is.
    pub status: Status,
    /// What the last apply set. References in it carry their ids: a lookup is pinned by this.
    pub applied: Fields,
    /// What the object last showed: fields and attributes.
    pub attributes: Fields,
    /// What it needs: these are deleted after it.
    #[serde(default)]
    pub needs: Vec<Address>,
}

/// How an object came to be in the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// anole made it.
    Created,
    /// `import` made it ours.
    Imported,
    /// `adopt:` manages it in place; it is never replaced and never deleted.
    Adopted,
}

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The service accepted it; it was not seen ready yet.
    Accepted,
    /// It was seen ready.
    Ready,
    /// It failed, or it is in an unknown condition after a failed update; the next apply replaces it.
    Failed(String),
}

/// What an intent is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Ask for a new object.
    Create,
    /// Change one in place.
    Update,
    /// Ask for a deletion.
    Delete,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "entry")]
pub enum Entry {
    /// An apply began. The first line of every journal.
    Begin {
        /// The state's lineage.
        lineage: String,
        /// The stack's name.
        stack: String,
        /// The snapshot's serial that the entries follow.
        serial: u64,
        /// When.
        at: Timestamp,
        /// Which sites it works on.
        sites: BTreeMap<SiteAlias, SiteIdentity>,
        /// The variables in force.
        variables: BTreeMap<String, Json>,
    },
    /// About to ask a service for something.
    Intent(Intent),
    /// The service gave an id to the object of the open intent.
    Accepted {
        /// The resource.
        address: Address,
        /// The object.
        id: RemoteId,
    },
    /// The record as it is from now on. Closes the intent.
    Put {
        /// The resource.
        address: Address,
        /// Its record.
        resource: Box<ResourceState>,
    },
    /// The object is gone, or no longer ours. Closes the intent.
    Remove {
        /// The resource.
        address: Address,
    },
    /// The request was refused and nothing came of it. Closes the intent and changes nothing.
    Refused {
        /// The resource.
        address: Address,
    },
    /// The resource is called otherwise from now on.
    Rename {
        /// Its old address.
        from: Address,
        /// Its new one.
        to: Address,
    },
    /// The filesystem on a volume, as it is from now on.
    Filesystem {
        /// The volume.
        volume: RemoteId,
        /// What is, or is about to be, on it.
        filesystem: Filesystem,
    },
    /// A server's host key from now on.
    HostKey {
        /// The server.
        server: RemoteId,
        /// The key.
        pinned: PinnedKey,
    },
    /// The outputs from now on.
    Outputs {
        /// All of them.
        outputs: BTreeMap<String, Json>,
    },
}

/// What an apply was about to do when it stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The resource.
    pub address: Address,
    /// What it was to do.
    pub operation: Operation,
    /// The record to be: of a create without an id (empty) and attributes.
    pub resource: Box<ResourceState>,
    /// The name asked for, by which objects without a stamp are found again.
    pub name: String,
    /// Objects of that name and owner that were there before, for kinds without a stamp.
    #[serde(default)]
    pub seen_before: Vec<RemoteId>,
    /// When.
    pub at: Timestamp,
}

/// A state as it is after its journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The state.
    pub state: State,
    /// Intents that nothing closed, by address. A create among them that was accepted is in the state already.
    pub open: BTreeMap<Address, Intent>,
}

impl State {
    /// A new, empty state.
    #[must_use]
    pub fn new(stack: &str, lineage: String) -> Self {
        Self {
            version: VERSION,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            lineage,
            serial: 0,
            stack: stack.to_owned(),
            sites: BTreeMap::new(),
            variables: BTreeMap::new(),
            resources: BTreeMap::new(),
            outputs: BTreeMap::new(),
            guest: GuestMemory::default(),
        }
    }
}

impl State {
    /// The record of an object.
    #[must_use]
    pub fn find(&self, kind: &str, id: &RemoteId) -> Option<(&Address, &ResourceState)> {
        self.resources.iter().find(|(_, record)| record.kind == kind && record.id == *id)
    }
}

impl Loaded {
    /// A state without a journal.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self { state, open: BTreeMap::new() }
    }

    /// Folds an entry in.
    pub fn fold(&mut self, entry: Entry) {
        match entry {
            Entry::Begin { sites, variables, .. } => {
                self.state.sites.extend(sites);
                self.state.variables = variables;
            }
            Entry::Intent(intent) => {
                self.open.insert(intent.address.clone(), intent);
            }
            Entry::Accepted { address, id } => {
                if let Some(intent) = self.open.remove(&address) {
                    let resource = ResourceState { id, status: Status::Accepted, ..*intent.resource };
                    self.state.resources.insert(address, resource);
                }
            }
            Entry::Put { address, resource } => {
                self.open.remove(&address);
                self.state.resources.insert(address, *resource);
            }
            Entry::Remove { address } => {
                self.open.remove(&address);
                if let Some(record) = self.state.resources.remove(&address) {
                    self.state.guest.forget(&record.id);
                }
            }
            Entry::Refused { address } => {
                self.open.remove(&address);
            }
            Entry::Rename { from, to } => self.rename(&from, &to),
            Entry::Filesystem { volume, filesystem } => {
                self.state.guest.filesystems.insert(volume, filesystem);
            }
            Entry::HostKey { server, pinned } => {
                self.state.guest.host_keys.insert(server, pinned);
            }
            Entry::Outputs { outputs } => self.state.outputs = outputs,
        }
    }

    /// Moves a record, and what other records say they need, from one address to another.
    fn rename(&mut self, from: &Address, to: &Address) {
        if let Some(resource) = self.state.resources.remove(from) {
            self.state.resources.insert(to.clone(), resource);
        }
        for resource in self.state.resources.values_mut() {
            for need in &mut resource.needs {
                if need == from {
                    *need = to.clone();
                }
            }
        }
    }
}
