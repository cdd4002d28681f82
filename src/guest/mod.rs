//! Inside servers: what is found on them, and what is done there over SSH.
//!
//! ```text
//!  ssh settings + address + pinned key ──access──▶ Guest ──shell──▶ programs (sh, over standard input)
//!                                                    │
//!        mountinfo, lsblk ──facts──▶ Facts           ├── disk: Probe ──decide──▶ mount, make, or refuse
//!                                                    ├── filesystem: making, fstab, growing, unmounting
//!                                                    ├── bucket: tool, configuration, service
//!                                                    ├── script: files, run, stop, wait_for
//!                                                    └── dataset: the program itself, a delivery, its progress
//! ```
//!
//! In: a server's address and the way to it ([`Access`]), and what is wanted of it. Out: what was found, what was done,
//! and errors that say what stands in the way and what to do by hand.
//!
//! **Architecture Invariant:** what is done to a disk is decided here, by a pure function of what was found
//! ([`disk::decide`]); a program that runs in the guest looks and acts, and decides nothing.
//!
//! **Architecture Invariant:** no program stands on a command line: programs, values and secrets go over standard input,
//! so the server's list of processes shows none of them.
//!
//! **Architecture Invariant:** one thing at a time is done in one guest, and different guests do not wait for each other.

mod access;
pub mod bucket;
pub mod dataset;
pub mod disk;
mod error;
mod facts;
pub mod filesystem;
mod memory;
pub mod script;
mod shell;

pub use access::{Access, Guests, Tell};
pub use error::GuestError;
pub use facts::{Device, Facts, Mounted};
pub use memory::{Filesystem, GuestMemory, Memory, Phase, PinnedKey};
pub use shell::{Program, quoted};

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::ssh::{End, Ended, Ssh};

/// How long a look that touches no disk may take: a server that hangs is told of in minutes.
const LOOKING: Duration = Duration::from_secs(120);

/// What a program of ours ends with where something is in its way: it did nothing, and said what that is.
const IN_THE_WAY: End = End::Status(65);

/// The end of a program that must succeed.
fn succeeded(ended: Ended) -> Result<Ended, GuestError> {
    match ended.end {
        IN_THE_WAY => Err(GuestError::refused(ended.stderr.text().trim())),
        _ => Ok(ended.check()?),
    }
}

/// A server that was logged in to. Cheap to clone; clones share the connection and the turn.
#[derive(Clone)]
pub struct Guest {
    ssh: Ssh,
    /// Whether the log-in user is root already.
    root: bool,
    turn: Arc<Mutex<()>>,
}

impl Guest {
    /// A guest behind a connection.
    #[must_use]
    pub fn new(ssh: Ssh, root: bool) -> Self {
        Self { ssh, root, turn: Arc::default() }
    }

    /// The connection.
    #[must_use]
    pub fn ssh(&self) -> &Ssh {
        &self.ssh
    }

    /// A turn in this guest: others that want one wait until it is dropped.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Runs a program as root and gives its end, whatever that was.
    ///
    /// # Errors
    /// When it did not come to an end, or the log-in user may not become root.
    pub async fn run(&self, program: &Program) -> Result<Ended, GuestError> {
        let ended = self.ssh.run(program.command(self.root)).await?;
        match shell::refused_root(&ended) {
            true => Err(shell::no_root(&ended)),
            false => Ok(ended),
        }
    }

    /// Runs a program as root that must succeed, and gives what it printed.
    ///
    /// # Errors
    /// Also when it ends with another status than 0; the error has its last lines.
    pub async fn output(&self, program: &Program) -> Result<String, GuestError> {
        Ok(succeeded(self.run(program).await?)?.stdout.text())
    }

    /// What is found in the guest, in one round trip; no rights are needed for it.
    ///
    /// # Errors
    /// When the guest does not answer, or what it answers is not understood.
    pub async fn facts(&self) -> Result<Facts, GuestError> {
        let program = Program::new("looking at disks and mounts", facts::PROGRAM).as_user().timeout(LOOKING);
        Facts::parse(&self.output(&program).await?)
    }
}
