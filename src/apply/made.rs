//! Finding what a create made when its answer was lost, or its process: by the stamp, or by looks where there is none.

use crate::cloud::{CloudError, Session};
use crate::kinds::kind::Seen;
use crate::kinds::{CloudKind, Kind};
use crate::model::{Fields, RemoteId};
use crate::state::ResourceState;

/// Objects without a stamp that look like the one about to be made, so that it can be told from them later.
///
/// # Errors
/// When they cannot be listed.
pub async fn alike(
    kind: &'static dyn CloudKind,
    session: &Session,
    fields: &Fields,
) -> Result<Vec<RemoteId>, CloudError> {
    if !kind.has_twins() {
        return Ok(Vec::new());
    }
    let all = kind.list(session).await?;
    Ok(all.into_iter().filter(|seen| kind.unstamped_match(fields, seen) == Some(true)).map(|seen| seen.id).collect())
}

/// Whether `seen` is what the create of `record` made: it carries the stamp's unique id; or, for kinds without a
/// stamp, it looks like it, is this user's, and was not there before.
#[must_use]
pub fn made_by(kind: &dyn Kind, record: &ResourceState, seen_before: &[RemoteId], user_id: &str, seen: &Seen) -> bool {
    match kind.unstamped_match(&record.applied, seen) {
        None => seen.stamp.as_ref().is_some_and(|stamp| stamp.uid == record.uid),
        Some(alike) => {
            alike && !seen_before.contains(&seen.id) && seen.user_id.as_deref().is_none_or(|owner| owner == user_id)
        }
    }
}
