//! The embedded cloud held to what real services answer: recorded exchanges, played against it.
//!
//! In: `scenarios/*.yaml`, requests written by hand; `recordings/*.yaml`, what a real OpenStack answered to each;
//! `rules.yaml`, what of an answer is left out of the comparison, and why. Out: every difference, with its place.
//!
//! ```text
//! scenario ─ play ─ script ─▶ a cloud (lab or embedded) ─▶ answer ─ scrub ─▶ recording, or compared with it
//! ```
//!
//! Invariant: both clouds are asked by the same code, and both clouds' answers are scrubbed by the same code.

mod compare;
mod coverage;
mod embedded;
mod lab;
mod play;
mod record;
mod rules;
mod scenario;
mod scrub;
mod words;
mod world;

use std::path::PathBuf;

use embedded::Pace;
use play::Recording;
use rules::Rules;
use scenario::Scenario;

/// The folder of the data.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/exchanges")
}

/// Plays every scenario at a pace and gives what differs from the recordings.
fn differences(rules: &Rules, pace: Pace) -> Vec<String> {
    let mut all = Vec::new();
    for scenario in Scenario::all() {
        if pace == Pace::Instant && scenario.only_slow {
            continue;
        }
        let recorded = match Recording::read(&scenario) {
            Ok(recorded) => recorded,
            Err(why) => {
                all.push(format!("{}: {why}", scenario.name));
                continue;
            }
        };
        match embedded::play(&scenario, rules, pace) {
            Ok(played) => all.extend(compare::recordings(&scenario, &recorded, &played, rules)),
            Err(why) => all.push(format!("{}: {why}", scenario.name)),
        }
    }
    all
}

fn assert_none(differences: &[String]) {
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Every transition is done by the next request.
#[test]
fn the_embedded_cloud_answers_as_the_real_services_did() {
    let rules = Rules::read();
    assert_none(&differences(&rules, Pace::Instant));
    assert_none(&rules.unused());
}

/// Transitions take time, so their states are seen: each must be one that the real service showed.
#[test]
fn the_embedded_cloud_goes_through_states_that_the_real_services_showed() {
    assert_none(&differences(&Rules::read(), Pace::Slow));
}
