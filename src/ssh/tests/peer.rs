//! A small SSH server in this process: it takes given keys, runs a few commands of its own, forwards connections, and
//! serves a folder's files. It can misbehave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::{HashAlg, PrivateKey, PublicKey};
use russh::server::{self, Auth, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, Sig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::files::Folder;
use super::{HostKey, host_key, new_key};

#[derive(Default)]
pub(super) struct Options {
    /// One is made if there is none.
    pub(super) host_keys: Vec<PrivateKey>,
    pub(super) authorized: Vec<PublicKey>,
    /// The folder that is served by SFTP.
    pub(super) files: Option<PathBuf>,
    /// Takes log-ins, and opens no session.
    pub(super) opens_nothing: bool,
    /// Refuses all keys in so many log-ins.
    pub(super) refuses_first: usize,
}

pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) host_key: HostKey,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    options: Options,
    log: Mutex<Vec<String>>,
    connections: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
    sockets: Mutex<Vec<std::net::TcpStream>>,
}

impl Peer {
    pub(super) async fn start(options: Options) -> Self {
        Self::start_at(options, "127.0.0.1:0".parse().expect("an address")).await
    }

    pub(super) async fn start_at(mut options: Options, address: SocketAddr) -> Self {
        if options.host_keys.is_empty() {
            options.host_keys.push(new_key());
        }
        let host_key = host_key(&options.host_keys[0]);
        let config = Arc::new(server::Config {
            keys: options.host_keys.clone(),
            auth_rejection_time: Duration::ZERO,
            ..server::Config::default()
        });
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            options,
            log: Mutex::default(),
            connections: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            sockets: Mutex::default(),
        });
        let task = tokio::spawn(serve(listener, config, shared.clone()));
        Self { address, host_key, shared, task }
    }

    /// What happened: `offer SHA256:…`, `exec …`, `signal TERM`, `closed`.
    pub(super) fn log(&self) -> Vec<String> {
        self.shared.log.lock().expect("a lock").clone()
    }

    /// Waits until something happened.
    pub(super) async fn saw(&self, what: &str) {
        while !self.log().iter().any(|line| line.starts_with(what)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most commands that ran at once.
    pub(super) fn most_running(&self) -> usize {
        self.shared.most_running.load(Ordering::SeqCst)
    }

    /// Breaks all connections.
    pub(super) fn cut(&self) {
        for socket in self.shared.sockets.lock().expect("a lock").drain(..) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, config: Arc<server::Config>, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let stream = stream.into_std().expect("a socket");
        shared.sockets.lock().expect("a lock").push(stream.try_clone().expect("a second handle"));
        let stream = TcpStream::from_std(stream).expect("a socket");
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let handler = Handler { shared: shared.clone(), number, channels: HashMap::new() };
        tokio::spawn(server::run_stream(config.clone(), stream, handler));
    }
}

struct Handler {
    shared: Arc<Shared>,
    number: usize,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Handler {
    fn note(&self, what: impl Into<String>) {
        self.shared.log.lock().expect("a lock").push(what.into());
    }

    fn takes(&self, key: &PublicKey) -> Auth {
        let known = self.shared.options.authorized.iter().any(|one| one.key_data() == key.key_data());
        if known && self.number >= self.shared.options.refuses_first { Auth::Accept } else { Auth::reject() }
    }
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        self.note(format!("offer {}", offer.public_key.fingerprint(HashAlg::Sha256)));
        Ok(self.takes(offer.public_key))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        self.note(format!("log-in {user}"));
        Ok(self.takes(key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: server::ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.shared.options.opens_nothing {
            // Neither accepted nor refused.
            std::mem::forget(reply);
            return Ok(());
        }
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, _channel: ChannelId, _session: &mut Session) -> Result<(), russh::Error> {
        self.note("closed");
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _from: &str,
        _from_port: u32,
        reply: server::ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.note(format!("forward {host}:{port}"));
        match TcpStream::connect((host, u16::try_from(port).expect("a port"))).await {
            Ok(mut stream) => {
                reply.accept().await;
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut channel.into_stream(), &mut stream).await;
                });
            }
            Err(_) => reply.reject(russh::ChannelOpenFailure::ConnectFailed).await,
        }
        Ok(())
    }

    async fn signal(&mut self, _channel: ChannelId, signal: Sig, _session: &mut Session) -> Result<(), russh::Error> {
        self.note(format!("signal {signal:?}"));
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match (self.channels.remove(&id), &self.shared.options.files) {
            (Some(channel), Some(folder)) if name == "sftp" => {
                session.channel_success(id)?;
                russh_sftp::server::run(channel.into_stream(), Folder::new(folder.clone())).await;
            }
            _ => session.channel_failure(id)?,
        }
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let line = String::from_utf8_lossy(data).into_owned();
        self.note(format!("exec {line}"));
        let Some(channel) = self.channels.remove(&id) else { return Ok(()) };
        if line == "refuse" {
            return session.channel_failure(id);
        }
        session.channel_success(id)?;
        let shared = self.shared.clone();
        let handle = session.handle();
        tokio::spawn(async move {
            let running = shared.running.fetch_add(1, Ordering::SeqCst) + 1;
            shared.most_running.fetch_max(running, Ordering::SeqCst);
            // What comes too late, after the client went away, is nobody's concern.
            let _ = execute(&line, channel, &shared, &handle).await;
            shared.running.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(())
    }
}

/// The commands. Each ends with a status, unless its name says otherwise.
async fn execute(
    line: &str,
    mut channel: Channel<Msg>,
    shared: &Shared,
    handle: &server::Handle,
) -> Result<(), russh::Error> {
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    let number = || rest.parse::<u32>().expect("a number");
    match name {
        "echo" => channel.data_bytes(format!("{rest}\n")).await?,
        "slow" => {
            tokio::time::sleep(Duration::from_millis(30)).await;
            channel.data_bytes(format!("{rest}\n")).await?;
        }
        "both" => {
            channel.data_bytes("to out\n").await?;
            channel.extended_data_bytes(1, "to err\n").await?;
        }
        "parts" => {
            for part in rest.split('|') {
                channel.data_bytes(part.to_owned()).await?;
            }
        }
        "bytes" => channel.data_bytes(vec![0xff, 0x00, 0xc3, 0x28, b'\n']).await?,
        "cat" => {
            while let Some(message) = channel.wait().await {
                match message {
                    ChannelMsg::Data { data } => channel.data_bytes(data).await?,
                    ChannelMsg::Eof => break,
                    _ => {}
                }
            }
        }
        "status" => {
            channel.extended_data_bytes(1, format!("about to fail with {rest}\n")).await?;
            return end(channel, number()).await;
        }
        "flood" => {
            let block: Vec<u8> = b"0123456789abcde\n".repeat(2048);
            for _ in 0..number() as usize * (1 << 20) / block.len() {
                channel.data_bytes(block.clone()).await?;
            }
            channel.data_bytes("the last line\n").await?;
        }
        "killed" => {
            let id = channel.id();
            let _ = handle.exit_signal_request(id, Sig::KILL, false, String::new(), String::new()).await;
            channel.eof().await?;
            return channel.close().await;
        }
        "leave" => {
            // A process in the background holds the output open.
            channel.data_bytes("left it\n").await?;
            channel.exit_status(0).await?;
            std::future::pending::<()>().await;
        }
        "hang" | "cut" => {
            channel.data_bytes(format!("half of {rest}\n")).await?;
            if name == "cut" {
                tokio::time::sleep(Duration::from_millis(50)).await;
                shared.sockets.lock().expect("a lock").drain(..).for_each(|socket| {
                    let _ = socket.shutdown(std::net::Shutdown::Both);
                });
            }
            while channel.wait().await.is_some() {}
            return Ok(());
        }
        other => panic!("no such command: {other}"),
    }
    end(channel, 0).await
}

async fn end(channel: Channel<Msg>, status: u32) -> Result<(), russh::Error> {
    channel.exit_status(status).await?;
    channel.eof().await?;
    channel.close().await
}

/// Stands between a client and a server, and can stop passing anything on without closing.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    frozen: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(super) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let frozen = Arc::new(AtomicBool::new(false));
        let shared = frozen.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.expect("the server");
                let ((cr, cw), (sr, sw)) = (client.into_split(), server.into_split());
                tokio::spawn(pass(cr, sw, shared.clone()));
                tokio::spawn(pass(sr, cw, shared.clone()));
            }
        });
        Self { address, frozen, task }
    }

    pub(super) fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    frozen: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if frozen.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}
