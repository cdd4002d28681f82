//! Carries out what is due: the only place where objects change by themselves.
//!
//! Invariants: in the order of the moments, each at its own moment (`cx.now`), however late the request comes that finds
//! it; what a transition puts on the agenda for before the present is carried out too.

use super::guests::Progress;
use super::tables::{Fields, State, Table};
use super::wire::Cx;
use super::{blazar, cinder, neutron, nova};
use crate::model::Json;

/// Carries out all that is due by `cx.now`, but for what waits for a machine: that is due again at once.
pub fn settle(cx: &mut Cx<'_>, machines: &Progress) {
    let present = cx.now;
    for (server, why) in &machines.failed {
        nova::settle::doom(cx.state, server, why);
    }
    while let Some((due, table, id)) = cx.state.take_due(present) {
        if waits(cx.state, machines, table, &id) {
            cx.state.edit(table, &id, |doc| doc.set("_due", present + 1));
            continue;
        }
        cx.now = due;
        match table {
            Table::Servers => nova::settle::server(cx, &id),
            Table::Volumes => cinder::settle::volume(cx, &id),
            Table::Leases => blazar::settle::lease(cx, &id),
            Table::FloatingIps => neutron::floatingips::settle(cx, &id),
            Table::Tokens => {
                cx.state.remove(Table::Tokens, &id);
            }
            _ => {}
        }
    }
    cx.now = present;
}

/// Whether what is due for a server or a volume is a machine's doing, and the machine is not so far.
fn waits(state: &State, machines: &Progress, table: Table, id: &str) -> bool {
    let Some(doc) = state.get(table, id).filter(|_| !machines.held.is_empty()) else { return false };
    let held = |server: &str| machines.held.contains(server);
    match table {
        Table::Servers => held(id),
        Table::Volumes if ["attaching", "detaching", "extending"].contains(&doc.text("status")) => {
            let holders = doc.get("_attach").into_iter().chain(doc.list("attachments"));
            holders.map(|one: &Json| one.text("server_id")).any(held)
        }
        _ => false,
    }
}
