//! Cinder: volumes and their types.
//!
//! Its addresses come with and without a project id, as the two types of its catalog entry have them.

pub mod actions;
pub mod settle;
pub mod volumes;

use http::Method;
use serde_json::json;

use super::catalogue::{VOLUME_TYPES, fixed_id};
use super::keystone::{tokens, unauthorized};
use super::quota::{self, Quotas};
use super::tables::{Fields, Table};
use super::wire::{Answer, Body, Cx, Fault, Origin, Reply, link, new_id};
use crate::model::Json;

const NEWEST: (u32, u32) = (3, 71);

/// Answers a request to Cinder.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Reply {
    let request = format!("req-{}", new_id());
    cx.version = (3, 0);
    let (reply, origin) = match path {
        [] => (Reply { status: 300, ..versions(cx) }, Origin::Versioned),
        _ => inside(cx, path),
    };
    let (major, minor) = cx.version;
    // An answer without a body, but for that to an action, is not Cinder's own way of answering.
    let plain = reply.headers.iter().any(|(_, value)| value == HTML);
    let reply = match (&reply.body, origin) {
        (_, Origin::Outside) => reply,
        _ if plain => reply,
        (Body::Empty, _) if path.last() != Some(&"action") => reply.header("content-type", HTML),
        (Body::Empty, _) => {
            reply.header("content-type", "application/json").header("x-compute-request-id", request.as_str())
        }
        _ => reply.header("x-compute-request-id", request.as_str()),
    };
    let reply = if origin != Origin::Versioned {
        reply
    } else {
        reply.header("openstack-api-version", format!("volume {major}.{minor}")).header("vary", "OpenStack-API-Version")
    };
    reply.header("x-openstack-request-id", request)
}

/// The type of what is answered without a body.
const HTML: &str = "text/html; charset=UTF-8";

fn inside(cx: &mut Cx<'_>, path: &[&str]) -> (Reply, Origin) {
    let Some(token) = tokens::of_request(cx) else { return (unauthorized(cx), Origin::Outside) };
    cx.who = tokens::who(&token);
    let asked = cx.call.header("openstack-api-version").and_then(|text| text.strip_prefix("volume "));
    if let Err(fault) = negotiate(cx, asked.map(str::trim).map(str::to_owned)) {
        return (refuse(&fault), if fault.status == 400 { Origin::Unversioned } else { Origin::Versioned });
    }
    let answer = match path {
        ["v3"] => Ok(versions(cx)),
        _ if cx.call.unstorable() => {
            let why = "The server has either erred or is incapable of performing the requested operation.";
            Err(Fault::new(500, why))
        }
        ["v3", project, rest @ ..] if *project == cx.who.project_id => route(cx, rest),
        ["v3", project, _, ..] if project.len() == 32 && project.chars().all(|c| c.is_ascii_hexdigit()) => {
            Err(Fault::bad("Malformed request url"))
        }
        ["v3", rest @ ..] => route(cx, rest),
        _ => Err(Fault::no_route()),
    };
    let outside = matches!(&answer, Err(fault) if fault.kind == "route");
    (answer.unwrap_or_else(|fault| refuse(&fault)), if outside { Origin::Outside } else { Origin::Versioned })
}

fn negotiate(cx: &mut Cx<'_>, asked: Option<String>) -> Result<(), Fault> {
    let Some(asked) = asked else { return Ok(()) };
    if asked == "latest" {
        cx.version = NEWEST;
        return Ok(());
    }
    let read = asked.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let version: (u32, u32) = read.ok_or_else(|| {
        Fault::bad(format!("API Version String {asked} is of invalid format. Must be of format MajorNum.MinorNum."))
    })?;
    cx.version = version;
    if (3, 0) <= version && version <= NEWEST {
        return Ok(());
    }
    let text = format!("Version {asked} is not supported by the API. Minimum is 3.0 and maximum is 3.{}.", NEWEST.1);
    Err(Fault::new(406, text))
}

