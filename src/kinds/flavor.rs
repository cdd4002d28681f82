//! Flavors: looked up by name or id, never made. A lease's reserved flavors are among them while it is active.

use async_trait::async_trait;

use super::image::only_looked_up;
use super::kind::{CloudKind, Kind, OpCx, Place, Seen, Update};
use super::schema::{NameRule, Schema, attribute};
use crate::cloud::{CloudError, Service, Session, nova};
use crate::model::{Fields, RemoteId, Value};

/// A flavor of the site.
pub struct Flavor;

static SCHEMA: Schema = Schema {
    kind: "flavor",
    section: "",
    doc: "A flavor of the site: how large a server is.",
    fields: &[],
    attributes: &[
        attribute("id", "The flavor's id."),
        attribute("name", "The flavor's name."),
        attribute("vcpus", "Virtual CPUs."),
        attribute("ram", "Memory in MiB."),
        attribute("disk", "Root disk in GiB; 0 where the image or a volume says."),
    ],
    protect: false,
    lookup: true,
    name: NameRule::None,
};

fn seen(flavor: nova::Flavor) -> Seen {
    let attrs = Fields::from([
        ("id".to_owned(), Value::text(flavor.id.clone())),
        ("name".to_owned(), Value::text(flavor.name.clone())),
        ("vcpus".to_owned(), Value::Int(flavor.vcpus)),
        ("ram".to_owned(), Value::Int(flavor.ram)),
        ("disk".to_owned(), Value::Int(flavor.disk)),
    ]);
    Seen {
        id: RemoteId(flavor.id),
        name: flavor.name,
        attrs,
        status: String::new(),
        fault: None,
        stamp: None,
        user_id: None,
        created_at: None,
    }
}

impl Kind for Flavor {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Flavor)
    }

    fn manageable(&self) -> bool {
        false
    }
}

#[async_trait]
impl CloudKind for Flavor {
    fn service(&self) -> Service {
        Service::Compute
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        Ok(nova::flavors(session).await?.into_iter().map(seen).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(nova::flavor(session, &id.0).await?.map(seen))
    }

    async fn create(&self, _: &OpCx<'_>, _: &Fields) -> Result<RemoteId, CloudError> {
        Err(only_looked_up("flavor"))
    }

    async fn update(&self, _: &OpCx<'_>, _: &Update<'_>) -> Result<(), CloudError> {
        Err(only_looked_up("flavor"))
    }

    async fn delete(&self, _: &OpCx<'_>, _: &RemoteId) -> Result<(), CloudError> {
        Err(only_looked_up("flavor"))
    }
}
