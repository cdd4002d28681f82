//! Buckets mounted in servers: the attachments that name a bucket instead of a volume.
//!
//! Nothing of it is in a service of the cloud: the bucket stands for itself, and this is its way into a server. No data
//! goes when it is unmounted, so whatever changes about it, it is unmounted and mounted anew; what uses it is stopped
//! before and started after.

use async_trait::async_trait;

use super::attachment::check_path;
use super::guest::{GuestCx, GuestKind, GuestWords, MOUNT_WORDS, unmounting};
use super::kind::{DerivedPart, Kind, Mark, Mistake, Place, is_set, text};
use super::mount::NOT_MOUNTED;
use super::schema::{Field, Literal, NameRule, RefChange, RefType, Schema, Type, attribute, field};
use super::store_keys::{self, BUCKET, CREDENTIAL};
use crate::guest::bucket::{self, Bucket, Tool};
use crate::guest::{Facts, GuestError, script};
use crate::model::{Address, Fields, RemoteId, Value};
use crate::object::signing_region;

/// A bucket mounted in a server.
pub struct BucketMount;

static MOUNT: &[Field] = &[
    field("path", Type::Text, "The folder to mount it at, `/mnt/object`; made if it is not there.").required(),
    field("tool", Type::Enum(Tool::NAMES), "What mounts it.").default(Literal::Str("rclone")),
    field("read_only", Type::Bool, "Whether it is mounted for reading only.").default(Literal::Bool(true)),
    field("allow_other", Type::Bool, "Whether users other than the owner see it; containers are such.")
        .default(Literal::Bool(false)),
    field("owner", Type::Text, "The user that its files belong to; by default the one who is logged in as."),
    field("options", Type::List(&Type::Text), "More arguments for the tool, such as `--vfs-cache-mode=full`."),
];

static SCHEMA: Schema = Schema {
    kind: "bucket_mount",
    section: "attachments",
    doc: "A bucket as a folder of a server.",
    fields: &[
        field("bucket", Type::Short("name", BUCKET), "The bucket: one of this spec, or another.").required().ignore(),
        field("server", Type::Ref(RefType::new("server", RefChange::Replace)), "The server.").required(),
        field(
            "credential",
            Type::Short("name", CREDENTIAL),
            "The keys that open the bucket: a credential's name, or others.",
        )
        .required()
        .ignore(),
        field("mount", Type::Struct(MOUNT), "Where the server mounts it, now and after every boot.")
            .required()
            .ignore(),
        field("bucket_name", Type::Text, "The bucket's name in its store.").derived().replace(),
        field("endpoint", Type::Text, "Where the store is.").derived().replace(),
        field("region", Type::Text, "The region that requests are signed for.").internal().replace(),
        field("access_key", Type::Text, "The key's id.").internal().replace().sensitive(),
        field("secret_key", Type::Text, "The key.").internal().replace().sensitive(),
        field("path", Type::Text, "Where it is mounted.").derived().replace(),
        field("tool", Type::Text, "What mounts it.").derived().replace(),
        field("read_only", Type::Bool, "Whether it is mounted for reading only.").derived().replace(),
        field("allow_other", Type::Bool, "Whether users other than the owner see it.").derived().replace(),
        field("owner", Type::Text, "Whose its files are.").derived().replace(),
        field("options", Type::List(&Type::Text), "More arguments for the tool.").derived().replace(),
    ],
    attributes: &[
        attribute("id", "`<server id>/<attachment>`."),
        attribute("service", "The service of systemd that keeps it mounted.").stable(),
    ],
    protect: false,
    lookup: false,
    name: NameRule::None,
};

/// The bucket's name, as far as it is known.
fn named(fields: &Fields) -> &str {
    fields.get("bucket_name").and_then(Value::as_str).unwrap_or("(known after apply)")
}

