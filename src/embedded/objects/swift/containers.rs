//! Containers: made, looked at, changed, removed, and what is in them.

use serde_json::json;

use super::{Answer, JSON, PLAIN, done, is_json, metadata, timestamp};
use crate::embedded::clock;
use crate::embedded::objects::docs::Bucket;
use crate::embedded::objects::grants::{self, Permission};
use crate::embedded::objects::listing::{self, Entry, Query};
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::objects::s3::buckets;
use crate::embedded::objects::{Ask, Output};
use crate::embedded::tables::Table;
use crate::model::Json;

/// The longest page.
pub const PAGE: usize = 10_000;

/// Takes in what headers say of a container.
fn describe(ask: &Ask<'_>, bucket: &mut Bucket) {
    let call = ask.call;
    for (name, value) in metadata(call, "x-container-meta-") {
        if value.is_empty() {
            bucket.meta.remove(&name)
        } else {
            bucket.meta.insert(name, value)
        };
    }
    for (name, _) in metadata(call, "x-remove-container-meta-") {
        bucket.meta.remove(&name);
    }
    if let Some(readers) = call.header("x-container-read") {
        readers.clone_into(&mut bucket.read);
    }
    if let Some(writers) = call.header("x-container-write") {
        writers.clone_into(&mut bucket.write);
    }
    bucket.changed = ask.now;
}

/// `PUT` of a container: 201 for a new one, 202 for one's own.
pub fn create(ask: &mut Ask<'_>, account: &str, name: &str) -> Answer {
    if !ask.who.is_known() || ask.who.project != account {
        return Err(Refusal::new("AccessDenied"));
    }
    let (mut bucket, status) = match ask.bucket(name) {
        Ok(old) if old.project_id != ask.who.project => return Err(Refusal::new("BucketAlreadyExists")),
        Ok(old) => (old, 202),
        Err(_) => (buckets::new(ask, name), 201),
    };
    describe(ask, &mut bucket);
    bucket.save(ask.state);
    Ok(done(status).header("content-length", "0"))
}

fn headers(ask: &Ask<'_>, bucket: &Bucket) -> Output {
    let (count, bytes) = bucket.usage(ask.state);
    let mut output = Output::new(204)
        .header("x-timestamp", timestamp(bucket.created))
        .header("x-container-object-count", count.to_string())
        .header("x-container-bytes-used", bytes.to_string())
        .header("x-storage-policy", "default-placement")
        .header("x-storage-class", "STANDARD")
        .header("last-modified", clock::http_date(bucket.changed))
        .header("accept-ranges", "bytes");
    for (name, value) in [("x-container-read", &bucket.read), ("x-container-write", &bucket.write)] {
        if !value.is_empty() {
            output = output.header(name, value);
        }
    }
    for (name, value) in &bucket.meta {
        output = output.header(&format!("x-container-meta-{name}"), value);
    }
    output
}

/// `HEAD` of a container.
pub fn head(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Read)?;
    Ok(headers(ask, &bucket).header("content-type", PLAIN))
}

/// `POST` of a container.
pub fn edit(ask: &mut Ask<'_>, name: &str) -> Answer {
    let mut bucket = ask.own_bucket(name)?;
    describe(ask, &mut bucket);
    bucket.save(ask.state);
    Ok(Output::new(204).header("content-type", PLAIN))
}

/// `DELETE` of a container. Multipart uploads that are not completed go with it, if nothing else is in it.
pub fn delete(ask: &mut Ask<'_>, name: &str) -> Answer {
    remove(ask, name)?;
    Ok(done(204))
}

