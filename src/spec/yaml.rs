//! YAML text → a spanned [`Node`] tree, by YAML 1.2's core schema.
//!
//! ```text
//! text ──saphyr's events──▶ tree::Arena (aliases still links) ──expand──▶ Node
//! ```
//!
//! In: a file's text, already UTF-8 and free of control characters ([`encoding::decode`]). Out: the tree of its only
//! document ([`Yaml::Null`] for an empty file), and diagnostics.
//!
//! Invariants:
//! - Never a panic and never a hang: the work is linear in the text; nesting ends at [`MAX_DEPTH`], and what aliases
//!   stand for is counted before any of it is copied ([`MAX_NODES`], [`EXPANSION_FACTOR`]).
//! - A mistake that leaves a usable tree (a key given twice, an unknown tag) does not stop the reading.
//! - Spans are bytes of the given text. A value that is empty in the text has its key's span.

use saphyr_parser::{Event, Parser, ScanError, Span as EventSpan};

use super::{Key, Node, Yaml};
use crate::diagnostic::{Diagnostic, Diagnostics, FileId};

pub mod encoding;
mod expand;
mod places;
pub mod scalar;
mod tree;
mod wording;

#[cfg(test)]
mod tests;

use places::Places;
use tree::{Arena, Builder};

/// How deep collections may nest, aliases expanded.
pub const MAX_DEPTH: usize = 64;

/// How many nodes (keys, values, collections) a file may hold, aliases expanded.
pub const MAX_NODES: usize = 1_000_000;

/// How many times its own nodes a file may hold once aliases are expanded, beyond [`EXPANSION_FREE`].
const EXPANSION_FACTOR: usize = 100;

/// Nodes that [`EXPANSION_FACTOR`] does not count, so that small files may repeat themselves.
const EXPANSION_FREE: usize = 10_000;

/// How many brackets and commas a file may hold. The parser keeps a bracket's whole inside in memory until it closes,
/// because it might be a key, at about 200 bytes a token: this keeps the worst file below half a gigabyte.
const MAX_INDICATORS: usize = 2 * MAX_NODES;

/// Reads a file's only document. `None` where the text is no YAML at all; diagnostics then say why.
pub fn parse(file: FileId, text: &str, diagnostics: &mut Diagnostics) -> Option<Node> {
    let places = Places::new(file, text);
    let mut indicators = text.bytes().enumerate().filter(|(_, byte)| b",[]{}".contains(byte));
    if let Some((at, _)) = indicators.nth(MAX_INDICATORS) {
        let message = format!("the file holds more than {MAX_INDICATORS} brackets and commas");
        let found = Diagnostic::error("too-large", places.bytes(at, at + 1), message);
        diagnostics.push(found.help("put data into files of its own; a spec names them"));
        return None;
    }
    match read(&places, diagnostics) {
        Ok(Some(arena)) => Some(expand::expand(&arena)),
        Ok(None) => Some(Node { value: Yaml::Null, span: places.bytes(0, 0) }),
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            None
        }
    }
}

/// Runs the events through the builder. `None` where the text holds no document.
fn read(places: &Places<'_>, diagnostics: &mut Diagnostics) -> Result<Option<Arena>, Box<Diagnostic>> {
    let mut parser = Parser::new_from_str(places.text());
    let mut builder = Builder::new(places);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(places, &builder, &error))?;
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    let at = places.span(span);
                    return Err(Box::new(
                        Diagnostic::error(
                            "several-documents",
                            at,
                            "a file holds one YAML document, this is the second",
                        )
                        .help("put the second document into a file of its own"),
                    ));
                }
            }
            Event::StreamEnd => break,
            event => builder.event(event, span, diagnostics)?,
        }
    }
    Ok(builder.finish())
}

/// The parser's error in our words, with what it was inside of.
fn syntax(places: &Places<'_>, builder: &Builder<'_>, error: &ScanError) -> Box<Diagnostic> {
    let at = places.point(error.marker().index());
    let mut diagnostic = wording::explain(error.info(), at, places.text());
    if let Some(open) = builder.open_bracket()
        && open.start < at.start
        && diagnostic.code == "yaml-syntax"
    {
        diagnostic = diagnostic.also(open, "this bracket is still open");
    }
    Box::new(diagnostic)
}
