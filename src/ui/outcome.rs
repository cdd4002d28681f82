//! What came of an apply, for people: what was done, what failed and why, what was not tried, what is still to come,
//! what is still held.
//!
//! In: the [`Plan`] that was carried out and its [`Outcome`]. Out: text, ended by a line end. Pure.

use crate::apply::Outcome;
use crate::model::Address;
use crate::plan::{Mode, Plan, Verb};

use super::style::{Styles, paint, printable};

/// The text.
#[must_use]
pub fn render_outcome(plan: &Plan, outcome: &Outcome, styles: &Styles) -> String {
    let mut text = String::new();
    let name = match plan.mode {
        Mode::Apply => "Apply",
        Mode::Destroy => "Destroy",
        Mode::Refresh => "Refresh",
    };
    let headline = if outcome.interrupted {
        paint(styles.warning, format!("{name} interrupted:"))
    } else if !outcome.failed.is_empty() {
        paint(styles.alarm, format!("{name} incomplete:"))
    } else {
        paint(styles.create, format!("{name} complete:"))
    };
    text.push_str(&format!("{headline} {}.\n", done(plan, &outcome.done)));

    section(&mut text, &paint(styles.alarm, "Failed:"), &outcome.failed);
    section(&mut text, &paint(styles.warning, "Not tried:"), &outcome.skipped);
    let pending: Vec<_> =
        outcome.pending.iter().map(|(address, until)| (address.clone(), format!("pending until {until}"))).collect();
    section(&mut text, &paint(styles.hint, "Still to come:"), &pending);
    let held: Vec<_> = plan
        .actions
        .values()
        .filter(|action| action.verb == Verb::Hold && action.address.part.is_none())
        .map(|action| {
            let reasons: Vec<_> = action.reasons.iter().map(ToString::to_string).collect();
            let id = action.id.as_ref().map(|id| format!(", id {id}")).unwrap_or_default();
            (action.address.clone(), format!("kept ({}){id}", reasons.join(", ")))
        })
        .collect();
    section(&mut text, &paint(styles.strong, "Still held:"), &held);
    if let Some(next) = next_step(plan.mode, outcome, !held.is_empty()) {
        text.push_str(&format!("{} {next}\n", paint(styles.hint, "hint:")));
    }
    text
}

fn section(text: &mut String, title: &str, lines: &[(Address, String)]) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for (address, words) in lines {
        let words = words.trim_end().replace('\n', "\n    ");
        text.push_str(&format!("  {}\n", printable(&format!("{address}: {words}"))));
    }
}

/// `3 created, 1 replaced`; parts are counted with what they are a part of.
fn done(plan: &Plan, done: &[Address]) -> String {
    let count = |verb: Verb| {
        let of_verb = |address: &&Address| plan.actions.get(address).is_some_and(|action| action.verb == verb);
        done.iter().filter(|address| address.part.is_none()).filter(of_verb).count()
    };
    let counts: Vec<_> = [
        (Verb::Create, "created"),
        (Verb::Adopt, "adopted"),
        (Verb::Await, "ready"),
        (Verb::Update, "changed"),
        (Verb::Replace, "replaced"),
        (Verb::Delete, "deleted"),
        (Verb::Release, "released"),
        (Verb::Forget, "forgotten"),
        (Verb::Record, "recorded"),
    ]
    .into_iter()
    .filter_map(|(verb, word)| match count(verb) {
        0 => None,
        count => Some(format!("{count} {word}")),
    })
    .collect();
    match (counts.is_empty(), done.iter().any(|address| address.part.is_some())) {
        (false, _) => counts.join(", "),
        (true, true) => "parts changed".to_owned(),
        (true, false) => "nothing done".to_owned(),
    }
}

fn next_step(mode: Mode, outcome: &Outcome, held: bool) -> Option<&'static str> {
    let again = match mode {
        Mode::Apply | Mode::Refresh => "what was done is recorded; run `anole apply` again to carry on",
        Mode::Destroy => "what was done is recorded; run `anole destroy` again to carry on",
    };
    if outcome.interrupted || !outcome.failed.is_empty() {
        Some(again)
    } else if !outcome.pending.is_empty() {
        Some("run `anole apply` again once that time has come, or now with `--wait`")
    } else if held && mode == Mode::Destroy {
        Some("`anole destroy --include-protected` deletes what is kept, with its data")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Reason;
    use crate::ui::plan::tests::{action, plan};

    #[test]
    fn everything_that_was_not_done_is_told() {
        let plan = plan([
            action("leases.block", "lease", Verb::Create, vec![Reason::New]),
            action("servers.node", "server", Verb::Create, vec![Reason::New]),
            action("floating_ips.node", "floating_ip", Verb::Create, vec![Reason::New]),
            action("volumes.old", "volume", Verb::Hold, vec![Reason::Protected]),
        ]);
        let address = |text: &str| text.parse::<Address>().unwrap();
        let outcome = Outcome {
            done: vec![address("leases.block")],
            failed: vec![(
                address("servers.node"),
                "Nova answered 403 to POST /servers: Quota exceeded (req-1)".to_owned(),
            )],
            skipped: vec![(address("floating_ips.node"), "servers.node failed".to_owned())],
            ..Outcome::default()
        };
        insta::assert_snapshot!(render_outcome(&plan, &outcome, &Styles::plain()), @r#"
        Apply incomplete: 1 created.

        Failed:
          servers.node: Nova answered 403 to POST /servers: Quota exceeded (req-1)

        Not tried:
          floating_ips.node: servers.node failed

        Still held:
          volumes.old: kept (protected)
        hint: what was done is recorded; run `anole apply` again to carry on
        "#);
    }
}
