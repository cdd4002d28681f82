//! Swift: which operation a request is, who asks, and how refusals are written.
//!
//! In: requests below `/swift/v1/AUTH_<project>` with a token. Out: answers as Ceph's gateway gives them.

pub mod account;
pub mod bulk;
pub mod containers;
pub mod manifests;
pub mod objects;

use http::Method;
use serde_json::json;

use super::grants::{self, Caller, Permission};
use super::refusal::Refusal;
use super::{Ask, Output, Wants, split};
use crate::embedded::keystone::tokens;
use crate::embedded::wire::Call;

/// What an operation's handler answers.
pub type Answer = Result<Output, Refusal>;

/// The first segment of every path.
pub const ROOT: &str = "swift";

/// The type of plain answers.
pub const PLAIN: &str = "text/plain; charset=utf-8";

/// The type of answers in JSON.
pub const JSON: &str = "application/json; charset=utf-8";

/// The longest name of a container.
const LONGEST_CONTAINER: usize = 255;

/// The longest name of an object.
const LONGEST_OBJECT: usize = 1024;

/// A request's account, container and object; what is not named is empty.
struct Asked {
    account: String,
    container: String,
    object: String,
}

impl Asked {
    fn of(call: &Call) -> Option<Self> {
        let path = call.target.split('?').next().unwrap_or_default();
        let rest = path.strip_prefix("/swift/v1/")?;
        let (account, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (container, object) = split(rest);
        Some(Self { account: account.strip_prefix("AUTH_")?.to_owned(), container, object })
    }
}

/// Who asks, and what the body is to be taken in as.
///
/// # Errors
/// When the token is not good, or whoever asks may not put what is about to arrive.
pub fn admit(ask: &Ask<'_>) -> Result<(Caller, Wants), Refusal> {
    let call = ask.call;
    let token = tokens::valid(ask.state, call);
    let caller = match token {
        Some(token) => {
            let who = tokens::who(&token);
            Caller { project: who.project_id, user: who.user_id }
        }
        None if call.header("x-auth-token").is_some() => return Err(Refusal::new("AccessDenied").with_status(401)),
        None => Caller::default(),
    };
    let Some(asked) = Asked::of(call) else { return Ok((caller, Wants::Nothing)) };
    let is_bulk = call.param("bulk-delete").is_some();
    let is_copy = call.header("x-copy-from").is_some();
    let wants = match call.method {
        Method::PUT if !asked.object.is_empty() && is_manifest(call) => Wants::Text,
        Method::PUT if !asked.object.is_empty() && !is_copy => Wants::Contents,
        Method::POST | Method::DELETE if is_bulk => Wants::Text,
        _ => Wants::Nothing,
    };
    if wants == Wants::Contents {
        let bucket = ask.bucket(&asked.container)?;
        grants::allow(&bucket, &caller, Permission::Write)?;
        check_object(&asked.object)?;
    }
    Ok((caller, wants))
}

fn is_manifest(call: &Call) -> bool {
    call.param("multipart-manifest") == Some("put")
}

fn check_object(name: &str) -> Result<(), Refusal> {
    if name.len() > LONGEST_OBJECT { Err(Refusal::new("InvalidObjectName")) } else { Ok(()) }
}

fn check_container(name: &str) -> Result<(), Refusal> {
    if name.len() > LONGEST_CONTAINER {
        let why = format!("Container name length of {} longer than {LONGEST_CONTAINER}", name.len());
        return Err(Refusal::new("InvalidBucketName").saying(why));
    }
    if name.len() < 3 { Err(Refusal::new("InvalidBucketName")) } else { Ok(()) }
}

/// Carries an operation out.
///
/// # Errors
/// When it is refused.
pub fn carry_out(ask: &mut Ask<'_>) -> Answer {
    match ask.call.target.split('?').next().unwrap_or_default() {
        "/swift/info" => return Ok(info()),
        "/swift/healthcheck" => return Ok(Output::new(200).header("content-type", "application/xml")),
        _ => {}
    }
    let not_allowed = || Refusal::new("MethodNotAllowed");
    let asked = Asked::of(ask.call).ok_or_else(not_allowed)?;
    let method = ask.call.method.as_str();
    if asked.container.is_empty() {
        let own = ask.who.is_known() && asked.account == ask.who.project;
        return match method {
            _ if !own => Err(Refusal::new("AccessDenied")),
            "POST" | "DELETE" if ask.call.param("bulk-delete").is_some() => bulk::delete(ask),
            "GET" | "HEAD" => account::show(ask),
            "POST" => account::edit(ask),
            _ => Err(not_allowed()),
        };
    }
    let container = asked.container.as_str();
    if asked.object.is_empty() {
        check_container(container)?;
        return match method {
            "PUT" => containers::create(ask, &asked.account, container),
            "GET" => containers::list(ask, container),
            "HEAD" => containers::head(ask, container),
            "POST" => containers::edit(ask, container),
            "DELETE" => containers::delete(ask, container),
            "OPTIONS" => Err(Refusal::new("InvalidArgument")),
            _ => Err(not_allowed()),
        };
    }
    let object = asked.object.as_str();
    match method {
        "PUT" if is_manifest(ask.call) => manifests::put(ask, container, object),
        "PUT" if ask.call.header("x-copy-from").is_some() => objects::copy_from(ask, container, object),
        "PUT" => objects::put(ask, container, object),
        "COPY" => objects::copy_to(ask, container, object),
        "GET" | "HEAD" => objects::get(ask, container, object),
        "POST" => objects::edit(ask, container, object),
        "DELETE" if ask.call.param("multipart-manifest") == Some("delete") => manifests::delete(ask, container, object),
        "DELETE" => objects::delete(ask, container, object),
        "OPTIONS" => Err(Refusal::new("InvalidArgument")),
        _ => Err(not_allowed()),
    }
}

fn info() -> Output {
    let info = json!({
        "bulk_delete": {}, "slo": {"max_manifest_segments": manifests::MOST_SEGMENTS},
        "swift": {"max_file_size": super::intake::LONGEST_OBJECT, "container_listing_limit": containers::PAGE,
                  "version": "16.2.15", "policies": [{"default": true, "name": "default-placement"}],
                  "max_object_name_size": LONGEST_OBJECT, "max_container_name_length": LONGEST_CONTAINER},
    });
    Output::new(200).text(JSON, info.to_string())
}

/// Whether the answer is to be JSON.
#[must_use]
pub fn is_json(call: &Call) -> bool {
    match call.param("format") {
        Some(format) => format == "json",
        None => call.header("accept").is_some_and(|accept| accept.contains("application/json")),
    }
}

/// A refusal as Swift writes it.
#[must_use]
pub fn refuse(call: &Call, refusal: &Refusal) -> Output {
    if refusal.status == 304 {
        return Output::new(304);
    }
    let output = Output::new(refusal.status).header("accept-ranges", "bytes");
    if is_json(call) {
        let body = json!({"Code": refusal.code, "Message": refusal.message, "HostId": "embedded"});
        return output.text(JSON, body.to_string());
    }
    output.text(PLAIN, if refusal.message.is_empty() { refusal.code } else { refusal.message.as_str() })
}

/// An answer that says only that it was done.
fn done(status: u16) -> Output {
    Output::new(status).header("accept-ranges", "bytes").header("content-type", PLAIN)
}

/// `1795728453.92425`: when something was put.
fn timestamp(millis: i64) -> String {
    format!("{}.{:03}00", millis.div_euclid(1000), millis.rem_euclid(1000))
}

/// The metadata that headers with that beginning give: lower-case name and value. What is empty is to be removed.
fn metadata<'a>(call: &'a Call, beginning: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    call.headers.iter().filter_map(move |(name, value)| {
        let name = name.as_str().strip_prefix(beginning)?;
        Some((name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    })
}
