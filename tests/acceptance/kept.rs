//! Protection, of every kind: what it keeps, and what takes it away.

use super::cloud::TestCloud;

/// Every kind, each protected.
const EVERYTHING: &str = "leases: { lab: { protect: true, duration: 2h, reservations: [{ flavor: m1.tiny }] } }
keypairs: { laptop: { protect: true, public_key: ./key.pub } }
security_groups: { web: { protect: true, rules: [{ port: 80 }] } }
networks: { net: { protect: true, subnets: [10.1.0.0/24] } }
routers: { edge: { protect: true, external: public, networks: [net] } }
servers: { node: { protect: true, flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1] } }
floating_ips: { entry: { protect: true, network: public, server: node } }
volumes: { data: { size: 1 } }
attachments: { data: { protect: true, volume: data, server: node } }
";
const ADDRESSES: [&str; 9] = [
    "leases.lab",
    "keypairs.laptop",
    "security_groups.web",
    "networks.net",
    "routers.edge",
    "servers.node",
    "floating_ips.entry",
    "volumes.data",
    "attachments.data",
];
#[test]
fn what_is_protected_outlives_its_block_and_a_destroy() {
    let cloud = TestCloud::with(EVERYTHING);
    cloud.converge();
    let census = cloud.census();
    cloud.write_spec("");
    let mut ran = cloud.env.apply("spec.yaml");
    for address in ADDRESSES {
        ran = ran.says(&format!("{address}: kept (protected)"));
    }
    let mut ran = cloud.env.anole("destroy spec.yaml --yes").exits(0).says("Nothing to destroy. 9 kept (protected)");
    for address in ADDRESSES {
        ran = ran.says(&format!("{address}  kept (protected)"));
    }
    assert_eq!(cloud.census(), census);
    cloud.destroy_all();
}

#[test]
fn what_is_protected_is_not_made_anew() {
    let cloud = TestCloud::with(EVERYTHING);
    cloud.converge();
    for (address, from, to) in [
        ("leases.lab", "flavor: m1.tiny }]", "flavor: m1.small }]"),
        ("keypairs.laptop", "protect: true, public_key", "protect: true, name: other, public_key"),
        ("servers.node", "image: CC-Ubuntu24.04", "image: CC-Ubuntu22.04"),
        ("floating_ips.entry", "protect: true, network: public", "protect: true, network: public, lease: lab"),
        ("volumes.data", "size: 1 }", "size: 1, image: CC-Ubuntu24.04 }"),
    ] {
        cloud.write_spec(&EVERYTHING.replacen(from, to, 1));
        let ran = cloud.env.anole("plan spec.yaml").exits(1);
        ran.says(&format!("{address} is protected and would be replaced"));
    }
    cloud.write_spec(EVERYTHING);
    for address in ADDRESSES {
        let ran = cloud.env.anole(&format!("plan spec.yaml --replace {address}")).exits(1);
        ran.says(&format!("{address} is protected and would be replaced: marked by --replace"));
    }
    cloud.env.has_no_changes("spec.yaml");
}

#[test]
fn one_that_is_named_goes_and_the_others_stay() {
    let cloud =
        TestCloud::with("volumes: { a: { size: 1 }, b: { size: 1 } }\nsecurity_groups: { web: { protect: true } }");
    cloud.converge();
    let ran = cloud.env.anole("destroy spec.yaml --include-protected=volumes.a --yes").exits(0);
    ran.says("DATA LOSS: 1 GiB volume `acceptance-a`")
        .says("volumes.b: kept (protected)")
        .says("security_groups.web: kept");
    assert_eq!(cloud.census(), "security_group 1, volume 1");
    // What its block says counts more than what was.
    cloud.write_spec("volumes: { b: { size: 1, protect: false } }\nsecurity_groups: { web: { protect: false } }");
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(cloud.census(), "");
}

#[test]
fn what_a_protected_one_needs_is_kept_with_it() {
    let cloud = TestCloud::with(
        "networks: { net: { subnets: [10.1.0.0/24] } }
routers: { edge: { protect: true, networks: [net] } }
security_groups: { web: {} }",
    );
    cloud.converge();
    cloud.env.anole("destroy spec.yaml --yes").exits(0).says("networks.net: kept (needed by routers.edge)");
    assert_eq!(cloud.census(), "network 1, port 1, router 1, subnet 1");
    cloud.destroy_all();
}
