//! Uploads in parts by Swift's API: static large objects.

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::super::types::{Keys, MadeOf, Outcome, Part, PutOptions, Sum, Upload, UploadPage, Victim};
use super::objects::{head, written};
use super::{Swift, container_path, object_path, segments_of, text};
use crate::cloud::RawBody;
use crate::model::Json;

/// What lies between an object's key and an upload's id in the names of its parts.
const MARK: &str = "/anole/";

/// The key of an object's metadata that says of which upload it is made.
const UPLOAD: &str = "anole-upload";

/// The digits of a part's number: names sort as numbers do.
fn part_name(upload: &Upload, number: u32) -> String {
    format!("{}{MARK}{}/{number:08}", upload.key, upload.id)
}

/// Key, upload's id and part's number, of a part's name.
fn read_name(name: &str) -> Option<(&str, &str, u32)> {
    let (key, rest) = name.rsplit_once(MARK)?;
    let (id, number) = rest.split_once('/')?;
    Some((key, id, number.parse().ok()?))
}

impl Swift {
    pub(super) async fn begin_upload(&self, bucket: &str, key: &str) -> Outcome<Upload> {
        let segments = segments_of(bucket);
        let request = self.request(Method::PUT, container_path(&segments)).body(RawBody::Bytes(Bytes::new()));
        self.send(Ok(request), || format!("PUT {segments}")).await?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        Ok(Upload { bucket: bucket.to_owned(), key: key.to_owned(), id })
    }

    pub(super) async fn upload_part(&self, upload: &Upload, number: u32, content: &Bytes, sum: Sum) -> Outcome<String> {
        let options = PutOptions { sum: Some(sum), ..PutOptions::default() };
        self.put_object(&segments_of(&upload.bucket), &part_name(upload, number), content, &options).await
    }

    pub(super) async fn list_parts(&self, upload: &Upload) -> Outcome<Vec<Part>> {
        let prefix = format!("{}{MARK}{}/", upload.key, upload.id);
        let entries = self.list_segments(&upload.bucket, &prefix).await?;
        let parts = entries.into_iter().filter_map(|entry| {
            let (_, _, number) = read_name(&entry.key)?;
            Some(Part { number, size: entry.size, etag: entry.etag })
        });
        Ok(parts.collect())
    }

    pub(super) async fn complete_upload(&self, upload: &Upload, parts: &[Part], options: &PutOptions) -> Outcome<()> {
        let segments = segments_of(&upload.bucket);
        let manifest: Vec<Json> = parts
            .iter()
            .map(|part| {
                let path = format!("/{segments}/{}", part_name(upload, part.number));
                json!({ "path": path, "etag": part.etag, "size_bytes": part.size })
            })
            .collect();
        let request = self
            .request(Method::PUT, object_path(&upload.bucket, &upload.key))
            .query("multipart-manifest", "put")
            .body(RawBody::Bytes(Json::from(manifest).to_string().into()));
        // The digest that is known is that of the content, and not that of the manifest.
        let mut options = PutOptions { sum: None, ..options.clone() };
        options.metadata.insert(UPLOAD.to_owned(), upload.id.clone());
        let request = written(request, &options);
        self.send(request, || format!("PUT {}/{} manifest", upload.bucket, upload.key)).await?;
        Ok(())
    }

    pub(super) async fn abort_upload(&self, upload: &Upload) -> Outcome<()> {
        let prefix = format!("{}{MARK}{}/", upload.key, upload.id);
        let entries = self.list_segments(&upload.bucket, &prefix).await?;
        let victims: Vec<_> = entries.into_iter().map(|entry| Victim::object(entry.key)).collect();
        for some in victims.chunks(super::super::AT_A_TIME) {
            let refused = self.delete_objects(&segments_of(&upload.bucket), some).await?;
            if let Some(error) = refused.into_iter().next() {
                return Err(error);
            }
        }
        Ok(())
    }

    /// One page of uploads: under way, given up, of an object that is gone, or of one that is there. A page is one of the
    /// list of parts, and begins after the part that the one before ended with.
    pub(super) async fn list_uploads(
        &self,
        bucket: &str,
        prefix: &str,
        from: Option<&(String, String)>,
    ) -> Outcome<UploadPage> {
        let keys = Keys { prefix: prefix.to_owned(), after: from.map(|from| from.0.clone()), until: None };
        let page = match self.list_page(&segments_of(bucket), &keys).await {
            Err(error) if error.is_not_found() => return Ok(UploadPage::default()),
            other => other?,
        };
        let mut uploads: Vec<Upload> = Vec::new();
        for entry in &page.objects {
            let Some((key, id, _)) = read_name(&entry.key) else { continue };
            if uploads.last().is_none_or(|last| (last.key.as_str(), last.id.as_str()) != (key, id)) {
                let (key, id) = (key.to_owned(), id.to_owned());
                uploads.push(Upload { bucket: bucket.to_owned(), key, id });
            }
        }
        let last = page.objects.last().filter(|_| page.more);
        Ok(UploadPage { uploads, next: last.map(|last| (last.key.clone(), String::new())) })
    }

    /// The upload that an object is made of. Ceph gives no manifest back (its answer is empty), so the object's metadata
    /// says it; whoever edits that by Swift's API takes out what he does not repeat.
    pub(super) async fn upload_of_object(&self, bucket: &str, key: &str) -> Outcome<MadeOf> {
        let request = self.request(Method::HEAD, object_path(bucket, key));
        let headers = match self.send(Ok(request), || format!("HEAD {bucket}/{key}")).await {
            Err(error) if error.is_not_found() => return Ok(MadeOf::Nothing),
            other => other?.headers,
        };
        Ok(match head(&headers).metadata.remove(UPLOAD) {
            Some(id) => MadeOf::Upload(id),
            None if text(&headers, "x-static-large-object").is_some() => MadeOf::Unknown,
            None => MadeOf::Nothing,
        })
    }

    async fn list_segments(&self, bucket: &str, prefix: &str) -> Outcome<Vec<super::super::types::Entry>> {
        let mut keys = Keys { prefix: prefix.to_owned(), ..Keys::default() };
        let mut all = Vec::new();
        loop {
            let page = match self.list_page(&segments_of(bucket), &keys).await {
                Err(error) if error.is_not_found() => return Ok(all),
                other => other?,
            };
            keys.after = page.objects.last().map(|entry| entry.key.clone());
            all.extend(page.objects);
            if !page.more || keys.after.is_none() {
                return Ok(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parts_name_tells_its_object_its_upload_and_its_number() {
        let upload = Upload { bucket: "b".into(), key: "a/anole/x/7".into(), id: "id".into() };
        assert_eq!(read_name(&part_name(&upload, 12)), Some(("a/anole/x/7", "id", 12)));
        assert_eq!(read_name("a/slo/170000.1/5/1/00000001"), None, "another client's");
    }
}
