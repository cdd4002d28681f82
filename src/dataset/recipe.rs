//! What is known of a dataset without its data. Pure.
//!
//! In: a job. Out: its [`Recipe`], by which a later look tells whether what is in a bucket came of the same description;
//! and what is recorded of a load beside it. Nothing is downloaded and no data read.
//!
//! Invariants: a recipe is the same for the same description, whatever the order of its maps, and another one when
//! anything changes that can make another object. Where a source's SHA-256 is given, it alone stands for that source:
//! its address may change. Secrets are not part of it, only their names.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::digest::Sha256;
use super::job::{Download, Job, Origin, Source, Transform};

/// Raised when the same description makes other objects than before: all datasets are then loaded anew.
const VERSION: u32 = 1;

/// The digests of a job's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Of each source.
    pub sources: Vec<Sha256>,
    /// Of how they are unpacked and transformed.
    pub transform: Sha256,
}

/// What the last load recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The recipe that was followed.
    pub recipe: Recipe,
    /// What each source was.
    pub sources: Vec<SourceSeen>,
    /// How many objects came of it.
    pub objects: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What a source was when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSeen {
    /// What it is, for people: its address without secrets.
    pub what: String,
    /// The SHA-256 of the file that was downloaded or read; none for a folder and for objects of a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// What told, without reading them, that the files of a path or the objects of a bucket were these: see
    /// [`super::source::fingerprint`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Sha256>,
}

impl Recorded {
    /// Whether the sources' files are those that were read. `now` are their fingerprints, by the order of the sources; `None`
    /// for a source that cannot be looked at without its data, which is taken to be the same.
    #[must_use]
    pub fn is_of(&self, now: &[Option<Sha256>]) -> bool {
        self.sources.iter().zip(now).all(|(seen, now)| now.is_none() || seen.fingerprint == *now)
    }
}

/// The recipe of a job.
#[must_use]
pub fn recipe(job: &Job) -> Recipe {
    let transforms: Vec<Value> = job.transform.iter().map(transform).collect();
    Recipe {
        sources: job.sources.iter().map(|one| digest(&source(one))).collect(),
        transform: digest(&json!({ "version": VERSION, "extract": job.extract, "transform": transforms })),
    }
}

/// A transform's canonical description, without its secrets.
#[must_use]
pub fn transform(transform: &Transform) -> Value {
    // Serializing these types cannot fail: they hold texts and numbers only.
    let mut value = serde_json::to_value(transform).unwrap_or_default();
    if let Some(secrets) = value.pointer_mut("/command/secrets").and_then(Value::as_object_mut) {
        secrets.values_mut().for_each(|secret| *secret = Value::Null);
    }
    if let Some(command) = value.pointer_mut("/command").and_then(Value::as_object_mut) {
        // They say when it can run, and not what it makes.
        ["needs", "check", "timeout"].iter().for_each(|name| drop(command.remove(*name)));
    }
    value
}

fn source(source: &Source) -> Value {
    let from = match &source.from {
        Origin::Url(Download { sha256: Some(sha256), url, .. }) => {
            // A file that is not unpacked is called after its address.
            json!({ "sha256": sha256, "name": super::source::file_name(url) })
        }
        Origin::Url(Download { url, .. }) => json!({ "url": url }),
        Origin::Path(path) => json!({ "path": path }),
        Origin::Bucket(this) => {
            let endpoint = this.store.as_ref().filter(|_| this.site.is_empty()).map(|keys| &keys.endpoint);
            json!({ "site": this.site, "endpoint": endpoint, "bucket": this.bucket, "prefix": this.below() })
        }
        // Where it is staged does not matter.
        Origin::Dataset(another) => json!({ "dataset": recipe(&another.job) }),
    };
    json!({ "from": from, "into": source.into, "strip": source.strip })
}

/// The digest of a value. Its maps are sorted by name.
pub(super) fn digest(value: &Value) -> Sha256 {
    Sha256::of(value.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Job {
        serde_json::from_str(text).unwrap()
    }

    const SHA: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn what_makes_other_objects_makes_another_recipe() {
        let of = |text: &str| recipe(&job(text));
        let url = r#"{"sources": [{"from": {"url": {"url": "https://example.org/a.zip"}}}]}"#;
        let recorded = url.replace(r#".zip""#, &format!(r#".zip", "recorded": "{SHA}""#));
        assert_eq!(of(url), of(&recorded), "what was recorded is no part of the description");
        assert_ne!(of(url), of(&url.replace("a.zip", "b.zip")));
        let pinned = url.replace(r#".zip""#, &format!(r#".zip", "sha256": "{SHA}""#));
        assert_eq!(of(&pinned), of(&pinned.replace("example.org", "mirror.example.org")));
        let command = |more: &str| format!(r#"{{"sources": [], "transform": [{{"command": {{"run": "x"{more}}}}}]}}"#);
        let plain = of(&command(""));
        assert_ne!(plain, of(&command(r#", "env": {"A": "1"}"#)));
        assert_eq!(plain, of(&command(r#", "needs": ["python3"]"#)));
        let secret = |value: &str| of(&command(&format!(r#", "secrets": {{"A": "{value}"}}"#)));
        assert_eq!(secret("one"), secret("two"));
        assert_ne!(plain, secret("one"));
        let limits = url.replacen('{', r#"{"limits": {"ratio": 5}, "#, 1);
        assert_eq!(of(url), of(&limits), "limits stop a load, and change none");
    }

    #[test]
    fn the_recipe_of_a_bucket_has_no_keys_and_that_of_a_dataset_is_the_others() {
        let of = |from: Value| recipe(&job(&json!({ "sources": [{ "from": from }] }).to_string()));
        let bucket = |site: &str, key: Option<&str>| {
            let keys = key.map(
                |key| json!({ "endpoint": "https://s.example", "region": "r", "access_key": key, "secret_key": "x" }),
            );
            of(json!({ "bucket": { "site": site, "store": keys, "bucket": "b", "prefix": "p/" } }))
        };
        assert_eq!(bucket("chi", Some("one")), bucket("chi", None), "whoever brings the keys");
        assert_eq!(bucket("", Some("one")), bucket("", Some("two")));
        assert_ne!(bucket("", Some("one")), bucket("", None));
        assert_ne!(bucket("chi", None), bucket("kvm", None));
        assert_eq!(bucket("chi", None), of(json!({ "bucket": { "site": "chi", "bucket": "b", "prefix": "p" } })));
        let dataset = |path: &str, staging: &str| {
            of(json!({ "dataset": { "job": { "sources": [{ "from": { "path": path } }] }, "staging": staging } }))
        };
        assert_eq!(dataset("/a", "/one"), dataset("/a", "/two"));
        assert_ne!(dataset("/a", "/one"), dataset("/b", "/one"));
    }
}
