//! `anole destroy`.

use clap::Args;

use super::shared::{ProtectedArgs, RunArgs, SelectArgs, SpecArgs};

/// Delete what the spec made, except protected data
///
/// In reverse order, after showing the plan and asking. Volumes and buckets are protected unless the spec says
/// otherwise: they are kept, and what is still held is listed at the end.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  anole destroy                       keeps volumes and buckets\n  \
    anole destroy --include-protected=volumes.data   and deletes this volume, with its data")]
pub struct DestroyArgs {
    #[command(flatten)]
    /// The spec.
    pub spec: SpecArgs,

    #[command(flatten)]
    /// How it goes about its work.
    pub run: RunArgs,

    #[command(flatten)]
    /// What it is limited to.
    pub select: SelectArgs,

    #[command(flatten)]
    /// Protected resources that are deleted too.
    pub protected: ProtectedArgs,
}
