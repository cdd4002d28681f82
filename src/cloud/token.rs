//! What a sign-in gives: the token, whom it stands for, and the catalog.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;

/// A token and what Keystone said with it.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// What travels in `X-Auth-Token`.
    pub(super) secret: SecretString,
    /// The body.
    pub(super) body: TokenBody,
    /// Keystone's clock when it answered; not known for a token made elsewhere, if the answer has no `Date`.
    pub(super) clock: Option<Timestamp>,
}

/// The `token` member of an answer of Keystone.
///
/// Source: Identity API v3, "Password authentication with scoped authorization".
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TokenBody {
    pub(super) expires_at: Option<Timestamp>,
    pub(super) issued_at: Option<Timestamp>,
    pub(super) user: Named,
    pub(super) project: Option<Named>,
    #[serde(default)]
    pub(super) catalog: Vec<CatalogService>,
    /// The application credential that signed in, if one did.
    #[serde(default)]
    pub(super) application_credential: Option<Delegated>,
}

/// What a token says of the application credential behind it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Delegated {
    #[serde(default)]
    pub(super) restricted: bool,
}

/// An object of Keystone, by id and name.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
}

/// A service of the catalog.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CatalogService {
    #[serde(rename = "type")]
    pub(super) service_type: String,
    #[serde(default)]
    pub(super) endpoints: Vec<CatalogEndpoint>,
}

/// Where a service of the catalog is reached.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CatalogEndpoint {
    pub(super) interface: String,
    #[serde(default)]
    pub(super) region_id: Option<String>,
    #[serde(default)]
    pub(super) region: Option<String>,
    pub(super) url: String,
}

impl CatalogEndpoint {
    /// The region; old catalogs have only the name, newer ones both.
    pub(super) fn region(&self) -> Option<&str> {
        self.region_id.as_deref().or(self.region.as_deref())
    }
}
