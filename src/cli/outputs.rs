//! Outputs, as text.

use super::Context;
use crate::engine::{self, Settings};
use crate::model::Json;
use crate::ui::CliError;

/// A value as a script wants it: text bare, everything else as JSON.
#[must_use]
pub fn bare(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Shows the outputs after an apply.
///
/// # Errors
/// When the state cannot be read, or standard output not written.
pub fn tell_outputs(cx: &Context, settings: &Settings) -> Result<(), CliError> {
    let (store, _) = engine::store(settings).map_err(|error| cx.failed(error))?;
    let loaded = store.load().map_err(|error| cx.failed(error.into()))?;
    let outputs = loaded.map(|loaded| loaded.state.outputs).unwrap_or_default();
    if cx.console.json {
        let mut lines = cx.console.json_lines();
        lines.line("outputs", serde_json::json!({ "outputs": outputs }));
        return lines.finish().map_err(|error| CliError::context("cannot write to standard output", error));
    }
    if outputs.is_empty() {
        return Ok(());
    }
    let width = outputs.keys().map(String::len).max().unwrap_or(0);
    let rows: String = outputs.iter().map(|(name, value)| format!("  {name:width$} = {}\n", bare(value))).collect();
    cx.console.print(&format!("\nOutputs:\n{rows}"))
}
