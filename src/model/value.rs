//! Field values: from what a spec says, through what is not known yet, to what a service answered.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Address, Json, RemoteId, Secret};

/// The fields of a resource by name.
pub type Fields = BTreeMap<String, Value>;

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Json", try_from = "Json")]
pub enum Value {
    /// Nothing: the field is not managed.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; sizes are in GiB and durations in seconds.
    Int(i64),
    /// Text.
    String(String),
    /// A sequence.
    List(Vec<Value>),
    /// A mapping.
    Map(Fields),
    /// Another object, by id: declared in the spec, or found by name in the site.
    Ref(Reference),
    /// Text with references to attributes, not yet put together.
    Template(Template),
    /// Text that is shown nowhere.
    Secret(Secret),
    /// Known after apply; the address is what it waits for.
    Unknown(Address),
}

/// A typed reference from a field to another object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The kind of object, `network`.
    pub kind: String,
    /// What the reference names.
    pub target: Target,
    /// The object's id, once it is known.
    pub id: Option<RemoteId>,
}

/// What a [`Reference`] names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A resource of this spec.
    Resource(Address),
    /// An object of the site, by name or id.
    Lookup(String),
    /// An object that a service named by its id alone.
    Live,
}

/// Text with `${…}` in it, cut into its parts; only references to attributes are left in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// An attribute of a resource: `${floating_ips.node.address}`, `${leases.l.reservations.node.id}`.
    Attribute {
        /// The resource, or with `all` the block whose instances are meant (`name[*]`).
        address: Address,
        /// The attribute, then steps into it.
        path: Vec<PathSegment>,
        /// Whether this is `name[*]`: a list with one entry an instance.
        all: bool,
    },
}

/// A step into an attribute's value: a map's key, or a list's index in decimal.
pub type PathSegment = String;

impl Value {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// A live object's id, as a reference.
    pub fn live(kind: &str, id: impl Into<String>) -> Self {
        Self::Ref(Reference { kind: kind.to_owned(), target: Target::Live, id: Some(RemoteId(id.into())) })
    }

