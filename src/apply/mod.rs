//! Carries a plan out.

pub mod event;

pub use event::{Event, Outcome};
