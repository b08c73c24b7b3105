//! The engine leaves out the rules that cannot match. Its verdict must be that of going through every rule:
//! compared on generated rules and requests, made of so few words that rules match often and nearly match
//! always. `STOPGAP_ENGINE_CASES=1000000` runs longer.
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
use common::{engine, get, rules};
use stopgap_rules::*;

const WORDS: [&str; 16] = [
    "auto",
    "power",
    "shell",
    "owa",
    "json",
    "K",
    "s",
    "ab",
    "b",
    "\u{e9}x",
    "\u{212a}",
    "\u{17f}hell",
    "@",
    "0",
    "//",
    "auth",
];

fn word(dice: &mut Dice) -> String {
    let word = dice.pick(&WORDS);
    match dice.roll(6) {
        0 => word.to_uppercase(),
        1 => word.chars().skip(1).collect(),
        _ => word.to_owned(),
    }
}

fn pattern(dice: &mut Dice, depth: usize) -> String {
    let mut text = String::new();
    if dice.roll(12) == 0 {
        text.push('^');
    }
    for _ in 0..1 + dice.roll(3) {
        let inner = |dice: &mut Dice| if depth == 0 { word(dice) } else { pattern(dice, depth - 1) };
        match dice.roll(18) {
            0..=5 => text.push_str(&word(dice)),
            6 => text.push_str(".*"),
            7 => text += &format!("({})", inner(dice)),
            8 => text += &format!("(?:{}|{})", inner(dice), inner(dice)),
            9 => text += &format!("(?={})", inner(dice)),
            10 => text += &format!("(?!{})", inner(dice)),
            11 => {
                text += &format!(
                    "(?:{}){}",
                    inner(dice),
                    dice.pick(&["?", "*", "+", "{2}", "{1,2}", "{0}", "+?"])
                )
            }
            12 => text += dice.pick(&["[ab]", "[^a]", "[a-z]", "\\w", "[kK]", "[s\u{17f}]", "."]),
            13 => text += &format!("({})\\1", word(dice)),
            14 => text += &format!("(?=.*{})(?=.*{})", word(dice), word(dice)),
            15 => text += dice.pick(&["\\b", "$", "a?", "x*"]),
            16 => text += &format!("{}|{}", word(dice), inner(dice)),
            _ => text += &format!(".*{}.*", word(dice)),
        }
    }
    text
}

const INPUTS: [&str; 13] = [
    "{REQUEST_URI}",
    "{REQUEST_URI}",
    "{UrlDecode:{REQUEST_URI}}",
    "{UrlDecode:{REQUEST_URI}}",
    "{QUERY_STRING}",
    "{URL}",
    "{HTTP_COOKIE}",
    "{HTTP_X_A}",
    "{MINE}",
    "{ToLower:{HTTP_X_A}}{QUERY_STRING}",
    "{C:1}{R:0}",
    "{M:{HTTP_X_A}}",
    "{REQUEST_FILENAME}",
];

fn value(dice: &mut Dice) -> String {
    let mut text = String::new();
    for _ in 0..1 + dice.roll(3) {
        match dice.roll(6) {
            0 => text.push_str(dice.pick(&["{R:0}", "{R:1}", "{C:0}", "{C:1}"])),
            1 => text.push_str(dice.pick(&INPUTS)),
            2 => text.push('?'),
            _ => text.push_str(&word(dice)),
        }
    }
    text
}

