//! Takes in the body of a request: a document into memory, or an object's contents into a file.
//!
//! In: the body as it arrives, and what its signature says of it. Out: a text, or a file with its digests.
//!
//! Invariant: no more of an object is in memory than what arrived last.

use std::io;
use std::path::PathBuf;

use axum::body::Body as HttpBody;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use md5::{Digest as _, Md5};
use ring::digest;
use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;

use super::refusal::Refusal;
use super::s3::sign::Payload;
use super::vault::Vault;
use crate::embedded::Error;
use crate::hex;

/// No document is longer: a list of a thousand long keys.
const LONGEST_TEXT: usize = 8 << 20;

/// The longest object that one request may put: 5 GiB.
pub const LONGEST_OBJECT: u64 = 5 << 30;

/// Contents that arrived.
#[derive(Debug)]
pub struct Arrived {
    /// Where they are; nowhere if they are empty.
    pub file: Option<TempPath>,
    /// How many bytes.
    pub size: u64,
    /// Their MD5.
    pub md5: [u8; 16],
}

/// The body of a request, as the handlers get it.
#[derive(Debug, Default)]
pub enum Received {
    /// There is none, or nobody wanted it.
    #[default]
    Nothing,
    /// A document.
    Text(Bytes),
    /// An object's contents.
    Contents(Arrived),
}

/// Why a body was not taken in.
#[derive(Debug)]
pub enum Failure {
    /// It is refused.
    Refused(Refusal),
    /// The folder cannot be written to.
    Folder(Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A connection that broke, which nobody will read the answer of.
fn broken<E>(_: E) -> Failure {
    Failure::Refused(Refusal::new("IncompleteBody"))
}

/// Takes in a document.
///
/// # Errors
/// When it is too long, or is not what was signed.
pub async fn text(body: HttpBody, payload: &Payload) -> Result<Received, Failure> {
    let bytes = axum::body::to_bytes(body, LONGEST_TEXT).await.map_err(broken)?;
    if let Payload::Hash(claimed) = payload {
        same_hash(claimed, digest::digest(&digest::SHA256, &bytes).as_ref())?;
    }
    Ok(Received::Text(bytes))
}

fn same_hash(claimed: &str, hash: &[u8]) -> Result<(), Refusal> {
    let same = hex::decode(claimed).is_some_and(|claimed| claimed == hash);
    if same { Ok(()) } else { Err(Refusal::new("XAmzContentSHA256Mismatch")) }
}

/// Takes in an object's contents.
///
/// # Errors
/// When they are too long, break off, or are not what was signed; when the folder cannot be written to.
pub async fn contents(body: HttpBody, payload: Payload, vault: &Vault) -> Result<Received, Failure> {
    let mut writer = Writer::default();
    let (claimed, mut chunks) = match payload {
        Payload::Unsigned => (None, None),
        Payload::Hash(hash) => (Some(hash), None),
        Payload::Chunked(chunks) => (None, Some(chunks)),
    };
    let mut sha256 = claimed.as_ref().map(|_| digest::Context::new(&digest::SHA256));
    let mut body = body;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if let Some(sha256) = &mut sha256 {
            sha256.update(&data);
        }
        match &mut chunks {
            None => writer.write(&data, vault).await?,
            Some(chunks) => {
                for data in chunks.push(data)? {
                    writer.write(&data, vault).await?;
                }
            }
        }
    }
    if chunks.is_some_and(|chunks| !chunks.is_whole()) {
        return Err(Refusal::new("IncompleteBody").into());
    }
    if let (Some(claimed), Some(sha256)) = (claimed, sha256) {
        same_hash(&claimed, sha256.finish().as_ref())?;
    }
    writer.close().await
}

/// A file that is written, with its digest. There is none until the first byte.
#[derive(Default)]
struct Writer {
    file: Option<(tokio::fs::File, TempPath)>,
    size: u64,
    md5: Md5,
}

impl Writer {
    async fn write(&mut self, data: &[u8], vault: &Vault) -> Result<(), Failure> {
        if data.is_empty() {
            return Ok(());
        }
        self.size += data.len() as u64;
        if self.size > LONGEST_OBJECT {
            return Err(Refusal::new("EntityTooLarge").into());
        }
        self.md5.update(data);
        if self.file.is_none() {
            let (file, path) = vault.receive().map_err(|source| folder("write to", None, source))?.into_parts();
            self.file = Some((tokio::fs::File::from_std(file), path));
        }
        if let Some((file, path)) = &mut self.file {
            file.write_all(data).await.map_err(|source| folder("write", Some(path), source))?;
        }
        Ok(())
    }

    async fn close(self) -> Result<Received, Failure> {
        let path = match self.file {
            None => None,
            Some((mut file, path)) => {
                file.flush().await.map_err(|source| folder("write", Some(&path), source))?;
                Some(path)
            }
        };
        Ok(Received::Contents(Arrived { file: path, size: self.size, md5: self.md5.finalize().into() }))
    }
}

fn folder(what: &'static str, path: Option<&TempPath>, source: io::Error) -> Failure {
    let path = path.map_or_else(|| PathBuf::from("the object store's folder"), |path| path.to_path_buf());
    Failure::Folder(Error::Io { what, path, source })
}
