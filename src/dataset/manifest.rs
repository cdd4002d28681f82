//! The manifest of a dataset in its bucket: `.anole/manifest.json` below the prefix.
//!
//! It is written last, so a reader that finds it finds the dataset whole. It says where the data came from, what became
//! of it, and each object with its size and SHA-256.
//!
//! Invariants: objects are sorted by key; the same content gives the same bytes. A later version is refused, so that
//! nothing of it is taken for something else. [`Manifest::compare`] is pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::content::Object;
use super::digest::Sha256;
use super::recipe::SourceSeen;
use super::text::thousands;
use super::{DatasetError, ErrorKind, names};

/// The folder below the prefix that is kept for it.
pub const FOLDER: &str = ".anole";
/// Its key below the prefix.
pub const KEY: &str = ".anole/manifest.json";
/// The version that is written, and the latest that is read.
pub const VERSION: u32 = 1;

/// What is in a bucket below a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this form.
    pub version: u32,
    /// Where the data came from.
    pub source: Vec<SourceSeen>,
    /// What became of it.
    pub transform: Transformed,
    /// The objects, sorted by key.
    pub objects: Vec<Listed>,
}

/// What became of a source's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transformed {
    /// The canonical description, without secrets.
    pub steps: Vec<serde_json::Value>,
    /// The digest of how they were unpacked and transformed: `transform` of the recipe.
    pub sha256: Sha256,
}

/// An object of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its key below the prefix.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its content.
    pub sha256: Sha256,
    /// What the store called this content after it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// How what is wanted differs from what is there, or from what a manifest lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// How many objects are wanted.
    pub wanted: u64,
    /// How many of them are not there.
    pub added: u64,
    /// How many are there with another content, or may be.
    pub changed: u64,
    /// How many are there and not wanted.
    pub extra: u64,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// That it is damaged, of a later version, or lists what no load of ours writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, DatasetError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |why: String| {
            DatasetError::new(ErrorKind::Record, format!("the manifest `{KEY}` is damaged: {why}"))
                .hint("remove it, and the next apply compares the objects themselves and writes it again")
        };
        let read = serde_json::from_slice::<Self>(bytes);
        let version = match &read {
            Ok(manifest) => Some(manifest.version),
            Err(_) => serde_json::from_slice::<Version>(bytes).ok().map(|of| of.version),
        };
        if let Some(version) = version.filter(|version| *version > VERSION) {
            let text = format!("the manifest `{KEY}` is of version {version}; this anole reads up to {VERSION}");
            return Err(DatasetError::new(ErrorKind::Record, text).hint("use the anole that wrote it, or a later one"));
        }
        let manifest = read.map_err(|error| damaged(error.to_string()))?;
        for pair in manifest.objects.windows(2) {
            if pair[0].key >= pair[1].key {
                return Err(damaged(format!("`{}` comes before `{}`", pair[0].key, pair[1].key)));
            }
        }
        for object in &manifest.objects {
            names::key(&object.key).map_err(|why| damaged(format!("`{}`: {why}", object.key)))?;
        }
        Ok(manifest)
    }

    /// The keys of its objects, in their order.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        self.objects.iter().map(|one| one.key.as_str()).collect()
    }

    /// The bytes of the manifest: an object a line, for people who compare two of them.
    ///
    /// # Errors
    /// Never for a manifest that was made here.
    pub fn bytes(&self) -> Result<Vec<u8>, DatasetError> {
        let mut text = format!(
            "{{\n\"version\": {},\n\"source\": {},\n\"transform\": {},\n\"objects\": [",
            self.version,
            line(&self.source)?,
            line(&self.transform)?
        );
        for (at, object) in self.objects.iter().enumerate() {
            text.push_str(if at == 0 { "\n" } else { ",\n" });
            text.push_str(&line(object)?);
        }
        text.push_str("\n]\n}\n");
        Ok(text.into_bytes())
    }

    /// How what is wanted differs from what is listed.
    #[must_use]
    pub fn compare<'a>(&self, wanted: impl IntoIterator<Item = &'a Object>) -> Difference {
        let mut listed: HashMap<&str, &Listed> = self.objects.iter().map(|one| (one.key.as_str(), one)).collect();
        let mut difference = Difference::default();
        for object in wanted {
            difference.wanted += 1;
            match listed.remove(object.key.as_str()) {
                None => difference.added += 1,
                Some(one) if one.sha256 != object.sha256 || one.size != object.size => difference.changed += 1,
                Some(_) => {}
            }
        }
        difference.extra = listed.len() as u64;
        difference
    }
}

