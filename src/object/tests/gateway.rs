//! The client against a real gateway of Ceph's, by both APIs: run where `ANOLE_TEST_GATEWAY` names one
//! (`http://127.0.0.1:17480`), with the keys of two of its users and a Swift subuser of the first.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use md5::{Digest as _, Md5};
use serde_json::json;

use crate::cloud::config::{Auth, CloudConfig, Domain, Scope, User};
use crate::cloud::{Session, SessionOptions, Transport};
use crate::object::{Acl, CorsRule, Keys, ObjectErrorKind, PutOptions, S3Config, SettingsChange, Store, Sum, Victim};

fn gateway() -> String {
    std::env::var("ANOLE_TEST_GATEWAY").expect("ANOLE_TEST_GATEWAY names the gateway")
}

pub(crate) fn s3(user: &str) -> Store {
    let trusted = std::env::var("ANOLE_TEST_GATEWAY_CA").ok().map(|path| std::fs::read(path).unwrap());
    let config = S3Config {
        endpoint: gateway().parse().unwrap(),
        region: "us-east-1".into(),
        access_key: format!("{}KEY", user.to_uppercase()),
        secret_key: format!("{user}secret").into(),
        session_token: None,
        trusted,
    };
    Store::s3(&config).unwrap()
}

/// A Keystone of a few lines whose tokens are those that the gateway gives to its own users.
async fn sign_in(State((token, storage)): State<(String, String)>) -> Response {
    let endpoints = json!([{ "interface": "public", "region_id": "R", "url": storage }]);
    let body = json!({ "token": {
        "user": { "id": "one", "name": "one" }, "project": { "id": "one", "name": "one" },
        "catalog": [{ "type": "object-store", "endpoints": endpoints }] } });
    (StatusCode::CREATED, [("x-subject-token", token)], body.to_string()).into_response()
}

pub(crate) async fn swift() -> Store {
    let client = match Transport::http(&crate::cloud::config::Tls::default()).unwrap() {
        Transport::Http(client) => client,
        Transport::InProcess(_) => panic!("a client over HTTP was asked for"),
    };
    let request = client.get(format!("{}/auth/1.0", gateway()));
    let answer = request.header("X-Auth-User", "one:swift").header("X-Auth-Key", "swiftsecret").send().await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let state = (header("x-auth-token"), header("x-storage-url"));
    let versions = json!({ "versions": { "values": [{ "id": "v3.14", "links": [] }] } }).to_string();
    let router = Router::new()
        .route("/identity", get(|| async { versions }))
        .route("/identity/v3/auth/tokens", post(sign_in))
        .with_state(state);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/identity/v3", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let user = User::Id("one".into());
    let auth = Auth::Password { user, password: "x".to_owned().into() };
    let config = CloudConfig::new("test", url, auth, Scope::ProjectName("one".into(), Domain::Id("default".into())));
    Store::swift(&Session::over_http(config, SessionOptions::default()).await.unwrap()).unwrap()
}

fn md5(content: &[u8]) -> [u8; 16] {
    Md5::digest(content).into()
}

