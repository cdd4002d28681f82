//! The kinds of resource, one file each, and their registry: adding a kind is one file and one line here.

pub mod attachment;
pub mod bucket;
pub mod bucket_mount;
pub mod credential;
pub mod dataset;
pub mod flavor;
pub mod floating_ip;
pub mod guest;
pub mod image;
pub mod keypair;
pub mod kind;
pub mod lease;
pub mod local;
pub mod look;
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
mod store_keys;
pub mod subnet;
pub mod volume;

use kind::Mark;
pub use kind::{CloudKind, Kind};

/// Every kind, in the order in which a plan shows them.
pub static KINDS: &[&dyn Kind] = &[
    &lease::Lease,
    &keypair::Keypair,
    &credential::application::ApplicationCredential,
    &credential::ec2::Ec2Credential,
    &credential::given::GivenCredential,
    &credential::random::RandomSecret,
    &credential::file::CredentialFile,
    &credential::on_server::CredentialOnServer,
    &security_group::SecurityGroup,
    &network::Network,
    &subnet::Subnet,
    &router::Router,
    &volume::Volume,
    &bucket::Bucket,
    &bucket::s3::S3Bucket,
    &port::Port,
    &server::Server,
    &floating_ip::FloatingIp,
    &attachment::Attachment,
    &mount::Mount,
    &bucket_mount::BucketMount,
    &script::Script,
    &dataset::HERE,
    &dataset::ON_SERVER,
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

/// The kind that a block of that section declares, by the marks that it bears. Of several, that of a field counts.
pub fn declared(section: &str, bears: impl Fn(Mark) -> bool) -> Option<&'static dyn Kind> {
    let told = |kind: &&dyn Kind, by_field: bool| {
        kind.told_by().is_some_and(|mark| matches!(mark, Mark::Field(_)) == by_field && bears(mark))
    };
    let by_field = of_section(section).find(|kind| told(kind, true));
    by_field.or_else(|| of_section(section).find(|kind| told(kind, false))).or_else(|| of_section(section).next())
}

/// The sections of a spec that declare resources.
#[must_use]
pub fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KINDS.iter().map(|kind| kind.schema().section).collect();
    sections.retain(|section| !section.is_empty());
    sections.dedup();
    sections
}
