//! Buckets of stores that are no site's: IBM's, Amazon's, MinIO, another Ceph. By S3, with keys of their own.
//!
//! No site lists them, so each is asked for where its fields say, by the keys that they name. Keys come and go; the bucket
//! is the same: a change of them is remembered, and no more. The id is the store's URL and the name.
//!
//! Invariants, besides those of [`super`]:
//! - One that cannot be looked at, because its keys are not made yet or are refused, is not taken for gone.
//! - Stores differ in what they can do. What one has not and nobody asked for is left alone; what somebody asked for is
//!   refused with what to do, and a bucket made a moment ago goes again where no stamp would tell whose it is.
//! - On an embedded cloud the site's own store stands in for every other one: nothing of a rehearsal is real.

#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use super::{CORS_ORIGINS, cors_rule, cors_value, destroy, is_ours, lost, seen, set_up};
use crate::cloud::{CloudError, Service, Session};
use crate::kinds::kind::{
    Claim, CloudKind, DerivedPart, FieldChange, Found, Kind, Mark, Mistake, OpCx, Place, Refused, Seen, Sides, Update,
    diff_fields, is_set, text,
};
use crate::kinds::metadata;
use crate::kinds::schema::{Field, Literal, NameRule, Schema, Type, attribute, field};
use crate::kinds::store_keys::{self, CREDENTIAL};
use crate::model::{Address, Fields, RemoteId, Stamp, StringMap, Value};
use crate::object::{
    BucketEntry, CorsRule, Keys, ObjectError, ObjectErrorKind, RetryPolicy, S3Config, Settings, SettingsChange, Store,
};

/// A bucket in a store of its own.
pub struct S3Bucket;

/// A plan does not wait long for a store that does not answer.
const PATIENCE: RetryPolicy =
    RetryPolicy { tries: 4, first_wait: Duration::from_millis(200), longest_wait: Duration::from_secs(2) };

/// The methods of a rule that names none.
const READING: [&str; 2] = ["GET", "HEAD"];

/// The longest value of a tag.
const LONGEST_TAG: usize = 256;

static METHODS: Type = Type::Enum(&["GET", "PUT", "POST", "DELETE", "HEAD"]);

static CORS: &[Field] = &[
    CORS_ORIGINS,
    field("methods", Type::Set(&METHODS), "What those pages may do; `GET` and `HEAD` where absent."),
    field("expose_headers", Type::List(&Type::Text), "Which headers of answers those pages may see."),
    field("max_age", Type::Duration, "How long browsers remember it."),
];

static SCHEMA: Schema = Schema {
    kind: "s3_bucket",
    section: "buckets",
    doc: "A bucket of a store that speaks S3 and is no site's. Protected unless `protect: false`.",
    fields: &[
        field(
            "name",
            Type::Text,
            "The name in the store. With many stores it is everybody's: nobody else may have it.",
        )
        .replace(),
        field(
            "endpoint",
            Type::Text,
            "Where the store speaks S3: `https://s3.us-south.cloud-object-storage.appdomain.cloud`.",
        )
        .required()
        .replace(),
        field(
            "region",
            Type::Text,
            "The region that requests are signed for; the keys' own where absent, or `us-east-1`.",
        )
        .record(),
        field("cacert", Type::File, "A file of certificates (PEM) to trust besides those of the system.").record(),
        field(
            "credential",
            Type::Short("name", CREDENTIAL),
            "The keys that open the store: a credential's name, or others.",
        )
        .required()
        .ignore(),
        field("versioning", Type::Bool, "Whether what is overwritten or deleted is kept as a version."),
        field(
            "metadata",
            Type::Map(&Type::Text),
            "Tags: keys and values of your own. Those that others set are left alone.",
        ),
        field(
            "acl",
            Type::Enum(&["private", "public-read"]),
            "Whether anybody may read and list it, or its owner only.",
        ),
        field("cors", Type::Struct(CORS), "Which sites' pages may use it from a browser."),
        field(
            "force_destroy",
            Type::Bool,
            "Whether it is deleted with all that it holds; if not, only once it is empty.",
        )
        .default(Literal::Bool(false))
        .record(),
        field(
            "auto_create",
            Type::Bool,
            "Whether it is made; `false` uses one that must be there, and never deletes it.",
        )
        .default(Literal::Bool(true))
        .ignore(),
        field("access_key", Type::Text, "The key's id.").internal().record().sensitive(),
        field("secret_key", Type::Text, "The key.").internal().record().sensitive(),
        field("session_token", Type::Text, "The token of keys that are lent for a time.")
            .internal()
            .record()
            .sensitive(),
        field("trusted", Type::Text, "The certificates, or nothing.").internal().record(),
    ],
    attributes: &[
        attribute("id", "The store's URL and the name.").stable(),
        attribute("objects", "How many objects it holds, where it is to be deleted with them and they are not many."),
        attribute("bytes", "How many bytes they have."),
    ],
    protect: true,
    lookup: false,
    name: NameRule::Required,
};

