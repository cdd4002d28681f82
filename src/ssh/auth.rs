//! Logging in: which keys are offered, in which order, and what came of each.
//!
//! In: a connection whose host key is trusted, and an endpoint's keys. Out: a connection that is logged in, or an error
//! that lists every key with what came of it.
//!
//! A server allows few tries (six by default), so the order matters: keys that somebody named come first, through the
//! agent where it holds them; then the agent's others; then the files with the usual names.

use std::path::PathBuf;
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{AgentAuthError, MethodKind, Signer};
use secrecy::SecretString;
use tokio::time::timeout;

use super::client::{AGENT_SIGNATURE, Limits};
use super::connect::Watcher;
use super::error::{ErrorKind, SshError, chain};
use super::identity::{Agent, KeyFile, Keyring, describe, needs_device, rsa_hash};
use super::target::Endpoint;

/// A key to offer.
enum Candidate {
    Agent { identity: Box<AgentIdentity>, file: Option<PathBuf> },
    Open { key: Arc<PrivateKey>, file: PathBuf },
    Locked { text: SecretString, public: Option<PublicKey>, file: PathBuf },
}

impl Candidate {
    fn describe(&self) -> String {
        match self {
            Self::Agent { identity, file: Some(file) } => {
                format!("{} (by the agent, {})", file.display(), describe(&identity.public_key()))
            }
            Self::Agent { identity, file: None } => {
                let comment = identity.comment();
                format!("the agent's key {comment} ({})", describe(&identity.public_key()))
            }
            Self::Open { key, file } => format!("{} ({})", file.display(), describe(key.public_key())),
            Self::Locked { file, .. } => file.display().to_string(),
        }
    }
}

/// What came of offering a key.
enum Outcome {
    Accepted,
    Refused {
        partly: bool,
        methods: Vec<MethodKind>,
    },
    /// It could not be offered, or not be used although the server would have taken it.
    Unusable(String),
    /// The server would take it, but it stays locked.
    Locked(String),
    /// The connection is gone.
    Closed,
}

/// Logs in at an endpoint.
pub(super) async fn log_in(
    handle: &mut Handle<Watcher>,
    endpoint: &Endpoint,
    keyring: &Keyring,
    limits: &Limits,
) -> Result<(), SshError> {
    let mut report = Report::default();
    let mut agent = match Agent::open(&endpoint.agent).await {
        Ok(agent) => agent,
        Err(problem) => {
            report.tried.push(problem);
            None
        }
    };
    let candidates = candidates(endpoint, agent.as_ref(), &mut report);
    for candidate in candidates {
        if handle.is_closed() {
            report.closed = true;
            break;
        }
        let name = candidate.describe();
        let mut login = LogIn { handle: &mut *handle, user: &endpoint.user, keyring, limits };
        match login.offer(candidate, agent.as_mut()).await? {
            Outcome::Accepted => return Ok(()),
            Outcome::Refused { partly, methods } => {
                report.offered += 1;
                report.partly |= partly;
                report.methods = methods;
                report.tried.push(format!("{name}: {}", if partly { "taken, but not enough" } else { "refused" }));
            }
            Outcome::Unusable(why) => report.tried.push(format!("{name}: {why}")),
            Outcome::Locked(why) => {
                report.locked = true;
                report.tried.push(format!("{name}: {why}"));
            }
            Outcome::Closed => {
                report.offered += 1;
                report.closed = true;
                report.tried.push(format!("{name}: the server closed the connection"));
                break;
            }
        }
    }
    Err(report.error(endpoint))
}

