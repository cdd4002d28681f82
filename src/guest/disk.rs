//! What is on a volume's disk, and what may be done with it: the rule that no data is ever overwritten.
//!
//! In: what `probe.sh` found on the disk ([`Probe`]), what the state remembers of the volume, what is wanted. Out: a
//! [`Decision`]: mount what is there, make a filesystem, or touch nothing and say why. Pure.
//!
//! A filesystem is made only where all of this holds: anole created the volume; neither the state nor the volume's own
//! metadata remembers a filesystem on it; there is no partition table, no signature, nothing that holds the disk, nothing
//! at the places where a lost partition would have begun; and the first and last MiB and a sample of the rest are zeros.
//! Nothing forces it.
//!
//! Where anole itself was interrupted while it made one, which the state says, the half-made work is recognised by what
//! nobody else could have written: the partition's UUID, the filesystem's UUID, or the mark on a whole disk. Only then it
//! is made again.

use super::memory::{Filesystem, Phase};
use super::{GuestError, shell::quoted};
use crate::state::Origin;

/// Prints what is on a disk.
pub(super) const PROBE: &str = include_str!("probe.sh");
/// What `make.sh` writes on a whole disk before it begins.
const MARK: &str = "anole is making filesystem ";

/// What was found on a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// Bytes.
    pub size: u64,
    /// Whether the disk can only be read.
    pub read_only: bool,
    /// What is on the disk itself.
    pub whole: Content,
    /// Its partitions, as the kernel sees them.
    pub partitions: Vec<Partition>,
    /// What is built on it: volume groups, RAIDs, opened LUKS devices.
    pub holders: Vec<String>,
    /// Filesystems that begin where lost partitions would have: type and offset.
    pub lost: Vec<(String, u64)>,
    /// How many bytes are not zero: in the first MiB, in the last, in the sample. Unknown where nobody looked.
    pub used: [Option<u64>; 3],
    /// What stands at the place of the mark.
    pub mark: String,
}

/// What is on a disk or a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Its path.
    pub device: String,
    /// Everything that wipefs sees.
    pub signatures: Vec<String>,
    /// Whether several signatures contradict each other.
    pub ambivalent: bool,
    /// The signature that counts: `ext4`, `LVM2_member`, `crypto_LUKS`.
    pub kind: String,
    /// Its UUID.
    pub uuid: String,
    /// `filesystem`, `raid`, `crypto`, `other`.
    pub usage: String,
    /// The partition table's type.
    pub table: String,
    /// A partition's UUID.
    pub partuuid: String,
}

/// A partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// What is on it.
    pub content: Content,
    /// Its first sector, of 512 bytes.
    pub start: u64,
    /// Its sectors.
    pub sectors: u64,
}

/// What is wanted of a volume, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The disk's path in the guest, for messages.
    pub disk: &'a str,
    /// The volume, as people call it.
    pub volume: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// How it came to be ours.
    pub origin: Option<Origin>,
    /// The filesystem that the spec asks for.
    pub filesystem: Option<&'a str>,
    /// What the state remembers.
    pub remembered: Option<&'a Filesystem>,
    /// The filesystem's UUID that the volume's own metadata remembers.
    pub noted: Option<&'a str>,
}

/// What is to be done with a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// This is there, and is mounted.
    Take {
        /// The device.
        device: String,
        /// Its type.
        kind: String,
        /// Its UUID.
        uuid: String,
    },
    /// Nothing is there: a filesystem is made, with ids that are remembered first.
    Make,
    /// Our own making of one was interrupted: it is made again, with the same ids; or taken, where a filesystem is there
    /// by now and is whole.
    MakeAgain {
        /// Where a filesystem with our UUID is.
        device: Option<String>,
    },
}

