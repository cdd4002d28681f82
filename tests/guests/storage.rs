//! Volumes with filesystems, for tests: specs of them, their files outside, and what is done to them by hand.
//!
//! In: names of volumes. Out: their raw files' digests, and what an apply said of each. Invariants:
//! - A digest is of all that a volume holds, read from outside while nobody writes to it.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::kit::{Lab, spec};
use crate::environment::Ran;

/// A spec with one server, `one`, to which anole logs in with the lab's key; `more` is further sections.
pub fn stack(more: &str) -> String {
    spec(&["one"], more).replace("name: \"${key}\" }", "name: \"${key}\", ssh: { identity_file: ./key } }")
}

/// A section of volumes of 1 GiB that a destroy deletes.
pub fn volumes(names: &[&str]) -> String {
    let volume = |name: &&str| format!("  {name}: {{ size: 1GiB, protect: false }}\n");
    format!("volumes:\n{}", names.iter().map(volume).collect::<String>())
}

/// The attachment of a volume to server `one`; `more` begins with a comma.
pub fn attachment(name: &str, more: &str) -> String {
    format!("  {name}: {{ volume: {name}, server: one{more} }}\n")
}

/// A mount of that volume at `/mnt/NAME`, owned by the user.
pub fn mounted(name: &str, more: &str) -> String {
    attachment(name, &format!("{more}, mount: {{ path: /mnt/{name}, owner: cc }}"))
}

impl Lab {
    /// The file that a volume is, outside.
    #[track_caller]
    pub fn raw(&self, name: &str) -> PathBuf {
        let id = self.env.id("spec.yaml", &format!("volumes.{name}"));
        self.machines().join("volumes").join(format!("{id}.raw"))
    }

    /// A volume's disk in its server.
    #[track_caller]
    pub fn disk(&self, name: &str) -> String {
        let id = self.env.id("spec.yaml", &format!("volumes.{name}"));
        format!("/dev/disk/by-id/virtio-{}", &id[..20])
    }

    /// The digest of all that volumes hold, each: of what is not zero, and where it is.
    #[track_caller]
    pub fn digests(&self, names: &[&str]) -> Vec<u64> {
        names.iter().map(|name| digest(&self.raw(name))).collect()
    }

    /// Has root run a script on a server; it ends at the first command that fails.
    #[track_caller]
    pub fn root(&self, name: &str, script: &str) -> String {
        self.ssh(name, &format!("sudo bash -eu <<'SCRIPT'\n{script}\nSCRIPT"))
    }
}

fn digest(path: &Path) -> u64 {
    const BLOCK: usize = 1 << 20;
    let (zeros, mut block) = (vec![0_u8; BLOCK], vec![0_u8; BLOCK]);
    let (mut file, mut hasher, mut offset) = (File::open(path).expect("a volume"), DefaultHasher::new(), 0_u64);
    loop {
        let read = file.read(&mut block).expect("a volume can be read");
        if read == 0 {
            offset.hash(&mut hasher);
            return hasher.finish();
        }
        if block[..read] != zeros[..read] {
            offset.hash(&mut hasher);
            hasher.write(&block[..read]);
        }
        offset += u64::try_from(read).expect("a size");
    }
}

/// What an apply said of a step that failed: its line and its hint.
#[track_caller]
pub fn failure(ran: &Ran, address: &str) -> String {
    let mut lines = ran.stderr.lines().skip_while(|line| !(line.starts_with(address) && line.contains(" failed: ")));
    let first = lines.next().unwrap_or_else(|| panic!("{address} did not fail: {}\n{}", ran.stdout, ran.stderr));
    let rest = lines.take_while(|line| line.starts_with("    "));
    std::iter::once(first).chain(rest.map(str::trim)).collect::<Vec<_>>().join(" ")
}
