//! What a bucket shows of a dataset that was loaded: whether its manifest is there, and its objects as the manifest says.
//!
//! In: a place. Out: an [`Audit`], in one list, one read, and a look at each large object of which the list says too little;
//! with [`Reading::Back`] every byte is read as well. Nothing is changed. The same place, without the objects of the dataset, by
//! [`unload`]: nothing else below the prefix goes.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::decide::{self, Verdict};
use super::{LoadError, Loader, MANIFEST, Options, PREVIOUS, Place, Unwatched};
use crate::dataset::{Content, Listed, Manifest, Object, Open, Reader};
use crate::object::{Upload, Victim};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Audit {
    /// The manifest, if it is there and can be read.
    pub manifest: Option<Manifest>,
    /// Why it cannot be read, if that is so.
    pub unreadable: Option<String>,
    /// Whether a load was interrupted: what the manifest said before is kept beside it.
    pub interrupted: bool,
    /// How many of the objects that it lists are not there.
    pub missing: u64,
    /// How many are there with another content.
    pub changed: u64,
    /// How many are below the prefix and not listed.
    pub extra: u64,
}

/// Whether content is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Entity tags are believed.
    Tags,
    /// Every byte is read.
    Back,
}

/// Content of which only the digest is known.
struct Elsewhere;

impl Open for Elsewhere {
    fn open(&self, _: u64) -> io::Result<Reader> {
        Err(io::Error::other("it is in the bucket only"))
    }

    fn origin(&self) -> String {
        "the bucket".to_owned()
    }

    fn identity(&self) -> Option<String> {
        None
    }
}

/// Looks at what was loaded.
///
/// # Errors
/// When the bucket cannot be listed, or its manifest not fetched.
pub async fn audit(place: &Place, reading: Reading) -> Result<Audit, LoadError> {
    audit_with(place, reading, Options::default()).await
}

pub(super) async fn audit_with(place: &Place, reading: Reading, options: Options) -> Result<Audit, LoadError> {
    let loader = Arc::new(Loader::new(place, options, Arc::new(Unwatched)));
    let mut audit = Audit::default();
    if let Some(bytes) = loader.read(MANIFEST).await? {
        match Manifest::parse(&bytes) {
            Ok(manifest) => audit.manifest = Some(manifest),
            Err(why) => audit.unreadable = Some(why.to_string()),
        }
    }
    let listed = audit.manifest.as_ref().map(|manifest| manifest.objects.as_slice()).unwrap_or_default();
    let wanted: Arc<[Object]> = listed.iter().map(elsewhere).collect();
    let keys = audit.manifest.as_ref().map(Manifest::keys).unwrap_or_default();
    let mut seen = loader.listed(&keys).await?;
    seen.complete = audit.manifest.is_some();
    seen.last = audit.manifest.take();
    audit.interrupted = seen.previous;

    let decided = decide::decide(&wanted, &seen, &loader.prefix, loader.options.threshold);
    let verdicts = decided.verdicts.into_iter().zip(wanted.iter()).map(|(verdict, object)| match verdict {
        // With another entity tag it is another object; only of a large one a list may not tell.
        Verdict::Unsure if object.size <= loader.options.threshold => Verdict::Other,
        verdict => verdict,
    });
    let verdicts: Vec<Verdict<'_>> = verdicts.collect();
    audit.extra = decided.extra.len() as u64;
    let unlisted: Vec<bool> = verdicts.iter().map(|verdict| *verdict == Verdict::Missing).collect();
    let (kept, others) = loader.check(&wanted, &seen, verdicts).await?;
    audit.manifest = seen.last.take();
    audit.missing = others.iter().filter(|at| unlisted[**at]).count() as u64;
    audit.changed = others.len() as u64 - audit.missing;
    if reading == Reading::Back {
        audit.changed += loader.read_back(&wanted, &kept).await?.len() as u64;
    }
    Ok(audit)
}

/// An object of which a manifest tells, and no more is at hand.
fn elsewhere(listed: &Listed) -> Object {
    let content = Content::Other(Arc::new(Elsewhere));
    Object { key: listed.key.clone(), size: listed.size, sha256: listed.sha256, content }
}

/// Deletes the objects that the manifest lists, after the manifest, and the parts of uploads that they were made of or were
/// to be made of. Without a manifest nothing is known to be the dataset's, and nothing goes.
///
/// # Errors
/// What the store refuses to delete; a manifest that cannot be read, and then nothing is deleted.
pub async fn unload(place: &Place) -> Result<u64, LoadError> {
    let loader = Loader::new(place, Options::default(), Arc::new(Unwatched));
    let (manifest, kept) = (loader.key(MANIFEST), loader.key(PREVIOUS));
    let read = |bytes: &[u8]| {
        let refused = |error| LoadError::Manifest(format!("{error}; no object was deleted"));
        Manifest::parse(bytes).map_err(refused)
    };
    let parsed = match loader.read(MANIFEST).await? {
        Some(bytes) => {
            // Before the one beside it is written over, which may be a good one.
            let parsed = read(&bytes)?;
            // What says which objects are the dataset's goes last, so that an interrupted deletion is carried on.
            loader.store.copy((&loader.bucket, &manifest), (&loader.bucket, &kept), None).await?;
            loader.store.delete(&loader.bucket, &[Victim::object(manifest)], 1, &|_| ()).await?;
            parsed
        }
        None => match loader.read(PREVIOUS).await? {
            Some(bytes) => read(&bytes)?,
            None => return Ok(0),
        },
    };
    let victims: Vec<_> = parsed.objects.iter().map(|object| Victim::object(loader.key(&object.key))).collect();
    loader.store.delete(&loader.bucket, &victims, super::DELETIONS, &|_| ()).await?;
    // Now that they are gone: by Swift the parts of an object that is there are no unfinished upload.
    let keys: BTreeSet<&str> = victims.iter().map(|victim| victim.key.as_str()).collect();
    let open = loader.uploads(&|upload: &Upload| keys.contains(upload.key.as_str())).await?;
    loader.store.abort_all(&open).await?;
    loader.store.delete(&loader.bucket, &[Victim::object(kept)], 1, &|_| ()).await?;
    Ok(victims.len() as u64)
}
