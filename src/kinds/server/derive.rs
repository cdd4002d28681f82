//! What a server's block brings with it: a port for each network, the id of the reservation that it names.
//!
//! Pure. The security groups go to the ports, where they are changed in place; the server keeps a list of its ports, so
//! that a port made anew makes the server anew.

use crate::kinds::kind::{DerivedPart, Mistake};
use crate::model::{Address, Fields, Part, Reference, Target, Template, Value};

/// The kind of what is derived.
const PORT: &str = "port";

/// Takes `networks` and `security_groups` out of the fields and makes ports of them.
pub(super) fn ports(address: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
    let Some(Value::List(networks)) = fields.remove("networks") else { return Vec::new() };
    let groups = fields.remove("security_groups").filter(|groups| !groups.is_null());
    let name = fields.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut parts: Vec<DerivedPart> = Vec::new();
    for (position, entry) in networks.iter().enumerate() {
        let (network, fixed_ip) = match entry {
            Value::Map(entry) => (entry.get("network"), entry.get("fixed_ip").filter(|ip| !ip.is_null())),
            other => (Some(other), None),
        };
        let Some(network) = network else { continue };
        let label = label(network).unwrap_or_else(|| position.to_string());
        let same = parts.iter().filter(|part| is_on(&part.part, &label)).count();
        let part = if same == 0 { format!("{PORT}[{label}]") } else { format!("{PORT}[{label}]#{}", same + 1) };
        let mut port = Fields::from([("network".to_owned(), network.clone())]);
        port.extend(name.as_ref().map(|name| {
            let suffix = if same == 0 { String::new() } else { format!("-{}", same + 1) };
            ("name".to_owned(), Value::text(format!("{name}-{label}{suffix}")))
        }));
        port.extend(fixed_ip.map(|ip| ("fixed_ip".to_owned(), ip.clone())));
        port.extend(groups.clone().map(|groups| ("security_groups".to_owned(), groups)));
        parts.push(DerivedPart { part, kind: PORT, fields: port, before_owner: true });
    }
    let ports = parts.iter().map(|part| {
        let target = Target::Resource(address.with_part(part.part.clone()));
        Value::Ref(Reference { kind: PORT.to_owned(), target, id: None })
    });
    fields.insert("ports".to_owned(), Value::List(ports.collect()));
    parts
}

/// Whether a part is the port on the network of that label, or a further one.
fn is_on(part: &str, label: &str) -> bool {
    let inner = part.strip_prefix(PORT).and_then(|rest| rest.strip_prefix('['));
    inner.and_then(|rest| rest.strip_prefix(label)).is_some_and(|rest| rest == "]" || rest.starts_with("]#"))
}

/// What people call a network in a spec.
fn label(network: &Value) -> Option<String> {
    let Value::Ref(reference) = network else { return None };
    match &reference.target {
        Target::Resource(address) => {
            let instance = address.instance.as_ref().map(|key| format!("-{key}")).unwrap_or_default();
            Some(format!("{}{instance}", address.name))
        }
        Target::Lookup(text) => Some(text.clone()),
        Target::Live => reference.id.as_ref().map(|id| id.0.clone()),
    }
}

/// Turns `reservation: node` into a reference to the id of that reservation of the lease.
pub(super) fn reservation(fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
    fields.remove("reservation_id");
    let Some(name) = fields.get("reservation").and_then(Value::as_str) else { return };
    let lease = match fields.get("lease") {
        Some(Value::Ref(Reference { target: Target::Resource(lease), .. })) => lease.clone(),
        Some(lease) if !lease.is_null() => return,
        _ => {
            let message = format!("there is no lease that `{name}` could be a reservation of");
            let help = Some("add `lease:`, or leave `reservation` out".to_owned());
            return mistakes.push(Mistake { field: "reservation", message, help });
        }
    };
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        let message = format!("`{name}` is no name of a reservation");
        return mistakes.push(Mistake { field: "reservation", message, help: None });
    }
    let path = vec!["reservations".to_owned(), name.to_owned(), "id".to_owned()];
    let id = Template(vec![Part::Attribute { address: lease, path, all: false }]);
    fields.insert("reservation_id".to_owned(), Value::Template(id));
}
