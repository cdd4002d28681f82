//! Connecting: trust, waiting, hops.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::peer::Options;
use super::*;

/// A console whose log is complete after some looks.
struct FakeConsole {
    log: String,
    looks_before: usize,
    looks: AtomicUsize,
}

impl FakeConsole {
    fn new(keys: &[&HostKey], looks_before: usize) -> Arc<Self> {
        let keys: String = keys.iter().map(|key| format!("{key} root@node\n")).collect();
        let log = format!(
            "[ 1.0] booting\n-----BEGIN SSH HOST KEY KEYS-----\n{keys}-----END SSH HOST KEY KEYS-----\nlogin: \n"
        );
        Arc::new(Self { log, looks_before, looks: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Console for FakeConsole {
    async fn log(&self) -> Option<String> {
        let looks = self.looks.fetch_add(1, Ordering::SeqCst);
        Some(if looks < self.looks_before { "[ 1.0] booting\n".to_owned() } else { self.log.clone() })
    }
}

fn with_console(console: Arc<FakeConsole>) -> HostKeyPolicy {
    HostKeyPolicy::from_pin(None, Some(console))
}

async fn connect(world: &World, peer: &Peer, policy: HostKeyPolicy) -> Result<Greeting, SshError> {
    Ssh::new(world.target(&world.asked(peer)), world.settings(policy)).connect().await
}

#[tokio::test]
async fn first_contact_then_pinned() {
    let world = World::new();
    let peer = world.peer().await;
    let greeting = connect(&world, &peer, first_contact()).await.expect("it connects");
    assert_eq!(greeting.server.trust, Trust::FirstContact);
    assert_eq!(greeting.server.key, peer.host_key);
    assert_eq!(greeting.server.host, peer.address.to_string());

    // As a state keeps it.
    let text = serde_json::to_string(&greeting.server.key).expect("it is written");
    let pin: HostKey = serde_json::from_str(&text).expect("it is read");
    let greeting = connect(&world, &peer, HostKeyPolicy::from_pin(Some(pin), None)).await.expect("it connects");
    assert_eq!(greeting.server.trust, Trust::Pinned);
}

#[tokio::test]
async fn a_changed_key_is_refused_at_once() {
    let world = World::new();
    let peer = world.peer().await;
    let pin = host_key(&new_key());
    let ssh = Ssh::new(world.target(&world.asked(&peer)), world.settings(HostKeyPolicy::Pinned(pin.clone())));
    let error = ssh.wait_for(Duration::from_secs(600)).await.expect_err("another key");
    assert_eq!(error.kind, ErrorKind::HostKey);
    let text = error.to_string();
    assert!(text.contains(&pin.fingerprint()) && text.contains(&peer.host_key.fingerprint()), "{text}");
    assert!(error.hint.expect("a hint").contains("do not connect"));
    assert_eq!(error.shown.as_deref(), Some(&peer.host_key));
    assert_eq!(peer.log(), [""; 0], "nothing was offered to it");
    assert_eq!(peer.connections(), 1, "waiting does not mend it");
}

/// A server with several keys shows the one that is known.
#[tokio::test]
async fn the_known_one_of_several_keys_is_asked_for() {
    let world = World::new();
    let mut rng = russh::keys::key::safe_rng();
    let curve = russh::keys::EcdsaCurve::NistP256;
    let ecdsa = PrivateKey::random(&mut rng, Algorithm::Ecdsa { curve }).expect("a key");
    let peer = world.peer_with(Options { host_keys: vec![new_key(), ecdsa.clone()], ..Options::default() }).await;
    let greeting = connect(&world, &peer, first_contact()).await.expect("it connects");
    assert_eq!(greeting.server.key.short_algorithm(), "ED25519");
    let pinned = connect(&world, &peer, HostKeyPolicy::Pinned(host_key(&ecdsa))).await.expect("it connects");
    assert_eq!((pinned.server.trust, pinned.server.key.short_algorithm().as_str()), (Trust::Pinned, "ECDSA"));
    world.write("known_hosts", &format!("[127.0.0.1]:{} {}\n", peer.address.port(), host_key(&ecdsa)));
    let known = connect(&world, &peer, first_contact()).await.expect("it connects");
    assert_eq!(known.server.trust, Trust::KnownHosts { file: world.path("known_hosts"), line: 1 });
}

#[tokio::test]
async fn known_hosts_against_it() {
    let world = World::new();
    let peer = world.peer().await;
    let name = format!("[127.0.0.1]:{}", peer.address.port());
    let other = host_key(&new_key());
    world.write("known_hosts", &format!("{name} {other}\n"));
    let error = connect(&world, &peer, first_contact()).await.expect_err("another key");
    assert_eq!(error.kind, ErrorKind::HostKey);
    let hint = error.hint.expect("a hint");
    let command = format!("`ssh-keygen -f {} -R '{name}'`", world.path("known_hosts").display());
    assert!(hint.contains(&command), "{hint}");

    // The console is better evidence, but `ssh` will complain.
    let console = FakeConsole::new(&[&peer.host_key], 0);
    let greeting = connect(&world, &peer, with_console(console)).await.expect("it connects");
    assert_eq!(greeting.server.trust, Trust::Console);
    assert!(greeting.server.notice.expect("a notice").contains("`ssh` will refuse until"));

    world.write("known_hosts", &format!("@revoked * {}\n", peer.host_key));
    let error = connect(&world, &peer, first_contact()).await.expect_err("revoked");
    assert!(error.to_string().contains("is marked as revoked"), "{error}");

    world.write("known_hosts", "");
    world.write("config", "StrictHostKeyChecking yes\n");
    let error = connect(&world, &peer, first_contact()).await.expect_err("not known");
    assert!(error.to_string().contains("StrictHostKeyChecking forbids"), "{error}");
}

#[tokio::test]
async fn the_console_decides() {
    let world = World::new();
    let peer = world.peer().await;
    let console = FakeConsole::new(&[&host_key(&new_key())], 0);
    let error = connect(&world, &peer, with_console(console)).await.expect_err("another server");
    assert_eq!(error.kind, ErrorKind::HostKey);
    assert!(error.to_string().contains("is not among those on the server's console log"), "{error}");

    // While a server boots, its console is waited for.
    let console = FakeConsole::new(&[&peer.host_key], 3);
    let target = world.target(&world.asked(&peer));
    let ssh = Ssh::new(target.clone(), world.settings(with_console(console)));
    let greeting = ssh.wait_for(Duration::from_secs(600)).await.expect("it connects");
    assert_eq!(greeting.server.trust, Trust::Console);

    // A console that never shows any is as good as none.
    let mut settings = world.settings(with_console(FakeConsole::new(&[], 0)));
    settings.limits.console = Duration::from_millis(100);
    let greeting = Ssh::new(target, settings).wait_for(Duration::from_secs(600)).await.expect("it connects");
    assert_eq!(greeting.server.trust, Trust::FirstContact);
}

#[tokio::test]
async fn a_closed_port() {
    let world = World::new();
    let peer = world.peer().await;
    let asked = world.asked(&peer);
    drop(peer);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let console = FakeConsole::new(&[], 0);
    let ssh = Ssh::new(world.target(&asked), world.settings(with_console(console)));
    let error = ssh.connect().await.expect_err("nobody listens");
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.to_string().ends_with("it refuses connections"), "{error}");
    let error = ssh.wait_for(Duration::from_millis(200)).await.expect_err("nobody listens");
    let text = error.to_string();
    assert!(text.contains("it could not be used within 0.2 s ("), "{text}");
    assert!(
        text.contains("it refuses connections; its console ends with\n") && text.ends_with("\n  login: "),
        "its console's end: {text}"
    );
    assert!(world.events().iter().any(|event| matches!(event, Event::Waiting { attempt: 2, .. })));
}

#[tokio::test]
async fn a_server_that_comes_up_while_we_wait() {
    let world = World::new();
    let early = world.peer().await;
    let (address, asked) = (early.address, world.asked(&early));
    drop(early);
    let ssh = Ssh::new(world.target(&asked), world.settings(first_contact()));
    let waiting = tokio::spawn(async move { ssh.wait_for(Duration::from_secs(600)).await });
    while !world.events().iter().any(|event| matches!(event, Event::Waiting { .. })) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // Its keys are not there yet in the first log-ins.
    let mut options = Options { refuses_first: 2, ..Options::default() };
    options.authorized.push(public(&world.key));
    let peer = Peer::start_at(options, address).await;
    waiting.await.expect("no panic").expect("it connects");
    assert_eq!(peer.connections(), 3);
}

#[tokio::test]
async fn keys_that_stay_refused_end_the_wait() {
    let world = World::new();
    let peer = Peer::start(Options::default()).await;
    let mut settings = world.settings(first_contact());
    settings.limits.refused = Duration::from_millis(50);
    let ssh = Ssh::new(world.target(&world.asked(&peer)), settings);
    let error = ssh.wait_for(Duration::from_secs(600)).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Auth);
    assert!(peer.connections() > 1);
}

/// Connects to what accepts here, says something, and waits for the end of the connection.
async fn answer(said: &str, settings: Settings) -> SshError {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let asked = Asked { host: "127.0.0.1".into(), port: Some(port), ..Asked::default() };
    let ssh = Ssh::new(world.target(&asked), settings);
    let connecting = tokio::spawn(async move { ssh.connect().await });
    let (mut stream, _) = listener.accept().await.expect("a connection");
    stream.write_all(said.as_bytes()).await.expect("said");
    let error = connecting.await.expect("no panic").expect_err("no server");
    // The other side must not be left with an open connection.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    error
}

#[tokio::test]
async fn what_answers_is_no_server() {
    let mut settings = World::new().settings(first_contact());
    let error = answer(&"HTTP/1.1 400 Bad Request\r\n".repeat(40), settings.clone()).await;
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.to_string().ends_with("what answers is not SSH"), "{error}");

    settings.limits.banner = Duration::from_millis(100);
    let error = answer("", settings.clone()).await;
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.to_string().ends_with("it took the connection, and said nothing for 0.1 s"), "{error}");

