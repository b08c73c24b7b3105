//! WebSockets, and what must not become a tunnel.

use std::time::Duration;

use stopgap_gateway::Limits;

use crate::harness::*;

const UPGRADE: &str = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_carries_octets_both_ways_and_each_side_ends_on_its_own() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    client.send(format!("GET /ws HTTP/1.1\r\n{UPGRADE}")).await;
    let head = client.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(client.exactly(5).await, b"hello");
    client.send(b"not\nhttp\0\xff").await;
    assert_eq!(client.exactly(10).await, b"NOT\nHTTP\0\xff");
    client.close_write().await;
    assert_eq!(client.rest().await, b"bye");
}

#[tokio::test(flavor = "multi_thread")]
async fn octets_sent_before_the_answer_wait_for_it() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    client.send(format!("GET /ws HTTP/1.1\r\n{UPGRADE}early")).await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101"));
    assert_eq!(client.exactly(10).await, b"helloEARLY");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_declined_upgrade_requests_go_on_and_are_judged() {
    let gateway = Running::with_rules(&m1("{REQUEST_URI}", "evil")).await;
    let mut client = gateway.client().await;
    let (next, evil) = (request("GET", "/next"), request("GET", "/evil"));
    client.send(format!("GET /ws?refuse HTTP/1.1\r\n{UPGRADE}{next}{evil}")).await;
    let declined = client.response().await.unwrap();
    assert_eq!((declined.status, declined.body.as_str()), (403, "no"));
    assert_eq!(client.response().await.unwrap().body, "ok");
    assert_eq!(client.rest().await, b"");
    assert_eq!(gateway.origin.log(), ["GET /ws?refuse", "GET /next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_applies_to_an_upgrade_and_answers_go_on_behind_it() {
    let gateway = Running::with_rules(&answering("ws", 410)).await;
    let mut client = gateway.client().await;
    client.send(format!("GET /ws HTTP/1.1\r\n{UPGRADE}{}", request("GET", "/next"))).await;
    assert_eq!(client.response().await.unwrap().status, 410);
    assert_eq!(client.response().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_are_not_passed_on() {
    let gateway = Running::start().await;
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Upgrade: websocket\r\n",
    ] {
        let mut client = gateway.client().await;
        client.send(format!("GET /head HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        let answer = client.response().await.unwrap();
        assert_eq!(answer.status, 200);
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(field(&answer.body, name), None, "{}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_in_which_nothing_moves_ends() {
    let limits = Limits { tunnel: Duration::from_millis(80), ..Limits::default() };
    let gateway = Running::with(limits).await;
    let mut client = gateway.client().await;
    client.send(format!("GET /ws HTTP/1.1\r\n{UPGRADE}")).await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101"));
    assert_eq!(client.rest().await, b"hello");
}
