//! What `state list`, `show`, `mv` and `rm` do, as pure functions from a state to journal entries.
//!
//! Invariants: no object in a cloud is touched; a record that an interrupted apply left open is not touched either,
//! because only an apply finds out what came of it; parts go with their owner.

use std::collections::BTreeMap;

use super::{Entry, Error, Loaded, ResourceState, State};
use crate::model::{Address, RemoteId, SiteAlias};

/// How alike two addresses must be for one to be offered instead of the other, between 0 and 1.
const LIKENESS: f32 = 0.75;

/// What [`rm`] does.
#[derive(Debug, Clone, PartialEq)]
pub struct Removal {
    /// To be appended to the journal.
    pub entries: Vec<Entry>,
    /// The objects that stay alive and are no longer managed.
    pub left: Vec<Left>,
    /// Records that stay and need one of those that go.
    pub needed_by: Vec<Address>,
}

/// An object that is forgotten but not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The address it had.
    pub address: Address,
    /// Its kind.
    pub kind: String,
    /// The object.
    pub id: RemoteId,
    /// Its site.
    pub site: SiteAlias,
}

/// The records that the filters cover, or all of them without filters.
#[must_use]
pub fn list<'a>(state: &'a State, filters: &[Address]) -> Vec<(&'a Address, &'a ResourceState)> {
    let wanted = |address: &Address| filters.is_empty() || filters.iter().any(|filter| filter.covers(address));
    state.resources.iter().filter(|(address, _)| wanted(address)).collect()
}

/// One record.
///
/// # Errors
/// When the state has none at that address.
pub fn show<'a>(state: &'a State, address: &Address) -> Result<&'a ResourceState, Error> {
    state.resources.get(address).ok_or_else(|| no_such(state, address))
}

/// Moves a record, or all instances of a block, to another address; parts move along.
///
/// # Errors
/// When there is no such record, the destination is in use or of another kind, or an interrupted apply left one of
/// them open.
pub fn mv(loaded: &Loaded, from: &Address, to: &Address) -> Result<Vec<Entry>, Error> {
    if from.section != to.section || part_kind(from) != part_kind(to) {
        return Err(Error::OtherKind { from: Box::new(from.clone()), to: Box::new(to.clone()) });
    }
    // `mv x x[0]` means the one record without an instance, never several that would all become x[0].
    let single = from.instance.is_none() && to.instance.is_some();
    let moved = |old: &Address| from.covers(old) && !(single && old.instance.is_some());
    let moves: BTreeMap<&Address, Address> =
        loaded.state.resources.keys().filter(|old| moved(old)).map(|old| (old, destination(old, from, to))).collect();
    for (old, new) in &moves {
        if loaded.state.resources.contains_key(new) {
            return Err(Error::Taken { address: Box::new(new.clone()) });
        }
        refuse_open(loaded, old)?;
        refuse_open(loaded, new)?;
    }
    if moves.is_empty() {
        refuse_open(loaded, from)?;
        return Err(no_such(&loaded.state, from));
    }
    Ok(moves.into_iter().map(|(from, to)| Entry::Rename { from: from.clone(), to }).collect())
}

/// Forgets the records that the address covers. Their objects stay alive.
///
/// # Errors
/// When there is no such record, or an interrupted apply left it open.
pub fn rm(loaded: &Loaded, address: &Address) -> Result<Removal, Error> {
    if let Some(open) = loaded.open.keys().find(|open| address.covers(open)) {
        return Err(Error::Open { address: Box::new(open.clone()) });
    }
    let (gone, stay): (Vec<_>, Vec<_>) = loaded.state.resources.iter().partition(|(old, _)| address.covers(old));
    if gone.is_empty() {
        return Err(no_such(&loaded.state, address));
    }
    let needs_one = |resource: &ResourceState| resource.needs.iter().any(|need| address.covers(need));
    Ok(Removal {
        entries: gone.iter().map(|(old, _)| Entry::Remove { address: (*old).clone() }).collect(),
        left: gone
            .iter()
            .map(|(old, resource)| Left {
                address: (*old).clone(),
                kind: resource.kind.clone(),
                id: resource.id.clone(),
                site: resource.site.clone(),
            })
            .collect(),
        needed_by: stay.into_iter().filter(|(_, other)| needs_one(other)).map(|(old, _)| old.clone()).collect(),
    })
}

/// Where a record goes when what covers it moves.
fn destination(old: &Address, from: &Address, to: &Address) -> Address {
    let keep = from.instance.is_none() && to.instance.is_none();
    Address {
        section: to.section.clone(),
        name: to.name.clone(),
        instance: if keep { old.instance.clone() } else { to.instance.clone() },
        part: if from.part.is_some() { to.part.clone() } else { old.part.clone() },
    }
}

