//! Making a server: what is asked for is checked against everything it names, then it is built.

use serde_json::json;

use super::interfaces::{self, Networks};
use super::{flavors, invalid, keypairs, keys, links, servers};
use crate::embedded::catalogue;
use crate::embedded::cinder::{self, actions, volumes};
use crate::embedded::quota::{self, Quotas};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, is_uuid, new_hex, new_id, repr};
use crate::model::Json;

/// Seconds to build a server.
pub const BUILD: f64 = 1.5;

/// What a request may have.
const KNOWN: [&str; 24] = [
    "name",
    "imageRef",
    "flavorRef",
    "adminPass",
    "metadata",
    "networks",
    "security_groups",
    "user_data",
    "key_name",
    "availability_zone",
    "config_drive",
    "block_device_mapping_v2",
    "block_device_mapping",
    "min_count",
    "max_count",
    "OS-DCF:diskConfig",
    "accessIPv4",
    "accessIPv6",
    "personality",
    "description",
    "tags",
    "hostname",
    "return_reservation_id",
    "trusted_image_certificates",
];

/// What a server is made of, checked.
struct Plan {
    flavor: Json,
    image: Option<Json>,
    networks: Networks,
    groups: Vec<Json>,
    /// The mapping entries that are volumes, in the order of the devices.
    volumes: Vec<Json>,
    /// The flavor's or the host reservation's id: what its capacity is counted by.
    capacity: String,
    /// Why no host will do.
    doomed: bool,
    /// What the scheduler was told, each hint a list.
    hints: Json,
}

/// `POST /servers`.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let body = super::body(cx)?;
    let wanted = body.get("server").cloned().ok_or_else(|| Fault::bad("'server' is a required property"))?;
    check_schema(cx, &wanted)?;
    let hints = body.get("os:scheduler_hints").or_else(|| body.get("OS-SCH-HNT:scheduler_hints"));
    let plan = plan(cx, &wanted, hints)?;
    let count = wanted.get("max_count").or_else(|| wanted.get("min_count")).and_then(Json::as_i64).unwrap_or(1).max(1);
    check_quota(cx, &plan.flavor, count)?;
    let mut first = None;
    for number in 1..=count {
        let name = wanted.text("name");
        let name = if count > 1 { format!("{name}-{number}") } else { name.to_owned() };
        let id = build(cx, &wanted, &plan, &name)?;
        first.get_or_insert(id);
    }
    let id = first.unwrap_or_default();
    let groups: Vec<Json> = match wanted.list("security_groups") {
        [] => vec![json!({"name": "default"})],
        given => given.to_vec(),
    };
    let server = json!({"id": id, "links": links(cx, "servers", &id), "OS-DCF:diskConfig": "MANUAL",
                        "security_groups": groups, "adminPass": new_hex()[..12]});
    let location = format!("{}/compute/v2.1/servers/{id}", cx.call.base);
    Ok(Reply::json(202, json!({"server": server})).header("location", location))
}

fn check_schema(cx: &Cx<'_>, wanted: &Json) -> Result<(), Fault> {
    let mut needed = vec!["name", "flavorRef"];
    if cx.at_least(37) {
        needed.push("networks");
    }
    for key in needed {
        if !wanted.has(key) {
            return Err(invalid("server", wanted, &format!("'{key}' is a required property")));
        }
    }
    let strange = wanted.as_object().and_then(|map| map.keys().find(|key| !KNOWN.contains(&key.as_str())));
    if let Some(key) = strange {
        let why = format!("Additional properties are not allowed ('{key}' was unexpected)");
        return Err(invalid("server", wanted, &why));
    }
    for (key, since) in [("description", 19), ("tags", 52), ("trusted_image_certificates", 63), ("hostname", 90)] {
        if wanted.get(key).is_some() && !cx.at_least(since) {
            let why = format!("Additional properties are not allowed ('{key}' was unexpected)");
            return Err(invalid("server", wanted, &why));
        }
    }
    super::check_name(&wanted["name"])?;
    if wanted.has("user_data") {
        let text = wanted.text("user_data");
        if text.len() > 65_535 {
            return Err(invalid("user_data", &wanted["user_data"], &format!("'{text}' is too long")));
        }
        // What is not Base64's is passed over, as Python does.
        let plain: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c)).collect();
        let bytes = keys::decode(&plain);
        let why = format!("'{text}' is not a 'base64'");
        bytes.ok_or_else(|| invalid("user_data", &wanted["user_data"], &why))?;
    }
    let truths = ["", "true", "false", "1", "0", "yes", "no", "on", "off", "t", "f", "y", "n"];
    if !truths.contains(&wanted.text("config_drive").to_lowercase().as_str()) {
        let why = "is not one of the words for true and false";
        return Err(invalid("config_drive", &wanted["config_drive"], why));
    }
    servers::check_metadata(&wanted["metadata"])
}

