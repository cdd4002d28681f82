//! One attempt to connect: through the hops to the server, each with its key judged and then logged in to.
//!
//! In: a [`Target`](super::Target) and [`Settings`]. Out: a [`Connection`] that is logged in, with the keys that were
//! seen; or an error that names the host where it went wrong.
//!
//! Invariants: a host's key is judged before anything is offered to it, and stays the same for the whole connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, DisconnectReason, Handle};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKeyOrCertificate};
use russh::{Disconnect, Preferred};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::auth::log_in;
use super::client::{Event, Greeting, Limits, Settings, after};
use super::console::{Console, ConsoleKeys};
use super::error::{ErrorKind, SshError, chain};
use super::host_key::{Evidence, HostKey, HostKeyPolicy, SeenKey, judge};
use super::known_hosts;
use super::output::printable;
use super::stall::{Lease, Stall};
use super::target::{Endpoint, Target};

/// How many channels are open at once: OpenSSH allows ten.
const SESSIONS: usize = 8;
/// How long a write may get nowhere.
const STALLED: Duration = Duration::from_secs(60);
/// How much of a greeting before the log-in is kept.
const BANNER: usize = 2 << 10;

/// A connection that is logged in.
pub(super) struct Connection {
    pub(super) handle: Handle<Watcher>,
    /// The connections below it, and the streams of all, kept as long as it lives.
    _hops: Vec<Handle<Watcher>>,
    _leases: Vec<Lease>,
    watched: Watched,
    pub(super) sessions: Arc<Semaphore>,
    pub(super) greeting: Greeting,
}

impl Connection {
    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Why it ended, for people.
    pub(super) fn why_closed(&self) -> String {
        let lost = self.watched.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lost.unwrap_or_else(|| "the connection broke".to_owned())
    }

    /// Says goodbye.
    pub(super) async fn close(&self) {
        if let Err(error) = self.handle.disconnect(Disconnect::ByApplication, "", "").await {
            tracing::debug!(%error, "the connection was closed already");
        }
    }
}

/// What is known before the attempt, and how patient it is.
pub(super) struct Attempt<'a> {
    pub(super) target: &'a Target,
    pub(super) settings: &'a Settings,
    /// The keys that were seen before in this run.
    pub(super) seen: &'a [SeenKey],
    /// How long the first word of a server may take.
    pub(super) banner: Duration,
    /// How long to wait for the console to show host keys.
    pub(super) console: Duration,
}

