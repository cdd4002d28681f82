//! A server's ports: those the user brought, those Nova makes, and attaching more of them.

use std::net::IpAddr;

use http::Method;
use serde_json::json;

use super::{servers, view};
use crate::embedded::neutron::ports;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, is_uuid, repr};
use crate::model::Json;

/// What a new server is to be connected to, checked.
pub enum Networks {
    /// Nothing.
    None,
    /// Ports of the user (`port`) and ports to be made on networks (`uuid`, `fixed_ip`).
    Some(Vec<Json>),
}

/// Reads and checks `networks`.
pub fn wanted(cx: &Cx<'_>, networks: Option<&Json>) -> Result<Networks, Fault> {
    match networks {
        Some(Json::String(text)) if text == "none" => Ok(Networks::None),
        None | Some(Json::Null) => the_only_one(cx),
        Some(Json::String(text)) if text == "auto" => the_only_one(cx),
        Some(Json::Array(entries)) if entries.is_empty() => the_only_one(cx),
        Some(entries @ Json::Array(_)) if entries.as_array().is_some_and(|all| !all.iter().all(well_formed)) => {
            let why = format!("{} is not valid under any of the given schemas", repr(entries));
            Err(super::invalid("networks", entries, &why))
        }
        Some(Json::Array(entries)) => {
            for entry in entries {
                check(cx, entry)?;
            }
            Ok(Networks::Some(entries.clone()))
        }
        Some(other) => {
            let why = format!("{} is not valid under any of the given schemas", repr(other));
            Err(super::invalid("networks", other, &why))
        }
    }
}

/// Whether an entry is a port's or a network's id, with an address if any.
fn well_formed(entry: &Json) -> bool {
    let id = entry.get("port").filter(|port| !port.is_null()).or_else(|| entry.get("uuid"));
    let address = entry.get("fixed_ip").filter(|address| !address.is_null());
    id.and_then(Json::as_str).is_some_and(is_uuid)
        && address.is_none_or(|address| address.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok()))
}

/// The project's only network; Nova does not choose between several.
fn the_only_one(cx: &Cx<'_>) -> Result<Networks, Fault> {
    let own: Vec<&Json> = cx.state.all(Table::Networks).filter(|network| cx.owns(network)).collect();
    let shared = || cx.state.all(Table::Networks).filter(|network| network.flag("shared")).collect();
    let candidates: Vec<&Json> = if own.is_empty() { shared() } else { own };
    match candidates.as_slice() {
        [] => Ok(Networks::None),
        [one] => Ok(Networks::Some(vec![json!({"uuid": one["id"]})])),
        _ => Err(Fault::conflict("Multiple possible networks found, use a Network ID to be more specific.")),
    }
}

fn check(cx: &Cx<'_>, entry: &Json) -> Result<(), Fault> {
    let (port, network) = (entry.text("port"), entry.text("uuid"));
    if !port.is_empty() {
        // A port that is not there is a mistake in the request here, and a missing object when a port is attached.
        return check_port(cx, port).map_err(|fault| match fault.status {
            404 => Fault::bad(fault.message),
            _ => fault,
        });
    }
    let found = cx
        .state
        .get(Table::Networks, network)
        .filter(|doc| cx.owns(doc) || doc.flag("shared") || doc.flag("router:external"));
    let found = found.ok_or_else(|| Fault::bad(format!("Network {network} could not be found.")))?;
    if found.list("subnets").is_empty() {
        let text = format!("Network {network} requires a subnet in order to boot instances on.");
        return Err(Fault::bad(text));
    }
    Ok(())
}

fn check_port(cx: &Cx<'_>, id: &str) -> Result<(), Fault> {
    let port = ports::find(cx, id).map_err(|_| Fault::missing(format!("Port id {id} could not be found.")))?;
    if port.has("device_id") && !port.text("device_id").is_empty() {
        return Err(Fault::conflict(format!("Port {id} is still in use.")));
    }
    if port.list("fixed_ips").is_empty() {
        return Err(Fault::bad(format!("Port {id} requires a FixedIP in order to be used.")));
    }
    Ok(())
}

