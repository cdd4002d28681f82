//! Large objects of Swift: a manifest in place of contents, which are those of other objects.

use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde_json::json;

use super::bulk::Outcome;
use super::{Answer, JSON, check_object, is_json, objects};
use crate::embedded::objects::docs::{self, Manifest, Segment, Version};
use crate::embedded::objects::grants::{self, Permission};
use crate::embedded::objects::listing::{self, Entry, Query};
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::objects::vault::Piece;
use crate::embedded::objects::{Ask, Output};
use crate::hex;

/// How many segments a static large object may have.
pub const MOST_SEGMENTS: usize = 1000;

/// A segment as a client names it.
#[derive(Debug, Deserialize)]
struct Named {
    path: String,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    size_bytes: Option<u64>,
}

fn etag_of(segments: &[Segment]) -> String {
    let mut md5 = Md5::new();
    for segment in segments {
        md5.update(&segment.etag);
    }
    hex::encode(&md5.finalize())
}

/// A segment's object, if the caller may read it.
fn object(ask: &Ask<'_>, path: &str) -> Result<Version, Refusal> {
    let (container, object) = path.trim_start_matches('/').split_once('/').ok_or_else(|| Refusal::new("NoSuchKey"))?;
    let bucket = ask.bucket(container)?;
    let found = docs::current(ask.state, container, object);
    grants::allow_object(&bucket, found, &ask.who, Permission::Read)
}

/// `PUT` of an object with `?multipart-manifest=put`.
pub fn put(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Write)?;
    check_object(key)?;
    let invalid = || Refusal::new("InvalidArgument");
    let named: Vec<Named> = serde_json::from_slice(ask.text()).map_err(|_| invalid())?;
    if named.is_empty() || named.len() > MOST_SEGMENTS {
        return Err(invalid());
    }
    let mut segments = Vec::new();
    for one in named {
        let version = object(ask, &one.path)?;
        let same = one.etag.is_none_or(|etag| etag.trim_matches('"') == version.etag)
            && one.size_bytes.is_none_or(|size| size == version.size);
        if !same {
            return Err(invalid());
        }
        let path = format!("/{}", one.path.trim_start_matches('/'));
        segments.push(Segment { path, etag: version.etag, size: version.size });
    }
    let mut version = objects::described(ask, key);
    version.size = segments.iter().map(|segment| segment.size).sum();
    version.etag = etag_of(&segments);
    version.manifest = Some(Manifest::Static(segments));
    let put = ask.put(&bucket, key, version);
    let quoted = Version { etag: format!("\"{}\"", put.etag), ..put };
    Ok(objects::made(&quoted))
}

/// A large object as if it were one: its contents are those of its segments. Any other is given back.
///
/// # Errors
/// When a segment of a static one is gone, or the caller may not read it.
pub fn resolve(ask: &Ask<'_>, mut version: Version) -> Result<Version, Refusal> {
    let mut pieces: Vec<Piece> = Vec::new();
    match &version.manifest {
        None => return Ok(version),
        Some(Manifest::Static(segments)) => {
            for segment in segments {
                pieces.extend(object(ask, &segment.path)?.pieces);
            }
        }
        Some(Manifest::Dynamic(path)) => {
            let (container, prefix) = path.split_once('/').unwrap_or((path, ""));
            let query = Query { prefix: prefix.to_owned(), most: usize::MAX, ..Query::default() };
            let mut segments = Vec::new();
            for entry in listing::objects(ask.state, container, &query).entries {
                if let Entry::Version(key, found, _) = entry {
                    let bucket = ask.bucket(container)?;
                    let found = grants::allow_object(&bucket, Ok(*found), &ask.who, Permission::Read)?;
                    segments.push(Segment { path: key, etag: found.etag, size: found.size });
                    pieces.extend(found.pieces);
                }
            }
            version.etag = etag_of(&segments);
        }
    }
    version.size = pieces.iter().map(|piece| piece.size).sum();
    version.pieces = pieces;
    Ok(version)
}

/// The manifest itself.
#[must_use]
pub fn shown(version: &Version) -> Output {
    let segments = match &version.manifest {
        Some(Manifest::Static(segments)) => segments.as_slice(),
        Some(Manifest::Dynamic(_)) | None => &[],
    };
    let list: Vec<_> = segments
        .iter()
        .map(|segment| json!({"name": segment.path, "hash": segment.etag, "bytes": segment.size}))
        .collect();
    Output::new(200).header("x-static-large-object", "True").text(JSON, json!(list).to_string())
}

/// `DELETE` of an object with `?multipart-manifest=delete`: its segments go with it.
pub fn delete(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let mut outcome = Outcome::default();
    match docs::current(ask.state, name, key).map(|version| version.manifest) {
        Ok(Some(Manifest::Static(segments))) => {
            for segment in segments {
                let path = segment.path.trim_start_matches('/');
                let (container, object) = path.split_once('/').unwrap_or((path, ""));
                outcome.remove(ask, container, object);
            }
            outcome.remove(ask, name, key);
        }
        Ok(_) => outcome.fail(format!("{name}/{key}"), &Refusal::new("InvalidRequest")),
        Err(_) => outcome.remove(ask, name, key),
    }
    Ok(outcome.answer(is_json(ask.call)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etag_of_a_manifest_is_the_one_measured() {
        let segment = |text: &[u8]| Segment { path: String::new(), etag: hex::encode(&Md5::digest(text)), size: 0 };
        assert_eq!(etag_of(&[segment(b"aaaaaaaaaa"), segment(b"bbbbb")]), "34a127ae02e2c5d50286e0784d3b78e2");
    }
}
