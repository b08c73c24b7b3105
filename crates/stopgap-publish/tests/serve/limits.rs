//! Readers that take nothing, too many of them, and the end.

use std::time::Duration;

use stopgap_publish::serve::{Server, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{HANG, Running, feed, header};

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_place() {
    let running = Running::start(|settings| {
        settings.connections = 1;
        settings.write_timeout = Duration::from_millis(100);
    })
    .await;
    // More than the system's buffers of a connection hold.
    let filler = "x".repeat(8 << 20);
    let large =
        String::from_utf8(feed(1)).unwrap().replacen("<Signature", &format!("<!--{filler}--><Signature"), 1);
    running.publish(large.as_bytes());
    let begun = async {
        loop {
            let mut first = TcpStream::connect(running.address).await.unwrap();
            first.write_all(b"GET /feed.xml HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut head = [0; 12];
            first.read_exact(&mut head).await.unwrap();
            if &head == b"HTTP/1.1 200" {
                return first;
            }
        }
    };
    // The only place is taken once the answer begins.
    let mut first = tokio::time::timeout(HANG, begun).await.unwrap();
    // Without an end for the first reader the second would wait for ever.
    let second = running.ask("HEAD /feed.xml HTTP/1.1").await;
    assert!(second.starts_with("HTTP/1.1 200"), "{second}");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(HANG, first.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < large.len(), "the first got all of it: {}", rest.len());
}

#[tokio::test]
async fn a_reader_that_takes_a_little_now_and_then_loses_its_place() {
    let running = Running::start(|settings| settings.answer_timeout = Duration::from_millis(100)).await;
    // More than the system's buffers of a connection hold.
    let filler = "x".repeat(15 << 20);
    let large =
        String::from_utf8(feed(1)).unwrap().replacen("<Signature", &format!("<!--{filler}--><Signature"), 1);
    running.publish(large.as_bytes());
    let mut got = 0;
    let reader = async {
        loop {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            stream.write_all(b"GET /feed.xml HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            if &head != b"HTTP/1.1 200" {
                continue;
            }
            // Never thirty seconds without taking something, and an hour for the whole.
            let mut chunk = [0; 64];
            while let Ok(1..) = stream.read(&mut chunk).await {
                got += chunk.len();
                if got < 64 * 200 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            return;
        }
    };
    tokio::time::timeout(HANG, reader).await.unwrap();
    assert!(got < large.len(), "it got all of it: {got}");
}

#[tokio::test]
async fn a_subscriber_too_many_is_turned_away_and_the_document_still_comes() {
    let running = Running::start(|settings| settings.subscribers = 1).await;
    running.publish(&feed(1));
    let mut first = running.follow().await;
    first.data().await.unwrap();
    let second = running.ask("GET /events HTTP/1.1").await;
    assert!(second.starts_with("HTTP/1.1 503"), "{second}");
    assert_eq!(header(&second, "retry-after"), Some("5"));
    assert!(running.ask("GET /feed.xml HTTP/1.1").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn other_paths_methods_and_endless_heads_are_refused() {
    let running = Running::start(|_| {}).await;
    running.publish(&feed(1));
    assert!(running.ask("GET / HTTP/1.1").await.starts_with("HTTP/1.1 404"));
    assert!(running.ask("GET /feed.xml/../../etc/passwd HTTP/1.1").await.starts_with("HTTP/1.1 404"));
    assert!(running.ask("POST /feed.xml HTTP/1.1").await.starts_with("HTTP/1.1 405"));
    let endless = format!("GET /feed.xml HTTP/1.1\r\nX: {}", "x".repeat(40_000));
    assert!(running.ask(&endless).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_shutdown_ends_the_streams_and_the_server() {
    let running = Running::start(|_| {}).await;
    running.publish(&feed(1));
    let mut events = running.follow().await;
    events.data().await.unwrap();
    running.stop.send(()).unwrap();
    assert_eq!(events.data().await, None);
    tokio::time::timeout(HANG, running.server).await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let running = Running::start(|_| {}).await;
    let again = Server::bind(Settings::new(running.folder.path().join("feed.xml"), running.address)).await;
    assert_eq!(again.err().unwrap().to_string(), format!("cannot listen on {}", running.address));
}
