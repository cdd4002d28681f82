//! The fast suite: the language, and what the commands do, through the binary on the embedded cloud.

mod environment;
mod site;

mod language;
mod lifecycle;
mod recovery;
mod sharing;
