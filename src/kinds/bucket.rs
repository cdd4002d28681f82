//! Buckets of a site's object store, where data lives that servers of any site use. Protected unless the spec says
//! otherwise.
//!
//! By Swift's API with the site's token, which Swift and Ceph's gateway both have: no keys are needed that would first
//! have to be made. What is made so is a bucket by S3 too. A store that is no site's is [`s3`]'s.
//!
//! Invariants:
//! - A bucket that holds anything is deleted only with `force_destroy`, and the plan says what goes.
//! - One that is there already is never taken silently: it is `adopt`ed, or used with `auto_create: false`, and then never
//!   deleted. One that somebody else has is told from one that is this project's.
//! - The stamp is one key of the metadata; other people's keys are left alone.

pub mod s3;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::kind::{
    Claim, CloudKind, FieldChange, Kind, Mistake, OpCx, Place, Refused, Seen, Sides, Update, diff_fields, is_set,
};
use super::metadata;
use super::schema::{Field, Literal, NameRule, Schema, Type, attribute, field};
use crate::cloud::{CloudError, ErrorKind, Service, Session};
use crate::dataset::text;
use crate::model::{Fields, RemoteId, Stamp, Value};
use crate::object::{Acl, BucketEntry, CorsRule, ObjectError, ObjectErrorKind, Settings, SettingsChange, Store};

/// A bucket.
pub struct Bucket;

/// A list of so many buckets is looked at in detail; of a longer one only those that are in the state.
const DETAILED: usize = 32;

/// How many buckets are looked at side by side.
const SIDE_BY_SIDE: usize = 8;

const CORS_ORIGINS: Field =
    field("origins", Type::List(&Type::Text), "The sites whose pages may use it: `https://example.org`, or `*`.")
        .required();

static CORS: &[Field] = &[
    CORS_ORIGINS,
    field("expose_headers", Type::List(&Type::Text), "Which headers of answers those pages may see."),
    field("max_age", Type::Duration, "How long browsers remember it."),
];

