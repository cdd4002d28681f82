//! The cloud's objects in memory: one table per kind, each document in (nearly) the shape its API shows.
//!
//! In: documents put, edited and removed by the services and by the log. Out: documents by id, by index, in the order
//! they were made; counts and sums per project; what is due next; and which documents a request changed.
//!
//! Invariants:
//! - Every look-up that a request makes per object (by id, by index, a quota's usage, what is due) costs the same however
//!   many objects there are; only a list costs as much as it shows.
//! - A field that begins with `_` is the cloud's own and is never shown.
//! - `_due` (milliseconds of the cloud's clock) is when the document changes by itself; it is on the agenda exactly while
//!   the field is there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use crate::model::Json;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The clock's offset.
    Clock,
    /// Keystone: tokens, by the hash of the token.
    Tokens,
    /// Keystone: application credentials.
    Credentials,
    /// Keystone: EC2 credentials, by access key.
    Ec2,
    /// Every project's changed quotas.
    Quotas,
    /// Nova: servers.
    Servers,
    /// Nova: keypairs, by user and name.
    Keypairs,
    /// Nova: flavors that leases made.
    Flavors,
    /// Cinder: volumes.
    Volumes,
    /// Neutron: networks.
    Networks,
    /// Neutron: subnets.
    Subnets,
    /// Neutron: ports.
    Ports,
    /// Neutron: addresses in use, by subnet and address.
    Addresses,
    /// Neutron: security groups.
    Groups,
    /// Neutron: the rules of security groups.
    Rules,
    /// Neutron: routers.
    Routers,
    /// Neutron: floating IPs.
    FloatingIps,
    /// Blazar: leases.
    Leases,
    /// Object store: the metadata of accounts, by project.
    Accounts,
    /// Object store: buckets, by name.
    Buckets,
    /// Object store: objects with their versions, by bucket and key.
    Objects,
    /// Object store: multipart uploads under way.
    Uploads,
    /// Object store: their parts, by upload and number.
    Parts,
}

impl Table {
    const ALL: [Self; 23] = [
        Self::Clock,
        Self::Tokens,
        Self::Credentials,
        Self::Ec2,
        Self::Quotas,
        Self::Servers,
        Self::Keypairs,
        Self::Flavors,
        Self::Volumes,
        Self::Networks,
        Self::Subnets,
        Self::Ports,
        Self::Addresses,
        Self::Groups,
        Self::Rules,
        Self::Routers,
        Self::FloatingIps,
        Self::Leases,
        Self::Accounts,
        Self::Buckets,
        Self::Objects,
        Self::Uploads,
        Self::Parts,
    ];

    /// The name in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Tokens => "tokens",
            Self::Credentials => "credentials",
            Self::Ec2 => "ec2_credentials",
            Self::Quotas => "quotas",
            Self::Servers => "servers",
            Self::Keypairs => "keypairs",
            Self::Flavors => "flavors",
            Self::Volumes => "volumes",
            Self::Networks => "networks",
            Self::Subnets => "subnets",
            Self::Ports => "ports",
            Self::Addresses => "addresses",
            Self::Groups => "security_groups",
            Self::Rules => "security_group_rules",
            Self::Routers => "routers",
            Self::FloatingIps => "floatingips",
            Self::Leases => "leases",
            Self::Accounts => "accounts",
            Self::Buckets => "buckets",
            Self::Objects => "objects",
            Self::Uploads => "uploads",
            Self::Parts => "parts",
        }
    }

    /// The table of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The text fields that documents are found by.
    fn indexes(self) -> &'static [&'static str] {
        match self {
            Self::Servers => &["project_id", "_flavor"],
            Self::Ports => &["project_id", "device_id", "device_owner", "network_id"],
            Self::Rules => &["project_id", "security_group_id"],
            Self::FloatingIps => &["project_id", "port_id", "floating_ip_address"],
            Self::Subnets => &["project_id", "network_id"],
            Self::Groups => &["project_id", "name"],
            Self::Keypairs => &["user_id"],
            Self::Credentials | Self::Ec2 => &["user_id"],
            Self::Objects => &["bucket", "_shown"],
            Self::Uploads => &["bucket"],
            Self::Volumes | Self::Networks | Self::Routers | Self::Leases | Self::Flavors | Self::Buckets => {
                &["project_id"]
            }
            Self::Clock | Self::Tokens | Self::Quotas | Self::Addresses | Self::Accounts | Self::Parts => &[],
        }
    }

    /// The field whose values the sums are kept by.
    fn group(self) -> &'static str {
        if self == Self::Objects { "bucket" } else { "project_id" }
    }

    /// Whether documents can be walked through in the order of their ids.
    fn is_sorted(self) -> bool {
        matches!(self, Self::Buckets | Self::Objects | Self::Uploads | Self::Parts)
    }

    /// The numeric fields whose sums are kept per project, or whatever else groups the table's documents.
    fn weights(self) -> &'static [&'static str] {
        match self {
            Self::Objects => &["_bytes"],
            Self::Volumes => &["size"],
            Self::Servers => &["_vcpus", "_ram"],
            _ => &[],
        }
    }
}

