//! What becomes of records that are no longer wanted: deleted, let go, forgotten, or held because they are protected.

use std::collections::BTreeMap;

use super::decide::Planner;
use super::{Action, PlanError, PlanOptions, Reason, Verb, is_aside};
use crate::kinds::guest::is_recorded_only;
use crate::kinds::kind::{Readiness, Seen};
use crate::kinds::schema::RefChange;
use crate::kinds::{self, Kind};
use crate::model::{Address, Fields};
use crate::resolve::{Desired, needs_of};
use crate::state::{Origin, ResourceState};

/// Decides the records that the spec does not want, or all of them for a destroy.
pub(super) fn retire(planner: &mut Planner<'_>) {
    let leaving: Vec<(Address, ResourceState)> = planner
        .state
        .resources
        .iter()
        .filter(|(address, _)| planner.options.destroy || !planner.desired.resources.contains_key(*address))
        .map(|(address, record)| (address.clone(), record.clone()))
        .collect();
    for (address, record) in &leaving {
        let action = retire_one(planner, address, record);
        planner.actions.insert(address.clone(), action);
    }
    hold_needed(&mut planner.actions);
    let refused: Vec<PlanError> = planner
        .actions
        .values()
        .filter(|action| action.verb == Verb::Hold)
        .filter_map(|held| refuse_replaced(planner, held))
        .collect();
    planner.errors.extend(refused);
    warn_of_renames(planner);
}

fn retire_one(planner: &Planner<'_>, address: &Address, record: &ResourceState) -> Action {
    let live = planner.live(record);
    if !planner.in_scope(address) {
        return action(address, record, live.as_ref(), Verb::Keep, Vec::new());
    }
    let why = match planner.options.destroy {
        true => Reason::Destroyed,
        false if is_aside(address) => Reason::Succeeded,
        false => Reason::Removed,
    };
    if record.origin == Origin::Adopted {
        return action(address, record, live.as_ref(), Verb::Release, vec![why]);
    }
    let ended = live.as_ref().and_then(|seen| match kinds::by_name(&record.kind)?.readiness(seen) {
        Readiness::Ended(how) => Some(how),
        _ => None,
    });
    let Some(live) = live.filter(|_| ended.is_none()) else {
        let reason =
            ended.map_or_else(|| planner.ended_lease(record).unwrap_or(Reason::Missing), |how| Reason::Ended { how });
        return action(address, record, None, Verb::Forget, vec![why, reason]);
    };
    if is_held(address, record, planner.desired, planner.options) {
        let mut held = action(address, record, Some(&live), Verb::Hold, vec![Reason::Protected]);
        held.protect = true;
        return held;
    }
    let mut action = action(address, record, Some(&live), Verb::Delete, vec![why]);
    action.data_loss = kinds::by_name(&record.kind).and_then(|kind| kind.data_loss(&live));
    action
}

/// Whether a resource that is no longer wanted is kept because it is protected. A block that is there says so or not.
pub(super) fn is_held(address: &Address, record: &ResourceState, desired: &Desired, options: &PlanOptions) -> bool {
    let declared = desired.resources.get(address).and_then(|resource| resource.protect);
    declared.unwrap_or(record.protect) && !options.include_protected.covers(address)
}

fn action(address: &Address, record: &ResourceState, live: Option<&Seen>, verb: Verb, reasons: Vec<Reason>) -> Action {
    let recorded_only = is_recorded_only(&record.attributes);
    Action {
        address: address.clone(),
        kind: record.kind.clone(),
        site: record.site.clone(),
        verb,
        reasons,
        changes: Vec::new(),
        fields: record.applied.clone(),
        wanted: Fields::new(),
        id: Some(record.id.clone()),
        live: live.map_or_else(|| record.attributes.clone(), |seen| seen.attrs.clone()),
        applied: record.applied.clone(),
        origin: record.origin,
        protect: record.protect,
        needs: record.needs.clone(),
        data_loss: None,
        in_guest: match (verb, kinds::by_name(&record.kind).and_then(Kind::guest)) {
            (Verb::Delete, Some(kind)) if !recorded_only => kind.undoing(&record.applied),
            _ => Vec::new(),
        },
        recorded_only,
    }
}

/// What a held resource needs is held too.
fn hold_needed(actions: &mut BTreeMap<Address, Action>) {
    let mut queue: Vec<Address> =
        actions.values().filter(|action| action.verb == Verb::Hold).map(|action| action.address.clone()).collect();
    while let Some(address) = queue.pop() {
        let needs = actions.get(&address).map(|action| action.needs.clone()).unwrap_or_default();
        for need in needs {
            if let Some(action) = actions.get_mut(&need)
                && action.verb == Verb::Delete
            {
                action.verb = Verb::Hold;
                action.data_loss = None;
                action.reasons = vec![Reason::NeededBy { address: address.clone() }];
                queue.push(need);
            }
        }
    }
}

/// A held resource would not survive what it stands on being made anew.
fn refuse_replaced(planner: &Planner<'_>, held: &Action) -> Option<PlanError> {
    let schema = kinds::by_name(&held.kind)?.schema();
    let stands_on = needs_of(schema, &held.applied).into_iter().filter(|need| need.change == RefChange::Replace);
    let replaced = stands_on
        .map(|need| need.address)
        .find(|need| planner.actions.get(need).is_some_and(|action| action.verb == Verb::Replace))?;
    let text =
        format!("{replaced} would be replaced, but {}, which is kept because it is protected, needs it", held.address);
    let help = format!("undo the change, or delete {} first", held.address);
    Some(PlanError::new("held-replace", &replaced, text).help(help))
}

/// A protected object that is made beside a held one of its kind may be a rename that was not said.
fn warn_of_renames(planner: &mut Planner<'_>) {
    let of_verb = |verb: Verb| -> Vec<(Address, String)> {
        let protected = planner.actions.values().filter(|action| action.verb == verb && action.protect);
        protected.map(|action| (action.address.clone(), action.kind.clone())).collect()
    };
    let (held, made) = (of_verb(Verb::Hold), of_verb(Verb::Create));
    for (new, kind) in &made {
        for (old, _) in held.iter().filter(|(_, held_kind)| held_kind == kind) {
            planner.note(
                new,
                true,
                format!("{new} is new while {old} is kept: a rename? add `was: {old}` to the block"),
            );
        }
    }
}
