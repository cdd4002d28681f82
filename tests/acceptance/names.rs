//! Names as people write them: spaces, quotes, other scripts, signs that some language reads as its own.

use super::client::text;
use super::cloud::TestCloud;

/// A name, as YAML in double quotes has it.
const NAMES: [&str; 4] =
    ["Zoë's \"big\" node", "数据 — набор данных", "a/b?c=d&e%20f #g;h", "$HOME {x} <y> 'z' \\n 100% @home"];

fn spec(name: &str, image: &str) -> String {
    let quoted = serde_json::to_string(name).expect("a text").replace("${", "$${");
    format!(
        "security_groups: {{ g: {{ name: {quoted}, description: {quoted}, rules: [{{ port: 22, description: {quoted} }}] }} }}
networks: {{ n: {{ name: {quoted}, description: {quoted}, subnets: [{{ cidr: 10.9.0.0/24, name: {quoted} }}] }} }}
routers: {{ r: {{ name: {quoted}, external: public, networks: [n] }} }}
servers: {{ s: {{ name: {quoted}, flavor: m1.tiny, image: {image}, networks: [n], security_groups: [g],
                 metadata: {{ course: {quoted} }} }} }}
floating_ips: {{ f: {{ network: public, server: s, description: {quoted} }} }}
volumes: {{ v: {{ name: {quoted}, size: 1, description: {quoted}, metadata: {{ course: {quoted} }}, protect: false }} }}
attachments: {{ a: {{ volume: v, server: s }} }}
leases: {{ l: {{ name: {quoted}, duration: 2h, reservations: {{ x: {{ flavor: m1.tiny }} }} }} }}
"
    )
}

#[test]
fn any_name_is_given_found_and_deleted() {
    for name in NAMES {
        let cloud = TestCloud::with(&spec(name, "CC-Ubuntu24.04"));
        cloud.converge();
        for kind in ["security_group", "network", "subnet", "router", "server", "volume", "lease"] {
            assert_eq!(text(&cloud.only(kind)["name"]), name, "{kind}");
        }
        assert_eq!(cloud.only("server")["metadata"]["course"], name);
        assert_eq!(cloud.only("volume")["metadata"]["course"], name);
        std::fs::remove_file(cloud.env.path("state/acceptance.json")).expect("a state");
        cloud.env.anole("state recover -f spec.yaml --yes").exits(0);
        cloud.env.has_no_changes("spec.yaml");
        cloud.env.anole("destroy spec.yaml --yes").exits(0);
        assert_eq!(cloud.census(), "", "{name}");
    }
}

#[test]
fn what_a_site_cannot_keep_is_told() {
    for spec in [
        "security_groups: { g: { name: \"\u{1f98e}\", rules: [] } }",
        "volumes: { v: { size: 1, metadata: { pet: \"\u{1f98e}\" } } }",
        "leases: { l: { name: \"\u{1f98e}\", duration: 2h, reservations: { x: { flavor: m1.tiny } } } }",
    ] {
        let cloud = TestCloud::with(spec);
        let ran = cloud.env.anole("apply spec.yaml --yes").exits(1).says("answered 500").says("(req-");
        ran.says("most likely cannot keep the character `\u{1f98e}`");
        assert_eq!(cloud.census(), "");
    }
}

#[test]
fn a_keypairs_name_is_as_nova_allows_and_others_are_told() {
    let cloud = TestCloud::with("keypairs: { k: { name: \"laptop of _1-2\", public_key: ./key.pub } }");
    cloud.converge();
    assert_eq!(text(&cloud.only("keypair")["name"]), "laptop of _1-2");
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    cloud.write_spec("keypairs: { k: { name: \"数据/x\", public_key: ./key.pub } }");
    cloud.env.anole("apply spec.yaml --yes").exits(1).says("a keypair's name cannot have `数` in it");
    assert_eq!(cloud.census(), "");
}
