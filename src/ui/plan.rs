//! A plan as people read it.
//!
//! In: a [`Plan`], its [`Report`] and a [`PlanView`]. Out: text for the terminal, ended by a line end. One block for
//! each declared resource, in the order of its section, with its parts nested below; then notes, what data is lost,
//! and a summary. Pure: the same input is the same text.
//!
//! Invariants:
//! - Every action that does something is shown, with all its reasons.
//! - What loses data is said twice: with its action and above the summary.
//! - No sensitive field's value is shown.

use std::collections::{BTreeMap, BTreeSet};

use crate::kinds;
use crate::kinds::guest::{GuestKind, GuestWords};
use crate::kinds::kind::{Effect, FieldChange};
use crate::kinds::local::LocalKind;
use crate::kinds::schema::{self, Field, Schema};
use crate::model::{Address, Json, Value};
use crate::plan::{Action, Mode, Plan, Reason, Report, StepOperation, Verb};

use super::diff::{Layout, Shown, show_change, show_value};
use super::style::{Styles, paint, printable};
use super::value::{Labels, SENSITIVE};

/// What is shown of a plan, and how.
pub struct PlanView<'a> {
    /// The table of a kind.
    pub schema: &'a dyn Fn(&str) -> Option<&'static Schema>,
    /// Variables whose values changed since the last apply.
    pub variables: &'a [VariableChange],
    /// Columns of the terminal.
    pub width: usize,
    /// Show long texts in full.
    pub full: bool,
}

/// A variable's value, then and now.
#[derive(Debug, Clone, PartialEq)]
pub struct VariableChange {
    /// The variable.
    pub name: String,
    /// At the last apply, if it had one.
    pub before: Option<Json>,
    /// Now, if it has one.
    pub after: Option<Json>,
}

impl VariableChange {
    /// The variables that differ.
    #[must_use]
    pub fn between(before: &BTreeMap<String, Json>, after: &BTreeMap<String, Json>) -> Vec<Self> {
        let names = before.keys().chain(after.keys()).collect::<BTreeSet<_>>();
        names
            .into_iter()
            .filter(|name| before.get(*name) != after.get(*name))
            .map(|name| Self { name: name.clone(), before: before.get(name).cloned(), after: after.get(name).cloned() })
            .collect()
    }
}

/// A field that steers anole from inside and is no business of a reader.
#[must_use]
pub fn is_internal(field: &Field) -> bool {
    field.writer == schema::Writer::Engine
}

/// Where a resource stands in a reader's order; a destroy reads the other way round.
#[must_use]
pub fn order(address: &Address, mode: Mode) -> (usize, Address) {
    let sections = kinds::sections();
    let rank = sections.iter().position(|section| *section == address.section).unwrap_or(sections.len());
    (if mode == Mode::Destroy { sections.len() - rank } else { rank }, address.clone())
}

/// The plan's text.
#[must_use]
pub fn render_plan(plan: &Plan, report: &Report, styles: &Styles, view: &PlanView<'_>) -> String {
    let labels = Labels::of(plan);
    let mut writer = Writer { plan, styles, view, labels: &labels, text: String::new() };
    writer.sites();
    writer.variables();
    let mut declared: Vec<Address> = plan.actions.keys().map(owner).collect();
    declared.sort_by_key(|address| order(address, plan.mode));
    declared.dedup();
    for address in &declared {
        writer.block(address);
    }
    writer.untouched();
    writer.notes(report);
    writer.losses();
    writer.text.push_str(&summary_line(plan, styles));
    writer.text.push('\n');
    writer.text
}

fn owner(address: &Address) -> Address {
    address.owner().unwrap_or_else(|| address.clone())
}

