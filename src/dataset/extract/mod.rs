//! What a file is by its content, and the files in it.
//!
//! ```text
//!  zip, tar ──────── read in place ──▶ entries that are members of the archive: nothing is unpacked
//!  7z, tar.gz, .zst, .xz, one file packed ──▶ unpacked into the staging folder, whole or not at all
//!  anything else ──▶ itself
//! ```
//!
//! A zip and a tar can be read at any place, so their members need no second copy on the disk: they are read from the
//! archive when their digest is taken and when they are loaded. What is compressed as a whole is unpacked once.
//!
//! Invariants:
//! - No entry gets a path outside the folder, and no link, device or pipe is ever made: a link to a file of the same
//!   archive becomes that file, and one that leads out is an error.
//! - Files, bytes and the ratio to the archive's own size are bounded by [`Limits`] and by the disk.
//! - An archive that is cut short or damaged is an error that names it and its entry. What is inside archives is left
//!   alone, archives too.

mod budget;
mod inside;
mod packing;
mod seven;
mod tarball;
mod zip;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use budget::Budget;
pub(super) use packing::Packing;

use super::content::{Entry, Open};
use super::digest::Sha256;
use super::job::Limits;
use super::staging::Staging;
use super::{DatasetError, ErrorKind, Watch};

/// How much is read to tell what a file is: a tar tells it by its first block.
const LOOK: usize = 512;
/// Raised when the same archive unpacks otherwise, so that folders of an earlier version are made anew.
const VERSION: u32 = 1;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Zip,
    SevenZip,
    Tar,
    Packed(Packing),
    /// An archive that is not read, by its name.
    Unread(&'static str),
    Plain,
}

/// What [`entries`] works with.
pub(super) struct Extracting<'a> {
    pub(super) staging: &'a Staging,
    pub(super) limits: Limits,
    pub(super) watch: &'a dyn Watch,
}

/// The files in a file; `name` is what it is called where it is no archive, or a single packed file.
pub(super) fn entries(file: &Path, name: &str, with: &Extracting<'_>) -> Result<Vec<Entry>, DatasetError> {
    let failed = |error| DatasetError::file(file, error);
    let meta = std::fs::metadata(file).map_err(failed)?;
    let found = match sort(file).map_err(failed)? {
        Sort::Plain if is_called_an_archive(name) => {
            let text = format!("{} is called `{name}`, and is no archive by its content", file.display());
            let hint = "is it a web page? `head -c 200` shows how it begins; `extract: none` loads it as it is";
            return Err(DatasetError::new(ErrorKind::Archive, text).hint(hint));
        }
        Sort::Plain => return Ok(vec![Entry::file(name, file, meta.len())]),
        Sort::Unread(format) => {
            let text = format!("{} is {format}, which anole does not unpack", file.display());
            let hint = "unpack it by hand and give the folder as `path:`, or load it as it is with `extract: none`";
            return Err(DatasetError::new(ErrorKind::Archive, text).hint(hint));
        }
        Sort::Zip => zip::entries(file, Budget::new(file, meta.len(), with))?,
        Sort::Tar => tarball::in_place(file, Budget::new(file, meta.len(), with))?,
        Sort::SevenZip => unpacked(file, with, |folder| {
            seven::unpack(file, folder, Budget::new(file, meta.len(), with).on_disk(folder))
        })?,
        Sort::Packed(packing) => unpacked(file, with, |folder| {
            let budget = Budget::new(file, meta.len(), with).on_disk(folder);
            let reader = packing.unpack(Box::new(BufReader::new(File::open(file).map_err(failed)?))).map_err(failed)?;
            inside_packed(reader, &without_suffix(name), folder, budget)
        })?,
    };
    if found.is_empty() {
        return Err(DatasetError::new(ErrorKind::Archive, format!("{} is empty: no file is in it", file.display())));
    }
    Ok(found)
}

/// Whether a file may be an archive, by its first bytes or by what it is called: [`entries`] tells.
pub(super) fn may_be_archive(content: &dyn Open, name: &str) -> Result<bool, DatasetError> {
    let mut start = Vec::with_capacity(LOOK);
    let read = content.open(0).and_then(|reader| reader.take(LOOK as u64).read_to_end(&mut start));
    read.map_err(|error| DatasetError::io(ErrorKind::Source, &content.origin(), error))?;
    Ok(sort_of(&start) != Sort::Plain || is_called_an_archive(name))
}

/// A folder of the staging with what `unpack` puts there. It is known by which file the archive is.
fn unpacked(
    file: &Path,
    with: &Extracting<'_>,
    unpack: impl FnOnce(&Path) -> Result<(), DatasetError>,
) -> Result<Vec<Entry>, DatasetError> {
    let meta = std::fs::metadata(file).map_err(|error| DatasetError::file(file, error))?;
    let identity = super::content::lasting(file, &meta);
    let id = Sha256::of(format!("unpacked {VERSION}\0{identity}").as_bytes());
    with.staging.made(&id, unpack)
}

/// A packed file holds a tar, or is one file.
fn inside_packed(
    reader: super::content::Reader,
    name: &str,
    folder: &Path,
    budget: Budget<'_>,
) -> Result<(), DatasetError> {
    let archive = budget.archive.clone();
    let failed = |error| DatasetError::io(ErrorKind::Archive, &archive.display(), error);
    let mut reader = budget.bounded(reader);
    let mut start = Vec::with_capacity(LOOK);
    (&mut reader).take(LOOK as u64).read_to_end(&mut start).map_err(failed)?;
    let is_tar = sort_of(&start) == Sort::Tar;
    let whole = std::io::Cursor::new(start).chain(reader);
    match is_tar {
        true => tarball::unpack(whole, folder, budget),
        false => inside::Inside::new(budget).single(name, folder, whole),
    }
}

/// `ratings.csv.gz` holds `ratings.csv`.
fn without_suffix(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, "gz" | "xz" | "zst" | "zstd")) if !stem.is_empty() => stem.to_owned(),
        _ => name.to_owned(),
    }
}

/// A name that promises an archive: where it is none, something else came than was asked for.
fn is_called_an_archive(name: &str) -> bool {
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix.to_ascii_lowercase());
    suffix.is_some_and(|suffix| ["zip", "7z", "tar", "tgz", "gz", "xz", "zst"].contains(&suffix.as_str()))
}

fn sort(file: &Path) -> std::io::Result<Sort> {
    let mut start = Vec::with_capacity(LOOK);
    File::open(file)?.take(LOOK as u64).read_to_end(&mut start)?;
    Ok(sort_of(&start))
}

/// What a file is, by its first bytes.
fn sort_of(start: &[u8]) -> Sort {
    const MAGIC: [(&[u8], Sort); 9] = [
        (b"PK\x03\x04", Sort::Zip),
        (b"PK\x05\x06", Sort::Zip),
        (b"7z\xbc\xaf\x27\x1c", Sort::SevenZip),
        (b"\x1f\x8b", Sort::Packed(Packing::Gzip)),
        (b"\x28\xb5\x2f\xfd", Sort::Packed(Packing::Zstd)),
        (b"\xfd7zXZ\0", Sort::Packed(Packing::Xz)),
        (b"BZh", Sort::Unread("packed by bzip2")),
        (b"Rar!\x1a\x07", Sort::Unread("a RAR archive")),
        (b"PK\x07\x08", Sort::Unread("a part of a zip in several parts")),
    ];
    match MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, sort)) => *sort,
        None if tarball::is_tar(start) => Sort::Tar,
        None => Sort::Plain,
    }
}
