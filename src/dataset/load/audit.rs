//! What a bucket shows of a dataset that was loaded: whether its manifest is there, and its objects as the manifest says.
//!
//! In: a place. Out: an [`Audit`], in one list and one read; with [`Reading::Back`] every byte is read as well. Nothing is
//! changed. The same place, without the objects of the dataset, by [`unload`]: nothing else below the prefix goes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::{FOLDER, LoadError, Loader, MANIFEST, Options, PREVIOUS, Place, Unwatched, decide};
use crate::dataset::{Content, Manifest, Object, Open, Reader};
use crate::object::Victim;

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
    let loader = Arc::new(Loader::new(place, Options::default(), Arc::new(Unwatched)));
    let mut audit = Audit::default();
    if let Some(bytes) = loader.read(MANIFEST).await? {
        match Manifest::parse(&bytes) {
            Ok(manifest) => audit.manifest = Some(manifest),
            Err(why) => audit.unreadable = Some(why.to_string()),
        }
    }
    let listed = audit.manifest.as_ref().map(|manifest| manifest.objects.as_slice()).unwrap_or_default();
    let wanted: Vec<Object> = listed
        .iter()
        .map(|object| {
            let content = Content::Other(Arc::new(Elsewhere));
            Object { key: object.key.clone(), size: object.size, sha256: object.sha256, content }
        })
        .collect();
    let objects = loader.list_all(&wanted).await?;
    let etags: BTreeMap<&str, &str> =
        listed.iter().map(|object| (object.key.as_str(), object.etag.as_deref().unwrap_or_default())).collect();
    audit.interrupted = objects.iter().any(|entry| loader.below(entry) == Some(PREVIOUS));
    let mut there = BTreeMap::new();
    let foreign = decide::foreign(objects.iter().filter_map(|entry| loader.below(entry)));
    for entry in &objects {
        let Some(key) = loader.below(entry).filter(|key| !key.starts_with(FOLDER)) else { continue };
        match etags.get(key) {
            Some(etag) => drop(there.insert(key.to_owned(), entry.etag == *etag)),
            None if foreign.iter().any(|other| key.starts_with(other)) => {}
            None => audit.extra += 1,
        }
    }
    audit.missing = (etags.len() - there.len()) as u64;
    audit.changed = there.values().filter(|same| !**same).count() as u64;
    if reading == Reading::Back {
        let wanted: Arc<[Object]> = wanted.into();
        let whole = wanted.iter().enumerate().filter(|(_, object)| there.get(&object.key) == Some(&true));
        let places = whole.map(|(at, _)| (at, String::new())).collect();
        audit.changed += loader.read_back(&wanted, &places).await?.len() as u64;
    }
    Ok(audit)
}

/// Deletes the objects that the manifest lists, after the manifest. Without one, nothing is known to be the dataset's,
/// and nothing goes.
///
/// # Errors
/// What the store refuses to delete.
pub async fn unload(place: &Place) -> Result<u64, LoadError> {
    let loader = Loader::new(place, Options::default(), Arc::new(Unwatched));
    let mut manifest = loader.read(MANIFEST).await?;
    if manifest.is_none() {
        manifest = loader.read(PREVIOUS).await?;
    }
    let Some(bytes) = manifest else { return Ok(0) };
    let parsed = Manifest::parse(&bytes).map_err(|error| LoadError::Manifest(error.to_string()))?;
    // What says which objects are the dataset's goes last, so that an interrupted deletion is carried on.
    let kept = loader.key(PREVIOUS);
    if loader.read(MANIFEST).await?.is_some() {
        loader.store.copy((&loader.bucket, &loader.key(MANIFEST)), (&loader.bucket, &kept), None).await?;
        loader.store.delete(&loader.bucket, &[Victim::object(loader.key(MANIFEST))], 1, &|_| ()).await?;
    }
    let victims: Vec<_> = parsed.objects.iter().map(|object| Victim::object(loader.key(&object.key))).collect();
    loader.store.delete(&loader.bucket, &victims, super::DELETIONS, &|_| ()).await?;
    loader.store.delete(&loader.bucket, &[Victim::object(kept)], 1, &|_| ()).await?;
    Ok(victims.len() as u64)
}
