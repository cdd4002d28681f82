//! Kept secrets in a state: opened when it is read, sealed before it is written, sealed anew with another key.
//!
//! A kept secret stands in the attributes of the resource that it belongs to, sealed for its source. Whoever refers to it
//! has it in its own record by its source alone. An output with a secret in it is sealed as a whole.
//!
//! Invariants:
//! - Nothing here reads a clock, a cloud or a file but the vault's own keys.
//! - A secret that does not open is left as it is: it may open once the key is back.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::secrets::{Place, Vault, is_sealed};
use super::{Error, Loaded, ResourceState, State};
use crate::model::{Address, Fields, Json, Secret, Value};

/// A resource whose secrets do not open.
#[derive(Debug)]
pub struct Locked {
    /// The resource.
    pub address: Address,
    /// Why.
    pub error: Error,
}

/// Whether any secret is sealed in it, so that a key is needed.
#[must_use]
pub fn holds_sealed(loaded: &Loaded) -> bool {
    let mut found = false;
    let open = loaded.open.values().map(|intent| &*intent.resource);
    for record in loaded.state.resources.values().chain(open) {
        for mut value in record.attributes.values().cloned() {
            value.visit_secrets_mut(&mut |secret| found |= secret.sealed().is_some());
        }
    }
    found
}

/// Opens what is sealed, and puts it wherever the state refers to it; says what does not open.
pub fn unlock(loaded: &mut Loaded, vault: &mut Vault) -> Vec<Locked> {
    let mut locked = Vec::new();
    let mut texts: BTreeMap<String, SecretString> = BTreeMap::new();
    let open = loaded.open.iter_mut().map(|(address, intent)| (address, &mut *intent.resource));
    for (address, record) in loaded.state.resources.iter_mut().chain(open) {
        let mut failed = None;
        for value in record.attributes.values_mut() {
            value.visit_secrets_mut(&mut |secret| {
                let Some(sealed) = secret.sealed() else { return };
                match vault.open(Place::Kept(secret.source()), sealed) {
                    Ok(text) => {
                        texts.insert(secret.source().to_owned(), text.clone());
                        *secret = secret.clone().with_text(text);
                    }
                    Err(error) => failed = Some(error),
                }
            });
        }
        locked.extend(failed.map(|error| Locked { address: address.clone(), error }));
    }
    give_back(&mut loaded.state, |secret| secret.is_kept().then(|| texts.get(secret.source()).cloned()).flatten());
    locked
}

/// Gives texts back to the secrets that records were made with.
pub fn give_back(state: &mut State, text: impl Fn(&Secret) -> Option<SecretString>) {
    for record in state.resources.values_mut() {
        for value in record.applied.values_mut() {
            value.visit_secrets_mut(&mut |secret| {
                if secret.expose().is_none()
                    && let Some(text) = text(secret)
                {
                    *secret = secret.clone().with_text(text);
                }
            });
        }
    }
}

/// Whether a record has kept secrets that are not sealed yet.
#[must_use]
pub fn is_unsealed(record: &ResourceState) -> bool {
    let mut found = false;
    for mut value in record.attributes.values().cloned() {
        value.visit_secrets_mut(&mut |secret| found |= is_bare(secret));
    }
    found
}

fn is_bare(secret: &Secret) -> bool {
    secret.is_kept() && secret.sealed().is_none() && secret.expose().is_some()
}

/// Seals the kept secrets among a resource's attributes that are not sealed yet.
///
/// # Errors
/// When there is no key and none can be made.
pub fn seal(attributes: &mut Fields, vault: &mut Vault) -> Result<(), Error> {
    let mut failed = None;
    for value in attributes.values_mut() {
        value.visit_secrets_mut(&mut |secret| {
            let Some(text) = secret.expose().filter(|_| is_bare(secret)).map(SecretString::from) else { return };
            match vault.seal(Place::Kept(secret.source()), &text) {
                Ok(sealed) => *secret = secret.clone().with_sealed(Some(sealed)),
                Err(error) => failed = Some(error),
            }
        });
    }
    failed.map_or(Ok(()), Err)
}

