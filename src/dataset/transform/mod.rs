//! What becomes of files on their way into a bucket, one transform after the other.
//!
//! ```text
//!  class_folders   new names only: no file is read or copied
//!  webdataset      shards that are made while they are read: nothing is written to the disk
//!  split           a table's rows, dealt out into files of the staging folder
//!  command         a program's own files, in the staging folder
//! ```
//!
//! Invariants: each is a function of its entries and its description: the same in gives the same out, byte for byte (a
//! command's program is trusted to do so). No two files get one key. A transform that has nothing to do is a mistake,
//! told with some of the names that there were.

mod class_folders;
mod command;
mod split;
mod template;
mod webdataset;

use std::collections::HashMap;

pub(super) use command::ready;
use regex::Regex;

use super::content::Entry;
use super::digest::Sha256;
use super::job::{Others, Transform};
use super::staging::Staging;
use super::{DatasetError, ErrorKind, Watch, names, recipe, source, text};

/// What transforms work with.
pub(super) struct Transforming<'a> {
    pub(super) staging: &'a Staging,
    pub(super) watch: &'a dyn Watch,
}

/// What becomes of entries.
pub(super) fn apply(
    transform: &Transform,
    entries: Vec<Entry>,
    with: &Transforming<'_>,
) -> Result<Vec<Entry>, DatasetError> {
    let made = match transform {
        Transform::ClassFolders(this) => class_folders::apply(this, entries)?,
        Transform::Webdataset(this) => webdataset::apply(this, entries)?,
        Transform::Split(this) => split::apply(this, id(transform, &entries)?, entries, with)?,
        Transform::Command(this) => command::apply(this, id(transform, &entries)?, entries, with)?,
    };
    distinct(made)
}

/// What can be said of a transform before anything is downloaded.
pub fn check(transform: &Transform) -> Result<(), DatasetError> {
    match transform {
        Transform::ClassFolders(this) => class_folders::check(this),
        Transform::Webdataset(this) => webdataset::check(this),
        Transform::Split(this) => split::check(this),
        Transform::Command(this) => command::check(this),
    }
}

/// What the result of a transform is kept by: what it does, and to which files. `None` where the files cannot be told
/// from others without reading them.
fn id(transform: &Transform, entries: &[Entry]) -> Result<Option<Sha256>, DatasetError> {
    let what = recipe::digest(&recipe::transform(transform));
    let identity = source::identity_of(entries)?;
    Ok(identity.map(|identity| Sha256::of(format!("made 1\0{what}\0{identity}").as_bytes())))
}

/// Sorted by key, and each key once.
pub(super) fn distinct(mut entries: Vec<Entry>) -> Result<Vec<Entry>, DatasetError> {
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    match entries.windows(2).find(|pair| pair[0].key == pair[1].key) {
        None => Ok(entries),
        Some(pair) => {
            let (one, other) = (pair[0].content.origin(), pair[1].content.origin());
            let text = format!("two files would be `{}`: {one}, and {other}", pair[0].key);
            Err(DatasetError::new(ErrorKind::Transform, text))
        }
    }
}

fn regex(pattern: &str, what: &str) -> Result<Regex, DatasetError> {
    Regex::new(pattern).map_err(|error| DatasetError::new(ErrorKind::Job, format!("{what} `{pattern}`: {error}")))
}

/// Splits entries into those that a transform speaks of and the others, which are treated as told.
fn others(others: Vec<Entry>, rule: Others, what: &str) -> Result<Vec<Entry>, DatasetError> {
    match rule {
        Others::Keep => Ok(others),
        Others::Drop => Ok(Vec::new()),
        Others::Refuse if others.is_empty() => Ok(others),
        Others::Refuse => {
            let some = text::some(others.iter().map(|entry| entry.key.as_str()));
            Err(DatasetError::new(ErrorKind::Transform, format!("{what}: {some}")))
        }
    }
}

/// That nothing was found, with some of what there was.
fn nothing(what: &str, entries: &[Entry]) -> DatasetError {
    let text = match entries.is_empty() {
        true => format!("{what}: there is no file at all"),
        false => format!("{what}; there are {}", text::some(entries.iter().map(|entry| entry.key.as_str()))),
    };
    DatasetError::new(ErrorKind::Transform, text)
}

/// A key that was made.
fn made_key(key: String) -> Result<String, DatasetError> {
    match names::key(&key) {
        Ok(()) => Ok(key),
        Err(why) => {
            Err(DatasetError::new(ErrorKind::Transform, format!("`{}` cannot be a key: {why}", key.escape_debug())))
        }
    }
}

/// How often each value comes, by name.
fn counted<'a>(values: impl IntoIterator<Item = &'a str>) -> HashMap<&'a str, u64> {
    let mut counts = HashMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

/// A generator of numbers that is the same for a seed on every machine and in every version: SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound; its bias is less than the bound in 2^64.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_published_generator() {
        // The first numbers for the seed 1234567, as others compute them.
        let mut chance = Chance(1_234_567);
        assert_eq!([chance.next(), chance.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
        let mut below = [0; 3];
        (0..3000).for_each(|_| below[usize::try_from(chance.below(3)).unwrap()] += 1);
        assert!(below.iter().all(|count| (900..1100).contains(count)), "{below:?}");
    }
}
