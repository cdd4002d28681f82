//! The keeper: a process that serves a cloud on an address of this computer while no command runs.
//!
//! A bucket that a machine has mounted must answer for as long as the machine runs, and a machine outlives the command that
//! started it. So does the keeper: whoever opens a cloud with an object store beside machines has it started, unless it is
//! there, and it ends by itself when the machines do.
//!
//! ```text
//! a command ──ensure──▶ `anole cloud keep`, in a session of its own ──▶ http://127.a.b.254:7480
//!     │                     │ holds keeper.lock                            ▲            ▲
//!     └──in process──▶ the same folder                        machines ───┘            └── programs here
//! ```
//!
//! In: a cloud's folder. Out: the URL at which its services are reached, the same on this computer and, by a route that the
//! guests' image has, inside the machines; so one URL stands in the catalog and in everybody's configuration.
//!
//! Invariants:
//! - The address follows from the folder alone: it is the same after every start, and nobody has to remember it.
//! - One keeper a cloud: the lock says whether there is one, and goes with the process, however that ends.
//! - It ends when its folder is gone, when the program that it runs was replaced, when a command of another program wants to
//!   keep the cloud itself (`keeper.wanted`), and when for a while no machine ran and no command did.
//! - It does not end while a command counts on it: each holds a share of `keeper.users`, and a keeper that ends for want of
//!   use has it to itself, until nothing listens any more.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpListener;
use tokio::time::sleep;
use url::{Host, Url};

use super::guests::machine::Machine;
use super::{Cloud, Error, Guests, Profile, catalogue, serve};

/// The port of Chameleon's own gateway.
const PORT: u16 = 7480;
/// How long it may take to come up, or to go where it is of another version.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it looks whether it is still needed.
const LOOK: Duration = Duration::from_secs(2);
/// How long it stays without a machine: the first one may be long in coming.
const IDLE: Duration = Duration::from_secs(600);
/// What is printed where it fails.
const LOG: &str = "keeper.log";
/// The mark of the program that is to keep the cloud instead of another one, a line.
const WANTED: &str = "keeper.wanted";
/// What each command that counts on a keeper holds a lock of.
const USERS: &str = "keeper.users";

/// Where a cloud's services are reached.
///
/// # Errors
/// When there is no such folder.
pub fn address(folder: &Path) -> Result<SocketAddrV4, Error> {
    let whole = folder.canonicalize().map_err(|source| Error::io("find", folder, source))?;
    Ok(SocketAddrV4::new(catalogue::own_address(&whole), PORT))
}

/// Whether a URL is a keeper's, of whatever cloud of this computer.
#[must_use]
pub fn is_address(url: &Url) -> bool {
    let is_own = |ip: Ipv4Addr| ip.is_loopback() && ip.octets()[3] == 254;
    matches!(url.host(), Some(Host::Ipv4(ip)) if is_own(ip)) && url.port() == Some(PORT)
}

