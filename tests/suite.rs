//! The fast suite: the language, and what the commands do.

mod language;
