//! Volumes: made, listed, shown, renamed, removed; their metadata.

use http::Method;
use serde_json::json;

use super::{HTML, actions, find_type, type_id};
use crate::embedded::catalogue::{self, VOLUME_TYPES};
use crate::embedded::clock;
use crate::embedded::metadata;
use crate::embedded::quota::{self, Quotas};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, PageError, Reply, link, new_id, page};
use crate::model::Json;

/// The longest page.
const PAGE: usize = 1000;
/// Seconds to make a volume.
const CREATE: f64 = 0.4;
/// Seconds to remove one.
const DELETE: f64 = 0.3;

/// Answers `/volumes…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => list(cx, "volumes", brief),
        (&Method::GET, ["detail"]) => list(cx, "volumes/detail", |cx, doc| detail(cx, doc, true)),
        (&Method::GET, ["summary"]) if !cx.at_least(12) => Err(missing("summary")),
        (&Method::GET, ["summary"]) => Ok(summary(cx)),
        (&Method::POST, []) => create(cx),
        (&Method::GET, [id]) => {
            let doc = find(cx, id)?;
            Ok(Reply::ok(json!({"volume": detail(cx, &doc, true)})))
        }
        (&Method::PUT, [id]) => rename(cx, id),
        (&Method::DELETE, [id]) => delete(cx, id),
        (_, [id, "metadata", rest @ ..]) => metadata(cx, id, rest),
        (&Method::POST, [id, "action"]) => actions::handle(cx, id),
        _ => Err(Fault::no_route()),
    }
}

/// The refusal of a volume that is not there.
#[must_use]
pub fn missing(id: &str) -> Fault {
    Fault::missing(format!("Volume {id} could not be found."))
}

/// The project's volume of that id.
pub fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    cx.state.get(Table::Volumes, id).filter(|doc| cx.owns(doc)).cloned().ok_or_else(|| missing(id))
}

fn links(cx: &Cx<'_>, id: &str) -> Json {
    let base = &cx.call.base;
    // Who came by an address with the project in it is led to such addresses.
    let project = cx.call.path.get(2).filter(|segment| **segment == cx.who.project_id);
    let project = project.map(|project| format!("{project}/")).unwrap_or_default();
    json!([
        link("self", format!("{base}/volume/v3/{project}volumes/{id}")),
        link("bookmark", format!("{base}/volume/{project}volumes/{id}"))
    ])
}

fn brief(cx: &Cx<'_>, doc: &Json) -> Json {
    json!({"id": doc["id"], "name": doc["name"], "links": links(cx, doc.text("id"))})
}

/// The volume as the API shows it; the answers to its making and renaming leave out whose it is.
pub fn detail(cx: &Cx<'_>, doc: &Json, whose: bool) -> Json {
    let updated = doc.has("updated").then(|| clock::naive(doc.int("updated")));
    let mut view = json!({
        "id": doc["id"], "status": doc["status"], "size": doc["size"], "availability_zone": "nova",
        "created_at": clock::naive(doc.int("created")), "updated_at": updated, "name": doc["name"],
        "description": doc["description"], "volume_type": doc["volume_type"], "snapshot_id": null,
        "source_volid": null, "metadata": doc["metadata"], "links": links(cx, doc.text("id")),
        "user_id": doc["user_id"], "bootable": if doc.flag("bootable") { "true" } else { "false" },
        "encrypted": false, "replication_status": null, "consistencygroup_id": null, "multiattach": false,
        "attachments": doc["attachments"],
    });
    if whose {
        view.set("os-vol-tenant-attr:tenant_id", doc["project_id"].clone());
        if doc.has("image") {
            view.set("volume_image_metadata", doc["image"].clone());
        }
    }
    if cx.at_least(13) {
        view.set("group_id", Json::Null);
    }
    if cx.at_least(48) {
        view.set("shared_targets", false);
        view.set("service_uuid", Json::Null);
    }
    if cx.at_least(63) {
        view.set("volume_type_id", type_id(doc.text("volume_type")));
    }
    if cx.at_least(65) {
        view.set("consumes_quota", true);
    }
    view
}

fn fits(cx: &Cx<'_>, doc: &Json) -> bool {
    cx.call.query.iter().all(|(key, value)| match key.as_str() {
        "name" | "status" | "display_name" => doc.text(if key == "status" { "status" } else { "name" }) == value,
        "volume_type" => doc.text("volume_type") == value,
        "bootable" => doc.flag("bootable") == value.eq_ignore_ascii_case("true"),
        "metadata" => {
            let wanted: Option<Json> = serde_json::from_str(&value.replace('\'', "\"")).ok();
            let map = wanted.as_ref().and_then(Json::as_object);
            map.is_some_and(|map| map.iter().all(|(key, value)| doc["metadata"].get(key) == Some(value)))
        }
        _ => true,
    })
}

