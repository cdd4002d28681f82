//! Subnets: parts of a network, made after it.
//!
//! Invariant: the range and the network never change in place; everything else does.

use std::net::IpAddr;

use async_trait::async_trait;
use ipnet::IpNet;
use serde_json::{Map, json};

use super::kind::{CloudKind, Kind, OpCx, Place, Seen, Update};
use super::neutron::{self as common, Facts, fields};
use super::router;
use super::schema::{Field, NameRule, RefChange, RefType, Schema, Type, field};
use crate::cloud::neutron::{self, Object as _, Pool, Subnet as Live};
use crate::cloud::{CloudError, ErrorKind, Service, Session};
use crate::model::{Fields, Json, RemoteId, Value};

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Subnet;

pub(super) const CIDR: Field = field("cidr", Type::Cidr, "The range of addresses: `192.168.1.0/24`.").replace();
pub(super) const GATEWAY: Field = field(
    "gateway",
    Type::WordOr("none", &Type::Ip),
    "The router's address in the range, or `none` for a network that leads nowhere. The range's first address where absent.",
);
pub(super) const DHCP: Field =
    field("dhcp", Type::Bool, "Whether servers are told their addresses by DHCP. True where absent.");
pub(super) const DNS: Field =
    field("dns", Type::List(&Type::Ip), "Name servers that servers are told of, in order of preference.");
pub(super) const POOLS: Field = field(
    "allocation_pools",
    Type::Set(&Type::Struct(POOL)),
    "The addresses to give out: a list of `{ start, end }`. All of the range but the gateway where absent.",
);
const POOL: &[Field] = &[
    field("start", Type::Ip, "The first address.").required(),
    field("end", Type::Ip, "The last address.").required(),
];

static SCHEMA: Schema = Schema {
    kind: "subnet",
    section: "",
    doc: "A range of addresses on a network; written under `subnets` of a network.",
    fields: &[
        field("name", Type::Text, "The subnet's name in the site."),
        CIDR,
        field("network", Type::Ref(RefType::new("network", RefChange::Replace)), "The network."),
        GATEWAY,
        DHCP,
        DNS,
        POOLS,
    ],
    attributes: &[],
    protect: false,
    lookup: true,
    name: NameRule::Default,
};

impl Kind for Subnet {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Subnet)
    }
}

#[async_trait]
impl CloudKind for Subnet {
    fn service(&self) -> Service {
        Service::Network
    }

    fn gone_when_deleted(&self) -> bool {
        true
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        let project = &session.identity().project_id;
        Ok(neutron::list(session, &[("project_id", project)]).await?.iter().map(seen).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(neutron::get(session, &id.0).await?.as_ref().map(seen))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let cidr = common::text(want, "cidr").unwrap_or_default();
        let mut body = Map::new();
        body.insert("network_id".to_owned(), json!(common::need_id(want, "network")?));
        body.insert("cidr".to_owned(), json!(cidr));
        body.insert("ip_version".to_owned(), json!(if cidr.contains(':') { 6 } else { 4 }));
        body.insert("name".to_owned(), json!(common::text(want, "name").unwrap_or_default()));
        body.insert("description".to_owned(), json!(common::describe(cx, want)?));
        for (field, member) in MEMBERS {
            if let Some(value) = want.get(*field).filter(|value| !value.is_null()).and_then(Value::to_plain) {
                body.insert((*member).to_owned(), value);
            }
        }
        if let Some(gateway) = gateway(want) {
            body.insert("gateway_ip".to_owned(), gateway);
        }
        Ok(RemoteId(neutron::create::<Live>(cx.session, body.into()).await?.id))
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        let mut body = common::body::<Live>(cx, update, MEMBERS).await?;
        if common::changes(update, "gateway")
            && let Some(gateway) = gateway(update.want)
        {
            // Neutron refuses a gateway inside of a pool (409 GatewayConflictWithAllocationPools), and the pools that
            // it made by itself hold every address: they are made anew around the gateway in the same request.
            let pools_given = update.want.get("allocation_pools").is_some_and(|pools| !pools.is_null());
            let address = gateway.as_str().and_then(|text| text.parse().ok());
            let range = common::text(update.want, "cidr").and_then(|text| text.parse().ok());
            if let (false, Some(address), Some(range)) = (pools_given, address, range) {
                body.insert(
                    "allocation_pools".to_owned(),
                    json!(Value::List(pools_around(&range, address)).to_plain()),
                );
            }
            body.insert("gateway_ip".to_owned(), gateway);
        }
        common::send::<Live>(cx, update.id, body).await
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        let refused = match neutron::delete::<Live>(cx.session, &id.0).await {
            Err(error) if error.kind == ErrorKind::Conflict => error,
            done => return done,
        };
        let Some(live) = neutron::get::<Live>(cx.session, &id.0).await? else { return Ok(()) };
        match router::leave(cx, &live.network_id, Some(id)).await? {
            true => neutron::delete::<Live>(cx.session, &id.0).await,
            false => Err(refused.hint(format!(
                "something still has an address in it: `openstack port list --fixed-ip subnet={id}` shows what"
            ))),
        }
    }

    async fn lookup(&self, session: &Session, name_or_id: &str) -> Result<Vec<Seen>, CloudError> {
        let mut found: Vec<Live> = neutron::list(session, &[("name", name_or_id)]).await?;
        if found.is_empty() {
            found = neutron::list(session, &[("id", name_or_id)]).await?;
        }
        Ok(found.iter().map(seen).collect())
    }
}

/// Fields that are sent as they are, and what Neutron calls them.
const MEMBERS: &[(&str, &str)] =
    &[("dhcp", "enable_dhcp"), ("dns", "dns_nameservers"), ("allocation_pools", "allocation_pools")];

/// What Neutron is told of the gateway: `null` for none; nothing where it is left to Neutron.
fn gateway(want: &Fields) -> Option<Json> {
    match common::text(want, "gateway")? {
        "none" => Some(Json::Null),
        address => Some(json!(address)),
    }
}

/// What is wrong with a subnet of that range, as far as its values are known.
pub(super) fn problems(range: &IpNet, subnet: &Fields) -> Vec<String> {
    let mut problems = Vec::new();
    let mut inside = |what: &str, text: Option<&str>| {
        if let Some(address) = text.and_then(|text| text.parse::<IpAddr>().ok())
            && !range.contains(&address)
        {
            problems.push(format!("the {what} {address} is not in {range}"));
        }
    };
    inside("gateway", common::text(subnet, "gateway"));
    let pools = subnet.get("allocation_pools").and_then(Value::as_list).unwrap_or_default();
    for pool in pools.iter().filter_map(Value::as_map) {
        inside("pool's start", common::text(pool, "start"));
        inside("pool's end", common::text(pool, "end"));
    }
    problems
}

/// The pools that Neutron makes for a range with that gateway: every host address but the gateway's.
fn pools_around(range: &IpNet, gateway: IpAddr) -> Vec<Value> {
    let (first, last) = match range {
        IpNet::V4(net) => {
            let (first, last) = (u128::from(net.network().to_bits()), u128::from(net.broadcast().to_bits()));
            // A range of one or two addresses has no network and no broadcast address (RFC 3021).
            if net.prefix_len() < 31 { (first + 1, last - 1) } else { (first, last) }
        }
        // The first address is the routers' anycast address (RFC 4291, 2.6.1).
        IpNet::V6(net) => (net.network().to_bits() + 1, net.broadcast().to_bits()),
    };
    let gateway = match gateway {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let address = |bits: u128| match range {
        IpNet::V4(_) => IpAddr::V4(std::net::Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))),
        IpNet::V6(_) => IpAddr::V6(std::net::Ipv6Addr::from_bits(bits)),
    };
    let pool = |start: u128, end: u128| {
        (start <= end).then(|| pool_value(&Pool { start: address(start).to_string(), end: address(end).to_string() }))
    };
    if !(first..=last).contains(&gateway) {
        return pool(first, last).into_iter().collect();
    }
    [pool(first, gateway.saturating_sub(1)), pool(gateway.saturating_add(1), last)].into_iter().flatten().collect()
}

