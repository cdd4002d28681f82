//! Sources: where the data comes from, as files that can be read.
//!
//! In: the sources of a job. Out: for each a [`Gathered`]: a file, which may be an archive; a folder; or entries that
//! are read from elsewhere: from a bucket, see [`super::bucket`], or from where another dataset staged them. Whatever yields
//! named content that can be opened again ([`super::content::Open`]) joins there, and all that comes after is the same.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use url::Url;

use super::bucket::{self, Stores};
use super::content::{Detail, Entry, lasting};
use super::digest::Sha256;
use super::download::{self, Patience};
use super::job::{Another, Download, Job, Origin, Source};
use super::recipe::SourceSeen;
use super::staging::{Links, PATIENCE, Staging, walk};
use super::{DatasetError, ErrorKind, Progress, Stage, Watch};

/// A source that is at hand.
#[derive(Debug, Clone)]
pub enum Gathered {
    /// A file, and what it is called where it is no archive.
    File {
        /// Where it is.
        path: PathBuf,
        /// What it is called.
        name: String,
        /// Its SHA-256, where that is known.
        sha256: Option<Sha256>,
    },
    /// A folder of this machine.
    Folder(PathBuf),
    /// Files that are read from elsewhere.
    Entries(Vec<Entry>),
}

/// What sources are gathered with, those of a job and those of the jobs that it reads.
pub(super) struct Gathering<'a> {
    stores: &'a Stores,
    pub(super) watch: &'a Arc<dyn Watch>,
    /// The staging folders that this run has, its own first. One that is wanted twice is taken once.
    stagings: Mutex<Vec<Arc<Staging>>>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(own: &Arc<Staging>, stores: &'a Stores, watch: &'a Arc<dyn Watch>) -> Self {
        Self { stores, watch, stagings: Mutex::new(vec![Arc::clone(own)]) }
    }

    /// All that this run has taken.
    pub(super) fn held(&self) -> Vec<Arc<Staging>> {
        self.stagings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The staging folder of another dataset, with the right to write there until it is released.
    async fn staging(&self, root: &Path) -> Result<Arc<Staging>, DatasetError> {
        let absolute = std::path::absolute(root).map_err(|error| DatasetError::file(root, error))?;
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let wanted = real(&absolute);
        if let Some(had) = self.held().into_iter().find(|had| real(had.root()) == wanted) {
            had.again(self.watch, PATIENCE).await?;
            return Ok(had);
        }
        let staging = Arc::new(Staging::wait(&absolute, self.watch, PATIENCE).await?);
        self.stagings.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&staging));
        Ok(staging)
    }
}

/// Gathers all sources of a job, one after the other: each may fill the network.
///
/// # Errors
/// That one cannot be had, or is not what it should be.
pub(super) async fn gather(
    job: &Job,
    staging: &Arc<Staging>,
    with: &Gathering<'_>,
) -> Result<Vec<(Gathered, SourceSeen)>, DatasetError> {
    let mut found = Vec::with_capacity(job.sources.len());
    for source in &job.sources {
        with.watch.tell(Progress::Stage(Stage::Source));
        found.push(one(source, job, staging, with).await?);
    }
    Ok(found)
}

async fn one(
    source: &Source,
    job: &Job,
    staging: &Arc<Staging>,
    with: &Gathering<'_>,
) -> Result<(Gathered, SourceSeen), DatasetError> {
    let watch = with.watch;
    let (gathered, fingerprint) = match &source.from {
        Origin::Url(download) if download.url.scheme() == "file" => {
            (local(download, staging, watch).await?, fingerprint(source)?)
        }
        Origin::Url(download) => {
            let (path, sha256) = download::fetch(download, &job.limits, staging, watch, Patience::default()).await?;
            (Gathered::File { path, name: file_name(&download.url), sha256: Some(sha256) }, None)
        }
        Origin::Path(path) => match at_path(path)? {
            // Taken when its files are looked at.
            folder @ Gathered::Folder(_) => (folder, None),
            file => (file, fingerprint(source)?),
        },
        Origin::Bucket(from) => {
            let listing = bucket::list(from, with.stores).await?;
            let fingerprint = listing.fingerprint();
            (listing.gathered(job, staging, watch).await?, Some(fingerprint))
        }
        Origin::Dataset(another) => return staged(another, source, with).await,
    };
    let sha256 = match &gathered {
        Gathered::File { sha256, .. } => *sha256,
        _ => None,
    };
    Ok((gathered, SourceSeen { what: source.from.shown(), sha256, fingerprint }))
}

