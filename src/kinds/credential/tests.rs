//! EC2 credentials against a Keystone of a few lines, in process.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use secrecy::SecretString;
use serde_json::json;
use url::Url;

use super::ec2::Ec2Credential;
use crate::cloud::config::{Auth, CloudConfig, Domain, Scope, User};
use crate::cloud::{Session, SessionOptions, Transport, keystone};
use crate::kinds::kind::{CloudKind, Kind};
use crate::model::{Fields, Json, RemoteId, Value};

type Keys = Arc<Mutex<Vec<Json>>>;

fn pair(access: &str, project: &str) -> Json {
    json!({"access": access, "secret": format!("secret-of-{access}"), "tenant_id": project, "user_id": "u1", "trust_id": null})
}

async fn sign_in() -> Response {
    let endpoint = json!([{"interface": "public", "region_id": "R", "url": "https://h:7480/swift/v1/AUTH_p1"}]);
    let body = json!({"token": {
        "user": {"id": "u1", "name": "alice"}, "project": {"id": "p1", "name": "lab"},
        "application_credential": {"id": "a1", "name": "a", "restricted": true},
        "catalog": [{"type": "object-store", "endpoints": endpoint}]}});
    (StatusCode::CREATED, [("x-subject-token", "token")], body.to_string()).into_response()
}

async fn all(State(keys): State<Keys>) -> String {
    json!({"credentials": *keys.lock().unwrap()}).to_string()
}

async fn make(State(keys): State<Keys>, axum::Json(body): axum::Json<Json>) -> Response {
    let made = pair("new", body["tenant_id"].as_str().unwrap());
    keys.lock().unwrap().push(made.clone());
    (StatusCode::CREATED, json!({"credential": made}).to_string()).into_response()
}

async fn one(State(keys): State<Keys>, Path(access): Path<String>) -> Response {
    match keys.lock().unwrap().iter().find(|pair| pair["access"] == *access) {
        Some(found) => json!({"credential": found}).to_string().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn session(keys: &Keys) -> Session {
    let versions =
        json!({"versions": {"values": [{"id": "v3.14", "links": [{"rel": "self", "href": "http://k/v3/"}]}]}});
    let ec2 = "/identity/v3/users/u1/credentials/OS-EC2";
    let router = Router::new()
        .route("/identity", get(|| async move { versions.to_string() }))
        .route("/identity/v3/auth/tokens", post(sign_in))
        .route(ec2, get(all).post(make))
        .route(&format!("{ec2}/{{access}}"), get(one))
        .with_state(keys.clone());
    let domain = || Domain::Id("default".to_owned());
    let auth =
        Auth::Password { user: User::Name("alice".to_owned(), domain()), password: SecretString::from("hunter2") };
    let url = Url::parse("http://cloud.test/identity").unwrap();
    let config = CloudConfig::new("a test", url, auth, Scope::ProjectName("lab".to_owned(), domain()));
    Session::connect(config, Transport::InProcess(router), SessionOptions::default()).await.unwrap()
}

#[tokio::test]
async fn ec2_keys_are_the_projects_own_and_shown_by_keystone_alone() {
    let keys: Keys = Arc::new(Mutex::new(vec![pair("mine", "p1"), pair("other", "p2")]));
    let session = session(&keys).await;
    assert!(session.is_restricted());
    let before = Ec2Credential.list(&session).await.unwrap();
    assert_eq!(before.iter().map(|seen| seen.id.0.as_str()).collect::<Vec<_>>(), ["mine"]);
    let made = keystone::create_ec2(&session).await.unwrap();
    assert!(!format!("{made:?}").contains("secret-of"));
    let seen = Ec2Credential.read(&session, &RemoteId::from("new")).await.unwrap().unwrap();
    assert_eq!(seen.attrs["secret_key"].expose(), Some("secret-of-new"));
    assert_eq!(seen.attrs["endpoint"], Value::text("https://h:7480"));
    assert_eq!(seen.attrs["auth_url"], Value::text("http://cloud.test/identity/v3"));
    assert!(!format!("{seen:?}").contains("secret-of"), "{seen:?}");
    // It has no name: what an interrupted create made is the one that was not there.
    assert_eq!(Ec2Credential.unstamped_match(&Fields::new(), &seen), Some(true));
    assert!(Ec2Credential.has_twins());
    assert_eq!(Ec2Credential.read(&session, &RemoteId::from("gone")).await.unwrap(), None);
}
