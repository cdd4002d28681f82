//! The guests' image: where it is kept, whether it is current, and how it is made.
//!
//! In: the scripts beside this file, Debian's packages. Out: a [`Template`]: root disk, kernel, and the saved state of a
//! machine that booted from them and waits for its identity.
//!
//! Invariants:
//! - A template's folder is named by what it was made of: the scripts, and the version of QEMU, whose saved states other
//!   versions need not read. It is there whole or not at all, and never changes: the disks of guests lie over it.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use etcetera::BaseStrategy;
use ring::digest;
use serde_json::json;

use super::Error;
use super::identity::{Identity, quote};
use super::machine::{Machine, QEMU, QEMU_IMG, Record, Start, Template};
use super::qmp::Qmp;
use crate::embedded::tables::Fields;

/// Names the folder of images.
pub const VARIABLE: &str = "ANOLE_GUEST_IMAGE";

const SCRIPTS: [(&str, &str); 4] = [
    ("build.sh", include_str!("image/build.sh")),
    ("customize.sh", include_str!("image/customize.sh")),
    ("disk.sh", include_str!("image/disk.sh")),
    ("guest.sh", include_str!("image/guest.sh")),
];

/// What making an image runs, and the packages that have it.
const TOOLS: [(&str, &str); 6] = [
    ("mmdebstrap", "mmdebstrap"),
    ("cpio", "cpio"),
    ("mke2fs", "e2fsprogs"),
    ("tar", "tar"),
    (QEMU, "qemu-system-x86"),
    (QEMU_IMG, "qemu-utils"),
];

/// How the folders of unfinished images begin.
const MAKING: &str = ".making-";

/// What a guest says when it waits for its identity.
const WAITS: &str = "GUEST-WAITS";
/// How long its first boot may take, and how long what else it starts is given to come to rest.
const BOOT: Duration = Duration::from_secs(240);
const REST: Duration = Duration::from_secs(4);

/// The folder of images: `ANOLE_GUEST_IMAGE`, else `anole/guests` in the user's cache.
///
/// # Errors
/// When the user has no home.
pub fn folder() -> Result<PathBuf, Error> {
    if let Some(folder) = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        return std::path::absolute(&folder).map_err(|source| Error::io("find", Path::new(&folder), source));
    }
    let user = etcetera::choose_base_strategy().map_err(|_| Error::NoHome)?;
    Ok(user.cache_dir().join("anole").join("guests"))
}

/// The current template.
///
/// # Errors
/// [`Error::NoImage`] when it is not built; when QEMU is not there.
pub fn find() -> Result<Template, Error> {
    let template = Template { folder: folder()?.join(version()?) };
    if template.folder.join("state").exists() { Ok(template) } else { Err(Error::NoImage) }
}

/// What the current image is made of, in twelve digits.
fn version() -> Result<String, Error> {
    let said = Command::new(QEMU).arg("--version").stdin(Stdio::null()).output();
    let said = said.map_err(|source| Error::program(QEMU, source))?;
    let mut parts = digest::Context::new(&digest::SHA256);
    for (name, text) in SCRIPTS {
        parts.update(name.as_bytes());
        parts.update(text.as_bytes());
    }
    parts.update(said.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default());
    Ok(crate::hex::encode(&parts.finish().as_ref()[..6]))
}

/// Makes the image, unless it is there. Tells each step, and gives the folder.
///
/// # Errors
/// When a program is missing or fails.
pub fn build(tell: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    check_tools()?;
    match find() {
        Ok(template) => return Ok(template.folder),
        Err(Error::NoImage) => {}
        Err(error) => return Err(error),
    }
    let (all, version) = (folder()?, version()?);
    std::fs::create_dir_all(&all).map_err(|source| Error::io("make", &all, source))?;
    let path = all.join("lock");
    let lock = File::create(&path).map_err(|source| Error::io("make", &path, source))?;
    lock.lock().map_err(|source| Error::io("lock", &path, source))?;
    if let Ok(template) = find() {
        // Somebody else built it in the meantime.
        return Ok(template.folder);
    }
    remove_unfinished(&all)?;
    let target = all.join(version);
    make(&all, &target, tell)?;
    Ok(target)
}

/// Ends and removes what an interrupted build left; nobody else builds now.
fn remove_unfinished(all: &Path) -> Result<(), Error> {
    for name in super::entries(all)?.iter().filter(|name| name.starts_with(MAKING)) {
        let folder = all.join(name);
        Machine::at(folder.join("image")).kill()?;
        std::fs::remove_dir_all(&folder).map_err(|source| Error::io("remove", &folder, source))?;
    }
    Ok(())
}