/// Has a keeper run for a cloud, for as long as that is open and some time longer, and gives its URL.
///
/// # Errors
/// When it does not come up; what it said, or who is in its place.
pub async fn ensure(cloud: &Cloud, profile: Profile, guests: Guests) -> Result<String, Error> {
    let folder = cloud.inner.folder.as_path();
    let address = address(folder)?;
    let program = Program::own().map_err(|source| Error::io("find the program that keeps", folder, source))?;
    let mark = program.mark();
    let deadline = Instant::now() + PATIENCE;
    let said = || {
        let said = std::fs::read_to_string(folder.join(LOG)).unwrap_or_default();
        let why = said.lines().last().unwrap_or("it says nothing").to_owned();
        Error::Keeper { address, why }
    };
    let mut started: Option<Child> = None;
    while Instant::now() < deadline {
        if cloud.inner.uses.get().is_none()
            && let Some(share) = share(folder)?
        {
            // Whoever was faster has one for all.
            let _ = cloud.inner.uses.set(share);
        }
        if cloud.inner.uses.get().is_some() && is_up(folder, &mark)? && TcpStream::connect(address).is_ok() {
            return Ok(format!("http://{address}"));
        }
        let ended = started.as_mut().map(Child::try_wait).transpose();
        match ended.map_err(|source| Error::io("start what keeps", folder, source))? {
            // It is coming up.
            Some(None) => {}
            Some(Some(status)) if !status.success() => return Err(said()),
            // Of two that are started at once, one finds the lock held and ends.
            None | Some(Some(_)) => match lock(folder)? {
                Some(free) => {
                    drop(free);
                    started = Some(start(folder, profile, guests, &program)?);
                }
                None => want(folder, &mark)?,
            },
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(in_the_way(folder, &mark)?.map_or_else(said, |why| Error::Keeper { address, why }))
}

/// Whether the program of that mark keeps the cloud. What listens at its address may be a stranger.
fn is_up(folder: &Path, mark: &str) -> Result<bool, Error> {
    Ok(running(folder).as_deref() == Some(mark) && lock(folder)?.is_none())
}

/// Who keeps the cloud in the place of the program of that mark, if somebody does, and what to do.
fn in_the_way(folder: &Path, mark: &str) -> Result<Option<String>, Error> {
    let Some(other) = running(folder).filter(|other| other != mark) else { return Ok(None) };
    if lock(folder)?.is_some() {
        return Ok(None);
    }
    let path = other.rsplitn(3, ' ').last().unwrap_or_default();
    let pid = std::fs::read_to_string(folder.join("keeper.pid")).unwrap_or_default();
    let pid = pid.trim();
    Ok(Some(format!(
        "another program, {path}, serves them (process {pid}) and does not make way; end it (`kill {pid}`) and try again"
    )))
}

/// Has a keeper of another program make way for the one of that mark.
fn want(folder: &Path, mark: &str) -> Result<(), Error> {
    let path = folder.join(WANTED);
    let wanted = format!("{mark}\n");
    if running(folder).is_none_or(|other| other == mark) || std::fs::read_to_string(&path).is_ok_and(|is| is == wanted)
    {
        return Ok(());
    }
    std::fs::write(&path, wanted).map_err(|source| Error::io("write", &path, source))
}

/// A share of the keeper's use, which lasts as long as the file is open; none while a keeper ends.
fn share(folder: &Path) -> Result<Option<File>, Error> {
    let path = folder.join(USERS);
    let file = open(&path)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(Error::io("lock", &path, source)),
    }
}

/// Serves a cloud until it is not needed any more, or `shutdown`. Does nothing where another one does.
///
/// # Errors
/// When the address is taken, or the cloud's folder cannot be used.
pub async fn keep(
    cloud: Cloud,
    folder: &Path,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let Some(_held) = lock(folder)? else { return Ok(()) };
    let failed = |source| Error::io("keep", folder, source);
    let program = Program::own().map_err(failed)?;
    let listener = TcpListener::bind(address(folder)?).await.map_err(failed)?;
    std::fs::write(folder.join("keeper.pid"), format!("{}\n", std::process::id())).map_err(failed)?;
    std::fs::write(folder.join("keeper"), program.mark()).map_err(failed)?;
    let mut need = Need::of(folder.canonicalize().map_err(failed)?, program)?;
    let needed = async move {
        sleep(LOOK).await;
        while need.lasts(IDLE) {
            sleep(LOOK).await;
        }
        Some(need)
    };
    let ended = async move {
        tokio::select! {
            need = needed => need,
            () = shutdown => None,
        }
    };
    // What is under way then is cut off: whoever asks for it has no machine, or comes again. What keeps users out goes last.
    tokio::select! {
        served = serve(cloud, listener, std::future::pending()) => served,
        _need = ended => Ok(()),
    }
}

/// What a keeper is there for.
struct Need {
    folder: PathBuf,
    program: Program,
    users: File,
    since: Instant,
}

impl Need {
    fn of(folder: PathBuf, program: Program) -> Result<Self, Error> {
        // What another one was to hear.
        let wanted = folder.join(WANTED);
        match std::fs::remove_file(&wanted) {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(Error::io("remove", &wanted, source)),
            _ => {}
        }
        let users = open(&folder.join(USERS))?;
        Ok(Self { folder, program, users, since: Instant::now() })
    }

    /// Whether it is needed still. Once it is not for want of use, nobody can begin to use it.
    fn lasts(&mut self, idle: Duration) -> bool {
        if !self.folder.is_dir() || !self.program.is_as_it_was() || self.makes_way() {
            return false;
        }
        let has_users = self.users.try_lock().is_err();
        if has_users || has_machines(&self.folder) {
            self.since = Instant::now();
        }
        let lasts = has_users || self.since.elapsed() < idle;
        // What cannot be unlocked keeps users out, so they are not kept waiting for it.
        lasts && (has_users || self.users.unlock().is_ok())
    }

    /// Whether another program is to keep the cloud. Half a line says nothing yet.
    fn makes_way(&self) -> bool {
        let wanted = std::fs::read_to_string(self.folder.join(WANTED)).unwrap_or_default();
        wanted.strip_suffix('\n').is_some_and(|wanted| wanted != self.program.mark())
    }
}

/// The lock that a keeper holds; none if one does.
fn lock(folder: &Path) -> Result<Option<File>, Error> {
    let path = folder.join("keeper.lock");
    let file = open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(Error::io("lock", &path, source)),
    }
}

