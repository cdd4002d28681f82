//! Datasets: from a source to objects with digests, and what a bucket says of them.
//!
//! ```text
//!  Job ──source──▶ files and folders ──extract──▶ entries ──transform──▶ entries ──digest──▶ objects ──▶ a load
//!   │   (resumed,        (archives read in place       (renamed, dealt out,      (side by side,
//!   │    checked)          or unpacked whole)           sharded, a program)        remembered)
//!   └──recipe──▶ what a plan knows without any data                          objects + sources ──▶ manifest
//! ```
//!
//! In: a [`Job`], which is plain JSON, and a [`Staging`] folder. Out: a [`Prepared`] dataset: its entries, and
//! [`Objects`] as their digests come in, each with content that can be opened again and again. What is asked of a bucket is
//! asked by [`bucket`] and [`stored`], where a source lies in one, and by [`load`]; no other part knows of stores, and none
//! of clouds. Nothing here prints: progress is told to a [`Watch`].
//!
//! ```ignore
//! let staging = Arc::new(Staging::open(&folder)?);
//! let prepared = dataset::prepare(&job, &staging, &watch).await?;
//! for object in prepared.objects(&watch) {           // blocking: in a thread of its own
//!     let object = object?;                           // { key, size, sha256, content }
//!     let reader = object.open(0)?;                   // from any offset, as often as needed
//! }
//! let manifest = prepared.manifest(listed);           // written last
//! ```
//!
//! **Architecture Invariant:** entries are not files. A transform changes names and says where bytes are; bytes are read
//! when a digest is taken, and when an object is loaded. So nothing is copied that need not be: a zip is not unpacked to
//! rename its files, and a dataset larger than the free disk is sharded into a bucket.
//!
//! **Architecture Invariant:** what is in the staging folder is whole or not there, so a run after a kill carries on.
//!
//! **Architecture Invariant:** no name from an archive leads out of the staging folder, and no archive fills the disk.
//!
//! **Architecture Invariant:** the same source and the same transforms give the same objects, byte for byte.

mod bucket;
mod content;
pub mod delivery;
mod digest;
mod download;
mod error;
mod extract;
pub mod gauge;
pub mod job;
pub mod load;
pub mod manifest;
mod names;
pub mod recipe;
mod shard;
pub mod source;
mod staging;
mod stored;
pub mod text;
mod transform;

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use bucket::Stores;
pub use content::{Content, Entry, Object, Open, Reader};
pub use digest::{Digests, Objects, Sha256};
pub use error::{DatasetError, ErrorKind};
pub use job::{
    Another, Bucket, ClassFolders, Command, Download, Extract, Hidden, Job, Label, Limits, Origin, Others, Part,
    SampleKey, Source, Split, Transform, Webdataset,
};
pub use manifest::{Difference, Listed, Manifest};
pub use recipe::{Recipe, Recorded, SourceSeen};
pub use source::Gathered;
pub use staging::{PATIENCE, Staging};
pub use stored::Stored;
pub use transform::check as check_transform;

/// Who is told how far it is, and asked whether to stop. Called from several threads, often.
pub trait Watch: Send + Sync {
    /// How far it is.
    fn tell(&self, progress: Progress);

    /// Whether to stop: what is whole is kept, and the next run carries on.
    fn stopped(&self) -> bool {
        false
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// A stage begins; what is counted is counted from 0 again.
    Stage(Stage),
    /// So much is to be done in this stage; 0 where it is not known.
    Total {
        /// Objects.
        objects: u64,
        /// Bytes.
        bytes: u64,
    },
    /// So many bytes more are done.
    Bytes(u64),
    /// So many objects more are done.
    Objects(u64),
}

/// The stages, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Another run has the staging folder.
    Wait,
    /// A source is fetched.
    Source,
    /// Archives are unpacked.
    Extract,
    /// Files are transformed.
    Transform,
    /// Digests are taken.
    Digest,
    /// Objects are loaded.
    Load,
    /// Objects are read back.
    Verify,
    /// Objects that are not wanted are deleted.
    Delete,
}

