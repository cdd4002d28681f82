//! A lost state, made again from what is live: the objects that carry this stack's stamps.
//!
//! Pure. Objects are taken in rounds, because the later ones are told by what the earlier ones found:
//!
//! 1. by stamp;
//! 2. what the spec claims as it is (`adopt:`, a shared group, an address): by name, id or the claimed field;
//! 3. kinds without a stamp (leases, keypairs, attachments): by what their kind knows them by, and made by this user,
//!    again and again, because an attachment is known by objects that were found before it.
//!
//! Invariants:
//! - One lineage. Objects of several are not mixed: the caller chooses.
//! - One object for one address, and one address for one object, or nothing: all candidates are named in the error.
//! - A field that can be known from neither spec nor object is left out of `applied`, so that it is no difference.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest;

use super::error::Candidate;
use super::{Error, Origin, ResourceState, State, Status};
use crate::hex;
use crate::kinds::Kind;
use crate::kinds::guest::RECORDED_ONLY;
use crate::kinds::kind::{Claim, Readiness, Seen};
use crate::model::{Address, Fields, Reference, RemoteId, SiteAlias, Target, Value};
use crate::observe::Observed;
use crate::resolve::{Desired, Resource};
use crate::stamp::owner;

/// What a state is made from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The spec, for the addresses of what carries no stamp and the fields that no service shows.
    pub desired: &'a Desired,
    /// All objects of every kind, and who we are on each site: only objects of this user are taken.
    pub observed: &'a Observed,
    /// The kinds by name: [`crate::kinds::by_name`].
    pub kinds: fn(&str) -> Option<&'static dyn Kind>,
    /// The lineage to take, where there are several.
    pub lineage: Option<&'a str>,
    /// The lineage to start with, where no object has a stamp.
    pub fresh_lineage: &'a str,
}

/// A state that was made again.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// The state, with serial 0: the store gives it the next.
    pub state: State,
    /// Resources of the spec for which no object was found.
    pub missing: Vec<Address>,
    /// Records that the spec does not have: the next apply deletes them, unless they are protected.
    pub unwanted: Vec<Address>,
}

/// Makes a state from live objects.
///
/// # Errors
/// When there are objects of several lineages, several objects for one address or several addresses for one object,
/// or nothing at all.
pub fn recover(sources: &Sources<'_>) -> Result<Recovered, Error> {
    let stack = &sources.desired.stack;
    let live = live(sources);
    let lineage = choose_lineage(sources, &live)?;
    let mut found = Found { sources, live: &live, taken: BTreeMap::new() };
    found.by_stamp(&lineage)?;
    found.by_claim(&lineage)?;
    while found.by_likeness()? {}
    if found.taken.is_empty() {
        return Err(Error::NothingToRecover { stack: stack.clone() });
    }
    let mut state = State::new(stack, lineage.clone());
    let views = &sources.observed.sites;
    state.sites = views.iter().map(|(alias, view)| (alias.clone(), view.identity.clone())).collect();
    state.variables = sources.desired.variables.clone();
    state.resources = found.taken.iter().map(|(at, live)| (at.clone(), found.record(at, live, &lineage))).collect();
    state.resources.extend(found.inside_servers());
    let wanted = &sources.desired.resources;
    Ok(Recovered {
        missing: wanted.keys().filter(|address| !state.resources.contains_key(address)).cloned().collect(),
        unwanted: state.resources.keys().filter(|address| !wanted.contains_key(address)).cloned().collect(),
        state,
    })
}

/// An object that is not over.
struct Live<'a> {
    kind: &'static dyn Kind,
    site: &'a SiteAlias,
    seen: &'a Seen,
    /// Our user's id on the site.
    user: &'a str,
    readiness: Readiness,
}

impl Live<'_> {
    fn is(&self, resource: &Resource) -> bool {
        self.kind.schema().kind == resource.kind && *self.site == resource.site
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            kind: self.kind.schema().kind.to_owned(),
            name: self.seen.name.clone(),
            id: self.seen.id.clone(),
            site: self.site.clone(),
            created_at: self.seen.created_at.map(|at| at.to_string()),
        }
    }
}

