//! The server's files, over SFTP.
//!
//! In: paths as the server has them (relative ones start in the user's home) and bytes. Out: what is there.
//!
//! Invariants: a file is never seen half-written: it is written under another name beside its own, readable by its
//! owner alone until it is whole, brought to disk, and renamed into place. What is read is bounded.
//!
//! Everything is done as the user that logged in. Files of root are the business of commands with sudo.

use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use russh::ChannelMsg;
use russh_sftp::client::{Config, RawSftpSession, error::Error};
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::client::{Dress, Settings, dropped};
use super::command::{Held, Session};
use super::error::{ErrorKind, SshError, chain};

/// Bytes of one request: every server takes this many.
const CHUNK: usize = 32 << 10;
/// Requests on their way at once.
const AT_ONCE: usize = 16;

/// What sort of thing a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link; only where links are not followed.
    Link,
    /// A device, a socket, a pipe.
    Other,
}

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: StatKind,
    /// Bytes.
    pub size: u64,
    /// Permission bits, without those of the kind: `0o644`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The last change, in seconds since 1970.
    pub modified: u32,
}

/// The files of a server. One session on the connection, closed when this is dropped.
pub struct Files {
    sftp: Arc<RawSftpSession>,
    dress: Dress,
    _held: Arc<Held>,
}

