//! The host keys that a server printed on its console when it first booted.
//!
//! cloud-init writes them there in two sections: the keys themselves, and their fingerprints. The cloud's API gives
//! the log to the server's owner only, by a way that has nothing to do with the network in front of the server. So
//! what stands there is better evidence than a first contact.
//!
//! In: the text of a console log, with whatever the kernel wrote in between. Out: the keys and fingerprints of the
//! last sections. A line that was torn by another one does not decode, and is passed over.

use std::sync::LazyLock;

use async_trait::async_trait;
use regex::Regex;

use super::host_key::HostKey;

/// The console of the server that is connected to, where the cloud offers one.
#[async_trait]
pub trait Console: Send + Sync {
    /// The log as it is now; none if there is none to be had.
    async fn log(&self) -> Option<String>;
}

/// The host keys of a console log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsoleKeys {
    keys: Vec<HostKey>,
    /// `SHA256:…`, as `ssh-keygen -l` prints them.
    fingerprints: Vec<String>,
}

static KEY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"((?:ssh|ecdsa)-[a-z0-9-]+) (AAAA[A-Za-z0-9+/]+=*)").ok());
static FINGERPRINT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"SHA256:[A-Za-z0-9+/]{43}").ok());

impl ConsoleKeys {
    /// Reads a console log. Of several sections of a sort the last counts: the log holds every boot, and a host that
    /// was given a new identity printed its new keys last.
    #[must_use]
    pub fn parse(log: &str) -> Self {
        let keys = last_section(log, "SSH HOST KEY KEYS").into_iter().flat_map(|line| found(&KEY, line));
        let fingerprints = last_section(log, "SSH HOST KEY FINGERPRINTS");
        Self {
            keys: keys.filter_map(HostKey::parse).collect(),
            fingerprints: fingerprints
                .into_iter()
                .flat_map(|line| found(&FINGERPRINT, line))
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Whether the log shows no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.fingerprints.is_empty()
    }

    /// Whether the key is among them.
    #[must_use]
    pub fn holds(&self, key: &HostKey) -> bool {
        self.keys.contains(key) || self.fingerprints.contains(&key.fingerprint())
    }

    /// The fingerprints of all of them, for people.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        let mut all: Vec<String> = self.keys.iter().map(HostKey::fingerprint).collect();
        all.extend(self.fingerprints.iter().filter(|one| !all.contains(one)).cloned().collect::<Vec<_>>());
        all
    }
}

fn found<'a>(pattern: &'static LazyLock<Option<Regex>>, line: &'a str) -> Vec<&'a str> {
    pattern.as_ref().map(|pattern| pattern.find_iter(line).map(|found| found.as_str()).collect()).unwrap_or_default()
}

/// The whole lines after the last `BEGIN`, up to its `END`. A section that is still being printed counts as far as it
/// goes.
fn last_section<'a>(log: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("-----BEGIN {name}-----");
    let Some(start) = log.rfind(&begin) else { return Vec::new() };
    let rest = &log[start + begin.len()..];
    let rest = rest.find(&format!("-----END {name}-----")).map_or(rest, |end| &rest[..end]);
    let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
    whole.lines().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";

    fn key(text: &str) -> HostKey {
        HostKey::parse(text).expect("a key")
    }

    fn keys_section(keys: &str) -> String {
        format!("-----BEGIN SSH HOST KEY KEYS-----\r\n{keys}\r\n-----END SSH HOST KEY KEYS-----\r\n")
    }

    #[test]
    fn both_sections_of_cloud_init() {
        let print = key(OTHER).fingerprint();
        let log = format!(
            "[    3.1] random: crng init done\n\
             <14>Nov 20 18:00:01 cloud-init: #############################################################\n\
             <14>Nov 20 18:00:01 cloud-init: -----BEGIN SSH HOST KEY FINGERPRINTS-----\n\
             <14>Nov 20 18:00:01 cloud-init: 256 {print} root@node (ED25519)\n\
             <14>Nov 20 18:00:01 cloud-init: -----END SSH HOST KEY FINGERPRINTS-----\n{}login: ",
            keys_section(&format!("{ED25519} root@node\r\nssh-rsa AAAAB3torn[   12.3] eth0: up"))
        );
        let keys = ConsoleKeys::parse(&log);
        assert!(keys.holds(&key(ED25519)) && keys.holds(&key(OTHER)));
        assert_eq!(keys.fingerprints().len(), 2);
    }

    #[test]
    fn the_last_boot_counts() {
        let keys = ConsoleKeys::parse(&(keys_section(OTHER) + &keys_section(ED25519)));
        assert!(keys.holds(&key(ED25519)) && !keys.holds(&key(OTHER)));
    }

    #[test]
    fn a_section_that_is_not_there_yet_or_not_whole() {
        assert!(ConsoleKeys::parse("booting\n").is_empty());
        assert!(ConsoleKeys::parse(&format!("{ED25519} not in a section\n")).is_empty());
        let torn = format!("-----BEGIN SSH HOST KEY KEYS-----\n{ED25519} root@x\n{}", &OTHER[..40]);
        let keys = ConsoleKeys::parse(&torn);
        assert!(keys.holds(&key(ED25519)));
        assert_eq!(keys.fingerprints().len(), 1);
    }
}
