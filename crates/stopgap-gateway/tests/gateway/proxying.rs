//! What goes through unchanged, and what a proxy must change.

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn target_and_fields_reach_the_origin_as_they_were() {
    let gateway = Running::start().await;
    let target = "/a//b/../%2e%2E/c%20d;e=f/{g}|^h'?q=%zz&r=%&s=a+b?t=%C3%A9";
    let mut client = gateway.client().await;
    client
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: Name.Example:81\r\nX-Two: 1\r\nX-Two: 2\r\nCookie: a=b\r\n\r\n"
        ))
        .await;
    assert_eq!(client.response().await.unwrap().status, 200);
    assert_eq!(gateway.origin.log(), [format!("GET {target}")]);

    client.send("GET /head HTTP/1.1\r\nHost: Name.Example:81\r\nX-Two: 1\r\nX-Two: 2\r\nConnection: keep-alive, X-Drop\r\nX-Drop: 1\r\nTE: trailers\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n").await;
    let seen = client.response().await.unwrap().body;
    let mut lines: Vec<_> = seen.lines().skip(1).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "host: Name.Example:81",
            "x-forwarded-for: 192.0.2.7, 127.0.0.1",
            "x-forwarded-proto: http",
            "x-two: 1",
            "x-two: 2",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_without_a_body_and_with_every_kind_of_end_are_passed_on() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    client
        .send(format!(
            "{}{}{}",
            request("HEAD", "/size"),
            request("GET", "/none"),
            request("GET", "/unchanged")
        ))
        .await;
    let head = client.head().await.unwrap();
    assert_eq!(field(&head, "content-length"), Some("1234"));
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 204"));
    let unchanged = client.head().await.unwrap();
    assert!(unchanged.starts_with("HTTP/1.1 304"), "{unchanged}");
    assert_eq!(field(&unchanged, "etag"), Some("\"1\""));
    client.send(request("GET", "/until-close")).await;
    assert_eq!(client.response().await.unwrap().body, "until close");
    client.send(request("GET", "/hop")).await;
    let hop = client.response().await.unwrap();
    for name in ["x-hop", "keep-alive", "connection"] {
        assert_eq!(field(&hop.head, name), None, "{}", hop.head);
    }
    client.send(request("GET", "/plain")).await;
    let plain = client.response().await.unwrap();
    assert!(plain.head.starts_with("HTTP/1.1 200 Fine\r\n"), "{}", plain.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_trailers_reach_a_client_that_takes_them() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    client.send("GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n").await;
    let all = String::from_utf8(client.rest().await).unwrap();
    assert!(all.ends_with("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    for word in ["first", "second", "third"] {
        // Each comes back before the next is sent.
        client.send(format!("{:x}\r\n{word}\r\n", word.len())).await;
        assert_eq!(client.chunk().await.unwrap(), word.as_bytes());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, None);

    // A body is a body, whatever the method.
    client.send("GET /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    client.send("5\r\nquery\r\n0\r\n\r\n").await;
    assert_eq!(client.chunk().await.unwrap(), b"query");
    assert_eq!(client.chunk().await, None);

    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234").await;
    client.head().await.unwrap();
    assert_eq!(client.chunk().await.unwrap(), b"01234");
    client.send("56789").await;
    assert_eq!(client.chunk().await.unwrap(), b"56789");
    assert_eq!(client.chunk().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_100_gets_it_and_the_origin_is_not_asked() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    client
        .send("POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert_eq!(client.head().await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("01234").await;
    assert_eq!(client.response().await.unwrap().body, "ok");
    client.send("POST /head HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(field(&client.response().await.unwrap().body, "expect"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_origin_are_used_again() {
    let gateway = Running::start().await;
    for n in 0..20 {
        assert_eq!(gateway.get(&format!("/{n}")).await.unwrap().status, 200);
    }
    assert_eq!(gateway.origin.connections(), 1);
    let mut client = gateway.client().await;
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n01234").await;
    assert_eq!(client.response().await.unwrap().status, 200);
    assert_eq!(gateway.origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_responses_are_left_out_and_heads_come_in_any_pieces() {
    let gateway = Running::start().await;
    for (target, body) in [("/hints", "final"), ("/drip", "dripped"), ("/hints", "final")] {
        let answer = gateway.get(target).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{target}");
        assert_eq!(field(&answer.head, "link"), None);
    }
    assert_eq!(gateway.origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn octets_behind_a_response_never_become_the_answer_to_the_next_request() {
    let gateway = Running::start().await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/surplus").await.unwrap().body, "asked");
        assert_eq!(gateway.get("/next").await.unwrap().body, "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_closes_a_kept_connection_costs_no_request() {
    let gateway = Running::start().await;
    for _ in 0..50 {
        assert_eq!(gateway.get("/last").await.unwrap().body, "last");
        assert_eq!(gateway.get("/next").await.unwrap().body, "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_hangs_up_is_answered_502_after_one_repetition_at_most() {
    let gateway = Running::start().await;
    gateway.get("/warm").await.unwrap();
    assert_eq!(gateway.get("/hangup").await.unwrap().status, 502);
    assert_eq!(gateway.origin.log(), ["GET /warm", "GET /hangup", "GET /hangup"]);

    gateway.get("/warm").await.unwrap();
    let mut client = gateway.client().await;
    client.send("POST /hangup HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.response().await.unwrap().status, 502);
    let posts = gateway.origin.log().into_iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(posts, 1, "a POST is not repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_breaks_off_is_not_completed_for_the_client() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    client.send(request("GET", "/half")).await;
    // How much of it arrives depends on when the origin's end is noticed.
    if let Some(head) = client.head().await {
        assert_eq!(field(&head, "content-length"), Some("9"));
        assert_eq!(client.rest().await, b"half");
    }
    let answer = gateway.get("/gzip").await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (502, "origin-transfer-coding\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_clients_are_served_and_closed() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    client.send("GET /echo HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let all = String::from_utf8(client.rest().await).unwrap();
    assert!(all.starts_with("HTTP/1.0 200") && !all.contains("chunked"), "{all}");
}
