//! Object stores, by S3 or by Swift's API, behind one type: [`Store`].
//!
//! In: an endpoint with keys, or a signed-in session. Out: typed answers, or an [`ObjectError`] that says what was
//! asked, what the store said in its own words, and its request id.
//!
//! Invariants:
//! - Every retry is made here: `retry` says which failures pass, and each try is counted.
//! - A request that moves data is given time by its size; a connection that is silent for that long is given up.
//! - Keys and tokens are in no error, log or `Debug`.
//! - This module knows nothing of specs, plans, states or data sets.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};

use crate::cloud::Session;

mod api;
mod empty;
mod error;
mod region;
pub mod retry;
mod s3;
mod swift;
mod types;
mod uploads;

#[cfg(test)]
pub(crate) mod tests;

use api::Api;
pub use empty::Emptied;
pub use error::{ObjectError, ObjectErrorKind};
pub use region::signing_region;
pub use retry::RetryPolicy;
pub use s3::{REGION, S3Config};
pub use types::{
    Acl, BucketEntry, CorsRule, Download, Entry, Head, Keys, MadeOf, Outcome, Page, Part, PutOptions, Settings,
    SettingsChange, Sum, Upload, UploadPage, VersionPage, Victim,
};

/// How many objects one request deletes at most: S3's limit, and Ceph's for both APIs.
pub const AT_A_TIME: usize = 1000;

/// An object store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    api: Arc<dyn Api>,
    policy: RetryPolicy,
    requests: Arc<AtomicU64>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("host", &self.api.host()).finish_non_exhaustive()
    }
}

impl Store {
    /// A store by S3; nothing is sent yet.
    ///
    /// # Errors
    /// When the certificates to trust cannot be read.
    pub fn s3(config: &S3Config) -> Outcome<Self> {
        Ok(Self::new(Arc::new(s3::S3::new(config)?)))
    }

    /// A site's own store, by Swift's API.
    ///
    /// # Errors
    /// When the catalog has none.
    pub fn swift(session: &Session) -> Outcome<Self> {
        Ok(Self::new(Arc::new(swift::Swift::new(session)?)))
    }

    fn new(api: Arc<dyn Api>) -> Self {
        Self { api, policy: RetryPolicy::default(), requests: Arc::default() }
    }

    /// The same store with another patience.
    #[must_use]
    pub fn with_retries(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The store's host, for messages.
    #[must_use]
    pub fn host(&self) -> &str {
        self.api.host()
    }

    /// Whether the other one is the same store, spoken to by the same API: one can be asked to copy from the other. The
    /// keys may be others, and may not be allowed to.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.api.place() == other.api.place()
    }

    /// Whether the other one is the same store, or may be: seen through two APIs it is at one host, whatever the ports.
    #[must_use]
    pub fn may_be_same(&self, other: &Self) -> bool {
        let (this, that) = (self.api.place(), other.api.place());
        let api = |place: &str| place.split(' ').next().unwrap_or_default().to_owned();
        this == that || (api(&this) != api(&that) && without_port(self.host()) == without_port(other.host()))
    }

    /// What tells this store from others: its API and its address.
    #[must_use]
    pub fn place(&self) -> String {
        self.api.place()
    }

    /// Whether it checks what it is sent by a [`Sum::Sha256`]; else it takes a [`Sum::Md5`].
    #[must_use]
    pub fn checks_sha256(&self) -> bool {
        self.api.checks_sha256()
    }

    /// What it checks such a content by.
    #[must_use]
    pub fn sum(&self, content: &[u8]) -> Sum {
        match self.checks_sha256() {
            true => Sum::sha256(content),
            false => Sum::md5(content),
        }
    }

    /// Whether a list tells the size and the entity tag of every object. By Swift it may tell those of a large object's
    /// manifest.
    #[must_use]
    pub fn lists_whole(&self) -> bool {
        self.api.lists_whole()
    }

