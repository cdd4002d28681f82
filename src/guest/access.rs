//! The way to a server: its address, the ssh settings, the key that is expected, one connection for all who need it.
//!
//! In: a state's records and the `ssh:` settings of a server. Out: [`Access`], plain data; and from that a [`Guest`],
//! which [`Guests`] makes once for each server and shares.
//!
//! A server is reached at `ssh.host` if that is given; else at its floating IP, ours first and then any; else at its
//! first fixed address, which is reached from here only by a network of one's own, or through `ssh.jump`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{Guest, GuestError, PinnedKey};
use crate::cloud::{Session, nova};
use crate::model::{Address, Fields, RemoteId, Value};
use crate::ssh::{
    Asked, Console, ErrorKind, Event, HostKey, HostKeyPolicy, Keyring, PassphrasePrompt, Redactor, Settings, Ssh,
    SshConfig, Surroundings, Target,
};
use crate::state::{ResourceState, State};

/// Who is logged in as where neither spec nor ssh config say: the user of Chameleon's images.
const USER: &str = "cc";
/// How long a server may take from its creation to its first log-in.
const BOOT: i64 = 600;
/// How much of the console is asked for.
const CONSOLE_LINES: u32 = 1_000;

/// Told what is under way, in a word or two.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// The way to a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    /// The server.
    pub server: RemoteId,
    /// What people call it: `servers.node`.
    pub label: String,
    /// The image that it runs.
    pub image: Option<String>,
    /// Where it is, as whom, with which key, through whom.
    pub asked: Asked,
    /// The key that is expected.
    pub pin: Option<PinnedKey>,
    /// How long it may take to boot.
    pub patience: Duration,
}

impl Access {
    /// The way to a recorded server, with the `ssh:` settings that are in force.
    ///
    /// # Errors
    /// When it has no address.
    pub fn of(state: &State, address: &Address, ssh: &Fields) -> Result<Self, GuestError> {
        let record = state
            .resources
            .get(address)
            .ok_or_else(|| GuestError::refused(format!("{address} is not in the state")))?;
        let text = |key: &str| ssh.get(key).and_then(Value::as_str).map(str::to_owned);
        let host = text("host").or_else(|| floating(state, record)).or_else(|| fixed(record)).ok_or_else(|| {
            GuestError::refused_with(
                format!("{address} has no address to reach it at"),
                "give it a floating IP, or say `ssh: { host: … }`",
            )
        })?;
        let image = record.attributes.get("image").and_then(Value::as_id).map(|id| id.0.clone());
        let pin = state.guest.host_keys.get(&record.id).filter(|pin| pin.image == image).cloned();
        let seconds = ssh.get("timeout").and_then(Value::as_int).unwrap_or(BOOT);
        Ok(Self {
            server: record.id.clone(),
            label: address.to_string(),
            image,
            asked: Asked {
                host,
                user: text("user"),
                fallback_user: Some(USER.to_owned()),
                port: ssh.get("port").and_then(Value::as_int).and_then(|port| u16::try_from(port).ok()),
                identity_files: text("identity_file").into_iter().collect(),
                jump: text("jump"),
            },
            pin,
            patience: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        })
    }
}

/// The address of the stack's own floating IP at the server; else any that Nova shows.
fn floating(state: &State, server: &ResourceState) -> Option<String> {
    let own = state.resources.values().filter(|record| record.kind == "floating_ip" && record.site == server.site);
    let bound = own.filter(|record| record.applied.get("server").and_then(Value::as_id) == Some(&server.id));
    let address = |record: &ResourceState| record.attributes.get("address")?.as_str().map(str::to_owned);
    bound.filter_map(address).next().or_else(|| {
        let networks = server.attributes.get("addresses")?.as_map()?;
        let all = networks.values().filter_map(Value::as_list).flatten().filter_map(Value::as_map);
        let is_floating = |entry: &&Fields| entry.get("type").and_then(Value::as_str) == Some("floating");
        all.filter(is_floating).find_map(|entry| entry.get("addr")?.as_str().map(str::to_owned))
    })
}

/// The first fixed address, by the name of the network.
fn fixed(server: &ResourceState) -> Option<String> {
    let first = server.attributes.get("address")?;
    match first {
        Value::Map(by_network) => by_network.values().find_map(Value::as_str).map(str::to_owned),
        other => other.as_str().filter(|text| !text.is_empty()).map(str::to_owned),
    }
}

/// Makes and keeps connections. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct Guests {
    inner: Arc<Inner>,
}

/// A server and the image that it runs: one that was rebuilt is another one.
type Incarnation = (RemoteId, Option<String>);

#[derive(Default)]
struct Inner {
    keyring: Arc<Keyring>,
    /// The ssh config and what is around, read when first needed.
    local: OnceCell<(SshConfig, Surroundings)>,
    guests: Mutex<BTreeMap<Incarnation, Arc<OnceCell<Guest>>>>,
    redactor: Mutex<Redactor>,
}

impl fmt::Debug for Guests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guests")
    }
}

