//! The log of requests: `requests.log` in the cloud's folder, a line each, `METHOD target status`.
//!
//! In: requests, from all processes that have the folder open. Out: how many there were, and the last of them.
//!
//! Invariants:
//! - Nothing that opens a door is in it: values in queries by which a request is signed are left out.
//! - It is cut off at its beginning, when the cloud is opened, once it is [`LONG`]: what stays is about [`KEPT`] bytes, below
//!   a line that says how many requests came before.
//! - Whoever writes a line shares its lock, and who cuts has it alone: no line is lost and none is counted twice.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use http::Method;
use percent_encoding::percent_decode_str;

use super::Error;

const LONG: u64 = 16 << 20;
const KEPT: u64 = 1 << 20;

/// What the line of those that were cut off ends with.
const EARLIER: &str = " earlier requests";

/// The names in queries whose values let their holder in: those of S3's signatures, the former and the present one, of
/// Swift's temporary URLs, and of tokens.
const SECRETS: [&str; 6] =
    ["x-amz-signature", "x-amz-security-token", "signature", "temp_url_sig", "access_token", "x-auth-token"];

/// The log.
pub struct Requests {
    path: PathBuf,
}

impl Requests {
    /// The log of a cloud's folder, which is cut if it has become long.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let log = Self { path: folder.join("requests.log") };
        if log.path.metadata().is_ok_and(|file| file.len() > LONG) {
            log.cut(LONG, KEPT).map_err(|source| Error::io("shorten", &log.path, source))?;
        }
        Ok(log)
    }

    /// Adds a request.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&self, method: &Method, target: &str, status: u16) -> Result<(), Error> {
        let line = format!("{method} {} {status}\n", without_secrets(target));
        let opened = OpenOptions::new().append(true).create(true).open(&self.path);
        let written = opened.and_then(|mut file| {
            file.lock_shared()?;
            file.write_all(line.as_bytes())
        });
        written.map_err(|source| Error::io("write", &self.path, source))
    }

    /// How many requests there were.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn count(&self) -> Result<u64, Error> {
        let counted = match File::open(&self.path) {
            Ok(mut file) => file.lock_shared().and_then(|()| count(&mut file, u64::MAX)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        };
        counted.map_err(|source| Error::io("read", &self.path, source))
    }

    /// Leaves about `kept` bytes of its end, if it is longer than `long`.
    fn cut(&self, long: u64, kept: u64) -> std::io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        file.lock()?;
        let length = file.metadata()?.len();
        // Another process may have been faster.
        if length <= long {
            return Ok(());
        }
        // The first line that is kept begins after the first line's end from there on.
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(length - kept))?;
        file.read_to_end(&mut tail)?;
        let begin = tail.iter().position(|byte| *byte == b'\n').map_or(tail.len(), |end| end + 1);
        let cut = length - (tail.len() - begin) as u64;
        file.seek(SeekFrom::Start(0))?;
        let earlier = count(&mut file, cut)?;
        let text = [format!("{earlier}{EARLIER}\n").as_bytes(), &tail[begin..]].concat();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&text)?;
        file.set_len(text.len() as u64)
    }
}

/// How many requests a log's first bytes tell of.
fn count(file: &mut File, length: u64) -> std::io::Result<u64> {
    let (mut lines, mut first, mut began) = (0, Vec::new(), false);
    let mut bytes = file.take(length);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = bytes.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        let some = &buffer[..read];
        if !began {
            first.extend(some.iter().take_while(|byte| **byte != b'\n'));
            began = true;
        }
        lines += some.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    let first = String::from_utf8_lossy(&first);
    let earlier = first.strip_suffix(EARLIER).and_then(|number| number.parse::<u64>().ok());
    Ok(earlier.map_or(lines, |earlier| earlier + lines - 1))
}

/// A target without the values in its query that let their holder in.
fn without_secrets(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=hidden"),
        _ => pair.to_owned(),
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

fn is_secret(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy();
    SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_not_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let log = Requests::open(folder.path()).unwrap();
        let signed = "/b/k?X-Amz-Credential=id%2F20260101&X-Amz-Expires=60&x-amz-signature=abc&partNumber=1";
        log.note(&Method::PUT, signed, 200).unwrap();
        log.note(&Method::GET, "/b/k?X-Amz-%53ignature=abc", 200).unwrap();
        log.note(&Method::GET, "/swift/v1/b/k?temp_url_sig=abc&temp_url_expires=9", 401).unwrap();
        log.note(&Method::GET, "/b/signature=abc", 404).unwrap();
        insta::assert_snapshot!(std::fs::read_to_string(&log.path).unwrap(), @"
        PUT /b/k?X-Amz-Credential=id%2F20260101&X-Amz-Expires=60&x-amz-signature=hidden&partNumber=1 200
        GET /b/k?X-Amz-%53ignature=hidden 200
        GET /swift/v1/b/k?temp_url_sig=hidden&temp_url_expires=9 401
        GET /b/signature=abc 404
        ");
    }

    #[test]
    fn a_long_log_loses_its_beginning_and_no_count() {
        let folder = tempfile::tempdir().unwrap();
        let log = Requests::open(folder.path()).unwrap();
        assert_eq!(log.count().unwrap(), 0);
        for round in 1..=3_u64 {
            for number in 0..100 {
                log.note(&Method::GET, &format!("/{round}/{number}"), 200).unwrap();
            }
            log.cut(500, 100).unwrap();
            let text = std::fs::read_to_string(&log.path).unwrap();
            assert!(text.len() < 130 && text.ends_with(&format!("GET /{round}/99 200\n")), "{text}");
            assert!(text.lines().skip(1).all(|line| line.starts_with("GET /") && line.ends_with(" 200")), "{text}");
            assert_eq!(log.count().unwrap(), round * 100);
        }
        let text = std::fs::read(&log.path).unwrap();
        log.cut(500, 100).unwrap();
        assert_eq!(std::fs::read(&log.path).unwrap(), text, "it is short");
    }
}
