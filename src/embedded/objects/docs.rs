//! Buckets, objects and their versions, as documents of the cloud.
//!
//! In: what the two APIs put and remove. Out: typed buckets and versions, and the pieces that nobody needs any more.
//!
//! Invariants:
//! - Both APIs see the same: a container is a bucket, and what one of them puts the other gives.
//! - An object has all its versions in one document, the newest first; where nothing was versioned there is one, `null`.
//! - An object without a version has no document.

use std::collections::BTreeMap;

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::grants::{Grant, Owner};
use super::refusal::Refusal;
use super::vault::Piece;
use crate::embedded::tables::{Fields, State, Table};
use crate::model::Json;

/// The version of an object that is not versioned.
pub const NULL: &str = "null";

/// Whether a bucket keeps what is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// It never did.
    #[default]
    Off,
    /// It does.
    Enabled,
    /// It did.
    Suspended,
}

/// A rule of a bucket for browsers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    /// Its name.
    pub id: Option<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// Origins, with at most one `*` each.
    pub origins: Vec<String>,
    /// Request headers, likewise.
    pub headers: Vec<String>,
    /// How many seconds a browser may remember it.
    pub max_age: Option<u32>,
    /// Headers that a page may read.
    pub expose: Vec<String>,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Its name, of which there is one in the site.
    pub name: String,
    /// Whose it is.
    pub project_id: String,
    /// When it was made, in milliseconds.
    pub created: i64,
    /// When its metadata changed, in milliseconds.
    pub changed: i64,
    /// Whether it keeps versions.
    #[serde(default)]
    pub versioning: Versioning,
    /// Metadata of the container, by lower-case name without `X-Container-Meta-`.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// `X-Container-Read`.
    #[serde(default)]
    pub read: String,
    /// `X-Container-Write`.
    #[serde(default)]
    pub write: String,
    /// Who may what besides the owner.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Rules for browsers.
    #[serde(default)]
    pub cors: Vec<CorsRule>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
}

/// A version of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its name; [`NULL`] where nothing is versioned.
    pub id: String,
    /// Whether it says that the object was removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marker: bool,
    /// How many bytes it has.
    pub size: u64,
    /// MD5, or MD5 of the parts' MD5s and their number, without quotation marks.
    pub etag: String,
    /// When it was put, in milliseconds.
    pub modified: i64,
    /// The contents.
    #[serde(default)]
    pub pieces: Vec<Piece>,
    /// Its type; Ceph's gateway shows one of its own where it was given none.
    pub content_type: Option<String>,
    /// Headers that are given back as they came.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Metadata, by lower-case name without `x-amz-meta-` or `X-Object-Meta-`.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    /// Who may what besides the owner.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Who put it.
    pub owner: Owner,
    /// The segments of a large object, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

/// What a large object of Swift is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manifest {
    /// Every object whose name begins so: container and prefix.
    Dynamic(String),
    /// These objects.
    Static(Vec<Segment>),
}

/// A segment of a static large object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// `/container/object`.
    pub path: String,
    /// Its ETag when the manifest was put.
    pub etag: String,
    /// Its size then.
    pub size: u64,
}

/// A multipart upload under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its name.
    pub id: String,
    /// The bucket.
    pub bucket: String,
    /// The object that it makes.
    pub key: String,
    /// When it began, in milliseconds.
    pub started: i64,
    /// What the object will have: type, headers, metadata, tags, grants, owner.
    pub about: Version,
}

/// An uploaded part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number.
    pub number: u32,
    /// MD5.
    pub etag: String,
    /// How many bytes it has.
    pub size: u64,
    /// When it was put, in milliseconds.
    pub modified: i64,
    /// The contents.
    pub pieces: Vec<Piece>,
}

/// A document as one of these types. All of them were written by [`put`], so each can be read.
fn read<T: for<'de> Deserialize<'de>>(doc: &Json) -> Option<T> {
    match T::deserialize(doc) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(%error, "a document of the object store cannot be read");
            None
        }
    }
}

fn put<T: Serialize>(state: &mut State, table: Table, id: &str, value: &T) {
    match serde_json::to_value(value) {
        Ok(doc) => state.put(table, id, doc),
        Err(error) => tracing::error!(%error, "a document of the object store cannot be written"),
    }
}

/// A new name for a version or an upload, as long as those of Ceph's gateway.
#[must_use]
pub fn new_name() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 31];
    // Without random numbers of the system there is a UUID, which has some of its own.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return crate::embedded::wire::new_hex();
    }
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect()
}

