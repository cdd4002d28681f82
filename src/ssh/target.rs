//! Who is reached, as whom, with which keys, and through whom.
//!
//! In: what the caller asks for, the ssh config, the surroundings (home, user, agent). Out: a [`Target`]: the hops, in
//! the order in which they are connected to, and the server. Values that are asked for stand above the config's, and
//! these above the defaults. Pure but for looking which default keys exist.

use std::path::{Path, PathBuf};

use super::config::{Found, SshConfig};
use super::error::{ErrorKind, SshError};

/// More hops than this are a circle in the config.
const MOST_HOPS: usize = 8;
/// The key files that are tried if none is named, in their order.
const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// What the caller asks for: a spec's `ssh: { user, port, identity_file, jump }`, and the server's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// An address, a name, or an alias of the ssh config.
    pub host: String,
    /// The user to log in as.
    pub user: Option<String>,
    /// The user where the config names none either; else the local one.
    pub fallback_user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Private key files; a public one says which key of the agent.
    pub identity_files: Vec<String>,
    /// The hosts to go through, as ssh's `-J`: `user@host:port,…`; `none` for none.
    pub jump: Option<String>,
}

/// What is around: read once, so that everything else is a function of it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The home folder.
    pub home: Option<PathBuf>,
    /// The local user's name.
    pub user: String,
    /// The agent's socket.
    pub auth_sock: Option<PathBuf>,
    /// The system's ssh config.
    pub system_config: Option<PathBuf>,
}

impl Surroundings {
    /// The real ones.
    #[must_use]
    pub fn from_environment() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let user = set("USER").or_else(|| set("LOGNAME")).map(|user| user.to_string_lossy().into_owned());
        Self {
            home: std::env::home_dir(),
            user: user.unwrap_or_default(),
            auth_sock: set("SSH_AUTH_SOCK").map(PathBuf::from),
            system_config: Some("/etc/ssh/ssh_config".into()),
        }
    }

    pub(super) fn ssh_folder(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(".ssh"))
    }

    /// The config files, and whether each is the system's.
    pub(super) fn config_files(&self) -> Vec<(PathBuf, bool)> {
        let user = self.ssh_folder().map(|folder| (folder.join("config"), false));
        user.into_iter().chain(self.system_config.clone().map(|file| (file, true))).collect()
    }

    /// `~/x` in the home folder.
    pub(super) fn expand_home(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ if path == "~" => self.home.clone().unwrap_or_else(|| path.into()),
            _ => path.into(),
        }
    }
}

/// A key file to offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The file.
    pub path: PathBuf,
    /// Whether somebody named it. A default one that is not there is no problem.
    pub named: bool,
}

/// Which agent is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSocket {
    /// None.
    Off,
    /// The one at this socket.
    At(PathBuf),
}

/// One host to log in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The name that was asked for.
    pub name: String,
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The key files, in the order in which they are offered.
    pub identities: Vec<Identity>,
    /// Whether keys of the agent are offered only if they are among the files.
    pub identities_only: bool,
    /// The agent.
    pub agent: AgentSocket,
    /// `known_hosts` files.
    pub known_hosts: Vec<PathBuf>,
    /// The name under which it stands there, if it is another than its host's.
    pub alias: Option<String>,
    /// Whether a first contact is forbidden.
    pub strict: bool,
}

impl Endpoint {
    /// `129.114.1.2:22`.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The name under which it stands in `known_hosts`: `host`, or `[host]:port` for ports other than 22. An alias
    /// stands there as it is.
    pub(super) fn known_as(&self) -> String {
        match (&self.alias, self.port) {
            (Some(alias), _) => alias.to_lowercase(),
            (None, 22) => self.host.to_lowercase(),
            (None, port) => format!("[{}]:{port}", self.host.to_lowercase()),
        }
    }
}

/// A server, and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The hosts to go through, in the order in which they are connected to.
    pub hops: Vec<Endpoint>,
    /// The server.
    pub server: Endpoint,
    /// What the ssh config would have changed, and anole does not do.
    pub warnings: Vec<String>,
}

