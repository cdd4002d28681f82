//! Properties of folding, writing and reading, and what the other tests of this module share.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::model::{InstanceKey, Reference, Target, Value};

/// A ready record whose id is given.
pub(super) fn record(kind: &str, id: &str) -> ResourceState {
    ResourceState {
        kind: kind.to_owned(),
        site: SiteAlias::from("kvm"),
        id: RemoteId::from(id),
        origin: Origin::Created,
        protect: false,
        uid: "0123456789ab".to_owned(),
        status: Status::Ready,
        applied: Fields::new(),
        attributes: Fields::new(),
        needs: Vec::new(),
    }
}

/// The intent to make a server.
pub(super) fn create_intent(address: Address) -> Intent {
    Intent {
        address,
        operation: Operation::Create,
        resource: Box::new(record("server", "")),
        name: "node".to_owned(),
        seen_before: Vec::new(),
        at: Timestamp::UNIX_EPOCH,
    }
}

/// The first line of a journal.
pub(super) fn begin(serial: u64) -> Entry {
    Entry::Begin {
        lineage: "0123456789abcdef".to_owned(),
        stack: "block".to_owned(),
        serial,
        at: Timestamp::UNIX_EPOCH,
        sites: BTreeMap::new(),
        variables: BTreeMap::from([("net_id".to_owned(), Json::from("ab123"))]),
    }
}

fn address() -> impl Strategy<Value = Address> {
    let instance = prop_oneof![
        Just(None),
        (0..3_u32).prop_map(|index| Some(InstanceKey::Index(index))),
        "[a-z é./]{1,4}".prop_map(|key| Some(InstanceKey::Key(key))),
    ];
    ("(servers|volumes)", "[ab]", instance, proptest::option::of("port\\[[xy]\\]"))
        .prop_map(|(section, name, instance, part)| Address { section, name, instance, part })
}

fn value() -> impl Strategy<Value = Value> {
    let target =
        prop_oneof![address().prop_map(Target::Resource), ".{0,4}".prop_map(Target::Lookup), Just(Target::Live)];
    let reference = ("[a-z]{1,4}", target, proptest::option::of("[a-f0-9]{4}"));
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        ".{0,8}".prop_map(Value::String),
        address().prop_map(Value::Unknown),
        reference.prop_map(|(kind, target, id)| Value::Ref(Reference { kind, target, id: id.map(RemoteId) })),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::List),
            proptest::collection::btree_map("([a-z]{1,3}|\\$anole|value)", inner, 0..3).prop_map(Value::Map),
        ]
    })
}

fn resource() -> impl Strategy<Value = ResourceState> {
    let fields = || proptest::collection::btree_map("[a-z]{1,3}", value(), 0..3);
    let status = prop_oneof![Just(Status::Accepted), Just(Status::Ready), ".{0,5}".prop_map(Status::Failed)];
    (fields(), fields(), status, proptest::collection::vec(address(), 0..3)).prop_map(
        |(applied, attributes, status, needs)| ResourceState {
            status,
            applied,
            attributes,
            needs,
            ..record("server", "9a")
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let operation = prop_oneof![Just(Operation::Create), Just(Operation::Update), Just(Operation::Delete)];
    let intent = (address(), operation, resource()).prop_map(|(address, operation, resource)| {
        Entry::Intent(Intent { operation, resource: Box::new(resource), ..create_intent(address) })
    });
    prop_oneof![
        1 => Just(begin(4)),
        3 => intent,
        2 => (address(), "[a-f0-9]{4}").prop_map(|(address, id)| Entry::Accepted { address, id: RemoteId(id) }),
        2 => (address(), resource()).prop_map(|(address, resource)| Entry::Put { address, resource: Box::new(resource) }),
        1 => address().prop_map(|address| Entry::Remove { address }),
        1 => address().prop_map(|address| Entry::Refused { address }),
        1 => (address(), address()).prop_map(|(from, to)| Entry::Rename { from, to }),
        1 => proptest::collection::btree_map("[a-z]{1,3}", ".{0,4}".prop_map(Json::from), 0..3)
            .prop_map(|outputs| Entry::Outputs { outputs }),
    ]
}

fn empty() -> Loaded {
    let mut loaded = Loaded::new(State::new("block", "0123456789abcdef".to_owned()));
    loaded.state.serial = 4;
    loaded
}

fn folded(start: Loaded, entries: &[Entry]) -> Loaded {
    entries.iter().fold(start, |mut loaded, entry| {
        loaded.fold(entry.clone());
        loaded
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A snapshot at any point of a history and a journal of the rest are the same as the whole history.
    #[test]
    fn a_snapshot_and_its_journal_are_the_history(
        history in proptest::collection::vec(entry(), 0..24),
        at in any::<prop::sample::Index>(),
    ) {
        let cut = at.index(history.len() + 1);
        let snapshot = folded(empty(), &history[..cut]);
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::new(folder.path().join("block.json"), "block");
        std::fs::write(folder.path().join("block.json"), format::write(&snapshot).unwrap()).unwrap();
        let mut writer = store.lock(&Holder::current("test"), std::time::Duration::ZERO).unwrap();
        writer.begin(&begin(4)).unwrap();
        writer.append(&history[cut..]).unwrap();
        drop(writer);
        let expected = folded(folded(snapshot, &[begin(4)]), &history[cut..]);
        prop_assert_eq!(store.load().unwrap(), Some(expected));
    }

    /// However a journal is cut off, it reads as a prefix of its entries, and that folds.
    #[test]
    fn a_cut_journal_reads_as_a_prefix(
        history in proptest::collection::vec(entry(), 0..8),
        at in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = journal::Journal::begin(&path, &begin(4)).unwrap();
        journal.append(&history).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let cut = &bytes[..at.index(bytes.len() + 1)];
        let all: Vec<_> = std::iter::once(begin(4)).chain(history).collect();
        match journal::parse(cut, &path).unwrap() {
            None => prop_assert!(!cut.contains(&b'\n')),
            Some(contents) => {
                prop_assert!(all.starts_with(&contents.entries));
                let whole = cut.iter().filter(|byte| **byte == b'\n').count();
                prop_assert!(contents.entries.len() == whole || contents.entries.len() == whole + 1);
                prop_assert_eq!(contents.clone().fold_into(empty()), folded(empty(), &contents.entries));
            }
        }
    }
}
