//! A program of the user's that makes other files: it reads the folder `SRC` and fills the folder `OUT`.
//!
//! Invariants:
//! - Its files count only when it ended well; `OUT` is a temporary folder until then.
//! - Its text and its secrets stand on no command line: the text is a file that only this user can read, the secrets are
//!   in its environment. What it prints is kept up to a bound, for messages, without the secrets.
//! - It runs in a process group of its own, which is ended with it: at its end, when its time is up, at a stop.
//! - It runs in an empty folder of its own, which is removed with what it left there.
//! - Variables that sign anole in (`OS_…`, `ANOLE_…`) are not passed on.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{DatasetError, ErrorKind, Transforming, text};
use crate::dataset::Watch;
use crate::dataset::content::{Content, Entry};
use crate::dataset::digest::Sha256;
use crate::dataset::job::{Command, Job, Transform};
use crate::dataset::staging::{Links, fits, walk};
use crate::ssh::Redactor;

/// How many bytes of what it printed are kept.
const KEPT: usize = 16 << 10;
/// How many lines of those are told.
const LINES: usize = 20;
/// How often it is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long it has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How long the check of what it needs may take.
const CHECK: Duration = Duration::from_secs(120);

pub(super) fn check(this: &Command) -> Result<(), DatasetError> {
    let mistake = |text: String| Err(DatasetError::new(ErrorKind::Job, format!("command: {text}")));
    if this.run.trim().is_empty() {
        return mistake("`run:` is empty".to_owned());
    }
    for name in this.env.keys().chain(this.secrets.keys()) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(plain) {
            return mistake(format!("`{name}` is no name of a variable"));
        }
        if ["SRC", "OUT"].contains(&name.as_str()) {
            return mistake(format!("`{name}` is set by anole"));
        }
    }
    Ok(())
}

/// That what the commands of a job need is there: asked before anything is downloaded.
///
/// # Errors
/// What is missing.
pub(in crate::dataset) fn ready(job: &Job, folder: &Path, watch: &dyn Watch) -> Result<(), DatasetError> {
    for transform in &job.transform {
        let Transform::Command(this) = transform else { continue };
        if let Some(missing) = this.needs.iter().find(|program| find(program).is_none()) {
            let text = format!("command: the program `{missing}` is not installed here");
            return Err(DatasetError::new(ErrorKind::Job, text).hint(format!("install `{missing}`")));
        }
        if let Some(check) = &this.check {
            let scratch = folder.join("check");
            let run = Run { text: check, this, folder: &scratch, paths: None, timeout: CHECK, watch };
            let ran = run.carry_out().map_err(|mut error| {
                error.message = format!("what the command needs is not there: {}", error.message);
                error
            });
            let removed = fs::remove_dir_all(&scratch).map_err(|error| DatasetError::file(&scratch, error));
            ran.and(removed)?;
        }
    }
    Ok(())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let executable = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(executable)
}

pub(super) fn apply(
    this: &Command,
    id: Option<Sha256>,
    entries: Vec<Entry>,
    with: &Transforming<'_>,
) -> Result<Vec<Entry>, DatasetError> {
    let id = id.unwrap_or_else(|| Sha256::of(uuid::Uuid::new_v4().as_bytes()));
    with.staging.made(&id, |out| {
        let scratch = with.staging.temporary(&id, "command")?;
        let ran = run_over(this, &entries, (&scratch, out), with.watch);
        let removed = fs::remove_dir_all(&scratch).map_err(|error| DatasetError::file(&scratch, error));
        ran.and(removed)
    })
}

/// Runs it over files, in a folder for what it needs meanwhile; it fills the folder `out`.
fn run_over(
    this: &Command,
    entries: &[Entry],
    (scratch, out): (&Path, &Path),
    watch: &dyn Watch,
) -> Result<(), DatasetError> {
    let source = match as_folder(entries) {
        Some(folder) => folder,
        None => {
            let folder = scratch.join("src");
            laid_out(entries, &folder, watch)?;
            folder
        }
    };
    let timeout = Duration::from_secs(this.timeout);
    Run { text: &this.run, this, folder: scratch, paths: Some((&source, out)), timeout, watch }.carry_out()?;
    if walk(out, Links::Refused)?.is_empty() {
        let text = "command: it ended well, and put no file into the folder OUT";
        return Err(DatasetError::new(ErrorKind::Command, text));
    }
    Ok(())
}

