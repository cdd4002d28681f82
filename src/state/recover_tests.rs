//! What is found again, and what is refused because it cannot be told apart.

use async_trait::async_trait;

use super::*;
use crate::cloud::{CloudError, Service, Session};
use crate::diagnostic::{FileId, Span};
use crate::kinds::kind::{CloudKind, OpCx, Place, Update};
use crate::kinds::schema::{Field, NameRule, RefChange, RefType, Schema, Type, Until, field};
use crate::model::{SiteIdentity, Stamp};
use crate::observe::SiteView;
use crate::resolve::Need;

const LINEAGE: &str = "0123456789abcdef";

/// A kind that is no more than its table; it is told by its name or by what it joins, unless it is stamped.
struct Fake {
    schema: Schema,
    stamped: bool,
}

impl Kind for Fake {
    fn schema(&self) -> &'static Schema {
        KINDS.iter().find(|kind| kind.schema.kind == self.schema.kind).map(|kind| &kind.schema).unwrap()
    }

    fn place(&self) -> Place {
        Place::Cloud(KINDS.iter().find(|kind| kind.schema.kind == self.schema.kind).unwrap())
    }

    fn unstamped_match(&self, fields: &Fields, seen: &Seen) -> Option<bool> {
        let like = |(name, value): (&String, &Value)| match value {
            Value::Ref(_) => seen.attrs.get(name).is_some_and(|is| is.same(value)),
            _ => name != "name" || value.as_str() == Some(&seen.name),
        };
        (!self.stamped).then(|| fields.iter().all(like))
    }

    fn claim(&self, fields: &Fields) -> Option<Claim> {
        let shared = fields.get("shared").and_then(Value::as_bool) == Some(true);
        shared.then(|| Claim { field: "name", value: fields["name"].clone(), or_create: true })
    }

    fn readiness(&self, seen: &Seen) -> Readiness {
        if seen.status == "TERMINATED" { Readiness::Ended("ended".to_owned()) } else { Readiness::Ready }
    }
}

#[async_trait]
impl CloudKind for Fake {
    fn service(&self) -> Service {
        Service::Compute
    }

    async fn list(&self, _: &Session) -> Result<Vec<Seen>, CloudError> {
        Ok(Vec::new())
    }

    async fn read(&self, _: &Session, _: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(None)
    }

    async fn create(&self, _: &OpCx<'_>, _: &Fields) -> Result<RemoteId, CloudError> {
        Err(CloudError::config("a fake"))
    }

    async fn update(&self, _: &OpCx<'_>, _: &Update<'_>) -> Result<(), CloudError> {
        Ok(())
    }

    async fn delete(&self, _: &OpCx<'_>, _: &RemoteId) -> Result<(), CloudError> {
        Ok(())
    }
}

const fn fake(kind: &'static str, fields: &'static [Field], stamped: bool) -> Fake {
    let (protect, name) = (false, NameRule::Default);
    Fake {
        schema: Schema { kind, section: "", doc: "", fields, attributes: &[], protect, lookup: false, name },
        stamped,
    }
}

const fn protected(mut fake: Fake) -> Fake {
    fake.schema.protect = true;
    fake
}

static KINDS: [Fake; 4] = [
    fake("lease", &[field("name", Type::Text, "")], false),
    fake("server", &[field("name", Type::Text, ""), field("user_data", Type::Text, "").replace()], true),
    protected(fake("volume", &[field("size", Type::Size, "")], true)),
    fake(
        "attachment",
        &[
            field("server", Type::Ref(RefType::new("server", RefChange::Replace)), ""),
            field("volume", Type::Ref(RefType::new("volume", RefChange::Replace)), ""),
        ],
        false,
    ),
];

fn by_name(kind: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().find(|fake| fake.schema.kind == kind).map(|fake| fake as &dyn Kind)
}

