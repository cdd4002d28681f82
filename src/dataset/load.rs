//! The loader: makes what is below a prefix of a bucket what is wanted there, and says so in a manifest.
//!
//! In: the objects that are wanted, each with size, SHA-256 and content that can be opened again; a bucket and a prefix;
//! the manifest, but for its objects. Out: a [`Report`], or the first thing that went wrong, with the object's name.
//!
//! ```text
//! look ──▶ decide ──▶ check ──▶ invalidate ──▶ send ──▶ verify ──▶ delete extra ──▶ tidy ──▶ write the manifest
//! (list)   (pure)   (digests)   (only if anything is to change)     (only if told)
//! ```
//!
//! **The rule of the manifest.** A reader that finds `.anole/manifest.json` finds below the prefix exactly what it lists.
//! So it is taken away *before* the first request that changes an object, and written after the last one: between the two
//! there is none, whatever happens to this process. What it said is kept beside it, as `.anole/previous.json`, from which
//! an interrupted load is carried on: an object whose entity tag is still the listed one still has the listed content.
//! The copy is made before the original goes; a crash between the two leaves both, and both are true. Where there was no
//! manifest, the copy is one without objects: so the first load shows too that it is under way.
//!
//! Invariants:
//! - What is sent has the SHA-256 that was wanted, or it is not there: content that changed since its digest was taken
//!   fails the load. What arrived is what was sent: the store checks it, by S3 by the SHA-256 that the request is signed
//!   with, by Swift by its MD5; and entity tags that are MD5s are compared, of an object in parts that of the first.
//! - Nothing outside the prefix is written or deleted, and nothing of another dataset whose prefix lies below this one.
//! - Extra objects go only after all wanted ones are there.
//! - What the same store has already, unchanged, the store copies by itself if it may: see [`copy`].
//! - Memory is bounded by [`Options::memory`], whatever the number and the size of the objects.
//! - One load at a time has a prefix: who calls sees to that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::content::Object;
use super::manifest::{Listed, Manifest};
use super::{Progress, Stage, Watch};
use crate::object::{ObjectError, ObjectErrorKind, PutOptions, Store, Upload, Victim};

mod audit;
mod buffers;
mod copy;
mod decide;
mod local;
mod look;
mod send;
mod verify;

#[cfg(test)]
mod tests;

pub use audit::{Audit, Reading, audit, unload};
use buffers::Buffers;
use decide::Verdict;
pub(super) use local::LocalCopy;
use look::Seen;
pub(super) use look::{Ahead, ahead};

/// The folder below the prefix that is the loader's own.
pub const FOLDER: &str = ".anole/";

/// The manifest's key below the prefix.
pub const MANIFEST: &str = super::manifest::KEY;

/// Where the last manifest is kept while there is none.
pub const PREVIOUS: &str = ".anole/previous.json";

/// The key of an object's metadata that holds the SHA-256 of its content.
pub const SHA256: &str = "sha256";

/// How many requests that delete are under way at a time.
const DELETIONS: usize = 8;

/// Where the objects go.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store.
    pub store: Store,
    /// The bucket.
    pub bucket: String,
    /// The prefix, with or without the slash at its end; empty for the whole bucket.
    pub prefix: String,
}

/// How it is done.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many requests that carry data are under way at a time.
    pub transfers: usize,
    /// Objects larger than this go in parts, in bytes.
    pub threshold: u64,
    /// How large a part is at least, in bytes; stores ask for 5 MiB or more.
    pub part_size: u64,
    /// How much content is in memory at a time, in bytes. At least one object of the threshold's size fits.
    pub memory: u64,
    /// The largest object that the store is asked to copy in one request, in bytes: S3 takes 5 GB.
    pub copy_whole: u64,
    /// Whether objects below the prefix that are not wanted are deleted.
    pub delete_extra: bool,
    /// Whether every object is read back.
    pub verify: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            transfers: 64,
            threshold: 32 << 20,
            part_size: 16 << 20,
            memory: 192 << 20,
            copy_whole: 5_000_000_000,
            delete_extra: false,
            verify: false,
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How many objects are wanted.
    pub wanted: u64,
    /// How many of them were sent.
    pub sent: u64,
    /// How many of them the store copied by itself.
    #[serde(default)]
    pub copied: u64,
    /// How many bytes were sent.
    pub sent_bytes: u64,
    /// How many parts were there from an interrupted load.
    pub resumed_parts: u64,
    /// How many extra objects were deleted.
    pub deleted: u64,
    /// How many unfinished uploads were given up.
    pub aborted: u64,
}

