//! Leases: what Blazar reserves, from when to when.
//!
//! Invariants:
//! - The wanted end is the live start plus `duration`, or `end`. A lease that ends later than that is left alone unless
//!   the spec's text changed; nothing here drifts with the clock.
//! - A lease is extended in place or not at all: a refusal is an error and never a replacement, which would delete
//!   its servers.
//! - Blazar counts in minutes; `start` and `end` are whole minutes from [`Kind::check`] on.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::kind::{
    CloudKind, Effect, FieldChange, Kind, Mistake, OpCx, Place, Readiness, Refused, Seen, Sides, Update,
};
use super::schema::{Attribute, Field, NameRule, Schema, Type, attribute, field};
use crate::cloud::{CloudError, ErrorKind, Service, Session, blazar, shapes};
use crate::model::{Fields, RemoteId, Value};

mod reservations;

/// A lease.
pub struct Lease;

static SCHEMA: Schema = Schema {
    kind: "lease",
    section: "leases",
    doc: "What is reserved for you, from when to when. When it ends, the site deletes the servers on it.",
    fields: FIELDS,
    attributes: ATTRIBUTES,
    protect: false,
    lookup: false,
    name: NameRule::Default,
};

static FIELDS: &[Field] = &[
    field("name", Type::Text, "The name in the site."),
    field("start", Type::Time, "When it starts, `2026-12-01T18:00Z`; at once if absent.").replace(),
    field("end", Type::Time, "When it ends, `2026-12-08T18:00Z`. Give this or `duration`."),
    field(
        "duration",
        Type::Duration,
        "How long it lasts from its start, `4h` or `7d`. Give this or `end`. A lease that was extended is not cut short.",
    ),
    field(
        "reservations",
        Type::NamedList(&Type::Struct(reservations::FIELDS)),
        "What it reserves: a list, or a map that names each. Changing it makes the lease, and the servers on it, anew.",
    )
    .required()
    .replace(),
];

static ATTRIBUTES: &[Attribute] = &[
    attribute("id", "The lease's id."),
    attribute("start", "When it starts."),
    attribute("end", "When it ends."),
    attribute("status", "Blazar's word for its state, `ACTIVE` when it can be used."),
    attribute(
        "reservations",
        "What it reserves, by name (by position where it has none): `id`, `type`, `status`, and of a flavor `flavor_id`.",
    ),
];

