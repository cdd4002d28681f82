//! A file of this machine that a credential is written to.
//!
//! Only the credential's section of it is ours: it is put in, kept as it is to be, and taken out. A file that anole made and
//! that holds nothing else any more goes too.
//!
//! Invariants:
//! - A file is written beside itself and put in its place; a reader sees the old text or the new one.
//! - Whatever mode it had, the file is its owner's alone once a secret is in it.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::credential_file::{Keys, Section, Unmergeable, render};
use crate::kinds::kind::{Effect, FieldChange, Kind, Place, Refused, Sides, diff_fields};
use crate::kinds::local::{LocalCx, LocalError, LocalKind, located};
use crate::kinds::look::{LookCx, Looker};
use crate::kinds::schema::{NameRule, Schema, Type, attribute, field};
use crate::model::{Fields, Value};

use super::text;

/// A credential in a file.
pub struct CredentialFile;

/// What stands in the place of the path where the section is not there, or not as it was written.
const NOT_THERE: &str = "(not there as it was written)";

/// Sections of one file are put in one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

static SCHEMA: Schema = Schema {
    kind: "credential_file",
    section: "",
    doc: "A file that a credential is written to.",
    fields: &[
        field("form", Type::Text, "What the section is.").replace(),
        field("name", Type::Text, "What the section is called.").replace(),
        field("path", Type::Text, "The file.").replace(),
        field("config", Type::Text, "The file with what is no secret.").replace(),
        field("settings", Type::Map(&Type::Text), "More settings."),
        field("keys", Type::Map(&Type::Text), "What the credential holds.").internal().write_only(),
    ],
    attributes: &[attribute("id", "Its id in the state.")],
    protect: false,
    lookup: false,
    name: NameRule::None,
};

/// The files, as the spec writes their paths, with their sections. A key whose text is lost is an empty one: its section
/// can still be taken out.
pub(super) fn sections(fields: &Fields) -> Result<Vec<(String, Section)>, Unmergeable> {
    let keys = fields.get("keys").and_then(Value::as_map);
    let get = |name: &str| match keys?.get(name)? {
        Value::Secret(secret) => Some(secret.expose().unwrap_or_default()),
        other => other.as_str(),
    };
    let settings = fields.get("settings").and_then(Value::as_map).into_iter().flatten();
    let settings: Vec<(String, String)> =
        settings.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    let of = |name: &str| text(fields, name).unwrap_or_default();
    let sections = render(of("form"), of("name"), Keys(&get), &settings)?;
    let paths = ["path", "config"].into_iter().filter_map(|key| text(fields, key).map(str::to_owned));
    Ok(paths.zip(sections).collect())
}

fn targets(fields: &Fields, home: Option<&Path>) -> Result<Vec<(PathBuf, Section)>, LocalError> {
    let sections = sections(fields).map_err(|error| LocalError { message: error.to_string(), hint: None })?;
    sections.into_iter().map(|(path, section)| Ok((located(&path, home)?, section))).collect()
}

fn failed(action: &str, path: &Path) -> impl Fn(std::io::Error) -> LocalError {
    move |error| LocalError { message: format!("cannot {action} {}: {error}", path.display()), hint: None }
}

/// The text of a file; none where there is no file.
fn read(path: &Path) -> Result<Option<String>, LocalError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Edits a file.
fn edit(path: &Path, change: impl Fn(&str) -> Result<String, Unmergeable>) -> Result<(), LocalError> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // A link is followed: dotfiles often are links, and stay so.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = read(path)?;
    let after = change(before.as_deref().unwrap_or_default()).map_err(|why| LocalError {
        message: format!("{}: {why}", path.display()),
        hint: Some("mend the file, or write to another one by `path`".to_owned()),
    })?;
    if after.trim().is_empty() {
        return match before {
            Some(text) if !text.trim().is_empty() => fs::remove_file(path).map_err(failed("remove", path)),
            _ => Ok(()),
        };
    }
    if before.as_deref() == Some(after.as_str()) {
        let mode = fs::metadata(path).map_err(failed("read", path))?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed("protect", path))?;
        }
        return Ok(());
    }
    replace(path, &after)
}

/// Puts a new text in a file's place, for its owner alone.
fn replace(path: &Path, text: &str) -> Result<(), LocalError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).map_err(failed("make the folder", folder))?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".anole-").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(failed("write", path))
}

impl Kind for CredentialFile {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Local(&CredentialFile)
    }

    fn looker(&self) -> Option<&'static dyn Looker> {
        Some(&CredentialFile)
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_fields(&SCHEMA, sides);
        // What somebody took out or changed is put in again, where it was.
        for change in changes.iter_mut().filter(|change| change.before.as_str() == Some(NOT_THERE)) {
            if sides.applied.get(&change.field) == Some(&change.after) {
                change.effect = Effect::Update;
            }
        }
        Ok(changes)
    }
}

#[async_trait]
impl LocalKind for CredentialFile {
    async fn put(&self, cx: &LocalCx<'_>, want: &Fields) -> Result<Fields, LocalError> {
        for (path, section) in targets(want, cx.home)? {
            edit(&path, |text| section.put(text))?;
        }
        Ok(Fields::new())
    }

    async fn remove(&self, cx: &LocalCx<'_>, applied: &Fields) -> Result<(), LocalError> {
        for (path, section) in targets(applied, cx.home)? {
            edit(&path, |text| section.take_out(text))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Looker for CredentialFile {
    async fn look(&self, cx: &LookCx<'_>, applied: &Fields, _: &Fields) -> Result<Fields, String> {
        // What is not known cannot be compared, and is believed.
        if !applied.get("keys").is_some_and(Value::is_known) {
            return Ok(Fields::new());
        }
        let is_there = |(path, section): &(PathBuf, Section)| {
            read(path).is_ok_and(|text| section.is_in(text.as_deref().unwrap_or_default()))
        };
        Ok(match targets(applied, cx.home) {
            Ok(targets) if targets.iter().all(is_there) => Fields::new(),
            _ => Fields::from([("path".to_owned(), Value::text(NOT_THERE))]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_and_goes_when_it_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("conf/rclone.conf"), folder.path().join("link"));
        let section = Section::Ini { name: "a".to_owned(), settings: vec![("k".to_owned(), "v".to_owned())] };
        edit(&path, |text| section.put(text)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        edit(&link, |text| section.put(text)).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        edit(&link, |text| section.take_out(text)).unwrap();
        assert!(!path.exists());
        fs::write(&path, "# mine\n").unwrap();
        edit(&path, |text| section.put(text)).unwrap();
        edit(&path, |text| section.take_out(text)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "# mine\n");
        let error = edit(&path, |_| Err(Unmergeable("it is odd"))).unwrap_err();
        assert!(error.message.ends_with("rclone.conf: it is odd"), "{error}");
    }
}
