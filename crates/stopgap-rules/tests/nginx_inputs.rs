//! What a rule reads of a request and answers, in a real nginx beside the engine: headers, methods, addresses,
//! texts put together, rewrite maps, redirects, bodies; many rules; and what nginx's own rules do to a request.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::dice::Dice;
use common::nginx::{Answer, Nginx, installed};
use common::{engine, escape, rules};
use stopgap_rules::translate::SiteRules;
use stopgap_rules::translate::nginx::{NginxConfig, translate};
use stopgap_rules::{Connection, Engine, Outcome, Request, RuleSet, Verdict};

fn translated(rules: &RuleSet) -> NginxConfig {
    translate(&[SiteRules { observe: false, marker: "example M1".into(), sites: None, rules: rules.clone() }])
        .unwrap()
}

fn verdict(engine: &Engine, nginx: &Nginx, head: &[u8]) -> Verdict {
    let connection = Connection { server_port: nginx.port(), ..Connection::default() };
    engine.evaluate(&Request::parse_head(head, &connection).unwrap())
}

/// Inputs, each with patterns that are found now and then.
const CONDITIONS: [(&str, &str); 29] = [
    ("{HTTP_COOKIE}", "b$"),
    ("{HTTP_COOKIE}", "^a"),
    ("{HTTP_COOKIE}", "^$"),
    ("{HTTP_COOKIE}", "a."),
    ("{UrlDecode:{HTTP_COOKIE}}", r"\tb$"),
    ("{HTTP_COOKIE}", r"^\S"),
    ("{HTTP_X_FORWARDED_FOR}", "^a, b$"),
    ("{HTTP_X_FORWARDED_FOR}", ", ,"),
    ("{HTTP_X_FORWARDED_FOR}", "^$"),
    ("{HTTP_X_FORWARDED_FOR}", "é"),
    ("{HTTP_HOST}", "^site$"),
    ("{HTTP_AUTHORIZATION}", "a"),
    ("{HTTP_IF_NONE_MATCH}", "^a|b$"),
    ("{HTTP_TRANSFER_ENCODING}", "^$"),
    ("{REQUEST_METHOD}", "^GET$|^PUT$"),
    ("{REQUEST_METHOD}", "E"),
    ("{REMOTE_ADDR}", r"^127\.0\.0\.1$"),
    ("{REMOTE_ADDR}", r"^10\."),
    ("{SERVER_PORT}", "^80$"),
    ("{HTTPS}", "off"),
    ("{REQUEST_METHOD} {REQUEST_URI}", "^GET /.*b"),
    ("{HTTP_HOST}{REQUEST_URI}", "^site/a"),
    ("x$y\"{HTTP_COOKIE}", r"^x\$y.a"),
    ("{HTTP_COOKIE};{QUERY_STRING}", "a;b"),
    ("{HTTPS}-{SERVER_PORT_SECURE}", "^off-0$"),
    ("{Verbs:{REQUEST_METHOD}}", "^safe$"),
    ("{Verbs:{HTTP_COOKIE}}", "quoted|empty"),
    ("{Verbs:{UrlDecode:{QUERY_STRING}}}", "^safe$"),
    ("{Exact:{HTTP_COOKIE}}", "yes"),
];

const MAPS: &str = r#"<rewriteMaps><rewriteMap name="Verbs" defaultValue="other">
    <add key="Get" value="safe" /><add key="a&quot;;}" value="quoted" /><add key="" value="empty" />
    <add key="k" value="safe" /><add key="PUT" value="no" /></rewriteMap>
    <rewriteMap name="Exact" ignoreCase="false"><add key="a" value="yes" /><add key="A" value="no" /></rewriteMap>
    </rewriteMaps>"#;

fn value(dice: &mut Dice) -> Vec<u8> {
    let pieces: [&[u8]; 16] = [
        b"a",
        b"b",
        b"a",
        b"b",
        b" ",
        b"\t",
        b",",
        b"%09",
        b"%61",
        b"\xc3\xa9",
        b"\xc3",
        b"a\";}",
        b"K",
        b"\xe2\x84\xaa",
        b"A",
        b"x",
    ];
    (0..dice.roll(4)).flat_map(|_| dice.pick(&pieces).to_vec()).collect()
}

