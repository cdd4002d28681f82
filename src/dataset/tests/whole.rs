//! Whole jobs, on small data of the forms that the labs use.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::{data, job, objects, quiet, read, texts};
use crate::dataset::{Difference, ErrorKind, Listed, Manifest, Object, Progress, Staging, Watch, prepare, source};

/// One in so many pictures of Food-11.
const EVERY: usize = 400;

fn food11(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("Food-11.zip");
    data::food11(&path, EVERY, 2_000).unwrap();
    path
}

fn class_folders() -> serde_json::Value {
    json!({ "class_folders": { "pattern": r"^(\d+)_", "name": "class_{1:02}" } })
}

fn shards() -> serde_json::Value {
    json!({ "webdataset": { "samples": 10, "series": 1, "label": { "pattern": r"class_(\d+)/" } } })
}

fn keys(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.key.as_str()).collect()
}

#[test]
fn food11_becomes_class_folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = food11(folder.path());
    let this = job(json!({ "sources": [{ "from": { "path": path } }], "transform": [class_folders()] }));
    let found = objects(&this, &folder.path().join("staging")).unwrap();
    // What the lab's own loop over the classes makes of the same files.
    let mut wanted = BTreeMap::new();
    for (name, seed) in data::pictures(EVERY) {
        let (part, file) = name.split_once('/').unwrap();
        let class: usize = file.split('_').next().unwrap().parse().unwrap();
        wanted.insert(format!("{part}/class_{class:02}/{file}"), data::picture(seed, 2_000));
    }
    assert_eq!(found.len(), wanted.len());
    for (object, (key, bytes)) in found.iter().zip(&wanted) {
        assert_eq!((&object.key, object.size), (key, bytes.len() as u64));
        assert_eq!(&read(object), bytes);
    }
    assert_eq!(std::fs::read_dir(folder.path().join("staging/made")).unwrap().count(), 0, "nothing is unpacked");
}

#[test]
fn food11_becomes_shards_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = food11(folder.path());
    let of = |source: &Path, staging: &str| {
        let this =
            job(json!({ "sources": [{ "from": { "path": source } }], "transform": [class_folders(), shards()] }));
        objects(&this, &folder.path().join(staging)).unwrap()
    };
    let found = of(&path, "one");
    assert_eq!(keys(&found)[..2], ["evaluation/shard-000000.tar", "training/shard-000000.tar"]);
    assert!(keys(&found).contains(&"training/shard-000002.tar"));
    // The same files in a folder, written at another time, make the same shards.
    let loose = folder.path().join("loose");
    for (name, seed) in data::pictures(EVERY) {
        std::fs::create_dir_all(loose.join(&name).parent().unwrap()).unwrap();
        std::fs::write(loose.join(name), data::picture(seed, 2_000)).unwrap();
    }
    let again = of(&loose, "two");
    let digests = |found: &[Object]| found.iter().map(|one| (one.key.clone(), one.sha256)).collect::<Vec<_>>();
    assert_eq!(digests(&found), digests(&again));
    let bytes = read(&found[1]);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let names: Vec<_> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!((names.len(), names[0].as_str(), names[1].as_str()), (20, "0_0.cls", "0_0.jpg"));
}

#[test]
fn movielens_becomes_three_files() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("ratings.csv");
    data::ratings(&table, 2_000).unwrap();
    let this = job(json!({
        "sources": [{ "from": { "path": table } }],
        "transform": [{ "split": {
            "file": "ratings.csv", "columns": ["userId", "movieId"], "dense_ids": ["userId", "movieId"], "seed": 1,
            "parts": [
                { "key": "training.tsv", "share": 70 }, { "key": "validation.tsv", "share": 15 },
                { "key": "evaluation.tsv", "share": 15 }
            ]
        } }]
    }));
    let staging = folder.path().join("staging");
    let found = texts(&objects(&this, &staging).unwrap());
    let lines: Vec<_> = found.iter().map(|(key, text)| (key.as_str(), text.lines().count())).collect();
    assert_eq!(lines, [("evaluation.tsv", 300), ("training.tsv", 1400), ("validation.tsv", 300)]);
    let line = found[1].1.lines().next().unwrap();
    assert!(line.split('\t').all(|number| number.parse::<u32>().is_ok()), "{line}");
    // Another run takes what was made.
    let made = || std::fs::metadata(staging.join("made").read_dir().unwrap().next().unwrap().unwrap().path()).unwrap();
    let before = made().modified().unwrap();
    assert_eq!(texts(&objects(&this, &staging).unwrap()), found);
    assert_eq!(made().modified().unwrap(), before);
}

