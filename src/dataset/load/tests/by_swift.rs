//! Loads by Swift's API into the embedded cloud, with something in between that is slow, refuses, and says what it is told.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use super::*;
use crate::cloud::Transport;
use crate::cloud::config::{Auth, Domain, Scope, User};
use crate::embedded::{self, ClockMode, Cloud, Guests, Profile};
use crate::object::{Keys, RetryPolicy};

/// What lies between.
#[derive(Default)]
struct Between {
    /// Whether every third look at an object is refused.
    busy: AtomicBool,
    /// Whether the bucket says that it keeps versions: the embedded one has none by Swift.
    versions: AtomicBool,
    /// Whether objects do not say of which upload they are: somebody wrote other metadata.
    nameless: AtomicBool,
    /// How many objects were looked at.
    looks: AtomicU64,
    /// How many looks were under way at a time at most.
    most: AtomicU64,
    under_way: AtomicU64,
}

async fn pass(State(between): State<Arc<Between>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if request.method() != Method::HEAD || !path.contains("/bkt/") {
        let is_bucket = request.method() == Method::HEAD && path.ends_with("/bkt");
        let mut answer = next.run(request).await;
        if is_bucket && between.versions.load(Ordering::SeqCst) {
            answer.headers_mut().insert("x-versions-location", HeaderValue::from_static("bkt_versions"));
        }
        return answer;
    }
    let under_way = between.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    between.most.fetch_max(under_way, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let count = between.looks.fetch_add(1, Ordering::SeqCst);
    let refused = between.busy.load(Ordering::SeqCst) && count % 3 == 2;
    let mut answer = if refused { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { next.run(request).await };
    if between.nameless.load(Ordering::SeqCst) {
        answer.headers_mut().remove("x-object-meta-anole-upload");
    }
    between.under_way.fetch_sub(1, Ordering::SeqCst);
    answer
}

/// A store with the bucket `bkt`.
async fn served() -> (tempfile::TempDir, Arc<Between>, Store) {
    let folder = tempfile::tempdir().unwrap();
    let options = embedded::Options {
        profile: Profile::ChameleonChi,
        clock: ClockMode::Real { scale: 0.0 },
        guests: Guests::None,
    };
    let cloud = Cloud::open(folder.path(), options).unwrap();
    let between = Arc::<Between>::default();
    let router = cloud.router().layer(from_fn_with_state(between.clone(), pass));
    let domain = || Domain::Name("Default".to_owned());
    let auth = Auth::Password { user: User::Name("demo".to_owned(), domain()), password: "demo".to_owned().into() };
    let scope = Scope::ProjectName("CHI-embedded".to_owned(), domain());
    let config =
        CloudConfig::new("a test".to_owned(), "http://embedded.invalid/identity/v3".parse().unwrap(), auth, scope);
    let session = Session::connect(config, Transport::InProcess(router), SessionOptions::default()).await.unwrap();
    let policy = RetryPolicy { first_wait: Duration::ZERO, longest_wait: Duration::ZERO, tries: 20 };
    let store = Store::swift(&session).unwrap().with_retries(policy);
    store.create_bucket("bkt", &[]).await.unwrap();
    (folder, between, store)
}

fn place(store: &Store) -> Place {
    Place { store: store.clone(), bucket: "bkt".into(), prefix: "p".into() }
}

async fn load_all(store: &Store, objects: &[Object]) -> Report {
    load(&place(store), objects, &empty(), options(), Arc::new(Unwatched)).await.unwrap()
}

/// An upload of one part.
async fn begun(store: &Store, key: &str) -> Upload {
    let upload = store.begin("bkt", key, &PutOptions::default()).await.unwrap();
    let sum = store.sum(b"part");
    store.put_part(&upload, 1, &"part".into(), sum).await.unwrap();
    upload
}

async fn parts_of(store: &Store, prefix: &str) -> usize {
    let keys = Keys { prefix: prefix.into(), ..Keys::default() };
    store.list("bkt_segments", &keys).await.unwrap().len()
}

#[tokio::test]
async fn large_objects_are_looked_at_side_by_side_and_each_again_where_that_fails() {
    let (_folder, between, store) = served().await;
    for number in 0..40 {
        let upload = begun(&store, &format!("p/{number:02}")).await;
        let parts = store.parts(&upload).await.unwrap();
        store.complete(&upload, &parts, &PutOptions::default()).await.unwrap();
    }
    let open = begun(&store, "p/07").await;
    let again = begun(&store, "p/open").await;
    let unfinished = async || {
        let found = store.uploads("bkt", "p/", &|_| true).await.unwrap();
        found.into_iter().map(|upload| upload.id).collect::<BTreeSet<_>>()
    };
    let both = BTreeSet::from([open.id, again.id]);
    assert_eq!(unfinished().await, both);
    assert_eq!(between.looks.swap(0, Ordering::SeqCst), 41);
    let most = between.most.load(Ordering::SeqCst);
    assert!(most >= 4, "{most} at a time");
    between.busy.store(true, Ordering::SeqCst);
    assert_eq!(unfinished().await, both);
    between.busy.store(false, Ordering::SeqCst);
    between.looks.store(0, Ordering::SeqCst);
    let some = store.uploads("bkt", "p/", &|upload| upload.key == "p/open").await.unwrap();
    assert_eq!((some.len(), between.looks.load(Ordering::SeqCst)), (1, 1), "no look for what is not asked for");
}

#[tokio::test]
async fn parts_of_an_object_that_does_not_say_which_stay() {
    let (_folder, between, store) = served().await;
    load_all(&store, &[large("one", 2, 1)]).await;
    between.nameless.store(true, Ordering::SeqCst);
    let report = load_all(&store, &[large("one", 2, 1), wanted("small", b"small".to_vec())]).await;
    assert_eq!((report.sent, report.aborted), (1, 0));
    assert_eq!(parts_of(&store, "p/one/").await, 3);
}

#[tokio::test]
async fn parts_of_kept_versions_stay() {
    let (_folder, between, store) = served().await;
    between.versions.store(true, Ordering::SeqCst);
    load_all(&store, &[large("one", 2, 1)]).await;
    assert_eq!(load_all(&store, &[large("one", 2, 2)]).await.aborted, 0);
    assert_eq!(parts_of(&store, "p/one/").await, 6, "a version may be made of the first three");
    between.versions.store(false, Ordering::SeqCst);
    load_all(&store, &[large("one", 2, 3)]).await;
    assert_eq!(parts_of(&store, "p/one/").await, 3);
    // No more are kept, and those that were are there still.
    store.create_bucket("bkt_versions", &[]).await.unwrap();
    store.put("bkt_versions", "005p/one/1", &"x".into(), &PutOptions::default()).await.unwrap();
    assert_eq!(load_all(&store, &[large("one", 2, 4)]).await.aborted, 0);
    assert_eq!(parts_of(&store, "p/one/").await, 6);
}

#[tokio::test]
async fn a_dataset_that_goes_takes_the_parts_of_its_large_objects_along() {
    let (_folder, _between, store) = served().await;
    load_all(&store, &[large("one", 2, 1), wanted("small", b"small".to_vec())]).await;
    begun(&store, "p/other").await;
    assert_eq!(unload(&place(&store)).await.unwrap(), 2);
    assert_eq!(store.list("bkt", &Keys::default()).await.unwrap(), []);
    assert_eq!((parts_of(&store, "").await, parts_of(&store, "p/other/").await), (1, 1), "what is not its own stays");
}

#[tokio::test]
async fn a_store_seen_through_two_apis_is_one() {
    let (_folder, _between, store) = served().await;
    let by_s3 = |endpoint: &str| {
        let config = crate::object::S3Config {
            endpoint: endpoint.parse().unwrap(),
            region: "us-east-1".into(),
            access_key: "KEY".into(),
            secret_key: "secret".to_owned().into(),
            session_token: None,
            trusted: None,
        };
        Store::s3(&config).unwrap()
    };
    for (endpoint, same) in [
        ("http://embedded.invalid", true),
        ("https://embedded.invalid:7480", true),
        ("http://other.invalid", false),
        ("http://[::1]:80", false),
    ] {
        let other = by_s3(endpoint);
        assert_eq!((store.may_be_same(&other), other.may_be_same(&store)), (same, same), "{endpoint}");
        assert!(!store.is_same(&other), "no copy is asked for from one API to the other");
    }
    let (one, other) = (by_s3("http://h:1"), by_s3("http://h:2"));
    assert!(one.may_be_same(&one) && !one.may_be_same(&other), "two services of one host");
}

#[tokio::test]
async fn a_source_is_known_through_another_api() {
    let (folder, _between, store) = served().await;
    store.put("bkt", "src/a", &"a".into(), &PutOptions::default()).await.unwrap();
    let keys = serde_json::json!({ "endpoint": "http://embedded.invalid", "region": "us-east-1", "access_key": "KEY",
        "secret_key": "secret" });
    let from = serde_json::json!({ "bucket": { "store": keys, "bucket": "bkt", "prefix": "src" } });
    let load = serde_json::json!({ "bucket": "bkt", "prefix": "", "transfers": 4, "delete_extra": true });
    let delivery = serde_json::json!({ "job": { "sources": [{ "from": from }] }, "staging": folder.path().join("s"),
        "load": load });
    let delivery: crate::dataset::delivery::Delivery = serde_json::from_value(delivery).unwrap();
    let watch: Arc<dyn Watch> = Arc::new(Unwatched);
    let refused = crate::dataset::delivery::deliver(&delivery, &store, &watch).await.unwrap_err().to_string();
    assert!(refused.contains("is the source, and the load goes to"), "{refused}");
    assert_eq!(store.list("bkt", &Keys::default()).await.unwrap().len(), 1);
}
