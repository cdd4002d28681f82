//! A server as the API shows it, by microversion.

use std::net::IpAddr;

use serde_json::json;

use super::links;
use crate::embedded::catalogue::fixed_hex;
use crate::embedded::clock;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Cx, link};
use crate::model::Json;

/// The server in short.
#[must_use]
pub fn brief(cx: &Cx<'_>, doc: &Json) -> Json {
    json!({"id": doc["id"], "name": doc["name"], "links": links(cx, "servers", doc.text("id"))})
}

/// The server in full; `single` when it is shown alone.
#[must_use]
pub fn detail(cx: &Cx<'_>, doc: &Json, single: bool) -> Json {
    let id = doc.text("id");
    let launched = doc.has("launched").then(|| clock::naive(doc.int("launched")));
    let placed = doc.has("launched");
    let mut view = json!({
        "id": id, "name": doc["name"], "status": doc["status"], "tenant_id": doc["project_id"],
        "user_id": doc["user_id"], "metadata": doc["metadata"],
        "hostId": if placed { format!("{}{}", fixed_hex("host", "kvm"), &fixed_hex("host", id)[..24]) } else { String::new() },
        "image": image(cx, doc), "flavor": flavor(cx, doc), "created": clock::zulu(doc.int("created")),
        "updated": clock::zulu(doc.int("updated")), "addresses": addresses(cx, doc, true), "accessIPv4": "",
        "accessIPv6": "", "links": links(cx, "servers", id), "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": if placed { "nova" } else { "" },
        "config_drive": if doc.flag("config_drive") { "True" } else { "" }, "key_name": doc["key_name"],
        "OS-SRV-USG:launched_at": launched, "OS-SRV-USG:terminated_at": null,
        "OS-EXT-STS:task_state": doc["task_state"], "OS-EXT-STS:vm_state": doc["vm_state"],
        "OS-EXT-STS:power_state": doc["power_state"], "os-extended-volumes:volumes_attached": volumes(cx, doc),
    });
    // A list does not tell why a server that found no host failed.
    if doc.has("fault") && (single || placed) {
        view.set("fault", doc["fault"].clone());
    }
    if ["ACTIVE", "BUILD", "REBUILD"].contains(&doc.text("status")) {
        view.set("progress", 0);
    }
    let groups = group_names(cx, doc);
    if !groups.is_empty() && doc.text("status") != "BUILD" {
        view.set("security_groups", groups);
    }
    add_newer(cx, doc, single, &mut view);
    view
}

/// The server as the answer to changing it shows it: what extensions added is left out of it until 2.75.
#[must_use]
pub fn changed(cx: &Cx<'_>, doc: &Json) -> Json {
    let mut view = detail(cx, doc, true);
    if let Some(map) = view.as_object_mut().filter(|_| !cx.at_least(75)) {
        let added = ["OS-EXT-", "OS-SRV-USG:", "os-extended-volumes:", "config_drive", "key_name", "security_groups"];
        map.retain(|key, _| !added.iter().any(|prefix| key.starts_with(prefix)));
    }
    view
}

fn add_newer(cx: &Cx<'_>, doc: &Json, single: bool, view: &mut Json) {
    for (since, key, value) in [
        (9, "locked", json!(doc.flag("locked"))),
        (19, "description", doc["description"].clone()),
        (26, "tags", json!([])),
        (63, "trusted_image_certificates", Json::Null),
        (73, "locked_reason", Json::Null),
        (90, "OS-EXT-SRV-ATTR:hostname", doc["hostname"].clone()),
        (96, "pinned_availability_zone", doc["zone"].clone()),
        (100, "scheduler_hints", doc["hints"].clone()),
    ] {
        if cx.at_least(since) {
            view.set(key, value);
        }
    }
    if single && cx.at_least(71) {
        view.set("server_groups", json!([]));
    }
}

fn image(cx: &Cx<'_>, doc: &Json) -> Json {
    match doc.text("image") {
        "" => json!(""),
        id => {
            let mut view =
                json!({"id": id, "links": [link("bookmark", format!("{}/compute/images/{id}", cx.call.base))]});
            if cx.at_least(98) {
                let properties = json!({"base_image_ref": id, "container_format": "bare", "disk_format": "qcow2",
                                        "min_disk": doc["flavor"]["disk"].to_string(), "min_ram": "0"});
                view.set("properties", properties);
            }
            view
        }
    }
}

fn flavor(cx: &Cx<'_>, doc: &Json) -> Json {
    let flavor = &doc["flavor"];
    if cx.at_least(47) {
        return json!({"vcpus": flavor["vcpus"], "ram": flavor["ram"], "disk": flavor["disk"], "ephemeral": 0, "swap": 0,
                      "original_name": flavor["name"], "extra_specs": flavor["extra_specs"]});
    }
    let id = flavor.text("id");
    json!({"id": id, "links": [link("bookmark", format!("{}/compute/flavors/{id}", cx.call.base))]})
}

fn volumes(cx: &Cx<'_>, doc: &Json) -> Json {
    let all = doc.list("volumes").iter().map(|one| {
        let mut view = json!({"id": one["volume_id"]});
        if cx.at_least(3) {
            view.set("delete_on_termination", one["delete_on_termination"].clone());
        }
        view
    });
    Json::Array(all.collect())
}

fn version(address: &str) -> u8 {
    if address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) { 6 } else { 4 }
}

/// The ports of a server that are still there.
pub fn ports<'a>(cx: &'a Cx<'_>, doc: &'a Json) -> impl Iterator<Item = &'a Json> {
    doc.list("ports").iter().filter_map(|id| cx.state.get(Table::Ports, id.as_str()?))
}

/// The addresses by network; with kind and MAC address in a server's detail.
#[must_use]
pub fn addresses(cx: &Cx<'_>, doc: &Json, long: bool) -> Json {
    let mut by_network = json!({});
    if doc.text("status") == "BUILD" {
        return by_network;
    }
    for port in ports(cx, doc) {
        let network = cx.state.get(Table::Networks, port.text("network_id"));
        let name = network.map(|network| network.text("name")).unwrap_or_default();
        let mut put = |address: &str, kind: &str| {
            let mut entry = json!({"version": version(address), "addr": address});
            if long {
                entry.set("OS-EXT-IPS:type", kind);
                entry.set("OS-EXT-IPS-MAC:mac_addr", port["mac_address"].clone());
            }
            by_network.push(name, entry);
        };
        for fixed in port.list("fixed_ips") {
            put(fixed.text("ip_address"), "fixed");
        }
        for floating in cx.state.find(Table::FloatingIps, "port_id", port.text("id")) {
            put(floating.text("floating_ip_address"), "floating");
        }
    }
    by_network
}

fn group_names(cx: &Cx<'_>, doc: &Json) -> Vec<Json> {
    ports(cx, doc)
        .flat_map(|port| port.list("security_groups"))
        .filter_map(|id| cx.state.get(Table::Groups, id.as_str()?))
        .map(|group| json!({"name": group["name"]}))
        .collect()
}