fn plan(cx: &mut Cx<'_>, wanted: &Json, hints: Option<&Json>) -> Result<Plan, Fault> {
    let flavor_id = wanted.text("flavorRef").rsplit('/').next().unwrap_or_default();
    let flavor = flavors::find(cx, flavor_id).map_err(|fault| Fault::bad(fault.message))?;
    let image = image(cx, wanted)?;
    let mapping = mapping(cx, wanted)?;
    let boots_from_volume = mapping.iter().any(|entry| entry.get("boot_index").and_then(Json::as_i64) == Some(0));
    if image.is_none() && !boots_from_volume {
        return Err(Fault::bad("Missing imageRef attribute"));
    }
    let key = wanted.text("key_name");
    if !key.is_empty() && !keypairs::exists(cx, key) {
        return Err(Fault::bad("Invalid key_name provided."));
    }
    if !["", "nova"].contains(&wanted.text("availability_zone")) {
        return Err(Fault::bad("The requested availability zone is not available"));
    }
    let groups = interfaces::groups(cx, wanted.list("security_groups"))?;
    let networks = interfaces::wanted(cx, wanted.get("networks"))?;
    let told = hints.and_then(Json::as_object).into_iter().flatten();
    let told = told.map(|(key, value)| (key.clone(), if value.is_array() { value.clone() } else { json!([value]) }));
    let told: Json = told.collect::<serde_json::Map<_, _>>().into();
    let reservation = hints.map(|hints| hints.text("reservation")).unwrap_or_default();
    let capacity = if flavor.text("name") == "baremetal" { reservation } else { flavor.text("id") }.to_owned();
    let doomed = !has_room(cx, &flavor, &capacity);
    Ok(Plan {
        flavor,
        image: image.filter(|_| !boots_from_volume),
        networks,
        groups,
        volumes: mapping,
        capacity,
        doomed,
        hints: told,
    })
}

/// Whether a reservation has a place left; a flavor that nobody reserved always has.
fn has_room(cx: &Cx<'_>, flavor: &Json, capacity: &str) -> bool {
    let places = if flavor.text("name") == "baremetal" {
        reserved_hosts(cx, capacity)
    } else if flavor.has("_amount") {
        flavor.int("_amount")
    } else {
        return true;
    };
    let placed = cx.state.find(Table::Servers, "_flavor", capacity).filter(|server| server.text("status") != "ERROR");
    i64::try_from(placed.count()).unwrap_or(i64::MAX) < places
}

/// How many hosts an active reservation of the project has.
fn reserved_hosts(cx: &Cx<'_>, reservation: &str) -> i64 {
    let leases = cx.state.find(Table::Leases, "project_id", &cx.who.project_id);
    let mut found =
        leases.filter(|lease| lease.text("status") == "ACTIVE").flat_map(|lease| lease.list("reservations"));
    let found = found.find(|one| one.text("id") == reservation && one.text("resource_type") == "physical:host");
    found.map_or(0, |one| i64::try_from(one.list("_hosts").len()).unwrap_or_default())
}

fn image(cx: &Cx<'_>, wanted: &Json) -> Result<Option<Json>, Fault> {
    let id = wanted.text("imageRef").rsplit('/').next().unwrap_or_default();
    if id.is_empty() {
        return Ok(None);
    }
    if !is_uuid(id) {
        let why = format!("'{id}' is not valid under any of the given schemas");
        return Err(invalid("imageRef", &wanted["imageRef"], &why));
    }
    let found = catalogue::images(cx.profile).into_iter().find(|image| image.text("id") == id);
    found.map(Some).ok_or_else(|| Fault::bad("Can not find requested image"))
}

/// The mapping's volumes, each with what it is to be made from, in the order of boot.
fn mapping(cx: &Cx<'_>, wanted: &Json) -> Result<Vec<Json>, Fault> {
    let refuse = |why: &str| Fault::bad(format!("Block Device Mapping is Invalid: {why}"));
    let mut entries = Vec::new();
    for entry in wanted.list("block_device_mapping_v2") {
        let mut entry = entry.clone();
        let id = entry.text("uuid").to_owned();
        let sources = ["volume", "image", "snapshot", "blank"];
        if !sources.contains(&entry.text("source_type")) {
            let why = format!("{} is not one of ['volume', 'image', 'snapshot', 'blank']", repr(&entry["source_type"]));
            return Err(invalid("source_type", &entry["source_type"], &why));
        }
        match (entry.text("source_type"), entry.text("destination_type")) {
            (_, "local" | "") if entry.text("source_type") != "volume" => continue,
            ("volume", _) => {
                let failed = || refuse(&format!("failed to get volume {id}."));
                let volume = volumes::find(cx, &id).map_err(|_| failed())?;
                if volume.text("status") != "available" {
                    return Err(Fault::bad(format!(
                        "Invalid volume: Invalid input received: Invalid volume: Volume {id} status must be available or \
                         downloading to reserve, but the current status is {}. (HTTP 400) (Request-ID: req-{})",
                        volume.text("status"),
                        new_id()
                    )));
                }
            }
            ("image", "volume") => {
                let found = catalogue::images(cx.profile).into_iter().find(|image| image.text("id") == id);
                let found = found.ok_or_else(|| refuse(&format!("failed to get image {id}.")))?;
                entry.set("_image", volumes::image_metadata(&found));
                let size = size(&entry).ok_or_else(|| {
                    Fault::bad("Images with destination_type 'volume' need to have a non-zero size specified")
                })?;
                entry.set("volume_size", size);
            }
            ("blank", "volume") => {
                let size = size(&entry).ok_or_else(|| {
                    refuse("Blank volumes (source: 'blank', dest: 'volume') need to have non-zero size")
                })?;
                entry.set("volume_size", size);
            }
            ("snapshot", _) => return Err(refuse(&format!("failed to get snapshot {id}."))),
            _ => {
                return Err(refuse(
                    "Boot sequence for the instance and image/block device mapping combination is not valid.",
                ));
            }
        }
        if entry.has("volume_type") {
            cinder::find_type(entry.text("volume_type"))
                .map_err(|_| Fault::bad(format!("Volume type {} could not be found.", entry.text("volume_type"))))?;
        }
        entries.push(entry);
    }
    let index = |entry: &Json| entry.get("boot_index").and_then(Json::as_i64).filter(|index| *index >= 0);
    entries.sort_by_key(|entry| index(entry).unwrap_or(i64::MAX));
    Ok(entries)
}

