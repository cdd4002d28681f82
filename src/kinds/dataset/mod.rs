//! Datasets: fetched, transformed and loaded into a bucket, by [`crate::dataset`].
//!
//! Two kinds of one section: one is made on this machine, one on a server, told apart by the field `server`. Neither has a
//! service that lists it: the state says what was loaded, and the bucket, looked at by every plan, whether it is there
//! still.
//!
//! ```text
//!  spec ──check──▶ fields ──derive──▶ flat fields ──delivery──▶ Delivery ──▶ here, or on a server
//!                                          │                        (keys and all: never stored)
//!                     bucket ──look──▶ `content`: as loaded, or how it differs
//! ```
//!
//! Invariants:
//! - Objects of a bucket are deleted only where the spec says so: those that are not the dataset's by `extra_objects`,
//!   its own by `force_destroy`.
//! - Keys are in fields that only their digests are kept of.
//! - What the plan says of `content` is what a look at the bucket said: no other reason loads it again.

mod delivery;
mod here;
mod look;
mod on_server;
mod table;
#[cfg(test)]
mod tests;

use super::kind::{Mistake, Seen};
use super::store_keys;
use crate::kinds;
use crate::model::{Address, Fields, Part, Reference, Target, Template, Value};

use url::Url;

pub use here::Dataset;
pub use on_server::DatasetOnServer;

/// What `content` holds when all is well.
const WHOLE: &str = "whole, with its manifest";

/// The attribute with what the last load recorded.
const RECORDED: &str = "recorded";

/// The fields that say where a source is: each source has one of them.
const ORIGINS: [&str; 4] = ["url", "path", "bucket", "dataset"];

/// What is taken of a credential: attributes of one of the spec, fields of another.
const KEYS: [&str; 4] = ["endpoint", "region", "access_key", "secret_key"];

/// What a dataset that reads another one takes of it: all that its objects are made of.
const RECIPE: [&str; 7] = ["sources", "source_keys", "read_from", "extract", "transform", "limits", "staging_at"];

fn text<'a>(fields: &'a Fields, key: &str) -> &'a str {
    fields.get(key).and_then(Value::expose).unwrap_or_default()
}

fn mistake(field: &'static str, message: impl Into<String>, help: &str) -> Mistake {
    Mistake { field, message: message.into(), help: Some(help.to_owned()) }
}

/// An attribute of a resource, to be known when it is.
fn attribute_of(address: &Address, name: &str) -> Value {
    Value::Template(Template(vec![Part::Attribute {
        address: address.clone(),
        path: vec![name.to_owned()],
        all: false,
    }]))
}

/// The resource that a field names.
fn named(value: Option<&Value>) -> Option<&Address> {
    match value {
        Some(Value::Ref(Reference { target: Target::Resource(address), .. })) => Some(address),
        _ => None,
    }
}

/// What the types do not show.
fn check(fields: &Fields, mistakes: &mut Vec<Mistake>) {
    let (one, several) = (fields.get("source"), fields.get("sources"));
    if one.is_some() == several.is_some() {
        mistakes.push(mistake(
            "source",
            "a dataset has a `source`, or several `sources`",
            "write one of the two: `source: { url: … }`",
        ));
    }
    let (field, sources): (_, Vec<&Value>) = match several.and_then(Value::as_list) {
        Some(several) => ("sources", several.iter().collect()),
        None => ("source", one.into_iter().collect()),
    };
    for source in sources.iter().filter_map(|source| source.as_map()) {
        check_source(field, source, mistakes);
    }
    if several.and_then(Value::as_list).is_some_and(<[Value]>::is_empty) {
        mistakes.push(mistake("sources", "there is no source", "write at least one"));
    }
    for one in fields.get("transform").and_then(Value::as_list).unwrap_or_default() {
        check_transform(one, mistakes);
    }
    if let Some(load) = fields.get("load").and_then(Value::as_map) {
        check_bucket("load", load, mistakes);
        let prefix = text(load, "prefix");
        if prefix.split('/').any(|part| part == ".anole" || part == ".." || part == ".") || prefix.starts_with('/') {
            let help = "a prefix is such as `Food-11`; what is below it is the dataset";
            mistakes.push(mistake("load", format!("`{prefix}` can be no dataset's prefix"), help));
        }
    }
}

