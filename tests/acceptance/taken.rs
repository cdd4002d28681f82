//! Objects that were made elsewhere: adopted ones are changed in place and let go in the end, imported ones become the
//! stack's own.

use serde_json::{Value as Json, json};

use super::client::{described, has, text};
use super::cloud::TestCloud;
use super::made::{interfaces, rules};

/// Objects of somebody: what `theirs` says is taken, and where the spec has it.
struct Foreign {
    volume: String,
    network: String,
    group: String,
    router: String,
    address: (String, String),
    server: String,
}

impl Foreign {
    fn new(cloud: &TestCloud) -> Self {
        let server = cloud.foreign_server("theirs", &json!({"metadata": {"theirs": "x"}}));
        cloud.make("keypair", json!({"name": "theirs", "type": "ssh", "public_key": cloud.env.read("key.pub")}));
        let public = cloud.site_id("network", "public");
        let address = cloud.make("floating_ip", json!({"floating_network_id": public, "description": "theirs"}));
        Self {
            volume: cloud.foreign_volume("theirs", 1),
            network: cloud.make("network", json!({"name": "theirs", "description": "theirs"})),
            group: cloud.make("security_group", json!({"name": "theirs", "description": "theirs"})),
            router: cloud.make("router", json!({"name": "theirs", "description": "theirs"})),
            address: (text(&cloud.one("floating_ip", &address)["floating_ip_address"]), address),
            server,
        }
    }

    /// They are all there, each the only one of its kind.
    #[track_caller]
    fn are_there(&self, cloud: &TestCloud) {
        for (kind, id) in [
            ("volume", &self.volume),
            ("network", &self.network),
            ("security_group", &self.group),
            ("router", &self.router),
            ("floating_ip", &self.address.1),
            ("server", &self.server),
        ] {
            assert_eq!(cloud.only(kind)["id"], Json::from(id.as_str()), "{kind}");
        }
    }
}

