//! What an object store refused, in its own words.

use std::fmt;

/// What kind of failure it was, as far as the caller acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectErrorKind {
    /// No such object, bucket or upload.
    NotFound,
    /// The bucket's name belongs to somebody else.
    Taken,
    /// The bucket is there and is this project's already.
    AlreadyYours,
    /// The bucket holds objects, versions of them, or unfinished uploads.
    NotEmpty,
    /// What was written arrived as something else, or what was read is not what was written.
    Mismatch,
    /// A condition of the request does not hold: the object is there already.
    Precondition,
    /// The keys or the token are known, and may not do this.
    Denied,
    /// The keys or the token are not known, wrong, or over.
    Credentials,
    /// A quota is used up.
    Quota,
    /// The store does not have this feature.
    Unsupported,
    /// The request itself was refused.
    BadRequest,
    /// Too many requests, or a store out of order, after all retries.
    Unavailable,
    /// No connection, one that broke, or no answer in time, after all retries.
    Connection,
    /// No secure connection: the store's certificate is not one that is trusted.
    Tls,
    /// A file on this machine cannot be read, or is not what it was.
    Local,
    /// An answer that is not of the API's shape.
    Unexpected,
}

/// A failure of a request to an object store. Boxed inside, for errors travel in every result.
#[derive(Clone)]
pub struct ObjectError(Box<Parts>);

/// What an [`ObjectError`] tells.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What kind.
    pub kind: ObjectErrorKind,
    /// The store's host.
    pub store: String,
    /// What was asked: `PUT food11/training/0_1.jpg`.
    pub request: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The store's own name for the error: `NoSuchBucket`.
    pub code: Option<String>,
    /// The store's message, or what went wrong on the way.
    pub message: String,
    /// The store's request id.
    pub request_id: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the request, though it failed, may have been carried out.
    pub may_have_happened: bool,
}

impl ObjectError {
    /// A failure with only its kind, place, request and message known.
    pub fn new(
        kind: ObjectErrorKind,
        store: impl Into<String>,
        request: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Parts {
            kind,
            store: store.into(),
            request: request.into(),
            status: None,
            code: None,
            message: message.into(),
            request_id: None,
            hint: None,
            may_have_happened: false,
        }))
    }

    /// A file on this machine that cannot be read, or is not what it was.
    pub fn local(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ObjectErrorKind::Local, "", what, message)
    }

    /// Changes what it tells.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Parts)) -> Self {
        change(&mut self.0);
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.with(|parts| parts.hint = Some(hint.into()))
    }

    /// What it tells.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.0
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> ObjectErrorKind {
        self.0.kind
    }

    /// Whether what was asked for is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ObjectErrorKind::NotFound
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self.0.kind {
            ObjectErrorKind::Unavailable | ObjectErrorKind::Connection => true,
            // Bytes that changed on their way: the store refused them, and the next ones may arrive whole.
            ObjectErrorKind::Mismatch => self.0.status.is_some(),
            _ => false,
        }
    }
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.0;
        match (parts.status, parts.store.is_empty()) {
            (_, true) => write!(f, "{}: ", parts.request)?,
            (Some(status), _) => write!(f, "{} answered {status} to {}: ", parts.store, parts.request)?,
            (None, _) => write!(f, "{}, {}: ", parts.store, parts.request)?,
        }
        match &parts.code {
            Some(code) if parts.message.is_empty() => f.write_str(code)?,
            Some(code) if !parts.message.contains(code.as_str()) => write!(f, "{code}: {}", parts.message)?,
            _ => f.write_str(&parts.message)?,
        }
        match &parts.request_id {
            Some(id) => write!(f, " ({id})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ObjectError {}
