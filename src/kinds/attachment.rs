//! Attachments: a volume as a disk of a server, and what is then done with it in the guest.
//!
//! An attachment has no id, no name and no stamp of its own: a volume is attached to a server, or it is not. Its id here
//! is `<server id>/<volume id>`, so asking for one that is there already is success.
//!
//! Two services each know half: Cinder lists an attachment from when it is made, Nova from when it was asked for. In
//! between, only Nova's answer tells an attachment under way from none.

use std::time::Duration;

use async_trait::async_trait;

use super::kind::{CloudKind, DerivedPart, Kind, Mistake, OpCx, Place, Readiness, Seen, Update};
use super::schema::{NameRule, RefChange, RefType, Schema, Type, attribute, field};
use super::volume::serial;
use crate::cloud::{CloudError, ErrorKind, Service, Session, cinder, nova};
use crate::model::{Address, Fields, RemoteId, Value};

mod derive;

pub use derive::PART;

/// A volume attached to a server.
pub struct Attachment;

static MOUNT: &[super::schema::Field] = &[
    field("path", Type::Text, "The folder to mount it at, `/mnt/block`; made if it is not there.").required(),
    field("owner", Type::Text, "The user that the folder belongs to once mounted, `cc`."),
    field("group", Type::Text, "The group that the folder belongs to once mounted."),
    field("mode", Type::Text, "The folder's permissions once mounted, in octal: `\"0755\"`."),
    field("options", Type::List(&Type::Text), "More mount options, such as `noatime`."),
    field("read_only", Type::Bool, "Whether it is mounted for reading only."),
];

static SCHEMA: Schema = Schema {
    kind: "attachment",
    section: "attachments",
    doc: "A volume as a disk of a server, with the filesystem on it and where that is mounted.",
    fields: &[
        field("volume", Type::Ref(RefType::new("volume", RefChange::Replace)), "The volume.").required(),
        field("server", Type::Ref(RefType::new("server", RefChange::Replace)), "The server.").required(),
        field(
            "filesystem",
            Type::Enum(&["ext4", "xfs"]),
            "The filesystem to make on the volume, only if anole made the volume and it is blank.",
        )
        .ignore(),
        field(
            "partition",
            Type::Bool,
            "Whether a new filesystem is made on a partition over the whole volume, the default, or on the bare volume.",
        )
        .ignore(),
        field("mount", Type::Struct(MOUNT), "Where the server mounts it, now and after every boot.").ignore(),
    ],
    attributes: &[
        attribute("id", "`<server id>/<volume id>`."),
        attribute("serial", "The disk's serial number in the server: the first 20 characters of the volume's id.")
            .stable(),
        attribute("device_path", "The disk's path in the server, `/dev/disk/by-id/virtio-<serial>`.").stable(),
        attribute("status", "Cinder's word for the volume's state, `in-use` once it is attached."),
    ],
    protect: false,
    lookup: false,
    name: NameRule::None,
};

fn id(server: &str, volume: &str) -> RemoteId {
    RemoteId(format!("{server}/{volume}"))
}

/// Server and volume of an id.
fn parts(id: &RemoteId) -> Result<(&str, &str), CloudError> {
    id.0.split_once('/').ok_or_else(|| {
        CloudError::config(format!("`{id}` is not an attachment's id")).hint("it is written `<server id>/<volume id>`")
    })
}

fn seen(server: &str, volume: &cinder::Volume) -> Seen {
    let serial = serial(&volume.id);
    let attrs = Fields::from([
        ("id".to_owned(), Value::text(id(server, &volume.id).0)),
        ("volume".to_owned(), Value::live("volume", volume.id.clone())),
        ("server".to_owned(), Value::live("server", server)),
        ("serial".to_owned(), Value::text(serial)),
        ("device_path".to_owned(), Value::text(format!("/dev/disk/by-id/virtio-{serial}"))),
        ("status".to_owned(), Value::text(volume.status.clone())),
    ]);
    Seen {
        id: id(server, &volume.id),
        name: String::new(),
        attrs,
        status: volume.status.clone(),
        fault: None,
        stamp: None,
        user_id: None,
        created_at: None,
    }
}

