//! `anole schema`.

use super::Context;
use crate::kinds::KINDS;
use crate::spec::json_schema::json_schema;
use crate::ui::CliError;
use crate::ui::error::Exit;
use clap::Args;

/// Print the JSON Schema of specs
///
/// Editors complete and check specs with it.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Example:\n  anole schema > anole.schema.json\n  \
    then start the spec with: # yaml-language-server: $schema=anole.schema.json")]
pub struct SchemaArgs {}

/// Prints the schema.
///
/// # Errors
/// When standard output cannot be written.
pub async fn run(_args: SchemaArgs, cx: &Context) -> Result<Exit, CliError> {
    let tables: Vec<_> = KINDS.iter().map(|kind| kind.schema()).collect();
    cx.console.print_json(&json_schema(&tables))?;
    Ok(Exit::Success)
}
