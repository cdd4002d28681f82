//! `anole apply`.

use super::Context;
use super::outputs::tell_outputs;
use crate::engine;
use crate::plan::PlanOptions;
use crate::ui::CliError;
use crate::ui::error::Exit;
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

    /// Read every object of datasets back, of those that are loaded now and those that were
    #[arg(long)]
    pub verify: bool,

    /// Wait for a lease that starts later, instead of ending with "pending until …"
    #[arg(long)]
    pub wait: bool,
}

/// Plans, asks, and carries the plan out.
///
/// # Errors
/// Why there is no plan, or why the state cannot be written.
pub async fn run(args: ApplyArgs, cx: &Context) -> Result<Exit, CliError> {
    let settings = cx.settings(&args.spec.specs);
    let lock = ("anole apply", args.run.lock_timeout);
    let ready = match &args.plan {
        Some(path) => {
            let saved = engine::read_plan(path).map_err(|error| cx.failed(error))?;
            engine::lock_saved(&settings, saved, lock).await.map_err(|error| cx.failed(error))?
        }
        None => {
            let options = PlanOptions {
                destroy: false,
                include_protected: args.protected.selection(),
                targets: args.select.targets,
                replace: args.replace,
                accept_missing: args.select.accept_missing,
                trust_state: false,
                verify: args.verify,
            };
            cx.lock_and_plan(&settings, &options, lock).await?
        }
    };
    let ready = if args.refresh_only { ready.refresh_only() } else { ready };
    cx.show_plan("apply", ready.planned(), false)?;
    if ready.planned().plan.is_empty() && ready.is_idle() {
        return Ok(Exit::Success);
    }
    // What only records what is live, or closes what an interrupted apply left, needs no consent.
    let question = "Apply these changes?";
    if !ready.planned().plan.is_empty() && !cx.console.confirm(question, args.run.yes)? {
        cx.console.tell("Nothing was done.\n");
        return Ok(Exit::Failure);
    }
    let (outcome, exit) = cx.carry_out(ready, &args.run, (args.wait, args.verify)).await?;
    if outcome.failed.is_empty() && args.plan.is_none() {
        tell_outputs(cx, &settings)?;
    }
    Ok(exit)
}
