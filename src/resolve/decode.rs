//! Decodes a block's nodes by its kind's table: every type, every default, every unknown field.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::profile;
use super::text::{self, Scope, Text};
use super::units;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::kinds;
use crate::kinds::schema::{Field, Literal, RefType, Type, Writer};
use crate::model::{Address, Fields, Part, Reference, Secret, Target, Template, Value};
use crate::spec::template::parse_reference;
use crate::spec::{Block, Key, Node, Yaml};
use crate::suggest;

/// Reads the files that a spec names (public keys, user data); the only thing a spec asks of the machine.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    fn read(&self, path: &Path) -> Result<String, String>;
    /// A file or folder to be copied to a server: where it is, and what all of it amounts to.
    ///
    /// # Errors
    /// Why it cannot be read, or is too much, for people.
    fn tree(&self, path: &Path) -> Result<Tree, String>;
    /// The home folder, for `~`.
    fn home(&self) -> Option<PathBuf>;
}

/// A file or folder to be copied to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its absolute path.
    pub path: String,
    /// The digest of all that is in it.
    pub digest: String,
}

/// Decodes in one scope, collecting diagnostics.
pub struct Decoder<'a> {
    /// What `${…}` may name.
    pub scope: Scope<'a>,
    /// Files that fields name.
    pub files: &'a dyn Files,
    /// Whether the service never shows the field again, so that a secret may stand in it.
    pub write_only: bool,
    /// Whether anything could not be read.
    pub failed: bool,
    /// Where mistakes go.
    pub diagnostics: &'a mut Diagnostics,
}

