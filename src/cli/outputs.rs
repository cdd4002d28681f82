//! Outputs, as text.

use std::collections::BTreeMap;

use serde_json::json;

use super::Context;
use crate::engine::{self, Settings};
use crate::model::Json;
use crate::state::sealing::sealed_output;
use crate::ui::CliError;
use crate::ui::value::SENSITIVE;

/// A value as a script wants it: text bare, everything else as JSON.
#[must_use]
pub fn bare(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value as it may be seen by anybody: what is sealed is hidden.
#[must_use]
pub fn hidden(value: &Json) -> Json {
    if sealed_output(value).is_some() { json!({ "$sensitive": true }) } else { value.clone() }
}

/// The same as text.
#[must_use]
pub fn shown(value: &Json) -> String {
    if sealed_output(value).is_some() { SENSITIVE.to_owned() } else { bare(value) }
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
        let outputs: BTreeMap<_, _> = outputs.iter().map(|(name, value)| (name, hidden(value))).collect();
        let mut lines = cx.console.json_lines();
        lines.line("outputs", json!({ "outputs": outputs }));
        return lines.finish().map_err(|error| CliError::context("cannot write to standard output", error));
    }
    if outputs.is_empty() {
        return Ok(());
    }
    let width = outputs.keys().map(String::len).max().unwrap_or(0);
    let rows: String = outputs.iter().map(|(name, value)| format!("  {name:width$} = {}\n", shown(value))).collect();
    cx.console.print(&format!("\nOutputs:\n{rows}"))
}
