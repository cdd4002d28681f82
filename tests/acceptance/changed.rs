//! What can change in place does: ids stay, the service shows the new value, and then there is nothing to do.

use serde_json::{Value as Json, json};

use super::client::{described, has, text};
use super::cloud::TestCloud;
use super::made::{interfaces, rules};

#[test]
fn a_security_group() {
    let cloud = TestCloud::with(
        "security_groups:
  base: { rules: [] }
  web:
    name: before
    description: old
    rules: [{ port: 80 }, { port: 22, description: shell }, { protocol: any, remote_group: self }]",
    );
    cloud.converge();
    let ran = cloud.converges_keeping(
        ["security_groups.web"],
        "security_groups:
  base: { rules: [] }
  web:
    name: after
    description: new
    rules: [{ port: 443 }, { port: 22, description: doors }, { protocol: any, remote_group: base }]",
    );
    ran.says("1 changed");
    let (group, base) = (cloud.object("security_group", "security_groups.web"), cloud.id("security_groups.base"));
    has(&group, &json!({"name": "after"}));
    described(&group, "new");
    let wanted = ["ingress IPv4 - --- base", "ingress IPv4 tcp 22-22 0.0.0.0/0", "ingress IPv4 tcp 443-443 0.0.0.0/0"];
    assert_eq!(rules(&group, &[("base", &base)])[2..], wanted);
    let shell = |rule: &&Json| rule["port_range_min"] == 22;
    let kept = group["security_group_rules"].as_array().into_iter().flatten().find(shell).expect("the rule");
    assert_eq!(kept["description"], "doors");
}

#[test]
fn a_network_and_its_subnets() {
    let cloud = TestCloud::with(
        "networks:
  net:
    name: before
    description: old
    port_security: true
    mtu: 1400
    subnets:
    - { cidr: 10.1.0.0/24, name: one, dns: [1.1.1.1], dhcp: false, gateway: none }
    - { cidr: 10.2.0.0/24, allocation_pools: [{ start: 10.2.0.10, end: 10.2.0.20 }] }
    - 10.3.0.0/24",
    );
    cloud.converge();
    let subnets = ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"].map(|cidr| format!("networks.net/subnet[{cidr}]"));
    let kept = [["networks.net"].as_slice(), &subnets.each_ref().map(String::as_str)].concat();
    cloud.converges_keeping::<4>(
        kept.try_into().expect("four"),
        "networks:
  net:
    name: after
    description: new
    port_security: false
    mtu: 1300
    subnets:
    - { cidr: 10.1.0.0/24, name: uno, dns: [9.9.9.9, 1.1.1.1], dhcp: true, gateway: 10.1.0.9 }
    - { cidr: 10.2.0.0/24, allocation_pools: [{ start: 10.2.0.50, end: 10.2.0.60 }], gateway: none }
    - { cidr: 10.3.0.0/24, gateway: 10.3.0.254 }
    - 10.4.0.0/24",
    );
    let network = cloud.only("network");
    has(&network, &json!({"name": "after", "port_security_enabled": false, "mtu": 1300}));
    described(&network, "new");
    let [one, two, three] = subnets.map(|address| cloud.object("subnet", &address));
    let dns = json!(["9.9.9.9", "1.1.1.1"]);
    has(&one, &json!({"name": "uno", "dns_nameservers": dns, "enable_dhcp": true, "gateway_ip": "10.1.0.9"}));
    has(
        &two,
        &json!({"allocation_pools": [{"start": "10.2.0.50", "end": "10.2.0.60"}], "gateway_ip": null, "name": "after-10.2.0.0/24"}),
    );
    has(&three, &json!({"gateway_ip": "10.3.0.254", "allocation_pools": [{"start": "10.3.0.1", "end": "10.3.0.253"}]}));
    cloud.env.edit("spec.yaml", "\n    - 10.4.0.0/24", "");
    cloud.converge();
    assert_eq!(cloud.all("subnet").len(), 3);
}

