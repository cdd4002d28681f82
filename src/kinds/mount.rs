//! The filesystem on an attached volume, and where its server mounts it: the part of an attachment that is inside the
//! server.
//!
//! Invariants:
//! - The volume's rules are [`crate::guest::disk`]'s; nothing here writes to a disk but by way of them.
//! - A mount that is replaced is unmounted and mounted: no data goes with it.
//! - It is unmounted before its volume is detached, because an attachment is deleted after its parts.

use async_trait::async_trait;

use super::guest::{GuestCx, GuestKind, GuestWords, MOUNT_WORDS, unmounting};
use super::kind::{Effect, FieldChange, Kind, Place, Refused, Sides, diff_fields, is_set};
use super::schema::{Literal, NameRule, RefChange, RefType, Schema, Type, attribute, field};
use crate::cloud::cinder;
use crate::guest::filesystem::{self, Found, Mount as Mounting, Volume};
use crate::guest::{Facts, GuestError};
use crate::model::{Address, Fields, RemoteId, StringMap, Value};

/// A filesystem on an attached volume, mounted.
pub struct Mount;

/// The key of a volume's metadata under which its filesystem is remembered: `ext4 <UUID>`.
pub const NOTE: &str = "anole_filesystem";

/// What a mount that is not there shows as its path.
pub const NOT_MOUNTED: &str = "not mounted";

static SCHEMA: Schema = Schema {
    kind: "mount",
    section: "",
    doc: "The filesystem on an attached volume, and where its server mounts it.",
    fields: &[
        field("attachment", Type::Ref(RefType::new("attachment", RefChange::Replace)), "Its attachment.").internal(),
        field("server", Type::Ref(RefType::new("server", RefChange::Replace)), "The server.").internal(),
        field("volume", Type::Ref(RefType::new("volume", RefChange::Replace)), "The volume.").internal(),
        field("size", Type::Size, "The volume's size; partition and filesystem grow with it.").internal(),
        field(
            "filesystem",
            Type::Enum(&["ext4", "xfs"]),
            "The filesystem to make, only if anole made the volume and it is blank.",
        ),
        field("partition", Type::Bool, "Whether a new filesystem is made on a partition.")
            .default(Literal::Bool(true))
            .ignore(),
        field("path", Type::Text, "Where it is mounted.").replace(),
        field("owner", Type::Text, "The user that the folder belongs to."),
        field("group", Type::Text, "The group that the folder belongs to."),
        field("mode", Type::Text, "The folder's permissions."),
        field("options", Type::List(&Type::Text), "More mount options."),
        field("read_only", Type::Bool, "Whether it is mounted for reading only."),
    ],
    attributes: &[
        attribute("uuid", "The filesystem's UUID.").stable(),
        attribute("device", "The device that it is on in the server."),
        attribute("type", "The filesystem's type.").stable(),
    ],
    protect: false,
    lookup: false,
    name: NameRule::None,
};

fn text<'a>(fields: &'a Fields, key: &str) -> &'a str {
    fields.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// What is set in the server and not looked at there; and whether it is unset where the spec says it no longer.
const OURS: [(&str, bool); 5] =
    [("owner", false), ("group", false), ("mode", false), ("options", true), ("read_only", true)];

/// A field; nothing where it says what is so without it.
fn given(fields: &Fields, name: &str) -> Value {
    match fields.get(name) {
        None | Some(Value::Bool(false)) => Value::Null,
        Some(Value::List(items)) if items.is_empty() => Value::Null,
        Some(value) => value.clone(),
    }
}

/// The line of fstab before the entry, by which it is found again.
fn tag(cx: &GuestCx<'_>) -> String {
    let owner = cx.address.owner().unwrap_or_else(|| cx.address.clone());
    format!("# anole: {} {owner}", cx.stack)
}

impl Kind for Mount {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Guest(&Mount)
    }

    fn diff(&self, sides: &Sides<'_>) -> Result<Vec<FieldChange>, Refused> {
        let mut changes = diff_fields(&SCHEMA, sides);
        let shown = sides.live.get("type").and_then(Value::as_str);
        if let (Some(wanted), Some(shown)) = (sides.want.get("filesystem").and_then(Value::as_str), shown)
            && wanted != shown
        {
            let message = format!(
                "the volume holds {shown} and is never formatted again: write `filesystem: {shown}`, or make another \
                 volume and copy the data"
            );
            return Err(Refused { field: "filesystem", message });
        }
        // The spec may name by now what was found without being named.
        changes.retain(|change| change.field != "filesystem" || shown.is_none());
        // Nobody looks at these in the server, so what was applied counts, also where it said nothing of them. Options that
        // are no longer given are taken away; an owner stays.
        for (name, is_taken_away) in OURS {
            let (before, after) = (given(sides.applied, name), given(sides.want, name));
            let known = changes.iter().any(|change| change.field == name);
            if !known && !after.same(&before) && (is_taken_away || !after.is_null()) {
                changes.push(FieldChange { field: name.to_owned(), before, after, effect: Effect::Update, note: None });
            }
        }
        for change in &mut changes {
            if change.effect == Effect::Replace && change.field == "path" {
                change.note = Some("unmounted and mounted; its data stays".to_owned());
            }
        }
        Ok(changes)
    }
}

#[async_trait]
impl GuestKind for Mount {
    fn id(&self, _: &Address, fields: &Fields) -> Option<RemoteId> {
        let id = |field: &str| fields.get(field).and_then(Value::as_id);
        Some(RemoteId(format!("{}/{}", id("server")?, id("volume")?)))
    }

