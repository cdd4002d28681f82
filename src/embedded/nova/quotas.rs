//! Nova's quotas and limits.

use http::Method;
use serde_json::json;

use super::not_allowed;
use crate::embedded::quota::{self, Quotas};
use crate::embedded::tables::Fields;
use crate::embedded::wire::{Answer, Cx, Fault, Reply};
use crate::model::Json;

/// Fields that newer microversions leave out.
const NETWORK_FIELDS: [&str; 4] = ["fixed_ips", "floating_ips", "security_group_rules", "security_groups"];

/// `GET /limits`.
#[must_use]
pub fn limits(cx: &Cx<'_>) -> Reply {
    let project = &cx.who.project_id;
    let limit = |name| quota::limit(cx.state, project, Quotas::Compute, name);
    let used = |name| quota::used(cx.state, project, Quotas::Compute, name);
    let mut absolute = json!({
        "maxTotalInstances": limit("instances"), "maxTotalCores": limit("cores"), "maxTotalRAMSize": limit("ram"),
        "maxServerMeta": limit("metadata_items"), "maxTotalKeypairs": limit("key_pairs"),
        "maxServerGroups": limit("server_groups"), "maxServerGroupMembers": limit("server_group_members"),
        "totalRAMUsed": used("ram"), "totalCoresUsed": used("cores"), "totalInstancesUsed": used("instances"),
        "totalServerGroupsUsed": 0,
    });
    if !cx.at_least(36) {
        for key in ["maxTotalFloatingIps", "maxSecurityGroups", "maxSecurityGroupRules"] {
            absolute.set(key, -1);
        }
        absolute.set("totalFloatingIpsUsed", 0);
        absolute.set("totalSecurityGroupsUsed", 0);
    }
    if !cx.at_least(39) {
        absolute.set("maxImageMeta", 128);
    }
    if !cx.at_least(57) {
        absolute.set("maxPersonality", 5);
        absolute.set("maxPersonalitySize", 10240);
    }
    Reply::ok(json!({"limits": {"rate": [], "absolute": absolute}}))
}

/// Answers `/os-quota-sets…`.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Answer {
    let method = cx.call.method.clone();
    match (&method, path) {
        (&Method::GET, [project]) => Ok(shown(cx, project, quota::limits(cx.state, project, Quotas::Compute))),
        (&Method::GET, [project, "detail"]) => {
            Ok(shown(cx, project, quota::usage(cx.state, project, Quotas::Compute, "in_use")))
        }
        (&Method::GET, [project, "defaults"]) => Ok(shown(cx, project, quota::limits(cx.state, "", Quotas::Compute))),
        (&Method::PUT, [_]) if !cx.who.operator => Err(not_allowed("os-quota-sets:update")),
        (&Method::PUT, [project]) => {
            let wanted = cx.call.json().and_then(|body| body.get("quota_set").cloned()).unwrap_or_default();
            quota::change(cx.state, project, Quotas::Compute, &wanted);
            let mut set = quota::limits(cx.state, project, Quotas::Compute);
            trim(cx, &mut set);
            Ok(Reply::ok(json!({"quota_set": set})))
        }
        _ => Err(Fault::no_route()),
    }
}

fn trim(cx: &Cx<'_>, set: &mut Json) {
    if cx.at_least(36) {
        NETWORK_FIELDS.iter().for_each(|field| set.unset(field));
    }
    if cx.at_least(57) {
        ["injected_file_content_bytes", "injected_file_path_bytes", "injected_files"]
            .iter()
            .for_each(|field| set.unset(field));
    }
}

fn shown(cx: &Cx<'_>, project: &str, mut set: Json) -> Reply {
    trim(cx, &mut set);
    set.set("id", project);
    Reply::ok(json!({"quota_set": set}))
}
