//! Leases: made, listed, shown, renamed, prolonged, ended.
//!
//! Invariant: what a lease promises is kept: a reservation is granted only if it fits beside all others for as long as it
//! lasts.

use http::Method;
use serde_json::json;

use super::{reservations, settle};
use crate::embedded::clock;
use crate::embedded::tables::{Fields, Table};
use crate::embedded::wire::{Answer, Cx, Fault, Reply, new_hex, new_id};
use crate::model::Json;

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;
/// How long a lease of hosts may be.
const LONGEST_OF_HOSTS: i64 = 7 * DAY;
/// How long any other may be: six months.
const LONGEST: i64 = 184 * DAY;
/// How long before its end a lease of the full length may be prolonged.
const LAST_DAYS: i64 = 2 * DAY;

const PATTERN: &str = "%Y-%m-%d %H:%M";

/// Answers `/leases…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, []) => {
            let own = cx.state.find(Table::Leases, "project_id", &cx.who.project_id);
            Ok(Reply::ok(json!({"leases": own.map(view).collect::<Vec<_>>()})))
        }
        (&Method::POST, []) => create(cx),
        (&Method::GET, [id]) => Ok(Reply::ok(json!({"lease": view(&find(cx, id)?)}))),
        (&Method::PUT, [id]) => update(cx, id),
        (&Method::DELETE, [id]) => {
            let lease = find(cx, id)?;
            settle::release(cx, &lease);
            cx.state.remove(Table::Leases, id);
            Ok(Reply::empty(204))
        }
        _ => Err(Fault::new(405, "")),
    }
}

fn find(cx: &Cx<'_>, id: &str) -> Result<Json, Fault> {
    let found = cx.state.get(Table::Leases, id);
    let lease = found.ok_or_else(|| Fault::missing(format!("Object with {{'lease_id': '{id}'}} not found")))?;
    if !cx.owns(lease) {
        return Err(Fault::forbidden("Policy doesn't allow blazar:leases:get to be performed"));
    }
    Ok(lease.clone())
}

/// The lease as the API shows it.
fn view(lease: &Json) -> Json {
    let shown = |doc: &Json| {
        let map = doc.as_object().cloned().unwrap_or_default();
        let mut view = Json::Object(map.into_iter().filter(|(key, _)| !key.starts_with('_')).collect());
        view.set("created_at", clock::spaced(doc.int("_created")));
        view.set("updated_at", doc.has("_updated").then(|| clock::spaced(doc.int("_updated"))));
        view
    };
    let mut view = shown(lease);
    view.set("start_date", clock::naive(lease.int("_start")));
    view.set("end_date", clock::naive(lease.int("_end")));
    view.set("reservations", lease.list("reservations").iter().map(shown).collect::<Vec<_>>());
    let events = lease.list("events").iter().map(|event| {
        let mut view = shown(event);
        view.set("time", clock::naive(event.int("_time")));
        view
    });
    view.set("events", events.collect::<Vec<_>>());
    view
}

fn date(cx: &Cx<'_>, text: &str) -> Result<i64, Fault> {
    if text == "now" {
        return Ok(cx.now - cx.now % MINUTE);
    }
    let refused = || Fault::bad(format!("{text} is an invalid date. Required format: {PATTERN}"));
    clock::parse(text, PATTERN).ok_or_else(refused)
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let Some(wanted) = cx.call.json() else {
        return Err(super::crash());
    };
    let missing: Vec<&str> = ["start_date", "end_date", "name"].into_iter().filter(|key| !wanted.has(key)).collect();
    if !missing.is_empty() {
        return Err(Fault::bad(format!("Missing parameter {}", missing.join(", "))));
    }
    let (start, end) = (date(cx, wanted.text("start_date"))?, date(cx, wanted.text("end_date"))?);
    if start < cx.now - cx.now % MINUTE {
        return Err(Fault::bad("Start date must be later than current date"));
    }
    if end <= start {
        return Err(Fault::bad("End date must be later than start date."));
    }
    // A lease is kept by a trust, which Keystone does not let a restricted credential make.
    if cx.who.restricted {
        return Err(Fault::named(500, "internal", ""));
    }
    let id = new_id();
    let mut granted: Vec<Json> = Vec::new();
    for asked in wanted.list("reservations") {
        let one = reservations::grant(cx, asked, (start, end), &granted)?;
        granted.push(one);
    }
    check_length(&granted, end - start, 403)?;
    let mut all: Vec<Json> = granted;
    for one in &mut all {
        one.set("lease_id", id.as_str());
    }
    let mut events = vec![event(cx, &id, "end_lease", end), event(cx, &id, "start_lease", start)];
    if !wanted.text("before_end_date").is_empty() {
        events.push(event(cx, &id, "before_end_lease", date(cx, wanted.text("before_end_date"))?));
    }
    let due = start.max(cx.now) + cx.clock.lasts(settle::TO_STARTING);
    let lease = json!({
        "id": id, "name": wanted["name"], "user_id": cx.who.user_id, "project_id": cx.who.project_id,
        "trust_id": new_hex(), "status": "PENDING", "degraded": false, "reservations": all, "events": events,
        "_start": start, "_end": end, "_created": cx.now, "_updated": cx.now, "_due": due,
    });
    cx.state.put(Table::Leases, &id, lease.clone());
    Ok(Reply::json(201, json!({"lease": view(&lease)})))
}