impl Probe {
    /// Reads what `probe.sh` printed.
    ///
    /// # Errors
    /// When it is not whole: then nothing is known of the disk.
    pub fn parse(text: &str) -> Result<Self, GuestError> {
        let mut probe = Self::default();
        let mut ended = false;
        let broken = |line: &str| {
            GuestError::refused(format!("the look at the disk gave an answer that is not understood: {line}"))
        };
        let number =
            |text: Option<&&str>, line: &str| text.and_then(|text| text.parse().ok()).ok_or_else(|| broken(line));
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let rest = |skip: usize| words.get(skip..).map(|words| words.join(" ")).unwrap_or_default();
            match words[0] {
                "size" => probe.size = number(words.get(1), line)?,
                "readonly" => probe.read_only = true,
                "partition" => probe.partitions.push(Partition {
                    content: Content {
                        device: rest(1).split(' ').next().unwrap_or_default().to_owned(),
                        ..Content::default()
                    },
                    start: number(words.get(2), line)?,
                    sectors: number(words.get(3), line)?,
                }),
                "signature" => probe.content(words.get(1)).signatures.push(rest(2)),
                "ambivalent" => probe.content(words.get(1)).ambivalent = true,
                "tag" => probe.content(words.get(1)).tag(words.get(2).copied().unwrap_or_default(), rest(3)),
                "holder" => probe.holders.push(rest(1)),
                "lost" => {
                    probe.lost.push((words.get(1).copied().unwrap_or_default().to_owned(), number(words.get(2), line)?))
                }
                "used" => match words.get(1).copied() {
                    Some("first") => probe.used[0] = Some(number(words.get(2), line)?),
                    Some("last") => probe.used[1] = Some(number(words.get(2), line)?),
                    Some("sample") => probe.used[2] = Some(number(words.get(2), line)?),
                    _ => return Err(broken(line)),
                },
                "mark" => probe.mark = rest(1).trim().to_owned(),
                "end" => ended = true,
                _ => return Err(broken(line)),
            }
        }
        if ended { Ok(probe) } else { Err(broken("it has no end")) }
    }

    /// The content of the device at that path: a partition's, else the disk's.
    fn content(&mut self, device: Option<&&str>) -> &mut Content {
        let device = device.copied().unwrap_or_default();
        match self.partitions.iter().position(|partition| partition.content.device == device) {
            Some(at) => &mut self.partitions[at].content,
            None => {
                device.clone_into(&mut self.whole.device);
                &mut self.whole
            }
        }
    }

    /// The disk and its partitions.
    fn contents(&self) -> impl Iterator<Item = &Content> {
        std::iter::once(&self.whole).chain(self.partitions.iter().map(|partition| &partition.content))
    }

    /// Where a filesystem is looked for: the first partition, or the disk where there is no table.
    fn place(&self) -> &Content {
        self.partitions.first().map_or(&self.whole, |partition| &partition.content)
    }

    /// Whether nothing at all was found.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let bare = |content: &Content| {
            content.signatures.is_empty() && !content.ambivalent && content.kind.is_empty() && content.table.is_empty()
        };
        self.partitions.is_empty()
            && bare(&self.whole)
            && self.holders.is_empty()
            && self.lost.is_empty()
            && self.used == [Some(0); 3]
    }

    /// What was found, for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut found = Vec::new();
        if !self.whole.table.is_empty() {
            let count = self.partitions.len();
            let plural = if count == 1 { "" } else { "s" };
            found.push(format!("a {} partition table with {count} partition{plural}", self.whole.table));
        }
        for content in self.contents() {
            let on =
                if content.device == self.whole.device { String::new() } else { format!(" on {}", content.device) };
            if content.ambivalent {
                found.push(format!("signatures that contradict each other{on}: {}", content.signatures.join(", ")));
            } else if !content.kind.is_empty() {
                let uuid = if content.uuid.is_empty() { String::new() } else { format!(", UUID {}", content.uuid) };
                found.push(format!("{}{on}{uuid}", named(&content.kind)));
            } else if content.table.is_empty() && !content.signatures.is_empty() {
                found.push(format!("the signature of {}{on}", content.signatures.join(", ")));
            } else if !on.is_empty() {
                found.push(format!("no signature{on}"));
            }
        }
        found.extend(self.holders.iter().map(|holder| format!("`{holder}`, which is built on it")));
        found.extend(self.lost.iter().map(|(kind, offset)| {
            format!("{} at offset {offset}, where a partition may have begun whose table is lost", named(kind))
        }));
        if found.is_empty() {
            let places = ["in its first MiB", "in its last MiB", "in between"];
            let used = places
                .iter()
                .zip(self.used)
                .filter_map(|(place, bytes)| Some((place, bytes.filter(|bytes| *bytes > 0)?)));
            let used: Vec<_> = used.map(|(place, bytes)| format!("{bytes} bytes {place}")).collect();
            found.push(match used.is_empty() {
                true => "nothing".to_owned(),
                false => format!("data without a signature that is known ({})", used.join(", ")),
            });
        }
        found.join("; ")
    }
}

