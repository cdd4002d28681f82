//! `~/.ssh/config` and `/etc/ssh/ssh_config`, as far as they say how to reach a host.
//!
//! In: the files, a host's name as it was asked for, the user. Out: the [`Found`] options, and warnings about what
//! would change the connection and is not done here: `ProxyCommand`, and `Match` conditions that take a program or a
//! second pass to answer. Options that are not about reaching a host are passed over.
//!
//! As in ssh: the first value of an option counts, `IdentityFile` adds up, `Include` stands where it is written and
//! inside its block, keywords know no case.
//!
//! This is small code of our own. The crates for it take a file to mean what they know of it: none has `Match`, and
//! none tells where a value stands, which a warning must. The grammar is a page of ssh_config(5).

use std::path::{Path, PathBuf};

use super::error::{ErrorKind, SshError};
use super::pattern::{fits, list_fits};
use super::target::Surroundings;

/// How deep files may include others; ssh has the same bound.
const DEPTH: usize = 16;

/// The options of the files, in their order. Included files are read when the config is.
#[derive(Debug, Clone, Default)]
pub struct SshConfig {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    /// The blocks around it, from the outermost: an included file may stand in one and have its own.
    blocks: Vec<Block>,
    keyword: String,
    values: Vec<String>,
    place: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Block {
    Host(Vec<String>),
    Match(Vec<Condition>),
    /// A `Match` that is not answered here, with its text.
    Unanswered(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    what: Criterion,
    negated: bool,
    patterns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Criterion {
    All,
    Host,
    OriginalHost,
    User,
    LocalUser,
}

/// What the files say of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) host_name: Option<String>,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) identity_files: Vec<String>,
    pub(super) identities_only: Option<bool>,
    pub(super) identity_agent: Option<String>,
    pub(super) proxy_jump: Option<String>,
    pub(super) known_hosts: Option<Vec<String>>,
    pub(super) host_key_alias: Option<String>,
    pub(super) strict: Option<bool>,
    /// What would have changed the connection, and is not done.
    pub(super) warnings: Vec<String>,
}

impl SshConfig {
    /// Reads the user's file, then the system's. One that is not there says nothing.
    pub fn load(surroundings: &Surroundings) -> Result<Self, SshError> {
        let mut reader = Reader { surroundings, lines: Vec::new() };
        for (file, system) in surroundings.config_files() {
            reader.file(&file, &[], system, 0)?;
        }
        Ok(Self { lines: reader.lines })
    }

    /// What the files say of a host. `user` is the one that is given already, if any: `Match user` asks for it.
    pub(super) fn find(&self, host: &str, user: Option<&str>, local_user: &str) -> Found {
        let mut found = Found::default();
        for line in &self.lines {
            let asked = Asked { host, user, local_user, found: &found };
            let mut unanswered = None;
            if line.blocks.iter().all(|block| asked.fits(block, &mut unanswered)) {
                match unanswered {
                    None => found.take(line),
                    Some(text) if changes_connection(&line.keyword) => {
                        let place = &line.place;
                        let keyword = &line.keyword;
                        found.warn(format!("{place}: {keyword} is not used: anole does not answer `Match {text}`"));
                    }
                    Some(_) => {}
                }
            }
        }
        found
    }
}

struct Asked<'a> {
    host: &'a str,
    user: Option<&'a str>,
    local_user: &'a str,
    found: &'a Found,
}

impl Asked<'_> {
    fn fits(&self, block: &Block, unanswered: &mut Option<String>) -> bool {
        match block {
            Block::Host(patterns) => list_fits(patterns.iter().map(String::as_str), self.host),
            Block::Match(conditions) => conditions.iter().all(|condition| self.holds(condition) != condition.negated),
            Block::Unanswered(text) => {
                *unanswered = Some(text.clone());
                true
            }
        }
    }

    fn holds(&self, condition: &Condition) -> bool {
        let name = match condition.what {
            Criterion::All => return true,
            Criterion::Host => self.found.host_name.as_deref().unwrap_or(self.host),
            Criterion::OriginalHost => self.host,
            Criterion::User => self.user.or(self.found.user.as_deref()).unwrap_or(self.local_user),
            Criterion::LocalUser => self.local_user,
        };
        list_fits(condition.patterns.iter().map(String::as_str), name)
    }
}

