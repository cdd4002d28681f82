//! What the kinds of Neutron have in common: names, stamped descriptions, references by id, sets.
//!
//! Invariants:
//! - A description that anole sends keeps the stamp that the object carries, and gets none if it carries none.
//! - A description that Neutron would refuse for its length is refused here, before the request.

use http::Method;
use serde_json::Map;

use super::kind::{Effect, FieldChange, OpCx, Seen, Sides, Update};
use crate::cloud::neutron::{self, MAX_DESCRIPTION, Object};
use crate::cloud::{CloudError, ErrorKind, Service};
use crate::model::{Fields, Json, RemoteId, Stamp, Value};

/// What every object of Neutron says of itself.
pub(super) struct Facts<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) status: &'a str,
    pub(super) created_at: Option<&'a str>,
}

impl Facts<'_> {
    /// The live object, with its name and the user's part of its description among the attributes.
    pub(super) fn seen(self, mut attrs: Fields) -> Seen {
        let (description, stamp) = Stamp::split_description(self.description);
        attrs.insert("name".to_owned(), Value::text(self.name));
        attrs.insert("description".to_owned(), Value::text(description));
        Seen {
            id: RemoteId::from(self.id),
            name: self.name.to_owned(),
            attrs,
            status: self.status.to_owned(),
            fault: None,
            stamp,
            user_id: None,
            created_at: self.created_at.and_then(|text| text.parse().ok()),
        }
    }
}

/// Fields from pairs; those that are `Null` are left out.
pub(super) fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Fields {
    pairs.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The field's text, if it has one.
pub(super) fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// The id of the object that the field names, if it names one.
pub(super) fn id<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_id).map(|id| id.0.as_str())
}

/// The id of the object that the field must name.
pub(super) fn need_id<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, CloudError> {
    id(fields, name).ok_or_else(|| refused(format!("`{name}` names no object, and one is needed")))
}

/// The ids of the objects that a list of references names.
pub(super) fn ids(value: Option<&Value>) -> Vec<&str> {
    let items = value.and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(Value::as_id).map(|id| id.0.as_str()).collect()
}

/// The error for a request that is not sent, because Neutron would refuse it or could not make sense of it.
pub(super) fn refused(message: impl Into<String>) -> CloudError {
    CloudError { kind: ErrorKind::BadRequest, ..CloudError::config(message) }
}

/// The error for an object that is gone when it is to be changed.
pub(super) fn gone<T: Object>(id: &RemoteId) -> CloudError {
    let path = format!("{}/{id}", T::PATH);
    let message = "the object was deleted while it was to be changed";
    CloudError::new(ErrorKind::NotFound, Service::Network, &Method::PUT, &path, message)
        .hint("run `anole plan` to see what is there now")
}

/// The description of a new object: the user's text and the stamp.
pub(super) fn describe(cx: &OpCx<'_>, want: &Fields) -> Result<String, CloudError> {
    fitting(cx.stamp.description(text(want, "description").unwrap_or_default()))
}

/// The description for an object that has one already, its stamp kept.
fn redescribe(live: &str, text: &str) -> Result<String, CloudError> {
    let (_, stamp) = Stamp::split_description(live);
    fitting(stamp.map_or_else(|| text.to_owned(), |stamp| stamp.description(text)))
}

fn fitting(description: String) -> Result<String, CloudError> {
    let length = description.chars().count();
    if length <= MAX_DESCRIPTION {
        return Ok(description);
    }
    Err(refused(format!(
        "the description has {length} characters with the mark that anole adds to it, and Neutron takes {MAX_DESCRIPTION}"
    ))
    .hint(format!("shorten `description` by {} characters", length - MAX_DESCRIPTION)))
}

/// Whether the field is to be changed.
pub(super) fn changes(update: &Update<'_>, field: &str) -> bool {
    update.changes.iter().any(|change| change.field == field)
}

/// The members of an update's body that are the fields' values as they stand, `(field, member)`; the description
/// and the name are among them where they change.
pub(super) async fn body<T: Object>(
    cx: &OpCx<'_>,
    update: &Update<'_>,
    members: &[(&str, &str)],
) -> Result<Map<String, Json>, CloudError> {
    let mut body = Map::new();
    for (field, member) in [("name", "name")].iter().chain(members) {
        if changes(update, field)
            && let Some(value) = update.want.get(*field).and_then(Value::to_plain)
        {
            body.insert((*member).to_owned(), value);
        }
    }
    if changes(update, "description") {
        let live: T = neutron::get(cx.session, &update.id.0).await?.ok_or_else(|| gone::<T>(update.id))?;
        let wanted = text(update.want, "description").unwrap_or_default();
        body.insert("description".to_owned(), Json::String(redescribe(live.description(), wanted)?));
    }
    Ok(body)
}

/// Sends an update, unless there is nothing in it.
pub(super) async fn send<T: Object>(cx: &OpCx<'_>, id: &RemoteId, body: Map<String, Json>) -> Result<(), CloudError> {
    if body.is_empty() { Ok(()) } else { neutron::update::<T>(cx.session, &id.0, Json::Object(body)).await }
}

/// Takes the change of a set out of `changes` if both sides hold the same, whatever their order: references sort by
/// their text in a spec, and by their id in a cloud.
pub(super) fn drop_same_set(changes: &mut Vec<FieldChange>, field: &str) {
    changes.retain(|change| {
        change.field != field
            || match (change.before.as_list(), change.after.as_list()) {
                (Some(before), Some(after)) => !same_set(before, after),
                _ => true,
            }
    });
}

fn same_set(a: &[Value], b: &[Value]) -> bool {
    let within = |a: &[Value], b: &[Value]| a.iter().all(|one| b.iter().any(|other| one.same(other)));
    within(a, b) && within(b, a)
}

/// The change of a field that the last apply set and the spec no longer has, where the object still shows it.
pub(super) fn dropped(sides: &Sides<'_>, field: &str) -> Option<FieldChange> {
    let set =
        |fields: &Fields| fields.get(field).is_some_and(|value| !value.is_null() && value != &Value::List(vec![]));
    let before = sides.live.get(field)?;
    (!set(sides.want) && set(sides.applied) && set(sides.live)).then(|| FieldChange {
        field: field.to_owned(),
        before: before.clone(),
        after: Value::Null,
        effect: Effect::Update,
        note: None,
    })
}

/// Sorted references, for an attribute.
pub(super) fn live_refs<'a>(kind: &str, ids: impl Iterator<Item = &'a str>) -> Value {
    let ids: std::collections::BTreeSet<_> = ids.collect();
    Value::List(ids.into_iter().map(|id| Value::live(kind, id)).collect())
}

/// An error after which part of what was asked for is there.
pub(super) fn half_done(error: CloudError) -> CloudError {
    CloudError { may_have_happened: true, ..error }
}
