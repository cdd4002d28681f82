//! Carries out what is due: the only place where objects change by themselves.
//!
//! Invariants: in the order of the moments, each at its own moment (`cx.now`), however late the request comes that finds
//! it; what a transition puts on the agenda for before the present is carried out too.

use super::tables::Table;
use super::wire::Cx;
use super::{blazar, cinder, neutron, nova};

/// Carries out all that is due by `cx.now`.
pub fn settle(cx: &mut Cx<'_>) {
    let present = cx.now;
    while let Some((due, table, id)) = cx.state.take_due(present) {
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
