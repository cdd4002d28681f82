//! The command line: arguments, one file a command, and which function each of them runs.
//!
//! ```text
//! argv ──clap──▶ Cli { GlobalArgs, Command } ──dispatch──▶ <command>::run(args, &Context) ──▶ Exit or CliError
//! ```
//!
//! A command's file holds its arguments and one `run`: it asks the engine and hands what it gets to `ui`.
//!
//! Invariants: parsing does nothing but parse; a command that is not understood ends with 2 before anything is read.

use std::ffi::OsString;

use clap::parser::{ValueSource, ValuesRef};
use clap::{CommandFactory, Parser, Subcommand};

pub mod apply;
pub mod cloud;
pub mod completions;
pub mod dataset;
pub mod destroy;
pub mod drift;
pub mod global;
pub mod graph;
pub mod import;
pub mod lease;
pub mod logging;
pub mod man;
pub mod output;
mod outputs;
mod passphrase;
pub mod plan;
pub mod schema;
mod session;
pub mod shared;
pub mod show;
pub mod signals;
pub mod ssh;
pub mod ssh_config;
pub mod state;
pub mod validate;

#[cfg(test)]
mod tests;

use crate::ui::error::Exit;
use crate::ui::{CliError, Console};
use global::GlobalArgs;

/// What anole is asked to do.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "anole",
    version,
    about = "Declare leases, servers, networks and volumes in YAML; anole makes OpenStack and Chameleon match",
    long_about = "anole reads a YAML spec of leases, servers, networks, floating IPs and volumes, compares it with the \
                  live clouds, shows a plan with a reason for every action, and carries it out. Compute comes and goes, \
                  data stays: recreate a server by editing one line, and its volume is attached again untouched.",
    after_help = "Start here, without an account:\n  anole apply specs/quickstart.yaml --embedded --yes\n\n\
                  `anole help COMMAND` says more, with examples. Global options have variables too: ANOLE_DIRECTORY, \
                  ANOLE_STATE, ANOLE_SITE, ANOLE_VAR_<name>, ANOLE_VARS_FILE, ANOLE_JSON, ANOLE_NO_COLOR, \
                  ANOLE_VERBOSE, ANOLE_LOG, ANOLE_EMBEDDED, ANOLE_GUESTS.",
    max_term_width = 100,
    disable_help_subcommand = false
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: GlobalArgs,

    /// The command; without one, the help is shown.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// Reads the arguments of a process, the program's name first.
    ///
    /// # Errors
    /// What clap says of arguments that are not understood, and its help and version texts, which it treats alike.
    pub fn read<I>(args: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = OsString>,
    {
        let args: Vec<OsString> = args.into_iter().collect();
        let mut cli = Self::try_parse_from(&args)?;
        // A global flag before the command and again after it: clap drops the first ones, which is right for a value
        // but would silently lose a `--var`.
        if let Ok(leading) = Leading::command().try_get_matches_from(&args) {
            let said = |id: &str| leading.value_source(id) == Some(ValueSource::CommandLine);
            let global = &mut cli.global;
            if said("variables") {
                prepend(&mut global.variables, leading.get_many("variables"));
            }
            if said("variable_files") {
                prepend(&mut global.variable_files, leading.get_many("variable_files"));
            }
            if said("sites") {
                prepend(&mut global.sites, leading.get_many("sites"));
            }
        }
        Ok(cli)
    }
}

/// The flags before the command.
#[derive(Parser)]
#[command(disable_help_flag = true)]
struct Leading {
    #[command(flatten)]
    _global: GlobalArgs,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<OsString>,
}

/// Puts `first` before `all`, unless it is all there is.
fn prepend<T: Clone + PartialEq + Send + Sync + 'static>(all: &mut Vec<T>, first: Option<ValuesRef<'_, T>>) {
    let first: Vec<T> = first.into_iter().flatten().cloned().collect();
    if *all != first {
        all.splice(0..0, first);
    }
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
#[expect(missing_docs, reason = "each command's help is the documentation of its arguments' type")]
pub enum Command {
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    Destroy(destroy::DestroyArgs),
    Validate(validate::ValidateArgs),
    Show(show::ShowArgs),
    Output(output::OutputArgs),
    Drift(drift::DriftArgs),
    Graph(graph::GraphArgs),
    Import(import::ImportArgs),
    Lease(lease::LeaseArgs),
    State(state::StateArgs),
    Ssh(ssh::SshArgs),
    SshConfig(ssh_config::SshConfigArgs),
    Schema(schema::SchemaArgs),
    Cloud(cloud::CloudArgs),
    #[command(hide = true)]
    Dataset(dataset::DatasetArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// What every command works with.
pub struct Context {
    /// Flags of every command.
    pub global: GlobalArgs,
    /// Where it shows things.
    pub console: Console,
}

impl Context {
    /// The context of these flags, on this process's streams.
    #[must_use]
    pub fn new(global: GlobalArgs) -> Self {
        let console = Console::new(global.json, global.no_color);
        Self { global, console }
    }

    /// Where relative paths of the command line start.
    #[must_use]
    pub fn base(&self) -> std::path::PathBuf {
        self.global.base()
    }
}

/// Runs a command and tells its error, if it ends with one.
#[must_use]
pub fn run(command: Command, cx: &Context) -> Exit {
    let result = logging::install(&cx.global, &cx.console).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .map_err(|error| CliError::context("cannot start the runtime", error))?;
        runtime.block_on(dispatch(command, cx))
    });
    result.unwrap_or_else(|error| {
        cx.console.tell_error(&error);
        error.exit
    })
}

async fn dispatch(command: Command, cx: &Context) -> Result<Exit, CliError> {
    match command {
        Command::Plan(args) => plan::run(args, cx).await,
        Command::Apply(args) => apply::run(args, cx).await,
        Command::Destroy(args) => destroy::run(args, cx).await,
        Command::Validate(args) => validate::run(args, cx).await,
        Command::Show(args) => show::run(args, cx).await,
        Command::Output(args) => output::run(args, cx).await,
        Command::Drift(args) => drift::run(args, cx).await,
        Command::Graph(args) => graph::run(args, cx).await,
        Command::Import(args) => import::run(args, cx).await,
        Command::Lease(args) => lease::run(args, cx).await,
        Command::State(args) => state::run(args, cx).await,
        Command::Ssh(args) => ssh::run(args, cx).await,
        Command::SshConfig(args) => ssh_config::run(args, cx).await,
        Command::Dataset(args) => dataset::run(args, cx).await,
        Command::Schema(args) => schema::run(args, cx).await,
        Command::Cloud(args) => cloud::run(args, cx).await,
        Command::Completions(args) => completions::run(args, cx).await,
        Command::Man(args) => man::run(args, cx).await,
    }
}