fn versions(cx: &Cx<'_>) -> Reply {
    let describe = json!({"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"});
    let href = format!("{}/volume/v3/", cx.call.base);
    Reply::ok(json!({"versions": [{
        "id": "v3.0", "status": "CURRENT", "version": format!("3.{}", NEWEST.1), "min_version": "3.0",
        "updated": "2023-08-31T00:00:00Z", "links": [describe, link("self", href)],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}],
    }]}))
}

fn refuse(fault: &Fault) -> Reply {
    if fault.kind == "route" {
        let body = json!({"message": fault.message, "code": "404 Not Found", "title": "Not Found"});
        return Reply::json(404, body);
    }
    let name = match fault.status {
        400 => "badRequest",
        403 => "forbidden",
        404 => "itemNotFound",
        409 => "conflictingRequest",
        413 => {
            let body = json!({"overLimit": {"code": 413, "message": fault.message, "retryAfter": "0"}});
            return Reply::json(413, body).header("retry-after", "0");
        }
        _ => "computeFault",
    };
    Reply::json(fault.status, json!({name: {"code": fault.status, "message": fault.message}}))
}

fn route(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (_, ["volumes", rest @ ..]) => volumes::handle(cx, rest),
        (&Method::GET, ["types", rest @ ..]) => types(rest),
        (&Method::GET, ["limits"]) => Ok(limits(cx)),
        (_, ["os-quota-sets", rest @ ..]) => quotas(cx, rest),
        (&Method::GET, ["os-availability-zone"]) => {
            let zone = json!({"zoneName": "nova", "zoneState": {"available": true}});
            Ok(Reply::ok(json!({"availabilityZoneInfo": [zone]})))
        }
        (&Method::GET, ["groups", ..]) if !cx.at_least(13) => Err(too_old()),
        (&Method::GET, ["attachments", ..]) if !cx.at_least(27) => Err(too_old()),
        (&Method::GET, ["messages"]) if !cx.at_least(3) => Err(too_old()),
        (&Method::GET, [empty @ ("snapshots" | "backups" | "groups" | "messages")])
        | (&Method::GET, [empty @ ("snapshots" | "backups" | "groups"), "detail"]) => {
            Ok(Reply::ok(json!({*empty: []})))
        }
        (&Method::GET, ["os-volume-transfer" | "volume-transfers", ..]) => Ok(Reply::ok(json!({"transfers": []}))),
        (&Method::GET, ["os-services"]) => Err(not_allowed("volume_extension:services:index")),
        (&Method::GET, ["qos-specs"]) => Err(not_allowed("volume_extension:qos_specs_manage:get_all")),
        (&Method::GET, ["scheduler-stats", ..]) => Err(not_allowed("scheduler_extension:scheduler_stats:get_pools")),
        (&Method::GET, ["snapshots", id]) => Err(Fault::missing(format!("Snapshot {id} could not be found."))),
        (&Method::GET, ["attachments"] | ["attachments", "detail"]) => Ok(attachments(cx)),
        (&Method::GET, ["extensions"]) => Ok(Reply::ok(json!({"extensions": []}))),
        _ => Err(Fault::no_route()),
    }
}

fn not_allowed(rule: &str) -> Fault {
    Fault::forbidden(format!("Policy doesn't allow {rule} to be performed."))
}

/// The refusal of what only newer microversions have.
fn too_old() -> Fault {
    Fault::missing("The resource could not be found.")
}

fn type_view(name: &str, description: &str) -> Json {
    json!({"id": type_id(name), "name": name, "is_public": true, "description": description, "extra_specs": {},
           "os-volume-type-access:is_public": true})
}

fn type_id(name: &str) -> String {
    fixed_id("volume type", name)
}

/// The type of that name or id, by its name.
pub fn find_type(wanted: &str) -> Result<&'static str, Fault> {
    let found = VOLUME_TYPES.iter().find(|(name, _)| *name == wanted || type_id(name) == wanted);
    let missing = || Fault::missing(format!("Volume type with name {wanted} could not be found."));
    found.map(|(name, _)| *name).ok_or_else(missing)
}