/// A value as JSON, in one line.
fn line<T: Serialize>(value: &T) -> Result<String, DatasetError> {
    serde_json::to_string(value).map_err(|error| DatasetError::new(ErrorKind::Record, error.to_string()))
}

impl Listed {
    /// An object as it is listed.
    #[must_use]
    pub fn of(object: &Object, etag: Option<String>) -> Self {
        Self { key: object.key.clone(), size: object.size, sha256: object.sha256, etag }
    }
}

impl Difference {
    /// Whether all is as it should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added == 0 && self.changed == 0 && self.extra == 0
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { added, changed, extra, .. } = *self;
        let wanted = thousands(self.wanted);
        let mut parts = Vec::new();
        let are = |count: u64| if count == 1 { "is" } else { "are" };
        if changed > 0 {
            parts.push(format!("{} of {wanted} objects changed", thousands(changed)));
        }
        if added > 0 {
            match changed {
                0 => parts.push(format!("{} of {wanted} objects {} new", thousands(added), are(added))),
                _ => parts.push(format!("{} {} new", thousands(added), are(added))),
            }
        }
        if extra > 0 {
            parts.push(format!("{} more {} there that {} not wanted", thousands(extra), are(extra), are(extra)));
        }
        match parts.is_empty() {
            true => write!(f, "{wanted} objects, all as they should be"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::content::Content;

    fn object(key: &str, text: &str) -> Object {
        let content = Content::Bytes(text.as_bytes().into());
        Object { key: key.into(), size: text.len() as u64, sha256: Sha256::of(text.as_bytes()), content }
    }

    fn manifest(objects: &[Object]) -> Manifest {
        let sha256 = Sha256::of(b"");
        Manifest {
            version: VERSION,
            source: vec![SourceSeen { what: "x.zip".into(), sha256: Some(sha256), fingerprint: None }],
            transform: Transformed { steps: Vec::new(), sha256 },
            objects: objects.iter().map(|one| Listed::of(one, Some("\"e\"".into()))).collect(),
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let written = manifest(&[object("a", "1"), object("b", "2")]);
        let bytes = written.bytes().unwrap();
        assert_eq!(Manifest::parse(&bytes).unwrap(), written);
        assert_eq!(String::from_utf8(bytes).unwrap().lines().count(), 9);
        assert_eq!(Manifest::parse(&manifest(&[]).bytes().unwrap()).unwrap().objects, []);
    }

    #[test]
    fn a_damaged_or_later_one_is_refused() {
        let bytes = manifest(&[object("a", "1")]).bytes().unwrap();
        assert!(Manifest::parse(&bytes[..bytes.len() - 4]).unwrap_err().message.contains("damaged"));
        let later = br#"{"version": 2, "objects": "in another form"}"#;
        assert!(Manifest::parse(later).unwrap_err().message.contains("version 2; this anole reads up to 1"));
        let unsorted = manifest(&[object("b", "1"), object("a", "2")]).bytes().unwrap();
        assert!(Manifest::parse(&unsorted).unwrap_err().message.contains("comes before"));
        let hostile = manifest(&[object("../a", "1")]).bytes().unwrap();
        assert!(Manifest::parse(&hostile).unwrap_err().message.contains("leads out"));
    }

    #[test]
    fn differences_are_told_in_one_line() {
        let old = manifest(&[object("a", "1"), object("b", "2"), object("c", "3")]);
        let same = [object("a", "1"), object("b", "2"), object("c", "3")];
        assert!(old.compare(&same).is_empty());
        insta::assert_snapshot!(old.compare(&same), @"3 objects, all as they should be");
        let changed = [object("a", "1"), object("b", "X"), object("c", "3")];
        assert_eq!(old.compare(&changed), Difference { wanted: 3, changed: 1, ..Difference::default() });
        insta::assert_snapshot!(old.compare(&changed), @"1 of 3 objects changed");
        let all = [object("a", "X"), object("d", "4")];
        let difference = old.compare(&all);
        assert_eq!((difference.added, difference.extra), (1, 2));
        insta::assert_snapshot!(difference, @"1 of 2 objects changed, 1 is new, 2 more are there that are not wanted");
    }
}
