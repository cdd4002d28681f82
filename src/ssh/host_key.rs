//! A server's host key, and why it is trusted.
//!
//! In: the key that a server proved to hold, and the evidence: a pin, the console log, `known_hosts`. Out: the
//! [`Trust`], or an error with both fingerprints and what to do. [`judge`] is pure.
//!
//! Invariants: a pin is compared with nothing else. Evidence against a key is an error, whatever the policy allows.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use russh::keys::{Algorithm, HashAlg, PublicKey};
use serde::{Deserialize, Serialize};

use super::console::{Console, ConsoleKeys};
use super::error::{ErrorKind, SshError};
use super::known_hosts::Entry;
use super::target::Endpoint;

/// A host's public key. Written as `ssh-ed25519 AAAA…`, without a comment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostKey(PublicKey);

impl HostKey {
    /// Reads `ssh-ed25519 AAAA… comment`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        PublicKey::from_openssh(text.trim()).ok().map(|key| Self::of(&key))
    }

    pub(super) fn of(key: &PublicKey) -> Self {
        Self(PublicKey::new(key.key_data().clone(), ""))
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The algorithm's short name, as ssh prints it: `ED25519`.
    #[must_use]
    pub fn short_algorithm(&self) -> String {
        match self.0.algorithm() {
            Algorithm::Ecdsa { .. } => "ECDSA".to_owned(),
            Algorithm::Rsa { .. } => "RSA".to_owned(),
            Algorithm::Ed25519 => "ED25519".to_owned(),
            other => other.as_str().to_owned(),
        }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_openssh().map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({} {})", self.short_algorithm(), self.fingerprint())
    }
}

impl TryFrom<String> for HostKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| format!("not a public key: {text}"))
    }
}

impl From<HostKey> for String {
    fn from(key: HostKey) -> Self {
        key.0.to_openssh().unwrap_or_default()
    }
}

/// What is known of a host's key before the connection, and what may be taken.
#[derive(Clone)]
pub enum HostKeyPolicy {
    /// This key and no other. Neither console nor `known_hosts` are asked.
    Pinned(HostKey),
    /// None is known yet: a key is taken that the console log shows, else one that `known_hosts` has, else, where
    /// neither says anything, the one that is seen.
    ConsoleOrFirstContact {
        /// The server's console, where the cloud offers one.
        console: Option<Arc<dyn Console>>,
    },
}

impl HostKeyPolicy {
    /// The policy for a pin from a state: that key if there is one.
    #[must_use]
    pub fn from_pin(pin: Option<HostKey>, console: Option<Arc<dyn Console>>) -> Self {
        match pin {
            Some(key) => Self::Pinned(key),
            None => Self::ConsoleOrFirstContact { console },
        }
    }

    pub(super) fn console(&self) -> Option<&Arc<dyn Console>> {
        match self {
            Self::Pinned(_) => None,
            Self::ConsoleOrFirstContact { console } => console.as_ref(),
        }
    }
}

impl fmt::Debug for HostKeyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(key) => write!(f, "Pinned({key:?})"),
            Self::ConsoleOrFirstContact { console } => write!(f, "ConsoleOrFirstContact({})", console.is_some()),
        }
    }
}

/// Why a host key is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It is the pinned one.
    Pinned,
    /// It stands in the server's console log.
    Console,
    /// It stands in a `known_hosts` file.
    KnownHosts {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Nothing was known, and the policy allows that.
    FirstContact,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => f.write_str("it is the key that is remembered"),
            Self::Console => f.write_str("the server's console log shows it"),
            Self::KnownHosts { file, line } => write!(f, "{}:{line} has it", file.display()),
            Self::FirstContact => f.write_str("first contact: nothing was known of it"),
        }
    }
}

/// A host key that was seen and trusted. The caller keeps the key, and gives it as a pin the next time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenKey {
    /// `129.114.1.2:22`.
    pub host: String,
    /// The key.
    pub key: HostKey,
    /// Why it was trusted.
    pub trust: Trust,
    /// Something that the user should know: `known_hosts` has another key, so that `ssh` itself will refuse.
    pub notice: Option<String>,
}

/// What is known of a host's key.
pub(super) enum Evidence<'a> {
    /// This key is expected.
    Pin(&'a HostKey),
    /// What the console log shows, if anything, and the lines of `known_hosts` for this host.
    Found { console: &'a ConsoleKeys, known: &'a [Entry] },
}

