//! An account: a project's containers and their sums.

use serde_json::json;

use super::{Answer, JSON, PLAIN, is_json, metadata, timestamp};
use crate::embedded::objects::docs::Bucket;
use crate::embedded::objects::refusal::Refusal;
use crate::embedded::objects::{Ask, Output};
use crate::embedded::tables::{Fields, Table};
use crate::model::Json;

/// The longest page.
const PAGE: usize = 10_000;

/// `GET` and `HEAD` of an account.
pub fn show(ask: &mut Ask<'_>) -> Answer {
    let call = ask.call;
    let all = Bucket::of_project(ask.state, &ask.who.project);
    let usages: Vec<(i64, i64)> = all.iter().map(|bucket| bucket.usage(ask.state)).collect();
    let (objects, bytes) = usages.iter().fold((0, 0), |(count, sum), (objects, bytes)| (count + objects, sum + bytes));
    let mut output = Output::new(204).header("x-timestamp", timestamp(ask.now)).header("accept-ranges", "bytes");
    for kind in ["x-account", "x-account-storage-policy-default-placement"] {
        output = output
            .header(&format!("{kind}-container-count"), all.len().to_string())
            .header(&format!("{kind}-object-count"), objects.to_string())
            .header(&format!("{kind}-bytes-used"), bytes.to_string());
    }
    if let Some(meta) = ask.state.get(Table::Accounts, &ask.who.project).and_then(Json::as_object) {
        for (name, value) in meta {
            output = output.header(&format!("x-account-meta-{name}"), value.as_str().unwrap_or_default());
        }
    }
    if call.method == http::Method::HEAD {
        return Ok(output.header("content-type", PLAIN));
    }
    let text = |name: &str| call.param(name).unwrap_or_default();
    let (prefix, marker, end) = (text("prefix"), text("marker"), text("end_marker"));
    let limit = match text("limit") {
        "" => PAGE,
        limit => limit.parse::<usize>().map_err(|_| Refusal::new("InvalidArgument"))?.min(PAGE),
    };
    let shown: Vec<_> = all
        .iter()
        .zip(&usages)
        .filter(|(bucket, _)| {
            let name = bucket.name.as_str();
            name.starts_with(prefix) && name > marker && (end.is_empty() || name < end)
        })
        .take(limit)
        .collect();
    if is_json(call) {
        let list =
            shown.iter().map(|(bucket, (count, bytes))| json!({"name": bucket.name, "count": count, "bytes": bytes}));
        output.status = 200;
        return Ok(output.text(JSON, Json::Array(list.collect()).to_string()));
    }
    let names: Vec<&str> = shown.iter().map(|(bucket, _)| bucket.name.as_str()).collect();
    Ok(if names.is_empty() {
        output.header("content-type", PLAIN)
    } else {
        output.status = 200;
        // Ceph's gateway ends no line after the last name.
        output.text(PLAIN, names.join("\n"))
    })
}

/// `POST` of an account: its metadata.
pub fn edit(ask: &mut Ask<'_>) -> Answer {
    let project = ask.who.project.clone();
    let mut doc = ask.state.get(Table::Accounts, &project).cloned().unwrap_or_else(|| json!({}));
    for (name, value) in metadata(ask.call, "x-account-meta-") {
        if value.is_empty() { doc.unset(&name) } else { doc.set(&name, value) }
    }
    for (name, _) in metadata(ask.call, "x-remove-account-meta-") {
        doc.unset(&name);
    }
    ask.state.put(Table::Accounts, &project, doc);
    Ok(Output::new(204).header("content-type", PLAIN))
}
