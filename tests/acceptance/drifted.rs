//! What somebody changes behind anole's back is told as such, and the next apply puts it right; what is somebody
//! else's is left as it is.

use serde_json::{Value as Json, json};

use super::client::{described, has, text};
use super::cloud::TestCloud;
use super::made::{interfaces, rules};

impl TestCloud {
    /// These fields and no others have drifted; an apply puts them right.
    #[track_caller]
    fn mends(&self, drifted: &[(&str, &str)]) {
        let drift = self.env.anole("drift spec.yaml --json --detailed-exitcode").exits(2).lines();
        let mut told: Vec<String> = Vec::new();
        for action in drift.iter().filter(|line| line["type"] == "action") {
            assert_eq!(action["verb"], "update", "{action}");
            let reasons = action["reasons"].as_array().expect("reasons").iter();
            told.extend(reasons.map(|reason| format!("{}: {}", text(&action["address"]), text(&reason["text"]))));
        }
        told.sort();
        let told_of = |(address, field): &(&str, &str)| format!("{address}: {field} was changed outside anole");
        let mut wanted: Vec<_> = drifted.iter().map(told_of).collect();
        wanted.sort();
        assert_eq!(told, wanted);
        self.converge();
    }

    /// Changes the resource's object by hand.
    #[track_caller]
    fn tamper(&self, kind: &str, address: &str, fields: Json) {
        self.change(kind, &self.id(address), fields);
    }
}

#[test]
fn names_and_descriptions() {
    let cloud = TestCloud::with(
        "leases: { lab: { duration: 2h, reservations: [{ flavor: m1.tiny }] } }
security_groups: { web: { description: ours, rules: [] } }
networks: { net: { description: ours, subnets: [10.1.0.0/24] } }
routers: { edge: { description: ours } }
servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
floating_ips: { spare: { network: public, description: ours } }
volumes: { data: { size: 1, description: ours } }",
    );
    cloud.converge();
    let all = [
        ("lease", "leases.lab", false),
        ("security_group", "security_groups.web", true),
        ("network", "networks.net", true),
        ("subnet", "networks.net/subnet[10.1.0.0/24]", false),
        ("router", "routers.edge", true),
        ("server", "servers.node", false),
        ("volume", "volumes.data", true),
    ];
    let names = || all.map(|(kind, address, _)| cloud.object(kind, address)["name"].clone());
    let before = names();
    for (kind, address, has_description) in all {
        let mut theirs = json!({"name": "theirs"});
        if has_description {
            theirs["description"] = json!("theirs");
        }
        cloud.tamper(kind, address, theirs);
    }
    cloud.tamper("floating_ip", "floating_ips.spare", json!({"description": "theirs"}));
    assert_eq!(names()[0], "theirs");

    let mut drifted = all.map(|(_, address, _)| (address, "name")).to_vec();
    let with_description = all.iter().filter(|(.., has_description)| *has_description);
    drifted.extend(with_description.map(|(_, address, _)| (*address, "description")));
    drifted.push(("floating_ips.spare", "description"));
    cloud.mends(&drifted);
    assert_eq!(names(), before);
    for (kind, address, _) in all.into_iter().filter(|(.., has_description)| *has_description) {
        described(&cloud.object(kind, address), "ours");
    }
    described(&cloud.only("floating_ip"), "ours");
}

