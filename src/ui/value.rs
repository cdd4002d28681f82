//! Field values as people read them: sizes with their unit, durations as a spec writes them, references by name.
//!
//! In: a [`Value`], its [`Type`] where the kind's table is known, and the names that ids have ([`Labels`]). Out: one
//! line ([`inline`]) or several ([`lines`]), without colours. Invariant: text from outside is [`printable`], and text
//! that could be taken for something else is quoted.

use std::collections::BTreeMap;

use crate::kinds::schema::{Field, Type};
use crate::model::{Fields, Reference, RemoteId, Target, Value};
use crate::plan::Plan;

use super::style::printable;

/// What is not known before the apply.
pub const UNKNOWN: &str = "(known after apply)";
/// What a field without a value holds.
pub const NONE: &str = "(none)";
/// What a sensitive field holds.
pub const SENSITIVE: &str = "(sensitive)";

/// The names of objects that a service names by id alone, learnt from a plan.
#[derive(Debug, Default)]
pub struct Labels(BTreeMap<(String, RemoteId), String>);

impl Labels {
    /// The names that a plan knows: its own resources' addresses and the texts of lookups.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut labels = Self::default();
        for action in plan.actions.values() {
            for fields in [&action.applied, &action.live, &action.fields] {
                fields.values().for_each(|value| value.visit_refs(&mut |reference| labels.learn(reference)));
            }
        }
        // Our own resources come last: their address says more than the text of a lookup.
        for action in plan.actions.values() {
            if let Some(id) = &action.id {
                labels.0.insert((action.kind.clone(), id.clone()), action.address.to_string());
            }
        }
        labels
    }

    fn learn(&mut self, reference: &Reference) {
        if let (Target::Lookup(text), Some(id)) = (&reference.target, &reference.id) {
            self.0.insert((reference.kind.clone(), id.clone()), text.clone());
        }
    }

    /// What people call the target.
    #[must_use]
    pub fn label(&self, reference: &Reference) -> String {
        match (&reference.target, &reference.id) {
            (Target::Resource(address), _) => address.to_string(),
            (Target::Lookup(text), _) => printable(text).into_owned(),
            (Target::Live, None) => UNKNOWN.to_owned(),
            (Target::Live, Some(id)) => {
                let known = self.0.get(&(reference.kind.clone(), id.clone()));
                known.map_or_else(|| printable(&id.0).into_owned(), |label| printable(label).into_owned())
            }
        }
    }
}

/// The value on one line.
#[must_use]
pub fn inline(value: &Value, ty: Option<&Type>, labels: &Labels) -> String {
    one_line(value, ty, labels, false)
}

fn one_line(value: &Value, ty: Option<&Type>, labels: &Labels, nested: bool) -> String {
    match value {
        Value::Null => NONE.to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => int(*number, ty),
        // A program or a file inside a mapping: what it says stands where it came from.
        Value::String(text) if nested && text.lines().nth(3).is_some() => format!("({} lines)", text.lines().count()),
        Value::String(text) => quoted(text, nested),
        Value::Unknown(_) => UNKNOWN.to_owned(),
        Value::Secret(_) => SENSITIVE.to_owned(),
        Value::Template(template) => printable(&template.to_string()).into_owned(),
        Value::Ref(reference) => labels.label(reference),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(|item| one_line(item, item_type(ty), labels, true)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(fields) => {
            let entries: Vec<_> = ordered(fields, ty)
                .map(|(key, value, ty)| format!("{}: {}", quoted(key, true), hidden(value, ty, labels)))
                .collect();
            if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
        }
    }
}

fn hidden(value: &Value, field: Member<'_>, labels: &Labels) -> String {
    if field.sensitive { SENSITIVE.to_owned() } else { one_line(value, field.ty, labels, true) }
}

/// The value on as many lines as it takes, the way YAML lays it out.
#[must_use]
pub fn lines(value: &Value, ty: Option<&Type>, labels: &Labels) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => printable(text).lines().map(str::to_owned).collect(),
        Value::List(items) => {
            items.iter().map(|item| format!("- {}", one_line(item, item_type(ty), labels, true))).collect()
        }
        Value::Map(fields) => ordered(fields, ty)
            .map(|(key, value, ty)| format!("{}: {}", quoted(key, true), hidden(value, ty, labels)))
            .collect(),
        other => vec![inline(other, ty, labels)],
    }
}

/// Whether the value is laid out on several lines whatever the room.
#[must_use]
pub fn is_long_text(value: &Value) -> bool {
    matches!(value, Value::String(text) if text.trim_end().contains('\n'))
}

/// What is known of a map's member.
#[derive(Clone, Copy)]
struct Member<'a> {
    ty: Option<&'a Type>,
    sensitive: bool,
}

