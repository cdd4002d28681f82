//! The nouns that every part of anole shares: addresses, remote ids, values, references and stamps.
//!
//! Plain data with no IO, no clock and no randomness. An [`Address`] names a resource in a spec and in the
//! state; a [`RemoteId`] names an object in a cloud; a [`Value`] is what a field holds, at any stage from the
//! text of a spec to what a service answered.
//!
//! Invariants:
//! - Addresses print and parse to the same text (`servers.node[node1]/port[sharednet1]`), and are what the
//!   state stores; nothing stores a graph index.
//! - A [`Value`] that [`Value::is_known`] holds no unknown at any depth; only such a value reaches a service.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod secret;
mod value;

pub use secret::{Piece, Secret};
pub use value::{Fields, Part, PathSegment, Reference, Target, Template, Value};

/// Where a resource stands: its section, its name, which instance of a set, and which part of another resource.
///
/// `servers.node`, `servers.node[0]`, `servers.node[node1]`; a resource that anole derives from a declared one
/// (a server's port, a network's subnet) is a part of it: `servers.node/port[sharednet1]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The section of the spec, `servers`.
    pub section: String,
    /// The key in that section.
    pub name: String,
    /// Which instance, where the block has `count` or `for_each`.
    pub instance: Option<InstanceKey>,
    /// Which part, where anole derives the resource from a declared one: `port[sharednet1]`.
    pub part: Option<String>,
}

/// The instance of a block with `count` (an index) or `for_each` (a key).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstanceKey {
    /// `[0]`, from `count`.
    Index(u32),
    /// `[node1]`, from `for_each`.
    Key(String),
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Key(key) => f.write_str(key),
        }
    }
}

impl Address {
    /// The address of a block without instances.
    pub fn new(section: impl Into<String>, name: impl Into<String>) -> Self {
        Self { section: section.into(), name: name.into(), instance: None, part: None }
    }

    /// The same address with an instance key.
    #[must_use]
    pub fn instance(mut self, key: InstanceKey) -> Self {
        self.instance = Some(key);
        self
    }

    /// The address of a part of this resource.
    #[must_use]
    pub fn with_part(&self, part: impl Into<String>) -> Self {
        Self { part: Some(part.into()), ..self.clone() }
    }

    /// The declared resource that this one is a part of, if it is a part.
    #[must_use]
    pub fn owner(&self) -> Option<Self> {
        self.part.is_some().then(|| Self { part: None, ..self.clone() })
    }

    /// The block this resource was declared by: the address without instance and part.
    #[must_use]
    pub fn block(&self) -> Self {
        Self::new(self.section.clone(), self.name.clone())
    }

    /// Whether `self`, as a user wrote it in `--target`, covers `other`: itself, any instance, any part.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.section == other.section
            && self.name == other.name
            && (self.instance.is_none() || self.instance == other.instance)
            && (self.part.is_none() || self.part == other.part)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section, self.name)?;
        if let Some(instance) = &self.instance {
            write!(f, "[{instance}]")?;
        }
        if let Some(part) = &self.part {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}

