//! Text that is shown nowhere and written nowhere in clear.
//!
//! A secret that was *given* (a sensitive variable, a variable of the environment) knows its text only while the program
//! runs. Written to a state or a journal it is a salted, slow digest: enough to see that it changed, not enough to get it
//! back.
//!
//! A secret that is *kept* was made here or by a service, once, under a source that is its alone (the unique id of what it
//! belongs to, and the attribute's name). Its source says which it is, so nothing made from its text is written but its
//! sealed form, and that only where it belongs ([`crate::state::sealing`]).
//!
//! A secret that is *composed* of text and other secrets is told by what those are, never by its own text.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::OnceLock;

use ring::{digest, pbkdf2};
use secrecy::{ExposeSecret, SecretString};

use crate::hex;

/// Rounds of the digest: some milliseconds for each guess at a weak secret.
const ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();

/// What stands in the digest's place where the source alone says which secret it is.
const KEPT: &str = "kept";

/// A secret text, or what is remembered of one.
#[derive(Clone)]
pub struct Secret {
    /// What it came from: `var.token`, or `<unique id>/<attribute>`.
    source: String,
    text: Option<SecretString>,
    digest: OnceLock<String>,
    sealed: Option<String>,
}

/// A piece of a composed text.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// Text that anybody may see.
    Open(&'a str),
    /// A secret within it.
    Hidden(&'a Secret),
}

impl Secret {
    /// A secret whose text is at hand.
    #[must_use]
    pub fn new(source: impl Into<String>, text: String) -> Self {
        Self { source: source.into(), text: Some(SecretString::from(text)), digest: OnceLock::new(), sealed: None }
    }

    /// A secret that never changes under its source, and is kept.
    #[must_use]
    pub fn kept(source: impl Into<String>, text: String) -> Self {
        Self { text: Some(SecretString::from(text)), ..Self::remembered(source, KEPT.to_owned()) }
    }

    /// What a file remembers of a secret.
    #[must_use]
    pub fn remembered(source: impl Into<String>, digest: String) -> Self {
        Self { source: source.into(), text: None, digest: OnceLock::from(digest), sealed: None }
    }

    /// A text with secrets in it, which is a secret as a whole. Its text is known if theirs are.
    #[must_use]
    pub fn composed(pieces: &[Piece<'_>]) -> Self {
        let mut sources: Vec<&str> = Vec::new();
        let mut recipe = digest::Context::new(&digest::SHA256);
        let mut text = Some(String::new());
        for piece in pieces {
            let (tag, told, word) = match piece {
                Piece::Open(open) => ("open", *open, Some(*open)),
                Piece::Hidden(secret) => {
                    if !sources.contains(&secret.source()) {
                        sources.push(secret.source());
                    }
                    recipe.update(format!("{}:{}", secret.source.len(), secret.source).as_bytes());
                    ("hidden", secret.digest(), secret.expose())
                }
            };
            recipe.update(format!("{tag}:{}:{told}", told.len()).as_bytes());
            text = text.zip(word).map(|(text, word)| text + word);
        }
        let told = hex::encode(&recipe.finish().as_ref()[..16]);
        Self { text: text.map(SecretString::from), ..Self::remembered(sources.join(", "), told) }
    }

    /// Whether it is a kept one.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.digest.get().is_some_and(|digest| digest == KEPT)
    }

    /// Its sealed form, if it has one.
    #[must_use]
    pub fn sealed(&self) -> Option<&str> {
        self.sealed.as_deref()
    }

    /// The same secret with its sealed form.
    #[must_use]
    pub fn with_sealed(self, sealed: Option<String>) -> Self {
        Self { sealed, ..self }
    }

    /// The same secret, with its text.
    #[must_use]
    pub fn with_text(self, text: SecretString) -> Self {
        Self { text: Some(text), ..self }
    }

    /// The same secret for whoever refers to it: the sealed form stays where it belongs.
    #[must_use]
    pub fn lent(&self) -> Self {
        Self { sealed: None, ..self.clone() }
    }

    /// What it came from.
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

    #[test]
    fn a_kept_secret_is_told_by_its_source_and_leaves_no_trace_of_its_text() {
        let kept = |text: &str| Secret::kept("0a1b/value", text.to_owned());
        let written = |text: &str| Json::from(Value::Secret(kept(text))).to_string();
        assert_eq!(written("1234"), written("9876"), "a short text could be guessed from what depends on it");
        let sealed = kept("1234").with_sealed(Some("anole-sealed:1:x".to_owned()));
        let json = Json::from(Value::Secret(sealed.clone()));
        let Value::Secret(read) = Value::try_from(json).unwrap() else { panic!("no secret") };
        assert!(read == sealed && read.is_kept() && read.expose().is_none());
        assert_eq!((read.sealed(), read.lent().sealed()), (Some("anole-sealed:1:x"), None));
        assert_ne!(Secret::kept("other/value", "1234".to_owned()), kept("1234"));
    }

    #[test]
    fn a_composed_secret_is_told_by_its_pieces() {
        let kept = Secret::kept("0a1b/value", "1234".to_owned());
        let of = |user: &str, secret: &Secret| {
            Secret::composed(&[Piece::Open(user), Piece::Open(":"), Piece::Hidden(secret)])
        };
        let (one, without) = (of("me", &kept), of("me", &Secret::remembered("0a1b/value", "kept".to_owned())));
        assert_eq!((one.expose(), without.expose()), (Some("me:1234"), None));
        assert_eq!(one, without);
        assert_ne!(one.digest(), of("you", &kept).digest());
        assert_ne!(one.digest(), of("me", &Secret::kept("ffff/value", "1234".to_owned())).digest());
        assert_ne!(
            Secret::composed(&[Piece::Open("a"), Piece::Open("b"), Piece::Hidden(&kept)]).digest(),
            Secret::composed(&[Piece::Open("ab"), Piece::Hidden(&kept)]).digest(),
        );
    }
}
