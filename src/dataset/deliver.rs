//! From a prepared dataset to a load: its objects as the loader wants them, and its manifest as the loader's form.
//!
//! In: a [`Prepared`] dataset. Out: what [`load::load`] takes. Invariant: what the manifest lists is what the loader says is
//! there, with the tag that the store gave each object.

use std::io;
use std::sync::Arc;

use super::content::Reader;
use super::{DatasetError, Listed, Manifest, Object, Prepared, Sha256, Watch, load};

impl load::Open for Object {
    fn open(&self, offset: u64) -> io::Result<Reader> {
        Object::open(self, offset)
    }

    fn origin(&self) -> String {
        self.content.origin()
    }
}

impl load::Form for Prepared {
    fn read(&self, bytes: &[u8]) -> Result<Vec<load::Listed>, String> {
        let manifest = Manifest::parse(bytes).map_err(|error| error.to_string())?;
        let listed = manifest.objects.into_iter().map(|object| load::Listed {
            key: object.key,
            size: object.size,
            sha256: *object.sha256.as_bytes(),
            etag: object.etag.unwrap_or_default(),
        });
        Ok(listed.collect())
    }

    fn write(&self, objects: &[load::Listed]) -> Result<Vec<u8>, String> {
        let listed = objects.iter().map(|object| Listed {
            key: object.key.clone(),
            size: object.size,
            sha256: Sha256::from(object.sha256),
            etag: Some(object.etag.clone()).filter(|etag| !etag.is_empty()),
        });
        self.manifest(listed.collect()).bytes().map_err(|error| error.to_string())
    }
}

impl Prepared {
    /// All objects, with their digests, as a load wants them. Blocking.
    ///
    /// # Errors
    /// The first content that cannot be read, or is not as long as declared.
    pub fn wanted(&self, watch: &Arc<dyn Watch>) -> Result<Vec<load::Wanted>, DatasetError> {
        let wanted = self.objects(watch).map(|object| {
            let object = object?;
            let (key, size, sha256) = (object.key.clone(), object.size, *object.sha256.as_bytes());
            Ok(load::Wanted { key, size, sha256, content: Arc::new(object) })
        });
        wanted.collect()
    }
}
