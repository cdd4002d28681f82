//! What a plan sees of a loaded dataset: its manifest and objects in the bucket, and the files that it was made of.
//!
//! In: what was applied and recorded. Out: `content`, which is as it should be, or says how it is not: `3 of 16,643
//! objects changed`. The bucket is listed, its manifest read; no object is read, unless data is to be verified.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::delivery::{Around, Staged, job, own_staging, recorded_of};
use super::here::{staging, store, stores, trusted, within_process};
use super::{Dataset, WHOLE};
use crate::dataset::load::{Audit, LoadError, Place, Reading, audit};
use crate::dataset::text::thousands;
use crate::dataset::{
    Difference, Job, Manifest, Origin, Progress, Recorded, Source, Staging, Transform, Watch, prepare, source,
};
use crate::kinds::kind::text;
use crate::kinds::look::{LookCx, Looker};
use crate::model::{Fields, Value};

#[async_trait]
impl Looker for Dataset {
    async fn look(&self, cx: &LookCx<'_>, applied: &Fields, attributes: &Fields) -> Result<Fields, String> {
        let Some(recorded) = recorded_of(attributes) else { return Ok(Fields::new()) };
        let place = Place {
            store: store(cx.session, applied).map_err(|error| error.to_string())?,
            bucket: text(applied, "bucket").to_owned(),
            prefix: text(applied, "prefix").to_owned(),
        };
        let reading = if cx.verify { Reading::Back } else { Reading::Tags };
        let content = match audit(&place, reading).await {
            Ok(audit) => match described(&audit, &recorded, text(applied, "extra_objects") == "delete") {
                content if content == WHOLE && !self.on_server => {
                    others(applied, &recorded, audit.manifest, cx).await.unwrap_or(content)
                }
                content => content,
            },
            Err(LoadError::Store(error)) if error.is_not_found() => "the bucket is not there".to_owned(),
            Err(error) => return Err(error.to_string()),
        };
        Ok(Fields::from([("content".to_owned(), Value::text(content))]))
    }
}

/// How the objects differ that its files would make now, if they are others by now. Where the files are not to be seen
/// (another machine, a disk that is not mounted), the bucket is all there is to go by.
async fn others(applied: &Fields, recorded: &Recorded, manifest: Option<Manifest>, cx: &LookCx<'_>) -> Option<String> {
    let own = |staged: Staged<'_>| staging(staged, cx.home, (cx.lineage, cx.address));
    let around = Around { staging: &own, trusted: trusted(cx.session).ok()? };
    let mut job = job(applied, &around).ok()?;
    within_process(cx.session, &mut job);
    let stores = stores(cx.session, &store(cx.session, applied).ok()?, &job).ok()?;
    let mut now = Vec::with_capacity(job.sources.len());
    for source in &job.sources {
        now.push(source::fingerprint_from(source, &stores).await.unwrap_or_default());
    }
    if recorded.is_of(&now) {
        return None;
    }
    let counted = match is_cheap(&job) {
        true => differ(&job, own(own_staging(applied)).ok()?, manifest?).await,
        false => None,
    };
    match counted {
        // Touched, and the same: the next apply has nothing to send.
        Some(difference) if difference.is_empty() => None,
        Some(difference) => Some(difference.to_string()),
        None => Some("the files of its source are others".to_owned()),
    }
}

/// Whether its objects are known by reading local files alone: nothing is fetched, and no program runs.
fn is_cheap(job: &Job) -> bool {
    let is_local = |source: &Source| match &source.from {
        Origin::Path(_) => true,
        Origin::Url(download) => download.url.scheme() == "file",
        Origin::Bucket(_) => false,
        Origin::Dataset(another) => is_cheap(&another.job),
    };
    job.sources.iter().all(is_local) && !job.transform.iter().any(|one| matches!(one, Transform::Command(_)))
}

