//! The colours of every output, as plain data, so that rendering stays pure.
//!
//! In: whether a stream takes colours. Out: one [`Style`] for each meaning. Invariant: a [`Styles::plain`] text holds
//! no escape sequence, and text from outside never brings any of its own ([`printable`]).

use std::borrow::Cow;
use std::fmt;

use anstyle::{AnsiColor, Style};

use crate::plan::Verb;

/// A style for each meaning.
#[derive(Debug, Clone, Copy)]
pub struct Styles {
    /// Whether there are colours at all.
    pub coloured: bool,
    /// What is made, or done.
    pub create: Style,
    /// What is changed in place.
    pub update: Style,
    /// What is made again.
    pub replace: Style,
    /// What is deleted.
    pub delete: Style,
    /// What is kept, recorded or waited for.
    pub quiet: Style,
    /// What matters.
    pub strong: Style,
    /// What is lost for good, and errors.
    pub alarm: Style,
    /// What is worth a look.
    pub warning: Style,
    /// What to do next.
    pub hint: Style,
    /// The changed words of a removed line.
    pub removed_word: Style,
    /// The changed words of an added line.
    pub added_word: Style,
}

impl Styles {
    /// No colours.
    #[must_use]
    pub const fn plain() -> Self {
        let none = Style::new();
        Self {
            coloured: false,
            create: none,
            update: none,
            replace: none,
            delete: none,
            quiet: none,
            strong: none,
            alarm: none,
            warning: none,
            hint: none,
            removed_word: none,
            added_word: none,
        }
    }

    /// The sixteen colours that every terminal has a theme for.
    #[must_use]
    pub const fn coloured() -> Self {
        Self {
            coloured: true,
            create: AnsiColor::Green.on_default(),
            update: AnsiColor::Yellow.on_default(),
            replace: AnsiColor::Magenta.on_default(),
            delete: AnsiColor::Red.on_default(),
            quiet: Style::new().dimmed(),
            strong: Style::new().bold(),
            alarm: AnsiColor::Red.on_default().bold(),
            warning: AnsiColor::Yellow.on_default().bold(),
            hint: AnsiColor::Cyan.on_default(),
            removed_word: AnsiColor::Red.on_default().bold().underline(),
            added_word: AnsiColor::Green.on_default().bold().underline(),
        }
    }

    /// Coloured or plain.
    #[must_use]
    pub const fn new(coloured: bool) -> Self {
        if coloured { Self::coloured() } else { Self::plain() }
    }

    /// The style of a verb's sign.
    #[must_use]
    pub fn verb(&self, verb: Verb) -> Style {
        match verb {
            Verb::Create => self.create,
            Verb::Update => self.update,
            Verb::Replace => self.replace,
            Verb::Delete => self.delete,
            Verb::Adopt | Verb::Release | Verb::Forget | Verb::Record | Verb::Await => self.hint,
            Verb::Keep | Verb::Hold => self.quiet,
        }
    }
}

/// A text in a style.
#[must_use]
pub fn paint(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The text with its control characters and direction overrides written out, so that what a service or a stranger's
/// object is called cannot steer the terminal. Line ends and tabs stay.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\nc\\u{202e}d");
        assert_eq!(paint(Styles::plain().alarm, "x"), "x");
    }
}
