//! Datasets that are made on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::delivery::{Around, Staged, delivery, keys};
use super::{Dataset, RECORDED, WHOLE, WORDS, location};
use crate::cloud::Session;
use crate::dataset::delivery::{Delivered, deliver_from};
use crate::dataset::gauge::Gauge;
use crate::dataset::job::Origin;
use crate::dataset::load::{LoadError, Place as Target, unload};
use crate::dataset::text::{bytes, thousands};
use crate::dataset::{Job, Staging, Stores, Watch};
use crate::embedded::keeper;
use crate::embedded::serve::NOWHERE;
use crate::kinds::guest::GuestWords;
use crate::kinds::kind::{is_set, text};
use crate::kinds::local::{LocalCx, LocalError, LocalKind, located};
use crate::model::{Address, Fields, Value};
use crate::object::{ObjectError, Store};

/// How often it is told how far it is.
const EVERY: Duration = Duration::from_millis(250);

#[async_trait]
impl LocalKind for Dataset {
    async fn put(&self, cx: &LocalCx<'_>, want: &Fields) -> Result<Fields, LocalError> {
        let wrong = |message| LocalError { message, hint: None };
        let own = |staged: Staged<'_>| staging(staged, cx.home, (cx.lineage, cx.address));
        let around = Around { staging: &own, trusted: trusted(cx.session).map_err(wrong)? };
        let mut delivery = delivery(want, cx.recorded, &around).map_err(wrong)?;
        within_process(cx.session, &mut delivery.job);
        if let Some(other) = stood_in_for(cx.session, want) {
            (cx.say)(format!("the embedded cloud's own store stands in for {other}"));
        }
        delivery.load.verify |= cx.verify;
        let store = store(cx.session, want)?;
        let gauge = Arc::new(Gauge::default());
        let watch: Arc<dyn Watch> = Arc::clone(&gauge) as Arc<dyn Watch>;
        let stores = stores(cx.session, &store, &delivery.job)?;
        let work = deliver_from(&delivery, &store, &stores, &watch);
        tokio::pin!(work);
        let mut ticks = tokio::time::interval(EVERY);
        let mut stop = cx.stop.clone();
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                _ = ticks.tick() => (cx.progress)(gauge.standing()),
                // A sender that is gone asks for nothing more.
                Ok(()) = stop.changed() => gauge.stop(),
            }
        };
        (cx.progress)(gauge.standing());
        let delivered =
            done.map_err(|error| LocalError { message: error.to_string(), hint: error.hint().map(str::to_owned) })?;
        (cx.say)(summary(&delivered));
        Ok(shown(want, &delivered))
    }

    async fn remove(&self, cx: &LocalCx<'_>, applied: &Fields) -> Result<(), LocalError> {
        if text(applied, "staging_at").is_empty()
            && let Ok(folder) = staging(Staged::Of(""), cx.home, (cx.lineage, cx.address))
            && folder.exists()
            // One that is in use is another run's to clear away.
            && let Ok(staging) = Staging::open(&folder)
        {
            staging.remove().map_err(|error| LocalError { message: error.message, hint: error.hint })?;
        }
        remove(cx.session, applied).await
    }

    /// What is on its way to the store is in memory.
    fn takes_long(&self) -> bool {
        true
    }

    fn words(&self) -> Option<&'static GuestWords> {
        Some(&WORDS)
    }
}

/// The staging folder of a dataset of a stack.
pub(super) fn staging(
    staged: Staged<'_>,
    home: Option<&Path>,
    (lineage, own): (&str, &Address),
) -> Result<PathBuf, String> {
    let own = own.to_string();
    let name = match staged {
        Staged::At(path) => return located(path, home).map_err(|error| error.message),
        Staged::Of("") => own.trim_start_matches("datasets."),
        Staged::Of(name) => name,
    };
    let lineage: String = lineage.chars().take(8).collect();
    let cache = located("~/.cache/anole/datasets", home).map_err(|error| error.message)?;
    Ok(cache.join(format!("{lineage}-{name}")))
}

/// The store that the site's own stands in for, on a cloud that runs in this process: nothing of a rehearsal is real.
fn stood_in_for(session: &Session, fields: &Fields) -> Option<String> {
    let keys = keys(fields, None).ok().flatten().filter(|_| session.is_in_process())?;
    let is_own = keys.endpoint.host_str() == Some(NOWHERE) || keeper::is_address(&keys.endpoint);
    (!is_own).then(|| keys.endpoint.to_string())
}

