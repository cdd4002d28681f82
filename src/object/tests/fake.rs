//! A store that speaks as much S3 as the tests need, on loopback, with faults to order. It checks what it is sent as a
//! real one does: MD5s, parts, the order of a completion.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use md5::{Digest as _, Md5};

use crate::hex;
use crate::object::{RetryPolicy, S3Config, Store};

/// An object of the fake.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) content: Bytes,
    pub(crate) etag: String,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// An upload under way: its key, its metadata, its parts.
type Open = (String, BTreeMap<String, String>, BTreeMap<u32, Kept>);

#[derive(Default)]
pub(crate) struct World {
    pub(crate) objects: BTreeMap<String, Kept>,
    pub(crate) uploads: BTreeMap<String, Open>,
    /// The uploads that objects were made of, with their keys.
    pub(crate) completed: Vec<(String, String)>,
    /// Objects that lists do not have yet, as it happens where lists are behind.
    pub(crate) unlisted: BTreeSet<String>,
    /// Every request as `METHOD key`, in the order they came, with the part's number and the first byte asked for.
    pub(crate) log: Vec<String>,
}

/// What goes wrong.
#[derive(Default)]
pub(crate) struct Faults {
    /// One request in so many is answered 503.
    pub(crate) slow_down: AtomicU64,
    /// One request in so many breaks the connection instead of an answer, after it was carried out.
    pub(crate) cut: AtomicU64,
    /// After so many requests the keys are no longer known; 0 for never.
    pub(crate) expire_after: AtomicU64,
    /// Every read is cut in its middle so often.
    pub(crate) half_reads: AtomicU64,
    /// Whether written objects lose their last byte.
    pub(crate) spoil: AtomicU64,
    /// Whether copies are refused.
    pub(crate) no_copies: AtomicU64,
    /// Whether uploads that are completed are listed as unfinished, as a store does whose answers lag.
    pub(crate) stale_uploads: AtomicU64,
    /// Whether the bucket is still to be made.
    pub(crate) unmade: AtomicU64,
    count: AtomicU64,
}

#[derive(Clone, Default)]
pub(crate) struct Fake {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) faults: Arc<Faults>,
}

fn etag(content: &[u8]) -> String {
    hex::encode(&Md5::digest(content))
}

fn refuse(status: u16, code: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message></Message><RequestId>tx1</RequestId></Error>"
    );
    (StatusCode::from_u16(status).unwrap(), [("x-amz-request-id", "tx1")], body).into_response()
}

fn xml(body: String) -> Response {
    ([("content-type", "application/xml")], format!("<?xml version=\"1.0\"?>{body}")).into_response()
}

