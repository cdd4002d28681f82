//! Saved plans: what was reviewed is what is done, or nothing is.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::environment::TestEnvironment;

const VOLUME: &str = "stack: small\nsites: { kvm: { cloud: kvm_tacc } }\nvolumes:\n  data: { size: 1GiB }\n";

#[test]
fn a_saved_plan_needs_no_spec_and_is_for_its_owner_only() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.anole("plan quickstart.yaml -o it.plan").exits(0);
    let mode = std::fs::metadata(env.path("it.plan")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::rename(env.path("quickstart.yaml"), env.path("elsewhere.yaml")).expect("a file");
    env.anole("apply --plan it.plan --yes").exits(0).says("6 created");
    env.anole("apply --plan it.plan --yes").exits(1).says("the saved plan is refused").says("plan again");
    env.has_no_changes("elsewhere.yaml");
}

#[test]
fn a_plan_made_before_another_apply_is_refused() {
    let env = TestEnvironment::with(VOLUME);
    env.apply("spec.yaml");
    env.edit("spec.yaml", "1GiB", "2GiB");
    env.anole("plan spec.yaml -o it.plan").exits(0);
    env.edit("spec.yaml", "2GiB", "3GiB");
    env.apply("spec.yaml");
    env.anole("apply --plan it.plan --yes").exits(1).says("the state has changed since");
    assert_eq!(env.site().only("volumes")["size"], 3);
}

#[test]
fn a_plan_for_an_object_that_was_changed_since_is_refused() {
    let env = TestEnvironment::with(VOLUME);
    env.apply("spec.yaml");
    env.edit("spec.yaml", "1GiB", "2GiB");
    env.anole("plan spec.yaml -o it.plan").exits(0);
    let target = format!("/volume/v3/volumes/{}", env.id("spec.yaml", "volumes.data"));
    env.site().call("PUT", &target, json!({"volume": {"name": "theirs"}}));
    env.anole("apply --plan it.plan --yes").exits(1).says("volumes.data has changed since");
    assert_eq!(env.site().only("volumes")["size"], 1);
}
