//! Leases that end, and leases that are refused.

use serde_json::Value as Json;

use super::client::text;
use super::cloud::TestCloud;

/// A lease of so many minutes, a server on it, and a volume at the server.
fn leased(minutes: u32) -> String {
    format!(
        "leases: {{ lab: {{ duration: {minutes}m, reservations: {{ node: {{ flavor: m1.tiny }} }} }} }}
servers: {{ node: {{ lease: lab, image: CC-Ubuntu24.04, networks: [sharednet1] }} }}
floating_ips: {{ node: {{ network: public, server: node }} }}
volumes: {{ data: {{ size: 1, protect: false }} }}
attachments: {{ data: {{ volume: data, server: node }} }}
"
    )
}

#[test]
fn a_lease_that_ends_takes_its_server_and_nothing_else() {
    let cloud = TestCloud::with(&leased(2));
    cloud.env.apply("spec.yaml").says("5 created");
    let (lease, volume, address) = (cloud.id("leases.lab"), cloud.id("volumes.data"), cloud.id("floating_ips.node"));
    cloud.let_pass(120);
    cloud.eventually("the end of the lease", || cloud.all("server").is_empty());
    let plan =
        cloud.env.anole("plan spec.yaml --detailed-exitcode").exits(2).says("leases.lab  create: lease ended 20");
    plan.says("servers.node  create: lease `lab` ended 20").says("Untouched: volumes.data");
    cloud.write_spec(&leased(240));
    cloud.env.apply("spec.yaml");
    cloud.env.has_no_changes("spec.yaml");
    assert_ne!(cloud.id("leases.lab"), lease);
    let (held, kept) = (cloud.only("volume"), cloud.only("floating_ip"));
    assert_eq!((&held["id"], &kept["id"]), (&Json::from(volume), &Json::from(address)));
    assert_eq!(held["attachments"][0]["server_id"], cloud.only("server")["id"]);
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(cloud.all("server").len() + cloud.all("volume").len() + cloud.all("floating_ip").len(), 0);
}

#[test]
fn a_lease_for_which_there_is_no_room_is_refused_in_the_sites_words() {
    let spec = leased(60).replace("flavor: m1.tiny", "flavor: m1.tiny, amount: 4000");
    let cloud = TestCloud::with(&spec);
    let ran = cloud.env.anole("apply spec.yaml --yes").exits(1).says("leases.lab").says("Not enough");
    let ran = ran.says("the site has no room for it at that time").says("servers.node: leases.lab failed");
    ran.says("Apply incomplete: 1 created").says("run `anole apply` again");
    assert_eq!(cloud.census(), "port 1, volume 1");
}

#[test]
fn a_lease_that_is_too_long_is_refused_in_the_sites_words() {
    let cloud = TestCloud::with("leases: { lab: { duration: 300d, reservations: { node: { flavor: m1.tiny } } } }");
    let ran = cloud.env.anole("apply spec.yaml --yes").exits(1).says("leases.lab").says("duration");
    ran.says("make `duration` shorter, and extend it later");
    assert_eq!(cloud.census(), "");
}

#[test]
fn a_lease_is_extended_and_never_cut_short() {
    // Of floating IPs: upstream, a lease of a flavor ends when it was made to.
    let spec = "leases: { lab: { duration: 2h, reservations: { ip: { floating_ips: { network: public } } } } }";
    let cloud = TestCloud::with(spec);
    cloud.converge();
    let (id, end) = (cloud.id("leases.lab"), text(&cloud.only("lease")["end_date"]));
    cloud.env.anole("lease extend lab 5h -f spec.yaml").exits(0);
    let later = text(&cloud.only("lease")["end_date"]);
    assert!(later > end, "{later} is after {end}");
    cloud.env.has_no_changes("spec.yaml");
    cloud.write_spec(&spec.replace("2h", "9h"));
    cloud.converge().says("1 changed");
    assert!(text(&cloud.only("lease")["end_date"]) > later);
    assert_eq!(text(&cloud.only("lease")["id"]), id);
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(cloud.census(), "");
}
