//! Buckets as folders of servers: mounted, written to, let go, over a store that stops and keys that are wrong.

use std::fs::read;

use super::kit::Lab;
use super::storage::{failure, stack};
use super::store::{KEY, SECRET, Store};

/// A bucket at a folder of server `one`; `mount` is further fields of the mount, and begins with a comma.
fn bucket(store: &Store, bucket: &str, mount: &str) -> String {
    format!(
        "attachments:\n  lake: {{ bucket: {{ existing: {bucket} }}, server: one, mount: {{ path: /mnt/object{mount} }}, credential: {{ \
         existing: {{ endpoint: \"{}\", access_key: \"${{var.key}}\", secret_key: \"${{var.secret}}\" }} }} }}\n\
         variables:\n  key: {{ required: true, sensitive: true }}\n  secret: {{ required: true, sensitive: true }}\n",
        store.endpoint()
    )
}

/// A server that lacks the tools and can install these.
fn lab(offered: &[&str]) -> Lab {
    let mut lab = Lab::applied(&stack(""));
    lab.env.set("ANOLE_VAR_key", KEY);
    lab.env.set("ANOLE_VAR_secret", SECRET);
    lab.root("one", "dpkg --purge rclone 2>&1");
    lab.offer("one", offered);
    lab
}

/// The secret is in no file of the stack, and on the server in the one file for it.
#[track_caller]
fn is_kept(lab: &Lab) {
    let holds = |path: &std::path::Path| {
        read(path).is_ok_and(|bytes| bytes.windows(SECRET.len()).any(|at| at == SECRET.as_bytes()))
    };
    let guests = lab.machines();
    let known: Vec<_> = lab.env.files().into_iter().filter(|path| !path.starts_with(&guests) && holds(path)).collect();
    assert!(known.is_empty(), "{known:?}");
    // Read before it is searched, for a search has what it looks for on its own command line.
    let processes = lab.root("one", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' ' || true");
    assert!(processes.contains("rclone mount") || processes.contains("s3fs"), "{processes}");
    assert!(!processes.contains(SECRET), "{processes}");
    let files = format!("grep -rl {SECRET} /etc /var/cache /home /tmp /run/systemd || true");
    assert_eq!(lab.root("one", &files), "/etc/anole/buckets/anole-bucket-lab-lake.conf");
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_bucket_is_read_written_and_let_go() {
    let mut store = Store::with(&["food11"]);
    std::fs::create_dir(store.object("food11", "class_00")).expect("a folder");
    std::fs::write(store.object("food11", "class_00/0_0.jpg"), vec![7; 100_000]).expect("an object");
    let lab = lab(&["rclone"]);

    // For reading: installed, mounted, seen by others, its key for its reader alone.
    lab.env.write("spec.yaml", &stack(&bucket(&store, "food11", ", allow_other: true")));
    let plan = lab.env.anole("plan spec.yaml").exits(0).omits(SECRET).omits(KEY);
    for step in ["install rclone, if it is not there", "mount bucket food11 at /mnt/object, for reading only"] {
        assert!(plan.stdout.contains(step), "{}", plan.stdout);
    }
    lab.env.apply("spec.yaml").says("installing rclone").says("attachments.lake: mounted").omits(SECRET);
    lab.env.has_no_changes("spec.yaml");
    assert_eq!(lab.ssh("one", "sudo -u nobody wc -c </mnt/object/class_00/0_0.jpg"), "100000");
    assert_eq!(
        lab.ssh("one", "touch /mnt/object/new 2>&1 || true"),
        "touch: cannot touch '/mnt/object/new': Read-only file system"
    );
    let modes = "stat -c '%a %U' /etc/anole/buckets/*.conf; grep -xc user_allow_other /etc/fuse.conf";
    assert_eq!(lab.root("one", modes), "600 cc\n1");
    is_kept(&lab);

    // A tool that dies is started again; one that is stopped is drift.
    lab.root("one", "pkill -KILL rclone");
    lab.wait("the bucket again", || lab.tries("one", "cat /mnt/object/class_00/0_0.jpg").status.success());
    lab.root("one", "systemctl stop anole-bucket-lab-lake");
    lab.env.anole("plan spec.yaml --detailed-exitcode").exits(2).says("not mounted");
    lab.env.apply("spec.yaml");
    assert_eq!(lab.ssh("one", "wc -c </mnt/object/class_00/0_0.jpg"), "100000");

    // Stopped while somebody is in it, it leaves no dead mount.
    let service = "anole-bucket-lab-lake";
    lab.ssh("one", "cd /mnt/object; setsid sleep 3000 >/dev/null 2>&1 </dev/null &");
    let stopped =
        format!("systemctl stop {service}; pgrep -xc sleep; findmnt /mnt/object || echo free; pkill -x sleep");
    assert_eq!(lab.root("one", &stopped), "1\nfree");

    // What somebody else mounted there meanwhile is left alone; the service comes once that is gone.
    lab.root("one", &format!("mount -t tmpfs none /mnt/object; systemctl start {service} || true"));
    assert_eq!(lab.root("one", "findmnt -no FSTYPE /mnt/object"), "tmpfs");
    lab.root("one", "umount /mnt/object");
    lab.wait("the bucket again", || lab.tries("one", "cat /mnt/object/class_00/0_0.jpg").status.success());

    // For writing: what was written is in the bucket when it is unmounted; in use it stays.
    lab.env.write("spec.yaml", &stack(&bucket(&store, "food11", ", read_only: false")));
    lab.env.apply("spec.yaml");
    lab.ssh("one", "head -c 20M /dev/urandom >/mnt/object/model.bin; sha256sum </mnt/object/model.bin >/tmp/sum");
    lab.ssh("one", "cd /mnt/object; setsid sleep 3000 >/dev/null 2>&1 </dev/null &");
    let pid = lab.ssh("one", "pgrep -x sleep");
    lab.env.write("spec.yaml", &stack(""));
    lab.env.anole("apply spec.yaml --yes").exits(1).says(&format!("sleep 3000 (pid {pid}, cc)"));
    lab.ssh("one", &format!("mountpoint -q /mnt/object; kill {pid}"));
    lab.env.apply("spec.yaml");
    let sum = lab.ssh("one", "cut -c1-64 /tmp/sum");
    let written = read(store.object("food11", "model.bin")).expect("it is in the bucket");
    assert_eq!(sha256(&written), sum);
    let left = "ls -A /mnt/object /etc/anole/buckets /var/cache | grep -c lake || true; ls /etc/systemd/system | grep -c anole-bucket || true";
    assert_eq!(lab.root("one", left), "0\n0");

    // After a boot it is there by its service alone; without the store it says so, and nothing hangs.
    lab.env.write("spec.yaml", &stack(&bucket(&store, "food11", "")));
    lab.env.apply("spec.yaml");
    lab.comes_back("one", "anole-bucket-lab-lake.service", "/mnt/object");
    lab.wait("the bucket after a boot", || lab.tries("one", "cat /mnt/object/model.bin | head -c 9").status.success());
    store.stop();
    lab.env.edit("spec.yaml", "path: /mnt/object", "path: /mnt/lake");
    let said = lab.env.anole("apply spec.yaml --yes").exits(1);
    assert!(
        failure(&said, "attachments.lake").contains("the server does not reach http://10.0.2.2"),
        "{}",
        said.stderr
    );
    store.start();
    lab.env.apply("spec.yaml");
    assert_eq!(lab.ssh("one", "ls /mnt/lake"), "class_00\nmodel.bin");
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");
    is_kept(&lab);
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn what_cannot_be_mounted_is_said_and_s3fs_mounts_too() {
    let store = Store::with(&["food11"]);
    std::fs::write(store.object("food11", "file"), "data").expect("an object");
    let mut lab = lab(&["s3fs"]);
    let said = |lab: &Lab, name: &str, mount: &str| {
        lab.env.write("spec.yaml", &stack(&bucket(&store, name, mount)));
        failure(&lab.env.anole("apply spec.yaml --yes").exits(1).omits(SECRET), "attachments.lake")
    };
    let missing = said(&lab, "food11", "");
    assert!(
        missing.contains("rclone cannot be installed: install it by a script, and name that in depends_on"),
        "{missing}"
    );
    let missing = said(&lab, "food11", ", tool: goofys");
    assert!(missing.contains("goofys is not on the server, and no distribution has it"), "{missing}");

    lab.root("one", "mkdir /mnt/object; touch /mnt/object/mine");
    let full = said(&lab, "food11", ", tool: s3fs");
    assert!(full.contains("/mnt/object is not empty; a bucket is mounted over an empty folder"), "{full}");
    lab.root("one", "rm /mnt/object/mine");
    lab.env.write("spec.yaml", &stack(&bucket(&store, "food11", ", tool: s3fs, read_only: false, allow_other: true")));
    lab.env.apply("spec.yaml").omits("installing").omits(SECRET);
    lab.env.has_no_changes("spec.yaml");
    assert_eq!(
        lab.ssh("one", "sudo -u nobody cat /mnt/object/file; echo more >/mnt/object/new; cat /mnt/object/new"),
        "datamore"
    );
    is_kept(&lab);
    lab.env.write("spec.yaml", &stack(""));
    lab.env.apply("spec.yaml");
    assert_eq!(read(store.object("food11", "new")).expect("it is in the bucket"), b"more\n");

    lab.offer("one", &["rclone"]);
    let absent = said(&lab, "food12", "");
    assert!(absent.contains("has no bucket `food12`"), "{absent}");
    lab.env.set("ANOLE_VAR_secret", "another");
    let refused = said(&lab, "food11", "");
    assert!(refused.contains("does not let the keys read bucket `food11`"), "{refused}");
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
