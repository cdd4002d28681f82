//! Decides, for each wanted resource, what is to be done and why.
//!
//! Resources are decided in the order of their needs, so that a reference to what is replaced is unknown by the time
//! it is compared. A replacement also reaches back to the parts that go with their owner (a server's ports), so the
//! pass is repeated until no new mark appears; marks only grow, so it ends.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::adopt::{adopted_gone, claim_matches, kind_changed, refuse_made_otherwise, shown};
use super::bind::bind_fields;
use super::known::{PlanKnown, keeps_object};
use super::lookup::{Lookups, Pins, list_ids, pin};
use super::{Action, Note, PlanError, PlanOptions, Reason, Report, Verb, order, target};
use crate::kinds::guest::{SERVER, is_recorded_only};
use crate::kinds::kind::{Claim, Effect, FieldChange, Readiness, Seen, Sides};
use crate::kinds::schema::RefChange;
use crate::kinds::{self, Kind};
use crate::model::{Address, Fields, Reference, SiteAlias, Target, Value};
use crate::observe::Observed;
use crate::resolve::{Desired, Resource, needs_of};
use crate::state::{Origin, ResourceState, State, Status};

/// The pass's inputs, and what is decided so far.
pub(super) struct Planner<'a> {
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    pub state: &'a State,
    pub options: &'a PlanOptions,
    pub actions: BTreeMap<Address, Action>,
    order: Vec<Address>,
    scope: Option<BTreeSet<Address>>,
    /// Parts that go with an owner that is replaced.
    marks: BTreeMap<Address, Reason>,
    notes: Vec<Note>,
    pub errors: Vec<PlanError>,
}

/// A resource with its record, as one decision sees it.
pub(super) struct Case<'a> {
    pub resource: &'a Resource,
    pub kind: &'static dyn Kind,
    record: Option<&'a ResourceState>,
    pub fields: Fields,
    protect: bool,
    /// Whether it is inside a server that nobody logs in to.
    recorded_only: bool,
}

impl<'a> Planner<'a> {
    pub fn new(
        desired: &'a Desired,
        observed: &'a Observed,
        state: &'a State,
        options: &'a PlanOptions,
    ) -> Result<Self, Vec<PlanError>> {
        Ok(Self {
            desired,
            observed,
            state,
            options,
            actions: BTreeMap::new(),
            order: order::by_needs(desired)?,
            scope: target::scope(desired, state, options)?,
            marks: BTreeMap::new(),
            notes: Vec::new(),
            errors: Vec::new(),
        })
    }

    /// Decides all wanted resources, until no new mark appears and no more is in scope.
    pub fn settle(&mut self) {
        if self.options.destroy {
            return;
        }
        loop {
            self.actions.clear();
            self.notes.clear();
            self.errors.clear();
            for address in self.order.clone() {
                self.decide_one(&address);
            }
            let marks = self.new_marks();
            let wider = self.scope.as_ref().map_or_else(BTreeSet::new, |scope| target::taken_along(self, scope));
            if marks.is_empty() && wider.is_empty() {
                return;
            }
            self.marks.extend(marks);
            if let Some(scope) = &mut self.scope {
                scope.extend(wider);
            }
        }
    }

    /// What is inside a server whose root disk is erased in place: it is undone before, and done again after.
    fn inside_rebuilt(&self, action: &Action) -> Option<(Address, Reason)> {
        kinds::by_name(&action.kind)?.guest()?;
        let Some(Value::Ref(Reference { target: Target::Resource(server), .. })) = action.wanted.get(SERVER) else {
            return None;
        };
        let rebuilt =
            self.actions.get(server).filter(|action| action.verb == Verb::Update && action.data_loss.is_some())?;
        let reason = Reason::TargetRebuilt { target: server.clone(), kind: rebuilt.kind.clone() };
        Some((action.address.clone(), reason))
    }