static SCHEMA: Schema = Schema {
    kind: "bucket",
    section: "buckets",
    doc: "A bucket of the site's object store. Protected unless `protect: false`.",
    fields: &[
        field(
            "name",
            Type::Text,
            "The name in the store. With many stores it is everybody's: nobody else may have it.",
        )
        .replace(),
        field("versioning", Type::Bool, "Whether what is overwritten or deleted is kept as a version."),
        field("metadata", Type::Map(&Type::Text), "Keys and values of your own. Keys that others set are left alone."),
        field(
            "acl",
            Type::Enum(&["private", "public-read"]),
            "Whether anybody may read and list it, or its project only.",
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
    ],
    attributes: &[
        attribute("id", "Its name.").stable(),
        attribute("objects", "How many objects it holds."),
        attribute("bytes", "How many bytes they have."),
    ],
    protect: true,
    lookup: false,
    name: NameRule::Required,
};

/// What an object store refused, as the services' errors are told.
fn cloud_error(error: ObjectError) -> CloudError {
    let parts = error.parts();
    let kind = match parts.kind {
        ObjectErrorKind::NotFound => ErrorKind::NotFound,
        ObjectErrorKind::Taken | ObjectErrorKind::AlreadyYours | ObjectErrorKind::NotEmpty => ErrorKind::Conflict,
        ObjectErrorKind::Denied => ErrorKind::Forbidden,
        ObjectErrorKind::Credentials => ErrorKind::Unauthorized,
        ObjectErrorKind::Quota => ErrorKind::Quota,
        ObjectErrorKind::Unsupported => ErrorKind::NoService,
        ObjectErrorKind::Unavailable => ErrorKind::Unavailable,
        ObjectErrorKind::Connection | ObjectErrorKind::Tls => ErrorKind::Connection,
        ObjectErrorKind::Precondition | ObjectErrorKind::BadRequest => ErrorKind::BadRequest,
        ObjectErrorKind::Mismatch | ObjectErrorKind::Local | ObjectErrorKind::Unexpected => ErrorKind::Unexpected,
    };
    CloudError {
        kind,
        service: Some(Service::ObjectStore),
        request: parts.request.clone().into(),
        status: parts.status,
        code: parts.code.clone(),
        request_id: parts.request_id.clone(),
        hint: parts.hint.clone(),
        may_have_happened: parts.may_have_happened,
        ..CloudError::config(parts.message.clone())
    }
}

fn store(session: &Session) -> Result<Store, CloudError> {
    session.endpoint(Service::ObjectStore)?;
    Store::swift(session).map_err(cloud_error)
}

fn count(number: Option<u64>) -> Option<Value> {
    number.and_then(|number| i64::try_from(number).ok()).map(Value::Int)
}

/// A bucket as the list shows it.
fn listed(entry: &BucketEntry) -> Seen {
    let name = Value::text(entry.name.clone());
    let mut attrs = Fields::from([("id".to_owned(), name.clone()), ("name".to_owned(), name)]);
    attrs.extend(count(entry.objects).map(|objects| ("objects".to_owned(), objects)));
    attrs.extend(count(entry.bytes).map(|bytes| ("bytes".to_owned(), bytes)));
    Seen {
        id: RemoteId(entry.name.clone()),
        name: entry.name.clone(),
        attrs,
        status: String::new(),
        fault: None,
        stamp: None,
        user_id: None,
        created_at: entry.created,
    }
}

/// A bucket with how it is set up.
fn seen(name: &str, created: Option<Timestamp>, settings: &Settings) -> Seen {
    let (own, stamp) = metadata::split(&settings.metadata);
    let entry = BucketEntry { name: name.to_owned(), created, objects: settings.objects, bytes: settings.bytes };
    let mut seen = listed(&entry);
    let acl = match settings.acl {
        Acl::Private => "private",
        Acl::PublicRead => "public-read",
        Acl::Other => "other",
    };
    seen.attrs.insert("versioning".to_owned(), Value::Bool(settings.versioning));
    seen.attrs.insert("acl".to_owned(), Value::text(acl));
    seen.attrs.insert("metadata".to_owned(), own);
    seen.attrs.insert("cors".to_owned(), settings.cors.first().map_or(Value::Null, cors_value));
    seen.stamp = stamp;
    seen
}

fn cors_value(rule: &CorsRule) -> Value {
    let texts = |list: &[String]| Value::List(list.iter().map(|text| Value::text(text.clone())).collect());
    let mut fields = Fields::from([("origins".to_owned(), texts(&rule.origins))]);
    if !rule.expose_headers.is_empty() {
        fields.insert("expose_headers".to_owned(), texts(&rule.expose_headers));
    }
    fields.extend(rule.max_age.map(|age| ("max_age".to_owned(), Value::Int(age.into()))));
    Value::Map(fields)
}

fn cors_rule(value: &Value) -> Vec<CorsRule> {
    let Some(fields) = value.as_map() else { return Vec::new() };
    let texts = |key: &str| {
        let list = fields.get(key).and_then(Value::as_list).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    vec![CorsRule {
        origins: texts("origins"),
        methods: Vec::new(),
        expose_headers: texts("expose_headers"),
        max_age: fields.get("max_age").and_then(Value::as_int).and_then(|age| u32::try_from(age).ok()),
    }]
}

/// What of these fields a bucket is set up with.
fn set_up(fields: &Fields) -> SettingsChange {
    SettingsChange {
        versioning: fields.get("versioning").and_then(Value::as_bool),
        metadata: Vec::new(),
        acl: fields.get("acl").and_then(Value::as_str).and_then(|acl| match acl {
            "private" => Some(Acl::Private),
            "public-read" => Some(Acl::PublicRead),
            _ => None,
        }),
        cors: fields.get("cors").filter(|cors| !cors.is_null()).map(cors_rule),
    }
}

/// Why a name cannot be a bucket's: the rules that S3 and Swift share. Ceph makes no others by S3.
fn why_no_name(name: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let bytes = name.as_bytes();
    match bytes {
        _ if !(3..=63).contains(&bytes.len()) => Some("a bucket's name has 3 to 63 characters"),
        _ if !bytes.iter().copied().all(allowed) => Some("a bucket's name is lower-case letters, digits, `-` and `.`"),
        [b'-' | b'.', ..] | [.., b'-' | b'.'] => Some("a bucket's name starts and ends with a letter or a digit"),
        _ => None,
    }
}

/// Whether a bucket that is there is the one that this very resource made before: by an apply that was interrupted.
fn is_ours(found: &Settings, stamp: &Stamp) -> bool {
    let there = found.metadata.get(Stamp::METADATA_KEY).and_then(|text| text.parse::<Stamp>().ok());
    there.is_some_and(|there| there.lineage == stamp.lineage && there.address == stamp.address)
}

/// Reports a name that a new bucket cannot have; one that is there may have any.
fn check_name(fields: &Fields, mistakes: &mut Vec<Mistake>) {
    let is_there = fields.get("auto_create").and_then(Value::as_bool) == Some(false);
    if let Some(name) = fields.get("name").and_then(Value::as_str)
        && let Some(why) = why_no_name(name)
        && !is_there
    {
        let message = format!("`{name}` is no bucket's name");
        mistakes.push(Mistake { field: "name", message, help: Some(why.into()) });
    }
}

/// What goes with a bucket that is to be deleted with all that it holds.
fn lost(live: &Seen) -> Option<String> {
    let number = |key: &str| {
        let number = live.attrs.get(key).and_then(Value::as_int);
        number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
    };
    let (objects, bytes) = (number("objects"), text::bytes(number("bytes")));
    let goes = is_set(&live.attrs, "force_destroy") && (objects > 0 || is_set(&live.attrs, "versioning"));
    let noun = if objects == 1 { "object" } else { "objects" };
    goes.then(|| format!("bucket `{}` with {} {noun}, {bytes} in all", live.name, text::thousands(objects)))
}

/// Deletes a bucket, with all that it holds where its block says so.
async fn destroy(store: &Store, name: &str, cx: &OpCx<'_>) -> Result<(), ObjectError> {
    if is_set(cx.recorded, "force_destroy") {
        let tell = |gone: crate::object::Emptied| (cx.tell)(format!("{} objects deleted", gone.objects));
        store.destroy_bucket(name, &tell).await?;
        return Ok(());
    }
    match store.delete_bucket(name).await {
        Err(error) if error.kind() == ObjectErrorKind::NotEmpty => Err(error
            .hint("it holds objects: delete them, or write `force_destroy: true` in its block, apply, and try again")),
        other => other,
    }
}

impl Kind for Bucket {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Bucket)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        metadata::check(fields, mistakes);
        check_name(fields, mistakes);
        for key in fields.get("metadata").and_then(Value::as_map).into_iter().flat_map(Fields::keys) {
            if !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
                let help = "a bucket's metadata are headers: write lower-case letters, digits and `-`".to_owned();
                let message = format!("`{key}` cannot be a key of a bucket's metadata");
                mistakes.push(Mistake { field: "metadata", message, help: Some(help) });
            }
        }
    }

    fn claim(&self, fields: &Fields) -> Option<Claim> {
        let must_exist = fields.get("auto_create").and_then(Value::as_bool) == Some(false);
        let name = fields.get("name").filter(|name| name.is_known() && !name.is_null())?;
        must_exist.then(|| Claim { field: "name", value: name.clone(), or_create: false })
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_fields(&SCHEMA, sides);
        changes.retain(|change| change.field != "metadata");
        changes.extend(metadata::diff(sides));
        Ok(changes)
    }

    /// The store does not tell what is to become of it: the data loss of a plan does.
    fn complete(&self, applied: &Fields, attrs: &mut Fields) {
        if let Some(force) = applied.get("force_destroy") {
            attrs.insert("force_destroy".to_owned(), force.clone());
        }
    }

    fn data_loss(&self, live: &Seen) -> Option<String> {
        lost(live)
    }

    /// A list shows only names and counts.
    fn is_unexplained(&self, seen: &Seen) -> bool {
        !seen.attrs.contains_key("metadata")
    }
}