/// Short ways to read and write a document's fields. A missing field reads as empty.
pub trait Fields {
    /// A text, or `""`.
    fn text(&self, key: &str) -> &str;
    /// A number, or 0.
    fn int(&self, key: &str) -> i64;
    /// A Boolean, or false.
    fn flag(&self, key: &str) -> bool;
    /// A list, or an empty one.
    fn list(&self, key: &str) -> &[Json];
    /// Whether the field is there and not null.
    fn has(&self, key: &str) -> bool;
    /// Writes a field.
    fn set(&mut self, key: &str, value: impl Into<Json>);
    /// Removes a field.
    fn unset(&mut self, key: &str);
    /// Appends to a list, which is made if it is not there.
    fn push(&mut self, key: &str, value: Json);
    /// Keeps of a list what the test says.
    fn retain(&mut self, key: &str, keep: impl Fn(&Json) -> bool);
}

impl Fields for Json {
    fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Json::as_str).unwrap_or_default()
    }

    fn int(&self, key: &str) -> i64 {
        self.get(key).and_then(Json::as_i64).unwrap_or_default()
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Json::as_bool).unwrap_or_default()
    }

    fn list(&self, key: &str) -> &[Json] {
        self.get(key).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !value.is_null())
    }

    fn set(&mut self, key: &str, value: impl Into<Json>) {
        if let Some(map) = self.as_object_mut() {
            map.insert(key.to_owned(), value.into());
        }
    }

    fn unset(&mut self, key: &str) {
        if let Some(map) = self.as_object_mut() {
            map.remove(key);
        }
    }

    fn push(&mut self, key: &str, value: Json) {
        match self.get_mut(key).and_then(Json::as_array_mut) {
            Some(list) => list.push(value),
            None => self.set(key, vec![value]),
        }
    }

    fn retain(&mut self, key: &str, keep: impl Fn(&Json) -> bool) {
        if let Some(list) = self.get_mut(key).and_then(Json::as_array_mut) {
            list.retain(keep);
        }
    }
}

struct Row {
    seq: u64,
    doc: Json,
    /// From the catalogue and never changed: not written to the log.
    seeded: bool,
}