/// Whether a key that a host proved to hold is trusted.
pub(super) fn judge(endpoint: &Endpoint, seen: &HostKey, evidence: &Evidence<'_>) -> Result<SeenKey, SshError> {
    weigh(endpoint, seen, evidence).map_err(|error| SshError { shown: Some(Box::new(seen.clone())), ..error })
}

fn weigh(endpoint: &Endpoint, seen: &HostKey, evidence: &Evidence<'_>) -> Result<SeenKey, SshError> {
    let mut notice = None;
    let trust = match evidence {
        Evidence::Pin(pin) if *pin == seen => Trust::Pinned,
        Evidence::Pin(pin) => return Err(changed_pin(seen, pin)),
        Evidence::Found { known, .. } if known.iter().any(|entry| entry.revoked && entry.key == *seen) => {
            return Err(SshError::new(ErrorKind::HostKey, format!("its host key {} is marked as revoked", text(seen)))
                .hint("a known_hosts file says @revoked for this key: do not connect, ask who runs the server"));
        }
        Evidence::Found { console, known } => {
            let good: Vec<&Entry> = known.iter().filter(|entry| !entry.revoked).collect();
            let same = good.iter().find(|entry| entry.key == *seen);
            if !console.is_empty() && !console.holds(seen) {
                return Err(not_on_console(seen, console));
            }
            match (console.is_empty(), same, good.first()) {
                (false, _, other) => {
                    notice = other.filter(|_| same.is_none()).map(|entry| stale(endpoint, entry));
                    Trust::Console
                }
                (true, Some(entry), _) => Trust::KnownHosts { file: entry.file.clone(), line: entry.line },
                (true, None, Some(entry)) => return Err(changed_known(endpoint, seen, entry)),
                (true, None, None) if endpoint.strict => return Err(unknown(seen)),
                (true, None, None) => Trust::FirstContact,
            }
        }
    };
    Ok(SeenKey { host: endpoint.address(), key: seen.clone(), trust, notice })
}

fn text(key: &HostKey) -> String {
    format!("{} ({})", key.fingerprint(), key.short_algorithm())
}

fn changed_pin(seen: &HostKey, pin: &HostKey) -> SshError {
    let message = format!("its host key changed: it showed {}, and {} is remembered", text(seen), text(pin));
    SshError::new(ErrorKind::HostKey, message).hint(
        "unless the server was rebuilt, or its keys made anew, somebody else may be answering at this address: do not \
         connect",
    )
}

fn changed_known(endpoint: &Endpoint, seen: &HostKey, entry: &Entry) -> SshError {
    let place = format!("{}:{}", entry.file.display(), entry.line);
    let message = format!("its host key changed: it showed {}, and {place} has {}", text(seen), text(&entry.key));
    SshError::new(ErrorKind::HostKey, message).hint(format!(
        "addresses of a cloud are used again: if another server had this one before, run `{}`; if not, somebody else \
         may be answering at this address: do not connect",
        forget(endpoint, entry)
    ))
}

fn not_on_console(seen: &HostKey, console: &ConsoleKeys) -> SshError {
    let message = format!(
        "its host key {} is not among those on the server's console log: {}",
        text(seen),
        console.fingerprints().join(", ")
    );
    SshError::new(ErrorKind::HostKey, message).hint(
        "another machine may be answering at this address: check that the floating IP is bound to this server, and \
         that nobody made the server's keys anew since it booted",
    )
}

fn unknown(seen: &HostKey) -> SshError {
    let message =
        format!("its host key {} is not known, and StrictHostKeyChecking forbids a first contact", text(seen));
    SshError::new(ErrorKind::HostKey, message).hint("connect once by `ssh`, and compare the fingerprint")
}

fn stale(endpoint: &Endpoint, entry: &Entry) -> String {
    format!(
        "{}:{} has another key for {}, from an earlier server: `ssh` will refuse until you run `{}`",
        entry.file.display(),
        entry.line,
        endpoint.address(),
        forget(endpoint, entry)
    )
}

fn forget(endpoint: &Endpoint, entry: &Entry) -> String {
    format!("ssh-keygen -f {} -R '{}'", entry.file.display(), endpoint.known_as())
}
