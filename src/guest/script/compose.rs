//! Containers by Docker Compose: its file is written to the script's folder, and a program of ours calls it.

use crate::guest::shell::quoted;
use crate::guest::{Guest, GuestError};

const UP_OR_DOWN: &str = include_str!("compose.sh");

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Started, or made as the file says by now.
    Up,
    /// Stopped and removed; volumes stay.
    Down,
}

/// Writes the file, and gives the program that starts or stops what it says.
pub(super) async fn program(
    guest: &Guest,
    folder: &str,
    (file, project): (&str, &str),
    way: Way,
) -> Result<String, GuestError> {
    let path = format!("{folder}/compose.yaml");
    guest.ssh().files().await?.write(&path, file.as_bytes(), 0o600).await?;
    Ok(text(&path, project, way))
}

/// The program.
fn text(path: &str, project: &str, way: Way) -> String {
    let way = if way == Way::Up { "up" } else { "down" };
    format!("way={way}\nproject={}\nfile=\"$HOME\"/{}\n{UP_OR_DOWN}", quoted(project), quoted(path))
}
