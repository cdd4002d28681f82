//! Floating IPs.
//!
//! A floating IP turns ACTIVE a moment after it was put on a port, and DOWN a moment after it was taken off, as the
//! service's agents report it; the answer to the request still has the old status.

use std::net::IpAddr;

use http::Method;
use serde_json::json;

use super::within_quota;
use super::{addresses, check_attributes, copy, document, list, networks, one, policy, ports, require, touch, wanted};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply};
use crate::model::Json;

const KNOWN: [&str; 11] = [
    "floating_network_id",
    "port_id",
    "fixed_ip_address",
    "floating_ip_address",
    "subnet_id",
    "description",
    "tenant_id",
    "project_id",
    "dns_name",
    "dns_domain",
    "qos_policy_id",
];

/// Seconds from association to ACTIVE.
const TURNS: f64 = 0.3;

/// Answers `/floatingips…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => {
            let own = cx.state.find(Table::FloatingIps, "project_id", &cx.who.project_id);
            list(cx, "floatingips", own, |doc| view(cx, doc), missing)
        }
        (&Method::POST, []) => create(cx),
        (&Method::GET, [id]) => {
            let doc = find(cx, id)?;
            Ok(one(cx, 200, "floatingip", view(cx, &doc)))
        }
        (&Method::PUT, [id]) => update(cx, id),
        (&Method::DELETE, [id]) => {
            find(cx, id)?;
            remove(cx, id);
            Ok(Reply::empty(204))
        }
        _ => Err(Fault::new(405, "")),
    }
}

fn missing(id: &str) -> Fault {
    Fault::named(404, "FloatingIPNotFound", format!("Floating IP {id} could not be found"))
}

fn bad(text: &str) -> Fault {
    Fault::named(400, "BadRequest", format!("Bad floatingip request: {text}"))
}

fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    cx.state.get(Table::FloatingIps, id).filter(|doc| cx.owns(doc)).cloned().ok_or_else(|| missing(id))
}

fn view(cx: &Cx<'_>, doc: &Json) -> Json {
    let mut view = doc.clone();
    let details = cx.state.get(Table::Ports, doc.text("port_id")).map(|port| {
        json!({"name": port["name"], "network_id": port["network_id"], "mac_address": port["mac_address"],
               "admin_state_up": port["admin_state_up"], "status": port["status"], "device_id": port["device_id"],
               "device_owner": port["device_owner"]})
    });
    view.set("port_details", details);
    view
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let wanted = wanted(cx, "floatingip")?;
    check_attributes(&wanted, &KNOWN, &[])?;
    require(&wanted, "floating_network_id")?;
    let network_id = wanted.text("floating_network_id");
    let network = networks::find(cx, network_id)?;
    if wanted.has("floating_ip_address") {
        return Err(policy("(rule:create_floatingip and rule:create_floatingip:floating_ip_address)"));
    }
    if !network.flag("router:external") {
        return Err(bad(&format!("Network {network_id} is not a valid external network.")));
    }
    within_quota(cx, "floatingip")?;
    let subnet = cx.state.find(Table::Subnets, "network_id", network_id).next().cloned().unwrap_or_default();
    let address = addresses::free(cx.state, &subnet).ok_or_else(|| {
        let text = format!("No more IP addresses available on network {network_id}.");
        Fault::named(409, "IpAddressGenerationFailure", text)
    })?;
    let doc = blank(cx, network_id, &address, wanted.text("description"));
    let doc = associate(cx, doc, &wanted)?;
    let id = doc.text("id").to_owned();
    addresses::take(cx.state, subnet.text("id"), &address, &id);
    cx.state.put(Table::FloatingIps, &id, doc.clone());
    Ok(one(cx, 201, "floatingip", view(cx, &doc)))
}

fn blank(cx: &Cx<'_>, network: &str, address: &str, description: &str) -> Json {
    let doc = json!({
        "floating_ip_address": address, "floating_network_id": network, "router_id": null, "port_id": null,
        "fixed_ip_address": null, "status": "DOWN", "description": description,
    });
    let mut doc = document(cx, doc);
    doc.set("revision_number", 0);
    doc
}

/// Makes a reserved floating IP for a project, as Blazar does when a lease starts.
pub fn make_reserved(cx: &mut Cx<'_>, network: &str, address: &str, tags: Json) {
    let mut doc = blank(cx, network, address, "");
    doc.set("tags", tags);
    cx.state.put(Table::FloatingIps, doc.text("id"), doc.clone());
}

