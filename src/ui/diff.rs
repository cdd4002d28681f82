//! How a changed field is shown: `before -> after` where that is short, a line diff with the changed words marked
//! where it is not.
//!
//! In: two values and their type. Out: [`Shown`]. Invariant: a change never reads `x -> x`: two names that are equal
//! get their ids.

use similar::{ChangeTag, TextDiff};

use crate::kinds::schema::Type;
use crate::model::Value;

use super::style::{Styles, paint};
use super::value::{self, Labels, UNKNOWN};

/// How many lines around a change are shown.
const CONTEXT: usize = 2;

/// A field's value or change, laid out.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// Beside the field's name.
    Inline(String),
    /// Below it.
    Block(Vec<String>),
}

/// How to lay out.
#[derive(Clone, Copy)]
pub struct Layout<'a> {
    /// The names that ids have.
    pub labels: &'a Labels,
    /// The colours.
    pub styles: &'a Styles,
    /// The columns a value may take on one line.
    pub room: usize,
    /// The lines that a new value may take.
    pub max_lines: usize,
}

/// A value that has nothing to be compared with.
#[must_use]
pub fn show_value(value: &Value, ty: Option<&Type>, layout: Layout<'_>) -> Shown {
    let text = value::inline(value, ty, layout.labels);
    let short = text.chars().count() <= layout.room && !value::is_long_text(value);
    if short || !matches!(value, Value::List(_) | Value::Map(_) | Value::String(_)) {
        return Shown::Inline(text);
    }
    let mut lines = value::lines(value, ty, layout.labels);
    let more = lines.len().saturating_sub(layout.max_lines);
    if more > 1 {
        lines.truncate(layout.max_lines);
        lines.push(paint(layout.styles.quiet, format!("… {more} more lines")));
    }
    Shown::Block(lines)
}

/// A change.
#[must_use]
pub fn show_change(before: &Value, after: &Value, ty: Option<&Type>, layout: Layout<'_>) -> Shown {
    let (left, right) = names(before, after, ty, layout.labels);
    let fits = left.chars().count() + right.chars().count() <= layout.room;
    let long = value::is_long_text(before) || value::is_long_text(after);
    let lines = |value: &Value| value::lines(value, ty, layout.labels);
    let comparable = |value: &Value| matches!(value, Value::List(_) | Value::Map(_) | Value::String(_) | Value::Null);
    if (fits && !long) || !comparable(before) || !comparable(after) {
        return Shown::Inline(format!("{left} -> {right}"));
    }
    let blocks = (lines(before), lines(after));
    if blocks.0 == blocks.1 {
        // They differ in what no line shows: a last line end, an id.
        return Shown::Inline(format!("{left} -> {right}"));
    }
    Shown::Block(line_diff(&blocks.0, &blocks.1, layout.styles))
}

/// Both sides on one line, told apart.
fn names(before: &Value, after: &Value, ty: Option<&Type>, labels: &Labels) -> (String, String) {
    let (left, right) = (value::inline(before, ty, labels), value::inline(after, ty, labels));
    if left != right {
        return (left, right);
    }
    (with_id(before, left, labels), with_id(after, right, labels))
}

fn with_id(value: &Value, text: String, labels: &Labels) -> String {
    match value {
        Value::Ref(reference) => match &reference.id {
            Some(id) if id.0 == text => text,
            Some(id) => format!("{text} ({id})"),
            None => format!("{text} {UNKNOWN}"),
        },
        Value::List(items) if items.iter().any(|item| matches!(item, Value::Ref(_))) => {
            let items: Vec<_> =
                items.iter().map(|item| with_id(item, value::inline(item, None, labels), labels)).collect();
            format!("[{}]", items.join(", "))
        }
        _ => text,
    }
}

fn line_diff(before: &[String], after: &[String], styles: &Styles) -> Vec<String> {
    let ended = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let (before, after) = (ended(before), ended(after));
    let diff = TextDiff::from_lines(&before, &after);
    let mut shown = Vec::new();
    for (group, ops) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if group > 0 {
            shown.push(paint(styles.quiet, "  …"));
        }
        for change in ops.iter().flat_map(|op| diff.iter_inline_changes(op)) {
            let (sign, line, word) = match change.tag() {
                ChangeTag::Delete => ("- ", styles.delete, styles.removed_word),
                ChangeTag::Insert => ("+ ", styles.create, styles.added_word),
                ChangeTag::Equal => ("  ", styles.quiet, styles.quiet),
            };
            let mut text = paint(line, sign);
            for (emphasised, part) in change.iter_strings_lossy() {
                let part = part.trim_end_matches('\n');
                if !part.is_empty() {
                    text.push_str(&paint(if emphasised { word } else { line }, part));
                }
            }
            shown.push(text.trim_end().to_owned());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Reference, RemoteId, Target};

    fn layout<'a>(labels: &'a Labels, styles: &'a Styles) -> Layout<'a> {
        Layout { labels, styles, room: 40, max_lines: 4 }
    }

    fn server(id: Option<&str>) -> Value {
        let target = Target::Resource(Address::new("servers", "node"));
        Value::Ref(Reference { kind: "server".to_owned(), target, id: id.map(RemoteId::from) })
    }

    #[test]
    fn equal_names_are_told_apart_by_id() {
        let (labels, styles) = (Labels::default(), Styles::plain());
        let shown = show_change(&server(Some("7f3c")), &server(None), None, layout(&labels, &styles));
        assert_eq!(shown, Shown::Inline("servers.node (7f3c) -> servers.node (known after apply)".to_owned()));
    }

    #[test]
    fn a_long_list_is_compared_item_by_item() {
        let (labels, styles) = (Labels::default(), Styles::plain());
        let list = |items: &[&str]| Value::List(items.iter().map(|item| Value::text(*item)).collect());
        let before = list(&["first-rule-of-the-group", "second-rule-of-the-group"]);
        let after = list(&["first-rule-of-the-group", "third-rule-of-the-group"]);
        let Shown::Block(lines) = show_change(&before, &after, None, layout(&labels, &styles)) else {
            panic!("a block");
        };
        assert_eq!(
            lines,
            ["  - first-rule-of-the-group", "- - second-rule-of-the-group", "+ - third-rule-of-the-group"]
        );
    }

    #[test]
    fn a_new_text_is_cut_after_its_first_lines() {
        let (labels, styles) = (Labels::default(), Styles::plain());
        let text = (1..=9).map(|line| format!("line {line}\n")).collect::<String>();
        let Shown::Block(lines) = show_value(&Value::text(text), None, layout(&labels, &styles)) else {
            panic!("a block");
        };
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[4], "… 5 more lines");
    }
}
