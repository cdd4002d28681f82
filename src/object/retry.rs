//! Whether a failed request is sent again, and when. Pure.
//!
//! Every request of this module may be sent twice: writing the same object again, or deleting what is gone, changes
//! nothing. Beginning an upload twice leaves one too many, which is found by its key and aborted.

use std::time::Duration;

use super::ObjectError;

/// How patient a store's client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent at most.
    pub tries: u32,
    /// The wait before the second try; doubled for each further one.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { tries: 8, first_wait: Duration::from_millis(200), longest_wait: Duration::from_secs(10) }
    }
}

/// How long to wait before the next try, or `None` if there is none. `tried` is how often it was sent so far; `jitter`,
/// from 0 to 1, spreads those who failed together.
#[must_use]
pub fn wait(policy: &RetryPolicy, error: &ObjectError, tried: u32, jitter: f64) -> Option<Duration> {
    if tried >= policy.tries || !error.is_passing() {
        return None;
    }
    let doubled = policy.first_wait.saturating_mul(1 << tried.saturating_sub(1).min(16));
    Some(doubled.min(policy.longest_wait).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0))
}

/// How long a request may take that moves so many bytes: a minute, and as long as 256 KiB a second take.
#[must_use]
pub fn patience(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / (256 * 1024))
}

#[cfg(test)]
mod tests {
    use super::super::ObjectErrorKind;
    use super::*;

    #[test]
    fn what_passes_is_tried_again_and_waits_double() {
        let policy = RetryPolicy { tries: 4, ..RetryPolicy::default() };
        let error = |kind| ObjectError::new(kind, "store", "PUT b/k", "no");
        let slow = error(ObjectErrorKind::Unavailable);
        let waits: Vec<_> =
            (1..=5).map(|tried| wait(&policy, &slow, tried, 1.0).map(|wait| wait.as_millis())).collect();
        assert_eq!(waits, [Some(200), Some(400), Some(800), None, None]);
        assert_eq!(wait(&policy, &slow, 1, 0.0), Some(Duration::from_millis(100)));
        for kind in [ObjectErrorKind::Denied, ObjectErrorKind::Credentials, ObjectErrorKind::Local] {
            assert_eq!(wait(&policy, &error(kind), 1, 0.0), None, "{kind:?}");
        }
        let wrong = error(ObjectErrorKind::Mismatch);
        assert_eq!(wait(&policy, &wrong, 1, 0.0), None, "found here, it will be found again");
        assert!(wait(&policy, &wrong.with(|parts| parts.status = Some(400)), 1, 0.0).is_some());
    }

    #[test]
    fn patience_grows_with_what_is_moved() {
        assert_eq!(patience(0), Duration::from_secs(60));
        assert_eq!(patience(64 << 20), Duration::from_secs(60 + 256));
    }
}