/// A dataset that is ready to be loaded.
#[derive(Debug, Clone)]
pub struct Prepared {
    entries: Arc<[Entry]>,
    digests: Arc<Digests>,
    sources: Vec<SourceSeen>,
    recipe: Recipe,
    steps: Vec<serde_json::Value>,
    /// Other datasets' staging folders that entries are read from.
    _held: Vec<Arc<Staging>>,
}

/// Fetches, unpacks and transforms what a job says.
///
/// # Errors
/// The first thing that went wrong. What was fetched and made until then is kept for the next run.
pub async fn prepare(job: &Job, staging: &Arc<Staging>, watch: &Arc<dyn Watch>) -> Result<Prepared, DatasetError> {
    prepare_from(job, staging, &Stores::default(), watch).await
}

/// As [`prepare`], with stores for the sources in buckets that bring no keys.
///
/// # Errors
/// As [`prepare`].
pub async fn prepare_from(
    job: &Job,
    staging: &Arc<Staging>,
    stores: &Stores,
    watch: &Arc<dyn Watch>,
) -> Result<Prepared, DatasetError> {
    let with = source::Gathering::new(staging, stores, watch);
    let prepared = prepare_with(job, staging, &with).await?;
    Ok(Prepared { _held: with.held(), ..prepared })
}

/// Boxed, for a source can be a job itself.
fn prepare_with<'a>(
    job: &'a Job,
    staging: &'a Arc<Staging>,
    with: &'a source::Gathering<'_>,
) -> BoxFuture<'a, Result<Prepared, DatasetError>> {
    let prepared = async move {
        job.check()?;
        let (ready, at, told) = (job.clone(), Arc::clone(staging), Arc::clone(with.watch));
        blocking(move || transform::ready(&ready, &at.root().join("temporary"), told.as_ref())).await?;
        let gathered = source::gather(job, staging, with).await?;
        let (job, staging, watch) = (job.clone(), Arc::clone(staging), Arc::clone(with.watch));
        blocking(move || assemble(&job, gathered, &staging, watch.as_ref())).await
    };
    prepared.boxed()
}

/// Unpacks and transforms sources that are at hand. Blocking.
///
/// # Errors
/// As [`prepare`].
pub fn assemble(
    job: &Job,
    gathered: Vec<(Gathered, SourceSeen)>,
    staging: &Staging,
    watch: &dyn Watch,
) -> Result<Prepared, DatasetError> {
    watch.tell(Progress::Stage(Stage::Extract));
    let extracting = extract::Extracting { staging, limits: job.limits, watch };
    let mut entries = Vec::new();
    let mut sources = Vec::with_capacity(gathered.len());
    for (source, (gathered, mut seen)) in job.sources.iter().zip(gathered) {
        let found = match gathered {
            Gathered::Entries(entries) => entries,
            Gathered::Folder(folder) => {
                apart(&folder, staging.root())?;
                let (files, fingerprint) = source::of_folder(&folder)?;
                seen.fingerprint = Some(fingerprint);
                files
            }
            Gathered::File { path, name, .. } if job.extract == Extract::Auto => {
                extract::entries(&path, &name, &extracting)?
            }
            Gathered::File { path, name, .. } => {
                let meta = std::fs::metadata(&path).map_err(|error| DatasetError::file(&path, error))?;
                vec![Entry::file(name, &path, meta.len())]
            }
        };
        entries.extend(source::placed(source, found)?);
        sources.push(seen);
    }
    let mut entries = transform::distinct(entries)?;
    watch.tell(Progress::Stage(Stage::Transform));
    for one in &job.transform {
        let with = transform::Transforming { staging, watch };
        entries = transform::apply(one, entries, &with)?;
    }
    if entries.is_empty() {
        return Err(DatasetError::new(ErrorKind::Transform, "no object comes of it: the sources have no file"));
    }
    for entry in &entries {
        names::key(&entry.key).map_err(|why| {
            let text = format!("`{}`, of {}, cannot be a key: {why}", entry.key.escape_debug(), entry.content.origin());
            let hint = "leave it out of the source, or give it another name by a transform";
            DatasetError::new(ErrorKind::Transform, text).hint(hint)
        })?;
    }
    let steps = job.transform.iter().map(recipe::transform).collect();
    let recipe = recipe::recipe(job);
    Ok(Prepared { entries: entries.into(), digests: staging.digests(), sources, recipe, steps, _held: Vec::new() })
}

