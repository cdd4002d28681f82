//! `anole show`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::shared::SpecFlag;

/// Show what the stack holds, or what a saved plan would do
///
/// Offline: the state as the last apply left it, its resources with their ids and its outputs.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  anole show                          the stack of the spec in this folder\n  \
    anole show block.plan               a plan that `anole plan -o block.plan` wrote"
)]
pub struct ShowArgs {
    /// A saved plan
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath)]
    pub plan: Option<PathBuf>,

    #[command(flatten)]
    /// The spec.
    pub spec: SpecFlag,
}
