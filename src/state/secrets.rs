//! Secrets inside a state: sealed with ChaCha20-Poly1305 (RFC 8439), each for its own place.
//!
//! ```text
//! anole-sealed:1:<key id>:<hex of nonce, ciphertext and tag>
//! ```
//!
//! The key is one of a key file (`k-<fingerprint>`), or comes from a passphrase by PBKDF2-HMAC-SHA256 (RFC 8018),
//! whose iterations and salt are then the key's id (`p-<iterations>-<salt>`).
//!
//! Invariants:
//! - The state's lineage and the secret's place are authenticated with it: a sealed text that was moved to another
//!   place or state does not open.
//! - Every sealing takes a fresh random nonce. 96 bits of it are safe for 2³² secrets under one key.
//! - No key, passphrase or secret is in a `Debug`, an error or a log.
//! - A key is never overwritten: rotation adds one, and the older ones still open what they sealed.
//! - A key that is lost costs the secrets it sealed, and nothing else.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, pbkdf2};
use secrecy::{ExposeSecret, SecretBox, SecretString};

use super::Error;
use crate::hex;

/// How every sealed secret starts.
const PREFIX: &str = "anole-sealed:1:";

/// PBKDF2's iterations for a new salt: OWASP's figure for HMAC-SHA256.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

/// More than this is a damaged or hostile id, and would only hang.
const MOST_ITERATIONS: u32 = 20_000_000;

const KEY_LENGTH: usize = 32;
const SALT_LENGTH: usize = 16;

type KeyBytes = SecretBox<[u8; KEY_LENGTH]>;

/// Where a secret stands in a state. It is part of what is authenticated, and holds no address, so that a rename
/// leaves secrets readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A sensitive variable.
    Variable(&'a str),
    /// A kept secret, by its source: `<unique id>/<attribute>`.
    Kept(&'a str),
    /// An output with a secret in it.
    Output(&'a str),
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "var.{name}"),
            Self::Kept(source) => f.write_str(source),
            Self::Output(name) => write!(f, "outputs.{name}"),
        }
    }
}

/// Where keys come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file of keys, made on first use.
    File(PathBuf),
    /// A passphrase (`ANOLE_STATE_PASSPHRASE`).
    Passphrase(SecretString),
}

impl Source {
    /// The key file of this user: `anole/key` in the folder for configuration, `~/.config` on Linux.
    #[must_use]
    pub fn default_key_path() -> Option<PathBuf> {
        use etcetera::BaseStrategy;
        let folders = etcetera::choose_base_strategy().ok()?;
        Some(folders.config_dir().join("anole").join("key"))
    }
}

/// Seals and opens the secrets of one state.
#[derive(Debug)]
pub struct Vault {
    lineage: String,
    source: Source,
    iterations: NonZeroU32,
    /// Keys by id; of a passphrase those made so far, for each costs a noticeable time.
    keys: BTreeMap<String, KeyBytes>,
    /// The id of the key that seals, once there is one.
    current: Option<String>,
}

/// Whether a text has the form of a sealed secret.
#[must_use]
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Random bytes of the system.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let what = "the system has no random numbers to give";
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Crypto { what })?;
    Ok(bytes)
}

impl Vault {
    /// A vault for the state with that lineage. Nothing is read or made yet.
    #[must_use]
    pub fn new(lineage: impl Into<String>, source: Source) -> Self {
        Self { lineage: lineage.into(), source, iterations: ITERATIONS, keys: BTreeMap::new(), current: None }
    }

