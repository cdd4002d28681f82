//! What a script starts and what is waited for, on a real OpenSSH server; and containers, by a Docker of straw.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers each request over HTTP with the next of these, and the last one from then on.
async fn web(answers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        let mut at = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.unwrap_or(0);
            assert!(asked[..length].starts_with(b"GET /health?x=1 HTTP/1.1\r\nHost: localhost:"));
            let answer = answers[at.min(answers.len() - 1)];
            at += 1;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn http(port: u16, status: u16, patience: u64) -> WaitFor {
    let url = Url::parse(&format!("http://localhost:{port}/health?x=1")).expect("a URL");
    WaitFor { answer: Answer::Http { url, status }, patience: Duration::from_secs(patience) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn answers_are_waited_for_from_the_inside() {
    let world = World::new().await;
    let port = web(&["HTTP/1.1 503 Busy\r\n\r\n", "", "SSH-2.0\r\n", "HTTP/1.1 200 OK\r\n\r\n"]).await;
    let mut waiting = job("true");
    waiting.wait_for = Some(http(port, 200, 30));
    world.put(&waiting).await.expect("it comes up");
    for said in ["it answers 503", "it closed the connection", "is no HTTP"] {
        assert!(world.told().contains(said), "{said}: {}", world.told());
    }
    waiting.wait_for = Some(http(port, 204, 2));
    let error = world.put(&waiting).await.expect_err("it answers otherwise");
    assert!(error.to_string().ends_with("was not up within 2 s: it answers 200"), "{error}");

    // A port, taken a moment later.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    waiting.wait_for = Some(WaitFor { answer: Answer::Port(free), patience: Duration::from_secs(1) });
    let error = world.put(&waiting).await.expect_err("nobody listens");
    assert!(error.to_string().contains("nothing takes connections there"), "{error}");
    let listener = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let listener = TcpListener::bind(("127.0.0.1", free)).await.expect("it is free");
        loop {
            let _ = listener.accept().await;
        }
    });
    waiting.wait_for = Some(WaitFor { answer: Answer::Port(free), patience: Duration::from_secs(30) });
    world.put(&waiting).await.expect("it comes up");
    // Many attempts on one connection leave nothing open.
    for _ in 0..100 {
        world.guest.ssh().dial("localhost", free).await.expect("it connects");
    }
    listener.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn where_nothing_is_forwarded_that_is_said() {
    let world = World::with("AllowTcpForwarding no").await;
    let mut job = job("true");
    job.wait_for = Some(http(1, 200, 60));
    let began = Instant::now();
    let error = world.put(&job).await.expect_err("it may not");
    assert!(error.to_string().contains("does not forward connections"), "{error}");
    assert!(error.hint().expect("a hint").contains("AllowTcpForwarding"));
    assert!(began.elapsed() < Duration::from_secs(30), "nothing is waited for");
}

/// A `docker` that writes down how it is called.
const STRAW: &str = r#"#!/bin/sh
echo "$@ TAG=$TAG" >> "$HOME/calls"
case $1 in
    info) [ -e "$HOME/may" ] ;;
    compose) [ "$2" = version ] || { cat "$HOME/.anole/lab/one/compose.yaml"; [ ! -e "$HOME/broken" ]; } ;;
esac
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenSSH's server, and root"]
async fn containers_are_started_and_stopped() {
    let world = World::new().await;
    let compose =
        What::Compose { file: "services: { a: { image: '$TAG' } }\n".to_owned(), project: "lab-one".to_owned() };
    let mut job = Job { what: compose.clone(), ..job("") };
    let path = format!("{}:/usr/bin:/bin", world.at("bin").display());
    job.env = vec![("TAG".to_owned(), Text::Secret("v17".to_owned())), ("PATH".to_owned(), Text::Plain(path))];
    std::fs::create_dir(world.at("bin")).expect("made");
    let error = world.put(&job).await.expect_err("there is no docker");
    assert!(error.to_string().contains("there is no docker on this server: install it with a script"), "{error}");

    std::fs::write(world.at("bin/docker"), STRAW).expect("written");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.at("bin/docker"), executable).expect("set");
    run("chown", &["-R", &world.user.0, &world.at("bin").display().to_string()]);
    let error = world.put(&job).await.expect_err("it may not use docker, and there is no sudo");
    assert!(error.to_string().starts_with("scripts.one ended with status 1"), "{error}");

    std::fs::write(world.at("may"), "").expect("written");
    world.put(&job).await.expect("they start");
    let home = world.user.home().display().to_string();
    let file = format!("--project-directory {home} -f {home}/.anole/lab/one/compose.yaml");
    let up = format!("compose -p lab-one {file} up -d --remove-orphans TAG=v17");
    assert_eq!(world.read("calls").lines().last(), Some(up.as_str()));
    assert_eq!(world.read(".anole/lab/one/log"), "services: { a: { image: '$TAG' } }\n");
    assert_eq!(mode(&world.at(".anole/lab/one/compose.yaml")), 0o600);

    // Values that are not known any more: the project's name is enough.
    std::fs::write(world.at("broken"), "").expect("written");
    let Job { label, folder, timeout, .. } = job.clone();
    let undo = Undo { label, folder, what: compose, env: job.env[1..].to_vec(), timeout };
    let error = remove(&world.guest, &undo, &world.tell()).await.expect_err("broken for good");
    assert!(error.to_string().contains("the stop of scripts.one ended"), "{error}");
    let calls = world.read("calls");
    let down = [
        format!("compose -p lab-one {file} down --remove-orphans TAG="),
        "compose -p lab-one down --remove-orphans TAG=".to_owned(),
    ];
    assert_eq!(calls.lines().rev().take(2).collect::<Vec<_>>(), [down[1].as_str(), down[0].as_str()]);
    std::fs::remove_file(world.at("broken")).expect("removed");
    remove(&world.guest, &undo, &world.tell()).await.expect("they are stopped");
    std::fs::remove_file(world.at("bin/docker")).expect("removed");
    remove(&world.guest, &undo, &world.tell()).await.expect("without docker there is nothing to stop");
}
