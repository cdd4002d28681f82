//! The contents of objects: files in the folder `objects` of the cloud's folder.
//!
//! In: contents as they arrive. Out: pieces, of which the documents of versions and of uploaded parts are made, and the
//! contents again, as a stream.
//!
//! Invariants:
//! - A file that has its final name is whole and is never written to again; a piece shows all or a part of one.
//! - Each file belongs to one document. A copy is another name of the same bytes (a hard link), so removing either leaves
//!   the other.
//! - A file is there before the document that names it and is removed after it; what a killed process left over is an
//!   unnamed file, and never an object without contents.

use std::fs::{self, File};
use std::io::{self, BufRead as _, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use tempfile::{NamedTempFile, TempPath};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::embedded::Error;
use crate::embedded::wire::new_hex;

/// After that long, nobody still writes into a file that arrives.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// How many files of an object are opened at once; the others when their turn comes.
const OPENED: usize = 16;

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// A run of bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The file.
    pub id: String,
    /// Where it begins.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start: u64,
    /// How many bytes it has.
    pub size: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The bytes `start..start + length` of what the pieces are one after another.
#[must_use]
pub fn cut(pieces: &[Piece], mut start: u64, mut length: u64) -> Vec<Piece> {
    let mut found = Vec::new();
    for piece in pieces {
        if start >= piece.size {
            start -= piece.size;
            continue;
        }
        let size = (piece.size - start).min(length);
        if size > 0 {
            found.push(Piece { id: piece.id.clone(), start: piece.start + start, size });
        }
        (start, length) = (0, length - size);
    }
    found
}

/// The folder of the contents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vault {
    folder: PathBuf,
}

impl Vault {
    /// Opens or makes it, and removes what was arriving when its process was killed.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(cloud: &Path) -> Result<Self, Error> {
        let vault = Self { folder: cloud.join("objects") };
        let incoming = vault.incoming();
        fs::create_dir_all(&incoming).map_err(|source| Error::io("make", &incoming, source))?;
        let entries = fs::read_dir(&incoming).map_err(|source| Error::io("read", &incoming, source))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let written = fs::metadata(&path).and_then(|about| about.modified()).unwrap_or(SystemTime::now());
            if written.elapsed().is_ok_and(|age| age > ABANDONED) {
                vault.remove(&path);
            }
        }
        Ok(vault)
    }

    fn incoming(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(id.get(..2).unwrap_or("__")).join(id)
    }

    /// A file for contents that arrive. It goes when it is dropped and was not kept.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn receive(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(self.incoming())
    }

    /// Gives what arrived its final name.
    ///
    /// # Errors
    /// When the file cannot be renamed.
    pub fn keep(&self, arrived: TempPath, size: u64) -> io::Result<Piece> {
        let id = new_hex();
        let path = self.ready(&id)?;
        arrived.persist(path).map_err(|error| error.error)?;
        Ok(Piece { id, start: 0, size })
    }

    /// The same contents for another document.
    ///
    /// # Errors
    /// When a file cannot be linked, nor copied.
    pub fn share(&self, pieces: &[Piece]) -> io::Result<Vec<Piece>> {
        let shared = pieces.iter().map(|piece| {
            let id = new_hex();
            let (old, new) = (self.path(&piece.id), self.ready(&id)?);
            // A file system without links, or a file that has as many as it may, is copied.
            fs::hard_link(&old, &new).or_else(|_| fs::copy(&old, &new).map(drop))?;
            Ok(Piece { id, ..piece.clone() })
        });
        shared.collect()
    }

    /// The MD5 of contents that are here, for which they are read while the caller waits.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn md5(&self, pieces: &[Piece]) -> io::Result<[u8; 16]> {
        let mut md5 = Md5::new();
        for piece in pieces {
            let mut file = File::open(self.path(&piece.id))?;
            file.seek(io::SeekFrom::Start(piece.start))?;
            let mut reader = io::BufReader::with_capacity(CHUNK, file.take(piece.size));
            loop {
                let chunk = reader.fill_buf()?;
                if chunk.is_empty() {
                    break;
                }
                md5.update(chunk);
                let length = chunk.len();
                reader.consume(length);
            }
        }
        Ok(md5.finalize().into())
    }

    fn ready(&self, id: &str) -> io::Result<PathBuf> {
        let path = self.path(id);
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            fs::create_dir_all(folder)?;
        }
        Ok(path)
    }

    /// Removes the files of pieces that no document names any more.
    pub fn discard(&self, pieces: &[Piece]) {
        for piece in pieces {
            self.remove(&self.path(&piece.id));
        }
    }

    fn remove(&self, path: &Path) {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "contents of the object store that nobody needs stay");
        }
    }

    /// Opens the contents. The first files are open when this returns, so that they can be read even if the object is
    /// replaced meanwhile.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn open_pieces(&self, pieces: Vec<Piece>) -> io::Result<Reading> {
        let opened = pieces.into_iter().enumerate().map(|(place, piece)| {
            let file = if place < OPENED { Some(File::open(self.path(&piece.id))?) } else { None };
            Ok((piece, file))
        });
        Ok(Reading { vault: self.clone(), pieces: opened.collect::<io::Result<_>>()? })
    }
}

