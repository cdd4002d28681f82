//! What is refused before anything is done, and a state that is lost.

use std::path::Path;

use crate::environment::TestEnvironment;

#[test]
fn eight_mistakes_are_told_at_once_and_nothing_is_sent() {
    let env = TestEnvironment::new();
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/broken/eight.yaml");
    std::fs::copy(spec, env.path("eight.yaml")).expect("a spec");
    for command in ["plan", "apply --yes", "validate"] {
        let ran = env.anole(&format!("{command} eight.yaml")).exits(1).says("8 errors");
        let places: Vec<_> = ran.stderr.lines().filter_map(|line| line.split("eight.yaml:").nth(1)).collect();
        assert_eq!(places, ["12:1", "15:12", "18:5", "19:5", "26:5", "27:10", "30:11", "32:19"], "{command}");
    }
    assert!(!env.path("state").exists());
}

#[test]
fn a_lost_state_is_not_planned_over_but_recovered() {
    let env = TestEnvironment::with_example("block.yaml");
    env.apply("block.yaml");
    let (before, census) = (env.anole("state list -f block.yaml").exits(0), env.site().census());
    std::fs::remove_file(env.path("state/embedded/block.json")).expect("a state");
    for command in ["plan block.yaml", "apply block.yaml --yes"] {
        env.anole(command).exits(1).says("anole state recover");
    }
    assert_eq!(env.site().census(), census);
    env.anole("state recover -f block.yaml --yes").exits(0);
    assert_eq!(env.anole("state list -f block.yaml").exits(0).stdout, before.stdout);
    env.has_no_changes("block.yaml");
}

#[test]
fn a_state_of_another_project_is_refused() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.apply("quickstart.yaml");
    let mut other = env.command("destroy quickstart.yaml --yes --include-protected");
    let output = other.env("ANOLE_EMBEDDED_USER", "other").output().expect("the binary runs");
    crate::environment::Ran::new("destroy", output).exits(1).says("CHI-other").says("CHI-embedded");
    env.has_no_changes("quickstart.yaml");
}
