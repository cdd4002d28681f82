//! What is to be done, and why: `plan(desired, observed, state, options) -> (Plan, Report)`.
//!
//! ```text
//! renames ─▶ decide (to a fixpoint: replacement spreads along references) ─▶ hold (protect) ─▶ order (petgraph) ─▶ check
//! ```
//!
//! Invariants:
//! - Pure: synchronous, deterministic, no IO, no clock, no randomness. Time, ids and randomness are inputs.
//! - A plan leaves the applier no choice: which steps, in which order, is all decided here.
//! - Every action that does something carries at least one [`Reason`].
//! - Nothing protected or adopted is deleted or replaced.
//! - The steps form a DAG: a delete comes before the delete of what it needs, a create after the create of it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::kinds::kind::FieldChange;
use crate::model::{Address, Fields, Json, RemoteId, SiteAlias, SiteIdentity};
use crate::observe::Observed;
use crate::resolve::Desired;
use crate::state::{Origin, State};

mod adopt;
pub mod bind;
mod check;
mod decide;
mod known;
mod live;
mod lookup;
mod order;
mod parts;
mod renewal;
mod retire;
mod target;
#[cfg(test)]
pub(crate) mod tests;

pub use check::in_words;
pub use order::graph;
pub use renewal::{aside, is_aside};

/// What a plan is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanOptions {
    /// Clean up instead of making.
    pub destroy: bool,
    /// With `destroy` or a removal: protected resources that are deleted too.
    pub include_protected: IncludeProtected,
    /// Only these and what they need.
    pub targets: Vec<Address>,
    /// Replace these though nothing asks for it.
    pub replace: Vec<Address>,
    /// Carry on though all of a site's objects are gone.
    pub accept_missing: bool,
    /// Believe the state instead of asking the clouds.
    pub trust_state: bool,
    /// Read back data that was loaded, to see that it is what it was.
    pub verify: bool,
}

/// Which protected resources may be deleted.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum IncludeProtected {
    /// None.
    #[default]
    None,
    /// These.
    Only(Vec<Address>),
    /// All.
    All,
}

impl IncludeProtected {
    fn covers(&self, address: &Address) -> bool {
        match self {
            Self::None => false,
            Self::Only(list) => list.iter().any(|included| included.covers(address)),
            Self::All => true,
        }
    }
}

/// Why there is no plan, for one resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PlanError {
    /// A stable code.
    pub code: &'static str,
    /// The resource it is about.
    pub address: Option<Address>,
    /// The field it is about.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl PlanError {
    fn new(code: &'static str, address: &Address, message: impl Into<String>) -> Self {
        Self { code, address: Some(address.clone()), field: None, message: message.into(), help: None }
    }

    fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Decides what is to be done.
///
/// `state` has its open intents resolved already.
///
/// # Errors
/// All reasons why there is no plan, in the order of the addresses.
pub fn plan(
    desired: &Desired,
    observed: &Observed,
    state: &State,
    options: &PlanOptions,
) -> Result<(Plan, Report), Vec<PlanError>> {
    let (state, renames) = target::renamed(state, desired)?;
    check::bindings(desired, observed, &state, options)?;
    let mut planner = decide::Planner::new(desired, observed, &state, options)?;
    planner.settle();
    retire::retire(&mut planner);
    planner.note_renames(&renames);
    let (actions, report) = planner.finish()?;
    let (steps, edges) = order::order(&actions, desired, &state);
    let plan = Plan {
        stack: state.stack.clone(),
        lineage: state.lineage.clone(),
        serial: state.serial,
        mode: if options.destroy { Mode::Destroy } else { Mode::Apply },
        at: observed.at,
        sites: observed.sites.iter().map(|(alias, view)| (alias.clone(), view.identity.clone())).collect(),
        variables: desired.variables.clone(),
        renames,
        actions,
        steps,
        edges,
        outputs: desired.outputs.clone(),
    };
    check::invariants(&plan)?;
    Ok((plan, report))
}

/// A plan: what is to be done with each resource, and the steps in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The stack's name.
    pub stack: String,
    /// The state's lineage.
    pub lineage: String,
    /// The serial of the state that this plan starts from.
    pub serial: u64,
    /// Whether this makes or unmakes.
    pub mode: Mode,
    /// When the live state was looked at.
    pub at: Timestamp,
    /// The sites as they were bound.
    pub sites: BTreeMap<SiteAlias, SiteIdentity>,
    /// The variables in force; sensitive ones are not among them.
    pub variables: BTreeMap<String, Json>,
    /// Records that change their address first, in order.
    pub renames: Vec<(Address, Address)>,
    /// One for each resource of the spec and of the state.
    pub actions: BTreeMap<Address, Action>,
    /// The steps; an edge names two of them by index.
    pub steps: Vec<Step>,
    /// What must come before what.
    pub edges: Vec<Edge>,
    /// The spec's outputs, to be evaluated when all is done.
    pub outputs: BTreeMap<String, crate::model::Value>,
}

