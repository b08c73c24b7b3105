//! One rule, two servers, the same verdict: what `translate::apache` writes, in a real Apache httpd, against the
//! engine, over generated requests.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/apache.rs"]
mod server;

use common::dice::Dice;
use common::inputs::{PATTERNS, head, target, text};
use common::{M1_REQUESTS, condition, cookie_rules, engine, m1, rules};
use server::{Answer, Apache, FILE, Origin, Site, installed};
use stopgap_rules::translate::SiteRules;
use stopgap_rules::translate::apache::translate;
use stopgap_rules::{Action, Connection, Engine, Outcome, Request, Response, RuleSet};

fn scoped(rules: RuleSet, site: Option<&str>) -> SiteRules {
    SiteRules {
        observe: false,
        marker: "example M1.1".into(),
        sites: site.map(|site| vec![site.to_owned()]),
        rules,
    }
}

/// Rule sets, each on a site of its own, which has `more` in it.
fn sites_with(sets: Vec<RuleSet>, more: &str) -> (Vec<Site>, Vec<Engine>) {
    let engines = sets.iter().map(engine).collect();
    let scoped: Vec<SiteRules> = sets
        .into_iter()
        .enumerate()
        .map(|(n, rules)| scoped(rules, Some(&format!("site{n}.example"))))
        .collect();
    let config = translate(&scoped).unwrap();
    let count = scoped.len();
    let text = |name: &str| {
        config.sites.iter().find(|(site, _)| site == name).map(|(_, text)| text.clone()).unwrap_or_default()
    };
    let names = (0..count).map(|n| format!("site{n}.example"));
    (names.map(|name| Site { inside: format!("{more}\n{}", text(&name)), name }).collect(), engines)
}

/// What Apache must answer.
fn expected(engine: &Engine, head: &[u8]) -> Answer {
    let request = Request::parse_head(head, &Connection::default()).unwrap();
    let verdict = engine.evaluate(&request);
    assert!(!verdict.over_limit);
    match verdict.action {
        Outcome::AbortRequest => Answer::REFUSED,
        Outcome::CustomResponse => Answer::of(verdict.status.unwrap()),
        _ => Answer::of(200),
    }
}

#[derive(Default, Debug)]
struct Tally {
    requests: usize,
    refused: usize,
    /// Apache's own 400, or 404 for a `%00` in the path: before any rule, and before any application.
    malformed: usize,
}

impl Tally {
    fn compare(&mut self, apache: &mut Apache, engine: &Engine, head: &[u8], told: &str) {
        let answer = apache.ask(head).expect("an answer");
        self.requests += 1;
        let null = || head.windows(3).any(|w| w == b"%00");
        if answer.status == 400 || (answer.status == 404 && null()) {
            self.malformed += 1;
            return;
        }
        let expected = expected(engine, head);
        self.refused += usize::from(expected == Answer::REFUSED);
        // Of other statuses Apache closes behind some, such as 503.
        let close = if [200, 403].contains(&expected.status) { expected.close } else { answer.close };
        assert_eq!(answer, Answer { close, ..expected }, "{told}\n{}", head.escape_ascii());
    }
}

#[test]
fn the_revisions_of_m1_and_the_cookie_rules_agree_with_the_engine() {
    if !installed("the_revisions_of_m1_and_the_cookie_rules_agree_with_the_engine") {
        return;
    }
    let sets = vec![m1(1), m1(2), m1(3), m1(4), cookie_rules()];
    let (sites, engines) = sites_with(sets, FILE);
    let mut apache = Apache::start("", &sites);
    let mut tally = Tally::default();
    for (site, engine) in sites.iter().zip(&engines) {
        for target in M1_REQUESTS {
            tally.compare(&mut apache, engine, &head(&site.name, target.as_bytes(), None), &site.name);
        }
    }
    assert_eq!(tally.refused, 10, "the table: 1 + 2 + 3 + 4");
    for seed in 0..3_000 {
        for (site, engine) in sites.iter().zip(&engines) {
            let mut dice = Dice::new(seed);
            let target = target(&mut dice, &site.name);
            let cookie = text(&mut dice);
            let head = head(&site.name, &target, Some(&cookie));
            tally.compare(&mut apache, engine, &head, &format!("seed {seed}"));
        }
    }
    println!("{tally:?}");
    assert!(tally.refused * 20 > tally.requests && tally.malformed * 2 < tally.requests, "{tally:?}");
}

