//! What became of the intents that an interrupted apply left open: the entries that close them.
//!
//! Pure. An intent is closed by taking the object it made, or by recording that it never came to be. A service may
//! still be at work on a request whose sender is gone, so an intent younger than the settling time for which nothing is found
//! is not closed yet: the caller looks again. A service in the sender's own process has nothing under way without it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::made::made_by;
use crate::kinds;
use crate::model::{Address, RemoteId, SiteAlias};
use crate::observe::Observed;
use crate::state::{Entry, Intent, Loaded, Operation};

/// How long a service may take over a create whose sender is gone. Blazar answers a lease after 2 to 24 s (measured
/// on 2025.1); other services answer within a few seconds.
fn settling(kind: &str) -> SignedDuration {
    SignedDuration::from_secs(if kind == "lease" { 45 } else { 6 })
}

/// What is known of the open intents.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolution {
    /// Entries that close intents.
    pub entries: Vec<Entry>,
    /// What was found, in words.
    pub notices: Vec<String>,
    /// Until when the clouds must be looked at again, for what may still appear.
    pub look_again_at: Option<Timestamp>,
    /// Intents that several objects could belong to, with those.
    pub ambiguous: Vec<(Address, Vec<RemoteId>)>,
}

/// Closes what can be closed. In the sites that are `at_rest`, no request outlives its sender.
#[must_use]
pub fn resolve(loaded: &Loaded, observed: &Observed, at_rest: &BTreeSet<SiteAlias>, now: Timestamp) -> Resolution {
    let mut resolution = Resolution::default();
    for (address, intent) in &loaded.open {
        if !observed.sites.contains_key(&intent.resource.site) {
            continue;
        }
        match intent.operation {
            Operation::Create => {
                let left = match at_rest.contains(&intent.resource.site) {
                    true => SignedDuration::ZERO,
                    false => settling(&intent.resource.kind) - now.duration_since(intent.at),
                };
                resolve_create(&mut resolution, intent, (loaded, observed), (now, left));
            }
            // What is live says how far an update or a deletion got; the plan compares with that.
            Operation::Update | Operation::Delete => {
                resolution.entries.push(Entry::Refused { address: address.clone() });
            }
        }
    }
    resolution
}

fn resolve_create(
    resolution: &mut Resolution,
    intent: &Intent,
    (loaded, observed): (&Loaded, &Observed),
    (now, left): (Timestamp, SignedDuration),
) {
    let record = &intent.resource;
    let (Some(kind), Some(view)) = (kinds::by_name(&record.kind), observed.sites.get(&record.site)) else { return };
    let taken = |id: &RemoteId| {
        loaded
            .state
            .resources
            .values()
            .any(|other| other.kind == record.kind && other.site == record.site && other.id == *id)
    };
    let user = view.identity.user_id.as_str();
    let found: Vec<_> = observed
        .objects(&record.site, &record.kind)
        .filter(|seen| made_by(kind, record, &intent.seen_before, user, seen) && !taken(&seen.id))
        .map(|seen| seen.id.clone())
        .collect();
    let address = intent.address.clone();
    match found.as_slice() {
        [id] => {
            resolution.notices.push(format!("{address}: the interrupted apply had made {id}; it is taken"));
            resolution.entries.push(Entry::Accepted { address, id: id.clone() });
        }
        [] => {
            if left.is_positive() {
                let settled = now.saturating_add(left).unwrap_or(now);
                resolution.look_again_at = Some(resolution.look_again_at.map_or(settled, |other| other.max(settled)));
            } else {
                resolution.entries.push(Entry::Refused { address });
            }
        }
        _ => resolution.ambiguous.push((address, found)),
    }
}
