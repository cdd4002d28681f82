//! What went wrong inside a server, for whoever has to do something about it.

use crate::cloud::CloudError;
use crate::ssh::SshError;

/// A failure inside a server.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GuestError {
    /// The way there, or a command that failed.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// What was found forbids what was wanted. Nothing was changed.
    #[error("{message}")]
    Refused {
        /// What was found.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A program of the user's ended badly.
    #[error("{message}{}", last_lines(output))]
    Failed {
        /// How.
        message: String,
        /// The last lines that it printed.
        output: Vec<String>,
        /// What to do.
        hint: Option<String>,
    },
    /// What must be remembered first could not be written.
    #[error("{0}")]
    Memory(String),
    /// The cloud refused what the work in the guest needs.
    #[error(transparent)]
    Cloud(#[from] CloudError),
}

fn last_lines(output: &[String]) -> String {
    match output {
        [] => ", and printed nothing".to_owned(),
        lines => format!("; it said last\n  {}", lines.join("\n  ")),
    }
}

impl GuestError {
    /// A refusal.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), hint: None }
    }

    /// A refusal, with what to do.
    pub fn refused_with(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), hint: Some(hint.into()) }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ssh(error) => error.hint.clone(),
            Self::Refused { hint, .. } | Self::Failed { hint, .. } => hint.clone(),
            Self::Memory(_) => None,
            Self::Cloud(error) => error.hint.clone(),
        }
    }
}
