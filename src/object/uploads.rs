//! Uploads in parts of a whole bucket: which are unfinished, and giving them up.
//!
//! In: a bucket and a prefix. Out: the uploads that no object is made of.
//!
//! By S3 a list tells just those. By Swift an upload is a folder of parts, which stays when an object is made of it; which
//! of them those are is told by the objects, one by one.
//!
//! Invariants:
//! - Each request has its own time and its own retries, however many there are.
//! - What a version of an object may be made of is not called unfinished: by Swift, where versions are kept, none is, and
//!   neither are parts of a large object that does not say which they are. (By Swift Ceph does not show that a bucket
//!   keeps versions by S3.)

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};

use super::Store;
use super::types::{MadeOf, Outcome, Upload};

/// How many requests are under way at a time.
const SIDE_BY_SIDE: usize = 16;

impl Store {
    /// The unfinished uploads of keys that begin with `prefix`, as far as `which` lets them pass. It is asked first: what it
    /// does not let pass costs no request.
    ///
    /// # Errors
    /// As [`Store::list_page`].
    pub async fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        which: &(dyn Fn(&Upload) -> bool + Sync),
    ) -> Outcome<Vec<Upload>> {
        let said = format!("GET {bucket}?uploads");
        let (mut all, mut from): (Vec<Upload>, _) = (Vec::new(), None);
        loop {
            let page = self.again(0, &said, || self.api.uploads(bucket, prefix, from.as_ref())).await?;
            all.extend(page.uploads.into_iter().filter(which));
            if page.next.is_none() || page.next == from {
                break;
            }
            from = page.next;
        }
        // A page may end in the middle of an upload's parts.
        all.dedup_by(|next, before| (&next.key, &next.id) == (&before.key, &before.id));
        if self.api.lists_made() { self.unfinished(bucket, all).await } else { Ok(all) }
    }

    /// Those of the uploads that no object is made of.
    async fn unfinished(&self, bucket: &str, mut uploads: Vec<Upload>) -> Outcome<Vec<Upload>> {
        let keys: BTreeSet<String> = uploads.iter().map(|upload| upload.key.clone()).collect();
        // Boxed before the first of them is awaited: so the whole can travel between threads.
        let looks: Vec<BoxFuture<'_, Outcome<(String, MadeOf)>>> =
            keys.into_iter().map(|key| self.made_of(bucket, key).boxed()).collect();
        let mut looks = futures_util::stream::iter(looks).buffer_unordered(SIDE_BY_SIDE);
        let mut made = BTreeMap::new();
        while let Some(look) = looks.next().await {
            let (key, of) = look?;
            made.insert(key, of);
        }
        uploads.retain(|upload| match made.get(&upload.key) {
            Some(MadeOf::Upload(id)) => *id != upload.id,
            Some(MadeOf::Unknown) => false,
            Some(MadeOf::Nothing) | None => true,
        });
        if !uploads.is_empty() && self.keeps_versions(bucket).await? {
            tracing::info!("parts of large objects of {bucket} stay: versions of these may be made of them");
            uploads.clear();
        }
        Ok(uploads)
    }

    /// The key, and the upload that the object is made of.
    async fn made_of(&self, bucket: &str, key: String) -> Outcome<(String, MadeOf)> {
        let of = self.again(0, &format!("HEAD {bucket}/{key}"), || self.api.upload_of(bucket, &key)).await?;
        Ok((key, of))
    }

    async fn keeps_versions(&self, bucket: &str) -> Outcome<bool> {
        self.again(0, &format!("HEAD {bucket}"), || self.api.keeps_versions(bucket)).await
    }

    /// Gives uploads up, side by side. Those that are over are success.
    ///
    /// # Errors
    /// The first that the store refuses.
    pub async fn abort_all(&self, uploads: &[Upload]) -> Outcome<()> {
        let aborts: Vec<BoxFuture<'_, Outcome<()>>> = uploads.iter().map(|upload| self.abort(upload).boxed()).collect();
        let mut aborts = futures_util::stream::iter(aborts).buffer_unordered(SIDE_BY_SIDE);
        while let Some(done) = aborts.next().await {
            done?;
        }
        Ok(())
    }
}
