//! What Blazar answered on OpenStack 2025.1, and what follows from it.

use super::*;
use crate::model::{Reference, Target};

const TINY: &str = "9766555c-6495-4963-b928-048fd1361029";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn answer(status: &str) -> Seen {
    let lease = json!({
        "id": "l", "name": "block", "user_id": "u", "status": status,
        "start_date": "2026-11-22T13:38:00.000000", "end_date": "2026-11-22T17:38:00.000000",
        "created_at": "2026-11-22 13:38:38", "trust_id": "t",
        "reservations": [
            { "id": "r-ip", "resource_type": "virtual:floatingip", "status": "active", "network_id": "public-id",
              "created_at": "2026-11-22 13:38:40", "amount": 1 },
            { "id": "r-tiny", "resource_type": "flavor:instance", "status": "active", "amount": 2, "affinity": null,
              "created_at": "2026-11-22 13:38:38", "flavor_id": "r-tiny",
              "resource_properties": format!("{{\"id\": \"{TINY}\", \"name\": \"m1.tiny\"}}") },
            { "id": "r-small", "resource_type": "flavor:instance", "status": "active", "amount": "1",
              "created_at": "2026-11-22 13:38:38", "flavor_id": "r-small", "resource_properties": "{\"id\": \"small-id\"}" },
        ],
    });
    seen(serde_json::from_value(lease).unwrap())
}

fn lookup(kind: &str, name: &str, id: &str) -> Value {
    Value::Ref(Reference { kind: kind.into(), target: Target::Lookup(name.into()), id: Some(id.into()) })
}

