//! Guests: the servers of an embedded cloud as virtual machines on this computer, their volumes as its files, and
//! floating IPs as addresses of its loopback.
//!
//! In: the cloud's documents, at each request. Out: machines that are as the documents want them; which servers are not
//! so far yet, and which cannot be ([`Progress`]).
//!
//! ```text
//! documents ─ wanted ─▶ Wanted ─ reconcile ─▶ machine: one QEMU, started and ended    ┐ <cloud>/guests/<server>/
//!                                          ─▶ plug: disks and forwards of a running one ┘   over qmp
//!                                          ─▶ <cloud>/guests/volumes/<volume>.raw
//! identity: what a resumed machine is told it is      image: the template that all are resumed from
//! ```
//!
//! A new server is the saved template on a root disk of its own; seconds later it answers by SSH. One that was stopped,
//! or whose process died, boots from its root disk.
//!
//! Invariants:
//! - Nothing is remembered of the machines but what they say themselves and `machine.json`: whatever a process left
//!   half-way, the next request mends.
//! - A machine outlives the process that started it. All of a cloud's machines are in its folder, and a server that is
//!   gone leaves neither process nor file.
//! - What was disconnected is disconnected everywhere before anything is connected: a volume, an address, has one guest.
//! - Machines listen on loopback only.

pub mod identity;
pub mod image;
pub mod machine;
pub mod plug;
pub mod qmp;
pub mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use machine::{Disk, Machine, Record, Start};
use plug::Plugged;
use qmp::{Qmp, QmpError};
use serde_json::json;
use wanted::{Guest, Wanted};

use super::Profile;
use super::clock;
use super::tables::{Fields, State};

/// How long a guest may take to shut down before it is ended, in milliseconds.
const SHUTDOWN: i64 = 20_000;
/// How often a machine is started that is never seen running.
const TRIES: u32 = 3;
/// How much of a console the service gives.
const CONSOLE: usize = 100 * 1024;

/// Why a machine is not as wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be used.
    #[error("cannot {what} {}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A program is not there.
    #[error("cannot run {name}; the package qemu-system-x86 or qemu-utils may be missing")]
    Program {
        /// The program.
        name: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// Programs for the image are missing.
    #[error("programs are missing; install them with `apt-get install {packages}`")]
    Tools {
        /// The packages that have them.
        packages: String,
    },
    /// There is no template.
    #[error("the guests' image is not built: build it with `anole cloud image`")]
    NoImage,
    /// There is no cache to keep the image in.
    #[error("there is no home folder to keep the guests' image in; name another with {}", image::VARIABLE)]
    NoHome,
    /// The image cannot be made.
    #[error("the guests' image cannot be built:\n{said}")]
    Build {
        /// The end of what was said.
        said: String,
    },
    /// QEMU does not start.
    #[error("QEMU does not start: {said}")]
    Start {
        /// What it says.
        said: String,
    },
    /// A killed process is still there.
    #[error("the machine's process {pid} does not end")]
    Stays {
        /// The process.
        pid: u32,
    },
    /// More is to be told to a guest than there is room for.
    #[error("what the guest is to be told is too long: {length} bytes")]
    Identity {
        /// How long.
        length: usize,
    },
    /// The machine does not do as told.
    #[error(transparent)]
    Qmp(#[from] QmpError),
}

impl Error {
    fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }

    fn program(name: &'static str, source: std::io::Error) -> Self {
        Self::Program { name, source }
    }

    /// The error and what is below it, in one line.
    #[must_use]
    pub fn whole(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        text
    }
}

/// How far the machines are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Servers whose machine is not as wanted yet.
    pub held: BTreeSet<String>,
    /// Servers whose machine cannot be as wanted, and why.
    pub failed: BTreeMap<String, String>,
}

/// The machines of one cloud.
pub struct Host {
    folder: PathBuf,
    profile: Profile,
    /// What was wanted when all was as wanted, with each running machine's process.
    settled: Option<(Wanted, BTreeMap<String, u32>)>,
    /// Addresses that this computer refused: told once.
    refused: BTreeMap<Ipv4Addr, String>,
}

/// A running machine, and what it has.
struct Running<'a> {
    id: &'a str,
    guest: &'a Guest,
    pid: u32,
    qmp: Qmp,
    plugged: Plugged,
}

impl Host {
    /// The machines of the cloud kept in `cloud`, an absolute path.
    #[must_use]
    pub fn new(cloud: &Path, profile: Profile) -> Self {
        Self { folder: cloud.join("guests"), profile, settled: None, refused: BTreeMap::new() }
    }

