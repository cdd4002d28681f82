//! Objects put in parts.
//!
//! Invariants:
//! - Nothing of an upload is seen before it is completed, and then all of it at once. The parts' files are the object's: none
//!   of their bytes is copied.
//! - An upload that was completed leaves no part behind: Ceph's gateway refuses to complete one of which a part is not named.

use md5::{Digest as _, Md5};

use super::buckets::page_length;
use super::xml::{Node, Xml};
use super::{Answer, document, moment, objects, owner};
use crate::embedded::objects::docs::{self, Part, Upload, Version};
use crate::embedded::objects::grants::{self, Owner, Permission};
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::objects::vault::cut;
use crate::embedded::objects::{Ask, Output, conditions};
use crate::hex;

/// Every part but the last has at least that many bytes.
const SMALLEST: u64 = 5 << 20;

/// How an upload's name begins.
const PREFIX: &str = "2~";

fn writable(ask: &Ask<'_>, name: &str) -> Result<docs::Bucket, Refusal> {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Write)?;
    Ok(bucket)
}

/// `POST /bucket/key?uploads`.
pub fn begin(ask: &mut Ask<'_>, (name, key): (&str, &str)) -> Answer {
    let bucket = writable(ask, name)?;
    objects::check_put(ask.call, key)?;
    let about = objects::described(ask, &bucket)?;
    let id = format!("{PREFIX}{}", docs::new_name());
    let (bucket, key) = (name.to_owned(), key.to_owned());
    let mut xml = Xml::new("InitiateMultipartUploadResult");
    xml.leaf("Bucket", &bucket).leaf("Key", &key).leaf("UploadId", &id);
    Upload { id, bucket, key, started: ask.now, about }.save(ask.state);
    Ok(document(xml))
}

/// `PUT /bucket/key?partNumber=…&uploadId=…`, of contents or of an object that is there.
pub fn put_part(ask: &mut Ask<'_>, (name, key): (&str, &str), id: &str, is_copy: bool) -> Answer {
    writable(ask, name)?;
    let number = ask.call.param("partNumber").and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| Refusal::new("InvalidArgument"))?;
    let upload = Upload::find(ask.state, name, key, id)?;
    let modified = ask.now;
    let part = if is_copy {
        copied(ask, number)?
    } else {
        let arrived = ask.contents()?;
        objects::check_md5(ask.call, &arrived.md5)?;
        let (size, etag) = (arrived.size, hex::encode(&arrived.md5));
        Part { number, etag, size, modified, pieces: ask.keep(arrived)? }
    };
    let replaced = upload.put_part(ask.state, &part);
    ask.trash.extend(replaced);
    if is_copy {
        let mut xml = Xml::new("CopyPartResult");
        xml.leaf("LastModified", moment(modified)).leaf("ETag", &part.etag);
        return Ok(document(xml));
    }
    Ok(Output::new(200).header("etag", format!("\"{}\"", part.etag)).header("accept-ranges", "bytes"))
}

fn copied(ask: &Ask<'_>, number: u32) -> Result<Part, Refusal> {
    let (_, _, original) = objects::source(ask)?;
    let range = match ask.call.header("x-amz-copy-source-range") {
        Some(header) => conditions::range(header, original.size)?,
        None => None,
    };
    let (start, size) = range.map_or((0, original.size), |range| (range.start, range.length));
    let pieces = ask.share(&cut(&original.pieces, start, size))?;
    let etag = if size == original.size && !original.etag.contains('-') {
        original.etag
    } else {
        let md5 = ask.vault.md5(&pieces).map_err(|error| Refusal::new("InternalError").saying(error.to_string()))?;
        hex::encode(&md5)
    };
    Ok(Part { number, etag, size, modified: ask.now, pieces })
}

