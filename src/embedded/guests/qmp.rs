//! The QEMU Machine Protocol: commands and their answers as lines of JSON on a socket, with events in between.
//!
//! In: a machine's folder. Out: answers, and whether an event came.
//!
//! Invariants: every wait ends ([`PATIENCE`]); events that come while an answer is waited for are kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::embedded::tables::Fields;
use crate::model::Json;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a machine did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// Nobody answers, or not in time.
    #[error("the machine does not answer")]
    Io(#[from] std::io::Error),
    /// What came is not the protocol.
    #[error("the machine answers what is not its protocol: {0}")]
    Strange(String),
    /// It said no.
    #[error("the machine refuses `{command}`: {why}")]
    Refused {
        /// What it was told.
        command: String,
        /// What it says.
        why: String,
    },
}

/// A conversation with one machine, which has one at a time.
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    line: Vec<u8>,
    events: VecDeque<Json>,
}

impl Qmp {
    /// Begins a conversation with the machine of that folder.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn connect(folder: &Path) -> Result<Self, QmpError> {
        // A socket's address is short (108 bytes), a folder's need not be; by the open folder it is always short.
        let opened = File::open(folder)?;
        let address = format!("/proc/self/fd/{}/{}", opened.as_raw_fd(), super::machine::SOCKET);
        Self::over(UnixStream::connect(address)?)
    }

    fn over(stream: UnixStream) -> Result<Self, QmpError> {
        let reader = BufReader::new(stream.try_clone()?);
        let mut qmp = Self { reader, writer: stream, line: Vec::new(), events: VecDeque::new() };
        let greeting = qmp.read(Instant::now() + PATIENCE)?;
        if !greeting.has("QMP") {
            return Err(QmpError::Strange(greeting.to_string()));
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Has a command carried out.
    ///
    /// # Errors
    /// When the machine refuses, or does not answer.
    pub fn execute(&mut self, command: &str, arguments: Json) -> Result<Json, QmpError> {
        let mut text = json!({"execute": command, "arguments": arguments}).to_string();
        text.push('\n');
        self.writer.write_all(text.as_bytes())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut said = self.read(deadline)?;
            if said.has("event") {
                self.events.push_back(said);
            } else if said.has("error") {
                let why = said["error"].text("desc").to_owned();
                return Err(QmpError::Refused { command: command.to_owned(), why });
            } else if let Some(answer) = said.get_mut("return") {
                return Ok(answer.take());
            } else {
                return Err(QmpError::Strange(said.to_string()));
            }
        }
    }

    /// Has a line of the monitor for people carried out, and gives what that says.
    ///
    /// # Errors
    /// When the machine does not answer.
    pub fn monitor(&mut self, line: &str) -> Result<String, QmpError> {
        let said = self.execute("human-monitor-command", json!({"command-line": line}))?;
        Ok(said.as_str().unwrap_or_default().trim().to_owned())
    }

    /// Waits for an event of a device; false if none came.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn saw(&mut self, event: &str, device: &str, within: Duration) -> Result<bool, QmpError> {
        let is_it = |said: &Json| said.text("event") == event && said["data"].text("device") == device;
        let deadline = Instant::now() + within;
        loop {
            if let Some(at) = self.events.iter().position(is_it) {
                self.events.remove(at);
                return Ok(true);
            }
            match self.read(deadline) {
                Ok(said) => self.events.push_back(said),
                Err(QmpError::Io(error)) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next line. What came of it before the deadline is kept for the next call.
    fn read(&mut self, deadline: Instant) -> Result<Json, QmpError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(std::io::Error::from(ErrorKind::TimedOut).into());
            }
            self.reader.get_ref().set_read_timeout(Some(left))?;
            let count = self.reader.read_until(b'\n', &mut self.line)?;
            if count == 0 {
                return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into());
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                return serde_json::from_slice(&line)
                    .map_err(|_| QmpError::Strange(String::from_utf8_lossy(&line).into_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that says these lines, one for each that it is told; the first ones are its greeting.
    fn machine(says: &'static [&'static str]) -> (UnixStream, std::thread::JoinHandle<Vec<Json>>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            let mut told = Vec::new();
            let mut lines = BufReader::new(theirs.try_clone().unwrap());
            let mut writer = theirs;
            for (number, text) in says.iter().enumerate() {
                if number > 0 {
                    let mut line = String::new();
                    if lines.read_line(&mut line).unwrap() == 0 {
                        break;
                    }
                    told.push(serde_json::from_str(&line).unwrap());
                }
                // In two parts, as a socket may give them.
                let (first, second) = text.as_bytes().split_at(text.len() / 2);
                writer.write_all(first).unwrap();
                writer.flush().unwrap();
                std::thread::sleep(Duration::from_millis(2));
                writer.write_all(second).unwrap();
            }
            told
        });
        (ours, thread)
    }

    const GREETING: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";
    const READY: &str = "{\"return\": {}}\r\n";

    #[test]
    fn answers_are_told_from_events_and_refusals() {
        let (stream, thread) = machine(&[
            GREETING,
            READY,
            "{\"event\": \"RESUME\", \"data\": {}}\r\n{\"return\": {\"status\": \"running\"}}\r\n",
            "{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"d-1\"}}\n{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such\"}}\n",
            "{\"return\": \"  said\\r\\n\"}\n",
        ]);
        let mut qmp = Qmp::over(stream).unwrap();
        assert_eq!(qmp.execute("query-status", json!({})).unwrap()["status"], "running");
        let refused = qmp.execute("device_del", json!({"id": "d-2"})).unwrap_err();
        assert_eq!(refused.to_string(), "the machine refuses `device_del`: no such");
        assert_eq!(qmp.monitor("info usernet").unwrap(), "said");
        assert!(qmp.saw("DEVICE_DELETED", "d-1", Duration::from_secs(5)).unwrap(), "it came before it was asked for");
        let told = thread.join().unwrap();
        assert_eq!(told[0]["execute"], "qmp_capabilities");
        assert_eq!(told[3]["arguments"]["command-line"], "info usernet");
        assert!(qmp.execute("quit", json!({})).is_err(), "nobody is there any more");
    }

    #[test]
    fn a_wait_for_an_event_ends() {
        let (stream, thread) = machine(&[GREETING, READY, "{\"return\": {}}\n"]);
        let mut qmp = Qmp::over(stream).unwrap();
        assert!(!qmp.saw("DEVICE_DELETED", "d-1", Duration::from_millis(20)).unwrap());
        qmp.execute("quit", json!({})).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn another_protocol_is_told() {
        let (stream, thread) = machine(&["SSH-2.0-OpenSSH\r\n"]);
        assert!(matches!(Qmp::over(stream), Err(QmpError::Strange(_))));
        thread.join().unwrap();
    }
}