    /// Seals a secret for a place. Makes the key file if there is none.
    ///
    /// # Errors
    /// When the key file cannot be read or made.
    pub fn seal(&mut self, place: Place<'_>, secret: &SecretString) -> Result<String, Error> {
        let id = self.sealing_key()?;
        let Some(key) = self.keys.get(&id) else { return Err(Error::Crypto { what: "the sealing key is missing" }) };
        let nonce = random::<NONCE_LEN>()?;
        let mut bytes = secret.expose_secret().as_bytes().to_vec();
        aead(key)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.associated(place), &mut bytes)
            .map_err(|_| Error::Crypto { what: "a secret cannot be sealed" })?;
        Ok(format!("{PREFIX}{id}:{}{}", hex::encode(&nonce), hex::encode(&bytes)))
    }

    /// Opens a secret that was sealed for that place.
    ///
    /// # Errors
    /// [`Error::KeyMissing`] when its key is not at hand; [`Error::BadSecret`] when it was damaged, moved, or sealed
    /// with another passphrase.
    pub fn open(&mut self, place: Place<'_>, sealed: &str) -> Result<SecretString, Error> {
        let bad = |what| Error::BadSecret { name: place.to_string(), what };
        let form = || bad("it is not of the form anole-sealed:1:<key>:<hex>");
        let (id, body) = sealed.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once(':')).ok_or_else(form)?;
        let body = hex::decode(body).ok_or_else(form)?;
        let (nonce, body) = body.split_first_chunk::<NONCE_LEN>().ok_or_else(form)?;
        let fresh = !self.keys.contains_key(id);
        self.find_key(id, place)?;
        let Some(key) = self.keys.get(id) else { return Err(form()) };
        let mut body = body.to_vec();
        let opened = aead(key)?.open_in_place(Nonce::assume_unique_for_key(*nonce), self.associated(place), &mut body);
        let Ok(plain) = opened else {
            let passphrase = matches!(self.source, Source::Passphrase(_));
            if fresh && passphrase {
                self.keys.remove(id);
            }
            return Err(bad(if passphrase {
                "the passphrase is another, or the text was changed or moved"
            } else {
                "the text was changed, or moved from another place or state"
            }));
        };
        let plain = std::str::from_utf8(plain).map_err(|_| bad("it holds no text"))?;
        // A salt that has proved itself is used again: a state then has one, and is opened with one derivation.
        if self.current.is_none() && parse_passphrase_id(id).is_some_and(|(count, _)| count >= self.iterations) {
            self.current = Some(id.to_owned());
        }
        Ok(SecretString::from(plain))
    }

    fn associated(&self, place: Place<'_>) -> Aad<Vec<u8>> {
        Aad::from(format!("anole state secret\n{}\n{place}", self.lineage).into_bytes())
    }

    /// Sees to it that there is a key to seal with, and returns its id.
    fn sealing_key(&mut self) -> Result<String, Error> {
        if let Some(id) = &self.current {
            return Ok(id.clone());
        }
        let id = match &self.source {
            Source::File(path) => {
                let keys = match read_keys(path)? {
                    Some(keys) => keys,
                    None => make_key_file(path)?,
                };
                let id = keys.last().map(|(id, _)| id.clone());
                self.keys.extend(keys);
                id.ok_or(Error::Crypto { what: "the sealing key is missing" })?
            }
            Source::Passphrase(passphrase) => {
                let salt = random::<SALT_LENGTH>()?;
                let id = format!("p-{}-{}", self.iterations, hex::encode(&salt));
                self.keys.insert(id.clone(), derive(passphrase, self.iterations, &salt));
                id
            }
        };
        self.current = Some(id.clone());
        Ok(id)
    }

    /// Sees to it that the key with that id is at hand.
    fn find_key(&mut self, id: &str, place: Place<'_>) -> Result<(), Error> {
        if self.keys.contains_key(id) {
            return Ok(());
        }
        let missing = |key: String| Error::KeyMissing { name: place.to_string(), key };
        match (&self.source, parse_passphrase_id(id)) {
            (Source::Passphrase(passphrase), Some((iterations, salt))) => {
                self.keys.insert(id.to_owned(), derive(passphrase, iterations, &salt));
                Ok(())
            }
            (Source::File(_), Some(_)) => {
                Err(missing("a passphrase, and none is given (ANOLE_STATE_PASSPHRASE)".to_owned()))
            }
            (Source::Passphrase(_), None) => {
                Err(missing(format!("the key {id} of a key file, and ANOLE_STATE_PASSPHRASE takes its place")))
            }
            (Source::File(path), None) => {
                self.keys.extend(read_keys(path)?.unwrap_or_default());
                if self.keys.contains_key(id) {
                    return Ok(());
                }
                Err(missing(format!("the key {id}, which {} does not hold", path.display())))
            }
        }
    }
}

