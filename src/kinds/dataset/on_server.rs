//! Datasets that are made on a server: the same binary runs the same job there, beside the data.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::delivery::{Staged, delivery, located};
use super::here::{WORDS, remove, shown, summary};
use super::look::Look;
use super::table::ON_SERVER;
use super::{location, text};
use crate::cloud::Session;
use crate::guest::{GuestError, dataset, script};
use crate::kinds::guest::{GuestCx, GuestKind, GuestWords};
use crate::kinds::kind::{DerivedPart, Kind, Mark, Mistake, Place, Seen};
use crate::kinds::look::Looker;
use crate::kinds::schema::Schema;
use crate::model::{Address, Fields, RemoteId};

/// A dataset that is made on a server.
pub struct DatasetOnServer;

impl Kind for DatasetOnServer {
    fn schema(&self) -> &'static Schema {
        &ON_SERVER
    }

    fn place(&self) -> Place {
        Place::Guest(&DatasetOnServer)
    }

    fn told_by(&self) -> Option<Mark> {
        Some(Mark::Field("server"))
    }

    fn looker(&self) -> Option<&'static dyn Looker> {
        Some(&Look { here: false })
    }

    fn check(&self, fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
        super::check(fields, mistakes);
        if fields.get("load").and_then(crate::model::Value::as_map).is_some_and(|load| !load.contains_key("credential"))
        {
            let help = "a server is not signed in to the site: name an EC2 credential, `load: { …, credential: s3 }`";
            mistakes.push(super::mistake("load", "a load from a server needs a `credential`", help));
        }
    }

    fn derive(&self, _: &Address, fields: &mut Fields) -> Vec<DerivedPart> {
        super::derive(fields);
        Vec::new()
    }

    fn occupies(&self, fields: &Fields) -> Option<String> {
        super::occupies(fields)
    }

    fn complete(&self, applied: &Fields, attrs: &mut Fields) {
        super::complete(applied, attrs);
    }

    fn data_loss(&self, live: &Seen) -> Option<String> {
        super::data_loss(live)
    }
}

/// The staging folder of a dataset on a server: one that the spec names, or one below the log-in user's home folder, which
/// is where what is relative begins there.
fn staging(staged: Staged<'_>, stack: &str, own: &Address) -> Result<PathBuf, String> {
    let home = Path::new("");
    let own = own.to_string();
    let name = match staged {
        Staged::At(path) => return located(path, Some(home)),
        Staged::Of("") => own.trim_start_matches("datasets."),
        Staged::Of(name) => name,
    };
    Ok(home.join(".cache/anole/datasets").join(format!("{stack}-{name}")))
}

#[async_trait]
impl GuestKind for DatasetOnServer {
    fn id(&self, address: &Address, _: &Fields) -> Option<RemoteId> {
        Some(RemoteId(address.to_string()))
    }

    fn steps(&self, fields: &Fields) -> Vec<String> {
        let place = if text(fields, "bucket").is_empty() { "its bucket".to_owned() } else { location(fields) };
        vec!["copy anole to it, if it is not there".to_owned(), format!("make the dataset and load it into {place}")]
    }

    fn is_undone(&self, _: &Fields) -> bool {
        false
    }

    fn words(&self) -> &'static GuestWords {
        &WORDS
    }

    fn outlives_server(&self) -> bool {
        true
    }

    /// It may take hours, and leaves disks and mounts alone.
    fn takes_turns(&self) -> bool {
        false
    }

    async fn put(&self, cx: &GuestCx<'_>, want: &Fields) -> Result<Fields, GuestError> {
        let own = |staged: Staged<'_>| staging(staged, cx.stack, cx.address);
        let mut delivery = delivery(want, cx.recorded, own).map_err(GuestError::refused)?;
        delivery.load.verify |= cx.verify;
        let watching = dataset::Watching { tell: cx.tell, progress: cx.progress, stop: cx.stop.clone() };
        let id = format!("{}/datasets/{}", cx.stack, script::name_of(cx.address));
        let delivered = dataset::run(cx.guest, &delivery, &id, &watching).await?;
        (cx.say)(summary(&delivered));
        Ok(shown(want, &delivered))
    }

    async fn remove(&self, _: &GuestCx<'_>, _: &Fields) -> Result<(), GuestError> {
        Ok(())
    }

    async fn remove_elsewhere(&self, session: &Session, applied: &Fields) -> Result<(), GuestError> {
        remove(session, applied).await.map_err(|error| match error.hint() {
            Some(hint) => GuestError::refused_with(error.to_string(), hint),
            None => GuestError::refused(error.to_string()),
        })
    }
}
