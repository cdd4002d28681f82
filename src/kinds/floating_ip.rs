//! Floating IPs: addresses that outlive the servers they are bound to.
//!
//! An address comes from a network's free ones, from a lease that reserved it, or is one of the project's own that
//! the spec claims by `address`. It is bound to one of the server's ports ([`binding`]).
//!
//! Invariants:
//! - An address that is bound to somebody else's port is not taken away from it: that is an error.
//! - A reserved address is taken once: the block that took it has its stamp on it, and blocks take their turns.

mod binding;

use async_trait::async_trait;
use serde_json::{Map, json};
use tokio::sync::Mutex;

use super::kind::{
    Claim, CloudKind, Effect, FieldChange, Kind, Mistake, OpCx, Place, Readiness, Refused, Seen, Sides, Update,
    diff_fields,
};
use super::neutron::{self as common, Facts, fields};
use super::schema::{NameRule, RefChange, RefType, Schema, Type, attribute, field};
use crate::cloud::neutron::{self, FloatingIp as Live, Object as _, Port, PortDetails};
use crate::cloud::{CloudError, Service, Session, blazar};
use crate::model::{Fields, Json, RemoteId, Stamp, Target, Value};

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct FloatingIp;

static SCHEMA: Schema = Schema {
    kind: "floating_ip",
    section: "floating_ips",
    doc: "A public address. It outlives the server that it is bound to, and moves to its replacement.",
    fields: &[
        field("description", Type::Text, "A text for people, shown by the site."),
        field(
            "network",
            Type::Ref(RefType::new("network", RefChange::Replace).or_lookup()),
            "The external network that the address is taken from: `public` on Chameleon. Needed unless `address` or \
             `lease` says which address it is.",
        ),
        field(
            "server",
            Type::Ref(RefType::new("server", RefChange::Sole).accepted()),
            "The server that the address leads to. Without one the address is held in reserve.",
        ),
        field(
            "via",
            Type::Text,
            "Which of the server's networks to go through, as the server names it, where several lead to the address's \
             network. The first that does where absent.",
        )
        .ignore(),
        field(
            "address",
            Type::Ip,
            "A floating IP that the project has already. It is managed in place, and released, not deleted, in the end.",
        )
        .replace(),
        field(
            "lease",
            Type::Ref(RefType::new("lease", RefChange::Replace)),
            "Takes an address that this lease reserved (`floating_ips` among its reservations).",
        ),
    ],
    attributes: &[
        attribute("address", "The address: `129.114.25.72`."),
        attribute("port", "The id of the port that it is bound to; none while it is not bound."),
        attribute("status", "Neutron's word for its state: `ACTIVE`, or `DOWN` while it is not bound."),
        attribute("router", "The router that it goes through while it is bound."),
    ],
    protect: false,
    lookup: false,
    name: NameRule::None,
};

impl Kind for FloatingIp {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&FloatingIp)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        let has = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
        let mut mistake = |field, message: &str, help: &str| {
            mistakes.push(Mistake { field, message: message.to_owned(), help: Some(help.to_owned()) });
        };
        if !has("network") && !has("address") && !has("lease") {
            mistake("network", "nothing says where the address comes from", "add `network: public`");
        }
        if has("address") && has("lease") {
            mistake("address", "`address` and `lease` exclude each other", "keep the one that is meant");
        }
        if has("via") && !has("server") {
            mistake("via", "`via` chooses among a server's networks, and no server is given", "add `server`");
        }
    }

    fn claim(&self, fields: &Fields) -> Option<Claim> {
        let value = fields.get("address").filter(|value| value.as_str().is_some())?;
        Some(Claim { field: "address", value: value.clone(), or_create: false })
    }

    fn opens_way_to(&self) -> Option<&'static str> {
        Some("server")
    }

    fn follows(&self) -> &'static [&'static str] {
        &["router"]
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_fields(&SCHEMA, sides);
        changes.extend(common::dropped(sides, "server"));
        changes.extend(moved_lease(sides));
        Ok(changes)
    }

    fn readiness(&self, seen: &Seen) -> Readiness {
        match seen.status.as_str() {
            "ERROR" => Readiness::Failed("Neutron could not set the address up".to_owned()),
            _ => Readiness::Ready,
        }
    }
}

#[async_trait]
impl CloudKind for FloatingIp {
    fn service(&self) -> Service {
        Service::Network
    }

