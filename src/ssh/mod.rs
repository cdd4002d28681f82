//! SSH to a server: who is reached, how it is trusted, commands and files. A library: it prints nothing, keeps
//! nothing on disk, and knows neither specs nor states nor clouds.
//!
//! ```text
//!  Asked + ssh config + defaults ──resolve──▶ Target ─┐
//!  pin, console log, known_hosts ─────────────────────┼──▶ Ssh ──▶ run(Command) ──▶ Ended
//!  agent, key files, passphrases ─────────────────────┘     ├────▶ files() ──▶ read, write, stat, …
//!                                                           ├────▶ dial(host, port) ──▶ a stream from the inside
//!                                                           └────▶ Greeting: which key, and why it is trusted
//! ```
//!
//! In: addresses as [`Asked`], what is known of the host's key as a [`HostKeyPolicy`], keys as a [`Keyring`], values
//! that must not be seen as a [`Redactor`]. Out: what a command printed and how it ended, files, events, and the host
//! key that was seen, which the caller keeps and gives again as a pin.
//!
//! ```ignore
//! let target = Target::resolve(&asked, &SshConfig::load(&surroundings)?, &surroundings)?;
//! let ssh = Ssh::new(target, Settings { host_keys: HostKeyPolicy::from_pin(pin, console), ..settings });
//! let greeting = ssh.wait_for(Duration::from_secs(300)).await?;      // the server boots meanwhile
//! let ended = ssh.run(Command::new("sh -s").stdin(script)).await?;   // Ended is not yet success: see `check`
//! let files = ssh.files().await?;
//! files.write("/home/cc/x", b"…", 0o600).await?;
//! ```
//!
//! **Architecture Invariant:** no host key is accepted blindly. A key is trusted for being pinned, for standing in the
//! server's own console log, for standing in `known_hosts`, or on first contact where the caller's policy allows
//! that; the [`Trust`] of each connection says which. A key that changed is never taken, whatever the policy.
//!
//! **Architecture Invariant:** nothing is offered to a server, neither key nor user name, before its key is trusted.
//!
//! **Architecture Invariant:** memory and time are bounded. Output is kept up to a bound, lines are cut, files are
//! read up to a bound, every exchange has a limit, and a peer that is gone is noticed by keepalives.
//!
//! **Architecture Invariant:** values of the [`Redactor`] are in no event, no line, no error and no log. Secrets go to
//! commands on their standard input; a command line shows in the server's list of processes.
//!
//! **Architecture Invariant:** futures may be dropped at any time. A command whose future is dropped is sent TERM and
//! its channel is closed; the connection stays good for others.
//!
//! One [`Ssh`] is one TCP connection, shared by its clones and made when needed; commands side by side are channels
//! on it. A connection that broke is made anew by the next call; a command that ran meanwhile is not repeated.
//! [`Ssh::fresh`] is another connection to the same server, with a log-in of its own: group memberships count from
//! the next log-in on.
//!
//! The protocol is `russh`'s, with its `ring` cipher library. Its types stay in this module: they change often.

mod auth;
mod client;
mod command;
mod config;
mod connect;
mod console;
mod dial;
mod error;
mod files;
mod host_key;
mod identity;
mod known_hosts;
mod output;
mod pattern;
mod redact;
mod stall;
mod target;

pub use client::{Event, EventSink, Greeting, Limits, Settings, Ssh};
pub use command::{Command, End, Ended, LineSink, Source};
pub use config::SshConfig;
pub use console::{Console, ConsoleKeys};
pub use dial::Dialed;
pub use error::{ErrorKind, SshError};
pub use files::{Files, Stat, StatKind};
pub use host_key::{HostKey, HostKeyPolicy, SeenKey, Trust};
pub use identity::{Keyring, PassphrasePrompt};
pub use output::Output;
pub use redact::Redactor;
pub use target::{AgentSocket, Asked, Endpoint, Identity, Surroundings, Target};

#[cfg(test)]
pub(crate) mod tests;
