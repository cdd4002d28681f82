//! `write:`, the files that a credential is written to: each a part of the credential, with a record of its own.
//!
//! In: a credential's fields. Out: its parts, whose `keys` are references to the credential's attributes; so a part is
//! written after its credential is made, again when that is made anew, and taken out before it goes.

use crate::kinds::kind::{DerivedPart, Mistake};
use crate::kinds::schema::{Field, Literal, RefChange, RefType, Type, field};
use crate::model::{Address, Fields, Part, Reference, Target, Template, Value};

use super::text;

const PATH: &str = "The file, from the root or from the home folder, `~/`; made if it is not there.";
const SETTINGS: &str = "More settings, or others in place of the usual ones.";

const SERVER: Field = field(
    "server",
    Type::Ref(RefType::new("server", RefChange::Replace)),
    "The server whose file it is, of any site; a file of this machine where absent.",
);

static RCLONE: &[Field] = &[
    field("remote", Type::Text, "The remote's name.").required(),
    field("path", Type::Text, PATH).default(Literal::Str("~/.config/rclone/rclone.conf")),
    field("settings", Type::Map(&Type::Text), SETTINGS),
    SERVER,
];

static AWS: &[Field] = &[
    field("profile", Type::Text, "The profile's name.").default(Literal::Str("default")),
    field("path", Type::Text, PATH).default(Literal::Str("~/.aws/credentials")),
    field("config", Type::Text, "The file with the endpoint and the region.").default(Literal::Str("~/.aws/config")),
    field("settings", Type::Map(&Type::Text), SETTINGS),
    SERVER,
];

static ENV: &[Field] = &[
    field("path", Type::Text, PATH).required(),
    field("variable", Type::Text, "The variable that holds a random secret, `PASSWORD`."),
    field("settings", Type::Map(&Type::Text), "More variables."),
    SERVER,
];

static OPENRC: &[Field] =
    &[field("path", Type::Text, PATH).required(), field("settings", Type::Map(&Type::Text), "More variables."), SERVER];

static CLOUDS: &[Field] = &[
    field("cloud", Type::Text, "The entry's name.").required(),
    field("path", Type::Text, PATH).default(Literal::Str("~/.config/openstack/clouds.yaml")),
    SERVER,
];

static S3FS: &[Field] = &[
    field("bucket", Type::Text, "The bucket that they open; all where absent."),
    field("path", Type::Text, PATH).default(Literal::Str("~/.passwd-s3fs")),
    SERVER,
];

static KUBERNETES: &[Field] = &[
    field("name", Type::Text, "The Secret's name.").required(),
    field("namespace", Type::Text, "Its namespace."),
    field("path", Type::Text, PATH).required(),
    field("settings", Type::Map(&Type::Text), "More keys and their values."),
    SERVER,
];

static ENTRY: &[Field] = &[
    field("rclone", Type::Struct(RCLONE), "A remote of rclone."),
    field("aws", Type::Struct(AWS), "A profile of the AWS tools."),
    field("env", Type::Struct(ENV), "Variables, one a line."),
    field("openrc", Type::Struct(OPENRC), "Variables for `source`, as Horizon offers them."),
    field("clouds", Type::Struct(CLOUDS), "An entry of a clouds.yaml."),
    field("s3fs", Type::Struct(S3FS), "A line of s3fs's passwd file."),
    field("kubernetes", Type::Struct(KUBERNETES), "A manifest of a Kubernetes Secret."),
];

static ENTRIES: Type = Type::Struct(ENTRY);

/// The field of every credential.
pub(super) const WRITE: Field = field(
    "write",
    Type::List(&ENTRIES),
    "The files of this machine or of servers that it is written to, readable by you alone. What else is in them stays.",
)
.ignore();

/// What a kind of credential can be written as, and the attributes that go into it.
pub(super) struct Writable {
    pub(super) forms: &'static [&'static str],
    pub(super) attributes: &'static [&'static str],
}

pub(super) const SIGN_IN: Writable = Writable {
    forms: &["rclone", "env", "openrc", "clouds", "kubernetes"],
    attributes: &["id", "secret", "auth_url", "region"],
};

pub(super) const KEYS: Writable = Writable {
    forms: &["rclone", "aws", "env", "s3fs", "kubernetes"],
    attributes: &["access_key", "secret_key", "endpoint", "region"],
};

pub(super) const VALUE: Writable = Writable { forms: &["env", "kubernetes"], attributes: &["value"] };