    /// Parts that go with an owner that is replaced and are not yet replaced themselves.
    fn new_marks(&self) -> Vec<(Address, Reason)> {
        let goes_along = |address: &Address, owner: &Address| {
            self.desired
                .resources
                .get(owner)
                .is_some_and(|owner| owner.needs.iter().any(|need| need.address == *address))
        };
        let stays = |action: &&Action| matches!(action.verb, Verb::Keep | Verb::Update | Verb::Record | Verb::Await);
        let left_standing = self.actions.values().filter(stays).filter_map(|action| self.left_standing(action));
        self.actions
            .values()
            .filter(stays)
            .filter_map(|action| {
                let owner = action.address.owner()?;
                let owner_action = self.actions.get(&owner)?;
                (owner_action.verb == Verb::Replace && goes_along(&action.address, &owner)).then(|| {
                    let reason = Reason::OwnerReplaced { owner, kind: owner_action.kind.clone() };
                    (action.address.clone(), reason)
                })
            })
            .chain(left_standing)
            .chain(self.actions.values().filter(stays).filter_map(|action| self.inside_rebuilt(action)))
            .filter(|(address, _)| !self.marks.contains_key(address))
            .collect()
    }

    fn decide_one(&mut self, address: &Address) {
        let Some(resource) = self.desired.resources.get(address) else { return };
        let Some(kind) = kinds::by_name(resource.kind) else { return };
        let record = self.state.resources.get(address);
        if !self.in_scope(address) {
            if let Some(record) = record {
                let lookups = self.lookups(resource, Some(record), Pins::Kept).unwrap_or_default();
                let live = self.live(record);
                let action = self.case(resource, kind, &lookups).action(Verb::Keep, Vec::new(), live.as_ref());
                self.actions.insert(address.clone(), action);
            }
            return;
        }
        let decided = self.decide(resource, kind, Pins::Kept).and_then(|action| {
            // A replacement is made of what is there today; what it was made of last time may be gone.
            let again = action.verb == Verb::Replace && self.has_stale_pins(resource, record);
            if again { self.decide(resource, kind, Pins::Dropped) } else { Ok(action) }
        });
        let action = decided.unwrap_or_else(|errors| {
            self.errors.extend(errors);
            // What depends on it is not to be blamed for it too.
            let verb = if record.is_some() { Verb::Keep } else { Verb::Create };
            self.case(resource, kind, &Lookups::new()).action(verb, Vec::new(), None)
        });
        self.actions.insert(address.clone(), action);
    }

    fn case<'c>(&'c self, resource: &'c Resource, kind: &'static dyn Kind, lookups: &'c Lookups) -> Case<'c> {
        Case {
            resource,
            kind,
            record: self.state.resources.get(&resource.address),
            fields: bind_fields(&resource.fields, &PlanKnown { planner: self, lookups }),
            protect: resource.protect.unwrap_or(kind.schema().protect),
            recorded_only: kind.guest().is_some() && !self.is_reached(&resource.site),
        }
    }

    fn decide(&self, resource: &Resource, kind: &'static dyn Kind, pins: Pins) -> Result<Action, Vec<PlanError>> {
        let record = self.state.resources.get(&resource.address);
        let lookups = self.lookups(resource, record, pins)?;
        let case = self.case(resource, kind, &lookups);
        let decided = match record {
            None => self.decide_new(&case, Reason::New),
            Some(record) if !kind.takes_over(&record.kind) => self.decide_other_kind(&case, record),
            Some(record) => match self.live(record) {
                None => self.decide_gone(&case, record),
                Some(live) => self.decide_existing(&case, record, &live),
            },
        };
        decided.and_then(|action| guard(&case, action)).map_err(|error| vec![error])
    }