    fn gone_when_deleted(&self) -> bool {
        true
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        let project = session.identity().project_id.as_str();
        let mut all: Vec<Live> = neutron::list(session, &[("project_id", project)]).await?;
        fill_in(session, project, &mut all).await?;
        Ok(all.iter().map(seen).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        let Some(mut address) = neutron::get::<Live>(session, &id.0).await? else { return Ok(None) };
        let project = session.identity().project_id.as_str();
        fill_in(session, project, std::slice::from_mut(&mut address)).await?;
        Ok(Some(seen(&address)))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        if let Some(lease) = common::id(want, "lease") {
            return take_reserved(cx, want, lease).await;
        }
        let network = common::need_id(want, "network")?;
        let mut body = Map::new();
        body.insert("floating_network_id".to_owned(), json!(network));
        body.insert("description".to_owned(), json!(common::describe(cx, want)?));
        let Some(ports) = binding::ports(cx, want).await? else {
            return Ok(RemoteId(neutron::create::<Live>(cx.session, body.into()).await?.id));
        };
        let made = binding::first_routed(&ports, |port| {
            let mut body = body.clone();
            body.insert("port_id".to_owned(), json!(port));
            neutron::create::<Live>(cx.session, body.into())
        });
        Ok(RemoteId(made.await?.id))
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        let body = common::body::<Live>(cx, update, &[]).await?;
        common::send::<Live>(cx, update.id, body).await?;
        if !common::changes(update, "server") {
            return Ok(());
        }
        let live: Live =
            neutron::get(cx.session, &update.id.0).await?.ok_or_else(|| common::gone::<Live>(update.id))?;
        match binding::ports(cx, update.want).await? {
            Some(ports) => {
                if ports.iter().any(|port| live.port_id.as_ref() == Some(port)) {
                    return Ok(());
                }
                binding::check_free(cx, &live, update.applied).await?;
                let bound = binding::first_routed(&ports, |port| {
                    neutron::update::<Live>(cx.session, &update.id.0, json!({ "port_id": port }))
                });
                bound.await
            }
            None if live.port_id.is_some() => {
                binding::check_free(cx, &live, update.applied).await?;
                neutron::update::<Live>(cx.session, &update.id.0, json!({ "port_id": Json::Null })).await
            }
            None => Ok(()),
        }
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        neutron::delete::<Live>(cx.session, &id.0).await
    }
}

/// An address that is to come from a lease and did not, or the other way round. Neutron does not tell; a record that was
/// made of what is live does not either.
fn moved_lease(sides: &Sides<'_>) -> Option<FieldChange> {
    let lease = |fields: &Fields| fields.get("lease").filter(|lease| !lease.is_null()).cloned();
    let asked = |value: &Value| matches!(value, Value::Ref(reference) if reference.target != Target::Live);
    let (before, after) = match (lease(sides.applied), lease(sides.want)) {
        (None, Some(after)) if sides.applied.get("network").is_some_and(asked) => (Value::Null, after),
        (Some(before), None) => (before, Value::Null),
        _ => return None,
    };
    Some(FieldChange { field: "lease".to_owned(), before, after, effect: Effect::Replace, note: None })
}

/// Fills in what addresses say of their ports where the cloud lacks the extension for it: one more list.
async fn fill_in(session: &Session, project: &str, all: &mut [Live]) -> Result<(), CloudError> {
    if !all.iter().any(|address| address.port_id.is_some() && address.port_details.is_none()) {
        return Ok(());
    }
    let ports: Vec<Port> = neutron::list(session, &[("project_id", project)]).await?;
    for address in all.iter_mut().filter(|address| address.port_details.is_none()) {
        let port = ports.iter().find(|port| address.port_id.as_ref() == Some(&port.id));
        address.port_details =
            port.map(|port| PortDetails { device_id: port.device_id.clone(), device_owner: port.device_owner.clone() });
    }
    Ok(())
}

/// Held from looking for a free reserved address to having a stamp on it. The blocks that share a lease's addresses are
/// of one stack, whose state one process holds. (Neutron's own means against lost updates, `If-Match` with a revision,
/// lets both of two simultaneous requests through: measured on OpenStack 2025.1.)
static TAKING: Mutex<()> = Mutex::const_new(());

/// Takes one of the addresses that a lease reserved and that nobody took yet. Blazar makes them when the lease starts
/// and marks them with the tag `reservation:<id>`.
async fn take_reserved(cx: &OpCx<'_>, want: &Fields, lease: &str) -> Result<RemoteId, CloudError> {
    let description = common::describe(cx, want)?;
    let reservations = blazar::lease(cx.session, lease).await?.map(|lease| lease.reservations).unwrap_or_default();
    let network = common::id(want, "network");
    let ports = binding::ports(cx, want).await?;
    let _turn = TAKING.lock().await;
    for reservation in reservations.iter().filter(|one| one.resource_type == "virtual:floatingip") {
        let tag = format!("reservation:{}", reservation.id);
        let mut reserved: Vec<Live> = neutron::list(cx.session, &[("tags", &tag)]).await?;
        reserved.retain(|address| network.is_none_or(|network| network == address.floating_network_id));
        reserved.sort_by(|a, b| a.floating_ip_address.cmp(&b.floating_ip_address));
        for address in reserved {
            let (_, owner) = Stamp::split_description(address.description());
            if owner.is_some() || address.port_id.is_some() {
                continue;
            }
            let body = |port: Option<&str>| match port {
                Some(port) => json!({ "description": description, "port_id": port }),
                None => json!({ "description": description }),
            };
            let take = |port: Option<&str>| neutron::update::<Live>(cx.session, &address.id, body(port));
            match &ports {
                Some(ports) => binding::first_routed(ports, |port| take(Some(port))).await?,
                None => take(None).await?,
            }
            return Ok(RemoteId(address.id));
        }
    }
    Err(common::refused("the lease has no reserved floating IP left that is free").hint(
        "raise `amount` of the lease's `floating_ips` reservation, or take the address from a network with `network`",
    ))
}

fn seen(address: &Live) -> Seen {
    let server = address
        .port_details
        .as_ref()
        .filter(|port| !port.device_id.is_empty() && !port.device_owner.starts_with("network:"));
    let mut attrs = fields([
        ("address", Value::text(&address.floating_ip_address)),
        ("network", Value::live("network", &address.floating_network_id)),
        ("status", Value::text(&address.status)),
        ("router", address.router_id.as_deref().map_or(Value::Null, |id| Value::live("router", id))),
    ]);
    attrs.insert("port".to_owned(), address.port_id.as_deref().map_or(Value::Null, Value::text));
    attrs.insert("server".to_owned(), server.map_or(Value::Null, |port| Value::live("server", &port.device_id)));
    Facts {
        id: &address.id,
        name: &address.floating_ip_address,
        description: address.description(),
        status: &address.status,
        created_at: address.created_at.as_deref(),
    }
    .seen(attrs)
}

#[cfg(test)]
mod tests;