impl Decoder<'_> {
    /// A block's or struct's fields. `what` names it in messages.
    pub fn fields(&mut self, entries: &[(Key, Node)], table: &'static [Field], what: &str, span: Span) -> Fields {
        self.read(entries, table, what, span).0
    }

    /// The same, and the fields that could not be read: wrong, missing, or written as another name, as far as that shows.
    pub fn read(
        &mut self,
        entries: &[(Key, Node)],
        table: &'static [Field],
        what: &str,
        span: Span,
    ) -> (Fields, BTreeSet<&'static str>) {
        let mut fields = Fields::new();
        let mut unread = BTreeSet::new();
        for (key, node) in entries {
            let Some(field) = table.iter().find(|field| field.name == key.text && field.writer == Writer::Spec) else {
                self.unknown_field(key, table, what);
                unread.extend(suggest::closest(&key.text, spec_names(table)));
                continue;
            };
            let failed_before = std::mem::take(&mut self.failed);
            self.write_only = field.write_only;
            let mut value = self.value(node, &field.ty);
            self.write_only = false;
            if self.failed {
                unread.insert(field.name);
            }
            self.failed |= failed_before;
            if let Some(Value::String(text)) = &mut value
                && field.sensitive
            {
                value = Some(Value::Secret(Secret::new(field.name, std::mem::take(text))));
            }
            if let Some(value) = value
                && !value.is_null()
            {
                fields.insert(field.name.to_owned(), value);
            }
        }
        for field in table {
            if field.required && !entries.iter().any(|(key, _)| key.text == field.name) {
                let error = Diagnostic::error("missing-field", span, format!("{what} needs `{}`", field.name));
                let _: Option<()> = self.fail(error.help(format!("`{}`: {}", field.name, field.doc)));
                unread.insert(field.name);
            }
        }
        (with_defaults(fields, table), unread)
    }

    fn unknown_field(&mut self, key: &Key, table: &'static [Field], what: &str) {
        let names = || spec_names(table);
        let mut error = Diagnostic::error("unknown-field", key.span, format!("{what} has no field `{}`", key.text));
        error.help = Some(
            suggest::did_you_mean(&key.text, names())
                .unwrap_or_else(|| format!("it has {}", names().collect::<Vec<_>>().join(", "))),
        );
        let _: Option<()> = self.fail(error);
    }

    /// A value of a type; `None` after a diagnostic.
    pub fn value(&mut self, node: &Node, ty: &Type) -> Option<Value> {
        if matches!(ty, Type::Verbatim) {
            return self.verbatim(node);
        }
        if let Yaml::String(raw) = &node.value
            && text::has_references(raw)
            && !matches!(ty, Type::Ref(_) | Type::WordOr(_, Type::Ref(_)))
        {
            return match text::read(raw, node.span, &self.scope) {
                Ok(Text::Known(Value::Secret(secret))) if !self.write_only => {
                    self.fail(text::misplaced_secret(secret.source(), node.span))
                }
                Ok(Text::Known(secret @ Value::Secret(_))) => Some(secret),
                Ok(Text::Known(value)) => self.typed(&to_node(&value, node.span), ty, true),
                Ok(Text::Later(template)) if !self.write_only && text::names_secret(&template, &self.scope) => {
                    self.fail(text::misplaced_secret(&template.to_string(), node.span))
                }
                Ok(Text::Later(template)) => self.later(template, ty, node.span),
                Err(error) => self.fail(error),
            };
        }
        self.typed(node, ty, false)
    }

    /// A value that is known later may stand wherever a scalar may.
    fn later(&mut self, template: Template, ty: &Type, span: Span) -> Option<Value> {
        let is_list = matches!(template.0.as_slice(), [Part::Attribute { all: true, .. }]);
        let template = Value::Template(template);
        match ty {
            Type::List(_) | Type::Set(_) => Some(template),
            _ if is_list => self.fail(text::not_one(span)),
            Type::Short(name, _) => Some(Value::Map([((*name).to_owned(), template)].into())),
            Type::Struct(_) | Type::NamedList(_) | Type::File | Type::Tree | Type::EnvVar | Type::Profile => self.fail(
                Diagnostic::error(
                    "known-too-late",
                    span,
                    "an attribute that is known only after an apply cannot stand here",
                )
                .help("write it out"),
            ),
            _ => Some(template),
        }
    }

    /// `from_text`: the value came out of `${…}`, so text may stand for a number or a boolean.
    fn typed(&mut self, node: &Node, ty: &Type, from_text: bool) -> Option<Value> {
        if matches!(node.value, Yaml::Null) {
            return Some(Value::Null);
        }
        match ty {
            Type::List(inner) => self.list(node, inner).map(Value::List),
            Type::Set(inner) => self.list(node, inner).map(sorted),
            Type::NamedList(inner) => self.named_list(node, inner),
            Type::Map(inner) => self.map(node, inner),
            Type::Struct(table) => match &node.value {
                Yaml::Map(entries) => Some(Value::Map(self.fields(entries, table, "this", node.span))),
                _ => self.wrong(node, "a mapping"),
            },
            Type::Short(name, table) => self.short(node, name, table),
            Type::WordOr(word, inner) => match &node.value {
                Yaml::String(raw) if raw == word => Some(Value::text(*word)),
                _ => self.value(node, inner),
            },
            Type::Ref(reference) => self.reference(node, reference),
            Type::Bool => self.boolean(node, from_text),
            Type::Int(low, high) => self.int(node, (*low, *high), from_text),
            Type::Text => self.text(node),
            Type::Enum(words) => self.word(node, words),
            Type::Size => match node.value {
                Yaml::Int(size) if size > 0 => Some(Value::Int(size)),
                _ => self.unit(node, |text| units::size(text).map(Value::Int)),
            },
            Type::Bytes => self.unit(node, |text| units::bytes(text).map(Value::Int)),
            Type::Duration => self.unit(node, |text| units::duration(text).map(Value::Int)),
            Type::Time => self.unit(node, |text| units::time(text).map(Value::String)),
            Type::TimeOrSpan => self.unit(node, |text| {
                let span = units::duration(text).map(Value::Int);
                let time = || units::time(text).map(Value::String);
                span.or_else(|_| time()).map_err(|time| format!("{time}, or a span such as `90d`"))
            }),
            Type::Cidr => self.unit(node, |text| units::cidr(text).map(Value::String)),
            Type::Ip => self.unit(node, |text| units::ip(text).map(Value::String)),
            Type::Ports => self.unit(node, |text| units::ports(text).map(Value::String)),
            Type::TextOrFile => self.text_or_file(node),
            Type::LocalPath => self.local_path(node),
            Type::Verbatim => self.verbatim(node),
            Type::File => self.file(node),
            Type::Tree => self.tree(node),
            Type::EnvVar => self.variable(node),
            Type::Profile => self.profile(node),
        }
    }

    fn list(&mut self, node: &Node, inner: &Type) -> Option<Vec<Value>> {
        let Yaml::List(items) = &node.value else {
            self.wrong(node, "a list")?;
            return None;
        };
        let mut values = Vec::new();
        for item in items {
            match self.many(item, inner) {
                Some(mut several) => values.append(&mut several),
                None => continue,
            }
        }
        Some(values)
    }

    /// An item of a list; `name[*]` is several.
    fn many(&mut self, node: &Node, inner: &Type) -> Option<Vec<Value>> {
        if let (Type::Ref(reference), Yaml::String(raw)) = (inner, &node.value) {
            return self.references(raw, node.span, reference);
        }
        self.value(node, inner).map(|value| vec![value])
    }

    fn named_list(&mut self, node: &Node, inner: &Type) -> Option<Value> {
        let Yaml::Map(entries) = &node.value else {
            return self.list(node, inner).map(Value::List);
        };
        let mut items = Vec::new();
        for (key, item) in entries {
            let mut value = self.value(item, inner)?;
            if let Value::Map(fields) = &mut value {
                fields.insert("name".to_owned(), Value::text(key.text.clone()));
            }
            items.push(value);
        }
        Some(Value::List(items))
    }

    fn map(&mut self, node: &Node, inner: &Type) -> Option<Value> {
        let Yaml::Map(entries) = &node.value else { return self.wrong(node, "a mapping") };
        let mut fields = Fields::new();
        for (key, item) in entries {
            if let Some(value) = self.value(item, inner) {
                fields.insert(key.text.clone(), value);
            }
        }
        Some(Value::Map(fields))
    }

    fn short(&mut self, node: &Node, name: &'static str, table: &'static [Field]) -> Option<Value> {
        if let Yaml::Map(entries) = &node.value {
            return Some(Value::Map(self.fields(entries, table, "this", node.span)));
        }
        let field = table.iter().find(|field| field.name == name)?;
        let value = self.value(node, &field.ty)?;
        Some(Value::Map(with_defaults([(name.to_owned(), value)].into(), table)))
    }

    fn boolean(&mut self, node: &Node, from_text: bool) -> Option<Value> {
        match &node.value {
            Yaml::Bool(flag) => Some(Value::Bool(*flag)),
            Yaml::String(raw) if from_text && (raw == "true" || raw == "false") => Some(Value::Bool(raw == "true")),
            Yaml::String(raw) if ["yes", "no", "on", "off"].contains(&raw.to_lowercase().as_str()) => {
                let meant = ["yes", "on"].contains(&raw.to_lowercase().as_str());
                self.fail(
                    Diagnostic::error("wrong-type", node.span, format!("expected `true` or `false`, found `{raw}`"))
                        .help(format!("YAML 1.2 has only `true` and `false`: write `{meant}`")),
                )
            }
            _ => self.wrong(node, "`true` or `false`"),
        }
    }

    fn int(&mut self, node: &Node, (low, high): (i64, i64), from_text: bool) -> Option<Value> {
        let number = match &node.value {
            Yaml::Int(number) => Some(*number),
            Yaml::String(raw) if from_text => raw.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if (low..=high).contains(&number) => Some(Value::Int(number)),
            Some(number) => {
                let range = if high == i64::MAX { format!("at least {low}") } else { format!("from {low} to {high}") };
                self.fail(Diagnostic::error(
                    "bad-value",
                    node.span,
                    format!("expected a number {range}, found {number}"),
                ))
            }
            None => self.wrong(node, "a whole number"),
        }
    }

    fn text(&mut self, node: &Node) -> Option<Value> {
        match &node.value {
            Yaml::String(raw) => Some(Value::text(unescape(raw))),
            Yaml::Int(number) => Some(Value::text(number.to_string())),
            Yaml::Bool(_) | Yaml::Float(_) => self.fail(
                Diagnostic::error("wrong-type", node.span, format!("expected text, found {}", describe(&node.value)))
                    .help("put it in quotes if it is text"),
            ),
            _ => self.wrong(node, "text"),
        }
    }

    fn word(&mut self, node: &Node, words: &'static [&'static str]) -> Option<Value> {
        match &node.value {
            Yaml::String(raw) if words.contains(&raw.as_str()) => Some(Value::text(raw.clone())),
            Yaml::String(raw) => {
                let list = words.join("`, `");
                let mut error = Diagnostic::error("bad-value", node.span, format!("expected `{list}`, found `{raw}`"));
                error.help = suggest::did_you_mean(raw, words.iter().copied());
                self.fail(error)
            }
            _ => self.wrong(node, &format!("one of `{}`", words.join("`, `"))),
        }
    }

    fn unit(&mut self, node: &Node, read: impl Fn(&str) -> Result<Value, String>) -> Option<Value> {
        let raw = match &node.value {
            Yaml::String(raw) => raw.clone(),
            Yaml::Int(number) => number.to_string(),
            _ => String::new(),
        };
        match read(&raw) {
            Ok(value) => Some(value),
            Err(expected) => self.wrong(node, &expected),
        }
    }

    fn text_or_file(&mut self, node: &Node) -> Option<Value> {
        let Yaml::String(raw) = &node.value else { return self.wrong(node, "text, or the path of a file") };
        let raw = unescape(raw);
        let trimmed = raw.trim();
        let is_path =
            !trimmed.contains(['\n', ' ']) && ["~/", "./", "../", "/"].iter().any(|start| trimmed.starts_with(start));
        if !is_path {
            return Some(Value::text(raw));
        }
        self.content(trimmed, node.span)
    }

    /// Text that is a program of somebody else: nothing in it is ours to read.
    fn verbatim(&mut self, node: &Node) -> Option<Value> {
        match &node.value {
            Yaml::Null => Some(Value::Null),
            Yaml::String(raw) => Some(Value::text(raw.clone())),
            _ => self.text(node),
        }
    }

    fn file(&mut self, node: &Node) -> Option<Value> {
        match &node.value {
            Yaml::String(raw) => self.content(unescape(raw).trim(), node.span),
            _ => self.wrong(node, "the path of a file"),
        }
    }

    fn tree(&mut self, node: &Node) -> Option<Value> {
        let Yaml::String(raw) = &node.value else { return self.wrong(node, "the path of a file or folder") };
        let path = self.path(unescape(raw).trim());
        match self.files.tree(&path) {
            Ok(Tree { path, digest }) => Some(Value::Map(Fields::from([
                ("path".to_owned(), Value::text(path)),
                ("digest".to_owned(), Value::text(digest)),
            ]))),
            Err(why) => self.unreadable(&path, &why, node.span),
        }
    }

    /// What a variable of the environment holds.
    fn variable(&mut self, node: &Node) -> Option<Value> {
        let Yaml::String(name) = &node.value else {
            return self.wrong(node, "the name of a variable of the environment");
        };
        match self.scope.env.get(name).filter(|value| !value.is_empty()) {
            Some(value) => Some(Value::Secret(Secret::new(format!("env.{name}"), value.clone()))),
            None => self.fail(
                Diagnostic::error("unset-environment", node.span, format!("the environment has no `{name}`"))
                    .help(format!("set it (`export {name}=…`): it is read by every plan and apply, and kept nowhere")),
            ),
        }
    }

    /// The keys of a profile of the AWS tools.
    fn profile(&mut self, node: &Node) -> Option<Value> {
        let Yaml::String(name) = &node.value else { return self.wrong(node, "the name of a profile") };
        let named = self.scope.env.get(profile::FILE_VARIABLE).filter(|path| !path.is_empty());
        let path = self.path(named.map_or(profile::FILE, String::as_str));
        match profile::read(self.files, &path, name, node.span) {
            Ok(keys) => Some(Value::Map(keys)),
            Err(error) => self.fail(error),
        }
    }

    /// The content of a file.
    fn content(&mut self, path: &str, span: Span) -> Option<Value> {
        let path = self.path(path);
        match self.files.read(&path) {
            Ok(text) => Some(Value::text(text)),
            Err(why) => self.unreadable(&path, &why, span),
        }
    }

    /// A path on this machine. What begins at the home folder is left so, for whoever reads it later may have another.
    fn local_path(&mut self, node: &Node) -> Option<Value> {
        let Yaml::String(raw) = &node.value else { return self.wrong(node, "the path of a file") };
        let raw = unescape(raw);
        let path = match raw.starts_with("~/") {
            true => raw,
            false => {
                let joined = self.scope.spec.folder.join(raw.trim());
                joined.components().collect::<PathBuf>().to_string_lossy().into_owned()
            }
        };
        Some(Value::text(path))
    }

    fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), self.files.home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.scope.spec.folder.join(text),
        }
    }

    fn unreadable(&mut self, path: &Path, why: &str, span: Span) -> Option<Value> {
        self.fail(
            Diagnostic::error("unreadable-file", span, format!("{} cannot be read: {why}", path.display()))
                .help("a relative path starts at the spec's folder"),
        )
    }

    fn reference(&mut self, node: &Node, ty: &RefType) -> Option<Value> {
        let Yaml::String(raw) = &node.value else {
            if let Yaml::Int(number) = &node.value {
                return self.references(&number.to_string(), node.span, ty)?.into_iter().next();
            }
            return self.wrong(node, &format!("the name of a {}", ty.kind.replace('_', " ")));
        };
        let mut found = self.references(raw, node.span, ty)?;
        if found.len() != 1 {
            return self.fail(Diagnostic::error(
                "unindexed-reference",
                node.span,
                "this field names one object, not several",
            ));
        }
        found.pop()
    }

    /// A reference field's text: a declared resource, or a name to look up.
    fn references(&mut self, raw: &str, span: Span, ty: &RefType) -> Option<Vec<Value>> {
        let what = ty.kind.replace('_', " ");
        let reference = match parse_reference(raw, span) {
            Ok(reference) => reference,
            Err(error) => return self.fail(error),
        };
        let name = match text::read_static(&reference.name, span, &self.scope) {
            Ok(Value::String(name)) => name,
            Ok(Value::Int(number)) => number.to_string(),
            Ok(_) => return self.fail(Diagnostic::error("wrong-type", span, format!("expected the name of a {what}"))),
            Err(error) => return self.fail(error),
        };
        let section = kinds::by_name(ty.kind).map(|kind| kind.schema().section).unwrap_or_default();
        // With its section before it, it is an address, and means the same.
        let short = name.strip_prefix(section).and_then(|rest| rest.strip_prefix('.'));
        let is_declared = |short: &&str| self.scope.instances.contains_key(&Address::new(section, *short));
        let name = short.filter(is_declared).map(str::to_owned).unwrap_or(name);
        let block = Address::new(section, name.clone());
        let declared = self.scope.spec.blocks.iter().find(|declared| declared.address == block);
        let kind = declared.and_then(Block::kind).map_or(ty.kind, |kind| kind.schema().kind);
        let make = |target: Target| Value::Ref(Reference { kind: kind.to_owned(), target, id: None });
        if self.scope.instances.contains_key(&block) {
            return match text::resolve_instance(&block, reference.instance.as_ref(), span, &self.scope) {
                Ok((address, false)) => Some(vec![make(Target::Resource(address))]),
                Ok((block, true)) => {
                    let all = self.scope.instances.get(&block).cloned().unwrap_or_default();
                    Some(all.into_iter().map(|address| make(Target::Resource(address))).collect())
                }
                Err(error) => self.fail(error),
            };
        }
        let declared = || {
            let blocks = self.scope.instances.keys().filter(|block| block.section == section);
            blocks.map(|block| block.name.as_str()).collect::<Vec<_>>()
        };
        let near = suggest::did_you_mean(&name, declared());
        if !ty.lookup || reference.instance.is_some() {
            let mut error =
                Diagnostic::error("unknown-reference", span, format!("the spec declares no {what} `{name}`"));
            error.help = near.or_else(|| {
                let declared = declared();
                (!declared.is_empty()).then(|| format!("it declares {}", declared.join(", ")))
            });
            return self.fail(error);
        }
        if let Some(near) = near {
            let text = format!("the spec declares no {what} `{name}`, so it is looked up in the site");
            self.diagnostics.push(Diagnostic::warning("near-miss", span, text).help(near));
        }
        Some(vec![make(Target::Lookup(name))])
    }

    fn wrong<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        self.fail(Diagnostic::error(
            "wrong-type",
            node.span,
            format!("expected {expected}, found {}", describe(&node.value)),
        ))
    }

    fn fail<T>(&mut self, error: Diagnostic) -> Option<T> {
        self.failed = true;
        self.diagnostics.push(error);
        None
    }
}

