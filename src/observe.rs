//! What is live: every object of the kinds in use, in a handful of list calls per site, as plain data.
//!
//! In: signed-in sites, and which kinds and names are of interest. Out: [`Observed`]. Invariants:
//! - One list per kind and site, whatever the number of resources; one look-up per distinct name; and what two of
//!   these ask for alike is asked for once.
//! - An object of the state that a list does not show is asked for by id once before it counts as gone; so is one that a
//!   list shows as failed without the reason, as Nova's does for a server that found no host. What the spec takes over is
//!   seen whole too, where a list is not: a long list of buckets does not say whose they are.
//! - An object that no list can show (a bucket of a store that is no site's) is asked for by the fields that say where it
//!   is. One that cannot be asked for is hidden, with the reason: that is not to be taken for gone.
//! - Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{try_join, try_join_all};
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use crate::cloud::{CloudError, Session};
use crate::guest::Facts;
use crate::kinds::kind::{Found, Seen};
use crate::kinds::{self, CloudKind};
use crate::model::{Address, Fields, RemoteId, SiteAlias, SiteIdentity};

/// What was seen of all sites.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// When, by the clouds' clocks.
    pub at: Timestamp,
    /// By site.
    pub sites: BTreeMap<SiteAlias, SiteView>,
    /// What looks of their own show of recorded resources, see [`crate::kinds::look`].
    pub here: BTreeMap<Address, Fields>,
    /// The recorded resources that could not be looked at so, and why.
    pub unseen: BTreeMap<Address, String>,
}

/// What was seen of one site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteView {
    /// Which project and user it is.
    pub identity: SiteIdentity,
    /// The objects, by kind, then id.
    pub objects: BTreeMap<String, BTreeMap<RemoteId, Seen>>,
    /// What names of undeclared objects may mean, by kind and name.
    pub lookups: BTreeMap<(String, String), Vec<Seen>>,
    /// Why resources that no list shows could not be asked for.
    pub hidden: BTreeMap<Address, String>,
    /// What was found inside servers, by the server's id.
    pub guests: Guests,
}

/// What was found inside the servers of a site.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guests {
    /// Whether servers of this site are ever logged in to. If not, what would be done in them is recorded only.
    pub reached: bool,
    /// The servers that were asked.
    pub seen: BTreeMap<RemoteId, Inside>,
}

/// What one server said.
#[derive(Debug, Clone, PartialEq)]
pub enum Inside {
    /// This.
    Facts(Facts),
    /// Nothing, and why.
    Silent(String),
}

/// What to look at in one site.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Interest {
    /// Kinds to list.
    pub kinds: BTreeSet<String>,
    /// Undeclared names, by kind.
    pub lookups: BTreeSet<(String, String)>,
    /// Objects of the state, by kind.
    pub recorded: BTreeSet<(String, RemoteId)>,
    /// What the spec takes over instead of making it, by kind and by name or id: it is looked at whole.
    pub claimed: BTreeSet<(String, String)>,
    /// Whether all that a list shows is looked at whole.
    pub whole: bool,
    /// Resources of kinds that no list shows, with the fields by which each is asked for.
    pub unlisted: BTreeMap<Address, (String, Fields)>,
}

/// How many objects are asked for side by side.
const SIDE_BY_SIDE: usize = 8;

/// How many objects that a list did not show are asked for by id; with more missing, the lists are believed.
const MOST_READS: usize = 32;

impl Observed {
    /// The object, if it was seen.
    #[must_use]
    pub fn object(&self, site: &SiteAlias, kind: &str, id: &RemoteId) -> Option<&Seen> {
        self.sites.get(site)?.objects.get(kind)?.get(id)
    }

    /// All objects of a kind in a site.
    pub fn objects(&self, site: &SiteAlias, kind: &str) -> impl Iterator<Item = &Seen> {
        self.sites.get(site).and_then(|view| view.objects.get(kind)).into_iter().flat_map(BTreeMap::values)
    }
}

