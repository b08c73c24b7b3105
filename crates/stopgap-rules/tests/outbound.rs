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
    CompileError, Connection, Engine, EngineLimits, OutboundVerdict, Request, Response, RuleSet,
};

/// As it stands in the `web.config` of a server's owa.
const M2: &str = r#"
<rule name="EEMS M2.1 OWA CSP - outbound" preCondition="EEMS M2.1 OWA SPA HTML shell - precondition">
  <match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)"/>
  <action type="Rewrite" value="{R:1}; script-src-attr 'none'"/>
</rule>
<preConditions>
  <preCondition name="EEMS M2.1 OWA SPA HTML shell - precondition" logicalGrouping="MatchAll" patternSyntax="ECMAScript">
    <add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/>
    <add input="{REQUEST_URI}" pattern="^/owa/?($|\?|default\.aspx|projection\.aspx|readingPane\.aspx|popout\.aspx)"/>
  </preCondition>
</preConditions>"#;

fn outbound(inside: &str) -> RuleSet {
    RuleSet::parse(&format!("<rewrite><outboundRules>{inside}</outboundRules></rewrite>")).unwrap()
}

fn ask(engine: &Engine, target: &str, response: &str) -> OutboundVerdict {
    let request = Request::new("GET", target.as_bytes(), [], Connection::default());
    engine.outbound(&request, &Response::parse_head(response.as_bytes()).unwrap())
}

