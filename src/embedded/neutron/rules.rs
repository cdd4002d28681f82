//! The rules of security groups.
//!
//! Two rules are the same when direction, ethertype, protocol (by number), ports, and remote are; no remote prefix and
//! `0.0.0.0/0` (`::/0`) are the same, and so are no ports and all ports of TCP and UDP.

use http::Method;
use ipnet::IpNet;
use serde_json::json;

use super::{check_attributes, document, groups, list, one, require, selected, touch, wanted, within_quota};
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply};
use crate::model::Json;

const KNOWN: [&str; 13] = [
    "security_group_id",
    "direction",
    "ethertype",
    "protocol",
    "port_range_min",
    "port_range_max",
    "remote_ip_prefix",
    "remote_group_id",
    "remote_address_group_id",
    "description",
    "tenant_id",
    "project_id",
    "id",
];

/// The protocols that have names here, with their numbers.
const PROTOCOLS: [(&str, u8); 26] = [
    ("ah", 51),
    ("dccp", 33),
    ("egp", 8),
    ("esp", 50),
    ("gre", 47),
    ("hopopt", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ip", 0),
    ("ipip", 4),
    ("ipv6-encap", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("ospf", 89),
    ("pgm", 113),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
    ("any", 255),
];

/// The protocols that only IPv6 has.
const ONLY_V6: [u8; 6] = [58, 41, 44, 59, 60, 43];

/// The protocols that have ports.
const WITH_PORTS: [u8; 5] = [33, 132, 6, 17, 136];

/// Answers `/security-group-rules…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    groups::default(cx);
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => match cx.call.param("security_group_id") {
            Some(group) => {
                let own = cx.state.find(Table::Rules, "security_group_id", group).filter(|doc| cx.owns(doc));
                list(cx, "security_group_rules", own, Json::clone, missing)
            }
            None => {
                let own = cx.state.find(Table::Rules, "project_id", &cx.who.project_id);
                list(cx, "security_group_rules", own, Json::clone, missing)
            }
        },
        (&Method::POST, []) => create(cx),
        (&Method::GET, [id]) => Ok(one(cx, 200, "security_group_rule", find(cx, id)?)),
        (&Method::PUT, [id]) => Err(find(cx, id).err().unwrap_or_else(|| Fault::new(405, ""))),
        (&Method::DELETE, [id]) => {
            let doc = find(cx, id)?;
            cx.state.remove(Table::Rules, id);
            touch_group(cx, doc.text("security_group_id"));
            Ok(Reply::empty(204))
        }
        _ => Err(Fault::new(405, "")),
    }
}

fn missing(id: &str) -> Fault {
    Fault::named(404, "SecurityGroupRuleNotFound", format!("Security group rule {id} does not exist"))
}

fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    cx.state.get(Table::Rules, id).filter(|doc| cx.owns(doc)).cloned().ok_or_else(|| missing(id))
}

fn touch_group(cx: &mut Cx<'_>, group: &str) {
    let now = cx.now;
    cx.state.edit(Table::Groups, group, |doc| touch(doc, now));
}

/// Makes a rule for all traffic in a direction, optionally only that of a group.
pub fn make_plain(cx: &mut Cx<'_>, group: &str, direction: &str, ethertype: &str, remote: Option<&str>) {
    let mut doc = blank(group, direction, ethertype);
    doc.set("remote_group_id", remote);
    let default = cx.state.get(Table::Groups, group).is_some_and(|group| group.text("name") == "default");
    doc.set("belongs_to_default_sg", default);
    let id = store(cx, doc).text("id").to_owned();
    // The rules that come with a group have no description at all.
    cx.state.edit(Table::Rules, &id, |doc| doc.set("description", Json::Null));
}

fn blank(group: &str, direction: &str, ethertype: &str) -> Json {
    json!({
        "security_group_id": group, "direction": direction, "ethertype": ethertype, "protocol": null,
        "port_range_min": null, "port_range_max": null, "remote_ip_prefix": null, "normalized_cidr": null,
        "remote_group_id": null, "remote_address_group_id": null, "belongs_to_default_sg": false,
    })
}

fn store(cx: &mut Cx<'_>, doc: Json) -> Json {
    let mut doc = document(cx, doc);
    doc.set("_key", key(&doc));
    doc.set("revision_number", 0);
    doc.unset("tags");
    cx.state.put(Table::Rules, doc.text("id"), doc.clone());
    doc
}

/// The protocol's number; 255 is any.
fn protocol_number(text: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok())
}

