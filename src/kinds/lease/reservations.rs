//! The reservations of a lease: their fields, what Blazar is asked for, what it answered, and which is which.
//!
//! Pure. Blazar gives a reservation neither a name nor a place, so the names of the spec are matched to the answer by
//! type, then by what is reserved, then by age.

use serde_json::json;

use crate::cloud::blazar::{self, Reservation};
use crate::kinds::kind::{Effect, FieldChange, Mistake, Sides};
use crate::kinds::schema::{Field, Literal, RefChange, RefType, Type, field};
use crate::model::{Fields, Json, Value};

/// The fields of a reservation.
pub(super) static FIELDS: &[Field] = &[
    field("name", Type::Text, "The name by which a server says `reservation: <name>`."),
    field(
        "flavor",
        Type::Ref(RefType::new("flavor", RefChange::Replace).or_lookup()),
        "Room for virtual machines of this flavor, `m1.medium`.",
    ),
    field("amount", Type::Int(1, 10_000), "How many virtual machines of the flavor.").default(Literal::Int(1)),
    field("hosts", Type::Struct(HOSTS), "Whole bare-metal nodes."),
    field("floating_ips", Type::Struct(FLOATING_IPS), "Public addresses, held for the time of the lease."),
    field("network", Type::Struct(NETWORK), "An isolated network (a VLAN of the site's own)."),
];

static HOSTS: &[Field] = &[
    field("min", Type::Int(1, 10_000), "How many nodes at least.").default(Literal::Int(1)),
    field("max", Type::Int(1, 10_000), "How many nodes at most; `min` if absent."),
    field(
        "resource_properties",
        Type::Map(&Type::Text),
        "What the nodes must be: `{ node_type: compute_skylake }`. All of it must hold.",
    ),
    field(
        "resource_properties_json",
        Type::Text,
        "The same as Blazar's own expression, `[\"=\", \"$node_type\", \"compute_skylake\"]`.",
    ),
    field("hypervisor_properties", Type::Text, "An expression on the nodes' hypervisors, as Blazar writes it."),
];

static FLOATING_IPS: &[Field] = &[
    field(
        "network",
        Type::Ref(RefType::new("network", RefChange::Replace).or_lookup()),
        "The network that the addresses are of, `public`.",
    )
    .required(),
    field("amount", Type::Int(1, 1_000), "How many addresses.").default(Literal::Int(1)),
];

static NETWORK: &[Field] = &[
    field("name", Type::Text, "The name the network gets in the site.").required(),
    field("network_properties", Type::Text, "An expression on networks, as Blazar writes it."),
    field(
        "resource_properties",
        Type::Map(&Type::Text),
        "What the network must be: `{ physical_network: physnet1 }`. All of it must hold.",
    ),
];

/// Exactly one of these says what is reserved, and how Blazar calls it.
const SORTS: [(&str, &str); 4] = [
    ("flavor", "flavor:instance"),
    ("hosts", "physical:host"),
    ("floating_ips", "virtual:floatingip"),
    ("network", "network"),
];

/// A map of properties as Blazar's expression: one comparison, or `and` over several.
pub(super) fn expression(properties: &Fields) -> String {
    let quote = |text: &str| Json::from(text).to_string();
    let comparisons: Vec<_> = properties
        .iter()
        .filter_map(|(key, value)| {
            let key = format!("${}", key.trim_start_matches('$'));
            Some(format!("[\"=\", {}, {}]", quote(&key), quote(value.as_str()?)))
        })
        .collect();
    match comparisons.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        several => format!("[\"and\", {}]", several.join(", ")),
    }
}

fn wanted(fields: &Fields) -> impl Iterator<Item = &Fields> {
    fields.get("reservations").and_then(Value::as_list).unwrap_or_default().iter().filter_map(Value::as_map)
}

fn given<'a>(reservation: &'a Fields, name: &str) -> Option<&'a Value> {
    reservation.get(name).filter(|value| !value.is_null())
}

