//! Routers: from networks of the project's own to each other and to the outside.
//!
//! A router is connected to a network by an interface in each of the network's subnets that has a gateway; the
//! interface has the gateway's address. Interfaces come and go in place; a subnet that goes takes its own along
//! ([`leave`]).

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde_json::{Map, json};

use super::kind::{
    CloudKind, Effect, FieldChange, Kind, OpCx, Place, Readiness, Refused, Seen, Sides, Update, diff_fields,
};
use super::neutron::{self as common, Facts, fields};
use super::schema::{NameRule, RefChange, RefType, Schema, Type, attribute, field};
use crate::cloud::neutron::{self, Object as _, Port, Router as Live, Subnet};
use crate::cloud::{CloudError, ErrorKind, Service, Session};
use crate::model::{Address, Fields, Json, RemoteId, Value};

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Router;

static SCHEMA: Schema = Schema {
    kind: "router",
    section: "routers",
    doc: "A router that connects networks of the project's own to each other, and to an external network. Without one, \
          their servers reach nothing outside, and a floating IP cannot be bound to them.",
    fields: &[
        field("name", Type::Text, "The router's name in the site."),
        field("description", Type::Text, "A text for people, shown by the site."),
        field(
            "external",
            Type::Ref(RefType::new("network", RefChange::Update).or_lookup()),
            "The network that leads outside, `public` on Chameleon.",
        ),
        field(
            "networks",
            Type::Set(&Type::Ref(RefType::new("network", RefChange::Update).or_lookup())),
            "The networks to connect, each by the gateways of its subnets. One that is taken out of the list is \
             disconnected.",
        ),
    ],
    attributes: &[
        attribute("status", "Neutron's word for its state: `ACTIVE`."),
        attribute(
            "unconnected",
            "The ids of those of its networks that have a subnet with a gateway and no interface.",
        ),
    ],
    protect: false,
    lookup: false,
    name: NameRule::Default,
};

/// Owners of ports that are a router's interfaces: plain, distributed and highly available ones.
const INTERFACES: [&str; 3] =
    ["network:router_interface", "network:router_interface_distributed", "network:ha_router_replicated_interface"];

impl Kind for Router {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Router)
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_fields(&SCHEMA, sides);
        common::drop_same_set(&mut changes, "networks");
        changes.extend(common::dropped(sides, "external"));
        changes.extend(common::dropped(sides, "networks"));
        if !changes.iter().any(|change| change.field == "networks") {
            changes.extend(unconnected_change(sides));
        }
        Ok(changes)
    }

    fn joins(&self, field: &str, part: &Fields) -> bool {
        field == "networks" && common::text(part, "gateway") != Some("none")
    }

    fn readiness(&self, seen: &Seen) -> Readiness {
        match seen.status.as_str() {
            "ERROR" => Readiness::Failed("Neutron could not set the router up".to_owned()),
            _ => Readiness::Ready,
        }
    }
}

#[async_trait]
impl CloudKind for Router {
    fn service(&self) -> Service {
        Service::Network
    }

