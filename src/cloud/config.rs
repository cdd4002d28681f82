//! What it takes to sign in: where, as whom, to which project, trusting whom.
//!
//! In: the environment as plain data ([`Environment`]) and the files it leads to. Out: a [`CloudConfig`], complete, or
//! a [`CloudError`] that names the file, the entry and what to write.
//!
//! Invariants:
//! - Nothing here reads the process: variables, home and working directory are inputs.
//! - Secrets are [`SecretString`]s from the moment they are read out of the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::settings::Settings;
use super::{CloudError, Service, clouds_yaml};
use crate::suggest;

/// The process's surroundings, as data.
#[derive(Clone, Default)]
pub struct Environment {
    /// The variables.
    pub vars: BTreeMap<String, String>,
    /// The home folder, where there is one.
    pub home: Option<PathBuf>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Where the machine's own `clouds.yaml` is: `/etc/openstack`.
    pub system: PathBuf,
}

impl Environment {
    /// The surroundings of this process. Variables that are not Unicode are left out.
    #[must_use]
    pub fn from_process() -> Self {
        let vars: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            home: etcetera::home_dir().ok(),
            cwd: std::env::current_dir().unwrap_or_default(),
            system: PathBuf::from("/etc/openstack"),
            vars,
        }
    }

    /// A variable's value, unless it is empty: an empty `OS_…` means "not set" to every OpenStack tool.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A path as a user writes it: `~` is the home folder, a relative path starts in the working directory.
    #[must_use]
    pub fn path(&self, written: &str) -> PathBuf {
        let home = |rest: &str| self.home.as_ref().map(|home| home.join(rest));
        match written.strip_prefix("~/") {
            Some(rest) => home(rest).unwrap_or_else(|| PathBuf::from(written)),
            None if written == "~" => home("").unwrap_or_else(|| PathBuf::from(written)),
            None => self.cwd.join(written),
        }
    }
}

/// Only the names: values of variables are often secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("vars", &self.vars.keys())
            .field("home", &self.home)
            .field("cwd", &self.cwd)
            .field("system", &self.system)
            .finish()
    }
}

/// Which of a service's endpoints is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interface {
    /// From anywhere.
    #[default]
    Public,
    /// From inside the cloud.
    Internal,
    /// The operators'.
    Admin,
}

impl Interface {
    /// Whether a catalog's word means this interface; old catalogs say `publicURL`.
    #[must_use]
    pub fn is(self, word: &str) -> bool {
        Self::parse(word) == Some(self)
    }

    /// The interface of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word.trim_end_matches("URL") {
            "public" => Some(Self::Public),
            "internal" => Some(Self::Internal),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// Whom to trust, and how to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// A bundle of certificates that replaces the machine's.
    pub cacert: Option<PathBuf>,
    /// A client certificate.
    pub cert: Option<PathBuf>,
    /// Its key, where it is not in the same file.
    pub key: Option<PathBuf>,
    /// Whether certificates are checked at all.
    pub verify: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self { cacert: None, cert: None, key: None, verify: true }
    }
}

/// A domain of Keystone, by id or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    /// By id; `default` is the one that every Keystone has.
    Id(String),
    /// By name.
    Name(String),
}

/// A user, by id or by name in a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// By id.
    Id(String),
    /// By name.
    Name(String, Domain),
}

/// The project to work in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// By id.
    ProjectId(String),
    /// By name in a domain.
    ProjectName(String, Domain),
    /// Not said: an application credential has one, and a user of a single project means that one.
    Unsaid,
}

/// An application credential, by id or by its owner's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialRef {
    /// By id.
    Id(String),
    /// By name, of that user.
    Name(String, User),
}

/// What OpenID Connect needs on Keystone's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Federation {
    /// The identity provider's name in Keystone: `chameleon`.
    pub identity_provider: String,
    /// The protocol's name in Keystone: `openid`.
    pub protocol: String,
}

