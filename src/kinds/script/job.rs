//! From a script's fields to what is done in the guest, and to the words for it.

use std::path::PathBuf;
use std::time::Duration;

use crate::guest::GuestError;
use crate::guest::script::{self, Answer, Copy, Job, Text, Undo, Url, WaitFor, What};
use crate::kinds::guest::GuestCx;
use crate::model::{Fields, Value};

fn text<'a>(fields: &'a Fields, key: &str) -> Option<&'a str> {
    fields.get(key).and_then(Value::as_str)
}

fn seconds(fields: &Fields, key: &str, default: i64) -> Duration {
    let seconds = fields.get(key).and_then(Value::as_int).unwrap_or(default);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn program(fields: &Fields) -> Option<&str> {
    text(fields, "run").or_else(|| text(fields, "run_file"))
}

fn compose_file(fields: &Fields) -> Option<&str> {
    fields.get("compose").and_then(Value::as_map).and_then(|compose| text(compose, "file"))
}

/// The project's name for Docker Compose, which takes few characters.
fn project(cx: &GuestCx<'_>, fields: &Fields) -> String {
    script::plain(&format!("{}-{}", cx.stack, text(fields, "project").unwrap_or_default()))
}

/// The environment as far as it is known: of a secret, a state has only a digest.
fn environment(fields: &Fields) -> Vec<(String, Text)> {
    let env = fields.get("env").and_then(Value::as_map);
    let known = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::Secret(secret) => Text::Secret(secret.expose()?.to_owned()),
            Value::String(text) => Text::Plain(text.clone()),
            Value::Int(number) => Text::Plain(number.to_string()),
            Value::Bool(flag) => Text::Plain(flag.to_string()),
            _ => return None,
        };
        Some((name.clone(), text))
    };
    env.into_iter().flatten().filter_map(known).collect()
}

fn copy(entry: &Fields) -> Option<Copy> {
    let source = entry.get("source")?.as_map()?;
    Some(Copy {
        source: PathBuf::from(text(source, "path")?),
        digest: text(source, "digest")?.to_owned(),
        path: text(entry, "path")?.to_owned(),
        mode: text(entry, "mode").map(str::to_owned),
        owner: text(entry, "owner").map(str::to_owned),
        group: text(entry, "group").map(str::to_owned),
        if_missing: entry.get("if_missing").and_then(Value::as_bool).unwrap_or(false),
    })
}

fn waited_for(fields: &Fields) -> Result<Option<WaitFor>, GuestError> {
    let Some(wait) = fields.get("wait_for").and_then(Value::as_map) else { return Ok(None) };
    let number = |key: &str| wait.get(key).and_then(Value::as_int).and_then(|number| u16::try_from(number).ok());
    let answer = match (number("port"), text(wait, "http")) {
        (Some(port), _) => Answer::Port(port),
        (None, Some(url)) => {
            Answer::Http { url: Url::parse(url).map_err(GuestError::refused)?, status: number("status").unwrap_or(200) }
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(WaitFor { answer, patience: seconds(wait, "timeout", super::ANSWERS) }))
}

/// What is to be done.
pub(super) fn of(cx: &GuestCx<'_>, want: &Fields) -> Result<Job, GuestError> {
    let what = match (program(want), compose_file(want)) {
        (Some(text), _) => What::Run(text.to_owned()),
        (None, Some(file)) => What::Compose { file: file.to_owned(), project: project(cx, want) },
        (None, None) => What::Nothing,
    };
    let files = want.get("files").and_then(Value::as_list).unwrap_or_default();
    Ok(Job {
        label: cx.address.to_string(),
        folder: script::folder_of(cx.stack, cx.address),
        what,
        env: environment(want),
        creates: text(want, "creates").map(str::to_owned),
        files: files.iter().filter_map(Value::as_map).filter_map(copy).collect(),
        wait_for: waited_for(want)?,
        timeout: seconds(want, "timeout", super::TIMEOUT),
    })
}

/// What undoes it, if anything does.
pub(super) fn undo(cx: &GuestCx<'_>, applied: &Fields) -> Option<Undo> {
    let what = match (text(applied, "stop"), compose_file(applied)) {
        (Some(text), _) => What::Run(text.to_owned()),
        (None, Some(file)) => What::Compose { file: file.to_owned(), project: project(cx, applied) },
        (None, None) => return None,
    };
    Some(Undo {
        label: cx.address.to_string(),
        folder: script::folder_of(cx.stack, cx.address),
        what,
        env: environment(applied),
        timeout: seconds(applied, "timeout", super::TIMEOUT),
    })
}

/// A program in a few words: itself, if it is short.
fn shown(text: &str) -> String {
    const ROOM: usize = 60;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    match lines.as_slice() {
        [one] if one.chars().count() <= ROOM => format!("`{}`", one.trim()),
        [_] => "a line".to_owned(),
        many => format!("{} lines", many.len()),
    }
}

/// What is done, in words.
pub(super) fn steps(fields: &Fields) -> Vec<String> {
    let mut steps = Vec::new();
    for file in fields.get("files").and_then(Value::as_list).unwrap_or_default().iter().filter_map(Value::as_map) {
        let source = file.get("source").and_then(Value::as_map).and_then(|source| text(source, "path"));
        let name = source.and_then(|path| path.rsplit('/').next()).unwrap_or("files");
        steps.push(format!("copy {name} to {}", text(file, "path").unwrap_or("a path known after apply")));
    }
    let unless = text(fields, "creates").map(|path| format!(", unless {path} is there")).unwrap_or_default();
    match (program(fields), compose_file(fields)) {
        (Some(text), _) => steps.push(format!("run {}{unless}", shown(text))),
        (None, Some(_)) => steps.push(format!("start its containers{unless}")),
        (None, None) => {}
    }
    if let Some(wait) = fields.get("wait_for").and_then(Value::as_map) {
        match (wait.get("port").and_then(Value::as_int), text(wait, "http")) {
            (Some(port), _) => steps.push(format!("wait for port {port}")),
            (None, url) => steps.push(format!("wait for {}", url.unwrap_or("a URL known after apply"))),
        }
    }
    steps
}

/// What undoes it, in words.
pub(super) fn undoing(applied: &Fields) -> Vec<String> {
    match (text(applied, "stop"), compose_file(applied)) {
        (Some(text), _) => vec![format!("stop it by {}", shown(text))],
        (None, Some(_)) => vec!["stop its containers".to_owned()],
        (None, None) => Vec::new(),
    }
}
