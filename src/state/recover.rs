//! A lost state, made again from what is live: the objects that carry this stack's stamps.
//!
//! Pure. Objects are taken in three rounds, because the later ones are told by what the earlier ones found:
//!
//! 1. by stamp;
//! 2. kinds without a stamp (leases, keypairs) and adopted objects: by name, and made by this user;
//! 3. kinds with neither stamp nor name (attachments): by the objects that they join.
//!
//! Invariants:
//! - One lineage. Objects of several are not mixed: the caller chooses.
//! - One object for one address, and one address for one object, or nothing: all candidates are named in the error.
//! - A field that can be known from neither spec nor object is left out of `applied`, so that it is no difference.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest;

use super::error::Candidate;
use super::{Error, Origin, ResourceState, State, Status, hex};
use crate::kinds::kind::{Readiness, Seen};
use crate::kinds::schema::{NameRule, Schema};
use crate::model::{Address, Fields, RemoteId, SiteAlias, SiteIdentity, Target, Value};
use crate::resolve::{Desired, Resource};

/// A live object.
#[derive(Debug, Clone)]
pub struct Live<'a> {
    /// Its kind's table.
    pub schema: &'a Schema,
    /// Its site.
    pub site: &'a SiteAlias,
    /// What its service shows.
    pub seen: &'a Seen,
    /// How far it is, by its kind.
    pub readiness: Readiness,
}

/// What a state is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The spec, for the addresses of what carries no stamp and the fields that no service shows.
    pub desired: &'a Desired,
    /// Who we are on each site: only objects of this user are taken.
    pub sites: &'a BTreeMap<SiteAlias, SiteIdentity>,
    /// All objects, stamped or not, of every kind.
    pub live: &'a [Live<'a>],
    /// Kinds that have no place for a stamp.
    pub unstamped: &'a BTreeSet<&'a str>,
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

/// The owner that stamps name for a user: the first 8 hexadecimal digits of SHA-256 of the user's id.
#[must_use]
pub fn owner_of(user_id: &str) -> String {
    hex::encode(&digest::digest(&digest::SHA256, user_id.as_bytes()).as_ref()[..4])
}

/// Makes a state from live objects.
///
/// # Errors
/// When there are objects of several lineages, several objects for one address or several addresses for one object,
/// or nothing at all.
pub fn recover(sources: &Sources<'_>) -> Result<Recovered, Error> {
    let stack = &sources.desired.stack;
    let lineage = choose_lineage(sources)?;
    let mut found = Found { sources, taken: BTreeMap::new() };
    found.by_stamp(&lineage)?;
    found.by_name()?;
    found.by_references()?;
    if found.taken.is_empty() {
        return Err(Error::NothingToRecover { stack: stack.clone() });
    }
    let mut state = State::new(stack, lineage.clone());
    state.sites = sources.sites.clone();
    state.variables = sources.desired.variables.clone();
    state.resources = found.taken.iter().map(|(at, live)| (at.clone(), found.record(at, live, &lineage))).collect();
    let wanted = &sources.desired.resources;
    Ok(Recovered {
        missing: wanted.keys().filter(|address| !state.resources.contains_key(address)).cloned().collect(),
        unwanted: state.resources.keys().filter(|address| !wanted.contains_key(address)).cloned().collect(),
        state,
    })
}

/// Whether the object is over, so that a record of it would be of no use.
fn is_over(live: &Live<'_>) -> bool {
    matches!(live.readiness, Readiness::Ended(_))
}

/// Whether this user made this object for this stack.
fn is_ours(sources: &Sources<'_>, live: &Live<'_>) -> bool {
    let owner = sources.sites.get(live.site).map(|identity| owner_of(&identity.user_id));
    let stamp = live.seen.stamp.as_ref();
    !is_over(live)
        && stamp.is_some_and(|stamp| stamp.stack == sources.desired.stack && Some(&stamp.owner) == owner.as_ref())
}

