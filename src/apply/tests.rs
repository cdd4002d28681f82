//! The dispatcher and its steps against the embedded cloud in this process; the ledger; what becomes of open intents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, watch};
use url::Url;

use super::event::{Event, Outcome};
use super::intents::{Resolution, resolve};
use super::ledger::{Ledger, Log};
use super::step::Shared;
use super::wait::Pollers;
use crate::cloud::config::{Auth, CloudConfig, Domain, Scope, User};
use crate::cloud::{Session, SessionOptions, Transport};
use crate::embedded::{ClockMode, Cloud, Guests, Options, Profile};
use crate::model::{Address, Fields, Json, RemoteId, SiteAlias, Stamp, Target, Value};
use crate::observe::{Interest, Observed, observe_site};
use crate::plan::tests::cloud::{World, bare, stamp};
use crate::plan::tests::kit;
use crate::plan::{Plan, PlanOptions, plan};
use crate::resolve::Desired;
use crate::stamp::SystemIds;
use crate::state::secrets::{Source, Vault};
use crate::state::{Entry, Intent, Loaded, Operation, Origin, ResourceState, State, Status};

/// A server with all that hangs on it, and a keypair that only it needs.
const BLOCK: &str = "
keypairs: { laptop: { public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL8yK7132y/SLHlP8rYa2eNimuqOC77KJQr709UGF06+ } }
security_groups: { ssh: { rules: [{ port: 22 }] } }
servers:
  node: { flavor: m1.small, image: CC-Ubuntu22.04, keypair: laptop, networks: [sharednet1], security_groups: [ssh] }
floating_ips: { node: { network: public, server: node } }
volumes: { data: { size: 2GiB } }
attachments: { data: { volume: data, server: node } }
";

/// Two clouds in this process, signed in to, and a state that lives in memory.
struct Rig {
    folder: tempfile::TempDir,
    clouds: BTreeMap<SiteAlias, Cloud>,
    sessions: BTreeMap<SiteAlias, Session>,
    state: Loaded,
}

/// A log in memory that may do something when an entry comes by.
struct Memory<F>(F);

impl<F: FnMut(&Entry) + Send + 'static> Log for Memory<F> {
    fn append(&mut self, entries: &[Entry]) -> Result<(), String> {
        entries.iter().for_each(&mut self.0);
        Ok(())
    }
}

