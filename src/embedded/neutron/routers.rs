//! Routers: a gateway to an external network, and interfaces on subnets.

use http::Method;
use serde_json::json;

use super::within_quota;
use super::{addresses, check_attributes, copy, document, list, networks, one, policy, ports, subnets, touch, wanted};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply};
use crate::model::Json;

const KNOWN: [&str; 11] = [
    "name",
    "description",
    "admin_state_up",
    "external_gateway_info",
    "routes",
    "availability_zone_hints",
    "tenant_id",
    "project_id",
    "ha",
    "distributed",
    "flavor_id",
];

/// Answers `/routers…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => {
            let own = cx.state.find(Table::Routers, "project_id", &cx.who.project_id);
            list(cx, "routers", own, Json::clone, missing)
        }
        (&Method::POST, []) => create(cx),
        (&Method::GET, [id]) => Ok(one(cx, 200, "router", find(cx, id)?)),
        (&Method::PUT, [id]) => update(cx, id),
        (&Method::DELETE, [id]) => delete(cx, id),
        (&Method::PUT, [id, "add_router_interface"]) => add_interface(cx, id),
        (&Method::PUT, [id, "remove_router_interface"]) => remove_interface(cx, id),
        (_, [_, _]) => Err(Fault::no_route()),
        _ => Err(Fault::new(405, "")),
    }
}

fn missing(id: &str) -> Fault {
    Fault::named(404, "RouterNotFound", format!("Router {id} could not be found"))
}

fn bad(text: &str) -> Fault {
    Fault::named(400, "BadRequest", format!("Bad router request: {text}"))
}

fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    cx.state.get(Table::Routers, id).filter(|doc| cx.owns(doc)).cloned().ok_or_else(|| missing(id))
}

fn interfaces<'a>(cx: &'a Cx<'_>, id: &str) -> impl Iterator<Item = &'a Json> + use<'a> {
    let ports = cx.state.find(Table::Ports, "device_id", id);
    ports.filter(|port| port.text("device_owner") == "network:router_interface")
}

/// Sets the gateway, taking an address on the external network for it.
fn set_gateway(cx: &mut Cx<'_>, doc: &mut Json, wanted: &Json) -> Result<(), Fault> {
    let Some(info) = wanted.get("external_gateway_info") else { return Ok(()) };
    let network_id = info.text("network_id");
    let old = doc["external_gateway_info"].clone();
    if old.text("network_id") == network_id && !network_id.is_empty() {
        return Ok(());
    }
    if needed_by_floating_ips(cx, doc) {
        let text = format!(
            "Gateway cannot be updated for router {}, since a gateway to external network {} is required by one or more \
             floating IPs.",
            doc.text("id"),
            old.text("network_id")
        );
        return Err(Fault::named(409, "RouterExternalGatewayInUseByFloatingIp", text));
    }
    for fixed in old.list("external_fixed_ips") {
        addresses::give_back(cx.state, fixed.text("subnet_id"), fixed.text("ip_address"));
    }
    if network_id.is_empty() {
        doc.set("external_gateway_info", Json::Null);
        return Ok(());
    }
    let network = networks::find(cx, network_id)?;
    if !network.flag("router:external") {
        return Err(bad(&format!("Network {network_id} is not an external network.")));
    }
    if info.has("external_fixed_ips") || info.has("enable_snat") {
        let which = if info.has("enable_snat") { "enable_snat" } else { "external_fixed_ips" };
        return Err(policy(&format!(
            "(rule:create_router and (rule:create_router:external_gateway_info and \
             (rule:create_router:external_gateway_info:network_id and \
             rule:create_router:external_gateway_info:{which})))"
        )));
    }
    let mut fixed = Vec::new();
    let subnet = cx.state.find(Table::Subnets, "network_id", network_id).next().cloned();
    if let Some((subnet, address)) = subnet
        .and_then(|subnet| Some((addresses::free(cx.state, &subnet)?, subnet)))
        .map(|(address, subnet)| (subnet, address))
    {
        addresses::take(cx.state, subnet.text("id"), &address, doc.text("id"));
        fixed.push(json!({"subnet_id": subnet["id"], "ip_address": address}));
    }
    let gateway = json!({"network_id": network_id, "external_fixed_ips": fixed, "enable_snat": true});
    doc.set("external_gateway_info", gateway);
    Ok(())
}

fn needed_by_floating_ips(cx: &Cx<'_>, doc: &Json) -> bool {
    let id = doc.text("id");
    let mut own = cx.state.find(Table::FloatingIps, "project_id", doc.text("project_id"));
    own.any(|address| address.text("router_id") == id)
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let wanted = wanted(cx, "router")?;
    check_attributes(&wanted, &KNOWN, &[])?;
    within_quota(cx, "router")?;
    let mut doc = json!({
        "name": "", "admin_state_up": true, "status": "ACTIVE", "external_gateway_info": null,
        "availability_zones": [], "availability_zone_hints": [], "routes": [], "flavor_id": null,
    });
    copy(&mut doc, &wanted, &["name", "description", "admin_state_up"]);
    let mut doc = document(cx, doc);
    set_gateway(cx, &mut doc, &wanted)?;
    cx.state.put(Table::Routers, doc.text("id"), doc.clone());
    Ok(one(cx, 201, "router", doc))
}

