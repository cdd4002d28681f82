//! Saved plans: self-contained, and refused when anything they touch has changed since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::planning::Planned;
use super::{Error, Settings, look, sites};
use crate::apply::intents::Resolution;
use crate::cloud::Session;
use crate::diagnostic::{Diagnostics, Sources};
use crate::embedded;
use crate::kinds::{self, Kind};
use crate::model::{Fields, SiteAlias, Value};
use crate::observe::{Interest, observe_site};
use crate::plan::{Action, Plan, Report, Verb};
use crate::spec::{Guests, Site};
use crate::state;

/// The version of the format.
const VERSION: u32 = 1;

/// A plan in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPlan {
    /// The format's version.
    pub version: u32,
    /// Which anole wrote it; another one refuses it.
    pub tool: String,
    /// Where the state is.
    pub state: String,
    /// The folder of the spec, for embedded clouds.
    pub folder: PathBuf,
    /// Whether every site was the embedded cloud.
    pub embedded: bool,
    /// What the flag made of the servers of embedded sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guests: Option<embedded::Guests>,
    /// Which cloud each site is.
    pub clouds: BTreeMap<SiteAlias, SavedSite>,
    /// The plan.
    pub plan: Plan,
    /// What people should know besides.
    pub report: Report,
}

/// A site of a saved plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSite {
    /// As `--site` takes it.
    pub cloud: String,
    /// Its region, where the spec says.
    pub region: Option<String>,
    /// How its servers' insides are reached, where the spec says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guests: Option<Guests>,
}

