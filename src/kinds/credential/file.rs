//! A file of this machine that a credential is written to.
//!
//! Only the credential's section of it is ours: it is put in, kept as it is to be, and taken out. A file that anole made and
//! that holds nothing else any more goes too. What somebody else wrote in its place is left alone: a first put refuses it,
//! and nothing that was never put is taken out.
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
use crate::kinds::kind::{Effect, FieldChange, Kind, Place, Refused, Sides, Spot, diff_fields};
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
    sections_with(fields, |value| match value {
        Value::Secret(secret) => Some(secret.expose().unwrap_or_default()),
        other => other.as_str(),
    })
}

fn sections_with(
    fields: &Fields,
    text_of: impl Fn(&Value) -> Option<&str>,
) -> Result<Vec<(String, Section)>, Unmergeable> {
    let keys = fields.get("keys").and_then(Value::as_map);
    let get = |name: &str| text_of(keys?.get(name)?);
    let settings = fields.get("settings").and_then(Value::as_map).into_iter().flatten();
    let settings: Vec<(String, String)> =
        settings.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    let of = |name: &str| text(fields, name).unwrap_or_default();
    let sections = render(of("form"), of("name"), Keys(&get), &settings)?;
    let paths = ["path", "config"].into_iter().filter_map(|key| text(fields, key).map(str::to_owned));
    Ok(paths.zip(sections).collect())
}

/// What the sections are called, and where: that is known before the keys are.
pub(super) fn spots(fields: &Fields, of_server: &str) -> Vec<Spot> {
    let sections = sections_with(fields, |value| (!value.is_null()).then_some("?")).unwrap_or_default();
    let places = sections.iter().flat_map(|(path, section)| {
        section.places().into_iter().map(move |place| format!("{place} of {path}{of_server}"))
    });
    let help = "give one of them another name, or another file by `path`";
    places.map(|place| Spot { place, of_site: false, both: "both write", help }).collect()
}

/// The attribute that says what was written: the settings and the beginnings of lines.
const WRITTEN: &str = "written";

/// What is known of what an earlier apply wrote.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    /// The settings and the beginnings of lines, where they are known.
    keys: Option<&'a [Value]>,
    /// Whether it was seen done.
    done: bool,
}

impl<'a> Before<'a> {
    pub(super) fn of(recorded: &'a Fields, done: bool) -> Self {
        Self { keys: recorded.get(WRITTEN).and_then(Value::as_list), done }
    }