fn update(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut doc = find(cx, id)?;
    let wanted = wanted(cx, "router")?;
    check_attributes(&wanted, &KNOWN, &["tenant_id", "project_id", "availability_zone_hints"])?;
    set_gateway(cx, &mut doc, &wanted)?;
    copy(&mut doc, &wanted, &["name", "description", "admin_state_up", "routes"]);
    touch(&mut doc, cx.now);
    cx.state.put(Table::Routers, id, doc.clone());
    Ok(one(cx, 200, "router", doc))
}

fn delete(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut doc = find(cx, id)?;
    let ports: Vec<String> = interfaces(cx, id).map(|port| port.text("id").to_owned()).collect();
    if !ports.is_empty() {
        let text = format!("Router {id} has ports still attached: {}", ports.join(", "));
        return Err(Fault::named(409, "RouterInUse", text));
    }
    set_gateway(cx, &mut doc, &json!({"external_gateway_info": {}}))?;
    cx.state.remove(Table::Routers, id);
    Ok(Reply::empty(204))
}

fn interface_answer(doc: &Json, port: &Json) -> Reply {
    let subnet = port.list("fixed_ips").first().map(|fixed| fixed["subnet_id"].clone()).unwrap_or_default();
    Reply::ok(json!({
        "id": doc["id"], "tenant_id": doc["tenant_id"], "port_id": port["id"], "network_id": port["network_id"],
        "subnet_id": subnet, "subnet_ids": [subnet],
    }))
}

fn on_subnet(port: &Json, subnet: &str) -> bool {
    port.list("fixed_ips").iter().any(|fixed| fixed.text("subnet_id") == subnet)
}

fn add_interface(cx: &mut Cx<'_>, id: &str) -> Answer {
    let doc = find(cx, id)?;
    let body = cx.call.json().unwrap_or_default();
    let port = match (body.text("port_id"), body.text("subnet_id")) {
        ("", "") => return Err(bad("Either subnet_id or port_id must be specified.")),
        ("", subnet_id) => {
            let subnet = subnets::find(cx, subnet_id)?;
            if !subnet.has("gateway_ip") {
                return Err(bad("Subnet for router interface must have a gateway IP."));
            }
            if interfaces(cx, id).any(|port| on_subnet(port, subnet_id)) {
                return Err(bad(&format!("Router already has a port on subnet {subnet_id}.")));
            }
            let network = networks::find(cx, subnet.text("network_id"))?;
            if !cx.owns(&network) {
                return Err(bad(&format!(
                    "Cannot add interface to router because subnet {subnet_id} is not owned by project making the request."
                )));
            }
            let fixed = json!([{"subnet_id": subnet_id, "ip_address": subnet["gateway_ip"]}]);
            ports::create(
                cx,
                &json!({"network_id": network["id"], "fixed_ips": fixed, "port_security_enabled": false,
                                      "security_groups": []}),
            )?
        }
        (port_id, _) => {
            let port = ports::find(cx, port_id)?;
            let device = port.text("device_id");
            if !device.is_empty() {
                let text = format!(
                    "Unable to complete operation on port {port_id} for network {}. Port already has an attached device \
                     {device}.",
                    port.text("network_id")
                );
                return Err(Fault::named(409, "PortInUse", text));
            }
            port
        }
    };
    let now = cx.now;
    let port_id = port.text("id");
    cx.state.edit(Table::Ports, port_id, |port| {
        port.set("device_id", id);
        port.set("device_owner", "network:router_interface");
        port.set("status", "ACTIVE");
        touch(port, now);
    });
    cx.state.edit(Table::Routers, id, |doc| touch(doc, now));
    Ok(interface_answer(&doc, &port))
}

fn remove_interface(cx: &mut Cx<'_>, id: &str) -> Answer {
    let doc = find(cx, id)?;
    let body = cx.call.json().unwrap_or_default();
    let (port_id, subnet_id) = (body.text("port_id"), body.text("subnet_id"));
    if port_id.is_empty() && subnet_id.is_empty() {
        return Err(bad("Either subnet_id or port_id must be specified."));
    }
    let found = interfaces(cx, id)
        .find(|port| port.text("id") == port_id || (port_id.is_empty() && on_subnet(port, subnet_id)))
        .cloned();
    let port = found.ok_or_else(|| {
        if port_id.is_empty() {
            let text = format!("Router {id} has no interface on subnet {subnet_id}");
            Fault::named(404, "RouterInterfaceNotFoundForSubnet", text)
        } else {
            let text = format!("Router {id} does not have an interface with id {port_id}");
            Fault::named(404, "RouterInterfaceNotFound", text)
        }
    })?;
    let subnet = port.list("fixed_ips").first().map(|fixed| fixed.text("subnet_id").to_owned()).unwrap_or_default();
    let through = |address: &&Json| {
        let port = cx.state.get(Table::Ports, address.text("port_id"));
        address.text("router_id") == id && port.is_some_and(|port| on_subnet(port, &subnet))
    };
    if cx.state.find(Table::FloatingIps, "project_id", &cx.who.project_id).any(|address| through(&address)) {
        let text = format!(
            "Router interface for subnet {subnet} on router {id} cannot be deleted, as it is required by one or more \
             floating IPs."
        );
        return Err(Fault::named(409, "RouterInterfaceInUseByFloatingIP", text));
    }
    ports::remove(cx, port.text("id"));
    let now = cx.now;
    cx.state.edit(Table::Routers, id, |doc| touch(doc, now));
    Ok(interface_answer(&doc, &port))
}
