//! The mitigations that were released, on the requests for which they were made.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{M1_REQUESTS, cookie_rules, engine, get, m1};
use stopgap_rules::{Budget, Connection, Outcome, Request};

#[test]
fn the_four_revisions_of_m1_block_what_they_blocked() {
    for (revision, expected) in [(1, "x...."), (2, "xx..."), (3, "xxx.."), (4, "xxxx.")] {
        let engine = engine(&m1(revision));
        let found: String = M1_REQUESTS
            .iter()
            .map(|target| match get(&engine, target).action {
                Outcome::AbortRequest => 'x',
                _ => '.',
            })
            .collect();
        assert_eq!(found, format!("{expected}."), "revision {revision}");
    }
}

#[test]
fn the_verdict_is_the_documented_json() {
    let verdict = get(&engine(&m1(4)), M1_REQUESTS[0]);
    assert_eq!(
        serde_json::to_string(&verdict).unwrap(),
        r#"{"action":"AbortRequest","rule":"EEMS M1.1 PowerShell - inbound","status":null,"substatus":null,"url":null,"headers":{}}"#
    );
    let verdict = get(&engine(&m1(4)), "/owa/");
    assert_eq!(
        serde_json::to_string(&verdict).unwrap(),
        r#"{"action":"None","rule":null,"status":null,"substatus":null,"url":null,"headers":{}}"#
    );
}

#[test]
fn the_cookie_rules_of_proxylogon_read_the_cookie() {
    let engine = engine(&cookie_rules());
    for (cookie, expected) in [
        ("X-AnonResource-Backend=localhost/ecp/default.flt?~3", Outcome::AbortRequest),
        ("a=b; x-anonresource-backend", Outcome::AbortRequest),
        ("X-BEResource=localhost/owa/auth/logon.aspx?~3", Outcome::AbortRequest),
        ("X-BEResource=a/b~c", Outcome::AbortRequest),
        ("X-BEResource=a~1942062522", Outcome::None),
        ("X-BEResource=/b~c", Outcome::None),
        ("X-BEResource=a/b~", Outcome::None),
        ("X-BEResource=a/~c", Outcome::None),
        ("UserContext=1", Outcome::None),
    ] {
        let head = format!("GET /ecp/ HTTP/1.1\r\nHost: mail.example.org\r\nCookie: {cookie}\r\n\r\n");
        let request = Request::parse_head(head.as_bytes(), &Connection::default()).unwrap();
        assert_eq!(engine.evaluate(&request).action, expected, "{cookie}");
    }
}

/// A request refused at the limit is a harm, so a long one must stay far below it.
#[test]
fn long_requests_take_no_steps() {
    let long = [
        "/owa/".to_owned() + &"a".repeat(8_192),
        "/".to_owned() + &"autodiscover".repeat(700),
        "/".to_owned() + &"powershell".repeat(800),
        "/".to_owned() + &"%".repeat(8_192),
        "/".to_owned() + &"%41".repeat(2_700),
        "/".to_owned() + &"autodiscover.json@".repeat(450),
    ];
    for revision in 1..=4 {
        let rules = m1(revision);
        let condition = &rules.rules[0].conditions.list[0];
        let pattern =
            stopgap_rules::pattern::Pattern::compile(&condition.pattern, true, &Default::default()).unwrap();
        for target in &long {
            let mut budget = Budget::new(0);
            assert_eq!(pattern.is_match(target, &mut budget), Ok(false));
            let verdict = get(&engine(&rules), target);
            assert_eq!((verdict.action, verdict.over_limit), (Outcome::None, false));
        }
    }
}
