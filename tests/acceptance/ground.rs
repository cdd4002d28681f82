//! Where a test's project is: on an embedded cloud that the test serves for itself, or on the real OpenStack.
//!
//! In: the environment. Out: three accounts, whoever may set quotas, and the end of all of it when dropped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::client::{Account, Client, text};
use crate::environment::TestEnvironment;
use crate::site::Site;

/// Two users of one project, and one of another.
pub struct Accounts {
    pub demo: Account,
    pub mate: Account,
    pub other: Account,
}

/// What the accounts live on.
pub enum Ground {
    /// A served embedded cloud, and who operates it.
    Embedded(Box<Served>, Account),
    /// The real one.
    Lab,
}

impl Ground {
    /// Makes the accounts, where the environment says.
    pub fn new(env: &TestEnvironment) -> (Self, Accounts) {
        match std::env::var("ANOLE_ACCEPTANCE").as_deref() {
            Err(_) | Ok("embedded") => embedded(env),
            Ok("lab") => (Self::Lab, lab()),
            Ok(other) => panic!("ANOLE_ACCEPTANCE is `{other}`: it may be `embedded` or `lab`"),
        }
    }

    /// Sets a project's limits, as the site's operators would.
    pub fn set_quota(&self, client: &Client, service: &str, limits: &Json) {
        let operator = match self {
            Self::Embedded(_, admin) => Arc::new(Client::sign_in(admin)),
            Self::Lab => operator(),
        };
        set_quota(&operator, &client.project_id, service, limits);
    }

    /// Waits, or has the embedded cloud believe so.
    pub fn let_pass(&self, seconds: i64) {
        match self {
            Self::Embedded(served, _) => served.site.advance(seconds),
            Self::Lab => std::thread::sleep(Duration::from_secs(seconds.unsigned_abs())),
        }
    }

    /// Has every token expire that was given out until now. The lab must have been started so that they soon do.
    pub fn expire_tokens(&self) {
        match self {
            Self::Embedded(served, _) => served.site.advance(5 * 3600),
            Self::Lab => {
                let seconds: Option<i64> = std::env::var("LAB_TOKEN_SECONDS").ok().and_then(|text| text.parse().ok());
                self.let_pass(seconds.expect("LAB_TOKEN_SECONDS is how long the lab's tokens live") + 1);
            }
        }
    }
}

/// A served embedded cloud, ended when it is dropped.
pub struct Served {
    server: Child,
    site: Site,
    auth_url: String,
}

