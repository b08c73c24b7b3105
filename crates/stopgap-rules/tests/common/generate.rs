//! Rule sets from a seed, made to break a translator: every text that a rule can hold is one that some
//! server's configuration takes for syntax. They are made as values, so a text can also hold what XML cannot
//! (NUL, escape).
//!
//! [`shaped`] keeps to shapes that a translator has a chance with, [`any`] uses the whole model.
#![allow(dead_code, reason = "each test file uses its own part")]

use super::dice::Dice;
use stopgap_rules::translate::SiteRules;
use stopgap_rules::{
    Action, Condition, Conditions, Grouping, Level, MatchType, MatchUrl, OutboundAction, OutboundRule,
    OutboundSubject, PatternSyntax, PreCondition, RedirectType, RewriteMap, Rule, RuleSet, SetVariable,
};

/// What configurations are made of: nginx, Apache, HAProxy, XML, shells.
pub const NASTY: [&str; 64] = [
    "\"",
    "'",
    "`",
    ";",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "#",
    "$",
    "\\",
    "\\\\",
    "\\\"",
    "\\\n",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\0",
    "\u{b}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "é",
    "\u{2028}",
    "\u{feff}",
    "\u{fffd}",
    "\u{10ffff}",
    " ",
    "  ",
    "<",
    ">",
    "&",
    "&amp;",
    "&#10;",
    "]]>",
    "-->",
    "<!--",
    "/*",
    "*/",
    "//",
    "%",
    "%0a",
    "%{ENV:x}",
    "%[path]",
    "${x}",
    "$request_uri",
    "}\nreturn 200;\n",
    "\" abort; \"",
    "include /etc/passwd;",
    "</If>\n",
    "\nInclude /etc/passwd\n",
    "<Location />",
    "\nhttp-request allow\n",
    "default abort;",
    "~",
    "^",
    "|",
    "*",
    "=",
    "@1",
];

/// Text of a few nasty pieces, and sometimes a harmless one.
pub fn word(dice: &mut Dice) -> String {
    let mut word = String::new();
    for _ in 0..=dice.roll(4) {
        let harmless = ["a", "Powershell", "x-y_z", "0"];
        word.push_str(if dice.roll(4) == 0 { dice.pick(&harmless) } else { dice.pick(&NASTY) });
    }
    word
}

/// The same, as a pattern that finds exactly this text.
pub fn literal(word: &str) -> String {
    word.chars().map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("\\{c}") }).collect()
}

/// A pattern: a literal of nasty text, two of them with a gap, a row of look-aheads, or the nasty text as it is,
/// which need not be a pattern at all.
pub fn pattern(dice: &mut Dice) -> String {
    let mut one = || literal(&word(dice));
    let (first, second) = (one(), one());
    match dice.roll(8) {
        0 => word(dice),
        1 => format!("{first}.*{second}"),
        2 => format!("(?=.*{first})(?=.*{second})"),
        3 => format!("^{first}"),
        4 => format!("{first}$"),
        5 => format!("{first}|{second}"),
        _ => first,
    }
}

/// Inputs of which most translators know most.
pub const INPUTS: [&str; 10] = [
    "{REQUEST_URI}",
    "{UrlDecode:{REQUEST_URI}}",
    "{QUERY_STRING}",
    "{UrlDecode:{QUERY_STRING}}",
    "{HTTP_COOKIE}",
    "{UrlDecode:{HTTP_COOKIE}}",
    "{HTTP_HOST}",
    "{HTTP_USER_AGENT}",
    "{REQUEST_METHOD}",
    "{HTTPS}",
];

/// One to five rules that hold for every path, with conditions over [`INPUTS`], and refuse or let pass.
pub fn shaped(dice: &mut Dice) -> RuleSet {
    let mut set = RuleSet::default();
    for number in 0..=dice.roll(5) {
        let pattern_syntax = syntax(dice);
        let always = match pattern_syntax {
            PatternSyntax::EcmaScript => ".*",
            PatternSyntax::Wildcard => "*",
            // Nothing but a negated match holds for every path.
            PatternSyntax::ExactMatch => "\u{1}no path",
        };
        let match_url = MatchUrl {
            url: always.to_owned(),
            ignore_case: true,
            negate: pattern_syntax == PatternSyntax::ExactMatch,
        };
        let list = (0..dice.roll(4))
            .map(|_| {
                let pattern =
                    if pattern_syntax == PatternSyntax::EcmaScript { pattern(dice) } else { word(dice) };
                Condition {
                    input: dice.pick(&INPUTS).to_owned(),
                    match_type: MatchType::Pattern,
                    pattern,
                    ignore_case: dice.roll(2) == 0,
                    negate: dice.roll(4) == 0,
                }
            })
            .collect();
        let action = match dice.roll(6) {
            0 => Action::None,
            1 => custom(dice, &[200, 403, 404, 410, 503]),
            2 => Action::Redirect {
                url: word(dice).replace(['{', '}'], ""),
                append_query_string: dice.roll(2) == 0,
                redirect_type: redirect(dice),
            },
            _ => Action::AbortRequest,
        };
        set.rules.push(Rule {
            name: format!("{}{number}", word(dice)),
            level: Level::default(),
            enabled: dice.roll(8) != 0,
            pattern_syntax,
            stop_processing: dice.roll(2) == 0,
            match_url,
            conditions: Conditions { grouping: grouping(dice), track_all_captures: dice.roll(2) == 0, list },
            server_variables: Vec::new(),
            action,
        });
    }
    set
}

