//! Scripts in a guest: files copied, a program or containers started, and what they serve waited for.
//!
//! ```text
//!  Job ──▶ prepare ──▶ files (hash there, copy what differs) ──▶ run ──▶ wait_for
//!          ends what still goes                                  │ a session of its own, its output in a log,
//!          of an earlier run                                     │ a watcher that ends it when time or line are up
//! ```
//!
//! In: a guest and a [`Job`], or an [`Undo`]. Out: where the log is, or why it failed, with its last lines.
//!
//! Invariants:
//! - A script runs as the log-in user, in a log-in of its own, so that groups that were joined since count.
//! - Its environment goes over standard input, and is in no file and no list of processes but its own.
//! - At no time do two runs of one script go on side by side: what still goes of an earlier run is ended first.
//! - What a script leaves running is left alone and holds nobody up: its output goes into a file, not to us.

use std::path::PathBuf;
use std::time::Duration;

use super::shell::Program;
use super::{Guest, GuestError, LOOKING, Tell};
use crate::model::Address;
use crate::ssh::{Redactor, Ssh};

mod compose;
mod files;
mod run;
#[cfg(test)]
pub(crate) mod tests;
mod url;
mod wait;

pub use url::Url;
pub use wait::{Answer, WaitFor};

/// What the programs here know of sessions of processes.
const SESSION: &str = include_str!("session.sh");
const PREPARE: &str = include_str!("prepare.sh");

/// What a script does.
#[derive(Clone)]
pub struct Job {
    /// What people call it: `scripts.docker`.
    pub label: String,
    /// Its folder on the server, below the home folder.
    pub folder: String,
    /// What is run.
    pub what: What,
    /// Its environment.
    pub env: Vec<(String, Text)>,
    /// A path; where it is there, nothing is run.
    pub creates: Option<String>,
    /// What is copied first.
    pub files: Vec<Copy>,
    /// What answers once it is up.
    pub wait_for: Option<WaitFor>,
    /// How long it may take.
    pub timeout: Duration,
}

/// What undoes a script.
#[derive(Clone)]
pub struct Undo {
    /// What people call it.
    pub label: String,
    /// Its folder on the server, below the home folder.
    pub folder: String,
    /// What is run.
    pub what: What,
    /// The environment, as far as it is known.
    pub env: Vec<(String, Text)>,
    /// How long it may take.
    pub timeout: Duration,
}

/// What is run.
#[derive(Clone, PartialEq, Eq)]
pub enum What {
    /// This program.
    Run(String),
    /// The containers of this file.
    Compose {
        /// The file's content.
        file: String,
        /// What Docker Compose calls them all.
        project: String,
    },
    /// Nothing.
    Nothing,
}

/// The value of a variable.
#[derive(Clone)]
pub enum Text {
    /// Anybody may see it.
    Plain(String),
    /// Nobody may.
    Secret(String),
}

impl Text {
    fn expose(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Secret(text) => text,
        }
    }
}

/// A file or folder to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Where it lies here.
    pub source: PathBuf,
    /// What all of it amounts to, as the plan saw it.
    pub digest: String,
    /// Where it goes.
    pub path: String,
    /// The permissions of its files, in octal.
    pub mode: Option<String>,
    /// Whose it is.
    pub owner: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// Whether what is there is left as it is.
    pub if_missing: bool,
}

/// What was found before a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Prepared {
    /// The home folder.
    home: String,
    /// Whether what the script creates is there.
    created: bool,
    /// Whether the last run came to a good end.
    done: bool,
}

/// Does what a script does; gives the path of its log.
///
/// # Errors
/// When it failed, with its last lines; or when it could not be begun.
pub async fn put(guest: &Guest, job: &Job, tell: &Tell) -> Result<String, GuestError> {
    let prepared = prepare(guest, &job.folder, job.creates.as_deref(), tell).await?;
    let place = files::Place { home: &prepared.home, folder: &job.folder };
    files::put(guest, &place, &job.files, tell).await?;
    let log = format!("{}/{}/log", prepared.home, job.folder);
    if prepared.created && job.what != What::Nothing {
        let path = job.creates.as_deref().unwrap_or_default();
        tracing::info!("{}: skipped: {path} is there", job.label);
        tell(&format!("skipped: {path} is there"));
    } else if let Some(text) = program(guest, &job.folder, &job.what, compose::Way::Up).await? {
        let run = run::Run {
            title: job.label.clone(),
            folder: &job.folder,
            file: "run",
            log: "log",
            text: &text,
            env: &job.env,
            timeout: job.timeout,
        };
        in_new_log_in(guest, &job.env, async |ssh| run::run(ssh, &run, tell).await).await?;
    }
    if let Some(wait_for) = &job.wait_for {
        wait::wait_for(guest.ssh(), wait_for, tell).await?;
    }
    Ok(log)
}

