//! Programs for the guest's `sh`, sent over standard input with the values they work on.
//!
//! A program is POSIX `sh`. The whole of it is read before the first command runs, so that no command can swallow what
//! comes after it. Values are assigned in front of it as quoted text; they are data, whatever they hold.

use std::fmt::Write;
use std::time::Duration;

use super::GuestError;
use crate::ssh::{Command, Ended, LineSink};

/// Reads the program, then runs it: with nothing left on standard input.
const READ_AND_RUN: &str = "sh -c 'eval \"$(cat)\"'";
/// As root, without asking for a password.
const AS_ROOT: &str = "sudo -n -- sh -c 'eval \"$(cat)\"'";
/// Where the tools are for root, also for log-in users whose path leaves them out; and messages that can be compared.
const HEAD: &str =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH\nLC_ALL=C; export LC_ALL\n";

/// A program, its values, and how it is run.
#[derive(Clone)]
pub struct Program {
    title: String,
    text: String,
    values: String,
    as_user: bool,
    timeout: Option<Duration>,
    lines: Option<LineSink>,
}

impl Program {
    /// A program; `title` is what people call it, in errors: `mounting /mnt/block`.
    #[must_use]
    pub fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        let (title, text) = (title.into(), text.into());
        Self { title, text, values: String::new(), as_user: false, timeout: None, lines: None }
    }

    /// Assigns a value to a variable of the program. The name is one of the program's own.
    #[must_use]
    pub fn value(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.values, "{name}={}", quoted(value));
        self
    }

    /// Runs it as the log-in user instead of root.
    #[must_use]
    pub fn as_user(mut self) -> Self {
        self.as_user = true;
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Who sees its lines as they come.
    #[must_use]
    pub fn lines(mut self, sink: LineSink) -> Self {
        self.lines = Some(sink);
        self
    }

    /// The command that runs it.
    #[must_use]
    pub(super) fn command(&self, is_root: bool) -> Command {
        let line = if self.as_user || is_root { READ_AND_RUN } else { AS_ROOT };
        let mut command = Command::new(line).title(self.title.clone()).stdin(self.whole().into_bytes());
        if let Some(timeout) = self.timeout {
            command = command.timeout(timeout);
        }
        match &self.lines {
            Some(sink) => command.lines(sink.clone()),
            None => command,
        }
    }

    /// The text that the guest's shell reads.
    fn whole(&self) -> String {
        format!("{HEAD}{}{}", self.values, self.text)
    }
}

/// A text as one word of `sh`.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Whether it was `sudo` that refused, and nothing was run.
pub(super) fn refused_root(ended: &Ended) -> bool {
    let text = ended.stderr.text();
    !ended.success()
        && (text.contains("sudo: ") || text.contains("sudo: not found") || text.contains("sudo: command not found"))
        && ["a password is required", "is not in the sudoers", "not found", "may not run sudo", "no tty present"]
            .iter()
            .any(|words| text.contains(words))
}

/// What to do about a log-in user who may not become root.
pub(super) fn no_root(ended: &Ended) -> GuestError {
    let said = ended.stderr.last_lines(1).pop().unwrap_or_default();
    GuestError::refused_with(
        format!("the log-in user may not become root without a password: {said}"),
        "log in as a user who may, with `ssh: { user: … }`; on Chameleon's images that is `cc`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_data_whatever_they_hold() {
        for hostile in ["it's", "$(reboot)", "a\nb", "`id`", "\\", "'; rm -rf /; '", "ünï"] {
            let program = Program::new("t", "printf %s \"$v\"").value("v", hostile);
            let ran = std::process::Command::new("sh").arg("-c").arg(program.whole()).output().unwrap();
            assert_eq!(String::from_utf8(ran.stdout).unwrap(), hostile);
        }
    }

    #[test]
    fn nothing_of_a_program_is_on_the_command_line() {
        let program = Program::new("t", "echo secret-text").value("v", "secret-value");
        for root in [true, false] {
            let shown = format!("{:?}", program.command(root));
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
