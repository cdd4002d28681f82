//! The lab as a cloud that scenarios are played against: a project of their own for each, removed afterwards.
//!
//! In: the lab's folder (`ANOLE_LAB`, else the usual one). Invariants: everything is in projects whose names begin with
//! `exchanges-`; other people's objects are neither seen nor touched.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use super::scenario::Scenario;
use super::world::{Answer, Cloud, Person, Request, World};

/// What is in a project, in the order in which it can be removed: service, list, member.
const OBJECTS: [(&str, &str, &str); 9] = [
    ("reservation", "/v1/leases", "leases"),
    ("compute", "/v2.1/servers", "servers"),
    ("volume", "/v3/volumes", "volumes"),
    ("network", "/v2.0/floatingips", "floatingips"),
    ("network", "/v2.0/routers", "routers"),
    ("network", "/v2.0/ports", "ports"),
    ("network", "/v2.0/subnets", "subnets"),
    ("network", "/v2.0/networks", "networks"),
    ("network", "/v2.0/security-groups", "security_groups"),
];

/// The lab.
pub struct Lab {
    folder: PathBuf,
    client: reqwest::Client,
    runtime: Runtime,
    identity: String,
    region: String,
    admin: World,
}

impl Cloud for Lab {
    fn send(&mut self, request: &Request) -> Answer {
        let method = request.method.parse().expect("a method");
        let mut builder = self.client.request(method, &request.url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        self.runtime.block_on(async {
            let answer = builder.send().await.unwrap_or_else(|error| panic!("{}: {error}", request.url));
            let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            let status = answer.status().as_u16();
            Answer { status, headers, body: answer.bytes().await.expect("a body").to_vec() }
        })
    }

    fn pause(&mut self, look: usize) {
        std::thread::sleep(Duration::from_millis(if look < 40 { 40 } else { 400 }));
    }

    fn patience(&self) -> usize {
        900
    }
}

impl Lab {
    /// Signs in to the lab as its administrator.
    pub fn open() -> Self {
        let folder = std::env::var_os("ANOLE_LAB").map(PathBuf::from).unwrap_or_else(|| {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/anole-openstack")
        });
        let text = std::fs::read_to_string(folder.join("clouds.yaml")).expect("the lab runs");
        let clouds: Json = serde_yaml::from_str(&text).expect("clouds.yaml");
        let entry = &clouds["clouds"]["lab-admin"];
        let word = |key: &str| entry["auth"][key].as_str().unwrap_or_default().to_owned();
        let identity = word("auth_url").trim_end_matches("/v3").to_owned();
        let region = entry["region_name"].as_str().unwrap_or_default().to_owned();
        // Another test may have chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let client = client.timeout(Duration::from_secs(120)).build().expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let admin =
            Person { role: "admin", name: word("username"), password: word("password"), project: word("project_name") };
        let mut lab = Self { folder, client, runtime, identity, region, admin: World::default() };
        let (identity, region) = (lab.identity.clone(), lab.region.clone());
        lab.admin = World::enter(&mut lab, &identity, &region, &[admin]);
        lab
    }

    /// The versions of the services, as installed.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let services = ["keystone", "nova", "neutron", "cinder", "glance", "blazar"];
        let libraries = std::fs::read_dir(self.folder.join("venv/lib")).expect("the lab's libraries");
        let sites = libraries.map(|entry| entry.expect("a folder").path().join("site-packages"));
        let packages = sites.filter(|site| site.is_dir()).flat_map(|site| std::fs::read_dir(site).expect("packages"));
        let names = packages.map(|entry| entry.expect("a package").file_name().to_string_lossy().into_owned());
        let found = names.filter_map(|name| {
            let (package, version) = name.strip_suffix(".dist-info")?.split_once('-')?;
            services.contains(&package).then(|| (package.to_owned(), version.to_owned()))
        });
        found.collect()
    }

