//! Volumes: where data lives. They outlive every server and are protected unless the spec says otherwise.
//!
//! Invariants:
//! - A volume grows and never shrinks: a smaller size is refused at plan time.
//! - What Cinder may have chosen differently from what was asked (the availability zone) never replaces a volume.
//! - The stamp is one key of the metadata; other people's keys are left alone.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::kind::{
    CloudKind, Effect, FieldChange, Kind, Mistake, OpCx, Place, Readiness, Refused, Seen, Sides, Update, diff_fields,
};
use super::metadata;
use super::schema::{NameRule, RefChange, RefType, Schema, Type, attribute, field};
use crate::cloud::{CloudError, Service, Session, cinder};
use crate::model::{Fields, RemoteId, Value};

/// A volume.
pub struct Volume;

static SCHEMA: Schema = Schema {
    kind: "volume",
    section: "volumes",
    doc: "A block device that keeps its data when servers come and go. Protected unless `protect: false`.",
    fields: &[
        field("name", Type::Text, "The name in the site."),
        field("size", Type::Size, "How large, `2GiB`. It may grow, also while attached; it never shrinks.").required(),
        field(
            "type",
            Type::Text,
            "The volume type's name, `ceph-ssd`; the site's default if absent. Changed in place where no data has to move.",
        ),
        field("description", Type::Text, "A text for people."),
        field(
            "image",
            Type::Ref(RefType::new("image", RefChange::Replace).or_lookup()),
            "An image that the volume starts as a copy of, to boot from it.",
        ),
        field("availability_zone", Type::Text, "The availability zone to make it in; the site's choice if absent.")
            .replace(),
        field("metadata", Type::Map(&Type::Text), "Keys and values of your own. Keys that others set are left alone."),
    ],
    attributes: &[
        attribute("id", "The volume's id."),
        attribute("serial", "The serial number that a server's kernel shows: the first 20 characters of the id."),
        attribute("status", "Cinder's word for its state, `available` or `in-use` when it can be used."),
        attribute("bootable", "Whether a server may boot from it: it was made of an image."),
        attribute("attached_to", "The ids of the servers it is attached to."),
    ],
    protect: true,
    lookup: false,
    name: NameRule::Default,
};

/// The serial number that libvirt gives a volume's disk: virtio has room for 20 characters.
#[must_use]
pub fn serial(volume_id: &str) -> &str {
    volume_id.get(..20).unwrap_or(volume_id)
}

fn seen(volume: cinder::Volume) -> Seen {
    let (own_metadata, stamp) = metadata::split(&volume.metadata);
    let name = volume.name.clone().unwrap_or_default();
    let mut attrs = Fields::from([
        ("id".to_owned(), Value::text(volume.id.clone())),
        ("name".to_owned(), Value::text(name.clone())),
        ("size".to_owned(), Value::Int(volume.size)),
        ("description".to_owned(), Value::text(volume.description.clone().unwrap_or_default())),
        ("metadata".to_owned(), own_metadata),
        ("serial".to_owned(), Value::text(serial(&volume.id))),
        ("status".to_owned(), Value::text(volume.status.clone())),
        ("attached_to".to_owned(), Value::List(volume.servers().map(Value::from).collect())),
    ]);
    if let Some(volume_type) = &volume.volume_type {
        attrs.insert("type".to_owned(), Value::text(volume_type.clone()));
    }
    if let Some(zone) = &volume.availability_zone {
        attrs.insert("availability_zone".to_owned(), Value::text(zone.clone()));
    }
    if let Some(image) = volume.image_metadata.get("image_id") {
        attrs.insert("image".to_owned(), Value::live("image", image.clone()));
    }
    if let Some(bootable) = volume.bootable.as_bool().or_else(|| volume.bootable.as_str()?.parse().ok()) {
        attrs.insert("bootable".to_owned(), Value::Bool(bootable));
    }
    Seen {
        created_at: volume.created_at(),
        id: RemoteId(volume.id),
        name,
        attrs,
        status: volume.status,
        fault: None,
        stamp,
        user_id: volume.user_id,
    }
}

