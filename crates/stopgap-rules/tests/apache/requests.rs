//! Headers and request lines in every form that a client may give them.

use crate::common::dice::Dice;
use crate::common::scoped;
use crate::server::{Answer, Apache, FILE, installed};
use crate::{Tally, abort_where, expected, sites_with};
use stopgap_rules::RuleSet;
use stopgap_rules::translate::apache::translate;

/// Names, repetition, blanks and emptiness of headers.
#[test]
fn headers_however_they_are_written_agree_with_the_engine() {
    if !installed("headers_however_they_are_written_agree_with_the_engine") {
        return;
    }
    let sets: Vec<RuleSet> = [
        ("{HTTP_USER_AGENT}", "evil"),
        ("{HTTP_USER_AGENT}", "a[bc]|x,y|d e"),
        ("{UrlDecode:{HTTP_X_FORWARDED_FOR}}", "evil"),
        ("{HTTP_REFERER}", "^evil"),
        ("{HTTP_REFERER}", "a.*b"),
        ("{HTTP_REFERER}", "b$"),
        ("{HTTP_REFERER}", "^$"),
        ("{HTTP_REFERER}", "^, "),
        ("{UrlDecode:{HTTP_REFERER}}", "a.*b$"),
        ("{HTTP_COOKIE}", "a.*b"),
        ("{HTTP_COOKIE}", "^a"),
        ("{HTTP_COOKIE}", "a.b"),
        ("{HTTP_COOKIE}", "^$"),
        ("{HTTP_AUTHORIZATION}", "^Basic.*=$"),
        // Refused, since Apache cannot tell; were they not, they would disagree.
        ("{HTTP_COOKIE}", "b;"),
        ("{HTTP_COOKIE}", "[^;]$"),
        ("{HTTP_USER_AGENT}", "^e"),
        ("{HTTP_USER_AGENT}", "a.*e"),
        ("{HTTP_USER_AGENT}", "b,"),
    ]
    .into_iter()
    .map(|(input, pattern)| abort_where(input, pattern))
    .filter(|set| translate(&[scoped(set.clone(), None)]).is_ok())
    .collect();
    assert_eq!(sets.len(), 14);
    let (sites, engines) = sites_with(sets, FILE);
    let mut apache = Apache::start("", &sites);
    let names = [
        "User-Agent",
        "user_agent",
        "User_Agent",
        "X-Forwarded-For",
        "X_Forwarded-For",
        "x_forwarded_for",
        "Referer",
        "REFERER",
        "Cookie",
        "cookie",
        "Authorization",
        "X-Other",
    ];
    let values = [
        "",
        "evil",
        "e",
        "vil",
        "a",
        "b",
        "a b",
        "ab",
        "ac",
        "b, a",
        "a; b",
        ",",
        "x,y",
        "x",
        "d e",
        "%65vil",
        "%61",
        "%",
        "\u{e9}",
        "a\tb",
        "Basic YQ==",
        "Basic a=",
    ];
    let mut tally = Tally::default();
    for seed in 0..1_500 {
        let mut dice = Dice::new(seed);
        let mut headers = String::new();
        for _ in 0..dice.roll(6) {
            let blanks: &str = dice.pick(&["", " ", "\t", "  ", " \t "]);
            let after: &str = dice.pick(&["", "", " ", "\t"]);
            headers.push_str(&format!("{}:{blanks}{}{after}\r\n", dice.pick(&names), dice.pick(&values)));
        }
        for (site, engine) in sites.iter().zip(&engines) {
            let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", site.name);
            tally.compare(&mut apache, engine, head.as_bytes(), &format!("seed {seed}"));
        }
    }
    println!("{tally:?}");
    assert!(tally.refused * 20 > tally.requests && tally.malformed == 0, "{tally:?}");
}

