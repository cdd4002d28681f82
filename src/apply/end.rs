//! How a step ends, well or badly, and what to do then.

use jiff::Timestamp;

use super::ledger::LedgerError;
use super::wait::WaitError;
use crate::cloud::CloudError;
use crate::guest::GuestError;
use crate::kinds::local::LocalError;
use crate::state;

/// How a step ended.
#[derive(Debug)]
pub enum End {
    /// It is done.
    Done,
    /// It waits for a time that its owner chose.
    Pending(Timestamp),
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The service refused.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// It did not become ready, or did not go.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// What was to be done inside a server was not.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// What was to be done on this machine was not.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A secret could not be sealed, so nothing was asked for.
    #[error(transparent)]
    Seal(#[from] state::Error),
    /// The journal could not be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A value that the plan showed is another one now.
    #[error("`{field}` is another one than the plan showed")]
    Changed {
        /// The field.
        field: String,
    },
    /// A value is still unknown.
    #[error("`{field}` is still unknown: {needs} gave no value for it")]
    Unknown {
        /// The field.
        field: String,
        /// The resource that was to give it.
        needs: String,
    },
    /// A create may have been carried out, and several objects could be it.
    #[error("the request may have been carried out, and {0} could be what it made")]
    SeveralCandidates(String),
    /// The plan names a site or kind that is not there: it was made by something else.
    #[error("the plan does not fit this anole: {0}")]
    Misfit(String),
}

impl StepError {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cloud(error) | Self::Wait(WaitError::Cloud(error)) => error.hint.clone(),
            Self::Wait(WaitError::Failed(_)) => Some("the next apply replaces it; mend the cause first".to_owned()),
            Self::Wait(WaitError::TooLong { .. }) => {
                Some("it may still get there: the next apply carries on waiting".to_owned())
            }
            Self::Guest(error) => error.hint(),
            Self::Local(error) => error.hint.clone(),
            Self::Seal(error) => error.hint(),
            Self::Changed { .. } => Some("plan again".to_owned()),
            Self::SeveralCandidates(_) => {
                Some("import the right one, or delete the others, then apply again".to_owned())
            }
            Self::Wait(WaitError::Vanished(_)) => Some("apply again to make it anew".to_owned()),
            Self::Ledger(_) | Self::Unknown { .. } | Self::Misfit(_) => None,
        }
    }
}
