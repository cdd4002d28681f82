//! The kinds of resource, one file each, and their registry.

pub mod kind;
pub mod schema;

pub use kind::Kind;
