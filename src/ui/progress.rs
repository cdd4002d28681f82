//! An apply as it goes on: one spinner for each running step on a terminal, plain lines elsewhere.
//!
//! In: [`Event`]s from a channel. Out: lines on standard error. Every text is made by [`Tracker`], which is pure; the
//! two [`Sink`]s only put it on the screen.
//!
//! Invariant: what cannot be written (a closed terminal) never stops an apply.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::apply::Event;
use crate::dataset::gauge::Standing;
use crate::model::Address;
use crate::plan::StepOperation;

use super::plan::step_words;
use super::style::{Styles, paint, printable};

/// Where events are shown.
pub trait Sink: Send {
    /// Shows one.
    fn event(&mut self, event: &Event);

    /// Clears what is only for the time of the apply.
    fn finish(&mut self) {}
}

/// Shows events until the last sender is gone.
pub async fn show(mut events: UnboundedReceiver<Event>, sink: &mut dyn Sink) {
    while let Some(event) = events.recv().await {
        sink.event(&event);
    }
    sink.finish();
}

/// Turns events into lines, remembering what each resource's id and last status are.
#[derive(Debug, Default)]
struct Tracker {
    ids: BTreeMap<Address, String>,
    statuses: HashMap<Address, String>,
    running: HashMap<Address, &'static str>,
}

/// What an event changes on the screen.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// A step runs; the text says what it does.
    Running(Address, String),
    /// It is over, one way or the other.
    Over(Address, Sort, String),
    /// A line for itself.
    Said(Sort, String),
    /// Nothing to see.
    Nothing,
}

/// What sort of line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Good,
    Bad,
    Quiet,
}

impl Tracker {
    fn change(&mut self, event: &Event) -> Change {
        match event {
            Event::Started { operation: StepOperation::Record, .. } => Change::Nothing,
            Event::Started { address, kind, operation } => {
                let doing = step_words(*operation, kind).0;
                self.running.insert(address.clone(), doing);
                self.statuses.remove(address);
                Change::Running(address.clone(), format!("{doing}…"))
            }
            Event::Accepted { address, id } => {
                self.ids.insert(address.clone(), id.clone());
                Change::Nothing
            }
            Event::Waiting { address, status } => self.waiting(address, status),
            Event::Progress { address, standing } => self.standing(address, standing),
            Event::Done { address, kind, operation, took } => self.done(address, kind, *operation, *took),
            Event::Failed { address, kind, operation, error, hint } => {
                self.running.remove(address);
                let hint = hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
                let text = format!("{} failed: {error}{hint}", step_words(*operation, kind).0).replace('\n', "\n    ");
                Change::Over(address.clone(), Sort::Bad, text)
            }
            Event::Skipped { address, kind, operation, why } => Change::Over(
                address.clone(),
                Sort::Quiet,
                format!("not {}: {why}", participle(step_words(*operation, kind).1)),
            ),
            Event::Pending { address, until } => {
                Change::Over(address.clone(), Sort::Quiet, format!("pending until {until}"))
            }
            Event::Notice { text } => Change::Said(Sort::Quiet, text.clone()),
        }
    }

    /// A stage's beginning is news, and then each tenth of it.
    fn standing(&mut self, address: &Address, standing: &Standing) -> Change {
        let tenth = (standing.bytes * 10).checked_div(standing.bytes_total).unwrap_or_default();
        let news = format!("{} {tenth}", standing.stage.words());
        if self.statuses.insert(address.clone(), news.clone()).as_deref() == Some(news.as_str()) {
            return Change::Nothing;
        }
        Change::Running(address.clone(), standing.to_string())
    }

    fn waiting(&mut self, address: &Address, status: &str) -> Change {
        if self.statuses.insert(address.clone(), status.to_owned()).as_deref() == Some(status) {
            return Change::Nothing;
        }
        let doing = self.running.get(address).copied().unwrap_or("waiting");
        Change::Running(address.clone(), format!("{doing}… {status}"))
    }

    fn done(&mut self, address: &Address, kind: &str, operation: StepOperation, took: Duration) -> Change {
        self.running.remove(address);
        if operation == StepOperation::Record {
            return Change::Nothing;
        }
        let id = match operation {
            StepOperation::Create => self.ids.get(address).map(|id| format!(" (id {id})")).unwrap_or_default(),
            _ => String::new(),
        };
        Change::Over(address.clone(), Sort::Good, format!("{} in {}{id}", step_words(operation, kind).1, time(took)))
    }
}

/// A span of time as people say it: `0.3 s`, `1 min 5 s`.
#[must_use]
pub fn time(took: Duration) -> String {
    match took.as_secs() {
        0..60 => format!("{:.1} s", took.as_secs_f64()),
        60..3600 => format!("{} min {} s", took.as_secs() / 60, took.as_secs() % 60),
        _ => format!("{} h {} min", took.as_secs() / 3600, took.as_secs() % 3600 / 60),
    }
}

/// Plain lines, for logs and pipes.
pub struct Lines<W> {
    tracker: Tracker,
    styles: Styles,
    out: W,
}

