//! Which instances each block has: one, `count` of them, or one for each key.

use std::collections::{BTreeMap, BTreeSet};

use super::Inputs;
use super::decode::{describe, to_node};
use super::text::{self, Each, Scope};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::model::{Address, InstanceKey, Value};
use crate::spec::{Node, Repeat, Spec, Yaml, names};

/// The instances of every block: addresses in order, and what makes each one.
#[derive(Debug, Default)]
pub struct Instances {
    /// By block.
    pub addresses: BTreeMap<Address, Vec<Address>>,
    /// By instance.
    pub each: BTreeMap<Address, Each>,
}

/// More instances than this of one block are a mistake.
const MOST: i64 = 10_000;

/// Expands every block.
pub fn expand(spec: &Spec, inputs: &Inputs<'_>, diagnostics: &mut Diagnostics) -> Instances {
    let mut instances = Instances::default();
    for block in &spec.blocks {
        let none = BTreeMap::new();
        let scope = Scope {
            spec,
            instances: &none,
            variables: inputs.variables,
            env: inputs.env,
            identity: None,
            site: None,
            key: Some(&block.address.name),
            each: None,
        };
        let each = match &block.repeat {
            Repeat::Once => {
                instances.addresses.insert(block.address.clone(), vec![block.address.clone()]);
                continue;
            }
            Repeat::Count(node) => count(node, &scope),
            Repeat::ForEach(node) => for_each(node, &scope),
        };
        let each = each.unwrap_or_else(|error| {
            diagnostics.push(error);
            Vec::new()
        });
        let mut addresses = Vec::new();
        for each in each {
            let address = block.address.clone().instance(each.key.clone());
            instances.each.insert(address.clone(), each);
            addresses.push(address);
        }
        instances.addresses.insert(block.address.clone(), addresses);
    }
    instances
}

fn count(node: &Node, scope: &Scope<'_>) -> Result<Vec<Each>, Diagnostic> {
    let node = known(node, scope)?;
    let count = match &node.value {
        Yaml::Int(count) => Some(*count),
        Yaml::String(raw) => raw.trim().parse().ok(),
        _ => None,
    };
    match count {
        Some(count @ 0..=MOST) => Ok((0..u32::try_from(count).unwrap_or(0))
            .map(|index| Each { key: InstanceKey::Index(index), value: Value::Int(i64::from(index)) })
            .collect()),
        _ => Err(Diagnostic::error(
            "bad-value",
            node.span,
            format!("`count` takes a number from 0 to {MOST}, found {}", describe(&node.value)),
        )),
    }
}

fn for_each(node: &Node, scope: &Scope<'_>) -> Result<Vec<Each>, Diagnostic> {
    let node = known(node, scope)?;
    match &node.value {
        Yaml::Map(entries) => entries
            .iter()
            .map(|(key, value)| Ok(Each { key: instance_key(&key.text, key.span)?, value: plain(value, scope)? }))
            .collect(),
        Yaml::List(items) => {
            let mut seen = BTreeSet::new();
            let mut all = Vec::new();
            for item in items {
                let Value::String(text) = plain(item, scope)? else {
                    return Err(Diagnostic::error("wrong-type", item.span, "a list for `for_each` holds texts")
                        .help("use a map where each instance needs a value of its own"));
                };
                if !seen.insert(text.clone()) {
                    return Err(Diagnostic::error("duplicate-key", item.span, format!("`{text}` is there twice")));
                }
                all.push(Each { key: instance_key(&text, item.span)?, value: Value::text(text) });
            }
            Ok(all)
        }
        other => Err(Diagnostic::error(
            "wrong-type",
            node.span,
            format!("`for_each` takes a map or a list of texts, found {}", describe(other)),
        )),
    }
}

fn instance_key(text: &str, span: Span) -> Result<InstanceKey, Diagnostic> {
    match names::why_no_key(text) {
        Some(why) => Err(Diagnostic::error("bad-name", span, format!("`{text}` cannot be an instance's key: {why}"))),
        None => Ok(names::instance_key(text)),
    }
}

/// The node, or what the variable it names holds.
fn known(node: &Node, scope: &Scope<'_>) -> Result<Node, Diagnostic> {
    match &node.value {
        Yaml::String(raw) if text::has_references(raw) => {
            Ok(to_node(&text::read_static(raw, node.span, scope)?, node.span))
        }
        _ => Ok(node.clone()),
    }
}

/// A node as a value, with its texts read.
pub fn plain(node: &Node, scope: &Scope<'_>) -> Result<Value, Diagnostic> {
    Ok(match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => Value::Bool(*flag),
        Yaml::Int(number) => Value::Int(*number),
        Yaml::Float(number) => Value::text(number.to_string()),
        Yaml::String(raw) => text::read_static(raw, node.span, scope)?,
        Yaml::List(items) => Value::List(items.iter().map(|item| plain(item, scope)).collect::<Result<_, _>>()?),
        Yaml::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| Ok((key.text.clone(), plain(value, scope)?)))
                .collect::<Result<_, _>>()?,
        ),
    })
}
