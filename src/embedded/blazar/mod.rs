//! Blazar: leases of flavors, hosts and floating IPs.

pub mod leases;
pub mod reservations;
pub mod settle;

use http::Method;
use serde_json::json;

use super::catalogue::{self, HOSTS, Profile, fixed_id, public_network, reservable_addresses};
use super::clock;
use super::keystone::{tokens, unauthorized};
use super::tables::Fields;
use super::wire::{Answer, Body, Cx, Fault, Reply, new_id};
use crate::model::Json;

/// Answers a request to Blazar.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Reply {
    let Some(token) = tokens::of_request(cx) else { return unauthorized(cx) };
    cx.who = tokens::who(&token);
    let method = cx.call.method.clone();
    let answer = match (&method, path) {
        _ if cx.call.unstorable() => Err(Fault::named(500, "internal", "")),
        // Blazar falls over a token for no project.
        _ if cx.who.project_id.is_empty() => Err(crash()),
        (_, ["v1", "leases", rest @ ..]) => leases::handle(cx, rest),
        (&Method::GET, ["v1", "os-hosts"]) => Ok(Reply::ok(json!({"hosts": hosts(cx)}))),
        (&Method::GET, ["v1", "os-hosts", id]) => host(cx, id),
        (&Method::GET, ["v1", "floatingips"]) => Ok(Reply::ok(json!({"floatingips": floating_ips(cx)}))),
        _ => Err(Fault::no_route()),
    };
    let versioned = !matches!(&answer, Err(fault) if fault.kind == "route" || fault.status == 405);
    let mut reply = answer.unwrap_or_else(|fault| refuse(&fault));
    if versioned {
        reply = reply.header("vary", "OpenStack-API-Version").header("openstack-api-version", "reservation 1.0");
    }
    if matches!(reply.body, Body::Empty) {
        reply = reply.header("content-type", "application/json");
    }
    reply.header("x-openstack-request-id", format!("req-{}", new_id()))
}

/// The answer where Blazar falls over what it is asked.
#[must_use]
pub fn crash() -> Fault {
    Fault::named(500, "crash", "")
}

fn refuse(fault: &Fault) -> Reply {
    let status = fault.status;
    let body = match (fault.kind, status) {
        ("route", _) => {
            let text = "The requested URL was not found on the server. If you entered the URL manually please check your \
                        spelling and try again.";
            json!({"error": 404, "error_message": text})
        }
        (_, 405) => json!({"error": 405, "error_message": "The method is not allowed for the requested URL."}),
        ("crash", _) => {
            let text = "The server encountered an internal error and was unable to complete your request. Either the server \
                        is overloaded or there is an error in the application.";
            json!({"error": 500, "error_message": text})
        }
        ("internal", _) => {
            json!({"error_code": 500, "error_message": "Internal Server Error", "error_name": "INTERNAL_SERVER_ERROR"})
        }
        _ => json!({"error_code": status, "error_message": fault.message, "error_name": status}),
    };
    Reply::json(status, body)
}

/// The hosts that can be reserved here: name and `node_type`.
#[must_use]
pub fn inventory(profile: Profile) -> &'static [(&'static str, &'static str)] {
    match profile {
        Profile::ChameleonChi => &HOSTS,
        Profile::ChameleonKvm => &[],
    }
}

fn hosts(cx: &Cx<'_>) -> Vec<Json> {
    let made = clock::spaced(catalogue::EPOCH);
    let all = inventory(cx.profile).iter().enumerate().map(|(number, (name, node_type))| {
        let uid = fixed_id("host", name);
        json!({
            "id": (number + 1).to_string(), "uid": uid, "hypervisor_hostname": uid, "name": name, "node_name": name,
            "node_type": node_type, "hypervisor_type": "ironic", "hypervisor_version": 1, "vcpus": 48,
            "memory_mb": 131_072, "local_gb": 200, "cpu_info": "", "service_name": "ironic", "reservable": true,
            "trust_id": null, "status": null, "created_at": made, "updated_at": null,
        })
    });
    all.collect()
}

fn host(cx: &Cx<'_>, id: &str) -> Answer {
    let found = hosts(cx).into_iter().find(|host| host.text("id") == id);
    let found = found.ok_or_else(|| Fault::missing(format!("Object with {{'host_id': '{id}'}} not found")))?;
    Ok(Reply::ok(json!({"host": found})))
}

fn floating_ips(cx: &Cx<'_>) -> Vec<Json> {
    let made = clock::spaced(catalogue::EPOCH);
    let all = reservable_addresses(cx.state).into_iter().map(|address| {
        json!({"id": fixed_id("reservable address", &address), "floating_network_id": public_network(),
               "subnet_id": fixed_id("subnet", "public"), "floating_ip_address": address, "reservable": true,
               "created_at": made, "updated_at": null})
    });
    all.collect()
}
