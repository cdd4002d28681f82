//! Logging in: files, passphrases, the agent.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::{Cipher, Kdf};
use secrecy::SecretString;
use tokio::net::UnixListener;

use super::peer::Options;
use super::*;

/// A key locked by `open sesame`, with few rounds.
fn lock(key: &PrivateKey) -> PrivateKey {
    let kdf = Kdf::Bcrypt { salt: vec![7; 16], rounds: 1 };
    key.encrypt_with(Cipher::Aes256Ctr, kdf, 7, "open sesame").expect("it locks")
}

fn prompt(answers: &'static [Option<&'static str>]) -> (Arc<Keyring>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let keyring = Keyring::new(Some(Arc::new(move |_, _| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        answers[number].map(SecretString::from)
    })));
    (Arc::new(keyring), asked)
}

async fn connect(world: &World, peer: &Peer, keyring: Arc<Keyring>) -> Result<Greeting, SshError> {
    let settings = Settings { keyring, ..world.settings(first_contact()) };
    Ssh::new(world.target(&world.asked(peer)), settings).connect().await
}

async fn agent(world: &mut World, keys: &[&PrivateKey]) {
    let path = world.path("agent");
    let listener = UnixListener::bind(&path).expect("a socket");
    let streams = stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    tokio::spawn(russh::keys::agent::server::serve(Box::pin(streams), ()));
    let mut client = AgentClient::connect_uds(&path).await.expect("the agent");
    for key in keys {
        client.add_identity(key, &[]).await.expect("it takes the key");
    }
    world.surroundings.auth_sock = Some(path);
}

#[tokio::test]
async fn the_wrong_key() {
    let world = World::new();
    let peer = Peer::start(Options::default()).await;
    let error = connect(&world, &peer, Arc::default()).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Auth);
    let expected = format!(
        "servers.node (me@{}): it refused every key for me; tried {} (ED25519 {}): refused",
        peer.address,
        world.path("id_ed25519").display(),
        host_key(&world.key).fingerprint()
    );
    assert_eq!(error.to_string(), expected);
    assert!(error.hint.expect("a hint").contains("`cc` on Chameleon's images"));
}

#[tokio::test]
async fn no_key_at_all() {
    let world = World::new();
    let peer = world.peer().await;
    world.write("config", "IdentityFile ~/.ssh/missing\nIdentityFile ~/.ssh/broken\nIdentityFile ~/.ssh/half.pub\n");
    world.write("broken", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n");
    world.write("half.pub", &public(&new_key()).to_openssh().expect("it encodes"));
    let error = connect(&world, &peer, Arc::default()).await.expect_err("no key");
    assert_eq!(error.kind, ErrorKind::NoKey);
    assert!(error.tried[0].ends_with("missing: there is no such file"), "{:?}", error.tried);
    assert!(error.tried[1].contains("broken: it is broken"), "{:?}", error.tried);
    assert!(error.tried[2].ends_with("half.pub: only its public half is here, not in the agent"), "{:?}", error.tried);
    assert!(error.hint.expect("a hint").contains("identity_file"));
}

#[tokio::test]
async fn a_locked_key_without_a_terminal() {
    let world = World::new();
    let peer = world.peer().await;
    world.write_key("id_ed25519", &lock(&world.key));
    let error = connect(&world, &peer, Arc::default()).await.expect_err("it is locked");
    assert_eq!(error.kind, ErrorKind::NoKey);
    assert!(error.to_string().contains("the key that me could log in with is locked"), "{error}");
    assert!(error.tried[0].ends_with("it has a passphrase, and there is no terminal to ask for it"), "{error}");
    assert!(error.hint.expect("a hint").contains("`ssh-add`"));
}

#[tokio::test]
async fn a_passphrase_is_asked_for_once() {
    let world = World::new();
    let (one, two) = (world.peer().await, world.peer().await);
    world.write_key("id_ed25519", &lock(&world.key));
    let (keyring, asked) = prompt(&[Some("wrong"), Some("open sesame")]);
    connect(&world, &one, keyring.clone()).await.expect("it connects");
    connect(&world, &two, keyring).await.expect("it connects");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_passphrase_is_not_asked_for_in_vain() {
    let world = World::new();
    let peer = Peer::start(Options::default()).await;
    world.write_key("id_ed25519", &lock(&world.key));
    let (keyring, asked) = prompt(&[]);
    let error = connect(&world, &peer, keyring).await.expect_err("the server would not take it");
    assert_eq!((error.kind, asked.load(Ordering::SeqCst)), (ErrorKind::Auth, 0));

    let peer = world.peer().await;
    let (keyring, asked) = prompt(&[None]);
    let error = connect(&world, &peer, keyring).await.expect_err("nobody says");
    assert_eq!((error.kind, asked.load(Ordering::SeqCst)), (ErrorKind::NoKey, 1));
    let (keyring, _) = prompt(&[Some("a"), Some("b"), Some("c")]);
    let error = connect(&world, &peer, keyring).await.expect_err("wrong three times");
    assert!(error.tried[0].ends_with("none of 3 passphrases fits"), "{error}");
}

#[tokio::test]
async fn the_agent_holds_the_key() {
    let mut world = World::new();
    let peer = world.peer().await;
    let (key, other) = (world.key.clone(), new_key());
    agent(&mut world, &[&other, &key]).await;
    // Its file is locked, and nobody is asked: the agent signs.
    world.write_key("id_ed25519", &lock(&key));
    world.write("config", "IdentityFile ~/.ssh/id_ed25519\n");
    connect(&world, &peer, Arc::default()).await.expect("it connects");
    let offers: Vec<String> = peer.log().into_iter().filter(|line| line.starts_with("offer")).collect();
    assert_eq!(offers, [format!("offer {}", host_key(&key).fingerprint())], "the named key comes first");

    // No file at all: all that the agent has.
    world.write("config", "");
    std::fs::remove_file(world.path("id_ed25519")).expect("removed");
    connect(&world, &peer, Arc::default()).await.expect("it connects");

    // Only the named ones.
    let named = new_key();
    world.write_key("named", &named);
    world.write("config", "IdentitiesOnly yes\nIdentityFile ~/.ssh/named\n");
    let error = connect(&world, &peer, Arc::default()).await.expect_err("the agent's keys are not offered");
    assert_eq!(error.tried.len(), 1);

    // A public half says which key of the agent.
    world.write("named", &public(&key).to_openssh().expect("it encodes"));
    connect(&world, &peer, Arc::default()).await.expect("it connects");
}

#[tokio::test]
async fn an_agent_that_is_gone() {
    let mut world = World::new();
    world.surroundings.auth_sock = Some(world.path("nothing"));
    let peer = world.peer().await;
    connect(&world, &peer, Arc::default()).await.expect("the file does");
    let refusing = Peer::start(Options::default()).await;
    let error = connect(&world, &refusing, Arc::default()).await.expect_err("refused");
    assert!(error.tried[0].contains("nothing cannot be used"), "{error}");
}

#[tokio::test]
async fn a_format_that_is_too_old() {
    let world = World::new();
    world.write("config", "IdentityFile ~/.ssh/old\n");
    world.write("old", "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n");
    let peer = world.peer().await;
    let error = connect(&world, &peer, Arc::default()).await.expect_err("not supported");
    assert!(error.tried[0].contains("write it anew by `ssh-keygen -p -f`"), "{error}");
}
