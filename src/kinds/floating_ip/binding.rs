//! Which of a server's ports an address is bound to.
//!
//! The router between a port's network and the address's network may be another project's and not to be seen, so the
//! only judge is Neutron: ports are tried in order until one is not refused for want of a route. A refused request
//! changes nothing.

use std::future::Future;

use super::super::neutron as common;
use crate::cloud::neutron::{self, FloatingIp, Network, Object as _, Port};
use crate::cloud::{CloudError, ErrorKind};
use crate::kinds::kind::OpCx;
use crate::model::{Address, Fields, RemoteId, Stamp, Target, Value};

/// A port of the server, and how the spec names its network, where the port is anole's.
struct Candidate {
    port: Port,
    network: Option<String>,
}

/// The ids of the ports that may be meant, best first; `None` where no server is wanted.
pub(super) async fn ports(cx: &OpCx<'_>, want: &Fields) -> Result<Option<Vec<String>>, CloudError> {
    let Some(Value::Ref(server)) = want.get("server") else { return Ok(None) };
    let server_id = common::need_id(want, "server")?;
    let own = match &server.target {
        Target::Resource(address) => own_ports(cx, address),
        Target::Lookup(_) | Target::Live => Vec::new(),
    };
    let via = common::text(want, "via");
    // Where there is but one, nothing has to be known of it.
    if let ([(_, id)], None) = (own.as_slice(), via) {
        return Ok(Some(vec![id.0.clone()]));
    }
    let mut candidates = look_at(cx, &own).await?;
    if candidates.is_empty() {
        let ports: Vec<Port> = neutron::list(cx.session, &[("device_id", server_id)]).await?;
        candidates = ports.into_iter().map(|port| Candidate { port, network: None }).collect();
    }
    if candidates.is_empty() {
        return Err(common::refused(format!("server {server_id} has no port to bind the address to"))
            .hint("give the server at least one of `networks`"));
    }
    let ports = match via {
        Some(via) => through(cx, candidates, via).await?,
        None => candidates.into_iter().map(|candidate| candidate.port).collect(),
    };
    Ok(Some(ports.into_iter().map(|port| port.id).collect()))
}

/// The ports that anole made for the server, in the order of their addresses, and how the spec names their networks.
fn own_ports<'a>(cx: &OpCx<'a>, server: &Address) -> Vec<(&'a str, &'a RemoteId)> {
    let parts = cx.ids.iter().filter(|(address, _)| address.owner().as_ref() == Some(server));
    parts.filter_map(|(address, id)| Some((network_text(address.part.as_deref()?)?, id))).collect()
}

/// Those of them that are there.
async fn look_at(cx: &OpCx<'_>, own: &[(&str, &RemoteId)]) -> Result<Vec<Candidate>, CloudError> {
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let filters: Vec<_> = own.iter().map(|(_, id)| ("id", id.0.as_str())).collect();
    let ports: Vec<Port> = neutron::list(cx.session, &filters).await?;
    let candidate = |(network, id): &(&str, &RemoteId)| {
        let port = ports.iter().find(|port| port.id == id.0)?.clone();
        Some(Candidate { port, network: Some((*network).to_owned()) })
    };
    Ok(own.iter().filter_map(candidate).collect())
}

/// `sharednet1` of `port[sharednet1]`, and of `port[sharednet1]#2`, the second on that network.
fn network_text(part: &str) -> Option<&str> {
    part.strip_prefix("port[")?.rsplit_once(']').map(|(network, _)| network)
}

/// The ports on the network of that name, key in the spec, or id.
async fn through(cx: &OpCx<'_>, candidates: Vec<Candidate>, via: &str) -> Result<Vec<Port>, CloudError> {
    let named = |candidate: &Candidate| candidate.network.as_deref() == Some(via) || candidate.port.network_id == via;
    let filters: Vec<_> = candidates.iter().map(|candidate| ("id", candidate.port.network_id.as_str())).collect();
    let networks: Vec<Network> =
        if candidates.iter().any(named) { Vec::new() } else { neutron::list(cx.session, &filters).await? };
    let called = |id: &str| networks.iter().any(|network| network.id == id && network.name == via);
    let ports: Vec<Port> = candidates
        .into_iter()
        .filter(|candidate| named(candidate) || called(&candidate.port.network_id))
        .map(|candidate| candidate.port)
        .collect();
    if ports.is_empty() {
        return Err(common::refused(format!("the server has no port on a network `{via}`"))
            .hint("`via` names one of the server's `networks`"));
    }
    Ok(ports)
}

/// Tries the ports in turn, until one is not refused for want of a route to the address's network.
pub(super) async fn first_routed<'a, T, F, A>(ports: &'a [String], attempt: F) -> Result<T, CloudError>
where
    F: Fn(&'a str) -> A,
    A: Future<Output = Result<T, CloudError>>,
{
    let mut last = None;
    for port in ports {
        match attempt(port).await {
            Err(error) if is_unrouted(&error) => last = Some(error),
            Err(error) => return Err(explain(error)),
            done => return done,
        }
    }
    Err(last.unwrap_or_else(|| common::refused("the server has no port")).hint(
        "none of the server's networks is routed to the address's network: connect one of them with a `routers` entry, \
         or give the server one that is (`sharednet1` on Chameleon)",
    ))
}

fn is_unrouted(error: &CloudError) -> bool {
    error.code.as_deref() == Some("ExternalGatewayForFloatingIPNotFound")
}

/// Says what to do about a port that has another address.
fn explain(error: CloudError) -> CloudError {
    if error.kind == ErrorKind::Conflict && error.code.as_deref() == Some("FloatingIPPortAlreadyAssociated") {
        return error.hint(
            "the server's port has a floating IP that is not this one: unbind it (`openstack floating ip unset --port \
             ADDRESS`), or claim it with `address:` in place of asking for a new one",
        );
    }
    error
}

/// Refuses to take an address away from a port that is neither this stack's nor the last apply's server's.
pub(super) async fn check_free(cx: &OpCx<'_>, live: &FloatingIp, applied: &Fields) -> Result<(), CloudError> {
    let Some(port_id) = &live.port_id else { return Ok(()) };
    let Some(port) = neutron::get::<Port>(cx.session, port_id).await? else { return Ok(()) };
    let (_, stamp) = Stamp::split_description(port.description());
    let ours = stamp.is_some_and(|stamp| stamp.lineage == cx.stamp.lineage);
    if ours || common::id(applied, "server") == Some(port.device_id.as_str()) {
        return Ok(());
    }
    let holder = match port.device_id.as_str() {
        "" => String::new(),
        id if port.device_owner.starts_with("network:") => format!(" of router {id}"),
        id => format!(" of server {id}"),
    };
    let address = &live.floating_ip_address;
    let message = format!("{address} is bound to port {port_id}{holder}, which is not this stack's");
    Err(common::refused(message)
        .hint(format!("if it is to move, unbind it first: `openstack floating ip unset --port {address}`")))
}