/// What kind of plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Make it so.
    Apply,
    /// Clean up.
    Destroy,
    /// Only record what is live.
    Refresh,
}

/// What is to be done with one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The resource.
    pub address: Address,
    /// Its kind.
    pub kind: String,
    /// Its site.
    pub site: SiteAlias,
    /// What.
    pub verb: Verb,
    /// Why; empty only for [`Verb::Keep`].
    pub reasons: Vec<Reason>,
    /// Field by field, for an update or a replacement.
    pub changes: Vec<FieldChange>,
    /// What is wanted, as far as it is known; for a deletion what was applied.
    pub fields: Fields,
    /// What is wanted, with its references as the spec has them: bound again when its turn comes.
    pub wanted: Fields,
    /// The object, where there is one.
    pub id: Option<RemoteId>,
    /// The object as it was seen.
    pub live: Fields,
    /// What was applied last.
    pub applied: Fields,
    /// How the object came to be ours.
    pub origin: Origin,
    /// Whether it is protected from now on.
    pub protect: bool,
    /// What it needs.
    pub needs: Vec<Address>,
    /// What data goes with it.
    pub data_loss: Option<String>,
    /// What is done inside the server, in words and in order.
    pub in_guest: Vec<String>,
    /// Whether nobody logs in to that server, so that it is recorded as done and no more.
    pub recorded_only: bool,
}

/// What is to be done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Nothing.
    Keep,
    /// Record a change of what the object shows, its address or its protection; no request.
    Record,
    /// Wait until it is ready: an earlier apply asked for it.
    Await,
    /// Make it.
    Create,
    /// Take an object made elsewhere under management.
    Adopt,
    /// Change it in place.
    Update,
    /// Delete it and make it again.
    Replace,
    /// Delete it.
    Delete,
    /// Let go of an adopted object.
    Release,
    /// Forget an object that is gone already.
    Forget,
    /// Keep an object that is protected, or that a protected one needs, though it is no longer wanted.
    Hold,
}

impl Verb {
    /// Whether it changes something in a cloud.
    #[must_use]
    pub fn is_change(self) -> bool {
        matches!(self, Self::Create | Self::Adopt | Self::Update | Self::Replace | Self::Delete | Self::Await)
    }

    /// Whether it changes something in a cloud or in the state.
    #[must_use]
    pub fn is_work(self) -> bool {
        self.is_change() || matches!(self, Self::Record | Self::Release | Self::Forget)
    }
}

/// Why an action is taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// It is in the spec and was never made.
    New,
    /// The spec says otherwise than the last apply set.
    Changed {
        /// The field.
        field: String,
    },
    /// Somebody changed it outside anole.
    Drifted {
        /// The field.
        field: String,
    },
    /// It is not as the last apply left it, for the kind's own reasons.
    Differs {
        /// The field.
        field: String,
        /// How.
        why: String,
    },
    /// Somebody deleted it outside anole.
    Missing,
    /// Its lease ended and took it along.
    LeaseEnded {
        /// The lease.
        lease: Address,
        /// When: `2026-11-20T18:00Z`.
        at: String,
    },
    /// It is over by itself; the text says how (`lease ended 2026-11-20T18:00Z`).
    Ended {
        /// How.
        how: String,
    },
    /// A resource that it names is replaced.
    TargetReplaced {
        /// That resource.
        target: Address,
        /// The kind of it.
        kind: String,
    },
    /// The server that it is inside of is rebuilt: it stays, and its root disk is erased.
    TargetRebuilt {
        /// That server.
        target: Address,
        /// The kind of it.
        kind: String,
    },
    /// A resource that it names is made anew.
    TargetCreated {
        /// That resource.
        target: Address,
        /// The kind of it.
        kind: String,
    },
    /// A part of what it names is removed, and it cannot do without.
    TargetRemoved {
        /// That part.
        target: Address,
        /// The kind of it.
        kind: String,
    },
    /// It is a part of a resource that is replaced.
    OwnerReplaced {
        /// That resource.
        owner: Address,
        /// The kind of it.
        kind: String,
    },
    /// It is in an error state.
    Failed {
        /// What the cloud says.
        why: String,
    },
    /// An interrupted apply asked for it and it is not ready yet.
    Interrupted,
    /// It starts at a time that its owner chose.
    Scheduled {
        /// When: `2026-12-01T18:00Z`.
        at: String,
    },
    /// It ends by itself soon, and its successor is made before it goes.
    Renewed {
        /// When: `2026-12-31T00:00Z`.
        at: String,
    },
    /// A successor has taken its place.
    Succeeded,
    /// `--replace` names it.
    Marked,
    /// It stands on another site now.
    SiteChanged {
        /// The site it is on.
        from: SiteAlias,
    },
    /// Its block declares another kind of thing now.
    KindChanged {
        /// The kind that it is of.
        from: String,
    },
    /// The spec adopts it.
    Adopted,
    /// It is no longer in the spec.
    Removed,
    /// `destroy`.
    Destroyed,
    /// It is protected.
    Protected,
    /// Something that is kept needs it.
    NeededBy {
        /// That resource.
        address: Address,
    },
    /// It has another address in the spec.
    Renamed {
        /// The address it had.
        from: Address,
    },
    /// `protect` changed.
    Protection,
    /// Outputs or recorded attributes are out of date.
    Refreshed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("new"),
            Self::Changed { field } => write!(f, "{field} changed"),
            Self::Drifted { field } => write!(f, "{field} was changed outside anole"),
            Self::Differs { why, .. } => f.write_str(why),
            Self::Missing => f.write_str("was deleted outside anole"),
            Self::LeaseEnded { lease, at } => write!(f, "lease `{}` ended {at}", lease.name),
            Self::Ended { how } => f.write_str(how),
            Self::TargetReplaced { target, kind } => write!(f, "{} `{}` is replaced", words(kind), short(target)),
            Self::TargetRebuilt { target, kind } => write!(f, "{} `{}` is rebuilt", words(kind), short(target)),
            Self::TargetCreated { target, kind } => write!(f, "{} `{}` is made anew", words(kind), short(target)),
            Self::TargetRemoved { target, kind } => write!(f, "{} `{}` is removed", words(kind), short(target)),
            Self::OwnerReplaced { owner, kind } => write!(f, "its {} `{}` is replaced", words(kind), short(owner)),
            Self::Failed { why } => write!(f, "it failed: {why}"),
            Self::Interrupted => f.write_str("an interrupted apply asked for it"),
            Self::Scheduled { at } => write!(f, "starts {at}"),
            Self::Renewed { at } => write!(f, "it ends {at} and is renewed ahead of that"),
            Self::Succeeded => f.write_str("another has taken its place"),
            Self::Marked => f.write_str("marked by --replace"),
            Self::SiteChanged { from } => write!(f, "moves from site `{from}`"),
            Self::KindChanged { from } => write!(f, "its kind changed from {}", words(from)),
            Self::Adopted => f.write_str("adopted"),
            Self::Removed => f.write_str("no longer in the spec"),
            Self::Destroyed => f.write_str("destroy"),
            Self::Protected => f.write_str("protected"),
            Self::NeededBy { address } => write!(f, "needed by {address}"),
            Self::Renamed { from } => write!(f, "was {from}"),
            Self::Protection => f.write_str("protect changed"),
            Self::Refreshed => f.write_str("its recorded attributes are out of date"),
        }
    }
}