    fn gone_when_deleted(&self) -> bool {
        true
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        let project = session.identity().project_id.as_str();
        let routers: Vec<Live> = neutron::list(session, &[("project_id", project)]).await?;
        if routers.is_empty() {
            return Ok(Vec::new());
        }
        let mut filters = vec![("project_id", project)];
        filters.extend(INTERFACES.map(|owner| ("device_owner", owner)));
        let ports: Vec<Port> = neutron::list(session, &filters).await?;
        let subnets = subnets_of(session, ports.iter().map(|port| port.network_id.as_str())).await?;
        let mut by_router: BTreeMap<&str, Vec<&Port>> = BTreeMap::new();
        for port in &ports {
            by_router.entry(&port.device_id).or_default().push(port);
        }
        let own = |router: &Live| by_router.get(router.id.as_str()).cloned().unwrap_or_default();
        Ok(routers.iter().map(|router| seen(router, &own(router), &subnets)).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        let Some(router) = neutron::get::<Live>(session, &id.0).await? else { return Ok(None) };
        let ports = interfaces(session, id).await?;
        let subnets = subnets_of(session, ports.iter().map(|port| port.network_id.as_str())).await?;
        Ok(Some(seen(&router, &ports.iter().collect::<Vec<_>>(), &subnets)))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let mut body = Map::new();
        body.insert("name".to_owned(), json!(common::text(want, "name").unwrap_or_default()));
        body.insert("description".to_owned(), json!(common::describe(cx, want)?));
        if let Some(external) = common::id(want, "external") {
            body.insert("external_gateway_info".to_owned(), json!({ "network_id": external }));
        }
        let router = RemoteId(neutron::create::<Live>(cx.session, body.into()).await?.id);
        let networks = common::ids(want.get("networks"));
        let connected = async {
            let missing = missing_interfaces(cx, &networks, &[]).await?;
            connect(cx, &router, &missing).await
        };
        match connected.await {
            Ok(()) => Ok(router),
            // Without its interfaces the router is of no use, and the next apply makes it whole or a new one.
            Err(error) => match self.delete(cx, &router).await {
                Ok(()) => Err(error),
                Err(_) => Err(common::half_done(error)),
            },
        }
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        let mut body = common::body::<Live>(cx, update, &[]).await?;
        if common::changes(update, "external") {
            let gateway = common::id(update.want, "external").map_or(Json::Null, |id| json!({ "network_id": id }));
            body.insert("external_gateway_info".to_owned(), gateway);
        }
        common::send::<Live>(cx, update.id, body).await?;
        if !common::changes(update, "networks") {
            return Ok(());
        }
        let wanted = common::ids(update.want.get("networks"));
        // Without `networks` in the spec only those go that the spec named before.
        let before = if update.want.get("networks").is_some_and(|value| !value.is_null()) {
            common::ids(update.live.get("networks"))
        } else {
            common::ids(update.applied.get("networks"))
        };
        let ports = interfaces(cx.session, update.id).await?;
        // Asked for first: a network that cannot be connected is no reason to disconnect another.
        let missing = missing_interfaces(cx, &wanted, &ports).await?;
        let surplus = ports.iter().filter(|port| {
            let network = port.network_id.as_str();
            before.contains(&network) && !wanted.contains(&network)
        });
        for port in surplus {
            disconnect(cx, update.id, port).await?;
        }
        connect(cx, update.id, &missing).await
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        // A router with interfaces is refused (409 RouterInUse).
        for port in interfaces(cx.session, id).await? {
            disconnect(cx, id, &port).await?;
        }
        neutron::delete::<Live>(cx.session, &id.0).await
    }
}

/// The subnets of these networks.
async fn subnets_of(session: &Session, networks: impl Iterator<Item = &str>) -> Result<Vec<Subnet>, CloudError> {
    let networks: BTreeSet<&str> = networks.collect();
    if networks.is_empty() {
        return Ok(Vec::new());
    }
    let filters: Vec<_> = networks.into_iter().map(|network| ("network_id", network)).collect();
    neutron::list(session, &filters).await
}

/// Takes the stack's own routers off a network that is to go, or off one subnet of it: Neutron refuses to delete it
/// before. Whether that is all that stood in the way; where it is not, nothing is done.
pub(super) async fn leave(cx: &OpCx<'_>, network: &str, subnet: Option<&RemoteId>) -> Result<bool, CloudError> {
    let mut ports: Vec<Port> = neutron::list(cx.session, &[("network_id", network)]).await?;
    ports.retain(|port| subnet.is_none_or(|subnet| is_in([port], &subnet.0)) && !of_the_site(port));
    let ours = |port: &Port| {
        let is_ours =
            |(address, id): (&Address, &RemoteId)| address.section == SCHEMA.section && id.0 == port.device_id;
        INTERFACES.contains(&port.device_owner.as_str()) && cx.ids.iter().any(is_ours)
    };
    if !ports.iter().all(ours) {
        return Ok(false);
    }
    for port in &ports {
        disconnect(cx, &RemoteId::from(port.device_id.as_str()), port).await?;
    }
    Ok(true)
}

/// Whether a port goes with its network by itself.
fn of_the_site(port: &Port) -> bool {
    ["network:dhcp", "network:distributed"].contains(&port.device_owner.as_str())
}

/// The router's interfaces.
async fn interfaces(session: &Session, router: &RemoteId) -> Result<Vec<Port>, CloudError> {
    let mut ports: Vec<Port> = neutron::list(session, &[("device_id", &router.0)]).await?;
    ports.retain(|port| INTERFACES.contains(&port.device_owner.as_str()));
    Ok(ports)
}

/// The ids of the subnets of these networks in which the router has to get an interface yet.
async fn missing_interfaces(cx: &OpCx<'_>, networks: &[&str], there: &[Port]) -> Result<Vec<String>, CloudError> {
    let subnets = subnets_of(cx.session, networks.iter().copied()).await?;
    Ok(unconnected(networks, &subnets, there)?.into_iter().map(str::to_owned).collect())
}

async fn connect(cx: &OpCx<'_>, router: &RemoteId, subnets: &[String]) -> Result<(), CloudError> {
    for subnet in subnets {
        match neutron::add_interface(cx.session, &router.0, subnet).await {
            // What a repeated request gets whose first answer was lost.
            Err(error) if error.message.contains("already has a port on subnet") => {}
            other => other?,
        }
    }
    Ok(())
}

/// The subnets with a gateway, of these networks, in which none of the interfaces is.
fn unconnected<'a>(networks: &[&str], subnets: &'a [Subnet], there: &[Port]) -> Result<Vec<&'a str>, CloudError> {
    let routed = subnets.iter().filter(|subnet| subnet.gateway_ip.is_some());
    if let Some(network) = networks.iter().find(|id| !routed.clone().any(|subnet| subnet.network_id == **id)) {
        let message = format!("the router cannot be connected to network {network}: no subnet of it has a gateway");
        return Err(
            common::refused(message).hint("give one of the network's `subnets` a gateway: leave `gateway: none` out")
        );
    }
    Ok(routed.map(|subnet| subnet.id.as_str()).filter(|id| !is_in(there, id)).collect())
}

