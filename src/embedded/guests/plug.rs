//! What a running machine has plugged in, held against what it is to have: disks, and addresses that lead to it.
//!
//! In: a conversation with the machine, and what is wanted. Out: the differences, carried out. What is there is asked of
//! the machine itself, so a process that died half-way leaves nothing that the next one does not see.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::machine::{Disk, SLOTS};
use super::qmp::{Qmp, QmpError};
use crate::embedded::tables::Fields;
use crate::model::Json;

/// How long a guest is given to let a disk go; one that boots takes longer, and is asked again.
const UNPLUG: Duration = Duration::from_secs(4);
/// The guest's port that addresses lead to.
const SSH: u16 = 22;

/// A disk's serial number in the guest: the first 20 characters of the volume's id, all that a virtio disk has room for.
#[must_use]
pub fn serial(volume: &str) -> String {
    volume.chars().take(20).collect()
}

/// A disk's file as QEMU's block layer is told of it.
#[must_use]
pub fn node(disk: &Disk) -> Json {
    json!({
        "driver": "raw", "node-name": format!("n-{}", disk.serial), "discard": "unmap",
        "file": {"driver": "file", "filename": disk.path, "discard": "unmap"},
    })
}

/// What a machine has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plugged {
    /// The slot of each plugged disk, by serial number.
    pub disks: BTreeMap<String, Option<usize>>,
    /// The size of each opened disk, plugged or not.
    pub nodes: BTreeMap<String, u64>,
    /// The addresses that lead to it.
    pub forwards: BTreeSet<Ipv4Addr>,
}

impl Plugged {
    /// Asks the machine.
    pub fn of(qmp: &mut Qmp) -> Result<Self, QmpError> {
        let mut plugged = Self::default();
        let devices = qmp.execute("qom-list", json!({"path": "/machine/peripheral"}))?;
        for device in devices.as_array().into_iter().flatten() {
            if let Some(serial) = device.text("name").strip_prefix("d-") {
                let path = format!("/machine/peripheral/d-{serial}");
                let bus = qmp.execute("qom-get", json!({"path": path, "property": "parent_bus"}))?;
                plugged.disks.insert(serial.to_owned(), slot(bus.as_str().unwrap_or_default()));
            }
        }
        let nodes = qmp.execute("query-named-block-nodes", json!({"flat": true}))?;
        for node in nodes.as_array().into_iter().flatten() {
            if let Some(serial) = node.text("node-name").strip_prefix("n-") {
                let size = node.get("image").and_then(|image| image.get("virtual-size")?.as_u64());
                plugged.nodes.insert(serial.to_owned(), size.unwrap_or_default());
            }
        }
        plugged.forwards = forwards(&qmp.monitor("info usernet")?);
        Ok(plugged)
    }
}

/// The slot of a bus: `/machine/peripheral/rp3/rp3`.
fn slot(bus: &str) -> Option<usize> {
    bus.rsplit('/').next()?.strip_prefix("rp")?.parse().ok()
}

/// The addresses that lead to port 22, in what `info usernet` shows.
fn forwards(shown: &str) -> BTreeSet<Ipv4Addr> {
    let lines = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter_map(|words| match words.as_slice() {
            ["TCP[HOST_FORWARD]", _, address, "22", ..] => address.parse().ok(),
            _ => None,
        })
        .collect()
}

