//! `state recover`: rebuilds a lost state from what is live.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::planning::ids;
use super::{Error, Settings, inside, load, look};
use crate::kinds;
use crate::observe::{Observed, observe_site};
use crate::state::lock::Holder;
use crate::state::recover::{Recovered, Sources, recover as rebuild};
use crate::state::{self, State};

/// What came of it.
pub struct Recovery {
    /// The state that was made, and what it lacks or has too much.
    pub recovered: Recovered,
    /// Where it was written.
    pub location: String,
}

/// Looks at everything in the spec's sites and writes a state of what is this stack's.
///
/// # Errors
/// When there is a state already, or what is live is ambiguous.
pub async fn recover(settings: &Settings, lineage: Option<&str>, force: bool) -> Result<Recovery, Error> {
    let loaded = load_without_state(settings)?;
    let mut writer = loaded.store.lock(&Holder::current("anole state recover"), Duration::ZERO)?;
    if !force {
        refuse_to_replace(writer.load(), &loaded.store.location())?;
    }
    let empty = State::new(&loaded.spec.stack.value, String::new());
    let signed = look::sign_in(&loaded, settings, &empty).await?;
    let interests = look::everything(&signed.desired, &signed.sessions);
    let views = try_join_all(signed.sessions.iter().map(|(alias, session)| {
        let interest = interests.get(alias).cloned().unwrap_or_default();
        async move {
            let view = observe_site(session, &interest).await;
            view.map(|view| (alias.clone(), view)).map_err(|error| Error::Site { site: alias.clone(), error })
        }
    }));
    let mut observed = Observed {
        sites: views.await?.into_iter().collect(),
        at: look::clock(&signed.sessions),
        here: BTreeMap::new(),
        unseen: BTreeMap::new(),
    };
    for (alias, view) in &mut observed.sites {
        view.guests.reached = inside::is_reached(alias, &signed, settings);
    }
    let fresh_lineage = ids().hex(8);
    let recovered = rebuild(&Sources {
        desired: &signed.desired,
        observed: &observed,
        kinds: kinds::by_name,
        lineage,
        fresh_lineage: &fresh_lineage,
    })?;
    let mut loaded_state = state::Loaded::new(recovered.state.clone());
    writer.replace(&mut loaded_state)?;
    Ok(Recovery { recovered, location: loaded.store.location() })
}

/// A state that can be read is not replaced; a damaged one is kept as a backup.
fn refuse_to_replace(kept: Result<Option<state::Loaded>, state::Error>, location: &str) -> Result<(), Error> {
    let kept = match kept {
        Err(error) if error.is_damage() => None,
        other => other?,
    };
    match kept.map_or(0, |kept| kept.state.resources.len()) {
        0 => Ok(()),
        count => Err(Error::refused(
            format!("there is a state with {count} resources in {location}"),
            "`--force` replaces it; the old one is kept as a backup",
        )),
    }
}

/// A damaged state is what this command is for: the spec is loaded as if there were none.
fn load_without_state(settings: &Settings) -> Result<super::Loaded, Error> {
    match load(settings) {
        Err(Error::State(error)) if error.is_damage() => {
            let elsewhere =
                tempfile::tempdir().map_err(|error| Error::Refused { message: error.to_string(), help: None })?;
            let (store, _) = super::store(settings)?;
            let blank = Settings {
                state: Some(elsewhere.path().join("none.json").to_string_lossy().into_owned()),
                ..settings.clone()
            };
            let loaded = load(&blank)?;
            Ok(super::Loaded { store, ..loaded })
        }
        other => other,
    }
}
