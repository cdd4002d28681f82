//! Sending objects: whole or in parts, side by side, in bounded memory, each read once and checked both ways.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA256 as ALGORITHM};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::buffers::Buffers;
use super::decide::Verdict;
use super::look::Seen;
use super::{LoadError, Loader, Object, Report, SHA256, kib};
use crate::dataset::{Progress, Sha256, Stage};
use crate::hex;
use crate::object::{Head, ObjectError, ObjectErrorKind, Part, PutOptions, Store, Sum, Upload, Victim};

/// Most stores take more; Swift's large objects are of a thousand.
const MOST_PARTS: u64 = 1000;

/// How often an object is sent that arrives as something else.
const TRIES: usize = 3;

/// Objects that are there, by their place in what is wanted, with their entity tags; and places of those to send.
type Checked = (BTreeMap<usize, String>, Vec<usize>);

/// By what the store checks a content, and its MD5 if that is compared with its entity tag.
type Sums = (Sum, Option<[u8; 16]>);

/// One object's fate.
struct Sent {
    at: usize,
    etag: String,
    bytes: u64,
    resumed: u64,
    copied: bool,
}

pub(super) fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

fn local(wanted: &Object, message: impl Into<String>) -> ObjectError {
    ObjectError::local(wanted.content.origin(), message)
}

pub(super) fn changed(wanted: &Object) -> ObjectError {
    local(wanted, "it is not what it was when its digest was taken").hint("nothing may write there while it is loaded")
}

fn mismatch(loader: &Loader, wanted: &Object, got: &str) -> ObjectError {
    let request = format!("PUT {}/{}", loader.bucket, loader.key(&wanted.key));
    let message = format!("it arrived as something else: the store calls it {got}");
    ObjectError::new(ObjectErrorKind::Mismatch, loader.store.host(), request, message)
}

/// Whether an entity tag is an MD5 and so can be compared; some stores encrypt, and tag what they keep.
fn is_md5(etag: &str) -> bool {
    etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Blocking work, off the threads that serve connections.
async fn blocking<T: Send + 'static>(
    wanted: &Object,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ObjectError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| local(wanted, format!("reading it failed: {error}")))
}

/// Digests of a part, by which the store checks it and by which we check the store. Those are one where it checks MD5s;
/// where it checks SHA-256s, an MD5 more of every part would take longer than all else, so only the first has one.
async fn sums(wanted: &Object, content: &Bytes, number: u32, store: &Store) -> Result<Sums, ObjectError> {
    let (content, store) = (content.clone(), store.clone());
    blocking(wanted, move || match store.sum(&content) {
        Sum::Md5(md5) => (Sum::Md5(md5), Some(md5)),
        sum @ Sum::Sha256(_) => (sum, (number == 1).then(|| md5(&content))),
    })
    .await
}

/// The whole of a small object, with its MD5. It has the SHA-256 that is wanted, or this is an error.
fn read_whole(wanted: &Object) -> Result<(Bytes, [u8; 16]), ObjectError> {
    let broken = |error: std::io::Error| local(wanted, error.to_string());
    let mut bytes = Vec::with_capacity(usize::try_from(wanted.size).unwrap_or_default());
    let reader = wanted.open(0).map_err(broken)?;
    reader.take(wanted.size + 1).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 != wanted.size || Sha256::of(&bytes) != wanted.sha256 {
        return Err(changed(wanted));
    }
    let md5 = md5(&bytes);
    Ok((bytes.into(), md5))
}

/// A large object that is read part by part.
struct Parts {
    reader: Box<dyn Read + Send>,
    buffers: Buffers,
    digest: Context,
}

impl Parts {
    /// The next part. Its own digests are taken by those who send it, side by side; this is the only part of a large
    /// object's way that goes one after the other.
    fn next(mut self, size: u64) -> std::io::Result<(Self, Bytes)> {
        let mut bytes = self.buffers.take(usize::try_from(size).unwrap_or_default());
        (&mut self.reader).take(size).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < size {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it is shorter than it was"));
        }
        self.digest.update(&bytes);
        let content = self.buffers.lend(bytes);
        Ok((self, content))
    }
}