/// Looks at one site.
///
/// # Errors
/// Whatever a service refuses: a plan made on half a picture would be wrong.
pub async fn observe_site(session: &Session, interest: &Interest) -> Result<SiteView, CloudError> {
    let session = &session.for_one_look();
    let listed = |name: &String| kinds::by_name(name)?.cloud().filter(|kind| !kind.is_unlisted());
    let lists = try_join_all(interest.kinds.iter().filter_map(listed).map(|kind| async move {
        let seen = kind.list(session).await?;
        let by_id: BTreeMap<_, _> = seen.into_iter().map(|seen| (seen.id.clone(), seen)).collect();
        Ok::<_, CloudError>((kind.schema().kind.to_owned(), by_id))
    }));
    let lookups =
        try_join_all(
            interest.lookups.iter().filter_map(|key| Some((key, kinds::by_name(&key.0)?.cloud()?))).map(
                |(key, kind)| async move { Ok::<_, CloudError>((key.clone(), kind.lookup(session, &key.1).await?)) },
            ),
        );
    let (lists, lookups) = try_join(lists, lookups).await?;
    let mut objects: BTreeMap<_, _> = lists.into_iter().collect();
    read_missing(session, interest, &mut objects).await?;
    let hidden = find_unlisted(session, interest, &mut objects).await?;
    Ok(SiteView {
        identity: session.identity().clone(),
        objects,
        lookups: lookups.into_iter().collect(),
        hidden,
        guests: Guests::default(),
    })
}

/// Asks for what no list shows, side by side; returns what could not be told, and why.
async fn find_unlisted(
    session: &Session,
    interest: &Interest,
    objects: &mut BTreeMap<String, BTreeMap<RemoteId, Seen>>,
) -> Result<BTreeMap<Address, String>, CloudError> {
    let asked = interest.unlisted.iter().filter_map(|(address, (name, fields))| {
        let kind = kinds::by_name(name)?.cloud()?;
        Some(async move { Ok::<_, CloudError>((address, name, kind.find(session, fields).await?)) })
    });
    let mut hidden = BTreeMap::new();
    for (address, kind, found) in try_join_all(asked).await? {
        match found {
            Found::Here(seen) => drop(objects.entry(kind.clone()).or_default().insert(seen.id.clone(), *seen)),
            Found::Nowhere => {}
            Found::Hidden(why) => drop(hidden.insert(address.clone(), why)),
        }
    }
    Ok(hidden)
}

/// Asks by id for recorded objects that no list showed, or not whole: an adopted object may belong to another project.
async fn read_missing(
    session: &Session,
    interest: &Interest,
    objects: &mut BTreeMap<String, BTreeMap<RemoteId, Seen>>,
) -> Result<(), CloudError> {
    let unread = half_seen(interest, objects);
    let missing: Vec<_> = interest
        .recorded
        .iter()
        .filter_map(|(name, id)| Some((name, id, kinds::by_name(name)?.cloud()?)))
        .filter(|(_, _, kind)| !kind.is_unlisted())
        .filter(|(name, id, kind)| match objects.get(*name).and_then(|listed| listed.get(id)) {
            None => true,
            Some(seen) => kind.is_unexplained(seen),
        })
        .take(MOST_READS)
        .map(|(name, id, kind)| (name.clone(), id.clone(), kind))
        .filter(|(name, id, _)| unread.iter().all(|(other, unread, _)| (other, unread) != (name, id)))
        .collect();
    let reads = missing.into_iter().chain(unread.clone()).map(|(name, id, kind)| async move {
        Ok::<_, CloudError>(kind.read(session, &id).await?.map(|seen| (name, seen)))
    });
    let reads = futures_util::stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(SIDE_BY_SIDE);
    for (kind, seen) in reads.try_collect::<Vec<_>>().await?.into_iter().flatten() {
        objects.entry(kind).or_default().insert(seen.id.clone(), seen);
    }
    Ok(())
}

/// What a list shows, though not whole, and is to be seen whole: whose it is stands in what is missing.
fn half_seen(
    interest: &Interest,
    objects: &BTreeMap<String, BTreeMap<RemoteId, Seen>>,
) -> Vec<(String, RemoteId, &'static dyn CloudKind)> {
    let mut unread = Vec::new();
    for (name, listed) in objects {
        let Some(kind) = kinds::by_name(name).and_then(kinds::Kind::cloud).filter(|kind| !kind.is_unlisted()) else {
            continue;
        };
        let is_meant = |seen: &&Seen| {
            let is_claimed = |text: &str| interest.claimed.contains(&(name.clone(), text.to_owned()));
            interest.whole || is_claimed(&seen.name) || is_claimed(&seen.id.0)
        };
        let half = listed.values().filter(is_meant).filter(|seen| kind.is_unexplained(seen));
        unread.extend(half.map(|seen| (name.clone(), seen.id.clone(), kind)));
    }
    unread
}
