//! The connection to a server: made when it is needed, shared by its users, made anew when it broke.
//!
//! In: a [`Target`] and [`Settings`]. Out: sessions for commands and files, a [`Greeting`] with the keys that were
//! seen, events on the way.
//!
//! Invariants: whatever leaves this module names the server and is redacted. A host key that was trusted once must be
//! shown by every later connection of the same [`Ssh`], whatever the policy.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::command::{Command, Ended, Session};
use super::connect::{Attempt, Connection};
use super::dial::Dialed;
use super::error::{ErrorKind, SshError, chain};
use super::files::Files;
use super::host_key::{HostKey, HostKeyPolicy, SeenKey};
use super::identity::Keyring;
use super::output::printable;
use super::redact::Redactor;
use super::target::Target;

/// How long an agent may take to say which keys it holds.
pub(super) const AGENT_ANSWER: Duration = Duration::from_secs(10);
/// How long an agent may take to sign: it may ask its owner.
pub(super) const AGENT_SIGNATURE: Duration = Duration::from_secs(60);
/// As good as never.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How much of the console log goes into an error.
const CONSOLE_LINES: usize = 20;

/// Something that happened, for whoever shows progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An attempt failed, and another one follows.
    Waiting {
        /// Its number, from 1.
        attempt: u32,
        /// How long it has been.
        elapsed: Duration,
        /// What came of it.
        why: String,
    },
    /// The server is logged in to.
    Connected {
        /// The keys of the hops and of the server, in this order, and why each is trusted.
        keys: Vec<SeenKey>,
    },
    /// The connection broke; a new one is made.
    Reconnecting {
        /// Why it broke.
        why: String,
    },
    /// Something that the user should know.
    Notice(String),
}

/// Takes events. It must not block.
pub type EventSink = Arc<dyn Fn(&Event) + Send + Sync>;

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The TCP connection.
    pub connect: Duration,
    /// The first word of a server; [`Ssh::wait_for`] begins with less.
    pub banner: Duration,
    /// The key exchange.
    pub handshake: Duration,
    /// One answer: to a key that is offered, to a session that is opened.
    pub answer: Duration,
    /// How long [`Ssh::wait_for`] goes on while keys are refused: a server that boots writes its user's keys late.
    pub refused: Duration,
    /// How long [`Ssh::wait_for`] waits for the console to show host keys.
    pub console: Duration,
    /// The first and the longest pause between two attempts, or two looks at the console.
    pub pause: (Duration, Duration),
    /// After how long a silence a keepalive is sent.
    pub keepalive: Duration,
    /// How many keepalives may stay without an answer.
    pub keepalives: usize,
    /// How long output is awaited once a command ended: it may have left something behind that still holds it open.
    pub left_open: Duration,
    /// How long a command that was told to end may still print, before its channel is closed.
    pub grace: Duration,
    /// One request about a file.
    pub file: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(10),
            banner: seconds(15),
            handshake: seconds(20),
            answer: seconds(20),
            refused: seconds(60),
            console: seconds(45),
            pause: (Duration::from_millis(500), seconds(5)),
            keepalive: seconds(15),
            keepalives: 3,
            left_open: seconds(2),
            grace: seconds(2),
            file: seconds(60),
        }
    }
}

/// How a server is connected to, apart from where it is.
#[derive(Clone)]
pub struct Settings {
    /// What people call the server: `servers.node`.
    pub label: String,
    /// What is known of the server's host key, and what may be taken.
    pub host_keys: HostKeyPolicy,
    /// The pinned keys of hosts to go through, by `host:port`. Others need `known_hosts`, or a first contact.
    pub hop_pins: BTreeMap<String, HostKey>,
    /// Unlocked keys, and the way to ask for passphrases.
    pub keyring: Arc<Keyring>,
    /// Values that must not be seen.
    pub redactor: Redactor,
    /// Who is told what happens.
    pub events: Option<EventSink>,
    /// How long things may take.
    pub limits: Limits,
}

impl Settings {
    /// Settings without pins of hops, passphrases, secrets and listeners.
    #[must_use]
    pub fn new(label: impl Into<String>, host_keys: HostKeyPolicy) -> Self {
        Self {
            label: label.into(),
            host_keys,
            hop_pins: BTreeMap::new(),
            keyring: Arc::default(),
            redactor: Redactor::default(),
            events: None,
            limits: Limits::default(),
        }
    }

    pub(super) fn tell(&self, mut event: Event) {
        match &mut event {
            Event::Waiting { why: text, .. } | Event::Reconnecting { why: text } | Event::Notice(text) => {
                *text = self.redactor.text(text).into_owned();
            }
            Event::Connected { .. } => {}
        }
        tracing::debug!(server = %self.label, ?event, "ssh");
        if let Some(events) = &self.events {
            events(&event);
        }
    }
}

/// A server that was logged in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The keys of the hops, in their order, and why each is trusted.
    pub hops: Vec<SeenKey>,
    /// The server's key, to be kept as a pin, and why it is trusted.
    pub server: SeenKey,
}

