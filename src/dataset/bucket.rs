//! Sources in buckets: the objects below a prefix of any store, or one object.
//!
//! In: a [`Bucket`], and the stores that whoever runs the job is signed in to. Out: entries whose bytes stay where they
//! are until they are read, by ranges; or, where one object is named and is an archive, a file of the staging folder, into
//! which it is fetched as a download is.
//!
//! Invariants:
//! - What is read is what was listed: each answer has the entity tag of the list, or reading ends with an error.
//! - A manifest's SHA-256s are believed while the entity tags are those that it lists: no byte is read to take them.
//! - Half a dataset is refused: below a prefix whose load is under way, or whose manifest lists what is not there.
//! - What lies in a folder `.anole/` is no part of the data.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::runtime::Handle;

use super::content::{Content, Entry};
use super::digest::{self, Sha256};
use super::job::{Bucket, Extract, Job};
use super::load::PREVIOUS;
use super::manifest::{self, Manifest};
use super::source::Gathered;
use super::staging::Staging;
use super::stored::{Place, Stored};
use super::{DatasetError, ErrorKind, Watch, extract, text};
use crate::object::{Entry as Object, Keys, ObjectError, Store};

/// The largest manifest that is read: some millions of objects.
const LARGEST: u64 = 1 << 30;
/// How many objects are looked at at a time, where a list does not tell all.
const SIDE_BY_SIDE: usize = 16;
/// How often a list is made that a load came in between of.
const TRIES: usize = 3;

/// The stores that whoever runs a job is signed in to, by the spec's names of their sites. That of no name is the store
/// that the load goes to.
#[derive(Debug, Clone, Default)]
pub struct Stores(BTreeMap<String, Store>);

impl Stores {
    /// Also this site's.
    #[must_use]
    pub fn with(mut self, site: impl Into<String>, store: Store) -> Self {
        self.0.insert(site.into(), store);
        self
    }

    /// Also this one, for sources that name neither keys nor a site.
    #[must_use]
    pub(super) fn or(mut self, store: &Store) -> Self {
        self.0.entry(String::new()).or_insert_with(|| store.clone());
        self
    }

    /// The store of a source.
    ///
    /// # Errors
    /// That there are no keys for it.
    pub(super) fn of(&self, bucket: &Bucket) -> Result<Store, DatasetError> {
        if let Some(keys) = &bucket.store {
            return keys.store().map_err(|error| failed(&error));
        }
        self.0.get(&bucket.site).cloned().ok_or_else(|| {
            let text = format!("{}: there are no keys of its store", bucket.shown());
            DatasetError::new(ErrorKind::Job, text).hint("give the source a `credential:`")
        })
    }
}

/// What is in a bucket below a prefix.
pub(super) struct Listing {
    place: Arc<Place>,
    objects: Vec<Found>,
    /// Whether the one object is what the prefix names, and not below it.
    alone: bool,
}

/// An object as it was found.
struct Found {
    /// Its whole key.
    key: String,
    /// Its key below the prefix.
    below: String,
    size: u64,
    etag: String,
    /// What the manifest says of it.
    sha256: Option<Sha256>,
}

/// What is there, as it is now.
///
/// # Errors
/// That the store refuses, that nothing is there, or half a dataset.
pub(super) async fn list(bucket: &Bucket, stores: &Stores) -> Result<Listing, DatasetError> {
    let store = stores.of(bucket)?;
    let place = Arc::new(Place { store, bucket: bucket.bucket.clone(), handle: Handle::current() });
    let below = bucket.below();
    for _ in 0..TRIES {
        let keys = Keys { prefix: below.clone(), ..Keys::default() };
        let listed = place.store.list(&place.bucket, &keys).await.map_err(|error| failed(&error))?;
        if let Some(folder) = under_way(&below, &listed) {
            let what = if folder.is_empty() { "it".to_owned() } else { format!("`{folder}`") };
            return Err(half(bucket, &format!("the load into {what} is not over")));
        }
        let Some(manifest) = said(&place, &below, &listed).await? else { continue };
        let objects = found(&place, &below, listed, manifest.as_ref()).await?;
        if let Some(manifest) = &manifest {
            whole(bucket, manifest, &objects)?;
        }
        if !objects.is_empty() {
            return Ok(Listing { place, objects, alone: false });
        }
        return single(bucket, place).await;
    }
    Err(half(bucket, "it changes while it is listed"))
}

