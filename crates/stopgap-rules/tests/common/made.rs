//! Rule sets and requests, made of so few words that rules match often and nearly match always. Every choice is
//! a throw of `super::Dice`: a generator with a seed in tests, the fuzzer's bytes in `fuzz/`.

use super::Dice;
use stopgap_rules::{
    Action, Condition, Conditions, Grouping, Level, MatchType, MatchUrl, PatternSyntax, RedirectType,
    RewriteMap, Rule, RuleSet, SetVariable,
};

const WORDS: [&str; 18] = [
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
    "autodiscover.json",
    "/powershell/remote",
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

/// A set of up to twelve rules.
pub fn set(dice: &mut Dice) -> RuleSet {
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

/// A row of words, as an address (percent-encoded here and there) or as the value of a header.
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

/// A target and some headers.
pub fn request(dice: &mut Dice) -> (Vec<u8>, Vec<(&'static str, Vec<u8>)>) {
    let target = [b"/", words(dice, true).as_slice()].concat();
    let mut headers = Vec::new();
    for name in ["Cookie", "X-A", "x_a"] {
        if dice.roll(2) == 0 {
            headers.push((name, words(dice, false)));
        }
    }
    (target, headers)
}
