//! Servers: listed, shown, renamed, deleted; their metadata.

use http::Method;
use serde_json::json;

use super::{actions, create, invalid, no_page, not_allowed, view};
use crate::embedded::metadata;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, link, page, repr};
use crate::model::Json;

/// The longest page.
const PAGE: usize = 1000;
/// Seconds to delete a server.
const DELETE: f64 = 0.5;

/// Answers `/servers…`, but for what is attached.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => list(cx, view::brief),
        (&Method::GET, ["detail"]) => list(cx, |cx, doc| view::detail(cx, doc, false)),
        (&Method::POST, []) => create::create(cx),
        (&Method::GET, [id]) => {
            let doc = find(cx, id)?;
            Ok(Reply::ok(json!({"server": view::detail(cx, &doc, true)})))
        }
        (&Method::PUT, [id]) => rename(cx, id),
        (&Method::DELETE, [id]) => {
            find(cx, id)?;
            begin_delete(cx, id);
            Ok(Reply::empty(204))
        }
        (_, [id, "metadata", rest @ ..]) => metadata(cx, id, rest),
        (&Method::POST, [id, "action"]) => actions::handle(cx, id),
        (&Method::POST, [id, "remote-consoles"]) => {
            find(cx, id)?;
            Ok(Reply::ok(json!({"remote_console": {"protocol": "vnc", "type": "novnc", "url": console(id)}})))
        }
        (&Method::GET, [id, "ips"]) => {
            let doc = find(cx, id)?;
            Ok(Reply::ok(json!({"addresses": view::addresses(cx, &doc, false)})))
        }
        (&Method::GET, [id, "os-security-groups"]) => security_groups(cx, id),
        (&Method::GET, [id, "tags"]) if cx.at_least(26) => find(cx, id).map(|_| Reply::ok(json!({"tags": []}))),
        (&Method::GET, [_, "tags" | "topology"]) => Err(Fault::missing("The resource could not be found.")),
        (&Method::GET, [id, "os-instance-actions"]) => find(cx, id).map(|_| Reply::ok(json!({"instanceActions": []}))),
        (&Method::GET, [_, "diagnostics"]) => Err(not_allowed("os-server-diagnostics")),
        (&Method::GET, [_, "migrations"]) => Err(not_allowed("servers:migrations:index")),
        (&Method::GET, [id, "os-server-password"]) => find(cx, id).map(|_| Reply::ok(json!({"password": ""}))),
        _ => Err(Fault::no_route()),
    }
}

/// Where a console would be.
#[must_use]
pub fn console(id: &str) -> String {
    format!("http://127.0.0.1:6080/vnc_auto.html?path=%3Ftoken%3D{id}")
}

/// The project's server of that id.
pub fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    let found = cx.state.get(Table::Servers, id).filter(|doc| cx.owns(doc)).cloned();
    found.ok_or_else(|| Fault::missing(format!("Instance {id} could not be found.")))
}

fn fits(cx: &Cx<'_>, doc: &Json, name: Option<&regex::Regex>) -> bool {
    let others = cx.call.query.iter().all(|(key, value)| match key.as_str() {
        "status" => doc.text("status").eq_ignore_ascii_case(value),
        "image" => doc.text("image") == value,
        "flavor" => doc["flavor"].text("id") == value,
        "uuid" => doc.text("id") == value,
        "key_name" => doc.text("key_name") == value,
        _ => true,
    });
    others && name.is_none_or(|name| name.is_match(doc.text("name")))
}

fn list(cx: &Cx<'_>, view: impl Fn(&Cx<'_>, &Json) -> Json) -> Answer {
    if cx.call.param("all_tenants").is_some_and(|text| !matches!(text, "0" | "False" | "false")) {
        let rule = if cx.call.path.last().is_some_and(|last| last == "detail") { "detail" } else { "index" };
        return Err(not_allowed(&format!("servers:{rule}:get_all_tenants")));
    }
    let name = match cx.call.param("name") {
        Some(text) => Some(regex::Regex::new(text).map_err(|_| {
            Fault::bad(format!("Invalid input for query parameters name. Value: {text}. '{text}' is not a 'regex'"))
        })?),
        None => None,
    };
    let own = cx.state.find(Table::Servers, "project_id", &cx.who.project_id).rev();
    let found: Vec<&Json> = own.filter(|doc| fits(cx, doc, name.as_ref())).collect();
    let cut = page(cx.call, found, "id", PAGE)
        .map_err(|error| no_page(cx, error, |marker| format!("marker [{marker}] not found")))?;
    let mut body = json!({"servers": cut.items.iter().map(|doc| view(cx, doc)).collect::<Vec<_>>()});
    if let (true, Some(last)) = (cut.more, cut.items.last()) {
        body.set("servers_links", json!([link("next", cx.call.next_page(last.text("id")))]));
    }
    Ok(Reply::ok(body))
}