/// One transform, as far as it is known.
fn check_transform(one: &Value, mistakes: &mut Vec<Mistake>) {
    if one.as_map().is_some_and(|one| one.len() != 1) {
        let help = "each item is one of class_folders, split, webdataset, command: `- class_folders: { … }`";
        mistakes.push(mistake("transform", "an item of it is not one transform", help));
    } else if one.is_known()
        && let Err(why) = delivery::transform(one)
    {
        mistakes.push(Mistake { field: "transform", message: why, help: None });
    }
}

/// One source: where it is, and what belongs to that.
fn check_source(field: &'static str, source: &Fields, mistakes: &mut Vec<Mistake>) {
    let origins: Vec<&str> = ORIGINS.into_iter().filter(|origin| source.contains_key(*origin)).collect();
    let [origin] = origins.as_slice() else {
        let found = if origins.is_empty() { "none".to_owned() } else { origins.join(" and ") };
        let help = "a source has one of `url`, `path`, `bucket` or `dataset`";
        mistakes.push(mistake(field, format!("a source is in one place: this one has {found}"), help));
        return;
    };
    let belongs = |key: &str| match key {
        "mirrors" | "sha256" | "size" => *origin == "url",
        "prefix" | "credential" => *origin == "bucket",
        _ => true,
    };
    if let Some(stranger) = source.keys().find(|key| !belongs(key)) {
        let help = "`mirrors`, `sha256` and `size` are of a `url`; `prefix` and `credential` of a `bucket`";
        mistakes.push(mistake(field, format!("`{stranger}` says nothing of a source by `{origin}`"), help));
    }
    let known = |key: &str| source.get(key).and_then(Value::as_str);
    let is_url = |url: &str| Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "file"));
    if let Some(url) = known("url").filter(|url| !is_url(url)) {
        let help = "a URL is `https://…`, `http://…` or `file:///…`; a path is written `source: { path: ./data }`";
        mistakes.push(mistake(field, format!("`{url}` is no URL"), help));
    }
    let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(sha256) = known("sha256").filter(|sha256| !is_digest(sha256)) {
        let help = "`sha256sum FILE` prints it: 64 digits and letters from a to f";
        mistakes.push(mistake(field, format!("`{sha256}` is no SHA-256"), help));
    }
    if *origin == "bucket" {
        check_bucket(field, source, mistakes);
    }
}

/// A bucket and the keys that open it.
fn check_bucket(field: &'static str, fields: &Fields, mistakes: &mut Vec<Mistake>) {
    if let Some(bucket) = fields.get("bucket").and_then(Value::as_map)
        && bucket.contains_key("name") == bucket.contains_key("existing")
    {
        let help = "name a bucket of this spec, `bucket: food11`, or another, `bucket: { existing: object-chi-netid }`";
        mistakes.push(mistake(field, "either a bucket of this spec or `existing`, and not both", help));
    }
    let Some(credential) = fields.get("credential").and_then(Value::as_map) else { return };
    if credential.contains_key("name") == credential.contains_key("existing") {
        let help = "name a credential of this spec, `credential: s3`, or give keys, `credential: { existing: { … } }`";
        mistakes.push(mistake(field, "either a credential's name or `existing`, and not both", help));
    }
    if let Some(Value::Ref(named)) = credential.get("name")
        && kinds::by_name(&named.kind).is_some_and(|kind| kind.schema().attribute("secret_key").is_none())
    {
        let help = "an EC2 credential does: `type: ec2`, or `from_env:` for keys that are there";
        mistakes.push(mistake(field, "this credential has no keys that open a bucket", help));
    }
}

