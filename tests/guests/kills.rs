//! Servers and applies that end in the middle: while a filesystem is made, mounted, unmounted, while a script runs.
//!
//! The next applies, three at most, make of it what was wanted, and no data that was there before is lost.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use super::kit::Lab;
use super::storage::{mounted, stack, volumes};

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Server,
    Anole,
}

use Victim::{Anole, Server};

/// Applies, and kills so many milliseconds after the step says that. Gives whether it was said, and the exit code.
#[track_caller]
fn strike(lab: &Lab, status: &str, victim: Victim, delay: u64) -> Option<i32> {
    let mut child = lab.env.command("apply spec.yaml --yes").spawn().expect("the binary runs");
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let (mut said, mut struck) = (Vec::new(), false);
    for line in lines {
        let line = line.expect("text");
        if !struck && line.contains(status) {
            std::thread::sleep(Duration::from_millis(delay));
            match victim {
                Anole => child.kill().expect("a child"),
                Server => lab.crash("one"),
            }
            struck = true;
        }
        said.push(line);
    }
    assert!(struck, "`{status}` was not said: {said:#?}");
    child.wait().expect("a child").code()
}

/// Applies until it is done, and there is nothing more to do.
#[track_caller]
fn converges(lab: &Lab) {
    let mut said = String::new();
    for _ in 0..3 {
        let ran = lab.env.anole("apply spec.yaml --yes");
        if ran.code == Some(0) {
            return lab.env.has_no_changes("spec.yaml");
        }
        said.push_str(&ran.stderr);
    }
    panic!("three applies, and still: {said}");
}

/// The filesystem's UUID that the state shows for a volume.
#[track_caller]
fn uuid(lab: &Lab, name: &str) -> String {
    let record = lab.env.record("spec.yaml", &format!("attachments.{name}/mount"));
    record["attributes"]["uuid"].as_str().unwrap_or_else(|| panic!("no UUID in {record}")).to_owned()
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn killed_while_it_makes_a_filesystem() {
    const PARTED: &str = "filesystem: ext4";
    const WHOLE: &str = "filesystem: ext4, partition: false";
    const XFS: &str = "filesystem: xfs";
    const BARE: &str = "filesystem: xfs, partition: false";
    let rounds = [
        ("a", PARTED, Anole, 100),
        ("b", PARTED, Server, 600),
        ("c", WHOLE, Server, 500),
        ("d", XFS, Anole, 1500),
        ("e", BARE, Server, 800),
    ];
    let (mut volumes, mut attachments) = (String::new(), String::new());
    let lab = Lab::applied(&stack(""));
    let mut cut = 0;
    for (at, (name, kind, victim, delay)) in rounds.into_iter().enumerate() {
        volumes.push_str(&format!("  {name}: {{ size: 8GiB, protect: false }}\n"));
        attachments.push_str(&format!(
            "  {name}: {{ volume: {name}, server: one, {kind}, mount: {{ path: /mnt/{name}, owner: cc }} }}\n"
        ));
        lab.env.write("spec.yaml", &stack(&format!("volumes:\n{volumes}attachments:\n{attachments}")));
        cut += usize::from(strike(&lab, "making ", victim, delay) != Some(0));
        converges(&lab);
        let shown =
            lab.ssh("one", &format!("findmnt -rno UUID,FSTYPE /mnt/{name}; echo {name} >/mnt/{name}/file; sync"));
        let kind = if kind.contains("xfs") { "xfs" } else { "ext4" };
        assert_eq!(shown, format!("{} {kind}", uuid(&lab, name)));
        let names: Vec<_> = rounds[..=at].iter().map(|(name, ..)| *name).collect();
        assert_eq!(lab.ssh("one", "cat /mnt/?/file"), names.join("\n"), "what the earlier ones hold");
    }
    assert!(cut >= rounds.len() / 2, "only {cut} of {} were cut off", rounds.len());
    let whole = "for n in a b c; do d=$(findmnt -no SOURCE /mnt/$n); umount /mnt/$n; e2fsck -fn $d >&2; done; \
                 for n in d e; do d=$(findmnt -no SOURCE /mnt/$n); umount /mnt/$n; xfs_repair -n $d >&2; done";
    lab.root("one", whole);
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn killed_while_it_mounts_or_unmounts() {
    let text = |path: &str| {
        stack(&format!(
            "volumes:\n  data: {{ size: 1GiB, protect: false }}\nattachments:\n  data: {{ volume: data, server: one, \
             filesystem: ext4, mount: {{ path: {path}, owner: cc }} }}\n"
        ))
    };
    let lab = Lab::applied(&text("/mnt/0"));
    lab.ssh("one", "echo data >/mnt/0/file; sync");
    let uuid = uuid(&lab, "data");
    let rounds = [
        ("unmounting", Anole, 200),
        ("unmounting", Server, 500),
        ("mounting /mnt/3", Anole, 300),
        ("mounting /mnt/4", Server, 600),
    ];
    let mut cut = 0;
    for (at, (status, victim, delay)) in rounds.into_iter().enumerate() {
        let path = format!("/mnt/{}", at + 1);
        lab.env.write("spec.yaml", &text(&path));
        cut += usize::from(strike(&lab, status, victim, delay) != Some(0));
        converges(&lab);
        let shown = "findmnt -rno TARGET,UUID | grep ^/mnt/; cat /mnt/*/file; grep -c ^UUID= /etc/fstab";
        let shown = lab.ssh("one", shown);
        assert_eq!(shown, format!("{path} {uuid}\ndata\n1"), "{status}, {victim:?}");
    }
    assert!(cut >= rounds.len() / 2, "only {cut} of {} were cut off", rounds.len());
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn killed_while_a_script_runs() {
    // Each run says when it begins and ends; none begins while another goes on.
    let text = |round: usize| {
        stack(&format!(
            "{}attachments:\n{}scripts:\n  work: {{ server: one, uses: [attachments.data], triggers: [\"{round}\"], run: \"exec \
             9>/tmp/turn; flock -n 9 || echo TWO >>/mnt/data/log; echo begun {round} >>/mnt/data/log; sync; echo working; \
             sleep 4; echo ended {round} >>/mnt/data/log; sync\" }}\n",
            volumes(&["data"]),
            mounted("data", ", filesystem: xfs"),
        ))
    };
    let lab = Lab::applied(&text(0));
    let mut cut = 0;
    for (round, victim, delay) in [(1, Anole, 500), (2, Server, 800), (3, Server, 2000), (4, Anole, 2500)] {
        lab.env.write("spec.yaml", &text(round));
        cut += usize::from(strike(&lab, "scripts.work: running… working", victim, delay) != Some(0));
        converges(&lab);
        let log = lab.ssh("one", "cat /mnt/data/log");
        let last: Vec<_> = log.lines().rev().take(2).collect();
        assert_eq!(last, [format!("ended {round}"), format!("begun {round}")], "{log}");
        assert!(!log.contains("TWO"), "{log}");
        let ran = |earlier| log.contains(&format!("begun {earlier}\nended {earlier}"));
        assert!((0..round).all(ran), "each ran to its end: {log}");
    }
    assert!(cut >= 2, "only {cut} of 4 were cut off");
}