fn open(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    file.map_err(|source| Error::io("open", path, source))
}

/// Which program the keeper runs.
fn running(folder: &Path) -> Option<String> {
    std::fs::read_to_string(folder.join("keeper")).ok()
}

fn start(folder: &Path, profile: Profile, guests: Guests, program: &Program) -> Result<Child, Error> {
    let failed = |source| Error::io("start what keeps", folder, source);
    let folder = folder.canonicalize().map_err(failed)?;
    let log = File::create(folder.join(LOG)).map_err(failed)?;
    let mut command = Command::new(&program.path);
    command.args(["cloud", "keep", "--profile", profile.name(), "--guests", guests.name(), "--folder"]).arg(&folder);
    // Not of our group: what ends a command by Ctrl-C is not for it.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    command.current_dir("/").spawn().map_err(failed)
}

/// Whether a machine runs, of this cloud or of one beside it.
fn has_machines(folder: &Path) -> bool {
    let Some(clouds) = folder.parent() else { return false };
    let below = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut machines = below(clouds.to_owned()).flat_map(|cloud| below(cloud.join("guests")));
    machines.any(|machine| Machine::at(machine).pid().is_some())
}

/// The file that this process runs, and how it was told from a later one.
struct Program {
    path: PathBuf,
    seen: (u64, SystemTime),
}

impl Program {
    fn own() -> std::io::Result<Self> {
        let path = std::env::current_exe()?;
        let seen = Self::look(&path)?;
        Ok(Self { path, seen })
    }

    fn look(path: &Path) -> std::io::Result<(u64, SystemTime)> {
        let found = path.metadata()?;
        Ok((found.len(), found.modified()?))
    }

    fn is_as_it_was(&self) -> bool {
        Self::look(&self.path).is_ok_and(|now| now == self.seen)
    }