    fn steps(&self, fields: &Fields) -> Vec<String> {
        let mut steps = Vec::new();
        match text(fields, "filesystem") {
            "" => {}
            kind => {
                let where_to = if is_set(fields, "partition") { "on a partition of" } else { "on" };
                steps.push(format!("make an {kind} filesystem {where_to} the volume, if it is blank"));
            }
        }
        let path = fields.get("path").map(|path| path.as_str().unwrap_or("a path known after apply"));
        if let Some(path) = path {
            let how = if is_set(fields, "read_only") { ", for reading only" } else { "" };
            steps.push(format!("mount it at {path}{how}"));
        }
        match (text(fields, "owner"), text(fields, "group")) {
            ("", "") => {}
            (owner, "") => steps.push(format!("give it to {owner}")),
            ("", group) => steps.push(format!("give it to group {group}")),
            (owner, group) => steps.push(format!("give it to {owner}:{group}")),
        }
        match text(fields, "mode") {
            "" => {}
            mode => steps.push(format!("set its permissions to {mode}")),
        }
        steps
    }

    fn undoing(&self, applied: &Fields) -> Vec<String> {
        unmounting(applied)
    }

    fn words(&self) -> &'static GuestWords {
        &MOUNT_WORDS
    }

    fn is_seen(&self) -> bool {
        true
    }

    fn seen(&self, applied: &Fields, attributes: &Fields, facts: &Facts) -> Fields {
        let mut shown = attributes.clone();
        let Some(wanted) = applied.get("path").and_then(Value::as_str) else { return shown };
        let uuid = text(attributes, "uuid");
        let device = facts.devices.iter().find(|device| !uuid.is_empty() && device.uuid == uuid);
        let mounts = device.map(|device| facts.mounted_at(device)).unwrap_or_default();
        let path = match mounts.iter().any(|mounted| mounted.path == wanted) {
            true => wanted,
            false => mounts.first().map_or(NOT_MOUNTED, |mounted| mounted.path.as_str()),
        };
        shown.insert("path".to_owned(), Value::text(path));
        if let Some(device) = device {
            shown.insert("device".to_owned(), Value::text(device.path.clone()));
        }
        shown
    }

    async fn put(&self, cx: &GuestCx<'_>, want: &Fields) -> Result<Fields, GuestError> {
        let id = want.get("volume").and_then(Value::as_id);
        let id = id.ok_or_else(|| GuestError::refused("its volume is not known"))?;
        let label = cx.address.owner().map_or_else(|| cx.address.to_string(), |owner| owner.to_string());
        let found = cinder::volume(cx.session, &id.0).await?;
        let found = found.ok_or_else(|| GuestError::refused(format!("volume {id} is gone")))?;
        let noted = noted(&found);
        let volume = Volume {
            id,
            label,
            size: u64::try_from(found.size).unwrap_or(0),
            filesystem: want.get("filesystem").and_then(Value::as_str),
            partition: is_set(want, "partition"),
            noted: noted.clone(),
        };
        let found = filesystem::ready(cx.guest, &volume, cx.memory, cx.tell).await?;
        if noted.as_deref() != Some(found.uuid.as_str()) && cx.memory.origin(id).is_some() {
            let note = StringMap::from([(NOTE.to_owned(), format!("{} {}", found.kind, found.uuid))]);
            cinder::set_metadata(cx.session, &id.0, &note).await?;
        }
        if let Some(path) = want.get("path").and_then(Value::as_str) {
            let options = want.get("options").and_then(Value::as_list).unwrap_or_default();
            let mount = Mounting {
                path,
                options: options.iter().filter_map(Value::as_str).collect(),
                read_only: is_set(want, "read_only"),
                owner: text(want, "owner"),
                group: text(want, "group"),
                mode: text(want, "mode"),
                tag: tag(cx),
            };
            filesystem::mount(cx.guest, &found, &mount, cx.tell).await?;
        }
        Ok(shows(&found, want))
    }

    async fn remove(&self, cx: &GuestCx<'_>, applied: &Fields) -> Result<(), GuestError> {
        let Some(id) = applied.get("volume").and_then(Value::as_id) else { return Ok(()) };
        let remembered = cx.memory.filesystem(id).map(|filesystem| filesystem.uuid);
        let uuid = match remembered {
            Some(uuid) => Some(uuid),
            // A state that was made again from what is live remembers nothing; the volume does.
            None => cinder::volume(cx.session, &id.0).await?.and_then(|volume| noted(&volume)),
        };
        // Without a filesystem of which anything is remembered, nothing was mounted.
        let Some(uuid) = uuid else { return Ok(()) };
        let path = applied.get("path").and_then(Value::as_str).unwrap_or("the volume");
        (cx.tell)(&format!("unmounting {path}"));
        filesystem::unmount(cx.guest, &uuid, &tag(cx), path).await
    }
}

/// The filesystem's UUID that the volume's metadata remembers.
fn noted(volume: &cinder::Volume) -> Option<String> {
    volume.metadata.get(NOTE).and_then(|note| note.split_once(' ')).map(|(_, uuid)| uuid.to_owned())
}

/// What a mount shows once it is there.
fn shows(found: &Found, want: &Fields) -> Fields {
    let mut shown = Fields::from([
        ("uuid".to_owned(), Value::text(found.uuid.clone())),
        ("device".to_owned(), Value::text(found.device.clone())),
        ("type".to_owned(), Value::text(found.kind.clone())),
    ]);
    if let Some(path) = want.get("path") {
        shown.insert("path".to_owned(), path.clone());
    }
    shown
}
