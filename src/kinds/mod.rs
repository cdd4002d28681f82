//! The kinds of resource, one file each, and their registry: adding a kind is one file and one line here.

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

/// Every kind.
pub static KINDS: &[&dyn Kind] = &[];

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
