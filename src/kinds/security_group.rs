//! Security groups, with their rules.
//!
//! Rules have no order and no names: they are what they allow ([`rules`]). A group is reconciled rule by rule in
//! place.
//!
//! Invariants:
//! - Ingress rules are authoritative. Egress rules are left alone, Neutron's two default ones too, unless the spec
//!   declares one.
//! - From a shared group nothing is ever taken away, and its description is nobody's to change.

mod rules;

use async_trait::async_trait;
use serde_json::json;

use super::kind::{
    Claim, CloudKind, Effect, FieldChange, Kind, Mistake, OpCx, Place, Refused, Seen, Sides, Update, diff_fields,
};
use super::neutron::{self as common, Facts, fields};
use super::schema::{Field, Literal, NameRule, RefChange, RefType, Schema, Type, field};
use crate::cloud::neutron::{self, Object as _, SecurityGroup as Live, SecurityGroupRule};
use crate::cloud::{CloudError, ErrorKind, Service, Session};
use crate::model::{Fields, Json, RemoteId, Value};

/// The kind.
#[derive(Debug, Clone, Copy)]
pub struct SecurityGroup;

static SCHEMA: Schema = Schema {
    kind: "security_group",
    section: "security_groups",
    doc: "A security group: what may reach the servers that it is put on. What no rule allows is refused.",
    fields: &[
        field("name", Type::Text, "The group's name in the site."),
        field("description", Type::Text, "A text for people, shown by the site."),
        field(
            "shared",
            Type::Bool,
            "Whether this is a group of the whole project (`allow-ssh`): it is found by its name, or made if there is \
             none; rules are added to it, never removed; it is never deleted.",
        )
        .default(Literal::Bool(false))
        .ignore(),
        field(
            "rules",
            Type::List(&Type::Struct(RULE)),
            "What is allowed. Incoming rules that are not in the list are removed; outgoing ones only if the list has an \
             outgoing rule. `[]` allows nothing in; rules are not managed where the field is absent.",
        ),
    ],
    attributes: &[],
    protect: false,
    lookup: true,
    name: NameRule::Default,
};

const RULE: &[Field] = &[
    field("port", Type::Ports, "The port, or a range of ports: `22`, `9000-9001`. All ports where absent."),
    field("ports", Type::List(&Type::Ports), "Several ports or ranges, in place of `port`."),
    field("direction", Type::Enum(&["ingress", "egress"]), "Whether it is about what comes in or what goes out.")
        .default(Literal::Str("ingress")),
    field(
        "protocol",
        Type::Text,
        "The protocol, by name (`tcp`, `udp`, `icmp`) or number (`\"47\"`); `any` for all of them.",
    )
    .default(Literal::Str("tcp")),
    field(
        "remote_cidr",
        Type::Cidr,
        "The addresses at the other end: `10.0.0.0/8`. All of them (`0.0.0.0/0`, or `::/0` for IPv6) where absent.",
    ),
    field(
        "ethertype",
        Type::Enum(&["IPv4", "IPv6"]),
        "The version of IP. That of `remote_cidr` where absent, else IPv4.",
    ),
    field(
        "remote_group",
        Type::WordOr("self", &Type::Ref(RefType::new("security_group", RefChange::Update).or_lookup())),
        "The group that the other end must have, in place of `remote_cidr`; `self` for this group.",
    ),
    field("description", Type::Text, "A text for people, shown by the site."),
];

impl Kind for SecurityGroup {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&SecurityGroup)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        if let Some(Value::List(list)) = fields.get_mut("rules") {
            *list = rules::canonical(list, mistakes);
        }
    }

    fn own_name(&self, key: &str, fields: &Fields) -> Option<String> {
        (fields.get("shared") == Some(&Value::Bool(true))).then(|| key.to_owned())
    }

    fn claim(&self, fields: &Fields) -> Option<Claim> {
        let name = fields.get("name").filter(|name| name.as_str().is_some())?;
        is_shared(fields).then(|| Claim { field: "name", value: name.clone(), or_create: true })
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_fields(&SCHEMA, sides);
        let shared = is_shared(sides.want);
        changes.retain(|change| !shared && change.field != "rules");
        let empty = Value::List(Vec::new());
        let wanted = match sides.want.get("rules").filter(|rules| !rules.is_null()) {
            Some(rules) => rules,
            // Without a list the rules are not managed any more, but those that the list had were anole's.
            None if common::dropped(sides, "rules").is_some() => &empty,
            None => return Ok(changes),
        };
        let Some(live) = sides.live.get("rules").and_then(Value::as_list) else { return Ok(changes) };
        let (before, after) = match wanted.as_list() {
            Some(wanted) => {
                let comparison = rules::compare(wanted, live, shared);
                if comparison.is_same() {
                    return Ok(changes);
                }
                (comparison.before, Value::List(wanted.to_vec()))
            }
            None => (live.to_vec(), wanted.clone()),
        };
        changes.push(FieldChange {
            field: "rules".to_owned(),
            before: Value::List(before),
            after,
            effect: Effect::Update,
            note: None,
        });
        Ok(changes)
    }
}