/// What Apache does with a request before any rule sees it, and where its own view is another.
#[test]
fn request_lines_of_every_form_agree_with_the_engine() {
    if !installed("request_lines_of_every_form_agree_with_the_engine") {
        return;
    }
    let sets: Vec<RuleSet> = [
        ("{REQUEST_URI}", "^/$"),
        ("{REQUEST_URI}", "evil"),
        ("{REQUEST_URI}", "//"),
        ("{REQUEST_URI}", "HTTP"),
        ("{REQUEST_URI}", "#"),
        ("{REQUEST_URI}", r"\.\./"),
        ("{QUERY_STRING}", "^$"),
        ("{QUERY_STRING}", "#x$"),
        ("{QUERY_STRING}", "http://"),
        ("{REQUEST_METHOD}", "^(GET)$"),
        ("{REQUEST_METHOD}", "^get$"),
        ("{REQUEST_METHOD}", "HEAD"),
        ("{REQUEST_METHOD}", "OO"),
        ("{REMOTE_ADDR}", r"^127\.0\.0\.1$"),
        ("{REMOTE_ADDR}", "^10"),
        ("{HTTPS}", "off"),
        ("{HTTPS}", "on"),
        ("{SERVER_PORT_SECURE}", "[01]"),
        ("{SERVER_PORT_SECURE}", "1"),
    ]
    .map(|(input, pattern)| abort_where(input, pattern))
    .into();
    let (sites, engines) = sites_with(sets, FILE);
    let mut apache = Apache::start("", &sites);
    let mut tally = Tally::default();
    for (site, engine) in sites.iter().zip(&engines) {
        let host = &site.name;
        for line in [
            "GET / HTTP/1.1".to_owned(),
            "HEAD / HTTP/1.1".to_owned(),
            "FOO /evil HTTP/1.1".to_owned(),
            "get /evil HTTP/1.1".to_owned(),
            "GET / HTTP/1.0".to_owned(),
            format!("GET http://{host} HTTP/1.1"),
            format!("GET http://{host}/ HTTP/1.1"),
            format!("GET http://{host}?evil HTTP/1.1"),
            format!("GET HTTP://{host}/evil HTTP/1.1"),
            format!("GET https://{host}/evil HTTP/1.1"),
            format!("GET hTTpS://{host}:8080/evil?x HTTP/1.1"),
            format!("GET ftp://{host}/evil HTTP/1.1"),
            "GET /?a#x HTTP/1.1".to_owned(),
            "GET /a#evil HTTP/1.1".to_owned(),
            "GET /a?http://evil/b HTTP/1.1".to_owned(),
            "GET //evil HTTP/1.1".to_owned(),
            "GET /a//b/../c HTTP/1.1".to_owned(),
            "GET /%2e%2e/%65vil HTTP/1.1".to_owned(),
            "GET /a/../../../x HTTP/1.1".to_owned(),
            "GET /ev\\il$1$0\\1%{x}${y} HTTP/1.1".to_owned(),
            "GET /'evil'\"\" HTTP/1.1".to_owned(),
        ] {
            // A method of no one is the file server's 405; what it refuses as it is, a rule need not.
            let head = format!("{line}\r\nHost: {host}\r\n\r\n");
            let answer = apache.ask(head.as_bytes()).unwrap();
            let own = [400, 405, 501].contains(&answer.status);
            let expected = expected(engine, head.as_bytes());
            tally.requests += 1;
            tally.refused += usize::from(expected == Answer::REFUSED);
            tally.malformed += usize::from(answer.status == 400);
            let passes = own && expected.status == 200;
            let close = line.ends_with("1.0") || answer.close;
            assert!(
                answer.status == 400 || passes || answer == Answer { close, ..expected },
                "{host} {answer:?}\n{head}"
            );
            assert!(expected.status == 200 || answer.close, "{answer:?}\n{head}");
        }
    }
    println!("{tally:?}");
    assert!(tally.refused > 60 && tally.malformed < 140, "{tally:?}");

    // HTTP/0.9 has no status line: the page itself, or Apache's page of a refusal.
    let site = &sites[0];
    let old = apache.raw(b"GET /\r\n\r\n");
    assert!(
        old == b"ok\n" || String::from_utf8_lossy(&old).contains("Forbidden"),
        "{} {}",
        site.name,
        old.escape_ascii()
    );
}
