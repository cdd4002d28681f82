//! What makes a copy of the template a server: name, key, host key, user data; and its console.

use serde_json::json;

use super::kit::{Lab, spec};

fn host_keys(console: &str) -> Vec<String> {
    let after = console.rsplit("-----BEGIN SSH HOST KEY KEYS-----").next().unwrap_or_default();
    let section = after.split("-----END SSH HOST KEY KEYS-----").next().unwrap_or_default();
    let key = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    section.lines().map(key).filter(|key| key.starts_with("ssh-")).collect()
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn two_copies_are_two_servers() {
    let lab = Lab::applied(&spec(&["one", "two"], ""));
    let facts = "hostname; cat /etc/machine-id; cat /etc/ssh/ssh_host_ed25519_key.pub; date +%s; cat /etc/anole-image";
    let [one, two] = ["one", "two"].map(|name| lab.ssh(name, facts));
    let [one, two]: [Vec<&str>; 2] = [one.lines().collect(), two.lines().collect()];
    assert_eq!((one[0], two[0]), ("one", "two"));
    assert_ne!(one[1], two[1], "machine ids");
    assert_ne!(one[2], two[2], "host keys");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let clock: u64 = one[3].parse().unwrap();
    assert!(now.abs_diff(clock) < 30, "the clock is right: {clock}, and it is {now}");
    assert_eq!(one[4], "CC-Ubuntu24.04");
    assert_eq!(lab.ssh("one", "id -un && sudo -n id -un"), "cc\nroot");
    let random = |name| lab.ssh(name, "head -c 16 /dev/urandom | od -An -tx1");
    assert_ne!(random("one"), random("two"));
    // What the console says is what the server shows.
    let said = host_keys(&lab.console("one"));
    assert_eq!(said, [one[2].split_whitespace().take(2).collect::<Vec<_>>().join(" ")]);
    // A group that was given since is there at the next login, without PAM too.
    lab.ssh("one", "sudo groupadd fresh && sudo usermod -aG fresh cc");
    assert!(lab.ssh("one", "id -Gn").split(' ').any(|group| group == "fresh"));
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn user_data_is_run_once_and_a_rebuild_begins_anew() {
    let script = "#!/bin/bash\necho \"it's $(id -un)\" >>/etc/greeting\necho said by user data\n";
    let text = spec(&["one"], "").replace("security_groups: [ssh] }", "security_groups: [ssh], user_data: ./script }");
    let lab = Lab::with(&text);
    lab.env.write("script", script);
    lab.env.apply("spec.yaml");
    lab.wait("user data", || lab.tries("one", "test -e /etc/greeting").status.success());
    assert_eq!(lab.ssh("one", "cat /etc/greeting"), "it's root");
    lab.wait("its output", || lab.console("one").contains("said by user data"));
    let before = host_keys(&lab.console("one"));
    lab.ssh("one", "sudo touch /etc/mine; sync");

    lab.act("one", json!({"reboot": {"type": "HARD"}}));
    lab.awaits_status("one", "ACTIVE");
    assert_eq!(lab.ssh("one", "cat /etc/greeting; ls /etc/mine"), "it's root\n/etc/mine", "the same disk, and no more");
    assert_eq!(host_keys(&lab.console("one")), before);

    let image = lab.server("one")["image"]["id"].clone();
    lab.act("one", json!({"rebuild": {"imageRef": image}}));
    lab.awaits_status("one", "ACTIVE");
    lab.wait("user data", || lab.tries("one", "test -e /etc/greeting").status.success());
    assert!(!lab.tries("one", "test -e /etc/mine").status.success(), "another disk");
    let after = host_keys(&lab.console("one"));
    assert!(after.len() == 1 && after != before, "another host key");
}
