//! Log-ins that do not work, commands that hang or say too much, and the commands for people: `anole ssh`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::kit::Lab;
use super::storage::{failure, mounted, stack, volumes};

/// A server with a volume; `ssh` is how anole logs in.
fn storage(ssh: &str) -> String {
    let text = stack(&format!("{}attachments:\n{}", volumes(&["data"]), mounted("data", ", filesystem: ext4")));
    text.replace("ssh: { identity_file: ./key }", &format!("ssh: {{ {ssh} }}"))
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn who_is_not_let_in_says_why_and_in_time() {
    let lab = Lab::applied(&stack(""));
    let address = lab.address("one");
    let keygen = ["-q", "-t", "ed25519", "-N", "", "-f"];
    let made = Command::new("ssh-keygen").args(keygen).arg(lab.env.path("wrong")).status().expect("ssh-keygen");
    assert!(made.success());

    // Another key than the server's.
    lab.env.write("spec.yaml", &storage("identity_file: ./wrong, timeout: 20s"));
    let began = Instant::now();
    let said = failure(&lab.env.anole("apply spec.yaml --yes").exits(1), "attachments.data/mount");
    assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
    let tried = format!("it refused every key for cc; tried {} (ED25519", lab.env.path("wrong").display());
    for part in [&format!("servers.one (cc@{address}:22)"), &tried, "hint: "] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }

    // Nobody listens: the console's end is told, for it may say why.
    lab.env.write("spec.yaml", &storage("identity_file: ./key, port: 2222, timeout: 15s"));
    let said = failure(&lab.env.anole("apply spec.yaml --yes").exits(1), "attachments.data/mount");
    for part in [
        &format!("servers.one (cc@{address}:2222)"),
        "could not be used within",
        "it refuses connections",
        "its console ends with",
    ] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }

    // The right one, and what was recorded meanwhile is carried out.
    lab.env.write("spec.yaml", &storage("identity_file: ./key"));
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");

    // Somebody made new host keys: refused, until it is said that this is right.
    lab.root("one", "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh");
    lab.env.edit("spec.yaml", "path: /mnt/data", "path: /mnt/moved");
    let said = failure(&lab.env.anole("apply spec.yaml --yes").exits(1), "attachments.data/mount");
    let command = said.split('`').find(|part| part.starts_with("anole state trust-key servers.one 'ssh-ed25519 "));
    let shown = command.and_then(|command| command.split('\'').nth(1)).unwrap_or_else(|| panic!("{said}")).to_owned();
    assert!(said.contains("its host key changed: it showed SHA256:"), "{said}");
    assert!(lab.ssh("one", "cat /etc/ssh/ssh_host_ed25519_key.pub").starts_with(&shown), "{shown}");
    assert_eq!(lab.ssh("one", "findmnt -rno TARGET | grep ^/mnt"), "/mnt/data", "nothing was done");
    // Forgetting the old one is not enough: the console still shows it.
    lab.env.anole("state forget-key servers.one -f spec.yaml").exits(0);
    let said = failure(&lab.env.anole("apply spec.yaml --yes").exits(1), "attachments.data/mount");
    assert!(said.contains("is not among those on the server's console log") && said.contains(&shown), "{said}");
    lab.env.anole("state trust-key servers.one nonsense -f spec.yaml").exits(1).says("`nonsense` is not a public key");
    let mut trust = lab.env.command("state trust-key servers.one -f spec.yaml");
    assert!(trust.arg(&shown).status().expect("the binary runs").success());
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");
    // A server that anole itself makes again has another key, and that is right.
    lab.env.edit("spec.yaml", "CC-Ubuntu24.04", "CC-Ubuntu22.04");
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");

    // The commands for people use what is known.
    lab.env.anole("ssh one -f spec.yaml -- cat /etc/anole-image").exits(0).says("CC-Ubuntu22.04");
    lab.env.anole("ssh one -f spec.yaml -- exit 7").exits(7);
    let config = lab.env.anole("ssh-config -f spec.yaml").exits(0).stdout;
    lab.env.write("config", &config);
    let ssh =
        Command::new("ssh").arg("-F").arg(lab.env.path("config")).args(["one", "id", "-un"]).output().expect("ssh");
    assert_eq!(String::from_utf8_lossy(&ssh.stdout), "cc\n", "{}", String::from_utf8_lossy(&ssh.stderr));
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn what_hangs_is_given_up_and_what_says_too_much_is_bounded() {
    let lab = Lab::applied(&stack(""));
    // A hundred MB of output, and how much memory that takes here.
    let script = |run: &str, more: &str| stack(&format!("scripts:\n  work: {{ server: one, run: \"{run}\"{more} }}\n"));
    lab.env.write(
        "spec.yaml",
        &script("yes hundred megabytes of it | head -c 100000000; echo; echo the last line; exit 1", ""),
    );
    let mut command = lab.env.command("apply spec.yaml --yes");
    let child = command.stdout(Stdio::null()).spawn().expect("the binary runs");
    let status = format!("/proc/{}/status", child.id());
    let watcher = std::thread::spawn(move || {
        let mut peak = 0;
        while let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let Some(line) = line else { break };
            peak = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number").max(peak);
            std::thread::sleep(Duration::from_millis(50));
        }
        peak
    });
    let ended = child.wait_with_output().expect("a child");
    let peak = watcher.join().expect("a peak");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("the last line") && said.len() < 20_000, "{} bytes: {said:.2000}", said.len());
    assert!(peak < 150_000, "{peak} kB of memory");
    assert_eq!(lab.ssh("one", "wc -c <.anole/lab/work/log"), "100000015");

    // What takes longer than it may is ended, with all that it started.
    lab.env.write("spec.yaml", &script("echo begun; sleep 1234 & sleep 1234", ", timeout: 5s"));
    let said = failure(&lab.env.anole("apply spec.yaml --yes").exits(1), "scripts.work");
    assert!(said.contains("did not end within 5 s, and was ended") && said.contains("begun"), "{said}");
    assert_eq!(lab.ssh("one", "pgrep -fc '[s]leep 1234' || true"), "0");

    // A log-in shell that never comes back: after authentication, nothing.
    lab.root("one", "printf '#!/bin/bash\\nexec sleep 5000\\n' >/bin/hangs; chmod 755 /bin/hangs; sed -i 's,^\\(cc:.*\\):/bin/bash,\\1:/bin/hangs,' /etc/passwd");
    lab.env.write("spec.yaml", &script("echo again", ""));
    let began = Instant::now();
    let said = failure(&lab.env.anole("apply spec.yaml --yes").exits(1), "scripts.work");
    assert!(said.contains("did not end within"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
}