fn rule(dice: &mut Dice, name: usize) -> Rule {
    let pattern_syntax = match dice.roll(8) {
        0 => PatternSyntax::Wildcard,
        1 => PatternSyntax::ExactMatch,
        _ => PatternSyntax::EcmaScript,
    };
    let text = |dice: &mut Dice| match pattern_syntax {
        PatternSyntax::EcmaScript => pattern(dice, 2),
        PatternSyntax::Wildcard => format!("*{}*{}", word(dice), dice.pick(&["", "*", "b"])),
        PatternSyntax::ExactMatch => word(dice),
    };
    let chance = |dice: &mut Dice, of: usize| dice.roll(of) == 0;
    let url = match dice.roll(3) {
        0 => text(dice),
        _ if pattern_syntax == PatternSyntax::Wildcard => "*".to_owned(),
        1 => "(.*)".to_owned(),
        _ => ".*".to_owned(),
    };
    let match_url = MatchUrl { url, ignore_case: !chance(dice, 4), negate: chance(dice, 8) };
    let list = (0..dice.roll(4))
        .map(|_| Condition {
            input: dice.pick(&INPUTS).to_owned(),
            match_type: MatchType::Pattern,
            pattern: text(dice),
            ignore_case: !chance(dice, 4),
            negate: chance(dice, 6),
        })
        .collect();
    let grouping = if chance(dice, 3) { Grouping::MatchAny } else { Grouping::MatchAll };
    let set = |dice: &mut Dice| SetVariable {
        name: dice.pick(&["MINE", "HTTP_X_A", "HTTP_COOKIE", "REQUEST_URI", "QUERY_STRING"]).to_owned(),
        value: value(dice),
        replace: !chance(dice, 4),
    };
    let action = match dice.roll(12) {
        0..=4 => Action::None,
        5..=8 => Action::Rewrite { url: value(dice), append_query_string: chance(dice, 2) },
        9 => Action::Redirect {
            url: value(dice),
            append_query_string: chance(dice, 2),
            redirect_type: RedirectType::Found,
        },
        10 => Action::CustomResponse {
            status: 403,
            substatus: 1,
            reason: "no".to_owned(),
            description: "not here".to_owned(),
        },
        _ => Action::AbortRequest,
    };
    Rule {
        name: format!("r{name}"),
        level: Level::new(dice.pick(&["", "", "", "", "", "owa", "auto/ab", "\u{e9}x"])),
        enabled: !chance(dice, 20),
        pattern_syntax,
        stop_processing: chance(dice, 8),
        match_url,
        conditions: Conditions { grouping, track_all_captures: chance(dice, 2), list },
        server_variables: (0..dice.roll(5) / 3).map(|_| set(dice)).collect(),
        action,
    }
}

fn set(dice: &mut Dice) -> RuleSet {
    let count = 1 + dice.roll(12);
    let mine = SetVariable { name: "MINE".to_owned(), value: "auto".to_owned(), replace: true };
    let mut first = rule(dice, 0);
    first.enabled = true;
    first.server_variables.push(mine);
    let map = RewriteMap {
        name: "M".to_owned(),
        default_value: "shell".to_owned(),
        ignore_case: true,
        entries: vec![("owa".to_owned(), "power".to_owned())],
    };
    let rules = std::iter::once(first).chain((1..count).map(|name| rule(dice, name))).collect();
    RuleSet { rules, maps: vec![map], ..RuleSet::default() }
}

fn words(dice: &mut Dice, encode: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..dice.roll(6) {
        for byte in word(dice).into_bytes() {
            if encode && (!byte.is_ascii_graphic() || dice.roll(10) == 0) && dice.roll(8) != 0 {
                bytes.extend(format!("%{byte:02x}").bytes());
            } else {
                bytes.push(byte);
            }
        }
        if dice.roll(6) == 0 {
            bytes.extend(dice.pick(&["/", "?", " ", "/../", "\u{2028}", "%", "owa/"]).bytes());
        }
    }
    bytes
}

#[test]
fn the_verdict_is_that_of_every_rule_in_turn() {
    let wanted: usize =
        std::env::var("STOPGAP_ENGINE_CASES").map_or(40_000, |cases| cases.parse().expect("a number"));
    let mut dice = Dice::new(20_260_501);
    let (mut cases, mut sets, mut refused) = (0usize, 0usize, 0usize);
    let (mut acted, mut over, mut guarded, mut all) = (0usize, 0usize, 0usize, 0usize);
    while cases < wanted {
        let seed = dice.roll(usize::MAX >> 12);
        let mut own = Dice::new(seed as u64);
        let set = set(&mut own);
        let Ok(engine) = Engine::compile(&set, &EngineLimits::default()) else {
            refused += 1;
            continue;
        };
        sets += 1;
        all += engine.len();
        guarded += engine.len() - engine.rules_without_literal().count();
        for _ in 0..40 {
            let target = [b"/", words(&mut own, true).as_slice()].concat();
            let headers: Vec<(&str, Vec<u8>)> = ["Cookie", "X-A", "x_a"]
                .into_iter()
                .filter(|_| own.roll(2) == 0)
                .collect::<Vec<_>>()
                .into_iter()
                .map(|name| (name, words(&mut own, false)))
                .collect();
            let headers = headers.iter().map(|(name, value)| (*name, value.as_slice()));
            let request = Request::new("GET", &target, headers, Connection::default());
            let (filtered, plain) = (engine.evaluate(&request), engine.evaluate_plainly(&request, 4_000_000));
            cases += 1;
            // Leaving rules out takes fewer steps, so it may come to an end where the other does not.
            if plain.over_limit {
                over += 1;
                continue;
            }
            assert_eq!(
                filtered,
                plain,
                "seed {seed}, {:?} {:#?}",
                String::from_utf8_lossy(&target),
                set.rules
            );
            acted += usize::from(plain != Verdict::default());
        }
    }
    println!(
        "{cases} requests, {sets} sets ({refused} refused); {acted} requests met a rule, {over} the limit; \
         {guarded} of {all} rules have a literal"
    );
    assert!((cases / 5..cases * 4 / 5).contains(&acted), "{acted} of {cases}: too few or too many match");
    assert!(over * 50 < cases, "{over} of {cases} are over the limit");
    assert!((all / 4..all * 9 / 10).contains(&guarded), "{guarded} of {all}");
}