/// What OpenID Connect needs on the provider's side.
#[derive(Debug, Clone)]
pub struct OidcClient {
    /// Where the token endpoint is described; not needed if that is said.
    pub discovery_endpoint: Option<Url>,
    /// The token endpoint itself.
    pub token_endpoint: Option<Url>,
    /// The client's id at the provider.
    pub id: String,
    /// The client's secret; a public client has none.
    pub secret: Option<SecretString>,
    /// What is asked for: `openid profile`.
    pub scope: String,
}

/// A JupyterHub that hands out fresh access tokens, as Chameleon's does.
#[derive(Debug, Clone)]
pub struct TokenHub {
    /// Where: `$JUPYTERHUB_API_URL/tokens`.
    pub url: Url,
    /// What opens it: `$JUPYTERHUB_API_TOKEN`.
    pub token: SecretString,
}

/// How to sign in.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A user's password.
    Password {
        /// Who.
        user: User,
        /// The password.
        password: SecretString,
    },
    /// A token made elsewhere.
    Token(SecretString),
    /// An application credential.
    ApplicationCredential {
        /// Which.
        credential: CredentialRef,
        /// Its secret.
        secret: SecretString,
    },
    /// A password at an OpenID Connect provider.
    OidcPassword {
        /// Keystone's side.
        federation: Federation,
        /// The provider's side.
        client: Box<OidcClient>,
        /// The user's name there.
        username: String,
        /// The password there.
        password: SecretString,
    },
    /// An access token of an OpenID Connect provider.
    OidcAccessToken {
        /// Keystone's side.
        federation: Federation,
        /// The access token.
        token: SecretString,
        /// Where a new one is had when it has expired.
        hub: Option<TokenHub>,
    },
}

impl Auth {
    /// The name that clouds.yaml has for it.
    #[must_use]
    pub fn auth_type(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::Token(_) => "token",
            Self::ApplicationCredential { .. } => "v3applicationcredential",
            Self::OidcPassword { .. } => "v3oidcpassword",
            Self::OidcAccessToken { .. } => "v3oidcaccesstoken",
        }
    }

    /// Whether it can sign in again when the token has expired.
    #[must_use]
    pub fn lasts(&self) -> bool {
        !matches!(self, Self::Token(_))
    }
}

/// All that is needed to sign in to a site.
#[derive(Debug, Clone)]
pub struct CloudConfig {
    /// Where this comes from, for messages: `cloud kvm_tacc of /home/me/.config/openstack/clouds.yaml`.
    pub origin: String,
    /// Keystone's URL, with or without a version.
    pub auth_url: Url,
    /// How.
    pub auth: Auth,
    /// To which project.
    pub scope: Scope,
    /// In which region of the catalog; none where the catalog has only one.
    pub region: Option<String>,
    /// By which endpoints.
    pub interface: Interface,
    /// Trusting whom.
    pub tls: Tls,
    /// Endpoints that replace the catalog's; `%(project_id)s` in them stands for the project's id.
    pub overrides: BTreeMap<Service, String>,
    /// How long a request may take, where the defaults do not do.
    pub api_timeout: Option<Duration>,
}

/// Chameleon's sites, each named as its region is, and their web hosts, where Keystone listens on port 5000.
///
/// Source: the sites' own clouds.yaml downloads.
const CHAMELEON: [(&str, &str); 3] = [
    ("KVM@TACC", "kvm.tacc.chameleoncloud.org"),
    ("CHI@TACC", "chi.tacc.chameleoncloud.org"),
    ("CHI@UC", "chi.uc.chameleoncloud.org"),
];

impl CloudConfig {
    /// A configuration of the parts that every cloud needs; the rest has its usual value.
    #[must_use]
    pub fn new(origin: impl Into<String>, auth_url: Url, auth: Auth, scope: Scope) -> Self {
        Self {
            origin: origin.into(),
            auth_url,
            auth,
            scope,
            region: None,
            interface: Interface::Public,
            tls: Tls::default(),
            overrides: BTreeMap::new(),
            api_timeout: None,
        }
    }

