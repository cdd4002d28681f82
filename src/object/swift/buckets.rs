//! Buckets and how they are set up, by Swift's API; and the operations as one interface.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method};

use super::super::api::Api;
use super::super::error::{ObjectError, ObjectErrorKind};
use super::super::types::{
    Acl, BucketEntry, CorsRule, Download, Head, Keys, MadeOf, Outcome, Page, Part, PutOptions, Settings,
    SettingsChange, Sum, Upload, UploadPage, VersionPage, Victim,
};
use super::{LEAST_PAGE, PAGE, Swift, container_path, listed_time, metadata, number, segments_of, text, versions_of};
use crate::cloud::RawBody;
use crate::model::Json;

/// The header prefix of a container's metadata.
const META: &str = "x-container-meta-";

/// Metadata that means something to Swift: how pages of other sites may use the container.
const CORS: &str = "access-control-";

/// What else stands among the metadata and is not its owner's: quotas and keys of temporary URLs.
const RESERVED: &[&str] = &["quota-bytes", "quota-count", "temp-url-key", "temp-url-key-2", "web-index", "web-error"];

/// Read by anybody, lists included.
const PUBLIC: &str = ".r:*,.rlistings";

fn settings_of(headers: &HeaderMap) -> Settings {
    let mut all = metadata(headers, META);
    let origins = all.get("access-control-allow-origin").cloned().unwrap_or_default();
    let rule = CorsRule {
        origins: origins.split_whitespace().map(str::to_owned).collect(),
        methods: Vec::new(),
        expose_headers: all
            .get("access-control-expose-headers")
            .map(|headers| headers.split([' ', ',']).filter(|one| !one.is_empty()).map(str::to_owned).collect())
            .unwrap_or_default(),
        max_age: all.get("access-control-max-age").and_then(|age| age.parse().ok()),
    };
    all.retain(|key, _| !key.starts_with(CORS) && !RESERVED.contains(&key.as_str()));
    let granted: Vec<&str> = [text(headers, "x-container-read"), text(headers, "x-container-write")]
        .into_iter()
        .flatten()
        .flat_map(|grants| grants.split(','))
        .map(str::trim)
        .filter(|grant| !grant.is_empty())
        .collect();
    let acl = match granted.as_slice() {
        [] => Acl::Private,
        grants if grants.iter().all(|grant| grant.starts_with(".r")) && grants.contains(&".r:*") => Acl::PublicRead,
        _ => Acl::Other,
    };
    Settings {
        versioning: ["x-versions-location", "x-history-location", "x-versions-enabled"].iter().any(|name| {
            text(headers, name).is_some_and(|value| !value.is_empty() && !value.eq_ignore_ascii_case("false"))
        }),
        metadata: all,
        acl,
        cors: if rule.origins.is_empty() { Vec::new() } else { vec![rule] },
        objects: number(headers, "x-container-object-count"),
        bytes: number(headers, "x-container-bytes-used"),
    }
}

/// The headers that make a change. An empty value takes a key out of the metadata.
fn headers_of(bucket: &str, change: &SettingsChange) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let mut set = |name: &str, value: String| headers.push((name.to_owned(), value));
    for (key, value) in &change.metadata {
        match value {
            Some(value) => set(&format!("{META}{key}"), value.clone()),
            None => set(&format!("x-remove-container-meta-{key}"), "x".to_owned()),
        }
    }
    match change.acl {
        Some(Acl::PublicRead) => set("x-container-read", PUBLIC.to_owned()),
        Some(Acl::Private) => {
            set("x-container-read", String::new());
            set("x-container-write", String::new());
        }
        Some(Acl::Other) | None => {}
    }
    match change.versioning {
        Some(true) => set("x-versions-location", versions_of(bucket)),
        Some(false) => set("x-remove-versions-location", "x".to_owned()),
        None => {}
    }
    if let Some(rules) = &change.cors {
        let rule = rules.first().cloned().unwrap_or_default();
        let values = [
            ("allow-origin", rule.origins.join(" ")),
            ("expose-headers", rule.expose_headers.join(" ")),
            ("max-age", rule.max_age.map(|age| age.to_string()).unwrap_or_default()),
        ];
        for (name, value) in values {
            match value.is_empty() {
                true => set(&format!("x-remove-container-meta-{CORS}{name}"), "x".to_owned()),
                false => set(&format!("{META}{CORS}{name}"), value),
            }
        }
    }
    headers
}

