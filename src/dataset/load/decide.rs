//! What is to be sent and what is extra. Pure.

use super::look::Seen;
use super::{FOLDER, Object};

/// What is known of a wanted object without reading its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It is not there.
    Missing,
    /// It is there with another content.
    Other,
    /// It is there, and which content it has must be looked at.
    Unsure,
    /// It is there as it is wanted, under this entity tag.
    Kept(&'a str),
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decided<'a> {
    /// One for each wanted object.
    pub(super) verdicts: Vec<Verdict<'a>>,
    /// The whole keys of what is there and not wanted.
    pub(super) extra: Vec<String>,
}

/// Compares what is wanted, sorted by key, with what is there. An object larger than `threshold` may be listed with
/// another size than it has: Swift lists the size of its manifest.
pub(super) fn decide<'a>(wanted: &[Object], seen: &'a Seen, prefix: &str, threshold: u64) -> Decided<'a> {
    let listed = seen.last.iter().flat_map(|last| &last.objects);
    let mut known = following(listed.map(|one| (one.key.as_str(), one)));
    let mut there = following(seen.objects.iter().map(|entry| (entry.key.as_str(), entry)));
    let verdicts = wanted
        .iter()
        .map(|object| {
            let Some(entry) = there(&object.key) else { return Verdict::Missing };
            let large = object.size > threshold;
            if entry.size != object.size && !large {
                return Verdict::Other;
            }
            // The entity tag says that the object still has the content that it had when it was listed.
            match known(&object.key).filter(|known| known.etag.as_ref() == Some(&entry.etag)) {
                Some(known) if known.sha256 == object.sha256 && known.size == object.size => Verdict::Kept(&entry.etag),
                Some(_) => Verdict::Other,
                None => Verdict::Unsure,
            }
        })
        .collect();
    let mut among_wanted = following(wanted.iter().map(|object| (object.key.as_str(), ())));
    let is_extra = |key: &&str| among_wanted(key).is_none() && !seen.is_others(key);
    let extra = seen
        .objects
        .iter()
        .map(|entry| entry.key.as_str())
        .filter(is_extra)
        .map(|key| format!("{prefix}{key}"))
        .collect();
    Decided { verdicts, extra }
}

/// Finds what has a key in what is sorted by key, for keys that come sorted too: both are gone through once.
fn following<'a, T>(sorted: impl Iterator<Item = (&'a str, T)>) -> impl FnMut(&str) -> Option<T> {
    let mut rest = sorted.peekable();
    move |key| {
        while rest.next_if(|(before, _)| *before < key).is_some() {}
        rest.next_if(|(this, _)| *this == key).map(|(_, found)| found)
    }
}

/// That nothing is wanted where another dataset is: its manifest would list what is no longer there.
pub(super) fn apart(wanted: &[Object], seen: &Seen, prefix: &str) -> Result<(), String> {
    for other in &seen.others {
        if let Some(object) = wanted.iter().find(|object| object.key.starts_with(other.as_str())) {
            let key = format!("{prefix}{}", object.key);
            let whose = format!("`{prefix}{other}` is another dataset's, by its `{FOLDER}` there");
            return Err(format!(
                "`{key}` cannot be written: {whose}; delete that one first, or load below another prefix"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Listed;
    use super::*;
    use crate::dataset::{Content, Sha256};
    use crate::object::Entry;

    fn wanted(key: &str, size: u64, digest: u8) -> Object {
        // No content is read to decide.
        let content = Content::file(std::path::Path::new("/nothing"));
        Object { key: key.into(), size, sha256: Sha256::from([digest; 32]), content }
    }

    fn seen(objects: &[(&str, u64, &str)], known: &[(&str, u64, u8, &str)]) -> Seen {
        let entry = |key: &str, size, etag: &str| Entry { key: key.into(), size, etag: etag.into() };
        let listed = |key: &str, size, digest, etag: &str| Listed {
            key: key.into(),
            size,
            sha256: Sha256::from([digest; 32]),
            etag: Some(etag.into()),
        };
        let mut last = super::super::tests::empty();
        last.objects = known.iter().map(|(key, size, d, etag)| listed(key, *size, *d, etag)).collect();
        last.objects.sort_by(|one, other| one.key.cmp(&other.key));
        let listed = Seen::of(objects.iter().map(|(key, size, etag)| entry(key, *size, etag)).collect(), "");
        Seen { last: Some(last), ..Seen::of_all([listed]) }
    }

    #[test]
    fn the_manifest_is_believed_only_while_the_entity_tag_is_the_same() {
        let seen = seen(
            &[
                ("kept", 5, "e1"),
                ("other", 5, "e2"),
                ("rewritten", 5, "new"),
                ("longer", 6, "e4"),
                ("unknown", 5, "e5"),
            ],
            &[("kept", 5, 1, "e1"), ("other", 5, 9, "e2"), ("rewritten", 5, 1, "old"), ("longer", 5, 1, "e4")],
        );
        let keys = ["kept", "longer", "missing", "other", "rewritten", "unknown"];
        let wanted: Vec<_> = keys.iter().map(|key| wanted(key, 5, 1)).collect();
        let decided = decide(&wanted, &seen, "p/", 100);
        use Verdict::{Kept, Missing, Other, Unsure};
        assert_eq!(decided.verdicts, [Kept("e1"), Other, Missing, Other, Unsure, Unsure]);
        assert_eq!(decided.extra, Vec::<String>::new());
    }

    #[test]
    fn a_large_object_may_be_listed_by_its_manifest() {
        let seen = seen(&[("large", 311, "d41d")], &[("large", 500, 1, "whole")]);
        assert_eq!(decide(&[wanted("large", 500, 1)], &seen, "", 100).verdicts, [Verdict::Unsure]);
    }

    #[test]
    fn a_large_object_that_the_manifest_knows_needs_no_look() {
        let seen = seen(&[("large", 500, "e")], &[("large", 500, 1, "e")]);
        assert_eq!(decide(&[wanted("large", 500, 1)], &seen, "", 100).verdicts, [Verdict::Kept("e")]);
        assert_eq!(decide(&[wanted("large", 500, 2)], &seen, "", 100).verdicts, [Verdict::Other]);
    }

    #[test]
    fn nothing_is_written_where_another_dataset_is() {
        let seen = seen(&[("sub/.anole/manifest.json", 1, "e"), ("sub/a", 1, "e")], &[]);
        assert_eq!(apart(&[wanted("a", 1, 1), wanted("subway", 1, 1)], &seen, "p/"), Ok(()));
        let refused = apart(&[wanted("a", 1, 1), wanted("sub/b", 1, 1)], &seen, "p/").unwrap_err();
        insta::assert_snapshot!(refused, @"`p/sub/b` cannot be written: `p/sub/` is another dataset's, by its `.anole/` there; delete that one first, or load below another prefix");
    }

    #[test]
    fn what_is_another_datasets_is_not_extra() {
        let seen =
            seen(&[("old", 1, "e"), ("sub/.anole/manifest.json", 1, "e"), ("sub/a", 1, "e"), ("subway", 1, "e")], &[]);
        assert_eq!(decide(&[], &seen, "p/", 100).extra, ["p/old", "p/subway"]);
    }
}
