//! Ports. Nova makes, binds and unbinds them through here too.

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;
use serde_json::json;

use super::{addresses, check_attributes, copy, document, floatingips, groups, list, networks, one, policy, require};
use super::{touch, wanted, within_quota};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply};
use crate::model::Json;

const KNOWN: [&str; 20] = [
    "network_id",
    "name",
    "description",
    "admin_state_up",
    "mac_address",
    "fixed_ips",
    "device_id",
    "device_owner",
    "security_groups",
    "port_security_enabled",
    "allowed_address_pairs",
    "extra_dhcp_opts",
    "binding:vnic_type",
    "binding:host_id",
    "binding:profile",
    "tenant_id",
    "project_id",
    "dns_name",
    "qos_policy_id",
    "propagate_uplink_status",
];

const PLAIN: [&str; 8] = [
    "name",
    "description",
    "admin_state_up",
    "device_id",
    "device_owner",
    "allowed_address_pairs",
    "extra_dhcp_opts",
    "binding:vnic_type",
];

/// Answers `/ports…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => match (cx.call.param("device_id"), cx.call.param("network_id")) {
            (Some(device), _) => {
                let found = cx.state.find(Table::Ports, "device_id", device).filter(|doc| cx.owns(doc));
                list(cx, "ports", found, Json::clone, missing)
            }
            _ => {
                let own = cx.state.find(Table::Ports, "project_id", &cx.who.project_id);
                list(cx, "ports", own, Json::clone, missing)
            }
        },
        (&Method::POST, []) => {
            let wanted = wanted(cx, "port")?;
            let doc = create(cx, &wanted)?;
            Ok(one(cx, 201, "port", doc))
        }
        (&Method::GET, [id]) => Ok(one(cx, 200, "port", find(cx, id)?)),
        (&Method::PUT, [id]) => update(cx, id),
        (&Method::DELETE, [id]) => {
            let doc = find(cx, id)?;
            let owner = doc.text("device_owner");
            if owner.starts_with("network:router") {
                let text = format!("Port {id} cannot be deleted directly via the port API: has device owner {owner}.");
                return Err(Fault::named(409, "ServicePortInUse", text));
            }
            remove(cx, id);
            Ok(Reply::empty(204))
        }
        _ => Err(Fault::new(405, "")),
    }
}

fn missing(id: &str) -> Fault {
    Fault::named(404, "PortNotFound", format!("Port {id} could not be found."))
}

/// The project's port of that id.
pub fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    cx.state.get(Table::Ports, id).filter(|doc| cx.owns(doc)).cloned().ok_or_else(|| missing(id))
}

/// What a member may not ask for on a network of others.
fn check_policy(cx: &Cx<'_>, network: &Json, wanted: &Json) -> Result<(), Fault> {
    if cx.owns(network) {
        return Ok(());
    }
    if network.flag("router:external") && !network.flag("shared") {
        return Err(Fault::forbidden(format!(
            "Tenant {} not allowed to create port on this network",
            cx.who.project_id
        )));
    }
    if wanted.list("fixed_ips").iter().any(|fixed| fixed.has("ip_address")) {
        return Err(policy(
            "(rule:create_port and (rule:create_port:fixed_ips and (rule:create_port:fixed_ips:ip_address)))",
        ));
    }
    if !wanted.list("allowed_address_pairs").is_empty() {
        return Err(policy(
            "(rule:create_port and (rule:create_port:allowed_address_pairs and \
             (rule:create_port:allowed_address_pairs:ip_address)))",
        ));
    }
    match ["mac_address", "port_security_enabled"].iter().find(|key| wanted.has(key)) {
        Some(key) => Err(policy(&format!("(rule:create_port and rule:create_port:{key})"))),
        None => Ok(()),
    }
}