/// Carries secrets over from what is recorded to what an object shows: services do not show them again, or not sealed.
pub fn carry(recorded: &Fields, shown: &mut Fields) {
    for (name, value) in recorded {
        let Value::Secret(kept) = value else { continue };
        let newer = match shown.get(name) {
            Some(Value::Secret(seen)) => seen != kept || (kept.expose().is_none() && seen.expose().is_some()),
            _ => false,
        };
        if kept.is_kept() && !newer {
            shown.insert(name.clone(), value.clone());
        }
    }
}

/// An output as a state has it: plain, or sealed as a whole where a secret is in it. `None` while it is not known.
///
/// # Errors
/// When there is no key and none can be made.
pub fn output(name: &str, value: &Value, vault: &mut Vault) -> Result<Option<Json>, Error> {
    let Some(plain) = value.to_plain().filter(|_| value.is_known() && !value.is_null()) else { return Ok(None) };
    if !value.holds_secret() {
        return Ok(Some(plain));
    }
    let sealed = vault.seal(Place::Output(name), &SecretString::from(plain.to_string()))?;
    let secret = Secret::remembered(Place::Output(name).to_string(), "sealed".to_owned()).with_sealed(Some(sealed));
    Ok(Some(Json::from(Value::Secret(secret))))
}

/// The sealed text of an output that is a secret.
#[must_use]
pub fn sealed_output(output: &Json) -> Option<String> {
    match Value::try_from(output.clone()) {
        Ok(Value::Secret(secret)) => secret.sealed().map(str::to_owned),
        _ => None,
    }
}

/// An output's value, in clear.
///
/// # Errors
/// When it is sealed and does not open.
pub fn open_output(name: &str, output: &Json, vault: &mut Vault) -> Result<Json, Error> {
    let Some(sealed) = sealed_output(output) else { return Ok(output.clone()) };
    let text = vault.open(Place::Output(name), &sealed)?;
    let what = "it is no JSON";
    serde_json::from_str(text.expose_secret()).map_err(|_| Error::BadSecret { name: name.to_owned(), what })
}

