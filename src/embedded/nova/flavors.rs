//! Flavors: the site's, and those that the project's active leases made.

use http::Method;
use serde_json::json;

use super::{links, no_page, not_allowed};
use crate::embedded::catalogue;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, link, page};
use crate::model::Json;

/// Answers `/flavors…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    match (&cx.call.method, path) {
        (&Method::GET, []) => list(cx, brief),
        (&Method::GET, ["detail"]) => list(cx, detail),
        (&Method::GET, [id]) => Ok(Reply::ok(json!({"flavor": detail(cx, &find(cx, id)?)}))),
        (&Method::GET, [id, "os-extra_specs"]) => Ok(Reply::ok(json!({"extra_specs": find(cx, id)?["extra_specs"]}))),
        (_, []) => Err(not_allowed("os-flavor-manage:create")),
        (&Method::DELETE, [_]) => Err(not_allowed("os-flavor-manage:delete")),
        _ => Err(Fault::no_route()),
    }
}

fn all(cx: &Cx<'_>) -> Vec<Json> {
    let mut all = catalogue::flavors(cx.profile);
    all.extend(cx.state.find(Table::Flavors, "project_id", &cx.who.project_id).cloned());
    all.sort_by(|one, two| one.text("id").cmp(two.text("id")));
    all
}

/// The flavor of that id, if the project sees it.
pub fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    let found = all(cx).into_iter().find(|flavor| flavor.text("id") == id);
    found.ok_or_else(|| Fault::missing(format!("Flavor {id} could not be found.")))
}

fn brief(cx: &Cx<'_>, doc: &Json) -> Json {
    let mut view = json!({"id": doc["id"], "name": doc["name"], "links": links(cx, "flavors", doc.text("id"))});
    if cx.at_least(55) {
        view.set("description", Json::Null);
    }
    view
}

fn detail(cx: &Cx<'_>, doc: &Json) -> Json {
    let mut view = brief(cx, doc);
    let swap = if cx.at_least(75) { json!(0) } else { json!("") };
    for (key, value) in [
        ("vcpus", doc["vcpus"].clone()),
        ("ram", doc["ram"].clone()),
        ("disk", doc["disk"].clone()),
        ("swap", swap),
        ("OS-FLV-EXT-DATA:ephemeral", json!(0)),
        ("OS-FLV-DISABLED:disabled", json!(false)),
        ("os-flavor-access:is_public", doc["public"].clone()),
        ("rxtx_factor", json!(1.0)),
    ] {
        view.set(key, value);
    }
    if cx.at_least(61) {
        view.set("extra_specs", doc["extra_specs"].clone());
    }
    view
}

fn list(cx: &Cx<'_>, view: impl Fn(&Cx<'_>, &Json) -> Json) -> Answer {
    let mut flavors = all(cx);
    match cx.call.param("is_public").map(str::to_lowercase).as_deref() {
        Some("true" | "1") => flavors.retain(|flavor| flavor.flag("public")),
        Some("false" | "0") => flavors.retain(|flavor| !flavor.flag("public")),
        _ => {}
    }
    for (key, field) in [("minRam", "ram"), ("minDisk", "disk")] {
        if let Some(least) = cx.call.param(key).and_then(|text| text.parse::<i64>().ok()) {
            flavors.retain(|flavor| flavor.int(field) >= least);
        }
    }
    let cut = page(cx.call, flavors.iter().collect(), "id", 1000)
        .map_err(|error| no_page(cx, error, |marker| format!("marker [{marker}] not found")))?;
    let mut body = json!({"flavors": cut.items.iter().map(|flavor| view(cx, flavor)).collect::<Vec<_>>()});
    if let (true, Some(last)) = (cut.more, cut.items.last()) {
        body.set("flavors_links", json!([link("next", cx.call.next_page(last.text("id")))]));
    }
    Ok(Reply::ok(body))
}