fn choose_lineage(sources: &Sources<'_>) -> Result<String, Error> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for live in sources.live.iter().filter(|live| is_ours(sources, live)) {
        if let Some(stamp) = &live.seen.stamp {
            *counts.entry(&stamp.lineage).or_default() += 1;
        }
    }
    match (sources.lineage, counts.len()) {
        (Some(lineage), _) => Ok(lineage.to_owned()),
        (None, 0) => Ok(sources.fresh_lineage.to_owned()),
        (None, 1) => Ok(counts.keys().copied().collect()),
        (None, _) => Err(Error::Lineages {
            stack: sources.desired.stack.clone(),
            counts: counts.into_iter().map(|(lineage, count)| (lineage.to_owned(), count)).collect(),
        }),
    }
}

/// The objects taken so far, by address.
struct Found<'a> {
    sources: &'a Sources<'a>,
    taken: BTreeMap<Address, &'a Live<'a>>,
}

impl<'a> Found<'a> {
    fn by_stamp(&mut self, lineage: &str) -> Result<(), Error> {
        let mut stamped = BTreeMap::<Address, Vec<&'a Live<'a>>>::new();
        for live in self.sources.live.iter().filter(|live| is_ours(self.sources, live)) {
            if let Some(stamp) = live.seen.stamp.as_ref().filter(|stamp| stamp.lineage == lineage) {
                stamped.entry(stamp.address.clone()).or_default().push(live);
            }
        }
        stamped.into_iter().try_for_each(|(address, objects)| self.take(&address, &objects))
    }