/// The last line: how many of what.
#[must_use]
pub fn summary_line(plan: &Plan, styles: &Styles) -> String {
    let summary = plan.summary();
    let held = (summary.held > 0).then(|| format!("{} kept (protected)", summary.held));
    if plan.is_empty() {
        let nothing = match plan.mode {
            Mode::Destroy => "Nothing to destroy.",
            Mode::Apply | Mode::Refresh => "No changes. The cloud matches the spec.",
        };
        return match held {
            Some(held) => format!("{} {held}.", paint(styles.strong, nothing)),
            None => paint(styles.strong, nothing),
        };
    }
    let mut counts = vec![
        paint(styles.create, format!("{} to create", summary.create)),
        paint(styles.update, format!("{} to change", summary.update)),
        paint(styles.replace, format!("{} to replace", summary.replace)),
        paint(styles.delete, format!("{} to delete", summary.delete)),
    ];
    for (verb, words) in [
        (Verb::Adopt, "to adopt"),
        (Verb::Await, "to wait for"),
        (Verb::Release, "to release"),
        (Verb::Forget, "to forget"),
        (Verb::Record, "to record"),
    ] {
        let declared = |action: &&Action| action.verb == verb && action.address.part.is_none();
        match plan.actions.values().filter(declared).count() {
            0 => {}
            count => counts.push(format!("{count} {words}")),
        }
    }
    match parts_alone(plan) {
        0 => {}
        1 => counts.push("1 part of an unchanged resource to change".to_owned()),
        count => counts.push(format!("{count} parts of unchanged resources to change")),
    }
    counts.extend(held);
    format!("{} {}.", paint(styles.strong, "Plan:"), counts.join(", "))
}

/// Parts with work to do whose owner has none: the summary counts them with their owner, which is not counted.
fn parts_alone(plan: &Plan) -> usize {
    let idle =
        |address: &Address| plan.actions.get(address).is_none_or(|owner| matches!(owner.verb, Verb::Keep | Verb::Hold));
    plan.actions
        .values()
        .filter(|action| action.verb.is_work() && action.address.owner().is_some_and(|owner| idle(&owner)))
        .count()
}

/// The sign before an address.
#[must_use]
pub fn sign(verb: Verb) -> &'static str {
    match verb {
        Verb::Keep => "",
        Verb::Create => "+",
        Verb::Update => "~",
        Verb::Replace => "-/+",
        Verb::Delete => "-",
        Verb::Hold => "=",
        Verb::Await => "?",
        Verb::Adopt | Verb::Release | Verb::Forget | Verb::Record => ">",
    }
}

fn words(action: &Action) -> &'static str {
    if let Some(guest) = guest_words(&action.kind) {
        match action.verb {
            Verb::Create => return guest.make,
            Verb::Await | Verb::Replace => return guest.again,
            Verb::Delete if action.in_guest.is_empty() && action.data_loss.is_none() => return guest.forget,
            Verb::Update => return guest.change.0,
            Verb::Delete => return guest.unmake,
            _ => {}
        }
    }
    match action.verb {
        Verb::Keep => "unchanged",
        Verb::Create => "create",
        Verb::Update => "update in place",
        Verb::Replace if action.makes_first() => "replace, the new one first",
        Verb::Replace => "replace",
        Verb::Delete => "delete",
        Verb::Hold => "kept",
        Verb::Await => "wait until it is ready",
        Verb::Adopt => "adopt",
        Verb::Release => "release, do not delete",
        Verb::Forget => "forget",
        Verb::Record => "record only",
    }
}

/// What is done and why: `replace: image changed, server `x` is replaced`; `kept (protected)`.
fn what_and_why(action: &Action) -> String {
    let reasons: Vec<_> = action.reasons.iter().map(Reason::to_string).collect();
    let reasons = printable(&reasons.join(", ")).into_owned();
    let words = words(action);
    match (reasons.is_empty(), action.verb) {
        (true, _) => words.to_owned(),
        (false, Verb::Hold) => format!("{words} ({reasons})"),
        (false, _) => format!("{words}: {reasons}"),
    }
}

struct Writer<'a> {
    plan: &'a Plan,
    styles: &'a Styles,
    view: &'a PlanView<'a>,
    labels: &'a Labels,
    text: String,
}