/// What a store refused: no site's service is to blame, so the store is named.
fn told(error: ObjectError) -> CloudError {
    let message = error.to_string();
    let said = super::cloud_error(error);
    CloudError {
        kind: said.kind,
        hint: said.hint,
        may_have_happened: said.may_have_happened,
        ..CloudError::config(message)
    }
}

fn id_of(endpoint: &str, name: &str) -> RemoteId {
    RemoteId(format!("{endpoint}/{name}"))
}

/// A tag's value takes letters, digits, blanks and `+-=._:/@`; of an address, brackets are none of these.
fn tag_of(stamp: &Stamp) -> String {
    let mut tag = String::new();
    for char in stamp.to_string().chars() {
        match char {
            '=' | '[' | ']' | '"' | '\'' | ',' => tag.push_str(&format!("={:02X}", u32::from(char))),
            other => tag.push(other),
        }
    }
    tag
}

/// The stamp that a tag holds.
fn stamp_of(tag: &str) -> Option<String> {
    let mut pieces = tag.split('=');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let code = u8::from_str_radix(piece.get(..2)?, 16).ok()?;
        text.push(char::from(code));
        text.push_str(piece.get(2..)?);
    }
    Some(text)
}

/// The settings with the stamp as it is elsewhere.
fn decoded(mut settings: Settings) -> Settings {
    let stamp = settings.metadata.get(Stamp::METADATA_KEY).and_then(|tag| stamp_of(tag));
    settings.metadata.extend(stamp.map(|stamp| (Stamp::METADATA_KEY.to_owned(), stamp)));
    settings
}

/// Why a store cannot be asked yet, or any more.
fn closed(fields: &Fields) -> Option<String> {
    for name in ["endpoint", "name", "access_key", "secret_key", "region"] {
        match fields.get(name) {
            Some(value) if value.expose().is_some_and(|text| !text.is_empty()) => {}
            Some(Value::Secret(_)) => return Some("its keys are not at hand any more".to_owned()),
            Some(Value::Unknown(address)) => return Some(format!("its `{name}` is known only once {address} is made")),
            _ => return Some(format!("its `{name}` is not known")),
        }
    }
    None
}

/// The store that the fields lead to.
fn open(session: &Session, fields: &Fields) -> Result<Store, CloudError> {
    if session.is_in_process() {
        session.endpoint(Service::ObjectStore).map_err(|_| {
            let endpoint = text(fields, "endpoint");
            CloudError::config(format!("no store of this embedded cloud can stand in for {endpoint}"))
                .hint("write `site:` with a site whose embedded cloud has one, such as `{ embedded: chameleon-chi }`")
        })?;
        return Store::swift(session).map_err(super::cloud_error);
    }
    if let Some(why) = closed(fields) {
        return Err(CloudError::config(format!("its store cannot be asked: {why}"))
            .hint("apply with the keys that the store has now, and try again"));
    }
    let endpoint = text(fields, "endpoint");
    let url = endpoint.parse().map_err(|_| CloudError::config(format!("`{endpoint}` is no store's URL")))?;
    let some = |name: &str| Some(text(fields, name)).filter(|text| !text.is_empty()).map(str::to_owned);
    let config = S3Config {
        endpoint: url,
        region: text(fields, "region").to_owned(),
        access_key: text(fields, "access_key").to_owned(),
        secret_key: SecretString::from(text(fields, "secret_key")),
        session_token: some("session_token").map(SecretString::from),
        trusted: some("trusted").map(String::into_bytes),
    };
    Store::s3(&config).map_err(told)
}