fn types(path: &[&str]) -> Answer {
    match path {
        [] => {
            let all: Vec<Json> = VOLUME_TYPES.iter().map(|(name, description)| type_view(name, description)).collect();
            Ok(Reply::ok(json!({"volume_types": all})))
        }
        ["default"] => {
            let (name, description) = VOLUME_TYPES[0];
            let mut view = type_view(name, description);
            view.unset("os-volume-type-access:is_public");
            Ok(Reply::ok(json!({"volume_type": view})))
        }
        [wanted] => {
            let found = VOLUME_TYPES.iter().find(|(name, _)| type_id(name) == *wanted || name == wanted);
            let missing = || Fault::missing(format!("Volume type {wanted} could not be found."));
            let (name, description) = found.ok_or_else(missing)?;
            Ok(Reply::ok(json!({"volume_type": type_view(name, description)})))
        }
        [_, "extra_specs"] => Ok(Reply::ok(json!({"extra_specs": {}}))),
        _ => Err(Fault::no_route()),
    }
}

fn limits(cx: &Cx<'_>) -> Reply {
    let project = &cx.who.project_id;
    let limit = |name| quota::limit(cx.state, project, Quotas::Volume, name);
    let used = |name| quota::used(cx.state, project, Quotas::Volume, name);
    Reply::ok(json!({"limits": {"rate": [], "absolute": {
        "maxTotalVolumes": limit("volumes"), "maxTotalSnapshots": limit("snapshots"),
        "maxTotalVolumeGigabytes": limit("gigabytes"), "maxTotalBackups": limit("backups"),
        "maxTotalBackupGigabytes": limit("backup_gigabytes"), "totalVolumesUsed": used("volumes"),
        "totalGigabytesUsed": used("gigabytes"), "totalSnapshotsUsed": 0, "totalBackupsUsed": 0,
        "totalBackupGigabytesUsed": 0,
    }}}))
}

fn quotas(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    let with_usage = cx.call.param("usage").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let (project, mut set) = match (&method, path) {
        (&Method::GET, [project, "defaults"]) => (*project, quota::limits(cx.state, "", Quotas::Volume)),
        (&Method::GET, [project]) if with_usage => {
            (*project, quota::usage(cx.state, project, Quotas::Volume, "in_use"))
        }
        (&Method::GET, [project]) => (*project, quota::limits(cx.state, project, Quotas::Volume)),
        (&Method::PUT, [_]) if !cx.who.operator => return Err(not_allowed("volume_extension:quotas:update")),
        (&Method::PUT, [project]) => {
            let wanted = cx.call.json().and_then(|body| body.get("quota_set").cloned()).unwrap_or_default();
            quota::change(cx.state, project, Quotas::Volume, &wanted);
            (*project, quota::limits(cx.state, project, Quotas::Volume))
        }
        _ => return Err(Fault::no_route()),
    };
    for name in VOLUME_TYPES.iter().map(|(name, _)| *name).chain(["__DEFAULT__"]) {
        let own = cx.state.find(Table::Volumes, "project_id", project).filter(|doc| doc.text("volume_type") == name);
        let (count, size) = own.fold((0, 0), |(count, size), doc| (count + 1, size + doc.int("size")));
        for (what, used) in [("volumes", count), ("gigabytes", size), ("snapshots", 0)] {
            let shown = if with_usage { json!({"limit": -1, "in_use": used, "reserved": 0}) } else { json!(-1) };
            set.set(&format!("{what}_{name}"), shown);
        }
    }
    set.set("id", project);
    Ok(Reply::ok(json!({"quota_set": set})))
}

fn attachments(cx: &Cx<'_>) -> Reply {
    let own = cx.state.find(Table::Volumes, "project_id", &cx.who.project_id);
    let all: Vec<Json> = own
        .flat_map(|volume| volume.list("attachments"))
        .map(|one| {
            json!({"id": one["attachment_id"], "status": "attached", "instance": one["server_id"],
                   "volume_id": one["volume_id"]})
        })
        .collect();
    Reply::ok(json!({"attachments": all}))
}
