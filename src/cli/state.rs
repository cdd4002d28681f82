//! `anole state …`.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use jiff::Timestamp;

use super::Context;
use crate::engine;
use crate::guest::PinnedKey;
use crate::model::{Address, RemoteId, Value};
use crate::ssh::HostKey;
use crate::state::{self, Entry, Holder, Loaded, Origin, ResourceState, StateStore, Status, edit, format};
use crate::ui::error::Exit;
use crate::ui::{CliError, Styles, table};

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
    /// Forget a server's host key: the next log-in looks at its console log, and remembers the one it shows then
    ForgetKey {
        /// The server: servers.node
        #[arg(value_name = "SERVER")]
        server: Address,
    },
    /// Seal the state's secrets with a new key; the older ones stay in the key file, for other states and for backups
    RotateKey,
    /// Remember a server's host key, in place of the one that is remembered: you looked at it on the server itself
    TrustKey {
        /// The server: servers.node
        #[arg(value_name = "SERVER")]
        server: Address,
        /// The whole public key, quoted: 'ssh-ed25519 AAAA…'
        #[arg(value_name = "KEY")]
        key: String,
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
        /// Take the objects of this lineage, where stamps name several
        #[arg(long, value_name = "LINEAGE")]
        lineage: Option<String>,
        /// Replace a state that is there and sound; it is kept as a backup
        #[arg(long)]
        force: bool,
        /// Write it without asking
        #[arg(short, long)]
        yes: bool,
    },
}

/// Looks at the state, or changes it.
///
/// # Errors
/// When it cannot be read or written, or the change is refused.
pub async fn run(args: StateArgs, cx: &Context) -> Result<Exit, CliError> {
    let settings = cx.settings(&args.specs);
    if let StateCommand::Recover { lineage, force, yes } = args.command {
        return recover(cx, &settings, (lineage.as_deref(), force, yes)).await;
    }
    if matches!(args.command, StateCommand::RotateKey) {
        return rotate_key(cx, &settings);
    }
    let (store, stack) = engine::store(&settings).map_err(|error| cx.failed(error))?;
    match args.command {
        StateCommand::List { addresses } => {
            let loaded = existing(cx, &*store, &stack)?;
            let list = edit::list(&loaded.state, &addresses);
            if cx.console.json {
                let rows: Vec<_> = list
                    .iter()
                    .map(|(address, record)| serde_json::json!({ "address": address, "kind": record.kind, "site": record.site, "id": record.id }))
                    .collect();
                cx.console.print_json(&rows)?;
            } else {
                cx.console.print(&table_of(list.into_iter(), &cx.console.styles))?;
            }
        }
        StateCommand::Show { address } => {
            let loaded = existing(cx, &*store, &stack)?;
            cx.console.print_json(edit::show(&loaded.state, &address).map_err(|error| cx.failed(error.into()))?)?;
        }
        StateCommand::Mv { from, to } => {
            let mut writer = store
                .lock(&Holder::current("anole state mv"), Duration::ZERO)
                .map_err(|error| cx.failed(error.into()))?;
            let mut loaded =
                writer.load().map_err(|error| cx.failed(error.into()))?.ok_or_else(|| no_state(&*store, &stack))?;
            let entries = edit::mv(&loaded, &from, &to).map_err(|error| cx.failed(error.into()))?;
            let count = entries.len();
            entries.into_iter().for_each(|entry| loaded.fold(entry));
            write(cx, &mut *writer, &mut loaded)?;
            cx.console
                .tell(&format!("{from} is {to} from now on ({count} record{}).\n", if count == 1 { "" } else { "s" }));
        }
        StateCommand::Rm { addresses, yes } => return remove(cx, (&*store, &stack), &addresses, yes),
        StateCommand::ForgetKey { server } => return forget_key(cx, (&*store, &stack), &server),
        StateCommand::TrustKey { server, key } => return trust_key(cx, (&*store, &stack), &server, &key),
        StateCommand::Pull => {
            let loaded = existing(cx, &*store, &stack)?;
            let text = format::write(&loaded).map_err(|error| cx.failed(error.into()))?;
            cx.console.print(&text)?;
        }
        StateCommand::Push { file, force } => return push(cx, (&*store, &stack), &file, force),
        StateCommand::Unlock { yes } => {
            let Some(holder) = store.holder().map_err(|error| cx.failed(error.into()))? else {
                cx.console.tell("The state is not locked.\n");
                return Ok(Exit::Success);
            };
            let question = format!("The lock is held by {}. Break it?", holder.describe(Timestamp::now()));
            if !cx.console.confirm(&question, yes)? {
                return Ok(Exit::Failure);
            }
            store.unlock().map_err(|error| cx.failed(error.into()))?;
            cx.console.tell("The lock is gone.\n");
        }
        StateCommand::Recover { .. } | StateCommand::RotateKey => {}
    }
    Ok(Exit::Success)
}