#[test]
fn every_linear_form_agrees_with_the_engine() {
    if !installed("every_linear_form_agrees_with_the_engine") {
        return;
    }
    let mut sets = Vec::new();
    let mut told = Vec::new();
    let mut refused = 0;
    let inputs = [
        "{REQUEST_URI}",
        "{UrlDecode:{REQUEST_URI}}",
        "{QUERY_STRING}",
        "{UrlDecode:{QUERY_STRING}}",
        "{HTTP_COOKIE}",
        "{UrlDecode:{HTTP_COOKIE}}",
    ];
    for pattern in PATTERNS {
        for input in inputs {
            let set = condition("a rule", input, pattern);
            match translate(&[scoped(set.clone(), None)]) {
                Ok(_) => {
                    sets.push(set);
                    told.push(format!("{input} {pattern}"));
                }
                Err(error) => {
                    println!("{input} {pattern}: {}", error.reason);
                    refused += 1;
                }
            }
        }
    }
    let (mut tally, mut at) = (Tally::default(), 0);
    for batch in sets.chunks(60) {
        let (sites, engines) = sites_with(batch.to_vec(), FILE);
        let mut apache = Apache::start("", &sites);
        for (site, engine) in sites.iter().zip(&engines) {
            for seed in 0..80 {
                let mut dice = Dice::new(seed + 1_000 * at as u64);
                let head = head(&site.name, &target(&mut dice, &site.name), Some(&text(&mut dice)));
                tally.compare(&mut apache, engine, &head, &format!("seed {seed}, {}", told[at]));
            }
            at += 1;
        }
    }
    println!("{} translated, {refused} refused: {tally:?}", sets.len());
    assert!(sets.len() > 150 && tally.refused * 10 > tally.requests, "{tally:?}");
}

/// Requests of 8 KB that make the patterns work.
fn long_targets() -> Vec<Vec<u8>> {
    let fill = |piece: &str| piece.repeat(8_192 / piece.len());
    [
        "a",
        "%",
        "%4",
        "%41",
        "%25",
        "/",
        "autodiscover",
        "autodiscover.json",
        "autodiscover.json@",
        "powershell",
        "powershel",
        "autodiscove",
        "%61utodiscove",
        "%41%55%54%4f",
        "AUTODISCOVER.JSON%40",
        "%0a",
        "%e2%80%a8",
        "%e2%80",
        "autodiscover%0apowershel",
        "@",
        "p",
        "autodiscover.jso",
    ]
    .iter()
    .flat_map(|piece| {
        let all = format!("/x?{}", fill(piece));
        // The same, with the last word there: the longest way to a refusal.
        let hit = format!("{all}autodiscover.json@powershell");
        [all.into_bytes(), hit.into_bytes()]
    })
    .collect()
}

#[test]
fn long_requests_stay_within_fifty_pcre_turns_a_byte() {
    if !installed("long_requests_stay_within_fifty_pcre_turns_a_byte") {
        return;
    }
    let start = |turns: usize| {
        let (mut sites, engines) = sites_with(vec![m1(1), m1(2), m1(3), m1(4)], FILE);
        for site in &mut sites {
            // PCRE counts the turns of its matcher. At the limit Apache takes the pattern for not found.
            site.inside = site.inside.replace(" m/^", &format!(" m/(*LIMIT_MATCH={turns})^"));
        }
        (Apache::start("LimitRequestLine 65536", &sites), sites, engines)
    };
    let (mut apache, sites, engines) = start(50 * 8_192);
    let mut tally = Tally::default();
    for (site, engine) in sites.iter().zip(&engines) {
        for target in long_targets() {
            tally.compare(&mut apache, engine, &head(&site.name, &target, None), &site.name);
        }
    }
    assert!(tally.refused > 40 && tally.malformed == 0, "{tally:?}");

    // The limit does what this test believes: beyond it, the attack passes.
    let (mut strict, sites, engines) = start(10);
    let attack = head(&sites[3].name, b"/x?autodiscover%0aautodiscover&powershell", None);
    assert_eq!(expected(&engines[3], &attack), Answer::REFUSED);
    assert_eq!(strict.ask(&attack), Some(Answer::of(200)));
}

