//! Reservations: whether there is room for one, and what it is when there is.

use serde_json::json;

use super::inventory;
use crate::embedded::catalogue::{Profile, RESERVABLE_INSTANCES, fixed_id, public_network, reservable_addresses};
use crate::embedded::nova::flavors;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Cx, Fault, new_id};
use crate::model::Json;

/// From when to when, in milliseconds.
pub type Span = (i64, i64);

fn require(asked: &Json, keys: &[&str]) -> Result<(), Fault> {
    match keys.iter().find(|key| asked.get(**key).is_none()) {
        Some(key) => Err(Fault::bad(format!("Missing parameter {key}"))),
        None => Ok(()),
    }
}

fn count(asked: &Json, key: &str) -> Result<i64, Fault> {
    let value = asked.get(key).and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
    let value = value.ok_or_else(|| Fault::bad(format!("{key} must be an integer")))?;
    if value < 1 {
        return Err(Fault::bad(format!("{key} must be >= 1")));
    }
    Ok(value)
}

/// The project-wide reservations of a kind that overlap a span, but for those of one lease.
fn beside<'a>(cx: &'a Cx<'_>, kind: &'a str, span: Span, but: &'a str) -> impl Iterator<Item = &'a Json> {
    cx.state
        .all(Table::Leases)
        .filter(move |lease| lease.text("id") != but && lease.text("status") != "TERMINATED")
        .filter(move |lease| lease.int("_start") < span.1 && span.0 < lease.int("_end"))
        .flat_map(|lease| lease.list("reservations"))
        .filter(move |one| one.text("resource_type") == kind)
}

/// Grants a reservation; `so_far` are those of the same request.
pub fn grant(cx: &Cx<'_>, asked: &Json, span: Span, so_far: &[Json]) -> Result<Json, Fault> {
    require(asked, &["resource_type"])?;
    let kind = asked.text("resource_type");
    let mut one = match kind {
        "flavor:instance" => flavor(cx, asked, span, so_far)?,
        "physical:host" => hosts(cx, asked, span, so_far)?,
        "virtual:floatingip" => floating_ips(cx, asked, span, so_far)?,
        // Only Chameleon's bare-metal sites reserve networks.
        "network" if cx.profile == Profile::ChameleonChi => network(asked)?,
        _ => return Err(Fault::new(500, format!("The {kind} resource type is not supported"))),
    };
    if !one.has("id") {
        one.set("id", new_id());
    }
    for (key, value) in [
        ("resource_id", json!(new_id())),
        ("resource_type", json!(kind)),
        ("status", json!("pending")),
        ("missing_resources", json!(false)),
        ("resources_changed", json!(false)),
        ("_created", json!(cx.now)),
        ("_updated", json!(cx.now)),
    ] {
        one.set(key, value);
    }
    Ok(one)
}

fn no_hosts() -> Fault {
    Fault::new(500, "Not enough hosts available")
}

fn flavor(cx: &Cx<'_>, asked: &Json, span: Span, so_far: &[Json]) -> Result<Json, Fault> {
    require(asked, &["flavor_id", "amount", "affinity"])?;
    let amount = count(asked, "amount")?;
    let id = asked.text("flavor_id");
    let source = flavors::find(cx, id)
        .map_err(|fault| Fault::missing(format!("{} (HTTP 404) (Request-ID: req-{})", fault.message, new_id())))?;
    check_room(cx, amount, span, so_far, "")?;
    let reservation = new_id();
    let properties = json!({
        "id": source["id"], "name": source["name"], "ram": source["ram"], "disk": source["disk"], "swap": "",
        "OS-FLV-EXT-DATA:ephemeral": 0, "OS-FLV-DISABLED:disabled": false, "vcpus": source["vcpus"],
        "os-flavor-access:is_public": true, "rxtx_factor": 1.0, "extra_specs": source["extra_specs"],
    });
    let aggregate = 1 + cx.state.all(Table::Leases).count();
    Ok(json!({
        "id": reservation, "vcpus": source["vcpus"], "memory_mb": source["ram"], "disk_gb": source["disk"],
        "amount": amount, "affinity": asked["affinity"], "resource_properties": properties.to_string(),
        "flavor_id": reservation, "aggregate_id": aggregate, "server_group_id": null,
    }))
}

