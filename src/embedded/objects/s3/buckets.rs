//! Buckets: made, looked at, removed, and what is in them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::xml::{Node, Xml};
use super::{Answer, document, moment, owner};
use crate::embedded::objects::docs::{Bucket, Version, Versioning};
use crate::embedded::objects::grants::{self, Owner, Permission};
use crate::embedded::objects::listing::{self, Entry, Query};
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::objects::{Ask, Output};

/// The longest page.
const PAGE: usize = 1000;

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `GET /`.
pub fn list_all(ask: &Ask<'_>) -> Output {
    let mut xml = Xml::new("ListAllMyBucketsResult");
    let project = if ask.who.is_known() { ask.who.project.as_str() } else { "anonymous" };
    owner(&mut xml, "Owner", &Owner::project(project));
    xml.open("Buckets");
    for bucket in Bucket::of_project(ask.state, &ask.who.project) {
        xml.open("Bucket").leaf("Name", &bucket.name).leaf("CreationDate", moment(bucket.created)).close();
    }
    document(xml)
}

/// Whether S3 makes a bucket of that name; Swift makes others.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = name.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'.'));
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().last().is_some_and(plain);
    let pairs = ["..", ".-", "-."].iter().any(|pair| name.contains(pair));
    (3..=63).contains(&name.len()) && inner && ends && !pairs && name.parse::<std::net::Ipv4Addr>().is_err()
}

/// A new bucket of the caller's.
#[must_use]
pub fn new(ask: &Ask<'_>, name: &str) -> Bucket {
    Bucket {
        name: name.to_owned(),
        project_id: ask.who.project.clone(),
        created: ask.now,
        changed: ask.now,
        versioning: Versioning::Off,
        meta: Default::default(),
        read: String::new(),
        write: String::new(),
        grants: Vec::new(),
        cors: Vec::new(),
        tags: Vec::new(),
    }
}

/// `PUT /bucket`. One's own, once more, is no error.
pub fn create(ask: &mut Ask<'_>, name: &str) -> Answer {
    if !ask.who.is_known() {
        return Err(Refusal::new("AccessDenied"));
    }
    if !is_name(name) {
        return Err(Refusal::new("InvalidBucketName"));
    }
    if !ask.text().is_empty() {
        let wanted =
            Node::read(ask.text(), "CreateBucketConfiguration").map_err(|_| Refusal::new("InvalidArgument"))?;
        if wanted.get("LocationConstraint").is_some_and(|place| !matches!(place, "" | "default")) {
            let why = "The specified location-constraint is not valid";
            return Err(Refusal::new("InvalidLocationConstraint").saying(why));
        }
    }
    if ask.call.header("x-amz-bucket-object-lock-enabled").is_some_and(|wanted| wanted.eq_ignore_ascii_case("true")) {
        return Err(Refusal::new("NotImplemented"));
    }
    let grants = match ask.call.header("x-amz-acl") {
        Some(acl) => grants::canned(acl, &ask.who.project)?,
        None => Vec::new(),
    };
    match ask.bucket(name) {
        Ok(old) if old.project_id != ask.who.project => return Err(Refusal::new("BucketAlreadyExists")),
        Ok(_) => {}
        Err(_) => Bucket { grants, ..new(ask, name) }.save(ask.state),
    }
    Ok(Output::new(200))
}

/// `HEAD /bucket`.
pub fn head(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Read)?;
    let (count, bytes) = bucket.usage(ask.state);
    let unlimited = ["user-size", "user-objects", "bucket-size", "bucket-objects"];
    let output = Output::new(200)
        .header("x-rgw-object-count", count.to_string())
        .header("x-rgw-bytes-used", bytes.to_string())
        .header("x-rgw-quota-max-buckets", "1000");
    Ok(unlimited.iter().fold(output, |output, quota| output.header(&format!("x-rgw-quota-{quota}"), "-1")))
}

/// `DELETE /bucket`.
pub fn delete(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.own_bucket(name)?;
    if !bucket.is_empty(ask.state, true) {
        return Err(Refusal::new("BucketNotEmpty"));
    }
    ask.state.remove(crate::embedded::tables::Table::Buckets, name);
    Ok(Output::new(204))
}

/// `GET /bucket?location`.
pub fn location(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Read)?;
    let text = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><LocationConstraint xmlns="{}">default</LocationConstraint>"#,
        super::xml::NAMESPACE
    );
    Ok(Output::new(200).text("application/xml", text))
}

/// How names are written in a list.
struct Names(bool);

impl Names {
    fn of(ask: &Ask<'_>) -> Self {
        Self(ask.call.param("encoding-type") == Some("url"))
    }

    fn text(&self, name: &str) -> String {
        if self.0 { utf8_percent_encode(name, PLAIN).to_string() } else { name.to_owned() }
    }
}

/// How long a page is to be.
///
/// # Errors
/// `InvalidArgument` if it is no number.
pub fn page_length(ask: &Ask<'_>, parameter: &str) -> Result<usize, Refusal> {
    let asked = ask.call.param(parameter).filter(|text| !text.is_empty());
    let length = asked.map_or(Ok(PAGE), |text| text.parse().map_err(|_| Refusal::new("InvalidArgument")))?;
    Ok(length.min(PAGE))
}

