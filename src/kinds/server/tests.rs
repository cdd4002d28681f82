//! What Nova answered on OpenStack 2025.1, and what follows from it.

use serde_json::json;

use super::*;
use crate::model::{Reference, Target};

fn fields(pairs: &[(&str, Value)]) -> Fields {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn lookup(kind: &str, name: &str, id: &str) -> Value {
    Value::Ref(Reference { kind: kind.into(), target: Target::Lookup(name.into()), id: Some(id.into()) })
}

fn answer(changes: serde_json::Value) -> Seen {
    let mut server = json!({
        "id": "s", "name": "node", "status": "ACTIVE", "user_id": "u", "created": "2026-11-22T13:45:12Z",
        "metadata": { "anole": "anole/1 00 11 s 22 servers.node", "theirs": "x" }, "hostId": "h",
        "image": { "id": "ubuntu" }, "flavor": { "original_name": "reservation:r", "vcpus": 1 },
        "addresses": { "sharednet1": [
            { "version": 4, "addr": "129.114.0.1", "OS-EXT-IPS:type": "floating", "OS-EXT-IPS-MAC:mac_addr": "fa:16" },
            { "version": 4, "addr": "10.56.0.103", "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": "fa:16" },
        ] },
        "OS-EXT-AZ:availability_zone": "nova", "config_drive": "", "key_name": "laptop", "OS-EXT-STS:task_state": null,
        "os-extended-volumes:volumes_attached": [{ "id": "data", "delete_on_termination": false }],
    });
    for (key, value) in changes.as_object().unwrap() {
        server[key] = value.clone();
    }
    seen(serde_json::from_value(server).unwrap())
}

fn applied() -> Fields {
    fields(&[
        ("name", "node".into()),
        ("lease", Value::live("lease", "l")),
        ("image", lookup("image", "CC-Ubuntu24.04", "ubuntu")),
        ("keypair", lookup("keypair", "laptop", "laptop")),
        ("ports", Value::List(vec![Value::live("port", "p")])),
        ("user_data", "#!/bin/sh\n".into()),
    ])
}

fn diff(want: &Fields, applied: &Fields, live: &Seen) -> Vec<(String, Effect)> {
    let sides = Sides { want, applied, live: &live.attrs, now: jiff::Timestamp::UNIX_EPOCH };
    Server.diff(&sides).unwrap().into_iter().map(|change| (change.field, change.effect)).collect()
}

fn mistakes(pairs: &[(&str, Value)]) -> Vec<&'static str> {
    let mut mistakes = Vec::new();
    Server.check(&mut fields(pairs), &mut mistakes);
    mistakes.into_iter().map(|mistake| mistake.field).collect()
}

#[test]
fn what_nova_answers_is_told_in_the_specs_words() {
    let live = answer(json!({}));
    assert_eq!(live.attrs["address"], Value::from("10.56.0.103"));
    assert_eq!(live.attrs["metadata"], Value::Map(fields(&[("theirs", "x".into())])));
    assert_eq!(live.stamp.as_ref().map(|stamp| stamp.address.to_string()).as_deref(), Some("servers.node"));
    assert_eq!((Server.readiness(&live), Server.data_loss(&live)), (Readiness::Ready, None));
    assert_eq!(diff(&applied(), &applied(), &live), []);

    let boot = json!([{ "id": "root", "delete_on_termination": true }]);
    let live = answer(json!({ "image": "", "os-extended-volumes:volumes_attached": boot }));
    assert!(!live.attrs.contains_key("image"));
    assert_eq!(Server.data_loss(&live).as_deref(), Some("the root disk of server `node` (boot volume root)"));
}

#[test]
fn a_fault_a_deletion_and_an_unknown_state_are_told_apart() {
    let failed = answer(json!({ "status": "ERROR", "fault": { "code": 500, "message": "No valid host was found." } }));
    assert_eq!(Server.readiness(&failed), Readiness::Failed("No valid host was found.".to_owned()));
    let going = answer(json!({ "OS-EXT-STS:task_state": "deleting" }));
    assert_eq!(Server.readiness(&going), Readiness::Pending("DELETING".to_owned()));
    assert_eq!(Server.readiness(&answer(json!({ "status": "MARTIAN" }))), Readiness::Ready);
}

#[test]
fn an_image_replaces_a_key_does_not_and_rebuild_is_in_place() {
    let live = answer(json!({}));
    let mut want = applied();
    want.insert("keypair".to_owned(), lookup("keypair", "other", "other"));
    assert_eq!(diff(&want, &applied(), &live), []);
    want.insert("image".to_owned(), lookup("image", "CC-Ubuntu22.04", "older"));
    assert_eq!(diff(&want, &applied(), &live), [("image".to_owned(), Effect::Replace)]);
    want.insert("on_image_change".to_owned(), "rebuild".into());
    assert_eq!(diff(&want, &applied(), &live), [("image".to_owned(), Effect::Update)]);
}

