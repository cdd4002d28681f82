//! A request to a service, built without a client, and its answer.

use std::fmt;

use http::{HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;

use super::CloudError;
use crate::model::Json;

/// An OpenStack service, as the catalog's service types name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Keystone.
    Identity,
    /// Nova.
    Compute,
    /// Neutron.
    Network,
    /// Cinder.
    BlockStorage,
    /// Glance.
    Image,
    /// Blazar.
    Reservation,
    /// Swift.
    ObjectStore,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 7] = [
        Self::Identity,
        Self::Compute,
        Self::Network,
        Self::BlockStorage,
        Self::Image,
        Self::Reservation,
        Self::ObjectStore,
    ];

    /// The service's name in the `OpenStack-API-Version` header. Cinder's is `volume`: it refuses `block-storage`.
    pub(super) fn microversion_name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Compute => "compute",
            Self::Network => "network",
            Self::BlockStorage => "volume",
            Self::Image => "image",
            Self::Reservation => "reservation",
            Self::ObjectStore => "object-store",
        }
    }

    /// The service's project name, as people say it.
    #[must_use]
    pub fn project(self) -> &'static str {
        match self {
            Self::Identity => "Keystone",
            Self::Compute => "Nova",
            Self::Network => "Neutron",
            Self::BlockStorage => "Cinder",
            Self::Image => "Glance",
            Self::Reservation => "Blazar",
            Self::ObjectStore => "Swift",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.project())
    }
}

/// A request, relative to a service's versioned endpoint: `GET /servers/detail`.
#[derive(Clone)]
pub struct Request {
    /// The service.
    pub service: Service,
    /// The method.
    pub method: Method,
    /// The path below the versioned endpoint, with a leading slash; segments from outside are percent-encoded.
    pub path: String,
    /// The query.
    pub query: Vec<(String, String)>,
    /// The body.
    pub body: Option<Json>,
    /// The microversion, `2.79`; without one the service's oldest is asked for.
    pub microversion: Option<&'static str>,
    /// Whether sending it twice does what sending it once does.
    pub repeatable: bool,
}

impl Request {
    fn new(service: Service, method: Method, path: impl Into<String>, repeatable: bool) -> Self {
        Self { service, method, path: path.into(), query: Vec::new(), body: None, microversion: None, repeatable }
    }

    /// A read; safe to repeat.
    pub fn get(service: Service, path: impl Into<String>) -> Self {
        Self::new(service, Method::GET, path, true)
    }

    /// A create or an action; not safe to repeat unless [`Request::repeatable`] is said.
    pub fn post(service: Service, path: impl Into<String>, body: Json) -> Self {
        Self { body: Some(body), ..Self::new(service, Method::POST, path, false) }
    }

    /// A full update; safe to repeat.
    pub fn put(service: Service, path: impl Into<String>, body: Json) -> Self {
        Self { body: Some(body), ..Self::new(service, Method::PUT, path, true) }
    }

    /// A deletion; safe to repeat, for a second 404 means the same.
    pub fn delete(service: Service, path: impl Into<String>) -> Self {
        Self::new(service, Method::DELETE, path, true)
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((key.into(), value.into()));
        self
    }

    /// Asks for a microversion.
    #[must_use]
    pub fn microversion(mut self, version: &'static str) -> Self {
        self.microversion = Some(version);
        self
    }

    /// Says that sending it twice does what sending it once does.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }
}

/// Without the body, which may hold a secret.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("service", &self.service)
            .field("method", &self.method)
            .field("path", &self.path)
            .field("query", &self.query)
            .field("microversion", &self.microversion)
            .field("repeatable", &self.repeatable)
            .finish_non_exhaustive()
    }
}

/// A successful answer (2xx or 3xx).
#[derive(Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; `Null` where there is none.
    pub body: Json,
    /// What was asked, for errors about the answer: `GET /servers/detail`.
    pub(crate) asked: (Service, Method, String),
}

/// Without headers and body, which may hold a secret.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (service, method, path) = &self.asked;
        write!(f, "Response({service} {method} {path}: {})", self.status)
    }
}

impl Response {
    /// The member of the body under `key`, read as `T`.
    ///
    /// # Errors
    /// When the body is not of that shape: the error names the request, the key and what did not fit.
    pub fn member<T: DeserializeOwned>(&self, key: &str) -> Result<T, CloudError> {
        let value = self.body.get(key).cloned().unwrap_or(Json::Null);
        serde_json::from_value(value).map_err(|error| {
            let (service, method, path) = &self.asked;
            CloudError::unexpected(*service, method, path, format!("`{key}` in the answer is not as expected: {error}"))
                .with_headers(&self.headers)
        })
    }
}
