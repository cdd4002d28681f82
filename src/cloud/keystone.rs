//! Keystone's credentials: those of applications, and EC2's pairs of keys.
//!
//! Both are the signed-in user's own. A restricted application credential reads them and may not make or delete any.

use serde::Deserialize;
use serde_json::json;

use super::shapes::{deleted, found, items, segment};
use super::{CloudError, Request, Service, Session};
use crate::model::Json;

/// An application credential. Keystone shows its secret only in the answer that made it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApplicationCredential {
    /// Its id.
    pub id: String,
    /// Its name, which is the user's alone.
    pub name: String,
    /// What its maker wrote.
    #[serde(default)]
    pub description: Option<String>,
    /// The project that it opens.
    #[serde(default)]
    pub project_id: String,
    /// When it ends, in UTC without an offset.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// Whether it may make and delete credentials itself.
    #[serde(default)]
    pub unrestricted: Option<bool>,
}

/// An EC2 credential.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Ec2 {
    /// The access key, which is its id.
    pub access: String,
    /// The key itself.
    pub secret: String,
    /// The project that it opens.
    pub tenant_id: String,
    /// Whose it is.
    pub user_id: String,
}

/// Without the key.
impl std::fmt::Debug for Ec2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ec2").field("access", &self.access).field("tenant_id", &self.tenant_id).finish_non_exhaustive()
    }
}

fn applications(session: &Session) -> String {
    format!("/users/{}/application_credentials", segment(&session.identity().user_id))
}

fn ec2(session: &Session) -> String {
    format!("/users/{}/credentials/OS-EC2", segment(&session.identity().user_id))
}

/// All application credentials of the user, whatever their project.
///
/// # Errors
/// Those of the request.
pub async fn application_credentials(session: &Session) -> Result<Vec<ApplicationCredential>, CloudError> {
    items(session, Request::get(Service::Identity, applications(session)), "application_credentials").await
}

/// One application credential of the user.
///
/// # Errors
/// Those of the request.
pub async fn application_credential(session: &Session, id: &str) -> Result<Option<ApplicationCredential>, CloudError> {
    let path = format!("{}/{}", applications(session), segment(id));
    found(session.send(Request::get(Service::Identity, path)).await, "application_credential")
}

/// Makes an application credential, for the project that is signed in to.
///
/// # Errors
/// Those of the request; [`super::ErrorKind::Conflict`] where the user has one of that name.
pub async fn create_application_credential(
    session: &Session,
    body: &Json,
) -> Result<ApplicationCredential, CloudError> {
    let body = json!({ "application_credential": body });
    session.send(Request::post(Service::Identity, applications(session), body)).await?.member("application_credential")
}

/// Deletes an application credential; one that is gone is no error.
///
/// # Errors
/// Those of the request.
pub async fn delete_application_credential(session: &Session, id: &str) -> Result<(), CloudError> {
    let path = format!("{}/{}", applications(session), segment(id));
    deleted(session.send(Request::delete(Service::Identity, path)).await)
}

/// The EC2 credentials of the user in the project.
///
/// # Errors
/// Those of the request.
pub async fn ec2_credentials(session: &Session) -> Result<Vec<Ec2>, CloudError> {
    let all: Vec<Ec2> = items(session, Request::get(Service::Identity, ec2(session)), "credentials").await?;
    Ok(all.into_iter().filter(|credential| credential.tenant_id == session.identity().project_id).collect())
}

/// One EC2 credential of the user, by its access key.
///
/// # Errors
/// Those of the request.
pub async fn ec2_credential(session: &Session, access: &str) -> Result<Option<Ec2>, CloudError> {
    let path = format!("{}/{}", ec2(session), segment(access));
    found(session.send(Request::get(Service::Identity, path)).await, "credential")
}

/// Makes an EC2 credential for the project that is signed in to.
///
/// # Errors
/// Those of the request.
pub async fn create_ec2(session: &Session) -> Result<Ec2, CloudError> {
    let body = json!({ "tenant_id": session.identity().project_id });
    session.send(Request::post(Service::Identity, ec2(session), body)).await?.member("credential")
}

/// Deletes an EC2 credential; one that is gone is no error.
///
/// # Errors
/// Those of the request.
pub async fn delete_ec2(session: &Session, access: &str) -> Result<(), CloudError> {
    let path = format!("{}/{}", ec2(session), segment(access));
    deleted(session.send(Request::delete(Service::Identity, path)).await)
}