/// What another job makes, from its staging folder; what is not there is made there first.
async fn staged(
    another: &Another,
    source: &Source,
    with: &Gathering<'_>,
) -> Result<(Gathered, SourceSeen), DatasetError> {
    let staging = with.staging(&another.staging).await?;
    let prepared = super::prepare_with(&another.job, &staging, with).await;
    // Others may come in; what is there stays as long as it is read.
    staging.release()?;
    let prepared = prepared?;
    let seen = &prepared.sources;
    let sha256 = if let [only] = seen.as_slice() { only.sha256 } else { None };
    let fingerprint = combined(seen.iter().map(|one| one.fingerprint));
    let what = source.from.shown();
    Ok((Gathered::Entries(prepared.entries().to_vec()), SourceSeen { what, sha256, fingerprint }))
}

/// The fingerprint of several sources; `None` if none of them has one.
fn combined(fingerprints: impl Iterator<Item = Option<Sha256>>) -> Option<Sha256> {
    let all: Vec<Option<Sha256>> = fingerprints.collect();
    let any = all.iter().any(Option::is_some);
    any.then(|| super::recipe::digest(&json!({ "fingerprints": all })))
}

/// What tells, without its data, which files a source has: of a path as [`fingerprint`] does; of a bucket by a list of it;
/// of another dataset by those of its sources. `None` for a download.
///
/// # Errors
/// That it is not there, or cannot be listed.
pub fn fingerprint_from<'a>(
    source: &'a Source,
    stores: &'a Stores,
) -> BoxFuture<'a, Result<Option<Sha256>, DatasetError>> {
    let asked = async move {
        match &source.from {
            Origin::Bucket(from) => Ok(Some(bucket::list(from, stores).await?.fingerprint())),
            Origin::Dataset(another) => {
                let mut all = Vec::with_capacity(another.job.sources.len());
                for one in &another.job.sources {
                    all.push(fingerprint_from(one, stores).await?);
                }
                Ok(combined(all.into_iter()))
            }
            Origin::Url(_) | Origin::Path(_) => {
                let source = source.clone();
                super::blocking(move || fingerprint(&source)).await
            }
        }
    };
    asked.boxed()
}

/// What tells, without reading them, which files a local source has: their paths, lengths and times. `None` for a
/// source that is not of this machine; [`fingerprint_from`] asks for those too.
///
/// # Errors
/// That it is not there, or cannot be listed.
pub fn fingerprint(source: &Source) -> Result<Option<Sha256>, DatasetError> {
    let path = match &source.from {
        Origin::Path(path) => path.clone(),
        Origin::Url(download) if download.url.scheme() == "file" => local_path(&download.url)?,
        Origin::Url(_) | Origin::Bucket(_) | Origin::Dataset(_) => return Ok(None),
    };
    if let Gathered::Folder(folder) = at_path(&path)? {
        return Ok(Some(of_folder(&folder)?.1));
    }
    let meta = std::fs::metadata(&path).map_err(|error| DatasetError::file(&path, error))?;
    of_files([Ok(("", lasting(&path, &meta)))]).map(Some)
}

/// The files of a folder, and its fingerprint: each of them is looked at once.
///
/// # Errors
/// As [`walk`].
pub(super) fn of_folder(folder: &Path) -> Result<(Vec<Entry>, Sha256), DatasetError> {
    let found = walk(folder, Links::Followed)?;
    let lasting = |entry| {
        let Entry { key, content, .. }: &Entry = entry;
        let failed = |error| DatasetError::io(ErrorKind::File, &content.origin(), error);
        let identity = content.identity(Detail::Lasting).map_err(failed)?;
        Ok((key.as_str(), identity.map_or_else(String::new, |identity| identity.text)))
    };
    let fingerprint = of_files(found.iter().map(lasting))?;
    Ok((found, fingerprint))
}

fn of_files<'a>(
    files: impl IntoIterator<Item = Result<(&'a str, String), DatasetError>>,
) -> Result<Sha256, DatasetError> {
    let mut all = super::digest::start(b"files 1\0");
    for file in files {
        let (key, lasting) = file?;
        for text in [key, "\0", &lasting, "\0"] {
            all.update(text.as_bytes());
        }
    }
    Ok(Sha256::finish(all))
}

fn at_path(path: &Path) -> Result<Gathered, DatasetError> {
    let absolute = std::path::absolute(path).map_err(|error| DatasetError::file(path, error))?;
    let meta = std::fs::metadata(&absolute).map_err(|error| DatasetError::file(&absolute, error))?;
    if meta.is_dir() {
        return Ok(Gathered::Folder(absolute));
    }
    let refused = |why: &str| DatasetError::new(ErrorKind::Source, format!("{}: {why}", absolute.display()));
    if !meta.is_file() {
        return Err(refused("it is neither a file nor a folder"));
    }
    let name = absolute.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| refused("its name is not UTF-8, as the keys of objects must be"))?.to_owned();
    Ok(Gathered::File { path: absolute, name, sha256: None })
}

