//! The kinds of resource, one file each, and their registry: adding a kind is one file and one line here.

pub mod attachment;
pub mod bucket;
pub mod bucket_mount;
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
    &bucket::Bucket,
    &port::Port,
    &server::Server,
    &floating_ip::FloatingIp,
    &attachment::Attachment,
    &mount::Mount,
    &bucket_mount::BucketMount,
    &script::Script,
    &image::Image,
    &flavor::Flavor,
];

/// The kind of that name.
#[must_use]
pub fn by_name(kind: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|candidate| candidate.schema().kind == kind)
}

/// The kinds declared in that section of a spec; the one that needs no [`Kind::told_by`] is first.
fn of_section(section: &str) -> impl Iterator<Item = &'static dyn Kind> {
    KINDS.iter().copied().filter(move |kind| !section.is_empty() && kind.schema().section == section)
}

/// The kind that a block of that section declares, by the fields that it has.
pub fn declared(section: &str, has: impl Fn(&str) -> bool) -> Option<&'static dyn Kind> {
    let told = of_section(section).find(|kind| kind.told_by().is_some_and(&has));
    told.or_else(|| of_section(section).next())
}

/// The sections of a spec that declare resources.
#[must_use]
pub fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KINDS.iter().map(|kind| kind.schema().section).collect();
    sections.retain(|section| !section.is_empty());
    sections.dedup();
    sections
}
