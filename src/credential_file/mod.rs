//! Files that programs read credentials from: their text, and how a credential's part of it is put in and taken out.
//!
//! In: the text of a file as it is, and a [`Section`]. Out: the text as it is to be. Pure; whoever reads and writes the
//! file is elsewhere.
//!
//! Invariants:
//! - What is not the section's survives byte for byte: other sections, comments, blank lines.
//! - Putting a section that is there already changes nothing.
//! - What somebody else put in a section's place is told ([`Section::taken`]), so that nobody takes it for the section's own.
//! - A text that is not understood well enough to be sure of that is refused, never written anew.

use std::fmt;

mod clouds;
mod ini;
mod lines;
mod manifest;
mod render;
#[cfg(test)]
mod tests;

pub use render::{Keys, render};

/// What a credential is in a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Section {
    /// `[name]` of an INI file, with these settings; others that somebody added to it stay.
    Ini {
        /// What stands in the brackets.
        name: String,
        /// The settings, in order.
        settings: Vec<(String, String)>,
    },
    /// Lines that begin with these texts (`export OS_AUTH_URL=`), each with what follows.
    Lines(Vec<(String, String)>),
    /// An entry of `clouds:` in a `clouds.yaml`.
    Cloud {
        /// The entry's name.
        name: String,
        /// The entry's lines, indented below its name by two blanks for each level.
        body: Vec<String>,
    },
    /// A document of a file of Kubernetes manifests.
    Manifest {
        /// Its name.
        name: String,
        /// Its namespace, if it says one.
        namespace: Option<String>,
        /// The document, without the line that parts it from others.
        body: String,
    },
}

/// Without the settings, which are secrets.
impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ini { name, .. } => write!(f, "Ini({name})"),
            Self::Lines(lines) => f.debug_list().entries(lines.iter().map(|(start, _)| start)).finish(),
            Self::Cloud { name, .. } => write!(f, "Cloud({name})"),
            Self::Manifest { name, .. } => write!(f, "Manifest({name})"),
        }
    }
}

/// Why a text is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unmergeable(pub &'static str);

impl Section {
    /// The text with this section in it.
    ///
    /// # Errors
    /// When the text is not of the form that it should be.
    pub fn put(&self, text: &str) -> Result<String, Unmergeable> {
        self.put_over(text, &[])
    }

    /// The text with this section in it, and without the settings or lines that were its own before, and are not any more.
    ///
    /// # Errors
    /// When the text is not of the form that it should be.
    pub fn put_over(&self, text: &str, before: &[String]) -> Result<String, Unmergeable> {
        match self {
            Self::Ini { name, settings } => Ok(ini::put(text, name, settings, before)),
            Self::Lines(lines) => Ok(lines::put(text, lines, before)),
            Self::Cloud { name, body } => clouds::put(text, name, body),
            Self::Manifest { name, namespace, body } => manifest::put(text, (name, namespace.as_deref()), body),
        }
    }

    /// The text without this section.
    ///
    /// # Errors
    /// When the text is not of the form that it should be.
    pub fn take_out(&self, text: &str) -> Result<String, Unmergeable> {
        match self {
            Self::Ini { name, .. } => Ok(ini::take_out(text, name)),
            Self::Lines(lines) => Ok(lines::take_out(text, lines)),
            Self::Cloud { name, .. } => clouds::take_out(text, name),
            Self::Manifest { name, namespace, .. } => manifest::take_out(text, (name, namespace.as_deref())),
        }
    }

    /// The settings, or the beginnings of the lines, that are its own.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        match self {
            Self::Ini { settings: own, .. } | Self::Lines(own) => own.iter().map(|(key, _)| key.clone()).collect(),
            Self::Cloud { .. } | Self::Manifest { .. } => Vec::new(),
        }
    }

    /// What it has of a file for itself, in words: each of these can be one's only.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        match self {
            Self::Ini { name, .. } => vec![format!("`[{name}]`")],
            Self::Lines(lines) => lines.iter().map(|(start, _)| lines::place(start)).collect(),
            Self::Cloud { name, .. } => vec![format!("the entry `{name}`")],
            Self::Manifest { name, namespace: None, .. } => vec![format!("the Secret `{name}`")],
            Self::Manifest { name, namespace: Some(space), .. } => vec![format!("the Secret `{space}/{name}`")],
        }
    }

    /// What stands in its place in the text and is not as it would be put there: somebody else's. `before` are the keys that
    /// it had when it was put there before, if it was: then a section is its own, and a line that it had not is not.
    ///
    /// # Errors
    /// When the text is not of the form that it should be.
    pub fn taken(&self, text: &str, before: Option<&[String]>) -> Result<Option<String>, Unmergeable> {
        let is_taken = match self {
            Self::Lines(lines) => {
                let is_new = |start: &String| before.is_none_or(|before| !before.contains(start));
                let mut new = lines.iter().filter(|(start, _)| is_new(start));
                return Ok(new.find(|line| lines::is_taken(text, line)).map(|(start, _)| lines::place(start)));
            }
            _ if before.is_some() => false,
            Self::Ini { name, settings } => ini::is_taken(text, name, settings),
            Self::Cloud { name, body } => clouds::is_taken(text, name, body)?,
            Self::Manifest { name, namespace, body } => manifest::is_taken(text, (name, namespace.as_deref()), body)?,
        };
        Ok(self.places().into_iter().next().filter(|_| is_taken))
    }

    /// Whether the text has the section as it is to be.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.put(text).is_ok_and(|put| put == text)
    }
}

/// The lines of a text, each with its end.
fn lines_of(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// The text, with an end to its last line.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// The text with a block behind it, a blank line between.
fn appended(text: &str, block: &str) -> String {
    let mut text = ended(text);
    if !text.is_empty() && !text.ends_with("\n\n") && text != "\n" {
        text.push('\n');
    }
    text + block
}
