//! Keystone: sign-in, tokens, the catalog, application and EC2 credentials, and the identity provider for federated
//! sign-in.
//!
//! Invariants: a token is opaque, kept as a hash, and gone 4 h after it was issued by the cloud's clock.

pub mod catalog;
pub mod credentials;
pub mod ec2;
pub mod federation;
pub mod tokens;

use http::Method;
use ring::digest;
use serde_json::json;

use super::catalogue;
use super::wire::{Answer, Body, Cx, Fault, Reply, link, new_id};
use crate::model::Json;

/// A hash of a secret, as it is kept.
#[must_use]
pub fn hash(secret: &str) -> String {
    let hash = digest::digest(&digest::SHA256, secret.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The answer of every service to a request without a valid token.
#[must_use]
pub fn unauthorized(cx: &Cx<'_>) -> Reply {
    let body = json!({"error": {"code": 401, "title": "Unauthorized",
                                "message": "The request you have made requires authentication."}});
    Reply::json(401, body).header("www-authenticate", format!("Keystone uri=\"{}/identity/v3\"", cx.call.base))
}

/// Answers a request to Keystone.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Reply {
    let reply = match path {
        [] => Ok(versions(cx)),
        ["v3"] => Ok(Reply::ok(json!({"version": version(cx)}))),
        ["v3", rest @ ..] => v3(cx, rest),
        _ => Err(Fault::no_route()),
    };
    reply
        .unwrap_or_else(|fault| refuse(cx, &fault))
        .header("vary", "X-Auth-Token")
        .header("x-openstack-request-id", format!("req-{}", new_id()))
}

fn version(cx: &Cx<'_>) -> Json {
    json!({
        "id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
        "links": [link("self", format!("{}/identity/v3/", cx.call.base))],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    })
}

fn versions(cx: &Cx<'_>) -> Reply {
    let body = json!({"versions": {"values": [version(cx)]}});
    Reply::json(300, body).header("location", format!("{}/identity/v3/", cx.call.base))
}

fn refuse(cx: &Cx<'_>, fault: &Fault) -> Reply {
    let title = match fault.status {
        400 => "Bad Request",
        401 if fault.message.is_empty() => return unauthorized(cx),
        401 => {
            let body =
                json!({"error": {"code": 401, "message": fault.message, "title": "Unauthorized", "identity": {}}});
            return Reply { headers: unauthorized(cx).headers, ..Reply::json(401, body) };
        }
        403 => "Forbidden",
        404 if fault.kind == "route" => {
            let page = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested \
                        URL was not found on the server. If you entered the URL manually please check your spelling and \
                        try again.</p>\n";
            return Reply { status: 404, headers: Vec::new(), body: Body::Html(page.to_owned()) };
        }
        404 => "Not Found",
        405 => {
            let reply = Reply::json(405, json!({"message": "The method is not allowed for the requested URL."}));
            return reply.header("allow", fault.message.as_str());
        }
        409 => "Conflict",
        _ => "Internal Server Error",
    };
    Reply::json(fault.status, json!({"error": {"code": fault.status, "message": fault.message, "title": title}}))
}

/// What Keystone says of a request it cannot read.
fn malformed(what: &str) -> Fault {
    Fault::bad(format!(
        "{what} The server could not comply with the request since it is either malformed or otherwise incorrect. The \
         client is assumed to be in error."
    ))
}

fn not_allowed(rule: &str) -> Fault {
    Fault::forbidden(format!("You are not authorized to perform the requested action: {rule}."))
}

fn v3(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::POST, ["auth", "tokens"]) => return tokens::issue(cx),
        (_, ["OS-FEDERATION", "identity_providers", provider, "protocols", protocol, "auth"]) => {
            return federation::sign_in(cx, provider, protocol);
        }
        _ => {}
    }
    let token = tokens::of_request(cx).ok_or_else(|| Fault::new(401, ""))?;
    tokens::check_credential(cx, &token)?;
    cx.who = tokens::who(&token);
    match (&method, path) {
        (&Method::GET | &Method::HEAD, ["auth", "tokens"]) => tokens::show(cx),
        (&Method::DELETE, ["auth", "tokens"]) => tokens::revoke(cx),
        (_, ["auth", "tokens"]) => Err(Fault::new(405, "OPTIONS, GET, HEAD, DELETE, POST")),
        (&Method::GET, ["auth", "system"]) => {
            let here = format!("{}{}", cx.call.base, cx.call.target);
            Ok(Reply::ok(json!({"system": [], "links": {"self": here}})))
        }
        (&Method::GET, ["credentials"]) => Ok(ec2::all(cx)),
        (_, ["users", id, "credentials", "OS-EC2", rest @ ..]) => ec2::handle(cx, id, rest),
        (&Method::GET, ["auth", "projects"] | ["OS-FEDERATION", "projects"]) => Ok(projects(cx)),
        (&Method::GET, ["auth", "domains"] | ["OS-FEDERATION", "domains"]) => Ok(list(cx, "domains", Vec::new())),
        (&Method::GET, ["auth", "catalog"]) => Ok(Reply::ok(json!({
            "catalog": catalog::catalog(cx, &cx.who.project_id),
            "links": {"self": format!("{}/identity/v3/auth/catalog", cx.call.base)},
        }))),
        (&Method::GET, ["projects", id]) => project(cx, id),
        (&Method::GET, ["users", id]) => user(cx, id),
        (&Method::GET, ["users", id, "projects"]) if *id == cx.who.user_id => Ok(projects(cx)),
        (_, ["users", id, "application_credentials", rest @ ..]) => credentials::handle(cx, id, rest),
        (&Method::GET, ["domains", "default"]) => Ok(Reply::ok(json!({"domain": {
            "id": "default", "name": "Default", "description": "The default domain", "enabled": true, "tags": [],
            "options": {}, "links": {"self": format!("{}/identity/v3/domains/default", cx.call.base)}}}))),
        (&Method::GET, ["regions"]) => {
            let region = cx.profile.region();
            let href = format!("{}/identity/v3/regions/{region}", cx.call.base);
            let region = json!({"id": region, "description": "", "parent_region_id": null, "links": {"self": href}});
            Ok(list(cx, "regions", vec![region]))
        }
        (
            &Method::GET,
            [what @ ("projects" | "users" | "roles" | "services" | "endpoints" | "domains" | "role_assignments")],
        ) => Err(not_allowed(&format!("identity:list_{what}"))),
        _ => Err(Fault::no_route()),
    }
}