/// What a reservation is of, as Blazar calls it.
fn resource_type(reservation: &Fields) -> Option<&'static str> {
    SORTS.iter().find(|(field, _)| given(reservation, field).is_some()).map(|(_, resource_type)| *resource_type)
}

/// Reports what a list of reservations cannot be, and fills in what follows from the rest.
pub(super) fn check(fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
    let Some(Value::List(list)) = fields.get_mut("reservations") else { return };
    let mut mistake = |message: String, help: &str| {
        mistakes.push(Mistake { field: "reservations", message, help: Some(help.to_owned()) });
    };
    if list.is_empty() {
        mistake("a lease reserves something".to_owned(), "add `node: { flavor: m1.medium }`");
    }
    let mut names = Vec::new();
    for (position, reservation) in list.iter_mut().enumerate() {
        let Value::Map(reservation) = reservation else { continue };
        let name = name_of(reservation, position);
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            mistake(format!("`{name}` is no name for a reservation"), "use letters, digits, `-` and `_`");
        }
        if names.contains(&name) {
            mistake(format!("two reservations are called `{name}`"), "give each its own name");
        }
        check_one(reservation, &name, &mut mistake);
        names.push(name);
    }
}

fn check_one(reservation: &mut Fields, name: &str, mistake: &mut impl FnMut(String, &str)) {
    let sorts: Vec<_> =
        SORTS.iter().map(|(field, _)| *field).filter(|field| given(reservation, field).is_some()).collect();
    match sorts.as_slice() {
        [_] => {}
        [] => mistake(
            format!("reservation `{name}` reserves nothing"),
            "give it `flavor`, `hosts`, `floating_ips` or `network`",
        ),
        several => {
            let message = format!("reservation `{name}` has {}; it can have one of them", several.join(" and "));
            mistake(message, "make it two reservations");
        }
    }
    if sorts != ["flavor"] {
        match reservation.remove("amount").and_then(|amount| amount.as_int()) {
            None | Some(1) => {}
            Some(_) => mistake(
                format!("`amount` of reservation `{name}` is for flavors"),
                "write `hosts: { min: …, max: … }` or `floating_ips: { amount: … }`",
            ),
        }
    }
    if sorts == ["flavor"] {
        reservation.entry("amount".to_owned()).or_insert(Value::Int(1));
    }
    if let Some(Value::Map(addresses)) = reservation.get_mut("floating_ips") {
        addresses.entry("amount".to_owned()).or_insert(Value::Int(1));
    }
    if let Some(Value::Map(hosts)) = reservation.get_mut("hosts") {
        let min = hosts.get("min").and_then(Value::as_int).unwrap_or(1);
        let max = hosts.get("max").and_then(Value::as_int).unwrap_or(min);
        if max < min {
            mistake(format!("reservation `{name}` has more hosts at least than at most"), "`max` is `min` or more");
        }
        if given(hosts, "resource_properties").is_some() && given(hosts, "resource_properties_json").is_some() {
            mistake(format!("the hosts of reservation `{name}` are described twice"), "leave one of the two out");
        }
        hosts.insert("min".to_owned(), Value::Int(min));
        hosts.insert("max".to_owned(), Value::Int(max));
    }
}

fn name_of(reservation: &Fields, position: usize) -> String {
    reservation.get("name").and_then(Value::as_str).map_or_else(|| position.to_string(), str::to_owned)
}

/// What Blazar is asked for.
pub(super) fn bodies(want: &Fields) -> Vec<Json> {
    wanted(want).filter_map(body).collect()
}

