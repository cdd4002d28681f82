//! Tokens: issued for a password, another token or an application credential, shown, and revoked.

use serde_json::json;

use super::{catalog, credentials, hash, malformed, not_allowed};
use crate::embedded::catalogue::{self, USERS, User, fixed_hex, project_id, user_id};
use crate::embedded::clock;
use crate::embedded::tables::{Fields, State, Table};
use crate::embedded::wire::{Answer, Call, Cx, Fault, Reply, Who, new_hex};
use crate::model::Json;

/// What every token begins with.
const PREFIX: &str = "gAAAAAB";

/// How long a token lives.
const LIFETIME: i64 = 4 * 3600 * 1000;

/// What is known of who signs in.
struct SignIn {
    user: &'static User,
    methods: Vec<String>,
    /// The audit id of the token that this one is made from.
    parent: Option<Json>,
    expires: i64,
    /// The application credential: its document.
    credential: Option<Json>,
}

/// Refuses a token of an application credential that was removed since.
pub fn check_credential(cx: &Cx<'_>, token: &Json) -> Result<(), Fault> {
    let credential = token.get("credential").map(|credential| credential.text("id")).unwrap_or_default();
    if credential.is_empty() || cx.state.get(Table::Credentials, credential).is_some() {
        return Ok(());
    }
    Err(Fault::missing(format!("Could not find Application Credential: {credential}.")))
}

/// The refusal of a token that is not valid: one that was, or that never was one.
fn not_a_token(text: &str) -> Fault {
    let was = text.starts_with(PREFIX);
    Fault::missing(if was { "Failed to validate token" } else { "Could not recognize Fernet token" })
}

fn wrong() -> Fault {
    Fault::new(401, "")
}

/// The token's document that the request carries, if it is valid and good for this request.
#[must_use]
pub fn of_request(cx: &Cx<'_>) -> Option<Json> {
    valid(cx.state, cx.call)
}

/// The same for a service without such a context.
#[must_use]
pub fn valid(state: &State, call: &Call) -> Option<Json> {
    let token = state.get(Table::Tokens, &hash(call.header("x-auth-token")?))?;
    let rules = token.get("credential").filter(|credential| credential.has("access_rules"));
    let permitted = rules.is_none_or(|credential| credentials::permits(credential.list("access_rules"), call));
    permitted.then(|| token.clone())
}

/// Who a token is for.
#[must_use]
pub fn who(token: &Json) -> Who {
    Who {
        user_id: token.text("user_id").to_owned(),
        project_id: token.text("project_id").to_owned(),
        restricted: token.get("credential").is_some_and(|credential| credential.flag("restricted")),
        operator: catalogue::is_operator(token.text("user_id")),
    }
}

/// `POST /auth/tokens`.
pub fn issue(cx: &mut Cx<'_>) -> Answer {
    let body = cx.call.json();
    if body.is_none() {
        return Err(malformed("Expecting to find valid JSON in request body."));
    }
    let auth = body.as_ref().and_then(|body| body.get("auth"));
    let auth = auth.ok_or_else(|| malformed("Expecting to find auth in request body."))?;
    let identity = auth.get("identity").ok_or_else(|| Fault::bad("'identity' is a required property"))?;
    if !identity.has("methods") {
        return Err(Fault::bad("Invalid input for field 'identity': 'methods' is a required property"));
    }
    let method = identity.list("methods").first().and_then(Json::as_str).unwrap_or_default();
    let given = identity.get(method).ok_or_else(|| malformed(&format!("Expecting to find {method} in identity.")))?;
    let sign_in = match method {
        "password" => by_password(cx, given)?,
        "token" => by_token(cx, given)?,
        "application_credential" => by_credential(cx, given)?,
        _ => return Err(wrong()),
    };
    let project = match (&sign_in.credential, auth.get("scope")) {
        // A credential has its project; asking for one is refused, even for the same.
        (Some(_), Some(_)) if method == "application_credential" => return Err(scope_of_credential()),
        (Some(credential), _) => Some(credential.text("project_id").to_owned()),
        (None, Some(scope)) if scope.is_object() => Some(scoped(&sign_in, scope)?),
        _ => None,
    };
    Ok(grant(cx, sign_in, project))
}

