//! `anole cloud serve`, and `anole cloud image`.

use std::net::Ipv4Addr;

use tokio::net::TcpListener;

use super::Context;
use super::signals::watch_signals;
use crate::embedded::{self, guests};
use crate::engine;
use crate::ui::CliError;
use crate::ui::error::Exit;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// Run the embedded cloud on a port; build the image of its virtual machines
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
        OS_CLIENT_CONFIG_FILE=clouds.yaml openstack --os-cloud chameleon-kvm server list")]
    Serve(ServeArgs),
    /// Build the image that `--guests qemu` makes virtual machines from, unless it is built
    #[command(after_long_help = "It is kept in ~/.cache/anole/guests, or the folder that ANOLE_GUEST_IMAGE names.\n\n\
        Example:\n  anole cloud image && anole apply specs/block.yaml --embedded --guests qemu")]
    Image,
    /// Serve a cloud's buckets to virtual machines, for as long as there are any
    #[command(hide = true)]
    Keep(KeepArgs),
}

/// Which cloud.
#[derive(Debug, Clone, Args)]
pub struct KeepArgs {
    /// Which site it is like
    #[arg(long, value_name = "PROFILE")]
    pub profile: String,

    /// Where its objects are kept
    #[arg(long, value_name = "FOLDER")]
    pub folder: PathBuf,
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

/// Serves the embedded cloud until a signal, or builds its machines' image.
///
/// # Errors
/// When the port is taken, or the cloud's folder cannot be used; when the image cannot be built.
pub async fn run(args: CloudArgs, cx: &Context) -> Result<Exit, CliError> {
    match args.command {
        CloudCommand::Serve(args) => serve(args, cx).await,
        CloudCommand::Image => image(cx),
        CloudCommand::Keep(args) => keep(args, cx).await,
    }
}

fn image(cx: &Context) -> Result<Exit, CliError> {
    let folder = guests::image::build(&mut |step| cx.console.tell(&format!("{step}\n"))).map_err(CliError::wrap)?;
    cx.console.print(&format!("{}\n", folder.display()))?;
    Ok(Exit::Success)
}

/// It is started by anole alone: what it prints is for its log.
async fn keep(args: KeepArgs, cx: &Context) -> Result<Exit, CliError> {
    let settings = cx.settings(&[]);
    let guests = settings.guests.unwrap_or_default();
    let cloud =
        engine::open_embedded(&args.folder, &args.profile, guests, &settings).map_err(|error| cx.failed(error))?;
    let mut stop = watch_signals(|_| {})?;
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    embedded::keeper::keep(cloud, &args.folder, stopped).await.map_err(CliError::wrap)?;
    Ok(Exit::Success)
}

async fn serve(args: ServeArgs, cx: &Context) -> Result<Exit, CliError> {
    let folder = args.folder.unwrap_or_else(|| PathBuf::from("state/embedded/clouds").join(&args.profile));
    let settings = cx.settings(&[]);
    let guests = settings.guests.unwrap_or_default();
    let cloud = engine::open_embedded(&cx.base().join(folder), &args.profile, guests, &settings)
        .map_err(|error| cx.failed(error))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
        .await
        .map_err(|error| CliError::context(format!("cannot listen on 127.0.0.1:{}", args.port), error))?;
    let address = listener.local_addr().map_err(CliError::wrap)?;
    cx.console.print(&cloud.clouds_yaml(&format!("http://{address}")))?;
    cx.console.tell(&format!("Serving {} on http://{address}; Ctrl-C ends it.\n", args.profile));
    let mut stop = watch_signals(|_| {})?;
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    embedded::serve(cloud, listener, stopped).await.map_err(CliError::wrap)?;
    Ok(Exit::Success)
}
