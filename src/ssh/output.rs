//! What a command prints: kept up to a bound, and cut into lines for those who watch.
//!
//! In: chunks of bytes as they arrive, in any encoding. Out: an [`Output`], with the beginning and the end of what was
//! printed; and lines as text, redacted and without control characters.
//!
//! Invariants: memory is bounded, whatever is printed. A secret is redacted too where it lies across two chunks, two
//! pieces of an over-long line, or the gap between beginning and end.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use super::redact::Redactor;

/// Lines longer than this come in pieces.
const LONGEST_LINE: usize = 8 << 10;

/// What a command printed on one of its two outputs.
#[derive(Clone, Default)]
pub struct Output {
    head: Vec<u8>,
    tail: Vec<u8>,
    total: u64,
    redactor: Redactor,
}

impl Output {
    /// All of it, as it came; none if it was more than is kept. Not redacted: for programs, not for people.
    #[must_use]
    pub fn whole(&self) -> Option<Cow<'_, [u8]>> {
        if self.left_out() > 0 {
            None
        } else if self.tail.is_empty() {
            Some(Cow::Borrowed(&self.head))
        } else {
            Some(Cow::Owned([&self.head[..], &self.tail[..]].concat()))
        }
    }

    /// How many bytes were printed.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many bytes between the beginning and the end were not kept.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.total - (self.head.len() + self.tail.len()) as u64
    }

    /// For people: redacted, with what is no UTF-8 replaced, and with a note where something was left out.
    #[must_use]
    pub fn text(&self) -> String {
        if let Some(whole) = self.whole() {
            return String::from_utf8_lossy(&self.redactor.bytes(&whole)).into_owned();
        }
        let head = self.redactor.bytes(&self.head);
        let tail = self.redactor.bytes(&self.tail);
        format!(
            "{}\n[… {} bytes left out …]\n{}",
            String::from_utf8_lossy(self.redactor.without_cut_end(&head)),
            self.left_out(),
            String::from_utf8_lossy(self.redactor.without_cut_start(&tail)),
        )
    }

    /// The last lines, for people.
    #[must_use]
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let text = self.text();
        let lines: Vec<String> = text
            .split(['\n', '\r'])
            .map(printable)
            .filter(|line| !line.trim().is_empty())
            .map(Cow::into_owned)
            .collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

/// Keeps the beginning and the end of what arrives.
#[derive(Debug)]
pub(super) struct Keeper {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    head_bound: usize,
    tail_bound: usize,
}

impl Keeper {
    /// Keeps so many bytes: a quarter of them of the beginning, the rest of the end.
    pub(super) fn new(bound: usize) -> Self {
        let head_bound = bound / 4;
        Self { head: Vec::new(), tail: VecDeque::new(), total: 0, head_bound, tail_bound: bound - head_bound }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.total += chunk.len() as u64;
        let (first, rest) = chunk.split_at(chunk.len().min(self.head_bound - self.head.len()));
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.tail_bound)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(self.tail_bound);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    pub(super) fn finish(self, redactor: Redactor) -> Output {
        Output { head: self.head, tail: self.tail.into(), total: self.total, redactor }
    }
}

/// Cuts what arrives into lines.
#[derive(Debug)]
pub(super) struct Lines {
    pending: Vec<u8>,
    redactor: Redactor,
}

impl Lines {
    pub(super) fn new(redactor: Redactor) -> Self {
        Self { pending: Vec::new(), redactor }
    }

    /// Takes a chunk, and gives each line that it completes. A carriage return ends a line too: progress bars use it.
    pub(super) fn push(&mut self, mut chunk: &[u8], line: &mut dyn FnMut(&str)) {
        while let Some(end) = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.add(&chunk[..end], line);
            self.flush(line);
            chunk = &chunk[end + 1..];
        }
        self.add(chunk, line);
    }

    /// Gives what is left, a last line without an end.
    pub(super) fn flush(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.pending.is_empty() {
            show(&self.redactor.bytes(&self.pending), line);
            self.pending.clear();
        }
    }

    fn add(&mut self, piece: &[u8], line: &mut dyn FnMut(&str)) {
        for piece in piece.chunks(LONGEST_LINE) {
            self.pending.extend_from_slice(piece);
            // What may be the beginning of a value stays, so that it is seen whole in the next piece.
            let back = self.redactor.longest().saturating_sub(1);
            if self.pending.len() > LONGEST_LINE + back {
                let clean = self.redactor.bytes(&self.pending).into_owned();
                let (now, later) = clean.split_at(clean.len().saturating_sub(back));
                show(now, line);
                self.pending = later.to_vec();
            }
        }
    }
}

