//! What a service refused, in its own words.

use http::{HeaderMap, Method};

use super::Service;

/// What kind of failure it was, as far as the caller acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No such object (404).
    NotFound,
    /// The object's state does not allow it, or it exists already (409).
    Conflict,
    /// A quota is used up (403, 409 or 413, told from others by the answer's text).
    Quota,
    /// Not signed in, or not any more (401).
    Unauthorized,
    /// Signed in, but not allowed (403).
    Forbidden,
    /// The request itself was refused (400 and its like).
    BadRequest,
    /// Too many requests (429), or a service out of order (5xx), after all retries.
    Unavailable,
    /// No connection, or one that broke, after all retries.
    Connection,
    /// The catalog has no such service in this region.
    NoService,
    /// An answer that is not of the API's shape.
    Unexpected,
    /// A mistake in clouds.yaml or the environment.
    Config,
}

/// A failure of a request: what was asked, what the service said, and its request id.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.text())]
pub struct CloudError {
    /// What kind.
    pub kind: ErrorKind,
    /// The service; none for mistakes in the configuration.
    pub service: Option<Service>,
    /// `POST /servers`; empty for mistakes in the configuration. Boxed, for errors travel in every result.
    pub request: Box<str>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The service's message, or what went wrong on the way.
    pub message: String,
    /// The service's own name for the error: Neutron's `type`, S3's `Code`.
    pub code: Option<String>,
    /// The service's request id.
    pub request_id: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the request, though it failed, may have been carried out.
    pub may_have_happened: bool,
}

impl CloudError {
    /// A mistake in the configuration.
    pub fn config(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Config,
            service: None,
            request: Box::default(),
            status: None,
            message: message.into(),
            code: None,
            request_id: None,
            hint: None,
            may_have_happened: false,
        }
    }

    /// A failure of a request, with only its kind and message known.
    pub fn new(kind: ErrorKind, service: Service, method: &Method, path: &str, message: impl Into<String>) -> Self {
        Self { kind, service: Some(service), request: format!("{method} {path}").into(), ..Self::config(message) }
    }

    /// An answer that is not of the API's shape.
    pub fn unexpected(service: Service, method: &Method, path: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unexpected, service, method, path, message)
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Takes the request id from an answer's headers.
    #[must_use]
    pub fn with_headers(mut self, headers: &HeaderMap) -> Self {
        self.request_id = super::wire::request_id(headers).map(str::to_owned);
        self
    }

    /// Whether the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(service) = self.service {
            match self.status {
                Some(status) => text.push_str(&format!("{service} answered {status} to {}: ", self.request)),
                None => text.push_str(&format!("{service}, {}: ", self.request)),
            }
        }
        text.push_str(&self.message);
        if let Some(id) = &self.request_id {
            text.push_str(&format!(" ({id})"));
        }
        text
    }
}
