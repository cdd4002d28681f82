//! Datasets that read what another one staged.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::downloads::{Server, answer};
use super::{data, job, quiet, texts};
use crate::dataset::{ErrorKind, Job, Object, Progress, Stage, Staging, Watch, prepare};

/// A job whose download is unpacked into its staging folder: a table, packed.
fn packed(server: &Server) -> Value {
    json!({ "sources": [{ "from": { "url": { "url": server.url("/table.csv.gz") } }, "into": "raw" }] })
}

fn serve() -> Server {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, b"a,b\n1,2\n").unwrap();
    let packed = packed.finish().unwrap();
    Server::start(move |_, _| answer("200 OK", &[], packed.len(), &packed))
}

fn reads(other: &Value, staging: &Path) -> Job {
    job(json!({ "sources": [{ "from": { "dataset": { "job": other, "staging": staging } }, "strip": 1 }] }))
}

async fn objects(job: &Job, staging: &Path, watch: &Arc<dyn Watch>) -> Vec<Object> {
    let staging = Arc::new(Staging::open(staging).unwrap());
    let (prepared, watch) = (prepare(job, &staging, watch).await.unwrap(), Arc::clone(watch));
    tokio::task::spawn_blocking(move || prepared.wanted(&watch)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_datasets_come_of_one_download() {
    let (server, folder) = (serve(), tempfile::tempdir().unwrap());
    let other = packed(&server);
    let at = |name: &str| folder.path().join(name);
    let table = [("table.csv".to_owned(), "a,b\n1,2\n".to_owned())];
    // Neither finds anything staged, and one waits for the other.
    let (one, two) = (reads(&other, &at("other")), reads(&other, &at("other")));
    let (first, second) = (at("one"), at("two"));
    let (watch, again) = (quiet(), quiet());
    let (one, two) = tokio::join!(objects(&one, &first, &watch), objects(&two, &second, &again));
    assert_eq!(texts(&one), table);
    assert_eq!(texts(&two), table);
    assert_eq!(server.requests().len(), 1);
    // The other dataset itself takes what is there too, and its own keys.
    let own = objects(&job(other), &at("other"), &quiet()).await;
    assert_eq!(own[0].key, "raw/table.csv");
    assert_eq!(server.requests().len(), 1);
}

/// Lets a staging folder go when it hears that somebody waits for it.
struct Lets(Mutex<Option<Staging>>, AtomicBool);

impl Watch for Lets {
    fn tell(&self, progress: Progress) {
        if progress == Progress::Stage(Stage::Wait) {
            self.1.store(true, Ordering::SeqCst);
            self.0.lock().unwrap().take();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_finds_another_run_at_work_waits_for_it_and_says_so() {
    let (server, folder) = (serve(), tempfile::tempdir().unwrap());
    let root = folder.path().join("other");
    let lets = Arc::new(Lets(Mutex::new(Some(Staging::open(&root).unwrap())), AtomicBool::new(false)));
    let waits = Staging::wait(&root, &quiet(), Duration::ZERO).await.unwrap_err();
    assert_eq!(waits.kind, ErrorKind::Busy, "{waits}");
    let watch: Arc<dyn Watch> = lets.clone();
    let found = objects(&reads(&packed(&server), &root), &folder.path().join("own"), &watch).await;
    assert_eq!(found.len(), 1);
    assert!(lets.1.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_staging_folder_is_taken_once_by_a_run_that_wants_it_twice() {
    let (server, folder) = (serve(), tempfile::tempdir().unwrap());
    let (root, other) = (folder.path().join("other"), packed(&server));
    let nested = json!({ "sources": [{ "from": { "dataset": { "job": other, "staging": root } } }] });
    let this = job(json!({ "sources": [
        { "from": { "dataset": { "job": other, "staging": root } }, "into": "a" },
        { "from": { "dataset": { "job": nested, "staging": root } }, "into": "b" },
        { "from": { "dataset": { "job": other, "staging": folder.path().join("own") } }, "into": "c" }
    ] }));
    let found = objects(&this, &folder.path().join("own"), &quiet()).await;
    let keys: Vec<_> = found.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["a/raw/table.csv", "b/raw/table.csv", "c/raw/table.csv"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_removed_while_it_is_read() {
    let (server, folder) = (serve(), tempfile::tempdir().unwrap());
    let root = folder.path().join("other");
    let own = Arc::new(Staging::open(&folder.path().join("own")).unwrap());
    let prepared = prepare(&reads(&packed(&server), &root), &own, &quiet()).await.unwrap();
    std::fs::create_dir_all(root.join("temporary/of-a-reader")).unwrap();
    // The owner may come in, and leaves alone what is there.
    let owner = Staging::open(&root).unwrap();
    owner.tidy().unwrap();
    assert!(root.join("temporary/of-a-reader").exists());
    assert_eq!(owner.remove().unwrap_err().kind, ErrorKind::Busy);
    let watch = quiet();
    let prepared = tokio::task::spawn_blocking(move || prepared.wanted(&watch).map(|found| (found, prepared)));
    let (found, prepared) = prepared.await.unwrap().unwrap();
    assert_eq!(texts(&found)[0].1, "a,b\n1,2\n");
    drop(prepared);
    let owner = Staging::open(&root).unwrap();
    assert!(!root.join("temporary/of-a-reader").exists());
    owner.remove().unwrap();
    assert!(!root.exists());
}

#[test]
fn class_folders_and_shards_are_made_of_one_zip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Food-11.zip");
    data::food11(&path, 400, 2_000).unwrap();
    let classes = json!({ "class_folders": { "pattern": r"^(\d+)_", "name": "class_{1:02}" } });
    let folders = json!({ "sources": [{ "from": { "path": path } }], "transform": [classes] });
    let shards = json!({ "webdataset": { "samples": 10, "series": 1, "label": { "pattern": r"class_(\d+)/" } } });
    let direct = job(json!({ "sources": [{ "from": { "path": path } }], "transform": [classes, shards] }));
    let staged = json!({ "dataset": { "job": folders, "staging": folder.path().join("folders") } });
    let indirect = job(json!({ "sources": [{ "from": staged }], "transform": [shards] }));
    let of = |job: &Job, staging: &str| super::objects(job, &folder.path().join(staging)).unwrap();
    let digests = |found: &[Object]| found.iter().map(|one| (one.key.clone(), one.sha256)).collect::<Vec<_>>();
    assert_eq!(digests(&of(&direct, "direct")), digests(&of(&indirect, "indirect")));
}
