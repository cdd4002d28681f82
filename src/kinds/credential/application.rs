//! Application credentials: a sign-in of a program's own, for one project, with no more rights than it needs.
//!
//! Keystone changes nothing about one once it is made, so every change makes another; and it shows the secret to nobody.
//! So the secret is made here and is in the state, sealed, before the request that carries it. The stamp is in the
//! description, as Neutron's objects have it.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

use crate::cloud::{CloudError, ErrorKind, Service, Session, keystone, shapes};
use crate::kinds::kind::{
    CloudKind, DerivedPart, FieldChange, Kind, Mistake, OpCx, Place, Recipe, Refused, Seen, Sides, Update, diff_fields,
};
use crate::kinds::schema::{Field, Literal, NameRule, Schema, Type, attribute, field};
use crate::model::{Address, Fields, Json, RemoteId, Stamp, Value};

use super::write::{self, SIGN_IN, WRITE};
use super::{PLACE, TYPES, mistake, place, text};

/// An application credential.
pub struct ApplicationCredential;

/// Keystone's own secrets have 86 characters of base64, 512 bits; these have 381 bits, and need no quoting anywhere.
const SECRET_LENGTH: usize = 64;
const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static RULE: &[Field] = &[
    field("service", Type::Text, "The service's type in the catalog, `compute`.").required(),
    field("method", Type::Enum(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]), "The method.").required(),
    field("path", Type::Text, "The path, `/v2.1/servers/**`.").required(),
];

static SCHEMA: Schema = Schema {
    kind: "application_credential",
    section: "credentials",
    doc: "A sign-in for a program, with roles of yours in one project.",
    fields: &[
        field("type", Type::Enum(TYPES), "What it is: `application`, `ec2` or `random`.").required().ignore(),
        field("name", Type::Text, "The name in the site. Yours alone: two of one user cannot share a name.").replace(),
        field("description", Type::Text, "What it is for.").replace(),
        field("expires", Type::Time, "When it ends; never where absent.").replace(),
        field("roles", Type::Set(&Type::Text), "The roles that it has, by name; all of yours where absent.").replace(),
        field("access_rules", Type::List(&Type::Struct(RULE)), "The requests that it may make; all where absent.")
            .replace(),
        field("unrestricted", Type::Bool, "Whether it may make and delete credentials itself.")
            .default(Literal::Bool(false))
            .replace(),
        WRITE,
    ],
    attributes: &[
        attribute("id", "Its id, by which programs sign in."),
        attribute("secret", "Its secret.").secret(),
        PLACE[0],
        PLACE[1],
        PLACE[2],
        PLACE[3],
    ],
    protect: false,
    lookup: false,
    name: NameRule::Default,
};

fn seen(session: &Session, credential: keystone::ApplicationCredential) -> Seen {
    let mut attrs = place(session);
    let (description, stamp) = Stamp::split_description(credential.description.as_deref().unwrap_or_default());
    let expires = credential.expires_at.as_deref().and_then(shapes::time);
    attrs.insert("id".to_owned(), Value::text(credential.id.clone()));
    attrs.insert("name".to_owned(), Value::text(credential.name.clone()));
    attrs.insert("description".to_owned(), Value::text(description));
    attrs.insert("unrestricted".to_owned(), Value::Bool(credential.unrestricted.unwrap_or(false)));
    attrs.extend(expires.map(|at| ("expires".to_owned(), Value::text(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))));
    Seen {
        id: RemoteId(credential.id),
        name: credential.name,
        attrs,
        status: String::new(),
        fault: None,
        stamp,
        user_id: Some(session.identity().user_id.clone()),
        created_at: None,
    }
}

/// What Keystone is asked for, but for the secret.
fn body(want: &Fields, stamp: &Stamp) -> Json {
    let mut body = json!({
        "name": text(want, "name").unwrap_or_default(),
        "description": stamp.description(text(want, "description").unwrap_or_default()),
        "unrestricted": want.get("unrestricted").and_then(Value::as_bool).unwrap_or(false),
    });
    if let Some(expires) = text(want, "expires") {
        // Keystone keeps microseconds and no offset.
        body["expires_at"] = format!("{}.000000", expires.trim_end_matches('Z')).into();
    }
    if let Some(roles) = want.get("roles").and_then(Value::as_list) {
        body["roles"] = roles.iter().filter_map(Value::as_str).map(|name| json!({ "name": name })).collect();
    }
    if let Some(rules) = want.get("access_rules").and_then(Value::to_plain) {
        body["access_rules"] = rules;
    }
    body
}