fn head(dice: &mut Dice) -> Vec<u8> {
    let target = ["/", "/a", "/?b", "/a?b", "/x?%61b", "http://site?b", "/a?k", "/a?GET", "/?"];
    let method = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "get", "X"];
    let mut head = format!("{} {} HTTP/1.1\r\n", dice.pick(&method), dice.pick(&target)).into_bytes();
    let host: &str = dice.pick(&["site", "SITE", "site:80"]);
    head.extend(format!("Host: {host}\r\n").bytes());
    for name in ["Cookie", "X-Forwarded-For", "X-Forwarded-For", "Authorization", "If-None-Match"] {
        if dice.roll(3) != 0 {
            head.extend([name.as_bytes(), b":", &value(dice), b"\r\n"].concat());
        }
    }
    // Several cookie lines, without a tab at their ends: that is the one difference.
    if dice.roll(4) == 0 {
        head.extend(b"Cookie: a\r\n");
        head = String::from_utf8_lossy(&head).replace('\t', "").into_bytes();
    }
    if String::from_utf8_lossy(&head).matches("X-Forwarded-For").count() > 1 {
        head = String::from_utf8_lossy(&head).replace('\t', "").into_bytes();
    }
    head.extend(b"\r\n");
    head
}

#[test]
fn headers_addresses_maps_and_joined_inputs_agree_with_the_engine() {
    let test = "headers_addresses_maps_and_joined_inputs_agree_with_the_engine";
    if !installed(test) {
        return;
    }
    let (mut requests, mut refused, mut malformed) = (0, 0, 0);
    for (at, (input, pattern)) in CONDITIONS.iter().enumerate() {
        let negate = at % 4 == 3;
        let set = RuleSet::parse(&format!(
            r#"<rewrite>{MAPS}<rules><rule name="r"><match url=".*" /><conditions>
               <add input="{}" pattern="{}" negate="{negate}" /></conditions>
               <action type="AbortRequest" /></rule></rules></rewrite>"#,
            escape(input),
            escape(pattern)
        ))
        .unwrap();
        let config = translated(&set);
        let engine = engine(&set);
        let mut nginx = Nginx::start(&config.http, &config.server, &["site".to_owned()]);
        for seed in 0..250 {
            let head = head(&mut Dice::new(seed * 100 + at as u64));
            // nginx's answer to HEAD has a length and no body, which the test's reader waits for.
            if head.starts_with(b"HEAD") {
                continue;
            }
            let answer = nginx.ask(&head);
            requests += 1;
            if matches!(answer, Answer::Status(400 | 405)) {
                malformed += 1;
                continue;
            }
            let expected = match verdict(&engine, &nginx, &head).action {
                Outcome::AbortRequest => Answer::Nothing,
                _ => Answer::Status(200),
            };
            refused += u32::from(expected == Answer::Nothing);
            assert_eq!(answer, expected, "{input} {pattern} {negate}\n{}", head.escape_ascii());
        }
    }
    println!("{requests} requests, {refused} refused, {malformed} malformed");
    assert!(refused * 4 > requests && refused * 10 < requests * 9 && malformed * 4 < requests);
}

