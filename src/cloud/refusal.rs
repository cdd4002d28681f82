//! From an answer that is a refusal to a [`CloudError`] in the service's own words.
//!
//! In: status, headers and body, each service with a shape of its own. Out: kind, message, the service's code for it,
//! and what to do where that is known. Pure.

use http::{Method, StatusCode};

use super::transport::{Breakage, Incoming, TransportError};
use super::{CloudError, ErrorKind, Service};
use crate::model::Json;

/// The longest message that is shown: a proxy's error page is no message.
const LONGEST: usize = 2_000;

/// What was asked, for the error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) service: Service,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
}

/// The error that an answer with a status of 400 or more is.
pub(super) fn refusal(asked: Asked<'_>, answer: &Incoming) -> CloudError {
    let (message, code) = words(answer);
    let kind = classify(asked.service, answer.status, &message, code.as_deref());
    let mut error =
        CloudError::new(kind, asked.service, asked.method, asked.path, message).with_headers(&answer.headers);
    error.status = Some(answer.status.as_u16());
    error.code = code;
    error.hint = hint(&error, answer.status);
    error
}

/// The error that a missing answer is.
pub(super) fn no_answer(asked: Asked<'_>, broken: &TransportError) -> CloudError {
    let error = CloudError::new(ErrorKind::Connection, asked.service, asked.method, asked.path, broken.message.clone());
    match broken.breakage {
        Breakage::Dns => error.hint("check the host in auth_url, and that this machine is online"),
        Breakage::Refused => error.hint("check the port in auth_url; the site may be down"),
        Breakage::Tls => error.hint(
            "if the site has a certificate authority of its own, name its bundle by `cacert:` in clouds.yaml or by \
             OS_CACERT",
        ),
        Breakage::Connect if broken.message.contains("tls handshake") => {
            error.hint("does auth_url say https where the service speaks http?")
        }
        Breakage::Connect | Breakage::Timeout | Breakage::Lost => error,
    }
}

/// The error that a redirect is: it is not followed, for the token would go along.
pub(super) fn redirect(asked: Asked<'_>, answer: &Incoming) -> Option<CloudError> {
    if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let to = answer.headers.get(http::header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
    let mut error = CloudError::unexpected(asked.service, asked.method, asked.path, format!("redirected to {to}"))
        .with_headers(&answer.headers)
        .hint("redirects are not followed, for the token would go along: correct auth_url, or override the endpoint");
    error.status = Some(answer.status.as_u16());
    Some(error)
}

fn classify(service: Service, status: StatusCode, message: &str, code: Option<&str>) -> ErrorKind {
    let lower = message.to_lowercase();
    let quota = ["quota exceeded", "exceeds allowed", "quota for", "exceeded for resources"]
        .iter()
        .any(|text| lower.contains(text))
        || matches!(code, Some("OverQuota" | "overLimit" | "QuotaExceeded"));
    match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        413 => ErrorKind::Quota,
        403 | 409 if quota => ErrorKind::Quota,
        403 => ErrorKind::Forbidden,
        404 | 410 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        500 if service == Service::Reservation && is_capacity(message) => ErrorKind::BadRequest,
        429 | 500.. => ErrorKind::Unavailable,
        _ => ErrorKind::BadRequest,
    }
}

/// Blazar's way to say that there is no room: measured as a 500 on 2025.1, a 400 in other releases.
pub(super) fn is_capacity(message: &str) -> bool {
    message.contains("Not enough hosts available")
}

