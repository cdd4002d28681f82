//! Ports: a server's connections, one for each entry of its `networks`. Made before the server, deleted after it.
//!
//! Invariant: security groups go only on ports with port security. A port without it has no `security_groups` among
//! its attributes, so that they are compared with what was applied.

use std::net::IpAddr;

use async_trait::async_trait;
use ipnet::IpNet;
use serde_json::{Map, json};

use super::kind::{CloudKind, FieldChange, Kind, OpCx, Place, Refused, Seen, Sides, Update, diff_fields};
use super::neutron::{self as common, Facts, fields};
use super::schema::{NameRule, RefChange, RefType, Schema, Type, attribute, field};
use crate::cloud::neutron::{self, Network, Object as _, Port as Live, SecurityGroup};
use crate::cloud::{CloudError, Service, Session};
use crate::model::{Fields, Json, RemoteId, Value};

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Port;

static SCHEMA: Schema = Schema {
    kind: "port",
    section: "",
    doc: "A server's connection to a network; written under `networks` of a server.",
    fields: &[
        field("name", Type::Text, "The port's name in the site."),
        field(
            "network",
            Type::Ref(RefType::new("network", RefChange::Replace).or_lookup()),
            "The network, declared or by its name or id in the site.",
        )
        .required(),
        field("fixed_ip", Type::Ip, "The server's address on the network. The site chooses one where absent.")
            .replace(),
        field(
            "security_groups",
            Type::Set(&Type::Ref(RefType::new("security_group", RefChange::Release).or_lookup().accepted())),
            "The security groups that guard the port. Where absent, the site's own: `default` on networks with port security.",
        ),
    ],
    attributes: &[
        attribute("mac", "Its hardware address."),
        attribute("addresses", "All its addresses."),
        attribute("device_id", "The id of the server that it belongs to."),
        attribute("status", "Neutron's word for its state: `ACTIVE`, or `DOWN` while no server uses it."),
    ],
    protect: false,
    lookup: false,
    name: NameRule::Default,
};

impl Kind for Port {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Port)
    }

    fn stands_on(&self, live: &Fields, part: &Fields) -> bool {
        let range = part.get("cidr").and_then(Value::as_str).and_then(|cidr| cidr.parse::<IpNet>().ok());
        let addresses = live.get("addresses").and_then(Value::as_list).unwrap_or_default();
        let within = |address: &Value| {
            let address = address.as_str().and_then(|address| address.parse::<IpAddr>().ok());
            range.zip(address).is_some_and(|(range, address)| range.contains(&address))
        };
        addresses.iter().any(within)
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_fields(&SCHEMA, sides);
        common::drop_same_set(&mut changes, "security_groups");
        changes.extend(common::dropped(sides, "security_groups"));
        // A port may have several addresses, and the wanted one need not be the first.
        let addresses = sides.live.get("addresses").and_then(Value::as_list).unwrap_or_default();
        changes.retain(|change| change.field != "fixed_ip" || !addresses.contains(&change.after));
        Ok(changes)
    }
}

#[async_trait]
impl CloudKind for Port {
    fn service(&self) -> Service {
        Service::Network
    }

    fn gone_when_deleted(&self) -> bool {
        true
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        let project = session.identity().project_id.as_str();
        Ok(neutron::list(session, &[("project_id", project)]).await?.iter().map(seen).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(neutron::get(session, &id.0).await?.as_ref().map(seen))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let network = common::need_id(want, "network")?;
        let mut body = Map::new();
        body.insert("network_id".to_owned(), json!(network));
        body.insert("name".to_owned(), json!(common::text(want, "name").unwrap_or_default()));
        body.insert("description".to_owned(), json!(common::describe(cx, want)?));
        if let Some(address) = common::text(want, "fixed_ip") {
            body.insert("fixed_ips".to_owned(), json!([{ "ip_address": address }]));
        }
        let groups = want.get("security_groups").filter(|groups| !groups.is_null());
        if let Some(groups) = groups {
            body.insert("security_groups".to_owned(), json!(common::ids(Some(groups))));
        }
        let made = neutron::create::<Live>(cx.session, Json::Object(body.clone())).await;
        let made = match made {
            // Only a network without port security is meant: a port without an address is refused in the same words.
            Err(error) if groups.is_some() && refuses_groups(&error) => {
                let network: Option<Network> = neutron::get(cx.session, network).await?;
                if network.is_none_or(|network| network.port_security_enabled != Some(false)) {
                    return Err(error);
                }
                body.remove("security_groups");
                neutron::create::<Live>(cx.session, body.into()).await
            }
            other => other,
        };
        Ok(RemoteId(made?.id))
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        let mut body = common::body::<Live>(cx, update, &[]).await?;
        if common::changes(update, "security_groups") {
            let live: Live =
                neutron::get(cx.session, &update.id.0).await?.ok_or_else(|| common::gone::<Live>(update.id))?;
            if live.port_security_enabled != Some(false) {
                let groups = match update.want.get("security_groups").filter(|groups| !groups.is_null()) {
                    Some(groups) => json!(common::ids(Some(groups))),
                    None => json!(default_groups(cx).await?),
                };
                body.insert("security_groups".to_owned(), groups);
            }
        }
        common::send::<Live>(cx, update.id, body).await
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        neutron::delete::<Live>(cx.session, &id.0).await
    }
}

/// Whether the port was refused because it cannot have security groups. Most can, so that is not asked beforehand.
fn refuses_groups(error: &CloudError) -> bool {
    error.code.as_deref() == Some("PortSecurityAndIPRequiredForSecurityGroups")
}

/// The groups that a port gets where none are asked for: Neutron has no way to ask for them later.
async fn default_groups(cx: &OpCx<'_>) -> Result<Vec<String>, CloudError> {
    let filters = [("name", "default"), ("project_id", cx.identity.project_id.as_str())];
    let groups: Vec<SecurityGroup> = neutron::list(cx.session, &filters).await?;
    Ok(groups.into_iter().map(|group| group.id).collect())
}

fn seen(port: &Live) -> Seen {
    let addresses = || port.fixed_ips.iter().map(|ip| ip.ip_address.as_str());
    let first = addresses().find(|address| !address.contains(':')).or_else(|| addresses().next());
    let groups = match port.port_security_enabled {
        Some(false) => Value::Null,
        _ => common::live_refs("security_group", port.security_groups.iter().map(String::as_str)),
    };
    let attrs = fields([
        ("network", Value::live("network", &port.network_id)),
        ("fixed_ip", first.map_or(Value::Null, Value::text)),
        ("security_groups", groups),
        ("mac", Value::text(&port.mac_address)),
        ("addresses", Value::List(addresses().map(Value::text).collect())),
        ("device_id", Value::text(&port.device_id)),
        ("status", Value::text(&port.status)),
    ]);
    Facts {
        id: &port.id,
        name: &port.name,
        description: port.description(),
        status: &port.status,
        created_at: port.created_at.as_deref(),
    }
    .seen(attrs)
}
