//! SHA-256 of contents: taken side by side, and remembered from run to run.
//!
//! In: entries with their content. Out: objects in the order of the entries, as their digests come in. The cache is a
//! file of lines beside the staging folder's data: what identified a content (path, length, times, inode), and its digest.
//!
//! Invariants: a remembered digest is used only for a content whose identity is the same to the byte; a content whose
//! file was touched within seconds before it was looked at, or since, is not remembered, for a second change may not show.
//! A line that was cut by a crash is passed over. The cache can be removed at any time.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use ring::digest::{Context, SHA256};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::content::{Content, Detail, Entry, Object};
use super::{DatasetError, ErrorKind, Progress, Watch};
use crate::hex;

/// How much is read at once.
const BLOCK: usize = 128 << 10;
/// The most threads that take digests.
const MOST_WORKERS: usize = 8;
/// How many do where contents come from elsewhere: they wait more than they work.
const WAITING_WORKERS: usize = 16;
/// How many turns each thread has at least, so that all end together.
const TURNS: usize = 32;
/// How many digests a thread takes at a turn, at most.
const STRETCH: usize = 256;
/// How long a line of the cache is.
const LINE: usize = 100;
/// How many new lines are written at once.
const BATCH: usize = 256;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256([u8; 32]);

impl From<[u8; 32]> for Sha256 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Sha256 {
    /// Of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(start(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Enough of it to name a folder by.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..12])
    }

    pub(super) fn finish(context: Context) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

/// A digest that was begun with some bytes.
pub(super) fn start(bytes: &[u8]) -> Context {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    context
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        hex::array(text).map(Self).ok_or_else(|| "a SHA-256 is 64 hexadecimal digits".to_owned())
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From the text where it lies: a manifest has one for every object, and serde's `try_from` makes a copy of each.
impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Sha256;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a SHA-256")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Sha256, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The digests that are remembered.
#[derive(Debug)]
pub struct Digests {
    path: PathBuf,
    /// Read when the first digest is asked for: the folder is this run's by then, and has what the run before remembers.
    known: Mutex<Option<Known>>,
}

/// What identified a content, as half of its own SHA-256.
type Name = [u8; 16];

#[derive(Debug, Default)]
struct Known {
    digests: HashMap<Name, Remembered>,
    /// How many of them this run used or took.
    used: usize,
    unwritten: Vec<Name>,
}

#[derive(Debug)]
struct Remembered {
    sha256: Sha256,
    used: bool,
}

impl Known {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut digests = HashMap::with_capacity(text.len() / LINE);
        let lines = text.lines().filter_map(parse_line);
        digests.extend(lines.map(|(name, sha256)| (name, Remembered { sha256, used: false })));
        Self { digests, ..Self::default() }
    }

    fn use_of(&mut self, name: &Name) -> Option<Sha256> {
        let remembered = self.digests.get_mut(name)?;
        self.used += usize::from(!std::mem::replace(&mut remembered.used, true));
        Some(remembered.sha256)
    }

    fn lines<'a>(&self, names: impl Iterator<Item = &'a Name>) -> String {
        names.filter_map(|name| Some(line(name, &self.digests.get(name)?.sha256))).collect()
    }
}

impl Digests {
    /// Those of a cache; one that cannot be read is an empty one.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), known: Mutex::default() }
    }

    fn known<T>(&self, of: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        of(known.get_or_insert_with(|| Known::read(&self.path)))
    }

    /// The digest of a content, remembered or taken.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn of(&self, content: &Content, size: u64, watch: &dyn Watch) -> Result<Sha256, DatasetError> {
        if let Content::Other(other) = content
            && let Some(known) = other.sha256()
        {
            watch.tell(Progress::Bytes(size));
            return Ok(known);
        }
        let failed = |error| DatasetError::io(ErrorKind::File, &content.origin(), error);
        // Of before the content is read: one that changed meanwhile is not remembered.
        let identity = content.identity(Detail::All).map_err(failed)?;
        let named = identity.map(|identity| (name_of(&identity.text, size), identity.settled));
        if let Some((name, _)) = named
            && let Some(known) = self.known(|known| known.use_of(&name))
        {
            watch.tell(Progress::Bytes(size));
            return Ok(known);
        }
        let sha256 = digest_of(content, size, watch)?;
        if let Some((name, true)) = named
            && content.is_as_seen()
        {
            self.remember(name, sha256);
        }
        Ok(sha256)
    }

    fn remember(&self, name: Name, sha256: Sha256) {
        self.known(|known| {
            let before = known.digests.insert(name, Remembered { sha256, used: true });
            known.used += usize::from(before.is_none_or(|before| !before.used));
            known.unwritten.push(name);
            if known.unwritten.len() >= BATCH {
                self.append(known);
            }
        });
    }

    /// Writes what is not written yet. A cache that cannot be written is no failure: the next run takes longer.
    fn append(&self, known: &mut Known) {
        let names = std::mem::take(&mut known.unwritten);
        let lines = known.lines(names.iter());
        let written = OpenOptions::new().create(true).append(true).open(&self.path);
        if let Err(error) = written.and_then(|mut file| file.write_all(lines.as_bytes())) {
            tracing::warn!("digests are not remembered: {}: {error}", self.path.display());
        }
    }

    /// Writes what is not written yet. Of a run that is `whole`, which used all that it has a use for, it drops what was not
    /// used where that is most of what is remembered.
    pub fn save(&self, whole: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing was asked for.
        let Some(known) = known.as_mut() else { return };
        if !known.unwritten.is_empty() {
            self.append(known);
        }
        if !whole || known.digests.len() <= 2 * known.used + BATCH {
            return;
        }
        known.digests.retain(|_, remembered| remembered.used);
        let lines = known.lines(known.digests.keys());
        let fresh = self.path.with_extension("new");
        let written = File::create(&fresh).and_then(|mut file| file.write_all(lines.as_bytes()));
        if let Err(error) = written.and_then(|()| std::fs::rename(&fresh, &self.path)) {
            tracing::warn!("digests are not tidied: {}: {error}", self.path.display());
        }
    }
}

