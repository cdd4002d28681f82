//! The service catalog: the same for every project, but for the address that Cinder's older type carries it in.

use serde_json::json;

use crate::embedded::catalogue::fixed_hex;
use crate::embedded::wire::Cx;
use crate::model::Json;

/// The catalog of a project's token.
#[must_use]
pub fn catalog(cx: &Cx<'_>, project: &str) -> Json {
    let mut services = vec![
        ("identity", "keystone", "identity/v3".to_owned()),
        ("compute", "nova", "compute/v2.1".to_owned()),
        ("network", "neutron", "network".to_owned()),
        ("image", "glance", "image".to_owned()),
        ("reservation", "blazar", "reservation/v1".to_owned()),
    ];
    if cx.profile.has_volumes() {
        services.push(("block-storage", "cinder", "volume/v3".to_owned()));
        services.push(("volumev3", "cinderv3", format!("volume/v3/{project}")));
    }
    if cx.profile.has_objects() {
        services.push(("object-store", "swift", format!("swift/v1/AUTH_{project}")));
        services.push(("s3", "s3", String::new()));
    }
    let region = cx.profile.region();
    let entries = services.iter().map(|(kind, name, path)| {
        let endpoints: Vec<Json> = ["public", "internal", "admin"]
            .iter()
            .map(|interface| {
                json!({"id": fixed_hex("endpoint", &format!("{kind} {interface}")), "interface": interface,
                       "region_id": region, "region": region, "url": format!("{}/{path}", cx.call.base).trim_end_matches('/')})
            })
            .collect();
        json!({"endpoints": endpoints, "id": fixed_hex("service", kind), "type": kind, "name": name})
    });
    Json::Array(entries.collect())
}