/// Makes a port.
pub fn create(cx: &mut Cx<'_>, wanted: &Json) -> Result<Json, Fault> {
    check_attributes(wanted, &KNOWN, &[])?;
    require(wanted, "network_id")?;
    let network_id = wanted.text("network_id");
    let network = networks::find(cx, network_id)?;
    check_policy(cx, &network, wanted)?;
    within_quota(cx, "port")?;
    let secure = wanted.get("port_security_enabled").and_then(Json::as_bool);
    let secure = secure.unwrap_or_else(|| network.flag("port_security_enabled"));
    let groups = match wanted.get("security_groups").and_then(Json::as_array) {
        Some(given) => {
            check_security(secure, given)?;
            groups::check(cx, given)?;
            given.clone()
        }
        None if secure => vec![json!(groups::default(cx))],
        None => Vec::new(),
    };
    let fixed = choose(cx, &network, wanted)?;
    let tail = uuid::Uuid::new_v4().into_bytes();
    let mac = format!("fa:16:3e:{:02x}:{:02x}:{:02x}", tail[0], tail[1], tail[2]);
    let mut doc = json!({
        "name": "", "network_id": network_id, "mac_address": mac, "admin_state_up": true, "status": "DOWN",
        "device_id": "", "device_owner": "", "fixed_ips": fixed, "port_security_enabled": secure,
        "security_groups": groups, "binding:vnic_type": "normal", "allowed_address_pairs": [], "extra_dhcp_opts": [],
    });
    copy(&mut doc, wanted, &PLAIN);
    copy(&mut doc, wanted, &["mac_address"]);
    let doc = document(cx, doc);
    let id = doc.text("id").to_owned();
    for fixed in doc.list("fixed_ips") {
        addresses::take(cx.state, fixed.text("subnet_id"), fixed.text("ip_address"), &id);
    }
    cx.state.put(Table::Ports, &id, doc.clone());
    Ok(doc)
}

fn check_security(secure: bool, groups: &[Json]) -> Result<(), Fault> {
    if secure || groups.is_empty() {
        return Ok(());
    }
    Err(Fault::named(
        400,
        "PortSecurityAndIPRequiredForSecurityGroups",
        "Port security must be enabled and port must have an IP address in order to use security groups.",
    ))
}

/// The addresses of a new port: those asked for, or one of each family.
fn choose(cx: &Cx<'_>, network: &Json, wanted: &Json) -> Result<Vec<Json>, Fault> {
    let subnets: Vec<&Json> = cx.state.find(Table::Subnets, "network_id", network.text("id")).collect();
    let Some(asked) = wanted.get("fixed_ips").and_then(Json::as_array) else {
        let mut fixed = Vec::new();
        for version in [4, 6] {
            let of_version: Vec<&Json> =
                subnets.iter().copied().filter(|subnet| subnet.int("ip_version") == version).collect();
            if !of_version.is_empty() {
                fixed.push(any(cx, network, &of_version)?);
            }
        }
        return Ok(fixed);
    };
    asked
        .iter()
        .map(|ask| match (ask.text("subnet_id"), ask.text("ip_address")) {
            (id, "") => {
                let subnet = subnets.iter().find(|subnet| subnet.text("id") == id);
                let subnet = subnet.copied().ok_or_else(|| no_subnet(cx, network, id))?;
                any(cx, network, &[subnet])
            }
            (id, address) => given(cx, &subnets, id, address),
        })
        .collect()
}

fn no_subnet(cx: &Cx<'_>, network: &Json, id: &str) -> Fault {
    if id.is_empty() {
        let text = "Invalid input for operation: IP allocation requires subnet_id or ip_address.";
        return Fault::named(400, "InvalidInput", text);
    }
    if cx.state.get(Table::Subnets, id).is_none() {
        return Fault::named(404, "SubnetNotFound", format!("Subnet {id} could not be found."));
    }
    let text = format!(
        "Invalid input for operation: Failed to create port on network {}, because fixed_ips included invalid subnet {id}.",
        network.text("id")
    );
    Fault::named(400, "InvalidInput", text)
}

fn any(cx: &Cx<'_>, network: &Json, subnets: &[&Json]) -> Result<Json, Fault> {
    let found = subnets.iter().find_map(|subnet| {
        let address = addresses::free(cx.state, subnet)?;
        Some(json!({"subnet_id": subnet["id"], "ip_address": address}))
    });
    found.ok_or_else(|| {
        let text = format!("No more IP addresses available on network {}.", network.text("id"));
        Fault::named(409, "IpAddressGenerationFailure", text)
    })
}

fn given(cx: &Cx<'_>, subnets: &[&Json], id: &str, address: &str) -> Result<Json, Fault> {
    let parsed: Result<IpAddr, _> = address.parse();
    let parsed = parsed.map_err(|_| {
        Fault::bad(format!("Invalid input for fixed_ips. Reason: '{address}' is not a valid IP address."))
    })?;
    let holds = |subnet: &&&Json| {
        let range: Result<IpNet, _> = subnet.text("cidr").parse();
        (id.is_empty() || subnet.text("id") == id) && range.is_ok_and(|range| range.contains(&parsed))
    };
    let subnet = subnets.iter().find(holds).ok_or_else(|| {
        if id.is_empty() {
            let text =
                format!("IP address {address} is not a valid IP for any of the subnets on the specified network.");
            Fault::named(400, "InvalidIpForNetwork", text)
        } else {
            let text = format!("IP address {address} is not a valid IP for the specified subnet.");
            Fault::named(400, "InvalidIpForSubnet", text)
        }
    })?;
    let id = subnet.text("id");
    if addresses::taken(cx.state, id, address) {
        let text = format!("IP address {address} already allocated in subnet {id}");
        return Err(Fault::named(409, "IpAddressAlreadyAllocated", text));
    }
    Ok(json!({"subnet_id": id, "ip_address": address}))
}

