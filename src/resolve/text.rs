//! Text with `${…}`: what is known before sign-in is put in; what is not stays a template.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Span};
use crate::model::{Address, InstanceKey, Part, Secret, SiteIdentity, Template, Value};
use crate::plan::bind::step_into;
use crate::spec::template::{Expr, InstanceExpr, TextPart, parse_text};
use crate::spec::variables::Settled;
use crate::spec::{Block, Spec};
use crate::suggest;

/// What `${…}` may name in one place of a spec.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The whole spec, for what it declares.
    pub spec: &'a Spec,
    /// The instances of every block.
    pub instances: &'a BTreeMap<Address, Vec<Address>>,
    /// The variables in force.
    pub variables: &'a BTreeMap<String, Settled>,
    /// The environment.
    pub env: &'a BTreeMap<String, String>,
    /// The site's identity, once signed in.
    pub identity: Option<&'a SiteIdentity>,
    /// The site, where one is known.
    pub site: Option<&'a str>,
    /// The block's key.
    pub key: Option<&'a str>,
    /// The instance.
    pub each: Option<&'a Each>,
}

/// An instance of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Each {
    /// Its key or index.
    pub key: InstanceKey,
    /// Its value; the key where `for_each` is a list.
    pub value: Value,
}

/// Text that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    /// A value: text, or the typed value of what the whole text names.
    Known(Value),
    /// Text with attributes that are known only later.
    Later(Template),
}

/// What one `${…}` stands for.
enum Found {
    Value(Value),
    Attribute(Part),
}

/// Whether a text needs reading at all.
#[must_use]
pub fn has_references(text: &str) -> bool {
    text.contains("${")
}

/// Reads a text.
///
/// # Errors
/// A reference to what is not there, or not known in this place.
pub fn read(text: &str, span: Span, scope: &Scope<'_>) -> Result<Text, Diagnostic> {
    let parts = parse_text(text, span)?;
    if let Some(secret) = sensitive(&parts, scope) {
        return read_secret(secret, &parts, span, scope);
    }
    if let [TextPart::Expr(expr)] = parts.as_slice() {
        return Ok(match find(expr, span, scope)? {
            Found::Value(value) => Text::Known(value),
            Found::Attribute(part) => Text::Later(Template(vec![part])),
        });
    }
    let mut read = Vec::new();
    for part in &parts {
        let literal = match part {
            TextPart::Literal(literal) => literal.clone(),
            TextPart::Expr(expr) => match find(expr, span, scope)? {
                Found::Attribute(Part::Attribute { all: true, .. }) => return Err(not_one(span)),
                Found::Attribute(part) => {
                    read.push(part);
                    continue;
                }
                Found::Value(value) => word(&value, span)?,
            },
        };
        match read.last_mut() {
            Some(Part::Text(text)) => text.push_str(&literal),
            _ => read.push(Part::Text(literal)),
        }
    }
    Ok(match read.as_slice() {
        [] => Text::Known(Value::text("")),
        [Part::Text(text)] => Text::Known(Value::text(text.clone())),
        _ => Text::Later(Template(read)),
    })
}

