//! `import`: makes an object that exists a resource of the spec.

use std::time::Duration;

use jiff::Timestamp;

use super::planning::ids;
use super::{Error, Settings, fresh_state, load, look};
use crate::apply::known::Recorded;
use crate::cloud::{CloudError, Session};
use crate::kinds::kind::{Found, Readiness, Seen};
use crate::kinds::{self, CloudKind};
use crate::model::{Address, Fields, RemoteId, Value};
use crate::plan::bind::bind_fields;
use crate::resolve::Resource;
use crate::state::lock::Holder;
use crate::state::{Entry, Origin, ResourceState, State, Status};

/// Takes an object into the state under an address of the spec. The next plan shows what differs.
///
/// # Errors
/// When the spec has no such resource, the state has it already, or the site has no such object.
pub async fn import(settings: &Settings, address: &Address, id: &RemoteId) -> Result<ResourceState, Error> {
    let loaded = load(settings)?;
    let mut writer = loaded.store.lock(&Holder::current("anole import"), Duration::ZERO)?;
    let existing = writer.load()?;
    let existed = existing.is_some();
    let mut state = existing.unwrap_or_else(|| fresh_state(&loaded.spec.stack.value, &*ids()));
    if let Some(record) = state.state.resources.get(address) {
        return Err(Error::refused(
            format!("the state has {address} already: {}", record.id),
            format!("`anole state rm {address}` drops it first"),
        ));
    }
    let signed = look::sign_in(&loaded, settings, &state.state).await?;
    let Some(resource) = signed.desired.resources.get(address) else {
        return Err(Error::refused(
            format!("the spec declares no {address}"),
            "write its block first, as it is; `import` fills in the object",
        ));
    };
    let kind = kinds::by_name(resource.kind).and_then(kinds::Kind::cloud);
    let (Some(kind), Some(session)) = (kind, signed.sessions.get(&resource.site)) else {
        return Err(Error::refused(
            format!("{address} cannot be imported: no service of the cloud has it"),
            "an apply looks into the server, and takes what is there already",
        ));
    };
    let site = resource.site.clone();
    let found = find(kind, session, id, (resource, &state.state)).await;
    let seen = found.map_err(|error| Error::Site { site: site.clone(), error })?;
    let Some(seen) = seen.filter(|seen| !matches!(kind.readiness(seen), Readiness::Ended(_))) else {
        let what = resource.kind.replace('_', " ");
        return Err(Error::refused(format!("site `{site}` has no {what} {id}"), "check the id and the project"));
    };
    if let Some(stamp) = seen.stamp.as_ref().filter(|stamp| stamp.lineage != state.state.lineage) {
        return Err(Error::refused(
            format!("{id} is managed by stack `{}` as {}", stamp.stack, stamp.address),
            "`anole state rm` it there first",
        ));
    }
    // What no list shows is asked for again by what is recorded: its keys too.
    let wanted = match kind.is_unlisted() {
        true => bind_fields(&resource.fields, &Recorded(&state.state)),
        false => resource.fields.clone(),
    };
    let record = ResourceState {
        kind: resource.kind.to_owned(),
        site,
        id: seen.id.clone(),
        origin: Origin::Imported,
        protect: resource.protect.unwrap_or(kind.schema().protect),
        uid: seen.stamp.as_ref().map(|stamp| stamp.uid.clone()).unwrap_or_default(),
        status: Status::Ready,
        applied: known(&wanted, &seen.attrs),
        attributes: seen.attrs.clone(),
        needs: resource.needs.iter().map(|need| need.address.clone()).collect(),
    };
    let entry = Entry::Put { address: address.clone(), resource: Box::new(record.clone()) };
    writer.begin(&Entry::Begin {
        lineage: state.state.lineage.clone(),
        stack: state.state.stack.clone(),
        serial: if existed { state.state.serial } else { 0 },
        at: Timestamp::now(),
        sites: signed.sessions.iter().map(|(alias, session)| (alias.clone(), session.identity().clone())).collect(),
        variables: state.state.variables.clone(),
    })?;
    writer.append(std::slice::from_ref(&entry))?;
    for (alias, session) in &signed.sessions {
        state.state.sites.insert(alias.clone(), session.identity().clone());
    }
    state.fold(entry);
    writer.commit(&mut state)?;
    Ok(record)
}

/// The object of that id; one that no list shows is where the block says, and has that id or name.
async fn find(
    kind: &'static dyn CloudKind,
    session: &Session,
    id: &RemoteId,
    (resource, state): (&Resource, &State),
) -> Result<Option<Seen>, CloudError> {
    if !kind.is_unlisted() {
        return kind.read(session, id).await;
    }
    match kind.find(session, &bind_fields(&resource.fields, &Recorded(state))).await? {
        Found::Here(seen) => Ok(Some(*seen).filter(|seen| seen.id == *id || seen.name == id.0)),
        Found::Nowhere => Ok(None),
        Found::Hidden(why) => Err(CloudError::config(format!("{} cannot be looked at: {why}", resource.address))),
    }
}

/// What the object is taken to have been made with: what it shows, and what it does not show as the spec has it.
fn known(wanted: &Fields, live: &Fields) -> Fields {
    wanted
        .iter()
        .filter_map(|(name, value)| {
            // The object shows when it ends, and the block says for how long it lives: that is no change.
            let shown =
                live.get(name).filter(|shown| !matches!((value, shown), (Value::Int(_), Value::String(_)))).cloned();
            let known = shown.or_else(|| value.is_known().then(|| value.clone()))?;
            (!matches!(known, Value::Null)).then(|| (name.clone(), known))
        })
        .collect()
}
