//! 7z archives, unpacked into a folder: their files are compressed together.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use sevenz_rust2::{ArchiveReader, Password};

use super::budget::Budget;
use super::inside::Inside;
use super::packing::MOST_MEMORY;
use crate::dataset::{DatasetError, ErrorKind};

/// That the upper half of the attributes is a Unix mode.
const UNIX: u32 = 0x8000;
const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
const REGULAR: u32 = 0o100_000;

/// Unpacks a 7z.
pub(super) fn unpack(path: &Path, folder: &Path, budget: Budget<'_>) -> Result<(), DatasetError> {
    let file = File::open(path).map_err(|error| DatasetError::file(path, error))?;
    let most = usize::try_from(MOST_MEMORY >> 10).unwrap_or(usize::MAX);
    let mut archive = ArchiveReader::new_with_memory_limit(BufReader::new(file), Password::empty(), most)
        .map_err(|error| failed(path, error))?;
    let announced = archive.archive().files.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size()));
    budget.announced(announced)?;
    let mut inside = Inside::new(budget);
    let done = archive.for_each_entries(|entry, content| {
        one(entry, content, folder, &mut inside).map(|()| true).map_err(|error| error.into_io().into())
    });
    done.map_err(|error| failed(path, error))?;
    inside.on_disk(folder)
}

fn one(
    entry: &sevenz_rust2::ArchiveEntry,
    content: &mut dyn Read,
    folder: &Path,
    inside: &mut Inside<'_>,
) -> Result<(), DatasetError> {
    let raw = entry.name().as_bytes();
    if entry.is_directory() {
        return inside.folder(raw);
    }
    let attributes = entry.windows_attributes();
    let kind = if attributes & UNIX == 0 { 0 } else { (attributes >> 16) & KIND };
    match kind {
        LINK => inside.link_in(raw, content),
        0 | REGULAR if !entry.is_anti_item() => {
            let name = inside.file(raw)?;
            inside.write(&name, folder, content)
        }
        _ => Err(inside.refused(raw, "it is a device, a pipe, or an order to delete")),
    }
}

fn failed(path: &Path, error: sevenz_rust2::Error) -> DatasetError {
    use sevenz_rust2::Error;
    let damaged = |text: &str| DatasetError::new(ErrorKind::Archive, format!("{}: {text}", path.display()));
    match error {
        Error::Io(error, _) | Error::FileOpen(error, _) => {
            let kind = error.kind();
            match DatasetError::io(ErrorKind::Archive, &path.display(), error) {
                // What is behind the end of the file is the directory, or the last block.
                text if kind == io::ErrorKind::UnexpectedEof => text,
                other => other,
            }
        }
        Error::PasswordRequired | Error::MaybeBadPassword(_) => {
            damaged("it is encrypted").hint("unpack it by hand, and give the folder as `path:`")
        }
        Error::MaxMemLimited { .. } => damaged("it asks for more memory to unpack it than is allowed"),
        Error::Unsupported(what) => damaged(&format!("it needs what anole does not have: {what}")),
        other => damaged(&format!("it is damaged ({other})")),
    }
}
