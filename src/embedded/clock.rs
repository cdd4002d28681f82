//! The cloud's clock: the system's, moved forward by what [`super::Cloud::advance`] was told, and how services write it.
//!
//! Every moment inside the cloud is in milliseconds since 1970 (UTC).

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// How long transitions take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClockMode {
    /// The system's clock. A transition takes `scale` times its usual length: 1 looks real, 0 has every transition done
    /// by the next request.
    Real {
        /// The factor.
        scale: f64,
    },
}

impl Default for ClockMode {
    fn default() -> Self {
        Self::Real { scale: 1.0 }
    }
}

impl ClockMode {
    /// How many milliseconds a transition of `seconds` takes.
    #[must_use]
    pub fn lasts(self, seconds: f64) -> i64 {
        let Self::Real { scale } = self;
        #[expect(clippy::cast_possible_truncation, reason = "seconds to milliseconds, far below the limit")]
        let millis = (seconds * scale * 1000.0).round() as i64;
        millis.max(0)
    }
}

/// The system's time.
#[must_use]
pub fn system() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn format(millis: i64, pattern: &str) -> String {
    let moment = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.strftime(pattern).to_string()
}

/// `2026-11-22T13:41:13Z`: Nova, Neutron, Glance.
#[must_use]
pub fn zulu(millis: i64) -> String {
    format(millis, "%Y-%m-%dT%H:%M:%SZ")
}

/// `2026-11-22T13:41:13.250Z`: the object store's documents.
#[must_use]
pub fn zulu_milli(millis: i64) -> String {
    format(millis, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// `20261122T134113Z`: what signatures of requests are dated with.
#[must_use]
pub fn basic(millis: i64) -> String {
    format(millis, "%Y%m%dT%H%M%SZ")
}

/// `2026-11-22T13:41:13.000000`: Nova's launch time, Cinder, Blazar's dates.
#[must_use]
pub fn naive(millis: i64) -> String {
    format(millis, "%Y-%m-%dT%H:%M:%S.000000")
}

/// `2026-11-22T13:41:13.000000Z`: Keystone's tokens.
#[must_use]
pub fn zulu_micro(millis: i64) -> String {
    format(millis, "%Y-%m-%dT%H:%M:%S.000000Z")
}

/// `2026-11-22 13:41:13`: when Blazar made or changed an object.
#[must_use]
pub fn spaced(millis: i64) -> String {
    format(millis, "%Y-%m-%d %H:%M:%S")
}

/// `Sun, 22 Nov 2026 13:41:13 GMT`: the `Date` header.
#[must_use]
pub fn http_date(millis: i64) -> String {
    format(millis, "%a, %d %b %Y %H:%M:%S GMT")
}

/// Reads a date without zone, in UTC, by a `strptime` pattern.
#[must_use]
pub fn parse(text: &str, pattern: &str) -> Option<i64> {
    let date = DateTime::strptime(pattern, text).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}
