//! Signs in: from what the configuration has to a token for a project.
//!
//! Every way ends at Keystone's `POST /auth/tokens` (Identity API v3); OpenID Connect takes the way over the
//! provider's token endpoint and Keystone's federation (`OS-FEDERATION`) to an unscoped token first.
//!
//! Invariant: bodies with secrets exist only on their way into a request; errors name the configuration's origin and
//! the kind of sign-in, never a value.

use http::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use url::Url;

use super::config::{Auth, CloudConfig, CredentialRef, Domain, Federation, Scope, User};
use super::token::{Named, Token, TokenBody};
use super::transport::{Incoming, secret_header};
use super::wire::{Ask, Wire};
use super::{CloudError, ErrorKind, Service, oidc, retry, versions};
use crate::model::Json;

/// Finds Keystone's `/v3` URL: the configured one if it says so already, or what its root says.
pub(super) async fn discover(wire: &Wire, auth_url: &Url) -> Result<Url, CloudError> {
    let path = auth_url.path().trim_end_matches('/');
    let root = match versions::trailing(auth_url) {
        Some("v3") => return Ok(versions::with_path(auth_url, path)),
        // An old openrc file says /v2.0, which is long gone; its root knows better.
        Some(version) => versions::with_path(auth_url, &path[..path.len() - version.len()]),
        None => versions::with_path(auth_url, path),
    };
    let ask = Ask::new(Service::Identity, Method::GET, root.clone(), root.path());
    let assumed = || Ok(versions::with_path(&root, &format!("{}/v3", root.path().trim_end_matches('/'))));
    let answer = match wire.send(&ask).await {
        Ok(answer) => answer,
        // Some front ends serve only /v3: its answer to the sign-in will say whether it is there.
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => return assumed(),
        Err(error) => return Err(error),
    };
    match serde_json::from_slice::<Json>(&answer.body) {
        Ok(body) if body.get("versions").or_else(|| body.get("version")).is_some() => {
            versions::keystone_v3(&root, &body)
        }
        _ => assumed(),
    }
}

/// Signs in to the project of the configuration.
pub(super) async fn sign_in(wire: &Wire, keystone: &Url, config: &CloudConfig) -> Result<Token, CloudError> {
    let way = Way { wire, keystone, config };
    let token = match &config.auth {
        Auth::Password { user, password } => {
            let mut member = user_json(user);
            member["password"] = password.expose_secret().into();
            way.post(json!({ "methods": ["password"], "password": { "user": member } }), scope_json(&config.scope))
                .await
        }
        Auth::ApplicationCredential { credential, secret } => {
            let mut member = match credential {
                CredentialRef::Id(id) => json!({ "id": id }),
                CredentialRef::Name(name, user) => json!({ "name": name, "user": user_json(user) }),
            };
            member["secret"] = secret.expose_secret().into();
            // It has its project already; Keystone refuses to be told one.
            let identity = json!({ "methods": ["application_credential"], "application_credential": member });
            way.post(identity, None).await
        }
        Auth::Token(token) => way.existing(token).await,
        Auth::OidcPassword { federation, client, username, password } => {
            let access = oidc::access_token(wire, client, username, password).await?;
            let unscoped = way.federated(federation, &access).await.map_err(|error| way.explain(error))?;
            way.rescope(&unscoped.secret, scope_json(&config.scope)).await
        }
        Auth::OidcAccessToken { federation, token, hub } => {
            let unscoped = match (way.federated(federation, token).await, hub) {
                (Err(error), Some(hub)) if error.kind == ErrorKind::Unauthorized => {
                    let fresh = oidc::from_hub(wire, hub).await?;
                    way.federated(federation, &fresh).await
                }
                (outcome, _) => outcome,
            };
            let unscoped = unscoped.map_err(|error| way.explain(error))?;
            way.rescope(&unscoped.secret, scope_json(&config.scope)).await
        }
    };
    let token = token.map_err(|error| way.explain(error))?;
    match token.body.project {
        Some(_) => Ok(token),
        None => way.only_project(&token).await,
    }
}

