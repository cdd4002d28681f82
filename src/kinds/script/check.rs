//! What a script cannot be, beyond what the types of its fields say.

use crate::guest::script::Url;
use crate::kinds::kind::Mistake;
use crate::model::{Fields, Value};

/// Names of shells' own variables, which they do not let anybody set.
const NOT_SET: &[&str] = &["UID", "EUID", "GROUPS", "PPID", "BASHOPTS", "BASH_VERSINFO", "SHELLOPTS", "FUNCNAME"];
/// What Linux takes as one text of a program's environment.
const LONGEST: usize = 120 << 10;

/// Brings the fields to canonical form, and reports mistakes.
pub(super) fn check(fields: &mut Fields, mistakes: &mut Vec<Mistake>) {
    // Nothing in it is the same as not being there.
    for field in ["uses", "env", "files", "triggers"] {
        let is_empty = match fields.get(field) {
            Some(Value::List(items)) => items.is_empty(),
            Some(Value::Map(entries)) => entries.is_empty(),
            _ => false,
        };
        if is_empty {
            fields.remove(field);
        }
    }
    let mut found = Found(mistakes);
    what_runs(fields, &mut found);
    texts(fields, &mut found);
    if let Some(Value::Map(env)) = fields.get("env") {
        environment(env, &mut found);
    }
    if let Some(Value::List(files)) = fields.get("files") {
        files.iter().filter_map(Value::as_map).for_each(|file| copied(file, &mut found));
    }
    if let Some(Value::Map(wait)) = fields.get_mut("wait_for") {
        waited_for(wait, &mut found);
    }
    if let Some(path) = fields.get("creates").and_then(Value::as_str) {
        place("creates", path, &mut found);
    }
}

struct Found<'a>(&'a mut Vec<Mistake>);

impl Found<'_> {
    fn push(&mut self, field: &'static str, message: impl Into<String>, help: &str) {
        self.0.push(Mistake { field, message: message.into(), help: Some(help.to_owned()) });
    }
}

fn what_runs(fields: &Fields, found: &mut Found<'_>) {
    let ways: Vec<&'static str> =
        ["run", "run_file", "compose"].into_iter().filter(|field| fields.contains_key(*field)).collect();
    match ways.as_slice() {
        [] if !fields.contains_key("files") => {
            found.push("server", "nothing is run", "say `run`, `run_file`, `compose`, or `files` to be copied");
        }
        [] => {
            for field in ["stop", "creates", "env"] {
                if fields.contains_key(field) {
                    found.push(
                        field,
                        format!("`{field}` is of what runs, and nothing does"),
                        "add `run`, or leave it out",
                    );
                }
            }
        }
        [_, second, ..] => {
            let text = format!("`{}` and `{second}` exclude each other", ways[0]);
            found.push(second, text, "write two scripts, the second with `depends_on`");
        }
        ["compose"] if fields.contains_key("stop") => {
            found.push("stop", "`compose` is stopped by `down`", "leave `stop` out");
        }
        _ => {}
    }
}

fn texts(fields: &Fields, found: &mut Found<'_>) {
    for field in ["run", "run_file", "stop"] {
        let Some(text) = fields.get(field).and_then(Value::as_str) else { continue };
        if text.trim().is_empty() {
            found.push(field, format!("`{field}` is empty"), "write what is to be run");
        }
        if text.contains('\0') {
            found.push(field, format!("`{field}` is no text: it holds a zero byte"), "copy programs with `files`");
        }
        // In a shell this is a mistake too: no variable's name has a dot.
        if text.contains("${var.") {
            let text = format!("nothing is put into `{field}`: `${{var.…}}` reaches the shell as it stands");
            found.push(field, text, "give the value by `env`, and write `$NAME`");
        }
    }
}

fn environment(env: &Fields, found: &mut Found<'_>) {
    for (name, value) in env {
        let mut letters = name.chars();
        let is_name = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            found.push("env", format!("`{name}` is no variable's name"), "letters, digits and `_`, no digit first");
        } else if NOT_SET.contains(&name.as_str()) {
            found.push("env", format!("`{name}` is the shell's own and cannot be set"), "choose another name");
        }
        if let Some(text) = value.expose() {
            if text.contains('\0') {
                found.push("env", format!("`{name}` holds a zero byte"), "copy what is no text with `files`");
            } else if text.len() > LONGEST {
                let text = format!("`{name}` has {} bytes; {LONGEST} is the most of one variable", text.len());
                found.push("env", text, "copy it with `files`");
            }
        }
    }
}

fn copied(file: &Fields, found: &mut Found<'_>) {
    if let Some(path) = file.get("path").and_then(Value::as_str) {
        place("files", path, found);
    }
    if let Some(mode) = file.get("mode").and_then(Value::as_str)
        && !((3..=4).contains(&mode.len()) && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte)))
    {
        found.push("files", format!("`{mode}` is no mode"), "write it in octal and in quotes: `mode: \"0644\"`");
    }
    for field in ["owner", "group"] {
        if let Some(name) = file.get(field).and_then(Value::as_str)
            && (name.is_empty() || name.starts_with('-') || name.contains([':', '\n', ' ']))
        {
            found.push("files", format!("`{name}` is no {field}"), "write the name of a user or group, `cc`");
        }
    }
}

/// A path on the server.
fn place(field: &'static str, path: &str, found: &mut Found<'_>) {
    let below = path.strip_prefix("~/").or_else(|| path.strip_prefix('/'));
    let is_path = below.is_some_and(|below| {
        !below.is_empty() && !below.ends_with('/') && !below.contains('\n') && below.split('/').all(|step| step != "..")
    });
    if !is_path {
        found.push(field, format!("`{path}` is no path on the server"), "write it from the root, or from `~/`");
    }
}

fn waited_for(wait: &mut Fields, found: &mut Found<'_>) {
    match (wait.contains_key("port"), wait.get("http").map(|url| url.as_str().map(Url::parse))) {
        (true, None) => {
            wait.remove("status");
        }
        (false, Some(Some(Err(why)))) => found.push("wait_for", why, "write `http://localhost:PORT/PATH`"),
        (false, Some(_)) => {}
        (both, _) => {
            let text = if both { "`port` and `http` exclude each other" } else { "nothing is waited for" };
            found.push("wait_for", text, "write `{ port: 8000 }` or `{ http: \"http://localhost:8000/\" }`");
        }
    }
}
