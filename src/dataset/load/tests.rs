//! Loads into a store of a few lines: what is sent, in which order, and what a reader sees meanwhile.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::cloud::config::{CloudConfig, Environment};
use crate::cloud::{Session, SessionOptions};
use crate::dataset::{Content as Of, Open, Reader, Sha256, SourceSeen, manifest};
use crate::object::tests::fake::{Fake, Kept};
use crate::object::{Keys, ObjectErrorKind, Store};

mod ahead;
mod by_swift;

const MIB: u64 = 1 << 20;

struct Memory(Mutex<Vec<u8>>);

impl Open for Memory {
    fn open(&self, offset: u64) -> io::Result<Reader> {
        let bytes = self.0.lock().unwrap().clone();
        Ok(Box::new(Cursor::new(bytes[usize::try_from(offset).unwrap()..].to_vec())))
    }

    fn origin(&self) -> String {
        "memory".to_owned()
    }

    fn identity(&self) -> Option<String> {
        None
    }
}

fn memory(content: Vec<u8>) -> Of {
    Of::Other(Arc::new(Memory(Mutex::new(content))))
}

fn wanted(key: &str, content: Vec<u8>) -> Object {
    let (size, sha256) = (content.len() as u64, Sha256::of(&content));
    Object { key: key.into(), size, sha256, content: memory(content) }
}

fn some(count: u32) -> Vec<Object> {
    (0..count)
        .map(|number| wanted(&format!("o/{number:04}.jpg"), format!("content of {number}").into_bytes()))
        .collect()
}

fn large(key: &str, mib: u64, seed: u8) -> Object {
    let content = (0..mib * MIB + 17).map(|at| (at / 4099).to_le_bytes()[0] ^ seed).collect();
    wanted(key, content)
}

/// A manifest without objects.
pub(super) fn empty() -> Manifest {
    let transform = manifest::Transformed { steps: Vec::new(), sha256: Sha256::of(b"") };
    let source = vec![SourceSeen { what: "memory".into(), sha256: None, fingerprint: None }];
    Manifest { version: manifest::VERSION, source, transform, objects: Vec::new() }
}

/// Stops after so many bytes; and checks at each of them what a reader sees.
struct Stops {
    after: u64,
    bytes: AtomicU64,
}

impl Watch for Stops {
    fn tell(&self, progress: Progress) {
        if let Progress::Bytes(bytes) = progress {
            self.bytes.fetch_add(bytes, Ordering::SeqCst);
        }
    }

    fn stopped(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) >= self.after
    }
}

fn options() -> Options {
    Options { transfers: 4, threshold: MIB, part_size: MIB, memory: 4 * MIB, ..Options::default() }
}

async fn run(store: &Store, objects: &[Object], options: Options) -> Result<Report, LoadError> {
    until(store, objects, options, u64::MAX).await
}

async fn until(store: &Store, objects: &[Object], options: Options, bytes: u64) -> Result<Report, LoadError> {
    let place = Place { store: store.clone(), bucket: "b".into(), prefix: "p".into() };
    load(&place, objects, &empty(), options, Arc::new(Stops { after: bytes, bytes: AtomicU64::new(0) })).await
}

/// What the manifest says is there, and nothing else.
fn assert_whole(fake: &Fake, objects: &[Object]) {
    let world = fake.world.lock().unwrap();
    let manifest = Manifest::parse(&world.objects["p/.anole/manifest.json"].content).unwrap().objects;
    let listed: BTreeMap<_, _> = manifest.iter().map(|one| (one.key.as_str(), one)).collect();
    assert_eq!(listed.len(), objects.len());
    for object in objects {
        let kept = &world.objects[&format!("p/{}", object.key)];
        assert_eq!(
            (Sha256::of(&kept.content), kept.content.len() as u64),
            (object.sha256, object.size),
            "{}",
            object.key
        );
        assert_eq!(listed[object.key.as_str()].etag.as_ref(), Some(&kept.etag));
    }
    assert!(world.uploads.is_empty(), "unfinished uploads are left");
    assert!(!world.objects.contains_key("p/.anole/previous.json"));
}

fn has_manifest(fake: &Fake) -> bool {
    fake.world.lock().unwrap().objects.contains_key("p/.anole/manifest.json")
}

