//! One writer at a time: an advisory lock on a file beside the state, with its holder's name written in it.
//!
//! The lock belongs to the open file, so the system lets go of it when the process ends, however it ends: what a dead
//! process leaves is a file, not a lock. The file's text is for people.
//!
//! Invariants:
//! - A [`Lock`] is only given for the file that has the lock's path at that moment: one that was removed in between
//!   is no lock.
//! - Dropping a [`Lock`] removes the file while it is still held.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Error;

/// How often a busy lock is tried again.
const POLL: Duration = Duration::from_millis(200);

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The user's name on that machine.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// What it does: `anole apply`.
    pub command: String,
    /// Since when.
    pub since: Timestamp,
}

impl Holder {
    /// This process.
    #[must_use]
    pub fn current(command: impl Into<String>) -> Self {
        Self {
            user: user_name(),
            host: host_name(),
            pid: std::process::id(),
            command: command.into(),
            since: Timestamp::now(),
        }
    }

    /// `maria on lab-3 (pid 4711, `anole apply`, since 14:02 UTC)`; with the date if it is not today's.
    #[must_use]
    pub fn describe(&self, now: Timestamp) -> String {
        let (since, now) = (self.since.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
        let form = if since.date() == now.date() { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
        let since = since.strftime(form);
        format!("{} on {} (pid {}, `{}`, since {since})", self.user, self.host, self.pid, self.command)
    }
}

/// The user's name, from the environment; services and cron jobs have none there, so else by the process's user id.
fn user_name() -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.or_else(listed_user).unwrap_or_else(|| "an unnamed user".to_owned())
}

fn listed_user() -> Option<String> {
    let id = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let entry = users.lines().find(|line| line.split(':').nth(2) == Some(&id));
    Some(entry.and_then(|line| line.split(':').next()).map_or_else(|| format!("user {id}"), str::to_owned))
}

/// The machine's name, from where the system keeps it.
fn host_name() -> String {
    let file = |path| std::fs::read_to_string(path).ok();
    file("/proc/sys/kernel/hostname")
        .or_else(|| file("/etc/hostname"))
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "an unnamed machine".to_owned())
}

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, and waits for it for that long if another process holds it.
    ///
    /// # Errors
    /// [`Error::Locked`] with the holder; [`Error::Io`] where the file system has no locks.
    pub fn acquire(path: &Path, stack: &str, holder: &Holder, wait: Duration) -> Result<Self, Error> {
        let deadline = Instant::now().checked_add(wait);
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(Error::io("open the lock file", path))?;
            match file.try_lock() {
                Ok(()) if !is_at(&file, path) => {}
                Ok(()) => {
                    write_holder(&mut file, holder).map_err(Error::io("write the lock file", path))?;
                    return Ok(Self { file, path: path.to_owned() });
                }
                Err(TryLockError::WouldBlock) => {
                    let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
                    if left.is_zero() {
                        let holder = read_holder(&mut file).map(Box::new);
                        return Err(Error::Locked { stack: stack.to_owned(), holder, now: Timestamp::now() });
                    }
                    std::thread::sleep(POLL.min(left));
                }
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is held: whoever waits on this file sees that it is no longer at its path, and opens anew.
        if is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Who holds the lock, or left its file behind; `None` without a file.
///
/// # Errors
/// When the file cannot be read.
pub fn holder(path: &Path) -> Result<Option<Holder>, Error> {
    match File::open(path) {
        Ok(mut file) => Ok(read_holder(&mut file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read the lock file", path)(error)),
    }
}

/// Removes the lock file that a process on another machine left, and says whose it was.
///
/// # Errors
/// [`Error::Locked`] while a process on this machine holds the lock.
pub fn unlock(path: &Path, stack: &str) -> Result<Option<Holder>, Error> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open the lock file", path)(error)),
    };
    let held = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    let holder = read_holder(&mut file);
    // A lock that is held from elsewhere comes from a network file system's server, which may not know that the
    // holder died. One from here dies with its process, so it is alive.
    if held && holder.as_ref().is_none_or(|holder| holder.host == host_name()) {
        let holder = holder.map(Box::new);
        return Err(Error::Locked { stack: stack.to_owned(), holder, now: Timestamp::now() });
    }
    std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    Ok(holder)
}

/// Whether the open file is the one that has this path now.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
}

fn write_holder(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    let mut text = serde_json::to_string(holder)?;
    text.push('\n');
    file.write_all(text.as_bytes())
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maria(host: &str) -> Holder {
        Holder {
            user: "maria".to_owned(),
            host: host.to_owned(),
            pid: 4711,
            command: "anole apply".to_owned(),
            since: "2026-11-22T14:02:33Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_holder_reads_as_people_say_it() {
        let today = "2026-11-22T23:00:00Z".parse().unwrap();
        assert_eq!(maria("lab-3").describe(today), "maria on lab-3 (pid 4711, `anole apply`, since 14:02 UTC)");
        let later = "2026-11-23T00:00:00Z".parse().unwrap();
        assert!(maria("lab-3").describe(later).ends_with("since 2026-11-22 14:02 UTC)"));
    }

    #[test]
    fn a_second_writer_is_told_who_holds_the_lock_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block.json.lock");
        let first = Lock::acquire(&path, "block", &maria("lab-3"), Duration::ZERO).unwrap();
        let error = Lock::acquire(&path, "block", &maria("x"), Duration::ZERO).unwrap_err();
        assert!(error.to_string().starts_with("the state of stack `block` is locked by maria on lab-3 (pid 4711,"));
        drop(first);
        assert!(!path.exists());
        Lock::acquire(&path, "block", &maria("x"), Duration::ZERO).unwrap();
    }

    #[test]
    fn a_waiting_writer_gets_the_lock_when_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block.json.lock");
        let first = Lock::acquire(&path, "block", &maria("a"), Duration::ZERO).unwrap();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || Lock::acquire(&path, "block", &maria("b"), Duration::MAX).map(|lock| (lock, holder(&path)))
        });
        drop(first);
        let (_lock, held) = waiter.join().unwrap().unwrap();
        assert_eq!(held.unwrap().unwrap().host, "b");
    }

    #[test]
    fn a_dead_process_leaves_a_file_but_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block.json.lock");
        std::fs::write(&path, serde_json::to_string(&maria("lab-3")).unwrap()).unwrap();
        assert_eq!(unlock(&path, "block").unwrap(), Some(maria("lab-3")));
        assert!(!path.exists());
        assert_eq!(unlock(&path, "block").unwrap(), None);
        std::fs::write(&path, "half a li").unwrap();
        Lock::acquire(&path, "block", &maria("x"), Duration::ZERO).unwrap();
    }

    #[test]
    fn unlock_refuses_while_this_machine_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block.json.lock");
        let here = Lock::acquire(&path, "block", &Holder::current("anole apply"), Duration::ZERO).unwrap();
        assert!(matches!(unlock(&path, "block"), Err(Error::Locked { .. })));
        drop(here);
        let there = Lock::acquire(&path, "block", &maria("another-machine"), Duration::ZERO).unwrap();
        assert_eq!(unlock(&path, "block").unwrap(), Some(maria("another-machine")));
        let next = Lock::acquire(&path, "block", &maria("x"), Duration::ZERO).unwrap();
        drop(there);
        assert!(path.exists(), "the broken lock's file is not the next holder's");
        drop(next);
    }
}
