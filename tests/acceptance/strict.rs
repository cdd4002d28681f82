//! What needs a Keystone set otherwise: tokens that live for seconds, and no lease by application credential.
//!
//! The lab is started with `LAB_TOKEN_SECONDS` and `LAB_APPCRED_TRUST=false` for these alone. The embedded cloud is as
//! strict at all times.

use super::cloud::TestCloud;
use super::sign_in::application_credential;

#[test]
fn a_token_that_expires_in_the_middle_of_an_apply_is_renewed() {
    // One after the other, so that it takes longer than the lab's tokens live: 0.3 s each at the least.
    const COUNT: usize = 90;
    let after =
        |number: usize| format!("v{number}: {{ size: 1, protect: false, depends_on: [volumes.v{}] }}", number - 1);
    let rest: Vec<_> = (1..COUNT).map(after).collect();
    let cloud = TestCloud::with(&format!("volumes: {{ v0: {{ size: 1, protect: false }}, {} }}", rest.join(", ")));
    let words = "apply spec.yaml --yes -vv --log log.jsonl";
    let mut child = cloud.env.command(words).spawn().expect("the binary runs");
    cloud.eventually("a first volume", || !cloud.fresh().all("volume").is_empty());
    cloud.expire_tokens();
    assert!(child.try_wait().expect("a child").is_none(), "the apply was over before its token was");
    let output = child.wait_with_output().expect("it ends");
    crate::environment::Ran::new(words, output).exits(0).says(&format!("{COUNT} created"));
    let log = cloud.env.read("log.jsonl");
    assert!(log.contains("signing in again"), "{log}");
    assert_eq!(cloud.fresh().census(), format!("volume {COUNT}"));
    cloud.env.has_no_changes("spec.yaml");
}

#[test]
fn a_restricted_application_credential_makes_no_lease_and_is_told_what_to_do() {
    let spec = "leases: { lab: { duration: 2h, reservations: { node: { flavor: m1.tiny } } } }";
    let mut cloud = TestCloud::with(spec);
    let entry = application_credential(&cloud, false);
    cloud.set_cloud("test", entry);
    let ran = cloud.env.anole("apply spec.yaml --yes").exits(1).says("leases.lab");
    ran.says("Blazar makes a trust").says("unrestricted application credential").says("sign in with a password");
    assert_eq!(cloud.census(), "");
}
