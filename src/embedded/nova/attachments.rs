//! A server's volumes.

use http::Method;
use serde_json::json;

use super::{invalid, not_allowed, servers};
use crate::embedded::cinder::{actions, volumes};
use crate::embedded::guests::machine::SLOTS;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, is_uuid, new_id};
use crate::model::Json;

/// Answers `/servers/{id}/os-volume_attachments…`.
pub fn handle(cx: &mut Cx<'_>, server: &str, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    let doc = servers::find(cx, server)?;
    match (&method, path) {
        (&Method::GET, []) => {
            let all: Vec<Json> = doc.list("volumes").iter().map(|one| view(cx, server, one)).collect();
            Ok(Reply::ok(json!({"volumeAttachments": all})))
        }
        (&Method::GET, [volume]) => {
            let found = find(&doc, volume).ok_or_else(|| missing(server, volume))?;
            Ok(Reply::ok(json!({"volumeAttachment": view(cx, server, found)})))
        }
        (&Method::POST, []) => attach(cx, &doc),
        (&Method::PUT, [volume]) => update(cx, &doc, volume),
        (&Method::DELETE, [volume]) => detach(cx, &doc, volume),
        _ => Err(Fault::no_route()),
    }
}

fn find<'a>(server: &'a Json, volume: &str) -> Option<&'a Json> {
    server.list("volumes").iter().find(|one| one.text("volume_id") == volume)
}

fn missing(server: &str, volume: &str) -> Fault {
    Fault::missing(format!("Instance {server} is not attached to volume {volume}"))
}

fn view(cx: &Cx<'_>, server: &str, one: &Json) -> Json {
    let mut view = json!({"volumeId": one["volume_id"], "serverId": server, "device": one["device"]});
    if !cx.at_least(89) {
        view.set("id", one["volume_id"].clone());
    }
    if cx.at_least(70) {
        view.set("tag", one["tag"].clone());
    }
    if cx.at_least(79) {
        view.set("delete_on_termination", one["delete_on_termination"].clone());
    }
    if cx.at_least(89) {
        view.set("attachment_id", one["attachment_id"].clone());
        view.set("bdm_uuid", one["bdm_uuid"].clone());
    }
    view
}

fn check_state(doc: &Json, what: &str) -> Result<(), Fault> {
    let (id, state) = (doc.text("id"), doc.text("vm_state"));
    let busy = doc.text("task_state");
    if busy == "deleting" {
        return Err(Fault::conflict(format!("Cannot '{what}' instance {id} while it is in task_state {busy}")));
    }
    if ["active", "paused", "stopped", "resized"].contains(&state) {
        return Ok(());
    }
    Err(Fault::conflict(format!("Cannot '{what}' instance {id} while it is in vm_state {state}")))
}

