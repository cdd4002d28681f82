//! A local copy of the manifest, as this machine last saw it in the bucket: the next load need not fetch it, and can cut the list
//! from the start.
//!
//! In and out: one file. Its first line says of which place the manifest is, under which entity tag it lay there, and where its
//! keys cut a list into pages, so that lists begin before the manifest is parsed; the rest is the manifest, byte for byte.
//!
//! Invariants:
//! - What is remembered says nothing of what is there now. It is believed where the store says that the manifest has the same
//!   entity tag and the same size, see [`super::look`].
//! - A file that is damaged, or that two processes wrote at once, is as none; one that cannot be written costs the next load a
//!   request. Neither is a failure. It can be removed at any time.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Manifest;
use crate::dataset::staging::write_whole;

/// The file with the copy.
#[derive(Debug, Clone)]
pub(in crate::dataset) struct LocalCopy(PathBuf);

/// The file's first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    place: String,
    etag: String,
    cuts: Vec<String>,
    /// The CRC-32 of the manifest.
    crc: u32,
}

/// What is remembered.
#[derive(Debug)]
pub(super) struct Recalled {
    /// The entity tag that the manifest had.
    pub(super) etag: String,
    /// The whole keys at which a list is cut.
    pub(super) cuts: Vec<String>,
    pub(super) manifest: Unparsed,
}

/// A manifest that is not parsed yet, which takes longer than all else of a copy.
#[derive(Debug)]
pub(super) struct Unparsed {
    bytes: Bytes,
    crc: u32,
}

impl LocalCopy {
    pub(in crate::dataset) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// What is remembered of a place.
    pub(super) async fn recall(&self, place: String) -> Option<Recalled> {
        let bytes = Bytes::from(tokio::fs::read(&self.0).await.ok()?);
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let Header { place: of, etag, cuts, crc } = serde_json::from_slice(&bytes[..end]).ok()?;
        let is_it = of == place && !etag.is_empty() && cuts.is_sorted();
        is_it.then(|| Recalled { etag, cuts, manifest: Unparsed { bytes: bytes.slice(end + 1..), crc } })
    }

    /// Remembers what was read or written there.
    pub(super) async fn remember(&self, place: String, etag: String, cuts: Vec<String>, manifest: Bytes) {
        let path = self.0.clone();
        let remembered = tokio::task::spawn_blocking(move || {
            let crc = crc32fast::hash(&manifest);
            // Texts and numbers always are JSON; without its first line a file would be as none.
            let mut bytes = serde_json::to_vec(&Header { place, etag, cuts, crc }).unwrap_or_default();
            bytes.push(b'\n');
            bytes.extend_from_slice(&manifest);
            if std::fs::read(&path).is_ok_and(|before| before == bytes) {
                return;
            }
            if let Err(error) = write_whole(&path, &bytes) {
                tracing::warn!("the manifest is not remembered: {error}");
            }
        });
        // A thread that ended early left the file as it was.
        let _ = remembered.await;
    }
}

impl Unparsed {
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The manifest; `None` if it is damaged.
    pub(super) async fn parsed(self) -> Option<Manifest> {
        let parse = move || {
            let is_whole = crc32fast::hash(&self.bytes) == self.crc;
            is_whole.then(|| Manifest::parse(&self.bytes).ok()).flatten()
        };
        tokio::task::spawn_blocking(parse).await.ok().flatten()
    }
}
