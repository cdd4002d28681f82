//! Running a command: its standard input, its two outputs, its end.
//!
//! In: a [`Command`]. Out: [`Ended`], or an error if it did not come to an end: the connection broke, the time was up,
//! or the server would not start it. No environment is sent; what a command needs comes on its standard input.
//!
//! Invariants: output is taken as fast as it comes and kept up to a bound, so that no command holds up the others on
//! its connection. If the future is dropped or the time is up, the command is sent TERM, and its channel is closed. That
//! it then ended is not promised: what runs as another user, under sudo, does not get the signal, and OpenSSH passes
//! none on in log-ins of root.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::client::{Dress, Settings, after, dropped};
use super::connect::Connection;
use super::error::{ErrorKind, SshError};
use super::output::{Keeper, Lines, Output};
use super::redact::Redactor;

/// How long a command may take, if it does not say.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How much of each output is kept, if it is not said.
const KEPT: usize = 256 << 10;
/// How long the rest of the output may take at least, once a command ended.
const DRAIN: Duration = Duration::from_secs(30);
/// How many last lines go into an error.
const LAST_LINES: usize = 20;

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Takes lines as they come, redacted and without control characters. It must not block.
pub type LineSink = Arc<dyn Fn(Source, &str) + Send + Sync>;

/// A command, as the user's log-in shell takes it.
#[derive(Clone)]
pub struct Command {
    line: String,
    title: Option<String>,
    stdin: Bytes,
    timeout: Duration,
    keep: usize,
    lines: Option<LineSink>,
}

impl Command {
    /// A command line. It shows in the server's list of processes: no secrets here.
    #[must_use]
    pub fn new(line: impl Into<String>) -> Self {
        Self { line: line.into(), title: None, stdin: Bytes::new(), timeout: TIMEOUT, keep: KEPT, lines: None }
    }

    /// What people call it, in errors: `mounting /mnt/block`. Without it, the command line.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// What it reads on its standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Bytes::from(bytes.into());
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many bytes of each output are kept.
    #[must_use]
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Who sees its lines.
    #[must_use]
    pub fn lines(mut self, sink: LineSink) -> Self {
        self.lines = Some(sink);
        self
    }

    fn name(&self) -> String {
        self.title.clone().unwrap_or_else(|| format!("`{}`", self.line))
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({}, {} bytes of input)", self.title.as_deref().unwrap_or("untitled"), self.stdin.len())
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With this status; 0 is success.
    Status(u32),
    /// By this signal: `KILL`.
    Signal(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// A command that ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How.
    pub end: End,
    /// What it printed on standard output.
    pub stdout: Output,
    /// What it printed on standard error.
    pub stderr: Output,
    /// How long it took.
    pub took: Duration,
    /// Whether something that it left running still holds its output.
    pub left_running: bool,
    name: String,
    server: Arc<str>,
}

impl Ended {
    /// Whether its status is 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.end == End::Status(0)
    }

    /// The same if its status is 0; else an error with the last lines that it printed.
    pub fn check(self) -> Result<Self, SshError> {
        if self.success() {
            return Ok(self);
        }
        let mut error = SshError::new(ErrorKind::Failed, format!("{} {}", self.name, self.end)).at(&self.server);
        error.output = last_lines(&self.stdout, &self.stderr);
        error.may_have_happened = true;
        Err(error)
    }
}

/// What explains a failure: standard error, else standard output.
fn last_lines(stdout: &Output, stderr: &Output) -> Vec<String> {
    let lines = stderr.last_lines(LAST_LINES);
    if lines.is_empty() { stdout.last_lines(LAST_LINES) } else { lines }
}

/// A channel for one command, or for files. Dropped, it is closed.
pub(super) struct Session {
    channel: Option<Channel<Msg>>,
    pub(super) held: Arc<Held>,
}

/// What must live as long as a channel: the connection, and the place among its channels.
pub(super) struct Held {
    pub(super) connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    /// Opens a channel. It is opened by a task of its own: if nobody waits for it any more, it is closed again.
    pub(super) async fn open(connection: Arc<Connection>, limit: Duration) -> Result<Self, SshError> {
        let permit = connection.sessions.clone().acquire_owned().await.map_err(|_| gone())?;
        let held = Arc::new(Held { connection, _permit: permit });
        let opening = tokio::spawn(async move {
            match timeout(limit, held.connection.handle.channel_open_session()).await {
                Ok(Ok(channel)) => Ok(Self { channel: Some(channel), held }),
                Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                    let text = format!("it refused to open a session: {reason:?}");
                    Err(SshError::new(ErrorKind::Refused, text))
                }
                Ok(Err(error)) => Err(dropped(&held.connection, &error)),
                Err(_) => {
                    let text = format!("it took the log-in, and opened no session within {} s", limit.as_secs_f64());
                    Err(SshError::new(ErrorKind::TimedOut, text)
                        .hint("the server hangs: look at its console log for a full disk or memory, or a dead mount"))
                }
            }
        });
        opening.await.unwrap_or_else(|_| Err(gone()))
    }

