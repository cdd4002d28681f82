//! The object store as clients see it. What is expected was measured on Ceph's gateway 16.2.15, unless a test says that we
//! differ.

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request};
use ring::{digest, hmac};
use serde_json::json;
use tower::ServiceExt as _;

use crate::embedded::catalogue::{project_id, user_id};
use crate::embedded::{ClockMode, Cloud, Guests, Options, Profile, clock};
use crate::hex;
use crate::model::Json;

const HOST: &str = "objects.test";

/// An answer.
struct Got {
    status: u16,
    headers: HeaderMap,
    body: String,
    /// Whether the body came to its end.
    whole: bool,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Status and code of a refusal by S3.
    fn code(&self) -> String {
        let code = self.between("<Code>", "</Code>");
        format!("{} {code}", self.status)
    }

    fn between(&self, before: &str, after: &str) -> String {
        let rest = self.body.split_once(before).map(|(_, rest)| rest).unwrap_or_default();
        rest.split_once(after).map(|(text, _)| text).unwrap_or_default().to_owned()
    }

    /// Status and body, as Swift refuses.
    fn says(&self) -> String {
        format!("{} {}", self.status, self.body)
    }
}

/// Somebody with a token and an EC2 credential.
struct Client {
    cloud: Cloud,
    project: String,
    token: String,
    access: String,
    secret: String,
}

/// A new cloud, and its user.
async fn cloud() -> (tempfile::TempDir, Client) {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { profile: Profile::ChameleonChi, clock: ClockMode::Real { scale: 0.0 }, guests: Guests::None };
    let cloud = Cloud::open(folder.path(), options).unwrap();
    let client = Client::sign_in(&cloud, "demo", "CHI-embedded").await;
    (folder, client)
}

impl Client {
    async fn sign_in(cloud: &Cloud, user: &str, project: &str) -> Self {
        let domain = json!({"name": "Default"});
        let body = json!({"auth": {
            "identity": {"methods": ["password"],
                         "password": {"user": {"name": user, "password": user, "domain": domain}}},
            "scope": {"project": {"name": project, "domain": domain}}}});
        let got = send(cloud, "POST", "/identity/v3/auth/tokens", &[], body.to_string().as_bytes()).await;
        let (token, project) = (got.header("x-subject-token").to_owned(), project_id(project));
        let path = format!("/identity/v3/users/{}/credentials/OS-EC2", user_id(user));
        let body = json!({"tenant_id": project}).to_string();
        let made = send(cloud, "POST", &path, &[("x-auth-token", &token)], body.as_bytes()).await;
        let made: Json = serde_json::from_str(&made.body).unwrap();
        let key = |name: &str| made["credential"][name].as_str().unwrap().to_owned();
        let (access, secret) = (key("access"), key("secret"));
        Self { cloud: cloud.clone(), project, token, access, secret }
    }

    async fn swift(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        let target = format!("/swift/v1/AUTH_{}{path}", self.project);
        let mut headers = headers.to_vec();
        headers.push(("x-auth-token", &self.token));
        send(&self.cloud, method, &target, &headers, body.as_bytes()).await
    }

    async fn s3(&self, method: &str, target: &str, body: &str) -> Got {
        self.s3_with(method, target, &[], body.as_bytes()).await
    }

    async fn s3_with(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
        let hash = hex::encode(digest::digest(&digest::SHA256, body).as_ref());
        let signed = self.signed(method, target, headers, &hash);
        let all: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        send(&self.cloud, method, target, &all, body).await
    }

    /// The headers with a signature, which is made here and not by what checks it.
    fn signed(&self, method: &str, target: &str, headers: &[(&str, &str)], hash: &str) -> Vec<(String, String)> {
        let moment = clock::basic(clock::system());
        let mut all: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.push(("host".to_owned(), HOST.to_owned()));
        all.push(("x-amz-content-sha256".to_owned(), hash.to_owned()));
        all.push(("x-amz-date".to_owned(), moment.clone()));
        all.sort();
        let names = all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
            .collect();
        pairs.sort();
        let request = format!("{method}\n{path}\n{}\n{lines}\n{names}\n{hash}", pairs.join("&"));
        let hashed = hex::encode(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
        let scope = format!("{}/us-east-1/s3/aws4_request", &moment[..8]);
        let text = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}");
        let mac = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in scope.split('/') {
            key = mac(&key, part).as_ref().to_vec();
        }
        let signature = hex::encode(mac(&key, &text).as_ref());
        let access = &self.access;
        let value =
            format!("AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}");
        all.push(("authorization".to_owned(), value));
        all
    }
}

