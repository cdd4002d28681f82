//! Networks, which bring their subnets with them.
//!
//! In the spec a network has `subnets`; [`Kind::derive`] turns each into a part of the network (kind `subnet`), so
//! that adding one, changing one and taking one out are steps of their own.

use async_trait::async_trait;
use ipnet::IpNet;
use serde_json::json;

use super::kind::{CloudKind, DerivedPart, Kind, Mistake, OpCx, Place, Readiness, Seen, Update};
use super::neutron::{self as common, Facts, fields};
use super::schema::{Field, Literal, NameRule, OnChange, Schema, Type, attribute, field};
use super::{router, subnet};
use crate::cloud::neutron::{self, Network as Live, Object as _};
use crate::cloud::{CloudError, ErrorKind, Service, Session};
use crate::model::{Address, Fields, Reference, RemoteId, Target, Value};

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct Network;

static SCHEMA: Schema = Schema {
    kind: "network",
    section: "networks",
    doc: "A network of the project's own, with its subnets. Networks of the site (`sharednet1`, `public`) are named \
          where they are used and need no block.",
    fields: &[
        field("name", Type::Text, "The network's name in the site."),
        field("description", Type::Text, "A text for people, shown by the site."),
        field(
            "port_security",
            Type::Bool,
            "Whether ports made on the network from now on are guarded against forged addresses and may have security \
             groups. Left to the site where absent, which for most means true.",
        ),
        field("mtu", Type::Int(68, 65535), "The largest packet in bytes. Left to the site where absent."),
        field(
            "subnets",
            Type::List(&Type::Short("cidr", SUBNET)),
            "The network's address ranges. One that is taken out of the list is deleted; those made elsewhere are left alone.",
        ),
    ],
    attributes: &[attribute("status", "Neutron's word for its state: `ACTIVE`.")],
    protect: false,
    lookup: true,
    name: NameRule::Default,
};

const SUBNET: &[Field] = &[
    Field { required: true, change: OnChange::Replace, ..subnet::CIDR },
    subnet::GATEWAY,
    Field { default: Some(Literal::Bool(true)), ..subnet::DHCP },
    subnet::DNS,
    subnet::POOLS,
    field("name", Type::Text, "The subnet's name; by default the network's name, a dash and the range."),
];

impl Kind for Network {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Network)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        let mut seen = Vec::new();
        let mut mistake = |message: String, help: Option<&str>| {
            mistakes.push(Mistake { field: "subnets", message, help: help.map(str::to_owned) });
        };
        if fields.get("subnets").is_some_and(|subnets| !subnets.is_null() && subnets.as_list().is_none()) {
            mistake("the subnets must be known before anything is made".to_owned(), Some("write them out"));
        }
        for subnet in subnets(fields) {
            let Some(Value::String(cidr)) = subnet.get("cidr") else {
                if subnet.get("cidr").is_some_and(|cidr| !cidr.is_null()) {
                    mistake(
                        "a subnet's range must be known before anything is made: it is the subnet's address".to_owned(),
                        Some("write the range out, or take it from a variable"),
                    );
                }
                continue;
            };
            if seen.contains(cidr) {
                mistake(format!("the range {cidr} is there twice"), None);
            }
            seen.push(cidr.clone());
            if let Ok(range) = cidr.parse::<IpNet>() {
                for problem in subnet::problems(&range, subnet) {
                    mistake(problem, None);
                }
            }
        }
    }

    fn derive(&self, address: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        let owner = Reference { kind: SCHEMA.kind.to_owned(), target: Target::Resource(address.clone()), id: None };
        let parts = subnets(fields)
            .filter_map(|subnet| {
                let cidr = common::text(subnet, "cidr")?;
                let mut own: Fields =
                    subnet.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
                own.insert("network".to_owned(), Value::Ref(owner.clone()));
                own.entry("dhcp".to_owned()).or_insert(Value::Bool(true));
                if let Some(network) = common::text(fields, "name") {
                    own.entry("name".to_owned()).or_insert_with(|| Value::String(format!("{network}-{cidr}")));
                }
                Some(DerivedPart { part: format!("subnet[{cidr}]"), kind: "subnet", fields: own, before_owner: false })
            })
            .collect();
        fields.remove("subnets");
        parts
    }

    fn readiness(&self, seen: &Seen) -> Readiness {
        match seen.status.as_str() {
            "ERROR" => Readiness::Failed("Neutron could not set the network up".to_owned()),
            _ => Readiness::Ready,
        }
    }
}

