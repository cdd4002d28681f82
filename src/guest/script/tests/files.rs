//! Files that are copied, on a real OpenSSH server.

use super::*;
use crate::tree;

impl World {
    /// A folder here, with a tree in it.
    fn tree(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("sub/deep")).expect("made");
        for (name, content) in
            [("a.conf", "a = 1\n"), ("sub/b: c.conf", "it's b\n"), ("sub/deep/run.sh", "#!/bin/sh\n")]
        {
            std::fs::write(folder.path().join(name), content).expect("written");
        }
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path().join("sub/deep/run.sh"), executable).expect("set");
        folder
    }
}

fn copy(source: &Path, path: &str) -> Copy {
    let (source, digest) = tree::digest_of(source).expect("it reads");
    let (source, path) = (PathBuf::from(source), path.to_owned());
    Copy { source, digest, path, mode: None, owner: None, group: None, if_missing: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn only_what_differs_is_copied() {
    let world = World::new().await;
    let source = world.tree();
    let mut job = job("cat ~/conf/sub/deep/run.sh");
    job.files = vec![copy(source.path(), "~/conf")];
    world.put(&job).await.expect("it runs");
    assert_eq!(world.read(".anole/lab/one/log"), "#!/bin/sh\n", "the files are there when it runs");
    assert_eq!(world.read("conf/sub/b: c.conf"), "it's b\n");
    assert_eq!((mode(&world.at("conf/a.conf")), mode(&world.at("conf/sub/deep/run.sh"))), (0o644, 0o755));
    assert_eq!((mode(&world.at("conf/sub")), world.told().matches("copying").count()), (0o755, 3));
    assert!(!world.at(".anole/lab/one/in").exists(), "nothing is left over");

    // One differs; the others stay, and get the permissions that are said.
    let inode = |name: &str| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(world.at(name)).expect("there"));
    let (same, other) = (inode("conf/a.conf"), inode("conf/sub/b: c.conf"));
    std::fs::write(world.at("conf/sub/b: c.conf"), "somebody's\n").expect("written");
    std::fs::write(world.at("conf/more"), "kept\n").expect("written");
    job.files[0].mode = Some("0600".to_owned());
    world.put(&job).await.expect("it runs");
    assert_eq!(world.told().matches("copying").count(), 4);
    assert_eq!((inode("conf/a.conf"), mode(&world.at("conf/a.conf"))), (same, 0o600));
    assert_eq!((world.read("conf/sub/b: c.conf").as_str(), world.read("conf/more").as_str()), ("it's b\n", "kept\n"));
    assert_ne!(inode("conf/sub/b: c.conf"), other, "put into place, not written over");

    // What is there may be left as it is.
    std::fs::write(world.at("conf/a.conf"), "mine\n").expect("written");
    std::fs::remove_file(world.at("conf/sub/deep/run.sh")).expect("removed");
    job.files[0].if_missing = true;
    world.put(&job).await.expect("it runs");
    assert_eq!(world.read("conf/a.conf"), "mine\n");
    assert!(world.at("conf/sub/deep/run.sh").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn what_cannot_be_copied_is_told() {
    let world = World::new().await;
    let source = world.tree();
    let mut job = job("touch ran");
    job.files = vec![copy(source.path(), "~/conf")];
    std::fs::write(source.path().join("a.conf"), "a = 2\n").expect("written");
    let error = world.put(&job).await.expect_err("it changed since the plan");
    assert!(error.to_string().contains("is not what it was when this was planned"), "{error}");
    job.files = vec![copy(source.path(), "~/conf")];
    std::fs::create_dir_all(world.at("conf/a.conf")).expect("made");
    let error = world.put(&job).await.expect_err("a folder is in the way");
    assert!(error.to_string().contains("is a folder on the server"), "{error}");
    job.files = vec![copy(&source.path().join("a.conf"), "/etc/nothing/a.conf")];
    let error = world.put(&job).await.expect_err("it may not become root");
    assert!(error.to_string().contains("may not become root") || error.to_string().contains("sudo"), "{error}");
    assert!(!world.at("ran").exists(), "nothing ran");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn files_of_others_are_put_into_place_by_root() {
    let user = User::new();
    let lab = lab(None, "").await;
    assert!(lab.root, "this test is root's");
    let guest = Guest::new(lab.ssh.clone(), true);
    let source = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(source.path().join("sub")).expect("made");
    std::fs::write(source.path().join("sub/x"), "x").expect("written");
    let there = tempfile::tempdir().expect("a folder");
    let mut entry = copy(source.path(), &format!("{}/new/folder", there.path().display()));
    (entry.owner, entry.mode) = (Some(user.0.clone()), Some("0640".to_owned()));
    let folder = format!(".anole/test-{}", user.0);
    let mut job = Job { what: What::Nothing, folder: format!("{folder}/one"), files: vec![entry], ..job("") };
    let tell: Tell = Arc::new(|_| {});
    put(&guest, &job, &tell).await.expect("it is copied");
    let file = there.path().join("new/folder/sub/x");
    let owner = |path: &Path| std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).expect("there"));
    let uid = owner(&user.home());
    assert_eq!((owner(&file), mode(&file), owner(&there.path().join("new"))), (uid, 0o640, uid));
    job.files[0].owner = Some("nobody-of-that-name".to_owned());
    let error = put(&guest, &job, &tell).await.expect_err("there is no such user");
    assert!(error.to_string().contains("putting files into place ended with status 1"), "{error}");
    let home = std::env::var_os("HOME").expect("a home");
    std::fs::remove_dir_all(Path::new(&home).join(&folder)).expect("removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn many_and_large_files() {
    let world = World::new().await;
    let source = tempfile::tempdir().expect("a folder");
    for number in 0..1_000 {
        std::fs::write(source.path().join(format!("{number}")), format!("{number}")).expect("written");
    }
    std::fs::write(source.path().join("large"), vec![7; 30 << 20]).expect("written");
    let mut job = job("true");
    job.files = vec![copy(source.path(), "~/many")];
    let began = Instant::now();
    world.put(&job).await.expect("it runs");
    let first = began.elapsed();
    world.put(&job).await.expect("it runs");
    assert!(first < Duration::from_secs(60) && began.elapsed() < first * 2, "{first:?}, {:?}", began.elapsed());
    assert_eq!(world.told().matches("copying").count(), 1_001);
    assert_eq!(world.read("many/999"), "999");
}