async fn objects(store: &Store, bucket: &str) {
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let options = PutOptions {
        sum: Some(store.sum(&content)),
        metadata: BTreeMap::from([("sha256".into(), "abc".into())]),
        content_type: Some("image/jpeg".into()),
        only_new: false,
    };
    let key = "a b/ü+&%?#=.jpg";
    let bytes = Bytes::from(content.clone());
    let etag = store.put(bucket, key, &bytes, &options).await.unwrap();
    assert_eq!(etag, crate::hex::encode(&md5(&content)));
    let head = store.head(bucket, key).await.unwrap();
    assert_eq!((head.size, head.etag.as_str()), (400_000, etag.as_str()));
    assert_eq!((head.metadata["sha256"].as_str(), head.content_type.as_deref()), ("abc", Some("image/jpeg")));
    assert_eq!(store.read(bucket, key, 1 << 20).await.unwrap(), content);
    let part = store.get(bucket, key, Some(4..12)).await.unwrap().bytes(100).await.unwrap();
    assert_eq!(part, content[4..12]);

    store.put(bucket, "piece", &bytes.slice(4..12), &PutOptions::default()).await.unwrap();
    assert_eq!(store.read(bucket, "piece", 1 << 20).await.unwrap(), content[4..12]);
    let once = store.clone().with_retries(crate::object::RetryPolicy { tries: 1, ..Default::default() });
    for wrong in [store.sum(b"x"), Sum::Md5(md5(b"x"))] {
        let wrong = PutOptions { sum: Some(wrong), ..PutOptions::default() };
        let error = once.put(bucket, "piece", &bytes, &wrong).await.unwrap_err();
        assert_eq!(error.kind(), ObjectErrorKind::Mismatch, "{error:?}");
    }

    store.copy((bucket, key), (bucket, "copy"), None).await.unwrap();
    assert_eq!(store.head(bucket, "copy").await.unwrap().metadata["sha256"], "abc");
    let keys: Vec<_> = store.list(bucket, &Keys::default()).await.unwrap().into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, [key, "copy", "piece"]);
    let victims = [Victim::object(key), Victim::object("never there"), Victim::object("copy")];
    store.delete(bucket, &victims, 2, &|_| ()).await.unwrap();
    assert!(store.head(bucket, key).await.unwrap_err().is_not_found());
}