    fn keys(self) -> Option<Vec<String>> {
        Some(self.keys?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// What somebody else has in the section's place.
    pub(super) fn others(self, section: &Section, text: &str) -> Result<Option<String>, Unmergeable> {
        if self.keys.is_none() && self.done { Ok(None) } else { section.taken(text, self.keys().as_deref()) }
    }

    pub(super) fn put(self, section: &Section, text: &str) -> Result<String, Unmergeable> {
        section.put_over(text, &self.keys().unwrap_or_default())
    }

    /// The text without the section. One that was never put is taken out only where it is just as it would have been: then it
    /// was put, and whoever did it did not come to say so.
    pub(super) fn take_out(self, section: &Section, text: &str) -> Result<String, Unmergeable> {
        let ours = self.done || self.keys.is_some() || section.taken(text, None) == Ok(None);
        if ours { section.take_out(text) } else { Ok(text.to_owned()) }
    }
}

/// What is recorded of sections that are written.
pub(super) fn written<'a>(sections: impl Iterator<Item = &'a Section>) -> Fields {
    let keys = sections.flat_map(Section::keys).map(Value::String).collect();
    Fields::from([(WRITTEN.to_owned(), Value::List(keys))])
}

/// That a place is somebody else's, and what to do.
pub(super) fn refusal(path: &str, place: &str) -> (String, &'static str) {
    let message = format!("{path} has {place} already, and anole did not write it");
    (message, "write the credential under another name or into another file by `path`, or remove what is there")
}

/// Settings that came or went are a change too, though a field that is absent is not managed otherwise.
pub(super) fn diff_settings(schema: &Schema, sides: &Sides<'_>) -> Vec<FieldChange> {
    let mut changes = diff_fields(schema, sides);
    changes.retain(|change| change.field != "settings");
    let of = |side: &Fields| {
        side.get("settings").filter(|settings| !settings.is_null()).cloned().unwrap_or(Value::Map(Fields::new()))
    };
    let (before, after) = (of(sides.applied), of(sides.want));
    if !before.same(&after) {
        changes.push(FieldChange { field: "settings".to_owned(), before, after, effect: Effect::Update, note: None });
    }
    changes
}

fn targets(fields: &Fields, home: Option<&Path>) -> Result<Vec<(PathBuf, Section)>, LocalError> {
    let sections = sections(fields).map_err(|error| LocalError { message: error.to_string(), hint: None })?;
    sections.into_iter().map(|(path, section)| Ok((located(&path, home)?, section))).collect()
}

fn failed(action: &str, path: &Path) -> impl Fn(std::io::Error) -> LocalError {
    move |error| LocalError { message: format!("cannot {action} {}: {error}", path.display()), hint: None }
}

fn unmergeable(path: &Path, why: &Unmergeable) -> LocalError {
    let hint = Some("mend the file, or write to another one by `path`".to_owned());
    LocalError { message: format!("{}: {why}", path.display()), hint }
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
    let after = change(before.as_deref().unwrap_or_default()).map_err(|why| unmergeable(path, &why))?;
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

    fn occupies(&self, fields: &Fields) -> Vec<Spot> {
        spots(fields, "")
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_settings(&SCHEMA, sides);
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
        let (targets, before) = (targets(want, cx.home)?, Before::of(cx.recorded, cx.done));
        for (path, section) in &targets {
            let text = read(path)?.unwrap_or_default();
            if let Some(place) = before.others(section, &text).map_err(|why| unmergeable(path, &why))? {
                let (message, hint) = refusal(&path.display().to_string(), &place);
                return Err(LocalError { message, hint: Some(hint.to_owned()) });
            }
        }
        for (path, section) in &targets {
            edit(path, |text| before.put(section, text))?;
        }
        Ok(written(targets.iter().map(|(_, section)| section)))
    }

    async fn remove(&self, cx: &LocalCx<'_>, applied: &Fields) -> Result<(), LocalError> {
        let before = Before::of(cx.recorded, cx.done);
        for (path, section) in targets(applied, cx.home)? {
            edit(&path, |text| before.take_out(&section, text))?;
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
    fn what_somebody_else_wrote_is_left_alone() {
        let section =
            |value: &str| Section::Ini { name: "a".to_owned(), settings: vec![("k".to_owned(), value.to_owned())] };
        let (theirs, ours) = ("[a]\nk = theirs\n", "[a]\nk = ours\n");
        let (none, some) = (Fields::new(), written([section("ours")].iter()));
        let first = Before::of(&none, false);
        assert_eq!(first.others(&section("ours"), theirs), Ok(Some("`[a]`".to_owned())));
        assert_eq!(first.others(&section("ours"), ours), Ok(None), "an apply that ended before it could say so");
        assert_eq!(first.take_out(&section("ours"), theirs).unwrap(), theirs);
        assert_eq!(first.take_out(&section("ours"), ours).unwrap(), "");
        for again in [Before::of(&some, false), Before::of(&none, true), Before::of(&some, true)] {
            assert_eq!(again.others(&section("ours"), theirs), Ok(None));
            assert_eq!(again.take_out(&section("ours"), theirs).unwrap(), "");
        }
    }

    #[test]
    fn settings_that_came_or_went_are_a_change() {
        let of = |pairs: &[(&str, &str)]| {
            let map = pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::text(*value))).collect();
            Fields::from([("settings".to_owned(), Value::Map(map))])
        };
        let count = |want: &Fields, applied: &Fields| {
            let (live, now) = (&Fields::new(), jiff::Timestamp::UNIX_EPOCH);
            diff_settings(&SCHEMA, &Sides { want, applied, live, now }).len()
        };
        let (none, one, two) = (Fields::new(), of(&[("a", "1")]), of(&[("a", "1"), ("b", "2")]));
        assert_eq!((count(&none, &none), count(&of(&[]), &none), count(&one, &one)), (0, 0, 0));
        assert_eq!((count(&one, &none), count(&none, &one), count(&one, &two)), (1, 1, 1));
    }

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
