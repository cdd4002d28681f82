//! A plain HTTP client of the OpenStack APIs, of no more than a test needs: it signs in, asks, and hands over the answer.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::site::sign_in;

/// Who signs in, and to which project.
#[derive(Debug, Clone)]
pub struct Account {
    pub auth_url: String,
    pub region: String,
    pub user: String,
    pub password: String,
    pub project: String,
}

impl Account {
    /// The account's entry of a `clouds.yaml`.
    pub fn entry(&self) -> Json {
        json!({
            "auth": {
                "auth_url": self.auth_url, "username": self.user, "password": self.password,
                "project_name": self.project, "user_domain_name": "Default", "project_domain_name": "Default",
            },
            "region_name": self.region,
        })
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub token: Option<String>,
    pub body: Json,
}

/// A signed-in client.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    token: String,
    urls: BTreeMap<String, String>,
    pub user_id: String,
    pub project_id: String,
}

impl Client {
    /// Signs in with a password.
    pub fn sign_in(account: &Account) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let none = BTreeMap::from([("identity".to_owned(), account.auth_url.clone())]);
        let mut client =
            Self { runtime, http, token: String::new(), urls: none, user_id: String::new(), project_id: String::new() };
        let body = sign_in(&account.user, &account.password, &account.project);
        let answer = client.ask("POST", "identity", "/auth/tokens", &body);
        let (Some(token), body) = (answer.token.clone(), &answer.body["token"]) else { panic!("no token: {answer:?}") };
        client.token = token;
        client.user_id = text(&body["user"]["id"]);
        client.project_id = text(&body["project"]["id"]);
        for service in body["catalog"].as_array().expect("a catalog") {
            let endpoints = service["endpoints"].as_array().expect("endpoints");
            let mine = |entry: &&Json| entry["interface"] == "public" && entry["region"] == *account.region;
            if let Some(endpoint) = endpoints.iter().find(mine) {
                let url = text(&endpoint["url"]).trim_end_matches('/').to_owned();
                client.urls.entry(text(&service["type"])).or_insert(url);
            }
        }
        client.urls.insert("identity".to_owned(), account.auth_url.clone());
        client
    }

    /// The token it has.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Sends a request and takes whatever the service answers. `service` is a type of the catalog.
    pub fn ask(&self, method: &str, service: &str, path: &str, body: &Json) -> Answer {
        let base = self.urls.get(service).unwrap_or_else(|| panic!("no {service} in {:?}", self.urls.keys()));
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{base}{path}")).header("x-auth-token", &self.token);
        let version = match service {
            "compute" => "compute 2.85",
            "block-storage" => "volume 3.42",
            _ => "",
        };
        if !version.is_empty() {
            request = request.header("openstack-api-version", version);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        self.runtime.block_on(async {
            let response = request.send().await.unwrap_or_else(|error| panic!("{base}{path}: {error}"));
            let status = response.status().as_u16();
            let token = response.headers().get("x-subject-token");
            let token = token.map(|token| token.to_str().expect("a token").to_owned());
            let text = response.text().await.unwrap_or_default();
            Answer { status, token, body: serde_json::from_str(&text).unwrap_or(Json::String(text)) }
        })
    }

    /// The content of an object.
    #[track_caller]
    pub fn bytes(&self, service: &str, path: &str) -> Vec<u8> {
        let url = format!("{}{path}", self.urls[service]);
        self.runtime.block_on(async {
            let sent = self.http.get(&url).header("x-auth-token", &self.token).send().await;
            let answer = sent.unwrap_or_else(|error| panic!("{url}: {error}"));
            assert!(answer.status().is_success(), "{url}: {}", answer.status());
            answer.bytes().await.expect("its content").to_vec()
        })
    }

    /// Sends a request that must be granted.
    #[track_caller]
    pub fn call(&self, method: &str, service: &str, path: &str, body: Json) -> Json {
        let answer = self.ask(method, service, path, &body);
        assert!(answer.status < 300, "{method} {service} {path} {body}: {} {}", answer.status, answer.body);
        answer.body
    }

    /// What is there.
    #[track_caller]
    pub fn get(&self, service: &str, path: &str) -> Json {
        self.call("GET", service, path, Json::Null)
    }

    /// The project's own objects of a kind, as the service lists them.
    pub fn all(&self, kind: &str) -> Vec<Json> {
        let (service, path) = place(kind);
        let query = match service {
            "network" => format!("?project_id={}", self.project_id),
            _ if matches!(kind, "server" | "volume") => "/detail".to_owned(),
            _ => String::new(),
        };
        let all = &self.get(service, &format!("{path}{query}"))[format!("{}s", key(kind))];
        let mut all = all.as_array().unwrap_or_else(|| panic!("no {kind}s")).clone();
        match kind {
            "security_group" => all.retain(|group| group["name"] != "default"),
            "keypair" => all = all.into_iter().map(|pair| pair["keypair"].clone()).collect(),
            _ => {}
        }
        all
    }

    /// The object of that id.
    #[track_caller]
    pub fn one(&self, kind: &str, id: &str) -> Json {
        let (service, path) = place(kind);
        self.get(service, &format!("{path}/{id}"))[key(kind)].clone()
    }

    /// Makes an object and gives its id.
    #[track_caller]
    pub fn make(&self, kind: &str, fields: Json) -> String {
        let (service, path) = place(kind);
        let made = self.call("POST", service, path, wrapped(kind, fields));
        text(&made[key(kind)][if kind == "keypair" { "name" } else { "id" }])
    }

    /// Changes an object.
    #[track_caller]
    pub fn change(&self, kind: &str, id: &str, fields: Json) {
        let (service, path) = place(kind);
        self.call("PUT", service, &format!("{path}/{id}"), wrapped(kind, fields));
    }

    /// Deletes an object, which must be allowed.
    #[track_caller]
    pub fn delete(&self, kind: &str, id: &str) {
        let (service, path) = place(kind);
        self.call("DELETE", service, &format!("{path}/{id}"), Json::Null);
    }

    /// How many objects of each kind the project has: `port 1, server 1`.
    pub fn census(&self) -> String {
        let count = |kind: &&str| match self.all(kind).len() {
            0 => None,
            count => Some(format!("{kind} {count}")),
        };
        KINDS.iter().filter_map(count).collect::<Vec<_>>().join(", ")
    }

    /// Deletes what the project has, whatever refuses, until nothing is left or it has taken too long.
    pub fn purge(&self) {
        let mut left = PURGED.to_vec();
        for _ in 0..60 {
            left.retain(|kind| {
                let items = self.all(kind);
                items.iter().for_each(|item| self.remove(kind, item));
                !items.is_empty()
            });
            if left.is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }

    fn remove(&self, kind: &str, item: &Json) {
        let id = text(if kind == "keypair" { &item["name"] } else { &item["id"] });
        let (service, path) = place(kind);
        let path = format!("{path}/{id}");
        if kind == "router" {
            let own = format!("/v2.0/ports?device_id={id}&device_owner=network:router_interface");
            for port in self.get("network", &own)["ports"].as_array().into_iter().flatten() {
                let body = json!({"port_id": port["id"]});
                self.ask("PUT", "network", &format!("{path}/remove_router_interface"), &body);
            }
        }
        self.ask("DELETE", service, &path, &Json::Null);
    }
}

/// The service that has the objects of a kind, and the path of them.
fn place(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "server" => ("compute", "/servers"),
        "keypair" => ("compute", "/os-keypairs"),
        "volume" => ("block-storage", "/volumes"),
        "lease" => ("reservation", "/leases"),
        "network" => ("network", "/v2.0/networks"),
        "subnet" => ("network", "/v2.0/subnets"),
        "router" => ("network", "/v2.0/routers"),
        "port" => ("network", "/v2.0/ports"),
        "floating_ip" => ("network", "/v2.0/floatingips"),
        "security_group" => ("network", "/v2.0/security-groups"),
        "security_group_rule" => ("network", "/v2.0/security-group-rules"),
        _ => panic!("no kind {kind}"),
    }
}

