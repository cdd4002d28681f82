//! Sources in buckets: read from there, or copied by the store itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{data, job, quiet, texts};
use crate::dataset::delivery::{self, Delivered, Delivery, DeliveryError};
use crate::dataset::load::{self, Options, Place};
use crate::dataset::{
    Content, DatasetError, ErrorKind, Job, Manifest, Object, Prepared, Progress, Sha256, Staging, Stores, Watch,
    prepare_from, source,
};
use crate::object::Store;
use crate::object::tests::fake::{Fake, Kept};

fn put(fake: &Fake, key: &str, content: &[u8]) {
    use md5::Digest as _;
    let etag = crate::hex::encode(&md5::Md5::digest(content));
    let kept = Kept { content: content.to_vec().into(), etag, metadata: BTreeMap::new() };
    fake.world.lock().unwrap().objects.insert(key.to_owned(), kept);
}

fn remove(fake: &Fake, key: &str) {
    fake.world.lock().unwrap().objects.remove(key);
}

/// Pictures below `src`, as anybody may have put them there.
fn some(fake: &Fake, count: u32) {
    (0..count).for_each(|number| {
        put(fake, &format!("src/{}_{number}.jpg", number % 3), format!("picture {number}").as_bytes())
    });
}

fn from_bucket(prefix: &str) -> Value {
    json!([{ "from": { "bucket": { "bucket": "b", "prefix": prefix } } }])
}

fn class_folders() -> Value {
    json!([{ "class_folders": { "pattern": r"^(\d+)_", "name": "class_{1}" } }])
}

async fn deliver_to(store: &Store, job: Value, staging: &Path, prefix: &str) -> Result<Delivered, DeliveryError> {
    let load = json!({ "bucket": "b", "prefix": prefix, "transfers": 4 });
    let text = json!({ "job": job, "staging": staging, "load": load });
    let delivery: Delivery = serde_json::from_value(text).unwrap();
    delivery::deliver(&delivery, store, &quiet()).await
}

async fn prepared(job: &Job, store: &Store, staging: &Path, watch: &Arc<dyn Watch>) -> Result<Prepared, DatasetError> {
    let stores = Stores::default().with("", store.clone());
    let staging = Arc::new(Staging::open(staging)?);
    prepare_from(job, &staging, &stores, watch).await
}

async fn objects(job: &Job, store: &Store, staging: &Path) -> Result<Vec<Object>, DatasetError> {
    let (prepared, watch) = (prepared(job, store, staging, &quiet()).await?, quiet());
    tokio::task::spawn_blocking(move || prepared.wanted(&watch)).await.unwrap()
}

/// That an object is there below a prefix, whole, with its SHA-256.
fn assert_there(fake: &Fake, key: &str, content: &str) {
    let world = fake.world.lock().unwrap();
    let there = &world.objects[key];
    assert_eq!(String::from_utf8_lossy(&there.content), content, "{key}");
    assert_eq!(there.metadata["sha256"], Sha256::of(content.as_bytes()).to_string(), "{key}");
}

