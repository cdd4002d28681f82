//! The session against a cloud of a few lines, in process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, Request as Incoming, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response as Answer};
use axum::routing::{any, get, post};
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use url::Url;

use super::config::{Auth, Domain, Federation, OidcClient, Scope, TokenHub, User};
use super::retry::RetryPolicy;
use super::transport::LostAnswer;
use super::{CloudConfig, CloudError, ErrorKind, Request, Service, Session, SessionOptions, Transport};

const PASSWORD: &str = "hunter2-is-secret";

/// What the cloud saw, and how it answers.
#[derive(Clone, Default)]
struct Cloud {
    sign_ins: Arc<AtomicU32>,
    bodies: Arc<Mutex<Vec<Json>>>,
    /// Answers for the next requests to Nova; then all goes well.
    script: Arc<Mutex<Vec<Answer>>>,
    reached: Arc<AtomicU32>,
    /// Whether tokens of the first sign-in have expired.
    expired: Arc<AtomicU32>,
}

impl Cloud {
    fn router(&self) -> Router {
        Router::new()
            .route("/identity", get(versions))
            .route("/identity/v3/auth/tokens", post(sign_in))
            .route("/identity/v3/auth/projects", get(projects))
            .route("/identity/v3/OS-FEDERATION/identity_providers/chameleon/protocols/openid/auth", post(federate))
            .route("/oidc/.well-known/openid-configuration", get(oidc_document))
            .route("/oidc/token", post(oidc_token))
            .route("/hub/tokens", get(hub))
            .route("/compute/v2.1/things", any(things))
            .route("/network/v2.0/{list}", get(pages))
            .with_state(self.clone())
    }

    fn next(&self, answer: impl IntoResponse) -> &Self {
        self.script.lock().unwrap().push(answer.into_response());
        self
    }

    fn reached(&self) -> u32 {
        self.reached.load(Ordering::SeqCst)
    }

    async fn session(&self, auth: Auth) -> Result<Session, CloudError> {
        let url = Url::parse("http://cloud.test/identity").unwrap();
        let scope = Scope::ProjectName("lab".into(), Domain::Id("default".into()));
        let config = CloudConfig::new("cloud test of clouds.yaml", url, auth, scope);
        let none = Duration::ZERO;
        let retry =
            RetryPolicy { first_wait: none, longest_wait: none, longest_retry_after: none, ..RetryPolicy::default() };
        let options = SessionOptions { retry, ..SessionOptions::default() };
        Session::connect(config, Transport::InProcess(self.router()), options).await
    }
}

async fn versions() -> Answer {
    let link = json!([{"rel": "self", "href": "http://10.0.0.1:35357/v3/"}]);
    (StatusCode::MULTIPLE_CHOICES, json!({"versions": {"values": [{"id": "v3.14", "links": link}]}}).to_string())
        .into_response()
}

fn token(name: String, project: bool) -> Answer {
    let endpoint = |url: &str| json!([{"interface": "public", "region_id": "R", "url": url}]);
    let mut body = json!({"token": {
        "expires_at": "2026-11-22T17:38:17.000000Z", "issued_at": "2026-11-22T13:38:17.000000Z",
        "user": {"id": "u1", "name": "alice"}}});
    if project {
        body["token"]["project"] = json!({"id": "p1", "name": "lab"});
        body["token"]["catalog"] = json!([
            {"type": "compute", "endpoints": endpoint("http://cloud.test/compute/v2.1/")},
            {"type": "network", "endpoints": endpoint("http://cloud.test/network")}]);
    }
    (StatusCode::CREATED, [("x-subject-token", name)], body.to_string()).into_response()
}

fn unauthorized() -> Answer {
    let body = json!({"error": {"code": 401, "message": "The request you have made requires authentication."}});
    (StatusCode::UNAUTHORIZED, [("x-openstack-request-id", "req-1")], body.to_string()).into_response()
}

