//! Renames, and which resources `--target` and `--replace` mean.

use std::collections::BTreeSet;

use super::decide::Planner;
use super::{PlanError, PlanOptions, Verb, retire};
use crate::kinds::schema::RefChange;
use crate::kinds::{self, Kind};
use crate::model::{Address, InstanceKey};
use crate::resolve::{Desired, Need, needs_of};
use crate::state::{Loaded, ResourceState, State};

/// Old address, new address.
pub(super) type Renames = Vec<(Address, Address)>;

/// The state with its records under the addresses that the spec uses now, and the renames done, in order.
///
/// `was:` says so outright. Adding or removing `count` moves `x` and `x[0]` by itself.
pub(super) fn renamed(state: &State, desired: &Desired) -> Result<(State, Renames), Vec<PlanError>> {
    let mut loaded = Loaded::new(state.clone());
    let mut done = Vec::new();
    let mut errors = Vec::new();
    let mut move_with_parts = |loaded: &mut Loaded, from: &Address, to: &Address| {
        let moved: Vec<_> =
            loaded.state.resources.keys().filter(|address| is_or_part_of(address, from)).cloned().collect();
        for address in moved {
            let to = Address { part: address.part.clone(), ..to.clone() };
            loaded.fold(crate::state::Entry::Rename { from: address.clone(), to: to.clone() });
            done.push((address, to));
        }
    };
    // One rename may make room for another: `b` was `a`, and `c` was `b`.
    let mut waiting: Vec<&(Address, Address)> =
        desired.renames.iter().filter(|(from, _)| state.resources.contains_key(from)).collect();
    loop {
        let before = waiting.len();
        waiting.retain(|(from, to)| {
            let leaves = !desired.resources.contains_key(from)
                || desired.renames.iter().any(|(other, to)| to == from && state.resources.contains_key(other));
            let moves = leaves && !loaded.state.resources.contains_key(to);
            if moves {
                move_with_parts(&mut loaded, from, to);
            }
            !moves
        });
        if waiting.len() == before {
            break;
        }
    }
    for (from, to) in waiting {
        let declared = desired.resources.contains_key(from);
        let help = format!("remove `was:`, or drop one of them with `anole state rm {from}`");
        if !state.resources.contains_key(to) {
            let text = format!("`{to}` was `{from}`, but the spec still declares `{from}`");
            errors.push(PlanError::new("rename-taken", to, text).help("remove `was:`, or the block it names"));
        } else if !declared {
            let text = format!("`{to}` was `{from}`, but the state has both");
            errors.push(PlanError::new("rename-taken", to, text).help(help));
        }
        // Where both are in the spec and in the state, it was done before.
    }
    for to in desired.resources.keys().filter(|address| address.part.is_none()) {
        let Some(from) = counterpart(to) else { continue };
        let taken = loaded.state.resources.contains_key(to) || desired.resources.contains_key(&from);
        if !taken && loaded.state.resources.contains_key(&from) {
            move_with_parts(&mut loaded, &from, to);
        }
    }
    if errors.is_empty() { Ok((loaded.state, done)) } else { Err(errors) }
}

/// `x` for `x[0]`, and the other way round.
fn counterpart(address: &Address) -> Option<Address> {
    match &address.instance {
        None => Some(Address { instance: Some(InstanceKey::Index(0)), ..address.clone() }),
        Some(InstanceKey::Index(0)) => Some(Address { instance: None, ..address.clone() }),
        Some(_) => None,
    }
}

fn is_or_part_of(address: &Address, owner: &Address) -> bool {
    address == owner || address.owner().as_ref() == Some(owner)
}

/// The resources a plan may act on at first; `None` for all.
///
/// Making takes what the targets need along; unmaking takes what needs the targets along. What a replacement takes along
/// is found while it is decided ([`taken_along`]).
pub(super) fn scope(
    desired: &Desired,
    state: &State,
    options: &PlanOptions,
) -> Result<Option<BTreeSet<Address>>, Vec<PlanError>> {
    let known = || desired.resources.keys().chain(state.resources.keys());
    let unknown: Vec<_> = options
        .targets
        .iter()
        .chain(&options.replace)
        .filter(|wanted| !known().any(|address| wanted.covers(address)))
        .map(|wanted| {
            PlanError::new("no-such-resource", wanted, format!("`{wanted}` is neither in the spec nor in the state"))
                .help("`anole state list` and `anole validate` show the addresses there are")
        })
        .collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    if options.targets.is_empty() {
        return Ok(None);
    }
    let mut scope: BTreeSet<Address> =
        known().filter(|address| options.targets.iter().any(|target| target.covers(address))).cloned().collect();
    loop {
        let mut more: Vec<Address> = Vec::new();
        let leaves = |need: &Address| {
            let unwanted = options.destroy || !desired.resources.contains_key(need);
            let record = state.resources.get(need).filter(|_| unwanted && scope.contains(need));
            record.is_some_and(|record| !retire::is_held(need, record, desired, options))
        };
        for (address, record) in &state.resources {
            if record.needs.iter().any(leaves) {
                more.push(address.clone());
            }
        }
        if !options.destroy {
            for resource in scope.iter().filter_map(|address| desired.resources.get(address)) {
                more.extend(resource.needs.iter().map(|need| need.address.clone()));
            }
        }
        let before = scope.len();
        scope.extend(more);
        if scope.len() == before {
            return Ok(Some(scope));
        }
    }
}

/// Resources out of scope that have a hold on what is replaced, and all that they need in turn: a server's attachments
/// and addresses go where it goes. What only comes after it in order stays out.
pub(super) fn taken_along(planner: &Planner<'_>, scope: &BTreeSet<Address>) -> BTreeSet<Address> {
    let replaced = |address: &Address| planner.actions.get(address).is_some_and(|action| action.verb == Verb::Replace);
    let holds = |(address, record): &(&Address, &ResourceState)| {
        let Some(schema) = kinds::by_name(&record.kind).map(Kind::schema) else { return false };
        let held = |need: &Need| need.change != RefChange::Order && replaced(&need.address);
        !scope.contains(*address) && needs_of(schema, &record.applied).iter().any(held)
    };
    let mut along: BTreeSet<Address> = BTreeSet::new();
    let mut queue: Vec<Address> =
        planner.state.resources.iter().filter(holds).map(|(address, _)| address.clone()).collect();
    while let Some(address) = queue.pop() {
        let needs =
            planner.desired.resources.get(&address).map(|resource| resource.needs.as_slice()).unwrap_or_default();
        if !scope.contains(&address) && along.insert(address) {
            queue.extend(needs.iter().map(|need| need.address.clone()));
        }
    }
    along
}
