//! What of an answer is not compared by its value, and which differences are meant to be: `rules.yaml`.
//!
//! Invariant: each has its reason, and a difference that no play shows any more is a mistake in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::Deserialize;

use super::folder;

/// The rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Fields whose value is the service's own affair; only their type is compared.
    volatile: BTreeMap<String, String>,
    /// Lists in no order.
    unordered: BTreeMap<String, String>,
    /// Differences that are meant to be.
    differences: Vec<Difference>,
    #[serde(skip)]
    used: Mutex<BTreeSet<usize>>,
}

/// A difference that is meant to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// The scenario; `*` stands for any text.
    scenario: String,
    /// What is requested; `*` stands for any text.
    request: String,
    /// The place in the answer; `*` stands for any text.
    at: String,
    /// What the two answers say there; `*` stands for any text, and is the pattern where there is none.
    shows: Option<String>,
    /// Why.
    because: String,
}

impl Rules {
    /// Reads them.
    pub fn read() -> Self {
        let path = folder().join("rules.yaml");
        let text = std::fs::read_to_string(&path).expect("the rules");
        let rules: Self = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let reasons = rules.volatile.values().chain(rules.unordered.values());
        assert!(reasons.chain(rules.differences.iter().map(|one| &one.because)).all(|why| !why.is_empty()));
        rules
    }

    /// Whether only the type of the field counts.
    pub fn is_volatile(&self, key: &str) -> bool {
        self.volatile.contains_key(key)
    }

    /// Whether the list has no order.
    pub fn is_unordered(&self, key: &str) -> bool {
        self.unordered.contains_key(key)
    }

    /// Whether a difference is meant to be.
    pub fn allow(&self, scenario: &str, request: &str, (at, what): (&str, &str)) -> bool {
        let fits = |one: &Difference| {
            let shown = one.shows.as_ref().is_none_or(|shows| matches(shows, what));
            shown && matches(&one.scenario, scenario) && matches(&one.request, request) && matches(&one.at, at)
        };
        let found = self.differences.iter().position(fits);
        if let Some(place) = found {
            self.used.lock().expect("the set").insert(place);
        }
        found.is_some()
    }

    /// The differences that no play showed.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.lock().expect("the set");
        let unused = self.differences.iter().enumerate().filter(|(place, _)| !used.contains(place));
        unused.map(|(_, one)| format!("rules.yaml: no play shows {} {} any more", one.request, one.at)).collect()
    }
}

/// Whether a text fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
    regex::Regex::new(&format!("(?s)^{}$", parts.join(".*"))).is_ok_and(|regex| regex.is_match(text))
}