/// Puts the document on the port that the request names, or takes it off.
fn associate(cx: &mut Cx<'_>, mut doc: Json, wanted: &Json) -> Result<Json, Fault> {
    let Some(port_id) = wanted.get("port_id") else { return Ok(doc) };
    let Some(port_id) = port_id.as_str().filter(|id| !id.is_empty()) else {
        for key in ["port_id", "router_id", "fixed_ip_address"] {
            doc.set(key, Json::Null);
        }
        doc.set("_due", cx.after(TURNS));
        return Ok(doc);
    };
    let port = ports::find(cx, port_id)?;
    let network = doc.text("floating_network_id").to_owned();
    let fixed = fixed_address(&port, wanted.text("fixed_ip_address"))?;
    let router = router_between(cx, &port, fixed.text("subnet_id"), &network).ok_or_else(|| {
        let text = format!(
            "External network {network} is not reachable from subnet {}.  Therefore, cannot associate Port {port_id} with \
             a Floating IP.",
            fixed.text("subnet_id")
        );
        Fault::named(404, "ExternalGatewayForFloatingIPNotFound", text)
    })?;
    let same = |other: &Json| other["id"] != doc["id"] && other["fixed_ip_address"] == fixed["ip_address"];
    if cx.state.find(Table::FloatingIps, "port_id", port_id).any(same) {
        let text = format!(
            "Cannot associate floating IP {} ({}) with port {port_id} using fixed IP {}, as that fixed IP already has a \
             floating IP on external network {network}.",
            doc.text("floating_ip_address"),
            doc.text("id"),
            fixed.text("ip_address")
        );
        return Err(Fault::named(409, "FloatingIPPortAlreadyAssociated", text));
    }
    doc.set("port_id", port_id);
    doc.set("fixed_ip_address", fixed["ip_address"].clone());
    doc.set("router_id", router);
    doc.set("_due", cx.after(TURNS));
    Ok(doc)
}

/// The port's IPv4 address to forward to.
fn fixed_address(port: &Json, asked: &str) -> Result<Json, Fault> {
    let is_v4 = |fixed: &&Json| fixed.text("ip_address").parse::<IpAddr>().is_ok_and(|address| address.is_ipv4());
    let all: Vec<&Json> = port.list("fixed_ips").iter().filter(is_v4).collect();
    let id = port.text("id");
    match (all.as_slice(), asked) {
        ([], _) => Err(bad(&format!("Cannot add floating IP to port {id} that has no fixed IPv4 addresses."))),
        ([one], "") => Ok((*one).clone()),
        (_, "") => Err(bad(&format!(
            "Port {id} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when assigning a floating IP"
        ))),
        (all, asked) => all
            .iter()
            .find(|fixed| fixed.text("ip_address") == asked)
            .map(|fixed| (*fixed).clone())
            .ok_or_else(|| bad(&format!("Port {id} does not have fixed ip {asked}."))),
    }
}

/// The router with an interface on the port's subnet and a gateway to the external network.
fn router_between(cx: &Cx<'_>, port: &Json, subnet: &str, external: &str) -> Option<String> {
    let mut interfaces = cx.state.find(Table::Ports, "device_owner", "network:router_interface");
    interfaces.find_map(|interface| {
        let here = interface["network_id"] == port["network_id"]
            && interface.list("fixed_ips").iter().any(|fixed| fixed.text("subnet_id") == subnet);
        let router = cx.state.get(Table::Routers, interface.text("device_id")).filter(|_| here)?;
        let gateway = router.get("external_gateway_info")?;
        (gateway.text("network_id") == external).then(|| router.text("id").to_owned())
    })
}

fn update(cx: &mut Cx<'_>, id: &str) -> Answer {
    let doc = find(cx, id)?;
    let wanted = wanted(cx, "floatingip")?;
    let fixed = ["floating_network_id", "floating_ip_address", "subnet_id", "tenant_id", "project_id"];
    check_attributes(&wanted, &KNOWN, &fixed)?;
    let mut doc = associate(cx, doc, &wanted)?;
    copy(&mut doc, &wanted, &["description"]);
    touch(&mut doc, cx.now);
    cx.state.put(Table::FloatingIps, id, doc.clone());
    Ok(one(cx, 200, "floatingip", view(cx, &doc)))
}

/// Carries out what is due: the agents' report.
pub fn settle(cx: &mut Cx<'_>, id: &str) {
    let now = cx.now;
    cx.state.edit(Table::FloatingIps, id, |doc| {
        let status = if doc.has("port_id") { "ACTIVE" } else { "DOWN" };
        doc.set("status", status);
        touch(doc, now);
    });
}

/// Takes the floating IPs off a port that goes away.
pub fn let_go(cx: &mut Cx<'_>, port: &str) {
    let on_port: Vec<String> =
        cx.state.find(Table::FloatingIps, "port_id", port).map(|doc| doc.text("id").to_owned()).collect();
    let now = cx.now;
    for id in on_port {
        cx.state.edit(Table::FloatingIps, &id, |doc| {
            for key in ["port_id", "router_id", "fixed_ip_address"] {
                doc.set(key, Json::Null);
            }
            doc.set("status", "DOWN");
            doc.unset("_due");
            touch(doc, now);
        });
    }
}

/// Removes a floating IP and frees its address.
pub fn remove(cx: &mut Cx<'_>, id: &str) {
    let Some(doc) = cx.state.remove(Table::FloatingIps, id) else { return };
    let network = doc.text("floating_network_id");
    let subnet = cx.state.find(Table::Subnets, "network_id", network).next().map(|subnet| subnet.text("id").to_owned());
    addresses::give_back(cx.state, &subnet.unwrap_or_default(), doc.text("floating_ip_address"));
}