fn abort(name: &str, conditions: &str) -> String {
    format!(
        r#"<rule name="{name}"><match url=".*"/><conditions {conditions}</conditions><action type="AbortRequest"/></rule>"#
    )
}

#[test]
fn what_a_rule_writes_is_seen_by_later_rules() {
    let stop = abort("stop", r#"><add input="{QUERY_STRING}" pattern="evil"/>"#);
    for (first, target, stopped) in [
        (r#"<action type="Rewrite" url="/x?evil"/>"#, "/a", true),
        (r#"<action type="Rewrite" url="/x?{C:0}"/>"#, "/a?EVI", false),
        (
            r#"<serverVariables><set name="QUERY_STRING" value="evil"/></serverVariables><action type="None"/>"#,
            "/a",
            true,
        ),
        (
            r#"<serverVariables><set name="HTTP_X" value="evil"/></serverVariables><action type="None"/>"#,
            "/a",
            false,
        ),
    ] {
        let first = format!(r#"<rule name="first"><match url="^a"/>{first}</rule>"#);
        let engine = engine(&rules(&format!("{first}{stop}")));
        let verdict = get(&engine, target);
        assert_eq!(verdict.rule.as_deref() == Some("stop"), stopped, "{first}");
        assert_eq!(get(&engine, "/b?evil").rule.as_deref(), Some("stop"));
    }
}

#[test]
fn rules_that_every_request_is_compared_with_are_named() {
    let set = rules(
        &[
            abort("all of", r#"><add input="{REQUEST_URI}" pattern=".*"/><add input="{URL}" pattern="evil"/>"#),
            abort("any of", r#"logicalGrouping="MatchAny"><add input="{URL}" pattern="evil"/><add input="{HTTP_X}" pattern="bad|worse"/>"#),
            abort("any of, one without", r#"logicalGrouping="MatchAny"><add input="{URL}" pattern="evil"/><add input="{HTTP_X}" pattern="b"/>"#),
            abort("not", r#"><add input="{URL}" pattern="evil" negate="true"/>"#),
            abort("class", r#"><add input="{URL}" pattern="[a-z]+"/>"#),
            abort("captured", r#"><add input="{R:0}" pattern="evil"/>"#),
            r#"<rule name="path"><match url="^evil"/><action type="AbortRequest"/></rule>"#.to_owned(),
            r#"<rule name="not path"><match url="^evil" negate="true"/><action type="AbortRequest"/></rule>"#.to_owned(),
        ]
        .concat(),
    );
    let engine = engine(&set);
    let named: Vec<&str> = engine.rules_without_literal().collect();
    assert_eq!(named, ["any of, one without", "not", "class", "captured", "not path"]);
}

/// Preparing a pattern takes longer than a request may; a request that meets many for the first time must get
/// the same answer all the same.
#[test]
fn a_request_that_meets_a_hundred_rules_for_the_first_time_gets_the_same_answer() {
    let many: String = (0..100)
        .map(|n| {
            let last = if n == 99 { "" } else { "never" };
            abort(
                &format!("r{n}"),
                &format!(r#"><add input="{{REQUEST_URI}}" pattern="(?=.*word{n:02})(?=.*common){last}"/>"#),
            )
        })
        .collect();
    let target = (0..100).fold("/common".to_owned(), |target, n| format!("{target}/word{n:02}"));
    let engine = engine(&rules(&many));
    for _ in 0..8 {
        assert_eq!(get(&engine, &target).rule.as_deref(), Some("r99"));
    }
}
