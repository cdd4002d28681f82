//! Mistakes in what a user wrote, and how they are shown: code, place, underlined source, hint.
//!
//! A [`Diagnostic`] is data; rendering turns it into text. Invariants: every code is stable;
//! a diagnostic about a spec always has a span; rendering never panics, whatever the span.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::model::Json;

mod codes;
mod render;

pub use codes::{CODES, explanation};
pub use render::render;

/// Which file of [`Sources`] a span is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A range of bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// The texts that spans point into.
#[derive(Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

#[derive(Clone)]
struct Source {
    path: PathBuf,
    text: String,
    /// The byte at which each line starts.
    lines: Vec<u32>,
}

/// Texts may hold secrets (a flag's value, a spec's), so only paths are shown.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files.iter().map(|file| &file.path)).finish()
    }
}

/// A place as people and editors count: lines and columns from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The file.
    pub path: &'a Path,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Sources {
    /// Adds a file and returns its id.
    pub fn add(&mut self, path: PathBuf, text: String) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX))).collect();
        self.files.push(Source { path, text, lines });
        id
    }

    /// A file's path and text.
    #[must_use]
    pub fn get(&self, file: FileId) -> Option<(&PathBuf, &str)> {
        self.files.get(file.0 as usize).map(|file| (&file.path, file.text.as_str()))
    }

    /// The text of a span as it stands in the file; empty if the span is none of these texts'. For a number this is
    /// how it was written (`24.10`, `0x1F`), which its value has lost.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        let file = self.files.get(span.file.0 as usize);
        file.and_then(|file| file.text.get(span.start as usize..span.end as usize)).unwrap_or("")
    }

    /// Where a span starts.
    #[must_use]
    pub fn place(&self, span: Span) -> Option<Place<'_>> {
        let file = self.files.get(span.file.0 as usize)?;
        let line = self.line(span)?;
        let (start, text) = self.line_text(span.file, line)?;
        // The line break has no column of its own.
        let within = text.floor_char_boundary((span.start as usize).saturating_sub(start));
        let column = text[..within].chars().count() + 1;
        Some(Place { path: &file.path, line: line + 1, column })
    }

    /// The line, from 0, that a span starts in.
    fn line(&self, span: Span) -> Option<usize> {
        let file = self.files.get(span.file.0 as usize)?;
        Some(file.lines.partition_point(|&start| start <= span.start).saturating_sub(1))
    }

    /// A line's first byte and its text without the line break.
    fn line_text(&self, file: FileId, line: usize) -> Option<(usize, &str)> {
        let file = self.files.get(file.0 as usize)?;
        let start = *file.lines.get(line)? as usize;
        let end = file.lines.get(line + 1).map_or(file.text.len(), |&next| next as usize);
        let text = file.text.get(start..end)?;
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        Some((start, text))
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing goes on.
    Error,
    /// Worth a look; everything goes on.
    Warning,
}

/// A mistake, where it is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// The stable code, `unknown-field`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The places; the first is the one to underline, the others explain ("first declared here").
    pub labels: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            labels: vec![(span, String::new())],
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// The text beside the underline.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let Some(first) = self.labels.first_mut() {
            first.1 = text.into();
        }
        self
    }

    /// Another place that explains.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push((span, text.into()));
        self
    }

    /// What to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
}

impl Diagnostic {
    /// The form that `--json` prints. Lines and columns count from 1, columns in characters.
    #[must_use]
    pub fn to_json(&self, sources: &Sources) -> Json {
        let place = |span: Span| sources.place(span);
        let first = self.labels.first().and_then(|label| place(label.0));
        let labels: Vec<_> = self
            .labels
            .iter()
            .filter_map(|(span, text)| {
                let Place { path, line, column } = place(*span)?;
                Some(serde_json::json!({ "path": path.to_string_lossy(), "line": line, "column": column, "message": text }))
            })
            .collect();
        serde_json::json!({
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "path": first.map(|place| place.path.to_string_lossy().into_owned()),
            "line": first.map(|place| place.line),
            "column": first.map(|place| place.column),
            "help": self.help,
            "labels": labels,
        })
    }
}

/// How many diagnostics are kept: nobody reads more, and a broken file of a million lines must not cost memory.
const MAX_KEPT: usize = 1000;

/// Diagnostics as they are found; the same mistake at the same place counts once.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// Which of the list are about a place.
    by_place: HashMap<Option<Span>, Vec<usize>>,
    left_out: usize,
    error_left_out: bool,
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let place = diagnostic.labels.first().map(|label| label.0);
        let here = self.by_place.entry(place).or_default();
        // Two stages may find one mistake and offer different help; the first knew best.
        let what = |one: &Diagnostic| (one.severity, one.code, one.message.clone());
        let same = |other: &Diagnostic| what(other) == what(&diagnostic);
        if here.iter().any(|&at| same(&self.list[at])) {
            return;
        }
        if self.list.len() >= MAX_KEPT {
            self.left_out += 1;
            self.error_left_out |= diagnostic.severity == Severity::Error;
            return;
        }
        here.push(self.list.len());
        self.list.push(diagnostic);
    }

    /// Whether any is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.error_left_out || self.count(Severity::Error) > 0
    }

    /// How many are that bad.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// How many came after the first thousand and are not kept.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// All of them, by place.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<_> = self.list.iter().collect();
        sorted.sort_by_key(|diagnostic| diagnostic.labels.first().map(|label| label.0));
        sorted
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: T) {
        diagnostics.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }
}

#[cfg(test)]
mod tests;
