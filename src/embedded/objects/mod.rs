//! The object store: Swift and S3 over the same buckets, as Ceph's object gateway has them on Chameleon.
//!
//! In: requests, whose bodies are taken in as they arrive. Out: answers, whose contents are read as they are sent; buckets
//! and objects in the cloud's documents, and their contents in files of its folder.
//!
//! ```text
//! request ─ which API, who asks (a signature or a token), whether they may          one transaction
//!         ─ the body, if there is one: a document, or contents into a file          (intake, vault)
//!         ─ carry it out: documents, and the file gets its name; open what is read  another transaction
//!         ─ remove the files that were replaced; send what was opened
//! ```
//!
//! Swift is below `/swift/v1`, as there; S3 is everything else that is signed for it or that no other service has. So a
//! bucket may be called `image`.
//!
//! Invariants:
//! - Both APIs refuse for the same reasons ([`refusal`]); status, code and body are those measured on Ceph 16.2.15.
//! - A subresource that is not embedded is refused with 501. Ceph's gateway takes such a request for the one without it, and
//!   so deletes a bucket whose encryption somebody removes; nobody relies on that.
//! - Nobody waits for a body while the cloud is locked.

pub mod chunks;
pub mod conditions;
pub mod docs;
pub mod grants;
pub mod intake;
pub mod listing;
pub mod refusal;
pub mod s3;
pub mod swift;
pub mod vault;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::response::Response;
use futures_util::TryStreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use ring::hmac;

use super::faults::Rule;
use super::tables::State;
use super::wire::Call;
use super::{Cloud, Error, Inner, clock, serve};
use docs::{Bucket, Version};
use grants::{Caller, Owner};
use intake::{Arrived, Failure, Received};
use refusal::Refusal;
use s3::sign::{self, Payload};
use vault::{Piece, Reading, Vault};

/// The first segments that are other services'.
const SERVICES: [&str; 7] = ["identity", "compute", "network", "volume", "image", "reservation", "oidc"];

/// What a body is to be taken in as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Nothing: it is not looked at.
    Nothing,
    /// A document.
    Text,
    /// An object's contents.
    Contents,
}

/// What is asked, and all that is needed to answer it.
pub struct Ask<'a> {
    /// The request.
    pub call: &'a Call,
    /// The documents.
    pub state: &'a mut State,
    /// The contents.
    pub vault: &'a Vault,
    /// The key that EC2 secrets are made with.
    pub seal: &'a hmac::Key,
    /// The cloud's time.
    pub now: i64,
    /// Who asks.
    pub who: Caller,
    /// The body.
    pub received: Received,
    /// What no document names any more.
    pub trash: Vec<Piece>,
}

impl Ask<'_> {
    /// The bucket of that name.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn bucket(&self, name: &str) -> Result<Bucket, Refusal> {
        Bucket::find(self.state, name)
    }

    /// The bucket of that name, if it is the caller's.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`.
    pub fn own_bucket(&self, name: &str) -> Result<Bucket, Refusal> {
        let bucket = self.bucket(name)?;
        let own = self.who.is_known() && bucket.project_id == self.who.project;
        if own { Ok(bucket) } else { Err(Refusal::new("AccessDenied")) }
    }

    /// The body as a document.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        if let Received::Text(bytes) = &self.received { bytes } else { b"" }
    }

    /// The body as contents, which are taken out.
    ///
    /// # Errors
    /// `InternalError` if there are none.
    pub fn contents(&mut self) -> Result<Arrived, Refusal> {
        match std::mem::take(&mut self.received) {
            Received::Contents(arrived) => Ok(arrived),
            Received::Nothing | Received::Text(_) => Err(Refusal::new("InternalError")),
        }
    }

    /// Gives contents that arrived their place.
    ///
    /// # Errors
    /// `InternalError` if the folder cannot be written to.
    pub fn keep(&self, arrived: Arrived) -> Result<Vec<Piece>, Refusal> {
        let Some(file) = arrived.file else { return Ok(Vec::new()) };
        Ok(vec![self.vault.keep(file, arrived.size).map_err(|error| unusable(&error))?])
    }

    /// The same contents once more.
    ///
    /// # Errors
    /// `InternalError` if the folder cannot be written to.
    pub fn share(&self, pieces: &[Piece]) -> Result<Vec<Piece>, Refusal> {
        self.vault.share(pieces).map_err(|error| unusable(&error))
    }

    /// Puts an object, and remembers what it replaced.
    pub fn put(&mut self, bucket: &Bucket, key: &str, version: Version) -> Version {
        docs::put_version(self.state, bucket, key, version, &mut self.trash)
    }

    /// Whoever asks, as the owner of what is put.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::project(&self.who.project)
    }
}

