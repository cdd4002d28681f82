//! What is found in a guest: its block devices and its mounts, from one round trip.
//!
//! In: what `facts.sh` printed. Out: [`Facts`], plain data. Lines that are of no known form are passed over, for kernels
//! and tools add some; that the whole came through is told by its last line.

use std::collections::BTreeMap;

use super::GuestError;

/// Prints the facts.
pub(super) const PROGRAM: &str = include_str!("facts.sh");

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Another one after each boot.
    pub boot_id: String,
    /// Disks and partitions, in the order in which the kernel lists them.
    pub devices: Vec<Device>,
    /// What is mounted, in order: of several on one path the last is seen.
    pub mounts: Vec<Mounted>,
}

/// A disk or partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// `/dev/vdb1`.
    pub path: String,
    /// `252:17`.
    pub number: String,
    /// The disk it is a partition of, `vdb`; empty for disks.
    pub parent: String,
    /// `disk`, `part`, `lvm`, `crypt`.
    pub sort: String,
    /// Bytes.
    pub size: u64,
    /// The serial number.
    pub serial: String,
    /// The signature's type, as udev knows it.
    pub filesystem: String,
    /// The filesystem's UUID.
    pub uuid: String,
    /// The partition's UUID.
    pub partuuid: String,
    /// Its names below `/dev/disk/by-id`.
    pub links: Vec<String>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// The device's number.
    pub number: String,
    /// Where.
    pub path: String,
    /// The filesystem's type.
    pub filesystem: String,
    /// The options, of the mount and of the filesystem.
    pub options: Vec<String>,
    /// What is mounted, as the kernel says it.
    pub source: String,
}

impl Facts {
    /// Reads what `facts.sh` printed.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn parse(text: &str) -> Result<Self, GuestError> {
        let mut facts = Self::default();
        let (mut section, mut whole) = ("", false);
        let mut links: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                section = name;
                whole = name == "end";
                continue;
            }
            match section {
                "boot" => line.trim().clone_into(&mut facts.boot_id),
                "devices" => facts.devices.extend(Device::parse(line)),
                "links" => {
                    if let Some((name, device)) = line.split_once(' ') {
                        links.entry(device).or_default().push(name.to_owned());
                    }
                }
                "mounts" => facts.mounts.extend(Mounted::parse(line)),
                _ => {}
            }
        }
        if !whole {
            return Err(GuestError::refused("the server did not tell all of its disks and mounts"));
        }
        for device in &mut facts.devices {
            device.links = links.remove(device.path.as_str()).unwrap_or_default();
        }
        Ok(facts)
    }

    /// The disk of a volume, by the serial number that it shows: the volume's id, or as much of it as the bus has room for.
    #[must_use]
    pub fn disk(&self, volume_id: &str) -> Option<&Device> {
        let short = crate::kinds::volume::serial(volume_id);
        let is_it = |device: &&Device| {
            device.sort == "disk"
                && (!device.serial.is_empty() && (device.serial == volume_id || device.serial == short)
                    || device
                        .links
                        .iter()
                        .any(|link| link.strip_prefix("virtio-") == Some(short) || link.ends_with(volume_id)))
        };
        self.devices.iter().find(is_it)
    }

    /// The partitions of a disk.
    pub fn partitions<'a>(&'a self, disk: &'a Device) -> impl Iterator<Item = &'a Device> {
        let name = disk.path.rsplit('/').next().unwrap_or_default();
        self.devices.iter().filter(move |device| device.sort == "part" && device.parent == name)
    }

    /// Where a device is mounted: the paths that are seen, not covered by another mount.
    #[must_use]
    pub fn mounted_at(&self, device: &Device) -> Vec<&Mounted> {
        let seen = |mounted: &&Mounted| self.at(&mounted.path).is_some_and(|top| top == *mounted);
        self.mounts.iter().filter(|mounted| mounted.number == device.number).filter(seen).collect()
    }

    /// What is seen at a path.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Mounted> {
        self.mounts.iter().rev().find(|mounted| mounted.path == path)
    }
}

impl Device {
    /// A line of `lsblk -P`: `NAME="vdb" MAJ:MIN="252:16" …`.
    fn parse(line: &str) -> Option<Self> {
        let pairs = pairs(line);
        let text = |key: &str| pairs.get(key).cloned().unwrap_or_default();
        let name = pairs.get("NAME")?;
        // Newer versions write MAJ:MIN so, others MAJ_MIN.
        let number = pairs.get("MAJ:MIN").or_else(|| pairs.get("MAJ_MIN"))?.trim().to_owned();
        Some(Self {
            path: pairs.get("PATH").filter(|path| !path.is_empty()).cloned().unwrap_or_else(|| format!("/dev/{name}")),
            number,
            parent: text("PKNAME"),
            sort: text("TYPE"),
            size: text("SIZE").trim().parse().ok()?,
            serial: text("SERIAL").trim().to_owned(),
            filesystem: text("FSTYPE"),
            uuid: text("UUID"),
            partuuid: text("PARTUUID"),
            links: Vec::new(),
        })
    }
}