fn failed(error: &ObjectError) -> DatasetError {
    let mut made = DatasetError::new(ErrorKind::Source, error.to_string());
    made.hint.clone_from(&error.parts().hint);
    made
}

fn half(bucket: &Bucket, why: &str) -> DatasetError {
    let text = format!("{} is half a dataset: {why}", bucket.shown());
    let hint = "wait until the load into it is over; carry on with an interrupted one, or delete its `.anole/previous.json` if \
                nobody will";
    DatasetError::new(ErrorKind::Source, text).hint(hint)
}

/// The folder below the prefix, or the prefix itself, into which a load is under way: it has what the manifest said before,
/// and no manifest.
fn under_way<'a>(below: &str, listed: &'a [Object]) -> Option<&'a str> {
    let folder = |entry: &'a Object, name: &str| {
        let folder = entry.key.strip_prefix(below)?.strip_suffix(name)?;
        (folder.is_empty() || folder.ends_with('/')).then_some(folder)
    };
    let whole: HashSet<&str> = listed.iter().filter_map(|entry| folder(entry, manifest::KEY)).collect();
    listed.iter().filter_map(|entry| folder(entry, PREVIOUS)).find(|folder| !whole.contains(folder))
}

/// What the manifest says that was there when the list was made. `None` where it is another one by now.
async fn said(place: &Place, below: &str, listed: &[Object]) -> Result<Option<Option<Manifest>>, DatasetError> {
    let entry = |key: &str| listed.iter().find(|entry| entry.key.strip_prefix(below) == Some(key));
    let Some(entry) = entry(manifest::KEY) else { return Ok(Some(None)) };
    let download = match place.store.get(&place.bucket, &entry.key, None).await {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other.map_err(|error| failed(&error))?,
    };
    if download.head.etag != entry.etag {
        return Ok(None);
    }
    let key = format!("{}/{} at {}", place.bucket, entry.key, place.store.host());
    let bytes = download.bytes(LARGEST).await.map_err(|error| DatasetError::io(ErrorKind::Source, &key, error))?;
    let unread = |why: &DatasetError| tracing::warn!("{key} is not used: {why}");
    Ok(Some(Manifest::parse(&bytes).inspect_err(unread).ok()))
}

/// The objects of the list that are data, with what the manifest knows of them.
async fn found(
    place: &Place,
    below: &str,
    listed: Vec<Object>,
    manifest: Option<&Manifest>,
) -> Result<Vec<Found>, DatasetError> {
    let known: HashMap<&str, &manifest::Listed> =
        manifest.iter().flat_map(|manifest| &manifest.objects).map(|one| (one.key.as_str(), one)).collect();
    let known = &known;
    let looks = listed.into_iter().filter_map(|entry| {
        let name = entry.key.strip_prefix(below).filter(|name| is_data(name, entry.size))?.to_owned();
        Some(async move {
            let is = |etag: &str| known.get(name.as_str()).filter(|one| one.etag.as_deref() == Some(etag));
            if let Some(one) = is(&entry.etag) {
                let (size, sha256) = (one.size, Some(one.sha256));
                return Ok(Found { key: entry.key, below: name, size, etag: entry.etag, sha256 });
            }
            if place.store.lists_whole() {
                return Ok(Found { key: entry.key, below: name, size: entry.size, etag: entry.etag, sha256: None });
            }
            let head = place.store.head(&place.bucket, &entry.key).await.map_err(|error| failed(&error))?;
            let sha256 = is(&head.etag).map(|one| one.sha256);
            Ok::<_, DatasetError>(Found { key: entry.key, below: name, size: head.size, etag: head.etag, sha256 })
        })
    });
    futures_util::stream::iter(looks).buffered(SIDE_BY_SIDE).try_collect().await
}

/// Whether an object is data: not a loader's, and not a mark that stands for a folder.
fn is_data(below: &str, size: u64) -> bool {
    let own = below.split('/').rev().skip(1).any(|folder| folder == manifest::FOLDER);
    !(own || below.is_empty() || (below.ends_with('/') && size == 0))
}

