//! What is kept, moved, taken over and let go: protection, renames, adoption, import, and what a plan is limited to.

use serde_json::{Value as Json, json};

use crate::environment::TestEnvironment;

/// A spec of these blocks.
fn spec(blocks: &str) -> String {
    format!("stack: small\nsites: {{ kvm: {{ cloud: kvm_tacc }} }}\n{blocks}")
}

/// What the cloud was asked to change since `before`.
fn changes_since(env: &TestEnvironment, before: usize) -> Vec<String> {
    let requests = env.site().requests().split_off(before);
    requests.into_iter().filter(|line| !line.starts_with("GET ") && !line.contains("/auth/tokens")).collect()
}

#[test]
fn what_leaves_the_spec_is_deleted_but_kept_if_protected() {
    let env = TestEnvironment::with(&spec("volumes:\n  data: { size: 1GiB }\nsecurity_groups:\n  web: {}\n"));
    env.apply("spec.yaml");
    env.write("spec.yaml", &spec(""));
    env.anole("plan spec.yaml").exits(0).says("volumes.data  kept (protected)").says("1 to delete");
    env.apply("spec.yaml").says("Still held:\n  volumes.data: kept (protected)");
    assert_eq!(env.site().census(), "volumes 1");
    env.has_no_changes("spec.yaml");
    env.anole("apply spec.yaml --include-protected=volumes.data --yes").exits(0).says("DATA LOSS");
    assert_eq!(env.site().census(), "");
}

#[test]
fn a_rename_moves_without_touching() {
    let env = TestEnvironment::with(&spec("volumes:\n  old: { name: disk, size: 1GiB }\n"));
    env.apply("spec.yaml");
    let (id, before) = (env.id("spec.yaml", "volumes.old"), env.site().requests().len());
    env.write("spec.yaml", &spec("volumes:\n  new: { name: disk, size: 1GiB, was: volumes.old }\n"));
    env.anole("plan spec.yaml").exits(0).says("was volumes.old");
    env.apply("spec.yaml");
    env.write("spec.yaml", &spec("volumes:\n  new: { name: disk, size: 1GiB, count: 1 }\n"));
    env.apply("spec.yaml");
    assert_eq!(env.id("spec.yaml", "volumes.new[0]"), id);
    env.write("spec.yaml", &spec("volumes:\n  new: { name: disk, size: 1GiB }\n"));
    env.apply("spec.yaml");
    assert_eq!(env.id("spec.yaml", "volumes.new"), id);
    assert_eq!(changes_since(&env, before), [""; 0]);
    env.has_no_changes("spec.yaml");
}

#[test]
fn a_new_protected_object_beside_a_kept_one_asks_about_a_rename() {
    let env = TestEnvironment::with(&spec("volumes:\n  old: { size: 1GiB }\n"));
    env.apply("spec.yaml");
    env.write("spec.yaml", &spec("volumes:\n  new: { size: 1GiB }\n"));
    env.anole("plan spec.yaml").exits(0).says("a rename? add `was: volumes.old`");
}

