//! `anole lease extend`.

use super::Context;
use crate::engine;
use crate::ui::CliError;
use crate::ui::error::Exit;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::shared::{SpecFlag, duration};

/// Prolong a lease
#[derive(Debug, Clone, Args)]
pub struct LeaseArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LeaseCommand,
}

/// What to do with a lease.
#[derive(Debug, Clone, Subcommand)]
pub enum LeaseCommand {
    /// Move a lease's end
    #[command(
        after_long_help = "Examples:\n  anole lease extend block 2d         ends two days later than now planned\n  \
        anole lease extend 'node[1]' 12h    one of several"
    )]
    Extend(LeaseExtendArgs),
}

/// Which lease, by how much.
#[derive(Debug, Clone, Args)]
pub struct LeaseExtendArgs {
    /// The lease's name in the spec
    #[arg(value_name = "NAME")]
    pub name: String,

    /// By how much: 12h, 2d
    #[arg(value_name = "DURATION", value_parser = positive)]
    pub by: Duration,

    #[command(flatten)]
    /// The spec.
    pub spec: SpecFlag,
}

fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("an extension is longer than nothing".to_owned()),
        by => Ok(by),
    }
}

/// Prolongs a lease.
///
/// # Errors
/// When there is no such lease, or the service refuses.
pub async fn run(args: LeaseArgs, cx: &Context) -> Result<Exit, CliError> {
    let LeaseCommand::Extend(args) = args.command;
    let settings = cx.settings(&args.spec.specs);
    let end = engine::extend_lease(&settings, &args.name, args.by).await.map_err(|error| cx.failed(error))?;
    if cx.console.json {
        cx.console.print_json(&serde_json::json!({ "lease": args.name, "end": end.to_string() }))?;
    } else {
        cx.console.print(&format!("Lease `{}` ends {end}.\n", args.name))?;
    }
    Ok(Exit::Success)
}