/// By default Apache reads 8,190 bytes of a line, and of headers of one name together. An operator can raise that.
#[test]
fn what_could_take_pcre_to_its_limit_is_refused() {
    if !installed("what_could_take_pcre_to_its_limit_is_refused") {
        return;
    }
    let (sites, engines) = sites_with(vec![cookie_rules()], FILE);
    let mut apache = Apache::start("LimitRequestFieldSize 1000000", &sites);
    let cookies = |bytes: usize, last: &str| {
        let mut head = format!("GET / HTTP/1.1\r\nHost: {}\r\n", sites[0].name);
        for _ in 0..bytes / 8_000 {
            head.push_str(&format!("Cookie: {}\r\n", "X-BEResource=~".repeat(571)));
        }
        format!("{head}Cookie: {last}\r\n\r\n").into_bytes()
    };
    for (bytes, last) in
        [(8_000, ""), (8_000, "X-BEResource=a/b~c"), (24_000, "X-BEResource=a/b~c"), (24_000, "/")]
    {
        let head = cookies(bytes, last);
        assert_eq!(apache.ask(&head), Some(expected(&engines[0], &head)), "{bytes} {last}");
    }
    let mut usual = Apache::start("", &sites);
    assert_eq!(usual.ask(&cookies(24_000, "harmless=1")).map(|answer| answer.status), Some(400));
    let head = cookies(700_000, "harmless=1");
    assert_eq!(expected(&engines[0], &head), Answer::of(200), "the engine has no such limit");
    assert_eq!(apache.ask(&head), Some(Answer::REFUSED));
}

/// What an operator can have in a virtual host that would answer, or let pass, before or after a rule.
const OTHERS: [(&str, &str); 12] = [
    ("ProxyPass", "ProxyPass / http://127.0.0.1:ORIGIN/"),
    ("ProxyPass without canonical form", "ProxyPass / http://127.0.0.1:ORIGIN/ nocanon"),
    ("a Location's ProxyPass", "<Location />\nProxyPass http://127.0.0.1:ORIGIN/\n</Location>"),
    (
        "RewriteRule to a proxy",
        "RewriteEngine On\nRewriteRule ^ http://127.0.0.1:ORIGIN%{REQUEST_URI} [P,QSA]",
    ),
    (
        "a folder's RewriteRule",
        "<Directory ${FOLDER}/htdocs>\nOptions FollowSymLinks\nRewriteEngine On\n\
         RewriteRule ^ http://127.0.0.1:ORIGIN%{REQUEST_URI} [P,QSA]\n</Directory>",
    ),
    (
        "a Location that grants",
        "ProxyPass / http://127.0.0.1:ORIGIN/\n<Location />\nRequire all granted\nAuthMerging Or\n</Location>",
    ),
    (
        "the old access control",
        "ProxyPass / http://127.0.0.1:ORIGIN/\n<Location />\nOrder allow,deny\nAllow from all\nSatisfy Any\n</Location>",
    ),
    (
        "an If that grants",
        "ProxyPass / http://127.0.0.1:ORIGIN/\n<If \"true\">\nRequire all granted\nErrorDocument 403 /page\n</If>",
    ),
    ("an error page of the application", "ProxyPass / http://127.0.0.1:ORIGIN/\nErrorDocument 403 /page"),
    (
        "an error page elsewhere",
        "ProxyPass / http://127.0.0.1:ORIGIN/\nErrorDocument 403 http://127.0.0.1:ORIGIN/page",
    ),
    ("a Redirect of its own", "ProxyPass / http://127.0.0.1:ORIGIN/\nRedirect 301 /moved /elsewhere"),
    ("SetEnvIf of its own", "ProxyPass / http://127.0.0.1:ORIGIN/\nSetEnvIf Request_URI . seen=1"),
];

