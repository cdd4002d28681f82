//! INI files, as rclone and the AWS tools read them.

use std::ops::Range;

use super::{appended, ended, lines_of};

fn header(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.strip_suffix(']').map(str::trim)
}

fn is_aside(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with(['#', ';'])
}

/// The lines of a section, its header first. Comments and blank lines before the next header are that one's.
fn find(lines: &[&str], name: &str) -> Option<Range<usize>> {
    let start = lines.iter().position(|line| header(line) == Some(name))?;
    let mut end =
        lines[start + 1..].iter().position(|line| header(line).is_some()).map_or(lines.len(), |at| start + 1 + at);
    while end > start + 1 && is_aside(lines[end - 1]) {
        end -= 1;
    }
    Some(start..end)
}

/// The key of a setting that begins in this line; one that goes on from the line above is indented.
fn key(line: &str) -> Option<&str> {
    let is_setting = !is_aside(line) && !line.starts_with([' ', '\t']);
    line.split_once('=').filter(|_| is_setting).map(|(key, _)| key.trim())
}

/// Whether there is such a section with other settings than these.
pub(super) fn is_taken(text: &str, name: &str, settings: &[(String, String)]) -> bool {
    let lines = lines_of(text);
    let Some(found) = find(&lines, name) else { return false };
    let own = |line: &&str| {
        let setting = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        is_aside(line) || settings.iter().any(|(key, value)| setting == Some((key.as_str(), value.trim())))
    };
    let there = &lines[found.start + 1..found.end];
    !there.iter().all(own) || settings.iter().any(|(own, _)| there.iter().all(|line| key(line) != Some(own.as_str())))
}

pub(super) fn put(text: &str, name: &str, settings: &[(String, String)], before: &[String]) -> String {
    let lines = lines_of(text);
    let written = |(key, value): &(String, String)| format!("{key} = {value}\n");
    let Some(found) = find(&lines, name) else {
        let block: String = settings.iter().map(written).collect();
        return appended(text, &format!("[{name}]\n{block}"));
    };
    let mut put = ended(&lines[..=found.start].concat());
    let mut left: Vec<_> = settings.iter().collect();
    for line in &lines[found.start + 1..found.end] {
        let ours = key(line).and_then(|key| settings.iter().find(|(own, _)| own == key));
        match ours {
            // The first line that sets it counts; a second one would take it back.
            Some(setting) => match left.iter().position(|other| *other == setting) {
                Some(at) => {
                    left.remove(at);
                    let same = line.split_once('=').is_some_and(|(_, value)| value.trim() == setting.1);
                    put.push_str(&if same { ended(line) } else { written(setting) });
                }
                None => continue,
            },
            None if key(line).is_some_and(|key| before.iter().any(|own| own == key)) => {}
            None => put.push_str(&ended(line)),
        }
    }
    left.into_iter().for_each(|setting| put.push_str(&written(setting)));
    put + &lines[found.end..].concat()
}

pub(super) fn take_out(text: &str, name: &str) -> String {
    let lines = lines_of(text);
    let Some(found) = find(&lines, name) else { return text.to_owned() };
    let mut before = lines[..found.start].to_vec();
    // The blank line that parted it from what is before it goes along, where nothing comes after.
    if found.end == lines.len() && before.last().is_some_and(|line| line.trim().is_empty()) {
        before.pop();
    }
    before.concat() + &lines[found.end..].concat()
}
