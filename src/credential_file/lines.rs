//! Files of lines that stand for themselves: `.env`, an openrc, a passwd file of s3fs.

use super::{ended, lines_of};

/// What a line says, for people: the variable that it sets, or what its keys open.
pub(super) fn place(start: &str) -> String {
    match start.trim_start_matches("export ").trim_end_matches(['=', ':']) {
        "" => "the keys of all buckets".to_owned(),
        name => format!("`{name}`"),
    }
}

/// Whether there is a line that begins so and goes on otherwise.
pub(super) fn is_taken(text: &str, (start, rest): &(String, String)) -> bool {
    let wanted = format!("{start}{rest}");
    lines_of(text).into_iter().any(|line| is_of(line, start) && line.trim_end() != wanted.trim_end())
}

pub(super) fn put(text: &str, own: &[(String, String)], before: &[String]) -> String {
    let mut left: Vec<_> = own.iter().collect();
    let mut put = String::new();
    for line in lines_of(text) {
        match own.iter().find(|(start, _)| is_of(line, start)) {
            Some(wanted) => {
                if let Some(at) = left.iter().position(|other| *other == wanted) {
                    left.remove(at);
                    put.push_str(&format!("{}{}\n", wanted.0, wanted.1));
                }
            }
            None if before.iter().any(|start| is_of(line, start)) => {}
            None => put.push_str(line),
        }
    }
    if !left.is_empty() {
        put = ended(&put);
        left.into_iter().for_each(|(start, rest)| put.push_str(&format!("{start}{rest}\n")));
    }
    put
}

pub(super) fn take_out(text: &str, own: &[(String, String)]) -> String {
    lines_of(text).into_iter().filter(|line| own.iter().all(|(start, _)| !is_of(line, start))).collect()
}

/// Whether a line begins so. Without a start it is one of s3fs for all buckets, `ACCESS:SECRET`, which has one colon.
fn is_of(line: &str, start: &str) -> bool {
    let line = line.trim_end();
    match start {
        "" => !line.starts_with('#') && line.matches(':').count() == 1,
        start => line.starts_with(start),
    }
}
