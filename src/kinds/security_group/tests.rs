//! How rules are brought to canonical form, and what of a group is compared.

use super::*;

/// A rule as `key=value` words; `ports` may hold several, `port` one.
fn rule(words: &str) -> Value {
    let mut rule = Fields::new();
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap();
        let value = match key {
            "ports" => Value::List(value.split(',').map(Value::from).collect()),
            _ => Value::from(value),
        };
        rule.insert(key.to_owned(), value);
    }
    Value::Map(rule)
}

fn canonical(rules: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut mistakes = Vec::new();
    let mut fields = fields([("rules", Value::List(rules.iter().map(|words| rule(words)).collect()))]);
    SecurityGroup.check(&mut fields, &mut mistakes);
    let once = fields.clone();
    SecurityGroup.check(&mut fields, &mut Vec::new());
    assert_eq!(fields, once, "canonical form is a fixed point");
    (shown(fields["rules"].as_list().unwrap()), mistakes.into_iter().map(|mistake| mistake.message).collect())
}

fn shown(rules: &[Value]) -> Vec<String> {
    let order = ["direction", "ethertype", "protocol", "ports", "remote_cidr", "remote_group", "description"];
    let show = |rule: &Value| {
        let rule = rule.as_map().unwrap();
        order.iter().filter_map(|key| rule.get(*key)?.as_str()).collect::<Vec<_>>().join(" ")
    };
    rules.iter().map(show).collect()
}

fn live(direction: &str, protocol: Option<&str>, ports: Option<(i64, i64)>, cidr: Option<&str>) -> SecurityGroupRule {
    SecurityGroupRule {
        id: "r".to_owned(),
        direction: direction.to_owned(),
        ethertype: Some("IPv4".to_owned()),
        protocol: protocol.map(str::to_owned),
        port_range_min: ports.map(|ports| ports.0),
        port_range_max: ports.map(|ports| ports.1),
        remote_ip_prefix: cidr.map(str::to_owned),
        remote_group_id: None,
        remote_address_group_id: None,
        description: None,
    }
}

fn group(rules: Vec<SecurityGroupRule>) -> Fields {
    seen(&Live {
        id: "g".to_owned(),
        name: "jupyter".to_owned(),
        description: None,
        security_group_rules: rules,
        created_at: None,
    })
    .attrs
}

fn egress_defaults() -> [SecurityGroupRule; 2] {
    let v6 = SecurityGroupRule { ethertype: Some("IPv6".to_owned()), ..live("egress", None, None, None) };
    [live("egress", None, None, None), v6]
}

/// The diff of rules in the spec's words against live ones: what is shown before and after.
fn diff(wanted: &[&str], shared: bool, live: &Fields) -> Option<(Vec<String>, Vec<String>)> {
    let mut want = fields([
        ("name", Value::text("renamed")),
        ("shared", Value::Bool(shared)),
        ("rules", Value::List(wanted.iter().map(|words| rule(words)).collect())),
    ]);
    SecurityGroup.check(&mut want, &mut Vec::new());
    let applied = Fields::new();
    let sides = Sides { want: &want, applied: &applied, live, now: jiff::Timestamp::UNIX_EPOCH };
    let changes = SecurityGroup.diff(&sides).unwrap();
    assert_eq!(changes.iter().any(|change| change.field == "name"), !shared, "a shared group keeps its name");
    let change = changes.into_iter().find(|change| change.field == "rules")?;
    Some((shown(change.before.as_list().unwrap()), shown(change.after.as_list().unwrap())))
}

#[test]
fn a_rule_becomes_one_for_each_range_of_ports() {
    let (rules, mistakes) = canonical(&["ports=8888,9000-9001", "port=22", "port=8888 protocol=TCP", "port=22"]);
    assert_eq!(
        rules,
        ["ingress IPv4 tcp 22 0.0.0.0/0", "ingress IPv4 tcp 8888 0.0.0.0/0", "ingress IPv4 tcp 9000-9001 0.0.0.0/0"]
    );
    assert_eq!(mistakes, Vec::<String>::new());
}

#[test]
fn what_neutron_takes_for_one_rule_is_one_rule() {
    let (rules, _) = canonical(&[
        "protocol=6 port=1-65535",
        "protocol=tcp",
        "protocol=112",
        "protocol=vrrp remote_cidr=0.0.0.0/0",
        "protocol=icmp ethertype=IPv6",
        "protocol=58 remote_cidr=::/0",
        "protocol=any direction=egress remote_group=self",
        "protocol=any remote_cidr=10.1.2.3",
        "protocol=any remote_cidr=10.1.2.3/32",
    ]);
    assert_eq!(
        rules,
        [
            "ingress IPv4 any 10.1.2.3/32",
            "ingress IPv4 tcp 0.0.0.0/0",
            "ingress IPv4 vrrp 0.0.0.0/0",
            "ingress IPv6 ipv6-icmp ::/0",
            "egress IPv4 any self",
        ]
    );
}

