//! How many may come in, and what happens to who takes a place and nothing else.

use std::time::Duration;

use crate::agents::{heard, server};
use crate::common::Hub;
use stopgap_hub::Bounds;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything here takes.
const HANG: Duration = Duration::from_secs(60);

async fn connect(hub: &Hub) -> TcpStream {
    TcpStream::connect(hub.url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Asks whether the hub is alive; the answer's first line, empty where the connection was closed.
async fn alive(stream: &mut TcpStream) -> String {
    let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(HANG, stream.read(&mut answer)).await.unwrap().unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections_and_no_more() {
    let hub = Hub::bounded(Bounds { per_address: 2, ..Bounds::default() }).await;
    let (mut one, mut two) = (connect(&hub).await, connect(&hub).await);
    assert_eq!(alive(&mut one).await, "HTTP/1.1 200 OK");
    assert_eq!(alive(&mut two).await, "HTTP/1.1 200 OK");
    assert_eq!(alive(&mut connect(&hub).await).await, "");
    drop(one);
    let free = async { while alive(&mut connect(&hub).await).await.is_empty() {} };
    tokio::time::timeout(HANG, free).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_does_not_read_loses_its_place() {
    let write_timeout = Duration::from_millis(200);
    let hub = Hub::bounded(Bounds { connections: 1, write_timeout, ..Bounds::default() }).await;
    let mut deaf = connect(&hub).await;
    // Request after request, none of whose answers is read, until the hub takes no more.
    let asking = async {
        let request = b"GET /v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
        while deaf.write_all(&request).await.is_ok() {}
    };
    tokio::time::timeout(HANG, asking).await.expect("the hub has closed it");
    // The only place is free again.
    assert_eq!(alive(&mut connect(&hub).await).await, "HTTP/1.1 200 OK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_stream_of_a_server_ends_the_first() {
    let hub = Hub::bounded(Bounds::default()).await;
    let (_, credential) = server(&hub, "Server1").await;
    let listen = || hub.ask("GET", "/v1/agent/events", &credential).send();
    let mut first = listen().await.unwrap();
    heard(&mut first, "settings").await;
    let mut second = listen().await.unwrap();
    heard(&mut second, "settings").await;
    let ended = tokio::time::timeout(HANG, async { while let Ok(Some(_)) = first.chunk().await {} }).await;
    assert!(ended.is_ok(), "the first goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_agent_too_many_is_told_when_to_come_back_and_people_get_in() {
    let hub = Hub::bounded(Bounds { connections: 12, ..Bounds::default() }).await;
    assert_eq!(Bounds { connections: 12, ..Bounds::default() }.streams(), 11);
    let mut open = Vec::new();
    for number in 0..11 {
        let (_, credential) = server(&hub, &format!("Server{number}")).await;
        let mut stream = hub.ask("GET", "/v1/agent/events", &credential).send().await.unwrap();
        heard(&mut stream, "settings").await;
        open.push(stream);
    }
    let (_, credential) = server(&hub, "Server11").await;
    let refused = hub.ask("GET", "/v1/agent/events", &credential).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((5..=60).contains(&wait), "{wait}");
    drop(refused);
    assert_eq!(hub.ask("GET", "/livez", "").send().await.unwrap().status(), 200);
}
