//! Carries a plan out: a dispatcher walks its graph, a task a step does the work, and everything it learns is
//! recorded before it goes on.
//!
//! ```text
//! Plan ─▶ dispatcher ──starts──▶ step tasks ──entries──▶ ledger ─▶ journal
//!            ▲   └──────────────────│──events──▶ ui
//!            └── accepted · done · failed ┘
//! ```
//!
//! Invariants:
//! - Nothing is decided here: what to do and in which order is the plan's.
//! - A failure stops what depends on it and nothing else.
//! - After a signal nothing new is started, and what is in flight is finished and recorded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

mod end;
pub mod event;
mod guest;
pub mod intents;
pub mod known;
pub mod ledger;
mod local;
mod made;
pub mod step;
#[cfg(test)]
mod tests;
mod values;
pub mod wait;

use end::{End, StepError};
pub use event::{Event, Outcome};
use step::{Running, Shared};

use crate::model::Address;
use crate::plan::{Plan, Step};

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    Running,
    Done,
    Failed,
    Skipped,
    Pending,
}

/// Walks a plan's graph.
struct Dispatcher {
    plan: Arc<Plan>,
    shared: Shared,
    graph: DiGraph<Step, bool>,
    progress: Vec<Progress>,
    /// Resources whose id is known though their step is not done.
    accepted: BTreeSet<Address>,
    outcome: Outcome,
    tasks: JoinSet<(usize, Result<End, StepError>, Instant)>,
}

/// Carries a plan out, and returns when nothing is left that can be done.
///
/// `stop` turning true means: start nothing new.
pub async fn apply(plan: Arc<Plan>, shared: Shared, mut stop: watch::Receiver<bool>) -> Outcome {
    let graph = crate::plan::graph(&plan.steps, &plan.edges).map(|_, step| (*step).clone(), |_, accepted| *accepted);
    let mut dispatcher = Dispatcher {
        progress: vec![Progress::Waiting; plan.steps.len()],
        accepted: BTreeSet::new(),
        outcome: Outcome::default(),
        tasks: JoinSet::new(),
        plan,
        shared,
        graph,
    };
    let (accepted, mut accepts) = mpsc::unbounded_channel();
    loop {
        if !*stop.borrow() {
            dispatcher.start_ready(&accepted);
        }
        if dispatcher.tasks.is_empty() {
            break;
        }
        tokio::select! {
            Some(address) = accepts.recv() => {
                dispatcher.accepted.insert(address);
            }
            Some(joined) = dispatcher.tasks.join_next() => match joined {
                Ok((index, result, began)) => dispatcher.ended(index, result, began),
                // A task that panicked took its step's index along; `finish` reports what is still running as failed.
                Err(error) => tracing::error!("a step's task ended abnormally: {error}"),
            },
            // A sender that is gone asks for nothing more.
            Ok(()) = stop.changed(), if !*stop.borrow() => {}
        }
    }
    let interrupted = *stop.borrow();
    dispatcher.finish(interrupted)
}

impl Dispatcher {
    fn start_ready(&mut self, accepted: &mpsc::UnboundedSender<Address>) {
        for index in 0..self.progress.len() {
            if self.progress[index] == Progress::Waiting && self.is_free(index) {
                self.start(index, accepted.clone());
            }
        }
    }

    fn is_free(&self, index: usize) -> bool {
        self.graph.edges_directed(NodeIndex::new(index), Direction::Incoming).all(|edge| {
            let before = edge.source().index();
            match self.progress[before] {
                Progress::Done => true,
                Progress::Running | Progress::Pending => {
                    *edge.weight() && self.accepted.contains(&self.plan.steps[before].address)
                }
                Progress::Waiting | Progress::Failed | Progress::Skipped => false,
            }
        })
    }

    fn kind_of(&self, address: &Address) -> String {
        self.plan.actions.get(address).map(|action| action.kind.clone()).unwrap_or_default()
    }

