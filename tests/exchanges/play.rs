//! Plays a scenario: asks, waits, keeps, and writes down what was answered.
//!
//! In: a cloud, its world and a scenario. Out: a [`Recording`], scrubbed.

use std::collections::BTreeMap;

use anole::cloud::{cinder, nova};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::folder;
use super::rules::Rules;
use super::scenario::{Scenario, Step};
use super::scrub::Scrub;
use super::world::{Answer, Cloud, Request, World};

/// What a cloud answered to a scenario.
#[derive(Debug, Serialize, Deserialize)]
pub struct Recording {
    /// The versions of the services that answered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub taken_from: BTreeMap<String, String>,
    /// One for each step.
    pub answers: Vec<Recorded>,
}

/// What a cloud answered to a step.
#[derive(Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// What was asked.
    #[serde(rename = "to")]
    pub request: String,
    /// The states on the way, in order, if it was waited for something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<String>,
    pub status: u16,
    pub headers: String,
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub body: Json,
}

impl Recording {
    fn path(scenario: &Scenario) -> std::path::PathBuf {
        folder().join("recordings").join(format!("{}.yaml", scenario.name))
    }

    /// Reads the recording of a scenario.
    pub fn read(scenario: &Scenario) -> Result<Self, String> {
        let text = std::fs::read_to_string(Self::path(scenario)).map_err(|error| format!("no recording: {error}"))?;
        serde_yaml::from_str(&text).map_err(|error| format!("the recording cannot be read: {error}"))
    }

    /// Writes it.
    pub fn write(&self, scenario: &Scenario) {
        let text = serde_yaml::to_string(self).expect("YAML");
        let head = "# What real services answered. Recorded, never edited: see the README.\n";
        std::fs::write(Self::path(scenario), format!("{head}{text}")).expect("a recording written");
    }
}

/// Plays a scenario.
pub fn play(cloud: &mut dyn Cloud, world: &mut World, scenario: &Scenario, rules: &Rules) -> Result<Recording, String> {
    let sent: String = scenario.steps.iter().map(|step| format!("{} {:?}\n", step.request, step.body)).collect();
    let mut answers = Vec::new();
    for step in &scenario.steps {
        let recorded = one(cloud, world, step, (rules, &sent));
        answers.push(recorded.map_err(|why| format!("{}: {why}", step.request))?);
    }
    Ok(Recording { taken_from: BTreeMap::new(), answers })
}

fn one(
    cloud: &mut dyn Cloud,
    world: &mut World,
    step: &Step,
    (rules, sent): (&Rules, &str),
) -> Result<Recorded, String> {
    let (answer, seen) = ask(cloud, world, step)?;
    let body = answer.json();
    for (name, place) in &step.save {
        let value = match place.strip_prefix("header ") {
            Some(header) => answer.headers.get(header).cloned(),
            None => body.pointer(place).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        };
        let value = value.ok_or_else(|| {
            format!("{place} is not in the answer: {} {}", answer.status, String::from_utf8_lossy(&answer.body))
        })?;
        match name.starts_with("secret") || name.ends_with("token") {
            true => world.words.keep_secret(name, &value),
            false => world.words.keep(name, &value),
        }
    }
    let scrub = Scrub { world, rules, sent };
    let mut seen: Vec<String> = seen.iter().map(|state| scrub.text(state, "")).collect();
    seen.dedup();
    Ok(Recorded {
        request: step.request.clone(),
        seen,
        status: answer.status,
        headers: scrub.headers(&answer),
        body: scrub.body(&answer, step),
    })
}

/// Asks until what is waited for is there; gives the last answer and the states on the way.
fn ask(cloud: &mut dyn Cloud, world: &mut World, step: &Step) -> Result<(Answer, Vec<String>), String> {
    let mut seen: Vec<String> = Vec::new();
    for look in 0..=cloud.patience() {
        let answer = cloud.send(&request(world, step));
        world.note_time(&answer);
        if step.until.is_empty() {
            return Ok((answer, seen));
        }
        let body = answer.json();
        let state = state(step, &answer, &body);
        if seen.last() != Some(&state) {
            seen.push(state);
        }
        let there = step.until.iter().all(|(place, wanted)| match place.as_str() {
            "status" => *wanted == answer.status,
            pointer => match wanted.as_str().map(|text| world.words.fill(text)) {
                Some(text) => body.pointer(pointer).is_some_and(|value| *value == text),
                None => body.pointer(pointer).unwrap_or(&Json::Null) == wanted,
            },
        });
        if there {
            return Ok((answer, seen));
        }
        cloud.pause(look);
    }
    Err(format!("{:?} did not come to be; seen: {}", step.until, seen.join(", ")))
}

/// What is noted of an answer on the way: the values at the pointers, or the status of a refusal.
fn state(step: &Step, answer: &Answer, body: &Json) -> String {
    if answer.status >= 300 {
        return answer.status.to_string();
    }
    let pointers = step.until.keys().filter(|place| *place != "status").chain(&step.watch);
    let values = pointers.map(|pointer| match body.pointer(pointer) {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Array(all)) => format!("[{}]", all.len()),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    });
    values.collect::<Vec<_>>().join(" ")
}

fn request(world: &World, step: &Step) -> Request {
    let (method, service, path) = step.parts();
    let root = world.roots.get(service).unwrap_or_else(|| panic!("no service `{service}`"));
    let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
    if step.who != "nobody" {
        let token = world.tokens.get(&step.who).unwrap_or_else(|| panic!("nobody is called `{}`", step.who));
        headers.push(("x-auth-token".to_owned(), token.clone()));
    }
    let own = match service {
        "compute" => Some(nova::MICROVERSION),
        "volume" => Some(cinder::MICROVERSION),
        _ => None,
    };
    if let Some(version) = step.version.as_deref().or(own).filter(|version| *version != "none") {
        headers.push(("openstack-api-version".to_owned(), format!("{service} {version}")));
    }
    let body = match (&step.body, &step.text) {
        (Some(body), _) => Some(world.words.fill_json(body).to_string()),
        (None, text) => text.clone(),
    };
    if body.is_some() {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    for (name, value) in &step.headers {
        headers.retain(|(other, _)| other != name);
        headers.push((name.clone(), world.words.fill(value)));
    }
    Request { method: method.to_owned(), url: format!("{root}{}", world.words.fill(path)), headers, body }
}
