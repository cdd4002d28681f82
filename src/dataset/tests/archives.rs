//! Archives of all sorts, and hostile ones.

use std::io::Write as _;
use std::path::Path;

use rawzip::CompressionMethod;
use serde_json::json;

use super::{data, job, objects, texts};
use crate::dataset::{DatasetError, ErrorKind};

type File<'a> = (&'a [u8], &'a [u8]);

const FILES: [File<'static>; 3] = [(b"a/x.txt", b"hello"), (b"a/y.txt", b"world"), (b"empty", b"")];

/// What comes of a file whose content this is.
fn load(content: &[u8], name: &str, more: serde_json::Value) -> Result<Vec<(String, String)>, DatasetError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, content).unwrap();
    let mut value = json!({ "sources": [{ "from": { "path": file } }] });
    value.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    let staging = folder.path().join("staging");
    let found = objects(&job(value), &staging).map(|objects| texts(&objects));
    let around: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(around.len(), 2, "nothing is written outside the staging folder: {around:?}");
    if found.is_err() {
        let made = std::fs::read_dir(staging.join("made")).unwrap().count();
        assert_eq!(made, 0, "nothing half is left as if it were whole");
    }
    found
}

fn refused(content: &[u8], name: &str, why: &str) {
    let error = load(content, name, json!({})).unwrap_err();
    assert!(error.message.contains(why), "{} does not say: {why}", error.message);
    assert!(error.message.contains(name), "{} does not name the archive", error.message);
}

fn zip_by(files: &[File<'_>], method: CompressionMethod, mode: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut zip = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (name, content) in files {
        let path = rawzip::path::EntryPath::verbatim(*name);
        let start = zip.new_file(path).compression_method(method).unix_permissions(mode).start();
        let (mut entry, config) = start.unwrap();
        let descriptor = match method {
            CompressionMethod::DEFLATE => {
                let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
                let mut writer = config.wrap(encoder);
                writer.write_all(content).unwrap();
                let (encoder, descriptor) = writer.finish().unwrap();
                encoder.finish().unwrap();
                descriptor
            }
            _ => {
                let mut writer = config.wrap(&mut entry);
                writer.write_all(content).unwrap();
                writer.finish().unwrap().1
            }
        };
        entry.finish(descriptor).unwrap();
    }
    zip.finish().unwrap();
    bytes
}

fn zip(files: &[File<'_>]) -> Vec<u8> {
    zip_by(files, CompressionMethod::DEFLATE, 0o100_644)
}

/// A name, a kind, what a link leads to, and the content.
type Header<'a> = (&'a [u8], tar::EntryType, &'a [u8], &'a [u8]);

