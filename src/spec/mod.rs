//! From YAML text to a [`Spec`]: sections, blocks and their common settings, every node with its place.
//!
//! ```text
//! files ──load──▶ texts ──yaml──▶ Node (spanned tree) ──parse──▶ Spec
//! --var, files, environment ──load──▶ given values ──variables──▶ settled values
//! ```
//!
//! `template` cuts texts at their `${…}`, `names` says what may be a name, `suggest` what was meant, and `json_schema`
//! writes the whole language down for editors.
//!
//! What a kind's fields may hold is not decided here but in `resolve`, by the kinds' tables.
//!
//! Invariants:
//! - Only `load` does IO.
//! - Every mistake becomes a diagnostic with a place; parsing goes on after each, so that one run shows them all.
//! - Whatever the bytes, the answer is a value or a diagnostic, in time and memory linear in the input.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Span;
use crate::kinds::kind::Mark;
use crate::kinds::{self, Kind};
use crate::model::{Address, SiteAlias};

pub mod json_schema;
pub mod load;
pub mod names;
pub mod parse;
pub mod template;
pub mod variables;
pub mod yaml;

/// A YAML node with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it holds.
    pub value: Yaml,
    /// Where it is.
    pub span: Span,
}

/// What a node holds, by YAML 1.2's core schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// Text. Plain text that YAML 1.1 read otherwise (`no`, `0755`) is text here; see `resolve` for what is said then.
    String(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A mapping's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it is.
    pub span: Span,
}

/// A text with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it is.
    pub span: Span,
}

/// A whole specification, from one file or several.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The stack's name.
    pub stack: Spanned<String>,
    /// The folder of the (first) spec file: relative paths in the spec start here.
    pub folder: std::path::PathBuf,
    /// Declared variables.
    pub variables: BTreeMap<String, Variable>,
    /// Declared sites. Without any, one site `default` stands for `cloud: env` or the only entry of clouds.yaml.
    pub sites: BTreeMap<SiteAlias, Site>,
    /// `defaults.site`.
    pub default_site: Option<Spanned<SiteAlias>>,
    /// `defaults.name`, to be interpolated.
    pub default_name: Option<Spanned<String>>,
    /// `defaults.ssh`, kept for the guest steps.
    pub default_ssh: Option<Node>,
    /// The blocks of all kinds' sections, in the order of the file.
    pub blocks: Vec<Block>,
    /// Outputs, to be interpolated.
    pub outputs: BTreeMap<String, Node>,
}

/// A declared variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Where it is declared.
    pub span: Span,
    /// Whether it must be given.
    pub required: bool,
    /// What it is where none is given.
    pub default: Option<Node>,
    /// What it may hold.
    pub ty: VariableType,
    /// A regular expression that the whole text must match.
    pub pattern: Option<Spanned<String>>,
    /// For people.
    pub description: String,
    /// Whether it is shown nowhere and not remembered.
    pub sensitive: bool,
}

/// What a variable may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableType {
    /// Text; the type where neither `type` nor a default says otherwise.
    String,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// A list of texts.
    List,
    /// A map of texts.
    Map,
}

/// A site: which cloud it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Where it is declared.
    pub span: Span,
    /// Which cloud.
    pub cloud: CloudRef,
    /// A region other than the cloud's own.
    pub region: Option<String>,
    /// How the insides of its servers are reached; the default where the spec does not say.
    pub guests: Option<Guests>,
}

/// How the insides of a site's servers are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guests {
    /// By SSH.
    Ssh,
    /// Not at all.
    None,
    /// They are virtual machines on this computer: the embedded cloud only.
    Qemu,
}

impl Guests {
    /// Every word for it.
    pub const ALL: [Self; 3] = [Self::Ssh, Self::None, Self::Qemu];

    /// As a spec writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::None => "none",
            Self::Qemu => "qemu",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|guests| guests.name() == name)
    }
}

/// The cloud that a site stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloudRef {
    /// An entry of clouds.yaml.
    Named(String),
    /// The `OS_*` variables.
    Env,
    /// A Chameleon site (`CHI@TACC`) with the sign-in at hand.
    Chameleon(String),
    /// The embedded cloud with that profile (`chameleon-kvm`).
    Embedded(String),
}

/// A block of a kind's section, with its common settings taken out of its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Section and name, without an instance.
    pub address: Address,
    /// The name's place.
    pub name_span: Span,
    /// `site:`, to be interpolated.
    pub site: Option<Spanned<String>>,
    /// `name:`, to be interpolated.
    pub name: Option<Spanned<String>>,
    /// `count:` or `for_each:`.
    pub repeat: Repeat,
    /// `protect:`.
    pub protect: Option<bool>,
    /// `adopt:`, to be interpolated.
    pub adopt: Option<Spanned<String>>,
    /// `was:`.
    pub was: Option<Spanned<Address>>,
    /// `ignore_changes:`.
    pub ignore_changes: Vec<Spanned<String>>,
    /// `depends_on:`.
    pub depends_on: Vec<Spanned<Address>>,
    /// The kind's own fields.
    pub fields: Vec<(Key, Node)>,
    /// The whole block.
    pub span: Span,
}

impl Block {
    /// The kind that it declares.
    #[must_use]
    pub fn kind(&self) -> Option<&'static dyn Kind> {
        kinds::declared(&self.address.section, |mark| match mark {
            Mark::Field(field) => self.fields.iter().any(|(key, _)| key.text == field),
            Mark::Word(field, word) => {
                self.fields.iter().any(|(key, node)| key.text == field && node.value == Yaml::String(word.to_owned()))
            }
        })
    }
}

/// How many instances a block has.
#[derive(Debug, Clone, PartialEq)]
pub enum Repeat {
    /// One, without an index.
    Once,
    /// `count:`, a number or `${var.n}`.
    Count(Node),
    /// `for_each:`, a map, a list of texts, or `${var.m}`.
    ForEach(Node),
}
