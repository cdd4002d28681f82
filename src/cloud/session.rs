//! A signed-in site: one token, one catalog, one set of limits, shared by every client of the site's services.
//!
//! In: a [`CloudConfig`] and a [`Transport`]. Out: answers to [`Request`]s.
//!
//! Invariants:
//! - A token that expired is renewed once for all requests that ran into it, and each of them is sent again once.
//! - A plan costs no discovery requests; only [`Session::supports`] asks, and remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderValue, Method};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use url::Url;

use super::catalog::{self, Choice, Endpoints};
use super::config::{Auth, CloudConfig};
use super::raw::{RawRequest, RawResponse};
use super::retry::RetryPolicy;
use super::token::Token;
use super::transport::{Incoming, Transport, secret_header};
use super::versions::{self, Microversion};
use super::wire::{Ask, Wire, request_id};
use super::{CloudError, ErrorKind, Request, Response, Service, auth};
use crate::model::{Json, SiteIdentity};

/// A list that has more pages than this does not end by itself.
const MOST_PAGES: usize = 10_000;

/// A token is renewed this long before it expires: services go on using it after they have answered, as Nova does
/// towards Neutron and Cinder while a server is built.
const MARGIN: Duration = Duration::from_secs(120);

/// How a session behaves towards the cloud.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions {
    /// How many requests to one service are under way at a time, at most.
    pub concurrency: usize,
    /// When a failed request is sent again.
    pub retry: RetryPolicy,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { concurrency: 10, retry: RetryPolicy::default() }
    }
}

/// A signed-in site: sends requests with a token, retries, and signs in again when the token expires. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
    /// The lists of one look, where they are shared.
    shared: Option<Arc<Lists>>,
}

/// Lists by what was asked: each is asked for once, and whoever comes meanwhile waits for the same answer.
type Lists = std::sync::Mutex<BTreeMap<ListKey, Arc<OnceCell<Result<Vec<Json>, CloudError>>>>>;