fn update(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut doc = find(cx, id)?;
    let wanted = wanted(cx, "port")?;
    check_attributes(&wanted, &KNOWN, &["network_id", "tenant_id", "project_id"])?;
    let secure = wanted.get("port_security_enabled").and_then(Json::as_bool);
    let secure = secure.unwrap_or_else(|| doc.flag("port_security_enabled"));
    if let Some(given) = wanted.get("security_groups").and_then(Json::as_array) {
        check_security(secure, given)?;
        groups::check(cx, given)?;
        doc.set("security_groups", given.clone());
    } else if !secure && !doc.list("security_groups").is_empty() {
        return Err(Fault::named(
            409,
            "PortSecurityPortHasSecurityGroup",
            "Port has security group associated. Cannot disable port security or IP address until security group is \
             removed.",
        ));
    }
    if wanted.get("fixed_ips").is_some_and(|fixed| fixed != &doc["fixed_ips"]) {
        move_addresses(cx, &mut doc, &wanted)?;
    }
    doc.set("port_security_enabled", secure);
    copy(&mut doc, &wanted, &PLAIN);
    touch(&mut doc, cx.now);
    cx.state.put(Table::Ports, id, doc.clone());
    Ok(one(cx, 200, "port", doc))
}

fn move_addresses(cx: &mut Cx<'_>, doc: &mut Json, wanted: &Json) -> Result<(), Fault> {
    let network = networks::find(cx, doc.text("network_id"))?;
    let old = doc.list("fixed_ips").to_vec();
    let kept = |ask: &Json| {
        let same = |fixed: &&Json| {
            let subnet = !ask.has("subnet_id") || ask["subnet_id"] == fixed["subnet_id"];
            subnet && (!ask.has("ip_address") || ask["ip_address"] == fixed["ip_address"])
        };
        old.iter().find(same).cloned()
    };
    let mut fixed = Vec::new();
    for ask in wanted.list("fixed_ips") {
        match kept(ask) {
            Some(same) => fixed.push(same),
            None => fixed.extend(choose(cx, &network, &json!({"fixed_ips": [ask]}))?),
        }
    }
    let id = doc.text("id").to_owned();
    for gone in old.iter().filter(|one| !fixed.contains(one)) {
        addresses::give_back(cx.state, gone.text("subnet_id"), gone.text("ip_address"));
    }
    for new in &fixed {
        addresses::take(cx.state, new.text("subnet_id"), new.text("ip_address"), &id);
    }
    doc.set("fixed_ips", fixed);
    Ok(())
}

/// Removes a port: its addresses are free again and a floating IP on it is let go.
pub fn remove(cx: &mut Cx<'_>, id: &str) {
    let Some(doc) = cx.state.remove(Table::Ports, id) else { return };
    for fixed in doc.list("fixed_ips") {
        addresses::give_back(cx.state, fixed.text("subnet_id"), fixed.text("ip_address"));
    }
    floatingips::let_go(cx, id);
}

/// Binds a port to a server.
pub fn bind(cx: &mut Cx<'_>, id: &str, server: &str) {
    let now = cx.now;
    cx.state.edit(Table::Ports, id, |doc| {
        doc.set("device_id", server);
        doc.set("device_owner", "compute:nova");
        touch(doc, now);
    });
}

/// Sets whether the port is up.
pub fn set_status(cx: &mut Cx<'_>, id: &str, status: &str) {
    let now = cx.now;
    cx.state.edit(Table::Ports, id, |doc| {
        doc.set("status", status);
        touch(doc, now);
    });
}

/// Takes a server's port back: one that Nova made is removed, one that the user made is free again.
pub fn unbind(cx: &mut Cx<'_>, id: &str) {
    let made_by_nova = cx.state.get(Table::Ports, id).is_some_and(|doc| doc.flag("_nova"));
    if made_by_nova {
        remove(cx, id);
        return;
    }
    let now = cx.now;
    cx.state.edit(Table::Ports, id, |doc| {
        doc.set("device_id", "");
        doc.set("device_owner", "");
        doc.set("status", "DOWN");
        touch(doc, now);
    });
}