fn reservation(pairs: &[(&str, Value)]) -> Value {
    Value::Map(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn three() -> Value {
    let ips = reservation(&[("network", lookup("network", "public", "public-id")), ("amount", 1.into())]);
    Value::List(vec![
        reservation(&[
            ("name", "head".into()),
            ("flavor", lookup("flavor", "m1.small", "small-id")),
            ("amount", 1.into()),
        ]),
        reservation(&[("name", "node".into()), ("flavor", lookup("flavor", "m1.tiny", TINY)), ("amount", 2.into())]),
        reservation(&[("floating_ips", ips)]),
    ])
}

fn lasting(duration: i64) -> Fields {
    Fields::from([("duration".to_owned(), Value::Int(duration)), ("reservations".to_owned(), three())])
}

fn changes(want: &Fields, applied: &Fields, live: &Fields) -> Vec<(String, Effect)> {
    let diff = Lease.diff(&Sides { want, applied, live, now: at("2026-11-22T15:00:00Z") }).unwrap();
    diff.into_iter().map(|change| (change.field, change.effect)).collect()
}

#[test]
fn names_are_matched_by_type_and_what_is_reserved() {
    let mut live = answer("ACTIVE").attrs;
    Lease.complete(&lasting(14_400), &mut live);
    let once = live.clone();
    Lease.complete(&lasting(14_400), &mut live);
    assert_eq!(live, once);
    let id = |name: &str| live["reservations"].as_map().unwrap()[name].as_map().unwrap()["id"].clone();
    assert_eq!((id("head"), id("node"), id("2")), ("r-small".into(), "r-tiny".into(), "r-ip".into()));
}

#[test]
fn a_lease_is_extended_and_cut_only_if_the_text_says_so() {
    let live = answer("ACTIVE").attrs;
    let four = lasting(4 * 3600);
    assert_eq!(changes(&four, &four, &live), []);
    assert_eq!(changes(&lasting(6 * 3600), &four, &live), [("duration".to_owned(), Effect::Update)]);
    // Extended outside to four hours: three, as ever, is no reason to cut it; three now and four before is.
    let three = lasting(3 * 3600);
    assert_eq!(changes(&three, &three, &live), []);
    assert_eq!(changes(&three, &four, &live), [("duration".to_owned(), Effect::Update)]);
    // Somebody cut it short: six hours were asked for and still are.
    assert_eq!(changes(&lasting(6 * 3600), &lasting(6 * 3600), &live), [("duration".to_owned(), Effect::Update)]);
    // The end was reckoned in the minute before the start.
    assert_eq!(changes(&lasting(4 * 3600 + 60), &lasting(4 * 3600 + 60), &live), []);
    // Rebuilt from what is live, nothing is known of what was applied.
    assert_eq!(changes(&four, &Fields::new(), &live), []);
}

#[test]
fn only_other_reservations_replace_a_lease() {
    let live = answer("ACTIVE").attrs;
    let four = lasting(4 * 3600);
    let with = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut want = four.clone();
        if let Some(Value::List(list)) = want.get_mut("reservations") {
            change(list);
        }
        want
    };
    let replaced = [("reservations".to_owned(), Effect::Replace)];
    for known in [&four, &Fields::new()] {
        assert_eq!(changes(&with(&|list| list.reverse()), known, &live), []);
        assert_eq!(changes(&with(&|list| list.truncate(2)), known, &live), replaced);
        let more =
            with(&|list| list[1] = reservation(&[("flavor", lookup("flavor", "m1.tiny", TINY)), ("amount", 3.into())]));
        assert_eq!(changes(&more, known, &live), replaced);
    }
}

#[test]
fn a_refused_extension_leaves_error_and_a_lease_that_still_works() {
    let mut lease = answer("ERROR");
    assert_eq!(Lease.readiness(&lease), Readiness::Ready);
    lease.attrs.remove("reservations");
    assert!(matches!(Lease.readiness(&lease), Readiness::Failed(_)));
    assert_eq!(Lease.readiness(&answer("TERMINATED")), Readiness::Ended("lease ended 2026-11-22T17:38Z".to_owned()));
}

#[test]
fn a_lease_that_starts_later_is_scheduled() {
    let mut lease = answer("PENDING");
    assert_eq!(Lease.readiness(&lease), Readiness::Pending("PENDING".to_owned()));
    lease.attrs.insert("start".to_owned(), "2026-11-23T10:00:00Z".into());
    assert_eq!(Lease.readiness(&lease), Readiness::Scheduled(at("2026-11-23T10:00:00Z")));
}

#[test]
fn properties_become_blazars_expressions() {
    let properties = |pairs: &[(&str, &str)]| {
        reservations::expression(&pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect())
    };
    assert_eq!(properties(&[("node_type", "compute_skylake")]), r#"["=", "$node_type", "compute_skylake"]"#);
    assert_eq!(properties(&[("$a", "1"), ("b", "x\"y")]), r#"["and", ["=", "$a", "1"], ["=", "$b", "x\"y"]]"#);
    assert_eq!(properties(&[]), "");
}

#[test]
fn impossible_leases_are_mistakes() {
    let mistakes = |fields: &Fields| {
        let mut mistakes = Vec::new();
        Lease.check(&mut fields.clone(), &mut mistakes);
        mistakes.into_iter().map(|mistake| mistake.field).collect::<Vec<_>>()
    };
    assert_eq!(mistakes(&lasting(14_400)), Vec::<&str>::new());
    let mut both = lasting(90);
    both.insert("end".to_owned(), "2026-12-01T18:00:30Z".into());
    assert_eq!(mistakes(&both), ["end", "duration"]);
    let hosts = reservation(&[("min", 3.into()), ("max", 2.into())]);
    let two_sorts = reservation(&[("flavor", lookup("flavor", "a", "b")), ("hosts", hosts)]);
    let fields = Fields::from([
        ("duration".to_owned(), Value::Int(3600)),
        ("reservations".to_owned(), Value::List(vec![two_sorts, reservation(&[("amount", 2.into())])])),
    ]);
    assert_eq!(mistakes(&fields).len(), 4);
    let mut end =
        Fields::from([("end".to_owned(), "2026-12-01T18:00:30Z".into()), ("reservations".to_owned(), three())]);
    Lease.check(&mut end, &mut Vec::new());
    assert_eq!(end["end"], Value::from("2026-12-01T18:00:00Z"));
}
