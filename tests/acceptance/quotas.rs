//! A quota that is used up: the cloud's words, the rest done all the same, and the next apply finishes.

use serde_json::json;

use super::cloud::TestCloud;

/// Applies two blocks, one after the other, where there is room for one, and again after the quota was raised.
///
/// One after the other, because Nova refuses both of two that come at once.
fn run_into((section, fields): (&str, &str), (service, name): (&str, &str), (tight, wide): (i64, i64), words: &str) {
    let two = format!("two: {{ {fields}, depends_on: [{section}.one] }}");
    let cloud = TestCloud::with(&format!("{section}: {{ one: {{ {fields} }}, {two} }}"));
    cloud.set_quota(service, &json!({ name: tight }));
    let ran = cloud.env.anole("apply spec.yaml --yes").exits(1);
    ran.says(words).says("(req-").says("Apply incomplete: 1 created").says("run `anole apply` again");
    cloud.set_quota(service, &json!({ name: wide }));
    cloud.env.apply("spec.yaml").says("1 created");
    cloud.env.has_no_changes("spec.yaml");
}

#[test]
fn servers() {
    let server = ("servers", "flavor: m1.tiny, image: CC-Ubuntu24.04, networks: [sharednet1]");
    run_into(server, ("compute", "instances"), (1, 5), "Quota exceeded for instances");
}

#[test]
fn volumes() {
    run_into(("volumes", "size: 1"), ("block-storage", "volumes"), (1, 5), "VolumeLimitExceeded");
}

#[test]
fn gigabytes() {
    run_into(("volumes", "size: 3"), ("block-storage", "gigabytes"), (4, 9), "exceeds allowed");
}

#[test]
fn security_groups() {
    // The project's own group `default` is one of them.
    run_into(("security_groups", "rules: []"), ("network", "security_group"), (2, 9), "Quota exceeded");
}

#[test]
fn floating_ips() {
    run_into(("floating_ips", "network: public"), ("network", "floatingip"), (1, 5), "Quota exceeded");
}
