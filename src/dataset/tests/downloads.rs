//! Downloads from a server that does what servers do on bad days.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::{data, job, objects, quiet, texts};
use crate::dataset::download::{Patience, fetch};
use crate::dataset::{DatasetError, Download, ErrorKind, Limits, Sha256, Staging};

/// A server on loopback: each request has a connection of its own and is answered with the bytes that the handler gives.
pub(super) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// The handler gets the request's number, from 0 on, and its head.
    pub(super) fn start(handler: impl Fn(usize, &str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut head = String::new();
                let mut reader = BufReader::new(connection.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                if head.is_empty() {
                    continue;
                }
                let mut seen = seen.lock().unwrap();
                let answer = handler(seen.len(), &head);
                seen.push(head);
                drop(seen);
                let _ = connection.write_all(&answer);
            }
        });
        Self { address, requests }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

pub(super) fn answer(status: &str, headers: &[(&str, &str)], length: usize, body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Where a request asks to go on.
fn asked(head: &str) -> Option<usize> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("range: bytes="))?;
    line.split_once('=')?.1.trim_end_matches('-').parse().ok()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")))?;
    Some(line.split_once(": ")?.1)
}

fn partial(content: &[u8], from: usize, etag: &str) -> Vec<u8> {
    let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
    answer("206 Partial Content", &[("ETag", etag), ("Content-Range", &range)], content.len() - from, &content[from..])
}

fn content() -> Vec<u8> {
    data::picture(3, 300_000)
}

fn download(url: &str) -> Download {
    Download { url: url.parse().unwrap(), mirrors: Vec::new(), sha256: None, recorded: None, size: None }
}

fn get_into(download: &Download, folder: &Path, limits: Limits) -> Result<Vec<u8>, DatasetError> {
    let patience = Patience { tries: 3, first_wait: Duration::ZERO, longest_wait: Duration::ZERO };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let staging = Arc::new(Staging::open(folder)?);
    let (path, sha256) = runtime.block_on(fetch(download, &limits, &staging, &quiet(), patience))?;
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(Sha256::of(&bytes), sha256);
    Ok(bytes)
}