impl Content {
    fn tag(&mut self, name: &str, value: String) {
        match name {
            "TYPE" => self.kind = value,
            "UUID" => self.uuid = value,
            "USAGE" => self.usage = value,
            "PTTYPE" => self.table = value,
            "PART_ENTRY_UUID" => self.partuuid = value,
            _ => {}
        }
    }

    fn is_filesystem(&self) -> bool {
        !self.ambivalent && !self.kind.is_empty() && !self.uuid.is_empty() && self.usage == "filesystem"
    }
}

/// A signature as people say it.
fn named(kind: &str) -> String {
    match kind {
        "LVM2_member" => "an LVM physical volume".to_owned(),
        "crypto_LUKS" => "a LUKS container".to_owned(),
        "linux_raid_member" => "a member of a Linux RAID".to_owned(),
        "swap" => "swap space".to_owned(),
        "iso9660" | "udf" => format!("a disc image ({kind})"),
        other if other.starts_with(|c: char| "aeioux".contains(c)) => format!("an {other} filesystem"),
        other => format!("a {other} filesystem"),
    }
}

/// Decides what is done with a disk.
///
/// # Errors
/// Where nothing may be done: what was found, and what to do by hand.
pub fn decide(probe: &Probe, wanted: &Wanted<'_>) -> Result<Decision, GuestError> {
    let refusal = Refusal { probe, wanted };
    if !probe.holders.is_empty() {
        return Err(refusal.because("something is built on its disk"));
    }
    if let Some(ours) = wanted.remembered.filter(|filesystem| filesystem.phase == Phase::Made) {
        return take_remembered(probe, ours, &refusal);
    }
    let intended = wanted.remembered;
    let place = probe.place();
    if let Some(ours) = intended {
        let holds_ours = probe.contents().find(|content| content.is_filesystem() && content.uuid == ours.uuid);
        if let Some(content) = holds_ours {
            return Ok(Decision::MakeAgain { device: Some(content.device.clone()) });
        }
        if is_half_made(probe, ours) {
            return Ok(Decision::MakeAgain { device: None });
        }
    }
    if place.is_filesystem() {
        return take(place, &refusal);
    }
    if !probe.is_blank() {
        return Err(refusal.because("its disk is not blank"));
    }
    may_make(probe, &refusal)
}

/// The filesystem that the state remembers must be there.
fn take_remembered(probe: &Probe, ours: &Filesystem, refusal: &Refusal<'_>) -> Result<Decision, GuestError> {
    match probe.contents().find(|content| content.is_filesystem() && content.uuid == ours.uuid) {
        Some(content) => take(content, refusal),
        None => Err(refusal.because(&format!(
            "the state remembers {} with UUID {}, and it is not there",
            named(&ours.kind),
            ours.uuid
        ))),
    }
}

