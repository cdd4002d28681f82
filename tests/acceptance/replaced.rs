//! What cannot change in place is made anew, with what needs it; volumes and floating IPs stay what they were.

use serde_json::{Value as Json, json};

use super::client::{has, text};
use super::cloud::TestCloud;
use super::made::interfaces;
use crate::environment::Ran;

impl TestCloud {
    /// Applies other blocks: the first resources must be new objects, the second the same as before.
    #[track_caller]
    fn replaces<const M: usize, const N: usize>(&self, new: [&str; M], same: [&str; N], blocks: &str) -> Ran {
        let before = (self.ids(new), self.ids(same));
        self.write_spec(blocks);
        let ran = self.converge();
        self.were_replaced((new, same), &before);
        ran
    }

    #[track_caller]
    fn were_replaced<const M: usize, const N: usize>(
        &self,
        (new, same): ([&str; M], [&str; N]),
        (old, kept): &([String; M], [String; N]),
    ) {
        assert_eq!(self.ids(same), *kept);
        for (id, old) in self.ids(new).iter().zip(old) {
            assert_ne!(id, old, "{new:?}");
        }
    }
}

const OUTSIDE: &str = "floating_ips: { node: { network: public, server: node } }
volumes: { data: { size: 1 } }
attachments: { data: { volume: data, server: node } }
";

#[test]
fn servers_whose_makings_change() {
    let changes = [
        ("flavor: m1.tiny", "flavor: m1.small"),
        ("networks: [sharednet1]", "networks: [inner, sharednet1]"),
        ("networks: [{ network: inner, fixed_ip: 10.8.0.8 }]", "networks: [{ network: inner, fixed_ip: 10.8.0.9 }]"),
        ("user_data: \"#!/bin/sh\"", "user_data: \"#!/bin/bash\""),
        ("config_drive: false", "config_drive: true"),
        ("boot_volume: { size: 1 }", "boot_volume: { size: 2 }"),
        ("scheduler_hints: { note: a }", "scheduler_hints: { note: b }"),
        ("name: plain", "name: plain, user_data: \"#!/bin/sh\""),
    ];
    let spec = |changed: bool| {
        let server = |(number, (old, new)): (usize, &(&str, &str))| {
            let own = if changed { new } else { old };
            let absent = |field: &str, rest: &str| if own.contains(field) { String::new() } else { rest.to_owned() };
            let rest = absent("flavor", ", flavor: m1.tiny") + &absent("networks", ", networks: [sharednet1]");
            format!("  s{number}: {{ image: CC-Ubuntu24.04, {own}{rest} }}\n")
        };
        let servers: String = changes.iter().enumerate().map(server).collect();
        format!("networks: {{ inner: {{ subnets: [{{ cidr: 10.8.0.0/24, gateway: none }}] }} }}\nservers:\n{servers}")
    };
    let cloud = TestCloud::with(&spec(false));
    cloud.converge();
    let all = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"].map(|name| format!("servers.{name}"));
    cloud.replaces(all.each_ref().map(String::as_str), ["networks.inner"], &spec(true));
    let server = |number: usize| cloud.object("server", &format!("servers.s{number}"));
    assert_eq!(server(0)["flavor"]["original_name"], "m1.small");
    assert_eq!(server(1)["addresses"].as_object().map(serde_json::Map::len), Some(2));
    let fixed = &cloud.object("port", "servers.s2/port[inner]")["fixed_ips"][0]["ip_address"];
    assert_eq!(fixed, "10.8.0.9");
    has(&server(4), &json!({"config_drive": "True"}));
    assert_eq!(cloud.only("volume")["size"], 2);
    assert_eq!((cloud.all("server").len(), cloud.all("port").len()), (8, 9));
}

#[test]
fn a_server_of_another_image_with_its_volume_and_address() {
    let server = "servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }\n";
    let cloud = TestCloud::with(&format!("{server}{OUTSIDE}"));
    cloud.converge();
    let address = cloud.only("floating_ip")["floating_ip_address"].clone();
    let new = ["servers.node", "servers.node/port[sharednet1]", "attachments.data"];
    cloud.replaces(new, ["volumes.data", "floating_ips.node"], &format!("{server}{OUTSIDE}").replace("24.04", "22.04"));
    assert_eq!(cloud.only("server")["image"]["id"], cloud.site_id("image", "CC-Ubuntu22.04"));
    assert_eq!(cloud.only("floating_ip")["floating_ip_address"], address);
    cloud.serves("servers.node", "servers.node/port[sharednet1]");
}

