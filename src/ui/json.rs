//! `--json`: one JSON object a line, each with the format's version and its type; `docs/json.md` describes them all.
//!
//! In: the same plain data that people's output is made of. Out: lines. Invariants: a field is only ever added within
//! a version; no sensitive field's value is in any line; a reader that is gone never stops an apply.

use std::io::{self, Write};

use serde_json::json;

use crate::apply::{Event, Outcome};
use crate::diagnostic::{Diagnostic, Severity, Sources, Span};
use crate::kinds::schema::Schema;
use crate::model::{Json, Reference, Target, Value};
use crate::plan::{Action, Plan, PlanError, Report};

use super::error::CliError;
use super::output::Output;
use super::plan::{VariableChange, is_internal, order};
use super::progress::Sink;

/// The version of the format.
pub const VERSION: u32 = 1;

/// Writes lines.
pub struct JsonLines<W> {
    out: Output<W>,
    failure: Option<io::Error>,
}

/// The table of a kind.
pub type SchemaOf<'a> = &'a dyn Fn(&str) -> Option<&'static Schema>;

impl<W: Write> JsonLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out: Output::new(out), failure: None }
    }

    /// Writes one line of that type; the body is an object.
    pub fn line(&mut self, kind: &str, body: Json) {
        if self.failure.is_some() {
            return;
        }
        let mut line = json!({ "version": VERSION, "type": kind });
        if let (Json::Object(line), Json::Object(body)) = (&mut line, body) {
            line.extend(body);
        }
        self.failure = self.out.print(&format!("{line}\n")).err();
    }

    /// The first line: which program, which command.
    pub fn start(&mut self, command: &str) {
        self.line("start", json!({ "anole": env!("CARGO_PKG_VERSION"), "command": command }));
    }

    /// A plan: its head, an `action` for each resource that is not simply kept, notes, and a `summary`.
    pub fn plan(&mut self, plan: &Plan, report: &Report, variables: &[VariableChange], schema: SchemaOf<'_>) {
        self.line(
            "plan",
            json!({ "stack": plan.stack, "lineage": plan.lineage, "serial": plan.serial, "mode": plan.mode,
                    "at": plan.at, "sites": plan.sites }),
        );
        for variable in variables {
            self.line("variable", json!({ "name": variable.name, "before": variable.before, "after": variable.after }));
        }
        let mut actions: Vec<_> =
            plan.actions.values().filter(|action| action.verb != crate::plan::Verb::Keep).collect();
        actions.sort_by_key(|action| order(&action.address, plan.mode));
        for action in actions {
            self.line("action", action_json(action, schema(&action.kind)));
        }
        for note in &report.notes {
            self.line("note", json!({ "warning": note.warning, "address": note.address, "text": note.text }));
        }
        self.line("summary", json!({ "empty": plan.is_empty(), "counts": plan.summary() }));
    }

    /// What came of an apply.
    pub fn outcome(&mut self, outcome: &Outcome) {
        let pairs = |list: &[(crate::model::Address, String)], what: &str| {
            list.iter().map(|(address, text)| json!({ "address": address, what: text })).collect::<Vec<_>>()
        };
        self.line(
            "outcome",
            json!({ "done": outcome.done, "failed": pairs(&outcome.failed, "error"),
                    "skipped": pairs(&outcome.skipped, "why"), "pending": pairs(&outcome.pending, "until"),
                    "interrupted": outcome.interrupted }),
        );
    }

    /// A mistake in a spec.
    pub fn diagnostic(&mut self, diagnostic: &Diagnostic, sources: &Sources) {
        self.line("diagnostic", diagnostic_json(diagnostic, sources));
    }

    /// A reason why there is no plan.
    pub fn problem(&mut self, problem: &PlanError) {
        self.line(
            "problem",
            json!({ "code": problem.code, "address": problem.address, "field": problem.field,
                    "message": problem.message, "help": problem.help }),
        );
    }

    /// An error that ends the command.
    pub fn error(&mut self, error: &CliError) {
        let body = json!({ "message": error.message, "causes": error.causes(), "hints": error.hints,
                           "exit_code": error.exit.code() });
        self.line("error", body);
    }

    /// Whether everything could be written; a reader that is gone is no failure.
    ///
    /// # Errors
    /// The first failure to write.
    pub fn finish(self) -> io::Result<()> {
        self.failure.map_or(Ok(()), Err)
    }
}

impl<W: Write + Send> Sink for JsonLines<W> {
    fn event(&mut self, event: &Event) {
        if let Ok(body) = serde_json::to_value(event) {
            self.line("event", body);
        }
    }
}

fn action_json(action: &Action, schema: Option<&Schema>) -> Json {
    let field = |name: &str| schema.and_then(|schema| schema.field(name));
    let shown = |name: &str| field(name).is_none_or(|field| !is_internal(field));
    let value = |name: &str, value: &Value| match field(name) {
        Some(field) if field.sensitive => json!({ "$sensitive": true }),
        _ => value_json(value),
    };
    let fields: serde_json::Map<_, _> = action
        .fields
        .iter()
        .filter(|(name, _)| shown(name))
        .map(|(name, field)| (name.clone(), value(name, field)))
        .collect();
    let changes: Vec<_> = action
        .changes
        .iter()
        .filter(|change| shown(&change.field))
        .map(|change| {
            json!({ "field": change.field, "before": value(&change.field, &change.before),
                    "after": value(&change.field, &change.after), "effect": change.effect, "note": change.note })
        })
        .collect();
    let reasons: Vec<_> = action.reasons.iter().map(reason_json).collect();
    json!({
        "address": action.address, "kind": action.kind, "site": action.site, "verb": action.verb, "id": action.id,
        "reasons": reasons, "changes": changes, "fields": fields, "protect": action.protect,
        "data_loss": action.data_loss, "in_guest": action.in_guest, "recorded_only": action.recorded_only,
    })
}