    /// No record, or none that holds: make it, or take what the block means.
    fn decide_new(&self, case: &Case<'_>, why: Reason) -> Result<Action, PlanError> {
        let address = &case.resource.address;
        let claim = case.resource.adopt.as_ref().map_or_else(
            || case.kind.claim(&case.fields),
            |adopt| Some(Claim { field: "name", value: Value::text(adopt.clone()), or_create: false }),
        );
        let Some(claim) = claim else {
            return Ok(Action { origin: Origin::Created, ..case.action(Verb::Create, vec![why], None) });
        };
        let found: Vec<_> = self
            .observed
            .objects(&case.resource.site, case.resource.kind)
            .filter(|seen| claim_matches(&claim, seen))
            .collect();
        let kind = case.resource.kind.replace('_', " ");
        match found.as_slice() {
            [] if !claim.or_create && self.hidden(address).is_some() => Err(self.adopted_hidden(address)),
            [] if !claim.or_create => Err(PlanError::new(
                "nothing-to-adopt",
                address,
                format!("site `{}` has no {kind} with {} `{}`", case.resource.site, claim.field, shown(&claim.value)),
            )
            .help("it must exist already; leave it out to have anole make one")),
            [] => Ok(Action { origin: Origin::Adopted, ..case.action(Verb::Create, vec![why], None) }),
            [seen] => {
                self.refuse_foreign(case, &claim, seen)?;
                let mut action = case.action(Verb::Adopt, vec![Reason::Adopted], Some(seen));
                action.origin = Origin::Adopted;
                action.id = Some(seen.id.clone());
                action.changes = self.changes(case, &Fields::new(), &seen.attrs)?;
                refuse_made_otherwise(&action)?;
                Ok(action)
            }
            several => Err(PlanError::new(
                "ambiguous-adopt",
                address,
                format!("several {kind}s have {} `{}`: {}", claim.field, shown(&claim.value), list_ids(several)),
            )
            .help("name the one that is meant by its id")),
        }
    }

    /// A record of an object of another kind: that one goes, as its own kind has it, and the block's is made. Where the block
    /// means one that is there, or the record's is not ours to delete, whoever wrote it says first what becomes of that.
    fn decide_other_kind(&self, case: &Case<'_>, record: &ResourceState) -> Result<Action, PlanError> {
        let claims = case.resource.adopt.is_some() || case.kind.claim(&case.fields).is_some();
        if claims || record.origin == Origin::Adopted {
            return Err(kind_changed(case, record));
        }
        let live = self.live(record);
        let was = kinds::by_name(&record.kind);
        let mut action =
            case.action(Verb::Replace, vec![Reason::KindChanged { from: record.kind.clone() }], live.as_ref());
        // Nothing that it shows is the new one's.
        action.live = Fields::new();
        action.applied = Fields::new();
        action.origin = Origin::Created;
        action.data_loss = live.and_then(|live| was?.data_loss(&live));
        Ok(action)
    }

    /// A record whose object is gone.
    fn decide_gone(&self, case: &Case<'_>, record: &ResourceState) -> Result<Action, PlanError> {
        if case.resource.adopt.is_some() && record.origin == Origin::Adopted {
            return Err(adopted_gone(case, record));
        }
        let why = self.ended_lease(record).or_else(|| self.gone_along(record)).unwrap_or(Reason::Missing);
        self.decide_new(case, why)
    }

    /// What an object cannot be without, and is made anew itself: it took the object along.
    fn gone_along(&self, record: &ResourceState) -> Option<Reason> {
        let schema = kinds::by_name(&record.kind)?.schema();
        let mut holders =
            needs_of(schema, &record.applied).into_iter().filter(|need| need.change == RefChange::Replace);
        holders.find_map(|need| {
            let action = self.actions.get(&need.address).filter(|action| !keeps_object(action))?;
            Some(Reason::TargetCreated { target: need.address, kind: action.kind.clone() })
        })
    }

    /// The ended lease that explains why a record's object is gone: it names that lease, or something that the lease
    /// took along.
    pub fn ended_lease(&self, record: &ResourceState) -> Option<Reason> {
        self.ended_lease_named(record).or_else(|| {
            let named = targets(record).filter_map(|target| self.state.resources.get(&target));
            named.filter(|named| self.live(named).is_none()).find_map(|named| self.ended_lease_named(named))
        })
    }