fn hint(error: &CloudError, status: StatusCode) -> Option<String> {
    let hint = match error.kind {
        ErrorKind::Quota => "the project's quota is used up: delete what is not needed, or ask the site for more",
        _ if is_capacity(&error.message) => {
            "ask for less, for another flavor or node type, or for another time; the site's reservation calendar \
             shows what is free"
        }
        _ if status == StatusCode::NOT_ACCEPTABLE => {
            "the service does not speak this version of its API; the site runs another release than anole knows"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The message and the service's name for the error.
fn words(answer: &Incoming) -> (String, Option<String>) {
    let text = String::from_utf8_lossy(&answer.body);
    let (message, code) = match serde_json::from_str::<Json>(&text) {
        Ok(body) => from_json(&body),
        Err(_) if text.trim_start().starts_with('<') => from_markup(&text),
        Err(_) => (Some(text.trim().to_owned()), None),
    };
    let message = message.filter(|message| !message.is_empty()).unwrap_or_else(|| {
        let reason = answer.status.canonical_reason().unwrap_or("no reason given");
        format!("{reason} (the answer says no more)")
    });
    (shorten(&message), code)
}

/// The shapes, each as measured: Neutron's, Keystone's and the middleware's, Blazar's (whose `error` may be a number),
/// OAuth's (RFC 6749, 5.2), and Nova's and Cinder's, which put it under a key that names the fault.
fn from_json(body: &Json) -> (Option<String>, Option<String>) {
    let text = |value: Option<&Json>| value.and_then(Json::as_str).map(tidy);
    let inside = |value: &Json, code: Option<&str>| {
        let detail = text(value.get("detail")).or_else(|| text(value.get("details"))).unwrap_or_default();
        let message = text(value.get("message")).unwrap_or_default();
        let both = if detail.is_empty() || message.contains(&detail) { message } else { format!("{message} {detail}") };
        (Some(both), code.map(str::to_owned))
    };
    if let Some(neutron) = body.get("NeutronError") {
        return match neutron {
            Json::String(message) => (Some(tidy(message)), None),
            other => inside(other, other.get("type").and_then(Json::as_str)),
        };
    }
    if let Some(message) = text(body.get("error_message")) {
        let name = body.get("error_name").and_then(Json::as_str).map(str::to_owned);
        return (Some(message), name);
    }
    match body.get("error") {
        Some(error @ Json::Object(_)) => return inside(error, error.get("title").and_then(Json::as_str)),
        Some(Json::String(code)) => {
            return (text(body.get("error_description")).or_else(|| Some(code.clone())), Some(code.clone()));
        }
        _ => {}
    }
    if body.get("message").is_some() {
        return inside(body, None);
    }
    match body {
        Json::String(message) => (Some(tidy(message)), None),
        Json::Object(members) => members
            .iter()
            .find(|(_, value)| value.get("message").is_some())
            .map_or((None, None), |(key, value)| inside(value, Some(key))),
        _ => (None, None),
    }
}

/// S3's XML, or the HTML of Swift, Glance and proxies.
fn from_markup(text: &str) -> (Option<String>, Option<String>) {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(plain(rest.split_once(&format!("</{name}>"))?.0))
    };
    if let Some(code) = element("Code") {
        return (element("Message").or_else(|| Some(code.clone())), Some(code));
    }
    let title = element("h1").or_else(|| element("title"));
    // The heading only repeats the status; the sentence comes after it.
    let after = text.rsplit_once("</h1>").or_else(|| text.rsplit_once("</title>")).map_or(text, |(_, after)| after);
    let sentence = plain(after);
    (if sentence.is_empty() { title } else { Some(sentence) }, None)
}

/// A JSON message; Glance's carry HTML now and then, while others write `<uuid>` and mean it.
fn tidy(text: &str) -> String {
    if text.contains("<br") || text.contains("</") { plain(text) } else { text.trim().to_owned() }
}

/// The text without tags, entities and runs of white space.
fn plain(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let tag = rest[open..].find('>').filter(|_| {
            rest[open + 1..].starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'))
        });
        let Some(close) = tag else {
            // No tag, but the sign itself.
            bare.push_str(&rest[..=open]);
            rest = &rest[open + 1..];
            continue;
        };
        bare.push_str(&rest[..open]);
        bare.push(' ');
        rest = &rest[open + close + 1..];
    }
    bare.push_str(rest);
    let bare = bare.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#x27;", "'");
    let bare = bare.replace("&#39;", "'").replace("&nbsp;", " ").replace("&amp;", "&");
    bare.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shorten(message: &str) -> String {
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(service: Service, status: u16, body: &str) -> CloudError {
        let answer = Incoming {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
        };
        refusal(Asked { service, method: &Method::POST, path: "/things" }, &answer)
    }

    /// Every body as a service of OpenStack 2025.1 gave it.
    #[test]
    fn each_service_is_quoted_in_its_own_words() {
        use ErrorKind::{BadRequest, Conflict, Forbidden, NotFound, Quota, Unauthorized, Unavailable};
        use Service::{BlockStorage, Compute, Identity, Image, Network, ObjectStore, Reservation};
        let cases = [
            (
                Compute,
                404,
                r#"{"itemNotFound": {"code": 404, "message": "Instance nope could not be found."}}"#,
                NotFound,
                "Instance nope could not be found.",
                Some("itemNotFound"),
            ),
            (
                Compute,
                403,
                r#"{"forbidden": {"code": 403, "message": "Quota exceeded for instances: Requested 21, but already used 1 of 20 instances"}}"#,
                Quota,
                "Quota exceeded for instances: Requested 21, but already used 1 of 20 instances",
                Some("forbidden"),
            ),
            (
                Compute,
                403,
                r#"{"forbidden": {"code": 403, "message": "Policy doesn't allow it"}}"#,
                Forbidden,
                "Policy doesn't allow it",
                Some("forbidden"),
            ),
            (
                BlockStorage,
                413,
                r#"{"overLimit": {"code": 413, "message": "VolumeSizeExceedsAvailableQuota: too big", "retryAfter": "0"}}"#,
                Quota,
                "VolumeSizeExceedsAvailableQuota: too big",
                Some("overLimit"),
            ),
            (
                Network,
                409,
                r#"{"NeutronError": {"type": "SecurityGroupInUse", "message": "Security Group x in use.", "detail": ""}}"#,
                Conflict,
                "Security Group x in use.",
                Some("SecurityGroupInUse"),
            ),
            (
                Network,
                409,
                r#"{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}}"#,
                Quota,
                "Quota exceeded for resources: ['port'].",
                Some("OverQuota"),
            ),
            (Network, 400, r#"{"NeutronError": "Bad port"}"#, BadRequest, "Bad port", None),
            (
                Identity,
                401,
                r#"{"error":{"code":401,"message":"The request you have made requires authentication.","title":"Unauthorized"}}"#,
                Unauthorized,
                "The request you have made requires authentication.",
                Some("Unauthorized"),
            ),
            (
                Reservation,
                404,
                r#"{"error_code": 404, "error_message": "Object with {'lease_id': 'nope'} not found", "error_name": 404}"#,
                NotFound,
                "Object with {'lease_id': 'nope'} not found",
                None,
            ),
            (
                Reservation,
                404,
                r#"{"error": 404, "error_message": "The requested URL was not found on the server."}"#,
                NotFound,
                "The requested URL was not found on the server.",
                None,
            ),
            (
                Reservation,
                500,
                r#"{"error_code":500,"error_message":"Internal Server Error","error_name":"INTERNAL_SERVER_ERROR"}"#,
                Unavailable,
                "Internal Server Error",
                Some("INTERNAL_SERVER_ERROR"),
            ),
            (
                Reservation,
                500,
                r#"{"error_code":500,"error_message":"Not enough hosts available","error_name":"NOT"}"#,
                BadRequest,
                "Not enough hosts available",
                Some("NOT"),
            ),
            (
                Image,
                404,
                "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not Found</h1>\n  No image found with ID nope<br /><br />\n\n\n\n </body>\n</html>",
                NotFound,
                "No image found with ID nope",
                None,
            ),
            (
                ObjectStore,
                404,
                "<html><h1>Not Found</h1><p>The resource could not be found.</p></html>",
                NotFound,
                "The resource could not be found.",
                None,
            ),
            (
                ObjectStore,
                409,
                "<?xml version='1.0'?><Error><Code>BucketNotEmpty</Code><Message>It is not empty</Message></Error>",
                Conflict,
                "It is not empty",
                Some("BucketNotEmpty"),
            ),
            (
                Compute,
                400,
                r#"{"badRequest": {"code": 400, "message": "Invalid input: a < b, <uuid> & 'x' is 5 > 4"}}"#,
                BadRequest,
                "Invalid input: a < b, <uuid> & 'x' is 5 > 4",
                Some("badRequest"),
            ),
            (Compute, 502, "", Unavailable, "Bad Gateway (the answer says no more)", None),
        ];
        for (service, status, body, kind, message, code) in cases {
            let error = read(service, status, body);
            assert_eq!((error.kind, error.message.as_str(), error.code.as_deref()), (kind, message, code), "{body}");
        }
    }
}
