//! What opens a store that speaks S3, as buckets and attachments name it: a credential of the spec, keys that are there
//! already, or a profile of the AWS tools.
//!
//! In: the fields `bucket` and `credential` of a block. Out: fields with the store's place and keys, or references to
//! attributes of either, to be known when those are. Pure.
//!
//! Invariant: what is said of a key never repeats it.

use super::kind::Mistake;
use super::schema::{Field, RefChange, RefType, Type, field};
use crate::kinds;
use crate::model::{Address, Fields, Part, Reference, Target, Template, Value};

/// Any name does for stores whose regions have none of their own.
pub(super) const REGION: &str = "us-east-1";

static EXISTING: &[Field] = &[
    field(
        "endpoint",
        Type::Text,
        "Where the store speaks S3, if the bucket does not say so: `https://chi.tacc.chameleoncloud.org:7480`.",
    ),
    field("access_key", Type::Text, "The id of a key that is there already.").required().sensitive(),
    field("secret_key", Type::Text, "The key itself.").required().sensitive(),
    field("region", Type::Text, "The region that requests are signed for."),
];

/// The fields of `bucket`; a text alone is the `name`.
pub(super) static BUCKET: &[Field] = &[
    field("name", Type::Ref(RefType::new("bucket", RefChange::Replace)), "A bucket of this spec.").ignore(),
    field("existing", Type::Text, "The name of another, in its store.").ignore(),
];

/// The fields of `credential`; a text alone is the `name`.
pub(super) static CREDENTIAL: &[Field] = &[
    field(
        "name",
        Type::Ref(RefType::new("ec2_credential", RefChange::Replace)),
        "A credential of this spec, with keys.",
    )
    .ignore(),
    field("existing", Type::Struct(EXISTING), "Keys that are there already.").ignore(),
    field("profile", Type::Profile, "A profile of `~/.aws/credentials` that holds keys.").ignore(),
];

/// What a block takes of a credential: attributes of one, fields of the other.
const OF_CREDENTIAL: [&str; 4] = ["endpoint", "region", "access_key", "secret_key"];

/// What says where a bucket is, of one that says so itself.
const OF_BUCKET: [&str; 3] = ["endpoint", "region", "trusted"];

/// And what opens it.
const ITS_KEYS: [&str; 2] = ["access_key", "secret_key"];

/// An attribute of a resource, to be known when it is.
pub(super) fn attribute_of(address: &Address, name: &str) -> Value {
    Value::Template(Template(vec![Part::Attribute {
        address: address.clone(),
        path: vec![name.to_owned()],
        all: false,
    }]))
}

/// The resource that a reference names.
pub(super) fn named(reference: Option<&Value>) -> Option<(&Address, &str)> {
    match reference {
        Some(Value::Ref(Reference { target: Target::Resource(address), kind, .. })) => Some((address, kind)),
        _ => None,
    }
}

/// The bucket of this spec that a block's `bucket` names, where it is of a store that is no site's: it says itself where that
/// is, and what opens it.
pub(super) fn placed(fields: &Fields) -> Option<&Address> {
    let (address, kind) = named(fields.get("bucket").and_then(Value::as_map)?.get("name"))?;
    kinds::by_name(kind).filter(|kind| kind.schema().field("endpoint").is_some()).map(|_| address)
}

/// Reports a URL that is no store's.
pub(super) fn check_endpoint(field: &'static str, endpoint: &str, mistakes: &mut Vec<Mistake>) {
    let is_url = url::Url::parse(endpoint).is_ok_and(|url| {
        let is_plain = url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain
    });
    if !is_url || endpoint.contains(char::is_whitespace) || endpoint.contains(',') {
        let help = "write it as `https://chi.tacc.chameleoncloud.org:7480`";
        mistakes.push(Mistake::new(field, format!("`{endpoint}` is no store's URL"), help));
    }
}

