//! The AWS tools' file of keys, as far as it says which keys a profile has.
//!
//! In: the file's text. Out: secrets. Invariant: nothing that is said of a profile repeats a key.

use std::path::Path;

use super::Files;
use crate::diagnostic::{Diagnostic, Span};
use crate::model::{Fields, Secret, Value};
use crate::suggest;

/// Where it is, unless the environment says otherwise.
pub const FILE: &str = "~/.aws/credentials";

/// The variable of the environment that names another file.
pub const FILE_VARIABLE: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// A profile's settings that are keys: what they are called in the file and here.
const KEYS: [(&str, &str, bool); 3] = [
    ("aws_access_key_id", "access_key", true),
    ("aws_secret_access_key", "secret_key", true),
    ("aws_session_token", "session_token", false),
];

/// Why a profile gives no keys: "the file has …".
#[derive(Debug, PartialEq, Eq)]
struct NoKeys {
    message: String,
    help: String,
}

/// The keys of a profile of that file.
///
/// # Errors
/// When the file cannot be read, has no such profile, or that holds no keys.
pub fn read(files: &dyn Files, path: &Path, profile: &str, span: Span) -> Result<Fields, Diagnostic> {
    let text = files.read(path).map_err(|why| {
        let text = format!("{} cannot be read: {why}", path.display());
        Diagnostic::error("unreadable-file", span, text).help(format!("{FILE_VARIABLE} names another file"))
    })?;
    keys(&text, profile).map_err(|why| {
        let text = format!("{} has {}", path.display(), why.message);
        Diagnostic::error("no-such-profile", span, text).help(why.help)
    })
}

/// The keys of a profile.
fn keys(text: &str, profile: &str) -> Result<Fields, NoKeys> {
    let mut names = Vec::new();
    let (mut inside, mut is_there) = (false, false);
    let mut keys = Fields::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = name.trim() == profile;
            is_there |= inside;
            names.push(name.trim());
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside && !line.starts_with(['#', ';'])) {
            let known = KEYS.iter().find(|(name, ..)| key.trim().eq_ignore_ascii_case(name));
            if let Some((_, ours, _)) = known.filter(|_| !value.trim().is_empty()) {
                let secret = Secret::new(format!("profile.{profile}.{ours}"), value.trim().to_owned());
                keys.insert((*ours).to_owned(), Value::Secret(secret));
            }
        }
    }
    if !is_there {
        let near = suggest::did_you_mean(profile, names.iter().copied());
        let all = || match names.is_empty() {
            true => "it has no profile; `aws configure --profile NAME` makes one".to_owned(),
            false => format!("it has `{}`", names.join("`, `")),
        };
        return Err(NoKeys { message: format!("no profile `{profile}`"), help: near.unwrap_or_else(all) });
    }
    match KEYS.iter().find(|(_, ours, required)| *required && !keys.contains_key(*ours)) {
        Some((name, ..)) => Err(NoKeys {
            message: format!("a profile `{profile}` without `{name}`"),
            help: "only profiles that hold their keys themselves are read".to_owned(),
        }),
        None => Ok(keys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[default]\naws_access_key_id = AK\naws_secret_access_key=SK=/+\n\n; a comment\n[ibm]\n\
                        AWS_ACCESS_KEY_ID = IK\n# aws_secret_access_key = no\n[lent]\naws_access_key_id=LK\n\
                        aws_secret_access_key=LS\naws_session_token = T\n";

    fn told(profile: &str) -> Vec<(String, String)> {
        let keys = keys(FILE, profile).unwrap();
        keys.into_iter().map(|(name, value)| (name, value.expose().unwrap().to_owned())).collect()
    }

    #[test]
    fn a_profile_holds_keys_and_no_other_has_them() {
        let pairs = |list: &[(&str, &str)]| {
            list.iter().map(|(name, key)| ((*name).to_owned(), (*key).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(told("default"), pairs(&[("access_key", "AK"), ("secret_key", "SK=/+")]));
        assert_eq!(told("lent"), pairs(&[("access_key", "LK"), ("secret_key", "LS"), ("session_token", "T")]));
    }

    #[test]
    fn what_is_missing_is_told() {
        let why = |profile: &str| keys(FILE, profile).map(|_| ()).unwrap_err();
        assert_eq!(why("ibm").message, "a profile `ibm` without `aws_secret_access_key`");
        assert_eq!(why("imb").help, "did you mean `ibm`?");
        assert_eq!(why("production").help, "it has `default`, `ibm`, `lent`");
        assert!(!format!("{:?}", why("ibm")).contains("IK"));
    }
}
