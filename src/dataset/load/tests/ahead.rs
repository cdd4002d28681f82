//! Looks that are begun before it is known what is wanted.

use super::super::audit::audit_with;
use super::super::look::FRESH;
use super::*;

fn place(store: &Store) -> Place {
    Place { store: store.clone(), bucket: "b".into(), prefix: "p".into() }
}

/// A load with a look that was begun before, and how many requests both took.
async fn load_ahead(store: &Store, objects: &[Object]) -> (Report, u64) {
    load_with(store, objects, None).await
}

/// The same, with a local copy of the manifest.
async fn load_with(store: &Store, objects: &[Object], local: Option<&LocalCopy>) -> (Report, u64) {
    let before = store.request_count();
    let seen = ahead(&place(store), local.cloned()).await;
    let options = Options { transfers: 16, ..options() };
    let report = load_from(&place(store), objects.to_vec(), &empty(), (options, Some(seen)), Arc::new(Unwatched)).await;
    (report.unwrap(), store.request_count() - before)
}

#[tokio::test]
async fn what_was_seen_before_is_not_looked_at_again() {
    let (fake, store) = Fake::serve().await;
    let mut objects = some(2500);
    // A first load: a look for the manifest and a list; the mark; a list of unfinished uploads; the manifest, and no mark.
    let (report, requests) = load_ahead(&store, &objects).await;
    assert_eq!((report.sent, requests), (2500, 2500 + 6));
    assert_whole(&fake, &objects);
    // Three pages, of which the last two are cut where the manifest says.
    let (report, requests) = load_ahead(&store, &objects).await;
    assert_eq!((report.sent, requests), (0, 1 + 3));
    objects[7] = wanted(&objects[7].key.clone(), b"another".to_vec());
    objects.push(wanted("o/more.jpg", b"more".to_vec()));
    objects.remove(2000);
    let (report, _) = load_ahead(&store, &objects).await;
    assert_eq!(report.sent, 2);
    assert!(fake.keys().contains(&"p/o/2000.jpg".to_owned()));
    let manifest = fake.world.lock().unwrap().objects["p/.anole/manifest.json"].content.clone();
    assert_eq!(Manifest::parse(&manifest).unwrap().objects.len(), 2500);
}

#[tokio::test]
async fn a_manifest_that_is_at_hand_is_not_read_again() {
    let (fake, store) = Fake::serve().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest");
    let (local, mut objects) = (LocalCopy::at(&path), some(2500));
    let manifest = || fake.world.lock().unwrap().objects["p/.anole/manifest.json"].clone();
    let load = async |objects: &[Object]| {
        let (report, requests) = load_with(&store, objects, Some(&local)).await;
        assert_eq!(Manifest::parse(&manifest().content).unwrap().objects.len(), objects.len());
        (report.sent, requests)
    };
    load(&objects).await;
    let unchanged = (0, 3 + 1);
    let heads = || fake.log().iter().filter(|line| line.starts_with("HEAD")).count();
    heads();
    assert_eq!(load(&objects).await, unchanged, "three pages, and a look at the manifest");
    assert_eq!(heads(), 1);
    objects[7] = wanted(&objects[7].key.clone(), b"another".to_vec());
    assert_eq!(load(&objects).await.0, 1);
    assert_eq!(load(&objects).await, unchanged);
    // Another machine loads something else: the look shows it, and the manifest that is there now is read.
    let mut others = objects.clone();
    others[9] = wanted(&objects[9].key.clone(), b"others'".to_vec());
    run(&store, &others, options()).await.unwrap();
    assert_eq!(load(&objects).await.0, 1, "{}", objects[9].key);
    assert_eq!(load(&objects).await, unchanged);
    // One that is no longer there is written again.
    fake.world.lock().unwrap().objects.remove("p/.anole/manifest.json");
    assert_eq!(load(&objects).await.0, 0);
    assert_eq!(load(&objects).await, unchanged);
    // A damaged copy, or one of another place, is none.
    let copy = std::fs::read_to_string(&path).unwrap();
    // By one digit, which no form shows.
    let at = copy.find("\"size\":").unwrap() + "\"size\":".len();
    let other_size = format!("{}{}{}", &copy[..at], if &copy[at..=at] == "1" { 2 } else { 1 }, &copy[at + 1..]);
    for damaged in ["", "{", "{}\n{}", &copy[..copy.len() / 2], &copy.replacen("b/p/", "b/q/", 1), &other_size] {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(load(&objects).await.0, 0, "{}", damaged.get(..60).unwrap_or(damaged));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), copy);
    }
}