#[test]
fn mistakes_in_rules_are_named() {
    let (_, mistakes) = canonical(&[
        "port=22 ports=23",
        "protocol=foo",
        "protocol=icmp port=8",
        "remote_cidr=::/0 ethertype=IPv4",
        "remote_cidr=10.0.0.0/8 remote_group=self",
        "port=7 description=a",
        "port=7 description=b",
        "port=0-7",
    ]);
    let starts: Vec<_> = mistakes.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
    assert_eq!(starts, ["rule 1", "rule 2", "rule 3", "rule 4", "rule 5", "rule 7", "rule 8"], "{mistakes:#?}");
}

#[test]
fn live_rules_are_told_in_the_same_words() {
    let rules = [
        live("ingress", Some("6"), Some((22, 22)), None),
        live("ingress", Some("udp"), Some((1, 65535)), Some("10.1.2.3/24")),
        live("ingress", Some("icmp"), Some((8, 0)), None),
        live("ingress", Some("200"), None, Some("10.0.0.0/8")),
        SecurityGroupRule { remote_group_id: Some("g".to_owned()), ..live("ingress", None, None, None) },
    ];
    let told: Vec<_> = rules.iter().map(|rule| rules::live(rule, "g")).collect();
    assert_eq!(
        shown(&told),
        [
            "ingress IPv4 tcp 22 0.0.0.0/0",
            "ingress IPv4 udp 10.1.2.0/24",
            "ingress IPv4 icmp type 8 code 0 0.0.0.0/0",
            "ingress IPv4 200 10.0.0.0/8",
            "ingress IPv4 any self",
        ]
    );
}

#[test]
fn ingress_is_authoritative_and_egress_only_if_declared() {
    let mut rules =
        vec![live("ingress", Some("tcp"), Some((80, 80)), None), live("ingress", Some("tcp"), Some((22, 22)), None)];
    rules.extend(egress_defaults());
    let live = group(rules);
    assert_eq!(diff(&["ports=22,80"], false, &live), None);

    let (before, after) = diff(&["port=22"], false, &live).unwrap();
    assert_eq!(before, ["ingress IPv4 tcp 22 0.0.0.0/0", "ingress IPv4 tcp 80 0.0.0.0/0"]);
    assert_eq!(after, ["ingress IPv4 tcp 22 0.0.0.0/0"]);

    let (before, _) = diff(&["ports=22,80", "direction=egress port=443"], false, &live).unwrap();
    assert_eq!(before.len(), 4, "the default egress rules count once an egress rule is declared");
    let all = ["ports=22,80", "direction=egress protocol=any", "direction=egress protocol=any ethertype=IPv6"];
    assert_eq!(diff(&all, false, &live), None);
}

#[test]
fn a_shared_group_only_gains_rules() {
    let live = group(vec![
        live("ingress", Some("tcp"), Some((22, 22)), None),
        live("ingress", Some("tcp"), Some((23, 23)), None),
    ]);
    assert_eq!(diff(&["port=22"], true, &live), None);
    let (before, after) = diff(&["ports=22,24"], true, &live).unwrap();
    assert_eq!(before, ["ingress IPv4 tcp 22 0.0.0.0/0"]);
    assert_eq!(after, ["ingress IPv4 tcp 22 0.0.0.0/0", "ingress IPv4 tcp 24 0.0.0.0/0"]);
}

#[test]
fn rules_that_leave_the_spec_leave_the_group() {
    let live = group(vec![live("ingress", Some("tcp"), Some((22, 22)), None)]);
    let (want, applied) = (Fields::new(), fields([("rules", Value::List(vec![rule("port=22")]))]));
    let sides = Sides { want: &want, applied: &applied, live: &live, now: jiff::Timestamp::UNIX_EPOCH };
    assert_eq!(SecurityGroup.diff(&sides).unwrap().len(), 1);
    let unmanaged = Sides { applied: &want, ..sides };
    assert_eq!(SecurityGroup.diff(&unmanaged).unwrap(), []);
}

#[test]
fn a_change_of_description_alone_is_seen() {
    let described =
        SecurityGroupRule { description: Some("web".to_owned()), ..live("ingress", Some("tcp"), Some((80, 80)), None) };
    let live = group(vec![described]);
    assert_eq!(diff(&["port=80"], false, &live), None);
    assert_eq!(diff(&["port=80 description=web"], false, &live), None);
    assert!(diff(&["port=80 description=shop"], false, &live).is_some());
}

#[test]
fn a_body_says_what_the_rule_says() {
    let (wanted, _) = (rule("direction=ingress ethertype=IPv4 protocol=tcp remote_group=self"), ());
    let Value::Map(mut wanted) = wanted else { unreachable!() };
    wanted.insert("ports".to_owned(), Value::text("9000-9001"));
    assert_eq!(
        rules::body(&Value::Map(wanted), "g").unwrap(),
        json!({
            "security_group_id": "g", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
            "port_range_min": 9000, "port_range_max": 9001, "remote_group_id": "g",
        })
    );
}
