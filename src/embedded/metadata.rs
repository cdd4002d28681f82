//! Metadata of servers and volumes: `…/{id}/metadata` and `…/metadata/{key}`, which Nova and Cinder answer alike but for
//! their words.

use http::Method;
use serde_json::json;

use super::tables::{Fields, Table};
use super::wire::{Answer, Cx, Fault, Reply, repr};
use crate::model::Json;

/// What differs between the services.
pub struct Words<'a> {
    /// Whose metadata.
    pub table: Table,
    /// What keys and values may be.
    pub check: fn(&Json) -> Result<(), Fault>,
    /// What is said of a key that is not there.
    pub no_key: &'a dyn Fn(&str) -> Fault,
    /// The status of a deletion.
    pub deleted: u16,
}

/// Refuses keys with other characters than letters, digits and `extra`, or with more than 255 of them.
pub fn check_keys(metadata: &Json, extra: &str) -> Result<(), Fault> {
    let fits = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c));
    let good = |key: &str| (1..=255).contains(&key.chars().count()) && fits(key);
    let keys = metadata.as_object().into_iter().flatten().map(|(key, _)| key);
    let bad: Vec<String> = keys.filter(|key| !good(key)).map(|key| format!("'{key}'")).collect();
    let does = match bad.len() {
        0 => return Ok(()),
        1 => "does",
        _ => "do",
    };
    Err(Fault::bad(format!(
        "Invalid input for field/attribute metadata. Value: {}. {} {does} not match any of the regexes: \
         '^[a-zA-Z0-9{extra}]{{1,255}}$'",
        repr(metadata),
        bad.join(", ")
    )))
}

/// Answers for the object `doc`, and keeps what changed.
pub fn answer(cx: &mut Cx<'_>, mut doc: Json, path: &[&str], words: &Words<'_>) -> Answer {
    let method = cx.call.method.clone();
    let body = cx.call.json().unwrap_or_default();
    let reply = match (&method, path) {
        (&Method::GET, []) => return Ok(Reply::ok(json!({"metadata": doc["metadata"]}))),
        (&Method::GET, [key]) => {
            let value = doc["metadata"].get(*key).ok_or_else(|| (words.no_key)(key))?;
            return Ok(Reply::ok(json!({"meta": {*key: value}})));
        }
        (&Method::POST | &Method::PUT, []) => {
            let wanted = body.get("metadata").and_then(Json::as_object).cloned();
            let wanted = wanted.ok_or_else(|| Fault::bad("'metadata' is a required property"))?;
            (words.check)(&Json::Object(wanted.clone()))?;
            if method == Method::PUT {
                doc.set("metadata", json!({}));
            }
            for (key, value) in wanted {
                doc["metadata"].set(&key, value);
            }
            Reply::ok(json!({"metadata": doc["metadata"]}))
        }
        (&Method::PUT, [key]) => {
            let value = body.get("meta").and_then(|meta| meta.get(*key)).cloned();
            let value = value.ok_or_else(|| Fault::bad("Request body and URI mismatch"))?;
            doc["metadata"].set(key, value.clone());
            Reply::ok(json!({"meta": {*key: value}}))
        }
        (&Method::DELETE, [key]) => {
            doc["metadata"].get(*key).ok_or_else(|| (words.no_key)(key))?;
            doc["metadata"].unset(key);
            Reply::empty(words.deleted)
        }
        _ => return Err(Fault::no_route()),
    };
    doc.set("updated", cx.now);
    let id = doc.text("id").to_owned();
    cx.state.put(words.table, &id, doc);
    Ok(reply)
}
