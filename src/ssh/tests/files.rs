//! Files, against a folder that is served in this process.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};

use russh_sftp::protocol::{Attrs, Data, FileAttributes, Handle, OpenFlags, Packet, Status, StatusCode};
use russh_sftp::server::Handler;

use super::peer::Options;
use super::*;

/// Serves a folder. Paths are below it, and `/` is its root.
pub(super) struct Folder {
    root: PathBuf,
    open: HashMap<String, std::fs::File>,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, open: HashMap::new() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn file(&self, handle: &str) -> Result<&std::fs::File, StatusCode> {
        self.open.get(handle).ok_or(StatusCode::Failure)
    }
}

fn code(error: &io::Error) -> StatusCode {
    match error.kind() {
        io::ErrorKind::NotFound => StatusCode::NoSuchFile,
        io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        _ => StatusCode::Failure,
    }
}

fn done<T>(id: u32, result: io::Result<T>) -> Result<Status, StatusCode> {
    let status = |status_code| Status { id, status_code, error_message: String::new(), language_tag: String::new() };
    result.map(|_| status(StatusCode::Ok)).map_err(|error| code(&error))
}

fn attrs(id: u32, found: io::Result<std::fs::Metadata>) -> Result<Attrs, StatusCode> {
    let found = found.map_err(|error| code(&error))?;
    let attrs = FileAttributes {
        size: Some(found.len()),
        uid: Some(found.uid()),
        gid: Some(found.gid()),
        permissions: Some(found.mode()),
        atime: Some(0),
        mtime: u32::try_from(found.mtime()).ok(),
        ..FileAttributes::empty()
    };
    Ok(Attrs { id, attrs })
}

fn chmod(path: &std::path::Path, attrs: &FileAttributes) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(attrs.permissions.expect("a mode")))
}

impl Handler for Folder {
    type Error = StatusCode;

    fn unimplemented(&self) -> StatusCode {
        StatusCode::OpUnsupported
    }

