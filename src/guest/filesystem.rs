//! Filesystems on volumes: found, made once, mounted, grown, unmounted.
//!
//! In: a guest, a volume and what is wanted of it. Out: what is mounted where. Each program does one thing and decides
//! nothing; what to do is [`disk::decide`]'s. Invariants:
//! - The ids of a filesystem are remembered before it is made, and that it was made before it is mounted.
//! - What is there already is success.

use std::time::Duration;

use uuid::Uuid;

use super::disk::{self, Decision, Probe, Wanted};
use super::memory::{Filesystem, Memory, Phase};
use super::shell::Program;
use super::{Facts, Guest, GuestError, Tell};
use crate::model::RemoteId;
use crate::ssh::{End, Ended};

const MAKE: &str = include_str!("make.sh");
const CHECK: &str = include_str!("check.sh");
const GROW: &str = include_str!("grow.sh");
const MOUNT: &str = include_str!("mount.sh");
const UNMOUNT: &str = concat!(include_str!("users.sh"), include_str!("unmount.sh"));

/// How long the disk of an attached volume may take to show in the guest.
const APPEARS: Duration = Duration::from_secs(60);
/// A large volume takes its time.
const MAKING: Duration = Duration::from_secs(1800);
/// What a program says that cannot unmount, because somebody uses what is mounted.
pub(super) const BUSY: End = End::Status(75);

/// A volume in a guest, and what is wanted of it.
#[derive(Debug, Clone)]
pub struct Volume<'a> {
    /// The volume.
    pub id: &'a RemoteId,
    /// What people call it.
    pub label: String,
    /// Its size in GiB.
    pub size: u64,
    /// The filesystem that the spec asks for.
    pub filesystem: Option<&'a str>,
    /// Whether a new one is made on a partition.
    pub partition: bool,
    /// The filesystem's UUID that the volume's metadata remembers.
    pub noted: Option<String>,
}

/// Where and how a filesystem is mounted.
#[derive(Debug, Clone, Default)]
pub struct Mount<'a> {
    /// The folder.
    pub path: &'a str,
    /// More mount options.
    pub options: Vec<&'a str>,
    /// Whether for reading only.
    pub read_only: bool,
    /// Whose the folder is.
    pub owner: &'a str,
    /// The folder's group.
    pub group: &'a str,
    /// The folder's permissions, in octal.
    pub mode: &'a str,
    /// The line of fstab that says whose the entry is.
    pub tag: String,
}

/// A filesystem that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The volume's disk.
    pub disk: String,
    /// The device that it is on.
    pub device: String,
    /// Its type.
    pub kind: String,
    /// Its UUID.
    pub uuid: String,
}