/// Writes a plan.
///
/// # Errors
/// When the file cannot be written.
pub fn write_plan(settings: &Settings, planned: &Planned, path: &Path) -> Result<(), Error> {
    if let Some(action) = planned.plan.actions.values().find(|action| action.wanted.values().any(Value::holds_secret)) {
        return Err(Error::refused(
            format!("{} holds a sensitive value, and a saved plan holds no secrets", action.address),
            "apply without saving the plan first",
        ));
    }
    let loaded = super::load(settings)?;
    let clouds = loaded
        .desired
        .sites
        .iter()
        .map(|(alias, site)| {
            let cloud = settings.sites.get(alias).cloned().unwrap_or_else(|| sites::cloud_name(&site.cloud));
            (alias.clone(), SavedSite { cloud, region: site.region.clone(), guests: site.guests })
        })
        .collect();
    let saved = SavedPlan {
        version: VERSION,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        state: loaded.store.location(),
        folder: loaded.spec.folder.clone(),
        embedded: settings.embedded,
        guests: settings.guests,
        clouds,
        plan: without_sealed(planned.plan.clone()),
        report: planned.report.clone(),
    };
    let failed = |why: String| Error::PlanFile { path: path.display().to_string(), why };
    let text = serde_json::to_string_pretty(&saved).map_err(|error| failed(error.to_string()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file is readable by its owner alone, and the plan stays so.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(error.to_string()))?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(|error| failed(error.to_string()))?;
    file.persist(path).map_err(|error| failed(error.error.to_string()))?;
    Ok(())
}

/// A plan without the sealed forms of secrets, which the state has.
fn without_sealed(mut plan: Plan) -> Plan {
    for action in plan.actions.values_mut() {
        for value in action.live.values_mut().chain(action.applied.values_mut()).chain(action.fields.values_mut()) {
            value.visit_secrets_mut(&mut |secret| *secret = secret.lent());
        }
    }
    plan
}

/// Reads a plan.
///
/// # Errors
/// When the file is not a plan of this version.
pub fn read_plan(path: &Path) -> Result<SavedPlan, Error> {
    let failed = |why: String| Error::PlanFile { path: path.display().to_string(), why };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let version: serde_json::Value =
        serde_json::from_str(&text).map_err(|_| failed("it is no saved plan".to_owned()))?;
    let tool = version.get("tool").and_then(serde_json::Value::as_str).unwrap_or("another program");
    if version.get("version").and_then(serde_json::Value::as_u64) != Some(u64::from(VERSION))
        || tool != env!("CARGO_PKG_VERSION")
    {
        return Err(Error::Stale { why: format!("anole {tool} wrote it, and this is {}", env!("CARGO_PKG_VERSION")) });
    }
    serde_json::from_value(version).map_err(|error| failed(format!("it is no saved plan: {error}")))
}

/// Signs in and holds the plan against the state and every object that it touches.
pub(super) async fn check(settings: &Settings, saved: SavedPlan, state: &state::Loaded) -> Result<Planned, Error> {
    let plan = &saved.plan;
    let stale = |why: String| Error::Stale { why };
    if state.state.lineage != plan.lineage {
        return Err(stale("the state is another one (its lineage differs)".to_owned()));
    }
    if state.state.serial != plan.serial || !state.open.is_empty() {
        return Err(stale(format!(
            "the state has changed since: serial {} then, {} now",
            plan.serial, state.state.serial
        )));
    }
    let sessions = sign_in(settings, &saved).await?;
    for (alias, identity) in &plan.sites {
        let now = sessions.get(alias).map(Session::identity);
        if now != Some(identity) {
            return Err(stale(format!("site `{alias}` is another project or user by now")));
        }
    }
    for (alias, session) in &sessions {
        // What moves to another site is looked at where it is.
        let is_here = |action: &&Action| {
            let record = state.state.resources.get(&action.address);
            *alias == *record.map_or(&action.site, |record| &record.site)
        };
        // What no service has is done by its record, whatever is there.
        let in_cloud = |action: &&Action| {
            kinds::by_name(&action.kind).and_then(Kind::cloud).is_some_and(|kind| !kind.is_unlisted())
        };
        let touched = plan.actions.values().filter(is_here).filter(in_cloud).filter(|action| action.verb.is_work());
        let touched: Vec<_> = touched.collect();
        let interest =
            Interest { kinds: touched.iter().map(|action| action.kind.clone()).collect(), ..Interest::default() };
        let view =
            observe_site(session, &interest).await.map_err(|error| Error::Site { site: alias.clone(), error })?;
        for action in touched {
            let seen = action.id.as_ref().and_then(|id| view.objects.get(&action.kind)?.get(id));
            let now: Fields = seen.map(|seen| seen.attrs.clone()).unwrap_or_default();
            if shown(&now) != shown(&action.live) && action.verb != Verb::Forget {
                return Err(stale(format!("{} has changed since", action.address)));
            }
        }
    }
    Ok(Planned {
        servers: settings.servers.clone(),
        report: saved.report.clone(),
        previous_variables: state.state.variables.clone(),
        diagnostics: Diagnostics::default(),
        sources: Sources::default(),
        notices: Vec::new(),
        requests: sessions.values().flat_map(|session| session.request_count().into_values()).sum(),
        sessions,
        resolution: Resolution::default(),
        plan: saved.plan,
    })
}

/// What a service shows of an object: the secrets that the state added are not among that.
fn shown(attributes: &Fields) -> Vec<(&String, &Value)> {
    attributes.iter().filter(|(_, value)| !matches!(value, Value::Secret(_))).collect()
}

async fn sign_in(settings: &Settings, saved: &SavedPlan) -> Result<BTreeMap<SiteAlias, Session>, Error> {
    let nowhere = look::nowhere();
    let clouds: BTreeMap<SiteAlias, Site> = saved
        .clouds
        .iter()
        .map(|(alias, site)| {
            let (cloud, region) = (sites::stand_in(&site.cloud), site.region.clone());
            (alias.clone(), Site { span: nowhere, cloud, region, guests: site.guests })
        })
        .collect();
    let guests = settings.guests.or(saved.guests);
    let settings = Settings { embedded: saved.embedded, guests, sites: BTreeMap::new(), ..settings.clone() };
    sites::sign_in(&clouds, &saved.folder, &settings).await
}
