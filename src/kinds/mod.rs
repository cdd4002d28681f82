//! The kinds of resource, one file each, and their registry: adding a kind is one file and one line here.

pub mod attachment;
pub mod flavor;
pub mod floating_ip;
pub mod guest;
pub mod image;
pub mod keypair;
pub mod kind;
pub mod lease;
mod metadata;
pub mod mount;
pub mod network;
mod neutron;
pub mod port;
pub mod router;
pub mod schema;
pub mod script;
pub mod security_group;
pub mod server;
pub mod subnet;
pub mod volume;

pub use kind::{CloudKind, Kind};

/// Every kind, in the order in which a plan shows them.
pub static KINDS: &[&dyn Kind] = &[
    &lease::Lease,
    &keypair::Keypair,
    &security_group::SecurityGroup,
    &network::Network,
    &subnet::Subnet,
    &router::Router,
    &volume::Volume,
    &port::Port,
    &server::Server,
    &floating_ip::FloatingIp,
    &attachment::Attachment,
    &mount::Mount,
    &script::Script,
    &image::Image,
    &flavor::Flavor,
];

/// The kind of that name.
#[must_use]
pub fn by_name(kind: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|candidate| candidate.schema().kind == kind)
}

/// The kind declared in that section of a spec.
#[must_use]
pub fn by_section(section: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|candidate| !section.is_empty() && candidate.schema().section == section)
}

/// The sections of a spec that declare resources.
#[must_use]
pub fn sections() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.schema().section).filter(|section| !section.is_empty()).collect()
}