impl Found {
    fn take(&mut self, line: &Line) {
        let Some(first) = line.values.first() else { return };
        let yes = matches!(first.to_lowercase().as_str(), "yes" | "true");
        match line.keyword.as_str() {
            "hostname" => set(&mut self.host_name, first.clone()),
            "user" => set(&mut self.user, first.clone()),
            "port" => match first.parse() {
                Ok(port) => set(&mut self.port, port),
                Err(_) => self.warn(format!("{}: {first} is no port", line.place)),
            },
            "identityfile" => self.identity_files.push(first.clone()),
            "identitiesonly" => set(&mut self.identities_only, yes),
            "identityagent" => set(&mut self.identity_agent, first.clone()),
            "proxyjump" => set(&mut self.proxy_jump, first.clone()),
            "userknownhostsfile" => set(&mut self.known_hosts, line.values.clone()),
            "hostkeyalias" => set(&mut self.host_key_alias, first.clone()),
            "stricthostkeychecking" => set(&mut self.strict, yes),
            // Whichever of the two comes first counts.
            "proxycommand" if first.eq_ignore_ascii_case("none") => set(&mut self.proxy_jump, "none".to_owned()),
            "proxycommand" if self.proxy_jump.is_none() => self.warn(format!(
                "{}: ProxyCommand is not used: anole reaches other hosts by ProxyJump, or by `jump` in the spec",
                line.place
            )),
            _ => {}
        }
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

fn set<T>(option: &mut Option<T>, value: T) {
    option.get_or_insert(value);
}

fn changes_connection(keyword: &str) -> bool {
    matches!(
        keyword,
        "hostname"
            | "user"
            | "port"
            | "identityfile"
            | "identitiesonly"
            | "identityagent"
            | "proxyjump"
            | "proxycommand"
    )
}

struct Reader<'a> {
    surroundings: &'a Surroundings,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, outer: &[Block], system: bool, depth: usize) -> Result<(), SshError> {
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(settings(format!("{} cannot be read: {error}", path.display()))),
        };
        if depth > DEPTH {
            return Err(settings(format!("{}: files include each other more than {DEPTH} deep", path.display())));
        }
        let mut blocks = outer.to_vec();
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            let words = words(line).map_err(|problem| settings(format!("{place}: {problem}")))?;
            let Some((keyword, values)) = words.split_first() else { continue };
            let keyword = keyword.to_lowercase();
            match keyword.as_str() {
                "host" | "match" => {
                    blocks.truncate(outer.len());
                    blocks.push(block(&keyword, values));
                }
                "include" => {
                    for pattern in values {
                        for file in self.included(pattern, system) {
                            self.file(&file, &blocks, system, depth + 1)?;
                        }
                    }
                }
                _ => self.lines.push(Line { blocks: blocks.clone(), keyword, values: values.to_vec(), place }),
            }
        }
        Ok(())
    }

    /// The files of an `Include`: relative ones are beside the user's file or the system's; each part may be a pattern.
    fn included(&self, pattern: &str, system: bool) -> Vec<PathBuf> {
        let base = if system { Some(PathBuf::from("/etc/ssh")) } else { self.surroundings.ssh_folder() };
        let path = self.surroundings.expand_home(pattern);
        let Some(path) = (if path.is_absolute() { Some(path) } else { base.map(|base| base.join(path)) }) else {
            return Vec::new();
        };
        let mut found = vec![PathBuf::new()];
        for part in path.components() {
            let text = part.as_os_str().to_string_lossy();
            if text.contains(['*', '?']) {
                found = found.iter().flat_map(|folder| entries(folder, &text)).collect();
            } else {
                found.iter_mut().for_each(|path| path.push(part));
            }
        }
        found
    }
}

fn entries(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = listing
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            fits(pattern, &name) && (pattern.starts_with('.') || !name.starts_with('.'))
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn block(keyword: &str, values: &[String]) -> Block {
    if keyword == "host" {
        return Block::Host(values.to_vec());
    }
    let mut conditions = Vec::new();
    let mut words = values.iter();
    while let Some(word) = words.next() {
        // Both `user cc` and `user=cc` are written.
        let (word, attached) = word.split_once('=').map_or((word.as_str(), None), |(a, b)| (a, Some(b.to_owned())));
        let negated = word.starts_with('!');
        let what = match word.trim_start_matches('!').to_lowercase().as_str() {
            "all" => Criterion::All,
            "host" => Criterion::Host,
            "originalhost" => Criterion::OriginalHost,
            "user" => Criterion::User,
            "localuser" => Criterion::LocalUser,
            _ => return Block::Unanswered(values.join(" ")),
        };
        let patterns = if what == Criterion::All { Some(String::new()) } else { attached.or(words.next().cloned()) };
        let Some(patterns) = patterns else { return Block::Unanswered(values.join(" ")) };
        let patterns = patterns.split(',').map(str::to_owned).collect();
        conditions.push(Condition { what, negated, patterns });
    }
    Block::Match(conditions)
}

/// A line's words: blanks part them, quotes join them, an `=` may stand after the keyword, `#` begins a comment.
fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Vec::new());
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    let mut words = vec![keyword.to_owned()];
    // A command is one text, and it may hold quotes and marks of its own.
    if keyword.eq_ignore_ascii_case("proxycommand") {
        words.push(rest.trim().to_owned());
        return Ok(words);
    }
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in rest.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '#' if !quoted && word.is_none() => break,
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

