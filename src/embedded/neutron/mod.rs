//! Neutron: networks, subnets, ports, security groups, routers, floating IPs.
//!
//! Documents are kept in the API's own shape, so a list is what is stored, filtered.

pub mod addresses;
pub mod floatingips;
pub mod groups;
pub mod networks;
pub mod ports;
pub mod routers;
pub mod rules;
pub mod subnets;

use std::net::IpAddr;

use http::Method;
use serde_json::json;

use super::clock;
use super::keystone::{tokens, unauthorized};
use super::quota::{self, Quotas};
use super::tables::{Fields, Table};
use super::wire::{Answer, Cx, Fault, PageError, Reply, is_uuid, link, new_id, page, repr};
use crate::model::Json;

/// The extensions that clients ask for before they use what the extension adds.
const EXTENSIONS: [&str; 26] = [
    "address-group",
    "allowed-address-pairs",
    "availability_zone",
    "default-subnetpools",
    "external-net",
    "extra_dhcp_opt",
    "ext-gw-mode",
    "fip-port-details",
    "net-mtu",
    "network_availability_zone",
    "pagination",
    "port-security",
    "port-security-groups-filtering",
    "project-id",
    "provider",
    "quota_details",
    "quotas",
    "router",
    "security-group",
    "sorting",
    "standard-attr-description",
    "standard-attr-revisions",
    "standard-attr-tag",
    "standard-attr-timestamp",
    "stateful-security-group",
    "subnet_allocation",
];

/// Parameters of a list that are not filters.
const PLAIN: [&str; 6] = ["limit", "marker", "page_reverse", "sort_key", "sort_dir", "fields"];

