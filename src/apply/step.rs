//! One step of a plan: bind, write the intent, ask, write the id, wait, write the record.
//!
//! Invariants: nothing is asked for before its intent is on disk; an id is on disk before anything is waited for; an
//! intent is closed only when it is known what came of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, watch};

use super::end::{End, StepError};
use super::event::Event;
use super::known::{Recorded, ids};
use super::ledger::{Ledger, LedgerError};
use super::made::{alike, made_by};
use super::values::{holds_unknown_ref, rebound, unknown_of, without_lost};
use super::wait::{Arrived, Goal, Pollers, WaitError};
use crate::cloud::{CloudError, Session};
use crate::guest::Guests;
use crate::kinds::kind::{Effect, FieldChange, Found, Kind, OpCx, Seen, Sides, Update};
use crate::kinds::{self, CloudKind};
use crate::model::{Address, Fields, RemoteId, Secret, SiteAlias, Stamp, Value};
use crate::plan::bind::bind_fields;
use crate::plan::{Action, StepOperation, Verb, aside};
use crate::stamp::{self, Ids};
use crate::state::sealing::{carry, seal};
use crate::state::secrets::Vault;
use crate::state::{Entry, Intent, Operation, Origin, ResourceState, Status};

/// What every step of an apply shares.
#[derive(Clone)]
pub struct Shared {
    /// The signed-in sites.
    pub sessions: Arc<BTreeMap<SiteAlias, Session>>,
    /// The state.
    pub ledger: Ledger,
    /// Waiting.
    pub pollers: Pollers,
    /// Unique ids.
    pub ids: Arc<dyn Ids>,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// The keys of the state's secrets.
    pub vault: Arc<Mutex<Vault>>,
    /// Connections to servers.
    pub servers: Guests,
    /// Who hears of it.
    pub events: mpsc::UnboundedSender<Event>,
    /// How many operations are under way at once; waits do not count.
    pub slots: Arc<Semaphore>,
    /// How many steps of this machine that take long are under way at once.
    pub long: Arc<Semaphore>,
    /// Whether to wait for a start that the owner chose.
    pub wait_for_start: bool,
    /// Whether data is read back after it was written.
    pub verify: bool,
    /// Turns true when nothing new is to be started; long steps that can be carried on end then, too.
    pub stop: watch::Receiver<bool>,
}

/// How many steps that take long are under way at a time: each has a store's worth of transfers and their content in memory, and
/// two fill a line.
pub const LONG_AT_A_TIME: usize = 2;

/// A step under way.
pub struct Running<'a> {
    /// What it shares with the others.
    pub shared: &'a Shared,
    /// Its resource.
    pub action: &'a Action,
    /// Told when the object's id is known.
    pub accepted: &'a mpsc::UnboundedSender<Address>,
}

/// A create or update, ready to be asked for.
struct Ready {
    kind: &'static dyn CloudKind,
    session: Session,
    fields: Fields,
}

/// What an operation works with, in one place.
struct Desk {
    session: Session,
    address: Address,
    stamp: Stamp,
    secrets: Fields,
    ids: BTreeMap<Address, RemoteId>,
    recorded: Fields,
    tell: Box<dyn Fn(String) + Send + Sync>,
}

impl Desk {
    fn cx(&self) -> OpCx<'_> {
        OpCx {
            session: &self.session,
            identity: self.session.identity(),
            address: &self.address,
            stamp: &self.stamp,
            secrets: &self.secrets,
            ids: &self.ids,
            recorded: &self.recorded,
            tell: &self.tell,
        }
    }
}

