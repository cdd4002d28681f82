//! A cloud made of plain data, which carries plans out: what the applier and the services do, without either.
//!
//! It shows of an object what the real service shows and no more (a server's flavor, lease, ports and user data stay
//! hidden), and refuses what the real services refuse: deleting what is in use, attaching what is attached, making what
//! there is already. So a plan that it carries out is in an order that would have worked.

use std::collections::{BTreeMap, BTreeSet};

use super::kit;
use crate::apply::known::Recorded;
use crate::kinds::kind::Seen;
use crate::model::{Address, Fields, RemoteId, SiteAlias, Stamp, Target, Value};
use crate::observe::{Observed, SiteView};
use crate::plan::bind::bind_fields;
use crate::plan::{Action, Plan, PlanError, PlanOptions, Report, Step, StepOperation, Verb, plan};
use crate::resolve::Desired;
use crate::state::{Entry, Loaded, Origin, ResourceState, State, Status};

/// What the sites offer by name, by kind.
const CATALOGUE: &[(&str, &[&str])] = &[
    ("image", &["CC-Ubuntu22.04", "CC-Ubuntu24.04", "CC-Ubuntu26.04"]),
    ("flavor", &["m1.small", "m1.medium", "m1.large"]),
    ("network", &["sharednet1", "public"]),
    ("security_group", &["default"]),
    ("keypair", &["chameleon"]),
];

/// A state, the clouds it is about, and what no service shows.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub state: State,
    pub clouds: Observed,
    /// What servers were made with: lease and ports. Nova does not tell.
    hidden: BTreeMap<RemoteId, Fields>,
    made: u32,
}

impl World {
    pub fn new() -> Self {
        let sites = kit::identities().into_iter().map(|(alias, identity)| {
            let mut lookups = BTreeMap::new();
            for (kind, names) in CATALOGUE {
                for name in *names {
                    let seen = bare(RemoteId(format!("{alias}-{name}")), name, Fields::new());
                    lookups.insert(((*kind).to_owned(), (*name).to_owned()), vec![seen]);
                }
            }
            (
                alias,
                SiteView {
                    identity,
                    objects: BTreeMap::new(),
                    lookups,
                    hidden: BTreeMap::new(),
                    guests: crate::observe::Guests::default(),
                },
            )
        });
        let clouds = Observed {
            at: "2026-11-20T16:00:00Z".parse().unwrap(),
            sites: sites.collect(),
            here: BTreeMap::new(),
            unseen: BTreeMap::new(),
        };
        let state = State::new("t", "0123456789abcdef".to_owned());
        Self { state, clouds, hidden: BTreeMap::new(), made: 0 }
    }

    /// A world in which this spec was applied.
    pub fn with(text: &str) -> Self {
        let mut world = Self::new();
        world.apply(text);
        world
    }

    pub fn plan_with(&self, desired: &Desired, options: &PlanOptions) -> Result<(Plan, Report), Vec<PlanError>> {
        plan(desired, &self.clouds, &self.state, options)
    }

    pub fn plan(&self, text: &str) -> Plan {
        self.plan_with(&kit::desired(text), &PlanOptions::default()).unwrap_or_else(|errors| panic!("{errors:?}")).0
    }

    /// Why there is no plan.
    pub fn refused(&self, text: &str, options: &PlanOptions) -> String {
        kit::refusals(&self.plan_with(&kit::desired(text), options).expect_err("no plan"))
    }

    pub fn apply(&mut self, text: &str) {
        let plan = self.plan(text);
        self.carry_out(&plan, |_| 0);
    }

    /// The object of a resource, to be changed behind anole's back.
    pub fn object(&mut self, address: &str) -> &mut Seen {
        let record = &self.state.resources[&address.parse().unwrap()];
        let objects = self.clouds.sites.get_mut(&record.site).unwrap().objects.get_mut(&record.kind).unwrap();
        objects.get_mut(&record.id).unwrap()
    }

    /// Deletes the object of a resource behind anole's back, and what goes with it.
    pub fn vanish(&mut self, address: &str) {
        let record = self.state.resources[&address.parse().unwrap()].clone();
        self.objects(&record.site, &record.kind).remove(&record.id);
        self.settle();
    }

    pub fn objects(&mut self, site: &SiteAlias, kind: &str) -> &mut BTreeMap<RemoteId, Seen> {
        self.clouds.sites.get_mut(site).unwrap().objects.entry(kind.to_owned()).or_default()
    }