#[test]
fn a_redirect_has_the_engines_status_and_address() {
    if !installed("a_redirect_has_the_engines_status_and_address") {
        return;
    }
    let addresses = [
        ("https://{HTTP_HOST}{REQUEST_URI}", false),
        ("https://{HTTP_HOST}{REQUEST_URI}", true),
        ("/blocked \"$x\\é;}#", true),
        ("/blocked?why=1", true),
        ("relative", true),
        ("{REQUEST_URI}", false),
        ("http://other.example/{REQUEST_METHOD}?{QUERY_STRING}", true),
        ("", true),
        ("mailto://x", false),
    ];
    let types = [("Permanent", 301), ("Found", 302), ("SeeOther", 303), ("Temporary", 307)];
    for (at, (url, append)) in addresses.iter().enumerate() {
        let (kind, status) = types[at % 4];
        let set = rules(&format!(
            r#"<rule name="r"><match url=".*" /><action type="Redirect" url="{}" appendQueryString="{append}"
               redirectType="{kind}" /></rule>"#,
            escape(url)
        ));
        let config = translated(&set);
        let engine = engine(&set);
        let nginx = Nginx::start(&config.http, &config.server, &["site".to_owned()]);
        for target in ["/", "/a", "/a?b", "/a?b?c", "/%2f?%20", "/?", "http://site?x", "/a#b?c", "/a?\u{e9}"]
        {
            let head = format!("GET {target} HTTP/1.1\r\nHost: site\r\n\r\n").into_bytes();
            let expected = verdict(&engine, &nginx, &head);
            assert_eq!((expected.action, expected.status), (Outcome::Redirect, Some(status)));
            // nginx puts its own name before an address without a host; bytes above ASCII stay as they came.
            let mut address = expected.url.unwrap().replace("%C3%A9", "\u{e9}");
            if address.starts_with('/') {
                address.insert_str(0, &format!("http://site:{}", nginx.port()));
            }
            let answer = nginx
                .whole_answer("127.0.0.1", &head)
                .replace("/blocked%20\"$x\\%C3%A9", "/blocked%20\"$x\\\u{e9}");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            let found = answer.lines().find_map(|line| line.strip_prefix("Location: "));
            assert_eq!(found, Some(address.as_str()), "{url} {append} {target}");
        }
    }
}

