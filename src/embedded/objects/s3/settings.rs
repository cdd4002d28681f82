//! Settings of buckets and objects: versioning, grants, tags; and those that never change here.

use super::xml::{NAMESPACE, Node, Xml};
use super::{Answer, document, owner};
use crate::embedded::objects::docs::{self, Bucket, Versioning};
use crate::embedded::objects::grants::{self, Grant, Grantee, Owner, Permission};
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::objects::{Ask, Output};

/// How many tags a bucket or an object may have.
const MOST_TAGS: usize = 50;

fn done() -> Output {
    Output::new(200).header("content-type", "application/xml")
}

/// `?versioning`.
pub fn versioning(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.own_bucket(name)?;
    if ask.call.method == http::Method::GET {
        let mut xml = Xml::new("VersioningConfiguration");
        let status = match bucket.versioning {
            Versioning::Off => return Ok(document(xml)),
            Versioning::Enabled => "Enabled",
            Versioning::Suspended => "Suspended",
        };
        xml.leaf("Status", status).leaf("MfaDelete", "Disabled");
        return Ok(document(xml));
    }
    let wanted = Node::read(ask.text(), "VersioningConfiguration")?;
    let versioning = match wanted.get("Status").map(str::trim) {
        Some("Enabled") => Versioning::Enabled,
        Some("Suspended") => Versioning::Suspended,
        _ => return Err(Refusal::new("InvalidArgument")),
    };
    Bucket { versioning, changed: ask.now, ..bucket }.save(ask.state);
    Ok(done())
}

