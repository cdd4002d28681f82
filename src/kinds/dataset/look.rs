//! What a plan sees of a loaded dataset: its manifest and objects in the bucket, and the files that it was made of.
//!
//! In: what was applied and recorded. Out: `content`, which is as it should be, or says how it is not: `3 of 16,643
//! objects changed`. The bucket is listed, its manifest read; no object is read, unless data is to be verified.

use std::path::PathBuf;

use async_trait::async_trait;

use super::delivery::{job, located, recorded_of};
use super::here::store;
use super::{WHOLE, text};
use crate::dataset::load::{Audit, LoadError, Place, Reading, audit};
use crate::dataset::text::thousands;
use crate::dataset::{Recorded, source};
use crate::kinds::look::{LookCx, Looker};
use crate::model::{Fields, Value};

/// Looks at datasets; `here` are those whose local files are this machine's.
pub(super) struct Look {
    pub(super) here: bool,
}

#[async_trait]
impl Looker for Look {
    async fn look(&self, cx: &LookCx<'_>, applied: &Fields, attributes: &Fields) -> Result<Fields, String> {
        let Some(recorded) = recorded_of(attributes) else { return Ok(Fields::new()) };
        let place = Place {
            store: store(cx.session, applied).map_err(|error| error.to_string())?,
            bucket: text(applied, "bucket").to_owned(),
            prefix: text(applied, "prefix").to_owned(),
        };
        let reading = if cx.verify { Reading::Back } else { Reading::Tags };
        let mut content = match audit(&place, reading).await {
            Ok(audit) => described(&audit, &recorded, text(applied, "extra_objects") == "delete"),
            Err(LoadError::Store(error)) if error.is_not_found() => "the bucket is not there".to_owned(),
            Err(error) => return Err(error.to_string()),
        };
        if content == WHOLE && self.here && are_others(applied, &recorded, cx) {
            "the files of its source are others".clone_into(&mut content);
        }
        Ok(Fields::from([("content".to_owned(), Value::text(content))]))
    }
}

/// Whether the files of this machine that it was made of are others by now. Where they are not to be seen (another
/// machine, a disk that is not mounted), the bucket is all there is to go by.
fn are_others(applied: &Fields, recorded: &Recorded, cx: &LookCx<'_>) -> bool {
    let own = |path: &str| -> Result<PathBuf, String> { located(path, cx.home) };
    let Ok(job) = job(applied, &own) else { return false };
    job.sources.iter().zip(&recorded.sources).any(|(source, seen)| match source::fingerprint(source) {
        Ok(now) => now.is_some() && now != seen.fingerprint,
        Err(_) => false,
    })
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
    use crate::dataset::{Listed, Manifest, Sha256};

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
        insta::assert_snapshot!(told(Audit { changed: 3, ..there() }), @"");
        insta::assert_snapshot!(told(Audit { changed: 1, missing: 1000, extra: 2, ..there() }), @"");
        insta::assert_snapshot!(told(Audit { missing: 2, ..there() }), @"");
        assert_eq!(described(&Audit { extra: 2, ..there() }, &recorded(), false), WHOLE);
        insta::assert_snapshot!(told(Audit::default()), @"");
        insta::assert_snapshot!(told(Audit { interrupted: true, ..Audit::default() }), @"");
        let other = Recorded { recipe: Recipe { sources: Vec::new(), transform: Sha256::of(b"u") }, ..recorded() };
        insta::assert_snapshot!(described(&there(), &other, true), @"");
    }
}
