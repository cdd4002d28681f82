//! `anole validate`.

use clap::Args;

use super::shared::SpecArgs;

/// Check the spec without touching the network
///
/// Reports every mistake in one run, each with its place, the line underlined, a hint and a stable code.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  anole validate specs/\n  anole validate block.yaml --var net_id=ab123")]
pub struct ValidateArgs {
    #[command(flatten)]
    /// The spec.
    pub spec: SpecArgs,
}
