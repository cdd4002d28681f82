//! What is to be done: the plain types that a spec's `datasets:` are decoded into.
//!
//! They are JSON too, for the same job can run on a server: the same binary reads it there from its standard input.
//!
//! Invariants: a field that is not known is refused. `Debug` shows no secret, and no password or query of a URL.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::delivery::Keys;
use super::digest::Sha256;

/// From sources to objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Where the data comes from; the files of several sources lie together.
    pub sources: Vec<Source>,
    /// Whether archives are unpacked.
    #[serde(default)]
    pub extract: Extract,
    /// What becomes of the files, one after the other.
    #[serde(default)]
    pub transform: Vec<Transform>,
    /// What an archive may unpack to.
    #[serde(default)]
    pub limits: Limits,
}

/// A source, and where its files are put.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Where it is.
    pub from: Origin,
    /// A folder that its files are put into; at the root where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// How many folders are taken off the front of its files' paths: 1 for an archive that holds one folder with
    /// everything in it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strip: usize,
}

/// Where data comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    /// A download, or by `file:` a file of the machine on which the job runs.
    Url(Download),
    /// A file or a folder of the machine on which the job runs.
    Path(PathBuf),
    /// Objects of a bucket.
    Bucket(Bucket),
    /// What another job makes.
    Dataset(Box<Another>),
}

/// The objects below a prefix of a bucket, or the one object that the prefix names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// The store and its keys; none where whoever runs the job is signed in to the site, and gives its own: see
    /// [`super::Stores`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Keys>,
    /// The site, by the spec's name for it; empty for that which the load goes to. It stands for the store in the recipe,
    /// whatever its address is and whoever gives the keys.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub site: String,
    /// The bucket.
    pub bucket: String,
    /// The prefix, with or without the slash at its end; empty for the whole bucket.
    #[serde(default)]
    pub prefix: String,
}

/// Another dataset, whose files are read where it staged them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Another {
    /// From its sources to its objects.
    pub job: Job,
    /// Its staging folder, on the machine where this job runs.
    pub staging: PathBuf,
}

/// A file that is downloaded.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// `http:`, `https:` or `file:`.
    pub url: Url,
    /// Where the same file is as well, tried in this order after the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Url>,
    /// The SHA-256 that the spec gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The SHA-256 of an earlier download, which holds where the spec gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Sha256>,
    /// Its length in bytes, where the spec gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Whether archives are unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extract {
    /// What is an archive by its content is unpacked; archives in it are left alone.
    #[default]
    Auto,
    /// Nothing is unpacked.
    None,
}

/// What a dataset's archives may unpack to. It is there to stop archives that are made to fill disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes in all.
    pub bytes: u64,
    /// Files in all.
    pub files: u64,
    /// How many times its own size an archive may unpack to; small ones may do so to more.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 4 << 40, files: 20_000_000, ratio: 200 }
    }
}

/// What becomes of files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Files are moved into folders by their names.
    ClassFolders(ClassFolders),
    /// The rows of a table are dealt out to several files.
    Split(Split),
    /// Files are packed into shards, which are tar files, for the WebDataset library.
    Webdataset(Webdataset),
    /// A program makes other files of them.
    Command(Command),
}

/// What becomes of files that a transform does not speak of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// They stay as they are.
    #[default]
    Keep,
    /// They are left out.
    Drop,
    /// They are a mistake.
    Refuse,
}

/// `training/0_12.jpg` becomes `training/class_00/0_12.jpg`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassFolders {
    /// A regular expression that is looked for in the file's name, without its folder.
    pub pattern: String,
    /// The folder, with what the pattern captured: `class_{1:02}` is the first group, with zeros to two digits.
    pub name: String,
    /// What becomes of files whose name does not match.
    #[serde(default)]
    pub others: Others,
}

/// A table's rows, dealt out by chance, by a seed; each part gets exactly its share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The table: its path among the files, in which `*` stands for any characters.
    pub file: String,
    /// The parts, in order, by the key of each.
    pub parts: Vec<Part>,
    /// Another seed deals otherwise.
    #[serde(default)]
    pub seed: u64,
    /// The columns that are written, in this order; all of them where none is given.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The columns whose values become numbers from 0 on, in the order in which they first appear.
    #[serde(default)]
    pub dense_ids: Vec<String>,
    /// Whether a table of each column of `dense_ids` is written too: `<column>.ids.tsv`, with a value a line, by number.
    #[serde(default)]
    pub write_ids: bool,
    /// What separates the columns of the table.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// What separates the columns that are written.
    #[serde(default = "tab")]
    pub separator: char,
    /// Whether the columns' names are written first.
    #[serde(default)]
    pub header: bool,
    /// What becomes of the other files.
    #[serde(default)]
    pub others: Others,
}

/// One part of a [`Split`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its key: `training.tsv`.
    pub key: String,
    /// Its share, as a whole number beside those of the others: 70, 15, 15.
    pub share: u64,
}

/// Shards of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webdataset {
    /// The most samples of a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// The most bytes of a shard, which a single sample may exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What a sample's label is; without it no `.cls` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// What a sample is called in its shard.
    #[serde(default)]
    pub key: SampleKey,
    /// How many folders from the top have shards of their own: 1 for `training/shard-000000.tar`.
    #[serde(default)]
    pub series: usize,
    /// The samples' order: that of their names, or by a seed a shuffled one, always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle: Option<u64>,
    /// What a shard's name begins with.
    #[serde(default = "shard_prefix")]
    pub prefix: String,
}