/// The bucket in the spec's words.
fn shown(fields: &Fields, settings: Settings) -> Seen {
    let (endpoint, name) = (text(fields, "endpoint"), text(fields, "name"));
    let settings = decoded(settings);
    let mut seen = seen(name, None, &settings);
    if let (Some(rule), Some(Value::Map(cors))) = (settings.cors.first(), seen.attrs.get_mut("cors")) {
        let mut methods = rule.methods.clone();
        methods.sort();
        if methods != READING && !methods.is_empty() {
            cors.insert("methods".to_owned(), Value::List(methods.into_iter().map(Value::String).collect()));
        }
    }
    placed(seen, endpoint, name)
}

fn placed(mut seen: Seen, endpoint: &str, name: &str) -> Seen {
    seen.id = id_of(endpoint, name);
    seen.attrs.insert("id".to_owned(), Value::text(seen.id.0.clone()));
    seen.attrs.insert("endpoint".to_owned(), Value::text(endpoint));
    seen
}

/// A rule with its methods.
fn rules(cors: &Value) -> Vec<CorsRule> {
    let methods = cors.as_map().and_then(|cors| cors.get("methods")).and_then(Value::as_list).unwrap_or_default();
    let methods: Vec<String> = methods.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    cors_rule(cors).into_iter().map(|rule| CorsRule { methods: methods.clone(), ..rule }).collect()
}

/// What is asked of a store besides the bucket, each apart: so it is told which of them it has not.
fn requests(change: SettingsChange) -> Vec<(&'static str, SettingsChange)> {
    let none = SettingsChange::default;
    let all = [
        ("metadata", SettingsChange { metadata: change.metadata, ..none() }),
        ("versioning", SettingsChange { versioning: change.versioning, ..none() }),
        ("acl", SettingsChange { acl: change.acl, ..none() }),
        ("cors", SettingsChange { cors: change.cors, ..none() }),
    ];
    all.into_iter().filter(|(_, change)| *change != none()).collect()
}

/// A store without tags, versions, grants or rules says so in one of these ways.
fn lacks(error: &ObjectError) -> bool {
    let code = error.parts().code.as_deref();
    error.kind() == ObjectErrorKind::Unsupported || code == Some("AccessControlListNotSupported")
}

fn without(field: &str, error: ObjectError) -> CloudError {
    if !lacks(&error) {
        return told(error);
    }
    let what = match field {
        "metadata" => "keeps no tags for buckets",
        "versioning" => "keeps no versions",
        "acl" => "takes no access control lists",
        _ => "has no CORS rules",
    };
    told(error.hint(format!("this store {what}: take `{field}` out of the bucket's block")))
}

/// What a new bucket is still to be changed in, to be as wanted.
fn missing(want: &Fields, found: &Settings) -> SettingsChange {
    let mut change =
        SettingsChange { cors: want.get("cors").filter(|cors| !cors.is_null()).map(rules), ..set_up(want) };
    change.versioning = change.versioning.filter(|versioning| *versioning != found.versioning);
    change.acl = change.acl.filter(|acl| *acl != found.acl);
    change.cors = change.cors.filter(|_| {
        let there = found.cors.first().map_or(Value::Null, cors_value);
        want.get("cors").is_some_and(|cors| !cors.same(&there))
    });
    change
}

/// Stamps a bucket and sets it up. Whether it carries the stamp, with what went wrong.
async fn fit(store: &Store, want: &Fields, stamp: &Stamp) -> (bool, Result<(), CloudError>) {
    let name = text(want, "name");
    let found = match store.settings(name).await {
        Ok(found) => found,
        Err(error) => return (false, Err(told(error))),
    };
    let mut tags = metadata::stamped(want, stamp);
    tags.insert(Stamp::METADATA_KEY.to_owned(), tag_of(stamp));
    let wants_tags = tags.len() > 1;
    let tags = tags.into_iter().map(|(key, value)| (key, Some(value))).collect();
    let mut stamped = true;
    match store.change_settings(name, &SettingsChange { metadata: tags, ..SettingsChange::default() }).await {
        Err(error) if lacks(&error) && !wants_tags => stamped = false,
        Err(error) => return (false, Err(without("metadata", error))),
        Ok(()) => {}
    }
    for (field, change) in requests(missing(want, &found)) {
        if let Err(error) = store.change_settings(name, &change).await {
            return (stamped, Err(without(field, error)));
        }
    }
    (stamped, Ok(()))
}

