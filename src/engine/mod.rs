//! What the commands do, put together from the parts: load a spec, sign in, look, plan, carry out.
//!
//! ```text
//! Settings ─▶ load ─▶ sign in ─▶ observe ─▶ close open intents ─▶ plan ─▶ (lock) carry out ─▶ state
//! ```
//!
//! In: [`Settings`], plain data. Out: plain data, [`Error`]s, and [`Event`](crate::apply::Event)s while something is
//! carried out. Prints nothing.
//!
//! Invariants:
//! - Nothing touches the network before the spec is valid.
//! - Nothing writes a state without its lock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cloud::Environment;
use crate::diagnostic::{Diagnostics, Sources};
use crate::embedded::Guests;
use crate::guest;
use crate::kinds;
use crate::model::{Json, SiteAlias, SiteIdentity};
use crate::resolve::{self, Desired, Files, Inputs, Tree};
use crate::spec::load::{self, VariableInputs};
use crate::spec::{Spec, parse, variables};
use crate::state::{self, State, StateStore};
use crate::tree;

mod error;
mod extend;
mod import;
mod inside;
mod look;
mod planning;
mod recover;
mod run;
mod saved;
mod sites;
mod vault;
mod ways;

pub use error::Error;
pub use extend::extend_lease;
pub use import::import;
pub use planning::{Planned, plan};
pub use recover::{Recovery, recover};
pub use run::{Ready, RunOptions, lock_and_plan, lock_saved};
pub use saved::{read_plan, write_plan};
pub use sites::{embedded_folder, open_embedded};
pub use vault::{Rotated, rotate_key, show_output};
pub use ways::{Way, Ways, ways};

/// What every command is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where relative paths start.
    pub base: PathBuf,
    /// The spec's files and folders; the default ones where empty.
    pub specs: Vec<PathBuf>,
    /// `--state`.
    pub state: Option<String>,
    /// `--site`: clouds that stand in for the spec's own.
    pub sites: BTreeMap<SiteAlias, String>,
    /// Where variables' values come from.
    pub variables: VariableInputs,
    /// Whether every site is the embedded cloud.
    pub embedded: bool,
    /// Connections to servers.
    pub servers: guest::Guests,
    /// Whether the servers of embedded sites are virtual machines, whatever the spec says.
    pub guests: Option<Guests>,
    /// The process's environment.
    pub environment: Environment,
}

/// A spec, read and resolved as far as that goes without a cloud.
pub struct Loaded {
    /// The spec.
    pub spec: Spec,
    /// What it wants.
    pub desired: Desired,
    /// Warnings.
    pub diagnostics: Diagnostics,
    /// The texts.
    pub sources: Sources,
    /// Where the state is.
    pub store: Box<dyn StateStore>,
    /// The state as it was when the spec was loaded.
    pub state: Option<state::Loaded>,
    variables: BTreeMap<String, variables::Settled>,
}

/// Reads the spec and the state; reports every mistake in one go.
///
/// # Errors
/// [`Error::Spec`] with all diagnostics; a file or state that cannot be read.
pub fn load(settings: &Settings) -> Result<Loaded, Error> {
    let mut diagnostics = Diagnostics::default();
    let read = load::load(&settings.specs, &settings.base, &settings.variables, &mut diagnostics)?;
    let mut spec = parse::parse(&read, &kinds::sections(), &mut diagnostics);
    sites::complete(&mut spec, settings);
    if spec.stack.value.is_empty() {
        return Err(Error::Spec { diagnostics, sources: read.sources });
    }
    let store = open_store(settings, &read.folder, &spec.stack.value)?;
    let state = store.load()?;
    let remembered = state.as_ref().map(|loaded| loaded.state.variables.clone()).unwrap_or_default();
    let variables = variables::settle(&spec, &read.given, &remembered, &read.sources, &mut diagnostics);
    let desired = resolve_with(&spec, &variables, settings, &BTreeMap::new(), &mut diagnostics);
    if diagnostics.has_errors() {
        return Err(Error::Spec { diagnostics, sources: read.sources });
    }
    Ok(Loaded { spec, desired, diagnostics, sources: read.sources, store, state, variables })
}

