//! The programs of a delivery by a shell of this machine, with a stand-in for the program that works.

use std::fs::{Permissions, set_permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;

/// Counts that it was begun, says what it was given, works for a second, and ends.
const STAND_IN: &str = "#!/bin/sh\n[ \"$*\" = 'dataset run' ] || exit 9\necho begun >>count\ncat\necho\nsleep 1\n\
                        echo last; echo why >&2; exit 3\n";

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("program");
        std::fs::write(&program, STAND_IN).unwrap();
        set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
        Self(home)
    }

    /// Runs a program as a guest would; what it said on both outputs, together.
    fn run(&self, text: &str, values: &[(&str, &str)]) -> String {
        let values: String =
            values.iter().map(|(name, value)| format!("{name}={}\n", crate::guest::quoted(value))).collect();
        let mut child = Command::new("sh")
            .args(["-c", "eval \"$(cat)\" 2>&1"])
            .env("HOME", self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{values}folder=x\n{text}").as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    fn begin(&self, wanted: &str) -> String {
        self.run(BEGIN, &[("program", "program"), ("wanted", wanted), ("delivery", "it's $(id)")])
    }

    fn follow(&self) -> String {
        self.run(FOLLOW, &[("limit", "20")])
    }

    fn begun(&self) -> usize {
        std::fs::read_to_string(self.0.path().join("count")).unwrap_or_default().lines().count()
    }
}

#[test]
fn it_is_begun_once_and_found_again() {
    let home = Home::new();
    let at = Instant::now();
    assert_eq!(home.begin("a"), "begun\n");
    assert!(at.elapsed() < Duration::from_secs(1), "nobody waits for its end");
    assert_eq!(home.begin("a"), "under way\n");
    assert_eq!(home.follow(), "it's $(id)\nlast\n\nanole: over\n");
    assert_eq!(home.run(RESULT, &[]), "3\nlast\nwhy\n");
    assert_eq!(home.begun(), 1);
    // What failed is begun anew.
    assert_eq!(home.begin("a"), "begun\n");
    home.follow();
    std::fs::write(home.0.path().join("x/status"), "0\n").unwrap();
    assert_eq!((home.begin("a").as_str(), home.begun()), ("ended\n", 2));
    assert_eq!(home.begin("b"), "begun\n", "another delivery");
    assert_eq!(home.run(END, &[]), "");
    assert!(!home.0.path().join("x").exists());
}

#[test]
fn another_one_ends_it_and_one_that_was_killed_is_gone() {
    let home = Home::new();
    home.begin("a");
    let leader = || {
        let text = std::fs::read_to_string(home.0.path().join("x/pid")).unwrap();
        text.split(' ').next().unwrap().to_owned()
    };
    let first = leader();
    assert_eq!(home.begin("b"), "begun\n");
    let lives = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    };
    assert!(!lives(&first));
    let second = leader();
    assert!(lives(&second));
    assert_eq!(home.run(END, &[]), "");
    assert!(!lives(&second));
    home.begin("c");
    assert!(Command::new("kill").args(["-KILL", &leader()]).status().unwrap().success());
    assert!(home.follow().ends_with("\nanole: gone\n"));
    assert_eq!(home.begin("c"), "begun\n");
    home.run(END, &[]);
}

#[test]
fn what_came_of_it_is_its_last_word() {
    let failed = outcome("1\n{\"failed\":{\"message\":\"the disk is full\",\"hint\":\"make room\"}}\n").unwrap_err();
    assert_eq!((failed.to_string(), failed.hint()), ("the disk is full".to_owned(), Some("make room".to_owned())));
    let killed = outcome("137\n{\"standing\":{}}\nKilled\n").unwrap_err();
    insta::assert_snapshot!(killed, @"
    `anole dataset run` ended with status 137 on the server; it said last
      Killed
    ");
    // Its last word did not get onto a full disk: it is not taken for one that can be found again.
    let said = "0\n{\"delivered\":{\"rep\n";
    assert_eq!((status_of(said), status_of("137\nKilled\n")), ("0", "137"));
    insta::assert_snapshot!(outcome(said).unwrap_err(), @"`anole dataset run` ended with status 0 on the server, and printed nothing");
    assert!(stuck("stuck 12 13\n").unwrap_err().to_string().ends_with("processes 12 13"));
}
