//! From the catalog's entries to the URL that a service's requests start with.
//!
//! In: the catalog of a token, a region, an interface, the overrides of `clouds.yaml`. Out: one versioned endpoint for
//! each service, without a trailing slash. Pure.
//!
//! Invariant: no request is spent on discovery. Every API here has had one version for many years, and where the
//! catalog's URL does not say it, it is appended.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::config::Interface;
use super::token::CatalogService;
use super::{CloudError, Service};
use crate::suggest;

/// Where each service of the region is reached.
#[derive(Debug, Clone, Default)]
pub(super) struct Endpoints {
    urls: BTreeMap<Service, Url>,
    /// Where the region speaks S3, if the catalog says.
    s3: Option<Url>,
    /// The service types that the catalog has in this region, to say what there is instead.
    types: BTreeSet<String>,
}

/// What narrows a catalog down to endpoints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice<'a> {
    pub(super) region: &'a str,
    pub(super) interface: Interface,
    pub(super) overrides: &'a BTreeMap<Service, String>,
    pub(super) project_id: &'a str,
}

/// The catalog's service types, the preferred one first.
///
/// Source: the service-types authority; Cinder's v3 API was `volumev3` before it was `block-storage`.
fn types(service: Service) -> &'static [&'static str] {
    match service {
        Service::Identity => &["identity"],
        Service::Compute => &["compute"],
        Service::Network => &["network"],
        Service::BlockStorage => &["block-storage", "volumev3", "block-store", "volume"],
        Service::Image => &["image"],
        Service::Reservation => &["reservation"],
        Service::ObjectStore => &["object-store"],
    }
}

/// The service that a catalog's type or an option's prefix (`block_storage_endpoint_override`) names.
pub(super) fn service_of(service_type: &str) -> Option<Service> {
    let dashed = service_type.replace('_', "-");
    Service::ALL.into_iter().find(|service| types(*service).contains(&dashed.as_str()))
}

/// The region to use: the wanted one if the catalog has it, or the only one there is.
pub(super) fn region(catalog: &[CatalogService], wanted: Option<&str>) -> Result<String, CloudError> {
    let regions: BTreeSet<&str> =
        catalog.iter().flat_map(|service| &service.endpoints).filter_map(|endpoint| endpoint.region()).collect();
    let list = || regions.iter().copied().collect::<Vec<_>>().join(", ");
    match wanted {
        Some(wanted) if regions.contains(wanted) || regions.is_empty() => Ok(wanted.to_owned()),
        Some(wanted) => {
            let error =
                CloudError::config(format!("the catalog has no region {wanted}; the project's regions are {}", list()));
            Err(match suggest::closest(wanted, regions.iter().copied()) {
                Some(near) => error.hint(format!("did you mean region_name: {near}?")),
                None => error,
            })
        }
        None if regions.len() > 1 => Err(CloudError::config(format!("the catalog has several regions: {}", list()))
            .hint("say which one by region_name in clouds.yaml, or by OS_REGION_NAME")),
        None => Ok(regions.iter().next().copied().unwrap_or_default().to_owned()),
    }
}

impl Endpoints {
    /// Picks each service's endpoint.
    pub(super) fn choose(catalog: &[CatalogService], choice: Choice<'_>) -> Result<Self, CloudError> {
        let mut endpoints = Self::default();
        for service in catalog {
            if service.endpoints.iter().any(|endpoint| endpoint.region() == Some(choice.region)) {
                endpoints.types.insert(service.service_type.clone());
            }
        }
        for service in Service::ALL {
            let text = match choice.overrides.get(&service) {
                Some(text) => {
                    text.replace("%(project_id)s", choice.project_id).replace("$(project_id)s", choice.project_id)
                }
                None => match listed(catalog, service, choice) {
                    Some(url) => url.to_owned(),
                    None => continue,
                },
            };
            let url = Url::parse(&text).map_err(|error| {
                CloudError::config(format!("{service}'s endpoint `{text}` is not a URL: {error}"))
                    .hint("correct it by an endpoint override in clouds.yaml")
            })?;
            endpoints.urls.insert(service, versioned(service, url));
        }
        endpoints.s3 = listed_as(catalog, "s3", choice).and_then(|url| Url::parse(url).ok());
        Ok(endpoints)
    }

    /// Where the region speaks S3: as the catalog says, or else where its object store is, for Swift's S3 and Ceph's are
    /// both at the root of the same port.
    pub(super) fn s3(&self) -> Option<String> {
        if let Some(url) = &self.s3 {
            return Some(url.as_str().trim_end_matches('/').to_owned());
        }
        let store = self.get(Service::ObjectStore)?;
        Some(store.origin().ascii_serialization()).filter(|_| store.has_host())
    }

    /// Where the service is reached, if it is.
    pub(super) fn get(&self, service: Service) -> Option<&Url> {
        self.urls.get(&service)
    }

