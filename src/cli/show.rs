//! `anole show`.

use super::Context;
use super::outputs::shown;
use super::session::schema_of;
use super::state::table_of;
use crate::engine;
use crate::ui::CliError;
use crate::ui::error::Exit;
use crate::ui::plan::{PlanView, render_plan};
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

/// Shows the stack, or a saved plan.
///
/// # Errors
/// When the state or the plan cannot be read.
pub async fn run(args: ShowArgs, cx: &Context) -> Result<Exit, CliError> {
    if let Some(path) = &args.plan {
        let saved = engine::read_plan(path).map_err(|error| cx.failed(error))?;
        if cx.console.json {
            let mut lines = cx.console.json_lines();
            lines.start("show");
            lines.plan(&saved.plan, &saved.report, &[], &schema_of);
            lines.finish().map_err(|error| CliError::context("cannot write to standard output", error))?;
            return Ok(Exit::Success);
        }
        let view = PlanView { schema: &schema_of, variables: &[], width: cx.console.width(), full: true };
        cx.console.print(&render_plan(&saved.plan, &saved.report, &cx.console.styles, &view))?;
        return Ok(Exit::Success);
    }
    let (store, stack) = engine::store(&cx.settings(&args.spec.specs)).map_err(|error| cx.failed(error))?;
    let Some(loaded) = store.load().map_err(|error| cx.failed(error.into()))? else {
        return Err(CliError::new(format!("stack `{stack}` has no state in {}", store.location()))
            .hint("`anole apply` makes one"));
    };
    if cx.console.json {
        cx.console.print_json(&loaded.state)?;
        return Ok(Exit::Success);
    }
    let state = &loaded.state;
    let mut text = format!("Stack `{}`, serial {}, in {}\n", state.stack, state.serial, store.location());
    for (alias, site) in &state.sites {
        text.push_str(&format!(
            "Site `{alias}`: project {} in {} as {}\n",
            site.project_name, site.region, site.user_name
        ));
    }
    if !loaded.open.is_empty() {
        let open = loaded.open.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        text.push_str(&format!("An interrupted apply left open: {open}; the next apply settles it\n"));
    }
    text.push('\n');
    text.push_str(&table_of(state.resources.iter(), &cx.console.styles));
    if !state.outputs.is_empty() {
        text.push_str("\nOutputs:\n");
        for (name, value) in &state.outputs {
            text.push_str(&format!("  {name} = {}\n", shown(value)));
        }
    }
    cx.console.print(&text)?;
    Ok(Exit::Success)
}