    /// The channel itself. Whoever takes it closes it.
    pub(super) fn take(&mut self) -> Result<Channel<Msg>, SshError> {
        self.channel.take().ok_or_else(gone)
    }

    /// Runs a command to its end.
    pub(super) async fn run(mut self, command: Command, settings: &Settings, dress: &Dress) -> Result<Ended, SshError> {
        let (mut read, write) = self.take()?.split();
        let grace = settings.limits.grace;
        let mut running = Running { write: Some(Arc::new(write)), held: self.held.clone(), grace };
        let mut progress = Progress::new(&command, &dress.redactor);
        let start = Instant::now();
        let limits = Times { end: after(command.timeout), left_open: settings.limits.left_open };
        let sent = AtomicBool::new(false);
        let stop = progress.follow(&mut read, running.feed(&command, &sent), &limits).await;
        progress.flush();
        let name = dress.redactor.text(&command.name()).into_owned();
        let Progress { stdout, stderr, end, .. } = progress;
        let (stdout, stderr) = (stdout.finish(dress.redactor.clone()), stderr.finish(dress.redactor.clone()));
        let mut error = match (stop, end) {
            (Stop::Ended | Stop::LeftOpen | Stop::Gone, Some(end)) => {
                running.ended();
                let (took, left_running) = (start.elapsed(), stop == Stop::LeftOpen);
                return Ok(Ended { end, stdout, stderr, took, left_running, name, server: dress.server.clone() });
            }
            (Stop::Refused, _) => {
                running.ended();
                return Err(SshError::new(ErrorKind::Refused, format!("it refused to start {name}")));
            }
            (Stop::TimeUp, _) => {
                let text = format!("{name} did not end within {} s", command.timeout.as_secs_f64());
                SshError::new(ErrorKind::TimedOut, text).hint("it was told to stop; whether it did is not known")
            }
            _ if self.held.connection.is_closed() => {
                let why = self.held.connection.why_closed();
                SshError::new(ErrorKind::Dropped, format!("{name} was cut off: {why}"))
            }
            _ => SshError::new(ErrorKind::Dropped, format!("the server closed {name} without saying how it ended")),
        };
        error.output = last_lines(&stdout, &stderr);
        error.may_have_happened = sent.load(Ordering::Relaxed);
        Err(error)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            let held = self.held.clone();
            in_background(async move {
                close(channel.close().await);
                drop(held);
            });
        }
    }
}

fn gone() -> SshError {
    SshError::new(ErrorKind::Dropped, "the connection was given up")
}

fn close(closed: Result<(), russh::Error>) {
    if let Err(error) = closed {
        tracing::debug!(%error, "the channel was closed already");
    }
}

/// Does something that nobody waits for. Without a runtime the connection is gone too, and there is nothing to do.
fn in_background(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(task);
    }
}

/// A command that runs. Dropped, it is told to end, and its channel is closed.
struct Running {
    write: Option<Arc<ChannelWriteHalf<Msg>>>,
    held: Arc<Held>,
    grace: Duration,
}