#[test]
fn no_configuration_of_a_virtual_host_lets_a_refused_request_reach_the_application() {
    if !installed("no_configuration_of_a_virtual_host_lets_a_refused_request_reach_the_application") {
        return;
    }
    let origin = Origin::start();
    let rules = translate(&[scoped(m1(4), None)]).unwrap();
    assert!(rules.sites.is_empty());
    let sites: Vec<Site> = OTHERS
        .iter()
        .enumerate()
        .map(|(n, (_, inside))| Site {
            name: format!("site{n}.example"),
            inside: inside.replace("ORIGIN", &origin.port.to_string()),
        })
        .collect();
    // The rules stand at the server level alone: every virtual host inherits them.
    let mut apache = Apache::start(&rules.server, &sites);
    for (site, (told, _)) in sites.iter().zip(&OTHERS) {
        let before = origin.count();
        for attack in [
            M1_REQUESTS[0],
            M1_REQUESTS[2],
            "/page?autodiscover=powershell",
            "/moved/autodiscover=powershell",
            "/index.html?powershell&autodiscover",
        ] {
            for head in [
                format!("GET {attack} HTTP/1.1\r\nHost: {}\r\n\r\n", site.name),
                format!("GET http://{}{attack} HTTP/1.1\r\nHost: x\r\n\r\n", site.name),
                format!("POST {attack} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", site.name),
                format!(
                    "POST {attack} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
                    site.name
                ),
                format!("HEAD {attack} HTTP/1.0\r\nHost: {}\r\n\r\n", site.name),
            ] {
                let answer = apache.ask(head.as_bytes()).unwrap();
                let own = ["a Redirect of its own"].contains(told) && attack.starts_with("/moved");
                assert!(answer.status == 403 || own, "{told}: {answer:?}\n{head}");
                assert!(answer.close || own, "{told}: {answer:?}\n{head}");
            }
        }
        assert_eq!(origin.count(), before, "{told}");
        let benign = format!("GET /index.html HTTP/1.1\r\nHost: {}\r\n\r\n", site.name);
        assert_eq!(apache.ask(benign.as_bytes()), Some(Answer::of(200)), "{told}");
        assert_eq!(origin.count(), before + 1, "{told}: the application answers what is not refused");
    }
}

fn abort_where(input: &str, pattern: &str) -> RuleSet {
    condition("a rule", input, pattern)
}

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

/// Which statuses Apache knows differs from version to version; those that are translated hold.
#[test]
fn a_custom_response_keeps_its_status() {
    if !installed("a_custom_response_keeps_its_status") {
        return;
    }
    let mut set = RuleSet::default();
    let mut statuses = Vec::new();
    for status in (100..=999).filter(|status| !(300..=307).contains(status)) {
        let one = rules(&format!(
            r#"<rule name="r{status}"><match url=".*"/><conditions><add input="{{REQUEST_URI}}" pattern="^/s{status}$"/>
               </conditions><action type="CustomResponse" statusCode="{status}"/></rule>"#
        ));
        match translate(&[scoped(one.clone(), None)]) {
            Ok(_) => {
                set.append(one);
                statuses.push(status);
            }
            Err(error) => assert!(error.reason.contains("cannot answer with status"), "{error}"),
        }
    }
    assert!(statuses.len() > 40 && [200, 403, 404, 503].iter().all(|known| statuses.contains(known)));
    let config = translate(&[scoped(set, None)]).unwrap();
    let site = Site {
        name: "a.example".into(),
        inside: format!("{FILE}\nErrorDocument 404 http://elsewhere.example/\n"),
    };
    let mut apache = Apache::start(&config.server, &[site]);
    for status in statuses {
        let answer = apache.ask(&head("a.example", format!("/s{status}").as_bytes(), None)).unwrap();
        assert_eq!(answer.status, status);
    }
    assert_eq!(apache.ask(&head("a.example", b"/s999", None)), Some(Answer::of(200)));
}