/// `A="x" B="y"`; lsblk writes unsafe bytes as `\xHH`.
fn pairs(line: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    let mut rest = line.trim();
    while let Some((key, after)) = rest.split_once("=\"") {
        let Some((value, next)) = after.split_once('"') else { break };
        pairs.insert(key.trim().to_owned(), unescaped(value, "\\x", 16));
        rest = next;
    }
    pairs
}

/// Bytes written as a mark and digits: `\040` of mountinfo, `\x20` of lsblk.
fn unescaped(text: &str, mark: &str, radix: u32) -> String {
    let digits = if radix == 8 { 3 } else { 2 };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        let (before, after) = (&rest[..at], &rest[at + mark.len()..]);
        bytes.extend_from_slice(before.as_bytes());
        match after.get(..digits).and_then(|code| u8::from_str_radix(code, radix).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[digits..];
            }
            None => {
                bytes.extend_from_slice(mark.as_bytes());
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Mounted {
    /// A line of mountinfo: see proc(5). `36 35 252:17 / /mnt/block rw,noatime shared:1 - ext4 /dev/vdb1 rw`.
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<_> = left.split(' ').collect();
        let right: Vec<_> = right.split(' ').collect();
        let options = |text: Option<&&str>| text.map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
        let mut all = options(left.get(5))?;
        all.extend(options(right.get(2)).unwrap_or_default());
        // A mount of a folder inside the filesystem (a bind mount) is not the filesystem's own.
        Some(Self {
            number: (*left.get(2)?).to_owned(),
            path: unescaped(left.get(4)?, "\\", 8),
            filesystem: (*right.first()?).to_owned(),
            options: all,
            source: unescaped(right.get(1)?, "\\", 8),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"== boot
0c1d3c1e-7d0d-4a0f-9c4e-0d5f2b0f3a11
== devices
NAME="vda" PATH="/dev/vda" MAJ:MIN="252:0" PKNAME="" TYPE="disk" SIZE="2147483648" SERIAL="" FSTYPE="ext4" UUID="aa" PARTUUID=""
NAME="vdb" PATH="/dev/vdb" MAJ:MIN="252:16" PKNAME="" TYPE="disk" SIZE="2147483648" SERIAL="9e1f73a1-e09e-4759-9" FSTYPE="" UUID="" PARTUUID=""
NAME="vdb1" PATH="/dev/vdb1" MAJ:MIN="252:17" PKNAME="vdb" TYPE="part" SIZE="2146435072" SERIAL="" FSTYPE="ext4" UUID="bb" PARTUUID="cc"
NAME="sda" PATH="/dev/sda" MAJ:MIN="8:0" PKNAME="" TYPE="disk" SIZE="1" SERIAL="" FSTYPE="" UUID="" PARTUUID=""
== links
virtio-9e1f73a1-e09e-4759-9 /dev/vdb
scsi-0QEMU_QEMU_HARDDISK_77777777-e09e-4759-9ac2-cdadcdf8917e /dev/sda
== mounts
22 1 252:0 / / rw,relatime shared:1 - ext4 /dev/root rw
36 22 252:17 / /mnt/with\040blank rw,noatime shared:2 - ext4 /dev/vdb1 rw
37 22 252:17 / /mnt/hidden rw shared:2 - ext4 /dev/vdb1 rw
38 22 0:40 / /mnt/hidden rw - tmpfs tmpfs rw
== end
"#;

    #[test]
    fn disks_are_found_by_serial_or_link() {
        let facts = Facts::parse(TEXT).unwrap();
        let disk = facts.disk("9e1f73a1-e09e-4759-9ac2-cdadcdf8917e").unwrap();
        assert_eq!(disk.path, "/dev/vdb");
        assert_eq!(facts.partitions(disk).map(|part| part.path.as_str()).collect::<Vec<_>>(), ["/dev/vdb1"]);
        assert_eq!(facts.disk("77777777-e09e-4759-9ac2-cdadcdf8917e").unwrap().path, "/dev/sda");
        assert_eq!(facts.disk("00000000-e09e-4759-9ac2-cdadcdf8917e"), None);
    }

    #[test]
    fn mounts_that_others_cover_are_not_seen() {
        let facts = Facts::parse(TEXT).unwrap();
        let part = facts.devices.iter().find(|device| device.path == "/dev/vdb1").unwrap();
        let paths: Vec<_> = facts.mounted_at(part).iter().map(|mounted| mounted.path.as_str()).collect();
        assert_eq!(paths, ["/mnt/with blank"]);
        assert_eq!(facts.at("/mnt/hidden").unwrap().filesystem, "tmpfs");
    }

    #[test]
    fn half_an_answer_is_an_error() {
        assert!(Facts::parse(TEXT.strip_suffix("== end\n").unwrap()).is_err());
        assert!(Facts::parse("").is_err());
    }
}
