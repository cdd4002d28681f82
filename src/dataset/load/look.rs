//! What is there: the objects below the prefix, and what the last manifest says of them.
//!
//! The prefix is listed in pieces side by side. The pieces are cut at the wanted keys, a thousand or a multiple of it each:
//! where all is as it should be, every page of the store is exactly a page of ours.
//!
//! What is wanted is known late: files are looked at and digests taken first. So the look may be begun meanwhile, as an
//! [`Ahead`]: the first pages come beside the manifest, and the rest is cut at what that lists. One that has become old is taken
//! again, and so is one by which objects would be deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
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
    /// The objects, sorted; their keys are those below the prefix. The loader's own are not among them.
    pub(super) objects: Vec<Entry>,
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
    /// What a list says.
    pub(super) fn of(entries: Vec<Entry>, prefix: &str) -> Self {
        let mut seen = Self::default();
        for mut entry in entries {
            if !entry.key.starts_with(prefix) {
                continue;
            }
            entry.key.drain(..prefix.len());
            let below = &entry.key;
            seen.previous |= below == PREVIOUS;
            let mut folders = below.match_indices(FOLDER).map(|(at, _)| &below[..at]);
            if let Some(other) = folders.find(|before| before.ends_with('/')) {
                seen.others.insert(other.to_owned());
            }
            if !below.starts_with(FOLDER) {
                seen.objects.push(entry);
            }
        }
        seen
    }

    /// What several lists say.
    pub(super) fn of_all(lists: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for list in lists {
            all.objects.extend(list.objects);
            all.others.extend(list.others);
            all.previous |= list.previous;
        }
        if !all.objects.is_sorted_by(|one, next| one.key < next.key) {
            all.objects.sort_by(|one, other| one.key.cmp(&other.key));
            all.objects.dedup_by(|one, other| one.key == other.key);
        }
        all
    }

    /// What the list says of one.
    pub(super) fn listed(&self, below: &str) -> Option<&Entry> {
        let at = self.objects.binary_search_by(|entry| entry.key.as_str().cmp(below));
        at.ok().map(|at| &self.objects[at])
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
        let known = AtomicBool::new(false);
        let manifest = async {
            let bytes = self.read(MANIFEST).await?;
            known.store(true, Ordering::Relaxed);
            Ok(bytes)
        };
        let (bytes, (mut pages, rest)) = futures_util::future::try_join(manifest, self.pages_until(&known)).await?;
        let last = bytes.as_deref().and_then(read);
        if rest.is_some() {
            let Some(last) = &last else { return Ok(Found::More(bytes.is_some())) };
            let keys: Vec<&str> = last.objects.iter().map(|one| one.key.as_str()).collect();
            pages.extend(self.list(rest, &keys).await?);
        }
        let mut seen = Seen { ahead: true, ..Seen::of_all(pages) };
        self.remember(&mut seen, bytes.is_some(), last).await?;
        Ok(Found::All(seen))
    }

    /// Pages of the list, one after the other, until it is `known` where to cut the rest; and the key after which that begins,
    /// if there is more.
    async fn pages_until(&self, known: &AtomicBool) -> Result<(Vec<Seen>, Option<String>), LoadError> {
        let (mut pages, mut keys) = (Vec::new(), Keys { prefix: self.prefix.clone(), ..Keys::default() });
        loop {
            let page = self.store.list_page(&self.bucket, &keys).await.map_err(|error| self.unlisted(error))?;
            let last = page.objects.last().map(|entry| entry.key.clone());
            let more = page.more && last > keys.after;
            pages.push(Seen::of(page.objects, &self.prefix));
            if !more {
                return Ok((pages, None));
            }
            if known.load(Ordering::Relaxed) {
                return Ok((pages, last));
            }
            keys.after = last;
        }
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
        Ok(Seen::of_all(self.list(None, keys).await?))
    }

    /// What lists of the pieces after a key say, in their order.
    async fn list(&self, after: Option<String>, keys: &[&str]) -> Result<Vec<Seen>, LoadError> {
        let mut pieces = self.pieces(after, keys).into_iter().enumerate();
        // Tasks, and not only futures: a page is read by the processor that has nothing else to do.
        let mut found = BTreeMap::new();
        let mut lists: JoinSet<Result<(usize, Seen), ObjectError>> = JoinSet::new();
        loop {
            while lists.len() < SIDE_BY_SIDE
                && let Some((at, keys)) = pieces.next()
            {
                let (store, bucket) = (self.store.clone(), self.bucket.clone());
                lists.spawn(async move { Ok((at, Seen::of(store.list(&bucket, &keys).await?, &keys.prefix))) });
            }
            let Some(done) = lists.join_next().await else { return Ok(found.into_values().collect()) };
            let (at, seen) = joined(done)?.map_err(|error| self.unlisted(error))?;
            found.insert(at, seen);
        }
    }

    fn unlisted(&self, error: ObjectError) -> LoadError {
        let hint = || {
            let bucket = &self.bucket;
            format!("the store has no bucket `{bucket}`: name one that is there, or declare it under `buckets:`")
        };
        LoadError::from(if error.is_not_found() { error.hint(hint()) } else { error })
    }

    pub(super) async fn read(&self, below: &str) -> Result<Option<Bytes>, LoadError> {
        match self.store.read(&self.bucket, &self.key(below), LARGEST).await {
            Ok(bytes) => Ok(Some(bytes)),
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
