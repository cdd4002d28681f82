//! A name with places for what a pattern captured: `class_{1:02}`.
//!
//! `{1}` is the first group, `{name}` a named one, `{0}` all that matched; `:02` fills up with zeros to two characters;
//! `{{` and `}}` are braces.

use regex::{Captures, Regex};

/// A name with places.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group { group: String, width: usize },
}

impl Template {
    /// Reads a template; every group must be one of the pattern.
    pub(super) fn parse(text: &str, pattern: &Regex) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let place = rest.split_once('}').filter(|_| brace == "{");
            let (place, after) =
                place.ok_or_else(|| format!("`{text}` has a `{brace}` that stands alone; write `{brace}{brace}`"))?;
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(group(place, pattern)?);
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self(pieces))
    }

    /// The name for what was captured.
    pub(super) fn fill(&self, captures: &Captures<'_>) -> String {
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Group { group, width } => {
                    let found = match group.parse::<usize>() {
                        Ok(number) => captures.get(number),
                        Err(_) => captures.name(group),
                    };
                    let found = found.map_or("", |found| found.as_str());
                    name.extend(std::iter::repeat_n('0', width.saturating_sub(found.chars().count())));
                    name.push_str(found);
                }
            }
        }
        name
    }
}

fn group(place: &str, pattern: &Regex) -> Result<Piece, String> {
    let (group, width) = match place.split_once(':') {
        None => (place, 0),
        Some((group, width)) => {
            let digits =
                width.strip_prefix('0').and_then(|digits| digits.parse::<usize>().ok()).filter(|width| *width <= 32);
            (group, digits.ok_or_else(|| format!("`{{{place}}}`: after the `:` stands a width such as `02`"))?)
        }
    };
    let known = match group.parse::<usize>() {
        Ok(number) => number < pattern.captures_len(),
        Err(_) => pattern.capture_names().flatten().any(|name| name == group),
    };
    match known {
        true => Ok(Piece::Group { group: group.to_owned(), width }),
        false => Err(format!("`{{{place}}}`: the pattern `{pattern}` has no such group")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, pattern: &str, text: &str) -> Result<String, String> {
        let pattern = Regex::new(pattern).unwrap();
        Ok(Template::parse(template, &pattern)?.fill(&pattern.captures(text).unwrap()))
    }

    #[test]
    fn places_are_filled() {
        assert_eq!(filled("class_{1:02}", r"^(\d+)_", "7_12.jpg").unwrap(), "class_07");
        assert_eq!(filled("class_{1:02}", r"^(\d+)_", "123_12.jpg").unwrap(), "class_123");
        assert_eq!(filled("{b}/{a}{{x}}", r"(?<a>\w)-(?<b>\w)", "p-q").unwrap(), "q/p{x}");
        assert_eq!(filled("{1}.", r"(x)?y", "y").unwrap(), ".");
    }

    #[test]
    fn mistakes_are_told() {
        for (template, why) in [
            ("{2}", "no such group"),
            ("{kind}", "no such group"),
            ("{1:x}", "a width such as `02`"),
            ("{1", "stands alone"),
            ("1}", "stands alone"),
        ] {
            assert!(filled(template, r"(\d)", "1").unwrap_err().contains(why), "{template}");
        }
    }
}