impl Running {
    /// Starts the command and gives it its input. That the input is not taken is no error: a command may not read it.
    fn feed<'a>(&self, command: &Command, sent: &'a AtomicBool) -> impl Future<Output = ()> + Send + use<'a> {
        let (write, line, stdin) = (self.write.clone(), command.line.clone(), command.stdin.clone());
        async move {
            let Some(write) = write else { return };
            let fed = async {
                write.exec(true, line).await?;
                sent.store(true, Ordering::Relaxed);
                write.data_bytes(stdin).await?;
                write.eof().await
            };
            if let Err(error) = fed.await {
                tracing::debug!(%error, "a command did not take its input");
            }
        }
    }

    /// The command ended: the channel is closed, and no signal is sent.
    fn ended(&mut self) {
        self.stop(false);
    }

    fn stop(&mut self, signal: bool) {
        let Some(write) = self.write.take() else { return };
        let (held, grace) = (self.held.clone(), self.grace);
        in_background(async move {
            if signal {
                close(write.signal(Sig::TERM).await);
                // What tidies up on TERM, and says so, would die of a closed output.
                sleep(grace).await;
            }
            close(write.close().await);
            drop(held);
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop(true);
    }
}

/// Why a command is not followed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It ended, and its outputs are closed.
    Ended,
    /// It ended, and something still holds its outputs.
    LeftOpen,
    /// The server would not start it.
    Refused,
    TimeUp,
    /// The channel is gone.
    Gone,
}

struct Times {
    end: Instant,
    left_open: Duration,
}

/// What is known of a command so far.
struct Progress {
    stdout: Keeper,
    stderr: Keeper,
    lines: Option<(LineSink, Lines, Lines)>,
    end: Option<End>,
    closed: bool,
}

impl Progress {
    fn new(command: &Command, redactor: &Redactor) -> Self {
        let lines = || Lines::new(redactor.clone());
        Self {
            stdout: Keeper::new(command.keep),
            stderr: Keeper::new(command.keep),
            lines: command.lines.clone().map(|sink| (sink, lines(), lines())),
            end: None,
            closed: false,
        }
    }

    async fn follow(&mut self, read: &mut ChannelReadHalf, feed: impl Future<Output = ()>, times: &Times) -> Stop {
        tokio::pin!(feed);
        let mut fed = false;
        let mut limit = times.end;
        let mut hard_end = None;
        loop {
            tokio::select! {
                message = read.wait() => match message {
                    None | Some(ChannelMsg::Close) => return if self.end.is_some() { Stop::Ended } else { Stop::Gone },
                    Some(ChannelMsg::Failure) => return Stop::Refused,
                    Some(message) => self.take(message),
                },
                () = &mut feed, if !fed => fed = true,
                () = sleep_until(limit) => {
                    return if self.end.is_some() { Stop::LeftOpen } else { Stop::TimeUp };
                }
            }
            if self.end.is_some() {
                if self.closed {
                    return Stop::Ended;
                }
                // What was printed before the end may still be on its way; silence means that somebody else holds on.
                let hard_end = *hard_end.get_or_insert_with(|| times.end.max(after(DRAIN)));
                limit = hard_end.min(after(times.left_open));
            }
        }
    }

    fn take(&mut self, message: ChannelMsg) {
        match message {
            ChannelMsg::Data { data } => self.print(Source::Out, &data),
            // 1 is standard error; there are no others.
            ChannelMsg::ExtendedData { data, .. } => self.print(Source::Err, &data),
            ChannelMsg::Eof => self.closed = true,
            ChannelMsg::ExitStatus { exit_status } => self.end = Some(End::Status(exit_status)),
            ChannelMsg::ExitSignal { signal_name, .. } => self.end = Some(End::Signal(signal(&signal_name))),
            _ => {}
        }
    }

    fn print(&mut self, source: Source, data: &[u8]) {
        match source {
            Source::Out => self.stdout.push(data),
            Source::Err => self.stderr.push(data),
        }
        if let Some((sink, out, err)) = &mut self.lines {
            let lines = if source == Source::Out { out } else { err };
            lines.push(data, &mut |line| sink(source, line));
        }
    }

    fn flush(&mut self) {
        if let Some((sink, out, err)) = &mut self.lines {
            out.flush(&mut |line| sink(Source::Out, line));
            err.flush(&mut |line| sink(Source::Err, line));
        }
    }
}

fn signal(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}