/// The sensitive variables that a text names: `var.token`.
fn sensitive(parts: &[TextPart], scope: &Scope<'_>) -> Option<String> {
    let names: Vec<String> = parts
        .iter()
        .filter_map(|part| match part {
            TextPart::Expr(Expr::Var(name)) if scope.variables.get(name).is_some_and(|settled| settled.sensitive) => {
                Some(format!("var.{name}"))
            }
            _ => None,
        })
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// A text with a secret in it is a secret as a whole.
fn read_secret(source: String, parts: &[TextPart], span: Span, scope: &Scope<'_>) -> Result<Text, Diagnostic> {
    let mut text = String::new();
    for part in parts {
        match part {
            TextPart::Literal(literal) => text.push_str(literal),
            TextPart::Expr(expr) => match find(expr, span, scope)? {
                Found::Value(value) => text.push_str(&word(&value, span)?),
                Found::Attribute(_) => {
                    return Err(Diagnostic::error(
                        "misplaced-secret",
                        span,
                        "a text cannot hold both a sensitive variable and an attribute that is known after an apply",
                    ));
                }
            },
        }
    }
    Ok(Text::Known(Value::Secret(Secret::new(source, text))))
}

/// Reads a text that must be known before anything is asked of a cloud: a name, a site, a count.
///
/// # Errors
/// As [`read`]; and where the text names what is known only after an apply.
pub fn read_static(text: &str, span: Span, scope: &Scope<'_>) -> Result<Value, Diagnostic> {
    match read(text, span, scope)? {
        Text::Known(Value::Secret(secret)) => Err(misplaced_secret(secret.source(), span)),
        Text::Known(value) => Ok(value),
        Text::Later(_) => Err(Diagnostic::error(
            "known-too-late",
            span,
            "this must be known before the plan, but names an attribute that is known only after an apply",
        )
        .help("use a variable, or write the value")),
    }
}

/// Whether a text names an attribute that is a secret.
#[must_use]
pub fn names_secret(template: &Template, scope: &Scope<'_>) -> bool {
    template.0.iter().any(|part| {
        let Part::Attribute { address, path, .. } = part else { return false };
        let declared = scope.spec.blocks.iter().find(|declared| declared.address == address.block());
        let (Some(kind), Some(name)) = (declared.and_then(Block::kind), path.first()) else { return false };
        let schema = kind.schema();
        schema.attribute(name).is_some_and(|attribute| attribute.secret)
            || schema.field(name).is_some_and(|field| field.sensitive)
    })
}

/// A sensitive value where others would see it.
#[must_use]
pub fn misplaced_secret(source: &str, span: Span) -> Diagnostic {
    Diagnostic::error("misplaced-secret", span, format!("`{source}` is sensitive and would be shown here"))
        .help("a secret may stand in a server's `user_data` and a script's `env`; other fields are shown")
}

/// A scalar as text within other text.
fn word(value: &Value, span: Span) -> Result<String, Diagnostic> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null => Ok(String::new()),
        _ => Err(not_one(span)),
    }
}

/// The mistake of a list or a map where one text is meant.
pub fn not_one(span: Span) -> Diagnostic {
    Diagnostic::error("wrong-type", span, "a list or a map cannot stand within text")
        .help("use it as the whole value, or name one of its entries")
}

fn find(expr: &Expr, span: Span, scope: &Scope<'_>) -> Result<Found, Diagnostic> {
    let value = match expr {
        Expr::Var(name) => variable(name, span, scope)?,
        Expr::Env(name) => Value::text(scope.env.get(name).cloned().ok_or_else(|| {
            Diagnostic::error("unset-environment", span, format!("the environment has no `{name}`"))
                .help(format!("set it: `export {name}=…`"))
        })?),
        Expr::Stack => Value::text(scope.spec.stack.value.clone()),
        Expr::Site => Value::text(scope.site.ok_or_else(|| misplaced(span, "site"))?),
        Expr::Key => Value::text(scope.key.ok_or_else(|| misplaced(span, "key"))?),
        // Before sign-in a spec is only checked; any text will do.
        Expr::User => Value::text(scope.identity.map_or("user", |identity| identity.user_name.as_str())),
        Expr::Project => Value::text(scope.identity.map_or("project", |identity| identity.project_name.as_str())),
        Expr::Index => match scope.each.map(|each| &each.key) {
            Some(InstanceKey::Index(index)) => Value::Int(i64::from(*index)),
            _ => return Err(misplaced(span, "index").help("`${index}` counts the instances of a block with `count`")),
        },
        Expr::EachKey => Value::text(each(scope, span)?.key.to_string()),
        Expr::EachValue(path) => step_into(&each(scope, span)?.value, path).ok_or_else(|| {
            Diagnostic::error("unknown-reference", span, format!("`each.value` has no `{}`", path.join(".")))
        })?,
        Expr::Attribute { section, name, instance, path } => {
            let block = Address::new(section.clone(), name.clone());
            return attribute(&block, instance.as_ref(), path, span, scope).map(Found::Attribute);
        }
    };
    Ok(Found::Value(value))
}

fn misplaced(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error("unknown-reference", span, format!("`${{{what}}}` has no meaning here"))
}

fn each<'a>(scope: &Scope<'a>, span: Span) -> Result<&'a Each, Diagnostic> {
    scope.each.ok_or_else(|| {
        Diagnostic::error("unknown-reference", span, "`${each.…}` has no meaning in a block without `for_each`")
    })
}

