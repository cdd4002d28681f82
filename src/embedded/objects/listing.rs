//! Lists of a bucket's objects, a page at a time, for both APIs.
//!
//! In: what is listed (prefix, delimiter, where to go on, how many). Out: keys in the order of their bytes; what is below a
//! common prefix is one entry and is stepped over, not read.

use super::docs::{Object, Version};
use crate::embedded::tables::State;

/// What is to be listed.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// What keys begin with.
    pub prefix: String,
    /// What ends a common prefix; empty for none.
    pub delimiter: String,
    /// The list goes on after this key or common prefix.
    pub after: String,
    /// The version of that key after which it goes on, in a list of versions.
    pub after_version: Option<String>,
    /// The list ends before this key.
    pub until: Option<String>,
    /// How many entries.
    pub most: usize,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A version of an object, and whether it is the newest.
    Version(String, Box<Version>, bool),
    /// What several keys begin with.
    Prefix(String),
}

/// A page.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether there are more.
    pub more: bool,
}

impl Query {
    /// The common prefix that the key is below.
    fn common(&self, key: &str) -> Option<String> {
        let rest = key.strip_prefix(&self.prefix)?;
        let end = rest.find(&self.delimiter).filter(|_| !self.delimiter.is_empty())? + self.delimiter.len();
        Some(format!("{}{}", self.prefix, &rest[..end]))
    }
}

/// The objects that are there.
#[must_use]
pub fn objects(state: &State, bucket: &str, query: &Query) -> Page {
    walk(state, bucket, query, false)
}

/// All versions and removal markers.
#[must_use]
pub fn versions(state: &State, bucket: &str, query: &Query) -> Page {
    walk(state, bucket, query, true)
}

/// The least text after every text that begins so.
fn past(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

fn walk(state: &State, bucket: &str, query: &Query, all: bool) -> Page {
    let mut page = Page::default();
    let mut start = query.prefix.clone();
    if query.after.as_str() > start.as_str() {
        start.clone_from(&query.after);
    }
    'from: loop {
        for object in Object::walk(state, bucket, &start) {
            let ended = query.until.as_ref().is_some_and(|until| object.key >= *until);
            if ended || !object.key.starts_with(&query.prefix) {
                return page;
            }
            let hidden = !all && object.versions.first().is_none_or(|newest| newest.marker);
            if hidden {
                continue;
            }
            if let Some(common) = query.common(&object.key) {
                // One that the list went past before is not shown again.
                if common > query.after && !add(&mut page, query, Entry::Prefix(common.clone())) {
                    return page;
                }
                start = past(&common);
                continue 'from;
            }
            for entry in entries(object, query, all) {
                if !add(&mut page, query, entry) {
                    return page;
                }
            }
        }
        return page;
    }
}

/// Adds an entry; false, and the page has more, if it is full.
fn add(page: &mut Page, query: &Query, entry: Entry) -> bool {
    page.more = page.entries.len() >= query.most;
    if !page.more {
        page.entries.push(entry);
    }
    !page.more
}

