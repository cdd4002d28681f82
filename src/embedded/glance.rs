//! Glance: the images, to look up.

use http::Method;
use serde_json::json;

use super::catalogue;
use super::keystone::{tokens, unauthorized};
use super::tables::Fields;
use super::wire::{Answer, Cx, Fault, PageError, Reply, link, new_id, page};
use crate::model::Json;

const PAGE: usize = 1000;

/// What `GET /v2/images` filters by besides the properties of the images.
const PLAIN: [&str; 8] = ["limit", "marker", "sort", "sort_key", "sort_dir", "member_status", "size_min", "size_max"];

/// Answers a request to Glance.
pub fn handle(cx: &mut Cx<'_>, path: &[&str]) -> Reply {
    if !matches!(path, ["v2", ..]) {
        return Reply::json(300, versions(cx));
    }
    let Some(token) = tokens::of_request(cx) else { return unauthorized_as_glance(cx) };
    cx.who = tokens::who(&token);
    let answer = match (&cx.call.method, &path[1..]) {
        _ if cx.who.project_id.is_empty() => {
            Err(Fault::forbidden("You are not authorized to complete get_images action."))
        }
        (&Method::GET, ["images"]) => list(cx),
        (&Method::GET, ["images", id]) => show(cx, id),
        (&Method::GET, ["images", id, "members"]) => {
            let text = format!("Not allowed to list members for image {id}: Only shared images have members.");
            Err(Fault::forbidden(text))
        }
        (&Method::GET, ["tasks"]) => {
            Err(Fault::forbidden("You are not authorized to complete tasks_api_access action."))
        }
        (&Method::GET, ["schemas", name]) => Ok(Reply::ok(json!({"name": name, "properties": {}}))),
        (&Method::DELETE, ["images", id]) => {
            show(cx, id).and_then(|_| Err(Fault::forbidden("You are not authorized to complete delete_image action.")))
        }
        (_, ["images", ..]) => Err(Fault::new(405, "")),
        _ => Err(Fault::missing("The resource could not be found.")),
    };
    let reply = answer.unwrap_or_else(|fault| refuse(cx, &fault));
    reply.header("x-openstack-request-id", format!("req-{}", new_id()))
}

fn versions(cx: &Cx<'_>) -> Json {
    let href = format!("{}/image/v2/", cx.call.base);
    // The newest stands where it was put in, not first.
    let minors = [15, 13, 12, 11, 10, 9, 8, 17].into_iter().chain((0..8).rev());
    let versions = minors.map(|minor| {
        let status = if minor == 17 { "CURRENT" } else { "SUPPORTED" };
        json!({"id": format!("v2.{minor}"), "status": status, "links": [link("self", href.as_str())]})
    });
    json!({"versions": versions.collect::<Vec<_>>()})
}

fn unauthorized_as_glance(cx: &Cx<'_>) -> Reply {
    let text = "This server could not verify that you are authorized to access the document you requested. Either you \
                supplied the wrong credentials (e.g., bad password), or your browser does not understand how to supply \
                the credentials required.<br /><br />\n\n\n";
    let mut reply = Reply::json(401, json!({"message": text, "code": "401 Unauthorized", "title": "Unauthorized"}));
    reply.headers = unauthorized(cx).headers;
    reply
}

fn refuse(cx: &Cx<'_>, fault: &Fault) -> Reply {
    let (title, message) = match fault.status {
        400 => ("Bad Request", fault.message.clone()),
        403 => ("Forbidden", fault.message.clone()),
        405 => {
            let method = &cx.call.method;
            ("Method Not Allowed", format!("The method {method} is not allowed for this resource. "))
        }
        _ => ("Not Found", fault.message.clone()),
    };
    let code = format!("{} {title}", fault.status);
    Reply::json(fault.status, json!({"message": format!("{message}<br /><br />\n\n\n"), "code": code, "title": title}))
}

fn list(cx: &Cx<'_>) -> Answer {
    let mut images = catalogue::images(cx.profile);
    let wanted = cx.call.query.iter().filter(|(key, _)| !PLAIN.contains(&key.as_str()));
    for (key, value) in wanted {
        let values: Vec<&str> = match value.strip_prefix("in:") {
            Some(several) => several.split(',').map(|one| one.trim_matches('"')).collect(),
            None => vec![value],
        };
        images.retain(|image| match (key.as_str(), image.get(key)) {
            ("visibility", _) if value == "all" => true,
            (_, Some(Json::String(text))) => values.contains(&text.as_str()),
            (_, Some(Json::Bool(truth))) => value.eq_ignore_ascii_case(if *truth { "true" } else { "false" }),
            (_, Some(Json::Number(number))) => value.parse().is_ok_and(|wanted: i64| number.as_i64() == Some(wanted)),
            (_, Some(_)) => false,
            (_, None) => false,
        });
    }
    if cx.call.param("sort_key") == Some("name") || cx.call.param("sort").is_some_and(|sort| sort.starts_with("name")) {
        images.sort_by(|one, two| one.text("name").cmp(two.text("name")));
    }
    let page = page(cx.call, images.iter().collect(), "id", PAGE).map_err(|error| match error {
        PageError::Limit => Fault::bad("limit param must be an integer"),
        PageError::Marker(marker) => Fault::bad(format!("No image found with ID {marker}")),
    })?;
    let local = |href: &str| href.split_once("/image").map_or_else(|| href.to_owned(), |(_, path)| path.to_owned());
    let mut body = json!({"images": page.items, "first": local(&first(cx)), "schema": "/v2/schemas/images"});
    if let (true, Some(last)) = (page.more, page.items.last()) {
        body.set("next", local(&cx.call.next_page(last.text("id"))));
    }
    Ok(Reply::ok(body))
}

/// The list's first page: its address, with the query written anew.
fn first(cx: &Cx<'_>) -> String {
    let path = cx.call.target.split('?').next().unwrap_or_default();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(cx.call.query.iter().filter(|(key, _)| key != "marker"));
    match query.finish().as_str() {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

fn show(cx: &Cx<'_>, id: &str) -> Answer {
    let image = catalogue::images(cx.profile).into_iter().find(|image| image.text("id") == id);
    Ok(Reply::ok(image.ok_or_else(|| Fault::missing(format!("No image found with ID {id}")))?))
}