impl Writer<'_> {
    fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref().trim_end());
        self.text.push('\n');
    }

    fn sites(&mut self) {
        let stack = paint(self.styles.strong, format!("Stack {}", self.plan.stack));
        let mut sites = self.plan.sites.iter().map(|(alias, site)| {
            let region = if site.region.is_empty() { &site.auth_url } else { &site.region };
            printable(&format!("{alias} = {region}, project {}, user {}", site.project_name, site.user_name))
                .into_owned()
        });
        let first = sites.next().map(|site| format!(" on {site}")).unwrap_or_default();
        let rest: Vec<_> = sites.collect();
        self.line(format!("{stack}{first}"));
        for site in rest {
            self.line(format!("{:>width$} {site}", "and", width = self.plan.stack.chars().count() + 9));
        }
        self.line("");
    }

    fn variables(&mut self) {
        if self.view.variables.is_empty() {
            return;
        }
        self.line("Variables changed since the last apply:");
        let width = self.view.variables.iter().map(|variable| variable.name.chars().count()).max().unwrap_or(0) + 1;
        for variable in self.view.variables {
            let show = |value: &Option<Json>| {
                value
                    .as_ref()
                    .map_or_else(|| "(not given)".to_owned(), |value| printable(&value.to_string()).into_owned())
            };
            let name = format!("{}:", variable.name);
            self.line(format!("  {name:<width$} {} -> {}", show(&variable.before), show(&variable.after)));
        }
        self.line("");
    }

    /// A declared resource and its parts, unless there is nothing to say about any of them.
    fn block(&mut self, address: &Address) {
        let plan = self.plan;
        let parts: Vec<&Action> = plan
            .actions
            .range(address.clone()..)
            .map(|(_, action)| action)
            .take_while(|action| owner(&action.address) == *address)
            .filter(|action| action.address.part.is_some() && action.verb != Verb::Keep)
            .collect();
        let action = plan.actions.get(address);
        let silent = action.is_none_or(|action| action.verb == Verb::Keep);
        if silent && parts.is_empty() {
            return;
        }
        let verb = action.map_or(Verb::Keep, |action| action.verb);
        let why = action.map_or_else(String::new, what_and_why);
        self.header(address, verb, &why, action);
        if let Some(action) = action {
            self.body(action);
        }
        for part in parts {
            self.part(part);
        }
        self.line("");
    }

    fn header(&mut self, address: &Address, verb: Verb, why: &str, action: Option<&Action>) {
        let sign = paint(self.styles.verb(verb), format!("{:>3}", sign(verb)));
        let name = paint(self.styles.strong, printable(&address.to_string()));
        let site = match action {
            Some(action) if self.plan.sites.len() > 1 => paint(self.styles.quiet, format!(" on {}", action.site)),
            _ => String::new(),
        };
        self.line(format!("{sign} {name}{site}  {why}"));
    }

    fn body(&mut self, action: &Action) {
        let rows = match action.verb {
            Verb::Create | Verb::Adopt => self.field_rows(action),
            Verb::Update | Verb::Replace | Verb::Record => self.change_rows(action),
            Verb::Keep | Verb::Await | Verb::Delete | Verb::Release | Verb::Forget | Verb::Hold => Vec::new(),
        };
        let mut rows = rows;
        if let (Some(id), true) =
            (&action.id, matches!(action.verb, Verb::Delete | Verb::Release | Verb::Adopt | Verb::Await))
        {
            rows.insert(0, ("id".to_owned(), Shown::Inline(printable(&id.0).into_owned()), String::new()));
        }
        self.rows(rows);
        self.in_guest(action, "      ");
        self.loss(action, "      ");
    }

    /// What is done inside the server, or would be.
    fn in_guest(&mut self, action: &Action, indent: &str) {
        for step in &action.in_guest {
            let step = printable(step);
            match action.recorded_only {
                true => {
                    let line = format!("{indent}recorded, not carried out: {step}");
                    self.line(paint(self.styles.warning, line));
                }
                false => self.line(format!("{indent}in the server: {step}")),
            }
        }
    }

    fn loss(&mut self, action: &Action, indent: &str) {
        if let Some(loss) = &action.data_loss {
            self.line(format!("{indent}{}", paint(self.styles.alarm, format!("DATA LOSS: {}", printable(loss)))));
        }
    }

    fn part(&mut self, part: &Action) {
        let sign = paint(self.styles.verb(part.verb), format!("{:>3}", sign(part.verb)));
        let name = part.address.part.as_deref().unwrap_or_default();
        let changes: Vec<_> = match part.verb {
            Verb::Update | Verb::Replace => part
                .changes
                .iter()
                .filter(|change| !self.is_hidden(part, &change.field))
                .map(|change| match self.shown_change(part, change, usize::MAX) {
                    Shown::Inline(text) => format!("{} {text}", change.field),
                    Shown::Block(_) => format!("{} changed", change.field),
                })
                .collect(),
            _ => Vec::new(),
        };
        let changes = if changes.is_empty() { String::new() } else { format!("  {}", changes.join("; ")) };
        self.line(format!("      {sign} {}  {}{changes}", printable(name), what_and_why(part)));
        self.in_guest(part, "          ");
        self.loss(part, "          ");
    }

    fn field(&self, action: &Action, name: &str) -> Option<&'static Field> {
        (self.view.schema)(&action.kind).and_then(|schema| schema.field(name))
    }

    fn is_hidden(&self, action: &Action, name: &str) -> bool {
        self.field(action, name).is_some_and(is_internal)
    }

    fn layout(&self, room: usize) -> Layout<'_> {
        let max_lines = if self.view.full { usize::MAX } else { 12 };
        Layout { labels: self.labels, styles: self.styles, room, max_lines }
    }

    /// What a new object is asked to be, in the order of its kind's table.
    fn field_rows(&self, action: &Action) -> Vec<Row> {
        let table = (self.view.schema)(&action.kind).map_or(&[][..], |schema| schema.fields);
        let rank = |name: &str| match name {
            "name" => 0,
            _ => table.iter().position(|field| field.name == name).map_or(usize::MAX, |at| at + 1),
        };
        let mut fields: Vec<(&String, &Value)> =
            action.fields.iter().filter(|(name, value)| !is_void(value) && !self.is_hidden(action, name)).collect();
        fields.sort_by_key(|(name, _)| rank(name));
        let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let layout = self.layout(self.view.width.saturating_sub(width + 8));
        fields
            .into_iter()
            .map(|(name, value)| {
                let field = self.field(action, name);
                let shown = match field {
                    Some(field) if field.sensitive => Shown::Inline(SENSITIVE.to_owned()),
                    _ => show_value(value, field.map(|field| &field.ty), layout),
                };
                (name.clone(), shown, String::new())
            })
            .collect()
    }

    fn change_rows(&self, action: &Action) -> Vec<Row> {
        let shown = action.changes.iter().filter(|change| !self.is_hidden(action, &change.field));
        let width = shown.clone().map(|change| change.field.chars().count()).max().unwrap_or(0);
        let room = self.view.width.saturating_sub(width + 8 + " -> ".len());
        shown
            .map(|change| {
                let mut notes = Vec::new();
                let is_object = guest_words(&action.kind).is_none();
                if is_object && change.effect == Effect::Replace && action.verb == Verb::Replace {
                    notes.push("needs a new object".to_owned());
                }
                notes.extend(change.note.as_deref().map(|note| printable(note).into_owned()));
                let note = if notes.is_empty() { String::new() } else { format!("  ({})", notes.join("; ")) };
                (change.field.clone(), self.shown_change(action, change, room), note)
            })
            .collect()
    }

    fn shown_change(&self, action: &Action, change: &FieldChange, room: usize) -> Shown {
        match self.field(action, &change.field) {
            Some(field) if field.sensitive => Shown::Inline(format!("{SENSITIVE} -> {SENSITIVE}")),
            field => show_change(&change.before, &change.after, field.map(|field| &field.ty), self.layout(room)),
        }
    }

    /// Rows of `name: value`, their values in one column.
    fn rows(&mut self, rows: Vec<Row>) {
        let inline = |row: &&Row| matches!(row.1, Shown::Inline(_));
        let width = rows.iter().filter(inline).map(|(name, ..)| name.chars().count()).max().unwrap_or(0) + 1;
        for (name, shown, note) in rows {
            let name = format!("{name}:");
            let note = paint(self.styles.quiet, note);
            match shown {
                Shown::Inline(text) => self.line(format!("      {name:<width$} {text}{note}")),
                Shown::Block(lines) => {
                    self.line(format!("      {name}{note}"));
                    lines.iter().for_each(|line| self.line(format!("        {line}")));
                }
            }
        }
    }

    fn notes(&mut self, report: &Report) {
        for note in &report.notes {
            let about = note.address.as_ref().map(|address| format!("{address}: ")).unwrap_or_default();
            let word =
                if note.warning { paint(self.styles.warning, "Warning:") } else { paint(self.styles.hint, "Note:") };
            self.line(format!("{word} {}", printable(&format!("{about}{}", note.text))));
        }
        if !report.notes.is_empty() {
            self.line("");
        }
    }

    /// What the plan leaves alone, the protected first: that data stays is what a reader looks for.
    fn untouched(&mut self) {
        const NAMED: usize = 8;
        let shown: BTreeSet<Address> = self
            .plan
            .actions
            .values()
            .filter(|action| action.verb != Verb::Keep)
            .map(|action| owner(&action.address))
            .collect();
        let kept = |action: &&Action| action.address.part.is_none() && !shown.contains(&action.address);
        let mut kept: Vec<_> = self.plan.actions.values().filter(kept).collect();
        if kept.is_empty() || self.plan.is_empty() {
            return;
        }
        kept.sort_by_key(|action| (!action.protect, order(&action.address, self.plan.mode)));
        let more = kept.len().saturating_sub(NAMED);
        let mut names: Vec<_> =
            kept.iter().take(NAMED).map(|action| printable(&action.address.to_string()).into_owned()).collect();
        if more > 0 {
            names.push(format!("{more} more"));
        }
        self.line(paint(self.styles.quiet, format!("Untouched: {}.", names.join(", "))));
        self.line("");
    }

    fn losses(&mut self) {
        let plan = self.plan;
        let lossy: Vec<_> = plan.actions.values().filter(|action| action.data_loss.is_some()).collect();
        if lossy.is_empty() {
            return;
        }
        let names: Vec<_> = lossy.iter().map(|action| action.address.to_string()).collect();
        let text = format!("DATA LOSS: this plan loses data of {}.", printable(&names.join(", ")));
        self.line(paint(self.styles.alarm, text));
    }
}

