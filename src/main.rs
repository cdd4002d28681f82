//! The thin binary: parse the arguments, run the command, map the result to an exit code.

use std::process::ExitCode;

use anole::cli::{self, Cli, Context};
use clap::CommandFactory;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help on a closed pipe is no failure; nobody is left to be told otherwise.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Some(command) = cli.command else {
        let _ = Cli::command().print_help();
        return ExitCode::SUCCESS;
    };
    let cx = Context::new(cli.global);
    ExitCode::from(cli::run(command, &cx).code())
}