/// The one form of an entry, and its fields.
fn form(entry: &Value) -> Option<(&'static str, &Fields)> {
    let entry = entry.as_map()?;
    let mut forms = ENTRY.iter().filter_map(|form| Some((form.name, entry.get(form.name)?.as_map()?)));
    let only = forms.next()?;
    forms.next().is_none().then_some(only)
}

/// What the section is called in its file.
fn name(form: &str, fields: &Fields) -> String {
    let of = |key| text(fields, key).unwrap_or_default().to_owned();
    match form {
        "rclone" => of("remote"),
        "aws" => of("profile"),
        "clouds" => of("cloud"),
        "s3fs" => of("bucket"),
        "env" => of("variable"),
        "kubernetes" => match text(fields, "namespace") {
            Some(namespace) => format!("{namespace}/{}", of("name")),
            None => of("name"),
        },
        _ => String::new(),
    }
}

/// Reports what cannot be written.
pub(super) fn check(fields: &Fields, writable: &Writable, mistakes: &mut Vec<Mistake>) {
    let entries = fields.get("write").and_then(Value::as_list).unwrap_or_default();
    let mut seen: Vec<String> = Vec::new();
    for entry in entries {
        let Some((form, fields)) = form(entry) else {
            let message = "an entry of `write` is one form with its settings";
            mistakes.push(Mistake::new("write", message, "such as `- rclone: { remote: chi }`"));
            continue;
        };
        if !writable.forms.contains(&form) {
            let message = format!("such a credential cannot be written as `{form}`");
            mistakes.push(Mistake::new("write", message, &format!("it can be as `{}`", writable.forms.join("`, `"))));
        }
        for path in ["path", "config"].into_iter().filter_map(|key| text(fields, key)) {
            let is_whole = path.starts_with('/') || path.starts_with("~/");
            if !is_whole || path.ends_with('/') || path.contains(char::is_control) {
                let message = format!("`{path}` is no path from the root or from the home folder");
                mistakes.push(Mistake::new("write", message, "write it as `~/.config/rclone/rclone.conf`"));
            }
        }
        let name = name(form, fields);
        if name.contains(|char: char| char.is_control() || "[]:'\"#".contains(char)) || name.trim() != name {
            let message = format!("`{name}` is no name that its file can hold");
            mistakes.push(Mistake::new("write", message, "use letters, digits, `_` and `-`"));
        }
        if form == "env" && writable.attributes.contains(&"value") && name.is_empty() {
            mistakes.push(Mistake::new(
                "write",
                "`env` does not say which variable holds the secret",
                "add `variable: PASSWORD`",
            ));
        }
        let part = part(form, fields);
        if seen.contains(&part) {
            mistakes.push(Mistake::new("write", "the same is written twice into one file", "remove one of the two"));
        }
        seen.push(part);
    }
}

/// The part's name: its kind, what is written, and where.
fn part(form: &str, fields: &Fields) -> String {
    let path = text(fields, "path").unwrap_or_default();
    let name = name(form, fields);
    let what = if name.is_empty() { path.to_owned() } else { format!("{name}@{path}") };
    match fields.get("server") {
        Some(Value::Ref(Reference { target: Target::Resource(server), .. })) => {
            let server = server.to_string().replace("servers.", "").replace(['[', ']'], ":");
            format!("credential_on_server[{form} {what} {server}]")
        }
        Some(_) => format!("credential_on_server[{form} {what}]"),
        None => format!("credential_file[{form} {what}]"),
    }
}

/// The parts of a credential, taken out of its fields.
pub(super) fn derive(address: &Address, fields: &mut Fields, writable: &Writable) -> Vec<DerivedPart> {
    let Some(Value::List(entries)) = fields.remove("write") else { return Vec::new() };
    let keys: Fields = writable
        .attributes
        .iter()
        .map(|attribute| {
            let path = vec![(*attribute).to_owned()];
            let part = Part::Attribute { address: address.clone(), path, all: false };
            ((*attribute).to_owned(), Value::Template(Template(vec![part])))
        })
        .collect();
    entries
        .iter()
        .filter_map(form)
        .map(|(form, entry)| {
            let mut inside = Fields::from([
                ("form".to_owned(), Value::text(form)),
                ("keys".to_owned(), Value::Map(keys.clone())),
                ("name".to_owned(), Value::text(name(form, entry))),
            ]);
            for key in ["path", "config", "settings", "server"] {
                inside.extend(entry.get(key).map(|value| (key.to_owned(), value.clone())));
            }
            let kind = if entry.contains_key("server") { "credential_on_server" } else { "credential_file" };
            DerivedPart { part: part(form, entry), kind, fields: inside, before_owner: false }
        })
        .collect()
}
