//! What went wrong on the way to a server or on it, for whoever has to do something about it.

use super::host_key::HostKey;

/// What kind of failure it was, as far as the caller acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A mistake in what was asked for, or in the ssh config.
    Settings,
    /// No connection: refused, no answer, closed while it was made, or no SSH at the other end.
    Unreachable,
    /// The two sides have no algorithm in common.
    Incompatible,
    /// The host key is not the one that was expected.
    HostKey,
    /// The server refused every key.
    Auth,
    /// There is no key to offer, or none that can be used: its passphrase is needed.
    NoKey,
    /// The connection broke while it was used.
    Dropped,
    /// A time limit was reached.
    TimedOut,
    /// The server refused to open a session or to start a command.
    Refused,
    /// A command ended with another status than 0. Only [`Ended::check`](super::Ended::check) says this.
    Failed,
    /// A file operation was refused, or a file is larger than what was asked for.
    File,
}

impl ErrorKind {
    /// Whether the same attempt may succeed a little later, on a server that boots.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::Unreachable | Self::Auth | Self::Dropped | Self::TimedOut | Self::Refused)
    }
}

/// A failure: on which server, at which address, as which user, what was tried, what to do next.
///
/// All of its text is redacted.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.text())]
pub struct SshError {
    /// What kind.
    pub kind: ErrorKind,
    /// `servers.node (cc@129.114.1.2:22, through bastion)`; empty for mistakes in the config.
    pub server: Box<str>,
    /// What happened.
    pub message: String,
    /// The keys that were tried, each with what came of it.
    pub tried: Vec<String>,
    /// The last lines that the command printed.
    pub output: Vec<String>,
    /// The end of the console log of a server that never could be used.
    pub console: Vec<String>,
    /// The host key that the server showed, where that is the reason to refuse it.
    pub shown: Option<Box<HostKey>>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the command, though this is an error, may have run, wholly or in part.
    pub may_have_happened: bool,
}

impl SshError {
    /// An error of which only kind and message are known.
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            server: Box::default(),
            message: message.into(),
            tried: Vec::new(),
            output: Vec::new(),
            console: Vec::new(),
            shown: None,
            hint: None,
            may_have_happened: false,
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says which server it was, unless that is known: an error of a jump host names that host.
    #[must_use]
    pub(super) fn at(mut self, server: &str) -> Self {
        if self.server.is_empty() {
            self.server = server.into();
        }
        self
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.server.is_empty() {
            text.push_str(&format!("{}: ", self.server));
        }
        text.push_str(&self.message);
        for (number, tried) in self.tried.iter().enumerate() {
            text.push_str(if number == 0 { "; tried " } else { ", " });
            text.push_str(tried);
        }
        match self.output.as_slice() {
            [] => {}
            [line] => text.push_str(&format!(": {line}")),
            lines => text.push_str(&format!(":\n  {}", lines.join("\n  "))),
        }
        if !self.console.is_empty() {
            text.push_str(&format!("; its console ends with\n  {}", self.console.join("\n  ")));
        }
        text
    }
}

/// The text of an error and of its sources, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}