/// A reason's data and, under `text`, what people read.
fn reason_json(reason: &crate::plan::Reason) -> Json {
    let mut body = serde_json::to_value(reason).unwrap_or(Json::Null);
    if let Json::Object(body) = &mut body {
        body.insert("text".to_owned(), Json::String(reason.to_string()));
    }
    body
}

/// A value: plain JSON, but for objects with a key that starts with `$`.
#[must_use]
pub fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => Json::from(*number),
        Value::String(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(value_json).collect()),
        Value::Map(fields) => {
            Json::Object(fields.iter().map(|(key, value)| (key.clone(), value_json(value))).collect())
        }
        Value::Template(template) => json!({ "$template": template.to_string() }),
        Value::Secret(_) => json!({ "$sensitive": true }),
        Value::Unknown(address) => json!({ "$unknown": address }),
        Value::Ref(Reference { kind, target, id }) => {
            let name = match target {
                Target::Resource(address) => Some(address.to_string()),
                Target::Lookup(text) => Some(text.clone()),
                Target::Live => None,
            };
            json!({ "$ref": { "kind": kind, "name": name, "id": id } })
        }
    }
}

/// A diagnostic, with its places as file, line and column, both from 1.
#[must_use]
pub fn diagnostic_json(diagnostic: &Diagnostic, sources: &Sources) -> Json {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let labels: Vec<_> = diagnostic
        .labels
        .iter()
        .map(|(span, text)| {
            let mut place = place_json(*span, sources);
            if let Json::Object(place) = &mut place {
                place.insert("text".to_owned(), Json::String(text.clone()));
            }
            place
        })
        .collect();
    json!({ "severity": severity, "code": diagnostic.code, "message": diagnostic.message, "help": diagnostic.help,
            "labels": labels })
}

fn place_json(span: Span, sources: &Sources) -> Json {
    let Some((path, text)) = sources.get(span.file) else { return json!({ "file": null }) };
    let (line, column) = position(text, span.start);
    let (end_line, end_column) = position(text, span.end);
    json!({ "file": path.display().to_string(), "line": line, "column": column, "end_line": end_line,
            "end_column": end_column })
}

/// Line and column, in characters from 1, of a byte; one beyond the text counts as its end.
fn position(text: &str, byte: u32) -> (usize, usize) {
    let mut at = (byte as usize).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::schema::{Field, NameRule, Type, field};
    use crate::plan::{Reason, Verb};
    use crate::ui::plan::tests::{action, plan};

    static FIELDS: [Field; 2] =
        [field("secret", Type::Text, "A secret."), field("part_of", Type::Text, "The owner.").internal()];

    #[test]
    fn a_plan_is_one_object_a_line_without_secrets() {
        let mut sensitive = FIELDS;
        sensitive[0].sensitive = true;
        let schema: &'static Schema = Box::leak(Box::new(Schema {
            kind: "volume",
            section: "volumes",
            doc: "",
            fields: Box::leak(Box::new(sensitive)),
            attributes: &[],
            protect: true,
            lookup: false,
            name: NameRule::Default,
        }));
        let mut create = action("volumes.data", "volume", Verb::Create, vec![Reason::New]);
        create.fields.insert("secret".to_owned(), Value::text("hunter2"));
        create.fields.insert("part_of".to_owned(), Value::text("x"));
        create.fields.insert("name".to_owned(), Value::Unknown("leases.l".parse().unwrap()));
        let mut out = Vec::new();
        let mut lines = JsonLines::new(&mut out);
        lines.plan(&plan([create]), &Report::default(), &[], &|_| Some(schema));
        lines.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        let parsed: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(parsed.iter().all(|line| line["version"] == VERSION));
        assert_eq!(
            parsed.iter().map(|line| line["type"].as_str().unwrap()).collect::<Vec<_>>(),
            ["plan", "action", "summary"]
        );
        assert_eq!(
            parsed[1]["fields"],
            json!({ "secret": { "$sensitive": true }, "name": { "$unknown": "leases.l" } })
        );
        assert_eq!(parsed[1]["reasons"], json!([{ "reason": "new", "text": "new" }]));
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn places_count_characters_and_survive_any_span() {
        let mut sources = Sources::default();
        let file = sources.add("a.yaml".into(), "ä: 1\nb: é\n".to_owned());
        let at = |start, end| place_json(Span { file, start, end }, &sources);
        assert_eq!(at(6, 7), json!({ "file": "a.yaml", "line": 2, "column": 1, "end_line": 2, "end_column": 2 }));
        assert_eq!(at(1, 999), json!({ "file": "a.yaml", "line": 1, "column": 1, "end_line": 3, "end_column": 1 }));
    }
}