/// What two rules that are the same have in common.
fn key(doc: &Json) -> String {
    let protocol = doc.get("protocol").and_then(Json::as_str).and_then(protocol_number);
    let prefix = Some(doc.text("remote_ip_prefix")).filter(|prefix| !matches!(*prefix, "0.0.0.0/0" | "::/0" | ""));
    format!(
        "{} {} {protocol:?} {} {} {prefix:?} {} {}",
        doc.text("direction"),
        doc.text("ethertype"),
        doc["port_range_min"],
        doc["port_range_max"],
        doc["remote_group_id"],
        doc["remote_address_group_id"],
    )
}

/// Makes one rule, or several at once (`security_group_rules`), of which all or none come to be.
fn create(cx: &mut Cx<'_>) -> Answer {
    let several = cx.call.json().and_then(|body| body.get("security_group_rules").and_then(Json::as_array).cloned());
    let Some(several) = several else {
        let wanted = wanted(cx, "security_group_rule")?;
        let doc = create_one(cx, &wanted)?;
        return Ok(one(cx, 201, "security_group_rule", doc));
    };
    let mut made: Vec<Json> = Vec::new();
    for wanted in &several {
        match create_one(cx, wanted) {
            Ok(doc) => made.push(doc),
            Err(fault) => {
                for doc in &made {
                    cx.state.remove(Table::Rules, doc.text("id"));
                }
                return Err(fault);
            }
        }
    }
    let shown: Vec<Json> = made.into_iter().map(|doc| selected(doc, &[])).collect();
    Ok(Reply::json(201, json!({ "security_group_rules": shown })))
}

fn create_one(cx: &mut Cx<'_>, wanted: &Json) -> Result<Json, Fault> {
    check_attributes(wanted, &KNOWN, &[])?;
    require(wanted, "security_group_id")?;
    require(wanted, "direction")?;
    let group = wanted.text("security_group_id");
    groups::find(cx, group)?;
    let doc = read(wanted)?;
    if let Some(remote) = wanted.get("remote_group_id").and_then(Json::as_str) {
        groups::find(cx, remote)?;
    }
    let wanted_key = key(&doc);
    let mut known = cx.state.find(Table::Rules, "security_group_id", group);
    if let Some(same) = known.find(|rule| rule.text("_key") == wanted_key) {
        let text = format!("Security group rule already exists. Rule id is {}.", same.text("id"));
        return Err(Fault::named(409, "SecurityGroupRuleExists", text));
    }
    drop(known);
    within_quota(cx, "security_group_rule")?;
    let doc = store(cx, doc);
    touch_group(cx, group);
    Ok(doc)
}

/// The rule that the request describes, in the service's own words.
fn read(wanted: &Json) -> Result<Json, Fault> {
    let direction = wanted.text("direction");
    if !["ingress", "egress"].contains(&direction) {
        let text = format!("Invalid input for direction. Reason: {direction} is not in valid_values.");
        return Err(Fault::bad(text));
    }
    let ethertype = match wanted.get("ethertype").and_then(Json::as_str) {
        None => "IPv4",
        Some(text) if text.eq_ignore_ascii_case("ipv4") => "IPv4",
        Some(text) if text.eq_ignore_ascii_case("ipv6") => "IPv6",
        Some(text) => {
            let text = format!(
                "Security group rule for ethertype '{text}' not supported. Allowed values are ['IPv4', 'IPv6']."
            );
            return Err(Fault::named(400, "SecurityGroupRuleInvalidEtherType", text));
        }
    };
    let mut doc = blank(wanted.text("security_group_id"), direction, ethertype);
    let protocol = protocol(wanted, ethertype)?;
    let (min, max) = ports(wanted, protocol.as_deref())?;
    doc.set("protocol", protocol);
    doc.set("port_range_min", min);
    doc.set("port_range_max", max);
    remote(wanted, ethertype, &mut doc)?;
    doc.set("description", wanted.text("description"));
    Ok(doc)
}

fn protocol(wanted: &Json, ethertype: &str) -> Result<Option<String>, Fault> {
    let text = match wanted.get("protocol") {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::String(text)) => text.to_lowercase(),
        Some(other) => other.to_string(),
    };
    let number = protocol_number(&text).ok_or_else(|| {
        let text = format!(
            "Security group rule protocol {text} not supported. Only protocol values (None, 'any', 'ah', 'dccp', 'egp', \
             'esp', 'gre', 'hopopt', 'icmp', 'igmp', 'ip', 'ipip', 'ipv6-encap', 'ipv6-frag', 'ipv6-icmp', 'icmpv6', \
             'ipv6-nonxt', 'ipv6-opts', 'ipv6-route', 'ospf', 'pgm', 'rsvp', 'sctp', 'tcp', 'udp', 'udplite', 'vrrp') \
             and integer representations [0 to 255] are supported."
        );
        Fault::named(400, "SecurityGroupRuleInvalidProtocol", text)
    })?;
    if ethertype == "IPv4" && ONLY_V6.contains(&number) {
        let text = format!("Invalid ethertype {ethertype} for protocol {text}.");
        return Err(Fault::named(400, "SecurityGroupEthertypeConflictWithProtocol", text));
    }
    match text.as_str() {
        "any" => Ok(None),
        "icmp" | "icmpv6" if ethertype == "IPv6" => Ok(Some("ipv6-icmp".to_owned())),
        _ => Ok(Some(text)),
    }
}