impl Bucket {
    /// The bucket of that name.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn find(state: &State, name: &str) -> Result<Self, Refusal> {
        state.get(Table::Buckets, name).and_then(read).ok_or_else(|| Refusal::new("NoSuchBucket"))
    }

    /// A project's buckets, by name.
    #[must_use]
    pub fn of_project(state: &State, project: &str) -> Vec<Self> {
        let mut own: Vec<Self> = state.find(Table::Buckets, "project_id", project).filter_map(read).collect();
        own.sort_by(|one, two| one.name.cmp(&two.name));
        own
    }

    /// Writes it.
    pub fn save(&self, state: &mut State) {
        put(state, Table::Buckets, &self.name, self);
    }

    /// How many objects it has, and how many bytes in all their versions.
    #[must_use]
    pub fn usage(&self, state: &State) -> (i64, i64) {
        let count = state.count(Table::Objects, "_shown", &self.name);
        (count, state.sum(Table::Objects, "_bytes", &self.name))
    }

    /// Whether no object, no version and (if asked) no upload is left in it.
    #[must_use]
    pub fn is_empty(&self, state: &State, uploads: bool) -> bool {
        state.count(Table::Objects, "bucket", &self.name) == 0
            && !(uploads && state.count(Table::Uploads, "bucket", &self.name) > 0)
    }
}

fn object_id(bucket: &str, key: &str) -> String {
    // No bucket's name holds a slash.
    format!("{bucket}/{key}")
}

/// An object: all its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// The versions, the newest first.
    pub versions: Vec<Version>,
}

impl Object {
    fn of(doc: &Json) -> Option<Self> {
        Some(Self { key: doc.text("key").to_owned(), versions: read(doc.get("versions")?)? })
    }

    /// The object of that key, if it has a version.
    #[must_use]
    pub fn find(state: &State, bucket: &str, key: &str) -> Option<Self> {
        state.get(Table::Objects, &object_id(bucket, key)).and_then(Self::of)
    }

    /// The objects of a bucket whose key is `start` or comes after it, in order.
    pub fn walk<'a>(state: &'a State, bucket: &'a str, start: &str) -> impl Iterator<Item = Self> + use<'a> {
        let docs = state.walk(Table::Objects, &object_id(bucket, start));
        docs.take_while(move |(_, doc)| doc.text("bucket") == bucket).filter_map(|(_, doc)| Self::of(doc))
    }

    fn save(&self, state: &mut State, bucket: &str) {
        let id = object_id(bucket, &self.key);
        let Some(newest) = self.versions.first() else {
            state.remove(Table::Objects, &id);
            return;
        };
        let bytes: u64 = self.versions.iter().map(|version| version.size).sum();
        let mut doc = json!({"bucket": bucket, "key": self.key, "_bytes": bytes});
        doc.set("versions", self.versions.iter().map(|version| json!(version)).collect::<Vec<_>>());
        if !newest.marker {
            doc.set("_shown", bucket);
        }
        state.put(Table::Objects, &id, doc);
    }
}

/// The newest version of an object that is there.
///
/// # Errors
/// `NoSuchKey`.
pub fn current(state: &State, bucket: &str, key: &str) -> Result<Version, Refusal> {
    let found = Object::find(state, bucket, key).and_then(|object| object.versions.into_iter().next());
    found.filter(|version| !version.marker).ok_or_else(|| Refusal::new("NoSuchKey"))
}

/// The version of that name, or the newest; removal markers are not there.
///
/// # Errors
/// `NoSuchKey`.
pub fn version(state: &State, bucket: &str, key: &str, id: Option<&str>) -> Result<Version, Refusal> {
    let Some(id) = id else { return current(state, bucket, key) };
    let object = Object::find(state, bucket, key);
    let found = object.and_then(|object| object.versions.into_iter().find(|version| version.id == id));
    found.filter(|version| !version.marker).ok_or_else(|| Refusal::new("NoSuchKey"))
}

/// Puts a version, whose name it chooses; the pieces that were replaced are added to `trash`.
pub fn put_version(
    state: &mut State,
    bucket: &Bucket,
    key: &str,
    mut version: Version,
    trash: &mut Vec<Piece>,
) -> Version {
    let old = Object::find(state, &bucket.name, key);
    let mut object = old.unwrap_or_else(|| Object { key: key.to_owned(), versions: Vec::new() });
    version.id = if bucket.versioning == Versioning::Enabled { new_name() } else { NULL.to_owned() };
    let replaced = object.versions.extract_if(.., |old| old.id == version.id);
    trash.extend(replaced.flat_map(|old| old.pieces));
    object.versions.insert(0, version.clone());
    object.save(state, &bucket.name);
    version
}

