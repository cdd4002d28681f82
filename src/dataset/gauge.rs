//! How far a delivery is, as one value that can be looked at any time, shown, and sent as a line of JSON.
//!
//! In: the [`Progress`] that many threads tell. Out: a [`Standing`]. Invariant: a later standing never says less than an
//! earlier one of the same stage; one that is missed is made up for by the next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::delivery::Delivered;
use super::text::{bytes, thousands};
use super::{Progress, Stage, Watch};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// What is done now.
    pub stage: Stage,
    /// How many objects of this stage are done.
    pub objects: u64,
    /// Of how many; 0 where it is not known.
    pub objects_total: u64,
    /// How many bytes of this stage are done.
    pub bytes: u64,
    /// Of how many; 0 where it is not known.
    pub bytes_total: u64,
    /// For how long this stage has been going on, in seconds.
    pub seconds: f64,
}

/// A line of what `anole dataset run` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// How far it is.
    Standing(Standing),
    /// It is done.
    Delivered(Delivered),
    /// It failed.
    Failed {
        /// What happened, to what.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// Counts what is told.
#[derive(Debug)]
pub struct Gauge {
    counts: Mutex<(Standing, Instant)>,
    stop: AtomicBool,
}

impl Default for Gauge {
    fn default() -> Self {
        Self { counts: Mutex::new((Standing::at(Stage::Source), Instant::now())), stop: AtomicBool::new(false) }
    }
}

impl Gauge {
    /// Where it stands now.
    pub fn standing(&self) -> Standing {
        let (standing, began) = *self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        Standing { seconds: began.elapsed().as_secs_f64(), ..standing }
    }

    /// Asks whoever tells to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Watch for Gauge {
    fn tell(&self, progress: Progress) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Stage(stage) => *counts = (Standing::at(stage), Instant::now()),
            Progress::Total { objects, bytes } => {
                (counts.0.objects_total, counts.0.bytes_total) = (objects, bytes);
            }
            Progress::Bytes(bytes) => counts.0.bytes += bytes,
            Progress::Objects(objects) => counts.0.objects += objects,
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Stage {
    /// What is done in it, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Wait => "waiting for another run that uses the same staging folder",
            Self::Source => "fetching",
            Self::Extract => "unpacking",
            Self::Transform => "transforming",
            Self::Digest => "taking digests",
            Self::Load => "loading",
            Self::Verify => "reading back",
            Self::Delete => "deleting",
        }
    }
}

impl Standing {
    fn at(stage: Stage) -> Self {
        Self { stage, objects: 0, objects_total: 0, bytes: 0, bytes_total: 0, seconds: 0.0 }
    }

    /// Bytes a second; none while there is nothing to divide.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.bytes as f64 / self.seconds;
        (self.seconds > 0.5 && self.bytes > 0).then_some(rate)
    }

    /// How many seconds it will take still, if it goes on as it did.
    #[must_use]
    pub fn left(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
        let left = self.bytes_total.checked_sub(self.bytes)? as f64;
        (self.bytes_total > 0).then_some(left / self.rate()?)
    }
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.stage.words())?;
        let of = |done: String, total: u64, whole: String| match total {
            0 => done,
            _ => format!("{done} of {whole}"),
        };
        if self.objects > 0 || self.objects_total > 0 {
            let (done, total) = (thousands(self.objects), thousands(self.objects_total));
            write!(f, " {} objects", of(done, self.objects_total, total))?;
        }
        if self.bytes > 0 || self.bytes_total > 0 {
            write!(f, ", {}", of(bytes(self.bytes), self.bytes_total, bytes(self.bytes_total)))?;
        }
        if let Some(rate) = self.rate() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
            write!(f, ", {}/s", bytes(rate as u64))?;
        }
        match self.left() {
            Some(left) if left >= 1.0 => write!(f, ", {left:.0} s left"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_adds_up_and_a_stage_counts_from_nothing() {
        let gauge = Gauge::default();
        gauge.tell(Progress::Bytes(7));
        gauge.tell(Progress::Stage(Stage::Load));
        gauge.tell(Progress::Total { objects: 16_643, bytes: 1 << 30 });
        (0..3).for_each(|_| gauge.tell(Progress::Objects(1)));
        gauge.tell(Progress::Bytes(1 << 20));
        let standing = Standing { seconds: 2.0, ..gauge.standing() };
        insta::assert_snapshot!(standing, @"loading 3 of 16,643 objects, 1.0 MiB of 1.0 GiB, 512.0 KiB/s, 2046 s left");
        let line = serde_json::to_string(&Line::Standing(standing)).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&line).unwrap(), Line::Standing(standing));
        assert!(!gauge.stopped());
        gauge.stop();
        assert!(gauge.stopped());
    }
}
