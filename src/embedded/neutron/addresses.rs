//! Addresses: which are free in a subnet, and taking and giving them back.
//!
//! Invariant: an address in use is a document of its own, so asking whether it is free, and finding one that is, does not
//! look through the ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::json;

use crate::embedded::tables::{Fields, State, Table};
use crate::model::Json;

/// An address as a number.
#[must_use]
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// A number as an address of the range's family.
#[must_use]
pub fn from_number(value: u128, range: IpNet) -> IpAddr {
    match range {
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX))),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(value)),
    }
}

/// The pools of a range: all its hosts, but for the gateway.
#[must_use]
pub fn pools_around(range: IpNet, gateway: Option<IpAddr>) -> Vec<Json> {
    let (first, last) = match range {
        IpNet::V4(net) if net.prefix_len() < 31 => (number(range.network()) + 1, number(range.broadcast()) - 1),
        IpNet::V4(_) => (number(range.network()), number(range.broadcast())),
        IpNet::V6(_) => (number(range.network()) + 1, number(range.broadcast())),
    };
    let mut parts = Vec::new();
    match gateway.map(number).filter(|gateway| (first..=last).contains(gateway)) {
        Some(gateway) => {
            if gateway > first {
                parts.push((first, gateway - 1));
            }
            if gateway < last {
                parts.push((gateway + 1, last));
            }
        }
        None => parts.push((first, last)),
    }
    let text = |value| from_number(value, range).to_string();
    parts.into_iter().map(|(start, end)| json!({"start": text(start), "end": text(end)})).collect()
}

fn key(subnet: &str, address: &str) -> String {
    format!("{subnet}/{address}")
}

/// Whether the address is taken.
#[must_use]
pub fn taken(state: &State, subnet: &str, address: &str) -> bool {
    state.get(Table::Addresses, &key(subnet, address)).is_some()
}

/// Takes an address for a port.
pub fn take(state: &mut State, subnet: &str, address: &str, port: &str) {
    state.put(Table::Addresses, &key(subnet, address), json!({"port": port}));
}

/// Gives an address back.
pub fn give_back(state: &mut State, subnet: &str, address: &str) {
    state.remove(Table::Addresses, &key(subnet, address));
}

/// A free address of the subnet, as the service does from anywhere in its pools; `None` when all are taken.
#[must_use]
pub fn free(state: &State, subnet: &Json) -> Option<String> {
    let range: IpNet = subnet.text("cidr").parse().ok()?;
    let start = uuid::Uuid::new_v4().as_u128();
    for pool in subnet.list("allocation_pools") {
        let low = number(pool.text("start").parse().ok()?);
        let high = number(pool.text("end").parse().ok()?);
        let size = high.checked_sub(low)? + 1;
        // A range of IPv6 is never searched to its end: what it has is enough for any number of ports.
        let found = (0..size.min(1 << 20))
            .map(|step| from_number(low + (start % size + step) % size, range).to_string())
            .find(|address| !taken(state, subnet.text("id"), address));
        if found.is_some() {
            return found;
        }
    }
    None
}
