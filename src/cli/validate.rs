//! `anole validate`.

use super::Context;
use crate::engine;
use crate::ui::CliError;
use crate::ui::error::Exit;
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

/// Checks the spec.
///
/// # Errors
/// When it has mistakes; they are told.
pub async fn run(args: ValidateArgs, cx: &Context) -> Result<Exit, CliError> {
    let loaded = engine::load(&cx.settings(&args.spec.specs)).map_err(|error| cx.failed(error))?;
    cx.tell_diagnostics(&loaded.diagnostics, &loaded.sources);
    let resources = loaded.desired.resources.keys().filter(|address| address.part.is_none()).count();
    if cx.console.json {
        let stack = &loaded.desired.stack;
        let document = serde_json::json!({ "valid": true, "stack": stack, "resources": resources });
        let mut lines = cx.console.json_lines();
        lines.line("valid", document);
        lines.finish().map_err(|error| CliError::context("cannot write to standard output", error))?;
    } else {
        let s = if resources == 1 { "" } else { "s" };
        cx.console
            .print(&format!("The spec is valid: stack `{}` with {resources} resource{s}.\n", loaded.desired.stack))?;
    }
    Ok(Exit::Success)
}
