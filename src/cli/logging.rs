//! Log lines: `-v` to standard error above any progress, `--log FILE` as JSON lines.
//!
//! In: the global flags. Out: a process-wide subscriber. Invariant: warnings are always shown; the log file is
//! readable by its owner alone, for it names what the user has.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use indicatif::MultiProgress;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt};

use super::global::GlobalArgs;
use crate::ui::{CliError, Console};

/// Installs the subscriber. A second call changes nothing.
///
/// # Errors
/// When the log file cannot be opened.
pub fn install(global: &GlobalArgs, console: &Console) -> Result<(), CliError> {
    let level = match global.verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let screen = fmt::layer()
        .with_ansi(console.error_styles.coloured)
        .with_target(level >= Level::DEBUG)
        .without_time()
        .with_writer(AboveBars(console.screen()))
        .with_filter(ours(level));
    let file = match &global.log {
        None => None,
        Some(path) => {
            let path = global.base().join(path);
            let file = open(&path)
                .map_err(|error| CliError::context(format!("cannot open the log `{}`", path.display()), error))?;
            Some(fmt::layer().json().with_writer(Mutex::new(file)).with_filter(ours(level.max(Level::DEBUG))))
        }
    };
    // A subscriber that is there already belongs to whoever runs us as a library.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(screen).with(file));
    Ok(())
}

/// Our own events up to that level, and everybody else's warnings.
fn ours(level: Level) -> Targets {
    Targets::new().with_default(Level::WARN.min(level)).with_target("anole", level)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes to standard error while the bars are out of the way.
struct AboveBars(MultiProgress);

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = AboveBarsWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        AboveBarsWriter(&self.0)
    }
}

/// One event's writer.
struct AboveBarsWriter<'a>(&'a MultiProgress);

impl Write for AboveBarsWriter<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write_all(text)).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
