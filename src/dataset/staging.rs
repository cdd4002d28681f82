//! The staging folder of one dataset: what was downloaded, unpacked and made, whole or not at all.
//!
//! ```text
//! <root>/lock                    one run at a time writes here
//! <root>/readers                 held by each run that reads here, so that nothing is removed meanwhile
//! <root>/download/<id>/…         see `download`
//! <root>/made/<id>/              a folder that was made whole
//! <root>/made/<id>.json          … and what is in it; written last, so it says that the folder is whole
//! <root>/temporary/<id>/         one that is being made; removed at the start of the next run
//! <root>/digests                 see `digest`
//! <root>/last-manifest           see `load::local`
//! ```
//!
//! Invariants:
//! - A folder counts only with its list, which is written after its data is on the disk; and only if every file of the
//!   list has the length that the list says. So a kill, or a power cut, at any moment leaves it whole or not there.
//! - Nothing outside the root is ever written or removed.
//! - Nothing is removed that another run may read.
//!
//! A run that reads another dataset's staging has it to itself only while it makes sure that all is there, and then lets
//! others in: any number may read at a time. Whoever comes in between waits, see [`Staging::wait`].

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::content::Entry;
use super::digest::{Digests, Sha256};
use super::text;
use super::{DatasetError, ErrorKind, Progress, Stage, Watch};

/// What is left free on a disk: other programs write to it too.
const RESERVE: u64 = 256 << 20;
/// How deep folders may lie in each other.
const DEEPEST: usize = 64;

/// How long a run waits for another one: for as long as a large download takes.
pub const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A staging folder that this process reads, and that it may write while it holds it.
#[derive(Debug)]
pub struct Staging {
    root: PathBuf,
    lock: Mutex<Lock>,
    /// Held as long as this lives.
    readers: File,
    digests: Arc<Digests>,
    used: Mutex<BTreeSet<PathBuf>>,
}

/// The right to write.
#[derive(Debug)]
struct Lock {
    file: File,
    /// How often it is held by this run.
    times: u32,
}

/// What is in a folder that was made.
#[derive(Debug, Serialize, Deserialize)]
struct List {
    files: Vec<(String, u64)>,
}