impl Fake {
    /// Serves it, and a client of it that waits for nothing.
    pub(crate) async fn serve() -> (Self, Store) {
        let fake = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(handle).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = S3Config {
            endpoint: endpoint.parse().unwrap(),
            region: "us-east-1".into(),
            access_key: "KEY".into(),
            secret_key: "very-secret".to_owned().into(),
            session_token: None,
            trusted: None,
        };
        let policy = RetryPolicy { first_wait: Duration::ZERO, longest_wait: Duration::ZERO, tries: 20 };
        (fake, Store::s3(&config).unwrap().with_retries(policy))
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.world.lock().unwrap().objects.keys().cloned().collect()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.world.lock().unwrap().log)
    }

    fn apply(
        &self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        sent: (&HeaderMap, Bytes),
    ) -> Response {
        let (headers, body) = sent;
        let mut world = self.world.lock().unwrap();
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let part = query.get("partNumber").map(|n| format!("#{n}")).unwrap_or_default();
        let from = range(headers).filter(|(start, _)| *start > 0).map(|(start, _)| format!("@{start}"));
        let line = format!("{method} {key}{part}{}", from.unwrap_or_default());
        world.log.push(line);
        if bucket != "b" {
            return refuse(404, "NoSuchBucket");
        }
        if let Some(md5) = headers.get("content-md5")
            && md5.to_str().unwrap() != STANDARD.encode(Md5::digest(&body))
        {
            return refuse(400, "BadDigest");
        }
        let sha256 = headers.get("x-amz-content-sha256").map(|sha256| sha256.to_str().unwrap());
        let wanted = hex::encode(ring::digest::digest(&ring::digest::SHA256, &body).as_ref());
        if sha256.is_some_and(|sha256| sha256 != "UNSIGNED-PAYLOAD" && sha256 != wanted) {
            return refuse(400, "XAmzContentSHA256Mismatch");
        }
        let spoils = method == Method::PUT && !body.is_empty() && self.faults.spoil.load(Ordering::SeqCst) > 0;
        let body = if spoils { body.slice(..body.len() - 1) } else { body };
        match (method.as_str(), key.is_empty()) {
            ("GET", true) if query.contains_key("uploads") => {
                list_uploads(&world, self.faults.stale_uploads.load(Ordering::SeqCst) > 0)
            }
            ("GET", true) => list(&world, query),
            ("POST", true) => delete(&mut world, &body),
            ("HEAD", true) if self.faults.unmade.load(Ordering::SeqCst) > 0 => refuse(404, "NoSuchBucket"),
            ("HEAD", true) => StatusCode::OK.into_response(),
            ("PUT", true) if self.faults.unmade.swap(0, Ordering::SeqCst) > 0 => StatusCode::OK.into_response(),
            ("PUT", true) => refuse(409, "BucketAlreadyOwnedByYou"),
            _ if query.contains_key("uploads") || query.contains_key("uploadId") => {
                upload(&mut world, method, key, query, (headers, body))
            }
            ("PUT", _) if headers.contains_key("x-amz-copy-source") => {
                if self.faults.no_copies.load(Ordering::SeqCst) > 0 {
                    return refuse(403, "AccessDenied");
                }
                let Some(source) = copied(&world, headers) else { return refuse(404, "NoSuchKey") };
                let replaced = headers.get("x-amz-metadata-directive").is_some_and(|value| value == "REPLACE");
                let metadata = if replaced { metadata(headers) } else { source.metadata };
                let kept = Kept { etag: etag(&source.content), content: source.content, metadata };
                let tag = format!("<ETag>\"{}\"</ETag>", kept.etag);
                world.log.push(format!("COPY {key}"));
                world.objects.insert(key.to_owned(), kept);
                xml(format!("<CopyObjectResult>{tag}</CopyObjectResult>"))
            }
            ("PUT", _) => {
                let kept = Kept { etag: etag(&body), content: body, metadata: metadata(headers) };
                let tag = format!("\"{}\"", kept.etag);
                world.objects.insert(key.to_owned(), kept);
                [("etag", tag)].into_response()
            }
            ("DELETE", _) => {
                world.objects.remove(key);
                StatusCode::NO_CONTENT.into_response()
            }
            _ => match world.objects.get(key).cloned() {
                None => refuse(404, "NoSuchKey"),
                Some(kept) => self.read(method, range(headers), kept),
            },
        }
    }

    fn read(&self, method: &Method, range: Option<(usize, usize)>, mut kept: Kept) -> Response {
        let mut answer = Response::builder().header("etag", format!("\"{}\"", kept.etag));
        if let Some((start, end)) = range {
            if start >= kept.content.len() {
                return refuse(416, "InvalidRange");
            }
            kept.content = kept.content.slice(start..end.min(kept.content.len()));
            answer = answer.status(206);
        }
        for (name, value) in &kept.metadata {
            answer = answer.header(format!("x-amz-meta-{name}"), value);
        }
        let length = kept.content.len();
        let answer = answer.header("content-length", length);
        let half = self.faults.half_reads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let body = match (method.as_str(), half.is_ok()) {
            ("HEAD", _) => Body::empty(),
            (_, true) => {
                let some: Result<Bytes, std::io::Error> = Ok(kept.content.slice(..length / 2));
                let cut = futures_util::stream::once(async {
                    // What came before is on its way by then.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    Err(std::io::Error::other("cut"))
                });
                Body::from_stream(futures_util::stream::iter([some]).chain(cut))
            }
            _ => Body::from(kept.content),
        };
        answer.body(body).unwrap()
    }
}

/// The object that is to be copied.
fn copied(world: &World, headers: &HeaderMap) -> Option<Kept> {
    let source = headers["x-amz-copy-source"].to_str().unwrap().replace('+', "%2B");
    let source = url::form_urlencoded::parse(source.as_bytes()).next()?.0.into_owned();
    let key = source.trim_start_matches('/').strip_prefix("b/")?;
    world.objects.get(key).cloned()
}

/// The piece that is asked for: its first byte, and the one after its last.
fn range(headers: &HeaderMap) -> Option<(usize, usize)> {
    let range = headers.get("range").or(headers.get("x-amz-copy-source-range"))?.to_str().unwrap();
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some((start.parse().ok()?, end.parse::<usize>().ok()? + 1))
}

fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    let pairs = headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().strip_prefix("x-amz-meta-")?.to_owned(), value.to_str().unwrap().to_owned()))
    });
    pairs.collect()
}

fn list(world: &World, query: &BTreeMap<String, String>) -> Response {
    let (prefix, after) = (query.get("prefix").cloned().unwrap_or_default(), query.get("start-after"));
    let most = 1000;
    let found: Vec<_> = world
        .objects
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix) && after.is_none_or(|after| *key > after))
        .filter(|(key, _)| !world.unlisted.contains(*key))
        .take(most + 1)
        .collect();
    let rows: String = found
        .iter()
        .take(most)
        .map(|(key, kept)| {
            format!(
                "<Contents><Key>{key}</Key><Size>{}</Size><ETag>\"{}\"</ETag></Contents>",
                kept.content.len(),
                kept.etag
            )
        })
        .collect();
    xml(format!("<ListBucketResult><IsTruncated>{}</IsTruncated>{rows}</ListBucketResult>", found.len() > most))
}