/// `GET /bucket/key?uploadId=…`.
pub fn list_parts(ask: &mut Ask<'_>, (name, key): (&str, &str), id: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Read)?;
    let upload = Upload::find(ask.state, name, key, id).map_err(|_| Refusal::new("NoSuchKey"))?;
    let most = page_length(ask, "max-parts")?;
    let marker: u32 = ask.call.param("part-number-marker").and_then(|text| text.parse().ok()).unwrap_or(0);
    let all = upload.parts(ask.state);
    let (shown, more) = {
        let rest: Vec<&Part> = all.iter().filter(|part| part.number > marker).collect();
        let more = rest.len() > most;
        (rest.into_iter().take(most).collect::<Vec<_>>(), more)
    };
    let next = shown.last().map_or(0, |part| part.number);
    let mut xml = Xml::new("ListPartsResult");
    xml.leaf("Bucket", name).leaf("Key", key).leaf("UploadId", id).leaf("StorageClass", "STANDARD");
    xml.leaf("PartNumberMarker", marker.to_string()).leaf("NextPartNumberMarker", next.to_string());
    xml.leaf("MaxParts", most.to_string()).leaf("IsTruncated", more.to_string());
    owner(&mut xml, "Owner", &Owner::default());
    for part in shown {
        xml.open("Part").leaf("LastModified", moment(part.modified)).leaf("PartNumber", part.number.to_string());
        xml.leaf("ETag", format!("\"{}\"", part.etag)).leaf("Size", part.size.to_string()).close();
    }
    Ok(document(xml))
}

/// `GET /bucket?uploads`.
pub fn list_uploads(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Read)?;
    let most = page_length(ask, "max-uploads")?;
    let text = |name: &str| ask.call.param(name).unwrap_or_default();
    let (prefix, key_marker, id_marker) = (text("prefix"), text("key-marker"), text("upload-id-marker"));
    let mut uploads = Upload::of_bucket(ask.state, name);
    uploads.retain(|upload| {
        let after = match upload.key.as_str().cmp(key_marker) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => !id_marker.is_empty() && upload.id.as_str() > id_marker,
            std::cmp::Ordering::Less => false,
        };
        after && upload.key.starts_with(prefix)
    });
    let more = uploads.len() > most;
    uploads.truncate(most);
    let mut xml = Xml::new("ListMultipartUploadsResult");
    xml.leaf("Bucket", name);
    if !prefix.is_empty() {
        xml.leaf("Prefix", prefix);
    }
    if let Some(last) = uploads.last() {
        xml.leaf("NextKeyMarker", &last.key).leaf("NextUploadIdMarker", &last.id);
    }
    xml.leaf("MaxUploads", most.to_string()).leaf("IsTruncated", more.to_string());
    for upload in &uploads {
        xml.open("Upload").leaf("Key", &upload.key).leaf("UploadId", &upload.id);
        owner(&mut xml, "Initiator", &upload.about.owner);
        owner(&mut xml, "Owner", &upload.about.owner);
        xml.leaf("StorageClass", "STANDARD").leaf("Initiated", moment(upload.started)).close();
    }
    Ok(document(xml))
}

/// `DELETE /bucket/key?uploadId=…`.
pub fn abort(ask: &mut Ask<'_>, (name, key): (&str, &str), id: &str) -> Answer {
    writable(ask, name)?;
    let upload = Upload::find(ask.state, name, key, id)?;
    let trash = upload.remove(ask.state);
    ask.trash.extend(trash);
    Ok(Output::new(204))
}

/// `POST /bucket/key?uploadId=…`.
pub fn complete(ask: &mut Ask<'_>, (name, key): (&str, &str), id: &str) -> Answer {
    let bucket = writable(ask, name)?;
    let wanted = wanted(ask.text())?;
    let Ok(upload) = Upload::find(ask.state, name, key, id) else { return completed(ask, (name, key), &wanted) };
    let parts = upload.parts(ask.state);
    check(&parts, &wanted)?;
    let version = Version {
        size: parts.iter().map(|part| part.size).sum(),
        etag: etag_of_parts(&wanted),
        modified: ask.now,
        pieces: parts.into_iter().flat_map(|part| part.pieces).collect(),
        ..upload.about.clone()
    };
    // The parts' files are the object's from now on, so they are not removed with the upload.
    upload.remove(ask.state);
    let put = ask.put(&bucket, key, version);
    let output = result(ask, (name, key), "");
    Ok(if put.id == docs::NULL { output } else { output.header("x-amz-version-id", put.id) })
}

