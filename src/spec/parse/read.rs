//! Nodes read as what is expected of them, with a diagnostic where they are something else.

use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::spec::yaml::scalar;
use crate::spec::{Key, Node, Spanned, Yaml};
use crate::suggest;

/// Reads nodes; what is wrong goes to the diagnostics.
pub struct Reader<'a> {
    /// What was found so far.
    pub diagnostics: &'a mut Diagnostics,
}

/// What a node is, for "found …".
pub fn describe(node: &Node) -> &'static str {
    match &node.value {
        Yaml::Null => "nothing",
        Yaml::Bool(_) => "a truth value",
        Yaml::Int(_) => "a whole number",
        Yaml::Float(_) => "a number",
        Yaml::String(_) => "text",
        Yaml::List(_) => "a list",
        Yaml::Map(_) => "a mapping",
    }
}

/// Where a collection starts: underlining all of it says nothing.
pub fn first_line(node: &Node) -> Span {
    match &node.value {
        Yaml::Map(entries) => entries.first().map_or(node.span, |(key, _)| key.span),
        Yaml::List(items) => items.first().map_or(node.span, first_line),
        _ => node.span,
    }
}

impl Reader<'_> {
    /// Adds a diagnostic.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Says that `what` is `expected`, and that the node is not.
    pub fn wrong_type(&mut self, what: &str, expected: &str, node: &Node, help: &str) {
        let message = format!("{what} is {expected}, found {}", describe(node));
        let found = Diagnostic::error("wrong-type", first_line(node), message);
        self.push(if help.is_empty() { found } else { found.help(help) });
    }

    /// Says that a key means nothing in `what`.
    pub fn unknown_field(&mut self, what: &str, key: &Key, known: &[&str]) {
        let help = suggest::did_you_mean(&key.text, known.iter().copied())
            .unwrap_or_else(|| format!("its fields are {}", known.join(", ")));
        let message = format!("{what} has no field `{}`", key.text);
        self.push(Diagnostic::error("unknown-field", key.span, message).help(help));
    }

    /// Text that is not empty.
    pub fn text(&mut self, what: &str, node: &Node) -> Option<Spanned<String>> {
        match &node.value {
            Yaml::String(text) if text.is_empty() => {
                self.push(Diagnostic::error("bad-value", node.span, format!("{what} may not be empty")));
                None
            }
            Yaml::String(text) => Some(Spanned { value: text.clone(), span: node.span }),
            Yaml::Int(_) | Yaml::Float(_) | Yaml::Bool(_) => {
                self.wrong_type(what, "text", node, "put it in quotes");
                None
            }
            _ => {
                self.wrong_type(what, "text", node, "");
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, what: &str, node: &Node) -> Option<bool> {
        let help = match &node.value {
            Yaml::Bool(flag) => return Some(*flag),
            Yaml::String(text) if text.contains("${") => "a reference may not decide this; write the value".to_owned(),
            Yaml::String(text) => match scalar::old_boolean(text) {
                Some(flag) => format!("`{text}` is text in YAML 1.2; write `{flag}`"),
                None => String::new(),
            },
            _ => String::new(),
        };
        self.wrong_type(what, "`true` or `false`", node, &help);
        None
    }

    /// A mapping; nothing counts as an empty one.
    pub fn map<'n>(&mut self, what: &str, node: &'n Node) -> Option<&'n [(Key, Node)]> {
        match &node.value {
            Yaml::Map(entries) => Some(entries),
            Yaml::Null => Some(&[]),
            _ => {
                self.wrong_type(what, "a mapping", node, "");
                None
            }
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, what: &str, node: &Node, help: &str) -> Vec<Spanned<String>> {
        let Yaml::List(items) = &node.value else {
            self.wrong_type(what, "a list", node, help);
            return Vec::new();
        };
        let each = format!("an entry of {what}");
        items.iter().filter_map(|item| self.text(&each, item)).collect()
    }
}