/// Writes the folder of a mount as the kernel does, without slashes that say nothing, and reports what it cannot be.
pub(super) fn check_path(mount: &mut Fields, mistakes: &mut Vec<Mistake>) {
    let mut mistake = |message: String, help: &str| {
        mistakes.push(Mistake { field: "mount", message, help: Some(help.to_owned()) });
    };
    let Some(Value::String(path)) = mount.get_mut("path") else { return };
    if !path.starts_with('/') || path.split('/').any(|segment| segment == "..") || path.contains(char::is_control) {
        mistake(format!("`{path}` is not an absolute path"), "write it from the root: `/mnt/block`");
    } else if path.trim_end_matches('/').is_empty() {
        mistake("nothing can be mounted over `/`".to_owned(), "choose a folder such as `/mnt/block`");
    } else {
        let steps: Vec<_> = path.split('/').filter(|step| !matches!(*step, "" | ".")).collect();
        *path = format!("/{}", steps.join("/"));
    }
}

/// Reports what a mount cannot be.
fn check_mount(mount: &mut Fields, mistakes: &mut Vec<Mistake>) {
    check_path(mount, mistakes);
    let mut mistake = |message: String, help: &str| {
        mistakes.push(Mistake { field: "mount", message, help: Some(help.to_owned()) });
    };
    let text = |key: &str| mount.get(key).and_then(Value::as_str);
    if let Some(mode) = text("mode") {
        let digits = (3..=4).contains(&mode.len()) && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        if !digits {
            mistake(format!("`{mode}` is no mode"), "write it in octal and in quotes: `mode: \"0755\"`");
        }
    }
}

/// Why a volume cannot be attached to this server, if it is attached to another.
async fn held_elsewhere(session: &Session, volume: &cinder::Volume, server: &str) -> Option<CloudError> {
    let holder = volume.servers().find(|holder| *holder != server)?;
    // The holder may be another project's, which Nova does not show us; its id has to do then.
    let name = nova::server(session, holder).await.ok().flatten().map(|found| found.name);
    let who = name.map_or_else(|| format!("server {holder}"), |name| format!("server `{name}` ({holder})"));
    let volume_name = volume.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| volume.id.clone());
    let path = format!("/servers/{server}/os-volume_attachments");
    let message = format!("volume `{volume_name}` is attached to {who}, which is not the server it is wanted at");
    let error = CloudError::new(ErrorKind::Conflict, Service::Compute, &http::Method::POST, &path, message);
    Some(error.hint("unmount it there, detach it, and apply again"))
}

impl Kind for Attachment {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Attachment)
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        if let Some(Value::Map(mount)) = fields.get_mut("mount") {
            check_mount(mount, mistakes);
        }
    }

    fn derive(&self, address: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        derive::mount(address, fields).into_iter().collect()
    }

    /// Without twins: a volume is attached to a server once.
    fn unstamped_match(&self, fields: &Fields, seen: &Seen) -> Option<bool> {
        let id_of = |field: &str| fields.get(field).and_then(Value::as_id).map(|id| id.0.as_str());
        Some(id_of("server").zip(id_of("volume")).is_some_and(|(server, volume)| id(server, volume) == seen.id))
    }

    fn readiness(&self, seen: &Seen) -> Readiness {
        match seen.status.as_str() {
            "reserved" | "attaching" | "detaching" | "available" => Readiness::Pending(seen.status.clone()),
            "error_attaching" | "error_detaching" | "error" => {
                Readiness::Failed(format!("Cinder says `{}`", seen.status))
            }
            // in-use, and what may happen to an attached volume: extending, retyping, backing-up.
            _ => Readiness::Ready,
        }
    }
}