#[test]
fn metadata_where_others_keys_are_left() {
    let cloud = TestCloud::with(
        "servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1], metadata: { a: \"1\", b: \"2\" } } }
volumes: { data: { size: 1, metadata: { a: \"1\", b: \"2\" } } }",
    );
    cloud.converge();
    let both = [("compute", "server", "servers.node"), ("block-storage", "volume", "volumes.data")];
    for (service, kind, address) in both {
        let path = format!("/{kind}s/{}/metadata", cloud.id(address));
        cloud.call("POST", service, &path, json!({"metadata": {"a": "theirs", "c": "theirs"}}));
        cloud.call("DELETE", service, &format!("{path}/b"), Json::Null);
    }
    cloud.mends(&[("servers.node", "metadata"), ("volumes.data", "metadata")]);
    for (_, kind, address) in both {
        let metadata = &cloud.object(kind, address)["metadata"];
        has(metadata, &json!({"a": "1", "b": "2", "c": "theirs"}));
        assert!(text(&metadata["anole"]).contains(address), "{metadata}");
    }
}

#[test]
fn rules_of_a_group_and_of_a_shared_one() {
    let cloud = TestCloud::with(
        "security_groups:
  web: { rules: [{ port: 80 }, { port: 443 }] }
  allow-ssh: { shared: true, rules: [{ port: 22 }] }
  out: { rules: [{ direction: egress, port: 443 }] }",
    );
    cloud.converge();
    let add = |group: &str, port: u16, direction: &str| {
        let rule = json!({"security_group_id": cloud.id(group), "direction": direction, "ethertype": "IPv4",
            "protocol": "tcp", "port_range_min": port, "port_range_max": port});
        cloud.make("security_group_rule", rule);
    };
    let remove = |group: &str, port: u16| {
        let group = cloud.object("security_group", group);
        let rule = group["security_group_rules"].as_array().into_iter().flatten();
        let rule = rule.clone().find(|rule| rule["port_range_min"] == port).expect("the rule");
        cloud.delete("security_group_rule", &text(&rule["id"]));
    };
    add("security_groups.web", 23, "ingress");
    add("security_groups.web", 24, "egress");
    remove("security_groups.web", 80);
    add("security_groups.allow-ssh", 23, "ingress");
    remove("security_groups.allow-ssh", 22);
    add("security_groups.out", 25, "egress");
    cloud.mends(&[
        ("security_groups.web", "rules"),
        ("security_groups.allow-ssh", "rules"),
        ("security_groups.out", "rules"),
    ]);
    let ports = |group: &str| {
        let own = |rule: &String| !rule.contains("---");
        let rules = rules(&cloud.object("security_group", group), &[]);
        rules.into_iter().filter(own).map(|rule| rule.replace(" IPv4 tcp", "").replace(" 0.0.0.0/0", "")).collect()
    };
    let sorted = |mut rules: Vec<String>| {
        rules.sort();
        rules.join(", ")
    };
    // What goes out is left alone where the spec says nothing of it.
    assert_eq!(sorted(ports("security_groups.web")), "egress 24-24 -, ingress 443-443, ingress 80-80");
    assert_eq!(sorted(ports("security_groups.allow-ssh")), "ingress 22-22, ingress 23-23 -");
    assert_eq!(sorted(ports("security_groups.out")), "egress 443-443");
}

#[test]
fn networks_and_subnets() {
    let cloud = TestCloud::with(
        "networks:
  net:
    mtu: 1400
    port_security: false
    subnets:
    - { cidr: 10.1.0.0/24, dns: [1.1.1.1], allocation_pools: [{ start: 10.1.0.10, end: 10.1.0.20 }] }
    - { cidr: 10.2.0.0/24, gateway: none }",
    );
    cloud.converge();
    cloud.tamper("network", "networks.net", json!({"mtu": 1300, "port_security_enabled": true}));
    let [one, two] = ["10.1.0.0/24", "10.2.0.0/24"].map(|cidr| format!("networks.net/subnet[{cidr}]"));
    let pools = json!([{"start": "10.1.0.30", "end": "10.1.0.40"}]);
    cloud.tamper(
        "subnet",
        &one,
        json!({"dns_nameservers": ["8.8.4.4"], "enable_dhcp": false, "allocation_pools": pools}),
    );
    cloud.tamper(
        "subnet",
        &two,
        json!({"gateway_ip": "10.2.0.1", "allocation_pools": [{"start": "10.2.0.2", "end": "10.2.0.9"}]}),
    );
    cloud.mends(&[
        ("networks.net", "mtu"),
        ("networks.net", "port_security"),
        (&one, "dns"),
        (&one, "dhcp"),
        (&one, "allocation_pools"),
        (&two, "gateway"),
    ]);
    has(&cloud.only("network"), &json!({"mtu": 1400, "port_security_enabled": false}));
    let pools = json!([{"start": "10.1.0.10", "end": "10.1.0.20"}]);
    has(
        &cloud.object("subnet", &one),
        &json!({"dns_nameservers": ["1.1.1.1"], "enable_dhcp": true, "allocation_pools": pools}),
    );
    has(&cloud.object("subnet", &two), &json!({"gateway_ip": null}));
}

#[test]
fn a_routers_interfaces_and_its_way_out() {
    let cloud = TestCloud::with(
        "networks: { one: { subnets: [10.1.0.0/24, 10.2.0.0/24] }, two: { subnets: [10.3.0.0/24] } }
routers: { edge: { external: public, networks: [one] } }",
    );
    cloud.converge();
    let edge = cloud.id("routers.edge");
    let interface = |verb: &str, cidr: &str| {
        let network = if cidr.starts_with("10.3") { "two" } else { "one" };
        let subnet = cloud.id(&format!("networks.{network}/subnet[{cidr}]"));
        cloud.call(
            "PUT",
            "network",
            &format!("/v2.0/routers/{edge}/{verb}_router_interface"),
            json!({"subnet_id": subnet}),
        );
    };
    interface("remove", "10.1.0.0/24");
    cloud.mends(&[("routers.edge", "networks")]);
    assert_eq!(interfaces(&cloud, &cloud.only("router")), ["10.1.0.1", "10.2.0.1"]);

    interface("add", "10.3.0.0/24");
    cloud.tamper("router", "routers.edge", json!({"external_gateway_info": null}));
    cloud.mends(&[("routers.edge", "networks"), ("routers.edge", "external")]);
    let router = cloud.only("router");
    assert_eq!(router["external_gateway_info"]["network_id"], cloud.site_id("network", "public"));
    assert_eq!(interfaces(&cloud, &router), ["10.1.0.1", "10.2.0.1"]);
}

const BOUND: &str = "security_groups: { ssh: { rules: [{ port: 22 }] } }
servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1], security_groups: [ssh] } }
floating_ips: { node: { network: public, server: node } }
volumes: { data: { size: 1 } }
attachments: { data: { volume: data, server: node } }
";

