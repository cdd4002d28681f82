//! Locks the state, plans, and carries the plan out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, watch};

use super::planning::{self, Planned, ids};
use super::{Error, Settings, fresh_state, load, saved, vault};
use crate::apply::known::Recorded;
use crate::apply::ledger::{Ledger, Log};
use crate::apply::step::Shared;
use crate::apply::wait::Pollers;
use crate::apply::{self, Event, Outcome};
use crate::model::{Address, Json};
use crate::plan::bind::bind;
use crate::plan::{Mode, Plan, PlanOptions, Verb};
use crate::state::lock::Holder;
use crate::state::secrets::Vault;
use crate::state::{self, Entry, Writer, sealing};

/// A plan that holds the state's lock and may be carried out.
pub struct Ready {
    planned: Planned,
    writer: Box<dyn Writer>,
    state: state::Loaded,
    existed: bool,
    vault: Vault,
    home: Option<PathBuf>,
}

/// How a plan is carried out.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// How many operations may be under way at once.
    pub parallelism: usize,
    /// Whether to wait for a lease that starts later.
    pub wait: bool,
    /// Whether data is read back after it was written.
    pub verify: bool,
}

/// Locks the state and plans.
///
/// `events` hears of waiting for what an interrupted apply asked for.
///
/// # Errors
/// As [`super::plan`]; and when somebody else holds the lock.
pub async fn lock_and_plan(
    settings: &Settings,
    options: &PlanOptions,
    (command, lock_timeout): (&str, Duration),
    events: &mpsc::UnboundedSender<Event>,
) -> Result<Ready, Error> {
    let mut loaded = load(settings)?;
    let writer = loaded.store.lock(&Holder::current(command), lock_timeout)?;
    // What was read before the lock was held may be old by now.
    loaded.state = writer.load()?;
    let existed = loaded.state.is_some();
    let mut state = loaded.state.clone().unwrap_or_else(|| fresh_state(&loaded.spec.stack.value, &*ids()));
    let locked = vault::unlock(settings, Some(&loaded.desired), &mut state)?;
    let vault = vault::open(settings, &state.state.lineage)?;
    let planned = planning::make(loaded, (state.clone(), &locked), settings, options, Some(events)).await?;
    Ok(Ready { planned, writer, state, existed, vault, home: settings.environment.home.clone() })
}

/// Locks the state for a saved plan, and checks that everything is as it was.
///
/// # Errors
/// [`Error::Stale`] when anything that the plan touches has changed.
pub async fn lock_saved(
    settings: &Settings,
    plan: saved::SavedPlan,
    (command, lock_timeout): (&str, Duration),
) -> Result<Ready, Error> {
    let store = state::store::open(&plan.state, &plan.plan.stack)?;
    let writer = store.lock(&Holder::current(command), lock_timeout)?;
    let loaded = writer.load()?;
    let existed = loaded.is_some();
    let mut state = match loaded {
        Some(loaded) => loaded,
        None => state::Loaded::new(state::State::new(&plan.plan.stack, plan.plan.lineage.clone())),
    };
    vault::unlock(settings, None, &mut state)?;
    let vault = vault::open(settings, &state.state.lineage)?;
    let planned = saved::check(settings, plan, &state).await?;
    Ok(Ready { planned, writer, state, existed, vault, home: settings.environment.home.clone() })
}

impl Ready {
    /// The plan and what it was made from.
    #[must_use]
    pub fn planned(&self) -> &Planned {
        &self.planned
    }

    /// The same, without anything that changes a cloud: what is live is recorded, and no more.
    #[must_use]
    pub fn refresh_only(mut self) -> Self {
        let plan = &mut self.planned.plan;
        plan.mode = Mode::Refresh;
        plan.steps.clear();
        plan.edges.clear();
        for action in plan.actions.values_mut() {
            if action.verb != Verb::Hold {
                action.verb = Verb::Keep;
                action.changes.clear();
            }
        }
        self
    }

