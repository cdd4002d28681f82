//! Why the object store refuses a request: a status, a code and, rarely, a message, as Ceph's gateway has them. Both APIs
//! have the same refusals and write them down in their own way.

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The code.
    pub code: &'static str,
    /// What it says besides; Ceph's gateway mostly says nothing.
    pub message: String,
}

/// Every refusal without a message of its own: code and status.
const STATUSES: [(&str, u16); 35] = [
    ("AccessDenied", 403),
    ("BadDigest", 400),
    ("BucketAlreadyExists", 409),
    ("BucketNotEmpty", 409),
    ("EntityTooLarge", 400),
    ("EntityTooSmall", 400),
    ("IncompleteBody", 400),
    ("InternalError", 500),
    ("InvalidAccessKeyId", 403),
    ("InvalidArgument", 400),
    ("InvalidBucketName", 400),
    ("InvalidDigest", 400),
    ("InvalidLocationConstraint", 400),
    ("InvalidObjectName", 400),
    ("InvalidPart", 400),
    ("InvalidPartOrder", 400),
    ("InvalidRange", 416),
    ("InvalidRequest", 400),
    ("MalformedXML", 400),
    ("MethodNotAllowed", 405),
    ("MissingContentLength", 411),
    ("NoSuchBucket", 404),
    ("NoSuchBucketPolicy", 404),
    ("NoSuchCORSConfiguration", 404),
    ("NoSuchKey", 404),
    ("NoSuchLifecycleConfiguration", 404),
    ("NoSuchTagSet", 404),
    ("NoSuchUpload", 404),
    ("NotImplemented", 501),
    ("NotModified", 304),
    ("ObjectLockConfigurationNotFoundError", 404),
    ("PreconditionFailed", 412),
    ("RequestTimeTooSkewed", 403),
    ("SignatureDoesNotMatch", 403),
    ("UnprocessableEntity", 422),
];

impl Refusal {
    /// The refusal of that code.
    #[must_use]
    pub fn new(code: &'static str) -> Self {
        let known = STATUSES.iter().find(|(known, _)| *known == code);
        let status = known.map_or(400, |(_, status)| *status);
        Self { status, code, message: String::new() }
    }

    /// The same with a message.
    #[must_use]
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}