impl Target {
    /// Finds out who is reached, and how.
    pub fn resolve(asked: &Asked, config: &SshConfig, surroundings: &Surroundings) -> Result<Self, SshError> {
        if asked.host.is_empty() {
            return Err(SshError::new(ErrorKind::Settings, "there is no address to connect to"));
        }
        let resolver = Resolver { config, surroundings, inherited: &[] };
        let (server, found) = resolver.endpoint(asked)?;
        let mut warnings = found.warnings;
        let hops = Resolver { inherited: &asked.identity_files, ..resolver };
        let jump = asked.jump.as_deref().or(found.proxy_jump.as_deref());
        if asked.jump.is_some() {
            warnings.retain(|warning| !warning.contains("ProxyCommand"));
        }
        let hops = hops.hops(jump, &mut warnings, 0)?;
        Ok(Self { hops, server, warnings })
    }

    /// `cc@129.114.1.2:22, through bastion:22`.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("{}@{}", self.server.user, self.server.address());
        for (number, hop) in self.hops.iter().enumerate() {
            text.push_str(if number == 0 { ", through " } else { " and " });
            text.push_str(&hop.address());
        }
        text
    }
}

struct Resolver<'a> {
    config: &'a SshConfig,
    surroundings: &'a Surroundings,
    /// Key files for hops that have none of their own: those that were asked for.
    inherited: &'a [String],
}

impl Resolver<'_> {
    fn endpoint(&self, asked: &Asked) -> Result<(Endpoint, Found), SshError> {
        let found = self.config.find(&asked.host, asked.user.as_deref(), &self.surroundings.user);
        let named = asked.user.clone().or_else(|| found.user.clone()).or_else(|| asked.fallback_user.clone());
        let user = named.unwrap_or_else(|| self.surroundings.user.clone());
        if user.is_empty() {
            let message = format!("there is no user to log in as at {}", asked.host);
            return Err(SshError::new(ErrorKind::Settings, message).hint("set `user`: `cc` on Chameleon's images"));
        }
        let host = match &found.host_name {
            Some(name) => tokens(name, &[('h', &asked.host)]),
            None => asked.host.clone(),
        };
        let mut endpoint = Endpoint {
            name: asked.host.clone(),
            host,
            port: asked.port.or(found.port).unwrap_or(22),
            user,
            identities: Vec::new(),
            identities_only: found.identities_only.unwrap_or(false),
            agent: AgentSocket::Off,
            known_hosts: Vec::new(),
            alias: found.host_key_alias.clone(),
            strict: found.strict.unwrap_or(false),
        };
        endpoint.identities = self.identities(asked, &found, &endpoint);
        endpoint.agent = self.agent(&found, &endpoint);
        let own = match &found.known_hosts {
            Some(files) if files.iter().any(|file| file.eq_ignore_ascii_case("none")) => Vec::new(),
            Some(files) => files.iter().map(|file| self.path(file, &endpoint)).collect(),
            None => self.surroundings.ssh_folder().map(|folder| folder.join("known_hosts")).into_iter().collect(),
        };
        endpoint.known_hosts = own.into_iter().chain(self.system_known_hosts()).collect();
        Ok((endpoint, found))
    }

    fn identities(&self, asked: &Asked, found: &Found, endpoint: &Endpoint) -> Vec<Identity> {
        let mut named: Vec<&String> = asked.identity_files.iter().chain(&found.identity_files).collect();
        named.extend(self.inherited);
        let mut identities: Vec<Identity> = Vec::new();
        for file in named.into_iter().filter(|file| !file.eq_ignore_ascii_case("none")) {
            let identity = Identity { path: self.path(file, endpoint), named: true };
            if !identities.contains(&identity) {
                identities.push(identity);
            }
        }
        if identities.is_empty() && found.identity_files.is_empty() {
            let folder = self.surroundings.ssh_folder();
            let files = folder.iter().flat_map(|folder| DEFAULT_KEYS.map(|name| folder.join(name)));
            identities = files.filter(|path| path.exists()).map(|path| Identity { path, named: false }).collect();
        }
        identities
    }

    fn agent(&self, found: &Found, endpoint: &Endpoint) -> AgentSocket {
        let own = self.surroundings.auth_sock.clone().map_or(AgentSocket::Off, AgentSocket::At);
        match found.identity_agent.as_deref() {
            None | Some("SSH_AUTH_SOCK") => own,
            Some("none") => AgentSocket::Off,
            Some(path) => AgentSocket::At(self.path(path, endpoint)),
        }
    }

    /// The system's file stands beside the system's config.
    fn system_known_hosts(&self) -> Option<PathBuf> {
        self.surroundings.system_config.as_deref().and_then(Path::parent).map(|folder| folder.join("ssh_known_hosts"))
    }

    fn path(&self, text: &str, endpoint: &Endpoint) -> PathBuf {
        let port = endpoint.port.to_string();
        let home = self.surroundings.home.as_deref().map(|home| home.to_string_lossy().into_owned());
        let text = tokens(
            text,
            &[
                ('h', &endpoint.host),
                ('n', &endpoint.name),
                ('p', &port),
                ('r', &endpoint.user),
                ('u', &self.surroundings.user),
                ('d', home.as_deref().unwrap_or_default()),
            ],
        );
        self.surroundings.expand_home(&text)
    }

    /// The hops of a list, the first of them with its own `ProxyJump` before it, as ssh does it.
    fn hops(&self, jump: Option<&str>, warnings: &mut Vec<String>, depth: usize) -> Result<Vec<Endpoint>, SshError> {
        let Some(jump) = jump.filter(|jump| !jump.is_empty() && !jump.eq_ignore_ascii_case("none")) else {
            return Ok(Vec::new());
        };
        if depth > MOST_HOPS {
            let message = format!("the hosts to go through lead to each other: {jump}");
            return Err(SshError::new(ErrorKind::Settings, message).hint("look at ProxyJump in ~/.ssh/config"));
        }
        let mut hops = Vec::new();
        for (number, text) in jump.split(',').enumerate() {
            let (endpoint, found) = self.endpoint(&hop(text.trim())?)?;
            if number == 0 {
                hops = self.hops(found.proxy_jump.as_deref(), warnings, depth + 1)?;
            }
            warnings.extend(found.warnings);
            hops.push(endpoint);
        }
        Ok(hops)
    }
}