fn policy(bucket: &Bucket, holder: &Owner, granted: &[Grant]) -> Output {
    const SCHEMA: &str = r#"xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="#;
    let mut xml = Xml::new("AccessControlPolicy");
    let full = Grant { to: Grantee::Project(holder.0.clone()), may: Permission::Full };
    owner(&mut xml, "Owner", holder);
    xml.open("AccessControlList");
    // The bucket's own project is not named twice.
    let named = granted.iter().filter(|grant| **grant != full || bucket.project_id != holder.0);
    for grant in named.chain([&full]) {
        xml.open("Grant");
        match &grant.to {
            Grantee::Project(id) => {
                let project = Owner::project(id);
                xml.open_with("Grantee", &format!(r#"{SCHEMA}"CanonicalUser""#));
                xml.leaf("ID", id).leaf("DisplayName", project.name()).close();
            }
            Grantee::Group(uri) => {
                xml.open_with("Grantee", &format!(r#"{SCHEMA}"Group""#)).leaf("URI", uri).close();
            }
        }
        xml.leaf("Permission", grant.may.name()).close();
    }
    document(xml)
}

/// The grants that a request gives: a canned ACL, or a document.
fn wanted_grants(ask: &Ask<'_>, bucket: &Bucket) -> Result<Vec<Grant>, Refusal> {
    if let Some(acl) = ask.call.header("x-amz-acl") {
        return grants::canned(acl, &bucket.project_id);
    }
    if ask.call.headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-")) {
        return Err(Refusal::new("NotImplemented"));
    }
    let invalid = || Refusal::new("InvalidArgument");
    let document = Node::read(ask.text(), "AccessControlPolicy").map_err(|_| invalid())?;
    let list = document.child("AccessControlList").ok_or_else(invalid)?;
    let grants = list.all("Grant").map(|grant| {
        let to = grant.child("Grantee").ok_or_else(invalid)?;
        let to = match (to.get("ID"), to.get("URI")) {
            (Some(id), _) => Grantee::Project(id.to_owned()),
            (None, Some(uri)) => Grantee::Group(uri.to_owned()),
            (None, None) => return Err(invalid()),
        };
        let may = grant.get("Permission").and_then(Permission::by_name).ok_or_else(invalid)?;
        Ok(Grant { to, may })
    });
    grants.collect()
}

/// Grants without what their owner has anyway.
fn others(granted: Vec<Grant>, holder: &str) -> Vec<Grant> {
    let own = Grant { to: Grantee::Project(holder.to_owned()), may: Permission::Full };
    granted.into_iter().filter(|grant| *grant != own).collect()
}

/// `?acl` of a bucket.
pub fn bucket_acl(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    if ask.call.method == http::Method::GET {
        grants::allow(&bucket, &ask.who, Permission::ReadGrants)?;
        return Ok(policy(&bucket, &Owner::project(&bucket.project_id), &bucket.grants));
    }
    grants::allow(&bucket, &ask.who, Permission::WriteGrants)?;
    let grants = others(wanted_grants(ask, &bucket)?, &bucket.project_id);
    // Swift's lists and S3's grants are one list there; here the later one replaces the earlier.
    Bucket { grants, read: String::new(), write: String::new(), changed: ask.now, ..bucket }.save(ask.state);
    Ok(done())
}

/// `?acl` of an object.
pub fn object_acl(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    let found = docs::current(ask.state, name, key);
    if ask.call.method == http::Method::GET {
        let version = grants::allow_object(&bucket, found, &ask.who, Permission::ReadGrants)?;
        return Ok(policy(&bucket, &version.owner, &version.grants));
    }
    let version = grants::allow_object(&bucket, found, &ask.who, Permission::WriteGrants)?;
    let grants = others(wanted_grants(ask, &bucket)?, &version.owner.0);
    docs::edit_current(ask.state, name, key, |version| version.grants = grants);
    Ok(done())
}

/// Tags as a header has them: `a=1&b=2`.
///
/// # Errors
/// `InvalidArgument` if there are too many.
pub fn parse_tags(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let tags: Vec<(String, String)> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    if tags.len() > MOST_TAGS { Err(Refusal::new("InvalidArgument")) } else { Ok(tags) }
}

fn wanted_tags(ask: &Ask<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let malformed = || Refusal::new("MalformedXML");
    let document = Node::read(ask.text(), "Tagging")?;
    let set = document.child("TagSet").ok_or_else(malformed)?;
    let tags = set.all("Tag").map(|tag| {
        let (key, value) = (tag.get("Key").ok_or_else(malformed)?, tag.get("Value").ok_or_else(malformed)?);
        Ok((key.to_owned(), value.to_owned()))
    });
    let tags = tags.collect::<Result<Vec<_>, Refusal>>()?;
    if tags.len() > MOST_TAGS { Err(Refusal::new("InvalidArgument")) } else { Ok(tags) }
}

fn tag_set(tags: &[(String, String)]) -> Output {
    let mut xml = Xml::new("Tagging");
    xml.open("TagSet");
    for (key, value) in tags {
        xml.open("Tag").leaf("Key", key).leaf("Value", value).close();
    }
    document(xml)
}

/// `?tagging` of a bucket.
pub fn bucket_tags(ask: &mut Ask<'_>, name: &str) -> Answer {
    let bucket = ask.own_bucket(name)?;
    match ask.call.method.as_str() {
        "GET" if bucket.tags.is_empty() => Err(Refusal::new("NoSuchTagSet")),
        "GET" => Ok(tag_set(&bucket.tags)),
        "PUT" => {
            Bucket { tags: wanted_tags(ask)?, ..bucket }.save(ask.state);
            Ok(done())
        }
        _ => {
            Bucket { tags: Vec::new(), ..bucket }.save(ask.state);
            Ok(done())
        }
    }
}

/// `?tagging` of an object.
pub fn object_tags(ask: &mut Ask<'_>, name: &str, key: &str) -> Answer {
    let bucket = ask.bucket(name)?;
    let found = docs::current(ask.state, name, key);
    if ask.call.method == http::Method::GET {
        let version = grants::allow_object(&bucket, found, &ask.who, Permission::Read)?;
        return Ok(tag_set(&version.tags));
    }
    grants::allow_object(&bucket, found, &ask.who, Permission::Full)?;
    let removes = ask.call.method == http::Method::DELETE;
    let tags = if removes { Vec::new() } else { wanted_tags(ask)? };
    docs::edit_current(ask.state, name, key, |version| version.tags = tags);
    Ok(if removes { Output::new(204) } else { done() })
}

/// What every bucket answers alike to a look at a setting that cannot be changed here.
pub fn fixed(ask: &mut Ask<'_>, name: &str, what: &str) -> Answer {
    ask.own_bucket(name)?;
    let empty = |root| Ok(document(Xml::new(root)));
    match what {
        "policy" => Err(Refusal::new("NoSuchBucketPolicy").saying("The bucket policy does not exist")),
        "lifecycle" => Err(Refusal::new("NoSuchLifecycleConfiguration")),
        "object-lock" => Err(Refusal::new("ObjectLockConfigurationNotFoundError")),
        "website" => Err(Refusal::new("MethodNotAllowed")),
        "logging" => empty("BucketLoggingStatus"),
        "policyStatus" => {
            let mut xml = Xml::new("PolicyStatus");
            xml.leaf("IsPublic", "false");
            Ok(document(xml))
        }
        "requestPayment" => {
            let mut xml = Xml::new("RequestPaymentConfiguration");
            xml.leaf("Payer", "BucketOwner");
            Ok(document(xml))
        }
        "replication" => {
            let text =
                format!(r#"<ReplicationConfiguration xmlns="{NAMESPACE}"><Role></Role></ReplicationConfiguration>"#);
            Ok(Output::new(200).text("application/xml", format!(r#"<?xml version="1.0" encoding="UTF-8"?>{text}"#)))
        }
        "notification" => {
            Ok(Output::new(200).text("application/xml", "<NotificationConfiguration></NotificationConfiguration>"))
        }
        "publicAccessBlock" => {
            let mut xml = Xml::plain("BlockPublicAccessBlockConfiguration");
            for block in ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"] {
                xml.leaf(block, "false");
            }
            Ok(document(xml))
        }
        _ => Err(Refusal::new("NotImplemented")),
    }
}