fn is_write(line: &&String) -> bool {
    ["PUT", "POST", "DELETE"].iter().any(|method| line.starts_with(method))
}

#[tokio::test]
async fn a_second_load_of_the_same_sends_nothing() {
    let (fake, store) = Fake::serve().await;
    let objects = some(2300);
    let report = run(&store, &objects, options()).await.unwrap();
    assert_eq!((report.wanted, report.sent), (2300, 2300));
    assert_whole(&fake, &objects);
    fake.log();
    assert_eq!(run(&store, &objects, options()).await.unwrap(), Report { wanted: 2300, ..Report::default() });
    let log = fake.log();
    assert_eq!(log.len(), 4, "three pages and the manifest: {log:?}");
    assert!(!log.iter().any(|line| is_write(&line)), "{log:?}");
}

#[tokio::test]
async fn a_load_costs_a_request_an_object_and_a_load_of_the_same_one_a_thousand() {
    let (fake, store) = Fake::serve().await;
    let mut objects = some(2300);
    objects.push(large("large", 3, 1));
    run(&store, &objects, options()).await.unwrap();
    // Small ones; a large one is begun, sent in four parts, completed and looked at; three pages, a manifest that is not
    // there, the mark that it is under way, unfinished uploads before and after, the manifest, and the mark's end.
    assert_eq!(store.request_count(), 2300 + (1 + 4 + 1 + 1) + 3 + 1 + 1 + 2 + 1 + 1);
    // A request that deletes tells each object.
    assert_eq!(fake.log().len(), 2316 + 1);
    run(&store, &objects, options()).await.unwrap();
    assert_eq!(fake.log().len(), 3 + 1);
    // One is changed: the manifest's copy and its end, the content, unfinished uploads, the new manifest, the copy's end.
    objects[5] = wanted(&objects[5].key.clone(), b"another".to_vec());
    let before = store.request_count();
    run(&store, &objects, options()).await.unwrap();
    assert_eq!(store.request_count() - before, (3 + 1) + 2 + 1 + 1 + 1 + 1, "{:?}", fake.log());
}

#[tokio::test]
async fn a_change_takes_the_manifest_away_first_and_writes_it_last() {
    let (fake, store) = Fake::serve().await;
    run(&store, &some(20), options()).await.unwrap();
    fake.log();
    let mut objects = some(18);
    objects[3] = wanted(&objects[3].key.clone(), b"another content".to_vec());
    objects.push(wanted("o/new", b"new".to_vec()));
    let report = run(&store, &objects, Options { delete_extra: true, ..options() }).await.unwrap();
    assert_eq!((report.sent, report.deleted), (2, 2));
    assert_whole(&fake, &objects);
    let log = fake.log();
    let at = |line: &str| log.iter().position(|one| one == line).unwrap_or_else(|| panic!("no {line} in {log:?}"));
    let (first, last) = (at("DELETE p/.anole/manifest.json"), at("PUT p/.anole/manifest.json"));
    assert!(at("PUT p/.anole/previous.json") < first);
    for line in ["PUT p/o/0003.jpg", "PUT p/o/new", "DELETE p/o/0018.jpg", "DELETE p/o/0019.jpg"] {
        assert!(first < at(line) && at(line) < last, "{line} in {log:?}");
    }
    assert!(at("PUT p/o/new") < at("DELETE p/o/0018.jpg") && at("PUT p/o/0003.jpg") < at("DELETE p/o/0018.jpg"));
}

#[tokio::test]
async fn an_interrupted_load_is_carried_on_and_never_looks_whole() {
    for stop in [1, 60, 200, 400] {
        let (fake, store) = Fake::serve().await;
        run(&store, &some(10), options()).await.unwrap();
        let objects: Vec<_> =
            some(60).into_iter().map(|one| wanted(&one.key, format!("x{}", one.key).into())).collect();
        let first = until(&store, &objects, options(), stop).await;
        assert!(matches!(first, Err(LoadError::Stopped)), "{first:?}");
        assert!(!has_manifest(&fake), "stopped after {stop} bytes");
        let there = fake.keys().iter().filter(|key| key.starts_with("p/o/")).count();
        let sent = fake.log().iter().filter(|line| line.starts_with("PUT p/o/")).count() as u64;
        let report = run(&store, &objects, options()).await.unwrap();
        assert_eq!(report.sent + sent - 10, 60, "after {stop} bytes, with {there} there");
        assert_whole(&fake, &objects);
    }
}

