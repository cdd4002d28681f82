//! What adopting an object needs: that it is meant, nobody else's, and as the block says or can become so.

use super::decide::{Case, Planner};
use super::lookup::list_ids;
use super::{Action, PlanError};
use crate::kinds::kind::{Claim, Effect, Seen};
use crate::model::{Address, Value};
use crate::state::ResourceState;

impl Planner<'_> {
    /// An object stamped by another stack is that stack's, unless both share it.
    pub fn refuse_foreign(&self, case: &Case<'_>, claim: &Claim, seen: &Seen) -> Result<(), PlanError> {
        match &seen.stamp {
            Some(stamp) if !claim.or_create && stamp.lineage != self.state.lineage => Err(PlanError::new(
                "adopt-foreign",
                &case.resource.address,
                format!(
                    "{} {} is managed by stack `{}` as {}",
                    case.resource.kind, seen.id, stamp.stack, stamp.address
                ),
            )
            .help("destroy or `state rm` it there first")),
            _ => Ok(()),
        }
    }

    /// Whether there is an object to adopt cannot be told.
    pub fn adopted_hidden(&self, address: &Address) -> PlanError {
        let why = self.hidden(address).unwrap_or_default();
        PlanError::new("nothing-to-adopt", address, format!("whether it is there cannot be told: {why}"))
            .help("it must exist already; where its keys are made by this spec, apply those first with `--target`")
    }

    /// A block that adopts an object and has another one already: neither is to be lost sight of.
    pub fn refuse_other(&self, case: &Case<'_>, record: &ResourceState) -> Result<(), PlanError> {
        let Some(adopt) = &case.resource.adopt else { return Ok(()) };
        let objects = self.observed.objects(&case.resource.site, case.resource.kind);
        let meant: Vec<_> = objects.filter(|seen| seen.name == *adopt || seen.id.0 == *adopt).collect();
        if meant.is_empty() || meant.iter().any(|seen| seen.id == record.id) {
            return Ok(());
        }
        let (address, kind) = (&case.resource.address, case.resource.kind.replace('_', " "));
        let text = format!("{address} is {kind} {} by now, and `adopt: {adopt}` means {}", record.id, list_ids(&meant));
        Err(PlanError::new("adopt-other", address, text).help(format!(
            "`anole state rm {address}` lets go of the one it has; or write its id: `adopt: {}`",
            record.id
        )))
    }
}

/// An object that would have to be made anew to be what the block says is not adopted.
pub(super) fn refuse_made_otherwise(action: &Action) -> Result<(), PlanError> {
    let fixed: Vec<_> = action.changes.iter().filter(|change| change.effect == Effect::Replace).collect();
    let [first, ..] = fixed.as_slice() else { return Ok(()) };
    let fields = fixed.iter().map(|change| format!("`{}`", change.field)).collect::<Vec<_>>().join(", ");
    let id = action.id.as_ref().map(ToString::to_string).unwrap_or_default();
    let text =
        format!("{} {id} cannot be adopted as the block has it: {fields} cannot change", action.kind.replace('_', " "));
    Err(PlanError::new("adopted-replace", &action.address, text)
        .field(first.field.clone())
        .help("write what it has, or list the field in `ignore_changes`"))
}

/// An adopted object that is gone is not made anew.
pub(super) fn adopted_gone(case: &Case<'_>, record: &ResourceState) -> PlanError {
    let text = format!("the adopted {} {} is gone", case.resource.kind.replace('_', " "), record.id);
    PlanError::new("adopted-gone", &case.resource.address, text)
        .help("remove the block, or remove `adopt:` to have anole make a new one")
}

/// A block that is of another kind than its record, where that one cannot just be deleted and the other made.
pub(super) fn kind_changed(case: &Case<'_>, record: &ResourceState) -> PlanError {
    let (address, was, is) =
        (&case.resource.address, record.kind.replace('_', " "), case.resource.kind.replace('_', " "));
    let text = format!("{address} is {was} {} by now, and its block is of another kind of thing, {is}", record.id);
    PlanError::new("kind-changed", address, text).help(format!(
        "declare the {is} under another key; or let go of the {was} first, with `anole state rm {address}`, or by removing \
         the block and applying"
    ))
}

/// Whether an object is the claimed one.
pub(super) fn claim_matches(claim: &Claim, seen: &Seen) -> bool {
    if claim.field == "name" {
        let wanted = claim.value.as_str().unwrap_or_default();
        return seen.name == wanted || seen.id.0 == wanted;
    }
    seen.attrs.get(claim.field).is_some_and(|value| value.same(&claim.value))
}

/// A claim's value in words.
pub(super) fn shown(value: &Value) -> String {
    value.to_plain().map_or_else(String::new, |json| json.as_str().map_or_else(|| json.to_string(), str::to_owned))
}
