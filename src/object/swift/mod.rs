//! Object stores by Swift's API, with the site's token: Swift itself, and Ceph's gateway.
//!
//! In: a signed-in [`Session`]. Out: the operations of [`super::api::Api`], one try each.
//!
//! An upload in parts is a static large object: its parts are objects of the container `NAME_segments`, below
//! `KEY/anole/ID/`, as other clients keep theirs, and whoever completes it writes a manifest in the object's place. So an
//! upload under way is a folder of parts that no manifest names.
//!
//! Invariants:
//! - A container `NAME_segments` or `NAME_versions` belongs to `NAME`, and goes with it.
//! - Names are percent-encoded, all but the slash.

use http::{HeaderMap, Method};
use jiff::Timestamp;

use super::error::{ObjectError, ObjectErrorKind};
use super::types::Outcome;
use crate::cloud::{CloudError, ErrorKind, RawRequest, RawResponse, Service, Session};
use crate::model::{Json, StringMap};

mod buckets;
mod objects;
mod uploads;

/// How much of a list is asked for at a time.
const PAGE: usize = 10_000;

/// What a list gives at a time at least, if there is more: Ceph stops there whatever was asked for, and does not say so.
const LEAST_PAGE: usize = 1000;

/// Swift's API of one project.
pub(super) struct Swift {
    session: Session,
    host: String,
    place: String,
}

impl Swift {
    /// The site's own store.
    pub(super) fn new(session: &Session) -> Outcome<Self> {
        let endpoint = session.endpoint(Service::ObjectStore);
        let endpoint = endpoint.map_err(|error| from_cloud("", "the store".to_owned(), &error))?;
        let (host, place) = (super::s3::host(endpoint), format!("swift {}", endpoint.as_str().trim_end_matches('/')));
        Ok(Self { session: session.clone(), host, place })
    }

    fn request(&self, method: Method, path: String) -> RawRequest {
        RawRequest::new(Service::ObjectStore, method, path)
    }

    /// Sends a request; `said` is what errors call it.
    async fn send(&self, request: Result<RawRequest, CloudError>, said: impl Fn() -> String) -> Outcome<RawResponse> {
        let answer = match request {
            Ok(request) => self.session.exchange(request).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| from_cloud(&self.host, said(), &error))
    }

    /// The answer's body as JSON.
    async fn json(&self, answer: RawResponse, said: impl Fn() -> String) -> Outcome<Json> {
        let id = request_id(&answer.headers);
        let odd = |kind, message: String| {
            let id = id.clone();
            ObjectError::new(kind, &self.host, said(), message).with(|parts| parts.request_id = id)
        };
        if answer.status == http::StatusCode::NO_CONTENT {
            return Ok(Json::Null);
        }
        let body = answer.bytes().await.map_err(|error| odd(ObjectErrorKind::Connection, error.to_string()))?;
        serde_json::from_slice(&body)
            .map_err(|error| odd(ObjectErrorKind::Unexpected, format!("the answer is not JSON: {error}")))
    }
}

/// What the session says of a failure, as an object store's.
fn from_cloud(host: &str, request: String, error: &CloudError) -> ObjectError {
    let kind = match error.kind {
        ErrorKind::NotFound => ObjectErrorKind::NotFound,
        ErrorKind::Conflict => ObjectErrorKind::NotEmpty,
        ErrorKind::Quota => ObjectErrorKind::Quota,
        ErrorKind::Unauthorized => ObjectErrorKind::Credentials,
        ErrorKind::Forbidden => ObjectErrorKind::Denied,
        ErrorKind::Unavailable => ObjectErrorKind::Unavailable,
        ErrorKind::Connection => ObjectErrorKind::Connection,
        ErrorKind::NoService => ObjectErrorKind::Unsupported,
        ErrorKind::Unexpected => ObjectErrorKind::Unexpected,
        ErrorKind::BadRequest | ErrorKind::Config => match error.status {
            Some(412) => ObjectErrorKind::Precondition,
            // The bytes that arrived have not the entity tag that was sent along.
            Some(422) => ObjectErrorKind::Mismatch,
            Some(408 | 498 | 499) => ObjectErrorKind::Unavailable,
            _ => ObjectErrorKind::BadRequest,
        },
    };
    ObjectError::new(kind, host, request, error.message.clone()).with(|parts| {
        parts.status = error.status;
        parts.code = error.code.clone();
        parts.request_id = error.request_id.clone();
        parts.hint = error.hint.clone();
        parts.may_have_happened = error.may_have_happened;
    })
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let value = ["x-openstack-request-id", "x-trans-id"].iter().find_map(|name| headers.get(*name))?;
    value.to_str().ok().map(str::to_owned)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

/// Headers of metadata, without the prefix that tells them; keys in lower case.
fn metadata(headers: &HeaderMap, prefix: &str) -> StringMap {
    let pairs = headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix(prefix)?;
        Some((key.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    });
    pairs.collect()
}

/// A time in a list, UTC without saying so: `2026-11-26T21:21:21.123456`, in Ceph's with a `Z`.
fn listed_time(text: Option<&Json>) -> Option<Timestamp> {
    let text = text?.as_str()?;
    text.parse().ok().or_else(|| format!("{text}Z").parse().ok())
}

/// Where the parts of large objects are.
fn segments_of(bucket: &str) -> String {
    format!("{bucket}_segments")
}

/// Where versions are kept.
fn versions_of(bucket: &str) -> String {
    format!("{bucket}_versions")
}

fn container_path(bucket: &str) -> String {
    format!("/{}", super::path(bucket))
}

fn object_path(bucket: &str, key: &str) -> String {
    format!("/{}/{}", super::path(bucket), super::path(key))
}