/// The keys to offer, in their order.
fn candidates(endpoint: &Endpoint, agent: Option<&Agent>, report: &mut Report) -> Vec<Candidate> {
    let mut held: Vec<AgentIdentity> = agent.map(|agent| agent.identities.clone()).unwrap_or_default();
    let (mut named, mut usual) = (Vec::new(), Vec::new());
    for identity in &endpoint.identities {
        let file = identity.path.clone();
        let key = match KeyFile::read(&file) {
            Ok(key) => key,
            Err(problem) => {
                report.tried.push(format!("{}: {problem}", file.display()));
                continue;
            }
        };
        let at = held.iter().position(|one| key.public().is_some_and(|key| same(&one.public_key(), key)));
        let candidate = match (at, key) {
            (Some(at), _) => Candidate::Agent { identity: Box::new(held.remove(at)), file: Some(file) },
            (None, KeyFile::Open(key)) if needs_device(&key) => {
                report.tried.push(format!("{}: it is on a device, and the agent does not hold it", file.display()));
                continue;
            }
            (None, KeyFile::Open(key)) => Candidate::Open { key, file },
            (None, KeyFile::Locked { text, public }) => Candidate::Locked { text, public, file },
            (None, KeyFile::Public(_)) => {
                report.tried.push(format!("{}: only its public half is here, not in the agent", file.display()));
                continue;
            }
        };
        if identity.named { &mut named } else { &mut usual }.push(candidate);
    }
    if !endpoint.identities_only {
        named.extend(held.into_iter().map(|one| Candidate::Agent { identity: Box::new(one), file: None }));
    }
    named.extend(usual);
    named
}

fn same(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_data() == other.key_data()
}

struct LogIn<'a> {
    handle: &'a mut Handle<Watcher>,
    user: &'a str,
    keyring: &'a Keyring,
    limits: &'a Limits,
}

impl LogIn<'_> {
    async fn offer(&mut self, candidate: Candidate, agent: Option<&mut Agent>) -> Result<Outcome, SshError> {
        match (candidate, agent) {
            (Candidate::Agent { identity, .. }, Some(agent)) => self.offer_agents(*identity, agent).await,
            (Candidate::Agent { .. }, None) => Ok(Outcome::Unusable("the agent is gone".to_owned())),
            (Candidate::Open { key, .. }, _) => self.offer_key(key).await,
            (Candidate::Locked { text, public, file }, _) => {
                // Ask the server first, and the user only if it is worth it.
                if let Some(public) = public {
                    let hash = match self.hash(&public).await? {
                        Ok(hash) => hash,
                        Err(why) => return Ok(Outcome::Unusable(why.to_owned())),
                    };
                    let mut wanted = Wanted(false);
                    let asked = self.handle.authenticate_publickey_with(self.user, public, hash, &mut wanted);
                    match timeout(self.limits.answer, asked).await {
                        Err(_) => return Err(silent()),
                        Ok(Ok(result)) => return Ok(self.outcome(result)),
                        Ok(Err(_)) if wanted.0 => {}
                        Ok(Err(_)) => return Ok(Outcome::Closed),
                    }
                }
                match self.keyring.unlock(&file, &text).await {
                    Ok(key) => self.offer_key(key).await,
                    Err(why) => Ok(Outcome::Locked(why)),
                }
            }
        }
    }

    async fn offer_key(&mut self, key: Arc<PrivateKey>) -> Result<Outcome, SshError> {
        let hash = match self.hash(key.public_key()).await? {
            Ok(hash) => hash,
            Err(why) => return Ok(Outcome::Unusable(why.to_owned())),
        };
        let asked = self.handle.authenticate_publickey(self.user, PrivateKeyWithHashAlg::new(key, hash));
        match timeout(self.limits.answer, asked).await {
            Err(_) => Err(silent()),
            Ok(Ok(result)) => Ok(self.outcome(result)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the connection ended while a key was offered");
                Ok(Outcome::Closed)
            }
        }
    }

    /// The agent may ask its owner, or wait for a touch: its signature has more time.
    async fn offer_agents(&mut self, identity: AgentIdentity, agent: &mut Agent) -> Result<Outcome, SshError> {
        let hash = match self.hash(&identity.public_key()).await? {
            Ok(hash) => hash,
            Err(why) => return Ok(Outcome::Unusable(why.to_owned())),
        };
        let limit = self.limits.answer + AGENT_SIGNATURE;
        let asked = async {
            match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(self.user, key, hash, &mut agent.client).await
                }
                AgentIdentity::Certificate { certificate, .. } => self.certificate(certificate, hash, agent).await,
            }
        };
        match timeout(limit, asked).await {
            Err(_) => Err(silent()),
            Ok(Ok(result)) => Ok(self.outcome(result)),
            Ok(Err(AgentAuthError::Key(error))) => {
                Ok(Outcome::Unusable(format!("the agent did not sign: {}", chain(&error))))
            }
            Ok(Err(AgentAuthError::Send(_))) => Ok(Outcome::Closed),
        }
    }

    async fn certificate(
        &mut self,
        certificate: Certificate,
        hash: Option<HashAlg>,
        agent: &mut Agent,
    ) -> Result<AuthResult, AgentAuthError> {
        self.handle.authenticate_certificate_with(self.user, certificate, hash, &mut agent.client).await
    }

    async fn hash(&self, key: &PublicKey) -> Result<Result<Option<HashAlg>, &'static str>, SshError> {
        if !key.algorithm().is_rsa() {
            return Ok(Ok(None));
        }
        let server = match timeout(self.limits.answer, self.handle.best_supported_rsa_hash()).await {
            Ok(Ok(server)) => server,
            // The connection is gone: offering the key will say so.
            Ok(Err(_)) => None,
            Err(_) => return Err(silent()),
        };
        Ok(rsa_hash(key, server))
    }

    fn outcome(&self, result: AuthResult) -> Outcome {
        match result {
            AuthResult::Success => Outcome::Accepted,
            // russh says so too when the connection ends instead of an answer.
            AuthResult::Failure { remaining_methods, .. } if remaining_methods.is_empty() => Outcome::Closed,
            AuthResult::Failure { remaining_methods, partial_success } => {
                Outcome::Refused { partly: partial_success, methods: remaining_methods.to_vec() }
            }
        }
    }
}

