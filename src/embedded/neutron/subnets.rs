//! Subnets.

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;
use serde_json::json;

use super::addresses::{from_number, number, pools_around};
use super::{check_attributes, copy, document, list, networks, one, policy, require, touch, wanted, within_quota};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, repr};
use crate::model::Json;

const KNOWN: [&str; 18] = [
    "network_id",
    "ip_version",
    "cidr",
    "name",
    "description",
    "gateway_ip",
    "allocation_pools",
    "dns_nameservers",
    "host_routes",
    "enable_dhcp",
    "ipv6_ra_mode",
    "ipv6_address_mode",
    "tenant_id",
    "project_id",
    "subnetpool_id",
    "prefixlen",
    "service_types",
    "segment_id",
];

/// Answers `/subnets…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => {
            let seen = cx.state.all(Table::Subnets).filter(|doc| visible(cx, doc));
            list(cx, "subnets", seen, Json::clone, missing)
        }
        (&Method::POST, []) => create(cx),
        (&Method::GET, [id]) => Ok(one(cx, 200, "subnet", find(cx, id)?)),
        (&Method::PUT, [id]) => update(cx, id),
        (&Method::DELETE, [id]) => delete(cx, id),
        _ => Err(Fault::new(405, "")),
    }
}

fn missing(id: &str) -> Fault {
    Fault::named(404, "SubnetNotFound", format!("Subnet {id} could not be found."))
}

fn visible(cx: &Cx<'_>, doc: &Json) -> bool {
    cx.state.get(Table::Networks, doc.text("network_id")).is_some_and(|network| networks::visible(cx, network))
}

/// The subnet of that id, if the project sees its network.
pub fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    cx.state.get(Table::Subnets, id).filter(|doc| visible(cx, doc)).cloned().ok_or_else(|| missing(id))
}

fn invalid(text: String) -> Fault {
    Fault::named(400, "InvalidInput", format!("Invalid input for operation: {text}"))
}

/// The range, as the service reads it: an address inside it stands for the range.
fn range(wanted: &Json) -> Result<IpNet, Fault> {
    let cidr = wanted.text("cidr");
    if cidr.is_empty() {
        let text = "Bad subnets request: a subnetpool must be specified in the absence of a cidr.";
        return Err(Fault::named(400, "BadRequest", text));
    }
    let read: Result<IpNet, _> = cidr.parse();
    let range = read.map_err(|_| invalid(format!("{cidr} is not in a CIDR format.")))?.trunc();
    let version = wanted.int("ip_version");
    if matches!(range, IpNet::V4(_)) != (version == 4) {
        return Err(invalid(format!("cidr '{cidr}' does not match the ip_version '{version}'.")));
    }
    Ok(range)
}

/// The gateway: none if the request says null, the range's first address if it says nothing.
fn gateway(wanted: &Json, range: IpNet) -> Result<Option<IpAddr>, Fault> {
    match wanted.get("gateway_ip") {
        Some(Json::Null) => Ok(None),
        None => {
            let first = number(range.network()) + u128::from(matches!(range, IpNet::V4(_)));
            Ok(Some(from_number(first, range)))
        }
        Some(given) => {
            let text = given.as_str().unwrap_or_default();
            let refused =
                || Fault::bad(format!("Invalid input for gateway_ip. Reason: '{text}' is not a valid IP address."));
            text.parse().map(Some).map_err(|_| refused())
        }
    }
}

fn check_pools(pools: &[Json], range: IpNet) -> Result<(), Fault> {
    for pool in pools {
        let (start, end) = (pool.text("start"), pool.text("end"));
        let bounds = (start.parse::<IpAddr>(), end.parse::<IpAddr>());
        let (Ok(low), Ok(high)) = bounds else {
            return Err(Fault::bad(format!(
                "Invalid input for allocation_pools. Reason: '{start}' is not a valid IP address."
            )));
        };
        if low > high {
            let text = format!("The allocation pool {} is not valid.", repr(pool));
            return Err(Fault::named(400, "InvalidAllocationPool", text));
        }
        if !range.contains(&low) || !range.contains(&high) {
            return Err(Fault::named(
                400,
                "OutOfBoundsAllocationPool",
                format!("The allocation pool {start}-{end} spans beyond the subnet cidr {range}."),
            ));
        }
    }
    Ok(())
}