impl Staging {
    /// Takes a folder, made if it is not there.
    ///
    /// # Errors
    /// That another run has it ([`ErrorKind::Busy`]), or that it cannot be written.
    pub fn open(root: &Path) -> Result<Self, DatasetError> {
        let root = std::path::absolute(root).map_err(|error| DatasetError::file(root, error))?;
        fs::create_dir_all(&root).map_err(|error| DatasetError::file(&root, error))?;
        let opened = |name: &str| {
            let path = root.join(name);
            File::create(&path).map_err(|error| DatasetError::file(&path, error))
        };
        let (file, readers) = (opened("lock")?, opened("readers")?);
        locked(&file, &root)?;
        let digests = Arc::new(Digests::at(&root.join("digests")));
        let staging =
            Self { root, lock: Mutex::new(Lock { file, times: 1 }), readers, digests, used: Mutex::default() };
        let temporary = staging.root.join("temporary");
        staging.alone(|| match fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DatasetError::file(&temporary, error)),
            _ => Ok(()),
        })?;
        for folder in ["download", "made", "temporary"] {
            let folder = staging.root.join(folder);
            fs::create_dir_all(&folder).map_err(|error| DatasetError::file(&folder, error))?;
        }
        Ok(staging)
    }

    /// Takes a folder as [`Staging::open`] does, and waits for a run that has it, for so long at most.
    ///
    /// # Errors
    /// That it has it still, that it was stopped, or that it cannot be written.
    pub async fn wait(root: &Path, watch: &Arc<dyn Watch>, most: Duration) -> Result<Self, DatasetError> {
        let folder = root.to_owned();
        patiently(watch, most, move || Self::open(&folder)).await
    }

    /// Takes it again, after [`Staging::release`].
    pub(super) async fn again(self: &Arc<Self>, watch: &Arc<dyn Watch>, most: Duration) -> Result<(), DatasetError> {
        let this = Arc::clone(self);
        patiently(watch, most, move || this.take()).await
    }

    /// Takes the right to write, or one more of what it has.
    fn take(&self) -> Result<(), DatasetError> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.times == 0 {
            locked(&lock.file, &self.root)?;
        }
        lock.times += 1;
        Ok(())
    }

    /// Gives one right to write back; with the last one others may write. What is there can be read on.
    pub(super) fn release(&self) -> Result<(), DatasetError> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.times = lock.times.saturating_sub(1);
        match lock.times {
            0 => lock.file.unlock().map_err(|error| DatasetError::file(&self.root.join("lock"), error)),
            _ => Ok(()),
        }
    }

    /// Does something that no other run may see, if none reads here. Whether it was done. Only who may write does this, so
    /// no reader comes in between.
    fn alone(&self, work: impl FnOnce() -> Result<(), DatasetError>) -> Result<bool, DatasetError> {
        let failed = |error| DatasetError::file(&self.root.join("readers"), error);
        let done = match self.readers.try_lock() {
            Ok(()) => work().map(|()| true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        };
        self.readers.lock_shared().map_err(failed)?;
        done
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The digests that are remembered in it.
    #[must_use]
    pub fn digests(&self) -> Arc<Digests> {
        Arc::clone(&self.digests)
    }

    /// Where a copy of the manifest is.
    pub(super) fn manifest(&self) -> PathBuf {
        self.root.join("last-manifest")
    }

    /// Where a download is, if it is there.
    pub(super) fn download_at(&self, id: &Sha256) -> PathBuf {
        self.root.join("download").join(id.short())
    }

    /// The folder of a download, which stays.
    pub(super) fn download(&self, id: &Sha256) -> Result<PathBuf, DatasetError> {
        let folder = self.download_at(id);
        fs::create_dir_all(&folder).map_err(|error| DatasetError::file(&folder, error))?;
        self.uses(folder.clone());
        Ok(folder)
    }

    /// A folder for what is needed during this run only.
    pub(super) fn temporary(&self, id: &Sha256, what: &str) -> Result<PathBuf, DatasetError> {
        let folder = self.root.join("temporary").join(format!("{}-{what}", id.short()));
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| DatasetError::file(&folder, error))?;
        }
        fs::create_dir_all(&folder).map_err(|error| DatasetError::file(&folder, error))?;
        Ok(folder)
    }

    /// The files of a folder that was made, or is made now by `make`, which is given an empty folder to fill.
    ///
    /// # Errors
    /// Those of `make`, and that the disk cannot be written.
    pub(super) fn made(
        &self,
        id: &Sha256,
        make: impl FnOnce(&Path) -> Result<(), DatasetError>,
    ) -> Result<Vec<Entry>, DatasetError> {
        let folder = self.root.join("made").join(id.short());
        let list = folder.with_extension("json");
        self.uses(folder.clone());
        self.uses(list.clone());
        if let Some(entries) = whole(&folder, &list) {
            return Ok(entries);
        }
        let temporary = self.temporary(id, "made")?;
        if let Err(error) = make(&temporary) {
            // It would be removed by the next run; the disk may be full now.
            let _ = fs::remove_dir_all(&temporary);
            return Err(error);
        }
        let files = walk(&temporary, Links::Refused)?;
        let named = List { files: files.iter().map(|entry| (entry.key.clone(), entry.size)).collect() };
        self.replace(&temporary, &folder, &list, &named)?;
        Ok(named.files.iter().map(|(key, size)| Entry::file(key, &folder.join(key), *size)).collect())
    }

    fn replace(&self, temporary: &Path, folder: &Path, list: &Path, named: &List) -> Result<(), DatasetError> {
        let failed = |error| DatasetError::file(folder, error);
        // The list first: without it the folder counts for nothing.
        for old in [list, folder] {
            match fs::symlink_metadata(old) {
                Ok(meta) if meta.is_dir() => fs::remove_dir_all(old).map_err(failed)?,
                Ok(_) => fs::remove_file(old).map_err(failed)?,
                Err(_) => {}
            }
        }
        sync_all_below(temporary)?;
        fs::rename(temporary, folder).map_err(failed)?;
        let text = serde_json::to_vec(named).map_err(|error| failed(error.into()))?;
        write_whole(list, &text)
    }

    fn uses(&self, path: PathBuf) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
    }

    /// Removes what this run did not use: earlier versions of the source, results of other transforms. Nothing is removed
    /// while another run reads here.
    ///
    /// # Errors
    /// That something cannot be removed.
    pub fn tidy(&self) -> Result<(), DatasetError> {
        self.alone(|| self.remove_unused()).map(drop)
    }

    fn remove_unused(&self) -> Result<(), DatasetError> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in ["download", "made"] {
            let folder = self.root.join(folder);
            let failed = |error| DatasetError::file(&folder, error);
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                if used.contains(&path) {
                    continue;
                }
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(|error| DatasetError::file(&path, error))?;
            }
        }
        Ok(())
    }

    /// Removes what was downloaded and made; what is remembered stays, so that the next run reads only what changed.
    ///
    /// # Errors
    /// That something cannot be removed.
    pub fn clear(&self) -> Result<(), DatasetError> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.tidy()
    }

    /// Removes the folder with all that is in it.
    ///
    /// # Errors
    /// That another run reads there ([`ErrorKind::Busy`]), or that something cannot be removed.
    pub fn remove(self) -> Result<(), DatasetError> {
        match self.alone(|| self.remove_all())? {
            true => Ok(()),
            false => {
                let text = format!("another dataset reads what is staged in {}", self.root.display());
                Err(DatasetError::new(ErrorKind::Busy, text).hint("wait until it is loaded"))
            }
        }
    }

    fn remove_all(&self) -> Result<(), DatasetError> {
        for part in ["download", "made", "temporary"] {
            let folder = self.root.join(part);
            fs::remove_dir_all(&folder).map_err(|error| DatasetError::file(&folder, error))?;
        }
        for file in ["digests", "digests.new", "last-manifest", "last-manifest.new", "lock", "readers"] {
            let path = self.root.join(file);
            if path.exists() {
                fs::remove_file(&path).map_err(|error| DatasetError::file(&path, error))?;
            }
        }
        // Somebody else's files may lie in it; then it stays.
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }
}

