//! The client against a store of a few lines with faults, and, where one is named, against a real gateway.

mod client;
pub(crate) mod fake;
pub(crate) mod gateway;
