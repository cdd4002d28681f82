//! `anole graph`.

use super::Context;
use crate::engine;
use crate::ui::CliError;
use crate::ui::error::Exit;
use crate::ui::graph::Graph;
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

/// Prints the graph.
///
/// # Errors
/// When the spec has mistakes; they are told.
pub async fn run(args: GraphArgs, cx: &Context) -> Result<Exit, CliError> {
    let loaded = engine::load(&cx.settings(&args.spec.specs)).map_err(|error| cx.failed(error))?;
    let graph = Graph::of_desired(&loaded.desired);
    let text = match args.format {
        GraphFormat::Dot => graph.dot(),
        GraphFormat::Mermaid => graph.mermaid(),
    };
    if cx.console.json {
        cx.console.print_json(&serde_json::json!({ "graph": text }))?;
    } else {
        cx.console.print(&text)?;
    }
    Ok(Exit::Success)
}
