//! Removes many objects, and containers, by one request: `?bulk-delete`.
//!
//! In: names a line, encoded as in a URL. Out: how many went, how many were not there, and which could not be removed. The
//! status is always 200; the real one is in the body.

use serde_json::json;

use super::{Answer, JSON, PLAIN, containers, is_json, objects};
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::objects::{Ask, Output, split};

/// What came of a list of names.
#[derive(Debug, Default)]
pub struct Outcome {
    deleted: usize,
    missing: usize,
    /// Name and status.
    errors: Vec<(String, String)>,
    invalid: bool,
}

impl Outcome {
    /// Removes an object, or a container where `object` is empty.
    pub fn remove(&mut self, ask: &mut Ask<'_>, container: &str, object: &str) {
        let done = match object {
            "" => containers::remove(ask, container),
            object => objects::remove(ask, container, object),
        };
        match done {
            Ok(()) => self.deleted += 1,
            Err(refusal) if refusal.status == 404 => self.missing += 1,
            Err(refusal) => self.fail(format!("{container}/{object}"), &refusal),
        }
    }

    /// Notes what could not be removed.
    pub fn fail(&mut self, name: String, refusal: &Refusal) {
        let reason = match refusal.status {
            401 => "Unauthorized",
            403 => "Forbidden",
            409 => "Conflict",
            _ => "Bad Request",
        };
        self.errors.push((name, format!("{} {reason}", refusal.status)));
    }

    /// The answer.
    #[must_use]
    pub fn answer(self, as_json: bool) -> Output {
        let (status, body) = match (self.invalid, self.errors.first()) {
            (true, _) => ("400 Bad Request", "Invalid bulk delete."),
            (false, Some((_, status))) => (status.as_str(), ""),
            (false, None) => ("200 OK", ""),
        };
        if as_json {
            let body = json!({"Number Deleted": self.deleted, "Number Not Found": self.missing, "Response Body": body,
                              "Response Status": status, "Errors": self.errors});
            return Output::new(200).text(JSON, body.to_string());
        }
        let errors: String = self.errors.iter().map(|(name, status)| format!("{name}, {status}\n")).collect();
        let text = format!(
            "Number Deleted: {}\nNumber Not Found: {}\nResponse Body: {body}\nResponse Status: {status}\nErrors: {errors}\n",
            self.deleted, self.missing
        );
        Output::new(200).text(PLAIN, text)
    }
}

/// `POST` or `DELETE` of an account with `?bulk-delete`.
pub fn delete(ask: &mut Ask<'_>) -> Answer {
    let text = String::from_utf8_lossy(ask.text()).into_owned();
    let names: Vec<&str> = text.lines().map(str::trim).filter(|name| !name.is_empty()).collect();
    let mut outcome = Outcome { invalid: names.is_empty(), ..Outcome::default() };
    for name in names {
        let (container, object) = split(name.strip_prefix('/').unwrap_or(name));
        outcome.remove(ask, &container, &object);
    }
    Ok(outcome.answer(is_json(ask.call)))
}