fn show(bytes: &[u8], line: &mut dyn FnMut(&str)) {
    line(&printable(&String::from_utf8_lossy(bytes)));
}

/// A line without control characters: a server's output does not drive anybody's terminal.
pub(super) fn printable(line: &str) -> Cow<'_, str> {
    if !line.contains(|c: char| c.is_control() && c != '\t') {
        return Cow::Borrowed(line);
    }
    let mut clean = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.peek() == Some(&'[') {
            // A control sequence: parameters, then one final character.
            chars.next();
            while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {}
        } else if c == '\t' || !c.is_control() {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bound: usize, chunks: &[&[u8]], redactor: Redactor) -> Output {
        let mut keeper = Keeper::new(bound);
        chunks.iter().for_each(|chunk| keeper.push(chunk));
        keeper.finish(redactor)
    }

    fn lines(chunks: &[&[u8]], redactor: Redactor) -> Vec<String> {
        let mut out = Vec::new();
        let mut lines = Lines::new(redactor);
        chunks.iter().for_each(|chunk| lines.push(chunk, &mut |line| out.push(line.to_owned())));
        lines.flush(&mut |line| out.push(line.to_owned()));
        out
    }

    #[test]
    fn what_fits_is_whole() {
        let output = kept(8, &[b"abc", b"def", b"gh"], Redactor::default());
        assert_eq!(output.whole().as_deref(), Some(&b"abcdefgh"[..]));
        assert_eq!((output.total(), output.left_out()), (8, 0));
    }

    #[test]
    fn more_keeps_the_beginning_and_the_end() {
        let output = kept(8, &[b"abcdefghij", b"k", b"lmnopqrstuvwxyz"], Redactor::default());
        assert_eq!(output.whole(), None);
        assert_eq!(output.text(), "ab\n[… 18 bytes left out …]\nuvwxyz");
        let output = kept(8, &[b"abcdefgh", b"i"], Redactor::default());
        assert_eq!(output.text(), "ab\n[… 1 bytes left out …]\ndefghi");
    }

    #[test]
    fn a_secret_cut_by_the_bound_is_not_shown() {
        let output = kept(16, &[b"a hun", b"ter2, then much more, then hunter2"], Redactor::new(["hunter2"]));
        assert_eq!(output.text(), "a \n[… 23 bytes left out …]\nthen [redacted]");
        let output = kept(16, &[b"0123456789 and hunter2 endings"], Redactor::new(["hunter2"]));
        assert_eq!(output.text(), "0123\n[… 14 bytes left out …]\n endings");
    }

    #[test]
    fn lines_are_cut_and_cleaned() {
        assert_eq!(
            lines(&[b"one\r\ntw", b"o\n\x1b[31mred\x1b[0m\x07\n", b"\xff\xfe bytes\tx\nlast"], Redactor::default()),
            ["one", "two", "red", "\u{fffd}\u{fffd} bytes\tx", "last"]
        );
        assert_eq!(lines(&[b"10%\r20%\r"], Redactor::default()), ["10%", "20%"]);
    }

    #[test]
    fn secrets_are_redacted_across_chunks_and_pieces() {
        assert_eq!(lines(&[b"a hun", b"ter2 b\n"], Redactor::new(["hunter2"])), ["a [redacted] b"]);
        for shift in 0..8 {
            let mut long = vec![b'x'; LONGEST_LINE - 3 + shift];
            long.extend_from_slice(b"hunter2");
            long.extend(vec![b'y'; 2 * LONGEST_LINE]);
            for size in [7, 4096, long.len()] {
                let chunks: Vec<&[u8]> = long.chunks(size).collect();
                let pieces = lines(&chunks, Redactor::new(["hunter2"]));
                assert!(pieces.iter().all(|piece| piece.len() <= 2 * LONGEST_LINE), "pieces are bounded");
                let joined = pieces.concat();
                assert_eq!(joined.matches('x').count(), LONGEST_LINE - 3 + shift);
                assert_eq!(joined.matches('y').count(), 2 * LONGEST_LINE);
                assert!(joined.contains("x[redacted]y"), "shift {shift}, chunks of {size}");
            }
        }
    }

    #[test]
    fn last_lines_are_those_with_text() {
        let output = kept(100, &[b"one\ntwo\n\nthree\r\n\n"], Redactor::default());
        assert_eq!(output.last_lines(2), ["two", "three"]);
        assert_eq!(output.last_lines(9).len(), 3);
    }
}