    /// Whether nothing in it is still unknown.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::Template(_) => false,
            Self::Ref(reference) => reference.id.is_some(),
            Self::Secret(secret) => secret.expose().is_some(),
            Self::List(items) => items.iter().all(Self::is_known),
            Self::Map(fields) => fields.values().all(Self::is_known),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::String(_) => true,
        }
    }

    /// Whether it is [`Value::Null`].
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether two values mean the same to a service: references are compared by id.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ref(a), Self::Ref(b)) => a.id.is_some() && a.id == b.id,
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Self::Map(a), Self::Map(b)) => {
                let left: Vec<_> = a.iter().filter(|(_, value)| !value.is_null()).collect();
                let right: Vec<_> = b.iter().filter(|(_, value)| !value.is_null()).collect();
                left.len() == right.len() && left.iter().zip(&right).all(|((ka, va), (kb, vb))| ka == kb && va.same(vb))
            }
            (Self::Unknown(_) | Self::Template(_), _) | (_, Self::Unknown(_) | Self::Template(_)) => false,
            (a, b) => a == b,
        }
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The text, secret or not, for a request body.
    #[must_use]
    pub fn expose(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Secret(secret) => secret.expose(),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(flag) = self { Some(*flag) } else { None }
    }

    /// The items, if it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The fields, if it is a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&Fields> {
        if let Self::Map(fields) = self { Some(fields) } else { None }
    }

    /// The id, if it is a reference whose id is known.
    #[must_use]
    pub fn as_id(&self) -> Option<&RemoteId> {
        if let Self::Ref(reference) = self { reference.id.as_ref() } else { None }
    }

    /// Calls `visit` on every reference, at any depth.
    pub fn visit_refs<'a>(&'a self, visit: &mut impl FnMut(&'a Reference)) {
        match self {
            Self::Ref(reference) => visit(reference),
            Self::List(items) => items.iter().for_each(|item| item.visit_refs(visit)),
            Self::Map(fields) => fields.values().for_each(|value| value.visit_refs(visit)),
            _ => {}
        }
    }

    /// Calls `visit` on every secret text that is known here, at any depth.
    pub fn visit_secrets<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        match self {
            Self::Secret(secret) => secret.expose().into_iter().for_each(visit),
            Self::List(items) => items.iter().for_each(|item| item.visit_secrets(visit)),
            Self::Map(fields) => fields.values().for_each(|value| value.visit_secrets(visit)),
            _ => {}
        }
    }

    /// Calls `visit` on every secret, at any depth, to change it.
    pub fn visit_secrets_mut(&mut self, visit: &mut impl FnMut(&mut Secret)) {
        match self {
            Self::Secret(secret) => visit(secret),
            Self::List(items) => items.iter_mut().for_each(|item| item.visit_secrets_mut(visit)),
            Self::Map(fields) => fields.values_mut().for_each(|value| value.visit_secrets_mut(visit)),
            _ => {}
        }
    }

    /// Whether there is a secret in it, at any depth.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        match self {
            Self::Secret(_) => true,
            Self::List(items) => items.iter().any(Self::holds_secret),
            Self::Map(fields) => fields.values().any(Self::holds_secret),
            _ => false,
        }
    }

    /// Plain JSON for a request body: references become their ids. `None` while anything is unknown.
    #[must_use]
    pub fn to_plain(&self) -> Option<Json> {
        Some(match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => Json::Bool(*flag),
            Self::Int(number) => Json::from(*number),
            Self::String(text) => Json::String(text.clone()),
            Self::List(items) => Json::Array(items.iter().map(Self::to_plain).collect::<Option<_>>()?),
            Self::Map(fields) => Json::Object(
                fields.iter().map(|(key, value)| Some((key.clone(), value.to_plain()?))).collect::<Option<_>>()?,
            ),
            Self::Ref(reference) => Json::String(reference.id.as_ref()?.0.clone()),
            Self::Secret(secret) => Json::String(secret.expose()?.to_owned()),
            Self::Template(_) | Self::Unknown(_) => return None,
        })
    }

    /// A value from plain JSON, as services answer it; a fraction becomes text.
    #[must_use]
    pub fn from_plain(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => number.as_i64().map_or_else(|| Self::String(number.to_string()), Self::Int),
            Json::String(text) => Self::String(text.clone()),
            Json::Array(items) => Self::List(items.iter().map(Self::from_plain).collect()),
            Json::Object(map) => {
                Self::Map(map.iter().map(|(key, value)| (key.clone(), Self::from_plain(value))).collect())
            }
        }
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

/// The key that marks a JSON object as one of anole's own values in a state or plan file.
const MARK: &str = "$anole";

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        let marked = |what: &str, body: Json| serde_json::json!({ MARK: what, "value": body });
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(flag),
            Value::Int(number) => Self::from(number),
            Value::String(text) => Self::String(text),
            Value::List(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Value::Map(fields) => {
                // A map of the user's or a service's own may have the marking key too, and must read back as itself.
                let own = fields.contains_key(MARK);
                let map = Self::Object(fields.into_iter().map(|(key, value)| (key, Self::from(value))).collect());
                if own { marked("map", map) } else { map }
            }
            Value::Ref(Reference { kind, target, id }) => {
                let (address, text) = match target {
                    Target::Resource(address) => (Some(address.to_string()), None),
                    Target::Lookup(text) => (None, Some(text)),
                    Target::Live => (None, None),
                };
                marked("ref", serde_json::json!({ "kind": kind, "resource": address, "lookup": text, "id": id }))
            }
            Value::Secret(secret) => {
                let mut body = serde_json::json!({ "source": secret.source(), "digest": secret.digest() });
                if let Some(sealed) = secret.sealed() {
                    body["sealed"] = sealed.into();
                }
                marked("secret", body)
            }
            Value::Template(template) => marked("template", Self::String(template.to_string())),
            Value::Unknown(address) => marked("unknown", Self::String(address.to_string())),
        }
    }
}