#[tokio::test]
async fn a_first_load_shows_that_it_is_under_way() {
    let (fake, store) = Fake::serve().await;
    until(&store, &some(60), options(), 60).await.unwrap_err();
    let place = Place { store: store.clone(), bucket: "b".into(), prefix: "p".into() };
    let audited = audit(&place, Reading::Tags).await.unwrap();
    assert!(audited.interrupted && audited.manifest.is_none());
    let mark = fake.world.lock().unwrap().objects["p/.anole/previous.json"].content.clone();
    assert_eq!(Manifest::parse(&mark).unwrap().objects, []);
    assert!(
        fake.log().iter().position(|line| line == "PUT p/.anole/previous.json").unwrap() <= 2,
        "before the objects"
    );
    // Stopped again, it is the same mark; and nothing is known to be the dataset's by it.
    until(&store, &some(60), options(), 60).await.unwrap_err();
    assert!(!fake.log().iter().any(|line| line == "PUT p/.anole/previous.json"));
    run(&store, &some(60), options()).await.unwrap();
    assert_whole(&fake, &some(60));
}

#[tokio::test]
async fn a_manifest_that_says_another_source_is_written_anew() {
    let (fake, store) = Fake::serve().await;
    let place = Place { store: store.clone(), bucket: "b".into(), prefix: "p".into() };
    run(&store, &some(3), options()).await.unwrap();
    let written = async |of: &Manifest| {
        fake.log();
        let report = load(&place, &some(3), of, options(), Arc::new(Unwatched)).await.unwrap();
        (report.sent, fake.log().contains(&"PUT p/.anole/manifest.json".to_owned()))
    };
    assert_eq!(written(&empty()).await, (0, false));
    let mut other = empty();
    other.source[0].what = "elsewhere".into();
    assert_eq!(written(&other).await, (0, true));
    let kept = fake.world.lock().unwrap().objects["p/.anole/manifest.json"].content.clone();
    let manifest = Manifest::parse(&kept).unwrap();
    assert_eq!((manifest.source, manifest.objects.len()), (other.source, 3));
}

#[tokio::test]
async fn a_large_object_that_no_list_has_yet_is_not_sent_again() {
    let (fake, store) = Fake::serve().await;
    let objects = [large("one", 3, 1), wanted("small", vec![1])];
    fake.log();
    run(&store, &objects, options()).await.unwrap();
    assert_eq!(
        fake.log().iter().filter(|line| *line == "HEAD p/one").count(),
        1,
        "once it was made: a first load has nothing to look at before"
    );
    fake.world.lock().unwrap().unlisted.insert("p/one".to_owned());
    assert_eq!(run(&store, &objects, options()).await.unwrap().sent, 0);
    // Interrupted; and gone, or another.
    until(&store, &[large("one", 3, 1), wanted("small", vec![2])], options(), 1).await.unwrap_err();
    assert_eq!(run(&store, &objects, options()).await.unwrap().sent, 1);
    fake.world.lock().unwrap().objects.remove("p/one");
    assert_eq!(run(&store, &objects, options()).await.unwrap().sent, 1);
    assert_eq!(run(&store, &[large("one", 3, 2), objects[1].clone()], options()).await.unwrap().sent, 1);
    fake.world.lock().unwrap().unlisted.clear();
    assert_eq!(fake.keys(), ["p/.anole/manifest.json", "p/one", "p/small"]);
}

