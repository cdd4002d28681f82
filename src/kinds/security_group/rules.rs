//! Rules in canonical form: one range of ports, one protocol, one other end.
//!
//! ```text
//! spec:    { ports: [22, 9000-9001] }            ──canonical──▶ { direction: ingress, ethertype: IPv4, protocol: tcp, ports: "22", remote_cidr: 0.0.0.0/0 } …
//! Neutron: { port_range_min: 22, protocol: "6" } ──live───────▶ the same
//! ```
//!
//! Invariants:
//! - Two rules that Neutron takes for one have one canonical form (measured on OpenStack 2025.1): a protocol's number
//!   is its name, no other end is everybody, ports 1 to 65535 are all ports, `icmp` in IPv6 is `ipv6-icmp`.
//! - Canonical form is a fixed point; what is unknown yet stays as it is.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, json};

use super::common::{fields, text};
use crate::cloud::neutron::SecurityGroupRule;
use crate::kinds::kind::Mistake;
use crate::model::{Fields, Json, Value};

/// Protocols as Neutron names them (neutron-lib's constants), with IANA's numbers.
const PROTOCOLS: [(&str, u8); 25] = [
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("ip", 0),
    ("hopopt", 0),
    ("igmp", 2),
    ("ipip", 4),
    ("egp", 8),
    ("dccp", 33),
    ("ipv6-encap", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ospf", 89),
    ("vrrp", 112),
    ("pgm", 113),
    ("sctp", 132),
    ("udplite", 136),
];

/// Protocols that have ports.
const WITH_PORTS: [&str; 5] = ["tcp", "udp", "sctp", "dccp", "udplite"];

/// The rules in canonical form, sorted, none twice.
pub(super) fn canonical(rules: &[Value], mistakes: &mut Vec<Mistake>) -> Vec<Value> {
    let mut canonical: Vec<Value> = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let Value::Map(rule) = rule else {
            canonical.push(rule.clone());
            continue;
        };
        let mut mistake = |message: String, help: &str| {
            let message = format!("rule {}: {message}", at + 1);
            mistakes.push(Mistake { field: "rules", message, help: Some(help.to_owned()) });
        };
        for expanded in expand(rule, &mut mistake) {
            match canonical.iter().find(|other| same_but_description(&expanded, other)) {
                None => canonical.push(expanded),
                Some(other) if other.same(&expanded) => {}
                Some(_) => mistake("another rule allows the same with another description".to_owned(), "keep one"),
            }
        }
    }
    sort(&mut canonical);
    canonical
}

/// One rule for each range of ports.
fn expand(rule: &Fields, mistake: &mut impl FnMut(String, &str)) -> Vec<Value> {
    let given = |name: &str| rule.get(name).filter(|value| !value.is_null());
    let cidr = given("remote_cidr");
    let ethertype = match (given("ethertype"), cidr.and_then(Value::as_str)) {
        (Some(ethertype), _) => ethertype.clone(),
        (None, Some(cidr)) if cidr.contains(':') => Value::text("IPv6"),
        (None, _) => Value::text("IPv4"),
    };
    let is_v6 = ethertype.as_str() == Some("IPv6");
    if let Some(cidr) = cidr.and_then(Value::as_str)
        && cidr.contains(':') != is_v6
    {
        mistake(format!("the range {cidr} is not of the ethertype"), "leave `ethertype` out: it follows the range");
    }
    if cidr.is_some() && given("remote_group").is_some() {
        mistake("`remote_cidr` and `remote_group` exclude each other".to_owned(), "make two rules of it");
    }
    let protocol = match given("protocol") {
        Some(Value::String(protocol)) => protocol_name(protocol, is_v6).unwrap_or_else(|| {
            mistake(
                format!("`{protocol}` is not a protocol that Neutron knows"),
                "use `tcp`, `udp`, `icmp`, `any`, or a number from 0 to 255",
            );
            Value::text(protocol)
        }),
        Some(other) => other.clone(),
        None => Value::text("tcp"),
    };
    let ports = ports(rule, mistake);
    if let Some(protocol) = protocol.as_str()
        && !ports.iter().all(Value::is_null)
        && !WITH_PORTS.contains(&protocol)
    {
        mistake(format!("protocol `{protocol}` has no ports"), "leave the ports out, or use `tcp` or `udp`");
    }
    let remote = match (given("remote_group"), cidr) {
        (Some(_), _) => Value::Null,
        (None, Some(Value::String(cidr))) => Value::String(cidr_text(cidr)),
        (None, Some(unknown)) => unknown.clone(),
        (None, None) => Value::text(everybody(is_v6)),
    };
    let expanded = ports.into_iter().map(|ports| {
        Value::Map(fields([
            ("direction", given("direction").cloned().unwrap_or_else(|| Value::text("ingress"))),
            ("ethertype", ethertype.clone()),
            ("protocol", protocol.clone()),
            ("ports", ports),
            ("remote_cidr", remote.clone()),
            ("remote_group", given("remote_group").cloned().unwrap_or(Value::Null)),
            (
                "description",
                given("description").filter(|text| text.as_str() != Some("")).cloned().unwrap_or(Value::Null),
            ),
        ]))
    });
    expanded.collect()
}

