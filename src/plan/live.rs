//! What a record's object shows: in a list of its service, inside its server, or to a look of its own. Pure.

use super::decide::Planner;
use super::known::as_recorded;
use crate::kinds;
use crate::kinds::guest::{GuestKind, is_recorded_only, server_of};
use crate::kinds::kind::{Kind, Readiness, Seen};
use crate::model::Value;
use crate::observe::Inside;
use crate::state::sealing::carry;
use crate::state::{ResourceState, Status};

impl Planner<'_> {
    /// The record's object, or what the state says of it where the clouds are not asked.
    pub(super) fn live(&self, record: &ResourceState) -> Option<Seen> {
        if self.options.trust_state {
            return Some(Seen {
                id: record.id.clone(),
                name: record.attributes.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                attrs: record.attributes.clone(),
                status: record.attributes.get("status").and_then(Value::as_str).unwrap_or_default().to_owned(),
                fault: None,
                stamp: None,
                user_id: None,
                created_at: None,
            });
        }
        let kind = kinds::by_name(&record.kind);
        if let Some(kind) = kind.and_then(Kind::guest) {
            return self.inside(kind, record);
        }
        if kind.and_then(Kind::local).is_some() {
            return Some(self.looked_at(record));
        }
        let mut seen = match self.observed.object(&record.site, &record.kind, &record.id) {
            Some(seen) => seen.clone(),
            // What cannot be asked for is believed to be as recorded.
            None if self.is_hidden(record) => as_recorded(record, record.attributes.clone()),
            None => return None,
        };
        carry(&record.attributes, &mut seen.attrs);
        if let Some(kind) = kinds::by_name(&record.kind) {
            kind.complete(&record.applied, &mut seen.attrs);
        }
        Some(seen)
    }

    /// A record with what a look of its own showed.
    fn looked_at(&self, record: &ResourceState) -> Seen {
        let mut attrs = record.attributes.clone();
        let shown = self.state.find(&record.kind, &record.id).and_then(|(address, _)| self.observed.here.get(address));
        attrs.extend(shown.cloned().into_iter().flatten());
        if let Some(kind) = kinds::by_name(&record.kind) {
            kind.complete(&record.applied, &mut attrs);
        }
        as_recorded(record, attrs)
    }

    /// What the guest shows of a record: nothing where its server is gone, what is recorded where it says nothing.
    fn inside(&self, kind: &dyn GuestKind, record: &ResourceState) -> Option<Seen> {
        let server = server_of(&record.applied)?;
        if kind.outlives_server() {
            let guests = &self.observed.sites.get(&record.site)?.guests;
            let undone = guests.reached && is_recorded_only(&record.attributes);
            return (!undone).then(|| self.looked_at(record));
        }
        let host = self.observed.object(&record.site, "server", server)?;
        if kinds::by_name("server").is_some_and(|kind| matches!(kind.readiness(host), Readiness::Ended(_))) {
            return None;
        }
        let guests = &self.observed.sites.get(&record.site)?.guests;
        // Now that servers are logged in to, what was only recorded is still to be done.
        if guests.reached && is_recorded_only(&record.attributes) {
            return None;
        }
        let attrs = match guests.seen.get(server) {
            // What was begun and not done shows nothing yet that could have been changed.
            Some(Inside::Facts(facts)) if kind.is_seen() && record.status == Status::Ready => {
                kind.seen(&record.applied, &record.attributes, facts)
            }
            _ => record.attributes.clone(),
        };
        Some(as_recorded(record, attrs))
    }
}
