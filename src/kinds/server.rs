//! Servers. They are cattle: any of them may be made anew, and the plan says when and why.
//!
//! Invariants:
//! - One port of ours for each network, made before the server and deleted after it; security groups are the ports'.
//! - What Nova does not give back (lease, flavor, key, user data, hints) is compared with what was applied, and never
//!   replaces a server by being unreadable.
//! - The stamp is one key of the metadata; other people's keys are left alone.

use std::time::Duration;

use async_trait::async_trait;

use super::kind::{
    CloudKind, DerivedPart, Effect, FieldChange, Kind, Mistake, OpCx, Place, Readiness, Refused, Seen, Sides, Update,
    diff_fields,
};
use super::metadata;
use super::schema::Schema;
use crate::cloud::{CloudError, Service, Session, nova};
use crate::model::{Address, Fields, Reference, RemoteId, Target, Value};

mod create;
mod derive;
mod fields;

use fields::SCHEMA;
pub use fields::SSH;

/// A server.
pub struct Server;

/// The most user data that Nova takes, in bytes: 65535 in base64.
const MOST_USER_DATA: usize = 49_149;

/// What a deletion that Nova has begun is shown as: the status alone still says `ACTIVE`.
const DELETING: &str = "DELETING";

fn seen(server: nova::Server) -> Seen {
    let (own_metadata, stamp) = metadata::split(&server.metadata);
    let status = if server.task_state.as_deref() == Some("deleting") { DELETING } else { server.status.as_str() };
    let own_volumes = server.volumes.iter().filter(|volume| volume.delete_on_termination);
    let mut attrs = Fields::from([
        ("id".to_owned(), Value::text(server.id.clone())),
        ("name".to_owned(), Value::text(server.name.clone())),
        ("metadata".to_owned(), own_metadata),
        ("addresses".to_owned(), addresses(&server)),
        ("status".to_owned(), Value::text(status)),
        ("own_volumes".to_owned(), Value::List(own_volumes.map(|volume| Value::text(volume.id.clone())).collect())),
    ]);
    let mut add = |name: &str, value: Option<Value>| attrs.extend(value.map(|value| (name.to_owned(), value)));
    add("address", first_address(&server).map(Value::from));
    add("image", server.image_id().map(|id| Value::live("image", id)));
    add("keypair", server.key_name.as_deref().map(|name| Value::live("keypair", name)));
    add("availability_zone", server.availability_zone.as_deref().filter(|zone| !zone.is_empty()).map(Value::from));
    add("host", server.host_id.as_deref().filter(|host| !host.is_empty()).map(Value::from));
    Seen {
        attrs,
        status: status.to_owned(),
        fault: server.fault.as_ref().map(|fault| fault.message.clone()),
        stamp,
        created_at: server.created_at(),
        id: RemoteId(server.id),
        name: server.name,
        user_id: server.user_id,
    }
}

fn addresses(server: &nova::Server) -> Value {
    let one = |address: &nova::ServerAddress| {
        let mut fields = Fields::from([
            ("addr".to_owned(), Value::text(address.addr.clone())),
            ("version".to_owned(), Value::Int(address.version)),
        ]);
        fields.extend(address.kind.clone().map(|kind| ("type".to_owned(), Value::text(kind))));
        fields.extend(address.mac.clone().map(|mac| ("mac".to_owned(), Value::text(mac))));
        Value::Map(fields)
    };
    let of_network = |list: &Vec<nova::ServerAddress>| Value::List(list.iter().map(one).collect());
    Value::Map(server.addresses.iter().map(|(network, list)| (network.clone(), of_network(list))).collect())
}

fn first_address(server: &nova::Server) -> Option<&str> {
    let mut all = server.addresses.values().flatten();
    all.find(|address| address.version == 4 && address.kind.as_deref() != Some("floating"))
        .map(|address| address.addr.as_str())
}

