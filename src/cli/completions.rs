//! `anole completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Context};
use crate::ui::CliError;
use crate::ui::error::Exit;

/// Print completions for a shell
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  anole completions bash > ~/.local/share/bash-completion/completions/anole\n  \
    anole completions zsh > ~/.zfunc/_anole\n  anole completions fish > ~/.config/fish/completions/anole.fish"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When it cannot be written.
pub async fn run(args: CompletionsArgs, cx: &Context) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "anole", &mut script);
    cx.console.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}
