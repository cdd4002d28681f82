//! Images: looked up by name or id, never made.

use async_trait::async_trait;

use super::kind::{CloudKind, Kind, OpCx, Place, Readiness, Seen, Update};
use super::schema::{NameRule, Schema, attribute};
use crate::cloud::{CloudError, Service, Session, glance, shapes};
use crate::model::{Fields, RemoteId, Value};

/// An image of the site.
pub struct Image;

static SCHEMA: Schema = Schema {
    kind: "image",
    section: "",
    doc: "An image of the site, named where a server or a volume is made of it.",
    fields: &[],
    attributes: &[
        attribute("id", "The image's id."),
        attribute("name", "The image's name."),
        attribute("status", "Glance's word for its state, `active` when it can be used."),
        attribute("min_disk", "The smallest disk it fits on, in GiB."),
    ],
    protect: false,
    lookup: true,
    name: NameRule::None,
};

fn seen(image: glance::Image) -> Seen {
    let name = image.name.unwrap_or_default();
    let attrs = Fields::from([
        ("id".to_owned(), Value::text(image.id.clone())),
        ("name".to_owned(), Value::text(name.clone())),
        ("status".to_owned(), Value::text(image.status.clone())),
        ("min_disk".to_owned(), Value::Int(image.min_disk)),
    ]);
    Seen {
        id: RemoteId(image.id),
        name,
        attrs,
        status: image.status,
        fault: None,
        stamp: None,
        user_id: None,
        created_at: image.created_at.as_deref().and_then(shapes::time),
    }
}

/// The answer to a request to make or change what is only looked up. The engine never asks for it.
pub(super) fn only_looked_up(kind: &str) -> CloudError {
    CloudError::config(format!("anole looks up {kind}s and neither makes, changes nor deletes them"))
}

impl Kind for Image {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Image)
    }

    fn manageable(&self) -> bool {
        false
    }

    fn readiness(&self, seen: &Seen) -> Readiness {
        match seen.status.as_str() {
            "queued" | "saving" | "uploading" | "importing" => Readiness::Pending(seen.status.clone()),
            "killed" => Readiness::Failed("its upload failed".to_owned()),
            "deactivated" => Readiness::Failed("it is deactivated".to_owned()),
            "deleted" | "pending_delete" => Readiness::Ended("deleted".to_owned()),
            _ => Readiness::Ready,
        }
    }
}

#[async_trait]
impl CloudKind for Image {
    fn service(&self) -> Service {
        Service::Image
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        Ok(glance::images(session).await?.into_iter().map(seen).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(glance::image(session, &id.0).await?.map(seen))
    }

    async fn create(&self, _: &OpCx<'_>, _: &Fields) -> Result<RemoteId, CloudError> {
        Err(only_looked_up("image"))
    }

    async fn update(&self, _: &OpCx<'_>, _: &Update<'_>) -> Result<(), CloudError> {
        Err(only_looked_up("image"))
    }

    async fn delete(&self, _: &OpCx<'_>, _: &RemoteId) -> Result<(), CloudError> {
        Err(only_looked_up("image"))
    }

    /// By name, and where no image has that name by id: a site may have thousands of images.
    async fn lookup(&self, session: &Session, name_or_id: &str) -> Result<Vec<Seen>, CloudError> {
        let named = glance::named(session, name_or_id).await?;
        let exact: Vec<_> = named.into_iter().filter(|image| image.name.as_deref() == Some(name_or_id)).collect();
        if exact.is_empty() && uuid::Uuid::try_parse(name_or_id).is_ok() {
            return Ok(glance::image(session, name_or_id).await?.map(seen).into_iter().collect());
        }
        Ok(exact.into_iter().map(seen).collect())
    }
}
