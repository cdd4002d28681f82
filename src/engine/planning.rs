//! From settings to a plan.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::look::{self, Signed};
use super::{Error, Loaded, Settings, fresh_state, load};
use super::{inside, vault};
use crate::apply::Event;
use crate::apply::intents::{self, Resolution};
use crate::cloud::Session;
use crate::diagnostic::{Diagnostic, Diagnostics, Sources};
use crate::guest::Guests;
use crate::kinds;
use crate::kinds::kind::Spot;
use crate::model::{Address, Json, SiteAlias};
use crate::observe::Observed;
use crate::plan::{Plan, PlanError, PlanOptions, Reason, Report, Verb, plan as make_plan};
use crate::resolve::Desired;
use crate::ssh::Redactor;
use crate::stamp::{Ids, SystemIds};
use crate::state::sealing::Locked;
use crate::state::{self, State};

/// A plan, and what it was made from.
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// What people should know besides.
    pub report: Report,
    /// The variables of the apply before.
    pub previous_variables: BTreeMap<String, Json>,
    /// Warnings of the spec.
    pub diagnostics: Diagnostics,
    /// The texts.
    pub sources: Sources,
    /// What became of an interrupted apply's requests, in words.
    pub notices: Vec<String>,
    /// How many requests it took, by service.
    pub requests: u64,
    pub(super) sessions: BTreeMap<SiteAlias, Session>,
    pub(super) servers: Guests,
    pub(super) resolution: Resolution,
}

/// Makes a plan, without the state's lock and without writing anything.
///
/// # Errors
/// Every reason why there is none.
pub async fn plan(settings: &Settings, options: &PlanOptions) -> Result<Planned, Error> {
    let loaded = load(settings)?;
    let mut state = loaded.state.clone().unwrap_or_else(|| fresh_state(&loaded.spec.stack.value, &SystemIds::new()));
    let locked = vault::unlock(settings, Some(&loaded.desired), &mut state)?;
    make(loaded, (state, &locked), settings, options, None).await
}

/// Makes a plan from a loaded spec and the state as it is.
///
/// The state's secrets are open, but for what is `locked`. With `patient`, what an interrupted apply asked for and may still appear is waited for.
pub(super) async fn make(
    loaded: Loaded,
    (state, locked): (state::Loaded, &[Locked]),
    settings: &Settings,
    options: &PlanOptions,
    patient: Option<&mpsc::UnboundedSender<Event>>,
) -> Result<Planned, Error> {
    let signed = look::sign_in(&loaded, settings, &state.state).await?;
    let (mut observed, resolution) = settle(&signed, &state, options, patient).await?;
    let mut resolved = state.clone();
    resolution.entries.iter().cloned().for_each(|entry| resolved.fold(entry));
    settings.servers.redact(secrets(&signed.desired, &resolved.state));
    inside::look_inside(&mut observed, &signed, &resolved.state, (settings, options)).await;
    if !options.destroy && !options.trust_state {
        inside::look_here(&mut observed, &signed, &resolved.state, (settings, options)).await;
    }
    let fail = |problems| unplanned(problems, &signed.desired, &loaded.sources);
    let (plan, mut report) = make_plan(&signed.desired, &observed, &resolved.state, options).map_err(fail)?;
    let mut refused = vault::refuse_lost(&plan, &resolved.state);
    refused.extend(refuse_restricted(&plan, &signed));
    refused.extend(refuse_shared(&plan));
    if !refused.is_empty() {
        return Err(fail(refused));
    }
    report.notes.extend(vault::notes(locked, &plan));
    let requests = signed.sessions.values().flat_map(|session| session.request_count().into_values()).sum();
    Ok(Planned {
        plan,
        report,
        previous_variables: loaded.previous_variables(),
        diagnostics: loaded.diagnostics,
        sources: loaded.sources,
        notices: resolution.notices.clone(),
        requests,
        sessions: signed.sessions,
        servers: settings.servers.clone(),
        resolution,
    })
}

/// The texts that nothing which a server prints may show.
fn secrets(desired: &Desired, state: &State) -> Redactor {
    let mut texts = Vec::new();
    let wanted = desired.resources.values().flat_map(|resource| resource.fields.values());
    let recorded = state.resources.values().flat_map(|record| record.attributes.values());
    for value in wanted.chain(recorded) {
        value.visit_secrets(&mut |text| texts.push(text));
    }
    Redactor::new(texts)
}

