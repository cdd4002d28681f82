//! Ctrl-C during an apply: the first one finishes and records what is in flight, the second leaves at once.
//!
//! In: the process's signals (SIGTERM counts as Ctrl-C). Out: a watch that turns true. Invariant: leaving at once is
//! safe, for what was asked for is in the journal; the next apply resolves it.

use tokio::sync::watch;

use crate::ui::error::Exit;

/// Watches for signals from now on, until the process ends. `tell` shows a line to the user.
pub fn watch_signals(tell: impl Fn(&str) + Send + 'static) -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        signalled().await;
        let _ = stop.send(true);
        tell("Stopping: what is in flight is finished and recorded. Press Ctrl-C again to leave at once.\n");
        signalled().await;
        tell("Left at once. What was asked for is in the journal: run the command again to carry on.\n");
        std::process::exit(Exit::Interrupted.code().into());
    });
    stopped
}

/// Returns at the next signal; never, where signals cannot be had.
async fn signalled() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                result = tokio::signal::ctrl_c() => if result.is_err() { std::future::pending::<()>().await },
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
