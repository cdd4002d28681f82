//! Looks into servers: the facts of those in which something is recorded, one round trip each, side by side.
//!
//! A server that says nothing is no reason to have no plan: what is recorded of its inside is believed, and the plan says
//! so. Whoever carries the plan out will need an answer, and will wait for it longer than a plan does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::Settings;
use super::look::Signed;
use super::sites::enters_servers;
use crate::apply::known::Recorded;
use crate::cloud::Session;
use crate::guest::{Access, GuestError, Guests, Tell};
use crate::kinds::guest::{is_recorded_only, server_of};
use crate::kinds::look::LookCx;
use crate::kinds::{self, Kind};
use crate::model::{Fields, RemoteId, SiteAlias, Value};
use crate::observe::{Inside, Observed};
use crate::plan::PlanOptions;
use crate::plan::bind::bind;
use crate::resolve::Desired;
use crate::state::{State, Status};

/// How long a plan waits for a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Adds to what was observed what servers show of their insides.
pub(super) async fn look_inside(
    observed: &mut Observed,
    signed: &Signed,
    state: &State,
    (settings, options): (&Settings, &PlanOptions),
) {
    for (alias, view) in &mut observed.sites {
        view.guests.reached = is_reached(alias, signed, settings);
    }
    // A destroy undoes what is recorded, whatever is there; without a refresh nobody is asked.
    if options.destroy || options.trust_state {
        return;
    }
    let wanted = servers(observed, state);
    let looks = wanted.into_iter().filter_map(|(site, server)| {
        let session = signed.sessions.get(&site)?;
        let access = access(state, &signed.desired, &server);
        let guests = settings.servers.clone();
        Some(async move { (site, server, look_into(&guests, access, session).await) })
    });
    for (site, server, inside) in join_all(looks).await {
        if let Some(view) = observed.sites.get_mut(&site) {
            view.guests.seen.insert(server, inside);
        }
    }
}

/// Whether servers of a site are logged in to.
pub(super) fn is_reached(alias: &SiteAlias, signed: &Signed, settings: &Settings) -> bool {
    let declared = signed.desired.sites.get(alias).and_then(|site| site.guests);
    let in_process = signed.sessions.get(alias).is_some_and(Session::is_in_process);
    enters_servers(declared, settings.guests, in_process)
}

/// The servers whose facts tell how something recorded is: those that are live.
fn servers(observed: &Observed, state: &State) -> BTreeSet<(SiteAlias, RemoteId)> {
    let mut wanted = BTreeSet::new();
    for record in state.resources.values() {
        let is_seen = kinds::by_name(&record.kind).and_then(Kind::guest).is_some_and(|kind| kind.is_seen());
        let Some(server) = server_of(&record.applied) else { continue };
        let reached = observed.sites.get(&record.site).is_some_and(|view| view.guests.reached);
        let runs = observed.object(&record.site, "server", server).is_some_and(|seen| seen.status == "ACTIVE");
        if is_seen && reached && runs && !is_recorded_only(&record.attributes) {
            wanted.insert((record.site.clone(), server.clone()));
        }
    }
    wanted
}

/// The way to a server, with the settings that the spec has by now.
pub(super) fn access(state: &State, desired: &Desired, server: &RemoteId) -> Result<Access, GuestError> {
    let found = state.find("server", server);
    let (address, record) = found.ok_or_else(|| GuestError::refused(format!("server {server} is not in the state")))?;
    let wanted = desired.resources.get(address).and_then(|resource| resource.fields.get("ssh"));
    let wanted = wanted.map(|ssh| bind(ssh, &Recorded(state))).filter(Value::is_known);
    let ssh = wanted.or_else(|| record.applied.get("ssh").cloned());
    let ssh: Fields = ssh.as_ref().and_then(Value::as_map).cloned().unwrap_or_default();
    Access::of(state, address, &ssh)
}

async fn look_into(guests: &Guests, access: Result<Access, GuestError>, session: &Session) -> Inside {
    let tell: Tell = Arc::new(|_: &str| {});
    let look = async {
        let access = Access { patience: PATIENCE, ..access? };
        let (guest, _) = guests.connect(&access, session, &tell).await?;
        guest.facts().await
    };
    match look.await {
        Ok(facts) => Inside::Facts(facts),
        Err(error) => Inside::Silent(error.to_string()),
    }
}

/// Adds what looks of their own show of what is recorded, side by side.
pub(super) async fn look_here(
    observed: &mut Observed,
    signed: &Signed,
    state: &State,
    (settings, options): (&Settings, &PlanOptions),
) {
    let home = settings.environment.home.as_deref();
    let looks = state.resources.iter().filter_map(|(address, record)| {
        let looker = kinds::by_name(&record.kind).and_then(Kind::looker)?;
        let session = signed.sessions.get(&record.site)?;
        // What was begun and not done is done again whatever is there; what was only recorded is nowhere.
        let is_there = record.status == Status::Ready && !is_recorded_only(&record.attributes);
        is_there.then_some(async move {
            let cx = LookCx { address, session, home, lineage: &state.lineage, verify: options.verify };
            (address.clone(), looker.look(&cx, &record.applied, &record.attributes).await)
        })
    });
    for (address, shown) in join_all(looks).await {
        match shown {
            Ok(shown) => drop(observed.here.insert(address, shown)),
            Err(why) => drop(observed.unseen.insert(address, why)),
        }
    }
}
