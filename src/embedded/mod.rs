//! The embedded cloud: the HTTP APIs of a Chameleon site, in process or on a loopback port, kept in a folder.
//!
//! In: requests, as clients send them to a real site. Out: answers as OpenStack 2025.1 gives them (statuses, bodies,
//! errors, headers, measured one by one), and their effects, which the next command finds again.
//!
//! ```text
//! request ─ serve ─▶ Cloud::handle ─ lock the folder, read what others did (store)
//!                                  ─ carry out what is due (settle)
//!                                  ─ the service: keystone nova neutron cinder glance blazar
//!                                  ─ where servers are machines, bring those along (guests), before and after
//!                                  ─ append what changed, note the request, unlock
//!                 ─▶ objects: the same in two steps, with the body taken in between
//! keeper: a process that serves a cloud's buckets to machines and programs while no command runs
//! ```
//!
//! Invariants:
//! - Nothing happens between requests: a transition (BUILD to ACTIVE, a lease's end) is a moment written in the object and
//!   carried out by the first request after it.
//! - One request at a time, over all processes that have the folder open.
//! - No password, token or secret is in the folder, only hashes of them, and the key that EC2 secrets are made with; of a
//!   request that is signed in its query, not the signature.

pub mod blazar;
pub mod catalogue;
pub mod cinder;
pub mod clock;
pub mod faults;
pub mod glance;
pub mod guests;
pub mod keeper;
pub mod keystone;
pub mod metadata;
pub mod neutron;
pub mod nova;
pub mod objects;
pub mod quota;
pub mod requests;
pub mod serve;
pub mod settle;
pub mod store;
pub mod tables;
pub mod wire;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use catalogue::Profile;
pub use clock::ClockMode;
pub use serve::serve;

use catalogue::Site;
use faults::Rule;
use guests::{Host, Progress};
use objects::vault::Vault;
use requests::Requests;
use store::Store;
use tables::{Fields, State, Table};
use wire::{Call, Cx, Reply, Who};

/// Why the embedded cloud cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be used.
    #[error("the embedded cloud cannot {what} {}", .path.display())]
    Io {
        /// What it tried: "open", "lock", …
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The log is not one of ours, or was changed by hand.
    #[error("the embedded cloud's log in {} cannot be read; delete the folder to start with a new cloud", .folder.display())]
    Log {
        /// The folder.
        folder: PathBuf,
    },
    /// Nothing listens where the cloud's services are to be reached.
    #[error("the embedded cloud cannot be reached at {address}, where its buckets are for virtual machines: {why}")]
    Keeper {
        /// The address.
        address: std::net::SocketAddrV4,
        /// What the process that was to listen said.
        why: String,
    },
    /// `faults.json` is not a list of rules.
    #[error("{} is not a list of faults", .path.display())]
    Faults {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

impl Error {
    fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

/// How a cloud is opened.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Which site it looks like.
    pub profile: Profile,
    /// How long transitions take.
    pub clock: ClockMode,
    /// What its servers are.
    pub guests: Guests,
}

/// What a cloud's servers are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guests {
    /// Documents only.
    #[default]
    None,
    /// Virtual machines on this computer.
    Qemu,
}

impl Guests {
    /// Both.
    pub const ALL: [Self; 2] = [Self::None, Self::Qemu];

    /// As a flag writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Qemu => "qemu",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|guests| guests.name() == name)
    }
}

/// A cloud kept in a folder. Cheap to clone; clones are the same cloud.
#[derive(Clone)]
pub struct Cloud {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    folder: PathBuf,
    opened: Mutex<(Store, State)>,
    requests: Requests,
    seal: hmac::Key,
    vault: Option<Vault>,
    host: Option<Mutex<Host>>,
    /// Its keeper stays while this is open.
    uses: OnceLock<File>,
}

/// What became of a request: the answer, the cloud's time, and the fault that was on order for it.
pub(crate) struct Outcome {
    pub(crate) reply: Reply,
    pub(crate) now: i64,
}