fn port(wanted: &Json, key: &str) -> Result<Option<i64>, Fault> {
    let value = match wanted.get(key) {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::String(text)) => text.parse().ok(),
        Some(other) => other.as_i64(),
    };
    match value {
        Some(port) if (0..=65535).contains(&port) => Ok(Some(port)),
        _ => {
            let text = format!("Invalid value for port {}", wanted[key].to_string().trim_matches('"'));
            Err(Fault::named(400, "SecurityGroupInvalidPortValue", text))
        }
    }
}

fn ports(wanted: &Json, protocol: Option<&str>) -> Result<(Option<i64>, Option<i64>), Fault> {
    let (min, max) = (port(wanted, "port_range_min")?, port(wanted, "port_range_max")?);
    if min.is_none() && max.is_none() {
        return Ok((None, None));
    }
    let Some(protocol) = protocol else {
        let text = "Must also specify protocol if port range is given.";
        return Err(Fault::named(400, "SecurityGroupProtocolRequiredWithPorts", text));
    };
    let number = protocol_number(protocol).unwrap_or_default();
    if WITH_PORTS.contains(&number) {
        if let Some(zero) = [min, max].into_iter().flatten().find(|port| *port == 0) {
            return Err(Fault::named(400, "SecurityGroupInvalidPortValue", format!("Invalid value for port {zero}")));
        }
        if min == Some(1) && max == Some(65535) {
            return Ok((None, None));
        }
        if min.is_none() || max.is_none() || min > max {
            let text = "For TCP/UDP protocols, port_range_min must be <= port_range_max";
            return Err(Fault::named(400, "SecurityGroupInvalidPortRange", text));
        }
    } else if number == 1 || number == 58 {
        for (value, field) in [(min, "port_range_min"), (max, "port_range_max")] {
            if value.is_some_and(|value| value > 255) {
                let text = format!(
                    "Invalid value for ICMP {} ({field}) {}. It must be 0 to 255.",
                    if field == "port_range_min" { "type" } else { "code" },
                    value.unwrap_or_default()
                );
                return Err(Fault::named(400, "SecurityGroupInvalidIcmpValue", text));
            }
        }
        if min.is_none() {
            let text = format!(
                "ICMP code (port-range-max) {} is provided but ICMP type (port-range-min) is missing.",
                max.unwrap_or_default()
            );
            return Err(Fault::named(400, "SecurityGroupMissingIcmpType", text));
        }
    } else {
        let text = format!(
            "Ports cannot be specified for protocol {number}. Ports are only supported for DCCP, SCTP, TCP, UDP, \
             UDPLITE."
        );
        return Err(Fault::named(400, "SecurityGroupInvalidProtocolForPort", text));
    }
    Ok((min, max))
}

fn remote(wanted: &Json, ethertype: &str, doc: &mut Json) -> Result<(), Fault> {
    let remotes = ["remote_ip_prefix", "remote_group_id", "remote_address_group_id"];
    if remotes.iter().filter(|key| wanted.has(key)).count() > 1 {
        let text = "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.";
        return Err(Fault::named(400, "SecurityGroupMultipleRemoteEntites", text));
    }
    doc.set("remote_group_id", wanted.get("remote_group_id").cloned());
    let prefix = wanted.text("remote_ip_prefix");
    if prefix.is_empty() {
        return Ok(());
    }
    let whole = match (prefix.contains('/'), prefix.contains(':')) {
        (true, _) => prefix.to_owned(),
        (false, true) => format!("{prefix}/128"),
        (false, false) => format!("{prefix}/32"),
    };
    let bad = |_| Fault::named(400, "InvalidCIDR", format!("Invalid CIDR {prefix} given as IP prefix."));
    let range: IpNet = whole.parse().map_err(bad)?;
    if matches!(range, IpNet::V4(_)) != (ethertype == "IPv4") {
        let text = format!("Conflicting value ethertype {ethertype} for CIDR {prefix}");
        return Err(Fault::named(400, "SecurityGroupRuleParameterConflict", text));
    }
    doc.set("remote_ip_prefix", whole);
    doc.set("normalized_cidr", range.trunc().to_string());
    Ok(())
}