/// All objects but those that are over: of an ended lease no record is of any use.
fn live<'a>(sources: &Sources<'a>) -> Vec<Live<'a>> {
    let mut all = Vec::new();
    for (site, view) in &sources.observed.sites {
        for (kind, objects) in view.objects.iter().filter_map(|(name, all)| Some(((sources.kinds)(name)?, all))) {
            all.extend(objects.values().map(|seen| Live {
                kind,
                site,
                seen,
                user: &view.identity.user_id,
                readiness: kind.readiness(seen),
            }));
        }
    }
    all.retain(|live| !matches!(live.readiness, Readiness::Ended(_)));
    all
}

/// The lineage in the stamp, if this user made the object for this stack.
fn our_lineage<'a>(sources: &Sources<'_>, live: &Live<'a>) -> Option<&'a str> {
    let stamp = live.seen.stamp.as_ref()?;
    (stamp.stack == sources.desired.stack && stamp.owner == owner(live.user)).then_some(stamp.lineage.as_str())
}

fn choose_lineage(sources: &Sources<'_>, live: &[Live<'_>]) -> Result<String, Error> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for lineage in live.iter().filter_map(|live| our_lineage(sources, live)) {
        *counts.entry(lineage).or_default() += 1;
    }
    match (sources.lineage, counts.len()) {
        (Some(lineage), _) => Ok(lineage.to_owned()),
        (None, 0) => Ok(sources.fresh_lineage.to_owned()),
        (None, 1) => Ok(counts.into_keys().collect()),
        (None, _) => Err(Error::Lineages {
            stack: sources.desired.stack.clone(),
            counts: counts.into_iter().map(|(lineage, count)| (lineage.to_owned(), count)).collect(),
        }),
    }
}

/// The objects taken so far, by address.
struct Found<'a> {
    sources: &'a Sources<'a>,
    live: &'a [Live<'a>],
    taken: BTreeMap<Address, &'a Live<'a>>,
}

impl<'a> Found<'a> {
    fn by_stamp(&mut self, lineage: &str) -> Result<(), Error> {
        let mut stamped = BTreeMap::<Address, Vec<&'a Live<'a>>>::new();
        for live in self.live.iter().filter(|live| our_lineage(self.sources, live) == Some(lineage)) {
            if let Some(stamp) = &live.seen.stamp {
                stamped.entry(stamp.address.clone()).or_default().push(live);
            }
        }
        stamped.into_iter().try_for_each(|(address, objects)| self.take(&address, &objects).map(drop))
    }

    fn by_claim(&mut self, lineage: &str) -> Result<(), Error> {
        for resource in self.missing() {
            let Some(claim) = self.claim(resource) else { continue };
            let fits = |live: &&Live<'_>| live.is(resource) && claimed(&claim, live.seen, lineage);
            let candidates: Vec<_> = self.live.iter().filter(fits).collect();
            self.take(&resource.address, &candidates)?;
        }
        Ok(())
    }

