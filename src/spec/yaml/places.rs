//! Where the parser's marks are in the text: it counts characters, spans count bytes.

use saphyr_parser::Span as EventSpan;

use crate::diagnostic::{FileId, Span};

/// How many characters lie between two remembered places.
const STRIDE: usize = 64;

/// A text with the byte of every [`STRIDE`]th character.
pub struct Places<'text> {
    file: FileId,
    text: &'text str,
    /// Empty where every character is one byte.
    strides: Vec<u32>,
}

impl<'text> Places<'text> {
    /// Walks the text once.
    pub fn new(file: FileId, text: &'text str) -> Self {
        let strides = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().step_by(STRIDE).map(|(byte, _)| to_u32(byte)).collect()
        };
        Self { file, text, strides }
    }

    /// The text.
    pub fn text(&self) -> &'text str {
        self.text
    }

    /// The byte at which the character of that number starts.
    fn byte(&self, character: usize) -> usize {
        if self.strides.is_empty() {
            return character.min(self.text.len());
        }
        let Some(&start) = self.strides.get(character / STRIDE) else { return self.text.len() };
        let start = start as usize;
        self.text[start..].char_indices().nth(character % STRIDE).map_or(self.text.len(), |(byte, _)| start + byte)
    }

    /// A span of bytes.
    pub fn bytes(&self, start: usize, end: usize) -> Span {
        Span { file: self.file, start: to_u32(start), end: to_u32(end.max(start)) }
    }

    /// A span of the parser, without the blanks and line breaks at its end.
    pub fn span(&self, span: EventSpan) -> Span {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        let end = start + self.text.get(start..end).map_or(0, |inside| inside.trim_end().len());
        self.bytes(start, end)
    }

    /// The character of that number; an empty span at the end of the text.
    pub fn point(&self, character: usize) -> Span {
        let start = self.byte(character);
        let width = self.text[start..].chars().next().map_or(0, char::len_utf8);
        self.bytes(start, start + width)
    }

    /// The text of a span.
    pub fn slice(&self, span: Span) -> &'text str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or("")
    }
}

/// Files are far smaller than 4 GiB (`load::MAX_BYTES`).
fn to_u32(byte: usize) -> u32 {
    u32::try_from(byte).unwrap_or(u32::MAX)
}