/// Undoes it.
///
/// # Errors
/// When that failed though the script had come to a good end. What never did may well have nothing to be undone.
pub async fn remove(guest: &Guest, undo: &Undo, tell: &Tell) -> Result<(), GuestError> {
    let prepared = prepare(guest, &undo.folder, None, tell).await?;
    let Some(text) = program(guest, &undo.folder, &undo.what, compose::Way::Down).await? else { return Ok(()) };
    let run = run::Run {
        title: format!("the stop of {}", undo.label),
        folder: &undo.folder,
        file: "stop",
        log: "stop.log",
        text: &text,
        env: &undo.env,
        timeout: undo.timeout,
    };
    tell("stopping");
    match in_new_log_in(guest, &undo.env, async |ssh| run::run(ssh, &run, tell).await).await {
        Err(GuestError::Failed { message, .. }) if !prepared.done => {
            tracing::warn!("{}: {message}; it never came to a good end itself, so that is let be", undo.label);
            Ok(())
        }
        Err(GuestError::Failed { message, output, .. }) => {
            let hint = format!(
                "stop it by hand and forget it (`anole state rm {}`), then apply again; a `stop` whose work may be done \
                 already ends well with `|| true`",
                undo.label
            );
            Err(GuestError::Failed { message, output, hint: Some(hint) })
        }
        other => other,
    }
}

/// The program that is run, if any is.
async fn program(guest: &Guest, folder: &str, what: &What, way: compose::Way) -> Result<Option<String>, GuestError> {
    Ok(match what {
        What::Nothing => None,
        What::Run(text) => Some(text.clone()),
        What::Compose { file, project } => Some(compose::program(guest, folder, (file, project), way).await?),
    })
}

/// Works in a log-in of its own, which hides these secrets, and ends it.
async fn in_new_log_in<T>(
    guest: &Guest,
    env: &[(String, Text)],
    work: impl AsyncFnOnce(&Ssh) -> Result<T, GuestError>,
) -> Result<T, GuestError> {
    let secrets = env.iter().filter_map(|(_, text)| if let Text::Secret(text) = text { Some(text) } else { None });
    let ssh = guest.ssh().fresh_hiding(&Redactor::new(secrets));
    let done = work(&ssh).await;
    ssh.close().await;
    done
}

/// Makes the script's folder, ends what still goes of an earlier run, and looks around.
async fn prepare(guest: &Guest, folder: &str, creates: Option<&str>, tell: &Tell) -> Result<Prepared, GuestError> {
    tell("preparing");
    let program = Program::new("preparing a script", format!("{SESSION}\n{PREPARE}"))
        .value("folder", folder)
        .value("creates", creates.unwrap_or_default())
        .as_user()
        .timeout(LOOKING);
    let said = guest.output(&program).await?;
    let mut prepared = Prepared::default();
    for line in said.lines() {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("home", home) => home.clone_into(&mut prepared.home),
            ("created", _) => prepared.created = true,
            ("done", _) => prepared.done = true,
            ("ended", _) => tell("what still went of an earlier run was ended"),
            ("stuck", processes) => {
                return Err(GuestError::refused_with(
                    format!("an earlier run still goes and cannot be ended: processes {processes}"),
                    "end them by hand, and apply again",
                ));
            }
            _ => {}
        }
    }
    match prepared.home.is_empty() {
        true => Err(GuestError::refused("the log-in user has no home folder")),
        false => Ok(prepared),
    }
}

/// A script's name as a folder's: two scripts of a stack never have the same one.
#[must_use]
pub fn name_of(address: &Address) -> String {
    let name = address.to_string();
    let name = name.split_once('.').map_or(name.as_str(), |(_, rest)| rest);
    let clean = name.trim_end_matches(']').replace('[', ".");
    let is_clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match clean.chars().all(is_clean) && !clean.contains("..") {
        true => clean,
        false => {
            let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
            let kept: String = clean.chars().map(|c| if is_clean(c) { c } else { '_' }).collect();
            format!("{}.{}", kept.replace("..", "_"), crate::hex::encode(&digest.as_ref()[..4]))
        }
    }
}

/// A script's folder, below the home folder.
#[must_use]
pub fn folder_of(stack: &str, address: &Address) -> String {
    format!(".anole/{stack}/{}", name_of(address))
}

/// A name in the few characters that Docker Compose takes. Where some are others, a digest tells names apart.
#[must_use]
pub fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.chars().all(is_plain) {
        return name.to_owned();
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let kept: String = name.to_lowercase().chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    format!("{kept}-{}", crate::hex::encode(&digest.as_ref()[..3]))
}