#[derive(Default)]
struct Rows {
    by_id: HashMap<String, Row>,
    order: BTreeMap<u64, String>,
    /// The ids, in a table that can be walked through by them.
    sorted: BTreeSet<String>,
    index: HashMap<(&'static str, String), BTreeSet<u64>>,
    sums: HashMap<(&'static str, String), i64>,
}

impl Rows {
    fn account(&mut self, table: Table, row_seq: u64, doc: &Json, add: bool) {
        for field in table.indexes() {
            let Some(value) = doc.get(field).and_then(Json::as_str) else { continue };
            let key = (*field, value.to_owned());
            if add {
                self.index.entry(key).or_default().insert(row_seq);
            } else if let Some(set) = self.index.get_mut(&key) {
                set.remove(&row_seq);
                if set.is_empty() {
                    self.index.remove(&key);
                }
            }
        }
        for field in table.weights() {
            let weight = doc.int(field) * if add { 1 } else { -1 };
            *self.sums.entry((*field, doc.text(table.group()).to_owned())).or_default() += weight;
        }
    }
}

/// A document put, or removed (`None`).
pub type Change = (Table, String, Option<Json>);

/// All tables, and what the request at hand changed in them.
#[derive(Default)]
pub struct State {
    tables: HashMap<Table, Rows>,
    agenda: BTreeSet<(i64, u64, Table, String)>,
    changed: Vec<(Table, String)>,
    next_seq: u64,
    seeding: bool,
}

impl State {
    /// Makes the catalogue's objects, which are not written to the log while nobody changes them.
    pub fn seed(&mut self, seeds: impl FnOnce(&mut Self)) {
        self.seeding = true;
        seeds(self);
        self.seeding = false;
        self.changed.clear();
    }

    /// The document of that id.
    #[must_use]
    pub fn get(&self, table: Table, id: &str) -> Option<&Json> {
        Some(&self.tables.get(&table)?.by_id.get(id)?.doc)
    }

    /// Puts a document, new or changed. A changed one keeps its place in the order.
    pub fn put(&mut self, table: Table, id: &str, doc: Json) {
        let seeded = self.seeding;
        let rows = self.tables.entry(table).or_default();
        let seq = match rows.by_id.remove(id) {
            Some(old) => {
                rows.account(table, old.seq, &old.doc, false);
                if let Some(due) = old.doc.get("_due").and_then(Json::as_i64) {
                    self.agenda.remove(&(due, old.seq, table, id.to_owned()));
                }
                old.seq
            }
            None => {
                self.next_seq += 1;
                rows.order.insert(self.next_seq, id.to_owned());
                if table.is_sorted() {
                    rows.sorted.insert(id.to_owned());
                }
                self.next_seq
            }
        };
        rows.account(table, seq, &doc, true);
        if let Some(due) = doc.get("_due").and_then(Json::as_i64) {
            self.agenda.insert((due, seq, table, id.to_owned()));
        }
        rows.by_id.insert(id.to_owned(), Row { seq, doc, seeded });
        self.changed.push((table, id.to_owned()));
    }

    /// Changes a document; false if there is none.
    pub fn edit(&mut self, table: Table, id: &str, change: impl FnOnce(&mut Json)) -> bool {
        let Some(mut doc) = self.get(table, id).cloned() else { return false };
        change(&mut doc);
        self.put(table, id, doc);
        true
    }

    /// Removes a document and gives it back.
    pub fn remove(&mut self, table: Table, id: &str) -> Option<Json> {
        let rows = self.tables.get_mut(&table)?;
        let row = rows.by_id.remove(id)?;
        rows.order.remove(&row.seq);
        rows.sorted.remove(id);
        rows.account(table, row.seq, &row.doc, false);
        if let Some(due) = row.doc.get("_due").and_then(Json::as_i64) {
            self.agenda.remove(&(due, row.seq, table, id.to_owned()));
        }
        self.changed.push((table, id.to_owned()));
        Some(row.doc)
    }

    /// All documents, in the order they were made.
    pub fn all(&self, table: Table) -> impl DoubleEndedIterator<Item = &Json> {
        self.tables
            .get(&table)
            .into_iter()
            .flat_map(|rows| rows.order.values().filter_map(|id| rows.by_id.get(id).map(|row| &row.doc)))
    }

    /// The documents whose indexed `field` is `value`, in the order they were made.
    pub fn find<'a>(
        &'a self,
        table: Table,
        field: &'static str,
        value: &str,
    ) -> impl DoubleEndedIterator<Item = &'a Json> + use<'a> {
        debug_assert!(table.indexes().contains(&field), "{field} of {} is not indexed", table.name());
        let rows = self.tables.get(&table);
        let hits = rows.and_then(|rows| rows.index.get(&(field, value.to_owned())));
        hits.into_iter().flatten().filter_map(move |seq| {
            let rows = rows?;
            rows.by_id.get(rows.order.get(seq)?).map(|row| &row.doc)
        })
    }

    /// The documents whose id is `start` or comes after it, in the order of their ids.
    pub fn walk<'a>(&'a self, table: Table, start: &str) -> impl Iterator<Item = (&'a str, &'a Json)> + use<'a> {
        debug_assert!(table.is_sorted(), "{} is not sorted", table.name());
        let rows = self.tables.get(&table);
        let from = (Bound::Included(start), Bound::Unbounded);
        let ids = rows.map(|rows| rows.sorted.range::<str, _>(from));
        ids.into_iter().flatten().filter_map(move |id| Some((id.as_str(), &rows?.by_id.get(id)?.doc)))
    }

    /// How many documents have that value in that indexed field.
    #[must_use]
    pub fn count(&self, table: Table, field: &'static str, value: &str) -> i64 {
        let found = self.tables.get(&table).and_then(|rows| rows.index.get(&(field, value.to_owned())));
        found.map_or(0, |set| i64::try_from(set.len()).unwrap_or(i64::MAX))
    }

    /// The sum of a weighed field over the documents of a project, or of whatever else groups them.
    #[must_use]
    pub fn sum(&self, table: Table, field: &'static str, group: &str) -> i64 {
        let found = self.tables.get(&table).and_then(|rows| rows.sums.get(&(field, group.to_owned())));
        found.copied().unwrap_or_default()
    }

    /// The next document that is due at `now`, with the moment it was due; its `_due` is taken off.
    pub fn take_due(&mut self, now: i64) -> Option<(i64, Table, String)> {
        let (due, seq, table, id) = self.agenda.first()?.clone();
        if due > now {
            return None;
        }
        self.agenda.remove(&(due, seq, table, id.clone()));
        self.edit(table, &id, |doc| doc.unset("_due"));
        Some((due, table, id))
    }

    /// What changed since the last call, each document once, in the order they first changed.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut seen = std::collections::HashSet::new();
        let keys: Vec<_> = self.changed.drain(..).filter(|key| seen.insert(key.clone())).collect();
        keys.into_iter()
            .map(|(table, id)| {
                let doc = self.get(table, &id).cloned();
                (table, id, doc)
            })
            .collect()
    }

    /// Takes in a change read from the log.
    pub fn replay(&mut self, change: Change) {
        match change {
            (table, id, Some(doc)) => self.put(table, &id, doc),
            (table, id, None) => {
                self.remove(table, &id);
            }
        }
    }

    /// Forgets what changed: it is in the log already.
    pub fn settled(&mut self) {
        self.changed.clear();
    }

    /// Every document that the catalogue does not make by itself, for a compacted log.
    pub fn snapshot(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for table in Table::ALL {
            let Some(rows) = self.tables.get(&table) else { continue };
            for id in rows.order.values() {
                if let Some(row) = rows.by_id.get(id).filter(|row| !row.seeded) {
                    changes.push((table, id.clone(), Some(row.doc.clone())));
                }
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn indexes_sums_and_the_agenda_follow_every_change() {
        let mut state = State::default();
        for n in 0..3 {
            state.put(Table::Volumes, &format!("v{n}"), json!({"project_id": "p", "size": 10, "_due": 100 + n}));
        }
        state.edit(Table::Volumes, "v1", |doc| doc.set("size", 25));
        state.remove(Table::Volumes, "v0");
        assert_eq!(state.sum(Table::Volumes, "size", "p"), 35);
        assert_eq!(state.count(Table::Volumes, "project_id", "p"), 2);
        assert_eq!(state.take_due(101), Some((101, Table::Volumes, "v1".to_owned())));
        assert_eq!(state.take_due(101), None);
        assert!(!state.get(Table::Volumes, "v1").is_some_and(|doc| doc.has("_due")));
        state.edit(Table::Volumes, "v2", |doc| doc.set("project_id", "q"));
        assert_eq!(state.find(Table::Volumes, "project_id", "p").count(), 1);
    }
}
