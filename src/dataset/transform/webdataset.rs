//! Samples packed into shards, as the WebDataset library reads them: `0_12.jpg` and `0_12.cls`, side by side in
//! `training/shard-000000.tar`.
//!
//! A sample is all files with one key, which is the name up to its first dot; what follows the dot says what the file is.
//! The shards are only planned here: each is made while it is read, see [`Shard`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{DatasetError, ErrorKind, made_key, nothing, regex, text};
use crate::dataset::content::{Content, Entry};
use crate::dataset::digest::Sha256;
use crate::dataset::job::{Label, SampleKey, Webdataset};
use crate::dataset::shard::{Shard, footprint};

/// The files of a sample, by what follows the dot.
type Sample = BTreeMap<String, Entry>;
/// The samples of a series, by key.
type Series = BTreeMap<String, Sample>;

pub(super) fn check(this: &Webdataset) -> Result<(), DatasetError> {
    let mistake = |text: &str| Err(DatasetError::new(ErrorKind::Job, format!("webdataset: {text}")));
    if this.samples.is_none() && this.bytes.is_none() {
        return mistake("it needs `samples:` or `bytes:`, the most of a shard");
    }
    if this.samples == Some(0) || this.bytes == Some(0) {
        return mistake("a shard has at least one sample and one byte");
    }
    if let Some(Label::Pattern(pattern)) = &this.label
        && regex(pattern, "webdataset: the label")?.captures_len() < 2
    {
        return mistake("the pattern of the label has no group: `class_(\\d+)/`");
    }
    Ok(())
}

pub(super) fn apply(this: &Webdataset, entries: Vec<Entry>) -> Result<Vec<Entry>, DatasetError> {
    check(this)?;
    if entries.is_empty() {
        return Err(nothing("webdataset: nothing to pack", &entries));
    }
    let labels = Labels::of(this, &entries)?;
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    for entry in entries {
        let (series, below) = split_series(&entry.key, this.series);
        let (sample, what) = sample_key(&entry.key, below, this.key)?;
        let label = labels.label(&entry)?;
        let files = all.entry(series.to_owned()).or_default().entry(sample.clone()).or_default();
        if let Some(label) = label {
            add_label(files, &sample, label, &entry)?;
        }
        if let Some(other) = files.insert(what.clone(), entry.clone()) {
            let text = format!("webdataset: `{}` and `{}` would both be `{sample}.{what}`", other.key, entry.key);
            return Err(
                DatasetError::new(ErrorKind::Transform, text).hint("`key: path` puts the folder into a sample's key")
            );
        }
    }
    let mut made = Vec::new();
    for (series, samples) in all {
        pack(this, &series, samples, &mut made)?;
    }
    Ok(made)
}

/// `training` and `class_00/0_12.jpg` of `training/class_00/0_12.jpg`, with one folder of series.
fn split_series(key: &str, folders: usize) -> (&str, &str) {
    match folders.checked_sub(1).and_then(|last| key.match_indices('/').nth(last)) {
        Some((at, _)) => (&key[..at], &key[at + 1..]),
        // A file that lies in fewer folders belongs to the series of the folder that it is in.
        None if folders > 0 => key.rsplit_once('/').unwrap_or(("", key)),
        None => ("", key),
    }
}

fn sample_key(key: &str, below: &str, how: SampleKey) -> Result<(String, String), DatasetError> {
    let (folder, name) = below.rsplit_once('/').unwrap_or(("", below));
    let split = name.split_once('.').filter(|(stem, what)| !stem.is_empty() && !what.is_empty());
    let (stem, what) = split.ok_or_else(|| {
        let text = format!("webdataset: `{key}` has no extension, which says what a file of a sample is");
        DatasetError::new(ErrorKind::Transform, text)
    })?;
    let sample = match how {
        SampleKey::Path if !folder.is_empty() => format!("{folder}/{stem}"),
        _ => stem.to_owned(),
    };
    Ok((sample, what.to_owned()))
}

