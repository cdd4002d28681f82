//! What a service refuses or loses: the rest is carried on with, what happened is told, and the next apply finishes.

use anole::embedded::catalogue::project_id;
use serde_json::json;

use crate::environment::TestEnvironment;

const EVERYTHING: &str =
    "floatingips 1, keypairs 1, ports 1, security_group_rules 3, security_groups 1, servers 1, volumes 1";

fn set_quota(env: &TestEnvironment, instances: i64) {
    let target = format!("/compute/v2.1/os-quota-sets/{}", project_id("CHI-embedded"));
    env.site().operate("PUT", &target, json!({"quota_set": {"instances": instances}}));
}

#[test]
fn a_refusal_stops_only_what_needs_it() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    set_quota(&env, 0);
    let ran = env.anole("apply quickstart.yaml --yes").exits(1);
    let ran = ran.says("Apply incomplete: 3 created").says("Quota exceeded for instances").says("(req-");
    ran.says("attachments.data: servers.node failed").says("run `anole apply` again");
    assert_eq!(env.site().census(), "keypairs 1, ports 1, security_group_rules 3, security_groups 1, volumes 1");
    set_quota(&env, 10);
    env.apply("quickstart.yaml").says("3 created");
    assert_eq!(env.site().census(), EVERYTHING);
    env.has_no_changes("quickstart.yaml");
}

#[test]
fn a_create_whose_answer_is_lost_is_found_again() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    let lost = |path: &str| json!({"method": "POST", "path": path, "drop_after": true});
    env.site().order_faults(&json!([
        lost("^/compute/v2.1/servers$"),
        lost("^/compute/v2.1/os-keypairs$"),
        lost("^/volume/v3/[0-9a-f]+/volumes$|^/volume/v3/volumes$"),
        lost("^/network/v2.0/floatingips"),
        lost("^/network/v2.0/security-groups"),
        lost("^/network/v2.0/ports"),
    ]));
    env.apply("quickstart.yaml").says("6 created");
    assert!(!env.read("state/embedded/clouds/kvm/faults.json").contains("path"), "every fault was met");
    assert_eq!(env.site().census(), EVERYTHING);
    env.has_no_changes("quickstart.yaml");
}

#[test]
fn a_lease_whose_answer_is_lost_is_found_again() {
    let env = TestEnvironment::with_example("block.yaml");
    env.site().order_faults(&json!([{"method": "POST", "path": "^/reservation/v1/leases", "drop_after": true}]));
    env.apply("block.yaml").says("8 created");
    assert_eq!(env.site().all("leases").len(), 1);
    env.has_no_changes("block.yaml");
}

#[test]
fn a_request_that_never_arrived_is_made_by_the_next_apply() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.site().order_faults(&json!([{"method": "POST", "path": "^/compute/v2.1/servers$", "status": 504}]));
    env.anole("apply quickstart.yaml --yes").exits(1).says("504");
    env.apply("quickstart.yaml");
    assert_eq!(env.site().census(), EVERYTHING);
    env.has_no_changes("quickstart.yaml");
}

#[test]
fn a_service_that_is_busy_is_asked_again() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.site().order_faults(&json!([
        {"method": "GET", "path": "^/network/", "status": 503, "times": 2},
    ]));
    env.apply("quickstart.yaml");
    assert_eq!(env.site().census(), EVERYTHING);
}
