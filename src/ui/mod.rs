//! Everything a user sees: the only place that prints.
//!
//! ```text
//! Plan + Report ──▶ plan     Event ──▶ progress (bars, lines) or json     Outcome ──▶ outcome
//! Desired, Plan ──▶ graph    errors ──▶ error                              tables ──▶ table
//! ```
//!
//! In: plain data. Out: text; what is data goes to standard output, progress and prompts to standard error.
//!
//! Invariants:
//! - Rendering is pure; only `output`, `console` and `progress` write.
//! - Text from services and specs is made [`style::printable`] before it reaches a terminal.
//! - Standard output closed by its reader is a quiet end of the output, never a panic and never the end of an apply.

pub mod console;
pub mod diff;
pub mod error;
pub mod graph;
pub mod json;
pub mod outcome;
pub mod output;
pub mod plan;
pub mod problems;
pub mod progress;
pub mod style;
pub mod table;
pub mod value;

pub use console::Console;
pub use error::CliError;
pub use style::Styles;