/// Refuses a gateway that a pool would give out.
fn check_gateway(gateway: &str, pools: &[Json]) -> Result<(), Fault> {
    let Ok(address) = gateway.parse::<IpAddr>() else { return Ok(()) };
    let bound = |pool: &Json, key: &str| pool.text(key).parse::<IpAddr>().ok();
    let holds = |pool: &&Json| {
        bound(pool, "start").is_some_and(|low| low <= address) && bound(pool, "end").is_some_and(|high| address <= high)
    };
    let Some(pool) = pools.iter().find(holds) else { return Ok(()) };
    let (start, end) = (pool.text("start"), pool.text("end"));
    let text = format!("Gateway ip {gateway} conflicts with allocation pool {start}-{end}.");
    Err(Fault::named(409, "GatewayConflictWithAllocationPools", text))
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let wanted = wanted(cx, "subnet")?;
    check_attributes(&wanted, &KNOWN, &[])?;
    require(&wanted, "ip_version")?;
    require(&wanted, "network_id")?;
    let network = networks::find(cx, wanted.text("network_id"))?;
    if !cx.owns(&network) {
        return Err(policy("rule:create_subnet"));
    }
    within_quota(cx, "subnet")?;
    let range = range(&wanted)?;
    let gateway = gateway(&wanted, range)?;
    let network_id = network.text("id");
    let overlaps = |doc: &Json| {
        let other: Result<IpNet, _> = doc.text("cidr").parse();
        other.is_ok_and(|other| other.contains(&range) || range.contains(&other))
    };
    if cx.state.find(Table::Subnets, "network_id", network_id).any(overlaps) {
        let text =
            format!("Requested subnet with cidr: {range} for network: {network_id} overlaps with another subnet.");
        return Err(invalid(text));
    }
    let pools = match wanted.get("allocation_pools").and_then(Json::as_array) {
        Some(pools) => pools.clone(),
        None => pools_around(range, gateway),
    };
    check_pools(&pools, range)?;
    if let Some(gateway) = gateway {
        check_gateway(&gateway.to_string(), &pools)?;
    }
    let mut doc = json!({
        "name": "", "network_id": network_id, "ip_version": wanted["ip_version"], "subnetpool_id": null,
        "enable_dhcp": true, "ipv6_ra_mode": null, "ipv6_address_mode": null,
        "gateway_ip": gateway.map(|gateway| gateway.to_string()), "cidr": range.to_string(),
        "allocation_pools": pools, "host_routes": [], "dns_nameservers": [], "router:external": false,
        "service_types": [],
    });
    let plain = [
        "name",
        "description",
        "enable_dhcp",
        "ipv6_ra_mode",
        "ipv6_address_mode",
        "host_routes",
        "dns_nameservers",
        "service_types",
    ];
    copy(&mut doc, &wanted, &plain);
    let mut doc = document(cx, doc);
    doc.set("revision_number", 0);
    let id = doc.text("id").to_owned();
    let now = cx.now;
    cx.state.edit(Table::Networks, network_id, |network| {
        network.push("subnets", json!(id));
        touch(network, now);
    });
    cx.state.put(Table::Subnets, &id, doc.clone());
    Ok(one(cx, 201, "subnet", doc))
}

fn update(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut doc = find(cx, id)?;
    if !cx.owns(&doc) {
        return Err(policy("rule:update_subnet"));
    }
    let wanted = wanted(cx, "subnet")?;
    let fixed = [
        "network_id",
        "ip_version",
        "cidr",
        "tenant_id",
        "project_id",
        "subnetpool_id",
        "prefixlen",
        "ipv6_ra_mode",
        "ipv6_address_mode",
    ];
    check_attributes(&wanted, &KNOWN, &fixed)?;
    let plain = [
        "name",
        "description",
        "enable_dhcp",
        "host_routes",
        "dns_nameservers",
        "service_types",
        "gateway_ip",
        "allocation_pools",
    ];
    copy(&mut doc, &wanted, &plain);
    check_gateway(doc.text("gateway_ip"), doc.list("allocation_pools"))?;
    touch(&mut doc, cx.now);
    cx.state.put(Table::Subnets, id, doc.clone());
    Ok(one(cx, 200, "subnet", doc))
}

fn delete(cx: &mut Cx<'_>, id: &str) -> Answer {
    let doc = find(cx, id)?;
    if !cx.owns(&doc) {
        return Err(policy("rule:delete_subnet"));
    }
    let network = doc.text("network_id").to_owned();
    let uses = |port: &Json| port.list("fixed_ips").iter().any(|fixed| fixed.text("subnet_id") == id);
    if cx.state.find(Table::Ports, "network_id", &network).any(uses) {
        return Err(Fault::named(
            409,
            "SubnetInUse",
            format!(
                "Unable to complete operation on subnet {id}: One or more ports have an IP allocation from this subnet."
            ),
        ));
    }
    cx.state.remove(Table::Subnets, id);
    let now = cx.now;
    cx.state.edit(Table::Networks, &network, |network| {
        network.retain("subnets", |subnet| subnet != id);
        touch(network, now);
    });
    Ok(Reply::empty(204))
}