/// A server, and the connection to it. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Ssh {
    inner: Arc<Inner>,
}

struct Inner {
    target: Target,
    settings: Settings,
    dress: Dress,
    connection: Mutex<Option<Arc<Connection>>>,
    /// The keys that were trusted, shared with fresh connections to the same server.
    seen: Arc<StdMutex<Vec<SeenKey>>>,
}

/// Names the server in errors, and redacts them.
#[derive(Clone)]
pub(super) struct Dress {
    pub(super) server: Arc<str>,
    pub(super) redactor: Redactor,
}

impl Dress {
    pub(super) fn dress(&self, error: SshError) -> SshError {
        let clean = |text: String| self.redactor.text(&text).into_owned();
        let error = error.at(&self.server);
        SshError {
            kind: error.kind,
            server: clean(error.server.into()).into(),
            message: clean(error.message),
            tried: error.tried.into_iter().map(clean).collect(),
            output: error.output.into_iter().map(clean).collect(),
            console: error.console.into_iter().map(clean).collect(),
            shown: error.shown,
            hint: error.hint.map(clean),
            may_have_happened: error.may_have_happened,
        }
    }
}

impl Ssh {
    /// A server that is not connected to yet.
    #[must_use]
    pub fn new(target: Target, settings: Settings) -> Self {
        Self::with_seen(target, settings, Arc::default())
    }

    fn with_seen(target: Target, settings: Settings, seen: Arc<StdMutex<Vec<SeenKey>>>) -> Self {
        let server = format!("{} ({})", settings.label, target.describe()).into();
        let dress = Dress { server, redactor: settings.redactor.clone() };
        Self { inner: Arc::new(Inner { target, settings, dress, connection: Mutex::default(), seen }) }
    }

