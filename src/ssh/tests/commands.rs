//! Commands: their ends, their output, their limits.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::peer::{Options, Relay};
use super::*;

type Seen = Arc<Mutex<Vec<(Source, String)>>>;

fn sink() -> (LineSink, Seen) {
    let seen = Seen::default();
    let lines = seen.clone();
    (Arc::new(move |source, line: &str| lines.lock().expect("a lock").push((source, line.to_owned()))), seen)
}

#[tokio::test]
async fn output_input_and_ends() {
    let world = World::new();
    let peer = world.peer().await;
    let ssh = world.ssh(&peer);

    let (lines, seen) = sink();
    let ended = ssh.run(Command::new("both").lines(lines)).await.expect("it ends");
    assert!(ended.success() && !ended.left_running);
    assert_eq!((ended.stdout.text().as_str(), ended.stderr.text().as_str()), ("to out\n", "to err\n"));
    let mut seen = seen.lock().expect("a lock").clone();
    seen.sort_by_key(|(source, _)| *source == Source::Err);
    assert_eq!(seen, [(Source::Out, "to out".to_owned()), (Source::Err, "to err".to_owned())]);

    let input: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let ended = ssh.run(Command::new("cat").stdin(input.clone()).keep(8 << 20)).await.expect("it ends");
    assert!(ended.stdout.whole().as_deref() == Some(&input[..]), "all of its input comes back");

    let ended = ssh.run(Command::new("bytes")).await.expect("it ends");
    assert_eq!(ended.stdout.whole().as_deref(), Some(&[0xff, 0x00, 0xc3, 0x28, b'\n'][..]));
    assert_eq!(ended.stdout.text(), "\u{fffd}\0\u{fffd}(\n");

    let ended = ssh.run(Command::new("status 7").title("mounting")).await.expect("it ends");
    assert_eq!(ended.end, End::Status(7));
    let error = ended.check().expect_err("7 is no success");
    assert_eq!((error.kind, error.may_have_happened), (ErrorKind::Failed, true));
    assert_eq!(
        error.to_string(),
        format!("servers.node (me@{}): mounting ended with status 7: about to fail with 7", peer.address)
    );
    assert_eq!(error.output, ["about to fail with 7"]);

    let ended = ssh.run(Command::new("killed")).await.expect("it ends");
    assert_eq!(ended.end, End::Signal("KILL".into()));
    assert!(ended.check().expect_err("no success").to_string().ends_with("`killed` was ended by signal KILL"));

    let error = ssh.run(Command::new("refuse")).await.expect_err("it is refused");
    assert_eq!((error.kind, error.may_have_happened), (ErrorKind::Refused, false));
    assert_eq!(peer.connections(), 1, "all of it on one connection");
}

#[tokio::test]
async fn secrets_are_seen_nowhere() {
    let world = World::new();
    let peer = world.peer().await;
    let mut settings = world.settings(first_contact());
    settings.redactor = Redactor::new(["hunter2"]);
    let ssh = Ssh::new(world.target(&world.asked(&peer)), settings);

    let (lines, seen) = sink();
    let ended = ssh.run(Command::new("parts a hun|ter2 b\n").lines(lines)).await.expect("it ends");
    assert_eq!(seen.lock().expect("a lock")[0].1, "a [redacted] b");
    assert_eq!(ended.stdout.text(), "a [redacted] b\n");
    assert_eq!(ended.stdout.whole().as_deref(), Some(&b"a hunter2 b\n"[..]), "programs see what was printed");
    assert!(!format!("{ended:?}").contains("hunter2"));

    let error = ssh.run(Command::new("refuse").title("using hunter2")).await.expect_err("refused");
    assert!(error.to_string().ends_with("using [redacted]"), "{error}");
    let command = Command::new("hang hunter2").timeout(Duration::from_millis(300));
    let error = ssh.run(command).await.expect_err("it hangs");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

/// A hundred million bytes go through, and a bounded part of them stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_stays_bounded() {
    let world = World::new();
    let peer = world.peer().await;
    let ssh = world.ssh(&peer);
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let lines = count.clone();
    let sink: LineSink = Arc::new(move |_, _| {
        lines.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let start = Instant::now();
    let ended = ssh.run(Command::new("flood 96").keep(4096).lines(sink)).await.expect("it ends");
    assert!(ended.success() && start.elapsed() < Duration::from_secs(300), "{:?}", start.elapsed());
    assert_eq!(ended.stdout.total(), (96 << 20) + 14);
    assert_eq!(ended.stdout.left_out(), (96 << 20) + 14 - 4096);
    assert_eq!(ended.stdout.last_lines(1), ["the last line"]);
    assert!(ended.stdout.text().starts_with("0123456789abcde\n"));
    assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), (96 << 20) / 16 + 1);
}