impl Loader {
    /// Looks at the objects of which the list does not say for sure whether they are there: by the MD5 that is their entity
    /// tag, or by the digest in their metadata. Nothing is changed.
    pub(super) async fn check(
        self: &Arc<Self>,
        wanted: &Arc<[Object]>,
        seen: &Seen,
        verdicts: Vec<Verdict<'_>>,
    ) -> Result<Checked, LoadError> {
        let (mut kept, mut missing, mut unsure) = (BTreeMap::new(), Vec::new(), Vec::new());
        // A list may be behind (Swift's), or older than the last request of a load that was interrupted: a look at what
        // is large costs less than sending it again.
        let again = seen.complete || seen.previous;
        for (at, verdict) in verdicts.into_iter().enumerate() {
            match verdict {
                Verdict::Kept(etag) => drop(kept.insert(at, etag.to_owned())),
                Verdict::Missing if again && wanted[at].size > self.options.threshold => {
                    unsure.push((at, String::new()))
                }
                Verdict::Missing | Verdict::Other => missing.push(at),
                Verdict::Unsure => {
                    let listed = seen.listed(&wanted[at].key).map(|entry| entry.etag.clone());
                    unsure.push((at, listed.unwrap_or_default()));
                }
            }
        }
        let mut tasks = JoinSet::new();
        let mut unsure = unsure.into_iter();
        loop {
            while tasks.len() < self.options.transfers.max(1)
                && let Some((at, etag)) = unsure.next()
            {
                let (loader, wanted) = (Arc::clone(self), Arc::clone(wanted));
                tasks.spawn(async move { Ok::<_, LoadError>((at, loader.is_there(&wanted[at], &etag).await?)) });
            }
            match tasks.join_next().await {
                None => break,
                Some(done) => match joined(done)?? {
                    (at, Some(etag)) => drop(kept.insert(at, etag)),
                    (at, None) => missing.push(at),
                },
            }
        }
        missing.sort_unstable();
        Ok((kept, missing))
    }

    /// The object's entity tag, if it has the wanted content.
    async fn is_there(&self, wanted: &Object, etag: &str) -> Result<Option<String>, LoadError> {
        self.go_on()?;
        if is_md5(etag) && wanted.size <= self.options.threshold {
            let _memory = self.room(wanted.size).await?;
            let object = wanted.clone();
            let read = blocking(wanted, move || read_whole(&object)).await.and_then(|read| read);
            let (_, md5) = read.map_err(|error| self.of(wanted, error))?;
            return Ok((hex::encode(&md5) == etag).then(|| etag.to_owned()));
        }
        let head = match self.store.head(&self.bucket, &self.key(&wanted.key)).await {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other.map_err(|error| self.of(wanted, error))?,
        };
        let same = head.size == wanted.size
            && head.metadata.get(SHA256).is_some_and(|digest| *digest == wanted.sha256.to_string());
        Ok(same.then_some(head.etag))
    }

