//! Which cloud each site is, and signing in to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::future::try_join_all;
use url::Url;

use super::{Error, Settings, state_folder};
use crate::cloud::config::{Auth, CloudConfig, Domain, Scope, User};
use crate::cloud::{CloudError, Session, SessionOptions, Transport};
use crate::embedded::{self, ClockMode, Cloud, Guests, Profile, keeper};
use crate::model::SiteAlias;
use crate::spec::{self, CloudRef, Site, Spec};

/// The name of the site of a spec that declares none.
pub const DEFAULT_SITE: &str = "default";

/// Where an embedded cloud is signed in to in process; nothing listens there.
const EMBEDDED_URL: &str = "http://embedded.invalid/identity/v3";

/// A spec without sites has one: the environment's cloud.
pub(super) fn complete(spec: &mut Spec, settings: &Settings) {
    if spec.sites.is_empty() {
        let nowhere = super::look::nowhere();
        let named = settings.environment.var("OS_CLOUD").map(|cloud| CloudRef::Named(cloud.to_owned()));
        let site = Site { span: nowhere, cloud: named.unwrap_or(CloudRef::Env), region: None, guests: None };
        spec.sites.insert(SiteAlias(DEFAULT_SITE.to_owned()), site);
    }
}

/// Signs in to all sites at once.
pub(super) async fn sign_in(
    sites: &BTreeMap<SiteAlias, Site>,
    spec_folder: &Path,
    settings: &Settings,
) -> Result<BTreeMap<SiteAlias, Session>, Error> {
    // Machines mount buckets of every site, so buckets have an address wherever there are machines.
    let machines = sites.values().any(|site| guests_of(site.guests, settings.guests) == Guests::Qemu);
    let sessions = try_join_all(sites.iter().map(|(alias, site)| async move {
        let session = sign_in_one((alias, site), spec_folder, settings, machines).await?;
        Ok::<_, Error>((alias.clone(), session))
    }));
    Ok(sessions.await?.into_iter().collect())
}

async fn sign_in_one(
    (alias, site): (&SiteAlias, &Site),
    spec_folder: &Path,
    settings: &Settings,
    machines: bool,
) -> Result<Session, Error> {
    let failed = |error: CloudError| Error::SignIn { site: alias.clone(), error };
    let cloud = settings.sites.get(alias).map_or_else(|| site.cloud.clone(), |name| stand_in(name));
    let profile = match &cloud {
        _ if settings.embedded => Some(profile_of(alias, &cloud)),
        CloudRef::Embedded(profile) => Some(profile.clone()),
        _ => None,
    };
    if let Some(profile) = profile {
        let folder = embedded_folder(spec_folder, alias);
        let guests = guests_of(site.guests, settings.guests);
        let cloud = open_embedded(&folder, &profile, guests, settings)?;
        let config = embedded_config(alias, settings).map_err(failed)?;
        let router = match Profile::by_name(&profile).filter(|profile| machines && profile.has_objects()) {
            Some(profile) => cloud.router_at(&keeper::ensure(&cloud, profile, guests).await?),
            None => cloud.router(),
        };
        let transport = Transport::InProcess(router);
        return Session::connect(config, transport, SessionOptions::default()).await.map_err(failed);
    }
    let environment = &settings.environment;
    let config = match &cloud {
        CloudRef::Named(name) => CloudConfig::load(name, environment),
        CloudRef::Chameleon(site) => CloudConfig::chameleon(site, environment),
        CloudRef::Env | CloudRef::Embedded(_) => CloudConfig::load("env", environment),
    };
    let config = config.map_err(failed)?.with_region(site.region.as_deref());
    Session::over_http(config, SessionOptions::default()).await.map_err(failed)
}

/// What `--site ALIAS=CLOUD` names: an entry of clouds.yaml, `env`, `chameleon:SITE` or `embedded:PROFILE`.
pub(super) fn stand_in(name: &str) -> CloudRef {
    match name.split_once(':') {
        Some(("embedded", profile)) => CloudRef::Embedded(profile.to_owned()),
        Some(("chameleon", site)) => CloudRef::Chameleon(site.to_owned()),
        _ if name == "env" => CloudRef::Env,
        _ => CloudRef::Named(name.to_owned()),
    }
}

/// A site's cloud as `--site` takes it.
pub(super) fn cloud_name(cloud: &CloudRef) -> String {
    match cloud {
        CloudRef::Named(name) => name.clone(),
        CloudRef::Env => "env".to_owned(),
        CloudRef::Chameleon(site) => format!("chameleon:{site}"),
        CloudRef::Embedded(profile) => format!("embedded:{profile}"),
    }
}