/// Why a load failed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store refused something that is about no one object.
    #[error("{0}")]
    Store(ObjectError),
    /// An object could not be sent or read back.
    #[error("object `{key}` of {origin}: {source}")]
    Object {
        /// Its whole key.
        key: String,
        /// Where its content is from.
        origin: String,
        /// Why.
        source: ObjectError,
    },
    /// What is wanted cannot be: a key twice, or the loader's own, or another dataset's.
    #[error("{0}")]
    Wanted(String),
    /// The manifest cannot be made.
    #[error("the manifest: {0}")]
    Manifest(String),
    /// It was told to stop.
    #[error("stopped; what was sent is kept, and the next load carries on")]
    Stopped,
}

impl LoadError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        let (Self::Object { source, .. } | Self::Store(source)) = self else { return None };
        let later = "what was sent is kept: load again when the store answers, and only the rest is sent";
        source.parts().hint.as_deref().or(match source.kind() {
            ObjectErrorKind::Unavailable | ObjectErrorKind::Connection => Some(later),
            _ => None,
        })
    }
}

impl From<ObjectError> for LoadError {
    fn from(error: ObjectError) -> Self {
        Self::Store(error)
    }
}

/// What every part of a load uses.
struct Loader {
    store: Store,
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
    options: Options,
    /// What may be in memory, in KiB.
    memory: Arc<Semaphore>,
    buffers: Buffers,
    /// Requests that carry data.
    slots: Arc<Semaphore>,
    /// Whether the store refused to copy an object: then it is not asked for the others.
    refused: AtomicBool,
    watch: Arc<dyn Watch>,
    /// The uploads that objects were made of. A store whose answers lag may still call one of them unfinished.
    made: Mutex<BTreeSet<String>>,
    /// Where there is a copy of the manifest, if there is one.
    local: Option<LocalCopy>,
}

impl Loader {
    fn new(place: &Place, options: Options, watch: Arc<dyn Watch>) -> Self {
        let prefix = match place.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Self {
            store: place.store.clone(),
            bucket: place.bucket.clone(),
            prefix,
            options,
            memory: Arc::new(Semaphore::new(kib(options.memory.max(options.threshold)))),
            buffers: Buffers::default(),
            slots: Arc::new(Semaphore::new(options.transfers.max(1))),
            refused: AtomicBool::new(false),
            watch,
            made: Mutex::default(),
            local: None,
        }
    }

    fn key(&self, below: &str) -> String {
        format!("{}{below}", self.prefix)
    }

    fn go_on(&self) -> Result<(), LoadError> {
        if self.watch.stopped() { Err(LoadError::Stopped) } else { Ok(()) }
    }

    fn of(&self, wanted: &Object, source: ObjectError) -> LoadError {
        LoadError::Object { key: self.key(&wanted.key), origin: wanted.content.origin(), source }
    }
}

/// A size in KiB, as permits of a semaphore: at least one.
fn kib(bytes: u64) -> usize {
    usize::try_from(bytes.div_ceil(1024)).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS)
}

struct Unwatched;

impl Watch for Unwatched {
    fn tell(&self, _: Progress) {}
}

/// Makes what is below the prefix what is wanted. `of` is the manifest, but for its objects.
///
/// # Errors
/// The first thing that went wrong; there is no manifest then, unless nothing was changed yet. What was sent is kept.
pub async fn load(
    place: &Place,
    wanted: &[Object],
    of: &Manifest,
    options: Options,
    watch: Arc<dyn Watch>,
) -> Result<Report, LoadError> {
    load_from(place, wanted.to_vec(), of, (options, None), watch).await
}