/// Whether one of the interfaces is in the subnet.
fn is_in<'a>(interfaces: impl IntoIterator<Item = &'a Port>, subnet: &str) -> bool {
    interfaces.into_iter().flat_map(|port| &port.fixed_ips).any(|ip| ip.subnet_id == subnet)
}

/// The change of a router that lacks an interface in a network that it is connected to otherwise.
fn unconnected_change(sides: &Sides<'_>) -> Option<FieldChange> {
    let lacking: Vec<&str> = sides.live.get("unconnected")?.as_list()?.iter().filter_map(Value::as_str).collect();
    let is_lacking = |network: &Value| network.as_id().is_some_and(|id| lacking.contains(&id.0.as_str()));
    let after = sides.want.get("networks")?;
    let (wanted, live) = (after.as_list()?, sides.live.get("networks")?.as_list()?);
    wanted.iter().any(is_lacking).then(|| FieldChange {
        field: "networks".to_owned(),
        before: Value::List(live.iter().filter(|network| !is_lacking(network)).cloned().collect()),
        after: after.clone(),
        effect: Effect::Update,
        note: Some("an interface in a subnet is missing".to_owned()),
    })
}

async fn disconnect(cx: &OpCx<'_>, router: &RemoteId, port: &Port) -> Result<(), CloudError> {
    neutron::remove_interface(cx.session, &router.0, &port.id).await.map_err(|error| match error.kind {
        ErrorKind::Conflict => error.hint(
            "a floating IP is bound to a server behind it: unbind that first (`openstack floating ip list` shows which)",
        ),
        _ => error,
    })
}