fn pool_value(pool: &Pool) -> Value {
    Value::Map(fields([("start", Value::text(&pool.start)), ("end", Value::text(&pool.end))]))
}

fn seen(subnet: &Live) -> Seen {
    let mut pools = subnet.allocation_pools.clone();
    pools.sort_by(|a, b| a.start.cmp(&b.start));
    let attrs = fields([
        ("cidr", Value::text(&subnet.cidr)),
        ("network", Value::live("network", &subnet.network_id)),
        ("gateway", Value::text(subnet.gateway_ip.as_deref().unwrap_or("none"))),
        ("dhcp", Value::Bool(subnet.enable_dhcp)),
        ("dns", Value::List(subnet.dns_nameservers.iter().map(Value::text).collect())),
        ("allocation_pools", Value::List(pools.iter().map(pool_value).collect())),
    ]);
    Facts {
        id: &subnet.id,
        name: &subnet.name,
        description: subnet.description(),
        status: "",
        created_at: subnet.created_at.as_deref(),
    }
    .seen(attrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(range: &str, gateway: &str) -> String {
        let pools = pools_around(&range.parse().unwrap(), gateway.parse().unwrap());
        let ends = |pool: &Value| {
            let pool = pool.as_map().unwrap();
            format!("{}-{}", common::text(pool, "start").unwrap(), common::text(pool, "end").unwrap())
        };
        pools.iter().map(ends).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn pools_leave_the_gateway_out() {
        assert_eq!(pools("192.168.1.0/24", "192.168.1.1"), "192.168.1.2-192.168.1.254");
        assert_eq!(pools("192.168.1.0/24", "192.168.1.254"), "192.168.1.1-192.168.1.253");
        assert_eq!(pools("192.168.1.0/29", "192.168.1.3"), "192.168.1.1-192.168.1.2 192.168.1.4-192.168.1.6");
        assert_eq!(pools("10.0.0.0/31", "10.0.0.0"), "10.0.0.1-10.0.0.1");
        assert_eq!(pools("fd00::/64", "fd00::1"), "fd00::2-fd00::ffff:ffff:ffff:ffff");
        assert_eq!(pools("0.0.0.0/0", "255.255.255.255"), "0.0.0.1-255.255.255.254");
    }

    #[test]
    fn addresses_outside_of_the_range_are_named() {
        let subnet = fields([
            ("gateway", Value::text("10.0.0.1")),
            (
                "allocation_pools",
                Value::List(vec![pool_value(&Pool { start: "192.168.1.9".into(), end: "192.168.2.9".into() })]),
            ),
        ]);
        let problems = problems(&"192.168.1.0/24".parse().unwrap(), &subnet);
        assert_eq!(
            problems,
            ["the gateway 10.0.0.1 is not in 192.168.1.0/24", "the pool's end 192.168.2.9 is not in 192.168.1.0/24"]
        );
    }
}
