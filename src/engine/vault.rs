//! The keys of a state's secrets: where they are, what opens with them, what is lost without them.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::{Error, Settings, store};
use crate::kinds;
use crate::model::{Address, Json, Secret, Value};
use crate::plan::{Action, Note, Plan, PlanError, Verb};
use crate::resolve::Desired;
use crate::state::lock::Holder;
use crate::state::sealing::{self, Locked};
use crate::state::secrets::{self, Source, Vault};
use crate::state::{self, Entry, State};

/// The variable with the passphrase that takes a key file's place.
const PASSPHRASE: &str = "ANOLE_STATE_PASSPHRASE";

fn source(settings: &Settings) -> Result<Source, Error> {
    if let Some(passphrase) = settings.environment.var(PASSPHRASE) {
        return Ok(Source::Passphrase(SecretString::from(passphrase)));
    }
    Source::default_key_path().map(Source::File).ok_or_else(|| {
        Error::refused("there is no home folder for the key of the state's secrets", format!("set {PASSPHRASE}"))
    })
}

/// The vault of a state.
pub(super) fn open(settings: &Settings, lineage: &str) -> Result<Vault, Error> {
    Ok(Vault::new(lineage, source(settings)?))
}

/// Opens a state's secrets, and gives it those again that the spec has; says what does not open.
pub(super) fn unlock(
    settings: &Settings,
    desired: Option<&Desired>,
    loaded: &mut state::Loaded,
) -> Result<Vec<Locked>, Error> {
    let mut locked = Vec::new();
    if sealing::holds_sealed(loaded) {
        let mut vault = open(settings, &loaded.state.lineage)?;
        locked = sealing::unlock(loaded, &mut vault);
    }
    if let Some(desired) = desired {
        let given = given(desired);
        let find = |secret: &Secret| {
            let key = (secret.source().to_owned(), secret.digest().to_owned());
            given.get(&key).and_then(|given| given.expose()).map(SecretString::from)
        };
        sealing::give_back(&mut loaded.state, find);
    }
    Ok(locked)
}

/// The secrets that a spec gives, by what tells them.
fn given(desired: &Desired) -> BTreeMap<(String, String), Secret> {
    let mut given = BTreeMap::new();
    for mut value in desired.resources.values().flat_map(|resource| resource.fields.values()).cloned() {
        value.visit_secrets_mut(&mut |secret| {
            given.insert((secret.source().to_owned(), secret.digest().to_owned()), secret.clone());
        });
    }
    given
}

/// What to tell of secrets that do not open: those that the object itself shows again are not lost.
pub(super) fn notes(locked: &[Locked], plan: &Plan) -> Vec<Note> {
    let shown_again = |address: &Address| {
        plan.actions.get(address).is_some_and(|action| {
            let secrets = action.live.values().filter(|value| value.holds_secret());
            secrets.clone().next().is_some() && secrets.clone().all(Value::is_known)
        })
    };
    let goes = |address: &Address| {
        plan.actions
            .get(address)
            .is_none_or(|action| matches!(action.verb, Verb::Replace | Verb::Delete | Verb::Forget))
    };
    let lost = locked.iter().filter(|locked| !shown_again(&locked.address) && !goes(&locked.address));
    let lost = lost.map(|locked| Note {
        warning: true,
        address: Some(locked.address.clone()),
        text: format!(
            "its secret is lost to this command: {}. Bring the key back, or have another made with `--replace {}`",
            locked.error, locked.address
        ),
    });
    lost.chain(plan.actions.values().filter_map(never_known)).collect()
}

/// What to tell of an object whose secret no service shows and the state never had: it was recovered or imported.
fn never_known(action: &Action) -> Option<Note> {
    let stays = matches!(action.verb, Verb::Keep | Verb::Record | Verb::Update);
    let recipes = kinds::by_name(&action.kind).filter(|_| stays)?.makes(&action.fields);
    recipes.iter().any(|recipe| !action.live.contains_key(recipe.attribute)).then(|| Note {
        warning: true,
        address: Some(action.address.clone()),
        text: format!("its secret is not in the state; `--replace {}` makes one that is", action.address),
    })
}

