//! Errors at the edge: what is told to the user, and with which code the program ends.
//!
//! In: any error with its chain of sources. Out: a [`CliError`] and its text: `error: …`, `caused by: …`, `hint: …`.
//! Invariant: a cause that an outer text holds already is not repeated.

use std::error::Error as StdError;
use std::fmt;

use crate::cloud::CloudError;

use super::style::{Styles, paint, printable};

/// With which code the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success,
    /// It failed; what happened was told.
    Failure,
    /// `--detailed-exitcode` and there are changes.
    Changes,
    /// A signal stopped it.
    Interrupted,
}

impl Exit {
    /// The code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Changes => 2,
            Self::Interrupted => 130,
        }
    }
}

/// An error as a command ends with.
pub struct CliError {
    /// The code to end with.
    pub exit: Exit,
    /// What happened, in one sentence without a full stop; empty when all was told already.
    pub message: String,
    /// What to do next.
    pub hints: Vec<String>,
    /// What it came from.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl CliError {
    /// A failure with nothing behind it.
    pub fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failure, message: message.into(), hints: Vec::new(), source: None }
    }

    /// A failure that has been told in full: diagnostics, an outcome.
    #[must_use]
    pub fn told() -> Self {
        Self::new("")
    }

    /// An error of the library, as it stands.
    pub fn wrap(error: impl StdError + Send + Sync + 'static) -> Self {
        Self { source: error_source(&error), ..Self::new(error.to_string()) }.with_hint_of(&error)
    }

    /// What failed, because of an error of the library.
    pub fn context(message: impl Into<String>, error: impl StdError + Send + Sync + 'static) -> Self {
        let with_hint = Self::new(message).with_hint_of(&error);
        Self { source: Some(Box::new(error)), ..with_hint }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Ends with another code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Takes the hints over that the cloud's errors in the chain carry.
    fn with_hint_of(mut self, error: &(dyn StdError + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(hint) = error.downcast_ref::<CloudError>().and_then(|error| error.hint.clone()) {
                self.hints.push(hint);
            }
            next = error.source();
        }
        self
    }

    /// The causes that the texts before them do not hold already, outermost first.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut told = self.message.clone();
        let mut causes = Vec::new();
        let mut next = self.source.as_deref().map(|error| error as &dyn StdError);
        while let Some(error) = next {
            let text = error.to_string();
            if !text.is_empty() && !told.contains(&text) {
                told.push('\n');
                told.push_str(&text);
                causes.push(text);
            }
            next = error.source();
        }
        causes
    }

    /// The text, ended by a line end; empty when all was told already.
    #[must_use]
    pub fn render(&self, styles: &Styles) -> String {
        let mut text = String::new();
        let mut line = |label: String, body: &str| {
            let body = printable(body);
            // Further lines of one text stand under its first.
            text.push_str(&format!("{label} {}\n", body.trim_end().replace('\n', "\n  ")));
        };
        if !self.message.is_empty() {
            line(paint(styles.alarm, "error:"), &self.message);
        }
        for cause in self.causes() {
            line(paint(styles.alarm, "caused by:"), &cause);
        }
        for (index, hint) in self.hints.iter().enumerate() {
            if !self.hints[..index].contains(hint) {
                line(paint(styles.hint, "hint:"), hint);
            }
        }
        text
    }
}

/// The source of an error whose own text is told: its chain, as texts, for the error itself is not kept.
fn error_source(error: &dyn StdError) -> Option<Box<dyn StdError + Send + Sync>> {
    let source = error.source()?;
    Some(Box::new(Told { text: source.to_string(), source: error_source(source) }))
}

/// An error's text, where the error itself cannot be kept.
#[derive(Debug)]
struct Told {
    text: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Told {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Debug for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Styles::plain()))
    }
}

impl From<CloudError> for CliError {
    fn from(error: CloudError) -> Self {
        Self::wrap(error)
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::wrap(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::{ErrorKind, Service};

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `anole.yaml`")]
    struct Outer(#[source] Middle);
    #[derive(Debug, thiserror::Error)]
    #[error("the disk is on fire")]
    struct Middle(#[source] Inner);
    #[derive(Debug, thiserror::Error)]
    #[error("fire")]
    struct Inner;

    #[test]
    fn causes_are_told_once() {
        let error = CliError::wrap(Outer(Middle(Inner))).hint("put it out");
        assert_eq!(
            error.render(&Styles::plain()),
            "error: cannot read `anole.yaml`\ncaused by: the disk is on fire\nhint: put it out\n"
        );
    }

    #[test]
    fn the_hint_of_a_cloud_error_is_kept_wherever_it_stands() {
        let cloud =
            CloudError::new(ErrorKind::Quota, Service::Compute, &http::Method::POST, "/servers", "Quota exceeded")
                .hint("delete a server, or ask for more");
        let error = CliError::context("cannot create servers.node", cloud);
        assert_eq!(
            error.render(&Styles::plain()),
            "error: cannot create servers.node\ncaused by: Nova, POST /servers: Quota exceeded\n\
             hint: delete a server, or ask for more\n"
        );
    }
}
