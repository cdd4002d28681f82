//! From sources to objects, whole; and what must not come through.

mod another;
mod archives;
mod buckets;
mod data;
mod deliver;
mod downloads;
mod full;
mod whole;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::{DatasetError, Job, Object, Progress, Staging, Watch, prepare};

/// Nobody is told, and nothing is stopped.
pub(crate) struct Quiet;

impl Watch for Quiet {
    fn tell(&self, _: Progress) {}
}

fn quiet() -> Arc<dyn Watch> {
    Arc::new(Quiet)
}

fn job(value: serde_json::Value) -> Job {
    serde_json::from_value(value).unwrap()
}

/// All objects of a job, in one go.
fn objects(job: &Job, staging: &Path) -> Result<Vec<Object>, DatasetError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let staging = Arc::new(Staging::open(staging)?);
    let prepared = runtime.block_on(prepare(job, &staging, &quiet()))?;
    prepared.objects(&quiet()).collect()
}

fn read(object: &Object) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.open(0).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(super::Sha256::of(&bytes), object.sha256, "{}", object.key);
    bytes
}

/// Keys and contents.
fn texts(objects: &[Object]) -> Vec<(String, String)> {
    objects.iter().map(|object| (object.key.clone(), String::from_utf8_lossy(&read(object)).into_owned())).collect()
}
