//! Keypairs: a public key under a name that is the user's alone.
//!
//! Nova keeps them per user, not per project, knows them by name and gives them no place for a stamp; the id is the
//! name. Two keys are the same whatever their comments say.

use async_trait::async_trait;

use super::kind::{CloudKind, Effect, FieldChange, Kind, Mistake, OpCx, Place, Refused, Seen, Sides, Update};
use super::schema::{NameRule, Schema, Type, attribute, field};
use crate::cloud::{CloudError, ErrorKind, Service, Session, nova, shapes};
use crate::model::{Fields, RemoteId, Value};

/// A keypair.
pub struct Keypair;

static SCHEMA: Schema = Schema {
    kind: "keypair",
    section: "keypairs",
    doc: "A public SSH key that servers are made with. It is yours, not the project's, and each site has its own.",
    fields: &[
        field("name", Type::Text, "The name in the site. Yours alone: two keypairs of one user cannot share a name.")
            .replace(),
        field(
            "public_key",
            Type::TextOrFile,
            "The public key: a path such as `~/.ssh/id_ed25519.pub`, or the key itself. Its comment does not matter.",
        )
        .required()
        .replace(),
    ],
    attributes: &[
        attribute("id", "The keypair's id, which is its name.").stable(),
        attribute("fingerprint", "The key's fingerprint, MD5 in hexadecimal."),
    ],
    protect: false,
    lookup: true,
    name: NameRule::Default,
};

/// A key without its comment: the type and the key proper.
fn bare(key: &str) -> Vec<&str> {
    key.split_whitespace().take(2).collect()
}

fn seen(session: &Session, keypair: nova::Keypair) -> Seen {
    let mut attrs = Fields::from([
        ("id".to_owned(), Value::text(keypair.name.clone())),
        ("name".to_owned(), Value::text(keypair.name.clone())),
        ("public_key".to_owned(), Value::text(keypair.public_key.trim())),
    ]);
    if let Some(fingerprint) = keypair.fingerprint {
        attrs.insert("fingerprint".to_owned(), Value::text(fingerprint));
    }
    Seen {
        id: RemoteId(keypair.name.clone()),
        name: keypair.name,
        attrs,
        status: String::new(),
        fault: None,
        stamp: None,
        // Nova lists a user's own keypairs and nobody else's.
        user_id: Some(session.identity().user_id.clone()),
        created_at: keypair.created_at.as_deref().and_then(shapes::time),
    }
}

impl Kind for Keypair {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Keypair)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some(odd) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || " _-".contains(*c))) {
            // Nova takes `@` and `.` too from 2.92 on, which not every site has.
            let message = format!("a keypair's name cannot have `{odd}` in it");
            let help = Some("use letters, digits, spaces, `_` and `-`".to_owned());
            mistakes.push(Mistake { field: "name", message, help });
        }
        let Some(Value::String(key)) = fields.get_mut("public_key") else { return };
        *key = key.trim().to_owned();
        // What is said here never repeats the text: it may be a private key.
        let mistake = if key.contains("PRIVATE KEY") {
            Some(("this is a private key, which never leaves your machine", "name the file that ends in `.pub`"))
        } else if key.lines().count() > 1 {
            Some(("there is more than one line in it", "a keypair holds one public key"))
        } else if bare(key).len() < 2 || bare(key)[0].starts_with("---") {
            Some(("this is no public key in OpenSSH's format", "it looks like `ssh-ed25519 AAAA… comment`"))
        } else {
            None
        };
        if let Some((message, help)) = mistake {
            mistakes.push(Mistake { field: "public_key", message: message.to_owned(), help: Some(help.to_owned()) });
        }
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = super::kind::diff_fields(&SCHEMA, sides);
        changes.retain(|change| match (change.before.as_str(), change.after.as_str()) {
            (Some(before), Some(after)) if change.field == "public_key" => bare(before) != bare(after),
            _ => true,
        });
        for change in &mut changes {
            change.effect = Effect::Replace;
        }
        Ok(changes)
    }

    fn unstamped_match(&self, fields: &Fields, seen: &Seen) -> Option<bool> {
        let text =
            |fields: &Fields, name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (want, has) = (text(fields, "public_key"), text(&seen.attrs, "public_key"));
        Some(text(fields, "name") == seen.name && bare(&want) == bare(&has))
    }

    fn has_twins(&self) -> bool {
        true
    }
}

#[async_trait]
impl CloudKind for Keypair {
    fn service(&self) -> Service {
        Service::Compute
    }

    fn gone_when_deleted(&self) -> bool {
        true
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        Ok(nova::keypairs(session).await?.into_iter().map(|keypair| seen(session, keypair)).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(nova::keypair(session, &id.0).await?.map(|keypair| seen(session, keypair)))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let text = |field: &str| want.get(field).and_then(Value::as_str).unwrap_or_default();
        let created = nova::create_keypair(cx.session, text("name"), text("public_key")).await;
        let keypair = created.map_err(|error| match error.kind {
            ErrorKind::Conflict => error.hint(format!(
                "you have a keypair of this name already: `adopt: {}` uses it, or give this one another `name`",
                text("name")
            )),
            _ => error,
        })?;
        Ok(RemoteId(keypair.name))
    }

    async fn update(&self, _: &OpCx<'_>, _: &Update<'_>) -> Result<(), CloudError> {
        Ok(())
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        nova::delete_keypair(cx.session, &id.0).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_do_not_count() {
        let key = |text: &str| Fields::from([("public_key".to_owned(), Value::text(text))]);
        let (want, same, other) = (key("ssh-ed25519 AAAA me@laptop"), key("ssh-ed25519 AAAA"), key("ssh-ed25519 BBBB"));
        let (applied, now) = (Fields::new(), jiff::Timestamp::UNIX_EPOCH);
        let diff = |live| Keypair.diff(&Sides { want: &want, applied: &applied, live, now }).unwrap();
        assert_eq!(diff(&same), Vec::new());
        assert_eq!(diff(&other).len(), 1);
    }

    #[test]
    fn a_private_key_is_refused_and_not_repeated() {
        let pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----";
        let mut mistakes = Vec::new();
        Keypair.check(&mut Fields::from([("public_key".to_owned(), Value::text(pem))]), &mut mistakes);
        assert_eq!(mistakes.len(), 1);
        assert!(!format!("{mistakes:?}").contains("c2VjcmV0"));
    }
}
