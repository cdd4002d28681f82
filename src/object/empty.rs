//! Emptying and deleting a bucket with all that it holds: objects, versions of them, unfinished uploads, and the buckets
//! that belong to it.
//!
//! Invariants:
//! - Nothing outside the bucket and what belongs to it is touched.
//! - Doing it again after a crash goes on where it stopped.

use std::sync::atomic::{AtomicU64, Ordering};

use super::types::{Keys, Outcome, SettingsChange, Victim};
use super::{AT_A_TIME, ObjectErrorKind, Store};

/// How many requests are under way at a time.
const SIDE_BY_SIDE: usize = 8;

/// How often what came meanwhile is looked for, before a bucket is said to be in use.
const ROUNDS: usize = 3;

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Emptied {
    /// Objects, and versions of objects.
    pub objects: u64,
    /// Unfinished uploads.
    pub uploads: u64,
}

impl Store {
    /// Deletes a bucket and all that it holds. One that is gone is success. `tell` hears how much went so far.
    ///
    /// # Errors
    /// What the store refused to delete; [`ObjectErrorKind::NotEmpty`] where somebody goes on writing.
    pub async fn destroy_bucket(&self, bucket: &str, tell: &(dyn Fn(Emptied) + Sync)) -> Outcome<Emptied> {
        let mut gone = Emptied::default();
        let companions = self.api.companions(bucket);
        if !companions.is_empty() {
            // Else what is deleted becomes a version, in one of them.
            let off = SettingsChange { versioning: Some(false), ..SettingsChange::default() };
            match self.settings(bucket).await {
                Ok(settings) if settings.versioning => self.change_settings(bucket, &off).await?,
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        // The bucket itself is last: while it is there, what belongs to it is known to belong to something.
        for name in companions.iter().map(String::as_str).chain([bucket]) {
            let mut round = 0;
            loop {
                round += 1;
                self.empty(name, &mut gone, tell).await?;
                match self.delete_bucket(name).await {
                    Err(error) if error.kind() == ObjectErrorKind::NotEmpty && round < ROUNDS => {}
                    other => break other?,
                }
            }
        }
        Ok(gone)
    }

    async fn empty(&self, bucket: &str, gone: &mut Emptied, tell: &(dyn Fn(Emptied) + Sync)) -> Outcome<()> {
        let uploads = match self.uploads(bucket, "", &|_| true).await {
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if error.kind() == ObjectErrorKind::Unsupported => Vec::new(),
            other => other?,
        };
        self.abort_all(&uploads).await?;
        gone.uploads += uploads.len() as u64;
        let before = gone.objects;
        let count = AtomicU64::new(before);
        let uploads = gone.uploads;
        let done = |some: usize| {
            let objects = count.fetch_add(some as u64, Ordering::Relaxed) + some as u64;
            tell(Emptied { objects, uploads });
        };
        // Some pages are gathered and deleted side by side: a bucket of millions never stands in memory.
        let (mut from, mut victims) = (None, Vec::new());
        loop {
            let page = self.versions(bucket, "", from.as_ref()).await?;
            victims.extend(page.versions);
            from = page.next;
            if from.is_none() || victims.len() >= SIDE_BY_SIDE * AT_A_TIME {
                self.delete(bucket, &victims, SIDE_BY_SIDE, &done).await?;
                victims.clear();
            }
            if from.is_none() {
                break;
            }
        }
        let mut keys = Keys::default();
        loop {
            let page = match self.list_page(bucket, &keys).await {
                Err(error) if error.is_not_found() => break,
                other => other?,
            };
            keys.after = page.objects.last().map(|entry| entry.key.clone());
            let last = !page.more || keys.after.is_none();
            victims.extend(page.objects.into_iter().map(|entry| Victim::object(entry.key)));
            if last || victims.len() >= SIDE_BY_SIDE * AT_A_TIME {
                self.delete(bucket, &victims, SIDE_BY_SIDE, &done).await?;
                victims.clear();
            }
            if last {
                break;
            }
        }
        gone.objects = count.load(Ordering::Relaxed);
        Ok(())
    }
}
