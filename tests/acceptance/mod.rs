//! One test a behaviour, through the binary: on the embedded cloud, and unchanged on a real OpenStack.
//!
//! In: specs, and requests of somebody else's client. Out: what the commands said, and what the cloud then holds, read
//! by that same client, which knows nothing of anole's.
//!
//! Invariants:
//! - Each test has a project and users of its own, so tests run side by side and need no order.
//! - A test may not ask which cloud it is on.
//!
//! `ANOLE_ACCEPTANCE=lab` takes the cloud of `tests/openstack`; without it every test serves itself an embedded one.
//! `tests/acceptance/run` does all of it.

mod client;
mod cloud;
mod ground;

mod changed;
mod datasets;
mod drifted;
mod kept;
mod leases;
mod made;
mod names;
mod objects;
mod quotas;
mod removed;
mod replaced;
mod served;
mod sharing;
mod sign_in;
mod strict;
mod taken;
mod trouble;
