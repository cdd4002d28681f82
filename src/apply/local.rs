//! A step on this machine: record, do, record.
//!
//! Invariant: what is about to be done, and every secret that is made for it, stands in the state before anything is
//! done; so whatever a crash leaves is known, and done again or undone by the next apply. Of what takes long, few are done at a
//! time.

use tokio::sync::SemaphorePermit;

use super::end::{End, StepError};
use super::event::Event;
use super::step::Running;
use crate::cloud::Session;
use crate::dataset::gauge::Standing;
use crate::kinds::local::{LocalCx, LocalError, LocalKind};
use crate::model::{Fields, RemoteId};
use crate::plan::StepOperation;
use crate::state::sealing::carry;
use crate::state::{Entry, ResourceState, Status};

impl Running<'_> {
    /// Carries a step out that is done on this machine.
    pub(super) async fn run_here(
        &self,
        kind: &'static dyn LocalKind,
        operation: StepOperation,
    ) -> Result<End, StepError> {
        match operation {
            StepOperation::Create | StepOperation::Await | StepOperation::Update => self.put_here(kind).await,
            StepOperation::Delete => self.remove_here(kind).await,
            StepOperation::Record => self.record_only().await,
            StepOperation::LetGo => Err(StepError::Misfit(format!("{} cannot let go", self.action.address))),
        }
    }

    async fn put_here(&self, kind: &'static dyn LocalKind) -> Result<End, StepError> {
        let _turn = if kind.takes_long() { Some(self.turn().await?) } else { None };
        let (session, fields) = (self.session()?, self.bound()?);
        // One that was begun keeps its id, and with it the secrets that were made for it.
        let begun = self.shared.ledger.read(|loaded| loaded.state.resources.get(&self.action.address).cloned());
        let uid = begun.as_ref().map_or_else(|| self.shared.ids.hex(6), |record| record.uid.clone());
        let mut attributes = self.make_secrets(kind, &fields, &uid);
        if let Some(begun) = &begun {
            attributes.extend(begun.attributes.clone());
        }
        let done = begun.as_ref().is_some_and(|begun| begun.status == Status::Ready);
        let id = begun.map_or_else(|| RemoteId(uid.clone()), |record| record.id);
        let record = ResourceState { attributes, ..self.record(id, uid, &fields) };
        self.put_record(record.clone()).await?;
        let recorded = record.attributes.clone();
        let put = self.with_local_cx((&session, &recorded, done), async |cx| kind.put(cx, &fields).await).await;
        let record = self.record_of_state()?;
        let mut attributes = put?;
        carry(&record.attributes, &mut attributes);
        self.put_record(ResourceState { status: Status::Ready, attributes, ..record }).await?;
        Ok(End::Done)
    }

    /// One of the few places for what takes long. Nothing is begun before, so that a stop while it waits leaves nothing.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, StepError> {
        if let Ok(turn) = self.shared.long.try_acquire() {
            return Ok(turn);
        }
        self.sayer()("waits for its turn".to_owned());
        let mut stop = self.shared.stop.clone();
        let error = |message: &str| StepError::Local(LocalError { message: message.to_owned(), hint: None });
        tokio::select! {
            turn = self.shared.long.acquire() => turn.map_err(|_| error("its turn never came")),
            // A sender that is gone asks for nothing more.
            Ok(()) = stop.changed() => Err(error("it was stopped before its turn came; the next apply begins it")),
        }
    }

    async fn with_local_cx<T>(
        &self,
        (session, recorded, done): (&Session, &Fields, bool),
        work: impl AsyncFnOnce(&LocalCx<'_>) -> Result<T, LocalError>,
    ) -> Result<T, LocalError> {
        let lineage = self.shared.ledger.read(|loaded| loaded.state.lineage.clone());
        let (progress, say) = (self.progress(), self.sayer());
        let cx = LocalCx {
            address: &self.action.address,
            session,
            home: self.shared.home.as_deref(),
            lineage: &lineage,
            recorded,
            done,
            verify: self.shared.verify,
            progress: &progress,
            say: &say,
            stop: self.shared.stop.clone(),
        };
        work(&cx).await
    }

    /// Tells a line about the resource.
    pub(super) fn sayer(&self) -> impl Fn(String) + Send + Sync {
        let (events, address) = (self.shared.events.clone(), self.action.address.clone());
        move |text| {
            let _ = events.send(Event::Notice { text: format!("{address}: {text}") });
        }
    }

    /// Tells how far it is as an event.
    pub(super) fn progress(&self) -> impl Fn(Standing) + Send + Sync {
        let (events, address) = (self.shared.events.clone(), self.action.address.clone());
        move |standing| {
            let _ = events.send(Event::Progress { address: address.clone(), standing });
        }
    }

    async fn remove_here(&self, kind: &'static dyn LocalKind) -> Result<End, StepError> {
        let record = self.record_of_state()?;
        let session = self.session_of(&record.site)?;
        let cx = (&session, &record.attributes, record.status == Status::Ready);
        self.with_local_cx(cx, async |cx| kind.remove(cx, &record.applied).await).await?;
        self.shared.ledger.record(vec![Entry::Remove { address: self.action.address.clone() }]).await?;
        Ok(End::Done)
    }
}
