//! `anole import`.

use clap::Args;

use super::shared::SpecFlag;
use crate::model::{Address, RemoteId};

/// Take an object made elsewhere into the stack
///
/// The spec must declare ADDRESS. The object is the stack's own from then on: a destroy deletes it. To manage an object
/// without owning it, write `adopt:` in the spec instead.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Example:\n  anole import volumes.data 7f3c1a2b-…   a volume made in Horizon")]
pub struct ImportArgs {
    /// The resource of the spec
    #[arg(value_name = "ADDRESS")]
    pub address: Address,

    /// The object's id (a keypair's is its name)
    #[arg(value_name = "ID", value_parser = remote_id)]
    pub id: RemoteId,

    #[command(flatten)]
    /// The spec.
    pub spec: SpecFlag,
}

fn remote_id(text: &str) -> Result<RemoteId, &'static str> {
    if text.trim().is_empty() { Err("an id is not empty") } else { Ok(RemoteId::from(text.trim())) }
}
