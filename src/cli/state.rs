//! `anole state …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use crate::model::Address;

/// Look at, and repair, what anole remembers of a stack
#[derive(Debug, Clone, Args)]
pub struct StateArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: StateCommand,

    /// Spec file, or folder of them (repeatable) [default: anole.yaml, else the only spec in specs/]
    #[arg(short = 'f', long = "file", value_name = "SPEC", env = "ANOLE_FILE", hide_env = true, global = true,
          value_hint = ValueHint::AnyPath)]
    pub specs: Vec<PathBuf>,
}

/// What to do with a state.
#[derive(Debug, Clone, Subcommand)]
pub enum StateCommand {
    /// List the resources with their ids
    List {
        /// Only these, with their instances and parts
        #[arg(value_name = "ADDRESS")]
        addresses: Vec<Address>,
    },
    /// Show all that is recorded of a resource
    Show {
        /// The resource
        #[arg(value_name = "ADDRESS")]
        address: Address,
    },
    /// Give a record another address; `was:` in the spec does the same in a plan
    Mv {
        /// The address it has
        #[arg(value_name = "FROM")]
        from: Address,
        /// The address it gets
        #[arg(value_name = "TO")]
        to: Address,
    },
    /// Forget resources: the objects stay and are nobody's
    Rm {
        /// The resources, with their instances and parts
        #[arg(value_name = "ADDRESS", required = true)]
        addresses: Vec<Address>,
        /// Forget without asking
        #[arg(short, long)]
        yes: bool,
    },
    /// Print the state file
    Pull,
    /// Replace the state by a file, which `pull` printed and somebody repaired
    Push {
        /// The file; - is standard input
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Replace even a state with another lineage or a higher serial
        #[arg(long)]
        force: bool,
    },
    /// Break a lock that was left behind by a machine that is gone
    Unlock {
        /// Break it without asking
        #[arg(short, long)]
        yes: bool,
    },
    /// Rebuild a lost state from the stamps on the live objects
    Recover {
        /// Write it without asking
        #[arg(short, long)]
        yes: bool,
    },
}
