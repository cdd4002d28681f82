//! Finds `clouds.yaml`, `secure.yaml` and `clouds-public.yaml`, and takes one cloud's options out of them.
//!
//! In: the surroundings and a cloud's name. Out: its options, laid flat, from the least to the most specific: vendor
//! profile, `clouds.yaml`, `secure.yaml`, the region's own values.
//!
//! Invariant: an error never shows a value of the files, for any of them may be a secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use super::CloudError;
use super::config::{Environment, read_file};
use super::settings::Settings;
use crate::suggest;

/// A file that was found, and what is in it.
struct Document {
    path: PathBuf,
    root: Value,
}

/// The options of the cloud of that name.
pub(super) fn entry(cloud: &str, env: &Environment) -> Result<Settings, CloudError> {
    let Some(file) = find("clouds", "OS_CLIENT_CONFIG_FILE", env)? else {
        let places: Vec<String> = folders(env).iter().map(|folder| folder.display().to_string()).collect();
        return Err(CloudError::config(format!(
            "there is no clouds.yaml with the cloud {cloud}; it was looked for in {}",
            places.join(", ")
        ))
        .hint(
            "download one from the site's web page (Identity, Application Credentials), set OS_CLIENT_CONFIG_FILE, or \
             write `cloud: env` to use OS_* variables",
        ));
    };
    let mut merged = file.cloud("clouds", cloud)?;
    if let Some(secure) = find("secure", "OS_CLIENT_SECURE_FILE", env)?
        && let Some(Value::Mapping(secret)) = secure.root.get("clouds").and_then(|clouds| clouds.get(cloud))
    {
        lay_over(&mut merged, secret);
    }
    if let Some(profile) = merged.get("profile").and_then(Value::as_str).map(str::to_owned) {
        merged = with_profile(&profile, &merged, env)?;
    }
    apply_region(&mut merged);
    let origin = format!("cloud {cloud} of {}", file.path.display());
    Ok(Settings::new(origin, flatten(&merged)))
}

/// The folders that are searched, in order.
fn folders(env: &Environment) -> Vec<PathBuf> {
    let mut folders = vec![env.cwd.clone()];
    if let Some(config) = env.var("XDG_CONFIG_HOME") {
        folders.push(Path::new(config).join("openstack"));
    }
    folders.extend(env.home.iter().map(|home| home.join(".config/openstack")));
    folders.push(env.system.clone());
    folders
}

/// The first file of that stem, or the one that the variable names.
fn find(stem: &str, variable: &str, env: &Environment) -> Result<Option<Document>, CloudError> {
    if let Some(named) = env.var(variable) {
        let path = env.path(named);
        return match read_file(&path)? {
            Some(text) => Document::parse(path, &text).map(Some),
            None => Err(CloudError::config(format!("{variable} names {}, which is not there", path.display()))),
        };
    }
    for folder in folders(env) {
        for suffix in ["yaml", "yml", "json"] {
            let path = folder.join(format!("{stem}.{suffix}"));
            if let Some(text) = read_file(&path)? {
                return Document::parse(path, &text).map(Some);
            }
        }
    }
    Ok(None)
}

impl Document {
    fn parse(path: PathBuf, text: &str) -> Result<Self, CloudError> {
        let bad = |error: serde_yaml::Error| {
            // Only the place: the parser's message may quote the line, and the line may hold a password.
            let place = error.location().map_or(String::new(), |at| format!(":{}:{}", at.line(), at.column()));
            CloudError::config(format!("{}{place}: this is not YAML", path.display()))
        };
        let mut root: Value = serde_yaml::from_str(text).map_err(bad)?;
        root.apply_merge().map_err(bad)?;
        Ok(Self { path, root })
    }

    /// A cloud's entry under a section, with the other names in the error where there is none.
    fn cloud(&self, section: &str, name: &str) -> Result<Mapping, CloudError> {
        let path = self.path.display();
        let Some(Value::Mapping(clouds)) = self.root.get(section) else {
            return Err(CloudError::config(format!("{path} has no `{section}:` with clouds in it")));
        };
        match clouds.get(name) {
            Some(Value::Mapping(entry)) => Ok(entry.clone()),
            Some(_) => Err(CloudError::config(format!("{path}: the cloud {name} is not a map of options"))),
            None => {
                let names: Vec<&str> = clouds.keys().filter_map(Value::as_str).collect();
                let error = CloudError::config(match names.as_slice() {
                    [] => format!("{path} has no clouds"),
                    names => format!("{path} has no cloud {name}; it has {}", names.join(", ")),
                });
                Err(match suggest::closest(name, names) {
                    Some(near) => error.hint(format!("did you mean {near}?")),
                    None => error,
                })
            }
        }
    }
}

