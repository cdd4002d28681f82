//! What happens inside servers: the binary, the embedded cloud, and virtual machines behind it.
//!
//! In: specs. Out: what commands said, and what the servers themselves say by SSH, with OpenSSH's own client.
//!
//! Invariants:
//! - Each test has a cloud of its own, and ends the machines that it made, however it ends.
//! - No test asks how long something took: emulation is slow, and slower beside others. All waits are generous.
//!
//! They take minutes, so they are not part of `cargo test`: `tests/guests/run` does them.

mod kit;
mod storage;
mod store;

mod buckets;
mod datasets;
mod disks;
mod identity;
mod kills;
mod login;
mod machines;
mod mounts;
mod scripts;
mod together;
mod volumes;
