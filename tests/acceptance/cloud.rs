//! A test's world: a folder for the commands, a project on a cloud, and a client that is not anole.

use std::ops::Deref;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::client::{Account, Client};
use super::ground::{self, Accounts, Ground, Served};
use crate::environment::TestEnvironment;

/// How long the slowest thing on a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// A folder and a project. It is its user's client of the cloud, and nothing is left of it when it is dropped.
pub struct TestCloud {
    pub env: TestEnvironment,
    ground: Ground,
    accounts: Accounts,
    clouds: Json,
    demo: Client,
}

impl Deref for TestCloud {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.demo
    }
}

impl TestCloud {
    /// A project with nothing in it, and `spec.yaml`, whose site `kvm` it becomes. Its clouds.yaml has `test`, `mate` (a
    /// second user of the same project) and `other` (a user of another one).
    pub fn with(spec: &str) -> Self {
        let mut env = TestEnvironment::new();
        env.set("ANOLE_EMBEDDED", "0");
        env.set("OS_CLIENT_CONFIG_FILE", "clouds.yaml");
        let (ground, accounts) = Ground::new(&env);
        let demo = Client::sign_in(&accounts.demo);
        let mut cloud = Self { env, ground, accounts, clouds: json!({}), demo };
        for (name, account) in
            [("test", &cloud.accounts.demo), ("mate", &cloud.accounts.mate), ("other", &cloud.accounts.other)]
        {
            cloud.clouds[name] = account.entry();
        }
        cloud.write_clouds();
        cloud.write_spec(spec);
        cloud
    }

    /// A site with an object store, as `chi` in clouds.yaml, and its user's client there. It is there as long as the first
    /// of the two.
    pub fn object_store(&mut self) -> (Option<Served>, Client) {
        let (served, account) = ground::object_store(&self.env, &self.ground, &self.accounts.demo);
        self.set_cloud("chi", account.entry());
        (served, Client::sign_in(&account))
    }

    /// Adds an entry to clouds.yaml, or puts another in its place.
    pub fn set_cloud(&mut self, name: &str, entry: Json) {
        self.clouds[name] = entry;
        self.write_clouds();
    }

    /// An entry of clouds.yaml.
    pub fn entry(&self, name: &str) -> Json {
        self.clouds[name].clone()
    }

    fn write_clouds(&self) {
        self.env.write("clouds.yaml", &json!({"clouds": self.clouds}).to_string());
    }

    /// Writes `spec.yaml`: the blocks given, with a stack's head where they have none.
    pub fn write_spec(&self, blocks: &str) {
        let head = if blocks.contains("stack:") { "" } else { "stack: acceptance\nsites: { kvm: { cloud: test } }\n" };
        self.env.write("spec.yaml", &format!("{head}{blocks}"));
        self.env.write("key.pub", KEY);
    }

    /// How the project's user signs in.
    pub fn account(&self) -> &Account {
        &self.accounts.demo
    }

    /// A client with a token of its own.
    pub fn fresh(&self) -> Client {
        Client::sign_in(&self.accounts.demo)
    }

    /// The client of the other project's user.
    pub fn other(&self) -> Client {
        Client::sign_in(&self.accounts.other)
    }

    /// Applies `spec.yaml`, after which there must be nothing to do.
    #[track_caller]
    pub fn converge(&self) -> crate::environment::Ran {
        let ran = self.env.apply("spec.yaml");
        self.env.has_no_changes("spec.yaml");
        ran
    }

    /// The project's one object of a kind.
    #[track_caller]
    pub fn only(&self, kind: &str) -> Json {
        let all = self.all(kind);
        assert_eq!(all.len(), 1, "{kind}: {all:?}");
        all.into_iter().next().unwrap_or_default()
    }

    /// The id that anole has for a resource of `spec.yaml`.
    #[track_caller]
    pub fn id(&self, address: &str) -> String {
        self.env.id("spec.yaml", address)
    }

    /// The ids that anole has for resources of `spec.yaml`.
    pub fn ids<const N: usize>(&self, addresses: [&str; N]) -> [String; N] {
        addresses.map(|address| self.id(address))
    }

