//! Specs from genes: a list of small numbers, each of which is one choice. An edit of a spec is another number in one
//! place, and a spec shrinks to nothing as its genes shrink to zero.

use serde_json::{Map, json};

use super::kit::KEY;
use crate::model::Json;

/// How many genes a spec has.
pub(crate) const GENES: usize = 93;

/// The first gene that is about volumes; what comes before makes leases, networks and servers.
pub(crate) const VOLUMES: usize = 67;

/// The choices, taken one after the other: a gene always means the same, whatever the others are.
struct Genes<'a>(&'a [u8], usize);

impl Genes<'_> {
    /// One of `n`.
    fn pick(&mut self, n: usize) -> usize {
        let gene = self.0[self.1];
        self.1 += 1;
        usize::from(gene) % n
    }

    fn flip(&mut self) -> bool {
        self.pick(2) == 1
    }

    /// Those of `all` whose bit is set.
    fn some<'t>(&mut self, all: &[&'t str]) -> Vec<&'t str> {
        let mask = self.pick(1 << all.len());
        all.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, name)| *name).collect()
    }
}

/// Sections as they grow. What is not there is never referred to.
#[derive(Default)]
struct Draft(Map<String, Json>);

impl Draft {
    fn add(&mut self, section: &str, name: &str, block: Json) {
        self.0.entry(section).or_insert_with(|| json!({}))[name] = block;
    }

    fn has(&self, section: &str, name: &str) -> bool {
        self.0.get(section).is_some_and(|blocks| blocks.get(name).is_some())
    }

    fn only<'t>(&self, section: &str, names: &[&'t str]) -> Vec<&'t str> {
        names.iter().copied().filter(|name| self.has(section, name)).collect()
    }
}

/// The spec that the genes stand for, as YAML.
pub(crate) fn spec(genes: &[u8]) -> String {
    let mut genes = Genes(genes, 0);
    let mut draft = Draft::default();
    basics(&mut genes, &mut draft);
    let mut servers = Vec::new();
    for name in ["s0", "s1", "s2"] {
        servers.extend(server(&mut genes, &mut draft, name));
    }
    assert_eq!(genes.1, VOLUMES);
    storage(&mut genes, &mut draft, &servers);
    let lines: Vec<String> = draft.0.iter().map(|(section, blocks)| format!("{section}: {blocks}\n")).collect();
    lines.concat()
}

/// Leases, keys, groups, networks, a router and addresses of nobody.
fn basics(genes: &mut Genes<'_>, draft: &mut Draft) {
    let (amount, duration) = (genes.pick(3), ["4h", "8h"][genes.pick(2)]);
    if amount > 0 {
        let reservations = json!({ "node": { "flavor": "m1.medium", "amount": amount } });
        draft.add("leases", "l", json!({ "duration": duration, "reservations": reservations }));
    }
    match genes.pick(3) {
        0 => {}
        key => draft.add("keypairs", "k", json!({ "public_key": format!("{KEY}{key}") })),
    }
    for name in ["g0", "g1", "g2"] {
        let (ports, of_group, shared) = (genes.pick(4), genes.flip(), genes.flip());
        let mut rules = match ports {
            0 => continue,
            1 => json!([{ "port": 22 }]),
            2 => json!([{ "port": 80 }]),
            _ => json!([{ "ports": [22, "8888-8890"] }, { "protocol": "icmp" }]),
        };
        if let (true, Some(rules)) =
            (of_group && name != "g0" && draft.has("security_groups", "g0"), rules.as_array_mut())
        {
            rules.push(json!({ "port": 5000, "remote_group": "g0" }));
        }
        draft.add("security_groups", name, json!({ "rules": rules, "shared": shared && name == "g2" }));
    }
    for (name, ranges) in [("n0", ["10.0.0.0/24", "10.0.1.0/24"]), ("n1", ["10.1.0.0/24", "10.1.1.0/24"])] {
        let (subnets, security) = (genes.pick(3), genes.pick(3));
        if subnets > 0 {
            let mut network = json!({ "subnets": ranges[..subnets] });
            if security > 0 {
                network["port_security"] = json!(security == 1);
            }
            draft.add("networks", name, network);
        }
    }
    let (router, networks) = (genes.pick(3), genes.some(&["n0", "n1"]));
    if router > 0 {
        let mut block = json!({ "networks": draft.only("networks", &networks) });
        if router > 1 {
            block["external"] = json!("public");
        }
        draft.add("routers", "r", block);
    }
    if genes.flip() {
        draft.add("floating_ips", "spare", json!({ "network": "public" }));
    }
}