/// A canonical time: `2026-12-01T18:00:00Z`.
fn text(time: Timestamp) -> Value {
    Value::text(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A time as people read it: `2026-12-01T18:00Z`.
fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

fn time_of(fields: &Fields, name: &str) -> Option<Timestamp> {
    fields.get(name).and_then(Value::as_str).and_then(shapes::time)
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second()
}

fn later(start: Timestamp, duration: i64) -> Option<Timestamp> {
    start.checked_add(SignedDuration::from_secs(duration)).ok()
}

fn seen(lease: blazar::Lease) -> Seen {
    let (start, end) = (lease.start(), lease.end());
    let mut attrs = Fields::from([
        ("id".to_owned(), Value::text(lease.id.clone())),
        ("name".to_owned(), Value::text(lease.name.clone())),
        ("status".to_owned(), Value::text(lease.status.clone())),
        ("reservations".to_owned(), reservations::seen(&lease.reservations)),
    ]);
    attrs.extend(start.map(|start| ("start".to_owned(), text(start))));
    attrs.extend(end.map(|end| ("end".to_owned(), text(end))));
    Seen {
        id: RemoteId(lease.id),
        name: lease.name,
        attrs,
        status: lease.status,
        fault: None,
        stamp: None,
        user_id: lease.user_id,
        created_at: lease.created_at.as_deref().and_then(shapes::time),
    }
}

/// The difference in when the lease ends, told in the field that the spec uses.
fn diff_end(sides: &Sides<'_>) -> Option<FieldChange> {
    let (start, end) = (time_of(sides.live, "start")?, time_of(sides.live, "end")?);
    let duration = sides.want.get("duration").and_then(Value::as_int);
    let (name, wanted) = match duration {
        Some(duration) => ("duration", later(start, duration)?),
        None => ("end", time_of(sides.want, "end")?),
    };
    let text_changed = ["duration", "end"].iter().any(|other| sides.applied.contains_key(*other))
        && sides.applied.get(name).is_none_or(|applied| sides.want.get(name).is_some_and(|want| !want.same(applied)));
    let short_of = seconds(end, wanted);
    // A lease that starts now may start a minute after the end was reckoned: that minute is no difference.
    let slack = if duration.is_some() { 60 } else { 0 };
    if -slack <= short_of && short_of <= slack || short_of < 0 && !text_changed {
        return None;
    }
    let note = if short_of > 0 { "the lease is extended" } else { "the lease ends earlier" };
    let before = if duration.is_some() { Value::Int(seconds(start, end)) } else { text(end) };
    Some(FieldChange {
        field: name.to_owned(),
        before,
        after: sides.want.get(name)?.clone(),
        effect: Effect::Update,
        note: Some(format!("{note}, from {} to {}", minute(end), minute(wanted))),
    })
}

/// A difference in when the lease starts; only a changed text is one, for a lease that runs cannot start again.
fn diff_start(sides: &Sides<'_>) -> Option<FieldChange> {
    let (want, live) = (sides.want.get("start").filter(|want| !want.is_null())?, sides.live.get("start")?);
    let same_text = sides.applied.get("start").is_some_and(|applied| want.same(applied));
    (!same_text && !want.same(live)).then(|| FieldChange {
        field: "start".to_owned(),
        before: live.clone(),
        after: want.clone(),
        effect: Effect::Replace,
        note: None,
    })
}

/// What a refusal to make a lease most likely means.
fn explain_create(error: CloudError) -> CloudError {
    let hint = if error.message.contains("Not enough") {
        "the site has no room for it at that time: choose another time, another flavor or node type, or fewer of them"
    } else if error.message.contains("Start date must be later") {
        "its `start` has passed: leave `start` out to start now"
    } else if error.message.contains("duration") {
        "the site limits how long a lease may be: make `duration` shorter, and extend it later"
    } else {
        return error;
    };
    error.hint(hint)
}

/// What a refusal to change when a lease ends means.
fn explain_end(error: CloudError) -> CloudError {
    match error.kind {
        ErrorKind::Unavailable if error.may_have_happened && !error.message.contains("Not enough") => error,
        ErrorKind::Connection | ErrorKind::Unauthorized | ErrorKind::NotFound => error,
        _ => error.hint(
            "the lease and what is on it are as they were. This site does not change when such a lease ends (or has no room \
             for it, or allows it only in the lease's last days): put the old value back, and plan for a new lease",
        ),
    }
}

/// Moves a lease's end, and leaves the lease in order where the service refuses.
///
/// Upstream, a refused change leaves a lease in `ERROR` (measured on 2025.1); giving it the name it has takes it out. What
/// matters is the refusal: a lease that stays in `ERROR` works while its reservations do, so no failure of that is told.
///
/// # Errors
/// The service's refusal, with what can be done about it.
pub async fn move_end(session: &Session, id: &RemoteId, name: &str, end: Timestamp) -> Result<(), CloudError> {
    let Err(refused) = blazar::set_end(session, &id.0, end).await else { return Ok(()) };
    if matches!(refused.kind, ErrorKind::Conflict | ErrorKind::BadRequest | ErrorKind::Forbidden) {
        let _ = blazar::rename(session, &id.0, name).await;
    }
    Err(explain_end(refused))
}

fn check_times(fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
    let mut mistake = |field, message: &str, help: Option<&str>| {
        mistakes.push(Mistake { field, message: message.to_owned(), help: help.map(str::to_owned) });
    };
    for name in ["start", "end"] {
        if let Some(time) = time_of(fields, name) {
            fields.insert(name.to_owned(), text(shapes::minute(time)));
        }
    }
    let given = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    match (given("duration"), given("end")) {
        (true, true) => mistake("end", "a lease has `duration` or `end`, not both", Some("leave one of them out")),
        (false, false) => {
            mistake("duration", "it is not said how long the lease lasts", Some("add `duration: 4h`, or `end`"))
        }
        _ => {}
    }
    if let (Some(start), Some(end)) = (time_of(fields, "start"), time_of(fields, "end"))
        && end <= start
    {
        mistake("end", "the lease ends before it starts", None);
    }
    match fields.get("duration").and_then(Value::as_int) {
        Some(duration) if duration < 60 => mistake("duration", "a lease lasts a minute at least", None),
        Some(duration) if duration % 60 != 0 => mistake("duration", "a lease lasts whole minutes", None),
        _ => {}
    }
}

impl Kind for Lease {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Lease)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        check_times(fields, mistakes);
        reservations::check(fields, mistakes);
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let name = sides.want.get("name").zip(sides.live.get("name")).filter(|(want, live)| !want.same(live));
        let renamed = name.map(|(want, live)| FieldChange {
            field: "name".to_owned(),
            before: live.clone(),
            after: want.clone(),
            effect: Effect::Update,
            note: None,
        });
        Ok([renamed, diff_start(sides), diff_end(sides), reservations::diff(sides)].into_iter().flatten().collect())
    }

    fn complete(&self, applied: &Fields, attrs: &mut Fields) {
        reservations::name(applied, attrs);
    }

    /// A refused change leaves a lease in `ERROR` upstream while its reservations stay active and its servers run, so
    /// it is the reservations that say whether such a lease can be used.
    fn readiness(&self, seen: &Seen) -> Readiness {
        let start = time_of(&seen.attrs, "start");
        match seen.status.as_str() {
            "PENDING" => match start {
                // One that starts at once has a start no later than the moment it was made.
                Some(start) if seen.created_at.is_none_or(|made| start > made) => Readiness::Scheduled(start),
                _ => Readiness::Pending(seen.status.clone()),
            },
            "CREATING" | "STARTING" | "UPDATING" | "TERMINATING" | "DELETING" => {
                Readiness::Pending(seen.status.clone())
            }
            "TERMINATED" => {
                let end = time_of(&seen.attrs, "end");
                let end = end.map_or_else(|| "already".to_owned(), minute);
                Readiness::Ended(format!("lease ended {end}"))
            }
            "ERROR" => {
                let states = reservations::states(&seen.attrs);
                if !states.is_empty() && states.iter().all(|state| *state == "active") {
                    return Readiness::Ready;
                }
                let states = if states.is_empty() { "none".to_owned() } else { states.join(", ") };
                Readiness::Failed(format!("Blazar could not start or keep it; its reservations: {states}"))
            }
            _ => Readiness::Ready,
        }
    }

    fn unstamped_match(&self, fields: &Fields, seen: &Seen) -> Option<bool> {
        let same_name = fields.get("name").and_then(Value::as_str) == Some(seen.name.as_str());
        let over = matches!(self.readiness(seen), Readiness::Ended(_));
        Some(same_name && !over && reservations::fit(fields, &seen.attrs))
    }

    fn has_twins(&self) -> bool {
        true
    }
}