#[test]
fn keypairs_and_not_the_servers_that_were_made_with_them() {
    let spec = "keypairs: { one: { name: one, public_key: ./key.pub }, two: { public_key: ./key.pub } }
servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, keypair: one, networks: [sharednet1] } }";
    let cloud = TestCloud::with(spec);
    cloud.converge();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUm";
    let (spec, before) = (spec.replace("name: one", "name: uno"), cloud.only("server")["id"].clone());
    cloud.write_spec(&spec.replacen("two: { public_key: ./key.pub", &format!("two: {{ public_key: \"{key}\""), 1));
    cloud.converge();
    assert_eq!(cloud.only("server")["id"], before);
    let mut pairs: Vec<_> =
        cloud.all("keypair").iter().map(|pair| (text(&pair["name"]), pair["public_key"] == key)).collect();
    pairs.sort();
    assert_eq!(pairs, [("acceptance-two".to_owned(), true), ("uno".to_owned(), false)]);
}

const ROUTED: &str = "security_groups: { ssh: { rules: [{ port: 22 }] } }
networks: { inner: { subnets: [10.1.0.0/24] } }
routers: { edge: { external: public, networks: [inner] } }
servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [inner], security_groups: [ssh] } }
";

#[test]
fn a_subnet_of_another_range_with_the_servers_on_it() {
    let cloud = TestCloud::with(&format!("{ROUTED}{OUTSIDE}"));
    cloud.converge();
    let new = ["servers.node", "servers.node/port[inner]", "attachments.data"];
    let same = ["networks.inner", "routers.edge", "security_groups.ssh", "volumes.data", "floating_ips.node"];
    cloud.replaces(new, same, &format!("{ROUTED}{OUTSIDE}").replace("10.1.0.0/24", "10.2.0.0/24"));
    has(&cloud.only("subnet"), &json!({"cidr": "10.2.0.0/24"}));
    assert_eq!(interfaces(&cloud, &cloud.only("router")), ["10.2.0.1"]);
    cloud.serves("servers.node", "servers.node/port[inner]");
}

#[test]
fn what_is_marked_with_what_cannot_do_without() {
    let cloud = TestCloud::with(&format!("{ROUTED}{OUTSIDE}"));
    cloud.converge();
    let marked = |address: &str| {
        cloud.env.anole(&format!("apply spec.yaml --replace {address} --yes")).exits(0);
    };
    // A group is taken off the port, and the new one put on it.
    let (new, same) = (["security_groups.ssh"], ["servers.node", "servers.node/port[inner]", "networks.inner"]);
    let before = (cloud.ids(new), cloud.ids(same));
    marked("security_groups.ssh");
    cloud.were_replaced((new, same), &before);
    assert_eq!(
        cloud.object("port", "servers.node/port[inner]")["security_groups"],
        json!([cloud.id("security_groups.ssh")])
    );

    let new = ["networks.inner", "networks.inner/subnet[10.1.0.0/24]", "servers.node", "attachments.data"];
    let same = ["routers.edge", "volumes.data", "floating_ips.node", "security_groups.ssh"];
    let before = (cloud.ids(new), cloud.ids(same));
    marked("networks.inner");
    cloud.were_replaced((new, same), &before);
    cloud.serves("servers.node", "servers.node/port[inner]");
    cloud.env.has_no_changes("spec.yaml");
    cloud.destroy_all();
}

#[test]
fn a_router_that_is_marked_with_the_address_behind_it() {
    let cloud = TestCloud::with(&format!("{ROUTED}{OUTSIDE}"));
    cloud.converge();
    let (new, same) = (["routers.edge"], ["servers.node", "networks.inner", "floating_ips.node"]);
    let before = (cloud.ids(new), cloud.ids(same));
    cloud.env.anole("apply spec.yaml --replace routers.edge --yes").exits(0);
    cloud.were_replaced((new, same), &before);
    assert_eq!(interfaces(&cloud, &cloud.only("router")), ["10.1.0.1"]);
    cloud.serves("servers.node", "servers.node/port[inner]");
}

