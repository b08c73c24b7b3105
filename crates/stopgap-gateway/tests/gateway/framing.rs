//! Messages that could be read in two ways, on the wire.

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_framed_in_two_ways_is_refused_and_reaches_nobody() {
    let gateway = Running::start().await;
    for (head, status, reason) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "Content-Length beside",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "more than one Host"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "Host field is missing"),
        ("GET / HTTP/1.1\nHost: a\n\n", 400, "line feed alone"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\n\r\n", 400, "line feed alone"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400, "folded"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400, "NUL"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400, "target"),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "authority"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "Transfer-Encoding"),
    ] {
        let mut client = gateway.client().await;
        client.send(format!("{head}{}", request("GET", "/smuggled"))).await;
        let answer = client.response().await.unwrap();
        assert_eq!(answer.status, status, "{head:?}");
        assert!(answer.body.contains(reason), "{head:?}: {}", answer.body);
        assert_eq!(field(&answer.head, "connection"), Some("close"), "{head:?}");
        assert_eq!(client.rest().await, b"", "{head:?}");
    }
    assert_eq!(gateway.origin.log(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_waits_for_the_answers_before_it() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    let one = request("GET", "/1");
    client.send(format!("{one}{one}GET / HTTP/1.1\nHost: a\n\n{one}")).await;
    assert_eq!(client.response().await.unwrap().status, 200);
    assert_eq!(client.response().await.unwrap().status, 200);
    assert_eq!(client.response().await.unwrap().status, 400);
    assert_eq!(client.rest().await, b"");
    assert_eq!(gateway.origin.log(), ["GET /1", "GET /1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_for_a_refused_request_is_no_secret_word() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: refused.invalid\r\n\r\n").await;
    assert_eq!(client.response().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_chunks_break_off_ends_the_connection() {
    let gateway = Running::start().await;
    for rest in ["3\nabc\n0\n\n", "zz\r\n", "3\r\nabcd\r\n0\r\n\r\n"] {
        let mut client = gateway.client().await;
        client
            .send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await;
        assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
        assert_eq!(client.chunk().await.unwrap(), b"first");
        client.send(rest).await;
        let seen = String::from_utf8(client.rest().await).unwrap();
        assert!(!seen.contains("HTTP/1.1") && !seen.ends_with("0\r\n\r\n"), "{rest:?}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_pieces_and_in_heaps_are_answered_in_order() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    let requests: String = (0..40)
        .map(|n| match n % 3 {
            0 => request("GET", &format!("/{n}")),
            1 => format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789"),
            _ => format!(
                "POST /echo?{n} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5;x=y\r\nab\nGE\r\n0\r\nX-Sum: 1\r\n\r\n"
            ),
        })
        .collect();
    for piece in requests.as_bytes().chunks(7) {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    for n in 0..40 {
        let expected = if n % 3 == 2 { "ab\nGE" } else { "ok" };
        assert_eq!(client.response().await.unwrap().body, expected, "response {n}");
    }
    client.send(&requests).await;
    for n in 0..40 {
        assert_eq!(client.response().await.unwrap().status, 200, "response {n} of the heap");
    }
    assert_eq!(gateway.origin.log().len(), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_target_reaches_the_origin_and_the_rules_in_origin_form() {
    let gateway = Running::with_rules(&m1("{REQUEST_URI}", "^/evil")).await;
    for (target, seen) in [("http://A/x?y", "GET /x?y"), ("http://a", "GET /"), ("http://a?q", "GET /?q")] {
        let mut client = gateway.client().await;
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(client.response().await.unwrap().status, 200, "{target}");
        assert_eq!(gateway.origin.log().last().unwrap(), seen);
    }
    let mut client = gateway.client().await;
    client.send("GET http://a/evil HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.rest().await, b"");
}
