//! A step inside a server: record, reach, do, record.
//!
//! Invariants: what is about to be done stands in the state, as not done yet, before anything is done; so whatever a
//! crash leaves in a guest is known, done again by the next apply, or undone when it is no longer wanted. A server that
//! does not run needs nothing undone; one that runs and cannot be reached stops the step, for a disk that is taken away
//! from under a mount loses what was not written yet.

use std::sync::Arc;

use async_trait::async_trait;

use super::end::{End, StepError};
use super::event::Event;
use super::ledger::Ledger;
use super::step::Running;
use crate::cloud::{CloudError, Session, nova};
use crate::guest::{Access, Filesystem, Guest, GuestError, Memory, Tell};
use crate::kinds::guest::{GuestCx, GuestKind, RECORDED_ONLY, is_recorded_only, server_of};
use crate::model::{Address, Fields, RemoteId, Value};
use crate::plan::StepOperation;
use crate::state::{Entry, Origin, ResourceState, Status};

impl Running<'_> {
    /// Carries a step out that is done inside a server.
    pub(super) async fn run_in_guest(
        &self,
        kind: &'static dyn GuestKind,
        operation: StepOperation,
    ) -> Result<End, StepError> {
        match operation {
            StepOperation::Create | StepOperation::Await | StepOperation::Update => self.put_in_guest(kind).await,
            StepOperation::Delete => self.remove_from_guest(kind).await,
            StepOperation::Record => self.record_only().await,
            StepOperation::LetGo => Err(StepError::Misfit(format!("{} cannot let go", self.action.address))),
        }
    }

    async fn put_in_guest(&self, kind: &'static dyn GuestKind) -> Result<End, StepError> {
        let address = &self.action.address;
        let fields = self.bound()?;
        let id = kind.id(address, &fields);
        let id = id.ok_or_else(|| StepError::Misfit(format!("{address} does not say where it is")))?;
        let record = self.record(id.clone(), String::new(), &fields);
        if self.action.recorded_only {
            let attributes = Fields::from([(RECORDED_ONLY.to_owned(), Value::Bool(true))]);
            self.put_record(ResourceState { status: Status::Ready, attributes, ..record }).await?;
            let text = format!("{address}: recorded, not carried out: servers of this site are not logged in to");
            self.tell(Event::Notice { text });
            return Ok(End::Done);
        }
        let begun = self.shared.ledger.read(|loaded| loaded.state.resources.get(address).cloned());
        if let Some(begun) = &begun {
            self.end_where_it_was(kind, begun, &fields).await?;
        }
        // What was done in another server, or only recorded, is not done in this one.
        let begun = begun.filter(|begun| begun.id == id || !kind.remembers());
        let done = |begun: &ResourceState| begun.status == Status::Ready && !is_recorded_only(&begun.attributes);
        let done = begun.as_ref().is_some_and(done);
        let recorded = begun.map(|begun| begun.attributes).unwrap_or_default();
        // What is not a guest's alone is known of it still while it is put again; so is what nobody can tell by looking.
        let keeps = kind.outlives_server() || (kind.remembers() && !is_recorded_only(&recorded));
        let attributes = if keeps { recorded.clone() } else { Fields::new() };
        let record = ResourceState { attributes, ..record };
        self.put_record(record.clone()).await?;
        let session = self.session()?;
        let done = match self.reach_running(&session, &fields).await {
            Ok(guest) => {
                let _turn = if kind.takes_turns() { Some(guest.turn().await) } else { None };
                self.with_cx((&guest, &session, &recorded, done), async |cx| kind.put(cx, &fields).await).await
            }
            Err(error) => Err(error),
        };
        match done {
            Ok(attributes) => {
                self.put_record(ResourceState { status: Status::Ready, attributes, ..record }).await?;
                Ok(End::Done)
            }
            Err(error) => {
                let why = error.to_string().lines().next().unwrap_or_default().to_owned();
                self.put_record(ResourceState { status: Status::Failed(why), ..record }).await?;
                Err(error.into())
            }
        }
    }

    /// Ends what may still go on at the server that it was at, where that is another one now: else two would make the same
    /// thing in the same place, each deleting what the other one makes.
    async fn end_where_it_was(
        &self,
        kind: &'static dyn GuestKind,
        begun: &ResourceState,
        fields: &Fields,
    ) -> Result<(), StepError> {
        let moves = kind.outlives_server() && server_of(&begun.applied) != server_of(fields);
        if !moves || is_recorded_only(&begun.attributes) || !kind.is_undone(&begun.applied, &begun.status) {
            return Ok(());
        }
        self.remove_there(kind, &self.session_of(&begun.site)?, begun).await
    }

    async fn remove_from_guest(&self, kind: &'static dyn GuestKind) -> Result<End, StepError> {
        let record = self.record_of_state()?;
        let session = self.session_of(&record.site)?;
        let recorded_only = is_recorded_only(&record.attributes);
        let nothing_done =
            recorded_only || self.action.recorded_only || !kind.is_undone(&record.applied, &record.status);
        if !nothing_done {
            self.remove_there(kind, &session, &record).await?;
        }
        if !recorded_only {
            kind.remove_elsewhere(&session, &record.applied).await?;
        }
        self.shared.ledger.record(vec![Entry::Remove { address: self.action.address.clone() }]).await?;
        Ok(End::Done)
    }

    /// Undoes a record at its server, if that runs.
    async fn remove_there(
        &self,
        kind: &'static dyn GuestKind,
        session: &Session,
        record: &ResourceState,
    ) -> Result<(), StepError> {
        if !self.runs(session, record).await? {
            return Ok(());
        }
        let reached = self.reach(session, &record.applied).await;
        let guest = reached.map_err(|error| out_of_reach(error, kind.outlives_server()))?;
        let _turn = guest.turn().await;
        let cx = (&guest, session, &record.attributes, record.status == Status::Ready);
        Ok(self.with_cx(cx, async |cx| kind.remove(cx, &record.applied).await).await?)
    }

    /// Whether the server runs, so that something is to be undone in it.
    async fn runs(&self, session: &Session, record: &ResourceState) -> Result<bool, StepError> {
        let Some(server) = server_of(&record.applied) else { return Ok(false) };
        let Some(why) = why_it_does_not_run(session, server).await? else { return Ok(true) };
        let text = format!("{}: its server {why}, so nothing is undone in it", self.action.address);
        self.tell(Event::Notice { text });
        Ok(false)
    }

    /// The server in which something is to be done: one that does not run is not waited for.
    async fn reach_running(&self, session: &Session, fields: &Fields) -> Result<Guest, GuestError> {
        if let Some(server) = server_of(fields)
            && let Some(why) = why_it_does_not_run(session, server).await?
        {
            return Err(GuestError::refused_with(
                format!("its server {why}"),
                "start it (`openstack server start`), or have it made anew with `--replace`, and apply again",
            ));
        }
        self.reach(session, fields).await
    }

    /// The server that the fields name, logged in to; a host key that is news is remembered first.
    async fn reach(&self, session: &Session, fields: &Fields) -> Result<Guest, GuestError> {
        let server = server_of(fields).ok_or_else(|| GuestError::refused("its server is not known"))?;
        let access = self.shared.ledger.read(|loaded| {
            let (address, record) = loaded
                .state
                .find("server", server)
                .ok_or_else(|| GuestError::refused(format!("server {server} is not in the state")))?;
            let ssh = record.applied.get("ssh").and_then(Value::as_map).cloned().unwrap_or_default();
            Access::of(&loaded.state, address, &ssh)
        })?;
        let (guest, news) = self.shared.servers.connect(&access, session, &self.teller()).await?;
        if let Some(pinned) = news {
            let entry = Entry::HostKey { server: server.clone(), pinned };
            self.shared.ledger.record(vec![entry]).await.map_err(|error| GuestError::Memory(error.to_string()))?;
        }
        Ok(guest)
    }

    /// Tells what is under way as the resource's status. A connection keeps it, and outlives the apply: so it does not hold
    /// the channel open for which whoever listens waits to close.
    fn teller(&self) -> Tell {
        let (events, address) = (self.shared.events.downgrade(), self.action.address.clone());
        Arc::new(move |status: &str| {
            let Some(events) = events.upgrade() else { return };
            let _ = events.send(Event::Waiting { address: address.clone(), status: status.to_owned() });
        })
    }

    async fn with_cx<T>(
        &self,
        (guest, session, recorded, done): (&Guest, &Session, &Fields, bool),
        work: impl AsyncFnOnce(&GuestCx<'_>) -> Result<T, GuestError>,
    ) -> Result<T, GuestError> {
        let address: &Address = &self.action.address;
        let stack = self.shared.ledger.read(|loaded| loaded.state.stack.clone());
        let memory = LedgerMemory(&self.shared.ledger);
        let (tell, progress, say) = (self.teller(), self.progress(), self.sayer());
        let cx = GuestCx {
            guest,
            address,
            stack: &stack,
            memory: &memory,
            session,
            tell: &tell,
            progress: &progress,
            say: &say,
            recorded,
            done,
            verify: self.shared.verify,
            stop: self.shared.stop.clone(),
        };
        work(&cx).await
    }
}