fn rotate_key(cx: &Context, settings: &engine::Settings) -> Result<Exit, CliError> {
    let rotated = engine::rotate_key(settings).map_err(|error| cx.failed(error))?;
    if cx.console.json {
        cx.console.print_json(&serde_json::json!({
            "location": rotated.location, "key": rotated.key, "secrets": rotated.secrets,
        }))?;
        return Ok(Exit::Success);
    }
    let count = rotated.secrets;
    let with =
        rotated.key.map_or_else(|| "the passphrase and a new salt".to_owned(), |key| format!("the new key {key}"));
    cx.console.tell(&format!("{count} secret{} sealed anew with {with}.\n", if count == 1 { " is" } else { "s are" }));
    Ok(Exit::Success)
}

fn forget_key(cx: &Context, (store, stack): (&dyn StateStore, &str), server: &Address) -> Result<Exit, CliError> {
    let holder = Holder::current("anole state forget-key");
    let mut writer = store.lock(&holder, Duration::ZERO).map_err(|error| cx.failed(error.into()))?;
    let mut loaded = writer.load().map_err(|error| cx.failed(error.into()))?.ok_or_else(|| no_state(store, stack))?;
    let id = edit::show(&loaded.state, server).map_err(|error| cx.failed(error.into()))?.id.clone();
    if !loaded.state.guest.host_keys.contains_key(&id) {
        cx.console.tell(&format!("No host key of {server} is remembered.\n"));
        return Ok(Exit::Success);
    }
    loaded.state.guest.host_keys.remove(&id);
    write(cx, &mut *writer, &mut loaded)?;
    cx.console.tell(&format!("The host key of {server} is forgotten.\n"));
    Ok(Exit::Success)
}

fn trust_key(
    cx: &Context,
    (store, stack): (&dyn StateStore, &str),
    server: &Address,
    key: &str,
) -> Result<Exit, CliError> {
    let key = HostKey::parse(key).ok_or_else(|| {
        CliError::new(format!("`{key}` is not a public key"))
            .hint("it is two words, `ssh-ed25519 AAAA…`, in quotes; `ssh-keyscan ADDRESS` prints what a server shows")
    })?;
    let holder = Holder::current("anole state trust-key");
    let mut writer = store.lock(&holder, Duration::ZERO).map_err(|error| cx.failed(error.into()))?;
    let mut loaded = writer.load().map_err(|error| cx.failed(error.into()))?.ok_or_else(|| no_state(store, stack))?;
    let record = edit::show(&loaded.state, server).map_err(|error| cx.failed(error.into()))?.clone();
    if record.kind != "server" {
        return Err(CliError::new(format!("{server} is not a server")));
    }
    let image = record.attributes.get("image").and_then(Value::as_id).map(|id| id.0.clone());
    let fingerprint = key.fingerprint();
    loaded.state.guest.host_keys.insert(record.id, PinnedKey { key: key.to_string(), image });
    write(cx, &mut *writer, &mut loaded)?;
    cx.console.tell(&format!("{server} is known by {fingerprint} from now on.\n"));
    Ok(Exit::Success)
}

fn existing(cx: &Context, store: &dyn StateStore, stack: &str) -> Result<Loaded, CliError> {
    store.load().map_err(|error| cx.failed(error.into()))?.ok_or_else(|| no_state(store, stack))
}

fn no_state(store: &dyn StateStore, stack: &str) -> CliError {
    CliError::new(format!("stack `{stack}` has no state in {}", store.location()))
        .hint("`anole apply` makes one; `anole state recover` rebuilds a lost one")
}

/// Writes a snapshot.
fn write(cx: &Context, writer: &mut dyn state::Writer, loaded: &mut Loaded) -> Result<(), CliError> {
    let begin = Entry::Begin {
        lineage: loaded.state.lineage.clone(),
        stack: loaded.state.stack.clone(),
        serial: loaded.state.serial,
        at: Timestamp::now(),
        sites: loaded.state.sites.clone(),
        variables: loaded.state.variables.clone(),
    };
    writer.begin(&begin).and_then(|()| writer.commit(loaded)).map_err(|error| cx.failed(error.into()))
}

fn remove(
    cx: &Context,
    (store, stack): (&dyn StateStore, &str),
    addresses: &[Address],
    yes: bool,
) -> Result<Exit, CliError> {
    let mut writer =
        store.lock(&Holder::current("anole state rm"), Duration::ZERO).map_err(|error| cx.failed(error.into()))?;
    let mut loaded = writer.load().map_err(|error| cx.failed(error.into()))?.ok_or_else(|| no_state(store, stack))?;
    let mut left = Vec::new();
    for address in addresses {
        let removal = edit::rm(&loaded, address).map_err(|error| cx.failed(error.into()))?;
        for other in &removal.needed_by {
            cx.console.tell(&format!("warning: {other} needs {address}\n"));
        }
        removal.entries.into_iter().for_each(|entry| loaded.fold(entry));
        left.extend(removal.left);
    }
    for object in &left {
        cx.console.tell(&format!(
            "{}: {} {} stays alive on site `{}`\n",
            object.address,
            object.kind.replace('_', " "),
            object.id,
            object.site
        ));
    }
    if !cx.console.confirm("Forget these?", yes)? {
        return Ok(Exit::Failure);
    }
    write(cx, &mut *writer, &mut loaded)?;
    Ok(Exit::Success)
}