    /// How many requests were sent, each try counted; a list of an upload's parts counts as one.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Does it until it succeeds or is given up. `moved` is how many bytes it moves.
    async fn again<T, F>(&self, moved: u64, said: &str, attempt: impl Fn() -> F) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        let mut tried = 0;
        loop {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let patience = retry::patience(moved);
            let outcome = tokio::time::timeout(patience, attempt()).await.unwrap_or_else(|_| {
                let message = format!("no answer within {patience:?}");
                Err(ObjectError::new(ObjectErrorKind::Connection, self.host(), said, message)
                    .with(|parts| parts.may_have_happened = true))
            });
            tried += 1;
            let error = match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // The session has a new token by now, if it could get one.
            let renewed = tried == 1 && error.kind() == ObjectErrorKind::Credentials && self.api.renews();
            match retry::wait(&self.policy, &error, tried, jitter()) {
                Some(wait) => {
                    tracing::debug!(wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "again: {error}");
                    tokio::time::sleep(wait).await;
                }
                None if renewed => {}
                None if tried > 1 => {
                    return Err(error.with(|parts| parts.message.push_str(&format!(" (tried {tried} times)"))));
                }
                None => return Err(error),
            }
        }
    }

    /// All buckets of these keys or this project.
    ///
    /// # Errors
    /// As everywhere here: what the store refused, in its words, after all retries.
    pub async fn buckets(&self) -> Outcome<Vec<BucketEntry>> {
        self.again(0, "GET /", || self.api.buckets()).await
    }

    /// Makes a bucket, with metadata (S3: tags) from the start. One that is there already and may be used is
    /// [`ObjectErrorKind::AlreadyYours`], another's is [`ObjectErrorKind::Taken`].
    ///
    /// # Errors
    /// These, and what else the store refuses.
    pub async fn create_bucket(&self, bucket: &str, metadata: &[(String, String)]) -> Outcome<()> {
        let said = format!("PUT {bucket}");
        // Most stores say the same to a second creation as to the first, so it is asked for before.
        match self.has_bucket(bucket).await {
            Ok(()) => {
                let message = "the bucket is there already, and is yours";
                return Err(ObjectError::new(ObjectErrorKind::AlreadyYours, self.host(), said, message));
            }
            Err(error) if error.kind() == ObjectErrorKind::Denied => return Err(taken(error)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let tries = AtomicU64::new(0);
        let attempt = || {
            tries.fetch_add(1, Ordering::Relaxed);
            self.api.create_bucket(bucket, metadata)
        };
        match self.again(0, &said, attempt).await {
            // It was not there before the first try: that one made it, and its answer was lost.
            Err(error) if error.kind() == ObjectErrorKind::AlreadyYours && tries.into_inner() > 1 => {
                let metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
                match metadata.is_empty() {
                    true => Ok(()),
                    false => {
                        self.change_settings(bucket, &SettingsChange { metadata, ..SettingsChange::default() }).await
                    }
                }
            }
            Err(error) if error.kind() == ObjectErrorKind::Taken => Err(taken(error)),
            other => other,
        }
    }

    /// Whether a bucket is there and may be used.
    ///
    /// # Errors
    /// [`ObjectErrorKind::NotFound`] where there is none, [`ObjectErrorKind::Denied`] where it is another's.
    pub async fn has_bucket(&self, bucket: &str) -> Outcome<()> {
        self.again(0, &format!("HEAD {bucket}"), || self.api.has_bucket(bucket)).await
    }

    /// Deletes an empty bucket. One that is gone is success.
    ///
    /// # Errors
    /// [`ObjectErrorKind::NotEmpty`] where it holds anything.
    pub async fn delete_bucket(&self, bucket: &str) -> Outcome<()> {
        self.again(0, &format!("DELETE {bucket}"), || self.api.delete_bucket(bucket)).await
    }

    /// How a bucket is set up.
    ///
    /// # Errors
    /// When it is not there, or not readable.
    pub async fn settings(&self, bucket: &str) -> Outcome<Settings> {
        self.again(0, &format!("HEAD {bucket}"), || self.api.settings(bucket)).await
    }

    /// Changes how it is set up.
    ///
    /// # Errors
    /// What the store refuses.
    pub async fn change_settings(&self, bucket: &str, change: &SettingsChange) -> Outcome<()> {
        self.again(0, &format!("POST {bucket}"), || self.api.change_settings(bucket, change)).await
    }

    /// One page of a list. The next one begins after its last key.
    ///
    /// # Errors
    /// When there is no such bucket, or it may not be read.
    pub async fn list_page(&self, bucket: &str, keys: &Keys) -> Outcome<Page> {
        self.again(0, &format!("GET {bucket}"), || self.api.list(bucket, keys)).await
    }

    /// All pages of a list.
    ///
    /// # Errors
    /// As [`Store::list_page`].
    pub async fn list(&self, bucket: &str, keys: &Keys) -> Outcome<Vec<Entry>> {
        let mut keys = keys.clone();
        let mut all = Vec::new();
        loop {
            let page = self.list_page(bucket, &keys).await?;
            let last = page.objects.last().map(|entry| entry.key.clone());
            let until = keys.until.as_deref();
            let beyond = until.is_some_and(|until| last.as_deref().is_some_and(|last| last >= until));
            all.extend(page.objects.into_iter().filter(|entry| until.is_none_or(|until| entry.key.as_str() <= until)));
            if !page.more || beyond || last.is_none() || last <= keys.after {
                return Ok(all);
            }
            keys.after = last;
        }
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn head(&self, bucket: &str, key: &str) -> Outcome<Head> {
        self.again(0, &format!("HEAD {bucket}/{key}"), || self.api.head(bucket, key)).await
    }

    /// Writes an object in one request, and returns its entity tag.
    ///
    /// # Errors
    /// [`ObjectErrorKind::Mismatch`] where other bytes arrived than [`PutOptions::sum`] says.
    pub async fn put(&self, bucket: &str, key: &str, content: &Bytes, options: &PutOptions) -> Outcome<String> {
        let said = format!("PUT {bucket}/{key}");
        self.again(content.len() as u64, &said, || self.api.put(bucket, key, content, options)).await
    }

    /// Begins to read an object, or a range of its bytes. What breaks later is the reader's to see; a store that falls
    /// silent is such a break.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn get(&self, bucket: &str, key: &str, range: Option<Range<u64>>) -> Outcome<Download> {
        let began = self.again(0, &format!("GET {bucket}/{key}"), || self.api.get(bucket, key, range.clone())).await?;
        Ok(Download { body: types::unless_silent(began.body, retry::patience(0)), ..began })
    }

    /// Reads a small object whole, of `most` bytes at most.
    ///
    /// # Errors
    /// When it is not there or is larger.
    pub async fn read(&self, bucket: &str, key: &str, most: u64) -> Outcome<Bytes> {
        Ok(self.read_tagged(bucket, key, most).await?.1)
    }

    /// Reads a small object as [`Store::read`] does, with its entity tag.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn read_tagged(&self, bucket: &str, key: &str, most: u64) -> Outcome<(String, Bytes)> {
        let said = format!("GET {bucket}/{key}");
        let attempt = || async {
            let download = self.api.get(bucket, key, None).await?;
            if download.head.size > most {
                let message = format!("it has {} bytes, more than {most}", download.head.size);
                return Err(ObjectError::new(ObjectErrorKind::Unexpected, self.host(), said.clone(), message));
            }
            let broken = |error: std::io::Error| {
                ObjectError::new(ObjectErrorKind::Connection, self.host(), said.clone(), error.to_string())
            };
            let etag = download.head.etag.clone();
            Ok((etag, download.bytes(most).await.map_err(broken)?))
        };
        self.again(most.min(64 << 20), &said, attempt).await
    }

    /// Copies an object inside the store, with its metadata, or with that of `options` instead. Returns the copy's entity
    /// tag; empty where the store does not say it.
    ///
    /// # Errors
    /// When it is not there, or too large for one request (5 GB).
    pub async fn copy(&self, from: (&str, &str), to: (&str, &str), options: Option<&PutOptions>) -> Outcome<String> {
        let said = format!("COPY {}/{}", from.0, from.1);
        // The store moves the bytes, and how many is not known here.
        self.again(1 << 30, &said, || self.api.copy(from, to, options)).await
    }

    /// Copies a piece of an object inside the store, as a part of an upload. Returns the part's entity tag.
    ///
    /// # Errors
    /// As [`Store::copy`]; [`ObjectErrorKind::Unsupported`] by Swift.
    pub async fn copy_part(
        &self,
        from: (&str, &str),
        range: Range<u64>,
        upload: &Upload,
        number: u32,
    ) -> Outcome<String> {
        let said = format!("COPY {}/{} part {number}", from.0, from.1);
        let moved = range.end.saturating_sub(range.start);
        self.again(moved, &said, || self.api.copy_part(from, range.clone(), upload, number)).await
    }

    /// Deletes objects or versions, any number, `side_by_side` requests at a time. Those that are gone are success.
    /// `done` is told how many went with each request.
    ///
    /// # Errors
    /// The first that the store refused to delete; the others were tried.
    pub async fn delete(
        &self,
        bucket: &str,
        victims: &[Victim],
        side_by_side: usize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Outcome<()> {
        // Boxed before the first of them is awaited: so the whole can travel between threads.
        let requests: Vec<BoxFuture<'_, Outcome<()>>> =
            victims.chunks(AT_A_TIME).map(|some| self.delete_some(bucket, some, done).boxed()).collect();
        let mut results = futures_util::stream::iter(requests).buffer_unordered(side_by_side.max(1));
        let mut first = Ok(());
        while let Some(result) = results.next().await {
            first = first.and(result);
        }
        first
    }

    async fn delete_some(&self, bucket: &str, some: &[Victim], done: &(dyn Fn(usize) + Sync)) -> Outcome<()> {
        let said = format!("DELETE of {} objects of {bucket}", some.len());
        let whole = || async {
            match self.api.delete(bucket, some).await?.into_iter().next() {
                Some(refused) => Err(refused),
                None => Ok(()),
            }
        };
        self.again(0, &said, whole).await?;
        done(some.len());
        Ok(())
    }

    /// Begins an upload in parts.
    ///
    /// # Errors
    /// When there is no such bucket, or it may not be written.
    pub async fn begin(&self, bucket: &str, key: &str, options: &PutOptions) -> Outcome<Upload> {
        self.again(0, &format!("POST {bucket}/{key}"), || self.api.begin(bucket, key, options)).await
    }

    /// Sends a part; its number is from 1.
    ///
    /// # Errors
    /// [`ObjectErrorKind::Mismatch`] where other bytes arrived, [`ObjectErrorKind::NotFound`] where the upload is over.
    pub async fn put_part(&self, upload: &Upload, number: u32, content: &Bytes, sum: Sum) -> Outcome<String> {
        let said = format!("PUT {}/{} part {number}", upload.bucket, upload.key);
        self.again(content.len() as u64, &said, || self.api.put_part(upload, number, content, sum)).await
    }

    /// The parts that have arrived, in their order.
    ///
    /// # Errors
    /// [`ObjectErrorKind::NotFound`] where the upload is over.
    pub async fn parts(&self, upload: &Upload) -> Outcome<Vec<Part>> {
        self.again(0, &format!("GET {}/{} parts", upload.bucket, upload.key), || self.api.parts(upload)).await
    }

    /// Makes an object of the parts. `options` are those that it was begun with.
    ///
    /// # Errors
    /// What the store refuses: a part that is not there or not large enough.
    pub async fn complete(&self, upload: &Upload, parts: &[Part], options: &PutOptions) -> Outcome<()> {
        let said = format!("POST {}/{} complete", upload.bucket, upload.key);
        let size: u64 = parts.iter().map(|part| part.size).sum();
        self.again(size, &said, || self.api.complete(upload, parts, options)).await
    }

    /// Gives an upload up. One that is over is success.
    ///
    /// # Errors
    /// What the store refuses.
    pub async fn abort(&self, upload: &Upload) -> Outcome<()> {
        let said = format!("DELETE {}/{} upload", upload.bucket, upload.key);
        self.again(0, &said, || self.api.abort(upload)).await
    }

    /// One page of versions and deletion marks, from where the one before ended. Swift has none, see `empty`.
    ///
    /// # Errors
    /// As [`Store::list_page`].
    pub async fn versions(&self, bucket: &str, prefix: &str, from: Option<&(String, String)>) -> Outcome<VersionPage> {
        self.again(0, &format!("GET {bucket}?versions"), || self.api.versions(bucket, prefix, from)).await
    }
}

fn taken(error: ObjectError) -> ObjectError {
    let error = error.with(|parts| {
        parts.kind = ObjectErrorKind::Taken;
        parts.message = "a bucket of this name belongs to somebody else".to_owned();
    });
    error.hint("bucket names are the whole store's: choose another one")
}

/// The host's name alone, of `host` or `host:port`.
fn without_port(host: &str) -> &str {
    // An address of IPv6 stands in brackets.
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// From 0 to 1.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// A name as a piece of a URL's path: percent-encoded, all but slashes and what RFC 3986 reserves for nothing.
fn path(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
