//! Volumes as disks: plugged, moved with their data, grown, and there again after a crash.

use serde_json::json;

use super::kit::{Lab, spec};

const VOLUME: &str =
    "volumes:\n  data: { size: 1GiB, protect: false }\nattachments:\n  data: { volume: data, server: one }\n";

/// Where a volume is found in a server.
fn device(lab: &Lab) -> String {
    let id = lab.env.id("spec.yaml", "volumes.data");
    format!("/dev/disk/by-id/virtio-{}", &id[..20])
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_volume_moves_with_its_data_and_grows() {
    let lab = Lab::applied(&spec(&["one", "two"], VOLUME));
    let device = device(&lab);
    let size = |server: &str| lab.ssh(server, &format!("sudo blockdev --getsize64 {device}"));
    assert_eq!(size("one"), (1_u64 << 30).to_string());
    lab.ssh(
        "one",
        &format!("sudo mkfs.ext4 -q {device} && sudo mount {device} /mnt && echo data | sudo tee /mnt/file"),
    );
    lab.ssh("one", "sudo umount /mnt");

    lab.env.edit("spec.yaml", "volume: data, server: one }", "volume: data, server: two }");
    lab.env.apply("spec.yaml");
    assert!(!lab.tries("one", &format!("test -e {device}")).status.success(), "it left the first");
    assert_eq!(lab.ssh("two", &format!("sudo mount {device} /mnt && cat /mnt/file")), "data");

    lab.env.edit("spec.yaml", "size: 1GiB", "size: 2GiB");
    lab.env.apply("spec.yaml");
    assert_eq!(size("two"), (2_u64 << 30).to_string(), "it grew while it was mounted");
    lab.ssh("two", &format!("sudo resize2fs {device} && sudo umount /mnt"));

    let volumes = lab.machines().join("volumes");
    assert_eq!(std::fs::read_dir(&volumes).unwrap().count(), 1);
    lab.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(std::fs::read_dir(&volumes).unwrap().count(), 0);
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_crashed_server_comes_back_with_its_volumes() {
    let lab = Lab::applied(&spec(&["one"], VOLUME));
    let device = device(&lab);
    lab.ssh(
        "one",
        &format!("sudo mkfs.ext4 -q {device} && sudo mount {device} /mnt && echo data | sudo tee /mnt/file"),
    );
    lab.ssh("one", "sync");
    lab.crash("one");
    lab.env.has_no_changes("spec.yaml");
    assert_eq!(lab.ssh("one", &format!("sudo mount {device} /mnt && cat /mnt/file && sudo umount /mnt")), "data");
    // What was there when it booted can be taken out, and what comes after can be put in.
    lab.env.edit("spec.yaml", "attachments:\n  data: { volume: data, server: one }\n", "");
    lab.env.apply("spec.yaml");
    assert!(!lab.tries("one", &format!("test -e {device}")).status.success());
    lab.env.edit(
        "spec.yaml",
        "protect: false }\n",
        "protect: false }\nattachments:\n  data: { volume: data, server: one }\n",
    );
    lab.env.apply("spec.yaml");
    assert_eq!(lab.ssh("one", &format!("sudo mount {device} /mnt && cat /mnt/file")), "data");
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_stopped_server_has_its_volumes_when_it_starts() {
    let lab = Lab::applied(&spec(&["one"], "volumes:\n  data: { size: 1GiB, protect: false }\n"));
    lab.act("one", json!({"os-stop": null}));
    lab.awaits_status("one", "SHUTOFF");
    let (server, volume) = (lab.id("one"), lab.env.id("spec.yaml", "volumes.data"));
    let attachments = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    lab.api("POST", &attachments, json!({"volumeAttachment": {"volumeId": volume}}));
    let status = || lab.api("GET", &format!("/volume/v3/volumes/{volume}"), json!({}))["volume"]["status"].clone();
    lab.wait("in-use", || status() == "in-use");
    lab.act("one", json!({"os-start": null}));
    lab.awaits_status("one", "ACTIVE");
    lab.ssh("one", &format!("test -b {}", device(&lab)));
}
