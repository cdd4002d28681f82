//! A scenario: requests in order, with what is kept of their answers and what is waited for.
//!
//! In: a YAML file. Out: [`Scenario`]. Every member is documented in the README beside the scenarios.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::folder;

/// A scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name, without its end.
    #[serde(skip)]
    pub name: String,
    /// What it is about.
    #[serde(rename = "title")]
    pub _title: String,
    /// The project's quotas, by service: `compute`, `volume`, `network`.
    #[serde(default)]
    pub quotas: BTreeMap<String, BTreeMap<String, i64>>,
    /// Played only where transitions take time: it asks for something while they are under way.
    #[serde(default)]
    pub only_slow: bool,
    /// The profile of the embedded cloud; `chameleon-kvm` where none is named.
    #[serde(default)]
    pub embedded: Option<String>,
    /// The requests.
    pub steps: Vec<Step>,
}

/// A request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `METHOD service /path?query`.
    #[serde(rename = "do")]
    pub request: String,
    /// What it shows, for whoever reads.
    #[serde(default, rename = "why")]
    pub _why: String,
    /// Who asks: `user`, `mate` (same project), `other` (another project) or `nobody`.
    #[serde(default = "user", rename = "as")]
    pub who: String,
    /// The microversion; anole's own without one, none at all if it is `none`.
    pub version: Option<String>,
    /// Headers besides.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, as JSON.
    pub body: Option<Json>,
    /// The body, as it is.
    pub text: Option<String>,
    /// What to keep of the answer: a name, and a pointer into the body or `header NAME`.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// What to wait for: a pointer and the value that is wanted there, or `status` and the answer's.
    #[serde(default)]
    pub until: BTreeMap<String, Json>,
    /// Pointers whose values are noted while waiting, besides those of `until`.
    #[serde(default)]
    pub watch: Vec<String>,
    /// States that a real service may show on the way, though it was too quick when it was recorded.
    #[serde(default)]
    pub may: Vec<String>,
    /// Of lists in the answer: the members that are looked at, by a field and its values.
    #[serde(default)]
    pub pick: BTreeMap<String, BTreeMap<String, Vec<Json>>>,
    /// Members of the answer that are not looked at in this step alone.
    #[serde(default)]
    pub omit: Vec<String>,
}

fn user() -> String {
    "user".to_owned()
}

impl Scenario {
    /// All scenarios, by name.
    pub fn all() -> Vec<Self> {
        let files = std::fs::read_dir(folder().join("scenarios")).expect("the scenarios");
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "there are no scenarios");
        paths
            .iter()
            .map(|path| {
                let text = std::fs::read_to_string(path).expect("a scenario");
                let read = serde_yaml::from_str(&text).and_then(|mut document: serde_yaml::Value| {
                    document.apply_merge()?;
                    serde_yaml::from_value::<Self>(document)
                });
                let mut scenario = read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                scenario.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                scenario
            })
            .collect()
    }
}

impl Step {
    /// Method, service and path of the request.
    pub fn parts(&self) -> (&str, &str, &str) {
        let mut words = self.request.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some(method), Some(service), Some(path)) => (method, service, path),
            _ => panic!("`{}` is no request", self.request),
        }
    }
}
