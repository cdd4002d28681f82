//! What is there: the objects below the prefix, and what the last manifest says of them.
//!
//! The prefix is listed in pieces side by side. The pieces are cut at the wanted keys, a thousand or a multiple of it each:
//! where all is as it should be, every page of the store is exactly a page of ours.
//!
//! What is wanted is known late: files are looked at and digests taken first. So the look may be begun meanwhile, as an
//! [`Ahead`]. Its list is cut at what the local copy of the manifest lists, and nothing else is read where the manifest is what the
//! copy says; without a copy the first page comes beside the manifest, which says where to cut the rest. A look ahead that has
//! become old is taken again, and so is one by which objects would be deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{try_join, try_join3};
use tokio::task::JoinSet;

use super::local::{LocalCopy, Recalled};
use super::send::joined;
use super::{FOLDER, LoadError, Loader, MANIFEST, Manifest, Object, Options, PREVIOUS, Place, Unwatched};
use crate::object::{Entry, Head, Keys, ObjectError};

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
    /// Where there is a copy of the manifest.
    pub(super) local: Option<LocalCopy>,
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
pub(in crate::dataset) async fn ahead(place: &Place, local: Option<LocalCopy>) -> Ahead {
    let loader = Loader { local, ..Loader::new(place, Options::default(), Arc::new(Unwatched)) };
    let found = loader.look_ahead().await;
    Ahead { ended: Instant::now(), found, local: loader.local }
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

/// A manifest, as far as it is there: whether it is, and what it says if it can be read.
type Last = (bool, Option<Manifest>);

impl Loader {
    pub(super) async fn look(&self, wanted: &[Object], ahead: Option<Ahead>) -> Result<Seen, LoadError> {
        let found = ahead.filter(|ahead| ahead.ended.elapsed() < FRESH).map(|ahead| ahead.found).transpose()?;
        let none_there = matches!(found, Some(Found::More(false)));
        if let Some(Found::All(seen)) = found {
            return Ok(seen);
        }
        let keys: Vec<&str> = wanted.iter().map(|object| object.key.as_str()).collect();
        let manifest = async { if none_there { Ok((false, None)) } else { self.read_manifest().await } };
        // Most loads find one; a look for it that finds none is one request too many.
        let (mut seen, last) = try_join(self.listed(&keys), manifest).await?;
        self.add_last(&mut seen, last).await?;
        Ok(seen)
    }

    async fn look_ahead(&self) -> Result<Found, LoadError> {
        let recalled = match &self.local {
            Some(local) => local.recall(self.named()).await,
            None => None,
        };
        match recalled {
            Some(recalled) => self.look_by(recalled).await,
            None => self.look_anew().await,
        }
    }

    /// By the local copy of the manifest: it says where to cut the list, and all else if the store says that it is one.
    async fn look_by(&self, recalled: Recalled) -> Result<Found, LoadError> {
        let Recalled { etag, cuts, manifest } = recalled;
        let size = manifest.size();
        let parsed = async { Ok(manifest.parsed().await) };
        // The list shows the manifest too, but may be behind.
        let (lists, head, parsed) = try_join3(self.list(None, &cuts), self.head(MANIFEST), parsed).await?;
        let mut seen = Seen { ahead: true, ..Seen::of_all(lists) };
        let last = match (head, parsed) {
            (None, _) => (false, None),
            (Some(head), Some(parsed)) if head.etag == etag && head.size == size => (true, Some(parsed)),
            (Some(_), _) => self.read_manifest().await?,
        };
        self.add_last(&mut seen, last).await?;
        Ok(Found::All(seen))
    }

    async fn look_anew(&self) -> Result<Found, LoadError> {
        let all = Keys { prefix: self.prefix.clone(), ..Keys::default() };
        let first = async { self.store.list_page(&self.bucket, &all).await.map_err(|error| self.unlisted(error)) };
        let (last, first) = try_join(self.read_manifest(), first).await?;
        let after = first.objects.last().map(|entry| entry.key.clone());
        let mut lists = vec![Seen::of(first.objects, &self.prefix)];
        if first.more {
            let Some(manifest) = &last.1 else { return Ok(Found::More(last.0)) };
            let cuts = self.cuts(after.as_deref(), &manifest.keys());
            lists.extend(self.list(after, &cuts).await?);
        }
        let mut seen = Seen { ahead: true, ..Seen::of_all(lists) };
        self.add_last(&mut seen, last).await?;
        Ok(Found::All(seen))
    }

    /// The manifest, which is remembered for the next time.
    async fn read_manifest(&self) -> Result<Last, LoadError> {
        let Some((etag, bytes)) = self.read_tagged(MANIFEST).await? else { return Ok((false, None)) };
        let read = read(&bytes);
        if let Some(manifest) = &read {
            self.remember(etag, bytes, manifest).await;
        }
        Ok((true, read))
    }

    /// Remembers the manifest that is there, for the next load.
    pub(super) async fn remember(&self, etag: String, bytes: Bytes, manifest: &Manifest) {
        if let Some(local) = &self.local {
            local.remember(self.named(), etag, self.cuts(None, &manifest.keys()), bytes).await;
        }
    }

    /// What tells this place from others.
    fn named(&self) -> String {
        format!("{} {}/{}", self.store.place(), self.bucket, self.prefix)
    }

    /// Adds what the manifest says, or else the one before.
    async fn add_last(&self, seen: &mut Seen, (manifest, last): Last) -> Result<(), LoadError> {
        (seen.manifest, seen.complete, seen.last) = (manifest, last.is_some(), last);
        if !seen.complete && seen.previous {
            seen.last = self.read(PREVIOUS).await?.as_deref().and_then(read);
        }
        Ok(())
    }

    /// The objects below the prefix, listed in pieces cut at these keys, which are sorted; nothing is known of them yet.
    pub(super) async fn listed(&self, keys: &[&str]) -> Result<Seen, LoadError> {
        Ok(Seen::of_all(self.list(None, &self.cuts(None, keys)).await?))
    }

    /// What lists say of the keys after one, in the order of the pieces that they are cut into.
    async fn list(&self, after: Option<String>, cuts: &[String]) -> Result<Vec<Seen>, LoadError> {
        // The last piece is open: what lies after all that is wanted is there too.
        let ends = || cuts.iter().cloned().map(Some);
        let mut pieces = std::iter::once(after).chain(ends()).zip(ends().chain([None])).enumerate();
        let mut found = BTreeMap::new();
        // Tasks, and not only futures: a page is read by the processor that has nothing else to do.
        let mut lists: JoinSet<Result<(usize, Seen), ObjectError>> = JoinSet::new();
        loop {
            while lists.len() < SIDE_BY_SIDE
                && let Some((at, (after, until))) = pieces.next()
            {
                let (store, bucket) = (self.store.clone(), self.bucket.clone());
                let keys = Keys { prefix: self.prefix.clone(), after, until };
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
        Ok(self.read_tagged(below).await?.map(|(_, bytes)| bytes))
    }

    async fn read_tagged(&self, below: &str) -> Result<Option<(String, Bytes)>, LoadError> {
        self.if_there(self.store.read_tagged(&self.bucket, &self.key(below), LARGEST).await)
    }

    async fn head(&self, below: &str) -> Result<Option<Head>, LoadError> {
        self.if_there(self.store.head(&self.bucket, &self.key(below)).await)
    }

    fn if_there<T>(&self, asked: Result<T, ObjectError>) -> Result<Option<T>, LoadError> {
        match asked {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() && error.parts().code.as_deref() != Some("NoSuchBucket") => Ok(None),
            Err(error) => Err(self.unlisted(error)),
        }
    }

    /// The whole keys at which a list of what comes after a key is cut, where these are there.
    fn cuts(&self, after: Option<&str>, keys: &[&str]) -> Vec<String> {
        let begun = after.map_or(0, |after| keys.partition_point(|key| self.key(key).as_str() <= after));
        let keys = &keys[begun..];
        let pages = keys.len().div_ceil(PAGE).max(1);
        let piece = pages.div_ceil(SIDE_BY_SIDE * 2) * PAGE;
        // The manifest is the first on the first page.
        let own = usize::from(after.is_none());
        let ends = (piece - own..keys.len()).step_by(piece);
        ends.map(|end| self.key(keys[end - 1])).collect()
    }
}

/// A manifest; one that cannot be read is as none, and the log says why.
fn read(bytes: &[u8]) -> Option<Manifest> {
    Manifest::parse(bytes).inspect_err(|why| tracing::warn!("the manifest in the bucket is not used: {why}")).ok()
}
