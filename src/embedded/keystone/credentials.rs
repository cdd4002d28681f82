//! Application credentials.

use http::Method;
use serde_json::json;

use super::{hash, list, malformed, not_allowed};
use crate::embedded::catalogue::fixed_hex;
use crate::embedded::clock;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Call, Cx, Fault, Reply, new_hex, repr};
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

/// Refuses what a restricted application credential may not do.
pub(super) fn refuse_restricted(cx: &Cx<'_>) -> Result<(), Fault> {
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
    let roles = roles(&wanted)?;
    let rules = access_rules(&wanted)?;
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
        "_secret": hash(&secret), "_roles": roles, "access_rules": rules,
    });
    let mut shown = view(cx, &doc);
    shown.set("secret", secret);
    cx.state.put(Table::Credentials, &id, doc);
    Ok(Reply::json(201, json!({"application_credential": shown})))
}

/// The roles that it is to have: those asked for with what they imply, or all of its maker's.
fn roles(wanted: &Json) -> Result<Vec<&'static str>, Fault> {
    let own = ["member", "reader"];
    let mut first = own.len();
    for asked in wanted.list("roles") {
        let named =
            own.iter().position(|role| *role == asked.text("name") || fixed_hex("role", role) == asked.text("id"));
        let Some(place) = named else {
            let why = "Cannot create an application credential with unassigned role";
            return Err(Fault::bad(format!("Invalid application credential: {why}")));
        };
        // A member is a reader.
        first = first.min(place);
    }
    Ok(own[if first == own.len() { 0 } else { first }..].to_vec())
}

/// The rules for which requests it is good; null if for all.
fn access_rules(wanted: &Json) -> Result<Json, Fault> {
    if !wanted.has("access_rules") {
        return Ok(Json::Null);
    }
    let rules = wanted.list("access_rules").iter().map(|rule| {
        let path = rule.text("path");
        if !path.starts_with('/') {
            return Err(Fault::bad(format!(
                "Invalid input for field/attribute path. Value: {path}. '{path}' does not match '^/\\\\.*'"
            )));
        }
        Ok(json!({"id": new_hex(), "service": rule["service"], "path": path, "method": rule["method"]}))
    });
    rules.collect()
}

/// Whether a token made from these rules is good for a request: the path of a rule may have `*` for a part of it, `{x}` for
/// a whole part and `**` for all that follows.
pub(super) fn permits(rules: &[Json], call: &Call) -> bool {
    let Some((service, path)) = call.path.split_first() else { return false };
    let service = match service.as_str() {
        "volume" => "block-storage",
        "swift" => "object-store",
        other => other,
    };
    rules.iter().any(|rule| {
        let asked: Vec<&str> = rule.text("path").split('/').filter(|part| !part.is_empty()).collect();
        rule.text("service") == service
            && rule.text("method") == call.method.as_str()
            && parts_fit(&asked, &path.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

fn parts_fit(asked: &[&str], path: &[&str]) -> bool {
    match (asked.split_first(), path.split_first()) {
        (Some((&"**", [])), _) | (None, None) => true,
        (Some((part, asked)), Some((given, path))) => {
            let (before, after) = part.split_once('*').unwrap_or((part, ""));
            let whole = part.starts_with('{') && part.ends_with('}');
            let fits =
                whole || part == given || (part.contains('*') && given.starts_with(before) && given.ends_with(after));
            fits && parts_fit(asked, path)
        }
        _ => false,
    }
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
    let names = doc.list("_roles").iter().filter_map(Json::as_str);
    let mut view = json!({
        "id": id, "name": doc["name"], "description": doc["description"], "user_id": doc["user_id"],
        "project_id": doc["project_id"], "system": null, "expires_at": expires, "unrestricted": doc["unrestricted"],
        "roles": names.map(role).collect::<Vec<_>>(),
        "links": {"self": format!("{}/identity/v3/application_credentials/{id}", cx.call.base)},
    });
    if doc.has("access_rules") {
        view.set("access_rules", doc["access_rules"].clone());
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_permits_its_paths_only() {
        let rule = |path: &str| vec![json!({"service": "compute", "method": "GET", "path": path})];
        let call = |target: &str| Call {
            path: target.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            ..Call::nobody()
        };
        let one = call("/compute/v2.1/servers/7");
        for path in ["/v2.1/servers/7", "/v2.1/servers/{id}", "/v2.1/servers/*", "/v2.1/**", "/v2*/servers/7"] {
            assert!(permits(&rule(path), &one), "{path}");
        }
        for path in ["/v2.1/servers", "/v2.1/servers/*/action", "/v2.1/servers/8", "/v2.1/*"] {
            assert!(!permits(&rule(path), &one), "{path}");
        }
        assert!(!permits(&rule("/v2.1/**"), &call("/network/v2.1/servers")));
    }
}