impl Attempt<'_> {
    /// Connects.
    pub(super) async fn open(&self) -> Result<Connection, SshError> {
        let mut hops: Vec<Handle<Watcher>> = Vec::new();
        let (mut leases, mut seen) = (Vec::new(), Vec::new());
        for hop in &self.target.hops {
            let (handle, _, lease, key) = self.log_in(hop, hops.last(), None).await.map_err(|error| {
                error.at(&format!("{}@{}, on the way to {}", hop.user, hop.address(), self.settings.label))
            })?;
            hops.push(handle);
            leases.push(lease);
            seen.push(key);
        }
        let policy = Some(&self.settings.host_keys);
        let (handle, watched, lease, key) = self.log_in(&self.target.server, hops.last(), policy).await?;
        leases.push(lease);
        let sessions = Arc::new(Semaphore::new(SESSIONS));
        let greeting = Greeting { hops: seen, server: key };
        Ok(Connection { handle, _hops: hops, _leases: leases, watched, sessions, greeting })
    }

    /// Logs in at a host, through the one before it if there is one. The server has a policy; hops have none.
    async fn log_in(
        &self,
        endpoint: &Endpoint,
        before: Option<&Handle<Watcher>>,
        policy: Option<&HostKeyPolicy>,
    ) -> Result<(Handle<Watcher>, Watched, Lease, SeenKey), SshError> {
        let limits = &self.settings.limits;
        let (stream, lease) = match before {
            None => Stall::new(dial(endpoint, limits.connect, self.banner).await?, STALLED),
            Some(hop) => Stall::new(forward(hop, endpoint, limits.connect).await?, STALLED),
        };
        let pin = self.pin(endpoint, policy);
        let known = match pin {
            Some(_) => Vec::new(),
            None => known_hosts::look_up(&endpoint.known_hosts, &endpoint.known_as()),
        };
        let expected: Vec<Algorithm> =
            pin.into_iter().map(HostKey::algorithm).chain(known.iter().map(|entry| entry.key.algorithm())).collect();
        let watched = Watched::default();
        let connecting = client::connect_stream(config(limits, &expected), stream, Watcher(watched.clone()));
        let mut handle = match timeout(limits.handshake, connecting).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => return Err(handshake_failed(&error)),
            Err(_) => return Err(silent(limits.handshake)),
        };
        let key = watched.key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let key = key.ok_or_else(|| SshError::new(ErrorKind::Unreachable, "it showed no host key"))?;
        let key = match pin {
            Some(pin) => self.judge_pinned(endpoint, &key, pin)?,
            None => {
                let console = match policy.and_then(HostKeyPolicy::console) {
                    Some(console) => self.console_keys(console.as_ref()).await,
                    None => ConsoleKeys::default(),
                };
                judge(endpoint, &key, &Evidence::Found { console: &console, known: &known })?
            }
        };
        log_in(&mut handle, endpoint, &self.settings.keyring, limits).await.map_err(|mut error| {
            error.output = watched.banner();
            error
        })?;
        Ok((handle, watched, lease, key))
    }

    /// The one key that a host must show, if it is known.
    fn pin<'a>(&'a self, endpoint: &Endpoint, policy: Option<&'a HostKeyPolicy>) -> Option<&'a HostKey> {
        let address = endpoint.address();
        let seen = self.seen.iter().find(|seen| seen.host == address).map(|seen| &seen.key);
        seen.or_else(|| match policy {
            Some(HostKeyPolicy::Pinned(key)) => Some(key),
            Some(HostKeyPolicy::ConsoleOrFirstContact { .. }) => None,
            None => self.settings.hop_pins.get(&address),
        })
    }

    /// On a new connection of the same run, the reason of the first one stays.
    fn judge_pinned(&self, endpoint: &Endpoint, key: &HostKey, pin: &HostKey) -> Result<SeenKey, SshError> {
        let judged = judge(endpoint, key, &Evidence::Pin(pin))?;
        Ok(self.seen.iter().find(|seen| seen.host == judged.host).cloned().unwrap_or(judged))
    }

    /// The host keys on the console. They are printed some time after sshd is up.
    async fn console_keys(&self, console: &dyn Console) -> ConsoleKeys {
        let end = after(self.console);
        let pause = self.settings.limits.pause.1;
        let mut told = false;
        loop {
            let log = timeout(self.settings.limits.answer, console.log()).await.ok().flatten();
            let Some(log) = log else { return ConsoleKeys::default() };
            let keys = ConsoleKeys::parse(&log);
            if !keys.is_empty() || after(pause) > end {
                return keys;
            }
            if !told {
                told = true;
                self.settings.tell(Event::Notice("waiting for its host keys on the console log".to_owned()));
            }
            sleep(pause).await;
        }
    }
}

/// A socket whose other end said something. Some networks take connections before sshd is there.
async fn dial(endpoint: &Endpoint, limit: Duration, banner: Duration) -> Result<TcpStream, SshError> {
    let unreachable = |text: String| SshError::new(ErrorKind::Unreachable, text);
    match timeout(limit, TcpStream::connect((endpoint.host.as_str(), endpoint.port))).await {
        Ok(Ok(stream)) => match timeout(banner, stream.peek(&mut [0])).await {
            Ok(Ok(1..)) => Ok(stream),
            Ok(Ok(0)) => Err(unreachable("it closed the connection at once".to_owned())),
            Ok(Err(error)) => Err(unreachable(format!("the connection broke at once: {error}"))),
            Err(_) => Err(silent(banner)),
        },
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(unreachable("it refuses connections".to_owned())
                .hint(format!("nothing listens on port {} (yet): sshd is not up, or uses another port", endpoint.port)))
        }
        Ok(Err(error)) => Err(unreachable(format!("it cannot be reached: {error}"))),
        Err(_) => Err(unreachable(format!("it did not answer within {} s", limit.as_secs_f64())).hint(format!(
            "is port {} open in a security group of the server, and the floating IP bound to it?",
            endpoint.port
        ))),
    }
}

fn silent(limit: Duration) -> SshError {
    let text = format!("it took the connection, and said nothing for {} s", limit.as_secs_f64());
    SshError::new(ErrorKind::Unreachable, text).hint("sshd may not be up yet, or hangs")
}

