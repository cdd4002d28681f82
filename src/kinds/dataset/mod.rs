//! Datasets: fetched, transformed and loaded into a bucket, by [`crate::dataset`].
//!
//! Two kinds of one section, which differ in where a dataset is made: on this machine ([`HERE`]) or on a server
//! ([`ON_SERVER`]), told apart by the field `server`. No service lists them: the state says what was loaded, and the bucket,
//! looked at by every plan, whether it is there still.
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
//! - It is loaded again where the spec describes it otherwise, or where a look (`look`) says of `content` that it is not as
//!   it was loaded; for no other reason.

mod delivery;
mod here;
mod look;
mod on_server;
mod table;
#[cfg(test)]
mod tests;

use url::Url;

use super::guest::GuestWords;
use super::kind::{
    DerivedPart, Effect, FieldChange, Kind, Mark, Mistake, Place, Refused, Seen, Sides, Spot, diff_fields, is_set, text,
};
use super::look::Looker;
use super::schema::Schema;
use super::store_keys::{self, attribute_of, named};
use crate::dataset::text::{bytes, thousands};
use crate::model::{Address, Fields, Value};

/// What `content` holds when all is well.
const WHOLE: &str = "whole, with its manifest";

/// The attribute with what the last load recorded.
const RECORDED: &str = "recorded";

/// The fields that say where a source is: each source has one of them.
const ORIGINS: [&str; 4] = ["url", "path", "bucket", "dataset"];

/// What a dataset that reads another one takes of it: all that its objects are made of.
const RECIPE: [&str; 7] = ["sources", "source_keys", "read_from", "extract", "transform", "limits", "staging_at"];

/// What the types do not show.
fn check(fields: &Fields, mistakes: &mut Vec<Mistake>) {
    let (one, several) = (fields.get("source"), fields.get("sources"));
    if one.is_some() == several.is_some() {
        mistakes.push(Mistake::new(
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
        mistakes.push(Mistake::new("sources", "there is no source", "write at least one"));
    }
    for one in fields.get("transform").and_then(Value::as_list).unwrap_or_default() {
        check_transform(one, mistakes);
    }
    if let Some(load) = fields.get("load").and_then(Value::as_map) {
        store_keys::check_bucket(["load"; 2], load, mistakes);
        let prefix = text(load, "prefix");
        if prefix.split('/').any(|part| part == ".anole" || part == ".." || part == ".") || prefix.starts_with('/') {
            let help = "a prefix is such as `Food-11`; what is below it is the dataset";
            mistakes.push(Mistake::new("load", format!("`{prefix}` can be no dataset's prefix"), help));
        }
    }
}

/// One transform, as far as it is known.
fn check_transform(one: &Value, mistakes: &mut Vec<Mistake>) {
    if one.as_map().is_some_and(|one| one.len() != 1) {
        let help = "each item is one of class_folders, split, webdataset, command: `- class_folders: { … }`";
        mistakes.push(Mistake::new("transform", "an item of it is not one transform", help));
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
        mistakes.push(Mistake::new(field, format!("a source is in one place: this one has {found}"), help));
        return;
    };
    let belongs = |key: &str| match key {
        "mirrors" | "sha256" | "size" => *origin == "url",
        "prefix" | "credential" => *origin == "bucket",
        _ => true,
    };
    if let Some(stranger) = source.keys().find(|key| !belongs(key)) {
        let help = "`mirrors`, `sha256` and `size` are of a `url`; `prefix` and `credential` of a `bucket`";
        mistakes.push(Mistake::new(field, format!("`{stranger}` says nothing of a source by `{origin}`"), help));
    }
    let known = |key: &str| source.get(key).and_then(Value::as_str);
    let is_url = |url: &str| Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "file"));
    if let Some(url) = known("url").filter(|url| !is_url(url)) {
        let help = "a URL is `https://…`, `http://…` or `file:///…`; a path is written `source: { path: ./data }`";
        mistakes.push(Mistake::new(field, format!("`{url}` is no URL"), help));
    }
    let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(sha256) = known("sha256").filter(|sha256| !is_digest(sha256)) {
        let help = "`sha256sum FILE` prints it: 64 digits and letters from a to f";
        mistakes.push(Mistake::new(field, format!("`{sha256}` is no SHA-256"), help));
    }
    if *origin == "bucket" {
        store_keys::check_bucket([field; 2], source, mistakes);
    }
}

