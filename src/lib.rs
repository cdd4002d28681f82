//! anole
#![forbid(unsafe_code)]
pub mod cloud;
pub mod diagnostic;
pub mod embedded;
pub mod kinds;
pub mod model;
pub mod spec;
pub mod state;
