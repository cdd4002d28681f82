//! Several servers at once: the work inside one does not wait for that inside another.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::kit::{Lab, spec};

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn two_servers_are_worked_on_side_by_side() {
    let (mut volumes, mut attachments) = (String::new(), String::new());
    for (name, server, kind) in [("a", "one", "ext4"), ("b", "one", "xfs"), ("c", "two", "ext4"), ("d", "two", "xfs")] {
        volumes.push_str(&format!("  {name}: {{ size: 1GiB, protect: false }}\n"));
        attachments.push_str(&format!(
            "  {name}: {{ volume: {name}, server: {server}, filesystem: {kind}, mount: {{ path: /mnt/{name}, owner: cc }} }}\n"
        ));
    }
    let more = format!("volumes:\n{volumes}attachments:\n{attachments}");
    let text = spec(&["one", "two"], &more).replace("\"${key}\" }", "\"${key}\", ssh: { identity_file: ./key } }");
    let lab = Lab::with(&text);
    let ran = lab.env.anole("apply spec.yaml --yes --json").exits(0);
    let events: Vec<Json> = ran.lines().into_iter().filter(|line| line["type"] == "event").collect();

    // From the first word of each mount to its end, as places in the order of events.
    let mut spans: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        let address = event["address"].as_str().unwrap_or_default();
        let Some(name) = address.strip_prefix("attachments.").and_then(|rest| rest.strip_suffix("/mount")) else {
            continue;
        };
        if event["event"] == "waiting" && event["status"].as_str().is_some_and(|status| status.starts_with("making")) {
            spans.entry(name.to_owned()).or_insert((place, usize::MAX));
        }
        if event["event"] == "done" {
            spans.entry(name.to_owned()).and_modify(|span| span.1 = place);
        }
    }
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["a", "b", "c", "d"], "{events:#?}");
    let overlap = |x: &str, y: &str| spans[x].0 < spans[y].1 && spans[y].0 < spans[x].1;
    let across = [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")];
    assert!(across.iter().any(|(x, y)| overlap(x, y)), "side by side: {spans:?}");
    assert!(!overlap("a", "b") && !overlap("c", "d"), "one thing at a time in one server: {spans:?}");
    lab.env.has_no_changes("spec.yaml");
    for (server, names) in [("one", "a b"), ("two", "c d")] {
        lab.ssh(server, &format!("for n in {names}; do mountpoint -q /mnt/$n && touch /mnt/$n/file || exit 1; done"));
    }
}