fn push(
    cx: &Context,
    (store, stack): (&dyn StateStore, &str),
    file: &std::path::Path,
    force: bool,
) -> Result<Exit, CliError> {
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(cx.base().join(file))
    };
    let text = text.map_err(|error| CliError::context(format!("cannot read {}", file.display()), error))?;
    let mut pushed = format::read(&text).map_err(|problem| not_a_state(file, &problem))?;
    if pushed.state.stack != stack {
        return Err(CliError::new(format!(
            "{} is the state of stack `{}`, not `{stack}`",
            file.display(),
            pushed.state.stack
        )));
    }
    let mut writer =
        store.lock(&Holder::current("anole state push"), Duration::ZERO).map_err(|error| cx.failed(error.into()))?;
    if !force && let Some(kept) = writer.load().map_err(|error| cx.failed(error.into()))? {
        if kept.state.lineage != pushed.state.lineage {
            return Err(CliError::new("the state that is kept has another lineage")
                .hint("`--force` replaces it; it is kept as a backup"));
        }
        if kept.state.serial > pushed.state.serial {
            return Err(CliError::new(format!(
                "the state that is kept is newer: serial {} against {}",
                kept.state.serial, pushed.state.serial
            ))
            .hint("`--force` replaces it; it is kept as a backup"));
        }
    }
    writer.replace(&mut pushed).map_err(|error| cx.failed(error.into()))?;
    cx.console.tell(&format!(
        "The state is serial {} now, with {} resources.\n",
        pushed.state.serial,
        pushed.state.resources.len()
    ));
    Ok(Exit::Success)
}

fn not_a_state(file: &std::path::Path, problem: &format::Problem) -> CliError {
    let file = file.display();
    match problem {
        format::Problem::Newer { tool, version, known } => CliError::new(format!(
            "{file} was written by anole {tool} with state format {version}; this anole knows up to {known}"
        ))
        .hint("upgrade anole"),
        format::Problem::Corrupt { line: Some(line), what } => {
            CliError::new(format!("{file}:{line} is no state: {what}"))
        }
        format::Problem::Corrupt { line: None, what } => CliError::new(format!("{file} is no state: {what}")),
    }
}

async fn recover(
    cx: &Context,
    settings: &engine::Settings,
    (lineage, force, yes): (Option<&str>, bool, bool),
) -> Result<Exit, CliError> {
    if !cx.console.confirm("Rebuild the state from what is live?", yes)? {
        return Ok(Exit::Failure);
    }
    let recovery = engine::recover(settings, lineage, force).await.map_err(|error| cx.failed(error))?;
    let recovered = &recovery.recovered;
    if cx.console.json {
        cx.console.print_json(&serde_json::json!({
            "location": recovery.location, "lineage": recovered.state.lineage, "resources": recovered.state.resources.len(),
            "missing": recovered.missing, "unwanted": recovered.unwanted,
        }))?;
        return Ok(Exit::Success);
    }
    let count = recovered.state.resources.len();
    let mut text =
        format!("Recovered {count} resource{} into {}\n", if count == 1 { "" } else { "s" }, recovery.location);
    text.push_str(&table_of(recovered.state.resources.iter(), &cx.console.styles));
    for address in &recovered.missing {
        text.push_str(&format!("{address}: nothing live was found for it; the next apply makes it\n"));
    }
    for address in &recovered.unwanted {
        text.push_str(&format!(
            "{address}: it is live, but not in the spec; the next apply deletes it unless it is protected\n"
        ));
    }
    cx.console.print(&text)?;
    Ok(Exit::Success)
}

/// Records as a table.
pub fn table_of<'a>(records: impl Iterator<Item = (&'a Address, &'a ResourceState)>, styles: &Styles) -> String {
    let rows: Vec<[String; 5]> = records
        .map(|(address, record)| {
            let RemoteId(id) = &record.id;
            let mut words = Vec::new();
            if record.protect {
                words.push("protected");
            }
            match record.origin {
                Origin::Adopted => words.push("adopted"),
                Origin::Imported => words.push("imported"),
                Origin::Created => {}
            }
            match record.status {
                Status::Accepted => words.push("not ready"),
                Status::Failed(_) => words.push("failed"),
                Status::Ready => {}
            }
            [address.to_string(), record.kind.replace('_', " "), record.site.0.clone(), id.clone(), words.join(", ")]
        })
        .collect();
    table::render(["ADDRESS", "KIND", "SITE", "ID", ""], &rows, styles)
}
