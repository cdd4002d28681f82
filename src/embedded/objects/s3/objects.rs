//! Objects: put, copied, read, removed.

use percent_encoding::percent_decode_str;

use super::settings::parse_tags;
use super::xml::{Node, Xml};
use super::{Answer, document, moment};
use crate::embedded::objects::docs::{self, Bucket, NULL, Version, Versioning};
use crate::embedded::objects::grants::{self, Grant, Permission};
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::objects::swift::manifests;
use crate::embedded::objects::vault::cut;
use crate::embedded::objects::{Ask, Content, Output, conditions};
use crate::embedded::wire::Call;

/// The longest name of an object.
const LONGEST_KEY: usize = 1024;

/// How many objects one request may remove.
const MANY: usize = 1000;

/// Headers of an object that are given back as they came.
pub const KEPT: [&str; 5] = ["cache-control", "content-disposition", "content-encoding", "content-language", "expires"];

/// Looks at what can be refused before contents arrive.
///
/// # Errors
/// When the name is too long, or it asks for what there is none of.
pub fn check_put(call: &Call, key: &str) -> Result<(), Refusal> {
    if key.len() > LONGEST_KEY {
        return Err(Refusal::new("InvalidObjectName"));
    }
    if call.header("x-amz-storage-class").is_some_and(|class| class != "STANDARD") {
        return Err(Refusal::new("InvalidArgument"));
    }
    if call.headers.keys().any(|name| name.as_str().starts_with("x-amz-server-side-encryption")) {
        return Err(Refusal::new("InvalidRequest"));
    }
    if let Some(digest) = call.header("content-md5") {
        md5_of(digest)?;
    }
    Ok(())
}

fn md5_of(text: &str) -> Result<Vec<u8>, Refusal> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok().filter(|bytes| bytes.len() == 16);
    bytes.ok_or_else(|| Refusal::new("InvalidDigest"))
}

/// Checks contents against `Content-MD5`.
///
/// # Errors
/// `BadDigest`, `InvalidDigest`.
pub fn check_md5(call: &Call, md5: &[u8; 16]) -> Result<(), Refusal> {
    match call.header("content-md5") {
        Some(text) if md5_of(text)? != md5 => Err(Refusal::new("BadDigest")),
        _ => Ok(()),
    }
}

