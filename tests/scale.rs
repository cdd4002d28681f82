//! A plan costs a handful of requests, however many resources there are.

use crate::environment::TestEnvironment;

#[test]
fn two_thousand_resources_are_planned_with_a_handful_of_requests() {
    let env = TestEnvironment::with(
        "stack: big\nsites: { kvm: { cloud: kvm_tacc } }\nvolumes:\n  data: { count: 1000, size: 1GiB }\n\
         security_groups:\n  group: { count: 1000 }\n",
    );
    env.apply("spec.yaml").says("2000 created");
    assert_eq!(env.site().census(), "security_group_rules 2000, security_groups 1000, volumes 1000");
    let before = env.site().requests().len();
    env.has_no_changes("spec.yaml");
    let requests = &env.site().requests()[before..];
    assert!(requests.len() <= 20, "{requests:#?}");
}

/// The reads among the requests since `before`, without their queries.
fn reads(env: &TestEnvironment, before: usize) -> Vec<String> {
    let requests = env.site().requests().split_off(before);
    let reads = requests.iter().filter_map(|line| line.strip_prefix("GET ")?.split([' ', '?']).next());
    reads.map(str::to_owned).collect()
}

#[test]
fn nothing_is_asked_twice_or_for_nothing() {
    let env = TestEnvironment::with(
        "stack: lab\nsites: { kvm: { cloud: kvm_tacc } }\nvolumes: { data: { size: 1GiB, protect: false } }\n\
         security_groups: { ssh: { rules: [{ port: 22 }] } }\n\
         servers: { node: { flavor: m1.small, image: CC-Ubuntu24.04, networks: [sharednet1], security_groups: [ssh] } }\n\
         floating_ips: { node: { network: public, server: node } }\n\
         attachments: { data: { volume: data, server: node } }\n",
    );
    env.apply("spec.yaml").says("5 created");
    let applied = reads(&env, 0);
    let one = |path: &str| applied.iter().filter(|read| read.contains(path) && !read.ends_with(path)).count();
    assert_eq!(one("/networks/"), 0, "a port takes its groups without a look at its network: {applied:#?}");

    let before = env.site().requests().len();
    env.has_no_changes("spec.yaml");
    let mut planned = reads(&env, before);
    planned.sort();
    let volumes = planned.iter().filter(|read| read.ends_with("/volumes/detail")).count();
    assert_eq!(volumes, 1, "volumes and attachments are read off one list: {planned:#?}");

    let before = env.site().requests().len();
    env.anole("destroy spec.yaml --yes").exits(0);
    let destroyed = reads(&env, before);
    let looked_up =
        |read: &&String| ["/images", "/flavors/detail", "/networks"].iter().any(|path| read.ends_with(path));
    assert_eq!(destroyed.iter().filter(looked_up).count(), 0, "what is deleted needs no names: {destroyed:#?}");
}
