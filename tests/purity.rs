//! The parts that decide are pure: what a spec means and what a plan does follow from their inputs alone.
//!
//! Read off the sources: nothing under these folders names a clock, a file, the environment, randomness, a client, or
//! anything asynchronous. Comments and tests may.

use std::path::{Path, PathBuf};

/// What is pure, and what of it is not: reading the spec's files is IO by its nature.
const PURE: &[&str] = &["src/spec", "src/resolve", "src/plan"];
const BUT: &[&str] = &["src/spec/load.rs"];

/// What gives it away.
const IMPURE: &[&str] = &[
    "tokio",
    "async fn",
    ".await",
    "fs::",
    "File::open",
    "std::env",
    "env::var",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "SystemRandom",
    "uuid",
    "reqwest",
    "Session",
    "TcpStream",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "dbg!",
    "crate::apply",
    "crate::cloud",
    "crate::embedded",
    "crate::engine",
    "crate::ui",
];

/// A source without its comments and without its tests.
fn code(source: &str) -> String {
    let lines = source.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    let code = lines.collect::<Vec<_>>().join("\n");
    // Tests stand at the end of a file, or beside it.
    match code.find("#[cfg(test)]\nmod tests {") {
        Some(tests) => code[..tests].to_owned(),
        None => code,
    }
}

/// What of [`IMPURE`] a source names, as a word of its own.
fn impure(source: &str) -> Vec<&'static str> {
    let code = code(source);
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let stands_alone = |(at, word): (usize, &str)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        let opens = !word.starts_with(|c: char| c.is_alphanumeric()) || !is_word(before.chars().next_back());
        opens && (!word.ends_with(|c: char| c.is_alphanumeric()) || !is_word(after.chars().next()))
    };
    let named = |word: &&&str| code.match_indices(**word).any(stands_alone);
    IMPURE.iter().filter(named).copied().collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
}

#[test]
fn what_decides_asks_nothing_of_the_world() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    PURE.iter().for_each(|folder| sources(&root.join(folder), &mut found));
    found.retain(|path| !BUT.iter().any(|but| path.ends_with(but)));
    assert!(found.len() > 30, "the sources are there: {}", found.len());
    let guilty: Vec<_> = found
        .iter()
        .map(|path| (path.strip_prefix(root).unwrap_or(path), impure(&std::fs::read_to_string(path).expect("text"))))
        .filter(|(_, named)| !named.is_empty())
        .collect();
    assert!(guilty.is_empty(), "{guilty:#?}");
}

#[test]
fn what_is_impure_is_found() {
    assert_eq!(impure("let now = Timestamp::now(); // fine otherwise"), ["Timestamp::now"]);
    assert_eq!(impure("use std::{fs, env};\nlet x = fs::read(p);\nasync fn f() {}"), ["async fn", "fs::"]);
    assert_eq!(impure("//! tokio is named here\nlet sessions = Instances::new();"), [""; 0]);
    assert_eq!(impure("fn f() {}\n#[cfg(test)]\nmod tests {\n use std::time::Instant;\n}"), [""; 0]);
    assert!(BUT.iter().all(|path| {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("text");
        !impure(&text).is_empty()
    }));
}
