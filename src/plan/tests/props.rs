//! What holds of every plan, whatever the spec, whatever the edit, and whatever happened meanwhile.

use std::collections::BTreeSet;

use petgraph::algo::toposort;
use petgraph::graph::NodeIndex;
use proptest::prelude::*;

use super::cloud::World;
use super::random::{GENES, spec};
use super::{kit, random};
use crate::model::{Address, SiteAlias, Value};
use crate::plan::{IncludeProtected, Plan, PlanOptions, StepOperation, Verb, graph};
use crate::resolve::Desired;
use crate::state::{Origin, State};

/// Reasons why an edit may have no plan. Anything else is a mistake of the planner.
const REFUSALS: &[&str] = &["protected-replace", "adopted-replace", "refused-change", "adopted-gone", "held-replace"];

/// An edit: a gene, and what it becomes.
type Edit = (usize, u8);

/// Something that happens outside: what, and to which object.
type Mishap = (u8, u8);

/// Genes, shown as the spec they stand for.
#[derive(Clone)]
struct Genes(Vec<u8>);

impl std::fmt::Debug for Genes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\n{}", spec(&self.0))
    }
}

impl Genes {
    fn edited(&self, edits: &[Edit]) -> Self {
        let mut genes = self.0.clone();
        for (at, gene) in edits {
            genes[*at] = *gene;
        }
        Self(genes)
    }

    fn desired(&self) -> Desired {
        kit::desired(&spec(&self.0))
    }
}

fn genes() -> impl Strategy<Value = Genes> {
    prop::collection::vec(any::<u8>(), GENES).prop_map(Genes)
}

/// A quarter of what `PROPTEST_CASES` says, or of 256: each case is a handful of plans.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.div_ceil(4), failure_persistence: None, ..config }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec((0..GENES, any::<u8>()), 0..8)
}

fn mishaps() -> impl Strategy<Value = Vec<Mishap>> {
    prop::collection::vec((any::<u8>(), any::<u8>()), 0..4)
}

/// Chooses among steps that are free: another order each time.
fn dice(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |n| {
        // Knuth's MMIX generator.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % n
    }
}

/// Lets something happen to an object of the state.
fn happen(world: &mut World, (what, which): Mishap) {
    let records: Vec<_> = world.state.resources.values().cloned().collect();
    if records.is_empty() {
        return;
    }
    let record = &records[usize::from(which) % records.len()];
    let Some(seen) = world.objects(&record.site, &record.kind).get_mut(&record.id) else { return };
    match (what % 5, record.kind.as_str()) {
        (0, "server") => seen.status = "ERROR".to_owned(),
        (0, "lease") => seen.status = "TERMINATED".to_owned(),
        (1, _) if seen.attrs.contains_key("name") => {
            drop(seen.attrs.insert("name".to_owned(), Value::text("another")));
        }
        (2, "floating_ip") => drop(seen.attrs.insert("server".to_owned(), Value::Null)),
        (2, "security_group") => drop(seen.attrs.insert("rules".to_owned(), Value::List(Vec::new()))),
        (3 | 4, _) => drop(world.objects(&record.site, &record.kind).remove(&record.id)),
        _ => {}
    }
    world.settle();
}

/// Plans, checks all that holds of a plan, and carries it out; `false` where the planner has good reason not to.
fn go(world: &mut World, desired: &Desired, options: &PlanOptions, seed: u64) -> bool {
    let options = &PlanOptions { accept_missing: true, ..options.clone() };
    let plan = match world.plan_with(desired, options) {
        Ok((plan, _)) => plan,
        Err(errors) => {
            for error in &errors {
                assert!(REFUSALS.contains(&error.code), "{}", kit::refusals(&errors));
            }
            return false;
        }
    };
    check(&plan, world, desired, options);
    let (again, _) = world.plan_with(desired, options).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(text, serde_json::to_string(&again).unwrap(), "the same input gives the same plan");
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan, "a plan reads back as itself");
    world.carry_out(&plan, dice(seed));
    true
}

fn settled(world: &World, desired: &Desired, options: &PlanOptions) {
    let (plan, _) = world.plan_with(desired, options).unwrap_or_else(|errors| panic!("{}", kit::refusals(&errors)));
    assert!(plan.is_empty() && plan.steps.is_empty(), "a second plan is empty:\n{}", kit::summary(&plan));
}

