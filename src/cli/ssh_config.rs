//! `anole ssh-config`.

use clap::Args;

use super::Context;
use super::shared::SpecFlag;
use super::ssh::quoted;
use crate::engine::{self, Ways};
use crate::ui::CliError;
use crate::ui::error::Exit;

/// Print the servers as a file that ~/.ssh/config can include
///
/// With it `ssh node-block`, `scp`, `rsync` and editors that log in by SSH know the stack's servers: their addresses,
/// users, keys and jump hosts, and the host keys that the state remembers, which are written beside the state.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  anole ssh-config > ~/.ssh/block.conf    then once, at the top of ~/.ssh/config: Include block.conf"
)]
pub struct SshConfigArgs {
    #[command(flatten)]
    /// The spec.
    pub spec: SpecFlag,
}

/// Prints the file.
///
/// # Errors
/// When spec or state cannot be read, or the host keys cannot be written.
pub async fn run(args: SshConfigArgs, cx: &Context) -> Result<Exit, CliError> {
    let ways = engine::ways(&cx.settings(&args.spec.specs)).await.map_err(|error| cx.failed(error))?;
    write_known_hosts(&ways)?;
    for (address, why) in &ways.lost {
        cx.console.tell(&format!("{address} is left out: {why}\n"));
    }
    if cx.console.json {
        let servers: serde_json::Map<_, _> = ways
            .found
            .iter()
            .map(|way| {
                let options: serde_json::Map<_, _> = way
                    .options(&ways.known_hosts)
                    .into_iter()
                    .map(|(option, value)| (option.to_owned(), value.into()))
                    .collect();
                (way.address.to_string(), options.into())
            })
            .collect();
        cx.console.print_json(&serde_json::json!({ "servers": servers }))?;
        return Ok(Exit::Success);
    }
    let mut text = String::new();
    for way in &ways.found {
        let key = way.address.to_string().replacen("servers.", "", 1);
        let also = if way.name == key { String::new() } else { format!(" {}", quoted(&way.name)) };
        text.push_str(&format!("Host {}{also}\n", quoted(&key)));
        for (option, value) in way.options(&ways.known_hosts) {
            text.push_str(&format!("  {option} {}\n", quoted(&value)));
        }
    }
    cx.console.print(&text)?;
    Ok(Exit::Success)
}

/// Writes the host keys that are expected beside the state.
///
/// # Errors
/// When the file cannot be written.
pub fn write_known_hosts(ways: &Ways) -> Result<(), CliError> {
    let text = ways.known_hosts_text();
    let unchanged = std::fs::read_to_string(&ways.known_hosts).is_ok_and(|old| old == text);
    if text.is_empty() || unchanged {
        return Ok(());
    }
    let failed = |error| CliError::context(format!("cannot write {}", ways.known_hosts.display()), error);
    // Another one may be read at this moment: it is replaced, not written over.
    let folder = ways.known_hosts.parent().unwrap_or(std::path::Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    file.persist(&ways.known_hosts).map_err(|error| failed(error.error))?;
    Ok(())
}