fn list(cx: &Cx<'_>, key: &str, items: Vec<Json>) -> Reply {
    let here = format!("{}{}", cx.call.base, cx.call.target);
    Reply::ok(json!({key: items, "links": {"next": null, "self": here, "previous": null}}))
}

fn project_view(cx: &Cx<'_>, name: &str) -> Json {
    let id = catalogue::project_id(name);
    json!({
        "id": id, "name": name, "domain_id": "default", "description": "",
        "enabled": true, "parent_id": "default", "is_domain": false, "tags": [], "options": {},
        "links": {"self": format!("{}/identity/v3/projects/{id}", cx.call.base)},
    })
}

fn projects(cx: &Cx<'_>) -> Reply {
    let own = catalogue::user_by_id(&cx.who.user_id).map(|user| project_view(cx, user.project));
    list(cx, "projects", own.into_iter().collect())
}

fn project(cx: &Cx<'_>, id: &str) -> Answer {
    let own = catalogue::user_by_id(&cx.who.user_id).filter(|user| catalogue::project_id(user.project) == id);
    let own = own.ok_or_else(|| not_allowed("identity:get_project"))?;
    Ok(Reply::ok(json!({"project": project_view(cx, own.project)})))
}

fn user(cx: &Cx<'_>, id: &str) -> Answer {
    let own = catalogue::user_by_id(&cx.who.user_id).filter(|_| id == cx.who.user_id);
    let own = own.ok_or_else(|| not_allowed("identity:get_user"))?;
    Ok(Reply::ok(json!({"user": {
        "id": id, "name": own.name, "domain_id": "default", "enabled": true, "password_expires_at": null, "options": {},
        "links": {"self": format!("{}/identity/v3/users/{id}", cx.call.base)},
    }})))
}
