//! The order of things: resources by their needs, and a plan's steps as a DAG.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use super::{Action, Edge, PlanError, Step, StepOperation, Verb, is_aside};
use crate::kinds;
use crate::kinds::schema::{RefChange, Until};
use crate::model::{Address, RemoteId, SiteAlias};
use crate::resolve::Desired;
use crate::state::State;

/// The wanted resources, each after all that it needs; of those that are free, the first by address comes first.
pub(super) fn by_needs(desired: &Desired) -> Result<Vec<Address>, Vec<PlanError>> {
    let mut waiting: BTreeMap<&Address, BTreeSet<&Address>> = BTreeMap::new();
    let mut needed_by: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for (address, resource) in &desired.resources {
        let needs: BTreeSet<_> = resource
            .needs
            .iter()
            .map(|need| &need.address)
            .filter(|need| desired.resources.contains_key(need))
            .collect();
        for need in &needs {
            needed_by.entry(need).or_default().push(address);
        }
        waiting.insert(address, needs);
    }
    let mut free: BTreeSet<&Address> =
        waiting.iter().filter(|(_, needs)| needs.is_empty()).map(|(address, _)| *address).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(address) = free.pop_first() {
        order.push(address.clone());
        for dependent in needed_by.get(address).into_iter().flatten() {
            if let Some(needs) = waiting.get_mut(dependent)
                && needs.remove(address)
                && needs.is_empty()
            {
                free.insert(dependent);
            }
        }
    }
    if order.len() == desired.resources.len() {
        return Ok(order);
    }
    let stuck: Vec<_> = waiting.iter().filter(|(_, needs)| !needs.is_empty()).map(|(address, _)| *address).collect();
    let names = stuck.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(vec![PlanError::new("reference-cycle", stuck[0], format!("these need each other in a circle: {names}"))])
}

/// The steps of a plan and what must come before what.
pub(super) fn order(actions: &BTreeMap<Address, Action>, desired: &Desired, state: &State) -> (Vec<Step>, Vec<Edge>) {
    let mut builder = Builder { actions, index: BTreeMap::new(), steps: Vec::new(), edges: BTreeMap::new() };
    builder.steps(state, desired);
    builder.forward(desired);
    builder.backward(state, desired);
    builder.preferences(state, desired);
    let edges = builder.edges.into_iter().map(|((before, after), accepted)| Edge { before, after, accepted }).collect();
    (builder.steps, edges)
}

struct Builder<'a> {
    actions: &'a BTreeMap<Address, Action>,
    index: BTreeMap<Step, usize>,
    steps: Vec<Step>,
    /// Whether the first one's id is enough; a full wait wins over that.
    edges: BTreeMap<(usize, usize), bool>,
}

