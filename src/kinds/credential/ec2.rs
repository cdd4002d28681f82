//! EC2 credentials: the pairs of keys by which programs that speak S3 open a site's object store.
//!
//! Keystone makes both keys, gives them no name and no place for a stamp, and shows them as often as it is asked. The
//! access key is the id. What an interrupted create made is known by not having been there before.

use async_trait::async_trait;

use crate::cloud::{CloudError, Service, Session, keystone};
use crate::kinds::kind::{CloudKind, DerivedPart, Kind, Mark, Mistake, OpCx, Place, Seen, Update};
use crate::kinds::schema::{NameRule, Schema, Type, attribute, field};
use crate::model::{Address, Fields, RemoteId, Secret, Value};

use super::write::{self, KEYS, WRITE};
use super::{PLACE, place};

/// An EC2 credential.
pub struct Ec2Credential;

static SCHEMA: Schema = Schema {
    kind: "ec2_credential",
    section: "credentials",
    doc: "A pair of keys for programs that speak S3, made by the site.",
    fields: &[field("type", Type::Enum(&["ec2"]), "`ec2`.").required().ignore(), WRITE],
    attributes: &[
        attribute("id", "Its id, which is the access key."),
        attribute("access_key", "The access key's id."),
        attribute("secret_key", "The key itself.").secret(),
        attribute("endpoint", "Where the site speaks S3, as its catalog says.").stable(),
        PLACE[0],
        PLACE[1],
        PLACE[2],
        PLACE[3],
    ],
    protect: false,
    lookup: false,
    name: NameRule::None,
};

fn seen(session: &Session, credential: keystone::Ec2) -> Seen {
    let mut attrs = place(session);
    let secret = Secret::kept(format!("{}/secret_key", credential.access), credential.secret);
    attrs.insert("id".to_owned(), Value::text(credential.access.clone()));
    attrs.insert("access_key".to_owned(), Value::text(credential.access.clone()));
    attrs.insert("secret_key".to_owned(), Value::Secret(secret));
    attrs.extend(session.s3_endpoint().map(|endpoint| ("endpoint".to_owned(), Value::text(endpoint))));
    Seen {
        id: RemoteId(credential.access),
        name: String::new(),
        attrs,
        status: String::new(),
        fault: None,
        stamp: None,
        user_id: Some(credential.user_id),
        created_at: None,
    }
}

impl Kind for Ec2Credential {
    fn schema(&self) -> &'static Schema {
        &SCHEMA
    }

    fn place(&self) -> Place {
        Place::Cloud(&Ec2Credential)
    }

    fn told_by(&self) -> Option<Mark> {
        Some(Mark::Word("type", "ec2"))
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        write::check(fields, &KEYS, mistakes);
    }

    fn derive(&self, address: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        write::derive(address, fields, &KEYS)
    }

    fn unstamped_match(&self, _: &Fields, _: &Seen) -> Option<bool> {
        Some(true)
    }

    fn has_twins(&self) -> bool {
        true
    }
}

#[async_trait]
impl CloudKind for Ec2Credential {
    fn service(&self) -> Service {
        Service::Identity
    }

    fn gone_when_deleted(&self) -> bool {
        true
    }

    async fn list(&self, session: &Session) -> Result<Vec<Seen>, CloudError> {
        Ok(keystone::ec2_credentials(session).await?.into_iter().map(|found| seen(session, found)).collect())
    }

    async fn read(&self, session: &Session, id: &RemoteId) -> Result<Option<Seen>, CloudError> {
        Ok(keystone::ec2_credential(session, &id.0).await?.map(|found| seen(session, found)))
    }

    async fn create(&self, cx: &OpCx<'_>, _: &Fields) -> Result<RemoteId, CloudError> {
        Ok(RemoteId(keystone::create_ec2(cx.session).await?.access))
    }

    async fn update(&self, _: &OpCx<'_>, _: &Update<'_>) -> Result<(), CloudError> {
        Ok(())
    }

    async fn delete(&self, cx: &OpCx<'_>, id: &RemoteId) -> Result<(), CloudError> {
        keystone::delete_ec2(cx.session, &id.0).await
    }
}
