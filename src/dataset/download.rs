//! Downloads over HTTP, and objects of stores that are needed as files: resumed, checked, kept.
//!
//! ```text
//! download/<id>/content        the whole file
//! download/<id>/seen.json      its SHA-256, length and identity; written last
//! download/<id>/part           what came so far
//! download/<id>/part.json      of which address, and its validator
//! ```
//!
//! Invariants:
//! - `content` is there only whole, and with the SHA-256 that the spec or an earlier download gives.
//! - What came so far is carried on only if it is sure to be a part of the same file: the server's validator says so
//!   (`If-Range`), or the SHA-256 is known and tells at the end. A file that turned out wrong after it was carried on is
//!   fetched once more from its beginning.
//! - The server's bytes are taken as they are: no encoding is asked for or undone.
//! - No message holds a URL's password or query.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use ring::digest::Context;
use serde::{Deserialize, Serialize};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use url::Url;

use super::content::{Content, Open as _, lasting};
use super::digest::{Sha256, start};
use super::job::{Download, Limits, shown};
use super::staging::{Staging, fits, write_whole};
use super::stored::Stored;
use super::{DatasetError, ErrorKind, Progress, Stage, Watch, text};
use crate::cloud::transport;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// How many redirects are followed.
const MOST_REDIRECTS: usize = 10;
/// How much is written at once, and how often a stop is noticed.
const BLOCK: usize = 1 << 20;

/// How patient a download is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How often in a row it is tried without a byte of progress.
    pub tries: u32,
    /// The wait before the second try; doubled for each further one.
    pub first_wait: Duration,
    /// The longest wait, whoever asks for it.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 6, first_wait: Duration::from_millis(500), longest_wait: Duration::from_secs(30) }
    }
}

/// What is known of a file that is there whole.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    sha256: Sha256,
    size: u64,
    identity: String,
}

/// What is known of a file that is there in part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Begun {
    /// The digest of its address: the address itself may hold a secret.
    address: Sha256,
    /// A strong ETag, or the time of its last change.
    validator: Option<String>,
    size: Option<u64>,
}

/// Why a try failed.
enum Failed {
    /// Trying again may help, after as long as the server asks for.
    Again(String, Option<Duration>),
    /// This address does not have it.
    Here(String),
    /// This address has another file than is expected.
    Wrong(DatasetError),
    /// No other address would help.
    Final(DatasetError),
}

impl std::convert::From<DatasetError> for Failed {
    fn from(error: DatasetError) -> Self {
        Self::Final(error)
    }
}

/// The file of a download, from the staging folder or from the network, and its SHA-256.
///
/// # Errors
/// That no address has it, or has another one than expected; that it does not fit; that it was stopped.
pub async fn fetch(
    download: &Download,
    limits: &Limits,
    staging: &Arc<Staging>,
    watch: &Arc<dyn Watch>,
    patience: Patience,
) -> Result<(PathBuf, Sha256), DatasetError> {
    let expected = download.sha256.or(download.recorded);
    // With a known content the address does not matter.
    let id = expected.unwrap_or_else(|| Sha256::of(download.url.as_str().as_bytes()));
    // The first download knew none: then it lies where its address says.
    let by_address = Sha256::of(download.url.as_str().as_bytes());
    for at in [id, by_address] {
        let Some(seen) = kept(&staging.download_at(&at), expected) else { continue };
        is_expected(download, &shown(&download.url), seen.sha256, seen.size)?;
        return Ok((staging.download(&at)?.join("content"), seen.sha256));
    }
    let folder = staging.download(&id)?;
    let path = folder.join("content");
    let client = client()?;
    let fetching = Fetching { client, folder, expected, most: limits.bytes, watch, patience, download };
    let (mut failures, mut wrong) = (Vec::new(), None);
    for url in std::iter::once(&download.url).chain(&download.mirrors) {
        match fetching.tried(url).await {
            Ok(sha256) => return Ok((path, sha256)),
            Err(Failed::Final(error)) => return Err(error),
            Err(Failed::Here(why) | Failed::Again(why, _)) => failures.push(format!("{}: {why}", shown(url))),
            Err(Failed::Wrong(error)) => {
                failures.push(error.message.clone());
                wrong = Some(error);
            }
        }
    }
    let text = failures.join("; ");
    Err(match wrong {
        Some(wrong) => DatasetError { message: text, ..wrong },
        None => DatasetError::new(ErrorKind::Source, text)
            .hint("what came so far is kept; the next run carries on from there"),
    })
}