#[tokio::test]
async fn parts_that_arrived_are_not_sent_again() {
    let (fake, store) = Fake::serve().await;
    let objects = [large("one", 6, 1), large("two", 6, 2)];
    let stopped = until(&store, &objects, Options { transfers: 2, ..options() }, 5 * MIB).await;
    assert!(matches!(stopped, Err(LoadError::Stopped)), "{stopped:?}");
    assert!(!has_manifest(&fake));
    // What was on its way when it stopped may arrive still.
    let parts = || fake.world.lock().unwrap().uploads.values().map(|(_, _, parts)| parts.len()).sum::<usize>();
    let mut there = usize::MAX;
    while there != parts() {
        there = parts();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    assert!(there >= 3, "{there} parts");
    fake.log();
    let report = run(&store, &objects, options()).await.unwrap();
    // What was on its way when the load stopped may have arrived since.
    let resumed = usize::try_from(report.resumed_parts).unwrap();
    assert!(resumed >= there, "{resumed} of {there}");
    assert_eq!(fake.log().iter().filter(|line| line.contains('#') && line.starts_with("PUT")).count(), 14 - resumed);
    assert_whole(&fake, &objects);
    fake.log();
    assert_eq!(run(&store, &objects, options()).await.unwrap().sent, 0);
    // Without a manifest the digest in the metadata says it.
    fake.world.lock().unwrap().objects.remove("p/.anole/manifest.json");
    assert_eq!(run(&store, &objects, options()).await.unwrap().sent, 0);
    assert_whole(&fake, &objects);
}

#[tokio::test]
async fn parts_of_another_content_are_replaced_and_other_uploads_given_up() {
    let (fake, store) = Fake::serve().await;
    until(&store, &[large("one", 6, 1)], options(), 3 * MIB).await.unwrap_err();
    let stranger = store.begin("b", "elsewhere", &PutOptions::default()).await.unwrap();
    fake.world.lock().unwrap().objects.insert("p/sub/.anole/manifest.json".into(), Kept::default());
    let neighbour = store.begin("b", "p/sub/theirs", &PutOptions::default()).await.unwrap();
    let gone = store.begin("b", "p/gone", &PutOptions::default()).await.unwrap();
    let objects = [large("one", 6, 9)];
    let report = run(&store, &objects, Options { delete_extra: true, ..options() }).await.unwrap();
    let world = fake.world.lock().unwrap();
    assert_eq!(Sha256::of(&world.objects["p/one"].content), objects[0].sha256);
    let left: BTreeSet<_> = world.uploads.keys().collect();
    assert_eq!(left, BTreeSet::from([&stranger.id, &neighbour.id]), "what is not this dataset's is left alone");
    assert!(report.aborted >= 1 && !left.contains(&gone.id), "{report:?}");
}

#[tokio::test]
async fn an_upload_begun_for_another_content_is_not_carried_on() {
    let content = |seed: u8, last: u8| {
        let mut content: Vec<u8> = (0..6 * MIB + 17).map(|at| (at / 4099).to_le_bytes()[0] ^ seed).collect();
        content.push(last);
        content
    };
    // Another from the first byte; and one that only the end tells, when the upload has its first parts already.
    for (seed, last) in [(9, 0), (1, 7)] {
        let (fake, store) = Fake::serve().await;
        let first = [wanted("one", content(1, 0))];
        until(&store, &first, options(), 3 * MIB).await.unwrap_err();
        let objects = [wanted("one", content(seed, last))];
        let report = run(&store, &objects, options()).await.unwrap();
        assert_eq!((report.sent, report.resumed_parts), (1, 0), "{seed}");
        assert_whole(&fake, &objects);
        let digest = |fake: &Fake| fake.world.lock().unwrap().objects["p/one"].metadata["sha256"].clone();
        assert_eq!(digest(&fake), objects[0].sha256.to_string());
        // The file is what it was first, and the manifest is lost.
        fake.world.lock().unwrap().objects.remove("p/.anole/manifest.json");
        assert_eq!(run(&store, &first, options()).await.unwrap().sent, 1);
        assert_whole(&fake, &first);
    }
}

#[tokio::test]
async fn what_an_object_was_just_made_of_is_not_given_up() {
    let (fake, store) = Fake::serve().await;
    fake.faults.stale_uploads.store(1, Ordering::SeqCst);
    let objects = [large("one", 3, 1), large("two", 2, 2)];
    let report = run(&store, &objects, options()).await.unwrap();
    assert_eq!(report.aborted, 0);
    assert!(!fake.log().iter().any(|line| line.starts_with("DELETE p/one") || line.starts_with("DELETE p/two")));
    assert_whole(&fake, &objects);
}

#[tokio::test]
async fn content_that_changed_since_its_digest_was_taken_is_not_there() {
    for size in [100, 3 * MIB] {
        let (fake, store) = Fake::serve().await;
        let mut objects = some(5);
        let content = vec![7; usize::try_from(size).unwrap()];
        let mut spoiled = content.clone();
        spoiled[50] = 8;
        let sha256 = Sha256::of(&content);
        objects.push(Object { key: "bad".into(), size, sha256, content: memory(spoiled) });
        let error = run(&store, &objects, options()).await.unwrap_err().to_string();
        assert!(error.contains("`p/bad`") && error.contains("not what it was"), "{error}");
        let keys = fake.keys();
        assert!(!keys.contains(&"p/bad".to_owned()) && !has_manifest(&fake), "{keys:?}");
        assert!(fake.world.lock().unwrap().uploads.is_empty());
    }
}

#[tokio::test]
async fn a_store_that_is_slow_and_cuts_connections_gets_it_all() {
    let (fake, store) = Fake::serve().await;
    fake.faults.slow_down.store(5, Ordering::SeqCst);
    fake.faults.cut.store(7, Ordering::SeqCst);
    let mut objects = some(150);
    objects.push(large("large", 5, 3));
    run(&store, &objects, Options { verify: true, ..options() }).await.unwrap();
    assert_whole(&fake, &objects);
}

#[tokio::test]
async fn keys_that_end_in_the_middle_leave_no_manifest_and_name_the_object() {
    let (fake, store) = Fake::serve().await;
    run(&store, &some(5), options()).await.unwrap();
    fake.faults.expire_after.store(60, Ordering::SeqCst);
    let error = run(&store, &some(300), options()).await.unwrap_err();
    let LoadError::Object { key, source, .. } = &error else { panic!("{error:?}") };
    assert!(key.starts_with("p/o/") && source.kind() == ObjectErrorKind::Credentials, "{error}");
    assert!(!has_manifest(&fake));
    fake.faults.expire_after.store(0, Ordering::SeqCst);
    run(&store, &some(300), options()).await.unwrap();
    assert_whole(&fake, &some(300));
}

#[tokio::test]
async fn a_store_that_keeps_something_else_is_found_out() {
    let (fake, store) = Fake::serve().await;
    fake.faults.spoil.store(1, Ordering::SeqCst);
    for object in [some(1).remove(0), large("o/large", 3, 1)] {
        let error = run(&store, std::slice::from_ref(&object), options()).await.unwrap_err().to_string();
        assert!(error.contains(&object.key) && error.contains("arrived as something else"), "{error}");
        assert!(!has_manifest(&fake));
    }
}

#[tokio::test]
async fn extra_objects_stay_unless_told_and_others_always() {
    let (fake, store) = Fake::serve().await;
    let strangers = ["a", "p", "pq/x", "p/sub/.anole/manifest.json", "p/sub/y", "z"];
    for key in strangers {
        fake.world.lock().unwrap().objects.insert(key.into(), Kept::default());
    }
    fake.world.lock().unwrap().objects.insert("p/old".into(), Kept::default());
    run(&store, &some(2), options()).await.unwrap();
    assert!(fake.keys().contains(&"p/old".to_owned()));
    let report = run(&store, &some(2), Options { delete_extra: true, ..options() }).await.unwrap();
    assert_eq!((report.deleted, report.sent), (1, 0));
    let keys = fake.keys();
    assert!(strangers.iter().all(|key| keys.contains(&(*key).to_owned())), "{keys:?}");
    assert!(!keys.contains(&"p/old".to_owned()) && has_manifest(&fake));
}

#[tokio::test]
async fn reading_back_finds_damage_and_mends_it() {
    let (fake, store) = Fake::serve().await;
    let objects = some(4);
    run(&store, &objects, options()).await.unwrap();
    // Damage below the store's own knowledge: the entity tag is the same.
    fake.world.lock().unwrap().objects.get_mut("p/o/0002.jpg").unwrap().content = "content of x".into();
    assert_eq!(run(&store, &objects, options()).await.unwrap().sent, 0);
    let report = run(&store, &objects, Options { verify: true, ..options() }).await.unwrap();
    assert_eq!(report.sent, 1);
    assert_whole(&fake, &objects);
}

#[tokio::test]
async fn an_audit_counts_what_differs_and_changes_nothing() {
    let (fake, store) = Fake::serve().await;
    let mut objects = some(10);
    objects.push(large("large", 3, 1));
    run(&store, &objects, options()).await.unwrap();
    let place = Place { store: store.clone(), bucket: "b".into(), prefix: "/p/".into() };
    let counts = async |reading| {
        let found = audit(&place, reading).await.unwrap();
        assert!(found.manifest.is_some_and(|manifest| manifest.objects.len() == 11));
        (found.changed, found.missing, found.extra)
    };
    fake.log();
    assert_eq!((counts(Reading::Tags).await, counts(Reading::Back).await), ((0, 0, 0), (0, 0, 0)));
    // One is overwritten, one gone, one too many; and one damaged, which its entity tag does not tell.
    {
        let objects = &mut fake.world.lock().unwrap().objects;
        let mut other = objects["p/o/0001.jpg"].clone();
        other.etag = "another".into();
        objects.insert("p/o/more".into(), other.clone());
        objects.insert("p/o/0002.jpg".into(), other);
        objects.remove("p/o/0003.jpg");
        let damaged = objects.get_mut("p/o/0004.jpg").unwrap();
        damaged.content = vec![0; damaged.content.len()].into();
    }
    assert_eq!(counts(Reading::Tags).await, (1, 1, 1));
    assert_eq!(counts(Reading::Back).await, (2, 1, 1));
    assert!(!fake.log().iter().any(|line| is_write(&line)));
    // The dataset goes, and nothing else.
    assert_eq!(unload(&place).await.unwrap(), 11);
    assert_eq!(fake.keys(), ["p/o/more"]);
    assert_eq!(unload(&place).await.unwrap(), 0);
}

#[tokio::test]
async fn a_dataset_that_goes_takes_its_unfinished_uploads_along() {
    let (fake, store) = Fake::serve().await;
    run(&store, &[large("one", 3, 1), wanted("a", vec![1])], options()).await.unwrap();
    let place = Place { store: store.clone(), bucket: "b".into(), prefix: "p".into() };
    store.begin("b", "p/one", &PutOptions::default()).await.unwrap();
    let stranger = store.begin("b", "p/another", &PutOptions::default()).await.unwrap();
    // One that cannot be read says nothing of what is the dataset's, and takes no good one's place.
    let good = fake.world.lock().unwrap().objects["p/.anole/manifest.json"].clone();
    let put = |key: &str, kept: Kept| drop(fake.world.lock().unwrap().objects.insert(key.to_owned(), kept));
    put("p/.anole/previous.json", good.clone());
    put("p/.anole/manifest.json", Kept { content: "{".into(), ..Kept::default() });
    let refused = unload(&place).await.unwrap_err().to_string();
    assert!(refused.contains("damaged") && refused.ends_with("no object was deleted"), "{refused}");
    assert_eq!(fake.world.lock().unwrap().objects["p/.anole/previous.json"].content, good.content);
    assert_eq!(fake.keys().len(), 4);
    fake.world.lock().unwrap().objects.remove("p/.anole/manifest.json");
    assert_eq!(unload(&place).await.unwrap(), 2);
    let world = fake.world.lock().unwrap();
    assert!(world.objects.is_empty());
    assert_eq!(world.uploads.keys().collect::<Vec<_>>(), [&stranger.id]);
}

#[tokio::test]
async fn a_key_twice_or_of_the_loaders_own_is_refused() {
    let (fake, store) = Fake::serve().await;
    let twice = run(&store, &[wanted("a", vec![1]), wanted("a", vec![2])], options()).await.unwrap_err().to_string();
    assert!(twice.contains("`a` is wanted twice"), "{twice}");
    assert!(run(&store, &[wanted(".anole/x", vec![1])], options()).await.is_err());
    assert!(fake.log().is_empty());
}

#[test]
fn parts_are_few_enough_and_whole() {
    assert_eq!(send::part_size(MIB, 16 * MIB), 16 * MIB);
    assert_eq!(send::part_size(1000 * 16 * MIB + 1, 16 * MIB), 17 * MIB);
    assert_eq!(send::part_size(5, 0), MIB);
}

#[test]
fn a_load_can_travel_between_threads() {
    fn check<T: Send>(_: impl FnOnce(&Place, &[Object]) -> T) {}
    check(|place, wanted| {
        let (place, wanted) = (place.clone(), wanted.to_vec());
        async move { load(&place, &wanted, &empty(), options(), Arc::new(Unwatched)).await }
    });
}

/// Against a real gateway: see `object::tests::gateway`. Interrupted, carried on, loaded again, changed, read back.
async fn on_a_gateway(store: Store, bucket: &str) {
    store.destroy_bucket(bucket, &|_| ()).await.unwrap();
    store.create_bucket(bucket, &[]).await.unwrap();
    let place = Place { store: store.clone(), bucket: bucket.into(), prefix: "p".into() };
    let load_until = |objects: Vec<Object>, options: Options, after: u64| {
        let place = place.clone();
        async move { load(&place, &objects, &empty(), options, Arc::new(Stops { after, bytes: AtomicU64::new(0) })).await }
    };
    let mut objects = some(1200);
    // So large that it is not whole when the load is stopped, whatever is under way then.
    objects.push(large("large/one", 41, 1));
    let options = Options { threshold: 6 * MIB, part_size: 5 * MIB, memory: 12 * MIB, delete_extra: true, ..options() };
    let stopped = load_until(objects.clone(), options, 11 * MIB).await;
    assert!(matches!(stopped, Err(LoadError::Stopped)), "{stopped:?}");
    assert!(store.head(bucket, "p/.anole/manifest.json").await.unwrap_err().is_not_found());
    let report = load_until(objects.clone(), options, u64::MAX).await.unwrap();
    assert!(report.resumed_parts >= 1 && report.sent_bytes < 37 * MIB, "{report:?}");
    assert_eq!(store.uploads(bucket, "", &|_| true).await.unwrap(), []);
    // Swift may list an object some time after it took it.
    for _ in 0..300 {
        if store.list(bucket, &Keys::default()).await.unwrap().len() > objects.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = store.request_count();
    assert_eq!(load_until(objects.clone(), options, u64::MAX).await.unwrap().sent, 0);
    assert!(store.request_count() - before <= 5, "{} requests", store.request_count() - before);
    objects.pop();
    objects.push(large("large/one", 12, 5));
    objects[7] = wanted(&objects[7].key.clone(), b"another".to_vec());
    objects.remove(3);
    let report = load_until(objects.clone(), Options { verify: true, ..options }, u64::MAX).await.unwrap();
    assert_eq!((report.sent, report.deleted), (2, 1));
    assert_eq!(store.uploads(bucket, "", &|_| true).await.unwrap(), []);
    let manifest = store.read(bucket, "p/.anole/manifest.json", MIB).await.unwrap();
    assert_eq!(Manifest::parse(&manifest).unwrap().objects.len(), objects.len());
    store.destroy_bucket(bucket, &|_| ()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a gateway, see object::tests::gateway"]
async fn on_a_gateway_by_s3() {
    on_a_gateway(crate::object::tests::gateway::s3("one"), "anole-load-s3").await;
}

#[tokio::test]
#[ignore = "needs a gateway, see object::tests::gateway"]
async fn on_a_gateway_by_swift() {
    on_a_gateway(crate::object::tests::gateway::swift().await, "anole-load-swift").await;
}

/// A site of `clouds.yaml`, signed in to: see `tests/datasets/run`.
async fn site(cloud: &str) -> Store {
    let config = CloudConfig::load(cloud, &Environment::from_process()).unwrap();
    Store::swift(&Session::over_http(config, SessionOptions::default()).await.unwrap()).unwrap()
}

#[tokio::test]
#[ignore = "needs the lab of tests/openstack"]
async fn by_swift_on_the_labs_ceph() {
    on_a_gateway(site("lab-chi").await, "anole-load-of-a-site").await;
}

#[tokio::test]
#[ignore = "needs the lab of tests/openstack"]
async fn by_swift_on_the_labs_swift() {
    on_a_gateway(site("lab").await, "anole-load-of-a-site").await;
}