/// On a cloud that runs in this process, takes the site's sign-in for sources in buckets.
pub(super) fn within_process(session: &Session, job: &mut Job) {
    if !session.is_in_process() {
        return;
    }
    for source in &mut job.sources {
        match &mut source.from {
            Origin::Bucket(bucket) if !bucket.store.as_ref().is_some_and(|keys| keeper::is_address(&keys.endpoint)) => {
                (bucket.store, bucket.site) = (None, String::new());
            }
            Origin::Bucket(_) => {}
            Origin::Dataset(another) => within_process(session, &mut another.job),
            Origin::Url(_) | Origin::Path(_) => {}
        }
    }
}

/// The store that a dataset goes to: by its keys, or by the site's sign-in.
///
/// # Errors
/// That its keys are lost, or that the site has none.
pub(super) fn store(session: &Session, fields: &Fields) -> Result<Store, LocalError> {
    let refused = |error: ObjectError| LocalError { message: error.to_string(), hint: error.parts().hint.clone() };
    let wrong = |message| LocalError {
        message,
        hint: Some("bring them back, or apply with those that the store has now".to_owned()),
    };
    let trusted = trusted(session).map_err(|message| LocalError { message, hint: None })?;
    match keys(fields, trusted.as_deref()).map_err(wrong)? {
        Some(keys) if !session.is_in_process() || keeper::is_address(&keys.endpoint) => keys.store().map_err(refused),
        _ => Store::swift(session).map_err(refused),
    }
}

/// The stores of sources in buckets that name no keys: the site's own, by its sign-in. Where the load goes there by keys, it is
/// asked by those: so the store copies by itself what is not changed.
///
/// # Errors
/// That the site has none.
pub(super) fn stores(session: &Session, load: &Store, job: &Job) -> Result<Stores, LocalError> {
    if job.buckets().iter().all(|bucket| bucket.store.is_some()) {
        return Ok(Stores::default());
    }
    let refused = |error: ObjectError| LocalError { message: error.to_string(), hint: error.parts().hint.clone() };
    let own = Store::swift(session).map_err(refused)?;
    Ok(Stores::default().with("", if own.host() == load.host() { load.clone() } else { own }))
}

/// The certificates that the site's configuration trusts.
pub(super) fn trusted(session: &Session) -> Result<Option<String>, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("cacert {} cannot be read: {error}", path.display()))
    };
    session.cacert().map(read).transpose()
}

/// What was done, in a line.
pub(super) fn summary(delivered: &Delivered) -> String {
    let Delivered { recorded, report, seconds, requests } = delivered;
    let noun = |count: u64| if count == 1 { "object" } else { "objects" };
    let mut text = format!("{} {}, {}", thousands(recorded.objects), noun(recorded.objects), bytes(recorded.bytes));
    if report.sent == 0 && report.copied == 0 {
        text.push_str("; all were there");
    }
    if report.sent > 0 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people"
        )]
        let rate = (report.sent_bytes as f64 / seconds) as u64;
        let (sent, much) = (thousands(report.sent), bytes(report.sent_bytes));
        text.push_str(&format!("; {sent} sent ({much}) in {seconds:.1} s, {}/s", bytes(rate)));
    }
    let counted = |count: u64, one: &str, several: &str| {
        if count == 1 { format!("; 1 {one}") } else { format!("; {} {several}", thousands(count)) }
    };
    if report.copied > 0 {
        text.push_str(&counted(report.copied, "copied by the store", "copied by the store"));
    }
    if report.deleted > 0 {
        text.push_str(&counted(report.deleted, "other deleted", "others deleted"));
    }
    if report.aborted > 0 {
        text.push_str(&counted(report.aborted, "unfinished upload given up", "unfinished uploads given up"));
    }
    text.push_str(&counted(*requests, "request", "requests"));
    text
}

/// What the state remembers, and what references may name.
pub(super) fn shown(want: &Fields, delivered: &Delivered) -> Fields {
    let count = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let recorded = serde_json::to_value(&delivered.recorded).unwrap_or_default();
    Fields::from([
        ("objects".to_owned(), count(delivered.recorded.objects)),
        ("bytes".to_owned(), count(delivered.recorded.bytes)),
        ("location".to_owned(), Value::text(location(want))),
        ("content".to_owned(), Value::text(WHOLE)),
        (RECORDED.to_owned(), Value::from_plain(&recorded)),
    ])
}

/// Lets go of what was loaded; its objects go only with `force_destroy`.
pub(super) async fn remove(session: &Session, applied: &Fields) -> Result<(), LocalError> {
    if !is_set(applied, "force_destroy") {
        return Ok(());
    }
    let place = Target {
        store: store(session, applied)?,
        bucket: text(applied, "bucket").to_owned(),
        prefix: text(applied, "prefix").to_owned(),
    };
    match unload(&place).await {
        Err(LoadError::Store(error)) if error.is_not_found() => Ok(()),
        Err(error) => Err(LocalError { message: error.to_string(), hint: error.hint().map(str::to_owned) }),
        Ok(_) => Ok(()),
    }
}
