//! Zip archives, read in place.
//!
//! Invariants: the archive's directory is read whole, and has as many entries as its end says; every entry's data lies
//! within the file, and no two entries share any of it, as those of some bombs do.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rawzip::{CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipFileHeaderRecord};

use super::budget::Budget;
use super::inside::Inside;
use super::packing::Packing;
use crate::dataset::content::{Archive, Content, Entry, Member};
use crate::dataset::{DatasetError, ErrorKind};

/// The kinds of files in a Unix mode.
const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// An entry of the directory.
struct Listed {
    raw: Vec<u8>,
    folder: bool,
    link: bool,
    size: u64,
    packed: u64,
    packing: Packing,
    crc: u32,
    place: rawzip::ZipArchiveEntryWayfinder,
}

/// The files in a zip.
pub(super) fn entries(file: &Path, budget: Budget<'_>) -> Result<Vec<Entry>, DatasetError> {
    let failed = |error| DatasetError::file(file, error);
    let source = Arc::new(Archive::open(file).map_err(failed)?);
    let length = source.file.metadata().map_err(failed)?.len();
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let reader = File::open(file).map_err(failed)?;
    let archive = ZipArchive::from_file(reader, &mut buffer).map_err(|error| damaged(file, error.into_kind()))?;
    let mut inside = Inside::new(budget);
    let listed = list(file, &archive, &mut inside)?;
    let mut ranges = Vec::with_capacity(listed.len());
    let mut found = Vec::with_capacity(listed.len());
    for one in listed {
        if one.folder {
            inside.folder(&one.raw)?;
            continue;
        }
        let place = archive.get_entry(one.place).map_err(|error| inside.failed(&one.raw, as_io(error.into_kind())))?;
        let (start, end) = place.compressed_data_range();
        if end > length || end.saturating_sub(start) != one.packed {
            return Err(inside.failed(&one.raw, io::ErrorKind::UnexpectedEof.into()));
        }
        ranges.push((start, end));
        let name = String::from_utf8_lossy(&one.raw).into_owned();
        let member = Member { name, offset: start, packed: one.packed, packing: one.packing, crc: Some(one.crc) };
        let content = Content::Member(Arc::clone(&source), Arc::new(member));
        if one.link {
            let mut target = content.open(0, one.size).map_err(|error| inside.failed(&one.raw, error))?;
            inside.link_in(&one.raw, &mut target)?;
            continue;
        }
        let key = inside.file(&one.raw)?;
        inside.budget.bytes(one.size)?;
        found.push(Entry { key, size: one.size, content });
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[1].0 < pair[0].1) {
        let text = format!("{}: its entries share their data, as those of a bomb do", file.display());
        return Err(DatasetError::new(ErrorKind::Archive, text));
    }
    inside.in_place(found)
}

fn list(file: &Path, archive: &ZipArchive<FileReader>, inside: &mut Inside<'_>) -> Result<Vec<Listed>, DatasetError> {
    // A name and its extra fields have 64 KiB each at most.
    let mut buffer = vec![0; rawzip::MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let mut entries = archive.entries(&mut buffer);
    let mut listed = Vec::new();
    while let Some(entry) = entries.next_entry().map_err(|error| damaged(file, error.into_kind()))? {
        listed.push(one(&entry, inside)?);
    }
    match listed.len() as u64 == archive.entries_hint() {
        true => Ok(listed),
        false => {
            let text = format!(
                "{} is damaged: its directory has {} entries, and its end says {}",
                file.display(),
                listed.len(),
                archive.entries_hint()
            );
            Err(DatasetError::new(ErrorKind::Archive, text))
        }
    }
}

fn one(entry: &ZipFileHeaderRecord<'_>, inside: &mut Inside<'_>) -> Result<Listed, DatasetError> {
    let raw = entry.file_path().as_bytes().to_vec();
    if entry.flags().is_encrypted() {
        return Err(inside.refused(&raw, "it is encrypted").hint("unpack it by hand, and give the folder as `path:`"));
    }
    let packing = match entry.compression_method() {
        CompressionMethod::STORE => Packing::Stored,
        CompressionMethod::DEFLATE => Packing::Deflate,
        CompressionMethod::DEFLATE64 => Packing::Deflate64,
        CompressionMethod::ZSTD => Packing::Zstd,
        CompressionMethod::XZ => Packing::Xz,
        other => {
            let why =
                format!("it is packed by {}, which anole does not unpack", other.name().unwrap_or("an unknown method"));
            return Err(inside.refused(&raw, &why).hint("unpack it by hand, and give the folder as `path:`"));
        }
    };
    let kind = entry.mode().value() & KIND;
    let folder = entry.is_dir() || raw.ends_with(b"\\") || kind == FOLDER;
    if !folder && ![0, REGULAR, LINK].contains(&kind) {
        return Err(inside.refused(&raw, "it is a device or a pipe"));
    }
    Ok(Listed {
        folder,
        link: kind == LINK,
        size: entry.uncompressed_size_hint(),
        packed: entry.compressed_size_hint(),
        packing,
        crc: entry.crc32(),
        place: entry.wayfinder(),
        raw,
    })
}

fn as_io(kind: rawzip::ErrorKind) -> io::Error {
    match kind {
        rawzip::ErrorKind::IO(error) => error,
        rawzip::ErrorKind::Eof => io::ErrorKind::UnexpectedEof.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

fn damaged(file: &Path, kind: rawzip::ErrorKind) -> DatasetError {
    if matches!(kind, rawzip::ErrorKind::MissingEndOfCentralDirectory) {
        let text = format!("{} is cut short: the directory at the end of the zip is missing", file.display());
        return DatasetError::new(ErrorKind::Archive, text);
    }
    DatasetError::io(ErrorKind::Archive, &file.display(), as_io(kind))
}
