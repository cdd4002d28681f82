//! What somebody deletes by hand is told, and made again; what holds data stays what it was.

use serde_json::{Value as Json, json};

use super::cloud::TestCloud;

impl TestCloud {
    /// Deletes the resource's object by hand, and waits for its end.
    #[track_caller]
    fn take_away(&self, kind: &str, address: &str) {
        let id = self.id(address);
        self.delete(kind, &id);
        let field = if kind == "keypair" { "name" } else { "id" };
        self.eventually("its end", || self.all(kind).iter().all(|object| object[field] != id.as_str()));
    }
}

#[test]
fn what_nothing_stands_on_is_made_again() {
    let cloud = TestCloud::with(
        "leases: { lab: { duration: 2h, reservations: [{ flavor: m1.tiny }] } }
keypairs: { laptop: { public_key: ./key.pub } }
security_groups: { web: { rules: [{ port: 80 }] }, allow-ssh: { shared: true, rules: [{ port: 22 }] } }
networks: { spare: { subnets: [10.1.0.0/24] }, net: { subnets: [10.2.0.0/24] } }
routers: { edge: { external: public } }
floating_ips: { spare: { network: public } }
volumes: { data: { size: 1 } }",
    );
    cloud.converge();
    let kept = ["networks.net", "volumes.data"];
    let before = cloud.ids(kept);
    let gone = [
        ("lease", "leases.lab"),
        ("keypair", "keypairs.laptop"),
        ("security_group", "security_groups.web"),
        ("security_group", "security_groups.allow-ssh"),
        ("network", "networks.spare"),
        ("subnet", "networks.net/subnet[10.2.0.0/24]"),
        ("router", "routers.edge"),
        ("floating_ip", "floating_ips.spare"),
    ];
    for (kind, address) in gone {
        cloud.take_away(kind, address);
    }
    cloud.env.anole("drift spec.yaml --detailed-exitcode").exits(2);
    let mut plan = cloud.env.anole("plan spec.yaml").exits(0);
    for (_, address) in gone.iter().filter(|(kind, _)| *kind != "subnet") {
        plan = plan.says(&format!("{address}  create: was deleted outside anole"));
    }
    plan.says("subnet[10.2.0.0/24]  create: was deleted outside anole");
    cloud.converge().says("7 created");
    assert_eq!(cloud.ids(kept), before);
    for (kind, address) in gone {
        cloud.object(kind, address);
    }
    assert_eq!(
        cloud.census(),
        "floating_ip 1, keypair 1, lease 1, network 2, router 1, security_group 2, subnet 2, volume 1"
    );
}

const STACK: &str = "servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
floating_ips: { node: { network: public, server: node } }
volumes: { data: { size: 1 } }
attachments: { data: { volume: data, server: node } }
";

/// There is one of each, at its place.
#[track_caller]
fn serves(cloud: &TestCloud) {
    assert_eq!(cloud.census(), "floating_ip 1, port 1, server 1, volume 1");
    cloud.serves("servers.node", "servers.node/port[sharednet1]");
}

#[test]
fn a_server_comes_again_with_its_volume_and_address() {
    let cloud = TestCloud::with(STACK);
    cloud.converge();
    let kept = ["volumes.data", "floating_ips.node"];
    let before = cloud.ids(kept);
    cloud.take_away("server", "servers.node");
    cloud.eventually("the volume", || cloud.only("volume")["status"] == "available");
    let plan = cloud.env.anole("plan spec.yaml --detailed-exitcode").exits(2);
    let plan = plan.says("servers.node  create: was deleted outside anole");
    plan.says("attachments.data  create: server `node` is made anew").says("Untouched: volumes.data");
    cloud.converge();
    assert_eq!(cloud.ids(kept), before);
    serves(&cloud);
}

#[test]
fn a_port_comes_again_with_its_server() {
    let cloud = TestCloud::with(STACK);
    cloud.converge();
    let kept = ["volumes.data", "floating_ips.node"];
    let before = cloud.ids(kept);
    cloud.take_away("port", "servers.node/port[sharednet1]");
    let plan = cloud.env.anole("plan spec.yaml --detailed-exitcode").exits(2);
    plan.says("port[sharednet1]  create: was deleted outside anole").says("servers.node  replace");
    cloud.converge();
    assert_eq!(cloud.ids(kept), before);
    serves(&cloud);
}

#[test]
fn a_volume_comes_again_at_the_same_server() {
    let cloud = TestCloud::with(STACK);
    cloud.converge();
    let server = cloud.only("server")["id"].clone();
    let (id, volume) = (cloud.id("servers.node"), cloud.id("volumes.data"));
    cloud.call("DELETE", "compute", &format!("/servers/{id}/os-volume_attachments/{volume}"), Json::Null);
    cloud.eventually("the volume", || cloud.only("volume")["status"] == "available");
    cloud.take_away("volume", "volumes.data");
    let plan = cloud.env.anole("plan spec.yaml --detailed-exitcode").exits(2);
    plan.says("volumes.data  create: was deleted outside anole")
        .says("attachments.data  create: volume `data` is made anew");
    cloud.converge();
    assert_eq!(cloud.only("server")["id"], server);
    serves(&cloud);
}

#[test]
fn all_that_is_gone_at_once_is_asked_about() {
    let cloud = TestCloud::with("volumes: { data: { size: 1 } }\nsecurity_groups: { web: { rules: [{ port: 80 }] } }");
    cloud.converge();
    cloud.take_away("volume", "volumes.data");
    cloud.take_away("security_group", "security_groups.web");
    for command in ["plan spec.yaml", "apply spec.yaml --yes", "destroy spec.yaml --yes"] {
        cloud.env.anole(command).exits(1).says("all 2 objects that the state knows").says("--accept-missing");
    }
    assert_eq!(cloud.census(), "");
    cloud.env.anole("apply spec.yaml --accept-missing --yes").exits(0).says("2 created");
    cloud.env.has_no_changes("spec.yaml");
}

#[test]
fn what_is_gone_already_is_destroyed() {
    let cloud = TestCloud::with(
        "keypairs: { laptop: { public_key: ./key.pub } }
networks: { net: { subnets: [10.2.0.0/24] } }
routers: { edge: { external: public, networks: [net] } }
floating_ips: { spare: { network: public } }",
    );
    cloud.converge();
    cloud.take_away("keypair", "keypairs.laptop");
    cloud.take_away("floating_ip", "floating_ips.spare");
    let edge = cloud.id("routers.edge");
    let subnet = cloud.id("networks.net/subnet[10.2.0.0/24]");
    let path = format!("/v2.0/routers/{edge}/remove_router_interface");
    cloud.call("PUT", "network", &path, json!({"subnet_id": subnet}));
    cloud.take_away("network", "networks.net");
    cloud.destroy_all();
}
