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

/// What a scalar's text is: `123` without quotes is a number to YAML, and a name to whoever wrote it.
fn written(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Whether there is such a Secret and it says otherwise.
pub(super) fn is_taken(text: &str, which: (&str, Option<&str>), body: &str) -> Result<bool, Unmergeable> {
    let lines = lines_of(text);
    let Some(found) = find(&lines, which)? else { return Ok(false) };
    let there: Yaml = serde_yaml::from_str(&lines[found].concat()).map_err(|_| ODD)?;
    let wanted: Yaml = serde_yaml::from_str(body).map_err(|_| ODD)?;
    Ok(there != wanted)
}

fn find(lines: &[&str], (name, namespace): (&str, Option<&str>)) -> Result<Option<Range<usize>>, Unmergeable> {
    for range in documents(lines) {
        let document: Yaml = serde_yaml::from_str(&lines[range.clone()].concat()).map_err(|_| ODD)?;
        let metadata = |key: &str| document.get("metadata").and_then(|metadata| metadata.get(key)).and_then(written);
        let is_secret = document.get("kind").and_then(Yaml::as_str) == Some("Secret");
        if is_secret && metadata("name").as_deref() == Some(name) && metadata("namespace").as_deref() == namespace {
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
