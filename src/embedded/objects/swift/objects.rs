//! Objects: put, copied, read, changed, removed.

use percent_encoding::percent_decode_str;

use super::{Answer, PLAIN, check_object, done, manifests, metadata, timestamp};
use crate::embedded::clock;
use crate::embedded::objects::docs::{self, Manifest, NULL, Version};
use crate::embedded::objects::grants::{self, Permission};
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::objects::s3::objects::{KEPT, send};
use crate::embedded::objects::{Ask, Output, conditions, split};
use crate::hex;

/// The types of objects that were put without one, by the ends of their names.
const TYPES: [(&str, &str); 12] = [
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("png", "image/png"),
    ("tar", "application/x-tar"),
    ("txt", "text/plain"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// What the request's headers say of an object.
pub(super) fn described(ask: &Ask<'_>, key: &str) -> Version {
    let call = ask.call;
    let mut version = Version { owner: ask.owner(), modified: ask.now, id: NULL.to_owned(), ..Version::default() };
    let guessed = || {
        let end = key.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase())?;
        TYPES.iter().find(|(one, _)| *one == end).map(|(_, kind)| (*kind).to_owned())
    };
    version.content_type = call.header("content-type").map(str::to_owned).or_else(guessed);
    for name in KEPT {
        if let Some(value) = call.header(name).filter(|value| !value.is_empty()) {
            version.headers.insert(name.to_owned(), value.to_owned());
        }
    }
    version.meta = metadata(call, "x-object-meta-").filter(|(_, value)| !value.is_empty()).collect();
    if let Some(prefix) = call.header("x-object-manifest") {
        version.manifest = Some(Manifest::Dynamic(percent_decode_str(prefix).decode_utf8_lossy().into_owned()));
    }
    version
}

pub(super) fn made(version: &Version) -> Output {
    Output::new(201)
        .header("etag", &version.etag)
        .header("last-modified", clock::http_date(version.modified))
        .header("content-type", PLAIN)
        .header("content-length", "0")
}

/// `PUT` of an object. Conditions are not looked at.
pub fn put(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    let arrived = ask.contents()?;
    let etag = hex::encode(&arrived.md5);
    if ask.call.header("etag").is_some_and(|wanted| !wanted.trim_matches('"').eq_ignore_ascii_case(&etag)) {
        return Ok(super::refuse(ask.call, &Refusal::new("UnprocessableEntity")).header("etag", etag));
    }
    let mut version = described(ask, key);
    (version.size, version.etag) = (arrived.size, etag);
    version.pieces = ask.keep(arrived)?;
    Ok(made(&ask.put(&bucket, key, version)))
}

/// `PUT` of an object with `X-Copy-From`.
pub fn copy_from(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let from = path(ask.call.header("x-copy-from"))?;
    copy(ask, from, (name.to_owned(), key.to_owned()))
}

/// `COPY` of an object to its `Destination`.
pub fn copy_to(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let to = path(ask.call.header("destination"))?;
    copy(ask, (name.to_owned(), key.to_owned()), to)
}

/// Container and object of a header.
fn path(header: Option<&str>) -> Result<(String, String), Refusal> {
    let bad = || Refusal::new("PreconditionFailed").saying("Bad URL");
    let text = header.ok_or_else(bad)?;
    let (container, object) = split(text.strip_prefix('/').unwrap_or(text));
    if container.is_empty() || object.is_empty() { Err(bad()) } else { Ok((container, object)) }
}

fn copy(ask: &mut Ask<'_>, from: (String, String), to: (String, String)) -> Answer {
    let target = ask.bucket(&to.0)?;
    grants::allow(&target, &ask.who, Permission::Write)?;
    check_object(&to.1)?;
    let source = ask.bucket(&from.0)?;
    let found = docs::current(ask.state, &from.0, &from.1);
    let original = grants::allow_object(&source, found, &ask.who, Permission::Read)?;
    let original = manifests::resolve(ask, original)?;
    let fresh = ask.call.header("x-fresh-metadata").is_some_and(|word| word.eq_ignore_ascii_case("true"));
    let mut version = described(ask, "");
    version.content_type = version.content_type.or_else(|| original.content_type.clone());
    if !fresh {
        for (name, value) in &original.meta {
            version.meta.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (name, value) in &original.headers {
            version.headers.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    (version.size, version.etag) = (original.size, original.etag.clone());
    version.pieces = ask.share(&original.pieces)?;
    let put = ask.put(&target, &to.1, version);
    let mut output = Output::new(201)
        .header("etag", &put.etag)
        .header("last-modified", clock::http_date(put.modified))
        .header("x-copied-from", format!("{}/{}", from.0, from.1))
        .header("x-copied-from-account", &source.project_id)
        .header("x-copied-from-last-modified", clock::http_date(original.modified));
    for (name, value) in &put.meta {
        output = output.header(&format!("x-object-meta-{name}"), value);
    }
    Ok(output.header("content-type", PLAIN).header("content-length", "0"))
}

/// `GET` and `HEAD` of an object.
pub fn get(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    let found = docs::current(ask.state, name, key);
    let version = grants::allow_object(&bucket, found, &ask.who, Permission::Read)?;
    if ask.call.param("multipart-manifest") == Some("get") {
        return Ok(manifests::shown(&version));
    }
    let is_large = version.manifest.is_some();
    let version = manifests::resolve(ask, version)?;
    conditions::to_read(ask.call, &version)?;
    let etag = if is_large { format!("\"{}\"", version.etag) } else { version.etag.clone() };
    let mut output = Output::default()
        .header("accept-ranges", "bytes")
        .header("last-modified", clock::http_date(version.modified))
        .header("x-timestamp", timestamp(version.modified))
        .header("etag", etag)
        .header("content-type", version.content_type.as_deref().unwrap_or("binary/octet-stream"));
    match &version.manifest {
        Some(Manifest::Static(_)) => output = output.header("x-static-large-object", "True"),
        Some(Manifest::Dynamic(prefix)) => output = output.header("x-object-manifest", prefix),
        None => {}
    }
    for (name, value) in &version.meta {
        output = output.header(&format!("x-object-meta-{name}"), value);
    }
    for (name, value) in &version.headers {
        output = output.header(name, value);
    }
    send(ask, &version, output)
}

/// `POST` of an object: its metadata, all of it anew.
pub fn edit(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Write)?;
    docs::current(ask.state, name, key)?;
    let new = described(ask, "");
    docs::edit_current(ask.state, name, key, |version| {
        version.meta = new.meta;
        version.headers.extend(new.headers);
        version.content_type = new.content_type.or(version.content_type.take());
    });
    Ok(done(202).header("content-length", "0"))
}

/// `DELETE` of an object.
pub fn delete(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    remove(ask, name, key)?;
    Ok(done(204))
}

/// Removes an object that is there.
///
/// # Errors
/// When it is not there, or the caller may not write there.
pub fn remove(ask: &mut Ask<'_>, name: &str, key: &str) -> Result<(), Refusal> {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Write)?;
    docs::current(ask.state, name, key)?;
    let (_, trash) = docs::remove(ask.state, &bucket, key, None, ask.now);
    ask.trash.extend(trash);
    Ok(())
}
