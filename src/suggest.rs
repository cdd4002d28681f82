//! "Did you mean …?": the closest of the words that would have been right.

/// How many of the candidates are looked at, so that a wrong name costs no more in a spec of a million blocks.
const MAX_CANDIDATES: usize = 10_000;

/// The candidate that a word was probably meant to be, if one is close enough: one mistake in three characters, and
/// at least one. Case, `-` and `_` count for nothing. The first of equals wins.
#[must_use]
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = folded(word);
    let most = (wanted.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates.into_iter().take(MAX_CANDIDATES) {
        let folded = folded(candidate);
        if folded.len().abs_diff(wanted.len()) > most || candidate == word {
            continue;
        }
        let distance = distance(&wanted, &folded);
        // Half of a two-letter word is no likeness.
        if distance <= most && distance < wanted.len() && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The help text, "did you mean `servers`?".
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

fn folded(word: &str) -> Vec<char> {
    // A name may be up to 63 characters; more than that is no near-miss of anything.
    word.chars()
        .take(128)
        .map(|character| if character == '_' { '-' } else { character.to_ascii_lowercase() })
        .collect()
}

/// Damerau's distance (insert, delete, replace, swap of neighbours) in its restricted form, where no part is edited
/// twice: three rows of the table are enough.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; right.len() + 1];
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut row = vec![0; right.len() + 1];
    for (i, &from) in left.iter().enumerate() {
        row[0] = i + 1;
        for (j, &to) in right.iter().enumerate() {
            let replaced = last[j] + usize::from(from != to);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == right[j - 1] && left[i - 1] == to {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_damerau_levenshtein() {
        let chars = |word: &str| word.chars().collect::<Vec<_>>();
        for (left, right, want) in [
            ("", "abc", 3),
            ("server", "servers", 1),
            ("sevrers", "servers", 1),
            ("kitten", "sitting", 3),
            ("a", "a", 0),
        ] {
            assert_eq!(distance(&chars(left), &chars(right)), want, "{left} {right}");
        }
    }

    #[test]
    fn only_near_misses_are_offered() {
        let words = ["servers", "volumes", "leases", "node-block"];
        assert_eq!(closest("sevrers", words), Some("servers"));
        assert_eq!(closest("node_block", words), Some("node-block"));
        assert_eq!(closest("Volume", words), Some("volumes"));
        assert_eq!(closest("buckets", words), None);
        assert_eq!(closest("a", ["b"]), None);
    }
}
