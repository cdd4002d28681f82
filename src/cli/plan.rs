//! `anole plan`.

use super::Context;
use crate::engine;
use crate::plan::PlanOptions;
use crate::ui::CliError;
use crate::ui::error::Exit;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};

use super::shared::{ProtectedArgs, SelectArgs, SpecArgs};
use crate::model::Address;

/// Show what an apply would do, and why
///
/// Reads the spec, looks at the clouds, and shows the difference; changes nothing.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  anole plan                          the spec in this folder\n  \
    anole plan specs/block.yaml --embedded   against the embedded cloud, without an account\n  \
    anole plan -o block.plan && anole apply --plan block.plan   exactly what was reviewed")]
pub struct PlanArgs {
    #[command(flatten)]
    /// The spec.
    pub spec: SpecArgs,

    /// Write the plan to FILE, for `anole apply --plan FILE`
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,

    /// Plan what `anole destroy` would do
    #[arg(long)]
    pub destroy: bool,

    #[command(flatten)]
    /// What it is limited to.
    pub select: SelectArgs,

    /// Replace this resource though nothing asks for it (repeatable)
    #[arg(long, value_name = "ADDRESS", conflicts_with = "destroy")]
    pub replace: Vec<Address>,

    #[command(flatten)]
    /// With `--destroy` or a removal from the spec.
    pub protected: ProtectedArgs,

    /// Exit with 2 if there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,

    /// Look at the clouds; with `--refresh=false` the state is believed instead
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub refresh: bool,

    /// Read every object of loaded datasets back, and compare it with what was loaded
    #[arg(long)]
    pub verify: bool,

    /// Show long texts in full
    #[arg(long)]
    pub full: bool,
}

/// Plans and shows the plan.
///
/// # Errors
/// Why there is no plan.
pub async fn run(args: PlanArgs, cx: &Context) -> Result<Exit, CliError> {
    let settings = cx.settings(&args.spec.specs);
    let options = PlanOptions {
        destroy: args.destroy,
        include_protected: args.protected.selection(),
        targets: args.select.targets,
        replace: args.replace,
        accept_missing: args.select.accept_missing,
        trust_state: !args.refresh,
        verify: args.verify,
    };
    let planned = engine::plan(&settings, &options).await.map_err(|error| cx.failed(error))?;
    cx.show_plan("plan", &planned, args.full)?;
    if let Some(out) = &args.out {
        engine::write_plan(&settings, &planned, out).map_err(|error| cx.failed(error))?;
        cx.console.tell(&format!("The plan is in {0}; `anole apply --plan {0}` carries it out.\n", out.display()));
    }
    let changes = args.detailed_exitcode && !planned.plan.is_empty();
    Ok(if changes { Exit::Changes } else { Exit::Success })
}
