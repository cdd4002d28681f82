//! What a scenario finds in a cloud: who signs in, where the services are, and what has which name.
//!
//! In: the answers of the cloud itself, asked like by any client. Out: a [`World`]: the words a scenario may use, the
//! tokens of its people, the services' roots.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::words::Words;
use crate::site;

/// A request as it is sent.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

impl Request {
    /// The request for a token.
    pub fn sign_in(identity: &str, name: &str, password: &str, project: &str) -> Self {
        Self {
            method: "POST".to_owned(),
            url: format!("{identity}/v3/auth/tokens"),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Some(site::sign_in(name, password, project).to_string()),
        }
    }
}

/// An answer as it came.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Whoever answers requests.
pub trait Cloud {
    /// Sends a request.
    fn send(&mut self, request: &Request) -> Answer;
    /// Lets some time go by between two looks; the first look has number 0.
    fn pause(&mut self, look: usize);
    /// How often to look before giving up.
    fn patience(&self) -> usize;
}

/// Somebody who signs in.
#[derive(Debug, Clone)]
pub struct Person {
    /// What scenarios call them: `user`, `mate`, `other`.
    pub role: &'static str,
    pub name: String,
    pub password: String,
    pub project: String,
}

/// What a scenario finds.
#[derive(Debug, Default)]
pub struct World {
    pub words: Words,
    /// The services' addresses without their version, by what scenarios call the service.
    pub roots: BTreeMap<String, String>,
    /// The people's tokens.
    pub tokens: BTreeMap<String, String>,
}

/// What scenarios call a service, by its types in the catalog.
const SERVICES: [(&str, &str); 6] = [
    ("identity", "identity"),
    ("compute", "compute"),
    ("network", "network"),
    ("block-storage", "volume"),
    ("image", "image"),
    ("reservation", "reservation"),
];

impl World {
    /// Signs the people in and looks the site's names up; the first of them is who asks for those.
    pub fn enter(cloud: &mut dyn Cloud, identity: &str, region: &str, people: &[Person]) -> Self {
        let mut world = Self::default();
        for length in [256, 65_536] {
            world.words.keep(&format!("x{length}"), &"x".repeat(length));
        }
        for person in people {
            world.sign_in(cloud, identity, region, person);
        }
        let known = [
            ("image", "image", "/v2/images", "images"),
            ("flavor", "compute", "/v2.1/flavors", "flavors"),
            ("network", "network", "/v2.0/networks", "networks"),
            ("subnet", "network", "/v2.0/subnets", "subnets"),
            ("type", "volume", "/v3/types", "volume_types"),
        ];
        let token = world.tokens[people[0].role].clone();
        for (kind, service, path, member) in known {
            let Some(root) = world.roots.get(service) else { continue };
            let url = format!("{root}{path}");
            let headers = vec![("x-auth-token".to_owned(), token.clone())];
            let answer = cloud.send(&Request { method: "GET".to_owned(), url, headers, body: None }).json();
            for one in answer[member].as_array().into_iter().flatten() {
                let (Some(name), Some(id)) = (one["name"].as_str(), one["id"].as_str()) else { continue };
                world.words.keep(&format!("{kind}:{name}"), id);
            }
        }
        world
    }

    /// Notes the cloud's time as its answer says it; a service that does not say it runs by this machine's clock.
    pub fn note_time(&mut self, answer: &Answer) {
        let read = answer.headers.get("date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        self.words.now = read.map_or_else(jiff::Timestamp::now, |date| date.timestamp());
    }

    fn sign_in(&mut self, cloud: &mut dyn Cloud, identity: &str, region: &str, person: &Person) {
        let answer = cloud.send(&Request::sign_in(identity, &person.name, &person.password, &person.project));
        assert_eq!(answer.status, 201, "{} signs in: {}", person.name, String::from_utf8_lossy(&answer.body));
        self.note_time(&answer);
        let token = answer.headers["x-subject-token"].clone();
        let said = answer.json()["token"].clone();
        let role = person.role;
        self.words.keep(role, said["user"]["id"].as_str().unwrap_or_default());
        self.words.keep(&format!("{role}-name"), &person.name);
        let project = match role {
            "mate" => None,
            "user" => Some("project".to_owned()),
            role => Some(format!("{role}-project")),
        };
        if let Some(project) = project {
            self.words.keep(&project, said["project"]["id"].as_str().unwrap_or_default());
            self.words.keep(&format!("{project}-name"), &person.project);
        }
        self.words.keep_secret(&format!("{role}-password"), &person.password);
        self.words.keep_secret(&format!("{role}-token"), &token);
        self.words.keep("region", region);
        self.tokens.insert(role.to_owned(), token);
        for service in said["catalog"].as_array().into_iter().flatten() {
            let Some((_, name)) = SERVICES.iter().find(|(kind, _)| service["type"] == *kind) else { continue };
            let endpoints = service["endpoints"].as_array().into_iter().flatten();
            let mut fit = endpoints.filter(|one| one["region_id"] == region && one["interface"] == "public");
            let url = fit.next().and_then(|one| one["url"].as_str()).expect("an endpoint of the region");
            self.roots.insert((*name).to_owned(), without_version(url));
        }
    }
}

fn without_version(url: &str) -> String {
    let version = regex::Regex::new(r"/v\d[\d.]*(/.*)?$").expect("a pattern");
    version.replace(url.trim_end_matches('/'), "").into_owned()
}