fn unusable(error: &std::io::Error) -> Refusal {
    Refusal::new("InternalError").saying(format!("the embedded cloud's folder: {error}"))
}

/// An answer's body.
#[derive(Debug, Default)]
pub enum Content {
    /// None; a length that the headers have is the one of what is not sent.
    #[default]
    Empty,
    /// A text.
    Text(String),
    /// Contents and their length.
    Contents(Reading, u64),
}

/// An answer.
#[derive(Debug, Default)]
pub struct Output {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub content: Content,
}

impl Output {
    /// A status and nothing else.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a text, with its type.
    #[must_use]
    pub fn text(mut self, kind: &str, text: impl Into<String>) -> Self {
        self.content = Content::Text(text.into());
        self.header("content-type", kind)
    }
}

/// One of the two APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    S3,
    Swift,
}

impl Api {
    fn of(call: &Call) -> Self {
        let swift = call.path.first().is_some_and(|first| first == swift::ROOT);
        if swift && !sign::is_signed(call) { Self::Swift } else { Self::S3 }
    }

    fn admit(self, ask: &Ask<'_>) -> Result<(Caller, Wants, Payload), Refusal> {
        match self {
            Self::S3 => s3::admit(ask),
            Self::Swift => swift::admit(ask).map(|(caller, wants)| (caller, wants, Payload::Unsigned)),
        }
    }

    fn carry_out(self, ask: &mut Ask<'_>) -> Output {
        let done = match self {
            Self::S3 => s3::carry_out(ask),
            Self::Swift => swift::carry_out(ask),
        };
        done.unwrap_or_else(|refusal| self.refuse(ask.call, &refusal))
    }

    fn refuse(self, call: &Call, refusal: &Refusal) -> Output {
        match self {
            Self::S3 => s3::refuse(call, refusal),
            Self::Swift => swift::refuse(call, refusal),
        }
    }
}

/// A path below a mount, split at the first slash: bucket and key, both decoded. A key may hold slashes, and end with one.
#[must_use]
pub fn split(path: &str) -> (String, String) {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let (bucket, key) = decoded.split_once('/').unwrap_or((&decoded, ""));
    (bucket.to_owned(), key.to_owned())
}

/// Whether the object store answers this request.
pub(super) fn claims(cloud: &Cloud, call: &Call) -> bool {
    let first = call.path.first().map(String::as_str).unwrap_or_default();
    cloud.inner.vault.is_some() && (sign::is_signed(call) || !SERVICES.contains(&first))
}

/// What the first transaction came to.
enum Begun {
    Answered(Output),
    Awaits(Caller, Wants, Payload),
}

/// Answers a request to the object store.
pub(super) async fn answer(cloud: Cloud, call: Call, body: HttpBody) -> Result<Response, Error> {
    let vault = cloud.inner.vault.clone().ok_or_else(|| no_store(&cloud.inner))?;
    let (api, call) = (Api::of(&call), Arc::new(call));
    let rule = cloud.fault(&call).await?;
    if let Some(rule) = &rule {
        rule.wait().await;
        if rule.instead().is_some() {
            let (asked, rule) = (Arc::clone(&call), rule.clone());
            let outcome = cloud.aside(move |cloud| cloud.handle(&asked, Some(&rule))).await?;
            return Ok(serve::respond(outcome.reply, outcome.now));
        }
    }
    let begun = transaction(&cloud, &call, Caller::default(), Received::Nothing, move |ask| match api.admit(ask) {
        Err(refusal) => Begun::Answered(api.refuse(ask.call, &refusal)),
        Ok((caller, Wants::Nothing, _)) => {
            ask.who = caller;
            Begun::Answered(api.carry_out(ask))
        }
        Ok((caller, wants, payload)) => Begun::Awaits(caller, wants, payload),
    });
    let begun = begun.await?;
    let output = match begun {
        Begun::Answered(output) => output,
        Begun::Awaits(caller, wants, payload) => {
            let taken = match wants {
                Wants::Contents => intake::contents(body, payload, &vault).await,
                Wants::Text | Wants::Nothing => intake::text(body, &payload).await,
            };
            match taken {
                Ok(received) => transaction(&cloud, &call, caller, received, move |ask| api.carry_out(ask)).await?,
                Err(Failure::Refused(refusal)) => api.refuse(&call, &refusal),
                Err(Failure::Folder(error)) => return Err(error),
            }
        }
    };
    cloud.inner.note(&call, output.status)?;
    Ok(send(output, &call, rule.as_ref()))
}