fn check_room(cx: &Cx<'_>, amount: i64, span: Span, so_far: &[Json], but: &str) -> Result<(), Fault> {
    let same = so_far.iter().filter(|one| one.text("resource_type") == "flavor:instance");
    let taken: i64 = beside(cx, "flavor:instance", span, but).chain(same).map(|one| one.int("amount")).sum();
    if taken + amount > RESERVABLE_INSTANCES { Err(no_hosts()) } else { Ok(()) }
}

/// Whether a host is as the requirements say: `["=", "$node_type", "…"]`, or several joined by `and`.
fn host_fits(requirements: &Json, name: &str, node_type: &str) -> Option<bool> {
    let list = requirements.as_array()?;
    let operator = list.first()?.as_str()?;
    if operator == "and" {
        return list[1..]
            .iter()
            .map(|one| host_fits(one, name, node_type))
            .try_fold(true, |all, one| Some(all && one?));
    }
    let (variable, value) = (list.get(1)?.as_str()?, list.get(2)?.as_str()?);
    let uid = fixed_id("host", name);
    let actual = match variable {
        "$node_type" => node_type,
        "$node_name" | "$name" => name,
        "$uid" | "$hypervisor_hostname" => uid.as_str(),
        _ => return None,
    };
    match operator {
        "=" | "==" => Some(actual == value),
        "!=" => Some(actual != value),
        _ => None,
    }
}

/// Whether the requirements name a property that no host has, which Blazar does not tell apart from a failure of its own.
fn asks_for_unknown(requirements: &Json) -> bool {
    let known = ["$node_type", "$node_name", "$name", "$uid", "$hypervisor_hostname"];
    match requirements.as_array().map(Vec::as_slice) {
        Some([operator, all @ ..]) if operator == "and" => all.iter().any(asks_for_unknown),
        Some([_, variable, ..]) => {
            variable.as_str().is_some_and(|name| name.starts_with('$') && !known.contains(&name))
        }
        _ => false,
    }
}

fn requirements(asked: &Json) -> Result<Option<Json>, Fault> {
    let text = asked.text("resource_properties");
    if text.is_empty() {
        return Ok(None);
    }
    let malformed = || Fault::bad(format!("Malformed requirements {text}"));
    let read: Json = serde_json::from_str(text).map_err(|_| malformed())?;
    if asks_for_unknown(&read) {
        return Err(Fault::new(500, "BlazarDBNotFound: A database error occurred"));
    }
    host_fits(&read, "", "").ok_or_else(malformed)?;
    Ok(Some(read))
}

/// As many free hosts that fit as there are, up to `max`; refused if fewer than `min`.
fn choose_hosts(cx: &Cx<'_>, asked: &Json, span: Span, so_far: &[Json], but: &str) -> Result<Vec<Json>, Fault> {
    let malformed = |key| move |_| Fault::bad(format!("Malformed parameter {key}"));
    let (min, max) = (count(asked, "min").map_err(malformed("min"))?, count(asked, "max").map_err(malformed("max"))?);
    if min > max {
        return Err(Fault::bad("Invalid values for min/max of hosts. Max must be equal to or larger than min."));
    }
    let wanted = requirements(asked)?;
    let same = so_far.iter().filter(|one| one.text("resource_type") == "physical:host");
    let taken: Vec<&Json> =
        beside(cx, "physical:host", span, but).chain(same).flat_map(|one| one.list("_hosts")).collect();
    let free = inventory(cx.profile).iter().filter(|(name, node_type)| {
        let fits = wanted.as_ref().is_none_or(|wanted| host_fits(wanted, name, node_type) == Some(true));
        fits && !taken.iter().any(|host| *host == name)
    });
    let chosen: Vec<Json> = free.take(usize::try_from(max).unwrap_or_default()).map(|(name, _)| json!(name)).collect();
    if i64::try_from(chosen.len()).unwrap_or_default() < min { Err(no_hosts()) } else { Ok(chosen) }
}

fn hosts(cx: &Cx<'_>, asked: &Json, span: Span, so_far: &[Json]) -> Result<Json, Fault> {
    require(asked, &["min", "max", "hypervisor_properties", "resource_properties"])?;
    // Numbers as text pass Blazar's checks, and then it falls over them.
    if [&asked["min"], &asked["max"]]
        .iter()
        .any(|number| number.as_str().is_some_and(|text| text.parse::<i64>().is_ok()))
    {
        return Err(Fault::named(500, "internal", ""));
    }
    let chosen = choose_hosts(cx, asked, span, so_far, "")?;
    Ok(json!({
        "min": count(asked, "min")?, "max": count(asked, "max")?,
        "hypervisor_properties": asked["hypervisor_properties"], "resource_properties": asked["resource_properties"],
        "before_end": "default", "_hosts": chosen,
    }))
}