fn event(cx: &Cx<'_>, lease: &str, kind: &str, time: i64) -> Json {
    json!({"id": new_id(), "lease_id": lease, "event_type": kind, "status": "UNDONE", "_time": time,
           "_created": cx.now})
}

fn longest(reservations: &[Json]) -> i64 {
    let of_hosts = reservations.iter().any(|one| one.text("resource_type") == "physical:host");
    if of_hosts { LONGEST_OF_HOSTS } else { LONGEST }
}

/// A lease that would be too long is refused with 403 when it is made, with 400 when it is prolonged.
fn check_length(reservations: &[Json], length: i64, status: u16) -> Result<(), Fault> {
    let longest = longest(reservations);
    if length <= longest {
        return Ok(());
    }
    Err(Fault::new(
        status,
        format!(
            "Lease duration of {} seconds must be less than or equal to the maximum lease duration of {} seconds.",
            length / 1000,
            longest / 1000
        ),
    ))
}

fn update(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut lease = find(cx, id)?;
    let wanted = cx.call.json().unwrap_or_default();
    let over = lease.text("status") == "TERMINATED";
    let renames_only = wanted.as_object().is_some_and(|map| map.keys().all(|key| key == "name"));
    if over && !renames_only {
        return Err(Fault::bad("Terminated leases can only be renamed"));
    }
    let (old_start, old_end) = (lease.int("_start"), lease.int("_end"));
    let start = if wanted.has("start_date") { date(cx, wanted.text("start_date"))? } else { old_start };
    let end = if wanted.has("end_date") { date(cx, wanted.text("end_date"))? } else { old_end };
    if !over && (end <= cx.now || end <= start) {
        return Err(Fault::bad("End date must be later than current and start date"));
    }
    if start != old_start && lease.text("status") != "PENDING" {
        return Err(Fault::bad("Cannot modify the start date of already started leases"));
    }
    check_prolonged(cx, &lease, start, end)?;
    if wanted.list("reservations").iter().any(|one| !one.has("id")) {
        return Err(Fault::bad("Missing parameter reservation ID"));
    }
    reservations::update(cx, &mut lease, wanted.list("reservations"), (start, end))?;
    if wanted.has("name") {
        lease.set("name", wanted["name"].clone());
    }
    lease.set("_start", start);
    lease.set("_end", end);
    if let Some(events) = lease.get_mut("events").and_then(Json::as_array_mut) {
        for event in events {
            match event.text("event_type") {
                "end_lease" if end != old_end => {
                    event.set("_time", end);
                    event.set("_updated", cx.now);
                }
                "start_lease" if start != old_start => {
                    event.set("_time", start);
                    event.set("_updated", cx.now);
                }
                _ => {}
            }
        }
    }
    match lease.text("status") {
        "PENDING" => lease.set("_due", start.max(cx.now) + cx.clock.lasts(settle::TO_STARTING)),
        "ACTIVE" => lease.set("_due", end),
        _ => {}
    }
    lease.set("_updated", cx.now);
    cx.state.put(Table::Leases, id, lease.clone());
    let mut shown = view(&lease);
    shown.set("status", "UPDATING");
    Ok(Reply::ok(json!({"lease": shown})))
}

/// A lease may be made longer than the limit only towards its end, and then by no more than the limit from now on.
fn check_prolonged(cx: &Cx<'_>, lease: &Json, start: i64, end: i64) -> Result<(), Fault> {
    let near_its_end = lease.int("_end") - cx.now <= LAST_DAYS;
    let length = if near_its_end { end - cx.now.max(start) } else { end - start };
    if end <= lease.int("_end") { Ok(()) } else { check_length(lease.list("reservations"), length, 400) }
}
