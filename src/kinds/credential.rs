//! Credentials: what opens a site to programs, and secrets of one's own.
//!
//! Four kinds share the section, told apart by `type` or `from_env`: they have different services, fields and lives, so
//! each has a table of its own, and the messages of one never speak of another's fields.
//!
//! | kind | made by | its secret |
//! |---|---|---|
//! | [`application`] | Keystone | made here, in the state before the request that carries it |
//! | [`ec2`] | Keystone | made by Keystone, which shows it as often as it is asked |
//! | [`given`] | nobody: the environment has it | read by every plan and apply, kept nowhere |
//! | [`random`] | anole | made here, once |
//!
//! Invariant: a secret is a [`Value::Secret`] from the moment it is made or read.

pub mod application;
pub mod ec2;
pub mod file;
pub mod given;
pub mod on_server;
pub mod random;
#[cfg(test)]
mod tests;
mod write;

use super::schema::{Attribute, attribute};
use crate::cloud::Session;
use crate::model::{Fields, Value};

/// The words for `type`.
const TYPES: &[&str] = &["application", "ec2", "random"];

const PLACE: [Attribute; 4] = [
    attribute("user_id", "The user whose it is."),
    attribute("project_id", "The project that it opens."),
    attribute("auth_url", "Keystone's URL, with the version.").stable(),
    attribute("region", "The site's region.").stable(),
];

/// What a credential says of its site.
fn place(session: &Session) -> Fields {
    let identity = session.identity();
    let auth_url = format!("{}/v3", identity.auth_url);
    let pairs = [
        ("user_id", identity.user_id.as_str()),
        ("project_id", &identity.project_id),
        ("auth_url", &auth_url),
        ("region", &identity.region),
    ];
    pairs.map(|(name, text)| (name.to_owned(), Value::text(text))).into()
}

/// The field's text, if it has one.
fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}