/// Which profile stands in for a site: bare metal for what is called so, virtual machines for all others.
fn profile_of(alias: &SiteAlias, cloud: &CloudRef) -> String {
    let name = match cloud {
        CloudRef::Embedded(profile) => return profile.clone(),
        CloudRef::Named(name) | CloudRef::Chameleon(name) => name.to_lowercase(),
        CloudRef::Env => alias.0.to_lowercase(),
    };
    let bare_metal = name.starts_with("chi") || alias.0.to_lowercase().starts_with("chi");
    if bare_metal { "chameleon-chi" } else { "chameleon-kvm" }.to_owned()
}

/// Whether an embedded site's servers are virtual machines: the flag's word, else the spec's.
fn guests_of(declared: Option<spec::Guests>, flag: Option<Guests>) -> Guests {
    flag.unwrap_or(match declared {
        Some(spec::Guests::Qemu) => Guests::Qemu,
        Some(spec::Guests::Ssh | spec::Guests::None) | None => Guests::None,
    })
}

/// Whether servers of a site are logged in to: those of an embedded cloud only where they are virtual machines, and all
/// others unless the spec or the flag says otherwise.
pub(super) fn enters_servers(declared: Option<spec::Guests>, flag: Option<Guests>, is_embedded: bool) -> bool {
    match (is_embedded, flag) {
        (true, _) => guests_of(declared, flag) == Guests::Qemu,
        (false, Some(Guests::None)) => false,
        (false, _) => declared != Some(spec::Guests::None),
    }
}

/// Where a site's embedded cloud is kept.
#[must_use]
pub fn embedded_folder(spec_folder: &Path, site: &SiteAlias) -> PathBuf {
    state_folder(spec_folder).join("embedded").join("clouds").join(&site.0)
}

/// Opens an embedded cloud.
///
/// `ANOLE_EMBEDDED_SCALE` stretches its times: 1 where it is not set, 0 for no waiting at all.
///
/// # Errors
/// When its folder cannot be read or written, or there is no such profile.
pub fn open_embedded(folder: &Path, profile: &str, guests: Guests, settings: &Settings) -> Result<Cloud, Error> {
    let profile = Profile::by_name(profile).ok_or_else(|| {
        let names = Profile::ALL.map(Profile::name).join("`, `");
        Error::refused(format!("there is no embedded cloud `{profile}`"), format!("there are `{names}`"))
    })?;
    let scale = match settings.environment.var("ANOLE_EMBEDDED_SCALE") {
        None => 1.0,
        Some(text) => text.parse().ok().filter(|scale: &f64| scale.is_finite() && *scale >= 0.0).ok_or_else(|| {
            Error::refused(
                format!("ANOLE_EMBEDDED_SCALE is `{text}`, which is no number"),
                "0 waits for nothing, 1 takes the usual times",
            )
        })?,
    };
    Ok(Cloud::open(folder, embedded::Options { profile, clock: ClockMode::Real { scale }, guests })?)
}

/// Signs in as the embedded cloud's user, or the one that `ANOLE_EMBEDDED_USER` names.
fn embedded_config(alias: &SiteAlias, settings: &Settings) -> Result<CloudConfig, CloudError> {
    let url = Url::parse(EMBEDDED_URL).map_err(|error| CloudError::config(error.to_string()))?;
    let user = settings.environment.var("ANOLE_EMBEDDED_USER").unwrap_or("demo");
    let project = if user == "other" { "CHI-other" } else { "CHI-embedded" };
    let auth = Auth::Password {
        user: User::Name(user.to_owned(), Domain::Id("default".to_owned())),
        password: secrecy::SecretString::from(user.to_owned()),
    };
    let scope = Scope::ProjectName(project.to_owned(), Domain::Id("default".to_owned()));
    Ok(CloudConfig::new(format!("the embedded cloud of site {alias}"), url, auth, scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_entered_where_they_are() {
        use spec::Guests as Spec;
        assert!(enters_servers(None, None, false) && !enters_servers(None, None, true));
        assert!(!enters_servers(Some(Spec::None), None, false) && !enters_servers(None, Some(Guests::None), false));
        assert!(enters_servers(Some(Spec::Qemu), None, true) && enters_servers(None, Some(Guests::Qemu), true));
        assert!(!enters_servers(Some(Spec::Qemu), Some(Guests::None), true));
    }

    #[test]
    fn the_flag_says_more_than_the_spec() {
        let qemu = Some(spec::Guests::Qemu);
        assert_eq!(guests_of(qemu, None), Guests::Qemu);
        assert_eq!(guests_of(qemu, Some(Guests::None)), Guests::None);
        assert_eq!(guests_of(None, Some(Guests::Qemu)), Guests::Qemu);
        // A real site under `--embedded` has no machines that anybody asked for.
        assert_eq!(guests_of(Some(spec::Guests::Ssh), None), Guests::None);
        assert_eq!(guests_of(None, None), Guests::None);
    }
}
