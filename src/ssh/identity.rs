//! Private keys: read from files, unlocked by a passphrase, or held by an agent.
//!
//! In: paths, the agent's socket, a way to ask for passphrases. Out: keys to offer. A key file is one of three things:
//! a private key, a private key that is locked, or only the public half of one that the agent holds.
//!
//! Invariants: a passphrase is asked for only once a server said that it would take the key, where the file shows its
//! public half; and once for all connections. Without somebody to ask, a locked key is an error that says what to do.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey, decode_secret_key};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::error::chain;
use super::target::AgentSocket;
use super::{client::AGENT_ANSWER, host_key::HostKey};

/// How often a passphrase may be wrong.
const TRIES: u32 = 3;

/// Asks for the passphrase of a key file; the number says which try it is, from 1. None if there is nobody to ask, or
/// if nobody wants to say. It may block: it is called on a thread of its own.
pub type PassphrasePrompt = Arc<dyn Fn(&Path, u32) -> Option<SecretString> + Send + Sync>;

/// The keys that were unlocked, shared by all connections so that each passphrase is asked for once.
#[derive(Default)]
pub struct Keyring {
    prompt: Option<PassphrasePrompt>,
    /// One at a time asks: two questions at once cannot be told apart.
    unlocked: Mutex<HashMap<PathBuf, Arc<PrivateKey>>>,
}

impl Keyring {
    /// A keyring that asks for passphrases; without a prompt, locked keys are used through the agent only.
    #[must_use]
    pub fn new(prompt: Option<PassphrasePrompt>) -> Self {
        Self { prompt, unlocked: Mutex::default() }
    }

    /// Unlocks a key, asking for its passphrase if that was not done before. The error says what is in the way.
    pub(super) async fn unlock(&self, path: &Path, text: &SecretString) -> Result<Arc<PrivateKey>, String> {
        let mut unlocked = self.unlocked.lock().await;
        if let Some(key) = unlocked.get(path) {
            return Ok(key.clone());
        }
        let Some(prompt) = &self.prompt else {
            return Err("it has a passphrase, and there is no terminal to ask for it".to_owned());
        };
        for number in 1..=TRIES {
            let (prompt, path, text) = (prompt.clone(), path.to_owned(), text.clone());
            let file = path.clone();
            let asked = tokio::task::spawn_blocking(move || {
                prompt(&path, number)
                    .map(|passphrase| decode_secret_key(text.expose_secret(), Some(passphrase.expose_secret())))
            });
            match asked.await {
                Ok(Some(Ok(key))) => return Ok(unlocked.entry(file).or_insert(Arc::new(key)).clone()),
                Ok(Some(Err(error))) => tracing::debug!(%error, "the passphrase does not fit"),
                Ok(None) => return Err("it has a passphrase, and none was given".to_owned()),
                Err(_) => return Err("the question for its passphrase was broken off".to_owned()),
            }
        }
        Err(format!("none of {TRIES} passphrases fits"))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring(prompt: {})", self.prompt.is_some())
    }
}

/// What a key file holds.
#[derive(Debug)]
pub(super) enum KeyFile {
    /// A key that can be used.
    Open(Arc<PrivateKey>),
    /// A key that takes a passphrase, and its public half where the file, or the `.pub` beside it, shows it.
    Locked { text: SecretString, public: Option<PublicKey> },
    /// The public half: the agent holds the other.
    Public(PublicKey),
}

