//! Neutron: networks, subnets, routers, ports, floating IPs, security groups.
//!
//! In: a session and plain ids, filters and bodies. Out: typed objects that hold only what anole uses.
//! Source: the Networking API v2.0 reference, and what Neutron of OpenStack 2025.1 answered.
//!
//! Invariants:
//! - A list is one paged request. An object that is gone is `None` on read, and success on deletion.
//! - What a service of an older release leaves out reads as absent, never as an error.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::shapes::{deleted, found, items, segment};
use super::{CloudError, Request, Service, Session};
use crate::model::Json;

/// The longest description Neutron stores, in characters.
pub const MAX_DESCRIPTION: usize = 255;

/// The names and place of a type of object in the API.
pub trait Object: DeserializeOwned {
    /// The member of a body that holds one.
    const ONE: &'static str;
    /// The member of a body that holds several.
    const MANY: &'static str;
    /// Where they are, below the versioned endpoint.
    const PATH: &'static str;

    /// The description, stamp and all; empty where there is none.
    fn description(&self) -> &str;
}

/// A network.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct Network {
    pub id: String,
    #[serde(default)]
    pub name: String,
    pub description: Option<String>,
    #[serde(default)]
    pub status: String,
    pub mtu: Option<i64>,
    /// Absent where the cloud has no port security at all.
    pub port_security_enabled: Option<bool>,
    #[serde(default)]
    pub shared: bool,
    #[serde(default, rename = "router:external")]
    pub external: bool,
    pub project_id: Option<String>,
    pub created_at: Option<String>,
}

/// A subnet.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct Subnet {
    pub id: String,
    #[serde(default)]
    pub name: String,
    pub description: Option<String>,
    pub network_id: String,
    pub cidr: String,
    pub gateway_ip: Option<String>,
    pub enable_dhcp: bool,
    #[serde(default)]
    pub dns_nameservers: Vec<String>,
    #[serde(default)]
    pub allocation_pools: Vec<Pool>,
    pub created_at: Option<String>,
}

/// A range of addresses that a subnet gives out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct Pool {
    pub start: String,
    pub end: String,
}

/// A router.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct Router {
    pub id: String,
    #[serde(default)]
    pub name: String,
    pub description: Option<String>,
    #[serde(default)]
    pub status: String,
    pub external_gateway_info: Option<Gateway>,
    pub created_at: Option<String>,
}

/// A router's way out.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct Gateway {
    pub network_id: String,
}

/// A port.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct Port {
    pub id: String,
    #[serde(default)]
    pub name: String,
    pub description: Option<String>,
    #[serde(default)]
    pub status: String,
    pub network_id: String,
    /// The server or router it belongs to; empty while it belongs to none.
    #[serde(default)]
    pub device_id: String,
    /// What that is: `compute:nova`, `network:router_interface`.
    #[serde(default)]
    pub device_owner: String,
    #[serde(default)]
    pub mac_address: String,
    #[serde(default)]
    pub fixed_ips: Vec<FixedIp>,
    #[serde(default)]
    pub security_groups: Vec<String>,
    pub port_security_enabled: Option<bool>,
    pub created_at: Option<String>,
}

/// An address of a port.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct FixedIp {
    pub subnet_id: String,
    pub ip_address: String,
}

/// A floating IP.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct FloatingIp {
    pub id: String,
    pub floating_ip_address: String,
    pub floating_network_id: String,
    pub description: Option<String>,
    #[serde(default)]
    pub status: String,
    pub port_id: Option<String>,
    /// The router that it goes through while it is bound.
    pub router_id: Option<String>,
    /// The port it is bound to; absent where the cloud does not have the extension.
    pub port_details: Option<PortDetails>,
    pub created_at: Option<String>,
}

/// What a floating IP says of its port.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct PortDetails {
    #[serde(default)]
    pub device_id: String,
    #[serde(default)]
    pub device_owner: String,
}

/// A security group.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct SecurityGroup {
    pub id: String,
    #[serde(default)]
    pub name: String,
    pub description: Option<String>,
    #[serde(default)]
    pub security_group_rules: Vec<SecurityGroupRule>,
    pub created_at: Option<String>,
}