    /// The service types of the region.
    pub(super) fn types(&self) -> String {
        self.types.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

fn listed<'a>(catalog: &'a [CatalogService], service: Service, choice: Choice<'_>) -> Option<&'a str> {
    types(service).iter().find_map(|service_type| listed_as(catalog, service_type, choice))
}

fn listed_as<'a>(catalog: &'a [CatalogService], service_type: &str, choice: Choice<'_>) -> Option<&'a str> {
    catalog
        .iter()
        .filter(|entry| entry.service_type == service_type)
        .flat_map(|entry| &entry.endpoints)
        .find(|endpoint| choice.interface.is(&endpoint.interface) && endpoint.region() == Some(choice.region))
        .map(|endpoint| endpoint.url.as_str())
}

/// The endpoint with its API version, without a trailing slash.
///
/// A path that says a version already (`/v2.1`, `/v3/<project id>`) is taken as it is, but for versions long gone
/// (Keystone's `/v2.0`, Glance's `/v1`), which old catalogs still list.
pub(super) fn versioned(service: Service, mut url: Url) -> Url {
    let wanted = match service {
        Service::Identity | Service::BlockStorage => "v3",
        Service::Compute => "v2.1",
        Service::Network => "v2.0",
        Service::Image => "v2",
        Service::Reservation => "v1",
        Service::ObjectStore => "",
    };
    let path = url.path().trim_end_matches('/').to_owned();
    let is_version = |segment: &str| {
        segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    let has_version = path.split('/').any(is_version);
    let path = match (service, path.rsplit_once('/')) {
        (Service::ObjectStore, _) => path,
        (Service::Identity | Service::Image, Some((before, last))) if is_version(last) => format!("{before}/{wanted}"),
        _ if has_version => path,
        _ => format!("{path}/{wanted}"),
    };
    url.set_path(&path);
    url.set_query(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Json;

    fn url(service: Service, text: &str) -> String {
        versioned(service, Url::parse(text).unwrap()).to_string()
    }

    #[test]
    fn an_endpoint_gets_the_version_it_lacks() {
        assert_eq!(url(Service::Network, "https://h:9696/"), "https://h:9696/v2.0");
        assert_eq!(url(Service::Network, "https://h:9696/v2.0/"), "https://h:9696/v2.0");
        assert_eq!(url(Service::Image, "https://h/image"), "https://h/image/v2");
        assert_eq!(url(Service::Image, "https://h/v1/"), "https://h/v2");
        assert_eq!(url(Service::Compute, "https://h:8774/v2.1"), "https://h:8774/v2.1");
        assert_eq!(url(Service::Compute, "https://h/compute/v2/abc"), "https://h/compute/v2/abc");
        assert_eq!(url(Service::BlockStorage, "https://h:8776/v3/abc/"), "https://h:8776/v3/abc");
        assert_eq!(url(Service::BlockStorage, "https://h/volume"), "https://h/volume/v3");
        assert_eq!(url(Service::Reservation, "https://h/reservation"), "https://h/reservation/v1");
        assert_eq!(url(Service::Identity, "https://h:5000/v2.0"), "https://h:5000/v3");
        assert_eq!(url(Service::ObjectStore, "https://h:7480/swift/v1/AUTH_a"), "https://h:7480/swift/v1/AUTH_a");
    }

    fn catalog() -> Vec<CatalogService> {
        serde_json::from_value(serde_json::json!([
            {"type": "volumev3", "endpoints": [{"interface": "public", "region_id": "A", "url": "http://a/v3/p"}]},
            {"type": "compute", "endpoints": [
                {"interface": "internal", "region_id": "A", "url": "http://inside/v2.1"},
                {"interface": "public", "region_id": "A", "url": "http://a/v2.1"},
                {"interface": "public", "region_id": "B", "url": "http://b/v2.1"}]},
        ]))
        .unwrap()
    }

    #[test]
    fn region_interface_and_overrides_choose_the_endpoint() {
        let overrides = BTreeMap::from([(Service::Image, "http://mine/%(project_id)s/v2".to_owned())]);
        let choice = Choice { region: "A", interface: Interface::Public, overrides: &overrides, project_id: "p" };
        let endpoints = Endpoints::choose(&catalog(), choice).unwrap();
        assert_eq!(endpoints.get(Service::Compute).unwrap().as_str(), "http://a/v2.1");
        assert_eq!(endpoints.get(Service::BlockStorage).unwrap().as_str(), "http://a/v3/p");
        assert_eq!(endpoints.get(Service::Image).unwrap().as_str(), "http://mine/p/v2");
        assert!(endpoints.get(Service::Network).is_none());
        assert_eq!(endpoints.types(), "compute, volumev3");
    }

    #[test]
    fn s3_is_where_the_catalog_says_or_where_the_objects_are() {
        let endpoint = |service_type: &str, url: &str| serde_json::json!({"type": service_type, "endpoints": [{"interface": "public", "region_id": "A", "url": url}]});
        let s3 = |entries: &[Json]| {
            let catalog: Vec<CatalogService> = serde_json::from_value(Json::Array(entries.to_vec())).unwrap();
            let overrides = BTreeMap::new();
            let choice = Choice { region: "A", interface: Interface::Public, overrides: &overrides, project_id: "p" };
            Endpoints::choose(&catalog, choice).unwrap().s3()
        };
        let swift = endpoint("object-store", "https://h:7480/swift/v1/AUTH_p");
        assert_eq!(s3(std::slice::from_ref(&swift)).as_deref(), Some("https://h:7480"));
        assert_eq!(s3(&[swift, endpoint("s3", "https://s3.h/")]).as_deref(), Some("https://s3.h"));
        assert_eq!(s3(&[endpoint("compute", "https://h/v2.1")]), None);
    }

    #[test]
    fn a_region_is_said_where_there_are_several() {
        assert!(region(&catalog(), None).unwrap_err().message.contains("several regions: A, B"));
        assert_eq!(region(&catalog()[..1], None).unwrap(), "A");
        let error = region(&catalog(), Some("a")).unwrap_err();
        assert!(error.message.contains("A, B"), "{error}");
        assert_eq!(error.hint.as_deref(), Some("did you mean region_name: A?"));
    }
}