/// Removes a container.
///
/// # Errors
/// When it is not there, not the caller's, or not empty.
pub fn remove(ask: &mut Ask<'_>, name: &str) -> Result<(), Refusal> {
    let bucket = ask.own_bucket(name)?;
    if !bucket.is_empty(ask.state, false) {
        let why = "There was a conflict when trying to complete your request.";
        return Err(Refusal::new("BucketNotEmpty").saying(why));
    }
    for upload in crate::embedded::objects::docs::Upload::of_bucket(ask.state, name) {
        let trash = upload.remove(ask.state);
        ask.trash.extend(trash);
    }
    ask.state.remove(Table::Buckets, name);
    Ok(())
}

fn query(ask: &Ask<'_>) -> Result<Query, Refusal> {
    let text = |name: &str| ask.call.param(name).unwrap_or_default().to_owned();
    let most = match text("limit").as_str() {
        "" => PAGE,
        limit => limit.parse::<usize>().map_err(|_| Refusal::new("InvalidArgument"))?.min(PAGE),
    };
    let (mut prefix, mut delimiter) = (text("prefix"), text("delimiter"));
    if let Some(path) = ask.call.param("path") {
        // What is directly in a folder.
        prefix = if path.is_empty() { String::new() } else { format!("{}/", path.trim_end_matches('/')) };
        delimiter = "/".to_owned();
    }
    let until = Some(text("end_marker")).filter(|marker| !marker.is_empty());
    Ok(Query { prefix, delimiter, after: text("marker"), until, most, ..Query::default() })
}

/// `GET` of a container.
pub fn list(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Read)?;
    let query = query(ask)?;
    let is_path = ask.call.param("path").is_some();
    let mut page = listing::objects(ask.state, name, &query);
    // A look into a folder shows no folders.
    page.entries.retain(|entry| !is_path || matches!(entry, Entry::Version(..)));
    let mut output = headers(ask, &bucket);
    if is_json(ask.call) {
        output.status = 200;
        let list: Vec<Json> = page.entries.iter().map(in_json).collect();
        return Ok(output.text(JSON, Json::Array(list).to_string()));
    }
    if ask.call.param("format") == Some("xml") {
        output.status = 200;
        return Ok(output.text("application/xml; charset=utf-8", in_xml(name, &page.entries)));
    }
    let names: Vec<&str> = page.entries.iter().map(named).collect();
    Ok(if names.is_empty() {
        output.header("content-type", PLAIN)
    } else {
        output.status = 200;
        // Ceph's gateway ends no line after the last name.
        output.text(PLAIN, names.join("\n"))
    })
}

fn named(entry: &Entry) -> &str {
    match entry {
        Entry::Version(key, ..) => key,
        Entry::Prefix(prefix) => prefix,
    }
}

fn in_json(entry: &Entry) -> Json {
    match entry {
        Entry::Prefix(prefix) => json!({"subdir": prefix}),
        Entry::Version(key, version, _) => {
            let modified = clock::zulu_milli(version.modified);
            let mut shown =
                json!({"name": key, "hash": version.etag, "bytes": version.size, "last_modified": modified});
            if let (Some(kind), Some(map)) = (&version.content_type, shown.as_object_mut()) {
                map.insert("content_type".to_owned(), kind.as_str().into());
            }
            shown
        }
    }
}

fn in_xml(name: &str, entries: &[Entry]) -> String {
    use quick_xml::escape::escape;
    let items = entries.iter().map(|entry| match entry {
        Entry::Prefix(prefix) => {
            format!("<subdir name=\"{0}\"><name>{0}</name></subdir>", escape(prefix.as_str()))
        }
        Entry::Version(key, version, _) => format!(
            "<object><name>{}</name><hash>{}</hash><bytes>{}</bytes><content_type>{}</content_type><last_modified>{}\
             </last_modified></object>",
            escape(key.as_str()),
            version.etag,
            version.size,
            escape(version.content_type.as_deref().unwrap_or_default()),
            clock::zulu_milli(version.modified)
        ),
    });
    let items: String = items.collect();
    format!(r#"<?xml version="1.0" encoding="UTF-8"?><container name="{}">{items}</container>"#, escape(name))
}
