//! How a request reaches a service: over HTTP, or in process to the embedded cloud.
//!
//! In: an absolute URL, headers and a body. Out: status, headers and the whole body, or a [`TransportError`] that says
//! whether the request can have reached the service.
//!
//! Invariants:
//! - Redirects are not followed: a token would travel to another host.
//! - An error never carries the request's headers or body.

use std::error::Error as _;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use reqwest::redirect;
use tower::ServiceExt as _;
use url::Url;

use super::CloudError;
use super::config::Tls;
use super::raw::{RawBody, RawOutcome, RawRequest, RawResponse};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: less than the 5 s after which Apache, in front of most services, closes it, so
/// that a request is rarely sent into a connection that is just closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// What every request names as its agent.
const USER_AGENT: &str = concat!("anole/", env!("CARGO_PKG_VERSION"));

/// The way to a cloud. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Over HTTP; made by [`Transport::http`].
    Http(reqwest::Client),
    /// Into a router in this process: the embedded cloud. It sees the URL's path and query and a `Host` header.
    InProcess(Router),
}

/// An in-process answer that carries this extension is lost on its way: the caller sees a connection that broke after
/// the request was sent.
#[derive(Debug, Clone, Copy)]
pub struct LostAnswer;

/// A request as the transport sees it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) timeout: Duration,
}

/// An answer as the transport sees it.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breakage {
    /// The host name is not known.
    Dns,
    /// Nothing listens there.
    Refused,
    /// The certificate, or the handshake, is not as it should be.
    Tls,
    /// Another failure before the connection stood.
    Connect,
    /// No answer in time; the request may have been carried out.
    Timeout,
    /// The connection broke after the request was sent, or while it was.
    Lost,
}

impl Breakage {
    /// Whether the service cannot have seen the request.
    pub(super) fn unsent(self) -> bool {
        matches!(self, Self::Dns | Self::Refused | Self::Tls | Self::Connect)
    }
}

/// A request without an answer.
#[derive(Debug, Clone)]
pub(super) struct TransportError {
    pub(super) breakage: Breakage,
    /// What happened, with the host.
    pub(super) message: String,
}

impl Transport {
    /// A client that trusts what the configuration says to trust.
    ///
    /// # Errors
    /// When a CA bundle, certificate or key cannot be read: the error names the file.
    pub fn http(tls: &Tls) -> Result<Self, CloudError> {
        install_crypto();
        if !tls.verify {
            tracing::warn!("certificates are not checked (verify: false): anyone on the way can read the token");
        }
        let client = builder(tls)?.build().or_else(|error| {
            // A bare container has no certificates; a cloud that speaks plain HTTP needs none.
            tracing::warn!("no certificate is trusted, so no https address will do: {}", root(&error));
            builder(tls)?
                .tls_certs_only([])
                .build()
                .map_err(|error| CloudError::config(format!("the HTTP client cannot be made: {}", root(&error))))
        })?;
        Ok(Self::Http(client))
    }

    /// Sends a request that streams, and returns the answer as soon as its headers are there. No timeout of its own.
    pub(super) async fn stream(&self, url: Url, request: RawRequest) -> RawOutcome {
        match self {
            Self::Http(client) => {
                let host = host(&url);
                let mut builder = client.request(request.method, url).headers(request.headers);
                builder = match request.body {
                    RawBody::Empty => builder,
                    RawBody::Bytes(bytes) => builder.body(bytes),
                };
                let answer = builder.send().await.map_err(|error| broken(&host, &error))?;
                let (status, headers) = (answer.status(), answer.headers().clone());
                let body = answer
                    .bytes_stream()
                    .map(move |chunk| chunk.map_err(|error| std::io::Error::other(broken(&host, &error).message)));
                Ok(RawResponse { status, headers, body: body.boxed() })
            }
            Self::InProcess(router) => stream_in_process(router.clone(), &url, request).await,
        }
    }

    /// Sends a request and reads the whole answer, within its timeout.
    pub(super) async fn send(&self, request: Outgoing) -> Result<Incoming, TransportError> {
        let timeout = request.timeout;
        let host = host(&request.url);
        let answer = async {
            match self {
                Self::Http(client) => over_http(client, request).await,
                Self::InProcess(router) => in_process(router.clone(), request).await,
            }
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError {
                breakage: Breakage::Timeout,
                message: format!("{host} did not answer within {timeout:?}"),
            }),
        }
    }
}