    /// The entry of that name in `clouds.yaml`; `env` reads the `OS_*` variables.
    ///
    /// The files are searched for as openstacksdk does: `OS_CLIENT_CONFIG_FILE`, then `clouds.yaml`, `.yml`, `.json`
    /// in the working directory, `~/.config/openstack` and `/etc/openstack`; the first file counts. `secure.yaml`
    /// (`OS_CLIENT_SECURE_FILE`) is found the same way and laid over it.
    ///
    /// # Errors
    /// A file that cannot be read, an entry that is not there, an option that is missing or impossible.
    pub fn load(cloud: &str, env: &Environment) -> Result<Self, CloudError> {
        if cloud == "env" { Self::from_variables(env) } else { clouds_yaml::entry(cloud, env)?.decode(env) }
    }

    /// A Chameleon site (`CHI@TACC`) with the sign-in at hand: the `OS_*` variables, as a shell that sourced an
    /// openrc file or Chameleon's Jupyter environment has them for one site.
    ///
    /// # Errors
    /// When the site is not known, the variables make no sign-in, or the sign-in is an application credential of
    /// another site.
    pub fn chameleon(site: &str, env: &Environment) -> Result<Self, CloudError> {
        let found = CHAMELEON.iter().find(|(name, _)| name.eq_ignore_ascii_case(site));
        let Some((name, host)) = found else {
            let names = CHAMELEON.map(|(name, _)| name);
            let error = CloudError::config(format!("{site} is not a Chameleon site; they are {}", names.join(", ")));
            return Err(match suggest::closest(site, names) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error,
            });
        };
        let auth_url = Url::parse(&format!("https://{host}:5000/v3"))
            .map_err(|error| CloudError::config(format!("the address of {name} is not a URL: {error}")))?;
        let mut settings = Settings::from_variables(env);
        let at_hand = settings.text("auth_url").and_then(|url| Url::parse(&url).ok());
        settings.origin = format!("{name} with the OS_* variables");
        settings.set("auth_url", auth_url.as_str());
        let mut config = settings.decode(env)?;
        let same = at_hand.is_some_and(|url| url.host_str() == auth_url.host_str());
        if !same && matches!(config.auth, Auth::ApplicationCredential { .. } | Auth::Token(_)) {
            return Err(CloudError::config(format!(
                "the OS_* variables hold a {} of another site, which {name} does not know",
                if matches!(config.auth, Auth::Token(_)) { "token" } else { "credential" }
            ))
            .hint(format!(
                "make an application credential at {name} (Identity, Application Credentials), keep it in clouds.yaml, \
                 and name it in the spec: {{ cloud: <its name> }}"
            )));
        }
        if !same {
            // Ids and endpoints are a site's own; a project's name is the same at all of them.
            config.overrides.clear();
            if let (Scope::ProjectId(_), Some(project)) = (&config.scope, settings.text("project_name")) {
                config.scope = Scope::ProjectName(project, settings.domain("project"));
            }
        }
        config.region = Some((*name).to_owned());
        Ok(config)
    }

    fn from_variables(env: &Environment) -> Result<Self, CloudError> {
        match env.var("OS_CLOUD") {
            Some(cloud) if env.var("OS_AUTH_URL").is_none() => clouds_yaml::entry(cloud, env)?.decode(env),
            _ => Settings::from_variables(env).decode(env),
        }
    }

    /// Takes a region other than the entry's.
    #[must_use]
    pub fn with_region(mut self, region: Option<&str>) -> Self {
        if let Some(region) = region {
            self.region = Some(region.to_owned());
        }
        self
    }
}

/// The text of a file; `None` where there is no such file.
pub(super) fn read_file(path: &Path) -> Result<Option<String>, CloudError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CloudError::config(format!("{}: {error}", path.display()))),
    }
}
