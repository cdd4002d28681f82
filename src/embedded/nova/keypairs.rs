//! Keypairs, which belong to a user, not to a project.

use http::Method;
use serde_json::json;

use super::{invalid, keys, no_page};
use crate::embedded::clock;
use crate::embedded::quota::{self, Quotas};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, link, page};
use crate::model::Json;

const KNOWN: [&str; 4] = ["name", "public_key", "type", "user_id"];

/// Answers `/os-keypairs…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => list(cx),
        (&Method::POST, []) => create(cx),
        (&Method::GET, [name]) => {
            let doc = cx.state.get(Table::Keypairs, &key(cx, name)).ok_or_else(|| missing(cx, name))?;
            let mut view = view(cx, doc);
            view.set("user_id", doc["user_id"].clone());
            view.set("created_at", clock::naive(doc.int("created")));
            view.set("deleted", false);
            view.set("deleted_at", Json::Null);
            view.set("updated_at", Json::Null);
            view.set("id", doc.int("created") % 1_000_000);
            Ok(Reply::ok(json!({"keypair": view})))
        }
        (&Method::DELETE, [name]) => {
            let key = key(cx, name);
            cx.state.remove(Table::Keypairs, &key).ok_or_else(|| missing(cx, name))?;
            Ok(Reply::empty(if cx.at_least(2) { 204 } else { 202 }))
        }
        _ => Err(Fault::no_route()),
    }
}

fn key(cx: &Cx<'_>, name: &str) -> String {
    format!("{}/{name}", cx.who.user_id)
}

fn missing(cx: &Cx<'_>, name: &str) -> Fault {
    Fault::missing(format!("Keypair {name} not found for user {}", cx.who.user_id))
}

/// Whether the user has a keypair of that name.
#[must_use]
pub fn exists(cx: &Cx<'_>, name: &str) -> bool {
    cx.state.get(Table::Keypairs, &key(cx, name)).is_some()
}

/// The public key of the user's keypair of that name.
#[must_use]
pub fn public_key(cx: &Cx<'_>, name: &str) -> Option<String> {
    cx.state.get(Table::Keypairs, &key(cx, name)).map(|doc| doc.text("public_key").trim().to_owned())
}

fn view(cx: &Cx<'_>, doc: &Json) -> Json {
    let mut view = json!({"name": doc["name"], "public_key": doc["public_key"], "fingerprint": doc["fingerprint"]});
    if cx.at_least(2) {
        view.set("type", "ssh");
    }
    view
}

fn list(cx: &Cx<'_>) -> Answer {
    let mut own: Vec<&Json> = cx.state.find(Table::Keypairs, "user_id", &cx.who.user_id).collect();
    own.sort_by(|one, two| one.text("name").cmp(two.text("name")));
    if !cx.at_least(35) {
        let all: Vec<Json> = own.into_iter().map(|doc| json!({"keypair": view(cx, doc)})).collect();
        return Ok(Reply::ok(json!({"keypairs": all})));
    }
    let cut = page(cx.call, own, "name", 1000)
        .map_err(|error| no_page(cx, error, |marker| format!("Marker {marker} could not be found.")))?;
    let mut body =
        json!({"keypairs": cut.items.iter().map(|doc| json!({"keypair": view(cx, doc)})).collect::<Vec<_>>()});
    if let (true, Some(last)) = (cut.more, cut.items.last()) {
        body.set("keypairs_links", json!([link("next", cx.call.next_page(last.text("name")))]));
    }
    Ok(Reply::ok(body))
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let body = cx.call.json().unwrap_or_default();
    let wanted = body.get("keypair").cloned().ok_or_else(|| Fault::bad("'keypair' is a required property"))?;
    let strange = wanted.as_object().and_then(|map| map.keys().find(|key| !KNOWN.contains(&key.as_str())));
    if let Some(key) = strange {
        let why = format!("Additional properties are not allowed ('{key}' was unexpected)");
        return Err(invalid("keypair", &wanted, &why));
    }
    for needed in ["name", "public_key"] {
        if !wanted.has(needed) && (needed == "name" || cx.at_least(92)) {
            return Err(invalid("keypair", &wanted, &format!("'{needed}' is a required property")));
        }
    }
    let name = wanted.text("name");
    check_name(cx, name)?;
    let (private, public) = if wanted.has("public_key") {
        (None, wanted.text("public_key").to_owned())
    } else {
        let made = keys::generate().ok_or_else(|| Fault::new(500, "Unexpected API Error."))?;
        (Some(made.0), made.1)
    };
    let fingerprint = keys::fingerprint(&public)
        .ok_or_else(|| Fault::bad("Keypair data is invalid: failed to generate fingerprint"))?;
    if exists(cx, name) {
        return Err(Fault::conflict(format!("Key pair '{name}' already exists.")));
    }
    let limit = quota::limit(cx.state, &cx.who.project_id, Quotas::Compute, "key_pairs");
    if limit >= 0 && cx.state.count(Table::Keypairs, "user_id", &cx.who.user_id) >= limit {
        return Err(Fault::forbidden("Quota exceeded, too many key pairs."));
    }
    let doc = json!({"name": name, "public_key": public, "fingerprint": fingerprint, "user_id": cx.who.user_id,
                     "created": cx.now});
    let mut view = view(cx, &doc);
    view.set("user_id", cx.who.user_id.as_str());
    if let Some(private) = private {
        view.set("private_key", private);
    }
    let key = key(cx, name);
    cx.state.put(Table::Keypairs, &key, doc);
    Ok(Reply::json(if cx.at_least(2) { 201 } else { 200 }, json!({"keypair": view})))
}

fn check_name(cx: &Cx<'_>, name: &str) -> Result<(), Fault> {
    super::check_name(&json!(name))?;
    let extra = if cx.at_least(92) { "@._- " } else { "_- " };
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c));
    if plain {
        return Ok(());
    }
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    Err(Fault::bad(format!(
        "An invalid 'name' value was provided. The name must be: Only expected characters: [{extra}{letters}]"
    )))
}
