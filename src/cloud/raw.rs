//! Requests whose bodies are objects and not JSON: those of Swift. They stream both ways and carry headers of their own.
//!
//! In: a [`RawRequest`]. Out: an answer below 400 with its body still to be read, or a [`CloudError`].
//!
//! Invariants:
//! - Each is sent once. A body that streams cannot be sent again from here; whoever made it can make it again, and
//!   knows whether that does harm.
//! - A refused token is renewed before the refusal is returned, so that the next try has a good one.
//! - As everywhere, what is logged is method, path, status, duration and request id.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::transport::TransportError;
use super::{CloudError, Service};

/// How much of an error's body is read.
const MOST_WORDS: usize = 64 * 1024;

/// What a request carries.
pub enum RawBody {
    /// Nothing.
    Empty,
    /// This.
    Bytes(Bytes),
}

/// A request, relative to a service's endpoint.
pub struct RawRequest {
    pub(super) service: Service,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: RawBody,
}

impl RawRequest {
    /// A request without a body. Segments of the path that come from outside are percent-encoded.
    pub fn new(service: Service, method: Method, path: impl Into<String>) -> Self {
        Self { service, method, path: path.into(), query: Vec::new(), headers: HeaderMap::new(), body: RawBody::Empty }
    }

    /// Adds a query parameter; with an empty value it is only named, `?bulk-delete`.
    #[must_use]
    pub fn query(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((key.into(), value.into()));
        self
    }

    /// Adds a header.
    ///
    /// # Errors
    /// When name or value hold characters that no header may have.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, CloudError> {
        let odd = || {
            let message = format!("the header {name} cannot hold what it is to hold");
            CloudError::new(super::ErrorKind::BadRequest, self.service, &self.method, &self.path, message)
        };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| odd())?;
        // As bytes, for names of files are often UTF-8.
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| odd())?;
        self.headers.append(key, value);
        Ok(self)
    }

    /// Gives it a body.
    #[must_use]
    pub fn body(mut self, body: RawBody) -> Self {
        self.body = body;
        self
    }
}

/// A successful answer, its body still to be read.
pub struct RawResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as it comes.
    pub body: BoxStream<'static, io::Result<Bytes>>,
}

impl RawResponse {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
    }

    /// The whole body.
    ///
    /// # Errors
    /// When the connection breaks before its end.
    pub async fn bytes(self) -> io::Result<Bytes> {
        collect(self.body, usize::MAX).await
    }
}

/// The body of an answer that is an error, as much of it as tells something.
pub(super) async fn words(body: BoxStream<'static, io::Result<Bytes>>) -> Bytes {
    // What broke off is as good as what came: the status is known.
    collect(body, MOST_WORDS).await.unwrap_or_default()
}

async fn collect(mut body: BoxStream<'static, io::Result<Bytes>>, most: usize) -> io::Result<Bytes> {
    let mut all = BytesMut::new();
    while all.len() < most
        && let Some(chunk) = body.next().await
    {
        all.extend_from_slice(&chunk?);
    }
    Ok(all.freeze())
}

/// An answer as the transport sees it, or why there is none.
pub(super) type RawOutcome = Result<RawResponse, TransportError>;
