//! What an archive may unpack to: so many files and bytes, so many times its own size, and no more than the disk holds.
//!
//! Invariants: what is counted is what comes out, not what the archive says of itself. A stop is noticed here too.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Extracting;
use crate::dataset::content::Reader;
use crate::dataset::job::Limits;
use crate::dataset::text::{bytes, thousands};
use crate::dataset::{DatasetError, ErrorKind, Progress, Watch, staging};

/// Below this many bytes the ratio does not count: a small file of zeros harms nobody.
const FLOOR: u64 = 8 << 20;
/// How often the disk is looked at, in bytes.
const LOOK_EVERY: u64 = 64 << 20;

/// Counts what comes out of one archive.
pub(super) struct Budget<'a> {
    pub(super) archive: PathBuf,
    packed: u64,
    limits: Limits,
    watch: &'a dyn Watch,
    disk: Option<PathBuf>,
    files: u64,
    bytes: u64,
    next_look: u64,
}

impl<'a> Budget<'a> {
    /// A budget for an archive of a size.
    pub(super) fn new(archive: &Path, packed: u64, with: &Extracting<'a>) -> Self {
        let (archive, limits, watch) = (archive.to_owned(), with.limits, with.watch);
        Self { archive, packed, limits, watch, disk: None, files: 0, bytes: 0, next_look: 0 }
    }

    /// What comes out is written to a folder.
    pub(super) fn on_disk(mut self, folder: &Path) -> Self {
        self.disk = Some(folder.to_owned());
        self
    }

    /// One more file.
    pub(super) fn file(&mut self) -> Result<(), DatasetError> {
        self.files += 1;
        if self.files > self.limits.files {
            return Err(self.too_much(&format!("more than {} files", thousands(self.limits.files)), "files"));
        }
        if self.watch.stopped() {
            return Err(DatasetError::stopped());
        }
        Ok(())
    }

    /// So many bytes more.
    pub(super) fn bytes(&mut self, more: u64) -> Result<(), DatasetError> {
        self.bytes = self.bytes.saturating_add(more);
        self.bounds(self.bytes)?;
        if self.disk.is_some() {
            self.watch.tell(Progress::Bytes(more));
        }
        if let Some(disk) = &self.disk
            && self.bytes >= self.next_look
        {
            if self.watch.stopped() {
                return Err(DatasetError::stopped());
            }
            let what = format!("what {} unpacks to", self.archive.display());
            staging::fits(disk, LOOK_EVERY, &what)?;
            self.next_look = self.bytes + LOOK_EVERY;
        }
        Ok(())
    }

    /// What an archive says that it unpacks to, before any of it is written.
    pub(super) fn announced(&self, bytes: u64) -> Result<(), DatasetError> {
        self.bounds(bytes)?;
        match &self.disk {
            Some(disk) => staging::fits(disk, bytes, &format!("what {} unpacks to", self.archive.display())),
            None => Ok(()),
        }
    }

    fn bounds(&self, total: u64) -> Result<(), DatasetError> {
        bounds(&self.archive, total, self.packed, &self.limits)
    }

    fn too_much(&self, what: &str, limit: &str) -> DatasetError {
        too_much(&self.archive, what, limit)
    }

    /// A reader that ends with an error where an archive hides bulk between its files.
    pub(super) fn bounded(&self, inner: Reader) -> Bounded {
        let most = self.limits.bytes.saturating_mul(2).saturating_add(FLOOR);
        let limits = Limits { bytes: most, ..self.limits };
        Bounded { inner, archive: self.archive.clone(), packed: self.packed, limits, read: 0 }
    }
}

/// See [`Budget::bounded`].
pub(super) struct Bounded {
    inner: Reader,
    archive: PathBuf,
    packed: u64,
    limits: Limits,
    read: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        bounds(&self.archive, self.read, self.packed, &self.limits).map_err(DatasetError::into_io)?;
        Ok(read)
    }
}

fn bounds(archive: &Path, total: u64, packed: u64, limits: &Limits) -> Result<(), DatasetError> {
    if total > limits.bytes {
        return Err(too_much(archive, &format!("more than {}", bytes(limits.bytes)), "bytes"));
    }
    if total > FLOOR && total / limits.ratio.max(1) > packed {
        return Err(too_much(archive, &format!("more than {} times its size", thousands(limits.ratio)), "ratio"));
    }
    Ok(())
}

fn too_much(archive: &Path, what: &str, limit: &str) -> DatasetError {
    let text = format!("{} unpacks to {what}", archive.display());
    DatasetError::new(ErrorKind::Limit, text).hint(format!("if that is right, raise `{limit}:` of its `limits:`"))
}
