//! What must hold before a plan is made, what must hold of it, and what people should know about it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::decide::Planner;
use super::lookup::pins;
use super::{Note, Plan, PlanError, PlanOptions, StepOperation, Verb, order};
use crate::kinds;
use crate::kinds::kind::Readiness;
use crate::model::{Address, SiteAlias, Value};
use crate::observe::{Inside, Observed};
use crate::resolve::Desired;
use crate::state::{Origin, State};

/// The state belongs to these sites and projects, and is not simply lost.
pub(super) fn bindings(
    desired: &Desired,
    observed: &Observed,
    state: &State,
    options: &PlanOptions,
) -> Result<(), Vec<PlanError>> {
    let mut errors = Vec::new();
    for (alias, view) in &observed.sites {
        if let Some(bound) = state.sites.get(alias)
            && !same_place(bound, &view.identity)
            && state.resources.values().any(|record| record.site == *alias)
        {
            errors.push(site_error(
                "other-project",
                format!(
                    "site `{alias}` is project {} in {} at {}, but the state was made in project {} in {} at {}",
                    view.identity.project_name,
                    view.identity.region,
                    view.identity.auth_url,
                    bound.project_name,
                    bound.region,
                    bound.auth_url
                ),
                "sign in to that project, or use another state (--state) for this one",
            ));
        }
    }
    if errors.is_empty() && state.resources.is_empty() && state.serial == 0 {
        errors.extend(lost_state(desired, observed));
    }
    if errors.is_empty() && !options.accept_missing && !options.trust_state {
        errors.extend(all_missing(observed, state));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn same_place(bound: &crate::model::SiteIdentity, now: &crate::model::SiteIdentity) -> bool {
    bound.auth_url == now.auth_url && bound.region == now.region && bound.project_id == now.project_id
}

fn site_error(code: &'static str, message: String, help: &str) -> PlanError {
    PlanError { code, address: None, field: None, message, help: Some(help.to_owned()) }
}

/// Objects that this user made for a stack of this name, though there is no state.
fn lost_state(desired: &Desired, observed: &Observed) -> Option<PlanError> {
    let mut found: BTreeMap<String, Vec<Address>> = BTreeMap::new();
    for view in observed.sites.values() {
        let owner = crate::stamp::owner(&view.identity.user_id);
        for seen in view.objects.values().flat_map(BTreeMap::values) {
            if let Some(stamp) = &seen.stamp
                && stamp.stack == desired.stack
                && stamp.owner == owner
                && kinds::by_name(&stamp_kind(seen, view))
                    .is_none_or(|kind| !matches!(kind.readiness(seen), Readiness::Ended(_)))
            {
                found.entry(stamp.lineage.clone()).or_default().push(stamp.address.clone());
            }
        }
    }
    let count: usize = found.values().map(Vec::len).sum();
    let some: Vec<_> = found.values().flatten().take(3).map(ToString::to_string).collect();
    (count > 0).then(|| {
        site_error(
            "state-lost",
            format!(
                "there is no state, but {count} object{} of yours carr{} the stamp of a stack `{}`: {}{}",
                if count == 1 { "" } else { "s" },
                if count == 1 { "ies" } else { "y" },
                desired.stack,
                some.join(", "),
                if count > some.len() { ", …" } else { "" },
            ),
            "`anole state recover` rebuilds the state from them; to start another stack, change `stack:`",
        )
    })
}

/// The kind under which a view holds an object.
fn stamp_kind(seen: &crate::kinds::kind::Seen, view: &crate::observe::SiteView) -> String {
    let holds = |objects: &&BTreeMap<crate::model::RemoteId, crate::kinds::kind::Seen>| objects.contains_key(&seen.id);
    view.objects.iter().find(|(_, objects)| holds(objects)).map(|(kind, _)| kind.clone()).unwrap_or_default()
}

/// All of a site's objects gone at once is a wrong project, or a catastrophe; not a reason to make the world again.
fn all_missing(observed: &Observed, state: &State) -> Vec<PlanError> {
    let mut counts: BTreeMap<&SiteAlias, (usize, usize)> = BTreeMap::new();
    // What could not be asked for may well be there.
    let hidden = |address: &Address| observed.sites.values().any(|view| view.hidden.contains_key(address));
    for (address, record) in &state.resources {
        let in_cloud = kinds::by_name(&record.kind).is_none_or(|kind| kind.cloud().is_some());
        if !in_cloud || hidden(address) || !observed.sites.contains_key(&record.site) || leased(record, state, observed)
        {
            continue;
        }
        let count = counts.entry(&record.site).or_default();
        count.0 += 1;
        count.1 += usize::from(observed.object(&record.site, &record.kind, &record.id).is_none());
    }
    counts
        .into_iter()
        .filter(|(_, (all, missing))| *all > 1 && all == missing)
        .map(|(site, (all, _))| {
            site_error(
                "all-missing",
                format!("all {all} objects that the state knows in site `{site}` are gone"),
                "is this the right project? If they are really gone, `--accept-missing` plans them anew",
            )
        })
        .collect()
}

/// Whether an ended lease explains that the record's object is gone: it is a lease that ended, or names one.
fn leased(record: &crate::state::ResourceState, state: &State, observed: &Observed) -> bool {
    let ended = |record: &crate::state::ResourceState| {
        record.kind == "lease"
            && observed.object(&record.site, "lease", &record.id).is_none_or(|seen| {
                kinds::by_name("lease").is_some_and(|kind| matches!(kind.readiness(seen), Readiness::Ended(_)))
            })
    };
    ended(record) || record.needs.iter().filter_map(|need| state.resources.get(need)).any(ended)
}

/// What every plan must be, whatever was decided: a mistake here is one of anole's own.
pub(super) fn invariants(plan: &Plan) -> Result<(), Vec<PlanError>> {
    let mut errors = Vec::new();
    if let Err(circle) = order::topological(&plan.steps, &plan.edges)
        && let Some(first) = circle.first()
    {
        let names = circle.iter().map(|step| step.address.to_string()).collect::<Vec<_>>().join(", ");
        errors.push(PlanError::new("step-cycle", &first.address, format!("these steps wait for each other: {names}")));
    }
    for action in plan.actions.values() {
        let deletes = plan
            .steps
            .iter()
            .filter(|step| step.operation == StepOperation::Delete && step.address == action.address)
            .count();
        if deletes > 0 && action.origin == Origin::Adopted {
            errors.push(PlanError::new("deletes-adopted", &action.address, "the plan would delete an adopted object"));
        }
        if action.verb.is_work() && action.reasons.is_empty() {
            errors.push(PlanError::new("no-reason", &action.address, "the plan has an action without a reason"));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// How long before its end a lease is warned of when a plan is about to build on it.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_mins(30);

/// What people should know: leases' ends, and names that stand for another object by now.
pub(super) fn notes(planner: &Planner<'_>) -> Vec<Note> {
    let mut notes = silent_servers(planner);
    notes.extend(unseen(planner));
    let works = planner.actions.values().any(|action| matches!(action.verb, Verb::Create | Verb::Replace));
    for action in planner.actions.values() {
        if action.kind == "lease" && !matches!(action.verb, Verb::Create | Verb::Replace | Verb::Forget | Verb::Delete)
        {
            notes.extend(lease_note(action, planner.observed.at, works));
        }
        if let Some(record) = planner.state.resources.get(&action.address)
            && matches!(action.verb, Verb::Keep | Verb::Update)
        {
            for ((kind, name), id) in pins(record) {
                let seen = planner
                    .observed
                    .sites
                    .get(&record.site)
                    .and_then(|view| view.lookups.get(&(kind.clone(), name.clone())));
                if let Some(seen) = seen.filter(|seen| !seen.is_empty() && seen.iter().all(|seen| seen.id != id)) {
                    notes.push(Note {
                        warning: false,
                        address: Some(action.address.clone()),
                        text: format!(
                            "{kind} `{name}` is another one by now ({}); `--replace {}` takes it",
                            seen[0].id, action.address
                        ),
                    });
                }
            }
        }
    }
    notes
}

/// What a look of its own could not see, and what no list shows and could not be asked for.
fn unseen(planner: &Planner<'_>) -> Vec<Note> {
    let note = |(address, why): (&Address, &String)| Note {
        warning: true,
        address: Some(address.clone()),
        text: format!("it could not be looked at, so it is taken to be as recorded: {why}"),
    };
    let hidden = planner.observed.sites.values().flat_map(|view| &view.hidden);
    let recorded = hidden.filter(|(address, _)| planner.state.resources.contains_key(*address));
    planner.observed.unseen.iter().chain(recorded).map(note).collect()
}

/// Servers that did not say what is mounted in them.
fn silent_servers(planner: &Planner<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    for view in planner.observed.sites.values() {
        for (server, inside) in &view.guests.seen {
            let Inside::Silent(why) = inside else { continue };
            let address = planner.state.find("server", server).map(|(address, _)| address.clone());
            let why = why.lines().next().unwrap_or_default();
            let text = format!("it says nothing over SSH, so what is mounted in it is taken to be as recorded: {why}");
            notes.push(Note { warning: true, address, text });
        }
    }
    notes
}

fn lease_note(action: &super::Action, now: Timestamp, works: bool) -> Option<Note> {
    let end: Timestamp = action.live.get("end").and_then(Value::as_str)?.parse().ok()?;
    let left = end.duration_since(now);
    if left.is_negative() {
        return None;
    }
    let warning = works && left < LEASE_MARGIN;
    let more = if warning { "; what this plan makes may not outlive it" } else { "" };
    Some(Note { warning, address: Some(action.address.clone()), text: format!("ends in {}{more}", in_words(left)) })
}

/// `2 h 10 min`, `6 d 4 h`, `45 s`: the two largest units.
#[must_use]
pub fn in_words(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