impl Rig {
    async fn new(scale: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut clouds, mut sessions) = (BTreeMap::new(), BTreeMap::new());
        for site in ["kvm", "chi"] {
            let options =
                Options { profile: Profile::ChameleonKvm, clock: ClockMode::Real { scale }, guests: Guests::None };
            let cloud = Cloud::open(&folder.path().join(site), options).unwrap();
            let domain = || Domain::Id("default".to_owned());
            let user = User::Name("demo".to_owned(), domain());
            let auth = Auth::Password { user, password: secrecy::SecretString::from("demo") };
            let url = Url::parse("http://embedded.invalid/identity/v3").unwrap();
            let scope = Scope::ProjectName("CHI-embedded".to_owned(), domain());
            let config = CloudConfig::new("a test".to_owned(), url, auth, scope);
            let transport = Transport::InProcess(cloud.router());
            let session = Session::connect(config, transport, SessionOptions::default()).await.unwrap();
            sessions.insert(SiteAlias::from(site), session);
            clouds.insert(SiteAlias::from(site), cloud);
        }
        Self { folder, clouds, sessions, state: Loaded::new(State::new("t", "0123456789abcdef".to_owned())) }
    }

    /// Orders faults of a site's cloud.
    fn order(&self, site: &str, faults: &Json) {
        let path: &Path = self.folder.path();
        std::fs::write(path.join(site).join("faults.json"), faults.to_string()).unwrap();
    }

    async fn look(&self, desired: &Desired) -> Observed {
        let mut sites = BTreeMap::new();
        for (alias, session) in &self.sessions {
            let mut interest = Interest::default();
            for resource in desired.resources.values().filter(|resource| resource.site == *alias) {
                interest.kinds.insert(resource.kind.to_owned());
                for value in resource.fields.values() {
                    value.visit_refs(&mut |reference| {
                        if let Target::Lookup(name) = &reference.target {
                            interest.lookups.insert((reference.kind.clone(), name.clone()));
                        }
                    });
                }
            }
            let records = self.state.state.resources.values().filter(|record| record.site == *alias);
            interest.kinds.extend(records.map(|record| record.kind.clone()));
            sites.insert(alias.clone(), observe_site(session, &interest).await.unwrap());
        }
        Observed { at: Timestamp::now(), sites, here: BTreeMap::new(), unseen: BTreeMap::new() }
    }

    async fn plan(&self, text: &str) -> Plan {
        let desired = kit::desired(text);
        let observed = self.look(&desired).await;
        let planned = plan(&desired, &observed, &self.state.state, &PlanOptions::default());
        planned.unwrap_or_else(|errors| panic!("{}", kit::refusals(&errors))).0
    }

    /// Carries a plan out; `watch` sees every entry before it counts, and every event in its turn.
    async fn carry_out(
        &mut self,
        plan: Plan,
        stop: watch::Receiver<bool>,
        entry: impl FnMut(&Entry) + Send + 'static,
        mut event: impl FnMut(&Event) + Send + 'static,
    ) -> (Outcome, Vec<Event>) {
        let (events, mut heard) = mpsc::unbounded_channel();
        let (ledger, thread) = Ledger::start(self.state.clone(), Memory(entry));
        let shared = Shared {
            sessions: Arc::new(self.sessions.clone()),
            ledger: ledger.clone(),
            pollers: Pollers::default(),
            ids: Arc::new(SystemIds::new()),
            home: None,
            vault: Arc::new(Mutex::new(Vault::new("0123456789abcdef", Source::File(self.folder.path().join("key"))))),
            servers: crate::guest::Guests::default(),
            events,
            slots: Arc::new(Semaphore::new(8)),
            long: Arc::new(Semaphore::new(super::step::LONG_AT_A_TIME)),
            wait_for_start: false,
            verify: false,
            stop: stop.clone(),
        };
        let listening = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(heard) = heard.recv().await {
                event(&heard);
                all.push(heard);
            }
            all
        });
        // One that waits for what never comes is to fail, not to hang.
        let applied = super::apply(Arc::new(plan), shared, stop);
        let outcome = tokio::time::timeout(Duration::from_secs(60), applied).await.expect("the apply ends");
        self.state = ledger.read(Clone::clone);
        drop(ledger);
        thread.join().unwrap();
        (outcome, listening.await.unwrap())
    }

    async fn apply(&mut self, text: &str) -> Outcome {
        let plan = self.plan(text).await;
        let (_stop, stopped) = watch::channel(false);
        self.carry_out(plan, stopped, |_| {}, |_| {}).await.0
    }

    async fn count(&self, site: &str, kind: &str) -> usize {
        let kind = crate::kinds::by_name(kind).and_then(crate::kinds::Kind::cloud).unwrap();
        kind.list(&self.sessions[&SiteAlias::from(site)]).await.unwrap().len()
    }
}

fn at(address: &str) -> Address {
    address.parse().unwrap()
}