#[async_trait]
impl CloudKind for SecurityGroup {
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
        let name = common::text(want, "name").unwrap_or_default();
        // A group of the whole project is found by its name, and carries nobody's stamp.
        let description = match is_shared(want) {
            true => common::text(want, "description").unwrap_or_default().to_owned(),
            false => common::describe(cx, want)?,
        };
        let group: Live = neutron::create(cx.session, json!({ "name": name, "description": description })).await?;
        let id = RemoteId(group.id.clone());
        match self.fill(cx, &group, want).await {
            Ok(()) => Ok(id),
            // Without its rules the group does not do what was asked, so it is taken back; if that fails too, its
            // stamp tells that it is there.
            Err(error) => match self.delete(cx, &id).await {
                Ok(()) => Err(error),
                Err(_) => Err(common::half_done(error)),
            },
        }
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        let body = common::body::<Live>(cx, update, &[]).await?;
        common::send::<Live>(cx, update.id, body).await?;
        if !common::changes(update, "rules") {
            return Ok(());
        }
        let group: Live =
            neutron::get(cx.session, &update.id.0).await?.ok_or_else(|| common::gone::<Live>(update.id))?;
        let live = live_rules(&group);
        let wanted = update.want.get("rules").and_then(Value::as_list).unwrap_or_default();
        let comparison = rules::compare(wanted, &live, is_shared(update.want));
        let mut surplus = comparison.surplus;
        for rule in comparison.missing {
            // To Neutron two rules that differ only in their descriptions are one (409): the old one goes first.
            if let Some(at) = surplus.iter().position(|old| rules::same_but_description(rule, &live[*old])) {
                remove_rule(cx, &group, surplus.swap_remove(at)).await?;
            }
            let body = rules::body(rule, &group.id).map_err(common::refused)?;
            match neutron::create::<SecurityGroupRule>(cx.session, body).await {
                Err(error) if error.code.as_deref() == Some("SecurityGroupRuleExists") => {}
                other => drop(other?),
            }
        }
        for at in surplus {
            remove_rule(cx, &group, at).await?;
        }
        Ok(())
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        neutron::delete::<Live>(cx.session, &id.0).await.map_err(|error| match error.kind {
            ErrorKind::Conflict => error.hint(
                "a server's port still has the group: `openstack server list` and `openstack server remove security group`",
            ),
            _ => error,
        })
    }

    /// The project's own groups come first; those that other projects share are found where it has none.
    async fn lookup(&self, session: &Session, name_or_id: &str) -> Result<Vec<Seen>, CloudError> {
        let project = session.identity().project_id.as_str();
        let searches: [&[(&str, &str)]; 3] =
            [&[("name", name_or_id), ("project_id", project)], &[("name", name_or_id)], &[("id", name_or_id)]];
        for filters in searches {
            let found: Vec<Live> = neutron::list(session, filters).await?;
            if !found.is_empty() {
                return Ok(found.iter().map(seen).collect());
            }
        }
        Ok(Vec::new())
    }
}

impl SecurityGroup {
    /// Brings a new group's rules to what is wanted: all that are missing in one request.
    async fn fill(&self, cx: &OpCx<'_>, group: &Live, want: &Fields) -> Result<(), CloudError> {
        let Some(wanted) = want.get("rules").and_then(Value::as_list) else { return Ok(()) };
        let live = live_rules(group);
        let comparison = rules::compare(wanted, &live, is_shared(want));
        let bodies: Result<Vec<Json>, String> =
            comparison.missing.into_iter().map(|rule| rules::body(rule, &group.id)).collect();
        let bodies = bodies.map_err(common::refused)?;
        neutron::create_all::<SecurityGroupRule>(cx.session, bodies).await?;
        for at in comparison.surplus {
            remove_rule(cx, group, at).await?;
        }
        Ok(())
    }
}

async fn remove_rule(cx: &OpCx<'_>, group: &Live, at: usize) -> Result<(), CloudError> {
    match group.security_group_rules.get(at) {
        Some(rule) => neutron::delete::<SecurityGroupRule>(cx.session, &rule.id).await,
        None => Ok(()),
    }
}

fn is_shared(fields: &Fields) -> bool {
    fields.get("shared").and_then(Value::as_bool).unwrap_or_default()
}

/// The group's rules in canonical form, in the order in which Neutron lists them.
fn live_rules(group: &Live) -> Vec<Value> {
    group.security_group_rules.iter().map(|rule| rules::live(rule, &group.id)).collect()
}

fn seen(group: &Live) -> Seen {
    let mut rules = live_rules(group);
    rules::sort(&mut rules);
    Facts {
        id: &group.id,
        name: &group.name,
        description: group.description(),
        status: "",
        created_at: group.created_at.as_deref(),
    }
    .seen(fields([("rules", Value::List(rules))]))
}

#[cfg(test)]
mod tests;
