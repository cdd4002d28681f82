//! S3: which operation a request is, who may ask for it, and how refusals are written.
//!
//! In: requests in path style, signed or not. Out: answers as Ceph's gateway gives them.
//!
//! Invariant: a query that names something which is not embedded is refused with 501, and never taken for the operation
//! without it.

pub mod buckets;
pub mod cors;
pub mod multipart;
pub mod objects;
pub mod settings;
pub mod sign;
pub mod xml;

use http::Method;

use super::grants::{self, Caller, Permission};
use super::refusal::Refusal;
use super::{Ask, Output, Wants, split};
use crate::embedded::clock;
use crate::embedded::keystone::ec2;
use crate::embedded::wire::Call;
use sign::Payload;
use xml::Xml;

/// What an operation's handler answers.
pub type Answer = Result<Output, Refusal>;

/// Parts of a query that only say more of an operation.
const PARAMETERS: [&str; 21] = [
    "allow-unordered",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "partNumber",
    "prefix",
    "response-cache-control",
    "start-after",
    "upload-id-marker",
    "uploadId",
    "version-id-marker",
    "versionId",
    "x-id",
];

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Service,
    Bucket,
    Object,
}

/// A request's bucket, key and subresource.
struct Asked {
    on: On,
    bucket: String,
    key: String,
    /// The part of the query that names another operation; empty if none does.
    what: String,
}

impl Asked {
    fn of(call: &Call) -> Result<Self, Refusal> {
        let path = call.target.split('?').next().unwrap_or_default();
        let (bucket, key) = split(path.strip_prefix('/').unwrap_or(path));
        let on = match (bucket.is_empty(), key.is_empty()) {
            (true, _) => On::Service,
            (false, true) => On::Bucket,
            (false, false) => On::Object,
        };
        let other = |name: &&str| {
            let plain = PARAMETERS.contains(name) || name.starts_with("response-");
            !plain && !name.to_ascii_lowercase().starts_with("x-amz-")
        };
        let mut names = call.query.iter().map(|(name, _)| name.as_str()).filter(other);
        let what = names.next().unwrap_or_default().to_owned();
        if names.next().is_some() {
            return Err(Refusal::new("NotImplemented"));
        }
        Ok(Self { on, bucket, key, what })
    }
}

/// Who asks, and what the body is to be taken in as.
///
/// # Errors
/// When the signature is not good, or whoever signed may not put what is about to arrive.
pub fn admit(ask: &Ask<'_>) -> Result<(Caller, Wants, Payload), Refusal> {
    let secret = |access: &str| ec2::holder(ask.state, access).map(|_| ec2::secret(ask.seal, access));
    let signed = sign::check(ask.call, secret)?;
    let (caller, payload) = match signed {
        None => (Caller::default(), Payload::Unsigned),
        Some(signed) => {
            let holder = ec2::holder(ask.state, &signed.access);
            let (user, project) = holder.ok_or_else(|| Refusal::new("InvalidAccessKeyId"))?;
            (Caller { project, user }, signed.payload)
        }
    };
    let asked = Asked::of(ask.call)?;
    let call = ask.call;
    let is_copy = call.header("x-amz-copy-source").is_some();
    let wants = match (&call.method, asked.on, asked.what.as_str()) {
        (&Method::PUT, On::Object, "") if !is_copy => Wants::Contents,
        (&Method::PUT, On::Bucket | On::Object, _) if !is_copy => Wants::Text,
        (&Method::POST, On::Bucket | On::Object, _) => Wants::Text,
        _ => Wants::Nothing,
    };
    if wants == Wants::Contents {
        let bucket = ask.bucket(&asked.bucket)?;
        grants::allow(&bucket, &caller, Permission::Write)?;
        if call.header("content-length").is_none() {
            return Err(Refusal::new("MissingContentLength"));
        }
        objects::check_put(call, &asked.key)?;
    }
    Ok((caller, wants, payload))
}

/// Carries an operation out.
///
/// # Errors
/// When it is refused.
pub fn carry_out(ask: &mut Ask<'_>) -> Answer {
    let asked = Asked::of(ask.call)?;
    let done = dispatch(ask, &asked);
    let shared = cors::headers(ask, &asked.bucket);
    done.map(|output| shared.into_iter().fold(output, |output, (name, value)| output.header(&name, value)))
}

fn dispatch(ask: &mut Ask<'_>, asked: &Asked) -> Answer {
    let method = ask.call.method.clone();
    if method == Method::OPTIONS {
        return cors::preflight(ask, &asked.bucket);
    }
    match asked.on {
        On::Service => match (method, asked.what.as_str()) {
            (Method::GET, "") => Ok(buckets::list_all(ask)),
            (Method::GET | Method::HEAD, _) => Err(Refusal::new("NotImplemented")),
            _ => Err(Refusal::new("MethodNotAllowed")),
        },
        On::Bucket => bucket(ask, &method, asked),
        On::Object => object(ask, &method, asked),
    }
}