    /// Carries a plan out; of the steps that are free, `choose` picks one by its place among them.
    pub fn carry_out(&mut self, plan: &Plan, mut choose: impl FnMut(usize) -> usize) {
        let mut loaded = Loaded::new(std::mem::replace(&mut self.state, State::new("", String::new())));
        loaded.state.sites.extend(plan.sites.clone());
        for (from, to) in &plan.renames {
            loaded.fold(Entry::Rename { from: from.clone(), to: to.clone() });
        }
        for action in plan.actions.values().filter(|action| matches!(action.verb, Verb::Keep | Verb::Hold)) {
            if let Some(record) = loaded.state.resources.get_mut(&action.address) {
                record.attributes = action.live.clone();
                record.needs = action.needs.clone();
            }
        }
        let mut waiting: BTreeSet<usize> = (0..plan.steps.len()).collect();
        while !waiting.is_empty() {
            let held =
                |step: &usize| plan.edges.iter().any(|edge| edge.after == *step && waiting.contains(&edge.before));
            let free: Vec<usize> = waiting.iter().copied().filter(|step| !held(step)).collect();
            assert!(!free.is_empty(), "the steps stand in a circle");
            let step = free[choose(free.len()) % free.len()];
            waiting.remove(&step);
            let Step { address, operation } = &plan.steps[step];
            self.step(&plan.actions[address], *operation, &mut loaded);
            self.settle();
        }
        loaded.state.serial += 1;
        self.state = loaded.state;
    }

    fn step(&mut self, action: &Action, operation: StepOperation, loaded: &mut Loaded) {
        let address = &action.address;
        let bound = || {
            let fields = bind_fields(&action.wanted, &Recorded(&loaded.state));
            for (name, value) in &fields {
                assert!(value.is_known(), "{address}: {name} is unknown: {value:?}");
                let planned = action.fields.get(name).filter(|planned| planned.is_known());
                assert!(planned.is_none_or(|planned| planned.same(value)), "{address}: {name} is not as planned");
            }
            fields
        };
        let record = loaded.state.resources.get(address).cloned();
        let entry = match operation {
            StepOperation::Create => {
                let fields = bound();
                let id = self.make(action, &fields);
                let attributes = self.objects(&action.site, &action.kind)[&id].attrs.clone();
                let resource = Box::new(new_record(action, id, fields, attributes));
                Entry::Put { address: address.clone(), resource }
            }
            StepOperation::Update => {
                let fields = bound();
                let id = record.map(|record| record.id).or_else(|| action.id.clone()).unwrap();
                for change in &action.changes {
                    let after = fields.get(&change.field).cloned().unwrap_or(Value::Null);
                    self.change(action, &id, &change.field, &after);
                }
                let attributes = self.objects(&action.site, &action.kind)[&id].attrs.clone();
                let resource = Box::new(new_record(action, id, fields, attributes));
                Entry::Put { address: address.clone(), resource }
            }
            StepOperation::Await => {
                let record = record.unwrap();
                let attributes = self.objects(&record.site, &record.kind)[&record.id].attrs.clone();
                let resource = Box::new(ResourceState { status: Status::Ready, attributes, ..record });
                Entry::Put { address: address.clone(), resource }
            }
            StepOperation::LetGo => {
                self.let_go(action, &record.unwrap().id);
                return;
            }
            StepOperation::Delete => {
                let record = record.unwrap_or_else(|| panic!("{address} is deleted without a record"));
                self.unmake(&record, address);
                Entry::Remove { address: address.clone() }
            }
            StepOperation::Record => match action.verb {
                Verb::Release | Verb::Forget => Entry::Remove { address: address.clone() },
                Verb::Adopt => {
                    let resource = new_record(action, action.id.clone().unwrap(), bound(), action.live.clone());
                    Entry::Put { address: address.clone(), resource: Box::new(resource) }
                }
                _ => {
                    let (protect, needs) = (action.protect, action.needs.clone());
                    let resource = ResourceState { protect, needs, attributes: action.live.clone(), ..record.unwrap() };
                    Entry::Put { address: address.clone(), resource: Box::new(resource) }
                }
            },
        };
        loaded.fold(entry);
    }