impl Builder<'_> {
    fn add(&mut self, address: &Address, operation: StepOperation) {
        let step = Step { address: address.clone(), operation };
        if !self.index.contains_key(&step) {
            self.index.insert(step.clone(), self.steps.len());
            self.steps.push(step);
        }
    }

    fn find(&self, address: &Address, operation: StepOperation) -> Option<usize> {
        self.index.get(&Step { address: address.clone(), operation }).copied()
    }

    /// The step after which the resource can be used, if there is one.
    fn making(&self, address: &Address) -> Option<usize> {
        [StepOperation::Create, StepOperation::Update, StepOperation::Await, StepOperation::Record]
            .into_iter()
            .find_map(|operation| self.find(address, operation))
    }

    fn edge(&mut self, before: Option<usize>, after: Option<usize>, accepted: bool) {
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            let entry = self.edges.entry((before, after)).or_insert(accepted);
            *entry = *entry && accepted;
        }
    }

    fn steps(&mut self, state: &State, desired: &Desired) {
        for (address, action) in self.actions {
            match action.verb {
                Verb::Keep | Verb::Hold => {}
                Verb::Create => self.add(address, StepOperation::Create),
                Verb::Await => self.add(address, StepOperation::Await),
                Verb::Update => self.add(address, StepOperation::Update),
                Verb::Adopt if !action.changes.is_empty() => self.add(address, StepOperation::Update),
                Verb::Replace => {
                    self.add(address, StepOperation::Delete);
                    self.add(address, StepOperation::Create);
                }
                Verb::Delete => self.add(address, StepOperation::Delete),
                Verb::Record | Verb::Adopt | Verb::Release | Verb::Forget => self.add(address, StepOperation::Record),
            }
        }
        for (holder, _) in let_go_pairs(self.actions, desired, state) {
            self.add(&holder, StepOperation::LetGo);
        }
    }

    /// Making follows needs: a create or update comes after that of what it needs.
    fn forward(&mut self, desired: &Desired) {
        for resource in desired.resources.values() {
            let own = self.making(&resource.address);
            let delete = self.find(&resource.address, StepOperation::Delete);
            match self.actions.get(&resource.address).is_some_and(Action::makes_first) {
                true => self.edge(own, delete, false),
                false => self.edge(delete, own, false),
            }
            for need in &resource.needs {
                self.edge(self.making(&need.address), own, need.until == Until::Accepted);
            }
        }
    }

    /// What a live object holds, whoever gave it, goes after the object too.
    fn holders(&mut self) {
        let by_id: BTreeMap<(&SiteAlias, &str, &RemoteId), &Address> = self
            .actions
            .values()
            .filter(|action| self.find(&action.address, StepOperation::Delete).is_some())
            .filter_map(|action| Some(((&action.site, action.kind.as_str(), action.id.as_ref()?), &action.address)))
            .collect();
        let mut pairs = Vec::new();
        for action in self.actions.values() {
            let Some(own) = self.find(&action.address, StepOperation::Delete) else { continue };
            let mut held = BTreeSet::new();
            for value in action.live.values() {
                value.visit_refs(&mut |reference| {
                    let id = reference.id.as_ref();
                    held.extend(id.and_then(|id| by_id.get(&(&action.site, reference.kind.as_str(), id))).copied());
                });
            }
            let theirs = held.into_iter().filter_map(|address| self.find(address, StepOperation::Delete));
            pairs.extend(theirs.map(|theirs| (own, theirs)).filter(|pair| !self.edges.contains_key(pair)));
        }
        for (own, theirs) in pairs {
            // Groups may name each other in their rules; then either goes first.
            self.prefer(own, theirs, false);
        }
    }

    /// What is new must stand before anything is destroyed for its sake: unless it can only be made after that.
    fn new_before_old(&mut self, desired: &Desired) {
        for resource in desired.resources.values() {
            let Some(delete) = self.find(&resource.address, StepOperation::Delete) else { continue };
            for need in &resource.needs {
                let is_new = |action: &Action| action.verb == Verb::Create || action.makes_first();
                let is_new = self.actions.get(&need.address).is_some_and(is_new);
                if let Some(theirs) = self.making(&need.address).filter(|_| is_new) {
                    self.prefer(theirs, delete, need.until == Until::Accepted);
                }
            }
        }
    }

    /// What is renewed goes once its successor is there and all that use it are switched over: made anew, updated, or gone.
    fn switched_over(&mut self, state: &State, desired: &Desired) {
        let leaving: Vec<(Address, usize)> = self
            .actions
            .values()
            .filter(|action| action.makes_first() || is_aside(&action.address))
            .filter_map(|action| {
                let delete = self.find(&action.address, StepOperation::Delete)?;
                let owner = if is_aside(&action.address) { action.address.owner()? } else { action.address.clone() };
                Some((owner, delete))
            })
            .collect();
        for (renewed, delete) in leaving {
            let makers = desired
                .resources
                .values()
                .filter(|user| user.address == renewed || user.needs.iter().any(|need| need.address == renewed));
            let leavers = state.resources.iter().filter(|(_, record)| record.needs.contains(&renewed));
            let users: Vec<usize> = makers
                .filter_map(|user| self.making(&user.address))
                .chain(leavers.filter_map(|(address, _)| self.find(address, StepOperation::Delete)))
                .collect();
            for user in users {
                self.prefer(user, delete, false);
            }
        }
    }

    /// Who is bound by way of a resource that changes, and is bound anew itself, lets go first: a router cannot leave a
    /// network while an address is bound behind it.
    fn followers_let_go(&mut self, state: &State) {
        let mut pairs = Vec::new();
        for action in self.actions.values() {
            let Some(kind) = kinds::by_name(&action.kind) else { continue };
            let Some(sole) = kind.schema().sole() else { continue };
            let update = self.find(&action.address, StepOperation::Update);
            let rebinds = action.changes.iter().any(|change| change.field == sole.name);
            let (Some(update), Some(record), true) = (update, state.resources.get(&action.address), rebinds) else {
                continue;
            };
            let followed = |need: &&Address| {
                self.actions.get(*need).is_some_and(|action| kind.follows().contains(&action.kind.as_str()))
            };
            for need in record.needs.iter().filter(followed) {
                let theirs = self.find(need, StepOperation::Delete);
                if let Some(theirs) = theirs.or_else(|| self.find(need, StepOperation::Update)) {
                    pairs.push((action.address.clone(), update, theirs));
                }
            }
        }
        for (address, update, theirs) in pairs {
            self.add(&address, StepOperation::LetGo);
            let let_go = self.find(&address, StepOperation::LetGo);
            self.edge(let_go, Some(theirs), false);
            self.edge(let_go, Some(update), false);
        }
    }

    /// What passes from one resource to another of its kind (a volume from attachment to attachment, room on a lease
    /// from server to server) is let go by the one before the other takes it. Where several swap, and a target has one of
    /// them at a time, one lets go first; others go in the order they can.
    fn handovers(&mut self, state: &State, desired: &Desired) {
        let held = |address: &Address, need: &Address| {
            state.resources.get(address).is_some_and(|record| record.needs.contains(need))
        };
        let mut givers: BTreeMap<(&str, &Address), Vec<usize>> = BTreeMap::new();
        for (address, record) in &state.resources {
            let delete = self.find(address, StepOperation::Delete);
            let gives = delete.or_else(|| self.find(address, StepOperation::Update));
            let Some(gives) = gives else { continue };
            for need in record.needs.iter().filter(|need| !still_needs(desired, address, need)) {
                givers.entry((record.kind.as_str(), need)).or_default().push(gives);
            }
        }
        for resource in desired.resources.values() {
            let create = self.find(&resource.address, StepOperation::Create);
            let takes = create.or_else(|| self.find(&resource.address, StepOperation::Update));
            let Some(takes) = takes else { continue };
            let taken = resource.needs.iter().filter(|need| need.change != RefChange::Order);
            let before: BTreeMap<usize, bool> = taken
                .filter(|need| !held(&resource.address, &need.address))
                .flat_map(|need| {
                    let givers = givers.get(&(resource.kind, &need.address)).into_iter().flatten();
                    givers.map(|gives| (*gives, need.change == RefChange::Sole))
                })
                .collect();
            if before.is_empty() {
                continue;
            }
            let after = self.after(takes);
            for (gives, sole) in before {
                if !after.contains(&gives) {
                    self.edge(Some(gives), Some(takes), false);
                } else if sole && gives != takes {
                    self.let_go_first(gives, takes);
                }
            }
        }
    }

    /// Breaks a circle of updates that take over from each other: `gives` lets go before `takes`, and takes later.
    fn let_go_first(&mut self, gives: usize, takes: usize) {
        let Step { address, operation: StepOperation::Update } = self.steps[gives].clone() else { return };
        self.add(&address, StepOperation::LetGo);
        let let_go = self.find(&address, StepOperation::LetGo);
        self.edge(let_go, Some(takes), false);
        self.edge(let_go, Some(gives), false);
    }

    /// A step, and all that come after it by the edges so far.
    fn after(&self, step: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::from([step]);
        let mut queue = vec![step];
        while let Some(step) = queue.pop() {
            let next = self.edges.range((step, 0)..=(step, usize::MAX)).map(|((_, after), _)| *after);
            queue.extend(next.filter(|after| reached.insert(*after)));
        }
        reached
    }

    /// Unmaking goes against needs: a delete comes after the delete of what needed it.
    fn backward(&mut self, state: &State, desired: &Desired) {
        for (address, record) in &state.resources {
            for need in &record.needs {
                let theirs = self.find(need, StepOperation::Delete);
                let own = self.find(address, StepOperation::Delete);
                self.edge(own, theirs, false);
                // What is released is known until all that it held is gone: a subnet takes a router's interface along.
                if self.actions.get(address).is_some_and(|action| action.verb == Verb::Release) {
                    self.edge(theirs, self.find(address, StepOperation::Record), false);
                }
            }
        }
        for (holder, target) in let_go_pairs(self.actions, desired, state) {
            let let_go = self.find(&holder, StepOperation::LetGo);
            self.edge(let_go, self.find(&target, StepOperation::Delete), false);
            self.edge(let_go, self.find(&holder, StepOperation::Update), false);
        }
    }

    /// What is better done first, and often must be. Where it would close a circle, the other order stands.
    fn preferences(&mut self, state: &State, desired: &Desired) {
        self.switched_over(state, desired);
        self.followers_let_go(state);
        self.holders();
        self.updates_let_go(state, desired);
        self.handovers(state, desired);
        self.leave_before_update(state);
        self.new_before_old(desired);
    }

    /// An edge, unless it would close a circle with those so far.
    fn prefer(&mut self, before: usize, after: usize, accepted: bool) {
        if !self.after(after).contains(&before) {
            self.edge(Some(before), Some(after), accepted);
        }
    }

    /// Where the spec dropped a reference, the update that lets go comes before the delete of what was let go. A part of
    /// what is still named is no such thing: it goes by itself.
    fn updates_let_go(&mut self, state: &State, desired: &Desired) {
        for (address, record) in &state.resources {
            let Some(own) = self.find(address, StepOperation::Update) else { continue };
            let needed = |need: &Address| still_needs(desired, address, need);
            let dropped = |need: &Address| !needed(need) && !need.owner().is_some_and(|owner| needed(&owner));
            for need in record.needs.iter().filter(|need| dropped(need)) {
                if let Some(theirs) = self.find(need, StepOperation::Delete) {
                    self.prefer(own, theirs, false);
                }
            }
        }
    }

    /// What is deleted leaves what it needed before that is updated: a volume that grows cannot be detached meanwhile.
    fn leave_before_update(&mut self, state: &State) {
        for (address, record) in &state.resources {
            let Some(own) = self.find(address, StepOperation::Delete) else { continue };
            for need in &record.needs {
                if let Some(update) = self.find(need, StepOperation::Update) {
                    self.prefer(own, update, false);
                }
            }
        }
    }
}

