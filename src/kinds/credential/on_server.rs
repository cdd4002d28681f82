//! A file of a server that a credential is written to, as the user that logs in.
//!
//! As on this machine, only the credential's section of it is ours. The server may be on another site than the credential.

use async_trait::async_trait;

use crate::credential_file::Section;
use crate::guest::{Guest, GuestError};
use crate::kinds::guest::{CHANGE_IN_PLACE, GuestCx, GuestKind, GuestWords, UNDO_NOTHING};
use crate::kinds::kind::{FieldChange, Kind, Place, Refused, Sides, Spot};
use crate::kinds::schema::{NameRule, RefChange, RefType, Schema, Type, attribute, field};
use crate::model::{Address, Fields, Reference, RemoteId, Target, Value};
use crate::ssh::Files;

use super::file::{Before, diff_settings, refusal, sections, spots, written};
use super::text;

/// A credential in a file of a server.
pub struct CredentialOnServer;

/// A file of settings is small; more than this is another file.
const MOST_BYTES: usize = 1 << 20;

static SCHEMA: Schema = Schema {
    kind: "credential_on_server",
    section: "",
    doc: "A file of a server that a credential is written to.",
    fields: &[
        field("server", Type::Ref(RefType::new("server", RefChange::Replace)), "The server.").required(),
        field("form", Type::Text, "What the section is.").replace(),
        field("name", Type::Text, "What the section is called.").replace(),
        field("path", Type::Text, "The file.").replace(),
        field("config", Type::Text, "The file with what is no secret.").replace(),
        field("settings", Type::Map(&Type::Text), "More settings."),
        field("keys", Type::Map(&Type::Text), "internal: the credential's").write_only(),
    ],
    attributes: &[attribute("id", "`<server id>/<part>`.")],
    protect: false,
    lookup: false,
    name: NameRule::None,
};

/// The files with their sections; a path in the home folder is one that starts there, as SFTP has it.
fn targets(fields: &Fields) -> Result<Vec<(String, Section)>, GuestError> {
    let sections = sections(fields).map_err(|why| GuestError::refused(why.to_string()))?;
    let below = |path: String| path.strip_prefix("~/").map(str::to_owned).unwrap_or(path);
    Ok(sections.into_iter().map(|(path, section)| (below(path), section)).collect())
}

async fn read(files: &Files, path: &str) -> Result<Option<String>, GuestError> {
    let Some(bytes) = files.read(path, MOST_BYTES).await? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| GuestError::refused(format!("{path} is no text, so nothing is put into it")))
}

fn unmergeable(path: &str, why: &crate::credential_file::Unmergeable) -> GuestError {
    GuestError::refused_with(format!("{path}: {why}"), "mend the file, or write to another one by `path`")
}

impl Kind for CredentialOnServer {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Guest(&CredentialOnServer)
    }

    fn occupies(&self, fields: &Fields) -> Vec<Spot> {
        match fields.get("server") {
            Some(Value::Ref(Reference { target: Target::Resource(server), .. })) => {
                spots(fields, &format!(" on {server}"))
            }
            _ => Vec::new(),
        }
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        Ok(diff_settings(&SCHEMA, sides))
    }
}

#[async_trait]
impl GuestKind for CredentialOnServer {
    fn id(&self, address: &Address, fields: &Fields) -> Option<RemoteId> {
        let server = fields.get("server").and_then(Value::as_id)?;
        Some(RemoteId(format!("{server}/{address}")))
    }

    fn steps(&self, fields: &Fields) -> Vec<String> {
        let path = text(fields, "path").unwrap_or("a path known after apply");
        vec![format!("write it to {path}")]
    }

    fn undoing(&self, applied: &Fields) -> Vec<String> {
        text(applied, "path").map(|path| format!("take it out of {path}")).into_iter().collect()
    }

    fn words(&self) -> &'static GuestWords {
        &GuestWords {
            make: "write",
            again: "write again",
            unmake: "take out",
            making: "writing",
            made: "written",
            unmaking: "taking out",
            unmade: "taken out",
            forget: UNDO_NOTHING,
            change: CHANGE_IN_PLACE,
        }
    }

    fn remembers(&self) -> bool {
        true
    }

    async fn put(&self, cx: &GuestCx<'_>, want: &Fields) -> Result<Fields, GuestError> {
        put(cx.guest, want, Before::of(cx.recorded, cx.done)).await
    }

    async fn remove(&self, cx: &GuestCx<'_>, applied: &Fields) -> Result<(), GuestError> {
        remove(cx.guest, applied, Before::of(cx.recorded, cx.done)).await
    }
}

