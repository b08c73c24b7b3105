//! Connections to the origin that are kept, and answers that do not end where their head says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stopgap_gateway::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::*;

/// An origin that sends the next of its answers whenever a request head is there, octet for octet; the
/// number of connections that it has had.
async fn origin_saying(answers: &[&str]) -> (Running, Arc<AtomicUsize>) {
    origin_with(Limits { upstream_idle_time: PATIENCE, ..Limits::default() }, answers).await
}

async fn origin_with(limits: Limits, answers: &[&str]) -> (Running, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let answers: Vec<String> = answers.iter().rev().map(|answer| (*answer).to_owned()).collect();
    let (answers, counted) = (Arc::new(Mutex::new(answers)), connections.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let answers = answers.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(octet) = stream.read_u8().await {
                    head.push(octet);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let answer = answers.lock().unwrap().pop().unwrap_or_default();
                        let (answer, closes) = match answer.strip_suffix(CLOSE) {
                            Some(answer) => (answer, true),
                            None => (answer.as_str(), answer.is_empty()),
                        };
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        if closes {
                            return;
                        }
                    }
                }
            });
        }
    });
    (Running::before(Origin::start().await, upstream, limits, None).await, connections)
}

/// At the end of an answer: the origin closes the connection behind it.
const CLOSE: &str = "CLOSE";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const STOLEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_not_kept_where_a_body_may_follow_a_head_that_has_none() {
    for head in [
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        // Only when the next request is there, so that looking at the idle connection shows nothing.
        let late = format!("{STOLEN}{OK}");
        let (gateway, connections) = origin_saying(&[head, &late]).await;
        assert!(gateway.get("/bodiless").await.unwrap().body.is_empty());
        let next = gateway.get("/next").await.unwrap();
        assert_eq!(connections.load(Ordering::Relaxed), 2, "{head:?}: {next:?}");
    }
    for head in [
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n",
    ] {
        let (gateway, connections) = origin_saying(&[head, OK]).await;
        assert!(gateway.get("/bodiless").await.unwrap().body.is_empty());
        assert_eq!(gateway.get("/next").await.unwrap().body, "ok");
        assert_eq!(connections.load(Ordering::Relaxed), 1, "{head:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_behind_a_trailer_section() {
    let trailers = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n";
    let (gateway, connections) = origin_saying(&[trailers, OK]).await;
    for _ in 0..2 {
        assert_eq!(gateway.get("/").await.unwrap().body, "ok");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// Whether an origin that has said so much, and then closes a kept connection, sees the request once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_sent_again_only_where_no_response_had_begun() {
    for (begun, expected) in [("", 200), ("HTTP/1.1 102 Processing\r\n\r\n", 502), ("HTTP/1.1 2", 502)] {
        let closing = format!("{begun}{CLOSE}");
        let (gateway, connections) = origin_saying(&[OK, &closing, OK]).await;
        assert_eq!(gateway.get("/").await.unwrap().status, 200);
        let second = gateway.get("/again").await.unwrap();
        assert_eq!(second.status, expected, "{begun:?}");
        assert_eq!(connections.load(Ordering::Relaxed), if expected == 200 { 2 } else { 1 }, "{begun:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_carried_bodies_do_not_keep_out_the_others() {
    let limits = Limits { upstream_idle: 1, upstream_idle_time: PATIENCE, ..Limits::default() };
    let (gateway, connections) = origin_with(limits, &[OK; 4]).await;
    let mut client = gateway.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\r\n").await;
    assert_eq!(client.response().await.unwrap().status, 200);
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.unwrap().body, "ok");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 2, "the first GET's connection is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_silent_origin_the_connection_goes_on() {
    let limits = Limits { origin: Duration::from_secs(1), ..Limits::default() };
    let gateway = Running::with(limits).await;
    let mut client = gateway.client().await;
    client.send(request("GET", "/silent")).await;
    assert_eq!(client.response().await.unwrap().status, 504);
    client.send(request("GET", "/")).await;
    assert_eq!(client.response().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_answered_502_is_none() {
    let coded = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Transfer-Encoding: gzip\r\n\r\n";
    let (gateway, _) = origin_saying(&[coded, OK, OK]).await;
    let mut client = gateway.client().await;
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(client.response().await.unwrap().status, 502);
    client.send("GET / HTTP/1.1\nHost: a\n\n").await;
    assert_eq!(client.response().await.unwrap().status, 400);
}