#[test]
fn sources_lie_together_and_do_not_hide_each_other() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("one/a/x", "1"), ("two/x", "2")] {
        std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let of = |into: Option<&str>| {
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        job(json!({ "sources": [
            { "from": { "path": one }, "strip": 1 },
            { "from": { "path": two }, "into": into }
        ] }))
    };
    let staging = folder.path().join("staging");
    let found = texts(&objects(&of(Some("more")), &staging).unwrap());
    assert_eq!(found, [("more/x".into(), "2".into()), ("x".into(), "1".into())]);
    let error = objects(&of(None), &staging).unwrap_err();
    assert!(error.message.contains("two files would be `x`"), "{error}");
    assert!(error.message.contains("one/a/x") && error.message.contains("two/x"), "{error}");
}

#[test]
fn a_job_that_cannot_be_is_told_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |value| objects(&job(value), &folder.path().join("staging")).unwrap_err();
    assert!(fails(json!({ "sources": [] })).message.contains("needs a source"));
    let ftp = json!({ "sources": [{ "from": { "url": { "url": "ftp://me:secret@example.org/x" } } }] });
    assert_eq!(fails(ftp).message, "ftp://example.org/x: a source is http, https or file");
    let out = json!({ "sources": [{ "from": { "path": "/x" }, "into": "../x" }] });
    assert!(fails(out).message.contains("leads out"));
    let missing = json!({ "sources": [{ "from": { "path": "/no/such/file" } }] });
    assert!(fails(missing).message.contains("/no/such/file: No such file"));
    std::fs::create_dir_all(folder.path().join("empty/sub")).unwrap();
    let empty = json!({ "sources": [{ "from": { "path": folder.path().join("empty") } }] });
    assert!(fails(empty).message.contains("have no file"));
    std::fs::create_dir_all(folder.path().join("mine/.anole")).unwrap();
    std::fs::write(folder.path().join("mine/.anole/manifest.json"), "{}").unwrap();
    let reserved = json!({ "sources": [{ "from": { "path": folder.path().join("mine") } }] });
    assert!(fails(reserved).message.contains("kept for the manifest"));
    let below = json!({ "sources": [{ "from": { "path": folder.path().join("mine") }, "into": "a/copy" }] });
    assert!(fails(below).message.contains("kept for the manifest"), "it would be another dataset in this one");
    let within = json!({ "sources": [{ "from": { "path": folder.path() } }] });
    assert!(fails(within).message.contains("lies in the source"));
    std::os::unix::fs::symlink("/dev/null", folder.path().join("mine/null")).unwrap();
    let device = json!({ "sources": [{ "from": { "path": folder.path().join("mine") } }] });
    assert!(fails(device).message.contains("neither a file nor a folder"));
}

/// Counts what is told, and stops after so many bytes.
struct Counting {
    bytes: AtomicU64,
    most: u64,
}

