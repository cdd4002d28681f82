//! What is replaced ahead of its end, with its successor made first; and what no list shows and could not be asked for.
//!
//! The record of what is renewed steps aside, to an address below its own, before its successor is asked for. So whoever
//! needs the old one is known to need just that, and whatever an interruption leaves is a record that no spec wants.

use super::decide::{Case, Planner};
use super::{Action, Reason, Verb};
use crate::kinds::kind::{Seen, Sides};
use crate::model::{Address, RemoteId};
use crate::state::{Origin, ResourceState};

/// The name of the part that such a record is.
const ASIDE: &str = "before";

/// Where the record of an object stands from the moment on that its successor is asked for, until it is gone.
#[must_use]
pub fn aside(address: &Address, id: &RemoteId) -> Address {
    address.with_part(format!("{ASIDE}[{id}]"))
}

/// Whether a record is of an object whose successor has its address.
#[must_use]
pub fn is_aside(address: &Address) -> bool {
    address.part.as_deref().and_then(|part| part.strip_prefix(ASIDE)).is_some_and(|rest| rest.starts_with('['))
}

impl Action {
    /// Whether its successor is made, and whatever uses it switched over, before it goes.
    #[must_use]
    pub fn makes_first(&self) -> bool {
        self.verb == Verb::Replace && self.reasons.iter().any(|reason| matches!(reason, Reason::Renewed { .. }))
    }
}

impl Planner<'_> {
    /// Why an object is replaced ahead of its end. What is adopted is somebody else's to renew.
    pub fn renewal(&self, case: &Case<'_>, record: &ResourceState, live: &Seen) -> Option<Reason> {
        let sides = Sides { want: &case.fields, applied: &record.applied, live: &live.attrs, now: self.observed.at };
        let at = case.kind.renewal(&sides).filter(|_| record.origin != Origin::Adopted)?;
        Some(Reason::Renewed { at: at.strftime("%Y-%m-%dT%H:%MZ").to_string() })
    }

    /// Why a resource that no list shows could not be asked for.
    pub fn hidden(&self, address: &Address) -> Option<&str> {
        self.observed.sites.values().find_map(|view| view.hidden.get(address)).map(String::as_str)
    }

    /// Whether a record's object could not be asked for.
    pub fn is_hidden(&self, record: &ResourceState) -> bool {
        let found = self.state.find(&record.kind, &record.id);
        found.is_some_and(|(address, _)| self.hidden(address).is_some())
    }
}