    fn start(&mut self, index: usize, accepted: mpsc::UnboundedSender<Address>) {
        let step = self.plan.steps[index].clone();
        self.progress[index] = Progress::Running;
        let kind = self.kind_of(&step.address);
        self.tell(Event::Started { address: step.address.clone(), kind, operation: step.operation });
        let (plan, shared) = (Arc::clone(&self.plan), self.shared.clone());
        self.tasks.spawn(async move {
            let began = Instant::now();
            let result = match plan.actions.get(&step.address) {
                Some(action) => Running { shared: &shared, action, accepted: &accepted }.run(step.operation).await,
                None => Err(StepError::Misfit(format!("no action for {}", step.address))),
            };
            (index, result, began)
        });
    }

    fn ended(&mut self, index: usize, result: Result<End, StepError>, began: Instant) {
        let Step { address, operation } = self.plan.steps[index].clone();
        let kind = self.kind_of(&address);
        match result {
            Ok(End::Done) => {
                self.progress[index] = Progress::Done;
                self.tell(Event::Done { address, kind, operation, took: began.elapsed() });
            }
            Ok(End::Pending(until)) => {
                self.progress[index] = Progress::Pending;
                let until = until.to_string();
                self.outcome.pending.push((address.clone(), until.clone()));
                self.tell(Event::Pending { address: address.clone(), until: until.clone() });
                self.skip_after(index, &format!("{address} is pending until {until}"));
            }
            Err(error) => {
                self.progress[index] = Progress::Failed;
                let text = error.to_string();
                self.outcome.failed.push((address.clone(), text.clone()));
                let hint = error.hint();
                self.tell(Event::Failed { address: address.clone(), kind, operation, error: text, hint });
                self.skip_after(index, &format!("{address} failed"));
            }
        }
    }

    /// Whatever comes after a step that will not be done is not tried.
    fn skip_after(&mut self, index: usize, why: &str) {
        let mut queue = vec![index];
        while let Some(index) = queue.pop() {
            let after: Vec<_> = self
                .graph
                .neighbors_directed(NodeIndex::new(index), Direction::Outgoing)
                .map(NodeIndex::index)
                .collect();
            for next in after {
                if self.progress[next] == Progress::Waiting {
                    self.progress[next] = Progress::Skipped;
                    let Step { address, operation } = self.plan.steps[next].clone();
                    self.outcome.skipped.push((address.clone(), why.to_owned()));
                    let kind = self.kind_of(&address);
                    self.tell(Event::Skipped { address, kind, operation, why: why.to_owned() });
                    queue.push(next);
                }
            }
        }
    }

    fn finish(mut self, interrupted: bool) -> Outcome {
        for index in 0..self.progress.len() {
            let Step { address, operation } = self.plan.steps[index].clone();
            match self.progress[index] {
                Progress::Waiting => {
                    let why = if interrupted { "interrupted" } else { "what it needs was not done" };
                    self.outcome.skipped.push((address.clone(), why.to_owned()));
                    let kind = self.kind_of(&address);
                    self.tell(Event::Skipped { address, kind, operation, why: why.to_owned() });
                }
                Progress::Running => {
                    let error = "the step ended abnormally; this is a mistake in anole".to_owned();
                    self.outcome.failed.push((address.clone(), error.clone()));
                    let kind = self.kind_of(&address);
                    self.tell(Event::Failed { address, kind, operation, error, hint: None });
                }
                Progress::Done | Progress::Failed | Progress::Skipped | Progress::Pending => {}
            }
        }
        let unfinished: BTreeSet<_> = [&self.outcome.failed, &self.outcome.skipped, &self.outcome.pending]
            .into_iter()
            .flatten()
            .map(|(address, _)| address.clone())
            .collect();
        let touched: BTreeSet<_> = self.plan.steps.iter().map(|step| step.address.clone()).collect();
        self.outcome.done = touched.difference(&unfinished).cloned().collect();
        self.outcome.interrupted = interrupted;
        self.outcome
    }

    fn tell(&self, event: Event) {
        let _ = self.shared.events.send(event);
    }
}