    /// Takes objects of kinds without a stamp; whether there was any.
    fn by_likeness(&mut self) -> Result<bool, Error> {
        let mut any = false;
        for resource in self.missing() {
            let fields = self.bind_all(&resource.fields, &resource.site);
            if names_what_is_missing(&fields) {
                continue;
            }
            let alike = |live: &&Live<'_>| {
                let ours = live.seen.user_id.as_deref().is_none_or(|maker| maker == live.user);
                live.is(resource) && ours && live.kind.unstamped_match(&fields, live.seen) == Some(true)
            };
            let candidates: Vec<_> = self.live.iter().filter(alike).collect();
            any |= self.take(&resource.address, &candidates)?;
        }
        Ok(any)
    }

    /// The object that the spec takes as it is.
    fn claim(&self, resource: &Resource) -> Option<Claim> {
        let adopt = resource.adopt.as_ref();
        match adopt {
            Some(name) => Some(Claim { field: "name", value: Value::text(name.clone()), or_create: false }),
            None => (self.sources.kinds)(resource.kind)?.claim(&resource.fields),
        }
    }

    /// The resources of the spec that have no object yet.
    fn missing(&self) -> Vec<&'a Resource> {
        let all = self.sources.desired.resources.values();
        all.filter(|resource| !self.taken.contains_key(&resource.address)).collect()
    }

    /// Takes the only candidate, and says whether there was one; several are a mistake.
    fn take(&mut self, address: &Address, candidates: &[&'a Live<'a>]) -> Result<bool, Error> {
        let [live] = candidates else {
            if candidates.is_empty() {
                return Ok(false);
            }
            let objects = candidates.iter().map(|live| live.candidate()).collect();
            return Err(Error::Candidates { address: Box::new(address.clone()), objects });
        };
        if let Some((first, _)) = self.taken.iter().find(|(_, other)| std::ptr::eq(**other, *live)) {
            let (first, second) = (Box::new(first.clone()), Box::new(address.clone()));
            return Err(Error::TwoAddresses { object: Box::new(live.candidate()), first, second });
        }
        self.taken.insert(address.clone(), live);
        Ok(true)
    }

    fn record(&self, address: &Address, live: &Live<'_>, lineage: &str) -> ResourceState {
        let wanted = self.sources.desired.resources.get(address);
        let (schema, seen) = (live.kind.schema(), live.seen);
        let (applied, mut needs) = match wanted {
            Some(wanted) => {
                let needs = wanted.needs.iter().map(|need| need.address.clone()).collect();
                (self.applied(wanted, &seen.attrs), needs)
            }
            None => {
                let fields = seen.attrs.iter().filter(|(name, _)| schema.field(name).is_some());
                let fields: Fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
                let needs = self.named_by(&fields);
                (fields, needs)
            }
        };
        needs.retain(|need| self.taken.contains_key(need) && need != address);
        let claimed = wanted.is_some_and(|wanted| self.claim(wanted).is_some());
        ResourceState {
            kind: schema.kind.to_owned(),
            site: live.site.clone(),
            id: seen.id.clone(),
            origin: if claimed { Origin::Adopted } else { Origin::Created },
            protect: wanted.and_then(|wanted| wanted.protect).unwrap_or(schema.protect),
            uid: seen.stamp.as_ref().map_or_else(|| derived_uid(lineage, address, &seen.id), |stamp| stamp.uid.clone()),
            status: match &live.readiness {
                Readiness::Ready => Status::Ready,
                Readiness::Pending(_) | Readiness::Scheduled(_) => Status::Accepted,
                Readiness::Failed(why) | Readiness::Ended(why) => Status::Failed(why.clone()),
            },
            applied,
            attributes: seen.attrs.clone(),
            needs,
        }
    }

    /// What the spec does inside servers that were found. No service shows it, so it is recorded as begun: the next apply
    /// looks, and does what is missing; and it is undone when it is no longer wanted.
    fn inside_servers(&self) -> Vec<(Address, ResourceState)> {
        let mut records = Vec::new();
        for resource in self.missing() {
            let Some(kind) = (self.sources.kinds)(resource.kind).and_then(Kind::guest) else { continue };
            let applied = self.applied(resource, &Fields::new());
            let fields = self.bind_all(&resource.fields, &resource.site);
            let (Some(id), false) = (kind.id(&resource.address, &applied), names_a_lost_one(self, &fields)) else {
                continue;
            };
            let reached = self.sources.observed.sites.get(&resource.site).is_some_and(|view| view.guests.reached);
            let (status, attributes) = match reached {
                true => (Status::Accepted, Fields::new()),
                false => (Status::Ready, Fields::from([(RECORDED_ONLY.to_owned(), Value::Bool(true))])),
            };
            let record = ResourceState {
                kind: resource.kind.to_owned(),
                site: resource.site.clone(),
                id,
                origin: Origin::Created,
                protect: false,
                uid: String::new(),
                status,
                applied,
                attributes,
                needs: resource.needs.iter().map(|need| need.address.clone()).collect(),
            };
            records.push((resource.address.clone(), record));
        }
        records
    }

    /// What the lost apply must have set: what the spec says where it is known, else what is live.
    ///
    /// The spec comes first, because it does not change by itself: a lease that was prolonged elsewhere must look
    /// prolonged, not as if the spec had been edited to make it shorter.
    fn applied(&self, wanted: &Resource, live: &Fields) -> Fields {
        let known = |(field, want): (String, Value)| {
            let value = if want.is_known() { want } else { live.get(&field)?.clone() };
            Some((field, value))
        };
        self.bind_all(&wanted.fields, &wanted.site).into_iter().filter_map(known).collect()
    }

    fn bind_all(&self, fields: &Fields, site: &SiteAlias) -> Fields {
        fields.iter().map(|(name, value)| (name.clone(), self.bind(value, site))).collect()
    }

    /// The value with the ids of what it names, as far as they are known.
    fn bind(&self, value: &Value, site: &SiteAlias) -> Value {
        match value {
            Value::Ref(reference) if reference.id.is_none() => {
                let id = match &reference.target {
                    Target::Resource(address) => self.taken.get(address).map(|live| live.seen.id.clone()),
                    Target::Lookup(text) => self.look_up(site, &reference.kind, text),
                    Target::Live => None,
                };
                Value::Ref(Reference { id, ..reference.clone() })
            }
            Value::List(items) => Value::List(items.iter().map(|item| self.bind(item, site)).collect()),
            Value::Map(fields) => Value::Map(self.bind_all(fields, site)),
            other => other.clone(),
        }
    }

    /// What an undeclared name means, if it means one object.
    fn look_up(&self, site: &SiteAlias, kind: &str, text: &str) -> Option<RemoteId> {
        let view = self.sources.observed.sites.get(site)?;
        match view.lookups.get(&(kind.to_owned(), text.to_owned()))?.as_slice() {
            [seen] => Some(seen.id.clone()),
            _ => None,
        }
    }

    /// The records whose objects the fields name.
    fn named_by(&self, fields: &Fields) -> Vec<Address> {
        let mut ids = BTreeSet::new();
        for value in fields.values() {
            value.visit_refs(&mut |reference| {
                ids.extend(reference.id.as_ref().map(|id| (reference.kind.as_str(), id)));
            });
        }
        let named = |live: &Live<'_>| ids.contains(&(live.kind.schema().kind, &live.seen.id));
        self.taken.iter().filter(|(_, live)| named(live)).map(|(address, _)| address.clone()).collect()
    }
}