/// Refuses what can be done neither in place nor by replacement.
fn refuse(changes: &[FieldChange]) -> Result<(), Refused> {
    let find = |name: &str| changes.iter().find(|change| change.field == name);
    let Some(size) = find("size") else { return Ok(()) };
    if let (Some(before), Some(after)) = (size.before.as_int(), size.after.as_int())
        && after < before
    {
        let message = format!(
            "a volume cannot shrink, and this one has {before} GiB: write `size: {before}GiB`, or make a smaller volume \
             under another name and copy the data"
        );
        return Err(Refused { field: "size", message });
    }
    if find("type").is_some() {
        // Cinder works on one of them at a time, and refuses the other meanwhile.
        let message = "size and type cannot change in one apply: change one, apply, then the other".to_owned();
        return Err(Refused { field: "type", message });
    }
    Ok(())
}

impl Kind for Volume {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Volume)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        metadata::check(fields, mistakes);
        if fields.get("size").and_then(Value::as_int).is_some_and(|size| size < 1) {
            let message = "a volume has 1 GiB at least".to_owned();
            mistakes.push(Mistake { field: "size", message, help: None });
        }
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut live = sides.live.clone();
        // A site may fall back to another zone than was asked for: where we asked, what we asked counts.
        if sides.applied.contains_key("availability_zone") {
            live.remove("availability_zone");
        }
        // One that was made of an image is bootable.
        if !live.contains_key("image") && live.get("bootable") == Some(&Value::Bool(false)) {
            live.insert("image".to_owned(), Value::Null);
        }
        let mut changes = diff_fields(&SCHEMA, &Sides { live: &live, ..*sides });
        changes.retain(|change| change.field != "metadata");
        changes.extend(metadata::diff(sides));
        refuse(&changes)?;
        for change in changes.iter_mut().filter(|change| change.field == "type") {
            change.effect = Effect::Update;
            change.note = Some("in place; Cinder refuses if the data would have to move".to_owned());
        }
        Ok(changes)
    }

    fn data_loss(&self, live: &Seen) -> Option<String> {
        let size = live.attrs.get("size").and_then(Value::as_int).unwrap_or_default();
        Some(format!("{size} GiB volume `{}`", live.name))
    }

    fn readiness(&self, seen: &Seen) -> Readiness {
        match seen.status.as_str() {
            "creating" | "downloading" | "uploading" | "attaching" | "detaching" | "extending" | "retyping"
            | "backing-up" | "restoring-backup" | "maintenance" | "deleting" => Readiness::Pending(seen.status.clone()),
            error if error.starts_with("error") => Readiness::Failed(format!("Cinder says `{error}`")),
            // `reserved` is a whole volume too: the attachment that reserved it tells how far that is.
            _ => Readiness::Ready,
        }
    }
}

#[async_trait]
impl CloudKind for Volume {
    fn service(&self) -> Service {
        Service::BlockStorage
    }

