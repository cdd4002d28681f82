//! Disks that others wrote on: none of their bytes is ever overwritten, and what can be mounted is.
//!
//! Each volume is written on inside a server, by the tools that people use, before anole is asked to mount it.

use serde_json::json;

use super::kit::Lab;
use super::storage::{attachment, failure, mounted, stack, volumes};

/// What is written on a disk, `$d`, and what anole must say of it.
const HOSTILE: [(&str, &str, &[&str]); 12] = [
    ("lvm", "pvcreate -q $d", &["an LVM physical volume, UUID "]),
    (
        "luks",
        "printf secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $d -",
        &["a LUKS container, UUID "],
    ),
    (
        "raid",
        "mdadm --create /dev/md9 --level=1 --raid-devices=2 --metadata=1.2 --run $d missing; mdadm --stop /dev/md9",
        &["a member of a Linux RAID, UUID "],
    ),
    ("swap", "mkswap $d", &["swap space, UUID "]),
    (
        "iso",
        "printf '\\001CD001\\001' | dd of=$d bs=1 seek=32768 conv=notrunc; \
         printf 2001020304050600 | dd of=$d bs=1 seek=$((32768 + 830)) conv=notrunc",
        &["a disc image (iso9660)", "leave `filesystem` out"],
    ),
    (
        "empty",
        "printf 'label: gpt\\nstart=1MiB\\n' | sfdisk -q $d",
        &["a gpt partition table with 1 partition; no signature on /dev/vd"],
    ),
    // The table is gone, and the filesystem of its partition is not.
    (
        "lost",
        "mkfs.ext4 -q -E offset=1048576 $d 900M",
        &["an ext4 filesystem at offset 1048576, where a partition may have begun whose table is lost"],
    ),
    ("first", "printf precious | dd of=$d bs=1 seek=512000 conv=notrunc", &["(8 bytes in its first MiB)"]),
    (
        "last",
        "printf precious | dd of=$d bs=1 seek=$((1073741824 - 4096)) conv=notrunc",
        &["(8 bytes in its last MiB)"],
    ),
    ("middle", "yes | dd of=$d bs=1M seek=400 count=20 iflag=fullblock conv=notrunc", &["bytes in between)"]),
    ("xfs", "mkfs.xfs -q $d", &["holds an xfs filesystem, and the spec asks for ext4", "write `filesystem: xfs`"]),
    // Blank, but made by somebody else.
    ("imported", "true", &["is blank, and anole did not create it", "`sudo mkfs.ext4 '/dev/vd"]),
];

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn what_others_wrote_is_refused_and_stays() {
    let names = HOSTILE.map(|(name, ..)| name);
    let sections = |attachments: &str| stack(&format!("{}attachments:\n{attachments}", volumes(&names)));
    let plain: String = names.iter().map(|name| attachment(name, "")).collect();
    let lab = Lab::with(&stack(&volumes(&names[..11])));
    lab.env.apply("spec.yaml");
    let volume = json!({"volume": {"size": 1, "name": "imported"}});
    let made = lab.api("POST", "/volume/v3/volumes", volume)["volume"]["id"].as_str().expect("an id").to_owned();
    lab.env.write("spec.yaml", &sections(&plain));
    lab.env.anole(&format!("import volumes.imported {made} -f spec.yaml")).exits(0);
    lab.env.apply("spec.yaml");
    let script: String = HOSTILE.iter().map(|(name, script, _)| format!("d={}\n{script}\n", lab.disk(name))).collect();
    lab.root("one", &format!("exec 2>&1\nset -x\n{script}sync; udevadm settle"));
    let before = lab.digests(&names);
    for pair in 0..names.len() {
        let alike = before.iter().filter(|digest| **digest == before[pair]).count();
        assert_eq!(alike, 1, "{} was written on", names[pair]);
    }

    let wanted: String = names.iter().map(|name| mounted(name, ", filesystem: ext4")).collect();
    lab.env.write("spec.yaml", &sections(&wanted));
    let said = lab.env.anole("apply spec.yaml --yes").exits(1);
    for (name, _, words) in HOSTILE {
        let failed = failure(&said, &format!("attachments.{name}/mount"));
        for word in words {
            assert!(failed.contains(word), "`{word}` of {name}: {failed}");
        }
        let by_hand = ["xfs", "iso", "imported"].contains(&name)
            || failed.contains("look at it: `sudo lsblk -f '/dev/vd") && failed.contains("`sudo wipefs --all '/dev/vd");
        assert!(by_hand, "what to do about {name}: {failed}");
    }
    assert_eq!(lab.digests(&names), before);
    assert_eq!(lab.ssh("one", "grep -c /mnt/ /etc/fstab; findmnt -rno TARGET | grep -c ^/mnt/ || true"), "0\n0");

    // By hand, as the message says: then it is taken.
    lab.root("one", &format!("mkfs.ext4 -q {}", lab.disk("imported")));
    let others = ["lvm", "luks", "raid", "swap", "iso", "empty", "lost", "first", "last", "middle"];
    let mut spec = lab.env.read("spec.yaml");
    for name in others {
        spec = spec.replace(&mounted(name, ", filesystem: ext4"), &attachment(name, ""));
    }
    lab.env
        .write("spec.yaml", &spec.replace(&mounted("xfs", ", filesystem: ext4"), &mounted("xfs", ", filesystem: xfs")));
    lab.env.apply("spec.yaml");
    assert_eq!(lab.ssh("one", "findmnt -rno TARGET,FSTYPE | grep ^/mnt/ | sort"), "/mnt/imported ext4\n/mnt/xfs xfs");
    lab.env.has_no_changes("spec.yaml");
}