impl Kind for ApplicationCredential {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&ApplicationCredential)
    }

    fn derive(&self, address: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        write::derive(address, fields, &SIGN_IN)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        write::check(fields, &SIGN_IN, mistakes);
        if text(fields, "description").is_some_and(|description| description.contains("[anole/")) {
            mistakes.push(mistake("description", "`[anole/` is anole's own mark", "leave it out"));
        }
        for (name, what) in [("roles", "role"), ("access_rules", "rule")] {
            if fields.get(name).and_then(Value::as_list).is_some_and(<[Value]>::is_empty) {
                let message = format!("a credential without a {what} opens nothing");
                let field = if name == "roles" { "roles" } else { "access_rules" };
                mistakes.push(mistake(field, message, "name some, or leave the field out for all"));
            }
        }
        for rule in fields.get("access_rules").and_then(Value::as_list).unwrap_or_default() {
            let path = rule.as_map().and_then(|rule| text(rule, "path"));
            if let Some(path) = path.filter(|path| !path.starts_with('/')) {
                let message = format!("`{path}` is no path of a service");
                mistakes.push(mistake("access_rules", message, "it begins with `/`: `/v2.1/servers/**`"));
            }
        }
    }

    fn makes(&self, _: &Fields) -> Vec<Recipe> {
        vec![Recipe { attribute: "secret", length: SECRET_LENGTH, alphabet: ALPHABET.to_owned() }]
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let wanted = text(sides.want, "expires");
        if let Some(at) = wanted.and_then(|at| at.parse::<Timestamp>().ok()).filter(|at| *at <= sides.now) {
            let message = format!("it expired {}: choose a later `expires`", at.strftime("%Y-%m-%dT%H:%MZ"));
            return Err(Refused { field: "expires", message });
        }
        Ok(diff_fields(&SCHEMA, sides))
    }
}

#[async_trait]
impl CloudKind for ApplicationCredential {
    fn service(&self) -> Service {
        Service::Identity
    }

    fn gone_when_deleted(&self) -> bool {
        true
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        let all = keystone::application_credentials(session).await?;
        let own = all.into_iter().filter(|found| found.project_id == session.identity().project_id);
        Ok(own.map(|found| seen(session, found)).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(keystone::application_credential(session, &id.0).await?.map(|found| seen(session, found)))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let secret = cx.secrets.get("secret").and_then(Value::expose);
        let secret = secret.ok_or_else(|| CloudError::config(format!("{}: no secret was made for it", cx.address)))?;
        let mut body = body(want, cx.stamp);
        body["secret"] = secret.into();
        let made = keystone::create_application_credential(cx.session, &body).await;
        let made = made.map_err(|error| match error.kind {
            ErrorKind::Conflict => error.hint(format!(
                "you have an application credential of this name already: give this one another `name`, or delete that one \
                 (`openstack application credential delete {}`)",
                text(want, "name").unwrap_or_default()
            )),
            _ => error,
        })?;
        Ok(RemoteId(made.id))
    }

    async fn update(&self, _: &OpCx<'_>, _: &Update<'_>) -> Result<(), CloudError> {
        Ok(())
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        keystone::delete_application_credential(cx.session, &id.0).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, Value)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn what_keystone_is_asked_for_carries_the_stamp() {
        let stamp: Stamp = "anole/1 0123456789abcdef 01234567 t 0a1b2c3d4e5f credentials.ci".parse().unwrap();
        let rule = fields(&[("service", "compute".into()), ("method", "GET".into()), ("path", "/v2.1/servers".into())]);
        let want = fields(&[
            ("name", "t-ci".into()),
            ("description", "for the pipeline".into()),
            ("expires", "2026-12-31T00:00:00Z".into()),
            ("roles", Value::List(vec!["member".into()])),
            ("access_rules", Value::List(vec![Value::Map(rule)])),
        ]);
        assert_eq!(
            body(&want, &stamp),
            json!({
                "name": "t-ci",
                "description": format!("for the pipeline [{stamp}]"),
                "unrestricted": false,
                "expires_at": "2026-12-31T00:00:00.000000",
                "roles": [{ "name": "member" }],
                "access_rules": [{ "service": "compute", "method": "GET", "path": "/v2.1/servers" }],
            })
        );
    }

    #[test]
    fn what_has_expired_is_not_made_again_as_it_was() {
        let want = fields(&[("expires", "2026-12-31T00:00:00Z".into())]);
        let applied = Fields::new();
        let diff = |now: &str| {
            let sides = Sides { want: &want, applied: &applied, live: &want, now: now.parse().unwrap() };
            ApplicationCredential.diff(&sides)
        };
        assert_eq!(diff("2026-12-30T00:00:00Z"), Ok(Vec::new()));
        assert_eq!(diff("2027-01-01T00:00:00Z").unwrap_err().field, "expires");
    }
}
