//! `anole ssh`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;

use super::Context;
use super::shared::SpecFlag;
use super::ssh_config::write_known_hosts;
use crate::engine;
use crate::ui::CliError;
use crate::ui::error::Exit;

/// Log in to a server, or run a command on it
///
/// Runs `ssh` with the server's address, its user and key as the spec's `ssh:` says, and the host key that the state
/// remembers: another one is refused. No cloud is asked.
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  anole ssh node-block                  a shell\n  anole ssh node-block -- df -h /mnt    one command\n  \
    anole ssh -J cc@129.114.1.2 'node[1]'   through another host"
)]
pub struct SshArgs {
    /// The server's name in the spec, or in the site
    #[arg(value_name = "SERVER")]
    pub server: String,

    /// The command to run there
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,

    /// The hosts to go through, instead of those that the spec says
    #[arg(short = 'J', long, value_name = "HOSTS")]
    pub jump: Option<String>,

    #[command(flatten)]
    /// The spec.
    pub spec: SpecFlag,
}

/// Becomes `ssh`.
///
/// # Errors
/// When the server is not in the state, or there is no `ssh`.
pub async fn run(args: SshArgs, cx: &Context) -> Result<Exit, CliError> {
    let ways = engine::ways(&cx.settings(&args.spec.specs)).await.map_err(|error| cx.failed(error))?;
    let way = ways.to(&args.server).map_err(|error| cx.failed(error))?;
    write_known_hosts(&ways)?;
    let mut ssh = Command::new("ssh");
    for (option, value) in way.options(&ways.known_hosts) {
        if option != "ProxyJump" || args.jump.is_none() {
            ssh.arg("-o").arg(format!("{option}={}", quoted(&value)));
        }
    }
    if let Some(jump) = &args.jump {
        ssh.arg("-J").arg(jump);
    }
    // The name is for messages and for the user's own config; HostName above says where it is.
    ssh.arg(&way.name).args(&args.command);
    // This returns only where it could not be started.
    Err(CliError::context("cannot run `ssh`; is OpenSSH's client installed?", ssh.exec()))
}

/// A value as ssh's options take it.
pub fn quoted(value: &str) -> String {
    if value.contains([' ', '\t', '#']) { format!("\"{value}\"") } else { value.to_owned() }
}