fn list(cx: &Cx<'_>, address: &str, view: impl Fn(&Cx<'_>, &Json) -> Json) -> Answer {
    let own = cx.state.find(Table::Volumes, "project_id", &cx.who.project_id);
    let mut found: Vec<&Json> = own.filter(|doc| fits(cx, doc)).collect();
    let ascending =
        cx.call.param("sort_dir") == Some("asc") || cx.call.param("sort").is_some_and(|sort| sort.ends_with(":asc"));
    if !ascending {
        found.reverse();
    }
    let cut = page(cx.call, found, "id", PAGE).map_err(|error| match error {
        PageError::Limit => Fault::bad("limit param must be an integer"),
        PageError::Marker(marker) => missing(&marker),
    })?;
    let mut body = json!({"volumes": cut.items.iter().map(|doc| view(cx, doc)).collect::<Vec<_>>()});
    if let (true, Some(last)) = (cut.more, cut.items.last()) {
        let next = cx.call.next_page(last.text("id"));
        let query = next.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let href = format!("{}/volume/v3/{address}?{query}", cx.call.base);
        body.set("volumes_links", json!([link("next", href)]));
    }
    Ok(Reply::ok(body))
}

fn summary(cx: &Cx<'_>) -> Reply {
    let project = &cx.who.project_id;
    let (count, size) = (
        quota::used(cx.state, project, Quotas::Volume, "volumes"),
        quota::used(cx.state, project, Quotas::Volume, "gigabytes"),
    );
    Reply::ok(json!({"volume-summary": {"total_count": count, "total_size": size, "metadata": {}}}))
}

fn invalid(field: &str, value: &str, why: &str) -> Fault {
    Fault::bad(format!("Invalid input for field/attribute {field}. Value: {value}. {why}"))
}

fn size(wanted: &Json) -> Result<Option<i64>, Fault> {
    let size = match wanted.get("size") {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::String(text)) => text.parse().map_err(|_| {
            let why = format!("'{text}' does not match '^[0-9]+$'");
            invalid("size", text, &why)
        })?,
        Some(value) => value.as_i64().ok_or_else(|| {
            invalid("size", &value.to_string(), &format!("{value} is not of type 'integer', 'string', 'null'"))
        })?,
    };
    if size < 1 {
        let text = size.to_string();
        return Err(invalid("size", &text, &format!("{text} is less than the minimum of 1")));
    }
    Ok(Some(size))
}

fn check_metadata(metadata: &Json) -> Result<(), Fault> {
    for (key, value) in metadata.as_object().into_iter().flatten() {
        if !value.is_string() {
            return Err(invalid(key, &value.to_string(), &format!("{value} is not of type 'string'")));
        }
        if value.as_str().is_some_and(|text| text.chars().count() > 255) {
            let text = value.as_str().unwrap_or_default();
            return Err(invalid(key, text, &format!("'{text}' is too long")));
        }
    }
    metadata::check_keys(metadata, "-_:. /")
}

/// Refuses a name or description that is too long.
fn check_texts(wanted: &Json) -> Result<(), Fault> {
    for key in ["name", "description"] {
        let length = wanted.text(key).chars().count();
        if length > 255 {
            return Err(Fault::bad(format!("Invalid input received: {key} has {length} characters, more than 255.")));
        }
    }
    Ok(())
}

/// Refuses a volume of `size` that takes `volumes` and `gigabytes` more, if that goes over a quota.
pub fn within_quota(cx: &Cx<'_>, size: i64, volumes: i64, gigabytes: i64) -> Result<(), Fault> {
    let most = quota::limit(cx.state, &cx.who.project_id, Quotas::Volume, "per_volume_gigabytes");
    if most >= 0 && size > most {
        let text = format!(
            "VolumeSizeExceedsLimit: Requested volume size {size}G is larger than maximum allowed limit {most}G."
        );
        return Err(Fault::new(413, text));
    }
    if let Some((limit, used)) = quota::exceeded(cx, Quotas::Volume, "gigabytes", gigabytes) {
        return Err(Fault::new(
            413,
            format!(
                "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. \
                 Requested {gigabytes}G, quota is {limit}G and {used}G has been consumed."
            ),
        ));
    }
    if let Some((limit, _)) = quota::exceeded(cx, Quotas::Volume, "volumes", volumes) {
        let text =
            format!("VolumeLimitExceeded: Maximum number of volumes allowed ({limit}) exceeded for quota 'volumes'.");
        return Err(Fault::new(413, text));
    }
    Ok(())
}

