//! The options of one cloud, whatever they came from, and what they mean together.
//!
//! In: a map of options as `clouds.yaml` and `OS_*` name them (`project_name`), those under `auth:` laid flat among
//! the others. Out: a [`CloudConfig`]. Mistakes name the options that are missing and where they belong.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde_yaml::Value;
use url::Url;

use super::catalog::service_of;
use super::config::{
    Auth, CloudConfig, CredentialRef, Domain, Environment, Federation, Interface, OidcClient, Scope, Tls, TokenHub,
    User,
};
use super::{CloudError, Service};

/// One cloud's options, by name, before they are understood.
pub(super) struct Settings {
    /// Where they come from, for messages.
    pub(super) origin: String,
    /// Whether they come from variables, whose names are shown as `OS_…`.
    from_variables: bool,
    options: BTreeMap<String, Value>,
}

/// The sign-ins that are understood, by the names openstacksdk has for them.
const AUTH_TYPES: &str = "password, token, v3applicationcredential, v3oidcpassword, v3oidcaccesstoken";

impl Settings {
    /// The options of an entry of a file.
    pub(super) fn new(origin: String, options: BTreeMap<String, Value>) -> Self {
        Self { origin, from_variables: false, options }
    }

    /// The options that `OS_*` variables give: `OS_PROJECT_NAME` is `project_name`.
    pub(super) fn from_variables(env: &Environment) -> Self {
        let options = env
            .vars
            .iter()
            .filter(|(name, value)| name.as_str() != "OS_CLOUD" && !value.is_empty())
            .filter_map(|(name, value)| Some((name.strip_prefix("OS_")?.to_lowercase(), Value::String(value.clone()))))
            .collect();
        Self { origin: "the OS_* variables".to_owned(), from_variables: true, options }
    }

