//! One rule, two servers, the same verdict: what `translate::haproxy` writes, in a real HAProxy, from its file
//! and through its socket, against the engine, over generated requests.
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
use common::haproxy::{Answer, Haproxy, Shape, installed};
use common::inputs::{PATTERNS, text};
use common::{M1_REQUESTS, condition, cookie_rules, engine, judged, m1, rules, scoped};
use stopgap_rules::translate::haproxy::{HaproxyConfig, translate};
use stopgap_rules::{Engine, Outcome, RuleSet};

/// Rule sets, each on a frontend of its own.
fn sites(sets: Vec<RuleSet>) -> (Vec<String>, Vec<Engine>, HaproxyConfig) {
    let (names, engines, scoped) = common::sites(sets, |n| format!("site{n}"));
    (names, engines, translate(&scoped).unwrap())
}

/// What HAProxy must answer.
fn expected(engine: &Engine, head: &[u8]) -> Answer {
    let verdict = judged(engine, head);
    match verdict.action {
        Outcome::AbortRequest => Answer::Nothing,
        Outcome::CustomResponse => Answer::Status(verdict.status.unwrap()),
        _ => Answer::Passed,
    }
}

/// HAProxy answers 400 by itself to bytes that no address may hold, unless it is told not to.
const LAX: Shape = Shape { frontend: " option accept-invalid-http-request", global: "", more: "" };

#[derive(Default, Debug)]
struct Tally {
    requests: usize,
    refused: usize,
    /// HAProxy's own 400, before any rule.
    malformed: usize,
}

impl Tally {
    fn compare(&mut self, haproxy: &mut Haproxy, site: usize, engine: &Engine, head: &[u8], told: &str) {
        let answer = haproxy.ask(site, head);
        self.requests += 1;
        if answer == Answer::Status(400) {
            self.malformed += 1;
            return;
        }
        let expected = expected(engine, head);
        self.refused += usize::from(expected != Answer::Passed);
        assert_eq!(answer, expected, "{told}\n{}", head.escape_ascii());
    }
}

/// The value of a header: text, and blanks, tabs and separators between.
fn value(dice: &mut Dice) -> Vec<u8> {
    let mut value = text(dice);
    for _ in 0..dice.roll(3) {
        let more: &[u8] = dice.pick(&[b" ", b"\t", b", ", b"; ", b",", b";"]);
        value.extend(more);
        value.extend(text(dice));
    }
    value
}

fn target(dice: &mut Dice) -> Vec<u8> {
    let mut target = Vec::new();
    match dice.roll(12) {
        0 => {
            let known: &str = dice.pick(&M1_REQUESTS);
            target.extend(known.bytes());
            let cut = dice.roll(target.len() + 1);
            let tail = target.split_off(cut);
            target.extend(text(dice));
            target.extend(tail);
        }
        1..=4 => {
            target.extend(b"/x?");
            target.extend(text(dice));
        }
        5..=6 => {
            let scheme: &[u8] = dice.pick(&[b"http://", b"HTTP://", b"https://"]);
            target.extend(scheme);
            target.extend(b"host");
            let start: &[u8] = dice.pick(&[b"/", b"", b"/a?", b"//"]);
            target.extend(start);
            if !start.is_empty() {
                target.extend(text(dice));
            }
        }
        _ => {
            target.push(b'/');
            target.extend(text(dice));
        }
    }
    target
}