fn variable(name: &str, span: Span, scope: &Scope<'_>) -> Result<Value, Diagnostic> {
    if let Some(settled) = scope.variables.get(name) {
        return Ok(settled.value.clone());
    }
    if scope.spec.variables.contains_key(name) {
        // Its own diagnostic says that it is not given; what uses it needs none.
        return Ok(Value::text(""));
    }
    let mut error = Diagnostic::error("unknown-variable", span, format!("no variable `{name}` is declared"));
    error.help = Some(match suggest::closest(name, scope.spec.variables.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `var.{near}`?"),
        None => format!("declare it: `variables: {{ {name}: {{ required: true }} }}`"),
    });
    Err(error)
}

/// A reference to an attribute: the block, the instance and the attribute must exist.
fn attribute(
    block: &Address,
    instance: Option<&InstanceExpr>,
    path: &[String],
    span: Span,
    scope: &Scope<'_>,
) -> Result<Part, Diagnostic> {
    let (address, all) = resolve_instance(block, instance, span, scope)?;
    let declared = scope.spec.blocks.iter().find(|declared| declared.address == *block);
    let Some(kind) = declared.and_then(Block::kind) else {
        return Err(Diagnostic::error("unknown-reference", span, format!("no section `{}`", block.section)));
    };
    let schema = kind.schema();
    let name = path.first().map(String::as_str).unwrap_or_default();
    if name != "id" && schema.field(name).is_none() && schema.attribute(name).is_none() {
        let names =
            || schema.fields.iter().map(|field| field.name).chain(schema.attributes.iter().map(|attr| attr.name));
        let mut error =
            Diagnostic::error("unknown-attribute", span, format!("{} has no attribute `{name}`", schema.named()));
        let of_use: Vec<_> = std::iter::once("id").chain(schema.attributes.iter().map(|attr| attr.name)).collect();
        error.help = Some(match suggest::closest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}", of_use.join(", ")),
        });
        return Err(error);
    }
    Ok(Part::Attribute { address, path: path.to_vec(), all })
}

/// The one instance that a reference means, or all of them.
///
/// # Errors
/// When the block is not declared, or the instance is not one of its.
pub fn resolve_instance(
    block: &Address,
    instance: Option<&InstanceExpr>,
    span: Span,
    scope: &Scope<'_>,
) -> Result<(Address, bool), Diagnostic> {
    let Some(instances) = scope.instances.get(block) else {
        let mut error = Diagnostic::error("unknown-reference", span, format!("the spec declares no `{block}`"));
        let others = scope.instances.keys().filter(|other| other.section == block.section);
        error.help = suggest::closest(&block.name, others.map(|other| other.name.as_str()))
            .map(|near| format!("did you mean `{near}`?"));
        return Err(error);
    };
    let is_set = !matches!(instances.as_slice(), [only] if only.instance.is_none());
    let key = match instance {
        None if is_set => {
            return Err(Diagnostic::error("unindexed-reference", span, format!("`{block}` is a set of instances"))
                .help(format!(
                    "name one, `{}[${{index}}]` or `{}[${{each.key}}]`, or all, `{}[*]`",
                    block.name, block.name, block.name
                )));
        }
        None => return Ok((block.clone(), false)),
        Some(InstanceExpr::All) => return Ok((block.clone(), true)),
        Some(InstanceExpr::Literal(key)) => key.to_string(),
        Some(InstanceExpr::Text(parts)) => {
            let mut key = String::new();
            for part in parts {
                match part {
                    TextPart::Literal(literal) => key.push_str(literal),
                    TextPart::Expr(expr) => match find(expr, span, scope)? {
                        Found::Value(value) => key.push_str(&word(&value, span)?),
                        Found::Attribute(_) => {
                            return Err(Diagnostic::error(
                                "known-too-late",
                                span,
                                "an instance's key must be known before the plan",
                            ));
                        }
                    },
                }
            }
            key
        }
    };
    let found = instances.iter().find(|address| address.instance.as_ref().is_some_and(|own| own.to_string() == key));
    found.map(|address| (address.clone(), false)).ok_or_else(|| {
        let keys: Vec<_> =
            instances.iter().filter_map(|address| address.instance.as_ref()).map(ToString::to_string).take(8).collect();
        let help =
            if keys.is_empty() { "it has no instances".to_owned() } else { format!("it has {}", keys.join(", ")) };
        Diagnostic::error("no-such-instance", span, format!("`{block}` has no instance `{key}`")).help(help)
    })
}