#[test]
fn a_body_is_sent_as_the_rule_has_it_whatever_error_page_says() {
    if !installed("a_body_is_sent_as_the_rule_has_it_whatever_error_page_says") {
        return;
    }
    let body = "not \"now\" $request_uri \\ ;}\n#";
    let set = rules(&format!(
        r#"<rule name="r"><match url=".*" /><action type="CustomResponse" statusCode="403" statusDescription="{}" />
           </rule>"#,
        escape(body)
    ));
    let config = translated(&set);
    let servers = format!(
        "server {{ listen 127.0.0.1:@PORT@; error_page 403 =200 /page; {}\nlocation = /page {{ return 200 page; }} }}",
        config.server
    );
    let nginx = Nginx::start_with(&config.http, &servers);
    let answer = nginx.whole_answer("127.0.0.1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
}

fn abort(name: usize, conditions: &str) -> String {
    format!(
        r#"<rule name="rule {name}"><match url=".*" /><conditions>{conditions}</conditions>
           <action type="AbortRequest" /></rule>"#
    )
}

#[test]
fn a_thousand_rules_are_one_map_and_decide_as_the_engine_does() {
    if !installed("a_thousand_rules_are_one_map_and_decide_as_the_engine_does") {
        return;
    }
    let all: String = (0..1_000)
        .map(|n| abort(n, &format!(r#"<add input="{{UrlDecode:{{REQUEST_URI}}}}" pattern="evil{n:04}" />"#)))
        .collect();
    let config = translated(&rules(&all));
    assert_eq!(config.http.matches("map ").count(), 4, "target, test, group, verdict");
    assert_eq!(config.http.matches("# example M1: rule ").count(), 1_001, "each is named, the first twice");
    let mut nginx = Nginx::start(&config.http, &config.server, &["site".to_owned()]);
    let mut ask = |target: &str| nginx.ask(format!("GET {target} HTTP/1.1\r\nHost: site\r\n\r\n").as_bytes());
    for target in ["/evil0000", "/x?y=EVIL0499", "/%65vil0999"] {
        assert_eq!(ask(target), Answer::Nothing, "{target}");
    }
    assert_eq!(ask("/evil1000"), Answer::Status(200));

    // With two conditions each they are rules of their own, in groups.
    let all: String = (0..1_000)
        .map(|n| {
            abort(
                n,
                &format!(
                    r#"<add input="{{REQUEST_URI}}" pattern="evil{n:04}" /><add input="{{HTTP_COOKIE}}" pattern="c{n}" />"#
                ),
            )
        })
        .collect();
    let config = translated(&rules(&all));
    let mut nginx = Nginx::start(&config.http, &config.server, &["site".to_owned()]);
    let mut ask = |n: usize, cookie: &str| {
        nginx.ask(format!("GET /evil{n:04} HTTP/1.1\r\nHost: site\r\nCookie: {cookie}\r\n\r\n").as_bytes())
    };
    for n in [0, 159, 160, 500, 999] {
        assert_eq!(ask(n, &format!("c{n}")), Answer::Nothing, "{n}");
        assert_eq!(ask(n, "d"), Answer::Status(200), "{n}");
    }
}

/// Rules that share a map with others, and rules between them that decide otherwise.
#[test]
fn the_first_rule_decides_also_where_rules_are_joined() {
    if !installed("the_first_rule_decides_also_where_rules_are_joined") {
        return;
    }
    let condition =
        |text: &str| format!(r#"<conditions><add input="{{REQUEST_URI}}" pattern="{text}" /></conditions>"#);
    let rule = |n: usize, text: &str, action: &str| {
        format!(
            r#"<rule name="{n}" stopProcessing="true"><match url=".*" />{}<action {action} /></rule>"#,
            condition(text)
        )
    };
    let mut seen = [0; 3];
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let all: String = (0..12)
            .map(|n| {
                let actions = [
                    r#"type="AbortRequest""#,
                    r#"type="AbortRequest""#,
                    r#"type="None""#,
                    r#"type="CustomResponse" statusCode="403""#,
                ];
                rule(n, dice.pick(&["a", "b", "c", "d", "^/e", "f$"]), dice.pick(&actions))
            })
            .collect();
        let set = rules(&all);
        let (config, engine) = (translated(&set), engine(&set));
        let mut nginx = Nginx::start(&config.http, &config.server, &["site".to_owned()]);
        for _ in 0..60 {
            let letters: String = (0..1 + dice.roll(2))
                .map(|_| *dice.pick(&[&'a', &'b', &'c', &'d', &'e', &'f', &'x']))
                .collect();
            let head = format!("GET /{letters} HTTP/1.1\r\nHost: site\r\n\r\n").into_bytes();
            let expected = match verdict(&engine, &nginx, &head).action {
                Outcome::AbortRequest => Answer::Nothing,
                Outcome::CustomResponse => Answer::Status(403),
                _ => Answer::Status(200),
            };
            seen[match expected {
                Answer::Nothing => 0,
                Answer::Status(403) => 1,
                Answer::Status(_) => 2,
            }] += 1;
            assert_eq!(nginx.ask(&head), expected, "seed {seed} /{letters}\n{}", config.http);
        }
    }
    println!("aborted, answered, passed: {seen:?}");
    assert!(seen.iter().all(|count| *count > 200), "{seen:?}");
}

#[test]
fn an_ipv4_client_of_an_ipv6_listener_has_its_own_address() {
    if !installed("an_ipv4_client_of_an_ipv6_listener_has_its_own_address") {
        return;
    }
    let set = rules(&abort(1, r#"<add input="{REMOTE_ADDR}" pattern="^127\.0\.0\.1$" />"#));
    let config = translated(&set);
    let servers = format!(
        "server {{ listen [::]:@PORT@ ipv6only=off; {}\nlocation / {{ return 200 $remote_addr; }} }}",
        config.server
    );
    let nginx = Nginx::start_with(&config.http, &servers);
    let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(nginx.whole_answer("127.0.0.1", head), "");
    assert!(nginx.whole_answer("::1", head).ends_with("::1"));
}

/// A pattern that is found makes nginx forget what `$1` was; a benign request finds none.
#[test]
fn captures_of_a_server_name_stay_where_no_pattern_is_found() {
    if !installed("captures_of_a_server_name_stay_where_no_pattern_is_found") {
        return;
    }
    let name = r"~^(.+)\.example$";
    let set = rules(
        r#"<rule name="r" stopProcessing="true"><match url=".*" /><conditions>
           <add input="{HTTP_COOKIE}" pattern="pass" /></conditions><action type="None" /></rule>
           <rule name="s"><match url=".*" /><conditions>
           <add input="{REQUEST_URI}" pattern="evil" /></conditions><action type="AbortRequest" /></rule>"#,
    );
    let scoped =
        SiteRules { observe: false, marker: String::new(), sites: Some(vec![name.to_owned()]), rules: set };
    let config = translate(&[scoped]).unwrap();
    let servers = format!(
        "server {{ listen 127.0.0.1:@PORT@; server_name \"{}\"; {}\nlocation / {{ return 200 $1; }} }}",
        name.replace('\\', r"\\"),
        config.server
    );
    let nginx = Nginx::start_with(&config.http, &servers);
    let ask = |target: &str, cookie: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: foo.example\r\nCookie: {cookie}\r\n\r\n");
        nginx.whole_answer("127.0.0.1", head.as_bytes())
    };
    assert!(ask("/a", "b").ends_with("\r\n\r\nfoo"), "{}", ask("/a", "b"));
    assert_eq!(ask("/evil", "b"), "", "the site is found by its pattern's text");
    assert!(ask("/evil", "pass").ends_with("\r\n\r\n"), "the limit that the documentation names");
}

#[test]
fn of_a_repeated_header_this_nginx_sees_what_the_refusal_says() {
    if !installed("of_a_repeated_header_this_nginx_sees_what_the_refusal_says") {
        return;
    }
    let nginx = Nginx::start_with(
        "",
        "server { listen 127.0.0.1:@PORT@; location / { return 200 \"$http_x_any|$http_user_agent|$http_referer\"; } }",
    );
    let answer = nginx.whole_answer(
        "127.0.0.1",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Any: 1\r\nX-Any: 2\r\nUser-Agent: 1\r\nUser-Agent: 2\r\nReferer: 1\r\n\
          Referer: 2\r\n\r\n",
    );
    let seen = answer.rsplit("\r\n").next().unwrap();
    assert!(["1|1|1", "1, 2|1, 2|1, 2"].contains(&seen), "{answer}");
    for name in ["Authorization", "If-Match", "Content-Length", "Transfer-Encoding", "Host", "Expect"] {
        let line = format!("{name}: 0\r\n");
        let answer = nginx
            .whole_answer("127.0.0.1", format!("GET / HTTP/1.1\r\nHost: x\r\n{line}{line}\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
    }
}

/// What the documentation names as different, and no more than that.
#[test]
fn a_tab_between_cookie_lines_is_kept() {
    if !installed("a_tab_between_cookie_lines_is_kept") {
        return;
    }
    let set = rules(&abort(1, r#"<add input="{HTTP_COOKIE}" pattern="a; b" />"#));
    let (config, engine) = (translated(&set), engine(&set));
    let mut nginx = Nginx::start(&config.http, &config.server, &["site".to_owned()]);
    for (lines, same) in
        [("Cookie: a\r\nCookie: b", true), ("Cookie: a\t\r\nCookie: b", false), ("Cookie: \ta; b\t", true)]
    {
        let head = format!("GET / HTTP/1.1\r\nHost: site\r\n{lines}\r\n\r\n").into_bytes();
        assert_eq!(verdict(&engine, &nginx, &head).action, Outcome::AbortRequest);
        assert_eq!(nginx.ask(&head) == Answer::Nothing, same, "{lines:?}");
    }
}

#[test]
fn a_header_with_an_underscore_reaches_neither_rule_nor_application() {
    if !installed("a_header_with_an_underscore_reaches_neither_rule_nor_application") {
        return;
    }
    let set = rules(&abort(1, r#"<add input="{HTTP_X_FORWARDED_FOR}" pattern="evil" />"#));
    let config = translated(&set);
    let servers = format!(
        "server {{ listen 127.0.0.1:@PORT@; server_name front; {}\nlocation / {{ proxy_set_header Host back; \
         proxy_pass http://127.0.0.1:@PORT@; }} }}\n\
         server {{ listen 127.0.0.1:@PORT@; server_name back; underscores_in_headers on;\n\
         location / {{ return 200 \"[$http_x_forwarded_for]\"; }} }}",
        config.server
    );
    let nginx = Nginx::start_with(&config.http, &servers);
    let ask = |name: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: front\r\n{name}: evil\r\n\r\n");
        nginx.whole_answer("127.0.0.1", head.as_bytes())
    };
    assert_eq!(ask("X-Forwarded-For"), "");
    assert!(ask("X_Forwarded_For").ends_with("[]"), "{}", ask("X_Forwarded_For"));
}
