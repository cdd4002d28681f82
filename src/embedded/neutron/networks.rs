//! Networks.

use http::Method;
use serde_json::json;

use super::{check_attributes, copy, document, list, one, policy, ports, touch, wanted, within_quota};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply};
use crate::model::Json;

const KNOWN: [&str; 15] = [
    "name",
    "admin_state_up",
    "description",
    "mtu",
    "port_security_enabled",
    "shared",
    "router:external",
    "availability_zone_hints",
    "tenant_id",
    "project_id",
    "dns_domain",
    "is_default",
    "qos_policy_id",
    "provider:network_type",
    "vlan_transparent",
];

/// Answers `/networks…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => {
            let seen = cx.state.all(Table::Networks).filter(|doc| visible(cx, doc));
            list(cx, "networks", seen, Json::clone, missing)
        }
        (&Method::POST, []) => create(cx),
        (&Method::GET, [id]) => Ok(one(cx, 200, "network", find(cx, id)?)),
        (&Method::PUT, [id]) => update(cx, id),
        (&Method::DELETE, [id]) => delete(cx, id),
        _ => Err(Fault::new(405, "")),
    }
}

fn missing(id: &str) -> Fault {
    Fault::named(404, "NetworkNotFound", format!("Network {id} could not be found."))
}

/// Whether the project sees the network: its own, a shared one, one of floating IPs.
#[must_use]
pub fn visible(cx: &Cx<'_>, doc: &Json) -> bool {
    cx.owns(doc) || doc.flag("shared") || doc.flag("router:external")
}

/// The network of that id, if the project sees it.
pub fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    cx.state.get(Table::Networks, id).filter(|doc| visible(cx, doc)).cloned().ok_or_else(|| missing(id))
}

/// The project's own network of that id; `rule` is what the policy calls the request.
pub fn find_own(cx: &Cx<'_>, id: &str, rule: &str) -> Result<Json, Fault> {
    let doc = find(cx, id)?;
    if cx.owns(&doc) { Ok(doc) } else { Err(policy(rule)) }
}

fn refuse_admin(wanted: &Json, what: &str) -> Result<(), Fault> {
    for key in ["shared", "router:external"] {
        if wanted.flag(key) {
            return Err(policy(&format!("(rule:{what}_network and rule:{what}_network:{key})")));
        }
    }
    Ok(())
}

/// The largest packet that fits on the site's overlay.
const MTU: i64 = 1450;

fn check_mtu(wanted: &Json) -> Result<(), Fault> {
    if wanted.int("mtu") > MTU {
        let text = format!("Invalid input for operation: Requested MTU is too big, maximum is {MTU}.");
        return Err(Fault::named(400, "InvalidInput", text));
    }
    Ok(())
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let wanted = wanted(cx, "network")?;
    check_attributes(&wanted, &KNOWN, &[])?;
    refuse_admin(&wanted, "create")?;
    check_mtu(&wanted)?;
    within_quota(cx, "network")?;
    let doc = make(cx, &wanted);
    let mut shown = doc;
    shown.set("is_default", false);
    Ok(one(cx, 201, "network", shown))
}

/// Makes a network.
pub fn make(cx: &mut Cx<'_>, wanted: &Json) -> Json {
    let mut doc = json!({
        "name": "", "admin_state_up": true, "mtu": MTU, "status": "ACTIVE", "subnets": [], "shared": false,
        "port_security_enabled": true, "router:external": false, "availability_zone_hints": [],
        "availability_zones": [], "ipv4_address_scope": null, "ipv6_address_scope": null,
    });
    copy(&mut doc, wanted, &["name", "admin_state_up", "description", "mtu", "port_security_enabled"]);
    let doc = document(cx, doc);
    cx.state.put(Table::Networks, doc.text("id"), doc.clone());
    doc
}

/// Removes a network with all that is in it.
pub fn remove(cx: &mut Cx<'_>, id: &str) {
    let inside = |table| -> Vec<String> {
        cx.state.find(table, "network_id", id).map(|doc| doc.text("id").to_owned()).collect()
    };
    let (ports, subnets) = (inside(Table::Ports), inside(Table::Subnets));
    for port in ports {
        ports::remove(cx, &port);
    }
    for subnet in subnets {
        cx.state.remove(Table::Subnets, &subnet);
    }
    cx.state.remove(Table::Networks, id);
}

fn update(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut doc = find_own(cx, id, "rule:update_network")?;
    let wanted = wanted(cx, "network")?;
    check_attributes(&wanted, &KNOWN, &["tenant_id", "project_id", "availability_zone_hints"])?;
    refuse_admin(&wanted, "update")?;
    check_mtu(&wanted)?;
    copy(&mut doc, &wanted, &["name", "admin_state_up", "description", "mtu", "port_security_enabled"]);
    touch(&mut doc, cx.now);
    cx.state.put(Table::Networks, id, doc.clone());
    Ok(one(cx, 200, "network", doc))
}

fn delete(cx: &mut Cx<'_>, id: &str) -> Answer {
    find_own(cx, id, "rule:delete_network")?;
    let ports: Vec<String> =
        cx.state.find(Table::Ports, "network_id", id).map(|port| port.text("id").to_owned()).collect();
    if !ports.is_empty() {
        return Err(Fault::named(
            409,
            "NetworkInUse",
            format!(
                "Unable to complete operation on network {id}. There are one or more ports still in use on the network, \
                 id for these ports is: {}.",
                ports.join(",")
            ),
        ));
    }
    remove(cx, id);
    Ok(Reply::empty(204))
}