/// Why nothing can be done in a server; none where it runs, as far as Nova knows.
async fn why_it_does_not_run(session: &Session, server: &RemoteId) -> Result<Option<String>, CloudError> {
    let Some(found) = nova::server(session, &server.0).await? else { return Ok(Some("is gone".to_owned())) };
    let stands = ["ERROR", "SHUTOFF", "DELETED", "SOFT_DELETED", "SHELVED", "SHELVED_OFFLOADED"];
    Ok(stands.contains(&found.status.as_str()).then(|| format!("does not run ({})", found.status)))
}

/// What to do where a server runs and cannot be logged in to.
fn out_of_reach(error: GuestError, outlives: bool) -> StepError {
    let GuestError::Ssh(mut error) = error else { return error.into() };
    let more = if outlives {
        "what was begun on the server may go on there; if the server is not worth mending, stop it (`openstack server \
         stop`) and apply again: nothing goes on where nothing runs"
    } else {
        "nothing was unmounted, and its volumes stay attached; if the server is not worth mending, stop it (`openstack \
         server stop`) and apply again: what does not run needs no unmounting"
    };
    error.hint = Some(error.hint.map_or_else(|| more.to_owned(), |hint| format!("{hint}; {more}")));
    GuestError::Ssh(error).into()
}

/// The state as the memory of what is done in guests.
struct LedgerMemory<'a>(&'a Ledger);

#[async_trait]
impl Memory for LedgerMemory<'_> {
    fn origin(&self, volume: &RemoteId) -> Option<Origin> {
        self.0.read(|loaded| loaded.state.find("volume", volume).map(|(_, record)| record.origin))
    }

    fn filesystem(&self, volume: &RemoteId) -> Option<Filesystem> {
        self.0.read(|loaded| loaded.state.guest.filesystems.get(volume).cloned())
    }

    async fn remember(&self, volume: &RemoteId, filesystem: Filesystem) -> Result<(), GuestError> {
        let entry = Entry::Filesystem { volume: volume.clone(), filesystem };
        self.0.record(vec![entry]).await.map_err(|error| GuestError::Memory(error.to_string()))
    }
}