impl Guests {
    /// Without connections yet; `prompt` asks for passphrases of keys.
    #[must_use]
    pub fn new(prompt: Option<PassphrasePrompt>) -> Self {
        Self { inner: Arc::new(Inner { keyring: Arc::new(Keyring::new(prompt)), ..Inner::default() }) }
    }

    /// Hides these values from now on in whatever guests print.
    pub fn redact(&self, redactor: Redactor) {
        *self.inner.redactor.lock().unwrap_or_else(PoisonError::into_inner) = redactor;
    }

    /// The guest, logged in to; waits for a server that boots, up to its patience. With it the host key, where that is
    /// news and must be remembered.
    ///
    /// # Errors
    /// When it cannot be reached, or is not the one it should be.
    pub async fn connect(
        &self,
        access: &Access,
        session: &Session,
        tell: &Tell,
    ) -> Result<(Guest, Option<PinnedKey>), GuestError> {
        let cell = {
            let mut guests = self.inner.guests.lock().unwrap_or_else(PoisonError::into_inner);
            guests.entry((access.server.clone(), access.image.clone())).or_default().clone()
        };
        let guest = cell.get_or_try_init(|| self.log_in(access, session, tell)).await;
        let guest = guest.map_err(|error| with_way_out(error, access))?.clone();
        // The connection may have been made by another step, or have dropped since.
        let greeting = guest.ssh().connect().await?;
        let pinned = PinnedKey { key: greeting.server.key.to_string(), image: access.image.clone() };
        let is_news = access.pin.as_ref() != Some(&pinned);
        Ok((guest, is_news.then_some(pinned)))
    }

    async fn log_in(&self, access: &Access, session: &Session, tell: &Tell) -> Result<Guest, GuestError> {
        let ssh = self.ssh(access, session, tell).await?;
        ssh.wait_for(access.patience).await?;
        Ok(Guest::new(ssh.clone(), self.user(access).await? == "root"))
    }

    /// A connection that is not made yet.
    ///
    /// # Errors
    /// For mistakes in the settings or in the ssh config.
    pub async fn ssh(&self, access: &Access, session: &Session, tell: &Tell) -> Result<Ssh, GuestError> {
        let target = self.target(access).await?;
        let console = Arc::new(ServerConsole { session: session.clone(), server: access.server.clone() });
        let pin = access.pin.as_ref().and_then(|pin| HostKey::parse(&pin.key));
        let mut settings = Settings::new(access.label.clone(), HostKeyPolicy::from_pin(pin, Some(console)));
        settings.keyring = self.inner.keyring.clone();
        settings.redactor = self.inner.redactor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tell = tell.clone();
        settings.events = Some(Arc::new(move |event: &Event| match event {
            Event::Waiting { why, .. } => tell(&format!("waiting for SSH: {why}")),
            Event::Reconnecting { why } => tell(&format!("connecting again: {why}")),
            Event::Notice(text) => tracing::info!("{text}"),
            Event::Connected { .. } => {}
        }));
        Ok(Ssh::new(target, settings))
    }

    /// Who is reached and how, after the ssh config.
    ///
    /// # Errors
    /// For mistakes in the settings or in the ssh config.
    pub async fn target(&self, access: &Access) -> Result<Target, GuestError> {
        let (config, surroundings) = self.local().await?;
        Ok(Target::resolve(&access.asked, config, surroundings)?)
    }

    async fn user(&self, access: &Access) -> Result<String, GuestError> {
        Ok(self.target(access).await?.server.user)
    }

    async fn local(&self) -> Result<&(SshConfig, Surroundings), GuestError> {
        let read = || async {
            let surroundings = Surroundings::from_environment();
            Ok::<_, GuestError>((SshConfig::load(&surroundings)?, surroundings))
        };
        self.inner.local.get_or_try_init(read).await
    }
}

/// Says how another key is trusted, where the one that was shown is the reason to refuse.
fn with_way_out(error: GuestError, access: &Access) -> GuestError {
    match error {
        GuestError::Ssh(mut error) if error.kind == ErrorKind::HostKey => {
            let Some(shown) = &error.shown else { return GuestError::Ssh(error) };
            let how = format!(
                "if the server's own console shows the same key (`cat /etc/ssh/ssh_host_*_key.pub`), trust it: `anole state \
                 trust-key {} '{shown}'`",
                access.label
            );
            error.hint = Some(error.hint.map_or_else(|| how.clone(), |hint| format!("{hint}; {how}")));
            GuestError::Ssh(error)
        }
        other => other,
    }
}

/// A server's console, as Nova gives it.
struct ServerConsole {
    session: Session,
    server: RemoteId,
}

#[async_trait]
impl Console for ServerConsole {
    async fn log(&self) -> Option<String> {
        match nova::console_log(&self.session, &self.server.0, CONSOLE_LINES).await {
            Ok(log) => log,
            Err(error) => {
                tracing::debug!(server = %self.server, %error, "no console log");
                None
            }
        }
    }
}