/// A server, or a set of them; how the others may refer to it.
fn server(genes: &mut Genes<'_>, draft: &mut Draft, name: &'static str) -> Vec<String> {
    let there = genes.pick(3) > 0;
    let image = ["CC-Ubuntu22.04", "CC-Ubuntu24.04", "CC-Ubuntu26.04"][genes.pick(3)];
    let mut block = json!({ "image": image });
    let (on_lease, flavor) = (genes.flip() && draft.has("leases", "l"), genes.flip());
    match on_lease {
        true => block["lease"] = json!("l"),
        false => block["flavor"] = json!(["m1.small", "m1.large"][usize::from(flavor)]),
    }
    let networks = genes.some(&["sharednet1", "n0", "n1"]);
    let own = draft.only("networks", &networks);
    let mut networks: Vec<&str> =
        networks.into_iter().filter(|name| *name == "sharednet1" || own.contains(name)).collect();
    if networks.is_empty() {
        networks.push("sharednet1");
    }
    block["networks"] = json!(networks);
    let (given, groups) = (genes.pick(4), genes.some(&["g0", "g1", "g2"]));
    if given > 0 {
        block["security_groups"] = json!(draft.only("security_groups", &groups));
    }
    if genes.flip() && draft.has("keypairs", "k") {
        block["keypair"] = json!("k");
    }
    match genes.pick(4) {
        0 => {}
        3 if draft.has("floating_ips", "spare") => block["metadata"] = json!({ "to": "${floating_ips.spare.address}" }),
        other => block["metadata"] = json!({ "tier": other.to_string() }),
    }
    match genes.pick(4) {
        0 => {}
        3 if draft.has("floating_ips", "spare") => block["user_data"] = json!("echo ${floating_ips.spare.address}"),
        other => block["user_data"] = json!(format!("echo {other}")),
    }
    match genes.pick(6) {
        4 => block["protect"] = json!(true),
        5 => block["protect"] = json!(false),
        _ => {}
    }
    if genes.pick(4) == 3 {
        block["on_image_change"] = json!("rebuild");
    }
    if genes.pick(6) == 5 {
        block["ignore_changes"] = json!(["image"]);
    }
    let (repeat, keys, renamed) = (genes.pick(5), genes.some(&["x", "y", "z"]), genes.flip());
    let (name, instances) = match name {
        // A set of its own, that loses keys from the middle.
        "s2" => {
            block["for_each"] = json!(keys);
            ("s2", keys.iter().map(|key| format!("s2[{key}]")).collect())
        }
        "s1" if repeat > 1 => {
            block["count"] = json!(repeat - 1);
            ("s1", (0..repeat - 1).map(|index| format!("s1[{index}]")).collect())
        }
        "s0" => {
            let (name, was) = if renamed { ("s0b", "servers.s0") } else { ("s0", "servers.s0b") };
            block["was"] = json!(was);
            (name, vec![name.to_owned()])
        }
        other => (other, vec![other.to_owned()]),
    };
    if !there {
        return Vec::new();
    }
    draft.add("servers", name, block);
    instances
}

/// Volumes, where they are attached, and addresses of servers.
fn storage(genes: &mut Genes<'_>, draft: &mut Draft, servers: &[String]) {
    let mut volumes = Vec::new();
    for (name, renamed) in [("v0", "v0b"), ("v1", "v1")] {
        let (there, size, kind) = (genes.pick(4) > 0, genes.pick(3) + 1, genes.flip());
        let (protect, rename, far, ordered) = (genes.pick(5), genes.flip(), genes.pick(6) == 5, genes.flip());
        let (name, was) = if rename { (renamed, name) } else { (name, renamed) };
        let mut block = json!({ "size": format!("{size}GiB") });
        if kind {
            block["type"] = json!("ceph-ssd");
        }
        if name != was {
            block["was"] = json!(format!("volumes.{was}"));
        }
        match protect {
            3 => block["protect"] = json!(false),
            4 => block["protect"] = json!(true),
            _ => {}
        }
        if ordered && draft.has("keypairs", "k") {
            block["depends_on"] = json!(["keypairs.k"]);
        }
        if far {
            block["site"] = json!("chi");
        }
        if there {
            draft.add("volumes", name, block);
            volumes.extend((!far).then_some(name));
        }
    }
    for name in ["a0", "a1"] {
        let (there, volume, server) = (genes.pick(3) > 0, genes.pick(2), genes.pick(8));
        if there && !volumes.is_empty() && !servers.is_empty() {
            // A volume has one place.
            let volume = volumes.remove(volume % volumes.len());
            draft.add("attachments", name, json!({ "volume": volume, "server": servers[server % servers.len()] }));
        }
    }
    for name in ["f0", "f1"] {
        let (there, bound, server) = (genes.flip(), genes.pick(4) > 0, genes.pick(8));
        let mut block = json!({ "network": "public" });
        if bound && !servers.is_empty() {
            block["server"] = json!(servers[server % servers.len()]);
        }
        if there {
            draft.add("floating_ips", name, block);
        }
    }
    assert_eq!(genes.1, GENES, "all genes are used");
}
