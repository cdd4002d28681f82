//! `anole schema`.

use clap::Args;

/// Print the JSON Schema of specs
///
/// Editors complete and check specs with it.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Example:\n  anole schema > anole.schema.json\n  \
    then start the spec with: # yaml-language-server: $schema=anole.schema.json")]
pub struct SchemaArgs {}