/// A field's name, how it is shown, and a remark behind it.
type Row = (String, Shown, String);

/// Whether there is nothing in it worth a row.
fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        Value::Map(fields) => fields.values().all(Value::is_null),
        _ => false,
    }
}

/// How the kind of a resource inside a server speaks.
fn guest_words(kind: &str) -> Option<&'static GuestWords> {
    let kind = kinds::by_name(kind)?;
    kind.guest().map(GuestKind::words).or_else(|| kind.local().and_then(LocalKind::words))
}

/// What a step does, as `servers.node: creating…` says it, and once it is done.
#[must_use]
pub fn step_words(operation: StepOperation, kind: &str) -> (&'static str, &'static str) {
    if let Some(guest) = guest_words(kind) {
        match operation {
            StepOperation::Create | StepOperation::Await => return (guest.making, guest.made),
            StepOperation::Update => return (guest.change.1, guest.change.2),
            StepOperation::Delete => return (guest.unmaking, guest.unmade),
            _ => {}
        }
    }
    match operation {
        StepOperation::LetGo => ("letting go", "let go"),
        StepOperation::Delete => ("deleting", "deleted"),
        StepOperation::Create => ("creating", "created"),
        StepOperation::Await => ("waiting", "ready"),
        StepOperation::Update => ("updating", "updated"),
        StepOperation::Record => ("recording", "recorded"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