/// `user@host:port`, `ssh://user@host:port`, with `[…]` around an IPv6 address.
fn hop(text: &str) -> Result<Asked, SshError> {
    let wrong = || {
        SshError::new(ErrorKind::Settings, format!("`{text}` is no host to go through"))
            .hint("write it as `host`, `user@host` or `user@host:port`, several with commas")
    };
    let rest = text.strip_prefix("ssh://").unwrap_or(text);
    let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user.to_owned()), rest));
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
        // More than one colon is a bare IPv6 address.
        None if rest.matches(':').count() > 1 => (rest, None),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(str::parse).transpose().map_err(|_| wrong())?;
    let sound = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    if !sound(host) || user.as_deref().is_some_and(|user| !sound(user)) {
        return Err(wrong());
    }
    Ok(Asked { host: host.to_owned(), user, port, ..Asked::default() })
}

/// Replaces `%h` and its like, and `%%`. A token that is not known stays.
fn tokens(text: &str, values: &[(char, &str)]) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some(token) => match values.iter().find(|(name, _)| *name == token) {
                Some((_, value)) => out.push_str(value),
                None => out.extend(['%', token]),
            },
            None => out.push('%'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new(config: &str) -> Self {
            let home = tempfile::tempdir().expect("a folder");
            std::fs::create_dir(home.path().join(".ssh")).expect("made");
            std::fs::write(home.path().join(".ssh/config"), config).expect("written");
            Self(home)
        }

        fn resolve(&self, asked: &Asked) -> Result<Target, SshError> {
            let surroundings = Surroundings {
                home: Some(self.0.path().into()),
                user: "me".into(),
                auth_sock: Some("/run/agent".into()),
                system_config: None,
            };
            Target::resolve(asked, &SshConfig::load(&surroundings)?, &surroundings)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }
    }

    fn asked(host: &str) -> Asked {
        Asked { host: host.into(), ..Asked::default() }
    }

    #[test]
    fn asked_over_config_over_defaults() {
        let home = Home::new("Host node\n HostName %h.example.org\n User cc\n Port 2222\n IdentityFile ~/keys/%n-%r\n");
        let target = home.resolve(&asked("node")).expect("it resolves");
        assert_eq!(target.describe(), "cc@node.example.org:2222");
        assert_eq!(target.server.identities, [Identity { path: home.path("keys/node-cc"), named: true }]);
        assert_eq!(target.server.agent, AgentSocket::At("/run/agent".into()));
        assert_eq!(target.server.known_hosts, [home.path(".ssh/known_hosts")]);

        let spec = Asked {
            user: Some("root".into()),
            port: Some(22),
            identity_files: vec!["~/.ssh/mine".into()],
            ..asked("node")
        };
        let target = home.resolve(&spec).expect("it resolves");
        assert_eq!(target.describe(), "root@node.example.org:22");
        assert_eq!(target.server.identities[0].path, home.path(".ssh/mine"));

        let target = home.resolve(&asked("10.0.0.1")).expect("it resolves");
        assert_eq!(target.describe(), "me@10.0.0.1:22");
        assert_eq!(target.server.identities, []);
    }

    #[test]
    fn default_keys_are_those_that_exist() {
        let home = Home::new("");
        std::fs::write(home.path(".ssh/id_rsa"), "").expect("written");
        std::fs::write(home.path(".ssh/id_ed25519"), "").expect("written");
        let identities = home.resolve(&asked("x")).expect("it resolves").server.identities;
        assert_eq!(
            identities.iter().map(|one| (one.path.clone(), one.named)).collect::<Vec<_>>(),
            [(home.path(".ssh/id_ed25519"), false), (home.path(".ssh/id_rsa"), false)]
        );
    }

    #[test]
    fn jumps_in_their_order() {
        let home = Home::new("Host inner\n ProxyJump middle\nHost middle\n User mid\n ProxyJump outer:222\n");
        let target = home.resolve(&asked("inner")).expect("it resolves");
        assert_eq!(target.describe(), "me@inner:22, through outer:222 and middle:22");
        assert_eq!(target.hops[1].user, "mid");

        let spec =
            Asked { jump: Some("cc@a, ssh://[::1]:2200".into()), identity_files: vec!["key".into()], ..asked("inner") };
        let target = home.resolve(&spec).expect("it resolves");
        assert_eq!(target.describe(), "me@inner:22, through a:22 and [::1]:2200");
        assert_eq!(target.hops[0].user, "cc");
        assert_eq!(target.hops[0].identities[0].path, PathBuf::from("key"), "hops may use the key that is asked for");

        let none = Asked { jump: Some("none".into()), ..asked("inner") };
        assert_eq!(home.resolve(&none).expect("it resolves").hops, []);
    }

    #[test]
    fn mistakes() {
        let home = Home::new("Host a\n ProxyJump b\nHost b\n ProxyJump a\n");
        let error = home.resolve(&asked("a")).expect_err("a circle");
        assert!(error.to_string().contains("lead to each other"), "{error}");
        for jump in ["a:port", "@a", "a b", "[::1]x", "cc@"] {
            let error = home.resolve(&Asked { jump: Some(jump.into()), ..asked("x") }).expect_err(jump);
            assert!(error.to_string().contains("is no host to go through"), "{error}");
        }
        assert_eq!(home.resolve(&asked("")).expect_err("no host").kind, ErrorKind::Settings);
    }

    #[test]
    fn options_about_trust_and_the_agent() {
        let home = Home::new(
            "Host x\n IdentityAgent none\n UserKnownHostsFile ~/kh /dev/null\n HostKeyAlias one\n \
             StrictHostKeyChecking yes\n IdentitiesOnly yes\n ProxyCommand nc\n",
        );
        let target = home.resolve(&asked("x")).expect("it resolves");
        let server = &target.server;
        assert_eq!(server.agent, AgentSocket::Off);
        assert_eq!(server.known_hosts, [home.path("kh"), "/dev/null".into()]);
        assert_eq!((server.known_as().as_str(), server.strict, server.identities_only), ("one", true, true));
        assert_eq!(target.warnings.len(), 1);
        let port = Asked { port: Some(2222), ..asked("Y") };
        assert_eq!(home.resolve(&port).expect("it resolves").server.known_as(), "[y]:2222");
        let jump = Asked { jump: Some("b".into()), ..asked("x") };
        assert_eq!(home.resolve(&jump).expect("it resolves").warnings, [""; 0]);
    }
}