/// Answers a request to Neutron.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Reply {
    if path.is_empty() {
        let href = format!("{}/network/v2.0/", cx.call.base);
        return Reply::ok(json!({"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link("self", href)]}]}));
    }
    let request = format!("req-{}", new_id());
    let Some(token) = tokens::of_request(cx) else {
        return unauthorized(cx).header("x-openstack-request-id", request);
    };
    cx.who = tokens::who(&token);
    // Neutron has no document at the version's address without its slash.
    if path == ["v2.0"] && !cx.call.target.split('?').next().unwrap_or_default().ends_with('/') {
        return refuse(&Fault::no_route()).header("x-openstack-request-id", request);
    }
    let bare: Vec<&str> = path.iter().map(|segment| segment.strip_suffix(".json").unwrap_or(segment)).collect();
    let answer = match bare.as_slice() {
        _ if cx.call.unstorable() => {
            let why = "Request Failed: internal server error while processing your request.";
            Err(Fault::named(500, "HTTPInternalServerError", why))
        }
        ["v2.0", rest @ ..] => route(cx, rest),
        _ => Err(Fault::no_route()),
    };
    answer.unwrap_or_else(|fault| refuse(&fault)).header("x-openstack-request-id", request)
}

fn refuse(fault: &Fault) -> Reply {
    let (kind, message) = match (fault.kind, fault.status) {
        ("route", _) => ("HTTPNotFound", "The resource could not be found."),
        ("", 405) => (
            "HTTPMethodNotAllowed",
            "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        ),
        ("", 400) => ("HTTPBadRequest", fault.message.as_str()),
        ("", _) => ("HTTPForbidden", fault.message.as_str()),
        (kind, _) => (kind, fault.message.as_str()),
    };
    let body = json!({"NeutronError": {"type": kind, "message": message, "detail": ""}});
    Reply::json(fault.status, body)
}

/// The refusal of what the policy does not let a member do.
#[must_use]
pub fn policy(rule: &str) -> Fault {
    Fault::named(403, "PolicyNotAuthorized", format!("{rule} is disallowed by policy"))
}

fn route(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    match path {
        [] => Ok(resources(cx)),
        ["networks", rest @ ..] => with_tags(cx, Table::Networks, rest, networks::handle),
        ["subnets", rest @ ..] => with_tags(cx, Table::Subnets, rest, subnets::handle),
        ["ports", rest @ ..] => with_tags(cx, Table::Ports, rest, ports::handle),
        ["security-groups", rest @ ..] => with_tags(cx, Table::Groups, rest, groups::handle),
        ["security-group-rules", rest @ ..] => rules::handle(cx, rest),
        ["routers", rest @ ..] => with_tags(cx, Table::Routers, rest, routers::handle),
        ["floatingips", rest @ ..] => with_tags(cx, Table::FloatingIps, rest, floatingips::handle),
        ["quotas", rest @ ..] => quotas(cx, rest),
        ["extensions"] => {
            let all = EXTENSIONS.iter().map(|alias| extension(alias)).collect::<Vec<_>>();
            Ok(Reply::ok(json!({"extensions": all})))
        }
        ["extensions", alias] if EXTENSIONS.contains(alias) => Ok(Reply::ok(json!({"extension": extension(alias)}))),
        ["extensions", alias] => {
            let text = format!(
                "The resource could not be found.<br /><br />\nExtension with alias {alias} does not exist\n\n"
            );
            let body = json!({"message": text, "code": "404 Not Found", "title": "Not Found"});
            Ok(Reply::json(404, body))
        }
        ["availability_zones"] => Ok(Reply::ok(json!({"availability_zones": [
            {"name": "nova", "resource": "network", "state": "available"},
            {"name": "nova", "resource": "router", "state": "available"}]}))),
        [
            empty @ ("agents"
            | "subnetpools"
            | "address-groups"
            | "address-scopes"
            | "rbac-policies"
            | "network-ip-availabilities"
            | "flavors"
            | "service-providers"),
        ] => Ok(Reply::ok(json!({empty.replace('-', "_"): []}))),
        _ => Err(Fault::no_route()),
    }
}

fn resources(cx: &Cx<'_>) -> Reply {
    let all = ["network", "subnet", "subnetpool", "port"].map(|name| {
        let href = format!("{}/network/v2.0/{name}s", cx.call.base);
        json!({"name": name, "collection": format!("{name}s"), "links": [link("self", href)]})
    });
    Reply::ok(json!({"resources": all}))
}

fn extension(alias: &str) -> Json {
    json!({"name": alias, "alias": alias, "description": alias, "updated": "2012-10-05T10:00:00-00:00", "links": []})
}

fn quotas(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, [] | ["tenant" | "project"]) => Err(policy("rule:get_quota")),
        (&Method::GET, [project]) => Ok(Reply::ok(json!({"quota": quota::limits(cx.state, project, Quotas::Network)}))),
        (&Method::GET, [_, "default"]) => Ok(Reply::ok(json!({"quota": quota::limits(cx.state, "", Quotas::Network)}))),
        (&Method::GET, [project, "details"]) => {
            Ok(Reply::ok(json!({"quota": quota::usage(cx.state, project, Quotas::Network, "used")})))
        }
        (&Method::PUT, [_]) if !cx.who.operator => Err(policy("rule:update_quota")),
        (&Method::PUT, [project]) => {
            let wanted = wanted(cx, "quota")?;
            quota::change(cx.state, project, Quotas::Network, &wanted);
            Ok(Reply::ok(json!({"quota": quota::limits(cx.state, project, Quotas::Network)})))
        }
        _ => Err(Fault::new(405, "")),
    }
}

/// Refuses what would go over a quota.
pub fn within_quota(cx: &Cx<'_>, name: &str) -> Result<(), Fault> {
    match quota::exceeded(cx, Quotas::Network, name, 1) {
        None => Ok(()),
        Some(_) => Err(Fault::named(409, "OverQuota", format!("Quota exceeded for resources: ['{name}']."))),
    }
}

/// The body's member that the resource is under.
pub fn wanted(cx: &Cx<'_>, key: &str) -> Result<Json, Fault> {
    let body = cx.call.json().ok_or_else(|| Fault::bad("Body contains invalid data"))?;
    let member = body.get(key).filter(|member| member.is_object());
    member.cloned().ok_or_else(|| Fault::bad(format!("Unable to find '{key}' in request body")))
}

/// Refuses attributes that the resource does not have, or that cannot be changed once it is made.
pub fn check_attributes(wanted: &Json, known: &[&str], fixed: &[&str]) -> Result<(), Fault> {
    let Some(map) = wanted.as_object() else { return Ok(()) };
    let own = ["id", "status", "created_at", "updated_at", "revision_number"];
    if let Some(key) = map.keys().find(|key| !fixed.is_empty() && own.contains(&key.as_str())) {
        return Err(Fault::bad(format!("Cannot update read-only attribute {key}")));
    }
    let strange: Vec<String> =
        map.keys().filter(|key| !known.contains(&key.as_str())).map(|key| format!("'{key}'")).collect();
    if !strange.is_empty() {
        return Err(Fault::bad(format!("Unrecognized attribute(s) {}", strange.join(", "))));
    }
    if let Some(key) = map.keys().find(|key| fixed.contains(&key.as_str())) {
        return Err(Fault::bad(format!("Cannot update read-only attribute {key}")));
    }
    map.iter().try_for_each(|(key, value)| check_kind(key, value))
}

/// Refuses a value of the wrong kind.
fn check_kind(key: &str, value: &Json) -> Result<(), Fault> {
    let invalid = |why: String| Err(Fault::bad(format!("Invalid input for {key}. Reason: {why}")));
    match key {
        "name" | "description" | "device_id" | "device_owner" => match value {
            Json::String(text) if text.len() > 255 => invalid(format!("'{text}' exceeds maximum length of 255.")),
            Json::String(_) => Ok(()),
            other => invalid(format!("'{}' is not a valid string.", repr(other).trim_matches('\''))),
        },
        "admin_state_up" | "shared" | "port_security_enabled" | "enable_dhcp" | "stateful" if !value.is_boolean() => {
            let text = format!("Invalid input for operation: {} cannot be converted to boolean.", repr(value));
            Err(Fault::named(400, "InvalidInput", text))
        }
        "security_groups" | "dns_nameservers" | "host_routes" if !value.is_array() => {
            invalid(format!("{} is not a list.", repr(value)))
        }
        "fixed_ips" if !value.is_array() => invalid(format!("Invalid data format for fixed IP: {}.", repr(value))),
        "mac_address" => {
            let pairs: Vec<&str> = value.as_str().unwrap_or_default().split(':').collect();
            let whole =
                pairs.len() == 6 && pairs.iter().all(|pair| pair.len() == 2 && u8::from_str_radix(pair, 16).is_ok());
            if whole { Ok(()) } else { invalid(format!("{} is not a valid MAC address.", repr(value))) }
        }
        "network_id" | "floating_network_id" if !value.as_str().is_some_and(is_uuid) => {
            invalid(format!("{} is not a valid UUID.", repr(value)))
        }
        "ip_version" if ![4, 6].iter().any(|version| value == version) => {
            invalid(format!("{} is not in valid_values.", repr(value)))
        }
        "dns_nameservers" => {
            let addresses = value.as_array().into_iter().flatten();
            let no_address = |one: &&Json| one.as_str().is_none_or(|text| text.parse::<IpAddr>().is_err());
            match addresses.into_iter().find(no_address).map(repr) {
                Some(one) => invalid(format!("{one} is not a valid nameserver. {one} is not a valid IP address.")),
                None => Ok(()),
            }
        }
        "external_gateway_info" if !value.is_object() && !value.is_null() => {
            invalid(format!("{} is not a dictionary.", repr(value)))
        }
        _ => Ok(()),
    }
}

/// Refuses a request without an attribute that it needs.
pub fn require(wanted: &Json, key: &str) -> Result<(), Fault> {
    match wanted.get(key) {
        Some(_) => Ok(()),
        None => Err(Fault::bad(format!("Failed to parse request. Required attribute '{key}' not specified"))),
    }
}

/// A new document: what every resource of Neutron has, and the resource's own fields.
#[must_use]
pub fn document(cx: &Cx<'_>, own: Json) -> Json {
    let mut doc = own;
    let made = clock::zulu(cx.now);
    doc.set("id", new_id());
    doc.set("tenant_id", cx.who.project_id.as_str());
    doc.set("project_id", cx.who.project_id.as_str());
    if !doc.has("description") {
        doc.set("description", "");
    }
    doc.set("tags", json!([]));
    doc.set("created_at", made.as_str());
    doc.set("updated_at", made);
    doc.set("revision_number", 1);
    doc
}

/// Notes in a document that it was changed.
pub fn touch(doc: &mut Json, now: i64) {
    let revision = doc.int("revision_number") + 1;
    doc.set("revision_number", revision);
    doc.set("updated_at", clock::zulu(now));
}

/// Copies the fields that the request has.
pub fn copy(doc: &mut Json, wanted: &Json, fields: &[&str]) {
    for field in fields {
        if let Some(value) = wanted.get(*field) {
            doc.set(field, value.clone());
        }
    }
}

fn fits(doc: &Json, key: &str, values: &[&str]) -> bool {
    let fits_one = |value: &Json| match value {
        Json::String(text) => values.contains(&text.as_str()),
        Json::Bool(truth) => values.iter().any(|value| value.eq_ignore_ascii_case(&truth.to_string())),
        Json::Null => values.contains(&"") || values.contains(&"null"),
        other => values.contains(&other.to_string().as_str()),
    };
    match (key, doc.get(key)) {
        ("fixed_ips", Some(Json::Array(all))) => values.iter().all(|value| {
            let (field, text) = value.split_once('=').unwrap_or(("ip_address", value));
            all.iter().any(|one| one.text(field) == text)
        }),
        ("tags", Some(Json::Array(all))) => {
            values.iter().flat_map(|value| value.split(',')).all(|tag| all.iter().any(|one| one == tag))
        }
        (_, Some(Json::Array(all))) => all.iter().any(fits_one),
        (_, Some(value)) => fits_one(value),
        // Neutron leaves out of account what it does not know.
        (_, None) => true,
    }
}

/// The fields asked for, or all; never the cloud's own.
fn selected(view: Json, fields: &[&str]) -> Json {
    match view {
        Json::Object(map) => {
            let keep = |key: &str| !key.starts_with('_') && (fields.is_empty() || fields.contains(&key));
            Json::Object(map.into_iter().filter(|(key, _)| keep(key)).collect())
        }
        other => other,
    }
}

/// The answer to a list: the documents that fit the query, in pages if it asks for a limit.
pub fn list<'a>(
    cx: &Cx<'_>,
    key: &str,
    docs: impl Iterator<Item = &'a Json>,
    view: impl Fn(&Json) -> Json,
    missing: impl Fn(&str) -> Fault,
) -> Answer {
    let mut filters: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, _) in cx.call.query.iter().filter(|(name, _)| !PLAIN.contains(&name.as_str())) {
        if !filters.iter().any(|(known, _)| known == name) {
            filters.push((name, cx.call.params(name)));
        }
    }
    let found: Vec<&Json> = docs.filter(|doc| filters.iter().all(|(name, values)| fits(doc, name, values))).collect();
    let fields = cx.call.params("fields");
    let cut = page(cx.call, found, "id", usize::MAX).map_err(|error| match error {
        PageError::Limit => {
            let given = cx.call.param("limit").unwrap_or_default();
            let text = format!("Bad limit request: Limit must be an integer 0 or greater and not '{given}'.");
            Fault::named(400, "BadRequest", text)
        }
        PageError::Marker(marker) => missing(&marker),
    })?;
    let mut body = json!({key: cut.items.iter().map(|doc| selected(view(doc), &fields)).collect::<Vec<_>>()});
    // Every page of a list with a limit leads back, even the first one; a full one leads on.
    if cx.call.param("limit").is_some_and(|limit| !matches!(limit, "" | "0")) {
        let mut links = Vec::new();
        if let (true, Some(last)) = (cut.more, cut.items.last()) {
            links.push(link("next", cx.call.page_at(Some(last.text("id")))));
        }
        let first = cut.items.first().map(|first| first.text("id"));
        links.push(link("previous", format!("{}&page_reverse=True", cx.call.page_at(first))));
        body.set(&format!("{key}_links"), links);
    }
    Ok(Reply::ok(body))
}

