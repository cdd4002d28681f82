//! Nova: servers, keypairs, flavors, volume attachments.
//!
//! In: a signed-in [`Session`]. Out: of each object only what the kinds use.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

use super::shapes::{deleted, found, items, segment};
use super::{CloudError, Request, Service, Session};
use crate::model::{Json, StringMap};

/// The one microversion asked for, so that an object looks the same in every answer.
///
/// 2.85 (Victoria, 2020) is the oldest that has all that is used here: a boot volume's `volume_type` (2.67) and a change
/// of `delete_on_termination` (2.85). Newer ones add nothing that is used, and every site runs at least this.
pub const MICROVERSION: &str = "2.85";

/// A server.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    /// Its id.
    pub id: String,
    /// Its name; empty while its cell is down.
    #[serde(default)]
    pub name: String,
    /// `BUILD`, `ACTIVE`, …
    #[serde(default)]
    pub status: String,
    /// What is going on with it, `deleting`; none when nothing is.
    #[serde(rename = "OS-EXT-STS:task_state")]
    pub task_state: Option<String>,
    /// Who made it.
    pub user_id: Option<String>,
    /// When.
    pub created: Option<String>,
    /// Its metadata.
    #[serde(default)]
    pub metadata: StringMap,
    /// `{id}`, or the empty string for a server that boots from a volume.
    #[serde(default)]
    pub image: Json,
    /// Its addresses, by network name.
    #[serde(default)]
    pub addresses: BTreeMap<String, Vec<ServerAddress>>,
    /// Its keypair.
    pub key_name: Option<String>,
    /// Where it runs.
    #[serde(rename = "OS-EXT-AZ:availability_zone")]
    pub availability_zone: Option<String>,
    /// A word for the host it runs on: the same for servers of this project on the same host.
    #[serde(rename = "hostId")]
    pub host_id: Option<String>,
    /// Its volumes.
    #[serde(default, rename = "os-extended-volumes:volumes_attached")]
    pub volumes: Vec<ServerVolume>,
    /// What went wrong, if something did.
    pub fault: Option<Fault>,
}

/// One of a server's addresses.
#[derive(Debug, Clone, Deserialize)]
pub struct ServerAddress {
    /// The address.
    pub addr: String,
    /// 4 or 6.
    pub version: i64,
    /// `fixed` or `floating`.
    #[serde(rename = "OS-EXT-IPS:type")]
    pub kind: Option<String>,
    /// The MAC address of its port.
    #[serde(rename = "OS-EXT-IPS-MAC:mac_addr")]
    pub mac: Option<String>,
}

/// One of a server's volumes. It is listed from the moment the attachment was asked for.
#[derive(Debug, Clone, Deserialize)]
pub struct ServerVolume {
    /// The volume.
    pub id: String,
    /// Whether it is deleted with the server.
    #[serde(default)]
    pub delete_on_termination: bool,
}

/// What went wrong with a server.
#[derive(Debug, Clone, Deserialize)]
pub struct Fault {
    /// In words.
    pub message: String,
}

/// A keypair.
#[derive(Debug, Clone, Deserialize)]
pub struct Keypair {
    /// Its name, which is its id.
    pub name: String,
    /// The key, in OpenSSH's format.
    #[serde(default)]
    pub public_key: String,
    /// Its fingerprint.
    pub fingerprint: Option<String>,
    /// When it was made; only where one is asked for.
    pub created_at: Option<String>,
}

/// A flavor.
#[derive(Debug, Clone, Deserialize)]
pub struct Flavor {
    /// Its id; not always a UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Virtual CPUs.
    #[serde(default)]
    pub vcpus: i64,
    /// Memory in MiB.
    #[serde(default)]
    pub ram: i64,
    /// Root disk in GiB.
    #[serde(default)]
    pub disk: i64,
}

fn get(path: impl Into<String>) -> Request {
    Request::get(Service::Compute, path).microversion(MICROVERSION)
}

fn post(path: impl Into<String>, body: Json) -> Request {
    Request::post(Service::Compute, path, body).microversion(MICROVERSION)
}

fn put(path: impl Into<String>, body: Json) -> Request {
    Request::put(Service::Compute, path, body).microversion(MICROVERSION)
}

fn delete(path: impl Into<String>) -> Request {
    Request::delete(Service::Compute, path).microversion(MICROVERSION)
}

/// All servers of the project.
///
/// # Errors
/// Those of the request.
pub async fn servers(session: &Session) -> Result<Vec<Server>, CloudError> {
    items(session, get("/servers/detail"), "servers").await
}

/// One server, if it is there.
///
/// # Errors
/// Those of the request.
pub async fn server(session: &Session, id: &str) -> Result<Option<Server>, CloudError> {
    found(session.send(get(format!("/servers/{}", segment(id)))).await, "server")
}

/// Asks for a server; `body` is the whole request. The answer is its id.
///
/// # Errors
/// Those of the request.
pub async fn create_server(session: &Session, body: Json) -> Result<String, CloudError> {
    #[derive(Deserialize)]
    struct Accepted {
        id: String,
    }
    let accepted: Accepted = session.send(post("/servers", body)).await?.member("server")?;
    Ok(accepted.id)
}

/// Gives a server another name.
///
/// # Errors
/// Those of the request.
pub async fn rename_server(session: &Session, id: &str, name: &str) -> Result<(), CloudError> {
    session.send(put(format!("/servers/{}", segment(id)), json!({ "server": { "name": name } }))).await.map(drop)
}