#[tokio::test]
async fn a_look_that_became_old_is_taken_again() {
    let (fake, store) = Fake::serve().await;
    let objects = some(20);
    run(&store, &objects, options()).await.unwrap();
    let mut old = ahead(&place(&store), None).await;
    let fresh = ahead(&place(&store), None).await;
    fake.world.lock().unwrap().objects.remove("p/o/0003.jpg");
    let from = async |seen| {
        let given = (options(), Some(seen));
        load_from(&place(&store), objects.clone(), &empty(), given, Arc::new(Unwatched)).await.unwrap().sent
    };
    assert_eq!(from(fresh).await, 0, "it was believed");
    old.age(FRESH);
    assert_eq!(from(old).await, 1, "it was looked for");
}

#[tokio::test]
async fn what_is_to_be_deleted_is_looked_at_again() {
    let (fake, store) = Fake::serve().await;
    run(&store, &some(3), options()).await.unwrap();
    fake.world.lock().unwrap().objects.insert("p/sub/one".into(), Kept::default());
    let seen = ahead(&place(&store), None).await;
    // Another dataset shows itself below this one.
    fake.world.lock().unwrap().objects.insert("p/sub/.anole/previous.json".into(), Kept::default());
    let options = Options { delete_extra: true, ..options() };
    let report = load_from(&place(&store), some(2), &empty(), (options, Some(seen)), Arc::new(Unwatched)).await;
    assert_eq!(report.unwrap().deleted, 1);
    assert!(fake.keys().contains(&"p/sub/one".to_owned()) && !fake.keys().contains(&"p/o/0002.jpg".to_owned()));
}

#[tokio::test]
async fn what_is_wrong_with_the_bucket_is_said_once_and_with_what_to_do() {
    let (_fake, store) = Fake::serve().await;
    let place = Place { store: store.clone(), bucket: "nowhere".into(), prefix: "p".into() };
    let seen = ahead(&place, None).await;
    let asked = store.request_count();
    let load = load_from(&place, some(2), &empty(), (options(), Some(seen)), Arc::new(Unwatched)).await;
    assert!(load.unwrap_err().hint().is_some_and(|hint| hint.contains("has no bucket `nowhere`")));
    assert_eq!(store.request_count(), asked, "it is known already");
    let load = super::load(&place, &some(2), &empty(), options(), Arc::new(Unwatched)).await;
    assert!(load.unwrap_err().hint().is_some_and(|hint| hint.contains("has no bucket `nowhere`")));
}

#[tokio::test]
async fn an_interrupted_first_load_of_many_is_carried_on() {
    let (fake, store) = Fake::serve().await;
    let objects = some(1700);
    until(&store, &objects, options(), 20_000).await.unwrap_err();
    // What was on its way when it stopped may arrive still.
    let mut there = usize::MAX;
    while there != fake.keys().len() {
        there = fake.keys().len();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(there > 1000, "{there}");
    // More than a page, and no manifest says where the next begins.
    let (report, _) = load_ahead(&store, &objects).await;
    assert_eq!(report.sent, 1700 - (there as u64 - 1));
    assert_whole(&fake, &objects);
}

#[tokio::test]
async fn a_large_object_that_no_list_has_yet_is_not_missing() {
    let (fake, store) = Fake::serve().await;
    run(&store, &[large("one", 3, 1), large("two", 3, 2), wanted("small", vec![1])], options()).await.unwrap();
    let place = place(&store);
    let found = async || {
        let audit = audit_with(&place, Reading::Tags, options()).await.unwrap();
        (audit.missing, audit.changed)
    };
    fake.world.lock().unwrap().unlisted.extend(["p/one".to_owned(), "p/two".to_owned(), "p/small".to_owned()]);
    assert_eq!(found().await, (1, 0), "only the small one");
    fake.world.lock().unwrap().objects.remove("p/two");
    assert_eq!(found().await, (2, 0));
}
