//! Machines through a server's life: stopped, started, crashed, deleted; and the addresses that lead to them.

use serde_json::json;

use super::kit::{Lab, spec};

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_machine_lives_as_its_server_does() {
    let lab = Lab::applied(&spec(&["one"], ""));
    lab.ssh("one", "echo kept >note; sync");
    let process = lab.process("one");

    // It is there between commands, and a request alone changes nothing.
    lab.env.has_no_changes("spec.yaml");
    assert_eq!(lab.process("one"), process);

    // A host that crashes starts its machines again.
    lab.crash("one");
    assert_eq!(lab.server("one")["status"], "ACTIVE");
    assert_eq!(lab.ssh("one", "cat note"), "kept");
    assert_ne!(lab.process("one"), process);

    // Stopping lets the guest shut down.
    lab.ssh("one", "echo not synced >late");
    lab.act("one", json!({"os-stop": null}));
    lab.awaits_status("one", "SHUTOFF");
    assert_eq!(lab.processes(), Vec::<u32>::new());
    lab.act("one", json!({"os-start": null}));
    lab.awaits_status("one", "ACTIVE");
    assert_eq!(lab.ssh("one", "cat note late"), "kept\nnot synced");

    lab.act("one", json!({"reboot": {"type": "SOFT"}}));
    lab.awaits_status("one", "ACTIVE");
    assert_eq!(lab.ssh("one", "cat note"), "kept");

    // One that reboots by itself is the same machine.
    let (process, before) = (lab.process("one"), lab.ssh("one", "cat /proc/sys/kernel/random/boot_id"));
    lab.ssh("one", "sudo systemd-run --on-active=1 systemctl reboot");
    lab.wait("another boot", || lab.ssh("one", "cat /proc/sys/kernel/random/boot_id") != before);
    assert_eq!(lab.process("one"), process);

    let folder = lab.machine("one");
    lab.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(lab.processes(), Vec::<u32>::new());
    assert!(!folder.exists());
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn an_address_leads_where_it_is_bound_and_ssh_is_let_in() {
    let text = spec(&["one", "two"], "").replace("  two: { network: public, server: two }\n", "");
    let lab = Lab::applied(&text);
    let address = lab.address("one");
    assert!(address.starts_with("127.") && !address.starts_with("127.0."), "{address}");
    assert_eq!(lab.ssh("one", "hostname"), "one");

    lab.env.edit("spec.yaml", "server: one }", "server: two }");
    lab.env.apply("spec.yaml");
    assert_eq!(lab.address("two"), address);
    assert_eq!(lab.ssh("two", "hostname"), "two");

    let open = || lab.ssh_to(&address, "true").status.success();
    lab.env.edit("spec.yaml", "port: 22", "port: 80");
    lab.env.apply("spec.yaml");
    assert!(!open(), "the group lets no SSH in");
    lab.env.edit("spec.yaml", "port: 80", "ports: [20-23]");
    lab.env.apply("spec.yaml");
    assert_eq!(lab.ssh("two", "hostname"), "two");
    lab.env.edit("spec.yaml", "  one: { network: public, server: two }\n", "  one: { network: public }\n");
    lab.env.apply("spec.yaml");
    assert!(!open(), "it is bound to nobody");
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_server_without_an_image_fails_and_says_how_to_build_it() {
    let mut lab = Lab::with(&spec(&["one"], ""));
    let empty = lab.env.path("no-images").to_string_lossy().into_owned();
    lab.env.set("ANOLE_GUEST_IMAGE", &empty);
    lab.env.anole("apply spec.yaml --yes").exits(1).says("build it with `anole cloud image`");
    let server = &lab.site().all("servers")[0];
    assert_eq!(server["status"], "ERROR");
}
