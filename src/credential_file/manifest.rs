//! Files of Kubernetes manifests: documents parted by `---`, of which one is ours.

use std::ops::Range;

use serde_yaml::Value as Yaml;

use super::{Unmergeable, ended, lines_of};

const ODD: Unmergeable = Unmergeable("one of its documents is no YAML, so nothing is put into it");

/// Each document's lines, the line that parts it from the one before among them.
fn documents(lines: &[&str]) -> Vec<Range<usize>> {
    let mut documents = Vec::new();
    let mut start = 0;
    for at in 1..=lines.len() {
        if at == lines.len() || is_parting(lines[at]) {
            documents.push(start..at);
            start = at;
        }
    }
    documents
}

fn is_parting(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn find(lines: &[&str], (name, namespace): (&str, Option<&str>)) -> Result<Option<Range<usize>>, Unmergeable> {
    for range in documents(lines) {
        let document: Yaml = serde_yaml::from_str(&lines[range.clone()].concat()).map_err(|_| ODD)?;
        let metadata =
            |key: &str| document.get("metadata").and_then(|metadata| metadata.get(key)).and_then(Yaml::as_str);
        let is_secret = document.get("kind").and_then(Yaml::as_str) == Some("Secret");
        if is_secret && metadata("name") == Some(name) && metadata("namespace") == namespace {
            return Ok(Some(range));
        }
    }
    Ok(None)
}

pub(super) fn put(text: &str, which: (&str, Option<&str>), body: &str) -> Result<String, Unmergeable> {
    let lines = lines_of(text);
    let Some(found) = find(&lines, which)? else {
        let is_blank = lines.iter().all(|line| line.trim().is_empty());
        return Ok(if is_blank { format!("{text}{body}") } else { format!("{}---\n{body}", ended(text)) });
    };
    let parting = lines.get(found.start).filter(|line| is_parting(line)).copied().unwrap_or_default();
    Ok(lines[..found.start].concat() + parting + body + &lines[found.end..].concat())
}

pub(super) fn take_out(text: &str, which: (&str, Option<&str>)) -> Result<String, Unmergeable> {
    let lines = lines_of(text);
    let Some(found) = find(&lines, which)? else { return Ok(text.to_owned()) };
    // What follows the first document has a parting line of its own, which the first needs none of.
    let rest = match lines[found.end..].split_first() {
        Some((parting, rest)) if found.start == 0 && parting.trim() == "---" => rest.concat(),
        _ => lines[found.end..].concat(),
    };
    Ok(lines[..found.start].concat() + &rest)
}
