//! An object store of a test's own, as its servers reach it, and Debian packages that a server can install.
//!
//! In: buckets as folders; names of packages. Out: a URL that guests reach; a source of packages in the guest.
//!
//! Invariants:
//! - The store is `rclone serve s3` on a loopback port, which guests reach as `10.0.2.2`; what is in it are files here.
//! - Guests reach no archive. Packages are downloaded here by apt, for what the guest lacks, and copied there.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::kit::Lab;

/// The keys that open every store of a test.
pub const KEY: &str = "the-id-of-a-key";
pub const SECRET: &str = "SeCrEt-9d41f0a2c5";

/// A store that speaks S3.
pub struct Store {
    folder: TempDir,
    port: u16,
    served: Child,
}

impl Store {
    /// One with these buckets, empty.
    pub fn with(buckets: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket)).expect("a bucket");
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let served = serve(folder.path(), port);
        Self { folder, port, served }
    }

    /// Its URL, as a server reaches it.
    pub fn endpoint(&self) -> String {
        format!("http://10.0.2.2:{}", self.port)
    }

    /// An object, as a file.
    pub fn object(&self, bucket: &str, key: &str) -> PathBuf {
        self.folder.path().join(bucket).join(key)
    }

    /// Ends it; nobody listens any more.
    pub fn stop(&mut self) {
        self.served.kill().and_then(|()| self.served.wait()).expect("a child");
    }

    /// Serves it again.
    pub fn start(&mut self) {
        self.served = serve(self.folder.path(), self.port);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ended = self.served.kill().and_then(|()| self.served.wait());
    }
}

fn serve(folder: &Path, port: u16) -> Child {
    let program = std::env::var_os("ANOLE_TEST_RCLONE").unwrap_or_else(|| "rclone".into());
    let mut rclone = Command::new(&program);
    rclone.args(["serve", "s3", "--config", "/dev/null", "--addr", &format!("127.0.0.1:{port}")]);
    rclone.args(["--auth-key", &format!("{KEY},{SECRET}"), "--vfs-cache-mode", "off"]).arg(folder);
    let served = rclone.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let served = served.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < deadline, "rclone 1.65 or later serves S3");
        std::thread::sleep(Duration::from_millis(100));
    }
    served
}

impl Lab {
    /// Offers packages to a server, and nothing else: a source of its own, with all that they need and it lacks.
    #[track_caller]
    pub fn offer(&self, name: &str, packages: &[&str]) {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("debs/partial")).expect("a folder");
        std::fs::write(at("status"), self.ssh(name, "cat /var/lib/dpkg/status") + "\n").expect("a file");
        let mut apt = Command::new("apt-get");
        apt.args(["-qq", "-y", "--download-only", "--no-install-recommends", "install"]).args(packages);
        for (option, path) in [("Dir::State::status", at("status")), ("Dir::Cache::archives", at("debs"))] {
            apt.arg("-o").arg(format!("{option}={}", path.display()));
        }
        let said = apt.arg("-o").arg("APT::Sandbox::User=root").output().expect("apt-get runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let address = self.address(name);
        self.root(name, "rm -rf /tmp/debs");
        self.copy(&at("debs"), &address, "/tmp/debs");
        self.root(
            name,
            "cd /tmp/debs; for deb in *.deb; do dpkg-deb -f $deb; echo Filename: ./$deb; stat -c 'Size: %s' $deb\n\
             echo SHA256: $(sha256sum $deb | cut -c1-64); echo; done >Packages\n\
             rm -rf /etc/apt/sources.list.d; echo 'deb [trusted=yes] file:/tmp/debs ./' >/etc/apt/sources.list",
        );
    }
}