#[test]
fn a_router() {
    let nets = "networks: { one: { subnets: [10.1.0.0/24] }, two: { subnets: [10.2.0.0/24] }, three: { subnets: [10.3.0.0/24] } }\n";
    let cloud = TestCloud::with(&format!("{nets}routers: {{ edge: {{ description: old, networks: [one, two] }} }}"));
    cloud.converge();
    let kept = ["routers.edge", "networks.one", "networks.two", "networks.three"];
    let second = format!(
        "{nets}routers: {{ edge: {{ name: after, description: new, external: public, networks: [two, three] }} }}"
    );
    cloud.converges_keeping(kept, &second);
    let router = cloud.only("router");
    has(&router, &json!({"name": "after"}));
    described(&router, "new");
    assert_eq!(router["external_gateway_info"]["network_id"], cloud.site_id("network", "public"));
    assert_eq!(interfaces(&cloud, &router), ["10.2.0.1", "10.3.0.1"]);
    // What the spec does not say any more is taken off.
    cloud.converges_keeping(kept, &format!("{nets}routers: {{ edge: {{ name: after }} }}"));
    let router = cloud.only("router");
    assert_eq!((&router["external_gateway_info"], interfaces(&cloud, &router).len()), (&Json::Null, 0));
}

#[test]
fn a_server() {
    let rest = "keypairs: { old: { public_key: ./key.pub }, new: { public_key: ./key.pub } }
security_groups: { ssh: { rules: [{ port: 22 }] }, web: { rules: [{ port: 80 }] } }
";
    let node = |fields: &str| {
        format!(
            "{rest}servers: {{ node: {{ flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1], {fields} }} }}"
        )
    };
    let first = node("name: before, keypair: old, security_groups: [ssh], metadata: { a: \"1\", b: \"2\" }");
    let cloud = TestCloud::with(&first);
    cloud.converge();
    let kept = ["servers.node", "servers.node/port[sharednet1]", "security_groups.ssh"];
    cloud.call(
        "POST",
        "compute",
        &format!("/servers/{}/metadata", cloud.id("servers.node")),
        json!({"metadata": {"theirs": "x"}}),
    );
    let second = node("name: after, keypair: new, security_groups: [web], metadata: { b: \"3\", c: \"4\" }");
    cloud.converges_keeping(kept, &second);
    let server = cloud.only("server");
    // A key counts when a server is made.
    has(&server, &json!({"name": "after", "status": "ACTIVE", "key_name": "acceptance-old"}));
    let mut metadata = server["metadata"].clone();
    metadata.as_object_mut().expect("metadata").remove("anole");
    assert_eq!(metadata, json!({"b": "3", "c": "4", "theirs": "x"}));
    assert_eq!(cloud.only("port")["security_groups"], json!([cloud.id("security_groups.web")]));
    // Without groups it has the project's `default` again.
    cloud.converges_keeping(kept, &node("name: after, keypair: new"));
    let groups = cloud.only("port")["security_groups"].clone();
    let [group] = groups.as_array().expect("groups").as_slice() else { panic!("{groups}") };
    has(&cloud.one("security_group", &text(group)), &json!({"name": "default"}));
}

#[test]
fn a_server_that_is_rebuilt_with_another_image() {
    let spec = "servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, on_image_change: rebuild, networks: [sharednet1] } }
floating_ips: { node: { network: public, server: node } }
volumes: { data: { size: 1 } }
attachments: { data: { volume: data, server: node } }";
    let cloud = TestCloud::with(spec);
    cloud.converge();
    let kept = ["servers.node", "servers.node/port[sharednet1]", "floating_ips.node", "attachments.data"];
    let ran = cloud.converges_keeping(kept, &spec.replace("24.04", "22.04"));
    ran.says("rebuild: erases the root disk").says("1 changed");
    let server = cloud.only("server");
    has(&server, &json!({"status": "ACTIVE"}));
    assert_eq!(server["image"]["id"], cloud.site_id("image", "CC-Ubuntu22.04"));
    assert_eq!(cloud.only("floating_ip")["port_id"], cloud.only("port")["id"]);
    assert_eq!(cloud.only("volume")["attachments"][0]["server_id"], server["id"]);
}

#[test]
fn a_boot_volume_that_is_to_outlive_its_server() {
    let spec = "servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1], boot_volume: { size: 2 } } }";
    let cloud = TestCloud::with(spec);
    cloud.converge();
    let root = cloud.only("volume")["id"].clone();
    cloud.converges_keeping(["servers.node"], &spec.replace("size: 2", "size: 2, delete_on_termination: false"));
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!((cloud.census(), &cloud.only("volume")["id"]), ("volume 1".to_owned(), &root));
}