    /// Makes an object, as its service would.
    fn make(&mut self, action: &Action, fields: &Fields) -> RemoteId {
        let (site, kind) = (&action.site, action.kind.as_str());
        self.made += 1;
        let number = self.made;
        let id = match kind {
            "keypair" => RemoteId(fields["name"].as_str().unwrap().to_owned()),
            "attachment" => RemoteId(format!("{}/{}", id_of(fields, "server"), id_of(fields, "volume"))),
            _ => RemoteId(format!("{kind}-{number}")),
        };
        self.refuse_to_make(action, fields, &id);
        let mut attrs = shown(kind, fields, &id, number);
        if kind == "port" && self.is_open(site, &id_of(fields, "network")) {
            attrs.remove("security_groups");
        }
        if kind == "server" {
            self.hidden.insert(id.clone(), fields.clone());
        }
        if kind == "lease" {
            let hours = fields.get("duration").and_then(Value::as_int).unwrap_or(3_600) / 3_600;
            attrs.insert("start".to_owned(), Value::text(self.clouds.at.to_string()));
            let end = self.clouds.at + jiff::SignedDuration::from_hours(hours);
            attrs.insert("end".to_owned(), Value::text(end.to_string()));
        }
        let name = fields.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let seen = bare(id.clone(), &name, attrs);
        self.objects(site, kind).insert(id.clone(), seen);
        id
    }

    fn refuse_to_make(&self, action: &Action, fields: &Fields, id: &RemoteId) {
        let (site, kind, address) = (&action.site, action.kind.as_str(), &action.address);
        let there = self.clouds.object(site, kind, id);
        assert!(there.is_none(), "{address}: there is a {kind} {id} already");
        for value in fields.values() {
            value.visit_refs(&mut |reference| {
                let target = reference.id.as_ref().unwrap();
                let known = self.clouds.object(site, &reference.kind, target).is_some()
                    || self.clouds.sites[site].lookups.values().flatten().any(|seen| seen.id == *target);
                assert!(known, "{address}: there is no {} {target}", reference.kind);
            });
        }
        if kind == "attachment" {
            let volume = id_of(fields, "volume");
            let mut others = self.clouds.objects(site, kind);
            assert!(!others.any(|other| id_of(&other.attrs, "volume") == volume), "{address}: {volume} is attached");
        }
        if let (Some(wanted), "port") = (fields.get("fixed_ip"), kind) {
            let mut others = self.clouds.objects(site, kind);
            assert!(!others.any(|other| other.attrs["fixed_ip"] == *wanted), "{address}: {wanted:?} is taken");
        }
    }

    /// Whether a network has no port security.
    fn is_open(&self, site: &SiteAlias, network: &str) -> bool {
        let network = self.clouds.object(site, "network", &RemoteId::from(network));
        network.is_some_and(|network| network.attrs.get("port_security") == Some(&Value::Bool(false)))
    }

    fn change(&mut self, action: &Action, id: &RemoteId, field: &str, after: &Value) {
        let seen = self.objects(&action.site, &action.kind).get_mut(id);
        let seen = seen.unwrap_or_else(|| panic!("{}: there is no {id} to change", action.address));
        let value = match (action.kind.as_str(), field, after) {
            ("security_group", "rules", wanted) => with_egress(wanted),
            // A service holds other people's keys too; without any of ours the map is there and empty.
            ("port", "security_groups", Value::Null) => default_groups(),
            (_, "metadata", Value::Null) => Value::Map(Fields::new()),
            ("lease", "duration", Value::Int(seconds)) => {
                let start: jiff::Timestamp = seen.attrs["start"].as_str().unwrap().parse().unwrap();
                let end = start + jiff::SignedDuration::from_secs(*seconds);
                seen.attrs.insert("end".to_owned(), Value::text(end.to_string()));
                return;
            }
            (_, _, wanted) => as_live(wanted),
        };
        match value {
            // What is not bound, and what leads nowhere, is told as such.
            Value::Null if matches!(field, "server" | "external") => {
                seen.attrs.insert(field.to_owned(), Value::Null);
            }
            Value::Null => drop(seen.attrs.remove(field)),
            value => drop(seen.attrs.insert(field.to_owned(), value)),
        }
        if let ("name", Value::String(name)) = (field, after) {
            seen.name.clone_from(name);
        }
    }

    fn let_go(&mut self, action: &Action, id: &RemoteId) {
        for change in &action.changes {
            let mut lost = Vec::new();
            change.after.visit_refs(&mut |reference| {
                if let (Target::Resource(_), None) = (&reference.target, &reference.id) {
                    lost.push(reference.target.clone());
                }
            });
            let applied = match action.applied.get(&change.field) {
                Some(Value::List(applied)) => applied,
                Some(Value::Ref(_)) => {
                    self.change(action, id, &change.field, &Value::Null);
                    continue;
                }
                _ => continue,
            };
            let kept: Vec<Value> = applied
                .iter()
                .filter(|value| !matches!(value, Value::Ref(reference) if lost.contains(&reference.target)))
                .cloned()
                .collect();
            self.change(action, id, &change.field, &Value::List(kept));
        }
    }

