//! The embedded cloud as one that scenarios are played against: a new one for each, in process.

use std::collections::BTreeMap;

use anole::embedded::{ClockMode, Cloud as Embedded, Guests, Options, Profile};
use axum::body::{Body, to_bytes};
use serde_json::json;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::play::{Recording, play as play_on};
use super::rules::Rules;
use super::scenario::Scenario;
use super::world::{Answer, Cloud, Person, Request, World};

/// How long transitions take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// No time at all.
    Instant,
    /// Several seconds of the cloud's own clock, which goes on by one between two looks.
    Slow,
}

const ROOT: &str = "http://cloud.test";

struct InProcess {
    cloud: Embedded,
    runtime: Runtime,
    pace: Pace,
}

impl Cloud for InProcess {
    fn send(&mut self, request: &Request) -> Answer {
        let mut builder = http::Request::builder().method(request.method.as_str());
        builder = builder.uri(request.url.trim_start_matches(ROOT)).header("host", ROOT.trim_start_matches("http://"));
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let sent = builder.body(Body::from(request.body.clone().unwrap_or_default())).expect("a request");
        self.runtime.block_on(async {
            let (head, body) = self.cloud.router().oneshot(sent).await.expect("an answer").into_parts();
            let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            let body = to_bytes(body, usize::MAX).await.expect("a body").to_vec();
            Answer { status: head.status.as_u16(), headers, body }
        })
    }

    fn pause(&mut self, look: usize) {
        // What is not there by the third look waits for the clock: an end of a lease, of a credential.
        let seconds = match (self.pace, look) {
            (Pace::Instant, 0..3) => 0,
            (Pace::Instant, _) => 5,
            (Pace::Slow, 0..100) => 1,
            (Pace::Slow, _) => 10,
        };
        self.cloud.advance(seconds).expect("the clock goes on");
    }

    fn patience(&self) -> usize {
        200
    }
}

/// Plays a scenario against a new cloud.
pub fn play(scenario: &Scenario, rules: &Rules, pace: Pace) -> Result<Recording, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let scale = if pace == Pace::Slow { 10.0 } else { 0.0 };
    let profile =
        scenario.embedded.as_deref().map_or(Some(Profile::ChameleonKvm), Profile::by_name).expect("a profile");
    let options = Options { profile, clock: ClockMode::Real { scale }, guests: Guests::None };
    let cloud = Embedded::open(folder.path(), options).expect("a cloud");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut cloud = InProcess { cloud, runtime, pace };
    let person = |role, name: &str, project: &str| Person {
        role,
        name: name.to_owned(),
        password: name.to_owned(),
        project: project.to_owned(),
    };
    let people = [
        person("user", "demo", "CHI-embedded"),
        person("mate", "mate", "CHI-embedded"),
        person("other", "other", "CHI-other"),
    ];
    let mut world = World::enter(&mut cloud, &format!("{ROOT}/identity"), profile.region(), &people);
    set_quotas(&mut cloud, &world, &scenario.quotas);
    play_on(&mut cloud, &mut world, scenario, rules)
}

/// Sets the quotas as the site's operator.
fn set_quotas(cloud: &mut InProcess, world: &World, quotas: &BTreeMap<String, BTreeMap<String, i64>>) {
    let signed_in = cloud.send(&Request::sign_in(&format!("{ROOT}/identity"), "admin", "admin", "openstack"));
    let token = &signed_in.headers["x-subject-token"];
    for (service, quotas) in quotas {
        let project = world.words.fill("{project}");
        let (path, member) = match service.as_str() {
            "compute" => (format!("/v2.1/os-quota-sets/{project}"), "quota_set"),
            "volume" => (format!("/v3/os-quota-sets/{project}"), "quota_set"),
            "network" => (format!("/v2.0/quotas/{project}"), "quota"),
            other => panic!("no quotas of {other}"),
        };
        let request = Request {
            method: "PUT".to_owned(),
            url: format!("{}{path}", world.roots[service]),
            headers: vec![("x-auth-token".to_owned(), token.clone())],
            body: Some(json!({member: quotas}).to_string()),
        };
        assert_eq!(cloud.send(&request).status, 200, "quotas of {service}");
    }
}
