//! What happens to a resource for the sake of one that no field of it names: a subnet that goes takes the ports on it
//! along; into one that comes, a router puts an interface; an address whose router is made anew is bound again.

use super::decide::{Case, Planner};
use super::known::keeps_object;
use super::{Action, Reason, Verb};
use crate::kinds;
use crate::kinds::kind::{Effect, FieldChange};
use crate::model::{Address, Fields, RemoteId, Target, Value};

impl Planner<'_> {
    /// What stands on a part that the spec no longer has: a port with an address in a subnet that goes.
    pub fn left_standing(&self, action: &Action) -> Option<(Address, Reason)> {
        let kind = kinds::by_name(&action.kind)?;
        let goes = |part: &&Address| {
            let owner_stays = part.owner().is_some_and(|owner| self.desired.resources.contains_key(&owner));
            owner_stays && part.owner() != action.address.owner() && !self.desired.resources.contains_key(*part)
        };
        let record = self.state.resources.get(&action.address)?;
        let part = record.needs.iter().filter(goes).find(|part| {
            let part = self.state.resources.get(*part).and_then(|part| self.live(part));
            part.is_some_and(|part| kind.stands_on(&action.live, &part.attrs))
        })?;
        let kind = self.state.resources.get(part)?.kind.clone();
        Some((action.address.clone(), Reason::TargetRemoved { target: part.clone(), kind }))
    }

    /// The change of an object that has nothing else to change in a field, but for a part that what the field names
    /// gets; and why.
    pub fn joined(&self, case: &Case<'_>, live: &Fields, changes: &[FieldChange]) -> Option<(FieldChange, Reason)> {
        let resource = case.resource;
        let mut parts = resource.needs.iter().filter_map(|need| Some((need.address.owner()?, &need.address)));
        let (field, part) = parts.find_map(|(owner, part)| {
            let action = self.actions.get(part)?;
            let mut named = resource.fields.iter().filter(|(_, value)| names(value, &owner));
            let comes = |field: &str| {
                let there = keeps_object(action).then_some(&action.live);
                case.kind.joins(field, &as_wanted(action)) && !there.is_some_and(|there| case.kind.joins(field, there))
            };
            named.find(|(field, _)| comes(field)).map(|(field, _)| (field, action))
        })?;
        let owner = self.actions.get(&part.address.owner()?)?.id.clone();
        let managed = !resource.ignore_changes.contains(field) && changes.iter().all(|change| change.field != *field);
        let change = FieldChange {
            field: field.clone(),
            // As far as the part is concerned, its owner is not there yet.
            before: without(live.get(field)?, owner.as_ref()),
            after: case.fields.get(field)?.clone(),
            effect: Effect::Update,
            note: None,
        };
        let reason = Reason::TargetCreated { target: part.address.clone(), kind: part.kind.clone() };
        managed.then_some((change, reason))
    }

    /// The change of an object that is bound by way of another one that is made anew: it is bound again.
    pub fn bound_again(
        &self,
        case: &Case<'_>,
        live: &Fields,
        changes: &[FieldChange],
    ) -> Option<(FieldChange, Reason)> {
        let follows = case.kind.follows();
        let field = case.kind.schema().sole()?.name;
        let through = |action: &&Action| {
            let mut through = false;
            for value in live.values() {
                value.visit_refs(&mut |reference| {
                    through |= reference.kind == action.kind && reference.id.is_some() && reference.id == action.id;
                });
            }
            through && action.verb == Verb::Replace && follows.contains(&action.kind.as_str())
        };
        let needs = case.resource.needs.iter().filter_map(|need| self.actions.get(&need.address));
        let replaced = needs.into_iter().find(through)?;
        let managed = !case.resource.ignore_changes.iter().any(|ignored| ignored == field)
            && changes.iter().all(|change| change.field != field);
        let (field, effect) = (field.to_owned(), Effect::Update);
        let after = case.fields.get(&field).filter(|after| managed && !after.is_null())?.clone();
        let reason = Reason::TargetReplaced { target: replaced.address.clone(), kind: replaced.kind.clone() };
        Some((FieldChange { field, before: Value::Null, after, effect, note: None }, reason))
    }
}

/// What the object will show: of one that stays, what is not changed too.
fn as_wanted(action: &Action) -> Fields {
    if !keeps_object(action) {
        return action.fields.clone();
    }
    let mut fields = action.live.clone();
    if action.verb == Verb::Update {
        fields.extend(action.changes.iter().map(|change| (change.field.clone(), change.after.clone())));
    }
    fields
}

fn without(value: &Value, id: Option<&RemoteId>) -> Value {
    let others = |item: &&Value| item.as_id() != id;
    match value {
        Value::List(items) => Value::List(items.iter().filter(others).cloned().collect()),
        _ => Value::Null,
    }
}

fn names(value: &Value, address: &Address) -> bool {
    let mut named = false;
    value.visit_refs(&mut |reference| named |= reference.target == Target::Resource(address.clone()));
    named
}