/// That all is there that the manifest lists.
fn whole(bucket: &Bucket, manifest: &Manifest, objects: &[Found]) -> Result<(), DatasetError> {
    let there: HashSet<&str> = objects.iter().map(|one| one.below.as_str()).collect();
    let missing: Vec<&str> =
        manifest.objects.iter().map(|one| one.key.as_str()).filter(|key| !there.contains(key)).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => {
            let text = format!("{} is not whole: its manifest lists {}", bucket.shown(), text::some(missing));
            let hint = "load it again: what is missing is found, and sent";
            Err(DatasetError::new(ErrorKind::Source, format!("{text}, and it is not there")).hint(hint))
        }
    }
}

/// The one object that the prefix names, where nothing is below it.
async fn single(bucket: &Bucket, place: Arc<Place>) -> Result<Listing, DatasetError> {
    let key = bucket.prefix.trim_matches('/').to_owned();
    let nothing = || DatasetError::new(ErrorKind::Source, format!("{}: nothing is there", bucket.shown()));
    if key.is_empty() {
        return Err(nothing());
    }
    let head = match place.store.head(&place.bucket, &key).await {
        Err(error) if error.is_not_found() => return Err(nothing()),
        other => other.map_err(|error| failed(&error))?,
    };
    let name = key.rsplit('/').next().unwrap_or_default().to_owned();
    let object = Found { below: name, key, size: head.size, etag: head.etag, sha256: None };
    Ok(Listing { place, objects: vec![object], alone: true })
}

impl Listing {
    /// What tells whether it is still the same: keys, sizes and entity tags.
    pub(super) fn fingerprint(&self) -> Sha256 {
        let mut all = digest::start(b"objects 1\0");
        for one in &self.objects {
            all.update(format!("{}\0{}\0{}\0", one.below, one.size, one.etag).as_bytes());
        }
        Sha256::finish(all)
    }

    /// Its entries; or the file that its one object is, if that is an archive that is to be unpacked.
    ///
    /// # Errors
    /// That it cannot be read.
    pub(super) async fn gathered(
        self,
        job: &Job,
        staging: &Arc<Staging>,
        watch: &Arc<dyn Watch>,
    ) -> Result<Gathered, DatasetError> {
        let Self { place, objects, alone } = self;
        let entries = objects.into_iter().map(|one| {
            let Found { key, below, size, etag, sha256 } = one;
            let stored = Stored { place: Arc::clone(&place), key, size, etag, sha256 };
            (Entry { key: below, size, content: Content::Other(Arc::new(stored.clone())) }, stored)
        });
        let entries: Vec<(Entry, Stored)> = entries.collect();
        if alone
            && job.extract == Extract::Auto
            && let Some((entry, stored)) = entries.first()
        {
            let (looked, name) = (stored.clone(), entry.key.clone());
            if super::blocking(move || extract::may_be_archive(&looked, &name)).await? {
                let (path, sha256) = fetch(stored, job, staging, watch).await?;
                return Ok(Gathered::File { path, name: entry.key.clone(), sha256: Some(sha256) });
            }
        }
        Ok(Gathered::Entries(entries.into_iter().map(|(entry, _)| entry).collect()))
    }
}

/// Fetches an object into the staging folder, or carries on with what came before of the same object.
async fn fetch(
    stored: &Stored,
    job: &Job,
    staging: &Arc<Staging>,
    watch: &Arc<dyn Watch>,
) -> Result<(PathBuf, Sha256), DatasetError> {
    if stored.size > job.limits.bytes {
        let (has, most) = (text::bytes(stored.size), text::bytes(job.limits.bytes));
        let text = format!("{} has {has}, and {most} are allowed", super::content::Open::origin(stored));
        return Err(DatasetError::new(ErrorKind::Limit, text).hint("raise `bytes:` of its `limits:`"));
    }
    let (stored, staging, watch) = (stored.clone(), Arc::clone(staging), Arc::clone(watch));
    super::blocking(move || {
        let folder = staging.download(&Sha256::of(format!("stored\0{}", stored.named()).as_bytes()))?;
        super::download::copied(&stored, &folder, watch.as_ref())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_folders_and_what_a_loader_wrote_are_no_data() {
        for (key, size, data) in [
            ("a", 0, true),
            ("a/b", 1, true),
            ("a/.anole", 1, true),
            ("", 0, false),
            ("a/", 0, false),
            (".anole/manifest.json", 1, false),
            ("sub/.anole/manifest.json", 1, false),
            ("x.anole/a", 1, true),
        ] {
            assert_eq!(is_data(key, size), data, "{key}");
        }
    }
}