/// A text that is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address; write <section>.<name>, or <section>.<name>[<index or key>]")]
pub struct AddressError(pub String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError(text.to_owned());
        let (section, rest) = text.split_once('.').ok_or_else(bad)?;
        // A for_each key may hold any character but `]`, so the instance is cut out before the part.
        let (name, instance, part) = match (rest.find('['), rest.find('/')) {
            (Some(open), slash) if slash.is_none_or(|slash| open < slash) => {
                let close = open + rest[open..].find(']').ok_or_else(bad)?;
                let after = &rest[close + 1..];
                let part = match after.strip_prefix('/') {
                    Some(part) if !part.is_empty() => Some(part),
                    None if after.is_empty() => None,
                    _ => return Err(bad()),
                };
                (&rest[..open], Some(&rest[open + 1..close]), part)
            }
            (_, Some(slash)) => (&rest[..slash], None, Some(&rest[slash + 1..])),
            _ => (rest, None, None),
        };
        if section.is_empty() || name.is_empty() || instance == Some("") || part == Some("") {
            return Err(bad());
        }
        let instance = instance.map(|key| match key.parse::<u32>() {
            Ok(index) if index.to_string() == key => InstanceKey::Index(index),
            _ => InstanceKey::Key(key.to_owned()),
        });
        Ok(Self { section: section.to_owned(), name: name.to_owned(), instance, part: part.map(str::to_owned) })
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The id of an object as its service knows it: a UUID for most, a name for keypairs,
/// `<server id>/<volume id>` for attachments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RemoteId(pub String);

impl fmt::Display for RemoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for RemoteId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl From<String> for RemoteId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

/// The name a spec gives a site (`kvm`); not the name of a cloud in `clouds.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SiteAlias(pub String);

impl fmt::Display for SiteAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for SiteAlias {
    fn from(alias: &str) -> Self {
        Self(alias.to_owned())
    }
}

/// The project, user and endpoint that a site alias stood for when the state was written.
///
/// A state is bound to these: a resource recorded in one project is never looked for in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteIdentity {
    /// Keystone's base URL, without the version.
    pub auth_url: String,
    /// The region of the catalog.
    pub region: String,
    /// The project's id.
    pub project_id: String,
    /// The project's name, for people.
    pub project_name: String,
    /// The user's id.
    pub user_id: String,
    /// The user's name, for people.
    pub user_name: String,
}

/// What anole writes on an object it creates, so that the object can be told from everybody else's.
///
/// Servers and volumes carry it as metadata, Neutron objects as the last bracket of their description. The text is
/// `anole/1 <lineage> <owner> <stack> <uid> <address>`; the address comes last because it may hold spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// The state's lineage: made once with the state, 16 hexadecimal digits.
    pub lineage: String,
    /// Who made it: the first 8 hexadecimal digits of SHA-256 of the user's id.
    pub owner: String,
    /// The stack's name.
    pub stack: String,
    /// Unique for each create: 12 hexadecimal digits.
    pub uid: String,
    /// The resource's address.
    pub address: Address,
}

impl Stamp {
    /// The metadata key under which Nova and Cinder keep the stamp.
    pub const METADATA_KEY: &'static str = "anole";

    /// The stamp in a description, `text [anole/1 …]`, split from what the user wrote.
    #[must_use]
    pub fn split_description(description: &str) -> (String, Option<Self>) {
        if let Some(start) = description.rfind("[anole/1 ")
            && let Some(inner) = description[start..].strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
            && let Ok(stamp) = inner.parse()
        {
            return (description[..start].trim_end().to_owned(), Some(stamp));
        }
        (description.to_owned(), None)
    }

    /// A description that carries this stamp after the user's own text.
    #[must_use]
    pub fn description(&self, text: &str) -> String {
        if text.is_empty() { format!("[{self}]") } else { format!("{text} [{self}]") }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "anole/1 {} {} {} {} {}", self.lineage, self.owner, self.stack, self.uid, self.address)
    }
}

impl FromStr for Stamp {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError(text.to_owned());
        let mut words = text.splitn(6, ' ');
        let mut next = || words.next().filter(|word| !word.is_empty()).ok_or_else(bad);
        if next()? != "anole/1" {
            return Err(bad());
        }
        Ok(Self {
            lineage: next()?.to_owned(),
            owner: next()?.to_owned(),
            stack: next()?.to_owned(),
            uid: next()?.to_owned(),
            address: next()?.parse()?,
        })
    }
}

/// A map from field name to value, as JSON objects are: ordered by name.
pub type Json = serde_json::Value;

/// String maps (metadata, resource properties) keep their keys in order, so that output is stable.
pub type StringMap = BTreeMap<String, String>;
