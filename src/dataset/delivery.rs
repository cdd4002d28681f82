//! One delivery, whole: from a job to objects in a bucket and their manifest.
//!
//! In: a [`Delivery`], which is plain JSON so that the same binary can be given it on a server; the [`Store`] that it goes
//! to; a [`Watch`]. Out: a [`Delivered`], which is what a state remembers and a summary shows, as JSON too.
//!
//! Invariants: the staging folder is held for the whole of it, so no two deliveries of one dataset run at a time: the second
//! waits. What an interrupted one left is carried on by the next. No source is where the load goes. Keys of stores are in the
//! JSON and in no `Debug`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use url::Url;

use super::job::Hidden;
use super::load::{self, LoadError, Report};
use super::{DatasetError, ErrorKind, Job, PATIENCE, Progress, Recorded, Staging, Stores, Watch, prepare_from};
use crate::object::{ObjectError, S3Config, Store};

/// What is to be delivered, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// From sources to objects.
    pub job: Job,
    /// The folder for what is downloaded and made, on the machine where this runs.
    pub staging: PathBuf,
    /// Where the objects go, and how.
    pub load: Load,
    /// Whether what was downloaded and made stays in the staging folder, for datasets that read this one.
    #[serde(default)]
    pub keep_staging: bool,
}

/// Where the objects go, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The store; none where whoever runs it is signed in to the site, and gives its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Keys>,
    /// The bucket.
    pub bucket: String,
    /// The prefix; empty for the whole bucket.
    #[serde(default)]
    pub prefix: String,
    /// How many requests that carry data are under way at a time.
    pub transfers: usize,
    /// Whether objects below the prefix that are not wanted are deleted, once all others are there.
    #[serde(default)]
    pub delete_extra: bool,
    /// Whether every object is read back.
    #[serde(default)]
    pub verify: bool,
}

/// A store by S3, and the keys that open it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// `https://chi.tacc.chameleoncloud.org:7480`.
    pub endpoint: Url,
    /// The region that requests are signed for.
    pub region: String,
    /// The key's id.
    pub access_key: Hidden,
    /// The key.
    pub secret_key: Hidden,
    /// The token of keys that are lent for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Hidden>,
    /// Certificates (PEM) to trust besides those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<String>,
}

/// What was delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivered {
    /// What the state remembers, for later plans.
    pub recorded: Recorded,
    /// What was done.
    pub report: Report,
    /// How long the load took, in seconds; without fetching and transforming, and the look at the bucket meanwhile.
    pub seconds: f64,
    /// How many requests the store was sent, those for sources that lie in it too.
    pub requests: u64,
}

/// Why it was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The objects could not be made.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// They could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store cannot be spoken to.
    #[error(transparent)]
    Store(#[from] ObjectError),
}

impl DeliveryError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Dataset(error) => error.hint.as_deref(),
            Self::Load(error) => error.hint(),
            Self::Store(error) => error.parts().hint.as_deref(),
        }
    }
}

impl Keys {
    /// The store that these keys open; nothing is sent yet.
    ///
    /// # Errors
    /// That the certificates cannot be read.
    pub fn store(&self) -> Result<Store, ObjectError> {
        Store::s3(&S3Config {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            access_key: self.access_key.0.clone(),
            secret_key: self.secret_key.0.clone().into(),
            session_token: self.session_token.as_ref().map(|token| token.0.clone().into()),
            trusted: self.trusted.as_ref().map(|pem| pem.clone().into_bytes()),
        })
    }
}

/// Fetches, makes and loads what a delivery says, into `store`.
///
/// # Errors
/// The first thing that went wrong; there is no manifest then, unless nothing was changed yet.
pub async fn deliver(delivery: &Delivery, store: &Store, watch: &Arc<dyn Watch>) -> Result<Delivered, DeliveryError> {
    deliver_from(delivery, store, &Stores::default(), watch).await
}

/// As [`deliver`], with stores for the sources in buckets that bring no keys: those that whoever runs this is signed in to,
/// by the spec's names of their sites.
///
/// # Errors
/// As [`deliver`].
pub async fn deliver_from(
    delivery: &Delivery,
    store: &Store,
    stores: &Stores,
    watch: &Arc<dyn Watch>,
) -> Result<Delivered, DeliveryError> {
    let stores = stores.clone().or(store);
    apart(delivery, store, &stores)?;
    let staging = Arc::new(Staging::wait(&delivery.staging, watch, PATIENCE).await?);
    let load = &delivery.load;
    let place = load::Place { store: store.clone(), bucket: load.bucket.clone(), prefix: load.prefix.clone() };
    let before = store.request_count();
    let making = async {
        let prepared = prepare_from(&delivery.job, &staging, &stores, watch).await?;
        let (of, told) = (prepared.clone(), Arc::clone(watch));
        let wanted = super::blocking(move || of.wanted(&told)).await?;
        Ok::<_, DatasetError>((prepared, wanted))
    };
    // The bucket is looked at while the files are.
    let local = load::LocalCopy::at(&staging.manifest());
    let looking = async { Ok(load::ahead(&place, Some(local)).await) };
    let ((prepared, wanted), ahead) = futures_util::future::try_join(making, looking).await?;
    let options = load::Options {
        transfers: load.transfers,
        delete_extra: load.delete_extra,
        verify: load.verify,
        ..load::Options::default()
    };
    watch.tell(Progress::Stage(super::Stage::Load));
    let began = Instant::now();
    let of = prepared.manifest(Vec::new());
    let report = load::load_from(&place, wanted, &of, (options, Some(ahead)), Arc::clone(watch)).await?;
    let seconds = began.elapsed().max(Duration::from_millis(1)).as_secs_f64();
    let kept = delivery.keep_staging;
    super::blocking(move || if kept { staging.tidy() } else { staging.clear() }).await?;
    Ok(Delivered { recorded: prepared.recorded(), report, seconds, requests: store.request_count() - before })
}

/// That no source is where the load goes: it would be read while it is changed.
fn apart(delivery: &Delivery, store: &Store, stores: &Stores) -> Result<(), DatasetError> {
    let below = |prefix: &str| match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let target = below(&delivery.load.prefix);
    for bucket in delivery.job.buckets() {
        let source = below(&bucket.prefix);
        let overlap = source.starts_with(&target) || target.starts_with(&source);
        if bucket.bucket == delivery.load.bucket && overlap && stores.of(bucket)?.may_be_same(store) {
            let place = if target.is_empty() { "all".to_owned() } else { format!("`{target}`") };
            let text = format!("{} is the source, and the load goes to {place} of the same bucket", bucket.shown());
            let hint = "give the load a prefix apart from the source's, or another bucket";
            return Err(DatasetError::new(ErrorKind::Job, text).hint(hint));
        }
    }
    Ok(())
}