    fn ended_lease_named(&self, record: &ResourceState) -> Option<Reason> {
        targets(record).find_map(|lease| {
            let is_lease = self.state.resources.get(&lease).is_some_and(|named| named.kind == "lease");
            let at = if is_lease { self.lease_end(&lease)? } else { return None };
            Some(Reason::LeaseEnded { lease, at })
        })
    }

    fn lease_end(&self, address: &Address) -> Option<String> {
        let record = self.state.resources.get(address)?;
        let end = |attrs: &Fields| {
            let end: Timestamp = attrs.get("end").and_then(Value::as_str)?.parse().ok()?;
            Some(end.strftime("%Y-%m-%dT%H:%MZ").to_string())
        };
        let seen = self.live(record);
        let over = match &seen {
            None => true,
            Some(seen) => matches!(kinds::by_name(&record.kind)?.readiness(seen), Readiness::Ended(_)),
        };
        let known = seen.and_then(|seen| end(&seen.attrs)).or_else(|| end(&record.attributes));
        over.then(|| known.unwrap_or_else(|| "already".to_owned()))
    }

    fn decide_existing(&self, case: &Case<'_>, record: &ResourceState, live: &Seen) -> Result<Action, PlanError> {
        let address = &case.resource.address;
        let readiness = case.kind.readiness(live);
        if let Readiness::Ended(how) = readiness {
            if case.resource.adopt.is_some() && record.origin == Origin::Adopted {
                return Err(adopted_gone(case, record));
            }
            return self.decide_new(case, Reason::Ended { how });
        }
        self.refuse_other(case, record)?;
        if record.site != case.resource.site {
            return Ok(case.action(Verb::Replace, vec![Reason::SiteChanged { from: record.site.clone() }], Some(live)));
        }
        let mut changes = self.changes(case, &record.applied, &live.attrs)?;
        let mut reasons: Vec<Reason> = Vec::new();
        // What the cloud says counts: an object that failed once and was mended outside is not made anew.
        if let Readiness::Failed(why) = &readiness {
            reasons.push(Reason::Failed { why: why.clone() });
        }
        if self.options.replace.iter().any(|wanted| wanted.covers(address)) {
            reasons.push(Reason::Marked);
        }
        reasons.extend(self.marks.get(address).cloned());
        reasons.extend(self.renewal(case, record, live));
        let forced = !reasons.is_empty();
        reasons.extend(changes.iter().map(|change| match self.reason(change, &record.applied, case.kind) {
            // Nobody changed what the apply never got to set.
            Reason::Drifted { .. } | Reason::Differs { .. } if record.status == Status::Accepted => Reason::Interrupted,
            reason => reason,
        }));
        let joined = self.joined(case, &live.attrs, &changes);
        if let Some((change, reason)) = joined.or_else(|| self.bound_again(case, &live.attrs, &changes)) {
            changes.push(change);
            reasons.push(reason);
        }
        reasons.sort();
        reasons.dedup();
        without_own_parts(&mut reasons, address);
        if forced || changes.iter().any(|change| change.effect == Effect::Replace) {
            let mut action = case.action(Verb::Replace, reasons, Some(live));
            action.changes = changes;
            return Ok(action);
        }
        // What the block adopts by now is not deleted any more, though it was made here.
        let adopts = case.resource.adopt.is_some() && record.origin != Origin::Adopted;
        let only_recorded = changes.iter().all(|change| change.effect == Effect::Record);
        let verb = if !changes.is_empty() && !only_recorded {
            Verb::Update
        } else if let Readiness::Scheduled(at) = readiness {
            reasons.push(Reason::Scheduled { at: at.strftime("%Y-%m-%dT%H:%MZ").to_string() });
            Verb::Await
        } else if matches!(readiness, Readiness::Pending(_)) || record.status == Status::Accepted {
            reasons.push(Reason::Interrupted);
            Verb::Await
        } else if let Status::Failed(why) = &record.status {
            // What failed inside a server is done again; what failed in the cloud and was mended there is looked at.
            match case.kind.cloud() {
                None => reasons.push(Reason::Failed { why: why.clone() }),
                Some(_) => reasons.push(Reason::Refreshed),
            }
            Verb::Await
        } else if !changes.is_empty() {
            Verb::Record
        } else if record.protect != case.protect && case.resource.address.part.is_none() {
            reasons.push(Reason::Protection);
            Verb::Record
        } else if adopts {
            reasons.push(Reason::Adopted);
            Verb::Record
        } else {
            Verb::Keep
        };
        let mut action = case.action(verb, reasons, Some(live));
        if adopts {
            action.origin = Origin::Adopted;
        }
        action.data_loss = case.kind.update_loss(live, &changes);
        action.changes = changes;
        Ok(action)
    }

