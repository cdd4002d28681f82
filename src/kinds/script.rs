//! Scripts: programs, files and containers inside a server.
//!
//! A script ran, or it did not: there is nothing to look at afterwards. So what it was made of is compared with what it
//! is to be made of, field by field, a field that is gone too; and every difference that matters makes it run again.
//!
//! Invariants:
//! - A script that runs again is stopped first, as the last run's `stop` says; one that is no longer wanted is stopped.
//! - What a script uses is there before it runs and until it is stopped: `uses` names an attachment, and means its mount.
//! - Its text and its files are never interpolated; values reach it by its environment.

use async_trait::async_trait;

use super::attachment::PART;
use super::guest::{CHANGE_IN_PLACE, GuestCx, GuestKind, GuestWords, UNDO_NOTHING};
use super::kind::{DerivedPart, FieldChange, Kind, Mistake, Place, Refused, Sides, field_effect};
use super::schema::{Field, Literal, NameRule, RefChange, RefType, Schema, Type, attribute, field};
use crate::guest::{GuestError, script};
use crate::model::{Address, Fields, Reference, RemoteId, Target, Value};
use crate::state::Status;

mod check;
mod job;
#[cfg(test)]
mod tests;

/// A script.
pub struct Script;

/// How long a script may take, where it does not say.
const TIMEOUT: i64 = 1_800;
/// How long what it starts may take to answer, where it does not say.
const ANSWERS: i64 = 120;

static COMPOSE: &[Field] =
    &[field("file", Type::File, "The compose file, `docker/mlflow.yaml`; taken as it stands.").required()];

static FILE: &[Field] = &[
    field("source", Type::Tree, "A file or folder of this machine; a relative path starts at the spec's folder.")
        .required(),
    field("path", Type::Text, "Where it goes on the server, from the root or from the home folder, `~/conf`.")
        .required(),
    field("mode", Type::Text, "The permissions of its files, in octal: `\"0644\"`; by default that, or `\"0755\"`."),
    field("owner", Type::Text, "The user that it belongs to; by default whom the place belongs to: the user, or root."),
    field("group", Type::Text, "The group that it belongs to."),
    field("if_missing", Type::Bool, "Whether files that are there already are left as they are.")
        .default(Literal::Bool(false)),
];

static WAIT_FOR: &[Field] = &[
    field("port", Type::Int(1, 65_535), "A port of the server itself that takes connections."),
    field("http", Type::Text, "A URL, as the server itself reaches it: `http://localhost:8000/health`."),
    field("status", Type::Int(100, 599), "What it answers.").default(Literal::Int(200)),
    field("timeout", Type::Duration, "How long to wait.").default(Literal::Int(ANSWERS)),
];

static SCHEMA: Schema = Schema {
    kind: "script",
    section: "scripts",
    doc: "A program, files or containers inside a server: run once, and again when something about it changes.",
    fields: &[
        field("server", Type::Ref(RefType::new("server", RefChange::Replace)), "The server it runs on.").required(),
        field(
            "uses",
            Type::List(&Type::Ref(RefType::new("attachment", RefChange::Replace))),
            "Attachments whose mounts it uses: it runs after they are mounted, and is stopped before they are unmounted.",
        ),
        field("run", Type::Verbatim, "The program, as its shell reads it or as its `#!` says; nothing is put into it.")
            .replace(),
        field("run_file", Type::File, "The same, out of a file.").replace(),
        field("compose", Type::Struct(COMPOSE), "Containers, started with Docker Compose.").replace(),
        field("env", Type::Map(&Type::Text), "Its environment; secrets may stand here.").replace().write_only(),
        field("files", Type::List(&Type::Struct(FILE)), "What is copied to the server before it runs.").replace(),
        field("triggers", Type::List(&Type::Text), "Values; it runs again when one of them changes.").replace(),
        field("stop", Type::Verbatim, "The program that undoes it: before it runs again, and when it is removed.")
            .record(),
        field("creates", Type::Text, "A path on the server; where it is there, nothing is run.").record(),
        field("wait_for", Type::Struct(WAIT_FOR), "What answers once it is up.").record(),
        field("timeout", Type::Duration, "How long it may take.").default(Literal::Int(TIMEOUT)).record(),
        field("project", Type::Text, "What Docker Compose calls it, after the stack's name.").internal().replace(),
    ],
    attributes: &[
        attribute("id", "`<server id>/<script>`."),
        attribute("log", "Where all that it printed is, on the server."),
    ],
    protect: false,
    lookup: false,
    name: NameRule::None,
};

