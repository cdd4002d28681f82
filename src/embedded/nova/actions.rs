//! What can be done to a server: stop, start, reboot, rebuild, its groups, its console.

use serde_json::json;

use super::{interfaces, invalid, keypairs, not_allowed, servers, view};
use crate::embedded::catalogue;
use crate::embedded::guests;
use crate::embedded::neutron;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, new_hex, new_id, repr};
use crate::model::Json;

/// Seconds to stop, start or reboot.
const POWER: f64 = 0.5;
/// Seconds to rebuild.
const REBUILD: f64 = 1.5;

/// Answers `POST /servers/{id}/action`.
pub fn handle(cx: &mut Cx<'_>, id: &str) -> Answer {
    let doc = servers::find(cx, id)?;
    let body = cx.call.json().unwrap_or_default();
    let Some((name, given)) = body.as_object().and_then(|map| map.iter().next()) else {
        return Err(Fault::bad("Malformed request body"));
    };
    match name.as_str() {
        "os-stop" => power(cx, &doc, "stop", &["active", "error"], "powering-off"),
        "os-start" => power(cx, &doc, "start", &["stopped"], "powering-on"),
        "reboot" => {
            if !["SOFT", "HARD"].contains(&given.text("type").to_uppercase().as_str()) {
                let why =
                    format!("{} is not one of ['HARD', 'Hard', 'hard', 'SOFT', 'Soft', 'soft']", repr(&given["type"]));
                return Err(invalid("type", &given["type"], &why));
            }
            let task = if given.text("type").eq_ignore_ascii_case("hard") { "rebooting_hard" } else { "rebooting" };
            power(cx, &doc, "reboot", &["active", "stopped", "paused", "suspended"], task)
        }
        "rebuild" => rebuild(cx, &doc, given),
        "addSecurityGroup" => change_groups(cx, &doc, given, true),
        "removeSecurityGroup" => change_groups(cx, &doc, given, false),
        "os-getConsoleOutput" if cx.machines.is_some() => console_output(cx, &doc, given),
        "os-getConsoleOutput" => {
            let text = format!("[    0.000000] Linux version 6.8.0\n{} login: ", doc.text("hostname"));
            Ok(Reply::ok(json!({"output": text})))
        }
        "os-getVNCConsole" => Ok(Reply::ok(json!({"console": {"type": given["type"], "url": servers::console(id)}}))),
        "lock" | "unlock" => {
            let locked = name == "lock";
            cx.state.edit(Table::Servers, id, |doc| doc.set("locked", locked));
            Ok(Reply::empty(202))
        }
        "changePassword" => Ok(Reply::empty(202)),
        "os-resetState" => Err(not_allowed("os-admin-actions:reset_state")),
        "forceDelete" => {
            servers::begin_delete(cx, id);
            Ok(Reply::empty(202))
        }
        _ => Err(Fault::bad(format!("There is no such action: {name}"))),
    }
}

/// What the machine's console said.
fn console_output(cx: &Cx<'_>, doc: &Json, given: &Json) -> Answer {
    let id = doc.text("id");
    if doc.text("status") == "BUILD" {
        return Err(Fault::conflict(format!("Instance {id} is not ready")));
    }
    let length = given.get("length").and_then(|length| length.as_i64().or_else(|| length.as_str()?.parse().ok()));
    // No length, and Nova's word for it, are all there is.
    let lines = length.and_then(|length| usize::try_from(length).ok());
    let output = cx.machines.as_ref().map(|machines| guests::console(machines, id, lines));
    Ok(Reply::ok(json!({"output": output})))
}

fn check_state(doc: &Json, what: &str, allowed: &[&str]) -> Result<(), Fault> {
    let (id, state, task) = (doc.text("id"), doc.text("vm_state"), doc.text("task_state"));
    if !allowed.contains(&state) {
        return Err(Fault::conflict(format!("Cannot '{what}' instance {id} while it is in vm_state {state}")));
    }
    if !task.is_empty() {
        return Err(Fault::conflict(format!("Cannot '{what}' instance {id} while it is in task_state {task}")));
    }
    Ok(())
}

