//! The kinds of resource, one file each, and their registry.

pub mod floating_ip;
pub mod kind;
pub mod network;
mod neutron;
pub mod port;
pub mod router;
pub mod schema;
pub mod security_group;
pub mod subnet;

pub use kind::Kind;