/// Finds the filesystem on a volume, or makes one where that is allowed.
///
/// # Errors
/// Where nothing may be done, or a program failed; then the next apply looks again.
pub async fn ready(guest: &Guest, volume: &Volume<'_>, memory: &dyn Memory, tell: &Tell) -> Result<Found, GuestError> {
    tell("looking at the disk");
    let disk = disk_of(guest, volume).await?;
    let remembered = memory.filesystem(volume.id);
    let deep = remembered.as_ref().is_none_or(|filesystem| filesystem.phase != Phase::Made);
    let probe = Program::new(format!("looking at {disk}"), disk::PROBE)
        .value("disk", &disk)
        .value("deep", if deep { "yes" } else { "no" });
    let probe = Probe::parse(&guest.output(&probe).await?)?;
    let wanted = Wanted {
        disk: &disk,
        volume: &volume.label,
        size: volume.size << 30,
        origin: memory.origin(volume.id),
        filesystem: volume.filesystem,
        remembered: remembered.as_ref(),
        noted: volume.noted.as_deref(),
    };
    let (planned, again) = match disk::decide(&probe, &wanted)? {
        Decision::Take { device, kind, uuid } => {
            let found = Found { disk, device, kind, uuid };
            remember_made(memory, volume.id, &found, remembered).await?;
            return Ok(found);
        }
        Decision::MakeAgain { device } => {
            let Some(mut planned) = remembered else {
                return Err(GuestError::refused("a filesystem is to be made again of which nothing is remembered"));
            };
            if let Some(device) = device
                && guest.run(&check(&device, &planned.kind)).await?.success()
            {
                let found = Found { disk, device, kind: planned.kind.clone(), uuid: planned.uuid.clone() };
                remember_made(memory, volume.id, &found, Some(planned)).await?;
                return Ok(found);
            }
            if let Some(kind) = volume.filesystem.filter(|kind| *kind != planned.kind) {
                kind.clone_into(&mut planned.kind);
                memory.remember(volume.id, planned.clone()).await?;
            }
            (planned, true)
        }
        Decision::Make => {
            // An earlier intent that came to nothing keeps its ids: nothing of it is on the disk.
            let kind = volume.filesystem.unwrap_or_default();
            let same = |one: &Filesystem| one.kind == kind && one.partuuid.is_some() == volume.partition;
            let planned = remembered.filter(same).unwrap_or_else(|| Filesystem {
                kind: kind.to_owned(),
                uuid: Uuid::new_v4().to_string(),
                partuuid: volume.partition.then(|| Uuid::new_v4().to_string()),
                phase: Phase::Intended,
            });
            memory.remember(volume.id, planned.clone()).await?;
            (planned, false)
        }
    };
    tell(&format!("making {}", planned.kind));
    let found = make(guest, &disk, &planned, again).await?;
    remember_made(memory, volume.id, &found, Some(planned)).await?;
    Ok(found)
}

async fn remember_made(
    memory: &dyn Memory,
    volume: &RemoteId,
    found: &Found,
    remembered: Option<Filesystem>,
) -> Result<(), GuestError> {
    let partuuid = remembered.as_ref().and_then(|filesystem| filesystem.partuuid.clone());
    let made = Filesystem { kind: found.kind.clone(), uuid: found.uuid.clone(), partuuid, phase: Phase::Made };
    if remembered.as_ref() == Some(&made) { Ok(()) } else { memory.remember(volume, made).await }
}