fn add_label(files: &mut Sample, sample: &str, label: String, of: &Entry) -> Result<(), DatasetError> {
    let bytes: Arc<[u8]> = label.into_bytes().into();
    let size = bytes.len() as u64;
    if let Some(Entry { content: Content::Bytes(before), .. }) = files.get("cls")
        && *before != bytes
    {
        let text = format!("webdataset: the sample `{sample}` has two labels; one is that of `{}`", of.key);
        return Err(
            DatasetError::new(ErrorKind::Transform, text).hint("`key: path` keeps files of several folders apart")
        );
    }
    files.insert("cls".to_owned(), Entry { key: of.key.clone(), size, content: Content::Bytes(bytes) });
    Ok(())
}

/// What a file's label is.
enum Labels {
    None,
    Folders(BTreeMap<String, usize>),
    Pattern(regex::Regex),
}

impl Labels {
    fn of(this: &Webdataset, entries: &[Entry]) -> Result<Self, DatasetError> {
        Ok(match &this.label {
            None => Self::None,
            Some(Label::Pattern(pattern)) => Self::Pattern(regex(pattern, "webdataset: the label")?),
            Some(Label::Folder) => {
                let mut folders: BTreeMap<String, usize> =
                    entries.iter().filter_map(|entry| Some((class(&entry.key)?.to_owned(), 0))).collect();
                folders.values_mut().enumerate().for_each(|(number, folder)| *folder = number);
                Self::Folders(folders)
            }
        })
    }

    fn label(&self, entry: &Entry) -> Result<Option<String>, DatasetError> {
        let found = match self {
            Self::None => return Ok(None),
            Self::Folders(folders) => class(&entry.key).and_then(|class| folders.get(class)).map(usize::to_string),
            Self::Pattern(pattern) => {
                pattern.captures(&entry.key).and_then(|found| found.get(1)).map(|found| plain(found.as_str()))
            }
        };
        found.map(Some).ok_or_else(|| {
            let text = format!("webdataset: `{}` has no label", entry.key);
            DatasetError::new(ErrorKind::Transform, text)
        })
    }
}

/// The name of the folder that a file is in.
fn class(key: &str) -> Option<&str> {
    let (folder, _) = key.rsplit_once('/')?;
    Some(folder.rsplit_once('/').map_or(folder, |(_, last)| last))
}

/// A number without zeros in front; other text as it is.
fn plain(text: &str) -> String {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => match text.trim_start_matches('0') {
            "" => "0".to_owned(),
            number => number.to_owned(),
        },
        false => text.to_owned(),
    }
}