impl Served {
    fn new(env: &TestEnvironment, profile: &str, folder: &str) -> Self {
        let mut command = env.command(&format!("cloud serve --profile {profile} --folder {folder}"));
        let mut server = command.stderr(Stdio::null()).spawn().expect("the binary runs");
        let mut said = BufReader::new(server.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let auth_url = said.find_map(|line| Some(line.trim().strip_prefix("auth_url: ")?.to_owned()));
        let auth_url = auth_url.expect("the embedded cloud prints a clouds.yaml");
        Self { server, site: Site::new(env.path(folder)), auth_url }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A site with an object store, and the account of `demo` there: a second embedded cloud, or the lab's second region.
pub fn object_store(env: &TestEnvironment, ground: &Ground, demo: &Account) -> (Option<Served>, Account) {
    match ground {
        Ground::Embedded(..) => {
            let served = Served::new(env, "chameleon-chi", "objects");
            let account = Account { auth_url: served.auth_url.clone(), region: "CHI@TACC".to_owned(), ..demo.clone() };
            (Some(served), account)
        }
        Ground::Lab => (None, Account { region: lab_store(), ..demo.clone() }),
    }
}

/// Where the lab keeps objects: with Ceph, or where the variable says so, in the region whose store is Swift itself.
fn lab_store() -> String {
    std::env::var("ANOLE_ACCEPTANCE_STORE").unwrap_or_else(|_| "CHI@LAB".to_owned())
}

fn embedded(env: &TestEnvironment) -> (Ground, Accounts) {
    let served = Served::new(env, "chameleon-kvm", "cloud");
    let account = |user: &str, project: &str| Account {
        auth_url: served.auth_url.clone(),
        region: "KVM@TACC".to_owned(),
        user: user.to_owned(),
        password: user.to_owned(),
        project: project.to_owned(),
    };
    let accounts = Accounts {
        demo: account("demo", "CHI-embedded"),
        mate: account("mate", "CHI-embedded"),
        other: account("other", "CHI-other"),
    };
    let admin = account("admin", "openstack");
    (Ground::Embedded(Box::new(served), admin), accounts)
}

/// The lab's administrator, from its clouds.yaml.
fn admin() -> Account {
    static ADMIN: OnceLock<Account> = OnceLock::new();
    let read = || {
        let path = std::env::var("OS_CLIENT_CONFIG_FILE").expect("OS_CLIENT_CONFIG_FILE is the lab's clouds.yaml");
        let file = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let clouds: Json = serde_yaml::from_str(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
        let entry = &clouds["clouds"]["lab-admin"];
        let auth = |key: &str| text(&entry["auth"][key]);
        Account {
            auth_url: auth("auth_url"),
            region: text(&entry["region_name"]),
            user: auth("username"),
            password: auth("password"),
            project: auth("project_name"),
        }
    };
    ADMIN.get_or_init(read).clone()
}

/// The administrator's client. One token does for many tests, and every service has seen it already; where tokens live
/// shortly, each gets its own.
fn operator() -> Arc<Client> {
    static LAST: Mutex<Option<(Instant, Arc<Client>)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let lasts = |(at, _): &&(Instant, Arc<Client>)| {
        at.elapsed() < Duration::from_secs(300) && std::env::var("LAB_TOKEN_SECONDS").is_err()
    };
    if let Some((_, client)) = last.as_ref().filter(lasts) {
        return client.clone();
    }
    let client = Arc::new(Client::sign_in(&admin()));
    *last = Some((Instant::now(), client.clone()));
    client
}

/// Makes two projects and three users.
fn lab() -> Accounts {
    let admin = admin();
    let client = operator();
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let role = text(&client.get("identity", "/roles?name=member")["roles"][0]["id"]);
    let project = |name: &str| {
        let body = json!({"project": {"name": format!("{name}-{}", &unique[..8]), "domain_id": "default"}});
        let made = client.call("POST", "identity", "/projects", body);
        let id = text(&made["project"]["id"]);
        for (service, limits) in [
            ("compute", json!({"instances": 300, "cores": 600, "ram": 2_000_000})),
            ("block-storage", json!({"volumes": 400, "gigabytes": 2000})),
            ("network", json!({"security_group": 400, "security_group_rule": 2000, "port": 500})),
        ] {
            set_quota(&client, &id, service, &limits);
        }
        (id, text(&made["project"]["name"]))
    };
    let (one, two) = (project("acceptance"), project("acceptance-other"));
    let account = |user: &str, (id, project): &(String, String)| {
        let name = format!("{user}-{}", &unique[..8]);
        let body = json!({"user": {"name": name, "password": unique, "domain_id": "default"}});
        let made = client.call("POST", "identity", "/users", body);
        let path = format!("/projects/{id}/users/{}/roles/{role}", text(&made["user"]["id"]));
        client.call("PUT", "identity", &path, Json::Null);
        Account { user: name, password: unique.clone(), project: project.clone(), ..admin.clone() }
    };
    Accounts { demo: account("demo", &one), mate: account("mate", &one), other: account("other", &two) }
}

fn set_quota(client: &Client, project: &str, service: &str, limits: &Json) {
    let (path, key) = match service {
        "network" => ("/v2.0/quotas", "quota"),
        _ => ("/os-quota-sets", "quota_set"),
    };
    client.call("PUT", service, &format!("{path}/{project}"), json!({ key: limits }));
}
