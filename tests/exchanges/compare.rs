//! Two recordings side by side: what the embedded cloud answered otherwise than the real one.

use serde_json::Value as Json;

use super::play::{Recorded, Recording};
use super::rules::Rules;
use super::scenario::{Scenario, Step};
use super::scrub::normal;

/// Every difference, as a line each.
pub fn recordings(scenario: &Scenario, real: &Recording, ours: &Recording, rules: &Rules) -> Vec<String> {
    let asked = scenario.steps.iter().map(|step| &step.request);
    if !asked.eq(real.answers.iter().map(|answer| &answer.request)) {
        return vec![format!("{}: the recording is of other requests; record it anew", scenario.name)];
    }
    let mut all = Vec::new();
    for (place, ((real, ours), step)) in real.answers.iter().zip(&ours.answers).zip(&scenario.steps).enumerate() {
        for (at, what) in answers(real, ours, step, rules) {
            if !rules.allow(&scenario.name, &real.request, (&at, &what)) {
                all.push(format!("{} {} {}\n    {at}: {what}", scenario.name, place + 1, real.request));
            }
        }
    }
    all
}

/// The differences of two answers: place and what.
fn answers(real: &Recorded, ours: &Recorded, step: &Step, rules: &Rules) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if real.status != ours.status {
        all.push(("status".to_owned(), format!("really {}, embedded {} {}", real.status, ours.status, ours.body)));
        return all;
    }
    let headers = |recorded: &Recorded| recorded.headers.split(" | ").map(str::to_owned).collect::<Vec<_>>();
    let (really, embedded) = (headers(real), headers(ours));
    let only =
        |one: &[String], other: &[String]| one.iter().filter(|header| !other.contains(header)).cloned().collect();
    let (missing, extra): (Vec<_>, Vec<_>) = (only(&really, &embedded), only(&embedded, &really));
    if !missing.is_empty() || !extra.is_empty() {
        let (missing, extra) = (missing.join(" | "), extra.join(" | "));
        all.push(("headers".to_owned(), format!("really `{missing}`, embedded `{extra}`")));
    }
    let strange = ours.seen.iter().filter(|state| !real.seen.contains(state) && !step.may.contains(state));
    all.extend(strange.map(|state| ("seen".to_owned(), format!("`{state}` is not among {:?}", real.seen))));
    values("", &normal(real.body.clone(), step, rules), &ours.body, &mut all);
    all
}

fn values(at: &str, real: &Json, ours: &Json, all: &mut Vec<(String, String)>) {
    match (real, ours) {
        (Json::Object(real), Json::Object(ours)) => {
            for (key, value) in real {
                let at = format!("{at}/{key}");
                match ours.get(key) {
                    Some(other) => values(&at, value, other, all),
                    None => all.push((at, format!("missing; really {value}"))),
                }
            }
            let extra = ours.iter().filter(|(key, _)| !real.contains_key(*key));
            all.extend(
                extra.map(|(key, value)| (format!("{at}/{key}"), format!("really not there; embedded {value}"))),
            );
        }
        (Json::Array(real), Json::Array(ours)) if real.len() == ours.len() => {
            for (place, (one, other)) in real.iter().zip(ours).enumerate() {
                values(&format!("{at}/{place}"), one, other, all);
            }
        }
        (real, ours) if real != ours => {
            all.push((at.to_owned(), format!("\n      really   {real}\n      embedded {ours}")));
        }
        _ => {}
    }
}