    /// A volume made of an image is copied first, which may take long.
    fn patience(&self) -> Duration {
        Duration::from_secs(1800)
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        Ok(cinder::volumes(session).await?.into_iter().map(seen).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(cinder::volume(session, &id.0).await?.map(seen))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let mut body = json!({ "metadata": metadata::stamped(want, cx.stamp) });
        let names = [
            ("name", "name"),
            ("size", "size"),
            ("type", "volume_type"),
            ("description", "description"),
            ("image", "imageRef"),
            ("availability_zone", "availability_zone"),
        ];
        for (field, member) in names {
            if let Some(value) = want.get(field).filter(|value| !value.is_null()).and_then(Value::to_plain) {
                body[member] = value;
            }
        }
        cinder::create(cx.session, body).await.map(RemoteId)
    }

    async fn update(&self, cx: &OpCx<'_>, update: &Update<'_>) -> Result<(), CloudError> {
        let (session, id) = (cx.session, update.id.0.as_str());
        let mut plain = serde_json::Map::new();
        for change in update.changes {
            match (change.field.as_str(), &change.after) {
                (field @ ("name" | "description"), Value::String(text)) => {
                    plain.insert(field.to_owned(), json!(text));
                }
                ("size", Value::Int(size)) => {
                    // Asked again after a crash, Cinder refuses the size that it has by now.
                    let has = cinder::volume(session, id).await?.map(|volume| volume.size);
                    if has.is_none_or(|has| has < *size) {
                        cinder::extend(session, id, *size).await?;
                    }
                }
                ("type", Value::String(volume_type)) => {
                    let has = cinder::volume(session, id).await?.and_then(|volume| volume.volume_type);
                    if has.as_ref() != Some(volume_type) {
                        cinder::retype(session, id, volume_type).await?;
                    }
                }
                ("metadata", _) => {
                    let (set, gone) = metadata::edits(update);
                    if !set.is_empty() {
                        cinder::set_metadata(session, id, &set).await?;
                    }
                    for key in gone {
                        cinder::unset_metadata(session, id, &key).await?;
                    }
                }
                _ => {}
            }
        }
        if plain.is_empty() { Ok(()) } else { cinder::update(session, id, plain.into()).await }
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        let refused = match cinder::delete(cx.session, &id.0).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // Asked again while it deletes, Cinder refuses.
        match cinder::volume(cx.session, &id.0).await {
            Ok(None) => Ok(()),
            Ok(Some(volume)) if volume.status == "deleting" => Ok(()),
            Ok(Some(volume)) if !volume.attachments.is_empty() => {
                let servers = volume.servers().collect::<Vec<_>>().join(", ");
                Err(refused.hint(format!("it is attached to server {servers}: unmount it there and detach it first")))
            }
            _ => Err(refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, Value)]) -> Fields {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    fn diff(want: &Fields, applied: &Fields, live: &Fields) -> Result<Vec<(String, Effect)>, Refused> {
        let changes = Volume.diff(&Sides { want, applied, live, now: jiff::Timestamp::UNIX_EPOCH })?;
        Ok(changes.into_iter().map(|change| (change.field, change.effect)).collect())
    }

    #[test]
    fn it_grows_in_place_and_never_shrinks() {
        let (two, three) = (fields(&[("size", Value::Int(2))]), fields(&[("size", Value::Int(3))]));
        assert_eq!(diff(&three, &two, &two), Ok(vec![("size".to_owned(), Effect::Update)]));
        assert_eq!(diff(&two, &three, &three).unwrap_err().field, "size");
    }

    #[test]
    fn a_zone_that_cinder_chose_is_no_reason_to_lose_a_volume() {
        let (want, live) = (fields(&[("availability_zone", "a".into())]), fields(&[("availability_zone", "b".into())]));
        assert_eq!(diff(&want, &want, &live), Ok(vec![]));
        assert_eq!(diff(&live, &want, &live), Ok(vec![("availability_zone".to_owned(), Effect::Replace)]));
    }

    #[test]
    fn a_blank_volume_cannot_become_an_images_copy() {
        let want = fields(&[("image", Value::live("image", "i"))]);
        let live = |bootable: bool| fields(&[("bootable", Value::Bool(bootable))]);
        let none = Fields::new();
        assert_eq!(diff(&want, &none, &live(false)), Ok(vec![("image".to_owned(), Effect::Replace)]));
        assert_eq!(diff(&want, &none, &live(true)), Ok(vec![]), "of which image is not known");
        assert_eq!(diff(&none, &none, &live(false)), Ok(vec![]));
    }

    #[test]
    fn what_cinder_answers_is_told_in_the_specs_words() {
        let answer = json!({
            "id": "d3208eed-bfc5-4527-b567-fea6bd99a69e", "status": "in-use", "size": 2, "name": null,
            "availability_zone": "nova", "created_at": "2026-11-22T13:45:12.000000", "description": null,
            "volume_type": "ceph-ssd", "bootable": "false", "user_id": "u",
            "metadata": { "anole": "anole/1 00 11 s 22 volumes.data", "theirs": "x" },
            "attachments": [{ "server_id": "s1", "attachment_id": "a1", "device": "/dev/sdb" }],
        });
        let seen = seen(serde_json::from_value(answer).unwrap());
        assert_eq!(seen.attrs["serial"], Value::text("d3208eed-bfc5-4527-b"));
        assert_eq!(seen.attrs["attached_to"], Value::List(vec!["s1".into()]));
        assert_eq!(seen.attrs["bootable"], Value::Bool(false));
        assert_eq!(seen.attrs["metadata"], Value::Map(fields(&[("theirs", "x".into())])));
        assert_eq!(seen.stamp.as_ref().map(|stamp| stamp.address.to_string()).as_deref(), Some("volumes.data"));
        assert_eq!(Volume.readiness(&seen), Readiness::Ready);
        assert_eq!(Volume.data_loss(&seen).as_deref(), Some("2 GiB volume ``"));
    }
}
