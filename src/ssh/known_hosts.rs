//! `known_hosts` files, read and never written.
//!
//! In: files, and the name of a host: `host` or `[host]:port`. Out: the lines that are about it. Names may stand there
//! as patterns (`*`, `?`, `!`) or hashed (`|1|salt|hash`). `@revoked` lines are told apart. `@cert-authority` lines are passed over:
//! host certificates are not asked for. A line that is not understood is passed over, as ssh itself does.
//!
//! This is not russh's own reader, which knows neither patterns nor `@revoked`, where a broken line hides all others.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::host_key::HostKey;
use super::pattern::list_fits;

/// A line about a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: HostKey,
    pub(super) file: PathBuf,
    /// From 1.
    pub(super) line: usize,
    /// Marked `@revoked`: the key must not be trusted.
    pub(super) revoked: bool,
}

/// What the files say of a name, in small letters. Files that are not there, or may not be read, say nothing.
pub(super) fn look_up(files: &[PathBuf], name: &str) -> Vec<Entry> {
    let mut found = Vec::new();
    for file in files {
        match std::fs::read(file) {
            Ok(bytes) => found.extend(entries(&String::from_utf8_lossy(&bytes), file, name)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::debug!(file = %file.display(), %error, "known_hosts is not read"),
        }
    }
    found
}

fn entries(text: &str, file: &Path, name: &str) -> Vec<Entry> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next().filter(|word| !word.starts_with('#')) else { continue };
        let (marker, hosts) = if first.starts_with('@') { (Some(first), words.next()) } else { (None, Some(first)) };
        let (Some(hosts), Some(algorithm), Some(blob)) = (hosts, words.next(), words.next()) else { continue };
        if marker.is_some_and(|marker| marker != "@revoked") || !hosts_fit(hosts, name) {
            continue;
        }
        let Some(key) = HostKey::parse(&format!("{algorithm} {blob}")) else { continue };
        found.push(Entry { key, file: file.to_owned(), line: number + 1, revoked: marker.is_some() });
    }
    found
}

fn hosts_fit(hosts: &str, name: &str) -> bool {
    match hosts.strip_prefix("|1|") {
        Some(hashed) => hash_fits(hashed, name).unwrap_or(false),
        None => list_fits(hosts.split(','), name),
    }
}

/// `salt|hash`, both base64: the hash is HMAC-SHA1 of the name, with the salt as its key.
fn hash_fits(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let salt = STANDARD.decode(salt).ok()?;
    let hash = STANDARD.decode(hash).ok()?;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    Some(hmac::verify(&key, name.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn lines(text: &str, name: &str) -> Vec<(usize, bool)> {
        entries(text, Path::new("kh"), name).iter().map(|entry| (entry.line, entry.revoked)).collect()
    }

    #[test]
    fn names_ports_and_patterns() {
        let text = format!(
            "# comment\n\nnode,10.0.0.1 {KEY} a comment\n[node]:2222 {KEY}\n*.example.org,!bad.example.org {KEY}\n\
             broken line\nnode ssh-ed25519 AAAAbroken\n@revoked node {KEY}\n@cert-authority * {KEY}\n"
        );
        assert_eq!(lines(&text, "node"), [(3, false), (8, true)]);
        assert_eq!(lines(&text, "10.0.0.1"), [(3, false)]);
        assert_eq!(lines(&text, "[node]:2222"), [(4, false)]);
        assert_eq!(lines(&text, "good.example.org"), [(5, false)]);
        assert_eq!(lines(&text, "bad.example.org"), []);
        assert_eq!(lines(&text, "[10.0.0.1]:2222"), []);
    }

    /// Lines as `ssh-keygen -H` wrote them.
    #[test]
    fn hashed_names() {
        let text = format!(
            "|1|xwsnlNsBU2JWWyYAUouJQ2obv8M=|FqJsLJvr9rThvwJq4X7NYmAHodE= {KEY}\n\
             |1|TetdiyBH18eZ5molB42Wea+wuPk=|AY7eSEG6Zace1ocEsB6en7sfkb0= {KEY}\n|1|broken|= {KEY}\n"
        );
        assert_eq!(lines(&text, "example.com"), [(1, false)]);
        assert_eq!(lines(&text, "[node.example.org]:2222"), [(2, false)]);
        assert_eq!(lines(&text, "node.example.org"), []);
        assert_eq!(lines(&text, "other.com"), []);
    }
}
