//! Makes what stamps are made of: the owner's mark and unique ids. Randomness is an input everywhere else.

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

use crate::hex;

/// The mark of a user on their objects: the first 8 hexadecimal digits of SHA-256 of the user's id.
#[must_use]
pub fn owner(user_id: &str) -> String {
    hex::encode(&digest::digest(&digest::SHA256, user_id.as_bytes()).as_ref()[..4])
}

/// A source of unique ids.
pub trait Ids: Send + Sync {
    /// So many random bytes, in hexadecimal.
    fn hex(&self, bytes: usize) -> String;
}

/// Random text of so many characters, each of the alphabet's as likely as the others. An alphabet has 1 to 256.
pub fn text(ids: &dyn Ids, length: usize, alphabet: &str) -> String {
    let alphabet: Vec<char> = alphabet.chars().take(256).collect();
    if alphabet.is_empty() {
        return String::new();
    }
    // A byte beyond the largest multiple of the alphabet's size would make its first characters likelier.
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(length);
    let mut left = length;
    while left > 0 {
        let bytes = hex::decode(&ids.hex(left.max(16))).unwrap_or_default();
        for byte in bytes.into_iter().map(usize::from).filter(|byte| *byte < fair).take(left) {
            text.push(alphabet[byte % alphabet.len()]);
            left -= 1;
        }
    }
    text
}

/// The system's own randomness.
#[derive(Debug)]
pub struct SystemIds(SystemRandom);

impl SystemIds {
    /// The system's source.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a source of randomness is chosen, not defaulted")]
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Ids for SystemIds {
    fn hex(&self, bytes: usize) -> String {
        let mut buffer = vec![0; bytes];
        // The system's source fails only before it is seeded, at boot; a uuid then draws from the same kernel.
        if self.0.fill(&mut buffer).is_err() {
            buffer = uuid::Uuid::new_v4().into_bytes().into_iter().cycle().take(bytes).collect();
        }
        hex::encode(&buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_text_has_its_length_and_all_of_its_alphabet() {
        let ids = SystemIds::new();
        for (length, alphabet) in [(0, "ab"), (5, "é"), (4_000, "abcdefghijklmnopqrstuvwxyz0123456789")] {
            let text = text(&ids, length, alphabet);
            assert_eq!(text.chars().count(), length);
            assert!(text.chars().all(|char| alphabet.contains(char)));
            assert!(length < 4_000 || alphabet.chars().all(|char| text.contains(char)), "{text}");
        }
        assert_ne!(text(&ids, 32, "abc"), text(&ids, 32, "abc"));
    }
}