    /// Sends objects, and records their entity tags. The first that fails ends it.
    pub(super) async fn send_all(
        self: &Arc<Self>,
        wanted: &Arc<[Object]>,
        missing: Vec<usize>,
        uploads: &[Upload],
        (etags, report): (&mut BTreeMap<usize, String>, &mut Report),
    ) -> Result<(), LoadError> {
        let bytes = missing.iter().map(|at| wanted[*at].size).sum();
        self.watch.tell(Progress::Stage(Stage::Load));
        self.watch.tell(Progress::Total { objects: missing.len() as u64, bytes });
        // The large ones first: one of them at the end would have the wire to itself.
        let (large, small): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|at| wanted[*at].size > self.options.threshold);
        let mut places = large.into_iter().chain(small);
        let mut tasks: JoinSet<Result<Sent, LoadError>> = JoinSet::new();
        loop {
            while tasks.len() < self.options.transfers.max(1)
                && let Some(at) = places.next()
            {
                let (loader, wanted) = (Arc::clone(self), Arc::clone(wanted));
                let key = self.key(&wanted[at].key);
                let open: Vec<Upload> = uploads.iter().filter(|upload| upload.key == key).cloned().collect();
                tasks.spawn(async move { loader.send(at, &wanted[at], open).await });
            }
            let Some(done) = tasks.join_next().await else { return Ok(()) };
            let sent = joined(done)??;
            match sent.copied {
                true => report.copied += 1,
                false => report.sent += 1,
            }
            report.sent_bytes += sent.bytes;
            report.resumed_parts += sent.resumed;
            self.watch.tell(Progress::Objects(1));
            etags.insert(sent.at, sent.etag);
        }
    }

    async fn send(self: &Arc<Self>, at: usize, wanted: &Object, open: Vec<Upload>) -> Result<Sent, LoadError> {
        if let Some(etag) = self.copy(wanted).await? {
            return Ok(Sent { at, etag, bytes: 0, resumed: 0, copied: true });
        }
        let sent = if wanted.size > self.options.threshold {
            self.send_parts(at, wanted, open).await?
        } else {
            let etag = self.send_whole(wanted).await?;
            self.watch.tell(Progress::Bytes(wanted.size));
            Sent { at, etag, bytes: wanted.size, resumed: 0, copied: false }
        };
        Ok(sent)
    }

    async fn send_whole(&self, wanted: &Object) -> Result<String, LoadError> {
        self.go_on()?;
        let _memory = self.room(wanted.size).await?;
        let object = wanted.clone();
        let read = blocking(wanted, move || read_whole(&object)).await.and_then(|read| read);
        let (bytes, md5) = read.map_err(|error| self.of(wanted, error))?;
        let sum = if self.store.checks_sha256() { Sum::Sha256(*wanted.sha256.as_bytes()) } else { Sum::Md5(md5) };
        let options = PutOptions { sum: Some(sum), ..self.written(wanted) };
        let key = self.key(&wanted.key);
        let mut tried = 0;
        loop {
            let etag = {
                let _slot = self.slot().await?;
                self.store.put(&self.bucket, &key, &bytes, &options).await
            };
            let etag = etag.map_err(|error| self.of(wanted, error))?;
            if !is_md5(&etag) || etag == hex::encode(&md5) {
                return Ok(etag);
            }
            tried += 1;
            if tried == TRIES {
                return Err(self.of(wanted, mismatch(self, wanted, &etag)));
            }
        }
    }

    async fn send_parts(self: &Arc<Self>, at: usize, wanted: &Object, open: Vec<Upload>) -> Result<Sent, LoadError> {
        let size = part_size(wanted.size, self.options.part_size);
        if let Some((upload, there)) = self.resume(wanted, open, size).await?
            && let Some(sent) = self.send_into(at, wanted, (&upload, &there), size).await?
        {
            return Ok(sent);
        }
        let begun = self.store.begin(&self.bucket, &self.key(&wanted.key), &self.written(wanted)).await;
        let upload = begun.map_err(|error| self.of(wanted, error))?;
        let sent = self.send_into(at, wanted, (&upload, &BTreeMap::new()), size).await?;
        sent.ok_or_else(|| self.of(wanted, changed(wanted)))
    }

    /// Sends what is not there of an upload, and makes the object of it. `None` where the upload was begun for another
    /// content: by S3 what was told when it was begun, the digest, is what its object would have.
    async fn send_into(
        self: &Arc<Self>,
        at: usize,
        wanted: &Object,
        (upload, there): (&Upload, &BTreeMap<u32, Part>),
        size: u64,
    ) -> Result<Option<Sent>, LoadError> {
        let of = |error| self.of(wanted, error);
        let reader = wanted.open(0).map_err(|error| of(local(wanted, error.to_string())))?;
        let mut parts = Parts { reader, buffers: self.buffers.clone(), digest: Context::new(&ALGORITHM) };
        let (mut done, mut resumed, mut bytes) = (Vec::new(), 0, 0);
        let mut tasks: JoinSet<Result<Part, ObjectError>> = JoinSet::new();
        for number in 1..=u32::try_from(wanted.size.div_ceil(size)).unwrap_or(u32::MAX) {
            self.go_on()?;
            let length = size.min(wanted.size - size * u64::from(number - 1));
            let memory = self.room(length).await?;
            let read = blocking(wanted, move || parts.next(length)).await.map_err(of)?;
            let (rest, content) = read.map_err(|error| of(local(wanted, error.to_string())))?;
            parts = rest;
            if let Some(part) = there.get(&number) {
                let same = content.clone();
                let md5 = blocking(wanted, move || md5(&same)).await.map_err(of)?;
                if part.etag != hex::encode(&md5) {
                    tasks.shutdown().await;
                    self.give_up(upload).await;
                    return Ok(None);
                }
                resumed += 1;
                self.watch.tell(Progress::Bytes(length));
                done.push(part.clone());
                continue;
            }
            bytes += length;
            let (loader, upload, object) = (Arc::clone(self), upload.clone(), wanted.clone());
            tasks.spawn(async move {
                let part = loader.send_part(&upload, number, content, &object).await;
                drop(memory);
                part
            });
            while let Some(finished) = tasks.try_join_next() {
                done.push(joined(finished)?.map_err(of)?);
            }
        }
        while let Some(finished) = tasks.join_next().await {
            done.push(joined(finished)?.map_err(of)?);
        }
        if parts.digest.finish().as_ref() != wanted.sha256.as_bytes() {
            // Its parts are no use: the next load would find others.
            self.give_up(upload).await;
            return Err(of(changed(wanted)));
        }
        done.sort_unstable_by_key(|part| part.number);
        let etag = self.made_of(wanted, upload, &done, !there.is_empty()).await.map_err(of)?;
        Ok(etag.map(|etag| Sent { at, etag, bytes, resumed, copied: false }))
    }

    /// Makes an object of the parts. Its entity tag; `None` where the upload was another content's, and no object stays.
    async fn made_of(
        &self,
        wanted: &Object,
        upload: &Upload,
        parts: &[Part],
        resumed: bool,
    ) -> Result<Option<String>, ObjectError> {
        match self.store.complete(upload, parts, &self.written(wanted)).await {
            // Its answer was lost, and asked again the upload is over: what is there says whether it came to be.
            Err(error) if error.is_not_found() => {}
            other => other?,
        }
        let head = self.completed(wanted, upload, parts).await?;
        if resumed && head.metadata.get(SHA256) != Some(&wanted.sha256.to_string()) {
            let key = self.key(&wanted.key);
            self.store.delete(&self.bucket, &[Victim::object(key)], 1, &|_| ()).await?;
            return Ok(None);
        }
        Ok(Some(head.etag))
    }

    /// Gives up an upload that is of no use. If it stays, the next load gives it up.
    pub(super) async fn give_up(&self, upload: &Upload) {
        if let Err(error) = self.store.abort(upload).await {
            tracing::warn!("an upload that is of no use stays: {error}");
        }
    }

    async fn send_part(
        &self,
        upload: &Upload,
        number: u32,
        content: Bytes,
        wanted: &Object,
    ) -> Result<Part, ObjectError> {
        let (sum, md5) = sums(wanted, &content, number, &self.store).await?;
        let md5 = md5.map(|md5| hex::encode(&md5)).unwrap_or_default();
        let part = Part { number, size: content.len() as u64, etag: md5 };
        let slot = self.slots.clone().acquire_owned().await;
        let _slot = slot.map_err(|_| local(wanted, "the load is over"))?;
        let etag = self.store.put_part(upload, part.number, &content, sum).await?;
        if is_md5(&etag) && is_md5(&part.etag) && etag != part.etag {
            return Err(mismatch(self, wanted, &etag));
        }
        self.watch.tell(Progress::Bytes(part.size));
        // What the store calls it is what it wants to hear.
        Ok(if etag.is_empty() { part } else { Part { etag, ..part } })
    }

    /// An upload to carry on with, and its parts.
    async fn resume(
        &self,
        wanted: &Object,
        open: Vec<Upload>,
        size: u64,
    ) -> Result<Option<(Upload, BTreeMap<u32, Part>)>, LoadError> {
        let of = |error| self.of(wanted, error);
        let mut best: Option<(Upload, BTreeMap<u32, Part>)> = None;
        for upload in open {
            let parts = match self.store.parts(&upload).await {
                Err(error) if error.is_not_found() => continue,
                other => other.map_err(of)?,
            };
            // Parts of another size are of another cut, or of another content.
            let fits = |part: &Part| {
                let begins = size.saturating_mul(u64::from(part.number.saturating_sub(1)));
                part.number > 0 && begins < wanted.size && part.size == size.min(wanted.size - begins)
            };
            if !parts.is_empty()
                && parts.iter().all(fits)
                && best.as_ref().is_none_or(|(_, had)| had.len() < parts.len())
            {
                best = Some((upload, parts.into_iter().map(|part| (part.number, part)).collect()));
            }
        }
        Ok(best)
    }

    /// What is known of an object made of parts. Ceph does not say its entity tag when it makes one.
    pub(super) async fn completed(
        &self,
        wanted: &Object,
        upload: &Upload,
        parts: &[Part],
    ) -> Result<Head, ObjectError> {
        let head = self.store.head(&self.bucket, &self.key(&wanted.key)).await?;
        let raw: Vec<u8> = parts.iter().filter_map(|part| hex::decode(&part.etag)).flatten().collect();
        let text: String = parts.iter().map(|part| part.etag.as_str()).collect();
        let by_s3 = format!("{}-{}", hex::encode(&md5(&raw)), parts.len());
        let by_swift = hex::encode(&md5(text.as_bytes()));
        // Tags of another form are those of a store that encrypts.
        let comparable = head.etag.len() == by_s3.len() || is_md5(&head.etag);
        if head.size != wanted.size || (comparable && head.etag != by_s3 && head.etag != by_swift) {
            return Err(mismatch(self, wanted, &head.etag));
        }
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(upload.id.clone());
        Ok(head)
    }

    pub(super) fn written(&self, wanted: &Object) -> PutOptions {
        let metadata = BTreeMap::from([(SHA256.to_owned(), wanted.sha256.to_string())]);
        PutOptions { metadata, ..PutOptions::default() }
    }

    /// Room in memory for so many bytes.
    async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, LoadError> {
        let most = kib(self.options.memory.max(self.options.threshold));
        let permits = u32::try_from(kib(bytes).min(most)).unwrap_or(u32::MAX);
        self.memory.clone().acquire_many_owned(permits).await.map_err(|_| LoadError::Stopped)
    }

    pub(super) async fn slot(&self) -> Result<OwnedSemaphorePermit, LoadError> {
        self.slots.clone().acquire_owned().await.map_err(|_| LoadError::Stopped)
    }
}

/// How large the parts of an object of that size are: at least as wanted, and few enough. Whole MiB, so that another
/// version of anole cuts the same.
pub(super) fn part_size(size: u64, wanted: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    size.div_ceil(MOST_PARTS).max(wanted).div_ceil(MIB).max(1) * MIB
}

/// A task's result; a panic in it goes on here.
pub(super) fn joined<T>(done: Result<T, tokio::task::JoinError>) -> Result<T, LoadError> {
    match done {
        Ok(result) => Ok(result),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(LoadError::Stopped),
    }
}
