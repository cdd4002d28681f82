//! What is sent to the site, as docs/openstack.md has it: the page is compared with what the embedded cloud was asked.

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;

use crate::environment::TestEnvironment;

const PAGE: &str = "docs/openstack.md";

/// What the resources of the table need, and may name.
const GROUND: &str = "stack: requests
sites: { kvm: { cloud: test } }
keypairs: { ground: { public_key: ./example.pub } }
networks: { ground: { subnets: [10.1.0.0/24] }, more: { subnets: [10.2.0.0/24] } }
servers: { ground: { count: 2, flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
volumes: { ground: { size: 1, protect: false } }
";

/// A row of the table: its name, a block that is added, what in it is changed in place, and to what.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const ROWS: [Row; 10] = [
    (
        "lease",
        "leases: { x: { duration: 1h, reservations: { ip: { floating_ips: { network: public } } } } }",
        &[("duration: 1h", "name: y, duration: 2h")],
    ),
    ("keypair", "keypairs: { x: { public_key: ./example.pub } }", &[]),
    (
        "security group",
        "security_groups: { x: { rules: [{ port: 22 }, { port: 80 }] } }",
        &[("{ port: 22 }, { port: 80 }", "{ port: 22 }, { port: 443 }"), ("x: { rules", "x: { name: y, rules")],
    ),
    (
        "network, with its subnets",
        "networks: { x: { subnets: [{ cidr: 10.9.0.0/24 }] } }",
        &[("x: { subnets", "x: { name: y, subnets"), ("/24 }", "/24, dns: [9.9.9.9] }")],
    ),
    (
        "router",
        "routers: { x: { external: public, networks: [ground] } }",
        &[("x: { external", "x: { name: y, external"), ("[ground]", "[more]")],
    ),
    (
        "server, with its ports",
        "servers: { x: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1], metadata: { a: b } } }",
        &[("x: { flavor", "x: { name: y, security_groups: [], flavor"), ("{ a: b }", "{ c: d }")],
    ),
    (
        "floating IP",
        "floating_ips: { x: { network: public, server: \"ground[0]\" } }",
        &[("ground[0]", "ground[1]"), ("x: { network", "x: { description: y, network")],
    ),
    (
        "volume",
        "volumes: { x: { size: 1, protect: false, metadata: { a: b } } }",
        &[("x: { size: 1", "x: { name: y, size: 2"), ("{ a: b }", "{ c: d }")],
    ),
    (
        "volume, its type",
        "volumes: { x: { size: 1, protect: false, type: ceph-ssd } }",
        &[("type: ceph-ssd", "type: ceph-hdd")],
    ),
    ("attachment", "attachments: { x: { volume: ground, server: \"ground[0]\" } }", &[]),
];

/// What an apply of specs/block.yaml sends besides its plan, as the embedded cloud makes everything at once: a request for
/// each object and one look at it; for keypair and lease, which carry no stamp, one at those of the same name before.
const APPLY: &str = "\
GET compute /os-keypairs
GET compute /os-keypairs/laptop-netid
GET compute /servers/{id}
GET network /floatingips/{id}
GET network /ports/{id}
GET network /security-groups/{id} (2)
GET reservation /leases
GET reservation /leases/{id} (2)
GET volume /volumes/{id} (2)
POST compute /os-keypairs
POST compute /servers
POST compute /servers/{id}/os-volume_attachments
POST network /floatingips
POST network /ports
POST network /security-group-rules (2)
POST network /security-groups (2)
POST reservation /leases
POST volume /volumes
";

/// Reads the requests since the last time, as the page writes them: `POST compute /servers`.
struct Watch {
    seen: usize,
    ids: Regex,
}

impl Watch {
    fn new() -> Self {
        // Ids; the names and the metadata keys of this file's specs.
        let ids =
            Regex::new("/[0-9a-f]{8}-[0-9a-f-]{27}|/requests-[a-z]+(-[0-9])?|/(a|c)$|/[0-9a-f]{32}").expect("a regex");
        Self { seen: 0, ids }
    }

    fn new_lines(&mut self, env: &TestEnvironment) -> Vec<String> {
        let all = env.site().requests();
        let new = all[self.seen..].iter().map(|line| self.shown(line)).collect();
        self.seen = all.len();
        new
    }

    fn shown(&self, line: &str) -> String {
        let mut words = line.split(' ');
        let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
        let (path, query) = target.split_once('?').map_or((target, String::new()), |(path, query)| {
            let keys: Vec<_> = query.split('&').filter_map(|pair| pair.split('=').next()).collect();
            (path, format!("?{}", keys.join("&")))
        });
        let mut parts = path.trim_start_matches('/').splitn(3, '/');
        let (service, _version, rest) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        let path = format!("/{rest}");
        let path = self.ids.replace_all(&path, "/{id}");
        format!("{method} {} {path}{query}", service.expect("a service"))
    }

    /// The distinct requests that change something, as a cell of the table.
    fn changes(&mut self, env: &TestEnvironment) -> Vec<String> {
        let mut changes: Vec<String> = Vec::new();
        for line in self.new_lines(env) {
            let reads = line.starts_with("GET") || line.contains("/auth/tokens");
            let line = format!("`{line}`");
            if !reads && !changes.contains(&line) {
                changes.push(line);
            }
        }
        changes
    }

    /// All requests, each with how often it was sent.
    fn counts(&mut self, env: &TestEnvironment) -> BTreeMap<String, usize> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        self.new_lines(env).into_iter().for_each(|line| *counts.entry(line).or_default() += 1);
        counts
    }

    /// A line each, with the count where it is more than one.
    fn shown_counts(counts: &BTreeMap<String, usize>) -> String {
        let line = |(line, count): (&String, &usize)| match count {
            1 => format!("{line}\n"),
            _ => format!("{line} ({count})\n"),
        };
        counts.iter().map(line).collect()
    }
}

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).expect(PAGE)
}

