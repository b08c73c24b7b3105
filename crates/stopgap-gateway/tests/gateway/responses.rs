//! Rules for responses.

use crate::harness::*;

/// M2: one more directive in the policy of OWA's pages, where they have one and where not.
const M2: &str = r#"<rewrite><outboundRules>
    <rule name="OWA CSP - outbound" preCondition="OWA pages">
        <match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)"/>
        <action type="Rewrite" value="{R:1}; script-src-attr 'none'"/>
    </rule>
    <preConditions><preCondition name="OWA pages">
        <add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/>
        <add input="{REQUEST_URI}" pattern="^/owa/?($|\?|default\.aspx)"/>
    </preCondition></preConditions>
</outboundRules></rewrite>"#;

fn rewriting(variable: &str, value: &str) -> String {
    format!(
        r#"<rewrite><outboundRules><rule name="r"><match serverVariable="{variable}" pattern=".*"/>
            <action type="Rewrite" value="{value}"/></rule></outboundRules></rewrite>"#
    )
}

fn fields<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim_end()).collect()
}

/// A request whose answer has the given fields.
fn answered_with(method: &str, target: &str, answer: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\nX-Answer: {answer}\r\n\r\n")
}

const CSP: &str = "content-security-policy";

#[tokio::test(flavor = "multi_thread")]
async fn m2_adds_its_directive_to_owa_pages_and_to_nothing_else() {
    let gateway = Running::with_rules(M2).await;
    let mut client = gateway.client().await;
    let html = "200 OK|Content-Type: text/html; charset=utf-8";
    let policy = format!("{html}|Content-Security-Policy: default-src 'self'");
    let twice = format!("{policy}|Content-Security-Policy: frame-src 'none'");
    let json = "200 OK|Content-Type: application/json|Content-Security-Policy: default-src 'self'";
    for (target, answer, expected) in [
        ("/owa/", html, vec!["; script-src-attr 'none'"]),
        ("/owa/?ae=Folder", policy.as_str(), vec!["default-src 'self'; script-src-attr 'none'"]),
        ("/owa/default.aspx", &twice, vec!["default-src 'self', frame-src 'none'; script-src-attr 'none'"]),
        ("/owa/service.svc", &policy, vec!["default-src 'self'"]),
        ("/ecp/", html, vec![]),
        ("/owa/", json, vec!["default-src 'self'"]),
    ] {
        client.send(answered_with("GET", target, answer)).await;
        let received = client.response().await.unwrap();
        assert_eq!(fields(&received.head, CSP), expected, "{target}: {answer}");
        assert_eq!((received.status, received.body.as_str()), (200, "answer"), "{target}: {answer}");
    }
    let status = gateway.ask(r#"{"command":"status"}"#).await;
    assert_eq!((&status["changed"], &status["rules"], &status["refused"]), (&3.into(), &1.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_final_response_of_the_origin_is_reviewed_and_bodies_are_left_alone() {
    let gateway = Running::with_rules(&rewriting("RESPONSE_X_Mark", "new")).await;
    let mut client = gateway.client().await;
    client.send(request("HEAD", "/any")).await;
    let head = client.head().await.unwrap();
    assert_eq!(
        (field(&head, "x-mark"), field(&head, "content-length")),
        (Some("new"), Some("1234")),
        "{head}"
    );
    for target in ["/unchanged", "/none", "/until-close"] {
        let received = gateway.get(target).await.unwrap();
        assert_eq!(field(&received.head, "x-mark"), Some("new"), "{target}");
    }
    // Both directions are still open when the head arrives.
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    assert_eq!(field(&client.head().await.unwrap(), "x-mark"), Some("new"));
    assert_eq!(client.chunk().await.unwrap(), b"abc");
    client.send("3\r\nxyz\r\n0\r\n\r\n").await;
    assert_eq!(client.chunk().await.unwrap(), b"xyz");
    assert_eq!(client.chunk().await, None);

    // What the gateway says itself, and a handshake, are not the origin's pages.
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let head = client.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101") && field(&head, "x-mark").is_none(), "{head}");
    assert_eq!(client.exactly(5).await, b"hello");
    let own = gateway.get("/hangup").await.unwrap();
    assert_eq!((own.status, field(&own.head, "x-mark")), (502, None));
    let mut declined = gateway.client().await;
    declined
        .send("GET /ws?refuse HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    let declined = declined.response().await.unwrap();
    assert_eq!((declined.status, field(&declined.head, "x-mark")), (403, Some("new")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_remove_fields_and_see_what_the_client_sent() {
    let rules = r#"<rewrite><outboundRules>
        <rule name="hide"><match serverVariable="RESPONSE_Server" pattern=".+"/><action type="Rewrite" value=""/></rule>
        <rule name="name"><match serverVariable="RESPONSE_X_Asked" pattern=".*"/>
            <action type="Rewrite" value="{REQUEST_METHOD} {REQUEST_URI} {HTTP_CONNECTION}"/></rule>
        <rule name="cookies"><match serverVariable="RESPONSE_Set_Cookie" pattern="^(.*)$"/>
            <action type="Rewrite" value="{R:1}; HttpOnly"/></rule>
    </outboundRules></rewrite>"#;
    let gateway = Running::with_rules(rules).await;
    let mut client = gateway.client().await;
    let answer = "200 OK|Server: s|Set-Cookie: a=1|Set-Cookie: b=2";
    client
        .send(format!("GET /p?q HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nX-Answer: {answer}\r\n\r\n"))
        .await;
    let head = client.response().await.unwrap().head;
    assert_eq!(field(&head, "server"), None, "{head}");
    assert_eq!(field(&head, "x-asked"), Some("GET /p?q keep-alive"), "{head}");
    assert_eq!(fields(&head, "set-cookie"), ["a=1; HttpOnly", "b=2; HttpOnly"], "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_would_frame_a_response_anew_is_refused_when_it_is_activated() {
    let gateway = Running::with_rules(&rewriting("RESPONSE_X_Mark", "kept")).await;
    for name in ["Content_Length", "TRANSFER_ENCODING", "connection", "Keep_Alive", "Trailer", "Upgrade"] {
        let answer = gateway.activate(&rewriting(&format!("RESPONSE_{name}"), "7")).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains("rule \"r\"") && error.contains(name), "{name}: {answer}");
    }
    assert_eq!(field(&gateway.get("/a").await.unwrap().head, "x-mark"), Some("kept"));
    // To look at one is no harm.
    let looking = rewriting("RESPONSE_X_Length", "seen").replace(
        "<action",
        r#"<conditions><add input="{RESPONSE_CONTENT_LENGTH}" pattern="^2$"/></conditions><action"#,
    );
    assert_eq!(gateway.activate(&looking).await["error"], serde_json::Value::Null);
    assert_eq!(field(&gateway.get("/a").await.unwrap().head, "x-length"), Some("seen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_cannot_be_judged_is_withheld_and_counted() {
    let rules = r#"<rewrite><outboundRules><rule name="slow">
        <match serverVariable="RESPONSE_X_Long" pattern="^(?=(a*)*b)(a|a)*\1$"/><action type="Rewrite" value="x"/>
    </rule></outboundRules></rewrite>"#;
    let gateway = Running::with_rules(rules).await;
    let mut client = gateway.client().await;
    client.send(answered_with("GET", "/", &format!("200 OK|X-Long: {}", "a".repeat(400)))).await;
    let withheld = client.response().await.unwrap();
    assert_eq!((withheld.status, withheld.body.as_str()), (502, "response-withheld\n"));
    let status = gateway.ask(r#"{"command":"status"}"#).await;
    assert_eq!((&status["over_limit"], &status["by_rule"]["slow"]), (&1.into(), &1.into()), "{status}");
    client.send(answered_with("GET", "/", "200 OK|X-Long: b")).await;
    assert_eq!(client.response().await.unwrap().body, "answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_response_are_judged_by_one_set() {
    let gateway = Running::with_rules(&rewriting("RESPONSE_X_Mark", "old")).await;
    let mut client = gateway.client().await;
    let slow = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(slow).await;
    patiently("the request at the origin", async {
        while gateway.origin.log().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = gateway.activate(&rewriting("RESPONSE_X_Mark", "new")).await;
    assert_eq!((&answer["older"]["requests"], &answer["sets"]), (&1.into(), &2.into()), "{answer}");
    gateway.origin.release();
    assert_eq!(field(&client.response().await.unwrap().head, "x-mark"), Some("old"));
    patiently("the end of the earlier set", async {
        loop {
            let status = gateway.ask(r#"{"command":"status"}"#).await;
            if status["settled"] == true && status["sets"] == 1 {
                break;
            }
        }
    })
    .await;
    client.send(slow).await;
    assert_eq!(field(&client.response().await.unwrap().head, "x-mark"), Some("new"));
}