/// What a test changes: the spec's resources and the live objects.
struct Bench {
    resources: Vec<Resource>,
    live: Vec<(&'static str, Seen)>,
    lookups: Vec<(&'static str, Seen)>,
    lineage: Option<&'static str>,
}

fn at(text: &str) -> Address {
    text.parse().unwrap()
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Fields {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn to(kind: &str, address: &str) -> Value {
    Value::Ref(Reference { kind: kind.to_owned(), target: Target::Resource(at(address)), id: None })
}

fn wanted(kind: &'static str, address: &str, fields: Fields) -> Resource {
    let need = |text: &str| Need { address: at(text), change: RefChange::Replace, until: Until::Ready };
    let mut needs = Vec::new();
    fields.values().for_each(|value| {
        value.visit_refs(&mut |reference| {
            if let Target::Resource(address) = &reference.target {
                needs.push(need(&address.to_string()));
            }
        });
    });
    Resource {
        address: at(address),
        kind,
        site: SiteAlias::from("kvm"),
        fields,
        protect: None,
        adopt: None,
        ignore_changes: Vec::new(),
        needs,
        span: Span { file: FileId(0), start: 0, end: 0 },
        field_spans: BTreeMap::new(),
    }
}

fn stamp(address: &str, lineage: &str, owner: &str) -> Option<Stamp> {
    Some(Stamp {
        lineage: lineage.to_owned(),
        owner: crate::stamp::owner(owner),
        stack: "block".to_owned(),
        uid: "aaaabbbbcccc".to_owned(),
        address: at(address),
    })
}

fn seen(id: &str, name: &str, attrs: Fields, stamp: Option<Stamp>) -> Seen {
    Seen {
        id: RemoteId::from(id),
        name: name.to_owned(),
        attrs,
        status: String::new(),
        fault: None,
        stamp,
        user_id: Some("maria".to_owned()),
        created_at: None,
    }
}

/// The lab's block stack: a lease, a server on it, a volume and its attachment, all live.
fn bench() -> Bench {
    let image = Value::Ref(Reference { kind: "image".to_owned(), target: Target::Lookup("u24".to_owned()), id: None });
    let server = fields([
        ("name", "node".into()),
        ("image", image),
        ("user_data", "#!".into()),
        ("lease", to("lease", "leases.l")),
    ]);
    let ends = fields([("server", to("server", "servers.n")), ("volume", to("volume", "volumes.d"))]);
    let joined = fields([("server", Value::live("server", "s1")), ("volume", Value::live("volume", "v1"))]);
    let image = Value::live("image", "i1");
    Bench {
        resources: vec![
            wanted("lease", "leases.l", fields([("name", "block-l".into())])),
            wanted("server", "servers.n", server),
            wanted("volume", "volumes.d", fields([("name", "data".into()), ("size", 2_i64.into())])),
            wanted("attachment", "attachments.d", ends),
        ],
        live: vec![
            ("lease", seen("l1", "block-l", Fields::new(), None)),
            ("server", seen("s1", "node", fields([("image", image)]), stamp("servers.n", LINEAGE, "maria"))),
            ("volume", seen("v1", "data", fields([("size", 2_i64.into())]), stamp("volumes.d", LINEAGE, "maria"))),
            ("attachment", seen("s1/v1", "", joined, None)),
        ],
        lookups: Vec::new(),
        lineage: None,
    }
}

impl Bench {
    fn recover(&self) -> Result<Recovered, Error> {
        let identity = SiteIdentity {
            auth_url: "http://keystone".to_owned(),
            region: "R".to_owned(),
            project_id: "p".to_owned(),
            project_name: "P".to_owned(),
            user_id: "maria".to_owned(),
            user_name: "Maria".to_owned(),
        };
        let desired = Desired {
            stack: "block".to_owned(),
            sites: BTreeMap::new(),
            variables: BTreeMap::new(),
            resources: self.resources.iter().map(|wanted| (wanted.address.clone(), wanted.clone())).collect(),
            renames: Vec::new(),
            outputs: BTreeMap::new(),
        };
        let mut objects = BTreeMap::<String, BTreeMap<RemoteId, Seen>>::new();
        for (kind, seen) in &self.live {
            objects.entry((*kind).to_owned()).or_default().insert(seen.id.clone(), seen.clone());
        }
        let lookups =
            self.lookups.iter().map(|(kind, seen)| (((*kind).to_owned(), seen.name.clone()), vec![seen.clone()]));
        let view = SiteView {
            identity,
            objects,
            lookups: lookups.collect(),
            hidden: Default::default(),
            guests: Default::default(),
        };
        let observed = Observed {
            at: jiff::Timestamp::UNIX_EPOCH,
            sites: BTreeMap::from([("kvm".into(), view)]),
            here: BTreeMap::new(),
            unseen: BTreeMap::new(),
        };
        let (lineage, fresh_lineage) = (self.lineage, "ffffffffffffffff");
        recover(&Sources { desired: &desired, observed: &observed, kinds: by_name, lineage, fresh_lineage })
    }

    fn add(&mut self, kind: &'static str, seen: Seen) {
        self.live.push((kind, seen));
    }
}

#[test]
fn a_whole_stack_is_found_again() {
    let recovered = bench().recover().unwrap();
    let state = &recovered.state;
    assert_eq!((state.lineage.as_str(), recovered.missing.len(), recovered.unwanted.len()), (LINEAGE, 0, 0));
    let ids: Vec<_> = state.resources.iter().map(|(at, record)| format!("{at} {}", record.id)).collect();
    assert_eq!(ids, ["attachments.d s1/v1", "leases.l l1", "servers.n s1", "volumes.d v1"]);

    let server = &state.resources[&at("servers.n")];
    assert_eq!(server.applied["user_data"], Value::text("#!"), "what no service shows is taken from the spec");
    assert_eq!(server.applied["image"], Value::live("image", "i1"), "an unknown lookup is taken from the object");
    assert_eq!(server.applied["lease"].as_id(), Some(&RemoteId::from("l1")), "a reference is bound");
    assert_eq!((server.uid.as_str(), &server.needs), ("aaaabbbbcccc", &vec![at("leases.l")]));
    assert!(state.resources[&at("volumes.d")].protect && !server.protect);
    assert_eq!(state.resources[&at("leases.l")].uid.len(), 12);
    assert!(state.resources.values().all(|record| record.status == Status::Ready));
}

#[test]
fn a_lookup_is_pinned_and_a_reference_to_what_is_missing_is_left_out() {
    let mut bench = bench();
    bench.lookups.push(("image", seen("i1", "u24", Fields::new(), None)));
    bench.live.retain(|(kind, _)| *kind != "lease");
    let recovered = bench.recover().unwrap();
    let server = &recovered.state.resources[&at("servers.n")];
    let image = Reference { id: Some("i1".into()), kind: "image".to_owned(), target: Target::Lookup("u24".to_owned()) };
    assert_eq!(server.applied["image"], Value::Ref(image));
    assert!(!server.applied.contains_key("lease") && server.needs.is_empty());
    assert_eq!(recovered.missing, [at("leases.l")]);
}

#[test]
fn other_peoples_objects_are_left_alone() {
    let mut bench = bench();
    bench.add("server", seen("s2", "node", Fields::new(), stamp("servers.n", "1111111111111111", "bob")));
    bench.add("server", seen("s3", "node", Fields::new(), None));
    bench.add("lease", Seen { user_id: Some("bob".to_owned()), ..seen("l2", "block-l", Fields::new(), None) });
    let mut other = stamp("servers.n", "2222222222222222", "maria").unwrap();
    other.stack = "object".to_owned();
    bench.add("server", seen("s4", "node", Fields::new(), Some(other)));
    bench.add("lease", Seen { status: "TERMINATED".to_owned(), ..seen("l3", "block-l", Fields::new(), None) });
    let state = bench.recover().unwrap().state;
    assert_eq!(state.resources[&at("servers.n")].id.0, "s1");
    assert_eq!(state.resources[&at("leases.l")].id.0, "l1");
}

#[test]
fn several_lineages_are_counted_and_one_is_chosen() {
    let mut bench = bench();
    bench.add("volume", seen("v9", "data", Fields::new(), stamp("volumes.d", "9999999999999999", "maria")));
    let text = bench.recover().unwrap_err().to_string();
    assert!(text.contains("of 2 states: 0123456789abcdef (2 objects), 9999999999999999 (1 object)"), "{text}");
    bench.lineage = Some("9999999999999999");
    let recovered = bench.recover().unwrap();
    assert_eq!(recovered.state.resources[&at("volumes.d")].id.0, "v9");
    assert_eq!(recovered.missing, [at("attachments.d"), at("servers.n")]);
}

#[test]
fn what_cannot_be_told_apart_stops_with_all_of_it_shown() {
    let mut twice = bench();
    twice.add("volume", seen("v2", "data", Fields::new(), stamp("volumes.d", LINEAGE, "maria")));
    let text = twice.recover().unwrap_err().to_string();
    assert!(text.contains("volumes.d") && text.contains("v1") && text.contains("v2"), "{text}");

    let mut leases = bench();
    leases.add("lease", seen("l2", "block-l", Fields::new(), None));
    let text = leases.recover().unwrap_err().to_string();
    assert!(text.contains("leases.l") && text.contains("l1") && text.contains("l2"), "{text}");

    let mut names = bench();
    names.resources.push(wanted("lease", "leases.m", fields([("name", "block-l".into())])));
    let text = names.recover().unwrap_err().to_string();
    assert!(text.contains("leases.l") && text.contains("leases.m") && text.contains("l1"), "{text}");
}

#[test]
fn what_the_spec_no_longer_has_keeps_its_order_and_protection() {
    let mut bench = bench();
    bench.resources.clear();
    let port = fields([("server", Value::live("server", "s1"))]);
    bench.add("attachment", seen("p1", "", port, stamp("servers.n/port[x]", LINEAGE, "maria")));
    let recovered = bench.recover().unwrap();
    assert_eq!(recovered.unwanted, [at("servers.n"), at("servers.n/port[x]"), at("volumes.d")]);
    assert_eq!(recovered.state.resources[&at("servers.n/port[x]")].needs, [at("servers.n")]);
    assert!(recovered.state.resources[&at("volumes.d")].protect);
}

#[test]
fn adopted_objects_are_adopted_again_and_nothing_is_an_error() {
    let mut bench = bench();
    bench.live.truncate(1);
    bench.resources.truncate(1);
    assert_eq!(bench.recover().unwrap().state.lineage, "ffffffffffffffff");
    let mut adopted = wanted("server", "servers.g", fields([("name", "other".into())]));
    adopted.adopt = Some("s7".to_owned());
    bench.resources.push(adopted);
    bench.resources.push(wanted("server", "servers.h", fields([("name", "h".into()), ("shared", true.into())])));
    bench.add("server", Seen { user_id: Some("bob".to_owned()), ..seen("s7", "x", Fields::new(), None) });
    bench.add("server", seen("s8", "h", Fields::new(), stamp("servers.h", "1111111111111111", "bob")));
    let state = bench.recover().unwrap().state;
    assert_eq!(state.resources[&at("servers.g")].origin, Origin::Adopted);
    assert_eq!(
        (&*state.resources[&at("servers.h")].id.0, state.resources[&at("servers.h")].origin),
        ("s8", Origin::Adopted)
    );
    bench.resources.truncate(2);
    bench.live[1].1.stamp = stamp("servers.g", "1111111111111111", "bob");
    assert_eq!(bench.recover().unwrap().missing, [at("servers.g")], "another state's object is not adopted");
    bench.live.clear();
    assert!(matches!(bench.recover(), Err(Error::NothingToRecover { .. })));
}