fn scope_of_credential() -> Fault {
    let why = "Application credentials cannot request a scope.";
    Fault::new(401, format!("Error authenticating with application credential: {why}"))
}

/// Signs a federated user in, without a project yet.
pub fn grant_federated(cx: &mut Cx<'_>, user: &'static User) -> Reply {
    let expires = cx.now + LIFETIME;
    grant(cx, SignIn { user, methods: vec!["mapped".to_owned()], parent: None, expires, credential: None }, None)
}

fn named(given: &Json) -> Result<&'static User, Fault> {
    let (id, name) = (given.text("id"), given.text("name"));
    let domain = given.get("domain");
    let domain_fits = domain.is_some_and(|domain| domain.text("id") == "default" || domain.text("name") == "Default");
    let found = USERS.iter().find(|user| user_id(user.name) == id || (user.name == name && domain_fits));
    found.ok_or_else(wrong)
}

fn by_password(cx: &Cx<'_>, given: &Json) -> Result<SignIn, Fault> {
    let user = given.get("user").ok_or_else(|| malformed("Expecting to find user in password."))?;
    let found = named(user)?;
    if user.text("password") != found.name {
        return Err(wrong());
    }
    let methods = vec!["password".to_owned()];
    Ok(SignIn { user: found, methods, parent: None, expires: cx.now + LIFETIME, credential: None })
}

fn by_token(cx: &Cx<'_>, given: &Json) -> Result<SignIn, Fault> {
    let token = cx.state.get(Table::Tokens, &hash(given.text("id")));
    let token = token.ok_or_else(|| not_a_token(given.text("id")))?;
    let user = catalogue::user_by_id(token.text("user_id")).ok_or_else(wrong)?;
    let mut methods: Vec<String> =
        token.list("methods").iter().filter_map(|method| method.as_str().map(str::to_owned)).collect();
    if !methods.iter().any(|method| method == "token") {
        methods.push("token".to_owned());
    }
    let credential = token.get("credential").filter(|credential| credential.is_object()).cloned();
    let parent = token.list("audit_ids").first().cloned();
    Ok(SignIn { user, methods, parent, expires: token.int("_due_at"), credential })
}

fn by_credential(cx: &Cx<'_>, given: &Json) -> Result<SignIn, Fault> {
    let id = given.text("id");
    let found = if given.has("id") {
        let gone = || Fault::missing(format!("Could not find Application Credential: {id}."));
        cx.state.get(Table::Credentials, id).ok_or_else(gone)?
    } else {
        let user = user_id(named(given.get("user").ok_or_else(wrong)?)?.name);
        let mut own = cx.state.find(Table::Credentials, "user_id", &user);
        own.find(|doc| doc.text("name") == given.text("name")).ok_or_else(wrong)?
    };
    let expired = found.has("_expires") && found.int("_expires") <= cx.now;
    if expired || found.text("_secret") != hash(given.text("secret")) {
        return Err(wrong());
    }
    let user = catalogue::user_by_id(found.text("user_id")).ok_or_else(wrong)?;
    let credential = json!({"id": found["id"], "name": found["name"], "restricted": !found.flag("unrestricted"),
                            "project_id": found["project_id"], "roles": found["_roles"],
                            "access_rules": found["access_rules"]});
    let methods = vec!["application_credential".to_owned()];
    Ok(SignIn { user, methods, parent: None, expires: cx.now + LIFETIME, credential: Some(credential) })
}

fn scoped(sign_in: &SignIn, scope: &Json) -> Result<String, Fault> {
    let project = scope.get("project").ok_or_else(wrong)?;
    let own = project_id(sign_in.user.project);
    let fits = project.text("id") == own || project.text("name") == sign_in.user.project;
    if fits { Ok(own) } else { Err(wrong()) }
}