/// A tar with headers as they are given, whatever they say.
fn tar_of(entries: &[Header<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, link, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn tar(files: &[File<'_>]) -> Vec<u8> {
    let entries: Vec<_> =
        files.iter().map(|(name, content)| (*name, tar::EntryType::Regular, &b""[..], *content)).collect();
    tar_of(&entries)
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn seven(files: &[File<'_>]) -> Vec<u8> {
    let mut writer = sevenz_rust2::ArchiveWriter::new(std::io::Cursor::new(Vec::new())).unwrap();
    for (name, content) in files {
        let entry = sevenz_rust2::ArchiveEntry::new_file(std::str::from_utf8(name).unwrap());
        writer.push_archive_entry(entry, Some(*content)).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn wanted() -> Vec<(String, String)> {
    FILES
        .iter()
        .map(|(name, text)| (String::from_utf8_lossy(name).into(), String::from_utf8_lossy(text).into()))
        .collect()
}

#[test]
fn every_sort_is_told_by_its_content_and_unpacked() {
    for (sort, bytes) in [
        ("zip", zip(&FILES)),
        ("zip, stored", zip_by(&FILES, CompressionMethod::STORE, 0o100_644)),
        ("tar", tar(&FILES)),
        ("tar.gz", gz(&tar(&FILES))),
        ("tar.xz", xz(&tar(&FILES))),
        ("tar.zst", zst(&tar(&FILES))),
        ("7z", seven(&FILES)),
    ] {
        // Its name says nothing.
        assert_eq!(load(&bytes, "data.bin", json!({})).unwrap(), wanted(), "{sort}");
    }
    for (name, bytes) in [
        ("r.csv.gz", gz(b"1,2\n")),
        ("r.csv.xz", xz(b"1,2\n")),
        ("r.csv.zst", zst(b"1,2\n")),
        ("r.csv", b"1,2\n".to_vec()),
    ] {
        assert_eq!(load(&bytes, name, json!({})).unwrap(), [("r.csv".into(), "1,2\n".into())], "{name}");
    }
    let whole = load(&zip(&FILES), "kept.zip", json!({ "extract": "none" })).unwrap();
    assert_eq!(whole[0].0, "kept.zip");
}

#[test]
fn streams_in_several_pieces_are_whole() {
    let both = |pack: fn(&[u8]) -> Vec<u8>| [pack(b"one\n"), pack(b"two\n")].concat();
    let skippable = [b"\x50\x2a\x4d\x18\x03\0\0\0xyz".to_vec(), both(zst)].concat();
    for (name, bytes) in [("r.gz", both(gz)), ("r.xz", both(xz)), ("r.zst", both(zst))] {
        assert_eq!(load(&bytes, name, json!({})).unwrap(), [("r".into(), "one\ntwo\n".into())], "{name}");
    }
    let after = [zst(b"one\n"), skippable].concat();
    assert_eq!(load(&after, "r.zst", json!({})).unwrap()[0].1, "one\none\ntwo\n");
}

#[test]
fn archives_in_an_archive_are_left_alone() {
    let inner = zip(&FILES);
    let outer = load(&zip(&[(b"inner.zip", &inner), (b"x", b"1")]), "outer.zip", json!({})).unwrap();
    assert_eq!(outer.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["inner.zip", "x"]);
}

#[test]
fn what_is_cut_short_names_the_archive_and_where() {
    let big: Vec<u8> = data::picture(1, 100_000);
    let files: [File<'_>; 2] = [(b"first", b"1"), (b"second", &big)];
    for (name, bytes) in [
        ("a.zip", zip(&files)),
        ("a.tar", tar(&files)),
        ("a.tar.gz", gz(&tar(&files))),
        ("a.tar.xz", xz(&tar(&files))),
        ("a.tar.zst", zst(&tar(&files))),
        ("a.7z", seven(&files)),
    ] {
        for keep in [bytes.len() - 1, bytes.len() / 2, bytes.len() - 600] {
            if name == "a.tar" && keep >= bytes.len() - 600 {
                // What is missing is only some of the zeros after its end.
                continue;
            }
            let error = load(&bytes[..keep], name, json!({})).unwrap_err();
            assert!(error.message.contains(name), "{name} less {}: {error}", bytes.len() - keep);
        }
    }
    let middle = "entry `second` is cut short: it ends in the middle";
    refused(&tar(&files)[..50_000], "a.tar", middle);
    refused(&gz(&tar(&files))[..50_000], "a.tar.gz", middle);
    refused(&zip(&files)[..50_000], "a.zip", "is cut short: the directory at the end of the zip is missing");
    // The end mark alone is missing: tools that append leave such archives behind when they are killed.
    let unmarked = tar(&[(b"first", b"1")]);
    refused(&unmarked[..1024], "a.tar", "cut short");
}

#[test]
fn damage_is_found_by_checksums() {
    let text = b"a text that is long enough to be hit somewhere in its middle, and that is stored as it is";
    let mut stored = zip_by(&[(b"x", text)], CompressionMethod::STORE, 0o100_644);
    let at = stored.windows(6).position(|window| window == b"middle").unwrap();
    stored[at] ^= 1;
    refused(&stored, "a.zip", "entry `x` is damaged: its checksum is wrong");
    let mut packed = gz(&tar(&[(b"x", text)]));
    let end = packed.len() - 6;
    packed[end] ^= 1;
    refused(&packed, "a.tar.gz", "corrupt");
    let mut frame = zst(text);
    let end = frame.len() - 1;
    frame[end] ^= 1;
    refused(&frame, "x.zst", "its checksum is wrong");
}

#[test]
fn no_path_leads_out() {
    for (name, why) in [
        (&b"../x"[..], "leads out"),
        (b"a/../../x", "leads out"),
        (b"/etc/cron.d/x", "absolute"),
        (b"..\\..\\x", "leads out"),
        (b"C:\\x", "drive"),
        (b"\\\\host\\x", "absolute"),
        (b"a\nb", "control"),
        (b"caf\xe9.jpg", "not UTF-8"),
    ] {
        let files: [File<'_>; 2] = [(b"good", b"1"), (name, b"2")];
        refused(&zip(&files), "evil.zip", why);
        refused(&tar(&files), "evil.tar", why);
        refused(&gz(&tar(&files)), "evil.tar.gz", why);
        if let Ok(text) = std::str::from_utf8(name) {
            refused(&seven(&[(b"good", b"1"), (text.as_bytes(), b"2")]), "evil.7z", why);
        }
    }
    assert!(!Path::new("/etc/cron.d/x").exists());
}

#[test]
fn links_become_files_or_are_refused() {
    use tar::EntryType as Kind;
    let entries = |target: &'static [u8], kind| {
        tar_of(&[
            (b"d/real", Kind::Regular, b"", b"content"),
            (b"d/one", kind, target, b""),
            (b"d/two", Kind::Symlink, b"one", b""),
        ])
    };
    let wanted = |name: &str| (name.to_owned(), "content".to_owned());
    for bytes in
        [entries(b"real", Kind::Symlink), entries(b"d/real", Kind::Link), gz(&entries(b"../d/real", Kind::Symlink))]
    {
        assert_eq!(load(&bytes, "a.tar", json!({})).unwrap(), [wanted("d/one"), wanted("d/real"), wanted("d/two")]);
    }
    for (target, why) in [
        (&b"/etc/passwd"[..], "leads out"),
        (b"../../x", "leads out"),
        (b"nothing", "no file of the archive"),
        (b"two", "no file of the archive"),
        (b"../d", "no file of the archive"),
    ] {
        refused(&entries(target, Kind::Symlink), "evil.tar", why);
        refused(&gz(&entries(target, Kind::Symlink)), "evil.tar.gz", why);
    }
    let linked = zip_by(&[(b"x", b"/etc/passwd")], CompressionMethod::STORE, 0o120_777);
    refused(&linked, "evil.zip", "leads out");
    // A file below a link is a file in a folder of that name: it cannot be both, and is never written through the link.
    let through = tar_of(&[
        (b"real", Kind::Regular, b"", b"1"),
        (b"d", Kind::Symlink, b"real", b""),
        (b"d/x", Kind::Regular, b"", b"2"),
    ]);
    assert!(load(&gz(&through), "evil.tar.gz", json!({})).is_err());
}

#[test]
fn devices_and_names_that_come_twice_are_refused() {
    for kind in [tar::EntryType::Char, tar::EntryType::Block, tar::EntryType::Fifo] {
        refused(&tar_of(&[(b"x", kind, b"", b"")]), "evil.tar", "device or a pipe");
    }
    refused(&zip_by(&[(b"x", b"")], CompressionMethod::STORE, 0o010_644), "evil.zip", "device or a pipe");
    let mut holes = tar::Builder::new(Vec::new());
    holes.append_pax_extensions([("GNU.sparse.major", &b"1"[..])]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(3);
    holes.append_data(&mut header, "x", &b"abc"[..]).unwrap();
    refused(&holes.into_inner().unwrap(), "evil.tar", "holes");
    let twice: [File<'_>; 2] = [(b"a/x", b"1"), (b"a//./x", b"2")];
    refused(&zip(&twice), "evil.zip", "there twice");
    refused(&tar(&twice), "evil.tar", "there twice");
    refused(&gz(&tar(&twice)), "evil.tar.gz", "there twice");
    refused(&seven(&twice), "evil.7z", "there twice");
    refused(&gz(&tar(&[(b"a", b"1"), (b"a/x", b"2")])), "evil.tar.gz", "same name");
}

#[test]
fn empty_and_unread_archives_say_so() {
    refused(&zip(&[]), "a.zip", "no file is in it");
    refused(&tar_of(&[(b"d/", tar::EntryType::Directory, b"", b"")]), "a.tar", "no file is in it");
    refused(b"BZh91AY", "a.tar.bz2", "packed by bzip2");
    refused(b"<html>Sign in first", "a.zip", "no archive by its content");
    refused(b"Rar!\x1a\x07\x01\0", "a.rar", "a RAR archive");
}

#[test]
fn bombs_are_bounded() {
    let zeros = vec![0; 9 << 20];
    let small = json!({ "limits": { "ratio": 100 } });
    let bomb = |bytes: &[u8], name: &str, limits: &serde_json::Value| load(bytes, name, limits.clone()).unwrap_err();
    for (name, bytes) in [("b.zip", zip(&[(b"x", &zeros)])), ("b.gz", gz(&zeros))] {
        let error = bomb(&bytes, name, &small);
        assert_eq!(error.kind, ErrorKind::Limit, "{error}");
        assert!(error.message.contains("more than 100 times its size"), "{error}");
    }
    let many: Vec<String> = (0..20).map(|number| format!("{number}")).collect();
    let many: Vec<File<'_>> = many.iter().map(|name| (name.as_bytes(), &b"0123456789"[..])).collect();
    for (name, bytes) in
        [("b.zip", zip(&many)), ("b.tar", tar(&many)), ("b.tar.gz", gz(&tar(&many))), ("b.7z", seven(&many))]
    {
        let error = bomb(&bytes, name, &json!({ "limits": { "files": 10 } }));
        assert!(error.message.contains("more than 10 files"), "{error}");
        let error = bomb(&bytes, name, &json!({ "limits": { "bytes": 100 } }));
        assert!(error.message.contains("more than 100 bytes"), "{error}");
        assert!(error.hint.unwrap().contains("raise `bytes:`"));
    }
    // What a zip says of itself does not help it: the second name leads to the same data.
    let mut overlapping = zip_by(&[(b"one", b"12345"), (b"two", b"12345")], CompressionMethod::STORE, 0o100_644);
    let second = overlapping.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    overlapping[second + 42..second + 46].copy_from_slice(&0_u32.to_le_bytes());
    refused(&overlapping, "b.zip", "share their data");
    // Nor does a length that is too small: the checksum is that of all that is packed.
    let mut lying = zip(&[(b"x", &zeros[..1000])]);
    let listed = lying.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    lying[listed + 24..listed + 28].copy_from_slice(&10_u32.to_le_bytes());
    refused(&lying, "b.zip", "entry `x` is damaged: its checksum is wrong");
}
