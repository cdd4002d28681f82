//! A shard: a tar file that is made while it is read, of files wherever they are.
//!
//! Invariants: the same members give the same bytes on every machine: no times, no owners, one mode, the order as given.
//! Its length is known without reading a member, and it can be read from any place on without reading what comes before.
//! So a dataset is sharded into a bucket without a copy of it on the disk.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use super::content::{Detail, Entry, Identity, Reader};
use super::digest::{self, Sha256};

const BLOCK: u64 = 512;
/// Two blocks of zeros end a tar.
const END: u64 = 2 * BLOCK;
/// What the formats of a name are limited to.
const LONGEST_NAME: usize = 100;

/// A tar file to be made; its members' keys are their names in it.
#[derive(Debug)]
pub struct Shard {
    members: Vec<Entry>,
    /// Where each member begins, and where the end mark does.
    offsets: Vec<u64>,
}

impl Shard {
    /// A shard of these members, in this order.
    #[must_use]
    pub fn new(members: Vec<Entry>) -> Self {
        let mut at = 0;
        let mut offsets = Vec::with_capacity(members.len() + 1);
        for member in &members {
            offsets.push(at);
            at += footprint(&member.key, member.size);
        }
        offsets.push(at);
        Self { members, offsets }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.end() + END
    }

    /// How many members it has.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.len()
    }

    fn end(&self) -> u64 {
        self.offsets.last().copied().unwrap_or_default()
    }

    /// Reads it from an offset on.
    ///
    /// # Errors
    /// Why a member cannot be read.
    pub fn reader(shard: &Arc<Self>, offset: u64) -> io::Result<ShardReader> {
        // The last member that begins at or before the offset.
        let at = shard.offsets.partition_point(|start| *start <= offset).saturating_sub(1);
        let mut reader = ShardReader { shard: Arc::clone(shard), next: at, current: None };
        reader.begin(offset - shard.offsets.get(at).copied().unwrap_or_default())?;
        Ok(reader)
    }

    /// What its members are, by what identifies each of them.
    pub(super) fn identity(&self, detail: Detail) -> io::Result<Option<Identity>> {
        let (mut all, mut settled) = (digest::start(b"shard 1\0"), true);
        for member in &self.members {
            let Some(identity) = member.content.identity(detail)? else { return Ok(None) };
            settled &= identity.settled;
            all.update(format!("{}\0{}\0{}\0\0", member.key, member.size, identity.text).as_bytes());
        }
        Ok(Some(Identity { text: format!("shard\0{}", Sha256::finish(all)), settled }))
    }
}

/// How long a member is in a tar of this form.
#[must_use]
pub fn footprint(name: &str, size: u64) -> u64 {
    let long = if name.len() > LONGEST_NAME { BLOCK + (name.len() as u64 + 1).next_multiple_of(BLOCK) } else { 0 };
    long + BLOCK + size.next_multiple_of(BLOCK)
}

/// The header blocks of a member.
fn header(name: &str, size: u64) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(BLOCK as usize);
    let mut short = name.as_bytes();
    if name.len() > LONGEST_NAME {
        // The way of GNU, which every reader of tars knows: the name comes first, as the content of a member.
        let length = name.len() as u64 + 1;
        blocks.extend_from_slice(plain(b"././@LongLink", length, tar::EntryType::GNULongName).as_bytes());
        blocks.extend_from_slice(name.as_bytes());
        blocks.resize(blocks.len() + (length.next_multiple_of(BLOCK) - length + 1) as usize, 0);
        short = &short[..LONGEST_NAME];
    }
    blocks.extend_from_slice(plain(short, size, tar::EntryType::Regular).as_bytes());
    blocks
}

fn plain(name: &[u8], size: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    header
}

/// Reads a shard. Its members are opened one after the other.
pub struct ShardReader {
    shard: Arc<Shard>,
    /// The member that is read, or next.
    next: usize,
    current: Option<Reader>,
}

impl ShardReader {
    /// Begins the next member, so many bytes after its beginning.
    fn begin(&mut self, skip: u64) -> io::Result<()> {
        let at = self.next;
        self.next += 1;
        let Some(member) = self.shard.members.get(at) else {
            if at == self.shard.members.len() {
                self.current = Some(Box::new(io::repeat(0).take(END.saturating_sub(skip))));
            }
            return Ok(());
        };
        let mut head = Cursor::new(header(&member.key, member.size));
        let length = head.get_ref().len() as u64;
        head.set_position(skip.min(length));
        let into = skip.saturating_sub(length);
        let padded = member.size.next_multiple_of(BLOCK);
        let padding = io::repeat(0).take((padded - member.size).min(padded.saturating_sub(into)));
        self.current = Some(match into < member.size {
            true => Box::new(head.chain(member.open(into)?).chain(padding)),
            false => Box::new(head.chain(padding)),
        });
        Ok(())
    }
}

impl Read for ShardReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(current) = &mut self.current {
            match current.read(buffer)? {
                0 => {
                    self.current = None;
                    self.begin(0)?;
                }
                read => return Ok(read),
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::content::Content;

    fn member(name: &str, size: usize) -> Entry {
        let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8 + 1).collect();
        Entry { key: name.into(), size: size as u64, content: Content::Bytes(bytes.into()) }
    }

    fn shard() -> Arc<Shard> {
        let long = format!("{}/{}.jpg", "f".repeat(60), "n".repeat(60));
        let exact = "e".repeat(100);
        let longest = "l".repeat(511);
        Arc::new(Shard::new(vec![
            member("a.jpg", 700),
            member("a.cls", 1),
            member("empty", 0),
            member(&exact, 512),
            member(&long, 513),
            member(&longest, 1),
        ]))
    }

    fn bytes(shard: &Arc<Shard>, offset: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        Content::Shard(Arc::clone(shard)).open(offset, shard.size()).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_shard_is_a_tar_of_the_length_that_was_told() {
        let shard = shard();
        let whole = bytes(&shard, 0);
        assert_eq!(whole.len() as u64, shard.size());
        let mut archive = tar::Archive::new(whole.as_slice());
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            found.push((String::from_utf8(entry.path_bytes().into_owned()).unwrap(), content.len() as u64));
        }
        let wanted: Vec<_> = shard.members.iter().map(|member| (member.key.clone(), member.size)).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn it_is_read_from_any_place() {
        let shard = shard();
        let whole = bytes(&shard, 0);
        let places = (0..whole.len()).step_by(97).chain([0, 511, 512, 513, 1212, 1536, whole.len() - 1, whole.len()]);
        for at in places {
            assert_eq!(bytes(&shard, at as u64), whole[at..], "from {at}");
        }
    }
}