/// Makes the fields of a spec flat: what is named elsewhere is put in when it is known.
fn derive(fields: &mut Fields) {
    let one = fields.remove("source");
    let sources = match fields.remove("sources") {
        Some(Value::List(several)) => several,
        _ => one.into_iter().collect(),
    };
    let (mut plain, mut keys, mut read_from) = (Vec::new(), Vec::new(), Vec::new());
    for source in sources {
        let Value::Map(mut source) = source else { continue };
        keys.push(Value::Map(opened(&mut source)));
        let other = named(source.get("dataset")).cloned();
        let recipe = other.as_ref().map(|other| RECIPE.map(|name| (name.to_owned(), attribute_of(other, name))));
        let recipe: Fields = recipe.into_iter().flatten().collect();
        if let Some(other) = other {
            let address = other.to_string();
            source.insert("dataset".to_owned(), Value::text(address.trim_start_matches("datasets.")));
        }
        read_from.push(Value::Map(recipe));
        plain.push(Value::Map(source));
    }
    fields.extend([
        ("sources".to_owned(), Value::List(plain)),
        ("source_keys".to_owned(), Value::List(keys)),
        ("read_from".to_owned(), Value::List(read_from)),
        ("content".to_owned(), Value::text(WHOLE)),
        ("staging_at".to_owned(), fields.get("staging").cloned().unwrap_or_else(|| Value::text(""))),
    ]);
    if let Some(Value::Map(mut load)) = fields.remove("load") {
        let keys = opened(&mut load);
        fields.extend(keys);
        load.entry("prefix".to_owned()).or_insert_with(|| Value::text(""));
        fields.extend(load);
    }
}

/// Puts a bucket's name in place of what names it, and takes the keys out.
fn opened(fields: &mut Fields) -> Fields {
    // A bucket of a store that is no site's says where that is, and what opens it.
    let placed = fields.get("bucket").and_then(Value::as_map).and_then(store_keys::placed).cloned();
    let own = |bucket: &Address| KEYS.map(|key| (key.to_owned(), attribute_of(bucket, key)));
    let own: Fields = placed.iter().flat_map(own).collect();
    if let Some(Value::Map(mut bucket)) = fields.remove("bucket") {
        let name = match named(bucket.get("name")) {
            Some(named) => Some(attribute_of(named, "name")),
            None => bucket.remove("existing"),
        };
        fields.extend(name.map(|name| ("bucket".to_owned(), name)));
    }
    let Some(Value::Map(mut credential)) = fields.remove("credential") else { return own };
    let mut keys: Fields = match named(credential.get("name")) {
        Some(named) => KEYS.map(|key| (key.to_owned(), attribute_of(named, key))).into(),
        None => match credential.remove("existing") {
            Some(Value::Map(existing)) => existing,
            _ => Fields::new(),
        },
    };
    // Other keys open the same store.
    keys.extend(own.into_iter().filter(|(name, _)| name == "endpoint" || name == "region"));
    keys
}

/// Where a dataset is, for people.
fn location(fields: &Fields) -> String {
    match (text(fields, "bucket"), text(fields, "prefix").trim_matches('/')) {
        (bucket, "") => format!("s3://{bucket}"),
        (bucket, prefix) => format!("s3://{bucket}/{prefix}"),
    }
}

/// Where a dataset is, once its bucket is known; with the store's address where that is no site's own.
fn occupies(fields: &Fields) -> Option<String> {
    fields.get("bucket").and_then(Value::as_str)?;
    let endpoint = fields.get("endpoint").and_then(Value::as_str).unwrap_or_default();
    let store = if endpoint.is_empty() { String::new() } else { format!(" of {endpoint}") };
    Some(format!("{}{store}", location(fields)))
}

/// The store does not tell what is to become of it: the data loss of a plan does.
fn complete(applied: &Fields, attrs: &mut Fields) {
    if let Some(force) = applied.get("force_destroy") {
        attrs.insert("force_destroy".to_owned(), force.clone());
    }
}

fn data_loss(live: &Seen) -> Option<String> {
    here::lost(&live.attrs)
}