/// The ranges of ports of a rule; one `Null` for all ports.
fn ports(rule: &Fields, mistake: &mut impl FnMut(String, &str)) -> Vec<Value> {
    let given = |name: &str| rule.get(name).filter(|value| !value.is_null());
    let ports = match (given("port"), given("ports")) {
        (Some(port), None) => vec![port.clone()],
        (None, Some(Value::List(ports))) => ports.clone(),
        (None, Some(ports)) => vec![ports.clone()],
        (Some(port), Some(_)) => {
            mistake("`port` and `ports` exclude each other".to_owned(), "put all of them under `ports`");
            vec![port.clone()]
        }
        (None, None) => return vec![Value::Null],
    };
    if ports.is_empty() {
        mistake("`ports` is empty".to_owned(), "leave it out to mean all ports");
    }
    let canonical = ports.into_iter().map(|range| match range.as_str() {
        Some(text) => match parse_range(text) {
            Some((1, 65535)) => Value::Null,
            Some((0, _)) => {
                mistake("port 0 is not a port that Neutron takes".to_owned(), "ports go from 1 to 65535");
                range
            }
            _ => range,
        },
        None => range,
    });
    canonical.collect()
}

/// A rule of a live group. `group` is the group's own id, which reads `self`.
pub(super) fn live(rule: &SecurityGroupRule, group: &str) -> Value {
    let ethertype = rule.ethertype.as_deref().unwrap_or("IPv4");
    let is_v6 = ethertype == "IPv6";
    let protocol = rule.protocol.as_deref().map_or_else(any, |protocol| {
        // A protocol of a newer Neutron is told as it is.
        protocol_name(protocol, is_v6).unwrap_or_else(|| Value::text(protocol))
    });
    let has_ports = protocol.as_str().is_some_and(|protocol| WITH_PORTS.contains(&protocol));
    let ports = match (rule.port_range_min, rule.port_range_max) {
        (Some(1), Some(65535)) if has_ports => Value::Null,
        (Some(min), Some(max)) if has_ports && min == max => Value::String(min.to_string()),
        (Some(min), Some(max)) if has_ports => Value::String(format!("{min}-{max}")),
        // ICMP keeps its type and code in these members.
        (Some(kind), Some(code)) => Value::String(format!("type {kind} code {code}")),
        (Some(kind), None) => Value::String(format!("type {kind}")),
        (None, _) => Value::Null,
    };
    let (remote, remote_group) = match (&rule.remote_group_id, &rule.remote_address_group_id, &rule.remote_ip_prefix) {
        (Some(id), ..) if id == group => (Value::Null, Value::text("self")),
        (Some(id), ..) => (Value::Null, Value::live("security_group", id)),
        // Not to be had from a spec, so it equals no wanted rule.
        (None, Some(id), _) => (Value::String(format!("address group {id}")), Value::Null),
        (None, None, Some(cidr)) => (Value::String(cidr_text(cidr)), Value::Null),
        (None, None, None) => (Value::text(everybody(is_v6)), Value::Null),
    };
    let description = rule.description.as_deref().filter(|text| !text.is_empty());
    Value::Map(fields([
        ("direction", Value::text(&rule.direction)),
        ("ethertype", Value::text(ethertype)),
        ("protocol", protocol),
        ("ports", ports),
        ("remote_cidr", remote),
        ("remote_group", remote_group),
        ("description", description.map_or(Value::Null, Value::text)),
    ]))
}

/// What of a live group differs from what is wanted.
pub(super) struct Comparison<'a> {
    /// Wanted rules that are not there.
    pub(super) missing: Vec<&'a Value>,
    /// Which of the live rules are to go.
    pub(super) surplus: Vec<usize>,
    /// The live rules that count.
    pub(super) before: Vec<Value>,
}

impl Comparison<'_> {
    pub(super) fn is_same(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty()
    }
}

