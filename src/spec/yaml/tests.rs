//! What the reader makes of text, whatever the text.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::diagnostic::{FileId, Severity, Span};

const FILE: FileId = FileId(0);

fn read_all(text: &str) -> (Option<Node>, Vec<(&'static str, String)>) {
    let mut diagnostics = Diagnostics::default();
    let node = parse(FILE, text, &mut diagnostics);
    let found = diagnostics.sorted();
    assert!(found.iter().all(|diagnostic| diagnostic.severity == Severity::Error));
    let place = |diagnostic: &Diagnostic| {
        let span = diagnostic.labels[0].0;
        text.get(span.start as usize..span.end as usize).unwrap_or("<no place>").to_owned()
    };
    (node, found.iter().map(|diagnostic| (diagnostic.code, place(diagnostic))).collect())
}

/// The tree in one line, scalars by type.
fn show(node: &Node) -> String {
    match &node.value {
        Yaml::Null => "null".into(),
        Yaml::Bool(flag) => flag.to_string(),
        Yaml::Int(number) => number.to_string(),
        Yaml::Float(number) => format!("{number:?}"),
        Yaml::String(text) => format!("{text:?}"),
        Yaml::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Yaml::Map(entries) => {
            let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{}: {}", key.text, show(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

fn shown(text: &str) -> String {
    let (node, found) = read_all(text);
    assert_eq!(found, [], "{text}");
    show(&node.expect("a tree"))
}

fn code(text: &str) -> (&'static str, String) {
    let (_, found) = read_all(text);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn values_are_typed_and_text_stays_text() {
    assert_eq!(
        shown("a: no\nb: 0755\nc: '1'\nd: 1\ne:\nf: [true, 'true', 1.50]\n1: x\ntrue: y\n"),
        r#"{a: "no", b: "0755", c: "1", d: 1, e: null, f: [true, "true", 1.5], 1: "x", true: "y"}"#
    );
    assert_eq!(shown("a: |\r\n  one\r\n  two\r\nb: \"x\\ty\"\r\n"), "{a: \"one\\ntwo\\n\", b: \"x\\ty\"}");
    assert_eq!(shown("a: !!str 12\nb: !!int 12\nc: ! 12\n"), r#"{a: "12", b: 12, c: "12"}"#);
    assert_eq!(shown("# nothing\n"), "null");
    assert_eq!(shown(""), "null");
    assert_eq!(shown("---\n"), "null");
}

#[test]
fn aliases_are_copied_and_merged() {
    assert_eq!(
        shown("base: &b {x: 1, y: 2}\none: *b\ntwo: {y: 3, <<: *b, z: 4}\nlist: &l [*b]\nthree: {<<: *l}\n'<<': 1\n"),
        "{base: {x: 1, y: 2}, one: {x: 1, y: 2}, two: {y: 3, x: 1, z: 4}, list: [{x: 1, y: 2}], three: {x: 1, y: 2}, <<: 1}"
    );
}

#[test]
fn spans_are_bytes_of_the_text() {
    let text =
        "é: 'ü'\r\nserver:\r\n  - name:   x y  # no\r\n    empty:\r\n  - { a: [1, 2] }\r\n\r\nlast: &a !!str z\r\n";
    let (node, _) = read_all(text);
    let mut seen = Vec::new();
    walk(&node.expect("a tree"), &mut |span| seen.push(&text[span.start as usize..span.end as usize]));
    assert_eq!(
        &seen[1..],
        [
            "é",
            "'ü'",
            "server",
            "- name:   x y  # no\r\n    empty:\r\n  - { a: [1, 2] }",
            "name:   x y  # no\r\n    empty",
            "name",
            "x y",
            "empty",
            "empty",
            "{ a: [1, 2] }",
            "a",
            "[1, 2]",
            "1",
            "2",
            "last",
            "&a !!str z"
        ]
    );
}

fn walk(node: &Node, visit: &mut impl FnMut(Span)) {
    visit(node.span);
    match &node.value {
        Yaml::List(items) => items.iter().for_each(|item| walk(item, visit)),
        Yaml::Map(entries) => entries.iter().for_each(|(key, value)| {
            visit(key.span);
            walk(value, visit);
        }),
        _ => {}
    }
}

#[test]
fn mistakes_have_a_code_and_a_place() {
    for (text, want) in [
        ("a: 1\nb: 2\na: 3\n", ("duplicate-key", "a")),
        ("a: 1\n---\nb: 2\n", ("several-documents", "---")),
        ("a:\n\tb: 1\n", ("tab-indentation", "\t")),
        ("a: !!python/object:os.system x\n", ("unknown-tag", "!!python/object:os.system")),
        ("a: !!int x\n", ("unknown-tag", "!!int x")),
        ("a: &x [1, *x]\n", ("recursive-alias", "*x")),
        ("a: *x\n", ("unknown-anchor", "*")),
        ("<<: 1\n", ("bad-merge", "1")),
        ("? [a]\n: 1\n", ("bad-key", "[a]")),
        ("~: 1\n", ("bad-key", "~")),
        ("a: 'x\nb: y\n", ("yaml-syntax", "'")),
        ("a: b: c\n", ("yaml-syntax", ":")),
        ("a: @x\n", ("yaml-syntax", "@")),
        ("a: [1, 2\nb: 3\n", ("yaml-syntax", ":")),
    ] {
        assert_eq!(code(text), (want.0, want.1.to_owned()), "{text:?}");
    }
}

#[test]
fn deep_nesting_ends_early() {
    for unit in ["[", "{a: ", "- ", "? ", "[[", "{? "] {
        assert_eq!(code(&unit.repeat(100_000)).0, "too-deep", "{unit}");
    }
    let text: String = (0..60_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 3000))).take(3000).collect();
    assert_eq!(code(&text).0, "too-deep");
    // An alias carries its own depth along.
    let deep = format!("a: &a {}1{}\n", "[".repeat(40), "]".repeat(40));
    assert_eq!(code(&format!("{deep}b: {}*a{}\n", "[".repeat(30), "]".repeat(30))).0, "too-deep");
}

#[test]
fn a_billion_laughs_are_counted_before_they_are_copied() {
    let mut text = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..30 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", ")));
    }
    assert_eq!(code(&text).0, "alias-bomb");
    let merged = text.replace('[', "[{<<: [").replace(']', "]}]");
    assert!(["alias-bomb", "bad-merge"].contains(&read_all(&merged).1[0].0));
}

