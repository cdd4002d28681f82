//! What is found again, and what is refused because it cannot be told apart.

use super::*;
use crate::diagnostic::{FileId, Span};
use crate::kinds::schema::{Field, RefChange, RefType, Type, Until, field};
use crate::model::{Reference, Stamp};
use crate::resolve::Need;

const LINEAGE: &str = "0123456789abcdef";

const fn schema(kind: &'static str, fields: &'static [Field], name: NameRule) -> Schema {
    Schema { kind, section: "", doc: "", fields, attributes: &[], protect: false, lookup: false, name }
}

const LEASE: Schema = schema("lease", &[field("name", Type::Text, "")], NameRule::Default);
const SERVER: Schema = schema(
    "server",
    &[
        field("name", Type::Text, ""),
        field("image", Type::Ref(RefType::new("image", RefChange::Replace).or_lookup()), ""),
        field("user_data", Type::Text, "").replace(),
    ],
    NameRule::Default,
);
const VOLUME: Schema =
    Schema { protect: true, ..schema("volume", &[field("size", Type::Size, "")], NameRule::Default) };
const ATTACHMENT: Schema = schema(
    "attachment",
    &[
        field("server", Type::Ref(RefType::new("server", RefChange::Replace)), ""),
        field("volume", Type::Ref(RefType::new("volume", RefChange::Replace)), ""),
    ],
    NameRule::None,
);

/// What a test changes: the spec's resources and the live objects.
struct Bench {
    resources: Vec<Resource>,
    live: Vec<(&'static Schema, Seen, Readiness)>,
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
    }
}

fn stamp(address: &str, lineage: &str, owner: &str) -> Option<Stamp> {
    Some(Stamp {
        lineage: lineage.to_owned(),
        owner: owner_of(owner),
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
            (&LEASE, seen("l1", "block-l", Fields::new(), None), Readiness::Ready),
            (
                &SERVER,
                seen("s1", "node", fields([("image", image)]), stamp("servers.n", LINEAGE, "maria")),
                Readiness::Ready,
            ),
            (
                &VOLUME,
                seen("v1", "data", fields([("size", 2_i64.into())]), stamp("volumes.d", LINEAGE, "maria")),
                Readiness::Ready,
            ),
            (&ATTACHMENT, seen("s1/v1", "", joined, None), Readiness::Ready),
        ],
        lineage: None,
    }
}

impl Bench {
    fn recover(&self) -> Result<Recovered, Error> {
        let site = SiteAlias::from("kvm");
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
        let live: Vec<_> = self
            .live
            .iter()
            .map(|(schema, seen, readiness)| Live { schema, site: &site, seen, readiness: readiness.clone() })
            .collect();
        recover(&Sources {
            desired: &desired,
            sites: &BTreeMap::from([(site.clone(), identity)]),
            live: &live,
            unstamped: &BTreeSet::from(["lease", "attachment"]),
            lineage: self.lineage,
            fresh_lineage: "ffffffffffffffff",
        })
    }

    fn add(&mut self, schema: &'static Schema, seen: Seen) {
        self.live.push((schema, seen, Readiness::Ready));
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
    assert_eq!(server.applied["image"], Value::live("image", "i1"), "a lookup is taken from the object");
    assert_eq!(server.applied["lease"].as_id(), Some(&RemoteId::from("l1")), "a reference is bound");
    assert_eq!((server.uid.as_str(), &server.needs), ("aaaabbbbcccc", &vec![at("leases.l")]));
    assert!(state.resources[&at("volumes.d")].protect && !server.protect);
    assert_eq!(state.resources[&at("leases.l")].uid.len(), 12);
    assert!(state.resources.values().all(|record| record.status == Status::Ready));
}

#[test]
fn other_peoples_objects_are_left_alone() {
    let mut bench = bench();
    bench.add(&SERVER, seen("s2", "node", Fields::new(), stamp("servers.n", "1111111111111111", "bob")));
    bench.add(&SERVER, seen("s3", "node", Fields::new(), None));
    bench.add(&LEASE, Seen { user_id: Some("bob".to_owned()), ..seen("l2", "block-l", Fields::new(), None) });
    let mut other = stamp("servers.n", "2222222222222222", "maria").unwrap();
    other.stack = "object".to_owned();
    bench.add(&SERVER, seen("s4", "node", Fields::new(), Some(other)));
    bench.live.push((&LEASE, seen("l3", "block-l", Fields::new(), None), Readiness::Ended("ended".to_owned())));
    let state = bench.recover().unwrap().state;
    assert_eq!(state.resources[&at("servers.n")].id.0, "s1");
    assert_eq!(state.resources[&at("leases.l")].id.0, "l1");
}

#[test]
fn several_lineages_are_counted_and_one_is_chosen() {
    let mut bench = bench();
    bench.add(&VOLUME, seen("v9", "data", Fields::new(), stamp("volumes.d", "9999999999999999", "maria")));
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
    twice.add(&VOLUME, seen("v2", "data", Fields::new(), stamp("volumes.d", LINEAGE, "maria")));
    let text = twice.recover().unwrap_err().to_string();
    assert!(text.contains("volumes.d") && text.contains("v1") && text.contains("v2"), "{text}");

    let mut leases = bench();
    leases.add(&LEASE, seen("l2", "block-l", Fields::new(), None));
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
    bench.add(&ATTACHMENT, seen("p1", "", port, stamp("servers.n/port[x]", LINEAGE, "maria")));
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
    let mut group = wanted("server", "servers.g", fields([("name", "other".into())]));
    group.adopt = Some("s7".to_owned());
    bench.resources.push(group);
    bench.add(&SERVER, Seen { user_id: Some("bob".to_owned()), ..seen("s7", "x", Fields::new(), None) });
    assert_eq!(bench.recover().unwrap().state.resources[&at("servers.g")].origin, Origin::Adopted);
    bench.live.clear();
    assert!(matches!(bench.recover(), Err(Error::NothingToRecover { .. })));
}
