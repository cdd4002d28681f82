//! What a volume becomes by itself.

use serde_json::json;

use super::actions;
use crate::embedded::clock;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::Cx;
use crate::model::Json;

/// Carries out what is due for a volume.
pub fn volume(cx: &mut Cx<'_>, id: &str) {
    let Some(mut doc) = cx.state.get(Table::Volumes, id).cloned() else { return };
    match doc.text("status") {
        "deleting" => {
            cx.state.remove(Table::Volumes, id);
            return;
        }
        "creating" => {
            doc.set("status", "available");
            if doc.has("_image") {
                doc.set("bootable", true);
                doc.set("image", doc["_image"].clone());
                doc.unset("_image");
            }
        }
        "reserved" => {
            doc.set("status", "attaching");
            doc.set("_due", actions::attached_at(cx));
        }
        "attaching" => {
            let attach = doc["_attach"].clone();
            doc.set("status", "in-use");
            doc.push("attachments", attachment(id, &attach, cx.now));
            doc.unset("_attach");
        }
        "detaching" => {
            for one in doc.list("attachments") {
                forget(cx, one.text("server_id"), id);
            }
            doc.set("status", "available");
            doc.set("attachments", json!([]));
        }
        "extending" | "retyping" => {
            let then = doc["_then"].as_object().cloned().unwrap_or_default();
            for (key, value) in then {
                doc.set(&key, value);
            }
            doc.unset("_then");
        }
        _ => return,
    }
    doc.set("updated", cx.now);
    cx.state.put(Table::Volumes, id, doc);
}

/// An attachment as the API shows it.
#[must_use]
pub fn attachment(volume: &str, attach: &Json, now: i64) -> Json {
    json!({
        "id": volume, "attachment_id": attach["attachment_id"], "volume_id": volume, "server_id": attach["server_id"],
        "host_name": null, "device": attach["device"], "attached_at": clock::naive(now),
    })
}

fn forget(cx: &mut Cx<'_>, server: &str, volume: &str) {
    cx.state.edit(Table::Servers, server, |doc| {
        doc.retain("volumes", |one| one.text("volume_id") != volume);
    });
}
