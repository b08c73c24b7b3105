//! What a stranger can make the gateway hold or wait for.

use std::time::Duration;

use stopgap_gateway::{Gateway, Limits, Settings};

use crate::harness::*;

const SHORT: Duration = Duration::from_millis(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_head_over_the_limit_is_answered_431() {
    let gateway = Running::with(Limits { head_bytes: 2048, ..Limits::default() }).await;
    for head in [
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(3000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(3000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(101)),
    ] {
        let mut client = gateway.client().await;
        client.send(&head).await;
        assert_eq!(client.response().await.unwrap().status, 431, "{}", &head[..40]);
        assert_eq!(client.rest().await, b"");
    }
    assert_eq!(gateway.origin.log(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_at_the_default_limit_passes() {
    let gateway = Running::start().await;
    let target = format!("/{}", "x".repeat(60_000));
    let fields = "X: y\r\n".repeat(99);
    let mut client = gateway.client().await;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    assert_eq!(client.response().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let gateway = Running::with(Limits { head: SHORT, ..Limits::default() }).await;
    let mut silent = gateway.client().await;
    assert_eq!(silent.rest().await, b"");
    let mut trickling = gateway.client().await;
    trickling.send("GET / HTTP/1.1\r\nX: ").await;
    let end = async {
        loop {
            trickling.send("x").await;
            tokio::select! {
                rest = trickling.rest() => break rest,
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
    };
    assert_eq!(patiently("the end", end).await, b"");
    assert_eq!(gateway.origin.log(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_and_a_stalled_body_are_not_waited_for() {
    let gateway = Running::with(Limits { keep_alive: SHORT, client: SHORT, ..Limits::default() }).await;
    let mut idle = gateway.client().await;
    idle.send(request("GET", "/")).await;
    assert_eq!(idle.response().await.unwrap().status, 200);
    assert_eq!(idle.rest().await, b"");
    let mut stalled = gateway.client().await;
    stalled.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert_eq!(stalled.rest().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_origin_is_answered_504_and_an_absent_one_502() {
    let gateway = Running::with(Limits { origin: SHORT, ..Limits::default() }).await;
    let answer = gateway.get("/silent").await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (504, "origin-silent\n"));
    assert_eq!(gateway.get("/").await.unwrap().status, 200);

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Running::before(Origin::start().await, nobody, Limits::default(), None).await;
    let answer = gateway.get("/").await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (502, "origin-connect\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_wait_for_their_turn() {
    let gateway = Running::with(Limits { connections: 2, ..Limits::default() }).await;
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    for client in [&mut first, &mut second] {
        client.send(request("GET", "/")).await;
        assert_eq!(client.response().await.unwrap().status, 200);
    }
    let mut third = gateway.client().await;
    third.send(request("GET", "/third")).await;
    tokio::select! {
        _ = third.head() => panic!("a third connection was served"),
        () = tokio::time::sleep(SHORT) => {}
    }
    drop(first);
    assert_eq!(third.response().await.unwrap().status, 200);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_progress_finishes_when_the_gateway_stops() {
    let mut gateway = Running::start().await;
    let mut idle = gateway.client().await;
    idle.send(request("GET", "/")).await;
    assert_eq!(idle.response().await.unwrap().status, 200);
    let mut busy = gateway.client().await;
    busy.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    busy.head().await.unwrap();
    assert_eq!(busy.chunk().await.unwrap(), b"one");
    gateway.begin_stop();
    assert_eq!(idle.rest().await, b"");
    busy.send("3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(busy.chunk().await.unwrap(), b"two");
    assert_eq!(busy.chunk().await, None);
    assert_eq!(busy.rest().await, b"");
    gateway.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_is_cut_after_the_drain_time() {
    let gateway = Running::with(Limits { drain: SHORT, ..Limits::default() }).await;
    let mut waiting = gateway.client().await;
    waiting.send(request("GET", "/silent")).await;
    patiently("the origin", async {
        while gateway.origin.log().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gateway.stopped().await;
    assert_eq!(waiting.rest().await, b"");
}

#[tokio::test]
async fn limits_out_of_range_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (limits, name) in [
        (Limits { head_bytes: 10, ..Limits::default() }, "head_bytes"),
        (Limits { head_fields: 101, ..Limits::default() }, "head_fields"),
        (Limits { connections: 0, ..Limits::default() }, "connections"),
    ] {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let upstream = "http://127.0.0.1:9".parse().unwrap();
        let mut settings =
            Settings::new(listen, upstream, folder.path().join("rules"), folder.path().join("control"));
        settings.limits = limits;
        let error = Gateway::bind(settings).await.err().unwrap();
        assert_eq!(error.code(), "limit");
        assert!(error.to_string().contains(name), "{error}");
    }
}
