//! `anole apply`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::shared::{ProtectedArgs, RunArgs, SelectArgs, SpecArgs};
use crate::model::Address;

/// Make the clouds match the spec
///
/// Plans, shows the plan, asks, and carries it out. What was done is recorded step by step: after an interruption of
/// any sort, the next apply carries on.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  anole apply                         plan, ask, carry out\n  \
    anole apply specs/quickstart.yaml --embedded --yes   try it without an account\n  \
    anole apply --replace servers.node  make one server again; its volumes stay")]
pub struct ApplyArgs {
    #[command(flatten)]
    /// The spec.
    pub spec: SpecArgs,

    /// Carry out a plan that `anole plan -o FILE` wrote; it is refused if anything changed since
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          conflicts_with_all = ["specs", "targets", "replace", "refresh_only", "accept_missing", "include_protected"])]
    pub plan: Option<PathBuf>,

    #[command(flatten)]
    /// How it goes about its work.
    pub run: RunArgs,

    #[command(flatten)]
    /// What it is limited to.
    pub select: SelectArgs,

    /// Replace this resource though nothing asks for it (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub replace: Vec<Address>,

    #[command(flatten)]
    /// With a removal from the spec.
    pub protected: ProtectedArgs,

    /// Only record what is live; change nothing in the clouds
    #[arg(long, conflicts_with_all = ["replace", "targets"])]
    pub refresh_only: bool,

    /// Wait for a lease that starts later, instead of ending with "pending until …"
    #[arg(long)]
    pub wait: bool,
}