    async fn open(
        &mut self,
        id: u32,
        name: String,
        flags: OpenFlags,
        attrs: FileAttributes,
    ) -> Result<Handle, StatusCode> {
        let mut options = std::fs::OpenOptions::new();
        options.read(flags.contains(OpenFlags::READ)).write(flags.contains(OpenFlags::WRITE));
        options.create_new(flags.contains(OpenFlags::EXCLUDE)).mode(attrs.permissions.unwrap_or(0o666));
        let file = options.open(self.path(&name)).map_err(|error| code(&error))?;
        let handle = id.to_string();
        self.open.insert(handle.clone(), file);
        Ok(Handle { id, handle })
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, StatusCode> {
        self.open.remove(&handle);
        done(id, Ok(()))
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Result<Data, StatusCode> {
        let mut data = vec![0; len as usize];
        let length = self.file(&handle)?.read_at(&mut data, offset).map_err(|error| code(&error))?;
        data.truncate(length);
        if data.is_empty() { Err(StatusCode::Eof) } else { Ok(Data { id, data }) }
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Result<Status, StatusCode> {
        done(id, self.file(&handle)?.write_all_at(&data, offset))
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, StatusCode> {
        attrs(id, std::fs::metadata(self.path(&path)))
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, StatusCode> {
        attrs(id, std::fs::symlink_metadata(self.path(&path)))
    }

    async fn setstat(&mut self, id: u32, path: String, attrs: FileAttributes) -> Result<Status, StatusCode> {
        done(id, chmod(&self.path(&path), &attrs))
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attrs: FileAttributes) -> Result<Status, StatusCode> {
        let mode = std::fs::Permissions::from_mode(attrs.permissions.expect("a mode"));
        done(id, self.file(&handle)?.set_permissions(mode))
    }

    async fn mkdir(&mut self, id: u32, path: String, _attrs: FileAttributes) -> Result<Status, StatusCode> {
        done(id, std::fs::create_dir(self.path(&path)))
    }

    async fn remove(&mut self, id: u32, path: String) -> Result<Status, StatusCode> {
        done(id, std::fs::remove_file(self.path(&path)))
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> Result<Packet, StatusCode> {
        if request != "posix-rename@openssh.com" {
            return Err(StatusCode::OpUnsupported);
        }
        let mut paths = Vec::new();
        let mut rest = &data[..];
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (path, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
            paths.push(self.path(std::str::from_utf8(path).expect("a name")));
            rest = tail;
        }
        done(id, std::fs::rename(&paths[0], &paths[1])).map(Packet::Status)
    }
}

async fn served() -> (World, Peer, Files, tempfile::TempDir) {
    let world = World::new();
    let folder = tempfile::tempdir().expect("a folder");
    let peer = world.peer_with(Options { files: Some(folder.path().into()), ..Options::default() }).await;
    let files = world.ssh(&peer).files().await.expect("files");
    (world, peer, files, folder)
}

#[tokio::test]
async fn written_whole_and_read_bounded() {
    let (_world, _peer, files, folder) = served().await;
    let content: Vec<u8> = (0..1_500_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    files.write("/one", &content, 0o640).await.expect("written");
    let path = folder.path().join("one");
    assert!(std::fs::read(&path).expect("there") == content);
    assert_eq!(path.metadata().expect("there").mode() & 0o7777, 0o640);

    // In place of what is there, which a reader that has it open still sees.
    let before = std::fs::File::open(&path).expect("there");
    files.write("/one", b"new", 0o600).await.expect("written");
    assert_eq!(before.metadata().expect("open").len(), 1_500_000);
    assert_eq!(files.read("/one", 3).await.expect("read").as_deref(), Some(&b"new"[..]));
    let error = files.read("/one", 2).await.expect_err("larger");
    assert_eq!(error.kind, ErrorKind::File);
    assert!(error.to_string().ends_with("/one is larger than the 2 bytes that are expected of it"), "{error}");
    assert_eq!(files.read("/none", 9).await.expect("no error"), None);

    files.write("/empty", b"", 0o600).await.expect("written");
    assert_eq!(files.read("/empty", 0).await.expect("read").as_deref(), Some(&b""[..]));
    files.upload(&path, "/two", 0o755).await.expect("written");
    assert_eq!(files.read("two", 9).await.expect("read").as_deref(), Some(&b"new"[..]));

    let names: Vec<_> =
        std::fs::read_dir(folder.path()).expect("there").map(|one| one.expect("one").file_name()).collect();
    assert_eq!(names.len(), 3, "no temporary file is left: {names:?}");
}

#[tokio::test]
async fn folders_stats_renames_removals() {
    let (_world, peer, files, folder) = served().await;
    files.make_folders("/a/b//c/", 0o750).await.expect("made");
    files.make_folders("/a/b/c", 0o700).await.expect("there already");
    let stat = files.stat("/a/b/c").await.expect("a look").expect("there");
    assert_eq!((stat.kind, stat.mode), (StatKind::Folder, 0o750));
    files.write("/a/file", b"12345", 0o604).await.expect("written");
    let stat = files.stat("/a/file").await.expect("a look").expect("there");
    assert_eq!((stat.kind, stat.mode, stat.size), (StatKind::File, 0o604, 5));
    std::os::unix::fs::symlink("file", folder.path().join("a/link")).expect("made");
    assert_eq!(files.stat("/a/link").await.expect("a look").expect("there").kind, StatKind::File);
    assert_eq!(files.stat_link("/a/link").await.expect("a look").expect("there").kind, StatKind::Link);
    assert_eq!(files.stat("/a/none").await.expect("a look"), None);

    let error = files.make_folders("/a/file/x", 0o700).await.expect_err("a file is in the way");
    let at = format!("servers.node (me@{}): ", peer.address);
    assert_eq!(error.to_string(), format!("{at}/a/file is there already, and is no folder"));
    let error = files.write("/none/x", b"", 0o600).await.expect_err("no such folder");
    assert_eq!(error.to_string(), format!("{at}it did not write /none/x: there is no such file or folder"));

    files.write("/a/other", b"other", 0o600).await.expect("written");
    files.rename("/a/other", "/a/file").await.expect("renamed");
    assert_eq!(files.read("/a/file", 9).await.expect("read").as_deref(), Some(&b"other"[..]));
    assert!(files.remove("/a/file").await.expect("removed"));
    assert!(!files.remove("/a/file").await.expect("it was not there"));
}

#[tokio::test]
async fn a_server_without_files() {
    let world = World::new();
    let peer = world.peer().await;
    let error = world.ssh(&peer).files().await.expect_err("no files");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.to_string().ends_with("it did not start its file service: it was refused"), "{error}");
}

#[tokio::test]
async fn files_on_a_connection_that_breaks() {
    let (_world, peer, files, _folder) = served().await;
    peer.cut();
    let error = files.read("/x", 9).await.expect_err("it broke");
    assert_eq!(error.kind, ErrorKind::Dropped);
}