impl Cloud {
    /// Opens or makes the cloud kept in `folder`. Several processes may have it open at once.
    ///
    /// # Errors
    /// When the folder cannot be made, read or locked, or its log cannot be read.
    pub fn open(folder: &Path, options: Options) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(|source| Error::io("make", folder, source))?;
        let whole = folder.canonicalize().map_err(|source| Error::io("find", folder, source))?;
        let site = match options.guests {
            Guests::None => Site::plain(options.profile),
            Guests::Qemu => Site::with_guests(options.profile, &whole),
        };
        let opened = Mutex::new(Store::open(folder, site)?);
        let seal = keystone::ec2::open_key(folder)?;
        let vault = options.profile.has_objects().then(|| Vault::open(folder)).transpose()?;
        let host = (options.guests == Guests::Qemu).then(|| Mutex::new(Host::new(&whole, options.profile)));
        let (folder, uses) = (folder.to_owned(), OnceLock::new());
        let requests = Requests::open(&folder)?;
        Ok(Self { inner: Arc::new(Inner { options, folder, opened, requests, seal, vault, host, uses }) })
    }

    /// Does something with the cloud locked. Where its servers are machines, that takes as long as those take, and so it is
    /// done on a thread that has no other requests.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if self.inner.host.is_none() {
            return work(self);
        }
        let cloud = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&cloud)).await;
        done.map_err(|error| Error::io("answer for", &self.inner.folder, std::io::Error::other(error)))?
    }

    /// The APIs of all services on one host, as a `tower` service: what [`crate::cloud::Transport::InProcess`] takes, and
    /// what an S3 client's connector can call. The catalog's addresses are those the client came by (its `Host`), or
    /// `http://embedded.invalid` where it did not say; a signature is checked with that same `Host`. Bodies go through it
    /// as streams both ways. Programs that need a socket are served by [`serve`].
    pub fn router(&self) -> axum::Router {
        serve::router(self.clone())
    }

    /// The same for a cloud that other programs reach at `base`, too: the catalog shows that to a client that comes by no
    /// address of its own.
    pub fn router_at(&self, base: &str) -> axum::Router {
        serve::router_at(self.clone(), base)
    }

    /// A `clouds.yaml` with one entry, named like the profile, that signs in to this cloud at `base_url` as user `demo`.
    #[must_use]
    pub fn clouds_yaml(&self, base_url: &str) -> String {
        let (name, region) = (self.inner.options.profile.name(), self.inner.options.profile.region());
        let base = base_url.trim_end_matches('/');
        format!(
            "clouds:\n  {name}:\n    auth:\n      auth_url: {base}/identity/v3\n      username: demo\n      \
             password: demo\n      project_name: CHI-embedded\n      user_domain_name: Default\n      \
             project_domain_name: Default\n    region_name: \"{region}\"\n    interface: public\n    \
             identity_api_version: 3\n"
        )
    }

    /// Moves the cloud's clock forward, for good: what falls due on the way happens, in order.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn advance(&self, seconds: i64) -> Result<(), Error> {
        self.transaction(|inner, state| {
            let offset = offset(state) + seconds.saturating_mul(1000);
            state.put(Table::Clock, "offset", json!({"millis": offset}));
            inner.settle(state);
        })
    }

    /// The cloud's time, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn now(&self) -> Result<i64, Error> {
        self.transaction(|_, state| clock::system() + offset(state))
    }

    /// How many requests the cloud has had since its folder was made, by all processes.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn requests(&self) -> Result<u64, Error> {
        self.inner.requests.count()
    }

    /// The fault on order for this request, if any.
    pub(crate) async fn fault(&self, call: &Arc<Call>) -> Result<Option<Rule>, Error> {
        if !self.inner.folder.join("faults.json").exists() {
            return Ok(None);
        }
        let call = Arc::clone(call);
        self.aside(move |cloud| cloud.transaction(|inner, _| faults::take(&inner.folder, &call))?).await
    }

    /// Carries a request out, or has the rule answer it.
    pub(crate) fn handle(&self, call: &Call, rule: Option<&Rule>) -> Result<Outcome, Error> {
        self.transaction(|inner, state| {
            let now = inner.settle(state);
            let reply = match rule.and_then(Rule::instead) {
                Some(reply) => reply,
                None => {
                    let done = dispatch(&mut inner.context(call, state, now));
                    rule.and_then(Rule::afterwards).unwrap_or(done)
                }
            };
            inner.reconcile(state);
            inner.note(call, reply.status)?;
            Ok(Outcome { reply, now })
        })?
    }

    fn transaction<T>(&self, work: impl FnOnce(&Inner, &mut State) -> T) -> Result<T, Error> {
        // A handler that panicked left the documents as far as it came; the log has what it changed at the next commit.
        let mut opened = self.inner.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let (store, state) = &mut *opened;
        store.begin(state)?;
        let result = work(&self.inner, state);
        store.commit(state)?;
        Ok(result)
    }
}

impl Inner {
    fn context<'a>(&'a self, call: &'a Call, state: &'a mut State, now: i64) -> Cx<'a> {
        let Options { profile, clock, .. } = self.options;
        let machines = self.host.is_some().then(|| self.machines());
        Cx { call, state, now, clock, profile, machines, seal: &self.seal, who: Who::default(), version: (0, 0) }
    }

    /// The folder of the machines.
    fn machines(&self) -> PathBuf {
        self.folder.join("guests")
    }

    /// Brings the machines to what the documents want.
    fn reconcile(&self, state: &State) -> Progress {
        match &self.host {
            Some(host) => host.lock().unwrap_or_else(PoisonError::into_inner).reconcile(state),
            None => Progress::default(),
        }
    }

    /// Carries out what is due, and gives the cloud's time.
    fn settle(&self, state: &mut State) -> i64 {
        let now = clock::system() + offset(state);
        let progress = self.reconcile(state);
        let nobody = Call::nobody();
        let mut cx = self.context(&nobody, state, now);
        settle::settle(&mut cx, &progress);
        now
    }

    fn note(&self, call: &Call, status: u16) -> Result<(), Error> {
        self.requests.note(&call.method, &call.target, status)
    }
}

fn offset(state: &State) -> i64 {
    state.get(Table::Clock, "offset").map_or(0, |doc| doc.int("millis"))
}

fn dispatch(cx: &mut Cx<'_>) -> Reply {
    let path: Vec<&str> = cx.call.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["identity", rest @ ..] => keystone::handle(cx, rest),
        ["compute", rest @ ..] => nova::handle(cx, rest),
        ["network", rest @ ..] => neutron::handle(cx, rest),
        ["volume", rest @ ..] if cx.profile.has_volumes() => cinder::handle(cx, rest),
        ["image", rest @ ..] => glance::handle(cx, rest),
        ["reservation", rest @ ..] => blazar::handle(cx, rest),
        ["oidc", rest @ ..] => keystone::federation::provider(cx, rest),
        _ => Reply::json(404, json!({"message": "no service has this address", "code": "404 Not Found"})),
    }
}