/// Contents that are about to be read.
#[derive(Debug)]
pub struct Reading {
    vault: Vault,
    pieces: Vec<(Piece, Option<File>)>,
}

impl Reading {
    /// The bytes, a chunk at a time.
    pub fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let vault = self.vault;
        let state = (self.pieces.into_iter(), None::<(tokio::fs::File, u64)>);
        stream::try_unfold(state, move |(mut pieces, mut current)| {
            let vault = vault.clone();
            async move {
                loop {
                    if let Some((file, left)) = current.as_mut().filter(|(_, left)| *left > 0) {
                        let chunk = read_some(file, *left).await?;
                        *left -= chunk.len() as u64;
                        return Ok(Some((chunk, (pieces, current))));
                    }
                    let Some((piece, opened)) = pieces.next() else { return Ok(None) };
                    let mut file = match opened {
                        Some(file) => tokio::fs::File::from_std(file),
                        None => tokio::fs::File::open(vault.path(&piece.id)).await?,
                    };
                    if piece.start > 0 {
                        file.seek(io::SeekFrom::Start(piece.start)).await?;
                    }
                    current = Some((file, piece.size));
                }
            }
        })
    }
}

async fn read_some(file: &mut tokio::fs::File, left: u64) -> io::Result<Bytes> {
    let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
    let mut chunk = BytesMut::with_capacity(most);
    if file.take(most as u64).read_buf(&mut chunk).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(chunk.freeze())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::TryStreamExt as _;

    use super::*;

    fn put(vault: &Vault, text: &str) -> Piece {
        let mut file = vault.receive().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        vault.keep(file.into_temp_path(), text.len() as u64).unwrap()
    }

    async fn read(vault: &Vault, pieces: Vec<Piece>) -> String {
        let chunks: Vec<Bytes> = vault.open_pieces(pieces).unwrap().stream().try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }

    #[tokio::test]
    async fn pieces_are_cut_copied_and_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path()).unwrap();
        let pieces = vec![put(&vault, "abcde"), put(&vault, "fgh"), put(&vault, "ijklm")];
        assert_eq!(read(&vault, cut(&pieces, 0, 13)).await, "abcdefghijklm");
        assert_eq!(read(&vault, cut(&pieces, 3, 6)).await, "defghi");
        assert_eq!(cut(&pieces, 5, 3), pieces[1..2]);
        assert!(cut(&pieces, 13, 5).is_empty());
        let copied = vault.share(&cut(&pieces, 4, 2)).unwrap();
        vault.discard(&pieces);
        assert_eq!(read(&vault, copied).await, "ef");
    }

    #[tokio::test]
    async fn what_is_being_read_can_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path()).unwrap();
        let piece = put(&vault, "old");
        let reading = vault.open_pieces(vec![piece.clone()]).unwrap();
        vault.discard(&[piece]);
        let chunks: Vec<Bytes> = reading.stream().try_collect().await.unwrap();
        assert_eq!(chunks.concat(), b"old");
    }

    #[test]
    fn what_is_not_kept_goes() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path()).unwrap();
        drop(vault.receive().unwrap());
        assert_eq!(fs::read_dir(vault.incoming()).unwrap().count(), 0);
    }
}