    /// The differences that count.
    fn changes(&self, case: &Case<'_>, applied: &Fields, live: &Fields) -> Result<Vec<FieldChange>, PlanError> {
        let sides = Sides { want: &case.fields, applied, live, now: self.observed.at };
        let mut changes = case.kind.diff(&sides).map_err(|refused| {
            PlanError::new("refused-change", &case.resource.address, refused.message).field(refused.field)
        })?;
        changes.retain(|change| !case.resource.ignore_changes.contains(&change.field));
        Ok(changes)
    }

    /// Why a field differs: its target is replaced or made anew, the spec changed, or somebody changed it outside.
    fn reason(&self, change: &FieldChange, applied: &Fields, kind: &dyn Kind) -> Reason {
        let mut unknown = Vec::new();
        change.after.visit_refs(&mut |reference| {
            if let Target::Resource(address) = &reference.target
                && reference.id.is_none()
            {
                unknown.push((address.clone(), reference.kind.clone()));
            }
        });
        // A part that only goes along with what is decided here explains nothing.
        let cause = unknown.iter().position(|(address, _)| !self.marks.contains_key(address)).unwrap_or(0);
        let mut target = (!unknown.is_empty()).then(|| unknown.swap_remove(cause));
        if let (None, Some(address)) = (&target, unknown_in(&change.after)) {
            let kind = self.actions.get(address).map_or_else(String::new, |action| action.kind.clone());
            target = Some((address.clone(), kind));
        }
        if let Some((target, kind)) = target {
            // A part is named by its owner: people know the server, not its port.
            let target_verb = self.actions.get(&target).map(|action| action.verb);
            return match target_verb {
                Some(Verb::Replace) => Reason::TargetReplaced { target, kind },
                _ => Reason::TargetCreated { target, kind },
            };
        }
        let field = change.field.clone();
        match applied.get(&field) {
            Some(applied) if applied.same(&change.after) => match kind.schema().field(&field).and_then(|it| it.differs)
            {
                Some(why) => Reason::Differs { field, why: why.to_owned() },
                None => Reason::Drifted { field },
            },
            _ => Reason::Changed { field },
        }
    }

    /// Whether what this kind does inside servers of the site is really done.
    fn is_reached(&self, site: &SiteAlias) -> bool {
        self.observed.sites.get(site).is_some_and(|view| view.guests.reached)
    }

    pub fn in_scope(&self, address: &Address) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.contains(address))
    }

    pub fn instances(&self, block: &Address) -> Vec<Address> {
        let of_block = |address: &&Address| address.part.is_none() && address.block() == block.block();
        self.desired.resources.keys().filter(of_block).cloned().collect()
    }

    pub fn note(&mut self, address: &Address, warning: bool, text: impl Into<String>) {
        self.notes.push(Note { warning, address: Some(address.clone()), text: text.into() });
    }

    /// Records with a new address are written even where nothing else changes.
    pub fn note_renames(&mut self, renames: &[(Address, Address)]) {
        for (from, to) in renames {
            if let Some(action) = self.actions.get_mut(to) {
                action.reasons.push(Reason::Renamed { from: from.clone() });
                if action.verb == Verb::Keep {
                    action.verb = Verb::Record;
                }
            }
        }
    }

    pub fn finish(mut self) -> Result<(BTreeMap<Address, Action>, Report), Vec<PlanError>> {
        if !self.errors.is_empty() {
            self.errors.sort_by(|a, b| a.address.cmp(&b.address));
            return Err(self.errors);
        }
        let more = super::check::notes(&self);
        self.notes.extend(more);
        Ok((self.actions, Report { notes: self.notes }))
    }
}

