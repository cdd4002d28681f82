//! What a server becomes by itself, and its end.

use serde_json::json;

use crate::embedded::catalogue::VOLUME_TYPES;
use crate::embedded::cinder::{actions, settle::attachment, volumes};
use crate::embedded::clock;
use crate::embedded::neutron::ports;
use crate::embedded::tables::{Fields, State, Table};
use crate::embedded::wire::{Cx, Who, new_id};
use crate::model::Json;

/// Carries out what is due for a server.
pub fn server(cx: &mut Cx<'_>, id: &str) {
    let Some(mut doc) = cx.state.get(Table::Servers, id).cloned() else { return };
    match (doc.text("task_state"), doc.has("_doomed")) {
        ("deleting", _) => return remove(cx, id),
        ("scheduling", true) => fail(cx, &mut doc),
        ("scheduling", false) => start(cx, &mut doc),
        (_, true) => {
            let fault = json!({"code": 500, "created": clock::zulu(cx.now), "message": doc["_doomed"]});
            doc.set("status", "ERROR");
            doc.set("vm_state", "error");
            doc.set("fault", fault);
            doc.unset("_doomed");
        }
        ("powering-off", _) => {
            doc.set("status", "SHUTOFF");
            doc.set("vm_state", "stopped");
            doc.set("power_state", 4);
        }
        _ => {
            doc.set("status", "ACTIVE");
            doc.set("vm_state", "active");
            doc.set("power_state", 1);
            doc.set("fault", Json::Null);
        }
    }
    doc.set("task_state", Json::Null);
    doc.set("updated", cx.now);
    cx.state.put(Table::Servers, id, doc);
}

/// Has what a server is about to become fail, for its machine cannot be had.
pub fn doom(state: &mut State, id: &str, why: &str) {
    let Some(server) = state.get(Table::Servers, id) else { return };
    let comes = ["scheduling", "powering-on", "rebooting", "rebooting_hard", "rebuilding"];
    if comes.contains(&server.text("task_state")) && !server.has("_doomed") {
        state.edit(Table::Servers, id, |doc| doc.set("_doomed", why));
    } else {
        tracing::error!("the machine of server {id} cannot be started: {why}");
    }
}

fn fail(cx: &mut Cx<'_>, doc: &mut Json) {
    doc.set("status", "ERROR");
    doc.set("vm_state", "error");
    let fault = json!({"code": 500, "created": clock::zulu(cx.now), "message": doc["_doomed"]});
    doc.set("fault", fault);
    give_back(cx, doc);
    doc.set("ports", json!([]));
    doc.set("_mapping", json!([]));
}

fn start(cx: &mut Cx<'_>, doc: &mut Json) {
    let owned: Vec<String> = doc.list("ports").iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
    for port in owned {
        ports::set_status(cx, &port, "ACTIVE");
    }
    let entries = doc.list("_mapping").to_vec();
    for entry in entries {
        let attach = json!({"server_id": doc["id"], "device": entry["device"], "attachment_id": new_id()});
        let volume = volume(cx, doc, &entry, &attach);
        doc.push(
            "volumes",
            json!({"volume_id": volume, "device": entry["device"], "tag": entry.get("tag"),
                   "delete_on_termination": entry.flag("delete_on_termination"),
                   "attachment_id": attach["attachment_id"], "bdm_uuid": new_id()}),
        );
    }
    doc.set("_mapping", json!([]));
    doc.set("status", "ACTIVE");
    doc.set("vm_state", "active");
    doc.set("power_state", 1);
    doc.set("launched", cx.now);
}

/// The volume of a mapping's entry, in use: the one that was kept for it, or a new one.
fn volume(cx: &mut Cx<'_>, server: &Json, entry: &Json, attach: &Json) -> String {
    if entry.text("source_type") == "volume" {
        let id = entry.text("uuid").to_owned();
        let now = cx.now;
        cx.state.edit(Table::Volumes, &id, |doc| {
            doc.set("status", "in-use");
            doc.push("attachments", attachment(&id, attach, now));
            doc.set("updated", now);
        });
        return id;
    }
    cx.who = Who { project_id: server.text("project_id").to_owned(), ..Who::default() };
    let volume_type = if entry.has("volume_type") { entry.text("volume_type") } else { VOLUME_TYPES[0].0 };
    let image = entry.get("_image").filter(|image| image.is_object());
    let mut doc = volumes::document(
        cx,
        json!({"name": "", "description": "", "size": entry["volume_size"], "status": "in-use",
               "volume_type": volume_type, "user_id": server["user_id"], "metadata": {},
               "bootable": image.is_some(), "image": image, "updated": cx.now}),
    );
    let id = doc.text("id").to_owned();
    doc.set("attachments", json!([attachment(&id, attach, cx.now)]));
    cx.state.put(Table::Volumes, &id, doc);
    id
}

/// Gives back what a server had: ports, and volumes that were kept for it.
fn give_back(cx: &mut Cx<'_>, doc: &Json) {
    for port in doc.list("ports").iter().filter_map(Json::as_str) {
        ports::unbind(cx, port);
    }
    for entry in doc.list("_mapping").iter().filter(|entry| entry.text("source_type") == "volume") {
        actions::release(cx, entry.text("uuid"));
    }
}

/// Removes a server: its volumes are available again (or gone, if that was asked), the user's ports free.
pub fn remove(cx: &mut Cx<'_>, id: &str) {
    let Some(doc) = cx.state.remove(Table::Servers, id) else { return };
    give_back(cx, &doc);
    for one in doc.list("volumes") {
        let volume = one.text("volume_id");
        if one.flag("delete_on_termination") {
            actions::remove(cx, volume);
        } else {
            actions::release(cx, volume);
        }
    }
}