fn still_needs(desired: &Desired, address: &Address, need: &Address) -> bool {
    desired.resources.get(address).is_some_and(|resource| resource.needs.iter().any(|other| other.address == *need))
}

/// Who must let go of what: a resource that is updated in place while a target that it holds is replaced.
fn let_go_pairs(actions: &BTreeMap<Address, Action>, desired: &Desired, state: &State) -> Vec<(Address, Address)> {
    let mut pairs = Vec::new();
    for resource in desired.resources.values() {
        let updated = actions.get(&resource.address).is_some_and(|action| action.verb == Verb::Update);
        let Some(record) = state.resources.get(&resource.address).filter(|_| updated) else { continue };
        for need in resource.needs.iter().filter(|need| need.change == RefChange::Release) {
            let replaced = actions.get(&need.address).is_some_and(|action| action.verb == Verb::Replace);
            if replaced && record.needs.contains(&need.address) {
                pairs.push((resource.address.clone(), need.address.clone()));
            }
        }
    }
    pairs
}

/// The steps in an order that obeys the edges; or, if there is none, the steps that stand in a circle.
pub(super) fn topological(steps: &[Step], edges: &[Edge]) -> Result<Vec<usize>, Vec<Step>> {
    let graph = graph(steps, edges);
    match toposort(&graph, None) {
        Ok(order) => Ok(order.into_iter().map(NodeIndex::index).collect()),
        Err(_) => {
            let circle = tarjan_scc(&graph).into_iter().find(|component| component.len() > 1).unwrap_or_default();
            Err(circle.into_iter().filter_map(|node| steps.get(node.index()).cloned()).collect())
        }
    }
}

/// The steps as a graph: node `i` is step `i`, the weight of an edge says whether an id is enough.
#[must_use]
pub fn graph<'a>(steps: &'a [Step], edges: &[Edge]) -> DiGraph<&'a Step, bool> {
    let mut graph = DiGraph::with_capacity(steps.len(), edges.len());
    for step in steps {
        graph.add_node(step);
    }
    for edge in edges {
        graph.add_edge(NodeIndex::new(edge.before), NodeIndex::new(edge.after), edge.accepted);
    }
    graph
}
