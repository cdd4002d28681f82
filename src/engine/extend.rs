//! `lease extend`: moves a lease's end without a plan.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Error, Settings, load, look};
use crate::kinds::{self, lease};
use crate::model::{Address, Value};

/// Prolongs a lease by `more`, and says when it ends now.
///
/// A later live end is no drift: the next plan leaves it alone.
///
/// # Errors
/// When the state has no such lease, or the service refuses.
pub async fn extend_lease(settings: &Settings, name: &str, more: Duration) -> Result<Timestamp, Error> {
    let loaded = load(settings)?;
    let address = match name.parse::<Address>() {
        Ok(address) if address.section == "leases" => address,
        _ => format!("leases.{name}")
            .parse()
            .map_err(|error: crate::model::AddressError| Error::refused(error.to_string(), ""))?,
    };
    let state =
        loaded.state.clone().unwrap_or_else(|| super::fresh_state(&loaded.spec.stack.value, &*super::planning::ids()));
    let Some(record) = state.state.resources.get(&address) else {
        return Err(Error::refused(format!("the state has no {address}"), "`anole state list` shows what it has"));
    };
    let signed = look::sign_in(&loaded, settings, &state.state).await?;
    let (Some(session), Some(kind)) =
        (signed.sessions.get(&record.site), kinds::by_name("lease").and_then(kinds::Kind::cloud))
    else {
        return Err(Error::refused(format!("the spec has no site `{}`", record.site), "declare it"));
    };
    let failed = |error| Error::Site { site: record.site.clone(), error };
    let seen = kind.read(session, &record.id).await.map_err(failed)?;
    let name = seen.as_ref().map(|seen| seen.name.clone()).unwrap_or_default();
    let end =
        seen.as_ref().and_then(|seen| seen.attrs.get("end")).and_then(Value::as_str).and_then(|end| end.parse().ok());
    let Some(end): Option<Timestamp> = end else {
        return Err(Error::refused(format!("{address} is gone"), "apply again to make it anew"));
    };
    let more = SignedDuration::try_from(more).unwrap_or(SignedDuration::MAX);
    let later =
        end.checked_add(more).map_err(|_| Error::refused("that is too far in the future", "take a shorter time"))?;
    lease::move_end(session, &record.id, &name, later).await.map_err(failed)?;
    Ok(later)
}
