//! What each declared variable's value is: the strongest that was given, else the one remembered, else its default.
//!
//! In: declarations, given values (strongest first), values remembered in the state. Out: a value for each variable
//! that has one, and diagnostics. Pure.
//!
//! Invariants:
//! - A value given to a sensitive variable is in no diagnostic: neither in a text nor in a source line.
//! - A remembered value that no longer fits its declaration is forgotten, not an error: nobody wrote it this time.

use std::collections::BTreeMap;

use super::load::{Given, GivenBy, GivenValue};
use super::{Node, Spec, Variable, VariableType, Yaml, yaml};
use crate::diagnostic::{Diagnostic, Diagnostics, Sources, Span};
use crate::model::{Json, Value};
use crate::suggest;

/// A variable's value.
#[derive(Clone, PartialEq)]
pub struct Settled {
    /// The value: text, number, truth, list or map; texts in lists and maps.
    pub value: Value,
    /// Whether it is shown nowhere and not remembered.
    pub sensitive: bool,
    /// Whether it was given, now or to an earlier apply; a default is not remembered, so that editing it counts.
    pub given: bool,
}

/// A sensitive value is not shown.
impl std::fmt::Debug for Settled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.sensitive { f.write_str("(sensitive)") } else { self.value.fmt(f) }
    }
}

/// The values that a file gives: a mapping of names.
pub(super) fn given_in(node: Node, from: GivenBy, diagnostics: &mut Diagnostics) -> Vec<Given> {
    match node.value {
        Yaml::Map(entries) => entries
            .into_iter()
            .map(|(key, node)| Given { name: key.text, from, span: key.span, value: GivenValue::Node(node) })
            .collect(),
        Yaml::Null => Vec::new(),
        _ => {
            let found =
                Diagnostic::error("wrong-type", node.span, "a file of variables is a mapping of names to values");
            diagnostics.push(found.help("write `name: value`, one a line"));
            Vec::new()
        }
    }
}

/// Settles all variables; one that nobody gave and that is not required is [`Value::Null`]. Mistakes become diagnostics; the variables concerned are then not in the result.
#[must_use]
pub fn settle(
    spec: &Spec,
    given: &[Given],
    remembered: &BTreeMap<String, Json>,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<String, Settled> {
    undeclared(spec, given, diagnostics);
    let mut settled = BTreeMap::new();
    for (name, variable) in &spec.variables {
        let check = Check::new(name, variable, sources);
        // The default is checked even where it does not count: it is a mistake in the spec.
        let default = check.default();
        let strongest = given.iter().find(|given| given.name == *name);
        let remembered = remembered.get(name).and_then(|json| check.remembered(json));
        let is_given = strongest.is_some() || remembered.is_some();
        let value = match (strongest, remembered) {
            (Some(given), _) => {
                diagnostics.extend(default.err().map(|found| *found));
                check.given(given)
            }
            (None, Some(value)) => {
                diagnostics.extend(default.err().map(|found| *found));
                Ok(Some(value))
            }
            (None, None) => default,
        };
        match value {
            Ok(None) if variable.required => diagnostics.push(missing(name, variable)),
            Ok(value) => {
                let value = value.unwrap_or(Value::Null);
                settled.insert(name.clone(), Settled { value, sensitive: variable.sensitive, given: is_given });
            }
            Err(found) => diagnostics.push(*found),
        }
    }
    settled
}

fn missing(name: &str, variable: &Variable) -> Diagnostic {
    let message = match variable.description.as_str() {
        "" => format!("the variable `{name}` has no value"),
        description => format!("the variable `{name}` has no value: {description}"),
    };
    Diagnostic::error("missing-variable", variable.span, message)
        .help(format!("give it with `--var {name}=…`, with ANOLE_VAR_{name}, or in `anole.vars.yaml` beside the spec"))
}

/// Values for variables that are not declared: a mistake on the command line, worth a word in a file (which several
/// specs may share), and nothing in the environment (which all do).
fn undeclared(spec: &Spec, given: &[Given], diagnostics: &mut Diagnostics) {
    for given in given.iter().filter(|given| !spec.variables.contains_key(&given.name)) {
        let message = format!("the spec declares no variable `{}`", given.name);
        let names = spec.variables.keys().map(String::as_str);
        let help = suggest::did_you_mean(&given.name, names)
            .unwrap_or_else(|| format!("declare it: `variables: {{ {}: {{}} }}`", given.name));
        match given.from {
            GivenBy::Flag => diagnostics.push(Diagnostic::error("unknown-variable", given.span, message).help(help)),
            GivenBy::VarFile | GivenBy::BesideSpec => {
                diagnostics.push(Diagnostic::warning("unknown-variable", given.span, message).help(help));
            }
            GivenBy::Environment => {}
        }
    }
}

type Found = Box<Diagnostic>;

/// A variable's declaration, for checking values against.
struct Check<'a> {
    name: &'a str,
    variable: &'a Variable,
    sources: &'a Sources,
    pattern: Option<regex::Regex>,
}