/// A kind as people say it.
fn words(kind: &str) -> String {
    kind.replace('_', " ")
}

/// An address without its section: what people call the resource. A part that is the only one of its sort goes by its
/// owner's name.
fn short(address: &Address) -> String {
    let is_only = address.part.as_ref().is_some_and(|part| !part.contains('['));
    let address = address.owner().filter(|_| is_only).unwrap_or_else(|| address.clone());
    address.to_string().split_once('.').map_or_else(|| address.to_string(), |(_, rest)| rest.to_owned())
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Step {
    /// The resource.
    pub address: Address,
    /// What is done.
    pub operation: StepOperation,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOperation {
    /// Lets go of what is about to be deleted, so that its service allows that.
    LetGo,
    /// Deletes the object.
    Delete,
    /// Asks for the object and waits until it is ready.
    Create,
    /// Waits for an object that was asked for before.
    Await,
    /// Changes the object in place.
    Update,
    /// Changes the state only.
    Record,
}

/// `before` comes before `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// The index of the step that comes first.
    pub before: usize,
    /// The index of the step that waits for it.
    pub after: usize,
    /// Whether the first one's id is enough.
    pub accepted: bool,
}

/// What a plan wants people to know besides its actions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Things worth a look, with the resource they are about.
    pub notes: Vec<Note>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Whether it is a warning.
    pub warning: bool,
    /// The resource, if it is about one.
    pub address: Option<Address>,
    /// What.
    pub text: String,
}

/// How many actions of each sort a plan has; parts of a resource are counted with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// To be made.
    pub create: usize,
    /// To be changed in place.
    pub update: usize,
    /// To be deleted and made again.
    pub replace: usize,
    /// To be deleted.
    pub delete: usize,
    /// Everything else that is not nothing.
    pub other: usize,
    /// Protected and kept, though not wanted.
    pub held: usize,
}

impl Plan {
    /// Whether there is nothing to do, in the clouds or in the state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.values().all(|action| !action.verb.is_work())
    }

    /// Counts the actions on declared resources.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for action in self.actions.values().filter(|action| action.address.part.is_none()) {
            match action.verb {
                Verb::Keep => {}
                Verb::Create => summary.create += 1,
                Verb::Update => summary.update += 1,
                Verb::Replace => summary.replace += 1,
                Verb::Delete => summary.delete += 1,
                Verb::Hold => summary.held += 1,
                Verb::Record | Verb::Await | Verb::Adopt | Verb::Release | Verb::Forget => summary.other += 1,
            }
        }
        summary
    }
}