    fn by_name(&mut self) -> Result<(), Error> {
        let sources = self.sources;
        for resource in self.missing(|resource| named(resource).is_some() || adopts(resource).is_some()) {
            let (name, adopted) = match adopts(resource) {
                Some(name) => (name, true),
                None if sources.unstamped.contains(resource.kind) => (named(resource).unwrap_or_default(), false),
                // Somebody else's object of the same name: ours would have our stamp.
                None => continue,
            };
            let user = sources.sites.get(&resource.site).map(|identity| &identity.user_id);
            let fits = |live: &&Live<'_>| {
                let mine = live.seen.user_id.as_ref().is_none_or(|maker| Some(maker) == user);
                let called = live.seen.name == name || (adopted && live.seen.id.0 == name);
                is_like(resource, live) && live.seen.stamp.is_none() && called && (mine || adopted)
            };
            let candidates: Vec<_> = sources.live.iter().filter(fits).collect();
            self.take(&resource.address, &candidates)?;
        }
        Ok(())
    }

    fn by_references(&mut self) -> Result<(), Error> {
        let sources = self.sources;
        for resource in self.missing(|resource| named(resource).is_none() && adopts(resource).is_none()) {
            if !sources.unstamped.contains(resource.kind) {
                continue;
            }
            let joins: Vec<_> = resource
                .fields
                .iter()
                .filter(|(_, value)| matches!(value, Value::Ref(_)))
                .map(|(field, value)| (field, self.bind(value)))
                .collect();
            let fits = |live: &&Live<'_>| {
                let nameless = live.schema.name == NameRule::None;
                let joined =
                    |(field, want): &(&String, Value)| live.seen.attrs.get(*field).is_some_and(|is| want.same(is));
                is_like(resource, live) && nameless && !joins.is_empty() && joins.iter().all(joined)
            };
            let candidates: Vec<_> = sources.live.iter().filter(fits).collect();
            self.take(&resource.address, &candidates)?;
        }
        Ok(())
    }

    /// The resources of the spec that have no object yet.
    fn missing(&self, which: impl Fn(&Resource) -> bool) -> Vec<&'a Resource> {
        let all = self.sources.desired.resources.values();
        all.filter(|resource| !self.taken.contains_key(&resource.address) && which(resource)).collect()
    }

    /// Takes the only candidate; none is no mistake, several are.
    fn take(&mut self, address: &Address, candidates: &[&'a Live<'a>]) -> Result<(), Error> {
        let [live] = candidates else {
            if candidates.is_empty() {
                return Ok(());
            }
            let objects = candidates.iter().map(|live| candidate(live)).collect();
            return Err(Error::Candidates { address: Box::new(address.clone()), objects });
        };
        if let Some((first, _)) = self.taken.iter().find(|(_, other)| std::ptr::eq(**other, *live)) {
            return Err(Error::TwoAddresses {
                object: Box::new(candidate(live)),
                first: Box::new(first.clone()),
                second: Box::new(address.clone()),
            });
        }
        self.taken.insert(address.clone(), live);
        Ok(())
    }

    fn record(&self, address: &Address, live: &Live<'_>, lineage: &str) -> ResourceState {
        let wanted = self.sources.desired.resources.get(address);
        let schema = live.schema;
        let seen = live.seen;
        let (applied, mut needs) = match wanted {
            Some(wanted) => {
                let needs = wanted.needs.iter().map(|need| need.address.clone()).collect();
                (self.applied(&wanted.fields, &seen.attrs), needs)
            }
            None => {
                let fields = seen.attrs.iter().filter(|(name, _)| schema.field(name).is_some());
                let fields: Fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
                let needs = self.named_by(&fields);
                (fields, needs)
            }
        };
        needs.retain(|need| self.taken.contains_key(need) && need != address);
        ResourceState {
            kind: schema.kind.to_owned(),
            site: live.site.clone(),
            id: seen.id.clone(),
            origin: if wanted.is_some_and(|wanted| adopts(wanted).is_some()) {
                Origin::Adopted
            } else {
                Origin::Created
            },
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

    /// What the lost apply must have set: what the spec says where it is known, else what is live.
    fn applied(&self, wanted: &Fields, live: &Fields) -> Fields {
        let known = |(field, want): (&String, &Value)| {
            let want = self.bind(want);
            let value = if want.is_known() { want } else { live.get(field)?.clone() };
            Some((field.clone(), value))
        };
        wanted.iter().filter_map(known).collect()
    }

    /// The value with the ids of the resources that it names, as far as they were found.
    fn bind(&self, value: &Value) -> Value {
        match value {
            Value::Ref(reference) => {
                let mut reference = reference.clone();
                if let (None, Target::Resource(address)) = (&reference.id, &reference.target) {
                    reference.id = self.taken.get(address).map(|live| live.seen.id.clone());
                }
                Value::Ref(reference)
            }
            Value::List(items) => Value::List(items.iter().map(|item| self.bind(item)).collect()),
            Value::Map(fields) => {
                Value::Map(fields.iter().map(|(key, value)| (key.clone(), self.bind(value))).collect())
            }
            other => other.clone(),
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
        let named = |live: &Live<'_>| ids.contains(&(live.schema.kind, &live.seen.id));
        self.taken.iter().filter(|(_, live)| named(live)).map(|(address, _)| address.clone()).collect()
    }
}

fn is_like(resource: &Resource, live: &Live<'_>) -> bool {
    live.schema.kind == resource.kind && *live.site == resource.site && !is_over(live)
}

fn named(resource: &Resource) -> Option<&str> {
    resource.fields.get("name").and_then(Value::as_str)
}

/// The object that the spec takes over: `adopt:`, or a shared group, which is whatever has its name.
fn adopts(resource: &Resource) -> Option<&str> {
    let shared = resource.fields.get("shared").and_then(Value::as_bool) == Some(true);
    resource.adopt.as_deref().or_else(|| named(resource).filter(|_| shared))
}

/// A unique id for an object without a stamp.
fn derived_uid(lineage: &str, address: &Address, id: &RemoteId) -> String {
    let text = format!("{lineage} {address} {id}");
    hex::encode(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..6])
}

fn candidate(live: &Live<'_>) -> Candidate {
    Candidate {
        kind: live.schema.kind.to_owned(),
        name: live.seen.name.clone(),
        id: live.seen.id.clone(),
        site: live.site.clone(),
        created_at: live.seen.created_at.map(|at| at.to_string()),
    }
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