    /// Writes other blocks and applies them: these resources must be the objects that they were.
    #[track_caller]
    pub fn converges_keeping<const N: usize>(&self, addresses: [&str; N], blocks: &str) -> crate::environment::Ran {
        let before = self.ids(addresses);
        self.write_spec(blocks);
        let ran = self.converge();
        assert_eq!(self.ids(addresses), before);
        ran
    }

    /// The address leads to the server's port, and the volume is at the server.
    #[track_caller]
    pub fn serves(&self, server: &str, port: &str) {
        let (server, port) = (self.id(server), self.id(port));
        assert_eq!(self.only("floating_ip")["port_id"], port);
        assert_eq!(self.one("port", &port)["device_id"], server);
        assert_eq!(self.only("volume")["attachments"][0]["server_id"], server);
    }

    /// The object that anole has for a resource of `spec.yaml`, as its service shows it.
    #[track_caller]
    pub fn object(&self, kind: &str, address: &str) -> Json {
        self.one(kind, &self.id(address))
    }

    /// Destroys the stack, after which the project must be empty.
    #[track_caller]
    pub fn destroy_all(&self) {
        self.env.anole("destroy spec.yaml --yes --include-protected").exits(0);
        assert_eq!(self.census(), "");
    }

    /// The id of an object of the site: an image, a flavor or a network.
    #[track_caller]
    pub fn site_id(&self, kind: &str, name: &str) -> String {
        let (service, path) = match kind {
            "image" => ("image", "/v2/images"),
            "flavor" => ("compute", "/flavors"),
            _ => ("network", "/v2.0/networks"),
        };
        let all = self.get(service, path)[format!("{kind}s")].as_array().cloned().unwrap_or_default();
        super::client::text(&all.iter().find(|item| item["name"] == name).expect(name)["id"])
    }

    /// A new foreign volume, once it can be used.
    pub fn foreign_volume(&self, name: &str, size: u32) -> String {
        let id = self.make("volume", json!({"name": name, "size": size}));
        self.eventually("a volume", || self.one("volume", &id)["status"] == "available");
        id
    }

    /// A new foreign server, once it runs; `more` is added to the request.
    pub fn foreign_server(&self, name: &str, more: &Json) -> String {
        let mut server = json!({
            "name": name, "flavorRef": self.site_id("flavor", "m1.tiny"),
            "imageRef": self.site_id("image", "CC-Ubuntu24.04"),
            "networks": [{"uuid": self.site_id("network", "sharednet1")}],
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            server[key] = value.clone();
        }
        let id = self.make("server", server);
        self.eventually("a server", || self.one("server", &id)["status"] == "ACTIVE");
        id
    }

    /// Sets limits of the project: of `compute`, `block-storage` or `network`, as its quota API calls them.
    pub fn set_quota(&self, service: &str, limits: &Json) {
        self.ground.set_quota(&self.demo, service, limits);
    }

    /// Lets so much time pass on the cloud.
    pub fn let_pass(&self, seconds: i64) {
        self.ground.let_pass(seconds);
    }

    /// Has every token expire that was given out until now.
    pub fn expire_tokens(&self) {
        self.ground.expire_tokens();
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "{what} does not come");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for TestCloud {
    fn drop(&mut self) {
        if !matches!(self.ground, Ground::Lab) {
            return;
        }
        let accounts = &self.accounts;
        // A token that the services know already is worth seconds; but a test may have had it expire.
        match self.ask("GET", "network", "/v2.0/routers", &Json::Null).status {
            200 => self.purge(),
            _ => Client::sign_in(&accounts.demo).purge(),
        }
        // Nobody makes anything in another name without a state that says so.
        let mut states = self.env.files();
        states.retain(|path| !path.ends_with("clouds.yaml"));
        let states: String = states.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        for (account, name) in [(&accounts.mate, &accounts.mate.user), (&accounts.other, &accounts.other.project)] {
            if states.contains(name) {
                Client::sign_in(account).purge();
            }
        }
    }
}

/// A public key, of which there is no private one.
const KEY: &str = include_str!("../../specs/example.pub");
