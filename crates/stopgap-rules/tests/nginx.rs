//! One rule, two servers, the same verdict: what `translate::nginx` writes, in a real nginx, against the
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

use common::dice::Dice;
use common::inputs::{PATTERNS, head, target, text};
use common::nginx::{Answer, Nginx, installed};
use common::{M1_REQUESTS, condition, cookie_rules, judged, m1, rules, scoped};
use stopgap_rules::translate::SiteRules;
use stopgap_rules::translate::nginx::{NginxConfig, translate};
use stopgap_rules::{Engine, Outcome, RuleSet};

/// Rule sets, each on a site of its own.
fn sites(sets: Vec<RuleSet>) -> (Vec<String>, Vec<Engine>, NginxConfig) {
    let (names, engines, scoped) = common::sites(sets, |n| format!("site{n}.example"));
    (names, engines, translate(&scoped).unwrap())
}

/// What nginx must answer.
fn expected(engine: &Engine, head: &[u8]) -> Answer {
    let verdict = judged(engine, head);
    match verdict.action {
        Outcome::AbortRequest => Answer::Nothing,
        Outcome::CustomResponse => Answer::Status(verdict.status.unwrap()),
        _ => Answer::Status(200),
    }
}

#[derive(Default, Debug)]
struct Tally {
    requests: usize,
    refused: usize,
    /// nginx's own 400, before any rule.
    malformed: usize,
}

impl Tally {
    fn compare(&mut self, nginx: &mut Nginx, engine: &Engine, head: &[u8], told: &str) {
        let answer = nginx.ask(head);
        self.requests += 1;
        if answer == Answer::Status(400) {
            self.malformed += 1;
            return;
        }
        let expected = expected(engine, head);
        self.refused += usize::from(expected == Answer::Nothing);
        assert_eq!(answer, expected, "{told}\n{}", head.escape_ascii());
    }
}