    /// The folder of all machines.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Brings the machines to what the documents want, as far as that goes without waiting for long.
    pub fn reconcile(&mut self, state: &State) -> Progress {
        let wanted = Wanted::of(state, self.profile);
        if self.is_settled(&wanted) {
            return Progress::default();
        }
        self.settled = None;
        let mut progress = Progress::default();
        let running = match self.change(&wanted, &mut progress) {
            Ok(running) => running,
            Err(error) => {
                tracing::error!("the embedded cloud's machines: {}", error.whole());
                progress.held.extend(wanted.guests.keys().cloned());
                return progress;
            }
        };
        if progress == Progress::default() {
            self.settled = Some((wanted, running));
        }
        progress
    }

    fn is_settled(&self, wanted: &Wanted) -> bool {
        let Some((before, running)) = &self.settled else { return false };
        before == wanted && running.iter().all(|(id, pid)| self.machine(id).is_ours(*pid))
    }

    fn machine(&self, id: &str) -> Machine {
        Machine::at(self.folder.join(id))
    }

    fn volumes(&self) -> PathBuf {
        self.folder.join("volumes")
    }

    /// Gives each running machine's process.
    fn change(&mut self, wanted: &Wanted, progress: &mut Progress) -> Result<BTreeMap<String, u32>, Error> {
        self.remove_strangers(wanted)?;
        self.size_volumes(wanted)?;
        let (mut running, mut idle) = (Vec::new(), Vec::new());
        for (id, guest) in &wanted.guests {
            match self.look(id, guest) {
                Ok(Look::Idle) => idle.push((id, guest)),
                Ok(Look::Running(one)) => running.push(one),
                Ok(Look::Wait) => {
                    progress.held.insert(id.clone());
                }
                Err(error) => hold(progress, id, &error),
            }
        }
        running.retain_mut(|one| {
            let Running { id, guest, qmp, plugged, .. } = &mut **one;
            match plug::release(qmp, plugged, &guest.disks, &guest.forwards) {
                Ok(true) => true,
                Ok(false) => {
                    progress.held.insert((*id).to_owned());
                    true
                }
                Err(error) => {
                    hold(progress, id, &error.into());
                    false
                }
            }
        });
        for (id, guest) in idle.into_iter().filter(|(_, guest)| guest.on) {
            match self.start(id, guest) {
                Ok(()) => {
                    progress.held.insert(id.clone());
                }
                // It runs, and is asked again.
                Err(error @ Error::Qmp(_)) => hold(progress, id, &error),
                Err(error) => {
                    progress.failed.insert(id.clone(), error.whole());
                }
            }
        }
        let mut pids = BTreeMap::new();
        for mut one in running {
            pids.insert(one.id.to_owned(), one.pid);
            if let Err(error) = self.connect(&mut one, wanted) {
                hold(progress, one.id, &error);
            }
        }
        self.remove_files(wanted)?;
        Ok(pids)
    }

    /// Ends machines of servers that are gone.
    fn remove_strangers(&self, wanted: &Wanted) -> Result<(), Error> {
        for name in entries(&self.folder)? {
            if name != "volumes" && !wanted.guests.contains_key(&name) {
                self.machine(&name).remove()?;
            }
        }
        Ok(())
    }

    /// Gives every volume a sparse file of its size.
    fn size_volumes(&self, wanted: &Wanted) -> Result<(), Error> {
        let folder = self.volumes();
        std::fs::create_dir_all(&folder).map_err(|source| Error::io("make", &folder, source))?;
        for (id, size) in &wanted.volumes {
            let path = plug::file(&folder, id);
            let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            let grown = opened.and_then(|file| match file.metadata()?.len() {
                now if now < *size => file.set_len(*size),
                _ => Ok(()),
            });
            grown.map_err(|source| Error::io("make", &path, source))?;
        }
        Ok(())
    }

    fn remove_files(&self, wanted: &Wanted) -> Result<(), Error> {
        let folder = self.volumes();
        for name in entries(&folder)? {
            if name.strip_suffix(".raw").is_some_and(|id| !wanted.volumes.contains_key(id)) {
                let path = folder.join(name);
                std::fs::remove_file(&path).map_err(|source| Error::io("remove", &path, source))?;
            }
        }
        Ok(())
    }

    /// How a machine is; takes one down that is not to run, or not as it does.
    fn look<'a>(&self, id: &'a str, guest: &'a Guest) -> Result<Look<'a>, Error> {
        let machine = self.machine(id);
        let Some(mut record) = machine.record()?.filter(|record| record.build == guest.build) else {
            // Another root disk, or one whose making was interrupted.
            machine.remove()?;
            return Ok(Look::Idle);
        };
        let Some(pid) = machine.pid() else { return Ok(Look::Idle) };
        if !guest.on || record.boot != guest.boot {
            return take_down(&machine, &mut record, guest.gently);
        }
        let mut qmp = Qmp::connect(machine.folder())?;
        let status = qmp.execute("query-status", json!({}))?;
        if status.text("status") != "running" {
            return Ok(Look::Wait);
        }
        if record.tries > 0 {
            record.tries = 0;
            machine.note(&record)?;
        }
        let plugged = Plugged::of(&mut qmp)?;
        Ok(Look::Running(Box::new(Running { id, guest, pid, qmp, plugged })))
    }