fn entries(object: Object, query: &Query, all: bool) -> Vec<Entry> {
    let Object { key, versions } = object;
    let skipped = match (&query.after_version, key == query.after) {
        (_, false) => 0,
        (Some(id), true) if all => versions.iter().position(|version| version.id == *id).map_or(0, |place| place + 1),
        (_, true) => usize::MAX,
    };
    let shown = if all { usize::MAX } else { 1 };
    let versions = versions.into_iter().enumerate().take(shown).skip(skipped);
    versions.map(|(place, version)| Entry::Version(key.clone(), Box::new(version), place == 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::objects::docs::{Bucket, Versioning, put_version, remove};

    fn bucket(versioning: Versioning) -> Bucket {
        Bucket {
            name: "b".to_owned(),
            project_id: "p".to_owned(),
            created: 0,
            changed: 0,
            versioning,
            meta: Default::default(),
            read: String::new(),
            write: String::new(),
            grants: Vec::new(),
            cors: Vec::new(),
            tags: Vec::new(),
        }
    }

    fn state(keys: &[&str]) -> State {
        let mut state = State::default();
        for key in keys {
            put_version(&mut state, &bucket(Versioning::Off), key, Version::default(), &mut Vec::new());
        }
        let other = Bucket { name: "b0".to_owned(), ..bucket(Versioning::Off) };
        put_version(&mut state, &other, "another bucket's", Version::default(), &mut Vec::new());
        state
    }

    fn name(entry: &Entry) -> &str {
        match entry {
            Entry::Version(key, ..) => key,
            Entry::Prefix(prefix) => prefix,
        }
    }

    fn names(page: &Page) -> Vec<&str> {
        page.entries.iter().map(name).collect()
    }

    fn listed(state: &State, prefix: &str, delimiter: &str, after: &str, most: usize) -> (String, bool) {
        let query = Query {
            prefix: prefix.to_owned(),
            delimiter: delimiter.to_owned(),
            after: after.to_owned(),
            most,
            ..Query::default()
        };
        let page = objects(state, "b", &query);
        (names(&page).join(" "), page.more)
    }

    #[test]
    fn keys_come_in_order_and_common_prefixes_once() {
        let state = state(&["c/e.txt", "a.txt", "c/d/x", "dir/", "c", "b.txt"]);
        let all = |prefix, delimiter, after, most| listed(&state, prefix, delimiter, after, most);
        assert_eq!(all("", "", "", 99), ("a.txt b.txt c c/d/x c/e.txt dir/".to_owned(), false));
        assert_eq!(all("", "/", "", 99), ("a.txt b.txt c c/ dir/".to_owned(), false));
        assert_eq!(all("c/", "/", "", 99), ("c/d/ c/e.txt".to_owned(), false));
        assert_eq!(all("", "/", "", 4), ("a.txt b.txt c c/".to_owned(), true));
        assert_eq!(all("", "/", "c/", 99), ("dir/".to_owned(), false));
        assert_eq!(all("", "", "b.txt", 2), ("c c/d/x".to_owned(), true));
        assert_eq!(all("c/", "", "a", 2), ("c/d/x c/e.txt".to_owned(), false));
        assert_eq!(all("none", "/", "", 99), (String::new(), false));
        let until = Query { until: Some("c".to_owned()), most: 99, ..Query::default() };
        assert_eq!(names(&objects(&state, "b", &until)), ["a.txt", "b.txt"]);
    }

    #[test]
    fn versions_come_newest_first_and_can_be_paged() {
        let (mut state, bucket) = (State::default(), bucket(Versioning::Enabled));
        let put = |state: &mut State, size| {
            put_version(state, &bucket, "k", Version { size, ..Version::default() }, &mut Vec::new()).id
        };
        let (one, two) = (put(&mut state, 1), put(&mut state, 2));
        let (removed, trash) = remove(&mut state, &bucket, "k", None, 0);
        assert!(removed.marker && trash.is_empty());
        assert!(objects(&state, "b", &Query { most: 9, ..Query::default() }).entries.is_empty());
        let ids = |page: Page| -> Vec<String> {
            page.entries
                .into_iter()
                .filter_map(|entry| if let Entry::Version(_, version, _) = entry { Some(version.id) } else { None })
                .collect()
        };
        let first = versions(&state, "b", &Query { most: 2, ..Query::default() });
        assert!(first.more);
        assert_eq!(ids(first), [removed.version.clone().unwrap(), two.clone()]);
        let rest = Query { after: "k".to_owned(), after_version: Some(two.clone()), most: 9, ..Query::default() };
        assert_eq!(ids(versions(&state, "b", &rest)), [one]);
        remove(&mut state, &bucket, "k", removed.version.as_deref(), 0);
        assert_eq!(names(&objects(&state, "b", &Query { most: 9, ..Query::default() })), ["k"]);
        assert_eq!(bucket.usage(&state), (1, 3));
    }
}
