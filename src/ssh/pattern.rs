//! Patterns of host names, as ssh's own files have them: `*` for any characters, `?` for one, `!` for "not".

/// Whether a name fits a list of patterns. A pattern with `!` that fits decides against the whole list.
pub(super) fn list_fits<'a>(patterns: impl IntoIterator<Item = &'a str>, name: &str) -> bool {
    let mut fits = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if self::fits(pattern, name) => return false,
            Some(_) => {}
            None => fits |= self::fits(pattern, name),
        }
    }
    fits
}

/// Whether a name fits one pattern without `!`. Case does not count.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where the last `*` was, and how much of the name it takes so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            n = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_patterns() {
        for (pattern, name, expected) in [
            ("*", "anything", true),
            ("*", "", true),
            ("node", "NODE", true),
            ("node", "node1", false),
            ("node?", "node1", true),
            ("node?", "node", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("10.*.1.?", "10.20.1.5", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbX", false),
            ("[10.0.0.1]:2222", "[10.0.0.1]:2222", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn lists_with_exceptions() {
        assert!(list_fits(["*.org", "!bad.org"], "good.org"));
        assert!(!list_fits(["*.org", "!bad.org"], "bad.org"));
        assert!(!list_fits(["!bad.org"], "good.org"));
        assert!(!list_fits([], "x"));
    }
}