fn make(all: &Path, target: &Path, tell: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let work = tempfile::Builder::new().prefix(MAKING).tempdir_in(all);
    let work = work.map_err(|source| Error::io("make a folder in", all, source))?;
    let (scripts, made) = (work.path().join("scripts"), work.path().join("image"));
    for folder in [&scripts, &made] {
        std::fs::create_dir(folder).map_err(|source| Error::io("make", folder, source))?;
    }
    for folder in [work.path(), &scripts] {
        // Without root the scripts run as another user of a namespace.
        let open = std::fs::set_permissions(folder, Permissions::from_mode(0o755));
        open.map_err(|source| Error::io("open", folder, source))?;
    }
    for (name, text) in SCRIPTS {
        let path = scripts.join(name);
        std::fs::write(&path, text).map_err(|source| Error::io("write", &path, source))?;
    }
    tell("Installing Debian 12 (a minute)");
    install(&scripts, &made)?;
    tell("Booting it once, and saving it as it waits (half a minute)");
    let template = Template { folder: made.clone() };
    let machine = Machine::at(made.clone());
    let saved = save(&machine, &template);
    machine.kill()?;
    saved?;
    finish(&made)?;
    std::fs::rename(&made, target).map_err(|source| Error::io("make", target, source))
}

fn check_tools() -> Result<(), Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // What only root uses is not in everybody's path.
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    let there = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    let missing: Vec<&str> = TOOLS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::Tools { packages: missing.join(" ") }) }
}

fn install(scripts: &Path, made: &Path) -> Result<(), Error> {
    let path = scripts.join("log");
    let log = File::create(&path).map_err(|source| Error::io("make", &path, source))?;
    let errors = log.try_clone().map_err(|source| Error::io("open", &path, source))?;
    let mut paths: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    paths.extend(["/usr/sbin".into(), "/sbin".into()]);
    let mut command = Command::new("bash");
    command.arg(scripts.join("build.sh")).arg(made).stdin(Stdio::null()).stdout(log).stderr(errors);
    if let Ok(joined) = std::env::join_paths(paths) {
        command.env("PATH", joined);
    }
    let status = command.status().map_err(|source| Error::program("bash", source))?;
    if status.success() {
        return Ok(());
    }
    let text = std::fs::read(&path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    Err(Error::Build { said: lines[lines.len().saturating_sub(15)..].join("\n") })
}

/// Boots the image, and saves the machine when it waits.
fn save(machine: &Machine, template: &Template) -> Result<(), Error> {
    let identity = machine.folder().join("identity");
    std::fs::write(&identity, Identity::wait()?).map_err(|source| Error::io("write", &identity, source))?;
    machine.note(&Record::default())?;
    machine.start(template, &Start::Booted(&[]))?;
    let deadline = Instant::now() + BOOT;
    let console = machine.folder().join("console.log");
    while !String::from_utf8_lossy(&std::fs::read(&console).unwrap_or_default()).contains(WAITS) {
        if Instant::now() > deadline || machine.pid().is_none() {
            let said = String::from_utf8_lossy(&std::fs::read(&console).unwrap_or_default()).into_owned();
            return Err(Error::Build { said: format!("the guest did not come up\n{said}\n{}", machine.said()) });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(REST);
    let mut qmp = Qmp::connect(machine.folder())?;
    let state = machine.folder().join("state").to_string_lossy().into_owned();
    qmp.execute("migrate-set-parameters", json!({"max-bandwidth": i64::MAX}))?;
    // It is saved running, so what is resumed from it runs by itself.
    qmp.execute("migrate", json!({"uri": format!("exec:cat >{}", quote(&state))}))?;
    loop {
        let shown = qmp.execute("query-migrate", json!({}))?;
        match shown.text("status") {
            "completed" => break,
            "failed" | "cancelled" => {
                return Err(Error::Build { said: format!("the machine was not saved: {shown}") });
            }
            _ if Instant::now() > deadline => {
                return Err(Error::Build { said: "the machine was not saved in time".to_owned() });
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    qmp.execute("quit", json!({}))?;
    let patience = Instant::now() + BOOT;
    while machine.pid().is_some() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Leaves of the folder what a template has, for reading only.
fn finish(made: &Path) -> Result<(), Error> {
    for name in ["identity", "pid", "console.log", "qemu.log", super::machine::SOCKET, "machine.json"] {
        let path = made.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path, error));
            }
            _ => {}
        }
    }
    for name in ["root.qcow2", "vmlinuz", "initrd", "state"] {
        let path = made.join(name);
        std::fs::set_permissions(&path, Permissions::from_mode(0o444))
            .map_err(|source| Error::io("change", &path, source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_build_is_cleared_away_and_an_image_is_not() {
        let all = tempfile::tempdir().unwrap();
        for folder in [".making-abc/image", "0123456789ab"] {
            std::fs::create_dir_all(all.path().join(folder)).unwrap();
        }
        remove_unfinished(all.path()).unwrap();
        assert_eq!(super::super::entries(all.path()).unwrap(), ["0123456789ab"]);
    }

    #[test]
    fn every_script_is_named_by_another_or_begins() {
        for (name, _) in SCRIPTS.iter().skip(1) {
            assert!(SCRIPTS.iter().any(|(_, text)| text.contains(&format!("/{name}"))), "{name}");
        }
    }
}