/// What comes after each step; that there is such a thing means that no steps stand in a circle.
fn after_each(plan: &Plan) -> Vec<BTreeSet<usize>> {
    let order = toposort(&graph(&plan.steps, &plan.edges), None).expect("no steps stand in a circle");
    let mut after = vec![BTreeSet::new(); plan.steps.len()];
    for step in order.into_iter().rev().map(NodeIndex::index) {
        for edge in plan.edges.iter().filter(|edge| edge.before == step) {
            let further = after[edge.after].clone();
            after[step].insert(edge.after);
            after[step].extend(further);
        }
    }
    after
}

fn check(plan: &Plan, world: &World, desired: &Desired, options: &PlanOptions) {
    let after = after_each(plan);
    let at = |address: &Address, operation: StepOperation| {
        plan.steps.iter().position(|step| step.address == *address && step.operation == operation)
    };
    let before = |first: Option<usize>, second: Option<usize>, what: &str| {
        if let (Some(first), Some(second)) = (first, second) {
            let (a, b) = (&plan.steps[first], &plan.steps[second]);
            assert!(after[first].contains(&second), "{what}: {a:?} {b:?}\n{}", kit::summary(plan));
        }
    };
    let renamed = |address: &Address| {
        plan.renames.iter().find(|(from, _)| from == address).map_or_else(|| address.clone(), |(_, to)| to.clone())
    };
    for (address, record) in &world.state.resources {
        let own = at(&renamed(address), StepOperation::Delete);
        for need in &record.needs {
            before(own, at(&renamed(need), StepOperation::Delete), "a delete comes before that of what it needs");
        }
    }
    for resource in desired.resources.values() {
        let own = at(&resource.address, StepOperation::Create);
        before(at(&resource.address, StepOperation::Delete), own, "a delete comes before its create");
        for need in &resource.needs {
            before(at(&need.address, StepOperation::Create), own, "a create comes after that of what it needs");
        }
    }
    for action in plan.actions.values() {
        let deleted = at(&action.address, StepOperation::Delete).is_some();
        assert!(!action.verb.is_work() || !action.reasons.is_empty(), "{} has no reason", action.address);
        assert!(!deleted || action.origin != Origin::Adopted, "{} is adopted and deleted", action.address);
        let included = options.include_protected != IncludeProtected::None;
        let declared = desired.resources.get(&action.address).and_then(|resource| resource.protect);
        assert!(!deleted || !action.protect || included || declared == Some(false), "{} is protected", action.address);
        let explicit = desired.resources.get(&action.address).is_some_and(|resource| resource.protect == Some(false));
        let unprotected = action.kind != "volume" || explicit || !action.protect || included;
        assert!(!deleted || unprotected, "{} holds data", action.address);
    }
}

fn held_and_what_it_needs(state: &State) -> BTreeSet<Address> {
    let mut kept: BTreeSet<Address> = BTreeSet::new();
    let mut queue: Vec<Address> = state.resources.iter().filter(|(_, r)| r.protect).map(|(a, _)| a.clone()).collect();
    while let Some(address) = queue.pop() {
        if state.resources.contains_key(&address) && kept.insert(address.clone()) {
            queue.extend(state.resources.get(&address).into_iter().flat_map(|record| record.needs.clone()));
        }
    }
    kept
}

