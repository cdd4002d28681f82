//! `anole cloud serve`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// Run the embedded cloud on a port
#[derive(Debug, Clone, Args)]
pub struct CloudArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CloudCommand,
}

/// What to do with the embedded cloud.
#[derive(Debug, Clone, Subcommand)]
pub enum CloudCommand {
    /// Serve the OpenStack APIs on a loopback port, and print a clouds.yaml for it
    #[command(after_long_help = "Example:\n  anole cloud serve > clouds.yaml &\n  \
        OS_CLIENT_CONFIG_FILE=clouds.yaml openstack --os-cloud embedded server list")]
    Serve(ServeArgs),
}

/// Where, and which cloud.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,

    /// Which site it is like
    #[arg(long, value_name = "PROFILE", default_value = "chameleon-kvm")]
    pub profile: String,

    /// Where its objects are kept [default: state/embedded/clouds/<profile>]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub folder: Option<PathBuf>,
}