fn settings(message: String) -> SshError {
    SshError::new(ErrorKind::Settings, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> (tempfile::TempDir, SshConfig) {
        let home = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = home.path().join(".ssh").join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let surroundings = Surroundings { home: Some(home.path().into()), ..Surroundings::default() };
        let config = SshConfig::load(&surroundings).expect("it reads");
        (home, config)
    }

    fn find(text: &str, host: &str) -> Found {
        load(&[("config", text)]).1.find(host, None, "me")
    }

    #[test]
    fn the_first_value_counts_and_identities_add_up() {
        let found = find(
            "User early\nIdentityFile ~/.ssh/all\nHost node* !node9\n  HostName 10.0.0.1\n\tPort=2222\n  User late\n  \
             identityfile \"~/my keys/one\" # comment\nHost *\n HostName other\n IdentityFile two\n IdentitiesOnly yes\n",
            "node1",
        );
        assert_eq!(found.host_name.as_deref(), Some("10.0.0.1"));
        assert_eq!((found.user.as_deref(), found.port), (Some("early"), Some(2222)));
        assert_eq!(found.identity_files, ["~/.ssh/all", "~/my keys/one", "two"]);
        assert_eq!(found.identities_only, Some(true));
        assert_eq!(found.warnings, [""; 0]);
    }

    #[test]
    fn a_host_that_is_excepted() {
        assert_eq!(find("Host node* !node9\n Port 1\nHost *\n Port 2\n", "node9").port, Some(2));
    }

    #[test]
    fn matches_that_can_be_answered() {
        let text = "Host n\n HostName real\nMatch host real user cc\n Port 1\nMatch originalhost n localuser me\n \
                    User cc\nMatch !host real\n Port 4\nMatch host real user=cc\n Port 5\nMatch all\n Port 6\n";
        let found = find(text, "n");
        assert_eq!((found.user.as_deref(), found.port), (Some("cc"), Some(5)));
        assert_eq!(load(&[("config", text)]).1.find("n", Some("root"), "me").port, Some(6));
    }

    #[test]
    fn what_would_change_the_connection_is_said() {
        let found = find(
            "Match exec \"test -f x\"\n User other\n LogLevel debug\nHost n\n ProxyCommand ssh -W \"%h\":%p b # no\n Port x\n",
            "n",
        );
        assert_eq!(found.user, None);
        let warnings: Vec<&str> =
            found.warnings.iter().map(|warning| warning.split_once("config:").expect("a place").1).collect();
        assert_eq!(
            warnings,
            [
                "2: user is not used: anole does not answer `Match exec test -f x`",
                "5: ProxyCommand is not used: anole reaches other hosts by ProxyJump, or by `jump` in the spec",
                "6: x is no port",
            ]
        );
        let jumped = find("Host n\n ProxyJump b\n ProxyCommand nc %h %p\n", "n");
        assert_eq!((jumped.proxy_jump.as_deref(), jumped.warnings.len()), (Some("b"), 0));
        assert_eq!(find("ProxyCommand none\nProxyJump b\n", "n").proxy_jump.as_deref(), Some("none"));
        assert_eq!(find("Host other\n ProxyCommand x\n", "n").warnings.len(), 0);
    }

    #[test]
    fn includes_stand_in_their_block() {
        let (_home, config) = load(&[
            ("config", "Host a\n Include conf.d/*.conf\nHost *\n Port 9\n"),
            ("conf.d/1.conf", "Port 1\nHost b\n Port 2\n"),
            ("conf.d/2.conf", "User two\n"),
            ("conf.d/other", "User other\n"),
        ]);
        let a = config.find("a", None, "me");
        assert_eq!((a.port, a.user.as_deref()), (Some(1), Some("two")));
        let b = config.find("b", None, "me");
        assert_eq!((b.port, b.user), (Some(9), None), "the file is included for `a` only");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join(".ssh")).expect("made");
        let surroundings = Surroundings { home: Some(home.path().into()), ..Surroundings::default() };
        let write = |text: &str| std::fs::write(home.path().join(".ssh/config"), text).expect("written");
        write("Host a\n User \"cc\n");
        let error = SshConfig::load(&surroundings).expect_err("a quote is open");
        assert!(error.to_string().ends_with("config:2: a quote is not closed"), "{error}");
        write("Include config\n");
        let error = SshConfig::load(&surroundings).expect_err("a circle");
        assert!(error.to_string().contains("include each other"), "{error}");
    }
}
