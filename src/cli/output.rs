//! `anole output`.

use clap::Args;

use super::shared::SpecFlag;

/// Print the spec's outputs, as the last apply left them
///
/// One output prints its bare value, for scripts; it is an error if there is none of that name.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  ssh cc@$(anole output address)\n  anole output --json")]
pub struct OutputArgs {
    /// Only this one, bare
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    #[command(flatten)]
    /// The spec.
    pub spec: SpecFlag,
}
