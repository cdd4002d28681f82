//! A sensitive variable reaches the cloud and nothing else: no stream, state, journal, plan file or log.

use std::path::Path;

use serde_json::json;

use crate::environment::TestEnvironment;

const SPEC: &str = "\
stack: secret
sites: { kvm: { cloud: kvm_tacc } }
variables:
  token: { required: true, sensitive: true }
servers:
  node:
    flavor: m1.small
    image: CC-Ubuntu24.04
    networks: [sharednet1]
    user_data: ${var.token}
";

/// The value, and how user data carries it: base64.
const TOKEN: [&str; 2] = ["correct-horse-battery-staple", "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ"];

#[test]
fn a_sensitive_value_is_nowhere_but_in_the_cloud() {
    let mut env = TestEnvironment::with(SPEC);
    env.set("ANOLE_VAR_token", TOKEN[0]);
    env.site().order_faults(&json!([{"method": "POST", "path": "^/compute/v2.1/servers$", "status": 500}]));
    let mut said = String::new();
    for (words, code) in [
        ("plan spec.yaml -o it.plan", 1),
        ("plan spec.yaml --json", 0),
        ("apply spec.yaml --yes -vvv --log it.log", 1),
        ("apply spec.yaml --yes -vvv --json --log it.log", 0),
        ("plan spec.yaml --detailed-exitcode", 0),
        ("state pull -f spec.yaml", 0),
        ("show -f spec.yaml --json", 0),
        ("drift spec.yaml", 0),
    ] {
        let ran = env.anole(words).exits(code);
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    }
    assert!(TOKEN.iter().all(|token| !said.contains(token)), "{said}");
    assert!(env.path("it.log").exists());
    let cloud = env.path("state/embedded/clouds");
    for path in env.files().into_iter().filter(|path| !path.starts_with(&cloud)) {
        assert!(!holds(&path), "{}", path.display());
    }
    assert!(holds(&cloud.join("kvm/log.0.jsonl")), "it did reach the cloud");
}

#[test]
fn another_value_of_a_sensitive_variable_is_a_change() {
    let mut env = TestEnvironment::with(SPEC);
    env.set("ANOLE_VAR_token", TOKEN[0]);
    env.apply("spec.yaml");
    env.set("ANOLE_VAR_token", "another-secret-value");
    let plan = env.anole("plan spec.yaml --detailed-exitcode").exits(2);
    plan.says("user_data changed").omits("another-secret-value").omits(TOKEN[0]);
}

fn holds(path: &Path) -> bool {
    let bytes = std::fs::read(path).expect("a file");
    let text = String::from_utf8_lossy(&bytes);
    TOKEN.iter().any(|token| text.contains(token))
}