    /// Starts a machine: resumed from the template when it is new, else booted with its disks.
    ///
    /// Its addresses lead to it from then on, so that it can be reached though nobody asks the cloud of it any more.
    fn start(&mut self, id: &str, guest: &Guest) -> Result<(), Error> {
        let (machine, template) = (self.machine(id), image::find()?);
        let before = machine.record()?;
        let tries = before.as_ref().map_or(0, |record| record.tries);
        if tries >= TRIES {
            let said = format!("it was tried {tries} times and does not come up; {}", machine.said());
            return Err(Error::Start { said });
        }
        let record = Record { build: guest.build, boot: guest.boot, asked_down: None, tries: tries + 1 };
        if before.is_some() {
            let disks: Vec<Disk> = guest
                .disks
                .iter()
                .zip(0..machine::SLOTS)
                .map(|(volume, slot)| Disk {
                    serial: plug::serial(volume),
                    path: plug::file(&self.volumes(), volume),
                    slot,
                })
                .collect();
            machine.note(&record)?;
            machine.start(&template, &Start::Booted(&disks))?;
            return self.forward(&mut Qmp::connect(machine.folder())?, &mut Plugged::default(), guest);
        }
        let seed = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        machine.make(&template, &guest.identity.file(clock::system() / 1000, &seed)?)?;
        machine.start(&template, &Start::Resumed)?;
        machine.note(&record)?;
        self.forward(&mut Qmp::connect(machine.folder())?, &mut Plugged::default(), guest)
    }

    /// Plugs in and forwards what a running machine has not yet.
    fn connect(&mut self, one: &mut Running<'_>, wanted: &Wanted) -> Result<(), Error> {
        let volumes = self.volumes();
        plug::take(&mut one.qmp, &mut one.plugged, &one.guest.disks, &wanted.volumes, &volumes)?;
        self.forward(&mut one.qmp, &mut one.plugged, one.guest)
    }

    fn forward(&mut self, qmp: &mut Qmp, plugged: &mut Plugged, guest: &Guest) -> Result<(), Error> {
        for (address, said) in plug::forward(qmp, plugged, &guest.forwards)? {
            if self.refused.insert(address, said.clone()).is_none() {
                tracing::warn!(
                    "{address} leads nowhere, for port 22 of it cannot be taken ({said}); without root, `sysctl \
                     net.ipv4.ip_unprivileged_port_start=22` lets everybody take it"
                );
            }
        }
        Ok(())
    }
}

/// How a machine was found.
enum Look<'a> {
    /// It does not run.
    Idle,
    /// It is on its way up or down.
    Wait,
    /// It runs, as the same boot of the same build.
    Running(Box<Running<'a>>),
}

/// Has a guest shut down, or ends it.
fn take_down<'a>(machine: &Machine, record: &mut Record, gently: bool) -> Result<Look<'a>, Error> {
    let now = clock::system();
    match record.asked_down {
        None if gently => {
            record.asked_down = Some(now);
            machine.note(record)?;
            let asked = Qmp::connect(machine.folder()).and_then(|mut qmp| qmp.execute("system_powerdown", json!({})));
            if asked.is_ok() {
                return Ok(Look::Wait);
            }
        }
        Some(asked) if gently && now - asked < SHUTDOWN => return Ok(Look::Wait),
        _ => {}
    }
    machine.kill()?;
    Ok(Look::Idle)
}

fn hold(progress: &mut Progress, id: &str, error: &Error) {
    tracing::warn!("the machine of server {id}: {}", error.whole());
    progress.held.insert(id.to_owned());
}

/// The names in a folder; none if it is not there.
fn entries(folder: &Path) -> Result<Vec<String>, Error> {
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::io("list", folder, source)),
    };
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.map_err(|source| Error::io("list", folder, source))?;
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
}

/// What a server's console said last; `lines` of it, or all that the service gives.
#[must_use]
pub fn console(folder: &Path, server: &str, lines: Option<usize>) -> String {
    let bytes = std::fs::read(folder.join(server).join("console.log")).unwrap_or_default();
    let last = &bytes[bytes.len().saturating_sub(CONSOLE)..];
    let text = String::from_utf8_lossy(last);
    match lines {
        None => text.into_owned(),
        Some(lines) => {
            let all: Vec<&str> = text.split_inclusive('\n').collect();
            all[all.len().saturating_sub(lines)..].concat()
        }
    }
}

#[cfg(test)]
mod tests;
