//! What both APIs can do, one try an operation. [`super::Store`] is what others use.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::error::ObjectError;
use super::types::{
    BucketEntry, Download, Head, Keys, MadeOf, Outcome, Page, Part, PutOptions, Settings, SettingsChange, Sum, Upload,
    UploadPage, VersionPage, Victim,
};

/// The operations of a store. Every one may be sent twice; see [`super::retry`].
#[async_trait]
pub(super) trait Api: Send + Sync {
    /// The store's host, for messages.
    fn host(&self) -> &str;

    /// Where it is, and whose it is as far as its address says that: stores of the same place are one store.
    fn place(&self) -> String;

    /// Whether a list tells the size and the entity tag of every object. Swift lists those of a large object's manifest.
    fn lists_whole(&self) -> bool {
        true
    }

    /// Whether it checks what it is sent by its SHA-256; else by its MD5.
    fn checks_sha256(&self) -> bool {
        false
    }

    /// Whether a refused token has been renewed by the time its refusal is returned.
    fn renews(&self) -> bool {
        false
    }

    /// Other buckets that belong to this one, and go with it.
    fn companions(&self, bucket: &str) -> Vec<String> {
        let _ = bucket;
        Vec::new()
    }

    async fn buckets(&self) -> Outcome<Vec<BucketEntry>>;

    /// Makes a bucket, with metadata in the same request where the API has that.
    async fn create_bucket(&self, bucket: &str, metadata: &[(String, String)]) -> Outcome<()>;

    /// Whether it is there and may be used.
    async fn has_bucket(&self, bucket: &str) -> Outcome<()>;

    async fn delete_bucket(&self, bucket: &str) -> Outcome<()>;

    async fn settings(&self, bucket: &str) -> Outcome<Settings>;

    async fn change_settings(&self, bucket: &str, change: &SettingsChange) -> Outcome<()>;

    /// One page, from the first key after `keys.after`.
    async fn list(&self, bucket: &str, keys: &Keys) -> Outcome<Page>;

    async fn head(&self, bucket: &str, key: &str) -> Outcome<Head>;

    /// Writes an object and returns its entity tag.
    async fn put(&self, bucket: &str, key: &str, content: &Bytes, options: &PutOptions) -> Outcome<String>;

    async fn get(&self, bucket: &str, key: &str, range: Option<Range<u64>>) -> Outcome<Download>;

    /// Copies an object inside the store, with its metadata or with that of `options` instead, and returns the copy's
    /// entity tag, where the store says it.
    async fn copy(&self, from: (&str, &str), to: (&str, &str), options: Option<&PutOptions>) -> Outcome<String>;

    /// Copies a piece of an object inside the store, as a part of an upload, and returns the part's entity tag.
    async fn copy_part(&self, from: (&str, &str), range: Range<u64>, upload: &Upload, number: u32) -> Outcome<String>;

    /// Deletes up to [`super::AT_A_TIME`] objects, and returns those that it could not delete.
    async fn delete(&self, bucket: &str, victims: &[Victim]) -> Outcome<Vec<ObjectError>>;

    async fn begin(&self, bucket: &str, key: &str, options: &PutOptions) -> Outcome<Upload>;

    /// Sends a part and returns its entity tag.
    async fn put_part(&self, upload: &Upload, number: u32, content: &Bytes, sum: Sum) -> Outcome<String>;

    /// The parts that have arrived, in their order.
    async fn parts(&self, upload: &Upload) -> Outcome<Vec<Part>>;

    /// Makes an object of the parts. The store may not say its entity tag.
    async fn complete(&self, upload: &Upload, parts: &[Part], options: &PutOptions) -> Outcome<()>;

    async fn abort(&self, upload: &Upload) -> Outcome<()>;

    /// One page of the uploads under way of keys that begin with `prefix`, in the order of their keys; see
    /// [`Api::lists_made`].
    async fn uploads(&self, bucket: &str, prefix: &str, from: Option<&(String, String)>) -> Outcome<UploadPage>;

    /// Whether the list of uploads has those too that objects are made of: which these are, [`Api::upload_of`] says.
    fn lists_made(&self) -> bool {
        false
    }

    /// The upload that an object is made of. Asked where [`Api::lists_made`] says so.
    async fn upload_of(&self, bucket: &str, key: &str) -> Outcome<MadeOf> {
        let _ = (bucket, key);
        Ok(MadeOf::Nothing)
    }

    /// Whether versions of a bucket's objects are kept, or may be kept still. Asked where [`Api::lists_made`] says so.
    async fn keeps_versions(&self, bucket: &str) -> Outcome<bool> {
        let _ = bucket;
        Ok(false)
    }

    /// One page of versions and deletion marks. A store without versions has none.
    async fn versions(&self, bucket: &str, prefix: &str, from: Option<&(String, String)>) -> Outcome<VersionPage>;
}
