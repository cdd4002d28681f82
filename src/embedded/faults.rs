//! Faults on order, for tests: `faults.json` in the cloud's folder.
//!
//! In: a list of rules. Out: for each request the first rule that fits, with one of its `times` used up (the file is
//! written back). A rule is
//! `{"method": "POST", "path": "^/compute/.*/servers$", "times": 1, "status": 503, "body": {…}, "delay": 0.2,
//!   "retry_after": 1, "drop": false, "drop_after": false, "rate": 0.2, "seed": 7}`:
//! `method` and `path` (a regular expression; a plain path fits what begins with it) choose requests; `status` answers
//! instead of doing it (with `retry_after` seconds as its `Retry-After`); `drop` breaks the connection instead of doing
//! it; `drop_after` does it and then answers 504 (or `status`, or breaks the connection with `drop`), so that it may have
//! happened; `delay` (seconds) waits before anything else. `rate` is for how many of the requests that fit it holds, and
//! which of them they are depends only on `seed` and on how many there were (`seen`); such a rule lasts, unless it has
//! `times`.
//!
//! An object's contents that are on their way when a rule of `drop_after` and `drop` holds break off in the middle.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;
use super::wire::{Body, Call, Reply};
use crate::model::Json;

/// A rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    path: String,
    /// How often it holds: where it is not said once, and with a rate for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(default)]
    drop: bool,
    /// Does it, and then answers as if nobody knew.
    #[serde(default)]
    pub drop_after: bool,
    /// Seconds to wait first.
    #[serde(default)]
    pub delay: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(default)]
    seed: u64,
    /// How many requests of a rate fitted so far.
    #[serde(default)]
    seen: u64,
}

impl Rule {
    fn fits(&self, call: &Call) -> bool {
        let method = self.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(call.method.as_str()));
        let path = call.target.split('?').next().unwrap_or_default();
        let by_text = path.starts_with(&self.path);
        method && (by_text || regex::Regex::new(&self.path).is_ok_and(|regex| regex.is_match(path)))
    }

    /// Waits as long as it says.
    pub async fn wait(&self) {
        if self.delay > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(self.delay.min(600.0))).await;
        }
    }

    /// Whether it breaks the connection.
    #[must_use]
    pub fn breaks(&self) -> bool {
        self.drop
    }

    fn is_left(&self) -> bool {
        self.times != Some(0)
    }

    /// Whether it holds for this request, which fits it and is counted.
    fn holds(&mut self) -> bool {
        if let Some(rate) = self.rate {
            self.seen += 1;
            if share(self.seed, self.seen) >= rate {
                return false;
            }
        } else if self.times.is_none() {
            self.times = Some(1);
        }
        self.times = self.times.map(|times| times.saturating_sub(1));
        true
    }

    /// The answer that stands in for doing it.
    #[must_use]
    pub fn instead(&self) -> Option<Reply> {
        match (self.drop_after, self.drop) {
            (true, _) => None,
            (false, true) => Some(broken()),
            (false, false) => self.status.map(|status| self.refusal(status)),
        }
    }

    /// The answer after it was done.
    #[must_use]
    pub fn afterwards(&self) -> Option<Reply> {
        let answer = || if self.drop { broken() } else { self.refusal(self.status.unwrap_or(504)) };
        self.drop_after.then(answer)
    }

    fn refusal(&self, status: u16) -> Reply {
        let reply = match &self.body {
            Some(body) => Reply::json(status, body.clone()),
            None => Reply {
                status,
                headers: Vec::new(),
                body: Body::Html(format!("<html><body><h1>{status}</h1></body></html>\n")),
            },
        };
        match self.retry_after {
            Some(seconds) => reply.header("retry-after", seconds.to_string()),
            None => reply,
        }
    }
}

/// An answer that breaks off.
fn broken() -> Reply {
    Reply { status: 200, headers: Vec::new(), body: Body::Broken }
}

/// A number from 0 to 1 that depends on nothing but these two, and is spread evenly (SplitMix64).
fn share(seed: u64, count: u64) -> f64 {
    let mut mixed = seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let share = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
    share
}

/// The rule for this request, with one of its times used up.
pub fn take(folder: &Path, call: &Call) -> Result<Option<Rule>, Error> {
    let path = folder.join("faults.json");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::io("read", &path, source)),
    };
    let mut rules: Vec<Rule> =
        serde_json::from_slice(&text).map_err(|source| Error::Faults { path: path.clone(), source })?;
    let mut found = None;
    let mut counted = false;
    for rule in rules.iter_mut().filter(|rule| rule.is_left() && rule.fits(call)) {
        counted = true;
        if rule.holds() {
            found = Some(rule.clone());
            break;
        }
    }
    if !counted {
        return Ok(None);
    }
    rules.retain(Rule::is_left);
    let text = serde_json::to_vec_pretty(&rules).map_err(|source| Error::Faults { path: path.clone(), source })?;
    std::fs::write(&path, text).map_err(|source| Error::io("write", &path, source))?;
    Ok(found)
}
