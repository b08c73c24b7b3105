//! Answers that cost too much, or are none.

use std::sync::Arc;
use std::time::Duration;

use stopgap_agent::fetch::Limits;

use crate::server::{Handler, Server, always, ok, status};
use crate::world::{fetcher, followed, limits, network, outcome, release};

/// The untouched answer, and then this one.
async fn code_of(attack: Handler) -> String {
    code_within(limits(), attack).await
}

async fn code_within(limits: Limits, attack: Handler) -> String {
    let server = Server::start("127.0.0.1", None, always(release(1)));
    let (fetcher, feed) =
        (fetcher(&network(), limits), followed(format!("http://{}/feed.xml", server.address)));
    assert_eq!(outcome(&fetcher, &feed).await, Ok(1), "the untouched answer");
    server.answer(attack);
    outcome(&fetcher, &feed).await.unwrap_err()
}

#[tokio::test]
async fn endless_data() {
    let code = code_of(Arc::new(|_, out| {
        out.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<EOCS>")?;
        loop {
            out.write_all(&[b' '; 4096])?;
        }
    }));
    assert_eq!(code.await, "too-large");
}

#[tokio::test]
async fn an_announced_length_beyond_the_limit() {
    let code = code_of(Arc::new(|_, out| {
        out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n<EOCS>")
    }));
    assert_eq!(code.await, "too-large");
}

#[tokio::test]
async fn slow_data() {
    let limits = Limits { window: Duration::from_secs(1), window_bytes: 64 << 10, ..limits() };
    let code = code_within(
        limits,
        Arc::new(|_, out| {
            out.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                out.write_all(b" ")?;
                out.flush()?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }),
    );
    assert_eq!(code.await, "too-slow");
}

#[tokio::test]
async fn a_head_that_never_comes() {
    let limits = Limits { answer: Duration::from_secs(1), ..limits() };
    let code = code_within(
        limits,
        Arc::new(|_, out| {
            loop {
                out.write_all(b"HTTP/1.1 200 OK\r\n")?;
                out.flush()?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }),
    );
    assert_eq!(code.await, "too-slow");
}

#[tokio::test]
async fn a_decompression_bomb() {
    // A thousandth of what it would become; nobody finds out.
    let code =
        code_of(Arc::new(|_, out| ok(out, "Content-Encoding: gzip\r\n", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0])));
    assert_eq!(code.await, "content-encoding");
    let code = code_of(Arc::new(|_, out| ok(out, "Content-Encoding: identity, br\r\n", b"x")));
    assert_eq!(code.await, "content-encoding");
}

#[tokio::test]
async fn a_compressed_answer_that_does_not_say_so() {
    assert_eq!(code_of(always(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0])).await, "not-utf8");
}

#[tokio::test]
async fn plain_octets_are_asked_for() {
    let server = Server::start("127.0.0.1", None, always(release(1)));
    let feed = followed(format!("http://{}/feed.xml", server.address));
    outcome(&fetcher(&network(), limits()), &feed).await.unwrap();
    let asked = server.take_asked();
    assert_eq!(asked[0].headers["accept-encoding"], "identity");
    assert!(asked[0].headers["user-agent"].starts_with("stopgap/"));
}

#[tokio::test]
async fn a_body_that_is_shorter_than_announced() {
    let code = code_of(Arc::new(|_, out| {
        let octets = release(2);
        write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", octets.len() + 1)?;
        out.write_all(&octets)
    }));
    assert_eq!(code.await, "short-body");
}

#[tokio::test]
async fn chunks_without_an_end() {
    let code = code_of(Arc::new(|_, out| {
        out.write_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\n<EOC\r\n",
        )
    }));
    assert_eq!(code.await, "short-body");
}

#[tokio::test]
async fn a_body_that_is_longer_than_announced() {
    let code = code_of(Arc::new(|_, out| {
        let octets = release(2);
        write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", octets.len() - 9)?;
        out.write_all(&octets)
    }));
    assert_eq!(code.await, "malformed-xml");
}

#[tokio::test]
async fn a_huge_header() {
    let code =
        code_of(Arc::new(|_, out| write!(out, "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(4 << 20))));
    assert_eq!(code.await, "bad-answer");
}

#[tokio::test]
async fn thousands_of_headers() {
    let code = code_of(Arc::new(|_, out| write!(out, "HTTP/1.1 200 OK\r\n{}\r\n", "X: x\r\n".repeat(5000))));
    assert_eq!(code.await, "bad-answer");
}

#[tokio::test]
async fn what_is_no_http() {
    assert_eq!(code_of(Arc::new(|_, out| out.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"))).await, "bad-answer");
}

#[tokio::test]
async fn another_status() {
    for line in ["404 Not Found", "500 Internal Server Error", "204 No Content", "206 Partial Content"] {
        assert_eq!(code_of(Arc::new(move |_, out| status(out, line, ""))).await, "http-status", "{line}");
    }
}

#[tokio::test]
async fn nobody_there() {
    let server = Server::start("127.0.0.1", None, always(release(1)));
    let feed = followed(format!("http://{}/feed.xml", server.address));
    let fetcher = fetcher(&network(), limits());
    assert_eq!(outcome(&fetcher, &feed).await, Ok(1));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(outcome(&fetcher, &followed(format!("http://{free}/"))).await, Err("unreachable".to_owned()));
    assert_eq!(outcome(&fetcher, &followed("ftp://feed.example/")).await, Err("address".to_owned()));
}