/// How the objects that a job makes differ from those that are there. The digests of files that did not change are
/// remembered. `None` where the staging folder is in use, or the job fails: the apply will say why.
async fn differ(job: &Job, folder: PathBuf, manifest: Manifest) -> Option<Difference> {
    struct Quiet;
    impl Watch for Quiet {
        fn tell(&self, _: Progress) {}
    }
    let watch: Arc<dyn Watch> = Arc::new(Quiet);
    let staging = Arc::new(tokio::task::spawn_blocking(move || Staging::open(&folder)).await.ok()?.ok()?);
    let prepared = prepare(job, &staging, &watch).await.ok()?;
    let objects = tokio::task::spawn_blocking(move || prepared.objects(&watch).collect::<Result<Vec<_>, _>>());
    Some(manifest.compare(&objects.await.ok()?.ok()?))
}

/// What a bucket shows, beside what was recorded.
fn described(audit: &Audit, recorded: &Recorded, delete_extra: bool) -> String {
    let Some(manifest) = &audit.manifest else {
        return match (&audit.unreadable, audit.interrupted) {
            (Some(why), _) => why.clone(),
            (None, true) => "a load was interrupted".to_owned(),
            (None, false) => "its manifest is not there".to_owned(),
        };
    };
    if manifest.transform.sha256 != recorded.recipe.transform || manifest.source != recorded.sources {
        return "another dataset was loaded there".to_owned();
    }
    let whole = thousands(manifest.objects.len() as u64);
    let mut parts = Vec::new();
    let mut add = |count: u64, first: &str, then: &str| {
        if count > 0 {
            let count = thousands(count);
            parts.push(if parts.is_empty() {
                format!("{count} of {whole} objects {first}")
            } else {
                format!("{count} {then}")
            });
        }
    };
    add(audit.changed, "changed", "changed");
    add(audit.missing, "missing", "missing");
    if delete_extra && audit.extra > 0 {
        let extra = thousands(audit.extra);
        parts.push(format!("{extra} that are not its own"));
    }
    if parts.is_empty() { WHOLE.to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::manifest::{Transformed, VERSION};
    use crate::dataset::recipe::Recipe;
    use crate::dataset::{Listed, Sha256};

    fn recorded() -> Recorded {
        let recipe = Recipe { sources: Vec::new(), transform: Sha256::of(b"t") };
        Recorded { recipe, sources: Vec::new(), objects: 2, bytes: 2 }
    }

    fn there() -> Audit {
        let object = |key: &str| Listed { key: key.into(), size: 1, sha256: Sha256::of(b"x"), etag: None };
        let objects = (0..16_643).map(|number| object(&format!("{number:06}"))).collect();
        let transform = Transformed { steps: Vec::new(), sha256: Sha256::of(b"t") };
        let manifest = Manifest { version: VERSION, source: Vec::new(), transform, objects };
        Audit { manifest: Some(manifest), ..Audit::default() }
    }

    #[test]
    fn what_differs_is_told_in_a_line() {
        let told = |audit: Audit| described(&audit, &recorded(), true);
        assert_eq!(told(there()), WHOLE);
        insta::assert_snapshot!(told(Audit { changed: 3, ..there() }), @"3 of 16,643 objects changed");
        insta::assert_snapshot!(told(Audit { changed: 1, missing: 1000, extra: 2, ..there() }), @"1 of 16,643 objects changed, 1,000 missing, 2 that are not its own");
        insta::assert_snapshot!(told(Audit { missing: 2, ..there() }), @"2 of 16,643 objects missing");
        assert_eq!(described(&Audit { extra: 2, ..there() }, &recorded(), false), WHOLE);
        insta::assert_snapshot!(told(Audit::default()), @"its manifest is not there");
        insta::assert_snapshot!(told(Audit { interrupted: true, ..Audit::default() }), @"a load was interrupted");
        let other = Recorded { recipe: Recipe { sources: Vec::new(), transform: Sha256::of(b"u") }, ..recorded() };
        insta::assert_snapshot!(described(&there(), &other, true), @"another dataset was loaded there");
    }
}
