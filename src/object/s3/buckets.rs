//! Buckets and how they are set up, by S3; and the operations as one interface.

use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_s3::types::{
    BucketCannedAcl, BucketLocationConstraint, BucketVersioningStatus, CorsConfiguration, CorsRule as SdkRule,
    CreateBucketConfiguration, Grant, Permission, Tag, Tagging, VersioningConfiguration,
};
use bytes::Bytes;

use super::super::api::Api;
use super::super::error::{ObjectError, ObjectErrorKind};
use super::super::types::{
    Acl, BucketEntry, CorsRule, Download, Head, Keys, Outcome, Page, Part, PutOptions, Settings, SettingsChange, Sum,
    Upload, UploadPage, VersionPage, Victim,
};
use super::objects::is_without;
use super::{REGION, S3, time};
use crate::model::StringMap;

/// Everybody, in a grant.
const EVERYBODY: &str = "http://acs.amazonaws.com/groups/global/AllUsers";

/// The methods of a rule that names none: those that read.
const READING: [&str; 2] = ["GET", "HEAD"];

impl S3 {
    async fn versioning(&self, bucket: &str) -> Outcome<bool> {
        let asked = || format!("GET {bucket}?versioning");
        let answer = self.client.get_bucket_versioning().bucket(bucket).send().await;
        match answer.map_err(|error| self.error(asked(), error)) {
            Ok(answer) => Ok(answer.status() == Some(&BucketVersioningStatus::Enabled)),
            Err(error) if is_without(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn tags(&self, bucket: &str) -> Outcome<StringMap> {
        let asked = || format!("GET {bucket}?tagging");
        let answer = self.client.get_bucket_tagging().bucket(bucket).send().await;
        match answer.map_err(|error| self.error(asked(), error)) {
            Ok(answer) => {
                Ok(answer.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
            }
            Err(error) if has_none(&error, "NoSuchTagSet") => Ok(StringMap::new()),
            Err(error) => Err(error),
        }
    }

    async fn cors(&self, bucket: &str) -> Outcome<Vec<CorsRule>> {
        let asked = || format!("GET {bucket}?cors");
        let answer = self.client.get_bucket_cors().bucket(bucket).send().await;
        let rules = match answer.map_err(|error| self.error(asked(), error)) {
            Ok(answer) => answer.cors_rules.unwrap_or_default(),
            Err(error) if has_none(&error, "NoSuchCORSConfiguration") => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let rules = rules.iter().map(|rule| CorsRule {
            origins: rule.allowed_origins().to_vec(),
            methods: rule.allowed_methods().to_vec(),
            expose_headers: rule.expose_headers().to_vec(),
            max_age: rule.max_age_seconds().and_then(|age| u32::try_from(age).ok()),
        });
        Ok(rules.collect())
    }

    async fn acl(&self, bucket: &str) -> Outcome<Acl> {
        let asked = || format!("GET {bucket}?acl");
        let answer = self.client.get_bucket_acl().bucket(bucket).send().await;
        match answer.map_err(|error| self.error(asked(), error)) {
            Ok(answer) => {
                let owner = answer.owner().and_then(|owner| owner.id()).unwrap_or_default();
                Ok(acl_of(answer.grants(), owner))
            }
            Err(error) if is_without(&error) => Ok(Acl::Private),
            Err(error) => Err(error),
        }
    }

    async fn set_tags(&self, bucket: &str, edits: &[(String, Option<String>)]) -> Outcome<()> {
        let mut tags = self.tags(bucket).await?;
        for (key, value) in edits {
            match value {
                Some(value) => tags.insert(key.clone(), value.clone()),
                None => tags.remove(key),
            };
        }
        let asked = || format!("PUT {bucket}?tagging");
        let mut tagging = Tagging::builder().set_tag_set(Some(Vec::new()));
        for (key, value) in tags {
            let tag = Tag::builder().key(key).value(value).build();
            tagging = tagging.tag_set(tag.map_err(|error| self.odd(asked(), &error.to_string()))?);
        }
        let tagging = tagging.build().map_err(|error| self.odd(asked(), &error.to_string()))?;
        let request = self.client.put_bucket_tagging().bucket(bucket).tagging(tagging);
        request.send().await.map_err(|error| self.error(asked(), error))?;
        Ok(())
    }

    async fn set_cors(&self, bucket: &str, rules: &[CorsRule]) -> Outcome<()> {
        if rules.is_empty() {
            let asked = || format!("DELETE {bucket}?cors");
            let request = self.client.delete_bucket_cors().bucket(bucket);
            request.send().await.map_err(|error| self.error(asked(), error))?;
            return Ok(());
        }
        let asked = || format!("PUT {bucket}?cors");
        let mut configuration = CorsConfiguration::builder();
        for rule in rules {
            let methods: Vec<String> = match rule.methods.is_empty() {
                true => READING.map(str::to_owned).to_vec(),
                false => rule.methods.clone(),
            };
            let rule = SdkRule::builder()
                .set_allowed_origins(Some(rule.origins.clone()))
                .set_allowed_methods(Some(methods))
                .set_expose_headers(Some(rule.expose_headers.clone()).filter(|headers| !headers.is_empty()))
                .set_max_age_seconds(rule.max_age.and_then(|age| i32::try_from(age).ok()))
                .build();
            configuration = configuration.cors_rules(rule.map_err(|error| self.odd(asked(), &error.to_string()))?);
        }
        let configuration = configuration.build().map_err(|error| self.odd(asked(), &error.to_string()))?;
        let request = self.client.put_bucket_cors().bucket(bucket).cors_configuration(configuration);
        request.send().await.map_err(|error| self.error(asked(), error))?;
        Ok(())
    }
}

/// Whether a store says that a bucket has nothing of that sort. Ceph says so by a bare 404 too.
fn has_none(error: &ObjectError, code: &str) -> bool {
    let said = error.parts().code.as_deref();
    said == Some(code) || is_without(error) || (error.is_not_found() && said != Some("NoSuchBucket"))
}

fn acl_of(grants: &[Grant], owner: &str) -> Acl {
    let mut public = false;
    for grant in grants {
        let Some(grantee) = grant.grantee() else { continue };
        match (grantee.uri(), grant.permission()) {
            (Some(EVERYBODY), Some(Permission::Read)) => public = true,
            (Some(_), _) => return Acl::Other,
            (None, _) if grantee.id() == Some(owner) => {}
            (None, _) => return Acl::Other,
        }
    }
    if public { Acl::PublicRead } else { Acl::Private }
}

#[async_trait]
impl Api for S3 {
    fn host(&self) -> &str {
        &self.host
    }

    fn place(&self) -> String {
        format!("s3 {}", self.host)
    }

    fn checks_sha256(&self) -> bool {
        true
    }

    async fn buckets(&self) -> Outcome<Vec<BucketEntry>> {
        let answer = self.client.list_buckets().send().await;
        let answer = answer.map_err(|error| self.error("GET /".to_owned(), error))?;
        let entries = answer.buckets().iter().filter_map(|bucket| {
            let name = bucket.name()?.to_owned();
            Some(BucketEntry { name, created: time(bucket.creation_date()), objects: None, bytes: None })
        });
        Ok(entries.collect())
    }

    async fn create_bucket(&self, bucket: &str, metadata: &[(String, String)]) -> Outcome<()> {
        // Amazon wants its region said, but for the first; Ceph knows none of its names.
        let amazon = self.host.ends_with(".amazonaws.com") && self.region != REGION;
        let place = amazon.then(|| {
            let region = BucketLocationConstraint::from(self.region.as_str());
            CreateBucketConfiguration::builder().location_constraint(region).build()
        });
        let request = self.client.create_bucket().bucket(bucket).set_create_bucket_configuration(place);
        request.send().await.map_err(|error| self.error(format!("PUT {bucket}"), error))?;
        if metadata.is_empty() {
            return Ok(());
        }
        let edits: Vec<_> = metadata.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        self.set_tags(bucket, &edits).await
    }

    async fn has_bucket(&self, bucket: &str) -> Outcome<()> {
        let request = self.client.head_bucket().bucket(bucket);
        request.send().await.map_err(|error| self.error(format!("HEAD {bucket}"), error))?;
        Ok(())
    }

    async fn delete_bucket(&self, bucket: &str) -> Outcome<()> {
        let request = self.client.delete_bucket().bucket(bucket);
        match request.send().await.map_err(|error| self.error(format!("DELETE {bucket}"), error)) {
            // Ceph's word for a bucket with an unfinished upload is a bare conflict.
            Err(error) if error.parts().status == Some(409) => {
                Err(error.with(|parts| parts.kind = ObjectErrorKind::NotEmpty))
            }
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn settings(&self, bucket: &str) -> Outcome<Settings> {
        let (versioning, metadata, acl, cors) = futures_util::future::try_join4(
            self.versioning(bucket),
            self.tags(bucket),
            self.acl(bucket),
            self.cors(bucket),
        )
        .await?;
        Ok(Settings { versioning, metadata, acl, cors, objects: None, bytes: None })
    }

    async fn change_settings(&self, bucket: &str, change: &SettingsChange) -> Outcome<()> {
        if let Some(on) = change.versioning {
            let status = if on { BucketVersioningStatus::Enabled } else { BucketVersioningStatus::Suspended };
            let versioning = VersioningConfiguration::builder().status(status).build();
            let request = self.client.put_bucket_versioning().bucket(bucket).versioning_configuration(versioning);
            request.send().await.map_err(|error| self.error(format!("PUT {bucket}?versioning"), error))?;
        }
        if !change.metadata.is_empty() {
            self.set_tags(bucket, &change.metadata).await?;
        }
        let canned = match change.acl {
            Some(Acl::Private) => Some(BucketCannedAcl::Private),
            Some(Acl::PublicRead) => Some(BucketCannedAcl::PublicRead),
            Some(Acl::Other) | None => None,
        };
        if let Some(canned) = canned {
            let request = self.client.put_bucket_acl().bucket(bucket).acl(canned);
            request.send().await.map_err(|error| self.error(format!("PUT {bucket}?acl"), error))?;
        }
        match &change.cors {
            Some(rules) => self.set_cors(bucket, rules).await,
            None => Ok(()),
        }
    }

    async fn list(&self, bucket: &str, keys: &Keys) -> Outcome<Page> {
        self.list_page(bucket, keys).await
    }

    async fn head(&self, bucket: &str, key: &str) -> Outcome<Head> {
        self.head_object(bucket, key).await
    }

    async fn put(&self, bucket: &str, key: &str, content: &Bytes, options: &PutOptions) -> Outcome<String> {
        self.put_object(bucket, key, content, options).await
    }

    async fn get(&self, bucket: &str, key: &str, range: Option<Range<u64>>) -> Outcome<Download> {
        self.get_object(bucket, key, range).await
    }

    async fn copy(&self, from: (&str, &str), to: (&str, &str), options: Option<&PutOptions>) -> Outcome<String> {
        self.copy_object(from, to, options).await
    }

    async fn copy_part(&self, from: (&str, &str), range: Range<u64>, upload: &Upload, number: u32) -> Outcome<String> {
        self.upload_part_copy(from, range, upload, number).await
    }

    async fn delete(&self, bucket: &str, victims: &[Victim]) -> Outcome<Vec<ObjectError>> {
        self.delete_objects(bucket, victims).await
    }

    async fn begin(&self, bucket: &str, key: &str, options: &PutOptions) -> Outcome<Upload> {
        self.begin_upload(bucket, key, options).await
    }

    async fn put_part(&self, upload: &Upload, number: u32, content: &Bytes, sum: Sum) -> Outcome<String> {
        self.upload_part(upload, number, content, sum).await
    }

    async fn parts(&self, upload: &Upload) -> Outcome<Vec<Part>> {
        self.list_parts(upload).await
    }

    async fn complete(&self, upload: &Upload, parts: &[Part], _: &PutOptions) -> Outcome<()> {
        self.complete_upload(upload, parts).await
    }

    async fn abort(&self, upload: &Upload) -> Outcome<()> {
        self.abort_upload(upload).await
    }

    async fn uploads(&self, bucket: &str, prefix: &str, from: Option<&(String, String)>) -> Outcome<UploadPage> {
        self.list_uploads(bucket, prefix, from).await
    }

    async fn versions(&self, bucket: &str, prefix: &str, from: Option<&(String, String)>) -> Outcome<VersionPage> {
        match self.list_versions(bucket, prefix, from).await {
            Err(error) if is_without(&error) => Ok(VersionPage::default()),
            other => other,
        }
    }
}
