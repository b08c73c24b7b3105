//! The language, rule by rule: what IIS documents, as data in and a verdict out.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{engine, get, rules};
use stopgap_rules::{CompileError, Connection, Engine, EngineLimits, Outcome, Request, RuleSet, Verdict};

fn ask(inside: &str, head: &str) -> Verdict {
    let connection = Connection {
        remote_addr: "192.0.2.7".parse().unwrap(),
        server_port: 443,
        https: true,
        ..Default::default()
    };
    let request = Request::parse_head(head.as_bytes(), &connection).unwrap();
    engine(&rules(inside)).evaluate(&request)
}

/// Whether a rule with these conditions holds for the request.
fn holds(conditions: &str, head: &str) -> bool {
    let rule = format!(
        r#"<rule name="r"><match url=".*"/><conditions {conditions}</conditions><action type="AbortRequest"/></rule>"#
    );
    ask(&rule, head).action == Outcome::AbortRequest
}

fn one(input: &str, pattern: &str, head: &str) -> bool {
    holds(&format!(r#"><add input="{input}" pattern="{pattern}"/>"#), head)
}

#[test]
fn match_url_sees_the_decoded_path_without_its_leading_slash_and_query() {
    for (url, target, expected) in [
        ("^owa/$", "/owa/", true),
        ("^/owa", "/owa/", false),
        ("^$", "/", true),
        ("^$", "/?a=b", true),
        ("a=b", "/?a=b", false),
        ("^a b$", "/a%20b", true),
        ("^ecp/x$", "/owa/../ecp//x", true),
        ("^ecp/x$", "/%65cp%5Cx", true),
        ("^%65cp$", "/%2565cp", true),
        ("OWA", "/owa", true),
    ] {
        let rule = format!(r#"<rule name="r"><match url="{url}"/><action type="AbortRequest"/></rule>"#);
        let found = ask(&rule, &format!("GET {target}")).action == Outcome::AbortRequest;
        assert_eq!(found, expected, "{url} {target}");
        let negated = rule.replace("/><action", r#" negate="true"/><action"#);
        let found = ask(&negated, &format!("GET {target}")).action == Outcome::AbortRequest;
        assert_eq!(found, !expected, "not {url} {target}");
    }
    let exact_case =
        r#"<rule name="r"><match url="OWA" ignoreCase="false"/><action type="AbortRequest"/></rule>"#;
    assert_eq!(ask(exact_case, "GET /owa").action, Outcome::None);
}

#[test]
fn server_variables_are_what_the_request_says() {
    let head = "PUT /a%20b/../c?q=%41 HTTP/1.1\r\nHost: mail.example.org\r\nX-Two-Words: yes\r\n\r\n";
    for (variable, value) in [
        ("REQUEST_URI", "/a%20b/../c?q=%41"),
        ("UNENCODED_URL", "/a%20b/../c?q=%41"),
        ("QUERY_STRING", "q=%41"),
        ("URL", "/c"),
        ("PATH_INFO", "/c"),
        ("REQUEST_FILENAME", "/c"),
        ("REQUEST_METHOD", "PUT"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("HTTP_HOST", "mail.example.org"),
        ("http_host", "mail.example.org"),
        ("HTTP_X_TWO_WORDS", "yes"),
        ("HTTP_ABSENT", ""),
        ("SERVER_PORT", "443"),
        ("SERVER_PORT_SECURE", "1"),
        ("HTTPS", "on"),
        ("APP_POOL_ID", ""),
    ] {
        let rule = format!(
            r#"<rule name="r" patternSyntax="ExactMatch"><match url="c"/>
               <conditions><add input="{{{variable}}}" pattern="{value}" ignoreCase="false"/></conditions>
               <action type="AbortRequest"/></rule>"#
        );
        assert_eq!(ask(&rule, head).action, Outcome::AbortRequest, "{variable}");
    }
}

#[test]
fn functions_nest_around_variables() {
    let head = "GET /P%4Fwer%2541?x HTTP/1.1\r\nHost: MAIL\r\n\r\n";
    assert!(one("{UrlDecode:{REQUEST_URI}}", "^/POwer%41[?]x$", head));
    assert!(one("{UrlDecode:{UrlDecode:{REQUEST_URI}}}", "^/POwerA[?]x$", head));
    assert!(holds(r#"><add input="{ToLower:{HTTP_HOST}}" pattern="mail" ignoreCase="false"/>"#, head));
    assert!(one("{UrlEncode:{REQUEST_URI}}", "^%2FP%254Fwer%252541%3Fx$", head));
    assert!(one("[{HTTP_HOST}]{REQUEST_METHOD}", r"^\[MAIL\]GET$", head));
}

#[test]
fn conditions_combine_and_negate() {
    let (yes, no) =
        (r#"<add input="{REQUEST_URI}" pattern="a"/>"#, r#"<add input="{REQUEST_URI}" pattern="b"/>"#);
    let not = |condition: &str| condition.replace("/>", r#" negate="true"/>"#);
    for (conditions, expected) in [
        (format!(r#"logicalGrouping="MatchAll">{yes}{yes}"#), true),
        (format!(r#"logicalGrouping="MatchAll">{yes}{no}"#), false),
        (format!(">{no}{yes}"), false),
        (format!(r#"logicalGrouping="MatchAny">{no}{yes}"#), true),
        (format!(r#"logicalGrouping="MatchAny">{no}{no}"#), false),
        (format!(">{yes}{}", not(no)), true),
        (format!(">{}", not(yes)), false),
        (format!(r#"logicalGrouping="MatchAny">{}{}"#, not(yes), not(no)), true),
        (">".to_owned(), true),
        (r#"logicalGrouping="MatchAny">"#.to_owned(), true),
    ] {
        assert_eq!(holds(&conditions, "GET /a"), expected, "{conditions}");
    }
}

#[test]
fn a_wildcard_takes_the_whole_string_and_captures() {
    let rule = |url: &str| {
        format!(
            r#"<rule name="r" patternSyntax="Wildcard"><match url="{url}"/>
               <action type="Redirect" url="/{{R:0}}|{{R:1}}|{{R:2}}" appendQueryString="false"/></rule>"#
        )
    };
    let url = |pattern: &str, target: &str| ask(&rule(pattern), &format!("GET {target}")).url;
    assert_eq!(url("OWA/*.js", "/owa/a/b.js").as_deref(), Some("/owa/a/b.js|a/b|"));
    assert_eq!(url("*/x/*", "/a/x/b/x/c").as_deref(), Some("/a/x/b/x/c|a/x/b|c"));
    assert_eq!(url("owa", "/owa/x"), None);
    assert_eq!(url("a.c", "/abc"), None);
    assert_eq!(url("*", "/a%0Ab").as_deref(), Some("/a%0Ab|a%0Ab|"));
}

#[test]
fn an_exact_match_takes_nothing_else() {
    let rule = r#"<rule name="r" patternSyntax="ExactMatch"><match url="a.*[c"/><action type="AbortRequest"/></rule>"#;
    assert_eq!(ask(rule, "GET /A.*[c").action, Outcome::AbortRequest);
    assert_eq!(ask(rule, "GET /a.*[cd").action, Outcome::None);
    assert_eq!(ask(rule, "GET /abcc").action, Outcome::None);
}

#[test]
fn none_with_stop_processing_is_an_allow_list() {
    let refuse = r#"<rule name="refuse"><match url=".*"/><action type="AbortRequest"/></rule>"#;
    let allow = |stop| {
        format!(
            r#"<rule name="allow" stopProcessing="{stop}"><match url="^ok"/><action type="None"/></rule>{refuse}"#
        )
    };
    let verdict = ask(&allow(true), "GET /ok");
    assert_eq!((verdict.action, verdict.rule.as_deref()), (Outcome::None, Some("allow")));
    assert_eq!(ask(&allow(true), "GET /no").rule.as_deref(), Some("refuse"));
    assert_eq!(ask(&allow(false), "GET /ok").rule.as_deref(), Some("refuse"));
}

#[test]
fn a_custom_response_carries_its_numbers_and_words() {
    let verdict = ask(
        r#"<rule name="r"><match url="^a"/><action type="CustomResponse" statusCode="403" subStatusCode="7"
           statusReason="No" statusDescription="Not here."/></rule>"#,
        "GET /a",
    );
    assert_eq!(
        (verdict.action, verdict.status, verdict.substatus),
        (Outcome::CustomResponse, Some(403), Some(7))
    );
    assert_eq!((verdict.reason.as_str(), verdict.description.as_str()), ("No", "Not here."));
    assert!(verdict.is_refusal());
}

#[test]
fn a_redirect_is_built_from_captures_and_the_query_string() {
    let rule = |extra: &str, url: &str| {
        format!(
            r#"<rule name="r"><match url="^old/(\d+)/(.*)$"/>
               <conditions><add input="{{HTTP_HOST}}" pattern="^([a-z]+)\."/></conditions>
               <action type="Redirect" url="{url}" {extra}/></rule>"#
        )
    };
    let head = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: Mail.example.org\r\n\r\n");
    assert_eq!(
        ask(&rule("", "https://new/{C:1}/{R:1}?p={R:2}"), &head("/old/7/a%20%C3%A9?q=1")).url.unwrap(),
        "https://new/Mail/7?p=a%20%C3%A9&q=1"
    );
    assert_eq!(
        ask(&rule(r#"appendQueryString="false""#, "/n/{R:2}"), &head("/old/7/x?q=1")).url.unwrap(),
        "/n/x"
    );
    assert_eq!(ask(&rule("", "n/{R:2}"), &head("/old/7/x?q=1")).url.unwrap(), "/n/x?q=1");
    for (kind, status) in [("Permanent", 301), ("Found", 302), ("SeeOther", 303), ("Temporary", 307)] {
        let verdict = ask(&rule(&format!(r#"redirectType="{kind}""#), "/n"), &head("/old/7/x"));
        assert_eq!(verdict.status, Some(status));
    }
}

#[test]
fn a_captured_line_break_stays_out_of_the_address() {
    let rule =
        r#"<rule name="r"><match url="^old/([^]*)$"/><action type="Redirect" url="/new/{R:1}"/></rule>"#;
    assert_eq!(ask(rule, "GET /old/a%0d%0aSet-Cookie:x").url.unwrap(), "/new/a%0D%0ASet-Cookie:x");
}

#[test]
fn a_rewrite_feeds_the_next_rule() {
    let rules = r#"<rule name="one"><match url="^a/(.*)"/><action type="Rewrite" url="b/{R:1}?x=1"/></rule>
        <rule name="two"><match url="^b/c$"/>
          <conditions><add input="{QUERY_STRING}" pattern="^x=1&amp;q=2$"/><add input="{URL}" pattern="^/b/c$"/>
                      <add input="{REQUEST_URI}" pattern="^/a/c\?q=2$"/></conditions>
          <action type="Rewrite" url="/d" appendQueryString="false"/></rule>"#;
    let verdict = ask(rules, "GET /a/c?q=2");
    assert_eq!(
        (verdict.action, verdict.rule.as_deref(), verdict.url.as_deref()),
        (Outcome::Rewrite, Some("two"), Some("/d"))
    );
    let verdict = ask(rules, "GET /a/x?q=2");
    assert_eq!((verdict.rule.as_deref(), verdict.url.as_deref()), (Some("one"), Some("/b/x?x=1&q=2")));
    let stops = rules.replace(r#"name="one""#, r#"name="one" stopProcessing="true""#);
    assert_eq!(ask(&stops, "GET /a/c?q=2").url.as_deref(), Some("/b/c?x=1&q=2"));
    let refused =
        format!(r#"{rules}<rule name="three"><match url="^d$"/><action type="AbortRequest"/></rule>"#);
    let verdict = ask(&refused, "GET /a/c?q=2");
    assert_eq!((verdict.action, verdict.url), (Outcome::AbortRequest, None));
}

#[test]
fn rules_set_variables_that_later_rules_read() {
    let verdict = ask(
        r#"<rule name="one"><match url="^(a)"/>
             <serverVariables><set name="HTTP_X_SEEN" value="{R:1}-{REQUEST_METHOD}"/>
               <set name="HTTP_HOST" value="other" replace="false"/><set name="MINE" value="1"/></serverVariables>
             <action type="None"/></rule>
           <rule name="two"><match url=".*"/>
             <conditions><add input="{HTTP_X_SEEN}{MINE}{HTTP_HOST}" pattern="^a-GET1x$"/></conditions>
             <action type="CustomResponse" statusCode="410"/></rule>"#,
        "GET /a HTTP/1.1\r\nHost: x\r\nX-Seen: no\r\n\r\n",
    );
    assert_eq!(verdict.status, Some(410));
    let set: Vec<(&str, &str)> = verdict.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(set, [("HTTP_X_SEEN", "a-GET"), ("MINE", "1")]);
}

#[test]
fn captures_of_conditions_are_the_last_ones_or_all() {
    let rule = |all: bool| {
        format!(
            r#"<rule name="r"><match url=".*"/><conditions trackAllCaptures="{all}">
               <add input="{{REQUEST_URI}}" pattern="^/(a)(b)"/>
               <add input="{{C:1}}{{HTTP_HOST}}" pattern="^(a)(x)$"/><add input="{{REQUEST_URI}}" pattern="z" negate="true"/>
               </conditions><action type="Redirect" url="/{{C:0}}|{{C:1}}|{{C:2}}|{{C:3}}|{{C:4}}"/></rule>"#
        )
    };
    let head = "GET /ab HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(ask(&rule(false), head).url.unwrap(), "/ax|a|x||");
    assert_eq!(ask(&rule(true), head).url.unwrap(), "/ax|a|b|a|x");
}

#[test]
fn maps_are_looked_up() {
    let set = RuleSet::parse(
        r#"<rewrite><rules><rule name="r"><match url="(.*)"/>
             <conditions><add input="{Moved:{R:1}}" pattern="(.+)"/></conditions>
             <action type="Redirect" url="{C:1}"/></rule></rules>
           <rewriteMaps><rewriteMap name="Moved" defaultValue=""><add key="Old" value="/new"/></rewriteMap></rewriteMaps>
           </rewrite>"#,
    )
    .unwrap();
    assert_eq!(get(&engine(&set), "/oLD").url.as_deref(), Some("/new"));
    assert_eq!(get(&engine(&set), "/other").action, Outcome::None);
}

#[test]
fn a_pattern_at_its_limit_refuses_the_request_and_says_so() {
    // A back-reference cannot be remembered, so this one doubles its work with each letter.
    let rules = rules(
        r#"<rule name="slow"><match url="^(a+)+\1$"/><action type="Rewrite" url="/x"/></rule>
           <rule name="next"><match url=".*"/><action type="None"/></rule>"#,
    );
    let verdict = get(&engine(&rules), &format!("/{}!", "a".repeat(60)));
    assert_eq!(
        (verdict.action, verdict.rule.as_deref(), verdict.over_limit),
        (Outcome::AbortRequest, Some("slow"), true)
    );
    assert!(!get(&engine(&rules), "/aaaa").over_limit);
}

#[test]
fn rules_that_double_a_text_end_at_the_limit() {
    let rewrite = r#"<match url=".*"/><action type="Rewrite" url="{R:0}{R:0}" appendQueryString="false"/>"#;
    let set = r#"<match url=".*"/><serverVariables><set name="A" value="{A}{A}x"/></serverVariables>
        <action type="None"/>"#;
    for inside in [rewrite, set] {
        let times = |count| -> String {
            (0..count).map(|n| format!(r#"<rule name="r{n}">{inside}</rule>"#)).collect()
        };
        assert!(!ask(&times(8), "GET /a").over_limit);
        let verdict = ask(&times(64), "GET /a");
        assert_eq!((verdict.action, verdict.over_limit), (Outcome::AbortRequest, true));
    }
}

#[test]
fn a_header_that_is_set_again_is_one_header() {
    let set = |rule: &str, name: &str| {
        format!(
            r#"<rule name="{rule}"><match url=".*"/><serverVariables><set name="{name}" value="{rule}"/></serverVariables>
               <action type="None"/></rule>"#
        )
    };
    let verdict = ask(&(set("one", "HTTP_X_A") + &set("two", "http_x-a")), "GET /");
    let set: Vec<(&str, &str)> = verdict.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(set, [("http_x-a", "two")]);
}

#[test]
fn what_cannot_be_evaluated_is_refused_by_name() {
    let code = |inside: &str| Engine::compile(&rules(inside), &EngineLimits::default()).unwrap_err().code();
    let with = |conditions: &str| {
        format!(
            r#"<rule name="r"><match url="a"/><conditions>{conditions}</conditions><action type="None"/></rule>"#
        )
    };
    assert_eq!(code(r#"<rule name="r"><match url="("/><action type="None"/></rule>"#), "rules-bad-pattern");
    assert_eq!(code(&with(r#"<add input="{NO_SUCH}" pattern="a"/>"#)), "rules-bad-template");
    assert_eq!(code(&with(r#"<add input="{HTTPS}" matchType="IsFile"/>"#)), "rules-file-condition");
    let many = EngineLimits { rules: 0, ..EngineLimits::default() };
    let error = Engine::compile(&rules(&with("")), &many).unwrap_err();
    assert_eq!(error, CompileError::TooManyRules { found: 1, limit: 0 });
    let disabled = r#"<rule name="r" enabled="false"><match url="("/><action type="None"/></rule>"#;
    assert!(Engine::compile(&rules(disabled), &EngineLimits::default()).unwrap().is_empty());
}
