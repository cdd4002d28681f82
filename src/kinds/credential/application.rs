//! Application credentials: a sign-in of a program's own, for one project, with no more rights than it needs.
//!
//! Keystone changes nothing about one once it is made, so every change makes another; and it shows the secret to nobody.
//! So the secret is made here and is in the state, sealed, before the request that carries it. The stamp is in the
//! description, as Neutron's objects have it.
//!
//! One that lives for a span of time may be renewed ahead of its end: the new one is there before the old one goes. Two of one
//! user cannot share a name, so the newer of the two has its unique id behind it; in the spec's words that is no part of
//! the name.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::cloud::{CloudError, ErrorKind, Service, Session, keystone, shapes};
use crate::kinds::kind::{
    CloudKind, DerivedPart, Effect, FieldChange, Kind, Mistake, OpCx, Place, Recipe, Refused, Seen, Sides, Update,
    diff_fields,
};
use crate::kinds::schema::{Field, Literal, NameRule, Schema, Type, attribute, field};
use crate::model::{Address, Fields, Json, RemoteId, Stamp, Value};
use crate::plan::is_aside;

use super::write::{self, SIGN_IN, WRITE};
use super::{PLACE, TYPES, place, text};

/// An application credential.
pub struct ApplicationCredential;

/// Keystone's own secrets have 86 characters of base64, 512 bits; these have 381 bits, and need no quoting anywhere.
const SECRET_LENGTH: usize = 64;
const SECONDS: &str = "%Y-%m-%dT%H:%M:%SZ";
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
        field(
            "expires",
            Type::TimeOrSpan,
            "When it ends, or how long it lives from when it is made, `90d`; never where absent.",
        )
        .replace(),
        field("renew_before", Type::Duration, "How long before its end another one takes its place.").ignore(),
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
        attribute("expires_at", "When it ends."),
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
    attrs.insert("name".to_owned(), Value::text(spec_name(&credential.name, stamp.as_ref())));
    attrs.insert("description".to_owned(), Value::text(description));
    attrs.insert("unrestricted".to_owned(), Value::Bool(credential.unrestricted.unwrap_or(false)));
    for name in ["expires", "expires_at"] {
        attrs.extend(expires.map(|at| (name.to_owned(), Value::text(at.strftime(SECONDS).to_string()))));
    }
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

/// A name without what tells the newer of two apart.
fn spec_name<'a>(name: &'a str, stamp: Option<&Stamp>) -> &'a str {
    let base = stamp.and_then(|stamp| name.strip_suffix(stamp.uid.as_str())?.strip_suffix('-'));
    base.filter(|base| !base.is_empty()).unwrap_or(name)
}

/// When one that is made now ends.
fn end(want: &Fields, now: Timestamp) -> Option<String> {
    match want.get("expires")? {
        Value::Int(span) => {
            let at = now.checked_add(SignedDuration::from_secs(*span)).ok()?;
            Some(at.strftime(SECONDS).to_string())
        }
        fixed => fixed.as_str().map(str::to_owned),
    }
}

/// Whether the credential of that name is what this very resource had before: its record stepped aside for this one. Its
/// stamp may say another address, for it may have been renamed since.
async fn is_predecessor(cx: &OpCx<'_>, name: &str) -> Result<bool, CloudError> {
    let all = keystone::application_credentials(cx.session).await?;
    Ok(all.iter().filter(|found| found.name == name).any(|found| stepped_aside(cx.address, cx.ids, &found.id)))
}

fn stepped_aside(address: &Address, ids: &BTreeMap<Address, RemoteId>, id: &str) -> bool {
    ids.iter().any(|(aside, of)| of.0 == id && is_aside(aside) && aside.owner().as_ref() == Some(address))
}