    fn admin(&mut self, method: &str, service: &str, path: &str, body: Option<Json>) -> Json {
        let request = self.by("admin", (method, service, path), body);
        let answer = self.send(&request);
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status < 300, "{method} {service} {path}: {} {said}", answer.status);
        answer.json()
    }

    fn by(&self, role: &str, (method, service, path): (&str, &str, &str), body: Option<Json>) -> Request {
        let mut headers = vec![("x-auth-token".to_owned(), self.admin.tokens[role].clone())];
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let url = format!("{}{path}", self.admin.roots[service]);
        Request { method: method.to_owned(), url, headers, body: body.map(|body| body.to_string()) }
    }

    /// Makes the people and projects of a scenario, with its quotas, has it played, and removes them.
    pub fn visit<T>(&mut self, scenario: &Scenario, play: impl FnOnce(&mut Self, &mut World) -> T) -> T {
        let tag = &uuid::Uuid::new_v4().simple().to_string()[..8];
        let roles = self.admin("GET", "identity", "/v3/roles", None);
        let role = |name: &str| {
            let all = roles["roles"].as_array().into_iter().flatten();
            all.filter(|role| role["name"] == name).find_map(|role| role["id"].as_str()).expect("a role").to_owned()
        };
        let (member, reader) = (role("member"), role("reader"));
        let mut made = Vec::new();
        let mut projects: BTreeMap<String, String> = BTreeMap::new();
        let mut people = Vec::new();
        for (who, project) in [("user", "exchanges"), ("mate", "exchanges"), ("other", "exchanges-other")] {
            let project = format!("{project}-{tag}");
            if !projects.contains_key(&project) {
                let body = json!({"project": {"name": project, "domain_id": "default"}});
                let id = id(&self.admin("POST", "identity", "/v3/projects", Some(body))["project"]);
                projects.insert(project.clone(), id);
            }
            let (name, password) = (format!("exchanges-{who}-{tag}"), uuid::Uuid::new_v4().to_string());
            let body = json!({"user": {"name": name, "password": password, "domain_id": "default"}});
            let user = id(&self.admin("POST", "identity", "/v3/users", Some(body))["user"]);
            for role in [&member, &reader] {
                let path = format!("/v3/projects/{}/users/{user}/roles/{role}", projects[&project]);
                self.admin("PUT", "identity", &path, None);
            }
            made.push(format!("/v3/users/{user}"));
            people.push(Person { role: who, name, password, project });
        }
        made.extend(projects.values().map(|id| format!("/v3/projects/{id}")));
        let project = projects[&people[0].project].clone();
        self.set_quotas(&project, &scenario.quotas);
        let (identity, region) = (self.identity.clone(), self.region.clone());
        let mut world = World::enter(self, &identity, &region, &people);
        // Whatever happens, what was made is removed.
        let played = catch_unwind(AssertUnwindSafe(|| play(self, &mut world)));
        for role in ["user", "other"] {
            self.clear(&world, role);
        }
        for path in made {
            self.admin("DELETE", "identity", &path, None);
        }
        played.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn set_quotas(&mut self, project: &str, quotas: &BTreeMap<String, BTreeMap<String, i64>>) {
        for (service, quotas) in quotas {
            let (path, member) = match service.as_str() {
                "compute" => (format!("/v2.1/os-quota-sets/{project}"), "quota_set"),
                "volume" => (format!("/v3/os-quota-sets/{project}"), "quota_set"),
                "network" => (format!("/v2.0/quotas/{project}"), "quota"),
                other => panic!("no quotas of {other}"),
            };
            self.admin("PUT", service, &path, Some(json!({member: quotas})));
        }
    }

    /// Removes what a scenario left in a project.
    fn clear(&mut self, world: &World, role: &str) {
        let project = world.words.fill(if role == "user" { "{project}" } else { "{other-project}" });
        let token = world.tokens[role].clone();
        let mut ask = |method: &str, service: &str, path: &str, body: Option<Json>| {
            let headers = vec![
                ("x-auth-token".to_owned(), token.clone()),
                ("content-type".to_owned(), "application/json".to_owned()),
            ];
            let url = format!("{}{path}", world.roots[service]);
            self.send(&Request { method: method.to_owned(), url, headers, body: body.map(|body| body.to_string()) })
        };
        for (service, path, member) in OBJECTS {
            for _ in 0..60 {
                let listed = ask("GET", service, path, None).json();
                let own = |one: &&Json| {
                    let owner = one.get("project_id").and_then(Json::as_str);
                    owner.is_none_or(|owner| owner == project)
                        && one["name"] != "default"
                        && one["status"] != "TERMINATED"
                };
                let left: Vec<Json> = listed[member].as_array().into_iter().flatten().filter(own).cloned().collect();
                if left.is_empty() {
                    break;
                }
                for one in &left {
                    if member == "routers" {
                        let ports = ask("GET", "network", &format!("/v2.0/ports?device_id={}", id(one)), None).json();
                        for port in ports["ports"].as_array().into_iter().flatten() {
                            let path = format!("/v2.0/routers/{}/remove_router_interface", id(one));
                            ask("PUT", "network", &path, Some(json!({"port_id": port["id"]})));
                        }
                    }
                    ask("DELETE", service, &format!("{path}/{}", id(one)), None);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        let keys = ask("GET", "compute", "/v2.1/os-keypairs", None).json();
        for key in keys["keypairs"].as_array().into_iter().flatten() {
            let name = key["keypair"]["name"].as_str().unwrap_or_default().replace(' ', "%20");
            ask("DELETE", "compute", &format!("/v2.1/os-keypairs/{name}"), None);
        }
        for group in ask("GET", "network", "/v2.0/security-groups", None).json()["security_groups"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if group["name"] == "default" && group["project_id"] == project.as_str() {
                let path = format!("/v2.0/security-groups/{}", id(group));
                let request = self.by("admin", ("DELETE", "network", &path), None);
                self.send(&request);
                break;
            }
        }
    }
}

fn id(object: &Json) -> String {
    object["id"].as_str().expect("an id").to_owned()
}