/// The answer with one document.
#[must_use]
pub fn one(cx: &Cx<'_>, status: u16, key: &str, view: Json) -> Reply {
    Reply::json(status, json!({key: selected(view, &cx.call.params("fields"))}))
}

/// Answers `…/{id}/tags…`, and leaves the rest to the resource.
fn with_tags(cx: &mut Cx<'_>, table: Table, path: &[&str], rest: fn(&mut Cx<'_>, &[&str]) -> Answer) -> Answer {
    let [id, "tags", tag @ ..] = path else { return rest(cx, path) };
    let method = cx.call.method.clone();
    let mut tags = match cx.state.get(table, id).filter(|doc| cx.owns(doc)) {
        Some(doc) => doc.list("tags").to_vec(),
        None => return Err(Fault::named(404, "TagResourceNotFound", format!("Resource {id} could not be found."))),
    };
    let reply = match (&method, tag) {
        (&Method::GET, []) => return Ok(Reply::ok(json!({"tags": tags}))),
        (&Method::PUT, []) => {
            tags = cx.call.json().map(|body| body.list("tags").to_vec()).unwrap_or_default();
            Reply::ok(json!({"tags": tags}))
        }
        (&Method::DELETE, []) => {
            tags.clear();
            Reply::empty(204)
        }
        (&Method::PUT, [tag]) => {
            if !tags.iter().any(|known| known == tag) {
                tags.push(json!(tag));
            }
            Reply::json(201, Json::Null)
        }
        (&Method::DELETE, [tag]) if tags.iter().any(|known| known == tag) => {
            tags.retain(|known| known != tag);
            Reply::empty(204)
        }
        (_, [tag]) => return Err(Fault::named(404, "TagNotFound", format!("Tag {tag} could not be found."))),
        _ => return Err(Fault::new(405, "")),
    };
    let now = cx.now;
    cx.state.edit(table, id, |doc| {
        doc.set("tags", tags);
        touch(doc, now);
    });
    Ok(reply)
}