async fn sign_in(State(cloud): State<Cloud>, axum::Json(body): axum::Json<Json>) -> Answer {
    // Another task gets its turn, so that sign-ins that are not single-file would overlap.
    tokio::task::yield_now().await;
    let identity = &body["auth"]["identity"];
    let known = identity["password"]["user"]["password"] == PASSWORD || identity["token"]["id"] == "unscoped";
    cloud.bodies.lock().unwrap().push(body);
    if !known {
        return unauthorized();
    }
    let number = cloud.sign_ins.fetch_add(1, Ordering::SeqCst) + 1;
    token(format!("token-{number}"), true)
}

async fn projects() -> String {
    json!({"projects": [{"id": "p1", "name": "lab"}]}).to_string()
}

async fn federate(headers: HeaderMap) -> Answer {
    match headers.get("authorization").and_then(|value| value.to_str().ok()) {
        Some("Bearer access") => token("unscoped".into(), false),
        _ => unauthorized(),
    }
}

async fn oidc_document() -> String {
    json!({"token_endpoint": "http://oidc.test/oidc/token"}).to_string()
}

async fn oidc_token(headers: HeaderMap, body: String) -> Answer {
    let client = headers.get("authorization").and_then(|value| value.to_str().ok()) == Some("Basic Y2xpOm5vbmU=");
    if client && body.contains("grant_type=password") && body.contains(PASSWORD) {
        json!({"access_token": "access"}).to_string().into_response()
    } else {
        let error = json!({"error": "invalid_grant", "error_description": "Invalid user credentials"});
        (StatusCode::UNAUTHORIZED, error.to_string()).into_response()
    }
}

async fn hub(headers: HeaderMap) -> Answer {
    match headers.get("authorization").and_then(|value| value.to_str().ok()) {
        Some("token hub") => json!({"access_token": "access"}).to_string().into_response(),
        _ => StatusCode::FORBIDDEN.into_response(),
    }
}

async fn things(State(cloud): State<Cloud>, request: Incoming) -> Answer {
    cloud.reached.fetch_add(1, Ordering::SeqCst);
    tokio::task::yield_now().await;
    if cloud.expired.load(Ordering::SeqCst) == 1 && request.headers()["x-auth-token"] == "token-1" {
        return unauthorized();
    }
    let mut script = cloud.script.lock().unwrap();
    if script.is_empty() { json!({"things": [1]}).to_string().into_response() } else { script.remove(0) }
}

/// Three pages: `good` ends, `round` begins again; links name a host and a path that only the service knows.
async fn pages(Path(list): Path<String>, Query(query): Query<BTreeMap<String, String>>) -> String {
    let page: u32 = query.get("marker").map_or(0, |marker| marker.parse().unwrap());
    assert_eq!(query.get("tag").map(String::as_str), Some("a b"), "the query stays");
    let link = |marker: u32| format!("http://inside:9696/v2.0/{list}?tag=a+b&marker={marker}");
    let mut body = json!({ list.as_str(): [page] });
    match (list.as_str(), page) {
        ("good", 2) => {}
        ("glance", 2) => {}
        ("glance", page) => body["next"] = format!("/v2/glance?tag=a%20b&marker={}", page + 1).into(),
        (_, page) => {
            let next = json!([{"rel": "previous", "href": "x"}, {"rel": "next", "href": link((page + 1) % 3)}]);
            body[format!("{list}_links")] = next;
        }
    }
    body.to_string()
}

fn password() -> Auth {
    let user = User::Name("alice".into(), Domain::Id("default".into()));
    Auth::Password { user, password: SecretString::from(PASSWORD) }
}

fn read() -> Request {
    Request::get(Service::Compute, "/things")
}

fn create() -> Request {
    Request::post(Service::Compute, "/things", json!({"thing": {"admin_pass": PASSWORD}}))
}

/// A connection that breaks after the request.
fn lost() -> Answer {
    let mut answer = StatusCode::OK.into_response();
    answer.extensions_mut().insert(LostAnswer);
    answer
}

