//! `anole import`.

use super::Context;
use crate::engine;
use crate::ui::CliError;
use crate::ui::error::Exit;
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

/// Takes the object into the state.
///
/// # Errors
/// Why it cannot be taken.
pub async fn run(args: ImportArgs, cx: &Context) -> Result<Exit, CliError> {
    let settings = cx.settings(&args.spec.specs);
    let record = engine::import(&settings, &args.address, &args.id).await.map_err(|error| cx.failed(error))?;
    if cx.console.json {
        cx.console.print_json(&serde_json::json!({ "address": args.address, "id": record.id, "kind": record.kind }))?;
    } else {
        let text = format!(
            "{} is {} {} from now on. `anole plan` shows what differs.\n",
            args.address,
            record.kind.replace('_', " "),
            record.id
        );
        cx.console.print(&text)?;
    }
    Ok(Exit::Success)
}