/// The lines of every changed header, as `Name: value`; a removed one as `Name`.
fn changed(engine: &Engine, target: &str, response: &str) -> Vec<String> {
    let verdict = ask(engine, target, response);
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
    let engine = engine(&outbound(M2));
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

/// What these rules make of a response with these header lines.
fn with(inside: &str, headers: &str) -> Vec<String> {
    changed(&engine(&outbound(inside)), "/a%0d%0ab?q=%41", &format!("HTTP/1.1 404 Not Found\n{headers}\n"))
}

fn rule(name: &str, variable: &str, pattern: &str, rest: &str) -> String {
    format!(r#"<rule name="{name}"><match serverVariable="{variable}" pattern="{pattern}"/>{rest}</rule>"#)
}

fn rewrite(name: &str, variable: &str, pattern: &str, value: &str) -> String {
    rule(name, variable, pattern, &format!(r#"<action type="Rewrite" value="{value}"/>"#))
}

#[test]
fn a_rewrite_replaces_the_whole_value_and_an_empty_one_removes_the_header() {
    assert_eq!(with(&rewrite("r", "RESPONSE_X", "b", "({R:0})"), "X: abc"), ["X: (b)"]);
    assert_eq!(
        with(&rewrite("r", "RESPONSE_X_Powered_By", ".+", ""), "x-powered-by: A\nX-Powered-By: B"),
        ["x-powered-by"]
    );
    assert_eq!(with(&rewrite("r", "RESPONSE_X", ".*", ""), ""), [""; 0]);
    assert_eq!(with(&rewrite("r", "RESPONSE_X", ".*", "{R:0}"), "X: a"), [""; 0]);
    assert_eq!(with(&rewrite("r", "RESPONSE_X", "b", "c"), "X: a"), [""; 0]);
    assert_eq!(with(&rewrite("r", "RESPONSE_X", "^$", "c"), ""), ["X: c"]);
}

#[test]
fn a_header_keeps_its_spelling_and_a_new_one_gets_dashes() {
    assert_eq!(with(&rewrite("r", "response_x_frame_OPTIONS", ".*", "DENY"), ""), ["x-frame-OPTIONS: DENY"]);
    assert_eq!(with(&rewrite("r", "RESPONSE_X-A", ".*", "1"), "x_a: 0"), ["x_a: 1"]);
    assert_eq!(with(&rewrite("r", "RESPONSE_X_A", ".*", "{RESPONSE_X-A}1"), "X-A: 0"), ["X-A: 01"]);
}

#[test]
fn what_a_rule_made_is_what_the_next_one_sees() {
    let rules = rewrite("one", "RESPONSE_A", ".*", "1")
        + &rewrite("two", "RESPONSE_A", "^1$", "{R:0}2")
        + &rewrite("three", "RESPONSE_B", ".*", "{RESPONSE_A}3")
        + &rewrite("four", "RESPONSE_A", "^1$", "4");
    let verdict = ask(&engine(&outbound(&rules)), "/", "HTTP/1.1 200");
    let headers: Vec<_> = verdict.headers.iter().map(|h| (h.name.as_str(), h.values[0].as_slice())).collect();
    assert_eq!(headers, [("A", &b"12"[..]), ("B", b"123")]);
    assert_eq!(verdict.rules, ["one", "two", "three"]);
}

#[test]
fn stop_processing_ends_the_evaluation_where_the_rule_matched() {
    let none = rule("allow", "RESPONSE_A", "^ok$", r#"<action type="None"/>"#);
    let stop = none.replace(r#"name="allow""#, r#"name="allow" stopProcessing="true""#);
    let late = rewrite("late", "RESPONSE_B", ".*", "1");
    for (first, header, expected) in
        [(&stop, "A: ok", vec!["allow"]), (&stop, "A: no", vec!["late"]), (&none, "A: ok", vec!["late"])]
    {
        let engine = engine(&outbound(&format!("{first}{late}")));
        assert_eq!(ask(&engine, "/", &format!("HTTP/1.1 200\n{header}")).rules, expected, "{header}");
    }
}

#[test]
fn without_replace_a_header_that_has_a_value_is_left_alone() {
    let set = rule("r", "RESPONSE_A", ".*", r#"<action type="Rewrite" value="1" replace="false"/>"#);
    assert_eq!(with(&set, "A: 0"), [""; 0]);
    assert_eq!(with(&set, "A: "), ["A: 1"]);
    assert_eq!(with(&set, ""), ["A: 1"]);
}

/// RFC 6265 section 3: cookies that are folded into one line are lost.
#[test]
fn each_line_of_set_cookie_is_a_value_of_its_own() {
    let secure = r#"<rule name="r" preCondition="p"><match serverVariable="RESPONSE_Set_Cookie" pattern=".*"/>
        <conditions><add input="{RESPONSE_SET_COOKIE}" pattern="^keep" negate="true"/></conditions>
        <action type="Rewrite" value="{R:0}; Secure"/></rule>
        <preConditions><preCondition name="p"><add input="{RESPONSE_Set_Cookie}" pattern="."/>
        <add input="{RESPONSE_Set_Cookie}" pattern="; Secure" negate="true"/></preCondition></preConditions>"#;
    let cookies = "Set-Cookie: a=1, x\nset-cookie: b=2; Secure\nSet-Cookie: keep=3\nSet-Cookie: d=4";
    let expected =
        ["a=1, x; Secure", "b=2; Secure", "keep=3", "d=4; Secure"].map(|v| format!("Set-Cookie: {v}"));
    assert_eq!(with(secure, cookies), expected);
    assert_eq!(with(secure, ""), [""; 0]);
    let drop = rewrite("r", "RESPONSE_SET_COOKIE", "^b", "");
    assert_eq!(with(&drop, cookies), ["a=1, x", "keep=3", "d=4"].map(|v| format!("Set-Cookie: {v}")));
    assert_eq!(with(&drop, "Set-Cookie: b=1"), ["Set-Cookie"]);
    // Anywhere else they are one text.
    let seen = rewrite("r", "RESPONSE_X", ".*", "{RESPONSE_SET_COOKIE}");
    assert_eq!(with(&seen, "Set-Cookie: a=1\nSet-Cookie: b=2"), ["X: a=1, b=2"]);
}

#[test]
fn captures_of_conditions_count_through_all_of_them_unless_told_otherwise() {
    let rules = |track: &str| {
        rule(
            "r",
            "RESPONSE_A",
            "^(.)(z)?",
            &format!(
                r#"<conditions {track}><add input="{{RESPONSE_STATUS}}" pattern="^(4)(0)4$"/>
                   <add input="{{C:1}}{{R:1}}{{REQUEST_METHOD}}" pattern="^(4)(x)GET$"/></conditions>
                   <action type="Rewrite" value="{{R:0}}{{R:1}}{{R:2}}|{{C:0}}{{C:1}}{{C:2}}{{C:3}}{{C:4}}"/>"#
            ),
        )
    };
    assert_eq!(with(&rules(""), "A: xyz"), ["A: xx|4xGET404x"]);
    assert_eq!(with(&rules(r#"trackAllCaptures="false""#), "A: xyz"), ["A: xx|4xGET4x"]);
    let negated =
        rewrite("r", "RESPONSE_A", "^(q)", "[{R:0}{R:1}]").replace("/><act", " negate=\"true\"/><act");
    assert_eq!(with(&negated, "A: x"), ["A: []"]);
}

#[test]
fn values_are_made_of_variables_functions_and_maps() {
    let set = RuleSet::parse(&format!(
        r#"<rewrite><outboundRules>{}</outboundRules><rewriteMaps><rewriteMap name="Names" defaultValue="none">
           <add key="404" value="lost"/></rewriteMap></rewriteMaps></rewrite>"#,
        rewrite("r", "RESPONSE_A", ".*", "{Names:{RESPONSE_STATUS}}-{ToLower:{RESPONSE_B}}-{UrlDecode:{QUERY_STRING}}-{HTTP_HOST}-{Names:x}")
    ))
    .unwrap();
    assert_eq!(changed(&engine(&set), "/?q=%41", "HTTP/1.1 404\nB: XY"), ["A: lost-xy-q=A--none"]);
}

#[test]
fn preconditions_combine_negate_and_see_what_rules_have_made() {
    let rules = |grouping: &str| {
        format!(
            r#"<rule name="one" preCondition="P"><match serverVariable="RESPONSE_A" pattern=".*"/>
                 <action type="Rewrite" value="1"/></rule>
               <rule name="two" preCondition="p"><match serverVariable="RESPONSE_B" pattern=".*"/>
                 <action type="Rewrite" value="2"/></rule>
               <preConditions><preCondition name="p" {grouping}><add input="{{RESPONSE_A}}" pattern="."  negate="true"/>
                 <add input="{{RESPONSE_STATUS}}" pattern="^404$"/></preCondition></preConditions>"#
        )
    };
    assert_eq!(with(&rules(""), ""), ["A: 1"]);
    assert_eq!(with(&rules(r#"logicalGrouping="MatchAny""#), ""), ["A: 1", "B: 2"]);
    assert_eq!(with(&rules(""), "A: 0"), [""; 0]);
    assert_eq!(with(&rules("").replace("404", "200"), ""), [""; 0]);
    assert_eq!(with(&rules(r#"patternSyntax="ExactMatch""#).replace("^404$", "404"), "A: ."), [""; 0]);
}

#[test]
fn no_value_ends_its_line() {
    // The decoded path holds CR and LF, and so can a rule itself.
    assert_eq!(with(&rewrite("r", "RESPONSE_A", ".*", "{URL}"), ""), ["A: /a  b"]);
    assert_eq!(with(&rewrite("r", "RESPONSE_A", ".*", "&#10;a&#13;&#10;b&#9;c&#127;"), ""), ["A: a  b\tc"]);
    assert_eq!(with(&rewrite("r", "RESPONSE_A", ".*", " &#9; "), "A: x"), ["A"]);
    let nul = engine(&outbound(&rewrite("r", "RESPONSE_A", ".*", "{UrlDecode:{QUERY_STRING}}")));
    assert_eq!(changed(&nul, "/?a%00b%0D%0Ac", "HTTP/1.1 200"), ["A: a b  c"]);
}

#[test]
fn a_value_that_is_not_utf8_stays_what_it_is() {
    let engine = engine(&outbound(&rewrite("r", "RESPONSE_A", "^(.)", "{RESPONSE_A}; {R:1}")));
    let request = Request::new("GET", b"/", [], Connection::default());
    for (value, expected) in
        [(&b"\xe9\xff"[..], &b"\xe9\xff; \xe9"[..]), ("é€".as_bytes(), "é€; é".as_bytes())]
    {
        let verdict = engine.outbound(&request, &Response::new(200, [("A", value)]));
        assert_eq!(verdict.headers[0].values, [expected]);
    }
}

#[test]
fn a_level_s_rules_see_what_lies_there() {
    let set = outbound(&rewrite("r", "RESPONSE_A", ".*", "1")).at(&stopgap_rules::Level::new("owa"));
    let engine = engine(&set);
    for (target, expected) in [("/owa", 1), ("/OWA/x", 1), ("/%6fwa/", 1), ("/owax", 0), ("/", 0)] {
        assert_eq!(changed(&engine, target, "HTTP/1.1 200").len(), expected, "{target}");
    }
}

#[test]
fn what_inbound_rules_set_and_rewrote_is_seen() {
    let set = RuleSet::parse(&format!(
        r#"<rewrite><rules><rule name="in"><match url="^a"/><serverVariables><set name="MINE" value="m"/>
             <set name="HTTP_HOST" value="h"/></serverVariables><action type="Rewrite" url="/b%?x=1"/></rule></rules>
           <outboundRules>{}</outboundRules></rewrite>"#,
        rewrite("out", "RESPONSE_A", ".*", "{MINE}{HTTP_HOST}{URL}?{QUERY_STRING} {REQUEST_URI}")
    ))
    .unwrap();
    let engine = engine(&set);
    let request = Request::new("GET", b"/a?y", [], Connection::default());
    let response = Response::new(200, []);
    let inbound = engine.evaluate(&request);
    let verdict = engine.outbound_after(&request, &inbound, &response);
    assert_eq!(String::from_utf8_lossy(&verdict.headers[0].values[0]), "mh/b%?x=1&y /a?y");
    let verdict = engine.outbound(&request, &response);
    assert_eq!(String::from_utf8_lossy(&verdict.headers[0].values[0]), "/a?y /a?y");
}

#[test]
fn at_a_bound_nothing_is_changed_and_the_rule_is_named() {
    let over = |rules: &str, header: &str| {
        let verdict = ask(&engine(&outbound(rules)), "/", &format!("HTTP/1.1 200\nA: {header}"));
        assert!(verdict.over_limit.is_none() || verdict.headers.is_empty() && verdict.rules.is_empty());
        verdict.over_limit
    };
    let before = rewrite("before", "RESPONSE_B", ".*", "1");
    // Steps: a back-reference cannot be remembered.
    let slow = before.clone() + &rewrite("slow", "RESPONSE_A", r"^(a+)+\1$", "x");
    assert_eq!(over(&slow, &format!("{}!", "a".repeat(60))).as_deref(), Some("slow"));
    assert_eq!(over(&slow, "aaaa"), None);
    // Memory: each rule doubles the value.
    let double = |n: usize| -> String {
        (0..n).map(|n| rewrite(&format!("r{n}"), "RESPONSE_A", ".*", "{R:0}{R:0}")).collect()
    };
    assert_eq!(over(&double(8), "a"), None);
    assert_eq!(over(&double(64), "a").as_deref(), Some("r20"));
    // Text: what takes no steps is counted by its length.
    let many = |n: usize| -> String {
        (0..n).map(|n| rule(&format!("r{n}"), "RESPONSE_A", "b", "<action type=\"None\"/>")).collect()
    };
    assert_eq!(over(&many(100), &"a".repeat(100_000)), None);
    assert_eq!(over(&many(200), &"a".repeat(100_000)).as_deref(), Some("r167"));
    // Hundreds of rules over a header of a kilobyte are no bound for the very first response.
    assert_eq!(over(&many(300), &"a".repeat(1_000)), None);
    // What is only made: values of headers that no rule looks at, and the keys of maps.
    let made = |n: usize, value: &str| -> String {
        (0..n).map(|n| rewrite(&format!("r{n}"), &format!("RESPONSE_N{n}"), ".*", value)).collect()
    };
    let large = "a".repeat(100_000);
    assert_eq!(over(&made(100, "{RESPONSE_A}"), &large), None);
    for value in ["{RESPONSE_A}", "{ToLower:{RESPONSE_A}}"] {
        assert!(over(&made(1_000, value), &large).is_some(), "{value}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_refused_by_the_rule_s_name() {
    let refused = |inside: &str| Engine::compile(&outbound(inside), &EngineLimits::default()).unwrap_err();
    for (code, inside) in [
        (
            "rules-response-body",
            r#"<rule name="R"><match filterByTags="A" pattern="a"/><action type="None"/></rule>"#.to_owned(),
        ),
        (
            "rules-response-body",
            r#"<rule name="R"><match pattern="a"/><action type="Rewrite" value="b"/></rule>"#.to_owned(),
        ),
        ("rules-not-a-response-header", rewrite("R", "RESPONSE_STATUS", "a", "b")),
        ("rules-not-a-response-header", rewrite("R", "HTTP_HOST", "a", "b")),
        ("rules-not-a-response-header", rewrite("R", "RESPONSE_", "a", "b")),
        ("rules-bad-template", rewrite("R", "NO_SUCH", "a", "b")),
        ("rules-bad-template", rewrite("R", "RESPONSE_A", "a", "{NO_SUCH}")),
        ("rules-bad-pattern", rewrite("R", "RESPONSE_A", "(", "b")),
        (
            "rules-unknown-precondition",
            rewrite("R", "RESPONSE_A", "a", "b").replace("><match", " preCondition=\"p\"><match"),
        ),
        (
            "rules-file-condition",
            rule(
                "R",
                "RESPONSE_A",
                "a",
                "<conditions><add input=\"x\" matchType=\"IsFile\"/></conditions><action type=\"None\"/>",
            ),
        ),
    ] {
        let error = refused(&inside);
        assert_eq!(error.code(), code, "{inside}");
        assert!(error.to_string().contains("rule \"R\""), "{error}");
    }
    let mut twice = outbound(M2);
    twice.append(outbound(M2));
    let error = Engine::compile(&twice, &EngineLimits::default()).unwrap_err();
    assert_eq!(error.code(), "rules-duplicate-precondition");
    let many = EngineLimits { rules: 0, ..EngineLimits::default() };
    let error = Engine::compile(&outbound(M2), &many).unwrap_err();
    assert_eq!(error, CompileError::TooManyRules { found: 1, limit: 0 });
    // A rule that is off, and a precondition that no rule names, can be as wrong as they like.
    let off = rewrite("R", "RESPONSE_A", "(", "b").replace("><match", " enabled=\"false\"><match")
        + "<preConditions><preCondition name=\"p\"><add input=\"{x\" pattern=\"(\"/></preCondition></preConditions>";
    assert!(!engine(&outbound(&off)).has_outbound());
    // To look at another variable is no fault.
    assert_eq!(with(&rule("r", "HTTP_HOST", "^$", "<action type=\"None\"/>"), ""), [""; 0]);
}
