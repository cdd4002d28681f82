//! Conditions and ranges of requests, as Ceph's gateway reads them.
//!
//! Invariant: an ETag in a condition is compared with and without quotation marks when something is read; when something is
//! put, a quoted one fits nothing. That is what was measured.

use super::docs::Version;
use super::refusal::Refusal;
use crate::embedded::clock;
use crate::embedded::wire::Call;

/// A range of bytes: the first, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub start: u64,
    /// How many.
    pub length: u64,
}

impl Range {
    /// `bytes 0-4/5`.
    #[must_use]
    pub fn header(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, (self.start + self.length).saturating_sub(1))
    }
}

/// The range that a header asks for; of several the first. A header that names none asks for everything.
///
/// # Errors
/// `InvalidRange` if it begins after the end.
pub fn range(header: &str, size: u64) -> Result<Option<Range>, Refusal> {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .and_then(|ranges| ranges.split(',').next())
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Ok(None);
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let (start, end) = match (number(first), number(last)) {
        (Some(start), Some(end)) if end < start => return Ok(None),
        (Some(start), end) => (start, end.map_or(size, |end| end.saturating_add(1)).min(size)),
        (None, Some(count)) if first.is_empty() => (size.saturating_sub(count), size),
        (None, _) => return Ok(None),
    };
    if start >= size {
        return Err(Refusal::new("InvalidRange"));
    }
    Ok(Some(Range { start, length: end - start }))
}

fn is(condition: &str, etag: &str) -> bool {
    condition.split(',').map(|one| one.trim().trim_matches('"')).any(|one| one == "*" || one == etag)
}

fn date(call: &Call, name: &str) -> Option<i64> {
    clock::parse(call.header(name)?, "%a, %d %b %Y %H:%M:%S GMT")
}

/// Checks the conditions of a request that reads.
///
/// # Errors
/// `PreconditionFailed` or `NotModified`.
pub fn to_read(call: &Call, version: &Version) -> Result<(), Refusal> {
    let modified = version.modified.div_euclid(1000) * 1000;
    if let Some(condition) = call.header("if-match") {
        if !is(condition, &version.etag) {
            return Err(Refusal::new("PreconditionFailed"));
        }
    } else if date(call, "if-unmodified-since").is_some_and(|limit| modified > limit) {
        return Err(Refusal::new("PreconditionFailed"));
    }
    let same = match call.header("if-none-match") {
        Some(condition) => is(condition, &version.etag),
        None => date(call, "if-modified-since").is_some_and(|limit| modified <= limit),
    };
    if same { Err(Refusal::new("NotModified")) } else { Ok(()) }
}

/// Checks the conditions of a request that puts an object where `old` is now.
///
/// # Errors
/// `PreconditionFailed`.
pub fn to_write(call: &Call, old: Option<&Version>) -> Result<(), Refusal> {
    let exactly = |condition: &str, etag: &str| condition == "*" || condition == etag;
    let wanted = call.header("if-match");
    let unwanted = call.header("if-none-match");
    let met = wanted.is_none_or(|condition| old.is_some_and(|old| exactly(condition, &old.etag)))
        && unwanted.is_none_or(|condition| old.is_none_or(|old| !exactly(condition, &old.etag)));
    if met { Ok(()) } else { Err(Refusal::new("PreconditionFailed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_measured() {
        let read = |header: &str| match range(header, 5) {
            Ok(range) => Ok(range.map_or_else(|| "everything".to_owned(), |range| range.header(5))),
            Err(refusal) => Err(refusal.code),
        };
        assert_eq!(read("bytes=1-2"), Ok("bytes 1-2/5".to_owned()));
        assert_eq!(read("bytes=-2"), Ok("bytes 3-4/5".to_owned()));
        assert_eq!(read("bytes=3-"), Ok("bytes 3-4/5".to_owned()));
        assert_eq!(read("bytes=0-99"), Ok("bytes 0-4/5".to_owned()));
        assert_eq!(read("bytes=9-"), Err("InvalidRange"));
        assert_eq!(read("bytes=0-1,3-4"), Ok("bytes 0-1/5".to_owned()));
        assert_eq!(read("junk"), Ok("everything".to_owned()));
    }
}