/// What Keystone is asked for, but for the secret.
fn body(want: &Fields, stamp: &Stamp, now: Timestamp) -> Json {
    let mut body = json!({
        "name": text(want, "name").unwrap_or_default(),
        "description": stamp.description(text(want, "description").unwrap_or_default()),
        "unrestricted": want.get("unrestricted").and_then(Value::as_bool).unwrap_or(false),
    });
    if let Some(expires) = end(want, now) {
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

fn replaced(name: &str, before: &Value, after: &Value) -> FieldChange {
    let (before, after) = (before.clone(), after.clone());
    FieldChange { field: name.to_owned(), before, after, effect: Effect::Replace, note: None }
}

/// Whether it is known what was asked for: of one that is adopted it is not, nor of one that no block was there for.
fn is_told(sides: &Sides<'_>) -> bool {
    sides.applied.contains_key("type")
}

/// What it is to be narrowed by and was not: Keystone shows neither roles nor rules, and no end where there is none.
fn appeared(sides: &Sides<'_>) -> Vec<FieldChange> {
    let is_new = |name: &&str| {
        is_told(sides) && [sides.applied, sides.live].iter().all(|side| side.get(*name).is_none_or(Value::is_null))
    };
    let wanted = |name: &str| sides.want.get(name).filter(|want| !want.is_null());
    let names = ["expires", "roles", "access_rules"].into_iter().filter(is_new);
    names.filter_map(|name| Some(replaced(name, &Value::Null, wanted(name)?))).collect()
}

/// Only what lives for a span has a later end when it is made again.
fn check_renewal(fields: &Fields, mistakes: &mut Vec<Mistake>) {
    let Some(ahead) = fields.get("renew_before").and_then(Value::as_int) else { return };
    let help = "write how long each one lives: `expires: 90d`";
    match fields.get("expires") {
        None => mistakes.push(Mistake::new("renew_before", "it never ends, so there is nothing to renew", help)),
        Some(Value::String(at)) => {
            let message = format!("another one would end {at} too, so it cannot be renewed");
            mistakes.push(Mistake::new("renew_before", message, help));
        }
        Some(Value::Int(span)) if *span <= ahead => {
            let help = "make `renew_before` shorter than `expires`";
            mistakes.push(Mistake::new("renew_before", "it would be renewed as soon as it is made", help));
        }
        Some(_) => {}
    }
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
        check_renewal(fields, mistakes);
        if text(fields, "description").is_some_and(|description| description.contains("[anole/")) {
            mistakes.push(Mistake::new("description", "`[anole/` is anole's own mark", "leave it out"));
        }
        for (name, what) in [("roles", "role"), ("access_rules", "rule")] {
            if fields.get(name).and_then(Value::as_list).is_some_and(<[Value]>::is_empty) {
                let message = format!("a credential without a {what} opens nothing");
                let field = if name == "roles" { "roles" } else { "access_rules" };
                mistakes.push(Mistake::new(field, message, "name some, or leave the field out for all"));
            }
        }
        for rule in fields.get("access_rules").and_then(Value::as_list).unwrap_or_default() {
            let path = rule.as_map().and_then(|rule| text(rule, "path"));
            if let Some(path) = path.filter(|path| !path.starts_with('/')) {
                let message = format!("`{path}` is no path of a service");
                mistakes.push(Mistake::new("access_rules", message, "it begins with `/`: `/v2.1/servers/**`"));
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
        let mut changes = diff_fields(&SCHEMA, sides);
        if let Some(span @ Value::Int(_)) = sides.want.get("expires") {
            // The end that it has was counted from when it was made. Only another span is a change, or one where a time was.
            changes.retain(|change| change.field != "expires");
            let before = sides.applied.get("expires").filter(|before| before.as_int().is_some() || is_told(sides));
            let before = before.filter(|before| !span.same(before));
            changes.extend(before.map(|before| replaced("expires", before, span)));
        }
        let appeared = appeared(sides);
        changes.extend(appeared);
        Ok(changes)
    }

    fn renewal(&self, sides: &Sides<'_>) -> Option<Timestamp> {
        sides.want.get("expires").and_then(Value::as_int)?;
        let ahead = sides.want.get("renew_before").and_then(Value::as_int).unwrap_or(0);
        let at: Timestamp = text(sides.live, "expires")?.parse().ok()?;
        let due = at.checked_sub(SignedDuration::from_secs(ahead)).ok()?;
        (due <= sides.now).then_some(at)
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
        let now = cx.session.server_time().unwrap_or_else(Timestamp::now);
        let mut body = body(want, cx.stamp, now);
        body["secret"] = secret.into();
        let name = text(want, "name").unwrap_or_default();
        let mut made = keystone::create_application_credential(cx.session, &body).await;
        if made.as_ref().is_err_and(|error| error.kind == ErrorKind::Conflict) && is_predecessor(cx, name).await? {
            body["name"] = format!("{name}-{}", cx.stamp.uid).into();
            made = keystone::create_application_credential(cx.session, &body).await;
        }
        let made = made.map_err(|error| match error.kind {
            ErrorKind::Conflict => error.hint(format!(
                "you have an application credential of this name already: give this one another `name`, or delete that one \
                 (`openstack application credential delete {}`)",
                name
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
    use crate::plan::aside;

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
            body(&want, &stamp, Timestamp::UNIX_EPOCH),
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

    #[test]
    fn a_span_is_counted_from_when_it_is_made_and_renewed_ahead_of_its_end() {
        let day = 86_400;
        let want = fields(&[("expires", Value::Int(90 * day)), ("renew_before", Value::Int(7 * day))]);
        assert_eq!(end(&want, "2026-10-01T12:00:00Z".parse().unwrap()).as_deref(), Some("2026-12-30T12:00:00Z"));
        let live = fields(&[("expires", "2026-12-30T12:00:00Z".into())]);
        let at = |applied: &Fields, want: &Fields, now: &str| {
            let sides = Sides { want, applied, live: &live, now: now.parse().unwrap() };
            let changed = ApplicationCredential.diff(&sides).unwrap().len();
            (changed, ApplicationCredential.renewal(&sides).map(|at| at.to_string()))
        };
        let end = Some("2026-12-30T12:00:00Z".to_owned());
        assert_eq!(at(&want, &want, "2026-12-23T11:59:59Z"), (0, None));
        assert_eq!(at(&want, &want, "2026-12-23T12:00:00Z"), (0, end.clone()));
        let shorter = fields(&[("expires", Value::Int(30 * day))]);
        assert_eq!(at(&want, &shorter, "2026-12-01T00:00:00Z"), (1, None));
        assert_eq!(at(&shorter, &shorter, "2026-12-30T12:00:00Z"), (0, end), "one that has ended is made again");
        assert_eq!(at(&Fields::new(), &want, "2026-12-01T00:00:00Z"), (0, None), "an adopted one ends when it ends");
    }

    #[test]
    fn whatever_narrows_it_makes_another() {
        let told = |pairs: &[(&str, Value)]| {
            let mut fields = fields(pairs);
            fields.insert("type".to_owned(), "application".into());
            fields
        };
        let roles = Value::List(vec!["member".into()]);
        let rules = Value::List(vec![Value::Map(fields(&[("path", "/v2.1/servers".into())]))]);
        let changed = |want: &Fields, applied: &Fields, live: &Fields| {
            let sides = Sides { want, applied, live, now: "2026-11-01T00:00:00Z".parse().unwrap() };
            let changes = ApplicationCredential.diff(&sides).unwrap();
            assert!(changes.iter().all(|change| change.effect == Effect::Replace));
            changes.into_iter().map(|change| change.field).collect::<Vec<_>>()
        };
        let (wide, never) = (told(&[]), Fields::new());
        let narrow = told(&[("roles", roles), ("access_rules", rules), ("expires", "2026-12-31T00:00:00Z".into())]);
        assert_eq!(changed(&narrow, &wide, &never), ["expires", "roles", "access_rules"]);
        assert_eq!(changed(&narrow, &never, &never), Vec::<String>::new(), "what an adopted one may is not known");
        assert_eq!(changed(&wide, &narrow, &narrow), Vec::<String>::new(), "what no block says is not managed");
        let span = told(&[("expires", Value::Int(60))]);
        let date = fields(&[("expires", "2026-12-31T00:00:00Z".into())]);
        assert_eq!(changed(&span, &wide, &never), ["expires"]);
        assert_eq!(changed(&span, &narrow, &date), ["expires"]);
        assert_eq!(changed(&span, &date, &date), Vec::<String>::new(), "one that was found ends when it ends");
        assert_eq!(changed(&span, &span, &date), Vec::<String>::new());
    }

    #[test]
    fn what_stepped_aside_is_known_by_its_id() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let ids = BTreeMap::from([(aside(&address("credentials.ci"), &RemoteId::from("old")), RemoteId::from("old"))]);
        assert!(stepped_aside(&address("credentials.ci"), &ids, "old"));
        assert!(!stepped_aside(&address("credentials.ci"), &ids, "other"));
        assert!(!stepped_aside(&address("credentials.cd"), &ids, "old"));
    }

    #[test]
    fn only_what_has_a_later_end_is_renewed() {
        let count = |expires: Option<Value>| {
            let mut fields = fields(&[("type", "application".into()), ("renew_before", Value::Int(60))]);
            fields.extend(expires.map(|expires| ("expires".to_owned(), expires)));
            let mut mistakes = Vec::new();
            ApplicationCredential.check(&mut fields, &mut mistakes);
            mistakes.iter().filter(|mistake| mistake.field == "renew_before").count()
        };
        assert_eq!((count(None), count(Some("2026-12-31T00:00:00Z".into())), count(Some(Value::Int(60)))), (1, 1, 1));
        assert_eq!(count(Some(Value::Int(61))), 0);
    }

    #[test]
    fn the_newer_of_two_has_its_unique_id_behind_its_name() {
        let stamp: Stamp = "anole/1 0123456789abcdef 01234567 t 0a1b2c3d4e5f credentials.ci".parse().unwrap();
        assert_eq!(spec_name("t-ci-0a1b2c3d4e5f", Some(&stamp)), "t-ci");
        assert_eq!(spec_name("t-ci-0a1b2c3d4e5f", None), "t-ci-0a1b2c3d4e5f");
        assert_eq!(spec_name("t-ci", Some(&stamp)), "t-ci");
    }
}