/// What a part is, without which one: `port` of `port[sharednet1]`.
fn part_kind(address: &Address) -> Option<&str> {
    address.part.as_deref().map(|part| part.split('[').next().unwrap_or(part))
}

fn refuse_open(loaded: &Loaded, address: &Address) -> Result<(), Error> {
    if loaded.open.contains_key(address) {
        return Err(Error::Open { address: Box::new(address.clone()) });
    }
    Ok(())
}

fn no_such(state: &State, address: &Address) -> Error {
    let asked = address.to_string();
    let likeness = |other: &Address| similar::TextDiff::from_chars(asked.as_str(), other.to_string().as_str()).ratio();
    let near = state
        .resources
        .keys()
        .map(|other| (likeness(other), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| Box::new(other.clone()));
    Error::NoSuchResource { address: Box::new(address.clone()), near }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{create_intent, record};

    fn at(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn loaded(addresses: &[&str]) -> Loaded {
        let mut loaded = Loaded::new(State::new("block", "0123456789abcdef".to_owned()));
        for address in addresses {
            loaded.state.resources.insert(at(address), record("server", address));
        }
        loaded
    }

    fn moved(addresses: &[&str], from: &str, to: &str) -> Result<Vec<String>, Error> {
        let mut loaded = loaded(addresses);
        mv(&loaded, &at(from), &at(to))?.into_iter().for_each(|entry| loaded.fold(entry));
        Ok(loaded.state.resources.iter().map(|(address, record)| format!("{address}={}", record.id)).collect())
    }

    #[test]
    fn parts_and_instances_move_along() {
        let got = moved(&["servers.a", "servers.a/port[x]", "servers.b"], "servers.a", "servers.c").unwrap();
        assert_eq!(got, ["servers.b=servers.b", "servers.c=servers.a", "servers.c/port[x]=servers.a/port[x]"]);
        let got = moved(&["servers.a[0]", "servers.a[k]/port[x]"], "servers.a", "servers.c").unwrap();
        assert_eq!(got, ["servers.c[0]=servers.a[0]", "servers.c[k]/port[x]=servers.a[k]/port[x]"]);
        let got = moved(&["servers.a", "servers.a/port[x]"], "servers.a", "servers.a[0]").unwrap();
        assert_eq!(got, ["servers.a[0]=servers.a", "servers.a[0]/port[x]=servers.a/port[x]"]);
        assert_eq!(moved(&["servers.a[0]"], "servers.a[0]", "servers.a").unwrap(), ["servers.a=servers.a[0]"]);
        let got = moved(&["servers.a/port[x]"], "servers.a/port[x]", "servers.a/port[y]").unwrap();
        assert_eq!(got, ["servers.a/port[y]=servers.a/port[x]"]);
    }

    #[test]
    fn a_move_is_refused_where_it_would_lose_something() {
        let all = ["servers.a", "servers.b", "servers.c[0]", "servers.c[1]"];
        assert!(matches!(moved(&all, "servers.a", "servers.b"), Err(Error::Taken { .. })));
        assert!(matches!(moved(&all, "servers.a", "servers.a"), Err(Error::Taken { .. })));
        assert!(matches!(moved(&all, "servers.a", "volumes.a"), Err(Error::OtherKind { .. })));
        assert!(matches!(moved(&all, "servers.a", "servers.d/port[x]"), Err(Error::OtherKind { .. })));
        assert!(matches!(moved(&all, "servers.c", "servers.d[0]"), Err(Error::NoSuchResource { .. })));
        let mut open = loaded(&all);
        open.open.insert(at("servers.a"), create_intent(at("servers.a")));
        assert!(matches!(mv(&open, &at("servers.a"), &at("servers.d")), Err(Error::Open { .. })));
    }

    #[test]
    fn rm_says_what_stays_alive_and_who_needs_it() {
        let mut loaded = loaded(&["servers.a", "servers.a/port[x]", "servers.b"]);
        loaded.state.resources.get_mut(&at("servers.b")).unwrap().needs = vec![at("servers.a")];
        let removal = rm(&loaded, &at("servers.a")).unwrap();
        let left: Vec<_> = removal.left.iter().map(|left| left.address.to_string()).collect();
        assert_eq!(left, ["servers.a", "servers.a/port[x]"]);
        assert_eq!(removal.needed_by, [at("servers.b")]);
        removal.entries.into_iter().for_each(|entry| loaded.fold(entry));
        assert_eq!(list(&loaded.state, &[]).len(), 1);
    }

    #[test]
    fn a_near_miss_is_offered() {
        let loaded = loaded(&["servers.node-block", "servers.x"]);
        let error = show(&loaded.state, &at("servers.node_block")).unwrap_err();
        assert_eq!(error.hint().unwrap(), "did you mean servers.node-block?");
        let error = rm(&loaded, &at("volumes.zzz")).unwrap_err();
        assert_eq!(error.hint().unwrap(), "`anole state list` shows what is");
    }
}