/// Resources that would have one place outside, and undo each other's work there.
fn refuse_shared(plan: &Plan) -> Vec<PlanError> {
    let mut owners: BTreeMap<(String, String), &Address> = BTreeMap::new();
    let mut errors: Vec<PlanError> = Vec::new();
    let stays = plan.actions.values().filter(|action| !matches!(action.verb, Verb::Delete | Verb::Forget));
    for action in stays {
        let spots = kinds::by_name(&action.kind).map(|kind| kind.occupies(&action.fields)).unwrap_or_default();
        let mut shared = None;
        for spot in spots {
            let site = if spot.of_site { action.site.0.clone() } else { String::new() };
            match owners.entry((site, spot.place.clone())) {
                Entry::Vacant(free) => {
                    free.insert(&action.address);
                }
                Entry::Occupied(taken) => shared = shared.or(Some((*taken.get(), spot))),
            }
        }
        errors.extend(shared.map(|(owner, Spot { place, both, help, .. })| PlanError {
            code: "same-place",
            address: Some(action.address.clone()),
            field: None,
            message: format!("{} and {owner} {both} {place}, and would undo each other's work", action.address),
            help: Some(help.to_owned()),
        }));
    }
    errors
}

/// Credentials that the sign-in may neither make nor delete.
fn refuse_restricted(plan: &Plan, signed: &Signed) -> Vec<PlanError> {
    let is_made_by_keystone = |kind: &str| matches!(kind, "application_credential" | "ec2_credential");
    let of_credentials = plan.actions.values().filter(|action| {
        let was = |reason: &Reason| matches!(reason, Reason::KindChanged { from } if is_made_by_keystone(from));
        (is_made_by_keystone(&action.kind) || action.reasons.iter().any(was))
            && matches!(action.verb, Verb::Create | Verb::Replace | Verb::Delete)
            && signed.sessions.get(&action.site).is_some_and(Session::is_restricted)
    });
    of_credentials
        .map(|action| PlanError {
            code: "restricted-sign-in",
            address: Some(action.address.clone()),
            field: None,
            message: format!(
                "site `{}` is signed in to by a restricted application credential, which may not make or delete {}",
                action.site,
                if action.kind == "ec2_credential" { "EC2 credentials" } else { "application credentials" },
            ),
            help: Some(
                "sign in with a password, or with an application credential made with Unrestricted ticked; or name keys that \
                 you have by `from_env`"
                    .to_owned(),
            ),
        })
        .collect()
}

/// Looks until every open intent is settled, or once where nobody waits.
async fn settle(
    signed: &Signed,
    state: &state::Loaded,
    options: &PlanOptions,
    patient: Option<&mpsc::UnboundedSender<Event>>,
) -> Result<(Observed, Resolution), Error> {
    let in_process = signed.sessions.iter().filter(|(_, session)| session.is_in_process());
    let at_rest: BTreeSet<SiteAlias> = in_process.map(|(alias, _)| alias.clone()).collect();
    let mut told = false;
    loop {
        let observed = look::look(signed, state, options).await?;
        let mut resolution = intents::resolve(state, &observed, &at_rest, Timestamp::now());
        if let Some((address, candidates)) = resolution.ambiguous.pop() {
            return Err(Error::Ambiguous { address, candidates });
        }
        match (resolution.look_again_at, patient) {
            (Some(until), Some(events)) => {
                if !told {
                    let text =
                        "an interrupted apply asked for objects that are not there yet; looking whether they appear";
                    let _ = events.send(Event::Notice { text: text.to_owned() });
                    told = true;
                }
                let left = until.duration_since(Timestamp::now());
                let pause = Duration::try_from(left).unwrap_or_default().min(Duration::from_secs(2));
                tokio::time::sleep(pause.max(Duration::from_millis(50))).await;
            }
            (Some(_), None) => {
                let text =
                    "an interrupted apply asked for objects that are not there yet; the next apply looks again first";
                resolution.notices.push(text.to_owned());
                return Ok((observed, resolution));
            }
            (None, _) => return Ok((observed, resolution)),
        }
    }
}

/// Why there is no plan, at the places of the spec that it is about.
fn unplanned(problems: Vec<PlanError>, desired: &Desired, sources: &Sources) -> Error {
    let mut diagnostics = Diagnostics::default();
    for problem in &problems {
        let resource = problem
            .address
            .as_ref()
            .and_then(|address| desired.resources.get(address).or_else(|| desired.resources.get(&address.owner()?)));
        let Some(resource) = resource else { continue };
        let span = problem.field.as_ref().and_then(|field| resource.field_spans.get(field)).copied();
        let mut diagnostic = Diagnostic::error(problem.code, span.unwrap_or(resource.span), problem.message.clone());
        diagnostic.help = problem.help.clone();
        diagnostics.push(diagnostic);
    }
    let problems = problems
        .into_iter()
        .filter(|problem| {
            problem.address.as_ref().is_none_or(|address| {
                !desired.resources.contains_key(address)
                    && address.owner().is_none_or(|owner| !desired.resources.contains_key(&owner))
            })
        })
        .collect();
    Error::Plan { problems, diagnostics, sources: sources.clone() }
}

/// The ids of a command that needs randomness.
pub(super) fn ids() -> std::sync::Arc<dyn Ids> {
    std::sync::Arc::new(SystemIds::new())
}
