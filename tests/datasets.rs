//! Datasets through the binary: loaded, changed by one object, drifted in their bucket, refused whole, let go.

use std::fs;

use serde_json::json;

use crate::environment::TestEnvironment;
use crate::site::Site;

/// Where the data of the embedded store is.
const OBJECTS: &str = "state/embedded/clouds/chi/objects";

const SPEC: &str = r#"
stack: ds
sites: { chi: { cloud: chi_tacc } }
buckets:
  food11: { name: object-chi-netid, protect: false, force_destroy: true }
datasets:
  food11:
    source: { path: ./data }
    transform: [{ class_folders: { pattern: '^(\d+)_', name: 'class_{1:02}' } }]
    load: { bucket: food11, prefix: Food-11, extra_objects: delete }
outputs:
  location: ${datasets.food11.location}
  objects: ${datasets.food11.objects}
"#;

/// A folder of twelve pictures of three classes.
fn with_pictures(spec: &str) -> TestEnvironment {
    let env = TestEnvironment::with(spec);
    for part in ["training", "validation"] {
        fs::create_dir_all(env.path("data").join(part)).expect("a folder");
        for number in 0..6 {
            env.write(&format!("data/{part}/{}_{number}.jpg", number % 3), &format!("{part} {number}"));
        }
    }
    env
}

/// How many files of the embedded store hold that text.
fn stored(env: &TestEnvironment, text: &str) -> usize {
    let files = env.files().into_iter().filter(|path| path.starts_with(env.path(OBJECTS)));
    files.filter(|path| fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes())).count()
}

#[test]
fn a_folder_is_loaded_and_a_change_of_one_file_is_one_object() {
    let env = with_pictures(SPEC);
    let plan = env.anole("plan spec.yaml").exits(0);
    for line in ["+ datasets.food11  load: new", "prefix:        Food-11", "content:       whole, with its manifest"] {
        assert!(plan.stdout.contains(line), "{line}: {}", plan.stdout);
    }
    env.apply("spec.yaml")
        .says("datasets.food11: 12 objects, ")
        .says("; 12 sent (")
        .says("datasets.food11: loaded in ")
        .says("location = s3://object-chi-netid/Food-11")
        .says("objects  = 12");
    env.has_no_changes("spec.yaml");
    env.anole("plan spec.yaml --verify --detailed-exitcode").exits(0);
    assert_eq!(stored(&env, "training 4"), 1);

    // From another folder the spec means the same.
    let from_above = format!("-C {} plan work/spec.yaml --detailed-exitcode", env.path("..").display());
    env.anole(&format!("{from_above} --state {}", env.path("state/embedded").display())).exits(0);

    // One file: one object, said by the plan and done by the apply.
    env.write("data/training/1_4.jpg", "another");
    env.write("data/training/1_10.jpg", "one more");
    fs::remove_file(env.path("data/validation/2_2.jpg")).expect("it was there");
    let plan = env.anole("plan spec.yaml --detailed-exitcode").exits(2);
    let line =
        "content: 1 of 12 objects changed, 1 is new, 1 more is there that is not wanted -> whole, with its manifest";
    assert!(plan.stdout.contains("~ datasets.food11  load again") && plan.stdout.contains(line), "{}", plan.stdout);
    env.apply("spec.yaml").says("; 2 sent (").says("; 1 other deleted");
    env.has_no_changes("spec.yaml");
    assert_eq!((stored(&env, "another"), stored(&env, "training 4"), stored(&env, "validation 2")), (1, 0, 0));

    // Files that are touched and are the same are no change.
    env.write("data/training/1_4.jpg", "another");
    env.has_no_changes("spec.yaml");

    // Another recipe: everything has another key.
    env.edit("spec.yaml", "class_{1:02}", "kind_{1}");
    env.anole("plan spec.yaml").exits(0).says("load again: transform changed");
    env.apply("spec.yaml").says("; 12 sent (").says("; 12 others deleted");
    env.has_no_changes("spec.yaml");
}

#[test]
fn a_program_over_files_that_are_laid_out_for_it_is_run_once() {
    // They get other names, and so second ones, by which the times of their inodes change.
    let command = "command: { run: 'echo run >> \"$RUNS\"; echo x > litter; cat \"$SRC\"/*/*/* > \"$OUT/all\"'";
    let env = with_pictures("");
    let command = format!("{command}, env: {{ RUNS: '{}' }} }}", env.path("runs").display());
    let spec = SPEC.replace("' } }]", &format!("' }} }}, {{ {command} }}]\n    staging: ./staged"));
    env.write("spec.yaml", &spec);
    env.apply("spec.yaml").says("datasets.food11: 1 object, ");
    env.has_no_changes("spec.yaml");
    assert!(!env.path("litter").exists(), "it has a folder of its own, and not that from which anole was started");
    // Loaded elsewhere: what it made is there, for its files are the same.
    env.edit("spec.yaml", "prefix: Food-11", "prefix: again");
    env.apply("spec.yaml").says("; 1 sent (");
    env.has_no_changes("spec.yaml");
    assert_eq!(fs::read_to_string(env.path("runs")).expect("it ran"), "run\n");
    // A file that is another one is noticed, of the same length even.
    env.write("data/training/1_4.jpg", "training 9");
    env.anole("plan spec.yaml --detailed-exitcode").exits(2).says("content: the files of its source are others");
    env.apply("spec.yaml").says("; 1 sent (");
    env.has_no_changes("spec.yaml");
}