/// Rules of one site stand in its virtual host, rules of every site at the server level; their order is that of
/// the list all the same.
#[test]
fn the_first_rule_that_decides_decides_on_every_site() {
    if !installed("the_first_rule_that_decides_decides_on_every_site") {
        return;
    }
    let rule = |pattern: &str, action: &str| {
        rules(&format!(
            r#"<rule name="{pattern}" stopProcessing="true"><match url=".*"/>
               <conditions><add input="{{REQUEST_URI}}" pattern="{pattern}"/></conditions>{action}</rule>"#
        ))
    };
    let status = |status: u16| format!(r#"<action type="CustomResponse" statusCode="{status}"/>"#);
    let (pass, abort) = (r#"<action type="None"/>"#, r#"<action type="AbortRequest"/>"#);
    let names = ["a.example", "b.example", "c.example"];
    let sets = [
        (Some("a.example"), rule("open", pass)),
        (None, rule("evil", abort)),
        (Some("b.example"), rule("evil|gone", &status(410))),
        (None, rule("gone", &status(404))),
        (
            Some("a.example"),
            rules(r#"<rule name="all others"><match url=".*"/><action type="AbortRequest"/></rule>"#),
        ),
        (None, rule("never", r#"<action type="None"/>"#)),
    ];
    let list: Vec<SiteRules> = sets.iter().map(|(site, set)| scoped(set.clone(), *site)).collect();
    let config = translate(&list).unwrap();
    assert_eq!(
        config.sites.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["a.example", "b.example"]
    );
    let sites: Vec<Site> = names
        .iter()
        .map(|name| {
            let own = config.sites.iter().find(|(site, _)| site == name).map_or("", |(_, text)| text);
            Site { name: (*name).to_owned(), inside: format!("{FILE}\n{own}") }
        })
        .collect();
    let mut apache = Apache::start(&config.server, &sites);
    for name in names {
        let mut all = RuleSet::default();
        for (_, set) in sets.iter().filter(|(site, _)| site.is_none_or(|site| site == name)) {
            all.append(set.clone());
        }
        let engine = engine(&all);
        for target in ["/", "/open", "/evil", "/open/evil", "/gone", "/evil/gone", "/open/gone", "/never"] {
            let head = head(name, target.as_bytes(), None);
            let answer = apache.ask(&head).unwrap();
            // A connection that the server level would have closed stays closed.
            assert_eq!(answer.status, expected(&engine, &head).status, "{name} {target}");
            assert!(answer.close || expected(&engine, &head) != Answer::REFUSED, "{name} {target}");
        }
    }
}

/// Rules as no one would write them, some of them deciding, in Apache and in the engine.
#[test]
fn generated_rules_agree_with_the_engine() {
    if !installed("generated_rules_agree_with_the_engine") {
        return;
    }
    let mut sets = Vec::new();
    let mut seeds = Vec::new();
    for seed in 0..1_500 {
        let mut set = common::generate::shaped(&mut Dice::new(seed));
        for rule in &mut set.rules {
            if matches!(rule.action, Action::Redirect { .. }) {
                rule.action = Action::AbortRequest;
            }
        }
        if translate(&[scoped(set.clone(), None)]).is_ok() {
            sets.push(set);
            seeds.push(seed);
        }
    }
    println!("{} of 1500 sets are translated", sets.len());
    let mut tally = Tally::default();
    let mut at = 0;
    for batch in sets.chunks(100) {
        let (sites, engines) = sites_with(batch.to_vec(), FILE);
        let mut apache = Apache::start("", &sites);
        for ((site, engine), set) in sites.iter().zip(&engines).zip(batch) {
            for round in 0..20 {
                let mut dice = Dice::new(seeds[at] * 100 + round);
                // What the rules look for, as it is, among other things.
                let mut wanted: Vec<u8> = Vec::new();
                for _ in 0..dice.roll(3) {
                    let all: Vec<&str> = set
                        .rules
                        .iter()
                        .flat_map(|rule| &rule.conditions.list)
                        .map(|condition| condition.pattern.as_str())
                        .collect();
                    if !all.is_empty() {
                        let pattern: &str = dice.pick(&all);
                        wanted.extend(pattern.bytes().filter(|b| !matches!(b, b'\\' | 0..=0x20 | 0x7f)));
                    }
                    wanted.extend(text(&mut dice));
                }
                let target = [b"/x?", wanted.as_slice()].concat();
                let head = head(&site.name, &target, Some(&wanted));
                tally.compare(&mut apache, engine, &head, &format!("set {}, round {round}", seeds[at]));
            }
            at += 1;
        }
    }
    println!("{tally:?}");
    assert!(sets.len() > 300 && tally.refused * 20 > tally.requests, "{tally:?}");
}

/// As it stands on a server, but for its name.
const M2: &str = r#"<rewrite><outboundRules>
<rule name="M2.1 OWA CSP - outbound" preCondition="HTML shell">
  <match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)"/>
  <action type="Rewrite" value="{R:1}; script-src-attr 'none'"/>
</rule>
<rule name="another">
  <match serverVariable="RESPONSE_X_Frame_Options" pattern=".*"/>
  <conditions><add input="{RESPONSE_STATUS}" pattern="^200$"/></conditions>
  <action type="Rewrite" value="DENY" replace="false"/>
</rule>
<preConditions>
  <preCondition name="HTML shell">
    <add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/>
    <add input="{REQUEST_URI}" pattern="^/owa/"/>
  </preCondition>
</preConditions></outboundRules></rewrite>"#;

/// The lines of a header in an answer.
fn lines(answer: &[u8], name: &str) -> Vec<String> {
    let response = Response::parse_head(answer).unwrap();
    response.headers(name).map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
}

#[test]
fn m2_changes_responses_as_the_engine_does() {
    if !installed("m2_changes_responses_as_the_engine_does") {
        return;
    }
    let heads = [
        "200 OK\r\nContent-Type: text/html; charset=utf-8\r\n",
        "200 OK\r\nContent-Type: text/html\r\nContent-Security-Policy: default-src 'self'\r\n",
        "200 OK\r\nContent-Type: TEXT/HTML\r\ncontent-security-policy: a $1 %x \\0 & \"b\"\r\n",
        "200 OK\r\nContent-Type: text/html\r\nContent-Security-Policy: a\u{2028}b\r\nX-Frame-Options: ALLOW\r\n",
        "200 OK\r\nContent-Type: text/html\r\nContent-Security-Policy: a\u{2020}b\u{e9}\r\n",
        "200 OK\r\nContent-Type: application/json\r\nContent-Security-Policy: a\r\n",
        "200 OK\r\nContent-Security-Policy: a\r\n",
        "404 Not Found\r\nContent-Type: text/html\r\n",
        "500 Internal Server Error\r\nContent-Type: text/html\r\nContent-Security-Policy: a\r\n",
        "302 Found\r\nContent-Type: text/html\r\nLocation: /x\r\n",
    ];
    let answers: Vec<String> =
        heads.iter().map(|head| format!("HTTP/1.1 {head}Content-Length: 4\r\n\r\napp\n")).collect();
    let origin = Origin::answering(answers.iter().map(|answer| answer.clone().into_bytes()).collect());
    let set = RuleSet::parse(M2).unwrap();
    let engine = engine(&set);
    let proxy = format!("ProxyPass / http://127.0.0.1:{}/ nocanon\n", origin.port);
    let config = translate(&[scoped(set.clone(), None)]).unwrap();
    let own = translate(&[scoped(set, Some("b.example"))]).unwrap();
    assert_eq!(own.server, "# Stopgap: no rule has an effect.\n");
    // One with the rules at the server level, one with them in the virtual host.
    let a = Site { name: "a.example".into(), inside: proxy.clone() };
    let b = Site { name: "b.example".into(), inside: format!("{proxy}{}", own.sites[0].1) };
    let mut changed = 0;
    for (server, site) in [(config.server.as_str(), a), ("", b)] {
        let name = site.name.clone();
        let mut apache = Apache::start(server, &[site]);
        for (number, answer) in answers.iter().enumerate() {
            for target in ["/owa/", "/OWA/x?y", "/ecp/", "/x?/owa/", "http://a.example/owa/"] {
                let head = format!("GET {target} HTTP/1.1\r\nHost: {name}\r\nX-Answer: {number}\r\n\r\n");
                let request = Request::parse_head(head.as_bytes(), &Connection::default()).unwrap();
                let verdict = engine.outbound(&request, &Response::parse_head(answer.as_bytes()).unwrap());
                apache.ask(head.as_bytes()).unwrap();
                for header in ["Content-Security-Policy", "X-Frame-Options"] {
                    let change = verdict.headers.iter().find(|h| h.name.eq_ignore_ascii_case(header));
                    changed += usize::from(change.is_some());
                    let expected = change.map_or_else(
                        || lines(answer.as_bytes(), &header.replace('-', "_")),
                        |h| h.values.iter().map(|v| String::from_utf8_lossy(v).into_owned()).collect(),
                    );
                    let found = lines(&apache.last, &header.replace('-', "_"));
                    assert_eq!(found, expected, "{header} {target} {answer}");
                }
            }
        }
    }
    assert!(changed > 60, "{changed}");
}

/// The two tables of Apache, headers of the server's own, its error pages; and what remains different.
#[test]
fn the_server_s_own_headers_are_changed_where_they_stand() {
    if !installed("the_server_s_own_headers_are_changed_where_they_stand") {
        return;
    }
    let config = translate(&[scoped(RuleSet::parse(M2).unwrap(), None)]).unwrap();
    let twice = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Security-Policy: a\r\n\
                 Content-Security-Policy: b\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::answering(vec![twice.as_bytes().to_vec()]);
    let file = format!("{FILE}\nAddType text/html .html\n");
    let csp = "Content-Security-Policy";
    let with = "; script-src-attr 'none'";
    for (inside, expected) in [
        (file.clone(), vec![with.to_owned()]),
        (format!("{file}Header set {csp} a"), vec![format!("a{with}")]),
        (format!("{file}Header always set {csp} a"), vec![format!("a{with}")]),
        (
            format!("{file}<Location />\nHeader onsuccess append {csp} a\n</Location>"),
            vec![format!("a{with}")],
        ),
        (format!("{file}Redirect 404 /owa"), vec![with.to_owned()]),
        (format!("{file}Header always set {csp} a\nRedirect 404 /owa"), vec![format!("a{with}")]),
        (
            format!("ProxyPass / http://127.0.0.1:{}/", origin.port),
            vec![format!("a{with}"), format!("b{with}")],
        ),
    ] {
        let site = Site { name: "a.example".into(), inside: inside.clone() };
        let mut apache = Apache::start(&config.server, &[site]);
        apache.ask(&head("a.example", b"/owa/", None)).unwrap();
        assert_eq!(lines(&apache.last, "CONTENT_SECURITY_POLICY"), expected, "{inside}");
        apache.ask(&head("a.example", b"/", None)).unwrap();
        assert!(!String::from_utf8_lossy(&apache.last).contains(with), "{inside}");
    }
}

#[test]
fn what_apache_refuses_by_itself_reaches_no_application() {
    if !installed("what_apache_refuses_by_itself_reaches_no_application") {
        return;
    }
    let origin = Origin::start();
    let inside = format!("ProxyPass / http://127.0.0.1:{}/", origin.port);
    let config = translate(&[scoped(abort_where("{REQUEST_URI}", "evil"), None)]).unwrap();
    let mut apache = Apache::start(&config.server, &[Site { name: "a.example".into(), inside }]);
    for (line, status) in [
        ("GET /%zz?evil", 400),
        ("GET /?evil#x", 400),
        ("GET /%00?evil", 404),
        ("GET /%2f?evil", 404),
        ("GET ftp://a.example/evil", 400),
        ("GET /\tevil", 400),
        ("OPTIONS *", 200),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(apache.ask(head.as_bytes()).unwrap().status, status, "{line}");
    }
    let long = format!("/{}evil", "a".repeat(8_192));
    assert_eq!(apache.ask(&head("a.example", long.as_bytes(), None)).unwrap().status, 414);
    assert_eq!(origin.count(), 0);
    let folded = b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Other: a\r\n b\r\n\r\n";
    assert_eq!(apache.ask(folded), Some(Answer::of(200)));
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_thousand_rules_work() {
    if !installed("a_thousand_rules_work") {
        return;
    }
    let mut set = RuleSet::default();
    for number in 0..1_000 {
        set.append(condition(
            &format!("rule {number}"),
            "{UrlDecode:{REQUEST_URI}}",
            &format!("literal{number}z"),
        ));
    }
    let engine = engine(&set);
    let config = translate(&[scoped(set, None)]).unwrap();
    let site = Site { name: "a.example".into(), inside: FILE.into() };
    let mut apache = Apache::start(&config.server, &[site]);
    let mut tally = Tally::default();
    for target in ["/literal0z", "/?a=%6citeral999z", "/literal500Z", "/literal1000z", "/"] {
        tally.compare(&mut apache, &engine, &head("a.example", target.as_bytes(), None), target);
    }
    assert_eq!((tally.refused, tally.malformed), (3, 0));
}

#[test]
fn the_page_names_tests_that_exist() {
    let read =
        |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let tests = read("tests/apache.rs") + &read("tests/apache_injection.rs");
    let page = read("../../docs/rules/translation-apache.md");
    let named = page.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 3);
    let mut count = 0;
    for name in named.filter(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) {
        assert!(tests.contains(&format!("fn {name}()")), "{name}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}