    /// Another connection to the same server, with a log-in of its own, to be made when it is needed. What a log-in
    /// decides, such as the groups of the user, is decided anew. The host key must be the same.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self::with_seen(self.inner.target.clone(), self.inner.settings.clone(), self.inner.seen.clone())
    }

    /// As [`Ssh::fresh`], with more values that must not be seen.
    #[must_use]
    pub fn fresh_hiding(&self, more: &Redactor) -> Self {
        let mut settings = self.inner.settings.clone();
        settings.redactor = settings.redactor.and(more);
        Self::with_seen(self.inner.target.clone(), settings, self.inner.seen.clone())
    }

    /// Connects, unless that is done already. One attempt.
    pub async fn connect(&self) -> Result<Greeting, SshError> {
        let limits = &self.inner.settings.limits;
        let connected = self.connection(limits.banner, Duration::ZERO).await;
        let (connection, _) = connected.map_err(|error| self.inner.dress.dress(error))?;
        Ok(connection.greeting.clone())
    }

    /// Connects to a server that may still be booting: tries until a session can be opened, or until the budget is
    /// used up. What waiting does not mend is told at once: another host key, no key to log in with.
    pub async fn wait_for(&self, budget: Duration) -> Result<Greeting, SshError> {
        let outcome = self.keep_trying(budget).await;
        match outcome {
            Ok(connection) => Ok(connection.greeting.clone()),
            Err(mut error) => {
                if error.kind.passes() {
                    error.console = self.console_tail().await;
                }
                Err(self.inner.dress.dress(error))
            }
        }
    }

    /// Runs a command. An error says that it did not come to an end; how it ended is in [`Ended`].
    pub async fn run(&self, command: Command) -> Result<Ended, SshError> {
        let done = async { self.session().await?.run(command, &self.inner.settings, &self.inner.dress).await };
        done.await.map_err(|error| self.inner.dress.dress(error))
    }

    /// Opens the server's files.
    pub async fn files(&self) -> Result<Files, SshError> {
        let opened = async { Files::open(self.session().await?, &self.inner.settings, &self.inner.dress).await };
        opened.await.map_err(|error| self.inner.dress.dress(error))
    }

    /// A connection that the server makes, to itself or to what it reaches.
    pub async fn dial(&self, host: &str, port: u16) -> Result<Dialed, SshError> {
        let limits = &self.inner.settings.limits;
        let dialed = async {
            let (connection, _) = self.connection(limits.banner, Duration::ZERO).await?;
            Dialed::open(connection, (host, port), limits.answer).await
        };
        dialed.await.map_err(|error| self.inner.dress.dress(error))
    }

    /// Closes the connection; the next call makes another one.
    pub async fn close(&self) {
        if let Some(connection) = self.inner.connection.lock().await.take() {
            connection.close().await;
        }
    }

    async fn keep_trying(&self, budget: Duration) -> Result<Arc<Connection>, SshError> {
        let limits = &self.inner.settings.limits;
        let start = Instant::now();
        let end = after(budget);
        let mut refused: Option<Instant> = None;
        let mut last: Option<SshError> = None;
        let mut pause = limits.pause.0;
        let mut attempt = 0;
        while Instant::now() < end {
            attempt += 1;
            // What takes connections before sshd is there, as some networks do, says nothing: short attempts first.
            let banner = limits.banner.min(Duration::from_secs(2) * attempt);
            let error = match timeout_at(end, self.try_once(banner)).await {
                Err(_) => break,
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => error,
            };
            if error.kind == ErrorKind::Auth && refused.get_or_insert_with(Instant::now).elapsed() > limits.refused {
                return Err(error);
            }
            if !error.kind.passes() {
                return Err(error);
            }
            self.inner.settings.tell(Event::Waiting { attempt, elapsed: start.elapsed(), why: error.to_string() });
            last = Some(error);
            sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
            pause = limits.pause.1.min(pause * 2);
        }
        let waited = format!("it could not be used within {} s ({attempt} attempts)", budget.as_secs_f64());
        Err(match last {
            Some(error) => SshError { message: format!("{waited}; the last time, {}", error.message), ..error },
            None => SshError::new(ErrorKind::Unreachable, waited),
        })
    }

    /// Connects, and sees that a session can be opened.
    async fn try_once(&self, banner: Duration) -> Result<Arc<Connection>, SshError> {
        let (connection, _) = self.connection(banner, self.inner.settings.limits.console).await?;
        match Session::open(connection.clone(), self.inner.settings.limits.answer).await {
            Ok(session) => {
                drop(session);
                Ok(connection)
            }
            Err(error) => {
                self.discard(&connection).await;
                Err(error)
            }
        }
    }

    /// A session on the connection. If the connection that is there turns out to be broken, another one is made, once:
    /// nothing was run yet.
    async fn session(&self) -> Result<Session, SshError> {
        let limits = &self.inner.settings.limits;
        loop {
            let (connection, new) = self.connection(limits.banner, Duration::ZERO).await?;
            match Session::open(connection.clone(), limits.answer).await {
                Err(error) if matches!(error.kind, ErrorKind::Dropped | ErrorKind::TimedOut) => {
                    self.discard(&connection).await;
                    if new {
                        return Err(error);
                    }
                    self.inner.settings.tell(Event::Reconnecting { why: error.message });
                }
                session => return session,
            }
        }
    }

    /// The connection, and whether it is a new one.
    async fn connection(&self, banner: Duration, console: Duration) -> Result<(Arc<Connection>, bool), SshError> {
        let inner = &self.inner;
        let mut slot = inner.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok((connection.clone(), false));
        }
        if let Some(broken) = slot.take() {
            inner.settings.tell(Event::Reconnecting { why: broken.why_closed() });
        }
        let seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let attempt = Attempt { target: &inner.target, settings: &inner.settings, seen: &seen, banner, console };
        let connection = Arc::new(attempt.open().await.map_err(|error| self.warned(error))?);
        let keys: Vec<SeenKey> =
            connection.greeting.hops.iter().chain([&connection.greeting.server]).cloned().collect();
        self.remember(&keys);
        *slot = Some(connection.clone());
        inner.settings.tell(Event::Connected { keys });
        Ok((connection, true))
    }

    /// Remembers trusted keys; what was not known before is told to the user, once.
    fn remember(&self, keys: &[SeenKey]) {
        let mut seen = self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_empty() {
            for warning in &self.inner.target.warnings {
                self.inner.settings.tell(Event::Notice(warning.clone()));
            }
        }
        for key in keys {
            if !seen.iter().any(|one| one.host == key.host) {
                if let Some(notice) = &key.notice {
                    self.inner.settings.tell(Event::Notice(notice.clone()));
                }
                seen.push(key.clone());
            }
        }
    }

    /// Lets go of a connection that is of no use, unless there is another one already. Who still uses it keeps it.
    async fn discard(&self, connection: &Arc<Connection>) {
        let mut slot = self.inner.connection.lock().await;
        if slot.as_ref().is_some_and(|one| Arc::ptr_eq(one, connection)) {
            slot.take();
        }
    }

    /// An error, with what in the ssh config may be its cause.
    fn warned(&self, mut error: SshError) -> SshError {
        let warnings = &self.inner.target.warnings;
        if !warnings.is_empty() && matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Auth | ErrorKind::NoKey) {
            let hint = error.hint.take().into_iter().chain(warnings.iter().cloned());
            error.hint = Some(hint.collect::<Vec<_>>().join("; "));
        }
        error
    }

    async fn console_tail(&self) -> Vec<String> {
        let Some(console) = self.inner.settings.host_keys.console() else { return Vec::new() };
        let log = timeout(self.inner.settings.limits.answer, console.log()).await.ok().flatten().unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(CONSOLE_LINES)..].iter().map(|line| printable(line).into_owned()).collect()
    }
}

impl fmt::Debug for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ssh({})", self.inner.dress.server)
    }
}

/// The moment after so long; far away, if it is too long for a clock.
pub(super) fn after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now + FAR)
}

/// An error of russh on a connection that was there.
pub(super) fn dropped(connection: &Connection, error: &russh::Error) -> SshError {
    let why = if connection.is_closed() { connection.why_closed() } else { chain(error) };
    SshError::new(ErrorKind::Dropped, why)
}