/// The folder that holds these files under these names and nothing else, if there is one.
fn as_folder(entries: &[Entry]) -> Option<PathBuf> {
    let root = |entry: &Entry| match &entry.content {
        Content::File(file) => {
            Some(PathBuf::from(file.path.to_str()?.strip_suffix(entry.key.as_str())?.strip_suffix('/')?))
        }
        _ => None,
    };
    let first = root(entries.first()?)?;
    let all = entries.iter().all(|entry| root(entry).as_ref() == Some(&first));
    let more = || walk(&first, Links::Followed).is_ok_and(|files| files.len() == entries.len());
    (all && more()).then_some(first)
}

/// Lays files out in a folder: as second names of the same files where that can be, else as copies.
fn laid_out(entries: &[Entry], folder: &Path, watch: &dyn Watch) -> Result<(), DatasetError> {
    let copied = entries.iter().filter(|entry| !matches!(entry.content, Content::File(_)));
    fs::create_dir_all(folder).map_err(|error| DatasetError::file(folder, error))?;
    fits(folder, copied.map(|entry| entry.size).sum(), "the folder SRC of the command")?;
    for entry in entries {
        if watch.stopped() {
            return Err(DatasetError::stopped());
        }
        let path = folder.join(&entry.key);
        let failed = |error| DatasetError::file(&path, error);
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
        if let Content::File(file) = &entry.content
            && fs::canonicalize(&file.path).and_then(|file| fs::hard_link(file, &path)).is_ok()
        {
            continue;
        }
        let failed = |error| DatasetError::io(ErrorKind::File, &entry.content.origin(), error);
        let mut to = File::create(&path).map_err(failed)?;
        io::copy(&mut entry.open(0).map_err(failed)?, &mut to).map_err(failed)?;
    }
    Ok(())
}

/// One run of a shell.
struct Run<'a> {
    text: &'a str,
    this: &'a Command,
    /// Where its text is put, and an empty folder that it runs in. Whoever runs it removes it.
    folder: &'a Path,
    /// `SRC` and `OUT`.
    paths: Option<(&'a Path, &'a Path)>,
    timeout: Duration,
    watch: &'a dyn Watch,
}

impl Run<'_> {
    fn carry_out(&self) -> Result<(), DatasetError> {
        let script = self.folder.join(format!("run-{}.sh", Sha256::of(self.text.as_bytes()).short()));
        let failed = |error| DatasetError::file(&script, error);
        let at = self.folder.join("work");
        fs::create_dir_all(&at).map_err(|error| DatasetError::file(&at, error))?;
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&script).map_err(failed)?;
        file.write_all(self.text.as_bytes()).map_err(failed)?;
        drop(file);
        let ended = self.run(&script, &at);
        fs::remove_file(&script).map_err(failed)?;
        ended
    }

    fn run(&self, script: &Path, at: &Path) -> Result<(), DatasetError> {
        let not_begun = |error| DatasetError::io(ErrorKind::Command, &"command: sh cannot be run", error);
        let (reader, writer) = io::pipe().map_err(not_begun)?;
        let mut command = std::process::Command::new("sh");
        command.arg(script).current_dir(at).stdin(Stdio::null()).process_group(0);
        command.stdout(writer.try_clone().map_err(not_begun)?).stderr(writer);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("OS_") || name.starts_with("ANOLE_")) {
                command.env_remove(name);
            }
        }
        command.envs(&self.this.env).envs(self.this.secrets.iter().map(|(name, secret)| (name, &secret.0)));
        if let Some((source, out)) = self.paths {
            command.env("SRC", source).env("OUT", out);
        }
        let child = command.spawn().map_err(not_begun)?;
        // It holds the pipe's other end, and would keep it open.
        drop(command);
        let tail = Tail::of(reader);
        let mut group = Group(child);
        let ended = self.wait(&mut group).map_err(not_begun)?;
        drop(group);
        let said = tail.said(&Redactor::new(self.this.secrets.values().map(|secret| secret.0.as_str())));
        match ended {
            End::Status(status) if status.success() => Ok(()),
            End::Stopped => Err(DatasetError::stopped()),
            End::Status(status) => {
                Err(DatasetError::new(ErrorKind::Command, format!("command: it ended with {status}{said}")))
            }
            End::Timeout => {
                let text =
                    format!("command: it did not end within {} s{said}", text::thousands(self.timeout.as_secs()));
                Err(DatasetError::new(ErrorKind::Command, text).hint("raise its `timeout:`"))
            }
        }
    }

    fn wait(&self, group: &mut Group) -> io::Result<End> {
        let begun = Instant::now();
        loop {
            if let Some(status) = group.0.try_wait()? {
                return Ok(End::Status(status));
            }
            if self.watch.stopped() {
                group.ask_to_end()?;
                return Ok(End::Stopped);
            }
            if begun.elapsed() > self.timeout {
                group.ask_to_end()?;
                return Ok(End::Timeout);
            }
            std::thread::sleep(TICK);
        }
    }
}