fn power(cx: &mut Cx<'_>, doc: &Json, what: &str, allowed: &[&str], task: &str) -> Answer {
    check_state(doc, what, allowed)?;
    let (due, now) = (cx.after(POWER), cx.now);
    cx.state.edit(Table::Servers, doc.text("id"), |doc| {
        match task {
            "rebooting" => doc.set("status", "REBOOT"),
            "rebooting_hard" => doc.set("status", "HARD_REBOOT"),
            _ => {}
        }
        if what == "reboot" {
            doc.set("_boots", doc.int("_boots") + 1);
        }
        doc.set("_gently", ["powering-off", "rebooting"].contains(&task));
        doc.set("task_state", task);
        doc.set("updated", now);
        doc.set("_due", due);
    });
    Ok(Reply::empty(202))
}

fn rebuild(cx: &mut Cx<'_>, doc: &Json, given: &Json) -> Answer {
    check_state(doc, "rebuild", &["active", "stopped", "paused", "suspended", "error"])?;
    if !given.has("imageRef") {
        return Err(invalid("rebuild", given, "'imageRef' is a required property"));
    }
    let image_id = given.text("imageRef");
    let found = catalogue::images(cx.profile).into_iter().find(|image| image.text("id") == image_id);
    found.ok_or_else(|| Fault::bad("Cannot find image for rebuild"))?;
    if doc.text("image").is_empty() {
        let why = "Unable to rebuild with a different image for a volume-backed server.";
        return Err(Fault::bad(format!("Image {image_id} is unacceptable: {why}")));
    }
    let mut doc = doc.clone();
    for (key, since) in [("name", 1), ("metadata", 1), ("description", 19), ("key_name", 54), ("user_data", 57)] {
        if let Some(value) = given.get(key).filter(|_| cx.at_least(since)) {
            doc.set(key, value.clone());
            if key == "key_name" {
                doc.set("_key", keypairs::public_key(cx, value.as_str().unwrap_or_default()));
            }
        }
    }
    doc.set("_builds", doc.int("_builds") + 1);
    doc.set("image", image_id);
    doc.set("status", "REBUILD");
    doc.set("task_state", "rebuilding");
    doc.set("updated", cx.now);
    doc.set("_due", cx.after(REBUILD));
    cx.state.put(Table::Servers, doc.text("id"), doc.clone());
    let mut shown = view::changed(cx, &doc);
    shown.set("adminPass", new_hex()[..12].to_owned());
    if cx.at_least(57) {
        shown.set("user_data", doc["user_data"].clone());
    }
    let location = format!("{}/compute/v2.1/servers/{}", cx.call.base, doc.text("id"));
    Ok(Reply::json(202, json!({"server": shown})).header("location", location))
}

fn change_groups(cx: &mut Cx<'_>, doc: &Json, given: &Json, add: bool) -> Answer {
    let name = given.text("name");
    if name == "default" {
        neutron::groups::default(cx);
    }
    let group = interfaces::group(cx, name).map_err(|fault| match fault.status {
        400 => {
            let text = format!("Security group {name} is not found for project {}", cx.who.project_id);
            Fault::missing(text)
        }
        _ => fault,
    })?;
    let id = doc.text("id");
    let ports: Vec<Json> = view::ports(cx, doc).cloned().collect();
    let has = |port: &Json| port.list("security_groups").iter().any(|one| *one == group);
    if add && ports.iter().any(has) {
        let text = format!(
            "Invalid input for security_groups. Reason: Duplicate items in the list: '{group}'.\nNeutron server returns \
             request_ids: ['req-{}']",
            new_id()
        );
        return Err(Fault::bad(text));
    }
    if !add && !ports.iter().any(has) {
        return Err(Fault::missing(format!("Security group {name} not associated with the instance {id}")));
    }
    for port in ports.iter().filter(|port| !add || port.flag("port_security_enabled")) {
        let now = cx.now;
        cx.state.edit(Table::Ports, port.text("id"), |port| {
            if add {
                port.push("security_groups", json!(group));
            } else {
                port.retain("security_groups", |one| *one != group);
            }
            neutron::touch(port, now);
        });
    }
    Ok(Reply::empty(202))
}