proptest! {
    #![proptest_config(config())]

    /// Apply a spec, edit it, let things happen, apply again: each time the plan is sound and leaves nothing to do.
    /// Then a destroy leaves what is protected and what that needs, and a last one all the rest.
    #[test]
    fn every_plan_is_sound(genes in genes(), edits in edits(), mishaps in mishaps(), seed in any::<u64>()) {
        let options = PlanOptions::default();
        let mut world = World::new();
        let first = genes.desired();
        prop_assert!(go(&mut world, &first, &options, seed));
        settled(&world, &first, &options);

        for mishap in &mishaps {
            happen(&mut world, *mishap);
        }
        let second = genes.edited(&edits).desired();
        let last = if go(&mut world, &second, &options, seed ^ 1) {
            settled(&world, &second, &options);
            second
        } else {
            first
        };

        let destroy = PlanOptions { destroy: true, ..PlanOptions::default() };
        prop_assert!(go(&mut world, &last, &destroy, seed ^ 2));
        let left: BTreeSet<_> = world.state.resources.keys().cloned().collect();
        prop_assert_eq!(&left, &held_and_what_it_needs(&world.state));
        settled(&world, &last, &destroy);
        let all = PlanOptions { include_protected: IncludeProtected::All, ..destroy };
        prop_assert!(go(&mut world, &last, &all, seed ^ 3));
        prop_assert!(world.state.resources.is_empty());
        for site in [SiteAlias::from("kvm"), SiteAlias::from("chi")] {
            let objects = world.clouds.sites[&site].objects.clone();
            let left: Vec<_> = objects.into_iter().filter(|(kind, _)| kind != "lease" && kind != "security_group").collect();
            prop_assert!(left.iter().all(|(_, objects)| objects.is_empty()), "{:?}", left);
        }
    }

    /// However a server, its lease or its image change, a volume is not touched.
    #[test]
    fn a_volume_outlives_every_server(genes in genes(), edits in edits(), mishaps in mishaps(), seed in any::<u64>()) {
        let options = PlanOptions::default();
        let mut world = World::new();
        let first = genes.desired();
        prop_assert!(go(&mut world, &first, &options, seed));
        let volumes = |world: &World| -> BTreeSet<_> {
            world.state.resources.values().filter(|r| r.kind == "volume").map(|record| record.id.clone()).collect()
        };
        let before = volumes(&world);
        // Volumes have the genes from `VOLUMES` on; all edits are of what comes before them.
        let edits: Vec<_> = edits.into_iter().map(|(at, gene)| (at % random::VOLUMES, gene)).collect();
        for mishap in mishaps.iter().filter(|(what, _)| what % 5 < 3) {
            happen(&mut world, *mishap);
        }
        go(&mut world, &genes.edited(&edits).desired(), &options, seed ^ 1);
        prop_assert_eq!(before, volumes(&world));
    }

    /// A plan for a target touches the target, what it needs, and what a replacement of those takes along.
    #[test]
    fn a_target_is_all_that_is_touched(genes in genes(), edits in edits(), which in any::<u8>(), seed in any::<u64>()) {
        let mut world = World::new();
        let first = genes.desired();
        prop_assert!(go(&mut world, &first, &PlanOptions::default(), seed));
        let second = genes.edited(&edits).desired();
        let all: Vec<_> = second.resources.keys().chain(world.state.resources.keys()).cloned().collect();
        prop_assume!(!all.is_empty());
        let target = all[usize::from(which) % all.len()].clone();
        let options = PlanOptions { targets: vec![target.clone()], ..PlanOptions::default() };
        let Ok((plan, _)) = world.plan_with(&second, &options) else { return Ok(()) };
        check(&plan, &world, &second, &options);

        let mut closure: BTreeSet<Address> = all.iter().filter(|address| target.covers(address)).cloned().collect();
        let mut size = 0;
        while size < closure.len() {
            size = closure.len();
            for address in closure.clone() {
                closure.extend(second.resources.get(&address).into_iter().flat_map(|r| &r.needs).map(|need| need.address.clone()));
            }
            let gone = |address: &Address| {
                let verb = plan.actions.get(address).map(|action| action.verb);
                matches!(verb, Some(Verb::Replace | Verb::Delete)) && closure.contains(address)
            };
            let along: Vec<_> = world.state.resources.iter().filter(|(_, r)| r.needs.iter().any(gone)).map(|(a, _)| a.clone()).collect();
            closure.extend(along);
        }
        let renamed: BTreeSet<_> = plan.renames.iter().map(|(_, to)| to.clone()).collect();
        for action in plan.actions.values().filter(|action| action.verb.is_work()) {
            let only_renamed = action.verb == Verb::Record && renamed.contains(&action.address);
            prop_assert!(closure.contains(&action.address) || only_renamed, "{}\n{}", target, kit::summary(&plan));
        }
        // What it touches it can carry out, unless something out of its reach has yet to make room.
        let Ok((all, _)) = world.plan_with(&second, &PlanOptions::default()) else { return Ok(()) };
        let gives = |action: &crate::plan::Action| {
            ["attachment", "port"].contains(&action.kind.as_str()) && action.verb.is_work() && !closure.contains(&action.address)
        };
        if !all.actions.values().any(gives) {
            world.carry_out(&plan, dice(seed));
        }
    }
}
