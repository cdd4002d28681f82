//! `anole` makes OpenStack and Chameleon match a YAML spec: leases, servers, networks and volumes, where compute comes
//! and goes while data stays.
//!
//! ```text
//!  YAML ──spec──▶ Spec ──resolve──▶ Desired ─┐
//!  state/*.json ──state──▶ State ────────────┼──plan──▶ Plan (petgraph DAG + reasons) ──apply──▶ cloud
//!  cloud ──observe──▶ Observed ──────────────┘                                            └──▶ state
//!                         every step emits Events ──▶ ui (human · progress · JSON)
//! ```
//!
//! | module | knows |
//! |---|---|
//! | [`model`] | addresses, values, references, stamps: plain data that all share |
//! | [`diagnostic`] | mistakes in a spec, with their places |
//! | [`spec`] | YAML to a spanned spec; only `spec::load` reads files |
//! | [`kinds`] | the kinds of resource: a table of fields and five operations each |
//! | [`resolve`] | instances, references, types: from a spec to what is wanted |
//! | [`observe`] | what is live, in a few list calls |
//! | [`plan`](mod@plan) | pure: what is to be done, why, in which order |
//! | [`apply`](mod@apply) | carries a plan out, recording each step |
//! | [`state`] | what anole remembers: snapshot, journal, lock, recovery |
//! | [`cloud`] | OpenStack sessions and thin clients |
//! | [`credential_file`] | files that programs read credentials from: what is put in, what survives |
//! | [`object`] | object stores, by S3 and by Swift's API |
//! | [`ssh`] | servers by SSH: addresses, trust, commands, files |
//! | [`guest`] | inside servers: disks, filesystems, mounts, scripts |
//! | [`dataset`] | datasets: from a source to objects in a bucket, with a manifest |
//! | [`embedded`] | the embedded cloud: the same HTTP APIs, in process |
//! | [`tree`] | local files and folders that are copied to servers |
//! | [`stamp`] | unique ids, and whose a stamp is |
//! | [`engine`] | what the commands do, put together from the parts |
//! | [`cli`], [`ui`] | arguments and one function a command; everything that prints |
//!
//! `ARCHITECTURE.md` says why.
#![forbid(unsafe_code)]

pub mod apply;
pub mod cli;
pub mod cloud;
pub mod credential_file;
pub mod dataset;
pub mod diagnostic;
pub mod embedded;
pub mod engine;
pub mod guest;
mod hex;
pub mod kinds;
pub mod model;
pub mod object;
pub mod observe;
pub mod plan;
pub mod resolve;
pub mod spec;
pub mod ssh;
pub mod stamp;
pub mod state;
mod suggest;
pub mod tree;
pub mod ui;