fn bucket(ask: &mut Ask<'_>, method: &Method, asked: &Asked) -> Answer {
    let name = &asked.bucket;
    match (method.as_str(), asked.what.as_str()) {
        ("PUT", "") => buckets::create(ask, name),
        ("HEAD", "") => buckets::head(ask, name),
        ("GET", "") => buckets::list(ask, name),
        ("DELETE", "") => buckets::delete(ask, name),
        ("GET", "versions") => buckets::list_versions(ask, name),
        ("GET", "location") => buckets::location(ask, name),
        ("GET", "uploads") => multipart::list_uploads(ask, name),
        ("POST", "delete") => objects::delete_many(ask, name),
        ("GET" | "PUT", "versioning") => settings::versioning(ask, name),
        ("GET" | "PUT", "acl") => settings::bucket_acl(ask, name),
        ("GET" | "PUT" | "DELETE", "tagging") => settings::bucket_tags(ask, name),
        ("GET" | "PUT" | "DELETE", "cors") => cors::configuration(ask, name),
        ("GET", _) => settings::fixed(ask, name, &asked.what),
        ("POST", "") => Err(Refusal::new("InvalidArgument").saying("Request Content-Type is not multipart/form-data")),
        ("PUT" | "DELETE" | "HEAD" | "POST", _) => Err(Refusal::new("NotImplemented")),
        _ => Err(Refusal::new("MethodNotAllowed")),
    }
}

fn object(ask: &mut Ask<'_>, method: &Method, asked: &Asked) -> Answer {
    let (bucket, key) = (asked.bucket.as_str(), asked.key.as_str());
    let upload = ask.call.param("uploadId").map(str::to_owned);
    let is_copy = ask.call.header("x-amz-copy-source").is_some();
    match (method.as_str(), asked.what.as_str(), upload) {
        ("PUT", "", Some(upload)) => multipart::put_part(ask, (bucket, key), &upload, is_copy),
        ("GET", "", Some(upload)) => multipart::list_parts(ask, (bucket, key), &upload),
        ("POST", "", Some(upload)) => multipart::complete(ask, (bucket, key), &upload),
        ("DELETE", "", Some(upload)) => multipart::abort(ask, (bucket, key), &upload),
        ("POST", "uploads", None) => multipart::begin(ask, (bucket, key)),
        ("PUT", "", None) if is_copy => objects::copy(ask, bucket, key),
        ("PUT", "", None) => objects::put(ask, bucket, key),
        ("GET" | "HEAD", "", None) => objects::get(ask, bucket, key),
        ("DELETE", "", None) => objects::delete(ask, bucket, key),
        ("GET" | "PUT", "acl", None) => settings::object_acl(ask, bucket, key),
        ("GET" | "PUT" | "DELETE", "tagging", None) => settings::object_tags(ask, bucket, key),
        ("POST", "", None) => {
            Err(Refusal::new("InvalidArgument").saying("Request Content-Type is not multipart/form-data"))
        }
        ("GET" | "HEAD" | "PUT" | "POST" | "DELETE", ..) => Err(Refusal::new("NotImplemented")),
        _ => Err(Refusal::new("MethodNotAllowed")),
    }
}

/// A refusal as S3 writes it.
#[must_use]
pub fn refuse(call: &Call, refusal: &Refusal) -> Output {
    if refusal.status == 304 {
        return Output::new(304);
    }
    let mut xml = Xml::plain("Error");
    xml.leaf("Code", refusal.code).leaf("Message", &refusal.message);
    // Whose signature is not good learns nothing of the bucket.
    let early = ["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "MethodNotAllowed"];
    if let Ok(asked) = Asked::of(call)
        && asked.on != On::Service
        && !early.contains(&refusal.code)
    {
        xml.leaf("BucketName", &asked.bucket);
    }
    let name = super::docs::new_name();
    xml.leaf("RequestId", format!("tx{name}")).leaf("HostId", "embedded");
    Output::new(refusal.status).header("accept-ranges", "bytes").text("application/xml", xml.finish())
}

/// A document as an answer.
fn document(xml: Xml) -> Output {
    Output::new(200).text("application/xml", xml.finish())
}

/// `2026-11-26T21:29:04.192Z`.
fn moment(millis: i64) -> String {
    clock::zulu_milli(millis)
}

/// An owner.
fn owner(xml: &mut Xml, element: &'static str, owner: &grants::Owner) {
    xml.open(element).leaf("ID", &owner.0).leaf("DisplayName", owner.name()).close();
}
