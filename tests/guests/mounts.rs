//! Mounts over their life: the server made again around them, grown, changed in place, in use, undone by hand.

use super::kit::Lab;
use super::storage::{mounted, stack, volumes};

/// The example of block storage, with two more volumes: another filesystem, and one without a partition.
fn block() -> String {
    let edits = [
        ("default: ./example.pub", "default: ./key.pub"),
        ("  name: \"${key}-${var.net_id}\"\n", "  name: \"${key}\"\n  ssh: { identity_file: ./key }\n"),
        ("\nattachments:\n", "  xfs: { size: 2GiB }\n  bare: { size: 2GiB }\n\nattachments:\n"),
        (
            "\noutputs:\n",
            "  xfs: { volume: xfs, server: node-block, filesystem: xfs, mount: { path: /mnt/xfs, owner: cc } }\n  bare: { \
             volume: bare, server: node-block, filesystem: ext4, partition: false, mount: { path: /mnt/bare, owner: cc } }\n\
             \noutputs:\n",
        ),
    ];
    edits.into_iter().fold(include_str!("../../specs/block.yaml").to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has `{from}`");
        text.replace(from, to)
    })
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_server_is_made_again_around_its_data_and_the_data_grows() {
    let lab = Lab::with(&block());
    let said = lab.env.apply("spec.yaml");
    for made in ["making ext4", "making xfs"] {
        assert!(said.stderr.contains(made), "{}", said.stderr);
    }
    lab.env.has_no_changes("spec.yaml");
    let node = "node-block";
    lab.ssh(
        node,
        "head -c 64M /dev/urandom >/mnt/block/file && head -c 8M /dev/urandom | tee /mnt/xfs/file >/mnt/bare/file",
    );
    let sums = || lab.ssh(node, "cd /mnt && sha256sum block/file xfs/file bare/file");
    let uuids = || lab.ssh(node, "findmnt -rno TARGET,FSTYPE,UUID | grep ^/mnt/ | sort");
    let created =
        || lab.root(node, "for n in block bare; do tune2fs -l $(findmnt -no SOURCE /mnt/$n) | grep created; done");
    let before = (sums(), uuids(), created());

    lab.env.edit("spec.yaml", "image: CC-Ubuntu24.04", "image: CC-Ubuntu22.04");
    let said = lab.env.apply("spec.yaml");
    assert!(!said.stderr.contains("making "), "nothing is made: {}", said.stderr);
    assert_eq!(lab.ssh(node, "cat /etc/anole-image"), "CC-Ubuntu22.04");
    assert_eq!((sums(), uuids(), created()), before);
    lab.env.has_no_changes("spec.yaml");

    // A process that stands in each folder shows that they stay mounted.
    lab.ssh(node, "for n in block xfs bare; do cd /mnt/$n; setsid sleep 3000 >/dev/null 2>&1 </dev/null & done");
    lab.env.edit("spec.yaml", "size: 2GiB", "size: 3GiB");
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");
    let sizes = lab.ssh(node, "df --output=size -BM /mnt/block /mnt/xfs /mnt/bare | tail -n +2 | tr -d ' M'");
    for size in sizes.lines() {
        assert!(size.parse::<u32>().expect("a size") > 2800, "MiB of 3072: {sizes}");
    }
    let tables = lab.root(
        node,
        "for n in block xfs; do sfdisk --verify /dev/$(lsblk -no PKNAME $(findmnt -no SOURCE /mnt/$n)) 2>&1; done",
    );
    assert_eq!(tables.matches("No errors detected.").count(), 2, "{tables}");
    assert_eq!(lab.ssh(node, "pgrep -c sleep"), "3");
    assert_eq!((sums(), uuids(), created()), before);
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_mount_is_changed_in_place_moved_and_mended() {
    let text = |mount: &str| {
        let more = format!(", filesystem: ext4, mount: {{ {mount} }}");
        stack(&format!("{}attachments:\n  data: {{ volume: data, server: one{more} }}\n", volumes(&["data"])))
    };
    let lab = Lab::applied(&text("path: /mnt/data, owner: cc"));
    let shown = || lab.ssh("one", "findmnt -rno TARGET,OPTIONS | grep -v ^/[[:space:]] | grep -E '^/(mnt|srv|opt)'");
    let folder = |path: &str| lab.ssh("one", &format!("stat -c '%U:%G %a' {path}"));
    let fstab = || lab.ssh("one", "grep -A1 '^# anole: ' /etc/fstab | cut -d' ' -f2-");
    lab.ssh("one", "echo data >/mnt/data/file; touch /tmp/mark");
    assert_eq!(folder("/mnt/data"), "cc:root 755");

    // In place: not unmounted for it.
    lab.ssh("one", "cd /mnt/data; setsid sleep 3000 >/dev/null 2>&1 </dev/null &");
    lab.env.write("spec.yaml", &text("path: /mnt/data, owner: nobody, group: cc, mode: \"0770\", options: [noatime]"));
    lab.env.anole("plan spec.yaml --detailed-exitcode").exits(2);
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");
    assert_eq!(folder("/mnt/data"), "nobody:cc 770");
    assert!(shown().contains("noatime"), "{}", shown());
    lab.env.write("spec.yaml", &text("path: /mnt/data, read_only: true"));
    lab.env.apply("spec.yaml");
    assert!(shown().starts_with("/mnt/data ro,"), "{}", shown());
    assert!(fstab().ends_with("\n/mnt/data ext4 defaults,nofail,ro 0 2"), "{}", fstab());
    // What is no longer said is not so any more; and what is said first is done.
    lab.env.write("spec.yaml", &text("path: /mnt/data, owner: cc, group: cc, mode: \"0755\""));
    lab.env.apply("spec.yaml");
    assert!(fstab().ends_with("\n/mnt/data ext4 defaults,nofail 0 2"), "{}", fstab());
    assert!(shown().starts_with("/mnt/data rw,"), "{}", shown());
    assert_eq!(folder("/mnt/data"), "cc:cc 755");

    // In use: neither moved nor detached, and the user is named.
    let pid = lab.ssh("one", "pgrep -x sleep");
    lab.env.write("spec.yaml", &text("path: /srv/data, owner: cc"));
    let said = lab.env.anole("apply spec.yaml --yes").exits(1);
    said.says("/mnt/data is in use and stays mounted").says(&format!("sleep 3000 (pid {pid}, cc)"));
    let none = stack(&volumes(&["data"]));
    lab.env.write("spec.yaml", &none);
    lab.env.anole("apply spec.yaml --yes").exits(1).says(&format!("sleep 3000 (pid {pid}, cc)"));
    lab.root("one", &format!("test -b {}; cat /mnt/data/file; mountpoint -q /mnt/data", lab.disk("data")));
    lab.ssh("one", &format!("kill {pid}"));
    lab.env.write("spec.yaml", &text("path: /srv/data, owner: cc"));
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");
    assert_eq!(
        lab.ssh("one", "cat /srv/data/file; grep -c ^UUID= /etc/fstab; mountpoint /mnt/data || true"),
        "data\n1\n/mnt/data is not a mountpoint"
    );

    // By hand: seen, and mended.
    lab.root("one", "umount /srv/data");
    lab.env.anole("plan spec.yaml --detailed-exitcode").exits(2).says("not mounted");
    lab.env.apply("spec.yaml");
    assert_eq!(lab.ssh("one", "cat /srv/data/file"), "data");
    lab.root("one", "d=$(findmnt -no SOURCE /srv/data); umount /srv/data; mkdir -p /opt/data; mount $d /opt/data");
    lab.env.anole("plan spec.yaml --detailed-exitcode").exits(2).says("/opt/data");
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");
    assert_eq!(
        lab.ssh("one", "cat /srv/data/file; mountpoint /opt/data || true"),
        "data\n/opt/data is not a mountpoint"
    );

    // After a boot it is there by fstab alone. SSH answers before that, and what is on its way is waited for.
    lab.comes_back("one", "srv-data.mount", "/srv/data");
    assert_eq!(lab.ssh("one", "cat /srv/data/file; test -e /tmp/mark || echo another boot"), "data\nanother boot");
    // And a spec without it leaves nothing behind.
    lab.env.write("spec.yaml", &none);
    lab.env.apply("spec.yaml");
    assert_eq!(lab.ssh("one", "grep -c anole: /etc/fstab || true"), "0");
    lab.env.write("spec.yaml", &stack(&format!("{}attachments:\n{}", volumes(&["data"]), mounted("data", ""))));
    lab.env.apply("spec.yaml");
    assert_eq!(lab.ssh("one", "cat /mnt/data/file"), "data");
}