impl KeyFile {
    /// Reads a file. The error says, for people, why it is no use.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => SecretString::from(text),
            // The private half may be in an agent only.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return public_beside(path).map(Self::Public).ok_or_else(|| "there is no such file".to_owned());
            }
            Err(error) => return Err(format!("it cannot be read: {error}")),
        };
        Self::parse(text, path)
    }

    fn parse(text: SecretString, path: &Path) -> Result<Self, String> {
        let content = text.expose_secret();
        if let Ok(public) = PublicKey::from_openssh(content.trim()) {
            return Ok(Self::Public(public));
        }
        if content.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
            let key = PrivateKey::from_openssh(content.trim()).map_err(|error| format!("it is broken: {error}"))?;
            if key.is_encrypted() {
                let public = PublicKey::new(key.public_key().key_data().clone(), "");
                return Ok(Self::Locked { text, public: Some(public) });
            }
            return Ok(Self::Open(Arc::new(key)));
        }
        if content.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || content.contains("Proc-Type: 4,ENCRYPTED") {
            // Of the old PEM encryption, russh has AES-128-CBC of RSA keys.
            let old = content.contains("Proc-Type: 4,ENCRYPTED");
            if old && !(content.contains("AES-128-CBC") && content.contains("BEGIN RSA PRIVATE KEY")) {
                return Err("its old encryption is not supported: write it anew by `ssh-keygen -p -f`".to_owned());
            }
            return Ok(Self::Locked { text, public: public_beside(path) });
        }
        match decode_secret_key(content, None) {
            Ok(key) => Ok(Self::Open(Arc::new(key))),
            Err(error) => Err(format!("it is not a private key that anole can read: {}", chain(&error))),
        }
    }

    pub(super) fn public(&self) -> Option<&PublicKey> {
        match self {
            Self::Open(key) => Some(key.public_key()),
            Self::Locked { public, .. } => public.as_ref(),
            Self::Public(public) => Some(public),
        }
    }
}

/// The public half in the file beside a private one.
fn public_beside(path: &Path) -> Option<PublicKey> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    let text = std::fs::read_to_string(name).ok()?;
    PublicKey::from_openssh(text.trim()).ok()
}

/// `ED25519 SHA256:…`, for people.
pub(super) fn describe(key: &PublicKey) -> String {
    let key = HostKey::of(key);
    format!("{} {}", key.short_algorithm(), key.fingerprint())
}

/// The agent, and the keys it holds.
pub(super) struct Agent {
    pub(super) client: AgentClient<UnixStream>,
    pub(super) identities: Vec<AgentIdentity>,
}

impl Agent {
    /// Asks an agent what it holds. The error says, for people, why it is no use.
    pub(super) async fn open(socket: &AgentSocket) -> Result<Option<Self>, String> {
        let AgentSocket::At(path) = socket else { return Ok(None) };
        let asked = timeout(AGENT_ANSWER, async {
            let mut client = AgentClient::connect_uds(path).await?;
            let identities = client.request_identities().await?;
            Ok::<_, russh::keys::Error>(Self { client, identities })
        });
        let at = path.display();
        match asked.await {
            Ok(Ok(agent)) => Ok(Some(agent)),
            Ok(Err(error)) => Err(format!("the agent at {at} cannot be used: {}", chain(&error))),
            Err(_) => Err(format!("the agent at {at} does not answer")),
        }
    }
}

/// Whether a key signs by a device that only an agent can reach.
pub(super) fn needs_device(key: &PrivateKey) -> bool {
    matches!(key.algorithm(), Algorithm::SkEcdsaSha2NistP256 | Algorithm::SkEd25519)
}

/// The hash of an RSA key's signatures that a server takes; none for other keys. SHA-1 is not used.
pub(super) fn rsa_hash(key: &PublicKey, server: Option<Option<HashAlg>>) -> Result<Option<HashAlg>, &'static str> {
    match (key.algorithm(), server) {
        (Algorithm::Rsa { .. }, Some(None)) => Err("the server takes RSA keys with SHA-1 only, which is not safe"),
        (Algorithm::Rsa { .. }, Some(hash)) => Ok(hash),
        // A server that does not say which it takes: all that are newer than 2016 take this one.
        (Algorithm::Rsa { .. }, None) => Ok(Some(HashAlg::Sha512)),
        _ => Ok(None),
    }
}
