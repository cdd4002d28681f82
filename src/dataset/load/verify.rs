//! Reading back: every byte of the objects, and whether they have the SHA-256 that is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use ring::digest::{Context, SHA256 as ALGORITHM};
use tokio::task::JoinSet;

use super::send::joined;
use super::{LoadError, Loader, Object};
use crate::dataset::{Progress, Stage};
use crate::object::{ObjectError, ObjectErrorKind};

/// How often an object is read whose connection breaks.
const TRIES: usize = 5;

impl Loader {
    /// The places of those of `there` that are not what is wanted.
    pub(super) async fn read_back(
        self: &Arc<Self>,
        wanted: &Arc<[Object]>,
        there: &BTreeMap<usize, String>,
    ) -> Result<Vec<usize>, LoadError> {
        let bytes = there.keys().map(|at| wanted[*at].size).sum();
        self.watch.tell(Progress::Stage(Stage::Verify));
        self.watch.tell(Progress::Total { objects: there.len() as u64, bytes });
        let mut places = there.keys().copied();
        let mut damaged = Vec::new();
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < self.options.transfers.max(1)
                && let Some(at) = places.next()
            {
                let (loader, wanted) = (Arc::clone(self), Arc::clone(wanted));
                tasks.spawn(async move { Ok::<_, LoadError>((at, loader.is_whole(&wanted[at]).await?)) });
            }
            let Some(done) = tasks.join_next().await else {
                damaged.sort_unstable();
                return Ok(damaged);
            };
            match joined(done)?? {
                (_, true) => self.watch.tell(Progress::Objects(1)),
                (at, false) => damaged.push(at),
            }
        }
    }

    async fn is_whole(&self, wanted: &Object) -> Result<bool, LoadError> {
        let key = self.key(&wanted.key);
        for tried in 1.. {
            self.go_on()?;
            match self.digest(&key).await {
                Ok((size, digest)) => return Ok(size == wanted.size && digest == wanted.sha256.as_bytes()),
                Err(error) if error.is_not_found() => return Ok(false),
                Err(error) if error.is_passing() && tried < TRIES => {}
                Err(error) => return Err(self.of(wanted, error)),
            }
        }
        Ok(false)
    }

    async fn digest(&self, key: &str) -> Result<(u64, Vec<u8>), ObjectError> {
        let mut download = self.store.get(&self.bucket, key, None).await?;
        let (mut digest, mut size) = (Context::new(&ALGORITHM), 0);
        let broken = |message: String| {
            let request = format!("GET {}/{key}", self.bucket);
            ObjectError::new(ObjectErrorKind::Connection, self.store.host(), request, message)
        };
        while let Some(chunk) = download.body.next().await {
            let chunk = chunk.map_err(|error| broken(error.to_string()))?;
            digest.update(&chunk);
            size += chunk.len() as u64;
            self.watch.tell(Progress::Bytes(chunk.len() as u64));
        }
        if size < download.head.size {
            return Err(broken(format!("{size} of {} bytes came", download.head.size)));
        }
        Ok((size, digest.finish().as_ref().to_vec()))
    }

    /// What a load ends with whose objects are not what was sent.
    pub(super) fn unlike(&self, wanted: &Object) -> LoadError {
        let request = format!("GET {}/{}", self.bucket, self.key(&wanted.key));
        let error = ObjectError::new(
            ObjectErrorKind::Mismatch,
            self.store.host(),
            request,
            "what was read back is not what was sent",
        );
        self.of(wanted, error.hint("the store damages what it keeps: tell those who run it"))
    }
}
