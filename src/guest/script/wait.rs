//! Waiting for what a script starts: a port, or an answer over HTTP, asked for from inside the server.
//!
//! The asking goes through the SSH connection, so that neither a port has to be open to the world nor a tool be on the
//! server.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::Url;
use crate::guest::{GuestError, Tell};
use crate::ssh::{ErrorKind, Ssh, SshError};

/// How long one attempt may take.
const ONE: Duration = Duration::from_secs(15);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// How much of an answer's beginning is read.
const BEGINNING: usize = 4 << 10;

/// What is waited for, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitFor {
    /// What answers.
    pub answer: Answer,
    /// How long to wait.
    pub patience: Duration,
}

/// What answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A port of the server itself.
    Port(u16),
    /// This, with that status.
    Http {
        /// What is asked for.
        url: Url,
        /// What it answers.
        status: u16,
    },
}

/// Waits.
pub(super) async fn wait_for(ssh: &Ssh, wanted: &WaitFor, tell: &Tell) -> Result<(), GuestError> {
    let what = match &wanted.answer {
        Answer::Port(port) => format!("port {port}"),
        Answer::Http { url, .. } => format!("http://{}:{}{}", url.host, url.port, url.path),
    };
    tell(&format!("waiting for {what}"));
    let began = Instant::now();
    loop {
        let left = wanted.patience.saturating_sub(began.elapsed()).max(PAUSE);
        let why = match timeout(ONE.min(left), ask(ssh, &wanted.answer)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Asked::Never(error))) => return Err(error),
            Ok(Err(Asked::NotYet(why))) => why,
            Err(_) => "it does not answer".to_owned(),
        };
        if began.elapsed() + PAUSE >= wanted.patience {
            let seconds = wanted.patience.as_secs();
            return Err(GuestError::refused_with(
                format!("{what} was not up within {seconds} s: {why}"),
                "look at the script's log on the server; `wait_for: { timeout: … }` gives it more time",
            ));
        }
        tell(&format!("waiting for {what}: {why}"));
        sleep(PAUSE).await;
    }
}

/// Why there was no answer.
enum Asked {
    /// It may come.
    NotYet(String),
    /// It will not.
    Never(GuestError),
}

impl From<SshError> for Asked {
    fn from(error: SshError) -> Self {
        match error.kind {
            ErrorKind::Unreachable | ErrorKind::Dropped | ErrorKind::TimedOut => Self::NotYet(error.message),
            _ => Self::Never(error.into()),
        }
    }
}

async fn ask(ssh: &Ssh, wanted: &Answer) -> Result<(), Asked> {
    let (url, status) = match wanted {
        Answer::Port(port) => {
            ssh.dial("localhost", *port).await?;
            return Ok(());
        }
        Answer::Http { url, status } => (url, *status),
    };
    let mut stream = ssh.dial(&url.host, url.port).await?;
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}:{}\r\nUser-Agent: anole\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.path, url.port
    );
    let cut = |error: std::io::Error| Asked::NotYet(format!("the connection broke: {error}"));
    stream.write_all(request.as_bytes()).await.map_err(cut)?;
    stream.flush().await.map_err(cut)?;
    let mut answer = Vec::new();
    while answer.len() < BEGINNING && !answer.contains(&b'\n') {
        if stream.read_buf(&mut answer).await.map_err(cut)? == 0 {
            break;
        }
    }
    match status_of(&answer) {
        Some(found) if found == status => Ok(()),
        Some(found) => Err(Asked::NotYet(format!("it answers {found}"))),
        None if answer.is_empty() => Err(Asked::NotYet("it closed the connection".to_owned())),
        None => Err(Asked::NotYet("what answers is no HTTP".to_owned())),
    }
}

/// The status of an answer's first line: `HTTP/1.1 200 OK`.
fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next()?.starts_with("HTTP/").then(|| words.next()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_in_the_first_line() {
        assert_eq!(status_of(b"HTTP/1.1 204 No Content\r\nX: 1\r\n"), Some(204));
        assert_eq!(status_of(b"HTTP/1.0 500\n"), Some(500));
        for other in [&b"SSH-2.0-OpenSSH"[..], b"", b"HTTP/1.1", b"\xff\xfe"] {
            assert_eq!(status_of(other), None);
        }
    }
}