    /// The same text for the same program.
    fn mark(&self) -> String {
        let since = self.seen.1.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        format!("{} {} {}", self.path.display(), self.seen.0, since.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{ClockMode, Options};

    #[test]
    fn an_address_is_of_its_folder() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |folder: &tempfile::TempDir| address(folder.path()).unwrap();
        assert_eq!(at(&one), at(&one));
        assert_ne!(at(&one), at(&other));
        let is_keepers = |url: &str| is_address(&url.parse().unwrap());
        assert!(is_keepers(&format!("http://{}", at(&one))));
        assert!(!is_keepers("http://127.0.0.1:7480") && !is_keepers("https://s3.example:7480"));
    }

    #[test]
    fn a_stranger_at_its_address_is_no_keeper() {
        let folder = tempfile::tempdir().unwrap();
        let _stranger = std::net::TcpListener::bind(address(folder.path()).unwrap()).unwrap();
        // What a keeper that was killed left.
        std::fs::write(folder.path().join("keeper"), "/bin/anole 1 2").unwrap();
        assert!(!is_up(folder.path(), "/bin/anole 1 2").unwrap());
        let _held = lock(folder.path()).unwrap().unwrap();
        assert!(is_up(folder.path(), "/bin/anole 1 2").unwrap());
        assert!(!is_up(folder.path(), "/bin/anole 1 3").unwrap());
    }

    #[test]
    fn one_of_another_program_makes_way_or_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let own = Program::own().unwrap().mark();
        let mut need = Need::of(folder.path().to_owned(), Program::own().unwrap()).unwrap();
        std::fs::write(folder.path().join("keeper"), &own).unwrap();
        std::fs::write(folder.path().join("keeper.pid"), "12\n").unwrap();
        let other = "/opt/my tools/anole 1 2";
        assert_eq!(in_the_way(folder.path(), other).unwrap(), None, "nobody has the lock");
        let _held = lock(folder.path()).unwrap().unwrap();
        want(folder.path(), &own).unwrap();
        assert!(need.lasts(IDLE));
        want(folder.path(), other).unwrap();
        assert!(!need.lasts(IDLE));
        // The next one has not heard it.
        assert!(Need::of(folder.path().to_owned(), Program::own().unwrap()).unwrap().lasts(IDLE));

        std::fs::write(folder.path().join("keeper"), other).unwrap();
        insta::assert_snapshot!(in_the_way(folder.path(), &own).unwrap().unwrap(), @"another program, /opt/my tools/anole, serves them (process 12) and does not make way; end it (`kill 12`) and try again");
        assert_eq!(in_the_way(folder.path(), other).unwrap(), None);
    }

    #[test]
    fn it_stays_while_somebody_counts_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut need = Need::of(folder.path().to_owned(), Program::own().unwrap()).unwrap();
        let shares = [share(folder.path()).unwrap().unwrap(), share(folder.path()).unwrap().unwrap()];
        assert!(need.lasts(Duration::ZERO));
        drop(shares);
        assert!(need.lasts(IDLE) && share(folder.path()).unwrap().is_some());
        assert!(!need.lasts(Duration::ZERO));
        assert!(share(folder.path()).unwrap().is_none(), "it ends, and another one is to come");
        drop(need);
        assert!(share(folder.path()).unwrap().is_some());
    }

    #[tokio::test]
    async fn one_keeper_serves_until_its_folder_goes() {
        // Another test may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let (profile, clock) = (Profile::ChameleonChi, ClockMode::Real { scale: 0.0 });
        let cloud = Cloud::open(folder.path(), Options { profile, clock, guests: Guests::None }).unwrap();
        let whole = folder.path().to_owned();
        let kept = tokio::spawn({
            let (cloud, whole) = (cloud.clone(), whole.clone());
            async move { keep(cloud, &whole, std::future::pending()).await }
        });
        let url = format!("http://{}/", address(&whole).unwrap());
        let mut answer = reqwest::get(&url).await;
        for _ in 0..100 {
            if answer.is_ok() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
            answer = reqwest::get(&url).await;
        }
        assert!(!answer.unwrap().status().is_server_error());
        assert!(lock(&whole).unwrap().is_none());
        keep(cloud, &whole, std::future::pending()).await.expect("another one has nothing to do");
        drop(folder);
        kept.await.unwrap().unwrap();
    }
}
