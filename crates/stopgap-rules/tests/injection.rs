//! Nothing that a rule holds can become a directive of nginx.
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
use common::nginx_syntax::{Directive, read};
use common::{generate, rules};
use stopgap_rules::translate::nginx::{NginxConfig, translate, translate_one};
use stopgap_rules::translate::{CannotExpress, SiteRules};
use stopgap_rules::{
    Action, Conditions, Level, OutboundAction, OutboundRule, OutboundSubject, PatternSyntax, RuleSet,
};

/// Sets in each test: fewer where the build is not optimized.
const SEEDS: u64 = if cfg!(debug_assertions) { 500 } else { 4_000 };

/// Variables of nginx's own that a map may read.
const READ: [&str; 7] =
    ["request_uri", "request_method", "server_port", "remote_addr", "https", "server_name", "http_"];

/// A word that is made of our variables, and nginx's, alone: `$a$b`, `-${a}${b}`, `1`.
fn is_row(word: &str) -> bool {
    word.trim_start_matches('-').split('$').enumerate().all(|(at, piece)| {
        let name = piece.trim_matches(['{', '}', '1']);
        let known = READ.iter().any(|known| name.starts_with(known)) || name.starts_with("stopgap_");
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        plain && if at == 0 { name.is_empty() } else { known }
    })
}

/// Letters and digits, PCRE's own signs, and the escapes of everything else.
fn is_pattern(key: &str) -> bool {
    key.starts_with("~^")
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || br"~^\()[]{}|?*+.-%:!=<>,".contains(&b))
}

