//! The volume rules on every disk that is not ours to overwrite.

use super::*;

const GIB: u64 = 1 << 30;

/// A disk of 2 GiB as `probe.sh` prints it, with more lines in between.
fn probe(lines: &str) -> Probe {
    let used = ["first", "last", "sample"]
        .iter()
        .filter(|place| !lines.contains(&format!("used {place}")))
        .map(|place| format!("used {place} 0\n"))
        .collect::<String>();
    let size = if lines.contains("size ") { "" } else { "size 2147483648\n" };
    Probe::parse(&format!("{size}{lines}\n{used}mark \nend\n").replace("\n\n", "\n")).unwrap()
}

fn wanted<'a>() -> Wanted<'a> {
    Wanted {
        disk: "/dev/vdb",
        volume: "attachments.data",
        size: 2 * GIB,
        origin: Some(Origin::Created),
        filesystem: Some("ext4"),
        remembered: None,
        noted: None,
    }
}

fn decided(probe: &Probe, wanted: &Wanted<'_>) -> Result<Decision, String> {
    decide(probe, wanted).map_err(|error| error.to_string())
}

fn refused(probe: &Probe, wanted: &Wanted<'_>) -> String {
    match decide(probe, wanted) {
        Err(GuestError::Refused { message, hint }) => format!("{message}\n{}", hint.unwrap_or_default()),
        other => panic!("not refused: {other:?}"),
    }
}

fn ours(phase: Phase, partuuid: Option<&str>) -> Filesystem {
    Filesystem { kind: "ext4".to_owned(), uuid: "our-uuid".to_owned(), partuuid: partuuid.map(str::to_owned), phase }
}

const TABLE: &str = "tag /dev/vdb PTTYPE gpt\nsignature /dev/vdb gpt 0x200\npartition /dev/vdb1 2048 4190208\n";

fn partition(kind: &str, uuid: &str, usage: &str) -> String {
    format!(
        "{TABLE}tag /dev/vdb1 TYPE {kind}\ntag /dev/vdb1 UUID {uuid}\ntag /dev/vdb1 USAGE {usage}\nsignature /dev/vdb1 {kind} 0x438\n"
    )
}

#[test]
fn a_blank_disk_of_ours_gets_a_filesystem() {
    assert_eq!(decided(&probe(""), &wanted()), Ok(Decision::Make));
}

#[test]
fn a_blank_disk_that_is_not_ours_does_not() {
    for origin in [None, Some(Origin::Imported), Some(Origin::Adopted)] {
        let text = refused(&probe(""), &Wanted { origin, ..wanted() });
        assert!(text.contains("anole did not create it") && text.contains("sudo mkfs.ext4 '/dev/vdb'"), "{text}");
    }
}

#[test]
fn a_filesystem_of_the_wanted_type_is_taken_as_it_is() {
    let taken = |device: &str| Ok(Decision::Take { device: device.into(), kind: "ext4".into(), uuid: "u".into() });
    assert_eq!(decided(&probe(&partition("ext4", "u", "filesystem")), &wanted()), taken("/dev/vdb1"));
    let bare =
        "tag /dev/vdb TYPE ext4\ntag /dev/vdb UUID u\ntag /dev/vdb USAGE filesystem\nsignature /dev/vdb ext4 0x438\n";
    assert_eq!(decided(&probe(bare), &wanted()), taken("/dev/vdb"));
    // Also where the spec does not say which, and on a volume that somebody else made.
    let any = Wanted { filesystem: None, origin: None, ..wanted() };
    assert_eq!(decided(&probe(bare), &any), taken("/dev/vdb"));
}

#[test]
fn a_filesystem_of_another_type_is_refused() {
    let text = refused(&probe(&partition("xfs", "u", "filesystem")), &wanted());
    assert!(text.contains("holds an xfs filesystem") && text.contains("`filesystem: xfs`"), "{text}");
}

