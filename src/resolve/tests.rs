//! What specs resolve to: needs, instances, names, values.

use crate::kinds;
use crate::kinds::schema::{RefChange, Until};
use crate::model::{Address, Fields, Value};
use crate::plan::tests::kit::{desired, resolved};
use crate::resolve::Desired;

fn at(address: &str) -> Address {
    address.parse().unwrap()
}

/// What a resource needs, a line each.
fn needs(desired: &Desired, address: &str) -> String {
    let needs = desired.resources[&at(address)].needs.iter();
    needs.map(|need| format!("{} {:?} {:?}", need.address, need.change, need.until)).collect::<Vec<_>>().join("\n")
}

fn text(desired: &Desired, address: &str, field: &str) -> String {
    let value = desired.resources[&at(address)].fields.get(field);
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

const SERVER: &str = "flavor: m1.small, image: CC-Ubuntu22.04";

#[test]
fn needs_are_read_off_the_fields_and_their_parts() {
    let spec = format!(
        "
networks: {{ n: {{ subnets: [10.0.0.0/24] }} }}
routers: {{ r: {{ external: public, networks: [n] }} }}
security_groups: {{ g: {{ rules: [] }} }}
keypairs: {{ k: {{ public_key: ssh-ed25519 AAAA }} }}
servers: {{ s: {{ {SERVER}, keypair: k, networks: [n], security_groups: [g] }} }}
floating_ips: {{ f: {{ network: public, server: s }} }}
"
    );
    let desired = desired(&spec);
    insta::assert_snapshot!(needs(&desired, "servers.s"), @r"
    keypairs.k Order Ready
    servers.s/port[n] Replace Accepted
    ");
    insta::assert_snapshot!(needs(&desired, "servers.s/port[n]"), @r"
    networks.n Replace Ready
    networks.n/subnet[10.0.0.0/24] Order Ready
    security_groups.g Release Accepted
    ");
    insta::assert_snapshot!(needs(&desired, "networks.n/subnet[10.0.0.0/24]"), @"networks.n Replace Ready");
    // No field names the router, but without it the address leads nowhere.
    insta::assert_snapshot!(needs(&desired, "floating_ips.f"), @r"
    routers.r Order Ready
    servers.s Sole Accepted
    ");
}

#[test]
fn of_two_needs_the_stronger_change_and_the_longer_wait_count() {
    let spec = format!(
        "
servers: {{ s: {{ {SERVER}, networks: [sharednet1] }} }}
floating_ips:
  soon: {{ network: public, server: s }}
  late: {{ network: public, server: s, depends_on: [servers.s] }}
"
    );
    let desired = desired(&spec);
    let need = |address: &str| {
        let need = desired.resources[&at(address)].needs[0].clone();
        (need.change, need.until)
    };
    assert_eq!(need("floating_ips.soon"), (RefChange::Sole, Until::Accepted));
    assert_eq!(need("floating_ips.late"), (RefChange::Sole, Until::Ready));
}

#[test]
fn instances_have_names_of_their_own_and_a_set_is_all_of_them() {
    let spec = format!(
        "
security_groups: {{ g: {{ count: 2, rules: [] }} }}
servers:
  s: {{ for_each: {{ a: 10.0.0.1, b: 10.0.0.2 }}, {SERVER}, metadata: {{ at: '${{each.value}}' }}, networks: [sharednet1],
        security_groups: ['g[*]'] }}
  t: {{ {SERVER}, networks: [sharednet1], user_data: 'see ${{servers.s[a].address}}' }}
  none: {{ count: 0, {SERVER}, networks: [sharednet1] }}
outputs: {{ all: '${{servers.s[*].address}}' }}
"
    );
    let desired = desired(&spec);
    assert_eq!(text(&desired, "servers.s[b]", "name"), "t-s-b");
    assert_eq!(text(&desired, "servers.t", "name"), "t-t");
    let metadata = desired.resources[&at("servers.s[b]")].fields["metadata"].as_map().unwrap();
    assert_eq!(metadata["at"], Value::text("10.0.0.2"));
    insta::assert_snapshot!(needs(&desired, "servers.s[a]/port[sharednet1]"), @r"
    security_groups.g[0] Release Accepted
    security_groups.g[1] Release Accepted
    ");
    insta::assert_snapshot!(needs(&desired, "servers.t"), @r"
    servers.s[a] Order Ready
    servers.t/port[sharednet1] Replace Accepted
    ");
    assert!(!desired.resources.keys().any(|address| address.name == "none"));
}

#[test]
fn a_circle_and_a_reference_to_another_site_are_shown_where_they_are() {
    let circle = format!(
        "
servers: {{ s: {{ {SERVER}, networks: [sharednet1], metadata: {{ to: '${{floating_ips.f.address}}' }} }} }}
floating_ips: {{ f: {{ network: public, server: s }} }}
"
    );
    insta::assert_snapshot!(resolved(&circle).unwrap_err(), @r"
    error[reference-cycle]: these need each other in a circle: floating_ips.f → servers.s → floating_ips.f
     --> a.yaml:7:17
      |
    6 | servers: { s: { flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1], metadata: { ...
      |            - part of the circle
    7 | floating_ips: { f: { network: public, server: s } }
      |                 ^
      |
      = help: take one of the references out
    ");
    let apart = format!(
        "
servers: {{ s: {{ {SERVER}, networks: [sharednet1] }} }}
floating_ips: {{ f: {{ site: chi, network: public, server: s }} }}
"
    );
    insta::assert_snapshot!(resolved(&apart).unwrap_err(), @r"
    error[other-site]: floating_ips.f is on site `chi`, but servers.s is on `kvm`
     --> a.yaml:7:58
      |
    6 | servers: { s: { flavor: m1.small, image: CC-Ubuntu22.04, networks: [sharednet1] } }
      |            - declared here
    7 | floating_ips: { f: { site: chi, network: public, server: s } }
      |                                                          ^
      |
      = help: both must be on one site
    ");
}

#[test]
fn a_list_is_no_text() {
    let spec = |field: &str| {
        format!(
            "
servers: {{ s: {{ count: 2, {SERVER}, networks: [sharednet1] }}, t: {{ {SERVER}, networks: [sharednet1], {field} }} }}
"
        )
    };
    for field in [
        "user_data: 'all: ${servers.s[*].id}'",
        "user_data: '${servers.s[*].id}'",
        "metadata: { a: '${servers.s[*].id}' }",
    ] {
        let said = resolved(&spec(field)).expect_err(field);
        assert!(said.starts_with("error[wrong-type]: a list or a map cannot stand within text"), "{said}");
    }
}

#[test]
fn what_cannot_be_read_hides_no_other_mistake() {
    let said = resolved(
        "
buckets:
  food11: { name: Food, versioning: maybe, metadata: { Course: x } }
  other: { name: OTHER, endpoit: x }
credentials:
  ci: { type: application, expires: soon, renew_before: 1d, roles: [] }
",
    )
    .unwrap_err();
    let told: Vec<_> = said.lines().filter(|line| line.starts_with("error")).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    error[bad-value]: `Food` is no bucket's name
    error[wrong-type]: expected `true` or `false`, found `maybe`
    error[bad-value]: `Course` cannot be a key of a bucket's metadata
    error[bad-value]: `OTHER` is no bucket's name
    error[unknown-field]: a bucket has no field `endpoit`
    error[wrong-type]: expected a time such as `2026-12-01T18:00Z`, or a span such as `90d`, found `soon`
    error[bad-value]: a credential without a role opens nothing
    ");
}

#[test]
fn what_is_not_known_is_no_mistake_of_another_field() {
    for kind in kinds::KINDS {
        let told = |mut fields: Fields| {
            let mut mistakes = Vec::new();
            kind.check(&mut fields, &mut mistakes);
            mistakes
        };
        let without = told(Fields::new());
        for field in kind.schema().fields {
            let unknown = Fields::from([(field.name.to_owned(), Value::Unknown(at("buckets.x")))]);
            let mut more = told(unknown);
            more.retain(|mistake| mistake.field != field.name && !without.contains(mistake));
            assert_eq!(more, Vec::new(), "{} {}", kind.schema().kind, field.name);
        }
    }
}