#[test]
fn a_volume_that_starts_as_another_image() {
    let spec = "servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
volumes: { data: { size: 1, image: CC-Ubuntu24.04, protect: false } }
attachments: { data: { volume: data, server: node } }";
    let cloud = TestCloud::with(spec);
    cloud.converge();
    let other = spec.replace("size: 1, image: CC-Ubuntu24.04", "size: 1, image: CC-Ubuntu22.04");
    let ran = cloud.replaces(["volumes.data", "attachments.data"], ["servers.node"], &other);
    ran.says("DATA LOSS: 1 GiB volume `acceptance-data`");
    let volume = cloud.only("volume");
    assert_eq!(volume["volume_image_metadata"]["image_id"], cloud.site_id("image", "CC-Ubuntu22.04"));
    assert_eq!(volume["attachments"][0]["server_id"], Json::from(cloud.id("servers.node")));
}

#[test]
fn attachments_that_change_places() {
    let spec = "servers: { a: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] }, b: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
volumes: { x: { size: 1 }, y: { size: 1 } }
attachments: { one: { volume: x, server: a }, two: { volume: y, server: b } }";
    let cloud = TestCloud::with(spec);
    cloud.converge();
    let same = ["servers.a", "servers.b", "volumes.x", "volumes.y"];
    let swapped =
        spec.replace("volume: x", "volume: z").replace("volume: y", "volume: x").replace("volume: z", "volume: y");
    cloud.replaces(["attachments.one", "attachments.two"], same, &swapped);
    let holder = |volume: &str| cloud.object("volume", volume)["attachments"][0]["server_id"].clone();
    assert_eq!(holder("volumes.x"), Json::from(cloud.id("servers.b")));
    assert_eq!(holder("volumes.y"), Json::from(cloud.id("servers.a")));
}

#[test]
fn a_lease_that_reserves_something_else_with_its_server() {
    let lease = "leases: { lab: { duration: 2h, reservations: { node: { flavor: m1.tiny } } } }
servers: { node: { lease: lab, image: CC-Ubuntu24.04, networks: [sharednet1] } }
";
    let cloud = TestCloud::with(&format!("{lease}{OUTSIDE}"));
    cloud.converge();
    let new = ["leases.lab", "servers.node", "attachments.data"];
    let other = format!("{lease}{OUTSIDE}").replace("m1.tiny", "m1.small");
    cloud
        .replaces(new, ["volumes.data", "floating_ips.node"], &other)
        .says("the lease and the servers on it are made anew");
    has(&cloud.only("lease")["reservations"][0], &json!({"amount": 1, "memory_mb": 2048}));
    cloud.serves("servers.node", "servers.node/port[sharednet1]");
}

#[test]
fn a_lease_that_is_to_start_another_day() {
    let days = |days: i64| {
        let start = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let start = start.strftime("%Y-%m-%dT%H:%MZ");
        format!("leases: {{ lab: {{ start: {start}, duration: 1h, reservations: [{{ flavor: m1.tiny }}] }} }}")
    };
    let cloud = TestCloud::with(&days(2));
    cloud.env.apply("spec.yaml").says("leases.lab: pending until");
    let (old, first) = (cloud.id("leases.lab"), cloud.only("lease")["start_date"].clone());
    cloud.write_spec(&days(1));
    cloud.env.apply("spec.yaml").says("replace: start changed");
    assert_ne!(cloud.id("leases.lab"), old);
    assert!(cloud.only("lease")["start_date"].as_str() < first.as_str());
}

#[test]
fn an_address_that_is_to_come_from_a_lease() {
    let lease = "leases: { lab: { duration: 2h, reservations: [{ floating_ips: { network: public } }] } }\n";
    let cloud = TestCloud::with(&format!("{lease}floating_ips: {{ entry: {{ network: public }} }}"));
    cloud.converge();
    let reserved = format!("{lease}floating_ips: {{ entry: {{ network: public, lease: lab }} }}");
    cloud.replaces(["floating_ips.entry"], ["leases.lab"], &reserved);
    let tags = cloud.only("floating_ip")["tags"].to_string();
    assert!(tags.contains("reservation:"), "{tags}");
    cloud.destroy_all();
}