/// Reports which flavor, disk or data a server cannot have.
fn check_choices(fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
    let mut mistake = |field, message: &str, help: &str| {
        mistakes.push(Mistake { field, message: message.to_owned(), help: Some(help.to_owned()) });
    };
    let given = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    match (given("lease"), given("flavor")) {
        (false, false) => mistake("flavor", "it is not said how large the server is", "add `lease:` or `flavor:`"),
        (true, true) if !is_bare_metal(&fields["flavor"]) => mistake(
            "flavor",
            "a server on a lease has the flavor that the lease reserves",
            "leave `flavor` out (it is for hosts only: `flavor: baremetal`), or leave `lease` out",
        ),
        _ => {}
    }
    if fields.get("networks").and_then(Value::as_list).is_some_and(<[Value]>::is_empty) {
        mistake("networks", "a server is on one network at least", "add one: `networks: [sharednet1]`");
    }
    if fields.get("user_data").and_then(Value::expose).is_some_and(|data| data.len() > MOST_USER_DATA) {
        mistake("user_data", "there is more of it than Nova takes (48 KiB)", "have a short script fetch the rest");
    }
    let image = given("image");
    let rebuild = fields.get("on_image_change").and_then(Value::as_str) == Some("rebuild");
    let Some(Value::Map(boot)) = fields.get_mut("boot_volume") else {
        if !image {
            mistake(
                "image",
                "it is not said what the server boots from",
                "add `image:`, or `boot_volume: { volume: … }`",
            );
        }
        return;
    };
    let has = |name: &str| boot.get(name).is_some_and(|value| !value.is_null());
    if rebuild {
        mistake(
            "on_image_change",
            "a server that boots from a volume cannot be rebuilt",
            "leave `on_image_change` out",
        );
    }
    match (has("volume"), has("size")) {
        (true, true) => {
            mistake("boot_volume", "it is a new volume of a `size`, or a `volume` that is there", "leave one out")
        }
        (false, false) => mistake("boot_volume", "it is not said which", "add `size: 60GiB`, or `volume: <name>`"),
        (true, false) => {
            if image {
                mistake(
                    "image",
                    "a server that boots from a volume of yours has that volume's image",
                    "leave `image` out",
                );
            }
            if has("type") {
                mistake("boot_volume", "the volume has its type already", "set `type` on the volume");
            }
            if boot.get("delete_on_termination").and_then(Value::as_bool) == Some(true) {
                mistake(
                    "boot_volume",
                    "a declared volume is not deleted with a server",
                    "leave `delete_on_termination` out",
                );
            }
            boot.remove("delete_on_termination");
        }
        (false, true) => {
            if !image {
                mistake("image", "it is not said what the new boot volume is a copy of", "add `image:`");
            }
            boot.entry("delete_on_termination".to_owned()).or_insert(Value::Bool(true));
        }
    }
}

fn is_bare_metal(flavor: &Value) -> bool {
    !matches!(flavor, Value::Ref(Reference { target: Target::Lookup(name), .. }) if !name.starts_with("baremetal"))
}

/// Fields that were not asked for last time and are now, where it is known what was asked for.
fn appeared(sides: &Sides<'_>) -> Vec<FieldChange> {
    // A record made of what is live has the image as Nova shows it, and may lack what Nova does not give back.
    let applied_by_us = |image: &Value| !matches!(image, Value::Ref(Reference { target: Target::Live, .. }));
    if !sides.applied.get("image").is_some_and(applied_by_us) {
        return Vec::new();
    }
    ["lease", "flavor", "user_data", "scheduler_hints", "boot_volume", "config_drive"]
        .iter()
        .filter(|name| !sides.applied.contains_key(**name))
        .filter_map(|name| Some((*name, sides.want.get(*name)?)))
        .filter(|(_, want)| !want.is_null() && **want != Value::Bool(false))
        .map(|(name, want)| replaced(name, Value::Null, want.clone()))
        .collect()
}

fn replaced(field: &str, before: Value, after: Value) -> FieldChange {
    FieldChange { field: field.to_owned(), before, after, effect: Effect::Replace, note: None }
}

/// What of a boot volume changed: whether it is deleted with the server can be switched off in place, nothing else can.
fn settle_boot_volume(change: &mut FieldChange) -> Result<(), Refused> {
    let flag = "delete_on_termination";
    let (Value::Map(before), Value::Map(after)) = (&change.before, &change.after) else { return Ok(()) };
    let rest = |fields: &Fields| {
        Value::Map(
            fields.iter().filter(|(key, _)| *key != flag).map(|(key, value)| (key.clone(), value.clone())).collect(),
        )
    };
    if !rest(before).same(&rest(after)) {
        return Ok(());
    }
    if after.get(flag) == Some(&Value::Bool(true)) {
        let message =
            "the boot volume was told to outlive the server, and a live server's cannot be told otherwise: write \
                       `delete_on_termination: false` again, and delete the volume yourself when you are done"
                .to_owned();
        return Err(Refused { field: "boot_volume", message });
    }
    change.effect = Effect::Update;
    change.note = Some("the boot volume will outlive the server".to_owned());
    Ok(())
}

/// Switches off that a server's own volumes are deleted with it.
async fn keep_volumes(session: &Session, id: &str) -> Result<(), CloudError> {
    let Some(server) = nova::server(session, id).await? else { return Ok(()) };
    for volume in server.volumes.iter().filter(|volume| volume.delete_on_termination) {
        nova::set_deleted_with(session, id, &volume.id, false).await?;
    }
    Ok(())
}