/// The parts that a request to complete names: number and MD5.
fn wanted(text: &[u8]) -> Result<Vec<(u32, String)>, Refusal> {
    let malformed = || Refusal::new("MalformedXML");
    let document = Node::read(text, "CompleteMultipartUpload")?;
    let parts = document.all("Part").map(|part| {
        let number = part.get("PartNumber").and_then(|text| text.trim().parse().ok()).ok_or_else(malformed)?;
        let etag = part.get("ETag").ok_or_else(malformed)?;
        Ok((number, etag.trim().trim_matches('"').to_owned()))
    });
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    if parts.is_empty() { Err(malformed()) } else { Ok(parts) }
}

/// Whether the parts that are there are those named, in their order, and only the last is small.
fn check(parts: &[Part], wanted: &[(u32, String)]) -> Result<(), Refusal> {
    let same = parts.len() == wanted.len()
        && parts.iter().zip(wanted).all(|(part, (number, etag))| part.number == *number && part.etag == *etag);
    if !same {
        return Err(Refusal::new("InvalidPart"));
    }
    let small = parts.iter().rev().skip(1).any(|part| part.size < SMALLEST);
    if small { Err(Refusal::new("EntityTooSmall")) } else { Ok(()) }
}

fn etag_of_parts(parts: &[(u32, String)]) -> String {
    let mut md5 = Md5::new();
    for (_, etag) in parts {
        md5.update(hex::decode(etag).unwrap_or_default());
    }
    format!("{}-{}", hex::encode(&md5.finalize()), parts.len())
}

/// An upload that is not there was completed before if the object is what these parts make.
fn completed(ask: &Ask<'_>, (name, key): (&str, &str), wanted: &[(u32, String)]) -> Answer {
    let etag = etag_of_parts(wanted);
    match docs::current(ask.state, name, key) {
        Ok(version) if version.etag == etag => Ok(result(ask, (name, key), &etag)),
        _ => Err(Refusal::new("InternalError").saying("This multipart completion is already in progress")),
    }
}

/// Ceph's gateway says the ETag only when it is asked again.
fn result(ask: &Ask<'_>, (name, key): (&str, &str), etag: &str) -> Output {
    let mut xml = Xml::new("CompleteMultipartUploadResult");
    xml.leaf("Location", format!("{}/{name}/{key}", ask.call.base)).leaf("Bucket", name).leaf("Key", key);
    xml.leaf("ETag", etag);
    document(xml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etag_of_parts_is_the_one_measured() {
        let part = |number, text: &[u8]| (number, hex::encode(&Md5::digest(text)));
        let parts = [part(1, &vec![b'a'; 5 << 20]), part(3, &[b'b'; 10])];
        assert_eq!(etag_of_parts(&parts), "8b0be7847da5564ae08e97af63b60885-2");
    }

    #[test]
    fn all_parts_must_be_named_and_only_the_last_may_be_small() {
        let part = |number, size| Part { number, etag: "e".to_owned(), size, modified: 0, pieces: Vec::new() };
        let named = |numbers: &[u32]| numbers.iter().map(|number| (*number, "e".to_owned())).collect::<Vec<_>>();
        let code = |parts: &[Part], numbers: &[u32]| check(parts, &named(numbers)).map_err(|refusal| refusal.code);
        let parts = [part(1, SMALLEST), part(3, 1)];
        assert_eq!(code(&parts, &[1, 3]), Ok(()));
        assert_eq!(code(&parts, &[1]), Err("InvalidPart"));
        assert_eq!(code(&parts, &[3, 1]), Err("InvalidPart"));
        assert_eq!(code(&[part(1, 1), part(2, 1)], &[1, 2]), Err("EntityTooSmall"));
    }
}
