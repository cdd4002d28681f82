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