/// Makes the root disk anew, unless that was asked for before.
async fn rebuild(session: &Session, id: &str, image: &str) -> Result<(), CloudError> {
    let has = nova::server(session, id).await?;
    if has.as_ref().and_then(nova::Server::image_id) == Some(image) {
        return Ok(());
    }
    nova::rebuild(session, id, image).await
}

impl Kind for Server {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Server)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        metadata::check(fields, mistakes);
        check_choices(fields, mistakes);
        derive::reservation(fields, mistakes);
    }

    fn derive(&self, address: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        derive::ports(address, fields)
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_fields(&SCHEMA, sides);
        let zone = sides.live.get("availability_zone").and_then(Value::as_str);
        changes.retain(|change| match change.field.as_str() {
            "metadata" => false,
            // `zone:host` is told back as `zone`.
            "availability_zone" => change.after.as_str().and_then(|want| want.split(':').next()) != zone,
            _ => true,
        });
        changes.extend(metadata::diff(sides));
        changes.extend(appeared(sides));
        let rebuilds = sides.want.get("on_image_change").and_then(Value::as_str) == Some("rebuild");
        for change in &mut changes {
            match change.field.as_str() {
                "image" if rebuilds => {
                    change.effect = Effect::Update;
                    change.note = Some("rebuild: erases the root disk".to_owned());
                }
                "boot_volume" => settle_boot_volume(change)?,
                // People know what they wrote, and that is the name.
                "reservation_id" => change.field = "reservation".to_owned(),
                "ports" => change.note = Some("its networks, or the ports on them, change".to_owned()),
                _ => {}
            }
        }
        Ok(changes)
    }

    fn data_loss(&self, live: &Seen) -> Option<String> {
        let own = live.attrs.get("own_volumes").and_then(Value::as_list).unwrap_or_default();
        let ids: Vec<_> = own.iter().filter_map(Value::as_str).collect();
        (!ids.is_empty()).then(|| format!("the root disk of server `{}` (boot volume {})", live.name, ids.join(", ")))
    }

    fn update_loss(&self, live: &Seen, changes: &[FieldChange]) -> Option<String> {
        let rebuilds = changes.iter().any(|change| change.field == "image" && change.effect == Effect::Update);
        rebuilds.then(|| format!("the root disk of server `{}`, which a rebuild erases", live.name))
    }

    fn readiness(&self, seen: &Seen) -> Readiness {
        match seen.status.as_str() {
            "BUILD" | "REBUILD" | DELETING => Readiness::Pending(seen.status.clone()),
            "ERROR" => {
                Readiness::Failed(seen.fault.clone().unwrap_or_else(|| "Nova says ERROR and not why".to_owned()))
            }
            "DELETED" | "SOFT_DELETED" => Readiness::Ended("deleted".to_owned()),
            // ACTIVE, and what its owner may have done with a server that is there: SHUTOFF, PAUSED, SHELVED, …
            _ => Readiness::Ready,
        }
    }
}

#[async_trait]
impl CloudKind for Server {
    fn service(&self) -> Service {
        Service::Compute
    }

    /// A bare-metal node is written and booted, and then booted once more.
    fn patience(&self) -> Duration {
        Duration::from_secs(2700)
    }

    /// Nova answers a question about a server with questions to Neutron: one that comes too early slows down the
    /// building that it asks about.
    fn least_wait(&self) -> Duration {
        Duration::from_millis(500)
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        let there = |server: &nova::Server| server.status != "DELETED";
        Ok(nova::servers(session).await?.into_iter().filter(there).map(seen).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(nova::server(session, &id.0).await?.filter(|server| server.status != "DELETED").map(seen))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let body = create::body(cx, want).await?;
        nova::create_server(cx.session, body).await.map(RemoteId)
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        let (session, id) = (cx.session, update.id.0.as_str());
        for change in update.changes {
            match (change.field.as_str(), &change.after) {
                ("name", Value::String(name)) => nova::rename_server(session, id, name).await?,
                ("image", image) => {
                    if let Some(image) = image.as_id() {
                        rebuild(session, id, &image.0).await?;
                    }
                }
                ("boot_volume", _) => keep_volumes(session, id).await?,
                ("metadata", _) => {
                    let (set, gone) = metadata::edits(update);
                    if !set.is_empty() {
                        nova::set_metadata(session, id, &set).await?;
                    }
                    for key in gone {
                        nova::unset_metadata(session, id, &key).await?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        nova::delete_server(cx.session, &id.0).await
    }
}

#[cfg(test)]
mod tests;
