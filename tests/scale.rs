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
