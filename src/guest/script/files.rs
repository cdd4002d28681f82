//! Copies files to a guest: what is there is hashed in one round trip, and only what differs is sent.
//!
//! In: [`Copy`]s, with the digests that the plan saw. Out: the files, each whole or as it was.
//!
//! Invariants:
//! - What is copied is what the plan saw; another content is an error, before anything is sent.
//! - A file is sent to the script's own folder first and put into its place by the server itself, as root only where
//!   it has an owner that is said, or lies outside the user's home folder.

use std::collections::BTreeMap;

use super::Copy;
use crate::guest::shell::Program;
use crate::guest::{Guest, GuestError, Tell};
use crate::tree::{self, LocalFile};

const LOOK: &str = include_str!("look.sh");
const INSTALL: &str = include_str!("install.sh");

/// Where a script's things are on the server.
pub(super) struct Place<'a> {
    /// The home folder.
    pub home: &'a str,
    /// The script's folder, below the home folder.
    pub folder: &'a str,
}

/// A file and where it goes.
#[derive(Debug, Clone)]
struct Wanted {
    local: LocalFile,
    path: String,
    mode: String,
    owner: String,
    group: String,
    if_missing: bool,
    as_root: bool,
}

/// What is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum There {
    Nothing,
    Folder,
    /// A file with this SHA-256; empty if it could not be read.
    File(String),
}

/// Copies files.
pub(super) async fn put(guest: &Guest, place: &Place<'_>, files: &[Copy], tell: &Tell) -> Result<(), GuestError> {
    if files.is_empty() {
        return Ok(());
    }
    let wanted = listed(place, files).await?;
    let mut by_right: BTreeMap<bool, Vec<Wanted>> = BTreeMap::new();
    for one in wanted {
        by_right.entry(one.as_root).or_default().push(one);
    }
    for (as_root, wanted) in by_right {
        tell("looking at its files");
        let there = look(guest, &wanted, as_root).await?;
        bring(guest, place, (&wanted, &there), as_root, tell).await?;
    }
    Ok(())
}

/// The files one by one, as they lie here by now.
async fn listed(place: &Place<'_>, files: &[Copy]) -> Result<Vec<Wanted>, GuestError> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for copy in files {
        let source = copy.source.clone();
        let listing = blocking(move || tree::list(&source)).await;
        let listing = listing.map_err(|why| unreadable(copy, &why))?;
        if listing.digest != copy.digest {
            return Err(GuestError::refused_with(
                format!("{} is not what it was when this was planned", copy.source.display()),
                "plan again",
            ));
        }
        for local in listing.files {
            let one = wanted_at(place, copy, local);
            wanted.insert(one.path.clone(), one);
        }
    }
    Ok(wanted.into_values().collect())
}

fn wanted_at(place: &Place<'_>, copy: &Copy, local: LocalFile) -> Wanted {
    let base = match copy.path.strip_prefix("~/") {
        Some(below) => format!("{}/{below}", place.home),
        None => copy.path.clone(),
    };
    let path = if local.relative.is_empty() { base } else { format!("{base}/{}", local.relative) };
    let (owner, group) = (copy.owner.clone().unwrap_or_default(), copy.group.clone().unwrap_or_default());
    let at_home = path.strip_prefix(place.home).is_some_and(|rest| rest.starts_with('/'));
    let usual = if local.executable { "0755" } else { "0644" };
    Wanted {
        as_root: !owner.is_empty() || !group.is_empty() || !at_home,
        mode: copy.mode.clone().unwrap_or_else(|| usual.to_owned()),
        if_missing: copy.if_missing,
        local,
        path,
        owner,
        group,
    }
}

fn unreadable(copy: &Copy, why: &str) -> GuestError {
    GuestError::refused(format!("{} cannot be copied: {why}", copy.source.display()))
}

fn program(title: &str, text: &str, as_root: bool) -> Program {
    let program = Program::new(title, text);
    if as_root { program } else { program.as_user() }
}

async fn look(guest: &Guest, wanted: &[Wanted], as_root: bool) -> Result<Vec<There>, GuestError> {
    let paths: Vec<&str> = wanted.iter().map(|one| one.path.as_str()).collect();
    let program = program("looking at files", LOOK, as_root).value("paths", &paths.join("\n"));
    let said = guest.output(&program).await?;
    let there: Vec<There> = said.lines().map(there).collect();
    match there.len() == wanted.len() {
        true => Ok(there),
        false => Err(GuestError::refused(format!(
            "the server told of {} files where it was asked for {}",
            there.len(),
            wanted.len()
        ))),
    }
}

fn there(line: &str) -> There {
    match line.split_once(' ') {
        Some(("file", digest)) => There::File(digest.to_owned()),
        _ if line == "folder" => There::Folder,
        _ => There::Nothing,
    }
}

/// Sends what differs, and puts all of it into its place.
async fn bring(
    guest: &Guest,
    place: &Place<'_>,
    (wanted, there): (&[Wanted], &[There]),
    as_root: bool,
    tell: &Tell,
) -> Result<(), GuestError> {
    let inbox = format!("{}/in", place.folder);
    let files = guest.ssh().files().await?;
    files.make_folders(&inbox, 0o700).await?;
    let mut lines = Vec::new();
    for (number, (one, there)) in wanted.iter().zip(there).enumerate() {
        if *there == There::Folder {
            return Err(GuestError::refused(format!("{} is a folder on the server, and is to be a file", one.path)));
        }
        if one.if_missing && *there != There::Nothing {
            continue;
        }
        let mut from = String::new();
        if *there != There::File(one.local.sha256.clone()) {
            tell(&format!("copying {}", one.path));
            let local = one.local.clone();
            let content = blocking(move || tree::read(&local)).await;
            let content = content
                .map_err(|why| GuestError::refused(format!("{} cannot be copied: {why}", one.local.path.display())))?;
            let name = format!("{inbox}/{number}");
            files.write(&name, &content, 0o600).await?;
            from = format!("{}/{name}", place.home);
        }
        lines.push(format!("{from}:{}:{}:{}:{}", one.mode, one.owner, one.group, one.path));
    }
    if lines.is_empty() {
        return Ok(());
    }
    let program = program("putting files into place", INSTALL, as_root)
        .value("list", &lines.join("\n"))
        .value("inbox", &format!("{}/{inbox}", place.home));
    guest.output(&program).await.map(drop)
}

/// Works with local files where that holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(error.to_string()),
    }
}
