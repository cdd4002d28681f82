//! The cloud on HTTP: axum's requests to ours and our answers back, and a server on a port.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::State as Shared;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use tokio::net::TcpListener;

use super::wire::{Body, Call, Reply};
use super::{Cloud, Error, clock, objects};

/// Nothing in these APIs is longer: user data is the longest, 64 KiB.
const LONGEST_BODY: usize = 16 << 20;

/// The host that the cloud's URLs show where a client does not say by which it came, and nobody said which it has.
pub const NOWHERE: &str = "embedded.invalid";

/// A cloud, and the URL that it shows to clients that came by none.
#[derive(Clone)]
struct Door {
    cloud: Cloud,
    base: Arc<str>,
}

/// All services on one host.
pub fn router(cloud: Cloud) -> Router {
    router_at(cloud, &format!("http://{NOWHERE}"))
}

/// The same, for a cloud that other programs reach at `base`.
pub(super) fn router_at(cloud: Cloud, base: &str) -> Router {
    Router::new().fallback(answer).with_state(Door { cloud, base: base.into() })
}

/// Serves the cloud on a listener until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    cloud: Cloud,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let served = axum::serve(listener, router(cloud.clone())).with_graceful_shutdown(shutdown).await;
    served.map_err(|source| Error::io("serve", &cloud.inner.folder, source))
}

async fn answer(Shared(Door { cloud, base }): Shared<Door>, request: Request<HttpBody>) -> Response {
    let (parts, body) = request.into_parts();
    let call = read(parts, &base);
    let answered = if objects::claims(&cloud, &call) {
        objects::answer(cloud, call, body).await
    } else {
        let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
            return respond(Reply::empty(413), clock::system());
        };
        carry_out(cloud, Call { body, ..call }).await
    };
    answered.unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the embedded cloud failed");
        let text = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        respond(Reply::json(500, serde_json::json!({"message": text, "code": 500})), clock::system())
    })
}

/// A request without its body.
fn read(parts: http::request::Parts, base: &str) -> Call {
    let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or(parts.uri.authority().map(http::uri::Authority::as_str)).filter(|host| *host != NOWHERE);
    let base = host.map_or_else(|| base.to_owned(), |host| format!("http://{host}"));
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    Call {
        path: segments(parts.uri.path()),
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        method: parts.method,
        headers: parts.headers,
        target,
        body: Bytes::new(),
        base,
    }
}

async fn carry_out(cloud: Cloud, call: Call) -> Result<Response, Error> {
    let call = Arc::new(call);
    let (asked, rule) = (Arc::clone(&call), cloud.fault(&call).await?);
    if let Some(rule) = &rule {
        rule.wait().await;
    }
    let outcome = cloud.aside(move |cloud| cloud.handle(&asked, rule.as_ref())).await?;
    Ok(respond(outcome.reply, outcome.now))
}

fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
}

fn decode(segment: &str) -> String {
    // A plus is a plus in a path, so form decoding must not see it.
    let pair = format!("x={}", segment.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

pub(super) fn respond(reply: Reply, now: i64) -> Response {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    };
    put("date", &clock::http_date(now));
    for (name, value) in &reply.headers {
        put(name, value);
    }
    let body = match reply.body {
        Body::Empty => HttpBody::empty(),
        Body::Json(json) => {
            if !reply.headers.iter().any(|(name, _)| *name == "content-type") {
                put("content-type", "application/json");
            }
            HttpBody::from(json.to_string())
        }
        Body::Html(text) => {
            put("content-type", "text/html; charset=utf-8");
            HttpBody::from(text)
        }
        Body::Broken => {
            put("content-length", "4096");
            let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            HttpBody::from_stream(futures_util::stream::once(async { Err::<bytes::Bytes, _>(broken) }))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}
