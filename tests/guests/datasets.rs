//! Datasets that are made on servers, and object storage whole: the embedded cloud's own store, reached from everywhere.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};

use super::kit::{Lab, spec};
use crate::data;

/// A server, and a bucket of another site with keys to it.
fn stack(more: &str) -> String {
    stack_of(&["one"], more)
}

/// The same with these servers.
fn stack_of(servers: &[&str], more: &str) -> String {
    let text = spec(
        servers,
        &format!(
            "buckets:\n  food11: {{ site: chi, name: object-chi-lab, protect: false, force_destroy: true }}\n\
             credentials:\n  s3: {{ site: chi, type: ec2, write: [{{ rclone: {{ remote: rclone_s3, server: one }} }}] }}\n\
             outputs:\n  key: ${{credentials.s3.access_key}}\n  secret: ${{credentials.s3.secret_key}}\n  endpoint: \
             ${{credentials.s3.endpoint}}\n{more}"
        ),
    );
    text.replace("name: \"${key}\" }", "name: \"${key}\", site: kvm, ssh: { identity_file: ./key } }")
        .replace("guests: qemu }", "guests: qemu }\n  chi: { embedded: chameleon-chi }")
}

/// What rclone says here, of a store that it knows by the stack's outputs.
#[track_caller]
fn rclone(lab: &Lab, words: &[&str]) -> String {
    let output = |name: &str| {
        lab.env.anole(&format!("output {name} --show-secrets -f spec.yaml")).exits(0).stdout.trim().to_owned()
    };
    let program = std::env::var_os("ANOLE_TEST_RCLONE").unwrap_or_else(|| "rclone".into());
    let mut rclone = Command::new(program);
    rclone.args(["--config", "/dev/null", "--s3-provider", "Other", "--s3-access-key-id", &output("key")]);
    rclone.args(["--s3-secret-access-key", &output("secret"), "--s3-endpoint", &output("endpoint")]);
    let said = rclone.args(words).output().expect("rclone runs");
    assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_bucket_of_the_embedded_cloud_is_a_folder_of_a_server() {
    const MOUNT: &str =
        "attachments:\n  lake: { bucket: food11, server: one, credential: s3, mount: { path: /mnt/object } }\n";
    let lab = Lab::with(&stack(MOUNT));
    std::fs::write(lab.env.path("hello"), "hello from here").expect("a file");
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");

    // One URL for programs here, for those in the server, and for the mount; no command runs meanwhile.
    rclone(&lab, &["copy", &lab.env.path("hello").to_string_lossy(), ":s3:object-chi-lab"]);
    assert_eq!(lab.ssh("one", "rclone cat rclone_s3:object-chi-lab/hello"), "hello from here");
    lab.wait("the object in the folder", || {
        lab.tries("one", "cat /mnt/object/hello").stdout.starts_with(b"hello from here")
    });

    // After a crash of both the bucket is there again, for whoever asks the cloud anything has both started.
    let keeper = std::fs::read(lab.env.path("state/embedded/clouds/chi/keeper.pid")).expect("a keeper");
    let keeper = String::from_utf8(keeper).expect("a number");
    assert!(Command::new("kill").args(["-KILL", keeper.trim()]).status().expect("kill runs").success());
    lab.comes_back("one", "anole-bucket-lab-lake.service", "/mnt/object");
    assert_eq!(lab.ssh("one", "cat /mnt/object/hello"), "hello from here");
    lab.env.anole("destroy spec.yaml --yes").exits(0);
    assert_eq!(lab.processes(), Vec::<u32>::new());
}

/// Applies, and gives the command once it says that.
#[track_caller]
fn applies_until(lab: &Lab, word: &str) -> (Child, Vec<String>, impl Iterator<Item = String> + use<>) {
    let mut child = lab.env.command("apply spec.yaml --yes").spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    let mut said = Vec::new();
    for line in lines.by_ref() {
        said.push(line);
        if said.last().is_some_and(|line| line.contains(word)) {
            return (child, said, lines);
        }
    }
    child.wait().expect("a child");
    panic!("`{word}` was not said: {said:#?}");
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_dataset_is_made_on_a_server_and_found_again() {
    let lab = Lab::applied(&stack(""));
    lab.ssh("one", "mkdir data; for i in $(seq 40); do head -c 20000 /dev/urandom >data/$i.bin; done");
    // Says when it begins, and takes its time.
    let dataset = "datasets:\n  food11:\n    server: one\n    source: { path: /home/cc/data }\n    transform:\n      - command: \
                   { run: 'echo begun >>/home/cc/begun; sleep 60; cp -r \"$SRC\"/. \"$OUT\"' }\n    load: { bucket: food11, \
                   prefix: Food, credential: s3 }\n";
    lab.env.write("spec.yaml", &stack(dataset));

    let (mut child, ..) = applies_until(&lab, "begun on the server");
    lab.wait("its beginning", || lab.tries("one", "test -s begun").status.success());
    child.kill().and_then(|()| child.wait()).expect("a child");
    let goes = || lab.ssh("one", "pgrep -fc '[d]ataset run' || true");
    assert_ne!(goes(), "0", "it goes on when nobody listens");
    let secret = lab.env.anole("output secret --show-secrets -f spec.yaml").exits(0).stdout;
    assert_eq!(
        lab.finds("one", &secret),
        ["./.config/rclone/rclone.conf"],
        "it is where the spec wants it, and nowhere else"
    );
    let work = lab.finds("one", "dataset");
    assert!(work.iter().any(|place| place.starts_with("/proc/")), "processes are looked at: {work:?}");

    // Found again; and the connection may break.
    let (mut child, mut said, rest) = applies_until(&lab, "found under way on the server");
    let _cut = lab.ssh_to(&lab.address("one"), "sudo pkill -KILL -f 'sshd: cc'");
    said.extend(rest);
    assert_eq!(child.wait().expect("a child").code(), Some(0), "{said:#?}");
    for word in ["the connection broke", "datasets.food11: 40 objects, 781.2 KiB"] {
        assert!(said.iter().any(|line| line.contains(word)), "{word}: {said:#?}");
    }
    assert_eq!(lab.ssh("one", "cat begun; ls -A .anole/lab/datasets; pgrep -fc '[d]ataset run' || true"), "begun\n0");
    lab.env.has_no_changes("spec.yaml");
    let listed = rclone(&lab, &["lsf", ":s3:object-chi-lab/Food"]);
    assert_eq!(listed.lines().filter(|line| line.ends_with(".bin")).count(), 40, "{listed}");
    let sums = "cd data; sha256sum *.bin | sort";
    let there = lab.ssh("one", sums);
    let here = rclone(&lab, &["hashsum", "sha256", "--download", ":s3:object-chi-lab/Food", "--include", "*.bin"]);
    let mut here: Vec<_> = here.lines().collect();
    here.sort_unstable();
    assert_eq!(here.join("\n"), there);

    // What fails there is said here.
    lab.env.edit("spec.yaml", "sleep 60;", "echo no such luck >&2; exit 7;");
    lab.env.anole("apply spec.yaml --yes").exits(1).says("no such luck");

    // What goes on of a dataset that is not wanted any more is ended.
    lab.env.edit("spec.yaml", "echo no such luck >&2; exit 7;", "sleep 600;");
    let (mut child, ..) = applies_until(&lab, "begun on the server");
    child.kill().and_then(|()| child.wait()).expect("a child");
    assert_ne!(goes(), "0", "it goes on");
    lab.env.write("spec.yaml", &stack(""));
    lab.env.apply("spec.yaml");
    assert_eq!(lab.ssh("one", "ls -A .anole/lab/datasets; pgrep -fc '[d]ataset run|[s]leep 600' || true"), "0");
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_dataset_that_moves_to_another_server_goes_on_at_one() {
    let servers = ["one", "two"];
    let lab = Lab::applied(&stack_of(&servers, ""));
    let dataset = |server: &str, seconds: u32| {
        format!(
            "datasets:\n  food11:\n    server: {server}\n    source: {{ path: /home/cc/data }}\n    transform:\n      - command: \
             {{ run: 'sleep {seconds}; cp -r \"$SRC\"/. \"$OUT\"' }}\n    load: {{ bucket: food11, prefix: Food, credential: \
             s3 }}\n"
        )
    };
    for server in servers {
        lab.ssh(server, &format!("mkdir data && echo {server} >data/name"));
    }
    lab.env.write("spec.yaml", &stack_of(&servers, &dataset("one", 600)));
    let (mut child, ..) = applies_until(&lab, "begun on the server");
    lab.wait("its beginning", || lab.tries("one", "pgrep -f '[s]leep 600'").status.success());
    child.kill().and_then(|()| child.wait()).expect("a child");

    lab.env.write("spec.yaml", &stack_of(&servers, &dataset("two", 1)));
    lab.env.apply("spec.yaml").says("datasets.food11: 1 object");
    assert_eq!(lab.ssh("one", "ls -A .anole/lab/datasets; pgrep -fc '[d]ataset run|[s]leep 600' || true"), "0");
    assert_eq!(rclone(&lab, &["cat", ":s3:object-chi-lab/Food/name"]), "two");
    lab.env.has_no_changes("spec.yaml");
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn the_object_storage_lab_runs_whole() {
    let mut lab = Lab::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/object.yaml");
    let example = std::fs::read_to_string(example).expect("an example");
    let spec = example
        .replace("ssh: { user: cc }", "ssh: { user: cc, identity_file: ./key }")
        .replace("./example.pub", "./key.pub")
        .replace("samples: 1000", "samples: 50");
    lab.env.write("spec.yaml", &spec);
    let (every, average) = (60, 3000);
    let zip = lab.env.path("Food-11.zip");
    data::food11(&zip, every, average).expect("a zip");
    lab.env.set("ANOLE_VAR_food11", &format!("file://{}", zip.display()));
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");

    // What the server sees at the folder is what the lab's own steps make of the zip.
    let mut made: Vec<String> = data::pictures(every)
        .into_iter()
        .map(|(name, seed)| {
            let (part, file) = name.split_once('/').expect("a part");
            let class: u32 = file.split('_').next().and_then(|class| class.parse().ok()).expect("a class");
            let digest = ring::digest::digest(&ring::digest::SHA256, &data::picture(seed, average));
            let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digest}  ./{part}/class_{class:02}/{file}")
        })
        .collect();
    made.sort_unstable();
    let node = "node-object-netid";
    let seen = lab.ssh(node, "cd /mnt/object/Food-11; find . -name '*.jpg' -exec sha256sum {} + | LC_ALL=C sort");
    assert_eq!(seen.lines().collect::<Vec<_>>(), made);
    let shards = lab.ssh(node, "rclone lsf -R --files-only rclone_s3:object-chi-netid/shards | grep -c '[.]tar$'");
    assert_eq!(shards, "8");
    // The server is made anew around it, and the data stays where it is.
    lab.env.edit("spec.yaml", "image: CC-Ubuntu24.04", "image: CC-Ubuntu22.04");
    let again = lab.env.apply("spec.yaml").says("attachments.food11: mounted");
    assert!(!again.stderr.contains("datasets."), "{}", again.stderr);
    assert_eq!(lab.ssh(node, "find /mnt/object/Food-11 -name '*.jpg' | wc -l"), made.len().to_string());
}