fn grant(cx: &mut Cx<'_>, sign_in: SignIn, project: Option<String>) -> Reply {
    let secret = format!("{PREFIX}{}{}{}", new_hex(), new_hex(), new_hex());
    let mut audit = vec![json!(new_hex()[..22])];
    audit.extend(sign_in.parent);
    let doc = json!({
        "user_id": user_id(sign_in.user.name), "methods": sign_in.methods, "audit_ids": audit, "issued": cx.now,
        "project_id": project.unwrap_or_default(), "credential": sign_in.credential,
        "_due": sign_in.expires, "_due_at": sign_in.expires,
    });
    let body = view(cx, &doc, true);
    cx.state.put(Table::Tokens, &hash(&secret), doc);
    Reply::json(201, json!({"token": body})).header("x-subject-token", secret)
}

/// The roles of a token: those of its application credential, or of its user.
fn roles(token: &Json) -> Json {
    let given = token.get("credential").map(|credential| credential.list("roles")).unwrap_or_default();
    let names: Vec<&str> = match given {
        [] if catalogue::is_operator(token.text("user_id")) => vec!["admin", "member", "reader"],
        [] => vec!["member", "reader"],
        given => given.iter().filter_map(Json::as_str).collect(),
    };
    names.iter().map(|name| json!({"id": fixed_hex("role", name), "name": name})).collect()
}

fn view(cx: &Cx<'_>, token: &Json, with_catalog: bool) -> Json {
    let domain = json!({"id": "default", "name": "Default"});
    let name = catalogue::user_by_id(token.text("user_id")).map(|user| user.name).unwrap_or_default();
    let mut user = json!({"domain": domain, "id": token["user_id"], "name": name, "password_expires_at": null});
    if token.list("methods").iter().any(|method| method == "mapped") {
        let via = json!({"identity_provider": {"id": "chameleon"}, "protocol": {"id": "openid"}, "groups": []});
        user.set("OS-FEDERATION", via);
    }
    let mut view = json!({
        "methods": token["methods"], "user": user, "audit_ids": token["audit_ids"],
        "expires_at": clock::zulu_micro(token.int("_due_at")), "issued_at": clock::zulu_micro(token.int("issued")),
    });
    let project = token.text("project_id");
    if !project.is_empty() {
        let name = catalogue::project_name(project).unwrap_or_default();
        view.set("project", json!({"domain": domain, "id": project, "name": name}));
        view.set("is_domain", false);
        view.set("roles", roles(token));
        if with_catalog {
            view.set("catalog", catalog::catalog(cx, project));
        }
    }
    if let Some(credential) = token.get("credential").filter(|credential| credential.is_object()) {
        let mut shown =
            json!({"id": credential["id"], "name": credential["name"], "restricted": credential["restricted"]});
        if credential.has("access_rules") {
            shown.set("access_rules", credential["access_rules"].clone());
        }
        view.set("application_credential", shown);
    }
    view
}

/// `GET /auth/tokens`.
pub fn show(cx: &mut Cx<'_>) -> Answer {
    let secret = cx.call.header("x-subject-token").ok_or_else(|| not_allowed("identity:validate_token"))?;
    let token = cx.state.get(Table::Tokens, &hash(secret));
    let token = token.ok_or_else(|| not_a_token(secret))?;
    let body = view(cx, token, cx.call.param("nocatalog").is_none());
    Ok(Reply::ok(json!({"token": body})).header("x-subject-token", secret))
}

/// `DELETE /auth/tokens`.
pub fn revoke(cx: &mut Cx<'_>) -> Answer {
    let secret = cx.call.header("x-subject-token").ok_or_else(|| not_allowed("identity:revoke_token"))?;
    match cx.state.remove(Table::Tokens, &hash(secret)) {
        Some(_) => Ok(Reply::empty(204)),
        None => Err(not_a_token(secret)),
    }
}