impl<'a> Check<'a> {
    fn new(name: &'a str, variable: &'a Variable, sources: &'a Sources) -> Self {
        // A pattern that is none was reported where it is declared.
        let pattern = variable.pattern.as_ref().and_then(|pattern| whole(&pattern.value).ok());
        Self { name, variable, sources, pattern }
    }

    fn given(&self, given: &Given) -> Result<Option<Value>, Found> {
        let (value, span) = match &given.value {
            GivenValue::Node(node) => (self.node(node), node.span),
            GivenValue::Text(text) => (self.text(text), given.span),
        };
        let Some(value) = value else {
            return Err(Box::new(self.wrong_type(span)));
        };
        self.matches(&value, span)?;
        Ok(Some(value))
    }

    fn default(&self) -> Result<Option<Value>, Found> {
        let Some(node) = &self.variable.default else { return Ok(None) };
        let Some(value) = self.node(node) else { return Err(Box::new(self.wrong_type(node.span))) };
        self.matches(&value, node.span)?;
        Ok(Some(value))
    }

    fn remembered(&self, json: &Json) -> Option<Value> {
        let value = Value::from_plain(json);
        let fits = match self.variable.ty {
            VariableType::String => value.as_str().is_some(),
            VariableType::Int => value.as_int().is_some(),
            VariableType::Bool => value.as_bool().is_some(),
            VariableType::List => value.as_list().is_some(),
            VariableType::Map => value.as_map().is_some(),
        };
        (fits && !self.variable.sensitive && self.matches(&value, self.variable.span).is_ok()).then_some(value)
    }

    /// A value of YAML.
    fn node(&self, node: &Node) -> Option<Value> {
        match (self.variable.ty, &node.value) {
            (VariableType::String, _) => self.scalar(node).map(Value::String),
            (VariableType::Int, Yaml::Int(number)) => Some(Value::Int(*number)),
            (VariableType::Bool, Yaml::Bool(flag)) => Some(Value::Bool(*flag)),
            (VariableType::List, Yaml::List(_)) | (VariableType::Map, Yaml::Map(_)) => self.nested(node),
            _ => None,
        }
    }

    /// A value inside of a list or map: scalars are their text, so that `${each.value}` is what was written.
    fn nested(&self, node: &Node) -> Option<Value> {
        match &node.value {
            Yaml::List(items) => items.iter().map(|item| self.nested(item)).collect::<Option<_>>().map(Value::List),
            Yaml::Map(entries) => {
                let entry = |(key, value): &(super::Key, Node)| Some((key.text.clone(), self.nested(value)?));
                entries.iter().map(entry).collect::<Option<_>>().map(Value::Map)
            }
            _ => self.scalar(node).map(Value::String),
        }
    }

    /// A scalar's text as it was written.
    fn scalar(&self, node: &Node) -> Option<String> {
        match &node.value {
            Yaml::String(text) => Some(text.clone()),
            Yaml::Int(_) | Yaml::Float(_) | Yaml::Bool(_) => Some(self.sources.slice(node.span).to_owned()),
            Yaml::Null | Yaml::List(_) | Yaml::Map(_) => None,
        }
    }

    /// A value of the command line or environment.
    fn text(&self, text: &str) -> Option<Value> {
        match self.variable.ty {
            VariableType::String => Some(Value::text(text)),
            VariableType::Int => text.trim().parse().ok().map(Value::Int),
            VariableType::Bool => text.trim().parse().ok().map(Value::Bool),
            VariableType::List | VariableType::Map => {
                let mut sources = Sources::default();
                let file = sources.add(self.name.into(), text.to_owned());
                let mut found = Diagnostics::default();
                let node = yaml::parse(file, text, &mut found)?;
                let inner = Check { sources: &sources, pattern: None, ..*self };
                if found.has_errors() { None } else { inner.node(&node) }
            }
        }
    }

    fn wrong_type(&self, span: Span) -> Diagnostic {
        let (what, help) = match self.variable.ty {
            VariableType::String => ("text", "write it in quotes"),
            VariableType::Int => ("a whole number", "write digits only"),
            VariableType::Bool => ("`true` or `false`", "`yes`, `no`, `on` and `off` are text in YAML 1.2"),
            VariableType::List => ("a list of texts", "write [a, b]"),
            VariableType::Map => ("a map of texts", "write { key: value }"),
        };
        let message = format!("the variable `{}` is {what}", self.name);
        Diagnostic::error("wrong-type", self.shown(span), message).help(help)
    }

