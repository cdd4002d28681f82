//! What a lease becomes by itself: it starts, it ends, and its end takes with it what stood on it.

use serde_json::json;

use crate::embedded::neutron::{floatingips, networks};
use crate::embedded::nova;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Cx, Who};
use crate::model::Json;

/// Seconds from the start to STARTING.
pub const TO_STARTING: f64 = 0.4;
/// Seconds from STARTING to ACTIVE.
const TO_ACTIVE: f64 = 0.6;

/// Carries out what is due for a lease.
pub fn lease(cx: &mut Cx<'_>, id: &str) {
    let Some(mut lease) = cx.state.get(Table::Leases, id).cloned() else { return };
    match lease.text("status") {
        "PENDING" => {
            lease.set("status", "STARTING");
            lease.set("_due", cx.after(TO_ACTIVE));
        }
        "STARTING" => {
            start(cx, &mut lease);
            lease.set("status", "ACTIVE");
            mark(cx, &mut lease, "active", "start_lease");
            lease.set("_due", lease.int("_end").max(cx.now));
        }
        "ACTIVE" => {
            release(cx, &lease);
            lease.set("status", "TERMINATED");
            mark(cx, &mut lease, "deleted", "end_lease");
        }
        _ => return,
    }
    lease.set("_updated", cx.now);
    cx.state.put(Table::Leases, id, lease);
}

fn mark(cx: &Cx<'_>, lease: &mut Json, status: &str, event: &str) {
    for one in lease.get_mut("reservations").and_then(Json::as_array_mut).into_iter().flatten() {
        one.set("status", status);
        one.set("_updated", cx.now);
    }
    for one in lease.get_mut("events").and_then(Json::as_array_mut).into_iter().flatten() {
        if one.text("event_type") == event {
            one.set("status", "DONE");
            one.set("_updated", cx.now);
        }
    }
}

fn start(cx: &mut Cx<'_>, lease: &mut Json) {
    cx.who = Who {
        user_id: lease.text("user_id").to_owned(),
        project_id: lease.text("project_id").to_owned(),
        ..Who::default()
    };
    let project = lease["project_id"].clone();
    for one in lease.get_mut("reservations").and_then(Json::as_array_mut).into_iter().flatten() {
        if one.text("resource_type") == "network" {
            let network = networks::make(cx, &json!({"name": one["network_name"]}));
            one.set("network_id", network["id"].clone());
        }
        let id = one.text("id");
        if one.text("resource_type") == "flavor:instance" {
            let class = format!("resources:CUSTOM_RESERVATION_{}", id.to_uppercase().replace('-', "_"));
            let flavor = json!({
                "id": id, "name": format!("reservation:{id}"), "vcpus": one["vcpus"], "ram": one["memory_mb"],
                "disk": one["disk_gb"], "public": false, "project_id": project, "_amount": one["amount"],
                "extra_specs": {"aggregate_instance_extra_specs:reservation": id, class: "1"},
            });
            cx.state.put(Table::Flavors, id, flavor);
        }
        for address in one.list("_addresses").iter().filter_map(Json::as_str) {
            let tags = json!(["blazar", format!("reservation:{id}")]);
            floatingips::make_reserved(cx, one.text("network_id"), address, tags);
        }
    }
}

/// Deletes what stands on the lease: its servers, its flavors, its floating IPs, its networks.
pub fn release(cx: &mut Cx<'_>, lease: &Json) {
    for one in lease.list("reservations") {
        let id = one.text("id");
        let servers: Vec<String> =
            cx.state.find(Table::Servers, "_flavor", id).map(|server| server.text("id").to_owned()).collect();
        for server in servers {
            nova::settle::remove(cx, &server);
        }
        cx.state.remove(Table::Flavors, id);
        let tag = format!("reservation:{id}");
        let addresses: Vec<String> = cx
            .state
            .find(Table::FloatingIps, "project_id", lease.text("project_id"))
            .filter(|doc| doc.list("tags").iter().any(|one| *one == tag))
            .map(|doc| doc.text("id").to_owned())
            .collect();
        for address in addresses {
            floatingips::remove(cx, &address);
        }
        if one.text("resource_type") == "network" {
            networks::remove(cx, one.text("network_id"));
        }
    }
}