/// What the `.cls` of a sample says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// The number, from 0 on, of the folder that the file is in, among all such folders sorted by name.
    Folder,
    /// What the first group of a regular expression finds in the file's path; a number without zeros in front.
    Pattern(String),
}

/// What a sample is called in its shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleKey {
    /// The file's name without its extensions: `0_12`.
    #[default]
    Name,
    /// The file's path below its series: `class_00/0_12`.
    Path,
}

/// A program that reads the folder `SRC` and writes files into the folder `OUT`, both in its environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program, as text for the shell.
    pub run: String,
    /// The programs that it needs, looked for before anything is downloaded.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Text for the shell that succeeds where the rest of what it needs is there: `python3 -c 'import h5py'`. It runs
    /// before anything is downloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// More of its environment; it makes the result another one.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Secrets of its environment; they are shown nowhere, and do not make the result another one.
    #[serde(default)]
    pub secrets: BTreeMap<String, Hidden>,
    /// Seconds after which it is ended; a day where none is given.
    #[serde(default = "a_day")]
    pub timeout: u64,
}

/// Text that no debug output shows. It is in the JSON of a job, which goes over standard input only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("url", &shown(&self.url))
            .field("mirrors", &self.mirrors.iter().map(shown).collect::<Vec<_>>())
            .field("sha256", &self.sha256)
            .field("recorded", &self.recorded)
            .field("size", &self.size)
            .finish()
    }
}

impl Origin {
    /// What it is, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Url(download) => shown(&download.url),
            Self::Path(path) => path.display().to_string(),
            Self::Bucket(bucket) => bucket.shown(),
            Self::Dataset(another) => {
                let sources: Vec<String> = another.job.sources.iter().map(|source| source.from.shown()).collect();
                format!("the dataset of {}", sources.join(", "))
            }
        }
    }
}

impl Bucket {
    /// What it is, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let at = match (self.site.as_str(), &self.store) {
            ("", Some(keys)) => format!(" at {}", shown(&keys.endpoint)),
            ("", None) => String::new(),
            (site, _) => format!(" at {site}"),
        };
        format!("{}/{}{at}", self.bucket, self.prefix.trim_matches('/'))
    }

    /// What the keys of its objects begin with.
    pub(super) fn below(&self) -> String {
        match self.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }
}

impl Job {
    /// The buckets that it reads, also those of the datasets that it reads.
    #[must_use]
    pub fn buckets(&self) -> Vec<&Bucket> {
        let mut found = Vec::new();
        for source in &self.sources {
            match &source.from {
                Origin::Bucket(bucket) => found.push(bucket),
                Origin::Dataset(another) => found.extend(another.job.buckets()),
                Origin::Url(_) | Origin::Path(_) => {}
            }
        }
        found
    }
}

/// A URL without what may be a secret: user, password, query and fragment.
#[must_use]
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can be set on a URL without a host, which has none then.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn comma() -> char {
    ','
}

fn tab() -> char {
    '\t'
}

fn a_day() -> u64 {
    24 * 60 * 60
}

fn shard_prefix() -> String {
    "shard-".to_owned()
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_travels_as_json() {
        let text = r#"{
            "sources": [
                {"from": {"url": {"url": "https://example.org/Food-11.zip"}}},
                {"from": {"path": "/data/more"}, "into": "more", "strip": 1},
                {"from": {"bucket": {"bucket": "b", "prefix": "p", "store": {"endpoint": "https://s.example:7480",
                    "region": "r", "access_key": "hunter2", "secret_key": "hunter2"}}}},
                {"from": {"dataset": {"staging": "/s", "job": {"sources": [{"from": {"bucket": {"bucket": "c"}}}]}}}}
            ],
            "transform": [
                {"class_folders": {"pattern": "^(\\d+)_", "name": "class_{1:02}"}},
                {"webdataset": {"samples": 1000, "series": 1, "label": {"pattern": "class_(\\d+)/"}}},
                {"command": {"run": "cp -r $SRC/. $OUT", "secrets": {"TOKEN": "hunter2"}}}
            ]
        }"#;
        let job: Job = serde_json::from_str(text).unwrap();
        let again: Job = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
        assert_eq!(job, again);
        assert_eq!(job.limits, Limits::default());
        assert_eq!(
            job.buckets().iter().map(|one| one.shown()).collect::<Vec<_>>(),
            ["b/p at https://s.example:7480/", "c/"]
        );
        assert!(!format!("{job:?}").contains("hunter2"));
        let wrong = text.replace("\"strip\"", "\"strips\"");
        assert!(serde_json::from_str::<Job>(&wrong).unwrap_err().to_string().contains("unknown field `strips`"));
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let url = Url::parse("https://me:secret@example.org/a.zip?signature=secret#x").unwrap();
        assert_eq!(shown(&url), "https://example.org/a.zip");
        let download = Download { url: url.clone(), mirrors: vec![url], sha256: None, recorded: None, size: None };
        assert!(!format!("{download:?}").contains("secret"));
    }
}
