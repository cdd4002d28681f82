//! The parser's events → an [`Arena`] in which aliases are still links, with all that can be said before expanding.
//!
//! Invariants:
//! - Items are pushed in the order of the text; a link points to a finished, earlier item, so there are no cycles.
//! - [`Item::size`] and [`Item::height`] count what the item is once its aliases are expanded, and both are bounded
//!   before anything is copied.

use std::collections::HashMap;

use saphyr_parser::{Event, ScalarStyle, Tag};

use super::{EXPANSION_FACTOR, EXPANSION_FREE, EventSpan, MAX_DEPTH, MAX_NODES, Places, Yaml, scalar};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};

/// An index into [`Arena::items`].
pub type Id = usize;

/// A document as it is written. The root is the first item.
pub struct Arena {
    /// All nodes.
    pub items: Vec<Item>,
}

/// A node as it is written.
pub struct Item {
    /// What it is.
    pub shape: Shape,
    /// Where it is.
    pub span: Span,
    /// How many nodes it is, aliases expanded.
    size: usize,
    /// How many levels it is, aliases expanded: 1 for a scalar.
    height: usize,
}

/// What a node is.
pub enum Shape {
    /// A scalar: its text, and what it stands for.
    Scalar(String, Yaml),
    /// A sequence.
    List(Vec<Id>),
    /// A mapping; keys are scalars.
    Map(Vec<Pair>),
    /// `*name`: the item that it repeats.
    Alias(Id),
}

/// An entry of a mapping.
pub struct Pair {
    /// The key: a scalar, or an alias of one.
    pub key: Id,
    /// The value.
    pub value: Id,
    /// Whether this is a plain `<<`.
    pub merge: bool,
}

impl Arena {
    /// The item that an alias repeats, or the item itself.
    pub fn target(&self, id: Id) -> &Item {
        let item = &self.items[id];
        match item.shape {
            Shape::Alias(target) => &self.items[target],
            _ => item,
        }
    }
}

/// A collection whose end has not been read.
struct Open {
    id: Id,
    /// Whether it is a mapping.
    map: bool,
    children: Vec<Id>,
}

/// Builds an [`Arena`] event by event.
pub struct Builder<'a> {
    places: &'a Places<'a>,
    arena: Arena,
    open: Vec<Open>,
    /// The parser's anchor ids.
    anchors: HashMap<usize, Id>,
    /// Nodes so far, aliases expanded.
    expanded: usize,
}

type Fatal = Box<Diagnostic>;

impl<'a> Builder<'a> {
    /// An empty document.
    pub fn new(places: &'a Places<'a>) -> Self {
        Self { places, arena: Arena { items: Vec::new() }, open: Vec::new(), anchors: HashMap::new(), expanded: 0 }
    }

    /// The document, if there was any.
    pub fn finish(self) -> Option<Arena> {
        (!self.arena.items.is_empty()).then_some(self.arena)
    }

    /// The innermost `[` or `{` that is still open.
    pub fn open_bracket(&self) -> Option<Span> {
        let open = self.open.last()?;
        let span = self.arena.items[open.id].span;
        let bracket = Span { end: span.start + 1, ..span };
        matches!(self.places.slice(bracket), "[" | "{").then_some(bracket)
    }