/// Makes a volume that is nobody's.
fn foreign_volume(env: &TestEnvironment) -> String {
    let body = json!({"volume": {"name": "theirs", "size": 1}});
    let made = env.site().call("POST", "/volume/v3/volumes", body);
    made["volume"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn what_is_adopted_is_managed_and_released() {
    let env = TestEnvironment::with(&spec("volumes:\n  data: { adopt: theirs, name: ours, size: 2GiB }\n"));
    let id = foreign_volume(&env);
    env.apply("spec.yaml").says("1 adopted");
    let adopted = env.site().only("volumes");
    assert_eq!((&adopted["id"], &adopted["name"], &adopted["size"]), (&json!(id), &json!("ours"), &json!(2)));
    env.has_no_changes("spec.yaml");
    env.anole("destroy spec.yaml --include-protected --yes").exits(0).says("1 released").omits("DATA LOSS");
    assert_eq!(env.site().only("volumes")["id"], json!(id));
}

#[test]
fn what_is_imported_is_owned() {
    let env = TestEnvironment::with(&spec("volumes:\n  data: { name: theirs, size: 1GiB }\n"));
    let id = foreign_volume(&env);
    env.anole(&format!("import volumes.data {id} -f spec.yaml")).exits(0);
    env.has_no_changes("spec.yaml");
    env.anole(&format!("import volumes.data {id} -f spec.yaml")).exits(1).says("has volumes.data already");
    env.anole("destroy spec.yaml --include-protected --yes").exits(0);
    assert_eq!(env.site().census(), "");
}

#[test]
fn an_object_of_another_stack_is_not_taken() {
    let env = TestEnvironment::with(&spec("volumes:\n  data: { name: disk, size: 1GiB }\n"));
    env.apply("spec.yaml");
    let id = env.id("spec.yaml", "volumes.data");
    let other = spec("volumes:\n  data: { adopt: disk, size: 1GiB }\n").replace("small", "other");
    env.write("other.yaml", &other);
    env.anole("plan other.yaml").exits(1).says("managed by stack `small`");
    env.anole(&format!("import volumes.data {id} -f other.yaml")).exits(1).says("managed by stack `small`");
}

#[test]
fn whose_a_bucket_is_is_seen_among_many() {
    let many: String = (0..33).map(|at| format!("  b{at}: {{ name: bucket-{at:02}, protect: false }}\n")).collect();
    let env = TestEnvironment::with(&format!("stack: many\nsites: {{ chi: {{ cloud: chi_tacc }} }}\nbuckets:\n{many}"));
    env.apply("spec.yaml");
    env.write(
        "other.yaml",
        "stack: other\nsites: { chi: { cloud: chi_tacc } }\nbuckets: { mine: { adopt: bucket-20, name: bucket-20 } }\n",
    );
    env.anole("plan other.yaml").exits(1).says("managed by stack `many`");
    std::fs::remove_file(env.path("state/embedded/many.json")).expect("a state");
    env.anole("state recover -f spec.yaml --yes").exits(0);
    env.has_no_changes("spec.yaml");
}

#[test]
fn a_target_takes_only_what_it_needs_along() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.anole("apply quickstart.yaml --target servers.node --yes").exits(0).says("3 created");
    assert_eq!(env.site().census(), "keypairs 1, ports 1, security_group_rules 3, security_groups 1, servers 1");
    env.apply("quickstart.yaml").says("3 created");
    env.anole("destroy quickstart.yaml --target floating_ips.node --yes").exits(0).says("1 deleted");
    env.anole("plan quickstart.yaml --target servers.nod").exits(1).says("neither in the spec nor in the state");
}

#[test]
fn a_marked_server_is_made_again_and_nothing_else_is() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.apply("quickstart.yaml");
    let (volume, server) = (env.id("quickstart.yaml", "volumes.data"), env.id("quickstart.yaml", "servers.node"));
    let plan = env.anole("plan quickstart.yaml --replace servers.node").exits(0).says("replace: marked by --replace");
    plan.says("Untouched: volumes.data");
    env.anole("apply quickstart.yaml --replace servers.node --yes").exits(0);
    assert_eq!(env.site().only("volumes")["id"], json!(volume));
    assert_ne!(env.site().only("servers")["id"], json!(server));
    env.has_no_changes("quickstart.yaml");
}

#[test]
fn an_ignored_field_is_left_to_others() {
    let env = TestEnvironment::with(&spec("volumes:\n  data: { name: disk, size: 1GiB, ignore_changes: [name] }\n"));
    env.apply("spec.yaml");
    let target = format!("/volume/v3/volumes/{}", env.id("spec.yaml", "volumes.data"));
    env.site().call("PUT", &target, json!({"volume": {"name": "theirs"}}));
    env.has_no_changes("spec.yaml");
    env.edit("spec.yaml", "disk", "other");
    env.has_no_changes("spec.yaml");
    env.edit("spec.yaml", ", ignore_changes: [name]", "");
    env.anole("plan spec.yaml --detailed-exitcode").exits(2).says("name: theirs -> other");
}

#[test]
fn what_would_lose_data_is_refused_at_plan() {
    let env = TestEnvironment::with(&spec("volumes:\n  data: { size: 2GiB, image: CC-Ubuntu24.04 }\n"));
    env.apply("spec.yaml");
    let before = env.site().requests().len();
    env.edit("spec.yaml", "2GiB", "1GiB");
    env.anole("apply spec.yaml --yes").exits(1).says("spec.yaml:4:17").says("cannot shrink");
    env.edit("spec.yaml", "1GiB", "2GiB");
    env.edit("spec.yaml", "24.04", "22.04");
    env.anole("apply spec.yaml --yes").exits(1).says("volumes.data is protected and would be replaced: image changed");
    assert_eq!(changes_since(&env, before), [""; 0]);
    env.edit("spec.yaml", "size: 2GiB", "size: 2GiB, protect: false");
    env.anole("plan spec.yaml").exits(0).says("DATA LOSS");
}

#[test]
fn a_shared_group_is_found_added_to_and_left() {
    let env =
        TestEnvironment::with(&spec("security_groups:\n  web: { name: web, shared: true, rules: [{ port: 80 }] }\n"));
    let made = env.site().call("POST", "/network/v2.0/security-groups", json!({"security_group": {"name": "web"}}));
    env.apply("spec.yaml");
    env.has_no_changes("spec.yaml");
    assert_eq!(env.site().only("security_groups")["id"], made["security_group"]["id"]);
    env.anole("destroy spec.yaml --yes").exits(0);
    let ports: Vec<Json> =
        env.site().all("security_group_rules").iter().map(|rule| rule["port_range_min"].clone()).collect();
    assert!(ports.contains(&json!(80)), "{ports:?}");
}
