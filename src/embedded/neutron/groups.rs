//! Security groups, each shown with its rules.

use http::Method;
use serde_json::json;

use super::{check_attributes, copy, document, list, one, rules, touch, wanted, within_quota};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, is_uuid};
use crate::model::Json;

const KNOWN: [&str; 5] = ["name", "description", "stateful", "tenant_id", "project_id"];

/// Answers `/security-groups…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    default(cx);
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => {
            let own = cx.state.find(Table::Groups, "project_id", &cx.who.project_id);
            let wants_rules =
                cx.call.param("fields").is_none() || cx.call.params("fields").contains(&"security_group_rules");
            list(cx, "security_groups", own, |doc| if wants_rules { view(cx, doc) } else { doc.clone() }, missing)
        }
        (&Method::POST, []) => create(cx),
        (&Method::GET, [id]) => {
            let doc = find(cx, id)?;
            Ok(one(cx, 200, "security_group", view(cx, &doc)))
        }
        (&Method::PUT, [id]) => update(cx, id),
        (&Method::DELETE, [id]) => delete(cx, id),
        _ => Err(Fault::new(405, "")),
    }
}

fn missing(id: &str) -> Fault {
    Fault::named(404, "SecurityGroupNotFound", format!("Security group {id} does not exist"))
}

/// The project's group of that id.
pub fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    cx.state.get(Table::Groups, id).filter(|doc| cx.owns(doc)).cloned().ok_or_else(|| missing(id))
}

/// Refuses groups that the project does not have.
pub fn check(cx: &Cx<'_>, ids: &[Json]) -> Result<(), Fault> {
    for (place, id) in ids.iter().enumerate() {
        let text = id.as_str().unwrap_or_default();
        if !is_uuid(text) {
            let text = format!("Invalid input for security_groups. Reason: '{text}' is not a valid UUID.");
            return Err(Fault::bad(text));
        }
        find(cx, text)?;
        if ids[..place].contains(id) {
            let text = format!("Invalid input for security_groups. Reason: Duplicate items in the list: '{text}'.");
            return Err(Fault::bad(text));
        }
    }
    Ok(())
}

/// The id of the project's `default` group, which is made when the project first needs it.
pub fn default(cx: &mut Cx<'_>) -> String {
    let project = cx.who.project_id.clone();
    let known = cx.state.find(Table::Groups, "name", "default").find(|doc| doc.text("project_id") == project);
    if let Some(doc) = known {
        return doc.text("id").to_owned();
    }
    let doc = json!({"name": "default", "description": "Default security group", "stateful": true, "shared": false});
    let doc = document(cx, doc);
    let id = doc.text("id").to_owned();
    cx.state.put(Table::Groups, &id, doc);
    for ethertype in ["IPv4", "IPv6"] {
        rules::make_plain(cx, &id, "egress", ethertype, None);
        rules::make_plain(cx, &id, "ingress", ethertype, Some(&id));
    }
    id
}

/// The group with its rules.
fn view(cx: &Cx<'_>, doc: &Json) -> Json {
    let mut view = doc.clone();
    let rules: Vec<Json> = cx
        .state
        .find(Table::Rules, "security_group_id", doc.text("id"))
        .enumerate()
        .map(|(number, rule)| {
            let mut rule = rule.clone();
            rule.unset("_key");
            rule.set("tags", json!([]));
            // Shown here, but not where the rule is shown alone: an inner number. And the other way round: whether the
            // rule is a default group's, which is unknown here.
            rule.set("standard_attr_id", number + 1);
            if rule.flag("belongs_to_default_sg") {
                rule.set("belongs_to_default_sg", Json::Null);
            }
            rule
        })
        .collect();
    view.set("security_group_rules", rules);
    view
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let wanted = wanted(cx, "security_group")?;
    check_attributes(&wanted, &KNOWN, &[])?;
    if wanted.text("name") == "default" {
        let text = "Default security group already exists.";
        return Err(Fault::named(409, "SecurityGroupDefaultAlreadyExists", text));
    }
    within_quota(cx, "security_group")?;
    let mut doc = json!({"name": "", "stateful": true, "shared": false});
    copy(&mut doc, &wanted, &["name", "description", "stateful"]);
    let doc = document(cx, doc);
    let id = doc.text("id").to_owned();
    cx.state.put(Table::Groups, &id, doc.clone());
    for ethertype in ["IPv4", "IPv6"] {
        rules::make_plain(cx, &id, "egress", ethertype, None);
    }
    Ok(one(cx, 201, "security_group", view(cx, &doc)))
}

fn update(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut doc = find(cx, id)?;
    let wanted = wanted(cx, "security_group")?;
    check_attributes(&wanted, &KNOWN, &["tenant_id", "project_id"])?;
    if doc.text("name") == "default" && wanted.has("name") {
        let text = "Updating default security group not allowed.";
        return Err(Fault::named(409, "SecurityGroupCannotUpdateDefault", text));
    }
    copy(&mut doc, &wanted, &["name", "description", "stateful"]);
    touch(&mut doc, cx.now);
    cx.state.put(Table::Groups, id, doc.clone());
    Ok(one(cx, 200, "security_group", view(cx, &doc)))
}

fn delete(cx: &mut Cx<'_>, id: &str) -> Answer {
    let doc = find(cx, id)?;
    if doc.text("name") == "default" {
        let text = "Insufficient rights for removing default security group.";
        return Err(Fault::named(409, "SecurityGroupCannotRemoveDefault", text));
    }
    let used = |port: &Json| port.list("security_groups").iter().any(|group| group == id);
    if cx.state.find(Table::Ports, "project_id", &cx.who.project_id).any(used) {
        return Err(Fault::named(409, "SecurityGroupInUse", format!("Security Group {id} in use.")));
    }
    // Rules of other groups that name this one go too.
    let gone = |rule: &&Json| rule.text("security_group_id") == id || rule.text("remote_group_id") == id;
    let own = cx.state.find(Table::Rules, "project_id", &cx.who.project_id);
    let rules: Vec<String> = own.filter(gone).map(|rule| rule.text("id").to_owned()).collect();
    for rule in rules {
        cx.state.remove(Table::Rules, &rule);
    }
    cx.state.remove(Table::Groups, id);
    Ok(Reply::empty(204))
}
