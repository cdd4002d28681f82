//! Object stores by S3: Ceph's gateway, MinIO, IBM COS, Amazon's.
//!
//! In: an endpoint and keys ([`S3Config`]). Out: the operations of [`super::api::Api`], one try each.
//!
//! Invariants:
//! - Path style, and checksums only where the protocol requires them: Ceph over TLS refuses the SDK's own (411).
//! - What is written is checked by the store: the request is signed with the SHA-256 of its content, or has its MD5.
//! - The SDK neither retries nor gives up: [`super::Store`] does, and sees each try.
//! - A bucket is deleted by nothing but the deletion of a bucket: Ceph ignores subresources that it does not know, and
//!   takes `DELETE /bucket?ownershipControls` for one. No such request is made here.
//! - Keys are in no error, log or `Debug`.

use std::fmt;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::DateTime;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::error::{ObjectError, ObjectErrorKind};
use super::types::Outcome;
use crate::cloud::transport::is_tls;
use crate::object::signing_region;

mod buckets;
mod lists;
mod objects;
mod signed;

/// Any name does for stores whose regions have none of their own; Ceph takes every one.
pub const REGION: &str = "us-east-1";

/// What to do about a certificate that names nobody but an authority.
const AUTHORITY: &str = "the store shows the certificate of an authority as its own, as `openssl req -x509` makes one: it needs \
                         one made with `-addext basicConstraints=critical,CA:FALSE`";

/// How long a connection may take to open.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// How long an idle connection is kept: less than servers do.
const IDLE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(4);

/// Where a store is, and with which keys.
#[derive(Clone)]
pub struct S3Config {
    /// `https://chi.tacc.chameleoncloud.org:7480`.
    pub endpoint: Url,
    /// The region that requests are signed for.
    pub region: String,
    /// The id of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: SecretString,
    /// The token of a session, for keys that are lent for a time.
    pub session_token: Option<SecretString>,
    /// Certificates (PEM) to trust besides those of the system.
    pub trusted: Option<Vec<u8>>,
}

/// Without the keys.
impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("endpoint", &self.endpoint.as_str())
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// A store by S3.
pub(super) struct S3 {
    client: Client,
    host: String,
    region: String,
}

impl S3 {
    /// A client of that store; nothing is sent yet.
    pub(super) fn new(config: &S3Config) -> Outcome<Self> {
        let host = host(&config.endpoint);
        // Reading the system's certificates takes longer than a plan's lists; without TLS nobody asks for them.
        let mut trust = TrustStore::default().with_native_roots(config.endpoint.scheme() == "https");
        if let Some(pem) = &config.trusted {
            trust = trust.with_pem_certificate(pem.clone());
        }
        let tls = TlsContext::builder().with_trust_store(trust).build().map_err(|error| {
            ObjectError::new(ObjectErrorKind::Local, &host, "the client", format!("no TLS: {error}"))
        })?;
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build_https();
        let credentials = Credentials::new(
            &config.access_key,
            config.secret_key.expose_secret(),
            config.session_token.as_ref().map(|token| token.expose_secret().to_owned()),
            None,
            "anole",
        );
        let settings = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(config.endpoint.as_str().trim_end_matches('/'))
            .region(Region::new(signing_region(&config.region).to_owned()))
            .force_path_style(true)
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::no_cache())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(http)
            .build();
        Ok(Self { client: Client::from_conf(settings), host, region: signing_region(&config.region).to_owned() })
    }

    /// The error that a failed request is.
    fn error<E>(&self, request: String, error: SdkError<E, HttpResponse>) -> ObjectError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let answer = error.raw_response();
        let status = answer.map(|answer| answer.status().as_u16());
        let id = answer.and_then(|answer| {
            ["x-amz-request-id", "x-trans-id"].iter().find_map(|name| answer.headers().get(*name)).map(str::to_owned)
        });
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
        let said = error.as_service_error().and_then(ProvideErrorMetadata::message).filter(|text| !text.is_empty());
        let message = match (&error, said) {
            (_, Some(said)) => said.to_owned(),
            (SdkError::ServiceError(_), None) if code.is_some() => String::new(),
            (SdkError::ServiceError(_), None) => "the answer says no more".to_owned(),
            (SdkError::TimeoutError(_), None) => "no connection in time".to_owned(),
            _ => innermost(&error),
        };
        let kind = match has_tls(&error) {
            true => ObjectErrorKind::Tls,
            false => kind(status, code.as_deref(), matches!(error, SdkError::ConstructionFailure(_))),
        };
        let hint = match kind {
            ObjectErrorKind::Tls if message.contains("CaUsedAsEndEntity") => Some(AUTHORITY),
            _ => hint(kind, code.as_deref()),
        };
        ObjectError::new(kind, &self.host, request, message).with(|parts| {
            parts.status = status;
            parts.code = code;
            parts.request_id = id;
            parts.hint = hint.map(str::to_owned);
            parts.may_have_happened = status.is_none_or(|status| status >= 500);
        })
    }

    /// An answer that lacks what the API promises.
    fn odd(&self, request: String, message: &str) -> ObjectError {
        ObjectError::new(ObjectErrorKind::Unexpected, &self.host, request, message)
    }
}