/// Sets these keys of a server's metadata and leaves the others.
///
/// # Errors
/// Those of the request.
pub async fn set_metadata(session: &Session, id: &str, metadata: &StringMap) -> Result<(), CloudError> {
    let request = post(format!("/servers/{}/metadata", segment(id)), json!({ "metadata": metadata })).repeatable();
    session.send(request).await.map(drop)
}

/// Takes a key out of a server's metadata.
///
/// # Errors
/// Those of the request.
pub async fn unset_metadata(session: &Session, id: &str, key: &str) -> Result<(), CloudError> {
    deleted(session.send(delete(format!("/servers/{}/metadata/{}", segment(id), segment(key)))).await)
}

/// Makes a server's root disk anew from an image. Its key, its user data and its ports stay.
///
/// # Errors
/// Those of the request.
pub async fn rebuild(session: &Session, id: &str, image: &str) -> Result<(), CloudError> {
    let body = json!({ "rebuild": { "imageRef": image } });
    session.send(post(format!("/servers/{}/action", segment(id)), body)).await.map(drop)
}

/// The last lines of a server's console log; none where the site keeps none.
///
/// # Errors
/// Those of the request.
pub async fn console_log(session: &Session, id: &str, lines: u32) -> Result<Option<String>, CloudError> {
    let body = json!({ "os-getConsoleOutput": { "length": lines } });
    found(session.send(post(format!("/servers/{}/action", segment(id)), body).repeatable()).await, "output")
}

/// Asks for a server's deletion.
///
/// # Errors
/// Those of the request; that it is gone is none.
pub async fn delete_server(session: &Session, id: &str) -> Result<(), CloudError> {
    deleted(session.send(delete(format!("/servers/{}", segment(id)))).await)
}

/// Attaches a volume to a server.
///
/// # Errors
/// Those of the request.
pub async fn attach(session: &Session, server: &str, volume: &str) -> Result<(), CloudError> {
    let body = json!({ "volumeAttachment": { "volumeId": volume } });
    session.send(post(format!("/servers/{}/os-volume_attachments", segment(server)), body)).await.map(drop)
}

/// Whether a volume is attached to a server, or on its way there or away.
///
/// # Errors
/// Those of the request.
pub async fn is_attached(session: &Session, server: &str, volume: &str) -> Result<bool, CloudError> {
    let path = format!("/servers/{}/os-volume_attachments/{}", segment(server), segment(volume));
    let attachment: Option<Json> = found(session.send(get(path)).await, "volumeAttachment")?;
    Ok(attachment.is_some())
}

/// Says whether a volume is deleted with the server it is attached to.
///
/// # Errors
/// Those of the request.
pub async fn set_deleted_with(session: &Session, server: &str, volume: &str, with: bool) -> Result<(), CloudError> {
    let path = format!("/servers/{}/os-volume_attachments/{}", segment(server), segment(volume));
    let body = json!({ "volumeAttachment": { "volumeId": volume, "delete_on_termination": with } });
    session.send(put(path, body)).await.map(drop)
}

/// Asks for a volume to be detached from a server.
///
/// # Errors
/// Those of the request; that it is not attached is none.
pub async fn detach(session: &Session, server: &str, volume: &str) -> Result<(), CloudError> {
    let path = format!("/servers/{}/os-volume_attachments/{}", segment(server), segment(volume));
    deleted(session.send(delete(path)).await)
}

/// All keypairs of the user.
///
/// # Errors
/// Those of the request.
pub async fn keypairs(session: &Session) -> Result<Vec<Keypair>, CloudError> {
    #[derive(Deserialize)]
    struct Item {
        keypair: Keypair,
    }
    let items: Vec<Item> = items(session, get("/os-keypairs"), "keypairs").await?;
    Ok(items.into_iter().map(|item| item.keypair).collect())
}

/// One keypair, if it is there.
///
/// # Errors
/// Those of the request.
pub async fn keypair(session: &Session, name: &str) -> Result<Option<Keypair>, CloudError> {
    found(session.send(get(format!("/os-keypairs/{}", segment(name)))).await, "keypair")
}

/// Imports a public key.
///
/// # Errors
/// Those of the request.
pub async fn create_keypair(session: &Session, name: &str, public_key: &str) -> Result<Keypair, CloudError> {
    let body = json!({ "keypair": { "name": name, "public_key": public_key, "type": "ssh" } });
    session.send(post("/os-keypairs", body)).await?.member("keypair")
}

/// Deletes a keypair.
///
/// # Errors
/// Those of the request; that it is gone is none.
pub async fn delete_keypair(session: &Session, name: &str) -> Result<(), CloudError> {
    deleted(session.send(delete(format!("/os-keypairs/{}", segment(name)))).await)
}

/// All flavors that the project may use, private ones (of reservations) among them.
///
/// # Errors
/// Those of the request.
pub async fn flavors(session: &Session) -> Result<Vec<Flavor>, CloudError> {
    items(session, get("/flavors/detail"), "flavors").await
}

/// One flavor, if the project may use it.
///
/// # Errors
/// Those of the request.
pub async fn flavor(session: &Session, id: &str) -> Result<Option<Flavor>, CloudError> {
    found(session.send(get(format!("/flavors/{}", segment(id)))).await, "flavor")
}

impl Server {
    /// The image it was made of; none where it boots from a volume.
    #[must_use]
    pub fn image_id(&self) -> Option<&str> {
        self.image.get("id").and_then(Json::as_str)
    }

    /// When it was made.
    #[must_use]
    pub fn created_at(&self) -> Option<Timestamp> {
        self.created.as_deref().and_then(super::shapes::time)
    }
}