/// What is to be made of secrets that do not open: there is no such plan.
pub(super) fn refuse_lost(plan: &Plan, state: &State) -> Vec<PlanError> {
    let mut owners: BTreeMap<&str, &Address> = BTreeMap::new();
    for (address, record) in &state.resources {
        for value in record.attributes.values() {
            if let Value::Secret(secret) = value {
                owners.insert(secret.source(), address);
            }
        }
    }
    let made = plan.actions.values().filter(|action| {
        matches!(action.verb, Verb::Create | Verb::Replace | Verb::Update | Verb::Await | Verb::Adopt)
    });
    let mut errors = Vec::new();
    for action in made {
        for (field, value) in &action.fields {
            let mut lost = None;
            value.clone().visit_secrets_mut(&mut |secret| {
                if secret.expose().is_none() {
                    lost = Some(secret.source().to_owned());
                }
            });
            let Some(source) = lost else { continue };
            let owner = source.split(", ").find_map(|source| owners.get(source));
            let whose = owner.map_or_else(|| source.clone(), |owner| format!("the secret of {owner}"));
            let help = match owner {
                Some(owner) => format!("bring the key of the state's secrets back, or add `--replace {owner}`"),
                None => "give the value again".to_owned(),
            };
            errors.push(PlanError {
                code: "lost-secret",
                address: Some(action.address.clone()),
                field: Some(field.clone()),
                message: format!("{} needs {whose}, which does not open", action.address),
                help: Some(help),
            });
        }
    }
    errors
}

/// An output's value in clear, of the state as it is.
///
/// # Errors
/// When the state cannot be read, or the output does not open.
pub fn show_output(settings: &Settings, lineage: &str, (name, output): (&str, &Json)) -> Result<Json, Error> {
    if sealing::sealed_output(output).is_none() {
        return Ok(output.clone());
    }
    Ok(sealing::open_output(name, output, &mut open(settings, lineage)?)?)
}

/// What came of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Where the state is.
    pub location: String,
    /// The new key's id; none where a passphrase took a new salt.
    pub key: Option<String>,
    /// How many secrets were sealed anew.
    pub secrets: usize,
}

/// Makes a new key and seals a state's secrets with it. Other states, and this one's backups, keep the older keys.
///
/// # Errors
/// When a secret does not open, or the state is locked or cannot be written.
pub fn rotate_key(settings: &Settings) -> Result<Rotated, Error> {
    let (store, stack) = store(settings)?;
    let mut writer = store.lock(&Holder::current("anole state rotate-key"), std::time::Duration::ZERO)?;
    let Some(loaded) = writer.load()? else {
        return Err(Error::refused(
            format!("stack `{stack}` has no state in {}", store.location()),
            "`anole apply` makes one",
        ));
    };
    let lineage = loaded.state.lineage.clone();
    // Whatever does not open must stop this before there is a new key.
    sealing::reseal(&loaded, &mut open(settings, &lineage)?, &mut open(settings, &lineage)?)?;
    let key = match source(settings)? {
        Source::File(path) => Some(secrets::rotate(&path)?),
        Source::Passphrase(_) => None,
    };
    let (mut resealed, secrets) =
        sealing::reseal(&loaded, &mut open(settings, &lineage)?, &mut open(settings, &lineage)?)?;
    writer.begin(&Entry::Begin {
        lineage,
        stack: resealed.state.stack.clone(),
        serial: resealed.state.serial,
        at: jiff::Timestamp::now(),
        sites: resealed.state.sites.clone(),
        variables: resealed.state.variables.clone(),
    })?;
    writer.commit(&mut resealed)?;
    Ok(Rotated { location: store.location(), key, secrets })
}
