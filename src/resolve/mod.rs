//! From a [`Spec`] to what is wanted: instances, names, defaults, references, types.
//!
//! ```text
//! Spec + variables + environment ──instances──▶ blocks × keys ──decode (kinds' tables)──▶ Fields ──check, derive──▶ Desired
//! ```
//!
//! Invariants:
//! - Pure; the environment, the files a spec names and the identities are inputs.
//! - All mistakes of all blocks are reported in one run, each once, at its place.
//! - In a [`Desired`] every reference names an existing resource or a lookup, and the references have no cycle.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostics, Span};
use crate::kinds::schema::{RefChange, Until};
use crate::model::{Address, Fields, Json, SiteAlias, SiteIdentity, Value};
use crate::spec::variables::Settled;
use crate::spec::{Site, Spec};

mod blocks;
pub mod decode;
mod instances;
mod needs;
mod profile;
#[cfg(test)]
mod tests;
pub mod text;
pub mod units;

pub use decode::{Files, Tree};
pub use needs::of_fields as needs_of;

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
    /// The fields' places.
    pub field_spans: BTreeMap<String, Span>,
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

/// What a resolution takes besides the spec.
pub struct Inputs<'a> {
    /// The variables in force, sensitive ones included.
    pub variables: &'a BTreeMap<String, Settled>,
    /// The environment, for `${env.X}`.
    pub env: &'a BTreeMap<String, String>,
    /// Files that fields name.
    pub files: &'a dyn Files,
    /// Who is signed in where; empty before sign-in, when a spec is only checked.
    pub identities: &'a BTreeMap<SiteAlias, SiteIdentity>,
}

/// Resolves a spec. After errors in `diagnostics` the answer is of no use.
#[must_use]
pub fn resolve(spec: &Spec, inputs: &Inputs<'_>, diagnostics: &mut Diagnostics) -> Desired {
    let instances = instances::expand(spec, inputs, diagnostics);
    let mut builder = blocks::Builder::new(spec, inputs, &instances, diagnostics);
    let (resources, renames) = builder.resources();
    let outputs = builder.outputs();
    let mut desired = Desired {
        stack: spec.stack.value.clone(),
        sites: used_sites(spec, &resources),
        variables: remembered(inputs.variables),
        resources,
        renames,
        outputs,
    };
    needs::complete(&mut desired, diagnostics);
    desired
}

/// The sites that resources stand on; all declared ones where none does.
fn used_sites(spec: &Spec, resources: &BTreeMap<Address, Resource>) -> BTreeMap<SiteAlias, Site> {
    let used = |alias: &&SiteAlias| resources.is_empty() || resources.values().any(|resource| resource.site == **alias);
    spec.sites.keys().filter(used).filter_map(|alias| Some((alias.clone(), spec.sites.get(alias)?.clone()))).collect()
}

/// The variables that a state remembers: those that were given, but for the sensitive ones.
fn remembered(variables: &BTreeMap<String, Settled>) -> BTreeMap<String, Json> {
    let open = variables.iter().filter(|(_, settled)| settled.given && !settled.sensitive);
    open.map(|(name, settled)| (name.clone(), Json::from(settled.value.clone()))).collect()
}