fn with_profile(profile: &str, entry: &Mapping, env: &Environment) -> Result<Mapping, CloudError> {
    let unknown = || {
        CloudError::config(format!("the profile {profile} is in no clouds-public.yaml"))
            .hint("profiles built into openstacksdk are not known here: write auth_url and region_name out")
    };
    let file = find("clouds-public", "OS_CLIENT_VENDOR_FILE", env)?.ok_or_else(unknown)?;
    let mut merged = file.cloud("public-clouds", profile)?;
    lay_over(&mut merged, entry);
    Ok(merged)
}

/// Lays the more specific options over the others; maps (`auth`) are merged member by member.
fn lay_over(below: &mut Mapping, above: &Mapping) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(Value::Mapping(below)), Value::Mapping(above)) => lay_over(below, above),
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

/// An entry may list `regions:`, by name or with values of their own; without `region_name` the first is meant.
fn apply_region(entry: &mut Mapping) {
    let Some(Value::Sequence(regions)) = entry.get("regions") else { return };
    let name = |region: &Value| match region {
        Value::Mapping(region) => region.get("name").and_then(Value::as_str).map(str::to_owned),
        other => other.as_str().map(str::to_owned),
    };
    let wanted = entry.get("region_name").and_then(Value::as_str).map(str::to_owned);
    let Some(region) = regions.iter().find(|region| wanted.is_none() || name(region) == wanted).cloned() else {
        return;
    };
    if let (None, Some(name)) = (wanted, name(&region)) {
        entry.insert("region_name".into(), name.into());
    }
    if let Some(Value::Mapping(values)) = region.get("values") {
        lay_over(entry, values);
    }
}

/// The options with those of `auth` among them, each named with underscores.
fn flatten(entry: &Mapping) -> BTreeMap<String, Value> {
    let mut options = BTreeMap::new();
    let mut add = |map: &Mapping| {
        for (key, value) in map {
            if let Some(key) = key.as_str() {
                options.insert(key.replace('-', "_"), value.clone());
            }
        }
    };
    add(entry);
    if let Some(Value::Mapping(auth)) = entry.get("auth") {
        add(auth);
    }
    options
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::cloud::config::{Auth, CloudConfig, CredentialRef, Domain, Interface, Scope, User};
    use crate::cloud::{ErrorKind, Service};

    /// A home with these files in it.
    fn home(files: &[(&str, &str)], vars: &[(&str, &str)]) -> (tempfile::TempDir, Environment) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let at = |name: &str| folder.path().join(name);
        let env = Environment { vars, home: Some(at("home")), cwd: at("work"), system: at("etc") };
        (folder, env)
    }

    const CLOUDS: &str = "
clouds:
  kvm_tacc: &kvm
    auth_type: v3applicationcredential
    auth: {auth_url: 'https://kvm.test:5000', application_credential_id: abc}
    region_name: KVM@TACC
    interface: internal
    cacert: ~/ca.pem
    block_storage_endpoint_override: https://kvm.test/volume/v3
    api_timeout: 90
  chi_tacc: {<<: *kvm, region_name: CHI@TACC}
  vendor: {profile: acme, auth: {username: me, password: 1234, project_id: p}}