/// The ids of the groups named, which the ports that Nova makes are to have; none named is the default.
pub fn groups(cx: &Cx<'_>, named: &[Json]) -> Result<Vec<Json>, Fault> {
    named
        .iter()
        .map(|group| group.text("name"))
        .filter(|name| *name != "default")
        .map(|name| group(cx, name).map(Json::from))
        .collect()
}

/// The id of the project's group of that name or id.
pub fn group(cx: &Cx<'_>, name: &str) -> Result<String, Fault> {
    if cx.state.get(Table::Groups, name).is_some_and(|doc| cx.owns(doc)) {
        return Ok(name.to_owned());
    }
    let mut found = cx.state.find(Table::Groups, "name", name).filter(|doc| cx.owns(doc));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.text("id").to_owned()),
        (None, _) => Err(Fault::bad(format!("Unable to find security_group with name or id '{name}'"))),
        _ => Err(Fault::conflict(format!(
            "Multiple security_group matches found for name '{name}', use an ID to be more specific."
        ))),
    }
}

/// Takes or makes a server's ports, and gives their ids; and why one could not be had, which Nova finds out only while
/// it builds. A port of the user that cannot be had refuses the server, and those taken before are given back.
pub fn take(
    cx: &mut Cx<'_>,
    server: &str,
    networks: &Networks,
    groups: &[Json],
) -> Result<(Vec<Json>, Option<String>), Fault> {
    let Networks::Some(entries) = networks else { return Ok((Vec::new(), None)) };
    let (mut taken, mut failed): (Vec<String>, _) = (Vec::new(), None);
    for entry in entries {
        match take_one(cx, server, entry, groups) {
            Ok(id) => taken.push(id),
            Err(fault) if fault.status == 500 => {
                let why = match fault.kind {
                    "outside" => fault.message,
                    _ => "Failed to allocate the network(s), not rescheduling.".to_owned(),
                };
                failed = Some(format!("Build of instance {server} aborted: {why}"));
            }
            Err(fault) => {
                taken.iter().for_each(|id| ports::unbind(cx, id));
                return Err(fault);
            }
        }
    }
    Ok((taken.into_iter().map(Json::from).collect(), failed))
}

/// Whose port has the address.
fn holder(cx: &Cx<'_>, network: &str, address: &str) -> String {
    let has = |port: &&Json| port.list("fixed_ips").iter().any(|fixed| fixed.text("ip_address") == address);
    let port = cx.state.find(Table::Ports, "network_id", network).find(has);
    port.map(|port| port.text("device_id").to_owned()).unwrap_or_default()
}

/// Takes or makes one port. What Neutron refuses of a port to be made is a 500 here.
fn take_one(cx: &mut Cx<'_>, server: &str, entry: &Json, groups: &[Json]) -> Result<String, Fault> {
    let port = entry.text("port");
    if !port.is_empty() {
        check_port(cx, port)?;
        ports::bind(cx, port, server);
        return Ok(port.to_owned());
    }
    let mut body = json!({"network_id": entry["uuid"]});
    if entry.has("fixed_ip") {
        body.set("fixed_ips", json!([{"ip_address": entry["fixed_ip"]}]));
    }
    let network = cx.state.get(Table::Networks, entry.text("uuid"));
    let secure = network.is_some_and(|network| network.flag("port_security_enabled"));
    if !groups.is_empty() && secure {
        body.set("security_groups", groups.to_vec());
    }
    let made = ports::create(cx, &body);
    let made = made.map_err(|fault| match (fault.kind, entry.text("fixed_ip"), entry.text("uuid")) {
        ("IpAddressAlreadyAllocated", address, network) => {
            let holder = holder(cx, network, address);
            Fault::bad(format!("Fixed IP address {address} is already in use on instance {holder}."))
        }
        ("InvalidIpForNetwork", address, network) => {
            let text =
                format!("Invalid input received: Fixed IP {address} is not a valid ip address for network {network}.");
            Fault::named(500, "outside", text)
        }
        ("OverQuota", _, _) => Fault::forbidden("Maximum number of ports exceeded"),
        _ => Fault::new(500, fault.message),
    })?;
    let id = made.text("id").to_owned();
    cx.state.edit(Table::Ports, &id, |doc| doc.set("_nova", true));
    ports::bind(cx, &id, server);
    Ok(id)
}

