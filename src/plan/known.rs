//! What the planner knows of other resources while it binds one: ids that stay, attributes that survive.

use std::collections::BTreeMap;

use super::bind::{Known, bind, step_into};
use super::decide::Planner;
use super::{Action, Verb};
use crate::kinds;
use crate::kinds::kind::Seen;
use crate::model::{Address, Fields, PathSegment, RemoteId, Value};
use crate::state::ResourceState;

/// The planner's knowledge for one resource: what is decided of others, and this one's look-ups.
pub(super) struct PlanKnown<'a, 'p> {
    /// The planner so far; resources are decided in the order of their needs.
    pub planner: &'a Planner<'p>,
    /// What this resource's undeclared names stand for.
    pub lookups: &'a BTreeMap<(String, String), RemoteId>,
}

impl Known for PlanKnown<'_, '_> {
    fn id(&self, address: &Address) -> Option<RemoteId> {
        let action = self.planner.actions.get(address)?;
        if keeps_object(action) { action.id.clone() } else { None }
    }

    fn lookup(&self, kind: &str, name: &str) -> Option<RemoteId> {
        self.lookups.get(&(kind.to_owned(), name.to_owned())).cloned()
    }

    fn attribute(&self, address: &Address, path: &[PathSegment]) -> Value {
        let unknown = || Value::Unknown(address.clone());
        let Some(action) = self.planner.actions.get(address) else { return unknown() };
        let Some((name, rest)) = path.split_first() else { return unknown() };
        let value = attribute_of(action, name, self);
        let led = value.as_ref().and_then(|value| step_into(value, rest));
        // What a field holds may be less than what the object shows under the same name: a lease's reservations.
        led.or_else(|| value.and_then(|_| step_into(&shown(action, name)?, rest))).unwrap_or_else(unknown)
    }

    fn instances(&self, block: &Address) -> Vec<Address> {
        self.planner.instances(block)
    }
}

/// Whether the object stays the one it is.
pub(super) fn keeps_object(action: &Action) -> bool {
    !matches!(action.verb, Verb::Create | Verb::Replace | Verb::Delete | Verb::Forget)
}

/// An attribute as it will be after this plan; `None` while that is not known.
fn attribute_of(action: &Action, name: &str, known: &PlanKnown<'_, '_>) -> Option<Value> {
    let schema = kinds::by_name(&action.kind)?.schema();
    if schema.field(name).is_some()
        && let Some(value) = action.wanted.get(name)
    {
        let value = bind(value, known);
        return value.is_known().then_some(value);
    }
    shown(action, name)
}

/// An attribute that the object shows and that it keeps through this plan.
fn shown(action: &Action, name: &str) -> Option<Value> {
    let schema = kinds::by_name(&action.kind)?.schema();
    let keeps = keeps_object(action);
    if name == "id" {
        return keeps.then(|| action.id.clone()).flatten().map(|id| Value::String(id.0));
    }
    let stable = schema.attribute(name).is_some_and(|attribute| attribute.stable);
    let survives = keeps || (stable && action.verb == Verb::Replace);
    if survives { action.live.get(name).cloned() } else { None }
}

/// An object that no service shows, with these attributes.
pub(super) fn as_recorded(record: &ResourceState, attrs: Fields) -> Seen {
    Seen {
        id: record.id.clone(),
        name: record.attributes.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        attrs,
        status: String::new(),
        fault: None,
        stamp: None,
        user_id: None,
        created_at: None,
    }
}