#[test]
fn adopted_objects_are_changed_in_place_and_released() {
    let cloud = TestCloud::with("");
    let theirs = Foreign::new(&cloud);
    cloud.write_spec(&format!(
        "keypairs: {{ laptop: {{ adopt: theirs, public_key: ./key.pub }} }}
security_groups: {{ web: {{ adopt: theirs, description: ours, rules: [{{ port: 80 }}] }} }}
networks: {{ net: {{ adopt: theirs, description: ours, subnets: [10.1.0.0/24] }} }}
routers: {{ edge: {{ adopt: {}, description: ours, external: public, networks: [net] }} }}
servers: {{ node: {{ adopt: theirs, name: ours, flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1], metadata: {{ ours: \"1\" }} }} }}
floating_ips: {{ entry: {{ address: {}, description: ours, server: node }} }}
volumes: {{ data: {{ adopt: theirs, size: 2, description: ours }} }}
attachments: {{ data: {{ volume: data, server: node }} }}",
        theirs.router, theirs.address.0
    ));
    cloud.env.anole("plan spec.yaml").exits(0).says("7 to adopt").says("adopt: adopted");
    cloud.converge();
    theirs.are_there(&cloud);
    for kind in ["security_group", "network", "router", "floating_ip"] {
        described(&cloud.only(kind), "ours");
    }
    let volume = cloud.only("volume");
    has(&volume, &json!({"size": 2, "description": "ours", "status": "in-use"}));
    let server = cloud.only("server");
    has(&server, &json!({"name": "ours"}));
    has(&server["metadata"], &json!({"theirs": "x", "ours": "1"}));
    assert_eq!(rules(&cloud.only("security_group"), &[])[2..], ["ingress IPv4 tcp 80-80 0.0.0.0/0"]);
    assert_eq!(interfaces(&cloud, &cloud.only("router")), ["10.1.0.1"]);
    let port = cloud.all("port").into_iter().find(|port| port["device_id"] == server["id"]).expect("its port");
    assert_eq!(cloud.only("floating_ip")["port_id"], port["id"]);

    let ran = cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0);
    ran.says("1 deleted, 7 released");
    theirs.are_there(&cloud);
    assert_eq!(
        cloud.census(),
        "floating_ip 1, keypair 1, network 1, port 1, router 1, security_group 1, server 1, volume 1"
    );
    assert_eq!(cloud.only("volume")["status"], "available");
}

#[test]
fn what_would_have_to_be_made_anew_is_not_adopted() {
    let cloud = TestCloud::with("");
    cloud.foreign_volume("theirs", 2);
    cloud.make("keypair", json!({"name": "theirs", "type": "ssh", "public_key": cloud.env.read("key.pub")}));
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUm";
    cloud.write_spec(&format!(
        "keypairs: {{ laptop: {{ adopt: theirs, public_key: \"{key}\" }} }}
volumes: {{ data: {{ adopt: theirs, size: 2, availability_zone: elsewhere }}, small: {{ adopt: theirs, size: 1 }} }}"
    ));
    let ran =
        cloud.env.anole("apply spec.yaml --yes").exits(1).says("keypair theirs cannot be adopted as the block has it");
    let ran = ran.says("`public_key` cannot change").says("`availability_zone` cannot change");
    ran.says("a volume cannot shrink");
    cloud.write_spec("volumes: { data: { adopt: theirs, size: 2 } }");
    cloud.converge();
    let ran = cloud.env.anole("plan spec.yaml --replace volumes.data").exits(1);
    ran.says("volumes.data is adopted and is never replaced");
    assert_eq!(cloud.census(), "keypair 1, volume 1");
}

#[test]
fn a_block_that_has_an_object_does_not_adopt_another() {
    let cloud = TestCloud::with("volumes: { data: { size: 1 } }");
    cloud.converge();
    let (own, theirs) = (cloud.id("volumes.data"), cloud.foreign_volume("theirs", 1));
    cloud.write_spec("volumes: { data: { adopt: theirs, size: 1 } }");
    cloud.env.anole("plan spec.yaml").exits(1).says(&own).says("`adopt: theirs` means").says(&theirs).says("state rm");
    // The one that it has is kept from then on.
    cloud.write_spec(&format!("volumes: {{ data: {{ adopt: {own}, size: 1 }} }}"));
    cloud.converge();
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0).says("1 released");
    assert_eq!(cloud.census(), "volume 2");
}

#[test]
fn an_adopted_lease_gives_its_room_and_is_released() {
    let cloud = TestCloud::with("");
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(3);
    let reservation = json!({"resource_type": "flavor:instance", "flavor_id": cloud.site_id("flavor", "m1.tiny"),
        "amount": 1, "affinity": null});
    let lease = cloud.make(
        "lease",
        json!({"name": "theirs", "start_date": "now", "end_date": end.strftime("%Y-%m-%d %H:%M").to_string(),
            "reservations": [reservation], "events": []}),
    );
    cloud.eventually("the lease", || cloud.one("lease", &lease)["status"] == "ACTIVE");
    let before = cloud.only("lease")["end_date"].clone();
    cloud.write_spec(
        "leases: { lab: { adopt: theirs, duration: 2h, reservations: [{ flavor: m1.tiny }] } }
servers: { node: { lease: lab, image: CC-Ubuntu24.04, networks: [sharednet1] } }",
    );
    cloud.converge();
    let flavor = text(&cloud.only("server")["flavor"]["original_name"]);
    assert!(flavor.contains(&text(&cloud.only("lease")["reservations"][0]["id"])), "{flavor}");
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    has(&cloud.only("lease"), &json!({"id": lease, "name": "theirs", "status": "ACTIVE", "end_date": before}));
    assert_eq!(cloud.census(), "lease 1");
}

#[test]
fn a_shared_group_is_found_added_to_and_left() {
    let cloud = TestCloud::with("");
    let group = cloud.make("security_group", json!({"name": "allow-web", "description": "theirs"}));
    let rule = json!({"security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": "udp"});
    cloud.make("security_group_rule", rule);
    cloud.write_spec("security_groups: { allow-web: { shared: true, description: ours, rules: [{ port: 80 }] } }");
    cloud.converge();
    let found = cloud.only("security_group");
    has(&found, &json!({"id": group, "description": "theirs"}));
    let wanted = ["ingress IPv4 tcp 80-80 0.0.0.0/0", "ingress IPv4 udp --- -"];
    assert_eq!(rules(&found, &[])[2..], wanted);
    cloud.env.edit("spec.yaml", "port: 80", "port: 443");
    cloud.converge();
    let wanted = ["ingress IPv4 tcp 443-443 0.0.0.0/0", wanted[0], wanted[1]];
    assert_eq!(rules(&cloud.only("security_group"), &[])[2..], wanted);
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(rules(&cloud.only("security_group"), &[])[2..], wanted);
}

#[test]
fn imported_objects_are_the_stacks_own() {
    let cloud = TestCloud::with("");
    let theirs = Foreign::new(&cloud);
    let subnet = json!({"network_id": theirs.network, "cidr": "10.1.0.0/24", "ip_version": 4});
    let subnet = cloud.make("subnet", subnet);
    let attached = json!({"volumeAttachment": {"volumeId": theirs.volume}});
    cloud.call("POST", "compute", &format!("/servers/{}/os-volume_attachments", theirs.server), attached);
    cloud.eventually("the attachment", || cloud.only("volume")["status"] == "in-use");
    let port = text(&cloud.only("port")["id"]);
    cloud.write_spec(
        "keypairs: { laptop: { name: theirs, public_key: ./key.pub } }
security_groups: { web: { rules: [{ port: 80 }] } }
networks: { net: { subnets: [10.1.0.0/24] } }
routers: { edge: { external: public, networks: [net] } }
servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
floating_ips: { entry: { network: public, server: node } }
volumes: { data: { size: 2 } }
attachments: { data: { volume: data, server: node } }",
    );
    let attachment = format!("{}/{}", theirs.server, theirs.volume);
    let all = [
        ("keypairs.laptop", "theirs"),
        ("security_groups.web", &theirs.group),
        ("networks.net", &theirs.network),
        ("networks.net/subnet[10.1.0.0/24]", &subnet),
        ("routers.edge", &theirs.router),
        ("servers.node", &theirs.server),
        ("servers.node/port[sharednet1]", &port),
        ("floating_ips.entry", &theirs.address.1),
        ("volumes.data", &theirs.volume),
        ("attachments.data", &attachment),
    ];
    for (address, id) in all {
        cloud.env.anole(&format!("import {address} {id} -f spec.yaml")).exits(0);
    }
    cloud.converge().omits("created").omits("replaced");
    theirs.are_there(&cloud);
    let server = cloud.only("server");
    has(&server, &json!({"name": "acceptance-node"}));
    has(&server["metadata"], &json!({"theirs": "x"}));
    has(&cloud.only("volume"), &json!({"name": "acceptance-data", "size": 2, "status": "in-use"}));
    assert_eq!(interfaces(&cloud, &cloud.only("router")), ["10.1.0.1"]);
    cloud.destroy_all();
}
