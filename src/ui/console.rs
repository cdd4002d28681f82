//! The streams of one run: standard output for data, standard error for progress, questions and errors.
//!
//! In: the global flags that say how. Out: writes. Everything that a command shows goes through a [`Console`], so that
//! progress bars, log lines and questions do not write over each other.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressDrawTarget};

use super::error::CliError;
use super::json::JsonLines;
use super::output::{self, Output};
use super::progress::{Bars, Lines, Sink};
use super::style::Styles;

/// The streams and how to write to them. Cheap to share by reference.
pub struct Console {
    /// Colours of standard output.
    pub styles: Styles,
    /// Colours of standard error.
    pub error_styles: Styles,
    /// Whether `--json` was given.
    pub json: bool,
    stdout: Mutex<Output<io::Stdout>>,
    screen: MultiProgress,
    interactive: bool,
}

impl Console {
    /// The streams of this process. Colours are off with `no_color`, `NO_COLOR`, or where the stream is no terminal.
    #[must_use]
    pub fn new(json: bool, no_color: bool) -> Self {
        let coloured = |choice: anstream::ColorChoice| !no_color && choice != anstream::ColorChoice::Never;
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self {
            styles: Styles::new(!json && coloured(anstream::AutoStream::choice(&io::stdout()))),
            error_styles: Styles::new(coloured(anstream::AutoStream::choice(&io::stderr()))),
            json,
            stdout: Mutex::new(Output::new(io::stdout())),
            screen,
            interactive: io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    /// Writes data. A reader that is gone is a quiet end.
    ///
    /// # Errors
    /// When the data cannot be written, to a full disk say.
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = self.stdout.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        stdout.print(text).map_err(|error| CliError::context("cannot write to standard output", error))
    }

    /// Writes one JSON document, laid out for people too.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print_json(&self, document: &impl serde::Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(document).map_err(CliError::wrap)?;
        self.print(&format!("{text}\n"))
    }

    /// Tells the user something on standard error, above any progress.
    pub fn tell(&self, text: &str) {
        tell_above(&self.screen, text);
    }

    /// [`Console::tell`] for a task that outlives the borrow of this console.
    pub fn teller(&self) -> impl Fn(&str) + Send + use<> {
        let screen = self.screen.clone();
        move |text| tell_above(&screen, text)
    }

    /// Tells an error: on standard error, and with `--json` as a line of its own on standard output too.
    pub fn tell_error(&self, error: &CliError) {
        if self.json {
            let mut lines = JsonLines::new(io::stdout());
            lines.error(error);
        }
        self.tell(&error.render(&self.error_styles));
    }

    /// JSON lines on standard output.
    #[must_use]
    pub fn json_lines(&self) -> JsonLines<io::Stdout> {
        JsonLines::new(io::stdout())
    }

    /// Where an apply of that many steps is shown.
    #[must_use]
    pub fn progress(&self, steps: usize) -> Box<dyn Sink> {
        if self.json {
            Box::new(self.json_lines())
        } else if self.interactive {
            Box::new(Bars::new(self.screen.clone(), self.error_styles, steps))
        } else {
            Box::new(Lines::new(io::stderr(), self.error_styles))
        }
    }

    /// The screen that progress is drawn on, for log lines to be written above it.
    #[must_use]
    pub fn screen(&self) -> MultiProgress {
        self.screen.clone()
    }

    /// Columns to lay text out in: the shell's `COLUMNS` where it is exported, else 100.
    #[must_use]
    pub fn width(&self) -> usize {
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        columns.unwrap_or(100_usize).clamp(60, 160)
    }

    /// Asks a yes-or-no question.
    ///
    /// # Errors
    /// Without a terminal to answer at: the answer is not guessed.
    pub fn confirm(&self, question: &str, yes: bool) -> Result<bool, CliError> {
        if yes {
            return Ok(true);
        }
        if self.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(CliError::new("there is no terminal to confirm this at, so nothing was done")
                .hint("`--yes` carries it out without asking"));
        }
        self.screen.suspend(|| output::ask(&mut io::stdin().lock(), &mut io::stderr().lock(), question)).map_err(
            |error| {
                CliError::context("cannot ask for a confirmation", error).hint("`--yes` carries it out without asking")
            },
        )
    }
}

fn tell_above(screen: &MultiProgress, text: &str) {
    screen.suspend(|| {
        // Nobody is left to be told that standard error is gone.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    });
}
