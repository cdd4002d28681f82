//! What people read, and that no span can break it.

use proptest::prelude::*;

use super::*;

fn one(path: &str, text: &str) -> Sources {
    let mut sources = Sources::default();
    sources.add(path.into(), text.into());
    sources
}

/// The span of the first `part` in the first file.
fn at(text: &str, part: &str) -> Span {
    let start = text.find(part).expect("the part is in the text");
    Span { file: FileId(0), start: start as u32, end: (start + part.len()) as u32 }
}

fn shown(diagnostic: &Diagnostic, sources: &Sources) -> String {
    render(&[diagnostic], sources, false, 100)
}

#[test]
fn a_diagnostic_shows_where_and_what_to_do() {
    let text = "stack: a\r\nservers:\r\n  nöde:\tb\r\n    sevrer: x\r\n";
    let sources = one("specs/a.yaml", text);
    let error = Diagnostic::error("unknown-field", at(text, "sevrer"), "servers have no field `sevrer`")
        .label("not a field")
        .also(at(text, "servers"), "in this section")
        .help("did you mean `server`?");
    insta::assert_snapshot!(shown(&error, &sources), @r"
    error[unknown-field]: servers have no field `sevrer`
     --> specs/a.yaml:4:5
      |
    2 | servers:
      | ------- in this section
    3 |   nöde:    b
    4 |     sevrer: x
      |     ^^^^^^ not a field
      |
      = help: did you mean `server`?
    ");
    let tab = Diagnostic::warning("x", at(text, "b\r"), "after a tab and an umlaut");
    insta::assert_snapshot!(shown(&tab, &sources), @r"
    warning[x]: after a tab and an umlaut
     --> specs/a.yaml:3:9
      |
    3 |   nöde:    b
      |            ^
    ");
}

#[test]
fn long_lines_and_far_labels_are_cut() {
    let text = format!("a: [{}]\nb: 1\n{}c: 2\n", "word, ".repeat(50_000), "#\n".repeat(100));
    let sources = one("a.yaml", &text);
    let middle = Span { file: FileId(0), start: 120_004, end: 120_008 };
    let error = Diagnostic::error("x", middle, "a word").label("here").also(at(&text, "c: 2"), "and there");
    insta::assert_snapshot!(shown(&error, &sources), @r"
    error[x]: a word
       --> a.yaml:1:120005
        |
       ::: 
      1 | ...d, word, word, word, word, word, word, word, word, word, word, word, word, word, word, w...
        |                                           ^^^^ here
        |
       ::: a.yaml:103:1
        |
    103 | c: 2
        | ---- and there
    ");
}

#[test]
fn json_has_places_for_editors() {
    let text = "é: 1\r\nb: 2\r\n";
    let sources = one("a.yaml", text);
    let error = Diagnostic::error("x", at(text, "1"), "m").also(at(text, "2"), "l").help("h");
    assert_eq!(
        error.to_json(&sources),
        serde_json::json!({
            "severity": "error", "code": "x", "message": "m", "path": "a.yaml", "line": 1, "column": 4, "help": "h",
            "labels": [
                { "path": "a.yaml", "line": 1, "column": 4, "message": "" },
                { "path": "a.yaml", "line": 2, "column": 4, "message": "l" },
            ],
        })
    );
}

#[test]
fn the_same_mistake_counts_once_and_thousands_are_counted_only() {
    let mut diagnostics = Diagnostics::default();
    for start in (0..3000).chain(0..3000) {
        diagnostics.push(Diagnostic::warning("x", Span { file: FileId(0), start, end: start }, "m"));
    }
    assert_eq!((diagnostics.count(Severity::Warning), diagnostics.has_errors()), (1000, false));
    diagnostics.push(Diagnostic::error("x", Span { file: FileId(0), start: 0, end: 0 }, "m"));
    assert!(diagnostics.has_errors());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_span_can_be_shown(
        text in "[aé😀\t\r\n\u{200b}\u{301} ]{0,40}",
        spans in prop::collection::vec((0_u32..60, 0_u32..60, 0_u32..2), 1..4),
        color in any::<bool>(),
    ) {
        let sources = one("a.yaml", &text);
        let mut error = Diagnostic::error("x", Span { file: FileId(0), start: 0, end: 0 }, "m");
        error.labels = spans
            .into_iter()
            .map(|(start, end, file)| (Span { file: FileId(file), start, end }, "label".to_owned()))
            .collect();
        let _ = error.to_json(&sources);
        let shown = render(&[&error], &sources, color, 80);
        prop_assert!(shown.contains("error"));
        // The place that JSON gives is the place that people read.
        let first = error.labels.iter().find_map(|label| sources.place(label.0));
        if let (Some(place), false) = (first, color) {
            prop_assert!(shown.contains(&format!("--> a.yaml:{}:{}\n", place.line, place.column)), "{shown}");
        }
    }
}

/// Every code that the sources give a diagnostic, by file.
fn used_codes(folder: &Path, found: &mut Vec<(String, PathBuf)>) {
    // Either the code is an argument, or it stands in a table of the module.
    let pattern = regex::Regex::new(r#"Diagnostic::(?:error|warning)\(\s*"([^"]*)""#).expect("a pattern");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            used_codes(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or("");
            found.extend(pattern.captures_iter(code).map(|codes| (codes[1].to_owned(), path.clone())));
        }
    }
}

#[test]
fn every_code_is_explained_once_and_used() {
    let mut found = Vec::new();
    used_codes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    for (code, path) in &found {
        assert!(explanation(code).is_some(), "`{code}` of {} is not in CODES", path.display());
    }
    assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0), "CODES is sorted, no code twice");
}
