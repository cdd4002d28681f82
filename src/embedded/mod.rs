//! stub
#![allow(missing_docs, clippy::all)]
use std::path::Path;
#[derive(Debug, thiserror::Error)]
#[error("no embedded")]
pub struct Error;
pub struct Profile;
impl std::str::FromStr for Profile { type Err = Error; fn from_str(_: &str) -> Result<Self, Error> { Err(Error) } }
pub enum ClockMode { Real { scale: f64 } }
pub struct Options { pub profile: Profile, pub clock: ClockMode }
pub struct Cloud;
impl Cloud { pub fn open(_: &Path, _: Options) -> Result<Cloud, Error> { Err(Error) } pub fn router(&self) -> axum::Router { axum::Router::new() } }
impl Cloud { pub fn clouds_yaml(&self, _: &str) -> String { String::new() } }
pub async fn serve(_: Cloud, _: tokio::net::TcpListener, _: impl Future<Output=()> + Send + 'static) -> Result<(), Error> { Err(Error) }
