//! An access token from an OpenID Connect provider, for a user's name and password.
//!
//! The token endpoint is the configured one, or what the provider's discovery document says (OpenID Connect
//! Discovery 1.0, section 4); the grant is the password grant of OAuth 2.0 (RFC 6749, section 4.3), which is how
//! Chameleon's command-line passwords work.

use base64::prelude::{BASE64_STANDARD, Engine};
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::config::{OidcClient, TokenHub};
use super::transport::{Incoming, secret_header};
use super::wire::{Ask, Wire};
use super::{CloudError, ErrorKind, Service};

/// Asks the provider for an access token.
pub(super) async fn access_token(
    wire: &Wire,
    client: &OidcClient,
    username: &str,
    password: &SecretString,
) -> Result<SecretString, CloudError> {
    let endpoint = endpoint(wire, client).await?;
    // The form's serializer is not `Send`: it must not live across the wait.
    let ask = {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "password")
            .append_pair("username", username)
            .append_pair("password", password.expose_secret())
            .append_pair("scope", &client.scope);
        let mut ask = Ask::new(Service::Identity, Method::POST, endpoint.clone(), endpoint.as_str());
        match &client.secret {
            Some(secret) => {
                ask.headers.insert(http::header::AUTHORIZATION, basic(&client.id, secret)?);
            }
            None => {
                form.append_pair("client_id", &client.id);
            }
        }
        ask.body("application/x-www-form-urlencoded", form.finish())
    };
    let answer = wire.send(&ask).await.map_err(|error| provider(error, &endpoint))?;
    token_in(&answer, &endpoint)
}

/// Asks a JupyterHub for a fresh access token.
///
/// Source: `chi.jupyterhub` of python-chi, whose own sign-in does the same.
pub(super) async fn from_hub(wire: &Wire, hub: &TokenHub) -> Result<SecretString, CloudError> {
    let mut ask = Ask::new(Service::Identity, Method::GET, hub.url.clone(), hub.url.as_str());
    let opener = secret_header(&format!("token {}", hub.token.expose_secret()))?;
    ask.headers.insert(http::header::AUTHORIZATION, opener);
    let answer = wire.send(&ask).await.map_err(|error| {
        let told = provider(error, &hub.url).hint("restart the Jupyter server, or use an application credential");
        CloudError { message: format!("no fresh access token: {}", told.message), ..told }
    })?;
    token_in(&answer, &hub.url)
}

/// The `access_token` of an answer.
fn token_in(answer: &Incoming, url: &Url) -> Result<SecretString, CloudError> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: SecretString,
    }
    let answer: Answer = serde_json::from_slice(&answer.body)
        // The parser's own words could quote the token.
        .map_err(|_| CloudError::config(format!("the identity provider at {url} gave no access token")))?;
    Ok(answer.access_token)
}

async fn endpoint(wire: &Wire, client: &OidcClient) -> Result<Url, CloudError> {
    #[derive(Deserialize)]
    struct Document {
        token_endpoint: Url,
    }
    if let Some(endpoint) = &client.token_endpoint {
        return Ok(endpoint.clone());
    }
    let Some(discovery) = &client.discovery_endpoint else {
        return Err(CloudError::config("the identity provider's discovery_endpoint is not set"));
    };
    let ask = Ask::new(Service::Identity, Method::GET, discovery.clone(), discovery.as_str());
    let answer = wire.send(&ask).await.map_err(|error| provider(error, discovery))?;
    let document: Document = serde_json::from_slice(&answer.body).map_err(|error| {
        CloudError::config(format!("the document at {discovery} is no discovery document: {error}"))
    })?;
    Ok(document.token_endpoint)
}

/// The error is the provider's, not Keystone's.
fn provider(error: CloudError, url: &Url) -> CloudError {
    let host = url.host_str().unwrap_or_default();
    let status = error.status.map_or(String::new(), |status| format!(" answered {status}"));
    let refused = matches!(error.code.as_deref(), Some("invalid_grant" | "invalid_client" | "unauthorized_client"))
        || error.kind == ErrorKind::Unauthorized;
    let told = CloudError {
        kind: if refused { ErrorKind::Unauthorized } else { error.kind },
        service: None,
        request: Box::default(),
        message: format!("the identity provider {host}{status}: {}", error.message),
        ..error
    };
    if refused {
        told.hint("check username, password, client_id and client_secret; Chameleon wants the command-line password")
    } else {
        told
    }
}

/// HTTP basic authentication (RFC 7617) with the client's id and secret, each form-encoded first (RFC 6749, 2.3.1).
fn basic(id: &str, secret: &SecretString) -> Result<http::HeaderValue, CloudError> {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret.expose_secret()));
    secret_header(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
}
