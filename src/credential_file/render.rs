//! What a credential is in each of the forms.

use crate::object::signing_region;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Section, Unmergeable};

/// What there is to write: the attributes of a credential, by name.
#[derive(Clone, Copy)]
pub struct Keys<'a>(pub &'a dyn Fn(&str) -> Option<&'a str>);

impl<'a> Keys<'a> {
    fn get(self, name: &str) -> Option<&'a str> {
        (self.0)(name)
    }

    /// The pairs whose attribute is there.
    fn pairs(self, table: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = table.iter().filter_map(|(key, name)| Some(((*key).to_owned(), self.get(name)?.to_owned())));
        pairs.collect()
    }

    fn is_s3(self) -> bool {
        self.get("secret_key").is_some()
    }
}

const NEEDS_KEYS: Unmergeable = Unmergeable("this form is for a pair of keys: `type: ec2`, or `from_env`");
const NEEDS_SIGN_IN: Unmergeable = Unmergeable("this form is for a sign-in: `type: application`");

/// The sections that a form has of a credential, in the order of its files. `name` is the remote's, the profile's, the
/// cloud's, the bucket's or the secret's; `more` are settings of the user's own.
///
/// # Errors
/// When the form has no use for such a credential.
pub fn render(form: &str, name: &str, keys: Keys<'_>, more: &[(String, String)]) -> Result<Vec<Section>, Unmergeable> {
    let name = name.to_owned();
    let settings = |own: Vec<(String, String)>| {
        let own = own.into_iter().filter(|(key, _)| more.iter().all(|(other, _)| other != key));
        own.chain(more.iter().cloned()).collect::<Vec<_>>()
    };
    Ok(match form {
        "rclone" if keys.is_s3() => {
            let fixed = [("type", "s3"), ("provider", "Ceph")].map(|(key, value)| (key.to_owned(), value.to_owned()));
            let table =
                [("access_key_id", "access_key"), ("secret_access_key", "secret_key"), ("endpoint", "endpoint")];
            vec![Section::Ini { name, settings: settings([fixed.to_vec(), keys.pairs(&table)].concat()) }]
        }
        "rclone" => {
            let fixed =
                [("type", "swift"), ("auth_version", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
            let table = [
                ("auth", "auth_url"),
                ("application_credential_id", "id"),
                ("application_credential_secret", "secret"),
                ("region", "region"),
            ];
            sign_in(keys)?;
            vec![Section::Ini { name, settings: settings([fixed.to_vec(), keys.pairs(&table)].concat()) }]
        }
        "aws" => {
            pair(keys)?;
            let secrets = keys.pairs(&[("aws_access_key_id", "access_key"), ("aws_secret_access_key", "secret_key")]);
            let profile = if name == "default" { name.clone() } else { format!("profile {name}") };
            let region = keys.get("region").map(|region| ("region".to_owned(), signing_region(region).to_owned()));
            let places = region.into_iter().chain(keys.pairs(&[("endpoint_url", "endpoint")])).collect();
            vec![Section::Ini { name, settings: secrets }, Section::Ini { name: profile, settings: settings(places) }]
        }
        "s3fs" => {
            let (access, secret) = pair(keys)?;
            let start = if name.is_empty() { name } else { format!("{name}:") };
            vec![Section::Lines(vec![(start, format!("{access}:{secret}"))])]
        }
        "env" => vec![variables("", settings(environment(keys, &name)))?],
        "openrc" => {
            sign_in(keys)?;
            vec![variables("export ", settings(environment(keys, "")))?]
        }
        "clouds" => {
            let (id, secret) = sign_in(keys)?;
            let quoted = |text: &str| serde_json::Value::from(text).to_string();
            let mut body = vec!["auth_type: v3applicationcredential".to_owned(), "auth:".to_owned()];
            body.extend(keys.get("auth_url").map(|url| format!("  auth_url: {}", quoted(url))));
            body.push(format!("  application_credential_id: {}", quoted(id)));
            body.push(format!("  application_credential_secret: {}", quoted(secret)));
            body.extend(keys.get("region").map(|region| format!("region_name: {}", quoted(region))));
            vec![Section::Cloud { name, body }]
        }
        "kubernetes" => vec![manifest(&name, settings(environment(keys, "value")))],
        _ => return Err(Unmergeable("there is no such form")),
    })
}

fn pair<'a>(keys: Keys<'a>) -> Result<(&'a str, &'a str), Unmergeable> {
    keys.get("access_key").zip(keys.get("secret_key")).ok_or(NEEDS_KEYS)
}

fn sign_in<'a>(keys: Keys<'a>) -> Result<(&'a str, &'a str), Unmergeable> {
    keys.get("id").zip(keys.get("secret")).ok_or(NEEDS_SIGN_IN)
}