/// A request with several Cookie headers and several of another name, written in different ways, among others.
fn head(dice: &mut Dice, target: &[u8]) -> Vec<u8> {
    let method: &[u8] = dice.pick(&[b"GET", b"GET", b"POST", b"PUT", b"get", b"OPTIONS", b"A"]);
    let mut head = [method, b" ", target, b" HTTP/1.1\r\nHost: host\r\n"].concat();
    if method == b"POST" || method == b"PUT" {
        head.extend(b"Content-Length: 0\r\n");
    }
    for _ in 0..dice.roll(6) {
        let name: &[u8] =
            dice.pick(&[b"Cookie", b"COOKIE", b"X-Test", b"x_test", b"X-Tes", b"X-Testa", b"Y"]);
        let blank: &[u8] = dice.pick(&[b"", b" ", b"  ", b"\t"]);
        let after: &[u8] = dice.pick(&[b"", b"", b" ", b"\t "]);
        head.extend([name, b":", blank, &value(dice), after, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}

/// Each rule set on its site, over so many requests, with the rules in the file and then through the socket.
fn compare(sets: &[RuleSet], told: &[String], requests: u64, seed: u64, tally: &mut Tally) {
    let (names, engines, config) = sites(sets.to_vec());
    let mut from_file = Haproxy::start(&config, &names, LAX);
    let mut updated = Haproxy::with_maps("", "", &names, LAX);
    updated.update(&config);
    let entries = from_file.entries();
    assert_eq!((entries.0.len(), &entries.1), (config.entries.len(), &config.gate));
    assert_eq!(entries, updated.entries(), "the same patterns on both ways");
    for (site, engine) in engines.iter().enumerate() {
        for seed in seed..seed + requests {
            let mut dice = Dice::new(seed * 1_000 + site as u64);
            let target = target(&mut dice);
            let head = head(&mut dice, &target);
            let haproxy = if seed % 2 == 0 { &mut from_file } else { &mut updated };
            tally.compare(haproxy, site, engine, &head, &format!("seed {seed}, {}", told[site]));
        }
    }
}

#[test]
fn the_revisions_of_m1_and_the_cookie_rules_agree_with_the_engine() {
    if !installed("the_revisions_of_m1_and_the_cookie_rules_agree_with_the_engine") {
        return;
    }
    let sets = [m1(1), m1(2), m1(3), m1(4), cookie_rules()];
    let (names, engines, config) = sites(sets.to_vec());
    let mut haproxy = Haproxy::start(&config, &names, Shape::default());
    let mut tally = Tally::default();
    for (site, engine) in engines.iter().enumerate() {
        for target in M1_REQUESTS {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            tally.compare(&mut haproxy, site, engine, head.as_bytes(), &names[site]);
        }
    }
    assert_eq!((tally.refused, tally.malformed), (10, 0), "the table: 1 + 2 + 3 + 4");
    compare(&sets, &names, 4_000, 0, &mut tally);
    println!("{tally:?}");
    assert!(tally.refused * 20 > tally.requests && tally.malformed * 4 < tally.requests, "{tally:?}");
}

#[test]
fn every_linear_form_agrees_with_the_engine() {
    if !installed("every_linear_form_agrees_with_the_engine") {
        return;
    }
    let mut sets = Vec::new();
    let mut told = Vec::new();
    let mut refused = 0;
    let one = |set: &RuleSet| scoped(set.clone(), None);
    for pattern in PATTERNS {
        for input in [
            "{REQUEST_URI}",
            "{UrlDecode:{REQUEST_URI}}",
            "{QUERY_STRING}",
            "{UrlDecode:{QUERY_STRING}}",
            "{HTTP_COOKIE}",
            "{UrlDecode:{HTTP_COOKIE}}",
            "{HTTP_X_TEST}",
            "{UrlDecode:{HTTP_X_TEST}}",
        ] {
            let set = condition("a rule", input, pattern);
            match translate(&[one(&set)]) {
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
    let mut tally = Tally::default();
    for (at, batch) in sets.chunks(50).enumerate() {
        compare(batch, &told[at * 50..], 120, 10_000 * (at as u64 + 1), &mut tally);
    }
    println!("{} translated, {refused} refused: {tally:?}", sets.len());
    assert!(sets.len() > 300 && tally.refused * 10 > tally.requests, "{tally:?}");
}

/// Requests as long as HAProxy takes them that make the patterns work, each with and without an attack at its
/// end.
fn long_texts(end: &str) -> Vec<Vec<u8>> {
    let fill = |piece: &str| piece.repeat(14_000 / piece.len());
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
        "%0d%0a",
        "a%0a",
        "%e2%80%a8",
        "%e2%80",
        "%e2%80%a8%e2",
        "autodiscover%0apowershel",
        "autodiscover.json@%0a",
        "powershell%0Aautodiscove%0D",
        "@",
        "p",
        "autodiscover.jso",
    ]
    .iter()
    .flat_map(|piece| {
        let all = fill(piece);
        // The same, with the last word there: the longest way to a refusal.
        let hit = format!("{all}%0a{end}");
        [all.clone().into_bytes(), hit.into_bytes(), format!("{all}{end}").into_bytes()]
    })
    .collect()
}

/// HAProxy takes a pattern that runs out of stack, or of turns, as not found: each attack here would pass.
#[test]
fn long_requests_need_neither_stack_nor_turns() {
    if !installed("long_requests_need_neither_stack_nor_turns") {
        return;
    }
    let sets = vec![
        m1(1),
        m1(2),
        m1(3),
        m1(4),
        condition("gaps of any character", "{UrlDecode:{REQUEST_URI}}", "autodiscover[^]*@[^]*powershell"),
        condition(
            "look-aheads in a line",
            "{UrlDecode:{REQUEST_URI}}",
            "(?=.*powershell$)(?=.*autodiscover).*@",
        ),
        condition("words", "{UrlDecode:{REQUEST_URI}}", "a.u.*@.+powershell"),
        condition("wide", "{UrlDecode:{REQUEST_URI}}", "[ -~\\u2030-\\uffdc]utodiscover.*@.*p"),
    ];
    let (names, engines, config) = sites(sets);
    let mut haproxy = Haproxy::start(&config, &names, LAX);
    let mut tally = Tally::default();
    for (site, engine) in engines.iter().enumerate() {
        for text in long_texts("autodiscover.json@powershell") {
            let head = [b"GET /x?", text.as_slice(), b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            tally.compare(&mut haproxy, site, engine, &head, &names[site]);
        }
    }
    println!("{tally:?}");
    assert!(tally.refused > 300 && tally.malformed == 0, "{tally:?}");
}

/// Rules that read several headers, each of them many times.
#[test]
fn a_hundred_headers_need_neither_stack_nor_turns() {
    if !installed("a_hundred_headers_need_neither_stack_nor_turns") {
        return;
    }
    let mut sets = vec![cookie_rules()];
    for (input, pattern) in [
        ("{HTTP_COOKIE}", "X-BEResource=.*; .+~.+~b$"),
        ("{HTTP_COOKIE}", "; .*~.*b"),
        ("{UrlDecode:{HTTP_COOKIE}}", "; [^]*b"),
        ("{HTTP_X_TEST}", "(?=.*, )(?=.*b)"),
        ("{UrlDecode:{HTTP_COOKIE}}", "(?=.*; x-anon)(?=.*~b$)"),
        ("{HTTP_X_TEST}", "a, [^]*~b, c$"),
        ("{UrlDecode:{HTTP_X_TEST}}", "[ -~], a.*~b, c$"),
    ] {
        sets.push(condition("several", input, pattern));
    }
    let (names, engines, config) = sites(sets);
    let mut haproxy = Haproxy::start(&config, &names, Shape::default());
    let mut tally = Tally::default();
    for (site, engine) in engines.iter().enumerate() {
        for name in ["Cookie", "x_test"] {
            for piece in ["a", "%0a", "~", "X-BEResource=a/", ", ", "; ", ",", "%e2%80%a8", " x-anon", ""] {
                for end in ["", "~b", "X-BEResource=a/b~c", "a~b\r\nx_Test: c\r\ncookie: a"] {
                    let value = piece.repeat(130 / piece.len().max(1));
                    let line = format!("{name}: {value}\r\n");
                    let head =
                        format!("GET / HTTP/1.1\r\nHost: a\r\n{}{name}: {end}\r\n\r\n", line.repeat(90));
                    assert!(head.len() < 15_000);
                    tally.compare(&mut haproxy, site, engine, head.as_bytes(), &names[site]);
                }
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.refused * 10 > tally.requests && tally.malformed == 0, "{tally:?}");
}

/// Conditions together: all of them, one of them, negated, over every kind of input, and rules in a row.
#[test]
fn conditions_in_every_combination_agree_with_the_engine() {
    if !installed("conditions_in_every_combination_agree_with_the_engine") {
        return;
    }
    let conditions = [
        ("{REQUEST_URI}", "a"),
        ("{UrlDecode:{REQUEST_URI}}", "^/x.*foo"),
        ("{QUERY_STRING}", "b|c"),
        ("{UrlDecode:{QUERY_STRING}}", "a.*b"),
        ("{REQUEST_METHOD}", "^get$"),
        ("{REQUEST_METHOD}", "POST|PUT"),
        ("{HTTPS}", "off"),
        ("{SERVER_PORT_SECURE}", "1"),
        ("{HTTP_COOKIE}", "a"),
        ("{UrlDecode:{HTTP_COOKIE}}", "; "),
        ("{HTTP_X_TEST}", "^$"),
        ("{HTTP_X-Test}", "a.*,"),
        ("{HTTP_Y}", ""),
        ("{HTTP_HOST}", "^host$"),
    ];
    let mut sets = Vec::new();
    let mut told = Vec::new();
    for seed in 0..120 {
        let mut dice = Dice::new(seed);
        let mut inside = String::new();
        for number in 0..=dice.roll(4) {
            let mut list = String::new();
            for _ in 0..dice.roll(4) {
                let (input, pattern) = conditions[dice.roll(conditions.len())];
                let (case, negate) = (dice.roll(2) == 0, dice.roll(3) == 0);
                list += &format!(
                    r#"<add input="{input}" pattern="{pattern}" ignoreCase="{case}" negate="{negate}"/>"#
                );
            }
            let grouping = dice.pick(&["MatchAll", "MatchAny"]);
            let stop = dice.roll(2) == 0;
            let action = dice.pick(&[
                r#"type="AbortRequest""#,
                r#"type="CustomResponse" statusCode="403""#,
                r#"type="CustomResponse" statusCode="451""#,
                r#"type="None""#,
            ]);
            inside += &format!(
                r#"<rule name="{number}" stopProcessing="{stop}"><match url=".*"/>
                   <conditions logicalGrouping="{grouping}">{list}</conditions><action {action}/></rule>"#
            );
        }
        sets.push(rules(&inside));
        told.push(inside);
    }
    let mut tally = Tally::default();
    compare(&sets, &told, 100, 77, &mut tally);
    println!("{tally:?}");
    assert!(tally.refused * 10 > tally.requests && tally.refused * 2 < tally.requests * 3, "{tally:?}");
}

/// A thousand rules: where none of their words is in a request, none of their patterns is tried, and each rule
/// still refuses what it should, from the file and through the socket.
#[test]
fn a_thousand_rules_are_behind_a_gate() {
    if !installed("a_thousand_rules_are_behind_a_gate") {
        return;
    }
    let mut set = RuleSet::default();
    for number in 0..1_000 {
        let word: String = format!("{number:03}").bytes().map(|b| char::from(b - b'0' + b'k')).collect();
        set.append(condition(&format!("{number}"), "{UrlDecode:{REQUEST_URI}}", &format!("{word}attack.*x")));
    }
    let engine = engine(&set);
    let names = ["site".to_owned()];
    let config = translate(&[scoped(set, None)]).unwrap();
    assert_eq!(config.entries.len(), 1_000);
    assert!((1..30).contains(&config.gate.len()), "{}", config.gate.len());
    let mut haproxies = [
        Haproxy::start(&config, &names, Shape::default()),
        Haproxy::with_maps("", "", &names, Shape::default()),
    ];
    haproxies[1].update(&config);
    let mut tally = Tally::default();
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let letters = |dice: &mut Dice| dice.pick(&["k", "l", "m", "n", "%6f", "P", "q", "%52", "s", "t"]);
        let word: String = (0..3).map(|_| letters(&mut dice)).collect();
        let rest: &str = dice.pick(&["attack?x", "att%61ck/%58", "attacky", "attac", "/x", "Attack%0ax"]);
        let head = format!("GET /owa/{word}{rest} HTTP/1.1\r\nHost: a\r\n\r\n");
        let haproxy = &mut haproxies[usize::from(dice.roll(2) == 0)];
        tally.compare(haproxy, 0, &engine, head.as_bytes(), &format!("seed {seed}"));
    }
    println!("{tally:?}, {} patterns in the gate", config.gate.len());
    assert!(tally.refused > 60 && tally.refused < 300 && tally.malformed == 0, "{tally:?}");
    // For the reader: CPU time for one request, where the gate is closed and where it is open.
    for (told, target) in
        [("closed", "/owa/auth/logon.aspx?url=https%3a%2f%2fmail.example%2fowa"), ("open", "/owa/kkkattac")]
    {
        let before = haproxies[0].cpu_ms();
        for number in 0..100 {
            let head = format!("GET {target}{number} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(haproxies[0].ask(0, head.as_bytes()), Answer::Passed);
        }
        println!("gate {told}: {:.3} ms of CPU a request", (haproxies[0].cpu_ms() - before) / 100.0);
    }
}
