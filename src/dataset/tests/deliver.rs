//! From a source to a bucket, whole: prepared, loaded, listed; then again, with a change.

use std::sync::Arc;

use serde_json::json;

use super::{job, quiet};
use crate::dataset::delivery::{self, Delivery};
use crate::dataset::load::{self, Options, Place, Report};
use crate::dataset::{Manifest, Staging, prepare};
use crate::object::tests::fake::Fake;

#[tokio::test]
async fn a_folder_becomes_a_dataset_in_a_bucket_and_a_change_of_one_file_is_one_object() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join("data").join(name);
    std::fs::create_dir_all(at("training")).unwrap();
    for number in 0..20 {
        std::fs::write(at(&format!("training/{}_{number}.jpg", number % 3)), format!("picture {number}")).unwrap();
    }
    let classes = json!({ "class_folders": { "pattern": r"^(\d+)_", "name": "class_{1:02}" } });
    let job = job(json!({ "sources": [{ "from": { "path": folder.path().join("data") } }], "transform": [classes] }));
    let (fake, store) = Fake::serve().await;
    let run = async || -> (Report, Manifest) {
        let staging = Arc::new(Staging::open(&folder.path().join("staging")).unwrap());
        let prepared = prepare(&job, &staging, &quiet()).await.unwrap();
        let wanted = prepared.wanted(&quiet()).unwrap();
        let place = Place { store: store.clone(), bucket: "b".into(), prefix: "food".into() };
        let report =
            load::load(&place, &wanted, &prepared.manifest(Vec::new()), Options::default(), quiet()).await.unwrap();
        let world = fake.world.lock().unwrap();
        let manifest = Manifest::parse(&world.objects["food/.anole/manifest.json"].content).unwrap();
        for listed in &manifest.objects {
            let there = &world.objects[&format!("food/{}", listed.key)];
            assert_eq!((there.content.len() as u64, listed.etag.as_ref()), (listed.size, Some(&there.etag)));
        }
        (report, manifest)
    };

    let (report, manifest) = run().await;
    assert_eq!((report.wanted, report.sent), (20, 20));
    assert_eq!((manifest.objects.len(), manifest.objects[0].key.as_str()), (20, "training/class_00/0_0.jpg"));
    let (report, again) = run().await;
    assert_eq!((report.sent, again), (0, manifest.clone()));
    std::fs::write(at("training/1_7.jpg"), "another picture").unwrap();
    let (report, changed) = run().await;
    assert_eq!((report.sent, report.deleted), (1, 0));
    let differ = manifest.objects.iter().zip(&changed.objects).filter(|(before, after)| before != after);
    assert_eq!(differ.map(|(before, _)| before.key.as_str()).collect::<Vec<_>>(), ["training/class_01/1_7.jpg"]);
}

#[tokio::test]
async fn what_is_delivered_already_takes_one_look() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for number in 0..20 {
        std::fs::write(data.join(format!("{number:02}.jpg")), format!("picture {number}")).unwrap();
    }
    let (fake, store) = Fake::serve().await;
    let delivery: Delivery = serde_json::from_value(json!({
        "job": { "sources": [{ "from": { "path": data } }] },
        "staging": folder.path().join("staging"),
        "load": { "bucket": "b", "prefix": "food", "transfers": 8 },
    }))
    .unwrap();
    let first = delivery::deliver(&delivery, &store, &quiet()).await.unwrap();
    assert_eq!((first.report.sent, first.requests), (20, 20 + 6));
    fake.log();
    let again = delivery::deliver(&delivery, &store, &quiet()).await.unwrap();
    assert_eq!((again.report.sent, again.requests), (0, 2));
    let asked = |expected: [&str; 2]| {
        let mut asked = fake.log();
        asked.sort();
        assert_eq!(asked, expected);
    };
    asked(["GET ", "HEAD food/.anole/manifest.json"]);
    // Without the copy it is read.
    std::fs::remove_file(folder.path().join("staging/last-manifest")).unwrap();
    let again = delivery::deliver(&delivery, &store, &quiet()).await.unwrap();
    assert_eq!((again.report.sent, again.requests), (0, 2));
    asked(["GET ", "GET food/.anole/manifest.json"]);
}
