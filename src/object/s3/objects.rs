//! Objects, and uploads in parts, by S3.

use std::io;
use std::ops::Range;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, MetadataDirective, ObjectIdentifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::super::error::{ObjectError, ObjectErrorKind};
use super::super::types::{
    Download, Head, Keys, Outcome, Page, Part, PutOptions, Sum, Upload, UploadPage, VersionPage, Victim,
};
use super::lists::Lists;
use super::signed::Signed;
use super::{S3, bare, kind, unsigned};

impl S3 {
    pub(super) async fn list_page(&self, bucket: &str, keys: &Keys) -> Outcome<Page> {
        let asked = || format!("GET {bucket}?prefix={}", keys.prefix);
        let request = self
            .client
            .list_objects_v2()
            .bucket(bucket)
            .set_prefix(Some(keys.prefix.clone()).filter(|prefix| !prefix.is_empty()))
            .set_start_after(keys.after.clone());
        let lists = Lists::default();
        let sent = request.customize().interceptor(lists.clone()).send().await;
        sent.map_err(|error| self.error(asked(), error))?;
        lists.page().ok_or_else(|| self.odd(asked(), "it is no list"))
    }

    pub(super) async fn head_object(&self, bucket: &str, key: &str) -> Outcome<Head> {
        let request = self.client.head_object().bucket(bucket).key(key);
        let answer = request.send().await.map_err(|error| self.error(format!("HEAD {bucket}/{key}"), error))?;
        Ok(Head {
            size: unsigned(answer.content_length()),
            etag: bare(answer.e_tag()),
            content_type: answer.content_type().map(str::to_owned),
            metadata: lower(answer.metadata()),
        })
    }

    pub(super) async fn put_object(
        &self,
        bucket: &str,
        key: &str,
        content: &Bytes,
        options: &PutOptions,
    ) -> Outcome<String> {
        let request = self
            .client
            .put_object()
            .bucket(bucket)
            .key(key)
            .content_length(i64::try_from(content.len()).unwrap_or(i64::MAX))
            .set_content_type(options.content_type.clone())
            .set_metadata(metadata(options))
            .set_if_none_match(options.only_new.then(|| "*".to_owned()))
            .body(ByteStream::from(content.clone()));
        let sent = match options.sum {
            Some(Sum::Sha256(sha256)) => request.customize().interceptor(Signed(sha256)).send().await,
            // A signed header covers the content; signing that too would read it once more.
            Some(Sum::Md5(md5)) => {
                request.content_md5(STANDARD.encode(md5)).customize().disable_payload_signing().send().await
            }
            None => request.send().await,
        };
        Ok(bare(sent.map_err(|error| self.error(format!("PUT {bucket}/{key}"), error))?.e_tag()))
    }