#[tokio::test]
async fn a_sign_in_discovers_scopes_and_reads_the_catalog() {
    let cloud = Cloud::default();
    let session = cloud.session(password()).await.unwrap();
    let identity = session.identity();
    assert_eq!(identity.auth_url, "http://cloud.test/identity", "the host is the user's, not the document's");
    assert_eq!((identity.region.as_str(), identity.project_id.as_str(), identity.user_id.as_str()), ("R", "p1", "u1"));
    assert_eq!(
        cloud.bodies.lock().unwrap()[0]["auth"]["scope"],
        json!({"project": {"name": "lab", "domain": {"id": "default"}}})
    );
    assert!(session.has(Service::Network) && !session.has(Service::Reservation));
    let error = session.send(Request::get(Service::Reservation, "/leases")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoService);
    assert_eq!(error.to_string(), "the catalog has no Blazar in R; it has compute, network");
    assert_eq!(session.request_count(), BTreeMap::from([(Service::Identity, 2)]));
    assert!(session.server_time().unwrap() >= "2026-11-22T13:38:17Z".parse().unwrap());
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_for_all() {
    let cloud = Cloud::default();
    let session = cloud.session(password()).await.unwrap();
    cloud.expired.store(1, Ordering::SeqCst);
    let answers = futures_util::future::join_all((0..8).map(|_| session.send(create()))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(cloud.sign_ins.load(Ordering::SeqCst), 2);
    assert_eq!(cloud.reached(), 16);
}

#[tokio::test]
async fn a_token_that_is_refused_for_good_says_who_signed_in() {
    let cloud = Cloud::default();
    let session = cloud.session(password()).await.unwrap();
    cloud.next(unauthorized()).next(unauthorized());
    let error = session.send(read()).await.unwrap_err();
    assert_eq!((error.kind, error.request_id.as_deref()), (ErrorKind::Unauthorized, Some("req-1")));
    assert!(error.hint.unwrap().starts_with("cloud test of clouds.yaml signs in by password as user `"));
}

#[tokio::test]
async fn a_create_is_not_sent_again_once_it_may_have_been_carried_out() {
    for answer in
        [lost(), StatusCode::GATEWAY_TIMEOUT.into_response(), StatusCode::INTERNAL_SERVER_ERROR.into_response()]
    {
        let cloud = Cloud::default();
        let session = cloud.session(password()).await.unwrap();
        cloud.next(answer);
        let error = session.send(create()).await.unwrap_err();
        assert!(error.may_have_happened, "{error}");
        assert_eq!(cloud.reached(), 1, "{error}");
    }
}

#[tokio::test]
async fn what_was_turned_away_or_is_safe_to_repeat_is_sent_again() {
    let cloud = Cloud::default();
    let session = cloud.session(password()).await.unwrap();
    cloud.next(StatusCode::TOO_MANY_REQUESTS).next((StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "9")]));
    session.send(create()).await.unwrap();
    assert_eq!(cloud.reached(), 3);
    cloud.next(lost()).next(StatusCode::BAD_GATEWAY).next(StatusCode::INTERNAL_SERVER_ERROR);
    session.send(read()).await.unwrap();
    assert_eq!(cloud.reached(), 7);
    cloud.next(lost()).next((StatusCode::CONFLICT, r#"{"conflictingRequest": {"message": "it exists"}}"#));
    let error = session.send(create().repeatable()).await.unwrap_err();
    assert!(error.may_have_happened, "the first try may have made what the second ran into");
    assert_eq!(error.to_string(), "Nova answered 409 to POST /things: it exists (tried 2 times)");
}

#[tokio::test]
async fn giving_up_says_how_often_it_was_tried() {
    let cloud = Cloud::default();
    let session = cloud.session(password()).await.unwrap();
    for _ in 0..4 {
        cloud.next((StatusCode::SERVICE_UNAVAILABLE, "<html><h1>503</h1>No server is available</html>"));
    }
    let error = session.send(read()).await.unwrap_err();
    assert_eq!((error.kind, error.may_have_happened), (ErrorKind::Unavailable, false));
    assert_eq!(error.to_string(), "Nova answered 503 to GET /things: No server is available (tried 4 times)");
}

#[tokio::test]
async fn a_redirect_is_an_error_and_not_an_answer() {
    let cloud = Cloud::default();
    let session = cloud.session(password()).await.unwrap();
    cloud.next((StatusCode::MOVED_PERMANENTLY, [("location", "https://other.test/")]));
    let error = session.send(read()).await.unwrap_err();
    assert_eq!(error.message, "redirected to https://other.test/");
}

#[tokio::test]
async fn a_list_that_several_ask_for_in_one_look_is_asked_for_once() {
    let session = Cloud::default().session(password()).await.unwrap();
    let asked = || session.request_count().get(&Service::Network).copied().unwrap_or_default();
    let list = |tag: &str| Request::get(Service::Network, "/good").query("tag", tag);
    let look = session.for_one_look();
    let both = futures_util::future::join(look.list(list("a b"), "good"), look.list(list("a b"), "good")).await;
    assert_eq!((both.0.unwrap(), asked()), (both.1.unwrap(), 3), "three pages, once");
    look.list(list("a b").query("more", "1"), "good").await.unwrap();
    assert_eq!(asked(), 6, "another query is another list");
    session.for_one_look().list(list("a b"), "good").await.unwrap();
    session.list(list("a b"), "good").await.unwrap();
    assert_eq!(asked(), 12, "another look sees what is there by then");
}

#[tokio::test]
async fn lists_follow_their_pages_to_the_end_and_not_in_circles() {
    let session = Cloud::default().session(password()).await.unwrap();
    let list = |name: &'static str| {
        let request = Request::get(Service::Network, format!("/{name}")).query("tag", "a b");
        let session = session.clone();
        async move { session.list(request, name).await }
    };
    assert_eq!(list("good").await.unwrap(), [json!(0), json!(1), json!(2)]);
    assert_eq!(list("glance").await.unwrap(), [json!(0), json!(1), json!(2)]);
    let error = list("round").await.unwrap_err();
    assert!(error.message.contains("come round again"), "{error}");
    let error = session.list(read(), "others").await.unwrap_err();
    assert_eq!(error.message, "there is no list `others` in the answer");
}

fn oidc(password: &str) -> Auth {
    Auth::OidcPassword {
        federation: chameleon(),
        client: Box::new(OidcClient {
            discovery_endpoint: Some(Url::parse("http://oidc.test/oidc/.well-known/openid-configuration").unwrap()),
            token_endpoint: None,
            id: "cli".into(),
            secret: Some("none".into()),
            scope: "openid profile".into(),
        }),
        username: "alice".into(),
        password: password.to_owned().into(),
    }
}

fn chameleon() -> Federation {
    Federation { identity_provider: "chameleon".into(), protocol: "openid".into() }
}

#[tokio::test]
async fn a_federated_password_becomes_a_token_for_the_project() {
    let cloud = Cloud::default();
    let session = cloud.session(oidc(PASSWORD)).await.unwrap();
    assert_eq!(session.identity().project_name, "lab");
    assert_eq!(cloud.bodies.lock().unwrap()[0]["auth"]["identity"]["token"], json!({"id": "unscoped"}));
    let error = cloud.session(oidc("wrong")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert_eq!(error.to_string(), "the identity provider oidc.test answered 401: Invalid user credentials");
}

#[tokio::test]
async fn a_stale_access_token_is_exchanged_at_the_hub() {
    let cloud = Cloud::default();
    let stale = |hub| Auth::OidcAccessToken { federation: chameleon(), token: "stale".into(), hub };
    let hub = TokenHub { url: Url::parse("http://hub.test/hub/tokens").unwrap(), token: "hub".into() };
    assert!(cloud.session(stale(Some(hub))).await.is_ok());
    let error = cloud.session(stale(None)).await.unwrap_err();
    assert!(error.hint.unwrap().contains("v3oidcaccesstoken"));
}

#[tokio::test]
async fn no_secret_is_in_what_may_be_printed() {
    let cloud = Cloud::default();
    let session = cloud.session(password()).await.unwrap();
    cloud.next(StatusCode::BAD_REQUEST);
    let error = session.send(create()).await.unwrap_err();
    let response = session.send(create()).await.unwrap();
    let wrong = cloud.session(oidc("wrong")).await.unwrap_err();
    let printed = format!("{session:?} {error:?} {error} {response:?} {:?} {:?} {wrong:?}", create(), password());
    for secret in [PASSWORD, "token-1", "wrong\""] {
        assert!(!printed.contains(secret), "{secret} is in {printed}");
    }
}