fn body(reservation: &Fields) -> Option<Json> {
    let sort = resource_type(reservation)?;
    let text = |fields: &Fields, name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |fields: &Fields, name: &str| fields.get(name).and_then(Value::as_int).unwrap_or(1);
    let matching =
        |fields: &Fields| fields.get("resource_properties").and_then(Value::as_map).map(expression).unwrap_or_default();
    let inner = |name: &str| reservation.get(name).and_then(Value::as_map);
    Some(match sort {
        // Blazar refuses a flavor without `affinity`, even if it is null.
        "flavor:instance" => json!({
            "resource_type": sort,
            "flavor_id": reservation.get("flavor")?.to_plain()?,
            "amount": number(reservation, "amount"),
            "affinity": null,
        }),
        "physical:host" => {
            let hosts = inner("hosts")?;
            let own = text(hosts, "resource_properties_json");
            json!({
                "resource_type": sort,
                "min": number(hosts, "min"),
                "max": number(hosts, "max"),
                "hypervisor_properties": text(hosts, "hypervisor_properties"),
                "resource_properties": if own.is_empty() { matching(hosts) } else { own },
            })
        }
        "virtual:floatingip" => {
            let addresses = inner("floating_ips")?;
            json!({
                "resource_type": sort,
                "network_id": addresses.get("network")?.to_plain()?,
                "amount": number(addresses, "amount"),
            })
        }
        _ => {
            let network = inner("network")?;
            json!({
                "resource_type": sort,
                "network_name": text(network, "name"),
                "network_properties": text(network, "network_properties"),
                "resource_properties": matching(network),
            })
        }
    })
}

/// What Blazar answered: a map by position, oldest first, until [`name`] knows better.
pub(super) fn seen(reservations: &[Reservation]) -> Value {
    let mut sorted: Vec<_> = reservations.iter().collect();
    sorted.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
    Value::Map(
        sorted.iter().enumerate().map(|(at, reservation)| (at.to_string(), Value::Map(entry(reservation)))).collect(),
    )
}

fn entry(reservation: &Reservation) -> Fields {
    let mut fields = Fields::from([
        ("id".to_owned(), Value::text(reservation.id.clone())),
        ("type".to_owned(), Value::text(reservation.resource_type.clone())),
        ("status".to_owned(), Value::text(reservation.status.clone())),
        ("created_at".to_owned(), Value::text(reservation.created_at.clone().unwrap_or_default())),
    ]);
    let mut add = |name: &str, value: Option<Value>| fields.extend(value.map(|value| (name.to_owned(), value)));
    add("amount", blazar::number(&reservation.amount).map(Value::Int));
    add("min", blazar::number(&reservation.min).map(Value::Int));
    add("max", blazar::number(&reservation.max).map(Value::Int));
    if reservation.resource_type == "flavor:instance" {
        // The reserved flavor's id is the reservation's. What was asked for is told by the copy of the source flavor.
        add("flavor", reservation.source_flavor().map(|id| Value::live("flavor", id)));
        add("flavor_id", Some(Value::text(reservation.flavor_id.clone().unwrap_or_else(|| reservation.id.clone()))));
    }
    add("network", reservation.network_id.clone().map(|id| Value::live("network", id)));
    fields
}

/// Puts the spec's names in the place of positions.
pub(super) fn name(applied: &Fields, attrs: &mut Fields) {
    let Some(Value::Map(entries)) = attrs.get_mut("reservations") else { return };
    let mut left: Vec<Fields> = std::mem::take(entries)
        .into_values()
        .filter_map(|value| match value {
            Value::Map(entry) => Some(entry),
            _ => None,
        })
        .collect();
    let text = |entry: &Fields, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    left.sort_by_key(|entry| (text(entry, "created_at"), text(entry, "id")));
    for (position, reservation) in wanted(applied).enumerate() {
        let best = left.iter().enumerate().filter_map(|(at, entry)| Some((likeness(reservation, entry)?, at)));
        // Of several that are equally like it the oldest is meant.
        if let Some((_, at)) = best.max_by_key(|(likeness, at)| (*likeness, std::cmp::Reverse(*at))) {
            entries.insert(name_of(reservation, position), Value::Map(left.remove(at)));
        }
    }
    for entry in left {
        let position = (0..).map(|at: usize| at.to_string()).find(|at| !entries.contains_key(at));
        entries.extend(position.map(|position| (position, Value::Map(entry))));
    }
}

