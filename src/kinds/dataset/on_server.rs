//! Datasets that are made on a server: the same binary runs the same job there, beside the data.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::delivery::{Around, Staged, delivery};
use super::here::{remove, shown, summary, trusted};
use super::{Dataset, WORDS, location};
use crate::cloud::Session;
use crate::guest::{GuestError, dataset, script};
use crate::kinds::guest::{GuestCx, GuestKind, GuestWords};
use crate::kinds::kind::text;
use crate::kinds::local::{LocalError, located};
use crate::model::{Address, Fields, RemoteId};
use crate::state::Status;

/// The staging folder of a dataset on a server: one that the spec names, or one below the log-in user's home folder, which
/// is where what is relative begins there.
fn staging(staged: Staged<'_>, stack: &str, own: &Address) -> Result<PathBuf, String> {
    let home = Path::new("");
    let own = own.to_string();
    let name = match staged {
        Staged::At(path) => return located(path, Some(home)).map_err(|error| error.message),
        Staged::Of("") => own.trim_start_matches("datasets."),
        Staged::Of(name) => name,
    };
    Ok(home.join(".cache/anole/datasets").join(format!("{stack}-{name}")))
}

/// What the work on a dataset is known by at its server.
fn work(cx: &GuestCx<'_>) -> String {
    format!("{}/datasets/{}", cx.stack, script::name_of(cx.address))
}

#[async_trait]
impl GuestKind for Dataset {
    fn id(&self, address: &Address, _: &Fields) -> Option<RemoteId> {
        Some(RemoteId(address.to_string()))
    }

    fn steps(&self, fields: &Fields) -> Vec<String> {
        let place = if text(fields, "bucket").is_empty() { "its bucket".to_owned() } else { location(fields) };
        vec!["copy anole to it, if it is not there".to_owned(), format!("make the dataset and load it into {place}")]
    }

    /// What was not seen to end may go on.
    fn is_undone(&self, _: &Fields, status: &Status) -> bool {
        *status != Status::Ready
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
        let around = Around { staging: &own, trusted: trusted(cx.session).map_err(GuestError::refused)? };
        let mut delivery = delivery(want, cx.recorded, &around).map_err(GuestError::refused)?;
        delivery.load.verify |= cx.verify;
        let watching = dataset::Watching { tell: cx.tell, progress: cx.progress, stop: cx.stop.clone() };
        let delivered = dataset::run(cx.guest, &delivery, &work(cx), &watching).await?;
        (cx.say)(summary(&delivered));
        Ok(shown(want, &delivered))
    }

    async fn remove(&self, cx: &GuestCx<'_>, _: &Fields) -> Result<(), GuestError> {
        dataset::end(cx.guest, &work(cx)).await
    }

    async fn remove_elsewhere(&self, session: &Session, applied: &Fields) -> Result<(), GuestError> {
        remove(session, applied).await.map_err(|LocalError { message, hint }| GuestError::Refused { message, hint })
    }
}