async fn uploads(store: &Store, bucket: &str) {
    let part: Vec<u8> = (0..5 << 20).map(|byte: u32| byte.to_le_bytes()[1]).collect();
    let options = PutOptions { metadata: BTreeMap::from([("sha256".into(), "def".into())]), ..PutOptions::default() };
    let upload = store.begin(bucket, "l/large", &options).await.unwrap();
    let wrong = store.clone().with_retries(crate::object::RetryPolicy { tries: 1, ..Default::default() });
    let error = wrong.put_part(&upload, 1, &part.clone().into(), store.sum(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ObjectErrorKind::Mismatch, "{error:?}");
    for number in [2, 1] {
        store.put_part(&upload, number, &part.clone().into(), store.sum(&part)).await.unwrap();
    }
    let last = store.begin(bucket, "l/given up", &options).await.unwrap();
    store.put_part(&last, 1, &part.clone().into(), store.sum(&part)).await.unwrap();
    let open: Vec<_> =
        store.uploads(bucket, "l/", &|_| true).await.unwrap().into_iter().map(|upload| upload.key).collect();
    assert_eq!(open, ["l/given up", "l/large"]);
    let parts = store.parts(&upload).await.unwrap();
    assert_eq!(parts.iter().map(|part| (part.number, part.size)).collect::<Vec<_>>(), [(1, 5 << 20), (2, 5 << 20)]);
    assert_eq!(parts[0].etag, crate::hex::encode(&md5(&part)));
    store.complete(&upload, &parts, &options).await.unwrap();
    let head = store.head(bucket, "l/large").await.unwrap();
    assert_eq!((head.size, head.metadata["sha256"].as_str()), (10 << 20, "def"));
    let open = store.uploads(bucket, "", &|_| true).await.unwrap();
    assert_eq!(open.iter().map(|upload| upload.id.as_str()).collect::<Vec<_>>(), [last.id.as_str()]);
    store.abort(&last).await.unwrap();
    store.abort(&last).await.unwrap();
    assert_eq!(store.uploads(bucket, "", &|_| true).await.unwrap(), []);
    assert_eq!(store.read(bucket, "l/large", 1 << 30).await.unwrap().len(), 10 << 20);
    // Left for whoever empties the bucket.
    let left = store.begin(bucket, "l/left", &options).await.unwrap();
    store.put_part(&left, 1, &part.clone().into(), store.sum(&part)).await.unwrap();
}

async fn settings(store: &Store, bucket: &str) {
    let plain = store.settings(bucket).await.unwrap();
    assert_eq!((plain.versioning, plain.acl, plain.cors.len()), (false, Acl::Private, 0));
    assert_eq!(plain.metadata["course"], "mlops", "made with it");
    let rule = CorsRule { origins: vec!["https://a.org".into()], max_age: Some(60), ..CorsRule::default() };
    let change = SettingsChange {
        versioning: Some(true),
        metadata: vec![("course".into(), None), ("team".into(), Some("a".into()))],
        acl: Some(Acl::PublicRead),
        cors: Some(vec![rule]),
    };
    store.change_settings(bucket, &change).await.unwrap();
    let live = store.settings(bucket).await.unwrap();
    assert_eq!((live.versioning, live.acl), (true, Acl::PublicRead));
    assert_eq!(live.metadata, BTreeMap::from([("team".to_owned(), "a".to_owned())]));
    assert_eq!((live.cors[0].origins[0].as_str(), live.cors[0].max_age), ("https://a.org", Some(60)));
    let back = SettingsChange { acl: Some(Acl::Private), cors: Some(Vec::new()), ..SettingsChange::default() };
    store.change_settings(bucket, &back).await.unwrap();
    let live = store.settings(bucket).await.unwrap();
    assert_eq!((live.acl, live.cors.len()), (Acl::Private, 0));
}

async fn whole(store: Store, bucket: &str) {
    let tag = [("course".to_owned(), "mlops".to_owned())];
    store.destroy_bucket(bucket, &|_| ()).await.unwrap();
    store.create_bucket(bucket, &tag).await.unwrap();
    assert_eq!(store.create_bucket(bucket, &tag).await.unwrap_err().kind(), ObjectErrorKind::AlreadyYours);
    objects(&store, bucket).await;
    uploads(&store, bucket).await;
    settings(&store, bucket).await;
    for _ in 0..2 {
        store.put(bucket, "twice", &"x".into(), &PutOptions::default()).await.unwrap();
    }
    store.delete(bucket, &[Victim::object("twice")], 1, &|_| ()).await.unwrap();
    assert_eq!(store.delete_bucket(bucket).await.unwrap_err().kind(), ObjectErrorKind::NotEmpty);
    let other = s3("two").create_bucket(bucket, &[]).await.unwrap_err();
    assert_eq!(other.kind(), ObjectErrorKind::Taken, "{other:?}");
    let gone = store.destroy_bucket(bucket, &|_| ()).await.unwrap();
    // By Swift an unfinished upload is objects of a bucket that goes along.
    assert!(gone.objects + gone.uploads >= 5, "{gone:?}");
    assert!(store.has_bucket(bucket).await.unwrap_err().is_not_found());
    let names: Vec<_> = store.buckets().await.unwrap().into_iter().map(|bucket| bucket.name).collect();
    assert!(names.iter().all(|name| !name.starts_with(bucket)), "{names:?}");
}

#[tokio::test]
#[ignore = "needs a gateway, see the module"]
async fn by_s3() {
    whole(s3("one"), "anole-by-s3").await;
}

#[tokio::test]
#[ignore = "needs a gateway, see the module"]
async fn by_swift() {
    whole(swift().await, "anole-by-swift").await;
    let name = "anole-two";
    s3("two").create_bucket(name, &[]).await.unwrap();
    let other = swift().await.create_bucket(name, &[]).await.unwrap_err();
    s3("two").delete_bucket(name).await.unwrap();
    assert_eq!(other.kind(), ObjectErrorKind::Taken, "{other:?}");
}

#[tokio::test]
#[ignore = "needs a gateway, see the module"]
async fn wrong_keys_are_told_at_once() {
    let config = S3Config {
        endpoint: gateway().parse().unwrap(),
        region: "us-east-1".into(),
        access_key: "ONEKEY".into(),
        secret_key: "wrong".to_owned().into(),
        session_token: None,
        trusted: std::env::var("ANOLE_TEST_GATEWAY_CA").ok().map(|path| std::fs::read(path).unwrap()),
    };
    let started = std::time::Instant::now();
    let error = Store::s3(&config).unwrap().buckets().await.unwrap_err();
    assert_eq!(error.kind(), ObjectErrorKind::Credentials, "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}