fn interface(cx: &Cx<'_>, port: &Json) -> Json {
    let mut view = json!({"net_id": port["network_id"], "port_id": port["id"], "mac_addr": port["mac_address"],
                          "port_state": port["status"], "fixed_ips": port["fixed_ips"]});
    if cx.at_least(70) {
        view.set("tag", Json::Null);
    }
    view
}

/// Answers `/servers/{id}/os-interface…`.
pub fn handle(cx: &mut Cx<'_>, server: &str, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    let doc = servers::find(cx, server)?;
    match (&method, path) {
        (&Method::GET, []) => {
            let all: Vec<Json> = view::ports(cx, &doc).map(|port| interface(cx, port)).collect();
            Ok(Reply::ok(json!({"interfaceAttachments": all})))
        }
        (&Method::GET, [port]) => {
            let found = view::ports(cx, &doc).find(|doc| doc.text("id") == *port).map(|port| interface(cx, port));
            let found = found.ok_or_else(|| Fault::missing(format!("Port id {port} could not be found.")))?;
            Ok(Reply::ok(json!({"interfaceAttachment": found})))
        }
        (&Method::POST, []) => attach(cx, &doc),
        (&Method::DELETE, [port]) => {
            // Nova takes the request and finds out later that there is no such port.
            if view::ports(cx, &doc).any(|doc| doc.text("id") == *port) {
                ports::unbind(cx, port);
            }
            cx.state.edit(Table::Servers, server, |doc| doc.retain("ports", |id| id != port));
            Ok(Reply::empty(202))
        }
        _ => Err(Fault::no_route()),
    }
}

fn attach(cx: &mut Cx<'_>, doc: &Json) -> Answer {
    let (id, state) = (doc.text("id"), doc.text("vm_state"));
    if !["active", "stopped", "paused"].contains(&state) {
        let text = format!("Cannot 'attach_interface' instance {id} while it is in vm_state {state}");
        return Err(Fault::conflict(text));
    }
    let body = cx.call.json().unwrap_or_default();
    let asked = body.get("interfaceAttachment").cloned().unwrap_or_default();
    if asked.has("port_id") && asked.has("net_id") {
        return Err(Fault::bad("Must not input both network_id and port_id"));
    }
    let mut entry = json!({});
    match (asked.text("port_id"), asked.text("net_id")) {
        ("", "") => entry = json!({"uuid": null}),
        ("", network) => entry.set("uuid", network),
        (port, _) => entry.set("port", port),
    }
    if let Some(fixed) = asked.list("fixed_ips").first() {
        entry.set("fixed_ip", fixed["ip_address"].clone());
    }
    if entry.has("port") {
        check_port(cx, entry.text("port"))?;
    } else if entry.has("uuid") {
        // It is the hypervisor's host that finds it missing, and Nova does not pass on what that says.
        check(cx, &entry).map_err(|_| {
            Fault::new(
                500,
                "Unexpected API Error. Please report this at http://bugs.launchpad.net/nova/ and attach the Nova API log \
                 if possible.\n<class 'oslo_messaging.rpc.client.RemoteError'>",
            )
        })?;
    } else if let Networks::Some(mut only) = the_only_one(cx)? {
        entry = only.pop().unwrap_or_default();
    }
    let port = take_one(cx, id, &entry, &[])?;
    ports::set_status(cx, &port, "ACTIVE");
    cx.state.edit(Table::Servers, id, |doc| doc.push("ports", json!(port)));
    let shown = cx.state.get(Table::Ports, &port).map(|port| interface(cx, port)).unwrap_or_default();
    Ok(Reply::ok(json!({"interfaceAttachment": shown})))
}