impl Running<'_> {
    /// Carries the step out.
    ///
    /// # Errors
    /// See [`StepError`]; what is known by then is recorded.
    pub async fn run(&self, operation: StepOperation) -> Result<End, StepError> {
        // An object goes as what it is recorded as, whatever its block declares by now.
        let recorded = self.record_of_state().ok().filter(|_| operation == StepOperation::Delete);
        let kind = kinds::by_name(recorded.as_ref().map_or(&self.action.kind, |record| &record.kind));
        if let Some(kind) = kind.and_then(Kind::guest) {
            return self.run_in_guest(kind, operation).await;
        }
        if let Some(kind) = kind.and_then(Kind::local) {
            return self.run_here(kind, operation).await;
        }
        match operation {
            StepOperation::Create => self.create().await,
            StepOperation::Await => {
                let id = self.recorded_id()?;
                self.settle(&id, self.record_of_state()?).await
            }
            StepOperation::Update => self.update().await,
            StepOperation::LetGo => self.let_go().await,
            StepOperation::Delete => match self.set_aside() {
                Some(action) => Running { action: &action, ..*self }.delete().await,
                None => self.delete().await,
            },
            StepOperation::Record => self.record_only().await,
        }
    }

    fn kind(&self) -> Result<&'static dyn CloudKind, StepError> {
        cloud_kind(&self.action.kind)
    }

    pub(super) fn session(&self) -> Result<Session, StepError> {
        self.session_of(&self.action.site)
    }

    pub(super) fn session_of(&self, site: &SiteAlias) -> Result<Session, StepError> {
        self.shared.sessions.get(site).cloned().ok_or_else(|| StepError::Misfit(format!("no site `{site}`")))
    }

    fn recorded_id(&self) -> Result<RemoteId, StepError> {
        let address = &self.action.address;
        // A record may be of an object that is gone.
        if let (Verb::Adopt, Some(id)) = (self.action.verb, &self.action.id) {
            return Ok(id.clone());
        }
        let recorded =
            self.shared.ledger.read(|loaded| loaded.state.resources.get(address).map(|record| record.id.clone()));
        recorded.or_else(|| self.action.id.clone()).ok_or_else(|| StepError::Misfit(format!("{address} has no object")))
    }

    pub(super) fn record_of_state(&self) -> Result<ResourceState, StepError> {
        let address = &self.action.address;
        let record = self.shared.ledger.read(|loaded| loaded.state.resources.get(address).cloned());
        record.ok_or_else(|| StepError::Misfit(format!("{address} is not in the state")))
    }

    fn bind(&self) -> Result<Ready, StepError> {
        Ok(Ready { kind: self.kind()?, session: self.session()?, fields: self.bound()? })
    }

    /// Binds the fields to what is known now, and holds them against what the plan showed.
    pub(super) fn bound(&self) -> Result<Fields, StepError> {
        let fields = self.shared.ledger.read(|loaded| bind_fields(&self.action.wanted, &Recorded(&loaded.state)));
        for (field, value) in &fields {
            if !value.is_known() {
                return Err(StepError::Unknown { field: field.clone(), needs: unknown_of(value) });
            }
            let planned = self.action.fields.get(field).filter(|planned| planned.is_known());
            if planned.is_some_and(|planned| !planned.same(value)) {
                return Err(StepError::Changed { field: field.clone() });
            }
        }
        Ok(fields)
    }

    /// What an operation on this resource works with.
    fn desk(&self, session: Session, uid: &str) -> Desk {
        let address = self.action.address.clone();
        let (ids, recorded) = self.shared.ledger.read(|loaded| {
            let record = loaded.state.resources.get(&address);
            (ids(&loaded.state), record.map(|record| record.applied.clone()).unwrap_or_default())
        });
        let (events, told) = (self.shared.events.clone(), address.clone());
        let tell = Box::new(move |status: String| {
            let _ = events.send(Event::Waiting { address: told.clone(), status });
        });
        Desk { stamp: self.stamp(&session, uid), address, session, secrets: Fields::new(), ids, recorded, tell }
    }

    /// The secrets that anole makes for an object, by attribute.
    pub(super) fn make_secrets(&self, kind: &dyn Kind, fields: &Fields, uid: &str) -> Fields {
        let recipes = kind.makes(fields).into_iter();
        recipes
            .map(|recipe| {
                let text = stamp::text(&*self.shared.ids, recipe.length, &recipe.alphabet);
                let secret = Secret::kept(format!("{uid}/{}", recipe.attribute), text);
                (recipe.attribute.to_owned(), Value::Secret(secret))
            })
            .collect()
    }

    /// Seals the secrets of a record that is about to be written.
    fn sealed(&self, mut record: ResourceState) -> Result<ResourceState, StepError> {
        let mut vault = self.shared.vault.lock().unwrap_or_else(PoisonError::into_inner);
        seal(&mut record.attributes, &mut vault)?;
        Ok(record)
    }

    fn stamp(&self, session: &Session, uid: &str) -> Stamp {
        let (lineage, stack) =
            self.shared.ledger.read(|loaded| (loaded.state.lineage.clone(), loaded.state.stack.clone()));
        Stamp {
            lineage,
            owner: crate::stamp::owner(&session.identity().user_id),
            stack,
            uid: uid.to_owned(),
            address: self.action.address.clone(),
        }
    }

    pub(super) fn record(&self, id: RemoteId, uid: String, fields: &Fields) -> ResourceState {
        ResourceState {
            kind: self.action.kind.clone(),
            site: self.action.site.clone(),
            id,
            origin: self.action.origin,
            protect: self.action.protect,
            uid,
            status: Status::Accepted,
            applied: fields.clone(),
            attributes: Fields::new(),
            needs: self.action.needs.clone(),
        }
    }

    async fn intend(
        &self,
        operation: Operation,
        resource: &ResourceState,
        seen_before: Vec<RemoteId>,
    ) -> Result<(), StepError> {
        let resource = self.sealed(resource.clone())?;
        let name = resource.applied.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let intent = Intent {
            address: self.action.address.clone(),
            operation,
            resource: Box::new(resource),
            name,
            seen_before,
            at: Timestamp::now(),
        };
        Ok(self.shared.ledger.record(vec![Entry::Intent(intent)]).await?)
    }

    async fn refused(&self) -> Result<(), LedgerError> {
        self.shared.ledger.record(vec![Entry::Refused { address: self.action.address.clone() }]).await
    }

    /// What is renewed, once its record has made room for its successor's.
    fn set_aside(&self) -> Option<Action> {
        let address = aside(&self.action.address, self.action.id.as_ref().filter(|_| self.action.makes_first())?);
        let is_there = self.shared.ledger.read(|loaded| loaded.state.resources.contains_key(&address));
        is_there.then(|| Action { address, ..self.action.clone() })
    }

    /// Has the record of what is renewed make room for its successor's. Whatever happens next, it is known where it is.
    async fn make_room(&self) -> Result<(), LedgerError> {
        let from = self.action.address.clone();
        let Some(id) = self.action.id.as_ref().filter(|_| self.action.makes_first()) else { return Ok(()) };
        let is_there = |record: &ResourceState| record.id == *id;
        if self.shared.ledger.read(|loaded| loaded.state.resources.get(&from).is_some_and(is_there)) {
            let to = aside(&from, id);
            self.shared.ledger.record(vec![Entry::Rename { from, to }]).await?;
        }
        Ok(())
    }

    async fn create(&self) -> Result<End, StepError> {
        let Ready { kind, session, fields } = self.bind()?;
        self.make_room().await?;
        let uid = self.shared.ids.hex(6);
        let attributes = self.make_secrets(kind, &fields, &uid);
        let record = self.record(RemoteId(String::new()), uid.clone(), &fields);
        let record = self.sealed(ResourceState { attributes, ..record })?;
        let mut answered = true;
        let id = {
            let _slot = self.shared.slots.acquire().await;
            let seen_before = alike(kind, &session, &fields).await?;
            self.intend(Operation::Create, &record, seen_before.clone()).await?;
            let desk = Desk { secrets: record.attributes.clone(), ..self.desk(session.clone(), &uid) };
            match kind.create(&desk.cx(), &fields).await {
                Ok(id) => id,
                Err(error) if error.may_have_happened => {
                    answered = false;
                    self.find_made(kind, &session, &record, &seen_before).await?.ok_or(error)?
                }
                Err(error) => {
                    self.refused().await?;
                    return Err(error.into());
                }
            }
        };
        let entry = Entry::Accepted { address: self.action.address.clone(), id: id.clone() };
        self.shared.ledger.record(vec![entry]).await?;
        self.tell(Event::Accepted { address: self.action.address.clone(), id: id.0.clone() });
        let _ = self.accepted.send(self.action.address.clone());
        let record = ResourceState { id: id.clone(), ..record };
        match self.settle(&id, record.clone()).await? {
            End::Done if !answered => self.make_whole((kind, &session), record).await,
            end => Ok(end),
        }
    }

    /// Carries on with a create whose answer was lost on the way: some take several requests.
    async fn make_whole(
        &self,
        (kind, session): (&'static dyn CloudKind, &Session),
        record: ResourceState,
    ) -> Result<End, StepError> {
        let live = self.record_of_state()?.attributes;
        let now = session.server_time().unwrap_or_else(Timestamp::now);
        let sides = Sides { want: &record.applied, applied: &record.applied, live: &live, now };
        // What cannot be mended in place is for the next plan to tell.
        let mut changes = kind.diff(&sides).unwrap_or_default();
        changes.retain(|change| change.effect == Effect::Update);
        if changes.is_empty() {
            return Ok(End::Done);
        }
        {
            let _slot = self.shared.slots.acquire().await;
            let desk = self.desk(session.clone(), &record.uid);
            let (want, applied) = (&record.applied, &record.applied);
            kind.update(&desk.cx(), &Update { id: &record.id, want, applied, live: &live, changes: &changes }).await?;
        }
        let id = record.id.clone();
        self.settle(&id, record).await
    }

    /// What a create that may have been carried out has made, as far as that shows by now. Where nothing does, the
    /// intent stays open: the service may still be at work, and the next apply looks again.
    async fn find_made(
        &self,
        kind: &'static dyn CloudKind,
        session: &Session,
        record: &ResourceState,
        seen_before: &[RemoteId],
    ) -> Result<Option<RemoteId>, StepError> {
        let all = match kind.is_unlisted() {
            true => self.find(kind, session, &record.applied).await?.into_iter().collect(),
            false => kind.list(session).await?,
        };
        let user = session.identity().user_id.as_str();
        let made: Vec<_> = all.iter().filter(|seen| made_by(kind, record, seen_before, user, seen)).collect();
        match made.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.id.clone())),
            several => {
                let list = several.iter().map(|seen| seen.id.0.as_str()).collect::<Vec<_>>().join(" and ");
                Err(StepError::SeveralCandidates(list))
            }
        }
    }

    /// Waits until the object is ready and records it.
    async fn settle(&self, id: &RemoteId, record: ResourceState) -> Result<End, StepError> {
        let (kind, session) = (self.kind()?, self.session_of(&record.site)?);
        if kind.is_unlisted() {
            let found = self.find(kind, &session, &record.applied).await?;
            let seen = found.ok_or_else(|| WaitError::Vanished("its store does not show it".to_owned()))?;
            self.put(record, &seen, Status::Ready).await?;
            return Ok(End::Done);
        }
        let goal = if self.shared.wait_for_start { Goal::Started } else { Goal::Ready };
        match self.wait(kind, (&record.site, id), goal).await {
            Ok(Arrived::Ready(seen)) => {
                self.put(record, &seen, Status::Ready).await?;
                Ok(End::Done)
            }
            Ok(Arrived::Scheduled(at, seen)) => {
                self.put(record, &seen, Status::Accepted).await?;
                Ok(End::Pending(at))
            }
            Ok(Arrived::Gone) => Err(WaitError::Vanished(String::new()).into()),
            Err(WaitError::Failed(why)) => {
                let failed = ResourceState { status: Status::Failed(why.clone()), ..record };
                self.put_record(failed).await?;
                Err(WaitError::Failed(why).into())
            }
            Err(other) => Err(other.into()),
        }
    }

    /// What no list shows, asked for by its fields.
    async fn find(
        &self,
        kind: &'static dyn CloudKind,
        session: &Session,
        fields: &Fields,
    ) -> Result<Option<Seen>, StepError> {
        match kind.find(session, fields).await? {
            Found::Here(seen) => Ok(Some(*seen)),
            Found::Nowhere => Ok(None),
            Found::Hidden(why) => Err(CloudError::config(why).into()),
        }
    }

    async fn wait(
        &self,
        kind: &'static dyn CloudKind,
        (site, id): (&SiteAlias, &RemoteId),
        goal: Goal,
    ) -> Result<Arrived, WaitError> {
        let Some(session) = self.shared.sessions.get(site) else {
            return Err(WaitError::Vanished("the plan does not fit this anole".to_owned()));
        };
        let (status, mut words) = mpsc::unbounded_channel();
        let events = self.shared.events.clone();
        let address = self.action.address.clone();
        let teller = tokio::spawn(async move {
            while let Some(status) = words.recv().await {
                let _ = events.send(Event::Waiting { address: address.clone(), status });
            }
        });
        let arrived = self.shared.pollers.wait((site, session), kind, id, goal, status).await;
        let _ = teller.await;
        arrived
    }

    async fn put(&self, record: ResourceState, seen: &Seen, status: Status) -> Result<(), StepError> {
        let mut attributes = seen.attrs.clone();
        carry(&record.attributes, &mut attributes);
        if let Some(kind) = kinds::by_name(&record.kind) {
            kind.complete(&record.applied, &mut attributes);
        }
        self.put_record(ResourceState { status, attributes, ..record }).await
    }

    pub(super) async fn put_record(&self, record: ResourceState) -> Result<(), StepError> {
        let resource = Box::new(self.sealed(record)?);
        let entry = Entry::Put { address: self.action.address.clone(), resource };
        Ok(self.shared.ledger.record(vec![entry]).await?)
    }

    async fn update(&self) -> Result<End, StepError> {
        let Ready { kind, session, fields } = self.bind()?;
        let id = self.recorded_id()?;
        let (uid, recorded) = self.shared.ledger.read(|loaded| {
            let record = loaded.state.resources.get(&self.action.address);
            record.map(|record| (record.uid.clone(), record.attributes.clone())).unwrap_or_default()
        });
        let mut attributes = self.action.live.clone();
        carry(&recorded, &mut attributes);
        let record = ResourceState { attributes, ..self.record(id.clone(), uid.clone(), &fields) };
        let mut changes = rebound(&self.action.changes, &fields);
        changes.retain(|change| change.effect != Effect::Record);
        {
            let _slot = self.shared.slots.acquire().await;
            self.intend(Operation::Update, &record, Vec::new()).await?;
            let desk = self.desk(session.clone(), &uid);
            let update = Update {
                id: &id,
                want: &fields,
                applied: &self.action.applied,
                live: &self.action.live,
                changes: &changes,
            };
            if let Err(error) = kind.update(&desk.cx(), &update).await {
                self.refused().await?;
                return Err(error.into());
            }
        }
        if self.action.verb == Verb::Adopt {
            // Whoever goes on from here has to find its id, and no record has it, or one of an object that is gone.
            let entry = Entry::Accepted { address: self.action.address.clone(), id: id.clone() };
            self.shared.ledger.record(vec![entry]).await?;
        }
        let _ = self.accepted.send(self.action.address.clone());
        self.settle(&id, record).await
    }

    /// Updates the object to hold nothing that is about to be deleted, or that another takes over.
    async fn let_go(&self) -> Result<End, StepError> {
        let (kind, session) = (self.kind()?, self.session()?);
        let id = self.recorded_id()?;
        let mut want = self.action.applied.clone();
        let mut changes = Vec::new();
        let sole = kind.schema().sole().map(|field| field.name);
        for change in &self.action.changes {
            let before = want.get(&change.field).cloned().unwrap_or(Value::Null);
            let after = if holds_unknown_ref(&change.after) {
                without_lost(&before, &change.after)
            } else if sole == Some(change.field.as_str()) {
                Value::Null
            } else {
                continue;
            };
            changes.push(FieldChange { before, after: after.clone(), effect: Effect::Update, ..change.clone() });
            want.insert(change.field.clone(), after);
        }
        let _slot = self.shared.slots.acquire().await;
        let desk = self.desk(session, &self.record_of_state()?.uid);
        let update =
            Update { id: &id, want: &want, applied: &self.action.applied, live: &self.action.live, changes: &changes };
        kind.update(&desk.cx(), &update).await?;
        Ok(End::Done)
    }

    async fn delete(&self) -> Result<End, StepError> {
        let record = self.record_of_state()?;
        // The object is where it was made; its successor may be wanted on another site.
        let (kind, session) = (cloud_kind(&record.kind)?, self.session_of(&record.site)?);
        {
            let _slot = self.shared.slots.acquire().await;
            self.intend(Operation::Delete, &record, Vec::new()).await?;
            let desk = self.desk(session.clone(), &record.uid);
            match kind.delete(&desk.cx(), &record.id).await {
                Err(error) if !error.is_not_found() => {
                    self.refused().await?;
                    return Err(error.into());
                }
                _ => {}
            }
        }
        if !kind.gone_when_deleted() {
            self.wait(kind, (&record.site, &record.id), Goal::Gone).await?;
        }
        self.shared.ledger.record(vec![Entry::Remove { address: self.action.address.clone() }]).await?;
        Ok(End::Done)
    }

    /// Changes the state only.
    pub(super) async fn record_only(&self) -> Result<End, StepError> {
        let address = self.action.address.clone();
        let entry = match self.action.verb {
            Verb::Release | Verb::Forget => Entry::Remove { address },
            Verb::Adopt => {
                let Ready { fields, .. } = self.bind()?;
                let mut record = self.record(self.recorded_id()?, String::new(), &fields);
                record.status = Status::Ready;
                record.attributes = self.action.live.clone();
                record.origin = Origin::Adopted;
                let record = self.sealed(record)?;
                Entry::Put { address, resource: Box::new(record) }
            }
            _ => {
                let old = self.record_of_state()?;
                let recorded = self.action.changes.iter().filter(|change| change.effect == Effect::Record);
                let mut applied = old.applied.clone();
                if recorded.clone().next().is_some() {
                    let fields = self.bound()?;
                    for change in recorded {
                        match fields.get(&change.field) {
                            Some(value) => applied.insert(change.field.clone(), value.clone()),
                            None => applied.remove(&change.field),
                        };
                    }
                }
                let mut attributes = self.action.live.clone();
                carry(&old.attributes, &mut attributes);
                let record = ResourceState {
                    applied,
                    protect: self.action.protect,
                    origin: self.action.origin,
                    attributes,
                    needs: self.action.needs.clone(),
                    ..old
                };
                Entry::Put { address, resource: Box::new(self.sealed(record)?) }
            }
        };
        self.shared.ledger.record(vec![entry]).await?;
        Ok(End::Done)
    }

    pub(super) fn tell(&self, event: Event) {
        let _ = self.shared.events.send(event);
    }
}

fn cloud_kind(kind: &str) -> Result<&'static dyn CloudKind, StepError> {
    let found = kinds::by_name(kind).and_then(kinds::Kind::cloud);
    found.ok_or_else(|| StepError::Misfit(format!("no service has kind `{kind}`")))
}