/// The disk of a volume: it shows a moment after the volume was attached.
async fn disk_of(guest: &Guest, volume: &Volume<'_>) -> Result<String, GuestError> {
    let began = tokio::time::Instant::now();
    loop {
        let facts = guest.facts().await?;
        if let Some(disk) = facts.disk(&volume.id.0) {
            return Ok(disk.path.clone());
        }
        if began.elapsed() > APPEARS {
            let serial = crate::kinds::volume::serial(&volume.id.0);
            let disks = facts.devices.iter().filter(|device| device.sort == "disk");
            let disks: Vec<_> = disks.map(|disk| format!("{} ({})", disk.path, shown_serial(&disk.serial))).collect();
            return Err(GuestError::refused_with(
                format!(
                    "the server shows no disk with serial {serial}, which volume {} has; it shows {}",
                    volume.label,
                    disks.join(", ")
                ),
                "its image may not take disks while it runs: reboot the server (`openstack server reboot`), and apply again",
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn shown_serial(serial: &str) -> String {
    if serial.is_empty() { "no serial".to_owned() } else { format!("serial {serial}") }
}

fn check(device: &str, kind: &str) -> Program {
    Program::new(format!("checking {device}"), CHECK).value("device", device).value("kind", kind).timeout(MAKING)
}

async fn make(guest: &Guest, disk: &str, planned: &Filesystem, again: bool) -> Result<Found, GuestError> {
    let Filesystem { kind, uuid, partuuid, .. } = planned;
    let program = Program::new(format!("making {kind} on {disk}"), MAKE)
        .value("disk", disk)
        .value("kind", kind)
        .value("uuid", uuid)
        .value("partuuid", partuuid.as_deref().unwrap_or_default())
        .value("again", if again { "yes" } else { "no" })
        .timeout(MAKING);
    let said = guest.output(&program).await?;
    let device = said.lines().find_map(|line| line.strip_prefix("made "));
    let device =
        device.ok_or_else(|| GuestError::refused(format!("{disk}: the server did not say where {kind} was made")))?;
    Ok(Found { disk: disk.to_owned(), device: device.to_owned(), kind: kind.clone(), uuid: uuid.clone() })
}

/// Mounts a filesystem, now and after every boot, lets it fill its disk, and gives its folder to its owner.
///
/// # Errors
/// When something is in the way; what that is.
pub async fn mount(guest: &Guest, found: &Found, mount: &Mount<'_>, tell: &Tell) -> Result<(), GuestError> {
    let facts = guest.facts().await?;
    if let Some(elsewhere) = mounted_elsewhere(&facts, found, mount.path) {
        tell(&format!("unmounting {elsewhere}"));
        unmount(guest, &found.uuid, &mount.tag, &elsewhere).await?;
    }
    tell(&format!("mounting {}", mount.path));
    let mut options = vec!["defaults", "nofail"];
    options.extend(mount.read_only.then_some("ro"));
    options.extend(&mount.options);
    let program = Program::new(format!("mounting {}", mount.path), MOUNT)
        .value("uuid", &found.uuid)
        .value("device", &found.device)
        .value("kind", &found.kind)
        .value("path", mount.path)
        .value("options", &options.join(","))
        .value("owner", mount.owner)
        .value("group", mount.group)
        .value("mode", mount.mode)
        .value("tag", &mount.tag);
    let said = guest.output(&program).await?;
    if said.lines().any(|line| line.starts_with("hides ")) {
        tracing::warn!("{} was not empty: what was in it is hidden while the volume is mounted there", mount.path);
    }
    if mount.read_only {
        return Ok(());
    }
    let grow = Program::new(format!("growing the filesystem at {}", mount.path), GROW)
        .value("disk", &found.disk)
        .value("device", &found.device)
        .value("kind", &found.kind)
        .value("path", mount.path)
        .timeout(MAKING);
    guest.output(&grow).await.map(drop)
}

/// Where the filesystem is mounted, if not at that path.
fn mounted_elsewhere(facts: &Facts, found: &Found, path: &str) -> Option<String> {
    let device = facts.devices.iter().find(|device| device.path == found.device)?;
    let mounts = facts.mounted_at(device);
    let here = mounts.iter().any(|mounted| mounted.path == path);
    if here { None } else { mounts.first().map(|mounted| mounted.path.clone()) }
}

/// Unmounts a filesystem wherever it is mounted, and forgets about it at the next boot.
///
/// # Errors
/// Where somebody uses it: who does.
pub async fn unmount(guest: &Guest, uuid: &str, tag: &str, path: &str) -> Result<(), GuestError> {
    let program = Program::new(format!("unmounting {path}"), UNMOUNT).value("uuid", uuid).value("tag", tag);
    let ended = guest.run(&program).await?;
    if ended.end == BUSY {
        return Err(busy(&ended, path));
    }
    ended.check()?;
    Ok(())
}

pub(super) fn busy(ended: &Ended, path: &str) -> GuestError {
    let said = ended.stderr.text();
    let users: Vec<_> = said
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("busy ")?.splitn(3, ' ');
            let (pid, user) = (words.next()?, words.next()?);
            Some(format!("{} (pid {pid}, {user})", words.next().unwrap_or_default().trim()))
        })
        .collect();
    let who = match users.is_empty() {
        true => format!("no process shows ({})", said.lines().next().unwrap_or_default()),
        false => users.join("; "),
    };
    GuestError::refused_with(
        format!("{path} is in use and stays mounted: {who}"),
        "end what uses it and apply again; a script with `uses:` and `stop:` does that by itself",
    )
}