#[test]
fn the_table_of_changes_is_true() {
    let env = TestEnvironment::with(GROUND);
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/example.pub"), env.path("example.pub"))
        .expect("a key");
    env.apply("spec.yaml");
    let mut watch = Watch::new();
    watch.new_lines(&env);
    let mut table = String::from("| resource | is made | is changed in place | is deleted |\n|---|---|---|---|\n");
    for (name, block, edits) in ROWS {
        env.write("more.yaml", &format!("stack: requests\n{block}"));
        env.apply("spec.yaml more.yaml");
        let cell = |lines: Vec<String>| if lines.is_empty() { "–".to_owned() } else { lines.join("<br>") };
        let made = cell(watch.changes(&env));
        for (from, to) in edits {
            env.edit("more.yaml", from, to);
        }
        env.apply("spec.yaml more.yaml");
        // Changes of a server and of its ports are made side by side.
        let mut changed = watch.changes(&env);
        changed.sort();
        let changed = cell(changed);
        env.apply("spec.yaml");
        let deleted = cell(watch.changes(&env));
        table.push_str(&format!("| {name} | {made} | {changed} | {deleted} |\n"));
    }
    assert!(page().contains(&table), "{PAGE} has not this table:\n{table}");
}

#[test]
fn an_apply_sends_nothing_that_it_could_do_without() {
    let env = TestEnvironment::with_example("block.yaml");
    let mut watch = Watch::new();
    env.anole("plan block.yaml").exits(0);
    let of_plan = watch.counts(&env);
    env.apply("block.yaml");
    let mut sent = watch.counts(&env);
    for (line, count) in of_plan {
        let left = sent.get_mut(&line).unwrap_or_else(|| panic!("the apply plans otherwise: {line}"));
        *left -= count;
    }
    sent.retain(|_, count| *count > 0);
    assert_eq!(Watch::shown_counts(&sent), APPLY);
}

#[test]
fn the_requests_of_a_plan_are_true() {
    let env = TestEnvironment::with_example("block.yaml");
    env.apply("block.yaml");
    let mut watch = Watch::new();
    watch.new_lines(&env);
    env.has_no_changes("block.yaml");
    let counts = watch.counts(&env);
    let requests = format!("{}{} requests\n", Watch::shown_counts(&counts), counts.values().sum::<usize>());
    assert!(page().contains(&format!("```text\n{requests}```")), "{PAGE} has not these requests:\n{requests}");
}
