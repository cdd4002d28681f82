//! An apply that ends early, by `kill -9` or Ctrl-C at any moment: the next one carries on, and makes nothing twice.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::environment::{Ran, TestEnvironment};

/// All that the quickstart makes.
const EVERYTHING: &str =
    "floatingips 1, keypairs 1, ports 1, security_group_rules 3, security_groups 1, servers 1, volumes 1";

const APPLY: &str = "apply quickstart.yaml --yes";

/// Lines of the journal after which the process is killed: an intent, an id or a finished object each.
const MOMENTS: [usize; 10] = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19];

/// Runs a command until `reached`, or to its end; whether it was still at work then.
fn run_until((env, words): (&TestEnvironment, &str), scale: &str, reached: impl Fn() -> bool) -> (Child, bool) {
    let mut command = env.command(words);
    let mut child = command.env("ANOLE_EMBEDDED_SCALE", scale).spawn().expect("the binary runs");
    loop {
        if child.try_wait().expect("a child").is_some() {
            return (child, false);
        }
        if reached() {
            return (child, true);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

fn lines(path: &Path) -> usize {
    std::fs::read(path).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()
}

/// Kills a command at each moment, each time on a fresh stack prepared by `prepare`; then `check`s.
fn kill_at_every_moment(words: &str, prepare: impl Fn(&TestEnvironment), check: impl Fn(&TestEnvironment)) {
    let mut killed = 0;
    for moment in MOMENTS {
        let env = TestEnvironment::with_example("quickstart.yaml");
        prepare(&env);
        let journal = env.path("state/embedded/quickstart.json.journal");
        let (mut child, at_work) = run_until((&env, words), "0.1", || lines(&journal) >= moment);
        child.kill().expect("a child");
        child.wait().expect("a child");
        killed += usize::from(at_work);
        env.site().advance(60);
        check(&env);
    }
    assert!(killed >= MOMENTS.len() / 2, "only {killed} were still at work when they were killed");
}

/// Another apply makes it so, and each thing is there once.
fn converges(env: &TestEnvironment) {
    env.apply("quickstart.yaml");
    assert_eq!(env.site().census(), EVERYTHING);
    assert_eq!(env.site().only("volumes")["attachments"][0]["server_id"], env.site().only("servers")["id"]);
    env.has_no_changes("quickstart.yaml");
}

#[test]
fn killed_while_it_makes_things_it_makes_each_once() {
    kill_at_every_moment(APPLY, |_| (), converges);
}

#[test]
fn killed_while_it_replaces_the_server_it_carries_on() {
    let edited = |env: &TestEnvironment| {
        env.apply("quickstart.yaml");
        env.edit("quickstart.yaml", "CC-Ubuntu24.04", "CC-Ubuntu22.04");
    };
    kill_at_every_moment(APPLY, edited, converges);
}

#[test]
fn killed_while_it_destroys_it_leaves_nothing_behind() {
    let applied = |env: &TestEnvironment| drop(env.apply("quickstart.yaml"));
    let destroy = "destroy quickstart.yaml --include-protected --yes";
    kill_at_every_moment(destroy, applied, |env| {
        env.anole(destroy).exits(0);
        assert_eq!(env.site().census(), "");
    });
}

#[test]
fn ctrl_c_finishes_what_is_in_flight() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    let asked = || env.site().requests().iter().any(|line| line == "POST /compute/v2.1/servers 202");
    let (child, _) = run_until((&env, APPLY), "0.5", asked);
    signal(&child, "-INT");
    let ran = Ran::new("apply", child.wait_with_output().expect("output")).exits(130);
    ran.says("Apply interrupted").says("servers.node: created").says("Not tried:").omits("attachments.data: creat");
    env.anole("state list -f quickstart.yaml").exits(0).omits("not ready").omits("attachments.data");
    env.apply("quickstart.yaml");
    env.has_no_changes("quickstart.yaml");
    assert_eq!(env.site().census(), EVERYTHING);
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    let asked = || env.site().requests().iter().any(|line| line == "POST /compute/v2.1/servers 202");
    let (child, _) = run_until((&env, APPLY), "1000", asked);
    // Signals of one sort that arrive together count once; SIGTERM is as good as Ctrl-C.
    signal(&child, "-INT");
    signal(&child, "-TERM");
    Ran::new("apply", child.wait_with_output().expect("output")).exits(130);
    env.site().advance(3600);
    env.apply("quickstart.yaml");
    env.has_no_changes("quickstart.yaml");
    assert_eq!(env.site().census(), EVERYTHING);
}

#[test]
fn the_states_lock_names_its_holder_and_can_be_broken() {
    let env = TestEnvironment::with_example("quickstart.yaml");
    env.apply("quickstart.yaml");
    env.edit("quickstart.yaml", "CC-Ubuntu24.04", "CC-Ubuntu22.04");
    let mut holder = env.command("apply quickstart.yaml --yes");
    let mut holder = holder.env("ANOLE_EMBEDDED_SCALE", "1000").spawn().expect("the binary runs");
    while !env.path("state/embedded/quickstart.json.journal").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    env.anole("apply quickstart.yaml --yes").exits(1).says("anole apply").says(&holder.id().to_string());
    holder.kill().expect("a child");
    let output = holder.wait_with_output().expect("output");
    assert_eq!(Ran::new("apply", output).code, None);
    env.site().advance(36_000);
    env.apply("quickstart.yaml");
}
