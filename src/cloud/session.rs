//! A signed-in site.

use super::{CloudError, Request, Response, Service};
use crate::model::SiteIdentity;

/// A signed-in site: sends requests with a token, retries, and signs in again when the token expires. Cheap to clone.
#[derive(Clone)]
pub struct Session {}

impl Session {
    /// Which project and user this is.
    #[must_use]
    pub fn identity(&self) -> &SiteIdentity {
        unimplemented!()
    }

    /// Whether the catalog has the service in this region.
    #[must_use]
    pub fn has(&self, service: Service) -> bool {
        let _ = service;
        unimplemented!()
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, request: Request) -> Result<Response, CloudError> {
        let _ = request;
        unimplemented!()
    }

    /// Reads all pages of a list: `key` is the body's member with the items. Follows `<key>_links` (Nova, Cinder,
    /// Neutron) and `next` (Glance).
    pub async fn list(&self, request: Request, key: &str) -> Result<Vec<crate::model::Json>, CloudError> {
        let _ = (request, key);
        unimplemented!()
    }
}