fn service(cx: &GuestCx<'_>) -> String {
    format!("anole-bucket-{}", script::plain(&format!("{}-{}", cx.stack, script::name_of(cx.address))))
}

impl Kind for BucketMount {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Guest(&BucketMount)
    }

    fn told_by(&self) -> Option<Mark> {
        Some(Mark::Field("bucket"))
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        store_keys::check_bucket(["bucket", "credential"], fields, mistakes);
        if let Some(credential) = fields.get("credential").and_then(Value::as_map) {
            let lent = credential.get("profile").and_then(Value::as_map);
            if lent.is_some_and(|keys| keys.contains_key("session_token")) {
                let help = "a mount outlives them: name a profile with keys of its own";
                mistakes.push(Mistake::new("credential", "the keys of this profile are lent for a time", help));
            }
        }
        let Some(Value::Map(mount)) = fields.get_mut("mount") else { return };
        check_path(mount, mistakes);
        for option in mount.get("options").and_then(Value::as_list).unwrap_or_default() {
            if option.as_str().is_some_and(|option| !option.starts_with('-') || option.contains('\n')) {
                let help = "each is one argument, `--dir-cache-time=1m` or `-onoatime`";
                mistakes.push(Mistake::new("mount", "an option does not begin with `-`", help));
            }
        }
    }

    fn derive(&self, _: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        if let Some(name) = store_keys::open(fields) {
            fields.insert("bucket_name".to_owned(), name);
        }
        // The tools trust what the server trusts.
        fields.remove("trusted");
        if let Some(Value::Map(mount)) = fields.remove("mount") {
            fields.extend(mount);
        }
        Vec::new()
    }
}

#[async_trait]
impl GuestKind for BucketMount {
    fn id(&self, address: &Address, fields: &Fields) -> Option<RemoteId> {
        let server = fields.get("server").and_then(Value::as_id)?;
        Some(RemoteId(format!("{server}/{}", script::name_of(address))))
    }

    fn steps(&self, fields: &Fields) -> Vec<String> {
        let tool = text(fields, "tool");
        let how = if is_set(fields, "read_only") { ", for reading only" } else { "" };
        vec![
            format!("install {tool}, if it is not there"),
            "write its keys to a file of the user's own".to_owned(),
            format!("mount bucket {} at {}{how}", named(fields), text(fields, "path")),
        ]
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
        let wanted = text(applied, "path");
        let is_there = facts.at(wanted).is_some_and(|mounted| mounted.filesystem.starts_with("fuse"));
        shown.insert("path".to_owned(), Value::text(if is_there { wanted } else { NOT_MOUNTED }));
        shown
    }

    async fn put(&self, cx: &GuestCx<'_>, want: &Fields) -> Result<Fields, GuestError> {
        let (service, label) = (service(cx), cx.address.to_string());
        let options = want.get("options").and_then(Value::as_list).unwrap_or_default();
        let bucket = Bucket {
            service: &service,
            label: &label,
            bucket: text(want, "bucket_name"),
            endpoint: text(want, "endpoint").trim_end_matches('/'),
            region: signing_region(text(want, "region")),
            access_key: text(want, "access_key"),
            secret_key: text(want, "secret_key"),
            path: text(want, "path"),
            tool: Tool::named(text(want, "tool")),
            read_only: is_set(want, "read_only"),
            allow_other: is_set(want, "allow_other"),
            owner: text(want, "owner"),
            options: options.iter().filter_map(Value::as_str).collect(),
        };
        bucket::mount(cx.guest, &bucket, cx.tell).await?;
        let shown = [("service", service.as_str()), ("path", bucket.path)];
        Ok(shown.map(|(name, text)| (name.to_owned(), Value::text(text))).into())
    }

    async fn remove(&self, cx: &GuestCx<'_>, applied: &Fields) -> Result<(), GuestError> {
        bucket::unmount(cx.guest, &service(cx), text(applied, "path"), cx.tell).await
    }
}
