//! What goes over the wire: a request as the services read it, an answer, a refusal, and how lists are cut into pages.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, Method};
use ring::hmac;
use serde_json::json;

use super::catalogue::Profile;
use super::clock::ClockMode;
use super::tables::{Fields, State};
use crate::model::Json;

/// A request.
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path, in decoded segments, without empty ones.
    pub path: Vec<String>,
    /// The path and query as sent.
    pub target: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Where the client sees this cloud: `http://127.0.0.1:9999`, without a trailing slash.
    pub base: String,
}

impl Call {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A query parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a query parameter.
    #[must_use]
    pub fn params(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as JSON; `None` if it is not.
    #[must_use]
    pub fn json(&self) -> Option<Json> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether the body has a character beyond the first 65,536, which no database of a service holds.
    #[must_use]
    pub fn unstorable(&self) -> bool {
        self.json().is_some_and(|body| body.to_string().chars().any(|char| char > '\u{ffff}'))
    }

    /// The same address for the next page: the query with another marker.
    #[must_use]
    pub fn next_page(&self, marker: &str) -> String {
        self.page_at(Some(marker))
    }

    /// The same address with another marker, or with none.
    #[must_use]
    pub fn page_at(&self, marker: Option<&str>) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.query.iter().filter(|(key, _)| key != "marker"));
        if let Some(marker) = marker {
            query.append_pair("marker", marker);
        }
        format!("{}{path}?{}", self.base, query.finish())
    }
}

/// An answer's body.
pub enum Body {
    /// None at all.
    Empty,
    /// JSON.
    Json(Json),
    /// A page of HTML.
    Html(String),
    /// The connection breaks while the body is on its way.
    Broken,
}

/// An answer.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers besides those that every answer of the service has.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

impl Reply {
    /// JSON with a status.
    #[must_use]
    pub fn json(status: u16, body: Json) -> Self {
        Self { status, headers: Vec::new(), body: Body::Json(body) }
    }

    /// 200 with JSON.
    #[must_use]
    pub fn ok(body: Json) -> Self {
        Self::json(200, body)
    }

    /// A status and nothing else.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Empty }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A refusal; each service writes it in its own way.
#[derive(Debug)]
pub struct Fault {
    /// The status.
    pub status: u16,
    /// Neutron's name for it; others derive theirs from the status.
    pub kind: &'static str,
    /// What the service says.
    pub message: String,
}

impl Fault {
    /// A refusal of the given status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, kind: "", message: message.into() }
    }

    /// A refusal with Neutron's name for it.
    pub fn named(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    /// 400.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, message)
    }

    /// 404.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, message)
    }

    /// No such address.
    #[must_use]
    pub fn no_route() -> Self {
        Self::named(404, "route", "The resource could not be found.<br /><br />\n\n\n")
    }
}

/// Where an answer of a service with microversions comes from, which shows in its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From before the service's own code: no address, or nobody.
    Outside,
    /// From the service, which could not read the microversion that was asked for.
    Unversioned,
    /// From the service, at a microversion.
    Versioned,
}

/// What a service's handler answers.
pub type Answer = Result<Reply, Fault>;

/// Who is asking: what the token says.
#[derive(Debug, Clone, Default)]
pub struct Who {
    /// The user.
    pub user_id: String,
    /// The project; empty for an unscoped token.
    pub project_id: String,
    /// An application credential without `unrestricted`.
    pub restricted: bool,
    /// Whoever operates the site.
    pub operator: bool,
}

/// All that a handler needs.
pub struct Cx<'a> {
    /// The request.
    pub call: &'a Call,
    /// The objects.
    pub state: &'a mut State,
    /// The cloud's time; while a transition is carried out, the moment it was due.
    pub now: i64,
    /// How long transitions take.
    pub clock: ClockMode,
    /// The site.
    pub profile: Profile,
    /// The folder of the machines, where servers are machines.
    pub machines: Option<PathBuf>,
    /// The key that EC2 secrets are made with.
    pub seal: &'a hmac::Key,
    /// Who is asking.
    pub who: Who,
    /// The microversion asked for.
    pub version: (u32, u32),
}

impl Cx<'_> {
    /// The moment a transition of `seconds` is done.
    #[must_use]
    pub fn after(&self, seconds: f64) -> i64 {
        self.now + self.clock.lasts(seconds)
    }

    /// Whether the microversion is at least `2.minor` (or `3.minor`).
    #[must_use]
    pub fn at_least(&self, minor: u32) -> bool {
        self.version.1 >= minor
    }

    /// Whether an object belongs to the project that is asking.
    #[must_use]
    pub fn owns(&self, doc: &Json) -> bool {
        doc.text("project_id") == self.who.project_id
    }
}

/// A page of a list.
pub struct Page<'a> {
    /// What is on it.
    pub items: Vec<&'a Json>,
    /// Whether more follows.
    pub more: bool,
}

/// Why a page cannot be given.
pub enum PageError {
    /// `limit` is no number.
    Limit,
    /// No object is the marker.
    Marker(String),
}

/// Cuts the page out that `limit` and `marker` ask for; `key` is what the marker is compared with, `most` the longest page.
pub fn page<'a>(call: &Call, all: Vec<&'a Json>, key: &str, most: usize) -> Result<Page<'a>, PageError> {
    let limit = match call.param("limit") {
        None | Some("") => most,
        Some(text) => match text.parse::<usize>().map_err(|_| PageError::Limit)? {
            // Neutron, whose pages have no longest length, takes 0 for no limit; the others give an empty page.
            0 if most == usize::MAX => most,
            limit => limit.min(most),
        },
    };
    let start = match call.param("marker") {
        None | Some("") => 0,
        Some(marker) => {
            let found = all.iter().position(|doc| doc.text(key) == marker);
            found.ok_or_else(|| PageError::Marker(marker.to_owned()))? + 1
        }
    };
    let full = all.len().saturating_sub(start) >= limit && limit > 0;
    Ok(Page { items: all.into_iter().skip(start).take(limit).collect(), more: full })
}

/// `{"rel": …, "href": …}`.
#[must_use]
pub fn link(rel: &str, href: impl Into<String>) -> Json {
    json!({"rel": rel, "href": href.into()})
}

/// A value as Python writes it, which is how the services quote a request's own words back.
#[must_use]
pub fn repr(value: &Json) -> String {
    match value {
        Json::Null => "None".to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => format!("'{text}'"),
        Json::Array(items) => format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let items: Vec<String> = map.iter().map(|(key, value)| format!("'{key}': {}", repr(value))).collect();
            format!("{{{}}}", items.join(", "))
        }
    }
}

/// A new id.
#[must_use]
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A new id as Keystone writes them: 32 digits.
#[must_use]
pub fn new_hex() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Whether the text is a UUID.
#[must_use]
pub fn is_uuid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok()
}

impl Call {
    /// The call of a transition, which nobody made.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            method: Method::GET,
            path: Vec::new(),
            target: String::new(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            base: String::new(),
        }
    }
}