fn attach(cx: &mut Cx<'_>, doc: &Json) -> Answer {
    let body = cx.call.json().unwrap_or_default();
    let asked = body.get("volumeAttachment").cloned();
    let asked = asked.ok_or_else(|| Fault::bad("'volumeAttachment' is a required property"))?;
    if !asked.has("volumeId") {
        return Err(invalid("volumeAttachment", &asked, "'volumeId' is a required property"));
    }
    let known = ["volumeId", "device", "tag", "delete_on_termination"];
    if let Some(key) = asked.as_object().and_then(|map| map.keys().find(|key| !known.contains(&key.as_str()))) {
        let why = format!("Additional properties are not allowed ('{key}' was unexpected)");
        return Err(invalid("volumeAttachment", &asked, &why));
    }
    let volume_id = asked.text("volumeId");
    if !is_uuid(volume_id) {
        return Err(invalid("volumeId", &asked["volumeId"], &format!("'{volume_id}' is not a 'uuid'")));
    }
    check_state(doc, "attach_volume")?;
    let volume = volumes::find(cx, volume_id)?;
    let holder = volume.list("attachments").first().map(|one| one.text("server_id"));
    if let Some(holder) = holder.or_else(|| volume.get("_attach").map(|attach| attach.text("server_id"))) {
        let text = format!("Invalid volume: volume {volume_id} is already attached to instances: {holder}");
        return Err(Fault::bad(text));
    }
    let status = volume.text("status");
    if status != "available" {
        return Err(Fault::bad(format!(
            "Invalid volume: Invalid input received: Invalid volume: Volume {volume_id} status must be available or \
             downloading to reserve, but the current status is {status}."
        )));
    }
    let id = doc.text("id");
    if cx.machines.is_some() && doc.list("volumes").len() >= SLOTS {
        return Err(Fault::forbidden(format!(
            "The maximum allowed number of disk devices ({SLOTS}) to attach to a single instance has been exceeded."
        )));
    }
    let device = free_device(doc);
    let attachment = actions::attach(cx, volume_id, id, &device);
    let tag = asked.get("tag").cloned().filter(|_| cx.at_least(49));
    let on_termination = asked.flag("delete_on_termination") && cx.at_least(79);
    let one = json!({"volume_id": volume_id, "device": device, "tag": tag, "delete_on_termination": on_termination,
                     "attachment_id": attachment, "bdm_uuid": new_id()});
    cx.state.edit(Table::Servers, id, |doc| doc.push("volumes", one.clone()));
    let mut shown = json!({"id": volume_id, "serverId": id, "volumeId": volume_id, "device": device});
    if cx.at_least(70) {
        shown.set("tag", one["tag"].clone());
    }
    if cx.at_least(79) {
        shown.set("delete_on_termination", on_termination);
    }
    Ok(Reply::ok(json!({"volumeAttachment": shown})))
}

/// The first device name that the server does not use; the root disk has the first of all.
fn free_device(server: &Json) -> String {
    let mut names = (b'b'..=b'z').map(|letter| format!("/dev/vd{}", char::from(letter)));
    let used = |name: &String| server.list("volumes").iter().any(|one| one.text("device") == name);
    names.find(|name| !used(name)).unwrap_or_else(|| "/dev/vdaa".to_owned())
}

/// Changes whether the volume goes with its server.
fn update(cx: &mut Cx<'_>, doc: &Json, volume_id: &str) -> Answer {
    let no_mapping = || Fault::missing(format!("No volume Block Device Mapping with id {volume_id}."));
    find(doc, volume_id).ok_or_else(no_mapping)?;
    let body = cx.call.json().unwrap_or_default();
    let goes = body.get("volumeAttachment").and_then(|asked| asked.get("delete_on_termination")?.as_bool());
    let goes = goes.filter(|_| cx.at_least(85)).ok_or_else(|| not_allowed("os-volumes-attachments:swap"))?;
    let changed = doc.list("volumes").iter().cloned().map(|mut one| {
        if one.text("volume_id") == volume_id {
            one.set("delete_on_termination", goes);
        }
        one
    });
    let changed: Vec<Json> = changed.collect();
    cx.state.edit(Table::Servers, doc.text("id"), |doc| doc.set("volumes", changed));
    Ok(Reply::empty(202))
}

fn detach(cx: &mut Cx<'_>, doc: &Json, volume_id: &str) -> Answer {
    let volume = volumes::find(cx, volume_id)?;
    let one = find(doc, volume_id).ok_or_else(|| missing(doc.text("id"), volume_id))?;
    check_state(doc, "detach_volume")?;
    if one.text("device") == "/dev/vda" {
        return Err(Fault::bad("Cannot detach a root device volume"));
    }
    if volume.text("status") != "in-use" {
        return Err(Fault::bad(format!(
            "Invalid volume: Invalid input received: Invalid volume: Unable to detach volume. Volume status must be \
             'in-use' and attach_status must be 'attached' to detach. (HTTP 400) (Request-ID: req-{})",
            new_id()
        )));
    }
    actions::detach(cx, volume_id);
    Ok(Reply::empty(202))
}
