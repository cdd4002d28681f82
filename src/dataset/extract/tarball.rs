//! Tar archives: read in place where they are not packed, else unpacked from a stream.
//!
//! Invariants: an archive without the mark of its end is cut short; so is one whose packing ends early, for it is read
//! to its end.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use tar::EntryType;

use super::budget::Budget;
use super::inside::Inside;
use super::packing::Packing;
use crate::dataset::content::{Archive, Content, Entry, Member};
use crate::dataset::{DatasetError, ErrorKind};

const BLOCK: usize = 512;

/// Whether a file that begins so is a tar: its first block is a header with the right sum.
pub(super) fn is_tar(start: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK]>::try_from(start) else { return false };
    if block.iter().all(|byte| *byte == 0) {
        return false;
    }
    let header = tar::Header::from_byte_slice(block);
    // The sum counts its own field as blanks.
    let sum: u32 =
        block.iter().enumerate().map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte })).sum();
    header.cksum().is_ok_and(|told| told == sum)
}

/// What an entry is to us.
enum Sort {
    File,
    Folder,
    Link {
        symbolic: bool,
    },
    /// Remarks of the format itself.
    Nothing,
}

fn sort(entry: &mut tar::Entry<'_, impl Read>) -> Result<Sort, &'static str> {
    const HOLES: &str = "it is a file with holes, which anole does not unpack";
    // The newer form looks like any file, with a map of the holes before its content.
    let extensions = entry.pax_extensions().map_err(|_| "its extended header is damaged")?;
    for extension in extensions.into_iter().flatten() {
        let extension = extension.map_err(|_| "its extended header is damaged")?;
        if extension.key_bytes().starts_with(b"GNU.sparse.") {
            return Err(HOLES);
        }
    }
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => Ok(Sort::File),
        EntryType::Directory => Ok(Sort::Folder),
        EntryType::Symlink => Ok(Sort::Link { symbolic: true }),
        EntryType::Link => Ok(Sort::Link { symbolic: false }),
        EntryType::XGlobalHeader => Ok(Sort::Nothing),
        EntryType::GNUSparse => Err(HOLES),
        EntryType::Block | EntryType::Char | EntryType::Fifo => Err("it is a device or a pipe"),
        _ => Err("it is of a kind that anole does not know"),
    }
}

/// Goes through the entries; `file` is given what is a file.
fn each<R: Read>(
    archive: &mut tar::Archive<R>,
    inside: &mut Inside<'_>,
    mut file: impl FnMut(&mut Inside<'_>, String, &mut tar::Entry<'_, R>) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let path = inside.budget.archive.clone();
    let mut last = None;
    let broken = |last: &Option<String>, error: io::Error| {
        let what = match last {
            Some(name) => format!("{}, after entry `{name}`", path.display()),
            None => path.display().to_string(),
        };
        // The library has no kind of its own for a header that is cut.
        let cut = error.to_string().contains("unexpected EOF") || error.to_string().contains("failed to read entire");
        let error = if cut { io::ErrorKind::UnexpectedEof.into() } else { error };
        DatasetError::io(ErrorKind::Archive, &what, error)
    };
    for entry in archive.entries().map_err(|error| broken(&last, error))? {
        let mut entry = entry.map_err(|error| broken(&last, error))?;
        let raw = entry.path_bytes().into_owned();
        match sort(&mut entry).map_err(|why| inside.refused(&raw, why))? {
            Sort::Nothing => continue,
            Sort::Folder => inside.folder(&raw)?,
            Sort::Link { symbolic } => {
                let target = entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
                inside.link(&raw, &target, symbolic)?;
            }
            Sort::File => {
                let key = inside.file(&raw)?;
                file(inside, key, &mut entry)?;
            }
        }
        last = Some(crate::dataset::names::shown(&raw));
    }
    Ok(())
}

/// The files in a tar that is not packed.
pub(super) fn in_place(path: &Path, budget: Budget<'_>) -> Result<Vec<Entry>, DatasetError> {
    let failed = |error| DatasetError::file(path, error);
    let source = Arc::new(Archive::open(path).map_err(failed)?);
    let length = source.file.metadata().map_err(failed)?.len();
    let mut inside = Inside::new(budget);
    let mut found = Vec::new();
    let mut end = 0;
    let file = File::open(path).map_err(failed)?;
    each(&mut tar::Archive::new(file), &mut inside, |inside, key, entry| {
        let (offset, size) = (entry.raw_file_position(), entry.size());
        let raw = entry.path_bytes().into_owned();
        end = offset.saturating_add(size).next_multiple_of(BLOCK as u64);
        if end > length.next_multiple_of(BLOCK as u64) {
            return Err(inside.failed(&raw, io::ErrorKind::UnexpectedEof.into()));
        }
        inside.budget.bytes(size)?;
        let name = String::from_utf8_lossy(&raw).into_owned();
        let member = Member { name, offset, packed: size, packing: Packing::Stored, crc: None };
        found.push(Entry { key, size, content: Content::Member(Arc::clone(&source), Arc::new(member)) });
        Ok(())
    })?;
    marked(&source.file, end, path)?;
    inside.in_place(found)
}

/// That the archive has the mark of its end: a block of zeros somewhere after its last file.
fn marked(file: &File, mut at: u64, path: &Path) -> Result<(), DatasetError> {
    let mut block = [0; BLOCK];
    loop {
        match file.read_exact_at(&mut block, at) {
            Ok(()) if block.iter().all(|byte| *byte == 0) => return Ok(()),
            // Folders and links may come after the last file.
            Ok(()) => at += BLOCK as u64,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(DatasetError::io(ErrorKind::Archive, &path.display(), error));
            }
            Err(error) => return Err(DatasetError::file(path, error)),
        }
    }
}

/// Unpacks a tar from a stream.
pub(super) fn unpack(stream: impl Read, folder: &Path, budget: Budget<'_>) -> Result<(), DatasetError> {
    let mut archive = tar::Archive::new(stream);
    let mut inside = Inside::new(budget);
    each(&mut archive, &mut inside, |inside, key, entry| {
        let size = entry.size();
        let mut counted = Counted { inner: entry, read: 0 };
        inside.write(&key, folder, &mut counted)?;
        match counted.read == size {
            true => Ok(()),
            false => Err(inside.failed(key.as_bytes(), io::ErrorKind::UnexpectedEof.into())),
        }
    })?;
    // The rest is nothing but zeros; but the packing's checksum comes after it.
    let path = inside.budget.archive.clone();
    io::copy(&mut archive.into_inner(), &mut io::sink())
        .map_err(|error| DatasetError::io(ErrorKind::Archive, &path.display(), error))?;
    inside.on_disk(folder)
}

struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}
