//! Cinder: volumes.
//!
//! In: a signed-in [`Session`]. Out: of each volume only what the kinds use.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::shapes::{deleted, found, items, segment};
use super::{CloudError, Request, Service, Session};
use crate::model::{Json, StringMap};

/// The one microversion asked for: 3.42 (Pike, 2017) is the oldest that grows a volume while it is attached.
pub const MICROVERSION: &str = "3.42";

/// A volume.
#[derive(Debug, Clone, Deserialize)]
pub struct Volume {
    /// Its id.
    pub id: String,
    /// Its name; null where it has none.
    pub name: Option<String>,
    /// `available`, `in-use`, …
    #[serde(default)]
    pub status: String,
    /// In GiB.
    pub size: i64,
    /// Its type's name.
    pub volume_type: Option<String>,
    /// What its owner wrote.
    pub description: Option<String>,
    /// Where it is.
    pub availability_zone: Option<String>,
    /// Who made it.
    pub user_id: Option<String>,
    /// When.
    pub created_at: Option<String>,
    /// Its metadata.
    #[serde(default)]
    pub metadata: StringMap,
    /// `"true"` or `"false"`, as text.
    #[serde(default)]
    pub bootable: Json,
    /// The servers it is attached to. One that is on its way there is not among them, one on its way off is.
    #[serde(default)]
    pub attachments: Vec<VolumeAttachment>,
    /// What is known of the image it was made of; absent where it was made empty.
    #[serde(default, rename = "volume_image_metadata")]
    pub image_metadata: StringMap,
}

/// A server that a volume is attached to.
#[derive(Debug, Clone, Deserialize)]
pub struct VolumeAttachment {
    /// The server.
    #[serde(default)]
    pub server_id: Option<String>,
}

impl Volume {
    /// The ids of the servers it is attached to.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.attachments.iter().filter_map(|attachment| attachment.server_id.as_deref())
    }

    /// Whether an attachment is under way that [`Volume::attachments`] does not name.
    #[must_use]
    pub fn is_in_transit(&self) -> bool {
        matches!(self.status.as_str(), "reserved" | "attaching" | "detaching")
    }

    /// When it was made.
    #[must_use]
    pub fn created_at(&self) -> Option<Timestamp> {
        self.created_at.as_deref().and_then(super::shapes::time)
    }
}

fn post(path: impl Into<String>, body: Json) -> Request {
    Request::post(Service::BlockStorage, path, body).microversion(MICROVERSION)
}

/// All volumes of the project.
///
/// # Errors
/// Those of the request.
pub async fn volumes(session: &Session) -> Result<Vec<Volume>, CloudError> {
    items(session, Request::get(Service::BlockStorage, "/volumes/detail").microversion(MICROVERSION), "volumes").await
}

/// One volume, if it is there.
///
/// # Errors
/// Those of the request.
pub async fn volume(session: &Session, id: &str) -> Result<Option<Volume>, CloudError> {
    let request = Request::get(Service::BlockStorage, format!("/volumes/{}", segment(id))).microversion(MICROVERSION);
    found(session.send(request).await, "volume")
}

/// Asks for a volume. The answer is its id.
///
/// # Errors
/// Those of the request.
pub async fn create(session: &Session, volume: Json) -> Result<String, CloudError> {
    let created: Volume = session.send(post("/volumes", json!({ "volume": volume }))).await?.member("volume")?;
    Ok(created.id)
}

/// Changes a volume's name or description.
///
/// # Errors
/// Those of the request.
pub async fn update(session: &Session, id: &str, volume: Json) -> Result<(), CloudError> {
    let path = format!("/volumes/{}", segment(id));
    let request = Request::put(Service::BlockStorage, path, json!({ "volume": volume })).microversion(MICROVERSION);
    session.send(request).await.map(drop)
}

/// Sets these keys of a volume's metadata and leaves the others.
///
/// # Errors
/// Those of the request.
pub async fn set_metadata(session: &Session, id: &str, metadata: &StringMap) -> Result<(), CloudError> {
    let request = post(format!("/volumes/{}/metadata", segment(id)), json!({ "metadata": metadata })).repeatable();
    session.send(request).await.map(drop)
}

/// Takes a key out of a volume's metadata.
///
/// # Errors
/// Those of the request.
pub async fn unset_metadata(session: &Session, id: &str, key: &str) -> Result<(), CloudError> {
    let path = format!("/volumes/{}/metadata/{}", segment(id), segment(key));
    deleted(session.send(Request::delete(Service::BlockStorage, path).microversion(MICROVERSION)).await)
}

/// Grows a volume, to a size in GiB.
///
/// # Errors
/// Those of the request.
pub async fn extend(session: &Session, id: &str, size: i64) -> Result<(), CloudError> {
    action(session, id, json!({ "os-extend": { "new_size": size } })).await
}

/// Gives a volume another type, unless its data would have to be moved.
///
/// # Errors
/// Those of the request. That the data would have to move shows later: the volume keeps its type.
pub async fn retype(session: &Session, id: &str, volume_type: &str) -> Result<(), CloudError> {
    action(session, id, json!({ "os-retype": { "new_type": volume_type, "migration_policy": "never" } })).await
}

/// Asks for a volume's deletion.
///
/// # Errors
/// Those of the request; that it is gone is none.
pub async fn delete(session: &Session, id: &str) -> Result<(), CloudError> {
    let path = format!("/volumes/{}", segment(id));
    deleted(session.send(Request::delete(Service::BlockStorage, path).microversion(MICROVERSION)).await)
}

async fn action(session: &Session, id: &str, body: Json) -> Result<(), CloudError> {
    session.send(post(format!("/volumes/{}/action", segment(id)), body)).await.map(drop)
}