/// What tells one list from another: service, path, query, microversion.
type ListKey = (Service, String, Vec<(String, String)>, Option<&'static str>);

struct Inner {
    wire: Wire,
    config: CloudConfig,
    keystone: Url,
    identity: SiteIdentity,
    endpoints: Endpoints,
    restricted: bool,
    token: RwLock<Arc<Held>>,
    /// Keystone's clock at a moment of this machine's, for clouds whose answers have no `Date`.
    signed_in: Option<(Timestamp, Instant)>,
    renewal: Mutex<()>,
    ranges: Mutex<BTreeMap<Service, Option<(Microversion, Microversion)>>>,
}

/// The token in use.
struct Held {
    secret: SecretString,
    expires_at: Option<Timestamp>,
    /// When it is renewed without being refused first; never for one that cannot be.
    renew_at: Option<Instant>,
}

impl Held {
    fn new(token: &Token, auth: &Auth) -> Self {
        // Both times are Keystone's, so a wrong clock on this machine does no harm.
        let left = match (token.body.expires_at, token.clock) {
            (Some(expires), Some(now)) => Duration::try_from(expires.duration_since(now)).ok(),
            _ => None,
        };
        let renew_at = left
            .filter(|left| auth.lasts() && *left > MARGIN * 2)
            .and_then(|left| Instant::now().checked_add(left - MARGIN));
        Self { secret: token.secret.clone(), expires_at: token.body.expires_at, renew_at }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("identity", &self.inner.identity).finish_non_exhaustive()
    }
}

impl Session {
    /// Signs in and reads the catalog.
    ///
    /// # Errors
    /// When the site cannot be reached, refuses the sign-in, or its catalog does not have the region: with the
    /// configuration's origin and what to look at.
    pub async fn connect(
        config: CloudConfig,
        transport: Transport,
        options: SessionOptions,
    ) -> Result<Self, CloudError> {
        let wire = Wire::new(transport, options.retry, config.api_timeout, options.concurrency);
        let keystone = auth::discover(&wire, &config.auth_url).await?;
        let token = auth::sign_in(&wire, &keystone, &config).await?;
        let project = token.body.project.clone().ok_or_else(|| {
            CloudError::config(format!("{} signs in without a project", config.origin))
                .hint("say which one by project_name in clouds.yaml, or by OS_PROJECT_NAME")
        })?;
        let region = catalog::region(&token.body.catalog, config.region.as_deref())?;
        let choice = Choice {
            region: &region,
            interface: config.interface,
            overrides: &config.overrides,
            project_id: &project.id,
        };
        let endpoints = Endpoints::choose(&token.body.catalog, choice)?;
        let base = keystone.as_str().trim_end_matches('/').trim_end_matches("/v3").to_owned();
        let identity = SiteIdentity {
            auth_url: base,
            region,
            project_id: project.id,
            project_name: project.name,
            user_id: token.body.user.id.clone(),
            user_name: token.body.user.name.clone(),
        };
        let held = Held::new(&token, &config.auth);
        let restricted = token.body.application_credential.as_ref().is_some_and(|credential| credential.restricted);
        let signed_in = token.clock.map(|clock| (clock, Instant::now()));
        let inner = Inner {
            wire,
            keystone,
            identity,
            endpoints,
            restricted,
            token: RwLock::new(Arc::new(held)),
            signed_in,
            renewal: Mutex::new(()),
            ranges: Mutex::new(BTreeMap::new()),
            config,
        };
        Ok(Self { inner: Arc::new(inner), shared: None })
    }

    /// Signs in over HTTP as the configuration says.
    ///
    /// # Errors
    /// As [`Session::connect`], and when a CA bundle or client certificate cannot be read.
    pub async fn over_http(config: CloudConfig, options: SessionOptions) -> Result<Self, CloudError> {
        let transport = Transport::http(&config.tls)?;
        Self::connect(config, transport, options).await
    }

    /// The same session for one look: a list that several kinds ask for is asked for once. Nothing that is changed
    /// meanwhile shows in it, so it is for looking only and not to be kept.
    #[must_use]
    pub fn for_one_look(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Some(Arc::default()) }
    }

    /// The file of certificates that the site's configuration trusts, if it names one.
    #[must_use]
    pub fn cacert(&self) -> Option<&std::path::Path> {
        self.inner.config.tls.cacert.as_deref()
    }

    /// Which project and user this is.
    #[must_use]
    pub fn identity(&self) -> &SiteIdentity {
        &self.inner.identity
    }

    /// The kind of sign-in, as clouds.yaml names it: `v3applicationcredential`.
    #[must_use]
    pub fn auth_type(&self) -> &'static str {
        self.inner.config.auth.auth_type()
    }

    /// Whether an application credential signed in that may not make or delete credentials.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.inner.restricted
    }

    /// Where the site speaks S3, without a trailing slash: its catalog's `s3`, or where its object store is.
    #[must_use]
    pub fn s3_endpoint(&self) -> Option<String> {
        self.inner.endpoints.s3()
    }

    /// When the token in use expires, where Keystone says.
    #[must_use]
    pub fn token_expires_at(&self) -> Option<Timestamp> {
        self.held().expires_at
    }

    /// The cloud's clock: the `Date` of its last answer, or else its clock at the sign-in and the time since. The
    /// machine's own may be wrong, and leases go by the cloud's.
    #[must_use]
    pub fn server_time(&self) -> Option<Timestamp> {
        self.inner.wire.clock().or_else(|| {
            let (clock, then) = self.inner.signed_in?;
            clock.checked_add(then.elapsed()).ok()
        })
    }

    /// Whether the services are in this process, so that no request outlives whoever sent it.
    #[must_use]
    pub fn is_in_process(&self) -> bool {
        self.inner.wire.is_in_process()
    }

    /// How many requests were sent to each service, sign-ins and repetitions counted.
    #[must_use]
    pub fn request_count(&self) -> BTreeMap<Service, u64> {
        self.inner.wire.counts()
    }

    /// Whether the catalog has the service in this region.
    #[must_use]
    pub fn has(&self, service: Service) -> bool {
        service == Service::Identity || self.inner.endpoints.get(service).is_some()
    }

    /// The service's versioned endpoint, without a trailing slash.
    ///
    /// # Errors
    /// When the catalog has no such service in this region.
    pub fn endpoint(&self, service: Service) -> Result<&Url, CloudError> {
        if service == Service::Identity {
            return Ok(&self.inner.keystone);
        }
        self.inner.endpoints.get(service).ok_or_else(|| {
            let mut error = CloudError::config(format!(
                "the catalog has no {service} in {}; it has {}",
                self.inner.identity.region,
                self.inner.endpoints.types()
            ));
            error.kind = ErrorKind::NoService;
            error.hint("another site, region_name or interface may have it")
        })
    }

    /// Whether the service knows a microversion. Asks once and remembers.
    ///
    /// # Errors
    /// When the service is not there or does not answer.
    pub async fn supports(&self, service: Service, version: &str) -> Result<bool, CloudError> {
        let Ok(wanted) = version.parse::<Microversion>() else { return Ok(false) };
        let mut ranges = self.inner.ranges.lock().await;
        let range = match ranges.get(&service) {
            Some(range) => *range,
            None => {
                let range = self.discover(service, version).await?;
                ranges.insert(service, range);
                range
            }
        };
        Ok(range.is_some_and(|(lowest, highest)| lowest <= wanted && wanted <= highest))
    }

    async fn discover(
        &self,
        service: Service,
        version: &str,
    ) -> Result<Option<(Microversion, Microversion)>, CloudError> {
        let endpoint = self.endpoint(service)?;
        let major = version.split('.').next().unwrap_or_default();
        // Below the version there may be a project's id; the document is at the version itself.
        let segments: Vec<&str> = endpoint.path().split('/').collect();
        let depth = segments.iter().position(|segment| segment.starts_with(&format!("v{major}")));
        let path = segments[..depth.map_or(segments.len(), |depth| depth + 1)].join("/");
        let url = versions::with_path(endpoint, &format!("{path}/"));
        let mut ask = Ask::new(service, Method::GET, url, "/");
        match self.authorized(&mut ask).await {
            Ok(answer) => {
                Ok(serde_json::from_slice::<Json>(&answer.body).ok().and_then(|body| versions::range(&body, major)))
            }
            // A service without microversions has no document there: Glance, Swift.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// What the service refused, in its words, after all retries.
    pub async fn send(&self, request: Request) -> Result<Response, CloudError> {
        let mut ask = self.ask(&request)?;
        let answer = self.authorized(&mut ask).await.map_err(|error| explain_text(error, request.body.as_ref()))?;
        let body = body(&request, &answer)?;
        let asked = (request.service, request.method, request.path);
        Ok(Response { status: answer.status, headers: answer.headers, body, asked })
    }

    /// Sends a request that streams, once: see [`super::raw`].
    ///
    /// # Errors
    /// What the service refused, in its words. After a refused token the next try has a new one.
    pub async fn exchange(&self, mut request: RawRequest) -> Result<RawResponse, CloudError> {
        let endpoint = self.endpoint(request.service)?;
        let mut url = endpoint.clone();
        url.set_path(&format!("{}{}", endpoint.path().trim_end_matches('/'), request.path));
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut held = self.held();
        if held.renew_at.is_some_and(|at| Instant::now() >= at) {
            held = self.renew(&held).await?;
        }
        request.headers.insert("x-auth-token", secret_header(held.secret.expose_secret())?);
        match self.inner.wire.stream(url, request).await {
            Err(error) if error.kind == ErrorKind::Unauthorized => {
                if !self.inner.config.auth.lasts() {
                    return Err(auth::refused(error, &self.inner.config));
                }
                self.renew(&held).await?;
                Err(self.explain(error))
            }
            other => other.map_err(|error| self.explain(error)),
        }
    }

    /// Reads all pages of a list: `key` is the body's member with the items. Follows `<key>_links` (Nova, Cinder,
    /// Neutron), `next` (Glance) and `links.next` (Keystone).
    ///
    /// Of the next page's address only the query is taken: its host and path are the service's own view of itself,
    /// which a proxy in front may not share.
    ///
    /// # Errors
    /// As [`Session::send`]; also a body without `key`, or pages that come round again.
    pub async fn list(&self, request: Request, key: &str) -> Result<Vec<Json>, CloudError> {
        let Some(shared) = &self.shared else { return self.pages(request, key).await };
        let list = {
            let mut lists = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let list_key = (request.service, request.path.clone(), request.query.clone(), request.microversion);
            lists.entry(list_key).or_default().clone()
        };
        list.get_or_init(|| self.pages(request, key)).await.clone()
    }

    async fn pages(&self, request: Request, key: &str) -> Result<Vec<Json>, CloudError> {
        let mut items = Vec::new();
        let mut request = request;
        let mut seen = BTreeSet::new();
        loop {
            let mut answer = self.send(request.clone()).await?;
            let odd = |message: String| {
                let mut error = CloudError::unexpected(request.service, &request.method, &request.path, message);
                error.request_id = request_id(&answer.headers).map(str::to_owned);
                error
            };
            let next = next_page(&answer.body, key);
            match answer.body.get_mut(key).map(Json::take) {
                Some(Json::Array(page)) => items.extend(page),
                _ => return Err(odd(format!("there is no list `{key}` in the answer"))),
            }
            let Some(query) = next else { return Ok(items) };
            if !seen.insert(query.clone()) || seen.len() > MOST_PAGES {
                return Err(odd(format!("the pages of `{key}` come round again after {} items", items.len())));
            }
            request.query = query;
        }
    }

    fn ask(&self, request: &Request) -> Result<Ask, CloudError> {
        let endpoint = self.endpoint(request.service)?;
        let mut url = versions::with_path(endpoint, endpoint.path());
        url.set_path(&format!("{}{}", endpoint.path().trim_end_matches('/'), request.path));
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut ask = Ask::new(request.service, request.method.clone(), url, request.path.clone());
        ask.repeatable = request.repeatable;
        if let Some(version) = request.microversion {
            let value = HeaderValue::from_str(&format!("{} {version}", request.service.microversion_name()));
            ask.headers.extend(value.map(|value| (http::HeaderName::from_static("openstack-api-version"), value)));
        }
        Ok(match &request.body {
            Some(body) => ask.json(body),
            None => ask,
        })
    }

    /// Sends with a token, and once more with a new one if that was refused.
    async fn authorized(&self, ask: &mut Ask) -> Result<Incoming, CloudError> {
        let mut held = self.held();
        if held.renew_at.is_some_and(|at| Instant::now() >= at) {
            held = self.renew(&held).await?;
        }
        ask.headers.insert("x-auth-token", secret_header(held.secret.expose_secret())?);
        match self.inner.wire.send(ask).await {
            Err(error) if error.kind == ErrorKind::Unauthorized => {
                if !self.inner.config.auth.lasts() {
                    return Err(auth::refused(error, &self.inner.config));
                }
                held = self.renew(&held).await?;
                ask.headers.insert("x-auth-token", secret_header(held.secret.expose_secret())?);
                self.inner.wire.send(ask).await.map_err(|error| self.explain(error))
            }
            other => other.map_err(|error| self.explain(error)),
        }
    }

    fn held(&self) -> Arc<Held> {
        self.inner.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs in again, unless another request has done so since this one took its token.
    async fn renew(&self, stale: &Arc<Held>) -> Result<Arc<Held>, CloudError> {
        let _turn = self.inner.renewal.lock().await;
        let current = self.held();
        if !Arc::ptr_eq(stale, &current) {
            return Ok(current);
        }
        tracing::debug!(auth_type = self.auth_type(), "signing in again");
        let token = auth::sign_in(&self.inner.wire, &self.inner.keystone, &self.inner.config).await?;
        let held = Arc::new(Held::new(&token, &self.inner.config.auth));
        *self.inner.token.write().unwrap_or_else(PoisonError::into_inner) = held.clone();
        Ok(held)
    }

    /// Says what the service does not: that it is the sign-in that forbids it.
    fn explain(&self, error: CloudError) -> CloudError {
        let delegated = matches!(self.inner.config.auth, Auth::ApplicationCredential { .. });
        if error.kind == ErrorKind::Unauthorized {
            return auth::refused(error, &self.inner.config);
        }
        let unrestricted = "make an unrestricted application credential (Identity, Application Credentials, tick \
                            Unrestricted), or sign in with a password";
        match (error.service, error.kind, error.status) {
            (_, ErrorKind::Forbidden, _) if delegated && error.message.contains("application_credential") => {
                error.hint(format!("a restricted application credential may not do this: {unrestricted}"))
            }
            (Some(Service::Reservation), _, Some(500)) if delegated && error.kind == ErrorKind::Unavailable => error
                .hint(format!(
                    "Blazar makes a trust for a lease, which a restricted application credential may not, and on some \
                     Keystones none may: {unrestricted}"
                )),
            _ => error,
        }
    }
}

/// Says what a service does not that fails on a text: most keep texts in databases that hold no character beyond the
/// first 65,536 (measured on Neutron, Cinder and Blazar 2025.1, which answer 500).
fn explain_text(error: CloudError, body: Option<&Json>) -> CloudError {
    if error.status != Some(500) {
        return error;
    }
    let text = body.map(Json::to_string).unwrap_or_default();
    match text.chars().find(|char| *char > '\u{ffff}') {
        Some(char) => error.hint(format!(
            "the site most likely cannot keep the character `{char}`, as most cannot keep emoji: leave it out of names and \
             descriptions"
        )),
        None => error,
    }
}

/// The query of the next page, if there is one.
fn next_page(body: &Json, key: &str) -> Option<Vec<(String, String)>> {
    let linked = || {
        let links = body.get(format!("{key}_links"))?.as_array()?;
        links.iter().find(|link| link.get("rel").and_then(Json::as_str) == Some("next"))?.get("href")?.as_str()
    };
    let own = || body.get("next").or_else(|| body.get("links")?.get("next"))?.as_str();
    let address = linked().or_else(own)?;
    let (_, query) = address.split_once('?')?;
    Some(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

/// The body as JSON: `Null` where there is none, a string where it is of another type.
fn body(request: &Request, answer: &Incoming) -> Result<Json, CloudError> {
    if answer.body.is_empty() {
        return Ok(Json::Null);
    }
    let content_type = answer.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match serde_json::from_slice(&answer.body) {
        Ok(body) => Ok(body),
        Err(error) if content_type.is_some_and(|content_type| content_type.contains("json")) => {
            Err(CloudError::unexpected(
                request.service,
                &request.method,
                &request.path,
                format!("the answer says that it is JSON, and is not: {error}"),
            )
            .with_headers(&answer.headers))
        }
        Err(_) => Ok(Json::String(String::from_utf8_lossy(&answer.body).into_owned())),
    }
}
