//! The embedded cloud serves others: the `openstack` command of python-openstackclient signs in, lists and shows every
//! kind, makes, attaches and deletes.
//!
//! Ignored unless asked for, because the command has to be on the machine. `tests/acceptance/run` asks, with the lab's.

use std::process::Command;

use serde_json::Value as Json;

use super::client::text;
use super::cloud::TestCloud;
use crate::environment::Ran;

/// The `openstack` command, signed in as the test's user.
struct OpenStack<'a>(&'a TestCloud);

impl OpenStack<'_> {
    fn run(&self, words: &[&str]) -> Ran {
        let program = std::env::var("ANOLE_OPENSTACK_COMMAND").unwrap_or_else(|_| "openstack".to_owned());
        let mut command = Command::new(&program);
        command.args(words).current_dir(self.0.env.path("")).env("OS_CLIENT_CONFIG_FILE", "clouds.yaml");
        command.env("OS_CLOUD", "test").env("HOME", self.0.env.path(""));
        let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
        Ran::new(&format!("# openstack {}", words.join(" ")), output)
    }

    /// A command that succeeds.
    #[track_caller]
    fn does(&self, words: &str) -> Ran {
        self.run(&words.split_whitespace().collect::<Vec<_>>()).exits(0)
    }

    /// What a command that succeeds prints.
    #[track_caller]
    fn json(&self, words: &str) -> Json {
        self.does(&format!("{words} -f json")).json()
    }

    /// Whether a list has an object of that name or id.
    #[track_caller]
    fn lists(&self, what: &str, name: &str) -> bool {
        let list = self.json(&format!("{what} list"));
        let list = list.as_array().expect("a list");
        list.iter().any(|item| item.as_object().is_some_and(|item| item.values().any(|value| value == name)))
    }
}

const EVERYTHING: &str = "leases: { lab: { duration: 4h, reservations: { node: { flavor: m1.small } } } }
keypairs: { laptop: { name: laptop, public_key: ./key.pub } }
security_groups: { ssh: { name: ssh, rules: [{ port: 22 }] } }
networks: { inside: { name: inside, subnets: [{ cidr: 10.1.0.0/24, name: ten }] } }
routers: { edge: { name: edge, external: public, networks: [inside] } }
servers: { node: { name: node, lease: lab, image: CC-Ubuntu24.04, keypair: laptop, networks: [inside],
                   security_groups: [ssh] } }
floating_ips: { node: { network: public, server: node } }
volumes: { data: { name: data, size: 1 } }
attachments: { data: { volume: data, server: node } }
";

#[test]
#[ignore = "needs the openstack command"]
fn what_anole_made_is_listed_and_shown() {
    let cloud = TestCloud::with(EVERYTHING);
    cloud.converge();
    let openstack = OpenStack(&cloud);
    let id = |address: &str| cloud.id(address);
    for (what, name) in [
        ("server", "node"),
        ("volume", "data"),
        ("security group", "ssh"),
        ("network", "inside"),
        ("subnet", "ten"),
        ("router", "edge"),
        ("keypair", "laptop"),
        ("image", "CC-Ubuntu24.04"),
        ("flavor", "m1.small"),
        ("volume type", "ceph-ssd"),
    ] {
        assert!(openstack.lists(what, name), "{what} list has {name}");
        assert_eq!(openstack.json(&format!("{what} show {name}"))["name"], name, "{what} show");
    }
    for (what, id) in [("port", text(&cloud.all("port")[0]["id"])), ("floating ip", id("floating_ips.node"))] {
        assert!(openstack.lists(what, &id), "{what} list has {id}");
        assert_eq!(openstack.json(&format!("{what} show {id}"))["id"], id, "{what} show");
    }
    let rules = openstack.json("security group rule list ssh");
    assert_eq!(rules.as_array().map(Vec::len), Some(3));
    let server = openstack.json("server show node");
    assert_eq!(server["status"], "ACTIVE");
    assert_eq!(server["volumes_attached"][0]["id"], id("volumes.data"));
    assert!(openstack.lists("reservation lease", "acceptance-lab"));
    assert_eq!(openstack.json("reservation lease show acceptance-lab")["status"], "ACTIVE");
    for words in ["catalog list", "project list --my-projects", "limits show --absolute", "quota show", "token issue"] {
        openstack.does(words);
    }
}

#[test]
#[ignore = "needs the openstack command"]
fn it_makes_attaches_and_deletes() {
    let cloud = TestCloud::with("");
    let openstack = OpenStack(&cloud);
    openstack.does("security group create web --description theirs");
    openstack.does("security group rule create web --protocol tcp --dst-port 80");
    openstack.does("keypair create laptop --public-key key.pub");
    openstack.does(
        "server create node --flavor m1.tiny --image CC-Ubuntu24.04 --network sharednet1 --security-group web \
         --key-name laptop --wait",
    );
    openstack.does("volume create data --size 1 --type ceph-ssd");
    cloud.eventually("the volume", || cloud.only("volume")["status"] == "available");
    openstack.does("server add volume node data");
    cloud.eventually("the attachment", || cloud.only("volume")["status"] == "in-use");
    let address = text(&openstack.json("floating ip create public")["floating_ip_address"]);
    openstack.does(&format!("server add floating ip node {address}"));
    let server = openstack.json("server show node");
    assert!(server["addresses"].to_string().contains(&address), "{server}");
    assert_eq!(cloud.census(), "floating_ip 1, keypair 1, port 1, security_group 1, server 1, volume 1");

    openstack.does(&format!("server remove floating ip node {address}"));
    openstack.does(&format!("floating ip delete {address}"));
    openstack.does("server remove volume node data");
    cloud.eventually("the detachment", || cloud.only("volume")["status"] == "available");
    openstack.does("server delete node --wait");
    openstack.does("volume delete data");
    openstack.does("security group delete web");
    openstack.does("keypair delete laptop");
    cloud.eventually("the end of the volume", || cloud.census().is_empty());
}

#[test]
#[ignore = "needs the openstack command"]
fn it_adopts_and_imports_what_the_command_made() {
    let cloud = TestCloud::with("volumes: { data: { size: 1 } }\nsecurity_groups: { web: { adopt: web, rules: [] } }");
    let openstack = OpenStack(&cloud);
    openstack.does("security group create web");
    let volume = text(&openstack.json("volume create old-data --size 1")["id"]);
    cloud.eventually("the volume", || cloud.only("volume")["status"] == "available");
    cloud.env.anole(&format!("import volumes.data {volume} -f spec.yaml")).exits(0);
    cloud.converge();
    assert_eq!(cloud.id("volumes.data"), volume);
    cloud.env.anole("destroy spec.yaml --yes --include-protected").exits(0);
    assert!(openstack.lists("security group", "web"));
    assert_eq!(cloud.census(), "security_group 1");
}
