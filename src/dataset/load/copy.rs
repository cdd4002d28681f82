//! Copies that the store makes by itself: of objects of the same store that no transform changed.
//!
//! Invariants: a copy is of what was listed, or it is not there: its entity tag is the listed one, or else the source still
//! has that and the size is right. (A condition that is sent along is not enough: Ceph does not look at it.) It has the
//! SHA-256 in its metadata, as what is sent has. Where the keys of the target may not read the source, all is sent from here,
//! and the store is not asked again. So is an object of which no whole copy comes: by Swift, Ceph makes an empty one of an
//! object that is in parts.

use std::sync::atomic::Ordering;

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::send::{changed, part_size};
use super::{LoadError, Loader, Object};
use crate::dataset::{Progress, Stored};
use crate::object::{ObjectError, ObjectErrorKind, Part, Victim};

/// How large the parts of a copy are, in bytes.
const PART: u64 = 512 << 20;

/// How many parts of one object are copied at a time.
const SIDE_BY_SIDE: usize = 8;

impl Loader {
    /// Asks the store to copy an object, if it is one of the same store. Its entity tag; `None` where it has to be sent
    /// from here.
    pub(super) async fn copy(&self, wanted: &Object) -> Result<Option<String>, LoadError> {
        let stored = wanted.content.stored().filter(|stored| stored.store().is_same(&self.store));
        let Some(stored) = stored.filter(|_| !self.refused.load(Ordering::Relaxed)) else { return Ok(None) };
        self.go_on()?;
        let large = wanted.size > self.options.copy_whole;
        let copied = match large {
            true => self.copy_parts(wanted, stored).await,
            false => self.copy_whole(wanted, stored).await,
        };
        match copied {
            Ok(copied) => {
                if copied.is_some() {
                    self.watch.tell(Progress::Bytes(wanted.size));
                }
                Ok(copied)
            }
            Err(error) if is_refusal(&error) => {
                tracing::info!(
                    "{} is sent from here, for the store does not copy it: {error}",
                    wanted.content.origin()
                );
                // Swift copies none that is as large, and all others.
                if !(large && error.kind() == ObjectErrorKind::Unsupported) {
                    self.refused.store(true, Ordering::Relaxed);
                }
                Ok(None)
            }
            Err(error) => Err(self.of(wanted, error)),
        }
    }

    async fn copy_whole(&self, wanted: &Object, stored: &Stored) -> Result<Option<String>, ObjectError> {
        let key = self.key(&wanted.key);
        let etag = {
            let _slot = self.slots.acquire().await.map_err(|_| ended(wanted))?;
            self.store.copy(stored.name(), (&self.bucket, &key), Some(&self.written(wanted))).await?
        };
        if !etag.is_empty() && etag == stored.etag() {
            return Ok(Some(etag));
        }
        // It was written in parts, and is of one piece now; or the store does not say.
        self.made(wanted, stored).await
    }

    async fn copy_parts(&self, wanted: &Object, stored: &Stored) -> Result<Option<String>, ObjectError> {
        let size = part_size(wanted.size, PART.min(self.options.copy_whole));
        let upload = self.store.begin(&self.bucket, &self.key(&wanted.key), &self.written(wanted)).await?;
        let numbers = 1..=u32::try_from(wanted.size.div_ceil(size)).unwrap_or(u32::MAX);
        let copies = futures_util::stream::iter(numbers).map(|number| {
            let upload = &upload;
            async move {
                let _slot = self.slots.acquire().await.map_err(|_| ended(wanted))?;
                let start = size * u64::from(number - 1);
                let range = start..wanted.size.min(start + size);
                let length = range.end - range.start;
                let etag = self.store.copy_part(stored.name(), range, upload, number).await?;
                Ok::<_, ObjectError>(Part { number, size: length, etag })
            }
        });
        let parts = match copies.buffered(SIDE_BY_SIDE).try_collect::<Vec<_>>().await {
            Ok(parts) => parts,
            Err(error) => {
                // What failed first is what matters.
                self.give_up(&upload).await;
                return Err(error);
            }
        };
        match self.store.complete(&upload, &parts, &self.written(wanted)).await {
            // Its answer was lost, and asked again the upload is over: what is there says whether it came to be.
            Err(error) if error.is_not_found() => {}
            other => other?,
        }
        self.completed(wanted, &upload, &parts).await?;
        self.made(wanted, stored).await
    }

    /// The copy's entity tag, if it is whole. That the source is what was listed says that the copy is of that; one of
    /// something else is taken away, for its metadata would say that it is what is wanted.
    async fn made(&self, wanted: &Object, stored: &Stored) -> Result<Option<String>, ObjectError> {
        let (bucket, key) = stored.name();
        let (source, copy) = (self.store.head(bucket, key).await?, self.key(&wanted.key));
        let there = self.store.head(&self.bucket, &copy).await?;
        if source.etag == stored.etag() {
            return Ok((there.size == wanted.size).then_some(there.etag));
        }
        self.store.delete(&self.bucket, &[Victim::object(copy)], 1, &|_| ()).await?;
        Err(changed(wanted))
    }
}

fn ended(wanted: &Object) -> ObjectError {
    ObjectError::local(wanted.content.origin(), "the load is over")
}

/// Whether the store does not copy what can be sent: it may be readable with the source's own keys.
fn is_refusal(error: &ObjectError) -> bool {
    use ObjectErrorKind::{BadRequest, Denied, NotFound, Unsupported};
    matches!(error.kind(), BadRequest | Denied | NotFound | Unsupported)
}
