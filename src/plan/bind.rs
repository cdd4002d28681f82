//! Puts known ids and attributes in the place of references; what is not known yet stays unknown.

use crate::model::{Address, Fields, Part, PathSegment, Piece, Reference, RemoteId, Secret, Target, Template, Value};

/// What is known of other resources while a value is bound.
pub trait Known {
    /// The id of a resource, if it will not change any more.
    fn id(&self, address: &Address) -> Option<RemoteId>;

    /// The id that an undeclared name stands for.
    fn lookup(&self, kind: &str, name: &str) -> Option<RemoteId>;

    /// An attribute of a resource; [`Value::Unknown`] while it is not known.
    fn attribute(&self, address: &Address, path: &[PathSegment]) -> Value;

    /// The instances of a block, in order.
    fn instances(&self, block: &Address) -> Vec<Address>;
}

/// Binds every field.
pub fn bind_fields(fields: &Fields, known: &dyn Known) -> Fields {
    fields.iter().map(|(name, value)| (name.clone(), bind(value, known))).collect()
}

/// Binds a value.
pub fn bind(value: &Value, known: &dyn Known) -> Value {
    match value {
        Value::Ref(reference) => Value::Ref(bind_reference(reference, known)),
        Value::Template(template) => bind_template(template, known),
        Value::List(items) => Value::List(items.iter().map(|item| bind(item, known)).collect()),
        Value::Map(fields) => Value::Map(bind_fields(fields, known)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::String(_) | Value::Unknown(_) | Value::Secret(_) => {
            value.clone()
        }
    }
}

fn bind_reference(reference: &Reference, known: &dyn Known) -> Reference {
    let id = match &reference.target {
        Target::Resource(address) => known.id(address),
        Target::Lookup(name) => known.lookup(&reference.kind, name).or_else(|| reference.id.clone()),
        Target::Live => reference.id.clone(),
    };
    Reference { id, ..reference.clone() }
}

fn bind_template(template: &Template, known: &dyn Known) -> Value {
    if let [Part::Attribute { address, path, all }] = template.0.as_slice() {
        return attribute(address, path, *all, known);
    }
    let mut words = Vec::new();
    for part in &template.0 {
        let word = match part {
            Part::Text(literal) => literal.clone(),
            Part::Attribute { address, path, all } => match attribute(address, path, *all, known) {
                Value::String(word) => word,
                Value::Int(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::Unknown(address) => return Value::Unknown(address),
                Value::Ref(Reference { id: Some(id), .. }) => id.0,
                Value::Secret(secret) => {
                    words.push(Word::Hidden(secret));
                    continue;
                }
                _ => return Value::Unknown(address.clone()),
            },
        };
        words.push(Word::Open(word));
    }
    together(&words)
}

/// A part of a template, bound.
enum Word {
    Open(String),
    Hidden(Secret),
}

/// The whole text: a secret, where there is one in it.
fn together(words: &[Word]) -> Value {
    let pieces: Vec<Piece<'_>> = words
        .iter()
        .map(|word| match word {
            Word::Open(text) => Piece::Open(text),
            Word::Hidden(secret) => Piece::Hidden(secret),
        })
        .collect();
    let open: Option<String> =
        pieces.iter().map(|piece| if let Piece::Open(text) = piece { Some(*text) } else { None }).collect();
    open.map_or_else(|| Value::Secret(Secret::composed(&pieces)), Value::String)
}

fn attribute(address: &Address, path: &[PathSegment], all: bool, known: &dyn Known) -> Value {
    let lent = |address: &Address| {
        let mut value = known.attribute(address, path);
        value.visit_secrets_mut(&mut |secret| *secret = secret.lent());
        value
    };
    if !all {
        return lent(address);
    }
    let items: Vec<_> = known.instances(address).iter().map(lent).collect();
    match items.iter().find_map(|item| if let Value::Unknown(address) = item { Some(address) } else { None }) {
        Some(address) => Value::Unknown(address.clone()),
        None => Value::List(items),
    }
}

/// Follows a path into a value: a map's key, a list's index. A live reference counts as its id.
#[must_use]
pub fn step_into(value: &Value, path: &[PathSegment]) -> Option<Value> {
    let Some((first, rest)) = path.split_first() else {
        return Some(match value {
            Value::Ref(Reference { id: Some(id), .. }) => Value::String(id.0.clone()),
            other => other.clone(),
        });
    };
    match value {
        Value::Map(fields) => step_into(fields.get(first)?, rest),
        Value::List(items) => step_into(items.get(first.parse::<usize>().ok()?)?, rest),
        _ => None,
    }
}
