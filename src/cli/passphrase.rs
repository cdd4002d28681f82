//! Asks for the passphrase of a private key, where somebody can answer.

use std::io::IsTerminal;
use std::sync::Arc;

use console::Term;

use crate::ssh::PassphrasePrompt;

/// The prompt; none without a terminal, and a key with a passphrase is then an error that says so.
pub fn prompt() -> Option<PassphrasePrompt> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    Some(Arc::new(|path, tries| {
        let term = Term::stderr();
        let again = if tries > 1 { "That was not it. " } else { "" };
        term.write_str(&format!("{again}Passphrase of {}: ", path.display())).ok()?;
        let answer = term.read_secure_line().ok()?;
        (!answer.is_empty()).then(|| answer.into())
    }))
}