/// Takes a filesystem that is there, if it is of the type that is wanted.
fn take(content: &Content, refusal: &Refusal<'_>) -> Result<Decision, GuestError> {
    match refusal.wanted.filesystem {
        Some(kind) if kind != content.kind => {
            let message = format!(
                "volume {} holds {}, and the spec asks for {kind}; nothing was changed",
                refusal.wanted.volume,
                named(&content.kind)
            );
            let hint = match content.kind.as_str() {
                "ext4" | "xfs" => format!("write `filesystem: {}` to mount it as it is", content.kind),
                _ => "leave `filesystem` out to mount it as it is".to_owned(),
            };
            Err(GuestError::refused_with(message, hint))
        }
        _ => Ok(Decision::Take {
            device: content.device.clone(),
            kind: content.kind.clone(),
            uuid: content.uuid.clone(),
        }),
    }
}

/// Whether what is there is what an interrupted making of ours leaves, and nothing else.
fn is_half_made(probe: &Probe, ours: &Filesystem) -> bool {
    let unsigned = |content: &Content| content.kind.is_empty() && !content.ambivalent;
    match (&ours.partuuid, probe.partitions.as_slice()) {
        (Some(partuuid), [only]) => {
            only.content.partuuid.eq_ignore_ascii_case(partuuid)
                && unsigned(&only.content)
                && only.content.signatures.is_empty()
        }
        (None, []) => {
            let marked = probe.mark.strip_prefix(MARK).is_some_and(|rest| rest.starts_with(&ours.uuid));
            marked && unsigned(&probe.whole) && probe.whole.table.is_empty() && probe.whole.signatures.is_empty()
        }
        _ => false,
    }
}

/// A blank disk may get a filesystem if it is ours to make one on.
fn may_make(probe: &Probe, refusal: &Refusal<'_>) -> Result<Decision, GuestError> {
    let wanted = refusal.wanted;
    let Some(kind) = wanted.filesystem else {
        return Err(GuestError::refused_with(
            format!("volume {} is blank, and the spec does not say which filesystem to make on it", wanted.volume),
            "add `filesystem: ext4` to the attachment",
        ));
    };
    if wanted.origin != Some(Origin::Created) {
        return Err(GuestError::refused_with(
            format!(
                "volume {} is blank, and anole did not create it: it makes filesystems on its own volumes only",
                wanted.volume
            ),
            format!("if it is to be used, make one by hand and apply again: {}", by_hand(kind, wanted.disk)),
        ));
    }
    if let Some(uuid) = wanted.noted {
        return Err(
            refusal.because(&format!("its metadata remembers a filesystem with UUID {uuid}, and its disk is blank"))
        );
    }
    if probe.read_only {
        return Err(refusal.because("its disk can only be read"));
    }
    if probe.size < wanted.size {
        return Err(refusal.because(&format!(
            "its disk has {} bytes, and the volume {}: it may be another disk",
            probe.size, wanted.size
        )));
    }
    Ok(Decision::Make)
}

/// The command that makes a filesystem.
fn by_hand(kind: &str, disk: &str) -> String {
    format!("`sudo mkfs.{kind} {}`", quoted(disk))
}

/// What all refusals have in common.
struct Refusal<'a> {
    probe: &'a Probe,
    wanted: &'a Wanted<'a>,
}

impl Refusal<'_> {
    fn because(&self, why: &str) -> GuestError {
        let Wanted { volume, disk, filesystem, .. } = self.wanted;
        let message = format!("volume {volume} is left as it is: {why}; found: {}", self.probe.in_words());
        let wipe = filesystem.map(|kind| {
            format!(
                "; only if nothing on it is needed: `sudo wipefs --all {}`, then {}, then apply again",
                quoted(disk),
                by_hand(kind, disk)
            )
        });
        GuestError::refused_with(
            message,
            format!("look at it: `sudo lsblk -f {}`{}", quoted(disk), wipe.unwrap_or_default()),
        )
    }
}

#[cfg(test)]
mod tests;
