//! A file's bytes → its text, or what is wrong with them.
//!
//! In: bytes. Out: UTF-8 text without byte order mark, and the places that keep it from being read as YAML.
//! Invariant: there is always a text to show, so that every mistake has a place.

use crate::diagnostic::{Diagnostic, FileId, Span};

/// A file's text and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The text, for people where `mistake` is set.
    pub text: String,
    /// Why the text cannot be read.
    pub mistake: Option<Mistake>,
}

/// Why bytes are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// UTF-16, or UTF-32.
    Utf16,
    /// Not UTF-8 from that byte of the file on; the text is shown from there with U+FFFD.
    NotUtf8 {
        /// The byte in the file.
        byte: usize,
        /// The byte in the text.
        at: usize,
    },
    /// A control character that YAML does not allow.
    Control {
        /// The character.
        character: char,
        /// The byte in the text.
        at: usize,
    },
}

/// Reads bytes as UTF-8, byte order mark or not.
#[must_use]
pub fn decode(bytes: Vec<u8>) -> Decoded {
    if let [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] = bytes[..] {
        return Decoded { text: utf16(&bytes), mistake: Some(Mistake::Utf16) };
    }
    let mark = if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) { 3 } else { 0 };
    let text = match String::from_utf8(bytes) {
        Ok(mut text) => {
            text.drain(..mark);
            text
        }
        Err(error) => {
            let byte = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[mark..]).into_owned();
            return Decoded { text, mistake: Some(Mistake::NotUtf8 { byte, at: byte - mark }) };
        }
    };
    let mistake = text
        .char_indices()
        .find(|&(_, character)| is_forbidden(character))
        .map(|(at, character)| Mistake::Control { character, at });
    Decoded { text, mistake }
}

/// Control characters outside YAML 1.2's `c-printable`.
fn is_forbidden(character: char) -> bool {
    matches!(character, '\0'..='\x08' | '\x0B' | '\x0C' | '\x0E'..='\x1F' | '\x7F'..='\u{84}' | '\u{86}'..='\u{9F}')
}

fn utf16(bytes: &[u8]) -> String {
    let little = bytes[0] == 0xFF;
    let units = bytes[2..].chunks_exact(2).map(|pair| {
        let pair = [pair[0], pair[1]];
        if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
    });
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

impl Mistake {
    /// The mistake as a diagnostic about a file that holds [`Decoded::text`].
    #[must_use]
    pub fn diagnostic(self, file: FileId) -> Diagnostic {
        let span = |at: usize, width: usize| {
            let start = u32::try_from(at).unwrap_or(u32::MAX);
            Span { file, start, end: start.saturating_add(u32::try_from(width).unwrap_or(0)) }
        };
        match self {
            Self::Utf16 => Diagnostic::error("not-utf8", span(0, 0), "the file is UTF-16, and a spec is UTF-8")
                .help("save it as UTF-8: `iconv -f UTF-16 -t UTF-8 FILE`"),
            Self::NotUtf8 { byte, at } => Diagnostic::error(
                "not-utf8",
                span(at, char::REPLACEMENT_CHARACTER.len_utf8()),
                format!("the file is not UTF-8: byte {byte} does not belong"),
            )
            .help("save it as UTF-8; if it was Latin-1, `iconv -f LATIN1 -t UTF-8 FILE`"),
            Self::Control { character, at } => {
                let message = format!("the control character U+{:04X} may not stand in YAML", u32::from(character));
                let help = match character {
                    '\0' => "NUL bytes come from binary files and from UTF-16 without a mark; a spec is UTF-8 text",
                    _ => "remove it, or write it as an escape such as \"\\x1b\" in a double-quoted text",
                };
                Diagnostic::error("control-character", span(at, character.len_utf8()), message).help(help)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_text() {
        assert_eq!(decode(b"\xEF\xBB\xBFstack: a".to_vec()), Decoded { text: "stack: a".into(), mistake: None });
    }

    #[test]
    fn bytes_that_are_no_text_are_told_by_their_offset() {
        let decoded = decode(b"\xEF\xBB\xBFa: caf\xE9\n".to_vec());
        assert_eq!(decoded.mistake, Some(Mistake::NotUtf8 { byte: 9, at: 6 }));
        assert_eq!(decoded.text, "a: caf\u{FFFD}\n");
    }

    #[test]
    fn utf16_and_control_characters_are_named() {
        let utf16: Vec<u8> = [0xFEFF].into_iter().chain("a: b".encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(utf16), Decoded { text: "a: b".into(), mistake: Some(Mistake::Utf16) });
        assert_eq!(decode(b"a: \0".to_vec()).mistake, Some(Mistake::Control { character: '\0', at: 3 }));
        assert_eq!(decode("a: \u{85}\t\r\n".into()).mistake, None);
    }
}