/// Adds a new key to a key file, which seals from now on, and returns its id. The older keys stay, because other
/// states may need them.
///
/// # Errors
/// When the file cannot be read or written.
pub fn rotate(path: &Path) -> Result<String, Error> {
    let Some(mut keys) = read_keys(path)? else {
        return make_key_file(path)?.pop().map(|(id, _)| id).ok_or(Error::Crypto { what: "no key was made" });
    };
    let (id, key) = new_key()?;
    keys.push((id.clone(), key));
    let file = written_beside(path, &keys)?;
    file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    sync_folder(path)?;
    Ok(id)
}

fn aead(key: &KeyBytes) -> Result<LessSafeKey, Error> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key.expose_secret());
    Ok(LessSafeKey::new(key.map_err(|_| Error::Crypto { what: "the key has the wrong length" })?))
}

fn derive(passphrase: &SecretString, iterations: NonZeroU32, salt: &[u8]) -> KeyBytes {
    SecretBox::init_with_mut(|key: &mut [u8; KEY_LENGTH]| {
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, passphrase.expose_secret().as_bytes(), key);
    })
}

fn parse_passphrase_id(id: &str) -> Option<(NonZeroU32, Vec<u8>)> {
    let (iterations, salt) = id.strip_prefix("p-")?.split_once('-')?;
    let iterations = iterations.parse().ok().filter(|count: &NonZeroU32| count.get() <= MOST_ITERATIONS)?;
    Some((iterations, hex::decode(salt).filter(|salt| salt.len() == SALT_LENGTH)?))
}

/// A key's id: enough of its fingerprint to tell it from others, and nothing about its bits.
fn key_id(key: &[u8; KEY_LENGTH]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"anole key id\n");
    context.update(key);
    format!("k-{}", hex::encode(&context.finish().as_ref()[..4]))
}

fn new_key() -> Result<(String, KeyBytes), Error> {
    let key = random::<KEY_LENGTH>()?;
    Ok((key_id(&key), SecretBox::new(Box::new(key))))
}

/// The keys of a key file, the one that seals last; `None` without a file.
fn read_keys(path: &Path) -> Result<Option<Vec<(String, KeyBytes)>>, Error> {
    let bad = |what: String| Error::BadKeyFile { path: path.to_owned(), what };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => SecretString::from(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mode = std::fs::metadata(path).map_err(Error::io("read", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(bad(format!("others can read it; `chmod 600 '{}'` keeps it yours", path.display())));
    }
    let mut keys = Vec::new();
    for (index, line) in text.expose_secret().lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let bytes = hex::array::<KEY_LENGTH>(line.trim());
        let bytes = bytes.ok_or_else(|| bad(format!("line {} is not a key of 64 hexadecimal digits", index + 1)))?;
        keys.push((key_id(&bytes), SecretBox::new(Box::new(bytes))));
    }
    if keys.is_empty() {
        return Err(bad("it holds no key".to_owned()));
    }
    Ok(Some(keys))
}

/// Makes a key file with one key; if another process was faster, its keys are the ones.
fn make_key_file(path: &Path) -> Result<Vec<(String, KeyBytes)>, Error> {
    let folder = parent(path);
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).map_err(Error::io("create the folder", folder))?;
    let file = written_beside(path, &[new_key()?])?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::io("write", path)(error.error));
        }
        _ => sync_folder(path)?,
    }
    let vanished = || Error::BadKeyFile { path: path.to_owned(), what: "it vanished while it was made".to_owned() };
    read_keys(path)?.ok_or_else(vanished)
}