#[test]
fn the_revisions_of_m1_and_the_cookie_rules_agree_with_the_engine() {
    if !installed("the_revisions_of_m1_and_the_cookie_rules_agree_with_the_engine") {
        return;
    }
    let sets = vec![m1(1), m1(2), m1(3), m1(4), cookie_rules()];
    let (names, engines, config) = sites(sets);
    let mut nginx = Nginx::start(&config.http, &config.server, &names);
    let mut tally = Tally::default();
    for (site, engine) in names.iter().zip(&engines) {
        for target in M1_REQUESTS {
            tally.compare(&mut nginx, engine, &head(site, target.as_bytes(), None), site);
        }
    }
    assert_eq!(tally.refused, 10, "the table: 1 + 2 + 3 + 4");
    for seed in 0..3_000 {
        for (site, engine) in names.iter().zip(&engines) {
            let mut dice = Dice::new(seed);
            let target = target(&mut dice, site);
            let cookie = text(&mut dice);
            tally.compare(&mut nginx, engine, &head(site, &target, Some(&cookie)), &format!("seed {seed}"));
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
    for pattern in PATTERNS {
        for input in [
            "{REQUEST_URI}",
            "{UrlDecode:{REQUEST_URI}}",
            "{QUERY_STRING}",
            "{UrlDecode:{QUERY_STRING}}",
            "{HTTP_COOKIE}",
            "{UrlDecode:{HTTP_COOKIE}}",
        ] {
            let set = condition("a rule", input, pattern);
            let one = [scoped(set.clone(), None)];
            match translate(&one) {
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
    for (syntax, pattern) in
        [("Wildcard", "*foo*bar*"), ("Wildcard", "/*a"), ("ExactMatch", "/x?a"), ("Wildcard", "*")]
    {
        for input in ["{REQUEST_URI}", "{UrlDecode:{REQUEST_URI}}", "{HTTP_COOKIE}"] {
            sets.push(rules(&format!(
                r#"<rule name="w" patternSyntax="{syntax}"><match url="*"/><conditions logicalGrouping="MatchAny">
                   <add input="{input}" pattern="{pattern}"/><add input="{{HTTP_COOKIE}}" pattern="ab" negate="false"/>
                   </conditions><action type="AbortRequest"/></rule>"#
            ).replace(r#"match url="*"/"#, if syntax == "Wildcard" { r#"match url="*"/"# } else { r#"match url="no" negate="true"/"# })));
            told.push(format!("{input} {syntax} {pattern}"));
        }
    }
    sets.retain(|set| translate(&[scoped(set.clone(), None)]).is_ok());
    let (mut tally, mut at) = (Tally::default(), 0);
    // The rules can change their sites a limited number of times, so they come in batches.
    for batch in sets.chunks(40) {
        let (names, engines, config) = sites(batch.to_vec());
        let mut nginx = Nginx::start(&config.http, &config.server, &names);
        for (site, engine) in names.iter().zip(&engines) {
            for seed in 0..80 {
                let mut dice = Dice::new(seed + 1_000 * at as u64);
                let head = head(site, &target(&mut dice, site), Some(&text(&mut dice)));
                tally.compare(&mut nginx, engine, &head, &format!("seed {seed}, {}", told[at]));
            }
            at += 1;
        }
    }
    println!("{} translated, {refused} refused: {tally:?}", sets.len());
    assert!(sets.len() > 150 && tally.refused * 10 > tally.requests, "{tally:?}");
}

/// An allow-list and, behind it, a rule for everything else: its constant follows a variable's name.
#[test]
fn a_rule_without_conditions_can_follow_one_with_conditions() {
    if !installed("a_rule_without_conditions_can_follow_one_with_conditions") {
        return;
    }
    let set = rules(
        r#"<rule name="some may pass" stopProcessing="true"><match url=".*"/>
             <conditions><add input="{REQUEST_URI}" pattern="^/open"/></conditions><action type="None"/></rule>
           <rule name="all others not"><match url=".*"/><action type="AbortRequest"/></rule>"#,
    );
    let (names, engines, config) = sites(vec![set]);
    let mut nginx = Nginx::start(&config.http, &config.server, &names);
    let mut tally = Tally::default();
    for target in ["/open", "/", "/other?open"] {
        tally.compare(&mut nginx, &engines[0], &head(&names[0], target.as_bytes(), None), target);
    }
    assert_eq!((tally.requests, tally.refused, tally.malformed), (3, 2, 0));
}

/// Of a server block without a name `$server_name` is empty, and nginx tries no pattern on that.
#[test]
fn a_server_block_without_a_name_is_a_site_too() {
    if !installed("a_server_block_without_a_name_is_a_site_too") {
        return;
    }
    let scoped =
        SiteRules { observe: false, marker: String::new(), sites: Some(vec![String::new()]), rules: m1(4) };
    let config = translate(&[scoped]).unwrap();
    let names = [r#""""#.to_owned(), "other.example".to_owned()];
    let mut nginx = Nginx::start(&config.http, &config.server, &names);
    let attack = M1_REQUESTS[0].as_bytes();
    assert_eq!(nginx.ask(&head("any.example", attack, None)), Answer::Nothing);
    assert_eq!(nginx.ask(&head("any.example", b"/", None)), Answer::Status(200));
    assert_eq!(nginx.ask(&head("other.example", attack, None)), Answer::Status(200));
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
fn long_requests_stay_within_fifty_pcre_steps_a_byte() {
    if !installed("long_requests_stay_within_fifty_pcre_steps_a_byte") {
        return;
    }
    let (names, engines, config) = sites(vec![m1(1), m1(2), m1(3), m1(4)]);
    // PCRE counts the turns of its matcher. At the limit nginx logs an error and takes the map's default.
    let limited = |steps: usize| config.http.replace("\"~^", &format!("\"~(*LIMIT_MATCH={steps})^"));
    let mut nginx = Nginx::start(&limited(50 * 8_192), &config.server, &names);
    let mut tally = Tally::default();
    for (site, engine) in names.iter().zip(&engines) {
        for target in long_targets() {
            tally.compare(&mut nginx, engine, &head(site, &target, None), site);
        }
    }
    assert!(tally.refused > 40 && tally.malformed == 0, "{tally:?}");
    assert_eq!(nginx.errors(), "");

    // The limit does what this test believes.
    let mut strict = Nginx::start(&limited(10), &config.server, &names);
    strict.ask(&head(&names[3], &long_targets()[0], None));
    assert!(strict.errors().contains("-47"), "PCRE2_ERROR_MATCHLIMIT: {}", strict.errors());

    // For the reader: nginx's CPU time for one request, without any limit, the worst of them.
    let mut nginx = Nginx::start(&config.http, &config.server, &names);
    for site in &names {
        let mut worst = (0.0, String::new());
        for target in long_targets() {
            let head = head(site, &target, None);
            let before = nginx.cpu_ms();
            for _ in 0..20 {
                nginx.ask(&head);
            }
            let each = (nginx.cpu_ms() - before) / 20.0;
            if each > worst.0 {
                worst = (each, String::from_utf8_lossy(&target[3..20]).into_owned());
            }
        }
        println!("{site}: at most {:.2} ms of CPU, for {}…", worst.0, worst.1);
    }
}

/// Texts that could fill the stack of PCRE's machine code: long runs, and lines that begin to be found.
fn deep_texts(size: usize) -> Vec<Vec<u8>> {
    let pieces: [&[u8]; 20] = [
        b"%0a",
        b"%0d",
        b"a",
        b"b",
        b"%",
        b"%41",
        b"%25",
        b"/",
        b"%e2%80%a8",
        b"%e2%80",
        b"\xe2\x80\xa8",
        b"a\xe2\x80\xa8",
        b"\xe2\x80",
        b"\xf0\x9f",
        b"%ff",
        b"a%0a",
        b"a%0ab%0d",
        b"autodiscover%0apowershel",
        b"autodiscover.json%0d",
        b"X-BEResource=\xe2\x80\xa9",
    ];
    let ends: [&[u8]; 4] = [
        b"",
        b"autodiscover.json@powershell",
        b";X-BEResource=c/d~2",
        b"%0afacebcabcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyzab",
    ];
    let texts = pieces.iter().flat_map(|piece| {
        let fill = piece.repeat(size / piece.len());
        ends.iter().map(move |end| [&fill, *end].concat())
    });
    texts.collect()
}

/// So long that the words that pass over lines without it do not fit.
const LONG: &str = "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz.*b";

/// Patterns as machine code have a stack of 32 KB; where it is full, nginx takes the map's default, and the
/// request passes.
#[test]
fn with_pcre_jit_no_length_of_a_request_fills_the_stack() {
    if !installed("with_pcre_jit_no_length_of_a_request_fills_the_stack") {
        return;
    }
    let mut sets = vec![m1(1), m1(2), m1(3), m1(4), cookie_rules()];
    for pattern in [
        "a.*b",
        "a.+b",
        "(.*)a(.*)b(.*)",
        "a.*b$",
        "(?=.*a)(?=.*b)c",
        "^/.*b",
        "a[^]*b",
        "é.*a",
        "\\u2030.*b",
        LONG,
    ] {
        sets.push(condition("a rule", "{UrlDecode:{REQUEST_URI}}", pattern));
        sets.push(condition("a rule", "{HTTP_COOKIE}", pattern));
    }
    let cookies: Vec<bool> =
        sets.iter().map(|set| set.rules[0].conditions.list[0].input == "{HTTP_COOKIE}").collect();
    let (names, engines, config) = sites(sets);
    let mut nginx = Nginx::start_jit(&config.http, &config.server, &names);
    let mut tally = Tally::default();
    // What nginx reads by default, and what it reads where it is told to.
    for text in [8_000, 32_000].into_iter().flat_map(deep_texts) {
        for ((site, engine), cookie) in names.iter().zip(&engines).zip(&cookies) {
            let head = match cookie {
                true => head(site, b"/", Some(&text)),
                false => head(site, &[b"/x?", text.as_slice()].concat(), None),
            };
            tally.compare(&mut nginx, engine, &head, site);
        }
    }
    // What takes the blanks off a header's value is a pattern, too.
    for (site, engine) in
        names.iter().zip(&engines).zip(&cookies).filter(|(_, cookie)| **cookie).map(|(s, _)| s)
    {
        for blank in [" ", "a ", "a\t ", "\t"] {
            let text = format!("{}X-BEResource=c/d~2 a b{}", blank.repeat(10_000), blank.repeat(5_000));
            tally.compare(&mut nginx, engine, &head(site, b"/", Some(text.as_bytes())), site);
        }
    }
    println!("{tally:?}");
    assert!(tally.refused > 600 && tally.malformed == 0, "{tally:?}");
    assert_eq!(nginx.errors(), "");

    // A lazy loop does fill it, so this nginx does have the machine code.
    let lazy = "map $request_uri $lazy { \"~^(?:/|a)*?b\" 1; default 0; }";
    let mut nginx = Nginx::start_jit(lazy, "if ($lazy) { return 444; }", &names[..1]);
    let long = format!("/{}b", "a".repeat(32_000));
    assert_eq!(nginx.ask(&head(&names[0], b"/ab", None)), Answer::Nothing);
    assert_eq!(nginx.ask(&head(&names[0], long.as_bytes(), None)), Answer::Status(200));
    assert!(nginx.errors().contains("-46"), "PCRE2_ERROR_JIT_STACKLIMIT: {}", nginx.errors());
}
