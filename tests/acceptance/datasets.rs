//! Datasets in real stores: what is in the bucket is what the labs' own steps make, as another client sees it.
//!
//! The specs are the examples' own sections, with a small source in the large one's place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;

use serde_json::Value as Json;

use super::client::{Client, text};
use super::cloud::TestCloud;
use super::objects::unique;
use crate::data;

/// The sections of an example that begin with these words, as it has them.
fn sections(example: &str, names: &[&str]) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("specs").join(example);
    let whole = fs::read_to_string(path).expect("an example");
    let mut sections = String::new();
    let mut wanted = false;
    for line in whole.lines() {
        if !line.starts_with([' ', '#']) && !line.is_empty() {
            wanted = names.iter().any(|name| line.starts_with(&format!("{name}:")));
        }
        // A server of its own is none of this.
        if wanted && !line.contains("write:") && !line.contains("- { rclone") {
            sections.push_str(line);
            sections.push('\n');
        }
    }
    sections
}

/// What a listing says of each object below a prefix: its length and its MD5.
fn listed(store: &Client, bucket: &str, prefix: &str) -> BTreeMap<String, (u64, String)> {
    let mut all = BTreeMap::new();
    let mut marker = String::new();
    loop {
        let page = store.get("object-store", &format!("/{bucket}?format=json&prefix={prefix}/&marker={marker}"));
        let page = page.as_array().expect("a list");
        let Some(last) = page.last() else { return all };
        marker = text(&last["name"]);
        for entry in page {
            let size = entry["bytes"].as_u64().expect("a number");
            all.insert(text(&entry["name"])[prefix.len() + 1..].to_owned(), (size, text(&entry["hash"])));
        }
    }
}