";
    const SECURE: &str = "clouds: {kvm_tacc: {auth: {application_credential_secret: s3cret}}}";

    #[test]
    fn the_secret_file_and_the_profile_are_laid_in() {
        let public = "public-clouds: {acme: {auth: {auth_url: 'https://acme.test/v3'}, regions: [A, B]}}";
        let (_folder, env) = home(
            &[
                ("home/.config/openstack/clouds.yaml", CLOUDS),
                ("etc/secure.yml", SECURE),
                ("work/clouds-public.yaml", public),
            ],
            &[],
        );
        let kvm = CloudConfig::load("kvm_tacc", &env).unwrap();
        let Auth::ApplicationCredential { credential, secret } = &kvm.auth else { panic!("{kvm:?}") };
        assert_eq!((credential, secret.expose_secret()), (&CredentialRef::Id("abc".into()), "s3cret"));
        assert_eq!((kvm.region.as_deref(), kvm.interface), (Some("KVM@TACC"), Interface::Internal));
        assert_eq!(kvm.tls.cacert, Some(env.home.clone().unwrap().join("ca.pem")));
        assert_eq!(kvm.overrides[&Service::BlockStorage], "https://kvm.test/volume/v3");
        assert_eq!(kvm.api_timeout.unwrap().as_secs(), 90);
        assert!(!format!("{kvm:?}").contains("s3cret"));

        let vendor = CloudConfig::load("vendor", &env).unwrap();
        assert_eq!((vendor.auth_url.as_str(), vendor.region.as_deref()), ("https://acme.test/v3", Some("A")));
        assert_eq!(vendor.scope, Scope::ProjectId("p".into()));
        let Auth::Password { user, password } = &vendor.auth else { panic!("{vendor:?}") };
        assert_eq!(*user, User::Name("me".into(), Domain::Id("default".into())));
        assert_eq!(password.expose_secret(), "1234");
    }

    #[test]
    fn the_first_file_counts_and_the_variable_comes_first() {
        let one = |name: &str| format!("clouds: {{{name}: {{auth: {{auth_url: 'http://{name}.test', token: t}}}}}}");
        let (_folder, mut env) =
            home(&[("work/clouds.json", &one("a")), ("etc/clouds.yaml", &one("b")), ("named.yaml", &one("c"))], &[]);
        assert!(CloudConfig::load("a", &env).is_ok());
        env.vars.insert("OS_CLIENT_CONFIG_FILE".into(), "../named.yaml".into());
        assert!(CloudConfig::load("c", &env).is_ok());
        env.vars.insert("OS_CLOUD".into(), "c".into());
        assert_eq!(CloudConfig::load("env", &env).unwrap().auth_url.as_str(), "http://c.test/");
        env.vars.insert("OS_CLIENT_CONFIG_FILE".into(), "gone.yaml".into());
        assert!(CloudConfig::load("c", &env).unwrap_err().message.starts_with("OS_CLIENT_CONFIG_FILE names"));
    }

    #[test]
    fn mistakes_name_the_file_the_entry_and_what_there_is() {
        let (_folder, env) = home(&[("work/clouds.yaml", CLOUDS)], &[]);
        let error = CloudConfig::load("kvm-tacc", &env).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(
            error.message.ends_with("clouds.yaml has no cloud kvm-tacc; it has kvm_tacc, chi_tacc, vendor"),
            "{error}"
        );
        assert_eq!(error.hint.as_deref(), Some("did you mean kvm_tacc?"));
        let error = CloudConfig::load("chi_tacc", &env).unwrap_err();
        assert!(
            error.message.contains("cloud chi_tacc of ") && error.message.contains("application_credential_secret")
        );
        let error = CloudConfig::load("vendor", &env).unwrap_err();
        assert_eq!(error.message, "the profile acme is in no clouds-public.yaml");
        let error = CloudConfig::load("env", &Environment { vars: BTreeMap::new(), ..env }).unwrap_err();
        assert_eq!(error.message, "the OS_* variables: a sign-in needs OS_AUTH_URL, which is not set");

        let (_folder, env) = home(&[("work/clouds.yaml", "clouds:\n  a: {auth: {password: s3cret\n  b: }")], &[]);
        let error = CloudConfig::load("a", &env).unwrap_err();
        assert!(error.message.contains("clouds.yaml:") && !error.message.contains("s3cret"), "{error}");
        let (_folder, env) = home(&[], &[]);
        let error = CloudConfig::load("a", &env).unwrap_err();
        assert!(error.message.contains("/work, ") && error.hint.is_some(), "{error}");
    }

    #[test]
    fn a_chameleon_site_takes_the_sign_in_at_hand() {
        let jupyter = [
            ("OS_AUTH_URL", "https://chi.uc.chameleoncloud.org:5000/v3"),
            ("OS_AUTH_TYPE", "v3oidcaccesstoken"),
            ("OS_ACCESS_TOKEN", "s3cret"),
            ("OS_PROJECT_ID", "uc-id"),
            ("OS_PROJECT_NAME", "CHI-1"),
            ("OS_REGION_NAME", "CHI@UC"),
        ];
        let (_folder, mut env) = home(&[], &jupyter);
        let other = CloudConfig::chameleon("kvm@tacc", &env).unwrap();
        assert_eq!(other.auth_url.as_str(), "https://kvm.tacc.chameleoncloud.org:5000/v3");
        assert_eq!(other.region.as_deref(), Some("KVM@TACC"));
        assert_eq!(other.scope, Scope::ProjectName("CHI-1".into(), Domain::Id("default".into())));
        assert_eq!(CloudConfig::chameleon("CHI@UC", &env).unwrap().scope, Scope::ProjectId("uc-id".into()));
        assert_eq!(CloudConfig::chameleon("CHI@TAC", &env).unwrap_err().hint.unwrap(), "did you mean CHI@TACC?");
        env.vars.insert("OS_AUTH_TYPE".into(), "v3applicationcredential".into());
        env.vars.insert("OS_APPLICATION_CREDENTIAL_ID".into(), "id".into());
        env.vars.insert("OS_APPLICATION_CREDENTIAL_SECRET".into(), "s3cret".into());
        assert!(CloudConfig::chameleon("CHI@UC", &env).is_ok());
        let error = CloudConfig::chameleon("CHI@TACC", &env).unwrap_err();
        assert!(error.message.contains("of another site"), "{error}");
        assert!(!format!("{env:?} {error:?}").contains("s3cret"));
    }
}
