//! An [`Arena`] → the [`Node`] tree: aliases become copies, merge keys become the keys they bring.
//!
//! The arena was checked on the way in: nesting and size are bounded, so plain recursion is safe here. What an alias
//! brought keeps the places of the anchor, where a mistake in it is mended.

use std::collections::HashSet;

use super::tree::{Arena, Id, Pair, Shape};
use super::{Key, Node, Yaml};

/// The tree of the arena's root.
pub fn expand(arena: &Arena) -> Node {
    node(arena, 0)
}

fn node(arena: &Arena, id: Id) -> Node {
    let item = arena.target(id);
    let value = match &item.shape {
        Shape::Scalar(_, value) => value.clone(),
        Shape::List(items) => Yaml::List(items.iter().map(|&item| node(arena, item)).collect()),
        Shape::Map(pairs) => Yaml::Map(map(arena, pairs)),
        Shape::Alias(_) => Yaml::Null,
    };
    Node { value, span: item.span }
}

fn map(arena: &Arena, pairs: &[Pair]) -> Vec<(Key, Node)> {
    if pairs.iter().all(|pair| !pair.merge) {
        return pairs.iter().map(|pair| (key(arena, pair.key), node(arena, pair.value))).collect();
    }
    // Explicit keys win over merged ones wherever they stand, and of those the first.
    let mut taken: HashSet<String> =
        pairs.iter().filter(|pair| !pair.merge).map(|pair| key(arena, pair.key).text).collect();
    let mut entries = Vec::with_capacity(pairs.len());
    for pair in pairs {
        if !pair.merge {
            entries.push((key(arena, pair.key), node(arena, pair.value)));
            continue;
        }
        for (key, value) in sources(node(arena, pair.value)) {
            if taken.insert(key.text.clone()) {
                entries.push((key, value));
            }
        }
    }
    entries
}

/// The entries that a merge key's value brings.
fn sources(value: Node) -> Vec<(Key, Node)> {
    match value.value {
        Yaml::Map(entries) => entries,
        Yaml::List(items) => items.into_iter().flat_map(sources).collect(),
        _ => Vec::new(),
    }
}

/// A key's text as it is written: `1`, `true` and `0x1F` are keys like any other.
fn key(arena: &Arena, id: Id) -> Key {
    let text = match &arena.target(id).shape {
        Shape::Scalar(text, _) => text.clone(),
        _ => String::new(),
    };
    Key { text, span: arena.items[id].span }
}
