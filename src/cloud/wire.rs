//! Sends one request, several times if it must: timeouts, retries, limits, counting, and the cloud's clock.
//!
//! In: a request with its absolute URL and all its headers. Out: an answer below 400, or a [`CloudError`]. Knows
//! nothing of tokens: sign-in goes the same way as everything else.
//!
//! Invariants:
//! - Waiting for the next try holds no slot of the service's limit.
//! - What is logged of a request is its method, path, status, duration and request id; never a header or a body.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use jiff::Timestamp;
use tokio::time::Instant;
use url::Url;

use super::limits::Limit;
use super::raw::{self, RawRequest, RawResponse};
use super::refusal::{self, Asked};
use super::retry::{self, Failure, Repeat, RetryPolicy};
use super::transport::{Incoming, Outgoing, Transport, TransportError};
use super::{CloudError, Service};
use crate::model::Json;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a change of a lease may take: Blazar answers when it has placed it, which took up to 26 s in measurements.
const LEASE_TIMEOUT: Duration = Duration::from_secs(180);

/// The way to one cloud, with what is known of how it fares.
pub(super) struct Wire {
    transport: Transport,
    policy: RetryPolicy,
    api_timeout: Option<Duration>,
    limits: BTreeMap<Service, Limit>,
    counts: Mutex<BTreeMap<Service, u64>>,
    clock: Mutex<Option<Timestamp>>,
}

/// A request, complete but for its body's encoding.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) service: Service,
    pub(super) method: Method,
    pub(super) url: Url,
    /// What errors and logs call it: the path below the endpoint, without the query.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) repeatable: bool,
}

impl Ask {
    /// A request without a body; sending it twice does no harm.
    pub(super) fn new(service: Service, method: Method, url: Url, path: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Self { service, method, url, path: path.into(), headers, body: None, repeatable: true }
    }

    /// Gives it a JSON body.
    pub(super) fn json(self, body: &Json) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Gives it a body of that content type.
    pub(super) fn body(mut self, content_type: &'static str, body: String) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Some(Bytes::from(body));
        self
    }

    fn asked(&self) -> Asked<'_> {
        Asked { service: self.service, method: &self.method, path: &self.path }
    }

    fn read_only(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

impl Wire {
    /// A way with at most `concurrency` requests to each service at a time.
    pub(super) fn new(
        transport: Transport,
        policy: RetryPolicy,
        api_timeout: Option<Duration>,
        concurrency: usize,
    ) -> Self {
        let limits = Service::ALL.into_iter().map(|service| (service, Limit::new(concurrency))).collect();
        Self { transport, policy, api_timeout, limits, counts: Mutex::new(BTreeMap::new()), clock: Mutex::new(None) }
    }

    /// Whether the services are in this process.
    pub(super) fn is_in_process(&self) -> bool {
        matches!(self.transport, Transport::InProcess(_))
    }

    /// How many requests were sent to each service, each try counted.
    pub(super) fn counts(&self) -> BTreeMap<Service, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The cloud's clock in its last answer.
    pub(super) fn clock(&self) -> Option<Timestamp> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the request until it is answered or given up.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Incoming, CloudError> {
        let repeat = Repeat { service: ask.service, repeatable: ask.repeatable, read_only: ask.read_only() };
        let (mut tried, mut ambiguous) = (0, false);
        loop {
            let outcome = self.attempt(ask).await;
            tried += 1;
            let (failure, mut error) = match outcome {
                Ok(answer) if answer.status.as_u16() < 400 => {
                    return match refusal::redirect(ask.asked(), &answer) {
                        Some(error) => Err(error),
                        None => Ok(answer),
                    };
                }
                Ok(answer) => {
                    let retry_after = retry::retry_after(&answer.headers, Timestamp::now());
                    let failure = Failure::Answer { status: answer.status.as_u16(), retry_after };
                    (failure, refusal::refusal(ask.asked(), &answer))
                }
                Err(broken) => (Failure::Broken(broken.breakage), refusal::no_answer(ask.asked(), &broken)),
            };
            ambiguous |= failure.ambiguous(repeat) && !refusal::is_capacity(&error.message);
            match retry::wait(&self.policy, repeat, failure, tried, jitter()) {
                Some(wait) => {
                    tracing::debug!(service = %ask.service, wait_ms = millis(wait), "trying again: {error}");
                    tokio::time::sleep(wait).await;
                }
                None => {
                    error.may_have_happened = ambiguous;
                    if tried > 1 {
                        error.message.push_str(&format!(" (tried {tried} times)"));
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn attempt(&self, ask: &Ask) -> Result<Incoming, TransportError> {
        let limit = self.limits.get(&ask.service);
        let _slot = match limit {
            Some(limit) => Some(limit.turn().await),
            None => None,
        };
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(ask.service).or_default() += 1;
        let started = Instant::now();
        let outgoing = Outgoing {
            method: ask.method.clone(),
            url: ask.url.clone(),
            headers: ask.headers.clone(),
            body: ask.body.clone(),
            timeout: self.timeout(ask),
        };
        let outcome = self.transport.send(outgoing).await;
        let status = outcome.as_ref().map_or(0, |answer| answer.status.as_u16());
        tracing::debug!(
            service = %ask.service,
            method = %ask.method,
            path = ask.url.path(),
            status,
            ms = millis(started.elapsed()),
            request_id = outcome.as_ref().ok().and_then(|answer| request_id(&answer.headers)),
            "request"
        );
        if let Ok(answer) = &outcome {
            if let Some(date) = retry::date(&answer.headers) {
                *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(date);
            }
            match (limit, status) {
                (Some(limit), 429 | 503) => limit.complained(),
                (Some(limit), ..400) => limit.succeeded(),
                _ => {}
            }
        }
        outcome
    }

    /// Sends a request that streams, once. Whoever moves objects has limits of its own.
    pub(super) async fn stream(&self, url: Url, request: RawRequest) -> Result<RawResponse, CloudError> {
        let (service, method, path) = (request.service, request.method.clone(), request.path.clone());
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(service).or_default() += 1;
        let started = Instant::now();
        let outcome = self.transport.stream(url, request).await;
        let status = outcome.as_ref().map_or(0, |answer| answer.status.as_u16());
        let id = outcome.as_ref().ok().and_then(|answer| request_id(&answer.headers));
        tracing::debug!(%service, %method, path, status, ms = millis(started.elapsed()), request_id = id, "request");
        let asked = Asked { service, method: &method, path: &path };
        let answer = outcome.map_err(|broken| {
            let mut error = refusal::no_answer(asked, &broken);
            error.may_have_happened = !broken.breakage.unsent();
            error
        })?;
        if status < 300 {
            return Ok(answer);
        }
        let body = raw::words(answer.body).await;
        let whole = Incoming { status: answer.status, headers: answer.headers, body };
        Err(refusal::redirect(asked, &whole).unwrap_or_else(|| refusal::refusal(asked, &whole)))
    }

    fn timeout(&self, ask: &Ask) -> Duration {
        let usual = self.api_timeout.unwrap_or(TIMEOUT);
        if ask.service == Service::Reservation && !ask.read_only() { usual.max(LEASE_TIMEOUT) } else { usual }
    }
}

/// The request id under any of the names that services have for it.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    ["x-openstack-request-id", "x-compute-request-id", "x-trans-id"]
        .iter()
        .find_map(|name| headers.get(*name))
        .and_then(|value| value.to_str().ok())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// From 0 to 1. Random UUIDs are at hand; no generator of better numbers is needed to spread a few waits.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
