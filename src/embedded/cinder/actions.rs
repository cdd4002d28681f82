//! What can be done to a volume: extend, retype, make bootable; and Nova's attaching and detaching.

use serde_json::json;

use super::find_type;
use super::volumes::{find, within_quota};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, new_id, repr};
use crate::model::Json;

/// Seconds to extend or retype.
const CHANGE: f64 = 0.3;
/// Seconds to attach or detach; attaching has two halves.
const ATTACH: f64 = 0.4;

/// Answers `POST /volumes/{id}/action`.
pub fn handle(cx: &mut Cx<'_>, id: &str) -> Answer {
    let doc = find(cx, id)?;
    let body = cx.call.json().unwrap_or_default();
    let Some((name, given)) = body.as_object().and_then(|map| map.iter().next()) else {
        return Err(Fault::bad("Malformed request body"));
    };
    match name.as_str() {
        "os-extend" => extend(cx, &doc, given),
        "os-retype" => retype(cx, &doc, given),
        "os-set_bootable" => {
            let Some(bootable) = given.get("bootable").and_then(Json::as_bool) else {
                return Err(lacks("os-set_bootable", given, "bootable"));
            };
            change(cx, id, |doc| doc.set("bootable", bootable));
            Ok(Reply::empty(200))
        }
        "os-update_readonly_flag" => {
            let text = if given.flag("readonly") { "True" } else { "False" };
            change(cx, id, |doc| doc["metadata"].set("readonly", text));
            Ok(Reply::empty(202))
        }
        "os-set_image_metadata" | "os-unset_image_metadata" | "os-show_image_metadata" => Ok(Reply::empty(200)),
        "os-detach" if !doc.list("attachments").is_empty() => {
            let server = doc.list("attachments")[0].text("server_id");
            let text =
                format!("ConflictNovaUsingAttachment: Detach volume from instance {server} using the Compute API");
            Err(Fault::conflict(text))
        }
        "os-reset_status" | "os-force_delete" | "os-force_detach" | "os-migrate_volume" => {
            let rule = name.trim_start_matches("os-");
            Err(Fault::forbidden(format!(
                "Policy doesn't allow volume_extension:volume_admin_actions:{rule} to be performed."
            )))
        }
        _ => Err(Fault::bad(format!(
            "There is no such action: {name}. Verify the request body and Content-Type header and try again."
        ))),
    }
}

fn lacks(action: &str, given: &Json, key: &str) -> Fault {
    let shown = repr(given);
    Fault::bad(format!("Invalid input for field/attribute {action}. Value: {shown}. '{key}' is a required property"))
}

fn change(cx: &mut Cx<'_>, id: &str, change: impl FnOnce(&mut Json)) {
    let now = cx.now;
    cx.state.edit(Table::Volumes, id, |doc| {
        change(doc);
        doc.set("updated", now);
    });
}

fn extend(cx: &mut Cx<'_>, doc: &Json, given: &Json) -> Answer {
    let (id, size, status) = (doc.text("id"), doc.int("size"), doc.text("status"));
    let given_size = given.get("new_size").and_then(|size| size.as_i64().or_else(|| size.as_str()?.parse().ok()));
    if !given.has("new_size") {
        return Err(lacks("os-extend", given, "new_size"));
    }
    let wanted = given_size.ok_or_else(|| {
        let text = given["new_size"].as_str().unwrap_or_default();
        Fault::bad(format!(
            "Invalid input for field/attribute new_size. Value: {text}. '{text}' does not match '^[0-9]+$'"
        ))
    })?;
    if status == "in-use" && !cx.at_least(42) || !["available", "in-use"].contains(&status) {
        return Err(Fault::bad(format!(
            "Invalid volume: Volume {id} status must be '{{'status': 'available'}}' to extend, currently {status}."
        )));
    }
    if wanted <= size {
        return Err(Fault::bad(format!(
            "Invalid input received: New size for extend must be greater than current size. (current: {size}, extended: \
             {wanted})."
        )));
    }
    within_quota(cx, wanted, 0, wanted - size)?;
    let (due, back) = (cx.after(CHANGE), status.to_owned());
    change(cx, id, |doc| {
        doc.set("status", "extending");
        doc.set("_then", json!({"status": back, "size": wanted}));
        doc.set("_due", due);
    });
    Ok(Reply::empty(202))
}

fn retype(cx: &mut Cx<'_>, doc: &Json, given: &Json) -> Answer {
    let (id, status) = (doc.text("id"), doc.text("status"));
    if !given.has("new_type") {
        return Err(lacks("os-retype", given, "new_type"));
    }
    let wanted = find_type(given.text("new_type"))?;
    if !["available", "in-use"].contains(&status) || wanted == doc.text("volume_type") {
        return Err(Fault::bad(
            "Invalid volume: Retype needs volume to be in available or in-use state, not be part of an active migration \
             or a consistency group, requested type has to be different that the one from the volume, and for in-use \
             volumes front-end qos specs cannot change.",
        ));
    }
    let (due, back) = (cx.after(CHANGE), status.to_owned());
    change(cx, id, |doc| {
        doc.set("status", "retyping");
        doc.set("_then", json!({"status": back, "volume_type": wanted}));
        doc.set("_due", due);
    });
    Ok(Reply::empty(202))
}

/// Keeps a volume for a server that is being built.
pub fn reserve(cx: &mut Cx<'_>, id: &str) {
    change(cx, id, |doc| doc.set("status", "reserved"));
}

/// Makes a volume that was kept available again.
pub fn release(cx: &mut Cx<'_>, id: &str) {
    change(cx, id, |doc| {
        doc.set("status", "available");
        doc.set("attachments", json!([]));
        doc.unset("_attach");
        doc.unset("_due");
    });
}

/// Begins to attach: `reserved`, then `attaching`, then `in-use`. Gives the attachment's id.
pub fn attach(cx: &mut Cx<'_>, id: &str, server: &str, device: &str) -> String {
    let (due, attachment) = (cx.after(ATTACH / 2.0), new_id());
    change(cx, id, |doc| {
        doc.set("status", "reserved");
        doc.set("_attach", json!({"server_id": server, "device": device, "attachment_id": attachment}));
        doc.set("_due", due);
    });
    attachment
}

/// When the second half of attaching is done.
#[must_use]
pub fn attached_at(cx: &Cx<'_>) -> i64 {
    cx.after(ATTACH / 2.0)
}

/// Begins to detach.
pub fn detach(cx: &mut Cx<'_>, id: &str) {
    let due = cx.after(ATTACH);
    change(cx, id, |doc| {
        doc.set("status", "detaching");
        doc.set("_due", due);
    });
}

/// Removes a volume at once, as the end of its server does.
pub fn remove(cx: &mut Cx<'_>, id: &str) {
    cx.state.remove(Table::Volumes, id);
}
