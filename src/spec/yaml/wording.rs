//! The parser's error texts in words for people who never read the YAML specification.
//!
//! The parser only has a text and a place, so this is a table of what its texts contain. A text that is not in the
//! table is shown as it is, after "not valid YAML".

use crate::diagnostic::{Diagnostic, Span};

/// What a text of the parser contains, what to say, and what to do.
const TABLE: &[(&str, &str, &str)] = &[
    (
        "found unexpected end of stream",
        "a quoted text starts here and never ends",
        "close it with the same quote; in '…' a quote is written twice, in \"…\" it is written \\\"",
    ),
    (
        "quoted scalar, found unexpected document indicator",
        "a quoted text runs over the end of the document",
        "close it with the same quote",
    ),
    (
        "mapping values are not allowed",
        "a `key: value` may not start here",
        "check the indentation of this line and the one before; a text that holds `: ` needs quotes",
    ),
    (
        "illegal placement of ':'",
        "a `key: value` may not start here",
        "check the indentation of this line and the one before; a text that holds `: ` needs quotes",
    ),
    (
        "did not find expected key",
        "this line fits no mapping above it",
        "keys of one mapping stand in the same column; a text that holds `{`, `[` or quotes may need quotes around all of it",
    ),
    (
        "did not find expected '-'",
        "this line fits no list above it",
        "entries of one list stand in the same column, each after `- `",
    ),
    (
        "expected ',' or '}'",
        "a `,` or `}` is missing before this",
        "a text that holds `,`, `{`, `}` or `: ` needs quotes in here",
    ),
    (
        "expected ',' or ']'",
        "a `,` or `]` is missing before this",
        "a text that holds `,`, `[`, `]` or `: ` needs quotes in here",
    ),
    ("misplaced bracket", "this bracket closes nothing", "remove it, or open it earlier"),
    ("simple key expect", "a `:` is missing after this key", "write `key: value`; a list's entries start with `- `"),
    ("simple key expected", "a `:` is missing after this key", "write `key: value`; a list's entries start with `- `"),
    (
        "mapping keys are not allowed",
        "a key may not start here",
        "check the indentation; a text that starts with `? ` needs quotes",
    ),
    (
        "block sequence entries are not allowed",
        "a list's entry may not start here",
        "put the list on the lines below its key; a text that starts with `- ` needs quotes",
    ),
    (
        "is only valid inside a block",
        "a `- ` entry may not stand inside brackets",
        "write [a, b], or put each entry on a line of its own",
    ),
    (
        "unknown escape character",
        "this escape is not known",
        "a backslash is written \\\\ in \"…\"; '…' takes it as it is",
    ),
    ("hexadecimal number", "an escape needs its hexadecimal digits here", "\\x41, \\u00e9 or \\U0001f600"),
    ("invalid Unicode character escape", "this escape stands for no character", "write the character itself"),
    ("unexpected character", "a text may not start with this character", "put the text in quotes"),
    ("plain scalar cannot start with '-'", "a text may not start like this", "put the text in quotes"),
    (
        "invalid trailing content after double-quoted",
        "a quoted text ended, and this follows it",
        "put the quotes around all of it; inside \"…\" a quote is written \\\"",
    ),
    (
        "comment intercepting",
        "a comment may not stand inside a text of several lines",
        "move the comment, or write the text with `|`",
    ),
    ("wrongly indented line in block scalar", "this line is indented less than the text it belongs to", "align it"),
    (
        "indentation indicator equal to 0",
        "the indentation after `|` or `>` is a digit from 1 to 9",
        "leave the digit out: it is found by itself",
    ),
    (
        "invalid indentation in quoted scalar",
        "a quoted text is not closed, or goes on with too little indentation",
        "close it with the same quote, or indent its next line more",
    ),
    (
        "invalid indentation",
        "this line is indented too little for what it is part of",
        "indent it more, or close the bracket before it",
    ),
    ("byte order mark", "a byte order mark stands inside the file", "remove the invisible character U+FEFF"),
    ("unexpected end of plain scalar", "a text ends unexpectedly here", "put the text in quotes"),
    ("did not find expected node content", "a value is missing here", "put it there, or remove what asks for it"),
    (
        "did not find expected <document start>",
        "the document ended before this",
        "check the indentation; the file may hold one document",
    ),
    (
        "did not find expected alphabetic or numeric",
        "an anchor (`&`) or alias (`*`) needs a name",
        "put the text in quotes if it is one",
    ),
];

/// What the parser says, in our words.
pub fn explain(info: &str, at: Span, text: &str) -> Diagnostic {
    let lower = info.to_ascii_lowercase();
    if lower.contains("recursion limit") {
        return Diagnostic::error("too-deep", at, "brackets are nested too deep");
    }
    if lower.contains("unknown anchor") {
        let name = word_at(text, at);
        return Diagnostic::error("unknown-anchor", at, format!("`{name}` names no anchor before it"))
            .help("mark the value to repeat with `&name`; a text that starts with `*` needs quotes");
    }
    if lower.contains("handle wasn't declared") {
        return Diagnostic::error("unknown-tag", at, "this tag's handle is not declared")
            .help("remove the tag; a text that starts with `!` needs quotes");
    }
    // "\ttab", "found a tab", "tabs disallowed", "tab cannot be used as indentation".
    if lower.contains("tabs ") || lower.contains("tab ") || lower.ends_with(" tab") {
        return Diagnostic::error("tab-indentation", tab_before(text, at), "a tab may not indent YAML")
            .help("indent with spaces");
    }
    match TABLE.iter().find(|(part, _, _)| info.contains(part)) {
        Some((_, message, help)) => Diagnostic::error("yaml-syntax", at, *message).help(*help),
        None => Diagnostic::error("yaml-syntax", at, format!("this is not valid YAML: {info}")),
    }
}

/// The word that starts at a place.
fn word_at(text: &str, at: Span) -> &str {
    let rest = text.get(at.start as usize..).unwrap_or("");
    rest.split(|character: char| character.is_whitespace() || matches!(character, ',' | ']' | '}')).next().unwrap_or("")
}

/// The parser notices a tab only behind it: the last tab of the line up to the place.
fn tab_before(text: &str, at: Span) -> Span {
    let here = at.start as usize;
    if text.get(here..).is_some_and(|rest| rest.starts_with('\t')) {
        return Span { end: at.start + 1, ..at };
    }
    let line = text.get(..here).map_or(0, |before| before.rfind('\n').map_or(0, |newline| newline + 1));
    match text.get(line..here).and_then(|line| line.rfind('\t')) {
        Some(tab) => {
            let start = u32::try_from(line + tab).unwrap_or(at.start);
            Span { start, end: start + 1, ..at }
        }
        None => at,
    }
}