/// What its service calls an object of a kind.
fn key(kind: &str) -> &str {
    if kind == "floating_ip" { "floatingip" } else { kind }
}

/// The body of a request: Blazar's has the fields alone.
fn wrapped(kind: &str, fields: Json) -> Json {
    if kind == "lease" { fields } else { json!({ key(kind): fields }) }
}

/// In the order of a census.
const KINDS: [&str; 10] =
    ["floating_ip", "keypair", "lease", "network", "port", "router", "security_group", "server", "subnet", "volume"];
/// In the order of deletion.
const PURGED: [&str; 9] =
    ["floating_ip", "server", "lease", "volume", "router", "port", "network", "security_group", "keypair"];

/// The text of a field that must be one.
#[track_caller]
pub fn text(value: &Json) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The object must have these fields with these values; it may have others.
#[track_caller]
pub fn has(object: &Json, wanted: &Json) {
    for (field, value) in wanted.as_object().expect("fields") {
        assert_eq!(&object[field], value, "{field} of {object}");
    }
}

/// The description must be this one, the stamp apart.
#[track_caller]
pub fn described(object: &Json, wanted: &str) {
    let description = text(&object["description"]);
    assert_eq!(description.split("[anole/1").next().map(str::trim_end), Some(wanted), "{object}");
}
