//! `anole output`.

use super::Context;
use super::outputs::bare;
use crate::engine;
use crate::ui::CliError;
use crate::ui::error::Exit;
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

/// Prints outputs.
///
/// # Errors
/// When there is no state, or no output of that name.
pub async fn run(args: OutputArgs, cx: &Context) -> Result<Exit, CliError> {
    let (store, stack) = engine::store(&cx.settings(&args.spec.specs)).map_err(|error| cx.failed(error))?;
    let loaded = store.load().map_err(|error| cx.failed(error.into()))?;
    let outputs = loaded.map(|loaded| loaded.state.outputs).unwrap_or_default();
    let Some(name) = &args.name else {
        if cx.console.json {
            cx.console.print_json(&outputs)?;
            return Ok(Exit::Success);
        }
        let rows: String = outputs.iter().map(|(name, value)| format!("{name} = {}\n", bare(value))).collect();
        cx.console.print(&rows)?;
        return Ok(Exit::Success);
    };
    let Some(value) = outputs.get(name) else {
        let names = outputs.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let has = if names.is_empty() { "it has none; apply first".to_owned() } else { format!("it has {names}") };
        return Err(CliError::new(format!("stack `{stack}` has no output `{name}`")).hint(has));
    };
    if cx.console.json {
        cx.console.print_json(value)?;
    } else {
        cx.console.print(&format!("{}\n", bare(value)))?;
    }
    Ok(Exit::Success)
}
