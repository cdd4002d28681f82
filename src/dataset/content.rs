//! The content of an object, which can be read as often as it is needed: a file, a member of an archive in place, a
//! shard made as it is read, or a few bytes.
//!
//! Invariants:
//! - What is read is as long as was declared, or the reader ends with an error; a member of a zip has its checksum too.
//!   So content that changed since it was listed is never taken for what was listed.
//! - Reading again gives the same bytes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::digest::Sha256;
use super::extract::Packing;
use super::shard::Shard;
use super::stored::Stored;

/// What a reader of content is.
pub type Reader = Box<dyn Read + Send>;

/// How much of a file is read at once.
const BLOCK: usize = 64 << 10;

/// A file that was touched this recently may be touched again without its times showing it: clocks of file systems
/// are coarse.
const SETTLED: Duration = Duration::from_secs(2);

/// A file on its way to become an object.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its key below the prefix: a relative path.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// Where its bytes are.
    pub content: Content,
}

/// An object as it is to be in the bucket.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its key below the prefix.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its content.
    pub sha256: Sha256,
    /// Its content.
    pub content: Content,
}

/// Something that can be read again and again, from elsewhere than the files of this machine.
pub trait Open: Send + Sync {
    /// Its bytes from an offset on.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn open(&self, offset: u64) -> io::Result<Reader>;

    /// What it is, for people.
    fn origin(&self) -> String;

    /// Text that is another one whenever the content is: a version id, an ETag with the address. `None` if nothing is
    /// known, so that its digest is taken anew each time.
    fn identity(&self) -> Option<String>;

    /// Its SHA-256, where it is known without reading it.
    fn sha256(&self) -> Option<Sha256> {
        None
    }

    /// The object that it is, where it is one of a store: the store can be asked to copy it.
    fn stored(&self) -> Option<&Stored> {
        None
    }
}

/// Where the bytes of an [`Entry`] are.
#[derive(Clone)]
pub enum Content {
    /// A file of this machine.
    File(Arc<OnDisk>),
    /// A member of an archive that is read in place.
    Member(Arc<Archive>, Arc<Member>),
    /// A tar file that is made while it is read.
    Shard(Arc<Shard>),
    /// A few bytes.
    Bytes(Arc<[u8]>),
    /// From elsewhere.
    Other(Arc<dyn Open>),
}

/// A file of this machine, as it was when its folder was looked at.
#[derive(Debug)]
pub struct OnDisk {
    pub(super) path: PathBuf,
    /// What was seen of it then; nothing where it was only named.
    seen: Option<Stat>,
}

/// What the file system says of a file, by which it is known again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    device: u64,
    inode: u64,
    settled: bool,
}

/// An archive whose members are read in place.
#[derive(Debug)]
pub struct Archive {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// What was seen of it when it was opened.
    seen: Stat,
}

/// Where a member is in its archive.
#[derive(Debug)]
pub struct Member {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) packed: u64,
    pub(super) packing: Packing,
    /// The CRC-32 of its content, where the archive has one.
    pub(super) crc: Option<u32>,
}

/// What says that content is still the same without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Where it is, and what is known of it.
    pub(super) text: String,
    /// Whether a later change is sure to show in the text.
    pub(super) settled: bool,
}

/// How much an [`Identity`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// All that is known: two contents with the same text are the same to the byte. A second name of a file, made or removed,
    /// makes it another one.
    All,
    /// What stays as long as nobody writes: it may be kept for later runs.
    Lasting,
}

impl Entry {
    /// A file of this machine.
    pub(super) fn file(key: impl Into<String>, path: &Path, size: u64) -> Self {
        Self { key: key.into(), size, content: Content::file(path) }
    }

    /// A file of this machine that was just looked at. By what was seen its digest is remembered: there may be millions of
    /// them, and each is looked at once.
    pub(super) fn seen(key: String, path: PathBuf, meta: &std::fs::Metadata) -> Self {
        let file = OnDisk { path, seen: Some(Stat::of(meta)) };
        Self { key, size: meta.len(), content: Content::File(Arc::new(file)) }
    }

    /// Opens it from an offset on; what is read is as long as declared.
    ///
    /// # Errors
    /// Why it cannot be opened. A reader ends with an error where the content is not as declared.
    pub fn open(&self, offset: u64) -> io::Result<Reader> {
        self.content.open(offset, self.size)
    }
}

impl Object {
    /// Opens it from an offset on; what is read is as long as declared.
    ///
    /// # Errors
    /// As [`Entry::open`].
    pub fn open(&self, offset: u64) -> io::Result<Reader> {
        self.content.open(offset, self.size)
    }
}

