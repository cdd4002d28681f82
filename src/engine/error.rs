//! What can go wrong on the way to a plan and through it.

use crate::cloud::CloudError;
use crate::diagnostic::{Diagnostics, Sources};
use crate::model::{Address, RemoteId, SiteAlias};
use crate::plan::PlanError;
use crate::spec::load::LoadError;
use crate::{embedded, state};

/// Why a command cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spec has mistakes.
    #[error("the spec has mistakes")]
    Spec {
        /// All of them.
        diagnostics: Diagnostics,
        /// The texts.
        sources: Sources,
    },
    /// A file of the spec cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is no plan.
    #[error("there is no plan")]
    Plan {
        /// Why, one for each resource.
        problems: Vec<PlanError>,
        /// The same, at their places in the spec where they have one.
        diagnostics: Diagnostics,
        /// The texts.
        sources: Sources,
    },
    /// Signing in to a site failed.
    #[error("cannot sign in to site `{site}`: {error}")]
    SignIn {
        /// The site.
        site: SiteAlias,
        /// What it said.
        error: CloudError,
    },
    /// Looking at a site, or asking it for something, failed.
    #[error("site `{site}`: {error}")]
    Site {
        /// The site.
        site: SiteAlias,
        /// What it said.
        error: CloudError,
    },
    /// The state cannot be read or written.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The embedded cloud cannot be opened.
    #[error(transparent)]
    Embedded(#[from] embedded::Error),
    /// An interrupted create could have made several objects.
    #[error("an interrupted apply asked for {address}, and several objects could be what it made: {}", list(.candidates))]
    Ambiguous {
        /// The resource.
        address: Address,
        /// Those objects.
        candidates: Vec<RemoteId>,
    },
    /// A saved plan does not fit.
    #[error("the saved plan is refused: {why}")]
    Stale {
        /// Why.
        why: String,
    },
    /// A saved plan cannot be read or written.
    #[error("{path}: {why}")]
    PlanFile {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A command does not fit the spec or the state.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do.
        help: Option<String>,
    },
}

impl Error {
    /// A command that does not fit.
    pub fn refused(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), help: Some(help.into()) }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SignIn { error, .. } | Self::Site { error, .. } => error.hint.clone(),
            Self::State(error) => error.hint(),
            Self::Ambiguous { address, .. } => {
                Some(format!("`anole import {address} <id>` takes the right one; delete the others"))
            }
            Self::Stale { .. } => Some("plan again".to_owned()),
            Self::Refused { help, .. } => help.clone(),
            Self::Spec { .. } | Self::Load(_) | Self::Plan { .. } | Self::Embedded(_) | Self::PlanFile { .. } => None,
        }
    }
}

fn list(ids: &[RemoteId]) -> String {
    ids.iter().map(|id| id.0.as_str()).collect::<Vec<_>>().join(", ")
}
