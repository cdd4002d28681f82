//! One machine: a QEMU process of its own session, and the folder with all that is its own.
//!
//! In: a folder, a template, disks. Out: a process that outlives the one that started it.
//!
//! ```text
//! <folder>/root.qcow2   its root disk, over the template's      identity      what it is told at its first boot
//!          pid          written by QEMU                         console.log   what its serial console said
//!          qmp.sock     where it takes commands                 qemu.log      what QEMU itself said
//!          machine.json what it was last told to be
//! ```
//!
//! Invariants:
//! - A process is ours only while its command line names this folder: nothing else is ever killed.
//! - A machine has the same devices whether it is resumed or booted, or a saved template could not be resumed.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Error;
use super::identity::quote;

/// The socket's name in the folder.
pub const SOCKET: &str = "qmp.sock";
/// How many volumes a machine has room for.
pub const SLOTS: usize = 12;
/// What runs a machine.
pub const QEMU: &str = "qemu-system-x86_64";
/// What makes its root disk.
pub const QEMU_IMG: &str = "qemu-img";

const KERNEL_ARGUMENTS: &str = "console=ttyS0 root=/dev/vda rw quiet mitigations=off random.trust_cpu=on tsc=reliable \
                                net.ifnames=0";
/// How long a killed process may take to go.
const DEATH: Duration = Duration::from_secs(10);

/// What all machines are made from.
#[derive(Debug, Clone)]
pub struct Template {
    /// The folder with `root.qcow2`, `vmlinuz`, `initrd` and `state`.
    pub folder: PathBuf,
}

/// A disk as QEMU is told of it.
pub struct Disk {
    /// Its serial number, and by that its name.
    pub serial: String,
    /// The file.
    pub path: PathBuf,
    /// On which port, below [`SLOTS`].
    pub slot: usize,
}

/// How a machine comes up.
pub enum Start<'a> {
    /// From the template's saved state; disks are plugged in later.
    Resumed,
    /// From power-on, with these disks.
    Booted(&'a [Disk]),
}

/// What a machine was last told to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which build its root disk is of.
    pub build: i64,
    /// Which boot it is in.
    pub boot: i64,
    /// When it was asked to shut down, in milliseconds since 1970.
    pub asked_down: Option<i64>,
    /// How often it was started since it last was seen running.
    pub tries: u32,
}

/// The machine of a folder.
pub struct Machine {
    folder: PathBuf,
}