async fn put(guest: &Guest, want: &Fields, earlier: Before<'_>) -> Result<Fields, GuestError> {
    let files = guest.ssh().files().await?;
    let targets = targets(want)?;
    for (path, section) in &targets {
        let before = read(&files, path).await?.unwrap_or_default();
        if let Some(place) = earlier.others(section, &before).map_err(|why| unmergeable(path, &why))? {
            let (message, hint) = refusal(path, &place);
            return Err(GuestError::refused_with(message, hint));
        }
    }
    for (path, section) in &targets {
        let before = read(&files, path).await?.unwrap_or_default();
        let after = earlier.put(section, &before).map_err(|why| unmergeable(path, &why))?;
        let is_private = files.stat(path).await?.is_some_and(|stat| stat.mode & 0o077 == 0);
        if before == after && is_private {
            continue;
        }
        if let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
            files.make_folders(folder, 0o700).await?;
        }
        files.write(path, after.as_bytes(), 0o600).await?;
    }
    Ok(written(targets.iter().map(|(_, section)| section)))
}

async fn remove(guest: &Guest, applied: &Fields, earlier: Before<'_>) -> Result<(), GuestError> {
    let files = guest.ssh().files().await?;
    for (path, section) in targets(applied)? {
        let Some(before) = read(&files, &path).await? else { continue };
        let after = earlier.take_out(&section, &before).map_err(|why| unmergeable(&path, &why))?;
        if after.trim().is_empty() {
            files.remove(&path).await?;
        } else if after != before {
            files.write(&path, after.as_bytes(), 0o600).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::guest::script::tests::World;
    use crate::model::Secret;

    fn want(secret: &str) -> Fields {
        let keys = Fields::from([
            ("access_key".to_owned(), Value::text("AK")),
            ("secret_key".to_owned(), Value::Secret(Secret::kept("AK/secret_key", secret.to_owned()))),
            ("endpoint".to_owned(), Value::text("https://h:7480")),
        ]);
        let texts = [("form", "rclone"), ("name", "chi"), ("path", "~/.config/rclone/rclone.conf")];
        let mut fields: Fields = texts.map(|(name, text)| (name.to_owned(), Value::text(text))).into();
        fields.insert("keys".to_owned(), Value::Map(keys));
        fields
    }

    #[tokio::test]
    #[ignore = "needs OpenSSH and root"]
    async fn a_section_is_put_into_a_file_of_a_server_and_taken_out() {
        let world = World::new().await;
        let path = ".config/rclone/rclone.conf";
        let (none, some) = (Fields::new(), Fields::from([("written".to_owned(), Value::List(Vec::new()))]));
        let (first, again) = (Before::of(&none, false), Before::of(&some, true));
        put(&world.guest, &want("one"), first).await.unwrap();
        assert!(put(&world.guest, &want("two"), first).await.unwrap_err().to_string().contains("has `[chi]` already"));
        assert!(world.read(path).contains("secret_access_key = one\n"), "{}", world.read(path));
        let mode = |name: &str| std::fs::metadata(world.at(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(path), mode(".config/rclone")), (0o600, 0o700));
        let mine = "# mine\n[drive]\ntype = drive\n\n";
        std::fs::write(world.at(path), format!("{mine}{}", world.read(path))).unwrap();
        std::fs::set_permissions(world.at(path), std::fs::Permissions::from_mode(0o644)).unwrap();
        put(&world.guest, &want("one"), again).await.unwrap();
        assert_eq!(mode(path), 0o600);
        put(&world.guest, &want("two"), again).await.unwrap();
        assert!(world.read(path).starts_with(mine) && world.read(path).contains("secret_access_key = two\n"));
        remove(&world.guest, &want(""), again).await.unwrap();
        assert_eq!(world.read(path), "# mine\n[drive]\ntype = drive\n");
        std::fs::write(world.at(path), "").unwrap();
        put(&world.guest, &want("one"), again).await.unwrap();
        remove(&world.guest, &want(""), again).await.unwrap();
        assert!(!world.at(path).exists());
    }
}
