//! `anole dataset run`: one delivery of a dataset, which another anole asks for on the machine where the data is.
//!
//! In: the delivery as JSON on standard input, keys and all, so that no command line and no file has them. Out: lines of
//! JSON on standard output, see [`crate::dataset::gauge::Line`]; the last one says how it ended.
//!
//! It is not for people, and so not in the help.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Context;
use crate::dataset::Watch;
use crate::dataset::delivery::{self, Delivery, DeliveryError};
use crate::dataset::gauge::{Gauge, Line};
use crate::ui::CliError;
use crate::ui::error::Exit;

/// How often it says how far it is.
const EVERY: Duration = Duration::from_millis(500);

/// Work on a dataset, for another anole.
#[derive(Debug, Clone, Args)]
pub struct DatasetArgs {
    /// What is done.
    #[command(subcommand)]
    pub command: DatasetCommand,
}

/// What can be done.
#[derive(Debug, Clone, Subcommand)]
pub enum DatasetCommand {
    /// Deliver a dataset: JSON on standard input, lines of JSON on standard output
    Run,
}

/// Runs it.
///
/// # Errors
/// Where the delivery cannot be read. How it ended is in the last line.
pub async fn run(args: DatasetArgs, _: &Context) -> Result<Exit, CliError> {
    let DatasetCommand::Run = args.command;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| CliError::context("cannot read the delivery", error))?;
    // What serde says of it repeats pieces of it, which may be keys.
    let delivery: Delivery = serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        CliError::new(format!("the delivery is not understood: line {line}, column {column}"))
    })?;
    let gauge = Arc::new(Gauge::default());
    let teller = tokio::spawn({
        let gauge = Arc::clone(&gauge);
        async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                say(&Line::Standing(gauge.standing()));
            }
        }
    });
    let ended = deliver(&delivery, gauge).await;
    teller.abort();
    // What it says last is the end.
    let _ = teller.await;
    let (line, exit) = match ended {
        Ok(delivered) => (Line::Delivered(delivered), Exit::Success),
        Err(error) => {
            let hint = error.hint().map(str::to_owned);
            (Line::Failed { message: error.to_string(), hint }, Exit::Failure)
        }
    };
    say(&line);
    Ok(exit)
}

async fn deliver(delivery: &Delivery, gauge: Arc<Gauge>) -> Result<delivery::Delivered, DeliveryError> {
    let keys = delivery.load.store.as_ref().ok_or_else(|| {
        let text = "the delivery has no keys of a store";
        crate::dataset::DatasetError::new(crate::dataset::ErrorKind::Job, text)
    })?;
    let watch: Arc<dyn Watch> = gauge;
    delivery::deliver(delivery, &keys.store()?, &watch).await
}

/// Prints a line at once. Nobody may be left to read it; the load goes on.
fn say(line: &Line) {
    let mut out = std::io::stdout().lock();
    if let Ok(text) = serde_json::to_string(line) {
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}
