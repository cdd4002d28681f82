//! anole
#![forbid(unsafe_code)]
pub mod apply;
pub mod cli;
pub mod cloud;
pub mod diagnostic;
pub mod embedded;
pub mod engine;
pub mod kinds;
pub mod model;
pub mod observe;
pub mod plan;
pub mod resolve;
pub mod spec;
pub mod stamp;
pub mod state;
pub mod ui;