enum End {
    Status(std::process::ExitStatus),
    Timeout,
    Stopped,
}

/// A process and its group; dropping it ends whatever of it is left.
struct Group(Child);

impl Group {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        // An error says that nobody is left in the group.
        let _ = pid.map(|pid| kill_process_group(pid, signal));
    }

    fn ask_to_end(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM);
        let asked = Instant::now();
        while self.0.try_wait()?.is_none() && asked.elapsed() < GRACE {
            std::thread::sleep(TICK);
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The end of what a command printed.
struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Tail {
    fn of(mut pipe: PipeReader) -> Self {
        let kept: Arc<Mutex<VecDeque<u8>>> = Arc::default();
        let into = Arc::clone(&kept);
        let thread = std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut block) {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&block[..read]);
                let over = kept.len().saturating_sub(KEPT);
                kept.drain(..over);
            }
        });
        Self { kept, thread }
    }

    fn said(self, redactor: &Redactor) -> String {
        // A process that left the group may hold the pipe; it is not waited for.
        let asked = Instant::now();
        while !self.thread.is_finished() && asked.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let kept: Vec<u8> = self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        // The first line may be cut in the middle of a secret, which would not be known then.
        let whole = match kept.len() == KEPT {
            true => kept.iter().position(|byte| *byte == b'\n').map_or(&[][..], |at| &kept[at + 1..]),
            false => &kept,
        };
        let text = String::from_utf8_lossy(whole);
        let text = redactor.text(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        match lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default() {
            [] => ", and printed nothing".to_owned(),
            lines => format!("; it said last\n  {}", lines.join("\n  ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::job::Hidden;
    use crate::dataset::staging::Staging;
    use crate::dataset::tests::Quiet;

    fn command(run: &str) -> Command {
        serde_json::from_value(serde_json::json!({ "run": run })).unwrap()
    }

    fn entries() -> Vec<Entry> {
        let entry = |key: &str, text: &'static str| Entry {
            key: key.into(),
            size: text.len() as u64,
            content: Content::Bytes(text.as_bytes().into()),
        };
        vec![entry("a/x", "hello"), entry("y", "world")]
    }

    fn run(this: &Command, entries: Vec<Entry>) -> Result<Vec<(String, String)>, String> {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::open(root.path()).unwrap();
        let with = Transforming { staging: &staging, watch: &Quiet };
        let made = apply(this, Some(Sha256::of(b"x")), entries, &with).map_err(|error| error.message)?;
        Ok(made
            .iter()
            .map(|entry| (entry.key.clone(), std::io::read_to_string(entry.open(0).unwrap()).unwrap()))
            .collect())
    }

    #[test]
    fn a_program_makes_other_files_of_those_that_it_is_given() {
        let this = Command {
            secrets: [("TOKEN".to_owned(), Hidden("t0p".to_owned()))].into(),
            env: [("MODE".to_owned(), "m".to_owned())].into(),
            ..command("mkdir $OUT/b && cat $SRC/a/x $SRC/y > $OUT/b/z && printf %s $MODE${#TOKEN} > $OUT/m")
        };
        let made = run(&this, entries()).unwrap();
        assert_eq!(made, [("b/z".into(), "helloworld".into()), ("m".into(), "m3".into())] as [(String, String); 2]);
    }

    #[test]
    fn a_folder_that_is_there_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/x"), "1").unwrap();
        let files = walk(folder.path(), Links::Followed).unwrap();
        assert_eq!(as_folder(&files).unwrap(), folder.path());
        fs::write(folder.path().join("more"), "2").unwrap();
        assert_eq!(as_folder(&files), None, "it holds more than was asked for");
        let seen = run(&command("cd $SRC && find . -type f > $OUT/seen"), files).unwrap();
        assert_eq!(seen[0].1, "./a/x\n");
    }

    #[test]
    fn it_runs_in_an_empty_folder_of_its_own() {
        let made = run(&command("ls -A > $OUT/there; pwd > $OUT/at; echo litter > litter"), entries()).unwrap();
        let [(_, at), (_, there)] = made.as_slice() else { panic!("{made:?}") };
        assert_eq!(there, "");
        assert!(at.contains("/temporary/") && !Path::new(at.trim_end()).exists(), "{at}");
        let failed = command("pwd; exit 1");
        let (root, id) = (tempfile::tempdir().unwrap(), Some(Sha256::of(b"x")));
        let staging = Staging::open(root.path()).unwrap();
        let with = Transforming { staging: &staging, watch: &Quiet };
        assert!(apply(&failed, id, entries(), &with).unwrap_err().message.contains("/temporary/"));
        assert_eq!(fs::read_dir(root.path().join("temporary")).unwrap().count(), 0, "also where it failed");
    }

    #[test]
    fn what_went_wrong_is_told_without_secrets() {
        let this = Command {
            secrets: [("TOKEN".to_owned(), Hidden("hunter2".to_owned()))].into(),
            ..command("echo half > $OUT/half; echo no luck with $TOKEN >&2; exit 3")
        };
        insta::assert_snapshot!(run(&this, entries()).unwrap_err(), @r"
        command: it ended with exit status: 3; it said last
          no luck with [redacted]
        ");
        assert!(run(&command("true"), entries()).unwrap_err().contains("no file into the folder OUT"));
        assert!(
            run(&command("ln -s /etc/passwd $OUT/x"), entries()).unwrap_err().contains("neither a file nor a folder")
        );
        let endless = Command { timeout: 0, ..command("sleep 100") };
        assert!(run(&endless, entries()).unwrap_err().contains("did not end within 0 s"));
        let chatty = run(&command("yes | head -n 100000; exit 1"), entries()).unwrap_err();
        assert!(chatty.lines().count() == LINES + 1, "{chatty}");
    }

    #[test]
    fn what_it_needs_is_looked_for_first() {
        let folder = tempfile::tempdir().unwrap();
        let ready = |this: Command| {
            let job: Job = serde_json::from_value(serde_json::json!({ "sources": [] })).unwrap();
            let job = Job { transform: vec![Transform::Command(this)], ..job };
            ready(&job, folder.path(), &Quiet).map_err(|error| error.message)
        };
        assert!(ready(Command { needs: vec!["sh".into()], check: Some("true".into()), ..command("x") }).is_ok());
        let missing = ready(Command { needs: vec!["no-such-program".into()], ..command("x") });
        assert_eq!(missing.unwrap_err(), "command: the program `no-such-program` is not installed here");
        let missing = ready(Command { check: Some("echo no h5py; false".into()), ..command("x") }).unwrap_err();
        assert!(missing.contains("what the command needs is not there") && missing.contains("no h5py"), "{missing}");
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "the text of a check is removed");
        let wrong = Command { env: [("OUT".to_owned(), String::new())].into(), ..command("x") };
        assert!(check(&wrong).unwrap_err().message.contains("set by anole"));
    }
}
