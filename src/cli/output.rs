//! `anole output`.

use std::collections::BTreeMap;

use super::Context;
use super::outputs::{bare, hidden, shown};
use crate::engine;
use crate::state::sealing::sealed_output;
use crate::ui::CliError;
use crate::ui::error::Exit;
use clap::Args;

use super::shared::SpecFlag;

/// Print the spec's outputs, as the last apply left them
///
/// One output prints its bare value, for scripts; it is an error if there is none of that name. An output that holds a
/// secret is shown only when it is asked for by name with --show-secrets.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  ssh cc@$(anole output address)\n  anole output --json\n  anole output token --show-secrets"
)]
pub struct OutputArgs {
    /// Only this one, bare
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Show it in clear, though it holds a secret
    #[arg(long, requires = "name")]
    pub show_secrets: bool,

    #[command(flatten)]
    /// The spec.
    pub spec: SpecFlag,
}

/// Prints outputs.
///
/// # Errors
/// When there is no state, or no output of that name.
pub async fn run(args: OutputArgs, cx: &Context) -> Result<Exit, CliError> {
    let settings = cx.settings(&args.spec.specs);
    let (store, stack) = engine::store(&settings).map_err(|error| cx.failed(error))?;
    let loaded = store.load().map_err(|error| cx.failed(error.into()))?;
    let (lineage, outputs) = loaded.map(|loaded| (loaded.state.lineage, loaded.state.outputs)).unwrap_or_default();
    let Some(name) = &args.name else {
        if cx.console.json {
            let hidden: BTreeMap<_, _> = outputs.iter().map(|(name, value)| (name, hidden(value))).collect();
            cx.console.print_json(&hidden)?;
            return Ok(Exit::Success);
        }
        let rows: String = outputs.iter().map(|(name, value)| format!("{name} = {}\n", shown(value))).collect();
        cx.console.print(&rows)?;
        return Ok(Exit::Success);
    };
    let Some(value) = outputs.get(name) else {
        let names = outputs.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let has = if names.is_empty() { "it has none; apply first".to_owned() } else { format!("it has {names}") };
        return Err(CliError::new(format!("stack `{stack}` has no output `{name}`")).hint(has));
    };
    if sealed_output(value).is_some() && !args.show_secrets {
        return Err(CliError::new(format!("output `{name}` holds a secret"))
            .hint(format!("`anole output {name} --show-secrets` prints it")));
    }
    let value = engine::show_output(&settings, &lineage, (name, value)).map_err(|error| cx.failed(error))?;
    if cx.console.json {
        cx.console.print_json(&value)?;
    } else {
        cx.console.print(&format!("{}\n", bare(&value)))?;
    }
    Ok(Exit::Success)
}
