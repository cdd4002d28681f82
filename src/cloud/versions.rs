//! Version documents: which versions of its API a service says it has.
//!
//! In: the body of a GET of a service's root or of a versioned endpoint. Out: Keystone's versioned URL, or a range of
//! microversions. Pure.
//!
//! Invariant: the user's scheme, host and port are kept; a document's links often hold a name that only the cloud's
//! inside knows.

use std::str::FromStr;

use url::Url;

use super::CloudError;
use crate::model::Json;

/// A microversion, `2.79`: ordered by its numbers, not as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Microversion(u32, u32);

impl FromStr for Microversion {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        Ok(Self(major.parse().map_err(|_| ())?, minor.parse().map_err(|_| ())?))
    }
}

/// The entries of a document: `versions` (a list, or Keystone's `{values: […]}`) or a single `version`.
fn entries(body: &Json) -> Vec<&Json> {
    let list = body.get("versions").map(|versions| versions.get("values").unwrap_or(versions));
    match (list.and_then(Json::as_array), body.get("version")) {
        (Some(list), _) => list.iter().collect(),
        (None, Some(single)) => vec![single],
        (None, None) => Vec::new(),
    }
}

/// The range of microversions of the API whose major version is that number.
pub(super) fn range(body: &Json, major: &str) -> Option<(Microversion, Microversion)> {
    entries(body).into_iter().find_map(|entry| {
        let text = |key: &str| entry.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
        let id = text("id")?.trim_start_matches('v');
        if id.split('.').next() != Some(major) {
            return None;
        }
        let highest = text("max_version").or_else(|| text("version"))?.parse().ok()?;
        let lowest = text("min_version").and_then(|text| text.parse().ok()).unwrap_or(highest);
        Some((lowest, highest))
    })
}

/// Whether a path ends in a version, and which.
pub(super) fn trailing(url: &Url) -> Option<&str> {
    url.path().trim_end_matches('/').rsplit('/').next().filter(|last| {
        last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// The URL with another path, without query, fragment, user and password.
pub(super) fn with_path(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    url.set_path(path);
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Keystone's `/v3` URL, from the document at its root.
pub(super) fn keystone_v3(root: &Url, body: &Json) -> Result<Url, CloudError> {
    let base = root.path().trim_end_matches('/');
    let found = entries(body);
    let id = |entry: &Json| entry.get("id").and_then(Json::as_str).unwrap_or_default().to_owned();
    let Some(v3) = found.iter().find(|entry| id(entry).starts_with("v3")) else {
        let ids: Vec<String> = found.into_iter().map(id).collect();
        return Err(CloudError::config(format!("Keystone at {root} has no v3 API; it has {}", ids.join(", "))));
    };
    let link = v3
        .get("links")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .find(|link| link.get("rel").and_then(Json::as_str) == Some("self"))
        .and_then(|link| Url::parse(link.get("href")?.as_str()?).ok());
    // A proxy may serve Keystone below a path that the service does not know of.
    let path = match link.as_ref().map(|link| link.path().trim_end_matches('/')) {
        Some(path) if path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/')) => path.to_owned(),
        _ => format!("{base}/v3"),
    };
    Ok(with_path(root, &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keystone(root: &str, link: &str) -> String {
        let body = serde_json::json!({"versions": {"values": [
            {"id": "v3.14", "links": [{"rel": "self", "href": link}]}]}});
        keystone_v3(&Url::parse(root).unwrap(), &body).unwrap().to_string()
    }

    #[test]
    fn the_host_of_a_discovered_link_is_not_taken() {
        assert_eq!(keystone("https://kvm:5000", "https://kvm:5000/v3/"), "https://kvm:5000/v3");
        assert_eq!(keystone("https://kvm:5000/", "http://10.0.0.1:35357/v3/"), "https://kvm:5000/v3");
        assert_eq!(keystone("https://kvm/identity", "http://inside/v3/"), "https://kvm/identity/v3");
        assert_eq!(keystone("https://kvm/identity/", "http://inside/identity/v3/"), "https://kvm/identity/v3");
    }

    #[test]
    fn a_cloud_without_v3_says_what_it_has() {
        let body = serde_json::json!({"versions": [{"id": "v2.0"}]});
        let error = keystone_v3(&Url::parse("https://old:5000").unwrap(), &body).unwrap_err();
        assert!(error.message.ends_with("has no v3 API; it has v2.0"), "{error}");
    }

    #[test]
    fn microversions_are_ordered_by_number() {
        let nova = serde_json::json!({"version": {"id": "v2.1", "version": "2.100", "min_version": "2.1"}});
        let (lowest, highest) = range(&nova, "2").unwrap();
        assert!(lowest <= "2.79".parse().unwrap() && "2.79".parse::<Microversion>().unwrap() <= highest);
        let cinder = serde_json::json!({"versions": [{"id": "v3.0", "version": "3.71", "min_version": "3.0"}]});
        assert_eq!(range(&cinder, "3"), Some((Microversion(3, 0), Microversion(3, 71))));
        let glance = serde_json::json!({"versions": [{"id": "v2.15", "links": []}]});
        assert_eq!(range(&glance, "2"), None);
    }
}