fn size(entry: &Json) -> Option<i64> {
    let size = entry.get("volume_size")?;
    size.as_i64().or_else(|| size.as_str()?.parse().ok()).filter(|size| *size > 0)
}

fn check_quota(cx: &Cx<'_>, flavor: &Json, count: i64) -> Result<(), Fault> {
    let (mut names, mut wanted, mut used, mut limits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, more) in [("cores", flavor.int("vcpus")), ("instances", 1), ("ram", flavor.int("ram"))] {
        let more = more * count;
        if let Some((limit, taken)) = quota::exceeded(cx, Quotas::Compute, name, more) {
            names.push(name);
            wanted.push(more.to_string());
            used.push(taken.to_string());
            limits.push(limit.to_string());
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let (names, wanted, used) = (names.join(", "), wanted.join(", "), used.join(", "));
    Err(Fault::forbidden(format!(
        "Quota exceeded for {names}: Requested {wanted}, but already used {used} of {} {names}",
        limits.join(", ")
    )))
}

/// The name of a server's own for itself: blanks are hyphens, and what a host's name cannot have is left out.
fn hostname(name: &str, id: &str) -> String {
    let letters = name.chars().map(|c| if matches!(c, ' ' | '_') { '-' } else { c.to_ascii_lowercase() });
    let plain: String = letters.filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).collect();
    match plain.trim_matches(['-', '.']) {
        "" => format!("server-{id}"),
        some => some.chars().take(63).collect(),
    }
}

/// Makes one server, and gives its id.
fn build(cx: &mut Cx<'_>, wanted: &Json, plan: &Plan, name: &str) -> Result<String, Fault> {
    let id = new_id();
    let (ports, refused) = interfaces::take(cx, &id, &plan.networks, &plan.groups)?;
    let mut devices = Vec::new();
    let first = u8::from(plan.image.is_some());
    for (entry, letter) in plan.volumes.iter().zip(b'a' + first..=b'z') {
        let device = format!("/dev/vd{}", char::from(letter));
        if entry.text("source_type") == "volume" {
            actions::reserve(cx, entry.text("uuid"));
        }
        let mut entry = entry.clone();
        entry.set("device", device);
        devices.push(entry);
    }
    let due = cx.after(BUILD);
    let doom = if plan.doomed { Some("No valid host was found. ".to_owned()) } else { refused };
    let text = |key: &str| wanted.get(key).filter(|value| !value.is_null()).cloned();
    let doc = json!({
        "id": id, "name": name, "project_id": cx.who.project_id, "user_id": cx.who.user_id, "status": "BUILD",
        "vm_state": "building", "task_state": "scheduling", "power_state": 0, "created": cx.now, "updated": cx.now,
        "launched": null, "image": plan.image.as_ref().map(|image| image["id"].clone()), "flavor": plan.flavor,
        "metadata": text("metadata").unwrap_or_else(|| json!({})), "key_name": text("key_name"),
        "user_data": text("user_data"), "description": text("description"), "zone": text("availability_zone"),
        "config_drive": wanted.get("config_drive").is_some_and(|value| value == true || value == "true" || value == "True"),
        "hostname": hostname(name, &id), "hints": plan.hints, "ports": ports, "volumes": [], "_mapping": devices, "_flavor": plan.capacity,
        "_vcpus": plan.flavor["vcpus"], "_ram": plan.flavor["ram"], "_doomed": doom, "_due": due,
        "_key": keypairs::public_key(cx, wanted.text("key_name")),
    });
    cx.state.put(Table::Servers, &id, doc);
    Ok(id)
}
