//! Nova: flavors, keypairs, servers, what is attached to them.

pub mod actions;
pub mod attachments;
pub mod create;
pub mod flavors;
pub mod interfaces;
pub mod keypairs;
pub mod keys;
pub mod quotas;
pub mod servers;
pub mod settle;
pub mod view;

use http::Method;
use serde_json::json;

use super::catalogue;
use super::clock;
use super::keystone::{tokens, unauthorized};
use super::tables::Fields;
use super::wire::{Answer, Body, Cx, Fault, Origin, PageError, Reply, link, new_id, repr};
use crate::model::Json;

const NEWEST: (u32, u32) = (2, 100);

/// Answers a request to Nova.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Reply {
    if path.is_empty() {
        return Reply::ok(json!({"versions": [version_entry(cx, "v2.0"), version_entry(cx, "v2.1")]}));
    }
    let request = format!("req-{}", new_id());
    cx.version = (2, 1);
    let (reply, origin) = answer(cx, path);
    let reply = match (&reply.body, reply.status) {
        _ if origin == Origin::Outside => reply,
        (Body::Json(_), 400..) => reply.header("content-type", "application/json; charset=UTF-8"),
        (Body::Empty, _) => reply.header("content-type", "application/json"),
        _ => reply,
    };
    let reply = if origin != Origin::Versioned {
        reply
    } else {
        let version = format!("{}.{}", cx.version.0, cx.version.1);
        reply
            .header("openstack-api-version", format!("compute {version}"))
            .header("x-openstack-nova-api-version", version)
            .header("vary", "OpenStack-API-Version")
            .header("vary", "X-OpenStack-Nova-API-Version")
    };
    reply.header("x-openstack-request-id", request.as_str()).header("x-compute-request-id", request)
}

fn answer(cx: &mut Cx<'_>, path: &[&str]) -> (Reply, Origin) {
    if let ["v2.1" | "v2"] = path {
        return (Reply::ok(version_document(cx)), Origin::Versioned);
    }
    let Some(token) = tokens::of_request(cx) else { return (unauthorized(cx), Origin::Outside) };
    cx.who = tokens::who(&token);
    if let Err(fault) = negotiate(cx) {
        return (refuse(&fault), if fault.status == 400 { Origin::Unversioned } else { Origin::Versioned });
    }
    let answer = match path {
        // A token for no project passes no policy.
        ["v2.1", collection, rest @ ..] if cx.who.project_id.is_empty() => {
            let what = if rest.is_empty() { "index" } else { rest[0] };
            Err(not_allowed(&format!("{collection}:{what}")))
        }
        ["v2.1", project, rest @ ..] if *project == cx.who.project_id => route(cx, rest),
        ["v2.1", rest @ ..] => route(cx, rest),
        _ => Err(Fault::no_route()),
    };
    let outside = matches!(&answer, Err(fault) if fault.kind == "route");
    (answer.unwrap_or_else(|fault| refuse(&fault)), if outside { Origin::Outside } else { Origin::Versioned })
}

fn negotiate(cx: &mut Cx<'_>) -> Result<(), Fault> {
    let new = cx.call.header("openstack-api-version").and_then(|text| text.trim().strip_prefix("compute "));
    let Some(asked) = new.or_else(|| cx.call.header("x-openstack-nova-api-version")) else { return Ok(()) };
    if asked == "latest" {
        cx.version = NEWEST;
        return Ok(());
    }
    let read = asked.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let version: (u32, u32) = read.ok_or_else(|| {
        Fault::bad(format!("API Version String {asked} is of invalid format. Must be of format MajorNum.MinorNum."))
    })?;
    cx.version = version;
    if (2, 1) <= version && version <= NEWEST {
        return Ok(());
    }
    let text = format!("Version {asked} is not supported by the API. Minimum is 2.1 and maximum is 2.{}.", NEWEST.1);
    Err(Fault::new(406, text))
}

fn version_entry(cx: &Cx<'_>, id: &str) -> Json {
    let old = id == "v2.0";
    json!({
        "id": id, "status": if old { "SUPPORTED" } else { "CURRENT" },
        "version": if old { String::new() } else { format!("2.{}", NEWEST.1) },
        "min_version": if old { "" } else { "2.1" },
        "updated": if old { "2011-01-21T11:33:21Z" } else { "2013-07-23T11:33:21Z" },
        "links": [link("self", format!("{}/compute/{}/", cx.call.base, if old { "v2" } else { id }))],
    })
}

fn version_document(cx: &Cx<'_>) -> Json {
    let mut entry = version_entry(cx, "v2.1");
    entry.push("links", json!({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}));
    let media = json!({"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"});
    entry.set("media-types", json!([media]));
    json!({"version": entry})
}

fn refuse(fault: &Fault) -> Reply {
    if fault.kind == "route" {
        let body = json!({"message": fault.message, "code": "404 Not Found", "title": "Not Found"});
        return Reply::json(404, body);
    }
    let name = match fault.status {
        400 => "badRequest",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "itemNotFound",
        405 => "badMethod",
        409 => "conflictingRequest",
        413 => "overLimit",
        _ => "computeFault",
    };
    Reply::json(fault.status, json!({name: {"code": fault.status, "message": fault.message}}))
}

