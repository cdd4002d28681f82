//! What happens while a plan is carried out. Every output (progress bars, plain lines, JSON) is made of these alone.

use std::time::Duration;

use serde::Serialize;

use crate::dataset::gauge::Standing;
use crate::model::Address;
use crate::plan::StepOperation;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A step began.
    Started {
        /// The resource.
        address: Address,
        /// Its kind.
        kind: String,
        /// What is done.
        operation: StepOperation,
    },
    /// A service accepted the request; the object has this id.
    Accepted {
        /// The resource.
        address: Address,
        /// The object.
        id: String,
    },
    /// The object is on its way; the text is the service's word for where.
    Waiting {
        /// The resource.
        address: Address,
        /// `BUILD`, `attaching`.
        status: String,
    },
    /// How far a long step is, several times a second.
    Progress {
        /// The resource.
        address: Address,
        /// What of it, and how much.
        #[serde(flatten)]
        standing: Standing,
    },
    /// A step is done.
    Done {
        /// The resource.
        address: Address,
        /// Its kind.
        kind: String,
        /// What was done.
        operation: StepOperation,
        /// How long it took.
        #[serde(serialize_with = "seconds")]
        took: Duration,
    },
    /// A step failed. What depends on it is not tried.
    Failed {
        /// The resource.
        address: Address,
        /// Its kind.
        kind: String,
        /// What was tried.
        operation: StepOperation,
        /// What happened, for people: the whole text with request id.
        error: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// A step was not tried, because of another.
    Skipped {
        /// The resource.
        address: Address,
        /// Its kind.
        kind: String,
        /// What was not tried.
        operation: StepOperation,
        /// Why: `servers.node failed`.
        why: String,
    },
    /// A step waits for a time that its owner chose; what depends on it comes with a later apply.
    Pending {
        /// The resource.
        address: Address,
        /// Until when, RFC 3339.
        until: String,
    },
    /// A word on what goes on: an interrupted apply's object was found, the signal to stop was seen.
    Notice {
        /// The word.
        text: String,
    },
}

fn seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// What came of an apply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Resources whose every step is done.
    pub done: Vec<Address>,
    /// Resources with a step that failed, and the error.
    pub failed: Vec<(Address, String)>,
    /// Resources with a step that was not tried, and why.
    pub skipped: Vec<(Address, String)>,
    /// Resources that wait for a later time, RFC 3339.
    pub pending: Vec<(Address, String)>,
    /// Whether a signal stopped it.
    pub interrupted: bool,
}
