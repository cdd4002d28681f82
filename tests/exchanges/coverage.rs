//! Every request that anole can make is in a scenario.
//!
//! In: the requests that the embedded clouds noted while specs were applied, changed, replaced, recovered and destroyed,
//! and a list of those that only happen rarely. Out: those that no scenario holds. A request is compared by method,
//! service, path with its ids replaced, and the names of its query.

use std::collections::BTreeSet;

use super::scenario::Scenario;
use crate::environment::TestEnvironment;

/// The segments of paths that are not ids or names.
const WORDS: [&str; 35] = [
    "v1",
    "v2",
    "v2.0",
    "v2.1",
    "v3",
    "action",
    "add_router_interface",
    "application_credentials",
    "auth",
    "detail",
    "flavors",
    "floatingips",
    "images",
    "leases",
    "limits",
    "metadata",
    "networks",
    "os-interface",
    "os-keypairs",
    "os-quota-sets",
    "os-security-groups",
    "os-volume_attachments",
    "ports",
    "projects",
    "quotas",
    "remove_router_interface",
    "routers",
    "security-group-rules",
    "security-groups",
    "servers",
    "subnets",
    "tokens",
    "types",
    "users",
    "volumes",
];

/// What anole asks for only now and then, read off its clients and kinds.
const RARE: [&str; 24] = [
    // Where Keystone is not told to be at `/v3`.
    "GET identity /",
    // A token made elsewhere, and the only project of somebody who names none.
    "GET identity /v3/auth/tokens",
    "GET identity /v3/auth/projects",
    // A list that comes in pages.
    "GET compute /v2.1/servers/detail?limit&marker",
    "GET volume /v3/volumes/detail?limit&marker",
    "GET network /v2.0/ports?limit&marker&project_id",
    "GET image /v2/images?limit&marker",
    // An attachment whose answer was lost.
    "GET compute /v2.1/servers/*/os-volume_attachments/*",
    // A boot volume that is to outlive its server.
    "PUT compute /v2.1/servers/*/os-volume_attachments/*",
    // What is looked up by a name, and then by an id.
    "GET network /v2.0/networks?name",
    "GET network /v2.0/networks?id",
    "GET network /v2.0/subnets?name",
    "GET network /v2.0/subnets?id",
    "GET network /v2.0/security-groups?name",
    "GET network /v2.0/security-groups?id",
    "GET network /v2.0/ports?id",
    "GET image /v2/images?name",
    "GET image /v2/images/*",
    "GET compute /v2.1/flavors/*",
    // Addresses that a lease reserved.
    "GET network /v2.0/floatingips?tags",
    // An extension of a lease, and its name put back where it was refused.
    "PUT reservation /v1/leases/*",
    // Keys of metadata that a spec has no longer.
    "DELETE compute /v2.1/servers/*/metadata/*",
    "DELETE volume /v3/volumes/*/metadata/*",
    // A rule at a time, where one of several is there already.
    "POST network /v2.0/security-group-rules",
];

/// A request without its ids: `GET compute /v2.1/servers/*/metadata?limit&marker`.
fn shape(method: &str, service: &str, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments = path.split('/').map(|segment| match segment {
        "" => "",
        word if WORDS.contains(&word) => word,
        _ => "*",
    });
    let keys: BTreeSet<&str> =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair)).collect();
    let query = if keys.is_empty() { String::new() } else { format!("?{}", Vec::from_iter(keys).join("&")) };
    format!("{method} {service} {}{query}", segments.collect::<Vec<_>>().join("/"))
}

fn in_scenarios() -> BTreeSet<String> {
    let scenarios = Scenario::all();
    let steps = scenarios.iter().flat_map(|scenario| &scenario.steps);
    steps
        .map(|step| {
            let (method, service, path) = step.parts();
            shape(method, service, path)
        })
        .collect()
}

/// The shapes of what an environment's cloud was asked for.
fn asked(env: &TestEnvironment) -> BTreeSet<String> {
    let lines = env.site().requests();
    lines
        .iter()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (method, target) = (words.next()?, words.next()?);
            let (service, path) = target.trim_start_matches('/').split_once('/').unwrap_or((target, ""));
            Some(shape(method, service, &format!("/{path}")))
        })
        .collect()
}

/// Everything that a spec can say, and then most of it said differently.
fn everything() -> TestEnvironment {
    let env = TestEnvironment::with(include_str!("coverage/first.yaml"));
    env.write("second.yaml", include_str!("coverage/second.yaml"));
    env.write("third.yaml", include_str!("coverage/third.yaml"));
    env.apply("spec.yaml");
    env.has_no_changes("spec.yaml");
    env.anole("lease extend lab 2h -f spec.yaml").exits(0);
    env.apply("second.yaml");
    env.has_no_changes("second.yaml");
    std::fs::remove_file(env.path("state/embedded/everything.json")).expect("the state");
    env.anole("state recover -f second.yaml --yes").exits(0);
    env.apply("third.yaml");
    env.anole("destroy third.yaml --yes --include-protected").exits(0);
    env
}

#[test]
fn every_request_that_anole_makes_is_in_a_scenario() {
    let known = in_scenarios();
    let mut made: BTreeSet<String> = RARE.iter().map(|request| (*request).to_owned()).collect();
    made.extend(asked(&everything()));
    for example in ["quickstart.yaml", "block.yaml", "nodes.yaml"] {
        let env = TestEnvironment::with_example(example);
        env.apply(example);
        env.has_no_changes(example);
        env.anole(&format!("destroy {example} --yes --include-protected")).exits(0);
        made.extend(asked(&env));
    }
    assert!(made.len() > 60, "{} shapes of requests are too few to mean anything", made.len());
    let missing: Vec<&String> = made.difference(&known).collect();
    assert!(missing.is_empty(), "no scenario has:\n{missing:#?}");
}