    /// Takes the next event.
    pub fn event(&mut self, event: Event<'_>, span: EventSpan, found: &mut Diagnostics) -> Result<(), Fatal> {
        let at = self.places.span(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let at = self.scalar_span(at, &text);
                let value = self.scalar(&text, style, tag.as_deref(), at, found);
                self.push(Shape::Scalar(text.into_owned(), value), at, anchor)?;
            }
            Event::Alias(anchor) => self.alias(anchor, at)?,
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", at, found);
                self.start(false, at, anchor)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", at, found);
                self.start(true, at, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(at, found),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// An empty value stands where the parser noticed it, often lines below: show its key, or its collection.
    fn scalar_span(&self, at: Span, text: &str) -> Span {
        let Some(open) = self.open.last().filter(|_| text.is_empty() && at.start == at.end) else { return at };
        match open.children.last() {
            Some(&key) if open.map && open.children.len() % 2 == 1 => self.arena.items[key].span,
            _ => at,
        }
    }

    fn push(&mut self, shape: Shape, span: Span, anchor: usize) -> Result<Id, Fatal> {
        let id = self.arena.items.len();
        let (size, height) = match shape {
            Shape::Alias(target) => (self.arena.items[target].size, self.arena.items[target].height),
            _ => (1, 1),
        };
        self.budget(span, size, height)?;
        if anchor > 0 {
            self.anchors.insert(anchor, id);
        }
        self.arena.items.push(Item { shape, span, size, height });
        if let Some(open) = self.open.last_mut() {
            open.children.push(id);
        }
        Ok(id)
    }

    /// Refuses what would be too deep or too much once expanded.
    fn budget(&mut self, span: Span, size: usize, height: usize) -> Result<(), Fatal> {
        if self.open.len() + height > MAX_DEPTH {
            let message = format!("values are nested more than {MAX_DEPTH} levels deep");
            return Err(Box::new(
                Diagnostic::error("too-deep", span, message).help("no spec needs that; is it generated?"),
            ));
        }
        let own = self.arena.items.len() + 1;
        self.expanded = self.expanded.saturating_add(size);
        if own > MAX_NODES {
            let message = format!("the file holds more than {MAX_NODES} values");
            return Err(Box::new(
                Diagnostic::error("too-large", span, message).help("split the spec into several stacks"),
            ));
        }
        if self.expanded > MAX_NODES.min(own.saturating_mul(EXPANSION_FACTOR) + EXPANSION_FREE) {
            let message = format!("the aliases up to here stand for {} values", self.expanded);
            return Err(Box::new(
                Diagnostic::error("alias-bomb", span, message)
                    .label("this alias is one too many")
                    .help("write the values out, or use `for_each`"),
            ));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Span) -> Result<(), Fatal> {
        let Some(&target) = self.anchors.get(&anchor) else {
            return Err(Box::new(Diagnostic::error("unknown-anchor", at, "this alias names no anchor before it")));
        };
        if let Some(open) = self.open.iter().find(|open| open.id == target) {
            let name = self.places.slice(at);
            let start = self.arena.items[open.id].span;
            return Err(Box::new(
                Diagnostic::error("recursive-alias", at, format!("`{name}` stands inside of what it repeats"))
                    .also(first_line(self.places, start), "the anchor is here"),
            ));
        }
        // An alias of an alias cannot be written: an anchor is always on a value.
        self.push(Shape::Alias(target), at, 0)?;
        Ok(())
    }

    fn start(&mut self, map: bool, at: Span, anchor: usize) -> Result<(), Fatal> {
        let shape = if map { Shape::Map(Vec::new()) } else { Shape::List(Vec::new()) };
        let id = self.push(shape, at, anchor)?;
        self.open.push(Open { id, map, children: Vec::new() });
        Ok(())
    }

    fn end(&mut self, at: Span, found: &mut Diagnostics) {
        let Some(open) = self.open.pop() else { return };
        let (mut size, mut height, mut end) = (1_usize, 0, self.arena.items[open.id].span.end);
        for &child in &open.children {
            let child = &self.arena.items[child];
            size = size.saturating_add(child.size);
            height = height.max(child.height);
            end = end.max(child.span.end);
        }
        // A block collection's end is noticed at what follows it; only a bracket is an end of its own.
        if matches!(self.places.slice(at), "]" | "}") {
            end = end.max(at.end);
        }
        let shape = if open.map { Shape::Map(self.pairs(&open.children, found)) } else { Shape::List(open.children) };
        let item = &mut self.arena.items[open.id];
        item.size = size;
        item.height = height + 1;
        item.span.end = end;
        item.shape = shape;
    }

    /// Pairs keys with values, and reports keys that are no text or stand twice; the first one counts.
    fn pairs(&self, children: &[Id], found: &mut Diagnostics) -> Vec<Pair> {
        let mut first: HashMap<&str, Span> = HashMap::new();
        let mut pairs = Vec::with_capacity(children.len() / 2);
        for pair in children.chunks_exact(2) {
            let (key, value) = (pair[0], pair[1]);
            let span = self.arena.items[key].span;
            let Shape::Scalar(text, standing_for) = &self.arena.target(key).shape else {
                found.push(
                    Diagnostic::error("bad-key", first_line(self.places, span), "a key is text, not a collection")
                        .help("quote it if it is meant as text; `${…}` and `{{…}}` need quotes"),
                );
                continue;
            };
            if *standing_for == Yaml::Null {
                found.push(
                    Diagnostic::error("bad-key", span, "a key may not be empty")
                        .help("quote it if it is meant as text"),
                );
                continue;
            }
            if let Some(&earlier) = first.get(text.as_str()) {
                found.push(
                    Diagnostic::error("duplicate-key", span, format!("`{text}` stands twice in this mapping"))
                        .label("again here")
                        .also(earlier, "first here"),
                );
                continue;
            }
            first.insert(text, span);
            let merge = text == "<<" && self.places.slice(span) == "<<";
            if merge && !self.can_merge(value) {
                found.push(
                    Diagnostic::error(
                        "bad-merge",
                        self.arena.items[value].span,
                        "`<<` takes a mapping, or a list of them",
                    )
                    .help("`<<: *name` repeats the mapping that is marked `&name`; quote \"<<\" to use it as a key"),
                );
                continue;
            }
            pairs.push(Pair { key, value, merge });
        }
        pairs
    }

    fn can_merge(&self, value: Id) -> bool {
        let is_map = |id: Id| matches!(self.arena.target(id).shape, Shape::Map(_));
        match &self.arena.target(value).shape {
            Shape::Map(_) => true,
            Shape::List(items) => items.iter().all(|&item| is_map(item)),
            _ => false,
        }
    }

    /// What a scalar stands for, by its tag if it has one.
    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Span, found: &mut Diagnostics) -> Yaml {
        let as_text = || Yaml::String(text.to_owned());
        let untagged = || if style == ScalarStyle::Plain { scalar::resolve(text) } else { as_text() };
        let Some(tag) = tag else { return untagged() };
        let value = match core_name(tag) {
            Some("str") => return as_text(),
            Some("null") if scalar::resolve(text) == Yaml::Null => return Yaml::Null,
            Some("bool") => Some(scalar::resolve(text)).filter(|value| matches!(value, Yaml::Bool(_))),
            Some("int") => Some(scalar::resolve(text)).filter(|value| matches!(value, Yaml::Int(_))),
            Some("float") => match scalar::resolve(text) {
                Yaml::Int(number) => Some(Yaml::Float(number as f64)),
                value => Some(value).filter(|value| matches!(value, Yaml::Float(_))),
            },
            Some("null") => None,
            _ => {
                found.push(self.unknown_tag(at));
                return untagged();
            }
        };
        value.unwrap_or_else(|| {
            let tag = self.tag_text(at);
            found.push(Diagnostic::error("unknown-tag", at, format!("`{text}` is not what `{tag}` says it is")));
            as_text()
        })
    }

    fn collection_tag(&self, tag: Option<&Tag>, want: &str, at: Span, found: &mut Diagnostics) {
        if tag.is_some_and(|tag| core_name(tag) != Some(want)) {
            found.push(self.unknown_tag(at));
        }
    }

    fn unknown_tag(&self, at: Span) -> Diagnostic {
        let tag = self.tag_text(at);
        let end = at.start.saturating_add(u32::try_from(tag.len()).unwrap_or(0));
        Diagnostic::error("unknown-tag", Span { end, ..at }, format!("the tag `{tag}` means nothing in a spec"))
            .help("remove it; `!!str` is the tag that makes a number text")
    }

    /// A tag as it is written: the parser only keeps what it stands for.
    fn tag_text(&self, at: Span) -> &'a str {
        let mut words = self.places.slice(at).split_whitespace();
        words.find(|word| word.starts_with('!')).unwrap_or("!")
    }
}

/// `str` for `!!str`; `str` too for the lone `!`, which says "not resolved".
fn core_name(tag: &Tag) -> Option<&str> {
    if tag.is_yaml_core_schema() {
        return Some(&tag.suffix);
    }
    (tag.handle.is_empty() && tag.suffix == "!").then_some("str")
}

/// The part of a span on its first line.
fn first_line(places: &Places<'_>, span: Span) -> Span {
    let text = places.slice(span);
    let width = text.find(['\n', '\r']).unwrap_or(text.len());
    Span { end: span.start.saturating_add(u32::try_from(width).unwrap_or(0)), ..span }
}