/// What the request's headers say of an object: type, headers, metadata, tags and grants.
///
/// # Errors
/// When there is no such ACL, or the tags cannot be read.
pub fn described(ask: &Ask<'_>, bucket: &Bucket) -> Result<Version, Refusal> {
    let call = ask.call;
    let mut version = Version { owner: ask.owner(), modified: ask.now, id: NULL.to_owned(), ..Version::default() };
    version.content_type = call.header("content-type").map(str::to_owned);
    for name in KEPT {
        let Some(value) = call.header(name) else { continue };
        // How the body travelled is not how the object is.
        let parts = value.split(',').map(str::trim).filter(|part| *part != "aws-chunked");
        let value = parts.collect::<Vec<_>>().join(",");
        if !value.is_empty() {
            version.headers.insert(name.to_owned(), value);
        }
    }
    for (name, value) in &call.headers {
        if let Some(name) = name.as_str().strip_prefix("x-amz-meta-") {
            version.meta.insert(name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
    }
    if let Some(text) = call.header("x-amz-tagging") {
        version.tags = parse_tags(text)?;
    }
    version.grants = acl(call, bucket)?;
    Ok(version)
}

fn acl(call: &Call, bucket: &Bucket) -> Result<Vec<Grant>, Refusal> {
    call.header("x-amz-acl").map_or(Ok(Vec::new()), |acl| grants::canned(acl, &bucket.project_id))
}

/// `PUT /bucket/key`.
pub fn put(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    let arrived = ask.contents()?;
    check_md5(ask.call, &arrived.md5)?;
    // Ceph's gateway does not look at conditions where versions are kept.
    if bucket.versioning != Versioning::Enabled {
        conditions::to_write(ask.call, docs::current(ask.state, name, key).ok().as_ref())?;
    }
    let mut version = described(ask, &bucket)?;
    version.size = arrived.size;
    version.etag = crate::hex::encode(&arrived.md5);
    version.pieces = ask.keep(arrived)?;
    let put = ask.put(&bucket, key, version);
    let output = Output::new(200).header("etag", format!("\"{}\"", put.etag));
    Ok(match bucket.versioning {
        Versioning::Enabled => output.header("x-amz-version-id", put.id),
        Versioning::Off | Versioning::Suspended => output.header("accept-ranges", "bytes"),
    })
}

/// The object that a copy is made of: `bucket/key`, with or without a slash before it and a version after it.
///
/// # Errors
/// When it is not there or may not be read.
pub fn source(ask: &Ask<'_>) -> Result<(String, String, Version), Refusal> {
    let header = ask.call.header("x-amz-copy-source").unwrap_or_default();
    let (path, id) = match header.split_once("?versionId=") {
        Some((path, id)) => (path, Some(id)),
        None => (header, None),
    };
    let path = percent_decode_str(path.strip_prefix('/').unwrap_or(path)).decode_utf8_lossy().into_owned();
    let (name, key) = path.split_once('/').ok_or_else(|| Refusal::new("InvalidArgument"))?;
    let bucket = ask.bucket(name)?;
    let found = docs::version(ask.state, name, key, id);
    let version = grants::allow_object(&bucket, found, &ask.who, Permission::Read)?;
    let version = manifests::resolve(ask, version)?;
    Ok((name.to_owned(), key.to_owned(), version))
}

/// `PUT /bucket/key` with `x-amz-copy-source`.
pub fn copy(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Write)?;
    check_put(ask.call, key)?;
    let (from, from_key, original) = source(ask)?;
    let call = ask.call;
    let replace = call.header("x-amz-metadata-directive").is_some_and(|word| word.eq_ignore_ascii_case("REPLACE"));
    if (from.as_str(), from_key.as_str()) == (name, key) && !replace && bucket.versioning == Versioning::Off {
        let why = "This copy request is illegal because it is trying to copy an object to itself without changing the \
                   object's metadata, storage class, website redirect location or encryption attributes.";
        return Err(Refusal::new("InvalidRequest").saying(why));
    }
    let mut version = described(ask, &bucket)?;
    if !replace {
        version.content_type = original.content_type.clone();
        version.headers = original.headers.clone();
        version.meta = original.meta.clone();
    }
    if !call.header("x-amz-tagging-directive").is_some_and(|word| word.eq_ignore_ascii_case("REPLACE")) {
        version.tags = original.tags.clone();
    }
    (version.size, version.etag) = (original.size, original.etag.clone());
    version.pieces = ask.share(&original.pieces)?;
    let put = ask.put(&bucket, key, version);
    let mut xml = Xml::new("CopyObjectResult");
    xml.leaf("LastModified", moment(put.modified)).leaf("ETag", &put.etag);
    let output = document(xml);
    Ok(if put.id == NULL { output } else { output.header("x-amz-version-id", put.id) })
}

/// `GET` and `HEAD /bucket/key`.
pub fn get(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    let call = ask.call;
    let found = docs::version(ask.state, name, key, call.param("versionId"));
    let version = grants::allow_object(&bucket, found, &ask.who, Permission::Read)?;
    let version = manifests::resolve(ask, version)?;
    conditions::to_read(call, &version)?;
    let mut output = Output::default()
        .header("accept-ranges", "bytes")
        .header("last-modified", crate::embedded::clock::http_date(version.modified))
        .header("x-rgw-object-type", "Normal")
        .header("etag", format!("\"{}\"", version.etag));
    if version.id != NULL {
        output = output.header("x-amz-version-id", &version.id);
    }
    if !version.tags.is_empty() {
        output = output.header("x-amz-tagging-count", version.tags.len().to_string());
    }
    for (name, value) in &version.meta {
        output = output.header(&format!("x-amz-meta-{name}"), value);
    }
    let content_type = version.content_type.as_deref().unwrap_or("binary/octet-stream");
    let kept = KEPT.iter().map(|name| (*name, version.headers.get(*name).map(String::as_str)));
    for (name, value) in kept.chain([("content-type", Some(content_type))]) {
        let asked = call.param(&format!("response-{name}"));
        if let Some(value) = asked.or(value) {
            output = output.header(name, value);
        }
    }
    send(ask, &version, output)
}

/// The contents of a version, or the range of them that was asked for; for HEAD only how many they are.
///
/// # Errors
/// When the range is not in it, or the contents cannot be opened.
pub fn send(ask: &Ask<'_>, version: &Version, mut output: Output) -> Answer {
    let range = match ask.call.header("range") {
        Some(header) => conditions::range(header, version.size)?,
        None => None,
    };
    let (start, length) = range.map_or((0, version.size), |range| (range.start, range.length));
    output.status = if range.is_some() { 206 } else { 200 };
    if let Some(range) = range {
        output = output.header("content-range", range.header(version.size));
    }
    if ask.call.method == http::Method::HEAD {
        return Ok(output.header("content-length", length.to_string()));
    }
    let opened = ask.vault.open_pieces(cut(&version.pieces, start, length));
    let reading = opened.map_err(|error| Refusal::new("InternalError").saying(error.to_string()))?;
    output.content = Content::Contents(reading, length);
    Ok(output)
}

/// `DELETE /bucket/key`. What is not there is removed already.
pub fn delete(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Write)?;
    let (removed, trash) = docs::remove(ask.state, &bucket, key, ask.call.param("versionId"), ask.now);
    ask.trash.extend(trash);
    let mut output = Output::new(204);
    if let Some(id) = removed.version {
        output = output.header("x-amz-version-id", id);
    }
    Ok(if removed.marker { output.header("x-amz-delete-marker", "true") } else { output })
}

/// `POST /bucket?delete`.
pub fn delete_many(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Write)?;
    // Ceph's gateway says nothing at all of a list that it cannot read, or that is too long.
    let Ok(wanted) = Node::read(ask.text(), "Delete") else { return Ok(Output::new(400)) };
    let objects: Vec<&Node> = wanted.all("Object").collect();
    if objects.len() > MANY {
        return Ok(Output::new(400));
    }
    let quiet = wanted.get("Quiet").is_some_and(|quiet| quiet.trim() == "true");
    let mut xml = Xml::new("DeleteResult");
    for object in objects {
        let key = object.get("Key").unwrap_or_default();
        let id = object.get("VersionId").filter(|id| !id.is_empty());
        // In a list, what is gone already gets no second marker.
        let gone = id.is_none() && docs::current(ask.state, name, key).is_err();
        let (removed, trash) = match gone {
            true => Default::default(),
            false => docs::remove(ask.state, &bucket, key, id, ask.now),
        };
        ask.trash.extend(trash);
        if quiet {
            continue;
        }
        xml.open("Deleted").leaf("Key", key);
        if let Some(id) = id {
            xml.leaf("VersionId", id);
        }
        if removed.marker {
            xml.leaf("DeleteMarker", "true");
            xml.leaf("DeleteMarkerVersionId", removed.version.as_deref().unwrap_or(NULL));
        }
        xml.close();
    }
    Ok(document(xml))
}
