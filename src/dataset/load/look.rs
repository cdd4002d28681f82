//! What is there: the objects below the prefix, and what the last manifest says of them.
//!
//! The prefix is listed in pieces side by side. The pieces are cut at the wanted keys, a thousand or a multiple of it each:
//! where all is as it should be, every page of the store is exactly a page of ours.
//!
//! What is wanted is known late: files are looked at and digests taken first. So the look may be begun meanwhile, as an
//! [`Ahead`]: the first page comes with the manifest, and the rest is cut at what that lists. One that has become old is taken
//! again, and so is one by which objects would be deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::send::joined;
use super::{FOLDER, LoadError, Loader, MANIFEST, Manifest, Object, Options, PREVIOUS, Place, Unwatched};
use crate::object::{Entry, Keys, ObjectError};

/// How many objects S3 lists at a time.
const PAGE: usize = 1000;

/// How many lists are under way at a time.
const SIDE_BY_SIDE: usize = 8;

/// The largest manifest that is read: some millions of objects.
const LARGEST: u64 = 1 << 30;

/// How long a look counts that was begun ahead, from its end.
pub(super) const FRESH: Duration = Duration::from_secs(10);

/// A look that was begun before it was known what is wanted.
#[derive(Debug)]
pub(in crate::dataset) struct Ahead {
    ended: Instant,
    found: Result<Found, LoadError>,
}

/// What it found.
#[derive(Debug)]
enum Found {
    /// All that there is.
    All(Seen),
    /// More than a page, and no manifest that says where to cut the rest; whether there is one at all.
    More(bool),
}

/// Looks at a place, for a load that is to come soon; whatever goes wrong is for that to say.
pub(in crate::dataset) async fn ahead(place: &Place) -> Ahead {
    let loader = Loader::new(place, Options::default(), Arc::new(Unwatched));
    let found = loader.look_ahead().await;
    Ahead { ended: Instant::now(), found }
}

#[cfg(test)]
impl Ahead {
    /// As if it had ended so much earlier.
    pub(super) fn age(&mut self, by: Duration) {
        self.ended = self.ended.checked_sub(by).expect("this machine has run for longer");
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The objects, by their keys below the prefix; the loader's own are not among them.
    pub(super) objects: BTreeMap<String, Entry>,
    /// The prefixes below this one that are other datasets': each has a folder of the loader's.
    pub(super) others: BTreeSet<String>,
    /// Whether there is a manifest.
    pub(super) manifest: bool,
    /// Whether it can be read: then it is the last one.
    pub(super) complete: bool,
    /// Whether the one before is kept beside it.
    pub(super) previous: bool,
    /// The manifest, or else the one before.
    pub(super) last: Option<Manifest>,
    /// Whether this was seen before it was known what is wanted.
    pub(super) ahead: bool,
}

impl Seen {
    /// Adds what a list says.
    pub(super) fn add(&mut self, entries: Vec<Entry>, prefix: &str) {
        for entry in entries {
            let Some(below) = entry.key.strip_prefix(prefix).map(str::to_owned) else { continue };
            self.previous |= below == PREVIOUS;
            let mut folders = below.match_indices(FOLDER).map(|(at, _)| &below[..at]);
            if let Some(other) = folders.find(|before| before.ends_with('/')) {
                self.others.insert(other.to_owned());
            }
            if !below.starts_with(FOLDER) {
                self.objects.insert(below, entry);
            }
        }
    }

    /// Whether something below the prefix is another dataset's.
    pub(super) fn is_others(&self, below: &str) -> bool {
        self.others.iter().any(|other| below.starts_with(other.as_str()))
    }
}

impl Loader {
    pub(super) async fn look(&self, wanted: &[Object], ahead: Option<Ahead>) -> Result<Seen, LoadError> {
        let found = ahead.filter(|ahead| ahead.ended.elapsed() < FRESH).map(|ahead| ahead.found).transpose()?;
        let none_there = matches!(found, Some(Found::More(false)));
        if let Some(Found::All(seen)) = found {
            return Ok(seen);
        }
        let keys: Vec<&str> = wanted.iter().map(|object| object.key.as_str()).collect();
        let manifest = async { if none_there { Ok(None) } else { self.read(MANIFEST).await } };
        // Most loads find one; a look for it that finds none is one request too many.
        let (mut seen, bytes) = futures_util::future::try_join(self.listed(&keys), manifest).await?;
        let (manifest, last) = (bytes.is_some(), bytes.as_deref().and_then(read));
        self.remember(&mut seen, manifest, last).await?;
        Ok(seen)
    }