/// As [`load`], with a look at the place that was begun before.
///
/// # Errors
/// As [`load`].
pub(super) async fn load_from(
    place: &Place,
    wanted: Vec<Object>,
    of: &Manifest,
    (options, ahead): (Options, Option<Ahead>),
    watch: Arc<dyn Watch>,
) -> Result<Report, LoadError> {
    let sorted = sorted(wanted)?;
    let local = ahead.as_ref().and_then(|ahead| ahead.local.clone());
    let loader = Arc::new(Loader { local, ..Loader::new(place, options, watch) });
    let mut seen = loader.look(&sorted, ahead).await?;
    let mut decided = decide::decide(&sorted, &seen, &loader.prefix, options.threshold);
    if seen.ahead && options.delete_extra && !decided.extra.is_empty() {
        // By the latest look: meanwhile somebody may have begun to load another dataset below this one.
        seen = loader.look(&sorted, None).await?;
        decided = decide::decide(&sorted, &seen, &loader.prefix, options.threshold);
    }
    decide::apart(&sorted, &seen, &loader.prefix).map_err(LoadError::Wanted)?;
    let mut report = Report { wanted: sorted.len() as u64, ..Report::default() };
    let extra = if options.delete_extra { decided.extra } else { Vec::new() };
    if !options.verify && extra.is_empty() && is_done(&seen, &decided.verdicts, of) {
        return Ok(report);
    }
    let (mut etags, mut missing) = loader.check(&sorted, &seen, decided.verdicts).await?;
    if options.verify {
        // What is damaged is sent again: its content is at hand.
        for damaged in loader.read_back(&sorted, &etags).await? {
            etags.remove(&damaged);
            missing.push(damaged);
        }
    }
    let uploads = match missing.iter().any(|at| sorted[*at].size > options.threshold) {
        true => loader.own_uploads(&sorted, &seen).await?,
        false => Vec::new(),
    };
    let changing = !missing.is_empty() || !extra.is_empty();
    if changing {
        loader.invalidate(&seen, of).await?;
        let again: Vec<usize> = missing.clone();
        loader.send_all(&sorted, missing, &uploads, (&mut etags, &mut report)).await?;
        if options.verify {
            let sent: BTreeMap<_, _> = again.iter().filter_map(|at| Some((*at, etags.get(at)?.clone()))).collect();
            if let Some(damaged) = loader.read_back(&sorted, &sent).await?.first() {
                return Err(loader.unlike(&sorted[*damaged]));
            }
        }
        report.deleted = loader.delete_extra(&extra).await?;
    }
    // Before the manifest: with one, the next load has no reason to look for them.
    if changing || !seen.complete {
        report.aborted = loader.tidy(&sorted, &seen).await?;
    }
    loader.finish(&sorted, &etags, (&seen, changing), of).await?;
    Ok(report)
}

/// What is wanted, by key; refused where it cannot be.
fn sorted(mut sorted: Vec<Object>) -> Result<Arc<[Object]>, LoadError> {
    sorted.sort_by(|one, other| one.key.cmp(&other.key));
    for pair in sorted.windows(2) {
        if pair[0].key == pair[1].key {
            let (one, other) = (pair[0].content.origin(), pair[1].content.origin());
            return Err(LoadError::Wanted(format!("`{}` is wanted twice: of {one}, and of {other}", pair[0].key)));
        }
    }
    match sorted.iter().find(|object| object.key.is_empty() || object.key.starts_with(FOLDER)) {
        Some(object) => Err(LoadError::Wanted(format!("no object can have the key `{}` below a prefix", object.key))),
        None => Ok(sorted.into()),
    }
}

/// Whether all is there and the manifest says so, as most often.
fn is_done(seen: &Seen, verdicts: &[Verdict<'_>], of: &Manifest) -> bool {
    let last = seen.last.as_ref().filter(|_| seen.complete && !seen.previous);
    // What is kept is in the manifest, each under a key of its own.
    last.is_some_and(|last| is_of(last, of) && last.objects.len() == verdicts.len())
        && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Kept(_)))
}

/// Whether a manifest is of the same sources and transforms.
fn is_of(manifest: &Manifest, of: &Manifest) -> bool {
    (manifest.version, &manifest.source, &manifest.transform) == (of.version, &of.source, &of.transform)
}

/// Whether a manifest says just this.
fn says(manifest: &Manifest, wanted: &[Object], etags: &BTreeMap<usize, String>, of: &Manifest) -> bool {
    let is_same = |(at, (one, object)): (usize, (&Listed, &Object))| {
        let etag = etags.get(&at).is_some_and(|etag| *etag == one.etag.as_deref().unwrap_or_default());
        etag && (&one.key, one.size, one.sha256) == (&object.key, object.size, object.sha256)
    };
    is_of(manifest, of)
        && manifest.objects.len() == wanted.len()
        && manifest.objects.iter().zip(wanted).enumerate().all(is_same)
}

fn bytes_of(manifest: &Manifest) -> Result<Bytes, LoadError> {
    manifest.bytes().map(Bytes::from).map_err(|error| LoadError::Manifest(error.to_string()))
}