#[async_trait]
impl CloudKind for Lease {
    fn service(&self) -> Service {
        Service::Reservation
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        Ok(blazar::leases(session).await?.into_iter().map(seen).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(blazar::lease(session, &id.0).await?.map(seen))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let start = time_of(want, "start");
        let end = match want.get("duration").and_then(Value::as_int) {
            None => time_of(want, "end"),
            Some(duration) => later(start.unwrap_or_else(|| blazar::now(cx.session)), duration),
        };
        let end = end.ok_or_else(|| CloudError::config(format!("{}: when it ends is not known", cx.address)))?;
        let body = json!({
            "name": want.get("name").and_then(Value::as_str).unwrap_or_default(),
            "start_date": start.map_or_else(|| "now".to_owned(), blazar::date),
            "end_date": blazar::date(end),
            "reservations": reservations::bodies(want),
            "events": [],
        });
        blazar::create(cx.session, body).await.map(RemoteId).map_err(explain_create)
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        for change in update.changes {
            match (change.field.as_str(), &change.after) {
                ("name", Value::String(name)) => blazar::rename(cx.session, &update.id.0, name).await?,
                ("end" | "duration", after) => {
                    let end = match after {
                        Value::Int(duration) => time_of(update.live, "start").and_then(|start| later(start, *duration)),
                        other => other.as_str().and_then(shapes::time),
                    };
                    let end =
                        end.ok_or_else(|| CloudError::config(format!("{}: when it ends is not known", cx.address)))?;
                    let name = update.want.get("name").and_then(Value::as_str).unwrap_or_default();
                    move_end(cx.session, update.id, name, end).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        blazar::delete(cx.session, &id.0).await
    }
}

#[cfg(test)]
mod tests;