    fn matches(&self, value: &Value, span: Span) -> Result<(), Found> {
        let (Some(pattern), Some(text)) = (&self.pattern, value.as_str()) else { return Ok(()) };
        if pattern.is_match(text) {
            return Ok(());
        }
        let message = format!("the value of the variable `{}` does not match its pattern", self.name);
        let mut found = Diagnostic::error("pattern-mismatch", self.shown(span), message);
        if let Some(pattern) = &self.variable.pattern {
            found = found.also(pattern.span, "the pattern");
        }
        if !self.variable.description.is_empty() {
            found = found.help(format!("it is: {}", self.variable.description));
        }
        Err(Box::new(found))
    }

    /// The place to show: the declaration where the value is a secret that the place would show.
    fn shown(&self, span: Span) -> Span {
        if self.variable.sensitive { self.variable.span } else { span }
    }
}

/// A pattern that matches whole texts only.
///
/// # Errors
/// What is wrong with the pattern.
pub fn whole(pattern: &str) -> Result<regex::Regex, regex::Error> {
    // The pattern on its own first, so that `a)(b` is not completed by the group around it.
    regex::Regex::new(pattern)?;
    regex::Regex::new(&format!(r"\A(?:{pattern})\z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::load::Loaded;

    const SPEC: &str = "stack: s
variables:
  id: { required: true, pattern: \"[a-z]+[0-9]+\", description: your net ID }
  n: { default: 2 }
  on: { type: bool, default: false }
  nodes: { type: map, default: { a: 1, b: { ip: 10.0.0.1, n: 1.50 } } }
  list: { type: list, default: [a, 0755] }
  secret: { sensitive: true, type: int, default: 1 }
  free: { required: false }
";

    fn settled(
        files: &[&str],
        flags: &[(&str, &str)],
        remembered: &[(&str, Json)],
    ) -> (BTreeMap<String, Settled>, Vec<String>) {
        let mut diagnostics = Diagnostics::default();
        let mut sources = Sources::default();
        let file = sources.add("s.yaml".into(), SPEC.into());
        let node = yaml::parse(file, SPEC, &mut diagnostics).expect("a tree");
        let mut given = Vec::new();
        for (name, value) in flags {
            let file = sources.add("--var".into(), format!("{name}=…"));
            let span = Span { file, start: 0, end: 1 };
            let value = GivenValue::Text((*value).to_owned());
            given.push(Given { name: (*name).to_owned(), from: GivenBy::Flag, value, span });
        }
        for text in files {
            let file = sources.add("v.yaml".into(), (*text).to_owned());
            let node = yaml::parse(file, text, &mut diagnostics).expect("a tree");
            given.extend(given_in(node, GivenBy::VarFile, &mut diagnostics));
        }
        let loaded = Loaded { sources, files: vec![(file, node)], complete: true, folder: "".into(), given };
        let spec = crate::spec::parse::parse(&loaded, &[], &mut diagnostics);
        let remembered = remembered.iter().map(|(name, json)| ((*name).to_owned(), json.clone())).collect();
        let settled = settle(&spec, &loaded.given, &remembered, &loaded.sources, &mut diagnostics);
        let found = diagnostics.sorted();
        let shown = crate::diagnostic::render(&found, &loaded.sources, false, 100);
        assert!(!shown.contains("hunter2"), "{shown}");
        (settled, found.iter().map(|found| format!("{}: {}", found.code, found.message)).collect())
    }

    #[test]
    fn values_have_their_types_and_precedence() {
        let (values, found) = settled(
            &["id: file1\nn: 3"],
            &[("id", "flag1"), ("on", "true"), ("list", "[x]")],
            &[("n", 9.into()), ("nodes", serde_json::json!({ "z": "1" }))],
        );
        assert_eq!(found, [""; 0]);
        let json: BTreeMap<_, _> =
            values.iter().map(|(name, settled)| (name.as_str(), Json::from(settled.value.clone()))).collect();
        assert_eq!(
            serde_json::to_value(json).expect("json"),
            serde_json::json!({ "id": "flag1", "n": 3, "on": true, "nodes": { "z": "1" }, "list": ["x"], "secret": 1, "free": null })
        );
        let (values, _) = settled(&["id: a1"], &[], &[]);
        assert_eq!(
            Json::from(values["nodes"].value.clone()),
            serde_json::json!({ "a": "1", "b": { "ip": "10.0.0.1", "n": "1.50" } })
        );
    }

    #[test]
    fn mistakes_are_told_without_secrets() {
        let (_, found) = settled(&["n: no\nsecret: hunter2\nidd: x"], &[("id", "X"), ("lisst", "hunter2")], &[]);
        assert_eq!(
            found,
            [
                "wrong-type: the variable `secret` is a whole number",
                "pattern-mismatch: the value of the variable `id` does not match its pattern",
                "unknown-variable: the spec declares no variable `lisst`",
                "wrong-type: the variable `n` is a whole number",
                "unknown-variable: the spec declares no variable `idd`",
            ]
        );
        let (_, found) = settled(&[], &[], &[("id", 5.into())]);
        assert_eq!(found, ["missing-variable: the variable `id` has no value: your net ID"]);
    }
}