#[test]
fn a_floating_ip_that_moves_and_is_let_go() {
    let rest = "networks: { inner: { subnets: [10.1.0.0/24] } }
routers: { edge: { external: public, networks: [inner] } }
servers: { a: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [inner, sharednet1] }, b: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [inner] } }
";
    let address = |fields: &str| format!("{rest}floating_ips: {{ entry: {{ network: public, {fields} }} }}");
    let cloud = TestCloud::with(&address("server: a, via: sharednet1, description: old"));
    cloud.converge();
    let kept = ["floating_ips.entry", "servers.a", "servers.b"];
    let bound = || cloud.only("floating_ip")["port_id"].clone();
    assert_eq!(bound(), cloud.id("servers.a/port[sharednet1]"));
    cloud.converges_keeping(kept, &address("server: b, description: new"));
    assert_eq!(bound(), cloud.id("servers.b/port[inner]"));
    described(&cloud.only("floating_ip"), "new");
    cloud.converges_keeping(kept, &address("description: new"));
    assert_eq!(bound(), Json::Null);
}

#[test]
fn two_floating_ips_that_change_places() {
    let spec = "servers: { a: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] }, b: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
floating_ips: { one: { network: public, server: a }, two: { network: public, server: b } }";
    let cloud = TestCloud::with(spec);
    cloud.converge();
    let kept = ["floating_ips.one", "floating_ips.two", "servers.a", "servers.b"];
    cloud.converges_keeping(
        kept,
        &spec.replace("server: a", "server: c").replace("server: b", "server: a").replace("server: c", "server: b"),
    );
    let bound = |name: &str| cloud.object("floating_ip", &format!("floating_ips.{name}"))["port_id"].clone();
    assert_eq!(bound("one"), cloud.id("servers.b/port[sharednet1]"));
    assert_eq!(bound("two"), cloud.id("servers.a/port[sharednet1]"));
}

#[test]
fn a_volume_that_a_server_uses() {
    let rest = "servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
attachments: { data: { volume: data, server: node } }
";
    let cloud = TestCloud::with(&format!(
        "{rest}volumes: {{ data: {{ name: before, size: 1, description: old, metadata: {{ a: \"1\", b: \"2\" }} }} }}"
    ));
    cloud.converge();
    let kept = ["volumes.data", "attachments.data", "servers.node"];
    cloud.call(
        "POST",
        "block-storage",
        &format!("/volumes/{}/metadata", cloud.id("volumes.data")),
        json!({"metadata": {"theirs": "x"}}),
    );
    cloud.converges_keeping(
        kept,
        &format!("{rest}volumes: {{ data: {{ name: after, size: 3, description: new, metadata: {{ b: \"3\", c: \"4\" }} }} }}"),
    );
    let mut volume = cloud.only("volume");
    has(&volume, &json!({"name": "after", "size": 3, "description": "new", "status": "in-use"}));
    volume["metadata"].as_object_mut().expect("metadata").remove("anole");
    let mut metadata = volume["metadata"].clone();
    // Cinder's own marks of an attached volume.
    metadata.as_object_mut().expect("metadata").retain(|key, _| key.len() == 1 || key == "theirs");
    assert_eq!(metadata, json!({"b": "3", "c": "4", "theirs": "x"}));
}

#[test]
fn a_volumes_type() {
    let cloud = TestCloud::with("volumes: { data: { size: 1, type: ceph-ssd } }");
    cloud.converge();
    let types = cloud.get("block-storage", "/types");
    let other = types["volume_types"].as_array().into_iter().flatten().find(|one| one["name"] != "ceph-ssd");
    let other = text(&other.expect("another type")["name"]);
    cloud.converges_keeping(["volumes.data"], &format!("volumes: {{ data: {{ size: 1, type: \"{other}\" }} }}"));
    has(&cloud.only("volume"), &json!({"volume_type": other, "status": "available"}));
}

#[test]
fn a_lease_and_what_is_recorded_of_an_attachment() {
    let spec = "leases: { lab: { name: before, duration: 2h, reservations: { node: { flavor: m1.tiny } } } }
servers: { node: { lease: lab, image: CC-Ubuntu24.04, networks: [sharednet1] } }
volumes: { data: { size: 1 } }
attachments: { data: { volume: data, server: node, filesystem: ext4 } }";
    let cloud = TestCloud::with(spec);
    cloud.converge();
    let kept = ["leases.lab", "servers.node", "volumes.data", "attachments.data"];
    cloud.converges_keeping(kept, &spec.replace("before", "after").replace("ext4", "xfs, mount: { path: /data }"));
    has(&cloud.only("lease"), &json!({"name": "after", "status": "ACTIVE"}));
}