/// What every step of a sign-in needs.
struct Way<'a> {
    wire: &'a Wire,
    keystone: &'a Url,
    config: &'a CloudConfig,
}

impl Way<'_> {
    fn ask(&self, method: Method, path: &str) -> Ask {
        let url = versions::with_path(self.keystone, &format!("{}{path}", self.keystone.path()));
        Ask::new(Service::Identity, method, url, path)
    }

    async fn post(&self, identity: Json, scope: Option<Json>) -> Result<Token, CloudError> {
        let mut auth = json!({ "identity": identity });
        if let Some(scope) = scope {
            auth["scope"] = scope;
        }
        let ask = self.ask(Method::POST, "/auth/tokens").json(&json!({ "auth": auth }));
        self.token(&ask, None).await
    }

    async fn rescope(&self, token: &SecretString, scope: Option<Json>) -> Result<Token, CloudError> {
        self.post(json!({ "methods": ["token"], "token": { "id": token.expose_secret() } }), scope).await
    }

    /// A token made elsewhere: as it is if it is for the project, which is the only way for one that came of an
    /// application credential; else a new one for the project.
    async fn existing(&self, token: &SecretString) -> Result<Token, CloudError> {
        let mut ask = self.ask(Method::GET, "/auth/tokens");
        ask.headers.insert("x-auth-token", secret_header(token.expose_secret())?);
        ask.headers.insert("x-subject-token", secret_header(token.expose_secret())?);
        let found = self.token(&ask, Some(token)).await?;
        let fits = match (&self.config.scope, &found.body.project) {
            (Scope::Unsaid, _) => true,
            (Scope::ProjectId(id), Some(project)) => *id == project.id,
            (Scope::ProjectName(name, _), Some(project)) => *name == project.name,
            (_, None) => false,
        };
        if fits { Ok(found) } else { self.rescope(token, scope_json(&self.config.scope)).await }
    }

    /// An access token of an identity provider, turned into an unscoped token.
    async fn federated(&self, federation: &Federation, access: &SecretString) -> Result<Token, CloudError> {
        let path = format!(
            "/OS-FEDERATION/identity_providers/{}/protocols/{}/auth",
            federation.identity_provider, federation.protocol
        );
        let mut ask = self.ask(Method::POST, &path);
        let bearer = secret_header(&format!("Bearer {}", access.expose_secret()))?;
        ask.headers.insert(http::header::AUTHORIZATION, bearer);
        self.token(&ask, None).await
    }

    /// Without a project of its own, the user's only one.
    async fn only_project(&self, token: &Token) -> Result<Token, CloudError> {
        #[derive(serde::Deserialize)]
        struct Projects {
            projects: Vec<Named>,
        }
        let mut ask = self.ask(Method::GET, "/auth/projects");
        ask.headers.insert("x-auth-token", secret_header(token.secret.expose_secret())?);
        let answer = self.wire.send(&ask).await?;
        let Projects { mut projects } =
            serde_json::from_slice(&answer.body).map_err(|error| self.odd(&ask, &answer, &error.to_string()))?;
        if projects.len() > 1 || projects.is_empty() {
            projects.sort_by(|one, other| one.name.cmp(&other.name));
            let names: Vec<&str> = projects.iter().map(|project| project.name.as_str()).collect();
            let which = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(CloudError::config(format!("{} says no project; the user has {which}", self.config.origin))
                .hint("say which one by project_name in clouds.yaml, or by OS_PROJECT_NAME"));
        }
        let scope = projects.first().map(|project| json!({ "project": { "id": project.id } }));
        self.rescope(&token.secret, scope).await.map_err(|error| self.explain(error))
    }

    /// Sends a request whose answer is a token; one that is asked about is not in the answer's headers.
    async fn token(&self, ask: &Ask, known: Option<&SecretString>) -> Result<Token, CloudError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            token: TokenBody,
        }
        let answer = self.wire.send(ask).await?;
        let secret = match known {
            Some(token) => Some(token.clone()),
            None => answer
                .headers
                .get("x-subject-token")
                .and_then(|value| value.to_str().ok())
                .map(|token| SecretString::from(token.to_owned())),
        };
        let Some(secret) = secret else {
            return Err(self.odd(ask, &answer, "there is no X-Subject-Token in the answer"));
        };
        let Answer { token: body } = serde_json::from_slice(&answer.body)
            .map_err(|error| self.odd(ask, &answer, &format!("the token is not as expected: {error}")))?;
        let just_made = body.issued_at.filter(|_| known.is_none());
        Ok(Token { secret, clock: retry::date(&answer.headers).or(just_made), body })
    }

    fn odd(&self, ask: &Ask, answer: &Incoming, message: &str) -> CloudError {
        let mut error = CloudError::unexpected(Service::Identity, &ask.method, &ask.path, message)
            .with_headers(&answer.headers)
            .hint(format!("is auth_url ({}) Keystone's?", self.config.auth_url));
        error.status = Some(answer.status.as_u16());
        error
    }

    fn explain(&self, error: CloudError) -> CloudError {
        match error.status.and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(StatusCode::UNAUTHORIZED) => refused(error, self.config),
            Some(StatusCode::NOT_FOUND) if !error.path_is_federation() => {
                error.hint(format!("is auth_url ({}) Keystone's?", self.config.auth_url))
            }
            _ => error,
        }
    }
}

