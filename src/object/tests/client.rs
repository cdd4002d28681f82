//! Retries, errors and bounds, against the fake.

use std::sync::atomic::Ordering;

use super::fake::Fake;
use crate::object::{Keys, ObjectErrorKind, PutOptions, Sum, Victim};

fn md5(content: &[u8]) -> [u8; 16] {
    use md5::{Digest as _, Md5};
    Md5::digest(content).into()
}

#[tokio::test]
async fn faults_pass_and_the_content_arrives() {
    let (fake, store) = Fake::serve().await;
    fake.faults.slow_down.store(5, Ordering::SeqCst);
    fake.faults.cut.store(7, Ordering::SeqCst);
    for number in 0..40 {
        let content = format!("content {number}").into_bytes();
        let options = PutOptions { sum: Some(Sum::Md5(md5(&content))), ..PutOptions::default() };
        let key = format!("p/{number} ä+&.jpg");
        let etag = store.put("b", &key, &content.clone().into(), &options).await.unwrap();
        assert_eq!(etag, crate::hex::encode(&md5(&content)));
        assert_eq!(store.read("b", &key, 100).await.unwrap(), content);
    }
    assert_eq!(fake.keys().len(), 40);
    assert!(store.request_count() > 95, "tries are counted: {}", store.request_count());
}

#[tokio::test]
async fn a_read_that_breaks_off_is_read_again_and_never_taken_for_whole() {
    let (fake, store) = Fake::serve().await;
    store.put("b", "k", &"0123456789".into(), &PutOptions::default()).await.unwrap();
    fake.faults.half_reads.store(2, Ordering::SeqCst);
    assert_eq!(store.read("b", "k", 100).await.unwrap(), "0123456789");
    let error = store.read("b", "k", 9).await.unwrap_err();
    assert!(error.to_string().contains("more than 9"), "{error}");
}

#[tokio::test]
async fn other_bytes_than_promised_are_refused_by_the_store() {
    let (_, store) = Fake::serve().await;
    for sum in [Sum::Md5(md5(b"other")), Sum::Sha256([7; 32])] {
        let options = PutOptions { sum: Some(sum), ..PutOptions::default() };
        let error = store.put("b", "k", &"this".into(), &options).await.unwrap_err();
        assert_eq!(error.kind(), ObjectErrorKind::Mismatch, "{sum:?}");
        assert!(error.to_string().contains("PUT b/k") && error.to_string().contains("tx1"), "{error}");
    }
}

#[tokio::test]
async fn keys_that_are_over_are_told_from_a_store_that_is_busy_and_shown_nowhere() {
    let (fake, store) = Fake::serve().await;
    fake.faults.expire_after.store(1, Ordering::SeqCst);
    store.put("b", "k", &"x".into(), &PutOptions::default()).await.unwrap();
    let error = store.put("b", "k", &"x".into(), &PutOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ObjectErrorKind::Credentials);
    assert!(error.parts().hint.as_deref().unwrap().contains("does not know this access key"));
    let all = format!("{error} {error:?} {store:?}");
    assert!(!all.contains("very-secret"), "{all}");
}

#[tokio::test]
async fn lists_are_paged_and_bounded_and_deletions_go_in_thousands() {
    let (fake, store) = Fake::serve().await;
    for number in 0..2500 {
        fake.world.lock().unwrap().objects.insert(format!("p/{number:05}"), super::fake::Kept::default());
    }
    fake.world.lock().unwrap().objects.insert("q".into(), super::fake::Kept::default());
    let keys = |after: Option<&str>, until: Option<&str>| Keys {
        prefix: "p/".into(),
        after: after.map(str::to_owned),
        until: until.map(str::to_owned),
    };
    assert_eq!(store.list("b", &keys(None, None)).await.unwrap().len(), 2500);
    let some = store.list("b", &keys(Some("p/00009"), Some("p/01500"))).await.unwrap();
    assert_eq!((some.len(), some[0].key.as_str()), (1491, "p/00010"));
    fake.log();
    let victims: Vec<_> = (0..2500).map(|number| Victim::object(format!("p/{number:05}"))).collect();
    store.delete("b", &victims, 4, &|_| ()).await.unwrap();
    assert_eq!(fake.keys(), ["q"]);
    assert_eq!(fake.log().iter().filter(|line| line.starts_with("POST")).count(), 3);
}

#[tokio::test]
async fn what_is_not_there_is_said_by_its_name() {
    let (_, store) = Fake::serve().await;
    let error = store.head("b", "none").await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("HEAD b/none"), "{error}");
    assert!(store.list("c", &Keys::default()).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_bucket_is_made_whose_first_answer_was_lost() {
    let (fake, store) = Fake::serve().await;
    fake.faults.unmade.store(1, Ordering::SeqCst);
    // The look, the first request and its break, the second.
    fake.faults.cut.store(2, Ordering::SeqCst);
    store.create_bucket("b", &[]).await.unwrap();
    assert_eq!(fake.log(), ["HEAD ", "PUT ", "PUT "]);
    let error = store.create_bucket("b", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ObjectErrorKind::AlreadyYours, "{error}");
    assert_eq!(fake.log(), ["HEAD "]);
}
