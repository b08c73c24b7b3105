//! Long requests: within what PCRE does in time, and what Apache refuses by itself before any rule.

use crate::common::inputs::head;
use crate::common::{cookie_rules, m1, scoped};
use crate::server::{Answer, Apache, FILE, Origin, Site, installed};
use crate::{Tally, abort_where, expected, sites_with};
use stopgap_rules::translate::apache::translate;

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