    settings.limits.handshake = Duration::from_millis(300);
    let error = answer("SSH-2.0-hangs\r\n", settings).await;
    assert!(error.to_string().ends_with("it took the connection, and said nothing for 0.3 s"), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_after_the_log_in() {
    let world = World::new();
    let peer = world.peer_with(Options { opens_nothing: true, ..Options::default() }).await;
    let mut settings = world.settings(first_contact());
    settings.limits.answer = Duration::from_millis(1500);
    let ssh = Ssh::new(world.target(&world.asked(&peer)), settings);
    let error = ssh.run(Command::new("echo x")).await.expect_err("it hangs");
    assert_eq!((error.kind, error.may_have_happened), (ErrorKind::TimedOut, false));
    assert!(error.to_string().contains("it took the log-in, and opened no session"), "{error}");
    assert!(error.hint.expect("a hint").contains("hangs"));
}

#[tokio::test]
async fn through_other_hosts() {
    let world = World::new();
    let (outer, inner, server) = (world.peer().await, world.peer().await, world.peer().await);
    let jump = format!("a@{},b@{}", outer.address, inner.address);
    let asked = Asked { jump: Some(jump), ..world.asked(&server) };
    let ssh = Ssh::new(world.target(&asked), world.settings(first_contact()));
    let ended = ssh.run(Command::new("echo through")).await.expect("it ends");
    assert_eq!(ended.stdout.text(), "through\n");
    let greeting = ssh.connect().await.expect("it is connected");
    assert_eq!(greeting.hops.iter().map(|hop| &hop.key).collect::<Vec<_>>(), [&outer.host_key, &inner.host_key]);
    assert_eq!(greeting.server.key, server.host_key);
    assert!(outer.log().contains(&format!("forward {}", inner.address)));
    assert!(
        inner.log().contains(&"log-in b".to_owned()) && inner.log().contains(&format!("forward {}", server.address))
    );

    // A hop's key is as good a reason to stop as the server's.
    let mut settings = world.settings(first_contact());
    settings.hop_pins.insert(inner.address.to_string(), host_key(&new_key()));
    let error = Ssh::new(world.target(&asked), settings).connect().await.expect_err("another key");
    assert_eq!(error.kind, ErrorKind::HostKey);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("b@{}, on the way to servers.node: its host key changed", inner.address)),
        "{text}"
    );

    // A hop that breaks takes the connection along.
    outer.cut();
    ssh.run(Command::new("echo again")).await.expect("a new way is made");
}

#[tokio::test]
async fn what_the_hop_cannot_reach() {
    let world = World::new();
    let (hop, server) = (world.peer().await, world.peer().await);
    let asked = Asked { jump: Some(hop.address.to_string()), ..world.asked(&server) };
    drop(server);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = Ssh::new(world.target(&asked), world.settings(first_contact())).connect().await.expect_err("no server");
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.to_string().contains("the host before it cannot reach it"), "{error}");
}

#[tokio::test]
async fn warnings_of_the_config_are_told() {
    let world = World::new();
    world.write("config", "Host *\n ProxyCommand nc %h %p\n");
    let peer = world.peer().await;
    connect(&world, &peer, first_contact()).await.expect("it connects");
    let notices = world.events().into_iter().filter(|event| matches!(event, Event::Notice(_))).count();
    assert_eq!(notices, 1);
    let asked = world.asked(&peer);
    drop(peer);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = Ssh::new(world.target(&asked), world.settings(first_contact())).connect().await.expect_err("closed");
    assert!(error.hint.expect("a hint").contains("ProxyCommand is not used"));
}