impl Files {
    pub(super) async fn open(mut session: Session, settings: &Settings, dress: &Dress) -> Result<Self, SshError> {
        let mut channel = session.take()?;
        let answer = async {
            channel.request_subsystem(true, "sftp").await?;
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Success) => return Ok(true),
                    Some(ChannelMsg::Failure | ChannelMsg::Close) => return Ok(false),
                    Some(_) => {}
                    None => return Err(russh::Error::Disconnect),
                }
            }
        };
        match timeout(settings.limits.answer, answer).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(no_service("it was refused")),
            Ok(Err(error)) => return Err(dropped(&session.held.connection, &error)),
            Err(_) => return Err(no_service("it does not answer")),
        }
        let seconds = settings.limits.file.as_secs().max(1);
        let config = Config { request_timeout_secs: seconds, ..Config::default() };
        let sftp = RawSftpSession::new_with_config(channel.into_stream(), config);
        let files = Self { sftp: Arc::new(sftp), dress: dress.clone(), _held: session.held.clone() };
        match files.sftp.init().await {
            Ok(_) => Ok(files),
            Err(error) => Err(no_service(&chain(&error))),
        }
    }

    /// Writes a file, in place of what is there, with these permission bits.
    pub async fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), SshError> {
        self.put(path, bytes, mode).await
    }

    /// Writes a file with the content of a local one.
    pub async fn upload(&self, local: &Path, path: &str, mode: u32) -> Result<(), SshError> {
        let file = tokio::fs::File::open(local).await.map_err(|error| {
            let text = format!("{} cannot be read: {error}", local.display());
            self.dress.dress(SshError::new(ErrorKind::File, text))
        })?;
        self.put(path, file, mode).await
    }

    /// A file's content; none if there is no such file. More bytes than the bound are an error.
    pub async fn read(&self, path: &str, bound: usize) -> Result<Option<Vec<u8>>, SshError> {
        let Some(handle) = absent(self.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await)
            .map_err(|error| self.failed("read", path, &error))?
        else {
            return Ok(None);
        };
        let read = self.read_all(&handle.handle, path, bound).await;
        self.close(handle.handle).await;
        read.map(Some)
    }

    /// What a path names, links followed; none if there is nothing.
    pub async fn stat(&self, path: &str) -> Result<Option<Stat>, SshError> {
        let attrs = absent(self.sftp.stat(path).await).map_err(|error| self.failed("look at", path, &error))?;
        Ok(attrs.map(|attrs| stat(&attrs.attrs)))
    }

    /// What a path names, a link itself; none if there is nothing.
    pub async fn stat_link(&self, path: &str) -> Result<Option<Stat>, SshError> {
        let attrs = absent(self.sftp.lstat(path).await).map_err(|error| self.failed("look at", path, &error))?;
        Ok(attrs.map(|attrs| stat(&attrs.attrs)))
    }

    /// Makes a folder and those above it. Those that it makes have these permission bits; others stay as they are.
    pub async fn make_folders(&self, path: &str, mode: u32) -> Result<(), SshError> {
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]);
        for end in ends {
            let folder = &path[..end];
            if folder.ends_with('/') || folder.is_empty() {
                continue;
            }
            match self.stat(folder).await? {
                Some(Stat { kind: StatKind::Folder, .. }) => continue,
                Some(_) => {
                    let text = format!("{folder} is there already, and is no folder");
                    return Err(self.dress.dress(SshError::new(ErrorKind::File, text)));
                }
                None => {}
            }
            let made = self.sftp.mkdir(folder, FileAttributes::empty()).await;
            // Somebody else may have made it meanwhile.
            if let Err(error) = made
                && !matches!(self.stat(folder).await?, Some(Stat { kind: StatKind::Folder, .. }))
            {
                return Err(self.failed("make the folder", folder, &error));
            }
            let set = self.sftp.setstat(folder, permissions(mode)).await;
            set.map_err(|error| self.failed("set the permissions of", folder, &error))?;
        }
        Ok(())
    }

    /// Gives a file another name, in place of what has it.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), SshError> {
        let mut data = Vec::new();
        for path in [from, to] {
            data.extend(u32::try_from(path.len()).unwrap_or(u32::MAX).to_be_bytes());
            data.extend(path.as_bytes());
        }
        let renamed = match self.sftp.extended("posix-rename@openssh.com", data).await {
            Ok(Packet::Status(status)) if status.status_code == StatusCode::Ok => Ok(()),
            // Servers without it have a rename that does not replace.
            Ok(Packet::Status(status)) if status.status_code == StatusCode::OpUnsupported => {
                self.sftp.rename(from, to).await.map(|_| ())
            }
            Ok(Packet::Status(status)) => Err(Error::Status(status)),
            Ok(_) => Err(Error::UnexpectedPacket),
            Err(error) => Err(error),
        };
        renamed.map_err(|error| self.failed(&format!("rename {from} to"), to, &error))
    }

    /// Removes a file or a link. Says whether it was there.
    pub async fn remove(&self, path: &str) -> Result<bool, SshError> {
        let removed = absent(self.sftp.remove(path).await).map_err(|error| self.failed("remove", path, &error))?;
        Ok(removed.is_some())
    }

    async fn put(&self, path: &str, source: impl AsyncRead + Unpin, mode: u32) -> Result<(), SshError> {
        let failed = |error: Error| self.failed("write", path, &error);
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, _)| path.split_at(folder.len() + 1));
        let mut temporary = Temporary {
            path: format!("{folder}.{name}.anole-{}", uuid::Uuid::new_v4().simple()),
            sftp: self.sftp.clone(),
            there: true,
        };
        let flags = OpenFlags::CREATE | OpenFlags::EXCLUDE | OpenFlags::WRITE;
        let handle = self.sftp.open(&temporary.path, flags, permissions(0o600)).await.map_err(failed)?.handle;
        let written = self.fill(&handle, path, source, mode).await;
        self.close(handle).await;
        written?;
        self.rename(&temporary.path, path).await?;
        temporary.there = false;
        Ok(())
    }

    async fn fill(
        &self,
        handle: &str,
        path: &str,
        mut source: impl AsyncRead + Unpin,
        mode: u32,
    ) -> Result<(), SshError> {
        let failed = |error: Error| self.failed("write", path, &error);
        let mut block = vec![0; CHUNK * AT_ONCE];
        let mut offset = 0;
        loop {
            let length = read_full(&mut source, &mut block).await.map_err(|error| {
                self.dress.dress(SshError::new(ErrorKind::File, format!("what goes to {path} cannot be read: {error}")))
            })?;
            let mut writes = Vec::with_capacity(AT_ONCE);
            for (number, chunk) in block[..length].chunks(CHUNK).enumerate() {
                writes.push(self.sftp.write(handle, offset + (number * CHUNK) as u64, chunk.to_vec()));
            }
            stream::iter(writes).buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await.map_err(failed)?;
            offset += length as u64;
            if length < block.len() {
                break;
            }
        }
        self.sftp.fsetstat(handle, permissions(mode)).await.map_err(failed)?;
        match self.sftp.fsync(handle).await {
            // A server that cannot is no reason to fail.
            Ok(_) => Ok(()),
            Err(Error::Status(status)) if status.status_code == StatusCode::OpUnsupported => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    async fn read_all(&self, handle: &str, path: &str, bound: usize) -> Result<Vec<u8>, SshError> {
        let mut bytes = Vec::new();
        loop {
            // One more than the bound, to see that there is more.
            let length = (bound.saturating_add(1) - bytes.len()).min(CHUNK);
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            match self.sftp.read(handle, bytes.len() as u64, length).await {
                Ok(data) if data.data.is_empty() => return Ok(bytes),
                Ok(data) => bytes.extend(data.data),
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => return Ok(bytes),
                Err(error) => return Err(self.failed("read", path, &error)),
            }
            if bytes.len() > bound {
                let text = format!("{path} is larger than the {bound} bytes that are expected of it");
                return Err(self.dress.dress(SshError::new(ErrorKind::File, text)));
            }
        }
    }

    async fn close(&self, handle: String) {
        if let Err(error) = self.sftp.close(handle).await {
            tracing::debug!(%error, "a file was not closed");
        }
    }

    fn failed(&self, what: &str, path: &str, error: &Error) -> SshError {
        let (kind, why) = match error {
            Error::Status(status) => match status.status_code {
                StatusCode::PermissionDenied => (ErrorKind::File, "the user may not".to_owned()),
                StatusCode::NoSuchFile => (ErrorKind::File, "there is no such file or folder".to_owned()),
                _ => (ErrorKind::File, chain(error)),
            },
            Error::Timeout => (ErrorKind::TimedOut, "it does not answer".to_owned()),
            error => (ErrorKind::Dropped, chain(error)),
        };
        self.dress.dress(SshError::new(kind, format!("it did not {what} {path}: {why}")))
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Files({})", self.dress.server)
    }
}

fn no_service(why: &str) -> SshError {
    SshError::new(ErrorKind::Refused, format!("it did not start its file service: {why}"))
        .hint("sshd needs `Subsystem sftp` in its sshd_config, as distributions have it")
}

/// A file that is not whole yet. Dropped, it is removed.
struct Temporary {
    path: String,
    sftp: Arc<RawSftpSession>,
    there: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.there, tokio::runtime::Handle::try_current()) {
            let (path, sftp) = (std::mem::take(&mut self.path), self.sftp.clone());
            runtime.spawn(async move {
                if let Err(error) = sftp.remove(&path).await {
                    tracing::debug!(%error, path, "a temporary file was not removed");
                }
            });
        }
    }
}

/// None where there is no such file.
fn absent<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
        other => other.map(Some),
    }
}

fn permissions(mode: u32) -> FileAttributes {
    FileAttributes { permissions: Some(mode & 0o7777), ..FileAttributes::empty() }
}

fn stat(attrs: &FileAttributes) -> Stat {
    let mode = attrs.permissions.unwrap_or_default();
    let kind = match mode & 0o170_000 {
        0o100_000 => StatKind::File,
        0o040_000 => StatKind::Folder,
        0o120_000 => StatKind::Link,
        _ => StatKind::Other,
    };
    Stat {
        kind,
        size: attrs.size.unwrap_or_default(),
        mode: mode & 0o7777,
        uid: attrs.uid.unwrap_or_default(),
        gid: attrs.gid.unwrap_or_default(),
        modified: attrs.mtime.unwrap_or_default(),
    }
}

/// Fills the block, as far as there is something to fill it with.
async fn read_full(source: &mut (impl AsyncRead + Unpin), block: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < block.len() {
        match source.read(&mut block[length..]).await? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