    /// Deletes an object, unless its service would refuse.
    fn unmake(&mut self, record: &ResourceState, address: &Address) {
        let (site, id) = (&record.site, &record.id);
        let users: Vec<RemoteId> = ["port", "server", "attachment", "subnet", "router", "mount", "script"]
            .into_iter()
            .flat_map(|kind| self.clouds.objects(site, kind).map(move |seen| (kind, seen)))
            .filter(|(kind, seen)| {
                let mut uses = false;
                let mut visit = |fields: &Fields| {
                    for value in fields.values() {
                        value.visit_refs(&mut |reference| {
                            uses |= reference.kind == record.kind && reference.id.as_ref() == Some(id);
                        });
                    }
                };
                visit(&seen.attrs);
                if *kind == "server" {
                    visit(&self.hidden[&seen.id]);
                }
                // Nova keeps a copy of the key.
                uses && record.kind != "keypair"
            })
            .map(|(_, seen)| seen.id.clone())
            .collect();
        assert!(users.is_empty(), "{address}: {id} is in use by {users:?}");
        let gone = self.objects(site, &record.kind).remove(id);
        assert!(gone.is_some(), "{address}: there is no {id} to delete");
    }

    /// What follows by itself: servers go with their lease, attachments with either end, addresses are unbound.
    pub fn settle(&mut self) {
        let hidden = &self.hidden;
        for view in self.clouds.sites.values_mut() {
            let live = |view: &SiteView, kind: &str| -> BTreeSet<RemoteId> {
                let objects = view.objects.get(kind).into_iter().flatten();
                objects.filter(|(_, seen)| seen.status != "TERMINATED").map(|(id, _)| id.clone()).collect()
            };
            let leases = live(view, "lease");
            let on_lease =
                |id: &RemoteId| hidden[id].get("lease").is_none_or(|lease| leases.contains(lease.as_id().unwrap()));
            view.objects.entry("server".to_owned()).or_default().retain(|id, _| on_lease(id));
            let (servers, volumes) = (live(view, "server"), live(view, "volume"));
            let attachments = view.objects.entry("attachment".to_owned()).or_default();
            attachments.retain(|_, seen| {
                let at = |field: &str, ids: &BTreeSet<RemoteId>| ids.contains(seen.attrs[field].as_id().unwrap());
                at("server", &servers) && at("volume", &volumes)
            });
            for address in view.objects.entry("floating_ip".to_owned()).or_default().values_mut() {
                if !address.attrs.get("server").and_then(Value::as_id).is_some_and(|server| servers.contains(server)) {
                    address.attrs.insert("server".to_owned(), Value::Null);
                }
            }
        }
    }
}

fn new_record(action: &Action, id: RemoteId, applied: Fields, attributes: Fields) -> ResourceState {
    let origin = if action.verb == Verb::Adopt { Origin::Adopted } else { action.origin };
    ResourceState {
        kind: action.kind.clone(),
        site: action.site.clone(),
        uid: format!("uid of {id}"),
        id,
        origin,
        protect: action.protect,
        status: Status::Ready,
        applied,
        attributes,
        needs: action.needs.clone(),
    }
}

/// An object as a list shows it, with its name and state among its attributes.
pub(crate) fn bare(id: RemoteId, name: &str, attrs: Fields) -> Seen {
    let status = attrs.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (fault, stamp, user_id, created_at) = (None, None, None, None);
    Seen { id, name: name.to_owned(), attrs, status, fault, stamp, user_id, created_at }
}

/// The stamp of an object of `lineage`, made by the user who is signed in.
pub(crate) fn stamp(lineage: &str, stack: &str, address: &str) -> Stamp {
    Stamp {
        lineage: lineage.to_owned(),
        owner: crate::stamp::owner("u1"),
        stack: stack.to_owned(),
        uid: "0123456789ab".to_owned(),
        address: address.parse().unwrap(),
    }
}

fn id_of(fields: &Fields, field: &str) -> String {
    fields[field].as_id().unwrap().0.clone()
}

/// References as services tell them: by id alone, and sets of them sorted.
fn as_live(value: &Value) -> Value {
    match value {
        Value::Ref(reference) => Value::live(&reference.kind, reference.id.clone().unwrap().0),
        Value::List(items) => {
            let mut items: Vec<Value> = items.iter().map(as_live).collect();
            if items.iter().all(|item| matches!(item, Value::Ref(_))) {
                items.sort_by_key(|item| item.as_id().cloned());
            }
            Value::List(items)
        }
        Value::Map(fields) => Value::Map(fields.iter().map(|(key, value)| (key.clone(), as_live(value))).collect()),
        other => other.clone(),
    }
}