/// Reports what is no bucket, or does not open it. What to underline for the one and for the other is said.
pub(super) fn check_bucket([field, of_keys]: [&'static str; 2], fields: &Fields, mistakes: &mut Vec<Mistake>) {
    if let Some(bucket) = fields.get("bucket").and_then(Value::as_map) {
        let existing = bucket.get("existing").and_then(Value::as_str);
        if bucket.contains_key("name") == bucket.contains_key("existing") {
            let help =
                "name a bucket of this spec, `bucket: food11`, or another, `bucket: { existing: object-chi-netid }`";
            mistakes.push(Mistake::new(field, "either a bucket of this spec or `existing`, and not both", help));
        }
        if let Some(existing) = existing
            && (existing.is_empty() || existing.contains(|c: char| c == '/' || c.is_control() || c.is_whitespace()))
        {
            mistakes.push(Mistake::new(field, format!("`{existing}` is no bucket's name"), "write the name alone"));
        }
    }
    if let Some(credential) = fields.get("credential").and_then(Value::as_map) {
        check(of_keys, credential, placed(fields).is_some(), mistakes);
    }
}

/// Reports what cannot open a store. `is_placed`: whether the bucket says where the store is.
pub(super) fn check(field: &'static str, credential: &Fields, is_placed: bool, mistakes: &mut Vec<Mistake>) {
    let ways = ["name", "existing", "profile"].iter().filter(|way| credential.contains_key(**way)).count();
    if ways != 1 {
        let help = "name a credential of this spec, `credential: s3`, or give keys, `credential: { existing: { … } }`, or a \
                    profile of the AWS tools, `credential: { profile: chi }`";
        mistakes.push(Mistake::new(field, "either a name or `existing` or `profile`, and one of them only", help));
    }
    if let Some(Value::Ref(named)) = credential.get("name")
        && kinds::by_name(&named.kind).is_some_and(|kind| kind.schema().attribute("secret_key").is_none())
    {
        let help = "an EC2 credential does: `type: ec2`, or `from_env:` for keys that are there";
        mistakes.push(Mistake::new(field, "this credential has no keys that open a bucket", help));
    }
    if credential.contains_key("profile") && !is_placed {
        let help = "name a bucket of this spec that has an `endpoint`, or give keys with theirs, `{ existing: { … } }`";
        mistakes.push(Mistake::new(field, "a profile does not say where the store is", help));
    }
    if let Some(existing) = credential.get("existing").and_then(Value::as_map) {
        check_existing(field, existing, is_placed, mistakes);
    }
}

fn check_existing(field: &'static str, existing: &Fields, is_placed: bool, mistakes: &mut Vec<Mistake>) {
    match existing.get("endpoint") {
        Some(_) if is_placed => {
            let message = "the bucket says where its store is";
            mistakes.push(Mistake::new(field, message, "leave `endpoint` out of the keys"));
        }
        Some(endpoint) => {
            if let Some(endpoint) = endpoint.as_str() {
                check_endpoint(field, endpoint, mistakes);
            }
        }
        None if !is_placed => {
            let help = "add `endpoint`, where the store speaks S3: `https://chi.tacc.chameleoncloud.org:7480`";
            mistakes.push(Mistake::new(field, "these keys do not say of which store they are", help));
        }
        None => {}
    }
    for name in ["access_key", "secret_key", "region"] {
        let found = existing.get(name).and_then(Value::expose);
        if found.is_some_and(|text| text.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace())) {
            let help = "it is one word, without blanks or line ends";
            mistakes.push(Mistake::new(field, format!("what `{name}` holds is no key"), help));
        }
    }
}

/// Puts the store's place and keys among a block's fields, in the place of its `bucket` and `credential`. What the block says
/// itself counts more. The name of its bucket, where it has one.
pub(super) fn open(fields: &mut Fields) -> Option<Value> {
    // A bucket of a store that is no site's says where that is, and where nothing else does, what opens it.
    if let Some(placed) = placed(fields).cloned() {
        let own = if fields.contains_key("credential") { &[][..] } else { &ITS_KEYS };
        fields.extend(OF_BUCKET.iter().chain(own).map(|name| ((*name).to_owned(), attribute_of(&placed, name))));
    }
    let name = match fields.remove("bucket") {
        Some(Value::Map(mut bucket)) => match named(bucket.get("name")) {
            Some((named, _)) => Some(attribute_of(named, "name")),
            None => bucket.remove("existing"),
        },
        _ => None,
    };
    let Some(Value::Map(mut credential)) = fields.remove("credential") else { return name };
    let mut found = Fields::new();
    if let Some((named, _)) = named(credential.get("name")) {
        found.extend(OF_CREDENTIAL.map(|key| (key.to_owned(), attribute_of(named, key))));
    }
    for way in ["existing", "profile"] {
        if let Some(Value::Map(keys)) = credential.remove(way) {
            found.extend(keys);
        }
    }
    found.entry("region".to_owned()).or_insert_with(|| Value::text(REGION));
    for (key, value) in found {
        fields.entry(key).or_insert(value);
    }
    name
}
