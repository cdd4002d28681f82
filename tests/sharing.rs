//! Classmates: the same spec, the same project, two users. Neither touches what is the other's.

use crate::environment::{Ran, TestEnvironment};

/// The same spec by two users of a project, each with a state of their own.
struct Class(TestEnvironment);

impl Class {
    fn run(&self, user: &str, words: &str) -> Ran {
        let words = format!("{words} --state {user}.json");
        let mut command = self.0.command(&words);
        Ran::new(&words, command.env("ANOLE_EMBEDDED_USER", user).output().expect("the binary runs"))
    }
}

#[test]
fn two_stacks_of_one_name_leave_each_other_alone() {
    let class = Class(TestEnvironment::with_example("block.yaml"));
    for user in ["demo", "mate"] {
        class.run(user, "apply block.yaml --yes").exits(0).says("8 created");
    }
    for user in ["demo", "mate"] {
        class.run(user, "plan block.yaml --detailed-exitcode").exits(0);
    }
    class.run("demo", "destroy block.yaml --yes --include-protected").exits(0).says("8 deleted");
    class.run("mate", "plan block.yaml --detailed-exitcode").exits(0);
    class.run("demo", "apply block.yaml --yes").exits(0).says("8 created");
    class.run("mate", "destroy block.yaml --yes --include-protected").exits(0).says("8 deleted");
    class.run("demo", "plan block.yaml --detailed-exitcode").exits(0);
    class.run("demo", "destroy block.yaml --yes --include-protected").exits(0);
    assert_eq!(class.0.site().census(), "");
}

#[test]
fn a_lost_state_is_recovered_without_the_classmates_objects() {
    let class = Class(TestEnvironment::with_example("block.yaml"));
    for user in ["demo", "mate"] {
        class.run(user, "apply block.yaml --yes").exits(0);
    }
    std::fs::remove_file(class.0.path("mate.json")).expect("a state");
    class.run("mate", "plan block.yaml").exits(1).says("state recover");
    class.run("mate", "state recover -f block.yaml --yes").exits(0);
    for user in ["mate", "demo"] {
        class.run(user, "plan block.yaml --detailed-exitcode").exits(0);
    }
}
