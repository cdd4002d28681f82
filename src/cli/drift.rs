//! `anole drift`.

use super::Context;
use super::session::plain_options;
use crate::engine;
use crate::plan::{Reason, Verb};
use crate::ui::CliError;
use crate::ui::error::Exit;
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

/// Plans, and shows only what was changed outside.
///
/// # Errors
/// Why there is no plan.
pub async fn run(args: DriftArgs, cx: &Context) -> Result<Exit, CliError> {
    let settings = cx.settings(&args.spec.specs);
    let mut planned = engine::plan(&settings, &plain_options()).await.map_err(|error| cx.failed(error))?;
    for action in planned.plan.actions.values_mut() {
        let outside = |reason: &Reason| {
            use Reason::{Differs, Drifted, Failed, Interrupted, Missing};
            matches!(reason, Drifted { .. } | Differs { .. } | Missing | Failed { .. } | Interrupted)
        };
        if action.reasons.iter().any(outside) {
            let drifted: Vec<String> = action
                .reasons
                .iter()
                .filter_map(|reason| match reason {
                    Reason::Drifted { field } | Reason::Differs { field, .. } => Some(field.clone()),
                    _ => None,
                })
                .collect();
            action.reasons.retain(outside);
            action.changes.retain(|change| drifted.contains(&change.field));
        } else {
            action.verb = Verb::Keep;
        }
    }
    if planned.plan.is_empty() && !cx.console.json {
        cx.console.print("No drift. What is live is what the last apply left.\n")?;
        return Ok(Exit::Success);
    }
    cx.show_plan("drift", &planned, false)?;
    let changes = args.detailed_exitcode && !planned.plan.is_empty();
    Ok(if changes { Exit::Changes } else { Exit::Success })
}