fn md5(bytes: &[u8]) -> String {
    use md5::Digest as _;
    md5::Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The manifest's objects by key, with their SHA-256.
fn manifest(store: &Client, bucket: &str, prefix: &str) -> BTreeMap<String, String> {
    let bytes = store.bytes("object-store", &format!("/{bucket}/{prefix}/.anole/manifest.json"));
    let manifest: Json = serde_json::from_slice(&bytes).expect("a manifest");
    let objects = manifest["objects"].as_array().expect("objects");
    objects.iter().map(|object| (text(&object["key"]), text(&object["sha256"]))).collect()
}

fn sha256(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The labs' steps for Food-11: unzip, and in each part move `<class>_*.jpg` into a folder `class_<class>`.
fn by_hand(every: usize, average: usize) -> BTreeMap<String, Vec<u8>> {
    let moved = data::pictures(every).into_iter().map(|(name, seed)| {
        let (part, file) = name.split_once('/').expect("a part");
        let class: u32 = file.split('_').next().expect("a class").parse().expect("a number");
        (format!("{part}/class_{class:02}/{file}"), data::picture(seed, average))
    });
    moved.collect()
}

fn food11_is_what_the_lab_makes(keys: bool) {
    const EVERY: usize = 40;
    const AVERAGE: usize = 3000;
    let mut cloud = TestCloud::with("");
    let (_served, store) = cloud.object_store();
    let bucket = unique("food11");
    let zip = cloud.env.path("Food-11.zip");
    data::food11(&zip, EVERY, AVERAGE).expect("a zip");
    let mut blocks = sections("object.yaml", &["buckets", "credentials", "datasets"])
        .replace("object-chi-${var.net_id}\" }", &format!("{bucket}\", protect: false, force_destroy: true }}"))
        .replace("${var.food11}", &format!("file://{}", zip.display()))
        .replace("samples: 1000", "samples: 50");
    if !keys {
        blocks = blocks.replace(", credential: s3", "");
    }
    cloud.write_spec(&format!("stack: food11\nsites: {{ chi: {{ cloud: chi }} }}\n{blocks}"));
    cloud.converge();

    let expected = by_hand(EVERY, AVERAGE);
    let mut found = listed(&store, &bucket, "Food-11");
    assert!(found.remove(".anole/manifest.json").is_some());
    let wanted: BTreeMap<_, _> =
        expected.iter().map(|(key, bytes)| (key.clone(), (bytes.len() as u64, md5(bytes)))).collect();
    assert_eq!(found, wanted);
    let digests: BTreeMap<_, _> = expected.iter().map(|(key, bytes)| (key.clone(), sha256(bytes))).collect();
    assert_eq!(manifest(&store, &bucket, "Food-11"), digests);

    // Every picture is in a shard of its part, with the number of its class, and in no other.
    let mut shards = listed(&store, &bucket, "shards");
    shards.remove(".anole/manifest.json");
    let mut samples = BTreeSet::new();
    for shard in shards.keys() {
        let part = shard.split('/').next().expect("a part");
        let bytes = store.bytes("object-store", &format!("/{bucket}/shards/{shard}"));
        let mut members: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a name").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("its content");
            members.insert(path, content);
        }
        assert!(members.len() <= 100, "{shard} has {} members", members.len());
        for (name, content) in members.iter().filter(|(name, _)| name.ends_with(".jpg")) {
            let class = members.get(&name.replace(".jpg", ".cls")).unwrap_or_else(|| panic!("no label of {name}"));
            let class: u32 = std::str::from_utf8(class).expect("text").trim().parse().expect("a number");
            let key = format!("{part}/class_{class:02}/{name}");
            assert_eq!(expected.get(&key), Some(content), "{key}");
            assert!(samples.insert(key));
        }
    }
    assert_eq!(samples.len(), expected.len());

    // Somebody spoils one, removes one, adds one: the plan counts them, and the apply mends them.
    let mut keys = expected.keys();
    let (spoilt, gone) = (keys.next().expect("a key"), keys.next().expect("a key"));
    store.call("PUT", "object-store", &format!("/{bucket}/Food-11/{spoilt}"), Json::from("spoilt"));
    store.call("DELETE", "object-store", &format!("/{bucket}/Food-11/{gone}"), Json::Null);
    store.call("PUT", "object-store", &format!("/{bucket}/Food-11/more"), Json::from("more"));
    let line = format!("content: 1 of {} objects changed, 1 missing, 1 that are not its own", expected.len());
    cloud.env.anole("plan spec.yaml").exits(0).says(&line);
    cloud.env.apply("spec.yaml").says("datasets.food11: ").says("; 2 sent (").says("; 1 other deleted");
    cloud.env.anole("plan spec.yaml --verify --detailed-exitcode").exits(0);
    let mut mended = listed(&store, &bucket, "Food-11");
    mended.remove(".anole/manifest.json");
    assert_eq!(mended, wanted);
    cloud.env.anole("destroy spec.yaml --yes").exits(0).says("DATA LOSS: bucket");
}

#[test]
fn food11_by_s3_is_what_the_lab_makes() {
    food11_is_what_the_lab_makes(true);
}

#[test]
fn food11_by_swift_is_what_the_lab_makes() {
    food11_is_what_the_lab_makes(false);
}

/// A file that goes in parts, a copy of it inside the store, and a second plan that is empty.
fn a_large_object_is_loaded_and_copied(credential: &str) {
    let mut cloud = TestCloud::with("");
    let (served, store) = cloud.object_store();
    let bucket = unique("large");
    fs::create_dir(cloud.env.path("data")).expect("a folder");
    let mut large = data::picture(7, 70 << 20);
    large.truncate(40 << 20);
    assert_eq!(large.len(), 40 << 20, "more than goes in one piece");
    fs::write(cloud.env.path("data/large.bin"), &large).expect("a file");
    cloud.env.write("data/small.txt", "small");
    cloud.write_spec(&format!(
        "stack: large\nsites: {{ chi: {{ cloud: chi }} }}\nbuckets:\n  b: {{ name: {bucket}, protect: false, force_destroy: true \
         }}\ncredentials:\n  s3: {{ type: ec2 }}\ndatasets:\n  one:\n    source: {{ path: ./data }}\n    load: {{ bucket: b, \
         prefix: one{credential} }}\n  two:\n    source: {{ bucket: b, prefix: one{credential} }}\n    load: {{ bucket: b, prefix: \
         two{credential} }}\n    depends_on: [datasets.one]\n"
    ));
    // Both objects go once, the large one in parts: what is copied never passes through here. Ceph copies by S3 alone what is
    // in parts.
    let is_ceph = served.is_none() && std::env::var_os("ANOLE_ACCEPTANCE_STORE").is_none();
    let copied = if credential.is_empty() && is_ceph { 1 } else { 2 };
    let copied = format!("; {copied} copied by the store");
    cloud.converge().says("datasets.one: 2 objects, 40.0 MiB; 2 sent (").says(&copied);
    for prefix in ["one", "two"] {
        let path = format!("/{bucket}/{prefix}/large.bin");
        assert_eq!(sha256(&store.bytes("object-store", &path)), sha256(&large), "{path}");
    }
    cloud.env.anole("plan spec.yaml --verify --detailed-exitcode").exits(0);
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
}

#[test]
fn a_large_object_by_s3_is_loaded_and_copied() {
    a_large_object_is_loaded_and_copied(", credential: s3");
}

#[test]
fn a_large_object_by_swift_is_loaded_and_copied() {
    a_large_object_is_loaded_and_copied("");
}

#[test]
fn ratings_are_dealt_out_once_each_and_alike_every_time() {
    const ROWS: u64 = 20_000;
    let mut cloud = TestCloud::with("");
    let (_served, store) = cloud.object_store();
    let bucket = unique("movielens");
    fs::create_dir(cloud.env.path("ml-25m")).expect("a folder");
    let table = cloud.env.path("ml-25m/ratings.csv");
    data::ratings(&table, ROWS).expect("a table");
    cloud.env.write("ml-25m/movies.csv", "movieId,title,genres\n");
    let zip = cloud.env.path("ml.zip");
    let mut writer = rawzip::ZipArchiveWriter::new(fs::File::create(&zip).expect("a file"));
    for name in ["ml-25m/ratings.csv", "ml-25m/movies.csv"] {
        let content = fs::read(cloud.env.path(name)).expect("a table");
        data::add(&mut writer, name, &content, rawzip::CompressionMethod::DEFLATE).expect("a member");
    }
    writer.finish().expect("a zip");
    let blocks = sections("movielens.yaml", &["buckets", "credentials", "datasets"])
        .replace("movielens-${var.net_id}\" }", &format!("{bucket}\", protect: false, force_destroy: true }}"))
        .replace("${var.ratings}", &format!("file://{}", zip.display()));
    cloud.write_spec(&format!("stack: movielens\nsites: {{ chi: {{ cloud: chi }} }}\n{blocks}"));
    cloud.converge();

    let read = |name: &str| {
        let bytes = store.bytes("object-store", &format!("/{bucket}/ml-25m/{name}"));
        String::from_utf8(bytes).expect("text")
    };
    let numbers = |name: &str| -> Vec<String> { read(name).lines().map(str::to_owned).collect() };
    let (users, movies) = (numbers("userId.ids.tsv"), numbers("movieId.ids.tsv"));
    let mut dealt = Vec::new();
    for (name, share) in [("training.tsv", 70), ("validation.tsv", 15), ("evaluation.tsv", 15)] {
        let rows: Vec<String> = read(name).lines().map(str::to_owned).collect();
        assert_eq!(rows.len() as u64, ROWS * share / 100, "{name}");
        dealt.extend(rows.iter().map(|row| {
            let fields: Vec<&str> = row.split('\t').collect();
            let at = |field: usize| fields[field].parse::<usize>().expect("a number");
            format!("{},{},{}", users[at(0)], movies[at(1)], fields[2])
        }));
    }
    // Put together again, they are the table.
    let table = fs::read_to_string(&table).expect("a table");
    let mut rows: Vec<String> =
        table.lines().skip(1).map(|row| row.rsplit_once(',').expect("a time").0.to_owned()).collect();
    rows.sort_unstable();
    dealt.sort_unstable();
    assert_eq!(dealt, rows);
    let before = listed(&store, &bucket, "ml-25m");
    assert_eq!(before.len(), 6, "{before:?}");
    cloud.env.anole("apply spec.yaml --yes --replace datasets.ratings").exits(0).says("; all were there");
    assert_eq!(listed(&store, &bucket, "ml-25m"), before);
    cloud.env.anole("destroy spec.yaml --yes").exits(0);
}
