//! Quotas: one document a project, with what was changed; the rest is the default.

use serde_json::json;

use super::tables::{Fields, State, Table};
use super::wire::Cx;
use crate::model::Json;

/// A service's quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotas {
    /// Nova's.
    Compute,
    /// Neutron's.
    Network,
    /// Cinder's.
    Volume,
}

impl Quotas {
    fn key(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }

    /// The defaults, in the order the service shows them; -1 is no limit.
    #[must_use]
    pub fn defaults(self) -> &'static [(&'static str, i64)] {
        match self {
            Self::Compute => &[
                ("cores", 200),
                ("fixed_ips", -1),
                ("floating_ips", -1),
                ("injected_file_content_bytes", 10240),
                ("injected_file_path_bytes", 255),
                ("injected_files", 5),
                ("instances", 50),
                ("key_pairs", 100),
                ("metadata_items", 128),
                ("ram", 512_000),
                ("security_group_rules", -1),
                ("security_groups", -1),
                ("server_group_members", 10),
                ("server_groups", 10),
            ],
            Self::Network => &[
                ("network", 100),
                ("subnet", 100),
                ("subnetpool", -1),
                ("port", 10_000),
                ("router", 10),
                ("floatingip", 50),
                ("rbac_policy", 10),
                ("security_group", 10_000),
                ("security_group_rule", 10_000),
            ],
            Self::Volume => &[
                ("volumes", 10_000),
                ("per_volume_gigabytes", -1),
                ("snapshots", 10),
                ("gigabytes", 20_000),
                ("backups", 10),
                ("backup_gigabytes", 1000),
                ("groups", 10),
            ],
        }
    }
}

/// A project's limit; -1 is none.
#[must_use]
pub fn limit(state: &State, project: &str, quotas: Quotas, name: &str) -> i64 {
    let changed = state.get(Table::Quotas, project).and_then(|doc| doc.get(quotas.key())?.get(name)?.as_i64());
    let default = quotas.defaults().iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    changed.or(default).unwrap_or(-1)
}

/// How much of it the project uses.
#[must_use]
pub fn used(state: &State, project: &str, quotas: Quotas, name: &str) -> i64 {
    let count = |table| state.count(table, "project_id", project);
    match (quotas, name) {
        (Quotas::Compute, "instances") => count(Table::Servers),
        (Quotas::Compute, "cores") => state.sum(Table::Servers, "_vcpus", project),
        (Quotas::Compute, "ram") => state.sum(Table::Servers, "_ram", project),
        (Quotas::Network, "network") => count(Table::Networks),
        (Quotas::Network, "subnet") => count(Table::Subnets),
        (Quotas::Network, "port") => count(Table::Ports),
        (Quotas::Network, "router") => count(Table::Routers),
        (Quotas::Network, "floatingip") => count(Table::FloatingIps),
        (Quotas::Network, "security_group") => count(Table::Groups),
        (Quotas::Network, "security_group_rule") => count(Table::Rules),
        (Quotas::Volume, "volumes") => count(Table::Volumes),
        (Quotas::Volume, "gigabytes") => state.sum(Table::Volumes, "size", project),
        _ => 0,
    }
}

/// The limit and the use, if `more` of it would go over the limit.
#[must_use]
pub fn exceeded(cx: &Cx<'_>, quotas: Quotas, name: &str, more: i64) -> Option<(i64, i64)> {
    let limit = limit(cx.state, &cx.who.project_id, quotas, name);
    let used = used(cx.state, &cx.who.project_id, quotas, name);
    (limit >= 0 && used + more > limit).then_some((limit, used))
}

/// All limits: `{"instances": 50, …}`.
#[must_use]
pub fn limits(state: &State, project: &str, quotas: Quotas) -> Json {
    let pairs =
        quotas.defaults().iter().map(|(name, _)| ((*name).to_owned(), limit(state, project, quotas, name).into()));
    Json::Object(pairs.collect())
}

/// All limits with their use: `{"instances": {"limit": 50, "in_use": 1, "reserved": 0}, …}`; `used_key` is what the
/// service calls the use.
#[must_use]
pub fn usage(state: &State, project: &str, quotas: Quotas, used_key: &str) -> Json {
    let pairs = quotas.defaults().iter().map(|(name, _)| {
        let limit = limit(state, project, quotas, name);
        let used = used(state, project, quotas, name);
        ((*name).to_owned(), json!({"limit": limit, used_key: used, "reserved": 0}))
    });
    Json::Object(pairs.collect())
}

/// Changes limits; names that the service does not know are left out.
pub fn change(state: &mut State, project: &str, quotas: Quotas, wanted: &Json) {
    let mut doc = state.get(Table::Quotas, project).cloned().unwrap_or_else(|| json!({}));
    let mut own = doc.get(quotas.key()).cloned().unwrap_or_else(|| json!({}));
    for (name, _) in quotas.defaults() {
        if let Some(value) = wanted.get(*name).and_then(Json::as_i64) {
            own.set(name, value);
        }
    }
    doc.set(quotas.key(), own);
    state.put(Table::Quotas, project, doc);
}
