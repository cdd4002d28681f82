//! What the machines are to be, by what the cloud's documents say.
//!
//! In: the [`State`]. Out: [`Wanted`]: which servers have a machine, whether it runs, which disks and forwards it has;
//! and every volume's size. Pure: the same documents want the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::identity::Identity;
use crate::embedded::catalogue::images;
use crate::embedded::nova::keys;
use crate::embedded::tables::{Fields, State, Table};
use crate::embedded::{Profile, catalogue};
use crate::model::Json;

const GIB: u64 = 1 << 30;

/// The port that floating IPs lead to.
pub const SSH: i64 = 22;

/// All machines and all volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// By the server's id.
    pub guests: BTreeMap<String, Guest>,
    /// Every volume's size in bytes, by its id.
    pub volumes: BTreeMap<String, u64>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// What it is told at its first boot.
    pub identity: Identity,
    /// Whether it runs.
    pub on: bool,
    /// Whether it is asked to shut down before it is stopped.
    pub gently: bool,
    /// How often it was rebuilt: another number is another root disk.
    pub build: i64,
    /// How often it was rebooted.
    pub boot: i64,
    /// The volumes that are plugged into it, by id.
    pub disks: BTreeSet<String>,
    /// The addresses that lead to its port 22.
    pub forwards: BTreeSet<Ipv4Addr>,
}

impl Wanted {
    /// What these documents want.
    #[must_use]
    pub fn of(state: &State, profile: Profile) -> Self {
        let mut wanted = Self::default();
        for server in state.all(Table::Servers) {
            if let Some(guest) = guest(server, profile) {
                wanted.guests.insert(server.text("id").to_owned(), guest);
            }
        }
        for volume in state.all(Table::Volumes).filter(|volume| volume.text("status") != "deleting") {
            let id = volume.text("id").to_owned();
            let size = volume.int("size").max(volume.get("_then").map_or(0, |then| then.int("size")));
            for server in holders(volume) {
                if let Some(guest) = wanted.guests.get_mut(server) {
                    guest.disks.insert(id.clone());
                }
            }
            wanted.volumes.insert(id, u64::try_from(size).unwrap_or_default().saturating_mul(GIB));
        }
        for floating in state.all(Table::FloatingIps) {
            let Some(port) = state.get(Table::Ports, floating.text("port_id")) else { continue };
            let Some(guest) = wanted.guests.get_mut(port.text("device_id")).filter(|_| admits_ssh(state, port)) else {
                continue;
            };
            guest.forwards.extend(local(floating.text("floating_ip_address")));
        }
        wanted
    }
}

/// The servers that a volume is to be plugged into, but for the one that has it as its root: a guest's root is always
/// its own.
fn holders(volume: &Json) -> impl Iterator<Item = &str> {
    let stays = volume.text("status") != "detaching";
    let all = volume.get("_attach").into_iter().chain(volume.list("attachments"));
    all.filter(move |one| stays && one.text("device") != "/dev/vda").map(|one| one.text("server_id"))
}

/// The machine of a server; none for one that found no host, or is on its way out.
fn guest(server: &Json, profile: Profile) -> Option<Guest> {
    let (task, broken) = (server.text("task_state"), server.text("status") == "ERROR");
    if task == "deleting" || server.has("_doomed") && !server.has("launched") || broken && !server.has("launched") {
        return None;
    }
    let comes = ["powering-on", "rebooting", "rebooting_hard", "rebuilding"].contains(&task);
    let on = comes || task != "powering-off" && server.text("vm_state") != "stopped" && !broken;
    Some(Guest {
        identity: identity(server, profile),
        on,
        gently: server.flag("_gently"),
        build: server.int("_builds"),
        boot: server.int("_boots"),
        disks: BTreeSet::new(),
        forwards: BTreeSet::new(),
    })
}