fn reads(fake: &Fake) -> Vec<String> {
    fake.log().into_iter().filter(|line| line.starts_with("GET src/") && !line.contains(".anole")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_copies_what_it_has_and_no_byte_of_a_dataset_is_read() {
    let (fake, store) = Fake::serve().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    (0..30)
        .for_each(|n| std::fs::write(folder.path().join(format!("data/{}_{n}.jpg", n % 3)), format!("{n}")).unwrap());
    let path = json!({ "sources": [{ "from": { "path": folder.path().join("data") } }] });
    deliver_to(&store, path, &folder.path().join("first"), "src").await.unwrap();
    fake.log();
    let staging = folder.path().join("second");
    let this = json!({ "sources": from_bucket("src"), "transform": class_folders() });
    let report = deliver_to(&store, this.clone(), &staging, "dst").await.unwrap().report;
    assert_eq!((report.wanted, report.copied, report.sent, report.sent_bytes), (30, 30, 0, 0));
    assert_eq!(reads(&fake), Vec::<String>::new());
    assert_there(&fake, "dst/class_1/1_7.jpg", "7");
    let manifest = Manifest::parse(&fake.world.lock().unwrap().objects["dst/.anole/manifest.json"].content).unwrap();
    assert_eq!(manifest.objects.len(), 30);
    // Again: nothing is to be done; and a change of one is one copy.
    let again = deliver_to(&store, this.clone(), &staging, "dst").await.unwrap();
    assert_eq!((again.report.copied, again.report.sent), (0, 0));
    std::fs::write(folder.path().join("data/1_7.jpg"), "another").unwrap();
    let path = json!({ "sources": [{ "from": { "path": folder.path().join("data") } }] });
    deliver_to(&store, path, &folder.path().join("first"), "src").await.unwrap();
    let job = job(this.clone());
    let stores = Stores::default().with("", store.clone());
    let now = source::fingerprint_from(&job.sources[0], &stores).await.unwrap();
    assert!(!again.recorded.is_of(&[now]));
    let report = deliver_to(&store, this, &staging, "dst").await.unwrap().report;
    assert_eq!((report.copied, report.sent), (1, 0));
    assert_there(&fake, "dst/class_1/1_7.jpg", "another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_does_not_copy_goes_through_here() {
    let (fake, store) = Fake::serve().await;
    let folder = tempfile::tempdir().unwrap();
    some(&fake, 20);
    fake.faults.no_copies.store(1, Ordering::SeqCst);
    let this = json!({ "sources": from_bucket("src") });
    let report = deliver_to(&store, this, &folder.path().join("staging"), "dst").await.unwrap().report;
    assert_eq!((report.copied, report.sent), (0, 20));
    assert!(!fake.log().iter().any(|line| line.starts_with("COPY")));
    assert_there(&fake, "dst/0_3.jpg", "picture 3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_objects_are_copied_in_parts() {
    let (fake, store) = Fake::serve().await;
    let folder = tempfile::tempdir().unwrap();
    let large = data::picture(5, 5 << 20);
    put(&fake, "src/large", &large);
    some(&fake, 3);
    let job = job(json!({ "sources": from_bucket("src") }));
    let prepared = prepared(&job, &store, &folder.path().join("staging"), &quiet()).await.unwrap();
    let (of, watch) = (prepared.clone(), quiet());
    let wanted = tokio::task::spawn_blocking(move || of.wanted(&watch)).await.unwrap().unwrap();
    let place = Place { store: store.clone(), bucket: "b".into(), prefix: "dst".into() };
    let options = Options { copy_whole: 1 << 20, threshold: 1 << 20, ..Options::default() };
    fake.log();
    let report = load::load(&place, &wanted, &prepared.manifest(Vec::new()), options, quiet()).await.unwrap();
    assert_eq!((report.copied, report.sent), (4, 0));
    assert_eq!(reads(&fake), Vec::<String>::new());
    let world = fake.world.lock().unwrap();
    assert_eq!(world.objects["dst/large"].content, large);
    assert_eq!(world.objects["dst/large"].metadata["sha256"], Sha256::of(&large).to_string());
    assert!(world.objects["dst/large"].etag.contains('-') && world.uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_changes_while_it_is_copied_leaves_nothing_of_it() {
    let (fake, store) = Fake::serve().await;
    let folder = tempfile::tempdir().unwrap();
    some(&fake, 3);
    let job = job(json!({ "sources": from_bucket("src") }));
    let prepared = prepared(&job, &store, &folder.path().join("staging"), &quiet()).await.unwrap();
    let (of, watch) = (prepared.clone(), quiet());
    let wanted = tokio::task::spawn_blocking(move || of.wanted(&watch)).await.unwrap().unwrap();
    put(&fake, "src/1_1.jpg", b"changed 1");
    let place = Place { store: store.clone(), bucket: "b".into(), prefix: "dst".into() };
    let loaded = load::load(&place, &wanted, &prepared.manifest(Vec::new()), Options::default(), quiet()).await;
    let error = loaded.unwrap_err().to_string();
    assert!(error.contains("`dst/1_1.jpg`") && error.contains("not what it was"), "{error}");
    let keys = fake.keys();
    assert!(!keys.contains(&"dst/1_1.jpg".to_owned()) && !keys.contains(&"dst/.anole/manifest.json".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_dataset_is_refused() {
    let (fake, store) = Fake::serve().await;
    let folder = tempfile::tempdir().unwrap();
    some(&fake, 5);
    let this = job(json!({ "sources": from_bucket("src") }));
    let fails = async || objects(&this, &store, &folder.path().join("staging")).await.unwrap_err();
    put(&fake, "src/.anole/previous.json", b"{}");
    let error = fails().await;
    assert!(error.kind == ErrorKind::Source && error.message.contains("half a dataset"), "{error}");
    remove(&fake, "src/.anole/previous.json");
    // Of a dataset below it too.
    put(&fake, "src/sub/.anole/previous.json", b"{}");
    let error = fails().await;
    assert!(error.message.contains("half a dataset: the load into `sub/` is not over"), "{error}");
    put(&fake, "src/sub/.anole/manifest.json", b"{}");
    assert_eq!(objects(&this, &store, &folder.path().join("staging")).await.unwrap().len(), 5);
    remove(&fake, "src/sub/.anole/previous.json");
    remove(&fake, "src/sub/.anole/manifest.json");
    assert_eq!(objects(&this, &store, &folder.path().join("staging")).await.unwrap().len(), 5);
    // A load of `dst` whose object somebody took away.
    deliver_to(&store, json!({ "sources": from_bucket("src") }), &folder.path().join("load"), "dst").await.unwrap();
    remove(&fake, "dst/2_2.jpg");
    let other = job(json!({ "sources": from_bucket("/dst/") }));
    let error = objects(&other, &store, &folder.path().join("staging")).await.unwrap_err();
    assert!(error.message.contains("b/dst is not whole: its manifest lists `2_2.jpg`"), "{error}");
    let none = job(json!({ "sources": from_bucket("nowhere") }));
    let error = objects(&none, &store, &folder.path().join("staging")).await.unwrap_err();
    assert!(error.message.contains("b/nowhere: nothing is there"), "{error}");
    let within = json!({ "sources": from_bucket("src") });
    let error = deliver_to(&store, within, &folder.path().join("load"), "src/more").await.unwrap_err().to_string();
    assert!(error.contains("is the source, and the load goes to `src/more/`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_read_on_where_a_connection_breaks_and_their_digests_remembered() {
    let (fake, store) = Fake::serve().await;
    let folder = tempfile::tempdir().unwrap();
    some(&fake, 6);
    put(&fake, "src/sub/.anole/manifest.json", b"another dataset's");
    put(&fake, "src/folder/", b"");
    put(&fake, "src/large", &data::picture(1, 500_000));
    fake.faults.half_reads.store(8, Ordering::SeqCst);
    let this = job(json!({ "sources": from_bucket("src") }));
    let staging = folder.path().join("staging");
    let found = objects(&this, &store, &staging).await.unwrap();
    assert_eq!(found.len(), 7);
    let digests: Vec<_> = found.iter().map(|one| one.sha256).collect();
    assert!(reads(&fake).iter().any(|line| line.contains('@')), "some were read on");
    let again = objects(&this, &store, &staging).await.unwrap();
    assert_eq!(digests, again.iter().map(|one| one.sha256).collect::<Vec<_>>());
    assert_eq!(reads(&fake), Vec::<String>::new());
    let contents = tokio::task::spawn_blocking(move || (texts(&again), again));
    let (contents, again) = contents.await.unwrap();
    assert_eq!(contents[0], ("0_0.jpg".into(), "picture 0".into()));
    put(&fake, "src/0_0.jpg", b"picture X");
    let read = tokio::task::spawn_blocking(move || std::io::copy(&mut again[0].open(0).unwrap(), &mut std::io::sink()));
    let error = read.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("b/src/0_0.jpg at 127.0.0.1") && error.contains("not what it was"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_are_made_of_objects_without_a_copy_of_them() {
    let (fake, store) = Fake::serve().await;
    let folder = tempfile::tempdir().unwrap();
    some(&fake, 30);
    let shards = json!([{ "webdataset": { "samples": 10, "label": { "pattern": r"(\d+)_" } } }]);
    let this = json!({ "sources": from_bucket("src"), "transform": shards });
    let report = deliver_to(&store, this, &folder.path().join("staging"), "dst").await.unwrap().report;
    assert_eq!((report.sent, report.copied), (3, 0));
    let shard = fake.world.lock().unwrap().objects["dst/shard-000000.tar"].content.clone();
    let names = tar::Archive::new(shard.as_ref()).entries().unwrap().count();
    assert_eq!(names, 20);
}

/// Stops after so many bytes.
struct Stops(AtomicU64);

impl Watch for Stops {
    fn tell(&self, progress: Progress) {
        if let Progress::Bytes(bytes) = progress {
            self.0.fetch_sub(bytes.min(self.0.load(Ordering::SeqCst)), Ordering::SeqCst);
        }
    }

    fn stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_fetched_carried_on_and_unpacked() {
    let (fake, store) = Fake::serve().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Food-11.zip");
    data::food11(&path, 200, 40_000).unwrap();
    put(&fake, "raw/Food-11.zip", &std::fs::read(&path).unwrap());
    let this = job(json!({ "sources": from_bucket("raw/Food-11.zip") }));
    let staging = folder.path().join("staging");
    let stops: Arc<dyn Watch> = Arc::new(Stops(AtomicU64::new(1_200_000)));
    let stopped = prepared(&this, &store, &staging, &stops).await.unwrap_err();
    assert_eq!(stopped.kind, ErrorKind::Stopped);
    fake.log();
    let found = objects(&this, &store, &staging).await.unwrap();
    assert!(fake.log().iter().any(|line| line.starts_with("GET raw/Food-11.zip@")), "carried on");
    let (name, seed) = data::pictures(200).swap_remove(0);
    let one = found.iter().find(|one| one.key == name).unwrap();
    assert_eq!(one.sha256, Sha256::of(&data::picture(seed, 40_000)));
    assert!(matches!(one.content, Content::Member(..)), "it is read in place");
    objects(&this, &store, &staging).await.unwrap();
    assert!(!fake.log().iter().any(|line| line.starts_with("GET raw/Food-11.zip@")));
    // One that is not to be unpacked, and one that is none, stay where they are.
    let packed = job(json!({ "sources": from_bucket("raw/Food-11.zip"), "extract": "none" }));
    let found = objects(&packed, &store, &staging).await.unwrap();
    assert!(found.len() == 1 && found[0].key == "Food-11.zip" && found[0].content.stored().is_some());
    put(&fake, "raw/table.csv", b"a,b");
    let table = job(json!({ "sources": from_bucket("raw/table.csv") }));
    let found = objects(&table, &store, &staging).await.unwrap();
    assert!(found.len() == 1 && found[0].key == "table.csv" && found[0].content.stored().is_some());
    put(&fake, "raw/page.zip", b"<html>");
    let page = job(json!({ "sources": from_bucket("raw/page.zip") }));
    assert_eq!(objects(&page, &store, &staging).await.unwrap_err().kind, ErrorKind::Archive);
}

/// Against a real gateway: see `object::tests::gateway`. Copied by the store, small and in parts; sent to another user's
/// store; and what was copied is what was there.
async fn on_a_gateway(store: Store, target: Store, names: (&str, &str), same: bool) {
    let folder = tempfile::tempdir().unwrap();
    for (store, bucket) in [(&store, names.0), (&target, names.1)] {
        store.destroy_bucket(bucket, &|_| ()).await.unwrap();
        store.create_bucket(bucket, &[]).await.unwrap();
    }
    let at = folder.path().join("data");
    std::fs::create_dir(&at).unwrap();
    (0..300).for_each(|n| std::fs::write(at.join(format!("{}_{n} +ü.jpg", n % 3)), format!("picture {n}")).unwrap());
    std::fs::write(at.join("9_large.jpg"), data::picture(7, 17 << 20)).unwrap();
    let run = async |value: Value, staging: &str, target: &Store, bucket: &str| {
        let staging = Arc::new(Staging::open(&folder.path().join(staging)).unwrap());
        let stores = Stores::default().with("one", store.clone());
        let prepared = prepare_from(&job(value), &staging, &stores, &quiet()).await.unwrap();
        let (of, watch) = (prepared.clone(), quiet());
        let wanted = tokio::task::spawn_blocking(move || of.wanted(&watch)).await.unwrap().unwrap();
        let place = Place { store: target.clone(), bucket: bucket.into(), prefix: "p".into() };
        // By S3 the large one is copied in parts.
        let copy_whole = if store.lists_whole() { 10 << 20 } else { 1 << 30 };
        let options =
            Options { threshold: 6 << 20, part_size: 5 << 20, copy_whole, verify: true, ..Options::default() };
        let begun = std::time::Instant::now();
        let report = load::load(&place, &wanted, &prepared.manifest(Vec::new()), options, quiet()).await.unwrap();
        let text = format!(
            "{staging:?} {bucket} {report:?} {:.2} s\n",
            begun.elapsed().as_secs_f64(),
            staging = staging.root()
        );
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
        (report, wanted)
    };
    let (report, first) = run(json!({ "sources": [{ "from": { "path": at } }] }), "one", &store, names.0).await;
    assert_eq!(report.sent, 301);
    let from = json!([{ "from": { "bucket": { "site": "one", "bucket": names.0, "prefix": "p" } } }]);
    let before = store.request_count();
    let (report, second) = run(json!({ "sources": from, "transform": class_folders() }), "two", &target, names.1).await;
    // By Swift, Ceph copies no object that is in parts: that one is sent.
    let expected = match (same, store.lists_whole()) {
        (true, true) => (301, 0),
        (true, false) => (300, 1),
        (false, _) => (0, 301),
    };
    assert_eq!((report.copied, report.sent), expected);
    let digests = |found: &[Object]| found.iter().map(|one| one.sha256).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(digests(&first), digests(&second));
    assert!(second.iter().any(|one| one.key == "class_1/1_1 +ü.jpg"));
    std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("{} requests\n", store.request_count() - before).as_bytes(),
    )
    .unwrap();
    let (report, _) = run(json!({ "sources": from, "transform": class_folders() }), "two", &target, names.1).await;
    assert_eq!((report.copied, report.sent), (0, 0));
    for (store, bucket) in [(&store, names.0), (&target, names.1)] {
        store.destroy_bucket(bucket, &|_| ()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a gateway, see object::tests::gateway"]
async fn on_a_gateway_by_s3() {
    let store = crate::object::tests::gateway::s3("one");
    on_a_gateway(store.clone(), store, ("sources-s3-one", "sources-s3-two"), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a gateway, see object::tests::gateway"]
async fn on_a_gateway_by_swift() {
    let store = crate::object::tests::gateway::swift().await;
    on_a_gateway(store.clone(), store, ("sources-swift-one", "sources-swift-two"), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a gateway, see object::tests::gateway"]
async fn on_a_gateway_between_two_users() {
    let (one, two) = (crate::object::tests::gateway::s3("one"), crate::object::tests::gateway::s3("two"));
    on_a_gateway(one, two, ("sources-of-one", "sources-of-two"), false).await;
}
