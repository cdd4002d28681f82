//! Datasets that are made in a guest: the program that runs here is copied there, given a delivery, and followed.
//!
//! ```text
//!  install: the same binary, once for each version ──▶ begin ──▶ a session of its own: `anole dataset run`
//!                                                        │          its lines of JSON in a file, its status in another
//!                          found under way, or ended ────┤
//!                                                        └─▶ follow ──▶ progress, until it ended ──▶ the last line
//! ```
//!
//! In: a log-in, a [`Delivery`] with the keys of its store. Out: a [`Delivered`], or why not, as the program there says it.
//!
//! Invariants:
//! - The delivery goes over standard input, and from there into the program's: no file and no list of processes has keys.
//! - Unlike a script, it goes on when nobody listens: it may take hours, and what it did is not to be done again. Whoever
//!   asks for the same delivery later finds it, and follows it, or takes what came of it. One at a time is under way; another
//!   delivery of the same name ends the one before, all of its processes.
//! - Relative paths of the delivery are below the log-in user's home folder.

mod install;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ring::digest;
use tokio::sync::{mpsc, watch};

use super::shell::Program;
use super::{Guest, GuestError, LOOKING, Tell};
use crate::dataset::delivery::{Delivered, Delivery};
use crate::dataset::gauge::{Line, Standing};
use crate::ssh::Source;

const BEGIN: &str = concat!(include_str!("../script/session.sh"), include_str!("begin.sh"));
const FOLLOW: &str = concat!(include_str!("../script/session.sh"), include_str!("follow.sh"));
const RESULT: &str = include_str!("result.sh");
const END: &str = concat!(include_str!("../script/session.sh"), include_str!("end.sh"));

/// How long one look at its output lasts; then it is looked at again.
const LOOK: Duration = Duration::from_secs(600);
/// And how much longer we wait for word of that.
const MORE: Duration = Duration::from_secs(60);
/// How long a server that cannot be reached is waited for.
const BACK: Duration = Duration::from_secs(300);
/// What is said where we leave it alone.
const GOES_ON: &str = "it goes on on the server; the next apply finds it there and follows it";

/// Who watches a delivery.
pub struct Watching<'a> {
    /// Told what is under way, in a word or two.
    pub tell: &'a Tell,
    /// Told how far it is.
    pub progress: &'a (dyn Fn(Standing) + Send + Sync),
    /// Turns true when we are to stop waiting.
    pub stop: watch::Receiver<bool>,
}

/// What a follower found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It ended.
    Over,
    /// It ended without a word: somebody ended it.
    Gone,
    /// It goes on.
    Still,
}

/// Carries out a delivery in a guest. `id` is a folder for it below `~/.anole`, `STACK/datasets/NAME`: by it the next run
/// finds this one. Takes a turn while the program is copied, so whoever calls has none.
///
/// # Errors
/// When it failed there, with its own words; when it cannot be begun; when the server cannot be reached any more, and then
/// it goes on there.
pub async fn run(
    guest: &Guest,
    delivery: &Delivery,
    id: &str,
    watching: &Watching<'_>,
) -> Result<Delivered, GuestError> {
    let program = {
        let _turn = guest.turn().await;
        install::program(guest, watching.tell).await?
    };
    let text = serde_json::to_string(delivery).map_err(|error| GuestError::refused(error.to_string()))?;
    let folder = format!(".anole/{id}");
    begin(guest, &folder, &program, &text, watching.tell).await?;
    follow(guest, &folder, watching).await?;
    let said = result(guest, &folder).await?;
    let outcome = outcome(&said);
    // What failed is begun again where it was. What says that it did not fail would be found done by every apply to come,
    // whether or not it says what came of it.
    if outcome.is_ok() || status_of(&said) == "0" {
        end(guest, id).await?;
    }
    outcome
}

/// Ends what goes on of a delivery, and forgets it.
///
/// # Errors
/// When it cannot be ended.
pub async fn end(guest: &Guest, id: &str) -> Result<(), GuestError> {
    let folder = format!(".anole/{id}");
    let program = Program::new("ending the work on a dataset", END).value("folder", &folder);
    stuck(&guest.output(&program.as_user().timeout(LOOKING)).await?).map(drop)
}