/// Packs the samples of a series.
fn pack(this: &Webdataset, series: &str, samples: Series, made: &mut Vec<Entry>) -> Result<(), DatasetError> {
    let mut samples: Vec<(String, Sample)> = samples.into_iter().collect();
    if let Some(seed) = this.shuffle {
        samples.sort_by_cached_key(|(key, _)| Sha256::of(format!("{seed}\0{key}").as_bytes()));
    }
    let (mut members, mut count, mut bytes, mut number) = (Vec::new(), 0, 0, 0);
    let mut close = |members: &mut Vec<Entry>| {
        let name = format!("{}{number:06}.tar", this.prefix);
        number += 1;
        let key = if series.is_empty() { name } else { format!("{series}/{name}") };
        let shard = Arc::new(Shard::new(std::mem::take(members)));
        made.push(Entry { key: made_key(key)?, size: shard.size(), content: Content::Shard(shard) });
        Ok::<_, DatasetError>(())
    };
    for (key, files) in samples {
        let files: Vec<Entry> =
            files.into_iter().map(|(what, entry)| Entry { key: format!("{key}.{what}"), ..entry }).collect();
        let length: u64 = files.iter().map(|file| footprint(&file.key, file.size)).sum();
        let full =
            this.samples.is_some_and(|most| count + 1 > most) || this.bytes.is_some_and(|most| bytes + length > most);
        if full && !members.is_empty() {
            close(&mut members)?;
            (count, bytes) = (0, 0);
        }
        members.extend(files);
        count += 1;
        bytes += length;
    }
    if !members.is_empty() {
        close(&mut members)?;
    }
    tracing::debug!("`{series}`: {} shards", text::thousands(number));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(keys: &[&str]) -> Vec<Entry> {
        let entry = |key: &&str| Entry { key: (*key).into(), size: 3, content: Content::Bytes(b"abc"[..].into()) };
        keys.iter().map(entry).collect()
    }

    fn this(text: &str) -> Webdataset {
        serde_json::from_str(text).unwrap()
    }

    fn names(made: &[Entry]) -> Vec<(String, Vec<(String, String)>)> {
        let files = |entry: &Entry| {
            let mut reader = entry.open(0).unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
            let mut archive = tar::Archive::new(bytes.as_slice());
            let file = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
                let mut entry = entry.unwrap();
                let text = std::io::read_to_string(&mut entry).unwrap();
                (entry.path().unwrap().display().to_string(), text)
            };
            (entry.key.clone(), archive.entries().unwrap().map(file).collect())
        };
        made.iter().map(files).collect()
    }

    fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn samples_have_their_labels_beside_them() {
        let this = this(r#"{"samples": 2, "series": 1, "label": {"pattern": "class_(\\d+)/"}}"#);
        let keys = [
            "training/class_00/0_2.jpg",
            "training/class_00/0_1.jpg",
            "training/class_10/10_0.jpg",
            "validation/class_03/3_1.jpg",
        ];
        let made = apply(&this, entries(&keys)).unwrap();
        assert_eq!(
            names(&made),
            [
                (
                    "training/shard-000000.tar".to_owned(),
                    owned(&[("0_1.cls", "0"), ("0_1.jpg", "abc"), ("0_2.cls", "0"), ("0_2.jpg", "abc")])
                ),
                ("training/shard-000001.tar".to_owned(), owned(&[("10_0.cls", "10"), ("10_0.jpg", "abc")])),
                ("validation/shard-000000.tar".to_owned(), owned(&[("3_1.cls", "3"), ("3_1.jpg", "abc")])),
            ]
        );
    }

    #[test]
    fn folders_are_numbered_and_files_of_a_sample_stay_together() {
        let this = this(r#"{"bytes": 5000, "label": "folder", "key": "path"}"#);
        let keys = ["t/cat/1.jpg", "t/cat/1.json", "t/dog/1.jpg", "v/dog/2.seg.png"];
        let made = apply(&this, entries(&keys)).unwrap();
        let all: Vec<_> = names(&made).into_iter().flat_map(|(_, files)| files).collect();
        assert_eq!(
            all,
            owned(&[
                ("t/cat/1.cls", "0"),
                ("t/cat/1.jpg", "abc"),
                ("t/cat/1.json", "abc"),
                ("t/dog/1.cls", "1"),
                ("t/dog/1.jpg", "abc"),
                ("v/dog/2.cls", "1"),
                ("v/dog/2.seg.png", "abc"),
            ])
        );
        assert_eq!(made.len(), 2, "three and two files of 1024 bytes with header, then two more");
    }

    #[test]
    fn an_order_by_a_seed_is_always_the_same() {
        let keys: Vec<String> = (0..50).map(|number| format!("{number:02}.jpg")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let order = |seed: u64| {
            let this = this(&format!(r#"{{"samples": 100, "shuffle": {seed}}}"#));
            names(&apply(&this, entries(&keys)).unwrap())
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_eq!(order(1)[0].1[0].0, "49.jpg", "the same on every machine");
    }

    #[test]
    fn mistakes_name_the_files() {
        let fails = |text: &str, keys: &[&str]| apply(&this(text), entries(keys)).unwrap_err().message;
        assert!(fails("{}", &["a.jpg"]).contains("needs `samples:`"));
        assert!(fails(r#"{"samples": 0}"#, &["a.jpg"]).contains("at least one"));
        assert!(fails(r#"{"samples": 1}"#, &[]).contains("no file at all"));
        assert!(fails(r#"{"samples": 1}"#, &["a/x"]).contains("`a/x` has no extension"));
        assert!(
            fails(r#"{"samples": 1}"#, &["a/x.jpg", "b/x.jpg"])
                .contains("`a/x.jpg` and `b/x.jpg` would both be `x.jpg`")
        );
        assert!(fails(r#"{"samples": 1, "label": "folder"}"#, &["x.jpg"]).contains("no label"));
        assert!(fails(r#"{"samples": 1, "label": "folder"}"#, &["a/x.jpg", "b/x.png"]).contains("two labels"));
        assert!(fails(r#"{"samples": 1, "label": {"pattern": "x"}}"#, &["x.jpg"]).contains("no group"));
    }
}