/// A channel of a hop to the next host.
async fn forward(
    hop: &Handle<Watcher>,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<russh::ChannelStream<client::Msg>, SshError> {
    let opening = hop.channel_open_direct_tcpip(endpoint.host.clone(), endpoint.port.into(), "127.0.0.1", 0);
    match timeout(limit, opening).await {
        Ok(Ok(channel)) => Ok(channel.into_stream()),
        Ok(Err(error)) => {
            let text = format!("the host before it cannot reach it: {}", chain(&error));
            Err(SshError::new(ErrorKind::Unreachable, text))
        }
        Err(_) => {
            let text = format!("the host before it did not reach it within {} s", limit.as_secs_f64());
            Err(SshError::new(ErrorKind::Unreachable, text))
        }
    }
}

fn config(limits: &Limits, expected: &[Algorithm]) -> Arc<client::Config> {
    let preferred = Preferred { key: algorithms(expected).into(), ..Preferred::DEFAULT };
    Arc::new(client::Config {
        client_id: russh::SshId::Standard(concat!("SSH-2.0-anole_", env!("CARGO_PKG_VERSION")).into()),
        keepalive_interval: Some(limits.keepalive),
        keepalive_max: limits.keepalives,
        nodelay: true,
        preferred,
        ..client::Config::default()
    })
}

/// The host key algorithms, those of expected keys first: a host has several keys, and shows the one that is asked for.
fn algorithms(expected: &[Algorithm]) -> Vec<Algorithm> {
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let rsa = |hash| Algorithm::Rsa { hash: Some(hash) };
    let mut all = vec![
        Algorithm::Ed25519,
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
        rsa(HashAlg::Sha512),
        rsa(HashAlg::Sha256),
    ];
    let rsa = |one: &Algorithm| matches!(one, Algorithm::Rsa { .. });
    let wanted = |one: &Algorithm| expected.iter().any(|other| other == one || (rsa(other) && rsa(one)));
    all.sort_by_key(|one| !wanted(one));
    all
}

fn handshake_failed(error: &russh::Error) -> SshError {
    let unreachable = |text: String| SshError::new(ErrorKind::Unreachable, text);
    match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => SshError::new(
            ErrorKind::Incompatible,
            format!("it has no {kind:?} algorithm in common with anole, only {}", theirs.join(", ")),
        )
        .hint("its sshd is very old, or allows very little"),
        russh::Error::Version => unreachable("what answers is not SSH".to_owned()).hint("is this the right port?"),
        russh::Error::Disconnect | russh::Error::HUP => {
            unreachable("it closed the connection before its key was seen".to_owned())
        }
        russh::Error::IO(error) => unreachable(format!("the connection broke before its key was seen: {error}")),
        error => unreachable(format!("no key could be agreed on: {}", chain(error))),
    }
}

/// What was seen on a connection.
#[derive(Clone, Default)]
pub(super) struct Watched {
    key: Arc<Mutex<Option<HostKey>>>,
    lost: Arc<Mutex<Option<String>>>,
    banner: Arc<Mutex<String>>,
}

impl Watched {
    /// What the server said before the log-in, for people.
    fn banner(&self) -> Vec<String> {
        let banner = self.banner.lock().unwrap_or_else(PoisonError::into_inner);
        banner.lines().map(|line| printable(line).into_owned()).filter(|line| !line.trim().is_empty()).collect()
    }
}

/// Sees what happens on a connection.
pub(super) struct Watcher(Watched);

impl client::Handler for Watcher {
    type Error = russh::Error;

    /// Takes the key down; whether it is trusted is judged before anything else is sent. A later key exchange must
    /// show the same one. Host certificates are not asked for.
    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else { return Ok(false) };
        let key = HostKey::of(key);
        let mut seen = self.0.key.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(*seen.get_or_insert_with(|| key.clone()) == key)
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut client::Session) -> Result<(), russh::Error> {
        let mut kept = self.0.banner.lock().unwrap_or_else(PoisonError::into_inner);
        let room = BANNER.saturating_sub(kept.len());
        kept.extend(banner.chars().take(room));
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let text = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                format!("the server ended the connection: {}", printable(&info.message))
            }
            DisconnectReason::Error(russh::Error::KeepaliveTimeout) => {
                "the server stopped answering keepalives".to_owned()
            }
            DisconnectReason::Error(russh::Error::Disconnect | russh::Error::HUP) => {
                "the connection was closed".to_owned()
            }
            DisconnectReason::Error(error) => format!("the connection broke: {}", chain(&error)),
        };
        *self.0.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        Ok(())
    }
}