fn name_of(identity: &str, size: u64) -> Name {
    let mut whole = start(size.to_string().as_bytes());
    whole.update(b"\0");
    whole.update(identity.as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::finish(whole).0[..16]);
    half
}

fn line(name: &Name, sha256: &Sha256) -> String {
    format!("{} {sha256} .\n", hex::encode(name))
}

/// The mark at a line's end tells a whole line from a cut one.
fn parse_line(line: &str) -> Option<(Name, Sha256)> {
    let (name, sha256) = line.strip_suffix(" .")?.split_once(' ')?;
    Some((hex::array(name)?, hex::array(sha256).map(Sha256)?))
}

/// Reads a content whole.
pub(super) fn digest_of(content: &Content, size: u64, watch: &dyn Watch) -> Result<Sha256, DatasetError> {
    let failed = |error| DatasetError::io(ErrorKind::File, &content.origin(), error);
    let mut reader = content.open(0, size).map_err(failed)?;
    let mut context = Context::new(&SHA256);
    let mut block = vec![0; BLOCK];
    loop {
        if watch.stopped() {
            return Err(DatasetError::stopped());
        }
        match reader.read(&mut block) {
            Ok(0) => return Ok(Sha256::finish(context)),
            Ok(read) => {
                context.update(&block[..read]);
                watch.tell(Progress::Bytes(read as u64));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Entries that become objects, in their order, while threads take the digests ahead. Dropping it ends the threads.
pub struct Objects {
    /// Stretches of them, each with the place of its first.
    results: mpsc::Receiver<(usize, Vec<Result<Object, DatasetError>>)>,
    early: BTreeMap<usize, Vec<Result<Object, DatasetError>>>,
    /// The stretch that is given out.
    current: std::vec::IntoIter<Result<Object, DatasetError>>,
    next: usize,
    count: usize,
    /// Whether all that came so far are objects.
    whole: bool,
    given_up: Arc<AtomicBool>,
    digests: Arc<Digests>,
}

impl Objects {
    pub(super) fn of(entries: Arc<[Entry]>, digests: Arc<Digests>, watch: Arc<dyn Watch>) -> Self {
        let (sender, results) = mpsc::channel();
        let (turn, given_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = match entries.iter().any(|entry| matches!(entry.content, Content::Other(_))) {
            true => WAITING_WORKERS,
            false => cores.min(MOST_WORKERS),
        };
        // Digests that are remembered come so fast that a turn for each costs more than they do.
        let stretch = (entries.len() / (workers * TURNS)).clamp(1, STRETCH);
        for _ in 0..workers.min(entries.len()) {
            let (entries, digests, watch) = (Arc::clone(&entries), Arc::clone(&digests), Arc::clone(&watch));
            let (turn, given_up, sender) = (Arc::clone(&turn), Arc::clone(&given_up), sender.clone());
            std::thread::spawn(move || {
                while !given_up.load(Ordering::Relaxed) {
                    let from = turn.fetch_add(stretch, Ordering::Relaxed);
                    let some = entries.iter().skip(from).take(stretch);
                    let wanted = some.take_while(|_| !given_up.load(Ordering::Relaxed));
                    let taken: Vec<_> = wanted.map(|entry| object(entry, &digests, watch.as_ref())).collect();
                    if taken.is_empty() || sender.send((from, taken)).is_err() {
                        return;
                    }
                }
            });
        }
        let (early, current, count) = (BTreeMap::new(), Vec::new().into_iter(), entries.len());
        Self { results, early, current, next: 0, count, whole: true, given_up, digests }
    }
}

fn object(entry: &Entry, digests: &Digests, watch: &dyn Watch) -> Result<Object, DatasetError> {
    let sha256 = digests.of(&entry.content, entry.size, watch)?;
    watch.tell(Progress::Objects(1));
    Ok(Object { key: entry.key.clone(), size: entry.size, sha256, content: entry.content.clone() })
}

impl Iterator for Objects {
    type Item = Result<Object, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.count {
            if let Some(result) = self.current.next() {
                self.next += 1;
                self.whole &= result.is_ok();
                return Some(result);
            }
            if let Some(stretch) = self.early.remove(&self.next) {
                self.current = stretch.into_iter();
                continue;
            }
            match self.results.recv() {
                Ok((from, stretch)) => drop(self.early.insert(from, stretch)),
                // Every thread ended without having sent this one: one of them panicked.
                Err(_) => {
                    (self.next, self.whole) = (self.count, false);
                    let text = "a thread that takes digests ended early; this is a mistake in anole";
                    return Some(Err(DatasetError::new(ErrorKind::File, text)));
                }
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count - self.next, Some(self.count - self.next))
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.digests.save(self.whole && self.next == self.count);
    }
}