/// `host` or `host:port`.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What it was, by S3's codes first: Ceph says most by them, and leaves messages empty.
fn kind(status: Option<u16>, code: Option<&str>, unsent: bool) -> ObjectErrorKind {
    use ObjectErrorKind as Kind;
    match code {
        Some("NoSuchBucket" | "NoSuchKey" | "NoSuchUpload" | "NoSuchVersion" | "NotFound") => return Kind::NotFound,
        Some("BucketAlreadyExists") => return Kind::Taken,
        Some("BucketAlreadyOwnedByYou") => return Kind::AlreadyYours,
        Some("BucketNotEmpty") => return Kind::NotEmpty,
        Some(
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired",
        ) => {
            return Kind::Credentials;
        }
        Some("QuotaExceeded" | "TooManyBuckets") => return Kind::Quota,
        Some("BadDigest" | "XAmzContentSHA256Mismatch") => return Kind::Mismatch,
        Some("SlowDown" | "ServiceUnavailable" | "RequestTimeout" | "InternalError" | "OperationAborted") => {
            return Kind::Unavailable;
        }
        Some("NotImplemented") => return Kind::Unsupported,
        _ => {}
    }
    match status {
        None if unsent => Kind::BadRequest,
        None => Kind::Connection,
        Some(401) => Kind::Credentials,
        Some(403) => Kind::Denied,
        Some(404) => Kind::NotFound,
        Some(405 | 501) => Kind::Unsupported,
        Some(412) => Kind::Precondition,
        Some(408 | 429) => Kind::Unavailable,
        Some(status) if status >= 500 => Kind::Unavailable,
        Some(status) if status >= 400 => Kind::BadRequest,
        // An answer of success whose body does not read: it was cut off.
        Some(_) => Kind::Connection,
    }
}

fn hint(kind: ObjectErrorKind, code: Option<&str>) -> Option<&'static str> {
    match (kind, code) {
        (_, Some("InvalidAccessKeyId")) => {
            Some("the store does not know this access key: it was deleted, or is another store's")
        }
        (_, Some("SignatureDoesNotMatch")) => {
            Some("the secret key does not belong to the access key, or this machine's clock is wrong")
        }
        (_, Some("RequestTimeTooSkewed")) => Some("this machine's clock is wrong"),
        (_, Some("ExpiredToken" | "TokenRefreshRequired")) => {
            Some("the keys were lent for a time that is over: get new ones")
        }
        (ObjectErrorKind::Denied, _) => Some(
            "the store knows these keys, and does not let them do this: see whose bucket it is, and what its ACL says",
        ),
        (ObjectErrorKind::Tls, _) => Some("if the store has a certificate authority of its own, name its certificate"),
        (ObjectErrorKind::Quota, _) => {
            Some("the quota is used up: delete what is not needed, or ask the site for more")
        }
        (ObjectErrorKind::Taken, _) => Some("bucket names are the whole store's: choose another one"),
        _ => None,
    }
}

/// Whether TLS is what failed: a certificate that is wrong stays wrong.
fn has_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    is_tls(error) || error.source().is_some_and(has_tls)
}

/// The innermost cause: the outer ones only say that there is one.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    last.to_string()
}

/// An entity tag without its quotes.
pub(super) fn bare(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

fn time(time: Option<&DateTime>) -> Option<Timestamp> {
    time.and_then(|time| Timestamp::from_second(time.secs()).ok())
}

fn unsigned(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}