/// A reference to an attachment, as one to its mount. That of a bucket is the mount itself.
fn mount_of(value: &Value) -> Value {
    match value {
        Value::Ref(Reference { kind, target: Target::Resource(attachment), .. }) if kind == "attachment" => {
            Value::Ref(Reference {
                kind: "mount".to_owned(),
                target: Target::Resource(attachment.with_part(PART)),
                id: None,
            })
        }
        other => other.clone(),
    }
}

/// Whether two values of a field make the same run: where a copied file lies here does not count, what is in it does.
fn same(field: &str, want: &Value, applied: &Value) -> bool {
    if field != "files" {
        return want.same(applied);
    }
    match (want.as_list(), applied.as_list()) {
        (Some(want), Some(applied)) => {
            want.len() == applied.len() && want.iter().zip(applied).all(|(a, b)| content_of(a).same(&content_of(b)))
        }
        _ => want.same(applied),
    }
}

/// An entry of `files`, without where it lies here.
fn content_of(entry: &Value) -> Value {
    let mut entry = entry.clone();
    if let Value::Map(fields) = &mut entry
        && let Some(Value::Map(source)) = fields.get_mut("source")
    {
        source.remove("path");
    }
    entry
}

impl Kind for Script {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Guest(&Script)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        check::check(fields, mistakes);
    }

    fn derive(&self, address: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        if let Some(Value::List(used)) = fields.get_mut("uses") {
            *used = used.iter().map(mount_of).collect();
        }
        if fields.contains_key("compose") {
            fields.insert("project".to_owned(), Value::text(script::name_of(address)));
        }
        Vec::new()
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = Vec::new();
        for field in SCHEMA.fields {
            let Some(effect) = field_effect(field) else { continue };
            let value = |side: &Fields| side.get(field.name).cloned().unwrap_or(Value::Null);
            let (before, after) = (value(sides.applied), value(sides.want));
            if !same(field.name, &after, &before) {
                changes.push(FieldChange { field: field.name.to_owned(), before, after, effect, note: None });
            }
        }
        Ok(changes)
    }
}

#[async_trait]
impl GuestKind for Script {
    fn id(&self, address: &Address, fields: &Fields) -> Option<RemoteId> {
        let server = fields.get("server").and_then(Value::as_id)?;
        Some(RemoteId(format!("{server}/{}", script::name_of(address))))
    }

    fn words(&self) -> &'static GuestWords {
        &GuestWords {
            make: "run",
            again: "run again",
            unmake: "stop",
            making: "running",
            made: "ran",
            unmaking: "removing",
            unmade: "removed",
            forget: UNDO_NOTHING,
            change: CHANGE_IN_PLACE,
        }
    }

    fn steps(&self, fields: &Fields) -> Vec<String> {
        job::steps(fields)
    }

    fn is_undone(&self, applied: &Fields, _: &Status) -> bool {
        !job::undoing(applied).is_empty()
    }

    fn undoing(&self, applied: &Fields) -> Vec<String> {
        job::undoing(applied)
    }

    async fn put(&self, cx: &GuestCx<'_>, want: &Fields) -> Result<Fields, GuestError> {
        let job = job::of(cx, want)?;
        let log = script::put(cx.guest, &job, cx.tell).await?;
        Ok(Fields::from([("log".to_owned(), Value::text(log))]))
    }

    async fn remove(&self, cx: &GuestCx<'_>, applied: &Fields) -> Result<(), GuestError> {
        match job::undo(cx, applied) {
            Some(job) => script::remove(cx.guest, &job, cx.tell).await,
            None => Ok(()),
        }
    }
}
