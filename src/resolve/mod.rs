//! From a [`Spec`](crate::spec::Spec) to what is wanted: instances, names, defaults, references, types.
//!
//! ```text
//! Spec + variables + environment ──instances──▶ blocks × keys ──decode (kinds' tables)──▶ Fields ──check, derive──▶ Desired
//! ```
//!
//! Invariants:
//! - Pure; the environment and the identities are inputs.
//! - All mistakes of all blocks are reported in one run, each once, at its place.
//! - In a [`Desired`] every reference names an existing resource or a lookup, and the references have no cycle.

use std::collections::BTreeMap;

use crate::diagnostic::Span;
use crate::kinds::schema::{RefChange, Until};
use crate::model::{Address, Fields, Json, SiteAlias, Value};
use crate::spec::Site;

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The stack's name.
    pub stack: String,
    /// The sites that are used.
    pub sites: BTreeMap<SiteAlias, Site>,
    /// The variables in force; sensitive ones are not among them.
    pub variables: BTreeMap<String, Json>,
    /// The resources, parts included.
    pub resources: BTreeMap<Address, Resource>,
    /// `was:`: from, to.
    pub renames: Vec<(Address, Address)>,
    /// The outputs; references in them are templates.
    pub outputs: BTreeMap<String, Value>,
}

/// A resource that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its address.
    pub address: Address,
    /// Its kind.
    pub kind: &'static str,
    /// Its site.
    pub site: SiteAlias,
    /// Its fields: canonical, with references and templates not yet bound.
    pub fields: Fields,
    /// `protect:`, if the block says.
    pub protect: Option<bool>,
    /// `adopt:`.
    pub adopt: Option<String>,
    /// Fields whose differences are ignored.
    pub ignore_changes: Vec<String>,
    /// What it needs: references, `depends_on`, and parts of what it needs.
    pub needs: Vec<Need>,
    /// The block.
    pub span: Span,
}

/// That a resource needs another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The other.
    pub address: Address,
    /// What its replacement means here.
    pub change: RefChange,
    /// How far it must be first.
    pub until: Until,
}
