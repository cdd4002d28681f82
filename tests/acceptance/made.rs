//! What is created has every field that the spec gives it, as its service shows them; and a destroy leaves nothing.

use serde_json::{Value as Json, json};

use super::client::{described, has, text};
use super::cloud::TestCloud;

/// A group's rules, each in a line: `ingress IPv4 tcp 22-22 0.0.0.0/0`; groups by the names given for their ids.
pub fn rules(group: &Json, names: &[(&str, &str)]) -> Vec<String> {
    let word = |value: &Json| match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = |rule: &Json| {
        let remote = match (&rule["remote_group_id"], &rule["remote_ip_prefix"]) {
            (Json::String(id), _) => names.iter().find(|(_, known)| known == id).expect("a known group").0.to_owned(),
            (_, prefix) => word(prefix),
        };
        let first = ["direction", "ethertype", "protocol"].map(|field| word(&rule[field])).join(" ");
        format!("{first} {}-{} {remote}", word(&rule["port_range_min"]), word(&rule["port_range_max"]))
    };
    let mut rules: Vec<_> = group["security_group_rules"].as_array().expect("rules").iter().map(line).collect();
    rules.sort();
    rules
}

#[test]
fn a_keypair() {
    let cloud = TestCloud::with("keypairs: { laptop: { public_key: ./key.pub } }");
    cloud.converge();
    let pair = cloud.only("keypair");
    has(&pair, &json!({"name": "acceptance-laptop", "public_key": cloud.env.read("key.pub").trim()}));
    cloud.destroy_all();
}