fn get(download: &Download) -> Result<Vec<u8>, DatasetError> {
    get_into(download, tempfile::tempdir().unwrap().path(), Limits::default())
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let server = Server::start(|_, _| answer("200 OK", &[], content().len(), &content()));
    let (folder, this) = (tempfile::tempdir().unwrap(), download(&server.url("/x")));
    for _ in 0..2 {
        assert_eq!(get_into(&this, folder.path(), Limits::default()).unwrap(), content());
    }
    assert_eq!(server.requests().len(), 1);
    let kept =
        std::fs::read_dir(folder.path().join("download")).unwrap().next().unwrap().unwrap().path().join("content");
    // A second name of the file, as a program is given one, leaves it the same.
    std::fs::hard_link(&kept, folder.path().join("second")).unwrap();
    assert_eq!(get_into(&this, folder.path(), Limits::default()).unwrap(), content());
    assert_eq!(server.requests().len(), 1);
    std::fs::write(&kept, "changed by hand").unwrap();
    assert_eq!(get_into(&this, folder.path(), Limits::default()).unwrap(), content());
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_cut_connection_is_resumed() {
    let server = Server::start(|number, head| match number {
        0 => answer("200 OK", &[("ETag", "\"v1\"")], content().len(), &content()[..100_000]),
        // Cut once more, in what is left.
        1 => partial(&content(), asked(head).unwrap(), "\"v1\"")[..60_000].to_vec(),
        _ => partial(&content(), asked(head).unwrap(), "\"v1\""),
    });
    assert_eq!(get(&download(&server.url("/x"))).unwrap(), content());
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(asked(&requests[1]), Some(100_000));
    assert_eq!(header(&requests[1], "if-range"), Some("\"v1\""));
    assert!(asked(&requests[2]).unwrap() > 150_000);
    assert_eq!(header(&requests[0], "accept-encoding"), Some("identity"));
}

#[test]
fn a_server_that_sends_less_than_the_rest_is_asked_for_more() {
    let server = Server::start(|number, head| match (number, asked(head)) {
        (0, _) => answer("200 OK", &[("ETag", "\"v1\"")], content().len(), &content()[..100_000]),
        (_, Some(from)) => {
            let to = content().len().min(from + 90_000);
            let range = format!("bytes {from}-{}/{}", to - 1, content().len());
            // The entity tag is not said again.
            answer("206 Partial Content", &[("Content-Range", &range)], to - from, &content()[from..to])
        }
        (_, None) => answer("500 Internal Server Error", &[], 0, b""),
    });
    assert_eq!(get(&download(&server.url("/x"))).unwrap(), content());
    let asked: Vec<_> = server.requests().iter().map(|head| asked(head)).collect();
    assert_eq!(asked[..4], [None, Some(100_000), Some(190_000), Some(280_000)]);
}

#[test]
fn what_came_so_far_serves_the_next_run() {
    let server = Server::start(|number, head| match (number, asked(head)) {
        (0, None) => answer("200 OK", &[("ETag", "\"v1\"")], content().len(), &content()[..100_000]),
        (1..4, _) => Vec::new(),
        (_, from) => partial(&content(), from.unwrap(), "\"v1\""),
    });
    let (folder, this) = (tempfile::tempdir().unwrap(), download(&server.url("/x")));
    let error = get_into(&this, folder.path(), Limits::default()).unwrap_err();
    assert!(error.hint.unwrap().contains("carries on from there"));
    assert_eq!(server.requests().len(), 3, "three tries, the first of which came further");
    assert_eq!(get_into(&this, folder.path(), Limits::default()).unwrap(), content());
    assert_eq!(asked(&server.requests()[3]), Some(100_000));
}

#[test]
fn a_server_without_ranges_is_read_from_the_beginning() {
    let server = Server::start(|number, _| match number {
        0 => answer("200 OK", &[("ETag", "\"v1\"")], content().len(), &content()[..100_000]),
        _ => answer("200 OK", &[("ETag", "\"v1\"")], content().len(), &content()),
    });
    assert_eq!(get(&download(&server.url("/x"))).unwrap(), content());
    assert_eq!(asked(&server.requests()[1]), Some(100_000));
}

#[test]
fn nothing_is_carried_on_that_may_be_of_another_file() {
    // No validator: no range is asked for.
    let server = Server::start(|number, _| match number {
        0 => answer("200 OK", &[], content().len(), &content()[..100_000]),
        _ => answer("200 OK", &[], content().len(), &content()),
    });
    assert_eq!(get(&download(&server.url("/x"))).unwrap(), content());
    assert_eq!(asked(&server.requests()[1]), None);
    // A weak one is none.
    let server = Server::start(|number, _| match number {
        0 => answer("200 OK", &[("ETag", "W/\"v1\"")], content().len(), &content()[..100_000]),
        _ => answer("200 OK", &[], content().len(), &content()),
    });
    assert_eq!(get(&download(&server.url("/x"))).unwrap(), content());
    assert_eq!(asked(&server.requests()[1]), None);
}

#[test]
fn content_that_changes_meanwhile_is_fetched_anew() {
    let new = || data::picture(4, 300_000);
    // The server heeds If-Range, and sends all of the new one.
    let server = Server::start(move |number, _| match number {
        0 => answer("200 OK", &[("ETag", "\"v1\"")], content().len(), &content()[..100_000]),
        _ => answer("200 OK", &[("ETag", "\"v2\"")], new().len(), &new()),
    });
    assert_eq!(get(&download(&server.url("/x"))).unwrap(), new());
    // It does not, but says that it is another one.
    let server = Server::start(move |number, head| match (number, asked(head)) {
        (0, _) => answer("200 OK", &[("ETag", "\"v1\"")], content().len(), &content()[..100_000]),
        (_, Some(from)) => partial(&new(), from, "\"v2\""),
        (_, None) => answer("200 OK", &[("ETag", "\"v2\"")], new().len(), &new()),
    });
    assert_eq!(get(&download(&server.url("/x"))).unwrap(), new());
    // It says nothing at all; the SHA-256 that is expected tells.
    let server = Server::start(move |number, head| match (number, asked(head)) {
        (0, _) => answer("200 OK", &[], new().len(), &content()[..100_000]),
        (_, Some(from)) => partial(&new(), from, "\"v2\""),
        (_, None) => answer("200 OK", &[], new().len(), &new()),
    });
    let this = Download { sha256: Some(Sha256::of(&new())), ..download(&server.url("/x")) };
    assert_eq!(get(&this).unwrap(), new());
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn what_came_before_a_sha256_was_known_is_used_after() {
    let server = Server::start(|_, _| answer("200 OK", &[], 5, b"hello"));
    let (folder, this) = (tempfile::tempdir().unwrap(), download(&server.url("/x")));
    assert_eq!(get_into(&this, folder.path(), Limits::default()).unwrap(), b"hello");
    let later = Download { recorded: Some(Sha256::of(b"hello")), ..download(&server.url("/x")) };
    for _ in 0..2 {
        let staging = Arc::new(Staging::open(folder.path()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let patience = Patience::default();
        let fetched = runtime.block_on(fetch(&later, &Limits::default(), &staging, &quiet(), patience)).unwrap();
        staging.tidy().unwrap();
        assert_eq!(std::fs::read(fetched.0).unwrap(), b"hello", "it is used, and so it stays");
    }
    // Whoever reads this dataset's staging may know nothing of a digest.
    assert_eq!(get_into(&this, folder.path(), Limits::default()).unwrap(), b"hello");
    assert_eq!(server.requests().len(), 1);
    // Another content is another file.
    let other = Download { recorded: Some(Sha256::of(b"other")), ..this };
    assert_eq!(get_into(&other, folder.path(), Limits::default()).unwrap_err().kind, ErrorKind::Digest);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_wrong_sha256_is_told_and_nothing_is_kept() {
    let server = Server::start(|_, _| answer("200 OK", &[], 5, b"hello"));
    let (folder, other) = (tempfile::tempdir().unwrap(), Sha256::of(b"other"));
    let given = Download { sha256: Some(other), ..download(&server.url("/x.zip?token=secret")) };
    let error = get_into(&given, folder.path(), Limits::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Digest);
    let text = format!("/x.zip has the SHA-256 {}, and the spec says {other}", Sha256::of(b"hello"));
    assert!(error.message.contains(&text) && !error.message.contains("secret"), "{error}");
    let recorded = Download { sha256: None, recorded: Some(other), ..given };
    let error = get_into(&recorded, folder.path(), Limits::default()).unwrap_err();
    assert!(error.message.contains("its first download had") && error.hint.unwrap().contains("give `sha256: 2cf24"));
    let kept = std::fs::read_dir(folder.path().join("download")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 0);
    for size in [4, 6] {
        let sized = Download { size: Some(size), ..download(&server.url("/x")) };
        let error = get(&sized).unwrap_err();
        assert_eq!(
            (error.kind, error.hint.as_deref()),
            (ErrorKind::Digest, Some("if that is right, correct its `size:`"))
        );
        assert!(error.message.contains(&format!("5 bytes, and {size} are expected")), "{error}");
    }
    let endless = Server::start(|_, _| b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello".to_vec());
    let sized = Download { size: Some(4), ..download(&endless.url("/x")) };
    let error = get_into(&sized, folder.path(), Limits::default()).unwrap_err();
    assert!(error.message.contains("more than the 4 bytes that are expected"), "{error}");
    assert_eq!(error.kind, ErrorKind::Digest);
    let page = Server::start(|_, _| answer("200 OK", &[], 30, b"<!DOCTYPE html><title>Sign in "));
    let this = Download { sha256: Some(other), ..download(&page.url("/x")) };
    assert!(get(&this).unwrap_err().message.contains("what came is a web page"));
}

#[test]
fn mirrors_are_tried_in_order() {
    let good = Server::start(|_, _| answer("200 OK", &[], 5, b"hello"));
    let gone = Server::start(|_, _| answer("404 Not Found", &[], 0, b""));
    let wrong = Server::start(|_, _| answer("200 OK", &[], 5, b"other"));
    let this = Download {
        mirrors: [wrong.url("/x"), good.url("/x")].iter().map(|url| url.parse().unwrap()).collect(),
        sha256: Some(Sha256::of(b"hello")),
        ..download(&gone.url("/x"))
    };
    assert_eq!(get(&this).unwrap(), b"hello");
    assert_eq!((gone.requests().len(), wrong.requests().len()), (1, 1));
    // One that is longer than is said is no reason not to ask the next.
    let longer = Server::start(|_, _| answer("200 OK", &[], 6, b"hello!"));
    let sized = Download { size: Some(5), url: longer.url("/x").parse().unwrap(), ..this.clone() };
    assert_eq!(get(&sized).unwrap(), b"hello");
    let none = Download { mirrors: this.mirrors[..1].to_vec(), ..this };
    let error = get(&none).unwrap_err();
    assert!(error.message.contains("404 Not Found") && error.message.contains("SHA-256"), "{error}");
    assert_eq!(error.kind, ErrorKind::Digest);
}

#[test]
fn servers_out_of_order_are_asked_again_and_not_for_ever() {
    let server = Server::start(|number, _| match number {
        0 => answer("503 Service Unavailable", &[("Retry-After", "1000")], 0, b""),
        1 => Vec::new(),
        _ => answer("200 OK", &[], 5, b"hello"),
    });
    assert_eq!(get(&download(&server.url("/x"))).unwrap(), b"hello");
    let server = Server::start(|_, _| answer("502 Bad Gateway", &[], 0, b""));
    let error = get(&download(&server.url("/x?key=secret"))).unwrap_err();
    assert!(error.message.contains("502 Bad Gateway") && !error.message.contains("secret"), "{error}");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn redirects_are_followed_and_encodings_left_alone() {
    let server = Server::start(|_, head| match head.starts_with("GET /x ") {
        true => answer("302 Found", &[("Location", "/y")], 0, b""),
        false => answer("200 OK", &[("Content-Encoding", "gzip")], 5, b"hello"),
    });
    assert_eq!(get(&download(&server.url("/x"))).unwrap(), b"hello");
    let circle = Server::start(|_, _| answer("302 Found", &[("Location", "/x")], 0, b""));
    let error = get(&download(&circle.url("/x"))).unwrap_err();
    assert!(error.message.contains("redirects too often"), "{error}");
}

#[test]
fn more_than_is_allowed_is_not_fetched() {
    let server = Server::start(|number, _| match number {
        0 => answer("200 OK", &[], content().len(), b""),
        _ => [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec(), content()].concat(),
    });
    let limits = Limits { bytes: 1000, ..Limits::default() };
    for _ in 0..2 {
        let error = get_into(&download(&server.url("/x")), tempfile::tempdir().unwrap().path(), limits).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit);
        assert!(error.message.contains("1000 bytes"), "{error}");
    }
}

#[test]
fn a_file_url_is_used_where_it_is_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a b.txt");
    std::fs::write(&file, "hello").unwrap();
    let url = url::Url::from_file_path(&file).unwrap();
    let with = |sha256: Sha256| json!({ "sources": [{ "from": { "url": { "url": url, "sha256": sha256 } } }] });
    let staging = folder.path().join("staging");
    let found = objects(&job(with(Sha256::of(b"hello"))), &staging).unwrap();
    assert_eq!(texts(&found), [("a b.txt".into(), "hello".into())]);
    let error = objects(&job(with(Sha256::of(b"other"))), &staging).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Digest);
}
