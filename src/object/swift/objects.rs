//! Objects by Swift's API.

use std::ops::Range;

use bytes::Bytes;
use http::Method;

use super::super::error::{ObjectError, ObjectErrorKind};
use super::super::s3::bare;
use super::super::types::{Download, Entry, Head, Keys, Outcome, Page, PutOptions, Sum, Victim};
use super::{LEAST_PAGE, PAGE, Swift, container_path, metadata, number, object_path, text};
use crate::cloud::{CloudError, RawBody, RawRequest};
use crate::hex;
use crate::model::Json;

/// The header prefix of an object's metadata.
const META: &str = "x-object-meta-";

impl Swift {
    pub(super) async fn list_page(&self, bucket: &str, keys: &Keys) -> Outcome<Page> {
        let said = || format!("GET {bucket}?prefix={}", keys.prefix);
        let mut request = self
            .request(Method::GET, container_path(bucket))
            .query("format", "json")
            .query("limit", PAGE.to_string())
            .query("prefix", keys.prefix.as_str());
        if let Some(after) = &keys.after {
            request = request.query("marker", after.as_str());
        }
        if let Some(until) = &keys.until {
            // The end is exclusive: the smallest key after it that can be written.
            request = request.query("end_marker", format!("{until}\u{1}"));
        }
        let answer = self.send(Ok(request), said).await?;
        let list = self.json(answer, said).await?;
        let objects: Vec<Entry> = list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|object| {
                Some(Entry {
                    key: object.get("name")?.as_str()?.to_owned(),
                    size: object.get("bytes")?.as_u64()?,
                    etag: bare(object.get("hash").and_then(Json::as_str)),
                })
            })
            .collect();
        let more = objects.len() >= LEAST_PAGE;
        Ok(Page { objects, more })
    }

    pub(super) async fn head_object(&self, bucket: &str, key: &str) -> Outcome<Head> {
        let request = self.request(Method::HEAD, object_path(bucket, key));
        let answer = self.send(Ok(request), || format!("HEAD {bucket}/{key}")).await?;
        Ok(head(&answer.headers))
    }

    pub(super) async fn put_object(
        &self,
        bucket: &str,
        key: &str,
        content: &Bytes,
        options: &PutOptions,
    ) -> Outcome<String> {
        let request = self.request(Method::PUT, object_path(bucket, key)).body(RawBody::Bytes(content.clone()));
        let request = written(request, options);
        let answer = self.send(request, || format!("PUT {bucket}/{key}")).await?;
        Ok(bare(text(&answer.headers, "etag")))
    }

    pub(super) async fn get_object(&self, bucket: &str, key: &str, range: Option<Range<u64>>) -> Outcome<Download> {
        let request = self.request(Method::GET, object_path(bucket, key));
        let request = match range {
            Some(range) => request.header("range", &format!("bytes={}-{}", range.start, range.end.saturating_sub(1))),
            None => Ok(request),
        };
        let answer = self.send(request, || format!("GET {bucket}/{key}")).await?;
        Ok(Download { head: head(&answer.headers), body: answer.body })
    }

    pub(super) async fn copy_object(
        &self,
        from: (&str, &str),
        to: (&str, &str),
        options: Option<&PutOptions>,
    ) -> Outcome<String> {
        let request = self
            .request(Method::PUT, object_path(to.0, to.1))
            .body(RawBody::Bytes(Bytes::new()))
            .header("x-copy-from", &object_path(from.0, from.1));
        let request = match options {
            Some(options) => request
                .and_then(|request| request.header("x-fresh-metadata", "true"))
                .and_then(|request| written(request, options)),
            None => request,
        };
        let said = || format!("COPY {}/{} to {}/{}", from.0, from.1, to.0, to.1);
        let answer = self.send(request, said).await?;
        Ok(bare(text(&answer.headers, "etag")))
    }

    pub(super) async fn delete_objects(&self, bucket: &str, victims: &[Victim]) -> Outcome<Vec<ObjectError>> {
        let said = || format!("POST ?bulk-delete ({} objects of {bucket})", victims.len());
        let names: String = victims.iter().map(|victim| object_path(bucket, &victim.key) + "\n").collect();
        let request = self
            .request(Method::POST, "/".to_owned())
            .query("bulk-delete", "")
            .body(RawBody::Bytes(names.into()))
            .header("content-type", "text/plain")
            .and_then(|request| request.header("accept", "application/json"));
        let answer = self.send(request, said).await?;
        let report = self.json(answer, said).await?;
        // The answer's own status is always 200; what came of it is inside.
        let errors = report.get("Errors").and_then(Json::as_array).cloned().unwrap_or_default();
        let refused = errors.iter().filter_map(|error| {
            let (name, status) = (error.get(0)?.as_str()?, error.get(1)?.as_str()?);
            let code = status.split_whitespace().next().and_then(|code| code.parse().ok());
            let kind = match code {
                Some(404) => ObjectErrorKind::NotFound,
                Some(401 | 403) => ObjectErrorKind::Denied,
                Some(500..) => ObjectErrorKind::Unavailable,
                _ => ObjectErrorKind::BadRequest,
            };
            Some(ObjectError::new(kind, &self.host, format!("DELETE {name}"), status))
        });
        let mut refused: Vec<_> = refused.filter(|error| !error.is_not_found()).collect();
        let status = report.get("Response Status").and_then(Json::as_str).unwrap_or_default();
        if refused.is_empty() && !status.starts_with("200") && !status.starts_with("404") && !report.is_null() {
            let message = report.get("Response Body").and_then(Json::as_str).filter(|body| !body.is_empty());
            refused.push(ObjectError::new(ObjectErrorKind::Unexpected, &self.host, said(), message.unwrap_or(status)));
        }
        Ok(refused)
    }
}

/// Adds what is written with an object.
pub(super) fn written(request: RawRequest, options: &PutOptions) -> Result<RawRequest, CloudError> {
    let mut request = request;
    match options.sum {
        Some(Sum::Md5(md5)) => request = request.header("etag", &hex::encode(&md5))?,
        Some(Sum::Sha256(_)) => return Err(CloudError::config("Swift's API checks what it is sent by its MD5 alone")),
        None => {}
    }
    if let Some(content_type) = &options.content_type {
        request = request.header("content-type", content_type)?;
    }
    if options.only_new {
        request = request.header("if-none-match", "*")?;
    }
    for (key, value) in &options.metadata {
        request = request.header(&format!("{META}{key}"), value)?;
    }
    Ok(request)
}

pub(super) fn head(headers: &http::HeaderMap) -> Head {
    Head {
        size: number(headers, "content-length").unwrap_or_default(),
        etag: bare(text(headers, "etag")),
        content_type: text(headers, "content-type").map(str::to_owned),
        metadata: metadata(headers, META),
    }
}