#[tokio::test]
async fn the_time_is_up() {
    let world = World::new();
    let peer = world.peer().await;
    let ssh = world.ssh(&peer);
    ssh.connect().await.expect("it connects");
    let error = ssh.run(Command::new("hang x").timeout(Duration::from_millis(300))).await.expect_err("it hangs");
    assert_eq!((error.kind, error.may_have_happened), (ErrorKind::TimedOut, true));
    assert!(error.to_string().ends_with("`hang x` did not end within 0.3 s: half of x"), "{error}");
    assert_eq!(error.output, ["half of x"]);
    peer.saw("signal TERM").await;
    peer.saw("closed").await;
    ssh.run(Command::new("echo still here")).await.expect("the connection is good");
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_command_that_is_given_up() {
    let world = World::new();
    let peer = world.peer().await;
    let ssh = world.ssh(&peer);
    let running = tokio::spawn({
        let ssh = ssh.clone();
        async move { ssh.run(Command::new("hang x")).await }
    });
    peer.saw("exec hang").await;
    running.abort();
    peer.saw("signal TERM").await;
    peer.saw("closed").await;
    ssh.run(Command::new("echo still here")).await.expect("the connection is good");
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_drop_in_the_middle() {
    let world = World::new();
    let peer = world.peer().await;
    let ssh = world.ssh(&peer);
    let error = ssh.run(Command::new("cut x")).await.expect_err("it is cut off");
    assert_eq!((error.kind, error.may_have_happened), (ErrorKind::Dropped, true));
    assert!(error.to_string().contains("`cut x` was cut off: "), "{error}");
    assert_eq!(error.output, ["half of x"]);

    let ended = ssh.run(Command::new("echo again")).await.expect("a new connection is made");
    assert_eq!(ended.stdout.text(), "again\n");
    assert_eq!(peer.connections(), 2);
    assert!(world.events().iter().any(|event| matches!(event, Event::Reconnecting { .. })));

    peer.cut();
    ssh.run(Command::new("echo again")).await.expect("a connection that broke meanwhile is no matter");
    assert_eq!(peer.connections(), 3);
    let runs = peer.log().iter().filter(|line| *line == "exec cut x").count();
    assert_eq!(runs, 1, "what was cut off is not repeated");
}

#[tokio::test]
async fn a_peer_that_is_gone_without_a_word() {
    let world = World::new();
    let peer = world.peer().await;
    let relay = Relay::to(peer.address).await;
    let mut settings = world.settings(first_contact());
    settings.limits.keepalive = Duration::from_millis(200);
    settings.limits.keepalives = 2;
    let asked = Asked { port: Some(relay.address.port()), ..world.asked(&peer) };
    let ssh = Ssh::new(world.target(&asked), settings);
    let running = tokio::spawn(async move { ssh.run(Command::new("hang x")).await });
    peer.saw("exec hang").await;
    relay.freeze();
    let error = running.await.expect("no panic").expect_err("nobody answers");
    assert_eq!((error.kind, error.may_have_happened), (ErrorKind::Dropped, true));
    assert!(error.to_string().ends_with("cut off: the server stopped answering keepalives"), "{error}");
}

#[tokio::test]
async fn something_is_left_running() {
    let world = World::new();
    let peer = world.peer().await;
    let mut settings = world.settings(first_contact());
    settings.limits.left_open = Duration::from_millis(50);
    let ssh = Ssh::new(world.target(&world.asked(&peer)), settings);
    let ended = ssh.run(Command::new("leave")).await.expect("it ends");
    assert!(ended.success() && ended.left_running);
    assert_eq!(ended.stdout.text(), "left it\n");
    assert!(!peer.log().contains(&"signal TERM".to_owned()), "what is left is left in peace");
}

#[tokio::test]
async fn many_at_once_share_a_connection() {
    let world = World::new();
    let peer = world.peer().await;
    let ssh = world.ssh(&peer);
    let runs = (0..30).map(|number| {
        let ssh = ssh.clone();
        async move { ssh.run(Command::new(format!("slow {number}"))).await.expect("it ends").stdout.text() }
    });
    let texts = futures_util::future::join_all(runs).await;
    assert_eq!(texts, (0..30).map(|number| format!("{number}\n")).collect::<Vec<_>>());
    assert_eq!(peer.connections(), 1);
    let most = peer.most_running();
    assert!((2..=10).contains(&most), "side by side, and OpenSSH allows ten sessions: {most}");
}

#[tokio::test]
async fn a_fresh_log_in_expects_the_same_key() {
    let world = World::new();
    let peer = world.peer().await;
    let ssh = world.ssh(&peer);
    ssh.run(Command::new("echo 1")).await.expect("it ends");
    let fresh = ssh.fresh();
    fresh.run(Command::new("echo 2")).await.expect("it ends");
    assert_eq!(peer.connections(), 2);
    assert_eq!(fresh.connect().await.expect("it connects").server.trust, Trust::FirstContact);

    // Another server at the same address: what was trusted on first contact is a pin from then on.
    let address = peer.address;
    drop(peer);
    fresh.close().await;
    let mut other = Options::default();
    other.authorized.push(public(&world.key));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let other = Peer::start_at(other, address).await;
    let error = fresh.run(Command::new("echo 3")).await.expect_err("another key");
    assert_eq!(error.kind, ErrorKind::HostKey);
    assert_eq!(other.log(), [""; 0], "nothing was offered to it");
}
