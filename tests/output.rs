//! What programs read: JSON lines, exit codes, data on standard output, and a reader that goes away.

use std::io::Read;

use crate::environment::TestEnvironment;

#[test]
fn json_lines_are_versioned_and_complete() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    for (words, types) in [
        ("plan quickstart.yaml --json", &["start", "plan", "action", "summary"][..]),
        ("apply quickstart.yaml --json --yes", &["start", "plan", "action", "summary", "event", "outcome", "outputs"]),
        ("plan quickstart.yaml --json", &["start", "plan", "summary"]),
        ("destroy quickstart.yaml --json --yes", &["start", "plan", "action", "summary", "event", "outcome"]),
    ] {
        let lines = env.anole(words).exits(0).lines();
        let mut seen: Vec<&str> = lines.iter().map(|line| line["type"].as_str().expect("a type")).collect();
        seen.dedup();
        assert_eq!(seen, types, "{words}");
        assert!(lines.iter().all(|line| line["version"] == 1), "{words}");
    }
}

#[test]
fn errors_are_json_lines_too() {
    let env = TestEnvironment::with("stack: small\nvolumes:\n  data: { siez: 1GiB }\n");
    let lines = env.anole("plan spec.yaml --json").exits(1).lines();
    let diagnostic = lines.iter().find(|line| line["code"] == "unknown-field").expect("a diagnostic");
    assert_eq!((&diagnostic["type"], &diagnostic["labels"][0]["column"]), (&"diagnostic".into(), &11.into()));
    let last = lines.last().expect("a line");
    assert_eq!((&last["type"], &last["exit_code"]), (&"error".into(), &1.into()));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    for words in
        ["plan quickstart.yaml", "apply quickstart.yaml --yes", "apply quickstart.yaml --yes --json", "schema", "man"]
    {
        let mut child = env.command(words).spawn().expect("the binary runs");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().expect("a stream").read_to_string(&mut stderr).expect("text");
        let status = child.wait().expect("a child");
        assert!(status.success() && !stderr.contains("panicked"), "{words}: {status} {stderr}");
    }
    env.has_no_changes("quickstart.yaml");
}

#[test]
fn nothing_is_done_without_consent() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.anole("apply quickstart.yaml").exits(1).says("--yes");
    assert_eq!(env.site().census(), "");
}

#[test]
fn a_command_that_is_not_understood_ends_with_2() {
    let env = TestEnvironment::new();
    env.anole("levitate").exits(2);
    env.anole("plan --targte servers.node").exits(2).says("--target");
}

#[test]
fn offline_commands_read_the_spec_and_the_state() {
    let env = TestEnvironment::with_example("block.yaml");
    env.anole("validate block.yaml").exits(0);
    env.anole("graph block.yaml").exits(0).says("digraph").says("\"servers.node-block\"");
    env.anole("graph block.yaml --format mermaid").exits(0).says("flowchart");
    assert!(!env.path("state").exists(), "nothing was asked of a cloud");
    env.anole("show -f block.yaml").exits(1).says("no state");

    env.apply("block.yaml");
    let requests = env.site().requests().len();
    env.anole("show -f block.yaml").exits(0).says("servers.node-block");
    env.anole("state list -f block.yaml").exits(0).says("volumes.data");
    let outputs = env.anole("output -f block.yaml --json").exits(0).json();
    assert_eq!(outputs["volume"], env.site().only("volumes")["id"]);
    env.anole("output nothing -f block.yaml").exits(1).says("nothing");
    let pulled = env.anole("state pull -f block.yaml").exits(0).stdout;
    assert_eq!(pulled, env.read("state/embedded/block.json"));
    assert_eq!(env.site().requests().len(), requests);
}

#[test]
fn the_program_describes_itself() {
    let env = TestEnvironment::new();
    env.anole("schema").exits(0).json();
    for shell in ["bash", "zsh", "fish"] {
        env.anole(&format!("completions {shell}")).exits(0).says("anole");
    }
    env.anole("man").exits(0).says(".TH");
    env.anole("--version").exits(0).says(env!("CARGO_PKG_VERSION"));
}