/// What was downloaded before, if it is what is expected.
fn kept(folder: &Path, expected: Option<Sha256>) -> Option<Seen> {
    let seen: Seen = serde_json::from_slice(&std::fs::read(folder.join("seen.json")).ok()?).ok()?;
    let path = folder.join("content");
    let same = lasting(&path, &std::fs::metadata(&path).ok()?) == seen.identity;
    (same && expected.is_none_or(|expected| expected == seen.sha256)).then_some(seen)
}

/// The file that an object of a store is, from its folder in the staging or from the store, and its SHA-256. Blocking.
/// The folder is that of the object with this content: so what came before is always carried on.
pub(super) fn copied(stored: &Stored, folder: &Path, watch: &dyn Watch) -> Result<(PathBuf, Sha256), DatasetError> {
    let (part, path) = (folder.join("part"), folder.join("content"));
    if let Some(seen) = kept(folder, stored.sha256) {
        return Ok((path, seen.sha256));
    }
    let failed = |error| DatasetError::file(&part, error);
    let there = std::fs::OpenOptions::new().read(true).append(true).create(true).open(&part);
    let mut file = there.map_err(failed)?;
    let from = file.metadata().map_err(failed)?.len().min(stored.size);
    file.set_len(from).map_err(failed)?;
    fits(folder, stored.size - from, &format!("the rest of {}", stored.origin()))?;
    watch.tell(Progress::Total { objects: 1, bytes: stored.size });
    let (mut hasher, mut block, mut length) = (start(b""), vec![0; BLOCK], 0);
    let content = Content::Other(Arc::new(stored.clone()));
    let mut reader = std::io::Read::take(file.try_clone().map_err(failed)?, from)
        .chain(content.open(from, stored.size).map_err(failed)?);
    while length < stored.size {
        if watch.stopped() {
            return Err(DatasetError::stopped());
        }
        let read = reader.read(&mut block);
        let read = read.map_err(|error| DatasetError::io(ErrorKind::Source, &stored.origin(), error))?;
        hasher.update(&block[..read]);
        if length >= from {
            file.write_all(&block[..read]).map_err(failed)?;
        }
        length += read as u64;
        watch.tell(Progress::Bytes(read as u64));
    }
    file.sync_all().map_err(failed)?;
    let sha256 = Sha256::finish(hasher);
    if let Some(wanted) = stored.sha256.filter(|wanted| *wanted != sha256) {
        std::fs::remove_file(&part).map_err(failed)?;
        let text = format!("{} has the SHA-256 {sha256}, and its manifest says {wanted}", stored.origin());
        return Err(DatasetError::new(ErrorKind::Digest, text));
    }
    keep(folder, sha256, stored.size)?;
    Ok((path, sha256))
}

/// What came is whole, and is kept.
fn keep(folder: &Path, sha256: Sha256, size: u64) -> Result<(), DatasetError> {
    let path = folder.join("content");
    let keep = || {
        std::fs::rename(folder.join("part"), &path)?;
        let seen = Seen { sha256, size, identity: lasting(&path, &std::fs::metadata(&path)?) };
        Ok(serde_json::to_vec(&seen)?)
    };
    write_whole(&folder.join("seen.json"), &keep().map_err(|error| DatasetError::file(&path, error))?)
}

/// That a file is the one that is wanted.
pub(super) fn is_expected(download: &Download, what: &str, sha256: Sha256, size: u64) -> Result<(), DatasetError> {
    if let Some(wanted) = download.size
        && wanted != size
    {
        return Err(wrong_size(format!("{what} has {size} bytes, and {wanted} are expected")));
    }
    let Some(wanted) = download.sha256.or(download.recorded).filter(|wanted| *wanted != sha256) else { return Ok(()) };
    let (by, hint) = match download.sha256 {
        Some(_) => ("the spec says", "if the new content is right, give its SHA-256 in the spec".to_owned()),
        None => ("its first download had", format!("if the new content is right, give `sha256: {sha256}` in the spec")),
    };
    let text = format!("{what} has the SHA-256 {sha256}, and {by} {wanted}");
    Err(DatasetError::new(ErrorKind::Digest, text).hint(hint))
}