impl Machine {
    /// The machine of this folder, whose path is absolute.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its process, if there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.folder.join("pid")).ok()?;
        text.trim().parse().ok().filter(|pid| self.is_ours(*pid))
    }

    /// Whether a process is this machine.
    #[must_use]
    pub fn is_ours(&self, pid: u32) -> bool {
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        let own = self.option("pid");
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|program| String::from_utf8_lossy(program).contains("qemu"))
            && words.any(|word| word == own.as_bytes())
    }

    /// What it was last told to be; `None` before it was made.
    pub fn record(&self) -> Result<Option<Record>, Error> {
        let path = self.folder.join("machine.json");
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }

    /// Notes what it is told to be.
    pub fn note(&self, record: &Record) -> Result<(), Error> {
        let path = self.folder.join("machine.json");
        let text = serde_json::to_vec(record).unwrap_or_default();
        let fresh = self.folder.join("machine.json.new");
        std::fs::write(&fresh, text)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(|source| Error::io("write", &path, source))
    }

    /// Makes its folder, with an empty root disk over the template's.
    pub fn make(&self, template: &Template, identity: &[u8]) -> Result<(), Error> {
        std::fs::create_dir_all(&self.folder).map_err(|source| Error::io("make", &self.folder, source))?;
        self.identify(identity)?;
        let root = self.folder.join("root.qcow2");
        let base = template.folder.join("root.qcow2");
        let mut command = Command::new(QEMU_IMG);
        command.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(base).arg(root).stdin(Stdio::null());
        let made = command.output().map_err(|source| Error::program(QEMU_IMG, source))?;
        if made.status.success() {
            return Ok(());
        }
        Err(Error::Start { said: String::from_utf8_lossy(&made.stderr).trim().to_owned() })
    }

    fn identify(&self, identity: &[u8]) -> Result<(), Error> {
        let path = self.folder.join("identity");
        write_private(&path, identity).map_err(|source| Error::io("write", &path, source))
    }

    /// Starts its process and returns when it takes commands.
    pub fn start(&self, template: &Template, start: &Start<'_>) -> Result<(), Error> {
        let path = self.folder.join("qemu.log");
        let log = File::create(&path).map_err(|source| Error::io("make", &path, source))?;
        let mut command = Command::new(QEMU);
        command.args(self.devices(template));
        match start {
            Start::Resumed => {
                let state = template.folder.join("state").to_string_lossy().into_owned();
                command.arg("-incoming").arg(format!("exec:cat {}", quote(&state)));
            }
            Start::Booted(disks) => command_disks(&mut command, disks),
        }
        // It changes to a session of its own, and the parent ends when the machine takes commands or has failed. The
        // socket's address is relative, for it has to be short.
        command.arg("-daemonize").current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let status = command.status().map_err(|source| Error::program(QEMU, source))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Start { said: self.said() })
    }

    /// What QEMU said last, for people.
    #[must_use]
    pub fn said(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("qemu.log")).unwrap_or_default();
        text.trim().to_owned()
    }

    fn devices(&self, template: &Template) -> Vec<OsString> {
        let of = |name: &str| template.folder.join(name).into_os_string();
        let mut all: Vec<OsString> = Vec::new();
        let mut say = |words: &[&str]| all.extend(words.iter().map(OsString::from));
        say(&["-nodefaults", "-no-user-config", "-display", "none"]);
        say(&["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "512"]);
        say(&["-append", KERNEL_ARGUMENTS]);
        let root =
            format!("if=none,id=root,format=qcow2,cache=unsafe,discard=unmap,file={}", self.option("root.qcow2"));
        say(&["-drive", &root, "-device", "virtio-blk-pci,drive=root,id=root-disk"]);
        say(&["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]);
        say(&["-device", "virtio-rng-pci"]);
        for slot in 0..SLOTS {
            let number = slot + 1;
            say(&["-device", &format!("pcie-root-port,id=rp{slot},chassis={number},slot={number}")]);
        }
        let console = format!("file,id=con,append=on,path={}", self.option("console.log"));
        say(&["-chardev", &console, "-serial", "chardev:con"]);
        say(&["-qmp", &format!("unix:{SOCKET},server=on,wait=off"), "-pidfile", &self.option("pid")]);
        say(&["-fw_cfg", &format!("name=opt/anole/identity,file={}", self.option("identity"))]);
        all.extend(["-kernel".into(), of("vmlinuz"), "-initrd".into(), of("initrd")]);
        all
    }

    /// A file's path as a part of one of QEMU's options.
    fn option(&self, name: &str) -> String {
        let path = self.folder.join(name).to_string_lossy().into_owned();
        // The pid file stands alone in its option.
        if name == "pid" { path } else { escaped(&path) }
    }

    /// Ends its process at once, and waits until it is gone.
    pub fn kill(&self) -> Result<(), Error> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let status = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        status.map_err(|source| Error::program("kill", source))?;
        let deadline = Instant::now() + DEATH;
        while self.is_ours(pid) {
            if Instant::now() > deadline {
                return Err(Error::Stays { pid });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends its process and removes its folder.
    pub fn remove(&self) -> Result<(), Error> {
        self.kill()?;
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &self.folder, error)),
            _ => Ok(()),
        }
    }
}

fn command_disks(command: &mut Command, disks: &[Disk]) {
    for disk in disks {
        command.arg("-blockdev").arg(super::plug::node(disk).to_string());
        let Disk { serial, slot, .. } = disk;
        let device = format!("virtio-blk-pci,id=d-{serial},drive=n-{serial},serial={serial},bus=rp{slot}");
        command.arg("-device").arg(device);
    }
}

/// A comma is doubled in QEMU's options.
fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_counts_only_while_its_command_line_names_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::at(folder.path().to_owned());
        assert_eq!(machine.pid(), None);
        // This process is somebody else's, whatever the file says.
        std::fs::write(folder.path().join("pid"), std::process::id().to_string()).unwrap();
        assert_eq!(machine.pid(), None);
        machine.remove().unwrap();
        assert!(!folder.path().exists(), "and this process lives");
    }

    #[test]
    fn paths_with_commas_are_one_option() {
        let machine = Machine::at(PathBuf::from("/a,b"));
        assert_eq!(machine.option("root.qcow2"), "/a,,b/root.qcow2");
        assert_eq!(machine.option("pid"), "/a,b/pid");
    }

    #[test]
    fn a_machine_listens_on_no_address() {
        let template = Template { folder: PathBuf::from("/t") };
        let words = Machine::at(PathBuf::from("/m")).devices(&template);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(words.iter().all(|word| !word.contains("hostfwd") && !word.contains("tcp:")), "{words:?}");
        assert!(words.iter().any(|word| word.starts_with("unix:")));
    }

    #[test]
    fn what_it_was_told_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::at(folder.path().to_owned());
        assert_eq!(machine.record().unwrap(), None);
        let record = Record { build: 1, boot: 2, asked_down: Some(3), tries: 0 };
        machine.note(&record).unwrap();
        assert_eq!(machine.record().unwrap(), Some(record));
    }
}