/// That a bucket may not be seen has two reasons: it is another's, or the keys are no good. A list of one's own tells.
async fn taken_or_shut(store: &Store, taken: ObjectError) -> CloudError {
    match store.buckets().await {
        Err(error) if matches!(error.kind(), ObjectErrorKind::Credentials) => told(error),
        _ => told(taken),
    }
}

impl Kind for S3Bucket {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&S3Bucket)
    }

    fn told_by(&self) -> Option<Mark> {
        Some(Mark::Field("endpoint"))
    }

    fn is_on_a_site(&self) -> bool {
        false
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        super::check_name(fields, mistakes);
        if let Some(Value::String(endpoint)) = fields.get_mut("endpoint") {
            store_keys::check_endpoint("endpoint", endpoint, mistakes);
            endpoint.truncate(endpoint.trim_end_matches('/').len());
        }
        if let Some(credential) = fields.get("credential").and_then(Value::as_map) {
            store_keys::check("credential", credential, true, mistakes);
        }
        metadata::check(fields, mistakes);
        for (key, value) in fields.get("metadata").and_then(Value::as_map).into_iter().flatten() {
            let long = value.as_str().is_some_and(|value| value.chars().count() > LONGEST_TAG);
            if long || !(1..=128).contains(&key.chars().count()) {
                let help = Some("a key has 1 to 128 characters, a value 256 at most".to_owned());
                let message = format!("the tag `{key}` does not fit");
                mistakes.push(Mistake { field: "metadata", message, help });
            }
        }
        if let Some(Value::Map(cors)) = fields.get_mut("cors") {
            let methods = cors.get("methods").and_then(Value::as_list).unwrap_or_default();
            if methods.iter().filter_map(Value::as_str).eq(READING) {
                cors.remove("methods");
            }
        }
    }

    fn derive(&self, _: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        store_keys::open(fields);
        // Whoever refers to it finds one, whether the spec names one or not.
        let trusted = fields.get("cacert").cloned().unwrap_or_else(|| Value::text(""));
        fields.insert("trusted".to_owned(), trusted);
        Vec::new()
    }

    fn claim(&self, fields: &Fields) -> Option<Claim> {
        let must_exist = fields.get("auto_create").and_then(Value::as_bool) == Some(false);
        let name = fields.get("name").and_then(Value::as_str)?;
        // Where the store is not known yet, no id is this: it is there or it is not, but it is not made.
        let endpoint = fields.get("endpoint").and_then(Value::as_str);
        let id = endpoint.map_or_else(|| name.to_owned(), |endpoint| id_of(endpoint, name).0);
        must_exist.then(|| Claim { field: "id", value: Value::text(id), or_create: false })
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_fields(&SCHEMA, sides);
        changes.retain(|change| change.field != "metadata");
        changes.extend(metadata::diff(sides));
        Ok(changes)
    }

    fn complete(&self, applied: &Fields, attrs: &mut Fields) {
        if let Some(force) = applied.get("force_destroy") {
            attrs.insert("force_destroy".to_owned(), force.clone());
        }
    }

    /// Another endpoint is another place, and other keys may open nothing there.
    fn way_to(&self, recorded: &Fields, wanted: &Fields) -> Fields {
        let mut way = recorded.clone();
        let keys = ["access_key", "secret_key"].map(|name| wanted.get(name).is_some_and(Value::is_known));
        if keys == [true, true] && wanted.get("endpoint") == recorded.get("endpoint") {
            for name in ["access_key", "secret_key", "session_token", "region", "trusted"] {
                match wanted.get(name).filter(|value| value.is_known()) {
                    Some(value) => way.insert(name.to_owned(), value.clone()),
                    None => way.remove(name),
                };
            }
        }
        way
    }

    fn data_loss(&self, live: &Seen) -> Option<String> {
        let counted = live.attrs.contains_key("objects");
        let goes = is_set(&live.attrs, "force_destroy");
        if counted { lost(live) } else { goes.then(|| format!("bucket `{}` with all that it holds", live.name)) }
    }
}

#[async_trait]
impl CloudKind for S3Bucket {
    fn service(&self) -> Service {
        Service::ObjectStore
    }

    fn gone_when_deleted(&self) -> bool {
        true
    }

