//! What undeclared names stand for: the id that the last apply found, or else the one object of that name.

use std::collections::BTreeMap;

use super::PlanError;
use super::decide::Planner;
use crate::kinds::kind::Seen;
use crate::model::{Fields, Reference, RemoteId, Target, Value};
use crate::resolve::Resource;
use crate::state::ResourceState;

/// Ids by kind and name.
pub(super) type Lookups = BTreeMap<(String, String), RemoteId>;

/// Whether the last apply's ids count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pins {
    /// They do, for as long as the object is there.
    Kept,
    /// They do not: names stand for what they stand for today.
    Dropped,
}

impl Planner<'_> {
    /// What each undeclared name of a resource stands for: the id pinned by the last apply, or else the one object of
    /// that name.
    pub fn lookups(
        &self,
        resource: &Resource,
        record: Option<&ResourceState>,
        pins: Pins,
    ) -> Result<Lookups, Vec<PlanError>> {
        let pinned = match pins {
            Pins::Kept => record.map(|record| self.pinned(resource, record)).unwrap_or_default(),
            Pins::Dropped => Lookups::new(),
        };
        let mut found = BTreeMap::new();
        let mut errors = Vec::new();
        for (field, value) in &resource.fields {
            value.visit_refs(&mut |reference| {
                let Target::Lookup(name) = &reference.target else { return };
                let key = (reference.kind.clone(), name.clone());
                match self.look_up(resource, reference, name, pinned.get(&key)) {
                    Ok(id) => {
                        found.insert(key, id);
                    }
                    Err(error) => errors.push(error.field(field)),
                }
            });
        }
        if errors.is_empty() { Ok(found) } else { Err(errors) }
    }

    /// The pins of a record that hold: an object that is made anew, or on another site, takes what names stand for
    /// today.
    pub fn pinned(&self, resource: &Resource, record: &ResourceState) -> Lookups {
        let marked = self.options.replace.iter().any(|wanted| wanted.covers(&resource.address));
        if marked || record.site != resource.site || self.live(record).is_none() {
            return Lookups::new();
        }
        pins(record)
    }

    /// Whether a name that the resource still uses was pinned to an object that does not go by it any more. It may be
    /// gone, so nothing new can be made of it.
    pub fn has_stale_pins(&self, resource: &Resource, record: Option<&ResourceState>) -> bool {
        let Some(record) = record else { return false };
        let Some(view) = self.observed.sites.get(&resource.site) else { return false };
        let pinned = self.pinned(resource, record);
        let mut stale = false;
        for value in resource.fields.values() {
            value.visit_refs(&mut |reference| {
                if let Target::Lookup(name) = &reference.target {
                    let key = (reference.kind.clone(), name.clone());
                    let goes_by = |id: &RemoteId| {
                        view.lookups.get(&key).is_some_and(|seen| seen.iter().any(|seen| seen.id == *id))
                    };
                    stale |= pinned.get(&key).is_some_and(|id| !goes_by(id));
                }
            });
        }
        stale
    }

    fn look_up(
        &self,
        resource: &Resource,
        reference: &Reference,
        name: &str,
        pinned: Option<&RemoteId>,
    ) -> Result<RemoteId, PlanError> {
        if let Some(pinned) = pinned {
            return Ok(pinned.clone());
        }
        let key = (reference.kind.clone(), name.to_owned());
        let seen = self.observed.sites.get(&resource.site).and_then(|view| view.lookups.get(&key));
        let kind = reference.kind.replace('_', " ");
        // An id that is exactly the name wins over objects of that name.
        let candidates: Vec<&Seen> = match seen {
            Some(list) if list.iter().any(|seen| seen.id.0 == name) => {
                list.iter().filter(|seen| seen.id.0 == name).collect()
            }
            Some(list) => list.iter().collect(),
            None => Vec::new(),
        };
        match candidates.as_slice() {
            [one] => Ok(one.id.clone()),
            [] => Err(PlanError::new(
                "not-found",
                &resource.address,
                format!("site `{}` has no {kind} named `{name}`, and the spec declares none", resource.site),
            )
            .help(format!("check the name, or declare it; `openstack {kind} list` shows what the site has"))),
            several => Err(PlanError::new(
                "ambiguous-name",
                &resource.address,
                format!("several {kind}s are named `{name}`: {}", list_ids(several)),
            )
            .help("write the id of the one that is meant")),
        }
    }
}

/// The ids that the last apply found for undeclared names.
pub(super) fn pins(record: &ResourceState) -> Lookups {
    let mut pins = Lookups::new();
    for value in record.applied.values() {
        value.visit_refs(&mut |reference| {
            if let (Target::Lookup(name), Some(id)) = (&reference.target, &reference.id) {
                pins.insert((reference.kind.clone(), name.clone()), id.clone());
            }
        });
    }
    pins
}

/// The spec's own fields with look-ups already bound: what the plan found is what the apply uses.
pub(super) fn pin(wanted: &Fields, bound: &Fields) -> Fields {
    fn pin_value(wanted: &Value, bound: &Value) -> Value {
        match (wanted, bound) {
            (Value::Ref(Reference { target: Target::Lookup(_), .. }), bound) => bound.clone(),
            (Value::List(wanted), Value::List(bound)) if wanted.len() == bound.len() => {
                Value::List(wanted.iter().zip(bound).map(|(wanted, bound)| pin_value(wanted, bound)).collect())
            }
            (Value::Map(wanted), Value::Map(bound)) => Value::Map(pin(wanted, bound)),
            (wanted, _) => wanted.clone(),
        }
    }
    wanted
        .iter()
        .map(|(name, value)| {
            (name.clone(), bound.get(name).map_or_else(|| value.clone(), |bound| pin_value(value, bound)))
        })
        .collect()
}

pub(super) fn list_ids(seen: &[&Seen]) -> String {
    let ids: Vec<_> = seen.iter().take(5).map(|seen| seen.id.0.as_str()).collect();
    let more = if seen.len() > ids.len() { format!(" and {} more", seen.len() - ids.len()) } else { String::new() };
    ids.join(", ") + &more
}