impl Case<'_> {
    /// What is done inside the server, in words: what the last one did is undone first.
    fn in_guest(&self, verb: Verb) -> Vec<String> {
        let Some(kind) = self.kind.guest() else { return Vec::new() };
        let really_done = self.record.filter(|record| !is_recorded_only(&record.attributes));
        let undoing = || {
            let done = really_done.filter(|record| self.kind.takes_over(&record.kind));
            done.map(|record| kind.undoing(&record.applied)).unwrap_or_default()
        };
        match verb {
            Verb::Create | Verb::Await => kind.steps(&self.fields),
            Verb::Replace => [undoing(), kind.steps(&self.fields)].concat(),
            _ => Vec::new(),
        }
    }

    fn action(&self, verb: Verb, reasons: Vec<Reason>, live: Option<&Seen>) -> Action {
        let goes = verb == Verb::Replace;
        Action {
            address: self.resource.address.clone(),
            kind: self.resource.kind.to_owned(),
            site: self.resource.site.clone(),
            verb,
            reasons,
            changes: Vec::new(),
            fields: self.fields.clone(),
            wanted: pin(&self.resource.fields, &self.fields),
            id: self.record.map(|record| record.id.clone()),
            live: live.map(|seen| seen.attrs.clone()).unwrap_or_default(),
            applied: self.record.map(|record| record.applied.clone()).unwrap_or_default(),
            origin: self.record.map_or(Origin::Created, |record| record.origin),
            protect: self.protect,
            needs: self.resource.needs.iter().map(|need| need.address.clone()).collect(),
            data_loss: live.filter(|_| goes).and_then(|seen| self.kind.data_loss(seen)),
            in_guest: self.in_guest(verb),
            recorded_only: self.recorded_only,
        }
    }
}

/// That a resource's own part is replaced says nothing where there is another reason: the part goes along with it.
fn without_own_parts(reasons: &mut Vec<Reason>, owner: &Address) {
    let of_part = |reason: &Reason| matches!(reason, Reason::TargetReplaced { target, .. } if target.owner().as_ref() == Some(owner));
    if reasons.iter().any(|reason| !of_part(reason)) {
        reasons.retain(|reason| !of_part(reason));
    }
}

/// What is adopted or protected is never replaced.
fn guard(case: &Case<'_>, action: Action) -> Result<Action, PlanError> {
    if action.verb != Verb::Replace {
        return Ok(action);
    }
    let because = action.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let address = &case.resource.address;
    if action.origin == Origin::Adopted {
        return Err(PlanError::new(
            "adopted-replace",
            address,
            format!("{address} is adopted and is never replaced: {because}"),
        )
        .help("undo the change, or list the field in `ignore_changes`"));
    }
    // The block's value wins over the record's, in both directions.
    if case.protect {
        return Err(PlanError::new(
            "protected-replace",
            address,
            format!("{address} is protected and would be replaced: {because}"),
        )
        .help("its data would be lost. Undo the change; or set `protect: false` if that is what you want"));
    }
    Ok(action)
}

/// What a value that is not known yet waits for, at any depth.
fn unknown_in(value: &Value) -> Option<&Address> {
    match value {
        Value::Unknown(address) => Some(address),
        Value::List(items) => items.iter().find_map(unknown_in),
        Value::Map(fields) => fields.values().find_map(unknown_in),
        _ => None,
    }
}

/// The resources that a record's fields name.
fn targets(record: &ResourceState) -> impl Iterator<Item = Address> {
    let mut targets = Vec::new();
    for value in record.applied.values() {
        value.visit_refs(&mut |reference| {
            if let Target::Resource(target) = &reference.target {
                targets.push(target.clone());
            }
        });
    }
    targets.into_iter()
}