/// The same rules with a marker and sites that are no better.
pub fn scoped(dice: &mut Dice) -> SiteRules {
    let rules = shaped(dice);
    let sites = match dice.roll(3) {
        0 => None,
        _ => Some((0..=dice.roll(3)).map(|_| word(dice)).collect()),
    };
    SiteRules { observe: false, marker: word(dice), sites, rules }
}

/// Anything that the model holds: maps, server variables, levels, outbound rules. Names are unique.
pub fn any(dice: &mut Dice) -> RuleSet {
    let mut set = shaped(dice);
    for (number, rule) in set.rules.iter_mut().enumerate() {
        if dice.roll(3) == 0 {
            let template = template(dice);
            rule.match_url =
                MatchUrl { url: pattern(dice), ignore_case: dice.roll(2) == 0, negate: dice.roll(2) == 0 };
            rule.server_variables = (0..dice.roll(3))
                .map(|n| SetVariable {
                    name: format!("HTTP_X_{number}_{n}"),
                    value: word(dice),
                    replace: dice.roll(2) == 0,
                })
                .collect();
            rule.action = match dice.roll(4) {
                0 => Action::Rewrite { url: template, append_query_string: dice.roll(2) == 0 },
                1 => Action::Redirect {
                    url: template,
                    append_query_string: dice.roll(2) == 0,
                    redirect_type: redirect(dice),
                },
                2 => custom(dice, &[100, 199, 299, 308, 444, 499, 599, 600, 999]),
                _ => Action::None,
            };
        }
        for condition in &mut rule.conditions.list {
            if dice.roll(6) == 0 {
                condition.input = template(dice);
            }
            if dice.roll(10) == 0 {
                condition.match_type =
                    if dice.roll(2) == 0 { MatchType::IsFile } else { MatchType::IsDirectory };
                condition.pattern = String::new();
            }
        }
        if dice.roll(12) == 0 {
            rule.level = Level::new(&word(dice));
        }
    }
    for number in 0..dice.roll(3) {
        set.maps.push(RewriteMap {
            name: format!("Map{number}"),
            default_value: if dice.roll(2) == 0 { String::new() } else { word(dice) },
            ignore_case: dice.roll(2) == 0,
            entries: (0..dice.roll(4)).map(|n| (format!("{}{n}", word(dice)), word(dice))).collect(),
        });
    }
    for number in 0..dice.roll(3) {
        set.pre_conditions.push(PreCondition {
            name: format!("{}{number}", word(dice)),
            grouping: grouping(dice),
            pattern_syntax: syntax(dice),
            list: (0..dice.roll(3)).map(|n| outbound_condition(dice, n)).collect(),
        });
    }
    for number in 0..dice.roll(3) {
        let subject = if dice.roll(4) == 0 {
            OutboundSubject::Body { tags: ["", "A", "A, Form, Img"][dice.roll(3)].to_owned() }
        } else {
            OutboundSubject::Variable(format!("RESPONSE_X_{number}"))
        };
        let named = set.pre_conditions.get(dice.roll(3)).map(|pre| pre.name.clone());
        set.outbound.push(OutboundRule {
            name: format!("{}{number}", word(dice)),
            level: Level::default(),
            enabled: dice.roll(4) != 0,
            pre_condition: named,
            pattern_syntax: syntax(dice),
            stop_processing: dice.roll(2) == 0,
            subject,
            pattern: pattern(dice),
            ignore_case: dice.roll(2) == 0,
            negate: dice.roll(3) == 0,
            conditions: Conditions {
                grouping: grouping(dice),
                track_all_captures: dice.roll(2) == 0,
                list: (0..dice.roll(3)).map(|n| outbound_condition(dice, n)).collect(),
            },
            action: match dice.roll(3) {
                0 => OutboundAction::None,
                _ => OutboundAction::Rewrite { value: word(dice), replace: dice.roll(2) == 0 },
            },
        });
    }
    set
}

fn outbound_condition(dice: &mut Dice, number: usize) -> Condition {
    Condition {
        input: format!("{{RESPONSE_{number}}}"),
        match_type: MatchType::Pattern,
        pattern: pattern(dice),
        ignore_case: dice.roll(2) == 0,
        negate: dice.roll(3) == 0,
    }
}

fn template(dice: &mut Dice) -> String {
    let inner = word(dice).replace(['{', '}'], "");
    match dice.roll(5) {
        0 => format!("{inner}{{R:0}}"),
        1 => format!("{{ToLower:{{HTTP_HOST}}}}{inner}"),
        2 => format!("{{UrlEncode:{inner}}}"),
        3 => "{C:1}{URL}".to_owned(),
        _ => inner,
    }
}

fn custom(dice: &mut Dice, of: &[u16]) -> Action {
    Action::CustomResponse {
        status: of[dice.roll(of.len())],
        substatus: u16::try_from(dice.roll(3)).unwrap(),
        reason: if dice.roll(2) == 0 { String::new() } else { word(dice) },
        description: if dice.roll(2) == 0 { String::new() } else { word(dice) },
    }
}

fn redirect(dice: &mut Dice) -> RedirectType {
    [RedirectType::Permanent, RedirectType::Found, RedirectType::SeeOther, RedirectType::Temporary]
        [dice.roll(4)]
}

fn syntax(dice: &mut Dice) -> PatternSyntax {
    match dice.roll(6) {
        0 => PatternSyntax::ExactMatch,
        1 => PatternSyntax::Wildcard,
        _ => PatternSyntax::EcmaScript,
    }
}

fn grouping(dice: &mut Dice) -> Grouping {
    if dice.roll(2) == 0 { Grouping::MatchAll } else { Grouping::MatchAny }
}
