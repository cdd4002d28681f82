//! Sources: where the data comes from, as files that can be read.
//!
//! In: the sources of a job. Out: for each a [`Gathered`]: a file, which may be an archive; a folder; or entries that
//! can be read from elsewhere. The last is the place for sources that are not of this machine: whatever yields named
//! content that can be opened again ([`super::content::Open`]) joins there, and all that comes after is the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use url::Url;

use super::content::{Entry, file_identity};
use super::digest::Sha256;
use super::download::{self, Patience};
use super::job::{Download, Job, Origin, Source};
use super::recipe::SourceSeen;
use super::staging::{Links, Staging, walk};
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

/// Gathers all sources of a job, one after the other: each may fill the network.
///
/// # Errors
/// That one cannot be had, or is not what it should be.
pub async fn gather(
    job: &Job,
    staging: &Arc<Staging>,
    watch: &Arc<dyn Watch>,
) -> Result<Vec<(Gathered, SourceSeen)>, DatasetError> {
    let mut found = Vec::with_capacity(job.sources.len());
    for source in &job.sources {
        watch.tell(Progress::Stage(Stage::Source));
        let gathered = match &source.from {
            Origin::Url(download) if download.url.scheme() == "file" => local(download, staging, watch).await?,
            Origin::Url(download) => {
                let (path, sha256) =
                    download::fetch(download, &job.limits, staging, watch, Patience::default()).await?;
                Gathered::File { path, name: file_name(&download.url), sha256: Some(sha256) }
            }
            Origin::Path(path) => at_path(path)?,
        };
        let sha256 = match &gathered {
            Gathered::File { sha256, .. } => *sha256,
            _ => None,
        };
        let seen = SourceSeen { what: source.from.shown(), sha256, fingerprint: fingerprint(source)? };
        found.push((gathered, seen));
    }
    Ok(found)
}

/// What tells, without reading them, which files a local source has: their paths, lengths and times. `None` for a
/// source that is not of this machine.
///
/// # Errors
/// That it is not there, or cannot be listed.
pub fn fingerprint(source: &Source) -> Result<Option<Sha256>, DatasetError> {
    let path = match &source.from {
        Origin::Path(path) => path.clone(),
        Origin::Url(download) if download.url.scheme() == "file" => local_path(&download.url)?,
        Origin::Url(_) => return Ok(None),
    };
    let files = match at_path(&path)? {
        Gathered::Folder(folder) => walk(&folder, Links::Followed)?,
        _ => vec![Entry::file("", &path, 0)],
    };
    let mut all = super::digest::start(b"files 1\0");
    for entry in &files {
        let super::content::Content::File(path) = &entry.content else { continue };
        let meta = std::fs::metadata(path).map_err(|error| DatasetError::file(path, error))?;
        all.update(format!("{}\0{}\0", entry.key, file_identity(path, &meta).text).as_bytes());
    }
    Ok(Some(Sha256::finish(all)))
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
        let content = super::content::Content::File(Arc::from(file.as_path()));
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
        let identity = entry.content.identity();
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