#[test]
fn what_nova_does_not_give_back_replaces_only_where_it_is_known_to_differ() {
    let live = answer(json!({}));
    let mut want = applied();
    want.remove("lease");
    want.insert("flavor".to_owned(), lookup("flavor", "m1.tiny", "tiny"));
    want.insert("user_data".to_owned(), "#!/bin/bash\n".into());
    let replaced = [("user_data".to_owned(), Effect::Replace), ("flavor".to_owned(), Effect::Replace)];
    assert_eq!(diff(&want, &applied(), &live), replaced);
    // A record made again of the spec, as far as it is known, and of what is live.
    let mut remade = live.attrs.clone();
    remade.insert("ports".to_owned(), want["ports"].clone());
    assert_eq!(diff(&want, &remade, &live), []);
    assert_eq!(diff(&want, &live.attrs, &live), []);
    assert_eq!(diff(&applied(), &Fields::new(), &live), []);
}

#[test]
fn a_boot_volume_can_be_kept_in_place_but_nothing_else_of_it_changes() {
    let live = answer(json!({ "image": "" }));
    let with = |size: i64, gone: bool| {
        let boot = fields(&[("size", size.into()), ("delete_on_termination", gone.into())]);
        let mut fields = applied();
        fields.insert("boot_volume".to_owned(), Value::Map(boot));
        fields
    };
    assert_eq!(diff(&with(60, false), &with(60, true), &live), [("boot_volume".to_owned(), Effect::Update)]);
    assert_eq!(diff(&with(80, true), &with(60, true), &live), [("boot_volume".to_owned(), Effect::Replace)]);
    let (want, applied) = (with(60, true), with(60, false));
    let sides = Sides { want: &want, applied: &applied, live: &live.attrs, now: jiff::Timestamp::UNIX_EPOCH };
    assert_eq!(Server.diff(&sides).unwrap_err().field, "boot_volume");
}

#[test]
fn each_network_gets_a_port_that_takes_the_groups() {
    let private = Target::Resource(Address::new("networks", "private"));
    let private = Value::Ref(Reference { kind: "network".into(), target: private, id: None });
    let on = |network: &Value, ip: Option<&str>| {
        let mut entry = fields(&[("network", network.clone())]);
        entry.extend(ip.map(|ip| ("fixed_ip".to_owned(), Value::from(ip))));
        Value::Map(entry)
    };
    let shared = lookup("network", "sharednet1", "n");
    let groups = Value::List(vec![lookup("security_group", "allow-ssh", "g")]);
    let mut server = fields(&[
        ("name", "node".into()),
        ("networks", Value::List(vec![on(&private, Some("192.168.1.11")), on(&shared, None), on(&shared, None)])),
        ("security_groups", groups.clone()),
    ]);
    let parts = Server.derive(&Address::new("servers", "node"), &mut server);
    let names: Vec<_> = parts.iter().map(|part| part.part.as_str()).collect();
    assert_eq!(names, ["port[private]", "port[sharednet1]", "port[sharednet1]#2"]);
    assert_eq!(parts[0].fields["fixed_ip"], Value::from("192.168.1.11"));
    assert_eq!(parts[2].fields["name"], Value::from("node-sharednet1-2"));
    assert!(parts.iter().all(|part| part.before_owner && part.fields["security_groups"] == groups));
    assert_eq!(server.keys().collect::<Vec<_>>(), ["name", "ports"]);
    let mut named = Vec::new();
    server["ports"].visit_refs(&mut |reference| named.push(reference.target.clone()));
    let third: Address = "servers.node/port[sharednet1]#2".parse().unwrap();
    assert_eq!((named.len(), &named[2]), (3, &Target::Resource(third)));
}

#[test]
fn a_named_reservation_is_a_reference_to_its_id() {
    let lease = Target::Resource(Address::new("leases", "block"));
    let lease = Value::Ref(Reference { kind: "lease".into(), target: lease, id: None });
    let mut server = fields(&[("lease", lease), ("reservation", "node".into()), ("image", lookup("image", "i", "i"))]);
    let mut mistakes = Vec::new();
    Server.check(&mut server, &mut mistakes);
    assert_eq!(mistakes, []);
    let Value::Template(template) = &server["reservation_id"] else { panic!("{server:?}") };
    assert_eq!(template.to_string(), "${leases.block.reservations.node.id}");
}

#[test]
fn impossible_servers_are_mistakes() {
    let (image, lease) = (("image", lookup("image", "i", "i")), ("lease", Value::live("lease", "l")));
    let none: [&str; 0] = [];
    assert_eq!(mistakes(&[image.clone(), lease.clone()]), none);
    assert_eq!(
        mistakes(&[("networks", Value::List(vec![])), ("reservation", "a".into())]),
        ["flavor", "networks", "image", "reservation"]
    );
    let (tiny, metal) = (lookup("flavor", "m1.tiny", "t"), lookup("flavor", "baremetal", "b"));
    assert_eq!(mistakes(&[image.clone(), lease.clone(), ("flavor", tiny)]), ["flavor"]);
    assert_eq!(mistakes(&[image.clone(), lease.clone(), ("flavor", metal)]), none);
    let boot = |pairs: &[(&str, Value)]| ("boot_volume", Value::Map(fields(pairs)));
    assert_eq!(mistakes(&[lease.clone(), boot(&[("size", 60.into())])]), ["image"]);
    let kept = boot(&[("volume", Value::live("volume", "v")), ("delete_on_termination", true.into())]);
    assert_eq!(mistakes(&[lease.clone(), image.clone(), kept]), ["image", "boot_volume"]);
    let rebuilt = ("on_image_change", "rebuild".into());
    assert_eq!(mistakes(&[lease, image, rebuilt, boot(&[("size", 60.into())])]), ["on_image_change"]);
}