/// The variables of the environment by which programs know such a credential; a random secret is in the one named.
fn environment(keys: Keys<'_>, variable: &str) -> Vec<(String, String)> {
    if let Some(value) = keys.get("value") {
        return vec![(variable.to_owned(), value.to_owned())];
    }
    if keys.is_s3() {
        let region =
            keys.get("region").map(|region| ("AWS_DEFAULT_REGION".to_owned(), signing_region(region).to_owned()));
        let table = [
            ("AWS_ACCESS_KEY_ID", "access_key"),
            ("AWS_SECRET_ACCESS_KEY", "secret_key"),
            ("AWS_ENDPOINT_URL", "endpoint"),
        ];
        return keys.pairs(&table).into_iter().chain(region).collect();
    }
    if keys.get("secret").is_none() {
        return Vec::new();
    }
    let mut pairs = vec![("OS_AUTH_TYPE".to_owned(), "v3applicationcredential".to_owned())];
    pairs.extend(keys.pairs(&[
        ("OS_AUTH_URL", "auth_url"),
        ("OS_APPLICATION_CREDENTIAL_ID", "id"),
        ("OS_APPLICATION_CREDENTIAL_SECRET", "secret"),
        ("OS_REGION_NAME", "region"),
    ]));
    pairs.push(("OS_IDENTITY_API_VERSION".to_owned(), "3".to_owned()));
    pairs
}

/// `NAME=value` lines, quoted as shells and readers of `.env` files both understand.
fn variables(start: &str, pairs: Vec<(String, String)>) -> Result<Section, Unmergeable> {
    let mut lines = Vec::new();
    for (name, value) in pairs {
        let is_bare = |char: char| char.is_ascii_alphanumeric() || "_@%+=:,./-".contains(char);
        let value = match value.chars().all(is_bare) && !value.is_empty() {
            true => value,
            false if value.contains(['\'', '\n']) => {
                return Err(Unmergeable(
                    "a value with a quote or a line end cannot be written so that all programs read it",
                ));
            }
            false => format!("'{value}'"),
        };
        lines.push((format!("{start}{name}="), value));
    }
    Ok(Section::Lines(lines))
}

/// A text as YAML has it: in quotes where it would be something else without, `123` or `yes`.
fn quoted(text: &str) -> String {
    let read = serde_yaml::from_str::<serde_yaml::Value>(text).ok();
    let is_bare = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./+=".contains(&byte));
    // What YAML's first version took for a truth value, other readers still do.
    let is_word = ["y", "n", "yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word));
    match is_bare && !is_word && read.as_ref().and_then(serde_yaml::Value::as_str) == Some(text) {
        true => text.to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}

/// A Secret of Kubernetes; the name may have its namespace before it, `lab/s3`.
fn manifest(name: &str, pairs: Vec<(String, String)>) -> Section {
    let (namespace, name) = name.split_once('/').map_or((None, name), |(namespace, name)| (Some(namespace), name));
    let mut body = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\n", quoted(name));
    if let Some(namespace) = namespace {
        body.push_str(&format!("  namespace: {}\n", quoted(namespace)));
    }
    body.push_str("type: Opaque\ndata:\n");
    for (key, value) in pairs {
        body.push_str(&format!("  {}: {}\n", quoted(&key), quoted(&STANDARD.encode(value))));
    }
    Section::Manifest { name: name.to_owned(), namespace: namespace.map(str::to_owned), body }
}