/// A server that neither takes nor refuses a key.
fn silent() -> SshError {
    SshError::new(ErrorKind::Unreachable, "it stopped answering while a key was offered")
}

/// Signs nothing, and remembers that a signature was wanted: the server would take the key.
struct Wanted(bool);

impl Signer for Wanted {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        _hash: Option<HashAlg>,
        _to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        self.0 = true;
        Err(AgentAuthError::Key(russh::keys::Error::KeyIsEncrypted))
    }
}

/// What was tried.
#[derive(Default)]
struct Report {
    tried: Vec<String>,
    offered: usize,
    locked: bool,
    partly: bool,
    closed: bool,
    methods: Vec<MethodKind>,
}

impl Report {
    fn error(self, endpoint: &Endpoint) -> SshError {
        let user = &endpoint.user;
        let mut error = if self.locked {
            SshError::new(ErrorKind::NoKey, format!("the key that {user} could log in with is locked"))
                .hint("run `ssh-add` with that file, or run anole in a terminal, where it can ask for the passphrase")
        } else if self.partly {
            let text = format!("a key is not enough to log in as {user}: it wants {} too", names(&self.methods));
            SshError::new(ErrorKind::NoKey, text).hint("anole logs in by a key alone")
        } else if self.offered == 0 && !self.closed {
            SshError::new(ErrorKind::NoKey, format!("there is no key to log in with as {user}"))
                .hint("set `identity_file` to the private key of the server's keypair, or add it by `ssh-add`")
        } else if !self.methods.is_empty() && !self.methods.contains(&MethodKind::PublicKey) {
            let text = format!("it takes no keys from {user}, only {}", names(&self.methods));
            SshError::new(ErrorKind::NoKey, text).hint("anole logs in by a key alone")
        } else if self.closed {
            SshError::new(ErrorKind::Auth, format!("it closed the connection before {user} was logged in")).hint(
                "servers allow few keys: name the right one by `identity_file`; or the server is not yet ready for \
                 log-ins",
            )
        } else {
            SshError::new(ErrorKind::Auth, format!("it refused every key for {user}")).hint(
                "is this the private key of the server's keypair, and is this the image's user (`cc` on Chameleon's \
                 images, `ubuntu` or `debian` on others)?",
            )
        };
        error.tried = self.tried;
        error
    }
}

fn names(methods: &[MethodKind]) -> String {
    methods.iter().map(<&'static str>::from).collect::<Vec<_>>().join(", ")
}