/// Compares as sets. Egress counts only if any is wanted; in a shared group only what is wanted counts.
pub(super) fn compare<'a>(wanted: &'a [Value], live: &[Value], shared: bool) -> Comparison<'a> {
    let is_egress = |rule: &Value| rule.as_map().and_then(|rule| text(rule, "direction")) == Some("egress");
    let egress = wanted.iter().any(is_egress);
    let is_wanted = |rule: &Value| wanted.iter().any(|wanted| satisfies(wanted, rule));
    let counts = |rule: &&Value| if shared { is_wanted(rule) } else { egress || !is_egress(rule) };
    Comparison {
        missing: wanted.iter().filter(|wanted| !live.iter().any(|live| satisfies(wanted, live))).collect(),
        surplus: live
            .iter()
            .enumerate()
            .filter(|(_, rule)| counts(rule) && !is_wanted(rule))
            .map(|(at, _)| at)
            .collect(),
        before: live.iter().filter(counts).cloned().collect(),
    }
}

/// Whether a live rule is what is wanted. A description that the spec does not give is not managed.
fn satisfies(wanted: &Value, live: &Value) -> bool {
    let description = |rule: &Value| rule.as_map().and_then(|rule| rule.get("description").cloned());
    same_but_description(wanted, live)
        && description(wanted).is_none_or(|text| description(live).is_some_and(|live| text.same(&live)))
}

/// Whether two rules are one to Neutron.
pub(super) fn same_but_description(a: &Value, b: &Value) -> bool {
    let essence = |rule: &Value| match rule {
        Value::Map(rule) => {
            let mut rule = rule.clone();
            rule.remove("description");
            // Text put together from attributes was not canonical when the spec was read.
            if let Some(Value::String(cidr)) = rule.get_mut("remote_cidr") {
                *cidr = cidr_text(cidr);
            }
            Value::Map(rule)
        }
        other => other.clone(),
    };
    essence(a).same(&essence(b))
}

/// The body of a request for a wanted rule.
pub(super) fn body(rule: &Value, group: &str) -> Result<Json, String> {
    let unknown = || "a rule of the group holds a value that is not known".to_owned();
    let Some(Json::Object(rule)) = rule.to_plain() else { return Err(unknown()) };
    let mut body = Map::new();
    body.insert("security_group_id".to_owned(), json!(group));
    for (field, value) in rule {
        match (field.as_str(), value.as_str()) {
            ("protocol", Some("any")) => {}
            ("ports", Some(range)) => {
                let (min, max) = parse_range(range).ok_or_else(|| format!("`{range}` is not a range of ports"))?;
                body.insert("port_range_min".to_owned(), json!(min));
                body.insert("port_range_max".to_owned(), json!(max));
            }
            ("remote_cidr", _) => drop(body.insert("remote_ip_prefix".to_owned(), value)),
            ("remote_group", Some("self")) => drop(body.insert("remote_group_id".to_owned(), json!(group))),
            ("remote_group", _) => drop(body.insert("remote_group_id".to_owned(), value)),
            _ => drop(body.insert(field, value)),
        }
    }
    Ok(body.into())
}

/// Orders rules for reading: by direction, version, protocol, first port, and then by their text.
pub(super) fn sort(rules: &mut [Value]) {
    rules.sort_by_cached_key(|rule| {
        let own = |name: &str| rule.as_map().and_then(|rule| text(rule, name)).unwrap_or_default().to_owned();
        let first_port = parse_range(&own("ports")).map_or(0, |(min, _)| min);
        // Ingress before egress.
        let outward = own("direction") == "egress";
        (outward, own("ethertype"), own("protocol"), first_port, Json::from(rule.clone()).to_string())
    });
}

fn any() -> Value {
    Value::text("any")
}

fn everybody(is_v6: bool) -> &'static str {
    if is_v6 { "::/0" } else { "0.0.0.0/0" }
}

/// Neutron's name for a protocol that may be given by name or number; the number where it has no name.
fn protocol_name(protocol: &str, is_v6: bool) -> Option<Value> {
    let lower = protocol.to_ascii_lowercase();
    if matches!(lower.as_str(), "any" | "-1") {
        return Some(any());
    }
    let number = match lower.parse::<u8>() {
        Ok(number) => number,
        Err(_) => PROTOCOLS.iter().find(|(name, _)| *name == lower)?.1,
    };
    let (icmp, icmp_v6) = (1, 58);
    let number = if number == icmp && is_v6 { icmp_v6 } else { number };
    Some(match PROTOCOLS.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => Value::text(*name),
        None => Value::String(number.to_string()),
    })
}

/// `22` or `9000-9001` as its ends.
fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    Some((min.trim().parse().ok()?, max.trim().parse().ok()?))
}

/// A range of addresses by its network address; a lone address is a range of one.
fn cidr_text(text: &str) -> String {
    if let Ok(net) = text.parse::<IpNet>() {
        return net.trunc().to_string();
    }
    text.parse::<IpAddr>().map_or_else(|_| text.to_owned(), |address| IpNet::from(address).to_string())
}
