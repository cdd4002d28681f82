//! The host without machines: volumes' files, folders of servers that are gone, and consoles.

use serde_json::json;

use super::*;
use crate::embedded::tables::Table;

fn host() -> (tempfile::TempDir, Host, State) {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(folder.path(), Profile::ChameleonKvm);
    (folder, host, State::default())
}

#[test]
fn a_volume_is_a_sparse_file_of_its_size_while_it_is_there() {
    let (_folder, mut host, mut state) = host();
    let volume = |size: i64, status: &str| json!({"id": "v", "size": size, "status": status, "attachments": []});
    let length = |host: &Host| std::fs::metadata(host.folder().join("volumes/v.raw")).map(|file| file.len()).ok();
    state.put(Table::Volumes, "v", volume(1, "creating"));
    assert_eq!(host.reconcile(&state), Progress::default());
    assert_eq!(length(&host), Some(1 << 30));
    state.put(Table::Volumes, "v", volume(2, "available"));
    host.reconcile(&state);
    assert_eq!(length(&host), Some(2 << 30));
    state.put(Table::Volumes, "v", volume(2, "deleting"));
    host.reconcile(&state);
    assert_eq!(length(&host), None);
}

#[test]
fn what_a_server_that_is_gone_left_is_removed() {
    let (_folder, mut host, state) = host();
    std::fs::create_dir_all(host.folder().join("gone")).unwrap();
    std::fs::write(host.folder().join("gone/pid"), std::process::id().to_string()).unwrap();
    host.reconcile(&state);
    assert!(!host.folder().join("gone").exists());
}

#[test]
fn a_stopped_server_without_a_machine_is_as_wanted() {
    let (_folder, mut host, mut state) = host();
    state.put(Table::Servers, "s", json!({"id": "s", "status": "SHUTOFF", "vm_state": "stopped", "launched": 1}));
    assert_eq!(host.reconcile(&state), Progress::default());
}

#[test]
fn a_console_is_shown_from_its_end() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(console(folder.path(), "s", None), "");
    std::fs::create_dir(folder.path().join("s")).unwrap();
    std::fs::write(folder.path().join("s/console.log"), b"one\r\ntwo\r\nthr\xffee\r\n").unwrap();
    assert_eq!(console(folder.path(), "s", None), "one\r\ntwo\r\nthr\u{fffd}ee\r\n");
    assert_eq!(console(folder.path(), "s", Some(2)), "two\r\nthr\u{fffd}ee\r\n");
    assert_eq!(console(folder.path(), "s", Some(9)), "one\r\ntwo\r\nthr\u{fffd}ee\r\n");
}
