//! `anole lease extend`.

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
