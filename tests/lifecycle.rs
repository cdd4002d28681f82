//! The main job on the example specs: apply, plan nothing, recreate by one edit, take a part out, destroy.

use serde_json::Value as Json;

use crate::data;
use crate::environment::TestEnvironment;

/// What changes from run to run, in a plan shown to people.
pub const VARYING: [(&str, &str); 2] =
    [(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[id]"), (r"ends in \d+ h \d+ min", "ends in [time]")];

#[test]
fn the_quickstart_applies_and_is_destroyed() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    let applied = env.anole("apply quickstart.yaml --embedded --yes").exits(0);
    let everything =
        "floatingips 1, keypairs 1, ports 1, security_group_rules 3, security_groups 1, servers 1, volumes 1";
    assert_eq!(env.site().census(), everything);
    let address = env.site().only("floatingips")["floating_ip_address"].clone();
    applied.says(&format!("address = {}", address.as_str().expect("an address")));
    assert_eq!(env.anole("output address -f quickstart.yaml").exits(0).stdout.trim(), address);
    env.anole("plan quickstart.yaml --detailed-exitcode").exits(0).says("No changes.");

    env.anole("destroy quickstart.yaml --yes").exits(0).says("volumes.data: kept (protected)");
    assert_eq!(env.site().census(), "volumes 1");
    env.anole("output address -f quickstart.yaml").exits(1);
    env.anole("destroy quickstart.yaml --yes --include-protected").exits(0).says("DATA LOSS");
    assert_eq!(env.site().census(), "");
}

#[test]
fn one_edited_line_recreates_the_server_and_keeps_volume_and_address() {
    let env = TestEnvironment::with_example("block.yaml");
    env.apply("block.yaml");
    let kept = || {
        let (site, server) = (env.site(), env.site().only("servers")["id"].clone());
        let (volume, address) = (site.only("volumes"), site.only("floatingips"));
        let pick = |object: &Json, key: &str| object[key].as_str().expect(key).to_owned();
        (server, [pick(&volume, "id"), pick(&address, "id"), pick(&address, "floating_ip_address")])
    };
    let before = kept();

    env.edit("block.yaml", "image: CC-Ubuntu24.04", "image: CC-Ubuntu22.04");
    let plan = env.anole("plan block.yaml --detailed-exitcode").exits(2);
    insta::with_settings!({ filters => VARYING }, {
        insta::assert_snapshot!(plan.stdout, @"
        Stack block on kvm = KVM@TACC, project CHI-embedded, user demo

        -/+ servers.node-block  replace: image changed
              image: CC-Ubuntu24.04 -> CC-Ubuntu22.04  (needs a new object)
              -/+ port[sharednet1]  replace: its server `node-block` is replaced

          ~ floating_ips.node-block  update in place: server `node-block` is replaced
              server: servers.node-block ([id]) -> servers.node-block (known after apply)

        -/+ attachments.data  replace: server `node-block` is replaced
              server: servers.node-block ([id]) -> servers.node-block (known after apply)  (needs a new object)
              -/+ mount  mount again: attachment `data` is replaced, server `node-block` is replaced
                  recorded, not carried out: make an ext4 filesystem on a partition of the volume, if it is blank
                  recorded, not carried out: mount it at /mnt/block
                  recorded, not carried out: give it to cc

        Untouched: volumes.data, leases.block, keypairs.laptop, security_groups.allow-ssh, security_groups.jupyter.

        Note: leases.block: ends in [time]

        Plan: 0 to create, 1 to change, 2 to replace, 0 to delete.
        ");
    });
    env.apply("block.yaml");
    env.has_no_changes("block.yaml");
    let after = kept();
    assert_eq!(after.1, before.1);
    assert_ne!(after.0, before.0);
    assert_eq!(env.site().only("volumes")["attachments"][0]["server_id"], after.0);
    assert_eq!(env.site().only("floatingips")["port_id"], env.site().only("ports")["id"]);

    env.anole("destroy block.yaml --yes").exits(0).says("volumes.data: kept (protected)");
    env.anole("destroy block.yaml --yes --include-protected").exits(0);
    assert_eq!(env.site().census(), "");
}

#[test]
fn a_key_taken_out_of_the_map_removes_one_server_only() {
    let env = TestEnvironment::with_example("nodes.yaml");
    env.apply("nodes.yaml");
    let ids = || {
        let tables =
            ["servers", "ports", "floatingips", "networks", "subnets", "leases", "security_groups", "keypairs"];
        tables.map(|table| env.site().ids(table))
    };
    let before = ids();
    assert_eq!((before[0].len(), before[1].len()), (3, 6));
    let node2 = env.id("nodes.yaml", "servers.node[node2]");
    let its_ports =
        ["sharednet1", "private"].map(|net| env.id("nodes.yaml", &format!("servers.node[node2]/port[{net}]")));

    env.edit("nodes.yaml", "node2: 192.168.1.12, ", "");
    let plan = env.anole("plan nodes.yaml --json").exits(0);
    let mut actions = plan.actions();
    actions.sort();
    let gone = ["", "/port[private]", "/port[sharednet1]"].map(|part| format!("delete servers.node[node2]{part}"));
    assert_eq!(actions, gone);
    env.apply("nodes.yaml");
    let mut left = before;
    left[0].retain(|id| *id != node2);
    left[1].retain(|id| !its_ports.contains(id));
    assert_eq!(ids(), left);
    env.has_no_changes("nodes.yaml");
}

#[test]
fn another_address_replaces_that_server_and_says_why() {
    let env = TestEnvironment::with_example("nodes.yaml");
    env.apply("nodes.yaml");
    env.edit("nodes.yaml", "192.168.1.12", "192.168.1.22");
    let plan = env.anole("plan nodes.yaml").exits(0).says("1 to replace, 0 to delete");
    plan.says("servers.node[node2]  replace: port `node[node2]/port[private]` is replaced")
        .says("port[private]  replace: fixed_ip changed")
        .says("port[sharednet1]  replace: its server `node[node2]` is replaced");
    env.apply("nodes.yaml");
    env.has_no_changes("nodes.yaml");
}

#[test]
fn a_subnet_of_another_range_takes_the_ports_on_it_along() {
    let env = TestEnvironment::with(
        "stack: ranges\n\
         sites: { kvm: { cloud: kvm } }\n\
         networks: { inner: { subnets: [{ cidr: 10.8.0.0/24, gateway: none }] } }\n\
         servers: { a: { flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [inner, sharednet1] } }\n",
    );
    env.apply("spec.yaml");
    env.edit("spec.yaml", "10.8.0.0/24", "10.9.0.0/24");
    env.anole("plan spec.yaml").exits(0).says("subnet `inner/subnet[10.8.0.0/24]` is removed");
    env.apply("spec.yaml");
    env.has_no_changes("spec.yaml");
    env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(env.site().census(), "");
}

#[test]
fn services_are_stopped_before_their_volume_goes_and_started_when_it_is_back() {
    let env = TestEnvironment::with_example("mlflow.yaml");
    env.anole("apply mlflow.yaml --yes").exits(0).says("recorded, not carried out: start its containers");
    env.has_no_changes("mlflow.yaml");
    env.edit("mlflow.yaml", "image: CC-Ubuntu24.04", "image: CC-Ubuntu22.04");
    let ran = env.anole("apply mlflow.yaml --yes").exits(0);
    let order = [
        "scripts.mlflow: removed",
        "attachments.mlflow/mount: unmounted",
        "attachments.mlflow: deleted",
        "servers.node-mlflow: deleted",
        "servers.node-mlflow: created",
        "attachments.mlflow: created",
        "attachments.mlflow/mount: mounted",
        "scripts.mlflow: ran",
    ];
    let at: Vec<_> = order.iter().map(|line| ran.stderr.find(line).unwrap_or_else(|| panic!("{line}"))).collect();
    assert!(at.is_sorted(), "{}", ran.stderr);
    env.has_no_changes("mlflow.yaml");
    // The password is in no state, not even where nothing was sealed.
    let state = std::fs::read_to_string(env.path("state/embedded/mlflow.json")).expect("a state");
    assert!(!state.contains("change-me-please"));
}

#[test]
fn a_bucket_of_one_site_is_mounted_in_a_server_of_another() {
    let mut env = TestEnvironment::with_example("object.yaml");
    let zip = env.path("Food-11.zip");
    data::food11(&zip, 200, 500).expect("a zip");
    env.set("ANOLE_VAR_food11", &format!("file://{}", zip.display()));
    let plan = env.anole("plan object.yaml").exits(0);
    for word in [
        "attachments.food11 on kvm  mount: new",
        "bucket_name: object-chi-netid",
        "recorded, not carried out: mount bucket object-chi-netid at /mnt/object, for reading only",
    ] {
        assert!(plan.stdout.contains(word), "{word}: {}", plan.stdout);
    }
    env.apply("object.yaml").says("datasets.food11: 85 objects, ").says("datasets.shards: 3 objects, ");
    env.has_no_changes("object.yaml");
    // The bucket stays where it is; its mount goes to the new server.
    env.edit("object.yaml", "image: CC-Ubuntu24.04", "image: CC-Ubuntu22.04");
    let ran = env.anole("apply object.yaml --yes").exits(0);
    let order = [
        "attachments.food11: unmounted",
        "servers.node-object: deleted",
        "servers.node-object: created",
        "attachments.food11: mounted",
    ];
    let at: Vec<_> = order.iter().map(|line| ran.stderr.find(line).unwrap_or_else(|| panic!("{line}"))).collect();
    assert!(at.is_sorted() && !ran.stderr.contains("buckets.food11"), "{}", ran.stderr);
    env.has_no_changes("object.yaml");
    // Other keys: mounted again, with the new ones.
    let ran = env.anole("apply object.yaml --yes --replace credentials.s3").exits(0);
    assert!(ran.stderr.contains("attachments.food11: mounted"), "{}", ran.stderr);
    env.anole("destroy object.yaml --yes").exits(0).says("buckets.food11: kept (protected), id object-chi-netid");
}
