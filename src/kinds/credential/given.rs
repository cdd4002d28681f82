//! Keys that exist: their values are in the environment, and nothing is made.
//!
//! They are read by every plan and every apply. The state remembers their digests, by which it is seen that one changed.

use async_trait::async_trait;

use crate::kinds::kind::{DerivedPart, Kind, Mark, Mistake, Place};
use crate::kinds::local::{LocalCx, LocalError, LocalKind};
use crate::kinds::schema::{Field, NameRule, Schema, Type, attribute, field};
use crate::kinds::store_keys;
use crate::model::{Address, Fields, Value};

use super::write::{self, KEYS, WRITE};
use super::{place, text};

/// Keys of the environment.
pub struct GivenCredential;

static FROM_ENV: &[Field] = &[
    field("access_key", Type::EnvVar, "The name of the variable with the access key's id, `AWS_ACCESS_KEY_ID`.")
        .required()
        .sensitive(),
    field("secret_key", Type::EnvVar, "The name of the variable with the key itself, `AWS_SECRET_ACCESS_KEY`.")
        .required()
        .sensitive(),
];

static SCHEMA: Schema = Schema {
    kind: "given_credential",
    section: "credentials",
    doc: "Keys of a store that speaks S3 which are there already, out of the environment.",
    fields: &[
        field("type", Type::Enum(&["ec2"]), "`ec2`, the only keys that are taken from the environment.").ignore(),
        field("from_env", Type::Struct(FROM_ENV), "The variables of the environment that hold the keys.")
            .required()
            .ignore(),
        field("endpoint", Type::Text, "Where the store speaks S3; the site's own where absent.").record(),
        field("region", Type::Text, "The region that requests are signed for; the site's where absent.").record(),
        WRITE,
        field("access_key", Type::Text, "What the environment holds.").internal().record().sensitive(),
        field("secret_key", Type::Text, "What the environment holds.").internal().record().sensitive(),
    ],
    attributes: &[
        attribute("id", "Its id in the state."),
        attribute("access_key", "The access key's id.").secret(),
        attribute("secret_key", "The key itself.").secret(),
        attribute("endpoint", "Where the store speaks S3."),
        attribute("region", "The region that requests are signed for."),
    ],
    protect: false,
    lookup: false,
    name: NameRule::None,
};

impl Kind for GivenCredential {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Local(&GivenCredential)
    }

    fn told_by(&self) -> Option<Mark> {
        Some(Mark::Field("from_env"))
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        if let Some(endpoint) = text(fields, "endpoint") {
            store_keys::check_endpoint("endpoint", endpoint, mistakes);
        }
        write::check(fields, &KEYS, mistakes);
        let Some(Value::Map(keys)) = fields.get("from_env") else { return };
        // What is said here never repeats the text.
        for key in keys.values().filter_map(Value::expose) {
            if key.contains(|char: char| char.is_control() || char.is_whitespace()) {
                let help = "it is one word, without blanks or line ends";
                mistakes.push(Mistake::new("from_env", "what one of the variables holds is no key", help));
            }
        }
    }

    fn derive(&self, address: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        if let Some(Value::Map(keys)) = fields.remove("from_env") {
            fields.extend(keys);
        }
        write::derive(address, fields, &KEYS)
    }
}

#[async_trait]
impl LocalKind for GivenCredential {
    async fn put(&self, cx: &LocalCx<'_>, want: &Fields) -> Result<Fields, LocalError> {
        let site = place(cx.session);
        let endpoint = text(want, "endpoint").map(str::to_owned).or_else(|| cx.session.s3_endpoint());
        let region = text(want, "region").or_else(|| text(&site, "region")).map(str::to_owned);
        let pairs = [("endpoint", endpoint), ("region", region)];
        Ok(pairs.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::text(text?)))).collect())
    }

    async fn remove(&self, _: &LocalCx<'_>, _: &Fields) -> Result<(), LocalError> {
        Ok(())
    }
}
