//! What is there: the objects below the prefix, and what the last manifest says of them.
//!
//! The prefix is listed once, in pieces side by side. The pieces are cut at the wanted keys, a thousand or a multiple
//! of it each: where all is as it should be, every page of the store is exactly a page of ours.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{Listed, LoadError, Loader, MANIFEST, Manifest, Object, PREVIOUS};
use crate::object::{Entry, Keys};

/// How many objects S3 lists at a time.
const PAGE: usize = 1000;

/// How many lists are under way at a time.
const SIDE_BY_SIDE: usize = 8;

/// The largest manifest that is read: some millions of objects.
const LARGEST: u64 = 1 << 30;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The objects, by their keys below the prefix; the loader's own are not among them.
    pub(super) objects: BTreeMap<String, Entry>,
    /// The bytes of the manifest, if it is there.
    pub(super) manifest: Option<Vec<u8>>,
    /// Whether the manifest is there and can be read.
    pub(super) complete: bool,
    /// Whether the one before is kept beside it.
    pub(super) previous: bool,
    /// What the manifest lists, or else the one before.
    pub(super) known: BTreeMap<String, Listed>,
}

impl Loader {
    pub(super) async fn look(&self, wanted: &[Object]) -> Result<Seen, LoadError> {
        // Most loads find one; a look for it that finds none is one request too many.
        let (mut seen, manifest) = futures_util::future::try_join(self.listed(wanted), self.read(MANIFEST)).await?;
        let mut listed = manifest.as_deref().and_then(read);
        seen.complete = listed.is_some();
        seen.manifest = manifest;
        if listed.is_none() && seen.previous {
            listed = self.read(PREVIOUS).await?.as_deref().and_then(read);
        }
        seen.known = listed.unwrap_or_default().into_iter().map(|one| (one.key.clone(), one)).collect();
        Ok(seen)
    }

    /// The objects below the prefix, listed in pieces cut at what is wanted; nothing is known of them yet.
    pub(super) async fn listed(&self, wanted: &[Object]) -> Result<Seen, LoadError> {
        let lists = futures_util::stream::iter(self.pieces(wanted)).map(|keys| self.list(keys));
        let objects = lists.buffer_unordered(SIDE_BY_SIDE).try_collect::<Vec<_>>().await?;
        let mut seen = Seen::default();
        for entry in objects.into_iter().flatten() {
            let Some(below) = entry.key.strip_prefix(self.prefix.as_str()).map(str::to_owned) else { continue };
            seen.previous |= below == PREVIOUS;
            if !below.starts_with(super::FOLDER) {
                seen.objects.insert(below, entry);
            }
        }
        Ok(seen)
    }

    async fn list(&self, keys: Keys) -> Result<Vec<Entry>, LoadError> {
        let listed = self.store.list(&self.bucket, &keys).await;
        Ok(listed.map_err(|error| match error.is_not_found() {
            true => error.hint(format!(
                "the store has no bucket `{}`: name one that is there, or declare it under `buckets:`",
                self.bucket
            )),
            false => error,
        })?)
    }

    pub(super) async fn read(&self, below: &str) -> Result<Option<Vec<u8>>, LoadError> {
        match self.store.read(&self.bucket, &self.key(below), LARGEST).await {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(error) if error.is_not_found() && error.parts().code.as_deref() != Some("NoSuchBucket") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The prefix in pieces.
    fn pieces(&self, wanted: &[Object]) -> Vec<Keys> {
        let pages = wanted.len().div_ceil(PAGE).max(1);
        let piece = pages.div_ceil(SIDE_BY_SIDE * 2) * PAGE;
        // The manifest is the first on the first page.
        let (first, rest) = wanted.split_at(wanted.len().min(piece - 1));
        let pieces = std::iter::once(first).chain(rest.chunks(piece));
        let cuts: Vec<String> = pieces.filter_map(|some| Some(self.key(&some.last()?.key))).collect();
        // The last piece is open: what lies after all that is wanted is there too.
        let after = std::iter::once(None).chain(cuts.iter().map(|cut| Some(cut.clone())));
        let until = cuts.iter().take(cuts.len().saturating_sub(1)).map(|cut| Some(cut.clone())).chain([None]);
        after.zip(until).map(|(after, until)| Keys { prefix: self.prefix.clone(), after, until }).collect()
    }
}

/// What a manifest lists; one that cannot be read is as none, and the log says why.
fn read(bytes: &[u8]) -> Option<Vec<Listed>> {
    let read =
        Manifest::parse(bytes).inspect_err(|why| tracing::warn!("the manifest in the bucket is not used: {why}"));
    Some(read.ok()?.objects)
}