#[async_trait]
impl CloudKind for Network {
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
        let mut body = serde_json::Map::new();
        body.insert("name".to_owned(), json!(common::text(want, "name").unwrap_or_default()));
        body.insert("description".to_owned(), json!(common::describe(cx, want)?));
        for (field, member) in MEMBERS {
            if let Some(value) = want.get(*field).filter(|value| !value.is_null()).and_then(Value::to_plain) {
                body.insert((*member).to_owned(), value);
            }
        }
        Ok(RemoteId(neutron::create::<Live>(cx.session, body.into()).await?.id))
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        let body = common::body::<Live>(cx, update, MEMBERS).await?;
        common::send::<Live>(cx, update.id, body).await
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        let refused = match neutron::delete::<Live>(cx.session, &id.0).await {
            Err(error) if error.kind == ErrorKind::Conflict => error,
            done => return done,
        };
        match router::leave(cx, &id.0, None).await? {
            true => neutron::delete::<Live>(cx.session, &id.0).await,
            false => Err(refused
                .hint(format!("something still has a port on it: `openstack port list --network {id}` shows what"))),
        }
    }

    /// Networks that other projects share are found too.
    async fn lookup(&self, session: &Session, name_or_id: &str) -> Result<Vec<Seen>, CloudError> {
        let mut found: Vec<Live> = neutron::list(session, &[("name", name_or_id)]).await?;
        if found.is_empty() {
            found = neutron::list(session, &[("id", name_or_id)]).await?;
        }
        // An administrator sees every project's networks; what others keep to themselves is not meant.
        let project = Some(&session.identity().project_id);
        let usable = |network: &Live| network.shared || network.external || network.project_id.as_ref() == project;
        if found.iter().any(usable) {
            found.retain(usable);
        }
        Ok(found.iter().map(seen).collect())
    }
}

/// Fields that are sent as they are, and what Neutron calls them.
const MEMBERS: &[(&str, &str)] = &[("port_security", "port_security_enabled"), ("mtu", "mtu")];

fn subnets(fields: &Fields) -> impl Iterator<Item = &Fields> {
    fields.get("subnets").and_then(Value::as_list).unwrap_or_default().iter().filter_map(Value::as_map)
}

fn seen(network: &Live) -> Seen {
    let attrs = fields([
        ("port_security", network.port_security_enabled.map_or(Value::Null, Value::Bool)),
        ("mtu", network.mtu.map_or(Value::Null, Value::Int)),
        ("status", Value::text(&network.status)),
    ]);
    Facts {
        id: &network.id,
        name: &network.name,
        description: network.description(),
        status: &network.status,
        created_at: network.created_at.as_deref(),
    }
    .seen(attrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(pairs: &[(&str, &str)]) -> Value {
        Value::Map(pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect())
    }

    fn network(subnets: Vec<Value>) -> Fields {
        fields([("name", Value::text("lab-private")), ("subnets", Value::List(subnets))])
    }

    #[test]
    fn subnets_become_parts_that_need_their_network() {
        let address: Address = "networks.private[a/b]".parse().unwrap();
        let given = [
            subnet(&[("cidr", "192.168.1.0/24"), ("gateway", "none")]),
            subnet(&[("cidr", "fd00::/64"), ("name", "six")]),
        ];
        let mut fields = network(given.to_vec());
        let parts = Network.derive(&address, &mut fields);
        assert!(!fields.contains_key("subnets"), "the network itself does not show them");

        let [four, six] = parts.as_slice() else { panic!("{parts:?}") };
        assert_eq!(four.part, "subnet[192.168.1.0/24]");
        let part = address.with_part(&four.part);
        assert_eq!(part.to_string().parse::<Address>().unwrap(), part);
        assert!(!four.before_owner);
        let Value::Ref(owner) = &four.fields["network"] else { panic!("{:?}", four.fields) };
        assert_eq!(owner.target, Target::Resource(address));
        assert_eq!(four.fields["name"], Value::text("lab-private-192.168.1.0/24"));
        assert_eq!(four.fields["dhcp"], Value::Bool(true));
        assert_eq!((&six.fields["name"], six.fields.get("gateway")), (&Value::text("six"), None));
    }

    #[test]
    fn mistakes_in_subnets_are_named() {
        let mut mistakes = Vec::new();
        let mut fields = network(vec![
            subnet(&[("cidr", "192.168.1.0/24"), ("gateway", "192.168.2.1")]),
            subnet(&[("cidr", "192.168.1.0/24")]),
            Value::Map([("cidr".to_owned(), Value::Unknown(Address::new("networks", "other")))].into()),
        ]);
        Network.check(&mut fields, &mut mistakes);
        let messages: Vec<_> = mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "the gateway 192.168.2.1 is not in 192.168.1.0/24",
                "the range 192.168.1.0/24 is there twice",
                "a subnet's range must be known before anything is made: it is the subnet's address",
            ]
        );
    }
}
