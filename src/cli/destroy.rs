//! `anole destroy`.

use super::Context;
use crate::plan::PlanOptions;
use crate::ui::CliError;
use crate::ui::error::Exit;
use clap::Args;

use super::shared::{ProtectedArgs, RunArgs, SelectArgs, SpecArgs};

/// Delete what the spec made, except protected data
///
/// In reverse order, after showing the plan and asking. Volumes are protected unless the spec says
/// otherwise: they are kept, and what is still held is listed at the end.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  anole destroy                       keeps volumes\n  \
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

/// Plans the end of the stack, asks, and carries it out.
///
/// # Errors
/// Why there is no plan, or why the state cannot be written.
pub async fn run(args: DestroyArgs, cx: &Context) -> Result<Exit, CliError> {
    let settings = cx.settings(&args.spec.specs);
    let options = PlanOptions {
        destroy: true,
        include_protected: args.protected.selection(),
        targets: args.select.targets,
        accept_missing: args.select.accept_missing,
        ..PlanOptions::default()
    };
    let ready = cx.lock_and_plan(&settings, &options, ("anole destroy", args.run.lock_timeout)).await?;
    cx.show_plan("destroy", ready.planned(), false)?;
    if ready.is_idle() {
        return Ok(Exit::Success);
    }
    if !ready.planned().plan.is_empty() && !cx.console.confirm("Destroy these?", args.run.yes)? {
        cx.console.tell("Nothing was done.\n");
        return Ok(Exit::Failure);
    }
    let (_, exit) = cx.carry_out(ready, &args.run, (false, false)).await?;
    Ok(exit)
}
