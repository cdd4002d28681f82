//! EC2 credentials: the pairs of keys that sign requests to the S3 API.
//!
//! In: requests to `/users/{id}/credentials/OS-EC2` and `/credentials`. Out: answers as Keystone gives them, and for the
//! object store whose an access key is and the secret that goes with it.
//!
//! Invariant: a secret is nowhere written down. Unlike a password it must be known again, to check a signature and because
//! Keystone shows it each time it is asked; so it is made from the access key and the key of the cloud's folder.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use http::Method;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;

use super::credentials::refuse_restricted;
use super::{hash, list, not_allowed};
use crate::embedded::Error;
use crate::embedded::catalogue::project_name;
use crate::embedded::tables::{Fields, State, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, new_hex};
use crate::hex;
use crate::model::Json;

/// The file of the folder that all its secrets are made with.
const KEY_FILE: &str = "ec2.key";

/// Reads the folder's key, which the first process to open the folder makes.
pub fn open_key(folder: &Path) -> Result<hmac::Key, Error> {
    let path = folder.join(KEY_FILE);
    if let Ok(bytes) = fs::read(&path) {
        return Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
    }
    let made = make_key(folder, &path).and_then(|()| fs::read(&path));
    let bytes = made.map_err(|source| Error::io("write", &path, source))?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn make_key(folder: &Path, path: &Path) -> io::Result<()> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    // Readable for its owner only, and whole from the moment it has its name.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&bytes)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

/// The secret of an access key.
#[must_use]
pub fn secret(key: &hmac::Key, access: &str) -> String {
    hex::encode(&hmac::sign(key, access.as_bytes()).as_ref()[..16])
}

/// Whose an access key is: user and project.
#[must_use]
pub fn holder(state: &State, access: &str) -> Option<(String, String)> {
    let doc = state.get(Table::Ec2, access)?;
    Some((doc.text("user_id").to_owned(), doc.text("tenant_id").to_owned()))
}

/// Answers `/users/{id}/credentials/OS-EC2…`.
pub fn handle(cx: &mut Cx<'_>, user: &str, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    let own = user == cx.who.user_id;
    let rule = |rule: &str| if own { Ok(()) } else { Err(not_allowed(&format!("identity:ec2_{rule}"))) };
    match (&method, path) {
        (&Method::GET, []) => {
            rule("list_credentials")?;
            let found = cx.state.find(Table::Ec2, "user_id", user);
            let views = found.map(|doc| view(cx, doc)).collect();
            Ok(list(cx, "credentials", views))
        }
        (&Method::POST, []) => {
            rule("create_credential")?;
            create(cx)
        }
        (&Method::GET, [access]) => {
            rule("get_credential")?;
            let doc = found(cx, access, "get_credential")?;
            Ok(Reply::ok(json!({"credential": view(cx, doc)})))
        }
        (&Method::DELETE, [access]) => {
            rule("delete_credential")?;
            found(cx, access, "delete_credential")?;
            cx.state.remove(Table::Ec2, access);
            Ok(Reply::empty(204))
        }
        _ => Err(Fault::new(405, "OPTIONS, GET, HEAD, POST")),
    }
}

/// The credential; somebody else's is refused by the rule, one that is not there by the id that Keystone has for it.
fn found<'a>(cx: &'a Cx<'_>, access: &str, rule: &str) -> Result<&'a Json, Fault> {
    let doc = cx.state.get(Table::Ec2, access);
    let doc = doc.ok_or_else(|| Fault::missing(format!("Could not find credential: {}.", hash(access))))?;
    if doc.text("user_id") == cx.who.user_id { Ok(doc) } else { Err(not_allowed(&format!("identity:ec2_{rule}"))) }
}

fn create(cx: &mut Cx<'_>) -> Answer {
    refuse_restricted(cx)?;
    let body = cx.call.json().unwrap_or_default();
    let tenant = body.text("tenant_id");
    if project_name(tenant).is_none() {
        let named = if tenant.is_empty() { "None" } else { tenant };
        return Err(Fault::missing(format!("Could not find project: {named}.")));
    }
    let access = new_hex();
    let doc = json!({"access": access, "user_id": cx.who.user_id, "tenant_id": tenant, "trust_id": null});
    let shown = view(cx, &doc);
    cx.state.put(Table::Ec2, &access, doc);
    Ok(Reply::json(201, json!({"credential": shown})))
}

fn view(cx: &Cx<'_>, doc: &Json) -> Json {
    let (user, access) = (doc.text("user_id"), doc.text("access"));
    json!({
        "user_id": user, "tenant_id": doc["tenant_id"], "access": access, "secret": secret(cx.seal, access),
        "trust_id": null,
        "links": {"self": format!("{}/identity/v3/users/{user}/credentials/OS-EC2/{access}", cx.call.base)},
    })
}

/// Answers `GET /credentials`: the same credentials as Keystone's own list has them.
pub fn all(cx: &Cx<'_>) -> Reply {
    let wanted = cx.call.param("type").is_none_or(|kind| kind == "ec2");
    let own = cx.state.find(Table::Ec2, "user_id", &cx.who.user_id).filter(|_| wanted);
    let views = own.map(|doc| {
        let (access, id) = (doc.text("access"), hash(doc.text("access")));
        let blob = json!({"access": access, "secret": secret(cx.seal, access), "trust_id": null});
        json!({"id": id, "user_id": doc["user_id"], "project_id": doc["tenant_id"], "type": "ec2", "blob": blob.to_string(),
               "links": {"self": format!("{}/identity/v3/credentials/{id}", cx.call.base)}})
    });
    list(cx, "credentials", views.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_has_the_same_key_and_nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (open_key(folder.path()).unwrap(), open_key(folder.path()).unwrap());
        assert_eq!(secret(&one, "access"), secret(&two, "access"));
        assert_ne!(secret(&one, "access"), secret(&one, "another"));
        assert_eq!(secret(&one, "access").len(), 32);
        let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
