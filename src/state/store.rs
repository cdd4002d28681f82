//! Where a state is kept: what every store can do, and which store `--state` names.
//!
//! Invariants for every store:
//! - What [`Writer::append`] returned for is durable; so is what [`Writer::commit`] returned for.
//! - Writing takes the lock, by its type: only a [`Writer`] writes, and dropping it lets go.
//! - Reading needs no lock and shows a state that was true at one moment, also while another process writes.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::lock::Holder;
use super::{Entry, Error, FileStore, Loaded};

/// A place that keeps the state of one stack. Its operations block; none takes longer than a few disk writes, but
/// [`StateStore::lock`] with a wait.
pub trait StateStore: Send + Sync {
    /// The place, for people: a path or a URL.
    fn location(&self) -> String;

    /// The state with its journal folded in; `None` where nothing was ever kept.
    ///
    /// # Errors
    /// For a state that is damaged, of a later version, or of another stack. Such a one is never taken for none.
    fn load(&self) -> Result<Option<Loaded>, Error>;

    /// Locks the state for writing, and waits up to `wait` while another process has it.
    ///
    /// # Errors
    /// [`Error::Locked`], with the holder.
    fn lock(&self, holder: &Holder, wait: Duration) -> Result<Box<dyn Writer>, Error>;

    /// Who holds the lock, or left its remains.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn holder(&self) -> Result<Option<Holder>, Error>;

    /// Removes the remains of a lock whose process is gone, and says whose it was.
    ///
    /// # Errors
    /// [`Error::Locked`] while a process on this machine holds it.
    fn unlock(&self) -> Result<Option<Holder>, Error>;
}

/// The right to write a state. Dropping it unlocks the state and leaves the journal for the next to carry on.
pub trait Writer: Send {
    /// As [`StateStore::load`].
    ///
    /// # Errors
    /// As [`StateStore::load`].
    fn load(&self) -> Result<Option<Loaded>, Error>;

    /// Opens the journal with an [`Entry::Begin`] for the serial that was loaded (0 where there was no state). The
    /// journal of an interrupted apply is carried on: its entries stay.
    ///
    /// # Errors
    /// [`Error::Moved`] or [`Error::OtherLineage`] if the entry does not follow the state that is kept.
    fn begin(&mut self, begin: &Entry) -> Result<(), Error>;

    /// Adds entries to the journal; they are durable when this returns.
    ///
    /// # Errors
    /// When they could not be written, or there was no [`Writer::begin`]. After a failed write every later one fails.
    fn append(&mut self, entries: &[Entry]) -> Result<(), Error>;

    /// Writes a new snapshot with the next serial, which it sets, keeps the one before as a backup, and drops the
    /// journal, which is folded in. Open intents are kept in the snapshot.
    ///
    /// # Errors
    /// [`Error::Moved`] or [`Error::OtherLineage`] if `loaded` does not stem from the state that is kept.
    fn commit(&mut self, loaded: &mut Loaded) -> Result<(), Error>;

    /// As [`Writer::commit`], whatever is kept there now, readable or not: for `state recover` and `state push`. What
    /// was there, journal included, becomes a backup.
    ///
    /// # Errors
    /// When it could not be written.
    fn replace(&mut self, loaded: &mut Loaded) -> Result<(), Error>;
}

/// The store that `--state` names: a path, or a `file://` URL. A folder, or what ends with a slash, stands for
/// `<stack>.json` in it.
///
/// # Errors
/// For a store of a sort that this version does not have.
pub fn open(location: &str, stack: &str) -> Result<Box<dyn StateStore>, Error> {
    let path = location_path(location)
        .map_err(|why| Error::BadLocation { url: without_password(location), why: why.to_owned() })?;
    let folder = location.ends_with('/') || path.is_dir();
    let path = if folder { path.join(format!("{stack}.json")) } else { path };
    Ok(Box::new(FileStore::new(path, stack)))
}

fn location_path(location: &str) -> Result<PathBuf, &'static str> {
    if location.is_empty() {
        return Err("it is empty");
    }
    let Some((scheme, _)) = location.split_once("://") else { return Ok(PathBuf::from(location)) };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => Url::parse(location)
            .ok()
            .and_then(|url| url.to_file_path().ok())
            .ok_or("a file URL has no host and an absolute path"),
        "s3" | "postgres" | "postgresql" => {
            Err("s3:// and postgres:// stores come later; this version keeps states in files")
        }
        _ => Err("this version keeps states in files"),
    }
}

/// The location as it may be shown: a database URL's password is left out.
fn without_password(location: &str) -> String {
    match Url::parse(location) {
        Ok(mut url) if url.password().is_some() => {
            let _ = url.set_password(None);
            url.to_string()
        }
        _ => location.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_a_folder_or_a_file_url() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        for (location, path) in [
            ("x/y.json".to_owned(), "x/y.json".to_owned()),
            ("x/".to_owned(), "x/block.json".to_owned()),
            (folder.to_owned(), format!("{folder}/block.json")),
            (format!("file://{folder}/a%20b.json"), format!("{folder}/a b.json")),
        ] {
            assert_eq!(open(&location, "block").unwrap().location(), path);
        }
    }

    #[test]
    fn other_schemes_are_refused_without_showing_a_password() {
        for location in ["s3://bucket/key", "postgres://me:hunter2@db/x", "https://x/y", "file://host/x", ""] {
            let Err(error) = open(location, "block") else { panic!("{location}") };
            let text = format!("{error}");
            assert!(!text.contains("hunter2") && matches!(error, Error::BadLocation { .. }), "{text}");
        }
    }
}
