//! Scripts on a real OpenSSH server of this machine: `cargo test --lib guest::script::tests -- --ignored`.
//!
//! It needs what the tests of `ssh` need, and root, for users of its own. Everything is left as it was.

mod files;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;
use crate::ssh::tests::openssh::{Lab, lab};

/// A user of this machine for the time of a test.
pub(crate) struct User(String);

impl User {
    fn new() -> Self {
        let name = format!("anole-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        run("useradd", &["-m", "-s", "/bin/bash", &name]);
        // Without a password, but not locked: sshd refuses locked users.
        run("usermod", &["-p", "*", &name]);
        Self(name)
    }

    fn home(&self) -> PathBuf {
        Path::new("/home").join(&self.0)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // As that user: all that is its own, and nothing else.
        let _ = Process::new("su").args(["-s", "/bin/sh", &self.0, "-c", "kill -KILL -1"]).output();
        let _ = Process::new("userdel").args(["-r", "-f", &self.0]).output();
    }
}

fn run(program: &str, args: &[&str]) {
    let ran = Process::new(program).args(args).output().expect("it runs");
    assert!(ran.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// A server, a user on it, and what was told.
pub(crate) struct World {
    _lab: Lab,
    user: User,
    pub(crate) guest: Guest,
    told: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    async fn with(more: &str) -> Self {
        let user = User::new();
        let lab = lab(Some(&user.0), more).await;
        let guest = Guest::new(lab.ssh.clone(), lab.root);
        Self { _lab: lab, user, guest, told: Arc::default() }
    }

    fn tell(&self) -> Tell {
        let told = self.told.clone();
        Arc::new(move |line: &str| told.lock().expect("a lock").push(line.to_owned()))
    }

    async fn put(&self, job: &Job) -> Result<String, GuestError> {
        put(&self.guest, job, &self.tell()).await
    }

    async fn stop(&self, text: &str) -> Result<(), GuestError> {
        let Job { label, folder, env, timeout, .. } = job("");
        remove(&self.guest, &Undo { label, folder, what: What::Run(text.to_owned()), env, timeout }, &self.tell()).await
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.user.home().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn told(&self) -> String {
        self.told.lock().expect("a lock").join("\n")
    }
}

fn job(text: &str) -> Job {
    Job {
        label: "scripts.one".to_owned(),
        folder: ".anole/lab/one".to_owned(),
        what: What::Run(text.to_owned()),
        env: Vec::new(),
        creates: None,
        files: Vec::new(),
        wait_for: None,
        timeout: Duration::from_secs(60),
    }
}

/// Whether a process with this in its command line lives.
fn lives(words: &str) -> bool {
    Process::new("pgrep").args(["-f", words]).output().expect("pgrep").status.success()
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).expect("there").permissions()) & 0o7777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn a_program_runs_as_a_file_would() {
    let world = World::new().await;
    let log = world.put(&job("echo $BASH_VERSION; pwd; id -un; echo to err >&2; tty; cat; echo '${x} $${y}'")).await;
    let log = log.expect("it runs");
    assert_eq!(Path::new(&log), world.at(".anole/lab/one/log"));
    let said = world.read(".anole/lab/one/log");
    let home = world.user.home();
    let expected = format!("{}\n{}\nto err\nnot a tty\n${{x}} $${{y}}\n", home.display(), world.user.0);
    assert!(said.ends_with(&expected) && said.starts_with(|c: char| c.is_ascii_digit()), "{said}");
    assert_eq!((mode(Path::new(&log)), mode(&world.at(".anole/lab/one/run"))), (0o600, 0o700));
    assert_eq!(mode(&world.at(".anole")), 0o700);
    assert!(world.at(".anole/lab/one/done").exists() && !world.at(".anole/lab/one/pid").exists());

    // Its `#!` counts, and its own umask.
    world.put(&job("#!/usr/bin/perl\nopen(F, '>made'); print 'perl ', 1 + 1;")).await.expect("it runs");
    assert_eq!((world.read(".anole/lab/one/log").as_str(), mode(&world.at("made")) & 0o044), ("perl 2", 0o044));

    // How it ended, and its last lines.
    let text = "for i in $(seq 50); do echo line $i; done; exit 7";
    let error = world.put(&job(text)).await.expect_err("it fails");
    let GuestError::Failed { message, output, hint } = &error else { panic!("{error:?}") };
    assert_eq!(message, "scripts.one ended with status 7");
    assert_eq!((output.len(), output[0].as_str(), output[19].as_str()), (20, "line 31", "line 50"));
    assert!(hint.as_ref().expect("a hint").contains("~/.anole/lab/one/log"));
    assert!(!world.at(".anole/lab/one/done").exists());
    let error = world.put(&job("kill -SEGV $$")).await.expect_err("it fails");
    assert!(error.to_string().starts_with("scripts.one was ended by signal 11, and printed nothing"), "{error}");
    let error = world.put(&job("#!/no/such/thing\n")).await.expect_err("it fails");
    assert!(error.to_string().contains("ended with status 12"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn the_environment_is_seen_by_the_script_alone() {
    let world = World::new().await;
    let secret = "hunter2-and-'more' $(reboot)";
    let mut job =
        job("ps -eo args > ps; env > /dev/null; printf '%s' \"$TOKEN\" | md5sum; echo \"token $TOKEN\"; exit 1");
    job.env = vec![
        ("TOKEN".to_owned(), Text::Secret(secret.to_owned())),
        ("PATH".to_owned(), Text::Plain("/usr/bin:/bin:/odd".to_owned())),
        ("LINES_OF".to_owned(), Text::Plain("a\nb".to_owned())),
    ];
    let error = world.put(&job).await.expect_err("it ends with 1");
    assert!(error.to_string().contains("token [redacted]"), "{error}");
    assert!(!error.to_string().contains("hunter2") && !world.told().contains("hunter2"));
    let digest = world.read(".anole/lab/one/log");
    let expected = Process::new("sh").args(["-c", "printf '%s' \"$0\" | md5sum", secret]).output().expect("md5sum");
    assert!(digest.starts_with(&String::from_utf8_lossy(&expected.stdout)[..32]), "{digest}");
    assert!(!world.read("ps").contains("hunter2"), "no list of processes shows it");
    // The log is the script's own business; no other file has it.
    let found = Process::new("grep").args(["-rl", "hunter2"]).arg(world.user.home()).output().expect("grep");
    assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), world.at(".anole/lab/one/log").display().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn groups_that_were_joined_since_count() {
    let world = World::new().await;
    world.put(&job("id -Gn")).await.expect("it runs");
    assert_eq!(world.read(".anole/lab/one/log").trim(), world.user.0);
    run("usermod", &["-aG", "games", &world.user.0]);
    let groups = world.guest.output(&Program::new("groups", "id -Gn").as_user()).await.expect("it runs");
    assert!(!groups.contains("games"), "the log-in that is there has its groups");
    world.put(&job("id -Gn")).await.expect("it runs");
    assert!(world.read(".anole/lab/one/log").contains("games"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn when_the_time_is_up_all_of_it_is_ended() {
    let world = World::new().await;
    let mark = format!("7{}", std::process::id());
    let mut job = job(&format!("trap '' TERM\nsleep {mark}1 &\nset -m\nsleep {mark}2 &\necho begun\nsleep {mark}3"));
    job.timeout = Duration::from_secs(3);
    let began = Instant::now();
    let error = world.put(&job).await.expect_err("it takes too long");
    assert!(
        error.to_string().starts_with("scripts.one did not end within 3 s, and was ended; it said last\n  begun"),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    assert!(!lives(&format!("sleep {mark}")), "nothing of it lives");
    assert!(!world.at(".anole/lab/one/pid").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn what_it_leaves_running_is_left_alone_and_holds_nobody_up() {
    let world = World::new().await;
    let mark = format!("6{}", std::process::id());
    let began = Instant::now();
    world.put(&job(&format!("sleep {mark} & (sleep 3; echo later) & echo started"))).await.expect("it runs");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(lives(&format!("sleep {mark}")));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.read(".anole/lab/one/log"), "started\nlater\n", "what comes later is in the log too");
    // A run that came to its end is no run that still goes.
    world.put(&job("echo again")).await.expect("it runs");
    assert!(lives(&format!("sleep {mark}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn what_nobody_listens_to_is_ended_and_so_is_what_still_goes() {
    let world = World::new().await;
    let mark = format!("5{}", std::process::id());
    let long = job(&format!("echo begun; sleep {mark}"));
    // Given up: the channel is closed, and the watcher sees that nobody listens.
    let given_up = tokio::time::timeout(Duration::from_secs(4), world.put(&long)).await;
    assert!(given_up.is_err() && lives(&format!("sleep {mark}")));
    for _ in 0..300 {
        if !lives(&format!("sleep {mark}")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!lives(&format!("sleep {mark}")), "ended by its watcher");
    assert!(!world.at(".anole/lab/one/done").exists());

    // A second run beside one that still goes ends that one first.
    let first = tokio::spawn({
        let (guest, long, tell) = (world.guest.clone(), long.clone(), world.tell());
        async move { put(&guest, &long, &tell).await }
    });
    while !lives(&format!("sleep {mark}")) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.put(&job("echo second")).await.expect("it runs");
    assert!(world.told().contains("earlier run was ended"), "{}", world.told());
    assert!(!lives(&format!("sleep {mark}")));
    first.await.expect("no panic").expect_err("the first was ended");
    assert!(world.at(".anole/lab/one/done").exists());
    assert_eq!(world.read(".anole/lab/one/log"), "second\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn much_output_is_in_the_log_and_little_of_it_here() {
    let world = World::new().await;
    let began = Instant::now();
    let mut job = job("yes 0123456789abcde | head -c 104857600; echo the end; exit 3");
    job.timeout = Duration::from_secs(300);
    let error = world.put(&job).await.expect_err("it ends with 3");
    let GuestError::Failed { output, .. } = &error else { panic!("{error}") };
    assert_eq!((output.len(), output[19].as_str()), (20, "the end"));
    assert_eq!(std::fs::metadata(world.at(".anole/lab/one/log")).expect("a log").len(), (100 << 20) + 8);
    assert!(began.elapsed() < Duration::from_secs(120));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn what_is_there_already_is_not_made_again() {
    let world = World::new().await;
    let mut job = job("touch made; echo run >> count");
    for creates in ["~/made".to_owned(), world.at("made").display().to_string()] {
        job.creates = Some(creates);
        world.put(&job).await.expect("it runs");
    }
    assert_eq!(world.read("count"), "run\n");
    assert!(world.told().contains("is there"), "{}", world.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn stopping_counts_when_there_is_something_to_stop() {
    let world = World::new().await;
    world.stop("exit 4").await.expect("nothing ever ran, so nothing has to be stopped");
    world.put(&job("echo up > state")).await.expect("it runs");
    let error = world.stop("echo busy; exit 4").await.expect_err("it does not stop");
    assert!(error.to_string().starts_with("the stop of scripts.one ended with status 4"), "{error}");
    assert!(error.hint().expect("a hint").contains("anole state rm scripts.one"));
    world.stop("rm state").await.expect("it stops");
    assert!(!world.at("state").exists() && !world.at(".anole/lab/one/done").exists());
    world.stop("exit 4").await.expect("it is stopped already");
    assert_eq!(world.read(".anole/lab/one/log"), "", "the script's own log stays");
}