/// Takes out what is no longer wanted. Says whether all of it is out.
pub fn release(
    qmp: &mut Qmp,
    plugged: &mut Plugged,
    disks: &BTreeSet<String>,
    addresses: &BTreeSet<Ipv4Addr>,
) -> Result<bool, QmpError> {
    for address in plugged.forwards.difference(addresses) {
        qmp.monitor(&format!("hostfwd_remove n0 {}", outside(*address)))?;
    }
    plugged.forwards.retain(|address| addresses.contains(address));
    let wanted: BTreeSet<String> = disks.iter().map(|volume| serial(volume)).collect();
    let gone: Vec<String> = plugged.disks.keys().filter(|serial| !wanted.contains(*serial)).cloned().collect();
    for serial in &gone {
        let device = format!("d-{serial}");
        match qmp.execute("device_del", json!({"id": device})) {
            // A guest that is asked and has not answered yet is not asked twice.
            Err(QmpError::Refused { .. }) | Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    let mut all = true;
    for serial in gone {
        if qmp.saw("DEVICE_DELETED", &format!("d-{serial}"), UNPLUG)? {
            plugged.disks.remove(&serial);
        } else {
            all = false;
        }
    }
    let unused: Vec<String> =
        plugged.nodes.keys().filter(|serial| !plugged.disks.contains_key(*serial)).cloned().collect();
    for serial in unused.into_iter().filter(|serial| !wanted.contains(serial)) {
        qmp.execute("blockdev-del", json!({"node-name": format!("n-{serial}")}))?;
        plugged.nodes.remove(&serial);
    }
    Ok(all)
}

/// Plugs in what is not there yet, with its size.
pub fn take(
    qmp: &mut Qmp,
    plugged: &mut Plugged,
    disks: &BTreeSet<String>,
    sizes: &BTreeMap<String, u64>,
    volumes: &Path,
) -> Result<(), QmpError> {
    for volume in disks {
        let serial = serial(volume);
        let size = sizes.get(volume).copied().unwrap_or_default();
        if !plugged.disks.contains_key(&serial) {
            let slot = free_slot(plugged).ok_or_else(|| QmpError::Strange("no port is free".to_owned()))?;
            let disk = Disk { serial: serial.clone(), path: file(volumes, volume), slot };
            if !plugged.nodes.contains_key(&serial) {
                qmp.execute("blockdev-add", node(&disk))?;
                plugged.nodes.insert(serial.clone(), size);
            }
            let device = json!({"driver": "virtio-blk-pci", "id": format!("d-{serial}"), "drive": format!("n-{serial}"),
                                "serial": serial, "bus": format!("rp{slot}")});
            qmp.execute("device_add", device)?;
            plugged.disks.insert(serial.clone(), Some(slot));
        }
        if plugged.nodes.get(&serial).is_some_and(|now| *now < size) {
            qmp.execute("block_resize", json!({"node-name": format!("n-{serial}"), "size": size}))?;
        }
    }
    Ok(())
}

/// Has addresses lead to the guest. Gives those that this computer refused, with what QEMU says.
pub fn forward(
    qmp: &mut Qmp,
    plugged: &mut Plugged,
    wanted: &BTreeSet<Ipv4Addr>,
) -> Result<BTreeMap<Ipv4Addr, String>, QmpError> {
    let mut refused = BTreeMap::new();
    for address in wanted {
        if plugged.forwards.contains(address) {
            continue;
        }
        let said = qmp.monitor(&format!("hostfwd_add n0 {}-:{SSH}", outside(*address)))?;
        if said.is_empty() {
            plugged.forwards.insert(*address);
        } else {
            refused.insert(*address, said);
        }
    }
    Ok(refused)
}

fn outside(address: Ipv4Addr) -> String {
    format!("tcp:{address}:{SSH}")
}

fn free_slot(plugged: &Plugged) -> Option<usize> {
    (0..SLOTS).find(|slot| !plugged.disks.values().any(|used| *used == Some(*slot)))
}

/// A volume's file.
#[must_use]
pub fn file(volumes: &Path, volume: &str) -> std::path::PathBuf {
    volumes.join(format!("{volume}.raw"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwards_are_read_from_the_monitor() {
        let shown = "Hub -1 (n0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
                     TCP[ESTABLISHED]   15     127.77.1.30    22       10.0.2.15    22     0     0\r\n  \
                     TCP[HOST_FORWARD]  12     127.77.1.20    22       10.0.2.15    22     0     0\r\n  \
                     TCP[HOST_FORWARD]  13     127.77.1.21  8080       10.0.2.15    80     0     0\r\n";
        assert_eq!(Vec::from_iter(forwards(shown)), [Ipv4Addr::new(127, 77, 1, 20)]);
    }

    #[test]
    fn a_disk_takes_the_first_free_port() {
        let mut plugged = Plugged::default();
        assert_eq!(free_slot(&plugged), Some(0));
        plugged.disks.insert("a".to_owned(), slot("/machine/peripheral/rp0/rp0"));
        plugged.disks.insert("b".to_owned(), slot("/machine/peripheral/rp2/rp2"));
        assert_eq!(free_slot(&plugged), Some(1));
        for slot in 0..SLOTS {
            plugged.disks.insert(slot.to_string(), Some(slot));
        }
        assert_eq!(free_slot(&plugged), None);
    }

    #[test]
    fn a_serial_number_is_as_long_as_virtio_has_room() {
        assert_eq!(serial("0a3fbe6e-5ff8-40f6-b0c3-e54a2d6a0e26"), "0a3fbe6e-5ff8-40f6-b");
    }
}