impl OnDisk {
    fn stat(&self) -> io::Result<Stat> {
        self.seen.map_or_else(|| Ok(Stat::of(&std::fs::metadata(&self.path)?)), Ok)
    }
}

impl Content {
    /// A file of this machine.
    pub(super) fn file(path: &Path) -> Self {
        Self::File(Arc::new(OnDisk { path: path.to_owned(), seen: None }))
    }

    /// Opens content of a size from an offset on.
    ///
    /// # Errors
    /// As [`Entry::open`].
    pub fn open(&self, offset: u64, size: u64) -> io::Result<Reader> {
        let offset = offset.min(size);
        let inner: Reader = match self {
            Self::File(file) => {
                let mut file = File::open(&file.path)?;
                file.seek(SeekFrom::Start(offset))?;
                Box::new(file)
            }
            Self::Member(archive, member) => return member.open(archive, offset, size),
            Self::Shard(shard) => Box::new(Shard::reader(shard, offset)?),
            Self::Bytes(bytes) => {
                let mut cursor = Cursor::new(Arc::clone(bytes));
                cursor.set_position(offset);
                Box::new(cursor)
            }
            Self::Other(other) => other.open(offset)?,
        };
        Ok(Box::new(Exact { inner, origin: self.clone(), left: size - offset, size }))
    }

    /// What it is, for people: a path, or an archive and its entry.
    #[must_use]
    pub fn origin(&self) -> String {
        match self {
            Self::File(file) => file.path.display().to_string(),
            Self::Member(archive, member) => format!("{}, entry `{}`", archive.path.display(), member.name),
            Self::Shard(shard) => format!("a shard of {} files", shard.members()),
            Self::Bytes(_) => "generated content".to_owned(),
            Self::Other(other) => other.origin(),
        }
    }

    /// The object of a store that it is, unchanged.
    #[must_use]
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Other(other) => other.stored(),
            _ => None,
        }
    }

    /// What says that it is the same as before; `None` where only its bytes say so.
    pub(super) fn identity(&self, detail: Detail) -> io::Result<Option<Identity>> {
        let sure = |text| Some(Identity { text, settled: true });
        Ok(match self {
            Self::File(file) => {
                let seen = file.stat()?;
                Some(Identity { text: seen.text(&file.path, detail), settled: seen.settled })
            }
            Self::Member(archive, member) => {
                let archive = archive.seen.text(&archive.path, detail);
                sure(format!("{archive}\0{}\0{}", member.offset, member.packed))
            }
            Self::Shard(shard) => shard.identity(detail)?,
            Self::Bytes(bytes) => sure(format!("bytes\0{}", Sha256::of(bytes))),
            Self::Other(other) => other.identity().and_then(sure),
        })
    }

    /// Whether a file of this machine still is what it was when it was looked at; other content is by itself.
    pub(super) fn is_as_seen(&self) -> bool {
        let Self::File(file) = self else { return true };
        let now = std::fs::metadata(&file.path).map(|meta| Stat::of(&meta));
        let text = |stat: Stat| stat.text(&file.path, Detail::All);
        file.seen.is_none_or(|seen| now.is_ok_and(|now| text(now) == text(seen)))
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.origin())
    }
}

/// What lasts of a file that is there: see [`Stat`].
pub(super) fn lasting(path: &Path, meta: &std::fs::Metadata) -> String {
    Stat::of(meta).text(path, Detail::Lasting)
}

/// A file is known again by path, length, times and inode. The change time cannot be set back by a program; but a second
/// name of the file changes it, and a disk that is mounted anew may have another number. So what lasts is without either.
impl Stat {
    fn of(meta: &std::fs::Metadata) -> Self {
        let changed = meta.ctime().max(meta.mtime());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            device: meta.dev(),
            inode: meta.ino(),
            settled: i64::try_from(now.saturating_sub(SETTLED).as_secs()).is_ok_and(|before| changed < before),
        }
    }

    fn text(&self, path: &Path, detail: Detail) -> String {
        let Self { size, modified, changed, device, inode, .. } = self;
        // In one piece of memory: there may be millions.
        let mut text = String::with_capacity(path.as_os_str().len() + 160);
        text.push_str("file\0");
        text.push_str(&path.to_string_lossy());
        // A string takes everything.
        let _ = match detail {
            Detail::All => {
                let times = format_args!("({}, {}, {}, {})", modified.0, modified.1, changed.0, changed.1);
                write!(text, "\0{size}\0{times}\0{device}\0{inode}")
            }
            Detail::Lasting => write!(text, "\0{size}\0({}, {})\0{inode}", modified.0, modified.1),
        };
        text
    }
}

impl Archive {
    /// Opens an archive.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let seen = Stat::of(&file.metadata()?);
        Ok(Self { path: path.to_owned(), file, seen })
    }
}