/// That a file is not as long as the spec says.
fn wrong_size(text: String) -> DatasetError {
    DatasetError::new(ErrorKind::Digest, text).hint("if that is right, correct its `size:`")
}

fn client() -> Result<reqwest::Client, DatasetError> {
    transport::install_crypto();
    let redirects = reqwest::redirect::Policy::custom(|attempt| {
        let was_secure = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
        if was_secure && attempt.url().scheme() != "https" {
            return attempt.error("it redirects from https to an address that is not secure");
        }
        match attempt.previous().len() > MOST_REDIRECTS {
            true => attempt.error("it redirects too often"),
            false => attempt.follow(),
        }
    });
    let builder = || {
        reqwest::Client::builder()
            .user_agent(concat!("anole/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE)
            .redirect(redirects)
            .no_gzip()
    };
    builder().build().map_err(|error| {
        DatasetError::new(ErrorKind::Source, format!("the HTTP client cannot be made: {}", root(&error)))
    })
}

struct Fetching<'a> {
    client: reqwest::Client,
    folder: PathBuf,
    expected: Option<Sha256>,
    most: u64,
    watch: &'a Arc<dyn Watch>,
    patience: Patience,
    download: &'a Download,
}

impl Fetching<'_> {
    /// The file from one address, with all tries.
    async fn tried(&self, url: &Url) -> Result<Sha256, Failed> {
        let (mut tries, mut carried_on) = (0, false);
        loop {
            if self.watch.stopped() {
                return Err(DatasetError::stopped().into());
            }
            let before = self.part_length();
            let (why, asked) = match self.once(url, &mut carried_on).await {
                Ok((sha256, size)) => match self.finish(url, sha256, size) {
                    // It was put together from two answers, which may be of two files.
                    Err(Failed::Wrong(error)) if carried_on => {
                        carried_on = false;
                        tracing::warn!("{error}; it is fetched again from its beginning");
                        continue;
                    }
                    done => return done,
                },
                Err(Failed::Again(why, asked)) => (why, asked),
                Err(other) => return Err(other),
            };
            tries = if self.part_length() > before { 1 } else { tries + 1 };
            if tries >= self.patience.tries {
                return Err(Failed::Here(why));
            }
            let doubled = self.patience.first_wait.saturating_mul(1 << (tries - 1).min(10));
            let wait = asked.unwrap_or(doubled).min(self.patience.longest_wait);
            tracing::info!("{}: {why}; tried again in {wait:?}", shown(url));
            tokio::time::sleep(wait).await;
        }
    }

    fn part_length(&self) -> u64 {
        std::fs::metadata(self.folder.join("part")).map_or(0, |meta| meta.len())
    }

    /// What came so far, if it can be carried on from this address.
    fn begun(&self, url: &Url) -> Option<(Begun, u64)> {
        let begun: Begun = serde_json::from_slice(&std::fs::read(self.folder.join("part.json")).ok()?).ok()?;
        let length = self.part_length();
        let same_address = begun.address == Sha256::of(url.as_str().as_bytes());
        let sure = self.expected.is_some() || (same_address && begun.validator.is_some());
        (sure && length > 0).then_some((Begun { validator: begun.validator.filter(|_| same_address), ..begun }, length))
    }

    /// One request, and its answer as far as it comes.
    async fn once(&self, url: &Url, carried_on: &mut bool) -> Result<(Sha256, u64), Failed> {
        let begun = self.begun(url);
        let mut request = self.client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
        if let Some((begun, length)) = &begun {
            request = request.header(header::RANGE, format!("bytes={length}-"));
            if let Some(validator) = &begun.validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        let answer = request.send().await.map_err(|error| unsent(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let from = match status {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => match begun.as_ref().filter(|begun| continues(&headers, begun)) {
                Some((_, length)) => *length,
                None => return self.over("it answered with another part of the file than was asked for"),
            },
            // What came so far is as long as the file or longer; which of both, its digest tells.
            StatusCode::RANGE_NOT_SATISFIABLE if begun.is_some() => {
                return self.over("it has no more of the file than what came before");
            }
            status => return Err(refused(status, &headers)),
        };
        // Of an answer with a part, the whole length: it may be less than the rest, and that is another try's then.
        let size = match begun.as_ref().filter(|_| from > 0) {
            Some((begun, _)) => range(&headers).and_then(|range| range.total).or(begun.size),
            None => answer.content_length(),
        };
        self.room(url, size, from)?;
        let held = begun.and_then(|(begun, _)| begun.validator).filter(|_| from > 0);
        let validator = validator(&headers).or(held);
        let begun = Begun { address: Sha256::of(url.as_str().as_bytes()), validator, size };
        let written = serde_json::to_vec(&begun).map_err(|error| self.broken(error.into()))?;
        *carried_on |= from > 0;
        self.watch.tell(Progress::Stage(Stage::Source));
        self.watch.tell(Progress::Total { objects: 1, bytes: size.unwrap_or_default() });
        self.watch.tell(Progress::Bytes(from));
        let (mut part, hasher) = self.open(from).await?;
        write_whole(&self.folder.join("part.json"), &written)?;
        let received = self.receive(url, answer, &mut part, hasher, from).await;
        // Also after a failure: it is what the next try carries on.
        part.flush().await.map_err(|error| self.broken(error))?;
        let (hasher, length) = match received {
            // What came before may be of another file than the rest.
            Err(Failed::Wrong(error)) if from > 0 => return self.over(&error.message),
            Err(Failed::Wrong(error)) => {
                self.discard()?;
                return Err(Failed::Wrong(error));
            }
            other => other?,
        };
        part.get_ref().sync_all().await.map_err(|error| self.broken(error))?;
        match size {
            Some(size) if size != length => Err(Failed::Again(cut(length, size), None)),
            _ => Ok((Sha256::finish(hasher), length)),
        }
    }

    async fn receive(
        &self,
        url: &Url,
        mut answer: reqwest::Response,
        part: &mut BufWriter<File>,
        mut hasher: Context,
        from: u64,
    ) -> Result<(Context, u64), Failed> {
        let mut length = from;
        loop {
            let chunk = match answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok((hasher, length)),
                Err(error) => {
                    let text = format!("the connection broke after {}: {}", text::bytes(length), root(&error));
                    return Err(Failed::Again(text, None));
                }
            };
            length += chunk.len() as u64;
            if let Some(wanted) = self.download.size.filter(|wanted| length > *wanted) {
                let text = format!("{} has more than the {wanted} bytes that are expected", shown(url));
                return Err(Failed::Wrong(wrong_size(text)));
            }
            if length > self.most {
                let text = format!("it is more than the {} that are allowed", text::bytes(self.most));
                return Err(DatasetError::new(ErrorKind::Limit, text).hint("raise `bytes:` of its `limits:`").into());
            }
            if self.watch.stopped() {
                return Err(DatasetError::stopped().into());
            }
            hasher.update(&chunk);
            part.write_all(&chunk).await.map_err(|error| self.broken(error))?;
            self.watch.tell(Progress::Bytes(chunk.len() as u64));
        }
    }

    /// The file for what comes, at the place where it goes on, and the digest of what is there.
    async fn open(&self, from: u64) -> Result<(BufWriter<File>, Context), Failed> {
        let path = self.folder.join("part");
        let mut hasher = start(b"");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(from == 0)
            .open(&path)
            .await
            .map_err(|error| self.broken(error))?;
        let mut block = vec![0; BLOCK];
        let mut left = from;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK);
            let read = file.read(&mut block[..most]).await.map_err(|error| self.broken(error))?;
            if read == 0 {
                return Err(Failed::Again("what came so far became shorter".to_owned(), None));
            }
            hasher.update(&block[..read]);
            left -= read as u64;
        }
        Ok((BufWriter::with_capacity(BLOCK, file), hasher))
    }

    /// Begins from the beginning.
    fn over<T>(&self, why: &str) -> Result<T, Failed> {
        self.discard()?;
        Err(Failed::Again(why.to_owned(), Some(Duration::ZERO)))
    }

    /// Removes what came so far.
    fn discard(&self) -> Result<(), Failed> {
        for name in ["part.json", "part"] {
            match std::fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(self.broken(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// That the rest fits, and is no more than is expected: another address may have what is.
    fn room(&self, url: &Url, size: Option<u64>, from: u64) -> Result<(), Failed> {
        let Some(size) = size else { return Ok(()) };
        if let Some(wanted) = self.download.size.filter(|wanted| size > *wanted) {
            let text = format!("{} has {size} bytes, and {wanted} are expected", shown(url));
            return Err(Failed::Wrong(wrong_size(text)));
        }
        if size > self.most {
            let (has, most) = (text::bytes(size), text::bytes(self.most));
            let text = format!("{} has {has}, and {most} are allowed", shown(url));
            return Err(DatasetError::new(ErrorKind::Limit, text).hint("raise `bytes:` of its `limits:`").into());
        }
        Ok(fits(&self.folder, size.saturating_sub(from), &format!("the rest of {}", shown(url)))?)
    }

    /// What came is whole: it is kept if it is what is expected.
    fn finish(&self, url: &Url, sha256: Sha256, size: u64) -> Result<Sha256, Failed> {
        let part = self.folder.join("part");
        if let Err(mut error) = is_expected(self.download, &shown(url), sha256, size) {
            if looks_like_a_page(&part) {
                error.message.push_str("; what came is a web page");
            }
            self.discard()?;
            return Err(Failed::Wrong(error));
        }
        keep(&self.folder, sha256, size)?;
        Ok(sha256)
    }

    fn broken(&self, error: std::io::Error) -> Failed {
        DatasetError::file(&self.folder, error).into()
    }
}

/// A strong ETag, or the time of the last change: what `If-Range` takes.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(header::ETAG).filter(|etag| etag.starts_with('"')).or_else(|| text(header::LAST_MODIFIED))
}

/// Which part of a file an answer has.
struct Range {
    start: u64,
    /// The whole file's length, where it is said.
    total: Option<u64>,
}

/// What `Content-Range` says, where it can be: `bytes 100-199/1000`.
fn range(headers: &HeaderMap) -> Option<Range> {
    let (bounds, total) = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = bounds.split_once('-')?;
    let (start, end) = (start.parse::<u64>().ok()?, end.parse::<u64>().ok()?);
    let total = total.parse::<u64>().ok();
    (start <= end && total.is_none_or(|total| end < total)).then_some(Range { start, total })
}

/// Whether an answer with a part of a file carries on what came so far.
fn continues(headers: &HeaderMap, (begun, length): &(Begun, u64)) -> bool {
    let Some(Range { start, total }) = range(headers) else { return false };
    let same_size = match (total, begun.size) {
        (Some(now), Some(before)) => now == before,
        _ => true,
    };
    let same_file = begun.validator.is_none() || validator(headers).is_none() || validator(headers) == begun.validator;
    start == *length && same_size && same_file
}

/// What an answer without the file means.
fn refused(status: StatusCode, headers: &HeaderMap) -> Failed {
    let why = format!("it answered {status}");
    match status.as_u16() {
        408 | 429 | 500 | 502..=504 => {
            let asked = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            Failed::Again(why, asked.map(Duration::from_secs))
        }
        _ => Failed::Here(why),
    }
}

/// A request without an answer.
fn unsent(error: &reqwest::Error) -> Failed {
    let why = root(error);
    match error.is_redirect() || error.is_builder() {
        true => Failed::Here(why),
        false => Failed::Again(why, None),
    }
}

fn cut(length: u64, size: u64) -> String {
    format!("the answer ended after {} of {}", text::bytes(length), text::bytes(size))
}

/// Whether a file begins as HTML does: a page to sign in, where a file was asked for.
fn looks_like_a_page(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    let text = String::from_utf8_lossy(&start).trim_start().to_ascii_lowercase();
    read.is_ok() && (text.starts_with("<!doctype html") || text.starts_with("<html"))
}

/// The innermost cause: the outer ones only repeat the URL, with what may be secret in it.
fn root(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    match last.downcast_ref::<reqwest::Error>() {
        // It has no cause, and its text names the URL.
        Some(error) if error.is_timeout() => "it did not answer in time".to_owned(),
        Some(_) => "the request failed".to_owned(),
        None => last.to_string(),
    }
}