#[async_trait]
impl CloudKind for Attachment {
    fn service(&self) -> Service {
        Service::Compute
    }

    fn least_wait(&self) -> Duration {
        Duration::from_millis(300)
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        // A site without volumes, as the bare-metal ones are, has nothing attached.
        if !session.has(Service::BlockStorage) {
            return Ok(Vec::new());
        }
        let volumes = cinder::volumes(session).await?;
        let mut all: Vec<_> =
            volumes.iter().flat_map(|volume| volume.servers().map(|server| seen(server, volume))).collect();
        let in_transit = |volume: &&cinder::Volume| volume.is_in_transit() && volume.attachments.is_empty();
        if volumes.iter().any(|volume| in_transit(&volume)) {
            for server in nova::servers(session).await? {
                let here = |volume: &&cinder::Volume| server.volumes.iter().any(|own| own.id == volume.id);
                let under_way = volumes.iter().filter(in_transit).filter(here);
                all.extend(under_way.map(|volume| seen(&server.id, volume)));
            }
        }
        Ok(all)
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        let (server, volume) = parts(id)?;
        let Some(volume) = cinder::volume(session, volume).await? else { return Ok(None) };
        let attached = volume.servers().any(|holder| holder == server);
        let there = attached || volume.is_in_transit() && nova::is_attached(session, server, &volume.id).await?;
        Ok(there.then(|| seen(server, &volume)))
    }

    async fn create(&self, cx: &OpCx<'_>, want: &Fields) -> Result<RemoteId, CloudError> {
        let known = |field: &str| {
            let id = want.get(field).and_then(Value::as_id).map(|id| id.0.as_str());
            id.ok_or_else(|| CloudError::config(format!("{}: the id of its {field} is not known", cx.address)))
        };
        let (server, volume) = (known("server")?, known("volume")?);
        let refused = match nova::attach(cx.session, server, volume).await {
            Ok(()) => return Ok(id(server, volume)),
            Err(error) => error,
        };
        if !matches!(refused.kind, ErrorKind::BadRequest | ErrorKind::Conflict) {
            return Err(refused);
        }
        // Nova refuses a second time what it did the first, and says the same of a volume that another server has.
        let Ok(Some(found)) = cinder::volume(cx.session, volume).await else { return Err(refused) };
        if found.servers().any(|holder| holder == server) {
            return Ok(id(server, volume));
        }
        if found.is_in_transit() && nova::is_attached(cx.session, server, volume).await? {
            return Ok(id(server, volume));
        }
        Err(held_elsewhere(cx.session, &found, server).await.unwrap_or(refused))
    }

    async fn update(&self, _: &OpCx<'_>, _: &Update<'_>) -> Result<(), CloudError> {
        Ok(())
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        let (server, volume) = parts(id)?;
        let refused = match nova::detach(cx.session, server, volume).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // Asked again while it detaches, Nova refuses; so it does when the volume itself is gone.
        match cinder::volume(cx.session, volume).await {
            Ok(None) => Ok(()),
            Ok(Some(found)) if matches!(found.status.as_str(), "detaching" | "available") => Ok(()),
            _ => Err(refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(pairs: &[(&str, Value)]) -> Fields {
        let mount = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Fields::from([("filesystem".to_owned(), "ext4".into()), ("mount".to_owned(), Value::Map(mount))])
    }

    #[test]
    fn impossible_mounts_are_mistakes() {
        let count = |pairs: &[(&str, Value)]| {
            let mut mistakes = Vec::new();
            Attachment.check(&mut mount(pairs), &mut mistakes);
            mistakes.len()
        };
        assert_eq!(count(&[("path", "/mnt/block".into()), ("mode", "755".into())]), 0);
        assert_eq!(count(&[("path", "mnt".into()), ("mode", "rwx".into()), ("owner", "cc".into())]), 2);
        assert_eq!((count(&[("path", "/".into())]), count(&[("path", "/mnt/../etc".into())])), (1, 1));
    }
}