async fn send(cloud: &Cloud, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
    let mut request = Request::builder().method(method).uri(target);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", HOST);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request = request.header("content-length", body.len());
    let response = cloud.router().oneshot(request.body(Body::from(body.to_vec())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await;
    let whole = bytes.is_ok();
    let body = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    Got { status: parts.status.as_u16(), headers: parts.headers, body, whole }
}

const HELLO: &str = "5d41402abc4b2a76b9719d911017c592";

#[tokio::test]
async fn what_one_api_puts_the_other_gives() {
    let (_folder, client) = cloud().await;
    assert_eq!(client.s3("PUT", "/both", "").await.status, 200);
    let put = client.s3_with("PUT", "/both/a%20b.txt", &[("x-amz-meta-color", "Blue")], b"hello").await;
    assert_eq!((put.status, put.header("etag")), (200, format!("\"{HELLO}\"").as_str()));
    let got = client.swift("GET", "/both/a%20b.txt", &[], "").await;
    assert_eq!((got.body.as_str(), got.header("etag"), got.header("x-object-meta-color")), ("hello", HELLO, "Blue"));
    let put = client
        .swift("PUT", "/both/by-swift", &[("x-object-meta-col", "red"), ("content-type", "text/x")], "swift!")
        .await;
    assert_eq!((put.status, put.header("etag")), (201, "eb6d608271b332696b26c1e689132fb2"));
    let head = client.s3("HEAD", "/both/by-swift", "").await;
    assert_eq!(
        (head.header("content-length"), head.header("x-amz-meta-col"), head.header("content-type")),
        ("6", "red", "text/x")
    );
    let list = client.swift("GET", "/both", &[], "").await;
    assert_eq!(
        (list.body.as_str(), list.header("x-container-object-count"), list.header("x-container-bytes-used")),
        ("a b.txt\nby-swift", "2", "11")
    );
    let account = client.swift("GET", "?format=json", &[], "").await;
    let account: Json = serde_json::from_str(&account.body).unwrap();
    assert_eq!(account, json!([{"name": "both", "count": 2, "bytes": 11}]));
}

#[tokio::test]
async fn buckets_are_refused_as_measured() {
    let (_folder, client) = cloud().await;
    let other = Client::sign_in(&client.cloud, "other", "CHI-other").await;
    assert_eq!(client.s3("PUT", "/mine", "").await.status, 200);
    assert_eq!(client.s3("PUT", "/mine", "").await.status, 200);
    assert_eq!(other.s3("PUT", "/mine", "").await.code(), "409 BucketAlreadyExists");
    assert_eq!(other.swift("PUT", "/mine", &[], "").await.says(), "409 BucketAlreadyExists");
    assert_eq!(client.swift("PUT", "/mine", &[], "").await.status, 202);
    for (name, code) in [("/Bad_Name", "400 InvalidBucketName"), ("/ab", "400 InvalidBucketName")] {
        assert_eq!(client.s3("PUT", name, "").await.code(), code);
    }
    assert_eq!(client.swift("PUT", "/PR_Upper", &[], "").await.status, 201);
    let place = |name| {
        format!(
            "<CreateBucketConfiguration><LocationConstraint>{name}</LocationConstraint></CreateBucketConfiguration>"
        )
    };
    assert_eq!(client.s3("PUT", "/new", &place("nowhere")).await.code(), "400 InvalidLocationConstraint");
    assert_eq!(client.s3("PUT", "/new", &place("default")).await.status, 200);
    assert_eq!(other.s3("GET", "/mine", "").await.code(), "403 AccessDenied");
    assert_eq!(other.s3("HEAD", "/mine", "").await.status, 403);
    assert_eq!(client.s3("GET", "/nosuch", "").await.code(), "404 NoSuchBucket");
    let wrong = Client { secret: "0".repeat(32), ..Client::sign_in(&client.cloud, "demo", "CHI-embedded").await };
    assert_eq!(wrong.s3("GET", "/", "").await.code(), "403 SignatureDoesNotMatch");
    let unknown = Client { access: "0".repeat(32), ..wrong };
    assert_eq!(unknown.s3("GET", "/", "").await.code(), "403 InvalidAccessKeyId");
    assert_eq!(send(&client.cloud, "GET", "/mine", &[], b"").await.code(), "403 AccessDenied");
    client.s3("PUT", "/mine/x", "x").await;
    assert_eq!(client.s3("DELETE", "/mine", "").await.code(), "409 BucketNotEmpty");
    assert_eq!(client.swift("DELETE", "/mine", &[], "").await.status, 409);
    // Not as measured, and on purpose: there, this deletes the bucket.
    assert_eq!(client.s3("DELETE", "/new?encryption", "").await.code(), "501 NotImplemented");
    assert_eq!(client.s3("HEAD", "/new", "").await.status, 200);
    assert_eq!(client.s3("DELETE", "/new", "").await.status, 204);
}

#[tokio::test]
async fn conditions_and_ranges_are_those_measured() {
    let (_folder, client) = cloud().await;
    client.s3("PUT", "/pr3", "").await;
    client.s3("PUT", "/pr3/a.txt", "hello").await;
    let put = async |name: &str, value: &str, key: &str| {
        client.s3_with("PUT", &format!("/pr3/{key}"), &[(name, value)], b"hello").await.status
    };
    assert_eq!(put("if-none-match", "*", "a.txt").await, 412);
    assert_eq!(put("if-none-match", "*", "new").await, 200);
    assert_eq!(put("if-match", "*", "none").await, 412);
    assert_eq!(put("if-match", HELLO, "a.txt").await, 200);
    assert_eq!(put("if-match", &format!("\"{HELLO}\""), "a.txt").await, 412);
    let get = async |name: &str, value: &str| client.s3_with("GET", "/pr3/a.txt", &[(name, value)], b"").await;
    assert_eq!(get("if-none-match", &format!("\"{HELLO}\"")).await.status, 304);
    assert_eq!(get("if-match", "\"x\"").await.code(), "412 PreconditionFailed");
    assert_eq!(get("if-modified-since", "Thu, 26 Nov 2099 00:00:00 GMT").await.status, 304);
    let part = get("range", "bytes=1-2").await;
    assert_eq!((part.status, part.body.as_str(), part.header("content-range")), (206, "el", "bytes 1-2/5"));
    assert_eq!(get("range", "bytes=9-").await.code(), "416 InvalidRange");
    assert_eq!(client.s3("GET", "/pr3/none", "").await.code(), "404 NoSuchKey");
    assert_eq!(client.s3("DELETE", "/pr3/none", "").await.status, 204);
    let bad = client.s3_with("PUT", "/pr3/a.txt", &[("content-md5", "MDAwMDAwMDAwMDAwMDAwMA==")], b"hello").await;
    assert_eq!(bad.code(), "400 BadDigest");
    let signed = client.signed("PUT", "/pr3/a.txt", &[], &"0".repeat(64));
    let all: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let got = send(&client.cloud, "PUT", "/pr3/a.txt", &all, b"other").await;
    assert_eq!(got.code(), "400 XAmzContentSHA256Mismatch");
    assert_eq!(client.s3("GET", "/pr3/a.txt", "").await.body, "hello");
    let wrong = client.swift("PUT", "/pr3/a.txt", &[("etag", &"0".repeat(32))], "other").await;
    assert_eq!(
        (wrong.says().as_str(), wrong.header("etag")),
        ("422 UnprocessableEntity", "795f3202b17cb6bc3d4b771d8c6c9eaf")
    );
}

#[tokio::test]
async fn an_object_in_parts_appears_whole_or_not_at_all() {
    let (folder, client) = cloud().await;
    client.s3("PUT", "/pr6", "").await;
    let begun = client.s3_with("POST", "/pr6/big?uploads", &[("x-amz-meta-k", "v")], b"").await;
    let id = begun.between("<UploadId>", "</UploadId>");
    let first = "a".repeat(5 << 20);
    let one = client.s3("PUT", &format!("/pr6/big?partNumber=1&uploadId={id}"), &first).await;
    let two = client.s3("PUT", &format!("/pr6/big?partNumber=3&uploadId={id}"), "bbbbbbbbbb").await;
    assert_eq!(client.s3("HEAD", "/pr6/big", "").await.status, 404);
    assert_eq!(client.s3("DELETE", "/pr6", "").await.code(), "409 BucketNotEmpty");
    let list = client.s3("GET", "/pr6?uploads=", "").await;
    assert_eq!(list.between("<UploadId>", "</UploadId>"), id);
    let named = |parts: &[(u32, &str)]| {
        let part =
            |(number, etag): &(u32, &str)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        let parts: String = parts.iter().map(part).collect();
        format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
    };
    let target = format!("/pr6/big?uploadId={id}");
    assert_eq!(client.s3("POST", &target, &named(&[(1, one.header("etag"))])).await.code(), "400 InvalidPart");
    assert_eq!(client.s3("POST", &target, "junk").await.code(), "400 MalformedXML");
    let whole = named(&[(1, one.header("etag")), (3, two.header("etag"))]);
    let done = client.s3("POST", &target, &whole).await;
    assert_eq!((done.status, done.between("<ETag>", "</ETag>").as_str()), (200, ""));
    let again = client.s3("POST", &target, &whole).await;
    assert_eq!(
        (again.status, again.between("<ETag>", "</ETag>").as_str()),
        (200, "8b0be7847da5564ae08e97af63b60885-2")
    );
    let range = format!("bytes={}-{}", (5 << 20) - 2, (5 << 20) + 1);
    let part = client.s3_with("GET", "/pr6/big", &[("range", &range)], b"").await;
    assert_eq!((part.body.as_str(), part.header("x-amz-meta-k")), ("aabb", "v"));
    client.s3_with("PUT", "/pr6/copy", &[("x-amz-copy-source", "pr6/big")], b"").await;
    assert_eq!(client.s3("DELETE", "/pr6/big", "").await.status, 204);
    let copy = client.swift("GET", "/pr6/copy", &[], "").await;
    assert_eq!((copy.body.len(), copy.header("etag")), ((5 << 20) + 10, "8b0be7847da5564ae08e97af63b60885-2"));
    assert_eq!(client.s3("DELETE", &target, "").await.code(), "404 NoSuchUpload");
    client.s3("DELETE", "/pr6/copy", "").await;
    assert_eq!(files(folder.path()), 0, "contents that nobody needs");
}

/// How many files of contents there are.
fn files(folder: &std::path::Path) -> usize {
    let folders = std::fs::read_dir(folder.join("objects")).unwrap();
    folders.map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test]
async fn versions_are_kept_and_removed_one_by_one() {
    let (folder, client) = cloud().await;
    client.s3("PUT", "/pr4", "").await;
    let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(client.s3("PUT", "/pr4?versioning", on).await.status, 200);
    let one = client.s3("PUT", "/pr4/v", "one").await.header("x-amz-version-id").to_owned();
    client.s3("PUT", "/pr4/v", "two!").await;
    assert_eq!(client.s3("GET", &format!("/pr4/v?versionId={one}"), "").await.body, "one");
    assert_eq!(client.s3("GET", "/pr4/v?versionId=nosuch", "").await.code(), "404 NoSuchKey");
    let gone = client.s3("DELETE", "/pr4/v", "").await;
    assert_eq!((gone.status, gone.header("x-amz-delete-marker")), (204, "true"));
    assert_eq!(client.s3("GET", "/pr4/v", "").await.code(), "404 NoSuchKey");
    let all = client.s3("GET", "/pr4?versions=", "").await.body;
    assert_eq!((all.matches("<Version>").count(), all.matches("<DeleteMarker>").count()), (2, 1));
    assert_eq!(client.s3("DELETE", "/pr4", "").await.code(), "409 BucketNotEmpty");
    let ids: Vec<&str> = all.split("<VersionId>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
    let objects: String =
        ids.iter().map(|id| format!("<Object><Key>v</Key><VersionId>{id}</VersionId></Object>")).collect();
    let deleted = client.s3("POST", "/pr4?delete", &format!("<Delete>{objects}</Delete>")).await;
    assert_eq!(deleted.body.matches("<Deleted>").count(), 3);
    assert_eq!(client.s3("DELETE", "/pr4", "").await.status, 204);
    assert_eq!(files(folder.path()), 0);
}

#[tokio::test]
async fn many_are_removed_by_one_request() {
    let (_folder, client) = cloud().await;
    client.swift("PUT", "/pr1", &[], "").await;
    for name in ["a", "b", "c%20d"] {
        client.swift("PUT", &format!("/pr1/{name}"), &[], "x").await;
    }
    let json = [("content-type", "text/plain"), ("accept", "application/json")];
    let got = client.swift("POST", "?bulk-delete", &json, "pr1/a\npr1/none\n/pr1/c%20d\nnosuch/x\n").await;
    let body: Json = serde_json::from_str(&got.body).unwrap();
    assert_eq!(
        (got.status, body),
        (
            200,
            json!({"Number Deleted": 2, "Number Not Found": 2, "Response Body": "", "Response Status": "200 OK", "Errors": []})
        )
    );
    let got = client.swift("POST", "?bulk-delete", &json, "pr1\n").await;
    assert!(got.body.contains(r#""Errors":[["pr1/","409 Conflict"]]"#), "{}", got.body);
    let keys = |count: usize| (0..count).map(|n| format!("<Object><Key>{n}</Key></Object>")).collect::<String>();
    assert_eq!(client.s3("POST", "/pr1?delete", &format!("<Delete>{}</Delete>", keys(1001))).await.status, 400);
    let got = client
        .s3("POST", "/pr1?delete", "<Delete><Object><Key>b</Key></Object><Object><Key>none</Key></Object></Delete>")
        .await;
    assert!(
        got.body.ends_with("<Deleted><Key>b</Key></Deleted><Deleted><Key>none</Key></Deleted></DeleteResult>"),
        "{}",
        got.body
    );
    assert_eq!(client.swift("DELETE", "/pr1", &[], "").await.status, 204);
}

#[tokio::test]
async fn large_objects_of_swift_are_read_as_one() {
    let (_folder, client) = cloud().await;
    for name in ["/pr1", "/pr2"] {
        client.swift("PUT", name, &[], "").await;
    }
    client.swift("PUT", "/pr2/1", &[], "aaaaaaaaaa").await;
    client.swift("PUT", "/pr2/2", &[], "bbbbb").await;
    let manifest = json!([{"path": "/pr2/1", "size_bytes": 10}, {"path": "pr2/2"}]).to_string();
    let put = client.swift("PUT", "/pr1/slo?multipart-manifest=put", &[], &manifest).await;
    assert_eq!((put.status, put.header("etag")), (201, "\"34a127ae02e2c5d50286e0784d3b78e2\""));
    let part = client.swift("GET", "/pr1/slo", &[("range", "bytes=8-11")], "").await;
    assert_eq!((part.body.as_str(), part.header("content-range")), ("aabb", "bytes 8-11/15"));
    client.swift("PUT", "/pr1/dlo", &[("x-object-manifest", "pr2/")], "").await;
    assert_eq!(client.s3("GET", "/pr1/dlo", "").await.body, "aaaaaaaaaabbbbb");
    let missing = json!([{"path": "/pr2/none"}]).to_string();
    assert_eq!(client.swift("PUT", "/pr1/x?multipart-manifest=put", &[], &missing).await.says(), "404 NoSuchKey");
    let gone =
        client.swift("DELETE", "/pr1/slo?multipart-manifest=delete", &[("accept", "application/json")], "").await;
    assert!(gone.body.contains(r#""Number Deleted":3"#), "{}", gone.body);
    assert_eq!(client.swift("GET", "/pr2", &[], "").await.status, 204);
}

#[tokio::test]
async fn others_read_what_they_are_granted() {
    let (_folder, client) = cloud().await;
    let other = Client::sign_in(&client.cloud, "other", "CHI-other").await;
    client.s3("PUT", "/open", "").await;
    client.s3_with("PUT", "/open/public", &[("x-amz-acl", "public-read")], b"hello").await;
    client.s3("PUT", "/open/private", "secret").await;
    assert_eq!(send(&client.cloud, "GET", "/open/public", &[], b"").await.body, "hello");
    assert_eq!(other.s3("GET", "/open/private", "").await.code(), "403 AccessDenied");
    assert_eq!(send(&client.cloud, "GET", "/open/none", &[], b"").await.code(), "403 AccessDenied");
    assert_eq!(other.s3("PUT", "/open/mine", "x").await.code(), "403 AccessDenied");
    client.s3_with("PUT", "/open?acl", &[("x-amz-acl", "public-read")], b"").await;
    assert_eq!(other.s3("GET", "/open", "").await.status, 200);
    let policy = client.s3("GET", "/open?acl", "").await;
    assert_eq!(policy.body.matches("<Grant>").count(), 2);
    assert_eq!(client.s3("PUT", "/open?acl", &policy.body).await.status, 200);
    client.swift("POST", "/open", &[("x-container-read", ".r:*,.rlistings")], "").await;
    let target = format!("/swift/v1/AUTH_{}/open/private", client.project);
    assert_eq!(send(&client.cloud, "GET", &target, &[], b"").await.body, "secret");
}

#[tokio::test]
async fn faults_come_at_their_rate_and_break_contents_off() {
    let (folder, client) = cloud().await;
    client.s3("PUT", "/pr1", "").await;
    client.s3("PUT", "/pr1/a", &"x".repeat(1000)).await;
    let order = |rules: Json| std::fs::write(folder.path().join("faults.json"), rules.to_string()).unwrap();
    let rules = json!([{"method": "GET", "path": "/pr1/", "rate": 0.2, "seed": 7, "status": 503}]);
    let mut rounds = Vec::new();
    for _ in 0..2 {
        order(rules.clone());
        let mut statuses = Vec::new();
        for _ in 0..100 {
            statuses.push(client.s3("GET", "/pr1/a", "").await.status);
        }
        rounds.push(statuses);
    }
    assert_eq!(rounds[0], rounds[1], "the seed says which");
    let refused = rounds[0].iter().filter(|status| **status == 503).count();
    assert!((10..=30).contains(&refused), "{refused} of 100");
    order(json!([{"path": "/pr1/a", "drop_after": true, "drop": true}, {"path": "/pr1/b", "drop": true}]));
    let cut = client.s3("GET", "/pr1/a", "").await;
    assert_eq!((cut.status, cut.whole, cut.header("content-length")), (200, false, "1000"));
    assert!(!client.s3("PUT", "/pr1/b", "x").await.whole);
    assert_eq!(client.s3("GET", "/pr1/b", "").await.status, 404);
    assert!(client.s3("GET", "/pr1/a", "").await.whole);
}

#[tokio::test]
async fn the_catalog_names_both_apis_where_there_is_an_object_store() {
    let (_folder, client) = cloud().await;
    let got = send(&client.cloud, "GET", "/identity/v3/auth/catalog", &[("x-auth-token", &client.token)], b"").await;
    let project = &client.project;
    assert!(got.body.contains(&format!("\"http://{HOST}/swift/v1/AUTH_{project}\"")), "{}", got.body);
    assert!(got.body.contains(&format!("\"http://{HOST}\"")), "{}", got.body);
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { profile: Profile::ChameleonKvm, clock: ClockMode::Real { scale: 0.0 }, guests: Guests::None };
    let kvm = Cloud::open(folder.path(), options).unwrap();
    let client = Client::sign_in(&kvm, "demo", "CHI-embedded").await;
    let got = send(&kvm, "GET", "/identity/v3/auth/catalog", &[("x-auth-token", &client.token)], b"").await;
    assert!(!got.body.contains("object-store"));
    assert_eq!(client.s3("GET", "/", "").await.status, 404);
}

#[tokio::test]
async fn another_process_finds_the_same_objects() {
    let (folder, client) = cloud().await;
    client.s3("PUT", "/pr1", "").await;
    client.s3("PUT", "/pr1/a", "hello").await;
    let options =
        Options { profile: Profile::ChameleonChi, clock: ClockMode::Real { scale: 0.0 }, guests: Guests::None };
    let again = Cloud::open(folder.path(), options).unwrap();
    let same = Client { cloud: again, ..client };
    assert_eq!(same.s3("GET", "/pr1/a", "").await.body, "hello");
    let log = std::fs::read_to_string(folder.path().join("log.0.jsonl")).unwrap();
    assert!(log.contains(&same.access) && !log.contains(&same.secret));
}