async fn begin(guest: &Guest, folder: &str, program: &str, text: &str, tell: &Tell) -> Result<(), GuestError> {
    let wanted = crate::hex::encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let begin = Program::new("beginning the work on a dataset", BEGIN)
        .value("folder", folder)
        .value("program", program)
        .value("wanted", &wanted)
        .value("delivery", text);
    let said = guest.output(&begin.as_user().timeout(LOOKING)).await?;
    match stuck(&said)?.trim() {
        "begun" => tell("begun on the server"),
        "under way" => tell("found under way on the server"),
        "ended" => tell("found done on the server"),
        other => return Err(GuestError::refused(format!("the work on the dataset cannot be begun: {other}"))),
    }
    Ok(())
}

/// What was said, unless that is that an earlier run cannot be ended.
fn stuck(said: &str) -> Result<&str, GuestError> {
    match said.trim().strip_prefix("stuck") {
        None => Ok(said),
        Some(processes) => Err(GuestError::refused_with(
            format!("an earlier run still goes and cannot be ended: processes{processes}"),
            "end them by hand, and apply again",
        )),
    }
}

/// Follows it to its end, over as many connections as that takes.
async fn follow(guest: &Guest, folder: &str, watching: &Watching<'_>) -> Result<(), GuestError> {
    let mut stop = watching.stop.clone();
    loop {
        let found = tokio::select! {
            found = look(guest, folder, watching) => found,
            Ok(_) = stop.wait_for(|stop| *stop) => return Err(GuestError::refused_with("it is not waited for", GOES_ON)),
        };
        match found {
            Ok(Found::Over) => return Ok(()),
            Ok(Found::Still) => {}
            Ok(Found::Gone) => {
                return Err(GuestError::refused_with(
                    "the work on the dataset was ended on the server, by a restart or for want of memory",
                    "the next apply carries on where it was",
                ));
            }
            Err(GuestError::Ssh(error)) if error.kind.passes() => {
                (watching.tell)("the connection broke; it goes on on the server");
                guest.ssh().wait_for(BACK).await.map_err(|mut error| {
                    error.hint = Some(GOES_ON.to_owned());
                    error
                })?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Follows it for a while.
async fn look(guest: &Guest, folder: &str, watching: &Watching<'_>) -> Result<Found, GuestError> {
    let (send, mut standings) = mpsc::unbounded_channel();
    let program = Program::new("following the work on a dataset", FOLLOW)
        .value("folder", folder)
        .value("limit", &LOOK.as_secs().to_string())
        .as_user()
        .timeout(LOOK + MORE)
        .lines(Arc::new(move |source, line: &str| {
            if let (Source::Out, Ok(Line::Standing(standing))) = (source, serde_json::from_str(line)) {
                // Whoever does not listen any more has seen enough.
                let _ = send.send(standing);
            }
        }));
    let ran = guest.run(&program);
    tokio::pin!(ran);
    let ended = loop {
        tokio::select! {
            ended = &mut ran => break ended?,
            Some(standing) = standings.recv() => (watching.progress)(standing),
        }
    };
    let said = ended.stderr.text();
    match said.lines().rev().find_map(|line| line.strip_prefix("anole: ")) {
        Some("over") => Ok(Found::Over),
        Some("gone") => Ok(Found::Gone),
        Some("still") => Ok(Found::Still),
        _ => {
            ended.check()?;
            Err(GuestError::refused_with(
                "the work on the dataset cannot be followed: the server says nothing of it",
                GOES_ON,
            ))
        }
    }
}

/// What came of it, as the server says it.
async fn result(guest: &Guest, folder: &str) -> Result<String, GuestError> {
    let program = Program::new("asking what came of a dataset", RESULT).value("folder", folder);
    guest.output(&program.as_user().timeout(LOOKING)).await
}

/// The status that it ended with.
fn status_of(said: &str) -> &str {
    said.lines().next().unwrap_or_default().trim()
}

/// The last line that it printed; else what it said on its standard error.
fn outcome(said: &str) -> Result<Delivered, GuestError> {
    let (_, rest) = said.split_once('\n').unwrap_or((said, ""));
    let (last, errors) = rest.split_once('\n').unwrap_or((rest, ""));
    match serde_json::from_str(last) {
        Ok(Line::Delivered(delivered)) => Ok(delivered),
        Ok(Line::Failed { message, hint }) => Err(GuestError::Refused { message, hint }),
        Ok(Line::Standing(_)) | Err(_) => Err(GuestError::Failed {
            message: format!("`anole dataset run` ended with status {} on the server", status_of(said)),
            output: errors.lines().map(str::to_owned).collect(),
            hint: Some("the next apply carries on where it was".to_owned()),
        }),
    }
}