/// A new volume's document, not yet stored.
pub fn document(cx: &Cx<'_>, own: Json) -> Json {
    let mut doc = own;
    doc.set("id", new_id());
    doc.set("project_id", cx.who.project_id.as_str());
    doc.set("created", cx.now);
    doc.set("attachments", json!([]));
    doc
}

/// What a volume made from an image tells of it.
#[must_use]
pub fn image_metadata(image: &Json) -> Json {
    json!({
        "image_id": image["id"], "image_name": image["name"], "checksum": image["checksum"],
        "container_format": image["container_format"], "disk_format": image["disk_format"], "min_disk": "0",
        "min_ram": "0", "size": image["size"].to_string(),
    })
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let body = cx.call.json().ok_or_else(|| Fault::bad("Malformed request body"))?;
    let wanted = body.get("volume").ok_or_else(|| Fault::bad("'volume' is a required property"))?;
    check_texts(wanted)?;
    let size = size(wanted)?;
    check_metadata(&wanted["metadata"])?;
    if wanted.has("snapshot_id") {
        return Err(Fault::missing(format!("Snapshot {} could not be found.", wanted.text("snapshot_id"))));
    }
    if wanted.has("source_volid") {
        return Err(missing(wanted.text("source_volid")));
    }
    let size = size.ok_or_else(|| {
        Fault::bad("The server could not comply with the request since it is either malformed or otherwise incorrect.")
    })?;
    let volume_type = match wanted.text("volume_type") {
        "" => VOLUME_TYPES[0].0,
        name => find_type(name)?,
    };
    let zone = wanted.text("availability_zone");
    if !["", "nova"].contains(&zone) {
        return Err(Fault::bad(format!("Availability zone '{zone}' is invalid.")));
    }
    let image_id = wanted.text("imageRef");
    let image = catalogue::images(cx.profile).into_iter().find(|image| image.text("id") == image_id);
    if image.is_none() && !image_id.is_empty() {
        return Err(Fault::bad("Invalid image identifier or unable to access requested image."));
    }
    within_quota(cx, size, 1, size)?;
    let due = cx.after(CREATE);
    let metadata = wanted.get("metadata").filter(|metadata| metadata.is_object()).cloned();
    let doc = document(
        cx,
        json!({
            "name": wanted.get("name"), "description": wanted.get("description"), "size": size, "status": "creating",
            "volume_type": volume_type, "user_id": cx.who.user_id, "metadata": metadata.unwrap_or_else(|| json!({})),
            "bootable": false, "_due": due, "_image": image.as_ref().map(image_metadata),
        }),
    );
    cx.state.put(Table::Volumes, doc.text("id"), doc.clone());
    Ok(Reply::json(202, json!({"volume": detail(cx, &doc, false)})))
}

fn rename(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut doc = find(cx, id)?;
    let body = cx.call.json().unwrap_or_default();
    let wanted = body.get("volume").ok_or_else(|| Fault::bad("'volume' is a required property"))?;
    check_metadata(&wanted["metadata"])?;
    check_texts(wanted)?;
    for key in ["name", "description", "metadata"] {
        if let Some(value) = wanted.get(key) {
            doc.set(key, value.clone());
        }
    }
    doc.set("updated", cx.now);
    cx.state.put(Table::Volumes, id, doc.clone());
    Ok(Reply::ok(json!({"volume": detail(cx, &doc, false)})))
}

fn delete(cx: &mut Cx<'_>, id: &str) -> Answer {
    let doc = find(cx, id)?;
    let deletable = ["available", "error", "error_restoring", "error_extending", "error_managing"];
    if !deletable.contains(&doc.text("status")) || !doc.list("attachments").is_empty() {
        return Err(Fault::bad(
            "Invalid volume: Volume status must be available or error or error_restoring or error_extending or \
             error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, \
             or be disassociated from snapshots after volume transfer.",
        ));
    }
    let due = cx.after(DELETE);
    cx.state.edit(Table::Volumes, id, |doc| {
        doc.set("status", "deleting");
        doc.set("_due", due);
    });
    Ok(Reply::empty(202))
}

fn metadata(cx: &mut Cx<'_>, id: &str, path: &[&str]) -> Answer {
    let doc = find(cx, id)?;
    let no_key = |key: &str| no_key(id, key);
    let words = metadata::Words { table: Table::Volumes, check: check_metadata, no_key: &no_key, deleted: 200 };
    let reply = metadata::answer(cx, doc, path, &words)?;
    let listed = cx.call.method == Method::GET && path.is_empty();
    Ok(if listed { reply.header("content-type", HTML) } else { reply })
}

fn no_key(id: &str, key: &str) -> Fault {
    Fault::missing(format!("Volume {id} has no metadata with key {key}."))
}