impl Swift {
    async fn put_container(&self, bucket: &str, metadata: &[(String, String)]) -> Outcome<u16> {
        let mut request = Ok(self.request(Method::PUT, container_path(bucket)).body(RawBody::Bytes(Bytes::new())));
        for (key, value) in metadata {
            request = request.and_then(|request| request.header(&format!("{META}{key}"), value));
        }
        match self.send(request, || format!("PUT {bucket}")).await {
            Ok(answer) => Ok(answer.status.as_u16()),
            // Ceph's names are the whole store's, unless it is set up otherwise.
            Err(error) if error.kind() == ObjectErrorKind::NotEmpty => {
                Err(error.with(|parts| parts.kind = ObjectErrorKind::Taken))
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Api for Swift {
    fn host(&self) -> &str {
        &self.host
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn lists_whole(&self) -> bool {
        false
    }

    fn renews(&self) -> bool {
        true
    }

    fn companions(&self, bucket: &str) -> Vec<String> {
        vec![segments_of(bucket), versions_of(bucket)]
    }

    async fn buckets(&self) -> Outcome<Vec<BucketEntry>> {
        let said = || "GET /".to_owned();
        let mut all: Vec<BucketEntry> = Vec::new();
        loop {
            let mut request =
                self.request(Method::GET, String::new()).query("format", "json").query("limit", PAGE.to_string());
            if let Some(last) = all.last() {
                request = request.query("marker", last.name.as_str());
            }
            let answer = self.send(Ok(request), said).await?;
            let list = self.json(answer, said).await?;
            let before = all.len();
            all.extend(list.as_array().into_iter().flatten().filter_map(|container| {
                Some(BucketEntry {
                    name: container.get("name")?.as_str()?.to_owned(),
                    created: listed_time(container.get("last_modified")),
                    objects: container.get("count").and_then(Json::as_u64),
                    bytes: container.get("bytes").and_then(Json::as_u64),
                })
            }));
            if all.len() - before < LEAST_PAGE {
                return Ok(all);
            }
        }
    }

    async fn create_bucket(&self, bucket: &str, metadata: &[(String, String)]) -> Outcome<()> {
        self.put_container(bucket, metadata).await?;
        Ok(())
    }

    async fn has_bucket(&self, bucket: &str) -> Outcome<()> {
        self.send(Ok(self.request(Method::HEAD, container_path(bucket))), || format!("HEAD {bucket}")).await?;
        Ok(())
    }

    async fn delete_bucket(&self, bucket: &str) -> Outcome<()> {
        let request = self.request(Method::DELETE, container_path(bucket));
        match self.send(Ok(request), || format!("DELETE {bucket}")).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn settings(&self, bucket: &str) -> Outcome<Settings> {
        let request = self.request(Method::HEAD, container_path(bucket));
        let answer = self.send(Ok(request), || format!("HEAD {bucket}")).await?;
        Ok(settings_of(&answer.headers))
    }

    async fn change_settings(&self, bucket: &str, change: &SettingsChange) -> Outcome<()> {
        if change.versioning == Some(true) {
            self.put_container(&versions_of(bucket), &[]).await?;
        }
        let headers = headers_of(bucket, change);
        if headers.is_empty() {
            return Ok(());
        }
        let mut request = Ok(self.request(Method::POST, container_path(bucket)).body(RawBody::Bytes(Bytes::new())));
        for (name, value) in headers {
            request = request.and_then(|request| request.header(&name, &value));
        }
        self.send(request, || format!("POST {bucket}")).await?;
        Ok(())
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

    /// Parts are objects, and no copy of a piece of an object can be asked for.
    async fn copy_part(&self, from: (&str, &str), _: Range<u64>, _: &Upload, number: u32) -> Outcome<String> {
        let request = format!("COPY {}/{} part {number}", from.0, from.1);
        let message = "Swift's API has no copy of a piece of an object";
        Err(ObjectError::new(ObjectErrorKind::Unsupported, &self.host, request, message))
    }

    async fn delete(&self, bucket: &str, victims: &[Victim]) -> Outcome<Vec<ObjectError>> {
        self.delete_objects(bucket, victims).await
    }

    async fn begin(&self, bucket: &str, key: &str, _: &PutOptions) -> Outcome<Upload> {
        self.begin_upload(bucket, key).await
    }

    async fn put_part(&self, upload: &Upload, number: u32, content: &Bytes, sum: Sum) -> Outcome<String> {
        self.upload_part(upload, number, content, sum).await
    }

    async fn parts(&self, upload: &Upload) -> Outcome<Vec<Part>> {
        self.list_parts(upload).await
    }

    async fn complete(&self, upload: &Upload, parts: &[Part], options: &PutOptions) -> Outcome<()> {
        self.complete_upload(upload, parts, options).await
    }

    async fn abort(&self, upload: &Upload) -> Outcome<()> {
        self.abort_upload(upload).await
    }

    async fn uploads(&self, bucket: &str, prefix: &str, from: Option<&(String, String)>) -> Outcome<UploadPage> {
        self.list_uploads(bucket, prefix, from).await
    }

    fn lists_made(&self) -> bool {
        true
    }

    async fn upload_of(&self, bucket: &str, key: &str) -> Outcome<MadeOf> {
        self.upload_of_object(bucket, key).await
    }

    /// Those that were kept stay where they are when no more are.
    async fn keeps_versions(&self, bucket: &str) -> Outcome<bool> {
        let here = self.settings(bucket).await?;
        let kept = match self.settings(&versions_of(bucket)).await {
            Err(error) if error.is_not_found() => None,
            other => other?.objects,
        };
        Ok(here.versioning || kept.unwrap_or_default() > 0)
    }

    /// Versions are objects of a container of their own: see [`Api::companions`].
    async fn versions(&self, _: &str, _: &str, _: Option<&(String, String)>) -> Outcome<VersionPage> {
        Ok(VersionPage::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn settings_are_read_from_a_containers_headers() {
        let settings = settings_of(&headers(&[
            ("x-container-meta-course", "mlops"),
            ("x-container-meta-quota-bytes", "10"),
            ("x-container-meta-access-control-allow-origin", "https://a.org https://b.org"),
            ("x-container-meta-access-control-max-age", "60"),
            ("x-container-read", ".r:*,.rlistings"),
            ("x-versions-location", "b_versions"),
            ("x-container-object-count", "3"),
            ("x-container-bytes-used", "12"),
        ]));
        assert_eq!(settings.metadata, [("course".to_owned(), "mlops".to_owned())].into());
        assert_eq!((settings.acl, settings.versioning), (Acl::PublicRead, true));
        assert_eq!((settings.objects, settings.bytes), (Some(3), Some(12)));
        assert_eq!(settings.cors[0].origins, ["https://a.org", "https://b.org"]);
        assert_eq!(settings.cors[0].max_age, Some(60));
        assert_eq!(settings_of(&headers(&[("x-container-read", "p:u")])).acl, Acl::Other);
        assert_eq!(settings_of(&headers(&[])).acl, Acl::Private);
    }

    #[test]
    fn a_change_is_headers_that_read_back_as_it() {
        let rule = CorsRule { origins: vec!["*".into()], max_age: Some(5), ..CorsRule::default() };
        let change = SettingsChange {
            versioning: Some(true),
            metadata: vec![("a".into(), Some("1".into())), ("b".into(), None)],
            acl: Some(Acl::PublicRead),
            cors: Some(vec![rule.clone()]),
        };
        let all = headers_of("b", &change);
        assert!(all.contains(&("x-remove-container-meta-b".into(), "x".into())), "{all:?}");
        let pairs = all.iter().filter(|(name, _)| !name.starts_with("x-remove-")).map(|(name, value)| {
            (name.parse::<http::HeaderName>().unwrap(), http::HeaderValue::from_str(value).unwrap())
        });
        let settings = settings_of(&pairs.collect());
        assert_eq!((settings.versioning, settings.acl, settings.cors), (true, Acl::PublicRead, vec![rule]));
        assert_eq!(settings.metadata, [("a".to_owned(), "1".to_owned())].into());
    }
}
