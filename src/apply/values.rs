//! What a step does with values: bring a plan's changes up to date, name what is missing, let go of what goes.

use crate::kinds::kind::FieldChange;
use crate::model::{Fields, Target, Value};

/// The plan's changes with their values as they are bound now.
pub fn rebound(changes: &[FieldChange], fields: &Fields) -> Vec<FieldChange> {
    changes
        .iter()
        .map(|change| FieldChange {
            after: fields.get(&change.field).cloned().unwrap_or_else(|| change.after.clone()),
            ..change.clone()
        })
        .filter(|change| !change.after.same(&change.before))
        .collect()
}

/// Who was to give a value that is still unknown.
pub fn unknown_of(value: &Value) -> String {
    match value {
        Value::Unknown(address) => address.to_string(),
        Value::Secret(secret) => secret.source().to_owned(),
        Value::Ref(reference) => match &reference.target {
            Target::Resource(address) => address.to_string(),
            Target::Lookup(name) => name.clone(),
            Target::Live => String::from("the cloud"),
        },
        Value::List(items) => items.iter().find(|item| !item.is_known()).map(unknown_of).unwrap_or_default(),
        Value::Map(fields) => fields.values().find(|item| !item.is_known()).map(unknown_of).unwrap_or_default(),
        _ => String::new(),
    }
}

/// Whether it names something whose id is not known.
pub fn holds_unknown_ref(value: &Value) -> bool {
    let mut unknown = false;
    value.visit_refs(&mut |reference| unknown |= reference.id.is_none());
    unknown
}

/// What was applied, less the references whose targets `after` does not know yet.
pub fn without_lost(before: &Value, after: &Value) -> Value {
    let mut lost: Vec<&Target> = Vec::new();
    after.visit_refs(&mut |reference| {
        if reference.id.is_none() {
            lost.push(&reference.target);
        }
    });
    match before {
        Value::List(items) => Value::List(
            items
                .iter()
                .filter(|item| !matches!(item, Value::Ref(reference) if lost.contains(&&reference.target)))
                .cloned()
                .collect(),
        ),
        Value::Ref(_) => Value::Null,
        other => other.clone(),
    }
}