/// The text of a key file, on the disk under another name.
fn written_beside(path: &Path, keys: &[(String, KeyBytes)]) -> Result<tempfile::NamedTempFile, Error> {
    let lines = keys.iter().map(|(_, key)| hex::encode(key.expose_secret()) + "\n").collect::<String>();
    let text =
        "# Keys of anole, which seal secrets in states. The last one is in use. Keep this file, and keep it secret.\n";
    let failed = Error::io("write", path);
    let write = || -> std::io::Result<_> {
        let mut file = tempfile::Builder::new().prefix(".anole-key").tempfile_in(parent(path))?;
        file.write_all(text.as_bytes())?;
        file.write_all(lines.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(failed)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = parent(path);
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("write the folder", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Place<'static> = Place::Variable("token");

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    /// A vault whose passphrase costs little.
    fn quick(lineage: &str, passphrase: &str) -> Vault {
        let vault = Vault::new(lineage, Source::Passphrase(secret(passphrase)));
        Vault { iterations: NonZeroU32::new(3).unwrap(), ..vault }
    }

    #[test]
    fn a_secret_opens_at_its_place_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config/anole/key");
        let vault = |lineage: &str| Vault::new(lineage, Source::File(path.clone()));
        let sealed = vault("a").seal(TOKEN, &secret("hunter2")).unwrap();
        assert!(is_sealed(&sealed) && !sealed.contains("hunter2"));
        assert_ne!(sealed, vault("a").seal(TOKEN, &secret("hunter2")).unwrap(), "a nonce was used twice");
        assert_eq!(vault("a").open(TOKEN, &sealed).unwrap().expose_secret(), "hunter2");
        let other = Place::Kept("0123/token");
        assert!(matches!(vault("a").open(other, &sealed), Err(Error::BadSecret { .. })));
        assert!(matches!(vault("b").open(TOKEN, &sealed), Err(Error::BadSecret { .. })));
        let last = sealed.len() - 1;
        for text in [&sealed[..last], &sealed[..20], "anole-sealed:1:", "hunter2", &sealed.replace(":k-", ":k-0")] {
            assert!(vault("a").open(TOKEN, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_file_is_private_kept_by_rotation_and_missed_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let vault = || Vault::new("a", Source::File(path.clone()));
        let old = vault().seal(TOKEN, &secret("one")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let id = rotate(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(vault().open(TOKEN, &old).unwrap().expose_secret(), "one");

        let new = vault().seal(TOKEN, &secret("one")).unwrap();
        assert!(new.contains(&id) && !old.contains(&id));

        std::fs::remove_file(&path).unwrap();
        let error = vault().open(TOKEN, &new).unwrap_err();
        assert!(matches!(&error, Error::KeyMissing { key, .. } if key.contains(&id)), "{error}");
        std::fs::write(&path, "00\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(vault().open(TOKEN, &new), Err(Error::BadKeyFile { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(vault().open(TOKEN, &new).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_passphrase_carries_its_salt_and_keeps_to_one() {
        let sealed = quick("a", "correct horse").seal(TOKEN, &secret("one")).unwrap();
        let mut vault = quick("a", "correct horse");
        assert_eq!(vault.open(TOKEN, &sealed).unwrap().expose_secret(), "one");
        let again = vault.seal(TOKEN, &secret("two")).unwrap();
        let id = |text: &str| text.rsplit_once(':').unwrap().0.to_owned();
        assert_eq!(id(&sealed), id(&again));
        assert!(matches!(quick("a", "wrong").open(TOKEN, &sealed), Err(Error::BadSecret { .. })));
        let mut file = Vault::new("a", Source::File(PathBuf::from("/nonexistent/key")));
        assert!(file.open(TOKEN, &sealed).unwrap_err().to_string().contains("ANOLE_STATE_PASSPHRASE"));
        let endless = sealed.replace(":p-3-", ":p-4000000000-");
        assert!(quick("a", "correct horse").open(TOKEN, &endless).is_err());
    }

    #[test]
    fn nothing_secret_is_in_a_debug_text() {
        let mut vault = quick("a", "correct horse");
        let place = Place::Variable("x");
        let sealed = vault.seal(place, &secret("hunter2")).unwrap();
        vault.open(place, &sealed).unwrap();
        let text = format!("{vault:?}");
        assert!(!text.contains("horse") && !text.contains("hunter2") && text.contains("REDACTED"), "{text}");
    }
}
