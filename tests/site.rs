//! The embedded cloud seen without anole's help: what its folder holds, and requests of somebody else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anole::embedded::{ClockMode, Cloud, Guests, Options, Profile};
use axum::body::{Body, to_bytes};
use http::Request;
use serde_json::{Value as Json, json};
use tower::ServiceExt;

/// What is no object of a stack.
const INTERNAL: [&str; 4] = ["clock", "tokens", "quotas", "addresses"];

/// An embedded cloud's folder.
pub struct Site {
    folder: PathBuf,
    guests: Guests,
}

impl Site {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, guests: Guests::None }
    }

    /// The same cloud, whose servers are machines.
    pub fn with_guests(self) -> Self {
        Self { guests: Guests::Qemu, ..self }
    }

    /// Everything that was made and is still there, by table and id: the folder's log, folded. A project's own group
    /// `default`, which a real site makes too, does not count.
    fn tables(&self) -> BTreeMap<String, BTreeMap<String, Json>> {
        let mut tables: BTreeMap<String, BTreeMap<String, Json>> = BTreeMap::new();
        let generation = std::fs::read_to_string(self.folder.join("lock")).expect("a cloud");
        let generation: u64 = generation.trim().parse().unwrap_or(0);
        let log = std::fs::read_to_string(self.folder.join(format!("log.{generation}.jsonl"))).expect("a log");
        for line in log.lines() {
            let changes: Vec<(String, String, Option<Json>)> = serde_json::from_str(line).expect("a line of the log");
            for (table, id, document) in changes {
                let objects = tables.entry(table).or_default();
                match document {
                    Some(document) => objects.insert(id, document),
                    None => objects.remove(&id),
                };
            }
        }
        let groups = tables.entry("security_groups".to_owned()).or_default();
        let defaults: Vec<_> = groups.extract_if(.., |_, group| group["name"] == "default").map(|(id, _)| id).collect();
        let rules = tables.entry("security_group_rules".to_owned()).or_default();
        rules.retain(|_, rule| defaults.iter().all(|group| rule["security_group_id"] != **group));
        tables.retain(|table, objects| !objects.is_empty() && !INTERNAL.contains(&table.as_str()));
        tables
    }

    /// The objects of a table.
    pub fn all(&self, table: &str) -> Vec<Json> {
        self.tables().remove(table).unwrap_or_default().into_values().collect()
    }

    /// The one object of a table.
    pub fn only(&self, table: &str) -> Json {
        let mut all = self.all(table);
        assert_eq!(all.len(), 1, "{table}");
        all.remove(0)
    }

    /// The ids in a table.
    pub fn ids(&self, table: &str) -> Vec<String> {
        self.tables().remove(table).unwrap_or_default().into_keys().collect()
    }

    /// How many objects of each table there are: `"ports 1, servers 1"`.
    pub fn census(&self) -> String {
        let counts: Vec<_> =
            self.tables().iter().map(|(table, objects)| format!("{table} {}", objects.len())).collect();
        counts.join(", ")
    }

    /// The requests the cloud has had, `METHOD target status`.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("requests.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Puts faults on order.
    pub fn order_faults(&self, rules: &Json) {
        std::fs::create_dir_all(&self.folder).expect("a folder");
        std::fs::write(self.folder.join("faults.json"), rules.to_string()).expect("a file");
    }

    /// Moves the clock.
    pub fn advance(&self, seconds: i64) {
        self.cloud().advance(seconds).expect("the clock moves");
    }

    fn cloud(&self) -> Cloud {
        let clock = ClockMode::Real { scale: 0.0 };
        let options = Options { profile: Profile::ChameleonKvm, clock, guests: self.guests };
        Cloud::open(&self.folder, options).expect("a cloud")
    }

    /// Somebody else's request, of user `demo`. It must be granted.
    #[track_caller]
    pub fn call(&self, method: &str, target: &str, body: Json) -> Json {
        self.call_as(&sign_in("demo", "demo", "CHI-embedded"), (method, target), &body)
    }

    /// A request of whoever operates the site. It must be granted.
    #[track_caller]
    pub fn operate(&self, method: &str, target: &str, body: Json) -> Json {
        self.call_as(&sign_in("admin", "admin", "openstack"), (method, target), &body)
    }

    #[track_caller]
    fn call_as(&self, who: &Json, (method, target): (&str, &str), body: &Json) -> Json {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let cloud = self.cloud();
            let (_, token, _) = send(&cloud, ("POST", "/identity/v3/auth/tokens"), "", who).await;
            let (status, _, answer) = send(&cloud, (method, target), &token, body).await;
            assert!(status < 300, "{method} {target}: {status} {answer}");
            answer
        })
    }
}

/// What Keystone is sent to sign in with a password.
pub fn sign_in(user: &str, password: &str, project: &str) -> Json {
    let domain = json!({"name": "Default"});
    let user = json!({"name": user, "password": password, "domain": domain});
    json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": project, "domain": domain}}}})
}

/// One request; gives the status, the token it made, and the body.
async fn send(cloud: &Cloud, (method, target): (&str, &str), token: &str, body: &Json) -> (u16, String, Json) {
    let request =
        Request::builder().method(method).uri(target).header("host", "cloud.test").header("x-auth-token", token);
    let request = request.body(Body::from(body.to_string())).expect("a request");
    let (head, body) = cloud.router().oneshot(request).await.expect("an answer").into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let token = head.headers.get("x-subject-token").and_then(|token| token.to_str().ok()).unwrap_or_default();
    (head.status.as_u16(), token.to_owned(), serde_json::from_slice(&bytes).unwrap_or_default())
}
