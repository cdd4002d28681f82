//! What each resource needs: read off its fields, completed with the parts of what it needs, and free of cycles.

use std::collections::{BTreeMap, BTreeSet};

use super::{Desired, Need, Resource};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::kinds::guest::SERVER;
use crate::kinds::schema::{RefChange, RefType, Schema, Type, Until};
use crate::kinds::{self, Kind};
use crate::model::{Address, Fields, Part, Reference, SiteAlias, Target, Value};

/// The needs that fields name, a record's too: what each field's table says of its references.
#[must_use]
pub fn of_fields(schema: &Schema, fields: &Fields) -> Vec<Need> {
    let mut needs = Vec::new();
    for field in schema.fields {
        if let Some(value) = fields.get(field.name) {
            walk(&field.ty, value, &mut needs);
        }
    }
    needs
}

/// Walks a value along its type.
fn walk(ty: &Type, value: &Value, needs: &mut Vec<Need>) {
    match (ty, value) {
        (_, Value::Template(template)) => {
            for part in &template.0 {
                if let Part::Attribute { address, .. } = part {
                    needs.push(Need { address: address.clone(), change: RefChange::Order, until: Until::Ready });
                }
            }
        }
        (Type::Ref(reference), Value::Ref(_)) => walk_reference(reference, value, needs),
        (Type::List(inner) | Type::Set(inner) | Type::NamedList(inner), Value::List(items)) => {
            items.iter().for_each(|item| walk(inner, item, needs));
        }
        (Type::Map(inner), Value::Map(fields)) => fields.values().for_each(|item| walk(inner, item, needs)),
        (Type::WordOr(_, inner), value) => walk(inner, value, needs),
        (Type::Struct(table) | Type::Short(_, table), Value::Map(fields)) => {
            for field in *table {
                if let Some(value) = fields.get(field.name) {
                    walk(&field.ty, value, needs);
                }
            }
        }
        _ => {}
    }
}

fn walk_reference(ty: &RefType, value: &Value, needs: &mut Vec<Need>) {
    value.visit_refs(&mut |reference| {
        if let Target::Resource(address) = &reference.target {
            needs.push(Need { address: address.clone(), change: ty.change, until: ty.until });
        }
    });
}

/// Completes the needs of all resources, and checks them.
pub fn complete(desired: &mut Desired, diagnostics: &mut Diagnostics) {
    add_unnamed(desired);
    expand_sets(desired);
    add_parts(desired);
    for resource in desired.resources.values_mut() {
        resource.needs.sort();
        resource.needs.dedup_by(|next, first| next.address == first.address && merge(first, next));
        let own = resource.address.clone();
        resource.needs.retain(|need| need.address != own);
    }
    check_parts(desired, diagnostics);
    check_sites(desired, diagnostics);
    check_cycles(desired, diagnostics);
}

/// Takes what a further need of the same resource asks for into the first one, which has the stronger change; always
/// true. What must be ready for one of them must be ready.
fn merge(first: &mut Need, next: &Need) -> bool {
    first.until = first.until.max(next.until);
    if (first.change, next.change) == (RefChange::Update, RefChange::Release) {
        first.change = RefChange::Release;
    }
    true
}