/// What a port has where no groups are asked for.
fn default_groups() -> Value {
    Value::List(vec![Value::live("security_group", "kvm-default")])
}

/// A group's rules as Neutron lists them: two outgoing ones are there unless the group was told otherwise.
fn with_egress(wanted: &Value) -> Value {
    let text = |pairs: &[(&str, &str)]| {
        Value::Map(pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::text(*value))).collect())
    };
    let out = |version: &str, all: &str| {
        text(&[("direction", "egress"), ("ethertype", version), ("protocol", "any"), ("remote_cidr", all)])
    };
    let Value::List(mut rules) = as_live(wanted) else { return Value::List(Vec::new()) };
    rules.extend([out("IPv4", "0.0.0.0/0"), out("IPv6", "::/0")]);
    Value::List(rules)
}

/// What the service shows of a new object.
fn shown(kind: &str, fields: &Fields, id: &RemoteId, number: u32) -> Fields {
    let readable: &[&str] = match kind {
        "lease" => &["name"],
        "keypair" => &["name", "public_key"],
        "security_group" => &["name", "description"],
        "network" => &["name", "description", "port_security", "mtu"],
        "subnet" => &["name", "cidr", "network", "gateway", "dhcp", "dns", "allocation_pools"],
        "router" => &["name", "description", "external", "networks"],
        "volume" => &["name", "size", "type", "description", "metadata", "availability_zone", "image"],
        "port" => &["name", "network", "fixed_ip", "security_groups"],
        "server" => &["name", "metadata", "image", "keypair", "availability_zone"],
        "floating_ip" => &["description", "network", "server"],
        "attachment" => &["volume", "server"],
        "mount" => &["path", "server", "volume", "attachment"],
        "script" => &["server", "uses"],
        other => panic!("no {other} is ever made"),
    };
    let given = fields.iter().filter(|(name, value)| readable.contains(&name.as_str()) && !value.is_null());
    let mut attrs: Fields = given.map(|(name, value)| (name.clone(), as_live(value))).collect();
    let mut default = |name: &str, value: Value| {
        attrs.entry(name.to_owned()).or_insert(value);
    };
    let empty = || Value::Map(Fields::new());
    default("id", Value::text(id.0.clone()));
    match kind {
        "lease" => {
            default("status", "ACTIVE".into());
            default("reservations", reservations(fields, number));
        }
        "security_group" => default("rules", with_egress(fields.get("rules").unwrap_or(&Value::List(Vec::new())))),
        "network" => {
            default("status", "ACTIVE".into());
            default("port_security", true.into());
            default("mtu", Value::Int(1442));
        }
        "subnet" => {
            default("gateway", "192.168.0.1".into());
            default("dhcp", true.into());
            default("dns", Value::List(Vec::new()));
        }
        "router" => {
            default("status", "ACTIVE".into());
            default("networks", Value::List(Vec::new()));
            default("external", Value::Null);
        }
        "volume" => {
            default("status", "available".into());
            default("metadata", empty());
            default("type", "ceph-hdd".into());
            default("availability_zone", "nova".into());
            default("description", "".into());
        }
        "port" => {
            let address = Value::text(format!("10.0.{}.{}", number / 250, number % 250));
            default("fixed_ip", address);
            default("security_groups", default_groups());
            default("status", "ACTIVE".into());
        }
        "server" => {
            default("status", "ACTIVE".into());
            default("metadata", empty());
            default("address", Value::text(format!("10.1.0.{number}")));
        }
        "floating_ip" => {
            default("status", "ACTIVE".into());
            default("address", Value::text(format!("203.0.113.{number}")));
            default("server", Value::Null);
        }
        "attachment" => default("status", "in-use".into()),
        _ => {}
    }
    attrs
}

/// A lease's reservations by position, as Blazar tells them.
fn reservations(fields: &Fields, number: u32) -> Value {
    let wanted = fields["reservations"].as_list().unwrap();
    let entry = |(at, wanted): (usize, &Value)| {
        let flavor = wanted.as_map().unwrap()["flavor"].as_id().unwrap().0.clone();
        let entry = Fields::from([
            ("id".to_owned(), Value::text(format!("reservation-{number}-{at}"))),
            ("type".to_owned(), "flavor:instance".into()),
            ("status".to_owned(), "active".into()),
            ("created_at".to_owned(), Value::text(format!("2026-11-20 16:00:0{at}"))),
            ("flavor".to_owned(), Value::live("flavor", flavor)),
            ("amount".to_owned(), wanted.as_map().unwrap()["amount"].clone()),
        ]);
        (at.to_string(), Value::Map(entry))
    };
    Value::Map(wanted.iter().enumerate().map(entry).collect())
}
