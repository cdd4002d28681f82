//! Ctrl-C during an apply: the first one finishes and records what is in flight, the second leaves at once.
//!
//! In: the process's signals (SIGTERM counts as Ctrl-C). Out: a watch that turns true. Invariant: leaving at once is
//! safe, for what was asked for is in the journal; the next apply resolves it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::ui::CliError;
use crate::ui::error::Exit;

/// Watches for signals from now on, until the process ends; `tell` shows a line to the user.
///
/// # Errors
/// When the process cannot listen to signals: an apply that nobody can stop is not begun.
pub fn watch_signals(tell: impl Fn(&str) + Send + 'static) -> Result<watch::Receiver<bool>, CliError> {
    let mut signals = Signals::listen().map_err(|error| CliError::context("cannot listen to signals", error))?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        signals.next().await;
        // Nobody listens any more once the apply is over; then there is nothing to stop.
        let _ = stop.send(true);
        tell("Stopping: what is in flight is finished and recorded. Press Ctrl-C again to leave at once.\n");
        signals.next().await;
        tell("Left at once. What was asked for is in the journal: run the command again to carry on.\n");
        std::process::exit(Exit::Interrupted.code().into());
    });
    Ok(stopped)
}

/// The signals that mean "stop". Registered once, so that none is lost between two of them.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
