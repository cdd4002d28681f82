//! `anole graph`.

use clap::{Args, ValueEnum};

use super::shared::SpecArgs;

/// Print the graph of the spec's resources
///
/// An arrow points from a resource to what it needs.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  anole graph | dot -Tsvg > graph.svg\n  anole graph --format mermaid")]
pub struct GraphArgs {
    #[command(flatten)]
    /// The spec.
    pub spec: SpecArgs,

    /// The language of the text
    #[arg(long, value_enum, default_value_t = GraphFormat::Dot)]
    pub format: GraphFormat,
}

/// A language for graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Graphviz
    Dot,
    /// Mermaid, which many Markdown viewers draw
    Mermaid,
}
