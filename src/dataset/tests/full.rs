//! The labs' data in their real size: seconds and memory. Slow, so asked for by name:
//!
//! ```console
//! $ cargo test --release --lib dataset::tests::full -- --ignored --nocapture
//! ```

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::{data, job, objects};
use crate::dataset::Object;

/// The most memory that this process ever held, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn timed(what: &str, value: serde_json::Value, staging: &Path) -> Vec<Object> {
    let begun = Instant::now();
    let found = objects(&job(value), staging).unwrap();
    let (seconds, bytes) = (begun.elapsed().as_secs_f64(), found.iter().map(|object| object.size).sum::<u64>());
    let mib = bytes as f64 / f64::from(1 << 20);
    let text = format!("{what}: {} objects, {mib:.0} MiB, {seconds:.2} s, peak {} MiB\n", found.len(), peak());
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
    found
}

#[test]
#[ignore = "writes 1.2 GB, and takes a minute"]
fn food11() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Food-11.zip");
    data::food11(&path, 1, 70_000).unwrap();
    // What was written just now is not remembered: wait until it is settled.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let class_folders = json!({ "class_folders": { "pattern": r"^(\d+)_", "name": "class_{1:02}" } });
    let shards = json!({ "webdataset": { "samples": 1000, "series": 1, "label": { "pattern": r"class_(\d+)/" } } });
    let source = json!([{ "from": { "path": path } }]);
    let staging = folder.path().join("staging");
    for what in ["class folders", "class folders again"] {
        let found = timed(what, json!({ "sources": source, "transform": [class_folders] }), &staging);
        assert_eq!(found.len(), 16_643);
    }
    for what in ["shards", "shards again"] {
        let found = timed(what, json!({ "sources": source, "transform": [class_folders, shards] }), &staging);
        assert_eq!(found.len(), 18);
    }
}

#[test]
#[ignore = "writes 500 MB, and takes a minute"]
fn movielens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ratings.csv");
    data::ratings(&path, 10_000_000).unwrap();
    let split = json!({ "split": {
        "file": "ratings.csv", "columns": ["userId", "movieId"], "dense_ids": ["userId", "movieId"], "seed": 1,
        "parts": [
            { "key": "training.tsv", "share": 70 }, { "key": "validation.tsv", "share": 15 },
            { "key": "evaluation.tsv", "share": 15 }
        ]
    } });
    for what in ["split", "split again"] {
        let value = json!({ "sources": [{ "from": { "path": path } }], "transform": [split] });
        let found = timed(what, value, &folder.path().join("staging"));
        assert_eq!(found.len(), 3);
        let rows = |at: usize| std::io::BufRead::lines(std::io::BufReader::new(found[at].open(0).unwrap())).count();
        assert_eq!((rows(0), rows(1), rows(2)), (1_500_000, 7_000_000, 1_500_000));
    }
}