#[async_trait]
impl CloudKind for Bucket {
    fn service(&self) -> Service {
        Service::ObjectStore
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn gone_when_deleted(&self) -> bool {
        true
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        let store = store(session)?;
        let entries = store.buckets().await.map_err(cloud_error)?;
        if entries.len() > DETAILED {
            return Ok(entries.iter().map(listed).collect());
        }
        let looks = futures_util::stream::iter(entries).map(|entry| {
            let store = &store;
            async move {
                match store.settings(&entry.name).await {
                    Ok(settings) => Ok(Some(seen(&entry.name, entry.created, &settings))),
                    // Somebody deleted it between the two requests.
                    Err(error) if error.is_not_found() => Ok(None),
                    Err(error) => Err(cloud_error(error)),
                }
            }
        });
        let seen: Vec<Option<Seen>> = looks.buffered(SIDE_BY_SIDE).try_collect().await?;
        Ok(seen.into_iter().flatten().collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        match store(session)?.settings(&id.0).await {
            Ok(settings) => Ok(Some(seen(&id.0, None, &settings))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(cloud_error(error)),
        }
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let store = store(cx.session)?;
        let name = want.get("name").and_then(Value::as_str).unwrap_or_default();
        let stamped: Vec<_> = metadata::stamped(want, cx.stamp).into_iter().collect();
        match store.create_bucket(name, &stamped).await {
            Err(error) if error.kind() == ObjectErrorKind::AlreadyYours => {
                if !is_ours(&store.settings(name).await.map_err(cloud_error)?, cx.stamp) {
                    let hint = format!(
                        "write `adopt: {name}` to manage it, `auto_create: false` to use it as it is, or choose another name"
                    );
                    return Err(cloud_error(error.hint(hint)));
                }
                let again = stamped.into_iter().map(|(key, value)| (key, Some(value))).collect();
                let change = SettingsChange { metadata: again, ..SettingsChange::default() };
                store.change_settings(name, &change).await.map_err(cloud_error)?;
            }
            other => other.map_err(cloud_error)?,
        }
        let change = set_up(want);
        if change != SettingsChange::default() {
            store.change_settings(name, &change).await.map_err(cloud_error)?;
        }
        Ok(RemoteId(name.to_owned()))
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        let changed: Fields =
            update.changes.iter().map(|change| (change.field.clone(), change.after.clone())).collect();
        let mut change = set_up(&changed);
        if changed.contains_key("metadata") {
            let (set, gone) = metadata::edits(update);
            let set = set.into_iter().map(|(key, value)| (key, Some(value)));
            change.metadata = set.chain(gone.into_iter().map(|key| (key, None))).collect();
        }
        if change == SettingsChange::default() {
            return Ok(());
        }
        store(cx.session)?.change_settings(&update.id.0, &change).await.map_err(cloud_error)
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        destroy(&store(cx.session)?, &id.0, cx).await.map_err(cloud_error)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Effect;
    use super::*;
    use crate::model::StringMap;

    fn fields(pairs: &[(&str, Value)]) -> Fields {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    fn settings() -> Settings {
        let stamp = "anole/1 00 11 s 22 buckets.food11".to_owned();
        Settings {
            versioning: false,
            metadata: StringMap::from([("anole".into(), stamp), ("course".into(), "mlops".into())]),
            acl: Acl::Private,
            cors: vec![CorsRule { origins: vec!["*".into()], max_age: Some(60), ..CorsRule::default() }],
            objects: Some(3),
            bytes: Some(4096),
        }
    }

    fn mistakes(pairs: &[(&str, Value)]) -> Vec<String> {
        let mut mistakes = Vec::new();
        Bucket.check(&mut fields(pairs), &mut mistakes);
        mistakes.into_iter().map(|mistake| mistake.message).collect()
    }

    #[test]
    fn what_the_store_answers_is_told_in_the_specs_words_and_is_no_difference() {
        let live = seen("food11", None, &settings());
        assert_eq!(live.stamp.as_ref().map(|stamp| stamp.address.to_string()).as_deref(), Some("buckets.food11"));
        let cors = Value::Map(fields(&[("origins", Value::List(vec!["*".into()])), ("max_age", Value::Int(60))]));
        let want = fields(&[
            ("name", "food11".into()),
            ("acl", "private".into()),
            ("cors", cors),
            ("metadata", Value::Map(fields(&[("course", "mlops".into())]))),
        ]);
        let sides = Sides { want: &want, applied: &want, live: &live.attrs, now: Timestamp::UNIX_EPOCH };
        assert_eq!(Bucket.diff(&sides), Ok(vec![]));
        let other = fields(&[("name", "other".into()), ("versioning", Value::Bool(true))]);
        let changes = Bucket.diff(&Sides { want: &other, ..sides }).unwrap();
        let effects: Vec<_> = changes.iter().map(|change| (change.field.as_str(), change.effect)).collect();
        assert_eq!(effects, [("name", Effect::Replace), ("versioning", Effect::Update)]);
    }

    #[test]
    fn data_is_lost_only_where_it_is_said_to_go() {
        let mut live = seen("food11", None, &settings());
        assert_eq!(Bucket.data_loss(&live), None, "the store refuses to delete it");
        Bucket.complete(&fields(&[("force_destroy", Value::Bool(true))]), &mut live.attrs);
        assert_eq!(Bucket.data_loss(&live).as_deref(), Some("bucket `food11` with 3 objects, 4.0 KiB in all"));
        live.attrs.insert("objects".into(), Value::Int(0));
        assert_eq!(Bucket.data_loss(&live), None);
    }

    #[test]
    fn names_and_keys_that_cannot_be_are_told() {
        for name in ["ab", "Food", "a_b", "-ab", "ab.", "a b"] {
            assert_eq!(mistakes(&[("name", name.into())]).len(), 1, "{name}");
        }
        assert!(mistakes(&[("name", "object-chi-net1.0".into())]).is_empty());
        assert!(
            mistakes(&[("name", "UPPER_x".into()), ("auto_create", Value::Bool(false))]).is_empty(),
            "it may be there"
        );
        let keys = Value::Map(fields(&[("Course", "x".into()), ("a_b", "x".into()), ("fine-1", "x".into())]));
        assert_eq!(mistakes(&[("metadata", keys)]).len(), 2);
    }

    #[test]
    fn one_that_must_be_there_is_claimed() {
        let want = fields(&[("name", "food11".into()), ("auto_create", Value::Bool(false))]);
        let claim = Bucket.claim(&want).unwrap();
        assert_eq!((claim.field, claim.or_create), ("name", false));
        assert_eq!(Bucket.claim(&fields(&[("name", "food11".into()), ("auto_create", Value::Bool(true))])), None);
    }

    #[test]
    fn only_what_this_resource_made_is_taken_after_an_interruption() {
        let stamp = |text: &str| text.parse::<Stamp>().unwrap();
        assert!(is_ours(&settings(), &stamp("anole/1 00 11 s 99 buckets.food11")), "an earlier try's");
        assert!(!is_ours(&settings(), &stamp("anole/1 00 11 s 22 buckets.other")));
        assert!(!is_ours(&settings(), &stamp("anole/1 ff 11 s 22 buckets.food11")));
        assert!(!is_ours(
            &Settings { metadata: StringMap::new(), ..settings() },
            &stamp("anole/1 00 11 s 22 buckets.food11")
        ));
    }
}