/// Changes the newest version in place.
pub fn edit_current(state: &mut State, bucket: &str, key: &str, change: impl FnOnce(&mut Version)) {
    if let Some(mut object) = Object::find(state, bucket, key)
        && let Some(newest) = object.versions.first_mut()
    {
        change(newest);
        object.save(state, bucket);
    }
}

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// The version that went, or the marker that was put.
    pub version: Option<String>,
    /// Whether that is a marker.
    pub marker: bool,
    /// Whether there was anything.
    pub was_there: bool,
}

/// Removes a version for good, or the object: where versions are kept, that puts a marker.
pub fn remove(state: &mut State, bucket: &Bucket, key: &str, id: Option<&str>, now: i64) -> (Removed, Vec<Piece>) {
    let Some(mut object) = Object::find(state, &bucket.name, key) else { return Default::default() };
    let was_there = id.is_some() || object.versions.first().is_some_and(|newest| !newest.marker);
    let target = match (id, bucket.versioning) {
        (Some(id), _) => id,
        (None, Versioning::Enabled) => "",
        (None, Versioning::Off | Versioning::Suspended) => NULL,
    };
    let gone: Vec<Version> = object.versions.extract_if(.., |version| version.id == target).collect();
    let mut removed = Removed { was_there, ..Removed::default() };
    if id.is_some() {
        removed.was_there = !gone.is_empty();
        removed.marker = gone.iter().any(|version| version.marker);
        removed.version = gone.first().map(|version| version.id.clone()).filter(|id| id != NULL);
    } else if bucket.versioning != Versioning::Off {
        let name = if bucket.versioning == Versioning::Enabled { new_name() } else { NULL.to_owned() };
        removed.version = Some(name.clone());
        removed.marker = true;
        let owner = Owner::project(&bucket.project_id);
        object.versions.insert(0, Version { id: name, marker: true, modified: now, owner, ..Version::default() });
    }
    object.save(state, &bucket.name);
    (removed, gone.into_iter().flat_map(|version| version.pieces).collect())
}

impl Upload {
    /// The upload of that name, if it makes this object.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub fn find(state: &State, bucket: &str, key: &str, id: &str) -> Result<Self, Refusal> {
        let found = state.get(Table::Uploads, id).and_then(read::<Self>);
        let fits = found.filter(|upload| upload.bucket == bucket && upload.key == key);
        fits.ok_or_else(|| Refusal::new("NoSuchUpload"))
    }

    /// All of a bucket, by key and then by name.
    #[must_use]
    pub fn of_bucket(state: &State, bucket: &str) -> Vec<Self> {
        let mut found: Vec<Self> = state.find(Table::Uploads, "bucket", bucket).filter_map(read).collect();
        found.sort_by(|one, two| (&one.key, &one.id).cmp(&(&two.key, &two.id)));
        found
    }

    /// Writes it.
    pub fn save(&self, state: &mut State) {
        put(state, Table::Uploads, &self.id, self);
    }

    /// Its parts, by number.
    #[must_use]
    pub fn parts(&self, state: &State) -> Vec<Part> {
        let prefix = format!("{}/", self.id);
        let docs = state.walk(Table::Parts, &prefix);
        docs.take_while(|(id, _)| id.starts_with(&prefix)).filter_map(|(_, doc)| read(doc)).collect()
    }

    /// Puts a part and gives the pieces of the one that it replaces.
    pub fn put_part(&self, state: &mut State, part: &Part) -> Vec<Piece> {
        let id = self.part_id(part.number);
        let old = state.get(Table::Parts, &id).and_then(read::<Part>);
        put(state, Table::Parts, &id, part);
        old.map(|old| old.pieces).unwrap_or_default()
    }

    /// Removes it with its parts, whose pieces it gives.
    pub fn remove(&self, state: &mut State) -> Vec<Piece> {
        let parts = self.parts(state);
        for part in &parts {
            state.remove(Table::Parts, &self.part_id(part.number));
        }
        state.remove(Table::Uploads, &self.id);
        parts.into_iter().flat_map(|part| part.pieces).collect()
    }

    fn part_id(&self, number: u32) -> String {
        format!("{}/{number:010}", self.id)
    }
}