fn identity(server: &Json, profile: Profile) -> Identity {
    let image = images(profile).into_iter().find(|image| image["id"] == server["image"]);
    let plain: String =
        server.text("user_data").chars().filter(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c)).collect();
    let script = keys::decode(&plain).filter(|bytes| bytes.starts_with(b"#!"));
    Identity {
        hostname: server.text("hostname").to_owned(),
        image: image.map(|image| image.text("name").to_owned()).unwrap_or_default(),
        authorized: server.text("_key").to_owned(),
        script: script.map(|_| plain),
    }
}

/// Whether what the port lets in includes SSH from outside: all, without port security.
fn admits_ssh(state: &State, port: &Json) -> bool {
    let groups = port.list("security_groups").iter().filter_map(Json::as_str);
    !port.flag("port_security_enabled")
        || groups.flat_map(|group| state.find(Table::Rules, "security_group_id", group)).any(is_ssh)
}

/// Whether a rule lets SSH in from outside. Where outside is does not matter: every client is on this computer.
fn is_ssh(rule: &Json) -> bool {
    let protocol = ["", "tcp", "6"].contains(&rule.text("protocol"));
    let (low, high) = (rule.get("port_range_min"), rule.get("port_range_max"));
    let bound = |end: Option<&Json>, open: i64| end.and_then(Json::as_i64).unwrap_or(open);
    let ports = bound(low, 0) <= SSH && SSH <= bound(high, 65_535);
    let incoming = rule.text("direction") == "ingress" && rule.text("ethertype") == "IPv4";
    incoming && protocol && ports && !rule.has("remote_group_id")
}

