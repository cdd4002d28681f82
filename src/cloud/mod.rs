//! OpenStack over HTTP: sign-in, catalog, retries ([`Session`]) and one thin client per service.
//!
//! In: an entry of `clouds.yaml` (or `OS_*`). Out: typed answers, or a [`CloudError`] that says what was asked, what
//! the service said in its own words, and its request id.
//!
//! Invariants:
//! - Secrets and tokens are in no log, error or `Debug`.
//! - A request that is not safe to repeat is not repeated once it may have been carried out: the error says so
//!   ([`CloudError::may_have_happened`]) and the applier looks for the object by its stamp.
//! - This module knows nothing of specs, plans or states.

mod auth;
pub mod blazar;
mod catalog;
pub mod cinder;
mod clouds_yaml;
pub mod config;
pub mod error;
pub mod glance;
pub mod keystone;
mod limits;
pub mod neutron;
pub mod nova;
mod oidc;
mod raw;
mod refusal;
pub mod request;
pub mod retry;
pub mod session;
mod settings;
pub mod shapes;
mod token;
pub mod transport;
mod versions;
mod wire;

pub use config::{CloudConfig, Environment};
pub use error::{CloudError, ErrorKind};
pub use raw::{RawBody, RawRequest, RawResponse};
pub use request::{Request, Response, Service};
pub use session::{Session, SessionOptions};
pub use transport::Transport;

#[cfg(test)]
mod tests;