fn local_path(url: &Url) -> Result<PathBuf, DatasetError> {
    url.to_file_path().map_err(|()| {
        DatasetError::new(ErrorKind::Source, format!("{url}: a file URL has no host and an absolute path"))
    })
}

/// A file of this machine that is given as a URL: it is used where it is, and checked as a download is.
async fn local(download: &Download, staging: &Arc<Staging>, watch: &Arc<dyn Watch>) -> Result<Gathered, DatasetError> {
    let path = local_path(&download.url)?;
    let Gathered::File { path, name, .. } = at_path(&path)? else { return Ok(Gathered::Folder(path)) };
    let (digests, watch, file) = (staging.digests(), Arc::clone(watch), path.clone());
    let taken = super::blocking(move || {
        let size = std::fs::metadata(&file).map_err(|error| DatasetError::file(&file, error))?.len();
        let content = super::content::Content::file(&file);
        Ok((digests.of(&content, size, watch.as_ref())?, size))
    });
    let (sha256, size) = taken.await?;
    download::is_expected(download, &path.display().to_string(), sha256, size)?;
    Ok(Gathered::File { path, name, sha256: Some(sha256) })
}

/// What a file is called that comes from a URL: the last part of its path.
#[must_use]
pub fn file_name(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    let decoded = percent_decoded(last);
    match decoded {
        Some(name) if super::names::key(&name).is_ok() && !name.contains('/') => name,
        _ => "download".to_owned(),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after.get(..2)) {
            (b'%', Some(digits)) => {
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = &after[2..];
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Where the files of a source lie among those of the job: without the folders that are taken off, in the folder that
/// they are put into.
///
/// # Errors
/// That a file has not so many folders.
pub(super) fn placed(source: &Source, entries: Vec<Entry>) -> Result<Vec<Entry>, DatasetError> {
    if source.strip == 0 && source.into.is_none() {
        return Ok(entries);
    }
    let place = |mut entry: Entry| {
        let mut rest = entry.key.as_str();
        for _ in 0..source.strip {
            rest = rest.split_once('/').map(|(_, below)| below).ok_or_else(|| {
                let text = format!(
                    "`{}` of {} lies in fewer folders than `strip: {}` takes off",
                    entry.key,
                    source.from.shown(),
                    source.strip
                );
                DatasetError::new(ErrorKind::Source, text)
            })?;
        }
        entry.key = match &source.into {
            Some(folder) => format!("{}/{rest}", folder.trim_end_matches('/')),
            None => rest.to_owned(),
        };
        Ok(entry)
    };
    entries.into_iter().map(place).collect()
}

/// What identifies the sources of a job together with their entries.
pub(super) fn identity_of(entries: &[Entry]) -> Result<Option<Sha256>, DatasetError> {
    let mut all = super::digest::start(b"entries 1\0");
    for entry in entries {
        let identity = entry.content.identity(Detail::Lasting);
        let identity = identity.map_err(|error| DatasetError::io(ErrorKind::File, &entry.content.origin(), error))?;
        let Some(identity) = identity else { return Ok(None) };
        let line = json!([entry.key, entry.size, identity.text]);
        all.update(line.to_string().as_bytes());
    }
    Ok(Some(Sha256::finish(all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_called_after_the_last_part_of_its_address() {
        for (url, name) in [
            ("https://example.org/a/Food-11.zip?x=1", "Food-11.zip"),
            ("https://example.org/gr%C3%B6%C3%9Fe%20x.csv", "größe x.csv"),
            ("https://example.org/", "download"),
            ("https://example.org/%2e%2e", "download"),
            ("https://example.org/a%2fb", "download"),
        ] {
            assert_eq!(file_name(&Url::parse(url).unwrap()), name);
        }
    }

    #[test]
    fn files_are_put_where_the_source_says() {
        let entries = || vec![Entry::file("ml/ratings.csv", Path::new("/x"), 1)];
        let source = |strip, into: Option<&str>| Source {
            from: Origin::Path("/x".into()),
            into: into.map(str::to_owned),
            strip,
        };
        assert_eq!(placed(&source(1, Some("raw/")), entries()).unwrap()[0].key, "raw/ratings.csv");
        assert!(placed(&source(2, None), entries()).unwrap_err().message.contains("strip: 2"));
    }
}
