//! What is remembered of guests and volumes between applies, in the state.
//!
//! Invariants:
//! - A filesystem's ids are remembered before the tools that make it are started, and what was made before anything is
//!   mounted: a crash in between leaves a disk of which it is known whose half-made work is on it.
//! - A host key belongs to one boot image of one server: a server that was made again or rebuilt has another one.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::GuestError;
use crate::model::RemoteId;
use crate::state::Origin;

/// What a state remembers of guests; each entry goes with its object's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestMemory {
    /// The filesystems on volumes, by the volume's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filesystems: BTreeMap<RemoteId, Filesystem>,
    /// The host keys of servers, by the server's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host_keys: BTreeMap<RemoteId, PinnedKey>,
}

impl GuestMemory {
    /// Drops what is remembered of an object that is gone.
    pub fn forget(&mut self, id: &RemoteId) {
        self.filesystems.remove(id);
        self.host_keys.remove(id);
    }
}

/// A filesystem on a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// `ext4`, `xfs`.
    pub kind: String,
    /// Its UUID.
    pub uuid: String,
    /// The partition's, where anole made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partuuid: Option<String>,
    /// How far it is.
    pub phase: Phase,
}

/// How far a filesystem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It was about to be made on a disk that was found blank; nothing was mounted yet.
    Intended,
    /// It is there: made by anole, or found and mounted.
    Made,
}

/// A server's host key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedKey {
    /// `ssh-ed25519 AAAA…`.
    pub key: String,
    /// The image that the server runs; another one means another key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// What an operation in a guest asks of the state, and writes to it.
#[async_trait]
pub trait Memory: Send + Sync {
    /// How a volume came to be ours; none if it is not.
    fn origin(&self, volume: &RemoteId) -> Option<Origin>;

    /// The filesystem that is remembered of a volume.
    fn filesystem(&self, volume: &RemoteId) -> Option<Filesystem>;

    /// Remembers a filesystem. It is on disk when this returns.
    ///
    /// # Errors
    /// When it could not be written; nothing may be done then that relies on it.
    async fn remember(&self, volume: &RemoteId, filesystem: Filesystem) -> Result<(), GuestError>;
}