    /// Whether carrying it out would change nothing, in the clouds or in the state.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.planned.plan.is_empty() && self.planned.resolution.entries.is_empty() && self.refreshed().is_empty()
    }

    /// Carries the plan out. `stop` turning true means: start nothing new.
    ///
    /// # Errors
    /// When the state cannot be written. What failed in the clouds is in the [`Outcome`].
    pub async fn carry_out(
        mut self,
        options: RunOptions,
        events: mpsc::UnboundedSender<Event>,
        stop: watch::Receiver<bool>,
    ) -> Result<Outcome, Error> {
        let plan = Arc::new(self.planned.plan.clone());
        let mut first = self.first_entries();
        for entry in &mut first {
            if let Entry::Put { resource, .. } = entry {
                sealing::seal(&mut resource.attributes, &mut self.vault)?;
            }
        }
        let begin = self.begin_entry();
        self.writer.begin(&begin)?;
        self.state.fold(begin);
        let (ledger, thread) = Ledger::start(self.state.clone(), WriterLog(self.writer));
        let vault = Arc::new(Mutex::new(self.vault));
        let write_failed =
            |error: apply::ledger::LedgerError| Error::Refused { message: error.to_string(), help: None };
        ledger.record(first).await.map_err(write_failed)?;
        let shared = Shared {
            sessions: Arc::new(self.planned.sessions.clone()),
            ledger: ledger.clone(),
            pollers: Pollers::default(),
            ids: ids(),
            home: self.home,
            vault: Arc::clone(&vault),
            servers: self.planned.servers.clone(),
            events,
            slots: Arc::new(Semaphore::new(options.parallelism.max(1))),
            long: Arc::new(Semaphore::new(apply::step::LONG_AT_A_TIME)),
            wait_for_start: options.wait,
            verify: options.verify,
            stop: stop.clone(),
        };
        let outcome = apply::apply(Arc::clone(&plan), shared, stop).await;
        let outputs = ledger
            .read(|loaded| outputs(&plan, &loaded.state, &mut vault.lock().unwrap_or_else(PoisonError::into_inner)))?;
        ledger.record(vec![Entry::Outputs { outputs }]).await.map_err(write_failed)?;
        let mut loaded = ledger.read(Clone::clone);
        drop(ledger);
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        let Ok(Ok(WriterLog(mut writer))) = joined else {
            return Err(Error::Refused { message: "the journal's writer ended abnormally".to_owned(), help: None });
        };
        writer.commit(&mut loaded)?;
        Ok(outcome)
    }

    fn begin_entry(&self) -> Entry {
        Entry::Begin {
            lineage: self.state.state.lineage.clone(),
            stack: self.state.state.stack.clone(),
            serial: if self.existed { self.state.state.serial } else { 0 },
            at: Timestamp::now(),
            sites: self.planned.plan.sites.clone(),
            variables: self.planned.plan.variables.clone(),
        }
    }

    /// What is written before the first step: closed intents, renames, and what objects show by now.
    fn first_entries(&self) -> Vec<Entry> {
        let mut entries = self.planned.resolution.entries.clone();
        let renames = self.planned.plan.renames.iter();
        entries.extend(renames.map(|(from, to)| Entry::Rename { from: from.clone(), to: to.clone() }));
        entries.extend(self.refreshed());
        entries
    }

    /// Records of objects that stay but show something else by now.
    fn refreshed(&self) -> Vec<Entry> {
        let mut state = self.state.clone();
        self.planned.resolution.entries.iter().cloned().for_each(|entry| state.fold(entry));
        for (from, to) in &self.planned.plan.renames {
            state.fold(Entry::Rename { from: from.clone(), to: to.clone() });
        }
        let stays = self
            .planned
            .plan
            .actions
            .values()
            .filter(|action| matches!(action.verb, Verb::Keep | Verb::Hold) && !action.live.is_empty());
        stays
            .filter_map(|action| {
                let record = state.state.resources.get(&action.address)?;
                // A part that the spec dropped and that is still there is still needed until it is gone.
                let lingers = |need: &&Address| {
                    need.part.is_some() && !action.needs.contains(need) && state.state.resources.contains_key(need)
                };
                let needs = action.needs.iter().chain(record.needs.iter().filter(lingers)).cloned().collect();
                let mut attributes = action.live.clone();
                sealing::carry(&record.attributes, &mut attributes);
                let fresh = state::ResourceState { attributes, needs, ..record.clone() };
                let differs = fresh != *record || sealing::is_unsealed(&fresh);
                differs.then(|| Entry::Put { address: action.address.clone(), resource: Box::new(fresh) })
            })
            .collect()
    }
}

/// The outputs as the state gives them; a destroyed stack has none.
fn outputs(plan: &Plan, state: &state::State, vault: &mut Vault) -> Result<BTreeMap<String, Json>, state::Error> {
    let mut outputs = BTreeMap::new();
    if plan.mode == Mode::Destroy {
        return Ok(outputs);
    }
    for (name, value) in &plan.outputs {
        if let Some(json) = sealing::output(name, &bind(value, &Recorded(state)), vault)? {
            outputs.insert(name.clone(), json);
        }
    }
    Ok(outputs)
}

/// The state's writer as the ledger's log.
struct WriterLog(Box<dyn Writer>);

impl Log for WriterLog {
    fn append(&mut self, entries: &[Entry]) -> Result<(), String> {
        self.0.append(entries).map_err(|error| error.to_string())
    }
}
