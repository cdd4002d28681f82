//! What floating IPs compare, and what a block of theirs may say.

use super::*;
use crate::kinds::kind::Effect;

fn sides<'a>(want: &'a Fields, applied: &'a Fields, live: &'a Fields) -> Sides<'a> {
    Sides { want, applied, live, now: jiff::Timestamp::UNIX_EPOCH }
}

fn address(port_id: Option<&str>, details: Option<PortDetails>) -> Live {
    Live {
        id: "f".to_owned(),
        floating_ip_address: "129.114.25.72".to_owned(),
        floating_network_id: "public".to_owned(),
        description: None,
        status: "DOWN".to_owned(),
        port_id: port_id.map(str::to_owned),
        port_details: details,
        router_id: None,
        created_at: None,
    }
}

fn bound_to(device_id: &str, device_owner: &str) -> Fields {
    let details = PortDetails { device_id: device_id.to_owned(), device_owner: device_owner.to_owned() };
    seen(&address(Some("p"), Some(details))).attrs
}

#[test]
fn an_unbound_address_differs_from_one_that_is_wanted_bound() {
    let want = fields([("server", Value::live("server", "s"))]);
    let unbound = seen(&address(None, None)).attrs;
    let changes = FloatingIp.diff(&sides(&want, &want, &unbound)).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].field.as_str(), changes[0].effect), ("server", Effect::Update));

    assert_eq!(FloatingIp.diff(&sides(&want, &want, &bound_to("s", "compute:nova"))).unwrap(), []);
    // Bound to a router, it is bound to no server.
    assert_eq!(FloatingIp.diff(&sides(&want, &want, &bound_to("s", "network:ha"))).unwrap().len(), 1);
}

#[test]
fn a_binding_is_undone_only_if_the_spec_made_it() {
    let (none, server) = (Fields::new(), fields([("server", Value::live("server", "s"))]));
    let live = bound_to("s", "compute:nova");
    assert_eq!(FloatingIp.diff(&sides(&none, &none, &live)).unwrap(), []);
    let changes = FloatingIp.diff(&sides(&none, &server, &live)).unwrap();
    assert_eq!((changes[0].field.as_str(), &changes[0].after), ("server", &Value::Null));
    assert_eq!(FloatingIp.diff(&sides(&none, &server, &seen(&address(None, None)).attrs)).unwrap(), []);
}

#[test]
fn an_address_comes_from_a_lease_or_not_and_cannot_change_that() {
    let lookup = |name: &str| {
        let target = Target::Lookup(name.to_owned());
        Value::Ref(crate::model::Reference { kind: "network".to_owned(), target, id: Some("public".into()) })
    };
    let free = fields([("network", lookup("public"))]);
    let leased = fields([("network", lookup("public")), ("lease", Value::live("lease", "l"))]);
    let live = seen(&address(None, None)).attrs;
    for (want, applied) in [(&leased, &free), (&free, &leased)] {
        let changes = FloatingIp.diff(&sides(want, applied, &live)).unwrap();
        let changes: Vec<_> = changes.iter().map(|change| (change.field.as_str(), change.effect)).collect();
        assert_eq!(changes, [("lease", Effect::Replace)]);
    }
    assert_eq!(FloatingIp.diff(&sides(&leased, &leased, &live)).unwrap(), []);
    assert_eq!(FloatingIp.diff(&sides(&leased, &live, &live)).unwrap(), [], "what was imported does not tell");
}

#[test]
fn an_address_needs_a_source_and_claims_by_it() {
    let mut mistakes = Vec::new();
    let mut nothing = fields([("via", Value::text("private"))]);
    FloatingIp.check(&mut nothing, &mut mistakes);
    let about: Vec<_> = mistakes.iter().map(|mistake| mistake.field).collect();
    assert_eq!(about, ["network", "via"]);

    let mut given = fields([("address", Value::text("129.114.25.72"))]);
    mistakes.clear();
    FloatingIp.check(&mut given, &mut mistakes);
    assert_eq!(mistakes, []);
    assert!(!FloatingIp.claim(&given).unwrap().or_create);
    assert_eq!(FloatingIp.claim(&nothing), None);
}