/// Needs that no field names: a floating IP comes after the routers of its site, and what is done inside a server after
/// the floating IP by which it is reached.
fn add_unnamed(desired: &mut Desired) {
    let all: Vec<(Address, &'static str, SiteAlias)> = desired
        .resources
        .values()
        .filter(|resource| resource.address.part.is_none())
        .map(|resource| (resource.address.clone(), resource.kind, resource.site.clone()))
        .collect();
    let ways: Vec<(Address, Address)> = desired
        .resources
        .values()
        .filter_map(|resource| {
            Some((named(resource, kinds::by_name(resource.kind)?.opens_way_to()?)?, resource.address.clone()))
        })
        .collect();
    for resource in desired.resources.values_mut() {
        if kinds::by_name(resource.kind).and_then(Kind::guest).is_some()
            && let Some(server) = named(resource, SERVER)
        {
            let theirs = ways.iter().filter(|(to, _)| *to == server).map(|(_, way)| way.clone());
            let need = |address| Need { address, change: RefChange::Order, until: Until::Ready };
            resource.needs.extend(theirs.map(need));
        }
        let follows = kinds::by_name(resource.kind).map(Kind::follows).unwrap_or_default();
        let before = all.iter().filter(|(_, kind, site)| follows.contains(kind) && *site == resource.site);
        let more = before.map(|(address, ..)| Need {
            address: address.clone(),
            change: RefChange::Order,
            until: Until::Ready,
        });
        resource.needs.extend(more);
    }
}

/// The resource that a field names.
fn named(resource: &Resource, field: &str) -> Option<Address> {
    match resource.fields.get(field)? {
        Value::Ref(Reference { target: Target::Resource(address), .. }) => Some(address.clone()),
        _ => None,
    }
}

/// A need of a whole set (`name[*]`) is a need of each instance.
fn expand_sets(desired: &mut Desired) {
    let known: BTreeSet<Address> = desired.resources.keys().cloned().collect();
    for resource in desired.resources.values_mut() {
        let needs = std::mem::take(&mut resource.needs);
        resource.needs = needs
            .into_iter()
            .flat_map(|need| {
                let meant: Vec<Address> = if known.contains(&need.address) {
                    vec![need.address.clone()]
                } else {
                    known.iter().filter(|other| other.part.is_none() && need.address.covers(other)).cloned().collect()
                };
                meant.into_iter().map(move |address| Need { address, ..need.clone() })
            })
            .collect();
    }
}

/// Whoever needs a resource needs the parts that come after it too: a network is of no use without its subnets.
fn add_parts(desired: &mut Desired) {
    let mut parts: BTreeMap<Address, Vec<Address>> = BTreeMap::new();
    for (address, resource) in &desired.resources {
        if let Some(owner) = address.owner()
            && resource.needs.iter().any(|need| need.address == owner)
        {
            parts.entry(owner).or_default().push(address.clone());
        }
    }
    for (address, resource) in &mut desired.resources {
        let more: Vec<Need> = resource
            .needs
            .iter()
            .flat_map(|need| parts.get(&need.address).into_iter().flatten().map(move |part| (need, part)))
            .filter(|(_, part)| *part != address && address.owner() != part.owner())
            .map(|(need, part)| Need { address: part.clone(), change: RefChange::Order, until: need.until })
            .collect();
        resource.needs.extend(more);
    }
}

/// A field may mean a part of what it names; there must be one.
fn check_parts(desired: &Desired, diagnostics: &mut Diagnostics) {
    for resource in desired.resources.values() {
        for (field, value) in &resource.fields {
            value.visit_refs(&mut |reference| {
                let Target::Resource(address) = &reference.target else { return };
                let Some(owner) = address.owner().and_then(|owner| desired.resources.get(&owner)) else { return };
                if desired.resources.contains_key(address) {
                    return;
                }
                let what = reference.kind.replace('_', " ");
                let span = resource.field_spans.get(field).copied().unwrap_or(resource.span);
                diagnostics.push(
                    Diagnostic::error("no-such-part", span, format!("{} has no {what} to be used", owner.address))
                        .also(owner.span, "declared here")
                        .help(format!("give it a `{what}`; or name it in `depends_on`, if only the order matters")),
                );
            });
        }
    }
}

/// A field names objects of its own site only.
fn check_sites(desired: &Desired, diagnostics: &mut Diagnostics) {
    for resource in desired.resources.values() {
        for (field, value) in &resource.fields {
            value.visit_refs(&mut |reference| {
                if let Target::Resource(address) = &reference.target
                    && let Some(other) = desired.resources.get(address)
                    && other.site != resource.site
                {
                    let span = resource.field_spans.get(field).copied().unwrap_or(resource.span);
                    diagnostics.push(
                        Diagnostic::error(
                            "other-site",
                            span,
                            format!(
                                "{} is on site `{}`, but {address} is on `{}`",
                                resource.address, resource.site, other.site
                            ),
                        )
                        .also(other.span, "declared here")
                        .help("both must be on one site"),
                    );
                }
            });
        }
    }
}

fn check_cycles(desired: &Desired, diagnostics: &mut Diagnostics) {
    let mut done: BTreeSet<&Address> = BTreeSet::new();
    for start in desired.resources.keys() {
        if let Some(circle) = find_cycle(desired, start, &mut done) {
            let Some(first) = desired.resources.get(circle[0]) else { continue };
            let names = circle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ");
            let mut error =
                Diagnostic::error("reference-cycle", first.span, format!("these need each other in a circle: {names}"));
            for address in circle.iter().skip(1).take(circle.len().saturating_sub(2)) {
                if let Some(other) = desired.resources.get(*address) {
                    error = error.also(other.span, "part of the circle");
                }
            }
            diagnostics.push(error.help("take one of the references out"));
            return;
        }
    }
}

/// A circle that can be reached from `start`, closed (`a → b → a`), by depth-first search without recursion.
fn find_cycle<'a>(
    desired: &'a Desired,
    start: &'a Address,
    done: &mut BTreeSet<&'a Address>,
) -> Option<Vec<&'a Address>> {
    let mut path: Vec<(&Address, usize)> = vec![(start, 0)];
    while let Some((address, next)) = path.last().copied() {
        let needs = desired.resources.get(address).map(|resource| resource.needs.as_slice()).unwrap_or_default();
        let Some(need) = needs.get(next) else {
            done.insert(address);
            path.pop();
            continue;
        };
        if let Some(last) = path.last_mut() {
            last.1 += 1;
        }
        if let Some(at) = path.iter().position(|(on_path, _)| *on_path == &need.address) {
            let mut circle: Vec<_> = path[at..].iter().map(|(address, _)| *address).collect();
            circle.push(circle[0]);
            return Some(circle);
        }
        if !done.contains(&need.address) && desired.resources.contains_key(&need.address) {
            path.push((&need.address, 0));
        }
    }
    None
}
