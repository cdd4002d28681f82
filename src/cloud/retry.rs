//! Whether a failed request is sent again, and when. Pure.
//!
//! Invariants:
//! - What may have been carried out is sent again only if the request is safe to repeat.
//! - A refusal that waiting does not cure (Cinder's 413, Blazar's "Not enough hosts available") is final.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;

use super::Service;
use super::transport::Breakage;

/// How patient the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent at most.
    pub tries: u32,
    /// The wait before the second try; doubled for each further one.
    pub first_wait: Duration,
    /// The longest wait of our own.
    pub longest_wait: Duration,
    /// The longest wait that a service's `Retry-After` can ask for.
    pub longest_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 4,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(8),
            longest_retry_after: Duration::from_secs(60),
        }
    }
}

/// How a try failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The service answered with this status, and asked to wait so long, if it did.
    Answer { status: u16, retry_after: Option<Duration> },
    /// There was no answer.
    Broken(Breakage),
}

/// A request, as far as repeating it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeat {
    pub(super) service: Service,
    /// Whether sending it twice does what sending it once does.
    pub(super) repeatable: bool,
    /// Whether it only reads.
    pub(super) read_only: bool,
}

impl Failure {
    /// Whether the request may have been carried out nevertheless.
    ///
    /// A 4xx is a refusal. A 5xx may come from a proxy that lost its patience with a service that goes on working.
    pub(super) fn ambiguous(self, repeat: Repeat) -> bool {
        match self {
            _ if repeat.read_only => false,
            Self::Answer { status, .. } => status >= 500,
            Self::Broken(breakage) => !breakage.unsent(),
        }
    }
}

/// How long to wait before the next try, or `None` if there is none.
///
/// `tried` is how often the request was sent so far; `jitter`, from 0 to 1, spreads those who failed together.
pub(super) fn wait(
    policy: &RetryPolicy,
    repeat: Repeat,
    failure: Failure,
    tried: u32,
    jitter: f64,
) -> Option<Duration> {
    if tried >= policy.tries {
        return None;
    }
    let again = match failure {
        // Refused at the door, whatever it was.
        Failure::Answer { status: 429, .. } => true,
        Failure::Answer { status: 503, retry_after: Some(_) } => true,
        Failure::Answer { status: 502..=504, .. } => repeat.repeatable,
        // Blazar's 500 is its word for a refusal.
        Failure::Answer { status: 500, .. } => repeat.repeatable && repeat.service != Service::Reservation,
        Failure::Answer { .. } => false,
        // A wrong certificate stays wrong; a name that is not known may be a resolver that stumbled.
        Failure::Broken(Breakage::Tls) => false,
        Failure::Broken(breakage) => breakage.unsent() || repeat.repeatable,
    };
    if !again {
        return None;
    }
    if let Failure::Answer { retry_after: Some(asked), .. } = failure {
        return Some(asked.min(policy.longest_retry_after));
    }
    let doubled = policy.first_wait.saturating_mul(1_u32 << tried.saturating_sub(1).min(16));
    Some(doubled.min(policy.longest_wait).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0))
}

/// The wait that an answer's `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(text)?;
    let now = date(headers).unwrap_or(now);
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// The service's clock, from the `Date` header.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(header::DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: Repeat = Repeat { service: Service::Compute, repeatable: false, read_only: false };
    const GET: Repeat = Repeat { service: Service::Compute, repeatable: true, read_only: true };
    const LEASE: Repeat = Repeat { service: Service::Reservation, repeatable: false, read_only: false };

    fn answer(status: u16, after: Option<u64>) -> Failure {
        Failure::Answer { status, retry_after: after.map(Duration::from_secs) }
    }

    fn retried(repeat: Repeat, failure: Failure) -> bool {
        wait(&RetryPolicy::default(), repeat, failure, 1, 0.5).is_some()
    }

    #[test]
    fn only_what_cannot_have_happened_or_may_happen_twice_is_sent_again() {
        for (failure, post, get) in [
            (answer(429, None), true, true),
            (answer(503, Some(1)), true, true),
            (answer(503, None), false, true),
            (answer(500, None), false, true),
            (answer(502, None), false, true),
            (answer(504, None), false, true),
            (answer(501, None), false, false),
            (answer(413, Some(0)), false, false),
            (answer(400, None), false, false),
            (answer(409, None), false, false),
            (Failure::Broken(Breakage::Refused), true, true),
            (Failure::Broken(Breakage::Connect), true, true),
            (Failure::Broken(Breakage::Dns), true, true),
            (Failure::Broken(Breakage::Timeout), false, true),
            (Failure::Broken(Breakage::Lost), false, true),
            (Failure::Broken(Breakage::Tls), false, false),
        ] {
            assert_eq!((retried(POST, failure), retried(GET, failure)), (post, get), "{failure:?}");
        }
        assert!(!retried(LEASE, answer(500, None)));
        assert!(!retried(Repeat { repeatable: true, ..LEASE }, answer(500, None)), "its 500 is a refusal");
    }

    #[test]
    fn what_is_ambiguous_is_said_to_be() {
        assert!(answer(500, None).ambiguous(POST));
        assert!(answer(504, None).ambiguous(POST));
        assert!(Failure::Broken(Breakage::Timeout).ambiguous(POST));
        assert!(!Failure::Broken(Breakage::Refused).ambiguous(POST));
        assert!(!answer(409, None).ambiguous(POST));
        assert!(!answer(504, None).ambiguous(GET));
    }

    #[test]
    fn waits_double_up_to_a_limit_and_heed_the_service() {
        let policy = RetryPolicy { tries: 9, ..RetryPolicy::default() };
        let waits: Vec<u128> = (1..=6)
            .filter_map(|tried| wait(&policy, GET, answer(502, None), tried, 1.0))
            .map(|wait| wait.as_millis())
            .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000]);
        assert_eq!(wait(&policy, GET, answer(502, None), 1, 0.0), Some(Duration::from_millis(250)));
        assert_eq!(wait(&policy, GET, answer(429, Some(7)), 1, 0.0), Some(Duration::from_secs(7)));
        assert_eq!(wait(&policy, GET, answer(429, Some(7_000)), 1, 0.0), Some(Duration::from_secs(60)));
        assert_eq!(wait(&policy, GET, answer(429, None), 9, 0.0), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp::UNIX_EPOCH;
        let headers = |pairs: &[(header::HeaderName, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value))).collect()
        };
        assert_eq!(retry_after(&headers(&[(header::RETRY_AFTER, "3")]), now), Some(Duration::from_secs(3)));
        let dated = headers(&[
            (header::RETRY_AFTER, "Sun, 22 Nov 2026 13:41:12 GMT"),
            (header::DATE, "Sun, 22 Nov 2026 13:41:02 GMT"),
        ]);
        assert_eq!(retry_after(&dated, now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after(&headers(&[(header::RETRY_AFTER, "soon")]), now), None);
    }
}
