//! Rules for responses: M2 as it was released, and the language case by case.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::engine;
use stopgap_rules::{
    Condition, Conditions, Connection, Engine, OutboundAction, OutboundRule, OutboundSubject, PatternSyntax,
    PreCondition, Request, Response, RuleSet,
};

fn m2() -> Engine {
    let condition = |input: &str, pattern: &str| Condition {
        input: input.into(),
        match_type: Default::default(),
        pattern: pattern.into(),
        ignore_case: true,
        negate: false,
    };
    let name = "EEMS M2.1 OWA SPA HTML shell - precondition";
    engine(&RuleSet {
        outbound: vec![OutboundRule {
            name: "EEMS M2.1 OWA CSP - outbound".into(),
            level: Default::default(),
            enabled: true,
            pre_condition: Some(name.into()),
            pattern_syntax: PatternSyntax::EcmaScript,
            stop_processing: false,
            subject: OutboundSubject::Variable("RESPONSE_Content_Security_Policy".into()),
            pattern: "(.*)".into(),
            ignore_case: true,
            negate: false,
            conditions: Conditions { track_all_captures: true, ..Default::default() },
            action: OutboundAction::Rewrite { value: "{R:1}; script-src-attr 'none'".into(), replace: true },
        }],
        pre_conditions: vec![PreCondition {
            name: name.into(),
            grouping: Default::default(),
            pattern_syntax: PatternSyntax::EcmaScript,
            list: vec![
                condition("{RESPONSE_CONTENT_TYPE}", "^text/html"),
                condition(
                    "{REQUEST_URI}",
                    r"^/owa/?($|\?|default\.aspx|projection\.aspx|readingPane\.aspx|popout\.aspx)",
                ),
            ],
        }],
        ..RuleSet::default()
    })
}

/// The lines of every changed header, as `Name: value`; a removed one as `Name`.
fn changed(engine: &Engine, target: &str, response: &str) -> Vec<String> {
    let request = Request::new("GET", target.as_bytes(), [], Connection::default());
    let verdict = engine.outbound(&request, &Response::parse_head(response.as_bytes()).unwrap());
    assert_eq!(verdict.over_limit, None);
    let lines = verdict.headers.into_iter().flat_map(|change| {
        if change.values.is_empty() {
            return vec![change.name];
        }
        let name = &change.name;
        change.values.iter().map(|v| format!("{name}: {}", String::from_utf8_lossy(v))).collect()
    });
    lines.collect()
}

#[test]
fn m2_puts_its_directive_behind_whatever_policy_there_is() {
    let engine = m2();
    assert!(engine.has_outbound() && engine.is_empty());
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n";
    for (policies, expected) in [
        ("", "Content-Security-Policy: ; script-src-attr 'none'"),
        (
            "Content-Security-Policy: a 'self'\r\n",
            "Content-Security-Policy: a 'self'; script-src-attr 'none'",
        ),
        ("content-security-policy: a\r\n", "content-security-policy: a; script-src-attr 'none'"),
        (
            "Content-Security-Policy: a\r\nX: y\r\ncontent-security-policy: b\r\n",
            "Content-Security-Policy: a, b; script-src-attr 'none'",
        ),
    ] {
        for target in ["/owa/", "/owa", "/OWA/?x", "/owa/popout.aspx?a"] {
            assert_eq!(changed(&engine, target, &format!("{html}{policies}")), [expected], "{target}");
        }
        for target in ["/owa/x", "/ecp/", "/x/owa/"] {
            assert_eq!(changed(&engine, target, &format!("{html}{policies}")), [""; 0], "{target}");
        }
        let other = html.replace("text/html", "application/json");
        assert_eq!(changed(&engine, "/owa/", &format!("{other}{policies}")), [""; 0]);
        assert_eq!(changed(&engine, "/owa/", &format!("HTTP/1.1 200 OK\r\n{policies}")), [""; 0]);
    }
}