fn rename(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut doc = find(cx, id)?;
    let body = cx.call.json().unwrap_or_default();
    let wanted = body.get("server").ok_or_else(|| Fault::bad("'server' is a required property"))?;
    let known = ["name", "description", "accessIPv4", "accessIPv6", "OS-DCF:diskConfig", "hostname"];
    if let Some(key) = wanted.as_object().and_then(|map| map.keys().find(|key| !known.contains(&key.as_str()))) {
        let why = format!("Additional properties are not allowed ('{key}' was unexpected)");
        return Err(invalid("server", wanted, &why));
    }
    if wanted.has("name") {
        super::check_name(&wanted["name"])?;
        doc.set("name", wanted["name"].clone());
    }
    if let Some(text) = wanted.get("description").filter(|_| cx.at_least(19)) {
        doc.set("description", text.clone());
    }
    doc.set("updated", cx.now);
    cx.state.put(Table::Servers, id, doc.clone());
    Ok(Reply::ok(json!({"server": view::changed(cx, &doc)})))
}

/// Begins to delete a server.
pub fn begin_delete(cx: &mut Cx<'_>, id: &str) {
    let due = cx.after(DELETE);
    let now = cx.now;
    cx.state.edit(Table::Servers, id, |doc| {
        if doc.text("task_state") != "deleting" {
            doc.set("task_state", "deleting");
            doc.set("updated", now);
            doc.set("_due", due);
        }
    });
}

/// Refuses metadata that is no text, or too long.
pub fn check_metadata(metadata: &Json) -> Result<(), Fault> {
    for (key, value) in metadata.as_object().into_iter().flatten() {
        match value.as_str() {
            None => return Err(invalid(key, value, &format!("{} is not of type 'string'", repr(value)))),
            Some(text) if text.chars().count() > 255 => {
                return Err(invalid(key, value, &format!("'{text}' is too long")));
            }
            Some(_) => {}
        }
    }
    metadata::check_keys(metadata, "-_:. ")
}

fn metadata(cx: &mut Cx<'_>, id: &str, path: &[&str]) -> Answer {
    let doc = find(cx, id)?;
    let no_key = |_: &str| Fault::missing("Metadata item was not found");
    let words = metadata::Words { table: Table::Servers, check: check_metadata, no_key: &no_key, deleted: 204 };
    metadata::answer(cx, doc, path, &words)
}

fn security_groups(cx: &Cx<'_>, id: &str) -> Answer {
    let doc = find(cx, id)?;
    let mut seen: Vec<&str> = Vec::new();
    let mut groups = Vec::new();
    for group in view::ports(cx, &doc).flat_map(|port| port.list("security_groups")).filter_map(Json::as_str) {
        let Some(found) = cx.state.get(Table::Groups, group).filter(|_| !seen.contains(&group)) else { continue };
        seen.push(group);
        let rules =
            cx.state.find(Table::Rules, "security_group_id", group).filter(|rule| rule.text("direction") == "ingress");
        let rules: Vec<Json> = rules
            .map(|rule| {
                let range =
                    if rule.has("remote_ip_prefix") { json!({"cidr": rule["remote_ip_prefix"]}) } else { json!({}) };
                let remote = cx.state.get(Table::Groups, rule.text("remote_group_id"));
                let remote = remote.map(|one| json!({"name": one["name"], "tenant_id": one["project_id"]}));
                json!({"id": rule["id"], "parent_group_id": group, "ip_protocol": rule["protocol"],
                       "from_port": rule["port_range_min"], "to_port": rule["port_range_max"],
                       "group": remote.unwrap_or_else(|| json!({})),
                       "ip_range": range})
            })
            .collect();
        groups.push(json!({"id": group, "description": found["description"], "name": found["name"],
                           "tenant_id": found["project_id"], "rules": rules}));
    }
    Ok(Reply::ok(json!({"security_groups": groups})))
}