    fn is_unlisted(&self) -> bool {
        true
    }

    async fn find(&self, session: &Session, fields: &Fields) -> Result<Found, CloudError> {
        if !session.is_in_process()
            && let Some(why) = closed(fields)
        {
            return Ok(Found::Hidden(why));
        }
        let store = open(session, fields)?.with_retries(PATIENCE);
        let name = text(fields, "name");
        let mut seen = match store.settings(name).await {
            Ok(settings) => shown(fields, settings),
            Err(error) if error.is_not_found() => return Ok(Found::Nowhere),
            Err(error) if error.kind() == ObjectErrorKind::Denied && store.has_bucket(name).await.is_ok() => {
                // Keys that may use it and not see how it is set up.
                let entry = BucketEntry { name: name.to_owned(), created: None, objects: None, bytes: None };
                placed(super::listed(&entry), text(fields, "endpoint"), name)
            }
            Err(error) if matches!(error.kind(), ObjectErrorKind::Denied | ObjectErrorKind::Credentials) => {
                return Ok(Found::Hidden(error.to_string()));
            }
            Err(error) => return Err(told(error)),
        };
        if is_set(fields, "force_destroy") && !seen.attrs.contains_key("objects") {
            let page = store.list_page(name, &Keys::default()).await.map_err(told)?;
            if !page.more {
                let bytes = page.objects.iter().map(|entry| entry.size).sum();
                let counts = [("objects", page.objects.len() as u64), ("bytes", bytes)];
                let told =
                    counts.into_iter().filter_map(|(name, count)| Some((name.to_owned(), super::count(Some(count))?)));
                seen.attrs.extend(told);
            }
        }
        Ok(Found::Here(Box::new(seen)))
    }

    async fn list(&self, _: &Session) -> Result<Vec<Seen>, CloudError> {
        Ok(Vec::new())
    }

    async fn read(&self, _: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Err(CloudError::config(format!("{id} is asked for by its fields, not by its id")))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let store = open(cx.session, want)?;
        let (endpoint, name) = (text(want, "endpoint"), text(want, "name"));
        let is_new = match store.create_bucket(name, &[]).await {
            Ok(()) => true,
            Err(error) if error.kind() == ObjectErrorKind::AlreadyYours => {
                let found = decoded(store.settings(name).await.map_err(told)?);
                if !is_ours(&found, cx.stamp) {
                    let hint = format!(
                        "write `adopt: {name}` to manage it, `auto_create: false` to use it as it is, or choose another \
                         name; `anole import {} {name}` makes it this stack's own",
                        cx.address
                    );
                    return Err(told(error.hint(hint)));
                }
                false
            }
            Err(error) if error.kind() == ObjectErrorKind::Taken => return Err(taken_or_shut(&store, error).await),
            Err(error) => return Err(told(error)),
        };
        match fit(&store, want, cx.stamp).await {
            (_, Ok(())) => Ok(id_of(endpoint, name)),
            // The next apply finds it by its stamp, and goes on.
            (true, Err(error)) => Err(error),
            (false, Err(mut error)) => {
                if is_new && let Err(left) = store.delete_bucket(name).await {
                    error.message.push_str(&format!("; and the new bucket was not deleted again: {left}"));
                }
                Err(error)
            }
        }
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        let changed: Fields =
            update.changes.iter().map(|change| (change.field.clone(), change.after.clone())).collect();
        let cors = changed.get("cors").filter(|cors| !cors.is_null()).map(rules);
        let mut change = SettingsChange { cors, ..set_up(&changed) };
        if changed.contains_key("metadata") {
            let (set, gone): (StringMap, Vec<String>) = metadata::edits(update);
            let set = set.into_iter().map(|(key, value)| (key, Some(value)));
            change.metadata = set.chain(gone.into_iter().map(|key| (key, None))).collect();
        }
        let store = open(cx.session, update.want)?;
        for (field, change) in requests(change) {
            store.change_settings(text(update.want, "name"), &change).await.map_err(|error| without(field, error))?;
        }
        Ok(())
    }

    async fn delete(&self, cx: &OpCx<'_>, _: &RemoteId) -> Result<(), CloudError> {
        let store = open(cx.session, cx.recorded)?;
        destroy(&store, text(cx.recorded, "name"), cx).await.map_err(told)
    }
}
