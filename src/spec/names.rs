//! The names a spec may give, and why no others.
//!
//! A name is part of addresses (`servers.node[node1]/port[net]`), which are typed at prompts, stored in states and
//! written into services' metadata. So what separates their parts may not stand inside of them.

use crate::model::InstanceKey;

/// How long a name may be: a host name's label, which a server's name becomes (RFC 1035, 63 octets).
pub const MAX_NAME: usize = 63;

/// How long an instance's key may be.
const MAX_KEY: usize = 63;

/// Whether a text can be a block's name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    why_no_name(text).is_none()
}

/// Why a text cannot be a block's name.
#[must_use]
pub fn why_no_name(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("a name may not be empty".to_owned());
    }
    if text.len() > MAX_NAME {
        return Some(format!(
            "a name has at most {MAX_NAME} characters, as host names do; this one has {}",
            text.len()
        ));
    }
    let bad = text.chars().find(|&character| !character.is_ascii_alphanumeric() && !matches!(character, '-' | '_'));
    match bad {
        Some('.') => {
            Some("a name may not hold `.`, which separates it from its attributes in `${servers.name.id}`".to_owned())
        }
        Some(' ') => Some("a name may not hold blanks: names become host names and are typed in commands".to_owned()),
        Some(bad) => Some(format!("a name holds letters, digits, `-` and `_`, and not `{bad}`")),
        None if text.starts_with(['-', '_']) => {
            Some("a name starts with a letter or a digit, so that no command takes it for an option".to_owned())
        }
        None => None,
    }
}

/// Why a text cannot be the key of a `for_each`.
#[must_use]
pub fn why_no_key(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("a key of `for_each` may not be empty".to_owned());
    }
    if text.len() > MAX_KEY {
        return Some(format!("a key of `for_each` has at most {MAX_KEY} characters; this one has {}", text.len()));
    }
    let bad = |&character: &char| character.is_control() || matches!(character, '[' | ']' | '{' | '}');
    let bad = text.chars().find(bad)?;
    Some(format!(
        "a key of `for_each` may not hold `{}`: it stands between brackets in addresses",
        bad.escape_default()
    ))
}

/// What a text between brackets means: a number is an index. Addresses are read back by the same rule, so the key `1`
/// of a `for_each` is the index 1 everywhere.
#[must_use]
pub fn instance_key(text: &str) -> InstanceKey {
    match text.parse::<u32>() {
        Ok(index) if index.to_string() == text => InstanceKey::Index(index),
        _ => InstanceKey::Key(text.to_owned()),
    }
}

/// Whether a text can be a variable's name: it is part of `ANOLE_VAR_<name>`.
#[must_use]
pub fn is_variable(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_NAME
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_that_separates() {
        for good in ["a", "node-block", "N_1", "9"] {
            assert_eq!(why_no_name(good), None, "{good}");
        }
        for bad in ["", "a.b", "a b", "é", "-a", "_a", "a/b", "a[0]"] {
            assert!(why_no_name(bad).is_some(), "{bad}");
        }
        assert!(is_name(&"a".repeat(63)) && !is_name(&"a".repeat(64)));
    }

    #[test]
    fn an_instance_key_is_read_as_addresses_read_it() {
        assert_eq!(instance_key("1"), InstanceKey::Index(1));
        assert_eq!(instance_key("01"), InstanceKey::Key("01".into()));
        assert!(why_no_key("192.168.1.1/24").is_none() && why_no_key("a]").is_some());
    }
}
