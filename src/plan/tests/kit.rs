//! From YAML to a [`Desired`], as the engine does it, with a fixed file, a fixed user and no disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostics, Sources, render};
use crate::kinds;
use crate::model::{SiteAlias, SiteIdentity};
use crate::plan::{Plan, PlanError, Report, order};
use crate::resolve::{Desired, Files, Inputs, Tree, resolve};
use crate::spec::load::Loaded;
use crate::spec::{parse, variables, yaml};

/// Two sites, and the one that blocks are on unless they say otherwise.
pub(crate) const HEAD: &str = "
stack: t
sites: { kvm: { cloud: kvm_tacc }, chi: { cloud: chi_tacc } }
defaults: { site: kvm }
";

/// A public key to name in specs.
pub(crate) const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE";

struct NoFiles;

impl Files for NoFiles {
    /// One script; no other file.
    fn read(&self, path: &Path) -> Result<String, String> {
        match path.to_str() {
            Some("jupyter.sh") => Ok("docker start jupyter\n".to_owned()),
            _ => Err(format!("no file {}", path.display())),
        }
    }

    /// A folder's digest is its name here.
    fn tree(&self, path: &Path) -> Result<Tree, String> {
        let name = path.display().to_string();
        Ok(Tree { path: format!("/home/me/{name}"), digest: name })
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

/// Who is signed in at a site.
pub(crate) fn identity(site: &str) -> SiteIdentity {
    SiteIdentity {
        auth_url: format!("https://{site}.example:5000"),
        region: site.to_uppercase(),
        project_id: "p1".to_owned(),
        project_name: "CHI-000001".to_owned(),
        user_id: "u1".to_owned(),
        user_name: "alice".to_owned(),
    }
}

/// Both sites with who is signed in there.
pub(crate) fn identities() -> BTreeMap<SiteAlias, SiteIdentity> {
    ["kvm", "chi"].into_iter().map(|site| (SiteAlias::from(site), identity(site))).collect()
}

/// Resolves a spec that starts with [`HEAD`]. The error is what people would read.
pub(crate) fn resolved(text: &str) -> Result<Desired, String> {
    let mut diagnostics = Diagnostics::default();
    let mut sources = Sources::default();
    let text = format!("{HEAD}{text}");
    let file = sources.add("a.yaml".into(), text.clone());
    let files = yaml::parse(file, &text, &mut diagnostics).map(|node| (file, node)).into_iter().collect();
    let loaded = Loaded { sources, files, complete: true, folder: PathBuf::new(), given: Vec::new() };
    let spec = parse::parse(&loaded, &kinds::sections(), &mut diagnostics);
    let none = BTreeMap::new();
    let variables = variables::settle(&spec, &[], &none, &loaded.sources, &mut diagnostics);
    let (env, identities) = (BTreeMap::new(), identities());
    let inputs = Inputs { variables: &variables, env: &env, files: &NoFiles, identities: &identities };
    let desired = resolve(&spec, &inputs, &mut diagnostics);
    if diagnostics.has_errors() {
        return Err(render(&diagnostics.sorted(), &loaded.sources, false, 100));
    }
    Ok(desired)
}

/// Resolves a spec that starts with [`HEAD`] and has no mistakes.
pub(crate) fn desired(text: &str) -> Desired {
    resolved(text).unwrap_or_else(|said| panic!("{said}\n{text}"))
}

/// What a plan does, a line for each resource that is not simply kept.
pub(crate) fn summary(plan: &Plan) -> String {
    let lines = plan.actions.values().filter(|action| action.verb != crate::plan::Verb::Keep).map(|action| {
        let reasons: Vec<_> = action.reasons.iter().map(ToString::to_string).collect();
        format!("{:?} {}: {}", action.verb, action.address, reasons.join("; "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Why there is no plan, a line for each reason.
pub(crate) fn refusals(errors: &[PlanError]) -> String {
    let lines = errors.iter().map(|error| {
        let field = error.field.as_ref().map(|field| format!(" ({field})")).unwrap_or_default();
        format!("{}{field}: {}", error.code, error.message)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The steps in an order that may be, a line each.
pub(crate) fn steps(plan: &Plan) -> String {
    let order = order::topological(&plan.steps, &plan.edges).expect("no steps stand in a circle");
    let lines = order.into_iter().map(|step| format!("{:?} {}", plan.steps[step].operation, plan.steps[step].address));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a report says, a line each.
pub(crate) fn notes(report: &Report) -> String {
    let lines = report.notes.iter().map(|note| {
        let about = note.address.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{}{about}: {}", if note.warning { "! " } else { "" }, note.text)
    });
    lines.collect::<Vec<_>>().join("\n")
}
