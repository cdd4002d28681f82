//! Blazar: leases and their reservations.
//!
//! In: a signed-in [`Session`]. Out: of each lease only what the kinds use. Blazar has no microversions, counts in minutes
//! of UTC without writing an offset, and gives numbers now as numbers, now as text.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::shapes::{deleted, found, items, minute, segment, time};
use super::{CloudError, Request, Service, Session};
use crate::model::Json;

/// A lease.
#[derive(Debug, Clone, Deserialize)]
pub struct Lease {
    /// Its id.
    pub id: String,
    /// Its name; names are not unique.
    pub name: String,
    /// `PENDING`, `ACTIVE`, …
    #[serde(default)]
    pub status: String,
    /// Who made it.
    pub user_id: Option<String>,
    /// When it starts.
    pub start_date: String,
    /// When it ends.
    pub end_date: String,
    /// When it was made.
    pub created_at: Option<String>,
    /// What it reserves, in no order.
    #[serde(default)]
    pub reservations: Vec<Reservation>,
}

/// A reservation of a lease.
#[derive(Debug, Clone, Deserialize)]
pub struct Reservation {
    /// Its id.
    pub id: String,
    /// `flavor:instance`, `physical:host`, `virtual:floatingip`, `network`.
    pub resource_type: String,
    /// `pending`, `active`, `deleted`, `error`.
    #[serde(default)]
    pub status: String,
    /// When it was made.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Of a flavor: how many servers. Of floating IPs: how many.
    #[serde(default)]
    pub amount: Json,
    /// Of a flavor: the reserved flavor, whose id is the reservation's.
    pub flavor_id: Option<String>,
    /// Of a flavor: the flavor it was copied from, a JSON text. Of hosts: the expression that they match.
    pub resource_properties: Option<String>,
    /// Of floating IPs: where from.
    pub network_id: Option<String>,
    /// Of hosts: how many at least.
    #[serde(default)]
    pub min: Json,
    /// Of hosts: how many at most.
    #[serde(default)]
    pub max: Json,
}

impl Lease {
    /// When it starts.
    #[must_use]
    pub fn start(&self) -> Option<Timestamp> {
        time(&self.start_date)
    }

    /// When it ends.
    #[must_use]
    pub fn end(&self) -> Option<Timestamp> {
        time(&self.end_date)
    }
}

impl Reservation {
    /// Of a flavor: the id of the flavor that it was copied from.
    #[must_use]
    pub fn source_flavor(&self) -> Option<String> {
        let source: Json = serde_json::from_str(self.resource_properties.as_deref()?).ok()?;
        source.get("id").and_then(Json::as_str).map(str::to_owned)
    }
}

/// A number that Blazar gives as a number or as text.
#[must_use]
pub fn number(json: &Json) -> Option<i64> {
    json.as_i64().or_else(|| json.as_str()?.parse().ok())
}

/// A time as Blazar takes it: `2026-11-22 16:00`, UTC.
#[must_use]
pub fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

/// All leases of the project, those that ended among them.
///
/// # Errors
/// Those of the request.
pub async fn leases(session: &Session) -> Result<Vec<Lease>, CloudError> {
    items(session, Request::get(Service::Reservation, "/leases"), "leases").await
}

/// One lease, if it is there.
///
/// # Errors
/// Those of the request.
pub async fn lease(session: &Session, id: &str) -> Result<Option<Lease>, CloudError> {
    let request = Request::get(Service::Reservation, format!("/leases/{}", segment(id)));
    found(session.send(request).await, "lease")
}

/// The minute that it is by the cloud's clock, in which a lease that starts `now` starts; by ours where it does not say.
#[must_use]
pub fn now(session: &Session) -> Timestamp {
    minute(session.server_time().unwrap_or_else(Timestamp::now))
}

/// Asks for a lease. The answer is its id. Takes up to half a minute.
///
/// # Errors
/// Those of the request.
pub async fn create(session: &Session, lease: Json) -> Result<String, CloudError> {
    let created: Lease = session.send(Request::post(Service::Reservation, "/leases", lease)).await?.member("lease")?;
    Ok(created.id)
}

/// Gives a lease another name.
///
/// # Errors
/// Those of the request.
pub async fn rename(session: &Session, id: &str, name: &str) -> Result<(), CloudError> {
    update(session, id, json!({ "name": name })).await
}

/// Gives a lease another end.
///
/// # Errors
/// Those of the request.
pub async fn set_end(session: &Session, id: &str, end: Timestamp) -> Result<(), CloudError> {
    update(session, id, json!({ "end_date": date(end) })).await
}

/// Deletes a lease, and with it the servers on it. Takes up to half a minute.
///
/// # Errors
/// Those of the request; that it is gone is none.
pub async fn delete(session: &Session, id: &str) -> Result<(), CloudError> {
    deleted(session.send(Request::delete(Service::Reservation, format!("/leases/{}", segment(id)))).await)
}

async fn update(session: &Session, id: &str, body: Json) -> Result<(), CloudError> {
    session.send(Request::put(Service::Reservation, format!("/leases/{}", segment(id)), body)).await.map(drop)
}
