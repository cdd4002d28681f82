//! From a dataset's flat, bound fields to a [`Delivery`].
//!
//! Everything that a spec says of a transform is the JSON of [`crate::dataset::Job`] by its names; here sources get their
//! keys, and downloads the digests that were recorded. Pure.

use std::path::PathBuf;

use serde_json::{Value as Json, json};
use url::Url;

use super::RECORDED;
use crate::dataset::delivery::{Delivery, Keys, Load};
use crate::dataset::job::{Hidden, Origin};
use crate::dataset::recipe;
use crate::dataset::{Job, Recorded, Sha256, Transform};
use crate::kinds::kind::{is_set, text};
use crate::model::{Fields, Value};

/// Which staging folder is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Staged<'a> {
    /// The one that the spec names.
    At(&'a str),
    /// That of this dataset, for which it names none; the dataset itself where empty.
    Of(&'a str),
}

/// Why fields are no delivery: what is wrong, for people.
pub(super) type Wrong = String;

/// What the fields do not say.
pub(super) struct Around<'a> {
    /// Where a staging folder is.
    pub(super) staging: &'a (dyn Fn(Staged<'_>) -> Result<PathBuf, Wrong> + Sync),
    /// The certificates that the site's configuration trusts, for stores of which nothing else says which.
    pub(super) trusted: Option<String>,
}

/// What a dataset is made of, and where it goes.
pub(super) fn delivery(fields: &Fields, recorded: &Fields, around: &Around<'_>) -> Result<Delivery, Wrong> {
    let mut job = job(fields, around)?;
    if let Some(recorded) = recorded_of(recorded) {
        remember(&mut job, &recorded);
    }
    let transfers = fields.get("transfers").and_then(Value::as_int).and_then(|number| usize::try_from(number).ok());
    Ok(Delivery {
        job,
        staging: (around.staging)(own_staging(fields))?,
        load: Load {
            store: keys(fields, around.trusted.as_deref())?,
            bucket: text(fields, "bucket").to_owned(),
            prefix: text(fields, "prefix").trim_matches('/').to_owned(),
            transfers: transfers.unwrap_or(1),
            delete_extra: text(fields, "extra_objects") == "delete",
            verify: is_set(fields, "verify"),
        },
        keep_staging: !text(fields, "staging_at").is_empty(),
    })
}

/// A dataset's own staging folder.
pub(super) fn own_staging(fields: &Fields) -> Staged<'_> {
    match text(fields, "staging_at") {
        "" => Staged::Of(""),
        path => Staged::At(path),
    }
}

/// What the last load recorded.
pub(super) fn recorded_of(attributes: &Fields) -> Option<Recorded> {
    serde_json::from_value(attributes.get(RECORDED)?.to_plain()?).ok()
}

/// From sources to objects.
pub(super) fn job(fields: &Fields, around: &Around<'_>) -> Result<Job, Wrong> {
    let list = |name: &str| fields.get(name).and_then(Value::as_list).unwrap_or_default();
    let none = Fields::new();
    let mut sources = Vec::new();
    for (at, source) in list("sources").iter().filter_map(Value::as_map).enumerate() {
        let beside = |name: &str| list(name).get(at).and_then(Value::as_map).unwrap_or(&none);
        let from = origin(source, beside("source_keys"), beside("read_from"), around)?;
        let mut whole = json!({ "from": from });
        for key in ["into", "strip"] {
            if let Some(value) = source.get(key) {
                whole[key] = plain(value);
            }
        }
        sources.push(whole);
    }
    let of = |name: &str| fields.get(name).map_or(Json::Null, plain);
    let mut whole = json!({ "sources": sources, "extract": of("extract"), "transform": of("transform") });
    if let Some(limits) = fields.get("limits") {
        whole["limits"] = plain(limits);
    }
    // What serde says may repeat a value; the field's name is enough to find it.
    serde_json::from_value(whole).map_err(|error| {
        let text = error.to_string();
        text.split(" at line").next().unwrap_or_default().to_owned()
    })
}

