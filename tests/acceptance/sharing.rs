//! Several at once: two projects, and two users of one project.

use super::cloud::TestCloud;
use crate::environment::Ran;

const SPEC: &str = "keypairs: { laptop: { name: \"laptop-${user}\", public_key: ./key.pub } }
security_groups: { ssh: { rules: [{ port: 22 }] } }
servers: { node: { flavor: m1.tiny, image: CC-Ubuntu24.04, keypair: laptop, networks: [sharednet1],
                   security_groups: [ssh] } }
floating_ips: { node: { network: public, server: node } }
volumes: { data: { size: 1, protect: false } }
attachments: { data: { volume: data, server: node } }
";

/// All that the spec makes.
const EVERYTHING: &str = "floating_ip 1, keypair 1, port 1, security_group 1, server 1, volume 1";

/// One spec by two entries of clouds.yaml at the same moment, each with a state of its own.
fn both(cloud: &TestCloud, users: [&str; 2], words: &str) {
    let words = users.map(|user| format!("{words} --site kvm={user} --state {user}.json"));
    let run = |words: &String| cloud.env.command(words).spawn().expect("the binary runs");
    let children = words.each_ref().map(run);
    for (child, words) in children.into_iter().zip(words) {
        Ran::new(&words, child.wait_with_output().expect("it ends")).exits(0);
    }
}

#[test]
fn two_projects_at_once() {
    let cloud = TestCloud::with(SPEC);
    both(&cloud, ["test", "other"], "apply spec.yaml --yes");
    assert_eq!((cloud.census(), cloud.other().census()), (EVERYTHING.to_owned(), EVERYTHING.to_owned()));
    both(&cloud, ["test", "other"], "plan spec.yaml --detailed-exitcode");
    both(&cloud, ["test", "other"], "destroy spec.yaml --yes");
    assert_eq!((cloud.census(), cloud.other().census()), (String::new(), String::new()));
}

#[test]
fn two_users_of_a_project_at_once() {
    let cloud = TestCloud::with(SPEC);
    both(&cloud, ["test", "mate"], "apply spec.yaml --yes");
    // A keypair is its user's, all else is the project's.
    assert_eq!(cloud.census(), "floating_ip 2, keypair 1, port 2, security_group 2, server 2, volume 2");
    both(&cloud, ["test", "mate"], "plan spec.yaml --detailed-exitcode");
    cloud.env.anole("destroy spec.yaml --yes --site kvm=mate --state mate.json").exits(0);
    assert_eq!(cloud.census(), EVERYTHING);
    cloud.env.anole("plan spec.yaml --detailed-exitcode --site kvm=test --state test.json").exits(0);
}

#[test]
fn a_lost_state_is_recovered_without_the_others_objects() {
    let cloud = TestCloud::with(SPEC);
    both(&cloud, ["test", "mate"], "apply spec.yaml --yes");
    std::fs::remove_file(cloud.env.path("mate.json")).expect("a state");
    let mate = "-f spec.yaml --site kvm=mate --state mate.json";
    cloud.env.anole("plan spec.yaml --site kvm=mate --state mate.json").exits(1).says("state recover");
    cloud.env.anole(&format!("state recover --yes {mate}")).exits(0);
    both(&cloud, ["test", "mate"], "plan spec.yaml --detailed-exitcode");
}

#[test]
fn a_state_of_another_project_is_refused() {
    let cloud = TestCloud::with(SPEC);
    cloud.env.apply("spec.yaml");
    for command in ["plan", "destroy --yes"] {
        cloud.env.anole(&format!("{command} --site kvm=other spec.yaml")).exits(1).says("project");
    }
    assert_eq!(cloud.census(), EVERYTHING);
}
