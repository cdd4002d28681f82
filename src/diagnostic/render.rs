//! Diagnostics as people read them: title, place, the source line underlined, what to do.
//!
//! In: diagnostics and the texts they point into. Out: text for a terminal, or for a file where `color` is off.
//!
//! Invariants:
//! - Never a panic, whatever the spans: a span that is in no text shows the title alone; one that ends on a later line
//!   is cut at the end of its first; byte offsets are moved to characters.
//! - Only the lines that are shown are handed on, long ones cut around their spans: the cost does not grow with the
//!   file.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, FileId, Severity, Sources, Span};

/// Labels this many lines from the first share its excerpt; others get one of their own.
const NEAR: usize = 20;

/// Narrower than this, nothing can be shown; wider, nobody's eyes follow.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=160;

/// Characters kept on either side of a span in a long line; more than [`WIDTHS`] allows to be seen.
const AROUND: usize = 200;

/// The diagnostics one after the other, each followed by an empty line.
#[must_use]
pub fn render(diagnostics: &[&Diagnostic], sources: &Sources, color: bool, width: usize) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(width.clamp(*WIDTHS.start(), *WIDTHS.end()));
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&renderer.render(&[group(diagnostic, sources)]));
        text.push_str("\n\n");
    }
    text
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()).id(diagnostic.code));
    for excerpt in excerpts(diagnostic, sources) {
        group = excerpt.show(group, sources);
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

/// Lines of one file with the spans in them.
struct Excerpt<'a> {
    file: FileId,
    marks: Vec<Mark<'a>>,
}

/// A span to underline.
struct Mark<'a> {
    span: Span,
    line: usize,
    text: &'a str,
    kind: AnnotationKind,
}

fn excerpts<'a>(diagnostic: &'a Diagnostic, sources: &Sources) -> Vec<Excerpt<'a>> {
    let mut excerpts: Vec<Excerpt<'a>> = Vec::new();
    for (span, text) in &diagnostic.labels {
        let Some(line) = sources.line(*span) else { continue };
        let kind = if excerpts.is_empty() { AnnotationKind::Primary } else { AnnotationKind::Context };
        let mark = Mark { span: *span, line, text, kind };
        let near =
            |excerpt: &&mut Excerpt<'_>| excerpt.file == span.file && excerpt.marks[0].line.abs_diff(line) <= NEAR;
        match excerpts.iter_mut().find(near) {
            Some(excerpt) => excerpt.marks.push(mark),
            None => excerpts.push(Excerpt { file: span.file, marks: vec![mark] }),
        }
    }
    excerpts
}

impl<'a> Excerpt<'a> {
    /// The lines from the first mark to the last, with the marks' spans moved to where they are in them.
    fn show(&self, group: Group<'a>, sources: &'a Sources) -> Group<'a> {
        let Some(place) = self.marks.first().and_then(|mark| sources.place(mark.span)) else { return group };
        let first = self.marks.iter().map(|mark| mark.line).min().unwrap_or(0);
        let last = self.marks.iter().map(|mark| mark.line).max().unwrap_or(first);
        let mut shown = String::new();
        let mut annotations = Vec::new();
        let mut cut = false;
        for number in first..=last {
            let Some((start, line)) = sources.line_text(self.file, number) else { continue };
            let here = || self.marks.iter().filter(|mark| mark.line == number);
            let spans: Vec<_> = here().map(|mark| within(mark.span, start, line)).collect();
            let (from, to) = window(line, &spans);
            let base = shown.len();
            for (mark, &(left, right)) in here().zip(&spans) {
                // A second mark far along a long line may be outside of what is shown.
                let inside = |at: usize| at.clamp(from, to) - from + base;
                let annotation = mark.kind.span(inside(left)..inside(right));
                annotations.push(if mark.text.is_empty() { annotation } else { annotation.label(mark.text) });
            }
            cut |= from > 0;
            shown.push_str(&line[from..to]);
            shown.push('\n');
        }
        let snippet = Snippet::source(shown).line_start(first + 1).annotations(annotations);
        let path = place.path.to_string_lossy();
        if cut {
            // The excerpt's own columns would count from the cut.
            group.element(Origin::path(path).line(place.line).char_column(place.column)).element(snippet)
        } else {
            group.element(snippet.path(path))
        }
    }
}

/// A span as bytes of its line, on character boundaries.
fn within(span: Span, start: usize, line: &str) -> (usize, usize) {
    let inside = |at: u32| (at as usize).saturating_sub(start).min(line.len());
    let left = line.floor_char_boundary(inside(span.start));
    (left, line.ceil_char_boundary(inside(span.end)).max(left))
}

/// What to show of a line: all of it, or what is around its first span.
fn window(line: &str, spans: &[(usize, usize)]) -> (usize, usize) {
    let (left, right) = spans.iter().min().copied().unwrap_or((0, 0));
    let from = left.saturating_sub(AROUND);
    let to = right.min(left + AROUND) + AROUND;
    (line.floor_char_boundary(from), line.ceil_char_boundary(to.min(line.len())))
}