impl Loaded {
    /// What is wanted, now that it is known who is signed in.
    fn resolve_again(&self, settings: &Settings, identities: &BTreeMap<SiteAlias, SiteIdentity>) -> Desired {
        let mut diagnostics = Diagnostics::default();
        resolve_with(&self.spec, &self.variables, settings, identities, &mut diagnostics)
    }

    /// The variables that the last apply used.
    #[must_use]
    pub fn previous_variables(&self) -> BTreeMap<String, Json> {
        self.state.as_ref().map(|loaded| loaded.state.variables.clone()).unwrap_or_default()
    }
}

fn resolve_with(
    spec: &Spec,
    variables: &BTreeMap<String, variables::Settled>,
    settings: &Settings,
    identities: &BTreeMap<SiteAlias, SiteIdentity>,
    diagnostics: &mut Diagnostics,
) -> Desired {
    let files = DiskFiles { home: settings.environment.home.clone() };
    let inputs = Inputs { variables, env: &settings.environment.vars, files: &files, identities };
    resolve::resolve(spec, &inputs, diagnostics)
}

/// Where the state of a spec is kept, without reading more of the spec than its stack's name.
///
/// # Errors
/// As [`load`], but mistakes elsewhere in the spec do not count.
pub fn store(settings: &Settings) -> Result<(Box<dyn StateStore>, String), Error> {
    let mut diagnostics = Diagnostics::default();
    let read = load::load(&settings.specs, &settings.base, &settings.variables, &mut diagnostics)?;
    let spec = parse::parse(&read, &kinds::sections(), &mut diagnostics);
    if spec.stack.value.is_empty() {
        return Err(Error::Spec { diagnostics, sources: read.sources });
    }
    Ok((open_store(settings, &read.folder, &spec.stack.value)?, spec.stack.value))
}

/// Where a spec's `state` folder is: beside the spec, or beside the folder `specs` that it is in.
#[must_use]
pub fn state_folder(spec_folder: &Path) -> PathBuf {
    let folder = if spec_folder.as_os_str().is_empty() { Path::new(".") } else { spec_folder };
    match folder.file_name() {
        Some(name) if name == "specs" => {
            let project = folder.parent().unwrap_or(folder);
            if project == Path::new(".") { PathBuf::from("state") } else { project.join("state") }
        }
        _ => folder.join("state"),
    }
}

fn open_store(settings: &Settings, spec_folder: &Path, stack: &str) -> Result<Box<dyn StateStore>, Error> {
    let location = settings.state.clone().unwrap_or_else(|| {
        let folder = state_folder(spec_folder);
        let folder = if settings.embedded { folder.join("embedded") } else { folder };
        folder.join(format!("{stack}.json")).to_string_lossy().into_owned()
    });
    Ok(state::store::open(&location, stack)?)
}

/// The empty state of a stack that has none yet.
fn fresh_state(stack: &str, ids: &dyn crate::stamp::Ids) -> state::Loaded {
    state::Loaded::new(State::new(stack, ids.hex(8)))
}

/// Files from the disk.
struct DiskFiles {
    home: Option<PathBuf>,
}

/// A text file named by a spec is small; more than this is a mistake.
const MOST_BYTES: u64 = 1 << 20;

impl Files for DiskFiles {
    fn read(&self, path: &Path) -> Result<String, String> {
        let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
        if size > MOST_BYTES {
            return Err(format!("it has {size} bytes, more than the {MOST_BYTES} that a text of a spec may have"));
        }
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn tree(&self, path: &Path) -> Result<Tree, String> {
        let (path, digest) = tree::digest_of(path)?;
        Ok(Tree { path, digest })
    }

    fn home(&self) -> Option<PathBuf> {
        self.home.clone()
    }
}