impl Member {
    fn open(self: &Arc<Self>, archive: &Arc<Archive>, offset: u64, size: u64) -> io::Result<Reader> {
        let origin = Content::Member(Arc::clone(archive), Arc::clone(self));
        let slice =
            |from| Slice { archive: Arc::clone(archive), at: self.offset + from, end: self.offset + self.packed };
        if matches!(self.packing, Packing::Stored) && offset > 0 {
            // Its checksum is that of the whole, so a part goes without.
            return Ok(Box::new(Exact { inner: Box::new(slice(offset)), origin, left: size - offset, size }));
        }
        let inner = self.packing.unpack(Box::new(BufReader::with_capacity(BLOCK, slice(0))))?;
        let whole = Exact { inner, origin, left: size, size };
        let mut checked = Checked { inner: whole, crc: self.crc, hasher: crc32fast::Hasher::new() };
        if io::copy(&mut (&mut checked).take(offset), &mut io::sink())? < offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Box::new(checked))
    }
}

/// A part of an archive's file. Readers of one archive share its descriptor, and no position.
struct Slice {
    archive: Arc<Archive>,
    at: u64,
    end: u64,
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.archive.file.read_at(&mut buffer[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A reader of as many bytes as were declared.
struct Exact {
    inner: Reader,
    origin: Content,
    left: u64,
    size: u64,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let wrong = |what: &str| {
            let text =
                format!("{} is {what} than the {} bytes that it was listed with", self.origin.origin(), self.size);
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        if self.left == 0 {
            // One byte more tells whether it grew; a reader that fails here was cut short in its trailer.
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(wrong("longer")),
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(wrong("shorter"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// A reader that ends with an error if the checksum is another one: before it gives the last bytes, for a caller that
/// knows the length asks for no more.
struct Checked {
    inner: Exact,
    crc: Option<u32>,
    hasher: crc32fast::Hasher,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        if self.inner.left == 0 && self.crc.is_some_and(|crc| crc != self.hasher.clone().finalize()) {
            let text = format!("{} is damaged: its checksum is wrong", self.inner.origin.origin());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_changed_is_not_what_was_listed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "hello").unwrap();
        let read = |size, offset| {
            let mut text = String::new();
            Entry::file("x", &path, size).open(offset)?.read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(read(5, 0).unwrap(), "hello");
        assert_eq!(read(5, 3).unwrap(), "lo");
        assert_eq!(read(5, 5).unwrap(), "");
        assert!(read(6, 0).unwrap_err().to_string().contains("shorter than the 6 bytes"));
        assert!(read(4, 2).unwrap_err().to_string().contains("longer than the 4 bytes"));
    }

    #[test]
    fn a_file_written_just_now_is_not_yet_settled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let of = |detail| Content::file(file.path()).identity(detail).unwrap().unwrap();
        let before = of(Detail::All);
        assert!(!before.settled);
        std::fs::write(file.path(), "more").unwrap();
        assert_ne!(before, of(Detail::All));
        // A second name is no change of what is in it.
        let (folder, all, lasting) = (tempfile::tempdir().unwrap(), of(Detail::All), of(Detail::Lasting));
        std::thread::sleep(Duration::from_millis(20));
        std::fs::hard_link(file.path(), folder.path().join("second")).unwrap();
        assert_eq!(of(Detail::Lasting), lasting);
        assert_ne!(of(Detail::All), all);
        assert!(Content::file(Path::new("/nothing/here")).identity(Detail::All).is_err());
    }

    #[test]
    fn what_identifies_a_file_stays_the_same_from_version_to_version() {
        let (modified, changed) = ((1_700_000_000, 5), (1_700_000_001, 6));
        let stat = Stat { size: 70_000, modified, changed, device: 64_768, inode: 42, settled: true };
        let parts = |detail| {
            let text = stat.text(Path::new("/data/größe.jpg"), detail);
            text.split('\0').map(str::to_owned).collect::<Vec<_>>()
        };
        let times = "(1700000000, 5, 1700000001, 6)";
        assert_eq!(parts(Detail::All), ["file", "/data/größe.jpg", "70000", times, "64768", "42"]);
        assert_eq!(parts(Detail::Lasting), ["file", "/data/größe.jpg", "70000", "(1700000000, 5)", "42"]);
    }

    #[test]
    fn a_file_that_changed_since_it_was_looked_at_is_not_as_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let entry = Entry::seen("x".into(), file.path().into(), &file.path().metadata().unwrap());
        assert!(entry.content.is_as_seen());
        std::fs::write(file.path(), "more").unwrap();
        assert!(!entry.content.is_as_seen());
        std::fs::remove_file(file.path()).unwrap();
        assert!(!entry.content.is_as_seen());
    }
}