fn floating_ips(cx: &Cx<'_>, asked: &Json, span: Span, so_far: &[Json]) -> Result<Json, Fault> {
    require(asked, &["network_id", "amount"])?;
    let amount = usize::try_from(count(asked, "amount")?).unwrap_or(usize::MAX);
    let same = so_far.iter().filter(|one| one.text("resource_type") == "virtual:floatingip");
    let taken: Vec<&Json> =
        beside(cx, "virtual:floatingip", span, "").chain(same).flat_map(|one| one.list("_addresses")).collect();
    let wanted = asked.list("required_floatingips");
    let mut free = reservable_addresses(cx.state);
    free.retain(|address| !taken.iter().any(|one| *one == address));
    free.sort_by_key(|address| !wanted.iter().any(|one| one == address));
    let all_wanted = wanted.iter().all(|one| free.iter().any(|address| one == address));
    if asked.text("network_id") != public_network() || free.len() < amount || !all_wanted {
        return Err(Fault::bad("Not enough floating IPs available"));
    }
    free.truncate(amount);
    Ok(json!({"network_id": asked["network_id"], "amount": amount, "required_floatingips": wanted, "_addresses": free}))
}

/// A network of the project's own, made when the lease starts.
fn network(asked: &Json) -> Result<Json, Fault> {
    require(asked, &["network_name", "network_properties", "resource_properties"])?;
    Ok(json!({
        "network_name": asked["network_name"], "network_description": asked.get("network_description"),
        "network_properties": asked["network_properties"], "resource_properties": asked["resource_properties"],
        "network_id": null,
    }))
}

/// Changes a lease's reservations as asked, and makes sure that all of them still fit in the lease's new span.
pub fn update(cx: &Cx<'_>, lease: &mut Json, asked: &[Json], span: Span) -> Result<(), Fault> {
    let id = lease.text("id").to_owned();
    let known = lease.list("reservations");
    let unknown: Vec<&str> = asked
        .iter()
        .map(|one| one.text("id"))
        .filter(|id| !known.iter().any(|reservation| reservation.text("id") == *id))
        .collect();
    if !unknown.is_empty() {
        let text = format!("Please enter valid reservation IDs. Invalid reservation IDs are: {}", unknown.join(","));
        return Err(Fault::bad(text));
    }
    let longer = span.1 > lease.int("_end") || span.0 != lease.int("_start");
    let mut changed = Vec::new();
    for one in known {
        let empty = json!({});
        let wanted = asked.iter().find(|asked| asked.text("id") == one.text("id")).unwrap_or(&empty);
        changed.push(change(cx, one, wanted, (span, longer), &id)?);
    }
    lease.set("reservations", changed);
    Ok(())
}

fn change(cx: &Cx<'_>, one: &Json, wanted: &Json, (span, longer): (Span, bool), lease: &str) -> Result<Json, Fault> {
    let mut one = one.clone();
    let differs = |key: &str| wanted.get(key).is_some_and(|value| *value != one[key]);
    match one.text("resource_type") {
        "flavor:instance" => {
            if ["amount", "flavor_id", "affinity"].into_iter().any(differs) {
                return Err(Fault::conflict("Flavor-based reservation update not yet supported"));
            }
            if longer {
                check_room(cx, one.int("amount"), span, &[], lease)?;
            }
        }
        "physical:host" if longer || differs("min") || differs("max") || differs("resource_properties") => {
            let resized = differs("min") || differs("max") || differs("resource_properties");
            for key in ["min", "max", "resource_properties", "hypervisor_properties"] {
                if let Some(value) = wanted.get(key) {
                    one.set(key, value.clone());
                }
            }
            let free = choose_hosts(cx, &one, span, &[], lease)?;
            if resized {
                one.set("_hosts", free);
            } else {
                let mut taken = beside(cx, "physical:host", span, lease).flat_map(|other| other.list("_hosts"));
                if taken.any(|host| one.list("_hosts").contains(host)) {
                    return Err(no_hosts());
                }
            }
        }
        "virtual:floatingip" if differs("amount") => {
            return Err(Fault::bad("Floating IP reservation cannot be updated with requested parameters. "));
        }
        _ => {}
    }
    Ok(one)
}