/// An address that this computer itself can take: of the loopback range of a cloud with guests.
fn local(address: &str) -> Option<Ipv4Addr> {
    address.parse().ok().filter(|address: &Ipv4Addr| catalogue::is_guests_address(*address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(id: &str, more: Json) -> Json {
        let mut doc = json!({"id": id, "status": "ACTIVE", "vm_state": "active", "task_state": null, "launched": 1,
                             "hostname": id, "image": catalogue::fixed_id("image", "CC-Ubuntu22.04"), "_key": "ssh-ed25519 A",
                             "user_data": "IyEvYmluL3NoCg=="});
        for (key, value) in more.as_object().unwrap() {
            doc.set(key, value.clone());
        }
        doc
    }

    fn wanted(state: &State) -> Wanted {
        Wanted::of(state, Profile::ChameleonKvm)
    }

    fn guest(more: Json) -> Option<Guest> {
        let mut state = State::default();
        state.put(Table::Servers, "s", server("s", more));
        wanted(&state).guests.remove("s")
    }

    #[test]
    fn a_server_has_a_machine_while_it_is_wanted() {
        let on = |more: Json| guest(more).map(|guest| guest.on);
        assert_eq!(on(json!({})), Some(true));
        assert_eq!(on(json!({"status": "BUILD", "vm_state": "building", "launched": null})), Some(true));
        assert_eq!(on(json!({"task_state": "powering-off"})), Some(false));
        assert_eq!(on(json!({"vm_state": "stopped", "status": "SHUTOFF"})), Some(false));
        assert_eq!(on(json!({"vm_state": "stopped", "task_state": "powering-on"})), Some(true));
        assert_eq!(on(json!({"vm_state": "stopped", "task_state": "rebooting_hard"})), Some(true));
        assert_eq!(on(json!({"task_state": "deleting"})), None);
        assert_eq!(on(json!({"status": "BUILD", "launched": null, "_doomed": "No valid host was found. "})), None);
        assert_eq!(on(json!({"status": "ERROR", "launched": null})), None);
        assert_eq!(on(json!({"status": "ERROR"})), Some(false), "its disk is kept for a rebuild");
    }

    #[test]
    fn its_identity_is_what_it_was_made_with() {
        let identity = guest(json!({})).unwrap().identity;
        assert_eq!((identity.image.as_str(), identity.authorized.as_str()), ("CC-Ubuntu22.04", "ssh-ed25519 A"));
        assert_eq!(identity.script.as_deref(), Some("IyEvYmluL3NoCg=="));
        let cloud_config = guest(json!({"user_data": "I2Nsb3VkLWNvbmZpZwo="})).unwrap().identity;
        assert_eq!(cloud_config.script, None, "only scripts are run");
    }

    #[test]
    fn disks_are_plugged_from_the_request_on_and_until_it_is_taken_back() {
        let mut state = State::default();
        state.put(Table::Servers, "s", server("s", json!({})));
        let held = json!([{"server_id": "s", "device": "/dev/vdb"}]);
        for (id, doc) in [
            ("free", json!({"status": "available", "size": 1, "attachments": []})),
            ("comes", json!({"status": "reserved", "size": 1, "_attach": {"server_id": "s", "device": "/dev/vdc"}})),
            ("there", json!({"status": "in-use", "size": 2, "attachments": held})),
            ("grows", json!({"status": "extending", "size": 2, "attachments": held, "_then": {"size": 3}})),
            ("leaves", json!({"status": "detaching", "size": 1, "attachments": held})),
            ("root", json!({"status": "in-use", "size": 1, "attachments": [{"server_id": "s", "device": "/dev/vda"}]})),
            ("gone", json!({"status": "deleting", "size": 1, "attachments": []})),
        ] {
            let mut doc = doc;
            doc.set("id", id);
            state.put(Table::Volumes, id, doc);
        }
        let wanted = wanted(&state);
        assert_eq!(Vec::from_iter(&wanted.guests["s"].disks), ["comes", "grows", "there"]);
        assert_eq!(wanted.volumes["grows"], 3 * GIB);
        assert!(wanted.volumes.contains_key("free") && !wanted.volumes.contains_key("gone"));
    }

    #[test]
    fn an_address_leads_in_only_where_the_port_lets_ssh_in() {
        let forwarded = |port: Json, rule: Json| {
            let mut state = State::default();
            state.put(Table::Servers, "s", server("s", json!({})));
            let mut port = port;
            port.set("device_id", "s");
            port.set("security_groups", json!(["g"]));
            state.put(Table::Ports, "p", port);
            let mut whole = json!({"security_group_id": "g", "direction": "ingress", "ethertype": "IPv4"});
            rule.as_object().unwrap().iter().for_each(|(key, value)| whole.set(key, value.clone()));
            state.put(Table::Rules, "r", whole);
            for (id, address) in [("f", "127.77.5.20"), ("far", "129.114.24.20"), ("own", "127.0.0.5")] {
                state.put(Table::FloatingIps, id, json!({"port_id": "p", "floating_ip_address": address}));
            }
            let found = wanted(&state).guests["s"].forwards.clone();
            assert!(found.is_empty() || Vec::from_iter(&found) == [&Ipv4Addr::new(127, 77, 5, 20)]);
            !found.is_empty()
        };
        let secure = || json!({"port_security_enabled": true});
        assert!(forwarded(secure(), json!({"protocol": "tcp", "port_range_min": 22, "port_range_max": 22})));
        assert!(forwarded(secure(), json!({"protocol": null, "remote_ip_prefix": "0.0.0.0/0"})));
        assert!(forwarded(secure(), json!({"protocol": "tcp", "port_range_min": 1, "port_range_max": 1024})));
        assert!(!forwarded(secure(), json!({"protocol": "tcp", "port_range_min": 80, "port_range_max": 443})));
        assert!(!forwarded(secure(), json!({"protocol": "icmp"})));
        assert!(!forwarded(secure(), json!({"protocol": "tcp", "direction": "egress"})));
        assert!(!forwarded(secure(), json!({"protocol": "tcp", "ethertype": "IPv6"})));
        assert!(!forwarded(secure(), json!({"protocol": "tcp", "remote_group_id": "g"})));
        assert!(forwarded(json!({"port_security_enabled": false}), json!({"protocol": "icmp"})));
    }
}
