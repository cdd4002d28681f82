//! What is found in an archive, whatever its format: names, files, links.
//!
//! Invariants: a name comes once; a file is only made where none is, below the folder, in a folder that holds nothing
//! but what was made here, so no link can lead a file elsewhere. Links are not made: they become what they lead to.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::budget::Budget;
use crate::dataset::content::Entry;
use crate::dataset::{DatasetError, ErrorKind, names};

/// How many links may lead to each other.
const MOST_HOPS: usize = 16;
/// The longest target of a link, in bytes.
const LONGEST_TARGET: u64 = 4096;
/// How much is written at once.
const BLOCK: usize = 128 << 10;

/// Collects what is in one archive.
pub(super) struct Inside<'a> {
    pub(super) budget: Budget<'a>,
    /// The names of files; true for links.
    seen: HashMap<String, bool>,
    links: Vec<(String, String)>,
    block: Vec<u8>,
}

impl<'a> Inside<'a> {
    pub(super) fn new(budget: Budget<'a>) -> Self {
        Self { budget, seen: HashMap::new(), links: Vec::new(), block: Vec::new() }
    }

    /// That an entry is refused, and why.
    pub(super) fn refused(&self, raw: &[u8], why: &str) -> DatasetError {
        let text = format!("{}, entry `{}`: {why}", self.budget.archive.display(), names::shown(raw));
        DatasetError::new(ErrorKind::Archive, text)
    }

    /// That an entry cannot be read.
    pub(super) fn failed(&self, raw: &[u8], error: io::Error) -> DatasetError {
        let what = format!("{}, entry `{}`", self.budget.archive.display(), names::shown(raw));
        DatasetError::io(ErrorKind::Archive, &what, error)
    }

    /// A folder of the archive: only its name matters, for folders come with their files.
    pub(super) fn folder(&mut self, raw: &[u8]) -> Result<(), DatasetError> {
        names::entry(raw).map_err(|why| self.refused(raw, &why))?;
        self.budget.file()
    }

    /// A file of the archive: where it is put.
    pub(super) fn file(&mut self, raw: &[u8]) -> Result<String, DatasetError> {
        self.name(raw, false)
    }

    fn name(&mut self, raw: &[u8], link: bool) -> Result<String, DatasetError> {
        let name = names::entry(raw).map_err(|why| self.refused(raw, &why))?;
        let name = name.ok_or_else(|| self.refused(raw, "it is a file without a name"))?;
        if self.seen.insert(name.clone(), link).is_some() {
            return Err(self.refused(raw, "it is there twice, and which one counts is not said"));
        }
        self.budget.file()?;
        Ok(name)
    }

    /// A link of the archive.
    pub(super) fn link(&mut self, raw: &[u8], target: &[u8], symbolic: bool) -> Result<(), DatasetError> {
        let name = self.name(raw, true)?;
        let target = names::link_target(&name, target, symbolic).map_err(|why| self.refused(raw, &why))?;
        self.links.push((name, target));
        Ok(())
    }

    /// A symbolic link whose target is the entry's content.
    pub(super) fn link_in(&mut self, raw: &[u8], content: &mut dyn Read) -> Result<(), DatasetError> {
        let mut target = Vec::new();
        content.take(LONGEST_TARGET).read_to_end(&mut target).map_err(|error| self.failed(raw, error))?;
        self.link(raw, &target, true)
    }

    /// Which file each link leads to.
    fn resolved(&mut self) -> Result<Vec<(String, String)>, DatasetError> {
        let links = std::mem::take(&mut self.links);
        let onward: HashMap<&str, &str> = links.iter().map(|(name, target)| (name.as_str(), target.as_str())).collect();
        let mut found = Vec::with_capacity(links.len());
        for (name, target) in &links {
            let mut at = target.as_str();
            for _ in 0..MOST_HOPS {
                match onward.get(at) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            if self.seen.get(at) != Some(&false) {
                let why = format!("it is a link to `{at}`, which is no file of the archive");
                return Err(self.refused(name.as_bytes(), &why));
            }
            found.push((name.clone(), at.to_owned()));
        }
        Ok(found)
    }

    /// The entries of an archive that is read in place, with its links.
    pub(super) fn in_place(mut self, mut entries: Vec<Entry>) -> Result<Vec<Entry>, DatasetError> {
        let links = self.resolved()?;
        if links.is_empty() {
            return Ok(entries);
        }
        let places: HashMap<String, usize> =
            entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
        for (name, target) in links {
            let Some(at) = places.get(&target) else { continue };
            let (size, content) = (entries[*at].size, entries[*at].content.clone());
            self.budget.bytes(size)?;
            entries.push(Entry { key: name, size, content });
        }
        Ok(entries)
    }

    /// Writes a file below a folder.
    pub(super) fn write(&mut self, name: &str, folder: &Path, content: &mut dyn Read) -> Result<(), DatasetError> {
        let path = folder.join(name);
        let not_made = |error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists => {
                self.refused(name.as_bytes(), "a file and a folder of the archive have the same name")
            }
            _ => DatasetError::file(&path, error),
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(not_made)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(not_made)?;
        self.block.resize(BLOCK, 0);
        loop {
            let read = match content.read(&mut self.block) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(name.as_bytes(), error)),
            };
            self.budget.bytes(read as u64)?;
            file.write_all(&self.block[..read]).map_err(|error| DatasetError::file(&path, error))?;
        }
    }

    /// Makes the links of an archive that was unpacked: each is its file once more, at no cost on the disk.
    pub(super) fn on_disk(mut self, folder: &Path) -> Result<(), DatasetError> {
        for (name, target) in self.resolved()? {
            let path = folder.join(&name);
            let made = fs::create_dir_all(path.parent().unwrap_or(folder))
                .and_then(|()| fs::hard_link(folder.join(target), &path));
            made.map_err(|error| DatasetError::file(&path, error))?;
        }
        Ok(())
    }

    /// A packed file that is one file.
    pub(super) fn single(mut self, name: &str, folder: &Path, mut content: impl Read) -> Result<(), DatasetError> {
        let name = self.file(name.as_bytes())?;
        self.write(&name, folder, &mut content)
    }
}