/// The fields that a spec may name.
fn spec_names(table: &'static [Field]) -> impl Iterator<Item = &'static str> {
    table.iter().filter(|field| field.writer == Writer::Spec).map(|field| field.name)
}

/// Puts in what absent fields mean.
#[must_use]
pub fn with_defaults(mut fields: Fields, table: &'static [Field]) -> Fields {
    for field in table {
        if let Some(default) = field.default {
            fields.entry(field.name.to_owned()).or_insert_with(|| literal(default));
        }
    }
    fields
}

fn literal(literal: Literal) -> Value {
    match literal {
        Literal::Bool(flag) => Value::Bool(flag),
        Literal::Int(number) => Value::Int(number),
        Literal::Str(text) => Value::text(text),
        Literal::EmptyList => Value::List(Vec::new()),
        Literal::EmptyMap => Value::Map(Fields::new()),
    }
}

/// Sorted by their JSON text, each value once: the canonical form of a set.
fn sorted(items: Vec<Value>) -> Value {
    let mut keyed: Vec<(String, Value)> =
        items.into_iter().map(|item| (crate::model::Json::from(item.clone()).to_string(), item)).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    keyed.dedup_by(|a, b| a.0 == b.0);
    Value::List(keyed.into_iter().map(|(_, item)| item).collect())
}

/// `$${` stands for `${` in text without references too.
fn unescape(raw: &str) -> String {
    raw.replace("$${", "${")
}

/// A YAML value in a word or two, for "found …".
#[must_use]
pub fn describe(value: &Yaml) -> String {
    match value {
        Yaml::Null => "nothing".to_owned(),
        Yaml::Bool(flag) => format!("`{flag}`"),
        Yaml::Int(number) => format!("the number {number}"),
        Yaml::Float(number) => format!("the number {number}"),
        Yaml::String(text) if text.chars().count() <= 40 => format!("`{text}`"),
        Yaml::String(_) => "text".to_owned(),
        Yaml::List(_) => "a list".to_owned(),
        Yaml::Map(_) => "a mapping".to_owned(),
    }
}

/// A variable's value where it was named, to be decoded by the field's type.
#[must_use]
pub fn to_node(value: &Value, span: Span) -> Node {
    let value = match value {
        Value::Null | Value::Ref(_) | Value::Template(_) | Value::Unknown(_) | Value::Secret(_) => Yaml::Null,
        Value::Bool(flag) => Yaml::Bool(*flag),
        Value::Int(number) => Yaml::Int(*number),
        Value::String(text) => Yaml::String(text.clone()),
        Value::List(items) => Yaml::List(items.iter().map(|item| to_node(item, span)).collect()),
        Value::Map(fields) => Yaml::Map(
            fields.iter().map(|(key, value)| (Key { text: key.clone(), span }, to_node(value, span))).collect(),
        ),
    };
    Node { value, span }
}