/// Seals every secret of a state anew, with the keys of `to`: after [`rotate`](super::secrets::rotate), or to move
/// between key file and passphrase. Nothing is changed unless all of them open. Says how many there are.
///
/// # Errors
/// When a secret does not open.
pub fn reseal(loaded: &Loaded, from: &mut Vault, to: &mut Vault) -> Result<(Loaded, usize), Error> {
    let mut loaded = loaded.clone();
    let mut count = 0;
    let mut again = |place: Place<'_>, text: &str| -> Result<String, Error> {
        count += 1;
        to.seal(place, &from.open(place, text)?)
    };
    for (name, value) in &mut loaded.state.variables {
        if let Json::String(text) = value
            && is_sealed(text)
        {
            *text = again(Place::Variable(name), text)?;
        }
    }
    let mut failed = None;
    let open = loaded.open.values_mut().map(|intent| &mut *intent.resource);
    for record in loaded.state.resources.values_mut().chain(open) {
        for value in record.attributes.values_mut() {
            value.visit_secrets_mut(&mut |secret| {
                let Some(sealed) = secret.sealed() else { return };
                match again(Place::Kept(secret.source()), sealed) {
                    Ok(sealed) => *secret = secret.clone().with_sealed(Some(sealed)),
                    Err(error) => failed = Some(error),
                }
            });
        }
    }
    for (name, output) in &mut loaded.state.outputs {
        if let Some(sealed) = sealed_output(output) {
            let place = Place::Output(name);
            let secret = Secret::remembered(place.to_string(), "sealed".to_owned());
            *output = Json::from(Value::Secret(secret.with_sealed(Some(again(place, &sealed)?))));
        }
    }
    failed.map_or(Ok((loaded, count)), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::secrets::{Source, rotate};
    use crate::state::tests::record;

    const ADDRESS: &str = "credentials.token";

    fn vault(folder: &std::path::Path) -> Vault {
        Vault::new("0123456789abcdef", Source::File(folder.join("key")))
    }

    fn at(address: &str) -> Address {
        address.parse().unwrap()
    }

    /// A state with a sealed secret and a resource that refers to it, as it is read back from its text.
    fn loaded(folder: &std::path::Path) -> Loaded {
        let mut loaded = Loaded::new(State::new("t", "0123456789abcdef".to_owned()));
        let (mut token, mut script) = (record("random_secret", "x"), record("script", "y"));
        let secret = Secret::kept("0a1b/value", "hunter2".to_owned());
        script.applied.insert("env".to_owned(), Value::Map([("T".to_owned(), Value::Secret(secret.clone()))].into()));
        token.attributes.insert("value".to_owned(), Value::Secret(secret));
        seal(&mut token.attributes, &mut vault(folder)).unwrap();
        loaded.state.resources.insert(at(ADDRESS), token);
        loaded.state.resources.insert(at("scripts.s"), script);
        let text = crate::state::format::write(&loaded).unwrap();
        assert!(!text.contains("hunter2") && text.contains("anole-sealed:1:k-"), "{text}");
        crate::state::format::read(&text).unwrap()
    }

    fn exposed(value: &Value) -> Vec<String> {
        let mut texts = Vec::new();
        value.visit_secrets(&mut |text| texts.push(text.to_owned()));
        texts
    }

    #[test]
    fn what_is_sealed_opens_wherever_the_state_refers_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut loaded = loaded(folder.path());
        assert!(holds_sealed(&loaded));
        assert!(unlock(&mut loaded, &mut vault(folder.path())).is_empty());
        assert_eq!(exposed(&loaded.state.resources[&at(ADDRESS)].attributes["value"]), ["hunter2"]);
        assert_eq!(exposed(&loaded.state.resources[&at("scripts.s")].applied["env"]), ["hunter2"]);
        assert!(!is_unsealed(&loaded.state.resources[&at(ADDRESS)]));
    }

    #[test]
    fn a_lost_key_loses_the_secret_and_says_whose() {
        let folder = tempfile::tempdir().unwrap();
        let mut loaded = loaded(folder.path());
        std::fs::remove_file(folder.path().join("key")).unwrap();
        let locked = unlock(&mut loaded, &mut vault(folder.path()));
        assert_eq!(locked.iter().map(|locked| locked.address.to_string()).collect::<Vec<_>>(), [ADDRESS]);
        assert!(matches!(locked[0].error, Error::KeyMissing { .. }));
        assert!(holds_sealed(&loaded), "it may open once the key is back");
    }

    #[test]
    fn another_key_seals_everything_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = loaded(folder.path());
        let value = Value::Secret(Secret::kept("0a1b/value", "hunter2".to_owned()));
        let output = super::output("token", &value, &mut vault(folder.path())).unwrap().unwrap();
        assert!(!output.to_string().contains("hunter2"));
        first.state.outputs.insert("token".to_owned(), output);
        let id = rotate(&folder.path().join("key")).unwrap();
        let (second, count) = reseal(&first, &mut vault(folder.path()), &mut vault(folder.path())).unwrap();
        let text = crate::state::format::write(&second).unwrap();
        assert_eq!((count, text.matches(&id).count()), (2, 2), "{text}");
        let shown = open_output("token", &second.state.outputs["token"], &mut vault(folder.path())).unwrap();
        assert_eq!(shown, "hunter2");
        std::fs::remove_file(folder.path().join("key")).unwrap();
        assert!(reseal(&second, &mut vault(folder.path()), &mut vault(folder.path())).is_err());
    }

    #[test]
    fn secrets_are_carried_over_unless_the_service_shows_another() {
        let of = |source: &str, text: &str| Value::Secret(Secret::kept(source, text.to_owned()));
        let recorded = Fields::from([("secret".to_owned(), of("a/secret", "x"))]);
        let mut shown = Fields::from([("name".to_owned(), "n".into())]);
        carry(&recorded, &mut shown);
        assert_eq!(shown["secret"], recorded["secret"]);
        let mut shown = Fields::from([("secret".to_owned(), of("b/secret", "y"))]);
        carry(&recorded, &mut shown);
        assert_eq!(shown["secret"], of("b/secret", "y"));
        let locked = Value::Secret(Secret::remembered("a/secret", "kept".to_owned()).with_sealed(Some("x".to_owned())));
        let mut shown = recorded.clone();
        carry(&Fields::from([("secret".to_owned(), locked)]), &mut shown);
        assert_eq!(exposed(&shown["secret"]), ["x"], "what is shown again is known again");
    }
}