/// Whether a transform can be carried out, as far as that shows without data.
pub(super) fn transform(value: &Value) -> Result<(), Wrong> {
    let name = value.as_map().and_then(|one| one.keys().next()).map(String::as_str).unwrap_or_default();
    let transform: Transform = serde_json::from_value(plain(value)).map_err(|error| format!("{name}: {error}"))?;
    crate::dataset::check_transform(&transform).map_err(|error| error.message)
}

fn origin(source: &Fields, keys_of: &Fields, read_from: &Fields, around: &Around<'_>) -> Result<Json, Wrong> {
    if source.contains_key("url") {
        let mut url = json!({});
        for key in ["url", "mirrors", "sha256", "size"] {
            if let Some(value) = source.get(key) {
                url[key] = plain(value);
            }
        }
        return Ok(json!({ "url": url }));
    }
    if let Some(path) = source.get("path") {
        return Ok(json!({ "path": plain(path) }));
    }
    if source.contains_key("dataset") {
        // Its folder is told by its name where the spec names none.
        let staged = match own_staging(read_from) {
            Staged::Of(_) => Staged::Of(text(source, "dataset")),
            at => at,
        };
        let folder = (around.staging)(staged)?;
        return Ok(json!({ "dataset": { "job": job(read_from, around)?, "staging": folder } }));
    }
    let keys = keys(keys_of, around.trusted.as_deref())?;
    // The store's address stands for it, whoever's keys open it.
    let site = keys.as_ref().map(|keys| keys.endpoint.to_string()).unwrap_or_default();
    let (bucket, prefix) = (text(source, "bucket"), text(source, "prefix"));
    Ok(json!({ "bucket": { "store": keys, "site": site, "bucket": bucket, "prefix": prefix } }))
}

/// A store by S3, where the fields have keys. Keys whose text is lost open nothing, and are said to be lost.
pub(super) fn keys(fields: &Fields, trusted: Option<&str>) -> Result<Option<Keys>, Wrong> {
    let endpoint = text(fields, "endpoint");
    if endpoint.is_empty() {
        return Ok(None);
    }
    if ["access_key", "secret_key"].into_iter().any(|name| text(fields, name).is_empty()) {
        return Err(format!("the keys of {endpoint} are not at hand any more"));
    }
    let some = |name: &str| Some(text(fields, name)).filter(|text| !text.is_empty());
    let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    Ok(Some(Keys {
        endpoint: url.ok_or_else(|| format!("`{endpoint}` is no store's URL"))?,
        region: text(fields, "region").to_owned(),
        access_key: Hidden(text(fields, "access_key").to_owned()),
        secret_key: Hidden(text(fields, "secret_key").to_owned()),
        session_token: some("session_token").map(|token| Hidden(token.to_owned())),
        trusted: some("trusted").or(trusted).map(str::to_owned),
    }))
}

/// What the first download was holds for the later ones, as long as the source is described alike.
pub(super) fn remember(job: &mut Job, recorded: &Recorded) {
    let now = recipe::recipe(job);
    for (at, source) in job.sources.iter_mut().enumerate() {
        let same = now.sources.get(at).is_some() && now.sources.get(at) == recorded.recipe.sources.get(at);
        if same {
            pin(&mut source.from, recorded.sources.get(at).and_then(|seen| seen.sha256));
        }
    }
}

/// What a download was. Of a dataset with one source, that source's was recorded.
fn pin(from: &mut Origin, sha256: Option<Sha256>) {
    match from {
        Origin::Url(download) => download.recorded = sha256,
        Origin::Dataset(another) => {
            if let [only] = another.job.sources.as_mut_slice() {
                pin(&mut only.from, sha256);
            }
        }
        Origin::Path(_) | Origin::Bucket(_) => {}
    }
}

/// A value as JSON, secrets in clear: it goes to the job and nowhere else.
fn plain(value: &Value) -> Json {
    match value {
        Value::List(items) => Json::Array(items.iter().map(plain).collect()),
        Value::Map(fields) => {
            let known = fields.iter().filter(|(_, value)| !value.is_null());
            Json::Object(known.map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        Value::Secret(secret) => secret.expose().map_or(Json::Null, Json::from),
        other => other.to_plain().unwrap_or(Json::Null),
    }
}
