//! Crashes between any two steps of a commit, and files that are damaged, foreign or of a later version.

use super::*;
use crate::model::{Address, RemoteId};
use crate::state::tests::{begin, create_intent, record};
use crate::state::{Intent, State};
use std::os::unix::fs::PermissionsExt;

struct Bench {
    folder: tempfile::TempDir,
    store: FileStore,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::new(folder.path().join("state/block.json"), "block");
    Bench { folder, store }
}

impl Bench {
    fn writer(&self) -> Box<dyn Writer> {
        self.store.lock(&Holder::current("anole apply"), Duration::ZERO).unwrap()
    }

    /// Commits a state with one record, so often.
    fn commit(&self, times: usize) -> Loaded {
        let mut loaded = self.store.load().unwrap().unwrap_or_else(fresh);
        let mut writer = self.writer();
        for _ in 0..times {
            loaded.state.resources.insert(at("data"), record("volume", "v"));
            writer.commit(&mut loaded).unwrap();
        }
        loaded
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path().join("state"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn fresh() -> Loaded {
    Loaded::new(State::new("block", "0123456789abcdef".to_owned()))
}

fn at(name: &str) -> Address {
    Address::new("volumes", name)
}

fn put(name: &str) -> Entry {
    Entry::Put { address: at(name), resource: Box::new(record("volume", name)) }
}

fn ids(loaded: &Loaded) -> Vec<String> {
    loaded.state.resources.values().map(|record| record.id.to_string()).collect()
}

#[test]
fn an_apply_without_a_snapshot_is_carried_on_from_its_journal() {
    let bench = bench();
    assert_eq!(bench.store.load().unwrap(), None);
    let mut writer = bench.writer();
    writer.begin(&begin(0)).unwrap();
    writer.append(&[put("a"), Entry::Intent(create_intent(at("b")))]).unwrap();
    drop(writer);
    let loaded = bench.store.load().unwrap().unwrap();
    assert_eq!((ids(&loaded), loaded.open.len(), loaded.state.serial), (vec!["a".to_owned()], 1, 0));

    let mut writer = bench.writer();
    writer.begin(&begin(0)).unwrap();
    writer.append(&[Entry::Accepted { address: at("b"), id: RemoteId::from("b") }]).unwrap();
    let mut loaded = writer.load().unwrap().unwrap();
    assert_eq!((ids(&loaded).len(), loaded.open.len()), (2, 0));
    writer.commit(&mut loaded).unwrap();
    drop(writer);
    assert_eq!(loaded.state.serial, 1);
    assert_eq!(bench.store.load().unwrap(), Some(loaded));
    assert_eq!(bench.files(), ["block.json"]);
}

#[test]
fn a_commit_keeps_open_intents() {
    let bench = bench();
    let mut loaded = fresh();
    loaded.fold(Entry::Intent(Intent { name: "b".to_owned(), ..create_intent(at("b")) }));
    bench.writer().commit(&mut loaded).unwrap();
    assert_eq!(bench.store.load().unwrap().unwrap().open[&at("b")].name, "b");
}

#[test]
fn a_journal_cut_at_any_byte_of_its_last_two_lines_loads() {
    let bench = bench();
    bench.commit(1);
    let mut writer = bench.writer();
    writer.begin(&begin(1)).unwrap();
    writer.append(&[put("a")]).unwrap();
    let sound = std::fs::read(bench.store.journal_path()).unwrap().len();
    writer.append(&[put("b"), put("c")]).unwrap();
    drop(writer);
    let bytes = std::fs::read(bench.store.journal_path()).unwrap();
    let first_end = sound + bytes[sound..].iter().position(|byte| *byte == b'\n').unwrap();
    for cut in sound..=bytes.len() {
        std::fs::write(bench.store.journal_path(), &bytes[..cut]).unwrap();
        let expected = 2 + usize::from(cut >= first_end) + usize::from(cut >= bytes.len() - 1);
        assert_eq!(ids(&bench.store.load().unwrap().unwrap()).len(), expected, "cut at {cut}");
        let mut writer = bench.writer();
        writer.begin(&begin(1)).unwrap();
        writer.append(&[put("d")]).unwrap();
        assert_eq!(ids(&writer.load().unwrap().unwrap()).len(), expected + 1, "carried on after a cut at {cut}");
    }
}

#[test]
fn a_crash_between_any_two_steps_of_a_commit_reads_as_before_or_after() {
    for crash_after in 0..=4 {
        let bench = bench();
        let before = bench.commit(1);
        let mut writer = bench.writer();
        writer.begin(&begin(1)).unwrap();
        writer.append(&[put("a"), Entry::Intent(create_intent(at("b")))]).unwrap();
        let mut next = writer.load().unwrap().unwrap();
        drop(writer);
        let journalled = next.clone();
        next.state.serial += 1;

        let store = &bench.store;
        let text = format::write(&next).unwrap();
        let steps: [&dyn Fn() -> Result<(), Error>; 4] =
            [&|| store.write_new(&text), &|| store.keep_previous(), &|| store.swap(), &|| store.drop_journal(false)];
        steps[..crash_after].iter().for_each(|step| step().unwrap());
        let expected = if crash_after < 3 { &journalled } else { &next };
        assert_eq!(store.load().unwrap().as_ref(), Some(expected), "crash after step {crash_after}");
        assert_ne!(expected, &before);

        // The next apply goes on from there, and its commit leaves nothing behind.
        let mut loaded = store.load().unwrap().unwrap();
        let mut writer = bench.writer();
        writer.begin(&begin(loaded.state.serial)).unwrap();
        writer.append(&[put("c")]).unwrap();
        loaded = writer.load().unwrap().unwrap();
        writer.commit(&mut loaded).unwrap();
        drop(writer);
        assert_eq!(ids(&store.load().unwrap().unwrap()), ["a", "c", "v"]);
        assert_eq!(store.load().unwrap().unwrap().open.len(), 1);
        assert_eq!(bench.files(), ["block.json", "block.json.backups"]);
    }
}

#[test]
fn a_write_that_was_torn_before_the_first_line_starts_over() {
    let bench = bench();
    bench.commit(1);
    for torn in ["", "{\"version\":1,\"ent"] {
        std::fs::write(bench.store.journal_path(), torn).unwrap();
        assert_eq!(ids(&bench.store.load().unwrap().unwrap()), ["v"]);
        bench.writer().begin(&begin(1)).unwrap();
    }
}

#[test]
fn ten_backups_are_kept_and_a_damaged_state_names_the_newest_readable() {
    let bench = bench();
    bench.commit(14);
    let backups = bench.store.backups().unwrap();
    assert_eq!(backups.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (4..=13).collect::<Vec<_>>());
    for path in [&bench.store.path, &backups[0].1] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let folder = bench.folder.path().join("state");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);

    std::fs::write(&backups[9].1, "{").unwrap();
    for damage in ["", "{\n  \"version\": 1,\n  \"stack\"", "\u{0}\u{0}", "null"] {
        // Not in place: the newest backups are links.
        std::fs::remove_file(&bench.store.path).unwrap();
        std::fs::write(&bench.store.path, damage).unwrap();
        let error = bench.store.load().unwrap_err();
        assert!(matches!(&error, Error::Corrupt { backup: Some(path), .. } if *path == backups[8].1), "{error:?}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("cp ") && hint.contains("000012.json"), "{hint}");
        assert!(bench.writer().begin(&begin(13)).is_err(), "a damaged state was taken for none");
        assert!(bench.writer().commit(&mut fresh()).is_err(), "a damaged state was taken for none");
    }
    std::fs::copy(&backups[8].1, &bench.store.path).unwrap();
    assert_eq!(bench.store.load().unwrap().unwrap().state.serial, 12);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let bench = bench();
    let loaded = bench.commit(2);
    assert_eq!(loaded.state.serial, 2);
    let journal = bench.store.journal_path();
    Journal::begin(&journal, &begin(3)).unwrap();
    assert!(matches!(bench.store.load(), Err(Error::JournalAhead { serial: 3, found: Some(2), .. })));
    remove(&journal).unwrap();
    let mut foreign = begin(2);
    if let Entry::Begin { lineage, .. } = &mut foreign {
        "fedcba9876543210".clone_into(lineage);
    }
    assert!(matches!(bench.writer().begin(&foreign), Err(Error::OtherLineage { .. })));
    assert!(matches!(bench.writer().begin(&begin(1)), Err(Error::Moved { expected: 1, found: 2, .. })));
    assert!(matches!(bench.writer().append(&[put("a")]), Err(Error::JournalClosed { .. })));
    Journal::begin(&journal, &foreign).unwrap();
    assert!(matches!(bench.store.load(), Err(Error::OtherLineage { .. })));
    remove(&journal).unwrap();
    let other = FileStore::new(&bench.store.path, "object");
    assert!(matches!(other.load(), Err(Error::OtherStack { .. })));
    let mut stale = loaded.clone();
    stale.state.serial = 1;
    assert!(matches!(bench.writer().commit(&mut stale), Err(Error::Moved { .. })));
    std::fs::remove_file(&bench.store.path).unwrap();
    Journal::begin(&journal, &begin(2)).unwrap();
    assert!(matches!(bench.store.load(), Err(Error::JournalAhead { found: None, backup: Some(_), .. })));
}

#[test]
fn replacing_keeps_what_was_there_readable_or_not() {
    let bench = bench();
    bench.commit(2);
    let mut writer = bench.writer();
    writer.begin(&begin(2)).unwrap();
    drop(writer);
    std::fs::remove_file(&bench.store.path).unwrap();
    std::fs::write(&bench.store.path, "damaged").unwrap();
    let mut recovered = fresh();
    bench.writer().replace(&mut recovered).unwrap();
    assert_eq!(recovered.state.serial, 3, "the journal's serial counts");
    assert_eq!(bench.store.load().unwrap(), Some(recovered));
    let folder = bench.store.beside(".backups");
    assert_eq!(std::fs::read_to_string(folder.join("000002.json")).unwrap(), "damaged");
    assert!(folder.join("000002.journal").exists() || folder.join("000003.journal").exists());
    assert_eq!(bench.files(), ["block.json", "block.json.backups"]);
}

#[test]
fn a_later_versions_state_says_upgrade() {
    let bench = bench();
    bench.commit(1);
    std::fs::write(&bench.store.path, "{\"version\": 3, \"tool\": \"0.9\"}").unwrap();
    let error = bench.store.load().unwrap_err();
    let text = format!("{error}: {}", error.hint().unwrap());
    assert!(text.ends_with("was written by anole 0.9 with state format 3; this anole knows up to 1: upgrade anole"));
}