#[test]
fn security_groups_with_rules_of_every_sort() {
    let cloud = TestCloud::with(
        "security_groups:
           base: { description: for the others, rules: [] }
           all:
             name: every sort
             rules:
             - { port: 22 }
             - { ports: [80, 8000-8080], remote_cidr: 10.0.0.0/8, description: pages }
             - { protocol: udp, port: 53, remote_cidr: \"fd00::/8\" }
             - { protocol: icmp }
             - { protocol: icmp, ethertype: IPv6 }
             - { protocol: \"47\" }
             - { protocol: any, remote_group: self }
             - { port: 5432, remote_group: base }
             - { direction: egress, protocol: udp, port: 123 }
        ",
    );
    cloud.converge();
    let (base, all) = (cloud.object("security_group", "security_groups.base"), cloud.id("security_groups.all"));
    described(&base, "for the others");
    assert_eq!(rules(&base, &[]), ["egress IPv4 - --- -", "egress IPv6 - --- -"]);
    let group = cloud.one("security_group", &all);
    has(&group, &json!({"name": "every sort"}));
    assert_eq!(
        rules(&group, &[("base", &text(&base["id"])), ("self", &all)]),
        [
            "egress IPv4 udp 123-123 0.0.0.0/0",
            "ingress IPv4 - --- self",
            "ingress IPv4 gre --- 0.0.0.0/0",
            "ingress IPv4 icmp --- 0.0.0.0/0",
            "ingress IPv4 tcp 22-22 0.0.0.0/0",
            "ingress IPv4 tcp 5432-5432 base",
            "ingress IPv4 tcp 80-80 10.0.0.0/8",
            "ingress IPv4 tcp 8000-8080 10.0.0.0/8",
            "ingress IPv6 ipv6-icmp --- ::/0",
            "ingress IPv6 udp 53-53 fd00::/8",
        ]
    );
    let pages = |rule: &&Json| rule["description"] == "pages";
    assert_eq!(group["security_group_rules"].as_array().into_iter().flatten().filter(pages).count(), 2);
    cloud.destroy_all();
}

#[test]
fn networks_with_their_subnets() {
    let cloud = TestCloud::with(
        "networks:
           plain: { subnets: [10.20.0.0/24] }
           full:
             name: full of fields
             description: a network
             port_security: false
             mtu: 1400
             subnets:
             - { cidr: 10.21.0.0/24, gateway: none, dhcp: false, name: quiet }
             - { cidr: \"fd00:22::/64\" }
             - cidr: 10.22.0.0/24
               gateway: 10.22.0.254
               dns: [9.9.9.9, 1.1.1.1]
               allocation_pools: [{ start: 10.22.0.30, end: 10.22.0.40 }, { start: 10.22.0.10, end: 10.22.0.20 }]
        ",
    );
    cloud.converge();
    has(
        &cloud.object("network", "networks.plain"),
        &json!({"name": "acceptance-plain", "port_security_enabled": true, "shared": false}),
    );
    let full = cloud.object("network", "networks.full");
    has(&full, &json!({"name": "full of fields", "port_security_enabled": false, "mtu": 1400}));
    described(&full, "a network");
    let subnet = |network: &str, cidr: &str| cloud.object("subnet", &format!("networks.{network}/subnet[{cidr}]"));
    let plain = subnet("plain", "10.20.0.0/24");
    has(
        &plain,
        &json!({
            "name": "acceptance-plain-10.20.0.0/24", "network_id": cloud.id("networks.plain"), "ip_version": 4,
            "gateway_ip": "10.20.0.1", "enable_dhcp": true, "dns_nameservers": [],
            "allocation_pools": [{"start": "10.20.0.2", "end": "10.20.0.254"}],
        }),
    );
    has(
        &subnet("full", "10.21.0.0/24"),
        &json!({"name": "quiet", "network_id": full["id"], "gateway_ip": null, "enable_dhcp": false}),
    );
    has(&subnet("full", "fd00:22::/64"), &json!({"ip_version": 6, "gateway_ip": "fd00:22::"}));
    let mut wide = subnet("full", "10.22.0.0/24");
    has(&wide, &json!({"gateway_ip": "10.22.0.254", "dns_nameservers": ["9.9.9.9", "1.1.1.1"]}));
    let pools = wide["allocation_pools"].as_array_mut().expect("pools");
    pools.sort_by_key(|pool| text(&pool["start"]));
    let wanted = [("10.22.0.10", "10.22.0.20"), ("10.22.0.30", "10.22.0.40")];
    assert_eq!(*pools, wanted.map(|(start, end)| json!({"start": start, "end": end})));
    cloud.destroy_all();
}

#[test]
fn a_router_with_an_interface_in_each_subnet_that_has_a_gateway() {
    let cloud = TestCloud::with(
        "networks: { one: { subnets: [10.1.0.0/24, { cidr: 10.2.0.0/24, gateway: none }] }, two: { subnets: [10.3.0.0/24] } }
routers: { edge: { description: the way out, external: public, networks: [one, two] } }",
    );
    cloud.converge();
    let router = cloud.object("router", "routers.edge");
    has(&router, &json!({"name": "acceptance-edge", "status": "ACTIVE"}));
    described(&router, "the way out");
    assert_eq!(router["external_gateway_info"]["network_id"], cloud.site_id("network", "public"));
    assert_eq!(interfaces(&cloud, &router), ["10.1.0.1", "10.3.0.1"]);
    cloud.destroy_all();
}

/// The addresses of a router's interfaces on networks of the project.
pub fn interfaces(cloud: &TestCloud, router: &Json) -> Vec<String> {
    let own = |port: &Json| port["device_id"] == router["id"] && port["device_owner"] == "network:router_interface";
    let ports = cloud.all("port").into_iter().filter(own);
    let mut addresses: Vec<_> = ports.map(|port| text(&port["fixed_ips"][0]["ip_address"])).collect();
    addresses.sort();
    addresses
}

#[test]
fn a_server_with_its_ports() {
    let cloud = TestCloud::with(
        "keypairs: { laptop: { public_key: ./key.pub } }
security_groups: { ssh: { rules: [{ port: 22 }] } }
networks:
  private: { port_security: false, subnets: [{ cidr: 192.168.5.0/24, gateway: none }] }
  guarded: { subnets: [{ cidr: 192.168.6.0/24, gateway: none }] }
servers:
  node:
    name: first of many
    flavor: m1.small
    image: CC-Ubuntu24.04
    keypair: laptop
    networks: [sharednet1, { network: private, fixed_ip: 192.168.5.11 }, guarded]
    security_groups: [ssh]
    metadata: { course: ml }
    config_drive: true
    user_data: \"#!/bin/sh\"
  plain: { flavor: m1.tiny, image: CC-Ubuntu22.04, networks: [guarded] }
  bare: { flavor: m1.tiny, image: CC-Ubuntu22.04, networks: [guarded], security_groups: [] }",
    );
    cloud.converge();
    let server = cloud.object("server", "servers.node");
    has(
        &server,
        &json!({
            "name": "first of many", "status": "ACTIVE", "key_name": "acceptance-laptop", "config_drive": "True",
        }),
    );
    assert_eq!(server["flavor"]["original_name"], "m1.small");
    assert_eq!(server["image"]["id"], cloud.site_id("image", "CC-Ubuntu24.04"));
    assert_eq!(server["metadata"]["course"], "ml");
    let port = |server: &str, network: &str| cloud.object("port", &format!("servers.{server}/port[{network}]"));
    let ports = ["sharednet1", "private", "guarded"].map(|network| port("node", network));
    for port in &ports {
        assert_eq!(port["device_id"], server["id"]);
    }
    let ssh = json!([cloud.id("security_groups.ssh")]);
    assert_eq!(ports.each_ref().map(|port| &port["security_groups"]), [&ssh, &json!([]), &ssh]);
    assert_eq!(ports[1]["fixed_ips"][0]["ip_address"], "192.168.5.11");
    assert_eq!(ports[0]["network_id"], cloud.site_id("network", "sharednet1"));

    let default = port("plain", "guarded")["security_groups"].clone();
    assert_eq!(default.as_array().map(Vec::len), Some(1));
    assert_ne!(default, ssh);
    assert_eq!(port("bare", "guarded")["security_groups"], json!([]));
    has(&cloud.object("server", "servers.plain"), &json!({"key_name": null, "config_drive": ""}));
    cloud.destroy_all();
}

#[test]
fn servers_that_boot_from_volumes() {
    let cloud = TestCloud::with(
        "volumes: { disk: { size: 2GiB, image: CC-Ubuntu24.04 } }
servers:
  own: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1], boot_volume: { size: 3GiB, type: ceph-ssd } }
  given: { flavor: m1.tiny, networks: [sharednet1], boot_volume: { volume: disk } }",
    );
    cloud.converge();
    let (own, given) = (cloud.object("server", "servers.own"), cloud.object("server", "servers.given"));
    let key = "os-extended-volumes:volumes_attached";
    assert_eq!((&own["image"], &given["image"]), (&json!(""), &json!("")));
    assert_eq!(own[key][0]["delete_on_termination"], true);
    let root = cloud.one("volume", &text(&own[key][0]["id"]));
    has(&root, &json!({"size": 3, "volume_type": "ceph-ssd", "bootable": "true", "status": "in-use"}));
    let disk = cloud.id("volumes.disk");
    assert_eq!(given[key], json!([{"id": disk, "delete_on_termination": false}]));
    cloud.env.anole("destroy spec.yaml --yes").exits(0).says("volumes.disk: kept (protected)");
    cloud.eventually("the end of the root disk", || cloud.all("volume").len() == 1);
    assert_eq!(cloud.only("volume")["id"], Json::from(disk));
    cloud.destroy_all();
}

#[test]
fn volumes_and_an_attachment() {
    let cloud = TestCloud::with(
        "servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
volumes:
  data: { name: the data, size: 2GiB, type: ceph-ssd, description: kept, metadata: { owner: me }, availability_zone: nova }
  disk: { size: 1, image: CC-Ubuntu24.04 }
attachments: { data: { volume: data, server: node, filesystem: xfs, mount: { path: /data, owner: cc } } }",
    );
    let ran = cloud.converge();
    ran.says("make an xfs filesystem on a partition of the volume, if it is blank").says("mount it at /data");
    let (data, server) = (cloud.object("volume", "volumes.data"), cloud.only("server"));
    has(
        &data,
        &json!({
            "name": "the data", "size": 2, "volume_type": "ceph-ssd", "description": "kept", "bootable": "false",
            "availability_zone": "nova", "status": "in-use",
        }),
    );
    assert_eq!(data["metadata"]["owner"], "me");
    assert_eq!(data["attachments"][0]["server_id"], server["id"]);
    assert_eq!(server["os-extended-volumes:volumes_attached"][0]["id"], data["id"]);
    let disk = cloud.object("volume", "volumes.disk");
    has(&disk, &json!({"name": "acceptance-disk", "bootable": "true", "status": "available"}));
    assert_eq!(disk["volume_image_metadata"]["image_id"], cloud.site_id("image", "CC-Ubuntu24.04"));
    cloud.destroy_all();
}

#[test]
fn a_lease_with_its_server_and_addresses() {
    let cloud = TestCloud::with(
        "leases:
  lab:
    name: the lab's
    duration: 2h
    reservations: { node: { flavor: m1.tiny, amount: 2 }, addresses: { floating_ips: { network: public, amount: 1 } } }
networks: { inner: { subnets: [{ cidr: 10.5.0.0/24, gateway: none }] } }
servers: { node: { lease: lab, reservation: node, image: CC-Ubuntu24.04, networks: [inner, sharednet1] } }
floating_ips:
  bound: { network: public, server: node, via: sharednet1, description: entry }
  spare: { network: public }
  reserved: { lease: lab }",
    );
    cloud.converge();
    let lease = cloud.only("lease");
    has(&lease, &json!({"name": "the lab's", "status": "ACTIVE"}));
    let reserved = |kind: &str| {
        let all = lease["reservations"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|reservation| reservation["resource_type"] == kind).expect(kind)
    };
    let (node, addresses) = (reserved("flavor:instance"), reserved("virtual:floatingip"));
    has(&node, &json!({"amount": 2, "vcpus": 1, "memory_mb": 512, "disk_gb": 1}));
    has(&addresses, &json!({"amount": 1, "network_id": cloud.site_id("network", "public")}));
    let flavor = text(&cloud.only("server")["flavor"]["original_name"]);
    assert!(flavor.contains(&text(&node["id"])), "{flavor}");

    let [bound, spare, taken] =
        ["bound", "spare", "reserved"].map(|name| cloud.object("floating_ip", &format!("floating_ips.{name}")));
    assert_eq!(bound["port_id"], cloud.object("port", "servers.node/port[sharednet1]")["id"]);
    described(&bound, "entry");
    has(&spare, &json!({"port_id": null, "status": "DOWN", "floating_network_id": addresses["network_id"]}));
    assert_eq!(taken["tags"][1], format!("reservation:{}", text(&addresses["id"])));
    cloud.destroy_all();
}

#[test]
fn what_the_spec_names_by_id_is_that_object() {
    let cloud = TestCloud::with("");
    let group = cloud.make("security_group", json!({"name": "theirs"}));
    cloud.make("keypair", json!({"name": "theirs", "type": "ssh", "public_key": cloud.env.read("key.pub")}));
    let (image, flavor) = (cloud.site_id("image", "CC-Ubuntu22.04"), cloud.site_id("flavor", "m1.tiny"));
    let network = cloud.site_id("network", "sharednet1");
    cloud.write_spec(&format!(
        "servers: {{ node: {{ flavor: \"{flavor}\", image: {image}, keypair: theirs, networks: [{network}],
                    security_groups: [{group}] }} }}"
    ));
    cloud.converge();
    let (server, port) = (cloud.only("server"), cloud.only("port"));
    assert_eq!((&server["image"]["id"], &server["flavor"]["original_name"]), (&json!(image), &json!("m1.tiny")));
    assert_eq!(server["key_name"], "theirs");
    has(&port, &json!({"network_id": network, "security_groups": [group]}));
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(cloud.census(), "keypair 1, security_group 1");
}

#[test]
fn names_that_the_site_does_not_have_are_told_before_anything_is_made() {
    let cloud = TestCloud::with(
        "security_groups: { ssh: { rules: [{ port: 22 }] } }
servers: { node: { flavor: m9.tiny, image: CC-Ubuntu99, keypair: desktop, networks: [sharednet9], security_groups: [shh] } }",
    );
    let mut ran = cloud.env.anole("apply spec.yaml --yes").exits(1);
    for name in [
        "flavor named `m9.tiny`",
        "image named `CC-Ubuntu99`",
        "keypair named `desktop`",
        "network named `sharednet9`",
        "security group named `shh`",
    ] {
        ran = ran.says(name);
    }
    assert_eq!(cloud.census(), "");
}