#[test]
fn what_was_let_go_of_a_server() {
    let cloud = TestCloud::with(BOUND);
    cloud.converge();
    let (server, volume) = (cloud.id("servers.node"), cloud.id("volumes.data"));
    cloud.tamper("floating_ip", "floating_ips.node", json!({"port_id": null}));
    cloud.tamper("port", "servers.node/port[sharednet1]", json!({"security_groups": []}));
    cloud.call("DELETE", "compute", &format!("/servers/{server}/os-volume_attachments/{volume}"), Json::Null);
    cloud.eventually("the volume", || cloud.only("volume")["status"] == "available");

    cloud.env.anole("drift spec.yaml --detailed-exitcode").exits(2);
    let plan = cloud.env.anole("plan spec.yaml").exits(0).says("server was changed outside anole");
    let plan = plan.says("security_groups was changed outside anole");
    plan.says("attachments.data  create: was deleted outside anole").says("1 to create, 1 to change");
    cloud.converge();
    let port = cloud.only("port");
    assert_eq!(port["security_groups"], json!([cloud.id("security_groups.ssh")]));
    assert_eq!(cloud.only("floating_ip")["port_id"], port["id"]);
    assert_eq!(cloud.only("volume")["attachments"][0]["server_id"], Json::from(server));
    assert_eq!(cloud.only("volume")["id"], Json::from(volume));
}

#[test]
fn an_address_that_somebody_gave_to_a_server_of_theirs_is_not_taken_back() {
    let cloud = TestCloud::with(BOUND);
    cloud.converge();
    let theirs = cloud.foreign_server("theirs", &json!({}));
    let port = cloud.all("port").into_iter().find(|port| port["device_id"] == theirs.as_str()).expect("a port");
    cloud.tamper("floating_ip", "floating_ips.node", json!({"port_id": port["id"]}));
    cloud.env.anole("plan spec.yaml --detailed-exitcode").exits(2).says("server was changed outside anole");
    let ran = cloud.env.anole("apply spec.yaml --yes").exits(1).says("which is not this stack's").says(&theirs);
    ran.says("unbind it first");
    assert_eq!(cloud.only("floating_ip")["port_id"], port["id"]);
}

#[test]
fn a_server_that_somebody_stopped_is_left_so() {
    let cloud =
        TestCloud::with("servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }");
    cloud.converge();
    let id = cloud.id("servers.node");
    cloud.call("POST", "compute", &format!("/servers/{id}/action"), json!({"os-stop": null}));
    cloud.eventually("the stop", || cloud.only("server")["status"] == "SHUTOFF");
    cloud.env.has_no_changes("spec.yaml");
    cloud.env.edit("spec.yaml", "flavor: m1.tiny", "name: renamed, flavor: m1.tiny");
    cloud.converge();
    has(&cloud.only("server"), &json!({"id": id, "name": "renamed", "status": "SHUTOFF"}));
}
