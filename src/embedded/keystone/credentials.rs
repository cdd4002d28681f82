//! Application credentials.

use http::Method;
use serde_json::json;

use super::{hash, list, malformed, not_allowed};
use crate::embedded::catalogue::fixed_hex;
use crate::embedded::clock;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, new_hex, repr};
use crate::model::Json;

/// Answers `/users/{id}/application_credentials…`.
pub fn handle(cx: &mut Cx<'_>, user: &str, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    if user != cx.who.user_id {
        return Err(not_allowed("identity:list_application_credentials"));
    }
    match (&method, path) {
        (&Method::GET, []) => {
            let wanted = cx.call.param("name");
            let own = cx.state.find(Table::Credentials, "user_id", user);
            let own = own.filter(|doc| wanted.is_none_or(|name| doc.text("name") == name));
            let views = own.map(|doc| view(cx, doc)).collect();
            Ok(list(cx, "application_credentials", views))
        }
        (&Method::POST, []) => create(cx),
        (&Method::GET, [id]) => {
            let doc = cx.state.get(Table::Credentials, id).filter(|doc| doc.text("user_id") == user);
            let doc = doc.ok_or_else(|| missing(id))?;
            Ok(Reply::ok(json!({"application_credential": view(cx, doc)})))
        }
        (&Method::DELETE, [id]) => {
            refuse_restricted(cx)?;
            cx.state
                .get(Table::Credentials, id)
                .filter(|doc| doc.text("user_id") == user)
                .ok_or_else(|| missing(id))?;
            cx.state.remove(Table::Credentials, id);
            Ok(Reply::empty(204))
        }
        _ => Err(Fault::new(405, "OPTIONS, GET, HEAD, POST")),
    }
}

fn missing(id: &str) -> Fault {
    Fault::missing(format!("Could not find Application Credential: {id}."))
}

fn refuse_restricted(cx: &Cx<'_>) -> Result<(), Fault> {
    if cx.who.restricted {
        let why =
            "Using method 'application_credential' is not allowed for managing additional application credentials.";
        return Err(not_allowed(why));
    }
    Ok(())
}

fn role(name: &str) -> Json {
    json!({"id": fixed_hex("role", name), "name": name, "domain_id": null, "description": null,
           "options": {"immutable": true}})
}

fn create(cx: &mut Cx<'_>) -> Answer {
    refuse_restricted(cx)?;
    let body = cx.call.json().unwrap_or_default();
    let wanted = body.get("application_credential").cloned();
    let wanted = wanted.ok_or_else(|| Fault::bad("'application_credential' is a required property"))?;
    if !wanted.has("name") {
        return Err(Fault::bad(format!(
            "Invalid input for field/attribute application_credential. Value: {}. 'name' is a required property",
            repr(&wanted)
        )));
    }
    let expires = expiry(cx, &wanted)?;
    for asked in wanted.list("roles") {
        let name = asked.text("name");
        let known =
            ["member", "reader"].iter().any(|role| *role == name || fixed_hex("role", role) == asked.text("id"));
        if !known {
            let why = "Cannot create an application credential with unassigned role";
            return Err(Fault::bad(format!("Invalid application credential: {why}")));
        }
    }
    let name = wanted.text("name");
    if cx.state.find(Table::Credentials, "user_id", &cx.who.user_id).any(|doc| doc.text("name") == name) {
        return Err(Fault::conflict(format!(
            "Conflict occurred attempting to store application_credential - Duplicate entry found with name {name}."
        )));
    }
    let (id, made) = (new_hex(), format!("{}{}", new_hex(), new_hex()));
    let secret = if wanted.has("secret") { wanted.text("secret").to_owned() } else { made };
    let doc = json!({
        "id": id, "name": name, "description": wanted.get("description"), "user_id": cx.who.user_id,
        "project_id": cx.who.project_id, "unrestricted": wanted.get("unrestricted"), "_expires": expires,
        "_secret": hash(&secret),
    });
    let mut shown = view(cx, &doc);
    shown.set("secret", secret);
    cx.state.put(Table::Credentials, &id, doc);
    Ok(Reply::json(201, json!({"application_credential": shown})))
}

fn expiry(cx: &Cx<'_>, wanted: &Json) -> Result<Option<i64>, Fault> {
    let text = wanted.text("expires_at");
    if text.is_empty() {
        return Ok(None);
    }
    let text = text.trim_end_matches('Z');
    let read = clock::parse(text, "%Y-%m-%dT%H:%M:%S%.f").or_else(|| clock::parse(text, "%Y-%m-%dT%H:%M:%S"));
    let expires = read.ok_or_else(|| malformed("Timestamp not in expected format."))?;
    if expires <= cx.now {
        return Err(malformed("The 'expires_at' must not be before now."));
    }
    Ok(Some(expires))
}

fn view(cx: &Cx<'_>, doc: &Json) -> Json {
    let expires = doc.has("_expires").then(|| clock::naive(doc.int("_expires")));
    let id = doc.text("id");
    json!({
        "id": id, "name": doc["name"], "description": doc["description"], "user_id": doc["user_id"],
        "project_id": doc["project_id"], "system": null, "expires_at": expires, "unrestricted": doc["unrestricted"],
        "roles": [role("member"), role("reader")],
        "links": {"self": format!("{}/identity/v3/application_credentials/{id}", cx.call.base)},
    })
}