#[test]
fn what_is_in_the_bucket_is_looked_at_by_every_plan() {
    let env = with_pictures(SPEC);
    env.apply("spec.yaml");
    // Another dataset in its place.
    let other = SPEC
        .replace("stack: ds", "stack: other")
        .replace("./data", "./more")
        .replace("buckets:\n  food11: { name: object-chi-netid, protect: false, force_destroy: true }\n", "");
    fs::create_dir(env.path("more")).expect("a folder");
    env.write("more/7_7.jpg", "more");
    env.write("other.yaml", &other.replace("bucket: food11", "bucket: { existing: object-chi-netid }"));
    env.apply("other.yaml").says("; 1 sent (").says("; 12 others deleted");
    env.anole("plan spec.yaml").exits(0).says("content: another dataset was loaded there -> whole, with its manifest");
    env.apply("spec.yaml").says("; 12 sent (").says("; 1 other deleted");
    env.has_no_changes("spec.yaml");
    // Its bucket emptied by hand and gone, as it is after a destroy of the bucket alone.
    env.anole("destroy spec.yaml --yes --target buckets.food11").exits(0).says("DATA LOSS");
    env.anole("plan spec.yaml").exits(0).says("+ buckets.food11  create");
    env.apply("spec.yaml").says("; 12 sent (");
    env.has_no_changes("spec.yaml");
}

#[test]
fn objects_go_only_where_that_is_said() {
    let env = with_pictures(SPEC);
    env.apply("spec.yaml");
    let datasets = SPEC.find("datasets:").expect("it is there");
    env.write("spec.yaml", &SPEC[..datasets]);
    env.anole("plan spec.yaml").exits(0).says("- datasets.food11  forget, leave its objects in the bucket");
    env.apply("spec.yaml");
    assert_eq!(stored(&env, "training 4"), 1);

    env.write("spec.yaml", &SPEC.replace("extra_objects: delete", "force_destroy: true"));
    env.apply("spec.yaml").says("; all were there");
    env.write("spec.yaml", &SPEC[..datasets]);
    let plan = env.anole("plan spec.yaml").exits(0);
    let loss = "12 objects of s3://object-chi-netid/Food-11, 132 bytes in all";
    assert!(plan.stdout.contains("DATA LOSS") && plan.stdout.contains(loss), "{}", plan.stdout);
    env.apply("spec.yaml");
    assert_eq!(stored(&env, "training 4"), 0);
    env.has_no_changes("spec.yaml");
}

/// The keys of what is in the bucket, without the prefix.
fn keys(env: &TestEnvironment) -> Vec<String> {
    let all = Site::new(env.path("state/embedded/clouds/chi")).ids("objects");
    all.iter().map(|id| id.split_once("/Food-11/").unwrap_or_else(|| panic!("{all:?}")).1.to_owned()).collect()
}

#[test]
fn a_load_that_fails_says_which_object_and_why_and_leaves_no_manifest() {
    const KEY: &str = "training/class_01/1_4.jpg";
    const MANIFEST: &str = ".anole/manifest.json";
    let env = with_pictures(SPEC);
    env.apply("spec.yaml");
    assert!(keys(&env).iter().any(|key| key == MANIFEST), "{:?}", keys(&env));
    env.write(&format!("data/{}", KEY.replace("class_01/", "")), "another");
    env.write("data/validation/0_3.jpg", "one more");
    let fault = json!([{"method": "PUT", "path": format!("/Food-11/{KEY}$"), "status": 403}]);
    Site::new(env.path("state/embedded/clouds/chi")).order_faults(&fault);
    let failed = env.anole("apply spec.yaml --yes").exits(1).says("datasets.food11: loading failed: ");
    failed.says(&format!("Food-11/{KEY}")).says("403");
    let left = keys(&env);
    assert!(!left.iter().any(|key| key == MANIFEST) && left.iter().any(|key| key == KEY), "{left:?}");
    assert_eq!((stored(&env, "training 4"), stored(&env, "another")), (1, 0), "the old one is there");
    // The fault is over: what is missing is sent.
    env.apply("spec.yaml").says("datasets.food11: 12 objects, ");
    assert_eq!((stored(&env, "training 4"), stored(&env, "another"), stored(&env, "one more")), (0, 1, 1));
    assert!(keys(&env).iter().any(|key| key == MANIFEST));
    env.has_no_changes("spec.yaml");
}