impl CloudError {
    fn path_is_federation(&self) -> bool {
        self.request.contains("/OS-FEDERATION/")
    }
}

/// Says what to look at when a sign-in, or a token that was good before, is refused.
pub(super) fn refused(error: CloudError, config: &CloudConfig) -> CloudError {
    let origin = &config.origin;
    let advice = match &config.auth {
        Auth::Password { .. } => {
            "check the user's name, password and domain, the project's name and domain, and that the user is a \
             member of the project"
        }
        Auth::ApplicationCredential { .. } => {
            "the application credential may have expired or been deleted, or its secret is another's: make a new one \
             (Identity, Application Credentials)"
        }
        Auth::Token(_) => "the token has expired or been revoked: get a new one",
        Auth::OidcPassword { .. } => {
            "the identity provider took the password, but Keystone refused its token: check identity_provider, \
             protocol and the project"
        }
        Auth::OidcAccessToken { .. } => {
            "the access token may have expired: get a new one (in Chameleon's Jupyter environment that happens by \
             itself while JUPYTERHUB_API_URL and JUPYTERHUB_API_TOKEN are set)"
        }
    };
    error.hint(format!("{origin} signs in by {}{}; {advice}", config.auth.auth_type(), account(config)))
}

/// Who that is, and in which project, as far as the configuration says; no secrets.
fn account(config: &CloudConfig) -> String {
    let who = match &config.auth {
        Auth::Password { user: User::Id(name) | User::Name(name, _), .. }
        | Auth::OidcPassword { username: name, .. } => format!(" as user `{name}`"),
        Auth::ApplicationCredential { credential: CredentialRef::Id(id), .. } => format!(" as `{id}`"),
        Auth::ApplicationCredential { credential: CredentialRef::Name(name, _), .. } => format!(" as `{name}`"),
        Auth::Token(_) | Auth::OidcAccessToken { .. } => String::new(),
    };
    match &config.scope {
        Scope::ProjectId(project) | Scope::ProjectName(project, _) => format!("{who} to project `{project}`"),
        Scope::Unsaid => who,
    }
}

fn domain_json(domain: &Domain) -> Json {
    match domain {
        Domain::Id(id) => json!({ "id": id }),
        Domain::Name(name) => json!({ "name": name }),
    }
}

fn user_json(user: &User) -> Json {
    match user {
        User::Id(id) => json!({ "id": id }),
        User::Name(name, domain) => json!({ "name": name, "domain": domain_json(domain) }),
    }
}

fn scope_json(scope: &Scope) -> Option<Json> {
    match scope {
        Scope::ProjectId(id) => Some(json!({ "project": { "id": id } })),
        Scope::ProjectName(name, domain) => Some(json!({ "project": { "name": name, "domain": domain_json(domain) } })),
        Scope::Unsaid => None,
    }
}
