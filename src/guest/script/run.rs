//! Runs a program of the user to its end: written to a file, run from there, its output followed.
//!
//! In: a log-in, and a [`Run`]. Out: nothing, or an error with the last lines that it printed.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{SESSION, Text};
use crate::guest::shell::quoted;
use crate::guest::{GuestError, Tell};
use crate::ssh::{Command, Ended, LineSink, Source, Ssh};

const SUPERVISE: &str = include_str!("supervise.sh");
/// Reads the program, then runs it.
const READ_AND_RUN: &str = "sh -c 'eval \"$(cat)\"'";
/// How much longer than the program may take we wait for word of its end.
const MORE: Duration = Duration::from_secs(90);
/// How often a line is told.
const OFTEN: Duration = Duration::from_secs(1);
/// How many last lines go into an error.
const LAST_LINES: usize = 20;

/// A program to be run.
pub(super) struct Run<'a> {
    /// What people call it.
    pub title: String,
    /// The script's folder, below the home folder.
    pub folder: &'a str,
    /// The file in it that the program is written to: `run`, or `stop`.
    pub file: &'a str,
    /// The file in it that gets the output.
    pub log: &'a str,
    /// The program.
    pub text: &'a str,
    /// Its environment.
    pub env: &'a [(String, Text)],
    /// How long it may take.
    pub timeout: Duration,
}

/// Runs it.
pub(super) async fn run(ssh: &Ssh, run: &Run<'_>, tell: &Tell) -> Result<(), GuestError> {
    let files = ssh.files().await?;
    files.write(&format!("{}/{}", run.folder, run.file), run.text.as_bytes(), 0o700).await?;
    drop(files);
    let command = Command::new(READ_AND_RUN)
        .title(run.title.clone())
        .stdin(supervisor(run).into_bytes())
        .timeout(run.timeout.saturating_add(MORE))
        .lines(lines(run.title.clone(), tell.clone()));
    match ssh.run(command).await {
        Ok(ended) => outcome(run, &ended),
        Err(mut error) => {
            error.hint = Some("the next apply ends what is left of it, and runs it again".to_owned());
            Err(error.into())
        }
    }
}

/// The program that runs it, with its values and its environment.
fn supervisor(run: &Run<'_>) -> String {
    let mut text = format!(
        "folder={}\nfile={}\nlog={}\nkeep={}\nlimit={}\nenvironment() {{\n:\n",
        quoted(run.folder),
        run.file,
        run.log,
        if run.file == "stop" { "yes" } else { "no" },
        run.timeout.as_secs().max(1),
    );
    for (name, value) in run.env {
        let _ = writeln!(text, "export {name}={}", quoted(value.expose()));
    }
    text.push_str("}\n");
    text.push_str(SESSION);
    text.push_str(SUPERVISE);
    text
}

/// Tells the last line now and then, and writes each one to our own log.
fn lines(title: String, tell: Tell) -> LineSink {
    let told: Mutex<Option<Instant>> = Mutex::default();
    Arc::new(move |source, line| {
        if source != Source::Out || line.trim().is_empty() {
            return;
        }
        tracing::debug!("{title}: {line}");
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|last| last.elapsed() >= OFTEN) {
            *told = Some(Instant::now());
            tell(line);
        }
    })
}

/// What came of it, by the supervisor's last word.
fn outcome(run: &Run<'_>, ended: &Ended) -> Result<(), GuestError> {
    let said = ended.stderr.text();
    let word = said.lines().rev().find_map(|line| line.strip_prefix("anole: "));
    let message = match word {
        Some("end 0") => return Ok(()),
        Some("late") => format!("{} did not end within {} s, and was ended", run.title, run.timeout.as_secs()),
        Some("no setsid") => {
            return Err(GuestError::refused_with(
                "the server has no `setsid`, in which scripts run",
                "it is in the package util-linux",
            ));
        }
        Some(word) => match word.strip_prefix("end ").and_then(|status| status.parse::<u32>().ok()) {
            Some(status @ 129..=192) => format!("{} was ended by signal {}", run.title, status - 128),
            Some(status) => format!("{} ended with status {status}", run.title),
            None => format!("{} was ended, for nobody listened any more", run.title),
        },
        None => {
            let why = said.lines().rev().find(|line| !line.trim_matches('.').is_empty()).unwrap_or("it says nothing");
            format!("{} could not be begun: {why}", run.title)
        }
    };
    Err(GuestError::Failed {
        message,
        output: ended.stdout.last_lines(LAST_LINES),
        hint: Some(format!("all that it printed is on the server, in ~/{}/{}", run.folder, run.log)),
    })
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Write as _;
    use std::process::{Command as Process, Output, Stdio};

    use super::*;

    /// Runs a program as a guest would, by a shell of this machine; none if there is no such shell.
    fn by(shell: &[&str], text: &str, seconds: u64) -> Option<(Output, tempfile::TempDir)> {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("x");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("run"), text).unwrap();
        let env = [("A".to_owned(), Text::Plain("it's $(id)\n`id`".to_owned()))];
        let timeout = Duration::from_secs(seconds);
        let run = Run { title: "t".to_owned(), folder: "x", file: "run", log: "log", text, env: &env, timeout };
        let mut child = Process::new(shell[0])
            .args(&shell[1..])
            .args(["-c", "eval \"$(cat)\""])
            .env("HOME", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        child.stdin.take().unwrap().write_all(supervisor(&run).as_bytes()).unwrap();
        Some((child.wait_with_output().unwrap(), home))
    }

    #[test]
    fn any_shell_supervises() {
        let text = "printf '%s|' \"$A\"; for i in 1 2 3; do echo $i; done; echo err >&2; sleep 1.3; echo last; exit 3";
        for shell in [&["sh"][..], &["dash"], &["bash", "--posix"], &["busybox", "sh"]] {
            let Some((ended, home)) = by(shell, text, 60) else { continue };
            let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
            assert_eq!(out, "it's $(id)\n`id`|1\n2\n3\nerr\nlast\n", "{shell:?}: {err}");
            assert_eq!(err, "\nanole: end 3\n", "{shell:?}");
            assert_eq!(std::fs::read_to_string(home.path().join("x/log")).unwrap(), out);
            let (ended, _home) = by(shell, "echo at once", 60).unwrap();
            assert_eq!(String::from_utf8_lossy(&ended.stdout), "at once\n", "{shell:?}");
            let (ended, home) = by(shell, "echo begun; sleep 60", 1).unwrap();
            assert_eq!(String::from_utf8_lossy(&ended.stdout), "begun\n", "{shell:?}");
            assert!(String::from_utf8_lossy(&ended.stderr).ends_with("anole: late\n"), "{shell:?}");
            assert!(!home.path().join("x/pid").exists());
        }
    }

    #[test]
    fn values_are_hidden_from_whoever_prints_a_supervisor() {
        let env = [("A".to_owned(), Text::Secret("hunter2".to_owned()))];
        let timeout = Duration::from_secs(1);
        let run = Run { title: "t".to_owned(), folder: "x", file: "run", log: "log", text: "a", env: &env, timeout };
        let command = Command::new(READ_AND_RUN).title("t").stdin(supervisor(&run).into_bytes());
        assert!(supervisor(&run).contains("export A='hunter2'") && !format!("{command:?}").contains("hunter2"));
    }
}
