//! Files of this machine that are copied to servers: a file, or a folder with all that is in it.
//!
//! In: a path. Out: a [`Listing`] with a digest for each file, and one digest of all of it. The same content gives the
//! same digest wherever it lies; permissions count as far as a file can be executed. Blocking.
//!
//! Invariants: what is listed is bounded in number, size and depth, and told to be too much before it is read whole.

use std::io::Read;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use crate::hex;

/// The most files of one tree.
pub const MOST_FILES: usize = 2_000;
/// The most bytes of one tree: 256 MiB.
pub const MOST_BYTES: u64 = 256 << 20;
/// The most files and folders that are looked at.
const MOST_ENTRIES: usize = 10 * MOST_FILES;
/// The most folders inside each other; links can go in circles.
const DEEPEST: usize = 32;

/// What is to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Its files, by path.
    pub files: Vec<LocalFile>,
    /// The digest of all of them.
    pub digest: String,
}

/// A file of a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the folder, with `/` between; empty where the tree is one file.
    pub relative: String,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// The absolute path of a tree, and its digest.
///
/// # Errors
/// Why it cannot be read, or that it is too much.
pub fn digest_of(path: &Path) -> Result<(String, String), String> {
    let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
    let text = absolute.to_str().ok_or("its path is no text")?.to_owned();
    Ok((text, list(&absolute)?.digest))
}

/// Lists a tree.
///
/// # Errors
/// Why it cannot be read, or that it is too much.
pub fn list(root: &Path) -> Result<Listing, String> {
    let mut walk = Walk { files: Vec::new(), bytes: 0, entries: 0 };
    walk.visit(root, "", 0)?;
    walk.files.sort_by(|a, b| a.relative.cmp(&b.relative));
    let mut all = Context::new(&SHA256);
    for file in &walk.files {
        let mark = if file.executable { "x" } else { "-" };
        all.update(format!("{}\0{mark}\0{}\n", file.relative, file.sha256).as_bytes());
    }
    // Half of it tells contents apart as well, and reads better.
    Ok(Listing { files: walk.files, digest: hex::encode(&all.finish().as_ref()[..16]) })
}

/// The content of a listed file, which must still be what was listed.
///
/// # Errors
/// That it is another one by now, or cannot be read.
pub fn read(file: &LocalFile) -> Result<Vec<u8>, String> {
    let content = std::fs::read(&file.path).map_err(|error| error.to_string())?;
    match hex::encode(ring::digest::digest(&SHA256, &content).as_ref()) == file.sha256 {
        true => Ok(content),
        false => Err("it was changed while it was copied".to_owned()),
    }
}

struct Walk {
    files: Vec<LocalFile>,
    bytes: u64,
    entries: usize,
}

impl Walk {
    fn visit(&mut self, path: &Path, relative: &str, depth: usize) -> Result<(), String> {
        let about = |error: std::io::Error| match relative {
            "" => error.to_string(),
            name => format!("{name}: {error}"),
        };
        let meta = std::fs::metadata(path).map_err(about)?;
        if meta.is_file() {
            return self.file(path, relative, &meta);
        }
        if !meta.is_dir() {
            return Err(format!("{relative} is neither a file nor a folder").trim_start().to_owned());
        }
        if depth == DEEPEST || self.entries > MOST_ENTRIES {
            return Err(format!("{relative}: too many folders; does a link go in a circle?"));
        }
        for entry in std::fs::read_dir(path).map_err(about)? {
            let entry = entry.map_err(about)?;
            self.entries += 1;
            let name = entry.file_name();
            let name = name.to_str().filter(|name| !name.contains(['\n', '\r']));
            let name = name.ok_or_else(|| format!("it holds a file whose name is no text: {:?}", entry.file_name()))?;
            let below = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            self.visit(&entry.path(), &below, depth + 1)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, relative: &str, meta: &std::fs::Metadata) -> Result<(), String> {
        self.bytes += meta.len();
        if self.bytes > MOST_BYTES || self.files.len() == MOST_FILES {
            return Err(format!(
                "it is more than the {MOST_FILES} files or {} MiB that are copied by a script; larger data belongs on a \
                 volume or in a bucket",
                MOST_BYTES >> 20
            ));
        }
        let sha256 = digest(path).map_err(|error| format!("{relative}: {error}"))?;
        let file = LocalFile { path: path.to_owned(), relative: relative.to_owned(), sha256, executable: runs(meta) };
        self.files.push(file);
        Ok(())
    }
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut block = vec![0; 64 << 10];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex::encode(context.finish().as_ref())),
            length => context.update(&block[..length]),
        }
    }
}

#[cfg(unix)]
fn runs(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn runs(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_and_not_where_it_lies() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&one, &other] {
            std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
            std::fs::write(folder.path().join("a/b/c"), "hello").unwrap();
            std::fs::write(folder.path().join("z"), "").unwrap();
        }
        let first = list(one.path()).unwrap();
        let names: Vec<_> = first.files.iter().map(|file| file.relative.as_str()).collect();
        assert_eq!(names, ["a/b/c", "z"]);
        assert_eq!(first.files[0].sha256, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        assert_eq!(first.digest, digest_of(other.path()).unwrap().1);
        std::fs::write(other.path().join("z"), "x").unwrap();
        assert_ne!(first.digest, list(other.path()).unwrap().digest);
        assert_eq!(read(&first.files[0]).unwrap(), b"hello");
        std::fs::write(one.path().join("a/b/c"), "other").unwrap();
        assert!(read(&first.files[0]).unwrap_err().contains("changed"));
        assert!(list(&one.path().join("nothing")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_and_endless_files_end() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
        assert!(list(folder.path()).unwrap_err().contains("circle"));
        assert!(list(Path::new("/dev/zero")).unwrap_err().contains("neither"));
    }
}
