//! Glance: images, which are looked up and never made.
//!
//! In: a signed-in [`Session`]. Out: of each image only what the kinds use.

use serde::Deserialize;

use super::shapes::{found, items, segment};
use super::{CloudError, Request, Service, Session};

/// An image.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Its name; names are not unique.
    pub name: Option<String>,
    /// `active`, `queued`, …
    #[serde(default)]
    pub status: String,
    /// Who owns it.
    pub owner: Option<String>,
    /// When it was made.
    pub created_at: Option<String>,
    /// The smallest root disk it fits, in GiB.
    #[serde(default)]
    pub min_disk: i64,
}

/// All images that the project may use and that are not hidden.
///
/// # Errors
/// Those of the request.
pub async fn images(session: &Session) -> Result<Vec<Image>, CloudError> {
    items(session, Request::get(Service::Image, "/images"), "images").await
}

/// The images of that name.
///
/// # Errors
/// Those of the request.
pub async fn named(session: &Session, name: &str) -> Result<Vec<Image>, CloudError> {
    // Glance reads `in:`, `eq:` and their like as operators; in a quoted list of one, any text is a name.
    let filter = if name.contains(':') { format!("in:\"{}\"", name.replace('"', "")) } else { name.to_owned() };
    items(session, Request::get(Service::Image, "/images").query("name", filter), "images").await
}

/// One image, if the project may use it. It is found by its id even where it is hidden.
///
/// # Errors
/// Those of the request.
pub async fn image(session: &Session, id: &str) -> Result<Option<Image>, CloudError> {
    // Glance answers with the bare image, not with a member that holds it.
    let path = format!("/images/{}", segment(id));
    let answer = session.send(Request::get(Service::Image, path)).await.map(|mut response| {
        response.body = serde_json::json!({ "image": response.body });
        response
    });
    found(answer, "image")
}