    /// Sets an option.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.options.insert(name.to_owned(), Value::String(value.to_owned()));
    }

    /// An option's text; numbers and booleans, which YAML made of an unquoted text, are written out again.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.options.get(name)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(yes) => Some(yes.to_string()),
            _ => None,
        }
    }

    fn any(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.text(name))
    }

    fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// An option as its source spells it.
    fn spelled(&self, name: &str) -> String {
        if self.from_variables { format!("OS_{}", name.to_uppercase()) } else { name.to_owned() }
    }

    fn mistake(&self, message: impl std::fmt::Display) -> CloudError {
        CloudError::config(format!("{}: {message}", self.origin))
    }

    fn missing(&self, what: &str, names: &[&str]) -> CloudError {
        let names: Vec<String> = names.iter().map(|name| self.spelled(name)).collect();
        self.mistake(format!("{what} needs {}, which is not set", names.join(" or ")))
    }

    fn url(&self, name: &str) -> Result<Option<Url>, CloudError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let bad = |why: &str| {
            self.mistake(format!("{} `{text}` is not a URL: {why}", self.spelled(name)))
                .hint("write it with its scheme, https://host:5000/v3")
        };
        let url = Url::parse(&text).map_err(|error| bad(&error.to_string()))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Some(url)),
            scheme => Err(bad(&format!("its scheme is `{scheme}`"))),
        }
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, CloudError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(Some(true)),
            "false" | "no" | "off" | "0" => Ok(Some(false)),
            _ => Err(self.mistake(format!("{} is `{text}`; write true or false", self.spelled(name)))),
        }
    }

    /// The configuration that the options mean together.
    pub(super) fn decode(&self, env: &Environment) -> Result<CloudConfig, CloudError> {
        let Some(auth_url) = self.url("auth_url")? else {
            let error = self.missing("a sign-in", &["auth_url"]);
            return Err(if self.from_variables {
                error.hint("source the site's openrc file, set OS_CLOUD, or name an entry of clouds.yaml in the spec")
            } else {
                error.hint("it belongs under `auth:`")
            });
        };
        let interface = match self.any(&["interface", "endpoint_type"]) {
            None => Interface::Public,
            Some(word) => Interface::parse(&word)
                .ok_or_else(|| self.mistake(format!("interface is `{word}`; write public, internal or admin")))?,
        };
        Ok(CloudConfig {
            origin: self.origin.clone(),
            auth_url,
            auth: self.auth(env)?,
            scope: self.scope(),
            region: self.text("region_name"),
            interface,
            tls: self.tls(env)?,
            overrides: self.overrides(),
            api_timeout: self.api_timeout()?,
        })
    }

    fn auth(&self, env: &Environment) -> Result<Auth, CloudError> {
        let written = self.text("auth_type").unwrap_or_else(|| self.implied_auth_type().to_owned());
        match written.as_str() {
            "password" | "v3password" => Ok(Auth::Password {
                user: self.user("a password sign-in")?,
                password: self.secret("password").ok_or_else(|| self.missing("a password sign-in", &["password"]))?,
            }),
            "token" | "v3token" => {
                Ok(Auth::Token(self.secret("token").ok_or_else(|| self.missing("a sign-in by token", &["token"]))?))
            }
            "v3applicationcredential" => self.application_credential(),
            "v3oidcpassword" => self.oidc_password(),
            "v3oidcaccesstoken" => Ok(Auth::OidcAccessToken {
                federation: self.federation(),
                token: self
                    .secret("access_token")
                    .ok_or_else(|| self.missing("a sign-in by access token", &["access_token"]))?,
                hub: hub(env),
            }),
            other => Err(self.mistake(format!("{} `{other}` is not supported", self.spelled("auth_type"))).hint(
                format!("it can be {AUTH_TYPES}; an application credential works wherever another sign-in does not"),
            )),
        }
    }

    /// The sign-in that the options at hand make, where none is named.
    fn implied_auth_type(&self) -> &'static str {
        if self.text("application_credential_secret").is_some() {
            "v3applicationcredential"
        } else if self.text("password").is_none() && self.text("access_token").is_some() {
            "v3oidcaccesstoken"
        } else if self.text("password").is_none() && self.text("token").is_some() {
            "token"
        } else {
            "password"
        }
    }

    fn application_credential(&self) -> Result<Auth, CloudError> {
        let what = "a sign-in by application credential";
        let credential = match (self.text("application_credential_id"), self.text("application_credential_name")) {
            (Some(id), _) => CredentialRef::Id(id),
            (None, Some(name)) => CredentialRef::Name(name, self.user("an application credential given by name")?),
            (None, None) => {
                return Err(self.missing(what, &["application_credential_id", "application_credential_name"]));
            }
        };
        let secret = self
            .secret("application_credential_secret")
            .ok_or_else(|| self.missing(what, &["application_credential_secret"]))?;
        Ok(Auth::ApplicationCredential { credential, secret })
    }

    fn oidc_password(&self) -> Result<Auth, CloudError> {
        let what = "a sign-in by OpenID Connect password";
        let client = OidcClient {
            discovery_endpoint: self.url("discovery_endpoint")?,
            token_endpoint: self.url("access_token_endpoint")?,
            id: self.text("client_id").ok_or_else(|| self.missing(what, &["client_id"]))?,
            secret: self.secret("client_secret"),
            scope: self.any(&["openid_scope", "scope"]).unwrap_or_else(|| "openid profile".to_owned()),
        };
        if client.discovery_endpoint.is_none() && client.token_endpoint.is_none() {
            return Err(self.missing(what, &["discovery_endpoint", "access_token_endpoint"]));
        }
        Ok(Auth::OidcPassword {
            federation: self.federation(),
            client: Box::new(client),
            username: self.any(&["username", "user_name"]).ok_or_else(|| self.missing(what, &["username"]))?,
            password: self.secret("password").ok_or_else(|| self.missing(what, &["password"]))?,
        })
    }

    /// Keystone's names for the provider; without any they are Chameleon's.
    fn federation(&self) -> Federation {
        Federation {
            identity_provider: self.text("identity_provider").unwrap_or_else(|| "chameleon".to_owned()),
            protocol: self.text("protocol").unwrap_or_else(|| "openid".to_owned()),
        }
    }

    fn user(&self, what: &str) -> Result<User, CloudError> {
        match (self.text("user_id"), self.any(&["username", "user_name"])) {
            (Some(id), _) => Ok(User::Id(id)),
            (None, Some(name)) => Ok(User::Name(name, self.domain("user"))),
            (None, None) => Err(self.missing(what, &["username", "user_id"])),
        }
    }

    /// The domain of the user or of the project; without any it is `default`, which every Keystone has.
    pub(super) fn domain(&self, whose: &str) -> Domain {
        let (id, name) = (format!("{whose}_domain_id"), format!("{whose}_domain_name"));
        if let Some(id) = self.text(&id) {
            Domain::Id(id)
        } else if let Some(name) = self.text(&name) {
            Domain::Name(name)
        } else if let Some(id) = self.any(&["domain_id", "default_domain_id"]) {
            Domain::Id(id)
        } else if let Some(name) = self.any(&["domain_name", "default_domain_name"]) {
            Domain::Name(name)
        } else {
            Domain::Id(self.text("default_domain").unwrap_or_else(|| "default".to_owned()))
        }
    }

    fn scope(&self) -> Scope {
        if let Some(id) = self.any(&["project_id", "tenant_id"]) {
            Scope::ProjectId(id)
        } else if let Some(name) = self.any(&["project_name", "tenant_name"]) {
            Scope::ProjectName(name, self.domain("project"))
        } else {
            Scope::Unsaid
        }
    }

    fn tls(&self, env: &Environment) -> Result<Tls, CloudError> {
        let path = |name: &str| self.text(name).map(|written| env.path(&written));
        let insecure = self.boolean("insecure")?.unwrap_or(false);
        let verify = self.boolean("verify")?.unwrap_or(true);
        let tls = Tls { cacert: path("cacert"), cert: path("cert"), key: path("key"), verify: verify && !insecure };
        if tls.key.is_some() && tls.cert.is_none() {
            return Err(self.missing("a client key", &["cert"]));
        }
        Ok(tls)
    }

    fn overrides(&self) -> BTreeMap<Service, String> {
        self.options
            .keys()
            .filter_map(|name| {
                let service = service_of(name.strip_suffix("_endpoint_override").or(name.strip_suffix("_endpoint"))?)?;
                Some((service, self.text(name)?))
            })
            .collect()
    }

    fn api_timeout(&self) -> Result<Option<Duration>, CloudError> {
        let Some(text) = self.text("api_timeout") else { return Ok(None) };
        match text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            Some(timeout) if !timeout.is_zero() => Ok(Some(timeout)),
            _ => Err(self.mistake(format!("api_timeout is `{text}`; write a number of seconds"))),
        }
    }
}

/// The JupyterHub that this process runs under, if it does.
fn hub(env: &Environment) -> Option<TokenHub> {
    let url = Url::parse(&format!("{}/tokens", env.var("JUPYTERHUB_API_URL")?.trim_end_matches('/'))).ok()?;
    Some(TokenHub { url, token: SecretString::from(env.var("JUPYTERHUB_API_TOKEN")?.to_owned()) })
}