    pub(super) async fn get_object(&self, bucket: &str, key: &str, range: Option<Range<u64>>) -> Outcome<Download> {
        let request = self
            .client
            .get_object()
            .bucket(bucket)
            .key(key)
            .set_range(range.map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1))));
        let answer = request.send().await.map_err(|error| self.error(format!("GET {bucket}/{key}"), error))?;
        let head = Head {
            size: unsigned(answer.content_length()),
            etag: bare(answer.e_tag()),
            content_type: answer.content_type().map(str::to_owned),
            metadata: lower(answer.metadata()),
        };
        Ok(Download { head, body: stream(answer.body) })
    }

    pub(super) async fn copy_object(
        &self,
        from: (&str, &str),
        to: (&str, &str),
        options: Option<&PutOptions>,
    ) -> Outcome<String> {
        let directive = match options {
            Some(_) => MetadataDirective::Replace,
            None => MetadataDirective::Copy,
        };
        let request = self
            .client
            .copy_object()
            .copy_source(copy_source(from))
            .bucket(to.0)
            .key(to.1)
            .set_metadata(options.and_then(metadata))
            .set_content_type(options.and_then(|options| options.content_type.clone()))
            .metadata_directive(directive);
        let asked = || format!("COPY {}/{} to {}/{}", from.0, from.1, to.0, to.1);
        let answer = request.send().await.map_err(|error| self.error(asked(), error))?;
        Ok(bare(answer.copy_object_result().and_then(|copied| copied.e_tag())))
    }

    pub(super) async fn upload_part_copy(
        &self,
        from: (&str, &str),
        range: Range<u64>,
        upload: &Upload,
        number: u32,
    ) -> Outcome<String> {
        let request = self
            .client
            .upload_part_copy()
            .copy_source(copy_source(from))
            .copy_source_range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            .bucket(&upload.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX));
        // The SDK does not say that there is no content, and Ceph wants to hear it (411).
        let request = request.customize().mutate_request(|request| {
            request.headers_mut().insert("content-length", "0");
        });
        let asked = || format!("COPY {}/{} to {}/{} part {number}", from.0, from.1, upload.bucket, upload.key);
        let answer = request.send().await.map_err(|error| self.error(asked(), error))?;
        match bare(answer.copy_part_result().and_then(|copied| copied.e_tag())) {
            etag if etag.is_empty() => Err(self.odd(asked(), "the answer has no entity tag of the part")),
            etag => Ok(etag),
        }
    }

    pub(super) async fn delete_objects(&self, bucket: &str, victims: &[Victim]) -> Outcome<Vec<ObjectError>> {
        let asked = || format!("POST {bucket}?delete ({} objects)", victims.len());
        let mut delete = Delete::builder().quiet(true);
        for victim in victims {
            let object = ObjectIdentifier::builder().key(&victim.key).set_version_id(victim.version.clone());
            delete = delete.objects(object.build().map_err(|error| self.odd(asked(), &error.to_string()))?);
        }
        let delete = delete.build().map_err(|error| self.odd(asked(), &error.to_string()))?;
        let request = self.client.delete_objects().bucket(bucket).delete(delete);
        let answer = request.send().await.map_err(|error| self.error(asked(), error))?;
        let refused = answer.errors().iter().map(|error| {
            let request = format!("DELETE {bucket}/{}", error.key().unwrap_or_default());
            let kind = kind(Some(400), error.code(), false);
            ObjectError::new(kind, &self.host, request, error.message().unwrap_or_default())
                .with(|parts| parts.code = error.code().map(str::to_owned))
        });
        Ok(refused.filter(|error| !error.is_not_found()).collect())
    }

    pub(super) async fn begin_upload(&self, bucket: &str, key: &str, options: &PutOptions) -> Outcome<Upload> {
        let asked = || format!("POST {bucket}/{key}?uploads");
        let request = self
            .client
            .create_multipart_upload()
            .bucket(bucket)
            .key(key)
            .set_content_type(options.content_type.clone())
            .set_metadata(metadata(options));
        let answer = request.send().await.map_err(|error| self.error(asked(), error))?;
        let id = answer.upload_id().ok_or_else(|| self.odd(asked(), "the answer has no id of the upload"))?;
        Ok(Upload { bucket: bucket.to_owned(), key: key.to_owned(), id: id.to_owned() })
    }

    pub(super) async fn upload_part(&self, upload: &Upload, number: u32, content: &Bytes, sum: Sum) -> Outcome<String> {
        let request = self
            .client
            .upload_part()
            .bucket(&upload.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .part_number(i32::try_from(number).unwrap_or(i32::MAX))
            .content_length(i64::try_from(content.len()).unwrap_or(i64::MAX))
            .body(ByteStream::from(content.clone()));
        let asked = || format!("PUT {}/{} part {number}", upload.bucket, upload.key);
        let answer = match sum {
            Sum::Sha256(sha256) => request.customize().interceptor(Signed(sha256)).send().await,
            Sum::Md5(md5) => {
                request.content_md5(STANDARD.encode(md5)).customize().disable_payload_signing().send().await
            }
        };
        Ok(bare(answer.map_err(|error| self.error(asked(), error))?.e_tag()))
    }

    pub(super) async fn list_parts(&self, upload: &Upload) -> Outcome<Vec<Part>> {
        let mut parts = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let request = self
                .client
                .list_parts()
                .bucket(&upload.bucket)
                .key(&upload.key)
                .upload_id(&upload.id)
                .set_part_number_marker(marker.clone());
            let asked = || format!("GET {}/{} parts", upload.bucket, upload.key);
            let answer = request.send().await.map_err(|error| self.error(asked(), error))?;
            parts.extend(answer.parts().iter().filter_map(|part| {
                Some(Part {
                    number: u32::try_from(part.part_number()?).ok()?,
                    size: unsigned(part.size()),
                    etag: bare(part.e_tag()),
                })
            }));
            let next = answer.next_part_number_marker().map(str::to_owned);
            if !answer.is_truncated().unwrap_or(false) || next.is_none() || next == marker {
                return Ok(parts);
            }
            marker = next;
        }
    }

    pub(super) async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Outcome<()> {
        let parts = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(i32::try_from(part.number).unwrap_or(i32::MAX))
                .e_tag(format!("\"{}\"", part.etag))
                .build()
        });
        let whole = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&upload.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .multipart_upload(whole);
        let asked = || format!("POST {}/{} complete", upload.bucket, upload.key);
        request.send().await.map_err(|error| self.error(asked(), error))?;
        Ok(())
    }

    pub(super) async fn abort_upload(&self, upload: &Upload) -> Outcome<()> {
        let request =
            self.client.abort_multipart_upload().bucket(&upload.bucket).key(&upload.key).upload_id(&upload.id);
        let asked = || format!("DELETE {}/{} upload", upload.bucket, upload.key);
        match request.send().await.map_err(|error| self.error(asked(), error)) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn list_uploads(
        &self,
        bucket: &str,
        prefix: &str,
        from: Option<&(String, String)>,
    ) -> Outcome<UploadPage> {
        let request = self
            .client
            .list_multipart_uploads()
            .bucket(bucket)
            .set_prefix(Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()))
            .set_key_marker(from.map(|from| from.0.clone()))
            .set_upload_id_marker(from.map(|from| from.1.clone()).filter(|id| !id.is_empty()));
        let answer = request.send().await.map_err(|error| self.error(format!("GET {bucket}?uploads"), error))?;
        let uploads = answer.uploads().iter().filter_map(|upload| {
            Some(Upload {
                bucket: bucket.to_owned(),
                key: upload.key()?.to_owned(),
                id: upload.upload_id()?.to_owned(),
            })
        });
        let more = answer.is_truncated().unwrap_or(false);
        let next = answer.next_key_marker().filter(|key| more && !key.is_empty());
        let next_id = answer.next_upload_id_marker().unwrap_or_default();
        Ok(UploadPage { uploads: uploads.collect(), next: next.map(|key| (key.to_owned(), next_id.to_owned())) })
    }

    pub(super) async fn list_versions(
        &self,
        bucket: &str,
        prefix: &str,
        from: Option<&(String, String)>,
    ) -> Outcome<VersionPage> {
        let request = self
            .client
            .list_object_versions()
            .bucket(bucket)
            .set_prefix(Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()))
            .set_key_marker(from.map(|from| from.0.clone()))
            .set_version_id_marker(from.map(|from| from.1.clone()));
        let answer = request.send().await.map_err(|error| self.error(format!("GET {bucket}?versions"), error))?;
        let versions = answer.versions().iter().map(|version| (version.key(), version.version_id()));
        let marks = answer.delete_markers().iter().map(|mark| (mark.key(), mark.version_id()));
        let victims = versions
            .chain(marks)
            .filter_map(|(key, version)| Some(Victim { key: key?.to_owned(), version: version.map(str::to_owned) }));
        let more = answer.is_truncated().unwrap_or(false);
        let next = answer.next_key_marker().zip(Some(answer.next_version_id_marker().unwrap_or_default()));
        Ok(VersionPage {
            versions: victims.collect(),
            next: next.filter(|_| more).map(|(key, version)| (key.to_owned(), version.to_owned())),
        })
    }
}

fn copy_source(from: (&str, &str)) -> String {
    format!("{}/{}", from.0, super::super::path(from.1))
}

fn metadata(options: &PutOptions) -> Option<std::collections::HashMap<String, String>> {
    (!options.metadata.is_empty()).then(|| options.metadata.clone().into_iter().collect())
}

fn lower(metadata: Option<&std::collections::HashMap<String, String>>) -> crate::model::StringMap {
    let pairs = metadata.into_iter().flatten();
    pairs.map(|(key, value)| (key.to_lowercase(), value.clone())).collect()
}

fn stream(body: ByteStream) -> futures_util::stream::BoxStream<'static, io::Result<bytes::Bytes>> {
    let chunks = futures_util::stream::try_unfold(body, |mut body| async move {
        Ok(body.try_next().await.map_err(io::Error::other)?.map(|chunk| (chunk, body)))
    });
    chunks.boxed()
}

/// What else a store may be unable to do, and no error is made of: it has no versions.
pub(super) fn is_without(error: &ObjectError) -> bool {
    matches!(error.kind(), ObjectErrorKind::Unsupported)
}
