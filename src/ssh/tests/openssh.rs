//! The same against a real OpenSSH: `cargo test --lib ssh::tests::openssh -- --ignored`.
//!
//! It needs `sshd` (Debian: openssh-server; its service need not run), `ssh-keygen` and `ssh-agent`. Each test starts
//! servers of its own on loopback ports, with a configuration, host keys and authorized keys in a temporary folder.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};

use super::peer::Relay;
use super::*;

const SSHD: &str = "/usr/sbin/sshd";

/// A real server.
struct Sshd {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

fn keygen(args: &[&str]) {
    let status = Process::new("ssh-keygen").arg("-q").args(args).stdout(Stdio::null()).status().expect("ssh-keygen");
    assert!(status.success(), "ssh-keygen {args:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

impl Sshd {
    /// A server that takes these public keys.
    async fn start(authorized: &str, more: &str) -> Self {
        // Privilege separation wants its empty folder.
        if Path::new("/run").is_dir() && !Path::new("/run/sshd").exists() {
            std::fs::create_dir("/run/sshd").expect("made");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for kind in ["ed25519", "ecdsa", "rsa"] {
            keygen(&["-t", kind, "-N", "", "-f", text(&at(kind))]);
        }
        std::fs::write(at("authorized_keys"), authorized).expect("written");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/ed25519\nHostKey {0}/ecdsa\nHostKey {0}/rsa\n\
             AuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\n{more}\n",
            folder.path().display()
        );
        std::fs::write(at("sshd_config"), config).expect("written");
        let child = Self::spawn(&at("sshd_config"));
        Self { child, port, folder }
    }

    fn spawn(config: &Path) -> Child {
        Process::new(SSHD).args(["-D", "-e", "-f", text(config)]).stderr(Stdio::null()).spawn().expect("sshd")
    }

    fn host_key(&self, kind: &str) -> HostKey {
        let text = std::fs::read_to_string(self.folder.path().join(format!("{kind}.pub"))).expect("a key");
        HostKey::parse(&text).expect("a key")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn world() -> World {
    let mut world = World::new();
    world.surroundings.user = whoami();
    world
}

fn whoami() -> String {
    let output = Process::new("id").arg("-un").output().expect("id");
    String::from_utf8(output.stdout).expect("a name").trim().to_owned()
}

fn authorized(world: &World) -> String {
    public(&world.key).to_openssh().expect("it encodes") + "\n"
}

fn ssh(world: &World, server: &Sshd, policy: HostKeyPolicy) -> Ssh {
    let asked = Asked { host: "127.0.0.1".into(), port: Some(server.port), ..Asked::default() };
    Ssh::new(world.target(&asked), world.settings(policy))
}

/// A server and the way to it, for tests of what is done on servers.
pub(crate) struct Lab {
    /// The way to it.
    pub ssh: Ssh,
    /// Whether its user is root.
    pub root: bool,
    _world: World,
    _server: Sshd,
}

/// A server with more lines in its configuration, logged in to as this user, or as who runs the test.
pub(crate) async fn lab(user: Option<&str>, more: &str) -> Lab {
    let mut world = world();
    if let Some(user) = user {
        user.clone_into(&mut world.surroundings.user);
    }
    let server = Sshd::start(&authorized(&world), more).await;
    // The keys are read as the user who logs in.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(server.folder.path(), open).expect("opened");
    let ssh = ssh(&world, &server, first_contact());
    ssh.wait_for(BOOT).await.expect("it connects");
    Lab { ssh, root: world.surroundings.user == "root", _world: world, _server: server }
}

const BOOT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server"]
async fn commands_and_their_ends() {
    let world = world();
    let server = Sshd::start(&authorized(&world), "").await;
    let mut settings = world.settings(first_contact());
    settings.limits.grace = Duration::from_secs(5);
    let asked = Asked { host: "127.0.0.1".into(), port: Some(server.port), ..Asked::default() };
    let ssh = Ssh::new(world.target(&asked), settings);
    let greeting = ssh.wait_for(BOOT).await.expect("it connects");
    assert_eq!(greeting.server.key, server.host_key("ed25519"));

    let ended = ssh.run(Command::new("cat; exit 3").stdin("from input\n")).await.expect("it ends");
    assert_eq!((ended.end.clone(), ended.stdout.text().as_str()), (End::Status(3), "from input\n"));
    let ended = ssh.run(Command::new("printf '\\377\\000x'; echo err >&2")).await.expect("it ends");
    assert_eq!(ended.stdout.whole().as_deref(), Some(&[0xff, 0, b'x'][..]));
    assert_eq!(ended.stderr.text(), "err\n");
    let ended = ssh.run(Command::new("kill -KILL $$")).await.expect("it ends");
    assert_eq!(ended.end, End::Signal("KILL".into()));

    let start = std::time::Instant::now();
    let flood = Command::new("yes 0123456789abcde | head -c 104857600; echo the end").keep(8192);
    let ended = ssh.run(flood).await.expect("it ends");
    assert!(start.elapsed() < Duration::from_secs(120), "100 MiB took {:?}", start.elapsed());
    assert_eq!((ended.stdout.total(), ended.stdout.last_lines(1)), ((100 << 20) + 8, vec!["the end".to_owned()]));

    // A process that stays behind keeps the output open; its end is not waited for.
    let ended = ssh.run(Command::new("sleep 300 & echo started $!")).await.expect("it ends");
    assert!(ended.left_running);
    let left = ended.stdout.text().trim().rsplit(' ').next().expect("a number").to_owned();
    ssh.run(Command::new(format!("kill {left}"))).await.expect("it ends").check().expect("it was still there");

    // Input that nobody reads is no error, much of it neither.
    let ended = ssh.run(Command::new("true").stdin(vec![b'x'; 8 << 20])).await.expect("it ends");
    assert!(ended.success());

    // The signal reaches what the command started. (OpenSSH does not pass it on in log-ins of root.)
    let mark = world.path("mark");
    let line = format!(
        "trap 'echo told; echo told > {0}; exit' TERM; echo ready; while :; do sleep 0.05; done",
        mark.display()
    );
    let error = ssh.run(Command::new(line).timeout(Duration::from_secs(2))).await.expect_err("it does not end");
    assert_eq!((error.kind, error.output.as_slice()), (ErrorKind::TimedOut, &["ready".to_owned()][..]));
    let root = whoami() == "root";
    for _ in 0..1000 {
        if root || mark.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(root || mark.exists(), "TERM arrives");

    let runs = (0..25).map(|number| {
        let ssh = ssh.clone();
        async move { ssh.run(Command::new(format!("sleep 0.1; echo {number}"))).await.map(|ended| ended.stdout.text()) }
    });
    for (number, text) in futures_util::future::join_all(runs).await.into_iter().enumerate() {
        assert_eq!(text.expect("it ends"), format!("{number}\n"), "more than ten sessions take turns");
    }
}

#[tokio::test]
#[ignore = "needs OpenSSH's server"]
async fn files_of_a_real_server() {
    let world = world();
    let server = Sshd::start(&authorized(&world), "").await;
    let ssh = ssh(&world, &server, first_contact());
    ssh.wait_for(BOOT).await.expect("it connects");
    let files = ssh.files().await.expect("files");
    let at = |name: &str| format!("{}/{name}", server.folder.path().display());
    let content: Vec<u8> = (0..20_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let start = std::time::Instant::now();
    files.make_folders(&at("x/y"), 0o751).await.expect("made");
    files.write(&at("x/y/big"), &content, 0o640).await.expect("written");
    assert!(start.elapsed() < Duration::from_secs(60), "20 MB took {:?}", start.elapsed());
    let stat = files.stat(&at("x/y/big")).await.expect("a look").expect("there");
    assert_eq!((stat.kind, stat.mode, stat.size), (StatKind::File, 0o640, 20_000_000));
    assert_eq!(files.stat(&at("x/y")).await.expect("a look").expect("there").mode, 0o751);
    assert!(files.read(&at("x/y/big"), 20_000_000).await.expect("read").expect("there") == content);
    files.write(&at("x/y/big"), b"small", 0o600).await.expect("replaced");
    assert_eq!(files.read(&at("x/y/big"), 5).await.expect("read").as_deref(), Some(&b"small"[..]));
    files.rename(&at("x/y/big"), &at("x/other")).await.expect("renamed");
    assert_eq!(files.stat(&at("x/y/big")).await.expect("a look"), None);
    assert!(files.remove(&at("x/other")).await.expect("removed"));
    assert!(!files.remove(&at("x/other")).await.expect("it was not there"));
    let error = files.write("/proc/nothing", b"x", 0o600).await.expect_err("not there");
    assert_eq!(error.kind, ErrorKind::File);
}

#[tokio::test]
#[ignore = "needs OpenSSH's server"]
async fn keys_of_all_kinds() {
    let world = world();
    let kinds: [(&str, &[&str]); 6] = [
        ("ed25519", &["-t", "ed25519", "-N", ""]),
        ("locked", &["-t", "ed25519", "-N", "open sesame"]),
        ("ecdsa", &["-t", "ecdsa", "-b", "521", "-N", ""]),
        ("rsa", &["-t", "rsa", "-b", "3072", "-N", ""]),
        ("rsa_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "open sesame"]),
        ("ecdsa_pkcs8", &["-t", "ecdsa", "-m", "PKCS8", "-N", "open sesame"]),
    ];
    let mut authorized = String::new();
    for (name, args) in kinds {
        keygen(&[args, &["-f", text(&world.path(name))]].concat());
        authorized += &std::fs::read_to_string(world.path(&format!("{name}.pub"))).expect("a key");
    }
    let server = Sshd::start(&authorized, "").await;
    let keyring = Keyring::new(Some(Arc::new(|_, _| Some("open sesame".into()))));
    let keyring = Arc::new(keyring);
    for (name, _) in kinds {
        let asked = Asked {
            host: "127.0.0.1".into(),
            port: Some(server.port),
            identity_files: vec![format!("~/.ssh/{name}")],
            ..Asked::default()
        };
        let settings = Settings { keyring: keyring.clone(), ..world.settings(first_contact()) };
        let ssh = Ssh::new(world.target(&asked), settings);
        ssh.wait_for(BOOT).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    // The host shows the key that is known of it.
    for kind in ["ed25519", "ecdsa", "rsa"] {
        world.write("config", "IdentityFile ~/.ssh/rsa\n");
        let ssh = ssh(&world, &server, HostKeyPolicy::Pinned(server.host_key(kind)));
        assert_eq!(ssh.connect().await.unwrap_or_else(|error| panic!("{kind}: {error}")).server.trust, Trust::Pinned);
    }
    // As ssh itself wrote it down.
    let status = Process::new("ssh")
        .args(["-F", "none", "-p", &server.port.to_string(), "-o", "StrictHostKeyChecking=accept-new"])
        .args(["-o", "HashKnownHosts=yes", "-o", &format!("UserKnownHostsFile={}", text(&world.path("known_hosts")))])
        .args(["-i", text(&world.path("rsa")), "-o", "IdentityAgent=none", "127.0.0.1", "true"])
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("ssh").success());
    let greeting = ssh(&world, &server, first_contact()).connect().await.expect("it connects");
    assert!(matches!(greeting.server.trust, Trust::KnownHosts { .. }), "{:?}", greeting.server.trust);
}

#[tokio::test]
#[ignore = "needs OpenSSH's server"]
async fn a_real_agent() {
    let mut world = world();
    for (name, kind) in [("held", "rsa"), ("other", "ed25519")] {
        keygen(&["-t", kind, "-N", "", "-f", text(&world.path(name))]);
    }
    let socket = world.path("agent");
    let mut agent =
        Process::new("ssh-agent").args(["-D", "-a", text(&socket)]).stdout(Stdio::null()).spawn().expect("agent");
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for name in ["other", "held"] {
        let mut add = Process::new("ssh-add");
        let added = add.arg(world.path(name)).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).status();
        assert!(added.expect("ssh-add").success());
        std::fs::remove_file(world.path(name)).expect("removed");
    }
    world.surroundings.auth_sock = Some(socket);
    let server = Sshd::start(&std::fs::read_to_string(world.path("held.pub")).expect("a key"), "MaxAuthTries 2").await;
    world.write("config", "IdentityFile ~/.ssh/held\n");
    ssh(&world, &server, first_contact()).wait_for(BOOT).await.expect("the named key comes first");
    // Too many others before the right one.
    for name in ["more0", "more1", "more2"] {
        keygen(&["-t", "ed25519", "-N", "", "-f", text(&world.path(name))]);
    }
    world.write(
        "config",
        "IdentityAgent none\nIdentityFile ~/.ssh/more0\nIdentityFile ~/.ssh/more1\nIdentityFile ~/.ssh/more2\n",
    );
    let error = ssh(&world, &server, first_contact()).connect().await.expect_err("too many");
    assert_eq!(error.kind, ErrorKind::Auth);
    assert!(error.tried.last().expect("a key").ends_with("the server closed the connection"), "{error}");
    assert!(error.hint.expect("a hint").contains("identity_file"));
    agent.kill().expect("ended");
    agent.wait().expect("ended");
}

#[tokio::test]
#[ignore = "needs OpenSSH's server"]
async fn hops_fresh_log_ins_and_restarts() {
    let world = world();
    let mut server = Sshd::start(&authorized(&world), "").await;
    let hop = Sshd::start(&authorized(&world), "").await;
    let asked = Asked {
        host: "127.0.0.1".into(),
        port: Some(server.port),
        jump: Some(format!("{}@127.0.0.1:{}", whoami(), hop.port)),
        ..Asked::default()
    };
    let ssh = Ssh::new(world.target(&asked), world.settings(first_contact()));
    ssh.wait_for(BOOT).await.expect("it connects");
    let session = |ssh: &Ssh| {
        let ssh = ssh.clone();
        async move { ssh.run(Command::new("echo $SSH_CONNECTION")).await.expect("it ends").stdout.text() }
    };
    let (first, again, fresh) = (session(&ssh).await, session(&ssh).await, session(&ssh.fresh()).await);
    assert_eq!(first, again, "one connection for many commands");
    assert_ne!(first, fresh, "a log-in of its own");

    // The server goes away with all its sessions, and comes back.
    ssh.run(Command::new("kill -TERM $PPID")).await.expect_err("its session is killed");
    server.child.kill().expect("ended");
    server.child.wait().expect("ended");
    let error = ssh.run(Command::new("echo")).await.expect_err("nobody listens");
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    server.child = Sshd::spawn(&server.folder.path().join("sshd_config"));
    ssh.wait_for(BOOT).await.expect("it is back");
    assert_ne!(session(&ssh).await, first);
}

#[tokio::test]
#[ignore = "needs OpenSSH's server"]
async fn a_network_that_goes_silent() {
    let world = world();
    let server = Sshd::start(&authorized(&world), "").await;
    ssh(&world, &server, first_contact()).wait_for(BOOT).await.expect("it is up");
    let relay = Relay::to(([127, 0, 0, 1], server.port).into()).await;
    let mut settings = world.settings(first_contact());
    settings.limits.keepalive = Duration::from_millis(300);
    let asked = Asked { host: "127.0.0.1".into(), port: Some(relay.address.port()), ..Asked::default() };
    let ssh = Ssh::new(world.target(&asked), settings);
    ssh.connect().await.expect("it connects");
    let running = tokio::spawn({
        let ssh = ssh.clone();
        async move { ssh.run(Command::new("sleep 60")).await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!running.is_finished(), "keepalives are answered");
    relay.freeze();
    let error = running.await.expect("no panic").expect_err("nobody answers");
    assert_eq!(error.kind, ErrorKind::Dropped, "{error}");
}