impl Loader {
    /// Takes the manifest away, and keeps what it said. See the rule above.
    async fn invalidate(&self, seen: &Seen, of: &Manifest) -> Result<(), LoadError> {
        let (manifest, previous) = (self.key(MANIFEST), self.key(PREVIOUS));
        if seen.complete {
            self.store.copy((&self.bucket, &manifest), (&self.bucket, &previous), None).await?;
        } else if !seen.previous {
            let nothing = Manifest { objects: Vec::new(), ..of.clone() };
            self.put_manifest(&previous, &bytes_of(&nothing)?).await?;
        }
        if seen.manifest {
            self.store.delete(&self.bucket, &[Victim::object(manifest)], 1, &|_| ()).await?;
        }
        Ok(())
    }

    async fn put_manifest(&self, key: &str, bytes: &Bytes) -> Result<String, LoadError> {
        let options = PutOptions {
            sum: Some(self.store.sum(bytes)),
            content_type: Some("application/json".to_owned()),
            ..PutOptions::default()
        };
        Ok(self.store.put(&self.bucket, key, bytes, &options).await?)
    }

    async fn delete_extra(&self, extra: &[String]) -> Result<u64, LoadError> {
        self.go_on()?;
        if extra.is_empty() {
            return Ok(0);
        }
        let victims: Vec<_> = extra.iter().map(Victim::object).collect();
        self.watch.tell(Progress::Stage(Stage::Delete));
        self.watch.tell(Progress::Total { objects: victims.len() as u64, bytes: 0 });
        let tell = |count: usize| self.watch.tell(Progress::Objects(count as u64));
        self.store.delete(&self.bucket, &victims, DELETIONS, &tell).await?;
        Ok(victims.len() as u64)
    }

    /// Writes the manifest, if it is not there as it should be, and lets go of the one before.
    async fn finish(
        &self,
        wanted: &[Object],
        etags: &BTreeMap<usize, String>,
        (seen, invalid): (&Seen, bool),
        of: &Manifest,
    ) -> Result<(), LoadError> {
        if invalid || !seen.complete || !seen.last.as_ref().is_some_and(|last| says(last, wanted, etags, of)) {
            let listed = wanted.iter().enumerate().map(|(at, object)| {
                let missing = || LoadError::Manifest(format!("`{}` is not there", object.key));
                let etag = etags.get(&at).cloned().ok_or_else(missing)?;
                Ok(Listed::of(object, Some(etag).filter(|etag| !etag.is_empty())))
            });
            let manifest = Manifest { objects: listed.collect::<Result<Vec<_>, LoadError>>()?, ..of.clone() };
            self.go_on()?;
            let bytes = bytes_of(&manifest)?;
            let etag = self.put_manifest(&self.key(MANIFEST), &bytes).await?;
            self.remember(etag, bytes, &manifest).await;
        }
        if seen.previous || invalid {
            self.store.delete(&self.bucket, &[Victim::object(self.key(PREVIOUS))], 1, &|_| ()).await?;
        }
        Ok(())
    }

    /// The unfinished uploads that are this dataset's: those of wanted keys, and with extra objects deleted, all below
    /// the prefix that are no other dataset's.
    async fn own_uploads(&self, wanted: &[Object], seen: &Seen) -> Result<Vec<Upload>, LoadError> {
        let keys: BTreeSet<&str> = wanted.iter().map(|object| object.key.as_str()).collect();
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_own = |upload: &Upload| {
            let below = upload.key.strip_prefix(self.prefix.as_str());
            let extra = |below: &str| self.options.delete_extra && !seen.is_others(below);
            !made.contains(&upload.id) && below.is_some_and(|below| keys.contains(below) || extra(below))
        };
        self.uploads(&is_own).await
    }

    /// The unfinished uploads below the prefix; a store that has none of that sort has none.
    async fn uploads(&self, which: &(dyn Fn(&Upload) -> bool + Sync)) -> Result<Vec<Upload>, LoadError> {
        match self.store.uploads(&self.bucket, &self.prefix, which).await {
            Err(error) if error.kind() == ObjectErrorKind::Unsupported => Ok(Vec::new()),
            other => Ok(other?),
        }
    }

    /// Gives up the uploads that no object is made of. By Swift those are also the parts of objects that are gone.
    async fn tidy(&self, wanted: &[Object], seen: &Seen) -> Result<u64, LoadError> {
        let open = self.own_uploads(wanted, seen).await?;
        self.store.abort_all(&open).await?;
        Ok(open.len() as u64)
    }
}
