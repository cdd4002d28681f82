//! Which names the entries of archives, and objects, may have.
//!
//! In: the bytes that an archive gives. Out: a relative path with `/` between its parts, which is both a key in a bucket
//! and a path below the staging folder; or why it is refused.
//!
//! Invariants: a name that is given out never leaves the folder that it is put below: it is not absolute, has no `..`,
//! no drive letter and no control characters. Archives made on Windows separate with `\`, so that counts as `/`.

/// The longest key that S3 takes, in bytes.
const LONGEST_KEY: usize = 1024;
/// The longest name of one file or folder, in bytes.
const LONGEST_PART: usize = 255;

/// The path that an archive's entry is put at. Folders give theirs without the slash at the end; `None` is the
/// archive's own root (`./`).
///
/// # Errors
/// Why the name is refused.
pub(super) fn entry(raw: &[u8]) -> Result<Option<String>, String> {
    let name =
        std::str::from_utf8(raw).map_err(|_| "its name is not UTF-8, as the keys of objects must be".to_owned())?;
    let name = name.replace('\\', "/");
    if name.starts_with('/') {
        return Err("its name is absolute".to_owned());
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.first().is_some_and(|first| first.len() == 2 && first.ends_with(':')) {
        return Err("its name begins with a drive".to_owned());
    }
    if parts.is_empty() {
        return Ok(None);
    }
    check(parts.iter().copied())?;
    Ok(Some(parts.join("/")))
}

/// Whether a key, made by a transform or found in a folder, may be an object's.
///
/// # Errors
/// Why it is refused.
pub(super) fn key(key: &str) -> Result<(), String> {
    if key.is_empty() || key.starts_with('/') || key.ends_with('/') || key.contains("//") {
        return Err("it has an empty part".to_owned());
    }
    let (parts, own) = (key.split('/'), super::manifest::FOLDER);
    if parts.clone().any(|part| part == ".") {
        return Err("it has a part `.`".to_owned());
    }
    // In a folder below it would be the manifest of another dataset, within this one.
    if key == own || parts.clone().rev().skip(1).any(|folder| folder == own) {
        return Err(format!("`{own}/` is kept for the manifest of a dataset"));
    }
    check(parts)
}

fn check<'a>(parts: impl Iterator<Item = &'a str> + Clone) -> Result<(), String> {
    if parts.clone().any(|part| part == "..") {
        return Err("it leads out of its folder by `..`".to_owned());
    }
    if parts.clone().any(|part| part.chars().any(char::is_control)) {
        return Err("its name holds control characters".to_owned());
    }
    if parts.clone().any(|part| part.len() > LONGEST_PART) {
        return Err(format!("a part of its name is longer than {LONGEST_PART} bytes"));
    }
    if parts.map(|part| part.len() + 1).sum::<usize>() > LONGEST_KEY + 1 {
        return Err(format!("its name is longer than {LONGEST_KEY} bytes"));
    }
    Ok(())
}

/// What a link in an archive leads to: a path below the archive's root. A symbolic link counts from its own folder, a
/// hard link from the root.
///
/// # Errors
/// That it leads out.
pub(super) fn link_target(link: &str, target: &[u8], symbolic: bool) -> Result<String, String> {
    let out = || format!("it is a link that leads out of the archive, to `{}`", String::from_utf8_lossy(target));
    let text = std::str::from_utf8(target).map_err(|_| out())?.replace('\\', "/");
    if text.starts_with('/') {
        return Err(out());
    }
    let mut parts: Vec<&str> = Vec::new();
    if symbolic && let Some((folder, _)) = link.rsplit_once('/') {
        parts.extend(folder.split('/'));
    }
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => drop(parts.pop().ok_or_else(out)?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// A name as it may be shown, also where it is no text.
pub(super) fn shown(raw: &[u8]) -> String {
    raw.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_their_folder() {
        assert_eq!(entry(b"./a//b/./c").unwrap().unwrap(), "a/b/c");
        assert_eq!(entry(b"a\\b.jpg").unwrap().unwrap(), "a/b.jpg");
        assert_eq!(entry("größe/ü".as_bytes()).unwrap().unwrap(), "größe/ü");
        assert_eq!(entry(b"./").unwrap(), None);
        assert_eq!(entry(b"a..b/...").unwrap().unwrap(), "a..b/...");
        let refused: [&[u8]; 10] = [
            b"/etc/passwd",
            b"\\\\host\\share",
            b"../a",
            b"a/../../b",
            b"a\\..\\..\\b",
            b"C:\\x",
            b"c:/x",
            b"a\nb",
            b"a\0b",
            b"caf\xe9.jpg",
        ];
        for name in refused {
            assert!(entry(name).is_err(), "{}", shown(name));
        }
        assert!(entry(&[b'a'; 256]).unwrap_err().contains("255"));
        assert!(entry(["a".repeat(200).as_str(); 6].join("/").as_bytes()).unwrap_err().contains("1024"));
    }

    #[test]
    fn keys_of_objects_leave_the_manifest_alone() {
        assert!(key("a/b").is_ok() && key("a/x.anole/b").is_ok());
        for refused in ["", "/a", "a/", "a//b", "a/../b", "./a", ".anole/manifest.json", "a/.anole/x", "a\tb"] {
            assert!(key(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn links_are_followed_on_paper_only() {
        assert_eq!(link_target("a/b/link", b"../c", true).unwrap(), "a/c");
        assert_eq!(link_target("a/b/link", b"a/c", false).unwrap(), "a/c");
        for (target, symbolic) in
            [(&b"/etc/passwd"[..], true), (b"../../../x", true), (b"../x", false), (b"..\\..\\..\\x", true)]
        {
            assert!(link_target("a/b/link", target, symbolic).is_err());
        }
    }
}