impl Watch for Counting {
    fn tell(&self, progress: Progress) {
        if let Progress::Bytes(bytes) = progress {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn stopped(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.most
    }
}

#[test]
fn a_stop_ends_the_digests_and_a_second_run_remembers_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = food11(folder.path());
    let this = job(json!({ "sources": [{ "from": { "path": path } }], "transform": [class_folders()] }));
    let staging = folder.path().join("staging");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |watch: Arc<dyn Watch>| {
        let staging = Arc::new(Staging::open(&staging).unwrap());
        let prepared = runtime.block_on(prepare(&this, &staging, &watch)).unwrap();
        prepared.objects(&watch).collect::<Result<Vec<_>, _>>()
    };
    // What an earlier run remembered of other files, and more of it than this one has.
    let cache = || std::fs::read_to_string(staging.join("digests")).unwrap();
    let other = |number: usize| format!("{number:032x} {} .\n", "1".repeat(64));
    std::fs::create_dir(&staging).unwrap();
    std::fs::write(staging.join("digests"), (0..1000).map(other).collect::<String>()).unwrap();
    let stopped = run(Arc::new(Counting { bytes: AtomicU64::new(0), most: 10_000 }));
    assert_eq!(stopped.unwrap_err().kind, ErrorKind::Stopped);
    let before = cache();
    assert!(before.starts_with(&(0..1000).map(other).collect::<String>()), "a stop forgets nothing");
    let taken: Vec<&str> = before.lines().skip(1000).collect();
    assert!(!taken.is_empty(), "and what it took is remembered");
    let first = run(quiet()).unwrap();
    // Contents that are remembered are not read: the archive may be unreadable by now.
    let cache = cache();
    assert_eq!(cache.lines().count(), first.len(), "also those from before the stop, once, and no others");
    assert!(taken.iter().all(|line| cache.contains(line)));
    let wrong = "0".repeat(64);
    let line = cache.lines().next().unwrap();
    let forged = cache.replacen(&line[33..97], &wrong, 1);
    std::fs::write(staging.join("digests"), format!("{forged}{}", &line[..50])).unwrap();
    let second = run(quiet()).unwrap();
    let differ = first.iter().zip(&second).filter(|(a, b)| a.sha256 != b.sha256).count();
    assert_eq!(differ, 1, "the one that was forged, and a line that was cut is passed over");
}

#[test]
fn a_manifest_tells_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    (0..20).for_each(|number| std::fs::write(files.join(format!("{number}_x")), format!("{number}")).unwrap());
    let this = job(json!({ "sources": [{ "from": { "path": files } }], "transform": [class_folders()] }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let staging = Arc::new(Staging::open(&folder.path().join("staging")).unwrap());
    let prepare = || runtime.block_on(prepare(&this, &staging, &quiet())).unwrap();
    let prepared = prepare();
    let all: Vec<Object> = prepared.objects(&quiet()).map(Result::unwrap).collect();
    let manifest = prepared.manifest(all.iter().rev().map(|one| Listed::of(one, None)).collect());
    let manifest = Manifest::parse(&manifest.bytes().unwrap()).unwrap();
    assert_eq!(manifest.compare(&all), Difference { wanted: 20, ..Difference::default() });
    let fingerprints = || vec![source::fingerprint(&this.sources[0]).unwrap()];
    assert!(prepared.recorded().is_of(&fingerprints()) && prepared.recorded().is_of(&[None]));

    (0..3).for_each(|number| std::fs::write(files.join(format!("{number}_x")), "changed").unwrap());
    assert!(!prepared.recorded().is_of(&fingerprints()));
    let all: Vec<Object> = prepare().objects(&quiet()).map(Result::unwrap).collect();
    assert_eq!(manifest.compare(&all).to_string(), "3 of 20 objects changed");
}

#[test]
fn an_archive_that_changes_while_it_is_loaded_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = food11(folder.path());
    let this = job(json!({ "sources": [{ "from": { "path": path } }] }));
    let found = objects(&this, &folder.path().join("staging")).unwrap();
    std::fs::write(&path, vec![7; std::fs::metadata(&path).unwrap().len() as usize]).unwrap();
    let error = std::io::copy(&mut found[0].open(0).unwrap(), &mut std::io::sink()).unwrap_err();
    assert!(error.to_string().contains("checksum is wrong"), "{error}");
}