fn builder(tls: &Tls) -> Result<reqwest::ClientBuilder, CloudError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(redirect::Policy::none())
        .tls_danger_accept_invalid_certs(!tls.verify);
    if let Some(path) = &tls.cacert {
        let bundle = reqwest::Certificate::from_pem_bundle(&read(path, "cacert")?)
            .map_err(|error| CloudError::config(format!("cacert {}: {error}", path.display())))?;
        if bundle.is_empty() {
            return Err(CloudError::config(format!("cacert {}: no PEM certificate in it", path.display())));
        }
        builder = builder.tls_certs_only(bundle);
    }
    if let Some(path) = &tls.cert {
        let mut pem = read(path, "cert")?;
        if let Some(key) = &tls.key {
            pem.push(b'\n');
            pem.extend(read(key, "key")?);
        }
        let identity = reqwest::Identity::from_pem(&pem)
            .map_err(|error| CloudError::config(format!("cert {}: {}", path.display(), root(&error))))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

async fn over_http(client: &reqwest::Client, request: Outgoing) -> Result<Incoming, TransportError> {
    let host = host(&request.url);
    let mut builder = client.request(request.method, request.url).headers(request.headers);
    if let Some(body) = request.body {
        builder = builder.body(body);
    }
    let answer = builder.send().await.map_err(|error| broken(&host, &error))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.map_err(|error| broken(&host, &error))?;
    Ok(Incoming { status, headers, body })
}

/// The failure that an error of the client is.
fn broken(host: &str, error: &reqwest::Error) -> TransportError {
    let breakage = classify(error);
    let message = match breakage {
        Breakage::Dns => format!("the host name of {host} is not known"),
        Breakage::Refused => format!("{host} refused the connection"),
        Breakage::Tls => format!("no secure connection to {host}: {}", root(error)),
        Breakage::Connect => format!("no connection to {host}: {}", root(error)),
        Breakage::Timeout => format!("{host} did not answer in time"),
        Breakage::Lost => format!("the connection to {host} broke: {}", root(error)),
    };
    TransportError { breakage, message }
}

async fn stream_in_process(router: Router, url: &Url, raw: RawRequest) -> RawOutcome {
    let host = host(url);
    let (body, length) = match raw.body {
        RawBody::Empty => (Body::empty(), Some(0)),
        RawBody::Bytes(bytes) => (Body::from(bytes.clone()), u64::try_from(bytes.len()).ok()),
    };
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = http::Request::builder()
        .method(raw.method)
        .uri(target)
        .header(header::HOST, host.as_str())
        .header(header::USER_AGENT, USER_AGENT)
        .body(body)
        .map_err(|error| TransportError { breakage: Breakage::Connect, message: error.to_string() })?;
    request.headers_mut().extend(raw.headers);
    request.headers_mut().extend(length.map(|length| (header::CONTENT_LENGTH, HeaderValue::from(length))));
    let Ok(answer) = router.oneshot(request).await;
    let (parts, body) = answer.into_parts();
    if parts.extensions.get::<LostAnswer>().is_some() {
        let message = format!("the connection to {host} broke: reset");
        return Err(TransportError { breakage: Breakage::Lost, message });
    }
    let body = body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other));
    Ok(RawResponse { status: parts.status, headers: parts.headers, body: body.boxed() })
}

async fn in_process(router: Router, outgoing: Outgoing) -> Result<Incoming, TransportError> {
    let host = host(&outgoing.url);
    let lost =
        |message: String| TransportError { breakage: Breakage::Lost, message: format!("the connection to {message}") };
    let target = match outgoing.url.query() {
        Some(query) => format!("{}?{query}", outgoing.url.path()),
        None => outgoing.url.path().to_owned(),
    };
    let mut request = http::Request::builder()
        .method(outgoing.method)
        .uri(target)
        .header(header::HOST, host.as_str())
        .header(header::USER_AGENT, USER_AGENT)
        .body(outgoing.body.map_or_else(Body::empty, Body::from))
        .map_err(|error| TransportError { breakage: Breakage::Connect, message: error.to_string() })?;
    request.headers_mut().extend(outgoing.headers);
    let Ok(answer) = router.oneshot(request).await;
    let (parts, body) = answer.into_parts();
    if parts.extensions.get::<LostAnswer>().is_some() {
        return Err(lost(format!("{host} broke: reset")));
    }
    let body = body.collect().await.map_err(|error| lost(format!("{host} broke: {error}")))?.to_bytes();
    Ok(Incoming { status: parts.status, headers: parts.headers, body })
}

/// Where the connection failed, from the chain of causes.
fn classify(error: &reqwest::Error) -> Breakage {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if is_tls(inner) {
            return Breakage::Tls;
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return Breakage::Refused;
        }
        // The resolver's error type is private to the HTTP client; its text is all that tells it.
        if inner.to_string().starts_with("dns error") {
            return Breakage::Dns;
        }
        cause = inner.source();
    }
    match error {
        error if error.is_connect() || error.is_builder() => Breakage::Connect,
        error if error.is_timeout() => Breakage::Timeout,
        _ => Breakage::Lost,
    }
}

/// Whether it is an error of TLS, which the layers below the client wrap in an `io::Error` or two: those show their
/// inner error not as their source, but as themselves.
pub(crate) fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().is_some_and(|inner| is_tls(inner)),
        None => error.is::<rustls::Error>(),
    }
}

/// The innermost cause: the outer ones only repeat the URL.
fn root(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    last.to_string()
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, CloudError> {
    std::fs::read(path).map_err(|error| CloudError::config(format!("{what} {}: {error}", path.display())))
}

/// `host` or `host:port`, as people and the `Host` header write it.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// A header value that no debug output shows.
pub(super) fn secret_header(value: &str) -> Result<HeaderValue, CloudError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| CloudError::config("a token or secret holds characters that no HTTP header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The TLS library has no default provider of its own here; without one the first client would panic.
pub(crate) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error only says that the program has installed one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
