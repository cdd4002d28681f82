//! `clouds.yaml`: an entry of `clouds:`, found by its lines so that all others stay as they are.
//!
//! YAML can be written in many ways, and only the usual one is edited: block mappings. So what comes out is read, and is
//! given back only if it has the entry as it is to be and every other one as it was.

use std::ops::Range;

use serde_yaml::Value as Yaml;

use super::{Unmergeable, ended, lines_of};

const ODD: Unmergeable = Unmergeable(
    "it is not laid out as `clouds.yaml` usually is, one entry below the other under `clouds:`, so nothing is put into it",
);

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn is_aside(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// Where `clouds:` stands, and where what belongs to it ends. Comments and blank lines at its end are not its own.
fn clouds(lines: &[&str]) -> Option<Range<usize>> {
    let is_key = |line: &&str| line.strip_prefix("clouds:").is_some_and(is_aside);
    let start = lines.iter().position(is_key)?;
    Some(start..end_of(lines, start, 0))
}

/// The end of what is indented deeper than `depth` after the line `start`.
fn end_of(lines: &[&str], start: usize, depth: usize) -> usize {
    let deeper = |line: &&str| is_aside(line) || indent(line) > depth;
    let mut end = lines[start + 1..].iter().position(|line| !deeper(line)).map_or(lines.len(), |at| start + 1 + at);
    while end > start + 1 && is_aside(lines[end - 1]) {
        end -= 1;
    }
    end
}

/// The entry's lines.
fn entry(lines: &[&str], within: &Range<usize>, name: &str) -> Option<Range<usize>> {
    let depth = depth(lines, within)?;
    let is_name = |line: &str| {
        let key = line.trim().split_once(':').filter(|(_, rest)| is_aside(rest)).map(|(key, _)| key.trim());
        indent(line) == depth && key.is_some_and(|key| key.trim_matches(['"', '\'']) == name)
    };
    let start = (within.start + 1..within.end).find(|at| is_name(lines[*at]))?;
    Some(start..end_of(&lines[..within.end], start, depth))
}

/// How far the entries are indented.
fn depth(lines: &[&str], within: &Range<usize>) -> Option<usize> {
    lines[within.start + 1..within.end].iter().find(|line| !is_aside(line)).map(|line| indent(line))
}

/// The entries of a text; none where it has no `clouds`.
fn read(text: &str) -> Option<serde_yaml::Mapping> {
    let whole: Yaml = serde_yaml::from_str(text).ok()?;
    match whole {
        Yaml::Null => Some(serde_yaml::Mapping::new()),
        Yaml::Mapping(mut whole) => match whole.remove("clouds") {
            None | Some(Yaml::Null) => Some(serde_yaml::Mapping::new()),
            Some(Yaml::Mapping(clouds)) => Some(clouds),
            Some(_) => None,
        },
        _ => None,
    }
}

fn block(name: &str, body: &[String], depth: usize) -> String {
    let mut block = format!("{}{name}:\n", " ".repeat(depth));
    for line in body {
        block.push_str(&format!("{}{line}\n", " ".repeat(depth + 2)));
    }
    block
}

/// Whether there is such an entry and it says otherwise.
pub(super) fn is_taken(text: &str, name: &str, body: &[String]) -> Result<bool, Unmergeable> {
    let wanted: Yaml = serde_yaml::from_str(&body.join("\n")).map_err(|_| ODD)?;
    Ok(read(text).ok_or(ODD)?.get(name).is_some_and(|there| *there != wanted))
}

pub(super) fn put(text: &str, name: &str, body: &[String]) -> Result<String, Unmergeable> {
    let before = read(text).ok_or(ODD)?;
    let lines = lines_of(text);
    let put = match clouds(&lines) {
        None => super::appended(text, &format!("clouds:\n{}", block(name, body, 2))),
        Some(within) => {
            let block = block(name, body, depth(&lines, &within).unwrap_or(2));
            let place = entry(&lines, &within, name).unwrap_or(within.end..within.end);
            ended(&lines[..place.start].concat()) + &block + &lines[place.end..].concat()
        }
    };
    let wanted: Yaml = serde_yaml::from_str(&body.join("\n")).map_err(|_| ODD)?;
    let after = read(&put).ok_or(ODD)?;
    (after.get(name) == Some(&wanted) && is_same_but_for(name, &before, &after)).then_some(put).ok_or(ODD)
}

pub(super) fn take_out(text: &str, name: &str) -> Result<String, Unmergeable> {
    let before = read(text).ok_or(ODD)?;
    if !before.contains_key(name) {
        return Ok(text.to_owned());
    }
    let lines = lines_of(text);
    let place = clouds(&lines).and_then(|within| entry(&lines, &within, name)).ok_or(ODD)?;
    let left: Vec<&str> = lines[..place.start].iter().chain(&lines[place.end..]).copied().collect();
    // Programs stumble over a `clouds:` without entries.
    let is_empty = |line: &&&str| before.len() == 1 && line.strip_prefix("clouds:").is_some_and(is_aside);
    let taken: String = left.iter().filter(|line| !is_empty(line)).copied().collect();
    let after = read(&taken).ok_or(ODD)?;
    (!after.contains_key(name) && is_same_but_for(name, &before, &after)).then_some(taken).ok_or(ODD)
}

fn is_same_but_for(name: &str, before: &serde_yaml::Mapping, after: &serde_yaml::Mapping) -> bool {
    let others = |clouds: &serde_yaml::Mapping| {
        let mut others = clouds.clone();
        others.remove(name);
        others
    };
    others(before) == others(after)
}