fn list_uploads(world: &World, stale: bool) -> Response {
    let open = world.uploads.iter().map(|(id, (key, ..))| (id, key));
    let completed = world.completed.iter().filter(|_| stale).map(|(id, key)| (id, key));
    let rows: String = open
        .chain(completed)
        .map(|(id, key)| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>"))
        .collect();
    xml(format!("<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{rows}</ListMultipartUploadsResult>"))
}

fn delete(world: &mut World, body: &[u8]) -> Response {
    let text = String::from_utf8_lossy(body).into_owned();
    for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
        world.log.push(format!("DELETE {key}"));
        world.objects.remove(key);
    }
    xml("<DeleteResult></DeleteResult>".to_owned())
}

fn upload(
    world: &mut World,
    method: &Method,
    key: &str,
    query: &BTreeMap<String, String>,
    (headers, body): (&HeaderMap, Bytes),
) -> Response {
    if query.contains_key("uploads") {
        let id = format!("u{}", world.log.len());
        world.uploads.insert(id.clone(), (key.to_owned(), metadata(headers), BTreeMap::new()));
        return xml(format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ));
    }
    let id = &query["uploadId"];
    if headers.contains_key("x-amz-copy-source") {
        // As Ceph.
        if !headers.contains_key("content-length") {
            return refuse(411, "MissingContentLength");
        }
        let Some(source) = copied(world, headers) else { return refuse(404, "NoSuchKey") };
        let (start, end) = range(headers).unwrap();
        let content = source.content.slice(start..end);
        let part = Kept { etag: etag(&content), content, ..Kept::default() };
        let tag = format!("<ETag>\"{}\"</ETag>", part.etag);
        let Some((.., parts)) = world.uploads.get_mut(id) else { return refuse(404, "NoSuchUpload") };
        parts.insert(query["partNumber"].parse().unwrap(), part);
        return xml(format!("<CopyPartResult>{tag}</CopyPartResult>"));
    }
    let Some((_, metadata, parts)) = world.uploads.get_mut(id) else { return refuse(404, "NoSuchUpload") };
    match method.as_str() {
        "PUT" => {
            let kept = Kept { etag: etag(&body), content: body, ..Kept::default() };
            let tag = format!("\"{}\"", kept.etag);
            parts.insert(query["partNumber"].parse().unwrap(), kept);
            [("etag", tag)].into_response()
        }
        "GET" => {
            let rows: String = parts
                .iter()
                .map(|(number, part)| {
                    let (etag, size) = (&part.etag, part.content.len());
                    format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag><Size>{size}</Size></Part>")
                })
                .collect();
            xml(format!("<ListPartsResult><IsTruncated>false</IsTruncated>{rows}</ListPartsResult>"))
        }
        "DELETE" => {
            world.uploads.remove(id);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => {
            let whole: Vec<u8> = parts.values().flat_map(|part| part.content.to_vec()).collect();
            let sums: Vec<u8> = parts.values().flat_map(|part| hex::decode(&part.etag).unwrap()).collect();
            let etag = format!("{}-{}", etag(&sums), parts.len());
            let kept = Kept { content: whole.into(), etag, metadata: metadata.clone() };
            world.uploads.remove(id);
            world.completed.push((id.clone(), key.to_owned()));
            world.objects.insert(key.to_owned(), kept);
            // As Ceph: the entity tag is not said.
            xml("<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>".to_owned())
        }
    }
}

async fn handle(State(fake): State<Fake>, Query(query): Query<BTreeMap<String, String>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let count = fake.faults.count.fetch_add(1, Ordering::SeqCst) + 1;
    let every = |fault: &AtomicU64| {
        let every = fault.load(Ordering::SeqCst);
        every > 0 && count.is_multiple_of(every)
    };
    let expired = fake.faults.expire_after.load(Ordering::SeqCst);
    if expired > 0 && count > expired {
        return refuse(403, "InvalidAccessKeyId");
    }
    if every(&fake.faults.slow_down) {
        return refuse(503, "SlowDown");
    }
    let path = parts.uri.path().trim_start_matches('/').to_owned();
    let path = url::form_urlencoded::parse(path.replace('+', "%2B").as_bytes()).next().map(|pair| pair.0.into_owned());
    let answer = fake.apply(&parts.method, &path.unwrap_or_default(), &query, (&parts.headers, body));
    // The answer to a HEAD has no content to break off in.
    if parts.method != http::Method::HEAD && every(&fake.faults.cut) {
        let broken: Result<Bytes, std::io::Error> = Err(std::io::Error::other("cut"));
        return Response::builder()
            .header("content-length", 100)
            .body(Body::from_stream(futures_util::stream::iter([broken])))
            .unwrap();
    }
    answer
}
