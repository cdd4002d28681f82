//! Faults on order, for tests: `faults.json` in the cloud's folder.
//!
//! In: a list of rules. Out: for each request the first rule that fits, with one of its `times` used up (the file is
//! written back). A rule is
//! `{"method": "POST", "path": "^/compute/.*/servers$", "times": 1, "status": 503, "body": {…}, "delay": 0.2,
//!   "retry_after": 1, "drop": false, "drop_after": false}`:
//! `method` and `path` (a regular expression; a plain path fits what begins with it) choose requests; `status` answers
//! instead of doing it (with `retry_after` seconds as its `Retry-After`); `drop` breaks the connection instead of doing
//! it; `drop_after` does it and then answers 504 (or `status`, or breaks the connection with `drop`), so that it may have
//! happened; `delay` (seconds) waits before anything else.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use super::wire::{Body, Call, Reply};
use crate::model::Json;

fn once() -> u32 {
    1
}

/// A rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    path: String,
    #[serde(default = "once")]
    times: u32,
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
}

impl Rule {
    fn fits(&self, call: &Call) -> bool {
        let method = self.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(call.method.as_str()));
        let path = call.target.split('?').next().unwrap_or_default();
        let by_text = path.starts_with(&self.path);
        method && (by_text || regex::Regex::new(&self.path).is_ok_and(|regex| regex.is_match(path)))
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
    let Some(place) = rules.iter().position(|rule| rule.times > 0 && rule.fits(call)) else { return Ok(None) };
    rules[place].times -= 1;
    let rule = rules[place].clone();
    rules.retain(|rule| rule.times > 0);
    let text = serde_json::to_vec_pretty(&rules).map_err(|source| Error::Faults { path: path.clone(), source })?;
    std::fs::write(&path, text).map_err(|source| Error::io("write", &path, source))?;
    Ok(Some(rule))
}
