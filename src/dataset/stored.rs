//! An object of a store as content: read by ranges, from any place, as often as needed.
//!
//! Invariants: nothing is asked before the first byte is read. Every answer has the entity tag that the object was listed
//! with. A connection that breaks or falls silent is opened again where it ended; what moves on is tried on.
//!
//! Readers block, and so are for threads that may: the requests are made by the runtime that listed the object.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::runtime::Handle;

use super::content::{Open, Reader};
use super::digest::Sha256;
use super::{DatasetError, ErrorKind};
use crate::object::Store;

/// How long a store may be silent in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// How often in a row an object is asked for again without a byte of progress.
const TRIES: u32 = 5;

/// A bucket, and who can ask for its objects.
pub(super) struct Place {
    pub(super) store: Store,
    pub(super) bucket: String,
    /// The runtime that drives the store's connections.
    pub(super) handle: Handle,
}

/// An object of a store, as it was listed.
#[derive(Clone)]
pub struct Stored {
    pub(super) place: Arc<Place>,
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) sha256: Option<Sha256>,
}

impl Stored {
    /// Its store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.place.store
    }

    /// Its bucket and its whole key.
    #[must_use]
    pub fn name(&self) -> (&str, &str) {
        (&self.place.bucket, &self.key)
    }

    /// The entity tag that it was listed with.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// What tells it from every other object, and from this one with another content.
    pub(super) fn named(&self) -> String {
        let Self { place, key, size, etag, .. } = self;
        format!("{}\0{}\0{key}\0{size}\0{etag}", place.store.place(), place.bucket)
    }
}

impl Open for Stored {
    fn open(&self, offset: u64) -> io::Result<Reader> {
        Ok(Box::new(Ranged { of: self.clone(), at: offset, body: None, chunk: Bytes::new(), tries: 0 }))
    }

    fn origin(&self) -> String {
        format!("{}/{} at {}", self.place.bucket, self.key, self.place.store.host())
    }

    fn identity(&self) -> Option<String> {
        (!self.etag.is_empty()).then(|| format!("stored\0{}", self.named()))
    }

    fn sha256(&self) -> Option<Sha256> {
        self.sha256
    }

    fn stored(&self) -> Option<&Stored> {
        Some(self)
    }
}

/// A reader of an object from some place on.
struct Ranged {
    of: Stored,
    /// The place of the next byte that is read.
    at: u64,
    body: Option<BoxStream<'static, io::Result<Bytes>>>,
    /// What has come and is not read yet.
    chunk: Bytes,
    tries: u32,
}

/// Why no more came.
enum Ended {
    /// The connection did; asked again it may go on.
    Again(String),
    /// It cannot be read.
    Final(DatasetError),
}

impl Ranged {
    fn failed(&self, why: impl std::fmt::Display) -> DatasetError {
        DatasetError::new(ErrorKind::Source, format!("{}: {why}", self.of.origin()))
    }

    async fn begin(&self) -> Result<BoxStream<'static, io::Result<Bytes>>, Ended> {
        let (bucket, key) = self.of.name();
        let answer = self.of.store().get(bucket, key, Some(self.at..self.of.size)).await;
        let answer = answer.map_err(|error| {
            let mut made = self.failed(&error);
            made.hint.clone_from(&error.parts().hint);
            Ended::Final(made)
        })?;
        if answer.head.etag != self.of.etag {
            let made = self.failed("it is not what it was when it was listed");
            return Err(Ended::Final(
                made.hint("nothing may write there while it is read; the next run lists it anew"),
            ));
        }
        Ok(answer.body)
    }

    async fn next(&mut self) -> Result<Bytes, Ended> {
        if self.tries > 0 {
            tokio::time::sleep(Duration::from_millis(100) * self.tries).await;
        }
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.begin().await?,
        };
        loop {
            match tokio::time::timeout(SILENCE, body.next()).await {
                Err(_) => return Err(Ended::Again(format!("nothing came for {SILENCE:?}"))),
                Ok(None) => return Err(Ended::Again("the answer ended early".to_owned())),
                Ok(Some(Err(error))) => return Err(Ended::Again(format!("the connection broke: {error}"))),
                Ok(Some(Ok(chunk))) if chunk.is_empty() => {}
                Ok(Some(Ok(chunk))) => {
                    self.body = Some(body);
                    return Ok(chunk);
                }
            }
        }
    }
}

impl Read for Ranged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            if buffer.is_empty() || self.at >= self.of.size {
                return Ok(0);
            }
            let handle = self.of.place.handle.clone();
            match handle.block_on(self.next()) {
                Ok(chunk) => {
                    self.chunk = chunk;
                    self.tries = 0;
                }
                Err(Ended::Final(error)) => return Err(error.into_io()),
                Err(Ended::Again(why)) => {
                    self.tries += 1;
                    if self.tries >= TRIES {
                        return Err(self.failed(format!("{why} (tried {TRIES} times)")).into_io());
                    }
                }
            }
        }
        let most = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..most]);
        self.at += most as u64;
        Ok(most)
    }
}