fn names(addresses: impl IntoIterator<Item = impl ToString>) -> String {
    addresses.into_iter().map(|address| address.to_string()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_failure_stops_what_depends_on_it_and_nothing_else() {
    let mut rig = Rig::new(0.0).await;
    rig.order("kvm", &json!([{ "method": "POST", "path": "^/compute/v2.1/os-keypairs$", "status": 403 }]));
    let outcome = rig.apply(BLOCK).await;
    assert_eq!(names(outcome.failed.iter().map(|(address, _)| address)), "keypairs.laptop");
    let skipped: BTreeSet<_> = outcome.skipped.iter().map(|(address, why)| format!("{address}: {why}")).collect();
    insta::assert_snapshot!(skipped.into_iter().collect::<Vec<_>>().join("\n"), @r"
    attachments.data: keypairs.laptop failed
    floating_ips.node: keypairs.laptop failed
    servers.node: keypairs.laptop failed
    ");
    assert_eq!(names(&outcome.done), "security_groups.ssh servers.node/port[sharednet1] volumes.data");
    assert!(rig.state.open.is_empty(), "a refusal is no open question");

    // The next apply does what was not tried, and nothing twice.
    let outcome = rig.apply(BLOCK).await;
    assert_eq!(names(&outcome.done), "attachments.data floating_ips.node keypairs.laptop servers.node");
    assert!(rig.plan(BLOCK).await.is_empty());
}

#[tokio::test]
async fn an_address_is_bound_while_its_server_is_still_being_built() {
    let mut rig = Rig::new(1.0).await;
    let plan = rig.plan(BLOCK).await;
    let (_stop, stopped) = watch::channel(false);
    let cloud = rig.clouds[&SiteAlias::from("kvm")].clone();
    // The server is ready only once the address is bound.
    let on_event = move |event: &Event| {
        let bound = matches!(event, Event::Done { address, .. } if *address == at("floating_ips.node"));
        let attaching = matches!(event, Event::Waiting { address, .. } if *address == at("attachments.data"));
        if bound || attaching {
            cloud.advance(3600).unwrap();
        }
    };
    let (outcome, events) = rig.carry_out(plan, stopped, |_| {}, on_event).await;
    assert_eq!(outcome.failed, []);
    let done = |wanted: &str| {
        let is_it = |event: &Event| matches!(event, Event::Done { address, .. } if *address == at(wanted));
        events.iter().position(is_it).unwrap_or_else(|| panic!("{wanted} is not done"))
    };
    assert!(done("floating_ips.node") < done("servers.node"));
    assert!(done("servers.node") < done("attachments.data"));
}

#[tokio::test]
async fn after_a_signal_nothing_new_is_started() {
    let mut rig = Rig::new(0.0).await;
    let plan = rig.plan(BLOCK).await;
    let (stop, stopped) = watch::channel(false);
    // The signal comes when the server is accepted and before that is even recorded.
    let on_entry = move |entry: &Entry| {
        if matches!(entry, Entry::Accepted { address, .. } if *address == at("servers.node")) {
            stop.send(true).unwrap();
        }
    };
    let (outcome, events) = rig.carry_out(plan, stopped, on_entry, |_| {}).await;
    assert!(outcome.interrupted);
    assert!(outcome.done.contains(&at("servers.node")), "what is in flight is finished");
    assert_eq!(rig.state.state.resources[&at("servers.node")].status, Status::Ready);
    assert!(rig.state.open.is_empty());
    let skipped: BTreeSet<_> = outcome.skipped.iter().map(|(address, _)| address.to_string()).collect();
    assert_eq!(names(skipped), "attachments.data floating_ips.node");
    let began = |event: &&Event| matches!(event, Event::Started { .. });
    assert_eq!(events.iter().filter(began).count(), 5);
}

#[tokio::test]
async fn what_a_lost_answer_made_is_taken_and_not_made_twice() {
    let mut rig = Rig::new(0.0).await;
    let lost = |path: &str| json!({ "method": "POST", "path": path, "drop_after": true });
    rig.order("kvm", &json!([lost("^/compute/v2.1/servers$"), lost("^/network/v2.0/ports$"), lost("/volumes$")]));
    let outcome = rig.apply(BLOCK).await;
    assert_eq!(outcome.failed, []);
    assert!(rig.plan(BLOCK).await.is_empty());
    for kind in ["server", "volume", "floating_ip"] {
        assert_eq!(rig.count("kvm", kind).await, 1, "{kind}");
    }
}

#[tokio::test]
async fn what_moves_to_another_site_is_deleted_on_the_old_one() {
    let mut rig = Rig::new(0.0).await;
    let spec = "volumes: { v: { protect: false, size: 1GiB } }";
    rig.apply(spec).await;
    let outcome = rig.apply(&spec.replace("size:", "site: chi, size:")).await;
    assert_eq!(outcome.failed, []);
    assert_eq!((rig.count("kvm", "volume").await, rig.count("chi", "volume").await), (0, 1));
}

#[tokio::test]
async fn a_group_is_replaced_under_a_running_server() {
    let mut rig = Rig::new(0.0).await;
    rig.apply(BLOCK).await;
    let (server, group) = ("servers.node", "security_groups.ssh");
    let before = rig.state.state.resources.clone();
    let desired = kit::desired(BLOCK);
    let options = PlanOptions { replace: vec![at(group)], ..PlanOptions::default() };
    let observed = rig.look(&desired).await;
    let (plan, _) = plan(&desired, &observed, &rig.state.state, &options).unwrap();
    let (_stop, stopped) = watch::channel(false);
    let (outcome, _) = rig.carry_out(plan, stopped, |_| {}, |_| {}).await;
    assert_eq!(outcome.failed, []);
    let after = &rig.state.state.resources;
    assert_eq!(before[&at(server)].id, after[&at(server)].id);
    assert_ne!(before[&at(group)].id, after[&at(group)].id);
    assert!(rig.plan(BLOCK).await.is_empty());
}

/// A log that says when it is asked to write, and does so when it is told to; the second time the disk is full.
struct Gated {
    asked: std::sync::mpsc::Sender<usize>,
    go: std::sync::mpsc::Receiver<()>,
}

impl Log for Gated {
    fn append(&mut self, entries: &[Entry]) -> Result<(), String> {
        self.asked.send(entries.len()).unwrap();
        self.go.recv().unwrap();
        if entries.len() == 1 { Ok(()) } else { Err("the disk is full".to_owned()) }
    }
}

#[tokio::test]
async fn entries_that_wait_for_the_disk_share_one_write() {
    let (asked, sizes) = std::sync::mpsc::channel();
    let (go, gate) = std::sync::mpsc::channel();
    let (ledger, thread) = Ledger::start(Loaded::new(State::new("t", String::new())), Gated { asked, go: gate });
    let entry = |n: usize| vec![Entry::Refused { address: at(&format!("volumes.v{n}")) }];
    // Polled once, each is with the writer; the first one holds it up while the others queue.
    let mut first = Box::pin(ledger.record(entry(0)));
    assert!((&mut first).now_or_never().is_none());
    assert_eq!(sizes.recv(), Ok(1));
    let mut others: Vec<_> = (1..50).map(|n| Box::pin(ledger.record(entry(n)))).collect();
    assert!(others.iter_mut().all(|other| other.now_or_never().is_none()));
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(first.await, Ok(()));
    assert!(futures_util::future::join_all(others).await.iter().all(Result::is_err));
    assert_eq!(sizes.recv(), Ok(49));
    // What could not be written ends it: nothing is asked of a cloud that would not be remembered.
    assert!(ledger.record(entry(99)).await.is_err());
    assert!(sizes.try_recv().is_err());
    drop(ledger);
    thread.join().unwrap();
}

/// A create of `address` that was under way when its process ended.
fn under_way(kind: &str, address: &str, fields: &[(&str, Value)], began: Timestamp) -> Intent {
    let applied: Fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let resource = ResourceState {
        kind: kind.to_owned(),
        site: SiteAlias::from("kvm"),
        id: RemoteId::from(""),
        origin: Origin::Created,
        protect: false,
        uid: "0123456789ab".to_owned(),
        status: Status::Accepted,
        applied,
        attributes: Fields::new(),
        needs: Vec::new(),
    };
    let (operation, name) = (Operation::Create, String::new());
    Intent { address: at(address), operation, resource: Box::new(resource), name, seen_before: Vec::new(), at: began }
}

/// What is known of one intent so many seconds after it, with these objects there.
fn resolved(intent: &Intent, world: &World, seconds: i64) -> Resolution {
    let mut loaded = Loaded::new(world.state.clone());
    loaded.fold(Entry::Intent(intent.clone()));
    resolve(&loaded, &world.clouds, &BTreeSet::new(), intent.at + SignedDuration::from_secs(seconds))
}

#[test]
fn an_open_create_is_taken_awaited_or_given_up() {
    let began: Timestamp = "2026-11-20T16:00:00Z".parse().unwrap();
    let volume = under_way("volume", "volumes.data", &[], began);
    let mut world = World::new();
    assert_eq!(resolved(&volume, &world, 1).look_again_at, Some(began + SignedDuration::from_secs(6)));
    assert_eq!(resolved(&volume, &world, 60).entries, [Entry::Refused { address: at("volumes.data") }]);
    // In this process nothing is under way without us.
    let mut loaded = Loaded::new(world.state.clone());
    loaded.fold(Entry::Intent(volume.clone()));
    let at_rest = BTreeSet::from([SiteAlias::from("kvm")]);
    assert_eq!(resolve(&loaded, &world.clouds, &at_rest, began).look_again_at, None);

    let volumes = world.objects(&"kvm".into(), "volume");
    for (id, uid) in [("other", "ffffffffffff"), ("made", "0123456789ab")] {
        let mut seen = bare(RemoteId::from(id), "data", Fields::new());
        seen.stamp = Some(Stamp { uid: uid.to_owned(), ..stamp("0123456789abcdef", "t", "volumes.data") });
        volumes.insert(seen.id.clone(), seen);
    }
    let made = Entry::Accepted { address: at("volumes.data"), id: RemoteId::from("made") };
    assert_eq!(resolved(&volume, &world, 1).entries, [made]);

    for operation in [Operation::Update, Operation::Delete] {
        let resolution = resolved(&Intent { operation, ..volume.clone() }, &world, 1);
        assert_eq!(resolution.entries, [Entry::Refused { address: at("volumes.data") }], "what is live says the rest");
    }
}

#[test]
fn without_a_stamp_the_name_the_owner_and_the_time_tell() {
    let began: Timestamp = "2026-11-20T16:00:00Z".parse().unwrap();
    let flavor = Value::live("flavor", "m1.medium");
    let reservation = Fields::from([("flavor".to_owned(), flavor.clone()), ("amount".to_owned(), Value::Int(1))]);
    let wanted = [("name", "lab".into()), ("reservations", Value::List(vec![Value::Map(reservation)]))];
    let mut lease = under_way("lease", "leases.lab", &wanted, began);
    lease.seen_before = vec![RemoteId::from("before")];
    let mut world = World::new();
    let mut add = |id: &str, user: &str| {
        let entry =
            Fields::from([("type".to_owned(), "flavor:instance".into()), ("flavor".to_owned(), flavor.clone())]);
        let attrs = Fields::from([
            ("status".to_owned(), "ACTIVE".into()),
            ("reservations".to_owned(), Value::Map([("0".to_owned(), Value::Map(entry))].into())),
        ]);
        let mut seen = bare(RemoteId::from(id), "lab", attrs);
        seen.user_id = Some(user.to_owned());
        world.objects(&"kvm".into(), "lease").insert(seen.id.clone(), seen);
        world.clone()
    };
    add("before", "u1");
    let none = add("a mate's", "u2");
    assert_eq!(resolved(&lease, &none, 10).look_again_at, Some(began + SignedDuration::from_secs(45)));
    let one = add("made", "u1");
    assert!(matches!(resolved(&lease, &one, 10).entries.as_slice(), [Entry::Accepted { id, .. }] if id.0 == "made"));
    let two = add("twin", "u1");
    let resolution = resolved(&lease, &two, 10);
    assert_eq!((resolution.entries.len(), resolution.look_again_at), (0, None));
    assert_eq!(resolution.ambiguous, [(at("leases.lab"), vec![RemoteId::from("made"), RemoteId::from("twin")])]);
}