fn seen(router: &Live, interfaces: &[&Port], subnets: &[Subnet]) -> Seen {
    let external = router.external_gateway_info.as_ref();
    let is_on = |network: &str| interfaces.iter().any(|port| port.network_id == network);
    let lacks = |subnet: &&Subnet| subnet.gateway_ip.is_some() && !is_in(interfaces.iter().copied(), &subnet.id);
    let unconnected: BTreeSet<&str> = subnets
        .iter()
        .filter(|subnet| is_on(&subnet.network_id))
        .filter(lacks)
        .map(|s| s.network_id.as_str())
        .collect();
    let mut attrs = fields([
        ("networks", common::live_refs("network", interfaces.iter().map(|port| port.network_id.as_str()))),
        ("status", Value::text(&router.status)),
        ("unconnected", Value::List(unconnected.into_iter().map(Value::text).collect())),
    ]);
    attrs.insert(
        "external".to_owned(),
        external.map_or(Value::Null, |gateway| Value::live("network", &gateway.network_id)),
    );
    Facts {
        id: &router.id,
        name: &router.name,
        description: router.description(),
        status: &router.status,
        created_at: router.created_at.as_deref(),
    }
    .seen(attrs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::neutron::FixedIp;

    fn subnet(id: &str, network: &str, gateway: Option<&str>) -> Subnet {
        Subnet {
            id: id.to_owned(),
            name: String::new(),
            description: None,
            network_id: network.to_owned(),
            cidr: "192.168.1.0/24".to_owned(),
            gateway_ip: gateway.map(str::to_owned),
            enable_dhcp: true,
            dns_nameservers: Vec::new(),
            allocation_pools: Vec::new(),
            created_at: None,
        }
    }

    fn interface(subnet: &str) -> Port {
        let address = FixedIp { subnet_id: subnet.to_owned(), ip_address: "192.168.1.1".to_owned() };
        Port {
            id: format!("interface in {subnet}"),
            name: String::new(),
            description: None,
            status: String::new(),
            network_id: String::new(),
            device_id: String::new(),
            device_owner: INTERFACES[0].to_owned(),
            mac_address: String::new(),
            fixed_ips: vec![address],
            security_groups: Vec::new(),
            port_security_enabled: None,
            created_at: None,
        }
    }

    #[test]
    fn interfaces_are_added_where_there_is_a_gateway_and_none_yet() {
        let subnets = [
            subnet("a1", "a", Some("192.168.1.1")),
            subnet("a2", "a", None),
            subnet("a3", "a", Some("192.168.3.1")),
            subnet("b1", "b", None),
        ];
        assert_eq!(unconnected(&["a"], &subnets, &[interface("a3")]).unwrap(), ["a1"]);
        let error = unconnected(&["a", "b"], &subnets, &[]).unwrap_err();
        assert!(error.to_string().contains("network b: no subnet of it has a gateway"), "{error}");
    }

    #[test]
    fn an_interface_that_is_missing_in_one_of_a_networks_subnets_is_a_difference() {
        let router: Live = serde_json::from_value(json!({ "id": "r", "external_gateway_info": null })).unwrap();
        let on = |subnet: &str| Port { network_id: "a".to_owned(), ..interface(subnet) };
        let subnets =
            [subnet("a1", "a", Some("192.168.1.1")), subnet("a2", "a", Some("192.168.2.1")), subnet("a3", "a", None)];
        let want = fields([("networks", Value::List(vec![Value::live("network", "a")]))]);
        let diff = |interfaces: &[&Port]| {
            let live = seen(&router, interfaces, &subnets).attrs;
            let sides = Sides { want: &want, applied: &want, live: &live, now: jiff::Timestamp::UNIX_EPOCH };
            Router.diff(&sides).unwrap()
        };
        assert_eq!(diff(&[&on("a1"), &on("a2")]), []);
        let changes = diff(&[&on("a1")]);
        assert_eq!(
            (changes.len(), &changes[0].before, &changes[0].after),
            (1, &Value::List(vec![]), &want["networks"])
        );
    }

    #[test]
    fn networks_are_a_set_and_what_the_spec_drops_is_let_go() {
        let networks = |ids: &[&str]| Value::List(ids.iter().map(|id| Value::live("network", *id)).collect());
        let live = fields([("networks", networks(&["a", "b"])), ("external", Value::live("network", "public"))]);
        let none = Fields::new();
        let diff = |want: &Fields, applied: &Fields| {
            Router.diff(&Sides { want, applied, live: &live, now: jiff::Timestamp::UNIX_EPOCH }).unwrap()
        };
        let turned = fields([("networks", networks(&["b", "a"]))]);
        assert_eq!(diff(&turned, &turned), []);
        assert_eq!(diff(&none, &none), []);
        let dropped = diff(&none, &live);
        assert_eq!(dropped.iter().map(|change| change.field.as_str()).collect::<Vec<_>>(), ["external", "networks"]);
        assert!(dropped.iter().all(|change| change.after.is_null()));
    }
}
