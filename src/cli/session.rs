//! What the commands share: settings from flags, engine errors as text, a plan shown, a plan carried out.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use super::shared::RunArgs;
use super::signals::watch_signals;
use super::{Context, passphrase};
use crate::apply::Outcome;
use crate::cloud::Environment;
use crate::diagnostic::{Diagnostics, Severity, Sources, render};
use crate::engine::{self, Error, Planned, Ready, RunOptions, Settings};
use crate::guest::Guests;
use crate::kinds;
use crate::kinds::schema::Schema;
use crate::plan::{IncludeProtected, PlanOptions};
use crate::spec::load::VariableInputs;
use crate::ui::error::Exit;
use crate::ui::outcome::render_outcome;
use crate::ui::plan::{PlanView, VariableChange, render_plan};
use crate::ui::problems::render_problems;
use crate::ui::{CliError, progress};

/// The table of a kind.
pub fn schema_of(kind: &str) -> Option<&'static Schema> {
    kinds::by_name(kind).map(|kind| kind.schema())
}

/// `1 error`, `2 errors`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl Context {
    /// What the engine is told, for these specs.
    #[must_use]
    pub fn settings(&self, specs: &[PathBuf]) -> Settings {
        let mut environment = Environment::from_process();
        let base = self.base();
        if self.global.directory.is_some() {
            environment.cwd = environment.cwd.join(&base);
        }
        let flags = self.global.variables.iter().map(|given| (given.name.clone(), given.value.clone())).collect();
        let variables =
            VariableInputs { flags, files: self.global.variable_files.clone(), env: environment.vars.clone() };
        Settings {
            servers: Guests::new(passphrase::prompt()),
            base,
            specs: specs.to_vec(),
            state: self.global.state.clone(),
            sites: self.global.site_overrides(),
            variables,
            embedded: self.global.embedded,
            guests: self.global.guests,
            environment,
        }
    }

    /// Shows diagnostics and their count on standard error, or as JSON lines.
    pub fn tell_diagnostics(&self, diagnostics: &Diagnostics, sources: &Sources) {
        let sorted = diagnostics.sorted();
        if sorted.is_empty() {
            return;
        }
        if self.console.json {
            let mut lines = self.console.json_lines();
            sorted.iter().for_each(|diagnostic| lines.diagnostic(diagnostic, sources));
            return;
        }
        let mut text = render(&sorted, sources, self.console.error_styles.coloured, self.console.width());
        let counts: Vec<String> = [(Severity::Error, "error"), (Severity::Warning, "warning")]
            .into_iter()
            .map(|(severity, what)| (diagnostics.count(severity), what))
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| count(number, what))
            .collect();
        text.push_str(&format!("{}\n", counts.join(", ")));
        self.console.tell(&text);
    }

    /// An engine's error as a command ends with it; what has places in the spec is told here.
    #[must_use]
    pub fn failed(&self, error: Error) -> CliError {
        match error {
            Error::Spec { diagnostics, sources } => {
                self.tell_diagnostics(&diagnostics, &sources);
                CliError::told()
            }
            Error::Plan { problems, diagnostics, sources } => {
                self.tell_diagnostics(&diagnostics, &sources);
                if self.console.json {
                    let mut lines = self.console.json_lines();
                    problems.iter().for_each(|problem| lines.problem(problem));
                } else {
                    self.console.tell(&render_problems(&problems, &self.console.error_styles));
                }
                CliError::told()
            }
            other => {
                let hint = other.hint();
                let told = CliError::wrap(other);
                match hint {
                    Some(hint) if !told.hints.contains(&hint) => told.hint(hint),
                    _ => told,
                }
            }
        }
    }

    /// Shows a plan.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn show_plan(&self, command: &str, planned: &Planned, full: bool) -> Result<(), CliError> {
        // The first apply of a stack changes no variable: all of them are new.
        let variables = match planned.plan.serial {
            0 => Vec::new(),
            _ => VariableChange::between(&planned.previous_variables, &planned.plan.variables),
        };
        if self.console.json {
            let mut lines = self.console.json_lines();
            lines.start(command);
            lines.plan(&planned.plan, &planned.report, &variables, &schema_of);
            return lines.finish().map_err(|error| CliError::context("cannot write to standard output", error));
        }
        self.tell_diagnostics(&planned.diagnostics, &planned.sources);
        for notice in &planned.notices {
            self.console.tell(&format!("{notice}\n"));
        }
        let view = PlanView { schema: &schema_of, variables: &variables, width: self.console.width(), full };
        self.console.print(&render_plan(&planned.plan, &planned.report, &self.console.styles, &view))
    }

    /// Plans under the lock, while notices are shown.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn lock_and_plan(
        &self,
        settings: &Settings,
        options: &PlanOptions,
        (command, timeout): (&str, Duration),
    ) -> Result<Ready, CliError> {
        let (events, mut heard) = mpsc::unbounded_channel();
        let telling = async {
            while let Some(event) = heard.recv().await {
                if let crate::apply::Event::Notice { text } = event {
                    self.console.tell(&format!("{text}\n"));
                }
            }
        };
        let planning = async move {
            let ready = engine::lock_and_plan(settings, options, (command, timeout), &events).await;
            drop(events);
            ready
        };
        let (ready, ()) = tokio::join!(planning, telling);
        ready.map_err(|error| self.failed(error))
    }

    /// Carries a plan out with progress, and shows what came of it.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn carry_out(
        &self,
        ready: Ready,
        run: &RunArgs,
        (wait, verify): (bool, bool),
    ) -> Result<(Outcome, Exit), CliError> {
        let plan = ready.planned().plan.clone();
        let stop = watch_signals(self.console.teller())?;
        let (events, heard) = mpsc::unbounded_channel();
        let mut sink = self.console.progress(plan.steps.len());
        let options = RunOptions { parallelism: usize::from(run.parallelism), wait, verify };
        let (outcome, ()) = tokio::join!(ready.carry_out(options, events, stop), progress::show(heard, sink.as_mut()));
        drop(sink);
        let outcome = outcome.map_err(|error| self.failed(error))?;
        if self.console.json {
            self.console.json_lines().outcome(&outcome);
        } else {
            self.console.tell(&render_outcome(&plan, &outcome, &self.console.error_styles));
        }
        let exit = match (&outcome, outcome.failed.is_empty()) {
            (outcome, _) if outcome.interrupted => Exit::Interrupted,
            (_, false) => Exit::Failure,
            _ => Exit::Success,
        };
        Ok((outcome, exit))
    }
}

/// Nothing protected is deleted, and all is taken into account.
#[must_use]
pub fn plain_options() -> PlanOptions {
    PlanOptions { include_protected: IncludeProtected::None, ..PlanOptions::default() }
}