/// That a server has keys for what it reads.
fn check_opened(fields: &Fields, mistakes: &mut Vec<Mistake>) {
    let several = fields.get("sources").and_then(Value::as_list).unwrap_or_default();
    let all =
        fields.get("source").map(|one| ("source", one)).into_iter().chain(several.iter().map(|one| ("sources", one)));
    for (field, source) in all.filter_map(|(field, source)| Some((field, source.as_map()?))) {
        let is_closed = source.contains_key("bucket") && !source.contains_key("credential");
        if is_closed && store_keys::placed(source).is_none() {
            let help = "a server is not signed in to the site: name an EC2 credential, `{ bucket: …, credential: s3 }`";
            mistakes.push(Mistake::new(field, "a bucket that a server reads needs a `credential`", help));
        }
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
        let other = named(source.get("dataset")).map(|(other, _)| other.clone());
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

/// Puts a bucket's name in place of what names it, and takes what opens its store out.
fn opened(fields: &mut Fields) -> Fields {
    let of_store = ["bucket", "credential"].into_iter().filter_map(|name| fields.remove_entry(name));
    let mut keys: Fields = of_store.collect();
    let name = store_keys::open(&mut keys);
    fields.extend(name.map(|name| ("bucket".to_owned(), name)));
    keys
}

/// Where a dataset is, for people.
fn location(fields: &Fields) -> String {
    match (text(fields, "bucket"), text(fields, "prefix").trim_matches('/')) {
        (bucket, "") => format!("s3://{bucket}"),
        (bucket, prefix) => format!("s3://{bucket}/{prefix}"),
    }
}

/// A dataset that is made here, or on a server.
pub struct Dataset {
    on_server: bool,
}

/// Datasets that are made on this machine.
pub static HERE: Dataset = Dataset { on_server: false };

/// Datasets that are made on a server, beside the data.
pub static ON_SERVER: Dataset = Dataset { on_server: true };

impl Kind for Dataset {
    fn schema(&self) -> &'static Schema {
        if self.on_server { &table::ON_SERVER } else { &table::LOCAL }
    }

    fn place(&self) -> Place {
        if self.on_server { Place::Guest(&ON_SERVER) } else { Place::Local(&HERE) }
    }

    fn told_by(&self) -> Option<Mark> {
        self.on_server.then_some(Mark::Field("server"))
    }

    /// Where a dataset is made is no part of what it is.
    fn takes_over(&self, recorded: &str) -> bool {
        [&HERE, &ON_SERVER].iter().any(|kind| kind.schema().kind == recorded)
    }

    fn looker(&self) -> Option<&'static dyn Looker> {
        Some(if self.on_server { &ON_SERVER } else { &HERE })
    }

    /// The sign-in that opens its bucket is that of the bucket's site; on a server there is none.
    fn stands_with(&self) -> Option<&'static str> {
        (!self.on_server).then_some("bucket")
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        check(fields, mistakes);
        let load = fields.get("load").and_then(Value::as_map).filter(|_| self.on_server);
        if load.is_some_and(|load| !load.contains_key("credential") && store_keys::placed(load).is_none()) {
            let help = "a server is not signed in to the site: name an EC2 credential, `load: { …, credential: s3 }`";
            mistakes.push(Mistake::new("load", "a load from a server needs a `credential`", help));
        }
        if self.on_server {
            check_opened(fields, mistakes);
        }
    }

    fn derive(&self, _: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        derive(fields);
        Vec::new()
    }

    /// A store by its address, or the site's own, which has none here: one that comes or goes is another store, though a field
    /// that is not there says nothing elsewhere.
    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_fields(self.schema(), sides);
        for (name, effect) in [("endpoint", Effect::Replace), ("session_token", Effect::Record)] {
            let none = || Value::text("");
            let is_none = |value: &Value| value.is_null() || value.as_str() == Some("");
            let of = |fields: &Fields| fields.get(name).filter(|value| !is_none(value)).cloned();
            let (before, after) = match (of(sides.applied), of(sides.want)) {
                (Some(before), None) => (before, none()),
                (None, Some(after)) => (none(), after),
                _ => continue,
            };
            changes.retain(|change| change.field != name);
            changes.push(FieldChange { field: name.to_owned(), before, after, effect, note: None });
        }
        Ok(changes)
    }

    /// Where it is, once its bucket is known; with the store's address where that is no site's own.
    fn occupies(&self, fields: &Fields) -> Vec<Spot> {
        if fields.get("bucket").and_then(Value::as_str).is_none() {
            return Vec::new();
        }
        let store = match text(fields, "endpoint") {
            "" => String::new(),
            endpoint => format!(" of {endpoint}"),
        };
        let place = format!("{}{store}", location(fields));
        vec![Spot { place, of_site: true, both: "are both at", help: "give each a prefix of its own" }]
    }

    /// The store does not tell what is to become of it: the data loss of a plan does.
    fn complete(&self, applied: &Fields, attrs: &mut Fields) {
        if let Some(force) = applied.get("force_destroy") {
            attrs.insert("force_destroy".to_owned(), force.clone());
        }
    }

    fn data_loss(&self, live: &Seen) -> Option<String> {
        let number = |key: &str| {
            let number = live.attrs.get(key).and_then(Value::as_int);
            number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
        };
        let objects = number("objects");
        (is_set(&live.attrs, "force_destroy") && objects > 0).then(|| {
            let (noun, place) = (if objects == 1 { "object" } else { "objects" }, text(&live.attrs, "location"));
            format!("{} {noun} of {place}, {} in all", thousands(objects), bytes(number("bytes")))
        })
    }
}

/// What is said of datasets.
static WORDS: GuestWords = GuestWords {
    make: "load",
    again: "load again",
    unmake: "delete",
    making: "loading",
    made: "loaded",
    unmaking: "removing",
    unmade: "removed",
    forget: "forget, leave its objects in the bucket",
    change: ("load again", "loading", "loaded"),
};
