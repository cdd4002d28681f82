//! Metadata of servers and volumes: a map that others write in too.
//!
//! Pure. Invariants:
//! - The stamp's key is never shown, compared, set or taken out.
//! - A key that anole did not set and the spec does not name belongs to somebody else and is left alone.

use super::kind::{Effect, FieldChange, Mistake, Sides, Update};
use crate::model::{Fields, Stamp, StringMap, Value};

/// The longest value of a key that Nova and Cinder take, in characters.
const LONGEST: usize = 255;

/// What a service's metadata says, without the stamp; and the stamp.
#[must_use]
pub fn split(metadata: &StringMap) -> (Value, Option<Stamp>) {
    let stamp = metadata.get(Stamp::METADATA_KEY).and_then(|text| text.parse().ok());
    let fields = metadata
        .iter()
        .filter(|(key, _)| *key != Stamp::METADATA_KEY)
        .map(|(key, value)| (key.clone(), Value::text(value.clone())))
        .collect();
    (Value::Map(fields), stamp)
}

/// The metadata to create an object with: what is wanted, and the stamp.
#[must_use]
pub fn stamped(want: &Fields, stamp: &Stamp) -> StringMap {
    let mut metadata = texts(map(want));
    metadata.insert(Stamp::METADATA_KEY.to_owned(), stamp.to_string());
    metadata
}

/// Reports keys and values that cannot be.
pub fn check(fields: &Fields, mistakes: &mut Vec<Mistake>) {
    let mut mistake =
        |message: String, help: Option<String>| mistakes.push(Mistake { field: "metadata", message, help });
    for (key, value) in map(fields).into_iter().flatten() {
        if key == Stamp::METADATA_KEY {
            mistake(
                format!("the key `{key}` is taken: anole marks its objects with it"),
                Some("use another key".into()),
            );
        }
        if let Some(long) = value.as_str().map(|text| text.chars().count()).filter(|count| *count > LONGEST) {
            mistake(format!("the value of `{key}` has {long} characters; {LONGEST} is the most"), None);
        }
    }
}

/// The difference, over the keys that the spec names or that the last apply set.
#[must_use]
pub fn diff(sides: &Sides<'_>) -> Option<FieldChange> {
    let want = map(sides.want)?;
    let live = map(sides.live)?;
    let applied = map(sides.applied);
    let ours = |key: &String| want.contains_key(key) || applied.is_some_and(|applied| applied.contains_key(key));
    let before: Fields =
        live.iter().filter(|(key, _)| ours(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
    let (before, after) = (Value::Map(before), Value::Map(want.clone()));
    (!after.same(&before)).then(|| FieldChange {
        field: "metadata".to_owned(),
        before,
        after,
        effect: Effect::Update,
        note: None,
    })
}

/// What to set, and which keys to take out, for a change that [`diff`] found.
#[must_use]
pub fn edits(update: &Update<'_>) -> (StringMap, Vec<String>) {
    let want = texts(map(update.want));
    let gone = map(update.applied)
        .into_iter()
        .chain(update.changes.iter().filter(|change| change.field == "metadata").filter_map(|c| c.before.as_map()))
        .flat_map(Fields::keys)
        .filter(|key| !want.contains_key(*key) && *key != Stamp::METADATA_KEY)
        .cloned();
    let mut gone: Vec<_> = gone.collect();
    gone.sort();
    gone.dedup();
    (want, gone)
}

fn map(fields: &Fields) -> Option<&Fields> {
    fields.get("metadata").and_then(Value::as_map)
}

fn texts(metadata: Option<&Fields>) -> StringMap {
    let pairs = metadata.into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let map = pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::text(*value))).collect();
        Fields::from([("metadata".to_owned(), Value::Map(map))])
    }

    #[test]
    fn only_our_keys_are_compared_set_and_taken_out() {
        let (want, applied) = (fields(&[("a", "1"), ("b", "2")]), fields(&[("a", "1"), ("old", "x")]));
        let now = jiff::Timestamp::UNIX_EPOCH;
        let live = fields(&[("a", "1"), ("b", "2"), ("theirs", "y")]);
        assert_eq!(diff(&Sides { want: &want, applied: &applied, live: &live, now }), None);

        let live = fields(&[("a", "other"), ("old", "x"), ("theirs", "y")]);
        let change = diff(&Sides { want: &want, applied: &applied, live: &live, now }).unwrap();
        assert_eq!(change.before, fields(&[("a", "other"), ("old", "x")])["metadata"]);
        let id = "v".into();
        let update = Update { id: &id, want: &want, applied: &applied, live: &live, changes: &[change] };
        let (set, gone) = edits(&update);
        assert_eq!((set.len(), gone), (2, vec!["old".to_owned()]));
    }

    #[test]
    fn the_stamp_is_split_off_and_its_key_refused() {
        let stamp: Stamp = "anole/1 00 11 s 22 volumes.data".parse().unwrap();
        let metadata = stamped(&fields(&[("a", "1")]), &stamp);
        assert_eq!(split(&metadata), (fields(&[("a", "1")])["metadata"].clone(), Some(stamp)));
        let mut mistakes = Vec::new();
        check(&fields(&[("anole", "me")]), &mut mistakes);
        assert_eq!(mistakes.len(), 1);
    }
}