    async fn look_ahead(&self) -> Result<Found, LoadError> {
        let all = Keys { prefix: self.prefix.clone(), ..Keys::default() };
        let first = async { self.store.list_page(&self.bucket, &all).await.map_err(|error| self.unlisted(error)) };
        let (bytes, first) = futures_util::future::try_join(self.read(MANIFEST), first).await?;
        let mut seen = Seen { ahead: true, ..Seen::default() };
        let after = first.objects.last().map(|entry| entry.key.clone());
        seen.add(first.objects, &self.prefix);
        let last = bytes.as_deref().and_then(read);
        if first.more {
            let Some(last) = &last else { return Ok(Found::More(bytes.is_some())) };
            let keys: Vec<&str> = last.objects.iter().map(|one| one.key.as_str()).collect();
            self.list(&mut seen, after, &keys).await?;
        }
        self.remember(&mut seen, bytes.is_some(), last).await?;
        Ok(Found::All(seen))
    }

    /// Adds what the manifest says, or else the one before.
    async fn remember(&self, seen: &mut Seen, manifest: bool, last: Option<Manifest>) -> Result<(), LoadError> {
        (seen.manifest, seen.complete, seen.last) = (manifest, last.is_some(), last);
        if !seen.complete && seen.previous {
            seen.last = self.read(PREVIOUS).await?.as_deref().and_then(read);
        }
        Ok(())
    }

    /// The objects below the prefix, listed in pieces cut at these keys, which are sorted; nothing is known of them yet.
    pub(super) async fn listed(&self, keys: &[&str]) -> Result<Seen, LoadError> {
        let mut seen = Seen::default();
        self.list(&mut seen, None, keys).await?;
        Ok(seen)
    }

    /// Adds the objects after a key.
    async fn list(&self, seen: &mut Seen, after: Option<String>, keys: &[&str]) -> Result<(), LoadError> {
        let mut pieces = self.pieces(after, keys).into_iter();
        // Tasks, and not only futures: a page takes as long to read as to come.
        let mut lists: JoinSet<Result<Vec<Entry>, ObjectError>> = JoinSet::new();
        loop {
            while lists.len() < SIDE_BY_SIDE
                && let Some(keys) = pieces.next()
            {
                let (store, bucket) = (self.store.clone(), self.bucket.clone());
                lists.spawn(async move { store.list(&bucket, &keys).await });
            }
            let Some(done) = lists.join_next().await else { return Ok(()) };
            let entries = joined(done)?.map_err(|error| self.unlisted(error))?;
            seen.add(entries, &self.prefix);
        }
    }

    fn unlisted(&self, error: ObjectError) -> LoadError {
        let hint = || {
            let bucket = &self.bucket;
            format!("the store has no bucket `{bucket}`: name one that is there, or declare it under `buckets:`")
        };
        LoadError::from(if error.is_not_found() { error.hint(hint()) } else { error })
    }

    pub(super) async fn read(&self, below: &str) -> Result<Option<Vec<u8>>, LoadError> {
        match self.store.read(&self.bucket, &self.key(below), LARGEST).await {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(error) if error.is_not_found() && error.parts().code.as_deref() != Some("NoSuchBucket") => Ok(None),
            Err(error) => Err(self.unlisted(error)),
        }
    }

    /// The prefix after a key, in pieces.
    fn pieces(&self, after: Option<String>, keys: &[&str]) -> Vec<Keys> {
        let begun = after.as_ref().map_or(0, |after| keys.partition_point(|key| self.key(key) <= *after));
        let keys = &keys[begun..];
        let pages = keys.len().div_ceil(PAGE).max(1);
        let piece = pages.div_ceil(SIDE_BY_SIDE * 2) * PAGE;
        // The manifest is the first on the first page.
        let own = usize::from(after.is_none());
        let (first, rest) = keys.split_at(keys.len().min(piece - own));
        let pieces = std::iter::once(first).chain(rest.chunks(piece));
        let cuts: Vec<String> = pieces.filter_map(|some| Some(self.key(some.last()?))).collect();
        // The last piece is open: what lies after all that is wanted is there too.
        let from = std::iter::once(after).chain(cuts.iter().map(|cut| Some(cut.clone())));
        let until = cuts.iter().take(cuts.len().saturating_sub(1)).map(|cut| Some(cut.clone())).chain([None]);
        from.zip(until).map(|(after, until)| Keys { prefix: self.prefix.clone(), after, until }).collect()
    }
}

/// A manifest; one that cannot be read is as none, and the log says why.
fn read(bytes: &[u8]) -> Option<Manifest> {
    Manifest::parse(bytes).inspect_err(|why| tracing::warn!("the manifest in the bucket is not used: {why}")).ok()
}