impl<W: Write + Send> Lines<W> {
    /// Writes lines to `out`.
    pub fn new(out: W, styles: Styles) -> Self {
        Self { tracker: Tracker::default(), styles, out }
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn event(&mut self, event: &Event) {
        let line = match self.tracker.change(event) {
            Change::Nothing => return,
            Change::Running(address, text) => format!("{address}: {text}"),
            Change::Over(address, Sort::Bad, text) => {
                format!("{} {}", paint(self.styles.alarm, printable(&format!("{address}:"))), printable(&text))
            }
            Change::Over(address, _, text) => format!("{address}: {text}"),
            Change::Said(_, text) => text,
        };
        // The apply goes on whether or not anybody can still see it.
        let _ = writeln!(self.out, "{}", if line.contains('\u{1b}') { line.into() } else { printable(&line) });
    }
}

/// A running step of which it is not known how much there is.
const SPINNER: &str = "{spinner:>3} {prefix}: {msg}  {elapsed}";

/// How many running steps have a line of their own.
const ROWS: usize = 12;

/// A spinner for each running step, an overall count below, finished steps above.
pub struct Bars {
    tracker: Tracker,
    styles: Styles,
    screen: MultiProgress,
    overall: ProgressBar,
    rows: HashMap<Address, ProgressBar>,
}

impl Bars {
    /// Draws on `screen`; `steps` is how many the plan has.
    #[must_use]
    pub fn new(screen: MultiProgress, styles: Styles, steps: usize) -> Self {
        let overall = screen.add(ProgressBar::new(steps as u64));
        overall.set_style(bar_style("  {bar:24} {pos}/{len} steps  {elapsed}"));
        overall.enable_steady_tick(Duration::from_millis(250));
        Self { tracker: Tracker::default(), styles, screen, overall, rows: HashMap::new() }
    }

    /// A bar in place of the spinner, once it is known how much there is.
    fn standing(&mut self, address: &Address, standing: &Standing) {
        self.running(address, &standing.to_string());
        let Some(row) = self.rows.get(address) else { return };
        if standing.bytes_total > 0 {
            row.set_style(bar_style("{spinner:>3} {prefix}: {bar:16} {msg}"));
            row.set_length(standing.bytes_total);
            row.set_position(standing.bytes.min(standing.bytes_total));
        } else {
            row.set_style(bar_style(SPINNER));
        }
    }

    fn running(&mut self, address: &Address, text: &str) {
        let message = printable(text).into_owned();
        if let Some(row) = self.rows.get(address) {
            row.set_message(message);
        } else if self.rows.len() < ROWS {
            let row = self.screen.insert_before(&self.overall, ProgressBar::new_spinner());
            row.set_style(bar_style(SPINNER));
            row.set_prefix(printable(&address.to_string()).into_owned());
            row.set_message(message);
            row.enable_steady_tick(Duration::from_millis(120));
            self.rows.insert(address.clone(), row);
        }
    }

    fn say(&self, sort: Sort, text: &str) {
        let text = printable(text);
        let line = match sort {
            Sort::Good => format!("{} {text}", paint(self.styles.create, "  ✓")),
            Sort::Bad => format!("{} {text}", paint(self.styles.alarm, "  ✗")),
            Sort::Quiet => format!("{} {text}", paint(self.styles.quiet, "  ·")),
        };
        // The apply goes on whether or not anybody can still see it.
        let _ = self.screen.println(line);
    }
}

impl Sink for Bars {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Done { .. } | Event::Failed { .. } | Event::Skipped { .. } | Event::Pending { .. }) {
            self.overall.inc(1);
        }
        if let Event::Progress { address, standing } = event {
            return self.standing(address, standing);
        }
        match self.tracker.change(event) {
            Change::Nothing => {}
            Change::Running(address, text) => self.running(&address, &text),
            Change::Over(address, sort, text) => {
                if let Some(row) = self.rows.remove(&address) {
                    row.finish_and_clear();
                    self.screen.remove(&row);
                }
                self.say(sort, &format!("{address}: {text}"));
            }
            Change::Said(sort, text) => self.say(sort, &text),
        }
    }

    fn finish(&mut self) {
        self.rows.drain().for_each(|(_, row)| row.finish_and_clear());
        self.overall.finish_and_clear();
    }
}

fn bar_style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; a mistake in one would show the default bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

/// What was not done: of all the words for steps, one is irregular.
fn participle(past: &'static str) -> &'static str {
    if past == "ran" { "run" } else { past }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(events: &[Event]) -> String {
        let mut out = Vec::new();
        let mut sink = Lines::new(&mut out, Styles::plain());
        events.iter().for_each(|event| sink.event(event));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_step_is_told_from_start_to_end() {
        let address = Address::new("servers", "node");
        let operation = StepOperation::Create;
        let text = lines(&[
            Event::Started { address: address.clone(), kind: "server".to_owned(), operation },
            Event::Accepted { address: address.clone(), id: "7f3c".to_owned() },
            Event::Waiting { address: address.clone(), status: "BUILD".to_owned() },
            Event::Waiting { address: address.clone(), status: "BUILD".to_owned() },
            Event::Done { address, kind: "server".to_owned(), operation, took: Duration::from_millis(3_240) },
        ]);
        insta::assert_snapshot!(text, @r#"
        servers.node: creating…
        servers.node: creating… BUILD
        servers.node: created in 3.2 s (id 7f3c)
        "#);
    }

    #[test]
    fn a_failure_is_told_whole_and_cannot_steer_the_terminal() {
        let text = lines(&[
            Event::Failed {
                address: Address::new("volumes", "data"),
                kind: "volume".to_owned(),
                operation: StepOperation::Delete,
                error: "Cinder answered 400: in\u{1b}[2J use (req-1)".to_owned(),
                hint: Some("detach it first".to_owned()),
            },
            Event::Skipped {
                address: Address::new("leases", "l"),
                kind: "lease".to_owned(),
                operation: StepOperation::Delete,
                why: "volumes.data failed".to_owned(),
            },
        ]);
        insta::assert_snapshot!(text, @r#"
        volumes.data: deleting failed: Cinder answered 400: in\u{1b}[2J use (req-1)
            hint: detach it first
        leases.l: not deleted: volumes.data failed
        "#);
    }
}