/// Whether the object is the claimed one. One that another state made is left to the plan, which refuses it.
fn claimed(claim: &Claim, seen: &Seen, lineage: &str) -> bool {
    let foreign = seen.stamp.as_ref().is_some_and(|stamp| stamp.lineage != lineage);
    let meant = match (claim.field, claim.value.as_str()) {
        ("name", Some(name)) => seen.name == name || seen.id.0 == name,
        (field, _) => seen.attrs.get(field).is_some_and(|value| value.same(&claim.value)),
    };
    meant && (claim.or_create || !foreign)
}

/// Whether the fields name something in the cloud that was not found. What is inside servers may name its like.
fn names_a_lost_one(found: &Found<'_>, fields: &Fields) -> bool {
    let mut lost = false;
    for value in fields.values() {
        value.visit_refs(&mut |reference| {
            let in_cloud = (found.sources.kinds)(&reference.kind).is_some_and(|kind| kind.cloud().is_some());
            lost |= in_cloud && reference.id.is_none() && matches!(reference.target, Target::Resource(_));
        });
    }
    lost
}

/// Whether the fields name a resource of the spec that was not found, or not yet.
fn names_what_is_missing(fields: &Fields) -> bool {
    let mut unbound = false;
    for value in fields.values() {
        value.visit_refs(&mut |reference| {
            unbound |= reference.id.is_none() && matches!(reference.target, Target::Resource(_));
        });
    }
    unbound
}

/// A unique id for an object without a stamp.
fn derived_uid(lineage: &str, address: &Address, id: &RemoteId) -> String {
    let text = format!("{lineage} {address} {id}");
    hex::encode(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..6])
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
