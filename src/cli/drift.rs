//! `anole drift`.

use clap::Args;

use super::shared::SpecArgs;

/// Show what was changed outside anole since the last apply
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Example:\n  anole drift --detailed-exitcode     exits with 2 if anything differs")]
pub struct DriftArgs {
    #[command(flatten)]
    /// The spec.
    pub spec: SpecArgs,

    /// Exit with 2 if anything differs
    #[arg(long)]
    pub detailed_exitcode: bool,
}