/// What others made that is mounted as it is, and what is made where there is nothing.
#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn what_can_be_mounted_is_and_by_its_own_name() {
    const NAMES: [&str; 5] = ["whole", "parted", "unsaid", "blank", "bare"];
    let lab = Lab::applied(&stack(&format!(
        "{}attachments:\n{}",
        volumes(&NAMES),
        NAMES.map(|name| attachment(name, "")).concat()
    )));
    let filled = |device: &str, name: &str| format!("mount {device} /mnt; echo {name} >/mnt/file; umount /mnt\n");
    let [whole, parted, unsaid] = ["whole", "parted", "unsaid"].map(|name| lab.disk(name));
    lab.root(
        "one",
        &[
            format!("mkfs.ext4 -q {whole}\n"),
            filled(&whole, "whole"),
            format!("printf 'label: dos\\nstart=1MiB, size=500MiB\\n' | sfdisk -q {parted}; udevadm settle\n"),
            format!("mkfs.ext4 -q {parted}-part1; udevadm settle\n"),
            filled(&format!("{parted}-part1"), "parted"),
            format!("mkfs.xfs -q {unsaid}\n"),
            filled(&unsaid, "unsaid"),
            "sync".to_owned(),
        ]
        .concat(),
    );
    let all = [
        mounted("whole", ", filesystem: ext4"),
        mounted("parted", ", filesystem: ext4"),
        mounted("unsaid", ""),
        mounted("blank", ", filesystem: ext4"),
        mounted("bare", ", filesystem: xfs, partition: false"),
    ];
    let text = |attachments: &[String]| stack(&format!("{}attachments:\n{}", volumes(&NAMES), attachments.concat()));
    lab.env.write("spec.yaml", &text(&all));
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");
    let files = || lab.ssh("one", "for n in whole parted unsaid blank bare; do cat /mnt/$n/file; done");
    lab.ssh("one", "echo blank >/mnt/blank/file; echo bare >/mnt/bare/file; sync");
    assert_eq!(files(), NAMES.join("\n"));
    let kinds = lab.ssh("one", "findmnt -rno TARGET,FSTYPE | grep ^/mnt/ | sort");
    assert_eq!(kinds, "/mnt/bare xfs\n/mnt/blank ext4\n/mnt/parted ext4\n/mnt/unsaid xfs\n/mnt/whole ext4");
    let kinds = lab.ssh("one", "lsblk -dno TYPE $(findmnt -no SOURCE /mnt/blank) $(findmnt -no SOURCE /mnt/bare)");
    assert!(kinds.contains("part") && kinds.contains("disk"), "{kinds}");
    let fstab =
        lab.ssh("one", "grep -c '^UUID=.* /mnt/.* defaults,nofail' /etc/fstab; ls -ld /mnt/blank | cut -d' ' -f3");
    assert_eq!(fstab, "5\ncc");

    // Attached in another order, and with other names of the kernel's: each finds its own.
    let uuids = || {
        let said = lab.ssh("one", "findmnt -rno TARGET,UUID | grep ^/mnt/ | sort");
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = uuids();
    lab.env.write("spec.yaml", &text(&[]).replace("attachments:\n", ""));
    lab.env.apply("spec.yaml");
    assert_eq!(lab.ssh("one", "ls /mnt/*/; grep -c /mnt/ /etc/fstab || true").lines().last(), Some("0"));
    lab.env.write("spec.yaml", &text(&all[3..]));
    lab.env.apply("spec.yaml");
    lab.env.write("spec.yaml", &text(&all));
    lab.env.apply("spec.yaml");
    assert_eq!(uuids(), before);
    assert_eq!(files(), NAMES.join("\n"));

    // Another filesystem where the state remembers one: not mounted, not made.
    lab.env.write("spec.yaml", &text(&all[..4]));
    lab.env.apply("spec.yaml");
    lab.env.write("spec.yaml", &text(&[all[..4].concat(), attachment("bare", "")]));
    lab.env.apply("spec.yaml");
    lab.root("one", &format!("d={}; xfs_admin -U generate $d; sync", lab.disk("bare")));
    let digest = lab.digests(&["bare"]);
    lab.env.write("spec.yaml", &text(&all));
    let said = lab.env.anole("apply spec.yaml --yes").exits(1);
    let failed = failure(&said, "attachments.bare/mount");
    assert!(failed.contains("the state remembers an xfs filesystem with UUID"), "{failed}");
    assert!(failed.contains("found: an xfs filesystem, UUID") && failed.contains("sudo lsblk -f"), "{failed}");
    assert_eq!(lab.digests(&["bare"]), digest);
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_disk_that_is_smaller_than_its_volume_is_left_alone() {
    let lab = Lab::applied(&stack(&format!("{}attachments:\n{}", volumes(&["data"]), attachment("data", ""))));
    // The volume's disk is taken away inside the server, and what bears its serial number then is another one.
    let link = lab.disk("data");
    lab.root(
        "one",
        &format!(
            "real=$(readlink -f /sys/block/$(basename $(readlink -f {link}))/device); echo 1 >${{real%/*}}/remove\n\
             udevadm settle; modprobe zram; echo 512M >/sys/block/zram0/disksize; udevadm settle\n\
             mkdir -p /dev/disk/by-id; ln -sf /dev/zram0 {link}"
        ),
    );
    let mounts = mounted("data", ", filesystem: ext4");
    lab.env.write("spec.yaml", &stack(&format!("{}attachments:\n{mounts}", volumes(&["data"]))));
    let failed = failure(&lab.env.anole("apply spec.yaml --yes").exits(1), "attachments.data/mount");
    assert!(
        failed.contains("its disk has 536870912 bytes, and the volume 1073741824: it may be another disk"),
        "{failed}"
    );
    let untouched = "cmp -n 536870912 /dev/zram0 /dev/zero && grep -c /mnt/ /etc/fstab || true";
    assert_eq!(lab.root("one", untouched), "0");
}