/// A rule of a security group.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct SecurityGroupRule {
    pub id: String,
    pub direction: String,
    pub ethertype: Option<String>,
    /// A name or a number, as it was asked for; `None` is any.
    pub protocol: Option<String>,
    pub port_range_min: Option<i64>,
    pub port_range_max: Option<i64>,
    /// As it was asked for, host bits and all.
    pub remote_ip_prefix: Option<String>,
    pub remote_group_id: Option<String>,
    pub remote_address_group_id: Option<String>,
    pub description: Option<String>,
}

macro_rules! objects {
    ($($type:ty: $one:literal, $many:literal, $path:literal;)*) => {
        $(impl Object for $type {
            const ONE: &'static str = $one;
            const MANY: &'static str = $many;
            const PATH: &'static str = $path;

            fn description(&self) -> &str {
                self.description.as_deref().unwrap_or_default()
            }
        })*
    };
}

objects! {
    Network: "network", "networks", "/networks";
    Subnet: "subnet", "subnets", "/subnets";
    Router: "router", "routers", "/routers";
    Port: "port", "ports", "/ports";
    FloatingIp: "floatingip", "floatingips", "/floatingips";
    SecurityGroup: "security_group", "security_groups", "/security-groups";
    SecurityGroupRule: "security_group_rule", "security_group_rules", "/security-group-rules";
}

/// All objects that match the filters; a filter given twice matches either value.
///
/// # Errors
/// When the request fails or an item is not of the type's shape.
pub async fn list<T: Object>(session: &Session, filters: &[(&str, &str)]) -> Result<Vec<T>, CloudError> {
    let mut request = Request::get(Service::Network, T::PATH);
    for (key, value) in filters {
        request = request.query(*key, *value);
    }
    items(session, request, T::MANY).await
}

/// One object; `None` when it is gone.
///
/// # Errors
/// When the request fails for another reason.
pub async fn get<T: Object>(session: &Session, id: &str) -> Result<Option<T>, CloudError> {
    found(session.send(Request::get(Service::Network, path::<T>(id))).await, T::ONE)
}

/// Makes an object.
///
/// # Errors
/// When the request fails.
pub async fn create<T: Object>(session: &Session, fields: Json) -> Result<T, CloudError> {
    session.send(Request::post(Service::Network, T::PATH, json!({ T::ONE: fields }))).await?.member(T::ONE)
}

/// Makes several objects at once: all or none.
///
/// # Errors
/// When the request fails.
pub async fn create_all<T: Object>(session: &Session, items: Vec<Json>) -> Result<(), CloudError> {
    if !items.is_empty() {
        session.send(Request::post(Service::Network, T::PATH, json!({ T::MANY: items }))).await?;
    }
    Ok(())
}

/// Changes these fields of an object.
///
/// # Errors
/// When the request fails.
pub async fn update<T: Object>(session: &Session, id: &str, fields: Json) -> Result<(), CloudError> {
    session.send(Request::put(Service::Network, path::<T>(id), json!({ T::ONE: fields }))).await.map(drop)
}

/// Deletes an object; one that is gone already counts as deleted.
///
/// # Errors
/// When the request fails for another reason.
pub async fn delete<T: Object>(session: &Session, id: &str) -> Result<(), CloudError> {
    deleted(session.send(Request::delete(Service::Network, path::<T>(id))).await)
}

/// Gives a router an address, the gateway's, in a subnet. One that it has already is an error (400) whose message
/// says so.
///
/// # Errors
/// When the request fails.
pub async fn add_interface(session: &Session, router: &str, subnet: &str) -> Result<(), CloudError> {
    let path = format!("{}/add_router_interface", path::<Router>(router));
    session.send(Request::put(Service::Network, path, json!({ "subnet_id": subnet }))).await.map(drop)
}

/// Takes a router's port away; one that is gone already counts as taken away.
///
/// # Errors
/// When the request fails for another reason.
pub async fn remove_interface(session: &Session, router: &str, port: &str) -> Result<(), CloudError> {
    let path = format!("{}/remove_router_interface", path::<Router>(router));
    deleted(session.send(Request::put(Service::Network, path, json!({ "port_id": port }))).await)
}

/// The path of one object.
fn path<T: Object>(id: &str) -> String {
    format!("{}/{}", T::PATH, segment(id))
}
