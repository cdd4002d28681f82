//! What a bucket elsewhere is in the spec's words and in its store's.

use super::*;
use crate::kinds::kind::Effect;
use crate::model::Secret;
use crate::object::Acl;

const STORE: &str = "https://s3.example.org";

fn fields(pairs: &[(&str, Value)]) -> Fields {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn secret(source: &str, text: &str) -> Value {
    Value::Secret(Secret::new(source, text.to_owned()))
}

fn wanted() -> Fields {
    fields(&[
        ("name", "food11".into()),
        ("endpoint", STORE.into()),
        ("region", "us-east-1".into()),
        ("access_key", secret("env.K", "AK")),
        ("secret_key", secret("env.S", "SK")),
    ])
}

fn settings() -> Settings {
    Settings {
        versioning: false,
        metadata: StringMap::new(),
        acl: Acl::Private,
        cors: Vec::new(),
        objects: None,
        bytes: None,
    }
}

fn mistakes(pairs: &[(&str, Value)]) -> Vec<(&'static str, String)> {
    let mut mistakes = Vec::new();
    S3Bucket.check(&mut fields(pairs), &mut mistakes);
    mistakes.into_iter().map(|mistake| (mistake.field, mistake.message)).collect()
}

#[test]
fn a_stamp_fits_into_a_tag_and_is_read_again() {
    for address in ["buckets.food11", "buckets.shard[12]", "buckets.shard[a=b]"] {
        let stamp: Stamp = format!("anole/1 00 11 s 22 {address}").parse().unwrap();
        let tag = tag_of(&stamp);
        assert!(tag.chars().all(|char| char.is_ascii_alphanumeric() || " +-=._:/@".contains(char)), "{tag}");
        assert_eq!(stamp_of(&tag).as_deref(), Some(stamp.to_string().as_str()));
    }
    assert_eq!((stamp_of("=zz"), stamp_of("a=5")), (None, None), "somebody else's");
}

#[test]
fn what_the_store_answers_is_no_difference() {
    let stamp: Stamp = "anole/1 00 11 s 22 buckets.food11[0]".parse().unwrap();
    let rule = CorsRule { origins: vec!["*".into()], methods: vec!["PUT".into(), "GET".into()], ..CorsRule::default() };
    let tags = StringMap::from([("anole".into(), tag_of(&stamp)), ("Course".into(), "ml ops".into())]);
    let live = shown(&wanted(), Settings { metadata: tags, cors: vec![rule], ..settings() });
    assert_eq!((live.id.0.as_str(), live.stamp), ("https://s3.example.org/food11", Some(stamp)));
    let methods = Value::List(vec!["GET".into(), "PUT".into()]);
    let cors = Value::Map(fields(&[("origins", Value::List(vec!["*".into()])), ("methods", methods)]));
    let mut want = wanted();
    want.extend(fields(&[
        ("cors", cors),
        ("acl", "private".into()),
        ("metadata", Value::Map(fields(&[("Course", "ml ops".into())]))),
    ]));
    let now = jiff::Timestamp::UNIX_EPOCH;
    let sides = Sides { want: &want, applied: &want, live: &live.attrs, now };
    assert_eq!(S3Bucket.diff(&sides), Ok(vec![]));
    let other = fields(&[("endpoint", "https://other".into()), ("access_key", secret("env.K", "another"))]);
    let changes = S3Bucket.diff(&Sides { want: &other, ..sides }).unwrap();
    let effects: Vec<_> = changes.iter().map(|change| (change.field.as_str(), change.effect)).collect();
    assert_eq!(effects, [("endpoint", Effect::Replace), ("access_key", Effect::Record)]);
}

#[test]
fn only_what_a_store_has_otherwise_is_asked_of_it() {
    let want = fields(&[("versioning", Value::Bool(false)), ("acl", "private".into())]);
    assert_eq!(missing(&want, &settings()), SettingsChange::default());
    let want = fields(&[("versioning", Value::Bool(true)), ("acl", "public-read".into())]);
    let asked = requests(missing(&want, &settings()));
    assert_eq!(asked.iter().map(|(field, _)| *field).collect::<Vec<_>>(), ["versioning", "acl"]);
}

#[test]
fn what_a_store_has_not_is_told_with_what_to_do() {
    let error = || ObjectError::new(ObjectErrorKind::Unsupported, "s3.example.org", "PUT b?tagging", "no");
    let hint = without("metadata", error()).hint.unwrap();
    assert_eq!(hint, "this store keeps no tags for buckets: take `metadata` out of the bucket's block");
    let denied = error().with(|parts| parts.kind = ObjectErrorKind::Denied);
    assert_eq!(without("acl", denied).hint, None);
}

#[test]
fn it_is_looked_for_where_it_was_made_by_the_keys_of_now() {
    let recorded = wanted();
    let mut want = wanted();
    want.insert("access_key".to_owned(), secret("env.K", "new"));
    assert_eq!(S3Bucket.way_to(&recorded, &want)["access_key"].expose(), Some("new"));
    want.insert("endpoint".to_owned(), "https://elsewhere".into());
    assert_eq!(S3Bucket.way_to(&recorded, &want), recorded, "those keys are of another store");
    let unknown =
        fields(&[("endpoint", STORE.into()), ("access_key", Value::Unknown("credentials.s3".parse().unwrap()))]);
    assert_eq!(S3Bucket.way_to(&recorded, &unknown), recorded);
}

#[test]
fn a_store_that_cannot_be_asked_says_why() {
    assert_eq!(closed(&wanted()), None);
    let with =
        |name: &str, value: Value| closed(&Fields::from_iter(wanted().into_iter().chain([(name.to_owned(), value)])));
    let unknown = Value::Unknown("credentials.s3".parse().unwrap());
    assert_eq!(with("secret_key", unknown).unwrap(), "its `secret_key` is known only once credentials.s3 is made");
    let lost = Value::Secret(Secret::remembered("env.S", "00".to_owned()));
    assert_eq!(with("secret_key", lost).unwrap(), "its keys are not at hand any more");
}

#[test]
fn blocks_that_cannot_be_are_told() {
    let keys = |pairs: &[(&str, Value)]| Value::Map(fields(&[("existing", Value::Map(fields(pairs)))]));
    let good = keys(&[("access_key", secret("access_key", "A")), ("secret_key", secret("secret_key", "S"))]);
    let fine = [("name", "food11".into()), ("endpoint", STORE.into()), ("credential", good.clone())];
    assert_eq!(mistakes(&fine), []);
    for (name, value) in [
        ("endpoint", "s3.example.org".into()),
        ("endpoint", "https://me@s3.example.org".into()),
        ("name", "Food".into()),
        ("credential", Value::Map(Fields::new())),
        ("credential", keys(&[("access_key", secret("access_key", "A B")), ("secret_key", secret("secret_key", "S"))])),
        ("metadata", Value::Map(fields(&[("anole", "x".into())]))),
        ("metadata", Value::Map(fields(&[(&"k".repeat(129), "x".into())]))),
    ] {
        let mut block = fine.to_vec();
        block.retain(|(other, _)| *other != name);
        block.push((name, value));
        let told = mistakes(&block);
        assert_eq!(told.iter().map(|(field, _)| *field).collect::<Vec<_>>(), [name], "{told:?}");
        assert!(!told[0].1.contains("A B"));
    }
}

#[test]
fn data_that_is_not_counted_is_lost_all_the_same() {
    let mut live = shown(&wanted(), settings());
    assert_eq!(S3Bucket.data_loss(&live), None);
    live.attrs.insert("force_destroy".to_owned(), Value::Bool(true));
    assert_eq!(S3Bucket.data_loss(&live).as_deref(), Some("bucket `food11` with all that it holds"));
    live.attrs.extend(fields(&[("objects", 1.into()), ("bytes", 6.into())]));
    assert_eq!(S3Bucket.data_loss(&live).as_deref(), Some("bucket `food11` with 1 object, 6 bytes in all"));
}

#[test]
fn one_that_must_be_there_is_never_made_where_the_store_is_not_known_yet() {
    let mut want = wanted();
    assert_eq!(S3Bucket.claim(&want), None);
    want.insert("auto_create".to_owned(), Value::Bool(false));
    assert_eq!(S3Bucket.claim(&want).unwrap().value, "https://s3.example.org/food11".into());
    want.insert("endpoint".to_owned(), Value::Unknown("credentials.s3".parse().unwrap()));
    let claim = S3Bucket.claim(&want).unwrap();
    assert_eq!((claim.field, claim.value, claim.or_create), ("id", "food11".into(), false));
}