fn query(ask: &Ask<'_>, after: &str) -> Result<Query, Refusal> {
    let text = |name: &str| ask.call.param(name).unwrap_or_default().to_owned();
    Ok(Query {
        prefix: text("prefix"),
        delimiter: text("delimiter"),
        after: after.to_owned(),
        most: page_length(ask, "max-keys")?,
        ..Query::default()
    })
}

fn opening(root: &'static str, name: &str, query: &Query, more: bool, names: &Names) -> Xml {
    let mut xml = Xml::new(root);
    if names.0 {
        xml.leaf("EncodingType", "url");
    }
    xml.leaf("Name", name).leaf("Prefix", &query.prefix).leaf("MaxKeys", query.most.to_string());
    if !query.delimiter.is_empty() {
        xml.leaf("Delimiter", &query.delimiter);
    }
    xml.leaf("IsTruncated", more.to_string());
    xml
}

fn prefixes(xml: &mut Xml, entries: &[Entry], names: &Names) {
    for entry in entries {
        if let Entry::Prefix(prefix) = entry {
            xml.open("CommonPrefixes").leaf("Prefix", names.text(prefix)).close();
        }
    }
}

fn contents(xml: &mut Xml, version: &Version) {
    xml.leaf("LastModified", moment(version.modified)).leaf("ETag", format!("\"{}\"", version.etag));
    xml.leaf("Size", version.size.to_string()).leaf("StorageClass", "STANDARD");
}

/// `GET /bucket`, in both forms.
pub fn list(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Read)?;
    let second = ask.call.param("list-type") == Some("2");
    let token = ask.call.param("continuation-token");
    let after = if second { token.or(ask.call.param("start-after")) } else { ask.call.param("marker") };
    let query = query(ask, after.unwrap_or_default())?;
    let mut page = listing::objects(ask.state, name, &query);
    page.more &= query.most > 0;
    let names = Names::of(ask);
    let mut xml = opening("ListBucketResult", name, &query, page.more, &names);
    prefixes(&mut xml, &page.entries, &names);
    let owned = !second || ask.call.param("fetch-owner") == Some("true");
    for entry in &page.entries {
        let Entry::Version(key, version, _) = entry else { continue };
        xml.open("Contents").leaf("Key", names.text(key));
        contents(&mut xml, version);
        if owned {
            owner(&mut xml, "Owner", &version.owner);
        }
        xml.leaf("Type", "Normal").close();
    }
    let last = page.entries.last().filter(|_| page.more).map(|entry| match entry {
        Entry::Version(key, ..) => key,
        Entry::Prefix(prefix) => prefix,
    });
    if second {
        if let Some(last) = last {
            xml.leaf("NextContinuationToken", last);
        }
        if let Some(token) = token {
            xml.leaf("ContinuationToken", token);
        }
        if let Some(start) = ask.call.param("start-after") {
            xml.leaf("StartAfter", start);
        }
        xml.leaf("KeyCount", page.entries.len().to_string());
    } else {
        xml.leaf("Marker", names.text(&query.after));
        if let Some(last) = last {
            xml.leaf("NextMarker", names.text(last));
        }
    }
    Ok(document(xml))
}

/// `GET /bucket?versions`.
pub fn list_versions(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    grants::allow(&bucket, &ask.who, Permission::Read)?;
    let text = |name: &str| ask.call.param(name).unwrap_or_default();
    let (key_marker, version_marker) = (text("key-marker"), text("version-id-marker"));
    let mut query = query(ask, key_marker)?;
    query.after_version = Some(version_marker.to_owned()).filter(|id| !id.is_empty());
    let page = listing::versions(ask.state, name, &query);
    let names = Names::of(ask);
    let mut xml = opening("ListVersionsResult", name, &query, page.more, &names);
    prefixes(&mut xml, &page.entries, &names);
    xml.leaf("KeyMarker", names.text(key_marker)).leaf("VersionIdMarker", version_marker);
    match page.entries.last().filter(|_| page.more) {
        Some(Entry::Version(key, version, _)) => {
            // The next page goes on after this one.
            xml.leaf("NextKeyMarker", names.text(key)).leaf("NextVersionIdMarker", &version.id);
        }
        Some(Entry::Prefix(prefix)) => {
            xml.leaf("NextKeyMarker", names.text(prefix));
        }
        None => {}
    }
    for entry in &page.entries {
        let Entry::Version(key, version, newest) = entry else { continue };
        xml.open(if version.marker { "DeleteMarker" } else { "Version" });
        xml.leaf("Key", names.text(key)).leaf("VersionId", &version.id).leaf("IsLatest", newest.to_string());
        if version.marker {
            xml.leaf("LastModified", moment(version.modified));
        } else {
            contents(&mut xml, version);
        }
        owner(&mut xml, "Owner", &version.owner);
        xml.leaf("Type", "Normal").close();
    }
    Ok(document(xml))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_buckets_are_those_of_hosts() {
        for good in ["abc", "object-chi-net1", "a.b-c", "0aa", &"x".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["ab", "Abc", "a_b", "-ab", "ab-", "a..b", "a.-b", "1.2.3.4", "a b", &"x".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
