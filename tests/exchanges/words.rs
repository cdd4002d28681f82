//! The words of a play: what `{server}` stands for in a request, and what an id is called in a recording.
//!
//! In: what the world knows and what steps keep. Out: texts with their words filled in, and answers with them put back.
//! `{now+90m}` is a time by the cloud's own clock, as Blazar takes it; `{iso+90m}` the same as Keystone takes it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

/// Shorter values are not looked for in answers: they are names and numbers that may stand for anything.
const SHORTEST: usize = 7;

/// A word in braces, with a shift if it is a time.
static WORD: LazyLock<regex::Regex> =
    LazyLock::new(|| regex::Regex::new(r"\{([A-Za-z][A-Za-z0-9_.:-]*)((?:[+-]\d+[smhd])?)\}").expect("a pattern"));

/// Names and what they stand for.
#[derive(Debug, Default)]
pub struct Words {
    values: BTreeMap<String, String>,
    secrets: Vec<String>,
    /// The cloud's time, from its last answer.
    pub now: Timestamp,
}

impl Words {
    /// Keeps a value.
    pub fn keep(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// Keeps a value that must never be written down.
    pub fn keep_secret(&mut self, name: &str, value: &str) {
        self.keep(name, value);
        self.secrets.push(value.to_owned());
    }

    /// The text with its words filled in.
    pub fn fill(&self, text: &str) -> String {
        let filled = WORD.replace_all(text, |found: &regex::Captures<'_>| match (&found[1], &found[2]) {
            (name @ ("now" | "iso"), shift) => self.time(name, shift),
            (name, "") => match self.values.get(name) {
                Some(value) => value.clone(),
                None => panic!("`{{{name}}}` stands for nothing yet, in: {text}"),
            },
            (name, shift) => panic!("`{name}{shift}` is no time, in: {text}"),
        });
        filled.into_owned()
    }

    fn time(&self, form: &str, shift: &str) -> String {
        let seconds = match shift.split_at_checked(shift.len().saturating_sub(1)) {
            None | Some(("", _)) => 0,
            Some((number, unit)) => {
                let size = match unit {
                    "s" => 1,
                    "m" => 60,
                    "h" => 3600,
                    _ => 86400,
                };
                number.parse::<i64>().expect("a number") * size
            }
        };
        let moment = self.now + SignedDuration::from_secs(seconds);
        let pattern = if form == "now" { "%Y-%m-%d %H:%M" } else { "%Y-%m-%dT%H:%M:%S.000000Z" };
        moment.strftime(pattern).to_string()
    }

    /// The body with its words filled in, in every text and every key.
    pub fn fill_json(&self, body: &Json) -> Json {
        match body {
            Json::String(text) => self.fill(text).into(),
            Json::Array(all) => all.iter().map(|one| self.fill_json(one)).collect(),
            Json::Object(map) => map
                .iter()
                .map(|(key, value)| (self.fill(key), self.fill_json(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    /// The text with ids put back to their words, and without secrets.
    pub fn put_back(&self, text: &str) -> String {
        let whole = self.values.iter().find(|(name, value)| name.ends_with("-name") && *value == text);
        if let Some((name, _)) = whole {
            return format!("{{{name}}}");
        }
        let mut text = text.to_owned();
        for secret in self.secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
            text = text.replace(secret.as_str(), "<secret>");
        }
        let fits = |value: &String| (SHORTEST..=text.len()).contains(&value.len()) && text.contains(value.as_str());
        let mut known: Vec<_> = self.values.iter().filter(|(_, value)| fits(value)).collect();
        known.sort_by_key(|(name, value)| (std::cmp::Reverse(value.len()), name.len()));
        for (name, value) in known {
            text = text.replace(value.as_str(), &format!("{{{name}}}"));
        }
        text
    }
}
