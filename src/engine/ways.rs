//! The ways to a stack's servers, for whoever logs in by `ssh`: from the state and the spec, without asking any cloud.

use std::path::PathBuf;

use super::inside::access;
use super::{Error, Settings, load};
use crate::guest::{Access, GuestError};
use crate::model::{Address, Value};
use crate::ssh::Target;
use crate::state::State;

/// The way to one server.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// The server in the spec.
    pub address: Address,
    /// Its name in the site.
    pub name: String,
    /// Where it is, as whom, with which key that is expected.
    pub access: Access,
    /// The user that `ssh` logs in as, after its own config.
    pub user: String,
}

/// The ways to all servers of a stack, and those that have none with the reason.
#[derive(Debug, Default)]
pub struct Ways {
    /// The ways, by the servers' addresses.
    pub found: Vec<Way>,
    /// The servers that cannot be reached.
    pub lost: Vec<(Address, String)>,
    /// Where the host keys are written that are expected, in the form of `known_hosts`.
    pub known_hosts: PathBuf,
}

/// Finds the ways to the servers that the state has.
///
/// # Errors
/// When spec or state cannot be read, or the ssh config has a mistake.
pub async fn ways(settings: &Settings) -> Result<Ways, Error> {
    let loaded = load(settings)?;
    let known_hosts = PathBuf::from(loaded.store.location()).with_extension("known_hosts");
    let Some(state) = &loaded.state else { return Ok(Ways { known_hosts, ..Ways::default() }) };
    let mut ways = Ways { known_hosts, ..Ways::default() };
    let servers = state.state.resources.iter().filter(|(_, record)| record.kind == "server");
    for (address, record) in servers {
        let found = match access(&state.state, &loaded.desired, &record.id) {
            Ok(access) => settings.servers.target(&access).await.map(|target| (access, target)),
            Err(error) => Err(error),
        };
        match found {
            Ok((access, target)) => ways.found.push(way(&state.state, address, access, &target)),
            Err(error @ GuestError::Ssh(_)) => {
                return Err(Error::refused(error.to_string(), error.hint().unwrap_or_default()));
            }
            Err(error) => ways.lost.push((address.clone(), error.to_string())),
        }
    }
    Ok(ways)
}

fn way(state: &State, address: &Address, access: Access, target: &Target) -> Way {
    let name = state.resources.get(address).and_then(|record| record.applied.get("name")).and_then(Value::as_str);
    Way {
        name: name.unwrap_or(&address.name).to_owned(),
        address: address.clone(),
        user: target.server.user.clone(),
        access,
    }
}

impl Ways {
    /// The way to the server that is meant: by address, key or name in the site.
    ///
    /// # Errors
    /// When there is none, or several are meant.
    pub fn to(&self, server: &str) -> Result<&Way, Error> {
        let wanted: Option<Address> = server.parse().ok().or_else(|| format!("servers.{server}").parse().ok());
        let fits = |way: &&Way| wanted.as_ref().is_some_and(|wanted| wanted.covers(&way.address)) || way.name == server;
        let found: Vec<&Way> = self.found.iter().filter(fits).collect();
        if let [only] = found.as_slice() {
            return Ok(only);
        }
        if let Some((address, why)) = self.lost.iter().find(|(address, _)| Some(address) == wanted.as_ref()) {
            return Err(Error::refused(format!("{address} cannot be reached: {why}"), "apply first"));
        }
        let names = |ways: &mut dyn Iterator<Item = &Way>| {
            ways.map(|way| way.address.to_string().replacen("servers.", "", 1)).collect::<Vec<_>>().join(", ")
        };
        match found.as_slice() {
            [] if self.found.is_empty() => Err(Error::refused("the state has no server", "apply first")),
            [] => Err(Error::refused(
                format!("there is no server `{server}`"),
                format!("there are {}", names(&mut self.found.iter())),
            )),
            several => Err(Error::refused(
                format!("`{server}` is several servers"),
                format!("name one of them: {}", names(&mut several.iter().copied())),
            )),
        }
    }

    /// The host keys that are expected, as `known_hosts` has them; each server goes by its id, for addresses are used
    /// again.
    #[must_use]
    pub fn known_hosts_text(&self) -> String {
        let pinned = self.found.iter().filter_map(|way| Some((way, way.access.pin.as_ref()?)));
        pinned.map(|(way, pin)| format!("{} {}\n", way.host_key_alias(), pin.key)).collect()
    }
}

impl Way {
    /// What the server is called in the file of host keys.
    #[must_use]
    pub fn host_key_alias(&self) -> String {
        format!("anole-{}", self.access.server)
    }

    /// The settings of `ssh` for this server, as `ssh_config` calls them.
    #[must_use]
    pub fn options(&self, known_hosts: &std::path::Path) -> Vec<(&'static str, String)> {
        let asked = &self.access.asked;
        let mut options = vec![("HostName", asked.host.clone()), ("User", self.user.clone())];
        options.extend(asked.port.map(|port| ("Port", port.to_string())));
        options.extend(asked.identity_files.iter().map(|file| ("IdentityFile", absolute(file))));
        options.extend(asked.jump.clone().map(|jump| ("ProxyJump", jump)));
        if self.access.pin.is_some() {
            options.push(("HostKeyAlias", self.host_key_alias()));
            options.push(("UserKnownHostsFile", absolute(&known_hosts.to_string_lossy())));
            options.push(("StrictHostKeyChecking", "yes".to_owned()));
        }
        options
    }
}

/// A path that holds in any folder; one that begins at the home folder is left to `ssh`.
fn absolute(path: &str) -> String {
    match path.starts_with("~/") {
        true => path.to_owned(),
        false => std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.to_string_lossy().into_owned()),
    }
}
