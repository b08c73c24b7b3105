//! What rules refuse, and how it looks from outside.

use crate::harness::*;

const REVISIONS: [(&str, &str); 4] = [
    ("{REQUEST_URI}", r".*autodiscover\.json.*\@.*Powershell.*"),
    ("{REQUEST_URI}", r".*autodiscover\.json.*Powershell.*"),
    ("{UrlDecode:{REQUEST_URI}}", r".*autodiscover\.json.*Powershell.*"),
    ("{UrlDecode:{REQUEST_URI}}", "(?=.*autodiscover)(?=.*powershell)"),
];

/// Each request with the first revision that blocks it; all later ones do too.
const REQUESTS: [(&str, usize); 6] = [
    (
        "/autodiscover/autodiscover.json?@evil.example/PowerShell/&Email=autodiscover/autodiscover.json%3f@evil.example",
        0,
    ),
    (
        "/autodiscover/autodiscover.json?a..foo.var/owa/?&Email=autodiscover/autodiscover.json?a..foo.var&Protocol=XYZ&FooProtocol=Powershell",
        1,
    ),
    ("/autodiscover/autodiscover.json?x/p%6Fwershell/", 2),
    ("/PowerShell/?Email=autodiscover/autodiscover.json", 3),
    ("/autodiscover/autodiscover.xml", 4),
    ("/powershell", 4),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_revision_of_m1_aborts_what_it_names_and_nothing_else() {
    let gateway = Running::start().await;
    for (target, _) in REQUESTS {
        assert_eq!(gateway.get(target).await.unwrap().status, 200, "before any rule: {target}");
    }
    for (revision, (input, pattern)) in REVISIONS.into_iter().enumerate() {
        assert_eq!(gateway.activate(&m1(input, pattern)).await["error"], serde_json::Value::Null);
        for (target, first) in REQUESTS {
            let before = gateway.origin.log().len();
            let answer = gateway.get(target).await;
            let reached = gateway.origin.log().len() - before;
            if revision >= first {
                assert_eq!((answer, reached), (None, 0), "R{}: {target}", revision + 1);
            } else {
                assert_eq!((answer.unwrap().status, reached), (200, 1), "R{}: {target}", revision + 1);
            }
        }
    }
    assert_eq!(gateway.activate("").await["rules"], 0);
    assert_eq!(gateway.get(REQUESTS[0].0).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_request_is_met_with_silence_after_the_answers_before_it() {
    let gateway = Running::with_rules(&m1("{REQUEST_URI}", "evil")).await;
    let mut client = gateway.client().await;
    let (one, two) = (request("GET", "/1"), request("GET", "/2"));
    let (evil, three) = (request("GET", "/evil"), request("GET", "/3"));
    client.send(format!("{one}{two}{evil}{three}")).await;
    assert_eq!(client.response().await.unwrap().body, "ok");
    assert_eq!(client.response().await.unwrap().body, "ok");
    assert_eq!(client.rest().await, b"");
    assert_eq!(gateway.origin.log(), ["GET /1", "GET /2"]);
}

/// The answer before is too large for the buffers of the sockets, so it is still being written when
/// the request behind it is judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_sent_whole_before_the_connection_is_cut() {
    let gateway = Running::with_rules(&m1("{REQUEST_URI}", "evil")).await;
    let body = "x".repeat(8 * 1024 * 1024);
    let post = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    let (mut read, mut write) = {
        let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        stream.into_split()
    };
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        write.write_all(format!("{post}{body}{}", request("GET", "/evil")).as_bytes()).await.unwrap();
        write
    });
    let mut bytes = Vec::new();
    let _ = patiently("the echo", tokio::io::AsyncReadExt::read_to_end(&mut read, &mut bytes)).await;
    drop(sending.await.unwrap());
    assert_eq!(bytes.iter().filter(|octet| **octet == b'x').count(), 8 * 1024 * 1024);
    assert!(bytes.ends_with(b"0\r\n\r\n"), "cut at {} octets", bytes.len());
    assert_eq!(gateway.origin.log(), ["POST /echo"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_request_that_expects_100_or_sends_a_body_gets_no_octet() {
    let gateway = Running::with_rules(&m1("{REQUEST_URI}", "evil")).await;
    for fields in ["Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", "Content-Length: 5\r\n\r\nabcde"] {
        let mut client = gateway.client().await;
        client.send(format!("POST /evil HTTP/1.1\r\nHost: a\r\n{fields}")).await;
        assert_eq!(client.rest().await, b"", "{fields:?}");
    }
    assert_eq!(gateway.origin.log(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_answer_redirect_and_rewrite() {
    let gateway = Running::with_rules(
        r#"<rewrite><rules>
            <rule name="gone"><match url="^gone$"/>
                <action type="CustomResponse" statusCode="403" statusReason="By Rule" statusDescription="so it is"/></rule>
            <rule name="moved"><match url="^old/(.*)"/>
                <action type="Redirect" url="/new/{R:1}" redirectType="Temporary"/></rule>
            <rule name="mapped"><match url="^in/(.*)"/>
                <serverVariables><set name="HTTP_X_RULE" value="mapped {R:1}"/></serverVariables>
                <action type="Rewrite" url="/head"/></rule>
        </rules></rewrite>"#,
    )
    .await;
    let answer = gateway.get("/gone").await.unwrap();
    assert!(answer.head.starts_with("HTTP/1.1 403 By Rule\r\n"), "{}", answer.head);
    assert_eq!(answer.body, "so it is");
    let answer = gateway.get("/old/a%20b?q=1").await.unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(field(&answer.head, "location"), Some("/new/a%20b?q=1"));
    assert_eq!(gateway.origin.log(), Vec::<String>::new());
    let answer = gateway.get("/in/place?q=1").await.unwrap();
    assert!(answer.body.starts_with("GET /head?q=1 HTTP/1.1\r\n"), "{}", answer.body);
    assert_eq!(field(&answer.body, "x-rule"), Some("mapped place"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_read_even_where_connection_names_them() {
    let gateway = Running::with_rules(&m1("{HTTP_COOKIE}", "(.*)X-AnonResource-Backend(.*)")).await;
    for connection in ["", "Connection: Cookie\r\n"] {
        let mut client = gateway.client().await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{connection}Cookie: a=b; X-AnonResource-Backend=x\r\n\r\n"
            ))
            .await;
        assert_eq!(client.rest().await, b"");
    }
    assert_eq!(gateway.origin.log(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_many_steps_to_judge_is_refused_and_counted() {
    // A back-reference behind nested repetition: exponential for an engine that backtracks.
    let gateway = Running::with_rules(&m1("{REQUEST_URI}", r"^/(a*)*(a*)*(a*)*\1\2\3b$")).await;
    assert_eq!(gateway.get("/ordinary").await.unwrap().status, 200);
    let status = gateway.ask(r#"{"command":"status"}"#).await;
    assert_eq!((&status["refused"], &status["over_limit"]), (&0.into(), &0.into()));
    assert_eq!(gateway.get(&format!("/{}c", "a".repeat(4000))).await, None);
    let status = gateway.ask(r#"{"command":"status"}"#).await;
    assert_eq!((&status["refused"], &status["over_limit"]), (&1.into(), &1.into()));
    assert_eq!(gateway.origin.log(), ["GET /ordinary"]);
}