/// Every text that can stand in a `geo`: bodies, addresses, what inputs hold.
fn texts(sets: &[SiteRules]) -> Vec<String> {
    let mut texts = vec!["/".to_owned()];
    for rule in sets.iter().flat_map(|set| &set.rules.rules) {
        match &rule.action {
            Action::CustomResponse { description, .. } => texts.push(description.clone()),
            Action::Redirect { url, .. } => {
                for piece in url.split(['{', '}']) {
                    for start in ["", "/"] {
                        texts.push(format!("{start}{}", percent(piece)));
                    }
                }
            }
            _ => {}
        }
        for condition in &rule.conditions.list {
            texts.extend(condition.input.split(['{', '}']).map(str::to_owned));
        }
    }
    texts
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_graphic() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// The whole text is `map`s and `geo`s, each word of them as expected.
fn check_http(text: &str, sets: &[SiteRules]) {
    let texts = texts(sets);
    let sites: Vec<&String> = sets.iter().filter_map(|set| set.sites.as_ref()).flatten().collect();
    for Directive { words, block } in read(text) {
        let lines = block.unwrap_or_else(|| panic!("{words:?} is not a block"));
        assert!(lines.iter().all(|line| line.block.is_none() && line.words.len() == 2), "{lines:?}");
        let lines = lines.iter().map(|line| (line.words[0].as_str(), line.words[1].as_str()));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["geo", variable] => {
                assert!(variable.starts_with("$stopgap_text_") && is_row(variable), "{variable}");
                let lines: Vec<_> = lines.collect();
                let [("default", value)] = lines.as_slice() else { panic!("{lines:?}") };
                assert!(texts.iter().any(|text| text == value), "{value:?} is in no rule");
            }
            ["map", source, variable] => {
                assert!(is_row(source), "{source}");
                assert!(variable.starts_with("$stopgap_") && is_row(variable), "{variable}");
                for (key, value) in lines {
                    let site = || sites.iter().any(|site| ***site == *key.strip_prefix('\\').unwrap_or(key));
                    let own =
                        matches!(key, "default" | "on") || (key.is_empty() && *source != "$server_name");
                    assert!(own || is_pattern(key) || (*source == "$server_name" && site()), "{key:?}");
                    let said =
                        matches!(value, "0" | "1" | "pass" | "abort" | "on" | "off" | "" | "&" | "?" | "$1")
                            || value.parse::<u16>().is_ok()
                            || value.split_once("_stopgap_").is_some_and(|(n, _)| n.parse::<u16>().is_ok());
                    assert!(said || is_row(value.trim_start_matches('/')), "{value:?}");
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Nothing but `if ($stopgap_verdict = word) { return code [variable]; }`.
fn check_server(text: &str) {
    for Directive { words, block } in read(text) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ["if", "($stopgap_verdict", "=", word] = words.as_slice() else { panic!("{words:?}") };
        let word = word.strip_suffix(')').unwrap();
        assert!(word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{word}");
        let block = block.unwrap();
        let [Directive { words, block: None }] = block.as_slice() else { panic!("{block:?}") };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["return", code] => assert!(code.parse::<u16>().is_ok(), "{code}"),
            ["return", code, variable] => {
                assert!(code.parse::<u16>().is_ok() && variable.starts_with("$stopgap_") && is_row(variable));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn check(config: &NginxConfig, sets: &[SiteRules]) {
    check_http(&config.http, sets);
    check_server(&config.server);
}

/// Rules in the generated sets, all in all.
fn run(seeds: std::ops::Range<u64>, make: impl Fn(&mut Dice) -> SiteRules) -> (usize, usize) {
    let (mut translated, mut refused) = (0, 0);
    for seed in seeds {
        let mut dice = Dice::new(seed);
        let set = make(&mut dice);
        // Rule by rule, since one that is refused refuses the set; and the set.
        let mut good = SiteRules { rules: RuleSet::default(), ..set.clone() };
        for rule in set.rules.rules {
            let rules =
                RuleSet { rules: vec![rule.clone()], maps: set.rules.maps.clone(), ..RuleSet::default() };
            let alone = [SiteRules { rules, ..good.clone() }];
            match translate(&alone) {
                Ok(config) => {
                    check(&config, &alone);
                    translated += 1;
                    good.rules.rules.push(rule);
                }
                Err(error) => {
                    assert_eq!(error.rule, rule.name);
                    refused += 1;
                }
            }
        }
        good.rules.maps = set.rules.maps;
        let good = [good];
        check(&translate(&good).unwrap(), &good);
        // What a reader gets is the same with comments.
        read(&translate_one(&good[0].rules).unwrap());
    }
    (translated, refused)
}

#[test]
fn what_hostile_rules_hold_stays_words_of_nginx() {
    let (translated, refused) = run(0..SEEDS, generate::scoped);
    println!("{translated} rules translated, {refused} refused");
    assert!(translated > SEEDS as usize, "{translated} of {}", translated + refused);
}

#[test]
fn whatever_the_model_holds_stays_words_of_nginx_or_is_refused() {
    let (translated, refused) = run(0..SEEDS, |dice| SiteRules {
        observe: false,
        marker: generate::word(dice),
        sites: None,
        rules: RuleSet { outbound: Vec::new(), ..generate::any(dice) },
    });
    println!("{translated} rules translated, {refused} refused");
    assert!(
        translated * 2 > SEEDS as usize && refused * 2 > SEEDS as usize,
        "{translated} of {}",
        translated + refused
    );
}

/// A few texts whose escapes would be easy to get wrong, seen as nginx reads them.
#[test]
fn a_body_is_one_word_whatever_it_holds() {
    for body in ["\"; return 200; #", "\\", "a\\", "\\\"", "${request_uri}", "a\nb }\n", "\\n"] {
        let mut set = rules(
            r#"<rule name="r"><match url=".*"/><action type="CustomResponse" statusCode="403"
               statusDescription="x"/></rule>"#,
        );
        if let Action::CustomResponse { description, .. } = &mut set.rules[0].action {
            *description = body.to_owned();
        }
        let config =
            translate(&[SiteRules { observe: false, marker: String::new(), sites: None, rules: set }])
                .unwrap();
        let geo = read(&config.http).into_iter().find(|directive| directive.words[0] == "geo").unwrap();
        assert_eq!(geo.block.unwrap()[0].words, ["default", body]);
    }
}

#[test]
fn what_nginx_cannot_do_exactly_is_refused_with_the_reason() {
    let refused = |inside: &str| -> CannotExpress { translate_one(&rules(inside)).unwrap_err() };
    let action = |action: &str| format!(r#"<rule name="r"><match url=".*"/><action {action}/></rule>"#);
    let condition = |input: &str, pattern: &str| {
        format!(
            r#"<rule name="r"><match url=".*"/><conditions><add input="{input}" pattern="{pattern}"/></conditions>
               <action type="AbortRequest"/></rule>"#
        )
    };
    for (inside, reason) in [
        (action(r#"type="Redirect" url="{HTTP_HOST}/""#), "absolute address"),
        (action(r#"type="Redirect" url="a{REQUEST_URI}""#), "absolute address"),
        (action(r#"type="Redirect" url="/{R:0}""#), "captured"),
        (action(r#"type="Redirect" url="/{URL}""#), "no equal"),
        (action(r#"type="Rewrite" url="/""#), "Rewrite"),
        (action(r#"type="CustomResponse" statusCode="444""#), "meaning of its own"),
        (r#"<rule name="r"><match url="^owa"/><action type="AbortRequest"/></rule>"#.to_owned(), "match url"),
        (r#"<rule name="r"><match url="^.*$"/><action type="AbortRequest"/></rule>"#.to_owned(), "match url"),
        (
            r#"<rule name="r"><match url=".*"/><serverVariables><set name="A" value=""/></serverVariables>
               <action type="None"/></rule>"#
                .to_owned(),
            "server variables",
        ),
        (condition("{URL}", "a"), "no equal"),
        (condition("{ToLower:{REQUEST_URI}}", "a"), "U+0130"),
        (condition("{UrlDecode:{UrlDecode:{REQUEST_URI}}}", "a"), "single variable"),
        (condition("{UrlDecode:x{REQUEST_URI}}", "a"), "single variable"),
        (condition("{HTTP_HOST}{HTTP_COOKIE}", "a"), "must be text"),
        (condition("{C:1}", "a"), "captured"),
        (condition("", "a"), "without text"),
        (condition("{HTTP_USER_AGENT}", "a"), "repeated header"),
        (condition("{HTTP_X_ANY}", "a"), "repeated header"),
        (condition("{REQUEST_URI}", "(a+)+b"), "no linear form"),
        (condition("{REQUEST_URI}", "(?=.*a)[^b].*c"), "no linear form"),
        (condition("{REQUEST_URI}", r"(a)\1"), "no linear form"),
        (condition("{UrlDecode:{REQUEST_URI}}", &"autodiscover".repeat(20)), "bytes"),
    ] {
        let error = refused(&inside);
        assert!(error.rule == "r" && error.reason.contains(reason), "{error}");
    }
}

#[test]
fn rules_below_the_site_and_rules_for_responses_are_refused() {
    let inside = r#"<rule name="r"><match url=".*"/><action type="AbortRequest"/></rule>"#;
    let below = rules(inside).at(&Level::new("owa"));
    let error = translate_one(&below).unwrap_err();
    assert!(error.rule == "r" && error.reason.contains("stands at \"owa\""), "{error}");

    let mut outbound = rules(inside);
    outbound.outbound.push(OutboundRule {
        name: "o".into(),
        level: Level::default(),
        enabled: true,
        pre_condition: None,
        pattern_syntax: PatternSyntax::EcmaScript,
        stop_processing: false,
        subject: OutboundSubject::Variable("RESPONSE_X_A".into()),
        pattern: ".*".into(),
        ignore_case: true,
        negate: false,
        conditions: Conditions::default(),
        action: OutboundAction::Rewrite { value: "b".into(), replace: true },
    });
    let error = translate_one(&outbound).unwrap_err();
    assert!(error.rule == "o" && error.reason.contains("add_header"), "{error}");

    // Disabled, they are as if they were not there.
    let mut disabled = below;
    disabled.rules[0].enabled = false;
    outbound.outbound[0].enabled = false;
    assert!(translate_one(&disabled).is_ok() && translate_one(&outbound).is_ok());
}

/// A character that takes kilobytes to write, thousands of times: written only as far as a server would read.
#[test]
fn a_pattern_of_many_costly_characters_is_refused_and_not_written_out() {
    let many = "\u{fffd}".repeat(4_000);
    let set = common::condition("long", "{UrlDecode:{REQUEST_URI}}", &many);
    let refusals = [
        translate_one(&set).unwrap_err(),
        stopgap_rules::translate::apache::translate_one(&set).unwrap_err(),
        stopgap_rules::translate::haproxy::translate_one(&set).unwrap_err(),
    ];
    for refused in refusals {
        let told = refused.to_string();
        let written: Vec<usize> = told.split(' ').filter_map(|word| word.parse().ok()).collect();
        // The last number is what the server reads; the one before it, how far was written.
        assert!(matches!(written.as_slice(), [.., written, _] if *written < 1_000_000), "{told}");
    }
}