fn route(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (_, ["servers", id, "os-volume_attachments", rest @ ..]) => attachments::handle(cx, id, rest),
        (_, ["servers", id, "os-interface", rest @ ..]) => interfaces::handle(cx, id, rest),
        (_, ["servers", rest @ ..]) => servers::handle(cx, rest),
        (_, ["flavors", rest @ ..]) => flavors::handle(cx, rest),
        (_, ["os-keypairs", rest @ ..]) => keypairs::handle(cx, rest),
        (&Method::GET, ["limits"]) => Ok(quotas::limits(cx)),
        (_, ["os-quota-sets", rest @ ..]) => quotas::handle(cx, rest),
        (&Method::GET, ["os-availability-zone"]) => {
            let zone = json!({"zoneName": "nova", "zoneState": {"available": true}, "hosts": null});
            Ok(Reply::ok(json!({"availabilityZoneInfo": [zone]})))
        }
        (&Method::GET, ["os-server-groups"]) => Ok(Reply::ok(json!({"server_groups": []}))),
        (&Method::GET, ["extensions"]) => Ok(Reply::ok(json!({"extensions": []}))),
        (&Method::GET, ["images", ..]) if cx.at_least(36) => Err(Fault::missing("The resource could not be found.")),
        (&Method::GET, ["images", rest @ ..]) => images(cx, rest),
        (&Method::GET, ["os-hypervisors"]) => Err(not_allowed("os-hypervisors:list")),
        (&Method::GET, ["os-hypervisors", "detail"]) => Err(not_allowed("os-hypervisors:list-detail")),
        (&Method::GET, ["os-services"]) => Err(not_allowed("os-services:list")),
        (&Method::GET, ["os-aggregates"]) => Err(not_allowed("os-aggregates:index")),
        (&Method::GET, ["os-availability-zone", "detail"]) => Err(not_allowed("os-availability-zone:detail")),
        _ => Err(Fault::no_route()),
    }
}

/// The old proxy of Glance, which some clients still ask.
fn images(cx: &Cx<'_>, path: &[&str]) -> Answer {
    let view = |image: &Json| {
        let id = image.text("id");
        let base = &cx.call.base;
        json!({"id": id, "name": image["name"], "minRam": 0, "minDisk": 0, "metadata": {}, "status": "ACTIVE",
               "created": clock::zulu(catalogue::EPOCH), "updated": clock::zulu(catalogue::EPOCH), "progress": 100,
               "OS-EXT-IMG-SIZE:size": image["size"],
               "links": [link("self", format!("{base}/compute/v2.1/images/{id}")),
                         link("bookmark", format!("{base}/compute/images/{id}"))]})
    };
    let images = catalogue::images(cx.profile);
    match path {
        [] => {
            let brief =
                images.iter().map(view).map(|one| json!({"id": one["id"], "name": one["name"], "links": one["links"]}));
            Ok(Reply::ok(json!({"images": brief.collect::<Vec<_>>()})))
        }
        ["detail"] => Ok(Reply::ok(json!({"images": images.iter().map(view).collect::<Vec<_>>()}))),
        [id] => {
            let found = images.iter().find(|image| image.text("id") == *id);
            let found = found.ok_or_else(|| Fault::missing("Image not found."))?;
            Ok(Reply::ok(json!({"image": view(found)})))
        }
        _ => Err(Fault::no_route()),
    }
}

/// The refusal of what the policy does not let a member do.
#[must_use]
pub fn not_allowed(rule: &str) -> Fault {
    Fault::forbidden(format!("Policy doesn't allow os_compute_api:{rule} to be performed."))
}

/// The refusal of a page that cannot be given; `marker` is what Nova says of a marker that is not there.
#[must_use]
pub fn no_page(cx: &Cx<'_>, error: PageError, marker: impl Fn(&str) -> String) -> Fault {
    match error {
        PageError::Limit => {
            let given = cx.call.param("limit").unwrap_or_default();
            Fault::bad(format!(
                "Invalid input for query parameters limit. Value: {given}. '{given}' does not match '^[0-9]*$'"
            ))
        }
        PageError::Marker(given) => Fault::bad(marker(&given)),
    }
}

/// The links of an object: `self` and `bookmark`.
#[must_use]
pub fn links(cx: &Cx<'_>, collection: &str, id: &str) -> Json {
    let base = &cx.call.base;
    json!([
        link("self", format!("{base}/compute/v2.1/{collection}/{id}")),
        link("bookmark", format!("{base}/compute/{collection}/{id}")),
    ])
}

/// The request's body.
pub fn body(cx: &Cx<'_>) -> Result<Json, Fault> {
    cx.call.json().ok_or_else(|| Fault::bad("Malformed request body"))
}

/// Refuses a name that is empty or too long.
pub fn check_name(name: &Json) -> Result<(), Fault> {
    match name.as_str() {
        Some("") => Err(invalid("name", name, "'' should be non-empty")),
        Some(text) if text.chars().count() > 255 => Err(invalid("name", name, &format!("'{text}' is too long"))),
        Some(text) if text.trim() != text || text.chars().any(|char| char.is_control() || char > '\u{ffff}') => {
            Err(Fault::bad(
                "An invalid 'name' value was provided. The name must be: printable characters. Can not start or end \
                 with whitespace.",
            ))
        }
        _ => Ok(()),
    }
}

/// The refusal of a body that the schema does not allow.
#[must_use]
pub fn invalid(field: &str, value: &Json, why: &str) -> Fault {
    let shown = value.as_str().map_or_else(|| repr(value), str::to_owned);
    Fault::bad(format!("Invalid input for field/attribute {field}. Value: {shown}. {why}"))
}
