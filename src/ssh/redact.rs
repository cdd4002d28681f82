//! Values that must not be seen, replaced in whatever is shown.
//!
//! In: the values, as texts. Out: the same text or bytes with `[redacted]` in their place.
//!
//! Invariants: of two values that begin at the same place, the longer one is replaced. The lines of a value of several
//! lines are values too, for output is shown by lines. If no search can be built, everything is replaced.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use regex::bytes::{NoExpand, Regex, RegexBuilder};

/// What stands in the place of a value.
const MARK: &str = "[redacted]";
/// A line of a value of several lines counts from this length on: `{` alone is no secret.
const LINE_FROM: usize = 4;
/// Bytes that the search may take.
const SIZE_LIMIT: usize = 256 << 20;

/// Knows the values, and replaces them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    search: Option<Arc<Search>>,
}

struct Search {
    /// None if the values were too much for a search: everything is replaced then.
    pattern: Option<Regex>,
    values: Vec<Vec<u8>>,
    longest: usize,
}

impl Redactor {
    /// A redactor of these values. Empty ones, and those of blanks only, are passed over.
    #[must_use]
    pub fn new<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> Self {
        let mut found: Vec<String> = Vec::new();
        for value in values {
            let value = value.as_ref();
            if value.trim().is_empty() {
                continue;
            }
            found.push(value.to_owned());
            // A value read from a file often ends with a line break that is not printed with it.
            found.push(value.trim_end_matches(['\r', '\n']).to_owned());
            if value.trim().contains('\n') {
                found.extend(value.lines().map(str::trim).filter(|line| line.len() >= LINE_FROM).map(str::to_owned));
            }
        }
        Self::of(found.into_iter().map(String::into_bytes).collect())
    }

    /// A redactor of these values, and of another one's.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let values = |one: &Self| one.search.as_deref().map(|search| search.values.clone()).unwrap_or_default();
        Self::of([values(self), values(other)].concat())
    }

    fn of(mut found: Vec<Vec<u8>>) -> Self {
        found.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        found.dedup();
        if found.is_empty() {
            return Self::default();
        }
        // All of them came from texts.
        let escaped = found.iter().map(|value| regex::escape(&String::from_utf8_lossy(value)));
        let pattern = escaped.collect::<Vec<_>>().join("|");
        let pattern = RegexBuilder::new(&pattern).unicode(false).size_limit(SIZE_LIMIT).build().ok();
        let longest = found.first().map_or(0, Vec::len);
        Self { search: Some(Arc::new(Search { pattern, values: found, longest })) }
    }

    /// The text without the values.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The bytes without the values.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match self.search.as_deref() {
            None => Cow::Borrowed(bytes),
            Some(Search { pattern: Some(pattern), .. }) => pattern.replace_all(bytes, NoExpand(MARK.as_bytes())),
            Some(Search { pattern: None, .. }) => Cow::Borrowed(MARK.as_bytes()),
        }
    }

    /// The length of the longest value.
    pub(super) fn longest(&self) -> usize {
        self.search.as_deref().map_or(0, |search| search.longest)
    }

    /// The bytes without what may be the beginning of a value that was cut off at their end.
    pub(super) fn without_cut_end<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let cut = self.cut(|value, length| bytes.ends_with(&value[..length]));
        &bytes[..bytes.len() - cut]
    }

    /// The bytes without what may be the end of a value that was cut off at their beginning.
    pub(super) fn without_cut_start<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let cut = self.cut(|value, length| bytes.starts_with(&value[value.len() - length..]));
        &bytes[cut..]
    }

    /// The longest proper part of a value for which the test holds.
    fn cut(&self, test: impl Fn(&[u8], usize) -> bool) -> usize {
        let values = self.search.as_deref().map_or(&[][..], |search| &search.values);
        values
            .iter()
            .filter_map(|value| (1..value.len()).rev().find(|length| test(value, *length)))
            .max()
            .unwrap_or_default()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} values)", self.search.as_deref().map_or(0, |search| search.values.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_value_wins_and_the_rest_stays() {
        let redactor = Redactor::new(["hunter2", "hunter2-and-more", "", "  "]);
        assert_eq!(redactor.text("a hunter2-and-more b hunter2 c"), "a [redacted] b [redacted] c");
        assert!(matches!(redactor.text("nothing here"), Cow::Borrowed(_)));
        assert_eq!(Redactor::default().text("hunter2"), "hunter2");
    }

    #[test]
    fn two_hide_what_either_hides() {
        let both = Redactor::new(["hunter2"]).and(&Redactor::new(["swordfish"]));
        assert_eq!(both.text("hunter2 swordfish"), "[redacted] [redacted]");
        assert_eq!(Redactor::default().and(&Redactor::default()).text("x"), "x");
    }

    #[test]
    fn special_characters_are_plain_text() {
        let redactor = Redactor::new(["a.b*$1(", "grüße\u{1F511}"]);
        assert_eq!(redactor.text("x a.b*$1( aXb grüße\u{1F511}"), "x [redacted] aXb [redacted]");
    }

    #[test]
    fn lines_of_a_value_are_values() {
        let redactor = Redactor::new(["{\n  first line\n  second line\n}\n"]);
        assert_eq!(redactor.text("second line"), "[redacted]");
        assert_eq!(redactor.text("{ }"), "{ }");
    }

    #[test]
    fn parts_at_a_cut_are_taken_away() {
        let redactor = Redactor::new(["secret"]);
        assert_eq!(redactor.without_cut_end(b"the secr"), b"the ");
        assert_eq!(redactor.without_cut_end(b"the secret"), b"the secret");
        assert_eq!(redactor.without_cut_start(b"cret is"), b" is");
        assert_eq!(redactor.without_cut_start(b"other"), b"other");
    }

    #[test]
    fn values_are_not_shown_by_debug() {
        assert_eq!(format!("{:?}", Redactor::new(["hunter2"])), "Redactor(1 values)");
    }
}