/// How well an answer fits what was asked for; `None` where it is of another type.
fn likeness(wanted: &Fields, entry: &Fields) -> Option<usize> {
    if resource_type(wanted)? != entry.get("type").and_then(Value::as_str)? {
        return None;
    }
    Some(
        compared(wanted)
            .into_iter()
            .filter(|(name, value)| entry.get(*name).is_some_and(|seen| value.same(seen)))
            .count(),
    )
}

/// What of a reservation Blazar gives back, under the answer's names.
fn compared(wanted: &Fields) -> Vec<(&'static str, &Value)> {
    let inner = |outer: &str, name: &str| wanted.get(outer).and_then(Value::as_map).and_then(|fields| fields.get(name));
    [
        ("flavor", wanted.get("flavor")),
        ("amount", wanted.get("amount").or_else(|| inner("floating_ips", "amount"))),
        ("network", inner("floating_ips", "network")),
        ("min", inner("hosts", "min")),
        ("max", inner("hosts", "max")),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_null())?)))
    .collect()
}

/// The states of a lease's reservations.
pub(super) fn states(attrs: &Fields) -> Vec<&str> {
    let entries = attrs.get("reservations").and_then(Value::as_map).into_iter().flatten();
    entries.filter_map(|(_, entry)| entry.as_map()?.get("status")?.as_str()).collect()
}

/// The difference in what is reserved. Names and order mean nothing.
///
/// What was asked for last time is compared with what is asked for now. Where nobody knows any more what was asked
/// for, the answer has to do; only a flavor, an amount and a network can be told from it.
pub(super) fn diff(sides: &Sides<'_>) -> Option<FieldChange> {
    let after = sides.want.get("reservations").filter(|want| !want.is_null())?;
    let before = sides.applied.get("reservations").or_else(|| sides.live.get("reservations"))?;
    let same = match before.as_list() {
        Some(_) => pair(wanted(sides.want), wanted(sides.applied).collect(), same_text),
        None => fit(sides.want, sides.live),
    };
    (!same).then(|| FieldChange {
        field: "reservations".to_owned(),
        before: before.clone(),
        after: after.clone(),
        effect: Effect::Replace,
        note: Some(
            "Blazar does not change what a lease reserves: the lease and the servers on it are made anew".to_owned(),
        ),
    })
}

/// Whether an answer may be to what is wanted, as far as it tells.
pub(super) fn fit(want: &Fields, live: &Fields) -> bool {
    let entries = live.get("reservations").and_then(Value::as_map).into_iter().flatten();
    pair(wanted(want), entries.filter_map(|(_, entry)| entry.as_map()).collect(), fits)
}

/// Whether each of the one has its own partner among the others, and no other is left.
fn pair<'a>(
    wanted: impl Iterator<Item = &'a Fields>,
    mut others: Vec<&'a Fields>,
    same: impl Fn(&Fields, &Fields) -> bool,
) -> bool {
    for reservation in wanted {
        let Some(at) = others.iter().position(|other| same(reservation, other)) else { return false };
        others.remove(at);
    }
    others.is_empty()
}

fn same_text(a: &Fields, b: &Fields) -> bool {
    let unnamed = |fields: &Fields| {
        Value::Map(
            fields.iter().filter(|(key, _)| *key != "name").map(|(key, value)| (key.clone(), value.clone())).collect(),
        )
    };
    unnamed(a).same(&unnamed(b))
}

fn fits(wanted: &Fields, entry: &Fields) -> bool {
    resource_type(wanted) == entry.get("type").and_then(Value::as_str)
        && compared(wanted).into_iter().all(|(name, value)| entry.get(name).is_none_or(|seen| value.same(seen)))
}
