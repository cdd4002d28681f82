//! `anole man`.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, ValueHint};

use super::{Cli, Context};
use crate::ui::CliError;
use crate::ui::error::Exit;

/// Print the manual page, or write the pages of all commands to a folder
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:\n  anole man | man -l -\n  anole man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// The folder
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub folder: Option<PathBuf>,
}

/// Prints or writes.
///
/// # Errors
/// When it cannot be written.
pub async fn run(args: ManArgs, cx: &Context) -> Result<Exit, CliError> {
    let mut root = Cli::command();
    root.build();
    match &args.folder {
        Some(folder) => write_pages(&root, "anole", &cx.base().join(folder))?,
        None => cx.console.print(&page(&root, "anole")?)?,
    }
    Ok(Exit::Success)
}

fn write_pages(command: &clap::Command, name: &str, folder: &Path) -> Result<(), CliError> {
    let path = folder.join(format!("{name}.1"));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, page(command, name).map_err(std::io::Error::other)?))
        .map_err(|error| CliError::context(format!("cannot write `{}`", path.display()), error))?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        write_pages(sub, &format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str) -> std::io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().display_name(name)).title(name).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