/// Locks a folder's lock file, if no other run has it.
fn locked(file: &File, root: &Path) -> Result<(), DatasetError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let text = format!("another run is at work in {}", root.display());
            Err(DatasetError::new(ErrorKind::Busy, text).hint("wait for it, or give another `staging:`"))
        }
        Err(TryLockError::Error(error)) => Err(DatasetError::file(&root.join("lock"), error)),
    }
}

/// Does something that needs the right to write, and waits for whoever has it.
async fn patiently<T: Send + 'static>(
    watch: &Arc<dyn Watch>,
    most: Duration,
    work: impl Fn() -> Result<T, DatasetError> + Send + Sync + 'static,
) -> Result<T, DatasetError> {
    let (work, began, mut told) = (Arc::new(work), Instant::now(), false);
    loop {
        let work = Arc::clone(&work);
        match super::blocking(move || work()).await {
            Err(error) if error.kind == ErrorKind::Busy && began.elapsed() < most => {
                if watch.stopped() {
                    return Err(DatasetError::stopped());
                }
                if !std::mem::replace(&mut told, true) {
                    tracing::info!("{error}; this one waits for it");
                    watch.tell(Progress::Stage(Stage::Wait));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            done => return done,
        }
    }
}

/// The files of a folder that is whole.
fn whole(folder: &Path, list: &Path) -> Option<Vec<Entry>> {
    let list: List = serde_json::from_slice(&fs::read(list).ok()?).ok()?;
    let entry = |(key, size): &(String, u64)| {
        let path = folder.join(key);
        let meta = fs::symlink_metadata(&path).ok()?;
        (meta.is_file() && meta.len() == *size).then(|| Entry::file(key, &path, *size))
    };
    list.files.iter().map(entry).collect()
}

/// Writes a file whole or not at all.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), DatasetError> {
    let fresh = path.with_extension("new");
    let write = || {
        let mut file = File::create(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(path.parent().unwrap_or(path))?.sync_all()
    };
    write().map_err(|error| DatasetError::file(path, error))
}

/// Sees to it that all that was written below a folder is on the disk.
fn sync_all_below(folder: &Path) -> Result<(), DatasetError> {
    let open = File::open(folder).map_err(|error| DatasetError::file(folder, error))?;
    #[cfg(target_os = "linux")]
    let synced = rustix::fs::syncfs(&open).map_err(std::io::Error::from);
    #[cfg(not(target_os = "linux"))]
    let synced = {
        rustix::fs::sync();
        open.sync_all()
    };
    synced.map_err(|error| DatasetError::file(folder, error))
}

/// How many bytes may still be written to the disk that a path is on.
pub(super) fn free(path: &Path) -> Result<u64, DatasetError> {
    let stat = rustix::fs::statvfs(path).map_err(|error| DatasetError::file(path, error.into()))?;
    Ok((stat.f_bavail * stat.f_frsize).saturating_sub(RESERVE))
}

/// That so many bytes fit on the disk.
pub(super) fn fits(path: &Path, bytes: u64, what: &str) -> Result<(), DatasetError> {
    let free = free(path)?;
    if bytes <= free {
        return Ok(());
    }
    let (needs, has) = (text::bytes(bytes), text::bytes(free));
    let text = format!("{what} needs {needs} on the disk of {}, where {has} can be used", path.display());
    Err(DatasetError::new(ErrorKind::Limit, text).hint("give a `staging:` folder on a larger disk"))
}

/// What becomes of links in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// They count as what they lead to: the folder is the user's own.
    Followed,
    /// They are a mistake: the folder was made by a program.
    Refused,
}

/// The files below a folder, by their path in it, sorted.
///
/// # Errors
/// For a name that is no text, for what is neither a file nor a folder, and for links in a circle.
pub(super) fn walk(root: &Path, links: Links) -> Result<Vec<Entry>, DatasetError> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let failed = |error| DatasetError::file(&folder, error);
        if depth > DEEPEST {
            let text = format!("{}: folders lie too deep; does a link go in a circle?", folder.display());
            return Err(DatasetError::new(ErrorKind::File, text));
        }
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let refused = |why: &str| DatasetError::new(ErrorKind::File, format!("{}: {why}", path.display()));
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| refused("its name is not UTF-8, as the keys of objects must be"))?;
            let key = format!("{prefix}{name}");
            // What is no link is looked at from its folder, which spares the way to it: there may be millions.
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let meta = match links {
                Links::Followed if is_link => fs::metadata(&path),
                _ => entry.metadata(),
            };
            let meta = meta.map_err(|error| DatasetError::file(&path, error))?;
            if meta.is_dir() {
                folders.push((path, format!("{key}/"), depth + 1));
            } else if meta.is_file() {
                found.push(Entry::seen(key, path, &meta));
            } else {
                return Err(refused("it is neither a file nor a folder"));
            }
        }
    }
    found.sort_by(|a: &Entry, b| a.key.cmp(&b.key));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_file(folder: &Path) -> Result<(), DatasetError> {
        fs::write(folder.join("x"), "").unwrap();
        Ok(())
    }

    fn keys(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.key.as_str()).collect()
    }

    #[test]
    fn a_folder_is_made_once_and_again_when_it_is_not_whole() {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::open(root.path()).unwrap();
        let id = Sha256::of(b"x");
        let mut times = 0;
        let mut make = |staging: &Staging| {
            let made = staging.made(&id, |folder| {
                times += 1;
                fs::create_dir(folder.join("a")).unwrap();
                fs::write(folder.join("a/b"), "hello").unwrap();
                Ok(())
            });
            (keys(&made.unwrap()).join(","), times)
        };
        assert_eq!(make(&staging), ("a/b".to_owned(), 1));
        assert_eq!(make(&staging), ("a/b".to_owned(), 1));
        let folder = root.path().join("made").join(id.short());
        fs::write(folder.join("a/b"), "hell").unwrap();
        assert_eq!(make(&staging).1, 2, "a file of another length");
        fs::remove_file(folder.with_extension("json")).unwrap();
        assert_eq!(make(&staging).1, 3, "killed before its list was written");
        let failed = staging.made(&Sha256::of(b"y"), |folder| {
            fs::write(folder.join("half"), "").unwrap();
            Err(DatasetError::stopped())
        });
        assert_eq!(failed.unwrap_err().kind, ErrorKind::Stopped);
        assert!(!root.path().join("made").join(Sha256::of(b"y").short()).exists());
    }

    #[test]
    fn one_run_at_a_time_and_only_what_is_used_stays() {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::open(root.path()).unwrap();
        assert!(Staging::open(root.path()).unwrap_err().message.contains("another run"));
        staging.made(&Sha256::of(b"old"), one_file).unwrap();
        drop(staging);
        let staging = Staging::open(root.path()).unwrap();
        staging.made(&Sha256::of(b"new"), one_file).unwrap();
        fs::create_dir_all(root.path().join("temporary/killed")).unwrap();
        drop(staging);
        let staging = Staging::open(root.path()).unwrap();
        assert_eq!(fs::read_dir(root.path().join("temporary")).unwrap().count(), 0, "what a kill left half");
        staging.made(&Sha256::of(b"new"), |_| unreachable!("it is there")).unwrap();
        staging.tidy().unwrap();
        assert_eq!(walk(&root.path().join("made"), Links::Refused).unwrap().len(), 2);
        fs::write(root.path().join("mine"), "").unwrap();
        staging.remove().unwrap();
        assert_eq!(keys(&walk(root.path(), Links::Refused).unwrap()), ["mine"]);
    }

    #[test]
    fn links_of_a_program_are_refused_and_the_users_own_are_followed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/x"), "1").unwrap();
        std::os::unix::fs::symlink("a", root.path().join("b")).unwrap();
        assert_eq!(keys(&walk(root.path(), Links::Followed).unwrap()), ["a/x", "b/x"]);
        assert!(walk(root.path(), Links::Refused).unwrap_err().message.contains("neither"));
        std::os::unix::fs::symlink("..", root.path().join("a/up")).unwrap();
        assert!(walk(root.path(), Links::Followed).unwrap_err().message.contains("circle"));
    }
}
