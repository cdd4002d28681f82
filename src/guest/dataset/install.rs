//! The program itself in a guest: copied there once for each version, and tried before anything relies on it.
//!
//! In: a log-in. Out: a path below the home folder. Invariant: a file of that name is whole, for it gets its name when it
//! is, and the name says what is in it; so whatever is there need not be read again.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ring::digest;
use tokio::sync::OnceCell;

use super::super::shell::Program;
use super::super::{Guest, GuestError, LOOKING, Tell};
use crate::dataset::text::bytes;

const RUNS: &str = include_str!("runs.sh");
/// The folder for it, below the home folder.
const FOLDER: &str = ".anole/bin";

/// The program that runs here.
#[derive(Debug, Clone)]
struct Own {
    file: PathBuf,
    length: u64,
    /// Some digits of its SHA-256.
    mark: String,
}

/// How it does in a guest.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Absent,
    Runs,
    /// It does not run: what the guest is, and what it said.
    Fails(String),
}

/// Has the program be in the guest, and gives its path.
pub(super) async fn program(guest: &Guest, tell: &Tell) -> Result<String, GuestError> {
    static OWN: OnceCell<Own> = OnceCell::const_new();
    let own = OWN.get_or_try_init(own).await?;
    let path = format!("{FOLDER}/anole-{}", own.mark);
    if look(guest, &path).await? == State::Runs {
        return Ok(path);
    }
    tell(&format!("copying anole, {}", bytes(own.length)));
    let files = guest.ssh().files().await?;
    files.make_folders(FOLDER, 0o700).await?;
    files.upload(&own.file, &path, 0o700).await?;
    match look(guest, &path).await? {
        State::Runs => Ok(path),
        State::Absent => Err(GuestError::refused(format!("~/{path} was copied to the server, and is not there"))),
        State::Fails(said) => Err(GuestError::refused_with(
            format!(
                "this anole, built for {} on {}, does not run on the server, {said}",
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
            "use a build of anole that runs on both (a static one, for musl, needs no library of the server), or leave \
             `server` out: then the dataset is made on this machine",
        )),
    }
}

async fn look(guest: &Guest, path: &str) -> Result<State, GuestError> {
    let program = Program::new("looking for anole", RUNS).value("program", path).as_user().timeout(LOOKING);
    state(&guest.output(&program).await?)
}

fn state(said: &str) -> Result<State, GuestError> {
    let said = said.trim();
    match said.split_once(' ').unwrap_or((said, "")) {
        ("absent", _) => Ok(State::Absent),
        ("runs", _) => Ok(State::Runs),
        ("fails", how) => Ok(State::Fails(how.to_owned())),
        _ => Err(GuestError::refused(format!("the server does not say whether it has anole: {said}"))),
    }
}

/// The file of this process, also where it was replaced meanwhile.
async fn own() -> Result<Own, GuestError> {
    let read = || {
        let file = match Path::new("/proc/self/exe") {
            same if same.exists() => same.to_owned(),
            _ => std::env::current_exe()?,
        };
        let (mark, length) = digest_of(&mut File::open(&file)?)?;
        Ok::<_, std::io::Error>(Own { file, length, mark })
    };
    let done = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other).flatten();
    done.map_err(|error| GuestError::refused(format!("the program itself cannot be read: {error}")))
}

fn digest_of(file: &mut impl Read) -> std::io::Result<(String, u64)> {
    let (mut context, mut buffer, mut length) = (digest::Context::new(&digest::SHA256), vec![0; 1 << 20], 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((crate::hex::encode(&context.finish().as_ref()[..8]), length));
        }
        context.update(&buffer[..read]);
        length += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guest_says_of_it() {
        assert_eq!(state("absent\n").unwrap(), State::Absent);
        assert_eq!(state("runs anole 0.1.0\n").unwrap(), State::Runs);
        let other = "Linux aarch64: sh: 1: ./anole: Exec format error";
        assert_eq!(state(&format!("fails {other}\n")).unwrap(), State::Fails(other.to_owned()));
        assert!(state("").is_err());
    }

    #[test]
    fn its_name_says_what_is_in_it() {
        let (mark, length) = digest_of(&mut &b"abc"[..]).unwrap();
        assert_eq!((mark.as_str(), length), ("ba7816bf8f01cfea", 3));
    }
}
