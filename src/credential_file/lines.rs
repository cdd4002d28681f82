//! Files of lines that stand for themselves: `.env`, an openrc, a passwd file of s3fs.

use super::{ended, lines_of};

pub(super) fn put(text: &str, own: &[(String, String)]) -> String {
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