impl TryFrom<Json> for Value {
    type Error = String;

    fn try_from(json: Json) -> Result<Self, String> {
        Ok(match json {
            Json::Array(items) => Self::List(items.into_iter().map(Self::try_from).collect::<Result<_, _>>()?),
            Json::Object(map) => match map.get(MARK).and_then(Json::as_str) {
                Some(what) => marked_value(what, map.get("value").unwrap_or(&Json::Null))?,
                None => Self::Map(read_fields(map)?),
            },
            other => Self::from_plain(&other),
        })
    }
}

fn read_fields(map: serde_json::Map<String, Json>) -> Result<Fields, String> {
    map.into_iter().map(|(key, value)| Ok((key, Value::try_from(value)?))).collect()
}

fn marked_value(what: &str, body: &Json) -> Result<Value, String> {
    let text = || body.as_str().ok_or_else(|| format!("`{what}` holds no text"));
    match what {
        "unknown" => Ok(Value::Unknown(text()?.parse().map_err(|error| format!("{error}"))?)),
        "template" => Ok(Value::Template(text()?.parse()?)),
        "map" => Ok(Value::Map(read_fields(body.as_object().cloned().ok_or("`map` holds no mapping")?)?)),
        "secret" => {
            let field = |name: &str| body.get(name).and_then(Json::as_str).ok_or("a secret without its digest");
            let sealed = body.get("sealed").and_then(Json::as_str).map(str::to_owned);
            Ok(Value::Secret(Secret::remembered(field("source")?, field("digest")?.to_owned()).with_sealed(sealed)))
        }
        "ref" => {
            let field = |name: &str| body.get(name).and_then(Json::as_str).map(str::to_owned);
            let target = match (field("resource"), field("lookup")) {
                (Some(address), _) => Target::Resource(address.parse().map_err(|error| format!("{error}"))?),
                (None, Some(text)) => Target::Lookup(text),
                (None, None) => Target::Live,
            };
            let kind = field("kind").ok_or("a reference without a kind")?;
            Ok(Value::Ref(Reference { kind, target, id: field("id").map(RemoteId) }))
        }
        other => Err(format!("`{other}` is not a value this version of anole knows")),
    }
}

impl fmt::Display for Template {
    /// The text as a spec would write it, `$${` for a literal `${`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => f.write_str(&text.replace("${", "$${"))?,
                Part::Attribute { address, path, all } => {
                    let star = if *all { "[*]" } else { "" };
                    write!(f, "${{{address}{star}.{}}}", path.join("."))?;
                }
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                literal.push_str(&rest[..at - 1]);
                literal.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            let end = rest[at..].find('}').ok_or("an open ${ in a template")? + at;
            parts.push(attribute(&rest[at + 2..end])?);
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }
}

/// Reads `floating_ips.node[key].address.more`, as [`Template`]'s `Display` writes it.
fn attribute(text: &str) -> Result<Part, String> {
    let bad = || format!("`${{{text}}}` does not name an attribute");
    let name_from = text.find('.').ok_or_else(bad)? + 1;
    let name_to = match text[name_from..].find(['[', '.']).map(|at| at + name_from).ok_or_else(bad)? {
        at if text[at..].starts_with('[') => at + text[at..].find(']').ok_or_else(bad)? + 1,
        at => at,
    };
    let (address, path) = text.split_at(name_to);
    let all = address.ends_with("[*]");
    let address: Address = address.trim_end_matches("[*]").parse().map_err(|error| format!("{error}"))?;
    let path: Vec<_> = path.trim_start_matches('.').split('.').map(str::to_owned).collect();
    if path.iter().any(String::is_empty) {
        return Err(bad());
    }
    Ok(Part::Attribute { address, path, all })
}