#[test]
fn a_source_that_is_wrong_is_refused_before_anything_is_sent() {
    let env = with_pictures(&SPEC.replace("{ path: ./data }", "{ url: 'file:///nowhere/at/all.zip' }"));
    env.anole("apply spec.yaml --yes").exits(1).says("datasets.food11: loading failed: /nowhere/at/all.zip:");
    env.write("pictures.tar", "no archive");
    let url = format!("file://{}", env.path("pictures.tar").display());
    let digest = "0".repeat(64);
    env.write("spec.yaml", &SPEC.replace("{ path: ./data }", &format!("{{ url: '{url}', sha256: '{digest}' }}")));
    env.anole("apply spec.yaml --yes").exits(1).says("pictures.tar").says(&digest);
    assert_eq!(stored(&env, "no archive"), 0);
    // What was begun is known, and done once the cause is mended.
    env.write("spec.yaml", SPEC);
    env.apply("spec.yaml").says("; 12 sent (");
    env.has_no_changes("spec.yaml");
}

#[test]
fn a_rehearsal_loads_into_no_store_but_the_embedded_ones() {
    let keys = "credential: { existing: { endpoint: 'https://s3.example.org', access_key: a, secret_key: b } }, prefix";
    let env = with_pictures(&SPEC.replace("prefix", keys));
    env.apply("spec.yaml")
        .says("the embedded cloud's own store stands in for https://s3.example.org")
        .says("; 12 sent (");
    env.has_no_changes("spec.yaml");
    assert_eq!(stored(&env, "training 4"), 1);

    // The site's own store, which has no address in the spec, is another one than that; and back.
    env.write("spec.yaml", SPEC);
    let plan = env.anole("plan spec.yaml --detailed-exitcode").exits(2);
    for line in ["-/+ datasets.food11", "endpoint changed", "endpoint: https://s3.example.org -> \"\""] {
        assert!(plan.stdout.contains(line), "{line}: {}", plan.stdout);
    }
    env.apply("spec.yaml");
    env.has_no_changes("spec.yaml");
    env.write("spec.yaml", &SPEC.replace("prefix", keys));
    let plan = env.anole("plan spec.yaml --detailed-exitcode").exits(2);
    assert!(plan.stdout.contains("endpoint: \"\" -> https://s3.example.org"), "{}", plan.stdout);
    env.apply("spec.yaml");
    env.has_no_changes("spec.yaml");
}

#[test]
fn what_cannot_be_is_said_with_what_to_do() {
    let env = with_pictures(&SPEC.replace("bucket: food11", "bucket: { existing: nowhere }"));
    env.anole("apply spec.yaml --yes").exits(1).says("the store has no bucket `nowhere`: name one that is there");
    let twice = SPEC.replace(
        "outputs:",
        "  more:\n    source: { path: ./data }\n    load: { bucket: food11, prefix: Food-11 }\noutputs:",
    );
    env.write("spec.yaml", &twice);
    env.anole("plan spec.yaml")
        .exits(1)
        .says("error[same-place]: datasets.more and datasets.food11 are both at s3://object-chi-netid/Food-11")
        .says("give each a prefix of its own");
}

#[test]
fn events_say_how_far_it_is() {
    let env = with_pictures(SPEC);
    let ran = env.anole("apply spec.yaml --yes --json").exits(0);
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().chain(ran.stderr.lines()).filter_map(|line| serde_json::from_str(line).ok()).collect();
    let last = events.iter().rfind(|event| event["event"] == "progress").unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!((&last["stage"], &last["objects"], &last["objects_total"]), (&"load".into(), &12.into(), &12.into()));
}

#[test]
fn few_datasets_are_made_at_a_time() {
    let (one, others) = SPEC.split_once("outputs:").expect("it has outputs");
    let block = &one[one.find("  food11:\n    source").expect("it is there")..];
    let more: String = (0..3)
        .map(|number| {
            block.replace("  food11:\n", &format!("  more{number}:\n")).replace("Food-11", &number.to_string())
        })
        .collect();
    let env = with_pictures(&format!("{one}{more}outputs:{others}"));
    let ran = env.apply("spec.yaml").says("waits for its turn").says("Apply complete: 5 created.");
    assert_eq!(format!("{}{}", ran.stdout, ran.stderr).matches("; 12 sent (").count(), 4);
    env.has_no_changes("spec.yaml");
}