/// Text of that many bytes.
fn fill(unit: &str, bytes: usize) -> String {
    unit.repeat(bytes / unit.len() + 1)
}

#[test]
fn large_files_take_linear_time() {
    const MIB: usize = 1 << 20;
    // Generous: a debug build on a busy machine. Anything quadratic takes hours.
    let limit = Duration::from_secs(60);
    let start = Instant::now();
    let (node, found) = read_all(&format!("a: |\n{}", fill("  some text of a script, é: [\n", 10 * MIB)));
    assert!(node.is_some() && found.is_empty());
    assert!(start.elapsed() < limit, "10 MiB of block text took {:?}", start.elapsed());
    assert_eq!(code(&format!("[{}]", fill("a,", 10 * MIB))).0, "too-large");
    for unit in [
        "a, ", "a: b\n", "- a\n", "\n", "#\n", " ", "\t", "'", "''", "\"", "\\", "é", "&a ", "*a ", "!a ", "|\n", "%",
        "---\n", "? a\n", ": ", "{}", "[]", "x",
    ] {
        let start = Instant::now();
        for opening in ["", "a: ", "[", "a: '", "a: \"", "a: |\n "] {
            read_all(&format!("{opening}{}", fill(unit, MIB / 16)));
        }
        assert!(start.elapsed() < limit, "{unit:?} took {:?}", start.elapsed());
    }
}

/// Text that looks enough like YAML to get somewhere.
fn yaml_like() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "a",
        "b",
        "1",
        "0755",
        "no",
        "null",
        "é",
        "😀",
        ": ",
        ":",
        "- ",
        "? ",
        "\n",
        "\r\n",
        "\n  ",
        "\n    ",
        "\t",
        " ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        "\"",
        "\\",
        "|\n",
        ">\n",
        "|2-\n",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "<<: ",
        "<<: *a",
        "# c",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\u{FEFF}",
        "\u{85}",
        "\u{2028}",
        "${var.x}",
        "@",
        "`",
        "%",
        "!<",
        "%TAG ! x\n",
    ]);
    prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_a_tree_or_a_reason(text in yaml_like()) {
        let mut diagnostics = Diagnostics::default();
        let node = parse(FILE, &text, &mut diagnostics);
        prop_assert!(node.is_some() || diagnostics.has_errors());
        if let Some(node) = node {
            walk(&node, &mut |span| {
                assert!(text.get(span.start as usize..span.end as usize).is_some(), "{span:?} is no part of the text");
            });
        }
        for diagnostic in diagnostics.sorted() {
            for (span, _) in &diagnostic.labels {
                prop_assert!(text.get(span.start as usize..span.end as usize).is_some());
            }
        }
    }

    #[test]
    fn any_bytes_give_text_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let decoded = encoding::decode(bytes);
        let mut diagnostics = Diagnostics::default();
        match decoded.mistake {
            Some(mistake) => {
                let span = mistake.diagnostic(FILE).labels[0].0;
                prop_assert!(decoded.text.get(span.start as usize..span.end as usize).is_some());
            }
            None => { parse(FILE, &decoded.text, &mut diagnostics); }
        }
    }
}
