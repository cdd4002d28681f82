//! Renames, and which resources `--target` and `--replace` mean.

use std::collections::BTreeSet;

use super::{PlanError, PlanOptions};
use crate::model::{Address, InstanceKey};
use crate::resolve::Desired;
use crate::state::{Loaded, State};

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
    for (from, to) in &desired.renames {
        if !state.resources.contains_key(from) {
            continue;
        }
        if state.resources.contains_key(to) {
            errors.push(
                PlanError::new("rename-taken", to, format!("`{to}` was `{from}`, but the state has both"))
                    .help(format!("remove `was:`, or drop one of them with `anole state rm {from}`")),
            );
            continue;
        }
        move_with_parts(&mut loaded, from, to);
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

/// The resources a plan may act on; `None` for all.
///
/// Making takes what the targets need along; unmaking takes what needs the targets along.
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
        if options.destroy {
            for (address, record) in &state.resources {
                if record.needs.iter().any(|need| scope.contains(need)) {
                    more.push(address.clone());
                }
            }
        } else {
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