/// Does something with the cloud locked, and removes afterwards what no document names any more.
async fn transaction<T: Send + 'static>(
    cloud: &Cloud,
    call: &Arc<Call>,
    who: Caller,
    received: Received,
    work: impl FnOnce(&mut Ask<'_>) -> T + Send + 'static,
) -> Result<T, Error> {
    let call = Arc::clone(call);
    let locked = move |cloud: &Cloud| {
        let Some(vault) = &cloud.inner.vault else { return Err(no_store(&cloud.inner)) };
        let (result, trash) = cloud.transaction(|inner, state| {
            let now = inner.settle(state);
            let trash = Vec::new();
            let mut ask = Ask { call: &call, state, vault, seal: &inner.seal, now, who, received, trash };
            let result = work(&mut ask);
            (result, ask.trash)
        })?;
        vault.discard(&trash);
        Ok(result)
    };
    cloud.aside(locked).await
}

fn no_store(inner: &Inner) -> Error {
    Error::io("find the object store of", &inner.folder, std::io::ErrorKind::NotFound.into())
}

fn send(output: Output, call: &Call, rule: Option<&Rule>) -> Response {
    let lost = rule.and_then(Rule::afterwards);
    if let Some(reply) = lost {
        // Contents that are on their way break off in the middle; any other answer is lost whole.
        return match output.content {
            Content::Contents(reading, length) if rule.is_some_and(Rule::breaks) => {
                let half = reading.stream().map_ok(|chunk| chunk.slice(..chunk.len() / 2));
                let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                let cut = futures_util::StreamExt::chain(
                    futures_util::StreamExt::take(half, 1),
                    futures_util::stream::once(async { Err(broken) }),
                );
                let headers = with_length(output.headers, length);
                build(output.status, headers, HttpBody::from_stream(cut))
            }
            _ => serve::respond(reply, clock::system()),
        };
    }
    let head = call.method == Method::HEAD;
    match output.content {
        Content::Empty => build(output.status, output.headers, HttpBody::empty()),
        Content::Text(text) => {
            let headers = with_length(output.headers, text.len() as u64);
            build(output.status, headers, if head { HttpBody::empty() } else { HttpBody::from(text) })
        }
        Content::Contents(reading, length) => {
            let headers = with_length(output.headers, length);
            build(output.status, headers, HttpBody::from_stream(reading.stream()))
        }
    }
}

fn with_length(mut headers: Vec<(String, String)>, length: u64) -> Vec<(String, String)> {
    headers.push(("content-length".to_owned(), length.to_string()));
    headers
}

fn build(status: u16, headers: Vec<(String, String)>, body: HttpBody) -> Response {
    let mut map = HeaderMap::new();
    let date = ("date".to_owned(), clock::http_date(clock::system()));
    let name = docs::new_name();
    let ids = ["x-amz-request-id", "x-trans-id"].map(|header| (header.to_owned(), format!("tx{name}")));
    for (name, value) in headers.into_iter().chain([date]).chain(ids) {
        // Metadata that no header can hold is left out, as a header that breaks the answer would be.
        let pair = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes()));
        if let (Ok(name), Ok(value)) = pair {
            map.append(name, value);
        }
    }
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = map;
    response
}