#[test]
fn whatever_is_there_is_never_formatted() {
    let hostile = [
        (partition("LVM2_member", "u", "raid"), "an LVM physical volume"),
        (partition("crypto_LUKS", "u", "crypto"), "a LUKS container"),
        (partition("linux_raid_member", "u", "raid"), "a member of a Linux RAID"),
        (partition("swap", "u", "other"), "swap space"),
        (
            "tag /dev/vdb TYPE iso9660\ntag /dev/vdb USAGE filesystem\nsignature /dev/vdb iso9660 0x8001\n".into(),
            "a disc image",
        ),
        (TABLE.to_owned(), "a gpt partition table with 1 partition"),
        (
            "tag /dev/vdb PTTYPE dos\nsignature /dev/vdb dos 0x1fe\n".to_owned(),
            "a dos partition table with 0 partitions",
        ),
        ("ambivalent /dev/vdb\nsignature /dev/vdb ext4 0x438\nsignature /dev/vdb xfs 0x0\n".to_owned(), "contradict"),
        ("signature /dev/vdb bcache 0x1018\n".to_owned(), "the signature of bcache"),
        ("holder vg0-lv0\n".to_owned(), "`vg0-lv0`, which is built on it"),
        ("lost ext4 1048576\n".to_owned(), "an ext4 filesystem at offset 1048576"),
        ("used first 4096\n".to_owned(), "data without a signature that is known (4096 bytes in its first MiB)"),
        ("used last 1\n".to_owned(), "1 bytes in its last MiB"),
        ("used sample 9\n".to_owned(), "9 bytes in between"),
    ];
    for (lines, says) in hostile {
        let found = probe(&lines);
        // Neither for a new volume, nor where a making of ours is on record that left no trace here.
        let text = refused(&found, &wanted());
        assert!(text.contains(says), "{lines}\n{text}");
        for partuuid in [None, Some("other-partuuid")] {
            let intended = ours(Phase::Intended, partuuid);
            refused(&found, &Wanted { remembered: Some(&intended), ..wanted() });
        }
    }
}

#[test]
fn what_the_state_remembers_must_be_there() {
    let made = ours(Phase::Made, Some("p"));
    let remembered = Wanted { remembered: Some(&made), ..wanted() };
    for lines in [String::new(), partition("ext4", "another", "filesystem"), TABLE.to_owned()] {
        let text = refused(&probe(&lines), &remembered);
        assert!(
            text.contains("the state remembers an ext4 filesystem with UUID our-uuid, and it is not there"),
            "{text}"
        );
    }
    let there = probe(&partition("ext4", "our-uuid", "filesystem"));
    assert!(matches!(decided(&there, &remembered), Ok(Decision::Take { .. })));
}

#[test]
fn a_volume_whose_metadata_remembers_a_filesystem_is_not_formatted() {
    let text = refused(&probe(""), &Wanted { noted: Some("their-uuid"), ..wanted() });
    assert!(text.contains("its metadata remembers a filesystem with UUID their-uuid"), "{text}");
}

#[test]
fn a_disk_that_is_smaller_than_its_volume_may_be_another() {
    let text = refused(&probe("size 1073741824\n"), &wanted());
    assert!(text.contains("it may be another disk"), "{text}");
}

#[test]
fn a_blank_disk_without_a_word_on_what_to_make_is_left_blank() {
    let text = refused(&probe(""), &Wanted { filesystem: None, ..wanted() });
    assert!(text.contains("add `filesystem: ext4`"), "{text}");
    assert!(refused(&probe("readonly /dev/vdb\n"), &wanted()).contains("can only be read"));
}

#[test]
fn an_interrupted_making_of_ours_is_made_again() {
    let on_partition = ours(Phase::Intended, Some("our-part"));
    let intended = Wanted { remembered: Some(&on_partition), ..wanted() };
    assert_eq!(decided(&probe(""), &intended), Ok(Decision::Make));
    let table = format!("{TABLE}tag /dev/vdb1 PART_ENTRY_UUID OUR-PART\nused first 600\n");
    assert_eq!(decided(&probe(&table), &intended), Ok(Decision::MakeAgain { device: None }));
    let filesystem = partition("ext4", "our-uuid", "filesystem");
    assert_eq!(
        decided(&probe(&filesystem), &intended),
        Ok(Decision::MakeAgain { device: Some("/dev/vdb1".to_owned()) })
    );
    // A second partition, another's partition, or a signature on it: not what ours leaves.
    refused(&probe(&format!("{table}partition /dev/vdb2 5000 5000\n")), &intended);
    refused(&probe(&format!("{TABLE}tag /dev/vdb1 PART_ENTRY_UUID another\n")), &intended);
    refused(&probe(&format!("{table}tag /dev/vdb1 TYPE swap\ntag /dev/vdb1 USAGE other\n")), &intended);
}

#[test]
fn an_interrupted_making_on_a_whole_disk_is_known_by_its_mark() {
    let whole = ours(Phase::Intended, None);
    let intended = Wanted { remembered: Some(&whole), ..wanted() };
    let marked = |mark: &str| Probe { mark: mark.to_owned(), used: [Some(512), Some(40), Some(7)], ..probe("") };
    assert_eq!(
        decided(&marked("anole is making filesystem our-uuid here"), &intended),
        Ok(Decision::MakeAgain { device: None })
    );
    refused(&marked("anole is making filesystem another here"), &intended);
    refused(&marked(""), &intended);
}

#[test]
fn half_a_look_is_none() {
    for text in ["", "size 5\n", "size x\nend\n", "what is this\nend\n", "used first\nend\n"] {
        assert!(Probe::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_disk_that_nobody_looked_through_is_not_blank() {
    let shallow = Probe::parse("size 2147483648\nmark \nend\n").unwrap();
    assert!(!shallow.is_blank());
    refused(&shallow, &wanted());
}
