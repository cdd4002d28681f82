//! What object stores hold and are asked for, in the words that S3 and Swift share. Plain data.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use md5::{Digest as _, Md5};

use super::ObjectError;
use crate::model::StringMap;

/// How much memory is set aside for a content before it has come, at most.
const EXPECTED: u64 = 64 << 20;

/// A bucket in the list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketEntry {
    /// Its name.
    pub name: String,
    /// When it was made, where the store says.
    pub created: Option<Timestamp>,
    /// How many objects it holds, where the store says (Swift).
    pub objects: Option<u64>,
    /// How many bytes, where the store says.
    pub bytes: Option<u64>,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its whole key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag without quotes. The MD5 of its content, if it was written in one piece and is not encrypted.
    pub etag: String,
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The objects, in the order of their keys.
    pub objects: Vec<Entry>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// Which keys are listed: those that begin with `prefix`, lie after `after` and not after `until`, where these are given.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// The prefix; empty for all.
    pub prefix: String,
    /// Exclusive.
    pub after: Option<String>,
    /// Inclusive.
    pub until: Option<String>,
}

/// What is known of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag without quotes.
    pub etag: String,
    /// Its media type.
    pub content_type: Option<String>,
    /// The metadata that was written with it; keys in lower case.
    pub metadata: StringMap,
}

/// A digest of a content that goes along with it, so that the store refuses other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// S3: what the request is signed with.
    Sha256([u8; 32]),
    /// Swift: the entity tag that it is to have. S3 takes it too.
    Md5([u8; 16]),
}

impl Sum {
    pub(super) fn sha256(content: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, content);
        Self::Sha256(std::array::from_fn(|at| digest.as_ref()[at]))
    }

    pub(super) fn md5(content: &[u8]) -> Self {
        Self::Md5(Md5::digest(content).into())
    }
}

/// How an object is written.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// Its media type.
    pub content_type: Option<String>,
    /// Metadata to keep with it; keys in lower case.
    pub metadata: StringMap,
    /// What the store checks the content by, if it is to.
    pub sum: Option<Sum>,
    /// Whether it is refused where the object is there already. Ceph does so by S3, and not on versioned buckets.
    pub only_new: bool,
}

/// An object's content as it comes.
pub struct Download {
    /// What the answer says of the object; `size` is that of the piece asked for.
    pub head: Head,
    /// The bytes.
    pub body: BoxStream<'static, io::Result<Bytes>>,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Download {
    /// All of it, if that is not more than `most` bytes.
    ///
    /// # Errors
    /// When the connection breaks, when there is more, or less than the answer promised.
    pub async fn bytes(mut self, most: u64) -> io::Result<Bytes> {
        let expected = self.head.size.min(most).min(EXPECTED);
        let mut all = bytes::BytesMut::with_capacity(usize::try_from(expected).unwrap_or_default());
        while let Some(chunk) = self.body.next().await {
            all.extend_from_slice(&chunk?);
            if all.len() as u64 > most {
                return Err(io::Error::other(format!("it has more than {most} bytes")));
            }
        }
        if all.len() as u64 != self.head.size {
            let (got, size) = (all.len(), self.head.size);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{got} of {size} bytes came")));
        }
        Ok(all.freeze())
    }
}

/// An object, or one version of it, that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its key.
    pub key: String,
    /// The version; without one the object goes as its store does that.
    pub version: Option<String>,
}

impl Victim {
    /// An object.
    pub fn object(key: impl Into<String>) -> Self {
        Self { key: key.into(), version: None }
    }
}

/// A page of versions and deletion marks.
#[derive(Debug, Clone, Default)]
pub struct VersionPage {
    /// Each with its version.
    pub versions: Vec<Victim>,
    /// Where the next page starts, if there is one.
    pub next: Option<(String, String)>,
}

/// An upload in parts that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The upload's own id.
    pub id: String,
}

/// Of which upload an object is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MadeOf {
    /// Of none, or it is not there.
    Nothing,
    /// Of the one with this id.
    Upload(String),
    /// Of parts, and it does not say of which.
    Unknown,
}

/// A page of uploads in parts.
#[derive(Debug, Clone, Default)]
pub struct UploadPage {
    /// In the order of their keys.
    pub uploads: Vec<Upload>,
    /// Where the next page starts, if there is one.
    pub next: Option<(String, String)>,
}

/// A part that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag without quotes: the MD5 of its content.
    pub etag: String,
}

/// Who may do what with a bucket, as far as both APIs have a word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acl {
    /// Its project only.
    Private,
    /// Anybody may list and read.
    PublicRead,
    /// Grants of another shape.
    Other,
}

/// Which pages of other sites may use a bucket, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsRule {
    /// `https://example.org` or `*`.
    pub origins: Vec<String>,
    /// `GET`, `PUT`…; Swift knows no such limit.
    pub methods: Vec<String>,
    /// Which headers of answers those pages may see.
    pub expose_headers: Vec<String>,
    /// How long, in seconds, a browser remembers it.
    pub max_age: Option<u32>,
}

/// How a bucket is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether what is overwritten or deleted is kept as a version.
    pub versioning: bool,
    /// Metadata: Swift's, or tags by S3.
    pub metadata: StringMap,
    /// Who may use it.
    pub acl: Acl,
    /// From which pages.
    pub cors: Vec<CorsRule>,
    /// How many objects it holds, where the store says.
    pub objects: Option<u64>,
    /// How many bytes, where the store says.
    pub bytes: Option<u64>,
}

/// What is to be changed of a bucket; the rest is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// Whether versions are kept.
    pub versioning: Option<bool>,
    /// Keys to set, and with `None` to take out.
    pub metadata: Vec<(String, Option<String>)>,
    /// Who may use it.
    pub acl: Option<Acl>,
    /// From which pages; empty for none.
    pub cors: Option<Vec<CorsRule>>,
}

/// The same content, that fails when nothing comes for so long.
pub(super) fn unless_silent(
    body: BoxStream<'static, io::Result<Bytes>>,
    silence: Duration,
) -> BoxStream<'static, io::Result<Bytes>> {
    let chunks = futures_util::stream::try_unfold(body, move |mut body| async move {
        let silent = |_| io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {silence:?}"));
        let chunk = tokio::time::timeout(silence, body.next()).await.map_err(silent)?;
        Ok(chunk.transpose()?.map(|chunk| (chunk, body)))
    });
    chunks.boxed()
}

/// What an operation gives.
pub type Outcome<T> = Result<T, ObjectError>;

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_download_that_falls_silent_fails() {
        let some: io::Result<Bytes> = Ok("some".into());
        let whole = stream::iter([some]).boxed();
        let mut whole = unless_silent(whole, Duration::from_secs(60));
        assert_eq!(whole.next().await.unwrap().unwrap(), "some");
        assert!(whole.next().await.is_none());
        let some: io::Result<Bytes> = Ok("some".into());
        let silent = stream::iter([some]).chain(stream::pending()).boxed();
        let mut silent = unless_silent(silent, Duration::from_millis(10));
        assert_eq!(silent.next().await.unwrap().unwrap(), "some");
        let error = silent.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::TimedOut, "nothing came for 10ms"));
        assert!(silent.next().await.is_none());
    }
}
