//! Standard output for data, and questions on standard error.
//!
//! Invariant: a reader that closed the pipe (`anole state list | head -1`) ends the output, not the program: nothing
//! is written from then on, and the command goes on to its own exit code. So a closed pipe never stops an apply.

use std::io::{self, BufRead, Write};

/// A writer that a closed pipe silences.
#[derive(Debug)]
pub struct Output<W> {
    inner: W,
    closed: bool,
}

impl<W: Write> Output<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, closed: false }
    }

    /// Writes the text and flushes it.
    ///
    /// # Errors
    /// Any failure to write (a full disk) but that the reader is gone.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        match self.inner.write_all(text.as_bytes()).and_then(|()| self.inner.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }

    /// Whether the reader is gone.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

/// Asks a question and reads one line; only `y` and `yes` are a yes, and the end of the input is a no.
///
/// # Errors
/// When the question cannot be written or the answer not be read.
pub fn ask(input: &mut impl BufRead, output: &mut impl Write, question: &str) -> io::Result<bool> {
    write!(output, "{question} [y/N] ")?;
    output.flush()?;
    let mut answer = String::new();
    if input.read_line(&mut answer)? == 0 {
        writeln!(output)?;
    }
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed(usize);
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end() {
        let mut output = Output::new(Closed(0));
        assert!(output.print("a\n").is_ok());
        assert!(output.print("b\n").is_ok());
        assert!(output.is_closed());
        assert_eq!(output.inner.0, 1, "nothing is written after the reader is gone");
    }

    #[test]
    fn only_yes_is_yes() {
        for (answer, yes) in [("y\n", true), ("YES\n", true), ("\n", false), ("no\n", false), ("", false)] {
            assert_eq!(ask(&mut answer.as_bytes(), &mut Vec::new(), "Apply?").ok(), Some(yes), "{answer:?}");
        }
    }
}
