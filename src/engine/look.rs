//! Signs in and looks: from a loaded spec and a state to what is live.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::{Error, Loaded, Settings, sites};
use crate::apply::known::Recorded;
use crate::cloud::Session;
use crate::diagnostic::{FileId, Span};
use crate::kinds::{self, Kind};
use crate::model::{Address, Fields, SiteAlias, SiteIdentity, Target};
use crate::observe::{Interest, Observed, observe_site};
use crate::plan::PlanOptions;
use crate::plan::bind::bind_fields;
use crate::resolve::{Desired, Resource};
use crate::state::{self, State};

/// The sites, signed in to.
pub(super) struct Signed {
    pub sessions: BTreeMap<SiteAlias, Session>,
    pub desired: Desired,
}

/// Signs in to every site that the spec uses or the state has objects on.
pub(super) async fn sign_in(loaded: &Loaded, settings: &Settings, state: &State) -> Result<Signed, Error> {
    let mut wanted = loaded.desired.sites.clone();
    for alias in state.resources.values().map(|record| &record.site) {
        if let Some(site) = loaded.spec.sites.get(alias) {
            wanted.entry(alias.clone()).or_insert_with(|| site.clone());
        } else if !wanted.contains_key(alias) {
            return Err(Error::refused(
                format!("the state has objects on site `{alias}`, which the spec no longer declares"),
                "keep the site until they are destroyed, or drop them with `anole state rm`",
            ));
        }
    }
    let sessions = sites::sign_in(&wanted, &loaded.spec.folder, settings).await?;
    let identities: BTreeMap<SiteAlias, SiteIdentity> =
        sessions.iter().map(|(alias, session)| (alias.clone(), session.identity().clone())).collect();
    Ok(Signed { desired: loaded.resolve_again(settings, &identities), sessions })
}

/// Looks at all sites. A destroy makes nothing, so it does not matter to it what undeclared names stand for.
pub(super) async fn look(signed: &Signed, state: &state::Loaded, options: &PlanOptions) -> Result<Observed, Error> {
    let mut interests = interests(&signed.desired, state, options.trust_state);
    if options.destroy {
        interests.values_mut().for_each(|interest| interest.lookups.clear());
    }
    let views = try_join_all(signed.sessions.iter().map(|(alias, session)| {
        let interest = interests.get(alias).cloned().unwrap_or_default();
        async move {
            let view = observe_site(session, &interest).await;
            view.map(|view| (alias.clone(), view)).map_err(|error| Error::Site { site: alias.clone(), error })
        }
    }));
    let sites = views.await?.into_iter().collect();
    Ok(Observed { at: clock(&signed.sessions), sites, here: BTreeMap::new(), unseen: BTreeMap::new() })
}

/// Now, by the clouds' clocks.
pub(super) fn clock(sessions: &BTreeMap<SiteAlias, Session>) -> Timestamp {
    sessions.values().filter_map(Session::server_time).max().unwrap_or_else(Timestamp::now)
}

/// The place of what no file says.
pub(super) fn nowhere() -> Span {
    Span { file: FileId(0), start: 0, end: 0 }
}

/// What to look at in each site: the kinds of what is wanted, recorded or open, and undeclared names.
fn interests(desired: &Desired, state: &state::Loaded, believe: bool) -> BTreeMap<SiteAlias, Interest> {
    let mut interests: BTreeMap<SiteAlias, Interest> = BTreeMap::new();
    for resource in desired.resources.values() {
        let interest = interests.entry(resource.site.clone()).or_default();
        if !believe {
            interest.kinds.insert(resource.kind.to_owned());
            interest.claimed.extend(claimed(resource).map(|named| (resource.kind.to_owned(), named)));
        }
        for value in resource.fields.values() {
            value.visit_refs(&mut |reference| {
                if let Target::Lookup(name) = &reference.target {
                    interest.lookups.insert((reference.kind.clone(), name.clone()));
                }
            });
        }
    }
    if believe {
        return interests;
    }
    for (address, (site, kind, fields)) in unlisted(desired, state) {
        interests.entry(site).or_default().unlisted.insert(address, (kind, fields));
    }
    for record in state.state.resources.values() {
        let interest = interests.entry(record.site.clone()).or_default();
        interest.kinds.insert(record.kind.clone());
        interest.recorded.insert((record.kind.clone(), record.id.clone()));
    }
    for intent in state.open.values() {
        interests.entry(intent.resource.site.clone()).or_default().kinds.insert(intent.resource.kind.clone());
    }
    interests
}

/// The name or the id of what a resource takes over, where its block says one.
fn claimed(resource: &Resource) -> Option<String> {
    let claim = || kinds::by_name(resource.kind)?.claim(&resource.fields)?.value.as_str().map(str::to_owned);
    resource.adopt.clone().or_else(claim)
}

/// The resources that no list shows, each with its site and the fields by which it is asked for. What is recorded is looked
/// for where it was made, by the keys that the spec has by now; what an interrupted apply was making, where that was to be.
fn unlisted(desired: &Desired, state: &state::Loaded) -> BTreeMap<Address, (SiteAlias, String, Fields)> {
    let is_unlisted = |kind: &str| kinds::by_name(kind).and_then(Kind::cloud).filter(|kind| kind.is_unlisted());
    let bound = |address: &Address| {
        let resource = desired.resources.get(address)?;
        let fields = bind_fields(&resource.fields, &Recorded(&state.state));
        Some((resource, fields))
    };
    let mut all = BTreeMap::new();
    for (address, resource) in desired.resources.iter().filter(|(_, resource)| is_unlisted(resource.kind).is_some()) {
        let Some((_, fields)) = bound(address) else { continue };
        all.insert(address.clone(), (resource.site.clone(), resource.kind.to_owned(), fields));
    }
    let open = state.open.iter().map(|(address, intent)| (address, &*intent.resource));
    for (address, record) in state.state.resources.iter().chain(open) {
        let Some(kind) = is_unlisted(&record.kind) else { continue };
        let wanted = bound(address).filter(|(resource, _)| resource.kind == record.kind).map(|(_, fields)| fields);
        let fields = kind.way_to(&record.applied, &wanted.unwrap_or_default());
        all.insert(address.clone(), (record.site.clone(), record.kind.clone(), fields));
    }
    all
}

/// Every kind that a spec can declare or derive, for a look at all there is.
pub(super) fn everything(desired: &Desired, sessions: &BTreeMap<SiteAlias, Session>) -> BTreeMap<SiteAlias, Interest> {
    let none = state::Loaded::new(State::new(&desired.stack, String::new()));
    let mut interests = interests(desired, &none, false);
    for (alias, session) in sessions {
        let interest = interests.entry(alias.clone()).or_default();
        interest.whole = true;
        let offered = |kind: &dyn Kind| kind.cloud().is_some_and(|cloud| session.has(cloud.service()));
        let manageable = kinds::KINDS.iter().filter(|kind| kind.manageable() && offered(**kind));
        interest.kinds.extend(manageable.map(|kind| kind.schema().kind.to_owned()));
    }
    interests
}
