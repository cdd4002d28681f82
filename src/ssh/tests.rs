//! The whole module against servers in this process, and, where it is asked for, against a real OpenSSH.

mod commands;
mod connecting;
mod files;
mod keys;
pub(crate) mod openssh;
mod peer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};

use super::*;
use peer::{Options, Peer};

/// A user's home with one key, and what is around it.
struct World {
    home: tempfile::TempDir,
    surroundings: Surroundings,
    key: PrivateKey,
    events: Arc<Mutex<Vec<Event>>>,
}

fn new_key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).expect("a key")
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join(".ssh")).expect("made");
        let surroundings =
            Surroundings { home: Some(home.path().into()), user: "me".into(), ..Surroundings::default() };
        let world = Self { home, surroundings, key: new_key(), events: Arc::default() };
        world.write_key("id_ed25519", &world.key);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(".ssh").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    fn write_key(&self, name: &str, key: &PrivateKey) {
        self.write(name, &key.to_openssh(LineEnding::LF).expect("it encodes"));
    }

    /// A server that takes the user's key.
    async fn peer(&self) -> Peer {
        self.peer_with(Options::default()).await
    }

    async fn peer_with(&self, mut options: Options) -> Peer {
        options.authorized.push(self.key.public_key().clone());
        Peer::start(options).await
    }

    fn asked(&self, peer: &Peer) -> Asked {
        Asked { host: "127.0.0.1".into(), port: Some(peer.address.port()), ..Asked::default() }
    }

    fn target(&self, asked: &Asked) -> Target {
        let config = SshConfig::load(&self.surroundings).expect("the config reads");
        Target::resolve(asked, &config, &self.surroundings).expect("it resolves")
    }

    /// Settings whose pauses are short. The limits are long, for a slow machine.
    fn settings(&self, host_keys: HostKeyPolicy) -> Settings {
        let mut settings = Settings::new("servers.node", host_keys);
        settings.limits.pause = (Duration::from_millis(5), Duration::from_millis(20));
        settings.limits.grace = Duration::from_millis(20);
        settings.limits.banner = Duration::from_secs(60);
        settings.limits.handshake = Duration::from_secs(60);
        settings.limits.answer = Duration::from_secs(60);
        let events = self.events.clone();
        settings.events = Some(Arc::new(move |event| events.lock().expect("a lock").push(event.clone())));
        settings
    }

    fn ssh(&self, peer: &Peer) -> Ssh {
        Ssh::new(self.target(&self.asked(peer)), self.settings(first_contact()))
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().expect("a lock").clone()
    }
}

fn first_contact() -> HostKeyPolicy {
    HostKeyPolicy::from_pin(None, None)
}

fn public(key: &PrivateKey) -> PublicKey {
    key.public_key().clone()
}

fn host_key(key: &PrivateKey) -> HostKey {
    HostKey::of(key.public_key())
}
