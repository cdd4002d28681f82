//! Text that is shown nowhere and written nowhere in clear.
//!
//! A secret knows its text only while the program runs. Written to a state or a journal it is a salted, slow digest:
//! enough to see that it changed, not enough to get it back.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::OnceLock;

use ring::pbkdf2;
use secrecy::{ExposeSecret, SecretString};

use crate::hex;

/// Rounds of the digest: some milliseconds for each guess at a weak secret.
const ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();

/// A secret text, or what is remembered of one.
#[derive(Clone)]
pub struct Secret {
    /// Which variables it came from: `var.token`.
    source: String,
    text: Option<SecretString>,
    digest: OnceLock<String>,
}

impl Secret {
    /// A secret whose text is at hand.
    #[must_use]
    pub fn new(source: impl Into<String>, text: String) -> Self {
        Self { source: source.into(), text: Some(SecretString::from(text)), digest: OnceLock::new() }
    }

    /// What a file remembers of a secret.
    #[must_use]
    pub fn remembered(source: impl Into<String>, digest: String) -> Self {
        let kept = OnceLock::new();
        let _ = kept.set(digest);
        Self { source: source.into(), text: None, digest: kept }
    }

    /// Which variables it came from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text, for the service it is meant for; `None` if only its digest is left.
    #[must_use]
    pub fn expose(&self) -> Option<&str> {
        self.text.as_ref().map(ExposeSecret::expose_secret)
    }

    /// The digest, salted with where the secret came from.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| {
            let mut out = [0; 16];
            let salt = format!("anole {}", self.source);
            let text = self.expose().unwrap_or_default();
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt.as_bytes(), text.as_bytes(), &mut out);
            hex::encode(&out)
        })
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        match (self.expose(), other.expose()) {
            (Some(a), Some(b)) => self.source == other.source && a == b,
            _ => self.source == other.source && self.digest() == other.digest(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Json, Value};
    use super::*;

    #[test]
    fn a_secret_is_recognized_after_it_was_written_and_never_written_in_clear() {
        let secret = Value::Secret(Secret::new("var.token", "hunter2".to_owned()));
        let written = Json::from(secret.clone()).to_string();
        assert!(!written.contains("hunter2") && !format!("{secret:?}").contains("hunter2"));
        let read = Value::try_from(serde_json::from_str::<Json>(&written).unwrap()).unwrap();
        assert!(secret.same(&read) && !read.is_known() && secret.is_known());
        assert!(!Value::Secret(Secret::new("var.token", "hunter3".to_owned())).same(&read));
    }
}