/// A map's entries: in the order of the kind's table where there is one, then by name; empty ones are left out.
fn ordered<'a>(fields: &'a Fields, ty: Option<&'a Type>) -> impl Iterator<Item = (&'a str, &'a Value, Member<'a>)> {
    let table: &[Field] = match ty {
        Some(Type::Struct(table) | Type::Short(_, table)) => table,
        _ => &[],
    };
    let each = match ty {
        Some(Type::Map(inner)) => Some(*inner),
        _ => None,
    };
    let known = table.iter().filter_map(move |field| {
        let member = Member { ty: Some(&field.ty), sensitive: field.sensitive };
        fields.get_key_value(field.name).map(|(key, value)| (key.as_str(), value, member))
    });
    let others = fields
        .iter()
        .filter(move |(key, _)| table.iter().all(|field| field.name != key.as_str()))
        .map(move |(key, value)| (key.as_str(), value, Member { ty: each, sensitive: false }));
    known.chain(others).filter(|(_, value, _)| !value.is_null())
}

fn item_type(ty: Option<&Type>) -> Option<&Type> {
    match ty {
        Some(Type::List(inner) | Type::Set(inner) | Type::NamedList(inner)) => Some(*inner),
        Some(Type::WordOr(_, inner)) => item_type(Some(*inner)),
        _ => None,
    }
}

fn int(number: i64, ty: Option<&Type>) -> String {
    match ty {
        Some(Type::Size) => size(number),
        Some(Type::Bytes) => u64::try_from(number).map_or_else(|_| number.to_string(), crate::dataset::text::bytes),
        Some(Type::Duration | Type::TimeOrSpan) => duration(number),
        Some(Type::WordOr(_, inner)) => int(number, Some(*inner)),
        _ => number.to_string(),
    }
}

/// GiB, as people say it.
#[must_use]
pub fn size(gib: i64) -> String {
    if gib != 0 && gib % 1024 == 0 { format!("{} TiB", gib / 1024) } else { format!("{gib} GiB") }
}

/// Seconds, as a spec writes them: `1d12h`, `90m` reads `1h30m`.
#[must_use]
pub fn duration(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let mut rest = seconds.unsigned_abs();
    let mut text = String::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { format!("{sign}{text}") }
}

/// Text, in quotes where it could be taken for something else.
fn quoted(text: &str, nested: bool) -> String {
    let ambiguous = text.is_empty()
        || text.trim() != text
        || text.starts_with(['(', '"', '\'', '[', '{'])
        || text.contains(['\n', '\t'])
        || text.contains(" -> ")
        || matches!(text, "true" | "false" | "null" | "~")
        || text.parse::<f64>().is_ok()
        || (nested && text.contains([',', '[', ']', '{', '}']))
        || (nested && text.contains(": "));
    let clean = printable(text);
    if !ambiguous {
        return clean.into_owned();
    }
    let inner = clean.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
    format!("\"{inner}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::schema::{OnChange, field};

    #[test]
    fn units_read_as_a_spec_writes_them() {
        assert_eq!((size(60), size(2048)), ("60 GiB".to_owned(), "2 TiB".to_owned()));
        assert_eq!(duration(14_400), "4h");
        assert_eq!(duration(129_600), "1d12h");
        assert_eq!((duration(5_400), duration(0)), ("1h30m".to_owned(), "0s".to_owned()));
    }

    #[test]
    fn maps_follow_the_table_and_hide_what_is_sensitive() {
        const SECRET: Field = Field { sensitive: true, change: OnChange::Update, ..field("a_secret", Type::Text, "") };
        static TABLE: [Field; 3] = [field("size", Type::Size, ""), SECRET, field("name", Type::Text, "")];
        let map = Value::Map(Fields::from([
            ("name".to_owned(), Value::text("a, b")),
            ("size".to_owned(), Value::Int(2)),
            ("a_secret".to_owned(), Value::text("hunter2")),
            ("extra".to_owned(), Value::Null),
        ]));
        let text = inline(&map, Some(&Type::Struct(&TABLE)), &Labels::default());
        assert_eq!(text, r#"{ size: 2 GiB, a_secret: (sensitive), name: "a, b" }"#);
    }

    #[test]
    fn text_that_reads_as_something_else_is_quoted() {
        let show = |text: &str| inline(&Value::text(text), None, &Labels::default());
        assert_eq!(show("m1.medium"), "m1.medium");
        assert_eq!(show(""), "\"\"");
        assert_eq!(show("42"), "\"42\"");
        assert_eq!(show(UNKNOWN), "\"(known after apply)\"");
    }
}
