//! Federated sign-in as Chameleon has it: identity provider `chameleon`, protocol `openid`.
//!
//! The provider is here too, below `/oidc`: it gives user `demo` the access token `demo-access-token`, and so on.

use serde_json::json;

use super::tokens;
use crate::embedded::catalogue::{USERS, User};
use crate::embedded::wire::{Answer, Cx, Fault, Reply};

const SUFFIX: &str = "-access-token";

/// `/OS-FEDERATION/identity_providers/{provider}/protocols/{protocol}/auth` with `Authorization: Bearer …`.
pub fn sign_in(cx: &mut Cx<'_>, provider: &str, protocol: &str) -> Answer {
    if provider != "chameleon" {
        return Err(Fault::missing(format!("Could not find Identity Provider: {provider}.")));
    }
    if protocol != "openid" {
        return Err(Fault::missing(format!("Could not find federated protocol {protocol} for identity provider.")));
    }
    let bearer = cx.call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let name = bearer.and_then(|token| token.strip_suffix(SUFFIX));
    let user = name.and_then(user_named).ok_or_else(|| Fault::new(401, ""))?;
    Ok(tokens::grant_federated(cx, user))
}

fn user_named(name: &str) -> Option<&'static User> {
    USERS.iter().find(|user| user.name == name)
}

/// The OpenID Connect provider: its discovery document and its token endpoint.
pub fn provider(cx: &mut Cx<'_>, path: &[&str]) -> Reply {
    let base = &cx.call.base;
    match path {
        [".well-known", "openid-configuration"] => Reply::ok(json!({
            "issuer": format!("{base}/oidc"),
            "authorization_endpoint": format!("{base}/oidc/auth"),
            "token_endpoint": format!("{base}/oidc/token"),
            "grant_types_supported": ["password", "refresh_token"],
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        })),
        ["token"] => token(cx),
        _ => Reply::json(404, json!({"error": "not_found"})),
    }
}

fn token(cx: &Cx<'_>) -> Reply {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&cx.call.body).into_owned().collect();
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let user = match field("grant_type") {
        Some("password") => field("username").and_then(user_named).filter(|user| field("password") == Some(user.name)),
        Some("refresh_token") => field("refresh_token").and_then(|text| user_named(text.strip_suffix("-refresh")?)),
        _ => {
            let body = json!({"error": "unsupported_grant_type", "error_description": "Unsupported grant_type"});
            return Reply::json(400, body);
        }
    };
    match user {
        Some(user) => Reply::ok(json!({
            "access_token": format!("{}{SUFFIX}", user.name), "expires_in": 300, "refresh_expires_in": 1800,
            "refresh_token": format!("{}-refresh", user.name), "token_type": "Bearer", "scope": "openid profile",
        })),
        None => {
            let body = json!({"error": "invalid_grant", "error_description": "Invalid user credentials"});
            Reply::json(401, body)
        }
    }
}