/// That what is staged is not taken for a part of its own source.
fn apart(source: &Path, staging: &Path) -> Result<(), DatasetError> {
    let real = |path: &Path| path.canonicalize().map_err(|error| DatasetError::file(path, error));
    match real(staging)?.starts_with(real(source)?) {
        false => Ok(()),
        true => {
            let text = format!("the staging folder {} lies in the source {}", staging.display(), source.display());
            Err(DatasetError::new(ErrorKind::Job, text).hint("give another `staging:`"))
        }
    }
}

impl Job {
    /// What can be said of a job before anything is done. Pure.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), DatasetError> {
        let mistake = |text: String| Err(DatasetError::new(ErrorKind::Job, text));
        if self.sources.is_empty() {
            return mistake("a dataset needs a source".to_owned());
        }
        for source in &self.sources {
            if let Some(into) = &source.into
                && let Err(why) = names::key(into.trim_end_matches('/'))
            {
                return mistake(format!("`into: {into}`: {why}"));
            }
            match &source.from {
                Origin::Url(download) => download.check()?,
                Origin::Path(_) => {}
                Origin::Bucket(bucket) if bucket.bucket.is_empty() => {
                    return mistake("a source in a bucket needs the bucket's name".to_owned());
                }
                Origin::Bucket(_) => {}
                Origin::Dataset(another) => another.job.check()?,
            }
        }
        self.transform.iter().try_for_each(transform::check)
    }
}

impl Download {
    fn check(&self) -> Result<(), DatasetError> {
        let mistake = |text: String| Err(DatasetError::new(ErrorKind::Job, text));
        for url in std::iter::once(&self.url).chain(&self.mirrors) {
            if !["http", "https", "file"].contains(&url.scheme()) {
                return mistake(format!("{}: a source is http, https or file", job::shown(url)));
            }
        }
        match self.mirrors.iter().any(|url| url.scheme() == "file") {
            true => mistake("a mirror is http or https".to_owned()),
            false => Ok(()),
        }
    }
}

impl Prepared {
    /// What is to become objects, sorted by key.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many bytes they have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// The objects, sorted by key, as their digests come in. Blocking; dropping it stops the work.
    #[must_use]
    pub fn objects(&self, watch: &Arc<dyn Watch>) -> Objects {
        watch.tell(Progress::Stage(Stage::Digest));
        watch.tell(Progress::Total { objects: self.entries.len() as u64, bytes: self.bytes() });
        Objects::of(Arc::clone(&self.entries), Arc::clone(&self.digests), Arc::clone(watch))
    }

    /// All objects, with their digests, as a load wants them. Blocking.
    ///
    /// # Errors
    /// The first content that cannot be read, or is not as long as declared.
    pub fn wanted(&self, watch: &Arc<dyn Watch>) -> Result<Vec<Object>, DatasetError> {
        self.objects(watch).collect()
    }

    /// The manifest that says that these objects are there.
    #[must_use]
    pub fn manifest(&self, mut objects: Vec<Listed>) -> Manifest {
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        let transform = manifest::Transformed { steps: self.steps.clone(), sha256: self.recipe.transform };
        Manifest { version: manifest::VERSION, source: self.sources.clone(), transform, objects }
    }

    /// What the state remembers of this load, for later plans.
    #[must_use]
    pub fn recorded(&self) -> Recorded {
        let objects = self.entries.len() as u64;
        Recorded { recipe: self.recipe.clone(), sources: self.sources.clone(), objects, bytes: self.bytes() }
    }
}

/// Work that blocks, on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DatasetError> + Send + 'static,
) -> Result<T, DatasetError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(DatasetError::new(
            ErrorKind::File,
            format!("a thread ended early; this is a mistake in anole: {error}"),
        )),
    }
}
